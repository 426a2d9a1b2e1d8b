//! Finds the operation of a path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use twinway_protocol::{Problem, ProblemKind};

use super::routes::{Route, Verb};

/// The most parameters that a path has.
pub(super) const SEGMENTS_MAX: usize = 2;
/// The values of a path's parameters, decoded.
pub(super) type Segments<'a> = [Cow<'a, str>; SEGMENTS_MAX];

struct Entry {
    /// The literal segments; `None` stands for a parameter.
    template: Vec<Option<&'static str>>,
    routes: Vec<Numbered>,
}

/// The most segments that a path has.
const PATH_SEGMENTS_MAX: usize = 8;

/// A route, and its number in the table.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    number: usize,
    route: &'static Route,
}

/// The route of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    /// Its number in the table.
    pub(super) number: usize,
    pub(super) route: &'static Route,
    /// Where in the path its parameters stand, from byte to byte.
    places: [(usize, usize); SEGMENTS_MAX],
}

/// A path's segments, split once: they are held against many templates.
struct Split<'p> {
    segments: [&'p str; PATH_SEGMENTS_MAX],
    /// Where each begins and ends.
    places: [(usize, usize); PATH_SEGMENTS_MAX],
    count: usize,
}

impl<'p> Split<'p> {
    /// `None`: there are too many.
    fn new(path: &'p str) -> Option<Self> {
        let mut split = Self { segments: [""; PATH_SEGMENTS_MAX], places: [(0, 0); PATH_SEGMENTS_MAX], count: 0 };
        let mut from = usize::from(path.starts_with('/'));
        let ends = path.bytes().enumerate().skip(from).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            *split.places.get_mut(split.count)? = (from, end);
            *split.segments.get_mut(split.count)? = segment(path, (from, end));
            split.count += 1;
            from = end + 1;
        }
        Some(split)
    }
}

/// A piece of a path; places are of the same path.
fn segment(path: &str, (from, end): (usize, usize)) -> &str {
    path.get(from..end).unwrap_or_default()
}

/// Finds the operation of a path.
///
/// Paths are matched as they came, before anything is decoded: a twin's id that is a URL stays one segment
/// when its slashes are percent-encoded, and is decoded exactly once.
pub(super) struct Router {
    /// By the number of segments.
    by_length: Vec<Vec<Entry>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

impl Router {
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        let mut by_length: Vec<Vec<Entry>> = Vec::new();
        for (number, route) in routes.enumerate() {
            let template: Vec<_> =
                segments(route.path).map(|segment| (!segment.starts_with('{')).then_some(segment)).collect();
            if by_length.len() <= template.len() {
                by_length.resize_with(template.len() + 1, Vec::new);
            }
            let Some(entries) = by_length.get_mut(template.len()) else { continue };
            match entries.iter_mut().find(|entry| entry.template == template) {
                Some(entry) => entry.routes.push(Numbered { number, route }),
                None => entries.push(Entry { template, routes: vec![Numbered { number, route }] }),
            }
        }
        Self { by_length }
    }

    fn entry<'p>(&self, path: &'p str) -> Option<(&Entry, Split<'p>)> {
        let split = Split::new(path)?;
        let path = split.segments.get(..split.count)?;
        let entry = self.by_length.get(split.count)?.iter().find(|entry| matches(&entry.template, path))?;
        Some((entry, split))
    }

    /// The methods that a path has, as the header `Allow` lists them.
    pub(super) fn allowed(&self, path: &str) -> Option<String> {
        let verbs: Vec<_> = self.entry(path)?.0.routes.iter().map(|found| found.route.verb.as_str()).collect();
        Some(verbs.join(", "))
    }

    /// The operation of this path and method.
    ///
    /// # Errors
    /// [`ProblemKind::RouteUnknown`], [`ProblemKind::MethodNotAllowed`].
    pub(super) fn find(&self, verb: Option<Verb>, path: &str) -> Result<Located, Problem> {
        let unknown = || Problem::new(ProblemKind::RouteUnknown, format!("there is no route `{path}`"));
        let (entry, split) = self.entry(path).ok_or_else(unknown)?;
        let not_so =
            || Problem::new(ProblemKind::MethodNotAllowed, "the header `Allow` lists the methods of the route");
        let found = entry.routes.iter().find(|found| Some(found.route.verb) == verb).ok_or_else(not_so)?;
        let mut places = [(0, 0); SEGMENTS_MAX];
        let parameters = entry.template.iter().zip(split.places).filter(|(literal, _)| literal.is_none());
        places.iter_mut().zip(parameters).for_each(|(place, (_, found))| *place = found);
        Ok(Located { number: found.number, route: found.route, places })
    }
}

impl Located {
    /// The parameters of the path for which the route was found.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a segment that does not decode to text.
    pub(super) fn read_segments<'a>(&self, path: &'a str) -> Result<Segments<'a>, Problem> {
        let mut decoded = Segments::default();
        for (slot, place) in decoded.iter_mut().zip(self.places) {
            let segment = segment(path, place);
            *slot = if segment.bytes().any(|byte| byte == b'%') {
                percent_decode_str(segment).decode_utf8().map_err(|_| {
                    Problem::new(ProblemKind::InvalidQuery, format!("the path segment `{segment}` is not UTF-8 text"))
                })?
            } else {
                Cow::Borrowed(segment)
            };
        }
        Ok(decoded)
    }
}

fn matches(template: &[Option<&'static str>], path: &[&str]) -> bool {
    // Paths differ behind what they begin with.
    template.iter().zip(path).rev().all(|(literal, segment)| match literal {
        Some(literal) => literal == segment,
        None => !segment.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twinway_protocol::ProblemKind;

    use super::{PATH_SEGMENTS_MAX, Router, SEGMENTS_MAX, Verb};
    use crate::gateway::routes::all;

    fn find(verb: Verb, path: &str) -> Result<(&'static str, Vec<String>), ProblemKind> {
        let router = Router::new(all());
        let located = router.find(Some(verb), path).map_err(|problem| problem.kind)?;
        let segments = located.read_segments(path).map_err(|problem| problem.kind)?;
        Ok((located.route.id, segments.iter().filter(|text| !text.is_empty()).map(|text| text.to_string()).collect()))
    }

    #[test]
    fn an_id_that_is_a_url_is_one_segment_and_decoded_once() {
        let found = find(Verb::Get, "/mii/v1/twins/http:%2F%2Fa.example%2Fx%3Fy%2541/properties/on%2Foff");
        assert_eq!(found, Ok(("readTwinProperty", vec!["http://a.example/x?y%41".to_owned(), "on/off".to_owned()])));
        let found = find(Verb::Get, "/mii/v1/twins/urn:dev:1");
        assert_eq!(found, Ok(("readTwin", vec!["urn:dev:1".to_owned()])));
    }

    #[test]
    fn what_is_not_served_is_a_problem() {
        assert_eq!(find(Verb::Get, "/mii/v1/twins/"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Get, "/mii/v1/nothing"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Get, "/a/b/c/d/e/f/g/h/i/j"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Put, "/mii/v1/twins"), Err(ProblemKind::MethodNotAllowed));
        assert_eq!(find(Verb::Get, "/mii/v1/twins/%ff"), Err(ProblemKind::InvalidQuery));
    }

    #[test]
    fn the_table_has_every_operation_once_and_complete() {
        let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for route in all() {
            assert!(ids.insert(route.id), "{} is there twice", route.id);
            assert!(paths.insert((route.path, route.verb)), "{} is there twice", route.path);
            let named: Vec<_> = super::segments(route.path)
                .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let documented: Vec<_> = route.path_parameters.iter().map(|parameter| parameter.name).collect();
            assert_eq!(named, documented, "{}", route.path);
            assert!(named.len() <= SEGMENTS_MAX);
            assert!(super::segments(route.path).count() <= PATH_SEGMENTS_MAX);
            assert!(!route.answers.is_empty(), "{} has no answer", route.id);
        }
    }

    #[test]
    fn every_operation_is_found_by_its_path() {
        for route in all() {
            assert_eq!(find(route.verb, route.path).map(|found| found.0), Ok(route.id));
        }
    }
}

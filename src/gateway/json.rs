//! Reading JSON with the place of every mistake.

use serde::Deserialize;
use serde_path_to_error::Segment;
use twinway_protocol::{Problem, ProblemKind};

/// Reads a document that stands at `base` (an RFC 6901 pointer) of what was sent.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] with the place: not JSON, another type than expected, or an unknown member.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de [u8], base: &str) -> Result<T, Problem> {
    // To keep track of the place costs as much as to read: that is done for those who made a mistake.
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(base, error.path());
        Problem::new(ProblemKind::InvalidDocument, error.inner().to_string()).at(pointer)
    })?;
    let trailing = |error: serde_json::Error| Problem::new(ProblemKind::InvalidDocument, error.to_string()).at(base);
    reader.end().map_err(trailing)?;
    Ok(value)
}

fn pointer(base: &str, path: &serde_path_to_error::Path) -> String {
    let mut pointer = base.to_owned();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer = format!("{pointer}/{index}"),
            // A document that is carried raw is read through a member of the reader's own.
            Segment::Map { key } if key.starts_with("$serde_json::") => {}
            Segment::Map { key } | Segment::Enum { variant: key } => push(&mut pointer, key),
            Segment::Unknown => {}
        }
    }
    pointer
}

/// Adds a member's name to a pointer (RFC 6901: `~` and `/` are escaped).
pub(super) fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use twinway_protocol::{JsonDoc, message::OutsideAnswer, registry::TwinSystemDescription};

    use super::read;

    fn place<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, String) {
        let problem = read::<T>(text.as_bytes(), "").expect_err("it is refused");
        (problem.pointer.expect("a place is told"), problem.detail)
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let text =
            r#"{"id":"s","type":"home","title":"S","twins":[{"id":"a","description":{}},{"id":7,"description":{}}]}"#;
        let (pointer, detail) = place::<TwinSystemDescription>(text);
        assert_eq!(pointer, "/twins/1/id");
        assert!(detail.contains("expected a string"), "{detail}");
    }

    #[test]
    fn an_unknown_member_is_told_with_its_place() {
        let (pointer, detail) = place::<TwinSystemDescription>(r#"{"id":"s","type":"home","title":"S","colour":1}"#);
        assert_eq!(pointer, "/colour");
        assert!(detail.contains("unknown field `colour`"), "{detail}");
    }

    #[test]
    fn a_missing_member_is_told_with_the_object_it_misses_in() {
        let (pointer, detail) = place::<TwinSystemDescription>(r#"{"id":"s","type":"home","title":"S","twins":[{}]}"#);
        assert_eq!(pointer, "/twins/0");
        assert!(detail.contains("missing field `id`"), "{detail}");
    }

    #[test]
    fn the_place_inside_an_answers_variant_names_the_variant() {
        let (pointer, _) = place::<OutsideAnswer>(r#"{"describeTwins":{"twins":[{"twin":1,"rights":[]}]}}"#);
        assert_eq!(pointer, "/describeTwins/twins/0/twin");
    }

    #[test]
    fn broken_json_inside_a_carried_document_is_told_at_that_document() {
        let (pointer, _) = place::<BTreeMap<String, JsonDoc>>(r#"{"on":{"x":tru}}"#);
        assert_eq!(pointer, "/on");
    }

    #[test]
    fn what_follows_the_document_is_refused() {
        assert_eq!(place::<bool>("true false").0, "");
    }

    #[test]
    fn a_names_slash_is_escaped_in_the_pointer() {
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[serde(rename = "a/b~c")]
            _inner: u8,
        }
        assert_eq!(place::<Outer>(r#"{"a/b~c":"x"}"#).0, "/a~1b~0c");
    }
}

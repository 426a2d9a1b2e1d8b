//! Searches, page by page.

use std::{collections::BTreeMap, ops::Bound};

use twinway_protocol::{
    Problem, ProblemKind, SystemId,
    registry::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, Page, SystemQuery},
};

use super::{
    Fact, Index, SearchLimits, Subject,
    index::{Candidates, Entry, Place},
    plan::{Plan, in_filter},
};

/// What is not in the order of ids is gathered and sorted for each page, where going through the others can stop early. So
/// it must be that many times less.
const GATHERING_COSTS: usize = 8;
/// All sorted searches that can be gone on with have at most this many times the records that one may sort.
const SORTED_TOGETHER: usize = 4;

/// How many steps of a filter one page takes: some ten milliseconds, in which nobody else is answered.
const PAGE_STEPS_MAX: u64 = 200_000;

/// A sorted search that can be gone on with.
#[derive(Debug)]
struct Kept {
    /// What was asked for, without cursor and limit.
    query: SystemQuery,
    order: Vec<Place>,
    /// When it was last gone on with, in searches.
    used: u64,
}

/// The sorted searches that can be gone on with, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    kept: BTreeMap<u64, Kept>,
    clock: u64,
}

/// A page that is being filled.
struct Filling<T> {
    items: Vec<T>,
    limit: usize,
    /// How many records this page may still look at.
    scanned: usize,
    steps: u64,
}

/// What became of one candidate.
#[derive(PartialEq)]
enum Taken {
    /// It was taken, or does not match.
    Done,
    /// The page ends before it.
    Full,
}

impl<T> Filling<T> {
    fn new(query: &SystemQuery, limits: &SearchLimits) -> Self {
        let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(PAGE_ITEMS_DEFAULT).min(PAGE_ITEMS_MAX) as usize;
        Self { items: Vec::new(), limit, scanned: limits.scanned.max(1), steps: PAGE_STEPS_MAX }
    }

    fn look<S: Subject>(&mut self, entry: &Entry<S>, plan: &Plan, item: &impl Fn(&S) -> T) -> Result<Taken, Problem> {
        if self.scanned == 0 {
            return Ok(Taken::Full);
        }
        // A filter that takes more than a whole page's steps for one record would never end.
        let fresh = self.steps == PAGE_STEPS_MAX;
        let matches = match plan.matches(entry, &mut self.steps) {
            Err(error) if fresh => return Err(in_filter(error)),
            Err(_) => return Ok(Taken::Full),
            Ok(matches) => matches,
        };
        if matches && self.items.len() == self.limit {
            return Ok(Taken::Full);
        }
        self.scanned -= 1;
        if matches {
            self.items.push(item(&entry.subject));
        }
        Ok(Taken::Done)
    }
}

/// The conditions of a search, held against one system after the other: for those who find systems in another way.
pub(crate) struct Conditions {
    plan: Plan,
    steps: u64,
}

impl Conditions {
    /// # Errors
    /// [`ProblemKind::InvalidQuery`].
    pub(crate) fn of<S: Subject>(query: &SystemQuery) -> Result<Self, Problem> {
        Ok(Self { plan: Plan::of(query, S::KIND)?, steps: PAGE_STEPS_MAX })
    }

    /// Whether the system of this id meets them.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`]: together they took more steps than a page may.
    pub(crate) fn are_met<S: Subject>(&mut self, index: &Index<S>, id: &SystemId) -> Result<bool, Problem> {
        let Some(entry) = index.entry_of(id) else { return Ok(false) };
        self.plan.matches(entry, &mut self.steps).map_err(in_filter)
    }
}

impl Searches {
    /// A page of what `query` asks for. `chance` names the search if it can be gone on with.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`], [`ProblemKind::CursorExpired`], [`ProblemKind::LimitReached`].
    pub(crate) fn page<S: Subject, T>(
        &mut self,
        index: &Index<S>,
        query: &SystemQuery,
        limits: &SearchLimits,
        chance: u64,
        item: impl Fn(&S) -> T,
    ) -> Result<Page<T>, Problem> {
        let plan = Plan::of(query, S::KIND)?;
        if plan.sort.is_empty() {
            return by_id(index, &plan, query, limits, item);
        }
        let asked = SystemQuery { cursor: None, limit: None, ..query.clone() };
        self.clock += 1;
        let (number, from) = match &query.cursor {
            None => {
                let order = sorted(index, &plan, limits)?;
                self.kept.insert(chance, Kept { query: asked, order, used: self.clock });
                (chance, 0)
            }
            Some(cursor) => self.go_on(cursor, &asked)?,
        };
        let order = self.kept.get(&number).map(|kept| kept.order.as_slice()).unwrap_or_default();
        let page = in_order(index, &plan, order, (number, from), Filling::new(query, limits), item);
        if query.cursor.is_none() {
            // What ends with its first page is not gone on with.
            if !page.as_ref().is_ok_and(|page| page.next.is_some()) {
                self.kept.remove(&number);
            }
            self.let_go(limits);
        }
        page
    }

    fn go_on(&mut self, cursor: &str, asked: &SystemQuery) -> Result<(u64, usize), Problem> {
        let parts = cursor.split_once('.');
        let number = parts.and_then(|(number, _)| u64::from_str_radix(number, 16).ok());
        let from = parts.and_then(|(_, from)| from.parse::<usize>().ok());
        let (Some(number), Some(from)) = (number, from) else { return Err(no_cursor()) };
        let kept = self.kept.get_mut(&number).ok_or_else(|| {
            let detail = "others have searched since, or the daemon was restarted; begin the search again";
            Problem::new(ProblemKind::CursorExpired, detail)
        })?;
        if kept.query != *asked {
            let detail = "`cursor` is of a search for something else, or in another order";
            return Err(Problem::new(ProblemKind::InvalidQuery, detail));
        }
        kept.used = self.clock;
        Ok((number, from))
    }

    /// Lets those go that were used the longest ago; the one that was just made is the last.
    fn let_go(&mut self, limits: &SearchLimits) {
        let records = |kept: &BTreeMap<u64, Kept>| kept.values().map(|kept| kept.order.len()).sum::<usize>();
        while self.kept.len() > limits.cursors || records(&self.kept) > limits.sorted.saturating_mul(SORTED_TOGETHER) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(number, _)| *number);
            let Some(oldest) = oldest else { return };
            self.kept.remove(&oldest);
        }
    }
}

fn no_cursor() -> Problem {
    Problem::new(ProblemKind::InvalidQuery, "`cursor` is not one that a page before has given")
}

fn by_id<S: Subject, T>(
    index: &Index<S>,
    plan: &Plan,
    query: &SystemQuery,
    limits: &SearchLimits,
    item: impl Fn(&S) -> T,
) -> Result<Page<T>, Problem> {
    let after: Option<SystemId> =
        query.cursor.as_deref().map(|cursor| cursor.parse().map_err(|_| no_cursor())).transpose()?;
    let filling = Filling::new(query, limits);
    match index.candidates(plan, GATHERING_COSTS) {
        Candidates::Nobody => Ok(Page { items: Vec::new(), next: None }),
        Candidates::Walked(posting) => {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let candidates = posting.range((from, Bound::Unbounded)).map(|(id, slot)| (id, *slot));
            in_ids(index, plan, candidates, filling, item)
        }
        Candidates::Gathered(found) => {
            let found = found.into_iter().filter_map(|slot| Some((index.entry(slot)?.subject.id(), slot)));
            let mut found: Vec<_> = found.filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after)).collect();
            found.sort_unstable();
            in_ids(index, plan, found.into_iter(), filling, item)
        }
    }
}

fn in_ids<'i, S: Subject, T>(
    index: &Index<S>,
    plan: &Plan,
    candidates: impl Iterator<Item = (&'i SystemId, u32)>,
    mut filling: Filling<T>,
    item: impl Fn(&S) -> T,
) -> Result<Page<T>, Problem> {
    let mut last: Option<&SystemId> = None;
    for (id, slot) in candidates {
        let Some(entry) = index.entry(slot) else { continue };
        if filling.look(entry, plan, &item)? == Taken::Full {
            return Ok(Page { items: filling.items, next: last.map(ToString::to_string) });
        }
        last = Some(id);
    }
    Ok(Page { items: filling.items, next: None })
}

/// All candidates in the order of a plan.
fn sorted<S: Subject>(index: &Index<S>, plan: &Plan, limits: &SearchLimits) -> Result<Vec<Place>, Problem> {
    let candidates: Box<dyn Iterator<Item = u32>> = match index.candidates(plan, 1) {
        Candidates::Nobody => return Ok(Vec::new()),
        Candidates::Walked(posting) => Box::new(posting.values().copied()),
        Candidates::Gathered(found) => Box::new(found.into_iter()),
    };
    let mut found: Vec<(Fact<'_>, &Entry<S>, u32)> = Vec::new();
    for slot in candidates {
        let Some(entry) = index.entry(slot) else { continue };
        if !plan.conditions.iter().all(|condition| condition.holds(entry)) {
            continue;
        }
        if found.len() == limits.sorted {
            let detail = format!(
                "search_records_sorted_max: a search sorts at most {} of the {} systems; filter for fewer, or leave `sort` out",
                limits.sorted,
                index.len(),
            );
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        found.push((plan.first_of(&entry.subject), entry, slot));
    }
    found.sort_unstable_by(|(left_first, left, _), (right_first, right, _)| {
        plan.order((left_first, &left.subject), (right_first, &right.subject))
    });
    Ok(found.into_iter().filter_map(|(.., slot)| index.place(slot)).collect())
}

fn in_order<S: Subject, T>(
    index: &Index<S>,
    plan: &Plan,
    order: &[Place],
    (number, from): (u64, usize),
    mut filling: Filling<T>,
    item: impl Fn(&S) -> T,
) -> Result<Page<T>, Problem> {
    for (at, place) in order.iter().enumerate().skip(from) {
        // What was deregistered meanwhile does not match any more.
        let Some(entry) = index.at(*place) else { continue };
        if filling.look(entry, plan, &item)? == Taken::Full {
            return Ok(Page { items: filling.items, next: Some(format!("{number:x}.{at}")) });
        }
    }
    Ok(Page { items: filling.items, next: None })
}

//! The digital twin integration functions (FGMV-29 8.3).

pub mod dtac;
pub mod dtia;
pub mod dts;
pub mod dtsd;
pub mod dtsr;
pub mod tsi;

mod gathering;
#[cfg(test)]
mod procedure;
#[cfg(test)]
pub(crate) mod sample;

use std::ops::Bound;

use twinway_protocol::{Problem, ProblemKind, TwinId};

fn twin_unknown(twin: &TwinId) -> Problem {
    Problem::new(ProblemKind::TwinUnknown, format!("no registered twin system lists `{twin}`"))
}

fn limit_reached(name: &str, limit: usize) -> Problem {
    Problem::new(ProblemKind::LimitReached, format!("{name} is {limit}"))
}

/// The place of member `key` of the object at `pointer` (RFC 6901).
pub(crate) fn member(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Where a page begins in an ordered map, so that the pages before are not walked through again.
fn behind<K: std::str::FromStr>(cursor: Option<&str>) -> Result<(Bound<K>, Bound<K>), Problem> {
    let start = match cursor {
        None => Bound::Unbounded,
        Some(cursor) => Bound::Excluded(cursor.parse().map_err(|_| {
            Problem::new(ProblemKind::InvalidQuery, "`cursor` is not one that a page before has given")
        })?),
    };
    Ok((start, Bound::Unbounded))
}

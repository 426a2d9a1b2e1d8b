//! The checks, a file each part of the texts. A check stands below the clauses that it answers; nothing else says so.

mod access;
mod chains;
mod objects;
mod places;
mod registers;
mod standing;
mod twins;

use crate::conformance::Check;

/// Declares checks: what is guaranteed, the ids of the clauses, and the world that must hold.
macro_rules! checks {
    ($($(#[doc = $what:literal])+ answers $($clause:literal),+; fn $name:ident() $body:block)*) => {
        pub(super) const CHECKS: &[crate::conformance::Check] = &[$(crate::conformance::Check {
            name: stringify!($name),
            what: concat!($($what),+),
            answers: &[$($clause),+],
            make: $name,
        }),*];
        $($(#[doc = $what])+ fn $name() -> crate::world::World<twinway_protocol::message::Wire> $body)*
    };
}
use checks;

pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    [
        registers::CHECKS,
        standing::CHECKS,
        twins::CHECKS,
        objects::CHECKS,
        places::CHECKS,
        access::CHECKS,
        chains::CHECKS,
    ]
    .into_iter()
    .flatten()
}

//! What a failure of a call to a third-party system means for the next one (FGMV-29 8.2.4).

use twinway_protocol::ProblemKind;

/// Whether what was asked for was done, as far as a problem says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was not done, and may be tried again.
    NotDone,
    /// It may have been done.
    Unknown,
    /// It was not done, and trying again would not help.
    Refused,
}

impl Meaning {
    /// What a problem of this kind means.
    pub(super) fn of(kind: ProblemKind) -> Self {
        use ProblemKind as Kind;
        match kind {
            Kind::OutsideUnreachable | Kind::Overloaded | Kind::LimitReached => Self::NotDone,
            Kind::OutsideTimeout | Kind::OutsideUnclear | Kind::Internal | Kind::ShuttingDown => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

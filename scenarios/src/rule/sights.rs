//! Which kinds of things a rule looks at: it is shown no others, and what nobody looks at costs nothing.

use std::ops::BitOr;

use twinway_protocol::WireSet;

use super::Seen;

/// A set of kinds of what can be [seen](Seen).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sights(u16);

impl Sights {
    /// [`Seen::Delivery`].
    pub const DELIVERY: Self = Self(1);
    /// [`Seen::Event`].
    pub const EVENT: Self = Self(1 << 1);
    /// [`Seen::Record`].
    pub const RECORD: Self = Self(1 << 2);
    /// [`Seen::State`].
    pub const STATE: Self = Self(1 << 3);
    /// [`Seen::Durable`].
    pub const DURABLE: Self = Self(1 << 4);
    /// [`Seen::Sent`].
    pub const SENT: Self = Self(1 << 5);
    /// [`Seen::Signal`].
    pub const SIGNAL: Self = Self(1 << 6);
    /// [`Seen::Answered`].
    pub const ANSWERED: Self = Self(1 << 7);
    /// [`Seen::Refused`] and [`Seen::DeadLetter`].
    pub const REFUSED: Self = Self(1 << 8);
    /// [`Seen::Timer`].
    pub const TIMER: Self = Self(1 << 9);
    /// [`Seen::Failed`], [`Seen::Recovered`] and [`Seen::Quarantined`].
    pub const FAILURE: Self = Self(1 << 10);
    /// [`Seen::Fault`].
    pub const FAULT: Self = Self(1 << 11);
    /// [`Seen::End`].
    pub const END: Self = Self(1 << 12);
    /// Everything.
    pub const ALL: Self = Self((1 << Self::KINDS) - 1);
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 13;

    /// Whether the `nth` kind is among them.
    pub(crate) const fn has(self, nth: usize) -> bool {
        self.0 & (1 << nth) != 0
    }
}

impl BitOr for Sights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl<W: WireSet> Seen<'_, W> {
    /// Which kind it is, counted from 0.
    #[inline]
    pub(crate) const fn kind(&self) -> usize {
        let sight = match self {
            Seen::Delivery { .. } => Sights::DELIVERY,
            Seen::Event(_) => Sights::EVENT,
            Seen::Record { .. } => Sights::RECORD,
            Seen::State { .. } => Sights::STATE,
            Seen::Durable { .. } => Sights::DURABLE,
            Seen::Sent { .. } => Sights::SENT,
            Seen::Signal { .. } => Sights::SIGNAL,
            Seen::Answered { .. } => Sights::ANSWERED,
            Seen::Refused { .. } | Seen::DeadLetter { .. } => Sights::REFUSED,
            Seen::Timer { .. } => Sights::TIMER,
            Seen::Failed { .. } | Seen::Recovered { .. } | Seen::Quarantined { .. } => Sights::FAILURE,
            Seen::Fault(_) => Sights::FAULT,
            Seen::End { .. } => Sights::END,
        };
        sight.0.trailing_zeros() as usize
    }
}

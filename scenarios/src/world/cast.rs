//! What a world is made of.

use std::fmt;

use twinway_actors::assembly::Assembly;
use twinway_protocol::{Behaviour, Mailbox, WireSet};

use super::{
    cell::{Kind, KindOf},
    shell::Shell,
};

/// The entities of one type.
pub(super) struct Placed<W: WireSet> {
    pub(super) kind: Box<dyn Kind<W>>,
    /// There is one, at slot 0, always.
    pub(super) alone: bool,
    /// Shells by slot.
    pub(super) slots: Vec<Option<u32>>,
    /// Shells of earlier runs.
    pub(super) spare: Vec<Shell<W>>,
}

/// What a world is made of: filled like the runtime's builder.
pub struct Cast<W: WireSet>(pub(super) Vec<Option<Placed<W>>>);

impl<W: WireSet> fmt::Debug for Cast<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cast").finish_non_exhaustive()
    }
}

impl<W: WireSet> Default for Cast<W> {
    fn default() -> Self {
        Self((0..=u8::MAX).map(|_| None).collect())
    }
}

impl<W: WireSet> Cast<W> {
    fn with<B: Behaviour<Wire = W>>(mut self, settings: B::Settings, alone: bool) -> Self {
        if let Some(place) = self.0.get_mut(usize::from(B::Msg::KIND)) {
            let kind = Box::new(KindOf::<B>(settings));
            *place = Some(Placed { kind, alone, slots: Vec::new(), spare: Vec::new() });
        }
        self
    }
}

impl<W: WireSet> Assembly<W> for Cast<W> {
    fn entity<B: Behaviour<Wire = W>>(self, settings: B::Settings) -> Self {
        self.with::<B>(settings, true)
    }

    fn actors<B: Behaviour<Wire = W>>(self, settings: B::Settings) -> Self {
        self.with::<B>(settings, false)
    }

    fn shards<B: Behaviour<Wire = W>>(self, settings: B::Settings) -> Self {
        self.with::<B>(settings, false)
    }
}

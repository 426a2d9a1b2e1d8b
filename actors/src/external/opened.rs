//! What the actor of an external system (FGMV-29 figure 2) knows of its system: the name, and how it is reached.

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Behaviour, Out, Problem, ProblemKind, SystemId,
    message::{OpenSystem, Wire},
    registry::Reach,
    signal::Signal,
};

/// The name of an external system, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The name; of a user's device, the user's.
    pub id: SystemId,
    /// How it is reached.
    pub reach: Reach,
}

impl Opened {
    /// What `message` makes of what was known before.
    ///
    /// # Errors
    /// When the actor speaks for another system: it speaks for one as long as it lives.
    pub(crate) fn after(before: Option<&Self>, message: OpenSystem) -> Result<Self, Problem> {
        if let Some(before) = before.filter(|before| before.id != message.id) {
            let detail = format!("this actor speaks for `{}`", before.id);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let reach = match message.reach {
            Some(reach) => *reach,
            None => before.map(|before| before.reach.clone()).unwrap_or_default(),
        };
        Ok(Self { id: message.id, reach })
    }

    /// Tells the outside where the system's actor is and how the system is reached.
    pub(crate) fn signal<B: Behaviour<Wire = Wire>>(&self, out: &mut Out<'_, B>) {
        out.signal(Signal::Opened { entity: out.me(), id: self.id.clone(), reach: self.reach.clone() });
    }
}

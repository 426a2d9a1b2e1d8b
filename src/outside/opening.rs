//! Makes the actor of an external system once, however many callers come at the same time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Mutex as Gate;
use twinway_protocol::{EntityId, Problem, SystemId, message::OpenSystem, registry::Reach};

use super::{Actors, Hub, SystemKind};

type Name = (SystemKind, SystemId);
/// Behind it stands one caller at a time; inside is the actor that was made and has no name yet.
type Entrance = Arc<Gate<Option<EntityId>>>;

/// The systems that are being opened.
#[derive(Debug, Default)]
pub(super) struct Opening {
    entrances: Mutex<HashMap<Name, Entrance>>,
}

/// Takes the entrance away when nobody needs it any more, also when the caller gave up waiting.
struct Visit<'a> {
    opening: &'a Opening,
    name: Name,
}

impl Opening {
    fn visit(&self, name: Name) -> (Visit<'_>, Entrance) {
        let entrance = Arc::clone(self.entrances.lock().entry(name.clone()).or_default());
        (Visit { opening: self, name }, entrance)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut entrances = self.opening.entrances.lock();
        // An actor that could not be named is kept for the next try: slots are not given back.
        let unused = |entrance: &mut Entrance| Arc::get_mut(entrance).is_some_and(|gate| gate.get_mut().is_none());
        if entrances.get_mut(&self.name).is_some_and(unused) {
            entrances.remove(&self.name);
        }
    }
}

impl Hub {
    /// Gives the actor of a system; makes it, or changes how it is reached, if need be.
    pub(super) async fn open(
        &self,
        actors: &dyn Actors,
        kind: SystemKind,
        id: &SystemId,
        reach: Option<Reach>,
        within: Duration,
    ) -> Result<EntityId, Problem> {
        if let Some(reach) = &reach {
            super::check_reach(reach).map_err(|problem| problem.at("/webhook"))?;
        }
        let known = || self.by_name(kind, id).map(|system| system.entity);
        if let (Some(entity), None) = (known(), &reach) {
            return Ok(entity);
        }
        // `entrance` is dropped before `_visit`, which then sees whether it was the last.
        let (_visit, entrance) = self.opening.visit((kind, id.clone()));
        let mut nameless = entrance.lock().await;
        let entity = match known() {
            Some(entity) if reach.is_none() => return Ok(entity),
            Some(entity) => entity,
            None => match *nameless {
                Some(entity) => entity,
                None => *nameless.insert(actors.make(kind)?),
            },
        };
        let message = OpenSystem { id: id.clone(), reach: reach.clone().map(Box::new) };
        actors.name(entity, message, within).await?;
        *nameless = None;
        self.keep(entity, id, reach.unwrap_or_default());
        Ok(entity)
    }
}

//! What third-party systems get to know of twins (FGMV-29 9.1 step 17).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Asker, EntityId, Meta, Out, PendingKey, Problem, Ref, TwinId,
    message::{
        CollectTwinInformation, ObserveTwin, ReadTwin, TwinInformationCollected, TwinMsg, TwinRead, TwinRefusal,
    },
    twin::TwinView,
};

use super::{super::limit_reached, Dtia, Waiting};

/// Twins that are being read.
#[derive(Debug)]
pub(super) struct Collecting {
    pub(super) asker: Asker<CollectTwinInformation>,
    twins: Arc<[TwinId]>,
    properties: Option<Arc<BTreeSet<String>>>,
    /// By their actors: the twins that have not answered.
    reading: BTreeMap<EntityId, TwinId>,
    views: BTreeMap<TwinId, Arc<TwinView>>,
    refused: BTreeMap<TwinId, Problem>,
}

impl Dtia {
    pub(super) fn collect(&mut self, meta: &Meta, question: CollectTwinInformation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<CollectTwinInformation>(out.event());
        let CollectTwinInformation { twins, properties, observe } = question;
        if twins.len() > self.settings.request_twins_max {
            return out.reply(asker, Err(limit_reached("request_twins_max", self.settings.request_twins_max)));
        }
        let (mut reading, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for twin in twins.iter() {
            match self.known(twin) {
                Ok(known) => drop(reading.insert(known.entity.id(), twin.clone())),
                Err(problem) => drop(refused.insert(twin.clone(), problem)),
            }
        }
        let entities: Vec<EntityId> = reading.keys().copied().collect();
        let collecting = Collecting { asker, twins, properties, reading, views: BTreeMap::new(), refused };
        let Some(key) = self.wait(Waiting::Collecting(Box::new(collecting)), out) else { return };
        if entities.is_empty() {
            return self.answer_collection(key, out);
        }
        for twin in entities.into_iter().map(Ref::<TwinMsg>::new) {
            if observe {
                // Before it is read: what changes after that is told.
                out.send(twin, ObserveTwin);
            }
            out.ask(twin, ReadTwin, key);
        }
    }

    pub(super) fn collected(&mut self, meta: &Meta, answer: Result<TwinRead, Problem>, out: &mut Out<'_, Self>) {
        let Some(Waiting::Collecting(collecting)) = self.waiting.get_mut(meta.pending) else { return };
        let Some(twin) = collecting.reading.remove(&meta.from) else { return };
        match answer {
            Ok(TwinRead { view }) => drop(collecting.views.insert(twin, view)),
            Err(problem) => drop(collecting.refused.insert(twin, problem)),
        }
        if collecting.reading.is_empty() {
            self.answer_collection(meta.pending, out);
        }
    }

    fn answer_collection(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(Waiting::Collecting(collecting)) = self.waiting.take(key) else { return };
        let Collecting { asker, twins, properties, views, refused, .. } = *collecting;
        let asked = twins.iter().filter_map(|twin| views.get(twin));
        let twins = asked.map(|view| only(view, properties.as_deref())).collect();
        let refused = refused.into_iter().map(|(twin, problem)| TwinRefusal { twin, problem }).collect();
        out.reply(asker, Ok(TwinInformationCollected { twins, refused }));
    }
}

/// The view with these properties only.
fn only(view: &Arc<TwinView>, properties: Option<&BTreeSet<String>>) -> Arc<TwinView> {
    match properties {
        Some(wanted) if view.properties.keys().any(|name| !wanted.contains(name)) => {
            let mut view = TwinView::clone(view);
            view.properties.retain(|name, _| wanted.contains(name));
            Arc::new(view)
        }
        _ => Arc::clone(view),
    }
}

//! What third-party systems get to know of twins (FGMV-29 9.1 step 17).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Asker, EntityId, Meta, Out, Problem, Ref, TwinId,
    message::{CollectTwinInformation, ReadTwin, TwinInformationCollected, TwinMsg, TwinRead},
    twin::TwinView,
};

use super::{super::limit_reached, Dtia, Waiting};

/// Twins that are being read.
#[derive(Debug)]
pub(super) struct Collecting {
    pub(super) asker: Asker<CollectTwinInformation>,
    twins: Arc<[TwinId]>,
    properties: Option<Arc<BTreeSet<String>>>,
    /// The twins that have not answered.
    reading: BTreeSet<EntityId>,
    views: BTreeMap<TwinId, Arc<TwinView>>,
    problem: Option<Problem>,
}

impl Dtia {
    pub(super) fn collect(&mut self, meta: &Meta, question: CollectTwinInformation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<CollectTwinInformation>(out.event());
        let CollectTwinInformation { twins, properties } = question;
        let entities = match self.entities(&twins) {
            Ok(entities) => entities,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let reading = entities.iter().map(|twin| twin.id()).collect();
        let collecting = Collecting { asker, twins, properties, reading, views: BTreeMap::new(), problem: None };
        let Some(key) = self.wait(Waiting::Collecting(Box::new(collecting)), out) else { return };
        if entities.is_empty() {
            return self.answer_collection(key, out);
        }
        for twin in entities {
            out.ask(twin, ReadTwin, key);
        }
    }

    fn entities(&self, twins: &[TwinId]) -> Result<BTreeSet<Ref<TwinMsg>>, Problem> {
        if twins.len() > self.settings.request_twins_max {
            return Err(limit_reached("request_twins_max", self.settings.request_twins_max));
        }
        twins.iter().map(|twin| self.known(twin).map(|known| known.entity)).collect()
    }

    pub(super) fn collected(&mut self, meta: &Meta, answer: Result<TwinRead, Problem>, out: &mut Out<'_, Self>) {
        let Some(Waiting::Collecting(collecting)) = self.waiting.get_mut(meta.pending) else { return };
        if !collecting.reading.remove(&meta.from) {
            return;
        }
        match answer {
            Ok(TwinRead { view }) => {
                collecting.views.insert(view.id.clone(), view);
            }
            Err(problem) => {
                collecting.problem.get_or_insert(problem);
            }
        }
        if collecting.reading.is_empty() {
            self.answer_collection(meta.pending, out);
        }
    }

    fn answer_collection(&mut self, key: twinway_protocol::PendingKey, out: &mut Out<'_, Self>) {
        let Some(Waiting::Collecting(collecting)) = self.waiting.take(key) else { return };
        let Collecting { asker, twins, properties, views, problem, .. } = *collecting;
        if let Some(problem) = problem {
            return out.reply(asker, Err(problem));
        }
        let asked = twins.iter().filter_map(|twin| views.get(twin));
        let twins = asked.map(|view| only(view, properties.as_deref())).collect();
        out.reply(asker, Ok(TwinInformationCollected { twins }));
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

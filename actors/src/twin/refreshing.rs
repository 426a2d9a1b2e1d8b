//! The twin's values asked for at its object, on request or because it is time (FGMV-28 REQ-DT-07), and events of the twin.

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    Asker, JsonDoc, Meta, Out, Problem, ProblemKind,
    message::{EmitTwinEvent, ReadTwinProperties, RefreshTwin, TwinPropertiesRead, TwinRefreshed},
    signal::{Event, Signal},
    time::Timestamp,
    twin::Affordances,
};

use super::{
    Change, Twin,
    wants::{Waiting, document},
};
use crate::{
    schema::{self, Of},
    settings::pending_full,
};

/// What watchers are told of an event.
#[derive(Serialize)]
struct Emitted<'e> {
    name: &'e str,
    data: &'e JsonDoc,
    at: Timestamp,
}

impl Twin {
    /// FGMV-29 8.3.4: an event of the twin reaches those who selected it.
    pub(super) fn emit(&self, event: &EmitTwinEvent, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let (description, emitted) = (&self.described()?.twin.entry.description, &event.emitted);
        let name = &emitted.name;
        if !Affordances::read(description)?.events.contains(name) {
            let detail = format!("the description of `{}` has no event `{name}`", event.twin);
            return Err(Problem::new(ProblemKind::EventUnknown, detail).at("/name"));
        }
        schema::check(description, Of::Event(name), &emitted.data, "/data")?;
        let now = out.now().wall;
        let at = emitted.at.map_or(now, |at| at.min(now));
        let data = document(&Emitted { name, data: &emitted.data, at });
        self.notify("twin.event", out, |_| data.clone());
        let (kind, subject, twin) = ("twin.event", event.twin.to_string(), Some(event.twin.clone()));
        out.signal(Signal::TwinEvent(Arc::new(Event::new(kind, subject, twin, at, data))));
        Ok(())
    }

    /// The twin system is asked what the values are now. False: it cannot be asked, and whoever waits was told why.
    pub(super) fn refresh(&mut self, asker: Option<Asker<RefreshTwin>>, out: &mut Out<'_, Self>) -> bool {
        let waiting = Waiting::Refresh(asker);
        let (system, twin) = match self.described() {
            Ok(described) => (described.system_entity, described.twin.entry.id.clone()),
            Err(problem) => {
                waiting.refuse(&problem, out);
                return false;
            }
        };
        match self.wants(out).waiting.insert(waiting) {
            Ok(key) => {
                out.ask(system, ReadTwinProperties { twin }, key);
                true
            }
            Err(waiting) => {
                waiting.refuse(&pending_full(), out);
                false
            }
        }
    }

    /// The twin system has said what they are.
    pub(super) fn refreshed(
        &mut self,
        meta: &Meta,
        answer: Result<TwinPropertiesRead, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(wants) = &mut self.wants else { return };
        if !matches!(wants.waiting.get_mut(meta.pending), Some(Waiting::Refresh(_))) {
            return;
        }
        let Some(Waiting::Refresh(asker)) = wants.waiting.take(meta.pending) else { return };
        let shown = answer.and_then(|read| {
            let twin = self.described()?.twin.entry.id.clone();
            if let Some(accepted) = self.change(&read.values, Change::Adopted, out) {
                self.reflect_read(&twin, accepted.into(), asker.is_none(), out);
            }
            Ok(TwinRefreshed { version: self.shown.version() })
        });
        match asker {
            Some(asker) => out.reply(asker, shown),
            None => self.period_answered(out),
        }
    }
}

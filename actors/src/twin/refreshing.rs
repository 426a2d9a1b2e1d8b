//! Synchronization with the object on request and periodically (FGMV-28 REQ-DT-07), and events of the twin.

use serde::Serialize;
use twinway_protocol::{
    Asker, JsonDoc, Meta, Out, PendingKey, Problem, ProblemKind,
    message::{EmitTwinEvent, ReadTwinProperties, RefreshTwin, TwinPropertiesRead, TwinRefreshed},
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
        Ok(())
    }

    /// The twin system is asked what the values are now.
    pub(super) fn refresh(&mut self, asker: Option<Asker<RefreshTwin>>, out: &mut Out<'_, Self>) {
        let waiting = Waiting::Refresh(asker);
        let (system, twin) = match self.described() {
            Ok(described) => (described.system_entity, described.twin.entry.id.clone()),
            Err(problem) => return waiting.refuse(&problem, out),
        };
        match self.wants(out).waiting.insert(waiting) {
            Ok(key) => out.ask(system, ReadTwinProperties { twin }, key),
            Err(waiting) => waiting.refuse(&pending_full(), out),
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
                self.reflect(&twin, accepted.into(), out.now().wall, out);
            }
            Ok(TwinRefreshed { version: self.shown.version() })
        });
        match asker {
            Some(asker) => out.reply(asker, shown),
            // It was time, and now it is until the next time: a slow system is never asked twice at once.
            None => self.arm_period(out),
        }
    }

    /// DTAC says how often the twin is to be synchronized.
    pub(super) fn synchronize_every(&mut self, period_ms: Option<u32>, out: &mut Out<'_, Self>) {
        let known = self.wants.as_ref().and_then(|wants| wants.period_ms);
        if known != period_ms {
            let wants = self.wants(out);
            (wants.period_ms, wants.period) = (period_ms, None);
            self.arm_period(out);
        }
    }

    /// Only while somebody has selected the twin there is a next time.
    pub(super) fn arm_period(&mut self, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        if let Some(period_ms) = wants.period_ms
            && wants.period.is_none()
            && !self.watchers.is_empty()
        {
            let key = PendingKey::from_bits(out.chance());
            wants.period = Some(key);
            out.timer(u64::from(period_ms), key);
        }
    }

    pub(super) fn period_over(&mut self, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        wants.period = None;
        if wants.period_ms.is_some() && !self.watchers.is_empty() {
            self.refresh(None, out);
        }
    }
}

//! Actions of a twin (as FGMV-29 9.2 steps 17 and 18): on their way, under way, ended.
//!
//! Invocations are written down when they leave for the device and when they end, so that the twin system can say after
//! a restart what became of them. One that it never says anything of ends with its deadline.

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    InvocationId, JsonDoc, Meta, Out, PendingKey, Problem, ProblemKind, SystemId, UserId,
    message::{
        ActionBegan, ActionCall, ActionEnded, ActionStopping, CancelAction, ChangeApplied, DTS, ReportAction,
        StopAction,
    },
    time::Timestamp,
    twin::{DropReason, Invocation, InvocationState, Requester},
};

use super::{
    PART, Twin, TwinRecord,
    wants::{Waiting, Wanted, Wants, document},
};
use crate::settings::pending_full;

/// How many actions of one twin may be under way at once.
pub const TWIN_ACTIONS_MAX: usize = 16;
/// How many actions of one twin that have ended are shown.
pub const TWIN_ACTIONS_ENDED_KEPT: usize = 16;
/// How much of what a twin system says of an action is kept, in characters.
const DETAIL_CHARS_MAX: usize = 1_024;
/// The largest output of an action that is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// An action on its way to the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvokedRecord {
    id: InvocationId,
    action: String,
    at: Timestamp,
    until: Timestamp,
    system: SystemId,
    user: UserId,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRecord {
    id: InvocationId,
    state: InvocationState,
    detail: Option<String>,
    output: Option<JsonDoc>,
    ended_at: Timestamp,
}

impl Twin {
    /// Whether there is room for another action.
    pub(super) fn check_action(&self, call: &ActionCall) -> Result<(), Problem> {
        let invocations = self.wants.as_ref().map(|wants| &wants.invocations);
        let under_way = invocations.into_iter().flatten().filter(|(_, found)| !found.state.is_end()).count();
        if under_way >= TWIN_ACTIONS_MAX {
            let detail = format!("`{}`: {TWIN_ACTIONS_MAX} actions of the twin are under way", call.what.action);
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        Ok(())
    }

    /// An action is on its way to the device. DTS hears it when it is written down.
    pub(super) fn invoked(
        &mut self,
        call: ActionCall,
        by: Requester,
        key: PendingKey,
        until: Timestamp,
        out: &mut Out<'_, Self>,
    ) {
        let at = out.now().wall;
        let ActionCall { invocation: id, what, began } = call;
        let Requester { system, user } = by;
        let record = InvokedRecord { id: id.clone(), action: what.action, at, until, system, user };
        out.record(PART, TwinRecord::Invoked(record.clone()));
        self.replay_invoked(record);
        let wants = self.wants(out);
        wants.timers.insert(key, id.clone());
        out.timer(until.unix_ms().saturating_sub(at.unix_ms()), key);
        if let Some(invocation) = wants.invocations.get(&id).cloned() {
            out.send(DTS, ActionBegan { began, invocation: Box::new(invocation) });
        }
        self.show_wants();
        self.publish(out);
    }

    /// The twin system has said how an action ended.
    pub(super) fn action_over(&mut self, key: PendingKey, ended: &ActionEnded, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        let Some(Waiting::Change(Wanted { action: Some(call), .. })) = wants.waiting.get_mut(key) else { return };
        let id = call.invocation.clone();
        // That it still runs is no way to end.
        let state = if ended.state.is_end() { ended.state } else { InvocationState::Completed };
        self.end_action(&id, state, ended.detail.clone(), ended.output.clone(), out);
    }

    /// The command has been answered: how it ended was said before, unless nobody knows.
    pub(super) fn action_answered(
        &mut self,
        id: &InvocationId,
        answer: &Result<ChangeApplied, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Err(problem) = answer {
            self.end_action(id, InvocationState::Failed, Some(problem.to_string()), None, out);
        }
    }

    /// The twin system says how far an action has come.
    pub(super) fn report_action(&mut self, report: ReportAction, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let ReportAction { twin, invocation: id, report } = report;
        let found = self.wants.as_mut().and_then(|wants| wants.invocations.get_mut(&id));
        let Some(invocation) = found else {
            let detail = format!("`{twin}` has no invocation `{id}`");
            return Err(Problem::new(ProblemKind::InvocationUnknown, detail));
        };
        if invocation.state.is_end() {
            // What ended stays as it ended: watchers have been told.
            return Ok(());
        }
        if report.state.is_end() {
            self.end_action(&id, report.state, report.detail, report.output, out);
            return Ok(());
        }
        invocation.state = InvocationState::Running;
        invocation.progress = report.progress.map(|percent| percent.min(100)).or(invocation.progress);
        invocation.detail = report.detail.map(short).or(invocation.detail.take());
        self.tell_of_action("action.progress", &id, out);
        Ok(())
    }

    /// Its lease has ended, or its deadline is over: the twin system is told to end it.
    pub(super) fn action_dropped(&mut self, id: &InvocationId, why: DropReason, out: &mut Out<'_, Self>) {
        let detail = match why {
            DropReason::LeaseEnded => "its sync lease has ended",
            DropReason::Deadline => "its deadline is over",
        };
        if !self.end_action(id, InvocationState::Dropped, Some(detail.to_owned()), None, out) {
            return;
        }
        if let Ok(described) = self.described() {
            let stop = StopAction { twin: described.twin.entry.id.clone(), invocation: id.clone() };
            // Its answer changes nothing: the gate waits for that of the action.
            out.ask(described.system_entity, stop, PendingKey::NONE);
        }
    }

    /// Who invoked an action wants it no more.
    pub(super) fn cancel_action(&mut self, meta: &Meta, cancel: &CancelAction, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<CancelAction>(out.event());
        let CancelAction { metaverse, user, twin, invocation: id } = cancel;
        let found = self.wants.as_ref().and_then(|wants| wants.invocations.get(id));
        let is_theirs = |by: &Requester| by.system == *metaverse && by.user == *user;
        match found {
            None => {
                let detail = format!("`{twin}` has no invocation `{id}`");
                return out.reply(asker, Err(Problem::new(ProblemKind::InvocationUnknown, detail)));
            }
            Some(found) if !found.by.as_ref().is_some_and(is_theirs) => {
                let detail = format!("`{id}` is not of `{user}` of `{metaverse}`");
                return out.reply(asker, Err(Problem::new(ProblemKind::NotAllowed, detail)));
            }
            Some(found) if found.state.is_end() => return out.reply(asker, Ok(ActionStopping {})),
            Some(_) => {}
        }
        let system = match self.described() {
            Ok(described) => described.system_entity,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.wants(out).waiting.insert(Waiting::Cancel(asker)) {
            Ok(key) => out.ask(system, StopAction { twin: twin.clone(), invocation: id.clone() }, key),
            Err(Waiting::Cancel(asker)) => out.reply(asker, Err(pending_full())),
            Err(Waiting::Change(_) | Waiting::Refresh(_)) => {}
        }
    }

    /// The twin system tries to end an action, or cannot.
    pub(super) fn stopping(&mut self, meta: &Meta, answer: Result<ActionStopping, Problem>, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        if !matches!(wants.waiting.get_mut(meta.pending), Some(Waiting::Cancel(_))) {
            return;
        }
        if let Some(Waiting::Cancel(asker)) = wants.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    /// Whether it had not ended before.
    fn end_action(
        &mut self,
        id: &InvocationId,
        state: InvocationState,
        detail: Option<String>,
        output: Option<JsonDoc>,
        out: &mut Out<'_, Self>,
    ) -> bool {
        let known = self.wants.as_ref().and_then(|wants| wants.invocations.get(id));
        if known.is_none_or(|known| known.state.is_end()) {
            return false;
        }
        let output = output.filter(|output| output.as_str().len() <= OUTPUT_BYTES_MAX);
        let (detail, ended_at) = (detail.map(short), out.now().wall);
        let record = EndedRecord { id: id.clone(), state, detail, output, ended_at };
        out.record(PART, TwinRecord::InvocationEnded(record.clone()));
        self.replay_ended(record);
        self.tell_of_action("action.ended", id, out);
        true
    }

    fn tell_of_action(&mut self, event: &'static str, id: &InvocationId, out: &mut Out<'_, Self>) {
        self.show_wants();
        self.publish(out);
        let Some(invocation) = self.wants.as_ref().and_then(|wants| wants.invocations.get(id)) else { return };
        self.notify(event, out, |watcher| {
            let mut shown = invocation.clone();
            shown.by.take_if(|by| by.system != *watcher);
            document(&shown)
        });
    }

    pub(super) fn replay_invoked(&mut self, invoked: InvokedRecord) {
        let InvokedRecord { id, action, at, until, system, user } = invoked;
        let invocation = Invocation {
            id: id.clone(),
            action,
            state: InvocationState::Pending,
            progress: None,
            detail: None,
            output: None,
            at,
            until,
            ended_at: None,
            by: Some(Requester { system, user }),
        };
        let questions_max = self.questions_max as usize;
        // Where records are replayed nothing waits yet, and the table is made anew before anything does.
        let wants = self.wants.get_or_insert_with(|| Box::new(Wants::new(questions_max, 0)));
        wants.invocations.insert(id, invocation);
    }

    pub(super) fn replay_ended(&mut self, ended: EndedRecord) {
        let Some(wants) = &mut self.wants else { return };
        let EndedRecord { id, state, detail, output, ended_at } = ended;
        if let Some(invocation) = wants.invocations.get_mut(&id) {
            (invocation.state, invocation.ended_at) = (state, Some(ended_at));
            (invocation.detail, invocation.output) = (detail, output);
        }
        let mut all_ended: Vec<_> = wants.invocations.values().filter(|found| found.state.is_end()).collect();
        if all_ended.len() > TWIN_ACTIONS_ENDED_KEPT {
            all_ended.sort_by_key(|found| found.ended_at);
            let oldest = all_ended.first().map(|found| found.id.clone());
            oldest.and_then(|oldest| wants.invocations.remove(&oldest));
        }
    }

    pub(super) fn snapshot_invocations(&self, into: &mut Vec<TwinRecord>) {
        let invocations = self.wants.iter().flat_map(|wants| wants.invocations.values());
        for found in invocations {
            let Some(Requester { system, user }) = found.by.clone() else { continue };
            let (id, action) = (found.id.clone(), found.action.clone());
            into.push(TwinRecord::Invoked(InvokedRecord {
                id: id.clone(),
                action,
                at: found.at,
                until: found.until,
                system,
                user,
            }));
            if let Some(ended_at) = found.ended_at {
                let (state, detail, output) = (found.state, found.detail.clone(), found.output.clone());
                into.push(TwinRecord::InvocationEnded(EndedRecord { id, state, detail, output, ended_at }));
            }
        }
    }

    /// After a restart: what the twin system may still say something of ends with its deadline.
    pub(super) fn await_invocations(&mut self, out: &mut Out<'_, Self>) {
        let questions_max = self.questions_max as usize;
        let Some(wants) = &mut self.wants else { return };
        let invocations = std::mem::take(&mut wants.invocations);
        **wants = Wants { invocations, ..Wants::new(questions_max, out.chance() as u32) };
        let now = out.now().wall.unix_ms();
        for found in wants.invocations.values().filter(|found| !found.state.is_end()) {
            let key = PendingKey::from_bits(out.chance());
            wants.timers.insert(key, found.id.clone());
            out.timer(found.until.unix_ms().saturating_sub(now), key);
        }
    }
}

fn short(text: String) -> String {
    if text.len() <= DETAIL_CHARS_MAX { text } else { text.chars().take(DETAIL_CHARS_MAX).collect() }
}

//! What is wanted of a twin's object (FGMV-29 9.2 steps 17 and 18): desired values beside the reported ones.
//!
//! A desired value lives as long as the command that carries it: it is not written down, because no command outlives
//! its sync lease, and no lease a restart.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use twinway_protocol::{
    Asker, InvocationId, JsonDoc, Meta, Out, Pending, PendingKey, Problem, ProblemKind, SystemId,
    message::{
        ActionCall, ApplyChange, CancelAction, ChangeApplied, Errand, NotifyWatcher, PropertyValues, RefreshTwin,
    },
    time::Timestamp,
    twin::{DesiredValue, DesiredValues, DropReason, Invocations, Requester},
};

use super::{Change, Twin, pacing::Paces, shown::Shown};
use crate::{
    mutation::{Mutation, broken},
    settings::pending_full,
};

/// What a twin keeps of what is wanted of it.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) waiting: Pending<Waiting>,
    pub(super) desired: DesiredValues,
    pub(super) invocations: Invocations,
    /// What the timers of invocations are for.
    pub(super) timers: BTreeMap<PendingKey, InvocationId>,
    /// How often it is synchronized, and for whom.
    pub(super) paces: Paces,
    /// DTDA hears of the next change.
    pub(super) is_observed: bool,
}

/// What waits for an answer of the twin's system.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A change.
    Change(Wanted),
    /// An action is to be cancelled.
    Cancel(Asker<CancelAction>),
    /// Its values are asked for; none: nobody waits, it is time.
    Refresh(Option<Asker<RefreshTwin>>),
}

/// A change on its way.
#[derive(Debug)]
pub(super) struct Wanted {
    /// None: it has been told that the deadline is over.
    pub(super) asker: Option<Asker<ApplyChange>>,
    pub(super) values: Arc<PropertyValues>,
    pub(super) by: Requester,
    /// Until when its requester wants it.
    pub(super) deadline: Option<Timestamp>,
    pub(super) action: Option<Box<ActionCall>>,
}

/// What watchers are told of desired values that were given up.
#[derive(Serialize)]
struct Dropped<'d> {
    values: &'d PropertyValues,
    why: DropReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'d Requester>,
}

impl Twin {
    pub(super) fn wants(&mut self, out: &mut Out<'_, Self>) -> &mut Wants {
        let questions_max = self.questions_max as usize;
        self.wants.get_or_insert_with(|| {
            // A twin that has recovered makes its table anew: no answer from before finds a question in it.
            Box::new(Wants::new(questions_max, out.chance() as u32))
        })
    }

    /// FGMV-29 9.2 step 17: by the physical object, where there is one, to the twin system.
    pub(super) fn apply(&mut self, meta: &Meta, change: ApplyChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ApplyChange>(out.event());
        let (system, object) = match self.described() {
            Ok(described) => (described.system_entity, described.twin.object),
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let admitted = change.errand.as_deref().map_or(Ok(()), |errand| self.check_errand(errand));
        if let Err(problem) = admitted {
            return out.reply(asker, Err(problem));
        }
        let change = ApplyChange { system_entity: system, ..change };
        let wanted = Wanted {
            asker: Some(asker),
            values: Arc::clone(&change.values),
            by: Requester { system: change.metaverse.clone(), user: change.user.clone() },
            deadline: change.not_after,
            action: change.errand.as_ref().and_then(|errand| errand.action.clone()).map(Box::new),
        };
        let key = match self.wants(out).waiting.insert(Waiting::Change(wanted)) {
            Ok(key) => key,
            Err(waiting) => return waiting.refuse(&pending_full(), out),
        };
        let object = object.filter(|_| !broken(Mutation::GatePassedBy));
        let Some(object) = object else {
            let answered_by = out.now().wall.plus_ms(u64::from(self.answer_ms_max));
            let until = change.not_after.unwrap_or(answered_by);
            self.under_way(key, until, out);
            return match change.carry_out(until) {
                Some(action) => out.ask(system, action, key),
                None => out.ask(system, change, key),
            };
        };
        out.ask(object, change, key);
    }

    /// What was decided by an older version of the twin is not carried out (RFC 9110 13.1.1).
    fn check_errand(&self, errand: &Errand) -> Result<(), Problem> {
        let version = self.shown.version();
        if let Some(expects) = errand.expects.filter(|expects| *expects != version) {
            let detail = format!("the twin is of version {version}, and {expects} is expected");
            return Err(Problem::new(ProblemKind::VersionMismatch, detail));
        }
        errand.action.as_ref().map_or(Ok(()), |call| self.check_action(call))
    }

    /// What is wanted is on its way to the device: readers see it beside what was reported.
    pub(super) fn under_way(&mut self, key: PendingKey, until: Timestamp, out: &mut Out<'_, Self>) {
        let (version, at) = (self.shown.version(), out.now().wall);
        let Some(wants) = &mut self.wants else { return };
        let Some(Waiting::Change(wanted)) = wants.waiting.get_mut(key) else { return };
        if let Some(call) = wanted.action.clone() {
            let by = wanted.by.clone();
            return self.invoked(*call, by, key, until, out);
        }
        for (name, value) in wanted.values.iter() {
            let by = Some(wanted.by.clone());
            wants.desired.insert(name.clone(), DesiredValue { value: value.clone(), version, at, until, by });
        }
        if let Some(deadline) = wanted.deadline {
            out.timer(deadline.unix_ms().saturating_sub(at.unix_ms()), key);
        }
        self.show_wants();
        self.publish(out);
    }

    /// FGMV-29 9.2 step 18: the twin system has done it, or has not.
    pub(super) fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        let Some(Waiting::Change(wanted)) = wants.waiting.take(meta.pending) else { return };
        wants.timers.remove(&meta.pending);
        let had = wants.forget(&wanted);
        if let Some(call) = &wanted.action {
            self.action_answered(&call.invocation, &answer, out);
        }
        self.show_wants();
        let mut published = false;
        if let (Ok(applied), Ok(described)) = (&answer, self.described()) {
            let twin = described.twin.entry.id.clone();
            if let Some(accepted) = self.change(&applied.values, Change::Applied, out) {
                published = true;
                self.reflect(&twin, Arc::new(accepted), out.now().wall, out);
            }
        }
        if had && !published {
            self.publish(out);
        }
        if let Some(asker) = wanted.asker {
            out.reply(asker, answer);
        }
    }

    /// What is wanted is given up: the device must not act on it any more. Whoever asked still hears what the device
    /// says, because it may have acted before.
    pub(super) fn dropped(&mut self, key: PendingKey, why: DropReason, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        let Some(Waiting::Change(wanted)) = wants.waiting.get_mut(key) else { return };
        let (values, by, action) = (Arc::clone(&wanted.values), wanted.by.clone(), wanted.action.clone());
        if let Some(call) = action {
            return self.action_dropped(&call.invocation, why, out);
        }
        if !wants.forget_values(&values) {
            return;
        }
        self.show_wants();
        self.publish(out);
        self.notify("twin.desired.dropped", out, |watcher| {
            let by = Some(&by).filter(|by| by.system == *watcher);
            document(&Dropped { values: &values, why, by })
        });
    }

    /// A deadline is over.
    pub(super) fn overdue(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(wants) = &mut self.wants else { return };
        if wants.paces.is_timer(key) {
            return self.period_over(out);
        }
        if let Some(invocation) = wants.timers.remove(&key) {
            self.action_dropped(&invocation, DropReason::Deadline, out);
        } else {
            self.dropped(key, DropReason::Deadline, out);
        }
        let Some(wants) = &mut self.wants else { return };
        if let Some(Waiting::Change(wanted)) = wants.waiting.get_mut(key)
            && let Some(asker) = wanted.asker.take()
        {
            let detail = "the device has not confirmed it in time";
            out.reply(asker, Err(Problem::new(ProblemKind::DeadlineOver, detail)));
        }
    }

    /// Tells everyone who selected the twin.
    pub(super) fn notify(&self, event: &'static str, out: &mut Out<'_, Self>, data: impl Fn(&SystemId) -> JsonDoc) {
        let (Ok(described), at) = (self.described(), out.now().wall) else { return };
        let twin = &described.twin.entry.id;
        for watcher in &self.watchers {
            let data = data(&watcher.metaverse);
            out.send(watcher.entity, NotifyWatcher { event, twin: twin.clone(), at, data });
        }
    }

    pub(super) fn desired_shown(&self) -> Option<Box<DesiredValues>> {
        let wants = self.wants.as_ref()?;
        (!wants.desired.is_empty()).then(|| Box::new(wants.desired.clone()))
    }

    pub(super) fn invocations_shown(&self) -> Option<Box<Invocations>> {
        let wants = self.wants.as_ref()?;
        (!wants.invocations.is_empty()).then(|| Box::new(wants.invocations.clone()))
    }

    /// Takes what is wanted over into what readers are handed next.
    pub(super) fn show_wants(&mut self) {
        let (desired, invocations) = (self.desired_shown(), self.invocations_shown());
        let Shown::View(view) = &mut self.shown else { return };
        if view.desired != desired || view.invocations != invocations {
            let view = Arc::make_mut(view);
            (view.desired, view.invocations) = (desired, invocations);
        }
    }
}

impl Wants {
    pub(super) fn new(questions_max: usize, incarnation: u32) -> Self {
        Self {
            waiting: Pending::new(questions_max, incarnation),
            desired: DesiredValues::new(),
            invocations: Invocations::new(),
            timers: BTreeMap::new(),
            paces: Paces::default(),
            is_observed: false,
        }
    }

    /// Whether anything of it was shown.
    fn forget(&mut self, wanted: &Wanted) -> bool {
        wanted.action.is_some() || self.forget_values(&wanted.values)
    }

    /// Values that somebody wants instead by now stay.
    fn forget_values(&mut self, values: &PropertyValues) -> bool {
        let before = self.desired.len();
        self.desired
            .retain(|name, desired| !values.get(name).is_some_and(|value| value.shares_text_with(&desired.value)));
        self.desired.len() < before
    }
}

impl Waiting {
    pub(super) fn refuse(self, problem: &Problem, out: &mut Out<'_, Twin>) {
        match self {
            Self::Change(Wanted { asker: Some(asker), .. }) => out.reply(asker, Err(problem.clone())),
            Self::Cancel(asker) => out.reply(asker, Err(problem.clone())),
            Self::Refresh(Some(asker)) => out.reply(asker, Err(problem.clone())),
            Self::Change(_) | Self::Refresh(None) => {}
        }
    }
}

pub(super) fn document<T: Serialize>(value: &T) -> JsonDoc {
    // None of the types here can fail to be JSON: their keys are text.
    JsonDoc::from_value(value).unwrap_or_else(|_| JsonDoc::null())
}

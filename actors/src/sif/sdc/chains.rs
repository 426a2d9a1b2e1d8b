//! Chains of third-party systems (FGMV-29 8.2.4): begun, read, cancelled, and taken up again after a crash.

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    Asker, ExecutionId, JsonDoc, Meta, Out, PendingKey, Problem, ProblemKind, SystemId,
    collaboration::{Chain, StepView},
    message::{
        CancelExecution, EXECUTION_ENDED, ExecutionEnded, ExecutionShown, ExecutionsListed, ListExecutions,
        NotifyExecution, ReadExecution, RunChain,
    },
};

use super::{Await, Happening, Record, Sdc, Started, Waiting, Why, checks, register::Waiter};

/// The timer that forgets executions which ended long ago. No question has this key.
pub(super) const SWEEP: PendingKey = PendingKey::from_bits(u64::MAX - 1);
/// The timer that takes up executions for which there was no room in the table of questions.
pub(super) const STALLED: PendingKey = PendingKey::from_bits(u64::MAX - 2);
/// The timer after which systems that are still unknown count as gone.
pub(super) const SETTLED: PendingKey = PendingKey::from_bits(u64::MAX - 3);

/// How long executions wait for room in the table of questions, in milliseconds.
const STALLED_MS: u64 = 1_000;

/// What a metaverse system is told of a step.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepNews<'a> {
    execution: &'a ExecutionId,
    step: StepView,
}

impl Sdc {
    /// FGMV-29 9.1 step 12, of a chain.
    pub(super) fn run(&mut self, meta: Meta, question: RunChain, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RunChain>(out.event());
        let wait_ms = question.wait_ms;
        let begun = match self.repeated(&question) {
            Ok(Some(number)) => Ok((number, false)),
            Ok(None) => self.begin(meta, question, out).map(|number| (number, true)),
            Err(problem) => Err(problem),
        };
        match begun {
            Ok((number, new)) => {
                // A chain that ends in its first turn is answered with its end.
                if new {
                    self.proceed(number, out);
                }
                self.show(number, Waiter::Run(asker), wait_ms, out);
            }
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    /// The execution that this request asked for before, if it did.
    fn repeated(&self, question: &RunChain) -> Result<Option<u64>, Problem> {
        let Some(key) = &question.key else { return Ok(None) };
        if key.is_empty() || key.len() > checks::KEY_BYTES_MAX {
            let detail = format!("an idempotency key has from 1 to {} bytes", checks::KEY_BYTES_MAX);
            return Err(Problem::new(ProblemKind::InvalidQuery, detail));
        }
        let Some(number) = self.register.by_key(&question.metaverse, key) else { return Ok(None) };
        match self.register.all.get(number) {
            Some(kept) if kept.execution.chain == question.chain => Ok(Some(number)),
            _ => {
                let detail = "the idempotency key stands for another chain";
                Err(Problem::new(ProblemKind::RequestIdReused, detail))
            }
        }
    }

    fn begin(&mut self, meta: Meta, question: RunChain, out: &mut Out<'_, Self>) -> Result<u64, Problem> {
        let RunChain { metaverse, chain, key, .. } = question;
        checks::check(&chain, &self.settings)?;
        let depth = self.depth(&metaverse, &chain)?;
        self.make_room(&metaverse, out)?;
        let number = self.register.all.next();
        let id = format!("exec-{number}-{:016x}", out.chance());
        let id = ExecutionId::new(id).map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
        let now = out.now();
        let deadline_ms = chain.deadline_ms.unwrap_or(self.settings.chain_deadline_ms);
        let started = Started {
            number,
            id,
            metaverse,
            metaverse_entity: twinway_protocol::Ref::new(meta.from),
            key,
            depth,
            at: now.wall,
            deadline_at: now.wall.plus_ms(deadline_ms),
            chain,
        };
        self.write(number, Record::Started(Box::new(started)), out);
        self.arm_deadline(number, deadline_ms, out);
        Ok(number)
    }

    /// How many executions a new one stands within.
    fn depth(&self, metaverse: &SystemId, chain: &Chain) -> Result<u32, Problem> {
        let Some(within) = &chain.within else { return Ok(0) };
        // A third-party system may ask by another metaverse system's name: whose the outer one is does not matter.
        let outer = self.register.by_id(within).filter(|kept| kept.execution.ended.is_none());
        let Some(outer) = outer else {
            let detail = format!("`{metaverse}`: no execution `{within}` is under way");
            return Err(Problem::new(ProblemKind::RequestUnknown, detail).at("/within"));
        };
        let depth = outer.execution.started.depth.saturating_add(1);
        if depth > self.settings.chain_depth_max {
            let max = self.settings.chain_depth_max;
            let detail = format!("chain_depth_max = {max}: executions stand within each other, perhaps in a circle");
            return Err(Problem::new(ProblemKind::LimitReached, detail).at("/within"));
        }
        Ok(depth)
    }

    fn make_room(&mut self, metaverse: &SystemId, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let limit = |name: &str, max: usize| {
            Problem::new(ProblemKind::LimitReached, format!("{name} = {max} executions are there already"))
        };
        if self.register.under_way_of(metaverse) >= self.settings.executions_under_way_max {
            return Err(limit("executions_under_way_max", self.settings.executions_under_way_max));
        }
        if self.register.all.len() >= self.settings.executions_kept_max {
            let full = || limit("executions_kept_max", self.settings.executions_kept_max);
            let (_, number) = self.register.first_ended().ok_or_else(full)?;
            self.write(number, Record::Forgotten(number), out);
        }
        Ok(())
    }

    pub(super) fn read(&mut self, meta: Meta, question: &ReadExecution, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ReadExecution>(out.event());
        match self.register.of(&question.metaverse, &question.execution) {
            Ok(number) => self.show(number, Waiter::Read(asker), question.wait_ms, out),
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    pub(super) fn list(&self, meta: Meta, question: &ListExecutions, out: &mut Out<'_, Self>) {
        let answer = self.register.list(question).map(|page| ExecutionsListed { page: Box::new(page) });
        out.reply(meta.asker::<ListExecutions>(out.event()), answer);
    }

    pub(super) fn cancel(&mut self, meta: Meta, question: &CancelExecution, out: &mut Out<'_, Self>) {
        let asker: Asker<CancelExecution> = meta.asker(out.event());
        let number = match self.register.of(&question.metaverse, &question.execution) {
            Ok(number) => number,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let open = |kept: &super::register::Kept| {
            let execution = &kept.execution;
            execution.ended.is_none() && !execution.cancelling && !execution.has_turned_back()
        };
        if self.register.all.get(number).is_some_and(open) {
            self.happen(number, Happening::CancelRequested, out);
            // What a system is asked already is waited for; a pause is not.
            if let Some(key) = self.register.all.get(number).and_then(|kept| kept.driver)
                && matches!(self.pending.get_mut(key), Some(Waiting::Chain { awaits: Await::Pause, .. }))
            {
                self.pending.take(key);
                self.set_driver(number, None);
            }
            self.proceed(number, out);
        }
        let shown =
            self.register.all.get(number).map(|kept| ExecutionShown { execution: Box::new(kept.execution.view()) });
        out.reply(asker, shown.ok_or_else(|| Problem::new(ProblemKind::RequestUnknown, "it is gone")));
    }

    /// Answers with the execution as it stands, at its end or after `wait_ms`.
    fn show(&mut self, number: u64, waiter: Waiter, wait_ms: u64, out: &mut Out<'_, Self>) {
        let has_ended = self.register.all.get(number).is_none_or(|kept| kept.execution.ended.is_some());
        let wait_ms = wait_ms.min(self.settings.chain_deadline_ms_max);
        if !has_ended
            && wait_ms > 0
            && let Ok(key) = self.pending.insert(Waiting::Patience { number })
        {
            out.timer(wait_ms, key);
            if let Some(kept) = self.register.all.get_mut(number) {
                kept.waiters.insert(key, waiter);
            }
            return;
        }
        self.tell_waiter(number, waiter, out);
    }

    pub(super) fn tell_waiter(&self, number: u64, waiter: Waiter, out: &mut Out<'_, Self>) {
        let gone = || Problem::new(ProblemKind::RequestUnknown, "the execution is kept no longer");
        let shown =
            self.register.all.get(number).map(|kept| ExecutionShown { execution: Box::new(kept.execution.view()) });
        let answer = shown.ok_or_else(gone);
        match waiter {
            Waiter::Run(asker) => out.reply(asker, answer),
            Waiter::Read(asker) => out.reply(asker, answer),
        }
    }

    pub(super) fn write(&mut self, number: u64, record: Record, out: &mut Out<'_, Self>) {
        out.record(number, record.clone());
        self.register.replay(record);
    }

    /// Writes down what happened to an execution, and tells who asked for it.
    pub(super) fn happen(&mut self, number: u64, what: Happening, out: &mut Out<'_, Self>) {
        let step = step_of(&what);
        let ended = matches!(what, Happening::Ended { .. });
        self.write(number, Record::Happened { number, at: out.now().wall, what }, out);
        let Some(kept) = self.register.all.get_mut(number) else { return };
        let execution = &kept.execution;
        let (to, id) = (execution.started.metaverse_entity, execution.started.id.clone());
        let mut view = execution.view();
        if let Some(step) = step.filter(|step| (*step as usize) < view.steps.len()) {
            let step = view.steps.swap_remove(step as usize);
            let data = document(&StepNews { execution: &id, step });
            return out.send(to, NotifyExecution { event: "execution.step", execution: id, data });
        }
        if ended {
            let data = document(&view);
            // FGMV-29 9.1 step 14x is what came of what systems were asked; where none was, there is no such step.
            if view.steps.iter().any(|step| step.attempts > 0) {
                out.send(to, ExecutionEnded { execution: id, data });
            } else {
                out.send(to, NotifyExecution { event: EXECUTION_ENDED, execution: id, data });
            }
            self.ended(number, out);
        }
    }

    fn ended(&mut self, number: u64, out: &mut Out<'_, Self>) {
        let Some(kept) = self.register.all.get_mut(number) else { return };
        let (waiters, deadline) = (std::mem::take(&mut kept.waiters), kept.deadline.take());
        if let Some(key) = deadline {
            self.pending.take(key);
        }
        for (key, waiter) in waiters {
            self.pending.take(key);
            self.tell_waiter(number, waiter, out);
        }
        self.arm_sweep(out);
    }

    fn arm_deadline(&mut self, number: u64, after_ms: u64, out: &mut Out<'_, Self>) {
        // Without room for it the deadline is seen when the next step is done.
        let Ok(key) = self.pending.insert(Waiting::Deadline { number }) else { return };
        out.timer(after_ms, key);
        if let Some(kept) = self.register.all.get_mut(number) {
            kept.deadline = Some(key);
        }
    }

    fn arm_sweep(&mut self, out: &mut Out<'_, Self>) {
        let Some((at, _)) = self.register.first_ended().filter(|_| !self.sweeping) else { return };
        self.sweeping = true;
        let until = at.plus_ms(self.settings.execution_kept_ms).unix_ms();
        out.timer(until.saturating_sub(out.now().wall.unix_ms()).max(1), SWEEP);
    }

    /// Forgets what ended long ago.
    pub(super) fn sweep(&mut self, out: &mut Out<'_, Self>) {
        self.sweeping = false;
        while let Some((at, number)) = self.register.first_ended() {
            if at.plus_ms(self.settings.execution_kept_ms) > out.now().wall {
                break;
            }
            self.write(number, Record::Forgotten(number), out);
        }
        self.arm_sweep(out);
    }

    /// There was no room in the table of questions: it is tried again soon.
    pub(super) fn stall(&mut self, number: u64, out: &mut Out<'_, Self>) {
        if self.stalled.is_empty() {
            out.timer(STALLED_MS, STALLED);
        }
        self.stalled.insert(number);
    }

    pub(super) fn take_up_stalled(&mut self, out: &mut Out<'_, Self>) {
        for number in std::mem::take(&mut self.stalled) {
            self.proceed(number, out);
        }
    }

    /// After a crash every execution goes on where its records end, as soon as its systems are known.
    pub(super) fn take_up(&mut self, out: &mut Out<'_, Self>) {
        let under_way = self.register.under_way();
        if !under_way.is_empty() {
            out.timer(self.settings.outside_answer_ms_max, SETTLED);
        }
        for number in under_way {
            let Some(kept) = self.register.all.get_mut(number) else { continue };
            kept.recovering = true;
            let left = kept.execution.started.deadline_at.unix_ms().saturating_sub(out.now().wall.unix_ms());
            // One that has passed needs no timer, before which a further step could begin.
            if left > 0 {
                self.arm_deadline(number, left, out);
            }
            self.proceed(number, out);
        }
        self.arm_sweep(out);
    }

    /// A system is known now that executions may have waited for.
    pub(super) fn known(&mut self, system: &SystemId, out: &mut Out<'_, Self>) {
        for number in self.awaited.remove(system).unwrap_or_default() {
            self.proceed(number, out);
        }
    }

    /// Whatever system is not known by now is gone.
    pub(super) fn settled(&mut self, out: &mut Out<'_, Self>) {
        for number in self.register.under_way() {
            if let Some(kept) = self.register.all.get_mut(number) {
                kept.recovering = false;
            }
        }
        for number in std::mem::take(&mut self.awaited).into_values().flatten() {
            self.proceed(number, out);
        }
    }

    /// The time for all steps is over.
    pub(super) fn deadline(&mut self, number: u64, out: &mut Out<'_, Self>) {
        let Some(kept) = self.register.all.get_mut(number) else { return };
        kept.deadline = None;
        if kept.execution.ended.is_some() || kept.execution.has_turned_back() {
            return;
        }
        if let Some(key) = kept.driver.take() {
            self.pending.take(key);
        }
        let detail = "the steps were not done within `deadlineMs`";
        let why: Why = Problem::new(ProblemKind::OutsideTimeout, detail).into();
        // What the system is asked at this moment, or was asked before, it may do.
        if let Some(step) = self.register.all.get(number).and_then(|kept| kept.execution.in_doubt()) {
            self.happen(number, Happening::Uncertain { step, why: why.clone() }, out);
        }
        if self.register.all.get(number).is_some_and(|kept| !kept.execution.has_turned_back()) {
            self.happen(number, Happening::TurnedBack { why }, out);
        }
        self.proceed(number, out);
    }

    pub(super) fn set_driver(&mut self, number: u64, driver: Option<PendingKey>) {
        if let Some(kept) = self.register.all.get_mut(number) {
            kept.driver = driver;
        }
    }

    /// The chain of an execution: shared, so that it can be read while the execution changes.
    pub(super) fn chain(&self, number: u64) -> Option<Arc<Chain>> {
        self.register.all.get(number).map(|kept| Arc::clone(&kept.execution.chain))
    }
}

fn step_of(what: &Happening) -> Option<u32> {
    use Happening as H;
    match what {
        H::Skipped { step }
        | H::Sent { step, .. }
        | H::Deferred { step, .. }
        | H::Done { step, .. }
        | H::Spoiled { step, .. }
        | H::Failed { step, .. }
        | H::Uncertain { step, .. }
        | H::UndoSent { step }
        | H::UndoDeferred { step, .. }
        | H::Undone { step }
        | H::UndoFailed { step, .. } => Some(*step),
        H::CancelRequested | H::TurnedBack { .. } | H::Ended { .. } => None,
    }
}

fn document<T: Serialize>(value: &T) -> JsonDoc {
    // None of the types here can fail to be JSON: their keys are text.
    JsonDoc::from_value(value).unwrap_or_else(|_| JsonDoc::null())
}

//! Runs for a person to read: a numbered list, and a sequence diagram.

use std::{collections::BTreeMap, fmt::Write as _};

use twinway_protocol::{
    EntityId, EventId,
    flow::{OUTSIDE, OWN},
    trace::TraceEvent,
};

use crate::{driver::What, run::Run, world::Told};

fn label(event: &TraceEvent) -> String {
    match event.step {
        Some(step) => format!("{} {}", step.number, event.name),
        None => event.name.to_owned(),
    }
}

fn happened(run: &Run, told: &Told, event: Option<&TraceEvent>) -> String {
    let entity = run.name(told.entity);
    match (told.what, event) {
        (What::Deliver, Some(event)) => format!("{} → {entity}: {}", run.name(event.from), label(event)),
        (What::Panic, Some(event)) => {
            format!("{} → {entity}: {}, and {entity} PANICS", run.name(event.from), label(event))
        }
        (What::Deliver | What::Panic, None) => format!("a message for {entity} reaches nobody"),
        (What::Start, _) => format!("{entity} starts again from its records"),
        (What::Commit, _) => "what is written down becomes durable".to_owned(),
        (What::Recover, _) => format!("{entity} is there again, with what its records say"),
        (What::Timer, _) => format!("a timer of {entity} runs out"),
        (What::Drop, _) => format!("a message for {entity} is LOST"),
        (What::Duplicate, _) => format!("a message for {entity} is DOUBLED"),
        (What::Delay, _) => format!("time PASSES until a timer of {entity} runs out"),
        (What::Restart, _) => format!("{entity} is RESTARTED"),
        (What::Crash, _) => "everything CRASHES, and what is not durable is lost".to_owned(),
        (What::ClockJump, _) => "the wall clock JUMPS".to_owned(),
    }
}

/// The run as a numbered list of what happened. What departs from the order of sending is marked with `*`.
#[must_use]
pub fn numbered_list(run: &Run) -> String {
    let mut list = String::new();
    let width = run.told.len().to_string().len();
    let events: BTreeMap<EventId, &TraceEvent> = run.trace.iter().map(|event| (event.event, event)).collect();
    let mut own = OwnSteps::of(run);
    for (number, told) in (1..).zip(&run.told) {
        let mark = if told.departs { '*' } else { ' ' };
        let event = events.get(&told.event).copied();
        // Writing to a string does not fail.
        let _ = writeln!(list, "{mark}{number:width$}. {}", happened(run, told, event));
        for step in own.up_to(told) {
            let _ = writeln!(list, " {:width$}  {} by itself: {}", "", run.name(step.to), label(step));
        }
    }
    for violation in &run.violations {
        let _ = writeln!(list, " {:width$}  VIOLATED: {violation}", "");
    }
    list
}

/// Steps that entities take by themselves, each under the action that made it happen.
struct OwnSteps<'r> {
    trace: &'r [TraceEvent],
    next: usize,
    last: BTreeMap<EventId, usize>,
    told: &'r [Told],
    at: usize,
}

impl<'r> OwnSteps<'r> {
    fn of(run: &'r Run) -> Self {
        let last = run.trace.iter().enumerate().map(|(index, event)| (event.event, index)).collect();
        Self { trace: &run.trace, next: 0, last, told: &run.told, at: 0 }
    }

    /// The own steps that came with the next action.
    fn up_to(&mut self, _told: &Told) -> Vec<&'r TraceEvent> {
        self.at += 1;
        // Until the first event of the next action that has one.
        let following = self.told.get(self.at..).unwrap_or_default();
        let next = following.iter().find_map(|told| self.last.get(&told.event).copied());
        let end = next.unwrap_or(self.trace.len()).max(self.next);
        let these = self.trace.get(self.next..end).unwrap_or_default();
        self.next = end;
        these.iter().filter(|event| [OWN, OUTSIDE].contains(&event.name)).collect()
    }
}

fn participant(entity: EntityId) -> String {
    format!("e{}_{}", entity.kind(), entity.slot())
}

/// The run as a sequence diagram in Mermaid's language.
#[must_use]
pub fn mermaid(run: &Run) -> String {
    let mut diagram = "sequenceDiagram\n".to_owned();
    let events: BTreeMap<EventId, &TraceEvent> = run.trace.iter().map(|event| (event.event, event)).collect();
    let mut entities: Vec<EntityId> = Vec::new();
    let turns = run.told.iter().filter_map(|told| events.get(&told.event));
    for entity in turns.flat_map(|event| [event.from, event.to]) {
        if !entities.contains(&entity) {
            entities.push(entity);
        }
    }
    for entity in &entities {
        let _ = writeln!(diagram, "    participant {} as {}", participant(*entity), run.name(*entity));
    }
    let over = match (entities.first(), entities.last()) {
        (Some(first), Some(last)) if first != last => format!("{},{}", participant(*first), participant(*last)),
        (Some(first), _) => participant(*first),
        _ => return diagram,
    };
    let mut own = OwnSteps::of(run);
    for told in &run.told {
        match events.get(&told.event) {
            Some(event) if matches!(told.what, What::Deliver | What::Panic) => {
                let arrow = if told.what == What::Panic { "-x" } else { "->>" };
                let departs = if told.departs { "* " } else { "" };
                let (from, to) = (participant(event.from), participant(event.to));
                let _ = writeln!(diagram, "    {from}{arrow}{to}: {departs}{}", label(event));
            }
            event => {
                let text = happened(run, told, event.copied());
                let _ = writeln!(diagram, "    Note over {over}: {text}");
            }
        }
        for step in own.up_to(told) {
            let of = participant(step.to);
            let _ = writeln!(diagram, "    {of}->>{of}: {}", label(step));
        }
    }
    for violation in &run.violations {
        // A semicolon would end the line, and a number sign begin an entity code.
        let text = violation.to_string().replace([';', '#', '\n'], " ");
        let _ = writeln!(diagram, "    Note over {over}: VIOLATED: {text}");
    }
    diagram
}

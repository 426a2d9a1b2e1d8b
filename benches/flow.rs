//! How many events a second the checker judges on one core, with a thousand instances of FGMV-29 9.2 at once.
//!
//! The trace is made beforehand and is the same each time. Run by `cargo bench --bench flow`.

#![allow(clippy::print_stdout, reason = "the figures are what the program is for")]

use std::{sync::Arc, time::Instant};

use twinway::{
    protocol::{
        EntityId, EventId, StepId, WireSet,
        flow::{Checker, Limits, Traced},
        message::Wire,
        step_id,
        trace::TraceEvent,
    },
    scenarios::flow::find,
};

type Failure = Box<dyn std::error::Error>;

const TARGET: f64 = 2_000_000.0;
const ROUNDS: usize = 5;
/// Instances under way at the same time.
const AT_ONCE: usize = 1_000;

/// A hop: its step, sender, receiver and message. A hop is caused by the one before it.
type HopOf = (StepId, &'static str, &'static str, &'static str);

const HOPS: [HopOf; 11] = [
    (step_id!("9.2", "15"), "MetaverseSystem", "Dts", "ChangeTwin"),
    (step_id!("9.2", "16"), "Dts", "Dtac", "VerifyChange"),
    (step_id!("9.2", "16"), "Dtac", "Dts", "ChangeVerified"),
    (step_id!("9.2", "17"), "Dts", "Twin", "ApplyChange"),
    (step_id!("9.2", "17"), "Twin", "PhysicalObject", "ApplyChange"),
    (step_id!("9.2", "17"), "PhysicalObject", "DigitalTwinSystem", "ApplyChange"),
    (step_id!("9.2", "18"), "DigitalTwinSystem", "PhysicalObject", "ChangeApplied"),
    (step_id!("9.2", "18"), "PhysicalObject", "Twin", "ChangeApplied"),
    (step_id!("9.2", "14"), "Twin", "MetaverseSystem", "ReflectChange"),
    (step_id!("9.2", "18"), "Twin", "Dts", "ChangeApplied"),
    (step_id!("9.2", "18x"), "Dts", "MetaverseSystem", "ChangeCompleted"),
];

fn entity(kind: &str) -> EntityId {
    let known = (1..=u8::MAX).find(|number| Wire::kind_name(*number) == kind);
    EntityId::new(known.unwrap_or_default(), 0, 0)
}

/// `events` events of changes, a thousand of them interleaved. Answers also name the turn that asked.
fn trace(events: usize) -> Vec<TraceEvent> {
    let hops: Vec<_> = HOPS.iter().map(|(step, from, to, name)| (*step, entity(from), entity(to), *name)).collect();
    let mut counts = std::collections::BTreeMap::<u32, u64>::new();
    let mut made: Vec<TraceEvent> = Vec::with_capacity(events);
    while made.len() < events {
        let mut last = vec![[EventId::NONE; 2]; AT_ONCE];
        for (nth, (step, from, to, name)) in hops.iter().enumerate() {
            for (instance, last) in last.iter_mut().enumerate() {
                // A functional entity is one actor, all others are many.
                let actor = if to.kind() < 12 {
                    u32::from(to.kind())
                } else {
                    100 + (instance % 64) as u32 * 20 + u32::from(to.kind())
                };
                let count = counts.entry(actor).or_default();
                *count += 1;
                let event = EventId::new(actor, *count);
                let [cause, before] = *last;
                let joined = if nth > 1 && nth % 2 == 0 { Box::from([before]) } else { Box::default() };
                made.push(TraceEvent { event, cause, joined, from: *from, to: *to, step: Some(*step), name, at_ns: 0 });
                *last = [event, cause];
            }
        }
    }
    made
}

fn measure(events: &[TraceEvent], limits: Limits) -> Result<f64, Failure> {
    let flow = find("9.2").ok_or("9.2 is embedded")?;
    let mut checker = Checker::new(Arc::clone(&flow), limits);
    let mut found = 0_u64;
    let begin = Instant::now();
    for (at, event) in events.iter().enumerate() {
        checker.event(&Traced::of::<Wire>(event, at as u64), |_| found += 1);
    }
    let report = checker.finish(|_| found += 1);
    let taken = begin.elapsed();
    if report.steps != events.len() as u64 || found != 0 {
        return Err(format!("the trace holds, but {found} findings were told: {report:?}").into());
    }
    Ok(events.len() as f64 / taken.as_secs_f64())
}

fn main() -> Result<(), Failure> {
    let brief = std::env::args().any(|argument| argument == "--test");
    let (count, rounds) = if brief { (22_000, 1) } else { (4_400_000, ROUNDS) };
    let events = trace(count);
    let cases = [
        ("causes before effects, as a simulated world records them", Limits { whole: false, ..Limits::in_order() }),
        ("any order, as actors write them", Limits::any_order()),
    ];
    for (name, limits) in cases {
        let mut rates = (0..rounds).map(|_| measure(&events, limits)).collect::<Result<Vec<f64>, _>>()?;
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rounds / 2).copied().unwrap_or_default();
        let verdict = if median >= TARGET { "reached" } else { "not reached" };
        println!("{name}: {:.2} million events/s (target {:.1}: {verdict})", median / 1e6, TARGET / 1e6);
    }
    Ok(())
}

//! Whether a device was driven as it may be: never by an older token after a newer one, never too late, at rest
//! between two who did not hand it over themselves, and never twice by one command.

use std::collections::BTreeSet;

use twinway::protocol::lease::{Fencing, Token};

use super::{
    judge::{Call, History},
    record::{Act, Outcome},
};
use crate::plant::{Command, Heard, Thing};

pub(crate) fn check(history: &History, thing: &Thing) -> Result<(), String> {
    let calls: Vec<&Call> = history.calls_of(&thing.twin).collect();
    let mut newest = Token::NONE;
    let mut done = BTreeSet::new();
    let mut last: Option<(u64, &Command)> = None;
    let mut stopped = 0;
    for line in history.lines.iter().filter(|line| line.twin == thing.twin) {
        let command = match &line.heard {
            Heard::Fence(token) => {
                newest = newest.max(*token);
                continue;
            }
            Heard::Command(command) => command,
        };
        if command.stop {
            stopped = line.place;
            continue;
        }
        if !command.acted {
            continue;
        }
        let said = |what: &str| Err(format!("{what}: {command:?} at line {}", line.place));
        let Some(token) = command.token else { return said("a command without a token") };
        if token < newest {
            return said(&format!("a token below {newest}"));
        }
        newest = token;
        match command.not_after_ms {
            Some(not_after_ms) if line.at_ms > not_after_ms && thing.fencing() == Fencing::Deadline => {
                return said("a command after its time");
            }
            None => return said("a command without an end"),
            Some(_) => {}
        }
        let Some(call) = calls.iter().find(|call| call.op == command.speed) else { return said("nobody asked for it") };
        let fits = matches!(call.act, Act::Change { token: shown } if shown.is_none_or(|shown| shown == token));
        if !fits || call.user != command.user || call.sent > line.place {
            return said(&format!("not what was asked for by {call:?}"));
        }
        if matches!(call.outcome, Outcome::Refused { .. }) && call.answered < line.place {
            return said("it had been refused");
        }
        if !done.insert(call.op) {
            return said("it was done already");
        }
        if let Some((place, before)) = last
            && before.user != command.user
            && stopped < place
            && !handed_over(&calls, before, line.place)
        {
            return said(&format!("the device was not at rest after {before:?}"));
        }
        last = Some((line.place, command));
    }
    let missing = calls.iter().find(|call| {
        matches!(call.act, Act::Change { .. }) && call.outcome == Outcome::Done && !done.contains(&call.op)
    });
    missing.map_or(Ok(()), |call| Err(format!("it was acknowledged, and the device never did it: {call:?}")))
}

/// Whether whoever sent a command let go by itself before line `by`, or may have. A lease for one change always does.
fn handed_over(calls: &[&Call], before: &Command, by: u64) -> bool {
    let own = calls.iter().filter(|call| call.user == before.user && call.sent < by);
    own.into_iter().any(|call| match call.act {
        Act::Change { token: None } => call.op == before.speed,
        Act::Release { token } => {
            let may_be_done = matches!(call.outcome, Outcome::Done | Outcome::Lost);
            // A lease that is given back may have had an older token when it was used last.
            may_be_done && before.token.is_some_and(|used| token >= used) && call.answered > 0
        }
        _ => false,
    })
}

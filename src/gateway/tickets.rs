//! Tickets: what a browser opens a WebSocket with, since it cannot set headers there.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use twinway_protocol::{Problem, ProblemKind};

use super::auth::Known;

#[derive(Debug)]
struct Ticket {
    known: Arc<Known>,
    until: Instant,
}

/// The tickets that were given and not yet used.
#[derive(Debug)]
pub(super) struct Tickets {
    open: Mutex<HashMap<u128, Ticket>>,
    ttl: Duration,
    /// How many one token may have open.
    max: usize,
}

impl Tickets {
    pub(super) fn new(ttl: Duration, max: usize) -> Self {
        Self { open: Mutex::default(), ttl, max }
    }

    /// Gives a ticket that speaks for `known` once.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`], or [`ProblemKind::Internal`] when the system has no randomness.
    pub(super) fn give(&self, known: &Arc<Known>, now: Instant) -> Result<String, Problem> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Problem::new(ProblemKind::Internal, format!("no randomness: {error}")))?;
        let number = u128::from_ne_bytes(random);
        let mut open = self.open.lock();
        let mut own = 0;
        open.retain(|_, ticket| {
            let valid = ticket.until > now;
            own += usize::from(valid && Arc::ptr_eq(&ticket.known, known));
            valid
        });
        if own >= self.max {
            return Err(Problem::new(ProblemKind::LimitReached, format!("`tickets_max` is {}", self.max)));
        }
        open.insert(number, Ticket { known: Arc::clone(known), until: now + self.ttl });
        Ok(format!("{number:032x}"))
    }

    /// Whom a ticket speaks for; it does so once.
    ///
    /// # Errors
    /// [`ProblemKind::Unauthenticated`].
    pub(super) fn take(&self, ticket: &str, now: Instant) -> Result<Arc<Known>, Problem> {
        let number = u128::from_str_radix(ticket, 16).ok().filter(|_| ticket.len() == 32);
        // The map's hash is keyed, so what is found out by timing is not how much of a ticket was right.
        let found = number.and_then(|number| self.open.lock().remove(&number));
        match found {
            Some(ticket) if ticket.until > now => Ok(ticket.known),
            _ => {
                Err(Problem::new(ProblemKind::Unauthenticated, "the ticket is unknown, was used already or is too old"))
            }
        }
    }

    /// How long a ticket is good.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use twinway_protocol::{ProblemKind, SystemId};

    use super::Tickets;
    use crate::gateway::{
        auth::{Known, Principal, Role},
        limits::Rate,
    };

    fn known() -> Arc<Known> {
        let principal = Principal { role: Role::Metaverse, id: SystemId::new("m").expect("a name") };
        Arc::new(Known { principal, rate: Rate::new(0, 0) })
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (tickets, known, now) = (Tickets::new(Duration::from_secs(30), 4), known(), Instant::now());
        let ticket = tickets.give(&known, now).expect("there is room");
        assert!(Arc::ptr_eq(&tickets.take(&ticket, now).expect("it is new"), &known));
        assert_eq!(tickets.take(&ticket, now).expect_err("it was used").kind, ProblemKind::Unauthenticated);
    }

    #[test]
    fn a_ticket_is_good_for_its_time_only() {
        let (tickets, known, now) = (Tickets::new(Duration::from_secs(30), 4), known(), Instant::now());
        let ticket = tickets.give(&known, now).expect("there is room");
        assert!(tickets.take(&ticket, now + Duration::from_secs(30)).is_err());
    }

    #[test]
    fn open_tickets_are_bounded_and_old_ones_make_room() {
        let (tickets, mine, now) = (Tickets::new(Duration::from_secs(30), 2), known(), Instant::now());
        assert!((0..2).all(|_| tickets.give(&mine, now).is_ok()));
        assert_eq!(tickets.give(&mine, now).expect_err("two are open").kind, ProblemKind::LimitReached);
        assert!(tickets.give(&known(), now).is_ok(), "another token has tickets of its own");
        assert!(tickets.give(&mine, now + Duration::from_secs(31)).is_ok());
    }

    #[test]
    fn what_is_not_a_ticket_is_refused() {
        let tickets = Tickets::new(Duration::from_secs(30), 2);
        for text in ["", "0", "zz", "+000000000000000000000000000000f", &"f".repeat(33)] {
            assert!(tickets.take(text, Instant::now()).is_err(), "{text}");
        }
    }
}

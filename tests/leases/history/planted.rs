//! The judge is judged: a good history passes, and each planted fault in it is found.

use twinway::protocol::lease::Token;

use super::{
    judge::History,
    record::{Act, Event, Moment, Outcome},
};
use crate::plant::{Command, Heard, Line, Thing};

const RETURN_MS: u64 = 500;
const TTL_MS: u64 = 1_000;

/// A history as it is written: each line comes 10 ms after the one before, unless time is let pass.
#[derive(Clone, Default)]
struct Story {
    moments: Vec<Moment>,
    lines: Vec<Line>,
    at_ms: u64,
}

fn token(n: u64) -> Token {
    Token { epoch: n / 100, n }
}

fn granted(n: u64) -> Outcome {
    Outcome::Granted { token: token(n) }
}

fn refused(slug: &str) -> Outcome {
    Outcome::Refused { slug: slug.to_owned() }
}

fn acquire(user: &str) -> Act {
    Act::Acquire { priority: super::judge::weight(user), ttl_ms: TTL_MS, wait_ms: 0, again: false }
}

impl Story {
    fn note(mut self, event: Event) -> Self {
        self.at_ms += 10;
        self.moments.push(Moment { at_ms: self.at_ms, event });
        self
    }

    fn later(mut self, ms: u64) -> Self {
        self.at_ms += ms;
        self
    }

    fn sends(self, op: u64, user: &str, act: Act) -> Self {
        self.note(Event::Sent { op, user: user.to_owned(), twin: "arm".to_owned(), act })
    }

    fn hears(self, op: u64, outcome: Outcome) -> Self {
        self.note(Event::Answered { op, outcome })
    }

    fn does(self, op: u64, user: &str, act: Act, outcome: Outcome) -> Self {
        self.sends(op, user, act).hears(op, outcome)
    }

    fn asks(self, op: u64, user: &str, outcome: Outcome) -> Self {
        self.does(op, user, acquire(user), outcome)
    }

    fn releases(self, op: u64, user: &str, n: u64) -> Self {
        self.does(op, user, Act::Release { token: token(n) }, Outcome::Done)
    }

    fn device(mut self, command: Command) -> Self {
        let place = self.lines.len() as u64;
        let heard = Heard::Command(command);
        self.lines.push(Line { place, at_ms: self.at_ms, twin: "arm".to_owned(), heard });
        self.note(Event::Heard { place })
    }

    fn acts(self, op: u64, user: &str, n: u64) -> Self {
        let (user, not_after_ms) = (user.to_owned(), Some(self.at_ms + 100));
        let token = Some(token(n));
        self.device(Command { user, token, not_after_ms, stop: false, speed: op, acted: true })
    }

    fn stops(self) -> Self {
        let user = "nobody".to_owned();
        self.device(Command { user, token: None, not_after_ms: None, stop: true, speed: 0, acted: true })
    }

    fn drives(self, op: u64, user: &str, n: u64) -> Self {
        let sent = self.sends(op, user, Act::Change { token: Some(token(n)) });
        sent.acts(op, user, n).hears(op, Outcome::Done)
    }

    fn tries(self, op: u64, user: &str, n: u64, slug: &str) -> Self {
        self.does(op, user, Act::Change { token: Some(token(n)) }, refused(slug))
    }

    fn restarts(self) -> Self {
        self.note(Event::Killed).note(Event::Started)
    }

    fn shows(self, op: u64, holder: Option<(&str, u8)>, n: u64) -> Self {
        let holder = holder.map(|(user, priority)| (user.to_owned(), priority));
        let token = holder.as_ref().map(|_| token(n));
        self.does(op, "the operator", Act::Look, Outcome::Seen { holder, token })
    }

    fn verdict(&self) -> Result<(), String> {
        let thing = Thing::new("arm").with("fencing", "deadline");
        History::new(&self.moments, &self.lines).judge(&[thing], RETURN_MS)
    }

    #[track_caller]
    fn is_good(&self) {
        self.verdict().unwrap_or_else(|wrong| panic!("it is good, but: {wrong}"));
    }

    #[track_caller]
    fn is_bad(&self, why: &str) {
        let wrong = self.verdict().expect_err("the fault is not found");
        assert!(wrong.contains(why), "found for another reason than `{why}`: {wrong}");
    }
}

const DAN: &str = "worker-dan";
const CYD: &str = "worker-cyd";
const ADA: &str = "chief-ada";
/// Where a fault of the register is told.
const LEASE: &str = "the lease of `arm`";

/// `worker-cyd` has token 101 and drives.
fn held() -> Story {
    Story::default().asks(1, CYD, granted(101)).drives(2, CYD, 101)
}

#[test]
fn a_good_history_of_everything_passes() {
    let story = held()
        .asks(3, DAN, refused("lease-held"))
        .releases(4, CYD, 101)
        .drives_alone(5, DAN, 102)
        .asks(6, DAN, granted(103))
        .drives(7, DAN, 103)
        .sends(8, ADA, acquire(ADA))
        .tries(9, DAN, 103, "lease-revoking")
        .stops()
        .hears(8, granted(104))
        .tries(10, DAN, 103, "lease-lost")
        .drives(11, ADA, 104)
        .restarts()
        .shows(12, Some((ADA, 9)), 201)
        .tries(13, ADA, 104, "lease-token-stale")
        .drives(14, ADA, 201)
        .later(RETURN_MS)
        .stops()
        .asks(15, DAN, granted(202))
        .drives(16, DAN, 202)
        .shows(17, Some((DAN, 5)), 202);
    story.is_good();
}

impl Story {
    /// A change without a token.
    fn drives_alone(self, op: u64, user: &str, n: u64) -> Self {
        self.sends(op, user, Act::Change { token: None }).acts(op, user, n).hears(op, Outcome::Done)
    }
}

#[test]
fn what_was_lost_may_have_been_done_or_not() {
    let lost = Story::default().does(1, CYD, acquire(CYD), Outcome::Lost);
    lost.clone().asks(2, DAN, granted(101)).is_good();
    lost.clone().asks(2, DAN, refused("lease-held")).is_good();
    lost.clone().restarts().shows(2, Some((CYD, 5)), 201).is_good();
    lost.shows(2, Some((DAN, 5)), 101).is_bad(LEASE);
    let kept = held().does(3, CYD, Act::Release { token: token(101) }, Outcome::Lost);
    kept.clone().drives(4, CYD, 101).is_good();
    kept.clone().asks(4, DAN, granted(102)).is_good();
    // Once it took effect, it did.
    kept.asks(4, DAN, granted(102)).tries(5, DAN, 102, "lease-token-unknown").drives(6, CYD, 101).is_bad(LEASE);
    // A change whose answer was lost was done if the device did it: and then its user held the object.
    let driven = held().releases(3, CYD, 101).sends(4, CYD, Act::Change { token: Some(token(101)) });
    driven.clone().hears(4, Outcome::Lost).is_good();
    driven.acts(4, CYD, 101).hears(4, Outcome::Lost).is_bad(LEASE);
}

#[test]
fn however_many_answers_are_lost_a_history_is_decided() {
    let encounter = |story: Story, n: u64| {
        story.asks(3 * n, "guest-fay", Outcome::Lost).asks(3 * n + 1, ADA, granted(100 + n)).releases(
            3 * n + 2,
            ADA,
            100 + n,
        )
    };
    let lost = (1..=40).fold(Story::default(), encounter);
    lost.is_good();
    // All that the lost ones may have done has to be gone through before it is known that nothing explains this.
    lost.asks(999, DAN, granted(101)).is_bad("none of these is possible");
}

#[test]
fn a_request_that_comes_to_nothing_ends_no_preemption_but_its_own() {
    let preempted = Story::default().asks(1, "guest-fay", granted(101)).sends(2, DAN, acquire(DAN));
    let preempted = preempted.tries(3, "guest-fay", 101, "lease-revoking");
    // One who weighs as much, and one who weighs more, ask beside.
    for (op, other) in [(4, CYD), (5, ADA)] {
        let beside = preempted.clone().sends(op, other, acquire(other)).tries(6, "guest-fay", 101, "lease-revoking");
        let beside = beside.hears(op, refused("lease-wait-over")).tries(7, "guest-fay", 101, "lease-revoking");
        beside.hears(2, granted(102)).is_good();
    }
    // And one who weighs as much, and is told at once that nothing comes of it.
    let beside = preempted.clone().asks(4, CYD, refused("lease-held")).tries(5, "guest-fay", 101, "lease-revoking");
    beside.hears(2, granted(102)).is_good();
    let alone = preempted.hears(2, refused("lease-wait-over"));
    alone.clone().drives(4, "guest-fay", 101).is_good();
    alone.tries(4, "guest-fay", 101, "lease-revoking").is_bad(LEASE);
}

#[test]
fn two_holders_at_once_are_found() {
    held().asks(3, DAN, granted(102)).is_bad(LEASE);
    held().asks(3, "guest-fay", granted(102)).is_bad(LEASE);
    held().later(TTL_MS).asks(3, DAN, granted(102)).is_good();
    held().later(TTL_MS / 2).asks(3, DAN, granted(102)).is_bad(LEASE);
    held().drives_alone(3, DAN, 102).is_bad(LEASE);
    held().stops().drives_alone(3, ADA, 102).is_good();
    let renewed =
        held().later(TTL_MS / 2).does(3, CYD, Act::Renew { token: token(101), ttl_ms: TTL_MS }, Outcome::Done);
    renewed.clone().later(TTL_MS / 2).asks(4, DAN, granted(102)).is_bad(LEASE);
    renewed.later(TTL_MS).asks(4, DAN, granted(102)).is_good();
}

#[test]
fn a_token_that_does_not_increase_is_found() {
    held().releases(3, CYD, 101).asks(4, DAN, granted(102)).is_good();
    held().releases(3, CYD, 101).asks(4, DAN, granted(101)).is_bad(LEASE);
    held().releases(3, CYD, 101).restarts().asks(4, DAN, granted(100)).is_bad(LEASE);
}

#[test]
fn a_token_that_passes_after_its_lease_is_found() {
    let over = held().releases(3, CYD, 101);
    over.clone().tries(4, CYD, 101, "lease-lost").is_good();
    over.drives(4, CYD, 101).is_bad(LEASE);
    let preempted = held().sends(3, ADA, acquire(ADA)).tries(4, CYD, 101, "lease-revoking");
    preempted.clone().stops().hears(3, granted(102)).is_good();
    preempted.clone().drives(5, CYD, 101).stops().hears(3, granted(102)).is_bad(LEASE);
    // When the higher one gives up, the lease is as before.
    preempted.clone().hears(3, refused("lease-wait-over")).drives(5, CYD, 101).is_good();
    held().restarts().drives(3, CYD, 101).is_bad(LEASE);
    held().restarts().drives(3, CYD, 201).is_good();
    held().drives(3, CYD, 102).is_bad(LEASE);
}

#[test]
fn a_grant_that_a_restart_forgot_or_changed_is_found() {
    held().restarts().shows(3, Some((CYD, 5)), 201).is_good();
    held().restarts().shows(3, None, 0).is_bad(LEASE);
    held().restarts().later(RETURN_MS).shows(3, None, 0).is_good();
    held().restarts().shows(3, Some((CYD, 9)), 201).is_bad(LEASE);
    held().restarts().shows(3, Some((DAN, 5)), 201).is_bad(LEASE);
    held().restarts().shows(3, Some((CYD, 5)), 101).is_bad(LEASE);
    held().restarts().asks(3, DAN, granted(201)).is_bad(LEASE);
}

#[test]
fn a_grant_whose_answer_was_on_its_way_at_a_kill_is_kept() {
    let killed = Story::default().sends(1, CYD, acquire(CYD)).note(Event::Killed).hears(1, granted(101));
    let started = killed.note(Event::Started);
    started.clone().shows(2, Some((CYD, 5)), 201).is_good();
    started.shows(2, None, 0).is_bad(LEASE);
    // A change without a token takes the object from who weighs less, also when nobody had it at first.
    let both = Story::default().sends(1, ADA, Act::Change { token: None }).asks(2, CYD, granted(101));
    let both = both.acts(1, ADA, 102).hears(1, Outcome::Done);
    both.asks(3, DAN, granted(103)).is_good();
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    Story::default().asks(1, CYD, refused("lease-held")).is_bad(LEASE);
    held().asks(3, ADA, refused("lease-held")).is_bad(LEASE);
    held().tries(3, CYD, 101, "lease-lost").is_bad(LEASE);
    held().tries(3, CYD, 101, "lease-revoking").is_bad(LEASE);
    held().tries(3, CYD, 101, "lease-token-stale").is_bad(LEASE);
    held().restarts().tries(3, CYD, 101, "lease-token-stale").is_good();
    held().later(TTL_MS).tries(3, CYD, 101, "lease-lost").is_good();
}

#[test]
fn a_device_that_an_older_token_drives_is_found() {
    // The lost change lingers, and acts after the next holder's.
    let lingering = held().sends(3, CYD, Act::Change { token: Some(token(101)) }).releases(4, CYD, 101);
    let next = lingering.asks(5, DAN, granted(102)).drives(6, DAN, 102);
    next.clone().hears(3, refused("lease-lost")).is_good();
    let bad = next.acts(3, CYD, 101).hears(3, Outcome::Lost);
    bad.is_bad("arm`");
    let device_only = |story: &Story| {
        let thing = Thing::new("arm").with("fencing", "deadline");
        super::devices::check(&History::new(&story.moments, &story.lines), &thing)
    };
    assert!(device_only(&bad).is_err_and(|wrong| wrong.contains("a token below")));
}

#[test]
fn a_device_that_is_not_at_rest_between_two_holders_is_found() {
    let taken = held().sends(3, ADA, acquire(ADA));
    taken.clone().stops().hears(3, granted(102)).drives(4, ADA, 102).is_good();
    taken.hears(3, granted(102)).drives(4, ADA, 102).is_bad("not at rest");
    let expired = held().later(TTL_MS).asks(3, DAN, granted(102));
    expired.clone().drives(4, DAN, 102).is_bad("not at rest");
    expired.stops().drives(4, DAN, 102).is_good();
}

#[test]
fn a_command_that_is_late_doubled_unasked_or_lost_is_found() {
    let command = |op: u64, not_after_ms| Command {
        user: CYD.to_owned(),
        token: Some(token(101)),
        not_after_ms,
        stop: false,
        speed: op,
        acted: true,
    };
    let sent = held().sends(3, CYD, Act::Change { token: Some(token(101)) });
    sent.clone().device(command(3, Some(1))).hears(3, Outcome::Done).is_bad("after its time");
    sent.clone().device(command(3, None)).hears(3, Outcome::Done).is_bad("without an end");
    sent.clone().device(Command { token: None, ..command(3, None) }).is_bad("without a token");
    sent.clone().hears(3, Outcome::Done).is_bad("never did it");
    sent.clone().acts(3, CYD, 101).acts(3, CYD, 101).hears(3, Outcome::Done).is_bad("done already");
    sent.clone().acts(3, DAN, 101).hears(3, Outcome::Done).is_bad("not what was asked for");
    sent.clone().acts(4, CYD, 101).is_bad("nobody asked");
    held().tries(3, CYD, 99, "lease-token-unknown").acts(3, CYD, 101).is_bad("arm`");
    // What was refused may have been on its way for as long as that was not told.
    let refused_late = sent.acts(3, CYD, 101).hears(3, refused("outside-timeout"));
    refused_late.is_good();
}

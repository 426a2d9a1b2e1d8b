//! Who takes an object, who comes back for it, and from whom it is taken: single guarantees of the table.

use twinway_protocol::lease::{
    Booking, Change, ClaimView, Done, EPOCHS_AHEAD_MAX, Effect, End, Fencing, Input, Notice, Phase, Refused, Request,
    Token, Wanted,
};

use crate::{
    rows::{answer, ended, held, held_before_a_restart, records, restarted},
    table::{One, TERMS, request},
    world::{claimant, object, system},
};

/// A holder that wishes to wait again when it loses the object.
fn requeueing() -> One {
    let mut one = One::new();
    let mut requeues = request(0, &[0], 2, 1_000);
    requeues.manner.requeue = true;
    one.ask(requeues);
    one.fenced(object(0));
    one
}

#[test]
fn what_is_taken_for_good_is_not_asked_for_again() {
    for grace in [false, true] {
        let mut one = requeueing();
        one.step(Input::Revoke { object: object(0), grace, reply: 90 });
        one.after(101);
        let view = one.view(object(0));
        assert_eq!((view.holder, view.waiting), (None, 0), "with grace: {grace}");
    }
}

#[test]
fn who_may_not_have_the_object_any_more_neither_waits_for_it_nor_keeps_it() {
    let mut one = requeueing();
    one.ask(request(1, &[0], 2, 1_000));
    let view = one.view(object(0));
    let of = |claim: Option<&ClaimView>| claim.map(|claim| claim.arrival).expect("it is there");
    let (holder, waiter) = (of(view.holder.as_ref()), of(view.queue.first()));
    let left = one.step(Input::Deny { object: object(0), arrival: waiter });
    let denied = |effect: &Effect| matches!(effect, Effect::Answer(_, Err(Refused::Ended(End::Denied, _))));
    assert!(left.iter().any(denied), "{left:?}");
    // Its grace is for the device's sake.
    one.step(Input::Deny { object: object(0), arrival: holder });
    assert_eq!(one.view(object(0)).phase, Phase::Revoking);
    one.after(101);
    let view = one.view(object(0));
    assert_eq!((view.holder, view.waiting), (None, 0));
    let nothing = one.step(Input::Deny { object: object(0), arrival: holder });
    assert!(nothing.is_empty(), "it has gone: {nothing:?}");
}

#[test]
fn a_token_that_no_backup_explains_raises_no_epoch_and_its_gate_does_not_count_as_fenced() {
    for epoch in [u64::MAX, 2 + EPOCHS_AHEAD_MAX] {
        let mut one = One::new();
        one.ask(request(0, &[0], 2, 0));
        let token = one.view(object(0)).token;
        let seen_before = Token { epoch, n: 7 };
        one.step(Input::Fenced { object: object(0), token, incarnation: 1, fencing: Fencing::Device, seen_before });
        assert_eq!((one.view(object(0)).token, one.view(object(0)).phase), (token, Phase::Fencing));
        one.ask(request(1, &[1], 2, 0));
        assert_eq!(one.view(object(1)).token.epoch, token.epoch, "other objects have nothing to do with it");
    }
    // As far ahead as a backup may lie behind.
    let mut one = One::new();
    one.ask(request(0, &[0], 2, 0));
    let (token, seen_before) = (one.view(object(0)).token, Token { epoch: 1 + EPOCHS_AHEAD_MAX, n: 7 });
    one.step(Input::Fenced { object: object(0), token, incarnation: 1, fencing: Fencing::Device, seen_before });
    assert_eq!(one.view(object(0)).token.epoch, 2 + EPOCHS_AHEAD_MAX);
}

#[test]
fn of_several_at_once_one_at_most_has_the_object_or_waits_for_it() {
    // FGMV-28 7.1.3 steps 10 and 11: who is not integrated hears so, and is not integrated later.
    for held in [false, true] {
        let mut one = if held { held_by_a_higher() } else { One::new() };
        let several =
            vec![(request(0, &[0], 2, 1_000), 80), (request(1, &[0], 3, 1_000), 81), (request(2, &[0], 1, 1_000), 82)];
        let effects = one.step(Input::Batch(several));
        assert_eq!((ended(&effects, 80), ended(&effects, 82)), (Some(End::Held), Some(End::Held)), "held: {held}");
        assert_eq!(answer(&effects, 81), None, "it has it or waits; held: {held}");
        assert_eq!(one.view(object(0)).waiting, usize::from(held));
    }
}

fn held_by_a_higher() -> One {
    let mut one = One::new();
    one.ask(request(3, &[0], 5, 0));
    one.fenced(object(0));
    one
}

#[test]
fn a_user_that_reserved_has_what_is_reserved_by_asking_for_it() {
    for comes_late in [false, true] {
        let mut one = if comes_late { One::new() } else { held_by_a_higher() };
        reserve(&mut one, 2);
        one.after(101);
        if comes_late {
            one.fenced(object(0));
        }
        if !comes_late {
            // Others of higher and lower priority stand beside it.
            one.ask(request(1, &[0], 3, 1_000));
            one.ask(request(2, &[0], 1, 1_000));
        }
        // It holds the object by now, or is in line for it.
        let mut own = request(0, &[0], 2, 1_000);
        own.ttl_ms = 1_500;
        let effects = one.step(Input::Request(own, 90));
        let granted = if comes_late {
            effects
        } else {
            assert_eq!((answer(&effects, 90), one.view(object(0)).waiting), (None, 3), "it does not wait for itself");
            one.step(Input::Release { shown: one.shown(3), reply: 91 });
            one.fenced(object(0));
            one.step(Input::Release { shown: one.shown(1), reply: 92 });
            one.fenced(object(0))
        };
        let Some(Ok(Done::Granted(grant))) = answer(&granted, 90) else { panic!("{granted:?}") };
        assert_eq!(grant.token, one.view(object(0)).token, "late: {comes_late}");
    }
}

/// User 0 reserves the object: in 100 ms, for 5 s.
fn reserve(one: &mut One, priority: u8) -> Vec<Effect> {
    let from = one.now().wall.plus_ms(100);
    let wanted = Wanted { object: object(0), priority, terms: TERMS };
    let who = claimant(0, twinway_protocol::lease::HolderClass::Person);
    let until = from.plus_ms(5_000);
    one.step(Input::Reserve(Booking { system: system(0), who, wanted, from, until, ttl_ms: 400 }, 1))
}

#[test]
fn who_waits_already_when_its_reservation_begins_has_the_reserved_place_and_no_second_one() {
    let mut one = One::new();
    let mut written = vec![(None, Change::Epoch(1))];
    written.extend(records(one.ask(request(1, &[0], 2, 0))));
    one.fenced(object(0));
    written.extend(records(reserve(&mut one, 2)));
    written.extend(records(one.ask(request(2, &[0], 2, 1_000))));
    // It would take it at a lower priority too.
    written.extend(records(one.step(Input::Request(request(0, &[0], 1, 1_000), 90))));
    written.extend(records(one.after(101)));
    let line = |one: &One| {
        let of = |claim: &ClaimView| (claim.who.holder.user.to_string(), claim.priority);
        one.view(object(0)).queue.iter().map(of).collect::<Vec<_>>()
    };
    let moved_up = [("user0".to_owned(), 2), ("user2".to_owned(), 2)];
    assert_eq!(line(&one), moved_up);
    assert_eq!(line(&restarted(&one, &written)), moved_up, "the journal says the same");
    one.step(Input::Release { shown: one.shown(1), reply: 91 });
    let granted = one.fenced(object(0));
    assert!(matches!(answer(&granted, 90), Some(Ok(Done::Granted(_)))), "{granted:?}");
    assert_eq!(one.view(object(0)).waiting, 1);
}

#[test]
fn who_has_the_object_when_its_reservation_begins_keeps_it_untouched() {
    let mut one = One::new();
    reserve(&mut one, 2);
    one.ask(request(0, &[0], 2, 0));
    one.fenced(object(0));
    let before = one.view(object(0));
    let effects = one.after(101);
    assert!(matches!(&effects[..], [Effect::Record(_, Change::Unreserved { .. })]), "{effects:?}");
    let after = one.view(object(0));
    assert_eq!((after.phase, after.token, after.waiting), (Phase::Held, before.token, 0));
}

#[test]
fn what_a_reservation_weighs_and_whether_it_stands_follows_the_rules_before_it_begins_and_after() {
    for begun in [false, true] {
        let mut one = held_by_a_higher();
        reserve(&mut one, 2);
        let number = one.view(object(0)).reservations[0].id;
        if begun {
            one.after(101);
        }
        one.step(Input::Weigh { object: object(0), arrival: number, priority: 1 });
        let priority = |one: &One| {
            let view = one.view(object(0));
            let kept = view.reservations.first().map(|kept| kept.wanted.priority);
            kept.or(view.queue.first().map(|claim| claim.priority))
        };
        assert_eq!(priority(&one), Some(1), "begun: {begun}");
        let effects = one.step(Input::Deny { object: object(0), arrival: number });
        assert_eq!(priority(&one), None, "begun: {begun}");
        let told = effects.iter().any(|effect| {
            matches!(
                effect,
                Effect::Tell { notice: Notice::Dropped { end: End::Denied, .. } | Notice::Left(End::Denied), .. }
            )
        });
        assert!(told, "{effects:?}");
    }
}

#[test]
fn a_system_that_keeps_its_leases_alive_after_a_restart_does_not_shut_out_their_holders() {
    for fenced_first in [false, true] {
        let mut one = held_before_a_restart();
        let kept = Input::KeepAlive { system: system(0), reply: 80 };
        if fenced_first {
            one.fenced(object(0));
            one.step(kept);
        } else {
            one.step(kept);
            one.fenced(object(0));
        }
        let effects = one.step(Input::Request(request(0, &[0], 2, 0), 90));
        assert!(matches!(answer(&effects, 90), Some(Ok(Done::Granted(_)))), "{fenced_first}: {effects:?}");
        // Now it is here, and a second request of its user finds the object held.
        let effects = one.step(Input::Request(Request { id: None, ..request(0, &[0], 2, 0) }, 91));
        assert_eq!(ended(&effects, 91), Some(End::Held));
    }
}

#[test]
fn a_change_in_between_does_not_make_a_lost_token_another_objects() {
    let mut one = held();
    let lost = one.shown(0);
    let mut brief = request(1, &[0], 5, 0);
    brief.manner.one_shot = true;
    one.ask(brief);
    one.after(101);
    one.fenced(object(0));
    let brief = one.shown(1);
    one.step(Input::Release { shown: brief, reply: 80 });
    one.fenced(object(0));
    let effects = one.step(Input::Release { shown: lost, reply: 90 });
    assert_eq!(ended(&effects, 90), Some(End::Preempted));
}

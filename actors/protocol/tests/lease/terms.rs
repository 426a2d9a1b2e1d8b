//! Single guarantees of the terms and the limits: minimum hold, the emergency class, full queues and tables, and what
//! can be reserved (FGMV-28 7.1.3, REQ-DT-08).

use twinway_protocol::lease::{
    Booking, Done, Effect, End, HolderClass, LeaseLimits, Notice, Objects, Phase, Refused, Request, Reservation, Terms,
    Wanted,
};
use twinway_protocol::lease::{Input, Priority, Reply};

use crate::{
    table::{One, TERMS, request},
    world::{claimant, limits, object, system},
};

fn answer(effects: &[Effect], to: Reply) -> Option<&Result<Done, Refused>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer(reply, answer) if *reply == to => Some(answer),
        _ => None,
    })
}

/// A request on these terms.
fn on(terms: Terms, request: Request) -> Request {
    let with = |wanted: &Wanted| Wanted { terms, ..*wanted };
    let objects = match &request.objects {
        Objects::One(wanted) => Objects::One(with(wanted)),
        Objects::Set(set) => Objects::Set(set.iter().map(with).collect()),
    };
    Request { objects, ..request }
}

fn emergency(user: usize, priority: Priority) -> Request {
    Request { who: claimant(user, HolderClass::Emergency), ..request(user, &[0], priority, 0) }
}

/// User 0 holds at priority 2, on these terms.
fn held_on(terms: Terms) -> One {
    let mut one = One::new();
    one.ask(on(terms, request(0, &[0], 2, 0)));
    one.fenced(object(0));
    one
}

const MIN_HOLD: Terms = Terms { min_hold_ms: 400, ..TERMS };

#[test]
fn who_holds_keeps_it_for_its_minimum_hold_and_then_for_its_grace() {
    let mut one = held_on(MIN_HOLD);
    one.after(50);
    one.ask(request(1, &[0], 5, 1_000));
    assert_eq!(one.view(object(0)).phase, Phase::Held);
    one.after(349);
    assert_eq!(one.view(object(0)).phase, Phase::Held, "a millisecond is left");
    let effects = one.after(1);
    let revoked = effects.iter().find_map(|effect| match effect {
        Effect::Tell { notice: Notice::Revoking { in_ms, .. }, .. } => Some(*in_ms),
        _ => None,
    });
    assert_eq!((one.view(object(0)).phase, revoked), (Phase::Revoking, Some(100)));
    one.after(99);
    assert_eq!(one.view(object(0)).phase, Phase::Revoking, "its grace is not over");
    one.after(1);
    let view = one.view(object(0));
    assert_eq!(view.holder.map(|claim| claim.who.holder.user.to_string()), Some("user1".to_owned()));
}

#[test]
fn a_minimum_hold_that_is_over_delays_nothing() {
    let mut one = held_on(Terms { grace_ms: 0, ..MIN_HOLD });
    one.after(400);
    one.ask(request(1, &[0], 5, 0));
    let holder = one.view(object(0)).holder.expect("somebody has it");
    assert_eq!(holder.who.holder.user.to_string(), "user1");
}

#[test]
fn nobody_is_revoked_after_the_minimum_hold_for_who_waits_no_more() {
    let mut one = held_on(MIN_HOLD);
    one.ask(request(1, &[0], 5, 1_000));
    one.step(Input::Cancel { system: system(1), id: request(1, &[0], 5, 0).id.expect("it has one"), reply: 90 });
    one.after(500);
    assert_eq!(one.view(object(0)).phase, Phase::Held);
}

#[test]
fn an_emergency_waits_neither_for_the_minimum_hold_nor_for_the_grace() {
    let mut one = held_on(MIN_HOLD);
    let effects = one.ask(emergency(1, 5));
    let lost = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Tell { notice: Notice::Lost { end: End::Preempted, .. }, .. }));
    assert!(lost, "{effects:?}");
    let stops = effects.iter().any(|effect| matches!(effect, Effect::Fence { stop: true, .. }));
    assert!(stops, "the device is brought to its safe stop all the same: {effects:?}");
    let view = one.view(object(0));
    assert_eq!(view.holder.map(|claim| claim.who.holder.user.to_string()), Some("user1".to_owned()));
}

#[test]
fn an_emergency_ends_a_grace_that_has_begun_for_another() {
    let mut one = held_on(TERMS);
    one.ask(request(1, &[0], 3, 1_000));
    assert_eq!(one.view(object(0)).phase, Phase::Revoking);
    one.ask(emergency(2, 5));
    let view = one.view(object(0));
    assert_eq!(view.holder.map(|claim| claim.who.holder.user.to_string()), Some("user2".to_owned()));
    assert_eq!(view.queue.len(), 1, "the other waits for it still");
}

#[test]
fn an_emergency_that_is_not_above_the_holder_takes_nothing() {
    for priority in [1, 2] {
        let mut one = held_on(TERMS);
        let effects = one.ask(emergency(1, priority));
        assert!(matches!(answer(&effects, 2), Some(Err(Refused::Ended(End::Held, _)))), "{effects:?}");
        assert_eq!(one.view(object(0)).phase, Phase::Held);
    }
}

#[test]
fn a_queue_that_is_full_refuses_who_would_wait_and_nobody_who_wins() {
    let mut one = held_on(TERMS);
    let places = limits().lease_queue_max;
    for user in 1..=places {
        let effects = one.ask(request(user, &[0], 1, 1_000));
        assert_eq!(answer(&effects, one.reply), None, "there is a place for user {user}");
    }
    let effects = one.ask(request(7, &[0], 1, 1_000));
    assert_eq!(effects, [Effect::Answer(one.reply, Err(Refused::QueueFull))], "and nothing is written down");
    assert_eq!(one.view(object(0)).waiting, places);
    // The same request is no repetition: nothing of it was kept.
    one.step(Input::Cancel { system: system(1), id: request(1, &[0], 1, 0).id.expect("it has one"), reply: 90 });
    let effects = one.ask(request(7, &[0], 1, 1_000));
    assert_eq!(answer(&effects, one.reply), None, "there is a place for it now");
    let effects = one.ask(request(8, &[0], 5, 0));
    assert_eq!(answer(&effects, one.reply), None, "who is above the holder does not wait in line");
    assert_eq!(one.view(object(0)).phase, Phase::Revoking);
}

#[test]
fn a_table_that_is_full_refuses_new_requests_and_still_answers_old_ones() {
    let mut one = One::with(LeaseLimits { lease_claims_max: 2, ..limits() });
    one.ask(request(0, &[0], 2, 0));
    one.ask(request(1, &[1], 2, 0));
    let effects = one.ask(request(2, &[2], 2, 0));
    assert_eq!(effects, [Effect::Answer(3, Err(Refused::ClaimsFull))]);
    let effects = one.fenced(object(0));
    assert!(matches!(answer(&effects, 1), Some(Ok(Done::Granted(_)))));
    let effects = one.ask(request(0, &[0], 2, 0));
    assert!(matches!(answer(&effects, 4), Some(Ok(Done::Granted(_)))), "a repetition needs no place");
    // What has ended gives its place up before its id would be forgotten.
    one.step(Input::Release { shown: one.shown(0), reply: 90 });
    let effects = one.ask(request(2, &[2], 2, 0));
    assert_eq!(answer(&effects, 5), None, "its gate is asked: {effects:?}");
}

/// A reservation from so many milliseconds ahead to so many.
fn booking(one: &One, user: usize, priority: Priority, from_ms: u64, until_ms: u64) -> Booking {
    let wall = one.now().wall;
    Booking {
        system: system(user),
        who: claimant(user, HolderClass::Person),
        wanted: Wanted { object: object(0), priority, terms: TERMS },
        from: wall.plus_ms(from_ms),
        until: wall.plus_ms(until_ms),
        ttl_ms: 400,
    }
}

fn reserve(one: &mut One, booking: Booking) -> (Result<u64, Refused>, Vec<Effect>) {
    let effects = one.step(Input::Reserve(booking, 1));
    let told = match answer(&effects, 1) {
        Some(Ok(Done::Reserved(id))) => Ok(*id),
        Some(Err(refused)) => Err(refused.clone()),
        other => panic!("{other:?}"),
    };
    (told, effects)
}

fn reservations(one: &One) -> Vec<Reservation> {
    one.table.view(object(0), 0).map(|view| view.reservations).unwrap_or_default()
}

#[test]
fn a_time_that_is_none_is_over_or_too_far_ahead_cannot_be_reserved() {
    let mut one = One::new();
    one.now_ms = 10_000;
    let ahead_ms = limits().lease_reservation_ahead_ms_max;
    let windows = [
        ("it ends as it begins", 100, 100),
        ("it ends before it begins", 200, 100),
        ("it begins too far ahead", ahead_ms + 1, ahead_ms + 500),
    ];
    for (why, from_ms, until_ms) in windows {
        let wish = booking(&one, 3, 2, from_ms, until_ms);
        let (told, effects) = reserve(&mut one, wish);
        assert_eq!((told, effects.len()), (Err(Refused::Window), 1), "{why}");
    }
    let mut over = booking(&one, 3, 2, 0, 0);
    over.from = one.now().wall.plus_ms(0);
    (over.until, one.now_ms) = (over.from.plus_ms(500), one.now_ms + 500);
    assert_eq!(reserve(&mut one, over).0, Err(Refused::Window), "it is over");
    let last = booking(&one, 3, 2, ahead_ms, ahead_ms + 500);
    assert!(reserve(&mut one, last).0.is_ok(), "as far ahead as can be");
    for ttl_ms in [0, limits().lease_ttl_ms_max + 1] {
        let wish = Booking { ttl_ms, ..booking(&one, 3, 2, 100, 200) };
        assert_eq!(reserve(&mut one, wish).0, Err(Refused::Ttl));
    }
    assert_eq!(reservations(&one).len(), 1, "what was refused is not kept");
}

#[test]
fn an_object_has_only_so_many_reservations() {
    let mut one = One::new();
    let places = limits().lease_reservations_max as u64;
    for place in 0..places {
        let wish = booking(&one, 3, 2, 1_000 + place * 100, 1_100 + place * 100);
        assert!(reserve(&mut one, wish).0.is_ok());
    }
    // Beside all others.
    let wish = booking(&one, 3, 2, 500, 600);
    assert_eq!(reserve(&mut one, wish).0, Err(Refused::Window));
    assert_eq!(reservations(&one).len() as u64, places);
}

#[test]
fn a_time_that_somebody_not_lower_has_reserved_is_taken_and_he_is_named() {
    let mut one = One::new();
    let first = booking(&one, 3, 2, 1_000, 2_000);
    let id = reserve(&mut one, first).0.expect("it is free");
    for (priority, from_ms, until_ms) in [(2, 1_500, 2_500), (1, 500, 1_001), (2, 1_200, 1_300), (1, 500, 2_500)] {
        let wish = booking(&one, 4, priority, from_ms, until_ms);
        let (told, effects) = reserve(&mut one, wish);
        let Err(Refused::Taken(by)) = told else { panic!("{told:?}") };
        assert_eq!((by.id, by.who.holder.user.to_string(), effects.len()), (id, "user3".to_owned(), 1));
    }
    let before = booking(&one, 4, 2, 500, 1_000);
    let behind = booking(&one, 4, 1, 2_000, 2_500);
    assert!(reserve(&mut one, before).0.is_ok() && reserve(&mut one, behind).0.is_ok(), "they only touch");
}

#[test]
fn a_higher_reservation_displaces_lower_ones_which_are_told() {
    let mut one = One::new();
    let [lower, higher] = [(3, 1, 1_000, 1_500), (4, 3, 2_000, 2_500)].map(|(user, priority, from_ms, until_ms)| {
        let wish = booking(&one, user, priority, from_ms, until_ms);
        reserve(&mut one, wish).0.expect("it is free")
    });
    let wish = booking(&one, 5, 2, 1_200, 2_100);
    assert!(matches!(reserve(&mut one, wish).0, Err(Refused::Taken(by)) if by.id == higher), "one of two is not lower");
    let kept: Vec<u64> = reservations(&one).iter().map(|reservation| reservation.id).collect();
    assert_eq!(kept, [lower, higher], "so the other stays too");
    let wish = booking(&one, 5, 2, 1_200, 2_000);
    let (told, effects) = reserve(&mut one, wish);
    let id = told.expect("only a lower one is in the way");
    let unreserved: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell { who, notice: Notice::Unreserved(id), .. } => Some((who.holder.user.to_string(), *id)),
            _ => None,
        })
        .collect();
    assert_eq!(unreserved, [("user3".to_owned(), lower)]);
    let kept: Vec<u64> = reservations(&one).iter().map(|reservation| reservation.id).collect();
    assert_eq!(kept, [higher, id]);
}

#[test]
fn when_a_reservation_begins_a_younger_lease_of_its_priority_ends_and_an_older_or_higher_one_stays() {
    // (user, priority of the lease, whether it was there before the reservation, who has it when that begins)
    for (priority, older, has_it) in [(2, false, "user3"), (1, true, "user3"), (2, true, "user0"), (3, false, "user0")]
    {
        let mut one = One::new();
        let terms = Terms { grace_ms: 0, ..TERMS };
        let lease = |one: &mut One| {
            one.ask(Request { ttl_ms: 2_000, ..on(terms, request(0, &[0], priority, 0)) });
            one.fenced(object(0));
        };
        if older {
            lease(&mut one);
        }
        let wish = booking(&one, 3, 2, 100, 5_000);
        reserve(&mut one, wish).0.expect("nobody has reserved it");
        if !older {
            lease(&mut one);
        }
        one.after(100);
        let holder = one.view(object(0)).holder.expect("somebody has it");
        assert_eq!(holder.who.holder.user.to_string(), has_it, "priority {priority}, older: {older}");
    }
}

//! Single guarantees of the table: what the histories once found broken, and what the snapshot of states cannot show.

use twinway_protocol::{
    EntityId, Recovery,
    lease::{
        Booking, Done, Effect, End, Fencing, Input, Notice, Objects, Phase, Refused, Reply, Request, Shown, Table,
        Terms, Token, Wanted,
    },
};

use crate::{
    table::{One, TERMS, request},
    world::{claimant, limits, object, system},
};

pub(crate) fn answer(effects: &[Effect], to: Reply) -> Option<&Result<Done, Refused>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer(reply, answer) if *reply == to => Some(answer),
        _ => None,
    })
}

pub(crate) fn ended(effects: &[Effect], to: Reply) -> Option<End> {
    match answer(effects, to) {
        Some(Err(Refused::Ended(end, _))) => Some(*end),
        _ => None,
    }
}

/// A table made anew of what another one wrote.
pub(crate) fn restarted(before: &One, records: &[(Option<EntityId>, twinway_protocol::lease::Change)]) -> One {
    let mut table = Table::new(limits());
    records.iter().for_each(|(object, change)| table.replay(*object, change));
    One { table, now_ms: before.now_ms, reply: 50 }
}

pub(crate) fn records(effects: Vec<Effect>) -> Vec<(Option<EntityId>, twinway_protocol::lease::Change)> {
    effects
        .into_iter()
        .filter_map(|effect| if let Effect::Record(to, change) = effect { Some((to, change)) } else { None })
        .collect()
}

pub(crate) fn held() -> One {
    let mut one = One::new();
    one.ask(request(0, &[0], 2, 0));
    one.fenced(object(0));
    one
}

/// Somebody held the object in the life before; its gate has not answered yet.
pub(crate) fn held_before_a_restart() -> One {
    let mut one = One::new();
    let mut written = vec![(None, twinway_protocol::lease::Change::Epoch(1))];
    written.extend(records(one.ask(request(0, &[0], 2, 0))));
    written.extend(records(one.fenced(object(0))));
    let mut one = restarted(&one, &written);
    one.step(Input::Recover(Recovery::Start));
    one
}

#[test]
fn a_reservation_that_began_while_the_daemon_was_away_is_granted_in_the_new_epoch() {
    let mut one = One::new();
    let from = one.now().wall.plus_ms(100);
    let wanted = Wanted { object: object(0), priority: 2, terms: TERMS };
    let who = claimant(3, twinway_protocol::lease::HolderClass::Person);
    let booking = Booking { system: system(3), who, wanted, from, until: from.plus_ms(5_000), ttl_ms: 400 };
    let mut written = vec![(None, twinway_protocol::lease::Change::Epoch(1))];
    written.extend(records(one.step(Input::Reserve(booking, 1))));
    let mut again = restarted(&one, &written);
    again.now_ms += 200;
    let effects = again.step(Input::Recover(Recovery::Start));
    let fence =
        effects.iter().find_map(|effect| if let Effect::Fence { token, .. } = effect { Some(*token) } else { None });
    assert_eq!(fence.map(|token| token.epoch), Some(2));
}

#[test]
fn a_set_is_granted_whole_or_not_at_all_and_two_of_them_never_block_each_other() {
    let mut one = One::new();
    one.ask(request(0, &[0, 1], 2, 0));
    one.ask(request(1, &[1, 0], 2, 1_000));
    one.fenced(object(0));
    assert_eq!(one.view(object(0)).phase, Phase::Fencing, "one gate alone grants nothing");
    let effects = one.fenced(object(1));
    assert!(matches!(answer(&effects, 1), Some(Ok(Done::Granted(_)))));
    one.step(Input::Release { shown: one.shown(0), reply: 90 });
    one.fenced(object(0));
    let effects = one.fenced(object(1));
    assert!(matches!(answer(&effects, 2), Some(Ok(Done::Granted(_)))), "the other set has both now");
}

#[test]
fn a_set_that_loses_its_place_revokes_nobody_for_its_other_objects() {
    let mut one = One::new();
    for (user, at) in [(0, 0), (1, 1)] {
        one.ask(request(user, &[at], 1, 0));
        one.fenced(object(at));
    }
    one.ask(request(2, &[0, 1], 2, 1_000));
    assert_eq!([0, 1].map(|at| one.view(object(at)).phase), [Phase::Revoking; 2]);
    // Somebody above the set comes for one of its objects and waits: the other object's holder keeps it.
    let effects = one.ask(request(3, &[0], 5, 1_000));
    assert_eq!(one.view(object(1)).phase, Phase::Held);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Tell { notice: Notice::Withdrawn(_), .. })));
}

#[test]
fn a_successor_that_lost_its_place_still_stops_waiting_in_time() {
    let mut one = held();
    let waits = one.ask(request(1, &[0], 3, 50));
    assert_eq!(answer(&waits, 2), None);
    one.ask(request(2, &[0], 4, 1_000));
    assert_eq!(ended(&one.after(51), 2), Some(End::WaitOver));
}

/// The lease whose gate is being fenced anew is renewed by a keep-alive that counts it, and lasts as long as that says.
fn is_kept(one: &mut One) {
    let effects = one.step(Input::KeepAlive { system: system(0), reply: 90 });
    assert_eq!(answer(&effects, 90), Some(&Ok(Done::Kept(1))));
    let token = one.view(object(0)).token;
    assert!(effects.contains(&Effect::Extend { object: object(0), token, ttl_ms: 1_000 }), "{effects:?}");
    one.after(200);
    let effects = one.fenced(object(0));
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Tell { notice: Notice::Granted(grant), .. } => Some(grant.expires_in_ms),
        _ => None,
    });
    assert_eq!(told, Some(800));
    one.after(799);
    assert_eq!(one.view(object(0)).phase, Phase::Held);
    assert!(one.after(1).iter().any(|effect| matches!(effect, Effect::Tell { notice: Notice::Lost { .. }, .. })));
}

#[test]
fn a_keep_alive_renews_a_lease_whose_gate_is_being_fenced_anew() {
    let mut one = held();
    one.after(900);
    one.step(Input::GateStarted { object: object(0), incarnation: 1 });
    one.after(50);
    is_kept(&mut one);
    // So does one after a restart: the holder's system is back with it.
    is_kept(&mut held_before_a_restart());
}

#[test]
fn the_gates_of_a_lease_hear_what_its_holder_weighs_now() {
    let mut one = One::new();
    one.ask(request(0, &[0, 1], 2, 0));
    let arrival = one.view(object(0)).holder.expect("somebody is about to have it").arrival;
    let weigh = |priority| Input::Weigh { object: object(1), arrival, priority };
    let weighed = |one: &mut One, priority| -> Vec<_> {
        let effects = one.step(weigh(priority)).into_iter();
        let weights = effects.filter_map(|effect| match effect {
            Effect::Weigh { object, token, priority } => Some((object, token, priority)),
            _ => None,
        });
        weights.collect()
    };
    // A gate was told with its fence, which may not be done yet.
    let token = one.view(object(0)).token;
    assert_eq!(weighed(&mut one, 1), [(object(0), token, 1), (object(1), token, 1)]);
    one.fenced(object(0));
    one.fenced(object(1));
    assert_eq!(weighed(&mut one, 0), [(object(0), token, 0), (object(1), token, 0)]);
    assert_eq!(weighed(&mut one, 0), [], "they know");
}

#[test]
fn a_holder_declines_for_its_equals_only() {
    let mut one = held();
    let asks = |user, priority| {
        let mut asks = request(user, &[0], priority, 1_000);
        asks.manner.ask = true;
        asks
    };
    one.ask(asks(1, 2));
    one.ask(asks(2, 3));
    let effects = one.step(Input::Yield { shown: one.shown(0), yields: false, reply: 90 });
    assert_eq!(ended(&effects, 2), Some(End::Declined));
    assert_eq!(answer(&effects, 3), None, "who is above the holder does not depend on its word");
    assert_eq!(one.view(object(0)).phase, Phase::Revoking);
}

#[test]
fn a_holder_declines_for_all_who_asked_for_any_object_of_its_lease() {
    let mut one = One::new();
    one.ask(request(0, &[0, 1], 2, 0));
    one.fenced(object(0));
    one.fenced(object(1));
    for (user, objects) in [(1, &[1][..]), (2, &[0, 1]), (3, &[0])] {
        let mut asks = request(user, objects, 2, 1_000);
        asks.manner.ask = user != 3;
        one.ask(asks);
    }
    let decline = Input::Yield { shown: one.shown(0), yields: false, reply: 90 };
    let effects = one.step(decline.clone());
    assert_eq!([2, 3, 4].map(|reply| ended(&effects, reply)), [Some(End::Declined), Some(End::Declined), None]);
    assert_eq!(answer(&effects, 90), Some(&Ok(Done::Settled)));
    assert_eq!(answer(&one.step(decline), 90), Some(&Err(Refused::NotAsked)), "who waits has not asked");
}

#[test]
fn who_comes_back_after_a_restart_is_answered_once_and_keeps_its_lease_under_both_ids() {
    let mut one = held_before_a_restart();
    let mut other_id = request(0, &[0], 2, 0);
    other_id.id = Some(twinway_protocol::lease::RequestId(99));
    one.ask(other_id.clone());
    let superseded = one.ask(other_id.clone());
    assert_eq!(answer(&superseded, 51), Some(&Err(Refused::Superseded)));
    let effects = one.fenced(object(0));
    let Some(Ok(Done::Granted(grant))) = answer(&effects, 52) else { panic!("it holds: {effects:?}") };
    assert_eq!(grant.expires_in_ms, 1_000, "it came back: the lease lasts as long as it asked for");
    for again in [other_id, request(0, &[0], 2, 0)] {
        let effects = one.ask(again);
        assert!(matches!(answer(&effects, one.reply), Some(Ok(Done::Granted(_)))));
    }
}

/// FGMV-28 REQ-DT-07: after a restart a lease waits for its holder: that user of that system, and nobody else.
#[test]
fn nobody_else_takes_up_the_lease_of_a_holder_who_has_not_come_back_yet() {
    for (user, from) in [(1, 0), (0, 1)] {
        let mut one = held_before_a_restart();
        one.fenced(object(0));
        let stranger = Request { system: system(from), id: None, ..request(user, &[0], 2, 0) };
        let effects = one.ask(stranger);
        assert!(matches!(answer(&effects, one.reply), Some(Err(_))), "{effects:?}");
    }
}

#[test]
fn a_token_that_no_gate_has_answered_is_told_to_nobody() {
    let mut one = held();
    let old = one.shown(0);
    one.step(Input::Recover(Recovery::Failure));
    let effects = one.step(Input::Renew { shown: old, ttl_ms: 1_000, reply: 90 });
    assert_eq!(answer(&effects, 90), Some(&Err(Refused::TokenStale(None))));
}

#[test]
fn late_news_of_a_gates_past_life_is_not_heeded() {
    let mut one = held();
    one.step(Input::GateStarted { object: object(0), incarnation: 3 });
    one.step(Input::GateStarted { object: object(0), incarnation: 2 });
    let token = one.view(object(0)).token;
    let seen_before = Token::NONE;
    one.step(Input::Fenced { object: object(0), token, incarnation: 3, fencing: Fencing::Drained, seen_before });
    assert_eq!(one.view(object(0)).phase, Phase::Held);
}

#[test]
fn a_device_that_has_seen_the_same_token_before_shows_a_restored_backup() {
    let mut one = One::new();
    one.ask(request(0, &[0], 2, 0));
    let token = one.view(object(0)).token;
    let answer =
        Input::Fenced { object: object(0), token, incarnation: 1, fencing: Fencing::Device, seen_before: token };
    one.step(answer);
    let view = one.view(object(0));
    assert!(view.token > token && view.phase == Phase::Fencing, "the lease has a token that nobody ever had");
}

#[test]
fn a_lost_lease_says_how_it_was_lost_and_a_vanished_holder_does_not_queue_again() {
    let mut one = One::new();
    let mut requeues = request(0, &[0], 2, 500);
    requeues.manner.requeue = true;
    one.ask(requeues);
    one.fenced(object(0));
    let lost = one.shown(0);
    one.after(1_001);
    let effects = one.step(Input::Release { shown: lost, reply: 90 });
    assert_eq!(ended(&effects, 90), Some(End::Expired));
    assert_eq!(one.view(object(0)).waiting, 0);
}

#[test]
fn a_revoked_holder_that_wished_so_waits_again_behind_its_equals() {
    let mut one = One::new();
    let mut requeues = request(0, &[0], 2, 1_000);
    requeues.manner.requeue = true;
    one.ask(requeues);
    one.fenced(object(0));
    one.ask(request(1, &[0], 2, 1_000));
    one.ask(request(2, &[0], 3, 1_000));
    let effects = one.after(101);
    let requeued = |effect: &Effect| matches!(effect, Effect::Tell { notice: Notice::Lost { requeued: true, .. }, .. });
    assert!(effects.iter().any(requeued));
    let users: Vec<_> = one.view(object(0)).queue.iter().map(|claim| claim.who.holder.user.to_string()).collect();
    assert_eq!(users, ["user1", "user0"]);
}

#[test]
fn bad_input_is_refused_each_by_its_own_reason_and_changes_nothing() {
    let mut one = held();
    one.ask(request(1, &[1], 2, 0));
    one.fenced(object(1));
    let before = format!("{:?}{:?}", one.view(object(0)), one.view(object(1)));
    let own = one.shown(0);
    let with = |token| Shown { token, ..own.clone() };
    let renew = |shown: Shown, ttl_ms| Input::Renew { shown, ttl_ms, reply: 90 };
    let requests = |change: fn(&mut twinway_protocol::lease::Request)| {
        let mut bad = request(3, &[0], 1, 0);
        change(&mut bad);
        Input::Request(bad, 90)
    };
    let foreign = one.view(object(1)).token;
    let cases = [
        (renew(own.clone(), 0), Refused::Ttl),
        (renew(own.clone(), 2_001), Refused::Ttl),
        (renew(with(foreign), 100), Refused::TokenForeign),
        (renew(with(Token { epoch: 9, n: 1 }), 100), Refused::TokenUnknown),
        (renew(with(Token::NONE), 100), Refused::TokenUnknown),
        (renew(Shown { user: "eve".parse().expect("a name"), ..own.clone() }, 100), Refused::NotYours),
        (requests(|bad| bad.ttl_ms = 0), Refused::Ttl),
        (requests(|bad| bad.wait_ms = 1_501), Refused::Wait),
        (requests(|bad| bad.objects = Objects::Set(Box::default())), Refused::Set),
        (Input::Request(request(3, &[0, 0], 1, 0), 90), Refused::Set),
        (Input::Request(request(3, &[0, 1, 2, 3], 1, 0), 90), Refused::Set),
        (Input::Request(request(0, &[1], 2, 0), 90), Refused::IdReused),
        (Input::ReplaceGate { object: object(0), reply: 90 }, Refused::Unknown),
        (Input::Unreserve { object: object(0), id: 7, system: None, reply: 90 }, Refused::Unknown),
    ];
    for (input, refused) in cases {
        let effects = one.step(input.clone());
        assert_eq!(answer(&effects, 90), Some(&Err(refused)), "{input:?}");
        assert_eq!(effects.len(), 1, "{input:?}");
        assert_eq!(format!("{:?}{:?}", one.view(object(0)), one.view(object(1))), before, "{input:?}");
    }
    let twice = Input::Release { shown: own.clone(), reply: 91 };
    one.step(twice.clone());
    assert_eq!(ended(&one.step(twice), 91), Some(End::Released));
    let named_again = one.step(Input::Request(request(0, &[1], 2, 0), 92));
    assert_eq!(answer(&named_again, 92), Some(&Err(Refused::IdReused)), "the id of an ended lease is known still");
}

/// FGMV-28 REQ-DT-08, NOTE 1: while somebody waits, nobody keeps an object for longer than its terms say.
#[test]
fn while_somebody_waits_a_renewal_goes_no_further_than_the_terms_say() {
    for (somebody_waits, expires_in_ms) in [(false, 2_000), (true, 1_300)] {
        let mut one = One::new();
        let terms = Terms { hold_ms_max: 1_500, ..TERMS };
        let objects = Objects::One(Wanted { object: object(0), priority: 2, terms });
        one.ask(Request { objects, ..request(0, &[0], 2, 0) });
        one.fenced(object(0));
        one.now_ms += 200;
        if somebody_waits {
            one.ask(request(1, &[0], 2, 1_500));
        }
        let effects = one.step(Input::Renew { shown: one.shown(0), ttl_ms: 2_000, reply: 90 });
        let renewed = match answer(&effects, 90) {
            Some(Ok(Done::Granted(grant))) => grant.expires_in_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(renewed, expires_in_ms, "somebody waits: {somebody_waits}");
    }
}

#[test]
fn a_lease_of_one_change_is_given_back_by_its_first_token_and_renewed_by_its_newest_only() {
    let mut one = One::new();
    let mut brief = request(0, &[0], 2, 0);
    brief.manner.one_shot = true;
    let (system, user) = (brief.system, brief.who.holder.user.clone());
    one.ask(brief);
    one.fenced(object(0));
    let token = one.table.view(object(0), 0).expect("it is known").token;
    let shown = || Shown { object: object(0), token, system, user: user.clone() };
    // Its gate began a new life, and has not answered the new token.
    one.step(Input::GateStarted { object: object(0), incarnation: 9 });
    let effects = one.step(Input::Renew { shown: shown(), ttl_ms: 100, reply: 7 });
    assert!(matches!(answer(&effects, 7), Some(Err(_))), "{effects:?}");
    let effects =
        one.step(Input::Release { shown: Shown { user: "eve".parse().expect("a name"), ..shown() }, reply: 6 });
    assert!(matches!(answer(&effects, 6), Some(Err(_))), "it is not hers: {effects:?}");
    one.step(Input::Release { shown: shown(), reply: 8 });
    assert_eq!(one.table.view(object(0), 0).expect("it is known").holder, None);
}

//! Objects that nothing stands for any more (FGMV-29 8.3.1): everybody is answered, with the true reason, and nothing of
//! the object is left.

use twinway_protocol::lease::{
    Booking, Done, Effect, End, HolderClass, Input, Notice, Refused, Reply, Request, Wanted,
};

use crate::{
    table::{One, TERMS, request},
    world::{claimant, object, system},
};

fn answer(effects: &[Effect], to: Reply) -> Option<Result<Done, Refused>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer(reply, answer) if *reply == to => Some(answer.clone()),
        _ => None,
    })
}

fn ended(effects: &[Effect], to: Reply) -> Option<End> {
    match answer(effects, to) {
        Some(Err(Refused::Ended(end, _))) => Some(end),
        _ => None,
    }
}

/// User 0 holds the objects of these numbers, for which it was `asked`.
fn held(asked: Request) -> One {
    let mut one = One::new();
    let objects: Vec<_> = asked.objects.as_slice().iter().map(|wanted| wanted.object).collect();
    one.ask(asked);
    objects.into_iter().for_each(|object| drop(one.fenced(object)));
    one
}

fn retire(one: &mut One, number: usize) -> Vec<Effect> {
    one.step(Input::Retire { object: object(number), reply: 80 })
}

#[test]
fn the_end_of_an_object_waits_for_a_gate_that_is_closing_already() {
    let mut one = held(request(0, &[0], 2, 0));
    one.step(Input::Release { shown: one.shown(0), reply: 90 });
    let effects = retire(&mut one, 0);
    assert_eq!(answer(&effects, 80), None, "what the device was sent is under way still");
    let effects = one.fenced(object(0));
    assert_eq!([80, 90].map(|reply| answer(&effects, reply)), [Some(Ok(Done::Settled)), Some(Ok(Done::Settled))]);
    one.step(Input::Forget { object: object(0) });
    assert_eq!(one.table.counts().objects, 0);
    // Nothing is waited for where the gate is closed, or known not to answer.
    let mut one = held(request(0, &[0], 2, 0));
    one.step(Input::Release { shown: one.shown(0), reply: 90 });
    let effects = one.after(301);
    assert_eq!(answer(&effects, 90), Some(Ok(Done::Settled)));
    assert_eq!(answer(&retire(&mut one, 0), 80), Some(Ok(Done::Settled)));
}

#[test]
fn who_waits_for_the_gate_of_an_object_that_is_forgotten_is_answered() {
    let mut one = held(request(0, &[0, 1], 2, 0));
    one.step(Input::Release { shown: one.shown(0), reply: 90 });
    one.fenced(object(1));
    let effects = one.step(Input::Forget { object: object(0) });
    assert_eq!(answer(&effects, 90), Some(Ok(Done::Settled)));
}

#[test]
fn whoever_had_anything_of_an_object_hears_that_nothing_stands_for_it_any_more() {
    let mut one = held(request(0, &[0], 2, 0));
    one.ask(request(1, &[0], 2, 1_000));
    let from = one.now().wall.plus_ms(500);
    let wanted = Wanted { object: object(0), priority: 2, terms: TERMS };
    let who = claimant(3, HolderClass::Person);
    let booking = Booking { system: system(3), who, wanted, from, until: from.plus_ms(500), ttl_ms: 400 };
    one.step(Input::Reserve(booking, 70));
    let shown = one.shown(0);
    let effects = retire(&mut one, 0);
    assert_eq!(ended(&effects, 2), Some(End::Retired), "who waited");
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell { who, notice: Notice::Lost { end, .. }, .. }
            | Effect::Tell { who, notice: Notice::Dropped { end, .. }, .. } => {
                Some((who.holder.user.to_string(), *end))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [("user3".to_owned(), End::Retired), ("user0".to_owned(), End::Retired)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fence { stop: true, to: None, .. })), "{effects:?}");
    // Until it is forgotten, so does who shows its token, and who repeats its request.
    assert_eq!(ended(&one.step(Input::Release { shown, reply: 71 }), 71), Some(End::Retired));
    assert_eq!(ended(&one.ask(request(1, &[0], 2, 1_000)), one.reply), Some(End::Retired));
}

#[test]
fn who_loses_an_object_that_is_gone_waits_for_it_no_more_whatever_it_had_wished() {
    let mut requeues = request(0, &[0, 1], 2, 1_000);
    requeues.manner.requeue = true;
    let mut one = held(requeues);
    retire(&mut one, 0);
    one.fenced(object(1));
    let effects = one.fenced(object(0));
    assert_eq!(answer(&effects, 80), Some(Ok(Done::Settled)));
    assert_eq!([0, 1].map(|number| one.view(object(number)).waiting), [0, 0]);
    one.step(Input::Forget { object: object(0) });
    assert_eq!(one.table.counts().objects, 1);
}

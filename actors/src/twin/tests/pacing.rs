//! How often a twin is synchronized, and who is told (FGMV-28 REQ-DT-07).

use twinway_protocol::message::{SynchronizeEvery, TwinPropertiesRead};

use super::*;

fn wants(trial: &mut Trial<Twin>, name: &str, slot: u32, period_ms: Option<u32>) -> Vec<Effect<Wire>> {
    let watch = WatchTwin { metaverse: system_id(name), entity: metaverse(slot), selected: true, period_ms };
    trial.deliver(DTIA.id(), PendingKey::NONE, watch)
}

/// After how many milliseconds a timer runs out.
fn timer(effects: &[Effect<Wire>]) -> Option<(u64, PendingKey)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Timer { after_ms, key } => Some((*after_ms, *key)),
        _ => None,
    })
}

/// Lets so many milliseconds pass, has the timer run out, and gives the key by which the twin system is asked.
fn asked_after(trial: &mut Trial<Twin>, (ms, key): (u64, PendingKey)) -> PendingKey {
    trial.now.monotonic_ms += ms;
    let asked = sent_to::<DigitalTwinSystemMsg>(trial.timeout(key));
    let [(meta, DigitalTwinSystemMsg::ReadTwinProperties(_))] = &asked[..] else { panic!("{asked:?}") };
    meta.pending
}

/// The twin system says what the values are: who is told, and when the next time is.
fn answered(trial: &mut Trial<Twin>, asked: PendingKey) -> (Vec<u32>, (u64, PendingKey)) {
    let read = TwinPropertiesRead { values: values(&[("on", "true")]) };
    let effects = trial.deliver(system_actor(1).id(), asked, Ok(read));
    let next = timer(&effects).expect("there is a next time");
    let told = sent_to::<MetaverseSystemMsg>(effects).into_iter();
    (told.map(|(meta, _)| meta.to.slot()).collect(), next)
}

#[test]
fn each_system_is_told_at_its_own_period_and_the_object_is_asked_at_the_shortest() {
    let mut trial = trial();
    assert_eq!(timer(&wants(&mut trial, "idle", 3, None)), None, "nobody wants a period");
    let first = timer(&wants(&mut trial, "slow", 1, Some(5_000))).expect("it is armed");
    assert_eq!(first.0, 5_000);
    let sooner = timer(&wants(&mut trial, "fast", 2, Some(2_000))).expect("it is armed for earlier");
    assert_eq!(sooner.0, 2_000);

    let asked = asked_after(&mut trial, sooner);
    // Who has no period of its own is told whatever is read.
    let (told, next) = answered(&mut trial, asked);
    assert_eq!((told, next.0), (vec![2, 3], 2_000));
    let asked = asked_after(&mut trial, next);
    let (told, next) = answered(&mut trial, asked);
    assert_eq!((told, next.0), (vec![2, 3], 1_000), "the slow one is next");
    let asked = asked_after(&mut trial, next);
    assert_eq!(answered(&mut trial, asked).0, [3, 1]);
}

#[test]
fn a_report_of_the_object_reaches_everybody_whatever_their_periods() {
    let mut trial = trial();
    wants(&mut trial, "slow", 1, Some(5_000));
    wants(&mut trial, "fast", 2, Some(2_000));
    let told = sent_to::<MetaverseSystemMsg>(report(&mut trial, &[("on", "true")], 5));
    assert_eq!(told.len(), 2);
}

#[test]
fn a_period_ends_with_its_wish_its_selection_and_a_twin_system_that_cannot_be_asked_is_asked_again() {
    let mut trial = trial();
    let first = timer(&wants(&mut trial, "world", 1, Some(1_000))).expect("it is armed");
    let asked = asked_after(&mut trial, first);
    let failure: Result<TwinPropertiesRead, _> = Err(Problem::new(ProblemKind::OutsideUnreachable, "away"));
    let effects = trial.deliver(system_actor(1).id(), asked, failure);
    let next = timer(&effects).expect("it is tried again");
    assert_eq!(next.0, 1_000);
    // It does not want it any more: the timer that stands finds nobody.
    assert!(heard::<Kept>(wants(&mut trial, "world", 1, None)).is_some());
    trial.now.monotonic_ms += 1_000;
    assert_eq!(sent_to::<DigitalTwinSystemMsg>(trial.timeout(next.1)).len(), 0);

    // The twin's own period counts while somebody has selected it.
    let every = SynchronizeEvery { period_ms: Some(500) };
    let own = timer(&trial.deliver(DTAC.id(), PendingKey::NONE, every)).expect("it is armed");
    watch(&mut trial, "world", 1, false);
    trial.now.monotonic_ms += 500;
    assert_eq!(sent_to::<DigitalTwinSystemMsg>(trial.timeout(own.1)).len(), 0);
}

//! What becomes of a lease is told (FGMV-28 REQ-DT-07).

use super::*;

/// Who is told of what became of a lease.
fn reflected(effects: &[Effect<Wire>]) -> Vec<(EntityId, Option<TwinId>)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Send { wire: Some(Wire::Twin(TwinMsg::ReflectLease(told))), meta } => Some((meta.to, told)),
        Effect::Send { wire: Some(Wire::PhysicalObject(PhysicalObjectMsg::ReflectLease(told))), meta } => {
            Some((meta.to, told))
        }
        _ => None,
    });
    told.map(|(to, told)| (to, told.twin.clone())).collect()
}

/// FGMV-28 REQ-DT-07: also if somebody else, or one plain change, comes after it in the same step.
#[test]
fn the_end_of_a_lease_is_told_whoever_has_the_object_next() {
    let ended = || ("ended".to_owned(), Some(End::Preempted));
    let granted = || ("granted".to_owned(), None);
    for (one_shot, expected) in [(false, vec![ended(), granted()]), (true, vec![ended()])] {
        let mut trial = trial();
        hold(&mut trial, 0, "ada", 5);
        want(&mut trial, 1, "chief", 9, 0, one_shot);
        trial.now.monotonic_ms += 500;
        let mut effects = trial.timeout(PendingKey::NONE);
        assert_eq!(told(&effects), expected, "one-shot: {one_shot}");
        let [fence] = &fences(&mut effects)[..] else { panic!("the next is about to have it") };
        assert_eq!(fence.to.as_ref().map(|to| &to.holder.user), Some(&user("chief")));
    }
}

/// Plain changes come and go too often to be news.
#[test]
fn a_plain_change_that_ends_nobodys_lease_is_not_told() {
    let mut trial = trial();
    let mut effects = request_once(&mut trial, 0, "ada", 5, 0);
    assert_eq!(told(&effects), []);
    let [ada] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    assert_eq!(told(&fenced(&mut trial, ada.token)), []);
    // Another waits behind it, and has the object in the step in which the first lets go.
    assert_eq!(told(&request_once(&mut trial, 0, "bob", 5, 60_000)), []);
    let mut effects = let_go(&mut trial, "ada", ada.token);
    assert_eq!(told(&effects), []);
    let [bob] = &fences(&mut effects)[..] else { panic!("the gate is fenced for the next") };
    fenced(&mut trial, bob.token);
    // Of a lease that comes after it, the lease alone is told.
    assert_eq!(told(&request(&mut trial, 0, "eve", 5, 60_000)), [("queued".to_owned(), None)]);
    assert_eq!(told(&let_go(&mut trial, "bob", bob.token)), [("granted".to_owned(), None)]);
}

#[test]
fn one_plain_change_before_another_is_not_told_but_one_before_a_lease_is() {
    for (one_shot, expected) in [(true, vec![]), (false, vec![("revoking".to_owned(), None)])] {
        let mut trial = trial();
        let [fence] = &fences(&mut want(&mut trial, 0, "ada", 5, 0, one_shot))[..] else { panic!("it is granted") };
        fenced(&mut trial, fence.token);
        assert_eq!(told(&request_once(&mut trial, 0, "chief", 9, 0)), expected);
    }
}

/// FGMV-28 REQ-DT-07.
#[test]
fn every_twin_of_an_object_hears_what_became_of_its_lease() {
    let mut trial = trial();
    let twins = [("arm", 0), ("arm-too", 1)].map(|(twin, slot)| (twin_actor(slot).id(), Some(twin_id(twin))));
    assert_eq!(reflected(&request(&mut trial, 0, "ada", 5, 0)), twins);
    // In a new life it does not know yet what stands for the object: the object's actor does.
    let mut again = restarted(&trial, SYNC_SUPERVISOR.id());
    assert_eq!(reflected(&again.recovered()), [(object_actor(0).id(), None)]);
}

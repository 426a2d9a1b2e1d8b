//! What is kept: the history of objects, timers, the journal, and objects that go.

use super::*;

#[test]
fn an_operators_act_is_written_down_with_who_and_why_and_shown_to_operators_only() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let act = OperateSyncLease { twin: twin_id("arm"), act: OperatorAct::Clear, by: "olga: it smokes".into() };
    let mut effects = trial.deliver(EntityId::new(255, 0, 0), PendingKey::from_bits(4), act);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate closes") };
    assert!(fence.stop && fence.to.is_none() && fence.token > lease.token);
    assert!(heard::<SyncLeaseSettled>(fenced(&mut trial, fence.token)).expect("it is answered").is_ok());
    let noted = |view: &twinway_protocol::message::LeaseView| view.history.iter().any(|moment| moment.note.is_some());
    assert!(noted(&read(&mut trial, None)));
    assert!(!noted(&read(&mut trial, Some("world-0"))));
}

/// One plain change, from its request to its end.
fn change_once(trial: &mut Trial<SyncSupervisor>, by: &str) {
    let mut effects = request_once(trial, 0, by, 5, 0);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    fenced(trial, fence.token);
    let [closes] = &fences(&mut let_go(trial, by, fence.token))[..] else { panic!("the gate closes") };
    fenced(trial, closes.token);
}

fn operate(trial: &mut Trial<SyncSupervisor>, by: &str) {
    let act = OperateSyncLease { twin: twin_id("arm"), act: OperatorAct::Clear, by: by.into() };
    let mut effects = trial.deliver(EntityId::new(255, 0, 0), PendingKey::from_bits(4), act);
    for fence in fences(&mut effects) {
        fenced(trial, fence.token);
    }
}

#[test]
fn plain_changes_push_neither_operators_acts_nor_leases_out_of_the_history() {
    let mut before = trial();
    hold(&mut before, 0, "ada", 5);
    operate(&mut before, "olga: it smokes");
    let early: Vec<_> = read(&mut before, None).history;
    let whats: Vec<_> = early.iter().map(|moment| &*moment.what).collect();
    assert_eq!(whats, ["granted", "operator-clear", "ended"]);
    for n in 0..40 {
        change_once(&mut before, &format!("bob-{n}"));
    }
    let seen = read(&mut before, None).history;
    assert_eq!(seen[..3], early[..]);
    // The last of the plain changes are still shown, and no more than are of use.
    let late: Vec<_> = seen[3..].iter().map(|moment| (&*moment.what, moment.party.as_ref())).collect();
    assert_eq!(late.len(), ONE_SHOT_MOMENTS_MAX);
    let last = late.last().and_then(|(what, party)| Some((*what, party.as_ref()?.user.clone()?)));
    assert_eq!(last, Some(("ended", user("bob-39"))));
    // In the order in which they happened, although all of it happened in one millisecond.
    hold(&mut before, 0, "eve", 5);
    operate(&mut before, "olga: again");
    let seen = read(&mut before, None).history;
    let whats: Vec<_> = seen[seen.len() - 4..].iter().map(|moment| &*moment.what).collect();
    assert_eq!(whats, ["ended", "granted", "operator-clear", "ended"]);
    let id = SYNC_SUPERVISOR.id();
    for mut again in [restarted(&before, id), from_snapshots(&before, id, &[0, 1])] {
        again = begun(again).0;
        let after = read(&mut again, None).history;
        assert_eq!(after[..seen.len()], seen[..]);
    }
}

#[test]
fn operators_acts_are_kept_up_to_a_limit_of_their_own() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    for n in 0..ACTS_MAX + 5 {
        operate(&mut trial, &format!("olga: {n}"));
    }
    let history = read(&mut trial, None).history;
    let notes: Vec<_> = history.iter().filter_map(|moment| moment.note.as_deref()).collect();
    assert_eq!(notes.len(), ACTS_MAX);
    assert_eq!((notes[0], *notes.last().expect("there are some")), ("olga: 5", &*format!("olga: {}", ACTS_MAX + 4)));
    // The lease that was there before them is, too.
    assert!(history.iter().any(|moment| &*moment.what == "granted"));
}

/// Those in line are known for what they are, however many there are.
#[test]
fn a_long_line_of_plain_changes_is_told_to_nobody_also_after_a_restart() {
    let mut before = trial();
    let mut effects = request_once(&mut before, 0, "ada", 5, 0);
    let [ada] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    fenced(&mut before, ada.token);
    for n in 0..5 * ONE_SHOT_MOMENTS_MAX {
        request_once(&mut before, 0, &format!("bob-{n}"), 5, 60_000);
    }
    let mut effects = let_go(&mut before, "ada", ada.token);
    assert_eq!(told(&effects), []);
    let id = SYNC_SUPERVISOR.id();
    let again = [restarted(&before, id), from_snapshots(&before, id, &[0, 1])].map(begun);
    let [bob] = &fences(&mut effects)[..] else { panic!("the gate is fenced for the next") };
    let live = fenced(&mut before, bob.token);
    for (mut trial, mut effects) in again.into_iter().chain([(before, live)]) {
        let token = fences(&mut effects).first().map_or(bob.token, |fence| fence.token);
        fenced(&mut trial, token);
        assert_eq!(told(&let_go(&mut trial, "bob-0", token)), []);
        let history = read(&mut trial, None).history;
        let last = history.last().and_then(|moment| Some((&*moment.what, moment.party.as_ref()?.user.clone()?)));
        assert_eq!(last, Some(("granted", user("bob-1"))));
    }
}

/// Takes the timers of `effects` to those that are pending, as the runtime does.
fn set(trial: &Trial<SyncSupervisor>, effects: &[Effect<Wire>], pending: &mut Vec<u64>) {
    pending.extend(effects.iter().filter_map(|effect| match effect {
        Effect::Timer { after_ms, .. } => Some(trial.now.monotonic_ms + after_ms),
        _ => None,
    }));
}

/// Time passes, and timers run out; gives all that follows.
fn pass(trial: &mut Trial<SyncSupervisor>, ms: u64, pending: &mut Vec<u64>) -> Effects {
    let (until_ms, mut all) = (trial.now.monotonic_ms + ms, Vec::new());
    while let Some(next) = (0..pending.len()).min_by_key(|n| pending[*n]).filter(|n| pending[*n] <= until_ms) {
        trial.now.monotonic_ms = trial.now.monotonic_ms.max(pending.swap_remove(next));
        let effects = trial.timeout(PendingKey::NONE);
        set(trial, &effects, pending);
        all.extend(effects);
    }
    trial.now.monotonic_ms = until_ms;
    all
}

#[test]
fn short_waits_behind_a_lease_leave_no_timers_behind() {
    let (mut trial, mut pending) = (trial(), Vec::new());
    let mut effects = request(&mut trial, 0, "ada", 5, 0);
    set(&trial, &effects, &mut pending);
    let &[FenceGate { token, .. }] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    let effects = fenced(&mut trial, token);
    set(&trial, &effects, &mut pending);
    let mut timers_max = 0;
    for n in 0..200 {
        if n % 50 == 0 {
            let renew = RenewSyncLease { shown: shown(0, "ada", token), ttl_ms: 9_000 };
            let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), renew);
            set(&trial, &effects, &mut pending);
        }
        let effects = request(&mut trial, 1, "bob", 4, 50);
        set(&trial, &effects, &mut pending);
        let effects = pass(&mut trial, 60, &mut pending);
        assert_eq!(told(&effects), [("left".to_owned(), Some(End::WaitOver))]);
        timers_max = timers_max.max(pending.len());
    }
    assert!(timers_max <= 4, "{timers_max} timers are pending");
    // Those that are left are enough: the lease ends when it is due.
    let effects = pass(&mut trial, 9_000, &mut pending);
    assert_eq!(told(&effects), [("ended".to_owned(), Some(End::Expired))]);
}

#[test]
fn what_is_written_down_gives_holder_queue_and_history_again_and_a_new_epoch() {
    let mut before = trial();
    let lease = hold(&mut before, 0, "ada", 5);
    request(&mut before, 1, "bob", 4, 60_000);
    let seen = read(&mut before, None);
    let id = SYNC_SUPERVISOR.id();
    for again in [restarted(&before, id), from_snapshots(&before, id, &[0, 1])] {
        let (mut after, mut effects) = begun(again);
        let [fence] = &fences(&mut effects)[..] else { panic!("its gate is fenced anew") };
        assert!(fence.token.epoch > lease.token.epoch);
        fenced(&mut after, fence.token);
        let again = read(&mut after, None);
        assert_eq!((again.phase, &again.holder), (Phase::Held, &seen.holder));
        assert_eq!(again.queue.iter().map(|one| &one.party).collect::<Vec<_>>(), [&seen.queue[0].party]);
        assert!(again.history.len() > seen.history.len());
        assert_eq!(again.history[..seen.history.len()], seen.history[..]);
    }
}

/// FGMV-29 8.3.1: the twin system of `urn:arm` is deregistered.
fn forget(trial: &mut Trial<SyncSupervisor>) -> Effects {
    let mut sample = twin_system("works", 0, vec![twin("arm", Some("urn:arm")), twin("arm-too", Some("urn:arm"))]);
    sample.twins.iter_mut().for_each(|twin| twin.object = Some(object_actor(0)));
    let forget = ForgetTwinSystem { system: sample.system, twins: sample.twins.into() };
    trial.deliver(DTSR.id(), PendingKey::from_bits(8), forget)
}

#[test]
fn who_gave_an_object_back_is_answered_though_its_twin_system_is_deregistered_meanwhile() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let release = ReleaseSyncLease { shown: shown(0, "ada", lease.token) };
    let mut effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), release);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate closes") };
    assert!(heard::<Kept>(forget(&mut trial)).is_none(), "what the device was sent is under way still");
    let to: Vec<_> = fenced(&mut trial, fence.token)
        .into_iter()
        .filter_map(|effect| if let Effect::Send { meta, .. } = effect { Some((meta.to, meta.pending)) } else { None })
        .filter(|(_, pending)| *pending != PendingKey::NONE)
        .collect();
    assert_eq!(to, [(metaverse(0).id(), PendingKey::from_bits(5)), (DTSR.id(), PendingKey::from_bits(8))]);
    assert!(trial.behaviour.waiting.is_empty());
}

/// Between DTAC's word and the end of the object lies a moment in which nobody is given it.
#[test]
fn what_dtac_let_pass_before_the_twin_system_went_is_granted_nothing() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let wants =
        RequestSyncLease { metaverse: system_id("world-1"), request: asked("bob", None, 60_000), one_shot: false };
    let [key] = verifying(trial.deliver(metaverse(1).id(), PendingKey::from_bits(7), wants))[..] else {
        panic!("DTAC is asked")
    };
    let [fence] = &fences(&mut forget(&mut trial))[..] else { panic!("the gate closes") };
    assert!(fence.token > lease.token);
    let mut late = trial.deliver(DTAC.id(), key, verified(6));
    assert!(fences(&mut late).is_empty(), "nobody is given it");
    assert!(heard::<Kept>(fenced(&mut trial, fence.token)).is_some(), "the object ends");
    assert!(trial.behaviour.ending.is_empty());
}

#[test]
fn who_loses_an_object_because_its_twin_system_is_deregistered_hears_so() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    request(&mut trial, 1, "bob", 5, 60_000);
    let effects = forget(&mut trial);
    let told = sent_to::<MetaverseSystemMsg>(effects);
    let lost = told.iter().find_map(|(_, message)| match message {
        MetaverseSystemMsg::NotifyLease(notice) => Some(notice),
        _ => None,
    });
    let lost = lost.expect("the holder is told");
    let said = lost.data.as_str();
    assert!(lost.event == "lease.lost" && said.contains("\"retired\"") && said.contains("deregistered"), "{said}");
    let refused = told.iter().find_map(|(_, message)| match message {
        MetaverseSystemMsg::SyncLeaseGranted(answer) => answer.as_ref().err(),
        _ => None,
    });
    let refused = refused.expect("who waits is answered");
    assert_eq!(refused.kind, ProblemKind::TwinUnknown);
    assert!(refused.detail.contains("deregistered"), "{refused}");
}

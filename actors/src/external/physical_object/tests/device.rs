//! Devices that check tokens themselves (FGMV-28 7.1.3 steps 8 and 9).

use super::*;

/// A gate of which the device was sent a command, and that is asked to fence; gives the questions to the device.
fn asked(gate: &mut Gate) -> Vec<(EntityId, PendingKey, FenceDevice)> {
    passes(gate, token(1));
    let effects = fence(gate, token(2), bob());
    assert!(fenced(&effects).is_empty());
    device_asked(effects)
}

#[test]
fn a_device_that_was_sent_something_answers_the_fence_itself() {
    let mut gate = held(fenced_by(Fencing::Device));
    let asked = asked(&mut gate);
    let of = asked.iter().map(|(to, _, question)| (to.slot(), question.twin.to_string(), question.token));
    assert_eq!(of.collect::<Vec<_>>(), [(1, "a".to_owned(), token(2)), (2, "b".to_owned(), token(2))]);
    assert!(fenced(&device_answers(&mut gate, asked[0].1, Some(token(1)))).is_empty());
    let answers = answers(&device_answers(&mut gate, asked[1].1, Some(token(2))));
    let [GateFenced { fencing: Fencing::Device, seen, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(*seen, token(2));
    // Nothing was sent since: the next fence needs no answer of the device.
    assert_eq!(fenced(&fence(&mut gate, token(3), ada())), [token(3)]);
}

#[test]
fn a_device_that_does_not_answer_leaves_the_fence_unanswered_until_it_is_asked_again() {
    let mut gate = held(fenced_by(Fencing::Device));
    let first = asked(&mut gate);
    device_fails(&mut gate, first[0].1);
    // While one is still asked, the same fence asks nobody twice.
    assert!(fence(&mut gate, token(2), bob()).is_empty());
    assert!(fenced(&device_answers(&mut gate, first[1].1, None)).is_empty(), "one of them has not fenced");
    let again = device_asked(fence(&mut gate, token(2), bob()));
    assert_eq!(again.len(), 2);
    device_answers(&mut gate, again[0].1, None);
    assert_eq!(fenced(&device_answers(&mut gate, again[1].1, None)), [token(2)]);
}

#[test]
fn an_answer_to_an_older_fence_opens_nothing() {
    let mut gate = held(fenced_by(Fencing::Device));
    let old = asked(&mut gate);
    let new = device_asked(fence(&mut gate, token(3), ada()));
    for (_, key, _) in &old {
        assert!(fenced(&device_answers(&mut gate, *key, None)).is_empty());
    }
    device_answers(&mut gate, new[0].1, None);
    assert_eq!(fenced(&device_answers(&mut gate, new[1].1, None)), [token(3)]);
}

#[test]
fn a_token_that_the_device_saw_and_nobody_here_gave_is_told_the_supervisor() {
    // Invariant 3: a restored backup uses no token again.
    let foreign = Token { epoch: 7, n: 4 };
    let mut gate = held(fenced_by(Fencing::Device));
    let key = passes(&mut gate, token(1));
    let saw = || Ok(ChangeApplied { values: Box::default(), seen: Some(foreign) });
    let told = answers(&answer(&mut gate, key, saw()));
    let [GateFenced { token: of, seen, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*of, *seen), (token(1), foreign));
    // Once is enough, and every fence says it again.
    let key = passes(&mut gate, token(1));
    assert!(answers(&answer(&mut gate, key, saw())).is_empty());
    let asked = device_asked(fence(&mut gate, token(2), bob()));
    device_answers(&mut gate, asked[0].1, None);
    let told = answers(&device_answers(&mut gate, asked[1].1, Some(token(2))));
    assert!(matches!(&told[..], [GateFenced { seen, .. }] if *seen == foreign));
}

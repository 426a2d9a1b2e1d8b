//! The proof of the proofs: with a check taken out of the gate, the test that guards it fails.

use std::panic::catch_unwind;

use twinway_protocol::lease::mutation::{Mutation, set};

use super::{fences, passing};

#[test]
fn every_check_of_the_gate_is_guarded_by_a_test() {
    let guards: [(Mutation, fn()); 5] = [
        (Mutation::GateTakesOlderFence, fences::an_older_fence_changes_nothing),
        (Mutation::FencedWhileUnderWay, fences::drained_means_that_every_earlier_command_was_answered),
        (Mutation::RestrictionIgnored, passing::while_the_holder_is_revoked_only_the_safe_stop_passes),
        (Mutation::AnybodysToken, passing::a_token_is_good_for_its_holder_only),
        (Mutation::GateOpen, passing::only_the_newest_token_passes),
    ];
    for (mutation, guard) in guards {
        assert!(catch_unwind(guard).is_ok(), "{mutation:?}: its guard fails with the check in place");
        set(Some(mutation));
        let caught = catch_unwind(guard).is_err();
        set(None);
        assert!(caught, "{mutation:?}: nobody noticed");
    }
}

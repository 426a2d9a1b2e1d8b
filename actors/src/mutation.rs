//! Switches that plant one bug in the behaviours, so that the simulator's proof can be proven: with each of them a world
//! must break a rule. They exist with the feature `mutations` only; without it [`broken`] is a constant. The switches of
//! the lease protocol are in [`twinway_protocol::lease::mutation`].

use twinway_protocol::{
    EntityId, Mailbox, Meta, PermissionId, Ref, SystemId, UserId,
    message::{ExecuteService, ServiceRequest, TwinMsg},
};

twinway_protocol::mutations! {
    /// A bug that can be planted.
    pub enum Mutation {
        /// FGMV-29 9.1 step 3: TPSR answers before its record is durable.
        RegistrationToldBeforeDurable,
        /// FGMV-29 9.1 step 3: TPSR answers when the first entity has what it registered, and not when TPSD has it.
        RegistrationToldBeforeFound,
        /// FGMV-29 9.1 step 9: TPSAA tells a decision that it does not write down in a step.
        AuthorizationStepMissing,
        /// FGMV-29 9.1 step 13: TPSAA does not look whose authorization it is.
        AuthorizationUnchecked,
        /// FGMV-29 9.1 step 14: SDC asks for the service before it is verified that the user may.
        ServiceBeforeVerified,
        /// FGMV-29 9.1 step 14: SDC says nothing of a rejection.
        RejectionUnsaid,
        /// FGMV-29 9.1 step 17: DTAC does not look who may read.
        ReadingUnchecked,
        /// FGMV-29 9.1 step 17: TSI collects without asking DTAC.
        ReadingUnverified,
        /// FGMV-29 9.2 steps 2 and 3, swapped: DTSR answers, and then takes the step of managing.
        AnswerBeforeManaged,
        /// FGMV-29 9.2 step 5: DTSD answers a search twice.
        SearchAnsweredTwice,
        /// FGMV-29 9.2 step 5: DTSD does not ask for the register after a failure.
        SilentAfterFailure,
        /// FGMV-29 9.2 step 7: DTIA's answer goes to the neighbour of who asked.
        AnswerToNeighbour,
        /// FGMV-29 9.2 step 11: DTAC tells permissions before they are durable.
        PermissionToldBeforeDurable,
        /// FGMV-29 9.2 step 12: DTIA answers before DTAC manages what was permitted.
        PermissionToldBeforeManaged,
        /// FGMV-29 9.2 step 14: a report that comes late overwrites a newer value.
        OlderReportWins,
        /// FGMV-29 9.2 step 14: a twin made anew does not know who watches it.
        WatchersForgotten,
        /// FGMV-29 9.2 step 16: DTAC does not look whether the user may.
        ChangeUnchecked,
        /// FGMV-29 9.2 step 17: DTS sends the change on before it is verified.
        AppliedBeforeVerified,
        /// FGMV-29 9.2 step 17: the twin goes past the gate, straight to its system.
        GatePassedBy,
        /// FGMV-29 9.2 step 18: the lease for one change outlives it.
        OneShotKept,
        /// FGMV-29 9.2 step 18: an answer from outside that nobody waits for is taken for another question's.
        AnswerOfAnother,
        /// DTS counts the keys of its questions anew in every life.
        KeysBeginAnew,
    }
}

/// The first twin of any world, for a planted bug that knows no better.
pub(crate) const FIRST_TWIN: Ref<TwinMsg> = Ref::new(EntityId::new(TwinMsg::KIND, 0, 0));

/// What travelled with a question; with [`Mutation::AnswerToNeighbour`] as if the slot beside the asker's had asked it.
#[inline]
pub(crate) fn asked(meta: &Meta) -> Meta {
    if !broken(Mutation::AnswerToNeighbour) {
        return *meta;
    }
    let from = EntityId::new(meta.from.kind(), meta.from.generation(), meta.from.slot() ^ 1);
    Meta { from, ..*meta }
}

/// With [`Mutation::ServiceBeforeVerified`] the request for a service that nobody has verified.
#[inline]
pub(crate) fn unverified(metaverse: &SystemId, user: &UserId, request: &ServiceRequest) -> Option<ExecuteService> {
    if !broken(Mutation::ServiceBeforeVerified) {
        return None;
    }
    let (metaverse, user, request) = (metaverse.clone(), user.clone(), Box::new(request.clone()));
    let authorization = PermissionId::new("none").ok()?;
    Some(ExecuteService { authorization, metaverse, user, request, idempotency_key: None, context: None, call: None })
}

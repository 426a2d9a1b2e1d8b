//! FGMV-29 8.2.3: authorizations are taken back by either side, renewed by asking again, and listed for both.

use twinway_protocol::{
    Effect, EntityId, Mailbox, PermissionId, ProblemKind,
    access::AuthorizationDecision,
    message::{
        AuthorizationParty, AuthorizationSettled, ForgetThirdPartySystem, KeepThirdPartySystem, ListUserAuthorizations,
        RevokeUserAuthorization, TpsrMsg, Wire,
    },
};

use super::{authorize, grant, refusal, replayed, settle, settled, tpsaa, verify};
use crate::{
    sif::{
        testing::{METAVERSE, THIRD_PARTY, answer, key, registered, shown, system_id},
        tpsaa::Tpsaa,
    },
    trial::Trial,
};

fn revoke(tpsaa: &mut Trial<Tpsaa>, party: AuthorizationParty, id: &PermissionId) -> Vec<Effect<Wire>> {
    let from = match party {
        AuthorizationParty::Metaverse(_) => METAVERSE,
        AuthorizationParty::ThirdParty(_) => THIRD_PARTY,
    };
    tpsaa.deliver(from, key(8), RevokeUserAuthorization { party, authorization: id.clone() })
}

fn plaza() -> AuthorizationParty {
    AuthorizationParty::Metaverse(system_id("plaza"))
}

fn shop() -> AuthorizationParty {
    AuthorizationParty::ThirdParty(system_id("shop"))
}

#[test]
fn what_the_metaverse_system_takes_back_permits_nothing_and_the_third_party_is_told() {
    let mut tpsaa = tpsaa();
    let id = authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted").id;
    let effects = revoke(&mut tpsaa, plaza(), &id);
    let expected =
        ["9.1/9 own", "UserAuthorizationRevoked to ThirdPartySystem", "AuthorizationSettled to MetaverseSystem"];
    assert_eq!(shown(&effects), expected);
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionDenied));
    // The third party cannot give back what the user's side took.
    let given = settled(settle(&mut tpsaa, "shop", &id, grant(&["order"], None))).map_err(|problem| problem.kind);
    assert_eq!(given, Err(ProblemKind::NotAllowed));
    // Again it is no news; and after a restart it stays so.
    assert_eq!(shown(&revoke(&mut tpsaa, plaza(), &id)), ["AuthorizationSettled to MetaverseSystem"]);
    assert_eq!(refusal(&mut replayed(&tpsaa), "order"), Some(ProblemKind::PermissionDenied));
    // It is renewed by asking again.
    authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted");
    assert!(verify(&mut tpsaa, "order").is_ok());
}

#[test]
fn what_the_third_party_takes_back_is_told_to_the_metaverse_system() {
    let mut tpsaa = tpsaa();
    let id = authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted").id;
    let effects = revoke(&mut tpsaa, shop(), &id);
    let expected =
        ["9.1/9 own", "9.1/10 UserAuthorizationSettled to MetaverseSystem", "AuthorizationSettled to ThirdPartySystem"];
    assert_eq!(shown(&effects), expected);
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionDenied));
}

#[test]
fn nobody_takes_back_what_is_another_systems() {
    let mut tpsaa = tpsaa();
    let id = authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted").id;
    for other in
        [AuthorizationParty::Metaverse(system_id("arena")), AuthorizationParty::ThirdParty(system_id("factory"))]
    {
        let to = if matches!(other, AuthorizationParty::Metaverse(_)) { METAVERSE } else { THIRD_PARTY };
        let refused = answer::<AuthorizationSettled>(revoke(&mut tpsaa, other, &id), to, key(8)).expect("an answer");
        assert_eq!(refused.map(|_| ()).map_err(|problem| problem.kind), Err(ProblemKind::RequestUnknown));
    }
    assert!(verify(&mut tpsaa, "order").is_ok());
}

#[test]
fn both_sides_list_their_authorizations_page_by_page() {
    let mut tpsaa = tpsaa();
    let ids: Vec<_> =
        (0..3).map(|_| authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted").id).collect();
    for party in [plaza(), shop()] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let question =
                ListUserAuthorizations { party: party.clone(), user: None, other: None, cursor, limit: Some(2) };
            let page = tpsaa.behaviour.list(&question).expect("it lists");
            seen.extend(page.items.into_iter().map(|authorization| authorization.id));
            let Some(next) = page.next else { break };
            cursor = Some(next.into());
        }
        assert_eq!(seen, ids);
    }
    let arena = AuthorizationParty::Metaverse(system_id("arena"));
    let question = ListUserAuthorizations { party: arena, user: None, other: None, cursor: None, limit: None };
    assert!(tpsaa.behaviour.list(&question).expect("it lists").items.is_empty());
}

/// FGMV-29 8.2.3: a third-party system denies; that something is revoked only the user's side can say.
#[test]
fn a_third_party_system_does_not_say_revoked() {
    let mut tpsaa = tpsaa();
    let problem = authorize(&mut tpsaa, &["order"], AuthorizationDecision::Revoked).expect_err("it is no answer");
    assert_eq!((problem.kind, tpsaa.records.len()), (ProblemKind::OutsideFailed, 0));
    let granted = authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted");
    let effects = settle(&mut tpsaa, "shop", &granted.id, AuthorizationDecision::Revoked);
    let problem = settled(effects).expect_err("it is refused");
    assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/revoked")));
    assert!(verify(&mut tpsaa, "order").is_ok(), "and changes nothing");
}

/// FGMV-29 8.2.1: with a system end its users' authorizations, and their worlds hear it.
#[test]
fn authorizations_end_with_the_registration_of_their_system() {
    let mut tpsaa = tpsaa();
    authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted");
    let entity = registered("shop", 1).entity;
    let forget = ForgetThirdPartySystem { system: system_id("shop"), entity };
    let effects = tpsaa.deliver(EntityId::new(TpsrMsg::KIND, 0, 0), key(1), forget);
    assert!(shown(&effects).iter().any(|told| told.contains("UserAuthorizationSettled")), "{:?}", shown(&effects));
    tpsaa.deliver(EntityId::new(TpsrMsg::KIND, 0, 0), key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    assert_eq!(verify(&mut tpsaa, "order").expect_err("it was another's").kind, ProblemKind::PermissionMissing);
}

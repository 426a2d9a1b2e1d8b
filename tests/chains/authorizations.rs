//! Authorizations at third-party systems (FGMV-29 8.2.3): revoked by either side, listed for both, and verified at 9.1
//! step 13 without asking the third party again.

use std::collections::BTreeSet;

use twinway::{
    client::{Client, ClientError},
    protocol::{JsonDoc, PermissionId, ProblemKind, access::AuthorizationDecision},
};

use super::{
    daemon::Place,
    world::{World, ada, system},
};

async fn bring(plaza: &Client) -> Result<JsonDoc, ProblemKind> {
    plaza.use_third_party_system(&system("courier"), &ada(), "bring", &JsonDoc::null()).await.map_err(|error| {
        match error {
            ClientError::Problem(problem) => problem.kind().expect("it is a known kind"),
            other => panic!("it is refused by the daemon: {other}"),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_either_side_takes_back_permits_nothing_and_is_renewed_by_asking_again() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let (plaza, courier) = (daemon.client("plaza"), daemon.client("courier"));
    let scope = BTreeSet::from(["*".to_owned()]);
    let newest = async || -> PermissionId {
        let page =
            plaza.user_authorizations(Some(&ada()), Some(&system("courier")), None, None).await.expect("it lists");
        page.items.last().expect("there is one").id.clone()
    };
    bring(&plaza).await.expect("ada may");
    let asked = world.courier.seen().len();

    let revoked = plaza.revoke_user_authorization(&newest().await).await.expect("it is the world's");
    assert_eq!(revoked.decision, AuthorizationDecision::Revoked);
    assert_eq!(bring(&plaza).await, Err(ProblemKind::PermissionDenied));
    world.courier.until(|seen| seen.body.contains("authorization.revoked")).await;
    assert_eq!(world.courier.seen().len() - asked, 1, "it is told of it by an event, and asked nothing");
    let event = world.courier.seen().last().expect("the event").json();
    assert_eq!(event["type"], "io.twinway.authorization.revoked");
    assert_eq!(event["data"]["id"], revoked.id.as_str());

    plaza.request_user_authorization(&system("courier"), &ada(), &scope).await.expect("it is granted again");
    bring(&plaza).await.expect("ada may again");
    courier.withdraw_user_authorization(&newest().await).await.expect("it is the courier's");
    assert_eq!(bring(&plaza).await, Err(ProblemKind::PermissionDenied));
    // Both sides see the same, and nobody else anything.
    let both = courier.decided_authorizations(Some(&ada()), None, None, None).await.expect("it lists");
    assert_eq!(both.items.len(), 2);
    let others = daemon.client("arena").user_authorizations(None, None, None, None).await.expect("it lists");
    assert!(others.items.is_empty());
    assert!(daemon.client("shop").withdraw_user_authorization(&revoked.id).await.is_err());
}

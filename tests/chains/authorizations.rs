//! Authorizations at third-party systems (FGMV-29 8.2.3): revoked by either side, listed for both, and verified at 9.1
//! step 13 without asking the third party again.

use std::collections::BTreeSet;

use serde_json::json;
use twinway::{
    client::{Client, ClientError},
    protocol::{JsonDoc, PermissionId, ProblemKind, access::AuthorizationDecision},
};

use super::{
    daemon::Place,
    server::{Act, Seen, Server},
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

/// The bank knows its customers by an API of its own: `POST /accounts/ada/grants`.
fn accounts(seen: &Seen) -> Act {
    match seen.target.as_str() {
        "/accounts/ada/grants" => Act::Answer(201, json!({"customer": 7, "rights": seen.json()["rights"]})),
        "/accounts/ben/grants" => Act::Answer(403, json!({"why": "no such customer"})),
        "/accounts/eve/grants" => Act::Answer(200, json!({"login": "http://bank.example/login"})),
        "/accounts/dan/grants" => Act::Answer(500, json!("it burns")),
        _ => Act::Answer(200, json!({"paid": seen.header("x-customer")})),
    }
}

/// FGMV-29 9.1 steps 7 and 8 by the system's own API, mapped as its services are (8.2.4).
#[tokio::test(flavor = "multi_thread")]
async fn a_bank_is_asked_what_a_user_may_do_by_an_api_of_its_own() {
    let (place, bank) = (Place::new(""), Server::start(accounts).await);
    let daemon = place.start();
    let description = json!({
        "id": "bank", "type": "bank", "title": "A bank", "reach": {"webhook": format!("{}/twinway", bank.url)},
        "authorization": {
            "base": format!("{}/accounts", bank.url), "path": "/{user}/grants", "parameters": {"user": "user"},
            "body": "{'rights': input.scope, 'for': metaverse}",
            "outcomes": [{"when": "status == 403", "outcome": "refused", "detail": "body.why"}],
            "output": "has(body.login) ? {'pending': body.login} : \
                       {'granted': {'userInformation': {'customer': body.customer}, 'scope': body.rights}}",
        },
        "apis": [{"operation": "pay", "mapping": {
            "base": format!("{}/api", bank.url), "path": "/payments", "headers": {"x-customer": "userInformation.customer"},
        }}],
    });
    let description = serde_json::from_value(description).expect("it is a description");
    daemon.client("bank").register_third_party_system(&description).await.expect("it is acceptable");
    let plaza = daemon.client("plaza");
    let pay = BTreeSet::from(["pay".to_owned()]);
    let ask = async |user: &str| {
        plaza.request_user_authorization(&system("bank"), &user.parse().expect("it is a name"), &pay).await
    };
    let granted = ask("ada").await.expect("it is granted");
    let AuthorizationDecision::Granted(grant) = &granted.decision else { panic!("{granted:?}") };
    assert_eq!(grant.user_information.as_str(), "{\"customer\":7}");
    let asked = bank.seen().pop().expect("it was asked");
    assert_eq!(asked.json(), json!({"rights": ["pay"], "for": "plaza"}));
    assert!(asked.header("idempotency-key").is_some(), "it can tell a request that comes twice");
    let paid = plaza.use_third_party_system(&system("bank"), &ada(), "pay", &JsonDoc::null()).await.expect("ada may");
    assert_eq!(paid.as_str(), "{\"paid\":\"7\"}", "step 13 knows what step 8 said");
    assert_eq!(
        ask("eve").await.expect("it waits").decision,
        AuthorizationDecision::Pending("http://bank.example/login".into())
    );
    let refused = async |user| match ask(user).await.expect_err("it is refused") {
        ClientError::Problem(problem) => (problem.kind().expect("it is a known kind"), problem.detail),
        other => panic!("it is refused by the daemon: {other}"),
    };
    let (kind, detail) = refused("ben").await;
    assert!(kind == ProblemKind::PermissionDenied && detail.contains("no such customer"), "{detail}");
    assert_eq!(refused("dan").await.0, ProblemKind::OutsideFailed, "a failure is no decision");
}

//! FGMV-29 9.1 steps 7 and 8, by the API that the third-party system registered for it (8.2.4).

use serde_json::{Value, json};
use twinway_protocol::{collaboration::ApiMethod, registry::Reach};

use super::*;

/// TPSAA that knows a shop which is asked by an API of its own.
fn with_api(mapping: Value) -> Trial<Tpsaa> {
    let mut tpsaa = Trial::new(ID, &Settings::default());
    let mut shop = twinway_protocol::registry::ThirdPartySystem::clone(&registered("shop", 1));
    shop.description.reach = Reach::Webhook("http://shop.example/twinway".to_owned());
    shop.description.authorization = Some(serde_json::from_value(mapping).expect("it is a mapping"));
    let tpsr = EntityId::new(TpsrMsg::KIND, 0, 0);
    tpsaa.deliver(tpsr, key(1), KeepThirdPartySystem { system: Arc::new(shop) });
    tpsaa
}

fn accounts() -> Value {
    json!({
        "base": "http://shop.example/accounts", "path": "/{user}/grants", "parameters": {"user": "user"},
        "headers": {"x-world": "metaverse"},
        "body": "{'rights': input.scope, 'reference': input.authorization}",
        "outcomes": [{"when": "status == 403", "outcome": "refused", "detail": "body.why"}],
        "output": "has(body.login) ? {'pending': body.login} : \
                   {'granted': {'userInformation': {'customer': body.customer}, 'scope': body.rights}}",
    })
}

/// The API answers the request that `effects` forward.
fn answered(
    tpsaa: &mut Trial<Tpsaa>,
    effects: Vec<Effect<Wire>>,
    status: u16,
    body: Value,
) -> Result<UserAuthorization, Problem> {
    let asked = to_kind(effects, ThirdPartySystemMsg::KIND).0.pending;
    let answer = json(&json!({"status": status, "headers": {}, "body": body}).to_string());
    let information = UserAndPermissionInformation::Answered(answer);
    decided(tpsaa.deliver(THIRD_PARTY, asked, TpsaaMsg::UserAndPermissionInformation(Ok(information))))
}

#[test]
fn the_systems_own_api_is_asked_in_its_shape_and_its_answer_becomes_the_decision() {
    let mut tpsaa = with_api(accounts());
    let effects = request(&mut tpsaa, &["order"]);
    let Wire::ThirdPartySystem(ThirdPartySystemMsg::ForwardUserAuthorization(forward)) =
        to_kind(request(&mut tpsaa, &["order"]), ThirdPartySystemMsg::KIND).1
    else {
        panic!("it is forwarded");
    };
    let call = forward.call.expect("it is called by its API");
    assert_eq!(
        (call.method, &*call.base, &*call.target),
        (ApiMethod::Post, "http://shop.example/accounts", "/ada/grants")
    );
    assert_eq!(call.headers, [("x-world".to_owned(), "plaza".to_owned())]);
    let (media, body) = call.body.expect("it has a body");
    let expected = json!({"rights": ["order"], "reference": forward.authorization});
    assert_eq!((media, serde_json::from_str::<Value>(&body).expect("it is JSON")), ("application/json", expected));
    let granted =
        answered(&mut tpsaa, effects, 200, json!({"customer": 7, "rights": ["order"]})).expect("it is granted");
    assert_eq!(granted.decision, grant(&["order"], None));
    assert_eq!(
        verify(&mut tpsaa, "order").expect("it is verified").authorization,
        granted.id,
        "and nobody is asked again"
    );
}

#[test]
fn a_login_is_pending_a_refusal_is_a_denial_and_a_failure_decides_nothing() {
    let mut tpsaa = with_api(accounts());
    let effects = request(&mut tpsaa, &["order"]);
    let pending = answered(&mut tpsaa, effects, 200, json!({"login": "https://shop.example/login"}));
    assert_eq!(pending.expect("it waits").decision, login());
    let effects = request(&mut tpsaa, &["order"]);
    let denied = answered(&mut tpsaa, effects, 403, json!({"why": "the account is closed"})).expect_err("it is denied");
    assert_eq!(denied.kind, ProblemKind::PermissionDenied);
    assert!(denied.detail.contains("the account is closed"), "{}", denied.detail);
    let decisions = tpsaa.records.len();
    for (status, body, kind) in [
        (500, json!("it burns"), ProblemKind::OutsideFailed),
        (503, json!(null), ProblemKind::OutsideUnreachable),
        (200, json!({"customer": 7, "rights": "order"}), ProblemKind::OutsideFailed),
        (200, json!({"customer": 7, "rights": ["order", "pay"]}), ProblemKind::OutsideFailed),
        (200, json!({}), ProblemKind::OutsideUnclear),
    ] {
        let effects = request(&mut tpsaa, &["order"]);
        assert_eq!(answered(&mut tpsaa, effects, status, body).expect_err("it is no decision").kind, kind, "{status}");
    }
    assert_eq!(tpsaa.records.len(), decisions, "nothing was decided");
}

#[test]
fn an_answer_of_an_api_that_was_not_asked_is_a_failure() {
    let mut tpsaa = tpsaa();
    let effects = request(&mut tpsaa, &["order"]);
    let problem = answered(&mut tpsaa, effects, 200, json!({"customer": 7})).expect_err("it was not asked so");
    assert_eq!((problem.kind, tpsaa.records.len()), (ProblemKind::OutsideFailed, 0));
}

//! Systems are called back over real sockets.

use twinway::{
    outside::{Outside, OutsideLimits},
    protocol::{EntityId, ProblemKind, message::OutsideAnswer, registry::Reach},
};

use super::support::{Hook, Stand, ask, next, session, tell, with_system};

/// A way out whose one system has a webhook that this test answers.
async fn with_hook(limits: OutsideLimits) -> (Outside, Stand, EntityId, Hook) {
    let hook = Hook::start().await;
    let limits = OutsideLimits { webhook_backoff_ms: 1, ..limits };
    let (outside, stand, entity) = with_system(limits, Reach::Webhook(hook.url.clone()));
    outside.start_webhooks(&tokio::runtime::Handle::current()).expect("it starts");
    (outside, stand, entity, hook)
}

#[tokio::test]
async fn the_answer_of_a_webhook_goes_to_the_actor() {
    let (outside, stand, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    ask(&outside, entity, 7);
    let call = hook.call().await;
    assert_eq!(call.header("twinway-request"), Some("7"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(
        call.json(),
        serde_json::json!({ "request": "7", "type": "applyChange",
            "data": { "twin": "urn:lamp", "metaverse": "urn:m", "user": "ann", "values": { "on": true } } })
    );
    call.answer("200 OK", r#"{"applyChange":{"values":{"on":true}}}"#);
    let (to, request, answer) = stand.answer().await;
    assert_eq!((to, request), (entity, 7));
    assert!(matches!(answer, OutsideAnswer::ApplyChange(_)), "{answer:?}");
    assert_eq!(stand.undelivered(), []);
}

#[tokio::test]
async fn a_webhook_may_promise_to_answer_later() {
    let limits = OutsideLimits { webhook_calls_max: 1, ..OutsideLimits::default() };
    let (outside, stand, entity, mut hook) = with_hook(limits).await;
    ask(&outside, entity, 1);
    hook.call().await.answer("202 Accepted", "");
    // The one call that may be under way has ended when the next begins.
    ask(&outside, entity, 2);
    hook.call().await.answer("200 OK", r#"{"failed":"it is stuck"}"#);
    assert_eq!(stand.answer().await.1, 2);
    assert_eq!(stand.undelivered(), []);
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_to_the_actor_with_what_it_said() {
    let (outside, stand, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    let large = format!("\"{}\"", "x".repeat(twinway::outside::WEBHOOK_ANSWER_BYTES_MAX));
    let cases = [
        ("500 Internal Server Error", "out of paint", "out of paint"),
        ("200 OK", "{\"applyChange\":7}", "is not one"),
        ("200 OK", &large, "bytes"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "", "302"),
        ("garbage", "", "broke off"),
    ];
    for (request, (status, body, says)) in (1..).zip(cases) {
        ask(&outside, entity, request);
        hook.call().await.answer(status, body);
        let (to, undelivered, problem) = stand.next_undelivered().await;
        assert_eq!((to, undelivered, problem.kind), (entity, request, ProblemKind::OutsideFailed), "{problem}");
        assert!(problem.detail.contains(says), "{problem}");
    }
    assert_eq!(outside.counts().requests_undelivered, 5);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_ends_the_request() {
    let (outside, stand, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    stand.refuse_answers(ProblemKind::AnswerMismatch);
    ask(&outside, entity, 1);
    hook.call().await.answer("200 OK", r#"{"failed":"no"}"#);
    assert_eq!(stand.next_undelivered().await.2.kind, ProblemKind::OutsideFailed);
}

#[tokio::test]
async fn a_webhook_that_is_not_there_or_hangs_is_told_to_the_actor() {
    let limits = OutsideLimits { webhook_answer_ms_max: 50, ..OutsideLimits::default() };
    let (outside, stand, entity, mut hook) = with_hook(limits).await;
    ask(&outside, entity, 1);
    let hanging = hook.call().await;
    assert_eq!(stand.next_undelivered().await.2.kind, ProblemKind::OutsideTimeout);
    drop(hanging);
    hook.stop().await;
    ask(&outside, entity, 2);
    assert_eq!(stand.next_undelivered().await.2.kind, ProblemKind::OutsideUnreachable);
}

#[tokio::test]
async fn only_without_a_connection_nothing_was_handed_to_a_webhook() {
    // FGMV-29 9.2 step 17: whatever else goes wrong, the system may have read the request, and a device may act yet.
    let (outside, stand, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    for (request, status) in [(1, "500 Internal Server Error"), (2, "garbage")] {
        ask(&outside, entity, request);
        hook.call().await.answer(status, "");
        assert_eq!(stand.next_handed_out().await, (request, true));
    }
    hook.stop().await;
    ask(&outside, entity, 3);
    assert_eq!(stand.next_handed_out().await, (3, false));
}

#[tokio::test]
async fn one_system_cannot_take_all_webhook_calls() {
    let limits = OutsideLimits { webhook_calls_per_system_max: 2, ..OutsideLimits::default() };
    let (outside, stand, entity, mut hook) = with_hook(limits).await;
    (1..=3).for_each(|request| ask(&outside, entity, request));
    assert_eq!(stand.undelivered(), [(entity, 3, ProblemKind::Overloaded)]);
    hook.call().await.answer("500 No", "");
    stand.next_undelivered().await;
    ask(&outside, entity, 4);
    hook.call().await.answer("500 No", "");
    hook.call().await.answer("500 No", "");
    assert_eq!(stand.next_undelivered().await.2.kind, ProblemKind::OutsideFailed);
}

#[tokio::test]
async fn events_reach_a_webhook_in_order_and_again_when_it_fails() {
    let (outside, _, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    tell(&outside, entity, [1, 2]);
    for (status, subject) in [("500 No", "1"), ("503 No", "1"), ("204 No Content", "1"), ("200 OK", "2")] {
        let call = hook.call().await;
        assert_eq!(call.header("content-type"), Some("application/cloudevents+json"));
        let envelope = call.json();
        assert_eq!((&envelope["subject"], &envelope["type"]), (&subject.into(), &"io.twinway.twin.changed".into()));
        call.answer(status, "");
    }
}

#[tokio::test]
async fn an_event_that_a_webhook_never_took_is_told_to_it_as_a_gap() {
    let (outside, _, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    tell(&outside, entity, [1, 2]);
    for _ in 0..4 {
        let call = hook.call().await;
        assert_eq!(call.json()["subject"], "1");
        call.answer("500 No", "");
    }
    let gap = hook.call().await;
    assert_eq!((&gap.json()["type"], &gap.json()["data"]["missed"]), (&"io.twinway.gap".into(), &1.into()));
    gap.answer("200 OK", "");
    let call = hook.call().await;
    assert_eq!(call.json()["subject"], "2");
    call.answer("200 OK", "");
}

#[tokio::test]
async fn an_open_session_takes_the_place_of_the_webhook_until_it_closes() {
    let (outside, stand, entity, mut hook) = with_hook(OutsideLimits::default()).await;
    let mut session = session(&outside);
    ask(&outside, entity, 1);
    ask(&outside, entity, 2);
    tell(&outside, entity, [3, 4]);
    assert_eq!(next(&mut session).await, "request 1");
    drop(session);
    // Handed out by the session: lost with it. The rest goes to the webhook.
    assert_eq!(stand.undelivered(), [(entity, 1, ProblemKind::OutsideUnreachable)]);
    let mut told = Vec::new();
    for _ in 0..3 {
        let call = hook.call().await;
        let body = call.json();
        told.push(body.get("request").or(body.get("subject")).and_then(|id| id.as_str()).unwrap_or("").to_owned());
        call.answer("202 Accepted", "");
    }
    // A request and events go side by side.
    told.sort();
    assert_eq!(told, ["2", "3", "4"]);
}

//! API conversion (FGMV-29 8.2.4).

use serde_json::{Value, json};
use twinway_protocol::{
    Problem, ProblemKind,
    collaboration::{ApiCall, ApiMapping},
};

use super::{call, check, outcome};
use crate::sif::{testing::json as doc, transform::Names};

fn mapping(document: Value) -> ApiMapping {
    serde_json::from_value(document).expect("it is a mapping")
}

fn names(input: Value) -> Names {
    let facts = json!({"input": input, "user": "ada", "userInformation": {"customer": 7}, "idempotencyKey": "k"});
    serde_json::from_value(facts).expect("it is an object")
}

fn called(document: Value, input: Value) -> Result<ApiCall, Problem> {
    call(&mapping(document), "http://shop.example/api", &names(input), "")
}

#[test]
fn a_request_is_made_of_its_parts() {
    let made = called(
        json!({
            "method": "PUT", "path": "/users/{user}/orders/{id}",
            "parameters": {"user": "userInformation.customer"},
            "query": {"dry": "false", "note": "input.note", "key": "idempotencyKey", "none": "null"},
            "headers": {"x-count": "input.count", "x-none": "null"},
            "body": "{'n': input.count}",
        }),
        json!({"id": "a/b ü", "note": "x&y=z", "count": 2}),
    );
    let made = made.expect("it fits");
    assert_eq!(made.target, "/users/7/orders/a%2Fb%20%C3%BC?dry=false&key=k&note=x%26y%3Dz");
    assert_eq!(made.headers, [("x-count".to_owned(), "2".to_owned())]);
    assert_eq!(made.body, Some(("application/json", r#"{"n":2}"#.to_owned())));
}

#[test]
fn a_body_is_written_in_its_form() {
    let form = |body: &str, form: &str| {
        called(json!({"path": "/", "body": body, "bodyForm": form}), json!({"a b": "c&d", "e": null}))
    };
    let text = |made: Result<ApiCall, Problem>| made.expect("it fits").body.expect("it has one").1;
    assert_eq!(text(form("input", "form")), "a%20b=c%26d");
    assert_eq!(text(form("'<order/>'", "text")), "<order/>");
    for (body, as_form) in [("'no object'", "form"), ("{'a': [1]}", "form"), ("{}", "text")] {
        let problem = form(body, as_form).expect_err(body);
        assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/body")));
    }
    assert_eq!(called(json!({"method": "GET", "path": "/"}), json!({"x": 1})).expect("it fits").body, None);
}

#[test]
fn a_parameter_is_one_segment_and_leads_nowhere_else() {
    for value in ["..", ".", ""] {
        let problem = called(json!({"path": "/a/{id}"}), json!({"id": value})).expect_err(value);
        assert_eq!(problem.pointer.as_deref(), Some("/parameters/id"));
    }
    for value in [json!(null), json!({}), json!([1])] {
        assert!(called(json!({"path": "/a/{id}"}), json!({"id": value})).is_err());
    }
    let made = called(json!({"path": "/a/{id}"}), json!({"id": "../../admin?x#y"})).expect("it fits");
    assert_eq!(made.target, "/a/..%2F..%2Fadmin%3Fx%23y");
}

#[test]
fn a_header_cannot_carry_another() {
    let document = json!({"path": "/", "headers": {"x-a": "input"}});
    let problem = called(document, json!("1\r\nx-admin: yes")).expect_err("it is no header");
    assert_eq!(problem.pointer.as_deref(), Some("/headers/x-a"));
}

#[test]
fn a_mapping_that_cannot_be_is_refused_with_its_place() {
    let cases = [
        ("/path", json!({"path": "orders"})),
        ("/path", json!({"path": "/a/../b"})),
        ("/path", json!({"path": "/a?x=1"})),
        ("/path", json!({"path": "/a/%2e%2e/b"})),
        ("/path", json!({"path": "/{open"})),
        ("/path", json!({"path": "/close}"})),
        ("/headers/host", json!({"path": "/", "headers": {"host": "'x'"}})),
        ("/headers/Transfer-Encoding", json!({"path": "/", "headers": {"Transfer-Encoding": "'x'"}})),
        ("/headers/x-ä", json!({"path": "/", "headers": {"x-ä": "'x'"}})),
        ("/query/a~1b", json!({"path": "/", "query": {"a/b": "1 +"}})),
        ("/body", json!({"path": "/", "method": "GET", "body": "1"})),
        ("/outcomes/0/when", json!({"path": "/", "outcomes": [{"when": ")", "outcome": "success"}]})),
        ("/base", json!({"path": "/", "base": "https://shop.example"})),
        ("/base", json!({"path": "/", "base": "http://user:secret@shop.example"})),
        ("/base", json!({"path": "/", "base": "http:///x"})),
    ];
    for (place, document) in cases {
        let problem = check(&mapping(document.clone()), "", true).expect_err(place);
        assert_eq!(problem.pointer.as_deref(), Some(place), "{document}: {problem}");
    }
    let with_base = mapping(json!({"path": "/", "base": "http://shop.example"}));
    assert_eq!(check(&with_base, "", true), Ok(()));
    assert!(check(&with_base, "", false).is_err(), "only the system itself says where its API is");
}

/// What an answer comes to.
fn read(document: Value, status: u16, body: Value) -> Result<Value, ProblemKind> {
    let answer = doc(&json!({"status": status, "headers": {"location": "/o/9"}, "body": body}).to_string());
    outcome(&mapping(document), &answer, &mut names(json!({})), "/mapping").map_err(|problem| problem.kind)
}

#[test]
fn a_status_means_what_http_says_unless_a_rule_says_otherwise() {
    let plain = || json!({"path": "/"});
    assert_eq!(read(plain(), 200, json!({"a": 1})), Ok(json!({"a": 1})));
    assert_eq!(read(plain(), 204, Value::Null), Ok(Value::Null));
    assert_eq!(read(plain(), 503, json!("busy")), Err(ProblemKind::OutsideUnreachable));
    for refused in [302, 400, 404, 500] {
        assert_eq!(read(plain(), refused, Value::Null), Err(ProblemKind::OutsideFailed));
    }
    let ruled = |outcome: &str| {
        json!({"path": "/", "output": "headers.location", "outcomes": [
            {"when": "body.missing.member == 1", "outcome": "retryable"},
            {"when": "status == 500 && body.code == 'dup'", "outcome": outcome}]})
    };
    assert_eq!(read(ruled("success"), 500, json!({"code": "dup"})), Ok(json!("/o/9")));
    assert_eq!(read(ruled("retryable"), 500, json!({"code": "dup"})), Err(ProblemKind::OutsideUnreachable));
    assert_eq!(read(ruled("success"), 500, json!({"code": "other"})), Err(ProblemKind::OutsideFailed));
    // It did something, and what it said is not what was expected.
    assert_eq!(read(json!({"path": "/", "output": "body.id"}), 200, json!([])), Err(ProblemKind::OutsideUnclear));
}

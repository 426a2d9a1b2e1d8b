use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX, Expression, Fault};

fn variables(value: Value) -> Map<String, Value> {
    value.as_object().expect("variables are an object").clone()
}

fn sample() -> Map<String, Value> {
    variables(json!({
        "system": { "type": "commerce", "title": "Lämp shop", "tags": ["a", "b"], "deep": { "x": { "y": 7 } } },
        "charge": { "amount": 4, "currency": "EUR" },
        "performance": { "p99_ms": 120.5 },
        "items": [{ "sku": "l-1", "count": 2 }, { "sku": "l-2", "count": 0 }],
        "none": null,
    }))
}

fn comes_to(text: &str) -> Value {
    Expression::parse(text).unwrap().evaluate(&sample()).unwrap()
}

fn fault(text: &str) -> (Fault, String) {
    let error = Expression::parse(text).and_then(|parsed| parsed.evaluate(&sample())).expect_err(text);
    (error.fault, error.to_string())
}

/// FGMV-29 8.2.2: a filter over what is registered and measured.
#[test]
fn an_expression_comes_to_what_cel_says() {
    for (text, value) in [
        ("system.type == \"commerce\" && charge.amount < 5.0 && performance.p99_ms < 200.0", json!(true)),
        ("charge.amount < 5 && performance.p99_ms < 200", json!(true)),
        ("charge.amount + 0.5", json!(4.5)),
        ("7 / 2 + 7 % 2 - -3", json!(7)),
        ("1u + 0x10", json!(17)),
        ("charge.amount == 4.0 && 4 in [4.0] && 9007199254740993 > 9007199254740992.0", json!(true)),
        ("has(charge.amount) && !has(charge.per) && has(system.deep.x)", json!(true)),
        ("has(none.x) || true", json!(true)),
        ("missing.field == 1 || system.type == 'commerce'", json!(true)),
        ("charge.amount > 3 ? 'dear' : 'cheap'", json!("dear")),
        ("items.map(i, i.count > 0, i.sku)", json!(["l-1"])),
        ("items.filter(i, i.count > 0).size() == 1", json!(true)),
        ("items.all(i, i.sku.startsWith('l-')) && items.exists_one(i, i.count == 0)", json!(true)),
        ("items.exists(i, i.missing == 1 || i.count == 2)", json!(true)),
        (
            "{'ids': items.map(i, {'id': i.sku}), 'n': size(items)}",
            json!({"ids": [{"id": "l-1"}, {"id": "l-2"}], "n": 2}),
        ),
        (
            "'b' in system.tags && 'currency' in charge && items[1].sku == 'l-2' && charge['currency'] == 'EUR'",
            json!(true),
        ),
        ("system.title.size() == 9 && system.title.contains('ämp')", json!(true)),
        (
            "'a,b'.split(',').join('-') + 'ABC'.lowerAscii() + ' x '.trim() + 'abc'.substring(1) + 'aa'.replace('a', 'b')",
            json!("a-babcxbcbb"),
        ),
        ("[int('4'), int(4.9), double('0.5'), string(4), bool('true')]", json!([4, 4, 0.5, "4", true])),
        ("none == null && system.deep == {'x': {'y': 7.0}}", json!(true)),
        ("!!true && --1 == 1", json!(true)),
        ("charge.map(name, name)", json!(["amount", "currency"])),
        ("r'\\d' == '\\\\d' // as it stands", json!(true)),
        ("'''a\n'b''' == \"a\\n'b\"", json!(true)),
    ] {
        assert_eq!(comes_to(text), value, "{text}");
    }
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, kind, place) in [
        ("", Fault::Syntax, "the expression is empty"),
        ("charge.amount <", Fault::Syntax, "line 1 column 16"),
        ("charge.amount < 5)", Fault::Syntax, "`)` closes nothing, at line 1 column 18"),
        ("(charge.amount < 5", Fault::Syntax, "never closed, at line 1 column 1"),
        ("true &&\n  charge amount", Fault::Syntax, "line 2 column 10"),
        ("a = 1", Fault::Syntax, "equality is `==`, at line 1 column 3"),
        ("'abc", Fault::Syntax, "never closed"),
        ("'\\q'", Fault::Syntax, "no such escape, at line 1 column 2"),
        ("b'abc'", Fault::Syntax, "no bytes"),
        ("a.?b", Fault::Syntax, "line 1 column 2"),
        ("Message{a: 1}", Fault::Syntax, "an object is written as"),
        ("true && nosuch(1)", Fault::Syntax, "no function `nosuch` of 1, at line 1 column 15"),
        ("has(charge)", Fault::Syntax, "`has` asks for a field"),
        ("items.map(1, 2)", Fault::Syntax, "the first part names the item"),
        ("'ä' == missing.field", Fault::Missing, "there is no `missing`, at line 1 column 8"),
        ("charge.per == 'call'", Fault::Missing, "there is no `charge.per`"),
        ("items[2]", Fault::Missing, "there is no item 2"),
        ("system.type.x == 1", Fault::Mismatch, "`system.type` is no object"),
        ("system.type < 5", Fault::Mismatch, "`<` does not fit a text and a number, at line 1 column 13"),
        ("system.type && true", Fault::Mismatch, "a text, not true or false"),
        ("1 / 0", Fault::Arithmetic, "division by zero"),
        ("1.0 / 0.0", Fault::Arithmetic, "division by zero"),
        ("18446744073709551615u + 1", Fault::Arithmetic, "too large"),
        ("{'a': 1, 'a': 2}", Fault::Mismatch, "stands here twice"),
    ] {
        let (found, message) = fault(text);
        assert_eq!(found, kind, "{text}: {message}");
        assert!(message.contains(place), "{text}: {message}");
    }
}

#[test]
fn a_hostile_text_is_refused_before_it_is_parsed() {
    for part in [
        "(", "!", "-", "[", "{", "!(", "-(", "a.", "a?", "1+", "a[", "f(", "a?b:", "!-", "{1:", "'", "\\", "a<",
        "a in ", "//\n(",
    ] {
        for many in [60, 1_000, 100_000] {
            let error = Expression::parse(&part.repeat(many)).expect_err(part);
            assert!(matches!(error.fault, Fault::Limit | Fault::Syntax), "{part}: {error}");
        }
    }
    let long = format!("'{}' == ''", "x".repeat(EXPRESSION_BYTES_MAX));
    assert_eq!(Expression::parse(&long).expect_err("it is long").fault, Fault::Limit);
}

/// The stack of a thread is 2 MiB; the deepest that is allowed has to fit, without optimization as well.
#[test]
fn the_deepest_expressions_fit_on_the_stack() {
    let bracketed = |open: &str, middle: &str, close: &str| {
        let depth = (1..)
            .take_while(|n| Expression::parse(&format!("{}{middle}{}", open.repeat(*n), close.repeat(*n))).is_ok());
        depth.last().unwrap_or_default()
    };
    assert!(bracketed("(", "1", ")") >= 20);
    assert!(bracketed("[", "1", "]") >= 20);
    assert!(bracketed("!(", "true", ")") >= 15);
    assert!(bracketed("{'a':", "1", "}") >= 20);
    assert!(bracketed("[1].map(x,", "1", ")") >= 8);
    for deep in ["(", "[", "{'a':", "1+(", "-(", "true?1:(", "size(", "a.b[", "x==("] {
        let close = match deep.chars().last() {
            Some('[') => "]",
            Some('(') => ")",
            _ => "}",
        };
        assert!(bracketed(deep, "1", close) >= 9, "{deep}");
    }
    let chain = (1..).take_while(|n| Expression::parse(&format!("1{}", "+1".repeat(*n))).is_ok()).last();
    assert!(chain >= Some(40));
    let ternaries = (1..).take_while(|n| Expression::parse(&format!("{}1", "true?1:".repeat(*n))).is_ok()).last();
    assert!(ternaries >= Some(20));
    let either = vec!["a == 1"; 400].join(" || ");
    assert!(Expression::parse(&either).is_ok(), "a long row of alternatives is not deep");
}

#[test]
fn what_grows_without_end_reaches_the_limit_of_steps() {
    let doubled = format!("['aaaaaaaaaaaaaaaa']{}", ".map(x, x + x)".repeat(20));
    let listed = format!("[[1]]{}", ".map(x, [x, x])".repeat(20));
    let nested = "[1,2,3,4,5,6,7,8,9,0]";
    let nested = format!(
        "{nested}.all(a, {nested}.all(b, {nested}.all(c, {nested}.all(d, {nested}.all(e, {nested}.all(f, true))))))"
    );
    for text in [doubled, listed, nested] {
        let (kind, message) = fault(&text);
        assert_eq!(kind, Fault::Limit, "{text}: {message}");
    }
    let big = variables(json!({ "xs": vec![0; 100_000] }));
    let cheap = Expression::parse("xs.exists(x, x == 1)").unwrap();
    let mut steps = EXPRESSION_STEPS_MAX;
    assert_eq!(cheap.holds_within(&big, &mut steps), Ok(false));
    assert!(steps < EXPRESSION_STEPS_MAX - 100_000);
    assert_eq!(cheap.holds_within(&big, &mut 1_000).expect_err("it is too much").fault, Fault::Limit);
}

/// Texts that are more like expressions than chance would make them.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => prop::sample::select(vec![
            "system", ".", "type", "(", ")", "[", "]", "{", "}", "'a'", "\"", "'", "1", "2.5", "==", "<", "&&", "||", "!", "-",
            "+", "*", "/", "%", "?", ":", ",", "in", "has", "map", "x", "true", "null", "items", "size", "r'", "\\", "9223372036854775807",
            "1e308", "0x", "1u", "''", "b'", "\n", "//", "`", ".?", "[?", "exists", "string", "substring", "int",
        ]).prop_map(str::to_owned),
        1 => "\\PC{1,4}",
    ];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.join(""))
}

/// Expressions over `n`, `m` (whole), `f` (a fraction), `s` (a text), `l` (a list) and `b`, with few mistakes of type.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "n",
        "m",
        "f",
        "s",
        "l",
        "b",
        "o.n",
        "o.s",
        "o.missing",
        "1",
        "-3",
        "2.5",
        "0",
        "'x'",
        "'abc'",
        "true",
        "false",
        "null",
        "[1, 2]",
        "[]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let binary =
            prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||", "in"]);
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        prop_oneof![
            6 => (inner.clone(), binary, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => inner.clone().prop_map(|a| format!("size({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            1 => inner.clone().prop_map(|a| format!("has({{'k': {a}}}.k)")),
            2 => (inner.clone(), each, inner).prop_map(|(a, name, b)| format!("({a}).{name}(m, {b})")),
        ]
    })
}

fn typed() -> Map<String, Value> {
    variables(json!({ "n": 4, "m": -2, "f": 0.5, "s": "abc", "l": [1, 2, 3], "b": true, "o": { "n": 1, "s": "x" } }))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in texts()) {
        if let Ok(parsed) = Expression::parse(&text) {
            let _ = parsed.evaluate_within(&sample(), &mut 10_000);
        }
    }

    /// Where the crate's own interpreter and this one both have an answer, it is the same; and what that one can do, this one can.
    #[test]
    fn an_expression_comes_to_the_same_as_in_the_crate(text in expressions()) {
        let Ok(parsed) = Expression::parse(&text) else { return Ok(()) };
        let ours = parsed.evaluate(&typed());
        prop_assert_eq!(&ours, &parsed.evaluate(&typed()), "the same again");
        let mut context = cel::Context::default();
        for (name, value) in typed() {
            context.add_variable(name, value).expect("it converts");
        }
        let theirs = cel::Program::compile(&text).expect("it is CEL").execute(&context);
        let Some(theirs) = theirs.ok().and_then(|value| value.json().ok()) else { return Ok(()) };
        // Fractions beyond the numbers are null in that JSON.
        if theirs.to_string().contains("null") {
            return Ok(());
        }
        prop_assert_eq!(ours.map_err(|error| error.to_string()), Ok(theirs));
    }
}

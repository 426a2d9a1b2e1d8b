//! Events in the JSON format of CloudEvents 1.0. Events are what is written most, mostly one for many systems: what does not
//! differ between those is written once.

use twinway_protocol::{JsonDoc, SystemId, signal::Event, time::Timestamp};

use super::gap::Gap;

/// How long most heads are at most, in bytes.
const HEAD_BYTES: usize = 256;

/// Writes the envelope of event `number` of `system` behind what is in `into`. `skipped` is an extension: how many older
/// events this one takes the place of, for a subscriber that wants the newest only.
pub(crate) fn write_event(into: &mut String, event: &Event, system: &SystemId, number: u64, skipped: u64) {
    begin(into, system, number, "");
    into.push_str(event.head(|Event { kind, subject, at, .. }| {
        let mut text = String::with_capacity(HEAD_BYTES);
        head(&mut text, kind, Some(subject), *at);
        text.into_boxed_str()
    }));
    if skipped > 0 {
        into.push_str(",\"skipped\":");
        push_number(into, skipped);
    }
    end(into, &event.data);
}

/// Tells a webhook that events are gone before event `next`. The id is that of the event behind the gap.
pub(super) fn gap(system: &SystemId, next: u64, gap: &Gap, at: Timestamp) -> String {
    let mut text = String::new();
    begin(&mut text, system, next, "-gap");
    head(&mut text, "gap", None, at);
    end(&mut text, &JsonDoc::from_value(gap).unwrap_or_else(|_| JsonDoc::null()));
    text
}

/// The id of an event says whose it is, and its number.
fn begin(into: &mut String, system: &SystemId, number: u64, what: &str) {
    into.push_str("{\"specversion\":\"1.0\",\"id\":\"");
    push_escaped(into, system.as_str());
    into.push('-');
    push_number(into, number);
    into.push_str(what);
}

fn head(into: &mut String, kind: &str, subject: Option<&str>, at: Timestamp) {
    into.push_str("\",\"source\":\"/twinway\",\"type\":\"io.twinway.");
    push_escaped(into, kind);
    into.push('"');
    if let Some(subject) = subject {
        into.push_str(",\"subject\":");
        push_text(into, subject);
    }
    into.push_str(",\"time\":\"");
    into.push_str(&at.to_string());
    into.push_str("\",\"datacontenttype\":\"application/json\"");
}

fn end(into: &mut String, data: &JsonDoc) {
    into.push_str(",\"data\":");
    into.push_str(data.as_str());
    into.push('}');
}

/// Adds a number.
pub(crate) fn push_number(into: &mut String, number: u64) {
    into.push_str(itoa::Buffer::new().format(number));
}

/// Adds a JSON string.
pub(crate) fn push_text(into: &mut String, text: &str) {
    into.push('"');
    push_escaped(into, text);
    into.push('"');
}

fn push_escaped(into: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        let quoted = serde_json::Value::from(text).to_string();
        into.push_str(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default());
    } else {
        into.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(subject: &str) -> Event {
        let (at, data) = (Timestamp::from_unix_ms(1), JsonDoc::parse("{ \"a\": 1.0 }").expect("it is JSON"));
        Event::new("twin.changed", subject.to_owned(), None, at, data)
    }

    fn written(event: &Event, system: &str, number: u64, skipped: u64) -> Value {
        let mut text = String::new();
        write_event(&mut text, event, &SystemId::new(system).expect("a name"), number, skipped);
        serde_json::from_str(&text).expect("it is JSON")
    }

    #[test]
    fn the_envelope_is_a_cloud_event() {
        let expected = json!({
            "specversion": "1.0", "id": "urn:m-7", "source": "/twinway", "type": "io.twinway.twin.changed",
            "subject": "lamp", "time": "1970-01-01T00:00:00.001Z", "datacontenttype": "application/json",
            "data": {"a": 1.0},
        });
        assert_eq!(written(&event("lamp"), "urn:m", 7, 0), expected);
    }

    #[test]
    fn each_system_has_its_own_id_and_what_it_skipped_in_an_envelope_that_it_shares() {
        let event = event("lamp");
        let (one, other) = (written(&event, "a", 7, 0), written(&event, "b", 9, 3));
        assert_eq!((&one["id"], one.get("skipped")), (&json!("a-7"), None));
        assert_eq!((&other["id"], &other["skipped"]), (&json!("b-9"), &json!(3)));
        assert_eq!((&one["subject"], &one["data"]), (&other["subject"], &other["data"]));
    }

    #[test]
    fn names_that_json_escapes_are_escaped() {
        let written = written(&event("a\"b\\c\u{1}"), "x\"\\y", 1, 0);
        assert_eq!((&written["id"], &written["subject"]), (&json!("x\"\\y-1"), &json!("a\"b\\c\u{1}")));
    }

    #[test]
    fn a_gap_names_the_event_behind_it() {
        let system = SystemId::new("m").expect("a name");
        let gap = Gap { missed: 2, ..Gap::default() };
        let text = super::gap(&system, 7, &gap, Timestamp::from_unix_ms(1));
        let expected = json!({
            "specversion": "1.0", "id": "m-7-gap", "source": "/twinway", "type": "io.twinway.gap",
            "time": "1970-01-01T00:00:00.001Z", "datacontenttype": "application/json", "data": {"missed": 2},
        });
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), expected);
    }
}

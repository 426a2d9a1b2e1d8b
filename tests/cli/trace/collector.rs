//! A collector of OpenTelemetry on loopback, and its protocol as `opentelemetry-proto` maps it to JSON.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde::Deserialize;

/// `ExportTraceServiceRequest`, with the fields that are sent and no others.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

/// `Span`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Span {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) parent_span_id: Option<String>,
    pub(super) name: String,
    pub(super) kind: u8,
    pub(super) start_time_unix_nano: String,
    end_time_unix_nano: String,
    pub(super) attributes: Vec<Attribute>,
    #[serde(default)]
    pub(super) links: Vec<Link>,
    dropped_links_count: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Link {
    pub(super) trace_id: String,
    pub(super) span_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) value: Value,
}

/// `AnyValue`: one of its forms.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Value {
    pub(super) string_value: Option<String>,
    pub(super) bool_value: Option<bool>,
}

/// Ids are hexadecimal and not Base64, of 16 and 8 bytes, and not all zero.
fn check_ids(trace: &str, span: &str) {
    for (id, digits) in [(trace, 32), (span, 16)] {
        assert!(id.len() == digits && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert!(id.bytes().any(|c| c != b'0'), "{id}");
    }
}

/// The spans of a request, which is as the protocol wants it.
pub(super) fn spans_of(body: &[u8]) -> Vec<Span> {
    let request: Request = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}"));
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let service = of_resource.resource.attributes.iter().find(|attribute| attribute.key == "service.name");
        assert_eq!(service.and_then(|service| service.value.string_value.as_deref()), Some("twinway"));
        for of_scope in of_resource.scope_spans {
            assert!(of_scope.scope.name == "twinway" && !of_scope.scope.version.is_empty());
            spans.extend(of_scope.spans);
        }
    }
    for span in &spans {
        check_ids(&span.trace_id, &span.span_id);
        span.links.iter().for_each(|link| check_ids(&link.trace_id, &link.span_id));
        span.parent_span_id.iter().for_each(|parent| check_ids(&span.trace_id, parent));
        // 64-bit integers are text in JSON.
        for moment in [&span.start_time_unix_nano, &span.end_time_unix_nano] {
            assert!(moment.parse::<u64>().is_ok(), "{moment}");
        }
        assert!(span.dropped_links_count.is_none_or(|dropped| dropped > 0));
        for Attribute { key, value } in &span.attributes {
            assert!(value.string_value.is_some() != value.bool_value.is_some(), "{key}");
        }
    }
    spans
}

/// Keeps what is sent to it.
pub(super) struct Collector {
    pub(super) url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// One that answers with these statuses, one after the other, and with the last one from then on.
    pub(super) fn start(statuses: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let url = format!("http://{}/v1/traces", listener.local_addr().expect("it is bound"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (kept, statuses) = (Arc::clone(&bodies), statuses.to_vec());
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                while let Some(body) = receive(&stream) {
                    let mut kept = kept.lock().expect("nobody panics with it");
                    let status = statuses.get(kept.len()).or(statuses.last()).expect("there is one");
                    kept.push(body);
                    let answer =
                        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
                    (&stream).write_all(answer.as_bytes()).expect("it listens");
                }
            }
        });
        Self { url, bodies }
    }

    pub(super) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().expect("nobody panics with it").clone()
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.bodies().iter().flat_map(|body| spans_of(body)).collect()
    }
}

/// The next request of a connection, which says how long it is and of what type.
fn receive(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut json, mut first) = (None, false, String::new());
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    assert!(first.starts_with("POST /v1/traces HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("it goes on");
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = Some(value.parse().expect("a number")),
            Some(("content-type", value)) => json = value == "application/json",
            Some(_) => {}
        }
    }
    assert!(json);
    let mut body = vec![0; length.unwrap_or_else(|| panic!("it says not how long it is"))];
    reader.read_exact(&mut body).expect("all of it comes");
    Some(body)
}

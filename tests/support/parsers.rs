//! What is asked of the parsers of what others write, whatever they are given: by the tests, and by the fuzz targets.

#![allow(dead_code, reason = "each fuzz target asks one of them")]

use std::sync::Arc;

use twinway::{
    protocol::{
        flow::{Checker, Limits, Report},
        time::Timestamp,
    },
    scenarios::flow::{self, Form},
    trace::{
        Read, Recorded, TraceError,
        otlp::{Spanned, Spans},
        read, read_recorded,
    },
};

/// A flow file is a flow that can be shown in every form, or a mistake with its place.
pub(crate) fn flow_file(bytes: &[u8]) {
    match flow::read("x", bytes, flow::embedded()) {
        Ok(flow) => {
            for form in [Form::Text, Form::Mermaid, Form::Svg, Form::Dot, Form::Json] {
                assert!(flow::show(&flow, form).ends_with('\n'));
            }
        }
        Err(error) => assert!(error.to_string().starts_with("x:"), "{error}"),
    }
}

/// A trace is judged and exported, or refused with its line, by both alike unless its causes are a loop.
pub(crate) fn trace(bytes: &[u8]) {
    let told = |error: String| assert!(error.starts_with("line "), "{error}");
    let (judged, exported) = (check(bytes), export(bytes));
    if let (Err(_), Ok(_)) = (&judged, &exported) {
        panic!("it is exported and not judged: {judged:?}");
    }
    judged.map(drop).unwrap_or_else(told);
    exported.map(drop).unwrap_or_else(told);
}

/// Judges a trace by 9.2, with room for few events: gives how many lines were understood, and what came of it.
pub(crate) fn check(bytes: &[u8]) -> Result<(u64, Report), String> {
    let flow = flow::find("9.2").expect("it is there");
    let mut checker = Checker::new(Arc::clone(&flow), Limits { events_kept: 64, ..Limits::any_order() });
    let mut lines = 0;
    let done = read(bytes, |line| {
        lines += 1;
        match line {
            Read::Event(event) => checker.event(&event, |finding| drop(finding.shown(&flow).to_string())),
            Read::Lost(events) => checker.lost(events),
        }
    });
    let report = checker.finish(|finding| drop(finding.shown(&flow).to_string()));
    done.map(|()| (lines, report)).map_err(|error| error.to_string())
}

/// Makes spans of a trace: gives how many. What it makes is JSON.
pub(crate) fn export(bytes: &[u8]) -> Result<usize, String> {
    let (mut spans, mut count) = (Spans::new(Timestamp::default()), 0);
    let mut take = |request: Option<twinway::trace::otlp::Request>| {
        let Some(request) = request else { return };
        let document: serde_json::Value = serde_json::from_slice(&request.body).expect("it is JSON");
        let made = document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().map_or(0, Vec::len);
        assert_eq!(made, request.spans);
        count += made;
    };
    let broken = |(error, line): (twinway::trace::otlp::SpanError, u64)| TraceError { line, why: error.to_string() };
    let done = read_recorded(bytes, |recorded| {
        if let Recorded::Event { traced, from, to, at_ns } = recorded {
            let event = Spanned {
                event: traced.event,
                cause: traced.cause,
                joined: traced.joined.into(),
                from: from.into(),
                to: to.into(),
                step: traced.step.map(|(flow, step)| (flow.to_owned().into(), step.to_owned().into())),
                name: traced.name.to_owned().into(),
                at_ns,
                place: traced.place,
            };
            take(spans.push(event).map_err(broken)?);
        }
        Ok::<(), TraceError>(())
    });
    done.map_err(|error| error.to_string())?;
    while spans.waiting() > 0 {
        take(spans.settle_one().map_err(|error| broken(error).to_string())?);
    }
    take(spans.take_request());
    Ok(count)
}

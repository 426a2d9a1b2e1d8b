//! Reading what nobody wrote, traces and flow files: whatever the bytes are, they are read or refused with their line, and
//! memory does not grow with them. The fuzz targets ask the same (`fuzz/`).

#[cfg(test)]
#[path = "support/parsers.rs"]
mod parsers;

#[cfg(test)]
mod reading {
    use std::{
        io::{self, BufRead, BufReader, Read as _},
        sync::Arc,
    };

    use proptest::prelude::*;
    use twinway::{
        protocol::flow::{Checker, Limits},
        scenarios::flow::{files, find},
        trace::{
            LINE_BYTES_MAX, Read, Recorded, TraceError,
            otlp::{self, Spanned, Spans},
            read, read_recorded,
        },
    };

    use super::parsers::{self, check};

    /// A trace of the demo world, as it was recorded.
    const RECORDED: &[u8] = include_bytes!("../fuzz/seeds/trace/demo.jsonl");

    const TRACE: &str = concat!(
        r#"{"format":"twinway-trace","version":1}"#,
        "\n",
        r#"{"event":"1.1","from":"MetaverseSystem/0","to":"Dts/0","flow":"9.2","step":"15","message":"ChangeTwin","atNs":1}"#,
        "\n",
        r#"{"event":"2.1","cause":"1.1","from":"Dts/0","to":"Dtac/0","flow":"9.2","step":"16","message":"VerifyChange","atNs":1}"#,
        "\n",
        r#"{"lost":3}"#,
        "\n",
        r#"{"event":"1.2","cause":"2.1","joined":["1.1"],"from":"Dtac/0","to":"Dts/0","flow":"9.2","step":"16","message":"ChangeVerified","atNs":1}"#,
        "\n",
    );

    #[test]
    fn a_trace_is_read_with_what_it_says_is_lost() {
        assert_eq!(check(TRACE.as_bytes()).map(|(lines, _)| lines), Ok(4));
        let lines = RECORDED.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(check(RECORDED).map(|(lines, report)| (lines, report.holds())), Ok((lines - 1, true)));
        assert_eq!(parsers::export(RECORDED), Ok(lines as usize - 1));
    }

    #[test]
    fn a_line_is_an_event_or_says_what_was_lost_and_not_both() {
        let both = TRACE.replace("{\"lost\":3}", "{\"lost\":3,\"event\":\"1.1\"}");
        let told = check(both.as_bytes()).map(|(lines, _)| lines);
        assert!(told.is_err_and(|told| told.ends_with("it is either an event or says how many were lost")));
    }

    #[test]
    fn a_line_that_has_no_end_is_refused_and_not_read_to_its_end() {
        // Nobody could read all of it.
        let head = &b"{\"format\":\"twinway-trace\",\"version\":1}\n"[..];
        let endless = BufReader::new(head.chain(io::repeat(b'x')));
        let told = read(endless, |_| {}).expect_err("it is too long").to_string();
        assert_eq!(told, format!("line 2: it is longer than {LINE_BYTES_MAX} bytes"));
    }

    /// A trace of so many events of a flow that nobody knows, made while it is read.
    struct Made {
        events: u64,
        next: u64,
        line: Vec<u8>,
        at: usize,
    }

    impl Made {
        fn new(events: u64) -> Self {
            Self { events, next: 0, line: b"{\"format\":\"twinway-trace\",\"version\":1}\n".to_vec(), at: 0 }
        }
    }

    impl io::Read for Made {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.fill_buf()?.read(into)?;
            self.consume(count);
            Ok(count)
        }
    }

    impl BufRead for Made {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            if self.at == self.line.len() && self.next < self.events {
                self.next += 1;
                let n = self.next;
                // Each causes the next, and is caused by one that never happened too.
                let cause = if n > 1 { format!("1.{}", n - 1) } else { "7.7".to_owned() };
                self.line = format!(
                    "{{\"event\":\"1.{n}\",\"cause\":\"{cause}\",\"joined\":[\"9.{n}\"],\"from\":\"A/0\",\"to\":\"B/0\",\"flow\":\
                     \"99\",\"step\":\"1\",\"message\":\"M\"}}\n"
                )
                .into_bytes();
                self.at = 0;
            }
            Ok(&self.line[self.at..])
        }

        fn consume(&mut self, count: usize) {
            self.at += count;
        }
    }

    const MILLION: u64 = 1_000_000;

    #[test]
    fn of_a_million_events_of_an_unknown_flow_no_more_are_kept_than_the_limits_say() {
        let kept = 1_024;
        let limits = Limits { events_kept: kept, settle_events: 256, ..Limits::any_order() };
        let mut checker = Checker::new(find("9.2").expect("it is there"), limits);
        let done = read(Made::new(MILLION), |line| match line {
            Read::Event(event) => checker.event(&event, |_| {}),
            Read::Lost(_) => {}
        });
        done.expect("it is a trace");
        let report = checker.finish(|_| {});
        assert_eq!((report.events, report.steps, report.unexpected), (MILLION, 0, 0), "none is a step of 9.2");
        // Some may still wait for their causes beside those that are kept.
        assert!(report.forgotten_events >= MILLION - 2 * kept as u64, "{report:?}");
    }

    #[test]
    fn a_million_events_are_exported_with_no_more_waiting_than_the_limits_say() {
        let (mut spans, mut made, mut largest) = (Spans::new(Default::default()), 0, 0);
        let mut take = |request: Option<otlp::Request>| {
            let Some(request) = request else { return };
            made += request.spans as u64;
            largest = largest.max(request.body.len());
        };
        let done = read_recorded(Made::new(MILLION / 10), |recorded| {
            if let Recorded::Event { traced, from, to, at_ns } = recorded {
                let event = Spanned {
                    event: traced.event,
                    cause: traced.cause,
                    joined: traced.joined.into(),
                    from: from.into(),
                    to: to.into(),
                    step: None,
                    name: "M".into(),
                    at_ns,
                    place: traced.place,
                };
                take(spans.push(event).expect("each is there once"));
                assert!(spans.waiting() <= otlp::WINDOW_EVENTS);
            }
            Ok::<(), TraceError>(())
        });
        done.expect("it is a trace");
        while spans.waiting() > 0 {
            take(spans.settle_one().expect("there is no loop"));
        }
        take(spans.take_request());
        assert_eq!(made, MILLION / 10);
        assert!(largest < 2 * otlp::BATCH_BYTES_MAX, "{largest}");
    }

    /// Where bytes are changed, how many go, and what comes instead.
    type Damage = (prop::sample::Index, usize, Vec<u8>);

    fn damage() -> impl Strategy<Value = Vec<Damage>> {
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..4),
            // What has a meaning where it comes.
            prop::sample::select(vec![
                "\"",
                "{",
                "}",
                "\n",
                "\\u0000",
                "1.1",
                "null",
                "[]",
                "-1",
                "16777216.1",
                "= ",
                "[["
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, bytes), 1..4)
    }

    fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
        for (at, cut, instead) in damages {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..(at + cut).min(bytes.len()), instead.iter().copied());
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(300), ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..600), headed in any::<bool>()) {
            let head = if headed { &TRACE.as_bytes()[..39] } else { &[] };
            parsers::trace(&[head, &bytes].concat());
            parsers::flow_file(&bytes);
        }

        #[test]
        fn a_damaged_trace_is_read_or_refused_with_a_line(damages in damage(), real in any::<bool>()) {
            let bytes = if real { RECORDED } else { TRACE.as_bytes() };
            parsers::trace(&damaged(bytes.to_vec(), &damages));
        }

        #[test]
        fn a_damaged_flow_file_is_read_or_refused_with_a_line(damages in damage(), file in any::<prop::sample::Index>()) {
            let (_, text) = files()[file.index(files().len())];
            parsers::flow_file(&damaged(text.as_bytes().to_vec(), &damages));
        }

        #[test]
        fn a_trace_that_is_cut_off_within_a_line_says_so(end in any::<prop::sample::Index>(), real in any::<bool>()) {
            let whole = if real { RECORDED } else { TRACE.as_bytes() };
            let bytes = &whole[..end.index(whole.len())];
            // An event that is complete but for its line's end is whole too.
            if let Err(error) = check(bytes) {
                prop_assert!(!bytes.ends_with(b"\n") && (bytes.is_empty() || error.contains("ends within this line")), "{}", error);
            }
        }

        #[test]
        fn a_flow_file_that_is_cut_off_is_read_or_refused_with_a_line(end in any::<prop::sample::Index>(), file in any::<prop::sample::Index>()) {
            let (_, text) = files()[file.index(files().len())];
            parsers::flow_file(&text.as_bytes()[..end.index(text.len())]);
        }
    }

    #[test]
    fn parents_that_never_happened_and_loops_of_parents_are_read_and_told() {
        let event = |id: &str, cause: &str| {
            format!("{{\"event\":\"{id}\",\"cause\":\"{cause}\",\"from\":\"A/0\",\"to\":\"B/0\",\"message\":\"M\"}}\n")
        };
        let head = TRACE.lines().next().expect("it has one");
        let orphan = format!("{head}\n{}", event("1.1", "7.7"));
        let report = check(orphan.as_bytes()).expect("it is a trace").1;
        assert_eq!((report.broken, parsers::export(orphan.as_bytes())), (1, Ok(1)));
        let looped = format!("{head}\n{}{}{}", event("1.1", "3.1"), event("2.1", "1.1"), event("3.1", "2.1"));
        let report = check(looped.as_bytes()).expect("it is a trace").1;
        assert!(report.broken > 0, "{report:?}");
        let told = parsers::export(looped.as_bytes()).expect_err("a loop is no trace of anything");
        assert_eq!(told, "line 2: event 1.1 is among its own causes");
        let itself = format!("{head}\n{}", event("1.1", "1.1"));
        assert_eq!(parsers::export(itself.as_bytes()), Err("line 2: event 1.1 is among its own causes".to_owned()));
    }

    #[test]
    fn thousands_of_loops_cost_no_more_than_their_events() {
        let head = TRACE.lines().next().expect("it has one");
        let event = |n: u32| {
            let cause = if n == 1 { 50_000 } else { n - 1 };
            format!(
                "{{\"event\":\"1.{n}\",\"cause\":\"1.{cause}\",\"from\":\"A/0\",\"to\":\"B/0\",\"message\":\"M\"}}\n"
            )
        };
        let looped: String = (1..=50_000).map(event).collect();
        let flow = find("9.2").expect("it is there");
        let mut checker = Checker::new(Arc::clone(&flow), Limits::any_order());
        read(format!("{head}\n{looped}").as_bytes(), |line| {
            if let Read::Event(event) = line {
                checker.event(&event, |_| {});
            }
        })
        .expect("it is a trace");
        assert!(checker.finish(|_| {}).broken > 0);
    }
}

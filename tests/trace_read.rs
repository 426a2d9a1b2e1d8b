//! Reading traces that nobody wrote: whatever the bytes are, they are read or refused.

#[cfg(test)]
mod reading {
    use std::sync::Arc;

    use proptest::prelude::*;
    use twinway::{
        protocol::flow::{Checker, Limits},
        scenarios::flow::find,
        trace::{Read, read},
    };

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

    /// Reads bytes into a checker; gives how many lines were understood, or the mistake.
    fn check(bytes: &[u8]) -> Result<u64, String> {
        let flow = find("9.2").expect("it is there");
        let mut checker = Checker::new(Arc::clone(&flow), Limits { events_kept: 64, ..Limits::any_order() });
        let mut lines = 0;
        let done = read(bytes, |line| {
            lines += 1;
            match line {
                Read::Event(event) => checker.event(&event, |finding| drop(finding.shown(&flow).to_string())),
                Read::Lost(events) => checker.lost(events),
            }
        });
        let _report = checker.finish(|_| {});
        done.map(|()| lines).map_err(|error| error.to_string())
    }

    #[test]
    fn a_trace_is_read_with_what_it_says_is_lost() {
        assert_eq!(check(TRACE.as_bytes()), Ok(4));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..600), headed in any::<bool>()) {
            let head = if headed { &TRACE.as_bytes()[..39] } else { &[] };
            let read = check(&[head, &bytes].concat());
            prop_assert!(read.is_ok() || read.is_err_and(|error| error.starts_with("line ")));
        }

        #[test]
        fn a_damaged_trace_is_read_or_refused_with_a_line(at in 0_usize..TRACE.len(), cut in 0_usize..60, byte in any::<u8>()) {
            let mut bytes = TRACE.as_bytes().to_vec();
            bytes.splice(at..(at + cut).min(TRACE.len()), [byte]);
            let read = check(&bytes);
            prop_assert!(read.is_ok() || read.is_err_and(|error| error.starts_with("line ")));
        }

        #[test]
        fn a_trace_that_is_cut_off_within_a_line_says_so(end in 0_usize..TRACE.len()) {
            let whole = TRACE.as_bytes()[..end].ends_with(b"\n");
            let read = check(&TRACE.as_bytes()[..end]);
            // An event that is complete but for its line's end is whole too.
            if let Err(error) = read {
                prop_assert!(!whole && (end == 0 || error.contains("ends within this line")), "{}", error);
            }
        }
    }
}

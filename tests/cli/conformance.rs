//! The report of conformance as scripts see it: every clause of the texts is answered by something that was executed.

use super::support::{code, run, text};

#[test]
fn every_clause_of_the_texts_is_answered_and_holds() {
    let output = run(&["conformance", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is one JSON document");
    let rows = report["rows"].as_array().expect("there are rows");
    let wanting = rows.iter().filter(|row| row["verdict"] != "holds").collect::<Vec<_>>();
    assert!(wanting.is_empty(), "{wanting:#?}\n{}", text(&output.stderr));
    assert_eq!(code(&output), 0);

    // Each of the texts' parts is there: requirements, functions, and the steps of nine flows.
    for id in ["FGMV-28 REQ-DT-01", "FGMV-28 REQ-SI-02 (connecting)", "FGMV-29 8.3.6 collection", "FGMV-29 9.2 step 18"]
    {
        let row = rows.iter().find(|row| row["id"] == id).expect(id);
        let answers = row["evidence"].as_array().expect("it is a list");
        let evidence = report["evidence"].as_array().expect("it is a list");
        let executed = |at: &serde_json::Value| usize::try_from(at.as_u64()?).ok().and_then(|at| evidence.get(at));
        assert!(!answers.is_empty() && answers.iter().all(|at| executed(at).is_some_and(|one| one["holds"] == true)));
    }
    for flow in ["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.3.1", "7.3.2", "7.3.3"] {
        let evidence = report["evidence"].as_array().expect("it is a list");
        assert!(evidence.iter().any(|one| one["kind"] == "scenario" && one["name"] == flow), "{flow} was run");
    }
}

/// The tags of a page, in order, without what is in them.
fn tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').skip(1).filter_map(|piece| piece.split_once('>')).map(|(tag, _)| tag)
}

#[test]
fn the_page_is_well_formed_and_has_a_row_a_clause_and_what_nobody_ran_is_open() {
    let output = run(&["conformance", "--simulated", "--format", "html"]);
    // Without scenarios what only they answer is open: that is no success.
    assert_eq!(code(&output), 8);
    assert!(text(&output.stderr).contains("0 clauses are broken"), "{}", text(&output.stderr));
    let page = text(&output.stdout);
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(page).filter(|tag| !tag.starts_with('!') && !tag.ends_with('/')) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None => open.push(tag.split(' ').next().unwrap_or_default()),
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "all tags are closed");
    let rows = |class: &str| tags(page).filter(|tag| *tag == format!("tr class=\"{class}\"")).count();
    assert!(rows("holds") > 100 && rows("open") > 0, "{} hold, {} are open", rows("holds"), rows("open"));
    assert_eq!(rows("broken"), 0);
}

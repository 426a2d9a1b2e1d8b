//! What came of it, clause by clause; as a document and as a page.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Clause, Steps, taken};

/// Something that was executed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// A check, a simulated world, or a scenario.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub what: String,
    /// Whether it holds.
    pub holds: bool,
    /// What does not hold.
    pub problem: Option<String>,
    /// The ids of the clauses that it answers.
    #[serde(skip)]
    answers: Vec<String>,
}

/// What is to be said of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// All that answers it holds, and there is something that does.
    Holds,
    /// Something that answers it does not hold.
    Broken,
    /// Nothing was executed that answers it.
    Open,
}

/// A clause, and what answers it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The clause.
    #[serde(flatten)]
    pub clause: Clause,
    /// What is to be said of it.
    pub verdict: Verdict,
    /// What was executed, by its place in [`Report::evidence`].
    pub evidence: Vec<usize>,
}

/// What the texts ask for, and what was executed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The clauses, in the order of the texts.
    pub rows: Vec<Row>,
    /// What was executed.
    pub evidence: Vec<Evidence>,
}

impl Evidence {
    pub(super) fn new(kind: &'static str, name: &str, what: &str, result: Result<(), String>) -> Self {
        let (name, what, answers) = (name.to_owned(), what.to_owned(), Vec::new());
        Self { kind, name, what, holds: result.is_ok(), problem: result.err(), answers }
    }

    /// It answers these clauses.
    pub(super) fn answering<T: AsRef<str>>(mut self, ids: &[T]) -> Self {
        self.answers.extend(ids.iter().map(|id| id.as_ref().to_owned()));
        self
    }

    /// It answers the steps that were taken in it, which is of the flow named `of`.
    pub(super) fn taking(mut self, of: &str, steps: &Steps) -> Self {
        self.answers.extend(taken(of, steps));
        self
    }
}

impl Report {
    pub(super) fn of(clauses: Vec<Clause>, evidence: Vec<Evidence>) -> Self {
        let row = |clause: Clause| {
            let answers = |(at, evidence): (usize, &Evidence)| evidence.answers.contains(&clause.id).then_some(at);
            let answering: Vec<usize> = evidence.iter().enumerate().filter_map(answers).collect();
            let broken = answering.iter().filter_map(|at| evidence.get(*at)).any(|evidence| !evidence.holds);
            let verdict = match (answering.is_empty(), broken) {
                (true, _) => Verdict::Open,
                (false, true) => Verdict::Broken,
                (false, false) => Verdict::Holds,
            };
            Row { clause, verdict, evidence: answering }
        };
        let rows = clauses.into_iter().map(row).collect();
        Self { version: env!("CARGO_PKG_VERSION"), rows, evidence }
    }

    /// How many clauses have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// What answers a row.
    pub fn of_row<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = &'r Evidence> {
        row.evidence.iter().filter_map(|at| self.evidence.get(*at))
    }

    /// The report as a page that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = String::from(HEAD);
        let counts = [Verdict::Holds, Verdict::Broken, Verdict::Open].map(|verdict| self.count(verdict));
        let [holds, broken, open] = counts;
        // Writing to a text cannot fail.
        let _ = write!(
            page,
            "<h1>Conformance of Twinway {}</h1><p>{} clauses: {holds} hold, {broken} broken, {open} open. {} runs.</p>\
             <table><tr><th>Clause</th><th>Asked for</th><th>Verdict</th><th>Executed</th></tr>\n",
            self.version,
            self.rows.len(),
            self.evidence.len()
        );
        for row in &self.rows {
            let (class, word) = match row.verdict {
                Verdict::Holds => ("holds", "holds"),
                Verdict::Broken => ("broken", "broken"),
                Verdict::Open => ("open", "open"),
            };
            let (id, title) = (escaped(&row.clause.id), escaped(&row.clause.title));
            let _ = write!(page, "<tr class=\"{class}\"><td>{id}</td><td>{title}</td><td>{word}</td><td>");
            for evidence in self.of_row(row) {
                let problem = evidence.problem.as_deref().map(|why| format!(": {}", escaped(why))).unwrap_or_default();
                let (name, what) = (escaped(&evidence.name), escaped(&evidence.what));
                let _ = write!(page, "<div title=\"{what}\">{} <code>{name}</code>{problem}</div>", evidence.kind);
            }
            page.push_str("</td></tr>\n");
        }
        page.push_str("</table></body></html>\n");
        page
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"/>\
<title>Conformance of Twinway</title><style>\
body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;\
border-bottom:1px solid #ddd}.holds td:nth-child(3){color:#176a2c}.broken td:nth-child(3){color:#b00020;font-weight:bold}\
.open td:nth-child(3){color:#8a5a00}code{font-size:.9em}</style></head><body>\n";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

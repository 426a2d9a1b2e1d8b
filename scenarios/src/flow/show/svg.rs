//! A sequence diagram as a picture: a column an entity, an arrow a hop, a line a row.

use std::fmt::Write;

use twinway_protocol::flow::{Branch, Flow, FlowStep, Hop};

// All in pixels; a letter is about so wide.
const COLUMN: usize = 200;
const ROW: usize = 34;
const HEAD: usize = 70;
const LETTER: usize = 7;

/// A sequence diagram: columns from left to right, rows from top to bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// A name and a longer one for each.
    pub columns: Vec<(String, String)>,
    /// In their order.
    pub rows: Vec<Row>,
}

/// One row of a picture: an arrow from a column to another, or a mark on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The column where it begins, from 0.
    pub from: usize,
    /// The column where it ends.
    pub to: usize,
    /// What stands at it.
    pub label: String,
    /// Whether it is drawn with dashes.
    pub dashed: bool,
}

pub(super) fn svg(flow: &Flow) -> String {
    let column = |name: &str| flow.entities().iter().position(|entity| entity.name == name).unwrap_or_default();
    let picture = Picture {
        title: format!("{} {}", flow.name(), flow.title()),
        columns: flow.entities().iter().map(|entity| (entity.name.clone(), entity.title.clone())).collect(),
        rows: flow.steps().iter().flat_map(|step| rows(step, &column)).collect(),
    };
    picture.svg()
}

impl Picture {
    /// The picture as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        drawn(self)
    }
}

fn drawn(Picture { title, columns, rows }: &Picture) -> String {
    let longest = rows.iter().map(|row| middle(row.from.min(row.to)) + row.label.chars().count() * LETTER + 20).max();
    let width = (columns.len() * COLUMN).max(longest.unwrap_or_default());
    let height = HEAD + (rows.len() + 1) * ROW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n\
         <defs><marker id=\"head\" markerWidth=\"8\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\">\
         <path d=\"M0,0 L8,4 L0,8 z\"/></marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escaped(title),
    );
    for (at, (name, title)) in columns.iter().enumerate() {
        let x = middle(at);
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"24\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n\
             <text x=\"{x}\" y=\"40\" text-anchor=\"middle\" font-size=\"9\">{}</text>\n\
             <line x1=\"{x}\" y1=\"50\" x2=\"{x}\" y2=\"{height}\" stroke=\"#bbb\"/>",
            escaped(name),
            escaped(title),
        );
    }
    for (at, row) in rows.iter().enumerate() {
        draw(&mut out, row, HEAD + at * ROW);
    }
    out.push_str("</svg>\n");
    out
}

fn middle(column: usize) -> usize {
    column * COLUMN + COLUMN / 2
}

fn rows(step: &FlowStep, column: &impl Fn(&str) -> usize) -> Vec<Row> {
    if step.is_own() || step.hops.is_empty() {
        let label = format!("{} {}", step.number, step.title);
        return vec![Row { from: column(&step.from), to: column(&step.to), label, dashed: step.hops.is_empty() }];
    }
    let row = |hop: &Hop| {
        let branch = match hop.branch {
            Branch::Main => "",
            Branch::Rejected => " (rejected)",
            Branch::Later => " (later)",
        };
        let label = format!("{} {}{branch}", step.number, hop.messages.join(" / "));
        Row {
            from: column(&hop.from),
            to: column(&hop.to),
            label,
            dashed: hop.branch != Branch::Main || step.extension,
        }
    };
    step.hops.iter().map(row).collect()
}

fn draw(out: &mut String, row: &Row, y: usize) {
    let (from, to) = (middle(row.from), middle(row.to));
    let dashes = if row.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
    let label = escaped(&row.label);
    let (x, above) = if from == to {
        let (left, above) = (from - 5, y - 5);
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{above}\" width=\"10\" height=\"10\" fill=\"white\" stroke=\"black\"{dashes}/>"
        );
        (from + 10, y + 4)
    } else {
        let _ = writeln!(
            out,
            "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"black\" marker-end=\"url(#head)\"{dashes}/>"
        );
        (from.min(to) + 6, y - 4)
    };
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{above}\">{label}</text>");
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

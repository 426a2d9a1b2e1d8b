//! Showing a flow: as text, as a sequence diagram, as a graph, as data.

mod svg;

use std::fmt::Write;

use serde::Serialize;
use twinway_protocol::flow::{Branch, Flow, FlowStep};

pub use svg::{Picture, Row};

/// How a flow is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, a line a step.
    Text,
    /// A sequence diagram for Mermaid.
    Mermaid,
    /// A sequence diagram as a picture.
    Svg,
    /// The order as a graph for Graphviz.
    Dot,
    /// For programs.
    Json,
}

/// The flow in a form, with a line's end behind it.
#[must_use]
pub fn show(flow: &Flow, form: Form) -> String {
    match form {
        // A file's words must not move the cursor of the terminal that shows them.
        Form::Text => text(flow).replace(|sign: char| sign.is_control() && sign != '\n', "\u{fffd}"),
        Form::Mermaid => mermaid(flow),
        Form::Svg => svg::svg(flow),
        Form::Dot => dot(flow),
        Form::Json => json(flow),
    }
}

/// What marks a step, in words.
fn marks(step: &FlowStep) -> String {
    let choice = step.choice.as_ref().map(|choice| format!("choice {choice}"));
    let contains = step.contains.as_ref().map(|span| {
        let steps = if span.first == span.last { span.first.clone() } else { format!("{}-{}", span.first, span.last) };
        format!("contains {} {steps}", span.flow)
    });
    let marks = [
        step.optional.then(|| "optional".to_owned()),
        step.repeated.then(|| "repeated".to_owned()),
        step.extension.then(|| "extension".to_owned()),
        step.is_outside().then(|| "outside".to_owned()),
        choice,
        contains,
    ];
    marks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Who takes a step, and how it goes.
fn way(step: &FlowStep) -> String {
    if step.is_own() { format!("{} alone", step.from) } else { format!("{} -> {}", step.from, step.to) }
}

fn chain(flow: &Flow, number: &str) -> String {
    let into = flow.edges().iter().enumerate().filter(|(_, edge)| flow.number(edge.to) == number);
    let sign = |must: bool| if must { "<" } else { "..." };
    into.map(|(_, edge)| format!("{} {}", flow.number(edge.from), sign(edge.must_cause))).collect::<Vec<_>>().join(", ")
}

fn text(flow: &Flow) -> String {
    let mut out = format!("{}  {}\n", flow.name(), flow.title());
    if !flow.clause().is_empty() {
        let _ = writeln!(out, "{}", flow.clause());
    }
    out.push('\n');
    for entity in flow.entities() {
        let _ = writeln!(out, "{:24}{}", entity.name, entity.title);
    }
    let _ = writeln!(out, "\n`a <`: a must cause it; `a ...`: it may come any time after a\n");
    for step in flow.steps() {
        let after = chain(flow, &step.number);
        let marks = marks(step);
        let marks = if marks.is_empty() { String::new() } else { format!(" ({marks})") };
        let _ = writeln!(out, "{after:>10} {:4} {}: {}{marks}", step.number, way(step), step.title);
        for hop in step.hops.iter().filter(|_| !step.is_own()) {
            let branch = match hop.branch {
                Branch::Main => "",
                Branch::Rejected => ", rejected: the flow ends",
                Branch::Later => ", later",
            };
            let _ = writeln!(out, "{:16}{} -> {}: {}{branch}", "", hop.from, hop.to, hop.messages.join(" or "));
        }
    }
    out
}

fn mermaid(flow: &Flow) -> String {
    let mut out = "sequenceDiagram\n".to_owned();
    let identifier = |name: &str| participant(flow, name);
    for entity in flow.entities() {
        let title = if entity.title.trim().is_empty() { &entity.name } else { &entity.title };
        let _ = writeln!(out, "    participant {} as {}", identifier(&entity.name), plain(title));
    }
    for step in flow.steps() {
        let label = |messages: &[String]| plain(&format!("{} {}", step.number, messages.join(" / ")));
        if step.is_own() || step.hops.is_empty() {
            let (from, to) = (identifier(&step.from), identifier(&step.to));
            let title = plain(&format!("{} {}", step.number, step.title));
            let _ = match (step.is_own(), from == to) {
                (_, true) => writeln!(out, "    Note over {from}: {title}"),
                _ => writeln!(out, "    {from}-->>{to}: {title}"),
            };
            continue;
        }
        for hop in &step.hops {
            let (from, to) = (identifier(&hop.from), identifier(&hop.to));
            let (begin, end) = match hop.branch {
                Branch::Main => ("", ""),
                Branch::Rejected => ("    opt rejected\n    ", "    end\n"),
                Branch::Later => ("    opt later\n    ", "    end\n"),
            };
            let label = label(&hop.messages);
            let _ = match from == to {
                true => write!(out, "{begin}    Note over {from}: {label}\n{end}"),
                false => write!(out, "{begin}    {from}->>{to}: {label}\n{end}"),
            };
        }
    }
    out
}

/// What an entity is called in a diagram: by its name, if that is a name there, no word of Mermaid's and no other's.
fn participant(flow: &Flow, name: &str) -> String {
    let own = identifier(name);
    let entities = flow.entities();
    let alike = entities.iter().filter(|entity| identifier(&entity.name).eq_ignore_ascii_case(&own)).count();
    if own == name && alike == 1 && !own.eq_ignore_ascii_case("end") {
        return own;
    }
    let at = entities.iter().position(|entity| entity.name == name).unwrap_or_default();
    format!("{own}_{at}")
}

/// A name that diagrams take: letters, digits and `_`.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Text of a file that diagrams cannot take for their own signs.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, ';' | '#' | ':' | '"' | '\\' | '<' | '>') { ' ' } else { c })
        .collect()
}

fn dot(flow: &Flow) -> String {
    let mut out = format!("digraph \"{}\" {{\n    rankdir = LR;\n    node [shape = box];\n", plain(flow.name()));
    for (at, step) in flow.steps().iter().enumerate() {
        let style = match (step.is_outside(), step.extension) {
            (true, _) => ", style = dotted",
            (_, true) => ", style = dashed",
            _ => "",
        };
        let way = if step.is_own() { step.from.clone() } else { format!("{} to {}", step.from, step.to) };
        let _ =
            writeln!(out, "    s{at} [label = \"{} {}\\n{}\"{style}];", step.number, plain(&way), plain(&step.title));
    }
    for edge in flow.edges() {
        let style = if edge.must_cause { "" } else { " [style = dashed]" };
        let _ = writeln!(out, "    s{} -> s{}{style};", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowDocument<'f> {
    name: &'f str,
    title: &'f str,
    clause: &'f str,
    entities: Vec<EntityDocument<'f>>,
    steps: Vec<StepDocument<'f>>,
    order: Vec<EdgeDocument<'f>>,
}

#[derive(Serialize)]
struct EntityDocument<'f> {
    name: &'f str,
    title: &'f str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepDocument<'f> {
    number: &'f str,
    clause: &'f str,
    title: &'f str,
    from: &'f str,
    to: &'f str,
    own: bool,
    outside: bool,
    optional: bool,
    repeated: bool,
    extension: bool,
    choice: Option<&'f str>,
    contains: Option<[&'f str; 3]>,
    hops: Vec<HopDocument<'f>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HopDocument<'f> {
    flow: &'f str,
    number: &'f str,
    from: &'f str,
    to: &'f str,
    messages: &'f [String],
    branch: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeDocument<'f> {
    from: &'f str,
    to: &'f str,
    must_cause: bool,
}

fn json(flow: &Flow) -> String {
    let document = FlowDocument {
        name: flow.name(),
        title: flow.title(),
        clause: flow.clause(),
        entities: flow
            .entities()
            .iter()
            .map(|entity| EntityDocument { name: &entity.name, title: &entity.title })
            .collect(),
        steps: flow.steps().iter().map(document).collect(),
        order: flow
            .edges()
            .iter()
            .map(|edge| EdgeDocument {
                from: flow.number(edge.from),
                to: flow.number(edge.to),
                must_cause: edge.must_cause,
            })
            .collect(),
    };
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn document(step: &FlowStep) -> StepDocument<'_> {
    StepDocument {
        number: &step.number,
        clause: &step.clause,
        title: &step.title,
        from: &step.from,
        to: &step.to,
        own: step.is_own(),
        outside: step.is_outside(),
        optional: step.optional,
        repeated: step.repeated,
        extension: step.extension,
        choice: step.choice.as_deref(),
        contains: step.contains.as_ref().map(|span| [span.flow.as_str(), &span.first, &span.last]),
        hops: step
            .hops
            .iter()
            .map(|hop| HopDocument {
                flow: &hop.flow,
                number: &hop.number,
                from: &hop.from,
                to: &hop.to,
                messages: &hop.messages,
                branch: match hop.branch {
                    Branch::Main => "main",
                    Branch::Rejected => "rejected",
                    Branch::Later => "later",
                },
            })
            .collect(),
    }
}

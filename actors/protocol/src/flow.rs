//! Flows: the order in which steps must come, and the rule that judges a trace by it.
//!
//! A [`Flow`] is a partial order of numbered steps, as clause 9 of FGMV-29 and clause 7 of FGMV-28 have them. Two kinds
//! of edges hold it together: `a < b` says that `a` must *cause* `b`, `a ... b` that `b` may come any time after `a`.
//! A [`Checker`] takes the events of a trace one by one and gives each edge its verdict at each event.
//!
//! A flow is declared as a [`FlowDraft`], usually read from a file by `twinway-scenarios`.

mod belonging;
mod checker;
mod checkers;
mod draft;
mod index;
mod instance;
mod judge;
mod kinds;
mod report;
mod rows;
mod window;

pub use checker::{Checker, Limits, Traced};
pub use checkers::Checkers;
pub use draft::{FlowDraft, FlowError, FlowMistake, Part};
pub use report::{EdgeCount, Finding, FindingKind, Report};

/// Steps that one flow may have: the steps that caused an event are a mask of this many bits.
pub const STEPS_MAX: usize = 64;
/// Hops that all steps of one flow may have together.
pub const HOPS_MAX: usize = 128;
/// Bytes that the number of a step may have, such as `18x` or `2.1`.
pub const NUMBER_BYTES_MAX: usize = 8;
/// The message of a hop that an entity takes by itself, as traces name it.
pub const OWN: &str = "own";
/// The message of a step that happens outside the traced system, in a trace that shows the outside too.
pub const OUTSIDE: &str = "outside";
/// The message of a turn in which an entity takes up what earlier lives wrote down.
pub const RECOVERED: &str = "recovered";
/// The message of an event in which a question is given up that an entity had taken before it failed.
pub const FAILED: &str = "failed";
/// What stands behind the name of a message in a trace when it is the refusal of a question.
pub const REFUSED: &str = " refused";

/// A flow that is sound: its steps, and which of them must cause which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    name: String,
    title: String,
    clause: String,
    entities: Vec<Entity>,
    steps: Vec<FlowStep>,
    edges: Vec<Edge>,
    rules: Vec<Rule>,
    carriers: Vec<Carrier>,
}

/// A party of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its name in the flow and, if it is an actor, in traces.
    pub name: String,
    /// What it is, for readers.
    pub title: String,
}

/// A step of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStep {
    /// Its number, such as `2.1` or `14x`.
    pub number: String,
    /// What happens in it, for readers.
    pub title: String,
    /// Where it stands in the texts; empty for a flow of one's own.
    pub clause: String,
    /// Who begins it.
    pub from: String,
    /// Whom it reaches; the same for a step that an entity takes by itself.
    pub to: String,
    /// How it goes from one to the other; empty when it happens outside the traced system.
    pub hops: Vec<Hop>,
    /// It may be left out.
    pub optional: bool,
    /// It may come more than once in one instance of the flow.
    pub repeated: bool,
    /// Where the text leaves out what a real system needs.
    pub extension: bool,
    /// The choice that it belongs to: exactly one step of a choice is taken.
    pub choice: Option<String>,
    /// The span of another flow's steps that it contains, alone or with the steps beside it.
    pub contains: Option<Span>,
}

/// Some steps of a flow that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The flow.
    pub flow: String,
    /// The number of the first step.
    pub first: String,
    /// The number of the last step.
    pub last: String,
}

impl FlowStep {
    /// Whether an entity takes the step by itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.hops.first().is_some_and(|hop| hop.messages.iter().any(|message| message == OWN))
    }

    /// Whether the step happens outside the traced system. Only a trace that shows the outside has it
    /// ([`Limits::outside`]).
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.hops.is_empty()
    }

    /// The types of the messages that carry the step, each once.
    #[must_use]
    pub fn messages(&self) -> Vec<&str> {
        let mut messages: Vec<&str> = Vec::new();
        for message in self.hops.iter().flat_map(|hop| &hop.messages).filter(|message| *message != OWN) {
            if !messages.contains(&message.as_str()) {
                messages.push(message);
            }
        }
        messages
    }
}

/// One delivery of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The flow whose step the trace says that it is: another flow's where a step contains a span of that.
    pub flow: String,
    /// The number of that step there.
    pub number: String,
    /// Who sends.
    pub from: String,
    /// Who handles.
    pub to: String,
    /// The types of message that it can be.
    pub messages: Vec<String>,
    /// What taking this hop means.
    pub branch: Branch,
}

/// Which way of a step a hop belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// The ordinary one.
    #[default]
    Main,
    /// The step rejects, and the flow ends with it.
    Rejected,
    /// The step is taken later, for a reason of its own: its `<` edges are judged for order only.
    Later,
}

/// An edge of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The index of the earlier step.
    pub from: usize,
    /// The index of the later step.
    pub to: usize,
    /// The earlier must cause the later (`<`); otherwise the later may come any time after it (`...`).
    pub must_cause: bool,
}

/// What the checker asks at a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    /// The step's own bit.
    bit: u64,
    /// What must have come before.
    needs: Vec<Need>,
    /// Steps that this one begins anew: of a step that nothing must cause, all that it must lead to.
    clears: u64,
    /// Whether it begins a chain of `<`.
    opens: bool,
    /// The chain of `<` that it is in.
    chain: u8,
    /// Steps that it must cause.
    leads_to: u64,
    /// The other steps of its choice.
    others: u64,
    /// The last hop of the ordinary way, as numbered through the flow: with it the step is done.
    last_hop: u8,
    /// Hops of the ordinary way that are passed on, each with those by which it can be: sets of hops, as numbered through the
    /// flow. Empty for a step that leads to no other: whether anybody is told of it is not said.
    passed_on: Vec<(u128, u128)>,
    optional: bool,
    repeated: bool,
}

/// One edge into a step, or all edges from one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    /// One of these steps.
    mask: u64,
    edge: u16,
    must_cause: bool,
    optional: bool,
    /// They happen outside the traced system.
    outside: bool,
}

/// The hops that stand in the trace under one flow's name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Carrier {
    flow: String,
    numbers: Vec<(u64, Vec<Place>)>,
}

/// Where a hop is: its step, its place in the step, and its number through the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    step: u8,
    hop: u8,
    number: u8,
}

/// What an event is to a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Taken {
    /// No step of it.
    #[default]
    Nothing,
    /// A hop of a step; `refused` when it carries a refusal.
    Hop { place: Place, branch: Branch, refused: bool },
    /// A step that happens outside the traced system.
    Outside(u8),
    /// Such a step of another flow.
    OutsideElsewhere,
    /// A number that the flow does not have.
    UnknownStep,
    /// A step in another way than the flow says.
    OtherWay(u8),
}

impl Flow {
    /// Its name, as traces have it: the clause's number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about, for readers.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it stands in the texts; empty for a flow of one's own.
    #[must_use]
    pub fn clause(&self) -> &str {
        &self.clause
    }

    /// Its parties, in the order of the declaration.
    #[must_use]
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Its steps, in the order of the declaration.
    #[must_use]
    pub fn steps(&self) -> &[FlowStep] {
        &self.steps
    }

    /// Its edges, in the order of the declaration.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The number of the step with this index; empty if there is none.
    #[must_use]
    pub fn number(&self, step: usize) -> &str {
        self.steps.get(step).map_or("", |step| &step.number)
    }

    /// An edge as the flow's file writes it: `16 < 17`.
    #[must_use]
    pub fn shown_edge(&self, edge: usize) -> String {
        let Some(edge) = self.edges.get(edge) else { return String::new() };
        let sign = if edge.must_cause { "<" } else { "..." };
        format!("{} {sign} {}", self.number(edge.from), self.number(edge.to))
    }

    /// What an event with this step is to the flow.
    fn taken(&self, flow: &str, number: &str, from: &str, to: &str, name: &str) -> Taken {
        let own_flow = flow == self.name;
        if name == OUTSIDE && !own_flow {
            return Taken::OutsideElsewhere;
        }
        if name == OUTSIDE {
            let outside = |step: &FlowStep| step.is_outside() && step.number == number;
            return match self.steps.iter().position(outside) {
                Some(step) => Taken::Outside(step as u8),
                None => Taken::UnknownStep,
            };
        }
        let Some(carrier) = self.carriers.iter().find(|carrier| carrier.flow == flow) else { return Taken::Nothing };
        let Some(key) = draft::packed(number) else {
            return if own_flow { Taken::UnknownStep } else { Taken::Nothing };
        };
        let Some((_, places)) = carrier.numbers.iter().find(|(known, _)| *known == key) else {
            return if own_flow { Taken::UnknownStep } else { Taken::Nothing };
        };
        let (message, refused) = name.strip_suffix(REFUSED).map_or((name, false), |message| (message, true));
        for place in places {
            let hop = self.steps.get(usize::from(place.step)).and_then(|step| step.hops.get(usize::from(place.hop)));
            if let Some(hop) = hop
                && hop.from == from
                && hop.to == to
                && hop.messages.iter().any(|known| known == message)
            {
                return Taken::Hop { place: *place, branch: hop.branch, refused };
            }
        }
        match places.first() {
            Some(place) if own_flow => Taken::OtherWay(place.step),
            _ => Taken::Nothing,
        }
    }
}

//! From what somebody wrote to a flow that can be judged by: every mistake is found here, and told with its place.

use std::fmt;

use super::{
    Branch, Carrier, Edge, Entity, Flow, FlowStep, HOPS_MAX, Hop, NUMBER_BYTES_MAX, Need, OUTSIDE, OWN, Place, REFUSED,
    Rule, STEPS_MAX,
};

/// A flow as it was written, not checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowDraft {
    /// Its name, as traces have it.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Where it stands in the texts; empty for a flow of one's own.
    pub clause: String,
    /// Its parties.
    pub entities: Vec<Entity>,
    /// Its steps.
    pub steps: Vec<FlowStep>,
    /// Its edges, in chains such as `1 < 2 < 3 ... 4`.
    pub order: Vec<String>,
}

/// Where in a draft a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// In the flow as a whole.
    Flow,
    /// In the entity with this index.
    Entity(usize),
    /// In the step with this index.
    Step(usize),
    /// In the chain of edges with this index.
    Order(usize),
}

/// Why a draft is no flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mistake}")]
pub struct FlowError {
    /// Where the mistake is.
    pub part: Part,
    /// What it is.
    pub mistake: FlowMistake,
}

/// What can be wrong with a draft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowMistake {
    /// The flow has no name.
    #[error("the flow has no name")]
    NoName,
    /// The flow has no steps.
    #[error("the flow has no steps")]
    NoSteps,
    /// There are more steps than a verdict has bits for.
    #[error("there are {0} steps, and at most {STEPS_MAX} can be judged together")]
    TooManySteps(usize),
    /// There are too many hops.
    #[error("the steps have {0} hops together, and at most {HOPS_MAX} can be judged together")]
    TooManyHops(usize),
    /// A number that is empty, too long, or has other signs than letters, digits, `.`, `-` and `_`.
    #[error("`{0}` is no number of a step: it has 1 to {NUMBER_BYTES_MAX} letters, digits, `.`, `-` or `_`")]
    Number(String),
    /// Two steps have the same number.
    #[error("step `{0}` is there twice")]
    DuplicateStep(String),
    /// Two entities have the same name.
    #[error("entity `{0}` is there twice")]
    DuplicateEntity(String),
    /// A step names an entity that is not declared.
    #[error("there is no entity `{0}`; known are {1}")]
    UnknownEntity(String, Names),
    /// A step that happens in the system has no message type.
    #[error("step `{0}` has no message type; one that happens outside the system says so")]
    NoMessage(String),
    /// A message whose name means something else in a trace, or nothing.
    #[error("step `{0}` has a message `{1}`, which no message of a trace can be called")]
    Message(String, String),
    /// A step that an entity takes by itself names two entities.
    #[error("step `{0}` is taken by one entity alone, and names two")]
    OwnBetweenTwo(String),
    /// A delivery could be either of two hops.
    #[error("`{0}` could be step `{1}` as well as step `{2}`")]
    Ambiguous(String, String, String),
    /// An edge names a step that is not there.
    #[error("there is no step `{0}`")]
    UnknownStep(String),
    /// A chain of edges that cannot be read.
    #[error("`{0}` is no order: it has numbers of steps with `<` (must cause) or `...` (any time after) between them")]
    Order(String),
    /// Two edges are between the same steps.
    #[error("there are two edges from `{0}` to `{1}`")]
    DuplicateEdge(String, String),
    /// A step would have to come before itself.
    #[error("the order is a circle: {0}")]
    Cycle(Names),
}

/// Names, as a message lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>, pub &'static str);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(self.1))
    }
}

/// A number of a step as one word.
pub(super) fn packed(number: &str) -> Option<u64> {
    let bytes = number.as_bytes();
    if bytes.is_empty() || bytes.len() > NUMBER_BYTES_MAX {
        return None;
    }
    Some(bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
}

fn wrong<T>(part: Part, mistake: FlowMistake) -> Result<T, FlowError> {
    Err(FlowError { part, mistake })
}

impl FlowDraft {
    /// The flow, if nothing is wrong with it.
    ///
    /// # Errors
    /// The first mistake that is found, with its place.
    pub fn check(self) -> Result<Flow, FlowError> {
        if self.name.trim().is_empty() {
            return wrong(Part::Flow, FlowMistake::NoName);
        }
        check_entities(&self.entities)?;
        check_steps(&self)?;
        let edges = read_order(&self)?;
        find_cycle(&self, &edges)?;
        let carriers = carriers(&self.steps)?;
        let rules = rules(&self.steps, &edges);
        let Self { name, title, clause, entities, steps, .. } = self;
        Ok(Flow { name, title, clause, entities, steps, edges, rules, carriers })
    }
}

fn check_entities(entities: &[Entity]) -> Result<(), FlowError> {
    for (at, entity) in entities.iter().enumerate() {
        if entities.iter().take(at).any(|earlier| earlier.name == entity.name) {
            return wrong(Part::Entity(at), FlowMistake::DuplicateEntity(entity.name.clone()));
        }
    }
    Ok(())
}

fn check_steps(draft: &FlowDraft) -> Result<(), FlowError> {
    let steps = &draft.steps;
    if steps.is_empty() {
        return wrong(Part::Flow, FlowMistake::NoSteps);
    }
    if steps.len() > STEPS_MAX {
        return wrong(Part::Step(STEPS_MAX), FlowMistake::TooManySteps(steps.len()));
    }
    let hops: usize = steps.iter().map(|step| step.hops.len()).sum();
    if hops > HOPS_MAX {
        return wrong(Part::Flow, FlowMistake::TooManyHops(hops));
    }
    for (at, step) in steps.iter().enumerate() {
        let number = step.number.clone();
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let said = number.bytes().all(sign) && number.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if packed(&number).is_none() || !said {
            return wrong(Part::Step(at), FlowMistake::Number(number));
        }
        if steps.iter().take(at).any(|earlier| earlier.number == number) {
            return wrong(Part::Step(at), FlowMistake::DuplicateStep(number));
        }
        let parties = step.hops.iter().flat_map(|hop| [&hop.from, &hop.to]).chain([&step.from, &step.to]);
        for party in parties {
            if !draft.entities.iter().any(|entity| entity.name == *party) {
                let known = draft.entities.iter().map(|entity| entity.name.clone()).collect();
                return wrong(Part::Step(at), FlowMistake::UnknownEntity(party.clone(), Names(known, ", ")));
            }
        }
        // What only rejects, or only comes later, has no ordinary way to be taken.
        if !step.hops.is_empty() && step.hops.iter().all(|hop| hop.branch != Branch::Main) {
            return wrong(Part::Step(at), FlowMistake::NoMessage(number));
        }
        for hop in &step.hops {
            if hop.messages.is_empty() {
                return wrong(Part::Step(at), FlowMistake::NoMessage(number));
            }
            let reserved =
                |message: &&String| message.trim().is_empty() || *message == OUTSIDE || message.ends_with(REFUSED);
            if let Some(message) = hop.messages.iter().find(reserved) {
                return wrong(Part::Step(at), FlowMistake::Message(number, message.clone()));
            }
            if hop.messages.iter().any(|message| message == OWN) && hop.from != hop.to {
                return wrong(Part::Step(at), FlowMistake::OwnBetweenTwo(number));
            }
        }
    }
    Ok(())
}

fn read_order(draft: &FlowDraft) -> Result<Vec<Edge>, FlowError> {
    let mut edges: Vec<Edge> = Vec::new();
    for (at, chain) in draft.order.iter().enumerate() {
        let part = Part::Order(at);
        let mut earlier: Option<usize> = None;
        let mut sign: Option<bool> = None;
        for word in chain.split_whitespace() {
            match (word, earlier, sign) {
                ("<", Some(_), None) => sign = Some(true),
                ("...", Some(_), None) => sign = Some(false),
                ("<" | "...", ..) | (_, Some(_), None) => return wrong(part, FlowMistake::Order(chain.clone())),
                (number, ..) => {
                    let Some(to) = draft.steps.iter().position(|step| step.number == number) else {
                        return wrong(part, FlowMistake::UnknownStep(number.to_owned()));
                    };
                    if let (Some(from), Some(must_cause)) = (earlier, sign) {
                        if edges.iter().any(|edge| (edge.from, edge.to) == (from, to)) {
                            let name = |step: usize| draft.steps.get(step).map(|step| step.number.clone());
                            let (from, to) = (name(from).unwrap_or_default(), name(to).unwrap_or_default());
                            return wrong(part, FlowMistake::DuplicateEdge(from, to));
                        }
                        edges.push(Edge { from, to, must_cause });
                    }
                    (earlier, sign) = (Some(to), None);
                }
            }
        }
        if sign.is_some() || earlier.is_none() {
            return wrong(part, FlowMistake::Order(chain.clone()));
        }
    }
    Ok(edges)
}

/// Takes steps away that have none before them: what is left over stands in a circle, or behind one.
fn find_cycle(draft: &FlowDraft, edges: &[Edge]) -> Result<(), FlowError> {
    let mut left: Vec<usize> = (0..draft.steps.len()).collect();
    loop {
        let count = left.len();
        let held = |step: usize, left: &[usize]| edges.iter().any(|edge| edge.to == step && left.contains(&edge.from));
        left = left.iter().copied().filter(|step| held(*step, &left)).collect();
        if left.len() == count {
            break;
        }
    }
    let Some(first) = left.first() else { return Ok(()) };
    // Walking backwards within what is left comes back to where it has been.
    let mut path = vec![*first];
    let circle = loop {
        let step = path.last().copied().unwrap_or_default();
        let Some(edge) = edges.iter().find(|edge| edge.to == step && left.contains(&edge.from)) else { return Ok(()) };
        let met = path.iter().position(|known| *known == edge.from);
        path.push(edge.from);
        if let Some(met) = met {
            break path.split_off(met);
        }
    };
    let number = |step: &usize| draft.steps.get(*step).map(|step| step.number.clone()).unwrap_or_default();
    let names: Vec<String> = circle.iter().rev().map(number).collect();
    let within =
        |chain: &String| names.iter().filter(|name| chain.split_whitespace().any(|word| word == **name)).count() > 1;
    let part = draft.order.iter().rposition(within).map_or(Part::Flow, Part::Order);
    wrong(part, FlowMistake::Cycle(Names(names, ", ")))
}

/// Under which flow and number each hop stands in a trace.
fn carriers(steps: &[FlowStep]) -> Result<Vec<Carrier>, FlowError> {
    let mut carriers: Vec<Carrier> = Vec::new();
    let mut number = 0;
    for (at, step) in steps.iter().enumerate() {
        for (nth, hop) in step.hops.iter().enumerate() {
            let Some(key) = packed(&hop.number) else {
                return wrong(Part::Step(at), FlowMistake::Number(hop.number.clone()));
            };
            let place = Place { step: at as u8, hop: nth as u8, number };
            number += 1;
            let carrier = match carriers.iter_mut().position(|carrier| carrier.flow == hop.flow) {
                Some(known) => carriers.get_mut(known),
                None => {
                    carriers.push(Carrier { flow: hop.flow.clone(), numbers: Vec::new() });
                    carriers.last_mut()
                }
            };
            let Some(carrier) = carrier else { continue };
            match carrier.numbers.iter_mut().find(|(known, _)| *known == key) {
                Some((_, places)) => {
                    for other in places.iter() {
                        ambiguous(steps, *other, place)?;
                    }
                    places.push(place);
                }
                None => carrier.numbers.push((key, vec![place])),
            }
        }
    }
    Ok(carriers)
}

fn ambiguous(steps: &[FlowStep], one: Place, other: Place) -> Result<(), FlowError> {
    let of = |place: Place| {
        let step = steps.get(usize::from(place.step))?;
        Some((step, step.hops.get(usize::from(place.hop))?))
    };
    let (Some((step, a)), Some((second, b))) = (of(one), of(other)) else { return Ok(()) };
    let shared = a.messages.iter().find(|message| b.messages.contains(message));
    match shared {
        Some(message) if (&a.from, &a.to) == (&b.from, &b.to) => {
            let hop = format!("{} -> {}: {message}", a.from, a.to);
            let mistake = FlowMistake::Ambiguous(hop, step.number.clone(), second.number.clone());
            wrong(Part::Step(usize::from(other.step)), mistake)
        }
        _ => Ok(()),
    }
}

fn rules(steps: &[FlowStep], edges: &[Edge]) -> Vec<Rule> {
    let bit = |step: usize| 1_u64 << step;
    let judged = |step: usize| steps.get(step).is_some_and(|step| !step.is_outside());
    let mut rules: Vec<Rule> = Vec::new();
    let seen: Vec<Edge> = edges.iter().filter(|edge| judged(edge.from) && judged(edge.to)).copied().collect();
    let chains = chains(steps.len(), &seen);
    let mut hops = 0_u8;
    for (at, step) in steps.iter().enumerate() {
        let leads_to = edges.iter().filter(|edge| edge.from == at && edge.must_cause);
        let leads_to = leads_to.fold(0, |mask, edge| mask | bit(edge.to));
        let opens = !edges.iter().any(|edge| edge.to == at && edge.must_cause && judged(edge.from));
        let alike = |other: &&FlowStep| step.choice.is_some() && other.choice == step.choice;
        let others = steps.iter().enumerate().filter(|(other, one)| *other != at && alike(one));
        let others = others.fold(0, |mask, (other, _)| mask | bit(other));
        let last = step.hops.iter().rposition(|hop| hop.branch == Branch::Main).unwrap_or_default();
        let last_hop = hops.saturating_add(last as u8);
        let alone = |chain: &u8| chains.iter().filter(|other| *other == chain).count() == 1;
        let passed_on = if chains.get(at).is_some_and(alone) { Vec::new() } else { passed_on(step, hops) };
        hops = hops.saturating_add(step.hops.len() as u8);
        rules.push(Rule {
            bit: bit(at),
            needs: needs(steps, edges, at),
            clears: if opens { reachable(edges, at) } else { 0 },
            opens,
            chain: chains.get(at).copied().unwrap_or_default(),
            leads_to,
            others,
            last_hop,
            passed_on,
            optional: step.optional,
            repeated: step.repeated,
        });
    }
    rules
}

/// The hops of a step whose receiver sends a later hop of it, with these later hops. The first of all is number `first`.
fn passed_on(step: &FlowStep, first: u8) -> Vec<(u128, u128)> {
    let main = || step.hops.iter().zip(first..).filter(|(hop, _)| hop.branch == Branch::Main);
    let behind = |(hop, number): (&Hop, u8)| {
        let next = main().filter(|(next, behind)| *behind > number && next.from == hop.to && next.from != next.to);
        (1_u128 << number, next.fold(0, |set, (_, behind)| set | 1_u128 << behind))
    };
    main().map(behind).filter(|(_, next)| *next != 0).collect()
}

/// What must have come before a step. Edges from one choice are one need.
fn needs(steps: &[FlowStep], edges: &[Edge], at: usize) -> Vec<Need> {
    let mut needs: Vec<(Need, Option<&str>)> = Vec::new();
    for (index, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.to == at) {
        let Some(from) = steps.get(edge.from) else { continue };
        let mask = 1_u64 << edge.from;
        let choice = from.choice.as_deref();
        let alike = |(need, of): &&mut (Need, Option<&str>)| {
            choice.is_some() && *of == choice && need.must_cause == edge.must_cause && need.outside == from.is_outside()
        };
        match needs.iter_mut().find(alike) {
            Some((need, _)) => need.mask |= mask,
            None => {
                let (must_cause, optional, outside) = (edge.must_cause, from.optional, from.is_outside());
                let need = Need { mask, edge: index as u16, must_cause, optional, outside };
                needs.push((need, choice));
            }
        }
    }
    needs.into_iter().map(|(need, _)| need).collect()
}

/// The steps that a step leads to along `<`.
fn reachable(edges: &[Edge], from: usize) -> u64 {
    let mut mask = 0_u64;
    let mut open = vec![from];
    while let Some(step) = open.pop() {
        for edge in edges.iter().filter(|edge| edge.must_cause && edge.from == step) {
            if mask & (1 << edge.to) == 0 {
                mask |= 1 << edge.to;
                open.push(edge.to);
            }
        }
    }
    mask
}

/// The chain of each step: steps that `<` joins, however far, have the same.
fn chains(steps: usize, edges: &[Edge]) -> Vec<u8> {
    let mut chains: Vec<u8> = (0..steps).map(|step| step as u8).collect();
    for edge in edges.iter().filter(|edge| edge.must_cause) {
        let (Some(&one), Some(&other)) = (chains.get(edge.from), chains.get(edge.to)) else { continue };
        let (kept, gone) = (one.min(other), one.max(other));
        chains.iter_mut().filter(|chain| **chain == gone).for_each(|chain| *chain = kept);
    }
    chains
}

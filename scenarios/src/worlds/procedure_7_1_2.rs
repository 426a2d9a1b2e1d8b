//! FGMV-28 7.1.2: a user looks up in the metaverse of their home what a recipe lacks, and orders that and no more.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use twinway_protocol::{
    ProblemKind, TwinId,
    message::{
        DigitalTwinSystemMsg, OutsideAnswer, OutsideRequest, ReportPhysicalChange, ServiceRequest, TwinGrant,
        TwinPropertiesAndPermission, TwinPropertiesAndPermissionGranted, Wire,
    },
    signal::Signal,
    step_id,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{answering, json, pantry, twin, values, willing},
    user::{User, only, registers, shop_opens},
};
use crate::{
    outside::Hands,
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// What the recipe needs, in the names of the pantry's twins.
const RECIPE: [&str; 3] = ["eggs", "flour", "milk"];
/// What the order is, if eggs and milk are missing.
const MISSING: &str = r#"["eggs","milk"]"#;

/// How a world differs from the one in which all goes well.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// What is at home, in the order of [`RECIPE`].
    amounts: [&'static str; 3],
    /// Whether the user may look.
    permitted: bool,
    /// Whether the supplier takes the order.
    supplied: bool,
}

const GOOD: Plan = Plan { amounts: ["0", "5", "0"], permitted: true, supplied: true };

fn ingredients() -> Arc<[TwinId]> {
    RECIPE.iter().map(|name| twin(name)).collect()
}

/// FGMV-29 9.2 step 10, of the home: what it has, and what the user may do with it.
fn described(asked: &OutsideRequest, plan: Plan) -> Option<OutsideAnswer> {
    let OutsideRequest::DescribeTwins(asked) = asked else { return None };
    let amounts: BTreeMap<TwinId, &str> = RECIPE.iter().map(|name| twin(name)).zip(plan.amounts).collect();
    let grant = |twin: &TwinId| TwinGrant {
        twin: twin.clone(),
        properties: amounts.get(twin).map(|amount| (*values("amount", amount)).clone()).unwrap_or_default(),
        rights: if plan.permitted { (*asked.rights).clone() } else { Default::default() },
        expires_at: None,
        role: None,
    };
    let twins = asked.twins.iter().map(grant).collect();
    Some(OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins }))
}

/// FGMV-28 7.1.2 step 5: the commerce system has the supplier deliver, and only what is missing at home.
fn supplied(asked: &OutsideRequest, plan: Plan, hands: &mut Hands<Wire>) -> Option<OutsideAnswer> {
    let OutsideRequest::ExecuteService(asked) = asked else { return None };
    if let ServiceRequest::Use { input, .. } = &*asked.request
        && input.as_str() != MISSING
    {
        hands.violated(format!("{} was ordered, and {MISSING} is missing", input.as_str()));
    }
    hands.took(step_id!("7.1.2", "5"));
    (!plan.supplied).then(|| OutsideAnswer::Failed("nobody delivers this".to_owned()))
}

/// What the recipe lacks, as the order has it.
fn missing(granted: &TwinPropertiesAndPermissionGranted) -> String {
    let is_missing = |view: &&Arc<twinway_protocol::twin::TwinView>| {
        view.properties.get("amount").is_none_or(|amount| amount.value.as_str() == "0")
    };
    let names = granted.twins.iter().filter(is_missing).map(|view| format!("\"{}\"", view.id));
    format!("[{}]", names.collect::<Vec<_>>().join(","))
}

/// Line 2 until the user has the recipe and the home's twins: five parts.
fn choosing(ada: &User) -> Line<Wire> {
    let line = ada.is_authorized(ada.enters().after(0, 2)).after(1, 2);
    ada.selects(line, &ingredients()).take(step_id!("7.1.2", "1")).take(step_id!("7.1.2", "2"))
}

/// FGMV-28 7.1.2 step 3: the user finds out what is missing, and it is this.
fn looking(ada: &User, line: Line<Wire>, lacks: Rc<RefCell<String>>, expected: &'static str) -> Line<Wire> {
    ada.asks_for(line, &ingredients(), move |answer| match answer {
        Ok(granted) if granted.refused.is_empty() && missing(&granted) == expected => {
            lacks.replace(missing(&granted));
            Heard::Done
        }
        other => Heard::Wrong(format!("granted {other:?}")),
    })
}

fn staged(lines: Vec<Line<Wire>>, plan: Plan, steps: &'static [(&'static str, u32)]) -> World<Wire> {
    let story = Story::new(lines).on_signal(answering(move |asked, hands| {
        let answer = described(&asked, plan).or_else(|| supplied(&asked, plan, hands));
        Some(answer.unwrap_or_else(|| willing(asked)))
    }));
    enabler(story).rule(StepsAreTaken::new("7.1.2", steps))
}

fn home() -> Line<Wire> {
    registers(Line::new("home"), "home", pantry())
}

/// The user orders what is missing, it is delivered, and the home's twins show it.
#[must_use]
pub fn procedure_7_1_2() -> World<Wire> {
    let (ada, lacks) = (User::new("ada"), Rc::default());
    let line = looking(&ada, choosing(&ada), Rc::clone(&lacks), MISSING);
    let line = ada.orders(line, move || json(&lacks.borrow()), granted);
    let shown = |name: &'static str| {
        move |_, signal: &Signal| {
            matches!(signal, Signal::Event { event, .. }
                if event.kind == "twin.changed" && event.subject == name && event.data.as_str().contains("12"))
        }
    };
    let line = line.hear(shown("eggs")).hear(shown("milk"));
    // The order is confirmed, and then it is delivered.
    let report = |name: &'static str| {
        let amount = values("amount", "12");
        move || ReportPhysicalChange { twin: twin(name), values: Arc::clone(&amount), at: None }
    };
    let home = home()
        .after(2, 7)
        .take(step_id!("7.1.2", "7"))
        .ask(only::<DigitalTwinSystemMsg>(), report("eggs"), granted)
        .ask(only::<DigitalTwinSystemMsg>(), report("milk"), granted);
    staged(vec![shop_opens(), home, line], GOOD, &[("1", 1), ("2", 1), ("5", 1), ("7", 1)])
}

/// The supplier does not take the order: it is not confirmed, and nothing is delivered.
#[must_use]
pub fn procedure_7_1_2_refused() -> World<Wire> {
    let (ada, lacks) = (User::new("ada"), Rc::default());
    let line = looking(&ada, choosing(&ada), Rc::clone(&lacks), MISSING);
    let line = ada.orders(line, move || json(&lacks.borrow()), refused(ProblemKind::OutsideFailed));
    let plan = Plan { supplied: false, ..GOOD };
    staged(vec![shop_opens(), home(), line], plan, &[("1", 1), ("2", 1), ("5", 1)])
}

/// Everything is at home already, and nothing is ordered.
#[must_use]
pub fn procedure_7_1_2_complete() -> World<Wire> {
    let ada = User::new("ada");
    let line = looking(&ada, choosing(&ada), Rc::default(), "[]");
    let plan = Plan { amounts: ["6", "5", "1"], ..GOOD };
    staged(vec![shop_opens(), home(), line], plan, &[("1", 1), ("2", 1)])
}

/// The home does not let the user look, and nothing is ordered.
#[must_use]
pub fn procedure_7_1_2_denied() -> World<Wire> {
    let ada = User::new("ada");
    let line = ada.asks_for(choosing(&ada), &ingredients(), refused(ProblemKind::PermissionDenied));
    let plan = Plan { permitted: false, ..GOOD };
    staged(vec![shop_opens(), home(), line], plan, &[("1", 1), ("2", 1)])
}

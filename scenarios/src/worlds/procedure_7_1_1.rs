//! FGMV-28 7.1.1: a user orders what they made in a virtual world, and may have the product synchronized with it.

use std::sync::Arc;

use twinway_protocol::{
    ProblemKind,
    message::{OutsideAnswer, OutsideRequest, Wire},
    step_id,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{answering, json, maker, twin, willing},
    user::{User, registers, shop_opens},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// Line 1 until the user has something to order: three parts.
fn creating(ada: &User, authorized: bool) -> Line<Wire> {
    let line = ada.enters().after(0, 2);
    let line = if authorized { ada.is_authorized(line) } else { line };
    line.take(step_id!("7.1.1", "1"))
}

/// Everybody is willing; whom the order has reached passes it to a manufacturer, which takes it or does not.
fn staged(lines: Vec<Line<Wire>>, takes_it: bool, steps: &'static [(&'static str, u32)]) -> World<Wire> {
    let story = Story::new(lines).on_signal(answering(move |asked, _| match asked {
        OutsideRequest::ExecuteService(_) if !takes_it => OutsideAnswer::Failed("nobody makes this".to_owned()).into(),
        asked => Some(willing(asked)),
    }));
    enabler(story).rule(StepsAreTaken::new("7.1.1", steps))
}

/// Line 2: when the order is confirmed, the product is made and delivered, and its maker's twin system lists its twin.
fn delivering(object: bool) -> Line<Wire> {
    let line = Line::new("maker").after(1, 4).take(step_id!("7.1.1", "3"));
    registers(line, "maker", maker(object))
}

fn ordering(ada: &User) -> Line<Wire> {
    ada.orders(creating(ada, true), || json(r#"{"model": "chair", "seatHeightCm": 46}"#), granted)
}

/// The user orders, gets the product, and is synchronized with it.
#[must_use]
pub fn procedure_7_1_1() -> World<Wire> {
    let (ada, chair) = (User::new("ada"), twin("chair"));
    let chairs = Arc::from([chair.clone()]);
    let line = ada.selects(ordering(&ada).after(2, 3), &chairs);
    let line = ada.asks_for(line, &chairs, |answer| match answer {
        Ok(granted) if granted.refused.is_empty() => Heard::Done,
        other => Heard::Wrong(format!("granted {other:?}")),
    });
    let line = ada.releases(ada.leases(line, &chair, None), &chair);
    staged(vec![shop_opens(), line, delivering(true)], true, &[("1", 1), ("3", 1)])
}

/// The product stands for itself alone: its maker lists a twin that has no object to be synchronized with.
#[must_use]
pub fn procedure_7_1_1_unsynchronized() -> World<Wire> {
    let (ada, chair) = (User::new("ada"), twin("chair"));
    let chairs = Arc::from([chair.clone()]);
    let line = ada.selects(ordering(&ada).after(2, 3), &chairs);
    let line = ada.leases(ada.asks_for(line, &chairs, granted), &chair, Some(ProblemKind::ObjectNone));
    staged(vec![shop_opens(), line, delivering(false)], true, &[("1", 1), ("3", 1)])
}

/// The commerce system has nobody who makes it, and nothing is delivered.
#[must_use]
pub fn procedure_7_1_1_refused() -> World<Wire> {
    let ada = User::new("ada");
    let line = ada.orders(creating(&ada, true), || json("{}"), refused(ProblemKind::OutsideFailed));
    staged(vec![shop_opens(), line], false, &[("1", 1)])
}

/// The user has no authorization for the commerce system, and the order does not reach it.
#[must_use]
pub fn procedure_7_1_1_denied() -> World<Wire> {
    let ada = User::new("ada");
    let line = ada.orders(creating(&ada, false), || json("{}"), refused(ProblemKind::PermissionMissing));
    staged(vec![shop_opens(), line], true, &[("1", 1)])
}

//! What several third-party systems do together (FGMV-29 8.2.4).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    EntityId, JsonDoc, Mailbox, ProblemKind, Ref,
    collaboration::{ApiMethod, ExecutionState},
    message::{
        ExecuteService, ExecutionShown, OpenSystem, OutsideAnswer, OutsideRequest, RegisterThirdPartySystem,
        RequestUserAuthorization, RunChain, ServiceExecuted, ServiceRequest, ThirdPartySystemMsg, UseThirdPartySystem,
        Wire,
    },
    registry::Api,
    signal::Signal,
};

use super::{
    super::{
        enabler,
        outsiders::{SHOP, WORLD, answering, json, said, shop, system, user, willing},
    },
    checks,
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// The actor of another third-party system.
const DEPOT: Ref<ThirdPartySystemMsg> = Ref::new(EntityId::new(ThirdPartySystemMsg::KIND, 0, 1));

/// What the shop says to every order.
const SOLD: &str = r#"{"price": 5, "order": "o-1"}"#;

/// What is carried out as one: the shop sells, and the depot gets what is made of the shop's answer.
const SALE: &str = r#"{"user": "ada", "input": {"lamps": 2}, "output": "{'total': results.sale.price * input.lamps}",
    "steps": [
        {"name": "sale", "system": "shop", "operation": "order", "input": "{'pieces': input.lamps}"},
        {"name": "told", "system": "depot", "topic": "sales",
            "input": "{'cents': results.sale.price * 100, 'order': results.sale.order}"}]}"#;

/// The same data for two systems.
const NEWS: &str = r#"{"user": "ada", "input": {"likes": "warm light"}, "steps": [
    {"name": "shop", "system": "shop", "topic": "taste"}, {"name": "depot", "system": "depot", "topic": "taste"}]}"#;

/// How the shop's own API takes an order.
const MAPPING: &str = r#"{"operation": "order", "mapping": {"base": "http://shop.example/api", "method": "PUT",
    "path": "/customers/{user}/orders", "parameters": {"user": "user"}, "query": {"pieces": "input.lamps"},
    "body": "{'pieces': input.lamps}", "output": "{'number': body.id}"}}"#;

/// What its API answers.
const ANSWERED: &str = r#"{"status": 201, "headers": {}, "body": {"id": 9}}"#;

/// A third-party system like the shop opens and registers: two parts.
fn opens(name: &'static str, at: Ref<ThirdPartySystemMsg>, api: Option<Api>) -> Line<Wire> {
    let mut description = shop();
    description.id = system(name);
    if let Some(api) = api {
        description.apis = vec![api];
    }
    Line::new(name).ask(at, move || OpenSystem { id: system(name), reach: None }, granted).ask(
        at,
        move || RegisterThirdPartySystem { description: description.clone() },
        granted,
    )
}

fn authorized(line: Line<Wire>, name: &'static str, scope: &'static [&'static str]) -> Line<Wire> {
    let scope: Arc<BTreeSet<String>> = Arc::new(scope.iter().map(|what| (*what).to_owned()).collect());
    let request = move || RequestUserAuthorization {
        system: system(name),
        metaverse: system("world"),
        user: user("ada"),
        scope: Arc::clone(&scope),
    };
    line.ask(WORLD, request, granted)
}

/// The world opens; Ada may use the shop (line 0) and the depot (line 1).
fn world(at_the_depot: &'static [&'static str]) -> Line<Wire> {
    let line = Line::new("world").ask(WORLD, || OpenSystem { id: system("world"), reach: None }, granted);
    let line = authorized(line.after(0, 2), "shop", &["order", "share"]);
    authorized(line.after(1, 2), "depot", at_the_depot)
}

fn runs(text: &'static str) -> impl Fn() -> RunChain {
    move || RunChain { metaverse: system("world"), chain: Arc::new(said(text)), key: None, wait_ms: 60_000 }
}

/// Ada orders two lamps from the shop.
fn order() -> UseThirdPartySystem {
    UseThirdPartySystem {
        system: system("shop"),
        metaverse: system("world"),
        user: user("ada"),
        operation: "order".into(),
        input: json(r#"{"lamps": 2}"#),
    }
}

/// It ended like this, with this output.
fn ended(
    state: ExecutionState,
    output: Option<&'static str>,
) -> impl Fn(Result<ExecutionShown, twinway_protocol::Problem>) -> Heard {
    move |shown| match shown {
        Ok(shown)
            if shown.execution.state == state
                && output.is_none_or(|output| shown.execution.output == Some(json(output))) =>
        {
            Heard::Done
        }
        other => Heard::Wrong(format!("{other:?}")),
    }
}

/// A system was asked something that is so.
fn asked(of: Ref<ThirdPartySystemMsg>, fits: impl Fn(&ExecuteService) -> bool) -> impl Fn(EntityId, &Signal) -> bool {
    move |_, signal| {
        matches!(signal, Signal::Request { entity, body, .. }
            if *entity == of.id() && matches!(&**body, OutsideRequest::ExecuteService(service) if fits(service)))
    }
}

fn shared(service: &ExecuteService, wanted: &JsonDoc) -> bool {
    matches!(&*service.request, ServiceRequest::Share { data, .. } if data == wanted)
}

/// Everybody answers; what the shop does comes to this.
fn judged(lines: Vec<Line<Wire>>, output: &'static str) -> World<Wire> {
    enabler(Story::new(lines).on_signal(answering(move |asked, _| {
        Some(match asked {
            OutsideRequest::ExecuteService(_) => {
                OutsideAnswer::ExecuteService(ServiceExecuted { output: json(output) })
            }
            asked => willing(asked),
        })
    })))
}

checks! {
    /// Data is shared with several third-party systems by one request.
    answers "FGMV-29 8.2.4 data sharing";
    fn data_is_shared_among_several() {
        let likes = || json(r#"{"likes": "warm light"}"#);
        let shop = opens("shop", SHOP, None).hear(asked(SHOP, move |service| shared(service, &likes())));
        let depot = opens("depot", DEPOT, None).hear(asked(DEPOT, move |service| shared(service, &likes())));
        let world = world(&["share"]).ask(WORLD, runs(NEWS), ended(ExecutionState::Succeeded, None));
        judged(vec![shop, depot, world], SOLD)
    }

    /// Data is not shared with a system by whose leave the user may not: what was asked for ends there.
    answers "FGMV-29 8.2.4 data sharing", "FGMV-29 8.2.3 permission";
    fn data_is_shared_with_nobody_without_leave() {
        let lines = vec![
            opens("shop", SHOP, None),
            opens("depot", DEPOT, None),
            world(&["order"]).ask(WORLD, runs(NEWS), ended(ExecutionState::Failed, None)),
        ];
        judged(lines, SOLD)
    }

    /// What one system answers is transformed into what the next one gets, and into the output.
    answers "FGMV-29 8.2.4 processing and transformation", "FGMV-29 8.2.4 data sharing";
    fn what_one_system_answers_is_transformed_for_the_next() {
        let cents = || json(r#"{"cents":500,"order":"o-1"}"#);
        let depot = opens("depot", DEPOT, None).hear(asked(DEPOT, move |service| shared(service, &cents())));
        let sold = ended(ExecutionState::Succeeded, Some(r#"{"total":10}"#));
        let world = world(&["share"]).ask(WORLD, runs(SALE), sold);
        judged(vec![opens("shop", SHOP, None), depot, world], SOLD)
    }

    /// An operation is converted into a request of the system's own API, and its answer back.
    answers "FGMV-29 8.2.4 API conversion";
    fn an_operation_becomes_a_request_of_the_systems_own_api() {
        let prepared = |service: &ExecuteService| {
            service.call.as_ref().is_some_and(|call| {
                call.method == ApiMethod::Put
                    && &*call.base == "http://shop.example/api"
                    && call.target == "/customers/ada/orders?pieces=2"
                    && call.body == Some(("application/json", r#"{"pieces":2}"#.to_owned()))
            })
        };
        let shop = opens("shop", SHOP, Some(said(MAPPING))).hear(asked(SHOP, prepared));
        let world = world(&["share"]).ask(WORLD, order, |result| match result {
            Ok(result) if result.output == json(r#"{"number":9}"#) => Heard::Done,
            other => Heard::Wrong(format!("{other:?}")),
        });
        judged(vec![shop, opens("depot", DEPOT, None), world], ANSWERED)
    }

    /// What the system's own API refuses is refused.
    answers "FGMV-29 8.2.4 API conversion";
    fn what_a_systems_own_api_refuses_is_refused() {
        let world = world(&["share"]).ask(WORLD, order, refused(ProblemKind::OutsideFailed));
        let lines = vec![opens("shop", SHOP, Some(said(MAPPING))), opens("depot", DEPOT, None), world];
        judged(lines, r#"{"status": 422, "headers": {}, "body": {"why": "sold out"}}"#)
    }
}

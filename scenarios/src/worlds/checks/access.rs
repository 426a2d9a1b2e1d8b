//! Who may do what (FGMV-28 REQ-DT-05 and REQ-DT-08, FGMV-29 8.2.3 and 8.3.5), and what third parties do
//! (FGMV-29 8.2.4, 8.2.5 and 8.3.6).

use std::sync::Arc;

use twinway_protocol::{
    EntityId, ProblemKind,
    message::{
        AcquireTwinInformation, MetaverseSystemMsg, OpenSystem, OutsideRequest, RegisterThirdPartySystem,
        RequestUserAuthorization, SearchThirdPartySystems, ServiceRequest, ShareData, ThirdPartySystemMsg,
        UseThirdPartySystem, Wire,
    },
    registry::SystemQuery,
    signal::Signal,
};

use super::{
    super::{
        enabler,
        outsiders::{SHOP, WORLD, answer, json, lamp, lamps, scope, shop, system, user},
        procedure_9_2::registering,
    },
    checks,
    twins::{change, permitted},
};
use crate::story::{Heard, Line, Story, granted, refused};

fn shop_registering() -> Line<Wire> {
    let description = shop();
    Line::new("shop")
        .ask::<ThirdPartySystemMsg, _>(SHOP, || OpenSystem { id: system("shop"), reach: None }, granted)
        .ask(SHOP, move || RegisterThirdPartySystem { description: description.clone() }, granted)
}

/// The world opens and finds the shop, once that has registered.
fn finding() -> Line<Wire> {
    Line::new("world")
        .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
        .after(0, 2)
        .ask(WORLD, || SearchThirdPartySystems { query: Box::new(SystemQuery::default()) }, granted)
}

/// Ada is authorized to order.
fn authorized() -> Line<Wire> {
    let scope = scope();
    let request = move || RequestUserAuthorization {
        system: system("shop"),
        metaverse: system("world"),
        user: user("ada"),
        scope: Arc::clone(&scope),
    };
    finding().ask(WORLD, request, granted)
}

fn call(who: &'static str, operation: &'static str) -> impl Fn() -> UseThirdPartySystem {
    let input = json(r#"{"lamps": 2}"#);
    move || UseThirdPartySystem {
        system: system("shop"),
        metaverse: system("world"),
        user: user(who),
        operation: operation.into(),
        input: input.clone(),
    }
}

fn executed(signal: &Signal, fits: impl Fn(&ServiceRequest) -> bool) -> bool {
    matches!(signal, Signal::Request { body, .. }
        if matches!(&**body, OutsideRequest::ExecuteService(service) if fits(&service.request)))
}

checks! {
    /// A user without permission changes nothing, while one with permission does.
    answers "FGMV-28 REQ-DT-05", "FGMV-29 8.3.5 access";
    fn a_user_without_permission_changes_nothing() {
        let world = permitted()
            .ask(WORLD, change("bob", "on", "true"), refused(ProblemKind::PermissionMissing))
            .ask(WORLD, change("ada", "on", "true"), granted);
        enabler(Story::new(vec![registering(), world]).on_signal(answer))
    }

    /// What an object cannot do is refused even to those who may change it.
    answers "FGMV-29 8.3.5 characteristics";
    fn what_an_object_cannot_do_is_refused() {
        let world = permitted()
            .ask(WORLD, change("ada", "power", "1"), refused(ProblemKind::BehaviourNotPermitted))
            .ask(WORLD, change("ada", "wings", "2"), refused(ProblemKind::PropertyUnknown));
        enabler(Story::new(vec![registering(), world]).on_signal(answer))
    }

    /// A user's permission at a third-party system is kept, and decides what that system is asked to do.
    answers "FGMV-29 8.2.3 user information", "FGMV-29 8.2.3 permission";
    fn a_permission_at_a_third_party_is_kept_and_decides() {
        let world = authorized()
            .ask(WORLD, call("bob", "order"), refused(ProblemKind::PermissionMissing))
            .ask(WORLD, call("ada", "order"), granted);
        enabler(Story::new(vec![shop_registering(), world]).on_signal(answer))
    }

    /// A service of a third party is executed with what it was asked for, and its result comes back.
    answers
        "FGMV-28 REQ-MV-06", "FGMV-28 REQ-MV-07", "FGMV-28 REQ-SI-03", "FGMV-29 8.2.4 service execution";
    fn a_service_is_executed_and_its_result_comes_back() {
        let asked = |_: EntityId, signal: &Signal| {
            executed(signal, |request| {
                matches!(request, ServiceRequest::Use { operation, input } if &**operation == "order" && *input == json(r#"{"lamps": 2}"#))
            })
        };
        let shop = shop_registering().hear(asked);
        let world = authorized().ask(WORLD, call("ada", "order"), granted);
        enabler(Story::new(vec![shop, world]).on_signal(answer))
    }

    /// A third party reads a twin that is open to it, while others' twins stay closed.
    answers
        "FGMV-28 REQ-SI-02 (three systems)", "FGMV-28 REQ-SI-04", "FGMV-29 8.2.5 acquisition",
        "FGMV-29 8.3.6 collection", "FGMV-29 8.3.5 access";
    fn a_third_party_reads_a_twin_that_is_open_to_it() {
        let lamps = lamps();
        let acquire =
            move || AcquireTwinInformation { system: system("shop"), twins: Arc::clone(&lamps), properties: None, strict: true };
        let shop = shop_registering().after(1, 2).ask(SHOP, acquire, |information| match information {
            Ok(information) if information.twins.iter().any(|twin| twin.id == lamp()) => Heard::Done,
            other => Heard::Wrong(format!("{other:?}")),
        });
        enabler(Story::new(vec![shop, registering()]).on_signal(answer))
    }

    /// Data is shared with a third party by those who are authorized to, and by nobody else.
    answers "FGMV-29 8.2.3 permission";
    fn data_is_shared_by_those_who_may() {
        let data = json(r#"{"likes": "warm light"}"#);
        let share = move || ShareData {
            system: system("shop"),
            metaverse: system("world"),
            user: user("ada"),
            topic: "taste".into(),
            data: data.clone(),
        };
        let world = authorized().ask(WORLD, share, refused(ProblemKind::PermissionMissing));
        enabler(Story::new(vec![shop_registering(), world]).on_signal(answer))
    }
}

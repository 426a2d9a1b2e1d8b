//! What twins and their objects do: messages, actions, being synchronized when asked and by a clock, and who goes before
//! whom (FGMV-28 REQ-DT-06 to REQ-DT-08, FGMV-29 8.3.4 and 8.3.5).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    EntityId, ProblemKind, TwinId,
    access::Right,
    message::{
        ActionEnded, ChangeTerms, InvokeAction, OutsideAnswer, OutsideRequest, PropertyValues, RefreshTwin,
        RequestTwinPropertiesAndPermission, SelectTwins, SendTwinMessage, SetCharacteristics, TwinCharacteristics,
        TwinPropertiesRead, WhatToDo, Wire,
    },
    signal::Signal,
    twin::InvocationState,
};

use super::{
    super::{
        enabler,
        outsiders::{HOME, WORLD, answering, json, lamp, plant, said, system, twin, user, willing},
        user::{User, registers},
    },
    checks,
    twins::{change, event, permitted, selecting},
};
use crate::{
    story::{Line, Story, granted, refused},
    world::{World, WorldOptions},
};

const ROOM: &str = r#"{"id": "home", "type": "home", "title": "A room", "twins": [
    {"id": "lamp", "physicalObject": "urn:lamp:1", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "Lamp", "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]},
            "power": {"type": "number", "readOnly": true, "forms": [{"href": "/power"}]}},
        "actions": {"fade": {"input": {"type": "number"}, "forms": [{"href": "/fade"}]}}}},
    {"id": "avatar", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "Ada's avatar", "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}}}}]}"#;

/// How often the lamp is asked for its values, in milliseconds.
const PERIOD_MS: u32 = 1_000;

/// Two parts.
fn opening() -> Line<Wire> {
    registers(Line::new("home"), "home", said(ROOM))
}

/// The home does all that it is asked; its lamp takes 7 W, and fades when it is told to.
fn does(asked: OutsideRequest) -> OutsideAnswer {
    match asked {
        OutsideRequest::ReadProperties(_) => {
            let values = PropertyValues::from([("power".to_owned(), json("7"))]);
            OutsideAnswer::ReadProperties(TwinPropertiesRead { values })
        }
        OutsideRequest::InvokeAction(_) => OutsideAnswer::InvokeAction(ActionEnded {
            state: InvocationState::Completed,
            output: Some(json("\"dark\"")),
            detail: None,
            values: PropertyValues::from([("on".to_owned(), json("false"))]),
            seen: None,
        }),
        asked => willing(asked),
    }
}

fn judged(lines: Vec<Line<Wire>>) -> World<Wire> {
    enabler(Story::new(lines).on_signal(answering(|asked, _| Some(does(asked)))))
}

/// The world is told something of the lamp that says this.
fn told(kind: &'static str, what: &'static str) -> impl Fn(EntityId, &Signal) -> bool {
    let is_event = event(kind);
    move |entity, signal| {
        is_event(entity, signal) && matches!(signal, Signal::Event { event, .. } if event.data.as_str().contains(what))
    }
}

fn characterized(
    changeable: Option<&'static [&'static str]>,
    period_ms: Option<u32>,
) -> impl Fn() -> SetCharacteristics {
    move || SetCharacteristics {
        twin: lamp(),
        characteristics: Box::new(TwinCharacteristics {
            changeable: changeable.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            period_ms,
            ..TwinCharacteristics::default()
        }),
    }
}

/// The world selects the lamp, and the avatar too.
fn selecting_both() -> Line<Wire> {
    User::new("ada").selects(selecting(), &Arc::from([twin("avatar"), lamp()]))
}

/// A user of the world says something to the lamp, as the avatar.
fn says(who: &'static str) -> impl Fn() -> SendTwinMessage {
    move || SendTwinMessage {
        metaverse: system("world"),
        user: user(who),
        from: twin("avatar"),
        to: lamp(),
        content: json("\"hello\""),
    }
}

fn permits(line: Line<Wire>, rights: &'static [Right]) -> Line<Wire> {
    let (twins, rights): (Arc<[TwinId]>, _) = (Arc::from([twin("avatar"), lamp()]), rights.iter().copied());
    let rights: Arc<BTreeSet<Right>> = Arc::new(rights.collect());
    let request = move || RequestTwinPropertiesAndPermission {
        metaverse: system("world"),
        user: user("ada"),
        twins: Arc::clone(&twins),
        rights: Arc::clone(&rights),
    };
    line.ask(WORLD, request, granted)
}

fn fades(who: &'static str) -> impl Fn() -> InvokeAction {
    move || InvokeAction {
        metaverse: system("world"),
        user: user(who),
        twin: lamp(),
        what: Box::new(WhatToDo { action: "fade".to_owned(), input: Some(json("3")) }),
        token: None,
        terms: ChangeTerms::default(),
    }
}

/// Somebody of the world gets permission for the arm of the plant, and asks for its lease.
fn wanting(user: &User, line: Line<Wire>, wanted: Option<ProblemKind>) -> Line<Wire> {
    let arms = Arc::from([twin("arm")]);
    user.leases(user.asks_for(line, &arms, granted), &twin("arm"), wanted)
}

/// The plant, and Ada, who is not above others, with the lease of its arm: lines of two and four parts.
fn holding(ada: &User) -> (Line<Wire>, Line<Wire>) {
    let line = ada.selects(ada.enters().after(0, 2), &Arc::from([twin("arm")]));
    (registers(Line::new("plant"), "plant", plant()), wanting(ada, line, None))
}

checks! {
    /// An avatar sends a twin a message, and whoever uses the twin hears it.
    answers "FGMV-28 REQ-DT-06";
    fn an_avatar_sends_a_twin_a_message() {
        let world = permits(selecting_both(), &[Right::Message]).ask(WORLD, says("ada"), granted);
        judged(vec![opening(), world.hear(told("twin.message", "hello"))])
    }

    /// Who may not send a twin messages is refused.
    answers "FGMV-28 REQ-DT-06", "FGMV-28 REQ-DT-05";
    fn a_message_needs_a_permission() {
        let world = permits(selecting_both(), &[Right::Read]);
        let world = world.ask(WORLD, says("ada"), refused(ProblemKind::PermissionMissing));
        judged(vec![opening(), world.ask(WORLD, says("bob"), refused(ProblemKind::PermissionMissing))])
    }

    /// A twin is synchronized when a user asks for it.
    answers "FGMV-28 REQ-DT-07", "FGMV-29 8.3.4 state";
    fn a_twin_is_synchronized_on_request() {
        let refresh = || RefreshTwin { metaverse: system("world"), user: user("ada"), twin: lamp() };
        let world = permitted().ask(WORLD, refresh, granted).hear(told("twin.changed", r#""power":7"#));
        judged(vec![opening(), world])
    }

    /// A twin is synchronized periodically for as long as somebody uses it.
    answers "FGMV-28 REQ-DT-07", "FGMV-29 8.3.4 state";
    fn a_twin_is_synchronized_periodically() {
        let home = opening().ask(HOME, characterized(None, Some(PERIOD_MS)), granted);
        let none: Arc<[TwinId]> = Arc::from([]);
        let lamps: Arc<[TwinId]> = Arc::from([lamp()]);
        let release = move || SelectTwins {
            metaverse: system("world"),
            metaverse_entity: WORLD,
            twins: Arc::clone(&none),
            release: Arc::clone(&lamps),
            period_ms: None,
        };
        // Afterwards the world comes to rest: nobody is asked any more.
        let world = selecting().hear(told("twin.changed", r#""power":7"#)).ask(WORLD, release, granted);
        judged(vec![home, world]).options(WorldOptions { run_out_timers: true, ..WorldOptions::default() })
    }

    /// An action of a twin is carried out by its object, and whoever uses the twin hears how it ended.
    answers "FGMV-29 8.3.4 behaviour";
    fn an_action_is_carried_out_by_the_object() {
        let asked = |_: EntityId, signal: &Signal| {
            matches!(signal, Signal::Request { body, .. } if matches!(&**body,
                OutsideRequest::InvokeAction(order) if order.0.action == "fade" && order.0.input == Some(json("3"))))
        };
        let world = permitted().ask(WORLD, fades("ada"), granted).hear(told("action.ended", "dark"));
        judged(vec![opening().hear(asked), world])
    }

    /// Who may not have an action carried out is refused, and the object hears nothing.
    answers "FGMV-29 8.3.4 behaviour", "FGMV-29 8.3.5 access";
    fn an_action_needs_a_permission() {
        let world = permitted().ask(WORLD, fades("bob"), refused(ProblemKind::PermissionMissing));
        judged(vec![opening(), world])
    }

    /// What an object can do is said anew, and counts from then on.
    answers "FGMV-29 8.3.5 characteristics";
    fn what_an_object_can_do_is_said_anew() {
        let home = opening().after(1, 5).ask(HOME, characterized(Some(&[]), None), granted);
        let world = permitted().ask(WORLD, change("ada", "on", "true"), granted).after(0, 3);
        let world = world.ask(WORLD, change("ada", "on", "false"), refused(ProblemKind::BehaviourNotPermitted));
        judged(vec![home, world])
    }

    /// A user of a higher priority takes an object over, and who lost it is told.
    answers "FGMV-28 REQ-DT-08";
    fn a_higher_priority_takes_an_object_over() {
        let (plant, ada) = holding(&User::new("ada"));
        let cleo = wanting(&User::new("cleo"), Line::new("cleo").after(1, 4), None);
        judged(vec![plant, ada.hear(event("lease.lost")), cleo])
    }

    /// A user of the same priority does not take an object over, and one of a lower does not either.
    answers "FGMV-28 REQ-DT-08";
    fn an_equal_priority_takes_nothing_over() {
        let user = User::new("ada");
        let (plant, ada) = holding(&user);
        let bob = wanting(&User::new("bob"), Line::new("bob").after(1, 4), Some(ProblemKind::LeaseHeld));
        let guest = wanting(&User::new("guest"), Line::new("guest").after(1, 4), Some(ProblemKind::LeaseHeld));
        let ada = user.releases(ada.after(2, 2).after(3, 2), &twin("arm"));
        judged(vec![plant, ada, bob, guest])
    }
}

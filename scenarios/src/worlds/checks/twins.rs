//! What twins are and do (FGMV-28 8.1 and 8.2, FGMV-29 8.3.3 and 8.3.4).

use std::sync::Arc;

use twinway_protocol::{
    EntityId, ProblemKind,
    message::{
        ChangeTerms, ChangeTwin, MetaverseSystemMsg, OpenSystem, OutsideRequest, ReportPhysicalChange,
        SearchTwinSystems, Wire,
    },
    registry::SystemQuery,
    signal::Signal,
};

use super::{
    super::{
        enabler,
        outsiders::{HOME, WORLD, answer, lamp, lamps, system, user, values},
        procedure_9_2::registering,
        user::User,
    },
    checks,
};
use crate::story::{Heard, Line, Story, granted, refused};

/// The world opens, finds the home and selects its lamp.
pub(super) fn selecting() -> Line<Wire> {
    let line = Line::new("world")
        .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
        .after(0, 2)
        .ask(WORLD, || SearchTwinSystems { query: Box::new(SystemQuery::default()) }, granted);
    User::new("ada").selects(line, &lamps())
}

/// Ada is asked for what she may do with the lamp.
pub(super) fn permitted() -> Line<Wire> {
    User::new("ada").asks_for(selecting(), &lamps(), granted)
}

pub(super) fn change(who: &'static str, name: &'static str, value: &'static str) -> impl Fn() -> ChangeTwin {
    let values = values(name, value);
    move || ChangeTwin {
        metaverse: system("world"),
        user: user(who),
        twin: lamp(),
        values: Arc::clone(&values),
        token: None,
        terms: ChangeTerms::default(),
    }
}

pub(super) fn event(kind: &'static str) -> impl Fn(EntityId, &Signal) -> bool {
    move |_, signal| matches!(signal, Signal::Event { entity, event } if *entity == WORLD.id() && event.kind == kind)
}

checks! {
    /// What an object does is shown to the metaverse system that selected its twin.
    answers
        "FGMV-28 REQ-DT-07", "FGMV-28 REQ-MV-03", "FGMV-28 REQ-MV-04", "FGMV-28 REQ-SI-01", "FGMV-29 8.3.4 state";
    fn what_an_object_does_is_shown_by_its_twin() {
        let watts = values("power", "5");
        let report = move || ReportPhysicalChange { twin: lamp(), values: Arc::clone(&watts), at: None };
        let home = registering().after(1, 3).ask(HOME, report, granted);
        let world = selecting().hear(event("twin.changed"));
        enabler(Story::new(vec![home, world]).on_signal(answer))
    }

    /// What a user changes on a twin reaches the system that maintains it, and the user hears that it was done.
    answers
        "FGMV-28 REQ-DT-02", "FGMV-28 REQ-DT-07", "FGMV-28 REQ-MV-02", "FGMV-28 REQ-MV-04", "FGMV-28 REQ-SI-01",
        "FGMV-29 8.3.4 state";
    fn what_a_user_changes_reaches_the_object() {
        let asked = |_: EntityId, signal: &Signal| {
            matches!(signal, Signal::Request { body, .. } if matches!(&**body, OutsideRequest::ApplyChange(change) if change.user == user("ada")))
        };
        let home = registering().hear(asked);
        let world = permitted().ask(WORLD, change("ada", "on", "true"), |changed| match changed {
            Ok(changed) if changed.values.get("on").is_some_and(|value| value.as_str() == "true") => Heard::Done,
            other => Heard::Wrong(format!("{other:?}")),
        });
        enabler(Story::new(vec![home, world]).on_signal(answer))
    }

    /// The selected twin system is asked for the properties of its twins, and for permission.
    answers "FGMV-28 REQ-MV-01", "FGMV-28 REQ-MV-02", "FGMV-29 8.3.3 information";
    fn the_selected_system_says_what_its_twins_are() {
        let asked = |_: EntityId, signal: &Signal| {
            matches!(signal, Signal::Request { body, .. } if matches!(&**body, OutsideRequest::DescribeTwins(_)))
        };
        let home = registering().hear(asked);
        let world = User::new("ada").asks_for(selecting(), &lamps(), |granted| match granted {
            Ok(granted) if granted.refused.is_empty() && granted.twins.iter().any(|twin| twin.id == lamp()) => Heard::Done,
            other => Heard::Wrong(format!("{other:?}")),
        });
        enabler(Story::new(vec![home, world]).on_signal(answer))
    }

    /// A twin that was not selected gives no permission.
    answers "FGMV-28 REQ-MV-03";
    fn only_a_selected_twin_can_be_used() {
        let world = Line::new("world")
            .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
            .after(0, 2);
        let world = User::new("ada").asks_for(world, &lamps(), refused(ProblemKind::NotSelected));
        enabler(Story::new(vec![registering(), world]).on_signal(answer))
    }
}

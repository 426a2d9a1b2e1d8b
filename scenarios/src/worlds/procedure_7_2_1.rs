//! FGMV-28 7.2.1: a guest at the front door is told to a user in the metaverse of the home, who opens the door on its twin.

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    ProblemKind,
    access::Right,
    message::{DigitalTwinSystemMsg, OutsideAnswer, OutsideRequest, ReportPhysicalChange, Wire},
    signal::Signal,
    step_id,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{answering, house, twin, values, willing},
    user::{User, only, registers},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// What the door says of the guest.
const GUEST: &str = r#""urn:picture:1""#;

/// What the twin system of the home does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Opens,
    LetsNobodyOpen,
    IsSilent,
}

impl Home {
    /// What the home answers; nothing where it is silent.
    fn answer(self, asked: OutsideRequest) -> Option<OutsideAnswer> {
        match (self, asked) {
            (Self::IsSilent, OutsideRequest::ApplyChange(_)) => None,
            (Self::LetsNobodyOpen, asked @ OutsideRequest::DescribeTwins(_)) => {
                let mut answer = willing(asked);
                if let OutsideAnswer::DescribeTwins(described) = &mut answer {
                    for grant in &mut described.twins {
                        grant.rights = BTreeSet::from([Right::Read]);
                    }
                }
                Some(answer)
            }
            (_, asked) => Some(willing(asked)),
        }
    }
}

/// Line 2: a guest rings while the user works with the twins (step 3), and the door tells (step 4).
fn guest() -> Line<Wire> {
    let picture = values("visitor", GUEST);
    let report = move || ReportPhysicalChange { twin: twin("door"), values: Arc::clone(&picture), at: None };
    Line::new("guest").after(1, 4).take(step_id!("7.2.1", "3")).ask(only::<DigitalTwinSystemMsg>(), report, granted)
}

/// Line 3: the user is told, looks who it is, and opens.
fn opening(
    ada: &User,
    check: impl Fn(Result<twinway_protocol::message::ChangeCompleted, twinway_protocol::Problem>) -> Heard + 'static,
) -> Line<Wire> {
    let rings = |_, signal: &Signal| {
        matches!(signal, Signal::Event { event, .. }
            if event.kind == "twin.changed" && event.data.as_str().contains(GUEST))
    };
    let line = Line::new("ada").hear(rings).take(step_id!("7.2.1", "6")).take(step_id!("7.2.1", "7"));
    ada.changes(line, &twin("door"), values("open", "true"), check)
}

fn staged(home: Home, opening: impl Fn(&User) -> Line<Wire>) -> World<Wire> {
    let (ada, doors) = (User::new("ada"), Arc::from([twin("door")]));
    // FGMV-28 7.2.1 steps 1 and 2.
    let world = ada.selects(ada.enters().after(0, 2), &doors);
    let world = ada.works_with(ada.asks_for(world, &doors, granted), &doors);
    let lines = vec![registers(Line::new("home"), "home", house()), world, guest(), opening(&ada)];
    let story = Story::new(lines).on_signal(answering(move |asked, _| home.answer(asked)));
    let steps = StepsAreTaken::new("7.2.1", &[("3", 1), ("6", 1), ("7", 1)]);
    enabler(story).rule(steps)
}

/// The user opens the door.
#[must_use]
pub fn procedure_7_2_1() -> World<Wire> {
    staged(Home::Opens, |ada| opening(ada, granted))
}

/// The user may see who is there, and not open.
#[must_use]
pub fn procedure_7_2_1_denied() -> World<Wire> {
    staged(Home::LetsNobodyOpen, |ada| opening(ada, refused(ProblemKind::PermissionMissing)))
}

/// The door does not answer: the user is told so, and not that it is open.
#[must_use]
pub fn procedure_7_2_1_silent() -> World<Wire> {
    staged(Home::IsSilent, |ada| opening(ada, refused(ProblemKind::OutsideTimeout)))
}

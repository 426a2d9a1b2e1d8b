//! The digital twin system of the demo: a home with a lamp, a door and a robot arm.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use twinway_protocol::{
    TwinId,
    access::Right,
    message::{
        ApplyChange, ForwardTwinPropertiesRequest, OutsideAnswer, OutsideRequest, PropertyValues, TwinGrant,
        TwinPropertiesAndPermission,
    },
    registry::{Reach, TwinSystemDescription},
};

use super::{
    DOOR, DemoError, HOME, TICK, Trying, USER, passes,
    story::{Story, Way},
    system,
    things::{self, Things},
    twin,
};
use crate::{
    client::{Client, ClientError, Closing, Devices, Incoming, StandingSession},
    outside::SystemKind,
};

/// The home.
#[derive(Debug)]
pub(super) struct Home<'s> {
    client: Client,
    story: &'s Story,
    description: TwinSystemDescription,
    things: Mutex<Things>,
    devices: Mutex<Devices>,
}

impl<'s> Home<'s> {
    pub(super) fn new(client: Client, story: &'s Story) -> Result<Self, DemoError> {
        let description = TwinSystemDescription {
            id: system(HOME)?,
            system_type: "home".to_owned(),
            title: "A small home".to_owned(),
            description: "A lamp, a door and a robot arm".to_owned(),
            properties: std::collections::BTreeMap::new(),
            reach: Reach::Session,
            twins: things::entries()?.into_iter().map(Arc::new).collect(),
            lifetime_ms: None,
            service_level: None,
        };
        let devices = Mutex::new(Devices::new(&description));
        Ok(Self { client, story, description, things: Mutex::new(Things::new()), devices })
    }

    pub(super) async fn open(&self) -> Result<StandingSession, DemoError> {
        self.client.standing_session(SystemKind::DigitalTwin).await.trying("opening the session of the home")
    }

    /// 9.2 steps 1 to 3.
    pub(super) async fn register(&self) -> Result<(), DemoError> {
        let count = self.description.twins.len();
        let way = Way::Between("home", "DTSR");
        self.story.step("1", &way, "RegisterTwinSystem", &format!("`{HOME}` with {count} twins"));
        let listing = self.client.register_twin_system(&self.description).await.trying("registering the home")?;
        self.story.step("2", &Way::Own("DTSR"), "own: information and twin list", "written down");
        let result = format!("{} twins, since {}", listing.twin_count, listing.registered_at);
        self.story.step("3", &Way::Between("DTSR", "home"), "TwinSystemRegistered", &result);
        Ok(())
    }

    /// 9.2 step 14: somebody opens the door, by hand. Gives the twin's version that shows it.
    pub(super) async fn open_the_door(&self) -> Result<(TwinId, u64), DemoError> {
        let (thing, values) = self.things.lock().toggle(DOOR, "open");
        self.story.step("14", &Way::Between("home", "DTS"), "PhysicalChange", &format!("{thing} {}", shown(&values)));
        let id = twin(thing)?;
        let version = self.client.report_change(&id, &values, None).await.trying("reporting a change")?;
        Ok((id, version))
    }

    /// Answers what the enabler asks, for as long as the session stands.
    pub(super) async fn answer(&self, session: &mut StandingSession) -> Closing {
        loop {
            match session.next().await {
                Incoming::Request { id, body } => {
                    let answer = match *body {
                        OutsideRequest::DescribeTwins(request) => self.describe(&request),
                        OutsideRequest::ApplyChange(change) => self.apply(&change),
                        // FGMV-28 7.1.3 step 8: what came before is done, since one is answered after the other.
                        OutsideRequest::FenceDevice(fence) => self.devices.lock().fence(&fence),
                        _ => OutsideAnswer::Failed("a home does not do that".to_owned()),
                    };
                    if let Err(error) = session.answer(&id, &answer).await {
                        self.story.line(&format!("home: an answer is lost: {error}"));
                    }
                }
                Incoming::Closed(why) => return why,
                Incoming::Event { .. } | Incoming::Gap(_) | Incoming::Subscription { .. } | Incoming::Reply { .. } => {}
            }
        }
    }

    /// 9.2 steps 9 and 10. Whoever lives here may do all, everyone else may look.
    fn describe(&self, request: &ForwardTwinPropertiesRequest) -> OutsideAnswer {
        let asked = format!("{} twins for {}, {:?}", request.twins.len(), request.user, request.rights);
        self.story.step("9", &Way::Between("DTIA", "home"), "ForwardTwinPropertiesRequest", &asked);
        let guests = BTreeSet::from([Right::Read]);
        let rights: BTreeSet<Right> = if request.user.as_str() == USER {
            (*request.rights).clone()
        } else {
            request.rights.intersection(&guests).copied().collect()
        };
        let things = self.things.lock();
        let grant = |id: &TwinId| TwinGrant {
            twin: id.clone(),
            properties: things.values_of(id),
            rights: rights.clone(),
            expires_at: None,
            role: None,
        };
        let twins: Vec<_> = request.twins.iter().map(grant).collect();
        let said = format!("{:?} on {} twins", rights, twins.len());
        self.story.step("10", &Way::Between("home", "DTIA"), "TwinPropertiesAndPermission", &said);
        OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins })
    }

    /// 9.2 steps 17 and 18.
    fn apply(&self, change: &ApplyChange) -> OutsideAnswer {
        let asked = format!("{} {} for {}", change.twin, shown(&change.values), change.user);
        self.story.step("16", &Way::Between("DTS", "DTAC"), "VerifyChange", "the user may");
        self.story.step("17", &Way::Between("DTS", "home"), "ApplyChange", &asked);
        let answer = self.devices.lock().apply(change, |change| self.things.lock().apply(&change.twin, &change.values));
        let way = Way::Between("home", "DTS");
        match &answer {
            OutsideAnswer::ApplyChange(applied) => {
                self.story.step("18", &way, "ChangeApplied", &shown(&applied.values));
            }
            OutsideAnswer::Failed(why) => self.story.step("18", &way, "failed", why),
            _ => {}
        }
        answer
    }

    /// Something changes every second and is reported. While the daemon is away life goes on.
    pub(super) async fn live(&self) -> Result<(), DemoError> {
        let mut away = false;
        loop {
            tokio::time::sleep(TICK).await;
            let (thing, values) = self.things.lock().tick();
            let done = self.client.report_change(&twin(thing)?, &values, None).await;
            match done {
                Ok(_) => away = false,
                Err(error) if passes(&error) => self.told_once(&mut away, &error),
                Err(error) => return Err(error).trying("reporting a change"),
            }
        }
    }

    fn told_once(&self, away: &mut bool, error: &ClientError) {
        if !std::mem::replace(away, true) {
            self.story.line(&format!("home: changes cannot be reported now: {error}"));
        }
    }
}

/// Values in one short text.
pub(super) fn shown(values: &PropertyValues) -> String {
    values.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect::<Vec<_>>().join(" ")
}

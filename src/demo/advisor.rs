//! The third-party system of the demo: it advises how to light a home.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use twinway_protocol::{
    JsonDoc,
    access::{AuthorizationDecision, AuthorizationGrant},
    message::{
        ExecuteService, ForwardUserAuthorization, OutsideAnswer, OutsideRequest, ServiceExecuted, ServiceRequest,
        UserAndPermissionInformation,
    },
    registry::{Api, Reach, ServiceCharge, ServiceLevel, ThirdPartyDescription},
    twin::TwinView,
};

use super::{
    ADVISOR, DemoError, LAMP, Trying, USER, document,
    story::{Story, Way},
    system, things, twin,
};
use crate::{
    client::{Client, ClientError, Closing, Incoming, StandingSession},
    outside::SystemKind,
};

/// The operation that the advisor offers.
pub(super) const ADVISE: &str = "advise";
/// From this power on there is something to save, in watts.
const WATTS_ENOUGH: f64 = 4.0;

/// The advisor.
#[derive(Debug)]
pub(super) struct Advisor<'s> {
    client: Client,
    story: &'s Story,
    description: ThirdPartyDescription,
}

impl<'s> Advisor<'s> {
    pub(super) fn new(client: Client, story: &'s Story) -> Result<Self, DemoError> {
        let description = ThirdPartyDescription {
            authorization: None,
            id: system(ADVISOR)?,
            system_type: "consulting".to_owned(),
            title: "Lighting advisor".to_owned(),
            description: "Says how a home could be lit with less".to_owned(),
            properties: BTreeMap::new(),
            service_charge: Some(ServiceCharge {
                amount: 0.02,
                currency: "EUR".to_owned(),
                per: Some("call".to_owned()),
            }),
            service_level: Some(ServiceLevel { availability: Some(0.99), p99_ms: Some(250.0), description: None }),
            apis: vec![Api {
                operation: ADVISE.to_owned(),
                description: Some("Advice on a lamp".to_owned()),
                mapping: None,
            }],
            reach: Reach::Session,
            lifetime_ms: None,
        };
        Ok(Self { client, story, description })
    }

    pub(super) async fn open(&self) -> Result<StandingSession, DemoError> {
        self.client.standing_session(SystemKind::ThirdParty).await.trying("opening the session of the advisor")
    }

    /// 9.1 steps 1 to 3.
    pub(super) async fn register(&self) -> Result<(), DemoError> {
        let way = Way::Between("advisor", "TPSR");
        self.story.step("1", &way, "RegisterThirdPartySystem", &format!("`{ADVISOR}`, 0.02 EUR a call"));
        let registered = self.client.register_third_party_system(&self.description).await;
        let listing = registered.trying("registering the advisor")?;
        self.story.step("2", &Way::Own("TPSR"), "own: information", "written down");
        let way = Way::Between("TPSR", "advisor");
        self.story.step("3", &way, "ThirdPartySystemRegistered", &format!("since {}", listing.registered_at));
        Ok(())
    }

    /// Answers what the enabler asks, for as long as the session stands.
    pub(super) async fn answer(&self, session: &mut StandingSession) -> Closing {
        loop {
            match session.next().await {
                Incoming::Request { id, body } => {
                    let answer = match *body {
                        OutsideRequest::AuthorizeUser(request) => self.authorize(&request),
                        OutsideRequest::ExecuteService(request) => self.execute(&request).await,
                        _ => OutsideAnswer::Failed("an advisor does not do that".to_owned()),
                    };
                    if let Err(error) = session.answer(&id, &answer).await {
                        self.story.line(&format!("advisor: an answer is lost: {error}"));
                    }
                }
                Incoming::Closed(why) => return why,
                Incoming::Event { .. } | Incoming::Gap(_) | Incoming::Subscription { .. } | Incoming::Reply { .. } => {}
            }
        }
    }

    /// 9.1 steps 7 and 8. One user has an account.
    fn authorize(&self, request: &ForwardUserAuthorization) -> OutsideAnswer {
        let asked = format!("{} of {} wants {:?}", request.user, request.metaverse, request.scope);
        self.story.step("7", &Way::Between("TPSAA", "advisor"), "ForwardUserAuthorization", &asked);
        let (decision, said) = if request.user.as_str() == USER {
            let offered = BTreeSet::from([ADVISE.to_owned()]);
            let scope: BTreeSet<_> = request.scope.intersection(&offered).cloned().collect();
            let said = format!("{} may {scope:?}", request.user);
            let user_information = document(&json!({ "account": request.user, "plan": "by call" }));
            (AuthorizationDecision::Granted(AuthorizationGrant { user_information, scope, expires_at: None }), said)
        } else {
            let why = format!("{} has no account", request.user);
            (AuthorizationDecision::Denied(why.clone()), why)
        };
        self.story.step("8", &Way::Between("advisor", "TPSAA"), "UserAndPermissionInformation", &said);
        OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
    }

    /// 9.1 steps 14 to 19.
    async fn execute(&self, request: &ExecuteService) -> OutsideAnswer {
        let ServiceRequest::Use { operation, .. } = &*request.request else {
            return OutsideAnswer::Failed("an advisor takes no data".to_owned());
        };
        self.story.step("13", &Way::Between("SDC", "TPSAA"), "VerifyUserAuthorization", "the user may");
        let asked = format!("{operation} for {}", request.user);
        self.story.step("14", &Way::Between("SDC", "advisor"), "ExecuteService", &asked);
        if &**operation != ADVISE {
            return OutsideAnswer::Failed(format!("there is no operation `{operation}`"));
        }
        match self.acquire().await {
            Ok(lamp) => {
                let output = advice(&lamp);
                self.story.step("14x", &Way::Between("advisor", "SDC"), "ServiceExecuted", output.as_str());
                OutsideAnswer::ExecuteService(ServiceExecuted { output })
            }
            Err(error) => OutsideAnswer::Failed(format!("the lamp cannot be looked at: {error}")),
        }
    }

    /// 9.1 steps 15 to 19: to advise, it must know how the lamp is.
    async fn acquire(&self) -> Result<TwinView, ClientError> {
        let lamp = twin(LAMP).map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.story.step("15", &Way::Between("advisor", "DTDA"), "AcquireTwinInformation", LAMP);
        let found = self.client.acquire_twin_information(std::slice::from_ref(&lamp), None).await?;
        self.story.step("16", &Way::Between("DTDA", "TSI"), "ForwardAcquisition", "passed on");
        self.story.step("17", &Way::Between("TSI", "DTAC, DTIA"), "VerifyAcquisition, Collect…", "the advisor may");
        self.story.step("18", &Way::Between("TSI", "DTDA"), "AcquisitionResponse", "collected");
        let missing = || ClientError::Protocol("the answer has no twin".to_owned());
        let view = found.into_iter().next().ok_or_else(missing)?;
        let result = format!("{} at version {}", view.id, view.version);
        self.story.step("19", &Way::Between("DTDA", "advisor"), "TwinInformation", &result);
        Ok(view)
    }
}

fn advice(lamp: &TwinView) -> JsonDoc {
    let power = lamp.properties.get("power").map_or(Value::Null, |power| things::value_of(&power.value));
    match power.as_f64() {
        Some(watts) if watts >= WATTS_ENOUGH => document(&json!({ "advice": "dim to 40 percent", "watts": watts })),
        Some(watts) => document(&json!({ "advice": "leave it so", "watts": watts })),
        None => document(&json!({ "advice": "ask again when the lamp has told its power" })),
    }
}

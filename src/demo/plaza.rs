//! The metaverse system of the demo: a plaza where users meet, with the things of a home in it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use twinway_protocol::{
    JsonDoc, SystemId, TwinId, UserId,
    access::{AuthorizationDecision, Right},
    message::PropertyValues,
    registry::SystemQuery,
};

use super::{
    ADVISOR, DOOR, DemoError, GUEST, HOME, LAMP, TWINS, Trying, USER,
    advisor::ADVISE,
    document,
    home::{Home, shown},
    rejection,
    story::{Story, Way},
    system, twin, user,
};
use crate::{
    client::{Client, CloudEvent, EventStream, Told},
    outside::{EventsFrom, SystemKind},
};

/// How long a change may take to be heard of.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// The plaza.
#[derive(Debug)]
pub(super) struct Plaza<'s> {
    client: Client,
    story: &'s Story,
    user: UserId,
    guest: UserId,
    advisor: SystemId,
    events: Option<EventStream>,
}

impl<'s> Plaza<'s> {
    pub(super) fn new(client: Client, story: &'s Story) -> Result<Self, DemoError> {
        Ok(Self { client, story, user: user(USER)?, guest: user(GUEST)?, advisor: system(ADVISOR)?, events: None })
    }

    /// Listens before anything happens, so that nothing is missed.
    pub(super) async fn listen(&mut self) -> Result<(), DemoError> {
        let events = self.client.events(SystemKind::Metaverse, EventsFrom::Now).await;
        self.events = Some(events.trying("listening to events")?);
        Ok(())
    }

    /// 9.2 steps 4 to 18x.
    pub(super) async fn integrate_twins(&mut self, home: &Home<'_>) -> Result<(), DemoError> {
        self.discover_twins().await?;
        let twins = self.select_twins().await?;
        self.obtain_permission(&twins).await?;
        self.story.step("13", &Way::Own("plaza"), "own: RunService", "the plaza shows the home");
        self.client.run_service(&twins).await.trying("running the service with twins")?;
        self.see_the_door_open(home).await?;
        self.dim_the_lamp().await
    }

    /// 9.2 steps 4 and 5.
    async fn discover_twins(&self) -> Result<(), DemoError> {
        self.story.step("4", &Way::Between("plaza", "DTSD"), "SearchTwinSystems", "type `home`");
        let query = SystemQuery { system_type: Some("home".to_owned()), ..SystemQuery::default() };
        let found = self.client.search_twin_systems(&query).await.trying("searching for twin systems")?;
        let ids: Vec<_> = found.items.iter().map(|listing| listing.system.id.as_str()).collect();
        self.story.step("5", &Way::Between("DTSD", "plaza"), "TwinSystemsFound", &ids.join(", "));
        if ids.contains(&HOME) { Ok(()) } else { Err(DemoError::Unexpected("the home was not found".to_owned())) }
    }

    /// 9.2 steps 6 and 7.
    async fn select_twins(&self) -> Result<Vec<TwinId>, DemoError> {
        self.story.step("6", &Way::Between("plaza", "DTIA"), "ListTwins", HOME);
        let listed = self.client.list_twins(Some(&system(HOME)?), None, None).await.trying("listing twins")?;
        let titles: Vec<_> = listed.items.iter().map(|twin| twin.title.as_str()).collect();
        self.story.step("7", &Way::Between("DTIA", "plaza"), "TwinsListed", &titles.join(", "));
        let twins = TWINS.iter().map(|id| twin(id)).collect::<Result<Vec<_>, _>>()?;
        self.story.step("6", &Way::Between("plaza", "DTIA"), "SelectTwins", &TWINS.join(", "));
        let selected = self.client.select_twins(&twins, &[]).await.trying("selecting twins")?;
        self.story.step("7", &Way::Between("DTIA", "plaza"), "TwinsSelected", &format!("{} twins", selected.len()));
        Ok(twins)
    }

    /// 9.2 steps 8 to 12.
    async fn obtain_permission(&self, twins: &[TwinId]) -> Result<(), DemoError> {
        let rights = BTreeSet::from([Right::Read, Right::Change]);
        let way = Way::Between("plaza", "DTIA");
        self.story.step("8", &way, "RequestTwinPropertiesAndPermission", &format!("{USER}: {rights:?}"));
        let granted = self.client.request_permission(&self.user, twins, &rights).await;
        let granted = granted.trying("requesting properties and permission")?;
        self.story.step("11", &Way::Own("DTAC, twins"), "own: properties and permission", "written down");
        let result = format!("{} permissions, {} twins", granted.permissions.len(), granted.twins.len());
        self.story.step("12", &Way::Between("DTIA", "plaza"), "TwinPropertiesAndPermissionGranted", &result);
        if granted.refused.is_empty() { Ok(()) } else { Err(DemoError::Unexpected(format!("{:?}", granted.refused))) }
    }

    /// 9.2 step 14: what the object does is seen in the plaza.
    async fn see_the_door_open(&mut self, home: &Home<'_>) -> Result<(), DemoError> {
        let (door, version) = home.open_the_door().await?;
        let heard = tokio::time::timeout(HEARD_WITHIN, self.hear_of(&door, version)).await;
        let event = heard.map_err(|_| DemoError::Unexpected("the opened door was not heard of".to_owned()))??;
        self.story.step("14", &Way::Between("twin", "plaza"), "ReflectChange", event.data.as_str());
        Ok(())
    }

    async fn hear_of(&mut self, twin: &TwinId, version: u64) -> Result<Box<CloudEvent>, DemoError> {
        loop {
            if let Told::Event { event, .. } = self.next_event().await? {
                let shown = event.data.read::<serde_json::Value>().ok();
                let shown = shown.and_then(|data| data.get("version")?.as_u64());
                if event.subject.as_deref() == Some(twin.as_str()) && shown.is_none_or(|shown| shown >= version) {
                    return Ok(event);
                }
            }
        }
    }

    async fn next_event(&mut self) -> Result<Told, DemoError> {
        let Some(events) = &mut self.events else {
            return Err(DemoError::Unexpected("the plaza does not listen".to_owned()));
        };
        events.next().await.trying("listening to events")
    }

    /// 9.2 steps 15 to 18x.
    async fn dim_the_lamp(&self) -> Result<(), DemoError> {
        let values = PropertyValues::from([("brightness".to_owned(), document(&json!(60)))]);
        let result = format!("{LAMP} {} for {USER}", shown(&values));
        self.story.step("15", &Way::Between("plaza", "DTS"), "ChangeTwin", &result);
        let now = self.client.change_twin(&self.user, &twin(LAMP)?, &values).await.trying("changing a twin")?;
        self.story.step("18x", &Way::Between("DTS", "plaza"), "ChangeCompleted", &format!("{LAMP} {}", shown(&now)));
        Ok(())
    }

    /// 9.2 steps 15 to 17, the rejecting branch: a user without permission.
    pub(super) async fn be_rejected_changing_a_twin(&self) -> Result<(), DemoError> {
        self.story.line("The rejecting branch of step 17:");
        let values = PropertyValues::from([("locked".to_owned(), document(&json!(false)))]);
        let result = format!("{DOOR} {} for {GUEST}", shown(&values));
        self.story.step("15", &Way::Between("plaza", "DTS"), "ChangeTwin", &result);
        let answer = self.client.change_twin(&self.guest, &twin(DOOR)?, &values).await;
        let kind = rejection(answer, "a change without permission")?;
        self.story.step("16", &Way::Between("DTS", "DTAC"), "VerifyChange", "the user may not");
        self.story.step("17", &Way::Between("DTS", "plaza"), "ChangeRejected", kind.slug());
        Ok(())
    }

    /// 9.1 steps 4 to 14x; the advisor itself takes steps 15 to 19.
    pub(super) async fn integrate_third_party(&self) -> Result<(), DemoError> {
        self.story.step(
            "4",
            &Way::Between("plaza", "TPSD"),
            "SearchThirdPartySystems",
            &format!("operation `{ADVISE}`"),
        );
        let query = SystemQuery { operation: Some(ADVISE.to_owned()), ..SystemQuery::default() };
        let found = self.client.search_third_party_systems(&query).await.trying("searching for third-party systems")?;
        let ids: Vec<_> = found.items.iter().map(|listing| listing.system.id.as_str()).collect();
        self.story.step("5", &Way::Between("TPSD", "plaza"), "ThirdPartySystemsFound", &ids.join(", "));
        let scope = BTreeSet::from([ADVISE.to_owned()]);
        let way = Way::Between("plaza", "TPSAA");
        self.story.step("6", &way, "RequestUserAuthorization", &format!("{USER}: {scope:?}"));
        let asked = self.client.request_user_authorization(&self.advisor, &self.user, &scope).await;
        let authorization = asked.trying("requesting a user authorization")?;
        let AuthorizationDecision::Granted(grant) = &authorization.decision else {
            return Err(DemoError::Unexpected(format!("the advisor did not grant: {:?}", authorization.decision)));
        };
        self.story.step("9", &Way::Own("TPSAA"), "own: user and permission information", "written down");
        let result = format!("granted {:?}", grant.scope);
        self.story.step("10", &Way::Between("TPSAA", "plaza"), "UserAuthorizationDecided", &result);
        let output = self.use_the_advisor(&self.user).await.trying("using a third-party system")?;
        self.story.step("14x", &Way::Between("SDC", "plaza"), "ServiceResult", output.as_str());
        Ok(())
    }

    /// 9.1 steps 11 and 12.
    async fn use_the_advisor(&self, user: &UserId) -> Result<JsonDoc, crate::client::ClientError> {
        self.story.step("11", &Way::Own("plaza"), "own: RunService", "with the advisor");
        self.story.step("12", &Way::Between("plaza", "SDC"), "UseThirdPartySystem", &format!("{ADVISE} for {user}"));
        let input = document(&json!({ "twin": LAMP }));
        self.client.use_third_party_system(&self.advisor, user, ADVISE, &input).await
    }

    /// 9.1 steps 12 to 14, the rejecting branch: a user without authorization.
    pub(super) async fn be_rejected_using_a_third_party(&self) -> Result<(), DemoError> {
        self.story.line("The rejecting branch of step 14:");
        let answer = self.use_the_advisor(&self.guest).await;
        let kind = rejection(answer, "a use without authorization")?;
        self.story.step("13", &Way::Between("SDC", "TPSAA"), "VerifyUserAuthorization", "the user may not");
        self.story.step("14", &Way::Between("SDC", "plaza"), "ServiceRejected", kind.slug());
        Ok(())
    }

    /// Tells what the plaza sees, for as long as it is let.
    pub(super) async fn watch(&mut self) -> Result<(), DemoError> {
        loop {
            match self.next_event().await? {
                Told::Event { event, .. } => {
                    let subject = event.subject.as_deref().unwrap_or_default();
                    self.story.line(&format!("plaza sees {subject}: {}", event.data.as_str()));
                }
                Told::Gap(gap) => self.story.line(&format!("plaza missed {} events", gap.missed)),
            }
        }
    }
}

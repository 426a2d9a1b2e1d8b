//! External systems that are simulated: what they are, and that they grant and do all that they are asked.

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    EntityId, JsonDoc, Mailbox, Ref, SystemId, TwinId, UserId,
    access::{AuthorizationDecision, AuthorizationGrant, Right},
    lease::Synchronization,
    message::{
        ActionStopping, AnswerRequest, ChangeApplied, DeviceFenced, DigitalTwinSystemMsg, MetaverseSystemMsg,
        OutsideAnswer, OutsideRequest, PropertyValues, ServiceExecuted, ThirdPartySystemMsg, TwinGrant,
        TwinPropertiesAndPermission, TwinPropertiesRead, UserAndPermissionInformation, Wire,
    },
    registry::{ThirdPartyDescription, TwinSystemDescription},
    signal::Signal,
};

use crate::outside::Hands;

/// The actor of the metaverse system `world`.
pub(super) const WORLD: Ref<MetaverseSystemMsg> = Ref::new(EntityId::new(MetaverseSystemMsg::KIND, 0, 0));
/// The actor of the metaverse system `plaza`.
pub(super) const PLAZA: Ref<MetaverseSystemMsg> = Ref::new(EntityId::new(MetaverseSystemMsg::KIND, 0, 1));
/// The actor of the digital twin system `plant`, in worlds without the home.
pub(super) const PLANT: Ref<DigitalTwinSystemMsg> = Ref::new(EntityId::new(DigitalTwinSystemMsg::KIND, 0, 0));
/// The actor of the digital twin system `home`.
pub(super) const HOME: Ref<DigitalTwinSystemMsg> = Ref::new(EntityId::new(DigitalTwinSystemMsg::KIND, 0, 0));
/// The actor of the third-party system `shop`.
pub(super) const SHOP: Ref<ThirdPartySystemMsg> = Ref::new(EntityId::new(ThirdPartySystemMsg::KIND, 0, 0));

const HOME_DESCRIPTION: &str = r#"{"id": "home", "type": "home", "title": "A home", "twins": [{"id": "lamp",
    "physicalObject": "urn:lamp:1", "access": {"shop": ["read"]},
    "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "none",
        "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]},
            "power": {"type": "number", "readOnly": true, "forms": [{"href": "/power"}]}}}}]}"#;

const PLANT_DESCRIPTION: &str = r#"{"id": "plant", "type": "plant", "title": "A plant", "twins": [
    {"id": "arm", "physicalObject": "urn:arm:1", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "Arm", "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"speed": {"type": "number", "forms": [{"href": "/speed"}]}}},
     "characteristics": {"synchronization": {"graceMs": 300, "defaultPriority": 3, "safeStop": {"speed": 0},
        "priorities": [{"user": "cleo", "priority": 9}, {"user": "guest", "priority": 1}]}}},
    {"id": "arm-shown", "physicalObject": "urn:arm:1", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "The same arm, as a visitor sees it", "security": "none",
        "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"speed": {"type": "number", "forms": [{"href": "/speed"}]}}},
     "characteristics": {"synchronization": {"graceMs": 300, "defaultPriority": 3, "safeStop": {"speed": 0},
        "priorities": [{"user": "cleo", "priority": 9}, {"user": "guest", "priority": 1}]}}}]}"#;

/// What the plant says later: Bob is above the others, and Cleo below.
const RAISED: &str = r#"{"graceMs": 300, "defaultPriority": 3, "safeStop": {"speed": 0},
    "priorities": [{"user": "bob", "priority": 5}, {"user": "cleo", "priority": 1}, {"user": "guest", "priority": 1}]}"#;

const SHOP_DESCRIPTION: &str = r#"{"id": "shop", "type": "commerce", "title": "A shop", "apis": [{"operation": "order"}],
    "serviceCharge": {"amount": 2.5, "currency": "EUR", "per": "call"},
    "serviceLevel": {"availability": 0.99, "p99Ms": 300.0}}"#;

/// The maker of a product; without its object the product cannot be synchronized.
const MAKER_DESCRIPTION: &str = r#"{"id": "maker", "type": "furniture", "title": "A maker of chairs", "twins": [
    {"id": "chair", "physicalObject": "urn:chair:1", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "A chair", "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"seatHeightCm": {"type": "number", "forms": [{"href": "/height"}]}}}}]}"#;

const PANTRY_DESCRIPTION: &str = r#"{"id": "home", "type": "home", "title": "A home with a pantry", "twins": [
    {"id": "eggs", "physicalObject": "urn:eggs:1", "description": TD},
    {"id": "flour", "physicalObject": "urn:flour:1", "description": TD},
    {"id": "milk", "physicalObject": "urn:milk:1", "description": TD}]}"#;

const INGREDIENT_DESCRIPTION: &str = r#"{"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "An ingredient",
    "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}},
    "properties": {"amount": {"type": "number", "readOnly": true, "forms": [{"href": "/amount"}]}}}"#;

const HOUSE_DESCRIPTION: &str = r#"{"id": "home", "type": "home", "title": "A home with a door", "twins": [
    {"id": "door", "physicalObject": "urn:door:1", "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "The front door", "security": "none", "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"open": {"type": "boolean", "forms": [{"href": "/open"}]},
            "visitor": {"type": "string", "readOnly": true, "forms": [{"href": "/visitor"}]}}}}]}"#;

/// What a constant of these worlds says.
#[expect(clippy::expect_used, reason = "constants of the named worlds, all of which a test runs")]
pub(super) fn said<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the constant is well described")
}

/// What a constant of these worlds names.
#[expect(clippy::expect_used, reason = "constants of the named worlds, all of which a test runs")]
pub(super) fn named<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().expect("it is a name")
}

pub(super) fn home() -> Box<TwinSystemDescription> {
    said(HOME_DESCRIPTION)
}

pub(super) fn plant() -> Box<TwinSystemDescription> {
    said(PLANT_DESCRIPTION)
}

pub(super) fn maker(object: bool) -> Box<TwinSystemDescription> {
    let stands_for = r#""physicalObject": "urn:chair:1", "#;
    let text = MAKER_DESCRIPTION.replace(stands_for, if object { stands_for } else { "" });
    said(&text)
}

pub(super) fn pantry() -> Box<TwinSystemDescription> {
    let text = PANTRY_DESCRIPTION.replace("TD", INGREDIENT_DESCRIPTION);
    said(&text)
}

pub(super) fn house() -> Box<TwinSystemDescription> {
    said(HOUSE_DESCRIPTION)
}

pub(super) fn raised() -> Arc<Synchronization> {
    Arc::new(said(RAISED))
}

pub(super) fn shop() -> Box<ThirdPartyDescription> {
    said(SHOP_DESCRIPTION)
}

pub(super) fn system(name: &str) -> SystemId {
    named(name)
}

pub(super) fn user(name: &str) -> UserId {
    named(name)
}

pub(super) fn twin(name: &str) -> TwinId {
    named(name)
}

pub(super) fn lamp() -> TwinId {
    twin("lamp")
}

pub(super) fn json(text: &str) -> JsonDoc {
    said(text)
}

pub(super) fn lamps() -> Arc<[TwinId]> {
    Arc::from([lamp()])
}

pub(super) fn values(name: &str, value: &str) -> Arc<PropertyValues> {
    Arc::new(PropertyValues::from([(name.to_owned(), json(value))]))
}

pub(super) fn rights() -> Arc<BTreeSet<Right>> {
    Arc::new(BTreeSet::from([Right::Read, Right::Change]))
}

pub(super) fn scope() -> Arc<BTreeSet<String>> {
    Arc::new(BTreeSet::from(["order".to_owned()]))
}

/// What a system answers that grants all that is asked and does all that it is told.
pub(super) fn willing(asked: OutsideRequest) -> OutsideAnswer {
    match asked {
        OutsideRequest::DescribeTwins(asked) => {
            let grant = |twin: &TwinId| TwinGrant {
                twin: twin.clone(),
                properties: PropertyValues::new(),
                rights: (*asked.rights).clone(),
                expires_at: None,
                role: None,
            };
            let twins = asked.twins.iter().map(grant).collect();
            OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins })
        }
        OutsideRequest::ApplyChange(change) => {
            OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*change.values).clone()), seen: None })
        }
        OutsideRequest::FenceDevice(_) => OutsideAnswer::FenceDevice(DeviceFenced { seen: None }),
        OutsideRequest::AuthorizeUser(asked) => {
            let (user_information, scope) = (json("{}"), (*asked.scope).clone());
            let grant = AuthorizationGrant { user_information, scope, expires_at: None };
            let decision = AuthorizationDecision::Granted(grant);
            OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
        }
        OutsideRequest::InvokeAction(_) => OutsideAnswer::Failed("nothing is acted here".to_owned()),
        OutsideRequest::ReadProperties(_) => {
            OutsideAnswer::ReadProperties(TwinPropertiesRead { values: PropertyValues::new() })
        }
        OutsideRequest::CancelAction(_) => OutsideAnswer::CancelAction(ActionStopping {}),
        OutsideRequest::ExecuteService(_) => OutsideAnswer::ExecuteService(ServiceExecuted { output: json("{}") }),
    }
}

/// External systems that are willing to do all that they are asked.
pub(super) fn answer(entity: EntityId, signal: Signal, hands: &mut Hands<Wire>) {
    answering(|asked, _| Some(willing(asked)))(entity, signal, hands);
}

/// External systems that answer what `how` says, or nothing.
pub(super) fn answering(
    how: impl Fn(OutsideRequest, &mut Hands<Wire>) -> Option<OutsideAnswer>,
) -> impl Fn(EntityId, Signal, &mut Hands<Wire>) {
    move |_, signal, hands| {
        let Signal::Request { entity, request, body } = signal else { return };
        let Some(answer) = how(*body, hands) else { return };
        let answer = AnswerRequest { request, answer: Box::new(answer) };
        match entity.kind() {
            DigitalTwinSystemMsg::KIND => {
                hands.ask(Ref::<DigitalTwinSystemMsg>::new(entity), answer);
            }
            ThirdPartySystemMsg::KIND => {
                hands.ask(Ref::<ThirdPartySystemMsg>::new(entity), answer);
            }
            _ => {}
        }
    }
}

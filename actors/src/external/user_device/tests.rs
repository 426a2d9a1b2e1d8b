//! A user's device beside FGMV-29 9.1 step 10: a person has to log in.

use twinway_protocol::{
    Behaviour, Effect, EntityId, Mailbox, ProblemKind, Ref, UserId,
    message::{
        AttachUserDevice, Kept, MetaverseSystemMsg, NotifyUser, OpenSystem, UserDeviceAttached, UserDeviceMsg, Wire,
    },
    signal::Signal,
};

use super::UserDevice;
use crate::{
    Settings,
    sif::testing::{CALLER, METAVERSE, answer, json, key, shown, system_id, to_kind},
    trial::Trial,
};

const ID: EntityId = EntityId::new(UserDeviceMsg::KIND, 0, 4);

fn device(settings: &Settings) -> Trial<UserDevice> {
    Trial::new(ID, settings)
}

fn attach(device: &mut Trial<UserDevice>, asks: u64) -> Vec<Effect<Wire>> {
    let user = UserId::new("ada").expect("it is a name");
    // The caller may not know the device's address.
    let nowhere = Ref::new(EntityId::from_bits(0));
    device.deliver(CALLER, key(asks), AttachUserDevice { metaverse: Ref::new(METAVERSE), device: nowhere, user })
}

#[test]
fn a_device_attaches_itself_and_the_answer_comes_back_once() {
    let mut device = device(&Settings::default());
    let (meta, wire) = to_kind(attach(&mut device, 2), MetaverseSystemMsg::KIND);
    assert_eq!(meta.to, METAVERSE);
    let Wire::MetaverseSystem(MetaverseSystemMsg::AttachUserDevice(question)) = wire else { panic!("it attaches") };
    assert_eq!(question.device.id(), ID);
    let attached = || UserDeviceMsg::UserDeviceAttached(Ok(UserDeviceAttached));
    let effects = device.deliver(METAVERSE, meta.pending, attached());
    assert!(answer::<UserDeviceAttached>(effects, CALLER, key(2)).is_some_and(|answer| answer.is_ok()));
    assert!(device.deliver(METAVERSE, meta.pending, attached()).is_empty());
}

#[test]
fn questions_have_a_limit() {
    let mut device = device(&Settings { pending_questions_max: 1, ..Settings::default() });
    attach(&mut device, 2);
    let refused = answer::<UserDeviceAttached>(attach(&mut device, 3), CALLER, key(3)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::LimitReached));
}

#[test]
fn what_concerns_the_user_is_shown_on_the_device() {
    let mut device = device(&Settings::default());
    let effects = device.deliver(CALLER, key(1), OpenSystem { id: system_id("ada"), reach: None });
    assert_eq!(shown(&effects), ["signal", "Kept to Caller"]);
    assert!(answer::<Kept>(effects, CALLER, key(1)).is_some_and(|answer| answer.is_ok()));
    let effects =
        device.deliver(METAVERSE, key(0), NotifyUser { event: "login.required", data: json("{\"login\":\"here\"}") });
    let [Effect::Signal(Signal::Event { entity, event })] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((*entity, event.kind, event.subject.as_str()), (ID, "login.required", "ada"));
    assert_eq!(event.data, json("{\"login\":\"here\"}"));
}

#[test]
fn after_a_restart_it_is_the_same_users() {
    let mut before = device(&Settings::default());
    before.deliver(CALLER, key(1), OpenSystem { id: system_id("ada"), reach: None });
    let mut after = device(&Settings::default());
    for record in &before.records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        after.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    assert_eq!(shown(&after.recovered()), ["signal"]);
    let effects = after.deliver(CALLER, key(1), OpenSystem { id: system_id("bob"), reach: None });
    let refused = answer::<Kept>(effects, CALLER, key(1)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::NotAllowed));
    let mut snapshot = Vec::new();
    after.behaviour.snapshot(0, &mut snapshot);
    assert_eq!(format!("{snapshot:?}"), format!("{:?}", before.records));
}

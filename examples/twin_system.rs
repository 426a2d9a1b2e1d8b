//! A digital twin system in a process of its own: it registers one lamp, answers what the enabler asks about it, and
//! tells when somebody presses the lamp's switch.
//!
//! `TWINWAY_URL` says where the daemon is, `TWINWAY_TOKEN` is a token of the role `twin-system` and the id `home`.
//! It prints `ready` when it is registered. Each line on stdin is a press of the switch; it ends when stdin does.
//!
//! `TWINWAY_URL=http://127.0.0.1:7400 TWINWAY_TOKEN=… cargo run --example twin_system`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeSet, env, error::Error, io, thread};

use tokio::sync::mpsc;
use twinway::{
    client::{Client, Devices, Incoming},
    outside::SystemKind,
    protocol::{
        JsonDoc, TwinId,
        access::Right,
        message::{OutsideAnswer, OutsideRequest, PropertyValues, TwinGrant, TwinPropertiesAndPermission},
    },
};

/// What is registered: the system, and its list of twins. `access` lets every third-party system read the lamp.
const HOME: &str = r#"{"id": "home", "type": "home", "title": "A home", "twins": [{
    "id": "lamp", "physicalObject": "urn:example:lamp", "access": {"*": ["read"]},
    "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "none",
        "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}}}}]}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::new(env::var("TWINWAY_URL")?, env::var("TWINWAY_TOKEN")?);
    // The session first: from the registration on, others may ask for the lamp.
    let mut session = client.standing_session(SystemKind::DigitalTwin).await?;
    let home = serde_json::from_str(HOME)?;
    client.register_twin_system(&home).await?;
    let mut devices = Devices::new(&home);
    println!("ready");

    let mut lamp = PropertyValues::from([("on".to_owned(), JsonDoc::parse("false")?)]);
    let mut presses = lines();
    loop {
        tokio::select! {
            press = presses.recv() => {
                if press.is_none() {
                    return Ok(());
                }
                let on = lamp.get("on").is_some_and(|on| on.as_str() == "true");
                lamp.insert("on".to_owned(), JsonDoc::from_value(&!on)?);
                // Not awaited here: until the change is reflected, other answers may be waited for.
                let (client, id, now) = (client.clone(), "lamp".parse::<TwinId>()?, lamp.clone());
                tokio::spawn(async move { client.report_change(&id, &now, None).await });
            }
            incoming = session.next() => match incoming {
                Incoming::Request { id, body } => {
                    // If the session broke meanwhile, the enabler has told the asker, and the session is opened again.
                    let _lost = session.answer(&id, &answer(&body, &mut lamp, &mut devices)).await;
                }
                Incoming::Closed(why) => return Err(format!("the session is over: {why:?}").into()),
                _ => {}
            },
        }
    }
}

/// FGMV-29 9.2 steps 9 and 10, and 17 and 18; FGMV-28 7.1.3 steps 8 and 9: a lower token moves nothing any more. Users whose name begins with `guest` may only look.
fn answer(request: &OutsideRequest, lamp: &mut PropertyValues, devices: &mut Devices) -> OutsideAnswer {
    match request {
        OutsideRequest::DescribeTwins(asked) => {
            let guest = asked.user.as_str().starts_with("guest");
            let rights: BTreeSet<_> =
                asked.rights.iter().copied().filter(|right| *right == Right::Read || !guest).collect();
            let grant = |twin: &TwinId| TwinGrant {
                twin: twin.clone(),
                properties: lamp.clone(),
                rights: rights.clone(),
                expires_at: None,
                role: None,
            };
            OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins: asked.twins.iter().map(grant).collect() })
        }
        OutsideRequest::ApplyChange(change) => devices.apply(change, |change| {
            lamp.extend((*change.values).clone());
            Ok((*change.values).clone())
        }),
        OutsideRequest::FenceDevice(fence) => devices.fence(fence),
        _ => OutsideAnswer::Failed("a home does not do that".to_owned()),
    }
}

/// The lines of stdin; a thread waits for them, since the end of the program must not.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

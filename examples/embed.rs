//! The enabler inside a host program that has its own tokio runtime: an in-process twin system registers a lamp and
//! reports its state, and a virtual world selects, reads and changes it. `cargo run --example embed`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, sync::Arc};

use twinway::actors::port::journal::MemoryJournal;
use twinway::enabler::{Dii, Enabler, EnablerOptions};
use twinway::outside::{Outgoing, Session};
use twinway::protocol::message::{
    ChangeApplied, OutsideAnswer, OutsideRequest, TwinGrant, TwinPropertiesAndPermission,
};
use twinway::protocol::{TwinId, UserId};

const HOME: &str = r#"{"id": "home", "type": "home", "title": "A home", "twins": [{"id": "lamp", "physicalObject": "urn:lamp:1",
    "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "none",
        "securityDefinitions": {"none": {"scheme": "nosec"}},
        "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}}}}]}"#;

/// The home grants what it is asked for, and does as it is told.
async fn live(home: Dii, mut session: Session) {
    while let Some(outgoing) = session.next().await {
        let Outgoing::Request { request, body } = outgoing else { continue };
        let grant = |rights: &_, twin: &TwinId| {
            let (twin, rights) = (twin.clone(), Clone::clone(rights));
            TwinGrant { twin, rights, properties: Default::default(), expires_at: None, role: None }
        };
        let answer = match &*body {
            OutsideRequest::DescribeTwins(asked) => {
                let twins = asked.twins.iter().map(|twin| grant(&*asked.rights, twin)).collect();
                OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins })
            }
            OutsideRequest::ApplyChange(change) => {
                OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*change.values).clone()), seen: None })
            }
            _ => OutsideAnswer::Failed("a home offers no services".to_owned()),
        };
        let _too_late = home.answer(request, answer).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let enabler = Enabler::start(EnablerOptions::default(), Arc::new(MemoryJournal::default())).await?;
    let (lamp, alice): (TwinId, UserId) = ("lamp".parse()?, "alice".parse()?);
    let home = enabler.dii("home".parse()?);
    home.register(serde_json::from_str(HOME)?).await?;
    tokio::spawn(live(home.clone(), home.session().await?));
    home.report(lamp.clone(), serde_json::from_str(r#"{"on": true}"#)?, None).await?;

    let world = enabler.mii("world".parse()?);
    world.select_twins(vec![lamp.clone()], vec![]).await?;
    world.request_permission(alice.clone(), vec![lamp.clone()], serde_json::from_str(r#"["read", "change"]"#)?).await?;
    println!("the lamp: {:?}", world.twin(&lamp)?.properties);
    world.change_twin(alice, lamp.clone(), serde_json::from_str(r#"{"on": false}"#)?).await?;
    println!("and now:  {:?}", world.twin(&lamp)?.properties);
    Ok(enabler.shutdown().await?)
}

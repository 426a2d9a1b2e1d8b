//! A third-party system in a process of its own: it advises on twins, and looks at them to do so.
//!
//! `TWINWAY_URL` says where the daemon is, `TWINWAY_TOKEN` is a token of the role `third-party` and the id `advisor`.
//! It prints `ready` when it is registered, and ends when stdin does.
//!
//! `TWINWAY_URL=http://127.0.0.1:7400 TWINWAY_TOKEN=… cargo run --example third_party`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeMap, env, error::Error, io, thread};

use tokio::sync::oneshot;
use twinway::{
    client::{Client, Incoming},
    outside::SystemKind,
    protocol::{
        JsonDoc, TwinId,
        access::{AuthorizationDecision, AuthorizationGrant},
        message::{OutsideAnswer, OutsideRequest, ServiceExecuted, ServiceRequest, UserAndPermissionInformation},
    },
};

/// What is registered. There are more properties: the charge, the level of service.
const ADVISOR: &str = r#"{"id": "advisor", "type": "consulting", "title": "Advisor",
    "apis": [{"operation": "advise", "description": "Says what to do with a twin; the input is its id"}]}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::new(env::var("TWINWAY_URL")?, env::var("TWINWAY_TOKEN")?);
    // The session first: from the registration on, others may ask.
    let mut session = client.standing_session(SystemKind::ThirdParty).await?;
    client.register_third_party_system(&serde_json::from_str(ADVISOR)?).await?;
    println!("ready");

    let (end, mut ended) = oneshot::channel::<()>();
    // A thread reads stdin, since the end of the program must not wait for it.
    thread::spawn(move || io::copy(&mut io::stdin(), &mut io::sink()).map(|_| drop(end)));
    loop {
        tokio::select! {
            _ = &mut ended => return Ok(()),
            incoming = session.next() => match incoming {
                Incoming::Request { id, body } => {
                    // If the session broke meanwhile, the enabler has told the asker, and the session is opened again.
                    let _lost = session.answer(&id, &answer(&client, &body).await).await;
                }
                Incoming::Closed(why) => return Err(format!("the session is over: {why:?}").into()),
                _ => {}
            },
        }
    }
}

/// FGMV-29 9.1 steps 7 and 8, and 14 and 14x. Users whose name begins with `guest` have no account.
async fn answer(client: &Client, request: &OutsideRequest) -> OutsideAnswer {
    match request {
        OutsideRequest::AuthorizeUser(asked) => {
            let decision = if asked.user.as_str().starts_with("guest") {
                AuthorizationDecision::Denied(format!("{} has no account", asked.user))
            } else {
                let user_information = JsonDoc::from_value(&BTreeMap::from([("account", &asked.user)]));
                AuthorizationDecision::Granted(AuthorizationGrant {
                    user_information: user_information.unwrap_or_else(|_| JsonDoc::null()),
                    scope: (*asked.scope).clone(),
                    expires_at: None,
                })
            };
            OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
        }
        OutsideRequest::ExecuteService(asked) => match advise(client, &asked.request).await {
            Ok(output) => OutsideAnswer::ExecuteService(ServiceExecuted { output }),
            Err(error) => OutsideAnswer::Failed(error.to_string()),
        },
        _ => OutsideAnswer::Failed("an advisor does not do that".to_owned()),
    }
}

/// To advise, it must know how the twin is (9.1 steps 15 to 19).
async fn advise(client: &Client, request: &ServiceRequest) -> Result<JsonDoc, Box<dyn Error>> {
    let ServiceRequest::Use { input, .. } = request else { return Err("an advisor takes no data".into()) };
    let twins = client.acquire_twin_information(&[input.read::<TwinId>()?], None).await?;
    let on = twins.iter().any(|twin| twin.properties.get("on").is_some_and(|on| on.value.as_str() == "true"));
    Ok(JsonDoc::from_value(if on { "switch it off" } else { "leave it off" })?)
}

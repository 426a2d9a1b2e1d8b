//! What the frames of a session ask for, each until its reply is there.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde_json::value::RawValue;
use twinway_protocol::{PendingKey, Problem, ProblemKind, SystemId, message::OutsideAnswer};

use super::{
    Shared,
    auth::Known,
    call::{Extras, Found, JSON, Reply},
    json, problem,
    routes::Verb,
    server,
};
use crate::outside::SystemKind;

/// What came of a frame: the id of the reply, and the reply.
pub(super) type Done = (String, Reply);

/// Whose session it is.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Arc<Known>,
    pub(super) kind: SystemKind,
    pub(super) system: SystemId,
}

/// An answer or a call under way.
pub(super) type Work = LocalBoxFuture<'static, Done>;

impl Owner {
    /// Takes an answer to what the system was asked.
    pub(super) fn answer(&self, id: String, data: Box<RawValue>) -> Work {
        let owner = self.clone();
        Box::pin(async move {
            let reply = answer(owner, &id, &data).await.unwrap_or_else(|problem| problem::reply(problem, None));
            (format!("answer:{id}"), reply)
        })
    }

    /// Carries a call out as if it had come as a request of its own.
    pub(super) fn call(&self, id: String, asked: Asked) -> Work {
        let owner = self.clone();
        Box::pin(async move {
            let reply = call(&owner, asked).await.unwrap_or_else(|problem| problem::reply(problem, None));
            (id, reply)
        })
    }
}

async fn answer(owner: Owner, id: &str, data: &RawValue) -> Result<Reply, Problem> {
    owner.shared.take_rate(&owner.known, std::time::Instant::now())?;
    let unknown = || Problem::new(ProblemKind::RequestUnknown, format!("there is no request `{id}`"));
    let request = id.parse().map(PendingKey::from_bits).map_err(|_| unknown())?;
    let answer: OutsideAnswer = json::read(data.get().as_bytes(), "/data")?;
    match owner.kind {
        SystemKind::DigitalTwin => owner.shared.enabler.dii(owner.system).answer(request, answer).await?,
        SystemKind::ThirdParty => owner.shared.enabler.sii(owner.system).answer(request, answer).await?,
        SystemKind::Metaverse | SystemKind::UserDevice => return Err(unknown()),
    }
    Ok(Reply::empty(204))
}

/// What a call asks for.
pub(super) struct Asked {
    pub(super) method: String,
    /// The path with its query.
    pub(super) target: String,
    pub(super) body: Option<Box<RawValue>>,
    // What stands in a frame in the place of headers.
    pub(super) lease_token: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

async fn call(owner: &Owner, asked: Asked) -> Result<Reply, Problem> {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let found = Found::read(owner.shared.router.find(Verb::read(&asked.method), path)?.route, path, query)?;
    let extras = Extras {
        body: asked.body.map(|body| Bytes::from(String::from(Box::<str>::from(body)))).unwrap_or_default(),
        // As the session's own system, also when an operator opened it.
        acting_as: Some(owner.system.as_str()),
        accept: Some(JSON),
        lease_token: asked.lease_token.as_deref(),
        if_match: asked.if_match.as_deref(),
        idempotency_key: asked.idempotency_key.as_deref(),
        ..Extras::default()
    };
    let call = found.admit(&owner.shared, Some(&owner.known), extras, std::time::Instant::now())?;
    server::run(call).await
}

//! What the frames of a session ask for, each until its reply is there.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use twinway_protocol::{PendingKey, Problem, ProblemKind, SystemId, message::OutsideAnswer};

use super::{
    Shared,
    auth::Known,
    call::{Extras, Found, JSON, Reply},
    frame::{Asked, reply_to_answer},
    json, problem,
    routes::Verb,
    server,
};
use crate::outside::SystemKind;

/// What came of a frame: the id of the reply, and the reply.
pub(super) type Done = (String, Reply);

/// Whose session it is.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Arc<Known>,
    pub(super) kind: SystemKind,
    pub(super) system: SystemId,
}

/// An answer or a call under way.
pub(super) type Work = LocalBoxFuture<'static, Done>;

/// Takes an answer to what the system was asked.
pub(super) fn answer(owner: &Rc<Owner>, id: String, data: Bytes) -> Work {
    let owner = Rc::clone(owner);
    Box::pin(async move {
        let reply = take_answer(&owner, &id, &data).await.unwrap_or_else(|problem| problem::reply(problem, None));
        (reply_to_answer(&id), reply)
    })
}

/// Carries a call out as if it had come as a request of its own. Its body is a piece of `frame`.
pub(super) fn call(owner: &Rc<Owner>, id: String, asked: Asked<'_>, frame: &Bytes) -> Work {
    let owner = Rc::clone(owner);
    let Asked { method, target, body, lease_token, if_match, idempotency_key } = asked;
    let verb = Verb::read(&method);
    let body = body.map(|body| frame.slice_ref(body.get().as_bytes())).unwrap_or_default();
    Box::pin(async move {
        let extras = Extras {
            body,
            // As the session's own system, also when an operator opened it.
            acting_as: Some(owner.system.as_str()),
            accept: Some(JSON),
            lease_token: lease_token.as_deref(),
            if_match: if_match.as_deref(),
            idempotency_key: idempotency_key.as_deref(),
            ..Extras::default()
        };
        let reply = carry_out(&owner, verb, &target, extras).await;
        (id, reply.unwrap_or_else(|problem| problem::reply(problem, None)))
    })
}

async fn take_answer(owner: &Owner, id: &str, data: &[u8]) -> Result<Reply, Problem> {
    owner.shared.take_rate(&owner.known, std::time::Instant::now())?;
    let unknown = || Problem::new(ProblemKind::RequestUnknown, format!("there is no request `{id}`"));
    let request = id.parse().map(PendingKey::from_bits).map_err(|_| unknown())?;
    let answer: OutsideAnswer = json::read(data, "/data")?;
    match owner.kind {
        SystemKind::DigitalTwin => owner.shared.enabler.dii(owner.system.clone()).answer(request, answer).await?,
        SystemKind::ThirdParty => owner.shared.enabler.sii(owner.system.clone()).answer(request, answer).await?,
        SystemKind::Metaverse | SystemKind::UserDevice => return Err(unknown()),
    }
    Ok(Reply::empty(204))
}

async fn carry_out(owner: &Owner, verb: Option<Verb>, target: &str, extras: Extras<'_>) -> Result<Reply, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let found = Found::read(owner.shared.router.find(verb, path)?, path, query)?;
    let call = found.admit(&owner.shared, Some(&owner.known), extras, std::time::Instant::now())?;
    server::run(call).await
}

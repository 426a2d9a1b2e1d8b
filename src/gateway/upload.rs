//! A body that is taken in piece by piece: its limits in bytes and in time.

use std::time::Duration;

use actix_web::web;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};
use twinway_protocol::{Problem, ProblemKind};

use super::{Shared, routes::Upload};

/// What is left of an upload.
struct Left {
    payload: web::Payload,
    bytes: u64,
    bytes_max: u64,
    piece_within: Duration,
    until: Instant,
    all_within_ms: u64,
}

/// The pieces of a body.
///
/// # Errors
/// [`ProblemKind::BodyTooLarge`] when it is said to be too large; within the stream, when it is or comes too slowly.
pub(super) fn incoming(shared: &Shared, told: Option<u64>, payload: web::Payload) -> Result<Upload, Problem> {
    let config = &shared.config;
    let bytes_max = config.upload_bytes_max;
    if told.is_some_and(|told| told > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let left = Left {
        payload,
        bytes: 0,
        bytes_max,
        piece_within: Duration::from_millis(config.request_body_ms_max),
        until: Instant::now() + Duration::from_millis(config.upload_ms_max),
        all_within_ms: config.upload_ms_max,
    };
    Ok(stream::try_unfold(left, |mut left| async move { Ok(left.next().await?.map(|piece| (piece, left))) })
        .boxed_local())
}

fn too_large(max: u64) -> Problem {
    Problem::new(ProblemKind::BodyTooLarge, format!("an upload has at most {max} bytes (`upload_bytes_max`)"))
}

impl Left {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let piece_until = Instant::now() + self.piece_within;
        let Ok(piece) = timeout_at(piece_until.min(self.until), self.payload.next()).await else {
            let (limit, ms) = match piece_until <= self.until {
                true => ("request_body_ms_max", self.piece_within.as_millis()),
                false => ("upload_ms_max", self.all_within_ms.into()),
            };
            let detail = format!("the body did not come within {ms} ms (`{limit}`)");
            return Err(Problem::new(ProblemKind::InvalidDocument, detail));
        };
        let broken =
            |error| Problem::new(ProblemKind::InvalidDocument, format!("the body cannot be received: {error}"));
        let Some(piece) = piece.transpose().map_err(broken)? else { return Ok(None) };
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        Ok(Some(piece))
    }
}

//! Bytes that come in: checked, measured and hashed while they come, and on the disk before anybody speaks of them.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use twinway_protocol::{
    Problem, ProblemKind, UserId,
    spatial::{MAGIC_BYTES, MediaType, ObservationId},
};

use super::{Observations, Shared, Unfinished, failed};

/// How many pieces wait for the disk.
const PIECES_WAITING_MAX: usize = 2;

/// Bytes that are kept, whoever names them, as long as this lives: whoever is to name them is told meanwhile.
pub(crate) struct Received {
    shared: Arc<Shared>,
    /// The SHA-256 of the bytes.
    pub(crate) id: ObservationId,
    /// How many there are.
    pub(crate) bytes: u64,
    is_settled: bool,
}

impl Received {
    /// It is not known whether somebody names them: they are kept until the next start, which knows.
    pub(crate) fn keep_until_restart(mut self) {
        self.is_settled = false;
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("id", &self.id).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.is_settled {
            return;
        }
        self.shared.names.lock().unpin(&self.id);
        Observations(Arc::clone(&self.shared)).collect_aside();
    }
}

/// An upload of a user, of whom only so many may be under way.
struct Uploading {
    shared: Arc<Shared>,
    user: UserId,
}

impl Uploading {
    fn begin(shared: &Arc<Shared>, user: &UserId) -> Result<Self, Problem> {
        let limits = shared.limits;
        let mut uploading = shared.uploading.lock();
        let full = |limit, max| Problem::new(ProblemKind::Overloaded, format!("`{limit}` of observations is {max}"));
        if uploading.values().sum::<usize>() >= limits.uploads_max {
            return Err(full("uploads_max", limits.uploads_max));
        }
        let own = uploading.entry(user.clone()).or_default();
        if *own >= limits.user_uploads_max {
            return Err(full("user_uploads_max", limits.user_uploads_max));
        }
        *own += 1;
        Ok(Self { shared: Arc::clone(shared), user: user.clone() })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        let mut uploading = self.shared.uploading.lock();
        if let Some(own) = uploading.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                uploading.remove(&self.user);
            }
        }
    }
}

/// What the thread that writes is handed.
enum Piece {
    Bytes(Bytes),
    End,
}

impl Observations {
    /// Takes bytes in that `user` sends. They are durable when it answers.
    ///
    /// # Errors
    /// Bytes that are not what they are said to be, no room, too many uploads, what the stream says, or what failed.
    /// Nothing is kept then.
    pub(crate) async fn receive(
        &self,
        user: &UserId,
        media_type: MediaType,
        bytes: impl Stream<Item = Result<Bytes, Problem>>,
    ) -> Result<Received, Problem> {
        let place = Uploading::begin(&self.0, user)?;
        let (pieces, coming) = mpsc::channel(PIECES_WAITING_MAX);
        let (done, answer) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        let begun = std::thread::Builder::new().name("observations".to_owned()).spawn(move || {
            let received = write(&shared, media_type, coming).transpose();
            // Its place is taken until the last byte of it is gone from the disk, or kept; who is answered has it back.
            drop(place);
            if let Some(received) = received {
                // Who sent it may have gone: then nobody will name it.
                let _gone = done.send(received);
            }
        });
        begun.map_err(failed)?;
        let mut bytes = pin!(bytes);
        while let Some(piece) = bytes.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(problem) => {
                    // The thread gives up what is not at its end. Nothing of it is left when this answers.
                    drop(pieces);
                    let _ended = answer.await;
                    return Err(problem);
                }
            };
            if pieces.send(Piece::Bytes(piece)).await.is_err() {
                return answer.await.map_err(failed)?;
            }
        }
        // Whoever does not take the end has said why.
        let _refused = pieces.send(Piece::End).await;
        answer.await.map_err(failed)?
    }
}

/// Writes what comes; nothing, if it does not come to its end.
fn write(
    shared: &Arc<Shared>,
    media_type: MediaType,
    mut coming: mpsc::Receiver<Piece>,
) -> Result<Option<Received>, Problem> {
    let mut unfinished: Box<dyn Unfinished> = shared.store.begin()?;
    let (mut digest, mut bytes, mut beginning) = (Sha256::new(), 0_u64, Vec::with_capacity(MAGIC_BYTES));
    loop {
        match coming.blocking_recv() {
            None => return Ok(None),
            Some(Piece::Bytes(piece)) => {
                if beginning.len() < MAGIC_BYTES {
                    beginning.extend(piece.iter().take(MAGIC_BYTES - beginning.len()));
                    // As soon as its beginning is there: what is something else is not taken to its end.
                    if beginning.len() == MAGIC_BYTES {
                        media_type.check(&beginning)?;
                    }
                }
                digest.update(&piece);
                bytes += piece.len() as u64;
                unfinished.write(&piece)?;
            }
            Some(Piece::End) => break,
        }
    }
    media_type.check(&beginning)?;
    let id = ObservationId::of_digest(digest.finalize().into());
    shared.names.lock().pin(&id);
    // From here on dropping it takes the bytes away, unless somebody names them.
    let received = Received { shared: Arc::clone(shared), id, bytes, is_settled: true };
    let _moving = shared.moving.lock();
    unfinished.finish(&received.id)?;
    Ok(Some(received))
}

//! What goes out of a session. A client that sends arrays gets arrays: all that is ready goes out in one frame, and so in one
//! write.

use std::time::Duration;

use actix_ws::{CloseCode, CloseReason};
use tokio::time::timeout;

/// A frame of several is sent when it has so many bytes, also when more is ready.
const FRAME_BYTES: usize = 64 * 1024;

/// How much room a frame gets at least, in bytes.
const ROOM_BYTES: usize = 512;

/// Why a session ends.
pub(super) type End = Option<CloseReason>;

pub(super) fn end(code: CloseCode, why: &str) -> End {
    Some(CloseReason { code, description: Some(why.to_owned()) })
}

/// The frames of one session on their way out.
pub(super) struct Frames {
    socket: actix_ws::Session,
    /// How long a client may take to read one.
    silence: Duration,
    arrays: bool,
    /// The beginning of an array that is to go out.
    text: String,
    /// How much room the next one gets, in bytes: about what the last ones needed.
    room: usize,
}

impl Frames {
    pub(super) fn new(socket: actix_ws::Session, silence: Duration) -> Self {
        Self { socket, silence, arrays: false, text: String::new(), room: ROOM_BYTES }
    }

    /// From now on the client gets arrays.
    pub(super) const fn use_arrays(&mut self) {
        self.arrays = true;
    }

    /// Whether the client gets arrays.
    pub(super) const fn are_arrays(&self) -> bool {
        self.arrays
    }

    /// Adds what `write` writes. It goes out now, or in an array with what else is added before [`Frames::flush`].
    pub(super) async fn add(
        &mut self,
        write: impl FnOnce(&mut String) -> Result<(), serde_json::Error>,
    ) -> Result<(), End> {
        if !self.arrays {
            let mut text = String::new();
            write(&mut text).map_err(|error| end(CloseCode::Error, &error.to_string()))?;
            return self.send(text).await;
        }
        if self.text.is_empty() {
            self.text.reserve(self.room);
        }
        self.text.push(if self.text.is_empty() { '[' } else { ',' });
        write(&mut self.text).map_err(|error| end(CloseCode::Error, &error.to_string()))?;
        if self.text.len() >= FRAME_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends what was added.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.text.push(']');
        self.room = self.text.len().max(self.room / 2).max(ROOM_BYTES);
        let text = std::mem::take(&mut self.text);
        self.send(text).await
    }

    /// Sends a frame. A client that does not read is closed: its socket and its buffer are full by then.
    async fn send(&mut self, text: String) -> Result<(), End> {
        match timeout(self.silence, self.socket.text(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => Err(end(CloseCode::Policy, "the client does not read")),
        }
    }

    pub(super) async fn ping(&mut self) -> Result<(), End> {
        match timeout(self.silence, self.socket.ping(b"")).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(None),
        }
    }

    pub(super) async fn pong(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.socket.pong(bytes).await.map_err(|_| None)
    }

    /// Closes the socket. Whether the client still hears why is its own affair.
    pub(super) async fn close(self, why: End) {
        let _ = timeout(self.silence, self.socket.close(why)).await;
    }
}

//! What is recorded.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use twinway::protocol::lease::Token;

use crate::plant::now_ms;

/// What a client does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Asks for an object; `again` if this request was sent before.
    Acquire {
        priority: u8,
        ttl_ms: u64,
        wait_ms: u64,
        again: bool,
    },
    Renew {
        token: Token,
        ttl_ms: u64,
    },
    Release {
        token: Token,
    },
    /// Sets the device's speed to the operation's number.
    Change {
        token: Option<Token>,
    },
    /// Looks who has it.
    Look,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Granted {
        token: Token,
    },
    Done,
    Refused {
        slug: String,
    },
    /// Nobody knows.
    Lost,
    /// Who has it, if anybody, with which priority and token.
    Seen {
        holder: Option<(String, u8)>,
        token: Option<Token>,
    },
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Sent {
        op: u64,
        user: String,
        twin: String,
        act: Act,
    },
    Answered {
        op: u64,
        outcome: Outcome,
    },
    /// A device heard something: the plant's line with this place.
    Heard {
        place: u64,
    },
    /// The daemon is about to be killed.
    Killed,
    /// There is no daemon any more.
    Gone,
    /// The daemon runs again, and clients reach it from now on.
    Started,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    pub(crate) event: Event,
}

/// Appends to the file that all processes share.
pub(crate) struct Recorder {
    file: File,
    path: PathBuf,
    places: AtomicU64,
}

impl Recorder {
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path).expect("there is room");
        Self { file, path: path.to_path_buf(), places: AtomicU64::new(0) }
    }

    /// One write a line: the system appends each as a whole, in the order of the calls.
    pub(crate) fn note(&self, event: Event) {
        let mut line = serde_json::to_string(&Moment { at_ms: now_ms(), event }).expect("it can be written");
        line.push('\n');
        (&self.file).write_all(line.as_bytes()).expect("there is room");
    }

    /// The next place of a device's line, which is noted.
    pub(crate) fn heard(&self) -> u64 {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Heard { place });
        place
    }

    pub(crate) fn read(&self) -> Vec<Moment> {
        let text = std::fs::read_to_string(&self.path).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("it is a moment")).collect()
    }
}

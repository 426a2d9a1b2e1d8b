//! What can be wrong with a flow file, and where.

use std::{fmt, io};

/// Why a flow file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FlowFileError {
    /// It cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What stood in the way.
        error: io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Wrong(Place),
}

/// A place in a file, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl FlowFileError {
    /// A mistake at the byte `at` of `bytes`.
    pub(super) fn at(file: &str, bytes: &[u8], at: usize, message: impl Into<String>) -> Self {
        let before = bytes.get(..at.min(bytes.len())).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        Self::Wrong(Place { file: file.to_owned(), line, column, message: message.into() })
    }
}

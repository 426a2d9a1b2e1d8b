//! What can be wrong with a world file, and where.

/// Why a scenario was refused: `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl ScenarioError {
    /// The file itself cannot be read.
    pub(super) fn unreadable(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, message }
    }

    /// A mistake at the byte `at` of `bytes`.
    pub(super) fn at(file: &str, bytes: &[u8], at: usize, message: String) -> Self {
        let before = bytes.get(..at.min(bytes.len())).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        Self { file: file.to_owned(), line, column: String::from_utf8_lossy(last).chars().count() + 1, message }
    }
}

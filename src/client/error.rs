//! What can go wrong for a client.

use std::error::Error as _;

use super::ProblemDocument;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The daemon refused it, and says why.
    #[error("{0}")]
    Problem(Box<ProblemDocument>),
    /// There is no daemon at the address, or the connection to it broke.
    #[error("the daemon cannot be reached: {0}")]
    Unreachable(String),
    /// The answer did not come in time. The request may have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// What came is not what this interface answers with, or the request cannot be written.
    #[error("this is not the interface of a Twinway daemon: {0}")]
    Protocol(String),
}

impl ClientError {
    /// The kind of the daemon's problem, if it is one that this build knows.
    #[must_use]
    pub fn kind(&self) -> Option<twinway_protocol::ProblemKind> {
        match self {
            Self::Problem(problem) => problem.kind(),
            _ => None,
        }
    }

    /// Whether it would be refused again for the same token: waiting does not help.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Problem(problem) => (400..500).contains(&problem.status) && problem.status != 429,
            Self::Unreachable(_) | Self::Timeout => false,
            Self::Protocol(_) => true,
        }
    }

    /// The error as a problem document, so that tools that read one read all.
    #[must_use]
    pub fn to_document(&self) -> ProblemDocument {
        let (title, status, detail) = match self {
            Self::Problem(problem) => return (**problem).clone(),
            Self::Unreachable(why) => ("The daemon cannot be reached", 503, why.as_str()),
            Self::Timeout => ("The daemon did not answer in time", 504, "the request may have been carried out"),
            Self::Protocol(why) => ("This is not the interface of a Twinway daemon", 502, why.as_str()),
        };
        ProblemDocument::blank(status, title, detail)
    }
}

/// An error with all that led to it: reqwest says `error sending request` and keeps the reason in its sources.
fn with_sources(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        // A connection that does not come about in time is both: nobody is there.
        if error.is_timeout() && !error.is_connect() {
            Self::Timeout
        } else if error.is_builder() || error.is_redirect() {
            Self::Protocol(with_sources(&error))
        } else {
            Self::Unreachable(with_sources(&error))
        }
    }
}

//! What the director and a party's process say to each other: a line of JSON each.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twinway_scenarios::scenario::Variables;

/// The director tells a party that it is its turn. The party has the scenario too, and knows what the act is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The act, by its place in the scenario.
    pub act: usize,
    /// How long the party waits before it begins, in milliseconds: what is done at once begins in the seed's order.
    pub after_ms: u64,
    /// What is known so far.
    pub variables: Variables,
}

/// What a party tells the director.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// It is there, and can be reached if it opens a session.
    Ready,
    /// An act is done.
    Done(Box<Done>),
    /// It was asked something, and this is what it said.
    Asked {
        /// The type of request.
        kind: String,
        /// What it said, in short.
        said: String,
    },
    /// It cannot go on.
    Failed(String),
}

/// What came of an act.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// The act, by its place in the scenario.
    pub act: usize,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What can be spoken of afterwards: `status`, `statuses`, `body` and `headers` of a call, `event` of a wait, `heard`
    /// of a look back.
    pub variables: Variables,
    /// Why it could not be done at all.
    pub error: Option<String>,
}

impl Done {
    /// What the variable `name` is.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.get(name)
    }
}

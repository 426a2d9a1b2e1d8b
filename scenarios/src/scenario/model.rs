//! What a scenario is, once it is read and sound.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use twinway_actors::expression::Expression;
use twinway_protocol::flow::Flow;

use super::Fill;

/// A use case: who takes part, and what is done in which order.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, such as `7.2.1`.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Where it stands in the texts.
    pub clause: String,
    /// The flow that its trace is judged by, besides FGMV-29 9.1 and 9.2.
    pub flow: Arc<Flow>,
    /// The clauses of the texts that it answers if it holds, besides the steps that are taken.
    pub answers: Vec<String>,
    /// Values by name, for expressions.
    pub values: BTreeMap<String, Value>,
    /// What the daemon's configuration says besides what every run needs: its tables, as JSON.
    pub settings: Value,
    /// Who takes part.
    pub parties: Vec<Party>,
    /// What is done, in this order.
    pub acts: Vec<Act>,
    /// The unhappy paths, and other ways in which it can go.
    pub variants: Vec<Variant>,
}

/// Another way in which a scenario can go.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name, such as `refused`.
    pub name: String,
    /// What is different.
    pub title: String,
    /// Values that take the place of the scenario's.
    pub values: BTreeMap<String, Value>,
    /// What parties answer instead, by the party's name.
    pub answers: Vec<(String, Answer)>,
    /// Acts in the place of those with the same name.
    pub acts: Vec<Act>,
    /// The name of the last act that is done; absent: all are.
    pub until: Option<String>,
}

/// What kind of external system a party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A metaverse system.
    Metaverse,
    /// A digital twin system.
    DigitalTwin,
    /// A third-party system.
    ThirdParty,
    /// A user's device.
    UserDevice,
}

/// Who takes part: a process with a token of its own.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its name: the id of its token, of a device its user.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is, for people.
    pub title: String,
    /// Whether it opens a session, so that it can be asked.
    pub session: bool,
    /// What it answers; the first that fits.
    pub answers: Vec<Answer>,
}

/// What a party answers when it is asked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The type of request: `describeTwins`, `applyChange`, …
    pub to: String,
    /// When this answer fits; absent: always. `request` is what is asked.
    pub when: Option<Expression>,
    /// What it says.
    pub reply: Reply,
    /// What the party remembers afterwards, by name.
    pub remember: BTreeMap<String, Fill>,
}

/// What a party says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This.
    With(Fill),
    /// That it failed, and why.
    Failed(Fill),
    /// Nothing at all.
    Silent,
}

/// One thing that a party does.
#[derive(Clone, Debug)]
pub struct Act {
    /// Its line in the file.
    pub line: usize,
    /// Its name, for variants; may be empty.
    pub name: String,
    /// Who does it.
    pub by: String,
    /// The step of the flow that it is; absent: it prepares.
    pub step: Option<String>,
    /// Whom it reaches, for people; empty: nobody.
    pub to: String,
    /// What is done, for people.
    pub says: Fill,
    /// It is done at the same time as the acts beside it that say the same.
    pub together: Option<String>,
    /// What is done.
    pub deed: Deed,
    /// What must hold afterwards.
    pub expect: Option<Expression>,
    /// What is remembered for later acts, by name.
    pub keep: BTreeMap<String, Expression>,
}

/// What an act does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Uses a route of the daemon. Afterwards `status`, `body` and `headers` can be spoken of.
    Call(Box<Call>),
    /// Waits for an event. Afterwards `event` can be spoken of.
    Hear(Box<Hear>),
    /// Changes what the party remembers, which its answers speak of.
    Remember(BTreeMap<String, Fill>),
    /// The party's connections break, and it is not reached until it is `back`.
    Away,
    /// The party is there again.
    Back,
    /// Nothing that a daemon sees: it only thinks.
    Think,
}

/// The use of a route.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path with its query.
    pub path: Fill,
    /// Headers besides the usual ones.
    pub headers: BTreeMap<String, Fill>,
    /// The body.
    pub body: Option<Fill>,
    /// The body, byte for byte, in the place of `body`.
    pub bytes: Option<Arc<[u8]>>,
}

/// The wait for an event.
#[derive(Clone, Debug)]
pub struct Hear {
    /// The type of event; `*` at the end stands for anything.
    pub event: String,
    /// Which of them; absent: the first.
    pub that: Option<Expression>,
    /// For how long, in milliseconds.
    pub within_ms: u64,
}

impl Scenario {
    /// The same scenario as `variant` has it; without a name it is as it is.
    ///
    /// # Errors
    /// There is no variant of this name.
    pub fn varied(&self, variant: Option<&str>) -> Result<Self, String> {
        let Some(name) = variant else { return Ok(self.clone()) };
        let Some(variant) = self.variants.iter().find(|variant| variant.name == name) else {
            let known: Vec<&str> = self.variants.iter().map(|variant| variant.name.as_str()).collect();
            return Err(format!("`{}` has no variant `{name}`; known are: {}", self.name, known.join(", ")));
        };
        let mut varied = self.clone();
        varied.values.extend(variant.values.clone());
        for (party, answer) in variant.answers.iter().rev() {
            for party in varied.parties.iter_mut().filter(|known| known.name == *party) {
                party.answers.insert(0, answer.clone());
            }
        }
        for act in &variant.acts {
            for other in varied.acts.iter_mut().filter(|known| known.name == act.name) {
                *other = act.clone();
            }
        }
        if let Some(last) = &variant.until
            && let Some(at) = varied.acts.iter().position(|act| act.name == *last)
        {
            varied.acts.truncate(at + 1);
        }
        Ok(varied)
    }

    /// The party of this name.
    #[must_use]
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.name == name)
    }
}

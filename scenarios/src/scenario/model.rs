//! What a scenario is, once it is read and sound.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use twinway_actors::expression::Expression;
use twinway_protocol::flow::Flow;

use super::{Fill, vary};

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
    pub clauses: Vec<String>,
    /// Values by name, for expressions.
    pub values: BTreeMap<String, Value>,
    /// What is left to chance: by name, the values that the seed draws one of.
    pub chance: BTreeMap<String, Vec<Value>>,
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
    /// The clauses of the texts that it answers if it holds, besides the steps that are taken.
    pub clauses: Vec<String>,
    /// Values that take the place of the scenario's.
    pub values: BTreeMap<String, Value>,
    /// What parties answer instead, by the party's name.
    pub answers: Vec<(String, Answer)>,
    /// Acts of its own, each with its place.
    pub acts: Vec<(Place, Act)>,
    /// The names of acts that are not done.
    pub without: Vec<String>,
    /// The name of the last act that is done; absent: all are.
    pub until: Option<String>,
}

/// Where an act of a variant stands among those of the scenario, which it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the place of this one.
    Of(String),
    /// Before this one.
    Before(String),
    /// After this one, and after what else was put there.
    After(String),
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
    /// How long it takes to say so, in milliseconds.
    pub after_ms: u64,
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
    /// Nothing: its connections break, and it is not reached until it is back.
    Cut,
}

/// One thing that a party does.
#[derive(Clone, Debug)]
pub struct Act {
    /// Its line in the file.
    pub line: usize,
    /// Its name, for variants; may be empty.
    pub name: String,
    /// Who does it: the name of a party, which may only be known when it is done.
    pub by: Fill,
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
    /// Looks back at everything that the party has heard until now. Afterwards `heard` can be spoken of.
    Recall,
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
    /// What the answer must be, byte for byte.
    pub download: Option<Arc<[u8]>>,
    /// How often it is done; each time `n` is one more, from 1.
    pub times: u32,
    /// How long after one time the next begins, in milliseconds.
    pub every_ms: u64,
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
    /// The same scenario as `variant` has it, with what `seed` draws; without a name it is the scenario itself.
    ///
    /// # Errors
    /// There is no variant of this name.
    pub fn varied(&self, variant: Option<&str>, seed: u64) -> Result<Self, String> {
        vary::varied(self, variant, seed)
    }

    /// The variant of this name.
    #[must_use]
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The party of this name.
    #[must_use]
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.name == name)
    }
}

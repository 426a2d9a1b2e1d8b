//! The demo world: a digital twin system, a third-party system and a metaverse system that talk to a daemon
//! through its public sockets only. They run both procedures of FGMV-29 clause 9 once and tell every step, then
//! keep living until they are stopped.

mod advisor;
mod home;
mod plaza;
mod story;
mod things;

use std::time::Duration;

use tokio::sync::watch;
use twinway_protocol::{NameError, Problem, ProblemKind, SystemId, TwinId, UserId};

use crate::client::{Client, ClientError, Closing};
use advisor::Advisor;
use home::Home;
use plaza::Plaza;
use story::Story;

/// The id of the digital twin system.
pub const HOME: &str = "home";
/// The id of the third-party system.
pub const ADVISOR: &str = "lighting-advisor";
/// The id of the metaverse system.
pub const PLAZA: &str = "plaza";
/// The twins of the digital twin system: a lamp, a door and a robot arm.
pub const TWINS: [&str; 3] = [LAMP, DOOR, ARM];
/// A user who may: the systems of the demo grant what this one asks for.
pub const USER: &str = "ana";

const LAMP: &str = "lamp";
const DOOR: &str = "door";
const ARM: &str = "arm";
/// A user who may not, for the rejecting branches.
const GUEST: &str = "guest";
/// The time between two changes of the living world.
const TICK: Duration = Duration::from_secs(1);

/// With which tokens the three systems speak. Each must be one of the system's id: [`HOME`], [`ADVISOR`], [`PLAZA`].
#[derive(Clone)]
pub struct DemoTokens {
    /// A token of the twin system [`HOME`].
    pub home: String,
    /// A token of the third-party system [`ADVISOR`].
    pub advisor: String,
    /// A token of the metaverse system [`PLAZA`].
    pub plaza: String,
}

impl std::fmt::Debug for DemoTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DemoTokens")
    }
}

/// Why the demo world ended by itself.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DemoError {
    /// The daemon refused something, or was not there, during the procedures.
    #[error("{what}: {error}")]
    Client {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        error: ClientError,
    },
    /// The session of a system ended for good.
    #[error("the session of `{system}` is over: {why:?}")]
    Session {
        /// Whose.
        system: &'static str,
        /// Why.
        why: Closing,
    },
    /// The daemon answered, and not as the procedures say.
    #[error("{0}")]
    Unexpected(String),
}

impl From<NameError> for DemoError {
    fn from(error: NameError) -> Self {
        Self::Unexpected(format!("the demo has a name that is none: {error}"))
    }
}

/// Says what was tried when a request fails.
trait Trying<T> {
    fn trying(self, what: &'static str) -> Result<T, DemoError>;
}

impl<T> Trying<T> for Result<T, ClientError> {
    fn trying(self, what: &'static str) -> Result<T, DemoError> {
        self.map_err(|error| DemoError::Client { what, error })
    }
}

/// Runs the demo world against the daemon at `base_url` until `stop` becomes true or its sender is gone. `out` gets
/// every line that the world tells, without line feed.
///
/// # Errors
/// What stood in the way of the procedures; afterwards only what cannot be mended: a token that is refused, or
/// another that takes a system's session over.
pub async fn run(
    base_url: String,
    tokens: DemoTokens,
    out: impl FnMut(String) + Send + 'static,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DemoError> {
    let story = Story::new(out);
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        done = live(&base_url, tokens, &story) => done,
    }
}

/// The whole world is one task, so that it ends at one point, whichever part ends it.
async fn live(base_url: &str, tokens: DemoTokens, story: &Story) -> Result<(), DemoError> {
    let home = Home::new(Client::new(base_url, tokens.home), story)?;
    let advisor = Advisor::new(Client::new(base_url, tokens.advisor), story)?;
    let mut plaza = Plaza::new(Client::new(base_url, tokens.plaza), story)?;
    // Sessions before registrations: whoever finds a system can use it.
    let mut home_session = home.open().await?;
    let mut advisor_session = advisor.open().await?;
    let main = async {
        plaza.listen().await?;
        story.begin("FGMV-29 9.2  integrating a digital twin system");
        home.register().await?;
        plaza.integrate_twins(&home).await?;
        plaza.be_rejected_changing_a_twin().await?;
        story.begin("FGMV-29 9.1  integrating a third-party system");
        advisor.register().await?;
        plaza.integrate_third_party().await?;
        plaza.be_rejected_using_a_third_party().await?;
        story.begin("Both procedures are done. The home lives on; Ctrl-C ends it.");
        story.say("The seven use cases of FGMV-28, in turn, a line a step: twinway scenario run --demo");
        tokio::try_join!(home.live(), plaza.watch()).map(|_| ())
    };
    tokio::select! {
        done = main => done,
        why = home.answer(&mut home_session) => Err(DemoError::Session { system: HOME, why }),
        why = advisor.answer(&mut advisor_session) => Err(DemoError::Session { system: ADVISOR, why }),
    }
}

fn twin(id: &str) -> Result<TwinId, NameError> {
    TwinId::new(id)
}

fn system(id: &str) -> Result<SystemId, NameError> {
    SystemId::new(id)
}

fn user(id: &str) -> Result<UserId, NameError> {
    UserId::new(id)
}

/// The JSON document of a value.
fn document(value: &serde_json::Value) -> twinway_protocol::JsonDoc {
    // A `Value` is always written: its keys are text.
    twinway_protocol::JsonDoc::from_value(value).unwrap_or_else(|_| twinway_protocol::JsonDoc::null())
}

/// Whether to wait and go on: the daemon is not there, or takes nothing now.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) | ClientError::Timeout => true,
        ClientError::Problem(problem) => problem.status >= 500 || problem.status == 429,
        ClientError::Protocol(_) => false,
    }
}

/// The rejection that the procedures foresee, or what came instead.
fn rejection<T: std::fmt::Debug>(answer: Result<T, ClientError>, what: &'static str) -> Result<ProblemKind, DemoError> {
    match answer {
        Ok(answer) => Err(DemoError::Unexpected(format!("{what} was not rejected, but answered with {answer:?}"))),
        Err(error) => match error.kind() {
            Some(kind) if Problem::new(kind, "").is_rejection() => Ok(kind),
            _ => Err(DemoError::Client { what, error }),
        },
    }
}

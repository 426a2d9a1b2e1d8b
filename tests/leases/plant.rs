//! A digital twin system with devices that record everything that they are sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use twinway::{
    client::{Client, Incoming, Session},
    outside::SystemKind,
    protocol::{
        lease::{Fencing, Token},
        message::{
            ApplyChange, ChangeApplied, DeviceFenced, FenceDevice, ForwardTwinPropertiesRequest, OutsideAnswer,
            OutsideRequest, PropertyValues, TwinGrant, TwinPropertiesAndPermission,
        },
    },
};

use super::daemon::WAIT_MAX;

/// The system's name.
pub(crate) const PLANT: &str = "plant";
/// What every device has: how fast it moves. At 0 it is at rest.
pub(crate) const SPEED: &str = "speed";

/// A twin of the plant.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub(crate) twin: String,
    /// The end of its object's address; none: it stands for no object.
    object: Option<String>,
    pub(crate) synchronization: Value,
}

impl Thing {
    /// A twin of an object of its own, which is brought to a safe stop. Users whose names begin with a role have its priority:
    /// `chief` 9, `worker` 5, `guest` 1; everybody else 3.
    pub(crate) fn new(twin: &str) -> Self {
        let rule = |(role, priority): (&str, u8)| json!({ "role": role, "priority": priority });
        let rules = [("chief", 9), ("worker", 5), ("guest", 1)].map(rule);
        let synchronization = json!({
            "priorities": rules,
            "defaultPriority": 3,
            "safeStop": { SPEED: 0 },
        });
        Self { twin: twin.to_owned(), object: Some(twin.to_owned()), synchronization }
    }

    /// Says something else of its synchronization.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.synchronization[name] = value.into();
        self
    }

    /// Another twin of the object of `other`.
    pub(crate) fn also(twin: &str, other: &Self) -> Self {
        Self { twin: twin.to_owned(), ..other.clone() }
    }

    pub(crate) fn without_object(twin: &str) -> Self {
        Self { object: None, ..Self::new(twin) }
    }

    pub(crate) fn fencing(&self) -> Fencing {
        let said = self.synchronization.get("fencing").cloned();
        said.map_or(Fencing::default(), |said| serde_json::from_value(said).expect("it is a way to fence"))
    }

    fn entry(&self) -> Value {
        let mut entry = json!({
            "id": self.twin,
            "description": {
                "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": self.twin,
                "securityDefinitions": { "none": { "scheme": "nosec" } }, "security": "none",
                "properties": { SPEED: { "type": "number", "forms": [{ "href": "/speed" }] } },
            },
        });
        if let Some(object) = &self.object {
            entry["physicalObject"] = format!("urn:plant:{object}").into();
            entry["characteristics"] = json!({ "synchronization": self.synchronization });
        }
        entry
    }
}

/// What the plant registers.
pub(crate) fn description(things: &[Thing]) -> Value {
    let twins: Vec<_> = things.iter().map(Thing::entry).collect();
    json!({ "id": PLANT, "type": "plant", "title": "A plant", "twins": twins })
}

/// Something that a device was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// A command (FGMV-29 9.2 step 17).
    Command(Command),
    /// Lower tokens are to be refused from now on (FGMV-28 7.1.3 step 8).
    Fence(Token),
}

/// A command, and what the device made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) user: String,
    pub(crate) token: Option<Token>,
    pub(crate) not_after_ms: Option<u64>,
    pub(crate) stop: bool,
    pub(crate) speed: u64,
    /// Whether the device acted on it: one that checks tokens or times refuses what is too old.
    pub(crate) acted: bool,
}

/// One line of what was heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// The place among everything that is recorded.
    pub(crate) place: u64,
    pub(crate) at_ms: u64,
    pub(crate) twin: String,
    pub(crate) heard: Heard,
}

impl Line {
    pub(crate) fn command(&self) -> Option<&Command> {
        if let Heard::Command(command) = &self.heard { Some(command) } else { None }
    }
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// By twin, the highest token that its device was ever sent.
    seen: BTreeMap<String, Token>,
    silent: bool,
    /// How many commands are not answered yet, and how many were at most.
    unanswered: usize,
    unanswered_max: usize,
}

/// The devices: they outlast every life of the daemon and every session.
#[derive(Clone)]
pub(crate) struct Plant {
    things: Arc<BTreeMap<String, Thing>>,
    state: Arc<Mutex<State>>,
    /// Counts what was heard, and changes of silence.
    heard: Arc<watch::Sender<u64>>,
    /// Gives lines their places.
    next_place: Arc<dyn Fn() -> u64 + Send + Sync>,
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis() as u64
}

impl Plant {
    pub(crate) fn new(things: &[Thing]) -> Self {
        let places = Mutex::new(0);
        Self::placed(things, move || {
            let mut place = places.lock();
            *place += 1;
            *place
        })
    }

    /// A plant whose lines have places among others.
    pub(crate) fn placed(things: &[Thing], next_place: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let things = things.iter().map(|thing| (thing.twin.clone(), thing.clone())).collect();
        let heard = Arc::new(watch::Sender::new(0));
        Self { things: Arc::new(things), state: Arc::default(), heard, next_place: Arc::new(next_place) }
    }

    /// Opens the plant's session and answers for as long as it stands.
    pub(crate) async fn open(&self, client: &Client) -> JoinHandle<()> {
        let session = client.session(SystemKind::DigitalTwin).await.expect("the daemon opens it");
        tokio::spawn(self.clone().run(session))
    }

    /// Answers in a session until it is over. While the plant is silent, commands and fences lie about.
    pub(crate) async fn run(self, mut session: Session) {
        let (mut heard, mut lying) = (self.heard.subscribe(), VecDeque::new());
        loop {
            let incoming = tokio::select! {
                incoming = session.next() => Some(incoming),
                changed = heard.changed(), if !lying.is_empty() => changed.map(|()| None).expect("it is kept"),
            };
            match incoming {
                Some(Incoming::Request { id, body }) => {
                    let urgent = matches!(*body, OutsideRequest::DescribeTwins(_));
                    let answer = self.answer(*body);
                    if urgent { self.send(&mut session, &id, &answer).await } else { lying.push_back((id, answer)) }
                }
                Some(Incoming::Closed(_)) => {
                    self.state.lock().unanswered -= lying.len();
                    return;
                }
                Some(_) | None => {}
            }
            while !self.state.lock().silent
                && let Some((id, answer)) = lying.pop_front()
            {
                self.state.lock().unanswered -= 1;
                self.send(&mut session, &id, &answer).await;
            }
        }
    }

    async fn send(&self, session: &mut Session, id: &str, answer: &OutsideAnswer) {
        // A session that breaks is seen by the next read.
        let _ = session.answer(id, answer).await;
    }

    fn answer(&self, request: OutsideRequest) -> OutsideAnswer {
        match request {
            OutsideRequest::DescribeTwins(request) => OutsideAnswer::DescribeTwins(permit(&request)),
            OutsideRequest::ApplyChange(change) => self.apply(&change),
            OutsideRequest::FenceDevice(FenceDevice { twin, token, .. }) => {
                let mut state = self.state.lock();
                state.began();
                let seen = state.saw(twin.as_str(), token);
                self.note(&mut state, now_ms(), twin.as_str(), Heard::Fence(token));
                OutsideAnswer::FenceDevice(DeviceFenced { seen: Some(seen) })
            }
            other => OutsideAnswer::Failed(format!("a plant does not do that: {other:?}")),
        }
    }

    fn apply(&self, change: &ApplyChange) -> OutsideAnswer {
        let twin = change.twin.as_str();
        let fencing = self.things.get(twin).map_or(Fencing::default(), Thing::fencing);
        let mut state = self.state.lock();
        state.began();
        let seen = state.saw(twin, change.token.unwrap_or_default());
        let stale = fencing == Fencing::Device && change.token.is_some_and(|token| token < seen);
        let not_after_ms = change.not_after.map(|at| at.unix_ms());
        // By one reading of the clock it acts and says when: whoever looks again later may be late itself.
        let at_ms = now_ms();
        let late = fencing == Fencing::Deadline && not_after_ms.is_some_and(|end_ms| at_ms > end_ms);
        let acted = change.stop || !(stale || late);
        let speed = change.values.get(SPEED).and_then(|value| value.read().ok()).unwrap_or_default();
        let command = Command {
            user: change.user.to_string(),
            token: change.token,
            not_after_ms,
            stop: change.stop,
            speed,
            acted,
        };
        self.note(&mut state, at_ms, twin, Heard::Command(command));
        if !acted {
            return OutsideAnswer::Failed("the device refuses it".to_owned());
        }
        let seen = Some(seen).filter(|seen| *seen != Token::NONE);
        OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*change.values).clone()), seen })
    }

    fn note(&self, state: &mut State, at_ms: u64, twin: &str, heard: Heard) {
        let place = (self.next_place)();
        state.lines.push(Line { place, at_ms, twin: twin.to_owned(), heard });
        self.heard.send_modify(|count| *count += 1);
    }

    /// While it is silent it acts, but does not answer.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.state.lock().silent = silent;
        self.heard.send_modify(|count| *count += 1);
    }

    /// Everything that the device of a twin was sent.
    pub(crate) fn lines_of(&self, twin: &str) -> Vec<Line> {
        self.state.lock().lines.iter().filter(|line| line.twin == twin).cloned().collect()
    }

    /// The commands that the device of a twin was sent.
    pub(crate) fn commands_of(&self, twin: &str) -> Vec<Command> {
        self.lines_of(twin).iter().filter_map(Line::command).cloned().collect()
    }

    /// How many commands and fences were unanswered at once at most.
    pub(crate) fn unanswered_max(&self) -> usize {
        self.state.lock().unanswered_max
    }

    /// Waits until the device of a twin was sent something.
    pub(crate) async fn until_heard(&self, twin: &str, wished: impl Fn(&[Command]) -> bool) -> Vec<Command> {
        let mut heard = self.heard.subscribe();
        let waiting = heard.wait_for(|_| wished(&self.commands_of(twin)));
        drop(tokio::time::timeout(WAIT_MAX, waiting).await.expect("it hears of it").expect("it is kept"));
        self.commands_of(twin)
    }
}

impl State {
    fn saw(&mut self, twin: &str, token: Token) -> Token {
        let seen = self.seen.entry(twin.to_owned()).or_default();
        *seen = token.max(*seen);
        *seen
    }

    fn began(&mut self) {
        self.unanswered += 1;
        self.unanswered_max = self.unanswered.max(self.unanswered_max);
    }
}

/// FGMV-29 9.2 step 10: everyone may everything, but guests stop nothing. What a user is, the name says.
fn permit(request: &ForwardTwinPropertiesRequest) -> TwinPropertiesAndPermission {
    let role = request.user.as_str().split('-').next().unwrap_or_default();
    let mut rights = (*request.rights).clone();
    if role == "guest" {
        rights.remove(&twinway::protocol::access::Right::Stop);
    }
    let grant = |twin: &_| TwinGrant {
        twin: Clone::clone(twin),
        properties: PropertyValues::new(),
        rights: rights.clone(),
        expires_at: None,
        role: Some(role.into()),
    };
    TwinPropertiesAndPermission { twins: request.twins.iter().map(grant).collect() }
}

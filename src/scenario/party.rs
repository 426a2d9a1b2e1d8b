//! A party's process: does what it is told when it is its turn, and answers what the daemon asks.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, Lines},
    sync::mpsc,
    time::Instant,
};
use twinway_protocol::message::{OutsideAnswer, OutsideRequest};
use twinway_scenarios::scenario::{Deed, Hear, Kind, Party, Scenario, Variables};

use super::{
    answering::{self, Answered, Said},
    exchange,
    order::{Done, Order, Told},
};
use crate::{
    client::{Client, Closing, CloudEvent, EventStream, Incoming, StandingSession, Told as Event},
    outside::{EventsFrom, SystemKind},
};

/// How many events a party keeps for acts that wait for them.
const EVENTS_KEPT: usize = 10_000;

/// Plays the party `name` of `scenario` until `input` ends.
///
/// # Errors
/// There is no such party, the daemon does not take it, or the director is gone.
pub async fn party(
    scenario: &Scenario,
    name: &str,
    client: Client,
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<(), String> {
    let party = scenario.party(name).ok_or_else(|| format!("there is no party `{name}` in {}", scenario.name))?;
    let (done, finished) = mpsc::unbounded_channel();
    let remembered = scenario.values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut process = Process {
        scenario,
        party,
        client,
        ear: Ear::Deaf,
        remembered,
        events: VecDeque::new(),
        heard: VecDeque::new(),
        heard_so_far: 0,
        waiting: Vec::new(),
        answering: Vec::new(),
        seen: None,
        done,
        output,
    };
    process.back().await?;
    process.tell(&Told::Ready).await?;
    process.live(input.lines(), finished).await
}

/// An act that waits for an event.
struct Waiting {
    act: usize,
    hear: Hear,
    since: Instant,
    variables: Variables,
}

/// An answer that takes its time.
struct Answering {
    at: Instant,
    id: String,
    answer: OutsideAnswer,
}

struct Process<'s, W> {
    scenario: &'s Scenario,
    party: &'s Party,
    client: Client,
    ear: Ear,
    /// What the party knows by itself, for its answers.
    remembered: Variables,
    /// What happened and was not waited for yet.
    events: VecDeque<Value>,
    /// Everything that happened, each with its number as `n`.
    heard: VecDeque<Value>,
    heard_so_far: u64,
    waiting: Vec<Waiting>,
    /// Answers that take their time.
    answering: Vec<Answering>,
    /// The last event that its device has seen, behind which it goes on.
    seen: Option<u64>,
    done: mpsc::UnboundedSender<Done>,
    output: W,
}

/// How a party hears of the daemon.
enum Ear {
    /// By its session, in which it is asked too.
    Session(StandingSession),
    /// By its events: a user's device is asked nothing.
    Events(EventStream),
    /// Not at all.
    Deaf,
}

/// What happens next to a party.
enum Next {
    Line(Option<String>),
    Incoming(Incoming),
    Done(Done),
    Late,
}

impl<W: AsyncWrite + Unpin> Process<'_, W> {
    async fn live<R: AsyncBufRead + Unpin>(
        &mut self,
        mut lines: Lines<R>,
        mut finished: mpsc::UnboundedReceiver<Done>,
    ) -> Result<(), String> {
        loop {
            let answers = self.answering.iter().map(|answering| answering.at);
            let deadline = self.waiting.iter().map(Waiting::deadline).chain(answers).min();
            let next = tokio::select! {
                line = lines.next_line() => Next::Line(line.map_err(|error| error.to_string())?),
                incoming = self.ear.next() => Next::Incoming(incoming),
                Some(done) = finished.recv() => Next::Done(done),
                () = at(deadline) => Next::Late,
            };
            match next {
                Next::Line(None) => return Ok(()),
                Next::Line(Some(line)) => {
                    let order = serde_json::from_str(&line).map_err(|error| format!("an order: {error}"))?;
                    self.obey(order).await?;
                }
                Next::Incoming(incoming) => self.take(incoming).await?,
                Next::Done(done) => self.tell(&Told::Done(Box::new(done))).await?,
                Next::Late => {
                    self.answer_late().await;
                    self.give_up().await?;
                }
            }
        }
    }

    async fn tell(&mut self, told: &Told) -> Result<(), String> {
        let mut line = serde_json::to_vec(told).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let written = async {
            self.output.write_all(&line).await?;
            self.output.flush().await
        };
        written.await.map_err(|error| format!("the director is gone: {error}"))
    }

    /// It is this party's turn.
    async fn obey(&mut self, Order { act, after_ms, variables }: Order) -> Result<(), String> {
        let Some(deed) = self.scenario.acts.get(act).map(|act| &act.deed) else {
            return Err(format!("there is no act {act}"));
        };
        let since = Instant::now();
        let error = match deed {
            Deed::Call(call) => {
                let (client, call, done) = (self.client.clone(), (**call).clone(), self.done.clone());
                // The daemon may ask this very party before it answers.
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    let since = Instant::now();
                    let answered = exchange::calls(&client, &call, &variables).await;
                    let ms = elapsed_ms(since);
                    let (variables, error) = match answered {
                        Ok(variables) => (variables, None),
                        Err(error) => (Variables::new(), Some(error)),
                    };
                    // Without a director nobody waits for it.
                    let _ = done.send(Done { act, ms, variables, error });
                });
                return Ok(());
            }
            Deed::Hear(hear) => {
                self.waiting.push(Waiting { act, hear: (**hear).clone(), since, variables });
                return self.look_back().await;
            }
            Deed::Remember(values) => values.iter().find_map(|(name, value)| match value.fill(&variables) {
                Ok(value) => {
                    self.remembered.insert(name.clone(), value);
                    None
                }
                Err(error) => Some(error),
            }),
            Deed::Recall => {
                let heard = Value::Array(self.heard.iter().cloned().collect());
                let variables = Variables::from_iter([("heard".to_owned(), heard)]);
                return self.tell(&Told::Done(Box::new(Done { act, ms: 0, variables, error: None }))).await;
            }
            Deed::Away => {
                self.ear = Ear::Deaf;
                None
            }
            Deed::Back => self.back().await.err(),
            Deed::Think => None,
        };
        self.tell(&Told::Done(Box::new(Done { act, ms: elapsed_ms(since), variables: Variables::new(), error }))).await
    }

    async fn back(&mut self) -> Result<(), String> {
        let kind = kind(self.party.kind);
        // A device that comes back hears what it missed, also if it has heard nothing before.
        let from = self.seen.map_or(EventsFrom::Now, EventsFrom::After);
        self.seen.get_or_insert(0);
        let ear = match (self.party.session, self.party.kind) {
            (false, _) => Ok(Ear::Deaf),
            (true, Kind::UserDevice) => self.client.events(kind, from).await.map(Ear::Events),
            (true, _) => self.client.standing_session(kind).await.map(Ear::Session),
        };
        self.ear = ear.map_err(|error| error.to_string())?;
        Ok(())
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), String> {
        match incoming {
            Incoming::Request { id, body } => self.asked(&id, *body).await,
            Incoming::Event { number, event } => {
                self.seen = Some(number);
                self.happened(shown(&event));
                self.look_back().await
            }
            // An act that waits for what was missed says so.
            Incoming::Gap(gap) => {
                self.happened(json!({"type": "gap", "data": {"missed": gap.missed}}));
                self.look_back().await
            }
            Incoming::Subscription { .. } | Incoming::Reply { .. } => Ok(()),
            Incoming::Closed(why) => Err(format!("the session is over: {why:?}")),
        }
    }

    fn happened(&mut self, mut event: Value) {
        self.heard_so_far += 1;
        if let Value::Object(members) = &mut event {
            members.insert("n".to_owned(), json!(self.heard_so_far));
        }
        for events in [&mut self.events, &mut self.heard] {
            if events.len() == EVENTS_KEPT {
                events.pop_front();
            }
            events.push_back(event.clone());
        }
    }

    /// The daemon asks: the first answer of the scenario that fits is given.
    async fn asked(&mut self, id: &str, body: OutsideRequest) -> Result<(), String> {
        let asked = serde_json::to_value(&body).map_err(|error| error.to_string())?;
        let kind = asked.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut variables = self.remembered.clone();
        variables.insert("request".to_owned(), asked.get("data").cloned().unwrap_or_default());
        let Said { answer, after_ms, said } = answering::said(self.party, &mut self.remembered, &kind, &variables);
        match answer {
            Answered::With(answer) => {
                let at = Instant::now() + Duration::from_millis(after_ms);
                self.answering.push(Answering { at, id: id.to_owned(), answer });
                self.answer_late().await;
            }
            Answered::Silent => {}
            Answered::Cut => self.ear = Ear::Deaf,
        }
        self.happened(json!({"type": format!("asked.{kind}"), "data": variables.get("request")}));
        self.tell(&Told::Asked { kind, said }).await?;
        self.look_back().await
    }

    /// Gives the answers whose time has come.
    async fn answer_late(&mut self) {
        let now = Instant::now();
        let ripe: Vec<Answering> = self.answering.extract_if(.., |answering| answering.at <= now).collect();
        for Answering { id, answer, .. } in ripe {
            if let Ear::Session(session) = &mut self.ear {
                // A session that broke meanwhile is opened again; the daemon tells whoever asked.
                let _ = session.answer(&id, &answer).await;
            }
        }
    }

    /// Gives every act that waits the first event that it waits for.
    async fn look_back(&mut self) -> Result<(), String> {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let Some(place) = self.events.iter().position(|event| waiting.fits(event)) else {
                at += 1;
                continue;
            };
            let waiting = self.waiting.remove(at);
            let event = self.events.remove(place).unwrap_or_default();
            let variables = Variables::from_iter([("event".to_owned(), event)]);
            let done = Done { act: waiting.act, ms: elapsed_ms(waiting.since), variables, error: None };
            self.tell(&Told::Done(Box::new(done))).await?;
        }
        Ok(())
    }

    /// Acts that have waited long enough are told.
    async fn give_up(&mut self) -> Result<(), String> {
        let now = Instant::now();
        let late: Vec<Waiting> = self.waiting.extract_if(.., |waiting| waiting.deadline() <= now).collect();
        for Waiting { act, hear, since, .. } in late {
            let heard: Vec<&str> = self.events.iter().filter_map(|event| event.get("type")?.as_str()).collect();
            let error = format!(
                "no `{}` within {} ms that was waited for; heard: [{}]",
                hear.event,
                hear.within_ms,
                heard.join(", ")
            );
            let done = Done { act, ms: elapsed_ms(since), variables: Variables::new(), error: Some(error) };
            self.tell(&Told::Done(Box::new(done))).await?;
        }
        Ok(())
    }
}

impl Waiting {
    fn deadline(&self) -> Instant {
        self.since + Duration::from_millis(self.hear.within_ms)
    }

    fn fits(&self, event: &Value) -> bool {
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let named = match self.hear.event.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.hear.event,
        };
        let mut variables = self.variables.clone();
        variables.insert("event".to_owned(), event.clone());
        named
            && self
                .hear
                .that
                .as_ref()
                .is_none_or(|that| that.evaluate(&variables).is_ok_and(|fits| fits == json!(true)))
    }
}

impl Ear {
    async fn next(&mut self) -> Incoming {
        match self {
            Self::Session(session) => session.next().await,
            Self::Events(events) => match events.next().await {
                Ok(Event::Event { number, event }) => Incoming::Event { number, event },
                Ok(Event::Gap(gap)) => Incoming::Gap(gap),
                Err(error) => Incoming::Closed(Closing::Refused(error)),
            },
            Self::Deaf => std::future::pending().await,
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn kind(kind: Kind) -> SystemKind {
    match kind {
        Kind::Metaverse => SystemKind::Metaverse,
        Kind::DigitalTwin => SystemKind::DigitalTwin,
        Kind::ThirdParty => SystemKind::ThirdParty,
        Kind::UserDevice => SystemKind::UserDevice,
    }
}

fn shown(event: &CloudEvent) -> Value {
    // World files say `twin.changed`: who says so is no news to them.
    let name = event.event_type.strip_prefix("io.twinway.").unwrap_or(&event.event_type);
    let data = event.data.read::<Value>().unwrap_or_default();
    json!({"type": name, "subject": event.subject, "data": data})
}

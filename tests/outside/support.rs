//! Stand-ins for what is at both ends of the way out: the actors, and a system's webhook.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use twinway::{
    actors::port::outlet::Outlet,
    outside::{Actors, Outgoing, Outside, OutsideLimits, Session, SystemKind},
    protocol::{
        EntityId, JsonDoc, PendingKey, Problem, ProblemKind, SystemId, TwinId, UserId,
        message::{AnswerRequest, ApplyChange, OpenSystem, OutsideAnswer, OutsideRequest, RequestUndelivered},
        registry::Reach,
        signal::{Event, Signal},
        time::Timestamp,
    },
};

pub(crate) fn name(text: &str) -> SystemId {
    SystemId::new(text).expect("a name")
}

/// The address of the actor of a system.
pub(crate) fn system(kind: SystemKind, slot: u32) -> EntityId {
    EntityId::new(kind.mailbox(), 0, slot)
}

pub(crate) fn event(subject: &str) -> Event {
    let at = Timestamp::from_unix_ms(1);
    Event::new("twin.changed", subject.into(), None, at, JsonDoc::null())
}

pub(crate) fn change() -> OutsideRequest {
    OutsideRequest::ApplyChange(ApplyChange {
        twin: TwinId::new("urn:lamp").expect("a name"),
        metaverse: name("urn:m"),
        user: UserId::new("ann").expect("a name"),
        values: Arc::new(BTreeMap::from([("on".to_owned(), JsonDoc::parse("true").expect("it is JSON"))])),
        token: None,
        not_after: None,
        stop: false,
        errand: None,
        system_entity: ApplyChange::nowhere(),
    })
}

/// What comes out, as text; a number of an event counts from the first of the run.
pub(crate) async fn next(session: &mut Session) -> String {
    match session.next().await {
        Some(Outgoing::Request { request, .. }) => format!("request {}", request.to_bits()),
        Some(Outgoing::Event { event, .. }) => event.subject.clone(),
        Some(Outgoing::Gap(gap)) => format!("gap {}", gap.missed),
        None => "end".to_owned(),
    }
}

pub(crate) fn ask(outside: &Outside, entity: EntityId, request: u64) {
    let request = PendingKey::from_bits(request);
    outside.signal(entity, Signal::Request { entity, request, body: Box::new(change()) });
}

pub(crate) fn tell(outside: &Outside, entity: EntityId, subjects: impl IntoIterator<Item = u32>) {
    for subject in subjects {
        outside.signal(entity, Signal::Event { entity, event: Arc::new(event(&subject.to_string())) });
    }
}

/// A way out with one twin system, `urn:home`, reached like this.
pub(crate) fn with_system(limits: OutsideLimits, reach: Reach) -> (Outside, Stand, EntityId) {
    let (outside, stand) = (Outside::new(limits), Stand::default());
    outside.attach(stand.clone());
    let entity = system(SystemKind::DigitalTwin, 0);
    outside.signal(entity, Signal::Opened { entity, id: name("urn:home"), reach });
    (outside, stand, entity)
}

pub(crate) fn session(outside: &Outside) -> Session {
    outside.session(SystemKind::DigitalTwin, &name("urn:home")).expect("there is room")
}

/// Stands in for the actors, and keeps what they are told.
#[derive(Clone, Debug)]
pub(crate) struct Stand(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    made: AtomicU32,
    named: Mutex<Vec<(EntityId, Option<Reach>)>>,
    /// Naming takes a permit and gives it back.
    naming: Semaphore,
    refuse_name: AtomicBool,
    refuse_answers: Mutex<Option<ProblemKind>>,
    undelivered: Queue<(EntityId, RequestUndelivered)>,
    answers: Queue<(EntityId, AnswerRequest)>,
}

#[derive(Debug)]
struct Queue<T>(mpsc::UnboundedSender<T>, tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self(sender, tokio::sync::Mutex::new(receiver))
    }
}

impl<T> Queue<T> {
    fn put(&self, item: T) {
        self.0.send(item).unwrap_or_else(|_| panic!("the receiver lives as long"));
    }

    async fn next(&self) -> T {
        self.1.lock().await.recv().await.expect("the sender lives as long")
    }
}

impl Default for Stand {
    fn default() -> Self {
        let stand = Self::held();
        stand.let_go();
        stand
    }
}

impl Stand {
    /// Actors that are not named before [`Stand::let_go`].
    pub(crate) fn held() -> Self {
        Self(Arc::new(Inner {
            made: AtomicU32::new(0),
            named: Mutex::default(),
            naming: Semaphore::new(0),
            refuse_name: AtomicBool::new(false),
            refuse_answers: Mutex::default(),
            undelivered: Queue::default(),
            answers: Queue::default(),
        }))
    }

    pub(crate) fn let_go(&self) {
        self.0.naming.add_permits(1);
    }

    pub(crate) fn refuse_next(&self) {
        self.0.refuse_name.store(true, Ordering::SeqCst);
    }

    pub(crate) fn refuse_answers(&self, kind: ProblemKind) {
        *self.0.refuse_answers.lock() = Some(kind);
    }

    /// How many actors were made.
    pub(crate) fn made(&self) -> u32 {
        self.0.made.load(Ordering::SeqCst)
    }

    /// Which were named, and reached how.
    pub(crate) fn named(&self) -> Vec<(EntityId, Option<Reach>)> {
        self.0.named.lock().clone()
    }

    /// What was not delivered and not yet looked at.
    pub(crate) fn undelivered(&self) -> Vec<(EntityId, u64, ProblemKind)> {
        let mut queue = self.0.undelivered.1.try_lock().expect("nobody else looks");
        std::iter::from_fn(|| queue.try_recv().ok()).map(|(to, m)| (to, m.request.to_bits(), m.problem.kind)).collect()
    }

    /// Of what was not delivered: which request, and whether it was handed out all the same.
    pub(crate) fn handed_out(&self) -> Vec<(u64, bool)> {
        let mut queue = self.0.undelivered.1.try_lock().expect("nobody else looks");
        std::iter::from_fn(|| queue.try_recv().ok()).map(|(_, m)| (m.request.to_bits(), m.handed_out)).collect()
    }

    pub(crate) async fn next_handed_out(&self) -> (u64, bool) {
        let (_, message) = self.0.undelivered.next().await;
        (message.request.to_bits(), message.handed_out)
    }

    pub(crate) async fn next_undelivered(&self) -> (EntityId, u64, Problem) {
        let (to, message) = self.0.undelivered.next().await;
        (to, message.request.to_bits(), *message.problem)
    }

    pub(crate) async fn answer(&self) -> (EntityId, u64, OutsideAnswer) {
        let (to, message) = self.0.answers.next().await;
        (to, message.request.to_bits(), *message.answer)
    }
}

impl Actors for Stand {
    fn make(&self, kind: SystemKind) -> Result<EntityId, Problem> {
        Ok(system(kind, self.0.made.fetch_add(1, Ordering::SeqCst)))
    }

    fn name(&self, entity: EntityId, message: OpenSystem, _within: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            let _permit = self.0.naming.acquire().await.expect("it is never closed");
            if self.0.refuse_name.swap(false, Ordering::SeqCst) {
                return Err(Problem::new(ProblemKind::Overloaded, "no room"));
            }
            self.0.named.lock().push((entity, message.reach.map(|reach| *reach)));
            Ok(())
        })
    }

    fn answer(
        &self,
        entity: EntityId,
        message: AnswerRequest,
        _within: Duration,
    ) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            if let Some(kind) = *self.0.refuse_answers.lock() {
                return Err(Problem::new(kind, "no"));
            }
            self.0.answers.put((entity, message));
            Ok(())
        })
    }

    fn undelivered(&self, entity: EntityId, message: RequestUndelivered) -> Result<(), Problem> {
        self.0.undelivered.put((entity, message));
        Ok(())
    }
}

/// A webhook on a real socket; the test answers its calls.
pub(crate) struct Hook {
    pub(crate) url: String,
    calls: mpsc::UnboundedReceiver<Call>,
    serving: JoinHandle<()>,
}

/// A call of the webhook that waits for its answer.
pub(crate) struct Call {
    head: Vec<String>,
    body: Vec<u8>,
    answer: oneshot::Sender<String>,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let (sender, calls) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.clone()));
            }
        });
        Self { url, calls, serving }
    }

    /// Takes no connection any more; those that wait for an answer are broken off.
    pub(crate) async fn stop(self) {
        self.serving.abort();
        assert!(self.serving.await.is_err_and(|error| error.is_cancelled()));
    }

    pub(crate) async fn call(&mut self) -> Call {
        self.calls.recv().await.expect("the listener runs")
    }
}

/// Serves one call a connection.
async fn serve(stream: TcpStream, calls: mpsc::UnboundedSender<Call>) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line comes");
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let (answer, answered) = oneshot::channel();
    let mut call = Call { head, body: Vec::new(), answer };
    let length = call.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    call.body.resize(length, 0);
    stream.read_exact(&mut call.body).await.expect("the body comes");
    if calls.send(call).is_ok()
        && let Ok(answer) = answered.await
    {
        // The caller may have enough of a large answer before its end.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&String| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.iter().find(named)?.split_once(": ").map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn answer(self, status: &str, body: &str) {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        assert!(self.answer.send(text).is_ok(), "the connection waits");
    }
}

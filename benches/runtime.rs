//! The runtime's hop against raw actix: the same message through shell and inbox, trace recording on, and by `do_send`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Context, Handler, Message};
use common::{machine, median, rounds, verdict};
use serde::{Deserialize, Serialize};
use twinway::{
    actors::{
        assembly::Assembly,
        port::{journal::MemoryJournal, outlet::Outlet},
        runtime::{Builder, Options, System, TraceChunk, TraceFeed},
    },
    protocol::{Ask, Behaviour, EntityId, Envelope, Mailbox, Out, Ref, Step, StepId, Tell, mailboxes},
};

const MESSAGES: u64 = 400_000;

macro_rules! step {
    ($($Name:ident)*) => {$(impl Step for $Name {
        const STEP: Option<StepId> = Some(twinway::protocol::step_id!("bench", "1"));
        const NAME: &'static str = stringify!($Name);
    })*};
}

/// Start sending: `count` messages at once to a sink, or `tokens` that go to and fro `count` times in all.
#[derive(Debug)]
pub struct Begin {
    to: EntityId,
    count: u64,
    tokens: u64,
}
/// One message of a flood.
#[derive(Debug)]
pub struct Drop1 {
    last: bool,
}
/// One message to and fro.
#[derive(Debug)]
pub struct Token {
    left: u64,
}
/// Asks for a sign of life.
#[derive(Debug)]
pub struct Ping;
/// Gives it.
#[derive(Debug)]
pub struct Pong;
step!(Begin Drop1 Token Ping Pong);
macro_rules! raw {
    ($($Name:ident)*) => {$(impl Message for $Name {
        type Result = ();
    })*};
}
raw!(Begin Drop1 Token Meet);
impl Tell for Begin {}
impl Tell for Drop1 {}
impl Tell for Token {}
impl Ask for Ping {
    type Answer = Pong;
}
/// The end of a run.
#[derive(Debug)]
pub struct Done;

mailboxes! {
    /// Nodes.
    pub enum Wire signals Done {
        /// A node.
        Node(NodeMsg) = 1 { asks { Ping } tells { Begin, Drop1, Token } hears {} }
        /// Outside.
        Caller(CallerMsg) = 255 { asks {} tells {} hears { Pong } }
    }
    answers { Pong => Caller(CallerMsg); }
}

#[derive(Debug, Serialize, Deserialize)]
enum Nothing {}

struct Node {
    done: u64,
}

impl Behaviour for Node {
    type Wire = Wire;
    type Msg = NodeMsg;
    type Record = Nothing;
    type Settings = ();

    fn new(_id: EntityId, (): &(), _incarnation: u32) -> Self {
        Self { done: 0 }
    }

    fn handle(&mut self, envelope: Envelope<NodeMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            NodeMsg::Begin(Begin { to, count, tokens: 0 }) => {
                for left in (0..count).rev() {
                    out.send(Ref::<NodeMsg>::new(to), Drop1 { last: left == 0 });
                }
            }
            NodeMsg::Begin(Begin { to, count, tokens }) => {
                for _ in 0..tokens {
                    out.send(Ref::<NodeMsg>::new(to), Token { left: count / tokens });
                }
            }
            NodeMsg::Drop1(Drop1 { last }) => {
                if last {
                    out.signal(Done);
                }
            }
            NodeMsg::Token(Token { left: 0 }) => {
                self.done += 1;
                out.signal(Done);
            }
            NodeMsg::Token(Token { left }) => out.send(Ref::<NodeMsg>::new(meta.from), Token { left: left - 1 }),
            NodeMsg::Ping(Ping) => out.reply(meta.asker::<Ping>(out.event()), Ok(Pong)),
        }
    }

    fn replay(&mut self, record: Nothing) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<Nothing>) {}
}

struct Finish(mpsc::Sender<()>);
impl Outlet<Wire> for Finish {
    fn signal(&self, _from: EntityId, Done: Done) {
        let _gone = self.0.send(());
    }
}

struct Ours {
    system: System<Wire>,
    /// How many events the listener missed.
    lost: Option<Box<dyn Fn() -> u64>>,
    done: mpsc::Receiver<()>,
    source: Ref<NodeMsg>,
    sink: Ref<NodeMsg>,
}

async fn ours(trace: bool) -> Ours {
    let (finish, done) = mpsc::channel();
    let feed = trace.then(|| {
        let (chunks, listener) = mpsc::sync_channel(1024);
        std::thread::spawn(move || listener.into_iter().map(|chunk: TraceChunk| chunk.events.len()).sum::<usize>());
        TraceFeed::new(chunks)
    });
    let lost = feed.as_ref().map(|feed| Box::new(feed.lost()) as Box<dyn Fn() -> u64>);
    let options = Options { arbiters: 1, ..Options::default() };
    let builder = Builder::new(options, Arc::new(MemoryJournal::default()), Arc::new(Finish(finish)), 7);
    let system = builder.trace(feed).actors::<Node>(()).start().await.expect("it starts");
    let node = |slot| Ref::new(EntityId::new(NodeMsg::KIND, 0, slot));
    system.spawn(node(0));
    system.spawn(node(1));
    Ours { system, lost, done, source: node(0), sink: node(1) }
}

impl Ours {
    fn run(&self, tokens: u64) -> f64 {
        let began = Instant::now();
        let begin = Begin { to: self.sink.id(), count: MESSAGES, tokens };
        self.system.handle().tell(self.source, begin).expect("it is told");
        for _ in 0..tokens.max(1) {
            self.done.recv().expect("it ends");
        }
        began.elapsed().as_nanos() as f64 / MESSAGES as f64
    }
}

struct RawNode {
    peer: Option<Addr<RawNode>>,
    finish: mpsc::Sender<()>,
}
impl Actor for RawNode {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
    }
}
struct Meet(Addr<RawNode>);
impl Handler<Meet> for RawNode {
    type Result = ();
    fn handle(&mut self, Meet(peer): Meet, _: &mut Self::Context) {
        self.peer = Some(peer);
    }
}
impl Handler<Begin> for RawNode {
    type Result = ();
    fn handle(&mut self, Begin { count, tokens, .. }: Begin, _: &mut Self::Context) {
        let Some(peer) = &self.peer else { return };
        if tokens == 0 {
            (0..count).rev().for_each(|left| peer.do_send(Drop1 { last: left == 0 }));
        } else {
            (0..tokens).for_each(|_| peer.do_send(Token { left: count / tokens }));
        }
    }
}
impl Handler<Drop1> for RawNode {
    type Result = ();
    fn handle(&mut self, Drop1 { last }: Drop1, _: &mut Self::Context) {
        if last {
            let _gone = self.finish.send(());
        }
    }
}
impl Handler<Token> for RawNode {
    type Result = ();
    fn handle(&mut self, Token { left }: Token, _: &mut Self::Context) {
        match (&self.peer, left) {
            (Some(peer), 1..) => peer.do_send(Token { left: left - 1 }),
            _ => {
                let _gone = self.finish.send(());
            }
        }
    }
}

struct Raw {
    source: Addr<RawNode>,
    done: mpsc::Receiver<()>,
}

fn raw() -> Raw {
    let (finish, done) = mpsc::channel();
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        let system = actix::System::new();
        system.block_on(async {
            let source = RawNode { peer: None, finish: finish.clone() }.start();
            let sink = RawNode { peer: None, finish }.start();
            source.do_send(Meet(sink.clone()));
            sink.do_send(Meet(source.clone()));
            give.send(source).expect("somebody waits");
        });
        system.run().expect("it runs");
    });
    Raw { source: take.recv().expect("it starts"), done }
}

impl Raw {
    fn run(&self, tokens: u64) -> f64 {
        let began = Instant::now();
        self.source.do_send(Begin { to: EntityId::from_bits(0), count: MESSAGES, tokens });
        for _ in 0..tokens.max(1) {
            self.done.recv().expect("it ends");
        }
        began.elapsed().as_nanos() as f64 / MESSAGES as f64
    }
}

/// How long an actor takes to answer while another on its thread is flooded.
async fn beside_a_flood(asks: usize) -> (f64, f64) {
    let ours = ours(true).await;
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (handle, stop, flooded) = (ours.system.handle(), Arc::clone(&stop), ours.source);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _full = handle.tell(flooded, Drop1 { last: false });
            }
        })
    };
    let handle = ours.system.handle();
    let mut took = Vec::new();
    for _ in 0..asks {
        let began = Instant::now();
        handle.ask(ours.sink, Ping, Duration::from_secs(10)).await.expect("it answers");
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().expect("no panic");
    took.sort_by(f64::total_cmp);
    (took[took.len() * 99 / 100], took[took.len() - 1])
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    machine();
    let raw = raw();
    let (plain, traced) = (ours(false).await, ours(true).await);
    for (name, tokens) in [("sink", 0), ("relay, 64 messages under way", 64), ("relay, 1 message under way", 1)] {
        let (mut by_raw, mut by_plain, mut by_traced) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds(11) {
            by_raw.push(raw.run(tokens));
            by_plain.push(plain.run(tokens));
            by_traced.push(traced.run(tokens));
        }
        let (by_raw, by_plain, by_traced) = (median(by_raw), median(by_plain), median(by_traced));
        println!(
            "{name}: raw do_send {by_raw:.0} ns, shell {by_plain:.0} ns, shell with a trace listener {by_traced:.0} ns"
        );
        verdict(&format!("{name}, the ring of events on, over raw do_send"), by_plain / by_raw, 1.0, true);
        verdict(&format!("{name}, every event to a listener, over raw do_send"), by_traced / by_raw, 1.0, true);
    }
    println!("events that the listener missed: {}", traced.lost.as_ref().map_or(0, |lost| lost()));
    let (p99, worst) = beside_a_flood(if rounds(2) == 1 { 10 } else { 2_000 }).await;
    println!("beside a flooded actor: p99 {p99:.2} ms");
    verdict("beside a flooded actor, slowest of 2000 answers in ms", worst, 10.0, true);
}

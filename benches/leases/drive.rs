//! How clients are run, the same way for everybody: on two threads, each with a runtime of its own, and what they saw.

use std::{
    pin::Pin,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Barrier,
    task::LocalSet,
};

/// How many threads the clients of each side have.
pub(crate) const THREADS: usize = 2;

/// An object that was acquired and given back.
pub(crate) struct Pair {
    /// From wanting it to having it.
    pub(crate) acquired: Duration,
    /// From wanting it to having given it back.
    pub(crate) whole: Duration,
    /// Whether that was within the round.
    pub(crate) in_time: bool,
}

/// What a task's clients did.
pub(crate) type Work = Pin<Box<dyn Future<Output = Vec<Pair>>>>;

/// Lets all tasks begin at once, when every connection stands.
pub(crate) struct Start {
    barrier: Arc<Barrier>,
    during: Duration,
}

/// When a round is over. What began before is finished, and its time counts; whether it is a pair of this round does not.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    until: Instant,
}

impl Start {
    pub(crate) async fn wait(self) -> Round {
        self.barrier.wait().await;
        Round { until: Instant::now() + self.during }
    }
}

impl Round {
    pub(crate) fn lasts(self) -> bool {
        Instant::now() < self.until
    }

    pub(crate) fn pair(self, begun: Instant, acquired: Instant) -> Pair {
        let now = Instant::now();
        Pair { acquired: acquired - begun, whole: now - begun, in_time: now <= self.until }
    }
}

/// What the clients of a side saw in a round.
pub(crate) struct Seen {
    pub(crate) pairs_per_s: f64,
    /// In the order of their length, in microseconds.
    acquired: Vec<f64>,
    whole: Vec<f64>,
}

pub(crate) fn share(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn sorted_us(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut times: Vec<_> = times.map(|time| time.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    times
}

impl Seen {
    pub(crate) fn new(pairs: &[Pair], during: Duration) -> Self {
        Self {
            pairs_per_s: pairs.iter().filter(|pair| pair.in_time).count() as f64 / during.as_secs_f64(),
            acquired: sorted_us(pairs.iter().map(|pair| pair.acquired)),
            whole: sorted_us(pairs.iter().map(|pair| pair.whole)),
        }
    }

    /// How many there were, late ones too.
    pub(crate) fn count(&self) -> usize {
        self.whole.len()
    }

    /// In microseconds.
    pub(crate) fn acquired(&self, part: f64) -> f64 {
        share(&self.acquired, part)
    }

    /// In microseconds.
    pub(crate) fn whole(&self, part: f64) -> f64 {
        share(&self.whole, part)
    }
}

/// Runs `tasks` on the threads until the round is over. `begin` connects, waits for the start, and works.
pub(crate) fn drive(tasks: usize, during: Duration, begin: &(dyn Fn(usize, Start) -> Work + Sync)) -> Seen {
    let barrier = Arc::new(Barrier::new(tasks));
    let thread = |number: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let mine = (0..tasks).filter(|task| task % THREADS == number);
            let begun: Vec<_> = mine
                .map(|task| tokio::task::spawn_local(begin(task, Start { barrier: Arc::clone(&barrier), during })))
                .collect();
            let mut pairs = Vec::new();
            for task in begun {
                pairs.extend(task.await.expect("a task"));
            }
            pairs
        })
    };
    let thread = &thread;
    let pairs: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || thread(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    Seen::new(&pairs, during)
}

/// Bytes that came and are not read yet.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    read: usize,
}

impl Input {
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.read += count;
    }

    /// Waits until more has come.
    pub(crate) async fn more(&mut self, stream: &mut TcpStream) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        let room = self.bytes.capacity() - self.bytes.len();
        if room < 16 * 1024 {
            self.bytes.reserve(64 * 1024);
        }
        let came = stream.read_buf(&mut self.bytes).await.expect("the connection stays");
        assert!(came > 0, "the server closed the connection");
    }
}

/// How a connection is spoken on that carries the requests of several clients at once.
pub(crate) trait Dialect {
    /// Puts down the request of a client for its object.
    fn acquire(&mut self, client: usize);
    /// Puts down that a client gives back what it got last.
    fn release(&mut self, client: usize);
    /// Moves what was put down to `out`, as it goes over the wire.
    fn take(&mut self, out: &mut Vec<u8>);
    /// The client of the next answer that is there whole, and how it ended.
    fn answer(&mut self, input: &mut Input) -> Option<usize>;
}

/// Has the clients of one connection acquire and release, each for itself. What they ask for while answers are read
/// goes out together.
pub(crate) async fn batched(
    mut stream: TcpStream,
    mut dialect: impl Dialect,
    clients: usize,
    start: Start,
) -> Vec<Pair> {
    let (mut input, mut out, mut pairs) = (Input::default(), Vec::new(), Vec::new());
    let round = start.wait().await;
    let mut wants: Vec<(Instant, Option<Instant>)> = vec![(Instant::now(), None); clients];
    (0..clients).for_each(|client| dialect.acquire(client));
    let mut busy = clients;
    while busy > 0 {
        dialect.take(&mut out);
        if !out.is_empty() {
            stream.write_all(&out).await.expect("the connection stays");
            out.clear();
        }
        input.more(&mut stream).await;
        while let Some(client) = dialect.answer(&mut input) {
            match wants[client] {
                (begun, None) => {
                    wants[client] = (begun, Some(Instant::now()));
                    dialect.release(client);
                }
                (begun, Some(acquired)) => {
                    pairs.push(round.pair(begun, acquired));
                    wants[client] = (Instant::now(), None);
                    if round.lasts() { dialect.acquire(client) } else { busy -= 1 }
                }
            }
        }
    }
    pairs
}

//! Journal appends of many writers against a bare append file with the same group commit.
//!
//! Each writer appends one entry and waits until it is durable, again and again. The bare file has the same
//! queue: one thread takes what waits, writes it at once, syncs it, and tells the same waiters. Rounds of both
//! alternate, and medians are compared, since disks change their pace. Run by `cargo bench --bench journal`;
//! `TWINWAY_BENCH_DIR` names the directory to write in, by default one below the build's target directory.

#![allow(clippy::print_stdout, reason = "the figures are what the program is for")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Barrier, atomic::AtomicU64, atomic::Ordering},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use twinway::journal::{DataDirectory, SqliteJournal, SqliteOptions};
use twinway_actors::port::journal::{Entry, EntryKind, Journal, Listener, Position, Urgency};
use twinway_protocol::EntityId;

type Failure = Box<dyn std::error::Error>;

const WRITERS: u32 = 128;
const ENTRY_BYTES: usize = 120;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 7;
const TARGET: f64 = 0.75;

/// Wakes one writer.
struct Waiter {
    thread: Thread,
    durable: AtomicU64,
}

impl Waiter {
    fn new() -> Self {
        Self { thread: thread::current(), durable: AtomicU64::new(0) }
    }
    fn wait(&self, position: u64) {
        while self.durable.load(Ordering::Acquire) < position {
            thread::park();
        }
    }
}

impl Listener for Waiter {
    fn durable(&self, position: Position) {
        self.durable.store(position.0, Ordering::Release);
        self.thread.unpark();
    }
    fn poisoned(&self, _reason: &str) {
        self.durable.store(u64::MAX, Ordering::Release);
        self.thread.unpark();
    }
}

/// What both are measured by.
trait Log: Sync {
    fn append(&self, writer: u32, waiter: &Arc<Waiter>, listener: &Arc<dyn Listener>) -> Result<(), Failure>;
}

struct Journaled(SqliteJournal);

impl Log for Journaled {
    fn append(&self, writer: u32, waiter: &Arc<Waiter>, listener: &Arc<dyn Listener>) -> Result<(), Failure> {
        let bytes = vec![7; ENTRY_BYTES].into_boxed_slice();
        let entry = Entry { entity: EntityId::new(1, 0, writer), part: 0, kind: EntryKind::Record, bytes };
        waiter.wait(self.0.append(vec![entry], Urgency::Now, Some(listener))?.0);
        Ok(())
    }
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    waiters: Vec<(Arc<dyn Listener>, u64)>,
    position: u64,
    sleeps: bool,
    closing: bool,
}

/// The bare append file: no checksums, no index, no recovery.
#[derive(Default)]
struct Bare {
    pending: Mutex<Pending>,
    wake: Condvar,
    appends: AtomicU64,
}

impl Bare {
    fn write(&self, mut file: File) -> std::io::Result<()> {
        loop {
            let mut pending = self.pending.lock();
            while pending.waiters.is_empty() {
                if pending.closing {
                    return Ok(());
                }
                pending.sleeps = true;
                self.wake.wait(&mut pending);
                pending.sleeps = false;
            }
            drop(pending);
            self.gather();
            let mut pending = self.pending.lock();
            let (bytes, waiters) = (std::mem::take(&mut pending.bytes), std::mem::take(&mut pending.waiters));
            drop(pending);
            file.write_all(&bytes)?;
            file.sync_data()?;
            for (waiter, position) in waiters {
                waiter.durable(Position(position));
            }
        }
    }

    fn gather(&self) {
        let begun = Instant::now();
        let mut seen = self.appends.load(Ordering::Relaxed);
        loop {
            thread::yield_now();
            let now = self.appends.load(Ordering::Relaxed);
            if now == seen || begun.elapsed() >= Duration::from_micros(200) {
                return;
            }
            seen = now;
        }
    }
}

impl Log for Bare {
    fn append(&self, _writer: u32, waiter: &Arc<Waiter>, listener: &Arc<dyn Listener>) -> Result<(), Failure> {
        let bytes = vec![7; ENTRY_BYTES].into_boxed_slice();
        let mut pending = self.pending.lock();
        pending.position += 1;
        let position = pending.position;
        pending.bytes.extend_from_slice(&bytes);
        pending.waiters.push((Arc::clone(listener), position));
        let wakes = std::mem::take(&mut pending.sleeps);
        drop(pending);
        self.appends.fetch_add(1, Ordering::Relaxed);
        if wakes {
            self.wake.notify_one();
        }
        waiter.wait(position);
        Ok(())
    }
}

/// What a round showed.
struct Round {
    appends_per_s: f64,
    p50: Duration,
    p999: Duration,
}

fn measure(log: &dyn Log) -> Result<Round, Failure> {
    let start = Barrier::new(WRITERS as usize);
    let begun = Instant::now();
    let times = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let start = &start;
                scope.spawn(move || {
                    let waiter = Arc::new(Waiter::new());
                    let listener: Arc<dyn Listener> = Arc::clone(&waiter) as Arc<dyn Listener>;
                    let mut times = Vec::new();
                    start.wait();
                    let begun = Instant::now();
                    while begun.elapsed() < ROUND {
                        let one = Instant::now();
                        if log.append(writer, &waiter, &listener).is_err() {
                            return Vec::new();
                        }
                        times.push(one.elapsed());
                    }
                    times
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let elapsed = begun.elapsed();
    let mut times = times;
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Round { appends_per_s: times.len() as f64 / elapsed.as_secs_f64(), p50: at(0.5), p999: at(0.999) })
}

fn round_of_journal(path: &Path) -> Result<Round, Failure> {
    let data = Arc::new(DataDirectory::open(path.join("data"))?);
    let journal = Journaled(SqliteJournal::open(data, &SqliteOptions::default())?);
    let round = measure(&journal)?;
    let stats = journal.0.stats()?;
    journal.0.close()?;
    println!(
        "  sqlite {:>9.0}/s  p50 {:?}  p99.9 {:?}  ({} entries, {} commits so far)",
        round.appends_per_s, round.p50, round.p999, stats.durable.0, stats.commits
    );
    Ok(round)
}

fn round_of_bare(path: &Path) -> Result<Round, Failure> {
    let file = File::options().append(true).create(true).open(path.join("bare"))?;
    let bare = Bare::default();
    let round = thread::scope(|scope| {
        let writer = scope.spawn(|| bare.write(file));
        let round = measure(&bare);
        bare.pending.lock().closing = true;
        bare.wake.notify_one();
        writer.join().map_err(|_| "the writer panicked")??;
        round
    })?;
    println!("  bare   {:>9.0}/s  p50 {:?}  p99.9 {:?}", round.appends_per_s, round.p50, round.p999);
    Ok(round)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn describe_machine(path: &Path) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let filesystem = output("stat", &["-f", "-c", "%T", &path.to_string_lossy()]);
    println!("{cores} cores, {}, file system {filesystem}", output("uname", &["-sr"]));
    println!("{}, SQLite {}, twinway {}", output("rustc", &["-V"]), rusqlite::version(), env!("CARGO_PKG_VERSION"));
}

fn main() -> Result<(), Failure> {
    let place =
        std::env::var_os("TWINWAY_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = tempfile::TempDir::new_in(&place)?;
    describe_machine(directory.path());
    println!("{WRITERS} writers, entries of {ENTRY_BYTES} bytes, {ROUNDS} rounds of {ROUND:?} each, alternating");
    // One of each to warm up.
    round_of_bare(directory.path())?;
    round_of_journal(directory.path())?;
    let (mut bare, mut journal, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let file = round_of_bare(directory.path())?.appends_per_s;
        let sqlite = round_of_journal(directory.path())?.appends_per_s;
        bare.push(file);
        journal.push(sqlite);
        ratios.push(sqlite / file);
    }
    println!("bare append file: {:.0} appends/s (median)", median(bare));
    println!("SQLite journal:   {:.0} appends/s (median)", median(journal));
    println!("ratio: {:.2} (median of the rounds; target {TARGET})", median(ratios));
    fs::remove_dir_all(directory.path())?;
    Ok(())
}

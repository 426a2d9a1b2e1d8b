//! The monitor of sync leases: the invariants, judged while an enabler runs, by the rules that judge them everywhere.
//!
//! What can be judged so, and what not and why, is said at [`watch`](twinway_protocol::lease::watch).

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use twinway_protocol::{
    lease::{
        LeaseLimits,
        rules::{Rule, VIOLATIONS_MAX, Violation},
        watch::{Judge, Watched},
    },
    time::Now,
};

/// How many things that were seen wait for the monitor before the next are lost and counted.
const WAITING_MAX: usize = 1 << 15;
/// How many violations are logged in one life; the others are counted only.
const LOGGED_MAX: u64 = 1_000;

/// Something that was seen, and how many things before it were lost.
struct Item {
    watched: Box<Watched>,
    now: Now,
    missing: u64,
}

/// Where what is seen of the leases goes. It never waits.
#[derive(Clone, Debug)]
pub struct LeaseFeed(Arc<Mutex<Feed>>);

#[derive(Debug)]
struct Feed {
    /// None: the monitor has ended.
    items: Option<SyncSender<Item>>,
    missing: u64,
}

impl LeaseFeed {
    /// Hands over what was seen. Causes are handed over before their effects, from whichever thread.
    pub fn send(&self, watched: Box<Watched>, now: Now) {
        let mut feed = self.0.lock();
        let item = Item { watched, now, missing: feed.missing };
        let Some(items) = &feed.items else { return };
        match items.try_send(item) {
            Ok(()) => feed.missing = 0,
            Err(_) => feed.missing += 1,
        }
    }
}

/// A monitor that judges. What it is too slow for is lost to it, counted, and then it judges nothing more until the
/// supervisor begins a life: without all that happened before, what is right looks wrong.
#[derive(Debug)]
pub struct LeaseMonitor {
    feed: LeaseFeed,
    thread: JoinHandle<Vec<Violation>>,
}

impl LeaseMonitor {
    /// Begins to judge leases with these limits, and gives where goes what is seen.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn begin(limits: LeaseLimits) -> io::Result<(Self, LeaseFeed)> {
        let (sender, items) = mpsc::sync_channel(WAITING_MAX);
        let feed = LeaseFeed(Arc::new(Mutex::new(Feed { items: Some(sender), missing: 0 })));
        let watch = Watch { judge: Judge::new(limits), kept: Vec::new(), logged: 0 };
        let thread = std::thread::Builder::new().name("twinway-leases".to_owned()).spawn(move || watch.run(&items))?;
        Ok((Self { feed: feed.clone(), thread }, feed))
    }

    /// Ends, and gives the first violations: whoever feeds it has ended before.
    ///
    /// # Errors
    /// When the monitor itself failed.
    pub fn finish(self) -> io::Result<Vec<Violation>> {
        self.feed.0.lock().items = None;
        self.thread.join().map_err(|_| io::Error::other("the thread that judges the leases panicked"))
    }
}

struct Watch {
    judge: Judge,
    kept: Vec<Violation>,
    logged: u64,
}

impl Watch {
    fn run(mut self, items: &Receiver<Item>) -> Vec<Violation> {
        // A violation that never was is shown as none, and not left out.
        Judge::RULES.into_iter().for_each(|rule| counter(rule).absolute(0));
        let judged = metrics::counter!("twinway_lease_judged_total");
        let lost = metrics::counter!("twinway_lease_unjudged_total");
        judged.absolute(0);
        lost.absolute(0);
        let mut judges = None;
        while let Ok(Item { watched, now, missing }) = items.recv() {
            if missing > 0 {
                self.judge.lost();
                lost.increment(missing);
            }
            let violations = self.judge.see(&watched, now);
            let seen = if self.judge.judges() { &judged } else { &lost };
            seen.increment(1);
            if judges != Some(self.judge.judges()) {
                judges = Some(self.judge.judges());
                self.turned();
            }
            violations.into_iter().for_each(|violation| self.tell(violation));
        }
        metrics::gauge!("twinway_lease_untracked").set(self.judge.untracked() as f64);
        self.kept
    }

    /// It begins to judge, or cannot go on.
    fn turned(&self) {
        let judges = self.judge.judges();
        metrics::gauge!("twinway_lease_judging").set(if judges { 1.0 } else { 0.0 });
        if !judges {
            tracing::warn!("something that leases did was not seen: nothing more is judged until the next start");
        }
    }

    fn tell(&mut self, violation: Violation) {
        counter(violation.rule).increment(1);
        self.logged += 1;
        if self.logged <= LOGGED_MAX {
            tracing::error!(%violation, "an invariant of sync leases does not hold");
        }
        if self.kept.len() < VIOLATIONS_MAX {
            self.kept.push(violation);
        }
    }
}

fn counter(rule: Rule) -> metrics::Counter {
    let (number, name) = (rule.number().to_string(), format!("{rule:?}"));
    metrics::counter!("twinway_lease_violations_total", "invariant" => number, "rule" => name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use parking_lot::Mutex;
    use twinway_protocol::{lease::watch::Watched, time::Now};

    use super::{Feed, LeaseFeed};

    #[test]
    fn what_is_lost_is_told_with_what_comes_after_it() {
        let (sender, items) = mpsc::sync_channel(1);
        let feed = LeaseFeed(Arc::new(Mutex::new(Feed { items: Some(sender), missing: 0 })));
        let send = || feed.send(Box::new(Watched::Began { records: Vec::new() }), Now::default());
        (0..3).for_each(|_| send());
        assert_eq!(items.recv().map(|item| item.missing), Ok(0));
        send();
        assert_eq!(items.recv().map(|item| item.missing), Ok(2));
    }
}

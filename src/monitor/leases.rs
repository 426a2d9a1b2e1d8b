//! The monitor of sync leases: the invariants, judged while an enabler runs, by the rules that judge them everywhere.
//!
//! What can be judged so, and what not and why, is said at [`watch`](twinway_protocol::lease::watch).

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::{Condvar, Mutex};
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
/// How long things gather before they are judged. To be woken for each costs both sides more than to judge it.
const GATHERED_FOR: Duration = Duration::from_millis(5);
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
pub struct LeaseFeed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    feed: Mutex<Feed>,
    /// There is something after a while without anything, or the end.
    news: Condvar,
}

#[derive(Default)]
struct Feed {
    items: Vec<Item>,
    missing: u64,
    /// The monitor waits until there is something.
    idle: bool,
    /// Nothing is judged any more.
    ended: bool,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("items", &self.items.len()).field("missing", &self.missing).finish_non_exhaustive()
    }
}

impl LeaseFeed {
    /// Hands over what was seen. Causes are handed over before their effects, from whichever thread.
    pub fn send(&self, watched: Box<Watched>, now: Now) {
        let mut feed = self.0.feed.lock();
        if feed.ended {
            return;
        }
        if feed.items.len() >= WAITING_MAX {
            feed.missing += 1;
            return;
        }
        let missing = std::mem::take(&mut feed.missing);
        feed.items.push(Item { watched, now, missing });
        let wakes = std::mem::take(&mut feed.idle);
        drop(feed);
        if wakes {
            self.0.news.notify_one();
        }
    }

    /// Takes all that waits into `items`, which is empty, and waits for something unless there is; false when nothing
    /// more comes.
    fn take(&self, items: &mut Vec<Item>) -> bool {
        let mut feed = self.0.feed.lock();
        while feed.items.is_empty() && !feed.ended {
            feed.idle = true;
            self.0.news.wait(&mut feed);
        }
        std::mem::swap(&mut feed.items, items);
        !items.is_empty()
    }

    /// Lets things gather, unless it is the end.
    fn gather(&self) {
        let mut feed = self.0.feed.lock();
        if !feed.ended {
            self.0.news.wait_for(&mut feed, GATHERED_FOR);
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
        let feed = LeaseFeed(Arc::new(Shared::default()));
        let watch = Watch { judge: Judge::new(limits), kept: Vec::new(), logged: 0 };
        let judged = feed.clone();
        let thread = std::thread::Builder::new().name("twinway-leases".to_owned()).spawn(move || watch.run(&judged))?;
        Ok((Self { feed: feed.clone(), thread }, feed))
    }

    /// Ends, and gives the first violations: whoever feeds it has ended before.
    ///
    /// # Errors
    /// When the monitor itself failed.
    pub fn finish(self) -> io::Result<Vec<Violation>> {
        self.feed.0.feed.lock().ended = true;
        self.feed.0.news.notify_one();
        self.thread.join().map_err(|_| io::Error::other("the thread that judges the leases panicked"))
    }
}

struct Watch {
    judge: Judge,
    kept: Vec<Violation>,
    logged: u64,
}

impl Watch {
    fn run(mut self, feed: &LeaseFeed) -> Vec<Violation> {
        // A violation that never was is shown as none, and not left out.
        Judge::RULES.into_iter().for_each(|rule| counter(rule).absolute(0));
        let judged = metrics::counter!("twinway_lease_judged_total");
        let lost = metrics::counter!("twinway_lease_unjudged_total");
        judged.absolute(0);
        lost.absolute(0);
        let (mut judges, mut items) = (None, Vec::new());
        while feed.take(&mut items) {
            let (mut seen, mut unjudged) = (0, 0);
            for Item { watched, now, missing } in items.drain(..) {
                if missing > 0 {
                    self.judge.lost();
                    unjudged += missing;
                }
                let violations = self.judge.see(&watched, now);
                *if self.judge.judges() { &mut seen } else { &mut unjudged } += 1;
                if judges != Some(self.judge.judges()) {
                    judges = Some(self.judge.judges());
                    self.turned();
                }
                violations.into_iter().for_each(|violation| self.tell(violation));
            }
            judged.increment(seen);
            lost.increment(unjudged);
            feed.gather();
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
    use std::sync::Arc;

    use twinway_protocol::{lease::watch::Watched, time::Now};

    use super::{LeaseFeed, Shared, WAITING_MAX};

    #[test]
    fn what_is_lost_is_told_with_what_comes_after_it() {
        let feed = LeaseFeed(Arc::new(Shared::default()));
        let send = || feed.send(Box::new(Watched::Began { records: Vec::new() }), Now::default());
        let mut items = Vec::new();
        (0..WAITING_MAX + 2).for_each(|_| send());
        assert!(feed.take(&mut items) && items.len() == WAITING_MAX);
        assert!(items.drain(..).all(|item| item.missing == 0));
        send();
        assert!(feed.take(&mut items));
        assert_eq!(items.iter().map(|item| item.missing).collect::<Vec<_>>(), [2]);
    }
}

//! What a twin did is in its history: actions and events (FGMV-29 8.3.4).

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use twinway::{
    history::{
        History, HistoryItem, HistoryKind, HistoryOptions, HistoryQuery, HistoryStore, MemoryHistory, Retention,
    },
    protocol::{
        InvocationId, JsonDoc, SystemId, UserId,
        signal::Event,
        twin::{Invocation, InvocationState, Requester, TwinView},
    },
};

use crate::contract::{Gate, Held, at, goes_on, open, stands, twin, value, view};

fn invocation(id: &str, began: u64, state: InvocationState) -> Invocation {
    let by = Requester { system: SystemId::new("world").expect("a name"), user: UserId::new("ada").expect("a name") };
    Invocation {
        id: InvocationId::new(id).expect("a name"),
        action: "fetch".to_owned(),
        state,
        progress: Some(50),
        detail: None,
        output: None,
        at: at(began),
        until: at(began + 1_000),
        ended_at: state.is_end().then(|| at(began + 7)),
        by: Some(by),
    }
}

fn acting(version: u64, all: Vec<Invocation>) -> Arc<TwinView> {
    let mut view = TwinView::clone(&view("lamp", version, &[("on", 1)]));
    view.invocations = Some(Box::new(all.into_iter().map(|one| (one.id.clone(), one)).collect()));
    Arc::new(view)
}

fn event(name: &str, ms: u64) -> Arc<Event> {
    let data = JsonDoc::parse(format!(r#"{{"name":"{name}","data":{{"joint":2}},"at":"1970-01-01T00:00:00Z"}}"#));
    let data = data.expect("it is JSON");
    Arc::new(Event::new("twin.event", "lamp".to_owned(), Some(twin("lamp")), at(ms), data))
}

fn line(item: &HistoryItem) -> String {
    match (&item.action, &item.event, &item.missed) {
        (Some(action), ..) => {
            assert_eq!(action.by, None, "who wanted it is not everybody's to know");
            format!("{} {:?} {}", action.id, action.state, item.at.unix_ms())
        }
        (_, Some(event), _) => format!("{} {} {}", event.name, event.data.as_str(), item.at.unix_ms()),
        (.., Some(missed)) if missed.events > 0 => format!("{} events missed", missed.events),
        _ => format!("{:?} {}", item.property, item.at.unix_ms()),
    }
}

async fn lines(history: &History, kind: Option<HistoryKind>) -> Vec<String> {
    let query = HistoryQuery { kind, ..HistoryQuery::default() };
    history.page(&twin("lamp"), query).await.expect("it reads").items.iter().map(line).collect()
}

#[tokio::test]
async fn an_action_is_kept_when_it_is_invoked_and_when_it_ends_and_once_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("history.sqlite");
    let history = open(&path);
    let running = invocation("inv-1", 10, InvocationState::Running);
    let done = invocation("inv-1", 10, InvocationState::Completed);
    history.keep(&acting(1, vec![running]));
    history.keep(&acting(1, vec![done.clone()]));
    // Both at once: the queue had room for the newest only, or it was quick.
    history.keep(&acting(1, vec![done.clone(), invocation("inv-2", 20, InvocationState::Failed)]));
    let expected = ["inv-1 Pending 10", "inv-1 Completed 17", "inv-2 Pending 20", "inv-2 Failed 27"];
    assert_eq!(lines(&history, Some(HistoryKind::Actions)).await, expected);
    history.close();
    // When the daemon starts, twins show again what they showed before.
    let history = open(&path);
    history.keep(&acting(1, vec![done, invocation("inv-2", 20, InvocationState::Failed)]));
    history.keep(&acting(1, vec![invocation("inv-3", 30, InvocationState::Pending)]));
    let found = lines(&history, Some(HistoryKind::Actions)).await;
    assert_eq!((found.len(), found[4].as_str()), (5, "inv-3 Pending 30"));
    assert_eq!(lines(&history, Some(HistoryKind::Properties)).await, ["Some(\"on\") 1"]);
    history.close();
}

#[tokio::test]
async fn events_are_kept_and_those_that_found_no_room_are_counted_without_a_loss_of_values() {
    let gate = Arc::new((Mutex::new(Gate::default()), Condvar::new()));
    let store = Held { store: MemoryHistory::new(at(0)), gate: Arc::clone(&gate) };
    let options = HistoryOptions { queue_max: 1, ..HistoryOptions::default() };
    let history = History::start(store, &options).expect("it starts");
    history.event(&event("jam", 1));
    stands(&gate);
    history.event(&event("jam", 2));
    history.keep(&view("lamp", 1, &[("on", 1)]));
    (3..=5).for_each(|ms| history.event(&event("jam", ms)));
    goes_on(&gate);
    let found = lines(&history, None).await;
    assert_eq!(found[1], "Some(\"on\") 1", "an event does not take the place of a value");
    assert_eq!((found[0].as_str(), found[2].as_str()), ("jam {\"joint\":2} 1", "jam {\"joint\":2} 2"));
    assert_eq!(found[3], "3 events missed");
}

/// After a start an event of a twin may come before what the twin shows.
#[tokio::test]
async fn an_event_before_the_first_view_after_a_start_has_no_value_written_twice() {
    let mut store = MemoryHistory::new(at(0));
    store.append(&[value(1, "lamp", "on", 1)], at(1), Retention::default()).expect("it is kept");
    let gate = Arc::new((Mutex::new(Gate::default()), Condvar::new()));
    let store = Held { store, gate: Arc::clone(&gate) };
    let history = History::start(store, &HistoryOptions::default()).expect("it starts");
    // The thread stands with another twin, so that one batch takes both.
    history.gone(&twin("belt"), at(1));
    stands(&gate);
    history.event(&event("jam", 7));
    history.keep(&view("lamp", 1, &[("on", 1)]));
    history.keep(&view("lamp", 2, &[("on", 2)]));
    goes_on(&gate);
    assert_eq!(lines(&history, Some(HistoryKind::Properties)).await, ["Some(\"on\") 1", "Some(\"on\") 2"]);
}

/// What the store could not take is tried again: the newest view of each twin, and how many events came.
#[tokio::test]
async fn what_could_not_be_written_is_written_or_told_when_something_can_be() {
    let gate = Arc::new((Mutex::new(Gate { open: true, failing: true, ..Gate::default() }), Condvar::new()));
    let store = Held { store: MemoryHistory::new(at(0)), gate: Arc::clone(&gate) };
    let history = History::start(store, &HistoryOptions::default()).expect("it starts");
    history.event(&event("jam", 1));
    assert!(lines(&history, None).await.is_empty());
    history.keep(&view("lamp", 1, &[("on", 1)]));
    assert!(lines(&history, None).await.is_empty());
    gate.0.lock().failing = false;
    history.event(&event("jam", 7));
    let mut found = lines(&history, None).await;
    found.sort_unstable();
    assert_eq!(found, ["1 events missed", "Some(\"on\") 1", "jam {\"joint\":2} 7"]);
}

//! Systems open, and what they are asked and told comes out of sessions and listeners.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use twinway::{
    actors::port::outlet::Outlet,
    outside::{EventsFrom, Outgoing, Outside, OutsideLimits, Session, SystemKind},
    protocol::{
        JsonDoc, PendingKey, Problem, ProblemKind, TwinId,
        message::Wire,
        registry::Reach,
        signal::Signal,
        twin::{TwinClass, TwinView},
    },
};

use super::support::{Stand, ask, event, name, next, session, system, tell, with_system};

const WITHIN: Duration = Duration::from_secs(10);

/// What is there to come out without waiting.
fn ready(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| next(session).now_or_never()).collect()
}

async fn number(session: &mut Session) -> u64 {
    match session.next().await {
        Some(Outgoing::Event { number, .. }) => number,
        other => panic!("not an event: {other:?}"),
    }
}

fn listener(outside: &Outside, from: EventsFrom) -> Session {
    outside.events(SystemKind::DigitalTwin, &name("urn:home"), from).expect("there is room")
}

#[tokio::test]
async fn callers_that_open_a_system_at_once_get_the_same_actor() {
    let (outside, stand) = (Outside::default(), Stand::held());
    let id = name("urn:home");
    // In a box that says so: a host program may open from any thread.
    let opens = (0..50).map(|_| outside.open(&stand, SystemKind::DigitalTwin, &id, None, WITHIN).boxed());
    let (opened, ()) = tokio::join!(join_all(opens), async { stand.let_go() });
    let first = *opened[0].as_ref().expect("it opens");
    assert!(opened.iter().all(|entity| entity.as_ref().ok() == Some(&first)));
    assert_eq!((stand.made(), stand.named().len()), (1, 1));
    assert_eq!(outside.entity(SystemKind::DigitalTwin, &id), Some(first));
    assert_eq!(outside.entity(SystemKind::ThirdParty, &id), None);
}

#[tokio::test]
async fn an_actor_that_could_not_be_named_is_named_by_the_next_caller() {
    let (outside, stand) = (Outside::default(), Stand::held());
    let id = name("urn:home");
    let open = || outside.open(&stand, SystemKind::DigitalTwin, &id, None, WITHIN);
    // This caller gives up waiting; the next is refused.
    assert!(open().now_or_never().is_none());
    stand.let_go();
    stand.refuse_next();
    assert_eq!(open().await.expect_err("it is refused").kind, ProblemKind::Overloaded);
    assert_eq!(outside.entity(SystemKind::DigitalTwin, &id), None);
    open().await.expect("it opens");
    assert_eq!(stand.made(), 1);
}

#[tokio::test]
async fn how_a_known_system_is_reached_is_changed_by_its_actor() {
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let (kind, id) = (SystemKind::DigitalTwin, name("urn:home"));
    let reach = Reach::Webhook("http://127.0.0.1:1/hook".into());
    assert_eq!(outside.open(&stand, kind, &id, Some(reach.clone()), WITHIN).await, Ok(entity));
    assert_eq!(stand.named(), [(entity, Some(reach.clone()))]);
    // Only what the actor has made durable counts.
    assert_eq!(outside.reach(kind, &id), Some(Reach::Session));
    outside.signal(entity, Signal::Opened { entity, id: id.clone(), reach: reach.clone() });
    assert_eq!(outside.reach(kind, &id), Some(reach));
    assert_eq!(stand.made(), 0);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_called_is_refused_when_it_is_named() {
    let (outside, stand, _) = with_system(OutsideLimits::default(), Reach::Session);
    for (url, says) in [("https://a.example/", "no TLS"), ("ftp://a.example/", "`ftp:`"), ("/hook", "absolute")] {
        let reach = Some(Reach::Webhook(url.into()));
        let problem = outside.open(&stand, SystemKind::DigitalTwin, &name("urn:home"), reach, WITHIN).await;
        let problem = problem.expect_err("it cannot be called");
        assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/webhook")));
        assert!(problem.detail.contains(says), "{problem}");
    }
    assert!(stand.named().is_empty());
}

#[tokio::test]
async fn requests_and_events_come_out_of_a_session_in_their_order() {
    let (outside, _, entity) = with_system(OutsideLimits::default(), Reach::Session);
    tell(&outside, entity, [1]);
    let mut session = session(&outside);
    ask(&outside, entity, 100);
    ask(&outside, entity, 101);
    tell(&outside, entity, [2, 3]);
    ask(&outside, entity, 102);
    assert_eq!(ready(&mut session), ["1", "request 100", "request 101", "2", "3", "request 102"]);
}

#[tokio::test]
async fn a_session_that_waits_is_woken() {
    let (outside, _, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let mut session = session(&outside);
    let (got, ()) = tokio::join!(next(&mut session), async { ask(&outside, entity, 7) });
    assert_eq!(got, "request 7");
    let (got, ()) = tokio::join!(next(&mut session), async { tell(&outside, entity, [8]) });
    assert_eq!(got, "8");
    let (got, ()) = tokio::join!(next(&mut session), async { outside.close() });
    assert_eq!(got, "end");
}

#[tokio::test]
async fn a_newer_session_takes_the_place_of_the_older() {
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let mut older = session(&outside);
    ask(&outside, entity, 1);
    ask(&outside, entity, 2);
    assert_eq!(next(&mut older).await, "request 1");
    let mut newer = session(&outside);
    assert_eq!(next(&mut older).await, "end");
    assert!(older.replaced() && !newer.replaced());
    // What the older one had not handed out comes out of the newer one; what it had is told to be lost.
    assert_eq!(ready(&mut newer), ["request 2"]);
    assert_eq!(stand.undelivered(), [(entity, 1, ProblemKind::OutsideUnreachable)]);
    drop(older);
    ask(&outside, entity, 3);
    assert_eq!(ready(&mut newer), ["request 3"]);
}

#[tokio::test]
async fn a_session_that_closes_tells_what_it_did_not_answer() {
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let mut session = session(&outside);
    (1..=4).for_each(|request| ask(&outside, entity, request));
    assert_eq!([next(&mut session).await, next(&mut session).await], ["request 1", "request 2"]);
    outside.answered(entity, PendingKey::from_bits(1));
    // Answered by other means, before it was handed out.
    outside.answered(entity, PendingKey::from_bits(3));
    drop(session);
    let unreachable = ProblemKind::OutsideUnreachable;
    assert_eq!(stand.undelivered(), [(entity, 2, unreachable), (entity, 4, unreachable)]);
    assert_eq!(outside.counts().sessions, 0);
}

#[tokio::test]
async fn what_was_handed_out_is_told_apart_from_what_never_left() {
    // FGMV-29 9.2 step 17: a gate must know whether a device may act yet on what nobody will answer.
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    ask(&outside, entity, 1);
    let mut session = session(&outside);
    ask(&outside, entity, 2);
    ask(&outside, entity, 3);
    assert_eq!(next(&mut session).await, "request 2");
    drop(session);
    assert_eq!(stand.handed_out(), [(1, false), (2, true), (3, false)]);
}

#[tokio::test]
async fn a_way_out_that_closes_ends_every_session_and_leaves_no_request_waiting() {
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let (mut session, mut listener) = (session(&outside), listener(&outside, EventsFrom::Now));
    ask(&outside, entity, 1);
    ask(&outside, entity, 2);
    assert_eq!(next(&mut session).await, "request 1");
    outside.close();
    assert_eq!([next(&mut session).await, next(&mut listener).await], ["end", "end"]);
    drop(session);
    ask(&outside, entity, 3);
    let (unreachable, ending) = (ProblemKind::OutsideUnreachable, ProblemKind::ShuttingDown);
    assert_eq!(stand.undelivered(), [(entity, 1, unreachable), (entity, 2, ending), (entity, 3, ending)]);
    let again = outside.session(SystemKind::DigitalTwin, &name("urn:home"));
    assert_eq!(again.expect_err("it is closed").kind, ending);
}

#[tokio::test]
async fn a_request_to_a_system_without_a_way_is_refused_at_once() {
    let (outside, stand, entity) = with_system(OutsideLimits::default(), Reach::Session);
    ask(&outside, entity, 1);
    let stranger = system(SystemKind::ThirdParty, 9);
    ask(&outside, stranger, 2);
    let unreachable = ProblemKind::OutsideUnreachable;
    assert_eq!(stand.undelivered(), [(entity, 1, unreachable), (stranger, 2, unreachable)]);
}

#[tokio::test]
async fn a_full_queue_refuses_what_is_too_much_and_keeps_the_rest() {
    let limits = OutsideLimits { session_queue_max: 2, session_unanswered_max: 3, ..OutsideLimits::default() };
    let (outside, stand, entity) = with_system(limits, Reach::Session);
    let mut session = session(&outside);
    (1..=3).for_each(|request| ask(&outside, entity, request));
    assert_eq!(stand.undelivered(), [(entity, 3, ProblemKind::Overloaded)]);
    assert_eq!(ready(&mut session), ["request 1", "request 2"]);
    ask(&outside, entity, 4);
    assert_eq!(ready(&mut session), ["request 4"]);
    // Three are with the system now.
    ask(&outside, entity, 5);
    assert_eq!(stand.undelivered(), [(entity, 5, ProblemKind::Overloaded)]);
    outside.answered(entity, PendingKey::from_bits(1));
    ask(&outside, entity, 6);
    assert_eq!(ready(&mut session), ["request 6"]);
}

#[tokio::test]
async fn a_request_that_was_given_up_is_not_handed_out() {
    let limits = OutsideLimits { answer_ms_max: 0, ..OutsideLimits::default() };
    let (outside, _, entity) = with_system(limits, Reach::Session);
    let mut session = session(&outside);
    ask(&outside, entity, 1);
    tell(&outside, entity, [2]);
    assert_eq!(ready(&mut session), ["2"]);
}

#[tokio::test]
async fn a_listener_resumes_behind_the_last_event_it_saw() {
    let (outside, _, entity) = with_system(OutsideLimits::default(), Reach::Session);
    let mut first = listener(&outside, EventsFrom::Now);
    tell(&outside, entity, 1..=4);
    let seen = number(&mut first).await;
    drop(first);
    let mut again = listener(&outside, EventsFrom::After(seen));
    assert_eq!(ready(&mut again), ["2", "3", "4"]);
    assert_eq!(ready(&mut listener(&outside, EventsFrom::Now)), [""; 0]);
}

#[tokio::test]
async fn a_slow_listener_gets_a_gap_and_delays_nobody() {
    let limits = OutsideLimits { events_kept_max: 3, ..OutsideLimits::default() };
    let (outside, _, entity) = with_system(limits, Reach::Session);
    let (mut slow, mut fast) = (listener(&outside, EventsFrom::Now), listener(&outside, EventsFrom::Now));
    let mut all = Vec::new();
    for subject in 0..10 {
        tell(&outside, entity, [subject]);
        all.extend(ready(&mut fast));
    }
    assert_eq!(all, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(ready(&mut slow), ["gap 7", "7", "8", "9"]);
    tell(&outside, entity, [10]);
    assert_eq!((ready(&mut slow), ready(&mut fast)), (vec!["10".to_owned()], vec!["10".to_owned()]));
}

#[tokio::test]
async fn a_number_of_an_earlier_run_gives_a_gap_of_unknown_size() {
    let (outside, _, entity) = with_system(OutsideLimits::default(), Reach::Session);
    tell(&outside, entity, [1]);
    assert_eq!(ready(&mut listener(&outside, EventsFrom::After(41))), ["gap 0", "1"]);
}

#[tokio::test]
async fn a_session_goes_on_where_the_one_before_it_ended() {
    let limits = OutsideLimits { events_kept_max: 2, ..OutsideLimits::default() };
    let (outside, _, entity) = with_system(limits, Reach::Session);
    let mut first = session(&outside);
    tell(&outside, entity, [1]);
    assert_eq!(ready(&mut first), ["1"]);
    drop(first);
    tell(&outside, entity, [2, 3, 4]);
    assert_eq!(ready(&mut session(&outside)), ["gap 1", "3", "4"]);
}

#[tokio::test]
async fn sessions_and_listeners_are_limited_and_give_their_place_back() {
    let limits = OutsideLimits { sessions_max: 1, listeners_max: 1, ..OutsideLimits::default() };
    let (outside, _, _) = with_system(limits, Reach::Session);
    let other = system(SystemKind::DigitalTwin, 1);
    outside.signal(other, Signal::Opened { entity: other, id: name("urn:other"), reach: Reach::Session });
    let refused = |session: Result<Session, Problem>| session.expect_err("there is no room").kind;
    let older = session(&outside);
    // The same system needs no second place.
    let newer = session(&outside);
    let open_other = || outside.session(SystemKind::DigitalTwin, &name("urn:other"));
    assert_eq!(refused(open_other()), ProblemKind::LimitReached);
    drop(older);
    assert_eq!(refused(open_other()), ProblemKind::LimitReached);
    drop(newer);
    open_other().expect("there is room again");
    let listening = listener(&outside, EventsFrom::Now);
    let listen = || outside.events(SystemKind::DigitalTwin, &name("urn:other"), EventsFrom::Now);
    assert_eq!(refused(listen()), ProblemKind::LimitReached);
    drop(listening);
    listen().expect("there is room again");
    let nobody = outside.session(SystemKind::Metaverse, &name("urn:nobody"));
    assert_eq!(refused(nobody), ProblemKind::SystemUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_many_threads_signal() {
    const EACH: u64 = 2_000;
    let limits = OutsideLimits { session_queue_max: 10_000, events_kept_max: 10_000, ..OutsideLimits::default() };
    let (outside, stand, entity) = with_system(limits, Reach::Session);
    let (mut session, mut listener) = (session(&outside), listener(&outside, EventsFrom::Now));
    let outside = Arc::new(outside);
    let signals: Vec<_> = (0..2)
        .map(|thread| {
            let outside = Arc::clone(&outside);
            std::thread::spawn(move || {
                for n in 0..EACH {
                    ask(&outside, entity, thread * EACH + n);
                    tell(&outside, entity, [0]);
                }
            })
        })
        .collect();
    let heard = tokio::spawn(async move {
        let first = number(&mut listener).await;
        for expected in first + 1..first + 2 * EACH {
            assert_eq!(number(&mut listener).await, expected);
        }
    });
    let (mut requests, mut events) = (BTreeSet::new(), 0);
    while requests.len() as u64 + events < 4 * EACH {
        match session.next().await {
            Some(Outgoing::Request { request, .. }) => assert!(requests.insert(request.to_bits()), "{request:?} twice"),
            Some(Outgoing::Event { .. }) => events += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((requests.len() as u64, events), (2 * EACH, 2 * EACH));
    heard.await.expect("every event came once, in order");
    signals.into_iter().for_each(|thread| thread.join().expect("it signals"));
    assert_eq!(stand.undelivered(), []);
}

/// FGMV-28 REQ-DT-07: what is told to many is written once.
#[test]
fn an_event_of_which_many_systems_are_told_is_one_for_all_of_them() {
    let outside = Outside::default();
    let systems: Vec<_> = (0..3).map(|slot| (system(SystemKind::Metaverse, slot), name(&format!("m{slot}")))).collect();
    for (entity, id) in &systems {
        outside.signal(*entity, Signal::Opened { entity: *entity, id: id.clone(), reach: Reach::Session });
    }
    // Each system's actor takes what it has been sent, one event behind the other.
    let events = ["a", "b"].map(|subject| Arc::new(event(subject)));
    for (entity, _) in &systems {
        for event in &events {
            outside.signal(*entity, Signal::Event { entity: *entity, event: Arc::clone(event) });
        }
    }
    let heard = systems.iter().map(|(_, id)| {
        let mut session = outside.session(SystemKind::Metaverse, id).expect("there is room");
        let told = std::iter::from_fn(|| match session.ready() {
            Some(Outgoing::Event { event, .. }) => Some(event),
            _ => None,
        });
        told.collect::<Vec<_>>()
    });
    let heard: Vec<_> = heard.collect();
    for told in &heard {
        assert_eq!(told.iter().map(|event| &*event.subject).collect::<Vec<_>>(), ["a", "b"]);
        assert!(told.iter().zip(&heard[0]).all(|(own, first)| Arc::ptr_eq(own, first)), "they share both");
    }
}

#[test]
fn readers_see_the_newest_snapshot() {
    let outside = Outside::default();
    let id = TwinId::new("urn:lamp").expect("a name");
    let from = system(SystemKind::DigitalTwin, 0);
    for version in [1, 2] {
        let view = TwinView {
            id: id.clone(),
            system: name("urn:home"),
            physical_object: None,
            class: TwinClass::Object,
            version,
            properties: BTreeMap::new(),
            desired: None,
            invocations: None,
            description: JsonDoc::null(),
        };
        Outlet::<Wire>::signal(&outside, from, Signal::Twin(Arc::new(view)));
    }
    assert_eq!(outside.twin(&id).map(|view| view.version), Some(2));
    assert_eq!(outside.counts().twins, 1);
}

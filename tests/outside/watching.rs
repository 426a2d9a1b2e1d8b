//! Subscribers choose what they hear, are told what they missed, and delay nobody (FGMV-29 9.2 step 14).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use twinway::{
    actors::port::outlet::Outlet as _,
    outside::{
        Actors, EventsFrom, Gap, MissedTwin, Outgoing, Outside, OutsideLimits, Session, SystemKind, Watch, WatchQuery,
    },
    protocol::{
        EntityId, JsonDoc, Problem, SystemId, TwinId,
        message::{AnswerRequest, OpenSystem, RequestUndelivered},
        registry::Reach,
        signal::{Event, Signal},
        time::Timestamp,
        twin::{PropertyValue, TwinClass, TwinView},
    },
};

use super::support::{name, system, with_system};

fn twin(id: &str) -> TwinId {
    TwinId::new(id).expect("a name")
}

fn doc(text: &str) -> JsonDoc {
    JsonDoc::parse(text).expect("it is JSON")
}

/// A property of a twin has a new value.
fn change(outside: &Outside, entity: EntityId, id: &str, version: u64, values: &str) {
    let at = Timestamp::from_unix_ms(version);
    let data = doc(&format!("{{\"values\":{values},\"version\":{version},\"at\":\"{at}\"}}"));
    let event = Event::new("twin.changed", id.to_owned(), Some(twin(id)), at, data);
    outside.signal(entity, Signal::Event { entity, event: Arc::new(event) });
}

fn publish(outside: &Outside, id: &str, version: u64, properties: &[(&str, u64, &str)]) {
    let property = |(name, version, value): &(&str, u64, &str)| {
        let at = Timestamp::from_unix_ms(*version);
        ((*name).to_owned(), PropertyValue { value: doc(value), version: *version, at })
    };
    let view = TwinView {
        id: twin(id),
        system: name("urn:home"),
        physical_object: None,
        class: TwinClass::Object,
        version,
        properties: properties.iter().map(property).collect::<BTreeMap<_, _>>(),
        desired: None,
        invocations: None,
        description: JsonDoc::null(),
    };
    outside.signal(EntityId::new(0, 0, 0), Signal::Twin(Arc::new(view)));
}

fn watch(outside: &Outside, from: EventsFrom, wanted: WatchQuery) -> Session {
    let watch = Watch::read(wanted).expect("it is understood");
    outside.watch(SystemKind::DigitalTwin, &name("urn:home"), from, watch).expect("there is room")
}

fn wanted(change: impl FnOnce(&mut WatchQuery)) -> WatchQuery {
    let mut wanted = WatchQuery::default();
    change(&mut wanted);
    wanted
}

/// What is there without waiting, however often the subscriber lets others run.
fn ready(session: &mut Session) -> Vec<Outgoing> {
    let next = |_| (0..1_000).find_map(|_| session.next().now_or_never().flatten());
    (0..).map_while(next).collect()
}

fn told(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Event { event, skipped, .. } => {
            let data: serde_json::Value = event.data.read().expect("it is JSON");
            format!("{} {} v{} skipped {skipped}", event.subject, data["values"], data["version"])
        }
        Outgoing::Gap(gap) => format!("gap {}", gap.missed),
        Outgoing::Request { .. } => "request".to_owned(),
    }
}

fn all_told(session: &mut Session) -> Vec<String> {
    ready(session).iter().map(told).collect()
}

fn limits(events_kept_max: usize, events_marked_max: usize) -> OutsideLimits {
    OutsideLimits { events_kept_max, events_marked_max, ..OutsideLimits::default() }
}

#[tokio::test]
async fn a_slow_subscriber_is_told_exactly_which_versions_it_missed_and_a_fast_one_misses_none() {
    let (outside, _, entity) = with_system(limits(2, 100), Reach::Session);
    let (mut slow, mut fast) =
        (watch(&outside, EventsFrom::Now, wanted(|_| {})), watch(&outside, EventsFrom::Now, wanted(|_| {})));
    let mut all = Vec::new();
    for version in 1..=4 {
        change(&outside, entity, "lamp", version, "{\"on\":1}");
        change(&outside, entity, "arm", version + 10, "{\"on\":1}");
        all.extend(all_told(&mut fast));
    }
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|told| !told.starts_with("gap")), "{all:?}");
    let slow = ready(&mut slow);
    let Outgoing::Gap(Gap { missed: 6, first_number: Some(first), last_number: Some(last), twins: Some(twins) }) =
        &slow[0]
    else {
        panic!("{:?}", slow[0]);
    };
    assert_eq!(last - first, 5);
    let missed = |id: &str, from: u64| MissedTwin {
        twin: Some(twin(id)),
        missed: 3,
        first_version: Some(from),
        last_version: Some(from + 2),
    };
    assert_eq!(*twins, [missed("arm", 11), missed("lamp", 1)]);
    let Outgoing::Event { number, .. } = &slow[1] else { panic!("{:?}", slow[1]) };
    assert_eq!((slow.len(), *number), (3, last + 1));
}

#[tokio::test]
async fn a_gap_longer_than_what_is_marked_says_how_many_and_which_numbers() {
    let (outside, _, entity) = with_system(limits(1, 2), Reach::Session);
    let mut slow = watch(&outside, EventsFrom::Now, wanted(|_| {}));
    (1..=5).for_each(|version| change(&outside, entity, "lamp", version, "{}"));
    let slow = ready(&mut slow);
    let Outgoing::Gap(gap) = &slow[0] else { panic!("{:?}", slow[0]) };
    assert_eq!(
        (gap.missed, gap.last_number.zip(gap.first_number).map(|(l, f)| l - f), &gap.twins),
        (4, Some(3), &None)
    );
}

#[tokio::test]
async fn a_subscriber_to_one_twin_hears_of_no_gap_in_another() {
    let (outside, _, entity) = with_system(limits(1, 100), Reach::Session);
    let of = |id: &str| wanted(|wanted| wanted.twin = Some(id.to_owned()));
    let mut lamp = watch(&outside, EventsFrom::Now, of("lamp"));
    let mut arm = watch(&outside, EventsFrom::Now, of("arm"));
    change(&outside, entity, "lamp", 1, "{\"on\":1}");
    change(&outside, entity, "lamp", 2, "{\"on\":2}");
    change(&outside, entity, "arm", 1, "{\"on\":3}");
    assert_eq!(all_told(&mut lamp), ["gap 2"]);
    assert_eq!(all_told(&mut arm), ["arm {\"on\":3} v1 skipped 0"]);
}

#[tokio::test]
async fn whoever_wants_the_newest_gets_the_last_value_of_each_property_and_how_many_were_skipped() {
    let (outside, _, entity) = with_system(limits(100, 100), Reach::Session);
    let mut newest = watch(&outside, EventsFrom::Now, wanted(|wanted| wanted.newest = true));
    change(&outside, entity, "lamp", 1, "{\"hue\":7}");
    (2..=9).for_each(|version| change(&outside, entity, "lamp", version, &format!("{{\"on\":{version}}}")));
    change(&outside, entity, "arm", 1, "{\"on\":1}");
    assert_eq!(all_told(&mut newest), ["lamp {\"hue\":7,\"on\":9} v9 skipped 8", "arm {\"on\":1} v1 skipped 0"]);
    change(&outside, entity, "lamp", 10, "{\"on\":10}");
    assert_eq!(all_told(&mut newest), ["lamp {\"on\":10} v10 skipped 0"]);
}

#[tokio::test]
async fn the_newest_value_is_told_even_if_its_event_is_kept_no_more() {
    let (outside, _, entity) = with_system(limits(2, 100), Reach::Session);
    let mut newest = watch(&outside, EventsFrom::Now, wanted(|wanted| wanted.newest = true));
    change(&outside, entity, "lamp", 1, "{\"hue\":7}");
    (2..=9).for_each(|version| change(&outside, entity, "lamp", version, &format!("{{\"on\":{version}}}")));
    publish(&outside, "lamp", 9, &[("hue", 1, "7"), ("on", 9, "9")]);
    assert_eq!(all_told(&mut newest), ["lamp {\"hue\":7,\"on\":9} v9 skipped 8"]);
}

#[tokio::test]
async fn whoever_wants_the_newest_and_resumes_misses_no_last_value() {
    let (outside, _, entity) = with_system(limits(100, 100), Reach::Session);
    let newest = || wanted(|wanted| wanted.newest = true);
    let mut first = watch(&outside, EventsFrom::Now, newest());
    change(&outside, entity, "lamp", 1, "{\"on\":1}");
    change(&outside, entity, "arm", 1, "{\"on\":2}");
    change(&outside, entity, "lamp", 2, "{\"on\":3}");
    let Some(Outgoing::Event { number, event, .. }) = first.next().await else { panic!("an event was to come") };
    assert_eq!(event.subject, "lamp");
    drop(first);
    let mut again = watch(&outside, EventsFrom::After(number), newest());
    let told = all_told(&mut again);
    assert!(told.contains(&"arm {\"on\":2} v1 skipped 0".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_subscriber_chooses_by_property_system_and_expression() {
    let (outside, _, entity) = with_system(limits(100, 100), Reach::Session);
    publish(&outside, "lamp", 0, &[]);
    let mut hue = watch(&outside, EventsFrom::Now, wanted(|wanted| wanted.property = Some("hue".to_owned())));
    let mut home = watch(&outside, EventsFrom::Now, wanted(|wanted| wanted.system = Some("urn:home".to_owned())));
    let bright = wanted(|wanted| wanted.filter = Some("data.values.hue > 5 && system == 'urn:home'".to_owned()));
    let mut bright = watch(&outside, EventsFrom::Now, bright);
    change(&outside, entity, "lamp", 1, "{\"on\":1}");
    change(&outside, entity, "lamp", 2, "{\"hue\":3}");
    change(&outside, entity, "lamp", 3, "{\"hue\":9}");
    change(&outside, entity, "arm", 1, "{\"hue\":9}");
    assert_eq!(all_told(&mut hue).len(), 3);
    assert_eq!(all_told(&mut home).len(), 3);
    assert_eq!(all_told(&mut bright), ["lamp {\"hue\":9} v3 skipped 0"]);
}

#[tokio::test]
async fn operators_hear_whose_calls_are_held_back() {
    let outside = Outside::default();
    let mut heard = outside.watch_operation(EventsFrom::Now, Watch::default()).expect("there is room");
    let entity = EntityId::new(0, 0, 0);
    outside.signal(entity, Signal::Circuit { system: name("shop"), open: true });
    let Some(Outgoing::Event { event, .. }) = heard.next().await else { panic!("an event was to come") };
    assert_eq!((event.kind, event.subject.as_str()), ("circuit.opened", "shop"));
    outside.close();
    assert!(heard.next().await.is_none());
}

#[tokio::test]
async fn whoever_wants_the_newest_of_one_property_is_told_no_other_even_if_its_events_are_kept_no_more() {
    let (outside, _, entity) = with_system(limits(1, 100), Reach::Session);
    let of_hue = wanted(|wanted| (wanted.newest, wanted.property) = (true, Some("hue".to_owned())));
    let mut hue = watch(&outside, EventsFrom::Now, of_hue);
    let chosen = wanted(|wanted| (wanted.newest, wanted.filter) = (true, Some("has(data.values.hue)".to_owned())));
    let mut chosen = watch(&outside, EventsFrom::Now, chosen);
    change(&outside, entity, "lamp", 1, "{\"hue\":7}");
    change(&outside, entity, "lamp", 2, "{\"on\":1}");
    change(&outside, entity, "lamp", 3, "{\"on\":2}");
    publish(&outside, "lamp", 3, &[("hue", 1, "7"), ("on", 3, "2")]);
    assert_eq!(all_told(&mut hue), ["lamp {\"hue\":7} v1 skipped 1"]);
    // An expression cannot choose among values: it is a gap.
    assert_eq!(all_told(&mut chosen), ["gap 2"]);
}

/// Actors of a system that has selected the lamp. A change of it is on its way, and comes in before the second answer.
#[derive(Debug)]
struct OnItsWay(Arc<Outside>, EntityId, AtomicU32);

impl Actors for OnItsWay {
    fn make(&self, kind: SystemKind) -> Result<EntityId, Problem> {
        Ok(system(kind, 0))
    }

    fn name(&self, _: EntityId, _: OpenSystem, _: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn answer(&self, _: EntityId, _: AnswerRequest, _: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn undelivered(&self, _: EntityId, _: RequestUndelivered) -> Result<(), Problem> {
        Ok(())
    }

    fn selected(&self, _: EntityId, _: SystemId, _: Duration) -> BoxFuture<'_, Option<Vec<TwinId>>> {
        if self.2.fetch_add(1, Ordering::SeqCst) == 1 {
            change(&self.0, self.1, "lamp", 5, "{}");
        }
        Box::pin(std::future::ready(Some(vec![twin("lamp")])))
    }
}

#[tokio::test]
async fn a_gap_between_runs_names_no_version_that_is_told_behind_it() {
    let (outside, entity) = (Arc::new(Outside::new(OutsideLimits::default())), system(SystemKind::Metaverse, 0));
    outside.attach(OnItsWay(Arc::clone(&outside), entity, AtomicU32::new(0)));
    outside.signal(entity, Signal::Opened { entity, id: name("urn:plaza"), reach: Reach::Session });
    publish(&outside, "lamp", 5, &[]);
    let watch = Watch::read(WatchQuery::default()).expect("it is understood");
    let from = EventsFrom::After(41);
    let mut session = outside.watch(SystemKind::Metaverse, &name("urn:plaza"), from, watch).expect("there is room");
    let Some(Outgoing::Gap(gap)) = session.next().await else { panic!("it is of another run") };
    let passed_by = MissedTwin { twin: Some(twin("lamp")), missed: 0, first_version: None, last_version: Some(4) };
    assert_eq!((gap.missed, gap.twins), (0, Some(vec![passed_by])));
    assert_eq!(session.next().await.iter().map(told).collect::<Vec<_>>(), ["lamp {} v5 skipped 0"]);
}

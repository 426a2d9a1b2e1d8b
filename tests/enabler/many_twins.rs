//! One system with thousands of twins.

use std::collections::BTreeSet;

use twinway::{
    Enabler,
    protocol::{ProblemKind, TwinId},
};

use super::house::{House, kind, lamp, name, nothing_is_lost, twin_system, values};

const TWINS: usize = 5_000;

/// What the pages of this length list, in their order.
async fn listed(enabler: &Enabler, limit: u32) -> Vec<TwinId> {
    let world = enabler.mii(name("world"));
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = world.list_twins(Some(name("city")), cursor, Some(limit)).await.expect("it is registered");
        assert!(page.items.len() <= limit as usize && !page.items.is_empty());
        all.extend(page.items.into_iter().map(|twin| twin.id));
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn thousands_of_twins_are_registered_listed_once_each_and_there_after_a_restart() {
    let description = lamp("Street lamp");
    let entry = |number: usize| format!(r#"{{"id": "lamp-{number}", "description": {description}}}"#);
    let city = twin_system("city", &(0..TWINS).map(entry).collect::<Vec<_>>());
    let house = House::on_disk(nothing_is_lost()).await;
    let system = house.enabler.dii(name("city"));
    let registered = system.register(city.clone()).await.expect("it is registered");
    assert_eq!(registered.system.twin_count as usize, TWINS);
    assert_eq!(house.enabler.outside().counts().twins, TWINS);

    let all: BTreeSet<TwinId> = (0..TWINS).map(|number| name(&format!("lamp-{number}"))).collect();
    for limit in [333, 1_000] {
        let listed = listed(&house.enabler, limit).await;
        assert!(listed.iter().eq(&all), "{} of {TWINS} by pages of {limit}", listed.len());
    }
    let world = house.enabler.mii(name("world"));
    let some: Vec<TwinId> = all.iter().take(1_000).cloned().collect();
    world.select_twins(some.clone(), vec![]).await.expect("so many at once are allowed");
    let more: Vec<TwinId> = all.iter().take(1_001).cloned().collect();
    assert_eq!(kind(world.select_twins(more, vec![]).await), ProblemKind::LimitReached);
    system.report(name("lamp-4999"), values(&[("on", "true")]), None).await.expect("it is shown");

    let house = house.restarted().await;
    assert_eq!(house.enabler.outside().counts().twins, TWINS);
    assert!(listed(&house.enabler, 1_000).await.iter().eq(&all));
    let world = house.enabler.mii(name("world"));
    assert_eq!(world.select_twins(vec![], vec![]).await.expect("nothing is asked"), some);
    let shown = world.twin(&name("lamp-4999")).expect("it is registered");
    assert_eq!((shown.version, shown.description.as_str()), (1, description.as_str()));
    house.enabler.dii(name("city")).register(city).await.expect("the same again changes nothing");
}

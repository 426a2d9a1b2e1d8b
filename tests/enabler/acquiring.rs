//! Subscriptions to information of twins (FGMV-29 8.2.5) across restarts.

use twinway::{
    outside::{EventsFrom, Outgoing, Session},
    protocol::{JsonDoc, message::SubscriptionTerms},
};

use crate::house::{House, home, name, names, nothing_is_lost, shop, values};

/// The next delivery that the shop hears.
async fn delivered(session: &mut Session) -> JsonDoc {
    loop {
        if let Some(Outgoing::Event { event, .. }) = session.next().await
            && event.kind == "twin.information"
        {
            return event.data.clone();
        }
    }
}

#[actix_web::test]
async fn a_subscription_outlives_a_crash_and_tells_what_the_twins_are_again() {
    let mut house = House::in_memory(nothing_is_lost()).await;
    house.enabler.dii(name("home")).register(home()).await.expect("it registers");
    let shop_system = house.enabler.sii(name("shop"));
    shop_system.register(shop()).await.expect("it registers");
    let terms = SubscriptionTerms {
        twins: names(&["lamp", "spot"]),
        min_interval_ms: Some(100),
        ..SubscriptionTerms::default()
    };
    let (before, refused) = shop_system.subscribe_twins(terms).await.expect("it may read them");
    assert!(refused.is_empty());

    house = house.crashed().await;
    let shop_system = house.enabler.sii(name("shop"));
    assert_eq!(shop_system.twin_subscription(before.id.clone()).await.as_ref(), Ok(&before));
    let mut events = shop_system.events(EventsFrom::After(0)).await.expect("it listens");
    let resumed = delivered(&mut events).await;
    assert!(resumed.as_str().contains("\"reason\":\"resumed\""), "{}", resumed.as_str());
    let change = values(&[("on", "true")]);
    house.enabler.dii(name("home")).report(name("lamp"), change, None).await.expect("it is shown");
    let changed = delivered(&mut events).await;
    assert!(changed.as_str().contains("\"reason\":\"changed\""), "{}", changed.as_str());
    assert!(changed.as_str().contains("\"lamp\"") && !changed.as_str().contains("\"spot\""));

    shop_system.end_twin_subscription(before.id.clone()).await.expect("it is its own");
    house = house.restarted().await;
    let left = house.enabler.sii(name("shop")).twin_subscriptions(None, None).await.expect("it is a list");
    assert_eq!(left.items, []);
}

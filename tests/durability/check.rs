//! Looks for everything that was acknowledged, and for what is there by half.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use twinway::{
    client::Client,
    protocol::{
        SystemId, TwinId,
        access::TwinPermission,
        registry::{Page, SystemQuery, TwinSystemDescription, TwinSystemListing},
        twin::{TwinListing, TwinView},
    },
};

use super::{
    daemon::Daemon,
    facts::{Counted, Facts},
    world::{LEVEL, POWER, values},
};

const PAGE: Option<u32> = Some(1000);
/// How many questions are under way at once.
const AT_ONCE: usize = 16;

/// Checks every fact. What was under way and turns out to be done, or not, counts as acknowledged from now on.
pub(crate) async fn check(daemon: &Daemon, facts: &mut Facts) {
    let ready = daemon.operator().readiness().await.expect("it can be asked");
    assert_eq!((ready.status.as_str(), ready.reasons), ("ready", Vec::new()));
    homes(daemon, facts).await;
    advisors(daemon, facts).await;
    selections(daemon, facts).await;
    permissions(daemon, facts).await;
    authorizations(daemon, facts).await;
    twins(daemon, facts).await;
}

/// Asks `ask` of every item, many at once.
async fn each<T, F: Future<Output = ()>>(items: impl IntoIterator<Item = T>, ask: impl Fn(T) -> F) {
    stream::iter(items).for_each_concurrent(AT_ONCE, ask).await;
}

async fn all_pages<T, F>(mut page: impl FnMut(Option<String>) -> F) -> Vec<T>
where
    F: Future<Output = Page<T>>,
{
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let Page { items, next } = page(cursor).await;
        all.extend(items);
        cursor = next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// FGMV-29 9.2 steps 1 to 5.
async fn homes(daemon: &Daemon, facts: &mut Facts) {
    let world = daemon.client("looker");
    let found = all_pages(|cursor| {
        let world = world.clone();
        async move {
            let query = SystemQuery { cursor, limit: PAGE, ..SystemQuery::default() };
            world.search_twin_systems(&query).await.expect("it is searched")
        }
    });
    let found: BTreeMap<SystemId, TwinSystemListing> =
        found.await.into_iter().map(|listing| (listing.system.id.clone(), listing)).collect();
    for (id, home) in &facts.homes {
        if let Some(acknowledged) = &home.acknowledged {
            assert_eq!(found.get(id), Some(acknowledged), "`{id}` is not found as it was acknowledged");
        }
    }
    each(&found, |(id, listing)| {
        let (world, home) = (world.clone(), facts.homes.get(id));
        async move {
            let sent = &home.unwrap_or_else(|| panic!("nobody registered `{id}`")).sent;
            let by_id = daemon.client(id.as_str()).twin_system(id).await.expect("it is registered");
            assert_eq!(by_id, *listing);
            complete(&world, sent, listing).await;
        }
    })
    .await;
    let fresh = facts.homes.iter_mut().filter(|(id, home)| !home.probed && found.contains_key(*id));
    for (id, home) in fresh {
        home.probed = true;
        for twin in &home.sent.twins {
            // Everyone between the twin system and its twins was told of them.
            let counted = facts.twins.entry(twin.id.clone()).or_default();
            counted.power_sent += 1;
            let power = values(POWER, counted.power_sent);
            let version = daemon.client(id.as_str()).report_change(&twin.id, &power, None).await;
            counted.power = Some((version.expect("its twin hears of it"), counted.power_sent));
        }
    }
}

/// A registered home is there with all of its twins.
async fn complete(world: &Client, sent: &TwinSystemDescription, listing: &TwinSystemListing) {
    let id = &sent.id;
    let twins =
        all_pages(
            |cursor| async move { world.list_twins(Some(id), cursor.as_deref(), PAGE).await.expect("it is listed") },
        );
    let listed: BTreeSet<TwinId> = twins.await.into_iter().map(|twin: TwinListing| twin.id).collect();
    let wanted: BTreeSet<TwinId> = sent.twins.iter().map(|twin| twin.id.clone()).collect();
    assert_eq!((listed, wanted.len()), (wanted, listing.twin_count as usize), "the twins of `{id}`");
    for entry in &sent.twins {
        let view = world.twin(&entry.id).await.unwrap_or_else(|error| panic!("`{}` of `{id}`: {error}", entry.id));
        let shown = (&view.system, &view.physical_object, view.description.as_str());
        assert_eq!(shown, (id, &entry.physical_object, entry.description.as_str()));
    }
}

/// FGMV-29 9.1 steps 1 to 5.
async fn advisors(daemon: &Daemon, facts: &Facts) {
    let world = daemon.client("looker");
    let found = all_pages(|cursor| {
        let world = world.clone();
        async move {
            let query = SystemQuery { cursor, limit: PAGE, ..SystemQuery::default() };
            world.search_third_party_systems(&query).await.expect("it is searched")
        }
    });
    let found: BTreeMap<SystemId, _> =
        found.await.into_iter().map(|listing| (listing.system.id.clone(), listing)).collect();
    for (id, advisor) in &facts.advisors {
        if let Some(acknowledged) = &advisor.acknowledged {
            assert_eq!(found.get(id), Some(acknowledged), "`{id}` is not found as it was acknowledged");
        }
    }
    each(&found, |(id, listing)| async move {
        let sent = &facts.advisors.get(id).unwrap_or_else(|| panic!("nobody registered `{id}`")).sent;
        assert_eq!(listing.system, *sent);
        let by_id = daemon.client(id.as_str()).third_party_system(id).await.expect("it is registered");
        assert_eq!(by_id, *listing);
    })
    .await;
}

/// FGMV-29 9.2 steps 6 and 7: a selection is as it was acknowledged, or the next request was carried out whole.
async fn selections(daemon: &Daemon, facts: &mut Facts) {
    for (world, selection) in &mut facts.selections {
        let client = daemon.client(world.as_str());
        let twins = all_pages(|cursor| {
            let client = client.clone();
            async move { client.list_twins(None, cursor.as_deref(), PAGE).await.expect("they are listed") }
        });
        let selected: BTreeSet<TwinId> =
            twins.await.into_iter().filter(|twin| twin.selected).map(|twin| twin.id).collect();
        let under_way = selection.under_way.take();
        if under_way.as_ref() == Some(&selected) {
            selection.acknowledged = selected;
        } else {
            assert_eq!(selected, selection.acknowledged, "what `{world}` has selected");
        }
    }
}

/// FGMV-29 9.2 steps 8 to 12.
async fn permissions(daemon: &Daemon, facts: &Facts) {
    each(&facts.permissions, |permission: &TwinPermission| async move {
        let client = daemon.client(permission.metaverse.as_str());
        let shown = client.permission(&permission.user, &permission.twin).await;
        assert_eq!(shown.as_ref(), Ok(permission));
    })
    .await;
}

/// FGMV-29 9.1 steps 6 to 10.
async fn authorizations(daemon: &Daemon, facts: &mut Facts) {
    for (id, kept) in &mut facts.authorizations {
        let client = daemon.client(kept.acknowledged.metaverse.as_str());
        let mut shown = client.user_authorization(id).await.expect("it is shown");
        if kept.under_way.take().is_some_and(|decision| decision == shown.decision) {
            kept.acknowledged.decision = shown.decision.clone();
        }
        // Text is compared as it is written: a document is kept byte for byte.
        std::mem::swap(&mut shown, &mut kept.acknowledged);
        assert_eq!(shown, kept.acknowledged);
    }
}

/// FGMV-29 9.2 steps 13 to 18x.
async fn twins(daemon: &Daemon, facts: &mut Facts) {
    let world = daemon.client("looker");
    for (id, counted) in &mut facts.twins {
        match world.twin(id).await {
            Ok(view) => newer(counted, view),
            // Reports are counted before they are sent; a twin that was never acknowledged may not be there.
            Err(error) => assert!(counted.power.is_none() && counted.level.is_none(), "`{id}`: {error}"),
        }
    }
}

/// Whether a twin shows what was acknowledged, or what came after it.
fn newer(counted: &mut Counted, view: TwinView) {
    let shown = |name: &str| {
        let value = view.properties.get(name)?;
        Some((value.version, value.value.read::<u64>().expect("it is a number")))
    };
    if let Some((version, value)) = counted.power {
        let (version_shown, value_shown) = shown(POWER).expect("it was reported");
        assert!(view.version >= version, "{view:?} was at {version}");
        let same = (version_shown, value_shown) == (version, value);
        let later = version_shown > version && value_shown > value && value_shown <= counted.power_sent;
        assert!(same || later, "{view:?} showed {value} at {version}");
    }
    if let Some(value) = counted.level {
        let (_, value_shown) = shown(LEVEL).expect("it was changed");
        assert!((value..=counted.level_sent).contains(&value_shown), "{view:?} showed {value}");
    }
    if let Some(before) = &counted.view {
        assert!(view.version >= before.version, "{view:?} was {before:?}");
        assert!(view.version > before.version || view == *before, "{view:?} was {before:?}");
    }
    counted.view = Some(view);
}

//! Lifetimes of registrations across SIGKILL (FGMV-29 8.2.1 and 8.3.1): they end while the daemon is down as while it runs, and
//! what was renewed before the kill stays.

use std::time::Duration;

use twinway::{
    client::{Client, Registered},
    protocol::{
        SystemId,
        registry::{Health, Standing, SystemQuery},
        time::Timestamp,
    },
};

use super::{
    daemon::{Daemon, Place},
    world::{advisor, home, system},
};

/// Lifetimes may be as short as a test wants them.
const SHORT: &str = "[journal]\nloss_window_ms = 0\n[entities]\nregistration_lifetime_ms_min = 50\n";
/// Longer than this test takes, and shorter.
const HOUR_MS: u64 = 3_600_000;
const MOMENT_MS: u64 = 400;

const KINDS: [Registered; 2] = [Registered::ThirdParty, Registered::TwinSystem];

/// A system of this kind registers, for so long.
async fn register(daemon: &Daemon, kind: Registered, id: &str, lifetime_ms: u64) {
    let client = daemon.client(id);
    match kind {
        Registered::ThirdParty => {
            let mut description = advisor(id);
            description.lifetime_ms = Some(lifetime_ms);
            client.register_third_party_system(&description).await.expect("it registers");
        }
        Registered::TwinSystem => {
            let mut description = home(id, 1);
            description.lifetime_ms = Some(lifetime_ms);
            client.register_twin_system(&description).await.expect("it registers");
        }
    }
}

fn named(kind: Registered, name: &str) -> String {
    match kind {
        Registered::ThirdParty => format!("shop.{name}"),
        Registered::TwinSystem => format!("home.{name}"),
    }
}

async fn standing(daemon: &Daemon, kind: Registered, id: &SystemId) -> Standing {
    let client = daemon.client(id.as_str());
    match kind {
        Registered::ThirdParty => client.third_party_system(id).await.expect("it is there").standing,
        Registered::TwinSystem => client.twin_system(id).await.expect("it is there").standing,
    }
}

/// Which systems a metaverse system finds that are like this.
async fn found(plaza: &Client, kind: Registered, filter: &str) -> Vec<String> {
    let query = SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() };
    match kind {
        Registered::ThirdParty => {
            let page = plaza.search_third_party_systems(&query).await.expect("it is understood");
            page.items.into_iter().map(|listing| listing.system.id.to_string()).collect()
        }
        Registered::TwinSystem => {
            let page = plaza.search_twin_systems(&query).await.expect("it is understood");
            page.items.into_iter().map(|listing| listing.system.id.to_string()).collect()
        }
    }
}

/// Until the clock of the wall, which lifetimes go by, is behind this moment.
async fn until(moment: Timestamp) {
    let now_ms =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_millis();
    while now_ms() <= u128::from(moment.unix_ms()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_ends_while_the_daemon_is_down_and_one_that_was_renewed_before_stays() {
    let place = Place::new(SHORT);
    let mut daemon = place.start();
    let mut promised = Vec::new();
    let mut last = Timestamp::default();
    for kind in KINDS {
        let (renewed, brief) = (system(named(kind, "renewed")), system(named(kind, "brief")));
        register(&daemon, kind, renewed.as_str(), MOMENT_MS).await;
        let again = daemon.client(renewed.as_str()).renew_registration(kind, &renewed, Some(HOUR_MS)).await;
        let expires_at = again.expect("it is renewed").expires_at.expect("it has a lifetime");
        promised.push((kind, renewed, expires_at));
        register(&daemon, kind, brief.as_str(), MOMENT_MS).await;
        let brief = standing(&daemon, kind, &brief).await;
        last = last.max(brief.expires_at.expect("it has a lifetime"));
    }
    daemon.kill();
    until(last).await;
    let daemon = place.start();
    let plaza = daemon.client("plaza");
    for (kind, renewed, expires_at) in promised {
        let stands = standing(&daemon, kind, &renewed).await;
        assert_eq!(
            (stands.health, stands.expires_at),
            (Health::Healthy, Some(expires_at)),
            "what was promised is kept"
        );
        let brief = system(named(kind, "brief"));
        let stands = standing(&daemon, kind, &brief).await;
        assert_eq!(stands.health, Health::Expired, "{stands:?}");
        assert!(
            stands.expires_at.is_some_and(|end| end <= last) && stands.reason.is_some(),
            "it says since when and why"
        );
        assert_eq!(
            found(&plaza, kind, "standing.health == 'expired'").await,
            [brief.to_string()],
            "and is found as that"
        );
        assert_eq!(found(&plaza, kind, "standing.health == 'healthy'").await, [renewed.to_string()]);
        let again = daemon.client(brief.as_str()).renew_registration(kind, &brief, Some(HOUR_MS)).await;
        assert_eq!(again.expect("it is renewed").health, Health::Healthy, "what comes back is healthy again");
        assert_eq!(found(&plaza, kind, "standing.health == 'healthy'").await, [brief.to_string(), renewed.to_string()]);
    }
}

//! What Prometheus is told of sync leases (FGMV-28 7.1.3): who has, waits and was preempted, and how long grants took.

use super::{
    api::Wish,
    plant::Thing,
    world::{LOBBY, PLAZA, World, metrics_of},
};

/// What one line of the metrics says.
fn figure(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[tokio::test]
async fn whoever_watches_the_daemon_sees_how_leases_stand_and_how_long_grants_took() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let mut ears = world.ears(PLAZA).await;
    world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    let waiting = tokio::spawn({
        let lobby = world.api(LOBBY);
        async move { lobby.acquire("arm", &Wish::of("guest-fay").waiting()).await }
    });
    world.api(PLAZA).until_waiting("arm", 1).await;
    world.api(LOBBY).acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    ears.hear("lease.lost").await;

    let metrics = metrics_of(world.url());
    let shown = |name: &str| figure(&metrics, &format!("twinway_lease_{name}"));
    assert_eq!(shown("held"), Some(1.0), "{metrics}");
    assert_eq!(shown("waiting"), Some(1.0));
    assert_eq!(shown("quarantined"), Some(0.0));
    assert_eq!(shown("granted_total"), Some(2.0));
    assert_eq!(shown("preempted_total"), Some(1.0));
    // Buckets, which can be added up over daemons; all grants are in the last one.
    let buckets: Vec<f64> = metrics
        .lines()
        .filter(|line| line.starts_with("twinway_lease_grant_seconds_bucket{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(buckets.len() > 1 && buckets.is_sorted(), "{metrics}");
    assert_eq!((buckets.last(), shown("grant_seconds_count")), (Some(&2.0), Some(2.0)));
    waiting.abort();
}

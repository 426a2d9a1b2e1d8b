//! The daemon's own monitor of sync leases: what it finds is counted by invariant. That it finds nothing where nothing is
//! wrong is asked of the daemon of every other test here.

use metrics_exporter_prometheus::PrometheusBuilder;
use twinway::{
    monitor::LeaseMonitor,
    protocol::{
        EntityId,
        lease::{
            Holder, HolderClass, LeaseLimits, Token,
            rules::Rule,
            watch::{GateDid, Watched},
        },
        time::Now,
    },
};

#[test]
fn a_violation_is_counted_by_its_invariant_and_told() {
    let recorder = PrometheusBuilder::new().install_recorder().expect("the process has no other");
    let (monitor, feed) = LeaseMonitor::begin(LeaseLimits::default()).expect("it begins");
    let object = EntityId::from_bits(7);
    let token = |n| Token { epoch: 1, n };
    let world = "plaza".parse().expect("a name");
    let who = Holder {
        user: "eve".parse().expect("a name"),
        world,
        system: "plaza".parse().expect("a name"),
        class: HolderClass::Person,
    };
    let gate = |did| Box::new(Watched::Gate { object, did });
    feed.send(gate(GateDid::Accepted(token(1), who.clone())), Now::default());
    feed.send(Box::new(Watched::Began { records: Vec::new() }), Now::default());
    feed.send(gate(GateDid::Fenced(token(2), None)), Now::default());
    feed.send(gate(GateDid::Accepted(token(1), who)), Now::default());
    let told = monitor.finish().expect("it ends");
    assert_eq!(told.iter().map(|violation| violation.rule).collect::<Vec<_>>(), [Rule::FenceNeverDecreases]);
    let shown = recorder.render();
    for line in [
        "twinway_lease_violations_total{invariant=\"2\",rule=\"FenceNeverDecreases\"} 1",
        "twinway_lease_violations_total{invariant=\"1\",rule=\"OneHolder\"} 0",
        "twinway_lease_judged_total 3",
        "twinway_lease_unjudged_total 1",
        "twinway_lease_judging 1",
    ] {
        assert!(shown.lines().any(|own| own == line), "{line}: {shown}");
    }
}

//! Deliveries of a subscription, as the third-party system is told them (FGMV-29 8.2.5).

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, Out, SubscriptionId, SystemId, TwinId,
    message::{DeliverTwinInformation, DeliveryReason},
    problem::ProblemKind,
    signal::{Event, Signal},
    twin::{PropertyValue, TwinView},
};

use super::ThirdPartySystem;

/// What a delivery says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery<'d> {
    subscription: &'d SubscriptionId,
    reason: DeliveryReason,
    twins: Vec<Told<'d>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refused<'d>>,
}

/// A twin without its description, which is long and seldom another: an acquisition has it.
#[derive(Serialize)]
struct Told<'d> {
    id: &'d TwinId,
    system: &'d SystemId,
    version: u64,
    properties: &'d BTreeMap<String, PropertyValue>,
}

impl<'d> Told<'d> {
    fn of(view: &'d Arc<TwinView>) -> Self {
        let TwinView { id, system, version, properties, .. } = &**view;
        Self { id, system, version: *version, properties }
    }
}

#[derive(Serialize)]
struct Refused<'d> {
    twin: &'d TwinId,
    kind: ProblemKind,
    detail: &'d str,
}

/// FGMV-29 9.1 step 19, of a subscription: an event of the system.
pub(super) fn tell(message: DeliverTwinInformation, out: &mut Out<'_, ThirdPartySystem>) {
    let DeliverTwinInformation { subscription, reason, twins, refused } = message;
    let delivery = Delivery {
        subscription: &subscription,
        reason,
        twins: twins.iter().map(Told::of).collect(),
        refused: refused
            .iter()
            .map(|refusal| Refused { twin: &refusal.twin, kind: refusal.problem.kind, detail: &refusal.problem.detail })
            .collect(),
    };
    // It cannot fail to be JSON: its keys are text.
    let data = JsonDoc::from_value(&delivery).unwrap_or_else(|_| JsonDoc::null());
    let event = Event::new("twin.information", subscription.to_string(), None, out.now().wall, data);
    out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
}

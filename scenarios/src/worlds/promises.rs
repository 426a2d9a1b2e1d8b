//! What the enabler promises beside the order of a flow, as rules of a world: each would be broken by a bug that leaves
//! every step in its place.

use std::collections::{BTreeMap, BTreeSet};

use twinway_protocol::{
    EntityId, EventId, PendingKey, TwinId, WireSet,
    lease::Token,
    message::{
        DigitalTwinSystemMsg, DtsMsg, MetaverseSystemMsg, SyncSupervisorMsg, ThirdPartySystemMsg, TwinMsg, Wire,
    },
    signal::Signal,
    time::Timestamp,
};

use crate::{
    fault::Fault,
    rule::{Rule, Seen, Sights, rule_of},
    world,
};
use twinway_actors::{
    dtif::dtsr::DtsrRecord,
    external::{
        metaverse_system::{MapRecord, Record as MetaverseRecord},
        physical_object::PhysicalObjectRecord,
    },
    runtime::CALLER_KIND,
    twin::TwinRecord,
};

/// Records that are not durable yet, and turns whose records may be lost.
#[derive(Default)]
struct Written {
    waiting: Vec<(EventId, u64)>,
    reported: Vec<EventId>,
}

/// Whether nothing is lost with it: a gate that forgets that a device has come to rest waits for it again, a register
/// that forgets that actors have ended ends them again, and a map that forgets a move shows the next one.
fn is_found_out_again(record: &dyn world::AnyRecord) -> bool {
    let record = record.as_any();
    matches!(record.downcast_ref(), Some(PhysicalObjectRecord::Drained { .. }))
        || matches!(record.downcast_ref(), Some(DtsrRecord::Ended(_)))
        || matches!(record.downcast_ref(), Some(MetaverseRecord::Map(MapRecord::Moved { .. })))
}

/// Durable, then visible: nothing that a turn causes leaves before its records are durable. What twin systems report
/// (FGMV-29 9.2 step 14) is an exception, and what a gate can find out again.
pub(super) fn durable_then_visible() -> impl Rule<Wire> {
    let looks_at = Sights::DELIVERY | Sights::RECORD | Sights::DURABLE | Sights::FAULT | Sights::SENT;
    rule_of("durable, then visible", looks_at, |written: &mut Written, seen: &Seen<'_, Wire>, found| match seen {
        Seen::Delivery { event, wire: Wire::Twin(TwinMsg::ReflectChange(_)), .. } => written.reported.push(*event),
        Seen::Record { event, position, record, .. }
            if !is_found_out_again(*record) && !written.reported.contains(event) =>
        {
            written.waiting.push((*event, *position));
        }
        Seen::Durable { position } => written.waiting.retain(|(_, waiting)| waiting > position),
        Seen::Fault(Fault::Crash) => written.waiting.clear(),
        Seen::Sent { meta, wire } if written.waiting.iter().any(|(event, _)| *event == meta.cause) => {
            found.violated(format!("{} leaves before what it follows from is durable", wire.describe().1));
        }
        _ => {}
    })
}

/// FGMV-29 9.2 step 14: what a twin shows is never replaced by something older, as long as nothing is lost.
pub(super) fn nothing_older_is_shown() -> impl Rule<Wire> {
    type Shown = BTreeMap<(TwinId, String), Timestamp>;
    let looks_at = Sights::SIGNAL | Sights::FAULT;
    rule_of("nothing older is shown", looks_at, |shown: &mut Shown, seen: &Seen<'_, Wire>, found| match seen {
        Seen::Signal { signal: Signal::Twin(view), .. } => {
            for (name, value) in &view.properties {
                let before = shown.insert((view.id.clone(), name.clone()), value.at);
                if before.is_some_and(|before| before > value.at) {
                    found.violated(format!("`{name}` of `{}` goes back to {}", view.id, value.at));
                }
            }
        }
        // Reports of the last moments may be gone.
        Seen::Fault(Fault::Crash) => shown.clear(),
        _ => {}
    })
}

/// Who watches which twin, and who is still to hear of which turn.
#[derive(Default)]
struct Watched {
    watchers: BTreeMap<EntityId, BTreeSet<EntityId>>,
    watching: Vec<(EventId, EntityId, EntityId, bool)>,
    changing: Vec<(EventId, EntityId)>,
    unheard: BTreeMap<EventId, BTreeSet<EntityId>>,
}

impl Watched {
    fn delivered(&mut self, event: EventId, twin: EntityId, message: &TwinMsg) {
        match message {
            TwinMsg::WatchTwin(watch) => self.watching.push((event, twin, watch.entity.id(), watch.selected)),
            TwinMsg::ReflectChange(_) | TwinMsg::ChangeApplied(_) => self.changing.push((event, twin)),
            _ => {}
        }
    }

    /// A turn's answer leaves: what it did counts.
    fn kept(&mut self, event: EventId) {
        let Some(at) = self.watching.iter().position(|(watching, ..)| *watching == event) else { return };
        let (_, twin, metaverse, selected) = self.watching.swap_remove(at);
        let watchers = self.watchers.entry(twin).or_default();
        if selected {
            watchers.insert(metaverse);
        } else {
            watchers.remove(&metaverse);
        }
    }

    fn changed(&mut self, event: EventId) {
        let twin = self.changing.iter().find(|(changing, _)| *changing == event).map(|(_, twin)| *twin);
        if let Some(watchers) = twin.and_then(|twin| self.watchers.get(&twin)) {
            self.unheard.insert(event, watchers.clone());
        }
    }
}

/// FGMV-29 9.2 step 14: whoever selected a twin, and was told so, hears of every change that the twin writes down.
pub(super) fn who_selected_hears() -> impl Rule<Wire> {
    let looks_at = Sights::DELIVERY | Sights::RECORD | Sights::SENT | Sights::FAULT | Sights::END;
    rule_of(
        "who selected a twin hears of its changes",
        looks_at,
        |watched: &mut Watched, seen: &Seen<'_, Wire>, found| match seen {
            Seen::Delivery { event, meta, wire: Wire::Twin(message) } => watched.delivered(*event, meta.to, message),
            Seen::Record { event, record, .. } => {
                if let Some(TwinRecord::Changed { .. }) = record.as_any().downcast_ref() {
                    watched.changed(*event);
                }
            }
            Seen::Sent { meta, wire: Wire::MetaverseSystem(MetaverseSystemMsg::ReflectChange(_)) } => {
                if let Some(unheard) = watched.unheard.get_mut(&meta.cause) {
                    unheard.remove(&meta.to);
                }
            }
            Seen::Sent { meta, .. } => watched.kept(meta.cause),
            // Those who were told so before hear it of the new life too, but not when.
            Seen::Fault(Fault::Crash) => *watched = Watched::default(),
            Seen::End { at_rest: true } if watched.unheard.values().any(|unheard| !unheard.is_empty()) => {
                found.violated("a change was written down of which somebody who selected the twin did not hear");
            }
            _ => {}
        },
    )
}

/// FGMV-29 9.2 step 18: a lease for one change ends with it: what is granted to DTS, it gives back.
pub(super) fn leases_of_one_change_end() -> impl Rule<Wire> {
    let looks_at = Sights::DELIVERY | Sights::SENT | Sights::FAULT | Sights::END;
    rule_of("a lease of one change ends with it", looks_at, |held: &mut Vec<Token>, seen: &Seen<'_, Wire>, found| {
        match seen {
            Seen::Delivery { wire: Wire::Dts(DtsMsg::SyncLeaseGranted(Ok(granted))), .. } => {
                held.push(granted.lease.token)
            }
            Seen::Sent { wire: Wire::SyncSupervisor(SyncSupervisorMsg::ReleaseSyncLease(release)), .. } => {
                held.retain(|token| *token != release.shown.token);
            }
            Seen::Sent { wire: Wire::SyncSupervisor(SyncSupervisorMsg::AbandonSyncLeases(_)), .. }
            | Seen::Fault(Fault::Crash) => held.clear(),
            Seen::End { at_rest: true } if !held.is_empty() => {
                found.violated(format!("{:?} was granted for one change and never given back", held));
            }
            _ => {}
        }
    })
}

/// Requests that are outside, and turns that were answers to none.
#[derive(Default)]
struct Asked {
    open: Vec<(EntityId, PendingKey)>,
    stray: Vec<EventId>,
}

impl Asked {
    fn answered(&mut self, event: EventId, entity: EntityId, request: PendingKey) {
        match self.open.iter().position(|open| *open == (entity, request)) {
            Some(at) => {
                self.open.swap_remove(at);
            }
            None => self.stray.push(event),
        }
    }
}

/// FGMV-29 9.1 steps 8 and 14x, 9.2 steps 10 and 18: an answer from outside settles the request that it names, once.
pub(super) fn answers_name_their_request() -> impl Rule<Wire> {
    let looks_at = Sights::SIGNAL | Sights::DELIVERY | Sights::SENT;
    rule_of(
        "an answer settles the request that it names",
        looks_at,
        |asked: &mut Asked, seen: &Seen<'_, Wire>, found| match seen {
            Seen::Signal { signal: Signal::Request { entity, request, .. }, .. } => {
                asked.open.push((*entity, *request))
            }
            Seen::Delivery {
                event,
                meta,
                wire: Wire::DigitalTwinSystem(DigitalTwinSystemMsg::AnswerRequest(answer)),
            }
            | Seen::Delivery {
                event,
                meta,
                wire: Wire::ThirdPartySystem(ThirdPartySystemMsg::AnswerRequest(answer)),
            } => asked.answered(*event, meta.to, answer.request),
            Seen::Sent { meta, wire } if asked.stray.contains(&meta.cause) && meta.to.kind() != CALLER_KIND => {
                found.violated(format!("{} follows from an answer that nobody waited for", wire.describe().1));
            }
            _ => {}
        },
    )
}

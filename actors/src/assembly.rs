//! The integration enabler, put together: all functional entities, twins and external systems (FGMV-29 figure 3).

use std::sync::Arc;

use twinway_protocol::{Behaviour, WireSet, message::Wire};

use crate::{
    Settings,
    dtif::{dtac::Dtac, dtia::Dtia, dts::Dts, dtsd::Dtsd, dtsr::Dtsr, tsi::Tsi},
    external::{
        digital_twin_system::DigitalTwinSystem, metaverse_system::MetaverseSystem, physical_object::PhysicalObject,
        third_party_system::ThirdPartySystem, user_device::UserDevice,
    },
    port::{journal::Journal, outlet::Outlet},
    runtime::{Builder, Options},
    sif::{dtda::Dtda, sdc::Sdc, tpsaa::Tpsaa, tpsd::Tpsd, tpsr::Tpsr},
    sync_supervisor::SyncSupervisor,
    twin::Twin,
};

/// What is filled from a list of entities: the runtime's [`Builder`], or a simulated world. A system that fills an
/// `Assembly` is the same system in both.
pub trait Assembly<W: WireSet>: Sized {
    /// One entity of type `B`, at slot 0, that is always there.
    #[must_use]
    fn entity<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send;

    /// Entities of type `B`, each in an actor of its own, made when they are opened or spawned.
    #[must_use]
    fn actors<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send;

    /// Entities of type `B` in slots of shard actors, made when they are spawned: for millions of them.
    #[must_use]
    fn shards<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send;
}

/// Fills `assembly` with all entities of the integration enabler.
#[must_use]
pub fn entities<A: Assembly<Wire>>(assembly: A, settings: &Settings) -> A {
    let settings = || settings.clone();
    assembly
        .entity::<Tpsr>(settings())
        .entity::<Tpsd>(settings())
        .entity::<Tpsaa>(settings())
        .entity::<Sdc>(settings())
        .entity::<Dtda>(settings())
        .entity::<Dtsr>(settings())
        .entity::<Dtsd>(settings())
        .entity::<Dtia>(settings())
        .entity::<Dts>(settings())
        .entity::<Dtac>(settings())
        .entity::<Tsi>(settings())
        .entity::<SyncSupervisor>(settings())
        .actors::<MetaverseSystem>(settings())
        .actors::<DigitalTwinSystem>(settings())
        .actors::<ThirdPartySystem>(settings())
        .actors::<UserDevice>(settings())
        .shards::<PhysicalObject>(settings())
        .shards::<Twin>(settings())
}

/// The integration enabler, ready to start. `chance` seeds the ids that its entities give.
#[must_use]
pub fn integration_enabler(
    options: Options,
    settings: &Settings,
    journal: Arc<dyn Journal>,
    outlet: Arc<dyn Outlet<Wire>>,
    chance: u64,
) -> Builder<Wire> {
    entities(Builder::new(options, journal, outlet, chance), settings)
}

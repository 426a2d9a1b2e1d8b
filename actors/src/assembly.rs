//! The integration enabler, put together: all functional entities, twins and external systems (FGMV-29 figure 3).

use std::sync::Arc;

use twinway_protocol::message::Wire;

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

/// The integration enabler, ready to start. `chance` seeds the ids that its entities give.
#[must_use]
pub fn integration_enabler(
    options: Options,
    settings: &Settings,
    journal: Arc<dyn Journal>,
    outlet: Arc<dyn Outlet<Wire>>,
    chance: u64,
) -> Builder<Wire> {
    let settings = || settings.clone();
    Builder::new(options, journal, outlet, chance)
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
        .actors::<PhysicalObject>(settings())
        .actors::<UserDevice>(settings())
        .shards::<Twin>(settings())
}

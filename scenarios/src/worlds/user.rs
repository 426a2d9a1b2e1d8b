//! What a user of a virtual world does in the use cases of FGMV-28 clause 7, each as a part of a line.

use std::{cell::Cell, rc::Rc, sync::Arc};

use twinway_protocol::{
    JsonDoc, Mailbox, Problem, ProblemKind, Ref, TwinId,
    lease::{HolderClass, RequestId, Token},
    message::{
        ChangeCompleted, ChangeTerms, ChangeTwin, DigitalTwinSystemMsg, LeaseRequest, OpenSystem, PropertyValues,
        RegisterThirdPartySystem, RegisterTwinSystem, ReleaseSyncLease, RequestSyncLease,
        RequestTwinPropertiesAndPermission, RequestUserAuthorization, RunService, SelectTwins, ServiceResult,
        ShownToken, SyncLeaseGranted, ThirdPartySystemMsg, TwinPropertiesAndPermissionGranted, UseThirdPartySystem,
        Wire,
    },
    registry::TwinSystemDescription,
};

use super::outsiders::{SHOP, WORLD, rights, scope, shop, system, user};
use crate::story::{Heard, Line, granted};

/// How long a lease lasts, in milliseconds.
const TTL_MS: u32 = 60_000;

/// What may become of a request for a lease where there are faults.
const SPOILT: [ProblemKind; 2] = [ProblemKind::LeaseLost, ProblemKind::ObjectQuarantined];

/// The only actor of its kind in these worlds.
pub(super) const fn only<M: Mailbox>() -> Ref<M> {
    Ref::new(twinway_protocol::EntityId::new(M::KIND, 0, 0))
}

/// The shop opens and registers (FGMV-29 9.1 steps 1 to 3): two parts.
pub(super) fn shop_opens() -> Line<Wire> {
    let description = shop();
    Line::new("shop")
        .ask::<ThirdPartySystemMsg, _>(SHOP, || OpenSystem { id: system("shop"), reach: None }, granted)
        .ask(SHOP, move || RegisterThirdPartySystem { description: description.clone() }, granted)
}

/// A twin system opens and registers (FGMV-29 9.2 steps 1 to 3): two parts.
pub(super) fn registers(line: Line<Wire>, name: &'static str, description: Box<TwinSystemDescription>) -> Line<Wire> {
    line.ask::<DigitalTwinSystemMsg, _>(only(), move || OpenSystem { id: system(name), reach: None }, granted).ask(
        only::<DigitalTwinSystemMsg>(),
        move || RegisterTwinSystem { description: description.clone() },
        granted,
    )
}

/// A user of the metaverse system `world`.
#[derive(Clone, Debug)]
pub(super) struct User {
    name: &'static str,
    token: Rc<Cell<Token>>,
}

impl User {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, token: Rc::default() }
    }

    /// The metaverse system opens.
    pub(super) fn enters(&self) -> Line<Wire> {
        Line::new(self.name).ask(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
    }

    /// FGMV-29 9.1 steps 6 to 10.
    pub(super) fn is_authorized(&self, line: Line<Wire>) -> Line<Wire> {
        let (name, scope) = (self.name, scope());
        let authorize = move || RequestUserAuthorization {
            system: system("shop"),
            metaverse: system("world"),
            user: user(name),
            scope: Arc::clone(&scope),
        };
        line.ask(WORLD, authorize, granted)
    }

    /// FGMV-29 9.1 steps 11 to 14x.
    pub(super) fn orders(
        &self,
        line: Line<Wire>,
        what: impl Fn() -> JsonDoc + 'static,
        check: impl Fn(Result<ServiceResult, Problem>) -> Heard + 'static,
    ) -> Line<Wire> {
        let name = self.name;
        let order = move || UseThirdPartySystem {
            system: system("shop"),
            metaverse: system("world"),
            user: user(name),
            operation: "order".into(),
            input: what(),
        };
        line.ask(WORLD, order, check)
    }

    /// FGMV-29 9.2 steps 6 and 7.
    pub(super) fn selects(&self, line: Line<Wire>, twins: &Arc<[TwinId]>) -> Line<Wire> {
        let (twins, none) = (Arc::clone(twins), Arc::from([]));
        let select = move || SelectTwins {
            metaverse: system("world"),
            metaverse_entity: WORLD,
            twins: Arc::clone(&twins),
            release: Arc::clone(&none),
            period_ms: None,
        };
        line.ask(WORLD, select, granted)
    }

    /// FGMV-29 9.2 steps 8 to 12.
    pub(super) fn asks_for(
        &self,
        line: Line<Wire>,
        twins: &Arc<[TwinId]>,
        check: impl Fn(Result<TwinPropertiesAndPermissionGranted, Problem>) -> Heard + 'static,
    ) -> Line<Wire> {
        let (name, twins, rights) = (self.name, Arc::clone(twins), rights());
        let request = move || RequestTwinPropertiesAndPermission {
            metaverse: system("world"),
            user: user(name),
            twins: Arc::clone(&twins),
            rights: Arc::clone(&rights),
        };
        line.ask(WORLD, request, check)
    }

    /// FGMV-29 9.2 step 13.
    pub(super) fn works_with(&self, line: Line<Wire>, twins: &Arc<[TwinId]>) -> Line<Wire> {
        let twins = Arc::clone(twins);
        line.ask(WORLD, move || RunService { twins: Arc::clone(&twins) }, granted)
    }

    /// FGMV-29 9.2 steps 15 to 18x, under a lease for this change only.
    pub(super) fn changes(
        &self,
        line: Line<Wire>,
        twin: &TwinId,
        values: Arc<PropertyValues>,
        check: impl Fn(Result<ChangeCompleted, Problem>) -> Heard + 'static,
    ) -> Line<Wire> {
        let (name, twin) = (self.name, twin.clone());
        let change = move || ChangeTwin {
            metaverse: system("world"),
            user: user(name),
            twin: twin.clone(),
            values: Arc::clone(&values),
            token: None,
            terms: ChangeTerms::default(),
        };
        line.ask(WORLD, change, check)
    }

    /// FGMV-28 7.1.3 steps 7 to 10.
    pub(super) fn leases(&self, line: Line<Wire>, twin: &TwinId, wanted: Option<ProblemKind>) -> Line<Wire> {
        let (name, twin, token) = (self.name, twin.clone(), Rc::clone(&self.token));
        // A request of another user has another id.
        let id = name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte));
        let request = move || RequestSyncLease {
            metaverse: system("world"),
            request: Arc::new(LeaseRequest {
                user: user(name),
                world: None,
                class: HolderClass::Person,
                twins: vec![twin.clone()],
                request_id: Some(RequestId(id)),
                priority: None,
                ttl_ms: TTL_MS,
                wait_ms: 0,
                ask: false,
                requeue: false,
            }),
            one_shot: false,
        };
        let heard = move |answer: Result<SyncLeaseGranted, Problem>| match (answer, wanted) {
            (Ok(granted), None) => {
                token.set(granted.lease.token);
                Heard::Done
            }
            (Err(problem), Some(kind)) if problem.kind == kind => Heard::Done,
            // Its first answer was lost, and the lease ran out; or the gate's.
            (Err(problem), None) if SPOILT.contains(&problem.kind) => Heard::Spoilt(problem.detail),
            (answer, _) => Heard::Wrong(format!("answered {:?}", answer.map(|granted| granted.lease.token))),
        };
        line.ask(WORLD, request, heard)
    }

    /// Gives it back.
    pub(super) fn releases(&self, line: Line<Wire>, twin: &TwinId) -> Line<Wire> {
        let (name, twin, token) = (self.name, twin.clone(), Rc::clone(&self.token));
        let release = move || ReleaseSyncLease {
            shown: Box::new(ShownToken {
                metaverse: system("world"),
                user: user(name),
                twin: twin.clone(),
                token: token.get(),
            }),
        };
        line.ask(WORLD, release, |answer| match answer {
            Ok(_) => Heard::Done,
            Err(problem) => Heard::Spoilt(format!("refused: {}: {}", problem.kind.slug(), problem.detail)),
        })
    }
}

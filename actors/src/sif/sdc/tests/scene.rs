//! SDC in a chain (FGMV-29 8.2.4), with everybody around it.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};
use twinway_protocol::{
    Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind,
    access::AuthorizationGrant,
    collaboration::{Chain, Execution},
    message::{
        EXECUTION_ENDED, ExecuteService, ExecutionShown, KeepThirdPartySystem, MetaverseSystemMsg, ReadExecution,
        RunChain, SdcMsg, ServiceExecuted, ServiceRequest, ThirdPartySystemMsg, TpsaaMsg, UserAuthorizationVerified,
        Wire,
    },
    registry::ThirdPartySystem,
};

use crate::{
    Settings,
    sif::{
        sdc::Sdc,
        testing::{METAVERSE, answer, json as doc, key, registered, system_id},
    },
    trial::Trial,
};

const TPSR: EntityId = EntityId::new(twinway_protocol::message::TpsrMsg::KIND, 0, 0);
const SYSTEMS: [&str; 3] = ["shop", "factory", "courier"];

/// What a system answers; `None`: nothing.
pub(crate) type Answer = Option<Result<ServiceExecuted, Problem>>;

/// SDC with TPSAA, which permits, and three systems, which answer as a test says.
pub(crate) struct Scene<'a> {
    pub(crate) sdc: Trial<Sdc>,
    pub(crate) answers: Box<dyn FnMut(&ExecuteService) -> Answer + 'a>,
    /// What was asked: system, operation and key.
    pub(crate) asked: Vec<(String, String, String)>,
    pub(crate) permits: Box<dyn Fn(&str) -> bool>,
    /// What was told to the metaverse system.
    pub(crate) told: Vec<(&'static str, Value)>,
    pub(crate) timers: Vec<(u64, PendingKey)>,
    pub(crate) shown: Vec<Result<ExecutionShown, Problem>>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(settings: &Settings, answers: impl FnMut(&ExecuteService) -> Answer + 'a) -> Self {
        Self {
            sdc: Trial::new(EntityId::new(SdcMsg::KIND, 0, 0), settings),
            answers: Box::new(answers),
            asked: Vec::new(),
            permits: Box::new(|_| true),
            told: Vec::new(),
            timers: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The same, with the systems known.
    pub(crate) fn open(settings: &Settings, answers: impl FnMut(&ExecuteService) -> Answer + 'a) -> Self {
        let mut scene = Self::new(settings, answers);
        scene.register();
        scene
    }

    pub(crate) fn register(&mut self) {
        for (slot, id) in (1..).zip(SYSTEMS) {
            let mut system = ThirdPartySystem::clone(&registered(id, slot));
            system.description.apis.clear();
            let effects = self.sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(system) });
            self.follow(effects);
        }
    }

    /// Delivers what follows until nobody has anything to say.
    pub(crate) fn follow(&mut self, effects: Vec<Effect<Wire>>) {
        let mut queue: VecDeque<_> = effects.into();
        while let Some(effect) = queue.pop_front() {
            let (wire, meta) = match effect {
                Effect::Send { wire: Some(wire), meta } => (wire, meta),
                Effect::Timer { after_ms, key } => {
                    self.timers.push((after_ms, key));
                    continue;
                }
                _ => continue,
            };
            let effects = match wire {
                Wire::Tpsaa(TpsaaMsg::VerifyUserAuthorization(question)) => {
                    let answer = if (self.permits)(&question.operation) {
                        Ok(verified(&question.operation))
                    } else {
                        Err(Problem::new(ProblemKind::PermissionMissing, "no"))
                    };
                    self.sdc.deliver(meta.to, meta.pending, SdcMsg::UserAuthorizationVerified(answer))
                }
                Wire::ThirdPartySystem(ThirdPartySystemMsg::ExecuteService(question)) => {
                    let slot = usize::try_from(meta.to.slot()).expect("it is small") - 1;
                    let operation = match &*question.request {
                        ServiceRequest::Use { operation, .. } => operation.to_string(),
                        ServiceRequest::Share { topic, .. } => format!("share {topic}"),
                    };
                    let idempotency = question.idempotency_key.clone().expect("it has a key").into_string();
                    self.asked.push((SYSTEMS[slot].to_owned(), operation, idempotency));
                    match (self.answers)(&question) {
                        Some(answer) => self.sdc.deliver(meta.to, meta.pending, SdcMsg::ServiceExecuted(answer)),
                        None => continue,
                    }
                }
                Wire::MetaverseSystem(MetaverseSystemMsg::NotifyExecution(notice)) => {
                    self.told.push((notice.event, notice.data.read().expect("it is JSON")));
                    continue;
                }
                Wire::MetaverseSystem(MetaverseSystemMsg::ExecutionEnded(ended)) => {
                    self.told.push((EXECUTION_ENDED, ended.data.read().expect("it is JSON")));
                    continue;
                }
                Wire::MetaverseSystem(MetaverseSystemMsg::ExecutionShown(answer)) => {
                    self.shown.push(answer);
                    continue;
                }
                _ => continue,
            };
            queue.extend(effects);
        }
    }

    pub(crate) fn start(&mut self, chain: &Value) -> Result<Execution, Problem> {
        self.start_with(chain, None)
    }

    pub(crate) fn start_with(&mut self, chain: &Value, idempotency: Option<&str>) -> Result<Execution, Problem> {
        let shown = self.begin(chain, idempotency).remove(0)?;
        Ok(self.read(&shown.execution))
    }

    /// Asks for a chain; gives the answers.
    fn begin(&mut self, chain: &Value, idempotency: Option<&str>) -> Vec<Result<ExecutionShown, Problem>> {
        let chain: Chain = serde_json::from_value(chain.clone()).expect("it is a chain");
        let run = RunChain {
            metaverse: system_id("plaza"),
            chain: Arc::new(chain),
            key: idempotency.map(Into::into),
            wait_ms: 0,
        };
        let effects = self.sdc.deliver(METAVERSE, key(5), run);
        self.follow(effects);
        std::mem::take(&mut self.shown)
    }

    /// Runs every timer whose time is within `ms`, again and again.
    pub(crate) fn wait(&mut self, ms: u64) {
        while let Some(index) = self.timers.iter().position(|(after, _)| *after <= ms) {
            let (_, key) = self.timers.remove(index);
            let effects = self.sdc.timeout(key);
            self.follow(effects);
        }
    }

    pub(crate) fn read(&mut self, execution: &Execution) -> Execution {
        let question = ReadExecution { metaverse: system_id("plaza"), execution: execution.id.clone(), wait_ms: 0 };
        let effects = self.sdc.deliver(METAVERSE, key(6), question);
        *answer::<ExecutionShown>(effects, METAVERSE, key(6)).expect("an answer").expect("it is there").execution
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.asked.iter().map(|(system, operation, _)| format!("{system} {operation}")).collect()
    }
}

pub(crate) fn verified(operation: &str) -> UserAuthorizationVerified {
    let grant = AuthorizationGrant {
        user_information: doc("{\"customer\":7}"),
        scope: ["*".to_owned()].into(),
        expires_at: None,
    };
    let authorization = PermissionId::new(format!("auth-{operation}")).expect("it is a name");
    UserAuthorizationVerified { authorization, grant: Box::new(grant) }
}

pub(crate) fn done(output: &Value) -> Answer {
    Some(Ok(ServiceExecuted { output: doc(&output.to_string()) }))
}

pub(crate) fn failed(kind: ProblemKind) -> Answer {
    Some(Err(Problem::new(kind, "no")))
}

/// What an operation is given.
pub(crate) fn input(question: &ExecuteService) -> Value {
    match &*question.request {
        ServiceRequest::Use { input, .. } => input.read().expect("it is JSON"),
        ServiceRequest::Share { data, .. } => data.read().expect("it is JSON"),
    }
}

pub(crate) fn operation(question: &ExecuteService) -> &str {
    match &*question.request {
        ServiceRequest::Use { operation, .. } => operation,
        ServiceRequest::Share { .. } => "share",
    }
}

/// An order: the shop sells, the factory makes, the courier brings (FGMV-28 7.1.2).
pub(crate) fn order() -> Value {
    json!({
        "user": "ada",
        "input": {"item": "lamp", "count": 2},
        "steps": [
            {"name": "sale", "system": "shop", "operation": "sell",
             "input": "{'article': input.item, 'pieces': input.count}", "output": "{'id': output.orderNumber}",
             "compensation": {"operation": "refund", "input": "{'order': results.sale.id}"}},
            {"name": "made", "system": "factory", "operation": "make", "idempotent": true,
             "input": "{'for': results.sale.id, 'who': user}",
             "compensation": {"operation": "scrap"}},
            {"name": "brought", "system": "courier", "operation": "bring", "input": "results.made"},
        ],
        "output": "{'order': results.sale.id, 'when': results.brought.day}",
    })
}

/// All three do what they are asked.
pub(crate) fn willing(question: &ExecuteService) -> Answer {
    match operation(question) {
        "sell" => done(&json!({"orderNumber": "o-1", "noise": true})),
        "make" => done(&json!({"parcel": 9})),
        "bring" => done(&json!({"day": "monday"})),
        _ => done(&json!("undone")),
    }
}

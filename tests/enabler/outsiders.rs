//! External systems in the test's process: ones that answer all they are asked, and ones that the test answers for.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinHandle;
use twinway::{
    Enabler,
    enabler::{Dii, Mii, Sii},
    outside::{Outgoing, Session},
    protocol::{
        PendingKey, Problem, UserId,
        access::{AuthorizationDecision, AuthorizationGrant},
        message::{
            ChangeApplied, DeviceFenced, OutsideAnswer, OutsideRequest, ServiceExecuted, TwinGrant,
            TwinPropertiesAndPermission, UserAndPermissionInformation,
        },
        time::Timestamp,
    },
};

use super::house::{json, name, rights, values};

/// The next request that comes out of a session.
pub(crate) async fn next_request(session: &mut Session) -> (PendingKey, OutsideRequest) {
    while let Some(outgoing) = session.next().await {
        if let Outgoing::Request { request, body } = outgoing {
            return (request, (*body).clone());
        }
    }
    panic!("the session ended")
}

/// What a system answers that grants all that is asked and does all that it is told.
pub(crate) fn willing(asked: &OutsideRequest) -> OutsideAnswer {
    granting_until(asked, None)
}

/// The same, for permissions that end.
pub(crate) fn granting_until(asked: &OutsideRequest, expires_at: Option<Timestamp>) -> OutsideAnswer {
    match asked {
        OutsideRequest::DescribeTwins(asked) => {
            let grant = |twin: &_| TwinGrant {
                twin: Clone::clone(twin),
                properties: BTreeMap::new(),
                rights: (*asked.rights).clone(),
                expires_at,
                role: None,
            };
            let twins = asked.twins.iter().map(grant).collect();
            OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins })
        }
        OutsideRequest::ApplyChange(change) => {
            OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*change.values).clone()), seen: None })
        }
        OutsideRequest::AuthorizeUser(asked) => {
            let decision = granted(&asked.scope);
            OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
        }
        OutsideRequest::FenceDevice(_) => OutsideAnswer::FenceDevice(DeviceFenced::default()),
        OutsideRequest::ExecuteService(_) => {
            OutsideAnswer::ExecuteService(ServiceExecuted { output: json(r#"{"done": true}"#) })
        }
        OutsideRequest::InvokeAction(_) | OutsideRequest::CancelAction(_) | OutsideRequest::ReadProperties(_) => {
            OutsideAnswer::Failed("nothing is acted here".to_owned())
        }
    }
}

/// A decision that grants this scope.
pub(crate) fn granted(scope: &BTreeSet<String>) -> AuthorizationDecision {
    let user_information = json(r#"{"customer": 7}"#);
    AuthorizationDecision::Granted(AuthorizationGrant { user_information, scope: scope.clone(), expires_at: None })
}

pub(crate) fn scope() -> BTreeSet<String> {
    BTreeSet::from(["order".to_owned(), "share".to_owned()])
}

/// A system that answers on until it is dropped.
pub(crate) struct Answering(JoinHandle<()>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answering {
    /// The twin system `dii` opens its session and answers like this.
    pub(crate) async fn twin_system(
        dii: Dii,
        answer: impl Fn(&OutsideRequest) -> OutsideAnswer + Send + 'static,
    ) -> Self {
        let mut session = dii.session().await.expect("there is room");
        Self(tokio::spawn(async move {
            while let Some(outgoing) = session.next().await {
                if let Outgoing::Request { request, body } = outgoing {
                    // Who does not wait for it any more has heard so.
                    let _late = dii.answer(request, answer(&body)).await;
                }
            }
        }))
    }

    /// The third-party system `sii` opens its session and answers like this.
    pub(crate) async fn third_party(
        sii: Sii,
        answer: impl Fn(&OutsideRequest) -> OutsideAnswer + Send + 'static,
    ) -> Self {
        let mut session = sii.session().await.expect("there is room");
        Self(tokio::spawn(async move {
            while let Some(outgoing) = session.next().await {
                if let Outgoing::Request { request, body } = outgoing {
                    let _late = sii.answer(request, answer(&body)).await;
                }
            }
        }))
    }
}

/// Ada, of the world `world`.
pub(crate) fn ada() -> UserId {
    name("ada")
}

/// Ada has selected the twins, and may read and change them.
pub(crate) async fn permitted(world: &Mii, twins: &[&str]) {
    let twins = super::house::names(twins);
    world.select_twins(twins.clone(), vec![]).await.expect("they are registered");
    let granted = world.request_permission(ada(), twins, rights()).await.expect("the system is willing");
    assert_eq!(granted.refused, []);
}

/// Whether both procedures work from end to end, with the home and the shop that are registered: whatever went wrong
/// before has left the actors working.
pub(crate) async fn everything_works(enabler: &Enabler) -> Result<(), Problem> {
    let (home, shop, world) = (enabler.dii(name("home")), enabler.sii(name("shop")), enabler.mii(name("world")));
    let _home = Answering::twin_system(home.clone(), willing).await;
    let _shop = Answering::third_party(shop.clone(), willing).await;
    let lamp = name("lamp");
    world.select_twins(vec![name("lamp")], vec![]).await?;
    world.request_permission(ada(), vec![name("lamp")], rights()).await?;
    let before = world.twin(&lamp)?.version;
    world.change_twin(ada(), name("lamp"), values(&[("on", "true")])).await?;
    assert_eq!(world.twin(&lamp)?.version, before + 1);
    assert_eq!(home.report(name("lamp"), values(&[("power", "5")]), None).await?, before + 2);
    world.request_user_authorization(name("shop"), ada(), scope()).await?;
    let output = world.use_third_party_system(name("shop"), ada(), "order", json("{}")).await?;
    assert_eq!(output, json(r#"{"done": true}"#));
    assert_eq!(shop.acquire(vec![name("lamp")], None).await?.len(), 1);
    assert_eq!(enabler.impediments(), Vec::<String>::new());
    Ok(())
}

//! External systems that answer what they are asked.

use tokio::task::JoinHandle;
use twinway::{
    client::{Client, Incoming},
    outside::SystemKind,
    protocol::{
        access::AuthorizationDecision,
        message::{
            ApplyChange, ChangeApplied, DeviceFenced, ForwardTwinPropertiesRequest, ForwardUserAuthorization,
            OutsideAnswer, OutsideRequest, PropertyValues, TwinGrant, TwinPropertiesAndPermission,
            UserAndPermissionInformation,
        },
    },
};

use super::world::granted;

/// Users with this prefix have to log in first.
pub(crate) const LATER: &str = "later-";

/// Opens the session of a system and answers for as long as it stands.
pub(crate) async fn answering(client: Client, kind: SystemKind) -> JoinHandle<()> {
    let mut session = client.session(kind).await.expect("the daemon opens it");
    tokio::spawn(async move {
        loop {
            match session.next().await {
                Incoming::Request { id, body } => {
                    // A session that breaks is seen by the next read.
                    let _ = session.answer(&id, &answer(*body)).await;
                }
                Incoming::Closed(_) => return,
                _ => {}
            }
        }
    })
}

fn answer(request: OutsideRequest) -> OutsideAnswer {
    match request {
        OutsideRequest::DescribeTwins(request) => OutsideAnswer::DescribeTwins(permit(&request)),
        OutsideRequest::ApplyChange(ApplyChange { values, .. }) => {
            OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*values).clone()), seen: None })
        }
        OutsideRequest::AuthorizeUser(request) => OutsideAnswer::AuthorizeUser(authorize(&request)),
        OutsideRequest::FenceDevice(_) => OutsideAnswer::FenceDevice(DeviceFenced::default()),
        OutsideRequest::ExecuteService(_)
        | OutsideRequest::InvokeAction(_)
        | OutsideRequest::CancelAction(_)
        | OutsideRequest::ReadProperties(_) => OutsideAnswer::Failed("nothing is run here".to_owned()),
    }
}

fn permit(request: &ForwardTwinPropertiesRequest) -> TwinPropertiesAndPermission {
    let grant = |twin: &_| TwinGrant {
        twin: Clone::clone(twin),
        properties: PropertyValues::new(),
        rights: (*request.rights).clone(),
        expires_at: None,
        role: None,
    };
    TwinPropertiesAndPermission { twins: request.twins.iter().map(grant).collect() }
}

fn authorize(request: &ForwardUserAuthorization) -> UserAndPermissionInformation {
    let decision = if request.user.as_str().starts_with(LATER) {
        AuthorizationDecision::Pending("https://advisor.example/login".to_owned())
    } else {
        granted(&request.user)
    };
    UserAndPermissionInformation::Decision(decision)
}

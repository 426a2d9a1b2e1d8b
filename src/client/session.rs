//! A WebSocket session: what the enabler asks a system and tells it, and the system's answers.

use std::{collections::VecDeque, time::Duration};

use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{ClientRequestBuilder, Error as WsError, Message, http::Uri},
};
use twinway_protocol::{
    JsonDoc,
    lease::Token,
    message::{OutsideAnswer, OutsideRequest},
};

use super::{Client, ClientError, CloudEvent, SILENCE_MS_MAX, Told, call, interface};
use crate::outside::{Gap, SystemKind, WatchQuery};

/// What the session speaks.
const SUBPROTOCOL: &str = "twinway.v1.json";
/// The code of a close frame: a newer session of the same system has taken this one's place.
const CLOSE_TAKEN_OVER: u16 = 4001;

/// What comes in a session.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// The enabler asks something; the answer names `id`.
    Request {
        /// The request's id.
        id: String,
        /// What is asked.
        body: Box<OutsideRequest>,
    },
    /// Something happened.
    Event {
        /// Counts the system's events, from 1.
        number: u64,
        /// What happened.
        event: Box<CloudEvent>,
    },
    /// Events are gone before they could be told.
    Gap(Gap),
    /// What a subscription is told.
    Subscription {
        /// Its id.
        id: String,
        /// What it is told.
        told: Told,
    },
    /// What came of something sent in this session: `answer:{id}`, `subscribe:{id}`, `unsubscribe:{id}`, otherwise the id
    /// of a call.
    Reply {
        /// Of what.
        id: String,
        /// The HTTP status.
        status: u16,
        /// The answer, or a problem document.
        body: Option<JsonDoc>,
    },
    /// The session is over, and nothing more comes.
    Closed(Closing),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A newer session of the same system has taken its place.
    TakenOver,
    /// The daemon does not open it again, and says why.
    Refused(ClientError),
    /// The connection broke, or the daemon ends.
    Ended(String),
}

/// Every frame of the daemon, as one form. Requests are told apart by `type` after this: a document that is
/// carried byte for byte cannot stand behind a tag.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Frame {
    request: Option<String>,
    #[serde(rename = "type")]
    request_type: Option<String>,
    data: Option<JsonDoc>,
    event: Option<Box<CloudEvent>>,
    number: Option<u64>,
    gap: Option<Gap>,
    subscription: Option<String>,
    reply: Option<String>,
    status: Option<u16>,
    body: Option<JsonDoc>,
}

#[derive(Serialize)]
struct AnswerFrame<'f> {
    answer: &'f str,
    data: &'f OutsideAnswer,
}

#[derive(Serialize)]
struct SubscribeFrame<'f> {
    subscribe: &'f str,
    events: &'f WatchQuery,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

#[derive(Serialize)]
struct UnsubscribeFrame<'f> {
    unsubscribe: &'f str,
}

/// One call of a session.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SessionCall<'c> {
    /// The caller's id of it, which names the reply.
    #[serde(rename = "call")]
    pub id: &'c str,
    /// The method.
    pub method: &'c str,
    /// The path with its query, percent-encoded.
    pub path: &'c str,
    /// The body, if the route has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'c JsonDoc>,
    /// The token of the sync lease under which a change is made.
    #[serde(rename = "leaseToken", skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<Token>,
}

/// An open session. Dropping it closes it.
#[derive(Debug)]
pub struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: Instant,
    closed: bool,
    /// What came together with what was given last.
    ready: VecDeque<Incoming>,
}

impl Client {
    /// Opens the session of the system that the token speaks for. An earlier session of that system ends.
    ///
    /// # Errors
    /// Those of every request, and when there are too many sessions.
    pub async fn session(&self, kind: SystemKind) -> Result<Session, ClientError> {
        let mut path = interface(kind).to_vec();
        path.push("session");
        let url = self.url(&path)?;
        // Only `http` addresses come this far, so the rest of the address is the same.
        let text = url.as_str().replacen("http://", "ws://", 1);
        let uri: Uri = text.parse().map_err(|error| ClientError::Protocol(format!("`{text}`: {error}")))?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {}", self.token()))
            .with_sub_protocol(SUBPROTOCOL);
        // Frames are small and each is waited for: none is held back to be sent with the next.
        let connected = tokio::time::timeout(self.limit(), connect_async_with_config(request, None, true)).await;
        let (socket, _) = connected.map_err(|_| ClientError::Timeout)?.map_err(connect_error)?;
        Ok(Session { socket, heard: Instant::now(), closed: false, ready: VecDeque::new() })
    }
}

fn connect_error(error: WsError) -> ClientError {
    match error {
        WsError::Http(response) => {
            let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
            let problem = call::problem(status, response.body().as_deref().unwrap_or_default());
            ClientError::Problem(Box::new(problem))
        }
        WsError::Io(_) | WsError::ConnectionClosed | WsError::AlreadyClosed => {
            ClientError::Unreachable(error.to_string())
        }
        other => ClientError::Protocol(other.to_string()),
    }
}

impl Session {
    /// What comes next. It can be dropped and called again without a loss.
    pub async fn next(&mut self) -> Incoming {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return ready;
            }
            if self.closed {
                return Incoming::Closed(Closing::Ended("the session is over".to_owned()));
            }
            let silent_at = self.heard + Duration::from_millis(SILENCE_MS_MAX);
            let Ok(message) = tokio::time::timeout_at(silent_at, self.socket.next()).await else {
                return self.close(Closing::Ended("nothing was heard for too long".to_owned()));
            };
            self.heard = Instant::now();
            match message {
                None => return self.close(Closing::Ended("the connection has ended".to_owned())),
                Some(Err(error)) => return self.close(Closing::Ended(error.to_string())),
                Some(Ok(Message::Close(frame))) => {
                    let taken = frame.as_ref().is_some_and(|frame| u16::from(frame.code) == CLOSE_TAKEN_OVER);
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    // The socket has its answer to the close ready; the daemon waits for it.
                    let _ = tokio::time::timeout_at(silent_at, self.socket.flush()).await;
                    return self.close(if taken { Closing::TakenOver } else { Closing::Ended(reason) });
                }
                Some(Ok(Message::Text(text))) => {
                    self.read(&text).await;
                }
                // Pings are answered by the socket itself.
                Some(Ok(_)) => {}
            }
        }
    }

    fn close(&mut self, why: Closing) -> Incoming {
        self.closed = true;
        Incoming::Closed(why)
    }

    /// Reads a frame. One of a later version that this one does not know is passed over; a request that cannot be
    /// read is answered so that nobody waits for it.
    async fn read(&mut self, text: &str) {
        // Replies to calls that were sent together come together.
        let frames: Result<Vec<Frame>, _> = match text.starts_with('[') {
            true => serde_json::from_str(text),
            false => serde_json::from_str(text).map(|frame| vec![frame]),
        };
        match frames {
            Ok(frames) => {
                for frame in frames {
                    let incoming = self.understand(frame).await;
                    self.ready.extend(incoming);
                }
            }
            Err(error) => {
                let closed = self.close(Closing::Ended(format!("a frame cannot be read: {error}")));
                self.ready.push_back(closed);
            }
        }
    }

    async fn understand(&mut self, frame: Frame) -> Option<Incoming> {
        if let Some(id) = frame.request {
            return match request(frame.request_type.as_deref(), frame.data.as_ref()) {
                Ok(body) => Some(Incoming::Request { id, body: Box::new(body) }),
                Err(error) => {
                    // If this cannot be sent, the session is broken, and the next read tells.
                    let _ = self.answer(&id, &OutsideAnswer::Failed(error)).await;
                    None
                }
            };
        }
        let told = match (frame.event, frame.gap) {
            (Some(event), _) => Some(Told::Event { number: frame.number.unwrap_or(0), event }),
            (None, gap) => gap.map(Told::Gap),
        };
        match (told, frame.subscription) {
            (Some(told), Some(id)) => return Some(Incoming::Subscription { id, told }),
            (Some(Told::Event { number, event }), None) => return Some(Incoming::Event { number, event }),
            (Some(Told::Gap(gap)), None) => return Some(Incoming::Gap(gap)),
            (None, _) => {}
        }
        let status = frame.status.unwrap_or(0);
        frame.reply.map(|id| Incoming::Reply { id, status, body: frame.body })
    }

    /// Answers a request (9.1 steps 8 and 14x, 9.2 steps 10 and 18). What came of it is told by a reply.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the session is broken.
    pub async fn answer(&mut self, id: &str, answer: &OutsideAnswer) -> Result<(), ClientError> {
        self.send(&AnswerFrame { answer: id, data: answer }).await
    }

    /// Begins a subscription with this id, after the event with this number or with what happens next. What came of it is
    /// told by the reply `subscribe:{id}`.
    ///
    /// # Errors
    /// As for [`Session::answer`].
    pub async fn subscribe(&mut self, id: &str, wanted: &WatchQuery, after: Option<u64>) -> Result<(), ClientError> {
        self.send(&SubscribeFrame { subscribe: id, events: wanted, after }).await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// As for [`Session::answer`].
    pub async fn unsubscribe(&mut self, id: &str) -> Result<(), ClientError> {
        self.send(&UnsubscribeFrame { unsubscribe: id }).await
    }

    /// Uses a route by this session; `id` is the caller's and names the reply.
    ///
    /// # Errors
    /// As for [`Session::answer`].
    pub async fn call(
        &mut self,
        id: &str,
        method: &str,
        path: &str,
        body: Option<&JsonDoc>,
    ) -> Result<(), ClientError> {
        self.send(&SessionCall { id, method, path, body, lease_token: None }).await
    }

    /// Uses several routes at once. They are carried out side by side, and each reply names its call.
    ///
    /// # Errors
    /// As for [`Session::answer`].
    pub async fn calls(&mut self, calls: &[SessionCall<'_>]) -> Result<(), ClientError> {
        self.send(&calls).await
    }

    async fn send(&mut self, frame: &impl Serialize) -> Result<(), ClientError> {
        let text = serde_json::to_string(frame).map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.socket.send(Message::text(text)).await.map_err(|error| ClientError::Unreachable(error.to_string()))
    }
}

fn request(request_type: Option<&str>, data: Option<&JsonDoc>) -> Result<OutsideRequest, String> {
    let data = data.ok_or("the request has no `data`")?;
    let read = match request_type.ok_or("the request has no `type`")? {
        "authorizeUser" => data.read().map(OutsideRequest::AuthorizeUser),
        "executeService" => data.read().map(OutsideRequest::ExecuteService),
        "describeTwins" => data.read().map(OutsideRequest::DescribeTwins),
        "applyChange" => data.read().map(OutsideRequest::ApplyChange),
        "fenceDevice" => data.read().map(OutsideRequest::FenceDevice),
        "invokeAction" => data.read().map(OutsideRequest::InvokeAction),
        "readProperties" => data.read().map(OutsideRequest::ReadProperties),
        "cancelAction" => data.read().map(OutsideRequest::CancelAction),
        other => return Err(format!("requests of type `{other}` are not understood")),
    };
    read.map_err(|error| format!("the request cannot be read: {error}"))
}

//! Connections: one task accepts them, and the actors' threads serve them.
//!
//! What a request asks the actors is handed from task to task that way. On threads of its own the gateway would be
//! woken by every answer, and would wake an actor by every question.

use std::{io, net, rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpService;
use actix_rt::ArbiterHandle;
use actix_service::{IntoServiceFactory as _, Service as _, ServiceFactory as _, map_config};
use actix_web::{
    App,
    dev::{AppConfig, fn_service},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time,
};

use super::{Shared, server, server::Worker};

/// How long nothing is accepted after that failed, for lack of file descriptors for example.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The place of a connection, until it ends: among those that may be open, and among those of its thread.
type Place = (OwnedSemaphorePermit, Arc<()>);

/// A thread that serves.
struct Lane {
    accepted: mpsc::UnboundedSender<(net::TcpStream, Place)>,
    /// Every connection of it holds this, from when it was accepted.
    open: Arc<()>,
}

/// What serves connections, until it is stopped.
#[derive(Debug)]
pub(super) struct Serving {
    closing: watch::Sender<bool>,
    /// Ends when the last thread has no connection any more.
    served: mpsc::Receiver<()>,
}

impl Serving {
    /// Serves the connections of `listener` on the threads of the enabler's actors.
    pub(super) async fn start(shared: &Arc<Shared>, listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (closing, closes) = watch::channel(false);
        let (serves, served) = mpsc::channel(1);
        let arbiters = shared.enabler.arbiters();
        let mut lanes = Vec::with_capacity(arbiters.len());
        for arbiter in arbiters {
            let (accepted, accepts) = mpsc::unbounded_channel();
            let (shared, closes, serves) = (Arc::clone(shared), closes.clone(), serves.clone());
            on(arbiter, || async move {
                serve(shared, accepts, closes).await;
                drop(serves);
            })?;
            lanes.push(Lane { accepted, open: Arc::default() });
        }
        let first = arbiters.first().ok_or_else(ended)?;
        let permits = Arc::new(Semaphore::new(shared.config.connections_max.min(Semaphore::MAX_PERMITS)));
        let (listens, listening) = oneshot::channel();
        on(first, move || async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let _gone = listens.send(Ok(()));
                    accept(&listener, &lanes, &permits, closes).await;
                }
                Err(error) => {
                    let _gone = listens.send(Err(error));
                }
            }
        })?;
        listening.await.map_err(|_| ended())??;
        Ok(Self { closing, served })
    }

    /// Accepts nothing more; returns when every connection has ended.
    pub(super) async fn stop(mut self) {
        self.closing.send_replace(true);
        // Nothing is ever sent: the channel ends with those that serve, also if their threads ended before.
        let _none = self.served.recv().await;
    }
}

fn ended() -> io::Error {
    io::Error::other("the enabler's actors have ended")
}

/// Begins a task on a thread, which it never leaves.
fn on<T>(arbiter: &ArbiterHandle, task: impl FnOnce() -> T + Send + 'static) -> io::Result<()>
where
    T: Future<Output = ()> + 'static,
{
    let begun = arbiter.spawn_fn(|| {
        actix_rt::spawn(task());
    });
    if begun { Ok(()) } else { Err(ended()) }
}

/// Gives each connection to the thread that has the fewest.
async fn accept(listener: &TcpListener, lanes: &[Lane], permits: &Arc<Semaphore>, closing: watch::Receiver<bool>) {
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream.into_std(),
                Err(error) => Err(error),
            };
            match stream {
                Ok(stream) => {
                    let lane = lanes.iter().min_by_key(|lane| Arc::strong_count(&lane.open));
                    // A thread that has ended serves nobody: the connection is closed.
                    let _gone = lane.map(|lane| lane.accepted.send((stream, (permit, Arc::clone(&lane.open)))));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; it is tried again");
                    time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = closed(closing) => {}
    }
}

/// The gateway is stopped. One that nobody can stop any more goes on.
async fn closed(mut closing: watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending().await
    }
}

/// Whether a connection ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves connections on this thread until no more come, and then for as long as those that there are may take to end.
async fn serve(
    shared: Arc<Shared>,
    mut accepted: mpsc::UnboundedReceiver<(net::TcpStream, Place)>,
    closing: watch::Receiver<bool>,
) {
    let config = &shared.config;
    let worker = Rc::new(Worker::new(&shared));
    let app = App::new().default_service(fn_service(move |request| server::handle(&worker, request)));
    let service = HttpService::build()
        .keep_alive(Duration::from_millis(config.keep_alive_ms))
        .client_request_timeout(Duration::from_millis(config.request_head_ms_max))
        // A reply is written whole: holding it back for more only delays it.
        .tcp_nodelay(true)
        // A connection that waits for its next request ends. Undocumented, for actix-web's own server calls it alone; without
        // it such a connection would be waited for.
        .graceful_shutdown_signal(move || closed(closing.clone()))
        .finish(map_config(app.into_factory(), |()| AppConfig::default()))
        .tcp();
    let Ok(service) = service.new_service(()).await else {
        tracing::error!("the gateway cannot serve on a thread of the actors");
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            next = accepted.recv() => {
                let Some((stream, place)) = next else { break };
                let Ok(stream) = TcpStream::from_std(stream) else { continue };
                let served = service.call(stream);
                connections.spawn_local(async move {
                    // What goes wrong on a connection is its client's concern: it has been answered, or is gone.
                    let _broken = served.await;
                    drop(place);
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _late = time::timeout(Duration::from_millis(shared.config.shutdown_ms_max), all_ended).await;
    // Those that are left are closed.
}

//! The daemon that is measured, with a twin system in the process, and beside it a bare server.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use serde_json::json;
use tokio::sync::oneshot;
use twinway::{
    Enabler,
    actors::runtime::Options,
    config::{Config, Secret, TokenConfig},
    daemon::Daemon,
    gateway::{GatewayConfig, Role},
    outside::Outgoing,
    protocol::{
        JsonDoc, SystemId,
        message::{ChangeApplied, OutsideAnswer, OutsideRequest, TwinGrant, TwinPropertiesAndPermission},
    },
};

/// How many threads serve, of either server: what the daemon chooses on two cores. Its own run the actors too.
pub(crate) const WORKERS: usize = 1;
/// How many twins the home has: one a client that changes one.
pub(crate) const TWINS: usize = 64;
/// The metaverse system's token.
pub(crate) const WORLD: &str = "a-token-of-the-world-that-is-as-long-as-real-ones";
/// The operator's.
pub(crate) const OPERATOR: &str = "a-token-of-the-operator-that-is-as-long-as-others";

/// What runs, each on a thread with a runtime of its own.
pub(crate) struct World {
    pub(crate) daemon: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    home: JoinHandle<()>,
    _data: tempfile::TempDir,
}

/// The limits, of either server. The rate is watched, as by default, but does not slow the bench.
pub(crate) fn limits() -> GatewayConfig {
    GatewayConfig { requests_per_second_max: 100_000_000, requests_burst_max: 100_000_000, ..GatewayConfig::default() }
}

fn name(text: &str) -> SystemId {
    text.parse().expect("a name")
}

impl World {
    /// Starts the daemon as `twinway serve` does, on a free port and with its journal on disk, and registers a home
    /// whose lamps have values.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// As [`World::start`], with more in the daemon's configuration.
    pub(crate) fn start_with(more: impl FnOnce(&mut Config)) -> Self {
        let place = std::env::var_os("TWINWAY_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let data = tempfile::TempDir::new_in(place).expect("a directory");
        let token = |token, role, id| TokenConfig { token: Secret::new(token), token_file: None, role, id: name(id) };
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data: data.path().to_path_buf(),
            tokens: vec![token(WORLD, Role::Metaverse, "world"), token(OPERATOR, Role::Operator, "root")],
            limits: limits(),
            runtime: Options { arbiters: WORKERS, ..Options::default() },
            ..Config::default()
        };
        more(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let serving = thread::spawn(move || {
            rt::System::new().block_on(async move {
                let daemon = Daemon::start(&config, Vec::new()).await.expect("the daemon starts");
                tell.send((daemon.url(), daemon.enabler().clone())).expect("the bench waits");
                stopped.await.expect("the bench says when");
                daemon.stop().await.expect("the daemon ends in order");
            });
        });
        let (url, enabler) = told.recv().expect("the daemon started");
        let daemon = url.trim_start_matches("http://").parse().expect("an address");
        let (tell, told) = mpsc::channel();
        let home = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(home(enabler, tell));
        });
        told.recv().expect("the home is registered");
        Self { daemon, stop, serving, home, _data: data }
    }

    pub(crate) fn end(self) {
        self.stop.send(()).expect("the daemon waits");
        self.serving.join().expect("the daemon's thread");
        self.home.join().expect("the home's thread");
    }
}

/// A twin system, and its one lamp or many.
pub(crate) fn description(id: &str, lamps: usize) -> serde_json::Value {
    let lamp = |number| {
        json!({"id": format!("urn:{id}:lamp:{number}"), "physicalObject": format!("urn:{id}:object:{number}"), "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "none",
            "securityDefinitions": {"none": {"scheme": "nosec"}},
            "properties": {"brightness": {"type": "integer", "forms": [{"href": "/brightness"}]}},
        }})
    };
    json!({"id": id, "type": "home", "title": "A home", "twins": (0..lamps).map(lamp).collect::<Vec<_>>()})
}

/// Registers, reports a value of each lamp, and from then on answers at once whatever it is asked.
async fn home(enabler: Enabler, ready: mpsc::Sender<()>) {
    let home = enabler.dii(name("home"));
    let description = serde_json::from_value(description("home", TWINS)).expect("it is one");
    home.register(description).await.expect("it is registered");
    for number in 0..TWINS {
        let twin = format!("urn:home:lamp:{number}").parse().expect("a name");
        let values = BTreeMap::from([("brightness".to_owned(), JsonDoc::parse("80").expect("JSON"))]);
        home.report(twin, values, None).await.expect("it is taken");
    }
    let mut session = home.session().await.expect("it is opened");
    ready.send(()).expect("the bench waits");
    while let Some(outgoing) = session.next().await {
        let Outgoing::Request { request, body } = outgoing else { continue };
        let answer = match &*body {
            OutsideRequest::DescribeTwins(asked) => {
                let grant = |twin: &_| TwinGrant {
                    twin: Clone::clone(twin),
                    properties: BTreeMap::new(),
                    rights: (*asked.rights).clone(),
                    expires_at: None,
                    role: None,
                };
                OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission {
                    twins: asked.twins.iter().map(grant).collect(),
                })
            }
            OutsideRequest::ApplyChange(change) => {
                OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*change.values).clone()), seen: None })
            }
            _ => OutsideAnswer::Failed("a home offers no services".to_owned()),
        };
        // The next request does not wait until this answer is taken.
        let home = home.clone();
        tokio::spawn(async move { home.answer(request, answer).await.expect("the answer is taken") });
    }
}

/// Starts a server with the gateway's settings whose every answer is `body`. It ends with the process.
pub(crate) fn constant(body: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let body = web::Bytes::from(body);
    thread::spawn(move || {
        rt::System::new().block_on(async move {
            let limits = limits();
            listener.set_nonblocking(true).expect("a listener");
            let app = move || {
                let body = body.clone();
                App::new().default_service(web::to(move || {
                    let answer = HttpResponse::Ok().content_type("application/json").body(body.clone());
                    std::future::ready(answer)
                }))
            };
            HttpServer::new(app)
                .workers(WORKERS)
                .max_connections(limits.connections_max)
                .keep_alive(Duration::from_millis(limits.keep_alive_ms))
                .client_request_timeout(Duration::from_millis(limits.request_head_ms_max))
                .disable_signals()
                .listen(listener)
                .expect("it listens")
                .run()
                .await
                .expect("it serves");
        });
    });
    address
}

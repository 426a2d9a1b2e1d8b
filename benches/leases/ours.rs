//! `twinway serve` in a process of its own, a twin system whose devices have no command under way, and the worlds whose
//! users want them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};
use twinway::{
    client::{Client, Incoming},
    outside::SystemKind,
    protocol::message::{OutsideAnswer, OutsideRequest, TwinGrant, TwinPropertiesAndPermission},
};

use super::{
    CLIENTS, CONNECTIONS,
    load::{Connection, request},
    process::Process,
};

/// The twin that everybody wants.
pub(crate) const CONTENDED: &str = "urn:cell:shared";
/// The twin that a user with a higher priority takes over without grace.
pub(crate) const TAKEN: &str = "urn:cell:taken";
/// The user whose priority is higher there.
pub(crate) const HIGHER: &str = "higher";

pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// A client's own twin.
pub(crate) fn twin(client: usize) -> String {
    format!("urn:cell:arm:{client}")
}

pub(crate) fn user(client: usize) -> String {
    format!("user-{client}")
}

/// The world through which a client acts: as many clients as a session has speak through each.
pub(crate) fn world(client: usize) -> usize {
    client / (CLIENTS / CONNECTIONS)
}

pub(crate) fn token(world: usize) -> String {
    format!("the-token-of-a-world-that-is-long-enough-{world}")
}

const SYSTEM: &str = "the-token-of-the-twin-system-that-is-long-enough";

/// How many threads run actors and serve, as the environment says (`TWINWAY_BENCH_ARBITERS`); none: the daemon's own choice.
pub(crate) fn arbiters() -> Option<usize> {
    std::env::var("TWINWAY_BENCH_ARBITERS").ok().map(|text| text.parse().expect("a number of threads"))
}

fn configuration(data: &Path, arbiters: Option<usize>) -> String {
    let mut text = format!("listen = \"127.0.0.1:0\"\ndata = {data:?}\n");
    let mut token = |token: &str, role: &str, id: &str| {
        writeln!(text, "[[tokens]]\ntoken = \"{token}\"\nrole = \"{role}\"\nid = \"{id}\"").expect("a text grows");
    };
    token(SYSTEM, "twin-system", "cell");
    (0..CONNECTIONS).for_each(|world| token(&self::token(world), "metaverse", &format!("world-{world}")));
    // The rate is watched, as by default, but does not slow the bench; a session may have all of its clients' calls.
    text.push_str("[log]\nlevel = \"warn\"\n");
    if let Some(arbiters) = arbiters {
        write!(text, "[runtime]\narbiters = {arbiters}\n").expect("a text grows");
    }
    text.push_str(
        "[limits]\nrequests_per_second_max = 100000000\nrequests_burst_max = 100000000\nsession_calls_max = 1024\n",
    );
    text
}

/// The twin system's description; the objects need no safe stop, and are drained when no command is under way.
pub(crate) fn description() -> Value {
    let twins = (0..CLIENTS).map(twin).chain([CONTENDED.to_owned(), TAKEN.to_owned()]);
    let entry = |id: String| {
        json!({"id": id, "physicalObject": format!("{id}:object"), "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Arm", "security": "none",
            "securityDefinitions": {"none": {"scheme": "nosec"}},
            "properties": {"angle": {"type": "integer", "forms": [{"href": "/angle"}]}},
        }})
    };
    json!({"id": "cell", "type": "cell", "title": "A production cell", "twins": twins.map(entry).collect::<Vec<_>>()})
}

/// Who weighs what on the twin that is taken over.
pub(crate) fn rules() -> Value {
    json!({"priorities": [{"user": HIGHER, "priority": 9}], "defaultPriority": 1, "graceMs": 0})
}

fn ask(connection: &mut Connection, method: &str, path: &str, token: &str, body: &Value) {
    let answer = connection.ask(&request(method, path, token, Some(&body.to_string())));
    assert!(answer.status < 300, "{method} {path}: {}", String::from_utf8_lossy(answer.body));
}

impl Daemon {
    /// Starts it with its journal below `place`, registers the twins, and gets the users their permissions.
    pub(crate) fn start(place: &Path, program: &str, arbiters: Option<usize>) -> Self {
        std::fs::create_dir_all(place).expect("there is room");
        let config = place.join("twinway.toml");
        std::fs::write(&config, configuration(&place.join("data"), arbiters)).expect("there is room");
        let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
        let mut process = Process::start(program, &arguments, place, Stdio::piped());
        let mut output = BufReader::new(process.child().stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it can be read");
        let url = line.split_once(" at ").map(|(_, url)| url.trim().to_owned()).expect("it says where");
        // Whatever else it prints is passed over.
        thread::spawn(move || output.lines().for_each(drop));
        let address = url.trim_start_matches("http://").parse().expect("an address");
        let mut connection = Connection::open(address);
        ask(&mut connection, "POST", "/dii/v1/systems", SYSTEM, &description());
        ask(&mut connection, "PUT", &format!("/dii/v1/twins/{TAKEN}/synchronization"), SYSTEM, &rules());
        let (ready, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(devices(url, ready));
        });
        told.recv().expect("the twin system's session is open");
        let daemon = Self { process, address };
        daemon.admit();
        daemon
    }

    /// FGMV-29 9.2 steps 6 to 12, for every user.
    fn admit(&self) {
        let per_world = CLIENTS / CONNECTIONS;
        for world in 0..CONNECTIONS {
            let (mut connection, token) = (Connection::open(self.address), token(world));
            let clients = world * per_world..(world + 1) * per_world;
            let mut twins: Vec<_> = clients.clone().map(twin).collect();
            twins.extend([CONTENDED.to_owned(), TAKEN.to_owned()]);
            ask(&mut connection, "POST", "/mii/v1/selections", &token, &json!({"select": twins}));
            for client in clients {
                let twins = [twin(client), CONTENDED.to_owned(), TAKEN.to_owned()];
                let wanted = json!({"user": user(client), "twins": twins, "rights": ["read", "change"]});
                ask(&mut connection, "POST", "/mii/v1/permissions", &token, &wanted);
            }
            let wanted = json!({"user": HIGHER, "twins": [TAKEN], "rights": ["read", "change"]});
            ask(&mut connection, "POST", "/mii/v1/permissions", &token, &wanted);
        }
    }
}

/// The twin system: it grants whatever it is asked for, until the daemon ends.
async fn devices(url: String, ready: mpsc::Sender<()>) {
    let client = Client::new(&url, SYSTEM);
    let mut session = client.session(SystemKind::DigitalTwin).await.expect("it is opened");
    ready.send(()).expect("the bench waits");
    loop {
        match session.next().await {
            Incoming::Request { id, body } => session.answer(&id, &answer(&body)).await.expect("the daemon reads"),
            Incoming::Closed(_) => return,
            _ => {}
        }
    }
}

pub(crate) fn answer(request: &OutsideRequest) -> OutsideAnswer {
    match request {
        OutsideRequest::DescribeTwins(asked) => {
            let grant = |twin: &_| TwinGrant {
                twin: Clone::clone(twin),
                properties: BTreeMap::new(),
                rights: (*asked.rights).clone(),
                expires_at: None,
                role: None,
            };
            let twins = asked.twins.iter().map(grant).collect();
            OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins })
        }
        _ => OutsideAnswer::Failed("the bench moves nothing".to_owned()),
    }
}

//! Observations on the disk (FGMV-28 7.3.1 step 2.2): an upload that SIGKILL ends shows nowhere and leaves nothing, and what was
//! acknowledged is there after it; what nobody names is swept away.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use twinway::{
    client::Client,
    enabler::Recorded,
    protocol::{
        ProblemKind,
        registry::{Reach, TwinSystemDescription},
        spatial::{DefinitionDocument, MediaType, Observation, Point, PoseDocument},
        time::Timestamp,
    },
};

use super::{
    daemon::{Daemon, Place, WAIT_MAX, runtime},
    world::system,
};

/// How large a large upload is: many times what a daemon may have of it in memory.
const LARGE_BYTES: u64 = 96 * 1024 * 1024;

/// Files below a directory, with their lengths.
fn files(place: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for file in fs::read_dir(place).expect("it is there").flatten() {
        let kept = file.metadata().expect("it can be read");
        if kept.is_dir() {
            found.extend(files(&file.path()));
        } else {
            found.push((file.path(), kept.len()));
        }
    }
    found
}

/// A map, a twin system, and ada's device, which is asked for a picture; gives the number of the request.
async fn asked(daemon: &Daemon) -> u32 {
    let world = daemon.client("world");
    let text = r#"{"anchor": {"position": {"lat": 48.1, "lon": 11.6, "h": 520}, "angles": {"yaw": 0, "pitch": 0, "roll": 0}}}"#;
    let definition: DefinitionDocument = serde_json::from_str(text).expect("it is one");
    world.define_map(&"factory".parse().expect("a name"), &definition).await.expect("it is defined");
    let home = TwinSystemDescription {
        id: system("home"),
        system_type: "factory".to_owned(),
        title: "A plant".to_owned(),
        description: String::new(),
        properties: Default::default(),
        reach: Reach::Session,
        lifetime_ms: None,
        service_level: None,
        twins: Vec::new(),
    };
    daemon.client("home").register_twin_system(&home).await.expect("it registers");
    let metaverse = system("world");
    daemon.client("ada").attach_device(&metaverse).await.expect("it is attached");
    let (map, user) = ("factory".parse().expect("a name"), twinway::protocol::UserId::new("ada").expect("a name"));
    world.request_observations(&map, &user, &system("home"), "the press").await.expect("the device is asked")
}

fn recorded(request: u32) -> Recorded {
    let pose = PoseDocument { local: Some(Point::new(1.0, 2.0, 3.0)), ..PoseDocument::default() };
    Recorded { request, media_type: MediaType::Png, serial_number: None, pose, at: Timestamp::from_unix_ms(1) }
}

/// So many bytes that begin as a picture does.
fn picture(bytes: u64) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    const PIECE: usize = 64 * 1024;
    let first = Bytes::from([b"\x89PNG\r\n\x1a\n".as_slice(), &[7; PIECE - 8]].concat());
    let rest = Bytes::from(vec![7; PIECE]);
    let pieces = bytes / PIECE as u64;
    stream::iter((0..pieces).map(move |number| Ok(if number == 0 { first.clone() } else { rest.clone() })))
}

async fn upload(client: &Client, request: u32, bytes: u64) -> Observation {
    let body = reqwest::Body::wrap_stream(picture(bytes));
    client.upload_observation(&recorded(request), body).await.expect("it is kept")
}

/// The most memory that the process ever had, in bytes.
fn peak_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it is told");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
fn an_upload_that_sigkill_ends_leaves_nothing_and_what_was_acknowledged_is_there() {
    runtime().block_on(async {
        let place = Place::new("");
        let directory = place.data().join("observations");
        let mut daemon = place.start();
        let request = asked(&daemon).await;
        let ada = daemon.client("ada");
        let kept = upload(&ada, request, 1024 * 1024).await;

        // One that does not end: killed when a part of it is on the disk.
        let endless = reqwest::Body::wrap_stream(picture(1024 * 1024).chain(stream::pending()));
        let client = ada.clone();
        let uploading = tokio::spawn(async move { client.upload_observation(&recorded(request), endless).await });
        let began = Instant::now();
        let named = |path: &Path| path.file_name().is_some_and(|name| name.to_str() == Some(kept.id.as_str()));
        while !files(&directory).iter().any(|(path, length)| !named(path) && *length > 0) {
            assert!(began.elapsed() < WAIT_MAX, "nothing comes: {:?}", files(&directory));
            tokio::task::yield_now().await;
        }
        daemon.kill();
        uploading.await.expect("it ends").expect_err("nobody acknowledged it");
        assert_eq!(files(&directory).len(), 2, "a part of it is there");
        // What a daemon wrote that was killed before anybody named it.
        fs::write(directory.join("0".repeat(64)), "nobody names this").expect("there is room");

        let daemon = place.start();
        let left = files(&directory);
        assert!(left.len() == 1 && named(&left[0].0), "{left:?}");
        let map = "factory".parse().expect("a name");
        let listed = daemon.client("world").observations(&map, None, None).await.expect("it lists").items;
        assert_eq!(listed.iter().map(|listed| &listed.id).collect::<Vec<_>>(), [&kept.id]);
        let mut bytes = Vec::new();
        assert_eq!(
            daemon.client("world").read_observation(&kept.id, &mut bytes).await.expect("it is there"),
            kept.bytes
        );

        daemon.client("world").delete_map(&map).await.expect("it goes");
        assert!(files(&directory).is_empty(), "nobody names it any more");
        let gone = daemon.client("world").read_observation(&kept.id, &mut bytes).await.expect_err("it is gone");
        assert_eq!(gone.kind(), Some(ProblemKind::ObservationUnknown));
    });
}

/// Memory is bounded whatever clients send or read, and however many.
#[test]
fn large_uploads_and_reads_go_by_memory() {
    runtime().block_on(async {
        let place = Place::new("");
        let daemon = place.start();
        let request = asked(&daemon).await;
        let before = peak_memory(&daemon);
        let uploads = (0..4).map(|more| {
            let client = daemon.client("ada");
            tokio::spawn(async move { upload(&client, request, LARGE_BYTES + more * 64 * 1024).await })
        });
        let mut kept = Vec::new();
        for upload in uploads.collect::<Vec<_>>() {
            kept.push(upload.await.expect("it ends"));
        }
        for observation in &kept {
            let read = daemon.client("world").read_observation(&observation.id, &mut std::io::sink()).await;
            assert_eq!(read.expect("it is there"), observation.bytes);
        }
        let grown = peak_memory(&daemon) - before;
        assert!(grown < LARGE_BYTES / 2, "{grown} bytes for four uploads of {LARGE_BYTES} at once");
        let mut first =
            fs::File::open(place.data().join("observations").join(kept[0].id.as_str())).expect("it is there");
        let mut beginning = [0; 4];
        first.read_exact(&mut beginning).expect("it has some");
        assert_eq!(&beginning, b"\x89PNG");
    });
}

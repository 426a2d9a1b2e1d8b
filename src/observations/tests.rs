//! FGMV-28 7.3.1 step 2.2: what stores promise, and that bytes are kept exactly as long as somebody names them.

use std::{fs, path::Path};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use twinway_protocol::{
    EntityId, Problem, ProblemKind, UserId,
    spatial::{MediaType, ObservationId},
};

use super::{DirectoryStore, MemoryStore, ObservationLimits, ObservationStore, Observations, receiving::Received};

const ACTOR: EntityId = EntityId::new(12, 0, 1);
const OTHER: EntityId = EntityId::new(12, 0, 2);

fn put(store: &dyn ObservationStore, id: &ObservationId, bytes: &[u8]) -> Result<(), Problem> {
    let mut unfinished = store.begin()?;
    for piece in bytes.chunks(2) {
        unfinished.write(piece)?;
    }
    unfinished.finish(id)
}

fn get(store: &dyn ObservationStore, id: &ObservationId) -> Result<Vec<u8>, ProblemKind> {
    let mut stored = store.open(id).map_err(|problem| problem.kind)?;
    let mut bytes = Vec::new();
    stored.reader.read_to_end(&mut bytes).map_err(|_| ProblemKind::Internal)?;
    assert_eq!(stored.bytes, bytes.len() as u64);
    Ok(bytes)
}

/// What every store promises.
fn contract(open: &dyn Fn(u64) -> Box<dyn ObservationStore>, lasts: bool) {
    let (first, second) = (ObservationId::of_digest([1; 32]), ObservationId::of_digest([2; 32]));
    let store = open(8);
    assert_eq!(get(&*store, &first), Err(ProblemKind::ObservationUnknown));
    put(&*store, &first, b"12345").expect("there is room");
    put(&*store, &first, b"123").expect("something is kept under its name");
    assert_eq!(get(&*store, &first).expect("it is kept"), b"12345", "and what came later takes no room");
    assert_eq!(put(&*store, &second, b"1234").expect_err("9 are over 8").kind, ProblemKind::LimitReached);
    assert_eq!(get(&*store, &second), Err(ProblemKind::ObservationUnknown), "nothing was kept");
    let mut given_up = store.begin().expect("it begins");
    given_up.write(b"123").expect("there is room");
    assert_eq!(put(&*store, &second, b"1").expect_err("it is taken by what is coming").kind, ProblemKind::LimitReached);
    drop(given_up);
    put(&*store, &second, b"123").expect("there is room again");
    assert_eq!(store.list().expect("it lists").len(), 2);
    drop(store);
    let store = if lasts { open(8) } else { return };
    assert_eq!(get(&*store, &second).expect("it is kept"), b"123");
    let third = ObservationId::of_digest([3; 32]);
    assert_eq!(put(&*store, &third, b"1").expect_err("it is full").kind, ProblemKind::LimitReached);
    store.remove(&first).expect("it goes");
    store.remove(&first).expect("it is gone already");
    assert_eq!(get(&*store, &first), Err(ProblemKind::ObservationUnknown));
    put(&*store, &third, b"12345").expect("its room is given back");
}

#[test]
fn memory_keeps_what_it_took_and_no_more_than_it_may() {
    contract(&|max| Box::new(MemoryStore::new(max)), false);
}

#[test]
fn a_directory_keeps_what_it_took_and_no_more_than_it_may() {
    let place = tempfile::tempdir().expect("there is a place for it");
    contract(&|max| Box::new(DirectoryStore::open(place.path(), max).expect("it opens")), true);
}

/// The names of the files below a directory.
fn files(place: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir(place).expect("it is there") {
        let file = file.expect("it can be read");
        if file.file_type().expect("it has one").is_dir() {
            names.extend(files(&file.path()));
        } else {
            names.push(file.file_name().into_string().expect("it is text"));
        }
    }
    names
}

/// What a process that was killed in the middle leaves is never shown, and the next start takes it away; the files of
/// others stay.
#[test]
fn what_was_half_written_when_the_process_died_is_taken_away_and_never_shown() {
    let place = tempfile::tempdir().expect("there is a place for it");
    let store = DirectoryStore::open(place.path(), 100).expect("it opens");
    let mut unfinished = store.begin().expect("it begins");
    unfinished.write(b"half").expect("there is room");
    // As SIGKILL leaves it: nothing is dropped.
    std::mem::forget(unfinished);
    assert!(store.list().expect("it lists").is_empty());
    assert_eq!(files(place.path()).len(), 1);
    fs::write(place.path().join("notes.txt"), "mine").expect("there is room");
    let store = DirectoryStore::open(place.path(), 100).expect("it opens");
    assert!(store.list().expect("it lists").is_empty());
    assert_eq!(files(place.path()), ["notes.txt"]);
    // An earlier version wrote into one file of that name.
    fs::remove_dir_all(place.path().join("unfinished")).expect("it is there");
    fs::write(place.path().join("unfinished"), "half").expect("there is room");
    DirectoryStore::open(place.path(), 100).expect("it opens");
    assert_eq!(files(place.path()), ["notes.txt"]);
}

fn ada() -> UserId {
    UserId::new("ada").expect("a name")
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest is no matter";

fn pieces(bytes: &'static [u8]) -> impl futures_util::Stream<Item = Result<Bytes, Problem>> {
    stream::iter(bytes.chunks(5).map(|piece| Ok(Bytes::from_static(piece))))
}

async fn receive(to: &Observations, bytes: &'static [u8]) -> Result<Received, Problem> {
    to.receive(&ada(), MediaType::Png, pieces(bytes)).await
}

async fn is_kept(observations: &Observations, id: &ObservationId) -> bool {
    observations.collected().await.expect("it collects");
    match observations.read(id.clone()).await {
        Ok(reading) => {
            let read: Vec<_> = reading.into_stream().map(|piece| piece.expect("it can be read")).collect().await;
            assert_eq!(id, &ObservationId::of_digest(Sha256::digest(read.concat()).into()));
            true
        }
        Err(problem) => {
            assert_eq!(problem.kind, ProblemKind::ObservationUnknown);
            false
        }
    }
}

#[tokio::test]
async fn bytes_are_kept_exactly_as_long_as_an_upload_or_an_actor_names_them() {
    let observations = Observations::new(MemoryStore::new(100));
    observations.sweep().await.expect("it is empty");
    let received = receive(&observations, PNG).await.expect("it is a picture");
    let id = received.id.clone();
    assert_eq!((id.clone(), received.bytes), (ObservationId::of_digest(Sha256::digest(PNG).into()), PNG.len() as u64));
    assert!(is_kept(&observations, &id).await, "the upload names it");
    observations.named(ACTOR, vec![id.clone()], Vec::new());
    drop(received);
    assert!(is_kept(&observations, &id).await, "an actor names it");
    // The same bytes again, for another map: they are there once, and named twice.
    let again = receive(&observations, PNG).await.expect("it is a picture");
    observations.named(OTHER, vec![id.clone()], Vec::new());
    drop(again);
    observations.named(ACTOR, Vec::new(), vec![id.clone()]);
    assert!(is_kept(&observations, &id).await, "another actor names it");
    let coming = receive(&observations, PNG).await.expect("it is a picture");
    observations.named(OTHER, Vec::new(), vec![id.clone()]);
    assert!(is_kept(&observations, &id).await, "an upload names it");
    drop(coming);
    assert!(!is_kept(&observations, &id).await, "nobody names it");
    let unnamed = receive(&observations, PNG).await.expect("it is a picture");
    unnamed.keep_until_restart();
    assert!(is_kept(&observations, &id).await, "nobody knows whether an actor names it");
}

#[tokio::test]
async fn the_sweep_takes_away_what_nobody_names_and_before_it_nothing_goes() {
    let place = tempfile::tempdir().expect("there is a place for it");
    let store = DirectoryStore::open(place.path(), 1_000).expect("it opens");
    let (kept, left) = (ObservationId::of_digest([1; 32]), ObservationId::of_digest([2; 32]));
    put(&store, &kept, PNG).expect("there is room");
    put(&store, &left, PNG).expect("there is room");
    let observations = Observations::new(store);
    // While actors come back, one lets go what another has not named yet.
    observations.named(ACTOR, vec![kept.clone()], Vec::new());
    observations.named(ACTOR, Vec::new(), vec![kept.clone()]);
    observations.collected().await.expect("it collects");
    assert_eq!(files(place.path()).len(), 2);
    observations.named(OTHER, vec![kept.clone()], Vec::new());
    observations.sweep().await.expect("it sweeps");
    assert_eq!(files(place.path()), [kept.to_string()]);
}

#[tokio::test]
async fn what_is_no_picture_stops_half_way_or_is_one_too_many_leaves_nothing() {
    let place = tempfile::tempdir().expect("there is a place for it");
    let store = DirectoryStore::open(place.path(), 40).expect("it opens");
    let limits = ObservationLimits { uploads_max: 3, user_uploads_max: 1, reads_max: 1 };
    let observations = Observations::limited(store, limits);
    observations.sweep().await.expect("it is empty");
    let kind = |refused: Result<Received, Problem>| refused.expect_err("it is refused").kind;
    assert_eq!(kind(receive(&observations, b"<svg></svg>").await), ProblemKind::MediaTypeUnsupported);
    assert_eq!(kind(receive(&observations, b"GIF89a and much more of it").await), ProblemKind::MediaTypeUnsupported);
    let large = b"\x89PNG\r\n\x1a\nthere is no more room for this, and there never was";
    assert_eq!(kind(receive(&observations, large).await), ProblemKind::LimitReached);
    let broken = Problem::new(ProblemKind::InvalidDocument, "it stopped");
    let half = stream::iter([Ok(Bytes::from_static(PNG)), Err(broken)]);
    assert_eq!(kind(observations.receive(&ada(), MediaType::Png, half).await), ProblemKind::InvalidDocument);
    // One that has begun and not ended takes the user's place, and no other's.
    let endless = stream::iter([Ok(Bytes::from_static(PNG))]).chain(stream::pending());
    let ada = ada();
    let mut under_way = Box::pin(observations.receive(&ada, MediaType::Png, endless));
    assert!(futures_util::poll!(&mut under_way).is_pending());
    assert_eq!(kind(receive(&observations, PNG).await), ProblemKind::Overloaded);
    drop(under_way);
    // The place is given back when what it wrote is gone from the disk.
    let received = loop {
        match receive(&observations, PNG).await {
            Ok(received) => break received,
            Err(problem) => assert_eq!(problem.kind, ProblemKind::Overloaded),
        }
    };
    assert_eq!(files(place.path()), [received.id.to_string()]);
    let _reading = observations.read(received.id.clone()).await.expect("it is kept");
    let second = observations.read(received.id.clone()).await;
    assert_eq!(second.expect_err("one is read already").kind, ProblemKind::Overloaded);
}

//! `twinway service`: a chain from a file (FGMV-29 8.2.4).

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{
    daemon::{Daemon, Place, TOKEN},
    server::Act,
    world::{World, order},
};

fn service(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinway"));
    command.args(["-o", "json", "service"]).args(arguments);
    command.args(["--url", &daemon.url, "--token", TOKEN, "--as", "plaza"]).output().expect("it starts")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it writes JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_from_a_file_runs_to_its_end_and_its_exit_says_how() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let directory = tempfile::TempDir::new().expect("there is room");
    let file = directory.path().join("chain.json");
    std::fs::write(&file, order().to_string()).expect("there is room");
    let file = file.to_str().expect("it is text").to_owned();
    let (ran, failed, listed) = tokio::task::spawn_blocking(move || {
        let ran = service(&daemon, &["run", "--file", &file]);
        world.courier.now(|_| Act::Answer(200, json!({"failed": "no van"})));
        let failed = service(&daemon, &["run", "--file", &file]);
        (ran, failed, service(&daemon, &["list"]))
    })
    .await
    .expect("they run");
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(document(&ran)["state"], "succeeded");
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(document(&failed)["state"], "compensated");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no van"));
    assert_eq!(document(&listed).as_array().map(Vec::len), Some(2));
}

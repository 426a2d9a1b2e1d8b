//! A disk without room: the daemon reads, refuses to write, says why, and goes on when there is room.

use std::{fs, io::Write, path::Path, process::Command, time::Instant};

use twinway::{
    client::{Client, ClientError},
    protocol::{JsonDoc, ProblemKind},
};

use super::{
    check::check,
    daemon::{Daemon, Place, WAIT_MAX, runtime},
    facts::{Facts, Registration},
    kill::STRICT,
    world::{advisor, system},
};

/// Names the directory on which a child of this test mounts a small file system.
const MOUNT: &str = "TWINWAY_SMALL_FILE_SYSTEM";
/// What an external system may take to answer is also what a caller waits for the disk, beside 5 s.
const SETTINGS: &str = "[entities]\noutside_answer_ms_max = 500\n";

/// Tells that something could not be tested here, and why.
fn skip(why: &str) {
    println!("SKIPPED: {why}");
    if let Some(file) = std::env::var_os("TWINWAY_SKIPS") {
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(file).expect("it can be written");
        std::io::Write::write_all(&mut file, format!("{why}\n").as_bytes()).expect("it can be written");
    }
}

/// Registers third-party systems until the daemon does not take more. What it did not answer may be there or not.
async fn register_until_full(daemon: &Daemon, facts: &mut Facts) -> ClientError {
    let mut number = 0;
    loop {
        number += 1;
        let id = format!("advisor-{number}");
        let mut sent = advisor(&id);
        sent.properties.insert("padding".to_owned(), JsonDoc::from_value(&"x".repeat(3_000)).expect("text"));
        facts.advisors.insert(system(&id), Registration::sent(sent.clone()));
        match daemon.client(&id).register_third_party_system(&sent).await {
            Ok(listing) => {
                facts.advisors.get_mut(&system(&id)).expect("it was put there").acknowledged = Some(listing);
            }
            Err(error) => return error,
        }
    }
}

async fn ready_within(client: &Client, wanted: bool) -> Vec<String> {
    let began = Instant::now();
    loop {
        let health = client.readiness().await.expect("it can be asked");
        if (health.status == "ready") == wanted {
            return health.reasons;
        }
        assert!(began.elapsed() < WAIT_MAX, "still {health:?}");
        tokio::task::yield_now().await;
    }
}

fn on_a_small_file_system(mount: &Path) {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(mount).status();
    assert!(mounted.is_ok_and(|status| status.success()), "no file system could be mounted");
    let place = Place::within(mount, &format!("{STRICT}{SETTINGS}"));
    runtime().block_on(async {
        let mut daemon = place.start();
        let mut facts = Facts::default();
        let ballast = mount.join("ballast");
        let mut filling = fs::File::create(&ballast).expect("there is room");
        while filling.write_all(&[1; 4096]).is_ok() {}
        let error = register_until_full(&daemon, &mut facts).await;
        println!("when it was full: {error}");

        let operator = daemon.operator();
        let reasons = ready_within(&operator, false).await;
        assert!(reasons.iter().any(|reason| reason.contains("read-only") && reason.contains("room")), "{reasons:?}");
        let refused = daemon.client("late").register_third_party_system(&advisor("late")).await;
        assert_eq!(refused.expect_err("it is full").kind(), Some(ProblemKind::ReadOnly));
        // Reads are answered: by the register, and by those who searched before.
        for (id, advisor) in &facts.advisors {
            if let Some(acknowledged) = &advisor.acknowledged {
                let listing = daemon.client(id.as_str()).third_party_system(id).await;
                assert_eq!(listing.as_ref(), Ok(acknowledged));
            }
        }

        drop(filling);
        fs::remove_file(&ballast).expect("it is there");
        ready_within(&operator, true).await;
        check(&daemon, &mut facts).await;
        let id = system("late");
        let listing = daemon.client("late").register_third_party_system(&advisor("late")).await.expect("there is room");
        let late = Registration { acknowledged: Some(listing), ..Registration::sent(advisor("late")) };
        facts.advisors.insert(id, late);
        daemon.kill();
        daemon = place.start();
        check(&daemon, &mut facts).await;
    });
}

#[test]
fn a_full_disk_makes_the_daemon_read_only_until_there_is_room() {
    if let Some(mount) = std::env::var_os(MOUNT) {
        return on_a_small_file_system(Path::new(&mount));
    }
    let temp = tempfile::TempDir::new().expect("there is room");
    let may = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none"]).arg(temp.path()).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(&format!("a full disk: `unshare -rm mount -t tmpfs` does not work here: {may:?}"));
    }
    let program = std::env::current_exe().expect("it runs");
    let name = "full_disk::a_full_disk_makes_the_daemon_read_only_until_there_is_room";
    let mut child = Command::new("unshare");
    child.arg("-rm").arg(program).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = child.env(MOUNT, temp.path()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

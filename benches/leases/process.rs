//! A server in a process of its own: started on ports that the system picks, killed at the end.

use std::{
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address")
}

/// The first line of what a program says to `--version`, if there is such a program.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("unknown").to_owned())
}

impl Process {
    /// Starts `program`, which logs to a file below `place`.
    pub(crate) fn start(program: &str, arguments: &[impl AsRef<OsStr>], place: &Path, output: Stdio) -> Self {
        let log = fs::File::create(place.join("log")).expect("there is room");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(place).stdin(Stdio::null()).stdout(output).stderr(log);
        Self { child: command.spawn().expect("it starts") }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it listens.
    pub(crate) fn listens(&mut self, address: SocketAddr) {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(self.child.try_wait().expect("it is a child").is_none(), "the server ended");
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing listens at {address}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How much processor time it has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.child.id().to_string())
    }
}

/// How much processor time a process has used; `self`: this one.
pub(crate) fn cpu(process: &str) -> Duration {
    const TICKS_PER_S: f64 = 100.0;
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<_> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_S)
}

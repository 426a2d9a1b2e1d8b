//! Runs the command, and answers it as a daemon would.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output},
    thread,
};

pub(crate) fn twinway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinway"));
    command.args(arguments);
    for name in ["TWINWAY_URL", "TWINWAY_TOKEN", "TWINWAY_CONFIG", "TWINWAY_USER", "TWINWAY_LEASE_TOKEN"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    twinway(arguments).output().expect("it starts")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is UTF-8")
}

/// A daemon for one request: gives its answer, and the request's first line.
pub(crate) fn daemon(status: &str, media_type: &str, body: &str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the command connects");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("the command asks");
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("the command listens");
        text(&head).lines().next().unwrap_or_default().to_owned()
    });
    (url, served)
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

//! Our leases by WebSocket sessions: several calls a frame, and several frames under way.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    drive::{Dialect, Input, Start, Work, batched},
    http_client::quoted,
    ours::{HIGHER, TAKEN, token, twin, user},
    redis::connect,
};

const TEXT: u8 = 0x81;
const PONG: u8 = 0x8a;

/// Writes a client's frame. Its mask is zero, which the protocol permits, so that its text stays as it is.
fn frame(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    match text.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text);
}

/// The next frame that is there whole: its kind, where its payload begins and how long it is.
fn measure(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (head, length) = match bytes.get(1)? {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(*short)),
    };
    (bytes.len() >= head + length).then_some((bytes[0], head, length))
}

/// Opens the session of a world.
async fn open(address: SocketAddr, world: usize) -> TcpStream {
    let mut stream = connect(address).await;
    let request = format!(
        "GET /mii/v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: twinway.v1.json\r\n\r\n",
        token(world)
    );
    stream.write_all(request.as_bytes()).await.expect("the connection stays");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the connection stays"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// What the clients of a session want.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) twin: String,
    pub(crate) user: String,
}

/// Each client an object of its own.
pub(crate) fn own(client: usize) -> Wish {
    Wish { twin: twin(client), user: user(client) }
}

struct Calls {
    wishes: Vec<Wish>,
    wait_ms: u32,
    tokens: Vec<Option<String>>,
    /// The calls of the next frame.
    calls: String,
    /// A frame that was read whole, and how far.
    answers: String,
    at: usize,
    pongs: Vec<u8>,
    events: u64,
}

impl Calls {
    fn new(wishes: Vec<Wish>, wait_ms: u32) -> Self {
        let tokens = vec![None; wishes.len()];
        let (calls, answers) = (String::new(), String::new());
        Self { wishes, wait_ms, tokens, calls, answers, at: 0, pongs: Vec::new(), events: 0 }
    }

    fn separate(&mut self) {
        self.calls.push(if self.calls.is_empty() { '[' } else { ',' });
    }

    /// The next answer of the frame that was read.
    fn next(&mut self) -> Option<usize> {
        const MARK: &str = "{\"reply\":\"";
        let from = self.at + self.answers[self.at..].find(MARK)?;
        let text = &self.answers[from + MARK.len()..];
        let end = text.find(MARK).unwrap_or(text.len());
        let text = &text[..end];
        self.at = from + MARK.len() + end;
        let (client, rest) = text.split_once("\",\"status\":").expect("an answer has a status");
        let client: usize = client.parse().unwrap_or_else(|_| panic!("not understood: {text}"));
        let right = if self.tokens[client].is_none() { "201" } else { "204" };
        assert!(rest.starts_with(right), "{text}");
        self.tokens[client] = match self.tokens[client] {
            None => Some(quoted(rest, "\"token\":\"").expect("a lease has a token").to_owned()),
            Some(_) => None,
        };
        Some(client)
    }

    /// Takes the next frame of answers; false: there is none yet.
    fn read(&mut self, input: &mut Input) -> bool {
        while let Some((kind, head, length)) = measure(input.rest()) {
            let payload = &input.rest()[head..head + length];
            let text = kind == TEXT && !payload.starts_with(b"{\"event\"") && !payload.starts_with(b"[{\"event\"");
            if text {
                self.answers = String::from_utf8_lossy(payload).into_owned();
                self.at = 0;
            } else if kind == 0x89 {
                frame(&mut self.pongs, PONG, payload);
            } else {
                assert_eq!(kind, TEXT, "the session ended: {}", String::from_utf8_lossy(payload));
                self.events += 1;
            }
            input.skip(head + length);
            if text {
                return true;
            }
        }
        false
    }
}

impl Dialect for Calls {
    fn acquire(&mut self, client: usize) {
        self.separate();
        let Wish { twin, user } = &self.wishes[client];
        let wait_ms = self.wait_ms;
        write!(
            self.calls,
            "{{\"call\":\"{client}\",\"method\":\"POST\",\"path\":\"/mii/v1/twins/{twin}/sync-lease\",\
             \"body\":{{\"user\":\"{user}\",\"twins\":[],\"ttlMs\":600000,\"waitMs\":{wait_ms}}}}}"
        )
        .expect("a text grows");
    }

    fn release(&mut self, client: usize) {
        self.separate();
        let (Wish { twin, user }, token) = (&self.wishes[client], self.tokens[client].as_deref());
        let token = token.expect("it was granted");
        write!(
            self.calls,
            "{{\"call\":\"{client}\",\"method\":\"DELETE\",\
             \"path\":\"/mii/v1/twins/{twin}/sync-lease?user={user}&token={token}\"}}"
        )
        .expect("a text grows");
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.pongs);
        if !self.calls.is_empty() {
            self.calls.push(']');
            frame(out, TEXT, self.calls.as_bytes());
            self.calls.clear();
        }
    }

    fn answer(&mut self, input: &mut Input) -> Option<usize> {
        loop {
            if let Some(client) = self.next() {
                return Some(client);
            }
            if !self.read(input) {
                return None;
            }
        }
    }
}

/// The clients of one session, each with its wish.
pub(crate) fn session(address: SocketAddr, world: usize, wishes: Vec<Wish>, wait_ms: u32, start: Start) -> Work {
    Box::pin(async move {
        let clients = wishes.len();
        batched(open(address, world).await, Calls::new(wishes, wait_ms), clients, start).await
    })
}

/// How long a durable acquire takes on a session, and from a request that takes an object over without grace to the
/// notice of the revoked holder on the same session, in turn.
pub(crate) async fn preemption(address: SocketAddr, times: usize) -> (Vec<Duration>, Vec<Duration>) {
    let (mut stream, mut input) = (open(address, 0).await, Input::default());
    let wish = |user: &str| Wish { twin: TAKEN.to_owned(), user: user.to_owned() };
    let mut calls = Calls::new(vec![wish(&user(0)), wish(HIGHER)], 0);
    let (mut acquired, mut noticed, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        for client in [0, 1] {
            calls.acquire(client);
            calls.take(&mut out);
            let begun = Instant::now();
            stream.write_all(&out).await.expect("the connection stays");
            out.clear();
            let (mut granted, mut lost) = (false, client == 0);
            while !(granted && lost) {
                input.more(&mut stream).await;
                if !lost && input.rest().windows(10).any(|text| text == b"lease.lost") {
                    noticed.push(begun.elapsed());
                    lost = true;
                }
                if calls.answer(&mut input).is_some() {
                    granted = true;
                    if client == 0 {
                        acquired.push(begun.elapsed());
                    }
                }
            }
        }
        // Its token is worth nothing any more.
        calls.tokens[0] = None;
        calls.release(1);
        calls.take(&mut out);
        stream.write_all(&out).await.expect("the connection stays");
        out.clear();
        while calls.answer(&mut input).is_none() {
            input.more(&mut stream).await;
        }
    }
    (acquired, noticed)
}

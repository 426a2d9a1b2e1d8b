//! A server of a third party: it keeps what it was asked, and answers as the test says.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// The path and the query.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    /// `POST /orders`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What a server does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(u16, Value),
    /// It sends this as the first header lines.
    Redirect(String),
    /// It reads the request, and says nothing.
    Hang,
    /// It sends a body that never ends.
    Stream,
}

type Handler = dyn Fn(&Seen) -> Act + Send + Sync;

/// A server that runs as long as the test.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    handler: Arc<Mutex<Arc<Handler>>>,
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it has one"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let first: Arc<Handler> = Arc::new(handler);
        let server = Self { url, seen, count, handler: Arc::new(Mutex::new(first)) };
        let (told, accepting) = (Arc::new(told), server.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, accepting.clone(), Arc::clone(&told)));
            }
        });
        server
    }

    /// From now on it does this.
    pub(crate) fn now(&self, handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) {
        *self.handler.lock() = Arc::new(handler);
    }

    /// What it was asked, authorizations left out.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().iter().filter(|seen| !seen.body.contains("\"authorizeUser\"")).cloned().collect()
    }

    /// Waits until it was asked something of this kind.
    pub(crate) async fn until(&self, wanted: impl Fn(&Seen) -> bool) {
        let mut count = self.count.clone();
        while !self.seen().iter().any(&wanted) {
            count.changed().await.expect("the server lives");
        }
    }
}

async fn serve(mut stream: TcpStream, server: Server, told: Arc<watch::Sender<usize>>) {
    while let Some(seen) = read(&mut stream).await {
        let act = if seen.body.contains("\"authorizeUser\"") {
            Act::Answer(200, granted(&seen.json()))
        } else {
            let handler = Arc::clone(&server.handler.lock());
            handler(&seen)
        };
        server.seen.lock().push(seen);
        told.send_modify(|count| *count += 1);
        let sent = match act {
            Act::Answer(status, body) => {
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let head = format!("HTTP/1.1 {status} So\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await
            }
            Act::Redirect(to) => {
                let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await
            }
            Act::Hang => std::future::pending().await,
            Act::Stream => forever(&mut stream).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn forever(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        stream.write_all(format!("10000\r\n{}\r\n", "x".repeat(0x1_0000)).as_bytes()).await?;
    }
}

/// What a system says of a user who asks: all that was asked for.
fn granted(frame: &Value) -> Value {
    let scope = &frame["data"]["scope"];
    json!({"authorizeUser": {"decision": {"granted": {"userInformation": {"customer": 7}, "scope": scope}}}})
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head is text");
    let mut lines = head.lines();
    let mut line = lines.next()?.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?.to_owned());
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { method, target, headers, body: String::from_utf8(body).expect("a body is text") })
}

//! etcd, spoken to by gRPC over HTTP/2, and its recipes: a transaction that puts a key if there is none, under a lease
//! granted once a client; and for one contended object that of `concurrency.Mutex`.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Instant};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream, client::SendRequest};

use super::{
    drive::{Pair, Start, Work},
    process::{Process, free},
    redis::connect,
    wire::{Message, number, part, parts},
};

const TTL_S: i64 = 3_600;
const CONTENDED: &str = "contended/";

pub(crate) struct Etcd {
    pub(crate) process: Process,
    address: SocketAddr,
}

impl Etcd {
    pub(crate) fn start(place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("there is room");
        let (address, peers) = (free(), free());
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let (data, cluster) = (place.join("data").display().to_string(), format!("default={peer}"));
        let arguments = [
            "--data-dir",
            &data,
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &cluster,
            "--logger",
            "zap",
            "--log-level",
            "error",
        ];
        let mut process = Process::start("etcd", &arguments, place, Stdio::null());
        process.listens(address);
        Self { process, address }
    }

    /// A client with an object of its own, one request a round trip. `channel` is the connection it shares, or its own.
    pub(crate) fn distinct(&self, clients: std::ops::Range<usize>, start: Start) -> Work {
        let address = self.address;
        Box::pin(async move {
            let channel = Channel::open(address).await;
            // One task of the bench has one start; the clients of a connection begin together behind it.
            let mut leased = Vec::new();
            for client in clients {
                leased.push((client, channel.lease().await));
            }
            let round = start.wait().await;
            let working: Vec<_> = leased
                .into_iter()
                .map(|(client, lease)| {
                    let channel = channel.clone();
                    tokio::task::spawn_local(async move {
                        let key = format!("object/{client}");
                        let acquire = acquire(&key, lease);
                        let mut pairs: Vec<Pair> = Vec::new();
                        while round.lasts() {
                            let begun = Instant::now();
                            let answer = channel.call("KV/Txn", &acquire).await;
                            let acquired = Instant::now();
                            assert_eq!(number(&answer, 2), 1, "the object is this client's alone");
                            let fence = number(part(&answer, 1), 3);
                            let answer = channel.call("KV/Txn", &release(&key, fence)).await;
                            assert_eq!(number(&answer, 2), 1, "nobody else has taken it");
                            pairs.push(round.pair(begun, acquired));
                        }
                        pairs
                    })
                })
                .collect();
            let mut pairs = Vec::new();
            for client in working {
                pairs.extend(client.await.expect("a client"));
            }
            pairs
        })
    }

    /// A client that wants the one object, by the recipe of `concurrency.Mutex`.
    pub(crate) fn contended(&self, start: Start) -> Work {
        let address = self.address;
        Box::pin(async move {
            let channel = Channel::open(address).await;
            let lease = channel.lease().await;
            let key = format!("{CONTENDED}{lease:x}");
            let mut watching = Watching::open(&channel).await;
            let mut pairs: Vec<Pair> = Vec::new();
            let round = start.wait().await;
            while round.lasts() {
                let begun = Instant::now();
                lock(&channel, &mut watching, &key, lease).await;
                let acquired = Instant::now();
                channel.call("KV/DeleteRange", &Message::default().bytes(1, key.as_bytes())).await;
                pairs.push(round.pair(begun, acquired));
            }
            pairs
        })
    }
}

/// `create_revision(key) == revision`.
fn created_at(key: &str, revision: i64) -> Message {
    Message::default().number(1, 0).number(2, 1).bytes(3, key.as_bytes()).number(5, revision)
}

fn put(key: &str, lease: i64) -> Message {
    Message::default().message(2, &Message::default().bytes(1, key.as_bytes()).number(3, lease))
}

fn acquire(key: &str, lease: i64) -> Message {
    Message::default().message(1, &created_at(key, 0)).message(2, &put(key, lease))
}

fn release(key: &str, created: i64) -> Message {
    let delete = Message::default().message(3, &Message::default().bytes(1, key.as_bytes()));
    Message::default().message(1, &created_at(key, created)).message(2, &delete)
}

/// All keys of the contended object, by when they were created: the first, or the last that is not after `most`.
fn range(ascending: bool, most: i64) -> Message {
    let range = Message::default().bytes(1, CONTENDED.as_bytes()).bytes(2, b"contended0").number(3, 1);
    let range = range.number(5, if ascending { 1 } else { 2 }).number(6, 2);
    if most == 0 { range } else { range.number(13, most) }
}

/// `concurrency.Mutex.Lock`: a key of one's own, then the deletion of every key before it.
async fn lock(channel: &Channel, watching: &mut Watching, key: &str, lease: i64) {
    let own = Message::default().message(1, &Message::default().bytes(1, key.as_bytes()));
    let owner = Message::default().message(1, &range(true, 0));
    let attempt = Message::default().message(1, &created_at(key, 0));
    let attempt = attempt.message(2, &put(key, lease)).message(2, &owner).message(3, &own).message(3, &owner);
    let answer = channel.call("KV/Txn", &attempt).await;
    assert_eq!(number(&answer, 2), 1, "the key was given back");
    let mine = number(part(&answer, 1), 3);
    let first = parts(&answer, 3).nth(1).map(|answer| part(part(answer, 1), 2)).expect("the owner was asked for");
    if number(first, 2) == mine {
        return;
    }
    loop {
        let answer = channel.call("KV/Range", &range(false, mine - 1)).await;
        let before = part(&answer, 2);
        if before.is_empty() {
            return;
        }
        watching.deletion(part(before, 1), number(part(&answer, 1), 3)).await;
    }
}

/// A connection.
#[derive(Clone)]
struct Channel {
    requests: SendRequest<Bytes>,
}

impl Channel {
    async fn open(address: SocketAddr) -> Self {
        let (requests, connection) = h2::client::handshake(connect(address).await).await.expect("it speaks HTTP/2");
        // It ends with the last of its streams.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Self { requests }
    }

    async fn begin(&self, method: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let request = http::Request::post(format!("http://localhost/etcdserverpb.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let mut requests = self.requests.clone().ready().await.expect("the connection stays");
        requests.send_request(request, false).expect("the connection stays")
    }

    async fn call(&self, method: &str, message: &Message) -> Bytes {
        let (response, mut send) = self.begin(method).await;
        send.send_data(framed(message), true).expect("the stream stays");
        let response = response.await.expect("the stream stays");
        assert!(response.headers().get("grpc-status").is_none_or(|status| status == "0"), "{response:?}");
        let mut incoming = Incoming::new(response.into_body());
        let answer = incoming.next().await.expect("an answer comes");
        let trailers = incoming.end().await;
        assert!(trailers.is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|status| status == "0")));
        answer
    }

    async fn lease(&self) -> i64 {
        number(&self.call("Lease/LeaseGrant", &Message::default().number(1, TTL_S)).await, 2)
    }
}

fn framed(message: &Message) -> Bytes {
    let length = u32::try_from(message.0.len()).expect("it is short");
    let mut framed = BytesMut::with_capacity(message.0.len() + 5);
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message.0);
    framed.freeze()
}

/// The messages of a stream.
struct Incoming {
    stream: RecvStream,
    came: BytesMut,
}

impl Incoming {
    fn new(stream: RecvStream) -> Self {
        Self { stream, came: BytesMut::new() }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(head) = self.came.first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.came.len() >= length + 5 {
                    return Some(self.came.split_to(length + 5).freeze().slice(5..));
                }
            }
            let data = self.stream.data().await?.expect("the stream stays");
            self.stream.flow_control().release_capacity(data.len()).expect("it was taken");
            self.came.extend_from_slice(&data);
        }
    }

    async fn end(&mut self) -> Option<http::HeaderMap> {
        while let Some(data) = self.stream.data().await {
            assert!(data.expect("the stream stays").is_empty(), "one answer a call");
        }
        self.stream.trailers().await.expect("the stream stays")
    }
}

/// The one stream of a client for all that it watches.
struct Watching {
    send: SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    incoming: Option<Incoming>,
}

impl Watching {
    async fn open(channel: &Channel) -> Self {
        let (response, send) = channel.begin("Watch/Watch").await;
        Self { send, response: Some(response), incoming: None }
    }

    /// Waits until a key is gone that was there at `revision`.
    async fn deletion(&mut self, key: &[u8], revision: i64) {
        let create = Message::default().bytes(1, key).number(3, revision);
        self.send.send_data(framed(&Message::default().message(1, &create)), false).expect("the stream stays");
        if let Some(response) = self.response.take() {
            // The server answers the stream when it was first asked something.
            self.incoming = Some(Incoming::new(response.await.expect("the stream stays").into_body()));
        }
        let incoming = self.incoming.as_mut().expect("it is open");
        let mut watch = None;
        loop {
            let answer = incoming.next().await.expect("the stream stays");
            let id = number(&answer, 2);
            // What is still said of an earlier watch is passed over.
            if number(&answer, 3) == 1 {
                watch = Some(id);
            } else if watch == Some(id) && parts(&answer, 11).any(|event| number(event, 1) == 1) {
                break;
            }
        }
        let watch = watch.expect("it was created before it told anything");
        let cancel = Message::default().message(2, &Message::default().number(1, watch));
        self.send.send_data(framed(&cancel), false).expect("the stream stays");
    }
}

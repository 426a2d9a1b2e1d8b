//! Redis that syncs every write before it answers, spoken to in RESP: a script takes a key and a fence at once, another
//! gives the key back if it is still the same owner's.

use std::{collections::VecDeque, io::Write as _, net::SocketAddr, path::Path, process::Stdio, time::Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time};

use super::{
    drive::{Dialect, Input, Pair, Start, Work, batched},
    process::{Process, free},
};

const ACQUIRE: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end return false";
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

pub(crate) struct Redis {
    pub(crate) process: Process,
    address: SocketAddr,
    acquire: String,
    release: String,
}

fn command(out: &mut Vec<u8>, parts: &[&str]) {
    write!(out, "*{}\r\n", parts.len()).expect("a vector grows");
    for part in parts {
        write!(out, "${}\r\n{part}\r\n", part.len()).expect("a vector grows");
    }
}

/// The next answer, if it is there whole: a number, or none for nil. Texts are given to `text`.
fn answer(input: &mut Input, text: &mut String) -> Option<Option<i64>> {
    let rest = input.rest();
    let end = rest.windows(2).position(|end| end == b"\r\n")?;
    let line = std::str::from_utf8(&rest[..end]).expect("text").to_owned();
    let (kind, value) = line.split_at(1);
    assert_ne!(kind, "-", "Redis refuses: {value}");
    let number = value.parse::<i64>().ok();
    match (kind, number) {
        (":", Some(number)) => {
            input.skip(end + 2);
            Some(Some(number))
        }
        ("$", Some(-1)) => {
            input.skip(end + 2);
            Some(None)
        }
        ("$", Some(length)) => {
            let whole = end + 2 + usize::try_from(length).expect("a length") + 2;
            *text = String::from_utf8_lossy(rest.get(end + 2..whole - 2)?).into_owned();
            if rest.len() < whole {
                return None;
            }
            input.skip(whole);
            Some(Some(0))
        }
        _ => panic!("not expected of Redis: {line}"),
    }
}

/// One client with a connection of its own.
struct Connection {
    stream: TcpStream,
    input: Input,
    out: Vec<u8>,
    text: String,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = connect(address).await;
        Self { stream, input: Input::default(), out: Vec::new(), text: String::new() }
    }

    async fn ask(&mut self, parts: &[&str]) -> Option<i64> {
        self.out.clear();
        command(&mut self.out, parts);
        self.stream.write_all(&self.out).await.expect("the connection stays");
        loop {
            if let Some(answer) = answer(&mut self.input, &mut self.text) {
                return answer;
            }
            self.input.more(&mut self.stream).await;
        }
    }
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

impl Redis {
    pub(crate) fn start(place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("there is room");
        let address = free();
        let port = address.port().to_string();
        // Rewriting the file in the background would cost Redis something, and is not what is measured.
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--auto-aof-rewrite-percentage",
            "0",
            "--daemonize",
            "no",
            "--loglevel",
            "warning",
        ];
        let mut process = Process::start("redis-server", &arguments, place, Stdio::null());
        process.listens(address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let [acquire, release] = runtime.block_on(async {
            let mut connection = Connection::open(address).await;
            let mut load = async |script| {
                connection.ask(&["SCRIPT", "LOAD", script]).await;
                connection.text.clone()
            };
            [load(ACQUIRE).await, load(RELEASE).await]
        });
        Self { process, address, acquire, release }
    }

    /// A client with an object of its own, one request a round trip.
    pub(crate) fn distinct(&self, client: usize, start: Start) -> Work {
        let (address, acquire, release) = (self.address, self.acquire.clone(), self.release.clone());
        let (key, fence) = (format!("object:{client}"), format!("fence:{client}"));
        Box::pin(async move {
            let mut connection = Connection::open(address).await;
            let mut pairs: Vec<Pair> = Vec::new();
            let round = start.wait().await;
            while round.lasts() {
                let owner = format!("{client}-{}", pairs.len());
                let begun = Instant::now();
                let fence = connection.ask(&["EVALSHA", &acquire, "2", &key, &fence, &owner, "600000"]).await;
                let acquired = Instant::now();
                assert!(fence.is_some(), "the object is this client's alone");
                assert_eq!(connection.ask(&["EVALSHA", &release, "1", &key, &owner]).await, Some(1));
                pairs.push(round.pair(begun, acquired));
            }
            pairs
        })
    }

    /// The clients of one connection, each with an object of its own, pipelined.
    pub(crate) fn pipelined(&self, connection: usize, clients: usize, start: Start) -> Work {
        let address = self.address;
        let dialect = Pipeline {
            scripts: [self.acquire.clone(), self.release.clone()],
            first: connection * clients,
            count: 0,
            owners: vec![String::new(); clients],
            asked: VecDeque::new(),
            out: Vec::new(),
        };
        Box::pin(async move { batched(connect(address).await, dialect, clients, start).await })
    }

    /// A client that wants the one object, and tries again after a random delay of `delay_ms` as long as it is taken.
    pub(crate) fn contended(&self, client: usize, delay_ms: (u64, u64), start: Start) -> Work {
        let (address, acquire, release) = (self.address, self.acquire.clone(), self.release.clone());
        Box::pin(async move {
            let mut connection = Connection::open(address).await;
            let mut chance = client as u64 + 1;
            let mut pairs: Vec<Pair> = Vec::new();
            let round = start.wait().await;
            while round.lasts() {
                let owner = format!("{client}-{}", pairs.len());
                let begun = Instant::now();
                while connection
                    .ask(&["EVALSHA", &acquire, "2", "contended", "contended:fence", &owner, "600000"])
                    .await
                    .is_none()
                {
                    chance ^= chance << 13;
                    chance ^= chance >> 7;
                    chance ^= chance << 17;
                    let (least, most) = (delay_ms.0 * 1_000, delay_ms.1 * 1_000);
                    time::sleep(time::Duration::from_micros(least + chance % (most - least))).await;
                }
                let acquired = Instant::now();
                assert_eq!(connection.ask(&["EVALSHA", &release, "1", "contended", &owner]).await, Some(1));
                pairs.push(round.pair(begun, acquired));
            }
            pairs
        })
    }
}

struct Pipeline {
    scripts: [String; 2],
    first: usize,
    count: u64,
    owners: Vec<String>,
    /// Whose answers come, in their order.
    asked: VecDeque<usize>,
    out: Vec<u8>,
}

impl Dialect for Pipeline {
    fn acquire(&mut self, client: usize) {
        let number = self.first + client;
        self.count += 1;
        self.owners[client] = format!("{number}-{}", self.count);
        let (key, fence) = (format!("object:{number}"), format!("fence:{number}"));
        let parts = ["EVALSHA", &self.scripts[0], "2", &key, &fence, &self.owners[client], "600000"];
        command(&mut self.out, &parts);
        self.asked.push_back(client);
    }

    fn release(&mut self, client: usize) {
        let key = format!("object:{}", self.first + client);
        command(&mut self.out, &["EVALSHA", &self.scripts[1], "1", &key, &self.owners[client]]);
        self.asked.push_back(client);
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn answer(&mut self, input: &mut Input) -> Option<usize> {
        let answer = answer(input, &mut String::new())?;
        assert!(answer.is_some_and(|number| number > 0), "the objects are these clients' alone");
        self.asked.pop_front()
    }
}

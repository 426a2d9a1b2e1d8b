//! A client that costs little, since it shares the machine with the server: requests written beforehand, answers
//! read whole and looked at only as far as to know that they are right.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, token: &str, body: Option<&str>) -> Vec<u8> {
    let body = body.unwrap_or_default();
    let described = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    };
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{described}\r\n");
    (head + body).into_bytes()
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        // A server that hangs fails the bench; it does not hang it.
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a TCP socket");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    pub(crate) fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the connection stays");
    }

    /// Reads one answer; there is none but the one that was asked for.
    pub(crate) fn receive(&mut self) -> Answer<'_> {
        let (mut filled, mut whole) = (0, None);
        let head = loop {
            let count = self.stream.read(&mut self.buffer[filled..]).expect("an answer comes");
            assert!(count > 0, "the server closed the connection");
            filled += count;
            if whole.is_none() {
                whole = measure(&self.buffer[..filled]);
            }
            if let Some((head, body)) = whole
                && filled >= head + body
            {
                assert_eq!(filled, head + body, "more came than was asked for");
                break head;
            }
        };
        let digit = |at: usize| u16::from(self.buffer[at] - b'0');
        Answer { status: digit(9) * 100 + digit(10) * 10 + digit(11), body: &self.buffer[head..filled] }
    }

    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer<'_> {
        self.send(request);
        self.receive()
    }
}

/// How long head and body are, once the head is there. Where no length is said (204) there is no body.
pub(crate) fn measure(text: &[u8]) -> Option<(usize, usize)> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let head = text.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let named = text[..head].windows(LENGTH.len()).position(|name| name.eq_ignore_ascii_case(LENGTH));
    let Some(named) = named else { return Some((head, 0)) };
    let digits = text[named + LENGTH.len()..head].iter().take_while(|byte| byte.is_ascii_digit());
    Some((head, digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))))
}

/// Requests a second that are answered with 200 when `threads` ask by `connections` each for a while. A thread asks
/// by all of its connections before it reads: no thread is woken for a single answer.
pub(crate) fn throughput(
    address: SocketAddr,
    request: &[u8],
    threads: usize,
    connections: usize,
    during: Duration,
) -> f64 {
    let ask = || {
        let mut open: Vec<_> = (0..connections).map(|_| Connection::open(address)).collect();
        // Every connection is accepted and known to be good before the clock runs.
        open.iter_mut().for_each(|connection| assert_eq!(connection.ask(request).status, 200));
        let (mut answers, begun) = (0_u32, Instant::now());
        while begun.elapsed() < during {
            open.iter_mut().for_each(|connection| connection.send(request));
            open.iter_mut().for_each(|connection| assert_eq!(connection.receive().status, 200));
            answers += u32::try_from(connections).expect("few");
        }
        f64::from(answers) / begun.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    })
}

/// What clients that each wait for their answer before they ask again saw.
pub(crate) struct Seen {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Has `clients` ask one after the other for a while, each by a connection of its own. `make` gives a client's next
/// request, `right` the status that it must be answered with.
pub(crate) fn waiting(
    address: SocketAddr,
    clients: usize,
    during: Duration,
    right: u16,
    make: impl Fn(usize, usize) -> Vec<u8> + Sync,
) -> Seen {
    let begun = Instant::now();
    let ask = |client: usize| {
        let mut connection = Connection::open(address);
        let mut times = Vec::new();
        while begun.elapsed() < during {
            let request = make(client, times.len());
            let one = Instant::now();
            let answer = connection.ask(&request);
            times.push(one.elapsed());
            let Answer { status, body } = answer;
            assert_eq!(status, right, "{}", String::from_utf8_lossy(body));
        }
        times
    };
    let ask = &ask;
    let mut times: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|client| scope.spawn(move || ask(client))).collect();
        asking.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Seen { per_second, p50: at(0.5), p99: at(0.99) }
}

//! Our leases by HTTP: a request a round trip, on connections that are kept.

use std::{net::SocketAddr, time::Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    drive::{Input, Pair, Start, Work},
    load::{measure, request},
    ours::{token, twin, user, world},
    redis::connect,
};

struct Connection {
    stream: TcpStream,
    input: Input,
}

impl Connection {
    /// Sends a request, has `read` look at the status and the body of its answer.
    async fn ask<T>(&mut self, request: &[u8], read: impl FnOnce(u16, &[u8]) -> T) -> T {
        self.stream.write_all(request).await.expect("the connection stays");
        loop {
            if let Some((head, body)) = measure(self.input.rest())
                && self.input.rest().len() >= head + body
            {
                let answer = &self.input.rest()[..head + body];
                let status = std::str::from_utf8(&answer[9..12]).ok().and_then(|text| text.parse().ok());
                let read = read(status.expect("a status"), &answer[head..]);
                self.input.skip(head + body);
                return read;
            }
            self.input.more(&mut self.stream).await;
        }
    }
}

/// The text between a mark and the next quotation mark.
pub(crate) fn quoted<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split_once('"').map(|(found, _)| found)
}

/// A client with an object of its own.
pub(crate) fn distinct(address: SocketAddr, client: usize, start: Start) -> Work {
    Box::pin(async move {
        let mut connection = Connection { stream: connect(address).await, input: Input::default() };
        let (path, user) = (format!("/mii/v1/twins/{}/sync-lease", twin(client)), user(client));
        let shown = token(world(client));
        let body = format!("{{\"user\":\"{user}\",\"twins\":[],\"ttlMs\":600000}}");
        let acquire = request("POST", &path, &shown, Some(&body));
        let mut pairs: Vec<Pair> = Vec::new();
        let round = start.wait().await;
        while round.lasts() {
            let begun = Instant::now();
            let granted = connection.ask(&acquire, |status, body| {
                let text = String::from_utf8_lossy(body);
                assert_eq!(status, 201, "{text}");
                quoted(&text, "\"token\":\"").expect("it has a token").to_owned()
            });
            let granted = granted.await;
            let acquired = Instant::now();
            let release = request("DELETE", &format!("{path}?user={user}&token={granted}"), &shown, None);
            connection.ask(&release, |status, body| assert_eq!(status, 204, "{}", String::from_utf8_lossy(body))).await;
            pairs.push(round.pair(begun, acquired));
        }
        pairs
    })
}

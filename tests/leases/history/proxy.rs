//! What stands between the daemon and everybody else: its address stays when the daemon's changes, and it can break
//! connections in the middle of anything.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) url: String,
    target: Arc<Mutex<String>>,
    cuts: Arc<watch::Sender<u64>>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let target = Arc::new(Mutex::new(String::new()));
        let cuts = Arc::new(watch::Sender::new(0));
        tokio::spawn(accept(listener, Arc::clone(&target), Arc::clone(&cuts)));
        Self { url, target, cuts }
    }

    /// New connections go to the daemon at `url`.
    pub(crate) fn aim(&self, url: &str) {
        url.trim_start_matches("http://").clone_into(&mut self.target.lock());
    }

    /// Breaks about every second connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<String>>, cuts: Arc<watch::Sender<u64>>) {
    for number in 0_u64.. {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let (target, mut cuts) = (target.lock().clone(), cuts.subscribe());
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            // Small messages wait for their answers on both sides.
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = cuts.wait_for(|cuts| *cuts > 0 && (cuts + number).is_multiple_of(2)) => {}
            }
        });
    }
}

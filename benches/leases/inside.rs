//! The durable path in process: the library's typed view, the journal on SQLite, no socket.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use twinway::{
    Enabler,
    enabler::EnablerOptions,
    journal::{DataDirectory, SqliteJournal, SqliteOptions},
    outside::Outgoing,
    protocol::{SystemId, TwinId, UserId, access::Right, message::LeaseRequest},
};

use super::{
    CLIENTS,
    drive::{Start, Work},
    ours,
};

pub(crate) struct Inside {
    runtime: tokio::runtime::Runtime,
    enabler: Enabler,
}

fn name(text: &str) -> SystemId {
    text.parse().expect("a name")
}

fn twin(client: usize) -> TwinId {
    ours::twin(client).parse().expect("a name")
}

fn user(client: usize) -> UserId {
    ours::user(client).parse().expect("a name")
}

impl Inside {
    /// Starts an enabler with its journal at `place`, with the same twins and users as the daemon has.
    pub(crate) fn start(place: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let data = Arc::new(DataDirectory::open(place).expect("there is room"));
        let journal = SqliteJournal::open(data, &SqliteOptions::default()).expect("a journal");
        let enabler = runtime.block_on(async {
            let enabler = Enabler::start(EnablerOptions::default(), Arc::new(journal)).await.expect("it starts");
            let cell = enabler.dii(name("cell"));
            let description = serde_json::from_value(ours::description()).expect("it is one");
            cell.register(description).await.expect("it is registered");
            let mut session = cell.session().await.expect("it is opened");
            tokio::spawn(async move {
                while let Some(outgoing) = session.next().await {
                    let Outgoing::Request { request, body } = outgoing else { continue };
                    cell.answer(request, ours::answer(&body)).await.expect("the answer is taken");
                }
            });
            let mii = enabler.mii(name("world"));
            let twins: Vec<_> = (0..CLIENTS).map(twin).collect();
            mii.select_twins(twins, Vec::new()).await.expect("they are selected");
            for client in 0..CLIENTS {
                let (twins, rights) = (vec![twin(client)], [Right::Read, Right::Change].into());
                mii.request_permission(user(client), twins, rights).await.expect("it is granted");
            }
            enabler
        });
        Self { runtime, enabler }
    }

    /// A client with an object of its own.
    pub(crate) fn distinct(&self, client: usize, start: Start) -> Work {
        let mii = self.enabler.mii(name("world"));
        Box::pin(async move {
            let request = LeaseRequest {
                user: user(client),
                world: None,
                class: Default::default(),
                twins: vec![twin(client)],
                request_id: None,
                priority: None,
                ttl_ms: 600_000,
                wait_ms: 0,
                ask: false,
                requeue: false,
            };
            let mut pairs = Vec::new();
            let round = start.wait().await;
            while round.lasts() {
                let begun = Instant::now();
                let lease = mii.request_lease(request.clone()).await.expect("the object is this client's alone");
                let acquired = Instant::now();
                mii.release_lease(user(client), twin(client), lease.token).await.expect("it is given back");
                pairs.push(round.pair(begun, acquired));
            }
            pairs
        })
    }

    pub(crate) fn end(self) {
        self.runtime.block_on(self.enabler.shutdown()).expect("it ends in order");
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

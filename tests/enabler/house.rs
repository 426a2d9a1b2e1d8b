//! An enabler with its journal, taken through restarts; and short names for what tests say often.

use std::{collections::BTreeSet, fmt::Debug, str::FromStr, sync::Arc};

use tempfile::TempDir;
use twinway::{
    Enabler,
    actors::port::journal::{Journal, MemoryJournal},
    enabler::EnablerOptions,
    journal::{DataDirectory, SqliteJournal, SqliteOptions},
    protocol::{
        JsonDoc, Problem, ProblemKind,
        access::Right,
        message::PropertyValues,
        registry::{ThirdPartyDescription, TwinSystemDescription},
    },
};

/// Where the journal is.
enum Place {
    Memory(Arc<MemoryJournal>),
    Disk(TempDir),
}

impl Place {
    fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Memory(journal) => Arc::clone(journal) as Arc<dyn Journal>,
            Self::Disk(directory) => {
                let directory = DataDirectory::open(directory.path()).expect("nobody else has it");
                let options = SqliteOptions { loss_window_ms: 0, ..SqliteOptions::default() };
                Arc::new(SqliteJournal::open(Arc::new(directory), &options).expect("it opens"))
            }
        }
    }
}

/// A running enabler whose journal outlives it.
pub(crate) struct House {
    pub(crate) enabler: Enabler,
    pub(crate) journal: Arc<dyn Journal>,
    options: EnablerOptions,
    place: Place,
}

impl House {
    /// With its journal in memory.
    pub(crate) async fn in_memory(options: EnablerOptions) -> Self {
        Self::start(options, Place::Memory(Arc::default())).await
    }

    /// With its journal on disk.
    pub(crate) async fn on_disk(options: EnablerOptions) -> Self {
        Self::start(options, Place::Disk(TempDir::new().expect("there is room"))).await
    }

    async fn start(options: EnablerOptions, place: Place) -> Self {
        let journal = place.journal();
        let enabler = Enabler::start(options.clone(), Arc::clone(&journal)).await.expect("it starts");
        assert_eq!(enabler.impediments(), Vec::<String>::new());
        Self { enabler, journal, options, place }
    }

    /// Ends the enabler in order and starts it again.
    pub(crate) async fn restarted(self) -> Self {
        self.enabler.shutdown().await.expect("it ends in order");
        let Self { enabler, journal, options, place } = self;
        // They have the data directory.
        drop((enabler, journal));
        let place = match place {
            Place::Memory(journal) => Place::Memory(Arc::new(journal.crash())),
            Place::Disk(directory) => Place::Disk(directory),
        };
        Self::start(options, place).await
    }

    /// The journal, if it is in memory.
    pub(crate) fn memory(&self) -> Option<&MemoryJournal> {
        if let Place::Memory(journal) = &self.place { Some(journal) } else { None }
    }

    /// The same, with other options from now on.
    pub(crate) async fn restarted_with(mut self, options: EnablerOptions) -> Self {
        self.options = options;
        self.restarted().await
    }

    /// Starts again from what is durable at this moment. On disk there is no such way within a process: that end is
    /// in order too.
    pub(crate) async fn crashed(self) -> Self {
        let Place::Memory(journal) = &self.place else { return self.restarted().await };
        let left = Place::Memory(Arc::new(journal.crash()));
        // The old one has lost its journal, and only has to go.
        let _lost = self.enabler.shutdown().await;
        Self::start(self.options, left).await
    }
}

/// Everything acknowledged is durable, changes of properties too.
pub(crate) fn nothing_is_lost() -> EnablerOptions {
    let mut options = EnablerOptions::default();
    options.runtime.loss_window_ms = 0;
    options
}

pub(crate) fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("it is a name")
}

pub(crate) fn names<T: FromStr<Err: Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| name(text)).collect()
}

pub(crate) fn json(text: &str) -> JsonDoc {
    JsonDoc::parse(text).expect("it is JSON")
}

pub(crate) fn values(of: &[(&str, &str)]) -> PropertyValues {
    of.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect()
}

pub(crate) fn rights() -> BTreeSet<Right> {
    BTreeSet::from([Right::Read, Right::Change, Right::Message])
}

/// What kind of problem it is.
pub(crate) fn kind<T: Debug>(answer: Result<T, Problem>) -> ProblemKind {
    answer.expect_err("it is refused").kind
}

/// A Thing Description with a property to change, one only to read, and an action.
pub(crate) fn lamp(title: &str) -> String {
    format!(
        r#"{{"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "{title}", "security": "none",
            "securityDefinitions": {{"none": {{"scheme": "nosec"}}}},
            "properties": {{"on": {{"type": "boolean", "forms": [{{"href": "/on"}}]}},
                "power": {{"type": "number", "readOnly": true, "forms": [{{"href": "/power"}}]}}}},
            "actions": {{"blink": {{"forms": [{{"href": "/blink"}}]}}}}}}"#
    )
}

/// A twin system that lists these entries, each as JSON.
pub(crate) fn twin_system(id: &str, entries: &[String]) -> TwinSystemDescription {
    let text =
        format!(r#"{{"id": "{id}", "type": "home", "title": "The home {id}", "twins": [{}]}}"#, entries.join(","));
    serde_json::from_str(&text).expect("it is a description of a twin system")
}

/// An entry for a lamp. Third-party system `shop` may read it.
pub(crate) fn entry(id: &str, object: &str) -> String {
    let description = lamp(id);
    format!(
        r#"{{"id": "{id}", "physicalObject": "{object}", "description": {description}, "access": {{"shop": ["read"]}}}}"#
    )
}

/// The home with the lamps `lamp` and `spot`, each with an object of its own.
pub(crate) fn home() -> TwinSystemDescription {
    twin_system("home", &[entry("lamp", "urn:lamp:1"), entry("spot", "urn:lamp:2")])
}

/// The shop that takes orders.
pub(crate) fn shop() -> ThirdPartyDescription {
    serde_json::from_str(
        r#"{"id": "shop", "type": "commerce", "title": "Lamp shop", "apis": [{"operation": "order"}],
            "serviceCharge": {"amount": 2.5, "currency": "EUR", "per": "call"},
            "serviceLevel": {"availability": 0.99, "p99Ms": 300.0}}"#,
    )
    .expect("it is a description of a third-party system")
}

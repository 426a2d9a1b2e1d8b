//! The flows of the texts, and flows of one's own: read from files, shown to people.
//!
//! The nine flows of FGMV-28 clause 7 and FGMV-29 clause 9 are part of the program; see `scenarios/flows/README.md` for
//! the form of the files.

mod error;
mod file;
mod show;

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{Arc, LazyLock},
};

use twinway_protocol::flow::Flow;

pub use error::{FlowFileError, Place};
pub use file::read;
pub use show::{Form, Picture, Row, show};

/// Bytes that a flow file may have.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The files of the texts' flows. Those that others contain come first.
const FILES: [(&str, &str); 9] = [
    ("9.1", include_str!("../flows/9.1.toml")),
    ("9.2", include_str!("../flows/9.2.toml")),
    ("7.1.1", include_str!("../flows/7.1.1.toml")),
    ("7.1.2", include_str!("../flows/7.1.2.toml")),
    ("7.1.3", include_str!("../flows/7.1.3.toml")),
    ("7.2.1", include_str!("../flows/7.2.1.toml")),
    ("7.3.1", include_str!("../flows/7.3.1.toml")),
    ("7.3.2", include_str!("../flows/7.3.2.toml")),
    ("7.3.3", include_str!("../flows/7.3.3.toml")),
];

static EMBEDDED: LazyLock<Vec<Arc<Flow>>> = LazyLock::new(|| {
    let mut flows: Vec<Arc<Flow>> = Vec::new();
    for (name, text) in FILES {
        let flow = read(name, text.as_bytes(), &flows);
        // A mistake in one of them is found by the tests; it is no reason not to start.
        flows.extend(flow.ok().map(Arc::new));
    }
    flows
});

/// The flows of the texts: FGMV-29 9.1 and 9.2, and FGMV-28 7.1.1, 7.1.2, 7.1.3, 7.2.1, 7.3.1, 7.3.2 and 7.3.3.
#[must_use]
pub fn embedded() -> &'static [Arc<Flow>] {
    &EMBEDDED
}

/// The texts' flow files, each with its flow's name: what [`read`] makes [`embedded`] of.
#[must_use]
pub fn files() -> &'static [(&'static str, &'static str)] {
    &FILES
}

/// A flow of the texts by its name, such as `9.2`.
#[must_use]
pub fn find(name: &str) -> Option<Arc<Flow>> {
    embedded().iter().find(|flow| flow.name() == name).cloned()
}

/// Reads a flow of one's own, which may contain spans of the texts' flows.
///
/// # Errors
/// When the file cannot be read, is longer than [`FILE_BYTES_MAX`], or has a mistake: told with its line.
pub fn load(path: &Path) -> Result<Flow, FlowFileError> {
    let name = path.display().to_string();
    let unreadable = |error| FlowFileError::Unreadable { file: name.clone(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    read(&name, &bytes, embedded())
}

//! Scenarios: use cases that run for real, against a daemon, with each external system as a process of its own.
//!
//! A scenario is a world file ([`read`]): who takes part, what each answers when it is asked, and who does what in which
//! order. What is said in it is data; the processes and sockets are made by whoever runs it. See
//! `scenarios/worlds/README.md` for the form of the files.

mod error;
mod file;
mod fill;
mod model;
mod start;
mod vary;

use std::{path::Path, sync::LazyLock};

pub use error::ScenarioError;
pub use file::read;
pub use fill::{Fill, Variables};
pub use model::{Act, Answer, Call, Deed, Hear, Kind, Party, Place, Reply, Scenario, Variant};
pub use start::{START_MS_MAX, Start, starts};

/// Bytes that a world file may have.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Acts that a scenario may have.
pub const ACTS_MAX: usize = 1_000;
/// Parties that a scenario may have, each a process.
pub const PARTIES_MAX: usize = 32;

/// The files of the texts' scenarios, with the files that they name.
const FILES: &[(&str, &[u8])] = &[
    ("7.1.1.toml", include_bytes!("../worlds/7.1.1.toml")),
    ("7.1.2.toml", include_bytes!("../worlds/7.1.2.toml")),
    ("7.1.3.toml", include_bytes!("../worlds/7.1.3.toml")),
    ("7.2.1.toml", include_bytes!("../worlds/7.2.1.toml")),
    ("7.2.1/guest.png", include_bytes!("../worlds/7.2.1/guest.png")),
    ("7.3.1.toml", include_bytes!("../worlds/7.3.1.toml")),
    ("7.3.1/press.png", include_bytes!("../worlds/7.3.1/press.png")),
    ("7.3.2.toml", include_bytes!("../worlds/7.3.2.toml")),
    ("7.3.3.toml", include_bytes!("../worlds/7.3.3.toml")),
];

static EMBEDDED: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    let worlds = FILES.iter().filter(|(name, _)| name.ends_with(".toml"));
    // A mistake in one of them is found by the tests; it is no reason not to start.
    worlds.filter_map(|(name, bytes)| read(name, bytes, &embedded_file).ok()).collect()
});

/// The scenarios of FGMV-28 clause 7.
#[must_use]
pub fn embedded() -> &'static [Scenario] {
    &EMBEDDED
}

/// The texts' world files, each with its name: what [`read`] makes [`embedded`] of.
pub fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().copied().filter(|(name, _)| name.ends_with(".toml"))
}

/// A scenario of the texts by its name, such as `7.2.1`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    embedded().iter().find(|scenario| scenario.name == name)
}

/// A file that an embedded scenario names.
///
/// # Errors
/// There is none of this name.
pub fn embedded_file(name: &str) -> Result<Vec<u8>, String> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| format!("there is no file `{name}` among the scenarios"))
}

/// Reads a scenario of one's own; the files that it names stand beside it.
///
/// # Errors
/// When a file cannot be read or is too long, or has a mistake: told with its line.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let name = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new(""));
    let bytes = limited(path).map_err(|why| ScenarioError::unreadable(&name, why))?;
    read(&name, &bytes, &|file| limited(&folder.join(file)))
}

fn limited(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX { Err(format!("it has more than {FILE_BYTES_MAX} bytes")) } else { Ok(bytes) }
}

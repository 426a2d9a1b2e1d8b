//! What commands read.

use std::{fs, io, path::Path};

use serde::de::DeserializeOwned;

use super::exit::Failure;

/// The JSON document in a file, or on standard input as `-`.
pub(crate) fn document<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let text = text.map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

//! The only user of bincode: records as bytes, behind a version.
//!
//! bincode is pinned and no longer maintained (RUSTSEC-2025-0141). Its format is simple and other crates read it;
//! golden bytes in the tests hold the format, so that leaving is a change of this file.

use std::cell::RefCell;

use bincode::config::{Configuration, Limit};
use serde::{Serialize, de::DeserializeOwned};

/// The largest encoded value, in bytes.
pub const ENCODED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most records are shorter: what grows piece by piece is moved again and again.
const ENCODED_BYTES_USUAL: usize = 256;

/// How many bytes a thread keeps to encode in.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

thread_local! {
    /// Where a value is encoded whose length is not known before.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The first byte of everything encoded here.
const FORMAT: u8 = 1;

const CONFIG: Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<ENCODED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<ENCODED_BYTES_MAX>();

/// Why bytes were not taken for a value.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There are none.
    #[error("there is nothing to decode")]
    Empty,
    /// They were written by a newer version.
    #[error("format {0} is not known here; this version writes {FORMAT}")]
    Format(u8),
    /// They do not make a value.
    #[error("{0}")]
    Content(String),
    /// Bytes are left over behind the value.
    #[error("{0} bytes are left over")]
    TrailingBytes(usize),
}

/// Encodes a value: externally tagged enums, no skipped fields, no recursion.
///
/// # Errors
/// When a `Serialize` implementation fails.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(ENCODED_BYTES_USUAL);
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// The same in no more memory than it takes: for what waits in a queue.
///
/// # Errors
/// When a `Serialize` implementation fails.
pub fn encode_exactly<T: Serialize>(value: &T) -> Result<Box<[u8]>, CodecError> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        encode_into(value, scratch)?;
        let bytes = Box::from(scratch.as_slice());
        scratch.shrink_to(SCRATCH_BYTES_KEPT);
        Ok(bytes)
    })
}

fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    bytes.push(FORMAT);
    bincode::serde::encode_into_std_write(value, bytes, CONFIG)
        .map_err(|error| CodecError::Content(error.to_string()))?;
    Ok(())
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// When the bytes are not exactly one value of this format.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (format, content) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *format != FORMAT {
        return Err(CodecError::Format(*format));
    }
    let (value, length) =
        bincode::serde::decode_from_slice(content, CONFIG).map_err(|error| CodecError::Content(error.to_string()))?;
    if length == content.len() { Ok(value) } else { Err(CodecError::TrailingBytes(content.len() - length)) }
}

/// For `#[serde(with = "crate::codec::document")]`: a member of a record that is written as its JSON document, so that what
/// its type gets later is absent in older records.
///
/// A document that its type does not read, such as one of a later build, makes the record unreadable. Passing over it
/// would lose it with the next snapshot.
pub(crate) mod document {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
    use twinway_protocol::JsonDoc;

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        JsonDoc::from_value(value).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        JsonDoc::deserialize(deserializer)?.read().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use twinway_protocol::JsonDoc;

    use super::{CodecError, decode, encode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Record {
        Changed { version: u64, values: BTreeMap<String, JsonDoc>, note: Option<String> },
        Gone,
    }

    fn changed() -> Record {
        let doc = JsonDoc::parse("true").expect("it is JSON");
        Record::Changed { version: 300, values: BTreeMap::from([("on".to_owned(), doc)]), note: None }
    }

    #[test]
    fn the_bytes_are_those_of_every_version_before() {
        let golden = [1, 0, 251, 44, 1, 1, 2, b'o', b'n', 4, b't', b'r', b'u', b'e', 0];
        assert_eq!(encode(&changed()).expect("it encodes"), golden);
        assert_eq!(decode::<Record>(&golden).expect("it decodes"), changed());
        assert_eq!(encode(&Record::Gone).expect("it encodes"), [1, 1]);
    }

    #[test]
    fn bytes_that_are_not_exactly_one_value_are_refused() {
        let bytes = encode(&changed()).expect("it encodes");
        for end in 0..bytes.len() {
            assert!(decode::<Record>(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(matches!(decode::<Record>(&longer), Err(CodecError::TrailingBytes(1))));
        let newer: Vec<u8> = [2].into_iter().chain(bytes.into_iter().skip(1)).collect();
        assert!(matches!(decode::<Record>(&newer), Err(CodecError::Format(2))));
    }
}

//! Entries as bytes: the blob of a commit, and the checksums over it.
//!
//! A frame is kind (1 byte), entity (8), part (8), length (4) and the content, numbers little-endian. Positions
//! are not written: they count on from the commit's first. The content of a snapshot is its checksum; its bytes
//! stand in a table of their own.

use crc32fast::Hasher;
use twinway_actors::port::journal::{Entry, EntryKind};
use twinway_protocol::EntityId;

const HEADER_BYTES: usize = 21;

const RECORD: u8 = 0;
const SNAPSHOT: u8 = 1;
const FORGET: u8 = 2;

/// How many bytes an entry takes, wherever they are written.
pub(super) fn size(entry: &Entry) -> usize {
    HEADER_BYTES + entry.bytes.len()
}

/// An entry's content has no length that a frame could say.
#[derive(Debug)]
pub(super) struct TooLong;

/// Adds the frame of an entry at `position`.
pub(super) fn push(blob: &mut Vec<u8>, entry: &Entry, position: u64) -> Result<(), TooLong> {
    let checksum;
    let (kind, content): (u8, &[u8]) = match entry.kind {
        EntryKind::Record => (RECORD, &entry.bytes),
        EntryKind::Snapshot => {
            checksum = cover_checksum(entry, position).to_le_bytes();
            (SNAPSHOT, &checksum)
        }
        EntryKind::Forget => (FORGET, &[]),
    };
    let length = u32::try_from(content.len()).map_err(|_| TooLong)?;
    blob.push(kind);
    blob.extend_from_slice(&entry.entity.to_bits().to_le_bytes());
    blob.extend_from_slice(&entry.part.to_le_bytes());
    blob.extend_from_slice(&length.to_le_bytes());
    blob.extend_from_slice(content);
    Ok(())
}

/// A frame as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'b> {
    pub(super) entity: EntityId,
    pub(super) part: u64,
    pub(super) kind: EntryKind,
    pub(super) content: &'b [u8],
}

/// Takes the first frame off `blob`. `None` when there is no whole frame.
pub(super) fn pop<'b>(blob: &mut &'b [u8]) -> Option<Frame<'b>> {
    let (kind, rest) = blob.split_first()?;
    let (entity, rest) = rest.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let kind = match *kind {
        RECORD => EntryKind::Record,
        SNAPSHOT => EntryKind::Snapshot,
        FORGET => EntryKind::Forget,
        _ => return None,
    };
    *blob = rest;
    let entity = EntityId::from_bits(u64::from_le_bytes(*entity));
    Some(Frame { entity, part: u64::from_le_bytes(*part), kind, content })
}

/// The checksum of a commit: over its positions, its blob, and the checksum of the commit before it.
pub(super) fn commit_checksum(previous: u32, first: u64, last: u64, blob: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&previous.to_le_bytes());
    hasher.update(&first.to_le_bytes());
    hasher.update(&last.to_le_bytes());
    hasher.update(blob);
    hasher.finalize()
}

/// The checksum of a snapshot, or of the note that an entity was forgotten.
pub(super) fn cover_checksum(entry: &Entry, position: u64) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&[u8::from(entry.kind == EntryKind::Forget)]);
    hasher.update(&entry.entity.to_bits().to_le_bytes());
    hasher.update(&entry.part.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(&entry.bytes);
    hasher.finalize()
}

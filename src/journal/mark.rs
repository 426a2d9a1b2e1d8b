//! The last position that was acknowledged, in a file beside the database.
//!
//! SQLite takes its log up to the first damaged frame and ignores what stands behind it, as if it had never been
//! committed. The mark tells the difference: it is written after each commit, without waiting for the disk, so it
//! can be older than the database but never newer. Two slots are written in turn, so that one is always whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const NAME: &str = "journal.mark";
const MAGIC: [u8; 4] = *b"TWMK";
const SLOT_STRIDE_BYTES: u64 = 4096;
const SLOTS: u64 = 2;
const SLOT_BYTES: usize = 28;

/// A commit that was acknowledged: its last position, and its checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) checksum: u32,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no file.
    Nothing,
    /// No slot is whole.
    Unreadable,
    /// The newest mark, and how many had been written.
    Mark(Mark, u64),
}

/// Where the mark of a data directory is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Reads the mark of a data directory.
pub(super) fn read(directory: &Path) -> io::Result<Found> {
    let mut bytes = Vec::new();
    match File::open(path(directory)) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let slots = bytes.chunks(SLOT_STRIDE_BYTES as usize).filter_map(decode);
    Ok(slots.max_by_key(|(_, count)| *count).map_or(Found::Unreadable, |(mark, count)| Found::Mark(mark, count)))
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    count: u64,
}

impl MarkFile {
    /// Opens or makes the file and writes `mark` so that it is durable.
    pub(super) fn open(directory: &Path, mark: Mark) -> io::Result<Self> {
        let count = match read(directory)? {
            Found::Mark(_, count) => count,
            Found::Nothing | Found::Unreadable => 0,
        };
        let path = path(directory);
        if count == 0 {
            // Moved into place whole: a process that is killed here leaves no mark that cannot be read.
            let beside = path.with_extension("mark.new");
            let mut file = File::create(&beside)?;
            file.write_all(&encode(mark, 0))?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        let mut marks = Self { file, count };
        // Both slots: the file has its full size from here on, and a full disk does not keep it from being written.
        marks.write(mark)?;
        marks.write(mark)?;
        marks.file.sync_all()?;
        super::directory::sync_directory(directory)?;
        Ok(marks)
    }

    /// Writes the next mark over the older slot.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        self.count += 1;
        let slot = encode(mark, self.count);
        let offset = (self.count % SLOTS) * SLOT_STRIDE_BYTES;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(&slot)
    }
}

fn encode(mark: Mark, count: u64) -> [u8; SLOT_BYTES] {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&count.to_le_bytes());
    slot.extend_from_slice(&mark.position.to_le_bytes());
    slot.extend_from_slice(&mark.checksum.to_le_bytes());
    let checksum = crc32fast::hash(&slot);
    slot.extend_from_slice(&checksum.to_le_bytes());
    slot.try_into().unwrap_or([0; SLOT_BYTES])
}

fn decode(slot: &[u8]) -> Option<(Mark, u64)> {
    let (content, rest) = slot.split_first_chunk::<24>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (magic, rest) = content.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let mark = Mark { position: u64::from_le_bytes(*position), checksum: u32::from_le_bytes(*checksum) };
    (*magic == MAGIC).then_some((mark, u64::from_le_bytes(*count)))
}

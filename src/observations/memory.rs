//! Observations in memory.

use std::{collections::BTreeMap, io::Cursor, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use twinway_protocol::{Problem, spatial::ObservationId};

use super::{ObservationStore, Room, Share, StoredBytes, Unfinished, unknown};

type Kept = Arc<Mutex<BTreeMap<ObservationId, Bytes>>>;

/// Keeps them in memory.
#[derive(Debug)]
pub struct MemoryStore {
    kept: Kept,
    room: Arc<Room>,
}

impl MemoryStore {
    /// Keeps at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { kept: Kept::default(), room: Room::new(0, bytes_max) }
    }
}

struct Coming {
    bytes: BytesMut,
    share: Share,
    kept: Kept,
}

impl Unfinished for Coming {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.share.more(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, id: &ObservationId) -> Result<(), Problem> {
        let Self { bytes, share, kept } = *self;
        kept.lock().entry(id.clone()).or_insert_with(|| {
            share.keep();
            bytes.freeze()
        });
        Ok(())
    }
}

impl ObservationStore for MemoryStore {
    fn begin(&self) -> Result<Box<dyn Unfinished>, Problem> {
        let (kept, share) = (Arc::clone(&self.kept), Share::new(&self.room));
        Ok(Box::new(Coming { bytes: BytesMut::new(), share, kept }))
    }

    fn open(&self, id: &ObservationId) -> Result<StoredBytes, Problem> {
        let kept = self.kept.lock().get(id).cloned().ok_or_else(|| unknown(id))?;
        Ok(StoredBytes { bytes: kept.len() as u64, reader: Box::new(Cursor::new(kept)) })
    }

    fn remove(&self, id: &ObservationId) -> Result<(), Problem> {
        if let Some(bytes) = self.kept.lock().remove(id) {
            self.room.give_back(bytes.len() as u64);
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<ObservationId>, Problem> {
        Ok(self.kept.lock().keys().cloned().collect())
    }
}

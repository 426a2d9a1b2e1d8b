//! What is published for readers: the newest snapshot of everything, by its id.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use parking_lot::RwLock;
use twinway_protocol::{
    EntityId, SystemId, TwinId,
    registry::{Standing, ThirdPartySystem, TwinSystem},
    twin::TwinView,
};

/// How many locks a map is spread over: arbiters that publish and threads that read seldom meet.
const SHARDS: usize = 16;

/// A map behind several locks, each held for one look-up.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    hasher: RandomState,
    shards: [RwLock<HashMap<K, V>>; SHARDS],
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl<K: Hash + Eq, V: Clone> Sharded<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&RwLock<HashMap<K, V>>> {
        // The remainder is below `SHARDS`: there is always one.
        self.shards.get(self.hasher.hash_one(key) as usize % SHARDS)
    }

    /// The value, if there is one.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key)?.read().get(key).cloned()
    }

    /// Puts a value in the place of the one before.
    pub(super) fn put(&self, key: K, value: V) {
        if let Some(shard) = self.shard(&key) {
            let old = shard.write().insert(key, value);
            // Dropped without the lock: a snapshot's last owner frees all of it.
            drop(old);
        }
    }

    /// Takes a value away.
    pub(super) fn remove<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let old = self.shard(key).and_then(|shard| shard.write().remove(key));
        // Dropped without the lock.
        drop(old);
    }

    /// The value that is there; otherwise the one that `make` gives, which stays.
    pub(super) fn get_or_put(&self, key: K, make: impl FnOnce() -> V) -> Option<V> {
        Some(self.shard(&key)?.write().entry(key).or_insert_with(make).clone())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> Vec<V> {
        self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }
}

/// The published snapshots. What stands here is durable: signals leave the actors only then.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) twins: Sharded<TwinId, Arc<TwinView>>,
    pub(super) twin_systems: Sharded<SystemId, Arc<TwinSystem>>,
    pub(super) third_party_systems: Sharded<SystemId, Arc<ThirdPartySystem>>,
    /// By the system's actor.
    pub(super) standings: Sharded<EntityId, Arc<Standing>>,
}

#[cfg(test)]
mod tests {
    use super::Sharded;

    #[test]
    fn what_was_put_last_is_read() {
        let map = Sharded::default();
        for key in 0..100_u32 {
            map.put(key, 0);
            map.put(key, key + 1);
        }
        assert_eq!(map.len(), 100);
        assert!((0..100).all(|key| map.get(&key) == Some(key + 1)));
        assert_eq!(map.get(&100), None);
    }

    #[test]
    fn the_value_that_is_there_stays() {
        let map = Sharded::default();
        assert_eq!(map.get_or_put("a", || 1), Some(1));
        assert_eq!(map.get_or_put("a", || 2), Some(1));
    }
}

//! Decoded chunks kept for the next window.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::chain::Block;
use crate::Result;

type Key = (String, Vec<u64>);

/// Keeps the chunks that were used last, up to a number of bytes.
///
/// Threads that ask for the same chunk at once wait for one of them to decode it.
#[derive(Debug)]
pub(crate) struct ChunkCache {
    capacity: usize,
    state: Mutex<State>,
    decoded: Condvar,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<Key, (Arc<Block>, u64)>,
    /// The keys in the order of their last use.
    order: BTreeMap<u64, Key>,
    in_work: HashSet<Key>,
    tick: u64,
    bytes: usize,
}

/// What an entry costs beside its pixels.
const OVERHEAD: usize = 256;

impl ChunkCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
            decoded: Condvar::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The chunk, when it is kept.
    pub(crate) fn peek(&self, array: &str, index: &[u64]) -> Option<Arc<Block>> {
        if self.capacity == 0 {
            return None;
        }
        let key = (array.to_owned(), index.to_vec());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.touch(&key)
    }

    /// The chunk, decoded by `decode` unless it is kept.
    pub(crate) fn get(
        &self,
        array: &str,
        index: &[u64],
        decode: impl FnOnce() -> Result<Block>,
    ) -> Result<Arc<Block>> {
        if self.capacity == 0 {
            return decode().map(Arc::new);
        }
        let key = (array.to_owned(), index.to_vec());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(block) = state.touch(&key) {
                return Ok(block);
            }
            if !state.in_work.contains(&key) {
                break;
            }
            state = self
                .decoded
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.in_work.insert(key.clone());
        drop(state);
        // The guard wakes the others even if decoding unwinds.
        let guard = InWork { cache: self, key };
        let block = Arc::new(decode()?);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keep(guard.key.clone(), &block, self.capacity);
        drop(state);
        drop(guard);
        Ok(block)
    }

    /// Forgets the chunks of an element.
    pub(crate) fn forget(&self, prefix: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Key> = state
            .blocks
            .keys()
            .filter(|(array, _)| {
                array
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .cloned()
            .collect();
        for key in gone {
            state.remove(&key);
        }
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.state.lock().unwrap().bytes
    }
}

struct InWork<'a> {
    cache: &'a ChunkCache,
    key: Key,
}

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        let mut state = self
            .cache
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.in_work.remove(&self.key);
        self.cache.decoded.notify_all();
    }
}

impl State {
    fn touch(&mut self, key: &Key) -> Option<Arc<Block>> {
        self.tick += 1;
        let tick = self.tick;
        let (block, last) = self.blocks.get_mut(key)?;
        let block = Arc::clone(block);
        let previous = std::mem::replace(last, tick);
        if let Some(key) = self.order.remove(&previous) {
            self.order.insert(tick, key);
        }
        Some(block)
    }

    fn keep(&mut self, key: Key, block: &Arc<Block>, capacity: usize) {
        let size = block.bytes() + OVERHEAD;
        if size > capacity {
            return;
        }
        while self.bytes + size > capacity {
            let Some(oldest) = self.order.first_entry().map(|e| e.get().clone()) else {
                break;
            };
            self.remove(&oldest);
        }
        self.tick += 1;
        self.bytes += size;
        self.order.insert(self.tick, key.clone());
        self.blocks.insert(key, (Arc::clone(block), self.tick));
    }

    fn remove(&mut self, key: &Key) {
        if let Some((block, tick)) = self.blocks.remove(key) {
            self.order.remove(&tick);
            self.bytes -= block.bytes() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn block(bytes: usize) -> Result<Block> {
        Ok(Block::Bytes(vec![0; bytes]))
    }

    #[test]
    fn the_oldest_chunks_make_room() {
        let cache = ChunkCache::new(3 * (1000 + OVERHEAD));
        for i in 0..3 {
            cache.get("a", &[i], || block(1000)).unwrap();
        }
        cache.get("a", &[0], || panic!("kept")).unwrap();
        cache.get("a", &[3], || block(1000)).unwrap();
        cache.get("a", &[0], || panic!("used lately")).unwrap();
        let mut decoded = false;
        cache
            .get("a", &[1], || {
                decoded = true;
                block(1000)
            })
            .unwrap();
        assert!(decoded);
        assert!(cache.held() <= 3 * (1000 + OVERHEAD));
        cache.forget("a");
        assert_eq!(cache.held(), 0);
    }

    #[test]
    fn a_chunk_wanted_by_many_threads_is_decoded_once() {
        let cache = ChunkCache::new(1 << 20);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache
                        .get("a", &[0], || {
                            count.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            block(10)
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = ChunkCache::new(1 << 20);
        let failed = cache.get("a", &[0], || Err(crate::Error::corrupt("a", "test")));
        assert!(failed.is_err());
        assert!(cache.get("a", &[0], || block(1)).is_ok());
    }
}

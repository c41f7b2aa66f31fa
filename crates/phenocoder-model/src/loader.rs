//! Reads batches ahead on threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use phenocoder_core::{PatchBatch, PatchSource, ShapeError, SourceError};

use crate::Result;

/// A batch that was read, with the numbers of its patches.
pub(crate) struct Loaded<'a> {
    pub(crate) rows: &'a [usize],
    pub(crate) patches: PatchBatch,
}

/// How far reading may be ahead of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefetch {
    /// The most batches that are read, or being read, and not yet asked for; at least 1.
    pub(crate) batches: usize,
    /// Threads that read, each a batch of its own; at least 1.
    pub(crate) threads: usize,
}

/// Calls `each` with the batches of `rows` in their order while the next are read on other threads.
///
/// At most `prefetch.batches` batches are in memory beside the one that `each` has.
/// `prepare` runs on the reading threads.
/// An error of `each` stops the reading: a thread ends after the batch that it is in, and all have ended when this
/// returns.
/// An error of reading comes after all batches before it, whichever thread met it first.
pub(crate) fn for_each_batch(
    source: &dyn PatchSource,
    rows: &[usize],
    batch_size: usize,
    prefetch: Prefetch,
    prepare: impl Fn(&mut PatchBatch, &[usize]) -> Result<(), SourceError> + Sync,
    mut each: impl FnMut(usize, Loaded<'_>) -> Result<()>,
) -> Result<()> {
    let batches: Vec<&[usize]> = rows.chunks(batch_size.max(1)).collect();
    let read = |rows: &[usize]| {
        let mut patches = source.read(rows)?;
        ShapeError::check_len("patches read", rows.len(), patches.len())
            .map_err(|e| SourceError::new(source.describe(rows[0]), e))?;
        prepare(&mut patches, rows)?;
        Ok(patches)
    };
    let queue = Queue::new(batches.len(), prefetch.batches.max(1));
    thread::scope(|scope| {
        let (queue, read, batches) = (&queue, &read, batches.as_slice());
        let _stop = StopReading(queue);
        for _ in 0..prefetch.threads.clamp(1, batches.len().max(1)) {
            scope.spawn(move || queue.fill(|number| read(batches[number])));
            queue.lock().readers += 1;
        }
        for (number, &rows) in batches.iter().enumerate() {
            // A reading thread that panicked ends the loop, and the scope hands the panic on.
            let Some(patches) = queue.take(number) else {
                break;
            };
            let patches = patches?;
            each(number, Loaded { rows, patches })?;
        }
        Ok(())
    })
}

/// How long a thread of rayon's waits before it looks for work again.
const WORKER_WAIT: Duration = Duration::from_millis(1);

/// Batches between the threads that read them and the one that takes them, in order.
struct Queue {
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The batch that is read next.
    next: usize,
    /// The first batch that is not read.
    end: usize,
    /// How many were taken.
    taken: usize,
    ready: BTreeMap<usize, Result<PatchBatch, SourceError>>,
    panicked: bool,
    /// Reading threads that were started, less those that ended.
    readers: isize,
}

impl Queue {
    fn new(batches: usize, ahead: usize) -> Self {
        Self {
            ahead,
            state: Mutex::new(State {
                next: 0,
                end: batches,
                taken: 0,
                ready: BTreeMap::new(),
                panicked: false,
                readers: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`](Self::wait), for the thread that takes.
    ///
    /// A worker of rayon's works while it waits, for the readers may wait for this very thread to decode something.
    fn wait_working(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        if rayon::current_thread_index().is_some() {
            while !until(&self.lock()) {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    let waited = self.changed.wait_timeout(self.lock(), WORKER_WAIT);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
        self.wait(until)
    }

    /// Waits until `until` and returns the state.
    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one batch after the other while there is room; what a thread of the readers does.
    fn fill(&self, read: impl Fn(usize) -> Result<PatchBatch, SourceError>) {
        let _ends = Ends(self);
        loop {
            let may_read = |state: &State| {
                state.next >= state.end || state.next < state.taken.saturating_add(self.ahead)
            };
            let mut state = self.wait(may_read);
            if state.next >= state.end {
                break;
            }
            let number = state.next;
            state.next += 1;
            drop(state);
            let batch = read(number);
            let mut state = self.lock();
            if batch.is_err() {
                state.end = state.end.min(number + 1);
            }
            state.ready.insert(number, batch);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for a batch; nothing when a reading thread panicked.
    fn take(&self, number: usize) -> Option<Result<PatchBatch, SourceError>> {
        let mut state =
            self.wait_working(|state| state.panicked || state.ready.contains_key(&number));
        state.taken = number + 1;
        let batch = state.ready.remove(&number);
        drop(state);
        self.changed.notify_all();
        batch
    }
}

/// Sends the readers home and waits for them, also when the taker fails or panics.
struct StopReading<'a>(&'a Queue);

impl Drop for StopReading<'_> {
    fn drop(&mut self) {
        self.0.lock().end = 0;
        self.0.changed.notify_all();
        drop(self.0.wait_working(|state| state.readers <= 0));
    }
}

/// Tells the taker that a reader has ended, and when it panicked, that its batch will never come.
struct Ends<'a>(&'a Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.readers -= 1;
        if thread::panicking() {
            state.end = 0;
            state.panicked = true;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;

//! The right to change a store on a server, for one writer at a time.
//!
//! A file that only one can create says who has it. Its writer writes it anew every minute, so that its age tells
//! whether he is alive, and looks whether it is still his before each step that others would miss.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::listing::LOCK;
use crate::disk::Owner;
use crate::root::{Server, Stored, Version};
use crate::{Error, Result};

/// The most bytes of a lock that are read.
const LIMIT: u64 = 1 << 20;

/// How many requests are kept for giving a lock up: a look, and the removal.
const KEPT: u64 = 2;

/// The right to change a store on a server.
#[derive(Debug)]
pub(super) struct RemoteLock {
    held: Arc<Held>,
    renewals: Option<JoinHandle<()>>,
    is_given_up: bool,
}

/// What the thread that renews the lock shares with its holder.
#[derive(Debug)]
struct Held {
    server: Arc<Server>,
    /// Of this lock, and no other.
    id: String,
    /// Whether somebody else took it.
    taken: Arc<AtomicBool>,
    state: Mutex<State>,
    /// Whether the thread is to end.
    ends: Mutex<bool>,
    end: Condvar,
}

#[derive(Debug)]
struct State {
    version: Version,
    renewals: u64,
    /// When the server last said that it is ours.
    seen: Instant,
    /// When it was last written.
    renewed: Instant,
    /// Files that say something else than the table of contents, should the writer die now.
    unfinished: BTreeSet<String>,
}

impl RemoteLock {
    /// Takes the right, or says that somebody else has it.
    pub(super) fn acquire(server: &Arc<Server>) -> Result<Self> {
        let id = new_id();
        let text = text(&id, 0, &BTreeSet::new());
        Self::take(server, &id, BTreeSet::new(), || server.create(LOCK, text))
    }

    /// Takes the right of a writer that did not renew it for so long; `None` where nobody has it.
    pub(super) fn take_over(server: &Arc<Server>, age: Duration) -> Result<Option<Self>> {
        let Some(found) = server.get(LOCK, LIMIT)? else {
            return Ok(None);
        };
        if found.age() < age {
            return Err(server.locked());
        }
        let id = new_id();
        let unfinished = unfinished(&found);
        let text = text(&id, 0, &unfinished);
        // Only one of several who try replaces this version of the file.
        let over = Some(found.version);
        Self::take(server, &id, unfinished, || server.put(LOCK, text, over)).map(Some)
    }

    fn take(
        server: &Arc<Server>,
        id: &str,
        unfinished: BTreeSet<String>,
        write: impl FnOnce() -> Result<Version>,
    ) -> Result<Self> {
        server.keep_requests(LOCK, KEPT)?;
        let written = write().or_else(|error| {
            // The reply may have been lost, and the request sent again.
            match server.get(LOCK, LIMIT) {
                Ok(Some(found)) if is_of(&found, id) => Ok(found.version),
                _ => Err(error),
            }
        });
        let version = match written {
            Ok(version) => version,
            Err(error) => {
                server.put_back_requests(KEPT);
                return Err(match error {
                    Error::Exists { .. } => server.locked(),
                    error => error,
                });
            }
        };
        let now = Instant::now();
        let held = Arc::new(Held {
            server: Arc::clone(server),
            id: id.to_owned(),
            taken: Arc::default(),
            state: Mutex::new(State {
                version,
                renewals: 0,
                seen: now,
                renewed: now,
                unfinished,
            }),
            ends: Mutex::new(false),
            end: Condvar::new(),
        });
        let mut lock = Self {
            held,
            renewals: None,
            is_given_up: false,
        };
        let held = Arc::clone(&lock.held);
        let renewing = std::thread::Builder::new()
            .name("phenocoder-lock".to_owned())
            .spawn(move || held.renew_until_the_end());
        let renewing = renewing.map_err(|error| server.failed_here(LOCK, error))?;
        lock.renewals = Some(renewing);
        Ok(lock)
    }

    /// Set when somebody else took the lock.
    pub(super) fn taken(&self) -> &Arc<AtomicBool> {
        &self.held.taken
    }

    /// An error unless the server says that the lock is ours.
    pub(super) fn check(&self) -> Result<()> {
        self.held.check(&mut self.held.state())
    }

    /// As [`check`](Self::check), which asks the server when it has not been asked for a while.
    pub(super) fn check_now_and_then(&self) -> Result<()> {
        let mut state = self.held.state();
        if state.seen.elapsed() < self.held.server.renewal() && !self.held.is_taken() {
            return Ok(());
        }
        self.held.check(&mut state)
    }

    /// Notes in the lock which files will say something else than the table of contents for a moment.
    pub(super) fn note(&self, keys: impl IntoIterator<Item = String>) -> Result<()> {
        let mut state = self.held.state();
        state.unfinished = keys.into_iter().collect();
        let noted = self
            .held
            .check(&mut state)
            .and_then(|()| self.held.renew(&mut state));
        if noted.is_err() {
            // They are not written then.
            state.unfinished.clear();
        }
        noted
    }

    /// The files that were noted.
    pub(super) fn unfinished(&self) -> BTreeSet<String> {
        self.held.state().unfinished.clone()
    }

    /// Says that the files that were noted are in order.
    pub(super) fn finish(&self) {
        self.held.state().unfinished.clear();
    }

    /// Gives the right up, unless it is no longer ours or something is left in disorder.
    pub(super) fn release(mut self) -> Result<()> {
        self.give_up()
    }

    fn give_up(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_given_up, true) {
            return Ok(());
        }
        *self
            .held
            .ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.held.end.notify_all();
        if let Some(renewals) = self.renewals.take() {
            // It has nothing to say.
            let _ = renewals.join();
        }
        self.held.server.put_back_requests(KEPT);
        let mut state = self.held.state();
        if self.held.is_taken() || !state.unfinished.is_empty() {
            return Ok(());
        }
        self.held.check(&mut state)?;
        self.held.server.delete(LOCK)
    }
}

impl Drop for RemoteLock {
    fn drop(&mut self) {
        // What cannot be removed now is named by the error that the next writer gets.
        let _ = self.give_up();
    }
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    fn check(&self, state: &mut State) -> Result<()> {
        let found = match self.is_taken() {
            true => None,
            false => self.server.get(LOCK, LIMIT)?,
        };
        match found {
            Some(found) if is_of(&found, &self.id) => {
                // Another than is known where a reply was lost.
                state.version = found.version;
                state.seen = Instant::now();
            }
            _ => {
                self.taken.store(true, Ordering::Relaxed);
                return Err(self.server.lock_lost());
            }
        }
        // Nobody else would take it now.
        if state.renewed.elapsed() > self.server.renewal() {
            self.renew(state)?;
        }
        Ok(())
    }

    /// Writes the lock anew in the version that is known; that the text differs makes it another one.
    fn renew(&self, state: &mut State) -> Result<()> {
        let text = text(&self.id, state.renewals + 1, &state.unfinished);
        let over = Some(state.version.clone());
        let written = self.server.put(LOCK, text, over).or_else(|error| {
            // The reply may have been lost, and the request sent again.
            match self.server.get(LOCK, LIMIT)? {
                Some(found) if is_of(&found, &self.id) && found.version != state.version => {
                    Ok(found.version)
                }
                Some(found) if is_of(&found, &self.id) => Err(error),
                _ => {
                    self.taken.store(true, Ordering::Relaxed);
                    Err(self.server.lock_lost())
                }
            }
        });
        state.version = written?;
        state.renewals += 1;
        (state.seen, state.renewed) = (Instant::now(), Instant::now());
        Ok(())
    }

    fn renew_until_the_end(&self) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ends {
            let waited = self.end.wait_timeout(ends, self.server.renewal());
            ends = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *ends || self.is_taken() {
                return;
            }
            drop(ends);
            let mut state = self.state();
            let renewed = self.check(&mut state).and_then(|()| self.renew(&mut state));
            drop(state);
            if let Err(error) = renewed {
                // It is tried again; who took it is found then, if somebody did.
                tracing::warn!(%error, "the lock of the store could not be renewed");
            }
            ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Numbers of the operating system that nobody can guess.
pub(super) fn new_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

fn text(id: &str, renewals: u64, unfinished: &BTreeSet<String>) -> Vec<u8> {
    let lock = json!({
        "id": id,
        "writer": Owner::own().to_string(),
        "renewals": renewals,
        "unfinished": unfinished,
    });
    format!("{lock:#}").into_bytes()
}

fn parse(found: &Stored) -> Option<Value> {
    serde_json::from_slice(&found.bytes).ok()
}

fn is_of(found: &Stored, id: &str) -> bool {
    parse(found).is_some_and(|lock| lock.get("id").and_then(Value::as_str) == Some(id))
}

fn unfinished(found: &Stored) -> BTreeSet<String> {
    let lock = parse(found).unwrap_or_default();
    let keys = lock.get("unfinished").and_then(Value::as_array);
    keys.into_iter()
        .flatten()
        .filter_map(|key| Some(key.as_str()?.to_owned()))
        .collect()
}

/// An error while somebody writes, as far as the age of the lock tells.
pub(super) fn must_be_at_rest(server: &Server, age: Duration) -> Result<()> {
    match server.get(LOCK, LIMIT)? {
        Some(found) if found.age() < age => Err(server.locked()),
        _ => Ok(()),
    }
}

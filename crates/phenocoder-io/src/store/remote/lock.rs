//! The right to change a store on a server, for one writer at a time.
//!
//! A file says who has it. Its writer writes it anew every minute, so that its age tells whether he is alive, and looks
//! whether it is still his before whatever he writes.
//!
//! Every change of the file is a conditional one: it is created where there is none, and replaced in the version that is
//! known. So it is never removed, which no condition keeps from others: a removal that comes late, or is sent again since
//! its reply was lost, would take the lock of the next writer. Who gives the right up writes that it is free.

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

/// How many requests are kept for giving a lock up: to write that it is free, to look where the reply was lost, and to
/// write it again.
const KEPT: u64 = 3;

/// How often one change of a lock is tried: what is not in the version that was seen a moment ago time and again, and ours,
/// is on a server whose conditions cannot be relied on.
const TRIES: u32 = 3;

/// The right to change a store on a server.
#[derive(Debug)]
pub(super) struct RemoteLock {
    held: Arc<Held>,
    /// The server to this writer, for whom requests are kept.
    server: Server,
    renewals: Option<JoinHandle<()>>,
    is_given_up: bool,
}

/// What the thread that renews the lock shares with its holder.
#[derive(Debug)]
struct Held {
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
    pub(super) fn acquire(server: &Server) -> Result<Self> {
        match server.get(LOCK, LIMIT)? {
            None => Self::take(server, None, BTreeSet::new()),
            Some(found) if is_free(&found) => {
                Self::take(server, Some(found.version), BTreeSet::new())
            }
            Some(_) => Err(server.locked()),
        }
    }

    /// Takes the right of a writer that did not renew it for so long; `None` where nobody has it.
    pub(super) fn take_over(server: &Server, age: Duration) -> Result<Option<Self>> {
        match server.get(LOCK, LIMIT)? {
            Some(found) if is_free(&found) => Ok(None),
            Some(found) if found.age() < age => Err(server.locked()),
            Some(found) => {
                let unfinished = unfinished(&found);
                Self::take(server, Some(found.version), unfinished).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Writes the lock where there is none or in place of a version, which only one of several who try does.
    fn take(server: &Server, over: Option<Version>, unfinished: BTreeSet<String>) -> Result<Self> {
        let server = server.keeping(LOCK, KEPT)?;
        let id = new_id();
        let text = text(&id, 0, &unfinished);
        let written = match over {
            Some(version) => server.put(LOCK, text, Some(version)),
            None => server.create(LOCK, text, &id),
        };
        let version = match written {
            Ok(version) => version,
            // The reply may have been lost, and the request sent again.
            Err(error) => match (server.get(LOCK, LIMIT), error) {
                (Ok(Some(found)), _) if is_of(&found, &id) => found.version,
                (_, Error::Exists { .. }) => return Err(server.locked()),
                (_, error) => return Err(error),
            },
        };
        let now = Instant::now();
        let held = Arc::new(Held {
            id,
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
            server,
            renewals: None,
            is_given_up: false,
        };
        let (held, renewer) = (Arc::clone(&lock.held), lock.server.clone());
        let renewing = std::thread::Builder::new()
            .name("phenocoder-lock".to_owned())
            .spawn(move || held.renew_until_the_end(&renewer.without_kept()));
        let renewing = renewing.map_err(|error| lock.server.failed_here(LOCK, error))?;
        lock.renewals = Some(renewing);
        Ok(lock)
    }

    /// The server to the holder of the lock.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Set when somebody else took the lock.
    pub(super) fn taken(&self) -> &Arc<AtomicBool> {
        &self.held.taken
    }

    /// An error unless the server says that the lock is ours.
    pub(super) fn check(&self) -> Result<()> {
        self.held.check(&self.server, &mut self.held.state())
    }

    /// As [`check`](Self::check), which asks the server when it has not been asked for a moment.
    pub(super) fn check_now_and_then(&self) -> Result<()> {
        let mut state = self.held.state();
        if state.seen.elapsed() < self.server.look() && !self.held.is_taken() {
            return Ok(());
        }
        self.held.check(&self.server, &mut state)
    }

    /// Notes in the lock which files will say something else than the table of contents for a moment.
    pub(super) fn note(&self, keys: impl IntoIterator<Item = String>) -> Result<()> {
        let mut state = self.held.state();
        state.unfinished = keys.into_iter().collect();
        let noted = self.held.renew(&self.server, &mut state);
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

    /// Gives the right up; an error when that fails, it is no longer ours or something is left in disorder.
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
        let mut state = self.held.state();
        if self.held.is_taken() {
            return Err(self.server.lock_lost());
        }
        if !state.unfinished.is_empty() {
            return Err(self.server.locked());
        }
        let free = json!({"id": self.held.id, "is_free": true});
        let free = format!("{free:#}").into_bytes();
        self.held.look(&self.server, &mut state)?;
        match self.held.replace(&self.server, &mut state, &free) {
            // It was given up, and the next writer had it before that was known.
            Err(Error::LockLost { .. }) => Ok(()),
            given_up => given_up,
        }
    }
}

impl Drop for RemoteLock {
    fn drop(&mut self) {
        // The change that needed it failed, and says why; where the lock is left, the next writer is told of it too.
        if let Err(error) = self.give_up() {
            tracing::warn!(%error, "the lock of the store could not be given up");
        }
    }
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    fn lost(&self, server: &Server) -> Error {
        self.taken.store(true, Ordering::Relaxed);
        server.lock_lost()
    }

    /// Looks whether the lock is ours.
    fn look(&self, server: &Server, state: &mut State) -> Result<()> {
        let found = match self.is_taken() {
            true => None,
            false => server.get(LOCK, LIMIT)?,
        };
        match found {
            Some(found) if is_of(&found, &self.id) => {
                // Another than is known where a reply was lost.
                state.version = found.version;
                state.seen = Instant::now();
                Ok(())
            }
            _ => Err(self.lost(server)),
        }
    }

    fn check(&self, server: &Server, state: &mut State) -> Result<()> {
        self.look(server, state)?;
        // Nobody else would take it now.
        if state.renewed.elapsed() > server.renewal() {
            self.renew(server, state)?;
        }
        Ok(())
    }

    /// Writes the lock anew; that the text differs makes it another version.
    fn renew(&self, server: &Server, state: &mut State) -> Result<()> {
        // The condition would do, but for services that ignore it.
        self.look(server, state)?;
        let text = text(&self.id, state.renewals + 1, &state.unfinished);
        self.replace(server, state, &text)?;
        state.renewals += 1;
        state.renewed = Instant::now();
        Ok(())
    }

    /// Replaces the version of the lock that was seen last.
    fn replace(&self, server: &Server, state: &mut State, text: &[u8]) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let over = state.version.clone();
            let error = match server.put(LOCK, text.to_vec(), Some(over.clone())) {
                Ok(version) => {
                    state.version = version;
                    return Ok(());
                }
                Err(error) => error,
            };
            // The reply may have been lost, and the request sent again.
            match server.get(LOCK, LIMIT)? {
                Some(found) if is_of(&found, &self.id) => {
                    state.version = found.version;
                    if found.bytes == text {
                        return Ok(());
                    }
                    if state.version == over || tries == TRIES {
                        return Err(error);
                    }
                    // The reply to an earlier one was.
                }
                _ => return Err(self.lost(server)),
            }
        }
    }

    fn renew_until_the_end(&self, server: &Server) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ends {
            let waited = self.end.wait_timeout(ends, server.renewal());
            ends = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *ends || self.is_taken() {
                return;
            }
            drop(ends);
            let renewed = self.renew(server, &mut self.state());
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

/// Whether nobody has the lock.
fn is_free(found: &Stored) -> bool {
    parse(found).is_some_and(|lock| lock.get("is_free") == Some(&Value::Bool(true)))
}

/// An error while somebody writes, as far as the age of the lock tells.
pub(super) fn must_be_at_rest(server: &Server, age: Duration) -> Result<()> {
    match server.get(LOCK, LIMIT)? {
        Some(found) if !is_free(&found) && found.age() < age => Err(server.locked()),
        _ => Ok(()),
    }
}

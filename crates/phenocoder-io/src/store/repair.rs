//! A store put in order on request.

use std::time::Duration;

use super::atomic::{Lock, labels_listing};
use super::consolidated::{self, Overlay};
use super::recover::{self, Whose};
use super::{ElementKind, Store, listing};
use crate::array::with_causes;
use crate::path::child;
use crate::{Error, Result, json};

/// What [`Store::repair`] did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// Left-overs of writers that were interrupted, which are gone now.
    pub removed: Vec<String>,
    /// Metadata files that said something else than the nodes and were written anew.
    pub rewritten: Vec<String>,
    /// What could not be put in order, and why; the rest was.
    pub problems: Vec<String>,
}

impl Repair {
    /// Notes what is wrong with the store; errors of the disk are returned.
    fn cannot(&mut self, key: &str, error: Error) -> Result<()> {
        if error.is_environment() {
            return Err(error);
        }
        let problem = format!("`{key}`: {}", with_causes(&error));
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Ok(())
    }
}

/// How [`Store::repair_with`] puts a store in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairOptions {
    /// How long ago the lock on a server must have been renewed to be taken for that of a writer that died (default a
    /// day); zero takes away any.
    ///
    /// Writers renew their lock every minute. The age is the difference of the clocks of the server and of this machine:
    /// leave room for what they differ, and for a writer whose machine sleeps.
    pub lock_age: Duration,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self {
            lock_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl RepairOptions {
    /// Sets [`lock_age`](Self::lock_age).
    #[must_use]
    pub fn with_lock_age(mut self, lock_age: Duration) -> Self {
        self.lock_age = lock_age;
        self
    }
}

impl Store {
    /// Puts the store in order: removes what interrupted writers left, and writes the list of masks and the
    /// consolidated metadata anew where they are wrong or missing.
    ///
    /// Left-overs are those of this crate, also of writers on other machines, so be sure that none of these is at work,
    /// and the files `.*.partial` of zarr-python.
    /// An element that such a writer took out of its place, and put no other there, goes back; where several were taken
    /// out of one place, all stay and [`Repair::problems`] names them.
    /// Elements are not touched: what is damaged in them cannot be made up.
    ///
    /// On a server a lock that was not renewed for a day is taken and given up, and what it notes as unfinished put in
    /// order: the list of masks, the attributes of the root and the copy of the consolidated metadata. Nothing else is.
    /// [`Repair::removed`] names the lock then, whose file stays and says that it is free.
    /// A writer that is alive all the same notices at its next step and stops with
    /// [`Error::LockLost`](crate::Error::LockLost).
    /// The element that it was writing is not listed, and writing it again removes its files.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`](crate::Error::Locked) while somebody else writes, or a process that has something in its hands is
    /// seen to run,
    /// [`Error::ReadOnly`](crate::Error::ReadOnly) for a zip file or plain HTTP, [`Error::Io`](crate::Error::Io), and
    /// errors of the server.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::{ContainerVersion, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
    /// std::fs::write(folder.path().join("s.zarr/zarr.json"), r#"{"zarr_format": 3, "node_type": "group"}"#)?;
    /// assert_eq!(store.repair()?.rewritten, ["zarr.json"]);
    /// assert!(store.repair()?.rewritten.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&mut self) -> Result<Repair> {
        self.repair_with(&RepairOptions::default())
    }

    /// As [`repair`](Self::repair), with settings.
    ///
    /// # Errors
    ///
    /// As [`repair`](Self::repair).
    #[cfg_attr(
        not(feature = "object-store"),
        expect(unused_variables, reason = "for servers")
    )]
    pub fn repair_with(&mut self, options: &RepairOptions) -> Result<Repair> {
        #[cfg(feature = "object-store")]
        if self.root.remote().is_some() {
            return self.repair_remote(options.lock_age);
        }
        let mut done = Repair::default();
        let folder = self.root.writable()?;
        let lock = Lock::acquire(&folder.place(""))?;
        let tidied = recover::tidy_locked(&self.root, &lock, Whose::All)?;
        done.removed = tidied.removed;
        done.problems = tidied.problems;
        for (group, error) in listing::unlistable(&self.root) {
            done.cannot(group, error)?;
        }
        for key in partial_files(self)? {
            folder.place(&key).remove()?;
            done.removed.push(key);
        }
        // The list of masks is part of the consolidated metadata.
        match labels_listing(&self.root, self.format, &Overlay::default()) {
            Ok(Some((key, bytes))) => self.rewrite(key, &bytes, &mut done)?,
            Ok(None) => {}
            Err(error) => done.cannot("labels", error)?,
        }
        for (key, bytes) in consolidated::build(&self.root, self.format, &Overlay::default())? {
            self.rewrite(key, &bytes, &mut done)?;
        }
        self.elements = listing::list(&self.root)?;
        Ok(done)
    }

    fn rewrite(&self, key: String, bytes: &[u8], done: &mut Repair) -> Result<()> {
        let same = |text: &[u8]| json::parse(&key, text).ok();
        let stored = self.root.read_metadata(&key)?;
        if stored.as_deref().and_then(same) == same(bytes) {
            return Ok(());
        }
        self.root.writable()?.place(&key).replace(bytes)?;
        done.rewritten.push(key);
        Ok(())
    }
}

/// The files that zarr-python writes before it renames them: a dot, a name, 32 hexadecimal digits and `.partial`.
fn partial_files(store: &Store) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), 0)];
    folders.extend(ElementKind::ALL.map(|kind| (kind.group().to_owned(), 0)));
    while let Some((folder, depth)) = folders.pop() {
        if depth > store.root.options.max_depth {
            continue;
        }
        let entries = match store.root.entries(&folder) {
            Ok(entries) => entries,
            Err(error) if error.is_environment() => return Err(error),
            // What leads out of the store is nobody's to clear.
            Err(_) => continue,
        };
        for entry in entries {
            let key = child(&folder, &entry.name);
            if entry.is_folder && !entry.is_link && !folder.is_empty() {
                folders.push((key, depth + 1));
            } else if is_partial(&entry.name) {
                found.push(key);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether zarr-python has such a name for a file that it is about to write.
pub(super) fn is_partial(name: &str) -> bool {
    let id = name
        .strip_prefix('.')
        .or(Some(name))
        .and_then(|name| name.strip_suffix(".partial"))
        .map(|name| name.rsplit('.').next().unwrap_or(name));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

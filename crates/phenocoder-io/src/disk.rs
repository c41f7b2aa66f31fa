//! The file system: the only module that writes, renames and removes files, and that opens those of a store.
//!
//! Tests make any of its operations fail (see `faults`); everything that touches a store therefore goes through here.
//! Files on their way to a server are read where they are sent.

#[cfg(test)]
pub(crate) mod faults;
mod owner;
mod place;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub(crate) use owner::Owner;
pub(crate) use place::{FileWriter, LeftOver, Place, left_over, owner_of};

/// What the file system is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Look,
    List,
    Open,
    Read,
    Create,
    Write,
    Sync,
    Link,
    Rename,
    Remove,
}

/// What lies at a path, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        size: u64,
    },
    Folder,
    /// A pipe, a socket, a device.
    Other,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: std::ffi::OsString,
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
}

/// A handle on the file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// Whether nothing is waited for until it is on the disk: what is made will not outlive the program.
    volatile: bool,
    #[cfg(test)]
    faults: Option<std::sync::Arc<faults::Faults>>,
    #[cfg(test)]
    folds_case: bool,
    /// Nothing was changed on it since 1970.
    #[cfg(test)]
    is_ancient: bool,
}

impl Disk {
    /// A handle for what will not outlive the program.
    #[cfg(feature = "object-store")]
    pub(crate) fn volatile() -> Self {
        Self {
            volatile: true,
            #[cfg(test)]
            faults: None,
            #[cfg(test)]
            folds_case: false,
            #[cfg(test)]
            is_ancient: false,
        }
    }

    /// How many of `len` bytes the operation may move, or why it fails; always all of them outside of tests.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as in tests")]
    fn allow(&self, _: Operation, _: &Path, len: usize) -> io::Result<usize> {
        Ok(len)
    }

    #[cfg(test)]
    fn allow(&self, operation: Operation, path: &Path, len: usize) -> io::Result<usize> {
        match &self.faults {
            Some(faults) => faults.next(operation, path, len),
            None => Ok(len),
        }
    }

    /// The path of what lies there; tests have a disk that does not tell case apart.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    fn real<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        Cow::Borrowed(path)
    }

    #[cfg(test)]
    fn real<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        if self.folds_case {
            Cow::Owned(faults::without_case(path))
        } else {
            Cow::Borrowed(path)
        }
    }

    /// The path without links.
    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.allow(Operation::Look, path, 0)?;
        let path = &self.real(path);
        fs::canonicalize(path)
    }

    /// What lies at a path, links followed.
    pub(crate) fn kind(&self, path: &Path) -> io::Result<Kind> {
        self.allow(Operation::Look, path, 0)?;
        let path = &self.real(path);
        let metadata = fs::metadata(path)?;
        Ok(if metadata.is_file() {
            Kind::File {
                size: metadata.len(),
            }
        } else if metadata.is_dir() {
            Kind::Folder
        } else {
            Kind::Other
        })
    }

    /// When what lies at a path was last changed or renamed, in seconds since 1970, where the system tells.
    pub(crate) fn changed(&self, path: &Path) -> io::Result<Option<u64>> {
        self.allow(Operation::Look, path, 0)?;
        let path = &self.real(path);
        let metadata = fs::symlink_metadata(path)?;
        #[cfg(test)]
        if self.is_ancient {
            return Ok(Some(0));
        }
        #[cfg(unix)]
        let changed = u64::try_from(std::os::unix::fs::MetadataExt::ctime(&metadata)).ok();
        // Elsewhere a rename does not count as a change.
        #[cfg(not(unix))]
        let changed = metadata.modified().ok().and(None);
        Ok(changed)
    }

    /// Whether anything lies at a path, a broken link too.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        self.allow(Operation::Look, path, 0)?;
        let path = &self.real(path);
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The entries of a folder, sorted by name.
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.allow(Operation::List, path, 0)?;
        let path = &self.real(path);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            entries.push(Entry {
                is_folder: kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()),
                is_link: kind.is_symlink(),
                name: entry.file_name(),
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.allow(Operation::Open, path, 0)?;
        let path = &self.real(path);
        File::open(path)
    }

    /// Fills `bytes` with what the file holds from `offset` on.
    pub(crate) fn read_exact_at(
        &self,
        file: &File,
        path: &Path,
        bytes: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let most = self.allow(Operation::Read, path, bytes.len())?;
        if most < bytes.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        read_exact_at(file, bytes, offset)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.allow(Operation::Create, path, 0)?;
        let path = &self.real(path);
        File::create(path)
    }

    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        use io::Write as _;
        let most = self.allow(Operation::Write, path, bytes.len())?;
        file.write(bytes.get(..most).unwrap_or(bytes))
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.allow(Operation::Sync, path, 0)?;
        if self.volatile {
            return Ok(());
        }
        file.sync_all()
    }

    /// Another name for a file, or a copy where the file system knows no links.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.allow(Operation::Link, to, 0)?;
        let (from, to) = (&self.real(from), &self.real(to));
        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.allow(Operation::Rename, to, 0)?;
        let from = self.real(from);
        let to = match self.real(to) {
            // What is renamed to itself takes the case of the new name.
            real if real == from => real.with_file_name(to.file_name().unwrap_or_default()),
            real => real.into_owned(),
        };
        fs::rename(from, to)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.allow(Operation::Create, path, 0)?;
        let path = &self.real(path);
        fs::create_dir_all(path)
    }

    /// Creates a folder; an error where anything is.
    fn create_new_folder(&self, path: &Path) -> io::Result<()> {
        self.allow(Operation::Create, path, 0)?;
        let path = &self.real(path);
        fs::create_dir(path)
    }

    /// Creates a folder that only this user can look into; an error where anything is.
    #[cfg(feature = "object-store")]
    fn create_private_folder(&self, path: &Path) -> io::Result<()> {
        self.allow(Operation::Create, path, 0)?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    /// Removes a file, or a folder with all it holds.
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.allow(Operation::Remove, path, 0)?;
        let path = &self.real(path);
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        }
    }
}

/// Whether the error says that there is nothing.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

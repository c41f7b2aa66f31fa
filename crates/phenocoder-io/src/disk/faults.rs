//! A file system that fails when it is told to.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, Operation};

/// A disk on which `a` and `A` are one name, as they are for macOS and Windows.
pub(crate) fn disk_that_folds_case() -> Disk {
    Disk {
        folds_case: true,
        ..Disk::default()
    }
}

/// A disk on which nothing was changed since 1970.
pub(crate) fn ancient_disk() -> Disk {
    Disk {
        is_ancient: true,
        ..Disk::default()
    }
}

/// The path of what lies there, whatever the case of its names.
pub(super) fn without_case(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in path {
        let exact = real.join(part);
        let lower = part.to_string_lossy().to_lowercase();
        let mut names = real
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name());
        real = match names.find(|name| name.to_string_lossy().to_lowercase() == lower) {
            Some(name) if !exact.exists() => real.join(name),
            _ => exact,
        };
    }
    real
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An input or output error (`EIO`).
    Broken,
    /// An input or output error of whatever changes the disk; what it holds can be read.
    Unwritable,
    /// The disk is full (`ENOSPC`); operations that take no room succeed.
    Full,
    /// A read ends early, a write stores half of the bytes and then nothing; other operations succeed.
    Short,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::Broken, Self::Full, Self::Short];

    fn applies(self, operation: Operation) -> bool {
        use Operation as O;
        match self {
            Self::Broken => true,
            Self::Unwritable => !matches!(operation, O::Look | O::List | O::Open | O::Read),
            Self::Full => matches!(
                operation,
                O::Create | O::Write | O::Sync | O::Link | O::Rename
            ),
            Self::Short => matches!(operation, O::Read | O::Write),
        }
    }
}

#[derive(Debug)]
struct State {
    /// The operations that the fault applies to, counted down to the one that fails.
    left: usize,
    /// Where it happened, and what.
    hit: Option<(Operation, PathBuf)>,
}

/// Fails once, at a given operation, or from it on.
#[derive(Debug)]
pub(crate) struct Faults {
    fault: Fault,
    for_good: bool,
    state: Mutex<State>,
}

impl Faults {
    /// A disk whose `n`-th operation fails, and all that follow if `for_good`.
    pub(crate) fn disk(n: usize, fault: Fault, for_good: bool) -> (Disk, Arc<Self>) {
        let state = Mutex::new(State { left: n, hit: None });
        let faults = Arc::new(Self {
            fault,
            for_good,
            state,
        });
        let disk = Disk {
            faults: Some(Arc::clone(&faults)),
            ..Disk::default()
        };
        (disk, faults)
    }

    /// The operation that failed first.
    pub(crate) fn hit(&self) -> Option<(Operation, PathBuf)> {
        self.state.lock().unwrap().hit.clone()
    }

    pub(super) fn next(&self, operation: Operation, path: &Path, len: usize) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if !self.fault.applies(operation) {
            return Ok(len);
        }
        let is_first = state.hit.is_none();
        if let Some((Operation::Write, hit)) = &state.hit
            && self.fault == Fault::Short
            && operation == Operation::Write
            && hit == path
        {
            return Ok(0);
        }
        if is_first && state.left > 0 {
            state.left -= 1;
            return Ok(len);
        }
        if !is_first && !self.for_good {
            return Ok(len);
        }
        if is_first {
            state.hit = Some((operation, path.to_owned()));
        }
        match self.fault {
            Fault::Broken | Fault::Unwritable => {
                Err(io::Error::other("injected input or output error"))
            }
            Fault::Full => Err(ErrorKind::StorageFull.into()),
            // A request for one byte cannot be cut to a half: it is refused.
            Fault::Short => Ok(len / 2),
        }
    }
}

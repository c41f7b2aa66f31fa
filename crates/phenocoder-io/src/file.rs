//! Files and folders on the way to the disk: the only module that writes.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Writes a new file and waits until it is on the disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io(path, "written"))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io(path, "written"))
}

/// Writes a metadata file.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    write(path, format!("{value:#}").as_bytes())
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path, "created"))
}

/// Waits until the names in a folder are on the disk, where the system can.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(path, "synchronized"))
    } else {
        Ok(())
    }
}

/// Waits until all folders of a tree are on the disk.
pub(crate) fn sync_tree(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).map_err(Error::io(path, "listed"))? {
        let entry = entry.map_err(Error::io(path, "listed"))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(path)
}

/// Renames a file or folder.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io(to, "renamed"))
}

/// Renames what was written beside `path` to `path` and waits until the new name is on the disk.
pub(crate) fn publish(staged: &Path, path: &Path) -> Result<()> {
    rename(staged, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

/// Removes a file or a folder with all it holds; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(path, "removed")(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file beside `path` and renames it over it, so that `path` is always the old or the new whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = staged(path);
    let written = write(&staged, bytes).and_then(|()| publish(&staged, path));
    if written.is_err() {
        // The first error says why; a left-over temporary file is ignored by readers.
        let _ = fs::remove_file(&staged);
    }
    written
}

/// A hidden name beside `path` that no other process uses.
pub(crate) fn staged(path: &Path) -> std::path::PathBuf {
    let name = path
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.new-{}", std::process::id()))
}

//! A copy of a whole store.

use std::fs;
use std::path::{Path, PathBuf};

use phenocoder_core::Progress;

use crate::{Error, Result, file};

/// Copies a store to a place where there is nothing, whole or not at all.
///
/// # Errors
///
/// [`Error::Exists`] when something is there, [`Error::InvalidPath`] for a link that leads out of the store,
/// [`Error::Cancelled`], and [`Error::Io`].
pub fn copy_store(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: &dyn Progress,
) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if fs::symlink_metadata(to).is_ok() {
        return Err(Error::Exists {
            path: to.to_owned(),
        });
    }
    let root = fs::canonicalize(from).map_err(Error::io(from, "read"))?;
    let staged = file::staged(to);
    // A killed process of the same number may have left it.
    file::remove(&staged)?;
    let result = copy_tree(&root, &root, &staged, progress)
        .and_then(|()| file::sync_tree(&staged))
        .and_then(|()| file::publish(&staged, to));
    if result.is_err() {
        // The first error says why.
        let _ = file::remove(&staged);
    }
    progress.finish();
    result
}

/// Copies a folder with all it holds; nothing is read that lies outside of `root`.
pub(crate) fn copy_tree(
    root: &Path,
    from: &Path,
    to: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let mut files = Vec::new();
    list(root, from, Path::new(""), 0, &mut files)?;
    progress.start("copy store", Some(files.len() as u64));
    file::create_folder(to)?;
    for (source, relative) in &files {
        progress.check()?;
        let target = to.join(relative);
        match source {
            None => file::create_folder(&target)?,
            Some(source) => {
                fs::copy(source, &target).map_err(Error::io(&target, "written"))?;
                fs::File::open(&target)
                    .and_then(|f| f.sync_all())
                    .map_err(Error::io(&target, "written"))?;
            }
        }
        progress.advance(1);
    }
    Ok(())
}

/// How deep folders may lie; more shows a link to a folder above.
const MAX_DEPTH: usize = 64;

/// Folders (without a source) and files, each folder before what it holds.
fn list(
    root: &Path,
    folder: &Path,
    relative: &Path,
    depth: usize,
    files: &mut Vec<(Option<PathBuf>, PathBuf)>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::InvalidPath {
            key: relative.display().to_string(),
            path: "folders nested too deeply".to_owned(),
        });
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "listed"))? {
        names.push(entry.map_err(Error::io(folder, "listed"))?.file_name());
    }
    names.sort_unstable();
    for name in names {
        let path = folder.join(&name);
        let relative = relative.join(&name);
        let real = fs::canonicalize(&path).map_err(Error::io(&path, "read"))?;
        if !real.starts_with(root) {
            return Err(Error::InvalidPath {
                key: relative.display().to_string(),
                path: real.display().to_string(),
            });
        }
        if real.is_dir() {
            files.push((None, relative.clone()));
            list(root, &real, &relative, depth + 1, files)?;
        } else if real.is_file() {
            files.push((Some(real), relative));
        } else {
            let key = relative.display().to_string();
            return Err(Error::invalid(key, "a file", "a pipe or device"));
        }
    }
    Ok(())
}

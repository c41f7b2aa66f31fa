//! Names and paths that files mention.

use crate::{Error, Result};

/// Whether this is one harmless component of a path.
pub(crate) fn is_component(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0'])
        && !has_drive(name)
}

/// `C:` at the start, which Windows takes as another root.
fn has_drive(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
}

/// Appends a path that the metadata of `key` mentions.
///
/// # Errors
///
/// [`Error::InvalidPath`] when it is absolute, empty, has a component `.` or `..`, a backslash, a drive or a NUL.
pub(crate) fn join(key: &str, path: &str) -> Result<String> {
    if path.split('/').all(is_component) {
        Ok(child(key, path))
    } else {
        Err(Error::InvalidPath {
            key: key.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Appends a component that is known to be harmless.
pub(crate) fn child(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}/{name}")
    }
}

/// What the keys of everything below a node start with; nothing for the root.
pub(crate) fn prefix(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}/")
    }
}

/// Checks the name of a new element, column or entry.
///
/// # Errors
///
/// [`Error::InvalidName`] that says which rule is broken.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "it is a relative folder"
    } else if name == "zarr.json" || name == "zmetadata" {
        "it is the name of a metadata file"
    } else if name.starts_with("__") {
        "it starts with two underscores"
    } else if name.starts_with('.') {
        "it starts with a dot"
    } else if !name
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    {
        "only letters, digits, `_`, `-` and `.` are allowed"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName {
        name: name.to_owned(),
        problem,
    })
}

/// Checks the name of a column or entry of a table: as [`check_name`], with `_index` forbidden.
///
/// Names with `/`, which old versions of anndata wrote as groups, are read but not written: anndata from 0.13 and
/// spatialdata refuse them too.
///
/// # Errors
///
/// [`Error::InvalidName`] that says which rule is broken.
pub(crate) fn check_column(name: &str) -> Result<()> {
    if name == "_index" {
        return Err(Error::InvalidName {
            name: name.to_owned(),
            problem: "it is reserved for the names of the rows",
        });
    }
    check_name(name)
}

/// Why nothing in a group can have this name.
///
/// `None` for any name of a file that does not begin with a point, since listings of Zarr leave such out, and is not one
/// of metadata.
pub(crate) fn problem_of_entry(name: &str) -> Option<&'static str> {
    if !is_component(name) {
        Some("it is no single component of a path")
    } else if name.starts_with('.') {
        Some("it begins with a point")
    } else if name == "zarr.json" {
        Some("it is the name of a metadata file")
    } else {
        None
    }
}

/// Checks what the names of rows are called: as any entry may be, see [`problem_of_entry`].
///
/// # Errors
///
/// [`Error::InvalidName`] that says which rule is broken.
pub(crate) fn check_index_name(name: &str) -> Result<()> {
    match problem_of_entry(name) {
        None => Ok(()),
        Some(problem) => Err(Error::InvalidName {
            name: name.to_owned(),
            problem,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_out_are_refused() {
        for bad in [
            "", "/", "/etc", "..", "a/..", "a//b", ".", "a/./b", "a\\b", "C:/x", "a\0", "a/",
        ] {
            assert!(join("obs", bad).is_err(), "{bad}");
        }
        assert_eq!(join("obs", "a/b").unwrap(), "obs/a/b");
        assert_eq!(join("", "s0").unwrap(), "s0");
        assert_eq!(join("obs", ".hidden").unwrap(), "obs/.hidden");
    }

    #[test]
    fn names_follow_the_rules_of_spatialdata() {
        for good in ["größe", "图像", "a.b-c_1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "__x", "a b", "a/b", "a#"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_column("_index").is_err());
        for good in ["cell id", "__x", "_index", "x#"] {
            assert!(check_index_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "zarr.json", ".zattrs", ".x"] {
            assert!(check_index_name(bad).is_err(), "{bad}");
        }
    }
}

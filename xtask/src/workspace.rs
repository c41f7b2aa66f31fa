//! What lies in the checkout: the members with their manifests, and every file that git knows or would add.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

/// The checkout.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Where the root `Cargo.toml` lies.
    pub(crate) root: PathBuf,
    /// The root `Cargo.toml`.
    pub(crate) manifest: Table,
    /// The packages, by path.
    pub(crate) members: Vec<Member>,
    /// Paths below the root, with `/`, sorted: tracked files, and new ones that are not ignored.
    pub(crate) files: Vec<String>,
}

/// One package of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    /// The name without `phenocoder-`: `core`, `io`, …; the facade is `phenocoder`.
    pub(crate) short: String,
    /// The name in the manifest.
    pub(crate) package: String,
    /// Its folder below the root.
    pub(crate) dir: String,
    /// The text of its `Cargo.toml`.
    pub(crate) text: String,
    /// The same, parsed.
    pub(crate) manifest: Table,
}

/// Which table of a manifest a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// `[dependencies]` or `[build-dependencies]`: whoever takes the crate compiles it.
    Normal,
    /// `[dev-dependencies]`.
    Tests,
}

impl Workspace {
    /// Reads the checkout that this program was built from.
    ///
    /// # Errors
    ///
    /// When git does not answer or a manifest is broken.
    pub(crate) fn load() -> Result<Self> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = here
            .parent()
            .context("xtask lies below the root")?
            .to_owned();
        let listed = output(
            Command::new("git")
                .args([
                    "ls-files",
                    "-z",
                    "--cached",
                    "--others",
                    "--exclude-standard",
                ])
                .current_dir(&root),
        )?;
        let mut files: Vec<String> = listed
            .split('\0')
            .filter(|path| !path.is_empty() && root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        let manifest = parse(&read(&root, "Cargo.toml")?, "Cargo.toml")?;
        let members = files
            .iter()
            .filter_map(|path| path.strip_suffix("/Cargo.toml"))
            // A workspace of its own, of the nightly toolchain.
            .filter(|dir| *dir != "fuzz")
            .map(|dir| Member::load(&root, dir))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            root,
            manifest,
            members,
            files,
        })
    }

    /// The text of a file below the root.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is no text.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        read(&self.root, path)
    }
}

impl Member {
    fn load(root: &Path, dir: &str) -> Result<Self> {
        let path = format!("{dir}/Cargo.toml");
        let text = read(root, &path)?;
        let manifest = parse(&text, &path)?;
        let package = manifest
            .get("package")
            .and_then(|p| p.get("name"))
            .and_then(Value::as_str)
            .with_context(|| format!("{path}: no package name"))?
            .to_owned();
        Ok(Self {
            short: short(&package).to_owned(),
            package,
            dir: dir.to_owned(),
            text,
            manifest,
        })
    }

    /// The dependencies, of all platforms, with the table that they stand in.
    pub(crate) fn dependencies(&self) -> Vec<(&str, &Value, Use)> {
        let platforms = self
            .manifest
            .get("target")
            .and_then(Value::as_table)
            .into_iter()
            .flat_map(Table::values)
            .filter_map(Value::as_table);
        let mut found = Vec::new();
        for table in std::iter::once(&self.manifest).chain(platforms) {
            for (key, kind) in [
                ("dependencies", Use::Normal),
                ("build-dependencies", Use::Normal),
                ("dev-dependencies", Use::Tests),
            ] {
                let entries = table.get(key).and_then(Value::as_table);
                found.extend(
                    entries
                        .into_iter()
                        .flatten()
                        .map(|(name, value)| (name.as_str(), value, kind)),
                );
            }
        }
        found
    }

    /// The names of the features, without `default`.
    pub(crate) fn features(&self) -> Vec<&str> {
        let features = self.manifest.get("features").and_then(Value::as_table);
        let names = features.into_iter().flat_map(Table::keys);
        names
            .map(String::as_str)
            .filter(|&name| name != "default")
            .collect()
    }
}

/// The name of one of our packages without `phenocoder-`.
pub(crate) fn short(package: &str) -> &str {
    package.strip_prefix("phenocoder-").unwrap_or(package)
}

/// Whether a package is one of ours.
pub(crate) fn is_ours(package: &str) -> bool {
    package == "phenocoder" || package.starts_with("phenocoder-")
}

/// The cargo that runs this program.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

/// Runs a command and takes what it prints.
///
/// # Errors
///
/// When it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{} does not start", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn read(root: &Path, path: &str) -> Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned())
}

fn parse(text: &str, path: &str) -> Result<Table> {
    text.parse().with_context(|| path.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A member made of text; `rest` is added behind the start of `[package]`.
    pub(crate) fn member(dir: &str, package: &str, rest: &str) -> Member {
        let text = format!("[package]\nname = \"{package}\"\n{rest}");
        Member {
            short: short(package).to_owned(),
            package: package.to_owned(),
            dir: dir.to_owned(),
            manifest: parse(&text, dir).unwrap(),
            text,
        }
    }

    #[test]
    fn dependencies_of_all_tables_are_listed() {
        let text = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n\
            [target.'cfg(windows)'.dependencies]\nc = \"1\"";
        let member = member("crates/x", "phenocoder-x", text);
        let found: Vec<_> = member
            .dependencies()
            .into_iter()
            .map(|(name, _, kind)| (name, kind))
            .collect();
        assert_eq!(
            found,
            [("a", Use::Normal), ("b", Use::Tests), ("c", Use::Normal)]
        );
    }

    #[test]
    fn short_names_lose_their_prefix() {
        assert_eq!(short("phenocoder-io"), "io");
        assert_eq!(short("phenocoder"), "phenocoder");
        assert!(is_ours("phenocoder") && is_ours("phenocoder-io") && !is_ours("phenocoders"));
    }
}

//! Stand-ins for shared libraries that a link or a loader asks for and nobody calls: empty functions of the right names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::output;

/// A library of functions that do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandIn {
    /// The name that programs ask for, `libcublas.so.13`.
    pub(crate) soname: String,
    /// The version that the names are tagged with.
    pub(crate) version: Option<String>,
    /// The functions.
    pub(crate) functions: BTreeSet<String>,
}

impl StandIn {
    /// Compiles the library into `folder/file`.
    ///
    /// # Errors
    ///
    /// When there is no C compiler or the folder cannot be written.
    pub(crate) fn build(&self, folder: &Path, file: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        let path = folder.join(file);
        let source = folder.join(format!("{file}.c"));
        fs::write(&source, self.source())?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command
            .args(["-shared", "-fPIC", "-O0", "-w", "-fno-builtin"])
            .arg(format!("-Wl,-soname,{}", self.soname))
            .arg("-o")
            .args([&path, &source]);
        if let Some(version) = &self.version {
            let script = folder.join(format!("{file}.map"));
            fs::write(&script, format!("{version} {{ global: *; }};\n"))?;
            command.arg(format!("-Wl,--version-script={}", script.display()));
        }
        output(&mut command).with_context(|| format!("stand-in for {}", self.soname))?;
        Ok(())
    }

    /// Every function returns 100, in CUDA's runtime and driver "no device".
    fn source(&self) -> String {
        let function = |name: &String| format!("long {name}(void) {{ return 100; }}\n");
        self.functions.iter().map(function).collect()
    }
}

/// The CUDA libraries that the shared libraries in a folder ask for, with the functions that these call.
///
/// # Errors
///
/// When `readelf` or `nm` is not there or the folder cannot be read.
pub(crate) fn cuda_needs(folder: &Path) -> Result<Vec<StandIn>> {
    let mut needed = BTreeSet::new();
    let mut versions = BTreeMap::new();
    let mut functions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "so") {
            continue;
        }
        let read = |program: &str, arguments: &[&str]| {
            output(Command::new(program).args(arguments).arg(&path))
        };
        needed.extend(needed_libraries(&read(
            "readelf",
            &["--dynamic", "--wide"],
        )?));
        versions.extend(version_files(&read(
            "readelf",
            &["--version-info", "--wide"],
        )?));
        for line in read("nm", &["--dynamic", "--undefined-only"])?.lines() {
            let Some(symbol) = line.split_whitespace().last() else {
                continue;
            };
            let (name, version) = symbol.split_once('@').unwrap_or((symbol, ""));
            let version = version.trim_start_matches('@').to_owned();
            functions
                .entry(version)
                .or_default()
                .insert(name.to_owned());
        }
    }
    needed.retain(|name| is_cuda(name.trim_start_matches("lib")));
    let stand_in = |soname: &String| {
        let version = versions.iter().find(|(_, file)| *file == soname);
        let version = version.map(|(version, _)| version.clone());
        let mut functions = functions
            .get(version.as_deref().unwrap_or_default())
            .cloned()
            .unwrap_or_default();
        if version.is_none() {
            // Nothing says which library a name without a version is from; any may define it.
            functions.retain(|name| is_cuda(name));
        }
        StandIn {
            soname: soname.clone(),
            version,
            functions,
        }
    };
    Ok(needed.iter().map(stand_in).collect())
}

/// Whether a library without its `lib`, or a function, is one of CUDA's.
fn is_cuda(name: &str) -> bool {
    ["cu", "nccl", "nv"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// The libraries that `readelf --dynamic` lists as needed.
fn needed_libraries(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    lines
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned()))
        .collect()
}

/// Versions of symbols with the library that they belong to, as `readelf --version-info` lists them.
fn version_files(text: &str) -> Vec<(String, String)> {
    let mut file = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let field = |key: &str| line.split_once(key)?.1.split_whitespace().next();
        if let Some(name) = field("File: ") {
            file = Some(name.to_owned());
        } else if let (Some(version), Some(file)) = (field("Name: "), &file) {
            found.push((version.to_owned(), file.clone()));
        }
    }
    found
}

/// Functions that a source of bindings declares: names behind `fn ` with one of these starts.
///
/// # Errors
///
/// When there is none.
pub(crate) fn declared(source: &str, start: &str) -> Result<BTreeSet<String>> {
    let names = source.split("fn ").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let name = &rest[..end];
        (rest[end..].trim_start().starts_with('(') && name.starts_with(start))
            .then(|| name.to_owned())
    });
    let names: BTreeSet<String> = names.collect();
    ensure!(!names.is_empty(), "no function `{start}…` is declared");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_needs_is_read_from_the_tools() {
        let dynamic = " 0x1 (NEEDED)  Shared library: [libcudart.so.13]\n 0xe (SONAME) Library soname: [liba.so]";
        assert_eq!(needed_libraries(dynamic), ["libcudart.so.13"]);
        let versions = "  000000: Version: 1  File: libnvshmem_host.so.3  Cnt: 1\n  \
            0x0010:   Name: NVSHMEM  Flags: none  Version: 9\n";
        assert_eq!(
            version_files(versions),
            [("NVSHMEM".to_owned(), "libnvshmem_host.so.3".to_owned())]
        );
    }

    #[test]
    fn declared_functions_are_found() {
        let source = "pub fn cuInit(flags: u32) -> R;\n pub unsafe fn cuFree (a: u8);\n fn other(); /// fn of cuX";
        let names = declared(source, "cu").unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["cuFree", "cuInit"]);
        assert!(declared(source, "nvrtc").is_err());
    }

    #[test]
    fn a_stand_in_defines_its_functions() {
        let stand_in = StandIn {
            soname: "liba.so.1".to_owned(),
            version: None,
            functions: ["cuA".to_owned()].into(),
        };
        assert_eq!(stand_in.source(), "long cuA(void) { return 100; }\n");
    }
}

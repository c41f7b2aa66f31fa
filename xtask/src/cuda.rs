//! `cargo xtask cuda-build`: the feature `cuda` compiled and linked on a machine with neither a GPU nor a CUDA toolkit.
//!
//! The compiler comes from NVIDIA's packages on PyPI.
//! What the linker asks for beyond these is replaced by stand-ins, which are never run: a program built here needs the real
//! libraries where it runs, from the driver (`libcuda.so.1`) and from a toolkit or the same packages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::python;
use crate::stand_in::{StandIn, declared};
use crate::workspace::{Workspace, cargo, output};

/// A library of CUDA 13: file to link with, name at run time, module of cudarc that declares its functions, their start.
const LIBRARIES: [[&str; 4]; 5] = [
    ["libcuda.so", "libcuda.so.1", "driver", "cu"],
    ["libcublas.so", "libcublas.so.13", "cublas", "cublas"],
    [
        "libcublasLt.so",
        "libcublasLt.so.13",
        "cublaslt",
        "cublasLt",
    ],
    ["libcurand.so", "libcurand.so.10", "curand", "curand"],
    ["libnvrtc.so", "libnvrtc.so.13", "nvrtc", "nvrtc"],
];
/// The packages whose examples are built.
const PACKAGES: [&str; 2] = ["phenocoder", "phenocoder-model"];

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    python: Option<String>,
    capability: String,
    full: bool,
    /// Arguments of cargo instead of check and build.
    cargo: Vec<String>,
}

impl Options {
    /// Reads the arguments behind `cuda-build`.
    ///
    /// # Errors
    ///
    /// When one is not known or has no value.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            python: None,
            capability: "90".to_owned(),
            full: false,
            cargo: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(&name) = arguments.next() {
            let mut value = || {
                let value = arguments.next().map(|value| (*value).to_owned());
                value.with_context(|| format!("`{name}` needs a value"))
            };
            match name {
                "--python" => options.python = Some(value()?),
                "--capability" => options.capability = value()?,
                "--full" => options.full = true,
                "--" => {
                    options.cargo = arguments.by_ref().map(|a| (*a).to_owned()).collect();
                    ensure!(
                        !options.cargo.is_empty(),
                        "`--` needs a cargo command behind it"
                    );
                }
                other => bail!("`cuda-build` has no argument `{other}`"),
            }
        }
        Ok(options)
    }
}

/// Installs, checks and builds; `true` when all of it worked.
///
/// # Errors
///
/// When something cannot be installed or started.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let folder = crate::check::target_folder(workspace)?.join("cuda");
    let requirements = workspace.root.join("scripts/cuda/requirements.txt");
    let toolkit = folder.join("toolkit");
    python::install(&toolkit, options.python.as_deref(), &requirements)?;
    let home = toolkit.join("nvidia/cu13");
    let features = PACKAGES.map(|package| format!("{package}/cuda")).join(",");
    let sources = cudarc(workspace, &features)?;
    prepare(&home, &sources, &workspace.root.join("scripts/cuda/nvcc"))?;
    let mut environment = vec![
        ("CUDA_HOME", home.display().to_string()),
        ("CUDA_COMPUTE_CAP", options.capability.clone()),
        // Else cudarc asks an nvcc on the search path.
        ("CUDARC_CUDA_VERSION", "13000".to_owned()),
    ];
    let nvcc = if options.full { "nvcc" } else { "nvcc-short" };
    environment.push(("NVCC", home.join("bin").join(nvcc).display().to_string()));
    if !has_driver() {
        // Programs start, find no GPU, and can compile kernels: enough for tests that skip the rest.
        let folders = [home.join("lib/stand-ins"), home.join("lib")];
        let folders = folders.map(|folder| folder.display().to_string());
        environment.push(("LD_LIBRARY_PATH", folders.join(":")));
    }
    for (name, value) in &environment {
        println!("{name}={value}");
    }
    let mut base = vec!["--release", "--locked", "--features", &features];
    base.extend(PACKAGES.iter().flat_map(|package| ["--package", package]));
    let runs: Vec<Vec<&str>> = match options.cargo.is_empty() {
        false => vec![options.cargo.iter().map(String::as_str).collect()],
        true => [
            &["check", "--lib", "--examples"][..],
            &["build", "--examples"],
        ]
        .map(|command| [command, &base].concat())
        .to_vec(),
    };
    for arguments in runs {
        println!("cargo {}", arguments.join(" "));
        let mut command = cargo(&workspace.root);
        command.args(&arguments).envs(environment.iter().cloned());
        if !command.status().context("cargo does not start")?.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts what the build looks for into the toolkit: stand-ins to link with, and the short compiler.
fn prepare(home: &Path, cudarc: &Path, short: &Path) -> Result<()> {
    // cudarc adds this folder to the linker's search when it exists.
    let stubs = home.join("lib/stubs");
    let stand_ins = home.join("lib/stand-ins");
    fs::create_dir_all(&stand_ins)?;
    for [file, soname, module, start] in LIBRARIES {
        let path = stubs.join(file);
        if !home.join("lib").join(soname).exists() {
            link(&format!("../stubs/{file}"), &stand_ins.join(soname))?;
        }
        if path.exists() {
            continue;
        }
        let source = cudarc.join(format!("src/{module}/sys/mod.rs"));
        let source = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        let library = StandIn {
            soname: soname.to_owned(),
            version: None,
            functions: declared(&source, start).with_context(|| module.to_owned())?,
        };
        library.build(&stubs, file)?;
        println!("stand-in {file}: {} functions", library.functions.len());
    }
    // The runtime registers kernels by names that no binding declares: the real one.
    link("../libcudart.so.13", &stubs.join("libcudart.so"))?;
    link("lib", &home.join("lib64"))?;
    let target = home.join("bin/nvcc-short");
    fs::copy(short, &target).with_context(|| target.display().to_string())?;
    Ok(())
}

/// Whether NVIDIA's driver is installed, which no stand-in may hide.
fn has_driver() -> bool {
    let listed = output(Command::new("ldconfig").arg("-p"));
    listed.is_ok_and(|text| text.contains("libcuda.so.1"))
}

fn link(target: &str, path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    symlink(target, path).with_context(|| path.display().to_string())
}

/// Where cargo keeps the sources of cudarc.
fn cudarc(workspace: &Workspace, features: &str) -> Result<PathBuf> {
    let mut command = cargo(&workspace.root);
    command.args(["metadata", "--format-version=1", "--locked"]);
    command.args(["--features", features]);
    let metadata: Value = serde_json::from_str(&output(&mut command)?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == "cudarc");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("candle does not depend on cudarc")?);
    Ok(manifest.parent().context("no folder")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = Options::parse(&["--capability", "80", "--full"]).unwrap();
        assert!(options.full && options.capability == "80" && options.cargo.is_empty());
        let options = Options::parse(&["--", "test", "-p", "phenocoder-model"]).unwrap();
        assert_eq!(options.cargo, ["test", "-p", "phenocoder-model"]);
        for wrong in [&["--capability"][..], &["--"], &["--fast"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! The chores of the workspace: `cargo xtask check` runs what CI runs, `cargo xtask tidy` what no compiler checks.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool talks on standard output"
)]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod check;
mod coverage;
mod cuda;
mod fuzz;
mod metadata;
mod miri;
mod peers;
mod python;
mod rooms;
mod scaling;
mod scan;
mod scripted;
mod stand_in;
mod tidy;
mod workspace;

use check::Options;
use workspace::Workspace;

const HELP: &str = "\
cargo xtask <command>

Commands:
  check    everything that must hold before a commit, the cheapest first:
           format, tidy, clippy (default features, none, each alone), documentation, examples
           --fast               leave out documentation and examples
           --skip-example NAME  do not run this example (may be repeated)
           --keep-going         run the later steps although an earlier one failed
  tidy     import edges, feature lists, file names and sizes, dependency table, licences, Rust version
  tables   writes anew what docs/ repeats of the sources: the list of modules in architecture.md, versions and
           users in dependencies.md
  miri     every kernel, forward and backward on tiny shapes, under Miri; needs the nightly toolchain with the components
           miri and rust-src
  fuzz     every fuzz target of phenocoder-io, one after the other, with counts; needs the nightly toolchain and cargo-fuzz
           --runs N           inputs per target
           --minutes N        time per target (1 when neither is given)
           --minimize         keep of the corpora what is needed for the same coverage
           TARGET...          these targets instead of all
  coverage the lines of the parsers in phenocoder-io that its tests run, 90 % at least; needs cargo-llvm-cov
  bench-peers  our training step and encoding beside PyTorch, Keras and stock candle, in turns; needs Linux, a C
           compiler and a Python 3.12 or 3.13, and installs the peers (2.9 GB) below target/
           --sides 32,128     sides of the patches
           --threads 1,2      numbers of threads
           --only NAMES       phenocoder, torch-nchw, torch-channels-last, keras-graph, keras-xla, stock-candle
           --rounds 9         turns of each contender
           --seconds 1        length of a turn
           --venv FOLDER      an environment with the peers, made when it is not there
           --python PATH      the Python to make it with
           --json FILE        every turn as JSON
  bench-io  reading images and opening stores beside zarr-python, tensorstore and spatialdata; needs Linux, a C
           compiler and a Python 3.12 or 3.13, and installs the peers (1.6 GB) below target/
           --rounds 3         turns of each contender
           --data FOLDER      where the stores are (600 MB), made when they are not there
           --venv FOLDER, --python PATH   as above
  bench-spatial  statistics of the neighbourhood graph beside squidpy; needs the same, and takes the same arguments
  bench-scaling  the same statistics for 10⁴ to 10⁷ cells, and UMAP of up to 10⁶: time, memory and docs/images/scaling.png;
           Linux, 12 GB of memory
           --largest CELLS    no more cells than these
           --only WORD        tasks with this word in their names, such as UMAP
  bench-embed  components, neighbours, UMAP and Leiden beside scikit-learn, pynndescent, bbknn, umap-learn, leidenalg and
           igraph; needs what bench-spatial needs, and a C++ compiler, and takes the same arguments
  cuda-build  checks and links the examples with the feature `cuda`, with NVIDIA's compiler from PyPI (489 MB below
           target/), without a GPU; needs Linux, a C compiler and Python with pip
           --capability 90    the GPU to compile for
           --full             also candle's kernels for quantised networks: eight processor minutes more
           --python PATH      the Python whose pip downloads
           -- COMMAND         run this cargo command with the same environment instead
  help     this text

What it checks, and why, stands in docs/architecture.md and CONTRIBUTING.md.";

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let good = match args.split_first() {
        Some((&"check", rest)) => {
            let options = Options::parse(rest)?;
            check::run(&Workspace::load()?, &options)?
        }
        Some((&"tidy", [])) => tidy::print(&Workspace::load()?)?,
        Some((&"tables", [])) => {
            let workspace = Workspace::load()?;
            rooms::write(&workspace)?;
            tidy::write_dependencies(&workspace)?;
            true
        }
        Some((&"miri", [])) => miri::run(&Workspace::load()?)?,
        Some((&"coverage", [])) => coverage::run(&Workspace::load()?)?,
        Some((&"fuzz", rest)) => fuzz::run(&Workspace::load()?, &fuzz::Options::parse(rest)?)?,
        Some((&"bench-peers", rest)) => {
            let options = peers::Options::parse(rest)?;
            peers::run(&Workspace::load()?, &options)?
        }
        Some((&"bench-scaling", rest)) => {
            let options = scaling::Options::parse(rest)?;
            scaling::run(&Workspace::load()?, &options)?
        }
        Some((&"cuda-build", rest)) => {
            let options = cuda::Options::parse(rest)?;
            cuda::run(&Workspace::load()?, &options)?
        }
        Some((&("help" | "--help" | "-h"), _)) | None => {
            println!("{HELP}");
            true
        }
        Some((&other, rest)) => match scripted::Bench::of_command(other) {
            Some(bench) => {
                let options = scripted::Options::parse(bench, rest)?;
                scripted::run(&Workspace::load()?, &options)?
            }
            None => {
                bail!("`{other}` is no command, or has no such argument\n\n{HELP}")
            }
        },
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

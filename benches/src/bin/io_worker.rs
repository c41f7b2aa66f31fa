//! Our part of `benches/peers/io.py`: does one task and prints seconds, CPU seconds, a sum and resident megabytes.

#![allow(clippy::print_stdout, reason = "the answer")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use phenocoder_benches::watch::{Watch, peak_megabytes};
use phenocoder_core::{ImageRegion, ImageSource};
use phenocoder_io::{OpenOptions, Store};

const SIDE: u64 = 8_192;
const WINDOW: u64 = 64;
const WINDOWS: usize = 2_000;
const CACHE_BYTES: usize = 256_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, folder] = arguments.as_slice() else {
        bail!("expected TASK FOLDER");
    };
    let folder = PathBuf::from(folder);
    let (wall, cpu, sum) = match task.as_str() {
        "floor" => floor(&folder, false)?,
        "floor-kept" => floor(&folder, true)?,
        "open" => open(&folder)?,
        task => read(&folder, task)?,
    };
    println!("[{wall}, {cpu}, {sum}, {}]", peak_megabytes()?);
    Ok(())
}

/// The same windows as in io.py.
fn windows(channels: usize) -> Vec<ImageRegion> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % (SIDE - WINDOW + 1)) as usize
    };
    let side = WINDOW as usize;
    (0..WINDOWS)
        .map(|_| {
            let (y, x) = (next(), next());
            ImageRegion {
                c: 0..channels,
                z: 0..1,
                y: y..y + side,
                x: x..x + side,
            }
        })
        .collect()
}

fn read(folder: &Path, task: &str) -> Result<(f64, f64, u64)> {
    let options = OpenOptions::default().with_cache_bytes(CACHE_BYTES);
    let store = Store::open_with(folder.join("image.zarr"), options)?;
    let image = store.image("image")?;
    let windows = windows(image.shape().c);
    let size = |region: &ImageRegion| region.checked_len().unwrap_or(0);
    let total = |pixels: &[u16]| -> u64 { pixels.iter().map(|&pixel| u64::from(pixel)).sum() };
    let mut sum = 0;
    let watch = Watch::start()?;
    let parts: Vec<Vec<u16>> = match task {
        "full" => {
            let region = image.shape().region();
            let mut out = vec![0; size(&region)];
            image.read_typed(&region, &mut out)?;
            vec![out]
        }
        "windows-at-once" => {
            let mut out: Vec<Vec<u16>> = windows.iter().map(|w| vec![0; size(w)]).collect();
            image.read_regions_typed(&windows, &mut out)?;
            out
        }
        "windows-one-by-one" => {
            let mut out = Vec::new();
            for window in &windows {
                out.resize(size(window), 0);
                image.read_typed(window, &mut out)?;
                sum += total(&out);
            }
            Vec::new()
        }
        other => bail!("unknown task `{other}`"),
    };
    sum += parts.iter().map(|part| total(part)).sum::<u64>();
    let (wall, cpu) = watch.stop()?;
    Ok((wall, cpu, sum))
}

/// Reads every chunk file and decompresses it, one after the other on one thread.
///
/// Without `keep` into the same 2 MiB again and again: what no reader can do without.
/// With `keep` into memory for the whole image, which is then summed: what everyone who wants the pixels has to do.
fn floor(folder: &Path, keep: bool) -> Result<(f64, f64, u64)> {
    const CHUNK: usize = 2 << 20;
    let files = chunk_files(&folder.join("image.zarr/images/image/s0/c"))?;
    let watch = Watch::start()?;
    let mut context = zstd::bulk::Decompressor::new()?;
    let mut out = vec![0_u8; if keep { CHUNK * files.len() } else { CHUNK }];
    let mut sum = 0;
    for (at, file) in files.iter().enumerate() {
        let from = if keep { at * CHUNK } else { 0 };
        let chunk = &mut out[from..from + CHUNK];
        let found = context.decompress_to_buffer(&fs::read(file)?, chunk)?;
        ensure!(found == CHUNK, "{}: {found} bytes", file.display());
        if !keep {
            sum += found as u64;
        }
    }
    if keep {
        let pixel = |bytes: &[u8; 2]| u64::from(u16::from_le_bytes(*bytes));
        sum = out.as_chunks::<2>().0.iter().map(pixel).sum();
    }
    let (wall, cpu) = watch.stop()?;
    Ok((wall, cpu, sum))
}

/// All files below a folder, in order.
fn chunk_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(chunk_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Opens the store and every element, as `spatialdata.read_zarr` does.
fn open(folder: &Path) -> Result<(f64, f64, u64)> {
    let watch = Watch::start()?;
    let store = Store::open(folder.join("many.zarr"))?;
    let mut count = 0;
    for name in store.image_names() {
        store.image(&name)?;
        count += 1;
    }
    for name in store.label_names() {
        store.labels(&name)?;
        count += 1;
    }
    let (wall, cpu) = watch.stop()?;
    Ok((wall, cpu, count))
}

//! CPU seconds of one epoch over the real store: reading alone, from a patch set and from the images, and training.
//!
//! It prints a table of its own, for what counts is the time of all threads together, which a wall clock does not show.
//! Without the real store (`shared/data`) it takes synthetic tissue.

#![allow(clippy::unwrap_used, reason = "the data is valid")]
#![expect(clippy::print_stdout, reason = "the table")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Array2;
use phenocoder::core::{
    Cells, Column, Coords, NoProgress, PatchBatch, PatchOrder, PatchSource, Seed, Shuffled,
    SourceError, Unit,
};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::{PatchSet, Store};
use phenocoder::model::train::{FitConfig, fit};
use phenocoder::model::{Cvae, CvaeConfig};
use phenocoder::patches::{BorderPolicy, Images, SetSource, StoreSource, select_cells};
use phenocoder::pipeline::{DatasetConfig, DatasetManifest, StoreKeys, generate_dataset};
use phenocoder_benches::SEED;
use phenocoder_benches::peers::BATCH;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (store, keys) = store(folder.path());
    let mut config = DatasetConfig::new(keys, 32);
    config.patch.border = BorderPolicy::DropCompat;
    let path = folder.path().join("patches.zarr");
    generate_dataset(&store, &config, &path, &NoProgress).unwrap();

    let set = set_source(&path);
    let order = Shuffled.order(set.len(), SEED).unwrap();
    println!("{} patches, batches of {BATCH}", set.len());
    report("patch set, shuffled", 5, || read(&set, &order));
    let images = image_source(&store, &config, &path);
    let along = images.reading_order();
    report("images, as they lie", 3, || read(&images, &along));
    report("images, shuffled", 1, || read(&images, &order));
    let memory = set.read(&(0..set.len()).collect::<Vec<_>>()).unwrap();
    report("memory, shuffled", 5, || read(&memory, &order));
    report("training from memory", 2, || train(&memory));
    report("training from the patch set", 2, || train(&set));
    report("training from the images", 1, || train(&images));
}

fn store(folder: &Path) -> (Store, StoreKeys) {
    if let Some(path) = phenocoder_testdata::find("organoid/store.zarr") {
        let keys = StoreKeys::new("nuclei_features", "well", "IF");
        return (Store::open(path).unwrap(), keys);
    }
    let path = folder.join("store.zarr");
    let config = TissueConfig::default().with_cells_per_sample(400);
    let keys = write_tissue(&path, &config, &NoProgress).unwrap().keys;
    (Store::open(&path).unwrap(), keys)
}

fn set_source(path: &Path) -> impl PatchSource {
    let set = PatchSet::open(path).unwrap();
    let (shape, n) = (set.shape(), set.len());
    let reader = move |patches: &[usize]| {
        set.read_channels_last(patches)
            .map_err(|error| SourceError::new("patch set", error))
    };
    SetSource::channels_last(shape, Array2::zeros((n, 0)), reader)
}

/// The same patches, from the images.
fn image_source(store: &Store, config: &DatasetConfig, set: &Path) -> StoreSource {
    let manifest = DatasetManifest::read(&PatchSet::open(set).unwrap()).unwrap();
    let table = store.table(&config.keys.table).unwrap();
    let samples = table
        .obs_column(&config.keys.sample_key)
        .unwrap()
        .to_categorical();
    let positions = table.obsm(&config.keys.spatial_index_key).unwrap();
    // `(y, x, z)` or `(y, x)`.
    let axes: &[usize] = if positions.ncols() == 3 {
        &[2, 0, 1]
    } else {
        &[0, 1]
    };
    let positions = positions.select(ndarray::Axis(1), axes);
    let n = samples.len() as i64;
    let images: Images = samples
        .categories()
        .iter()
        .map(|sample| {
            let image = store.image(&config.keys.image_of(sample)).unwrap();
            (sample.clone(), Arc::new(image) as _)
        })
        .collect();
    let cells = Cells::new(
        Column::Int((0..n).collect()),
        samples,
        Coords::new(positions, Unit::Pixel).unwrap(),
    )
    .unwrap();
    let selection = select_cells(&images, &cells, &config.patch).unwrap();
    let conditions = Array2::zeros((selection.len(), 0));
    StoreSource::new(images, None, selection, manifest.scaling, conditions).unwrap()
}

fn read(source: &dyn PatchSource, order: &[usize]) {
    for batch in order.chunks(BATCH) {
        let batch: PatchBatch = source.read(batch).unwrap();
        assert!(!batch.is_empty());
    }
}

fn train(source: &dyn PatchSource) {
    let config = CvaeConfig::new(source.shape(), 32);
    let mut model: Cvae = config
        .build(Seed::new(1), &candle_core::Device::Cpu)
        .unwrap();
    let settings = FitConfig::new().with_epochs(1).with_batch_size(BATCH);
    fit(&mut model, source, None, &settings, &mut [], &NoProgress).unwrap();
}

/// Prints the mean CPU and wall time of some runs.
fn report(what: &str, runs: u32, run: impl Fn()) {
    run();
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    (0..runs).for_each(|_| run());
    let mean = |seconds: f64| seconds / f64::from(runs);
    let (cpu, wall) = (
        mean(cpu_seconds() - cpu),
        mean(wall.elapsed().as_secs_f64()),
    );
    println!("{what:30} {cpu:7.3} CPU-s {wall:7.3} s");
}

/// The CPU time of this process with all its threads, also those that ended, in Linux's hundredths of a second; no
/// number elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, in brackets, may hold blanks; user and system time are the 14th and 15th.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse().ok())
        .collect();
    match ticks[..] {
        [user, system] => (user + system) / 100.0,
        _ => f64::NAN,
    }
}

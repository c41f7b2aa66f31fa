//! Tissue and settings that are small enough for tests.

use std::path::{Path, PathBuf};

use phenocoder::core::{NoProgress, Seed};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::Store;
use phenocoder::model::DeviceChoice;
use phenocoder::model::train::FitConfig;
use phenocoder::pipeline::{PipelineConfig, StoreKeys};

/// Does something on as many threads.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(work)
}

/// Eight samples of 40 cells.
pub(crate) fn tissue(folder: &Path) -> (PathBuf, StoreKeys) {
    let path = folder.join("store.zarr");
    let config = TissueConfig::default()
        .with_cells_per_sample(40)
        .with_samples_per_group(2);
    let report = write_tissue(&path, &config, &NoProgress).unwrap();
    assert_eq!(report.cells, 320);
    (path, report.keys)
}

/// Two epochs of a small network on 16 × 16 patches.
pub(crate) fn config(keys: StoreKeys) -> PipelineConfig {
    let mut config = PipelineConfig::new(keys);
    config.dataset.patch.height = 16;
    config.dataset.patch.width = 16;
    config.train = config
        .train
        .with_conv_layers([4, 8])
        .with_latent_dim(4)
        .with_dense_dim(16)
        .with_device(DeviceChoice::Cpu)
        .with_fit(FitConfig::new().with_epochs(2).with_batch_size(32));
    config.samples.statistics.radii = vec![15.0];
    config.samples = config.samples.with_obs_keys(["condition", "batch"]);
    config.with_seed(Seed::new(5))
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path).unwrap()
}

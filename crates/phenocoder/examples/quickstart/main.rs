//! The main job, from images to a map of samples.
//!
//! Without arguments it makes synthetic tissue in a temporary folder, runs all six steps and compares what it found with
//! the truth: the Leiden clusters of the latents against the cell types, the map of samples against the two conditions.
//! With `--store` it does the same to a store of yours.
//! Ctrl-C ends it after the piece of work at hand; what is written by then is whole, and `--resume` goes on from there once the
//! store is made.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use phenocoder::core::{CancelToken, Progress, Seed};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::embed::cluster::LeidenConfig;
use phenocoder::io::{Store, copy_store};
use phenocoder::model::train::FitConfig;
use phenocoder::patches::SplitConfig;
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{
    Checkpoints, CoordinateOrder, PipelineConfig, RunFiles, StoreKeys, run,
};
use phenocoder::progress::Bars;
use phenocoder::report::{ReportConfig, write_report_and_figures};
use phenocoder::spatial::subunits::SubunitConfig;

/// A table with more variables than this is not lent to Moran's I.
const FEW_VARIABLES: usize = 100;

/// Learns what the cells of a SpatialData store look like and how those looks are arranged.
#[derive(Debug, Parser)]
#[command(name = "quickstart", max_term_width = 100)]
struct Arguments {
    /// The SpatialData-Zarr store; without it, synthetic tissue is made.
    #[arg(long, requires_all = ["table", "sample_key", "image_key"])]
    store: Option<PathBuf>,
    /// Where results go; without it, a new temporary folder that is kept.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped in `--out`; the other arguments must be those it was begun with.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Write the tables into the store itself instead of a copy of it.
    #[arg(long, requires = "store")]
    in_place: bool,

    /// The table with one row per cell.
    #[arg(long)]
    table: Option<String>,
    /// The column of `obs` that names the sample of a cell.
    #[arg(long)]
    sample_key: Option<String>,
    /// Images are the elements `{image_key}_{sample}`.
    #[arg(long)]
    image_key: Option<String>,
    /// Masks are the elements `{labels_key}_{sample}`; needed for `--mask-neighbors` only.
    #[arg(long)]
    labels_key: Option<String>,
    /// The entry of `obsm` with coordinates in the unit of the radii.
    #[arg(long, default_value = "spatial")]
    spatial_key: String,
    /// The entry of `obsm` with pixel coordinates.
    #[arg(long, default_value = "spatial_index")]
    spatial_index_key: String,
    /// The order of the columns of both: yxz, xyz or zyx.
    #[arg(long, default_value = "yxz")]
    order: CoordinateOrder,
    /// The column of `obs` whose labels the statistics compare; without it, the clusters found.
    #[arg(long)]
    cluster_key: Option<String>,
    /// A column of `obs` to compare the clusters with.
    #[arg(long)]
    truth_key: Option<String>,
    /// A column of `obs`, constant in a sample, that the map of samples is coloured by.
    #[arg(long)]
    condition_key: Option<String>,
    /// A column of `obs`, constant in a sample, whose effect is removed from the map of samples.
    #[arg(long)]
    batch_key: Option<String>,

    /// Rows and columns of a patch, in pixels.
    #[arg(long, default_value_t = 32)]
    patch_size: usize,
    /// Hide what belongs to other cells of the mask.
    #[arg(long, requires = "labels_key")]
    mask_neighbors: bool,
    /// Leave out, and count, cells outside their image or without position; without this they are an error.
    #[arg(long)]
    drop_invalid: bool,
    /// The column of `obs`, or variable of `X`, with each cell's value in the mask [default: the instance key]
    #[arg(long, requires = "mask_neighbors")]
    mask_column: Option<String>,
    /// Latent dimensions [default: 32, for synthetic tissue 16]
    #[arg(long)]
    latent: Option<usize>,
    /// Width of the dense layers.
    #[arg(long, default_value_t = 64)]
    dense: usize,
    /// Filters of the convolutions, from the image inwards [default: 8,16,32,64,128, for synthetic tissue 8,16,32]
    #[arg(long, value_delimiter = ',')]
    conv_layers: Option<Vec<usize>>,
    /// What the network is told and need not learn: `dataset`, `z` or columns of `obs`.
    #[arg(long, value_delimiter = ',')]
    conditions: Vec<String>,
    /// Weight of the Kullback–Leibler term.
    #[arg(long, default_value_t = 0.01)]
    beta: f64,
    /// Share of units dropped in training.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Epochs at most [default: 30, for synthetic tissue 20]
    #[arg(long)]
    epochs: Option<usize>,
    /// Patches of a batch.
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Share of the samples that is held out to watch the training; 0 trains on all.
    #[arg(long, default_value_t = 0.2)]
    validation: f64,

    /// Neighbourhood radii, in the unit of `--spatial-key`.
    #[arg(long, value_delimiter = ',', default_value = "25,50")]
    radii: Vec<f64>,
    /// Also describe cubes of this side, and map them instead of the samples.
    #[arg(long)]
    subunit_size: Option<f64>,
    /// The fewest cells of a cube that is described.
    #[arg(long, default_value_t = 10)]
    min_cells: usize,
    /// Resolution of the clusters of cells: higher finds more [default: 0.3, for synthetic tissue 0.05]
    #[arg(long)]
    resolution: Option<f64>,

    /// Where chance comes from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Show no progress bars.
    #[arg(long)]
    quiet: bool,
}

impl Arguments {
    /// The store to work on: the user's own, a copy of it, or new synthetic tissue.
    fn prepare(&mut self, out: &Path, progress: &dyn Progress) -> anyhow::Result<Store> {
        let begun = RunFiles::new(out).config;
        let path = match &self.store {
            Some(path) if self.in_place => path.clone(),
            // The settings are written when the store is there.
            store if begun.exists() => {
                if store.is_none() {
                    let config: PipelineConfig = serde_json::from_slice(&std::fs::read(begun)?)?;
                    self.describe_synthetic(config.dataset.keys);
                }
                out.join("store.zarr")
            }
            Some(path) => {
                let copy = out.join("store.zarr");
                copy_store(path, &copy, progress)?;
                copy
            }
            None => {
                let path = out.join("store.zarr");
                let tissue = TissueConfig::default().with_seed(Seed::new(self.seed));
                let keys = write_tissue(&path, &tissue, progress)?.keys;
                self.describe_synthetic(keys);
                path
            }
        };
        Ok(Store::open(path)?)
    }

    /// The configuration of all six steps.
    fn config(&self, store: &Store) -> anyhow::Result<PipelineConfig> {
        let name = |key: &Option<String>| key.clone().context("a key is missing");
        let mut keys = StoreKeys::new(
            name(&self.table)?,
            name(&self.sample_key)?,
            name(&self.image_key)?,
        )
        .with_spatial_key(&self.spatial_key)
        .with_spatial_index_key(&self.spatial_index_key)
        .with_order(self.order);
        if let Some(labels) = &self.labels_key {
            keys = keys.with_labels_key(labels);
        }
        let mut config = PipelineConfig::new(keys);
        // A table with measurements of its own lends them to Moran's I; thousands of genes would take long.
        let table = config.dataset.keys.table.clone();
        if let Some(key) = self.truth_key.as_ref().or(self.cluster_key.as_ref()) {
            store.table(&table)?.obs_column(key)?;
        }
        if (1..=FEW_VARIABLES).contains(&store.table(&table)?.n_vars()) {
            let encoded = config.encode.table.clone();
            config.samples = config.samples.with_feature_tables([table, encoded]);
        }
        Ok(self.configure(config))
    }

    /// The columns that hold the truth of synthetic tissue, and settings that suit its small size.
    fn describe_synthetic(&mut self, keys: StoreKeys) {
        self.table = Some(keys.table);
        self.sample_key = Some(keys.sample_key);
        self.image_key = Some(keys.image_key);
        self.labels_key = keys.labels_key;
        self.truth_key = Some("true_type".to_owned());
        self.condition_key = Some("condition".to_owned());
        self.batch_key = Some("batch".to_owned());
        self.mask_neighbors = true;
        self.latent.get_or_insert(16);
        self.conv_layers.get_or_insert_with(|| vec![8, 16, 32]);
        self.epochs.get_or_insert(20);
        self.resolution.get_or_insert(0.05);
    }

    /// Everything but the keys.
    fn configure(&self, mut config: PipelineConfig) -> PipelineConfig {
        let metadata: Vec<&String> = self
            .conditions
            .iter()
            .filter(|name| !matches!(name.as_str(), "dataset" | "z"))
            .collect();
        config.dataset.patch.height = self.patch_size;
        config.dataset.patch.width = self.patch_size;
        config.dataset.patch.mask_neighbors = self.mask_neighbors;
        config
            .dataset
            .patch
            .mask_column
            .clone_from(&self.mask_column);
        config.dataset = config.dataset.with_metadata_keys(metadata);
        let split = (self.validation > 0.0).then(|| {
            SplitConfig::default()
                .with_fraction(1.0 - self.validation)
                .with_fallback_to_patches()
        });
        let fit = FitConfig::new()
            .with_epochs(self.epochs.unwrap_or(30))
            .with_batch_size(self.batch_size);
        config.train = config
            .train
            .with_conditions(&self.conditions)
            .with_split(split)
            .with_conv_layers(
                self.conv_layers
                    .clone()
                    .unwrap_or_else(|| vec![8, 16, 32, 64, 128]),
            )
            .with_latent_dim(self.latent.unwrap_or(32))
            .with_dense_dim(self.dense)
            .with_dropout(self.dropout)
            .with_beta(self.beta)
            .with_checkpoints(Checkpoints::Resume)
            .with_fit(fit);
        let leiden = LeidenConfig::default().with_resolution(self.resolution.unwrap_or(0.3));
        config.cluster.graph = config.cluster.graph.with_leiden(Some(leiden));

        config.samples.statistics.radii.clone_from(&self.radii);
        if let Some(label) = &self.cluster_key {
            config.samples.label_key.clone_from(label);
        }
        let copied = [&self.condition_key, &self.batch_key];
        config.samples = config.samples.with_obs_keys(copied.into_iter().flatten());
        config.embedding.batch_key.clone_from(&self.batch_key);
        if self.batch_key.is_some() {
            config.embedding.confounder_keys = self.condition_key.iter().cloned().collect();
        }
        if let Some(size) = self.subunit_size {
            let subunits = SubunitConfig::new(size).with_min_obs(self.min_cells);
            config = config.with_subunits(subunits);
        }
        if self.drop_invalid {
            config = config.with_invalid_dropped();
        }
        config.with_seed(Seed::new(self.seed))
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    let stop = CancelToken::new();
    let (thrown, bars) = (stop.clone(), Bars::with_cancel(stop.clone()));
    ctrlc::set_handler(move || thrown.cancel())?;
    let progress: &dyn Progress = if arguments.quiet { &stop } else { &bars };
    let start = Instant::now();

    let out = output_folder(arguments.out.as_deref(), arguments.resume)?;
    let mut store = arguments.prepare(&out, progress)?;
    let config = arguments.config(&store)?;
    let files = RunFiles::new(&out);
    let report = match arguments.resume && files.report.exists() {
        // The six steps were done before; the pictures are drawn again.
        true => serde_json::from_slice(&std::fs::read(&files.report)?)?,
        false => run(&mut store, &config, &out, progress).map_err(|error| {
            let error = anyhow::Error::new(error);
            match stop.is_cancelled() {
                true => error.context(format!(
                    "stopped; the same command with `--out {} --resume` goes on",
                    out.display()
                )),
                false => error,
            }
        })?,
    };
    let figures = FigureConfig::new()
        .with_truth_key(
            arguments
                .truth_key
                .clone()
                .or_else(|| arguments.cluster_key.clone()),
        )
        .with_condition_key(arguments.condition_key.clone())
        .with_batch_key(arguments.batch_key.clone());
    report::steps(&report);
    println!();
    println!("store      {}", store.address());
    println!("model      {}", files.model.display());
    println!("statistics {}", files.samples.display());
    println!("training   tensorboard --logdir {}", files.logs.display());
    let name = arguments.store.as_deref().and_then(Path::file_stem);
    let title = name.map_or("Synthetic tissue".into(), |name| name.to_string_lossy());
    let page = ReportConfig::new()
        .with_title(title)
        .with_figures(figures.clone())
        .with_seed(Seed::new(arguments.seed));
    let pictures = out.join("figures");
    let (page, drawn) =
        write_report_and_figures(&store, &config, &report, &files, &page, &pictures, progress)?;
    for picture in drawn.paths {
        println!("picture    {}", picture.display());
    }
    for missing in drawn.missing {
        println!("no picture {}: {}", missing.name, missing.why);
    }
    let megabytes = page.bytes as f64 / 1e6;
    println!("page       {} ({megabytes:.1} MB)", page.path.display());
    println!();
    report::compare(&store, &config, &report, &figures)?;
    println!("{:.0} seconds", start.elapsed().as_secs_f64());
    Ok(())
}

/// The folder for the results: the one asked for, which must be empty or hold a run to go on with, or a new temporary one.
fn output_folder(asked: Option<&Path>, resume: bool) -> anyhow::Result<PathBuf> {
    let Some(out) = asked else {
        return Ok(tempfile::Builder::new()
            .prefix("phenocoder-")
            .tempdir()?
            .keep());
    };
    let goes_on = resume && RunFiles::new(out).config.exists();
    if !goes_on && out.is_dir() && out.read_dir()?.next().is_some() {
        bail!(
            "`{}` is not empty{}: name a new folder with --out",
            out.display(),
            if resume {
                " and holds no run that has begun"
            } else {
                ""
            }
        );
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    Ok(out.to_owned())
}

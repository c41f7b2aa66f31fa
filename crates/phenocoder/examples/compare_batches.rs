//! Which correction takes a batch effect from cells and leaves their types apart?
//!
//! Without arguments it makes synthetic tissue of which half was stained otherwise, scales all samples alike so that the
//! difference stays, trains a small network, and measures its latents without correction and after each one.
//! The program fails when a correction mixes the batches too little or the types too much.
//! With `--store` it measures a table of yours, which is only read, and fails for nothing.
//! Of a table of samples that was corrected already, it takes what was before that; cells without batch or label are left
//! out of everything, and counted.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser;
use ndarray::Axis;
use phenocoder::core::{Categorical, Column, NoProgress, Seed};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::embed::batch::{BatchEffect, CombatConfig, HarmonyConfig};
use phenocoder::embed::evaluate::labels_of;
use phenocoder::embed::evaluate::mixing::{
    BatchReport, BatchReportConfig, LisiConfig, graph_connectivity, integration_lisi, kbet,
    label_lisi,
};
use phenocoder::embed::knn::{Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors};
use phenocoder::embed::umap::UmapConfig;
use phenocoder::io::{ContainerVersion, Store, TableData, WriteMode};
use phenocoder::model::DeviceChoice;
use phenocoder::model::train::FitConfig;
use phenocoder::patches::ScalingMode;
use phenocoder::pipeline::{
    BatchCorrection, ClusterConfig, EvaluationConfig, GraphConfig, NeighborRows, PipelineConfig,
    Representation, SCALED_LAYER, cluster_cells, encode, evaluate_batches, fit, generate_dataset,
};

/// What a correction must add to iLISI, at least.
const GAIN: f64 = 0.1;
/// What it may take from cLISI, at most.
const LOSS: f64 = 0.02;

/// Compares corrections of batch effects.
#[derive(Debug, Parser)]
#[command(name = "compare_batches", max_term_width = 100)]
struct Arguments {
    /// A store with a table whose matrix is corrected; without it, synthetic tissue is made.
    #[arg(long)]
    store: Option<PathBuf>,
    /// The table.
    #[arg(long, default_value = "phenocoder")]
    table: String,
    /// The column of `obs` with the batches.
    #[arg(long, default_value = "batch")]
    batch_key: String,
    /// The column of `obs` with what must stay apart.
    #[arg(long, default_value = "true_type")]
    label_key: String,
    /// Principal components to reduce to; without it, the matrix is taken as it is.
    #[arg(long)]
    components: Option<usize>,

    /// Synthetic samples of each condition in each batch.
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Cells of each synthetic sample.
    #[arg(long, default_value_t = 2400)]
    cells: usize,
    /// How much the second synthetic batch differs from the first.
    #[arg(long, default_value_t = 0.4)]
    strength: f64,
    /// Latents of the network.
    #[arg(long, default_value_t = 8)]
    latents: usize,
    /// Epochs of the training.
    #[arg(long, default_value_t = 15)]
    epochs: usize,
    /// The source of all chance.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Measures of one way to correct; some cannot be taken of lists of neighbours.
struct Row {
    name: &'static str,
    integration_lisi: f64,
    label_lisi: f64,
    kbet: f64,
    connectivity: f64,
    silhouettes: Option<[f64; 2]>,
    batch_variance: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let (store, origin) = match &arguments.store {
        Some(path) => arguments.copy_table(path, folder.path())?,
        None => (arguments.encode_tissue(folder.path())?, "X".to_owned()),
    };
    let mut comparison = Comparison { store, arguments };
    let groups = comparison.rows()?;
    println!("{}", comparison.heading(&origin)?);
    println!(
        "| correction | iLISI | kBET | silhouette by batch | variance between batches | cLISI | silhouette by label | connectivity |"
    );
    println!("|---|{}", "---:|".repeat(7));
    for row in groups.iter().flatten() {
        row.print();
    }
    if comparison.arguments.store.is_none() {
        for group in &groups {
            check(group)?;
        }
        println!(
            "\nEach correction adds at least {GAIN} to the iLISI of what it begins with, and takes at most {LOSS} from its cLISI."
        );
    }
    Ok(())
}

/// Every row but the first mixes batches better than the first, and labels no more.
fn check(group: &[Row]) -> anyhow::Result<()> {
    let (before, corrected) = group.split_first().context("a row without correction")?;
    for after in corrected {
        let name = after.name;
        let gain = after.integration_lisi - before.integration_lisi;
        ensure!(gain >= GAIN, "{name}: iLISI changes by {gain:.3} only");
        let loss = before.label_lisi - after.label_lisi;
        ensure!(loss <= LOSS, "{name}: cLISI falls by {loss:.3}");
    }
    Ok(())
}

impl Arguments {
    /// Copies what is measured into a store of its own: the matrix, the batches and the labels of all rows that have both.
    ///
    /// Returns the store, and in words what was copied.
    fn copy_table(&self, path: &Path, folder: &Path) -> anyhow::Result<(Store, String)> {
        let table = Store::open(path)?.table(&self.table)?;
        let (batch_key, label_key) = (&self.batch_key, &self.label_key);
        let batches = table.obs_column(batch_key)?.to_categorical();
        let labels = table.obs_column(label_key)?.to_categorical();
        let rows: Vec<usize> = (0..table.n_obs())
            .filter(|&row| batches.code(row).is_some() && labels.code(row).is_some())
            .collect();
        let n = table.n_obs() - rows.len();
        ensure!(
            !rows.is_empty(),
            "no row has a `{batch_key}` and a `{label_key}`"
        );

        // Of samples, a correction of columns leaves its result in X.
        let is_corrected = table.layers()?.iter().any(|name| name == SCALED_LAYER);
        let (matrix, mut origin) = match is_corrected {
            true => (
                table.layer(SCALED_LAYER)?,
                format!("layers/{SCALED_LAYER}, for X is corrected"),
            ),
            false => (table.x()?.context("no X")?, "X".to_owned()),
        };
        if n > 0 {
            origin += &format!("; {n} rows without `{batch_key}` or `{label_key}` are left out");
        }
        let matrix = matrix.to_dense_f64()?.select(Axis(0), &rows);
        let names = table.obs_names()?;
        let names = rows.iter().map(|&row| names[row].clone()).collect();
        let mut data = TableData::new(names, table.var_names()?, Some(matrix.into()));
        for (key, labels) in [(batch_key, batches), (label_key, labels)] {
            data = data.with_obs_column(key, Column::Categorical(labels.select(&rows)))?;
        }
        let mut store = Store::create(folder.join("store.zarr"), ContainerVersion::V02)?;
        store.write_table(&self.table, &data, WriteMode::Create)?;
        Ok((store, origin))
    }

    /// Makes synthetic tissue and the latents of its cells.
    fn encode_tissue(&self, folder: &Path) -> anyhow::Result<Store> {
        let seed = Seed::new(self.seed);
        let tissue = TissueConfig::default()
            .with_samples_per_group(self.samples)
            .with_cells_per_sample(self.cells)
            .with_batch_strength(self.strength)
            .with_seed(seed);
        let path = folder.join("store.zarr");
        let keys = write_tissue(&path, &tissue, &NoProgress)?.keys;
        let mut config = PipelineConfig::new(keys);
        // Scaled one by one, samples would lose most of the difference before the network sees them.
        config.dataset = config.dataset.with_scaling(ScalingMode::Global);
        config.dataset.patch.mask_neighbors = true;
        let training = FitConfig::new()
            .with_epochs(self.epochs)
            .with_batch_size(64);
        config.train = config
            .train
            .with_conv_layers([8, 16, 32])
            .with_latent_dim(self.latents)
            .with_dense_dim(64)
            .with_dropout(0.0)
            .with_split(None)
            .with_device(DeviceChoice::Cpu)
            .with_fit(training);
        config.encode = config.encode.with_table(&self.table);
        let config = config.with_seed(seed);
        let mut store = Store::open(&path)?;
        let patches = folder.join("patches.zarr");
        let model = folder.join("model.safetensors");
        generate_dataset(&store, &config.dataset, &patches, &NoProgress)?;
        fit(&[&patches], &config.train, &model, None, &NoProgress)?;
        encode(&mut store, &model, &config.encode, &NoProgress)?;
        Ok(store)
    }

    /// What neighbours are searched in, and how.
    fn config(&self, correction: BatchCorrection) -> ClusterConfig {
        ClusterConfig::default()
            .with_table(&self.table)
            .with_batch_key(Some(self.batch_key.clone()))
            .with_n_components(self.components)
            .with_correction(correction)
            // No groups are made; those of the table stay.
            .with_column("compare_batches")
    }
}

/// A table that is corrected in one way after another.
struct Comparison {
    store: Store,
    arguments: Arguments,
}

impl Comparison {
    /// Groups of rows, each with one without correction at its beginning.
    fn rows(&mut self) -> anyhow::Result<[Vec<Row>; 3]> {
        let corrections = [
            ("none", BatchCorrection::None),
            ("ridge", BatchCorrection::Ridge { alpha: 1.0 }),
            ("ComBat", BatchCorrection::Combat(CombatConfig::default())),
            ("centring", BatchCorrection::Center(BatchEffect::Mean)),
            (
                "Harmony",
                BatchCorrection::Harmony(
                    HarmonyConfig::default().with_seed(Seed::new(self.arguments.seed)),
                ),
            ),
        ];
        let mut corrected = Vec::new();
        for (name, correction) in corrections {
            corrected.push(self.corrected(name, correction)?);
        }
        let lists = vec![
            self.list("lists of nearest neighbours", false)?,
            self.list("lists of batch-balanced neighbours", true)?,
        ];
        let maps = vec![
            self.map("map of nearest neighbours", false)?,
            self.map("map of batch-balanced neighbours", true)?,
        ];
        Ok([corrected, lists, maps])
    }

    /// What is measured, of which matrix.
    fn heading(&self, origin: &str) -> anyhow::Result<String> {
        let table = self.store.table(&self.arguments.table)?;
        let batches = self.labels(&self.arguments.batch_key)?;
        let labels = self.labels(&self.arguments.label_key)?;
        Ok(format!(
            "{} rows of table `{}` ({origin}), {} batches (`{}`), {} labels (`{}`)\n",
            table.n_obs(),
            self.arguments.table,
            batches.without_unused().categories().len(),
            self.arguments.batch_key,
            labels.without_unused().categories().len(),
            self.arguments.label_key,
        ))
    }

    fn labels(&self, key: &str) -> anyhow::Result<Categorical> {
        let table = self.store.table(&self.arguments.table)?;
        Ok(table.obs_column(key)?.to_categorical())
    }

    fn measure(&self, name: &'static str, rows: Representation) -> anyhow::Result<Row> {
        let Arguments {
            table,
            batch_key,
            label_key,
            ..
        } = &self.arguments;
        let config = EvaluationConfig::new(table, batch_key, label_key).with_rows(rows);
        let found = evaluate_batches(&self.store, &config, &NoProgress)?;
        Ok(Row::of_report(name, &found.measures))
    }

    /// The rows that neighbours are searched in after a correction.
    fn corrected(
        &mut self,
        name: &'static str,
        correction: BatchCorrection,
    ) -> anyhow::Result<Row> {
        let graph = GraphConfig::default().with_umap(None).with_leiden(None);
        let config = self
            .arguments
            .config(correction)
            .with_balance_batches(false)
            .with_graph(graph);
        cluster_cells(&mut self.store, &config, &NoProgress)?;
        let rows = NeighborRows::read(&self.store, &self.arguments.table)?;
        self.measure(name, rows.used)
    }

    /// Lists of neighbours in the uncorrected rows, as they are: all neighbours of a row weigh alike.
    ///
    /// Balanced ones hold all batches alike by construction; the question is whether they hold one label.
    fn list(&self, name: &'static str, balanced: bool) -> anyhow::Result<Row> {
        let table = self.store.table(&self.arguments.table)?;
        let x = match self.arguments.components {
            // Harmony, the last correction, leaves those before it there.
            Some(_) => table.obsm("X_pca")?,
            None => table.x()?.context("no X")?.to_dense_f64()?,
        };
        let batch = self.labels(&self.arguments.batch_key)?.without_unused();
        let within = GraphConfig::default().within_batch;
        let k = within * batch.categories().len() - 1;
        let neighbors = match balanced {
            true => {
                batch_balanced_neighbors(x.view(), &batch, within, Metric::Euclidean, &NoProgress)?
            }
            false => nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress)?,
        };
        let labels = labels_of(&self.labels(&self.arguments.label_key)?)?;
        Row::of_neighbors(name, &neighbors, &labels_of(&batch)?, &labels)
    }

    /// The map that is drawn of neighbours.
    fn map(&mut self, name: &'static str, balanced: bool) -> anyhow::Result<Row> {
        let umap = UmapConfig::default().with_seed(Seed::new(self.arguments.seed));
        let graph = GraphConfig::default()
            .with_umap(Some(umap))
            .with_leiden(None);
        let config = self
            .arguments
            .config(BatchCorrection::None)
            .with_balance_batches(balanced)
            .with_graph(graph);
        cluster_cells(&mut self.store, &config, &NoProgress)?;
        self.measure(name, Representation::Obsm("X_umap".to_owned()))
    }
}

impl Row {
    fn of_report(name: &'static str, found: &BatchReport) -> Self {
        Self {
            name,
            integration_lisi: found.integration_lisi,
            label_lisi: found.label_lisi,
            kbet: found.kbet,
            connectivity: found.graph_connectivity,
            silhouettes: Some([found.silhouette_by_batch, found.silhouette_by_label]),
            batch_variance: Some(found.batch_variance),
        }
    }

    fn of_neighbors(
        name: &'static str,
        neighbors: &Neighbors,
        batches: &[u32],
        labels: &[u32],
    ) -> anyhow::Result<Self> {
        let alike = LisiConfig::default().with_perplexity(neighbors.k() as f64);
        let kbet_config = BatchReportConfig::default().kbet;
        Ok(Self {
            name,
            integration_lisi: integration_lisi(neighbors, batches, &alike, &NoProgress)?,
            label_lisi: label_lisi(neighbors, labels, &alike, &NoProgress)?,
            kbet: kbet(neighbors, batches, &kbet_config, &NoProgress)?.acceptance,
            connectivity: graph_connectivity(neighbors, labels)?,
            silhouettes: None,
            batch_variance: None,
        })
    }

    fn print(&self) {
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
        let [by_batch, by_label] = match self.silhouettes {
            Some(both) => both.map(Some),
            None => [None; 2],
        };
        println!(
            "| {} | {:.3} | {:.3} | {} | {} | {:.3} | {} | {:.3} |",
            self.name,
            self.integration_lisi,
            self.kbet,
            shown(by_batch),
            shown(self.batch_variance),
            self.label_lisi,
            shown(by_label),
            self.connectivity,
        );
    }
}

//! Which correction takes a batch effect from cells and leaves their types apart?
//!
//! Without arguments it makes synthetic tissues of which half was stained otherwise, one for each of several seeds, trains
//! a small network on each, and measures its latents without correction and after each one.
//! The program fails when a correction mixes the batches of any tissue too little or its types too much; with `--unchecked`
//! it only measures.
//! With `--store` it measures a table of yours, which is only read, and fails for nothing.
//! Of a table of samples that was corrected already, it takes what was before that; cells without batch or label are left
//! out of everything, and counted.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

mod figure;
mod tissue;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser;
use ndarray::Axis;
use phenocoder::core::{Categorical, Column, NoProgress, Seed};
use phenocoder::embed::batch::{BatchEffect, CombatConfig, HarmonyConfig};
use phenocoder::embed::evaluate::labels_of;
use phenocoder::embed::evaluate::mixing::{
    BatchReport, BatchReportConfig, LisiConfig, graph_connectivity, integration_lisi, kbet,
    label_lisi,
};
use phenocoder::embed::knn::{Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors};
use phenocoder::embed::umap::UmapConfig;
use phenocoder::io::{ContainerVersion, Store, TableData, WriteMode};
use phenocoder::pipeline::{
    BatchCorrection, ClusterConfig, EvaluationConfig, GraphConfig, NeighborRows, Representation,
    SCALED_LAYER, cluster_cells, evaluate_batches,
};

/// The entry of `obsm` with the map.
const MAP: &str = "X_umap";

/// Compares corrections of batch effects.
#[derive(Debug, Clone, Parser)]
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
    /// Ridge and ComBat keep what the labels explain.
    #[arg(long)]
    keep_labels: bool,
    /// Where a picture of the cells goes (PNG), mapped before and after each correction; without it there is none.
    #[arg(long)]
    figure: Option<PathBuf>,

    /// Synthetic tissues, of the seed and of those that follow it.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Synthetic samples of each condition in each batch.
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Cells of each synthetic sample.
    #[arg(long, default_value_t = 800)]
    cells: usize,
    /// How much the second synthetic batch differs from the first.
    #[arg(long, default_value_t = 1.0)]
    strength: f64,
    /// The share of a domain's cells that have its type; above 0, samples hold the types in unlike shares.
    #[arg(long, default_value_t = 0.0)]
    purity: f64,
    /// Scale all samples alike, so that all of the difference stays in the pixels.
    #[arg(long)]
    global_scaling: bool,
    /// Measure and fail for nothing.
    #[arg(long)]
    unchecked: bool,
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
        None => return tissue::compare(&arguments),
    };
    let mut comparison = Comparison { store, arguments };
    let groups = comparison.rows()?;
    println!("{}", comparison.heading(&origin)?);
    print_heads();
    for row in groups.iter().flatten() {
        print_line(row.name, &[row]);
    }
    comparison.draw()
}

fn print_heads() {
    println!(
        "| correction | iLISI | kBET | silhouette by batch | variance between batches | cLISI | silhouette by label | connectivity |"
    );
    println!("|---|{}", "---:|".repeat(7));
}

/// Prints the measures of a row, or of several rows from the smallest to the largest.
fn print_line(name: &str, rows: &[&Row]) {
    let measures: Vec<_> = rows.iter().map(|row| row.measures()).collect();
    let shown = |column: usize| {
        let values = || measures.iter().filter_map(|row| row[column]);
        let ends = [values().reduce(f64::min)?, values().reduce(f64::max)?];
        let [low, high] = ends.map(|value| format!("{value:.3}"));
        Some(if low == high {
            low
        } else {
            format!("{low}–{high}")
        })
    };
    let cells: Vec<String> = (0..7)
        .map(|column| shown(column).unwrap_or("–".to_owned()))
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
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

    /// What neighbours are searched in, and how.
    fn config(&self, correction: BatchCorrection) -> ClusterConfig {
        let keeps = matches!(
            correction,
            BatchCorrection::Ridge { .. } | BatchCorrection::Combat(_)
        );
        let kept = (keeps && self.keep_labels).then_some(&self.label_key);
        ClusterConfig::default()
            .with_table(&self.table)
            .with_batch_key(Some(self.batch_key.clone()))
            .with_confounder_keys(kept)
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
    /// What is corrected in rows, the first not at all.
    fn corrections(&self) -> [(&'static str, BatchCorrection); 5] {
        let harmony = HarmonyConfig::default().with_seed(Seed::new(self.arguments.seed));
        [
            ("none", BatchCorrection::None),
            ("ridge", BatchCorrection::Ridge { alpha: 1.0 }),
            ("ComBat", BatchCorrection::Combat(CombatConfig::default())),
            ("centring", BatchCorrection::Center(BatchEffect::Mean)),
            ("Harmony", BatchCorrection::Harmony(harmony)),
        ]
    }

    /// Groups of rows, each with one without correction at its beginning.
    fn rows(&mut self) -> anyhow::Result<[Vec<Row>; 3]> {
        let mut corrected = Vec::new();
        for (name, correction) in self.corrections() {
            corrected.push(self.corrected(name, correction)?);
        }
        let lists = vec![
            self.list("lists of nearest neighbours", false)?,
            self.list("lists of batch-balanced neighbours", true)?,
        ];
        let mut maps = Vec::new();
        for (name, balanced) in [
            ("map of nearest neighbours", false),
            ("map of batch-balanced neighbours", true),
        ] {
            let map = self.map(BatchCorrection::None, balanced)?;
            maps.push(self.measure(name, map)?);
        }
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
    fn map(
        &mut self,
        correction: BatchCorrection,
        balanced: bool,
    ) -> anyhow::Result<Representation> {
        let umap = UmapConfig::default().with_seed(Seed::new(self.arguments.seed));
        let graph = GraphConfig::default()
            .with_umap(Some(umap))
            .with_leiden(None);
        let config = self
            .arguments
            .config(correction)
            .with_balance_batches(balanced)
            .with_graph(graph);
        cluster_cells(&mut self.store, &config, &NoProgress)?;
        Ok(Representation::Obsm(MAP.to_owned()))
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
            connectivity: graph_connectivity(neighbors, labels, &NoProgress)?,
            silhouettes: None,
            batch_variance: None,
        })
    }

    /// The columns of the table.
    fn measures(&self) -> [Option<f64>; 7] {
        let silhouette = |by: usize| self.silhouettes.map(|both| both[by]);
        [
            Some(self.integration_lisi),
            Some(self.kbet),
            silhouette(0),
            self.batch_variance,
            Some(self.label_lisi),
            silhouette(1),
            Some(self.connectivity),
        ]
    }
}

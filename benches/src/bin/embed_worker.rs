//! Our part of `benches/peers/embed.py`: does one task several times and prints the least seconds and CPU seconds of one
//! call, what came out, and resident megabytes.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;
use phenocoder_benches::task::measure;
use phenocoder_core::{Categorical, CsrGraph, NoProgress};
use phenocoder_embed::cluster::{LeidenConfig, leiden};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{
    HnswConfig, HnswIndex, Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors, recall,
};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::umap::{UmapConfig, layout};

const EUCLIDEAN: Metric = Metric::Euclidean;
/// As in `embed.py`.
const COMPONENTS: usize = 30;
const WITHIN_BATCH: usize = 3;
const JUDGED: usize = 2000;
/// Rows that an approximate search keeps in view.
const WIDTH: usize = 100;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, file] = arguments.as_slice() else {
        bail!("expected TASK FILE");
    };
    RowsOfTask::read(Path::new(file))?.run(task)
}

struct RowsOfTask {
    x: Array2<f64>,
    batch: Categorical,
    neighbors: Neighbors,
}

impl RowsOfTask {
    fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut npz = NpzReader::new(file)?;
        let batch: Array1<i64> = npz.by_name("batch")?;
        Ok(Self {
            x: npz.by_name("x")?,
            batch: Categorical::from_labels(batch.iter().map(i64::to_string)),
            neighbors: Neighbors::new(npz.by_name("indices")?, npz.by_name("distances")?)?,
        })
    }

    fn run(&self, task: &str) -> Result<()> {
        let (x, k) = (self.x.view(), self.neighbors.k());
        match task {
            "PCA" => measure(
                || Ok(Pca::fit(x, &PcaConfig::new(COMPONENTS))?),
                |pca| Ok(pca.explained_variance().to_vec()),
            ),
            "neighbours" => measure(
                || Ok(nearest_neighbors(x, k, EUCLIDEAN, &NoProgress)?),
                |found| Ok(vec![found.distances().sum()]),
            ),
            "approximate neighbours" => measure(
                || {
                    let index = HnswIndex::build(x, &HnswConfig::new(EUCLIDEAN), &NoProgress)?;
                    Ok(index.neighbors(k, WIDTH, &NoProgress)?)
                },
                |found| Ok(vec![recall(&found, &self.neighbors)?]),
            ),
            "batch-balanced neighbours" => measure(
                || self.balanced(),
                |(found, _)| Ok(vec![found.distances().sum()]),
            ),
            "UMAP" => self.map_of_rows(1),
            "UMAP, two pulls" => self.map_of_rows(2),
            "UMAP, layout alone" => {
                let graph = graph_of(&self.neighbors)?;
                measure(|| map_of(&graph, 1), places)
            }
            "Leiden" => {
                let graph = graph_of(&self.neighbors)?;
                let config = LeidenConfig::default().with_restarts(1);
                measure(
                    || Ok(leiden(&graph, &config, &NoProgress)?),
                    |found| Ok(vec![found.quality]),
                )
            }
            other => bail!("unknown task `{other}`"),
        }
    }

    /// The neighbours and, as bbknn has it, the graph of them.
    fn balanced(&self) -> Result<(Neighbors, CsrGraph)> {
        let (x, batch) = (self.x.view(), &self.batch);
        let found = batch_balanced_neighbors(x, batch, WITHIN_BATCH, EUCLIDEAN, &NoProgress)?;
        let graph = trim(&graph_of(&found)?, 10 * (found.k() + 1), &NoProgress)?;
        Ok((found, graph))
    }

    /// From rows to their map, whose edges draw each of their nodes so many times.
    fn map_of_rows(&self, pulls: usize) -> Result<()> {
        let (x, k) = (self.x.view(), self.neighbors.k());
        let task = || {
            let neighbors = nearest_neighbors(x, k, EUCLIDEAN, &NoProgress)?;
            map_of(&graph_of(&neighbors)?, pulls)
        };
        measure(task, places)
    }
}

fn graph_of(neighbors: &Neighbors) -> Result<CsrGraph> {
    Ok(fuzzy_graph(
        neighbors,
        &FuzzyConfig::default(),
        &NoProgress,
    )?)
}

fn map_of(graph: &CsrGraph, pulls: usize) -> Result<Array2<f64>> {
    let config = UmapConfig::default().with_edge_pulls(pulls);
    Ok(layout(graph, &config, &NoProgress)?)
}

/// Where the first rows lie, one after the other: `embed.py` judges the map by them.
fn places(map: Array2<f64>) -> Result<Vec<f64>> {
    Ok(map.into_iter().take(2 * JUDGED).collect())
}

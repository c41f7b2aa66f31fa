//! Our part of `benches/peers/spatial.py`: does one task several times and prints the least seconds and CPU seconds of one
//! call, what came out, and resident megabytes.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;
use phenocoder_benches::task::measure;
use phenocoder_core::{Categorical, CsrGraph, NoProgress};
use phenocoder_spatial::autocorrelation::{
    PermutationConfig, TestConfig, moran_permuted, moran_test,
};
use phenocoder_spatial::centrality::{Closeness, group_centrality};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_exact, enrichment_permuted};
use phenocoder_spatial::radius_graph;
use phenocoder_spatial::ripley::{EdgeCorrection, RipleyConfig, RipleyFunction, ripley};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, file] = arguments.as_slice() else {
        bail!("expected TASK FILE");
    };
    let cells = CellsOfTask::read(Path::new(file))?;
    let task = cells.task(task)?;
    measure(task, Ok)
}

/// What a task does; returns what the contenders must agree in.
type Task<'a> = Box<dyn Fn() -> Result<Vec<f64>> + 'a>;

struct CellsOfTask {
    points: Array2<f64>,
    labels: Categorical,
    features: Array2<f64>,
    distances: Vec<f64>,
    radius: f64,
}

impl CellsOfTask {
    fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut npz = NpzReader::new(file)?;
        let codes: Array1<i64> = npz.by_name("labels")?;
        let distances: Array1<f64> = npz.by_name("distances")?;
        let radius: Array1<f64> = npz.by_name("radius")?;
        Ok(Self {
            points: npz.by_name("points")?,
            labels: Categorical::from_labels(codes.iter().map(|code| format!("type {code}"))),
            features: npz.by_name("features")?,
            distances: distances.to_vec(),
            radius: radius[0],
        })
    }

    fn graph(&self) -> Result<CsrGraph> {
        Ok(radius_graph(self.points.view(), self.radius)?)
    }

    fn task(&self, name: &str) -> Result<Task<'_>> {
        let labels = &self.labels;
        if name == "radius graph" {
            return Ok(Box::new(|| {
                let graph = self.graph()?;
                Ok(vec![graph.n_edges() as f64])
            }));
        }
        let ripley_of = |function| {
            let config = RipleyConfig::new()
                .with_simulations(100)
                .with_correction(EdgeCorrection::None);
            Box::new(move || {
                let points = self.points.view();
                let found = ripley(points, labels, function, &config, &NoProgress)?;
                Ok(vec![found.values.len() as f64])
            })
        };
        match name {
            "co-occurrence" => {
                return Ok(Box::new(|| {
                    let found = co_occurrence(
                        self.points.view(),
                        labels,
                        &self.distances,
                        Neighborhood::Disc,
                        &NoProgress,
                    )?;
                    Ok(found.ratio.iter().copied().collect())
                }));
            }
            "Ripley L" => return Ok(ripley_of(RipleyFunction::L)),
            "Ripley G" => return Ok(ripley_of(RipleyFunction::G)),
            "Ripley F" => return Ok(ripley_of(RipleyFunction::F)),
            _ => {}
        }
        let graph = self.graph()?;
        Ok(match name {
            "centralities" => Box::new(move || {
                let found = group_centrality(&graph, labels, Closeness::default())?;
                Ok([found.closeness, found.clustering, found.degree].concat())
            }),
            "enrichment, 1,000 permutations" => Box::new(move || {
                let config = EnrichmentConfig::new().with_permutations(1000);
                let found = enrichment_permuted(&graph, labels, None, &config, &NoProgress)?;
                Ok(found.count.iter().chain(&found.z).copied().collect())
            }),
            "enrichment, exact" => Box::new(move || {
                let found = enrichment_exact(&graph, labels)?;
                Ok(found.count.iter().chain(&found.z).copied().collect())
            }),
            "Moran's I" => Box::new(move || {
                let found = moran_test(&graph, self.features.view(), &TestConfig::new())?;
                Ok(found.statistic)
            }),
            "Moran's I, 100 permutations" => Box::new(move || {
                let config = PermutationConfig::new(100);
                let x = self.features.view();
                let found = moran_permuted(&graph, x, &config, &NoProgress)?;
                Ok(found.statistic)
            }),
            other => bail!("unknown task `{other}`"),
        })
    }
}

//! The statistics of one unit.

use ndarray::Array2;
use phenocoder_core::{Categorical, Coords, CsrGraph, Features, Progress, WithinStage};
use rayon::prelude::*;

use super::columns::{HULL_MEASURES, pairs};
use super::{Group, Mode, Note, NoteKind, StatisticsConfig};
use crate::assortativity::assortativity;
use crate::autocorrelation::{
    LocalConfig, Precision, Quadrant, SpatialWeights, local_moran, moran_i,
};
use crate::centrality;
use crate::connectivity::degree_statistics;
use crate::enrichment::enrichment_exact;
use crate::error::Result;
use crate::hull::{self, ComponentConfig, DegreeFilter, HullComponent};
use crate::interactions::{EdgeWeight, interaction_matrix, row_normalized};
use crate::neighborhood::{Center, EntropyUnit, mixing_entropy, neighborhood_entropy};
use crate::neighbors::radius_graph;

/// Clusters in which the membership of all cells is in memory at once.
const CLUSTERS_AT_ONCE: usize = 16;

/// The rows of one unit.
pub(super) struct Unit<'a> {
    pub(super) name: &'a str,
    pub(super) points: Coords,
    pub(super) labels: Categorical,
    pub(super) features: Option<Features>,
}

impl<'a> Unit<'a> {
    pub(super) fn new(
        name: &'a str,
        rows: &[usize],
        points: &Coords,
        labels: &Categorical,
        features: Option<&Features>,
    ) -> Self {
        Self {
            name,
            points: points.select(rows),
            labels: labels.select(rows),
            features: features.map(|features| features.select(rows)),
        }
    }

    fn n_labels(&self) -> usize {
        self.labels
            .counts()
            .iter()
            .filter(|&&count| count > 0)
            .count()
    }

    /// One value per column, and what to note.
    pub(super) fn statistics(
        &self,
        config: &StatisticsConfig,
        progress: &dyn Progress,
    ) -> Result<(Vec<f64>, Vec<Note>)> {
        let mut values = Vec::new();
        let mut notes = Vec::new();
        for &radius in &config.radii {
            progress.check()?;
            let graph = radius_graph(self.points.view(), radius)?;
            let mut note = |kind| {
                notes.push(Note {
                    unit: self.name.to_owned(),
                    radius,
                    kind,
                });
            };
            if graph.n_edges() == 0 {
                note(NoteKind::NoEdges);
            }
            if self.n_labels() == 1 {
                note(NoteKind::SingleLabel);
            }
            for &group in &config.groups {
                progress.check()?;
                match group {
                    Group::Interactions => self.interactions(&graph, &mut values)?,
                    Group::Centrality => self.centrality(&graph, config, &mut values),
                    Group::Connectivity => self.connectivity(&graph, &mut values)?,
                    Group::MoranFeatures => {
                        if let Some(features) = &self.features {
                            values.extend(moran_i(&graph, features.view(), &weights(config.mode))?);
                        }
                    }
                    Group::MoranClusters => {
                        self.moran_clusters(&graph, config.mode, progress, &mut values)?;
                    }
                    Group::Chull => {
                        let flat = self.hulls(&graph, config, &mut values)?;
                        if flat > 0 {
                            note(NoteKind::FlatComponents { count: flat });
                        }
                    }
                    Group::Enrichment => self.enrichment(&graph, radius, &mut values)?,
                    Group::Assortativity => values.push(assortativity(&graph, &self.labels)?),
                    Group::Entropy => self.entropy(&graph, &mut values)?,
                    Group::LocalMoran => {
                        self.hot_and_cold(&graph, config, progress, &mut values)?
                    }
                }
            }
            progress.advance(1);
        }
        Ok((values, notes))
    }

    fn interactions(&self, graph: &CsrGraph, values: &mut Vec<f64>) -> Result<()> {
        let matrix = interaction_matrix(graph, &self.labels, EdgeWeight::One)?;
        values.extend(row_normalized(&matrix));
        values.extend(matrix);
        Ok(())
    }

    fn centrality(&self, graph: &CsrGraph, config: &StatisticsConfig, values: &mut Vec<f64>) {
        // A radius graph is symmetric and has no loops.
        let scores = centrality::of_undirected(graph, &self.labels, config.closeness);
        for label in 0..scores.degree.len() {
            values.extend([
                scores.degree[label],
                scores.clustering[label],
                scores.closeness[label],
            ]);
        }
    }

    fn connectivity(&self, graph: &CsrGraph, values: &mut Vec<f64>) -> Result<()> {
        let degrees = degree_statistics(graph, &self.labels)?;
        for statistic in std::iter::once(&degrees.overall).chain(&degrees.per_cluster) {
            values.extend([statistic.mean, statistic.std]);
        }
        Ok(())
    }

    /// Scores and ratios of every pair of labels, among the cells that have one.
    fn enrichment(&self, graph: &CsrGraph, radius: f64, values: &mut Vec<f64>) -> Result<()> {
        let k = self.labels.categories().len();
        let labelled = |&row: &usize| self.labels.code(row).is_some();
        let rows: Vec<usize> = (0..self.labels.len()).filter(labelled).collect();
        let found = match (k, rows.len() == self.labels.len()) {
            (0 | 1, _) => None,
            (_, true) => Some(enrichment_exact(graph, &self.labels)?),
            (_, false) => {
                let graph = radius_graph(self.points.select(&rows).view(), radius)?;
                Some(enrichment_exact(&graph, &self.labels.select(&rows))?)
            }
        };
        let Some(found) = found else {
            values.extend(pairs(k).flat_map(|_| [f64::NAN; 2]));
            return Ok(());
        };
        values.extend(pairs(k).map(|pair| found.z[pair]));
        values.extend(pairs(k).map(|pair| found.count[pair] / found.mean[pair]));
        Ok(())
    }

    fn entropy(&self, graph: &CsrGraph, values: &mut Vec<f64>) -> Result<()> {
        let (labels, nats) = (&self.labels, EntropyUnit::Nats);
        let of_cells = neighborhood_entropy(graph, labels, Center::Excluded, nats)?;
        let defined = of_cells.iter().filter(|entropy| !entropy.is_nan());
        let mean = defined.clone().sum::<f64>() / defined.count() as f64;
        values.extend([mean, mixing_entropy(graph, labels)?.mutual_information]);
        Ok(())
    }

    /// The parts of the cells with neighbors that are hot spots, cold spots and outliers of every feature.
    fn hot_and_cold(
        &self,
        graph: &CsrGraph,
        config: &StatisticsConfig,
        progress: &dyn Progress,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let Some(features) = &self.features else {
            return Ok(());
        };
        let local = LocalConfig::new().with_weights(weights(config.mode));
        let found = local_moran(graph, features.view(), &local, &WithinStage(progress))?;
        let significant = found.significant(config.discovery_rate);
        let columns = found.statistic.columns().into_iter();
        for (statistic, found) in columns.zip(significant.columns()) {
            let defined = statistic.iter().filter(|i| !i.is_nan()).count() as f64;
            let part = |kinds: &[Quadrant]| {
                let is_kind = |q: &&Option<Quadrant>| q.is_some_and(|q| kinds.contains(&q));
                found.iter().filter(is_kind).count() as f64 / defined
            };
            values.extend([
                part(&[Quadrant::HighHigh]),
                part(&[Quadrant::LowLow]),
                part(&[Quadrant::HighLow, Quadrant::LowHigh]),
            ]);
        }
        Ok(())
    }

    /// Moran's I of being in every cluster, few at a time: of all of them membership is as wide as there are labels.
    fn moran_clusters(
        &self,
        graph: &CsrGraph,
        mode: Mode,
        progress: &dyn Progress,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let n_labels = self.labels.categories().len();
        for first in (0..n_labels).step_by(CLUSTERS_AT_ONCE) {
            progress.check()?;
            let shape = (self.labels.len(), CLUSTERS_AT_ONCE.min(n_labels - first));
            let membership = Array2::from_shape_fn(shape, |(row, label)| {
                f64::from(self.labels.code(row) == Some(first + label))
            });
            values.extend(moran_i(graph, membership.view(), &weights(mode))?);
        }
        Ok(())
    }

    /// The hulls of all cells and of those of every label; returns how many components are flat.
    fn hulls(
        &self,
        graph: &CsrGraph,
        config: &StatisticsConfig,
        values: &mut Vec<f64>,
    ) -> Result<usize> {
        let components = ComponentConfig::default()
            .with_min_degree(config.hull.min_degree)
            .with_min_nodes(config.hull.min_nodes)
            .with_filter(match config.mode {
                Mode::Default => DegreeFilter::Simultaneous,
                Mode::Compat => DegreeFilter::Sequential,
            });
        let center = hull::centroid(self.points.view());
        let labels = 0..self.labels.categories().len();
        let sets =
            std::iter::once(None).chain(labels.map(|label| Some(self.labels.members(label))));
        let sets: Vec<Option<Vec<usize>>> = sets.collect();
        let found: Vec<_> = sets
            .into_par_iter()
            .map(|set| hull::of_undirected(self.points.view(), graph, set.as_deref(), &components))
            .collect::<Result<_>>()?;
        for found in &found {
            summarize(&found.components, &center, config.mode, values);
        }
        let flat = found.iter().map(|found| found.flat).sum();
        Ok(flat)
    }
}

fn weights(mode: Mode) -> SpatialWeights {
    SpatialWeights::default().with_precision(match mode {
        Mode::Default => Precision::Double,
        Mode::Compat => Precision::Single,
    })
}

/// Means, then standard deviations (divided by n − 1), then the number of hulls.
fn summarize(hulls: &[HullComponent], center: &[f64], mode: Mode, values: &mut Vec<f64>) {
    let measures = |component: &HullComponent| -> [f64; HULL_MEASURES.len()] {
        let n = component.nodes.len() as f64;
        let volume = component.hull.volume;
        let density = match mode {
            Mode::Default => n / volume,
            Mode::Compat => volume / n,
        };
        [
            volume,
            component.hull.area,
            n,
            component.distance_to(center),
            density,
        ]
    };
    let measured: Vec<_> = hulls.iter().map(measures).collect();
    let n = measured.len() as f64;
    let mean = |i: usize| measured.iter().map(|m| m[i]).sum::<f64>() / n;
    let sd = |i: usize| {
        let mean = mean(i);
        let squares: f64 = measured.iter().map(|m| (m[i] - mean) * (m[i] - mean)).sum();
        // Of one hull there is no deviation: 0 / 0.
        (squares / (n - 1.0)).sqrt()
    };
    values.extend((0..HULL_MEASURES.len()).map(mean));
    values.extend((0..HULL_MEASURES.len()).map(sd));
    values.push(n);
}

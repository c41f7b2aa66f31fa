//! Whether batches mix within each label.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, Progress, ShapeError, WithinStage};
use serde::{Deserialize, Serialize};

use super::{KbetConfig, kbet};
use crate::eigen::leading_eigenvectors;
use crate::evaluate::{ranked, values_of};
use crate::fuzzy::check_undirected;
use crate::knn::{Metric, nearest_neighbors};
use crate::umap::connected_parts;
use crate::{Error, Result};

const METHOD: &str = "the batch effect test by label";
/// Labels of no more rows than this have too few for the smallest neighbourhood.
const FEW: usize = 10;
/// Smallest and largest neighbourhood, without the row itself.
const NEIGHBORS: (usize, usize) = (10, 70);
/// Dimensions of the diffusion map.
const DIMENSIONS: usize = 100;
/// Pieces of a label are tested when they have this many times the rows of a neighbourhood, and only when they hold
/// this share of the label's rows together.
const PIECE: usize = 3;
const SHARE: f64 = 0.75;

/// The result of [`kbet_by_label`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KbetByLabel {
    /// The mean over the labels that could be tested.
    #[serde(deserialize_with = "crate::stored::share")]
    pub mean: f64,
    /// For each label, rising, the share of its neighbourhoods that pass; `None` for a label of a single batch or of no
    /// more than ten rows.
    #[serde(deserialize_with = "crate::stored::share")]
    pub per_label: Vec<(u32, Option<f64>)>,
}

/// The batch effect test among the rows of one label at a time, so that it does not matter that batches hold labels in
/// different shares.
///
/// The graph within a label becomes a map of its diffusion (up to 100 dimensions; Coifman et al. 2005,
/// doi:10.1073/pnas.0500334102), in which each row has `k = ⌊n / 4B⌋` nearest rows, at least 10 and at most 70, with
/// `n` rows of the label and `B` batches among them; then [`kbet`].
/// A label in several pieces is tested on those of at least `3 k` rows, if they hold three quarters of it; otherwise
/// its share is 0, for rows that do not hang together cannot mix.
/// The two directions of an edge may differ by a millionth of its weight; their mean counts.
/// Luecken et al. 2022, doi:10.1038/s41592-021-01336-8.
/// Cost: for a label of `n` rows about `O(100² n)` beside the exact search for neighbours, `O(100 n²)`.
/// Memory: the search for eigenvectors keeps 440 numbers for each row of the largest piece of a label, and 160 more while
/// it turns them: 4.8 kB a row, 4.8 GB for a million rows of one label; and a copy of the graph.
///
/// # Differences from scib-metrics' `kbet_per_label`
///
/// Everything is in double precision, and neighbours are exact.
/// There the leading eigenvalue, which is 1, may come out as 1 ± 1e-7 in single precision and then weighs ten million
/// times as much.
/// A label of exactly ten rows is left out, for its smallest neighbourhood has eleven.
/// There, the number of dimensions falls with a label of fewer rows and stays there: after a label of 30 rows all later
/// ones have at most 29, so that the result depends on the names of labels. Here each label has up to 100.
///
/// # Errors
///
/// [`Error::Config`] when `alpha` is not between 0 and 1, [`Error::Shape`] when nodes, batches and labels differ in
/// number, [`Error::NotSymmetric`] or [`Error::EdgeWeight`] for a directed graph or bad weights, [`Error::TooFew`] when
/// no label can be tested, [`Error::Overflow`] for weights too small to be divided by, [`Error::NotConverged`] when the
/// eigenvectors of a label are not found, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::{KbetConfig, kbet_by_label};
/// use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// // Label 0 has batches in turns, label 1 one after the other.
/// let x = Array2::from_shape_fn((80, 1), |(i, _)| i as f64);
/// let labels: Vec<u32> = (0..80).map(|i| i / 40).collect();
/// let batches: Vec<u32> = (0..80).map(|i| if i < 40 { i % 2 } else { i / 60 }).collect();
/// let neighbors = nearest_neighbors(x.view(), 8, Metric::Euclidean, &NoProgress)?;
/// let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
/// let found = kbet_by_label(&graph, &batches, &labels, &KbetConfig::default(), &NoProgress)?;
/// let share = |label: usize| found.per_label[label].1.unwrap_or(f64::NAN);
/// assert!(share(0) > 0.9 && share(1) < 0.6);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "kbet_per_label")]
pub fn kbet_by_label(
    graph: &CsrGraph,
    batches: &[u32],
    labels: &[u32],
    config: &KbetConfig,
    progress: &dyn Progress,
) -> Result<KbetByLabel> {
    config.validate()?;
    ShapeError::check_len("batches", graph.n_nodes(), batches.len())?;
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    check_undirected(graph)?;
    let graph = &evened(graph)?;
    let (groups, counts) = ranked(labels);
    let mut rows = vec![Vec::new(); counts.len()];
    for (row, &group) in groups.iter().enumerate() {
        rows[group].push(row);
    }
    progress.start("kBET by label", Some(rows.len() as u64));
    let mut per_label = Vec::with_capacity(rows.len());
    for (label, rows) in values_of(labels).into_iter().zip(rows) {
        progress.check()?;
        per_label.push((label, share_of(graph, batches, &rows, config, progress)?));
        progress.advance(1);
    }
    progress.finish();
    let tested: Vec<f64> = per_label.iter().filter_map(|label| label.1).collect();
    Error::check_enough(METHOD, "labels of several batches", 1, tested.len())?;
    Ok(KbetByLabel {
        mean: tested.iter().sum::<f64>() / tested.len() as f64,
        per_label,
    })
}

/// The share of neighbourhoods that pass among the rows of a label.
fn share_of(
    graph: &CsrGraph,
    batches: &[u32],
    rows: &[usize],
    config: &KbetConfig,
    progress: &dyn Progress,
) -> Result<Option<f64>> {
    let among = |rows: &[usize]| -> Vec<u32> { rows.iter().map(|&row| batches[row]).collect() };
    let count = values_of(&among(rows)).len();
    if count < 2 || rows.len() <= FEW {
        return Ok(None);
    }
    let k = (rows.len() / (4 * count)).clamp(NEIGHBORS.0, NEIGHBORS.1);
    let within = induced(graph, rows)?;
    let mut pieces = connected_parts(&within);
    if pieces.len() > 1 {
        pieces.retain(|piece| piece.len() >= PIECE * k);
    }
    let kept: Vec<usize> = pieces.iter().flatten().map(|&node| rows[node]).collect();
    let batches = among(&kept);
    if (kept.len() as f64) < SHARE * rows.len() as f64 || values_of(&batches).len() < 2 {
        return Ok(Some(0.0));
    }
    let map = diffusion_map(&within, &pieces, progress)?;
    let within = WithinStage(progress);
    let neighbors = nearest_neighbors(map.view(), k, Metric::Euclidean, &within)?;
    Ok(Some(
        kbet(&neighbors, &batches, config, &within)?.acceptance,
    ))
}

/// The mean of the weights of both directions, which may differ a little and must not for the eigenvectors; every edge
/// has one back.
fn evened(graph: &CsrGraph) -> Result<CsrGraph> {
    let back = graph.transposed();
    let pairs = graph.values().iter().zip(back.values());
    let means = pairs.map(|(&there, &back)| f64::midpoint(there, back));
    Ok(graph.with_values(means.collect())?)
}

/// The edges among these nodes, which rise; they are numbered anew.
fn induced(graph: &CsrGraph, nodes: &[usize]) -> Result<CsrGraph> {
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for &node in nodes {
        for (other, weight) in graph.row(node) {
            if weight > 0.0
                && let Ok(place) = nodes.binary_search(&other)
            {
                indices.push(place as u32);
                values.push(weight);
            }
        }
        indptr.push(indices.len());
    }
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// Places in which the squared distance is that of diffusion over all times, `[nodes of the pieces, dimensions]`, one
/// piece after the other.
fn diffusion_map(
    graph: &CsrGraph,
    pieces: &[Vec<usize>],
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let rows: usize = pieces.iter().map(Vec::len).sum();
    let dimensions = DIMENSIONS.min(rows.saturating_sub(1));
    // The eigenvectors of all pieces are those of each, which are 0 elsewhere.
    let mut found: Vec<(f64, usize, Vec<f64>)> = Vec::new();
    let mut first = 0;
    for piece in pieces {
        let transitions = transitions(&induced(graph, piece)?)?;
        let (values, vectors) = leading_eigenvectors(&transitions, dimensions, progress)?;
        for (value, vector) in values.into_iter().zip(vectors.outer_iter()) {
            found.push((value, first, vector.to_vec()));
        }
        first += piece.len();
    }
    found.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    found.truncate(dimensions);
    let mut map = Array2::zeros((rows, found.len()));
    for ((value, first, vector), mut column) in found.into_iter().zip(map.columns_mut()) {
        let factor = factor(value);
        for (place, entry) in column.iter_mut().skip(first).zip(vector) {
            *place = factor * entry;
        }
    }
    Ok(map)
}

/// The weight of all powers of an eigenvalue together; what is 1 in single precision counts once.
fn factor(value: f64) -> f64 {
    // As scib-metrics.
    const SHIFT: f64 = 1e-8;
    if f64::from(value as f32) >= 1.0 {
        return 1.0;
    }
    (value + SHIFT) / (1.0 - value - SHIFT)
}

/// The symmetric form of the chances to go from node to node, after the density of nodes is taken out.
fn transitions(graph: &CsrGraph) -> Result<CsrGraph> {
    let sums = |graph: &CsrGraph| -> Vec<f64> {
        let sum = |node: usize| graph.row(node).map(|edge| edge.1).sum();
        (0..graph.n_nodes()).map(sum).collect()
    };
    let divided = |graph: &CsrGraph, by: &[f64]| {
        let of = |node: usize| {
            graph
                .row(node)
                .map(move |(other, w)| w / by[node] / by[other])
        };
        graph.with_values((0..graph.n_nodes()).flat_map(of).collect())
    };
    let even = divided(graph, &sums(graph))?;
    let roots: Vec<f64> = sums(&even).into_iter().map(f64::sqrt).collect();
    let transitions = divided(&even, &roots)?;
    // What is not finite would keep the eigensolver busy for ever.
    if transitions.values().iter().all(|value| value.is_finite()) {
        Ok(transitions)
    } else {
        Err(Error::Overflow { method: METHOD })
    }
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{CancelToken, NoProgress, Seed};

    use super::*;
    use crate::fuzzy::{FuzzyConfig, fuzzy_graph};

    fn graph_of(x: &Array2<f64>) -> CsrGraph {
        let near = nearest_neighbors(x.view(), 6, Metric::Euclidean, &NoProgress).unwrap();
        fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap()
    }

    fn by_label(graph: &CsrGraph, batches: &[u32], labels: &[u32]) -> Result<KbetByLabel> {
        kbet_by_label(graph, batches, labels, &KbetConfig::default(), &NoProgress)
    }

    /// Groups of rows, each beside the others.
    fn cloud(sizes: &[usize]) -> Array2<f64> {
        let mut stream = Seed::new(6).stream("x", 0);
        let group = sizes.iter().enumerate().flat_map(|(g, &n)| vec![g; n]);
        let group: Vec<usize> = group.collect();
        Array2::from_shape_fn((group.len(), 2), |(i, _)| {
            40.0 * group[i] as f64 + stream.normal()
        })
    }

    #[test]
    fn transitions_of_a_path_are_those_worked_out_by_hand() {
        // Weights 1 and 2: sums 1, 3, 2; 1/3 and 2/6 after division, so that the density is even.
        let graph = CsrGraph::new(vec![0, 1, 3, 4], vec![1, 0, 2, 1], vec![1.0, 1.0, 2.0, 2.0]);
        let found = transitions(&graph.unwrap()).unwrap();
        // Roots of the sums 1/3, 2/3, 1/3.
        for value in found.values() {
            assert!((value - 0.5_f64.sqrt()).abs() < 1e-15, "{value}");
        }
        assert_eq!(factor(1.0 - 1e-9), 1.0);
        assert_eq!(factor(1.0 + 1e-7), 1.0);
        assert!((factor(0.5) - 1.0).abs() < 1e-7);
        assert!((factor(-0.5) + 1.0 / 3.0).abs() < 1e-7);
    }

    #[test]
    fn weights_of_two_directions_may_differ_a_little() {
        // More rows than are solved densely.
        let graph = graph_of(&cloud(&[500]));
        let batches: Vec<u32> = (0..500).map(|i| i % 2).collect();
        let weights = |row: usize| {
            let tilted =
                move |(column, w): (usize, f64)| if row < column { w * (1.0 + 5e-7) } else { w };
            graph.row(row).map(tilted)
        };
        let tilted = graph
            .with_values((0..500).flat_map(weights).collect())
            .unwrap();
        assert_ne!(tilted, tilted.transposed());
        let even = evened(&tilted).unwrap();
        assert_eq!(even, even.transposed());
        assert_eq!(evened(&graph).unwrap(), graph);
        let found = by_label(&tilted, &batches, &[0; 500]).unwrap();
        let expected = by_label(&graph, &batches, &[0; 500]).unwrap();
        assert!(
            (found.mean - expected.mean).abs() < 0.02,
            "{found:?} {expected:?}"
        );
        assert!(found.mean > 0.5, "{found:?}");
    }

    #[test]
    fn labels_that_cannot_be_tested_are_left_out() {
        let x = cloud(&[60, 40, 10]);
        let label = |i: usize| [7, 3, 5][usize::from(i >= 60) + usize::from(i >= 100)];
        let labels: Vec<u32> = (0..110).map(label).collect();
        let batch = |i: u32| if (60..100).contains(&i) { 1 } else { i % 2 };
        let batches: Vec<u32> = (0..110).map(batch).collect();
        let graph = graph_of(&x);
        let found = by_label(&graph, &batches, &labels).unwrap();
        let share = found.per_label[2].1.unwrap();
        assert_eq!(found.per_label, [(3, None), (5, None), (7, Some(share))]);
        assert!(found.mean == share && share > 0.6, "{share}");
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<KbetByLabel>(&text).unwrap(), found);
        let wrong = text.replace("[3,null]", "[3,7.0]");
        let error = serde_json::from_str::<KbetByLabel>(&wrong).unwrap_err();
        assert!(error.to_string().contains("from 0 to 1"), "{error}");
        assert!(matches!(
            by_label(&graph, &[1; 110], &labels),
            Err(Error::TooFew { .. })
        ));
    }

    #[test]
    fn large_pieces_of_a_label_are_tested_and_many_small_ones_are_none() {
        // 40 and 40 rows, and 8 that are too few; then seven pieces of 12.
        let batches: Vec<u32> = (0..88).map(|i| i % 2).collect();
        let found = by_label(&graph_of(&cloud(&[40, 40, 8])), &batches, &[0; 88]).unwrap();
        assert!(found.mean > 0.8, "{found:?}");
        let batches: Vec<u32> = (0..84).map(|i| i % 2).collect();
        let found = by_label(&graph_of(&cloud(&[12; 7])), &batches, &[0; 84]).unwrap();
        assert_eq!(found.per_label, [(0, Some(0.0))]);
        // Batches that are pieces do not mix.
        let batches: Vec<u32> = (0..80).map(|i| i / 40).collect();
        let found = by_label(&graph_of(&cloud(&[40, 40])), &batches, &[0; 80]).unwrap();
        assert!(found.mean < 0.5, "{found:?}");
        // What is left when the small piece is not tested has one batch only.
        let batches: Vec<u32> = (0..88).map(|i| i / 80).collect();
        let found = by_label(&graph_of(&cloud(&[40, 40, 8])), &batches, &[0; 88]).unwrap();
        assert_eq!(found.mean, 0.0);
    }

    #[test]
    fn batches_and_labels_of_other_nodes_and_settings_out_of_range_are_refused() {
        let graph = graph_of(&cloud(&[30]));
        let batches: Vec<u32> = (0..30).map(|i| i % 2).collect();
        assert!(by_label(&graph, &batches, &[0; 30]).is_ok());
        assert!(matches!(
            by_label(&graph, &batches[1..], &[0; 30]),
            Err(Error::Shape(_))
        ));
        assert!(matches!(
            by_label(&graph, &batches, &[0; 29]),
            Err(Error::Shape(_))
        ));
        let config = KbetConfig::default().with_alpha(2.0);
        let result = kbet_by_label(&graph, &batches, &[0; 30], &config, &NoProgress);
        assert!(matches!(result, Err(Error::Config(_))));
    }

    #[test]
    fn directed_edges_and_negative_weights_are_refused() {
        let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
        assert!(matches!(
            by_label(&one_way, &[0, 1], &[0, 0]),
            Err(Error::NotSymmetric { .. })
        ));
        let bad = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![-1.0; 2]).unwrap();
        assert!(matches!(
            by_label(&bad, &[0, 1], &[0, 0]),
            Err(Error::EdgeWeight { .. })
        ));
    }

    #[test]
    fn a_test_can_be_stopped() {
        let graph = graph_of(&cloud(&[30]));
        let batches: Vec<u32> = (0..30).map(|i| i % 2).collect();
        let stopped = CancelToken::new();
        stopped.cancel();
        let config = KbetConfig::default();
        let result = kbet_by_label(&graph, &batches, &[0; 30], &config, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }
}

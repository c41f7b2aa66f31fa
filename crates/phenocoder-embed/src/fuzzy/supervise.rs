//! What is known of rows draws them together and apart.

use phenocoder_core::{Categorical, CsrGraph, Progress, ShapeError};

use super::{check_undirected, directed, either, join};
use crate::knn::Neighbors;
use crate::patience::ask;
use crate::{ConfigError, Result};

/// How far a row without a label is from every other, and how far two labels are at weight 0 (umap-learn's values).
const UNKNOWN: f64 = 1.0;
const APART: f64 = 2.5;
/// The bounds of what an edge weighs in the graph that does not have it.
const LEAST: f64 = 1e-8;
const MOST_OF_TARGET: f64 = 1e-4;

/// What is known of the rows of a graph.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A label for each row; a missing one is unknown.
    Categories(&'a Categorical),
    /// The nearest rows of each row by numbers that are known of it, as many as the graph was made of.
    Neighbors(&'a Neighbors),
}

/// Brings what is known of rows into their fuzzy graph, so that a map of it keeps groups apart: supervised UMAP.
///
/// `weight` says how much the target counts beside the graph, from 0 to 1; umap-learn's default is ½.
///
/// With categories, an edge between two labels is multiplied by `exp(−2.5 / (1 − weight))`, and one with a missing
/// label by `exp(−1)`.
/// With neighbours, their edges, weighted as those of [`fuzzy_graph`](super::fuzzy_graph) but in one direction, meet
/// those of the graph: weights `g` and `t` become `g t^(w/(1−w))` below a weight of ½, else `g^((1−w)/w) t`; among the
/// edges that do not have it, an edge weighs half of the least weight there (at least 1e-8, in the target at most
/// 1e-4); an edge that weighs no more than that on both sides keeps the sum of what it does weigh; edges from a row to
/// itself do not count.
/// Then every row is divided by its largest weight, and the two directions are joined to `a + b − ab`, so that every
/// row that still has an edge belongs fully to another.
/// McInnes, Healy & Melville 2018, arXiv:1802.03426, and umap-learn.
/// Cost: linear in the edges.
///
/// At weight 1, edges between labels are dropped, and a row may be left without any.
///
/// # Differences from umap-learn
///
/// All arithmetic is in double precision: weights differ by about 1e-6.
/// There, edges between labels vanish above a weight of 0.976, where the factor is below what single precision holds;
/// here from 0.997.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) for a weight outside 0 to 1, [`Error::Shape`](crate::Error::Shape) for a
/// target of another number of rows, [`Error::Graph`](crate::Error::Graph) for a neighbour that is none of them,
/// [`Error::NotSymmetric`](crate::Error::NotSymmetric) or
/// [`Error::EdgeWeight`](crate::Error::EdgeWeight) for a graph that is not one of memberships,
/// [`Error::Cancelled`](crate::Error::Cancelled) when the caller stops it.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{Categorical, CsrGraph, NoProgress};
/// use phenocoder_embed::fuzzy::{Target, supervise};
///
/// // A square, of which the first two corners and the last two are alike.
/// let indices = vec![1, 3, 0, 2, 1, 3, 0, 2];
/// let graph = CsrGraph::new(vec![0, 2, 4, 6, 8], indices, vec![1.0; 8])?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let supervised = supervise(&graph, Target::Categories(&labels), 0.5, &NoProgress)?;
/// let weights: Vec<f64> = supervised.row(0).map(|edge| edge.1).collect();
/// assert!(weights[0] == 1.0 && weights[1] < 0.02);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "target_weight")]
#[doc(alias = "discrete_metric_simplicial_set_intersection")]
#[doc(alias = "general_simplicial_set_intersection")]
pub fn supervise(
    graph: &CsrGraph,
    target: Target<'_>,
    weight: f64,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    let holds = (0.0..=1.0).contains(&weight);
    ConfigError::check(holds, "weight", "a number from 0 to 1", weight)?;
    check_undirected(graph)?;
    // Every row once for its weights in a target of neighbours, once to meet it, and once for both directions.
    let passes = match target {
        Target::Categories(_) => 2,
        Target::Neighbors(_) => 3,
    };
    progress.start("supervised graph", Some(passes * graph.n_nodes() as u64));
    let met = match target {
        Target::Categories(labels) => meet_labels(graph, labels, weight, progress)?,
        Target::Neighbors(neighbors) => {
            ShapeError::check_len("target", graph.n_nodes(), neighbors.len())?;
            meet(graph, &directed(neighbors, progress)?, weight, progress)?
        }
    };
    let supervised = reset_connectivity(met, progress)?;
    progress.finish();
    Ok(supervised)
}

fn meet_labels(
    graph: &CsrGraph,
    labels: &Categorical,
    weight: f64,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let unknown = libm::exp(-UNKNOWN);
    // At weight 1 the distance is infinite and the factor 0.
    let apart = libm::exp(-APART / (1.0 - weight));
    let factor = |row: usize, other: usize| match (labels.code(row), labels.code(other)) {
        (Some(a), Some(b)) if a == b => 1.0,
        (Some(_), Some(_)) => apart,
        _ => unknown,
    };
    let mut weights = Vec::with_capacity(graph.n_edges());
    for row in 0..graph.n_nodes() {
        ask(row, graph.n_nodes(), progress)?;
        weights.extend(graph.row(row).map(|(other, w)| w * factor(row, other)));
    }
    Ok(graph.with_values(weights)?)
}

/// The edges of two graphs, each with its weights in both.
fn meet(
    graph: &CsrGraph,
    target: &CsrGraph,
    weight: f64,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    let absent = half_of_least(graph);
    let absent_in_target = half_of_least(target).min(MOST_OF_TARGET);
    let met = |row: usize, column: usize, left: Option<f64>, right: Option<f64>| {
        if row == column {
            return 0.0;
        }
        // What is there, without what stands for an edge that is not.
        let sum = left.unwrap_or(0.0) + right.unwrap_or(0.0);
        let left = left.filter(|&w| w > 0.0).unwrap_or(absent);
        let right = right.filter(|&w| w > 0.0).unwrap_or(absent_in_target);
        if left <= absent && right <= absent_in_target {
            sum
        } else if weight < 0.5 {
            left * libm::pow(right, weight / (1.0 - weight))
        } else {
            libm::pow(left, (1.0 - weight) / weight) * right
        }
    };
    join(graph, target, met, progress)
}

fn half_of_least(graph: &CsrGraph) -> f64 {
    let positive = graph.values().iter().copied().filter(|&w| w > 0.0);
    let least = positive.reduce(f64::min).unwrap_or(0.0);
    (least / 2.0).max(LEAST)
}

/// Lets every row belong fully to its nearest other again.
fn reset_connectivity(mut graph: CsrGraph, progress: &dyn Progress) -> Result<CsrGraph> {
    let indptr = graph.indptr().to_vec();
    for row in indptr.windows(2) {
        let weights = &mut graph.values_mut()[row[0]..row[1]];
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= largest);
        }
    }
    let weight = |_: usize, _: usize, there: Option<f64>, here: Option<f64>| {
        either(there.unwrap_or(0.0), here.unwrap_or(0.0))
    };
    progress.check()?;
    join(&graph, &graph.transposed(), weight, progress)
}

#[cfg(test)]
mod tests {
    use phenocoder_core::NoProgress;

    use super::*;
    use crate::Error;
    use crate::fuzzy::{FuzzyConfig, fuzzy_graph};
    use crate::knn::{Metric, nearest_neighbors};
    use crate::patience::PATIENCE;
    use crate::patience::tests::times_asked;

    /// 0 – 1 – 2 – … with these weights, and an edge that closes the ring when there is one more of them.
    fn path(nodes: usize, weights: &[f64]) -> CsrGraph {
        let mut edges = Vec::new();
        for (i, &weight) in weights.iter().enumerate() {
            let j = (i + 1) % nodes;
            edges.extend([(i, j, weight), (j, i, weight)]);
        }
        edges.sort_by_key(|edge| (edge.0, edge.1));
        let indptr = (0..=nodes).map(|node| edges.partition_point(|edge| edge.0 < node));
        let indices = edges.iter().map(|edge| edge.1 as u32).collect();
        let values = edges.iter().map(|edge| edge.2).collect();
        CsrGraph::new(indptr.collect(), indices, values).unwrap()
    }

    fn weight(graph: &CsrGraph, from: usize, to: usize) -> f64 {
        let edge = graph.row(from).find(|edge| edge.0 == to);
        edge.map_or(0.0, |edge| edge.1)
    }

    fn labels(of: &[&str]) -> Categorical {
        Categorical::from_optional_labels(of.iter().map(|&l| (l != "?").then_some(l)))
    }

    fn by_labels(graph: &CsrGraph, of: &[&str], weight: f64) -> CsrGraph {
        supervise(graph, Target::Categories(&labels(of)), weight, &NoProgress).unwrap()
    }

    #[test]
    fn edges_between_labels_and_to_unknown_rows_weaken_as_worked_out_by_hand() {
        let square = path(4, &[1.0; 4]);
        let found = by_labels(&square, &["a", "a", "b", "b"], 0.5);
        let apart = libm::exp(-5.0);
        assert_eq!(weight(&found, 0, 1), 1.0);
        assert!((weight(&found, 1, 2) - (2.0 * apart - apart * apart)).abs() < 1e-15);
        // Both edges of the unknown row weigh 1/e, and so 1 of its own accord.
        let found = by_labels(&square, &["a", "a", "?", "a"], 0.5);
        assert_eq!(weight(&found, 1, 2), 1.0);
        // Between two unknown rows and to known ones the same.
        let all = by_labels(&square, &["?", "?", "?", "a"], 0.5);
        assert_eq!(all, square);
    }

    #[test]
    fn the_weight_of_the_target_tells_how_far_labels_are() {
        let square = path(4, &[1.0; 4]);
        let of = ["a", "a", "b", "b"];
        for (target, far) in [(0.0, 2.5), (0.9, 25.0)] {
            let apart = libm::exp(-far);
            let expected = 2.0 * apart - apart * apart;
            let found = weight(&by_labels(&square, &of, target), 1, 2);
            assert!((found / expected - 1.0).abs() < 1e-6, "{target}: {found}");
        }
        let cut = by_labels(&square, &of, 1.0);
        assert_eq!((weight(&cut, 0, 1), weight(&cut, 2, 3)), (1.0, 1.0));
        assert_eq!(cut.n_edges(), 4);
        // Every row alone: nothing is left.
        let alone = by_labels(&square, &["a", "b", "a", "b"], 1.0);
        assert_eq!(alone, CsrGraph::empty(4));
    }

    fn graph_of_forty() -> CsrGraph {
        let x = ndarray::Array2::from_shape_fn((40, 2), |(i, j)| ((i * 7 + j * 13) % 31) as f64);
        let near = nearest_neighbors(x.view(), 6, Metric::Euclidean, &NoProgress).unwrap();
        fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap()
    }

    #[test]
    fn one_label_only_resets_the_connectivity() {
        let graph = graph_of_forty();
        let one = by_labels(&graph, &["a"; 40], 0.5);
        assert_eq!(one, reset_connectivity(graph.clone(), &NoProgress).unwrap());
        assert_eq!(one.indices(), graph.indices());
        assert_ne!(one, graph);
    }

    #[test]
    fn a_row_that_is_its_own_neighbor_gets_no_edge_to_itself() {
        let graph = path(3, &[1.0, 0.5]);
        let itself_first = Neighbors::new(
            ndarray::array![[0, 1], [1, 0], [2, 1]],
            ndarray::array![[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]],
        );
        for weight in [0.2, 0.5, 0.8] {
            let target = Target::Neighbors(itself_first.as_ref().unwrap());
            let found = supervise(&graph, target, weight, &NoProgress).unwrap();
            for row in 0..3 {
                assert!(found.row(row).all(|(other, _)| other != row));
                // So the largest weight is that to another.
                assert!(found.row(row).any(|(_, w)| w == 1.0));
            }
        }
    }

    #[test]
    fn names_of_labels_do_not_count() {
        let graph = graph_of_forty();
        let name = |names: [&'static str; 3]| (0..40).map(|i| names[i % 3]).collect::<Vec<_>>();
        let first = by_labels(&graph, &name(["a", "b", "?"]), 0.7);
        assert_eq!(first, by_labels(&graph, &name(["z", "m", "?"]), 0.7));
        assert_eq!(first, first.transposed());
    }

    #[test]
    fn weights_of_two_graphs_meet_as_worked_out_by_hand() {
        let graph = path(3, &[1.0, 0.0]);
        let target = path(3, &[0.5, 0.25]);
        for (w, there, both) in [
            (0.5, 0.5 * 0.25, 0.5),
            (0.2, 0.5 * libm::pow(0.25, 0.25), libm::pow(0.5, 0.25)),
            (0.8, libm::pow(0.5, 0.25) * 0.25, 0.5),
            (0.0, 0.5, 1.0),
            (1.0, 0.25, 0.5),
        ] {
            let met = meet(&graph, &target, w, &NoProgress).unwrap();
            assert!((weight(&met, 0, 1) - both).abs() < 1e-15, "{w}");
            assert!((weight(&met, 1, 2) - there).abs() < 1e-15, "{w}");
        }
        // The target has no edge: it weighs 1e-4 there.
        let met = meet(&target, &graph, 0.5, &NoProgress).unwrap();
        assert!((weight(&met, 1, 2) - 0.25e-4).abs() < 1e-18);
        // Below what counts on both sides: the sum.
        let faint = path(2, &[1e-9]);
        let met = meet(&faint, &faint, 0.5, &NoProgress).unwrap();
        assert_eq!(weight(&met, 0, 1), 2e-9);
        // On one side only: what it weighs there, and not a part of what stands for the edge on the other.
        let (one, other) = (path(3, &[1e-9, 0.5]), path(3, &[0.0, 0.5]));
        for w in [0.2, 0.5, 0.8] {
            for (graph, target) in [(&one, &other), (&other, &one)] {
                let met = meet(graph, target, w, &NoProgress).unwrap();
                assert_eq!(weight(&met, 0, 1), 1e-9);
            }
        }
        let none = CsrGraph::empty(2);
        assert_eq!(meet(&none, &none, 0.5, &NoProgress).unwrap(), none);
    }

    #[test]
    fn both_kinds_of_target_ask_on_their_way_whether_to_stop() {
        // Pairs of nodes.
        let n = PATIENCE + 2;
        let partners = (0..n as u32).map(|node| node ^ 1).collect();
        let pairs = CsrGraph::new((0..=n).collect(), partners, vec![1.0; n]).unwrap();
        let known = Categorical::from_labels((0..n).map(|_| "a"));
        let target = Target::Categories(&known);
        let by_labels = |progress: &dyn Progress| supervise(&pairs, target, 0.5, progress);
        assert_eq!(times_asked(by_labels), 5);
        let square = path(4, &[1.0; 4]);
        let next = ndarray::array![[1], [2], [3], [0]];
        let near = Neighbors::new(next, ndarray::Array2::ones((4, 1))).unwrap();
        let target = Target::Neighbors(&near);
        let by_numbers = |progress: &dyn Progress| supervise(&square, target, 0.5, progress);
        assert_eq!(times_asked(by_numbers), 5);
    }

    #[test]
    fn wrong_input_is_refused() {
        let graph = path(3, &[1.0, 0.5]);
        let known = labels(&["a", "b", "a"]);
        for weight in [-0.1, 1.1, f64::NAN] {
            let refused = supervise(&graph, Target::Categories(&known), weight, &NoProgress);
            assert!(matches!(refused, Err(Error::Config(_))));
        }
        let short = labels(&["a", "b"]);
        let refused = supervise(&graph, Target::Categories(&short), 0.5, &NoProgress);
        assert!(matches!(refused, Err(Error::Shape(_))));
        let near = |indices| Neighbors::new(indices, ndarray::array![[1.0], [1.0], [1.0]]).unwrap();
        let outside = near(ndarray::array![[1], [0], [3]]);
        let refused = supervise(&graph, Target::Neighbors(&outside), 0.5, &NoProgress);
        assert!(matches!(refused, Err(Error::Graph(_))));
        let inside = near(ndarray::array![[1], [0], [0]]);
        let refused = supervise(
            &path(2, &[1.0]),
            Target::Neighbors(&inside),
            0.5,
            &NoProgress,
        );
        assert!(matches!(refused, Err(Error::Shape(_))));
        let one_way = CsrGraph::new(vec![0, 1, 1, 1], vec![1], vec![1.0]).unwrap();
        let refused = supervise(&one_way, Target::Categories(&known), 0.5, &NoProgress);
        assert!(matches!(refused, Err(Error::NotSymmetric { .. })));
        let negative = path(3, &[-1.0, 0.5]);
        let refused = supervise(&negative, Target::Neighbors(&inside), 0.5, &NoProgress);
        assert!(matches!(refused, Err(Error::EdgeWeight { .. })));
    }
}

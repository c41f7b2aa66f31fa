//! All stages one after the other, on points in space and on what degenerates: what must come out is worked out by hand.

use ndarray::{Array2, ArrayView2, array, s};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_embed::batch::{RidgeRemoval, RidgeResult, ridge_removal};
use phenocoder_embed::cluster::{Clustering, LeidenConfig, leiden, quality};
use phenocoder_embed::evaluate::{adjusted_rand_index, knn_purity, trustworthiness};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_embed::umap::{UmapConfig, layout};
use phenocoder_embed::{Error, Result};

use crate::golden::max_difference;

/// Every stage of one run.
struct Chain {
    scaled: Array2<f64>,
    ridge: RidgeResult,
    pca: Pca,
    scores: Array2<f64>,
    neighbors: Neighbors,
    graph: CsrGraph,
    map: Array2<f64>,
    clusters: Clustering,
}

/// How neighbours are searched.
#[derive(Clone, Copy)]
enum Search {
    Plain(usize),
    WithinBatch(usize),
}

fn find(x: ArrayView2<'_, f64>, batch: &Categorical, search: Search) -> Result<Neighbors> {
    match search {
        Search::Plain(k) => nearest_neighbors(x, k, Metric::Euclidean, &NoProgress),
        Search::WithinBatch(within) => {
            batch_balanced_neighbors(x, batch, within, Metric::Euclidean, &NoProgress)
        }
    }
}

fn run(x: &Array2<f64>, batch: &Categorical, search: Search) -> Result<Chain> {
    let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
    let scaled = Scaler::fit(x.view(), &config)?.transform(x.view())?;
    let ridge = ridge_removal(scaled.view(), batch, &[], 1.0, &NoProgress)?;
    let pca = Pca::fit(ridge.residual.view(), &PcaConfig::new(8))?;
    let scores = pca.transform(ridge.residual.view())?;
    let neighbors = find(scores.view(), batch, search)?;
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
    let graph = trim(&graph, 10 * (neighbors.k() + 1), &NoProgress)?;
    let map = layout(&graph, &UmapConfig::default(), &NoProgress)?;
    let clusters = leiden(&graph, &LeidenConfig::default(), &NoProgress)?;
    Ok(Chain {
        scaled,
        ridge,
        pca,
        scores,
        neighbors,
        graph,
        map,
        clusters,
    })
}

/// What holds of every run, whatever the rows are.
fn check(chain: &Chain) {
    let n = chain.scaled.nrows();
    for matrix in [
        &chain.scaled,
        &chain.ridge.residual,
        &chain.ridge.explained,
        &chain.scores,
        &chain.map,
    ] {
        assert_eq!(matrix.nrows(), n);
        assert!(matrix.iter().all(|v| v.is_finite()));
    }
    let parts = &chain.ridge.residual + &chain.ridge.explained;
    assert!(max_difference(&parts, &chain.scaled) < 1e-12);
    let variance = chain.pca.explained_variance();
    assert!(variance.iter().all(|&v| v >= 0.0) && variance.is_sorted_by(|a, b| a >= b));
    let share: f64 = chain.pca.explained_variance_ratio().iter().sum();
    assert!((0.0..1.0 + 1e-12).contains(&share), "{share}");
    let components = chain.pca.components();
    let product = components.dot(&components.t());
    assert!(max_difference(&product, &Array2::eye(components.nrows())) < 1e-10);
    for row in 0..n {
        assert!(chain.neighbors.row(row).all(|(other, _)| other != row));
    }
    check_graph(&chain.graph);
    assert_eq!(chain.map.dim(), (n, 2));
    let Clustering { labels, .. } = &chain.clusters;
    assert_eq!(labels.len(), n);
    let sizes = chain.clusters.sizes();
    assert_eq!(sizes.len(), chain.clusters.n_clusters);
    assert_eq!(sizes.iter().sum::<usize>(), n);
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes.iter().all(|&size| size > 0));
    let again = quality(&chain.graph, labels, &LeidenConfig::default()).unwrap();
    assert!((chain.clusters.quality - again).abs() < 1e-12);
}

/// Weights are the same both ways and in (0, 1], no node is its own neighbour, and each belongs fully to another.
fn check_graph(graph: &CsrGraph) {
    assert_eq!(*graph, graph.transposed());
    assert!(graph.values().iter().all(|&w| w > 0.0 && w <= 1.0));
    for node in 0..graph.n_nodes() {
        assert!(graph.row(node).all(|(other, _)| other != node));
        assert!(graph.row(node).any(|(_, w)| w == 1.0), "node {node}");
    }
}

/// The means of the rows of each batch, and their numbers.
fn means(x: &Array2<f64>, batch: &Categorical) -> Vec<(usize, ndarray::Array1<f64>)> {
    (0..batch.categories().len())
        .map(|code| {
            let rows = batch.members(code);
            let sum = x.select(ndarray::Axis(0), &rows).sum_axis(ndarray::Axis(0));
            (rows.len(), sum / rows.len().max(1) as f64)
        })
        .collect()
}

const KINDS: u32 = 4;

/// Four kinds of points in space, 60 each, as twelve columns that are linear in the three coordinates, and three
/// batches of which each holds all kinds; the rows of a batch are moved by `shift` times a direction of its own.
fn in_space(shift: f64) -> (Array2<f64>, Categorical, Vec<u32>) {
    const CORNERS: [[f64; 3]; 4] = [
        [1.0, 1.0, 1.0],
        [1.0, -1.0, -1.0],
        [-1.0, 1.0, -1.0],
        [-1.0, -1.0, 1.0],
    ];
    let mut stream = Seed::new(41).stream("space", 0);
    let kinds: Vec<u32> = (0..240).map(|i| i % KINDS).collect();
    let points = Array2::from_shape_fn((240, 3), |(i, axis)| {
        20.0 * CORNERS[kinds[i] as usize][axis] + stream.normal()
    });
    let columns = Array2::from_shape_fn((3, 12), |_| stream.normal());
    let moves = Array2::from_shape_fn((3, 12), |_| shift * stream.normal());
    let mut x = points.dot(&columns);
    let code = |i: usize| i / 4 % 3;
    for (i, mut row) in x.outer_iter_mut().enumerate() {
        row += &moves.row(code(i));
    }
    let batch = Categorical::from_labels((0..240).map(|i| ["a", "b", "c"][code(i)]));
    (x, batch, kinds)
}

#[test]
fn points_in_space_keep_their_three_dimensions_and_their_neighbors() {
    let (x, batch, kinds) = in_space(0.0);
    let chain = run(&x, &batch, Search::Plain(14)).unwrap();
    check(&chain);
    // Columns are linear in three coordinates, and so is what the batches explain.
    let variance = chain.pca.explained_variance();
    assert_eq!(variance.len(), 8);
    assert!(variance[2] > 1e-3 * variance[0]);
    assert!(variance[3..].iter().all(|&v| v < 1e-12 * variance[0]));
    let first: f64 = chain.pca.explained_variance_ratio()[..3].iter().sum();
    assert!((first - 1.0).abs() < 1e-12, "{first}");
    // The components turn the rows and lose nothing, so all distances stay.
    let metric = Metric::Euclidean;
    let before = nearest_neighbors(chain.ridge.residual.view(), 14, metric, &NoProgress).unwrap();
    assert_eq!(before.indices(), chain.neighbors.indices());
    let moved = &before.distances() - &chain.neighbors.distances();
    assert!(moved.iter().all(|d| d.abs() < 1e-9));
    // Kinds lie far apart: no edge joins two of them.
    assert_eq!(knn_purity(&chain.neighbors, &kinds).unwrap(), 1.0);
    for node in 0..240 {
        assert!(chain.graph.degree(node) >= 14);
        assert!(
            chain
                .graph
                .row(node)
                .all(|(other, _)| kinds[other] == kinds[node])
        );
    }
}

#[test]
fn groups_of_points_in_space_are_found_on_maps_and_by_clusters() {
    let (x, batch, kinds) = in_space(0.0);
    let chain = run(&x, &batch, Search::Plain(14)).unwrap();
    // Parts without edges between them are clusters of their own unless the resolution splits them.
    let gamma = 0.05;
    let config = LeidenConfig::default().with_resolution(gamma);
    let found = leiden(&chain.graph, &config, &NoProgress).unwrap();
    assert_eq!(found.n_clusters, KINDS as usize);
    assert_eq!(adjusted_rand_index(&found.labels, &kinds).unwrap(), 1.0);
    let total: f64 = chain.graph.values().iter().sum();
    let mut shares = [0.0; KINDS as usize];
    for node in 0..240 {
        let strength: f64 = chain.graph.row(node).map(|edge| edge.1).sum();
        shares[kinds[node] as usize] += strength / total;
    }
    let expected = 1.0 - gamma * shares.iter().map(|share| share * share).sum::<f64>();
    assert!((found.quality - expected).abs() < 1e-12);
    for dimensions in [2, 3] {
        let config = UmapConfig::default().with_n_components(dimensions);
        let map = layout(&chain.graph, &config, &NoProgress).unwrap();
        assert_eq!(map.dim(), (240, dimensions));
        let near = nearest_neighbors(map.view(), 10, Metric::Euclidean, &NoProgress).unwrap();
        let purity = knn_purity(&near, &kinds).unwrap();
        assert!(purity > 0.99, "{dimensions}: {purity}");
        let trust = trustworthiness(chain.scores.view(), map.view(), 15, &NoProgress).unwrap();
        assert!(trust > 0.9, "{dimensions}: {trust}");
    }
}

#[test]
fn batches_of_points_in_space_are_moved_together_and_balanced() {
    let (x, batch, kinds) = in_space(10.0);
    let within = 3;
    let chain = run(&x, &batch, Search::WithinBatch(within)).unwrap();
    check(&chain);
    // One factor: (ZᵀZ + I)⁻¹ Zᵀ X is the sum of a batch over its rows and one.
    let before = means(&chain.scaled, &batch);
    let after = means(&chain.ridge.residual, &batch);
    for (code, ((rows, before), (_, after))) in before.iter().zip(&after).enumerate() {
        assert_eq!(*rows, 80);
        let shrunk = *rows as f64 / (*rows as f64 + 1.0);
        for row in batch.members(code) {
            let difference = &chain.ridge.explained.row(row) - &(before * shrunk);
            assert!(difference.iter().all(|d| d.abs() < 1e-12));
        }
        let difference = after - &(before / (*rows as f64 + 1.0));
        assert!(difference.iter().all(|d| d.abs() < 1e-12));
        assert!(before.iter().any(|mean| mean.abs() > 0.05));
    }
    // A row counts itself in its own batch.
    assert_eq!(chain.neighbors.k(), 3 * within - 1);
    for row in 0..240 {
        let mut counts = [0; 3];
        counts[batch.code(row).unwrap()] += 1;
        for (other, _) in chain.neighbors.row(row) {
            counts[batch.code(other).unwrap()] += 1;
        }
        assert_eq!(counts, [within; 3], "row {row}");
    }
    // Kinds are mixed over batches, and rows of one kind stay together.
    assert!(knn_purity(&chain.neighbors, &kinds).unwrap() > 0.99);
    // Fewer edges: nothing new, the strongest stay, and both ways.
    let fewer = trim(&chain.graph, 4, &NoProgress).unwrap();
    check_graph(&fewer);
    assert!(fewer.n_edges() < chain.graph.n_edges());
    for node in 0..240 {
        let all: Vec<(usize, f64)> = chain.graph.row(node).collect();
        assert!(fewer.row(node).all(|edge| all.contains(&edge)));
    }
}

const ROWS: usize = 130;
/// The row whose last value is missing.
const GAP: usize = 17;
/// Rows that repeat one another and are of one batch.
const DOUBLES: [usize; 6] = [100, 102, 106, 108, 110, 112];
/// The columns that say nothing: one of one value, one of zeros and one with the gap.
const EMPTY: [usize; 3] = [9, 10, 11];

/// Twelve columns of which three say nothing, rows 100 to 112 the same, rows 125 to 129 each far away in a direction
/// of its own; batches of 60, 65 and 5 rows and one without any.
fn degenerate() -> (Array2<f64>, Categorical) {
    let mut stream = Seed::new(42).stream("degenerate", 0);
    let mut x = Array2::from_shape_fn((ROWS, 12), |_| stream.normal());
    x.column_mut(9).fill(0.7);
    x.column_mut(10).fill(0.0);
    x[[GAP, 11]] = f64::NAN;
    let first = x.row(100).to_owned();
    for row in 101..=112 {
        x.row_mut(row).assign(&first);
    }
    for row in 125..ROWS {
        x[[row, row - 125]] = 60.0;
    }
    let codes = (0..ROWS).map(|row| match row % 26 {
        0 => 2,
        _ => (row % 2) as i32,
    });
    let names = ["a", "b", "c", "without rows"].map(str::to_owned).to_vec();
    (x, Categorical::new(codes.collect(), names).unwrap())
}

#[test]
fn columns_that_say_nothing_weigh_nothing_in_any_stage() {
    let (x, batch) = degenerate();
    assert_eq!(batch.counts(), [60, 65, 5, 0]);
    let chain = run(&x, &batch, Search::Plain(14)).unwrap();
    check(&chain);
    for column in 0..12 {
        let scaled = chain.scaled.column(column);
        if EMPTY.contains(&column) {
            assert!(scaled.iter().all(|&v| v == 0.0), "{column}");
            assert!(
                chain
                    .ridge
                    .residual
                    .column(column)
                    .iter()
                    .all(|&v| v == 0.0)
            );
            let weights = chain.pca.components();
            assert!(weights.column(column).iter().all(|w| w.abs() < 1e-12));
        } else {
            let mean = scaled.sum() / ROWS as f64;
            let variance = scaled.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 129.0;
            assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12);
        }
    }
    // Nine columns are left: all of their components are the whole, those beyond are none.
    let all = Pca::fit(chain.ridge.residual.view(), &PcaConfig::new(99)).unwrap();
    assert_eq!(all.n_components(), 12);
    assert!(all.explained_variance()[8] > 0.01);
    assert!(all.explained_variance()[9..].iter().all(|&v| v < 1e-12));
    let share: f64 = all.explained_variance_ratio()[..9].iter().sum();
    assert!((share - 1.0).abs() < 1e-12);
}

#[test]
fn a_gap_is_refused_takes_its_column_or_is_filled() {
    let (x, _) = degenerate();
    let fit = |nan, max: Option<f64>| {
        let config = ScaleConfig::default().with_nan(nan).with_max_value(max);
        Scaler::fit(x.view(), &config)
    };
    let error = fit(NanPolicy::Error, None).unwrap_err();
    assert!(matches!(
        error,
        Error::NotFinite {
            row: GAP,
            column: 11,
            ..
        }
    ));
    let given_up = fit(NanPolicy::ColumnToZero, Some(2.0)).unwrap();
    assert_eq!(given_up.zeroed_columns(), [11]);
    assert_eq!((given_up.mean()[9], given_up.std()[9]), (0.7, 1.0));
    assert_eq!((given_up.mean()[10], given_up.std()[10]), (0.0, 1.0));
    let clipped = given_up.transform(x.view()).unwrap();
    assert!(clipped.iter().all(|v| (-2.0..=2.0).contains(v)));
    // Each far row is far in one column alone.
    assert!((125..ROWS).all(|row| clipped[[row, row - 125]] == 2.0));
    let filled = fit(NanPolicy::ImputeMean, None).unwrap();
    assert!(filled.zeroed_columns().is_empty());
    let filled = filled.transform(x.view()).unwrap();
    assert_eq!(filled[[GAP, 11]], 0.0);
    assert!((0..ROWS).all(|row| row == GAP || filled[[row, 11]] != 0.0));
    // The others are what they are without the column.
    let unclipped = fit(NanPolicy::ColumnToZero, None).unwrap();
    let unclipped = unclipped.transform(x.view()).unwrap();
    assert_eq!(filled.slice(s![.., ..11]), unclipped.slice(s![.., ..11]));
    for stage in [
        Pca::fit(x.view(), &PcaConfig::new(2)).err(),
        nearest_neighbors(x.view(), 2, Metric::Cosine, &NoProgress).err(),
        ridge_removal(x.view(), &degenerate().1, &[], 1.0, &NoProgress).err(),
    ] {
        assert!(matches!(stage, Some(Error::NotFinite { row: GAP, .. })));
    }
}

#[test]
fn rows_that_repeat_one_another_stay_together() {
    let (x, batch) = degenerate();
    let chain = run(&x, &batch, Search::Plain(14)).unwrap();
    for row in DOUBLES {
        let others: Vec<usize> = DOUBLES.into_iter().filter(|&other| other != row).collect();
        let near: Vec<(usize, f64)> = chain.neighbors.row(row).collect();
        // Of equally near rows the first comes first.
        let first: Vec<usize> = near[..5].iter().map(|pair| pair.0).collect();
        assert_eq!(first, others, "row {row}");
        assert!(near[..5].iter().all(|pair| pair.1 == 0.0));
        assert!(near[5..].iter().all(|pair| pair.1 > 0.0));
        let edges: Vec<(usize, f64)> = chain.graph.row(row).collect();
        assert!(others.iter().all(|&other| edges.contains(&(other, 1.0))));
        assert_eq!(
            chain.clusters.labels[row],
            chain.clusters.labels[DOUBLES[0]]
        );
    }
    let spread = |map: ArrayView2<'_, f64>| {
        let axes = map.columns().into_iter().map(|axis| {
            let least = axis.iter().copied().fold(f64::INFINITY, f64::min);
            axis.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least
        });
        axes.fold(0.0, f64::max)
    };
    let together = chain.map.select(ndarray::Axis(0), &DOUBLES);
    let (own, all) = (spread(together.view()), spread(chain.map.view()));
    assert!(own < 0.25 * all, "{own} of {all}");
}

#[test]
fn small_and_missing_batches_are_balanced_or_named() {
    let (x, batch) = degenerate();
    let chain = run(&x, &batch, Search::WithinBatch(5)).unwrap();
    check(&chain);
    // The batch without rows is passed over.
    assert_eq!(chain.neighbors.k(), 14);
    for row in 0..ROWS {
        let mut counts = [0; 4];
        for (other, _) in chain.neighbors.row(row) {
            counts[batch.code(other).unwrap()] += 1;
        }
        counts[batch.code(row).unwrap()] += 1;
        assert_eq!(counts, [5, 5, 5, 0], "row {row}");
    }
    let fitted = RidgeRemoval::fit(chain.scaled.view(), &batch, &[], 1.0, &NoProgress).unwrap();
    assert_eq!(fitted.batches(), ["a", "b", "c"]);
    let of_batches = means(&chain.scaled, &batch);
    let difference = &fitted.effects().row(2) - &(&of_batches[2].1 * (5.0 / 6.0));
    assert!(difference.iter().all(|d| d.abs() < 1e-12));
    let asked =
        |batch: &Categorical, within| find(chain.scores.view(), batch, Search::WithinBatch(within));
    assert_eq!(
        asked(&batch, 6),
        Err(Error::SmallBatch {
            batch: "c".to_owned(),
            rows: 5,
            needed: 6
        })
    );
    assert!(matches!(asked(&batch, 0), Err(Error::Config(_))));
    let missing = (0..ROWS).map(|row| (row != 40).then_some("a"));
    let missing = Categorical::from_optional_labels(missing);
    assert_eq!(
        asked(&missing, 2),
        Err(Error::MissingLabel {
            what: "batch",
            row: 40
        })
    );
    // All rows of one batch: a plain search.
    let one = Categorical::from_labels([""; ROWS]);
    let plain = find(chain.scores.view(), &one, Search::Plain(14));
    assert_eq!(asked(&one, 15).unwrap(), plain.unwrap());
    assert!(matches!(
        asked(&one, 1),
        Err(Error::TooFew { found: 1, .. })
    ));
    assert!(matches!(
        asked(&one, ROWS + 1),
        Err(Error::SmallBatch { rows: ROWS, .. })
    ));
}

#[test]
fn every_other_row_may_be_a_neighbor_and_no_more() {
    let (x, batch) = degenerate();
    let chain = run(&x, &batch, Search::Plain(ROWS - 1)).unwrap();
    check(&chain);
    for row in 0..ROWS {
        let mut others: Vec<usize> = chain.neighbors.row(row).map(|pair| pair.0).collect();
        others.sort_unstable();
        assert!(
            others
                .into_iter()
                .eq((0..ROWS).filter(|&other| other != row))
        );
    }
    for k in [ROWS, usize::MAX] {
        let available = ROWS - 1;
        assert_eq!(
            find(chain.scores.view(), &batch, Search::Plain(k)),
            Err(Error::TooManyNeighbors { k, available })
        );
    }
}

#[test]
fn three_rows_weigh_what_their_order_says() {
    let x = array![[0.0], [1.0], [3.0]];
    let batch = Categorical::from_labels(["a"; 3]);
    let chain = run(&x, &batch, Search::Plain(2)).unwrap();
    check(&chain);
    // The mean is 4/3 and the variance 7/3; what one batch explains of columns of mean 0 is 0.
    let expected = (&x - 4.0 / 3.0) / (7.0_f64 / 3.0).sqrt();
    assert!(max_difference(&chain.scores, &expected) < 1e-12);
    // The weights of a row add up to log₂ 3 and the nearest weighs 1, so the other weighs log₂ 3 − 1.
    let second = 3.0_f64.log2() - 1.0;
    let both = second + second - second * second;
    let edges: Vec<(usize, f64)> = (0..3).flat_map(|row| chain.graph.row(row)).collect();
    let expected = [(1, 1.0), (2, both), (0, 1.0), (2, 1.0), (0, both), (1, 1.0)];
    assert_eq!(edges.len(), expected.len());
    for (found, expected) in edges.iter().zip(expected) {
        assert_eq!(found.0, expected.0);
        assert!(
            (found.1 - expected.1).abs() < 2e-5,
            "{found:?} {expected:?}"
        );
    }
    // One cluster, of quality 1 − 1: any other loses.
    assert_eq!(chain.clusters.labels, [0, 0, 0]);
    assert!(chain.clusters.quality.abs() < 1e-12);
}

#[test]
fn one_row_is_too_few_and_two_or_equal_ones_are_one_cluster() {
    let error = run(
        &array![[1.0, 2.0]],
        &Categorical::from_labels(["a"]),
        Search::Plain(1),
    );
    assert!(matches!(
        error.err(),
        Some(Error::TooFew {
            needed: 2,
            found: 1,
            ..
        })
    ));
    let two = array![[1.0, 2.0, 5.0], [3.0, -2.0, 5.0]];
    for (x, components, share) in [(two, 2, 1.0), (Array2::from_elem((6, 3), 0.7), 3, 0.0)] {
        let n = x.nrows();
        let batch = Categorical::from_labels(std::iter::repeat_n("a", n));
        let chain = run(&x, &batch, Search::Plain(n - 1)).unwrap();
        check(&chain);
        // Never more components than rows or columns, and all of the variance is along the first, if there is any.
        assert_eq!(chain.pca.n_components(), components);
        assert!((chain.pca.explained_variance_ratio()[0] - share).abs() < 1e-12);
        // Every row is the nearest one of every other: all belong fully together.
        assert_eq!(chain.graph.n_edges(), n * (n - 1));
        assert!(chain.graph.values().iter().all(|&weight| weight == 1.0));
        assert_eq!(chain.clusters.n_clusters, 1);
        assert!(chain.clusters.quality.abs() < 1e-12);
    }
}

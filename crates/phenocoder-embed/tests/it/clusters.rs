//! k-means and Gaussian mixtures against scikit-learn 1.9.1, communities of the constant Potts model against igraph
//! 1.0.0 and leidenalg 0.12.0: `tests/data/make_clusters.py`.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, NoProgress, Seed};
use phenocoder_embed::cluster::{
    Covariance, KMeansConfig, LeidenConfig, LeidenObjective, MixtureConfig, MixtureStart,
    gaussian_mixture, kmeans, leiden, quality,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/clusters.json")).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(shape, rows.concat()).unwrap()
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn assert_close<'a>(
    found: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
    what: &str,
) {
    let found: Vec<f64> = found.into_iter().copied().collect();
    let expected: Vec<f64> = expected.into_iter().copied().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        let allowed = 1e-9 * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= allowed,
            "{what}: {found} {expected}"
        );
    }
}

#[test]
fn sums_of_squares_of_k_means_are_as_low_as_those_of_scikit_learn() {
    let golden = golden();
    let sets = golden["kmeans"].as_array().unwrap();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mut ratios, mut settled) = (Vec::new(), 0);
    for set in sets {
        let (name, x) = (&set["name"], matrix(&set["x"]));
        for (k, theirs) in set["inertias"].as_object().unwrap() {
            let theirs: Vec<f64> = of(theirs);
            let config = KMeansConfig::new(k.parse().unwrap()).with_restarts(10);
            let ours: Vec<f64> = (0..theirs.len() as u64)
                .map(|seed| sum_of_squares(&x, &config.clone().with_seed(Seed::new(seed))))
                .collect();
            // Of as many runs the best differs from seed to seed where there are no clear clusters, there and here.
            let ratio = mean(&ours) / mean(&theirs);
            assert!(ratio <= 1.03, "{name}, {k} clusters: {ratio}");
            ratios.push(ratio);
            let (least, most) = theirs
                .iter()
                .fold((f64::MAX, 0.0), |(a, b), &v| (v.min(a), v.max(b)));
            if most <= 1.005 * least {
                settled += 1;
                assert!(ratio <= 1.01, "{name}, {k} clusters: {ratio}");
            }
        }
    }
    assert_eq!(ratios.len(), 12);
    assert!(settled >= 4, "{settled}");
    assert!(mean(&ratios) <= 1.01, "{ratios:?}");
}

/// What k-means reports, which is what it is.
fn sum_of_squares(x: &Array2<f64>, config: &KMeansConfig) -> f64 {
    let found = kmeans(x.view(), config, &NoProgress).unwrap();
    let rows = x.outer_iter().zip(&found.clustering.labels);
    let squares: f64 = rows
        .map(|(row, &label)| &row - &found.centers.row(label as usize))
        .map(|difference| difference.dot(&difference))
        .sum();
    assert!((squares / -found.clustering.quality - 1.0).abs() < 1e-12);
    squares
}

#[test]
fn mixtures_from_a_given_start_are_those_of_scikit_learn() {
    let golden = &golden()["mixture"];
    let (x, new) = (matrix(&golden["x"]), matrix(&golden["new"]));
    let fits = golden["fits"].as_array().unwrap();
    assert_eq!(fits.len(), 8);
    for fit in fits {
        let kind: Covariance = of(&fit["kind"]);
        let name = format!("{kind:?}, {} rounds", fit["iterations"]);
        let start = &fit["start"];
        let config = MixtureConfig::new(3)
            .with_covariance(kind)
            .with_iterations(of(&fit["iterations"]))
            .with_tolerance(of(&fit["tolerance"]))
            .with_start(MixtureStart::new(
                of(&start["weights"]),
                matrix(&start["means"]),
                matrix(&start["covariances"]),
            ));
        let found = gaussian_mixture(x.view(), &config, &NoProgress).unwrap();
        assert_eq!(found.iterations(), of::<usize>(&fit["rounds"]), "{name}");
        assert_eq!(found.converged(), of::<bool>(&fit["converged"]), "{name}");
        assert_close(found.weights(), &of::<Vec<f64>>(&fit["weights"]), &name);
        assert_close(found.means().iter(), &matrix(&fit["means"]), &name);
        assert_close(
            found.covariances().iter(),
            &matrix(&fit["covariances"]),
            &name,
        );
        assert_eq!(found.clustering().labels, of::<Vec<u32>>(&fit["labels"]));
        for (value, expected) in [
            (found.log_likelihood(), &fit["score"]),
            (found.bic(), &fit["bic"]),
            (found.aic(), &fit["aic"]),
        ] {
            assert_close(&[value], &[of::<f64>(expected)], &name);
        }
        let told = found.probabilities(new.view()).unwrap();
        assert_close(&told, &matrix(&fit["probabilities_of_new"]), &name);
    }
}

fn graph(value: &Value) -> CsrGraph {
    let n: usize = of(&value["nodes"]);
    let mut edges: Vec<(u32, u32, f64)> = of(&value["edges"]);
    let back: Vec<_> = edges.iter().map(|&(a, b, w)| (b, a, w)).collect();
    edges.extend(back);
    edges.sort_by_key(|edge| (edge.0, edge.1));
    let before = |node: usize| edges.partition_point(|edge| (edge.0 as usize) < node);
    let indptr = (0..=n).map(before).collect();
    let indices = edges.iter().map(|edge| edge.1).collect();
    CsrGraph::new(indptr, indices, edges.iter().map(|edge| edge.2).collect()).unwrap()
}

#[test]
fn communities_of_the_potts_model_are_as_good_as_those_of_igraph_and_leidenalg() {
    let golden = golden();
    let graphs = golden["graphs"].as_object().unwrap();
    assert_eq!(graphs.len(), 2);
    for (name, value) in graphs {
        let graph = graph(value);
        let (n, total) = (graph.n_nodes() as f64, graph.values().iter().sum::<f64>());
        let communities = value["communities"].as_array().unwrap();
        assert_eq!(communities.len(), 3);
        for theirs in communities {
            let resolution: f64 = of(&theirs["resolution"]);
            let config = LeidenConfig::default()
                .with_objective(LeidenObjective::Cpm)
                .with_resolution(resolution);
            // igraph's quality is ours; leidenalg sums over pairs, so that no node meets itself, and does not divide.
            let of_igraph: f64 = of(&theirs["igraph"]["quality"]);
            let of_leidenalg: f64 = of(&theirs["leidenalg"]["quality"]);
            let of_leidenalg = (of_leidenalg - resolution * n) / total;
            for (peer, expected) in [("igraph", of_igraph), ("leidenalg", of_leidenalg)] {
                let labels: Vec<u32> = of(&theirs[peer]["labels"]);
                let found = quality(&graph, &labels, &config).unwrap();
                assert!(
                    (found - expected).abs() < 1e-10,
                    "{name} {peer}: {found} {expected}"
                );
            }
            for seed in 0..5 {
                let config = config.clone().with_seed(Seed::new(seed));
                let found = leiden(&graph, &config, &NoProgress).unwrap().quality;
                let best = of_igraph.max(of_leidenalg);
                assert!(
                    found >= best - 0.005,
                    "{name}, {resolution}, seed {seed}: {found} {best}"
                );
            }
        }
    }
}

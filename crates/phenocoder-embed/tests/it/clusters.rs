//! k-means and Gaussian mixtures against scikit-learn 1.9.1, communities of the constant Potts model against igraph
//! 1.0.0 and leidenalg 0.12.0, graphs without their directions against igraph: `tests/data/make_clusters.py`.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, NoProgress, Seed};
use phenocoder_embed::cluster::{
    Covariance, KMeansConfig, LeidenConfig, LeidenObjective, MixtureConfig, MixtureStart,
    gaussian_mixture, kmeans, leiden, quality,
};
use phenocoder_embed::fuzzy::{Directions, to_undirected};
use serde_json::Value;

use crate::golden::{dense, directed, graph_difference, matrix, of, undirected};

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/clusters.json")).unwrap()
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

/// Of as many runs, from starts of their own.
#[test]
fn mixtures_are_as_likely_as_those_of_scikit_learn() {
    let golden = golden();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let cases = golden["mixture"]["likeliest"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    let mut settled = 0;
    for case in cases {
        let x = match case["set"].as_str().unwrap() {
            "x" => matrix(&golden["mixture"]["x"]),
            name => {
                let sets = golden["kmeans"].as_array().unwrap();
                matrix(&sets.iter().find(|set| set["name"] == name).unwrap()["x"])
            }
        };
        let theirs: Vec<f64> = of(&case["scores"]);
        let config = MixtureConfig::new(of(&case["components"]))
            .with_covariance(of(&case["kind"]))
            .with_restarts(10);
        let ours: Vec<f64> = (0..theirs.len() as u64)
            .map(|seed| {
                let config = config.clone().with_seed(Seed::new(seed));
                let found = gaussian_mixture(x.view(), &config, &NoProgress).unwrap();
                found.log_likelihood()
            })
            .collect();
        // One hundredth of the size of the value, which is negative here.
        let allowed = 0.01 * mean(&theirs).abs();
        assert!(mean(&ours) >= mean(&theirs) - allowed, "{case}: {ours:?}");
        let least = theirs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = theirs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most - least <= 0.001 * most.abs() {
            settled += 1;
            let worst = ours.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(worst >= most - allowed, "{case}: {ours:?}");
        }
    }
    assert!(settled >= 8, "{settled}");
}

fn graph(value: &Value) -> CsrGraph {
    undirected(of(&value["nodes"]), of(&value["edges"]))
}

#[test]
fn graphs_without_directions_are_those_of_igraph() {
    let golden = &golden()["directions"];
    let n: usize = of(&golden["nodes"]);
    let graph = directed(n, of(&golden["edges"]));
    assert_ne!(graph, graph.transposed());
    let found = |directions| to_undirected(&graph, directions).unwrap();
    for (directions, name) in [
        (Directions::Sum, "sum"),
        (Directions::Larger, "larger"),
        (Directions::Smaller, "smaller"),
    ] {
        let error = graph_difference(&found(directions), &undirected(n, of(&golden[name])));
        assert!(error < 1e-6, "{name}: {error:e}");
    }
    // There, the mean of an edge in one direction is its weight; here, a direction that is not there weighs 0.
    let means = dense(&found(Directions::Mean));
    let edges: Vec<(usize, usize, f64)> = of(&golden["mean_of_both"]);
    assert!(edges.len() > 10);
    for (i, j, expected) in edges {
        assert!((means[[i, j]] - expected).abs() < 1e-6, "{i} {j}");
    }
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

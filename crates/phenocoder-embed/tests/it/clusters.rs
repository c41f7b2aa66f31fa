//! k-means and Gaussian mixtures against scikit-learn 1.9.1, communities of the constant Potts model against igraph
//! 1.0.0 and leidenalg 0.12.0, graphs without their directions against igraph: `tests/data/make_clusters.py`.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, NoProgress, Seed};
use phenocoder_embed::cluster::{
    Covariance, KMeansConfig, KMeansStart, LeidenConfig, LeidenObjective, MixtureConfig,
    MixtureStart, gaussian_mixture, kmeans, leiden, quality,
};
use phenocoder_embed::fuzzy::{Directions, to_undirected};
use serde_json::Value;

use crate::golden::{dense, directed, graph_difference, matrix, of, undirected};

/// Of as many seeds the medians of k-means are compared.
const SEEDS: u64 = 40;
/// Mixtures of as many seeds are compared.
const RUNS: u64 = 100;

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
fn clusters_from_given_centers_are_those_of_scikit_learn() {
    let golden = golden();
    let mut compared = 0;
    for set in golden["kmeans"].as_array().unwrap() {
        let x = matrix(&set["x"]);
        for theirs in set["from_start"].as_array().unwrap() {
            let (k, name): (usize, _) = (of(&theirs["clusters"]), &set["name"]);
            let start = KMeansStart::new(matrix(&theirs["start"]));
            let config = KMeansConfig::new(k).with_start(start);
            let found = kmeans(x.view(), &config, &NoProgress).unwrap();
            let labels: Vec<u32> = of(&theirs["labels"]);
            assert_eq!(found.clustering.labels, labels, "{name}, {k} clusters");
            let what = format!("{name}, {k} clusters");
            assert_close(&found.centers, &matrix(&theirs["centers"]), &what);
            let squares = -found.clustering.quality;
            assert_close(&[squares], &[of::<f64>(&theirs["inertia"])], &what);
            // As many rounds as theirs are enough.
            let fewer = config.with_iterations(of::<usize>(&theirs["rounds"]));
            assert_eq!(kmeans(x.view(), &fewer, &NoProgress).unwrap(), found);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn sums_of_squares_of_k_means_are_as_low_as_those_of_scikit_learn() {
    let golden = golden();
    let sets = golden["kmeans"].as_array().unwrap();
    let mut compared = 0;
    for set in sets {
        let (name, x) = (&set["name"], matrix(&set["x"]));
        for (k, theirs) in set["inertias"].as_object().unwrap() {
            let mut theirs: Vec<f64> = of(theirs);
            assert_eq!(theirs.len(), 80);
            let config = KMeansConfig::new(k.parse().unwrap()).with_restarts(10);
            let mut ours: Vec<f64> = (0..SEEDS)
                .map(|seed| sum_of_squares(&x, &config.clone().with_seed(Seed::new(seed))))
                .collect();
            // The best of ten runs differs from seed to seed where there are no clear clusters, there and here.
            let ratio = median(&mut ours) / median(&mut theirs);
            assert!(ratio <= 1.01, "{name}, {k} clusters: {ratio}");
            // The median has sorted them, and does not see a few seeds that fail.
            let ratio = ours[ours.len() - 1] / theirs[theirs.len() - 1];
            assert!(ratio <= 1.05, "{name}, {k} clusters, worst: {ratio}");
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    f64::midpoint(values[middle - 1], values[middle])
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

/// Single runs from starts of their own; where one ends is chance, so that all of them are compared.
#[test]
fn mixtures_are_as_likely_as_those_of_scikit_learn() {
    let golden = golden();
    let cases = golden["mixture"]["single_runs"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let name = format!("{} {} {}", case["set"], case["kind"], case["components"]);
        let x = match case["set"].as_str().unwrap() {
            "x" => matrix(&golden["mixture"]["x"]),
            name => {
                let sets = golden["kmeans"].as_array().unwrap();
                matrix(&sets.iter().find(|set| set["name"] == name).unwrap()["x"])
            }
        };
        let mut theirs: Vec<f64> = of(&case["scores"]);
        assert_eq!(theirs.len(), 200);
        theirs.sort_by(f64::total_cmp);
        let kind: Covariance = of(&case["kind"]);
        let likelihood = |config: &MixtureConfig| {
            let config = config.clone().with_covariance(kind);
            let found = gaussian_mixture(x.view(), &config, &NoProgress).unwrap();
            found.log_likelihood()
        };
        let config = MixtureConfig::new(of(&case["components"]));
        let ours: Vec<f64> = (0..RUNS)
            .map(|seed| likelihood(&config.clone().with_seed(Seed::new(seed))))
            .collect();
        // One component fits the rows somehow; what more of them add is what counts.
        let gain = theirs.iter().sum::<f64>() / 200.0 - likelihood(&MixtureConfig::new(1));
        assert!(gain > 0.0, "{name}");
        let allowed = 0.01 * gain;
        // Of 20,000 draws of a hundred runs of scikit-learn, 8 fall short of this in some case.
        let (found, expected) = (
            share_as_likely(&ours, &theirs, allowed),
            share_as_likely(&theirs, &theirs, allowed),
        );
        assert!(found >= expected - 0.2, "{name}: {found} {expected}");
        // Nine of ten of theirs end lower than this, but not a hundred in a row.
        let (best, tenth) = (
            ours.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            theirs[180],
        );
        assert!(best >= tenth - allowed, "{name}: {best} {tenth}");
    }
}

/// Of all pairs of a run of `a` and one of `b`, the share in which the former is as likely, or less by what is allowed.
fn share_as_likely(a: &[f64], b: &[f64], allowed: f64) -> f64 {
    let as_likely = |one: &f64| b.iter().filter(|&&other| *one >= other - allowed).count();
    a.iter().map(as_likely).sum::<usize>() as f64 / (a.len() * b.len()) as f64
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
    let found = |directions| to_undirected(&graph, directions, &NoProgress).unwrap();
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

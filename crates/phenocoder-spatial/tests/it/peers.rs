//! What the reference sets lack: small sets with results of squidpy 1.8.3 (sepal on hexagons), networkx 3.7 (centralities of
//! nodes, betweenness of groups, assortativity) and esda 2.10 (local and bivariate statistics), made by `data/make_peers.py`.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_spatial::assortativity::{assortativity, numeric_assortativity};
use phenocoder_spatial::autocorrelation::{
    LocalAutocorrelation, LocalConfig, LocalNull, Normalization, PermutationConfig, Quadrant,
    SpatialWeights, Tail, TestConfig, bivariate_moran, bivariate_moran_permuted, lee_l,
    local_bivariate_moran, local_geary, local_moran,
};
use phenocoder_spatial::centrality::{
    BetweennessConfig, BetweennessScale, NodeCloseness, betweenness_centrality,
    closeness_centrality, degree_centrality, group_betweenness,
};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use serde_json::Value;

use crate::sets::{assert_close, numbers};

fn peers() -> Value {
    serde_json::from_str(include_str!("../data/peers.json")).unwrap()
}

fn whole(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|n| n as usize).collect()
}

fn graph(value: &Value) -> CsrGraph {
    let indices: Vec<u32> = whole(&value["indices"]).iter().map(|&i| i as u32).collect();
    let values = vec![1.0; indices.len()];
    CsrGraph::new(whole(&value["indptr"]), indices, values).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn labels(value: &Value) -> Categorical {
    Categorical::from_labels(whole(value).iter().map(ToString::to_string))
}

#[test]
fn sepal_on_hexagons_is_squidpy_s() {
    let golden = &peers()["sepal_hexagonal"];
    let (points, x) = (matrix(&golden["points"]), matrix(&golden["x"]));
    let config = SepalConfig::new(Lattice::Hexagonal);
    let graph = graph(&golden["graph"]);
    let found = sepal(&graph, points.view(), x.view(), &config, &NoProgress).unwrap();
    for (found, expected) in found.iter().zip(numbers(&golden["scores"])) {
        let same = found.is_nan() && expected.is_nan();
        assert!(
            same || (found - expected).abs() < 1e-9,
            "{found} ≠ {expected}"
        );
    }
}

#[test]
fn centralities_of_nodes_and_groups_are_those_of_networkx() {
    let golden = peers();
    for name in ["radius", "nearest"] {
        let golden = &golden[name];
        let graph = graph(&golden["graph"]);
        let close = |key: &str, found: &[f64]| {
            assert_close(
                &format!("{name} {key}"),
                found,
                &numbers(&golden[key]),
                1e-12,
            );
        };
        close("degree", &degree_centrality(&graph));
        for (key, definition) in [
            ("closeness", NodeCloseness::Improved),
            ("closeness_reachable", NodeCloseness::ReachableOnly),
        ] {
            close(
                key,
                &closeness_centrality(&graph, definition, &NoProgress).unwrap(),
            );
        }
        for (key, scale) in [
            ("betweenness", BetweennessScale::Fraction),
            ("betweenness_pairs", BetweennessScale::Pairs),
        ] {
            let config = BetweennessConfig::new().with_scale(scale);
            close(
                key,
                &betweenness_centrality(&graph, &config, &NoProgress).unwrap(),
            );
        }
    }
    let golden = &golden["groups"];
    let graph = graph(&golden["graph"]);
    let config = BetweennessConfig::new();
    let found = group_betweenness(&graph, &labels(&golden["labels"]), &config, &NoProgress);
    let expected = numbers(&golden["betweenness"]);
    assert_close("groups", &found.unwrap(), &expected, 1e-12);
}

#[test]
fn assortativity_is_that_of_networkx() {
    let golden = peers();
    let labels = labels(&golden["set"]["labels"]);
    let x = matrix(&golden["set"]["x"]);
    for name in ["radius", "nearest"] {
        let golden = &golden[name];
        let graph = graph(&golden["graph"]);
        let expected = golden["assortativity"].as_f64().unwrap();
        assert_close(
            name,
            &[assortativity(&graph, &labels).unwrap()],
            &[expected],
            1e-12,
        );
        let found = numeric_assortativity(&graph, x.view()).unwrap();
        assert_close(
            name,
            &found,
            &numbers(&golden["numeric_assortativity"]),
            1e-12,
        );
    }
}

/// The points that have neighbors, as esda takes them.
struct Linked {
    graph: CsrGraph,
    x: Array2<f64>,
    y: Array2<f64>,
}

fn linked(all: &Value, name: &str) -> Linked {
    let rows = whole(&all[name]["linked"]);
    let full = graph(&all[name]["graph"]);
    let position = |node: u32| rows.binary_search(&(node as usize)).unwrap() as u32;
    let mut indptr = vec![0];
    let mut indices: Vec<u32> = Vec::new();
    for &row in &rows {
        indices.extend(full.neighbors(row).iter().map(|&other| position(other)));
        indptr.push(indices.len());
    }
    let values = vec![1.0; indices.len()];
    let of = |key: &str| matrix(&all["set"][key]).select(ndarray::Axis(0), &rows);
    Linked {
        graph: CsrGraph::new(indptr, indices, values).unwrap(),
        x: of("x"),
        y: of("y"),
    }
}

#[test]
fn local_and_bivariate_statistics_are_those_of_esda() {
    let golden = peers();
    for name in ["radius", "nearest"] {
        let set = linked(&golden, name);
        let n = set.x.nrows() as f64;
        for (kind, normalization) in [("r", Normalization::Row), ("b", Normalization::None)] {
            let weights = SpatialWeights::default().with_normalization(normalization);
            let config = LocalConfig::new()
                .with_weights(weights)
                .with_tail(Tail::One);
            let total = config.with_moments(LocalNull::Total);
            let run = |config: &LocalConfig| {
                local_moran(&set.graph, set.x.view(), config, &NoProgress).unwrap()
            };
            let (moran, of_all) = (run(&config), run(&total));
            let geary = local_geary(&set.graph, set.x.view(), &config, &NoProgress).unwrap();
            let (x, y) = (set.x.view(), set.y.view());
            let both = local_bivariate_moran(&set.graph, x, y, &config, &NoProgress).unwrap();
            let test = TestConfig::new().with_weights(weights);
            let bivariate = bivariate_moran(&set.graph, x, y, &test).unwrap();
            let lee = lee_l(&set.graph, x, y, &weights).unwrap();
            for f in 0..2 {
                let golden = &golden[name][format!("esda_{kind}")][format!("x{f}")];
                let close = |key: &str, found: &[f64]| {
                    let expected = numbers(&golden[key]);
                    assert_close(&format!("{name} {kind} {f} {key}"), found, &expected, 1e-10);
                };
                // esda divides by Σ z² / (n − 1), we by Σ z² / n.
                let scaled = |m: &Array2<f64>, by: f64| -> Vec<f64> {
                    m.column(f).iter().map(|v| v * by).collect()
                };
                close("moran", &scaled(&moran.statistic, (n - 1.0) / n));
                close("moran_expected", &scaled(&of_all.expected, 1.0));
                close("moran_variance", &scaled(&of_all.variance, 1.0));
                close("moran_conditional_expected", &scaled(&moran.expected, 1.0));
                close("moran_conditional_variance", &scaled(&moran.variance, 1.0));
                // esda's local Geary always has weights that sum to 1.
                let degrees = (0..set.graph.n_nodes()).map(|node| match normalization {
                    Normalization::Row => 1.0,
                    _ => set.graph.degree(node) as f64,
                });
                let column = geary.statistic.column(f).to_vec();
                let per_weight = column.iter().zip(degrees).map(|(c, degree)| c / degree);
                close("geary", &per_weight.collect::<Vec<f64>>());
                close("bivariate", &scaled(&both.statistic, (n - 1.0) / n));
                let global = golden["global_bivariate"].as_f64().unwrap();
                // esda divides by n, we by the sum of the weights.
                let by_n = match normalization {
                    Normalization::Row => 1.0,
                    _ => set.graph.n_edges() as f64 / n,
                };
                assert_close(name, &[bivariate.statistic[f] * by_n], &[global], 1e-10);
                if let Some(expected) = golden["lee"].as_f64() {
                    assert_close(name, &[lee[f]], &[expected], 1e-10);
                }
                let quadrants = moran.quadrant.column(f);
                let quadrant = quadrants.iter().map(|q| match q {
                    Some(Quadrant::HighHigh) => 1.0,
                    Some(Quadrant::LowHigh) => 2.0,
                    Some(Quadrant::LowLow) => 3.0,
                    Some(Quadrant::HighLow) => 4.0,
                    _ => f64::NAN,
                });
                close("moran_quadrant", &quadrant.collect::<Vec<f64>>());
            }
        }
    }
}

#[test]
fn conditional_permutations_give_the_p_values_of_esda() {
    let golden = peers();
    let permutations = 4999;
    for name in ["radius", "nearest"] {
        let set = linked(&golden, name);
        for (kind, normalization) in [("r", Normalization::Row), ("b", Normalization::None)] {
            let weights = SpatialWeights::default().with_normalization(normalization);
            let config = LocalConfig::new()
                .with_weights(weights)
                .with_tail(Tail::One)
                .with_permutations(permutations)
                .with_seed(Seed::new(3));
            let x = set.x.view();
            let moran = local_moran(&set.graph, x, &config, &NoProgress).unwrap();
            let geary = local_geary(&set.graph, x, &config, &NoProgress).unwrap();
            for f in 0..2 {
                let golden = &golden[name][format!("esda_{kind}")][format!("x{f}")];
                for (key, found) in [("moran_p_9999", &moran), ("geary_p_9999", &geary)] {
                    let found = found.p_value.as_ref().unwrap();
                    let pairs = found.column(f).to_vec();
                    let pairs = pairs.into_iter().zip(numbers(&golden[key]));
                    for (node, (p, q)) in pairs.enumerate() {
                        let spread = (p * (1.0 - p) * (1.0 / 5000.0 + 1.0 / 10_000.0)).sqrt();
                        let tolerance = 5.0 * spread + 3e-4;
                        // Draws that are the neighbors themselves tie: we count them on both sides, esda above only.
                        let others = (set.x.nrows() - 1) as f64;
                        let drawn =
                            |ties: f64, i: usize| ties * (i + 1) as f64 / (others - i as f64);
                        let ties = (0..set.graph.degree(node)).fold(1.0, drawn);
                        let within = -tolerance..=tolerance + ties;
                        assert!(within.contains(&(p - q)), "{name} {key} {node}: {p} ≠ {q}");
                    }
                }
            }
        }
    }
}

/// Mean and variance of the statistic of every cell over conditional permutations, by the p-values of the exact moments.
#[test]
fn moments_are_those_of_many_arrangements() {
    let golden = peers();
    let set = linked(&golden, "nearest");
    let n = set.x.nrows();
    let y = set.y.view();
    type Statistic<'a> = &'a dyn Fn(ArrayView2<'_, f64>, &LocalConfig) -> LocalAutocorrelation;
    let moran = |x: ArrayView2<'_, f64>, c: &LocalConfig| {
        local_moran(&set.graph, x, c, &NoProgress).unwrap()
    };
    let geary = |x: ArrayView2<'_, f64>, c: &LocalConfig| {
        local_geary(&set.graph, x, c, &NoProgress).unwrap()
    };
    let statistics: [Statistic<'_>; 2] = [&moran, &geary];
    for statistic in statistics {
        let config = LocalConfig::new();
        // A node keeps its value, or none does.
        for (moments, kept) in [(LocalNull::Conditional, Some(5)), (LocalNull::Total, None)] {
            let expected = statistic(y, &config.with_moments(moments));
            let draws = 4000;
            let (mut sum, mut square) = (0.0, 0.0);
            for i in 0..draws {
                let mut order = Seed::new(2).stream("order", i).permutation(n);
                if let Some(kept) = kept {
                    let at = order.iter().position(|&o| o == kept).unwrap();
                    order.swap(at, kept);
                }
                let value = statistic(y.select(ndarray::Axis(0), &order).view(), &config);
                let value = value.statistic[[5, 0]];
                sum += value;
                square += value * value;
            }
            let mean = sum / draws as f64;
            let variance = square / draws as f64 - mean * mean;
            let (e, v) = (expected.expected[[5, 0]], expected.variance[[5, 0]]);
            assert!(
                (mean - e).abs() < 5.0 * (v / draws as f64).sqrt(),
                "{mean} ≠ {e}"
            );
            assert!((variance / v - 1.0).abs() < 0.2, "{variance} ≠ {v}");
        }
    }
}

#[test]
fn permutations_of_two_features_have_the_exact_moments() {
    let golden = peers();
    let set = linked(&golden, "nearest");
    let (x, y) = (set.x.view(), set.y.view());
    let config = PermutationConfig::new(2000).with_tail(Tail::Two);
    let test = TestConfig::new().with_tail(Tail::Two);
    let exact = bivariate_moran(&set.graph, x, y, &test).unwrap();
    let drawn = bivariate_moran_permuted(&set.graph, x, y, &config, &NoProgress).unwrap();
    for f in 0..2 {
        assert_close(
            "statistic",
            &[drawn.statistic[f]],
            &[exact.statistic[f]],
            1e-12,
        );
        let spread = (exact.variance[f] / 2000.0).sqrt();
        assert!(drawn.mean[f].abs() < 4.0 * spread);
        assert!((drawn.variance[f] / exact.variance[f] - 1.0).abs() < 0.2);
        // The distribution is skewed, so only the normal approximations of both agree.
        assert!((drawn.p_value_normal[f] - exact.p_value[f]).abs() < 0.05);
    }
}

//! Parity with squidpy 1.8.3, networkx 3.7 and esda 2.10 on the sets `grid2d` and `random2d`; tolerances: spatial.md §14.

use ndarray::{Array1, Array2};
use phenocoder_core::{Categorical, Coords, CsrGraph, Features, NoProgress, Unit};
use phenocoder_spatial::autocorrelation::{
    Normalization, Precision, SpatialWeights, Tail, TestConfig, adjust_fdr, geary_c, geary_test,
    moran_i, moran_test,
};
use phenocoder_spatial::centrality::{Closeness, clustering_coefficients, group_centrality};
use phenocoder_spatial::connectivity::{connected_components, degree_statistics};
use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_exact, enrichment_permuted};
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix, row_normalized};
use phenocoder_spatial::neighbors::{knn_graph, radius_interval_graph, symmetrized};
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::summary::{Mode, StatisticsConfig, spatial_statistics};
use phenocoder_spatial::{radius_graph, radius_graph_within};
use phenocoder_testdata::max_relative_error;

use crate::sets::{assert_close, assert_same_graph, flat, matrix, number, numbers, sets, strings};

#[test]
fn radius_graphs_have_the_same_edges_and_distances() {
    for set in sets() {
        let points = set.points.view();
        for (i, radius) in set.radii().into_iter().enumerate() {
            let what = format!("{}, radius {radius}", set.name);
            let graph = radius_graph(points, radius).unwrap();
            assert_same_graph(&what, &graph, &set.graph(&format!("radius{i}"), "dist"));
        }
        let ends = numbers(&set.json["inputs"]["interval"]);
        let graph = radius_interval_graph(points, None, ends[0], ends[1]).unwrap();
        assert_same_graph(set.name, &graph, &set.graph("radius_interval", "dist"));
        let codes: Array1<i64> = set.npz.array("in_lib");
        let libraries = Categorical::from_labels(codes.iter().map(ToString::to_string));
        let graph = radius_graph_within(points, &libraries, set.radii()[1]).unwrap();
        assert_same_graph(set.name, &graph, &set.graph("radius1_lib", "dist"));
    }
}

#[test]
fn nearest_neighbors_have_the_same_distances() {
    for set in sets() {
        let k = set.json["inputs"]["knn"].as_u64().unwrap() as usize;
        let graph = knn_graph(set.points.view(), k).unwrap();
        let golden = set.graph("knn", "dist");
        for row in 0..graph.n_nodes() {
            // Ties are broken arbitrarily in the golden: only the distances are comparable.
            let sorted = |graph: &CsrGraph| {
                let mut distances: Vec<f64> = graph.row(row).map(|(_, d)| d).collect();
                distances.sort_by(f64::total_cmp);
                distances
            };
            assert_close(set.name, &sorted(&graph), &sorted(&golden), 1e-12);
        }
        if set.name == "random2d" {
            assert_same_graph(set.name, &graph, &golden);
        }
    }
}

#[test]
fn interactions_are_exact() {
    for set in sets() {
        for (name, graph, golden) in set.graphs() {
            let found = interaction_matrix(&graph, &set.labels, EdgeWeight::One).unwrap();
            let what = format!("{} {name}", set.name);
            assert_eq!(flat(&found), matrix(&golden["interaction"]), "{what}");
            let normalized = matrix(&golden["interaction_normalized"]);
            assert_close(&what, &flat(&row_normalized(&found)), &normalized, 1e-12);
            let weighted = interaction_matrix(&graph, &set.labels, EdgeWeight::Value).unwrap();
            assert_close(
                &what,
                &flat(&weighted),
                &matrix(&golden["interaction_weights"]),
                1e-12,
            );
            let mut codes = set.labels.codes().to_vec();
            codes.iter_mut().step_by(17).for_each(|code| *code = -1);
            let some = Categorical::new(codes, set.labels.categories().to_vec()).unwrap();
            let found = interaction_matrix(&graph, &some, EdgeWeight::One).unwrap();
            let golden = matrix(&golden["interaction_every17th_label_nan"]);
            assert_eq!(flat(&found), golden, "{what}, labels missing");
        }
        for (name, graph, golden) in set.further_graphs() {
            let found = interaction_matrix(&graph, &set.labels, EdgeWeight::One).unwrap();
            assert_eq!(
                flat(&found),
                matrix(&golden["interaction"]),
                "{} {name}",
                set.name
            );
        }
        for name in ["radius1_spectral", "radius1_cosine"] {
            let graph = set.graph(name, "conn");
            let found = interaction_matrix(&graph, &set.labels, EdgeWeight::Value).unwrap();
            let golden = &set.json["stats"][name]["interaction_weights"];
            // Sums of weights of single precision in the golden.
            assert_close(name, &flat(&found), &matrix(golden), 1e-6);
        }
    }
}

#[test]
fn exact_enrichment_has_the_moments_of_all_permutations() {
    for set in sets() {
        for (name, graph, golden) in set.graphs() {
            let what = format!("{} {name}", set.name);
            let found = enrichment_exact(&graph, &set.labels).unwrap();
            let exact = &golden["nhood_exact_permutation_moments"];
            assert_close(&what, &flat(&found.mean), &matrix(&exact["mean"]), 1e-10);
            assert_close(&what, &flat(&found.variance), &matrix(&exact["var"]), 1e-10);
            assert_close(&what, &flat(&found.z), &matrix(&exact["z"]), 1e-10);
            let squidpy = &golden["nhood_1000_seed0"];
            assert_eq!(flat(&found.count), matrix(&squidpy["count"]), "{what}");
            let p = 1000.0_f64;
            let config = EnrichmentConfig::new();
            let ours = enrichment_permuted(&graph, &set.labels, None, &config, &NoProgress);
            let ours = ours.unwrap();
            for drawn in [flat(&ours.z), matrix(&squidpy["zscore"])] {
                for (z, exact) in drawn.iter().zip(flat(&found.z)) {
                    let spread = 1.0 / p.sqrt() + exact.abs() / (2.0 * p).sqrt();
                    assert!((z - exact).abs() <= 4.0 * spread, "{what}: {z} ≠ {exact}");
                }
            }
        }
    }
}

#[test]
fn centralities_are_those_of_squidpy_and_networkx() {
    for set in sets() {
        for (name, graph, golden) in set.graphs() {
            let found = group_centrality(&graph, &set.labels, Closeness::AllNodes).unwrap();
            for (i, category) in set.labels.categories().iter().enumerate() {
                let what = format!("{} {name} {category}", set.name);
                let golden = &golden["centrality_per_cluster_networkx"][category];
                for (score, found) in [
                    ("group_degree_centrality", found.degree[i]),
                    ("average_clustering", found.clustering[i]),
                    ("group_closeness_centrality", found.closeness[i]),
                ] {
                    assert_close(
                        &format!("{what} {score}"),
                        &[found],
                        &[number(&golden[score])],
                        1e-12,
                    );
                }
            }
            let key = format!("s_{name}_node_clustering");
            if set.npz.names().contains(&key) {
                let expected: Array1<f64> = set.npz.array(&key);
                let found = clustering_coefficients(&graph);
                assert_close(&key, &found, expected.as_slice().unwrap(), 1e-12);
            }
        }
    }
}

#[test]
fn degrees_and_components_are_the_same() {
    for set in sets() {
        for (name, graph, golden) in set.graphs() {
            let found = degree_statistics(&graph, &set.labels).unwrap().overall;
            let mean = number(&golden["degree_col_sum_mean"]);
            let std = number(&golden["degree_col_sum_std_ddof0"]);
            // Means of single precision in the golden.
            assert_close(name, &[found.mean, found.std], &[mean, std], 1e-6);
            let key = format!("s_{name}_components");
            if set.npz.names().contains(&key) {
                let expected: Array1<i32> = set.npz.array(&key);
                let found = connected_components(&graph);
                let expected: Vec<u32> = expected.iter().map(|&c| c as u32).collect();
                assert_eq!(found.of_node, expected, "{} {name}", set.name);
                let degrees: Array1<i64> = set.npz.array(&format!("s_{name}_degree_undirected"));
                let both = symmetrized(&graph);
                for (row, &degree) in degrees.iter().enumerate() {
                    assert_eq!(both.degree(row) as i64, degree, "{} {name} {row}", set.name);
                }
            }
        }
    }
}

#[test]
fn message_passing_in_compat_mode_is_that_of_the_original() {
    for set in sets() {
        for (name, graph, _) in set.graphs() {
            let key = format!("s_{name}_message_passing_A_Dinv_X");
            if !set.npz.names().contains(&key) {
                continue;
            }
            let expected: Array2<f64> = set.npz.array(&key);
            let found = message_passing(set.x.view(), &graph, Smoothing::Compat).unwrap();
            let error = max_relative_error(&flat(&found), &flat(&expected), 1e-3);
            assert!(error <= 1e-6, "{} {name}: {error}", set.name);
        }
    }
}

#[test]
fn autocorrelations_equal_those_of_squidpy_and_esda() {
    // squidpy rounds the weights, which shows where I is near 0.
    let single = SpatialWeights::default().with_precision(Precision::Single);
    for set in sets() {
        let onehot =
            Array2::from_shape_fn((set.x.nrows(), set.labels.categories().len()), |(i, c)| {
                f64::from(u8::from(set.labels.code(i) == Some(c)))
            });
        for (name, graph, golden) in set.further_graphs() {
            let i = moran_i(&graph, set.x.view(), &single).unwrap();
            let golden = numbers(&golden["moran_features_rownorm1"]["I"]);
            assert_close(name, &i, &golden, 1e-6);
        }
        for (name, graph, golden) in set.graphs() {
            for (x, columns) in [(&set.x, "features"), (&onehot, "onehot")] {
                for (normalization, suffix) in [
                    (Normalization::Row, "rownorm1"),
                    (Normalization::None, "rownorm0"),
                ] {
                    let weights = single.with_normalization(normalization);
                    let what = |statistic: &str| format!("{statistic}_{columns}_{suffix}");
                    let (moran, geary) = (&golden[what("moran")], &golden[what("geary")]);
                    let config = TestConfig::new().with_weights(weights);
                    let i = moran_test(&graph, x.view(), &config).unwrap();
                    let c = geary_test(&graph, x.view(), &config).unwrap();
                    let place = format!("{} {name} {columns} {suffix}", set.name);
                    for (key, golden, test) in [("I", moran, &i), ("C", geary, &c)] {
                        let what = format!("{place} {key}");
                        assert_close(&what, &test.statistic, &numbers(&golden[key]), 1e-6);
                        let variance = numbers(&golden["var_norm"])[0];
                        // Summed in single precision in the golden; in double precision by esda, see below.
                        assert_close(&what, &test.variance[..1], &[variance], 1e-5);
                        let p = numbers(&golden["pval_norm"]);
                        assert_absolute(&what, &test.p_value, &p);
                        let adjusted = &golden["pval_norm_fdr_bh"];
                        if adjusted.is_array() && p.iter().all(|p| !p.is_nan()) {
                            assert_absolute(&what, &adjust_fdr(&test.p_value), &numbers(adjusted));
                        }
                    }
                    let two = config.with_tail(Tail::Two);
                    let two = moran_test(&graph, x.view(), &two).unwrap();
                    let golden = &golden[format!("{}_two_tailed", what("moran"))];
                    if golden.is_object() {
                        assert_absolute(&place, &two.p_value, &numbers(&golden["pval_norm"]));
                    }
                }
            }
        }
    }
}

fn assert_absolute(what: &str, found: &[f64], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        let same = (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= 1e-6;
        assert!(same, "{what}: {found} ≠ {expected}");
    }
}

#[test]
fn autocorrelations_equal_those_of_esda_in_double_precision() {
    let mut compared = 0;
    for set in sets() {
        for (name, graph, golden) in set.graphs() {
            let squidpy = numbers(&golden["moran_features_rownorm1"]["I"]);
            let esda = &golden["esda_features_rownorm1"];
            let weights = SpatialWeights::default();
            let i = moran_test(&graph, set.x.view(), &TestConfig::new()).unwrap();
            let c = geary_test(&graph, set.x.view(), &TestConfig::new()).unwrap();
            assert_eq!(
                i.statistic,
                moran_i(&graph, set.x.view(), &weights).unwrap()
            );
            assert_eq!(
                c.statistic,
                geary_c(&graph, set.x.view(), &weights).unwrap()
            );
            assert_absolute(name, &i.statistic, &squidpy);
            for (f, feature) in strings(&set.json["inputs"]["features"]).iter().enumerate() {
                let golden = &esda[feature];
                for (key, found) in [
                    ("I", i.statistic[f]),
                    ("C", c.statistic[f]),
                    ("EI", i.expected[f]),
                    ("VI_norm", i.variance[f]),
                    ("VC_norm", c.variance[f]),
                ] {
                    if golden[key].is_null() {
                        continue;
                    }
                    let what = format!("{} {name} {feature} {key}", set.name);
                    assert_close(&what, &[found], &[number(&golden[key])], 1e-12);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 0 || sets().is_empty());
}

#[test]
fn the_row_of_statistics_is_that_of_the_original() {
    for set in sets() {
        let n = set.points.nrows();
        let points = Coords::new(set.points.clone(), Unit::Unspecified).unwrap();
        let features =
            Features::new(set.x.clone(), strings(&set.json["inputs"]["features"])).unwrap();
        let units = Categorical::from_labels(vec!["all"; n]);
        let config = StatisticsConfig::new(set.radii().split_off(1)).with_mode(Mode::Compat);
        let table = spatial_statistics(
            &points,
            &units,
            &set.labels,
            Some(&features),
            &config,
            &NoProgress,
        )
        .unwrap();
        let mut compared = 0;
        for (group, golden) in set.json["phenocoder_row"].as_object().unwrap() {
            for (name, expected) in golden.as_object().unwrap() {
                // The golden's radii are printed by Python: 25.0 for 25.
                let found = table.column(&name.replace(".0_stat:", "_stat:"));
                let found = found.unwrap_or_else(|| panic!("{name} is not in the table"));
                let tolerance = match group.as_str() {
                    "interactions" | "centrality" => 1e-12,
                    "chull" => 1e-10,
                    _ => 1e-6,
                };
                let what = format!("{} {name}", set.name);
                assert_close(&what, &found, &[number(expected)], tolerance);
                compared += 1;
            }
        }
        println!("{}: {compared} statistics", set.name);
        assert_eq!(compared, 250);
    }
}

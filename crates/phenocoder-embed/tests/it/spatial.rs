//! The embedding stages of the point sets in `spatial/`, at the tolerances of the specification.

use ndarray::{Array1, Array2};
use phenocoder_core::{NoProgress, Seed};
use phenocoder_embed::batch::ridge_removal;
use phenocoder_embed::cluster::{LeidenConfig, leiden, quality};
use phenocoder_embed::evaluate::trustworthiness;
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{Metric, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_embed::select::{SeuratConfig, VariableConfig, VariableFlavor, variable_features};
use phenocoder_embed::umap::{Curve, UmapConfig, cross_entropy, layout};
use phenocoder_testdata::{Npz, find};
use serde_json::Value;

use crate::golden::{assert_all_or_missing, categorical, csr, graph_difference, max_difference};

const SETS: [&str; 2] = ["random2d", "grid2d"];

/// The arrays of a set beside those of graphs and clusterings.
const STAGES: [&str; 10] = [
    "e_scaled",
    "e_scaled_max2",
    "e_scaled_nocentre_max2",
    "e_ridge_b_residual",
    "e_ridge_b_explained",
    "e_ridge_bc_residual",
    "e_ridge_bc_explained",
    "e_pca_X",
    "e_pca_components_rows",
    "e_umap_seed0",
];
/// Trimming changes no distance, so those of the trimmed graph are not among them.
const GRAPHS: [&str; 7] = [
    "nb_conn",
    "nb_dist",
    "bbknn3_conn",
    "bbknn3_dist",
    "bbknn5_conn",
    "bbknn5_dist",
    "bbknn5_trim8_conn",
];
/// What describes them; entries of scaling, ridge, neighbours and `bbknn` name arrays and settings.
const ENTRIES: [&str; 16] = [
    "scale_mean_std",
    "scale_max2",
    "scale_nocentre",
    "ridge_batch",
    "ridge_batch_conf",
    "hvg_default_on_scaled",
    "hvg_top5_on_abs",
    "hvg_nbins4_on_abs",
    "pca",
    "neighbors15",
    "umap_ab",
    "umap",
    "leiden",
    "bbknn_cKDTree_3",
    "bbknn_cKDTree_5",
    "bbknn_cKDTree_5_trim8",
];

/// Runs a check on every set that is here.
fn on_sets(check: impl Fn(&str, &Npz, &Value)) {
    for set in SETS {
        let (Some(npz), Some(json)) = (
            find(&format!("spatial/{set}.npz")),
            find(&format!("spatial/{set}.json")),
        ) else {
            return;
        };
        let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        check(set, &Npz::open(&npz), &json["embed"]);
    }
}

/// Scores as the reference keeps them: rounded to single precision.
fn scores(npz: &Npz) -> Array2<f64> {
    npz.array::<f32, ndarray::Ix2>("e_pca_X").mapv(f64::from)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The stages of a set and the entries that describe them: each is compared below.
#[test]
fn no_part_of_the_reference_values_is_left_out() {
    on_sets(|set, npz, json| {
        let mut expected = STAGES.map(str::to_owned).to_vec();
        for graph in GRAPHS {
            expected.extend(["indptr", "indices", "data"].map(|part| format!("e_{graph}_{part}")));
        }
        for flavor in ["igraph", "leidenalg"] {
            expected.extend(["0.5", "1.0", "2.0"].map(|r| format!("e_leiden_{flavor}_r{r}")));
        }
        expected.sort();
        let mut stages = npz.names();
        stages.retain(|name| name.starts_with("e_"));
        stages.sort();
        assert_eq!(stages, expected, "{set}");
        for entry in json.as_object().unwrap().keys() {
            assert!(ENTRIES.contains(&entry.as_str()), "{set}: {entry}");
        }
        assert_eq!(json.as_object().unwrap().len(), ENTRIES.len(), "{set}");
    });
}

#[test]
fn scaling_equals_scanpy() {
    on_sets(|set, npz, json| {
        let x: Array2<f64> = npz.array("in_X");
        let base = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(x.view(), &base).unwrap();
        let expected = &json["scale_mean_std"];
        assert_all_or_missing(scaler.mean(), &expected["mean"], 1e-10);
        assert_all_or_missing(scaler.std(), &expected["std"], 1e-10);
        for (name, config) in [
            ("e_scaled", base.clone()),
            ("e_scaled_max2", base.clone().with_max_value(2.0)),
            (
                "e_scaled_nocentre_max2",
                base.clone().with_max_value(2.0).with_center(false),
            ),
        ] {
            let scaled = Scaler::fit(x.view(), &config)
                .unwrap()
                .transform(x.view())
                .unwrap();
            let error = max_difference(&scaled, &npz.array(name));
            assert!(error < 1e-10, "{set} {name}: {error:e}");
        }
    });
}

#[test]
fn variable_columns_equal_those_of_scanpy() {
    on_sets(|set, npz, json| {
        let scaled: Array2<f64> = npz.array("e_scaled");
        let positive = npz
            .array::<f64, ndarray::Ix2>("in_X")
            .mapv(|v| v.abs().ln_1p());
        let bins = |n| VariableFlavor::Seurat(SeuratConfig::default().with_n_bins(n));
        let base = VariableConfig::default().with_flavor(bins(20));
        for (name, x, config) in [
            ("hvg_default_on_scaled", &scaled, base.clone()),
            ("hvg_top5_on_abs", &positive, base.clone().with_n_top(5)),
            (
                "hvg_nbins4_on_abs",
                &positive,
                base.clone().with_flavor(bins(4)),
            ),
        ] {
            let expected = &json[name];
            let found = variable_features(x.view(), &config, &NoProgress).unwrap();
            let selected: Vec<bool> =
                serde_json::from_value(expected["highly_variable"].clone()).unwrap();
            assert_eq!(found.selected, selected, "{set} {name}");
            assert_all_or_missing(&found.means, &expected["means"], 1e-10);
            assert_all_or_missing(&found.dispersions, &expected["dispersions"], 1e-10);
            // The reference was rounded to single precision.
            let rounded: Vec<f64> = found
                .normalized
                .iter()
                .map(|&v| f64::from(v as f32))
                .collect();
            assert_all_or_missing(&rounded, &expected["dispersions_norm"], 3e-7);
        }
    });
}

#[test]
fn ridge_removal_equals_bbknn() {
    on_sets(|set, npz, _| {
        let x: Array2<f64> = npz.array("e_scaled");
        let (batch, other) = (categorical(npz, "in_batch"), categorical(npz, "in_conf"));
        for (name, confounders) in [("b", vec![]), ("bc", vec![&other])] {
            let result = ridge_removal(x.view(), &batch, &confounders, 1.0).unwrap();
            let residual = npz.array(&format!("e_ridge_{name}_residual"));
            let explained = npz.array(&format!("e_ridge_{name}_explained"));
            let error = max_difference(&result.residual, &residual)
                .max(max_difference(&result.explained, &explained));
            assert!(error < 1e-10, "{set} ridge {name}: {error:e}");
        }
    });
}

#[test]
fn components_variances_and_signs_equal_scanpy() {
    on_sets(|set, npz, json| {
        let x: Array2<f64> = npz.array("e_scaled");
        let pca = Pca::fit(x.view(), &PcaConfig::new(8)).unwrap();
        let error = max_difference(
            &pca.components().to_owned(),
            &npz.array("e_pca_components_rows"),
        );
        assert!(error < 1e-8, "{set}: {error:e}");
        for (name, ours, tolerance) in [
            ("variance", pca.explained_variance().to_vec(), 1e-10),
            ("variance_ratio", pca.explained_variance_ratio(), 1e-10),
        ] {
            for (i, &value) in ours.iter().enumerate() {
                let expected = number(&json["pca"][name][i]);
                assert!(
                    (value - expected).abs() < tolerance * expected,
                    "{set} {name} {i}"
                );
            }
        }
        let error = max_difference(&pca.transform(x.view()).unwrap(), &scores(npz));
        assert!(error < 1e-5, "{set} scores in single precision: {error:e}");
    });
}

#[test]
fn neighbors_and_fuzzy_weights_equal_scanpy() {
    on_sets(|set, npz, _| {
        let neighbors =
            nearest_neighbors(scores(npz).view(), 14, Metric::Euclidean, &NoProgress).unwrap();
        let distances = neighbors.to_graph().unwrap();
        let expected = csr(npz, "e_nb_dist");
        assert_eq!(distances.indices(), expected.indices(), "{set}");
        let error = graph_difference(&distances, &expected);
        assert!(error < 1e-5, "{set}: {error:e}");
        let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default()).unwrap();
        let error = graph_difference(&graph, &csr(npz, "e_nb_conn"));
        assert!(error < 1e-4, "{set}: {error:e}");
    });
}

#[test]
fn batch_balanced_graphs_equal_bbknn() {
    on_sets(|set, npz, _| {
        let x = scores(npz);
        let batch = categorical(npz, "in_batch");
        for (name, within, keep) in [
            ("e_bbknn3", 3, 90),
            ("e_bbknn5", 5, 150),
            ("e_bbknn5_trim8", 5, 8),
        ] {
            let neighbors =
                batch_balanced_neighbors(x.view(), &batch, within, Metric::Euclidean, &NoProgress)
                    .unwrap();
            if keep > 8 {
                let distances = neighbors.to_graph().unwrap();
                let expected = csr(npz, &format!("{name}_dist"));
                assert_eq!(distances.indices(), expected.indices(), "{set} {name}");
                assert!(
                    graph_difference(&distances, &expected) < 1e-5,
                    "{set} {name}"
                );
            }
            let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default()).unwrap();
            let graph = trim(&graph, keep).unwrap();
            let error = graph_difference(&graph, &csr(npz, &format!("{name}_conn")));
            assert!(error < 1e-4, "{set} {name}: {error:e}");
        }
    });
}

/// What stages pass on is ours here, in double precision, where the tests above begin with what the reference passed on.
#[test]
fn the_chain_from_the_features_reaches_the_graphs_of_the_reference() {
    on_sets(|set, npz, _| {
        let x: Array2<f64> = npz.array("in_X");
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(x.view(), &config).unwrap();
        let scaled = scaler.transform(x.view()).unwrap();
        let pca = Pca::fit(scaled.view(), &PcaConfig::new(8)).unwrap();
        let own = pca.transform(scaled.view()).unwrap();
        assert!(max_difference(&own, &scores(npz)) < 1e-5, "{set}");
        let batch = categorical(npz, "in_batch");
        let plain = nearest_neighbors(own.view(), 14, Metric::Euclidean, &NoProgress).unwrap();
        let balanced = |within| {
            let metric = Metric::Euclidean;
            batch_balanced_neighbors(own.view(), &batch, within, metric, &NoProgress).unwrap()
        };
        for (name, neighbors, keep) in [
            ("e_nb_conn", plain, x.nrows()),
            ("e_bbknn3_conn", balanced(3), 90),
            ("e_bbknn5_conn", balanced(5), 150),
            ("e_bbknn5_trim8_conn", balanced(5), 8),
        ] {
            let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default()).unwrap();
            let graph = trim(&graph, keep).unwrap();
            let error = graph_difference(&graph, &csr(npz, name));
            assert!(error < 1e-4, "{set} {name}: {error:e}");
        }
    });
}

#[test]
fn the_curve_equals_umap_learn() {
    on_sets(|set, _, json| {
        for (name, spread, min_dist) in [
            ("spread1_min_dist0.1", 1.0, 0.1),
            ("spread1_min_dist0.5", 1.0, 0.5),
            ("spread2_min_dist0.25", 2.0, 0.25),
        ] {
            let curve = Curve::fit(spread, min_dist);
            let expected = &json["umap_ab"][name];
            let error = (curve.a - number(&expected[0]))
                .abs()
                .max((curve.b - number(&expected[1])).abs());
            assert!(error < 1e-6, "{set} {name}: {curve:?}");
        }
    });
}

#[test]
fn the_objective_of_the_reference_map_is_the_reference_value() {
    on_sets(|set, npz, json| {
        let graph = csr(npz, "e_nb_conn");
        let map: Array2<f64> = npz.array("e_umap_seed0");
        let curve = Curve::fit(1.0, 0.1);
        let value = cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap();
        let expected = number(&json["umap"][0]["cross_entropy_all_pairs"]);
        assert!(
            (value - expected).abs() < 1e-6 * expected,
            "{set}: {value} and {expected}"
        );
        let trust = trustworthiness(scores(npz).view(), map.view(), 15, &NoProgress).unwrap();
        let expected = number(&json["umap"][0]["trustworthiness15"]);
        assert!(
            (trust - expected).abs() < 1e-6,
            "{set}: {trust} and {expected}"
        );
    });
}

#[test]
fn maps_are_as_good_as_those_of_umap_learn() {
    on_sets(|set, npz, json| {
        let graph = csr(npz, "e_nb_conn");
        let runs = json["umap"].as_array().unwrap();
        let mut entropies: Vec<f64> = runs
            .iter()
            .map(|r| number(&r["cross_entropy_all_pairs"]))
            .collect();
        entropies.sort_by(f64::total_cmp);
        let trusts = runs.iter().map(|r| number(&r["trustworthiness15"]));
        let least = trusts.fold(1.0, f64::min);
        for seed in 0..3 {
            let config = UmapConfig::default().with_seed(Seed::new(seed));
            let map = layout(&graph, &config, &NoProgress).unwrap();
            let curve = config.curve().unwrap();
            let entropy = cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap();
            let trust = trustworthiness(scores(npz).view(), map.view(), 15, &NoProgress).unwrap();
            let ratio = entropy / entropies[1];
            assert!(ratio <= 1.05, "{set} seed {seed}: {ratio}");
            assert!(
                trust >= least - 0.01,
                "{set} seed {seed}: {trust} and {least}"
            );
        }
    });
}

/// With two pulls an edge the map is that of umap-learn in kind: its objective lies where umap-learn's does.
#[test]
fn two_pulls_an_edge_reach_the_objective_of_umap_learn() {
    on_sets(|set, npz, json| {
        let graph = csr(npz, "e_nb_conn");
        let config = UmapConfig::default().with_edge_pulls(2);
        let map = layout(&graph, &config, &NoProgress).unwrap();
        let curve = config.curve().unwrap();
        let entropy = cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap();
        let expected = number(&json["umap"][0]["cross_entropy_all_pairs"]);
        let ratio = entropy / expected;
        assert!((0.7..1.1).contains(&ratio), "{set}: {ratio}");
    });
}

#[test]
fn the_quality_of_each_reference_clustering_is_the_reference_value() {
    on_sets(|set, npz, json| {
        let graph = csr(npz, "e_nb_conn");
        let runs = json["leiden"].as_array().unwrap();
        assert_eq!(runs.len(), 6);
        for run in runs {
            let (flavor, resolution) =
                (run["flavor"].as_str().unwrap(), number(&run["resolution"]));
            let name = format!("e_leiden_{flavor}_r{resolution:.1}");
            let labels: Array1<i64> = npz.array(&name);
            let labels: Vec<u32> = labels.iter().map(|&l| l as u32).collect();
            let clusters = labels.iter().max().map_or(0, |&last| last + 1);
            assert_eq!(u64::from(clusters), run["n_clusters"].as_u64().unwrap());
            let config = LeidenConfig::default().with_resolution(resolution);
            let found = quality(&graph, &labels, &config).unwrap();
            let expected = number(&run["Q_formula_at_resolution"]);
            assert!(
                (found - expected).abs() < 1e-6,
                "{set} {name}: {found} {expected}"
            );
        }
    });
}

#[test]
fn clusterings_are_as_good_as_those_of_igraph_and_leidenalg() {
    on_sets(|set, npz, json| {
        let graph = csr(npz, "e_nb_conn");
        for resolution in [0.5, 1.0, 2.0] {
            let config = LeidenConfig::default().with_resolution(resolution);
            let best = json["leiden"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|run| number(&run["resolution"]) == resolution)
                .map(|run| number(&run["Q_formula_at_resolution"]))
                .fold(0.0, f64::max);
            for seed in 0..3 {
                for restarts in [1, 4] {
                    let config = config
                        .clone()
                        .with_seed(Seed::new(seed))
                        .with_restarts(restarts);
                    let found = leiden(&graph, &config, &NoProgress).unwrap();
                    let again = quality(&graph, &found.labels, &config).unwrap();
                    assert!((found.quality - again).abs() < 1e-12);
                    assert!(
                        found.quality >= best - 0.005,
                        "{set} {resolution} {seed}: {} < {best}",
                        found.quality
                    );
                }
            }
        }
    });
}

//! The embedding stages of the point sets in `spatial/`, at the tolerances of the specification.
//!
//! Every set that is there is taken, and of each what it holds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ndarray::{Array1, Array2, s};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_embed::batch::ridge_removal;
use phenocoder_embed::cluster::{LeidenConfig, leiden, quality};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{Metric, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_embed::select::{SeuratConfig, VariableConfig, VariableFlavor, variable_features};
use phenocoder_embed::umap::{Curve, UmapConfig, cross_entropy, layout};
use phenocoder_testdata::{Npz, find};
use serde_json::Value;

use crate::golden::{
    assert_all_or_missing, assert_maps_as_good, graph_difference, judged, max_difference, median,
    note, of, read_by,
};

/// A set with what the peers make of it; what is read of it is noted.
struct Set {
    name: String,
    npz: Npz,
    arrays: BTreeSet<String>,
    json: Value,
}

impl Set {
    fn open(path: PathBuf) -> Self {
        let npz = Npz::open(&path);
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            arrays: npz.names().into_iter().collect(),
            npz,
            json: json["embed"].clone(),
        }
    }

    /// Whether there is an array or an entry of this name.
    fn has(&self, name: &str) -> bool {
        self.arrays.contains(name) || self.json.get(name).is_some()
    }

    fn noted<'a>(&self, name: &'a str) -> &'a str {
        note(format!("{}/{name}", self.name));
        name
    }

    fn matrix(&self, name: &str) -> Array2<f64> {
        self.npz.array(self.noted(name))
    }

    fn integers(&self, name: &str) -> Array1<i64> {
        self.npz.array(self.noted(name))
    }

    fn graph(&self, name: &str) -> CsrGraph {
        let integers = |part: &str| self.integers(&format!("{name}_{part}"));
        let values: Array1<f64> = self.npz.array(self.noted(&format!("{name}_data")));
        CsrGraph::new(
            integers("indptr").iter().map(|&v| v as usize).collect(),
            integers("indices").iter().map(|&v| v as u32).collect(),
            values.to_vec(),
        )
        .unwrap()
    }

    fn labels(&self, name: &str) -> Categorical {
        let codes = self.integers(name);
        Categorical::from_labels(codes.iter().map(|code| format!("{code:03}")))
    }

    /// Scores as the reference keeps them: rounded to single precision.
    fn scores(&self) -> Array2<f64> {
        let scores: Array2<f32> = self.npz.array(self.noted("e_pca_X"));
        scores.mapv(f64::from)
    }

    /// The entry at this place, such as `pca/variance`.
    fn entry(&self, place: &str) -> &Value {
        let entry = self.json.pointer(&format!("/{}", self.noted(place)));
        entry.unwrap_or_else(|| panic!("{}: no {place}", self.name))
    }

    fn number(&self, place: &str) -> f64 {
        self.entry(place).as_f64().unwrap()
    }

    /// A number that is written as text.
    fn count(&self, place: &str) -> usize {
        self.entry(place).as_str().unwrap().parse().unwrap()
    }

    /// The runs under this name, each by its place.
    fn runs(&self, name: &str) -> Vec<String> {
        let runs = self.json[name].as_array().map_or(0, Vec::len);
        (0..runs).map(|run| format!("{name}/{run}")).collect()
    }

    /// The names of all arrays of embeddings and of all entries that describe them.
    fn all(&self) -> BTreeSet<String> {
        let arrays = self.arrays.iter().filter(|name| name.starts_with("e_"));
        let mut all: BTreeSet<String> = arrays.cloned().collect();
        add_leaves(&self.json, "", &mut all);
        all.iter()
            .map(|name| format!("{}/{name}", self.name))
            .collect()
    }
}

fn add_leaves(value: &Value, place: &str, all: &mut BTreeSet<String>) {
    let within = |key: &str| match place {
        "" => key.to_owned(),
        place => format!("{place}/{key}"),
    };
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                add_leaves(entry, &within(key), all);
            }
        }
        Value::Array(runs) if runs.iter().any(Value::is_object) => {
            for (run, entry) in runs.iter().enumerate() {
                add_leaves(entry, &within(&run.to_string()), all);
            }
        }
        Value::Null => {}
        _ => {
            all.insert(place.to_owned());
        }
    }
}

/// The sets that are here.
fn sets() -> Vec<Set> {
    let Some(folder) = find("spatial") else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "npz"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(Set::open).collect()
}

/// Runs a check on every set that holds what it is about.
fn on_sets_with(part: &str, check: impl Fn(&str, &Set)) {
    for set in sets().iter().filter(|set| set.has(part)) {
        check(&set.name, set);
    }
}

/// The tests below compare what they read.
#[test]
fn no_part_of_the_reference_values_is_left_out() {
    let read = read_by(&[
        scaling_equals_scanpy,
        variable_columns_equal_those_of_scanpy,
        ridge_removal_equals_bbknn,
        components_variances_and_signs_equal_scanpy,
        neighbors_and_fuzzy_weights_equal_scanpy,
        batch_balanced_graphs_equal_bbknn,
        the_curve_equals_umap_learn,
        the_objective_of_the_reference_map_is_the_reference_value,
        maps_are_as_good_as_those_of_umap_learn,
        the_quality_of_each_reference_clustering_is_the_reference_value,
    ]);
    for set in sets() {
        let all = set.all();
        let left_out: Vec<&String> = all.difference(&read).collect();
        assert!(left_out.is_empty(), "{left_out:?}");
    }
}

#[test]
fn scaling_equals_scanpy() {
    on_sets_with("scale_mean_std", |name, set| {
        let x = set.matrix("in_X");
        let base = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(x.view(), &base).unwrap();
        assert_all_or_missing(scaler.mean(), set.entry("scale_mean_std/mean"), 1e-10);
        assert_all_or_missing(scaler.std(), set.entry("scale_mean_std/std"), 1e-10);
        let clipped = base.clone().with_max_value(2.0);
        for (entry, array, config) in [
            (None, "e_scaled", base.clone()),
            (Some("scale_max2"), "e_scaled_max2", clipped.clone()),
            (
                Some("scale_nocentre"),
                "e_scaled_nocentre_max2",
                clipped.with_center(false),
            ),
        ] {
            if let Some(entry) = entry {
                assert_eq!(set.entry(entry), "npz", "{name}");
            }
            let scaler = Scaler::fit(x.view(), &config).unwrap();
            let scaled = scaler.transform(x.view()).unwrap();
            let error = max_difference(&scaled, &set.matrix(array));
            assert!(error < 1e-10, "{name} {array}: {error:e}");
        }
    });
}

#[test]
fn variable_columns_equal_those_of_scanpy() {
    on_sets_with("hvg_default_on_scaled", |name, set| {
        let scaled = set.matrix("e_scaled");
        let positive = set.matrix("in_X").mapv(|v| v.abs().ln_1p());
        let bins = |n| VariableFlavor::Seurat(SeuratConfig::default().with_n_bins(n));
        let base = VariableConfig::default().with_flavor(bins(20));
        for (case, x, config) in [
            ("hvg_default_on_scaled", &scaled, base.clone()),
            ("hvg_top5_on_abs", &positive, base.clone().with_n_top(5)),
            (
                "hvg_nbins4_on_abs",
                &positive,
                base.clone().with_flavor(bins(4)),
            ),
        ] {
            let expected = |part: &str| set.entry(&format!("{case}/{part}"));
            let found = variable_features(x.view(), &config, &NoProgress).unwrap();
            let selected: Vec<bool> = of(expected("highly_variable"));
            assert_eq!(found.selected, selected, "{name} {case}");
            assert_all_or_missing(&found.means, expected("means"), 1e-10);
            assert_all_or_missing(&found.dispersions, expected("dispersions"), 1e-10);
            // The reference was rounded to single precision.
            let rounded: Vec<f64> = found
                .normalized
                .iter()
                .map(|&v| f64::from(v as f32))
                .collect();
            assert_all_or_missing(&rounded, expected("dispersions_norm"), 3e-7);
        }
    });
}

#[test]
fn ridge_removal_equals_bbknn() {
    on_sets_with("ridge_batch", |name, set| {
        let x = set.matrix("e_scaled");
        let (batch, other) = (set.labels("in_batch"), set.labels("in_conf"));
        for (entry, case, confounders) in [
            ("ridge_batch", "b", vec![]),
            ("ridge_batch_conf", "bc", vec![&other]),
        ] {
            assert_eq!(set.entry(entry), "npz", "{name}");
            let result = ridge_removal(x.view(), &batch, &confounders, 1.0, &NoProgress).unwrap();
            let residual = set.matrix(&format!("e_ridge_{case}_residual"));
            let explained = set.matrix(&format!("e_ridge_{case}_explained"));
            let error = max_difference(&result.residual, &residual)
                .max(max_difference(&result.explained, &explained));
            assert!(error < 1e-10, "{name} ridge {case}: {error:e}");
        }
    });
}

#[test]
fn components_variances_and_signs_equal_scanpy() {
    on_sets_with("pca", |name, set| {
        let x = set.matrix("e_scaled");
        let count = set.number("pca/n_comps") as usize;
        let pca = Pca::fit(x.view(), &PcaConfig::new(count)).unwrap();
        let variance: Vec<f64> = of(set.entry("pca/variance"));
        // Of no variance any direction is one.
        let some = variance
            .iter()
            .filter(|&&v| v > 1e-12 * variance[0])
            .count();
        let found = pca.components().slice(s![..some, ..]).to_owned();
        let expected = set.matrix("e_pca_components_rows");
        let error = max_difference(&found, &expected.slice(s![..some, ..]).to_owned());
        assert!(error < 1e-8, "{name}: {error:e}");
        let ratio: Vec<f64> = of(set.entry("pca/variance_ratio"));
        for (found, expected) in [
            (pca.explained_variance().to_vec(), variance),
            (pca.explained_variance_ratio(), ratio),
        ] {
            assert_eq!(found.len(), expected.len(), "{name}");
            for (i, (found, value)) in found.iter().zip(&expected).enumerate() {
                let allowed = 1e-10 * value.max(1e-4 * expected[0]);
                assert!(
                    (found - value).abs() < allowed,
                    "{name} {i}: {found} {value}"
                );
            }
        }
        assert_eq!(set.entry("pca/X_pca_dtype"), "float32", "{name}");
        let error = max_difference(&pca.transform(x.view()).unwrap(), &set.scores());
        assert!(error < 1e-5, "{name} scores in single precision: {error:e}");
        // Two solvers of theirs agree as ours does with one of them.
        assert!(set.number("pca/max_abs_diff_full_vs_arpack_components") < 1e-8);
    });
}

/// How neighbours were asked for, and how many, the row itself among them.
fn neighbors_of(set: &Set, entry: &str, settings: &[(&str, &str)]) -> usize {
    for (setting, expected) in settings {
        let found = set.entry(&format!("{entry}/{setting}"));
        assert_eq!(found, expected, "{} {entry}", set.name);
    }
    set.count(&format!("{entry}/n_neighbors"))
}

#[test]
fn neighbors_and_fuzzy_weights_equal_scanpy() {
    on_sets_with("neighbors15", |name, set| {
        let settings = [
            ("method", "umap"),
            ("random_state", "0"),
            ("metric", "euclidean"),
            ("use_rep", "X_pca"),
        ];
        let k = neighbors_of(set, "neighbors15", &settings) - 1;
        let scores = set.scores();
        let neighbors =
            nearest_neighbors(scores.view(), k, Metric::Euclidean, &NoProgress).unwrap();
        let distances = neighbors.to_graph().unwrap();
        let expected = set.graph("e_nb_dist");
        assert_eq!(distances.indices(), expected.indices(), "{name}");
        let error = graph_difference(&distances, &expected);
        assert!(error < 1e-5, "{name}: {error:e}");
        let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
        let error = graph_difference(&graph, &set.graph("e_nb_conn"));
        assert!(error < 1e-4, "{name}: {error:e}");
    });
}

/// The batch-balanced graphs of a set: the name of the arrays, the neighbours in each batch, and the edges kept.
fn balanced(set: &Set) -> Vec<(String, usize, usize)> {
    let batches = set.labels("in_batch").categories().len();
    let names = set.json.as_object().unwrap().keys();
    let entries = names.filter(|name| name.starts_with("bbknn_cKDTree_"));
    entries
        .map(|entry| {
            let settings = [("method", "umap"), ("metric", "euclidean")];
            let neighbors = neighbors_of(set, entry, &settings);
            assert_eq!(set.count(&format!("{entry}/n_pcs")), set.scores().ncols());
            let detail = set.entry(&format!("{entry}/bbknn")).as_str().unwrap();
            let keep = detail.strip_prefix("{'trim': ").unwrap();
            let keep = keep.strip_suffix(", 'computation': 'cKDTree'}").unwrap();
            (
                entry.replace("bbknn_cKDTree_", "e_bbknn"),
                neighbors / batches,
                keep.parse().unwrap(),
            )
        })
        .collect()
}

#[test]
fn batch_balanced_graphs_equal_bbknn() {
    on_sets_with("bbknn_cKDTree_3", |name, set| {
        let x = set.scores();
        let batch = set.labels("in_batch");
        for (case, within, keep) in balanced(set) {
            let neighbors =
                batch_balanced_neighbors(x.view(), &batch, within, Metric::Euclidean, &NoProgress)
                    .unwrap();
            // Trimming changes no distance: those of the trimmed graph are not there.
            if set.has(&format!("{case}_dist_data")) {
                let distances = neighbors.to_graph().unwrap();
                let expected = set.graph(&format!("{case}_dist"));
                assert_eq!(distances.indices(), expected.indices(), "{name} {case}");
                let error = graph_difference(&distances, &expected);
                assert!(error < 1e-5, "{name} {case}: {error:e}");
            }
            let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
            let graph = trim(&graph, keep, &NoProgress).unwrap();
            let error = graph_difference(&graph, &set.graph(&format!("{case}_conn")));
            assert!(error < 1e-4, "{name} {case}: {error:e}");
        }
    });
}

/// What stages pass on is ours here, in double precision, where the tests above begin with what the reference passed on.
#[test]
fn the_chain_from_the_features_reaches_the_graphs_of_the_reference() {
    on_sets_with("bbknn_cKDTree_3", |name, set| {
        let x = set.matrix("in_X");
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(x.view(), &config).unwrap();
        let scaled = scaler.transform(x.view()).unwrap();
        let expected = set.scores();
        let pca = Pca::fit(scaled.view(), &PcaConfig::new(expected.ncols())).unwrap();
        let own = pca.transform(scaled.view()).unwrap();
        assert!(max_difference(&own, &expected) < 1e-5, "{name}");
        let (batch, metric) = (set.labels("in_batch"), Metric::Euclidean);
        let k = set.count("neighbors15/n_neighbors") - 1;
        let plain = nearest_neighbors(own.view(), k, metric, &NoProgress).unwrap();
        let mut cases = vec![("e_nb".to_owned(), plain, x.nrows())];
        for (case, within, keep) in balanced(set) {
            let found = batch_balanced_neighbors(own.view(), &batch, within, metric, &NoProgress);
            cases.push((case, found.unwrap(), keep));
        }
        for (case, neighbors, keep) in cases {
            let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
            let graph = trim(&graph, keep, &NoProgress).unwrap();
            let error = graph_difference(&graph, &set.graph(&format!("{case}_conn")));
            assert!(error < 1e-4, "{name} {case}: {error:e}");
        }
    });
}

#[test]
fn the_curve_equals_umap_learn() {
    on_sets_with("umap_ab", |name, set| {
        for (case, spread, min_dist) in [
            ("spread1_min_dist0.1", 1.0, 0.1),
            ("spread1_min_dist0.5", 1.0, 0.5),
            ("spread2_min_dist0.25", 2.0, 0.25),
        ] {
            let curve = Curve::fit(spread, min_dist);
            let [a, b]: [f64; 2] = of(set.entry(&format!("umap_ab/{case}")));
            let error = (curve.a - a).abs().max((curve.b - b).abs());
            assert!(error < 1e-6, "{name} {case}: {curve:?}");
        }
    });
}

#[test]
fn the_objective_of_the_reference_map_is_the_reference_value() {
    on_sets_with("e_umap_seed0", |name, set| {
        assert_eq!(set.number("umap/0/seed"), 0.0);
        let map = set.matrix("e_umap_seed0");
        let (value, trust) = judged(&set.graph("e_nb_conn"), &set.scores(), &map);
        let expected = set.number("umap/0/cross_entropy_all_pairs");
        assert!(
            (value - expected).abs() < 1e-6 * expected,
            "{name}: {value} and {expected}"
        );
        let expected = set.number("umap/0/trustworthiness15");
        assert!(
            (trust - expected).abs() < 1e-6,
            "{name}: {trust} and {expected}"
        );
    });
}

/// The objectives and the trustworthiness of the maps of umap-learn.
fn maps_of_umap_learn(set: &Set) -> (Vec<f64>, Vec<f64>) {
    let (mut entropies, mut trust) = (Vec::new(), Vec::new());
    for (seed, run) in set.runs("umap").iter().enumerate() {
        assert_eq!(set.number(&format!("{run}/seed")), seed as f64);
        entropies.push(set.number(&format!("{run}/cross_entropy_all_pairs")));
        trust.push(set.number(&format!("{run}/trustworthiness15")));
    }
    (entropies, trust)
}

/// With one pull an edge, the default, and with two, which is umap-learn's definition.
#[test]
fn maps_are_as_good_as_those_of_umap_learn() {
    on_sets_with("umap", |name, set| {
        let (entropies, trust) = maps_of_umap_learn(set);
        let (graph, scores) = (set.graph("e_nb_conn"), set.scores());
        for pulls in [1, 2] {
            let config = UmapConfig::default().with_edge_pulls(pulls);
            let (name, entropies) = (format!("{name}, {pulls}"), entropies.clone());
            assert_maps_as_good(&name, &graph, &scores, &config, entropies, &trust);
        }
    });
}

/// The median of the objectives of three maps of ours by that of three of umap-learn's.
fn ratio_of_objectives(set: &Set, pulls: usize) -> f64 {
    let graph = set.graph("e_nb_conn");
    let entropies = [0, 1, 2].map(|seed| {
        let config = UmapConfig::default().with_edge_pulls(pulls);
        let config = config.with_seed(Seed::new(seed));
        let map = layout(&graph, &config, &NoProgress).unwrap();
        let curve = config.curve().unwrap();
        cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap()
    });
    median(entropies.to_vec()) / median(maps_of_umap_learn(set).0)
}

/// As `docs/differences.md` says.
#[test]
fn the_objective_of_one_pull_an_edge_is_at_most_two_thirds_of_that_of_umap_learn() {
    on_sets_with("umap", |name, set| {
        let ratio = ratio_of_objectives(set, 1);
        assert!(ratio < 2.0 / 3.0, "{name}: {ratio}");
    });
}

/// The map is that of umap-learn in kind; what its objective is at most is tested above.
#[test]
fn the_objective_of_two_pulls_an_edge_is_more_than_two_thirds_of_that_of_umap_learn() {
    on_sets_with("umap", |name, set| {
        let ratio = ratio_of_objectives(set, 2);
        assert!(ratio > 2.0 / 3.0, "{name}: {ratio}");
    });
}

#[test]
fn the_quality_of_each_reference_clustering_is_the_reference_value() {
    on_sets_with("leiden", |name, set| {
        let graph = set.graph("e_nb_conn");
        let unweighted = graph.with_values(vec![1.0; graph.n_edges()]).unwrap();
        for run in set.runs("leiden") {
            let flavor = set.entry(&format!("{run}/flavor")).as_str().unwrap();
            let number = |part: &str| set.number(&format!("{run}/{part}"));
            let resolution = number("resolution");
            let labels = set.integers(&format!("e_leiden_{flavor}_r{resolution:.1}"));
            let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
            let clusters = labels.iter().max().map_or(0, |&last| last + 1);
            assert_eq!(f64::from(clusters), number("n_clusters"), "{name} {run}");
            let quality_of = |graph: &CsrGraph, resolution| {
                let config = LeidenConfig::default().with_resolution(resolution);
                quality(graph, &labels, &config).unwrap()
            };
            let found = quality_of(&graph, resolution);
            // What leidenalg reports as modularity knows neither weights nor a resolution.
            let reported = match flavor {
                "igraph" => found,
                _ => quality_of(&unweighted, 1.0),
            };
            for (found, part) in [
                (found, "Q_formula_at_resolution"),
                (reported, "modularity_reported"),
            ] {
                let expected = number(part);
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name} {run} {part}: {found} {expected}"
                );
            }
        }
    });
}

#[test]
fn clusterings_are_as_good_as_those_of_igraph_and_leidenalg() {
    on_sets_with("leiden", |name, set| {
        let graph = set.graph("e_nb_conn");
        for run in set.runs("leiden") {
            let number = |part: &str| set.number(&format!("{run}/{part}"));
            let theirs = number("Q_formula_at_resolution");
            let config = LeidenConfig::default().with_resolution(number("resolution"));
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
                        found.quality >= theirs - 0.005,
                        "{name} {run} {seed}: {} < {theirs}",
                        found.quality
                    );
                }
            }
        }
    });
}

//! The statistics: on the peers' graphs, so that ties do not matter.

use ndarray::Array2;
use phenocoder_core::{Categorical, Coords, CsrGraph, Features, NoProgress, Seed, Unit};
use phenocoder_spatial::autocorrelation::{
    Assumption, Normalization, PermutationConfig, Permuted, Precision, SpatialWeights, Tail,
    TestConfig, adjust_fdr, geary_permuted, geary_test, moran_permuted, moran_test,
};
use phenocoder_spatial::centrality::{Closeness, clustering_coefficients, group_centrality};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::connectivity::{connected_components, degree_statistics};
use phenocoder_spatial::enrichment::enrichment_exact;
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix, row_normalized};
use phenocoder_spatial::neighbors::symmetrized;
use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, empty_space_at, ripley};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::summary::{Mode, StatisticsConfig, spatial_statistics};

use super::{Ledger, Within};
use crate::sets::{Set, flat, matrix, number, numbers, strings};

const EXACT: Within = Within::Absolute(0.0);
const TIGHT: Within = Within::Relative(1e-12);
/// Sums of single precision, and statistics with weights of single precision.
const SINGLE: Within = Within::Relative(1e-6);
/// Variances of weights that the peer sums in single precision.
const SINGLE_VARIANCE: Within = Within::Relative(1e-5);
const P_VALUE: Within = Within::Absolute(1e-6);

/// Random results agree within this many standard errors.
const ERRORS: f64 = 4.0;

pub(super) fn compare(set: &Set, ledger: &mut Ledger<'_>) {
    for (name, graph, _) in set.graphs() {
        interactions(set, ledger, name, &graph);
        centralities(set, ledger, name, &graph);
        enrichments(set, ledger, name, &graph);
        autocorrelations(set, ledger, name, &graph);
        permutations(set, ledger, name, &graph);
        esda(set, ledger, name, &graph);
        nodes(set, ledger, name, &graph);
    }
    let weighted = set.named(&["radius1_spectral", "radius1_cosine"]);
    for (name, graph, _) in set.further_graphs().into_iter().chain(weighted) {
        let path = |entry: &str| format!("/stats/{name}/{entry}");
        let counts = interaction_matrix(&graph, &set.labels, EdgeWeight::One).unwrap();
        ledger.json(&path("interaction"), &flat(&counts), EXACT);
        let sums = interaction_matrix(&graph, &set.labels, EdgeWeight::Value).unwrap();
        ledger.json(&path("interaction_weights"), &flat(&sums), SINGLE);
        let weights = SpatialWeights::default()
            .with_edges(EdgeWeight::Value)
            .with_precision(Precision::Single);
        moran(set, ledger, name, &graph, ("features", &set.x), &weights);
    }
    co_occurrences(set, ledger);
    ripleys(set, ledger);
    if set.json.get("sepal").is_some() {
        let config = SepalConfig::new(Lattice::Square);
        // The peer was given the absolute values.
        let x = set.x.mapv(f64::abs);
        let graph = set.graph("grid4", "conn");
        let found = sepal(&graph, set.points.view(), x.view(), &config, &NoProgress).unwrap();
        for (f, found) in found.iter().enumerate() {
            let path = format!("/sepal/max_neighs4/f{f}");
            ledger.json(&path, &[*found], Within::Absolute(0.001));
        }
    }
    row(set, ledger);
}

fn interactions(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let path = |entry: &str| format!("/stats/{name}/{entry}");
    let counts = interaction_matrix(graph, &set.labels, EdgeWeight::One).unwrap();
    ledger.json(&path("interaction"), &flat(&counts), EXACT);
    ledger.json(
        &path("interaction_normalized"),
        &flat(&row_normalized(&counts)),
        TIGHT,
    );
    let sums = interaction_matrix(graph, &set.labels, EdgeWeight::Value).unwrap();
    ledger.json(&path("interaction_weights"), &flat(&sums), EXACT);
    let mut codes = set.labels.codes().to_vec();
    codes.iter_mut().step_by(17).for_each(|code| *code = -1);
    let some = Categorical::new(codes, set.labels.categories().to_vec()).unwrap();
    let counts = interaction_matrix(graph, &some, EdgeWeight::One).unwrap();
    ledger.json(
        &path("interaction_every17th_label_nan"),
        &flat(&counts),
        EXACT,
    );
}

fn centralities(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let found = group_centrality(graph, &set.labels, Closeness::AllNodes).unwrap();
    for (i, category) in set.labels.categories().iter().enumerate() {
        let path = |entry: &str| format!("/stats/{name}/{entry}");
        let networkx = |entry: &str| {
            path(&format!(
                "centrality_per_cluster_networkx/{category}/{entry}"
            ))
        };
        for (squidpy, networkx, value) in [
            (
                "closeness_centrality",
                networkx("group_closeness_centrality"),
                found.closeness[i],
            ),
            (
                "average_clustering",
                networkx("average_clustering"),
                found.clustering[i],
            ),
            (
                "degree_centrality",
                networkx("group_degree_centrality"),
                found.degree[i],
            ),
        ] {
            ledger.json(&path(&format!("{squidpy}/{category}")), &[value], TIGHT);
            ledger.json(&networkx, &[value], TIGHT);
        }
    }
    let degrees = degree_statistics(graph, &set.labels).unwrap().overall;
    let path = |entry: &str| format!("/stats/{name}/degree_col_sum_{entry}");
    ledger.json(&path("mean"), &[degrees.mean], SINGLE);
    ledger.json(&path("std_ddof0"), &[degrees.std], SINGLE);
}

fn enrichments(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let path = |entry: &str| format!("/stats/{name}/{entry}");
    let found = enrichment_exact(graph, &set.labels).unwrap();
    for (entry, values) in [
        ("mean", &found.mean),
        ("var", &found.variance),
        ("z", &found.z),
    ] {
        let path = path(&format!("nhood_exact_permutation_moments/{entry}"));
        ledger.json(&path, &flat(values), Within::Relative(1e-10));
    }
    for (entry, permutations) in [("nhood_1000_seed0", 1e3_f64), ("nhood_20000_seed1", 2e4)] {
        ledger.json(&path(&format!("{entry}/count")), &flat(&found.count), EXACT);
        let path = path(&format!("{entry}/zscore"));
        let drawn = matrix(set.json.pointer(&path).unwrap());
        let pairs = drawn.iter().zip(&found.z);
        let error = pairs.fold(0.0, |most: f64, (drawn, z)| {
            let spread = 1.0 / permutations.sqrt() + z.abs() / (2.0 * permutations).sqrt();
            most.max((drawn - z).abs() / (ERRORS * spread))
        });
        ledger.judged(&path, drawn.len(), error);
    }
}

fn onehot(set: &Set) -> Array2<f64> {
    let shape = (set.x.nrows(), set.labels.categories().len());
    Array2::from_shape_fn(shape, |(i, c)| {
        f64::from(u8::from(set.labels.code(i) == Some(c)))
    })
}

fn weights(suffix: &str) -> SpatialWeights {
    let weights = SpatialWeights::default().with_precision(Precision::Single);
    match suffix {
        "rownorm0" => weights.with_normalization(Normalization::None),
        _ => weights,
    }
}

fn moran(
    set: &Set,
    ledger: &mut Ledger<'_>,
    name: &str,
    graph: &CsrGraph,
    (columns, x): (&str, &Array2<f64>),
    weights: &SpatialWeights,
) {
    let suffix = match weights.normalization {
        Normalization::None => "rownorm0",
        _ => "rownorm1",
    };
    for (tail, ending) in [(Tail::One, ""), (Tail::Two, "_two_tailed")] {
        let path = format!("/stats/{name}/moran_{columns}_{suffix}{ending}");
        if set.json.pointer(&path).is_some() {
            let config = TestConfig::new().with_weights(*weights).with_tail(tail);
            let found = moran_test(graph, x.view(), &config).unwrap();
            ledger.json(&format!("{path}/I"), &found.statistic, SINGLE);
            ledger.json(&format!("{path}/pval_norm"), &found.p_value, P_VALUE);
            ledger.json(
                &format!("{path}/var_norm"),
                &found.variance,
                SINGLE_VARIANCE,
            );
            let adjusted = adjust_fdr(&found.p_value);
            ledger.json(&format!("{path}/pval_norm_fdr_bh"), &adjusted, P_VALUE);
        }
    }
}

fn autocorrelations(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let onehot = onehot(set);
    for (columns, x) in [("features", &set.x), ("onehot", &onehot)] {
        for suffix in ["rownorm1", "rownorm0"] {
            let weights = weights(suffix);
            moran(set, ledger, name, graph, (columns, x), &weights);
            let path = format!("/stats/{name}/geary_{columns}_{suffix}");
            let config = TestConfig::new().with_weights(weights);
            let found = geary_test(graph, x.view(), &config).unwrap();
            ledger.json(&format!("{path}/C"), &found.statistic, SINGLE);
            ledger.json(&format!("{path}/pval_norm"), &found.p_value, P_VALUE);
            ledger.json(
                &format!("{path}/var_norm"),
                &found.variance,
                SINGLE_VARIANCE,
            );
            let adjusted = adjust_fdr(&found.p_value);
            ledger.json(&format!("{path}/pval_norm_fdr_bh"), &adjusted, P_VALUE);
        }
    }
}

/// The upper tail of the normal distribution.
fn upper(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

fn permutations(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let weights = weights("rownorm1");
    let x = set.x.view();
    let rows = TestConfig::new()
        .with_weights(weights)
        .with_assumption(Assumption::RowPermutation);
    let moran = moran_test(graph, x, &rows).unwrap();
    let path = format!("/stats/{name}/moran_features_squidpy_null_exact");
    ledger.json(&format!("{path}/mean"), &moran.expected, EXACT);
    ledger.json(&format!("{path}/var"), &moran.variance, SINGLE);
    let geary = geary_test(graph, x, &rows).unwrap();
    let n = 2000.0_f64;
    let config = PermutationConfig::new(2000)
        .with_weights(weights)
        .with_permuted(Permuted::Rows)
        .with_seed(Seed::new(1));
    let drawn = [
        moran_permuted(graph, x, &config, &NoProgress).unwrap(),
        geary_permuted(graph, x, &config, &NoProgress).unwrap(),
    ];
    let config = TestConfig::new().with_weights(weights);
    let normal = [moran_test, geary_test].map(|test| test(graph, x, &config).unwrap());
    for (i, (statistic, key, exact)) in [("moran", "I", &moran), ("geary", "C", &geary)]
        .into_iter()
        .enumerate()
    {
        let path = |entry: &str| {
            format!("/stats/{name}/{statistic}_features_rownorm1_perm2000_seed0/{entry}")
        };
        let golden = |entry: &str| numbers(set.json.pointer(&path(entry)).unwrap());
        ledger.json(&path(key), &drawn[i].statistic, SINGLE);
        ledger.json(&path("pval_norm"), &normal[i].p_value, P_VALUE);
        ledger.json(&path("var_norm"), &normal[i].variance, SINGLE_VARIANCE);
        for entry in ["pval_norm", "pval_z_sim", "pval_sim"] {
            // The adjustment of the peer's own p-values.
            let adjusted = adjust_fdr(&golden(entry));
            ledger.json(
                &path(&format!("{entry}_fdr_bh")),
                &adjusted,
                Within::Absolute(1e-12),
            );
        }
        // The draws differ, so both are compared with the exact moments.
        let worst =
            |part: &dyn Fn(usize) -> f64| (0..exact.statistic.len()).map(part).fold(0.0, f64::max);
        let spread = ERRORS * (2.0 / n).sqrt();
        let variances = golden("var_sim");
        let error = worst(&|f| {
            let relative = |v: f64| (v / exact.variance[f] - 1.0).abs() / spread;
            relative(variances[f]).max(relative(drawn[i].variance[f]))
        });
        ledger.judged(&path("var_sim"), variances.len(), error);
        let (of_normal, counted) = (golden("pval_z_sim"), golden("pval_sim"));
        let error = worst(&|f| {
            let z = exact.z[f].abs();
            let off = ERRORS * (1.0 / n.sqrt() + z / (2.0 * n).sqrt());
            // The peer's are 1 less a number near 1.
            let within = upper(z + off) - 1e-15..=upper((z - off).max(0.0)) + 1e-15;
            let both = [of_normal[f], drawn[i].p_value_normal[f]];
            if both.iter().all(|p| within.contains(p)) {
                0.0
            } else {
                f64::INFINITY
            }
        });
        ledger.judged(&path("pval_z_sim"), of_normal.len(), error);
        let error = worst(&|f| {
            let (ours, theirs) = (drawn[i].p_value[f], counted[f]);
            let variance = 2.0 * ours * (1.0 - ours) / n;
            (ours - theirs).abs() / (ERRORS * variance.sqrt() + 1.0 / n)
        });
        ledger.judged(&path("pval_sim"), counted.len(), error);
    }
}

fn esda(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let (x, config) = (set.x.view(), TestConfig::new());
    let (normal, random) = (Assumption::Normality, Assumption::Randomization);
    let both = config.with_tail(Tail::Two);
    let moran = |assumption| moran_test(graph, x, &both.with_assumption(assumption)).unwrap();
    let geary = |assumption| geary_test(graph, x, &config.with_assumption(assumption)).unwrap();
    let (i_normal, i_random) = (moran(normal), moran(random));
    let (c_normal, c_random) = (geary(normal), geary(random));
    for f in 0..set.x.ncols() {
        let path = |entry: &str| format!("/stats/{name}/esda_features_rownorm1/f{f}/{entry}");
        for (entry, found) in [
            ("I", i_normal.statistic[f]),
            ("EI", i_normal.expected[f]),
            ("VI_norm", i_normal.variance[f]),
            ("VI_rand", i_random.variance[f]),
            ("C", c_normal.statistic[f]),
            ("VC_norm", c_normal.variance[f]),
            ("VC_rand", c_random.variance[f]),
        ] {
            ledger.json(&path(entry), &[found], TIGHT);
        }
        for (entry, found) in [
            ("p_norm", i_normal.p_value[f]),
            ("p_rand", i_random.p_value[f]),
            ("p_norm_C", c_normal.p_value[f]),
            ("p_rand_C", c_random.p_value[f]),
        ] {
            ledger.json(&path(entry), &[found], P_VALUE);
        }
    }
}

fn nodes(set: &Set, ledger: &mut Ledger<'_>, name: &str, graph: &CsrGraph) {
    let key = |entry: &str| format!("s_{name}_{entry}");
    ledger.npz(
        &key("node_clustering"),
        &clustering_coefficients(graph),
        TIGHT,
    );
    let both = symmetrized(graph);
    let degrees: Vec<f64> = (0..both.n_nodes())
        .map(|node| both.degree(node) as f64)
        .collect();
    ledger.npz(&key("degree_undirected"), &degrees, EXACT);
    let components = connected_components(graph).of_node;
    let components: Vec<f64> = components.into_iter().map(f64::from).collect();
    ledger.npz(&key("components"), &components, EXACT);
    let smoothed = message_passing(set.x.view(), graph, Smoothing::Compat).unwrap();
    let entry = key("message_passing_A_Dinv_X");
    ledger.npz(&entry, &flat(&smoothed), Within::Absolute(1e-6));
}

fn co_occurrences(set: &Set, ledger: &mut Ledger<'_>) {
    let discs = |labels: &Categorical, distances: &[f64]| {
        let (points, disc) = (set.points.view(), Neighborhood::Disc);
        let found = co_occurrence(points, labels, distances, disc, &NoProgress).unwrap();
        found.ratio
    };
    // The peer has 0 where a ratio is not defined, and drops the first distance.
    let values = |ratios: ndarray::Array3<f64>| -> Vec<f64> {
        ratios
            .iter()
            .map(|r| if r.is_nan() { 0.0 } else { *r })
            .collect()
    };
    let interval = |name: &str| numbers(&set.json["co_occurrence"][name]["interval"]);
    for name in ["default50", "explicit"] {
        let found = values(discs(&set.labels, &interval(name)[1..]));
        ledger.json(&format!("/co_occurrence/{name}/occ"), &found, SINGLE);
    }
    let mut explicit = vec![0.0];
    explicit.extend(set.radii());
    ledger.json("/co_occurrence/explicit/interval", &explicit, SINGLE);
    ledger.json(
        "/co_occurrence/default50/interval",
        &default_interval(set),
        SINGLE,
    );
    // With an unused category before the others.
    let mut names = vec!["unused".to_owned()];
    names.extend_from_slice(set.labels.categories());
    let codes = set.labels.codes().iter().map(|code| code + 1).collect();
    let labels = Categorical::new(codes, names).unwrap();
    let found = discs(&labels, &interval("explicit")[1..]);
    let used = found.slice(ndarray::s![1.., 1.., ..]).to_owned();
    ledger.json(
        "/co_occurrence/with_unused_category/occ",
        &values(used),
        SINGLE,
    );
}

/// From the distance of the two points of the least sums of coordinates to half that to the one of the greatest.
fn default_interval(set: &Set) -> Vec<f64> {
    let sums: Vec<f64> = set.points.rows().into_iter().map(|row| row.sum()).collect();
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|&a, &b| sums[a].total_cmp(&sums[b]));
    let distance = |a: usize, b: usize| {
        let difference = &set.points.row(a) - &set.points.row(b);
        difference.dot(&difference).sqrt()
    };
    let golden = numbers(&set.json["co_occurrence"]["default50"]["interval"]);
    let last = order[order.len() - 1];
    let least = distance(order[0], order[1]);
    // Which of the two comes first is up to the peer's partial sort.
    let most = [order[0], order[1]].map(|first| distance(first, last) / 2.0);
    let most = most.into_iter().min_by(|a, b| {
        let off = |most: &f64| (most - golden[golden.len() - 1]).abs();
        off(a).total_cmp(&off(b))
    });
    let (steps, most) = (golden.len(), most.unwrap());
    let at = |i: usize| least + (most - least) * i as f64 / (steps - 1) as f64;
    (0..steps).map(at).collect()
}

fn ripleys(set: &Set, ledger: &mut Ledger<'_>) {
    let points = set.points.view();
    let reference: Array2<f64> = set.npz.array("ripley_F_reference_points");
    let n = set.points.nrows() as f64;
    let hull = number(&set.json["ripley"]["hull_area"]);
    for (name, function) in [
        ("L", RipleyFunction::L),
        ("G", RipleyFunction::G),
        ("F", RipleyFunction::F),
    ] {
        let path = |entry: &str| format!("/ripley/{name}/{entry}");
        let bins = numbers(&set.json["ripley"][name]["bins"]);
        let config = RipleyConfig::new()
            .with_steps(bins.len())
            .with_mode(Mode::Compat);
        let found = match function {
            RipleyFunction::F => {
                empty_space_at(points, &set.labels, reference.view(), &config, &NoProgress)
            }
            _ => ripley(points, &set.labels, function, &config, &NoProgress),
        };
        let found = found.unwrap();
        if name == "L" {
            ledger.json(
                "/ripley/hull_area",
                &[found.region_size],
                Within::Relative(1e-10),
            );
        }
        ledger.json(&path("bins"), &found.distances, TIGHT);
        for (code, category) in set.labels.categories().iter().enumerate() {
            let values = found.values.row(code).to_vec();
            ledger.json(
                &path(&format!("stat/{category}")),
                &values,
                Within::Relative(1e-9),
            );
        }
        // All simulations of the peer are the same draw, and that of the reference points.
        let mut config = config.with_max_distance(bins[bins.len() - 1]);
        config.neighbors = 1;
        let one = Categorical::from_labels(vec!["simulated"; reference.nrows()]);
        let at = |locations: &Array2<f64>| {
            empty_space_at(
                reference.view(),
                &one,
                locations.view(),
                &config,
                &NoProgress,
            )
            .unwrap()
        };
        let simulated = match function {
            RipleyFunction::F => at(&reference).values.row(0).to_vec(),
            RipleyFunction::G => at(&set.points).values.row(0).to_vec(),
            _ => {
                let found = ripley(reference.view(), &one, function, &config, &NoProgress).unwrap();
                // The peer takes the number of all cells and the hull of all, also for a simulation.
                let m = reference.nrows() as f64;
                let scale = (m * m / found.region_size * hull / (n * n)).sqrt();
                found.values.row(0).iter().map(|v| v * scale).collect()
            }
        };
        ledger.json(&path("sims_first"), &simulated, Within::Relative(1e-9));
        let simulations = 20.0;
        let p_value = |(simulated, found): (&f64, &f64)| {
            let above = if simulated >= found { simulations } else { 0.0 };
            let p: f64 = (above + 1.0) / (simulations + 1.0);
            p.min(1.0 - p)
        };
        let rows = found.values.rows().into_iter();
        let p_values: Vec<f64> = rows
            .flat_map(|row| {
                simulated
                    .iter()
                    .zip(&row.to_vec())
                    .map(p_value)
                    .collect::<Vec<_>>()
            })
            .collect();
        ledger.json(&path("pvalues"), &p_values, P_VALUE);
    }
}

fn row(set: &Set, ledger: &mut Ledger<'_>) {
    let points = Coords::new(set.points.clone(), Unit::Unspecified).unwrap();
    let features = Features::new(set.x.clone(), strings(&set.json["inputs"]["features"])).unwrap();
    let units = Categorical::from_labels(vec!["all"; points.len()]);
    let config = StatisticsConfig::new(set.radii().split_off(1)).with_mode(Mode::Compat);
    let features = Some(&features);
    let table = spatial_statistics(&points, &units, &set.labels, features, &config, &NoProgress);
    let table = table.unwrap();
    for (group, golden) in set.json["phenocoder_row"].as_object().unwrap() {
        for name in golden.as_object().unwrap().keys() {
            // Python prints 25.0 for 25.
            let found = table.column(&name.replace(".0_stat:", "_stat:"));
            let found = found.unwrap_or_else(|| panic!("{name} is not in the table"));
            let within = match group.as_str() {
                "interactions" | "centrality" => TIGHT,
                "chull" => Within::Relative(1e-10),
                _ => SINGLE,
            };
            ledger.json(&format!("/phenocoder_row/{group}/{name}"), &found, within);
        }
    }
}

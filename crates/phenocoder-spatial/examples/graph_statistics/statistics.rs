//! Every statistic of a set, by the names of the layout; one that fails leaves the others alone.

use ndarray::{Array2, ArrayView2, Axis, s};
use phenocoder_core::{Categorical, Coords, CsrGraph, Features, NoProgress, Seed, Unit};
use phenocoder_spatial::autocorrelation::{
    Assumption, Autocorrelation, Normalization, PermutationConfig, Permuted,
    PermutedAutocorrelation, Precision, SpatialWeights, Tail, TestConfig, adjust_fdr,
    geary_permuted, geary_test, moran_permuted, moran_test,
};
use phenocoder_spatial::centrality::{
    Closeness, GroupCentrality, clustering_coefficients, group_centrality,
};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::connectivity::{connected_components, degree_statistics};
use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_exact, enrichment_permuted};
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix, row_normalized};
use phenocoder_spatial::neighbors::{is_symmetric, symmetrized};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::summary::{Group, Mode, StatisticsConfig, spatial_statistics};
use serde_json::{Map, Value, json};

use super::graphs::{self, Built, real, whole};
use super::input::Input;
use super::report::{
    Failure, Numbers, Outcome, Report, counts, matrix, number, numbers, python, tensor,
};
use super::ripley;

/// The graphs with all statistics, and those with interactions and Moran's I only.
const FULL: [&str; 3] = ["radius1", "knn", "delaunay"];
const FURTHER: [&str; 6] = [
    "radius1_spectral",
    "radius1_cosine",
    "radius0",
    "radius2",
    "radius_interval",
    "grid4",
];

/// Computes everything that the report asks for.
pub(crate) fn compute(input: &Input, seed: u64, report: &mut Report) {
    let mut notes = Vec::new();
    let all = graphs::build(input, &mut notes);
    report.entry(&["set"], || Ok(json!(input.name)));
    report.entry(&["notes"], || Ok(json!(notes)));
    report.entry(&["inputs"], || Ok(inputs(input)));
    report.entry(&["versions"], || {
        Ok(json!({ "phenocoder-spatial": env!("CARGO_PKG_VERSION") }))
    });
    graphs::describe(&all, report);
    for graph in named(&all, &FULL) {
        full(input, graph, seed, report);
    }
    for graph in named(&all, &FURTHER) {
        further(input, graph, report);
    }
    co_occurrences(input, report);
    ripley::compute(input, seed, report);
    spots(input, &all, report);
    row(input, report);
}

fn named<'a>(all: &'a [Built], names: &'a [&str]) -> impl Iterator<Item = &'a Built> {
    let find = move |name: &&str| all.iter().find(|graph| graph.name == *name);
    names.iter().filter_map(find)
}

fn inputs(input: &Input) -> Value {
    json!({
        "n": input.points.nrows(),
        "dim": input.points.ncols(),
        "categories": input.labels.categories(),
        "features": input.features,
        "radii": numbers(&input.parameters.radii),
        "interval": numbers(&input.parameters.interval),
        "knn": input.parameters.knn,
        "label_counts": input.labels.counts(),
    })
}

fn full(input: &Input, graph: &Built, seed: u64, report: &mut Report) {
    let name = graph.name.as_str();
    if !report.wants(&["stats", name]) {
        return;
    }
    let conn = match graph.conn() {
        Ok(conn) => conn,
        Err(failure) => return report.entry(&["stats", name], || Err(failure)),
    };
    interactions(input, name, conn, report);
    centralities(input, name, conn, report);
    enrichments(input, name, conn, seed, report);
    autocorrelations(input, name, conn, report);
    permutations(input, name, conn, seed, report);
    report.entry(&["stats", name, "esda_features_rownorm1"], || {
        esda(input, conn)
    });
    nodes(input, name, conn, report);
}

fn further(input: &Input, graph: &Built, report: &mut Report) {
    let name = graph.name.as_str();
    if !report.wants(&["stats", name]) {
        return;
    }
    let conn = match graph.conn() {
        Ok(conn) => conn,
        Err(failure) => return report.entry(&["stats", name], || Err(failure)),
    };
    report.entry(&["stats", name, "interaction_weights"], || {
        let sums = interaction_matrix(conn, &input.labels, EdgeWeight::Value)?;
        Ok(matrix(sums.view()))
    });
    report.entry(&["stats", name, "interaction"], || {
        let found = interaction_matrix(conn, &input.labels, EdgeWeight::One)?;
        Ok(matrix(found.view()))
    });
    report.entry(&["stats", name, "moran_features_rownorm1"], || {
        let weights = weights(Normalization::default()).with_edges(EdgeWeight::Value);
        moran(conn, input.x.view(), &weights, Tail::One)
    });
}

fn interactions(input: &Input, name: &str, conn: &CsrGraph, report: &mut Report) {
    let labels = &input.labels;
    report.entry(&["stats", name, "interaction"], || {
        let found = interaction_matrix(conn, labels, EdgeWeight::One)?;
        Ok(matrix(found.view()))
    });
    report.entry(&["stats", name, "interaction_normalized"], || {
        let found = interaction_matrix(conn, labels, EdgeWeight::One)?;
        Ok(matrix(row_normalized(&found).view()))
    });
    report.entry(&["stats", name, "interaction_weights"], || {
        let found = interaction_matrix(conn, labels, EdgeWeight::Value)?;
        Ok(matrix(found.view()))
    });
    let path = ["stats", name, "interaction_every17th_label_nan"];
    report.entry(&path, || {
        let mut codes = labels.codes().to_vec();
        codes.iter_mut().step_by(17).for_each(|code| *code = -1);
        let some = Categorical::new(codes, labels.categories().to_vec())?;
        let found = interaction_matrix(conn, &some, EdgeWeight::One)?;
        Ok(matrix(found.view()))
    });
}

fn centralities(input: &Input, name: &str, conn: &CsrGraph, report: &mut Report) {
    let categories = input.labels.categories();
    let found = group_centrality(conn, &input.labels, Closeness::AllNodes).map_err(Failure::from);
    let of = |values: fn(&GroupCentrality) -> &[f64]| -> Outcome<Value> {
        let found = found.as_ref().map_err(Clone::clone)?;
        let entries = categories.iter().zip(values(found));
        let entries = entries.map(|(category, &value)| (category.clone(), number(value)));
        Ok(Value::Object(entries.collect()))
    };
    report.entry(&["stats", name, "closeness_centrality"], || {
        of(|found| &found.closeness)
    });
    report.entry(&["stats", name, "average_clustering"], || {
        of(|found| &found.clustering)
    });
    report.entry(&["stats", name, "degree_centrality"], || {
        of(|found| &found.degree)
    });
    let path = ["stats", name, "centrality_per_cluster_networkx"];
    report.entry(&path, || {
        let found = found.as_ref().map_err(Clone::clone)?;
        let of = |(i, category): (usize, &String)| {
            let entry = json!({
                "group_degree_centrality": number(found.degree[i]),
                "group_closeness_centrality": number(found.closeness[i]),
                "average_clustering": number(found.clustering[i]),
            });
            (category.clone(), entry)
        };
        Ok(Value::Object(
            categories.iter().enumerate().map(of).collect(),
        ))
    });
    let degrees = degree_statistics(conn, &input.labels).map_err(Failure::from);
    let degrees = degrees.map(|degrees| degrees.overall);
    report.entry(&["stats", name, "degree_col_sum_mean"], || {
        Ok(number(degrees.clone()?.mean))
    });
    report.entry(&["stats", name, "degree_col_sum_std_ddof0"], || {
        Ok(number(degrees.clone()?.std))
    });
}

fn enrichments(input: &Input, name: &str, conn: &CsrGraph, seed: u64, report: &mut Report) {
    for (entry, permutations, stream) in [
        ("nhood_1000_seed0", 1000, 0),
        ("nhood_20000_seed1", 20_000, 1),
    ] {
        report.entry(&["stats", name, entry], || {
            let config = EnrichmentConfig::new()
                .with_permutations(permutations)
                .with_seed(Seed::new(seed).derive("enrichment", stream));
            let found = enrichment_permuted(conn, &input.labels, None, &config, &NoProgress)?;
            Ok(json!({ "zscore": matrix(found.z.view()), "count": counts(found.count.view()) }))
        });
    }
    let path = ["stats", name, "nhood_exact_permutation_moments"];
    report.entry(&path, || {
        let found = enrichment_exact(conn, &input.labels)?;
        Ok(json!({
            "mean": matrix(found.mean.view()),
            "var": matrix(found.variance.view()),
            "z": matrix(found.z.view()),
        }))
    });
}

/// The peer's weights: in single precision.
fn weights(normalization: Normalization) -> SpatialWeights {
    SpatialWeights::default()
        .with_precision(Precision::Single)
        .with_normalization(normalization)
}

fn tested(key: &str, found: &Autocorrelation) -> Value {
    json!({
        key: numbers(&found.statistic),
        "pval_norm": numbers(&found.p_value),
        "var_norm": numbers(&found.variance),
        "pval_norm_fdr_bh": numbers(&adjust_fdr(&found.p_value)),
    })
}

fn moran(
    conn: &CsrGraph,
    x: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
    tail: Tail,
) -> Outcome<Value> {
    let found = moran_test(
        conn,
        x,
        &TestConfig::new().with_weights(*weights).with_tail(tail),
    )?;
    Ok(tested("I", &found))
}

fn autocorrelations(input: &Input, name: &str, conn: &CsrGraph, report: &mut Report) {
    let labels = &input.labels;
    let shape = (labels.len(), labels.categories().len());
    let onehot = Array2::from_shape_fn(shape, |(row, category)| {
        f64::from(u8::from(labels.code(row) == Some(category)))
    });
    let kinds = [
        ("rownorm1", Normalization::default()),
        ("rownorm0", Normalization::None),
    ];
    for (columns, x) in [("features", &input.x), ("onehot", &onehot)] {
        let x = x.view();
        for (suffix, normalization) in kinds {
            let weights = weights(normalization);
            let entry = format!("moran_{columns}_{suffix}");
            report.entry(&["stats", name, &entry], || {
                moran(conn, x, &weights, Tail::One)
            });
        }
        for (suffix, normalization) in kinds {
            let weights = weights(normalization);
            let entry = format!("geary_{columns}_{suffix}");
            report.entry(&["stats", name, &entry], || {
                let found = geary_test(conn, x, &TestConfig::new().with_weights(weights))?;
                Ok(tested("C", &found))
            });
        }
        let entry = format!("moran_{columns}_rownorm1_two_tailed");
        report.entry(&["stats", name, &entry], || {
            moran(conn, x, &weights(Normalization::default()), Tail::Two)
        });
    }
}

fn permutations(input: &Input, name: &str, conn: &CsrGraph, seed: u64, report: &mut Report) {
    type Permute = fn(
        &CsrGraph,
        ArrayView2<'_, f64>,
        &PermutationConfig,
        &dyn phenocoder_core::Progress,
    ) -> phenocoder_spatial::Result<PermutedAutocorrelation>;
    type Test = fn(
        &CsrGraph,
        ArrayView2<'_, f64>,
        &TestConfig,
    ) -> phenocoder_spatial::Result<Autocorrelation>;
    let x = input.x.view();
    let weights = weights(Normalization::default());
    let statistics: [(&str, &str, Permute, Test); 2] = [
        ("moran", "I", moran_permuted, moran_test),
        ("geary", "C", geary_permuted, geary_test),
    ];
    for (statistic, key, permute, test) in statistics {
        let entry = format!("{statistic}_features_rownorm1_perm2000_seed0");
        report.entry(&["stats", name, &entry], || {
            let config = PermutationConfig::new(2000)
                .with_weights(weights)
                .with_permuted(Permuted::Rows)
                .with_seed(Seed::new(seed).derive(statistic, 0));
            let drawn = permute(conn, x, &config, &NoProgress)?;
            let normal = test(conn, x, &TestConfig::new().with_weights(weights))?;
            Ok(json!({
                key: numbers(&drawn.statistic),
                "pval_norm": numbers(&normal.p_value),
                "var_norm": numbers(&normal.variance),
                "pval_z_sim": numbers(&drawn.p_value_normal),
                "pval_sim": numbers(&drawn.p_value),
                "var_sim": numbers(&drawn.variance),
                "pval_norm_fdr_bh": numbers(&adjust_fdr(&normal.p_value)),
                "pval_z_sim_fdr_bh": numbers(&adjust_fdr(&drawn.p_value_normal)),
                "pval_sim_fdr_bh": numbers(&adjust_fdr(&drawn.p_value)),
            }))
        });
    }
    let path = ["stats", name, "moran_features_squidpy_null_exact"];
    report.entry(&path, || {
        let config = TestConfig::new()
            .with_weights(weights)
            .with_assumption(Assumption::RowPermutation);
        let found = moran_test(conn, x, &config)?;
        Ok(json!({ "mean": numbers(&found.expected), "var": numbers(&found.variance) }))
    });
}

/// By PySAL's definitions: weights in double precision, two tails of I and one of C.
fn esda(input: &Input, conn: &CsrGraph) -> Outcome<Value> {
    let (x, config) = (input.x.view(), TestConfig::new());
    let (normal, random) = (Assumption::Normality, Assumption::Randomization);
    let both = config.with_tail(Tail::Two);
    let moran = |assumption| moran_test(conn, x, &both.with_assumption(assumption));
    let geary = |assumption| geary_test(conn, x, &config.with_assumption(assumption));
    let (i_normal, i_random) = (moran(normal)?, moran(random)?);
    let (c_normal, c_random) = (geary(normal)?, geary(random)?);
    let of = |(f, feature): (usize, &String)| {
        let entry = json!({
            "I": number(i_normal.statistic[f]),
            "EI": number(i_normal.expected[f]),
            "VI_norm": number(i_normal.variance[f]),
            "VI_rand": number(i_random.variance[f]),
            "p_norm": number(i_normal.p_value[f]),
            "p_rand": number(i_random.p_value[f]),
            "C": number(c_normal.statistic[f]),
            "VC_norm": number(c_normal.variance[f]),
            "VC_rand": number(c_random.variance[f]),
            "p_norm_C": number(c_normal.p_value[f]),
            "p_rand_C": number(c_random.p_value[f]),
        });
        (feature.clone(), entry)
    };
    let entries: Map<String, Value> = input.features.iter().enumerate().map(of).collect();
    Ok(Value::Object(entries))
}

fn nodes(input: &Input, name: &str, conn: &CsrGraph, report: &mut Report) {
    if !report.wants(&["stats", name, "message_passing"]) {
        return;
    }
    let smoothed = message_passing(input.x.view(), conn, Smoothing::Compat);
    let key = |entry: &str| format!("s_{name}_{entry}");
    report.array(key("node_clustering"), real(clustering_coefficients(conn)));
    let both = symmetrized(conn);
    let degrees = (0..both.n_nodes()).map(|node| both.degree(node) as i64);
    report.array(key("degree_undirected"), whole(degrees.collect()));
    let components = connected_components(conn).of_node;
    let components = components.into_iter().map(|c| c as i32).collect();
    let components: ndarray::Array1<i32> = components;
    report.array(key("components"), Numbers::Small(components.into_dyn()));
    let found = smoothed.map_err(Failure::from).map(|smoothed| {
        let numbers = Numbers::Real(smoothed.into_dyn());
        report.array(key("message_passing_A_Dinv_X"), numbers);
        json!("npz: (A+I) @ diag(1/rowsum(A+I)) @ X")
    });
    report.entry(&["stats", name, "message_passing"], || found);
}

/// As the peer has it: in single precision, of the first two axes, without unused categories, and 0 for what is undefined.
fn co_occurrences(input: &Input, report: &mut Report) {
    let single = |value: f64| f64::from(value as f32);
    let axes = input.points.ncols().min(2);
    let points = input.points.slice(s![.., ..axes]).mapv(single);
    let used = input.labels.without_unused();
    let ratios = |distances: &[f64], labels: &Categorical| -> Outcome<ndarray::Array3<f64>> {
        let disc = Neighborhood::Disc;
        let found = co_occurrence(points.view(), labels, distances, disc, &NoProgress)?;
        Ok(found.ratio.mapv(|r| if r.is_nan() { 0.0 } else { r }))
    };
    // The peer drops the first distance, and keeps the order of its own default, which may fall.
    let entry = |interval: &[f64]| -> Outcome<Value> {
        let distances = interval.get(1..).unwrap_or_default();
        let found = ratios(distances, &used)?;
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let mut occ = found.clone();
        for (rising, &given) in order.iter().enumerate() {
            let ratios = found.index_axis(Axis(2), rising);
            occ.index_axis_mut(Axis(2), given).assign(&ratios);
        }
        Ok(json!({ "occ": tensor(occ.view()), "interval": numbers(interval) }))
    };
    report.entry(&["co_occurrence", "default50"], || {
        let (least, most) = default_ends(input)?;
        let (least, most) = (single(least), single(most));
        let at = |i: u32| single(least + (most - least) * f64::from(i) / 49.0);
        entry(&(0..50).map(at).collect::<Vec<f64>>())
    });
    let mut explicit: Vec<f64> = input.parameters.radii.iter().map(|&r| single(r)).collect();
    explicit.insert(0, 0.0);
    explicit.sort_by(f64::total_cmp);
    report.entry(&["co_occurrence", "explicit"], || entry(&explicit));
    report.entry(&["co_occurrence", "with_unused_category"], || {
        let mut names = used.categories().to_vec();
        let mut free = (0..).map(|i| format!("unused{i}"));
        let unused = free.find(|name| !names.contains(name));
        names.insert(0, unused.unwrap_or_default());
        let codes = used.codes().iter().map(|&c| if c < 0 { c } else { c + 1 });
        let labels = Categorical::new(codes.collect(), names)?;
        let found = ratios(explicit.get(1..).unwrap_or_default(), &labels)?;
        Ok(json!({ "occ": tensor(found.slice(s![1.., 1.., ..])) }))
    });
}

/// From the distance of the two points of the least sums of coordinates to half that to the one of the greatest.
fn default_ends(input: &Input) -> Outcome<(f64, f64)> {
    let points = &input.points;
    let sums: Vec<f64> = points.rows().into_iter().map(|row| row.sum()).collect();
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|&a, &b| sums[a].total_cmp(&sums[b]));
    let ([first, second, ..], Some(&last)) = (&order[..], order.last()) else {
        return Err(Failure::new("TooFewPoints", "expected at least 2 points"));
    };
    // The first of the greatest, should several be as great.
    let last = order
        .iter()
        .rev()
        .take_while(|&&i| sums[i] == sums[last])
        .last();
    let distance = |a: usize, b: usize| {
        let difference = &points.row(a) - &points.row(b);
        difference.dot(&difference).sqrt()
    };
    let last = last.copied().unwrap_or(*first);
    Ok((distance(*first, *second), distance(*first, last) / 2.0))
}

/// Patterns of features on a lattice of spots: of squares, if the points lie in one, which the symmetry of their graph shows.
fn spots(input: &Input, all: &[Built], report: &mut Report) {
    let lattice = named(all, &["grid4"]).next().map(Built::conn);
    let Some(Ok(conn)) = lattice else {
        return;
    };
    let most = (0..conn.n_nodes()).map(|node| conn.degree(node)).max();
    if input.points.ncols() != 2 || most != Some(4) || !is_symmetric(conn) {
        return;
    }
    report.entry(&["sepal", "max_neighs4"], || {
        let config = SepalConfig::new(Lattice::Square);
        // Concentrations are not negative.
        let x = input.x.mapv(f64::abs);
        let found = sepal(conn, input.points.view(), x.view(), &config, &NoProgress)?;
        let entries = input.features.iter().zip(&found);
        let entries = entries.map(|(feature, &score)| (feature.clone(), number(score)));
        Ok(Value::Object(entries.collect()))
    });
}

/// The row of the original's table, of the radii but the first.
fn row(input: &Input, report: &mut Report) {
    let table = |group: Group| -> Outcome<Value> {
        let points = Coords::new(input.points.clone(), Unit::Unspecified)?;
        let features = Features::new(input.x.clone(), input.features.clone())?;
        let units = Categorical::from_labels(vec!["all"; points.len()]);
        let radii = input.parameters.radii.get(1..).unwrap_or_default();
        let config = StatisticsConfig::new(radii.iter().copied())
            .with_mode(Mode::Compat)
            .with_groups([group]);
        let features = Some(&features).filter(|features| features.ncols() > 0);
        let labels = &input.labels;
        let table = spatial_statistics(&points, &units, labels, features, &config, &NoProgress)?;
        let Some(values) = table.values.rows().into_iter().next() else {
            return Err(Failure::new("NoRow", "no statistics of too few points"));
        };
        let mut entries = Map::new();
        for (name, &value) in table.names.iter().zip(values) {
            entries.insert(peer_name(name), number(value));
        }
        Ok(Value::Object(entries))
    };
    for group in Group::ORIGINAL {
        report.entry(&["phenocoder_row", group.name()], || table(group));
    }
}

/// `radius:25_stat:…` as `radius:25.0_stat:…`.
fn peer_name(name: &str) -> String {
    let parts = name
        .strip_prefix("radius:")
        .and_then(|rest| rest.split_once("_stat:"));
    let parsed = parts.and_then(|(radius, rest)| Some((radius.parse::<f64>().ok()?, rest)));
    match parsed {
        Some((radius, rest)) => format!("radius:{}_stat:{rest}", python(radius)),
        None => name.to_owned(),
    }
}

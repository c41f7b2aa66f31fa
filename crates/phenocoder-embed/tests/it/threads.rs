//! The same bits on any number of threads: what a method computes is hashed, and methods whose hashes differ are named.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis, s};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_embed::batch::{CombatConfig, HarmonyConfig, HarmonyForm, combat, harmony};
use phenocoder_embed::cluster::{
    Covariance, KMeansConfig, LeidenConfig, LeidenObjective, MixtureConfig, gaussian_mixture,
    kmeans, leiden, leiden_stability,
};
use phenocoder_embed::evaluate::mixing::{
    BatchReportConfig, KbetConfig, LisiConfig, batch_report, batch_variance, kbet, kbet_by_label,
    lisi,
};
use phenocoder_embed::evaluate::{
    Classifier, ForestConfig, KnnClassifier, KnnConfig, KnnWeights, LinearConfig, LogisticConfig,
    LogisticRegression, OtherGroups, ProbeConfig, RandomForest, SilhouetteConfig,
    calinski_harabasz, davies_bouldin, leave_one_out_accuracy, linear_predictability, probe,
    silhouette, silhouette_by_batch, silhouette_by_label, trustworthiness,
};
use phenocoder_embed::fuzzy::{
    Directions, FuzzyConfig, Target, fuzzy_graph, membership, supervise, to_undirected, trim,
};
use phenocoder_embed::knn::{
    Metric, NeighborSearch, Neighbors, batch_balanced_neighbors, batch_balanced_query,
    nearest_neighbors, query_neighbors,
};
use phenocoder_embed::pca::{
    IncrementalMethod, IncrementalPca, IncrementalPcaConfig, Pca, PcaConfig, PcaSolver,
};
use phenocoder_embed::scale::{ScaleConfig, Scaler};
use phenocoder_embed::select::{SeuratConfig, VariableConfig, VariableFlavor, variable_features};
use phenocoder_embed::umap::{
    DensityConfig, Umap, UmapConfig, UmapInit, cross_entropy, layout, layout_from,
    layout_with_density, local_radii,
};
use sha2::{Digest, Sha256};

const STAGES: [fn(&Given) -> Vec<Named>; 18] = [
    scaling,
    selection,
    components,
    components_of_blocks,
    corrections,
    neighbors,
    graphs,
    maps,
    maps_of_densities,
    communities,
    clusters,
    mixtures,
    separation,
    mixing,
    fidelity,
    classifiers,
    forests,
    probes,
];

/// What was computed, and the hash of its bits.
type Named = (String, Vec<u8>);

/// A number that is compared to the bit.
trait Number: Copy {
    fn bits(self) -> u64;
}

impl Number for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

impl Number for u32 {
    fn bits(self) -> u64 {
        self.into()
    }
}

impl<N: Number> Number for &N {
    fn bits(self) -> u64 {
        (*self).bits()
    }
}

fn named(name: impl Into<String>, values: impl IntoIterator<Item: Number>) -> Named {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.bits().to_le_bytes());
    }
    (name.into(), hash.finalize().to_vec())
}

fn named_numbers<const N: usize>(numbers: [(&str, f64); N]) -> Vec<Named> {
    numbers.map(|(name, number)| named(name, [number])).into()
}

fn named_neighbors(name: &str, found: &Neighbors) -> Named {
    let indices = found.indices().into_iter().map(|&i| f64::from(i));
    let distances = found.distances().into_iter().copied();
    named(name, distances.chain(indices))
}

fn named_graph(name: &str, graph: &CsrGraph) -> Named {
    let indices = graph.indices().iter().map(|&i| f64::from(i));
    named(name, graph.values().iter().copied().chain(indices))
}

/// Rows, the nearest of each and their graph.
struct Rows {
    x: Array2<f64>,
    near: Neighbors,
    graph: CsrGraph,
}

impl Rows {
    fn new(x: Array2<f64>, k: usize) -> Self {
        let near = nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress).unwrap();
        let graph = fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap();
        Self { x, near, graph }
    }
}

/// What all stages start from, made once: a stage that differs does not make the others differ.
struct Given {
    /// Rows of four kinds, with what else is known of them.
    few: Rows,
    kinds: Vec<u32>,
    batch: Categorical,
    batches: Vec<u32>,
    clusters: Vec<u32>,
    map: Umap,
    /// Rows near those, and the nearest of those.
    new: Array2<f64>,
    near_new: Neighbors,
    /// More rows than one task takes, and all in one part: where fewer rows are one task, or parts are taken one by one.
    many: Rows,
    thirds: Vec<u32>,
    /// More rows than one task sums, also where a method takes a half of them at a time.
    tall: Array2<f64>,
    /// More than one block of rows, tile of columns and panel of reflections.
    wide: Array2<f64>,
    /// More columns than rows, and so many rows that one task does not add their products.
    flat: Array2<f64>,
    /// More rows than one task puts into groups.
    vast: Array2<f64>,
}

impl Given {
    fn new() -> Self {
        let mut stream = Seed::new(24).stream("x", 0);
        let many = Array2::from_shape_simple_fn((2100, 3), || stream.uniform());
        let few = Rows::new(groups(700, 6), 14);
        let batches: Vec<u32> = (0..700).map(|i| u32::from(i % 3 != 0)).collect();
        let new = &few.x + 0.1;
        let (old, metric) = (few.x.view(), Metric::Euclidean);
        let config = UmapConfig::default().with_n_epochs(60);
        let clusters = leiden(&few.graph, &LeidenConfig::default(), &NoProgress).unwrap();
        Self {
            kinds: (0..700).map(|i| i % 4).collect(),
            batch: Categorical::from_labels(batches.iter().map(u32::to_string)),
            batches,
            clusters: clusters.labels,
            map: Umap::fit(&few.graph, &config, &NoProgress).unwrap(),
            near_new: query_neighbors(old, new.view(), 5, metric, &NoProgress).unwrap(),
            new,
            few,
            many: Rows::new(many, 9),
            thirds: (0..2100).map(|i| i % 3).collect(),
            tall: groups(2600, 6),
            wide: Array2::from_shape_fn((5000, 150), |(_, j)| (1.0 + j as f64) * stream.uniform()),
            flat: Array2::from_shape_fn((600, 700), |(_, j)| (j % 7) as f64 * stream.normal()),
            vast: groups(9000, 3),
        }
    }
}

/// Rows around four places in turn.
fn groups(rows: usize, columns: usize) -> Array2<f64> {
    let mut stream = Seed::new(21).stream("x", 0);
    Array2::from_shape_fn((rows, columns), |(i, _)| {
        (i % 4) as f64 * 3.0 + stream.normal()
    })
}

fn scaling(given: &Given) -> Vec<Named> {
    let x = given.tall.view();
    let scaler = Scaler::fit(x, &ScaleConfig::default()).unwrap();
    vec![
        named("Scaler::fit", scaler.mean().iter().chain(scaler.std())),
        named("Scaler::transform", scaler.transform(x).unwrap()),
        named(
            "Scaler::inverse_transform",
            scaler.inverse_transform(x).unwrap(),
        ),
    ]
}

fn selection(given: &Given) -> Vec<Named> {
    let mut all = Vec::new();
    let seurat = VariableFlavor::Seurat(SeuratConfig::default());
    for (name, config) in [
        ("spread", VariableConfig::default()),
        ("Seurat", VariableConfig::default().with_flavor(seurat)),
    ] {
        let found = variable_features(given.few.x.view(), &config, &NoProgress).unwrap();
        let selected = found.selected.into_iter().map(u32::from);
        all.extend([
            named(format!("variable_features, {name}"), found.normalized),
            named(format!("variable_features, {name}, selected"), selected),
        ]);
    }
    all
}

fn components(given: &Given) -> Vec<Named> {
    let mut all = Vec::new();
    for (x, k, solver) in [
        (&given.few.x, 4, PcaSolver::Auto),
        (&given.wide, 3, PcaSolver::Covariance),
        (&given.wide, 3, PcaSolver::Randomized),
        (&given.flat, 5, PcaSolver::Gram),
    ] {
        let config = PcaConfig::new(k).with_solver(solver);
        let pca = Pca::fit(x.view(), &config).unwrap();
        let scores = pca.transform(x.view()).unwrap();
        let back = pca.inverse_transform(scores.view()).unwrap();
        let fitted = pca.components().into_iter().chain(pca.mean());
        let fitted = fitted.chain(pca.explained_variance());
        all.extend([
            named(format!("Pca::fit, {solver:?}"), fitted),
            named(format!("Pca::transform, {solver:?}"), &scores),
            named(format!("Pca::inverse_transform, {solver:?}"), &back),
        ]);
    }
    all
}

fn components_of_blocks(given: &Given) -> Vec<Named> {
    let cases = [
        (&given.few.x, 300, IncrementalMethod::Covariance),
        (&given.wide, 4500, IncrementalMethod::Covariance),
        (&given.wide, 1700, IncrementalMethod::Truncated),
    ];
    let found = cases.map(|(x, rows, method)| {
        let config = IncrementalPcaConfig::new(3).with_method(method);
        let mut growing = IncrementalPca::new(&config).unwrap();
        for block in x.axis_chunks_iter(Axis(0), rows) {
            growing.partial_fit(block).unwrap();
        }
        let pca = growing.finish().unwrap();
        let name = format!("IncrementalPca, {method:?}, {rows} rows at a time");
        named(name, pca.components().into_iter().chain(pca.mean()))
    });
    found.into()
}

fn corrections(given: &Given) -> Vec<Named> {
    let (few, tall) = (given.few.x.view(), given.tall.view());
    let config = CombatConfig::default();
    let corrected = combat(few, &given.batch, &[], &config, &NoProgress).unwrap();
    let mut all = vec![named("combat", &corrected)];
    let batch = Categorical::from_labels((0..tall.nrows()).map(|i| ["a", "b", "c"][i % 7 % 3]));
    let new = &given.tall + 1.0;
    for form in [HarmonyForm::One, HarmonyForm::Two] {
        let config = HarmonyConfig::new(form).with_iterations(2);
        let config = config.with_block_share(0.5).with_n_clusters(11);
        let mixed = harmony(tall, &[&batch], &config, &NoProgress).unwrap();
        let mapped = mixed.model.map(new.view(), &[&batch], &NoProgress).unwrap();
        let objective = mixed.objective.iter().map(|objective| objective.total());
        all.extend([
            named(format!("harmony, {form:?}"), &mixed.corrected),
            named(format!("harmony, {form:?}, shares"), &mixed.memberships),
            named(format!("harmony, {form:?}, objective"), objective),
            named(format!("Harmony::map, {form:?}"), &mapped),
        ]);
    }
    let other = Categorical::from_labels((0..tall.nrows()).map(|i| ["x", "y"][i % 5 % 2]));
    let config = HarmonyConfig::new(HarmonyForm::Two).with_iterations(2);
    let mixed = harmony(tall, &[&batch, &other], &config, &NoProgress).unwrap();
    all.push(named("harmony, two variables", &mixed.corrected));
    all
}

fn neighbors(given: &Given) -> Vec<Named> {
    let (x, new, batch) = (given.few.x.view(), given.new.view(), &given.batch);
    let (many, vast) = (given.many.x.view(), given.vast.view());
    let (euclidean, cosine) = (Metric::Euclidean, Metric::Cosine);
    let mut blocks = NeighborSearch::new(new, 6, cosine, &NoProgress).unwrap();
    for (start, end) in [(300_usize, 700), (0, 300)] {
        let block = x.slice(s![start..end, ..]);
        blocks.add_block(block, start as u32, &NoProgress).unwrap();
    }
    let near = |x, k, metric| nearest_neighbors(x, k, metric, &NoProgress);
    let all = [
        ("nearest_neighbors", near(x, 14, euclidean)),
        ("nearest_neighbors by cosine", near(x, 9, cosine)),
        ("nearest_neighbors in groups", near(many, 9, euclidean)),
        ("nearest_neighbors of most rows", near(vast, 9, euclidean)),
        (
            "query_neighbors",
            query_neighbors(x, new, 5, euclidean, &NoProgress),
        ),
        (
            "batch_balanced_neighbors",
            batch_balanced_neighbors(x, batch, 4, cosine, &NoProgress),
        ),
        (
            "batch_balanced_query",
            batch_balanced_query(x, batch, new, 4, euclidean, &NoProgress),
        ),
        ("NeighborSearch", blocks.finish()),
    ];
    let hashed = all.map(|(name, found)| {
        let found = found.unwrap();
        let weights = named(
            format!("membership, {name}"),
            membership(&found, &NoProgress).unwrap(),
        );
        [named_neighbors(name, &found), weights]
    });
    hashed.concat()
}

fn graphs(given: &Given) -> Vec<Named> {
    let Rows { x, near, graph } = &given.few;
    let either = FuzzyConfig::default();
    let mixed = FuzzyConfig::default().with_mix_ratio(0.7);
    let labels = Categorical::from_labels(given.kinds.iter().map(u32::to_string));
    let labels = Target::Categories(&labels);
    let first = x.slice(s![.., ..1]);
    let numbers = nearest_neighbors(first, 14, Metric::Euclidean, &NoProgress).unwrap();
    let numbers = Target::Neighbors(&numbers);
    let all = [
        ("fuzzy_graph", fuzzy_graph(near, &either, &NoProgress)),
        ("fuzzy_graph, mixed", fuzzy_graph(near, &mixed, &NoProgress)),
        (
            "fuzzy_graph of many rows",
            fuzzy_graph(&given.many.near, &either, &NoProgress),
        ),
        ("trim", trim(graph, 7, &NoProgress)),
        (
            "to_undirected",
            to_undirected(graph, Directions::Mean, &NoProgress),
        ),
        (
            "supervise by labels",
            supervise(graph, labels, 0.5, &NoProgress),
        ),
        (
            "supervise by numbers",
            supervise(graph, numbers, 0.5, &NoProgress),
        ),
    ];
    all.map(|(name, found)| named_graph(name, &found.unwrap()))
        .into()
}

fn maps(given: &Given) -> Vec<Named> {
    let Rows { x, graph, .. } = &given.few;
    let (usual, short) = (given.map.config(), UmapConfig::default().with_n_epochs(5));
    let spectral = UmapConfig::default().with_n_epochs(40).with_n_components(3);
    let spectral = spectral.with_edge_pulls(2);
    let random = spectral.clone().with_init(UmapInit::Random);
    let start = x.slice(s![.., ..3]);
    let fitted = Umap::fit(graph, usual, &NoProgress).unwrap();
    let all = [
        ("layout", layout(graph, &spectral, &NoProgress)),
        (
            "layout of many rows",
            layout(&given.many.graph, &short, &NoProgress),
        ),
        (
            "layout from a random start",
            layout(graph, &random, &NoProgress),
        ),
        (
            "layout_from",
            layout_from(graph, start, &random, &NoProgress),
        ),
        (
            "Umap::transform",
            given.map.transform(&given.near_new, &NoProgress),
        ),
    ];
    let mut all = Vec::from(all.map(|(name, found)| named(name, found.unwrap())));
    all.push(named("Umap::fit", fitted.embedding()));
    all
}

fn maps_of_densities(given: &Given) -> Vec<Named> {
    let Rows { near, graph, .. } = &given.many;
    let config = UmapConfig::default().with_n_epochs(5);
    let density = DensityConfig::default().with_share(0.8);
    let drawn = layout_with_density(graph, near, &config, &density, &NoProgress).unwrap();
    vec![
        named("local_radii", local_radii(graph, near).unwrap()),
        named("layout_with_density", &drawn.map),
        named("layout_with_density, radii", &drawn.radii),
        named("layout_with_density, radii on the map", &drawn.map_radii),
    ]
}

fn communities(given: &Given) -> Vec<Named> {
    let graph = &given.few.graph;
    let config = LeidenConfig::default();
    let potts = LeidenConfig::default().with_objective(LeidenObjective::Cpm);
    let potts = potts.with_resolution(0.05);
    let found = leiden(graph, &config, &NoProgress).unwrap();
    let of_potts = leiden(graph, &potts, &NoProgress).unwrap();
    let seeds = [Seed::new(1), Seed::new(2)];
    let stable = leiden_stability(graph, &config, &seeds, &NoProgress).unwrap();
    vec![
        named("leiden", &found.labels),
        named("leiden, quality", [found.quality]),
        named("leiden of the Potts model", &of_potts.labels),
        named("leiden of the Potts model, quality", [of_potts.quality]),
        named("leiden_stability", &stable.per_cluster),
        named("leiden_stability, agreement", &stable.agreement),
    ]
}

fn clusters(given: &Given) -> Vec<Named> {
    let of = |x: &Array2<f64>, k| kmeans(x.view(), &KMeansConfig::new(k), &NoProgress).unwrap();
    let (few, found) = (of(&given.few.x, 5), of(&given.tall, 7));
    let new = &given.tall + 0.5;
    vec![
        named("kmeans of few rows", &few.centers),
        named("kmeans", &found.centers),
        named("kmeans, labels", &found.clustering.labels),
        named("kmeans, quality", [found.clustering.quality]),
        named("KMeans::assign", found.assign(new.view()).unwrap()),
    ]
}

fn mixtures(given: &Given) -> Vec<Named> {
    let (few, tall) = (given.few.x.view(), given.tall.view());
    let mut all = Vec::new();
    for kind in [
        Covariance::Full,
        Covariance::Tied,
        Covariance::Diagonal,
        Covariance::Spherical,
    ] {
        let config = MixtureConfig::new(4).with_covariance(kind);
        let found = gaussian_mixture(tall, &config, &NoProgress).unwrap();
        let fitted = found.covariances().into_iter().chain(found.means());
        let shares = found.probabilities(tall).unwrap();
        let labels = found.predict(few).unwrap();
        all.extend([
            named(format!("gaussian_mixture, {kind:?}"), fitted),
            named(
                format!("gaussian_mixture, {kind:?}, likelihood"),
                [found.log_likelihood()],
            ),
            named(format!("GaussianMixture::probabilities, {kind:?}"), &shares),
            named(format!("GaussianMixture::predict, {kind:?}"), labels),
        ]);
    }
    all
}

fn separation(given: &Given) -> Vec<Named> {
    let (x, kinds, clusters) = (given.few.x.view(), &given.kinds, &given.clusters);
    let by_label = SilhouetteConfig::default().with_others(OtherGroups::Furthest);
    let by_batch = SilhouetteConfig::default()
        .with_metric(Metric::Cosine)
        .with_others(OtherGroups::All);
    let of_rows = silhouette(x, clusters, &NoProgress).unwrap();
    let of_batches =
        silhouette_by_batch(x, &given.batches, clusters, &by_batch, &NoProgress).unwrap();
    let of_labels = silhouette_by_label(x, kinds, &by_label, &NoProgress).unwrap();
    let mut all = named_numbers([
        ("silhouette, mean", of_rows.mean),
        ("silhouette_by_batch", of_batches.mean),
        ("silhouette_by_label", of_labels),
        (
            "davies_bouldin",
            davies_bouldin(x, clusters, &NoProgress).unwrap(),
        ),
        (
            "calinski_harabasz",
            calinski_harabasz(x, clusters, &NoProgress).unwrap(),
        ),
    ]);
    all.push(named("silhouette", &of_rows.samples));
    all
}

fn mixing(given: &Given) -> Vec<Named> {
    let (few, many, clusters) = (&given.few, &given.many, &given.clusters);
    let (x, batches) = (few.x.view(), &given.batches);
    let (config, kbets) = (BatchReportConfig::default(), KbetConfig::default());
    let report = batch_report(x, batches, &given.kinds, &config, &NoProgress).unwrap();
    let by_label = |graph, batches: &[u32]| {
        let labels = vec![0; batches.len()];
        let found = kbet_by_label(graph, batches, &labels, &kbets, &NoProgress);
        found.unwrap().mean
    };
    let mut all = named_numbers([
        (
            "batch_variance",
            batch_variance(x, clusters, &NoProgress).unwrap(),
        ),
        (
            "kbet_by_label of few rows",
            by_label(&few.graph, &given.thirds[..700]),
        ),
        ("kbet_by_label", by_label(&many.graph, &given.thirds)),
        ("batch_report, integration_lisi", report.integration_lisi),
        ("batch_report, label_lisi", report.label_lisi),
        ("batch_report, kbet", report.kbet),
        (
            "batch_report, silhouette_by_batch",
            report.silhouette_by_batch,
        ),
        (
            "batch_report, silhouette_by_label",
            report.silhouette_by_label,
        ),
        (
            "batch_report, graph_connectivity",
            report.graph_connectivity,
        ),
        ("batch_report, batch_variance", report.batch_variance),
    ]);
    let indices = lisi(&few.near, clusters, &LisiConfig::default(), &NoProgress).unwrap();
    let tested = kbet(&few.near, clusters, &kbets, &NoProgress).unwrap();
    all.extend([
        named("lisi", indices),
        named("kbet", tested.statistics.iter().chain(&tested.p_values)),
    ]);
    all
}

/// How far maps, neighbours and other columns tell what the rows do.
fn fidelity(given: &Given) -> Vec<Named> {
    let (x, new, map) = (given.few.x.view(), given.new.view(), given.map.embedding());
    let curve = given.map.config().curve().unwrap();
    let entropy = cross_entropy(&given.few.graph, map, curve, &NoProgress);
    let accuracy = leave_one_out_accuracy(x, &given.kinds, Metric::Cosine, &NoProgress);
    let linear = linear_predictability(x, new, &LinearConfig::default(), &NoProgress);
    let trust = trustworthiness(x, map, 10, &NoProgress);
    named_numbers([
        ("cross_entropy", entropy.unwrap()),
        ("leave_one_out_accuracy", accuracy.unwrap()),
        ("linear_predictability", linear.unwrap()),
        ("trustworthiness", trust.unwrap()),
    ])
}

fn classifiers(given: &Given) -> Vec<Named> {
    let (x, new, labels) = (given.few.x.view(), given.new.view(), &given.clusters);
    let (many, thirds) = (given.many.x.view(), &given.thirds);
    let config = KnnConfig::default().with_weights(KnnWeights::Distance);
    let nearest = KnnClassifier::fit(x, labels, &config).unwrap();
    let nearest = nearest.predict(new, &NoProgress).unwrap();
    let config = LogisticConfig::default();
    let few = LogisticRegression::fit(x, labels, &config, &NoProgress).unwrap();
    let told = few.predict(new, &NoProgress).unwrap();
    let many = LogisticRegression::fit(many, thirds, &config, &NoProgress).unwrap();
    let of_few = few.coefficients().into_iter().chain(few.intercepts());
    let of_many = many.coefficients().into_iter().chain(many.intercepts());
    vec![
        named("KnnClassifier::predict", &nearest.probabilities),
        named("LogisticRegression::fit of few rows", of_few),
        named("LogisticRegression::fit", of_many),
        named("LogisticRegression::predict", &told.probabilities),
    ]
}

fn forests(given: &Given) -> Vec<Named> {
    let config = ForestConfig::default().with_trees(20);
    let (x, labels) = (given.few.x.view(), &given.clusters);
    let forest = RandomForest::fit(x, labels, &config, &NoProgress).unwrap();
    let told = forest.predict(given.new.view(), &NoProgress).unwrap();
    vec![
        named("RandomForest::fit", forest.importances()),
        named("RandomForest::fit, accuracy", forest.out_of_bag_accuracy()),
        named("RandomForest::predict", &told.probabilities),
    ]
}

fn probes(given: &Given) -> Vec<Named> {
    let classifiers = [
        ("nearest", Classifier::Knn(KnnConfig::default())),
        ("linear", Classifier::default()),
        (
            "forest",
            Classifier::Forest(ForestConfig::default().with_trees(10)),
        ),
    ];
    let found = classifiers.map(|(name, classifier)| {
        let config = ProbeConfig::default().with_classifier(classifier);
        let x = given.few.x.view();
        let report = probe(x, &given.batches, None, &config, &NoProgress).unwrap();
        let areas = report.probabilities.auc_per_class.iter().flatten();
        [
            named(format!("probe, {name}"), &report.prediction.probabilities),
            named(format!("probe, {name}, areas under curves"), areas),
        ]
    });
    found.concat()
}

/// The names of the results whose hashes differ.
fn differing<'a>(found: &'a [Named], expected: &[Named]) -> Vec<&'a str> {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let differ = pairs.filter(|(found, expected)| found != expected);
    differ.map(|(found, _)| found.0.as_str()).collect()
}

/// Compares what is computed on two to eight threads with what one computes.
fn assert_same_bits(compute: impl Fn() -> Vec<Named> + Sync) {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&compute)
    };
    let one = on(1);
    let names: BTreeSet<&String> = one.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), one.len(), "a name stands for one result");
    for threads in 2..=8 {
        let found = on(threads);
        let differ = differing(&found, &one);
        assert!(differ.is_empty(), "{threads} threads: {differ:?}");
    }
}

#[test]
fn a_result_that_differs_in_its_last_bit_is_named() {
    let of = |value: f64| [named("moved", [1.0, value]), named("kept", [2_u32])];
    let (one, two) = (of(0.1), of(0.1_f64.next_up()));
    assert_eq!(differing(&one, &one), Vec::<&str>::new());
    assert_eq!(differing(&two, &one), ["moved"]);
}

#[test]
fn one_to_eight_threads_give_the_same_bits() {
    let given = Given::new();
    assert_same_bits(|| STAGES.iter().flat_map(|stage| stage(&given)).collect());
}

#[cfg(feature = "hnsw")]
#[test]
fn one_to_eight_threads_make_the_same_index() {
    use phenocoder_embed::knn::{HnswConfig, HnswIndex};
    let x = groups(3000, 6);
    let new = &x + 0.1;
    let of = |metric| {
        let config = HnswConfig::new(metric).with_links(8).with_build_width(40);
        let index = HnswIndex::build(x.view(), &config, &NoProgress).unwrap();
        let written = serde_json::to_vec(&index).unwrap();
        let near = index.neighbors(10, 20, &NoProgress).unwrap();
        let of_new = index.query(new.view(), 5, 20, &NoProgress).unwrap();
        [
            named(
                format!("HnswIndex::build, {metric:?}"),
                written.into_iter().map(u32::from),
            ),
            named_neighbors(&format!("HnswIndex::neighbors, {metric:?}"), &near),
            named_neighbors(&format!("HnswIndex::query, {metric:?}"), &of_new),
        ]
    };
    let metrics = [Metric::Euclidean, Metric::Cosine];
    assert_same_bits(|| metrics.into_iter().flat_map(of).collect());
}

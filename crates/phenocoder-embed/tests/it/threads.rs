//! The same bits on any number of threads.

use ndarray::Array2;
use phenocoder_core::{Categorical, NoProgress, Seed};
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
    ForestConfig, KnnClassifier, KnnConfig, KnnWeights, LinearConfig, LogisticConfig,
    LogisticRegression, OtherGroups, RandomForest, SilhouetteConfig, calinski_harabasz,
    davies_bouldin, leave_one_out_accuracy, linear_predictability, silhouette, silhouette_by_batch,
    silhouette_by_label, trustworthiness,
};
use phenocoder_embed::fuzzy::{
    Directions, FuzzyConfig, Target, fuzzy_graph, membership, supervise, to_undirected, trim,
};
use phenocoder_embed::knn::{
    Metric, NeighborSearch, batch_balanced_neighbors, batch_balanced_query, nearest_neighbors,
    query_neighbors,
};
use phenocoder_embed::pca::{
    IncrementalMethod, IncrementalPca, IncrementalPcaConfig, Pca, PcaConfig, PcaSolver,
};
use phenocoder_embed::select::{SeuratConfig, VariableConfig, VariableFlavor, variable_features};
use phenocoder_embed::umap::{
    DensityConfig, Umap, UmapConfig, UmapInit, cross_entropy, layout, layout_from,
    layout_with_density,
};
use sha2::{Digest, Sha256};

fn pool(threads: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap()
}

fn hash_everything(threads: usize) -> Vec<u8> {
    pool(threads).install(|| {
        let mut stream = Seed::new(21).stream("x", 0);
        let x = Array2::from_shape_fn((700, 6), |(i, _)| (i % 4) as f64 * 3.0 + stream.normal());
        let mut hash = Sha256::new();
        let mut add = |values: &mut dyn Iterator<Item = f64>| {
            for value in values {
                hash.update(value.to_bits().to_le_bytes());
            }
        };
        let scores = Pca::fit(x.view(), &PcaConfig::new(4))
            .unwrap()
            .transform(x.view())
            .unwrap();
        add(&mut scores.iter().copied());
        // More than one block of rows, tile of columns and panel of reflections.
        let wide = Array2::from_shape_fn((5000, 150), |(_, j)| (1.0 + j as f64) * stream.uniform());
        for solver in [PcaSolver::Covariance, PcaSolver::Randomized] {
            let config = PcaConfig::new(3).with_solver(solver);
            let pca = Pca::fit(wide.view(), &config).unwrap();
            add(&mut pca.components().iter().copied());
            add(&mut pca.transform(wide.view()).unwrap().iter().copied());
        }
        let config = IncrementalPcaConfig::new(3).with_method(IncrementalMethod::Truncated);
        let mut growing = IncrementalPca::new(&config).unwrap();
        for block in wide.axis_chunks_iter(ndarray::Axis(0), 1700) {
            growing.partial_fit(block).unwrap();
        }
        add(&mut growing.finish().unwrap().components().iter().copied());
        let seurat = VariableFlavor::Seurat(SeuratConfig::default());
        for config in [
            VariableConfig::default(),
            VariableConfig::default().with_flavor(seurat),
        ] {
            let variable = variable_features(x.view(), &config, &NoProgress).unwrap();
            add(&mut variable.normalized.into_iter());
            add(&mut variable.selected.into_iter().map(f64::from));
        }
        let neighbors =
            nearest_neighbors(scores.view(), 14, Metric::Euclidean, &NoProgress).unwrap();
        add(&mut neighbors.distances().iter().copied());
        add(&mut neighbors.indices().iter().map(|&i| f64::from(i)));
        let batch = Categorical::from_labels((0..700).map(|i| if i % 3 == 0 { "a" } else { "b" }));
        let corrected =
            combat(x.view(), &batch, &[], &CombatConfig::default(), &NoProgress).unwrap();
        add(&mut corrected.iter().copied());
        // Blocks of more rows than one task has.
        let tall = Array2::from_shape_fn((2600, 3), |(i, _)| (i % 5) as f64 + stream.normal());
        let thirds = Categorical::from_labels((0..2600).map(|i| ["a", "b", "c"][i % 7 % 3]));
        for form in [HarmonyForm::One, HarmonyForm::Two] {
            let config = HarmonyConfig::new(form).with_iterations(2);
            let config = config.with_block_share(0.5).with_n_clusters(11);
            let mixed = harmony(tall.view(), &[&thirds], &config, &NoProgress).unwrap();
            add(&mut mixed.corrected.iter().copied());
            add(&mut mixed.memberships.iter().copied());
            add(&mut mixed.objective.iter().map(|objective| objective.total()));
            let mapped = mixed
                .model
                .map((&tall + 1.0).view(), &[&thirds], &NoProgress);
            add(&mut mapped.unwrap().iter().copied());
        }
        let balanced =
            batch_balanced_neighbors(scores.view(), &batch, 4, Metric::Cosine, &NoProgress)
                .unwrap();
        add(&mut balanced.distances().iter().copied());
        let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
        let config = UmapConfig::default().with_n_epochs(60);
        let map = Umap::fit(&graph, &config, &NoProgress).unwrap();
        add(&mut map.embedding().iter().copied());
        let query = query_neighbors(
            scores.view(),
            (&scores + 0.1).view(),
            5,
            Metric::Euclidean,
            &NoProgress,
        );
        let placed = map.transform(&query.unwrap(), &NoProgress).unwrap();
        add(&mut placed.iter().copied());
        let clusters = leiden(&graph, &LeidenConfig::default(), &NoProgress).unwrap();
        add(&mut clusters.labels.iter().map(|&l| f64::from(l)));
        let means = kmeans(x.view(), &KMeansConfig::new(5), &NoProgress).unwrap();
        add(&mut means.centers.iter().copied());
        // More rows than one task sums.
        let many =
            Array2::from_shape_fn((2500, 6), |(i, j)| x[[i * 7 % 700, j]] + (i / 700) as f64);
        let means = kmeans(many.view(), &KMeansConfig::new(7), &NoProgress).unwrap();
        add(&mut means.centers.iter().copied());
        for kind in [
            Covariance::Full,
            Covariance::Tied,
            Covariance::Diagonal,
            Covariance::Spherical,
        ] {
            let config = MixtureConfig::new(4).with_covariance(kind);
            let mixture = gaussian_mixture(many.view(), &config, &NoProgress).unwrap();
            add(&mut mixture.covariances().iter().copied());
            add(&mut [mixture.log_likelihood()].into_iter());
            add(&mut mixture.probabilities(x.view()).unwrap().iter().copied());
        }
        let seeds = [Seed::new(1), Seed::new(2)];
        let stable = leiden_stability(&graph, &LeidenConfig::default(), &seeds, &NoProgress);
        add(&mut stable.unwrap().per_cluster.into_iter());
        let thirds: Vec<u32> = (0..700).map(|i| i % 3).collect();
        let of_all = kbet_by_label(
            &graph,
            &thirds,
            &[0; 700],
            &KbetConfig::default(),
            &NoProgress,
        );
        add(&mut [of_all.unwrap().mean].into_iter());
        let mixing = lisi(
            &neighbors,
            &clusters.labels,
            &LisiConfig::default(),
            &NoProgress,
        );
        add(&mut mixing.unwrap().into_iter());
        let tested = kbet(
            &neighbors,
            &clusters.labels,
            &KbetConfig::default(),
            &NoProgress,
        )
        .unwrap();
        add(&mut tested.statistics.into_iter().chain(tested.p_values));
        let config_of_knn = KnnConfig::default().with_weights(KnnWeights::Distance);
        let knn = KnnClassifier::fit(scores.view(), &clusters.labels, &config_of_knn).unwrap();
        let told = knn.predict((&scores + 0.1).view(), &NoProgress).unwrap();
        add(&mut told.probabilities.iter().copied());
        let linear = LogisticRegression::fit(
            scores.view(),
            &clusters.labels,
            &LogisticConfig::default(),
            &NoProgress,
        )
        .unwrap();
        add(&mut linear.coefficients().iter().copied());
        let config_of_forest = ForestConfig::default().with_trees(20);
        let forest = RandomForest::fit(
            scores.view(),
            &clusters.labels,
            &config_of_forest,
            &NoProgress,
        )
        .unwrap();
        add(&mut forest.importances().iter().copied());
        add(&mut forest.out_of_bag_accuracy().into_iter());
        let told = forest.predict((&scores + 0.1).view(), &NoProgress).unwrap();
        add(&mut told.probabilities.iter().copied());
        let batches: Vec<u32> = (0..700).map(|i| u32::from(i % 3 == 0)).collect();
        let by_batch = SilhouetteConfig::default()
            .with_metric(Metric::Cosine)
            .with_others(OtherGroups::All);
        let measures = [
            batch_variance(x.view(), &clusters.labels, &NoProgress).unwrap(),
            clusters.quality,
            davies_bouldin(x.view(), &clusters.labels).unwrap(),
            calinski_harabasz(x.view(), &clusters.labels).unwrap(),
            silhouette_by_batch(x.view(), &batches, &clusters.labels, &by_batch, &NoProgress)
                .unwrap()
                .mean,
            silhouette(x.view(), &clusters.labels, &NoProgress)
                .unwrap()
                .mean,
            trustworthiness(x.view(), map.embedding(), 10, &NoProgress).unwrap(),
            cross_entropy(
                &graph,
                map.embedding(),
                config.curve().unwrap(),
                &NoProgress,
            )
            .unwrap(),
        ];
        add(&mut measures.into_iter());
        hash.finalize().to_vec()
    })
}

/// Other ways through the same loops: other settings, rows in blocks, new rows, and all measures of batches at once.
fn hash_variants(threads: usize) -> Vec<u8> {
    pool(threads).install(|| {
        let mut stream = Seed::new(23).stream("x", 0);
        let x = Array2::from_shape_fn((700, 6), |(i, _)| (i % 4) as f64 * 3.0 + stream.normal());
        let mut hash = Sha256::new();
        let mut add = |values: &mut dyn Iterator<Item = f64>| {
            for value in values {
                hash.update(value.to_bits().to_le_bytes());
            }
        };
        // More columns than rows, and more rows than one tile of the products.
        let wide = Array2::from_shape_fn((150, 900), |(_, j)| (j % 7) as f64 * stream.normal());
        let pca = Pca::fit(wide.view(), &PcaConfig::new(5).with_solver(PcaSolver::Gram)).unwrap();
        add(&mut pca.components().iter().copied());
        let mut growing = IncrementalPca::new(&IncrementalPcaConfig::new(3)).unwrap();
        for block in x.axis_chunks_iter(ndarray::Axis(0), 300) {
            growing.partial_fit(block).unwrap();
        }
        add(&mut growing.finish().unwrap().components().iter().copied());

        let batch = Categorical::from_labels((0..700).map(|i| if i % 3 == 0 { "a" } else { "b" }));
        let new = &x + 0.1;
        let mut blocks = NeighborSearch::new(new.view(), 6, Metric::Cosine, &NoProgress).unwrap();
        for (start, end) in [(300_usize, 700), (0, 300)] {
            let block = x.slice(ndarray::s![start..end, ..]);
            blocks.add_block(block, start as u32, &NoProgress).unwrap();
        }
        let metric = Metric::Euclidean;
        let near = nearest_neighbors(x.view(), 14, metric, &NoProgress).unwrap();
        for found in [
            blocks.finish().unwrap(),
            nearest_neighbors(x.view(), 9, Metric::Cosine, &NoProgress).unwrap(),
            batch_balanced_query(x.view(), &batch, new.view(), 4, metric, &NoProgress).unwrap(),
        ] {
            add(&mut found.distances().iter().copied());
            add(&mut found.indices().iter().map(|&i| f64::from(i)));
            add(&mut membership(&found, &NoProgress).unwrap().iter().copied());
        }
        let graph = fuzzy_graph(
            &near,
            &FuzzyConfig::default().with_mix_ratio(0.7),
            &NoProgress,
        )
        .unwrap();
        let kinds: Vec<u32> = (0..700).map(|i| i % 4).collect();
        let labels = Categorical::from_labels(kinds.iter().map(u32::to_string));
        let graphs = [
            trim(&graph, 7, &NoProgress).unwrap(),
            to_undirected(&graph, Directions::Mean, &NoProgress).unwrap(),
            supervise(&graph, Target::Categories(&labels), 0.5, &NoProgress).unwrap(),
        ];
        for graph in graphs.iter().chain([&graph]) {
            add(&mut graph.values().iter().copied());
            add(&mut graph.indices().iter().map(|&i| f64::from(i)));
        }
        let config = UmapConfig::default().with_n_epochs(40).with_n_components(3);
        let config = config.with_edge_pulls(2);
        add(&mut layout(&graph, &config, &NoProgress).unwrap().into_iter());
        let config = config.with_init(UmapInit::Random);
        add(&mut layout(&graph, &config, &NoProgress).unwrap().into_iter());
        let start = x.slice(ndarray::s![.., ..3]);
        let map = layout_from(&graph, start, &config, &NoProgress).unwrap();
        add(&mut map.into_iter());
        let config = LeidenConfig::default().with_objective(LeidenObjective::Cpm);
        let found = leiden(&graph, &config.with_resolution(0.05), &NoProgress).unwrap();
        add(&mut found.labels.iter().map(|&label| f64::from(label)));
        add(&mut [found.quality].into_iter());

        let batches: Vec<u32> = (0..700).map(|i| u32::from(i % 3 == 0)).collect();
        let report = batch_report(
            x.view(),
            &batches,
            &kinds,
            &BatchReportConfig::default(),
            &NoProgress,
        )
        .unwrap();
        let apart = SilhouetteConfig::default().with_others(OtherGroups::Furthest);
        let accuracy = leave_one_out_accuracy(x.view(), &kinds, Metric::Cosine, &NoProgress);
        let linear =
            linear_predictability(x.view(), new.view(), &LinearConfig::default(), &NoProgress);
        let measures = [
            report.integration_lisi,
            report.label_lisi,
            report.kbet,
            report.silhouette_by_batch,
            report.silhouette_by_label,
            report.graph_connectivity,
            report.batch_variance,
            silhouette_by_label(x.view(), &kinds, &apart, &NoProgress).unwrap(),
            accuracy.unwrap(),
            linear.unwrap(),
        ];
        add(&mut measures.into_iter());
        hash.finalize().to_vec()
    })
}

/// More rows than one task takes, and all in one part: where fewer rows are one task, or parts are taken one by one.
/// The eigenvectors of kBET by label are of so many entries that three tasks share a vector.
fn hash_large(threads: usize) -> Vec<u8> {
    const ROWS: usize = 2100;
    pool(threads).install(|| {
        let mut stream = Seed::new(24).stream("x", 0);
        let x = Array2::from_shape_simple_fn((ROWS, 3), || stream.uniform());
        let mut hash = Sha256::new();
        let mut add = |values: &mut dyn Iterator<Item = f64>| {
            for value in values {
                hash.update(value.to_bits().to_le_bytes());
            }
        };
        let near = nearest_neighbors(x.view(), 9, Metric::Euclidean, &NoProgress).unwrap();
        let graph = fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap();
        add(&mut graph.values().iter().copied());
        let config = UmapConfig::default().with_n_epochs(5);
        add(&mut layout(&graph, &config, &NoProgress).unwrap().into_iter());
        let density = DensityConfig::default().with_share(0.8);
        let drawn = layout_with_density(&graph, &near, &config, &density, &NoProgress).unwrap();
        add(&mut drawn.map.into_iter());
        add(&mut drawn.radii.into_iter().chain(drawn.map_radii));
        let labels: Vec<u32> = (0..ROWS as u32).map(|i| i % 3).collect();
        let linear =
            LogisticRegression::fit(x.view(), &labels, &LogisticConfig::default(), &NoProgress)
                .unwrap();
        add(&mut linear.coefficients().iter().copied());
        let config = KbetConfig::default();
        let tested = kbet_by_label(&graph, &labels, &[0; ROWS], &config, &NoProgress).unwrap();
        add(&mut [tested.mean].into_iter());
        hash.finalize().to_vec()
    })
}

#[test]
fn one_to_eight_threads_give_the_same_bits() {
    let all = |threads| {
        [
            hash_everything(threads),
            hash_variants(threads),
            hash_large(threads),
        ]
    };
    let one = all(1);
    for threads in 2..=8 {
        assert_eq!(all(threads), one, "{threads} threads");
    }
}

#[cfg(feature = "hnsw")]
#[test]
fn one_to_eight_threads_make_the_same_index() {
    use phenocoder_embed::knn::{HnswConfig, HnswIndex};
    let mut stream = Seed::new(22).stream("x", 0);
    let x = Array2::from_shape_fn((3_000, 6), |(i, _)| (i % 4) as f64 * 3.0 + stream.normal());
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let hash = |threads| {
            let index = pool(threads).install(|| {
                let config = HnswConfig::new(metric).with_links(8).with_build_width(40);
                let index = HnswIndex::build(x.view(), &config, &NoProgress).unwrap();
                let found = index.neighbors(10, 20, &NoProgress).unwrap();
                let of_new = index.query((&x + 0.1).view(), 5, 20, &NoProgress).unwrap();
                let bits = |d: &f64| d.to_bits().to_le_bytes();
                let distances = found
                    .distances()
                    .iter()
                    .chain(of_new.distances())
                    .flat_map(bits)
                    .collect::<Vec<u8>>();
                (serde_json::to_vec(&index).unwrap(), distances)
            });
            Sha256::digest([index.0, index.1].concat()).to_vec()
        };
        let one = hash(1);
        for threads in 2..=8 {
            assert_eq!(hash(threads), one, "{metric:?}, {threads} threads");
        }
    }
}

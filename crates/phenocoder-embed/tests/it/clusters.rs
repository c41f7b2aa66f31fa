//! k-means against scikit-learn 1.9.1: `tests/data/make_clusters.py`.

use ndarray::Array2;
use phenocoder_core::{NoProgress, Seed};
use phenocoder_embed::cluster::{KMeansConfig, kmeans};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/clusters.json")).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(shape, rows.concat()).unwrap()
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
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
                let worst = ours.iter().fold(0.0, |m, &v| v.max(m)) / least;
                assert!(worst <= 1.01, "{name}, {k} clusters: {worst}");
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

//! Whether clusters are found again.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, Progress, Seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::leiden::{Network, best_run};
use super::{Clustering, LeidenConfig};
use crate::evaluate::{Contingency, Ranked};
use crate::fuzzy::check_undirected;
use crate::matrix::check_shape;
use crate::stored::is_balance;
use crate::{ConfigError, Error, Result};

const METHOD: &str = "the stability of clusters";

/// The result of [`stability`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct Stability {
    /// The adjusted Rand index of each pair of runs, `[runs, runs]`; 1 on the diagonal.
    #[serde(with = "crate::stored")]
    pub agreement: Array2<f64>,
    /// Its mean over pairs of different runs.
    pub mean: f64,
    /// For each cluster of the first run, the mean overlap (Jaccard index) with the cluster of each other run that it
    /// is most like.
    pub per_cluster: Vec<f64>,
    /// The number of clusters of each run.
    pub n_clusters: Vec<usize>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[serde(with = "crate::stored")]
    agreement: Array2<f64>,
    #[serde(deserialize_with = "crate::stored::balance")]
    mean: f64,
    #[serde(deserialize_with = "crate::stored::share")]
    per_cluster: Vec<f64>,
    n_clusters: Vec<usize>,
}

impl TryFrom<Parts> for Stability {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            agreement,
            mean,
            per_cluster,
            n_clusters,
        } = parts;
        let runs = n_clusters.len();
        check_shape("agreement", &[runs, runs], agreement.shape())?;
        for &index in &agreement {
            ConfigError::check(
                is_balance(index),
                "agreement",
                "numbers from -1 to 1",
                index,
            )?;
        }
        Ok(Self {
            agreement,
            mean,
            per_cluster,
            n_clusters,
        })
    }
}

/// How far several clusterings of the same rows agree, and which clusters of the first one are found again in the
/// others.
///
/// The overlap of two clusters `A` and `B` is `|A ∩ B| / |A ∪ B|`; with up to 0.5 a cluster counts as dissolved, from
/// 0.75 on as found again (Hennig 2007, doi:10.1016/j.csda.2006.11.025).
/// Runs may differ in the seed, the resolution or the settings; those that differ in the seed only say how much is
/// chance of the method, not how much is chance of the data.
/// Cost: `O(r² n log n)` for `r` runs.
///
/// # Errors
///
/// [`Error::TooFew`] for fewer than two runs, [`Error::Shape`] when they have different numbers of rows,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{NoProgress, Seed};
/// use phenocoder_embed::cluster::{KMeansConfig, kmeans, stability};
///
/// let x = array![[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]];
/// let run = |seed| kmeans(x.view(), &KMeansConfig::new(3).with_seed(Seed::new(seed)), &NoProgress);
/// let found = stability(&[run(0)?.clustering, run(1)?.clustering], &NoProgress)?;
/// assert_eq!(found.mean, 1.0);
/// assert_eq!(found.per_cluster, [1.0; 3]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn stability(runs: &[Clustering], progress: &dyn Progress) -> Result<Stability> {
    let count = runs.len();
    Error::check_enough(METHOD, "runs", 2, count)?;
    progress.start(METHOD, Some((count * (count - 1) / 2) as u64));
    let groups: Vec<Ranked> = runs.iter().map(|run| Ranked::new(&run.labels)).collect();
    let mut agreement = Array2::eye(count);
    let (mut sum, mut per_cluster) = (0.0, Vec::new());
    for (i, a) in groups.iter().enumerate() {
        for (j, b) in groups.iter().enumerate().skip(i + 1) {
            progress.check()?;
            let table = Contingency::of(a, b)?;
            let index = table.rand_index();
            (agreement[[i, j]], agreement[[j, i]]) = (index, index);
            sum += index;
            if i == 0 {
                let overlaps = table.best_overlaps();
                per_cluster.resize(overlaps.len(), 0.0);
                for (mean, overlap) in per_cluster.iter_mut().zip(overlaps) {
                    *mean += overlap / (count - 1) as f64;
                }
            }
            progress.advance(1);
        }
    }
    progress.finish();
    Ok(Stability {
        agreement,
        mean: sum / (count * (count - 1) / 2) as f64,
        per_cluster,
        n_clusters: runs.iter().map(|run| run.n_clusters).collect(),
    })
}

/// The [`stability`] of the communities that [`leiden`](super::leiden()) finds with each of the seeds, the first of
/// which makes the clusters that are looked for again.
///
/// The seed of the settings does not matter.
/// With `restarts = 1` it is the stability of a single run, otherwise that of the best of so many.
/// Seeds run side by side, each with working memory of about the size of the graph.
///
/// # Errors
///
/// As [`leiden`](super::leiden()), and [`Error::TooFew`] for fewer than two seeds.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CsrGraph, NoProgress, Seed};
/// use phenocoder_embed::cluster::{LeidenConfig, leiden_stability};
///
/// // Two pairs.
/// let graph = CsrGraph::new(vec![0, 1, 2, 3, 4], vec![1, 0, 3, 2], vec![1.0; 4])?;
/// let seeds = [Seed::new(0), Seed::new(1), Seed::new(2)];
/// let found = leiden_stability(&graph, &LeidenConfig::default(), &seeds, &NoProgress)?;
/// assert_eq!((found.mean, found.n_clusters), (1.0, vec![2; 3]));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn leiden_stability(
    graph: &CsrGraph,
    config: &LeidenConfig,
    seeds: &[Seed],
    progress: &dyn Progress,
) -> Result<Stability> {
    config.validate()?;
    Error::check_enough(METHOD, "runs", 2, seeds.len())?;
    check_undirected(graph)?;
    let network = Network::new(graph, config);
    let steps = seeds.len().saturating_mul(config.restarts);
    progress.start("leiden", Some(steps as u64));
    let runs: Result<Vec<Clustering>> = seeds
        .par_iter()
        .map(|&seed| best_run(&network, &config.clone().with_seed(seed), progress))
        .collect();
    progress.finish();
    stability(&runs?, progress)
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{CancelToken, NoProgress};
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::leiden;

    fn run(labels: &[u32]) -> Clustering {
        Clustering::new(labels, 0.0)
    }

    fn compared(runs: &[Clustering]) -> Result<Stability> {
        stability(runs, &NoProgress)
    }

    #[test]
    fn overlaps_and_agreements_equal_those_worked_out_by_hand() {
        // A pair of the four leaves for the others in the second run, and the third is one cluster.
        let runs = [
            run(&[0, 0, 0, 0, 1, 1]),
            run(&[0, 0, 1, 1, 1, 1]),
            run(&[0, 0, 0, 0, 0, 0]),
        ];
        let found = compared(&runs).unwrap();
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Stability>(&text).unwrap(), found);
        let other = text.replace(r#""n_clusters":[2,"#, r#""n_clusters":["#);
        let error = serde_json::from_str::<Stability>(&other).unwrap_err();
        assert!(error.to_string().contains("agreement"), "{error}");
        for (field, wrong) in [
            (
                "agreement",
                serde_json::json!({"shape": [3, 3], "values": vec![7.0; 9]}),
            ),
            ("mean", serde_json::json!(1.5)),
            ("per_cluster", serde_json::json!([0.5, -0.5])),
        ] {
            let mut other = serde_json::to_value(&found).unwrap();
            other[field] = wrong;
            assert!(
                serde_json::from_value::<Stability>(other).is_err(),
                "{field}"
            );
        }
        assert_eq!(found.n_clusters, [2, 2, 1]);
        // Best overlaps 2/4 and 2/4 in the second, 4/6 and 2/6 in the third.
        let expected = [(0.5 + 2.0 / 3.0) / 2.0, (0.5 + 1.0 / 3.0) / 2.0];
        for (found, expected) in found.per_cluster.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
        // Pairs together 3 of 7 and 7, all 15: (3 − 49/15) / (7 − 49/15); with one cluster 0.
        let index = (3.0 - 49.0 / 15.0) / (7.0 - 49.0 / 15.0);
        assert!((found.agreement[[0, 1]] - index).abs() < 1e-15);
        assert_eq!(found.agreement[[0, 2]], 0.0);
        assert_eq!(found.agreement, found.agreement.t());
        assert!((found.mean - index / 3.0).abs() < 1e-15);
    }

    #[test]
    fn labels_that_are_there_count_whatever_the_number_of_clusters_says() {
        let made = Clustering {
            n_clusters: usize::MAX,
            ..run(&[0, 0, 1, 1])
        };
        let far = Clustering {
            labels: vec![0, 0, u32::MAX, u32::MAX],
            ..made.clone()
        };
        let found = compared(&[far, made]).unwrap();
        assert_eq!((found.mean, found.per_cluster), (1.0, vec![1.0; 2]));
    }

    #[test]
    fn comparisons_can_be_stopped() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let result = stability(&[run(&[0, 1]), run(&[0, 0])], &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
        // As can more runs than can be counted.
        let graph = CsrGraph::empty(4);
        let config = LeidenConfig::default().with_restarts(usize::MAX);
        let seeds = [Seed::new(0), Seed::new(1)];
        let result = leiden_stability(&graph, &config, &seeds, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn too_few_runs_and_runs_of_other_rows_are_refused() {
        for runs in [&[][..], &[run(&[0, 1])]] {
            assert!(matches!(
                compared(runs),
                Err(Error::TooFew { what: "runs", .. })
            ));
        }
        let result = compared(&[run(&[0, 1]), run(&[0])]);
        assert!(matches!(result, Err(Error::Shape(_))));
        assert_eq!(compared(&[run(&[]), run(&[])]).unwrap().mean, 1.0);
        let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
        let (config, seeds) = (LeidenConfig::default(), [Seed::new(0), Seed::new(1)]);
        let find = |graph: &CsrGraph, config: &LeidenConfig, seeds: &[Seed]| {
            leiden_stability(graph, config, seeds, &NoProgress)
        };
        assert!(matches!(
            find(&one_way, &config, &seeds),
            Err(Error::NotSymmetric { .. })
        ));
        let graph = CsrGraph::empty(4);
        assert!(matches!(
            find(&graph, &config, &seeds[..1]),
            Err(Error::TooFew { .. })
        ));
        let config = config.with_restarts(0);
        assert!(matches!(
            find(&graph, &config, &seeds),
            Err(Error::Config(_))
        ));
        let stopped = CancelToken::new();
        stopped.cancel();
        let result = leiden_stability(&graph, &LeidenConfig::default(), &seeds, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn seeds_of_leiden_are_runs_of_it() {
        // A ring of 24 nodes can be cut anywhere.
        let n = 24_u32;
        let ring = CsrGraph::new(
            (0..=n as usize).map(|i| 2 * i).collect(),
            (0..n)
                .flat_map(|i| {
                    let (a, b) = ((i + n - 1) % n, (i + 1) % n);
                    [a.min(b), a.max(b)]
                })
                .collect(),
            vec![1.0; 2 * n as usize],
        )
        .unwrap();
        let config = LeidenConfig::default().with_restarts(2);
        let seeds: Vec<Seed> = (5..9).map(Seed::new).collect();
        let runs: Vec<Clustering> = seeds
            .iter()
            .map(|&seed| leiden(&ring, &config.clone().with_seed(seed), &NoProgress).unwrap())
            .collect();
        let found = leiden_stability(&ring, &config, &seeds, &NoProgress).unwrap();
        assert_eq!(found, compared(&runs).unwrap());
        assert!(found.mean < 0.9, "{found:?}");
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter_and_a_run_equals_itself(
            runs in prop::collection::vec(prop::collection::vec(0_u32..4, 30), 2..5),
            order in Just((0..30).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let clusterings: Vec<Clustering> = runs.iter().map(|labels| run(labels)).collect();
            let found = compared(&clusterings).unwrap();
            // The numbers of clusters of one size depend on the order of rows; here they are kept.
            let moved: Vec<Clustering> = clusterings
                .iter()
                .map(|clustering| Clustering {
                    labels: order.iter().map(|&row| clustering.labels[row]).collect(),
                    ..clustering.clone()
                })
                .collect();
            prop_assert_eq!(&compared(&moved).unwrap(), &found);
            prop_assert!(found.per_cluster.iter().all(|v| (0.0..=1.0 + 1e-12).contains(v)));
            let same = compared(&std::array::from_fn::<_, 3, _>(|_| clusterings[0].clone())).unwrap();
            prop_assert_eq!(same.per_cluster, vec![1.0; clusterings[0].n_clusters]);
            prop_assert_eq!(same.mean, 1.0);
        }
    }
}

//! All measures of one matrix at once.

use ndarray::ArrayView2;
use phenocoder_core::{Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::super::silhouette::MIXED_LABELS;
use super::super::{SilhouetteConfig, silhouette_by_batch, silhouette_by_label};
use super::{
    KbetConfig, LisiConfig, batch_variance, check_groups, graph_connectivity, integration_lisi,
    kbet, label_lisi, ranked,
};
use crate::knn::{Metric, nearest_neighbors};
use crate::{ConfigError, Error, Result};

/// Settings of [`batch_report`].
///
/// The numbers of neighbours are those of scib-metrics' benchmark, which counts the row itself as a neighbour, too;
/// [`batch_report`] says in what else it differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BatchReportConfig {
    /// The distance of two rows, for the neighbours (default Euclidean).
    pub metric: Metric,
    /// The neighbours of both [`lisi`](super::lisi) (default 89).
    pub lisi_neighbors: usize,
    /// The neighbours of [`kbet`] (default 49).
    pub kbet_neighbors: usize,
    /// The neighbours of [`graph_connectivity`] (default 14).
    pub connectivity_neighbors: usize,
    /// How neighbours weigh.
    pub lisi: LisiConfig,
    /// When a neighbourhood passes.
    pub kbet: KbetConfig,
    /// The distance of the silhouette by batch, and what it compares with.
    pub batch_silhouette: SilhouetteConfig,
    /// The same of the silhouette by label.
    pub label_silhouette: SilhouetteConfig,
}

impl Default for BatchReportConfig {
    fn default() -> Self {
        Self {
            metric: Metric::Euclidean,
            lisi_neighbors: 89,
            kbet_neighbors: 49,
            connectivity_neighbors: 14,
            lisi: LisiConfig::default(),
            kbet: KbetConfig::default(),
            batch_silhouette: SilhouetteConfig::default(),
            label_silhouette: SilhouetteConfig::default(),
        }
    }
}

impl BatchReportConfig {
    /// Sets the distance of two rows, for the neighbours.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Sets the neighbours of both LISI.
    #[must_use]
    pub fn with_lisi_neighbors(mut self, lisi_neighbors: usize) -> Self {
        self.lisi_neighbors = lisi_neighbors;
        self
    }

    /// Sets the neighbours of kBET.
    #[must_use]
    pub fn with_kbet_neighbors(mut self, kbet_neighbors: usize) -> Self {
        self.kbet_neighbors = kbet_neighbors;
        self
    }

    /// Sets the neighbours of the connectivity.
    #[must_use]
    pub fn with_connectivity_neighbors(mut self, connectivity_neighbors: usize) -> Self {
        self.connectivity_neighbors = connectivity_neighbors;
        self
    }

    /// Sets how neighbours weigh.
    #[must_use]
    pub fn with_lisi(mut self, lisi: LisiConfig) -> Self {
        self.lisi = lisi;
        self
    }

    /// Sets when a neighbourhood passes.
    #[must_use]
    pub fn with_kbet(mut self, kbet: KbetConfig) -> Self {
        self.kbet = kbet;
        self
    }

    /// Sets the distance of the silhouette by batch, and what it compares with.
    #[must_use]
    pub fn with_batch_silhouette(mut self, batch_silhouette: SilhouetteConfig) -> Self {
        self.batch_silhouette = batch_silhouette;
        self
    }

    /// Sets the distance of the silhouette by label, and what it compares with.
    #[must_use]
    pub fn with_label_silhouette(mut self, label_silhouette: SilhouetteConfig) -> Self {
        self.label_silhouette = label_silhouette;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when a number of neighbours is 0, and those of [`LisiConfig`] and [`KbetConfig`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (count, name) in [
            (self.lisi_neighbors, "lisi_neighbors"),
            (self.kbet_neighbors, "kbet_neighbors"),
            (self.connectivity_neighbors, "connectivity_neighbors"),
        ] {
            ConfigError::check(count > 0, name, "at least 1", count)?;
        }
        self.lisi.validate()?;
        self.kbet.validate()
    }
}

/// The result of [`batch_report`]; every number is from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchReport {
    /// [`integration_lisi`]: 1 when neighbours come from all batches alike.
    #[serde(deserialize_with = "crate::stored::share")]
    pub integration_lisi: f64,
    /// [`label_lisi`]: 1 when neighbours have one label.
    #[serde(deserialize_with = "crate::stored::share")]
    pub label_lisi: f64,
    /// The acceptance of [`kbet`]: 1 when all neighbourhoods hold batches as the whole does.
    #[serde(deserialize_with = "crate::stored::share")]
    pub kbet: f64,
    /// [`silhouette_by_batch`]: 1 when rows of a label are no nearer to their own batch.
    #[serde(deserialize_with = "crate::stored::share")]
    pub silhouette_by_batch: f64,
    /// [`silhouette_by_label`]: 1 when rows are much nearer to their own label.
    #[serde(deserialize_with = "crate::stored::share")]
    pub silhouette_by_label: f64,
    /// [`graph_connectivity`]: 1 when every label hangs together.
    #[serde(deserialize_with = "crate::stored::share")]
    pub graph_connectivity: f64,
    /// [`batch_variance`]: 0 when no variance is between batches.
    #[serde(deserialize_with = "crate::stored::share")]
    pub batch_variance: f64,
}

/// Whether batches mix and labels stay together: all measures, from neighbours that are found once.
///
/// To compare corrections, make it of each corrected matrix and of the uncorrected one.
/// Where there are fewer rows than neighbours asked for, all other rows are neighbours.
/// Cost: `O(n² p)`; of more than some 100,000 rows take a sample.
///
/// # Shapes
///
/// `x`: `[n, p]`; `batches` and `labels`: one per row.
///
/// # Differences from scib-metrics' `Benchmarker`
///
/// The silhouette by batch is by default that of scIB, Euclidean and beside the nearest batch; there it is BRAS, by
/// the cosine distance and beside all other batches, which
/// [`with_batch_silhouette`](BatchReportConfig::with_batch_silhouette) asks for.
/// The batch effect test is of all rows at once; there of each label, which is
/// [`kbet_by_label`](super::kbet_by_label).
/// The variance between batches is that of this matrix; there what a correction has removed of it, which is
/// [`batch_variance_removed`](super::batch_variance_removed).
/// Neighbours are exact; there they are approximate.
/// The isolated labels and the agreement of clusters with labels are no part of it.
///
/// # Errors
///
/// [`Error::Config`] for a setting outside its range or a perplexity of more than the neighbours, [`Error::Shape`] when
/// rows, batches and labels differ in number, [`Error::TooFew`] for fewer than three rows, two batches or two labels, a
/// single neighbour without a perplexity, or where no label has two batches of which one has two rows,
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] when squares of distances are beyond any number,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{Categorical, NoProgress, Seed};
/// use phenocoder_embed::batch::{HarmonyConfig, harmony};
/// use phenocoder_embed::evaluate::labels_of;
/// use phenocoder_embed::evaluate::mixing::{BatchReportConfig, batch_report};
///
/// // Two kinds in two batches, of which the second lies 4 higher in one direction.
/// let kinds: Vec<u32> = (0..200).map(|i| i % 2).collect();
/// let batch = Categorical::from_labels((0..200).map(|i| if i < 100 { "a" } else { "b" }));
/// let mut stream = Seed::new(1).stream("rows", 0);
/// let x = Array2::from_shape_fn((200, 3), |(i, c)| {
///     let shift = if c == 0 && i >= 100 { 4.0 } else { 0.0 };
///     12.0 * f64::from(kinds[i]) - 6.0 + shift + stream.normal()
/// });
///
/// let result = harmony(x.view(), &[&batch], &HarmonyConfig::default(), &NoProgress)?;
/// let (config, batches) = (BatchReportConfig::default(), labels_of(&batch)?);
/// let before = batch_report(x.view(), &batches, &kinds, &config, &NoProgress)?;
/// let after = batch_report(result.corrected.view(), &batches, &kinds, &config, &NoProgress)?;
/// assert!(after.integration_lisi > before.integration_lisi + 0.3);
/// assert!(after.label_lisi > before.label_lisi - 0.02);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "Benchmarker")]
pub fn batch_report(
    x: ArrayView2<'_, f64>,
    batches: &[u32],
    labels: &[u32],
    config: &BatchReportConfig,
    progress: &dyn Progress,
) -> Result<BatchReport> {
    const METHOD: &str = "the report on batches";
    config.validate()?;
    let n = x.nrows();
    ShapeError::check_len("batches", n, batches.len())?;
    ShapeError::check_len("labels", n, labels.len())?;
    Error::check_enough(METHOD, "rows", 3, n)?;
    // Before hours of neighbours, not after.
    check_groups(ranked(batches).1.len(), METHOD)?;
    check_groups(ranked(labels).1.len(), METHOD)?;
    let found = usize::from(has_mixed_label(batches, labels));
    Error::check_enough(METHOD, MIXED_LABELS, 1, found)?;
    config
        .lisi
        .perplexity_of(config.lisi_neighbors.min(n - 1))?;
    let most = config
        .lisi_neighbors
        .max(config.kbet_neighbors)
        .max(config.connectivity_neighbors);
    let neighbors = nearest_neighbors(x, most.min(n - 1), config.metric, progress)?;
    let near = neighbors.truncated(config.lisi_neighbors);
    Ok(BatchReport {
        integration_lisi: integration_lisi(&near, batches, &config.lisi, progress)?,
        label_lisi: label_lisi(&near, labels, &config.lisi, progress)?,
        kbet: kbet(
            &neighbors.truncated(config.kbet_neighbors),
            batches,
            &config.kbet,
            progress,
        )?
        .acceptance,
        silhouette_by_batch: silhouette_by_batch(
            x,
            batches,
            labels,
            &config.batch_silhouette,
            progress,
        )?
        .mean,
        silhouette_by_label: silhouette_by_label(x, labels, &config.label_silhouette, progress)?,
        graph_connectivity: graph_connectivity(
            &neighbors.truncated(config.connectivity_neighbors),
            labels,
            progress,
        )?,
        batch_variance: batch_variance(x, batches, progress)?,
    })
}

/// Whether a label has what [`silhouette_by_batch`] needs: two batches, and more rows than batches.
fn has_mixed_label(batches: &[u32], labels: &[u32]) -> bool {
    let pairs = labels.iter().copied().zip(batches.iter().copied());
    let mut pairs: Vec<(u32, u32)> = pairs.collect();
    pairs.sort_unstable();
    let mut by_label = pairs.chunk_by(|a, b| a.0 == b.0);
    by_label.any(|rows| {
        let count = rows.chunk_by(|a, b| a == b).count();
        count > 1 && count < rows.len()
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{CancelToken, NoProgress, Seed};

    use super::*;
    use crate::evaluate::OtherGroups;

    fn planted() -> (Array2<f64>, Vec<u32>, Vec<u32>) {
        let mut stream = Seed::new(3).stream("x", 0);
        let x = Array2::from_shape_fn((120, 2), |(i, _)| (i % 3) as f64 * 4.0 + stream.normal());
        let labels = (0..120).map(|i| i % 3).collect();
        (x, (0..120).map(|i| i / 60).collect(), labels)
    }

    /// What scib-metrics' benchmark compares batches by.
    fn bras() -> SilhouetteConfig {
        SilhouetteConfig::default()
            .with_metric(Metric::Cosine)
            .with_others(OtherGroups::All)
    }

    #[test]
    fn each_silhouette_has_settings_of_its_own() {
        let (x, batches, labels) = planted();
        let of = |config: &BatchReportConfig| {
            let report = batch_report(x.view(), &batches, &labels, config, &NoProgress).unwrap();
            (report.silhouette_by_batch, report.silhouette_by_label)
        };
        let config = BatchReportConfig::default();
        let plain = of(&config);
        let batch = of(&config.clone().with_batch_silhouette(bras()));
        let label = of(&config.with_label_silhouette(bras()));
        assert!(
            batch.0 != plain.0 && batch.1 == plain.1,
            "{batch:?} {plain:?}"
        );
        assert!(
            label.0 == plain.0 && label.1 != plain.1,
            "{label:?} {plain:?}"
        );
    }

    #[test]
    fn every_number_is_that_of_its_own_function() {
        let (x, batches, labels) = planted();
        let config = BatchReportConfig::default()
            .with_lisi_neighbors(30)
            .with_kbet_neighbors(45)
            .with_connectivity_neighbors(4);
        let (bras, euclidean) = (bras(), SilhouetteConfig::default());
        let config = config.with_batch_silhouette(bras);
        let report = batch_report(x.view(), &batches, &labels, &config, &NoProgress).unwrap();
        let near = |k| nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress).unwrap();
        let lisi = LisiConfig::default();
        let expected = BatchReport {
            integration_lisi: integration_lisi(&near(30), &batches, &lisi, &NoProgress).unwrap(),
            label_lisi: label_lisi(&near(30), &labels, &lisi, &NoProgress).unwrap(),
            kbet: kbet(&near(45), &batches, &KbetConfig::default(), &NoProgress)
                .unwrap()
                .acceptance,
            silhouette_by_batch: silhouette_by_batch(
                x.view(),
                &batches,
                &labels,
                &bras,
                &NoProgress,
            )
            .unwrap()
            .mean,
            silhouette_by_label: silhouette_by_label(x.view(), &labels, &euclidean, &NoProgress)
                .unwrap(),
            graph_connectivity: graph_connectivity(&near(4), &labels, &NoProgress).unwrap(),
            batch_variance: batch_variance(x.view(), &batches, &NoProgress).unwrap(),
        };
        assert_eq!(report, expected);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<BatchReport>(&text).unwrap(), report);
        let value = serde_json::to_value(report).unwrap();
        for name in ["integration_lisi", "kbet", "batch_variance"] {
            for wrong in [-0.1, 1.5, 1e300] {
                let mut value = value.clone();
                value[name] = wrong.into();
                let error = serde_json::from_value::<BatchReport>(value).unwrap_err();
                assert!(error.to_string().contains("from 0 to 1"), "{error}");
            }
        }
        let mut value = value;
        value["kbett"] = 0.5.into();
        assert!(serde_json::from_value::<BatchReport>(value).is_err());
    }

    #[test]
    fn of_few_rows_all_others_are_neighbors() {
        let (x, batches, labels) = planted();
        let rows: Vec<usize> = (45..75).collect();
        let x = x.select(ndarray::Axis(0), &rows);
        let of = |all: &[u32]| rows.iter().map(|&row| all[row]).collect::<Vec<u32>>();
        let (batches, labels) = (of(&batches), of(&labels));
        let config = BatchReportConfig::default();
        let fewer = config
            .clone()
            .with_lisi_neighbors(29)
            .with_kbet_neighbors(29);
        assert_eq!(
            batch_report(x.view(), &batches, &labels, &config, &NoProgress).unwrap(),
            batch_report(x.view(), &batches, &labels, &fewer, &NoProgress).unwrap(),
        );
    }

    fn report(x: &Array2<f64>, batches: &[u32], labels: &[u32]) -> Result<BatchReport> {
        let config = BatchReportConfig::default();
        batch_report(x.view(), batches, labels, &config, &NoProgress)
    }

    #[test]
    fn batches_and_labels_of_other_rows_are_refused() {
        let (x, batches, labels) = planted();
        for (batches, labels) in [(&batches[1..], &labels[..]), (&batches, &labels[1..])] {
            assert!(matches!(report(&x, batches, labels), Err(Error::Shape(_))));
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused_before_neighbors_are_searched() {
        let (mut x, batches, labels) = planted();
        // The search would refuse it.
        x[[4, 1]] = f64::NAN;
        let what =
            |x: &Array2<f64>, batches: &[u32], labels: &[u32]| match report(x, batches, labels) {
                Err(Error::TooFew { what, .. }) => what,
                other => panic!("{other:?}"),
            };
        assert_eq!(what(&x, &[7; 120], &labels), "groups");
        assert_eq!(what(&x, &batches, &[7; 120]), "groups");
        assert_eq!(what(&array![[0.0], [1.0]], &[0, 1], &[0, 1]), "rows");
        // Every label in a batch of its own, and every row of a label in one.
        assert_eq!(what(&x, &labels, &labels), MIXED_LABELS);
        let (halves, rows): (Vec<u32>, Vec<u32>) = (0..120).map(|i| (i / 60, i)).unzip();
        assert_eq!(what(&x, &rows, &halves), MIXED_LABELS);
        let config = BatchReportConfig::default()
            .with_lisi_neighbors(5)
            .with_lisi(LisiConfig::default().with_perplexity(6.0));
        match batch_report(x.view(), &batches, &labels, &config, &NoProgress) {
            Err(Error::Config(error)) => assert_eq!(error.setting, "perplexity"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            report(&x, &batches, &labels),
            Err(Error::NotFinite { row: 4, .. })
        ));
    }

    #[test]
    fn a_label_is_mixed_with_two_batches_of_which_one_has_two_rows() {
        assert!(has_mixed_label(&[5, 5, 5, 6], &[0, 1, 1, 1]));
        assert!(!has_mixed_label(&[5, 5, 6, 6], &[0, 0, 1, 1]));
        assert!(!has_mixed_label(&[5, 6, 5, 6], &[0, 0, 1, 1]));
        assert!(!has_mixed_label(&[], &[]));
    }

    #[test]
    fn a_report_can_be_stopped() {
        let (x, batches, labels) = planted();
        let token = CancelToken::new();
        token.cancel();
        let config = BatchReportConfig::default();
        assert!(matches!(
            batch_report(x.view(), &batches, &labels, &config, &token),
            Err(Error::Cancelled(_))
        ));
    }

    #[test]
    fn every_rule_on_settings_has_a_name() {
        let config = BatchReportConfig::default();
        for (config, name) in [
            (config.clone().with_lisi_neighbors(0), "lisi_neighbors"),
            (config.clone().with_kbet_neighbors(0), "kbet_neighbors"),
            (
                config.clone().with_connectivity_neighbors(0),
                "connectivity_neighbors",
            ),
            (
                config
                    .clone()
                    .with_lisi(LisiConfig::default().with_perplexity(0.0)),
                "perplexity",
            ),
            (
                config
                    .clone()
                    .with_kbet(KbetConfig::default().with_alpha(2.0)),
                "alpha",
            ),
        ] {
            assert_eq!(config.validate().unwrap_err().setting, name);
        }
    }
}

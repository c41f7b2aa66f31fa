//! New rows brought to where a fit brought its own.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::clusters::pulls;
use super::levels::Levels;
use super::ridge::{Reference, Regression};
use super::rows::{Rows, sums};
use super::{METHOD, check_batches};
use crate::matrix::{check_amounts, check_columns, check_finite};
use crate::{ConfigError, Error, Result};

/// The penalty on a new batch's effect, as in the original.
const PENALTY: f64 = 1.0;

/// What [`harmony`](super::harmony) learned: clusters of corrected rows, to which new rows and batches can be brought.
///
/// Kang et al. 2021 (Symphony), doi:10.1038/s41467-021-25957-x.
#[doc(alias = "Symphony")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Harmony {
    sigma: f64,
    /// The rows of each cluster, `Σ_i R_ki`.
    counts: Vec<f64>,
    /// Their sum as corrected, `Σ_i R_ki z_i`, `[K, d]`.
    #[serde(with = "crate::stored")]
    sums: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    sigma: f64,
    counts: Vec<f64>,
    #[serde(with = "crate::stored")]
    sums: Array2<f64>,
}

impl TryFrom<Parts> for Harmony {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            sigma,
            counts,
            sums,
        } = parts;
        let positive = sigma > 0.0 && sigma.is_finite();
        ConfigError::check(positive, "sigma", "a positive number", sigma)?;
        ShapeError::check_len("counts", sums.nrows(), counts.len())?;
        Error::check_enough(METHOD, "clusters", 1, sums.len())?;
        check_finite(sums.view())?;
        check_amounts("counts", &counts)?;
        Ok(Self {
            sigma,
            counts,
            sums,
        })
    }
}

impl Harmony {
    /// What is to be known of corrected rows.
    pub(super) fn learn(sigma: f64, memberships: &Rows, corrected: &Rows) -> Result<Self> {
        let mut counts = vec![0.0; memberships.width()];
        for shares in memberships.iter() {
            for (count, share) in counts.iter_mut().zip(shares) {
                *count += share;
            }
        }
        let sums = sums(memberships, corrected);
        sums.check_finite()?;
        Ok(Self {
            sigma,
            counts,
            sums: sums.into_array(),
        })
    }

    /// The numbers of clusters and of columns.
    pub(super) fn dim(&self) -> (usize, usize) {
        self.sums.dim()
    }

    /// The number of clusters.
    #[must_use]
    pub fn n_clusters(&self) -> usize {
        self.counts.len()
    }

    /// Takes from new rows the effects of their batches, so that they lie among the corrected rows of the fit.
    ///
    /// Each row belongs to the clusters of the fit as far as it is near their means, whatever its batch.
    /// In each of them a ridge regression on the new rows' batches, with the fit's rows as rows of no batch and a
    /// penalty of 1, says how far each batch is away; the fit stays as it is.
    ///
    /// The batches are those of the new rows: also one that has the name of a batch of the fit is learned from the rows
    /// given, so that a batch of a handful of rows is moved by a part of its way only.
    /// The variables need not be those of the fit.
    /// Rows given together are brought there together: each batch helps to tell where the clusters are.
    /// Cost: `O(n K d)` for each variable, with several variables of `B` batches in all also `O(K B³)`, and `16 B²` bytes
    /// for each thread.
    ///
    /// # Differences from Symphony's `mapQuery`
    ///
    /// It takes rows that are projected to the fit's components already, see [`Pca`](crate::pca::Pca).
    ///
    /// # Shapes
    ///
    /// `x` is `[n, d]` in the columns of the fit, and so is the result.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when columns or labels differ in number, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::MissingLabel`] for a row without a batch, [`Error::TooFew`] when `batches` is empty, [`Error::Singular`]
    /// when there are so many rows that several variables cannot be told apart in spite of the penalty,
    /// [`Error::TooMany`] for several variables of more than 8,192 batches with rows together, [`Error::Overflow`] when
    /// sums are infinite, [`Error::Cancelled`] when the caller stops it, which waits for the decomposition of a cluster's
    /// equations, `B³ / 3` multiplications.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::Array2;
    /// use phenocoder_core::{Categorical, NoProgress, Seed};
    /// use phenocoder_embed::batch::{HarmonyConfig, harmony};
    ///
    /// // Two groups in two batches, and later a third batch, far away.
    /// let mut stream = Seed::new(1).stream("rows", 0);
    /// let mut rows = |shift: f64| {
    ///     Array2::from_shape_fn((60, 3), |(i, c)| {
    ///         [6.0, -6.0][i % 2] + if c == 0 { shift } else { 0.0 } + stream.normal()
    ///     })
    /// };
    /// let (fitted, later) = (rows(0.0), rows(3.0));
    /// let batch = Categorical::from_labels((0..60).map(|i| if i < 30 { "a" } else { "b" }));
    /// let config = HarmonyConfig::default();
    /// let model = harmony(fitted.view(), &[&batch], &config, &NoProgress)?.model;
    ///
    /// let third = Categorical::from_labels(["c"; 60]);
    /// let mapped = model.map(later.view(), &[&third], &NoProgress)?;
    /// let mean = |x: &Array2<f64>| x.column(0).sum() / 60.0;
    /// assert!(mean(&later) > 2.5 && mean(&mapped).abs() < 0.5);
    /// # Ok::<(), phenocoder_embed::Error>(())
    /// ```
    #[doc(alias = "mapQuery")]
    pub fn map(
        &self,
        x: ArrayView2<'_, f64>,
        batches: &[&Categorical],
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        check_columns("x", x, self.sums.ncols())?;
        check_finite(x)?;
        check_batches(batches)?;
        let levels = Levels::new(batches, x.nrows(), 1)?;
        if x.is_empty() {
            return Ok(x.to_owned());
        }
        progress.start("Harmony of new rows", Some(x.nrows() as u64));
        progress.check()?;
        let (x, sums) = (Rows::of(x), Rows::of(self.sums.view()));
        let memberships = pulls(&x.to_unit(), &sums.to_unit(), self.sigma).into_shares();
        progress.check()?;
        let reference = Reference {
            counts: &self.counts,
            sums: &sums,
        };
        let penalties = |mass: &[f64]| vec![PENALTY; mass.len()];
        let known = Some(&reference);
        let regression = Regression::fit(&levels, &memberships, &x, penalties, known, progress)?;
        progress.check()?;
        let mapped = regression.apply(&levels, &memberships, &x);
        mapped.check_finite()?;
        progress.advance(x.len() as u64);
        progress.finish();
        Ok(mapped.into_array())
    }
}

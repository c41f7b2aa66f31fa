//! How much of the variance lies between batches.

use ndarray::ArrayView2;
use phenocoder_core::{Progress, ShapeError};

use super::ranked;
use crate::matrix::check_finite;
use crate::{Error, Result};

/// The share of the variance that lies between batches, 0 to 1: principal component regression.
///
/// `Σ_c var_c R²_c / Σ_c var_c`, where `R²_c` is the share of component `c`'s variance that a regression on the batches
/// explains.
/// As the components are the columns turned, this is the sum of squares between batches over all of it, of the columns
/// themselves, and no components need to be found; pass some components' scores for these only.
/// Büttner et al. 2019, doi:10.1038/s41592-018-0254-1.
/// Rows by chance give about `(batches − 1) / (n − 1)`; where nothing varies it is 0.
/// Cost: `O(n p)`.
///
/// # Errors
///
/// [`Error::Shape`] when rows and labels differ in number, [`Error::TooFew`] without rows, [`Error::NotFinite`] for NaN
/// or infinity, [`Error::Overflow`] when squares are infinite, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::batch_variance;
///
/// // The batches' means are 1 and 5: 16 of a sum of squares of 20.
/// let x = array![[0.0], [2.0], [4.0], [6.0]];
/// assert_eq!(batch_variance(x.view(), &[0, 0, 1, 1], &NoProgress)?, 0.8);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "principal_component_regression")]
#[doc(alias = "pcr")]
pub fn batch_variance(
    x: ArrayView2<'_, f64>,
    batches: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    const METHOD: &str = "the variance between batches";
    let n = x.nrows();
    ShapeError::check_len("batches", n, batches.len())?;
    Error::check_enough(METHOD, "rows", 1, n)?;
    check_finite(x)?;
    let (groups, counts) = ranked(batches);
    let (mut between, mut total) = (0.0, 0.0);
    progress.start("variance between batches", Some(x.ncols() as u64));
    for column in x.columns() {
        progress.check()?;
        // From the first value, so that a constant column has no variance to the bit.
        let origin = column[0];
        let mean = column.iter().map(|value| value - origin).sum::<f64>() / n as f64;
        let mut sums = vec![0.0; counts.len()];
        for (value, &group) in column.iter().zip(&groups) {
            let deviation = value - origin - mean;
            sums[group] += deviation;
            total += deviation * deviation;
        }
        for (sum, &count) in sums.iter().zip(&counts) {
            between += sum * sum / count as f64;
        }
        progress.advance(1);
    }
    progress.finish();
    if !(between.is_finite() && total.is_finite()) {
        return Err(Error::Overflow { method: METHOD });
    }
    Ok(if total > 0.0 {
        f64::min(between / total, 1.0)
    } else {
        0.0
    })
}

/// The share of the [`batch_variance`] that a correction removed, 0 (none, or it grew) to 1 (all).
///
/// Where there was none before, none was removed: 0.
///
/// # Shapes
///
/// `[n, p]` and `[n, q]`: the correction may have changed the columns.
///
/// # Errors
///
/// As [`batch_variance`] for either.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_embed::batch::{BatchEffect, center};
/// use phenocoder_embed::evaluate::mixing::batch_variance_removed;
///
/// let before = array![[0.0], [2.0], [4.0], [6.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let after = center(before.view(), &batch, BatchEffect::Mean, &NoProgress)?;
/// let batches = [0, 0, 1, 1];
/// let removed = batch_variance_removed(before.view(), after.view(), &batches, &NoProgress)?;
/// assert_eq!(removed, 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "pcr_comparison")]
pub fn batch_variance_removed(
    before: ArrayView2<'_, f64>,
    after: ArrayView2<'_, f64>,
    batches: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    let (before, after) = (
        batch_variance(before, batches, progress)?,
        batch_variance(after, batches, progress)?,
    );
    Ok(if before > after {
        (before - after) / before
    } else {
        0.0
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::NoProgress;

    use super::*;
    use crate::patience::tests::times_asked;

    #[test]
    fn all_some_or_none_of_the_variance_is_between_batches() {
        let all = array![[0.1, 3.0], [0.7, 3.0], [0.1, 3.0]];
        assert!((batch_variance(all.view(), &[4, 2, 4], &NoProgress).unwrap() - 1.0).abs() < 1e-15);
        assert!(
            batch_variance(
                array![[1.0], [2.0], [2.0], [1.0]].view(),
                &[0, 0, 1, 1],
                &NoProgress
            )
            .unwrap()
                == 0.0
        );
        // Sums of squares: 16 of 20 and 0 of 60.
        let x = array![
            [0.0, 0.0],
            [2.0, 60.0_f64.sqrt()],
            [4.0, 60.0_f64.sqrt()],
            [6.0, 0.0]
        ];
        assert!(
            (batch_variance(x.view(), &[0, 0, 1, 1], &NoProgress).unwrap() - 0.2).abs() < 1e-15
        );
        assert_eq!(batch_variance(x.view(), &[9; 4], &NoProgress).unwrap(), 0.0);
    }

    #[test]
    fn what_does_not_vary_has_no_batch_variance_and_none_removed() {
        let constant = Array2::from_elem((3, 2), 0.1);
        assert_eq!(
            batch_variance(constant.view(), &[0, 1, 1], &NoProgress).unwrap(),
            0.0
        );
        assert_eq!(
            batch_variance(Array2::zeros((2, 0)).view(), &[0, 1], &NoProgress).unwrap(),
            0.0
        );
        let apart = array![[0.0], [1.0], [1.0]];
        let removed = |a: &Array2<f64>, b: &Array2<f64>| {
            batch_variance_removed(a.view(), b.view(), &[0, 1, 1], &NoProgress).unwrap()
        };
        assert_eq!(removed(&constant, &apart), 0.0);
        assert_eq!(removed(&apart, &constant), 1.0);
    }

    #[test]
    fn the_sums_stop_when_asked() {
        let x = array![[0.0, 1.0, 2.0], [3.0, 5.0, 4.0]];
        let of = |progress: &dyn Progress| batch_variance(x.view(), &[0, 1], progress);
        assert_eq!(times_asked(of), 3);
        let removed = |progress: &dyn Progress| {
            batch_variance_removed(x.view(), x.slice(ndarray::s![.., 1..]), &[0, 1], progress)
        };
        assert_eq!(times_asked(removed), 5);
    }

    #[test]
    fn bad_input_is_refused() {
        let x = array![[0.0], [f64::NAN]];
        assert!(matches!(
            batch_variance(x.view(), &[0, 1], &NoProgress),
            Err(Error::NotFinite { row: 1, .. })
        ));
        assert!(matches!(
            batch_variance(x.view(), &[0], &NoProgress),
            Err(Error::Shape(_))
        ));
        let none = Array2::zeros((0, 2));
        assert!(matches!(
            batch_variance(none.view(), &[], &NoProgress),
            Err(Error::TooFew { .. })
        ));
        let huge = array![[-1e200], [1e200]];
        assert!(matches!(
            batch_variance(huge.view(), &[0, 1], &NoProgress),
            Err(Error::Overflow { .. })
        ));
        let (good, short) = (array![[0.0], [1.0]], array![[0.0]]);
        assert!(batch_variance_removed(good.view(), short.view(), &[0, 1], &NoProgress).is_err());
    }
}

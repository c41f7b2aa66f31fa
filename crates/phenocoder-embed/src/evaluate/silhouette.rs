//! How much closer rows are to their own group than to the next one.

use ndarray::ArrayView2;
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;

use super::ranked;
use crate::matrix::{check_finite, squared_distance};
use crate::{Error, Result};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

/// The result of [`silhouette`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Silhouette {
    /// The mean over all rows, −1 to 1.
    pub mean: f64,
    /// The value of each row; 0 for a row alone in its group.
    pub samples: Vec<f64>,
}

/// The silhouette of a grouping by Euclidean distance: `(b − a) / max(a, b)`, with `a` the mean distance to the other
/// rows of a row's group and `b` the smallest mean distance to another group.
///
/// Near 1 groups lie apart, near 0 they overlap; for batches after a correction, near 0 is what one wants.
/// Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7.
/// Cost: `O(n² p)` time, memory for one number per row and thread and group; the distances are never stored.
///
/// # Errors
///
/// [`Error::TooFew`] for fewer than two groups, [`Error::Shape`] when rows and labels differ in number,
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::silhouette;
///
/// let x = array![[0.0], [1.0], [4.0], [5.0]];
/// let result = silhouette(x.view(), &[0, 0, 1, 1], &NoProgress)?;
/// assert!((result.samples[0] - (4.5 - 1.0) / 4.5).abs() < 1e-12);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "silhouette_score")]
#[doc(alias = "silhouette_samples")]
pub fn silhouette(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    progress: &dyn Progress,
) -> Result<Silhouette> {
    let n = x.nrows();
    ShapeError::check_len("labels", n, labels.len())?;
    check_finite(x)?;
    let (groups, counts) = ranked(labels);
    if counts.len() < 2 {
        return Err(Error::TooFew {
            method: "the silhouette",
            what: "groups",
            needed: 2,
            found: counts.len(),
        });
    }
    // Rows of a group side by side make the sums per group run over whole ranges.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&row| groups[row]);
    let sorted = x.select(ndarray::Axis(0), &order);
    let p = x.ncols();
    let values = sorted.as_slice().unwrap_or_default();
    let mut starts = vec![0];
    for count in &counts {
        starts.push(starts[starts.len() - 1] + count);
    }
    let mut samples = vec![0.0; n];
    progress.start("silhouette", Some(n as u64));
    let mut in_order = vec![0.0; n];
    in_order
        .par_chunks_mut(ROWS)
        .enumerate()
        .try_for_each(|(block, results)| {
            progress.check()?;
            for (offset, result) in results.iter_mut().enumerate() {
                let i = block * ROWS + offset;
                let own = groups[order[i]];
                if counts[own] == 1 {
                    continue;
                }
                let row = &values[i * p..(i + 1) * p];
                let (mut within, mut nearest) = (0.0, f64::INFINITY);
                for group in 0..counts.len() {
                    let mut sum = 0.0;
                    for j in starts[group]..starts[group + 1] {
                        sum += squared_distance(row, &values[j * p..(j + 1) * p]).sqrt();
                    }
                    if group == own {
                        within = sum / (counts[own] - 1) as f64;
                    } else {
                        nearest = f64::min(nearest, sum / counts[group] as f64);
                    }
                }
                let larger = f64::max(within, nearest);
                *result = if larger > 0.0 {
                    (nearest - within) / larger
                } else {
                    0.0
                };
            }
            progress.advance(results.len() as u64);
            Ok::<(), Error>(())
        })?;
    progress.finish();
    for (&row, value) in order.iter().zip(in_order) {
        samples[row] = value;
    }
    Ok(Silhouette {
        mean: samples.iter().sum::<f64>() / n as f64,
        samples,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn values_equal_those_worked_out_by_hand() {
        let x = array![[5.0], [0.0], [1.0], [4.0], [9.0]];
        let result = silhouette(x.view(), &[8, 3, 3, 8, 1], &NoProgress).unwrap();
        // Row 5 is alone; for row 0 the lone row is the nearest other group.
        let expected = [(4.0 - 1.0) / 4.0, 3.5 / 4.5, 2.5 / 3.5, 2.5 / 3.5, 0.0];
        for (a, b) in result.samples.iter().zip(expected) {
            assert!((a - b).abs() < 1e-14, "{:?}", result.samples);
        }
        assert!((result.mean - expected.iter().sum::<f64>() / 5.0).abs() < 1e-14);
    }

    #[test]
    fn one_point_everywhere_has_no_silhouette_and_one_group_is_refused() {
        let x = Array2::zeros((4, 2));
        assert_eq!(
            silhouette(x.view(), &[0, 0, 1, 1], &NoProgress)
                .unwrap()
                .mean,
            0.0
        );
        assert!(matches!(
            silhouette(x.view(), &[1; 4], &NoProgress),
            Err(Error::TooFew { .. })
        ));
        assert!(silhouette(x.view(), &[1; 3], &NoProgress).is_err());
    }
}

//! Rows in double precision, and what brings them into the range in which single precision is at its best.

use ndarray::{Array2, ArrayView2, Axis};

use super::Metric;
use crate::matrix::{check_finite, dot, squared_distance, to_unit_length};
use crate::{Error, Result};

/// Sums or squares are beyond any number.
pub(super) const OVERFLOW: Error = Error::Overflow {
    method: "neighbours",
};
/// The relative rounding error of single precision, 2⁻²⁴.
pub(super) const UNIT: f32 = 5.960_464_5e-8;

/// Rows in double precision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Points {
    exact: Array2<f64>,
    metric: Metric,
    center: Vec<f64>,
}

impl Points {
    pub(super) fn new(x: ArrayView2<'_, f64>, metric: Metric) -> Result<Self> {
        check_finite(x)?;
        if u32::try_from(x.nrows()).is_err() {
            return Err(Error::TooManyRows { rows: x.nrows() });
        }
        let mut exact = x.as_standard_layout().into_owned();
        let center = match metric {
            // Of the copy, so that the order of the caller's values in memory is of no account.
            Metric::Euclidean => (exact.mean_axis(Axis(0))).map_or_else(Vec::new, |m| m.to_vec()),
            Metric::Cosine => vec![0.0; x.ncols()],
        };
        if !center.iter().all(|c| c.is_finite()) {
            return Err(OVERFLOW);
        }
        if metric == Metric::Cosine {
            exact.outer_iter_mut().for_each(to_unit_length);
        }
        Ok(Self {
            exact,
            metric,
            center,
        })
    }

    pub(super) fn nrows(&self) -> usize {
        self.exact.nrows()
    }

    pub(super) fn ncols(&self) -> usize {
        self.exact.ncols()
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// All rows; of length 1 or 0 where cosines are asked for.
    #[cfg(feature = "hnsw")]
    pub(super) fn rows(&self) -> &Array2<f64> {
        &self.exact
    }

    /// Takes [`rows`](Self::rows) as they were, to the bit.
    #[cfg(feature = "hnsw")]
    pub(super) fn written(rows: Array2<f64>, metric: Metric) -> Result<Self> {
        let mut points = Self::new(rows.view(), metric)?;
        // A row of length 1 may be rounded otherwise when it is divided by its length again.
        let mut pairs = points.exact.iter().zip(&rows);
        crate::ConfigError::check(
            pairs.all(|(a, b)| (a - b).abs() <= 1e-12),
            "rows",
            "rows of length 1 or 0, as cosines need them",
            "others",
        )?;
        points.exact = rows;
        Ok(points)
    }

    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self {
            exact: self.exact.select(Axis(0), rows),
            metric: self.metric,
            center: self.center.clone(),
        }
    }

    /// A row; of length 1 or 0 where cosines are asked for.
    pub(super) fn row(&self, row: usize) -> &[f64] {
        let p = self.exact.ncols();
        let all = self
            .exact
            .as_slice()
            .expect("standard layout by construction");
        &all[row * p..(row + 1) * p]
    }

    pub(super) fn extent(&self, center: &[f64]) -> f64 {
        let far = |row: ndarray::ArrayView1<'_, f64>| {
            let offsets = row.into_iter().zip(center).map(|(v, c)| (v - c).abs());
            offsets.fold(0.0_f64, f64::max)
        };
        self.exact.outer_iter().map(far).fold(0.0, f64::max)
    }

    /// The squared length that stands for a row's.
    pub(super) fn length(&self, square: f32, frame: &Frame<'_>) -> f32 {
        match self.metric {
            // A row of zeros is at a right angle to all others, as a row of length 1 can be.
            Metric::Cosine if square == 0.0 => (frame.scale * frame.scale) as f32,
            _ => square,
        }
    }

    /// A bound on the share, in the error of a squared distance, of a row with this squared length.
    pub(super) fn error(&self, square: f32) -> f32 {
        // The dot product of p terms, the rounding of its factors and the sum of three parts; the constant covers what is
        // lost where products fall below the smallest normal number.
        square * UNIT * (self.ncols() as f32 + 10.0) + 1e-30
    }

    /// What the rows are ordered by: the squared distance, or the cosine distance.
    #[inline]
    pub(super) fn order_key(&self, a: &[f64], b: &[f64]) -> f64 {
        match self.metric {
            Metric::Euclidean => squared_distance(a, b),
            Metric::Cosine => (1.0 - dot(a, b)).max(0.0),
        }
    }
}

/// What moves and scales rows into `[−1, 1]`.
pub(super) struct Frame<'a> {
    center: &'a [f64],
    scale: f64,
}

impl<'a> Frame<'a> {
    /// That of the rows of a reference and of a query.
    pub(super) fn new(reference: &'a Points, query: &Points) -> Result<Self> {
        let center = reference.center.as_slice();
        let extent = reference.extent(center).max(query.extent(center));
        // Beyond the cap, single precision would tell rows apart of which the squares of double precision are all 0.
        let scale = scale_to_one(extent, query.ncols())?.min(libm::exp2(470.0));
        Ok(Self { center, scale })
    }

    /// The values of a row, moved and scaled.
    pub(super) fn values(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        let pairs = row.iter().zip(self.center);
        pairs.map(|(value, center)| (value - center) * self.scale)
    }

    /// Writes a row in single precision and returns its squared length.
    pub(super) fn round(&self, row: &[f64], to: &mut [f32]) -> f32 {
        let mut sum = 0.0;
        for (to, value) in to.iter_mut().zip(self.values(row)) {
            *to = value as f32;
            sum += f64::from(*to) * f64::from(*to);
        }
        sum as f32
    }
}

/// The power of two, so that no digit changes, that brings lengths up to `extent` into `[0, 1]`.
///
/// # Errors
///
/// [`Error::Overflow`] when the squared distance of two rows of `columns` such lengths is beyond any number.
pub(super) fn scale_to_one(extent: f64, columns: usize) -> Result<f64> {
    if !(4.0 * extent * extent * columns as f64).is_finite() {
        return Err(OVERFLOW);
    }
    // Identical rows need none, and 2¹⁰²³ is the largest.
    Ok(if extent > 0.0 {
        libm::exp2((-libm::ceil(libm::log2(extent))).min(1023.0))
    } else {
        1.0
    })
}

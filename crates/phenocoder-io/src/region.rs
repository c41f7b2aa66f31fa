//! Boxes in a coordinate system, and what of an element lies in them.

use crate::transform::{Affine, Transformation, affine_of};
use crate::{Error, Result};

/// A box along the axes of a coordinate system.
///
/// An axis that it does not name is not limited.
///
/// # Examples
///
/// ```
/// use phenocoder_io::BoundingBox;
///
/// let region = BoundingBox::new("global", &["x", "y"], &[0.0, 10.0], &[100.0, 50.0])?;
/// assert_eq!(region.range("y"), Some((10.0, 50.0)));
/// assert_eq!(region.range("z"), None);
/// assert!(BoundingBox::new("global", &["x"], &[1.0], &[0.0]).is_err());
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "BoundingBoxRequest")]
#[doc(alias = "bounding_box_query")]
pub struct BoundingBox {
    system: String,
    axes: Vec<String>,
    least: Vec<f64>,
    greatest: Vec<f64>,
}

impl BoundingBox {
    /// A box in a coordinate system, from its least to its greatest coordinate along some of `x`, `y`, `z`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for other axes or the same twice, for other numbers of coordinates than axes, for NaN, and
    /// when a least coordinate is greater than the greatest.
    pub fn new(system: &str, axes: &[&str], least: &[f64], greatest: &[f64]) -> Result<Self> {
        let bad = |problem: String| Error::Config {
            name: "bounding box",
            problem,
        };
        if axes.len() != least.len() || axes.len() != greatest.len() {
            return Err(bad(
                "each axis needs a least and a greatest coordinate".to_owned()
            ));
        }
        for (at, axis) in axes.iter().enumerate() {
            if !["x", "y", "z"].contains(axis) || axes[..at].contains(axis) {
                return Err(bad(format!("the axes are some of x, y, z, not {axes:?}")));
            }
            // Not `>`: NaN is refused.
            if !matches!(least[at].partial_cmp(&greatest[at]), Some(order) if order.is_le()) {
                return Err(bad(format!(
                    "along {axis} it reaches from {} to {}",
                    least[at], greatest[at]
                )));
            }
        }
        Ok(Self {
            system: system.to_owned(),
            axes: axes.iter().map(|&axis| axis.to_owned()).collect(),
            least: least.to_vec(),
            greatest: greatest.to_vec(),
        })
    }

    /// The coordinate system.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The axes that are limited.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.axes
    }

    /// The least and the greatest coordinate along an axis, or `None` where it is not limited.
    #[must_use]
    pub fn range(&self, axis: &str) -> Option<(f64, f64)> {
        let at = self.axes.iter().position(|a| a == axis)?;
        Some((self.least[at], self.greatest[at]))
    }

    /// The range of each axis of a map; what is not limited reaches everywhere.
    pub(crate) fn ranges(&self, axes: &[String]) -> Vec<(f64, f64)> {
        let everywhere = (f64::NEG_INFINITY, f64::INFINITY);
        axes.iter()
            .map(|axis| self.range(axis).unwrap_or(everywhere))
            .collect()
    }

    /// The map of an element into the system of the box.
    pub(crate) fn map(&self, key: &str, transformations: &[Transformation]) -> Result<Affine> {
        affine_into(key, transformations, &self.system)
    }
}

/// The map of an element into a system.
pub(crate) fn affine_into(
    key: &str,
    transformations: &[Transformation],
    system: &str,
) -> Result<Affine> {
    let found = transformations.iter().find(|t| t.target() == system);
    let found = found.ok_or_else(|| Error::NoEntry {
        key: key.to_owned(),
        what: "coordinate system",
        name: system.to_owned(),
        available: crate::error::listing(transformations.iter().map(Transformation::target)),
    })?;
    affine_of(key, found)
}

/// Grows from positions to the box around them.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    axes: Vec<String>,
    least: Vec<f64>,
    greatest: Vec<f64>,
}

impl Extent {
    pub(crate) fn new(axes: &[String]) -> Self {
        Self {
            axes: axes.to_vec(),
            least: vec![f64::INFINITY; axes.len()],
            greatest: vec![f64::NEG_INFINITY; axes.len()],
        }
    }

    /// Adds an interval along one axis; NaN is passed over.
    pub(crate) fn add(&mut self, axis: usize, from: f64, to: f64) {
        self.least[axis] = self.least[axis].min(from);
        self.greatest[axis] = self.greatest[axis].max(to);
    }

    /// The box, or `None` where there was nothing.
    pub(crate) fn finish(self, system: &str) -> Option<BoundingBox> {
        let is_full = self.least.iter().zip(&self.greatest).all(|(a, b)| a <= b);
        is_full.then(|| BoundingBox {
            system: system.to_owned(),
            axes: self.axes,
            least: self.least,
            greatest: self.greatest,
        })
    }
}

/// Where the box `least..greatest` of positions may go along each axis.
///
/// The bounds are mapped as positions are, in the same order of sums: rounding keeps the order of numbers, so that no
/// position in the box is mapped beyond them.
pub(crate) fn reach(affine: &Affine, ranges: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = affine.axes.len();
    (0..n)
        .map(|row| {
            let factors = affine.matrix.row(row);
            let corner = |is_low: bool| {
                let ends = ranges.iter().zip(factors);
                let position: Vec<f64> = ends
                    .map(|(&(from, to), factor)| if (*factor > 0.0) == is_low { from } else { to })
                    .collect();
                affine.coordinate(row, &position)
            };
            (corner(true), corner(false))
        })
        .collect()
}

/// The pixels along an axis of `n` pixels whose centers lie in a range of the finest level with `finest` pixels.
pub(crate) fn pixels((from, to): (f64, f64), n: usize, finest: usize) -> std::ops::Range<usize> {
    if n == 0 || finest == 0 {
        return 0..0;
    }
    let size = finest as f64 / n as f64;
    // The center of pixel `i` is at `(i + 1/2) * size`; casts saturate.
    let first = (from / size - 0.5).ceil().max(0.0);
    let last = (to / size - 0.5).floor();
    if last < first || first >= n as f64 || first.is_nan() || last.is_nan() {
        return 0..0;
    }
    let (first, last) = (first as usize, last as usize);
    first.min(n)..last.saturating_add(1).min(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_chosen_by_their_centers() {
        assert_eq!(pixels((2.0, 5.0), 10, 10), 2..5);
        assert_eq!(pixels((2.5, 4.5), 10, 10), 2..5);
        assert_eq!(pixels((2.4, 4.4), 10, 10), 2..4);
        assert_eq!(pixels((2.6, 4.4), 10, 10), 3..4);
        assert_eq!(pixels((2.6, 2.7), 10, 10), 0..0);
        assert_eq!(pixels((-5.0, 100.0), 10, 10), 0..10);
        assert_eq!(pixels((20.0, 100.0), 10, 10), 0..0);
        assert_eq!(pixels((4.0, 8.0), 5, 10), 2..4);
        assert_eq!(pixels((f64::NEG_INFINITY, f64::INFINITY), 10, 10), 0..10);
        assert_eq!(pixels((0.0, 1.0), 0, 10), 0..0);
    }
}

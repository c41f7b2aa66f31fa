//! What every sample or subunit consists of.

use ndarray::Array2;
use phenocoder_core::{Categorical, ShapeError};

use crate::error::Result;

/// How many members of every label every unit has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Composition {
    /// The units, the rows of the two matrices.
    pub units: Vec<String>,
    /// The labels, their columns.
    pub labels: Vec<String>,
    /// The number of rows with this unit and this label.
    pub counts: Array2<f64>,
    /// The counts divided by the number of labelled rows of the unit; NaN for a unit that has none.
    pub fractions: Array2<f64>,
}

/// Counts the labels of every unit (sample, subunit or any other grouping).
///
/// Rows without a unit or without a label are left out.
/// The cost is O(n + units · labels).
///
/// # Shapes
///
/// `units`, `labels`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::composition::composition;
///
/// let units = Categorical::from_labels(["s1", "s1", "s2"]);
/// let labels = Categorical::from_labels(["T", "B", "T"]);
/// let c = composition(&units, &labels)?;
/// assert_eq!(c.counts, array![[1.0, 1.0], [0.0, 1.0]]);
/// assert_eq!(c.fractions, array![[0.5, 0.5], [0.0, 1.0]]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when the two differ in length.
pub fn composition(units: &Categorical, labels: &Categorical) -> Result<Composition> {
    ShapeError::check_len("labels", units.len(), labels.len())?;
    let mut counts = Array2::zeros((units.categories().len(), labels.categories().len()));
    for row in 0..units.len() {
        if let (Some(unit), Some(label)) = (units.code(row), labels.code(row)) {
            counts[[unit, label]] += 1.0;
        }
    }
    Ok(Composition {
        units: units.categories().to_vec(),
        labels: labels.categories().to_vec(),
        fractions: crate::interactions::row_normalized(&counts),
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_unit_or_label_are_left_out() {
        let units = Categorical::new(vec![0, -1, 0], vec!["a".into(), "b".into()]).unwrap();
        let labels = Categorical::new(vec![0, 0, -1], vec!["x".into()]).unwrap();
        let c = composition(&units, &labels).unwrap();
        assert_eq!(c.counts.sum(), 1.0);
        assert!(c.fractions[[1, 0]].is_nan());
    }
}

//! Numbers per row with named columns.

use ndarray::{Array2, ArrayView2, Axis};

use crate::ShapeError;

/// A matrix whose rows are cells (or samples) and whose columns have names: latents, measurements, statistics.
///
/// # Shapes
///
/// `values`: `[n, p]`; `names`: `p`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Features;
///
/// let latents = Features::new(array![[0.5, 1.0]], ["latent_1", "latent_2"])?;
/// assert_eq!(latents.column("latent_2"), Some(1));
/// # Ok::<(), phenocoder_core::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    values: Array2<f64>,
    names: Vec<String>,
}

impl Features {
    /// A matrix with one name per column.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when the number of names is not the number of columns, [`ShapeError::Duplicate`] when a name
    /// occurs twice.
    pub fn new<S: Into<String>>(
        values: Array2<f64>,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, ShapeError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        ShapeError::check_len("names", values.ncols(), names.len())?;
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ShapeError::Duplicate {
                what: "names".to_owned(),
                name: pair[0].clone(),
            });
        }
        Ok(Self { values, names })
    }

    /// The number of rows.
    #[must_use]
    pub fn nrows(&self) -> usize {
        self.values.nrows()
    }

    /// The number of columns.
    #[must_use]
    pub fn ncols(&self) -> usize {
        self.values.ncols()
    }

    /// The values, `[n, p]`.
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, f64> {
        self.values.view()
    }

    /// The names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The position of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The rows named, in that order.
    ///
    /// # Panics
    ///
    /// When one of `rows` is not a row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            values: self.values.select(Axis(0), rows),
            names: self.names.clone(),
        }
    }

    /// The values and the names.
    #[must_use]
    pub fn into_parts(self) -> (Array2<f64>, Vec<String>) {
        (self.values, self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_fit_and_differ() {
        assert!(Features::new(Array2::zeros((1, 2)), ["a"]).is_err());
        assert!(Features::new(Array2::zeros((1, 2)), ["a", "a"]).is_err());
        let f = Features::new(Array2::zeros((3, 2)), ["a", "b"]).unwrap();
        assert_eq!(f.select(&[0, 2]).nrows(), 2);
    }
}

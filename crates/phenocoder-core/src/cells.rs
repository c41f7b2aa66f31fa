//! One row per segmented object.

use crate::{Categorical, Coords, ShapeError};

/// A column of a table of cells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Numbers; NaN is missing.
    Float(Vec<f64>),
    /// Whole numbers, none missing.
    Int(Vec<i64>),
    /// Truth values, none missing.
    Bool(Vec<bool>),
    /// Free text, none missing.
    Text(Vec<String>),
    /// Labels from a list, some perhaps missing.
    Categorical(Categorical),
}

impl Column {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
            Self::Categorical(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the column holds, in words.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Float(_) => "numbers",
            Self::Int(_) => "whole numbers",
            Self::Bool(_) => "truth values",
            Self::Text(_) => "text",
            Self::Categorical(_) => "categories",
        }
    }

    /// The rows named, in that order.
    ///
    /// # Panics
    ///
    /// When one of `rows` is not a row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|&row| values[row].clone()).collect()
        }
        match self {
            Self::Float(v) => Self::Float(pick(v, rows)),
            Self::Int(v) => Self::Int(pick(v, rows)),
            Self::Bool(v) => Self::Bool(pick(v, rows)),
            Self::Text(v) => Self::Text(pick(v, rows)),
            Self::Categorical(v) => Self::Categorical(v.select(rows)),
        }
    }

    /// The column as labels.
    ///
    /// Whole numbers become categories in numeric order, numbers likewise (written as short as they read back, NaN missing),
    /// text in the order of its bytes, truth values `false` before `true`.
    #[must_use]
    pub fn to_categorical(&self) -> Categorical {
        match self {
            Self::Categorical(v) => v.clone(),
            Self::Text(v) => Categorical::from_labels(v),
            Self::Bool(v) => by_key(v.iter().map(|b| Some(*b)), |a, b| a.cmp(b)),
            Self::Int(v) => by_key(v.iter().map(|i| Some(*i)), |a, b| a.cmp(b)),
            Self::Float(v) => by_key(
                v.iter().map(|x| (!x.is_nan()).then_some(*x + 0.0)),
                |a: &f64, b: &f64| a.total_cmp(b),
            ),
        }
    }

    /// The column as numbers: whole numbers and truth values convert, text and categories do not.
    #[must_use]
    pub fn to_floats(&self) -> Option<Vec<f64>> {
        match self {
            Self::Float(v) => Some(v.clone()),
            Self::Int(v) => Some(v.iter().map(|&i| i as f64).collect()),
            Self::Bool(v) => Some(v.iter().map(|&b| f64::from(u8::from(b))).collect()),
            Self::Text(_) | Self::Categorical(_) => None,
        }
    }
}

/// Labels in the order of their values, not of their spelling.
fn by_key<T: Copy + std::fmt::Display>(
    values: impl Iterator<Item = Option<T>>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Categorical {
    let values: Vec<Option<T>> = values.collect();
    let mut distinct: Vec<T> = values.iter().flatten().copied().collect();
    distinct.sort_unstable_by(&order);
    distinct.dedup_by(|a, b| order(a, b).is_eq());
    let code = |value: &Option<T>| match value {
        Some(value) => distinct
            .binary_search_by(|d| order(d, value))
            .map_or(-1, |position| position as i32),
        None => -1,
    };
    let codes = values.iter().map(code).collect();
    let categories = distinct.iter().map(ToString::to_string).collect();
    Categorical::new(codes, categories).expect("distinct values have distinct spellings")
}

/// One row per object: its sample, its name within the sample's label mask, where it is, and what else is known.
///
/// Everything downstream (patches, latents, statistics) is aligned to these rows.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, Cells, Column, Coords, Unit};
///
/// let positions = Coords::new(array![[5.0, 7.0], [9.0, 2.0]], Unit::Pixel)?;
/// let mut cells = Cells::new(
///     Column::Int(vec![1, 2]),
///     Categorical::from_labels(["well A", "well A"]),
///     positions,
/// )?;
/// cells.insert("area", Column::Float(vec![31.0, 44.0]))?;
/// assert_eq!(cells.len(), 2);
/// assert_eq!(cells.column("area")?.to_floats(), Some(vec![31.0, 44.0]));
/// # Ok::<(), phenocoder_core::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    instances: Column,
    samples: Categorical,
    positions: Coords,
    columns: Vec<(String, Column)>,
}

impl Cells {
    /// Cells with these instance ids (whole numbers or text), samples and positions in pixels of the sample's image.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when the three differ in length.
    pub fn new(
        instances: Column,
        samples: Categorical,
        positions: Coords,
    ) -> Result<Self, ShapeError> {
        ShapeError::check_len("samples", instances.len(), samples.len())?;
        ShapeError::check_len("positions", instances.len(), positions.len())?;
        Ok(Self {
            instances,
            samples,
            positions,
            columns: Vec::new(),
        })
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of the objects: the values of their pixels in the label mask, or names.
    #[must_use]
    pub fn instances(&self) -> &Column {
        &self.instances
    }

    /// The sample that each cell lies in.
    #[must_use]
    pub fn samples(&self) -> &Categorical {
        &self.samples
    }

    /// Where each cell lies.
    #[must_use]
    pub fn positions(&self) -> &Coords {
        &self.positions
    }

    /// The further columns, in the order in which they were added.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &Column)> {
        self.columns
            .iter()
            .map(|(name, column)| (name.as_str(), column))
    }

    /// The column of this name.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NoColumn`] when there is none.
    pub fn column(&self, name: &str) -> Result<&Column, ShapeError> {
        let found = self.columns.iter().find(|(n, _)| n == name);
        found
            .map(|(_, column)| column)
            .ok_or_else(|| ShapeError::NoColumn {
                name: name.to_owned(),
                available: self
                    .columns
                    .iter()
                    .map(|(n, _)| n.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Adds a column, or replaces the one of that name in its place.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when it has not one value per cell.
    pub fn insert(&mut self, name: impl Into<String>, column: Column) -> Result<(), ShapeError> {
        let name = name.into();
        ShapeError::check_len(&name, self.len(), column.len())?;
        match self.columns.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = column,
            None => self.columns.push((name, column)),
        }
        Ok(())
    }

    /// The rows named, in that order.
    ///
    /// # Panics
    ///
    /// When one of `rows` is not a row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            instances: self.instances.select(rows),
            samples: self.samples.select(rows),
            positions: self.positions.select(rows),
            columns: self
                .columns
                .iter()
                .map(|(n, c)| (n.clone(), c.select(rows)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;
    use ndarray::array;

    fn three() -> Cells {
        let positions = Coords::new(array![[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], Unit::Pixel);
        let samples = Categorical::from_labels(["b", "a", "b"]);
        Cells::new(Column::Int(vec![3, 1, 2]), samples, positions.unwrap()).unwrap()
    }

    #[test]
    fn a_column_of_another_length_is_refused() {
        let refused = three().insert("area", Column::Float(vec![1.0]));
        assert_eq!(refused, ShapeError::check_len("area", 3, 1));
    }

    #[test]
    fn a_missing_column_lists_what_there_is() {
        let mut cells = three();
        cells.insert("area", Column::Float(vec![1.0; 3])).unwrap();
        let message = cells.column("well").unwrap_err().to_string();
        assert_eq!(message, "there is no column `well`; there are: area");
    }

    #[test]
    fn selection_keeps_rows_together() {
        let mut cells = three();
        cells
            .insert("t", Column::Text(vec!["x".into(), "y".into(), "z".into()]))
            .unwrap();
        let two = cells.select(&[2, 0]);
        assert_eq!(two.instances(), &Column::Int(vec![2, 3]));
        assert_eq!(two.samples().label(0), Some("b"));
        assert_eq!(
            two.column("t").unwrap(),
            &Column::Text(vec!["z".into(), "x".into()])
        );
    }

    #[test]
    fn numbers_become_categories_in_numeric_order() {
        let c = Column::Int(vec![10, 9, 10]).to_categorical();
        assert_eq!(c.categories(), ["9", "10"]);
        let f = Column::Float(vec![0.5, f64::NAN, -1.0, -0.0, 0.0]).to_categorical();
        assert_eq!(f.categories(), ["-1", "0", "0.5"]);
        assert_eq!(f.codes(), [2, -1, 0, 1, 1]);
    }
}

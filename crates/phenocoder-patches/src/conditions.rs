//! Conditions: what the network is told about a patch besides its pixels, as one-hot columns.

use ndarray::Array2;
use phenocoder_core::{Categorical, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::list;
use crate::{Error, Result};

/// What is done with a label that was not seen when the encoder was fitted, or is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnseenPolicy {
    /// It is an error that names column and value.
    #[default]
    Error,
    /// All columns of this condition are 0.
    Zero,
}

/// Turns labels into one-hot columns, the same ones in training and ever after.
///
/// Columns come in the order given; within one, categories are sorted:
/// by value when all are numbers, else by their bytes.
/// Only categories that occur count.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_patches::ConditionEncoder;
///
/// let plate = Categorical::from_labels(["p2", "p1"]);
/// let slice = Categorical::from_labels(["10", "9"]);
/// let encoder = ConditionEncoder::fit(&[("plate", &plate), ("z", &slice)])?;
/// assert_eq!(encoder.names(), ["plate=p1", "plate=p2", "z=9", "z=10"]);
/// assert_eq!(encoder.encode(&[&plate, &slice])?, array![[0., 1., 0., 1.], [1., 0., 1., 0.]]);
///
/// let unseen = Categorical::from_labels(["p3", "p1"]);
/// assert_eq!(
///     encoder.encode(&[&unseen, &slice]).unwrap_err().to_string(),
///     "column `plate`: the category `p3` at row 0 was not seen in training; known: p1, p2",
/// );
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionEncoder {
    columns: Vec<ConditionColumn>,
    #[serde(default)]
    unseen: UnseenPolicy,
}

/// One condition with its categories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionColumn {
    /// The name.
    pub name: String,
    /// The categories, sorted; each is one column.
    pub categories: Vec<String>,
}

impl ConditionEncoder {
    /// Learns the categories of named columns; without columns the encoder makes none.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when a name occurs twice or the columns differ in length.
    pub fn fit(columns: &[(&str, &Categorical)]) -> Result<Self> {
        for (i, (name, labels)) in columns.iter().enumerate() {
            if columns[..i].iter().any(|(other, _)| other == name) {
                let (what, name) = ("conditions".to_owned(), (*name).to_owned());
                return Err(ShapeError::Duplicate { what, name }.into());
            }
            ShapeError::check_len(name, columns[0].1.len(), labels.len())?;
        }
        let column = |&(name, labels): &(&str, &Categorical)| {
            let counts = labels.counts();
            let present = labels
                .categories()
                .iter()
                .zip(counts)
                .filter(|&(_, count)| count > 0);
            let mut categories: Vec<String> =
                present.map(|(category, _)| category.clone()).collect();
            sort(&mut categories);
            ConditionColumn {
                name: name.to_owned(),
                categories,
            }
        };
        Ok(Self {
            columns: columns.iter().map(column).collect(),
            unseen: UnseenPolicy::default(),
        })
    }

    /// The same with another policy for unseen and missing labels.
    #[must_use]
    pub fn with_unseen(mut self, unseen: UnseenPolicy) -> Self {
        self.unseen = unseen;
        self
    }

    /// The conditions in their order.
    #[must_use]
    pub fn columns(&self) -> &[ConditionColumn] {
        &self.columns
    }

    /// The number of one-hot columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.columns
            .iter()
            .map(|column| column.categories.len())
            .sum()
    }

    /// The names of the one-hot columns, `condition=category`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let name = |c: &ConditionColumn| -> Vec<String> {
            c.categories
                .iter()
                .map(|category| format!("{}={category}", c.name))
                .collect()
        };
        self.columns.iter().flat_map(name).collect()
    }

    /// Encodes columns, given in the order of the fit.
    ///
    /// # Shapes
    ///
    /// The result is `[n, k]` with [`n_columns`](Self::n_columns) columns; without conditions it is `[0, 0]`, see
    /// [`encode_rows`](Self::encode_rows).
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when the number of columns or their lengths are wrong; [`Error::UnseenCategory`] and
    /// [`Error::MissingCategory`] unless the policy is [`UnseenPolicy::Zero`].
    pub fn encode(&self, columns: &[&Categorical]) -> Result<Array2<f32>> {
        self.encode_rows(columns.first().map_or(0, |column| column.len()), columns)
    }

    /// As [`encode`](Self::encode), for a known number of rows, which also the plain network without conditions needs.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_rows(&self, n: usize, columns: &[&Categorical]) -> Result<Array2<f32>> {
        ShapeError::check_len("conditions", self.columns.len(), columns.len())?;
        let mut out = Array2::zeros((n, self.n_columns()));
        let mut offset = 0;
        for (column, labels) in self.columns.iter().zip(columns) {
            ShapeError::check_len(&column.name, n, labels.len())?;
            let place =
                |category: &String| column.categories.iter().position(|known| known == category);
            let places: Vec<Option<usize>> = labels.categories().iter().map(place).collect();
            for row in 0..n {
                match labels.code(row).map(|code| (code, places[code])) {
                    Some((_, Some(place))) => out[[row, offset + place]] = 1.0,
                    _ if self.unseen == UnseenPolicy::Zero => {}
                    Some((code, None)) => {
                        return Err(Error::UnseenCategory {
                            column: column.name.clone(),
                            value: labels.categories()[code].clone(),
                            row,
                            known: list(&column.categories),
                        });
                    }
                    None => {
                        return Err(Error::MissingCategory {
                            column: column.name.clone(),
                            row,
                        });
                    }
                }
            }
            offset += column.categories.len();
        }
        Ok(out)
    }
}

/// By value when all are numbers, else by their bytes.
fn sort(categories: &mut [String]) {
    let number = |category: &String| category.parse::<f64>().ok().filter(|v| !v.is_nan());
    if categories.iter().all(|category| number(category).is_some()) {
        categories.sort_by(|a, b| {
            let (x, y) = (number(a).unwrap_or(0.0), number(b).unwrap_or(0.0));
            x.total_cmp(&y).then_with(|| a.cmp(b))
        });
    } else {
        categories.sort_unstable();
    }
}

#[cfg(test)]
mod tests;

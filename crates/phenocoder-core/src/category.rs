//! Labels from a closed list.

use serde::{Deserialize, Serialize};

use crate::ShapeError;

/// One label per row, each from a list of categories, some perhaps missing.
///
/// The counterpart of pandas' `Categorical` and of AnnData's `categorical` encoding.
/// A category may have no member; the order of the categories carries over to every table made from them.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Categorical;
///
/// let types = Categorical::from_labels(["T", "B", "T"]);
/// assert_eq!(types.categories(), ["B", "T"]);
/// assert_eq!(types.code(0), Some(1));
/// assert_eq!(types.counts(), [1, 2]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Categorical {
    codes: Vec<i32>,
    categories: Vec<String>,
    ordered: bool,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    codes: Vec<i32>,
    categories: Vec<String>,
    #[serde(default)]
    ordered: bool,
}

impl TryFrom<Raw> for Categorical {
    type Error = ShapeError;

    fn try_from(raw: Raw) -> Result<Self, ShapeError> {
        Ok(Self::new(raw.codes, raw.categories)?.with_ordered(raw.ordered))
    }
}

impl From<Categorical> for Raw {
    fn from(c: Categorical) -> Self {
        Self {
            codes: c.codes,
            categories: c.categories,
            ordered: c.ordered,
        }
    }
}

impl Categorical {
    /// Takes codes into `categories`; −1 means missing.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Code`] for a code that is neither −1 nor a category's position, [`ShapeError::Duplicate`] for a category
    /// that is listed twice.
    pub fn new(codes: Vec<i32>, categories: Vec<String>) -> Result<Self, ShapeError> {
        let mut sorted: Vec<&String> = categories.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ShapeError::Duplicate {
                what: "categories".to_owned(),
                name: pair[0].clone(),
            });
        }
        let n = categories.len();
        let wrong = |&code: &i32| code < -1 || usize::try_from(code).is_ok_and(|code| code >= n);
        if let Some(row) = codes.iter().position(wrong) {
            return Err(ShapeError::Code {
                row,
                code: codes[row].into(),
                categories: n,
            });
        }
        Ok(Self {
            codes,
            categories,
            ordered: false,
        })
    }

    /// One row per label; the categories are the different labels, sorted.
    pub fn from_labels<S: AsRef<str>>(labels: impl IntoIterator<Item = S>) -> Self {
        Self::from_optional_labels(labels.into_iter().map(Some))
    }

    /// As [`from_labels`](Self::from_labels), with `None` for a missing label.
    pub fn from_optional_labels<S: AsRef<str>>(
        labels: impl IntoIterator<Item = Option<S>>,
    ) -> Self {
        let labels: Vec<Option<S>> = labels.into_iter().collect();
        let mut categories: Vec<String> = labels
            .iter()
            .flatten()
            .map(|label| label.as_ref().to_owned())
            .collect();
        categories.sort_unstable();
        categories.dedup();
        let code = |label: &Option<S>| match label {
            Some(label) => categories
                .binary_search_by(|c| c.as_str().cmp(label.as_ref()))
                .map_or(-1, |position| position as i32),
            None => -1,
        };
        let codes = labels.iter().map(code).collect();
        Self {
            codes,
            categories,
            ordered: false,
        }
    }

    /// The same labels, whose categories are declared to have an order or none.
    #[must_use]
    pub fn with_ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The categories, in their order.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Whether the order of the categories means something.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// The codes of all rows, −1 for missing.
    #[must_use]
    pub fn codes(&self) -> &[i32] {
        &self.codes
    }

    /// The position of a row's category, or `None` when it is missing.
    ///
    /// # Panics
    ///
    /// When `row` is not a row.
    #[must_use]
    pub fn code(&self, row: usize) -> Option<usize> {
        usize::try_from(self.codes[row]).ok()
    }

    /// A row's label, or `None` when it is missing.
    ///
    /// # Panics
    ///
    /// When `row` is not a row.
    #[must_use]
    pub fn label(&self, row: usize) -> Option<&str> {
        self.code(row).map(|code| self.categories[code].as_str())
    }

    /// All labels in row order.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.label(row))
    }

    /// The position of a category.
    #[must_use]
    pub fn position(&self, category: &str) -> Option<usize> {
        self.categories.iter().position(|c| c == category)
    }

    /// The number of rows of each category.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.categories.len()];
        for row in 0..self.len() {
            if let Some(code) = self.code(row) {
                counts[code] += 1;
            }
        }
        counts
    }

    /// The rows of one category, rising.
    #[must_use]
    pub fn members(&self, code: usize) -> Vec<usize> {
        (0..self.len())
            .filter(|&row| self.code(row) == Some(code))
            .collect()
    }

    /// The rows named, in that order, with the same categories.
    ///
    /// # Panics
    ///
    /// When one of `rows` is not a row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            codes: rows.iter().map(|&row| self.codes[row]).collect(),
            categories: self.categories.clone(),
            ordered: self.ordered,
        }
    }

    /// The same labels without the categories that no row has.
    #[must_use]
    pub fn without_unused(&self) -> Self {
        let mut next = 0;
        let new_code: Vec<i32> = self
            .counts()
            .iter()
            .map(|&count| {
                next += i32::from(count > 0);
                if count > 0 { next - 1 } else { -1 }
            })
            .collect();
        Self {
            codes: (0..self.len())
                .map(|row| self.code(row).map_or(-1, |c| new_code[c]))
                .collect(),
            categories: self
                .categories
                .iter()
                .zip(&new_code)
                .filter(|(_, code)| **code >= 0)
                .map(|(category, _)| category.clone())
                .collect(),
            ordered: self.ordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_outside_the_list_is_refused() {
        let refused = Categorical::new(vec![0, 2], vec!["a".into(), "b".into()]);
        assert_eq!(
            refused,
            Err(ShapeError::Code {
                row: 1,
                code: 2,
                categories: 2
            })
        );
        assert!(Categorical::new(vec![-2], vec![]).is_err());
    }

    #[test]
    fn a_category_listed_twice_is_refused() {
        assert!(Categorical::new(vec![], vec!["a".into(), "a".into()]).is_err());
    }

    #[test]
    fn unused_categories_can_be_dropped() {
        let c = Categorical::new(vec![2, -1, 0], vec!["a".into(), "b".into(), "c".into()]).unwrap();
        let d = c.without_unused();
        assert_eq!(d.categories(), ["a", "c"]);
        assert_eq!(d.codes(), [1, -1, 0]);
        assert_eq!(d.members(1), [0]);
    }

    #[test]
    fn missing_labels_have_no_code() {
        let c = Categorical::from_optional_labels([Some("x"), None]);
        assert_eq!(c.label(1), None);
        assert_eq!(c.select(&[1, 0]).codes(), [-1, 0]);
    }

    #[test]
    fn bad_codes_are_refused_on_reading_json_too() {
        let bad = r#"{"codes":[5],"categories":["a"]}"#;
        assert!(serde_json::from_str::<Categorical>(bad).is_err());
    }
}

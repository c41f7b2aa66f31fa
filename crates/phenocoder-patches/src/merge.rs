//! Several datasets as one: names of samples and conditions that stay apart.

use phenocoder_core::{Categorical, ShapeError};

use crate::{Error, Result};

/// What is known of the patches of one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The name; it becomes the condition `dataset`.
    pub name: String,
    /// The sample of each patch.
    pub samples: Categorical,
    /// Further columns, one label per patch each.
    pub columns: Vec<(String, Categorical)>,
}

impl Dataset {
    /// A dataset without further columns.
    #[must_use]
    pub fn new(name: impl Into<String>, samples: Categorical) -> Self {
        Self {
            name: name.into(),
            samples,
            columns: Vec::new(),
        }
    }

    /// The same with one more column.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, labels: Categorical) -> Self {
        self.columns.push((name.into(), labels));
        self
    }
}

/// The columns of merged datasets, in the order of [`Merged`](crate::Merged)'s patches.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Categorical;
/// use phenocoder_patches::{Dataset, MergedTable};
///
/// let day = |name: &str| Dataset::new(name, Categorical::from_labels(["A", "B"]));
/// let table = MergedTable::new(&[day("monday"), day("tuesday")])?;
/// assert_eq!(table.samples().categories(), ["monday/A", "monday/B", "tuesday/A", "tuesday/B"]);
/// assert_eq!(table.column("dataset")?.label(3), Some("tuesday"));
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MergedTable {
    samples: Categorical,
    columns: Vec<(String, Categorical)>,
}

impl MergedTable {
    /// Puts datasets one after the other.
    ///
    /// A sample is named `dataset/sample`, so that samples of the same name in two datasets stay two when patches are
    /// split.
    /// Column `dataset` is added; the others are those that the first dataset has, and every dataset needs them.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without datasets, [`Error::Shape`] for a dataset name that occurs twice,
    /// a column named `dataset`, or a column of another length than its samples,
    /// [`Error::DatasetMismatch`] when a dataset has other columns.
    pub fn new(datasets: &[Dataset]) -> Result<Self> {
        let Some(first) = datasets.first() else {
            return Err(Error::Empty {
                what: "the list of datasets",
            });
        };
        let names = |dataset: &Dataset| -> Vec<String> {
            dataset
                .columns
                .iter()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let duplicate = |what: &str, name: &str| ShapeError::Duplicate {
            what: what.to_owned(),
            name: name.to_owned(),
        };
        let expected = names(first);
        for (i, name) in expected.iter().enumerate() {
            if name == "dataset" || expected[..i].contains(name) {
                return Err(duplicate("columns", name).into());
            }
        }
        for (i, dataset) in datasets.iter().enumerate() {
            if datasets[..i].iter().any(|other| other.name == dataset.name) {
                return Err(duplicate("datasets", &dataset.name).into());
            }
            let found = names(dataset);
            if found != expected {
                return Err(Error::DatasetMismatch {
                    dataset: dataset.name.clone(),
                    what: "columns",
                    expected: expected.join(", "),
                    found: found.join(", "),
                });
            }
            for (name, labels) in &dataset.columns {
                ShapeError::check_len(name, dataset.samples.len(), labels.len())?;
            }
        }
        let samples = datasets.iter().flat_map(|dataset| {
            let labels = dataset.samples.labels();
            labels.map(|sample| sample.map(|sample| format!("{}/{sample}", dataset.name)))
        });
        let name = datasets
            .iter()
            .flat_map(|dataset| std::iter::repeat_n(&dataset.name, dataset.samples.len()));
        let mut columns = vec![("dataset".to_owned(), Categorical::from_labels(name))];
        for (i, column) in expected.into_iter().enumerate() {
            let labels = datasets
                .iter()
                .flat_map(|dataset| dataset.columns[i].1.labels());
            columns.push((column, Categorical::from_optional_labels(labels)));
        }
        Ok(Self {
            samples: Categorical::from_optional_labels(samples),
            columns,
        })
    }

    /// The sample of each patch, `dataset/sample`.
    #[must_use]
    pub fn samples(&self) -> &Categorical {
        &self.samples
    }

    /// All columns, `dataset` first.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &Categorical)> {
        self.columns
            .iter()
            .map(|(name, labels)| (name.as_str(), labels))
    }

    /// The column of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when there is none.
    pub fn column(&self, name: &str) -> Result<&Categorical> {
        let found = self.columns.iter().find(|(other, _)| other == name);
        let (_, labels) = found.ok_or_else(|| ShapeError::NoColumn {
            name: name.to_owned(),
            available: crate::error::list(self.columns.iter().map(|(name, _)| name)),
        })?;
        Ok(labels)
    }
}

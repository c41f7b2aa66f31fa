//! The table of units that come one after another.

use ndarray::Array2;
use phenocoder_core::{Categorical, Coords, Features, Progress, ShapeError};

use super::unit::Unit;
use super::{
    DroppedUnit, StatisticsConfig, StatisticsReport, StatisticsTable, columns, reason_to_drop,
};
use crate::error::{ConfigError, Error, Result};

/// The cells of one sample or subunit.
///
/// # Shapes
///
/// `points`, `labels` and `features`: one row per cell.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The name of its row in the table.
    pub name: String,
    /// Where the cells lie.
    pub points: Coords,
    /// Their labels; the categories may be others than those of the table, but every label that occurs must be one of these.
    pub labels: Categorical,
    /// Their features, with the columns of the table; none where the table has none.
    pub features: Option<Features>,
}

impl Sample {
    /// Cells without features.
    #[must_use]
    pub fn new(name: impl Into<String>, points: Coords, labels: Categorical) -> Self {
        Self {
            name: name.into(),
            points,
            labels,
            features: None,
        }
    }

    /// The same with features.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = Some(features);
        self
    }
}

/// Makes the table of [`spatial_statistics`](super::spatial_statistics) from one sample after another: for stores of which only
/// one sample at a time fits into memory.
///
/// The table is the same, but for the order of the rows: that of the samples.
/// Memory is that of one sample and the table.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{Categorical, Coords, NoProgress, Unit};
/// use phenocoder_spatial::summary::{Group, Sample, StatisticsBuilder, StatisticsConfig};
///
/// let config = StatisticsConfig::new([1.0]).with_groups([Group::Connectivity]);
/// let mut table = StatisticsBuilder::new(["B", "T"], [""; 0], config)?;
/// for n in [3, 5] {
///     // Read from a store, and dropped before the next one is.
///     let points = Array2::from_shape_fn((n, 2), |(i, _)| 0.5 * i as f64);
///     let points = Coords::new(points, Unit::Micrometer)?;
///     let labels = Categorical::from_labels(vec!["T"; n]);
///     table.add(Sample::new(format!("s{n}"), points, labels), &NoProgress)?;
/// }
/// let table = table.finish();
/// assert_eq!(table.units, ["s3", "s5"]);
/// assert_eq!(table.column("radius:1_stat:connectivity_mean").unwrap()[1], 8.0 / 5.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StatisticsBuilder {
    config: StatisticsConfig,
    labels: Vec<String>,
    features: Vec<String>,
    names: Vec<String>,
    /// The unit and the number of axes of the first sample, which those of all are.
    space: Option<(phenocoder_core::Unit, usize)>,
    units: Vec<String>,
    /// One row after the other.
    values: Vec<f64>,
    report: StatisticsReport,
}

impl StatisticsBuilder {
    /// A table without rows for samples with these labels and features.
    ///
    /// # Errors
    ///
    /// Those of [`StatisticsConfig::validate`], [`Error::Config`] for labels or features that make two columns of one name or
    /// too many columns, and [`Error::TooManyCategories`], as [`spatial_statistics`](super::spatial_statistics).
    pub fn new<L: Into<String>, F: Into<String>>(
        labels: impl IntoIterator<Item = L>,
        features: impl IntoIterator<Item = F>,
        config: StatisticsConfig,
    ) -> Result<Self> {
        config.validate()?;
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let features: Vec<String> = features.into_iter().map(Into::into).collect();
        // Twice the same would be found below only where it has a column.
        Categorical::new(Vec::new(), labels.clone())?;
        Ok(Self {
            names: columns::names(&config, &labels, &features)?,
            config,
            labels,
            features,
            space: None,
            units: Vec::new(),
            values: Vec::new(),
            report: StatisticsReport::default(),
        })
    }

    /// Adds the row of a sample, or notes in the report why it has none.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Twice`] for a name that was there before, [`Error::UnknownLabel`] for a label that is none of the
    /// table's, [`Error::OtherSpace`] for coordinates in another unit or number of axes than those before, [`ShapeError`] when the inputs differ in length or the features are others than the table's,
    /// [`Error::NotFinite`] for the first coordinate that is not finite, [`Error::Cancelled`] when `progress` asks to stop.
    /// The table then is as it was before.
    pub fn add(&mut self, sample: Sample, progress: &dyn Progress) -> Result<()> {
        let Sample {
            name,
            points,
            labels,
            features,
        } = sample;
        let mut known = self
            .units
            .iter()
            .chain(self.report.dropped.iter().map(|d| &d.unit));
        if known.any(|unit| *unit == name) {
            let setting = "samples";
            return Err(ConfigError::Twice {
                setting,
                entry: name,
            }
            .into());
        }
        ShapeError::check_len("labels", points.len(), labels.len())?;
        let space = (points.unit(), points.dim());
        if self.space.is_some_and(|first| first != space) {
            return Err(Error::OtherSpace { sample: name });
        }
        let labels = self.recoded(&labels)?;
        let columns = features.as_ref().map_or(&[][..], Features::names);
        if columns != self.features {
            return Err(ShapeError::Array {
                what: "features".to_owned(),
                expected: format!("the columns `{}`", self.features.join("`, `")),
                found: vec![points.len(), columns.len()],
            }
            .into());
        }
        if let Some(features) = &features {
            ShapeError::check_len("features", points.len(), features.nrows())?;
        }
        let codes = (0..labels.len()).map(|row| labels.code(row));
        if let Some(reason) = reason_to_drop(codes, self.config.mode) {
            self.report.dropped.push(DroppedUnit { unit: name, reason });
            return Ok(());
        }
        let unit = Unit {
            name: &name,
            points,
            labels,
            features,
        };
        progress.start("spatial statistics", Some(self.config.radii.len() as u64));
        let (values, notes) = unit.statistics(&self.config, progress)?;
        progress.finish();
        debug_assert_eq!(values.len(), self.names.len(), "every name has a value");
        self.values.extend(values);
        self.report.notes.extend(notes);
        self.units.push(name);
        self.space = Some(space);
        Ok(())
    }

    /// The labels with the categories of the table.
    fn recoded(&self, labels: &Categorical) -> Result<Categorical> {
        let counts = labels.counts();
        let mut code_of = vec![-1; counts.len()];
        for (code, name) in labels.categories().iter().enumerate() {
            match self.labels.iter().position(|label| label == name) {
                Some(position) => code_of[code] = position as i32,
                None if counts[code] == 0 => {}
                None => {
                    return Err(Error::UnknownLabel {
                        label: name.clone(),
                        expected: self.labels.join("`, `"),
                    });
                }
            }
        }
        let rows = 0..labels.len();
        let codes = rows.map(|row| labels.code(row).map_or(-1, |code| code_of[code]));
        Ok(Categorical::new(codes.collect(), self.labels.clone())?)
    }

    /// The table of the samples that were added.
    #[must_use]
    pub fn finish(self) -> StatisticsTable {
        let shape = (self.units.len(), self.names.len());
        StatisticsTable {
            values: Array2::from_shape_vec(shape, self.values)
                .expect("every sample added a value per name"),
            units: self.units,
            names: self.names,
            report: self.report,
        }
    }
}

//! Step 5: how the looks are arranged in each sample.

mod features;
mod one_by_one;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use phenocoder_core::{Categorical, Column, Coords, Progress, Unit};
use phenocoder_io::{
    Matrix, Store, Table, TableData, WriteMode, column_to_arrow, write_csv, write_parquet,
};
use phenocoder_spatial::subunits::{SubunitConfig, assign_subunits};
use phenocoder_spatial::summary::{
    Fill, StatisticsConfig, StatisticsReport, StatisticsTable, spatial_statistics,
};
use serde::{Deserialize, Serialize};

use super::generate::record_batch;
use super::keys::StoreKeys;
use super::source;
use crate::error::{Error, Result};
use features::FeatureTables;

pub use one_by_one::statistics_one_by_one;

const STEP: &str = "spatialgraph_stats";

/// Settings of [`spatialgraph_stats`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SpatialStatsConfig {
    /// Where coordinates and samples are; its `table` is the one that has them and the labels.
    pub keys: StoreKeys,
    /// The column of `obs` whose labels are compared.
    pub label_key: String,
    /// Tables whose matrices are the features of Moran's I, joined by the names of the rows (default none).
    #[serde(default)]
    pub feature_tables: Vec<String>,
    /// Radii and groups of statistics.
    pub statistics: StatisticsConfig,
    /// Describe cubes of each sample instead of whole samples.
    #[serde(default)]
    pub subunits: Option<SubunitConfig>,
    /// Columns of `obs`, constant within a sample, that are copied to the rows of the result.
    #[serde(default)]
    pub obs_keys: Vec<String>,
    /// What stands for a statistic that is not defined (default: it stays missing).
    #[serde(default)]
    pub fill: Option<Fill>,
    /// The table that is written.
    pub output: String,
}

impl SpatialStatsConfig {
    /// All statistics of each sample, at these settings, in the table `phenocoder_samples`.
    #[must_use]
    pub fn new(
        keys: StoreKeys,
        label_key: impl Into<String>,
        statistics: StatisticsConfig,
    ) -> Self {
        Self {
            keys,
            label_key: label_key.into(),
            feature_tables: Vec::new(),
            statistics,
            subunits: None,
            obs_keys: Vec::new(),
            fill: None,
            output: "phenocoder_samples".to_owned(),
        }
    }

    /// Sets the tables whose matrices are the features of Moran's I.
    #[must_use]
    pub fn with_feature_tables<S: Into<String>>(
        mut self,
        tables: impl IntoIterator<Item = S>,
    ) -> Self {
        self.feature_tables = tables.into_iter().map(Into::into).collect();
        self
    }

    /// Describes cubes of each sample, in the table `phenocoder_subunits`.
    #[must_use]
    pub fn with_subunits(mut self, subunits: SubunitConfig) -> Self {
        self.subunits = Some(subunits);
        self.output = "phenocoder_subunits".to_owned();
        self
    }

    /// Copies these columns of `obs` to the rows of the result.
    #[must_use]
    pub fn with_obs_keys<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.obs_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what stands for a statistic that is not defined.
    #[must_use]
    pub fn with_fill(mut self, fill: Option<Fill>) -> Self {
        self.fill = fill;
        self
    }

    /// Checks that the table written is none of those that are read.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        self.keys.validate()?;
        let is_read = self.output == self.keys.table || self.feature_tables.contains(&self.output);
        if self.output.is_empty() || is_read {
            return Err(Error::config(
                STEP,
                "output",
                "the name of a table that is not read",
            ));
        }
        if self.label_key.is_empty() {
            return Err(Error::config(STEP, "label_key", "the name of a column"));
        }
        Ok(())
    }

    /// Sets the table that is written.
    #[must_use]
    pub fn with_output(mut self, table: impl Into<String>) -> Self {
        self.output = table.into();
        self
    }
}

/// What [`spatialgraph_stats`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpatialStatsReport {
    /// The table written.
    pub table: String,
    /// Samples or subunits described.
    pub units: usize,
    /// Statistics of each.
    pub statistics: usize,
    /// Values that are not defined.
    pub missing: usize,
    /// Subunits left out because they have too few cells.
    pub too_small: usize,
    /// Cells and units left out, and what was noticed.
    pub notes: StatisticsReport,
    /// The statistics as CSV, if asked for.
    pub csv: Option<PathBuf>,
}

/// Computes the statistics of the neighbourhood graph of each sample, or of cubes of it.
///
/// The table `output` has one row per sample or subunit and one column per statistic, named `radius:{r}_stat:{group}_{name}`;
/// `obs` has the sample, the number of cells and `obs_keys`.
/// With `csv`, the same is written as `{csv}` and, beside it, as Parquet.
/// All features are in memory at once; [`statistics_one_by_one`] takes those of one sample after another.
///
/// # Errors
///
/// [`Error::Io`] when a table or column is not there, [`Error::Data`] when a table of features lacks a row or an
/// `obs_keys` column is not constant within a sample, [`Error::Spatial`], [`Error::Cancelled`].
pub fn spatialgraph_stats(
    store: &mut Store,
    config: &SpatialStatsConfig,
    csv: Option<&Path>,
    progress: &dyn Progress,
) -> Result<SpatialStatsReport> {
    let _span = tracing::info_span!(STEP).entered();
    let cells = Cells::open(store, config)?;
    let units = &cells.units;
    let all: Vec<usize> = (0..cells.points.len()).collect();
    let features = cells.features.read(&all)?;
    let statistics = spatial_statistics(
        &cells.points,
        &units.of_row,
        &cells.labels,
        features.as_ref(),
        &config.statistics,
        progress,
    )?;
    let missing = statistics.n_missing();
    let statistics = match config.fill {
        Some(fill) => statistics.fill(fill),
        None => statistics,
    };
    let obs = units.describe(&cells.table, &cells.samples, config, &statistics)?;
    let report = SpatialStatsReport {
        table: config.output.clone(),
        units: statistics.units.len(),
        statistics: statistics.names.len(),
        missing,
        too_small: units.too_small,
        notes: statistics.report.clone(),
        csv: csv.map(Path::to_owned),
    };
    let mut data = TableData::new(
        statistics.units.clone(),
        statistics.names.clone(),
        Some(Matrix::from(statistics.values.clone())),
    );
    for (name, column) in &obs {
        data = data.with_obs_column(name, column.clone())?;
    }
    store.write_table(&config.output, &data, WriteMode::Replace)?;
    if let Some(csv) = csv {
        export(csv, &obs, &statistics)?;
    }
    Ok(report)
}

/// Writes the rows as CSV and, beside it, as Parquet.
fn export(csv: &Path, obs: &[(String, Column)], statistics: &StatisticsTable) -> Result<()> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (name, column) in obs {
        columns.push((name.clone(), column_to_arrow(name, column)?));
    }
    for (name, values) in statistics.names.iter().zip(statistics.values.columns()) {
        columns.push((
            name.clone(),
            Arc::new(Float64Array::from_iter_values(values.iter().copied())),
        ));
    }
    let batch = record_batch(columns, STEP)?;
    write_csv(csv, &batch)?;
    write_parquet(csv.with_extension("parquet"), &batch)?;
    Ok(())
}

/// What the statistics are computed of: all but the features is in memory.
struct Cells {
    table: Table,
    points: Coords,
    samples: Categorical,
    labels: Categorical,
    features: FeatureTables,
    units: Units,
}

impl Cells {
    fn open(store: &Store, config: &SpatialStatsConfig) -> Result<Self> {
        config.validate()?;
        let keys = &config.keys;
        let table = store.table(&keys.table)?;
        let points = source::coordinates(&table, keys, &keys.spatial_key, Unit::Unspecified, STEP)?;
        let samples = source::samples(&table, keys, STEP)?;
        Ok(Self {
            labels: source::labels(&table, &config.label_key)?,
            features: FeatureTables::open(store, config, &table)?,
            units: Units::new(&points, &samples, config)?,
            table,
            points,
            samples,
        })
    }
}

/// The unit of every cell, and the sample of every unit.
pub(super) struct Units {
    pub(super) of_row: Categorical,
    /// Sample and grid position of each subunit by its name; none for whole samples.
    subunits: Option<BTreeMap<String, (String, String)>>,
    too_small: usize,
}

impl Units {
    pub(super) fn new(
        points: &Coords,
        samples: &Categorical,
        config: &SpatialStatsConfig,
    ) -> Result<Self> {
        let Some(settings) = &config.subunits else {
            return Ok(Self {
                of_row: samples.clone(),
                subunits: None,
                too_small: 0,
            });
        };
        let assigned = assign_subunits(points, samples, settings)?;
        if assigned.subunits.is_empty() {
            let few = settings.min_obs;
            return Err(Error::data(
                STEP,
                format!("no subunit has {few} cells or more"),
            ));
        }
        let names = assigned.subunits.into_iter().map(|subunit| {
            let key: Vec<String> = subunit.key.iter().map(ToString::to_string).collect();
            (
                subunit.name,
                (subunit.sample, format!("({})", key.join(", "))),
            )
        });
        Ok(Self {
            of_row: assigned.of_row,
            subunits: Some(names.collect()),
            too_small: assigned.too_small.len(),
        })
    }

    /// The columns of `obs`: sample, place, number of cells, and what is constant within a sample.
    fn describe(
        &self,
        table: &Table,
        samples: &Categorical,
        config: &SpatialStatsConfig,
        statistics: &StatisticsTable,
    ) -> Result<Vec<(String, Column)>> {
        let place = |unit: &String| self.subunits.as_ref().and_then(|all| all.get(unit));
        let sample_of: Vec<&str> = statistics
            .units
            .iter()
            .map(|unit| place(unit).map_or(unit.as_str(), |(sample, _)| sample.as_str()))
            .collect();
        let counts = self.of_row.counts();
        let cells = statistics.units.iter().map(|unit| {
            self.of_row
                .position(unit)
                .map_or(0, |code| counts[code] as i64)
        });
        let mut obs = vec![(
            config.keys.sample_key.clone(),
            Column::Categorical(Categorical::from_labels(&sample_of)),
        )];
        if self.subunits.is_some() {
            let key = |unit| place(unit).map_or_else(String::new, |(_, key)| key.clone());
            let keys = statistics.units.iter().map(key);
            obs.push(("subunit_key".to_owned(), Column::Text(keys.collect())));
        }
        obs.push(("n_cells".to_owned(), Column::Int(cells.collect())));
        for key in &config.obs_keys {
            if *key == config.keys.sample_key {
                continue;
            }
            let of_sample = constant_within(&source::labels(table, key)?, samples, key, STEP)?;
            let labels = sample_of.iter().map(|sample| {
                samples
                    .position(sample)
                    .and_then(|code| of_sample[code].clone())
            });
            obs.push((
                key.clone(),
                Column::Categorical(Categorical::from_optional_labels(labels)),
            ));
        }
        Ok(obs)
    }
}

/// The one label of each sample, for a step, which errors name; `None` where no cell of the sample has one.
pub(crate) fn constant_within(
    labels: &Categorical,
    samples: &Categorical,
    key: &str,
    step: &'static str,
) -> Result<Vec<Option<String>>> {
    let mut found: Vec<Option<Option<&str>>> = vec![None; samples.categories().len()];
    for row in 0..samples.len() {
        let Some(code) = samples.code(row) else {
            continue;
        };
        match found[code] {
            None => found[code] = Some(labels.label(row)),
            Some(label) if label == labels.label(row) => {}
            Some(label) => {
                let sample = &samples.categories()[code];
                let [label, other] = [label, labels.label(row)]
                    .map(|label| label.map_or("none".to_owned(), |label| format!("`{label}`")));
                return Err(Error::data(
                    step,
                    format!(
                        "`obs/{key}` is not constant in sample `{sample}`: {label} and {other}"
                    ),
                ));
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|label| label.flatten().map(str::to_owned))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_within_a_sample_is_refused() {
        let samples = Categorical::from_labels(["a", "a", "b"]);
        let constant = Categorical::from_labels(["x", "x", "y"]);
        let kept = constant_within(&constant, &samples, "k", STEP).unwrap();
        assert_eq!(kept, [Some("x".to_owned()), Some("y".to_owned())]);
        for (other, words) in [(Some("y"), "`x` and `y`"), (None, "`x` and none")] {
            let changing = Categorical::from_optional_labels([Some("x"), other, Some("y")]);
            let message = constant_within(&changing, &samples, "k", STEP)
                .unwrap_err()
                .to_string();
            let expected = format!("`obs/k` is not constant in sample `a`: {words}");
            assert!(message.contains(&expected), "{message}");
        }
    }
}

//! The table of a store of which one sample fits into memory.

use phenocoder_core::Progress;
use phenocoder_io::Store;
use phenocoder_spatial::Error as SpatialError;
use phenocoder_spatial::summary::{Sample, StatisticsBuilder, StatisticsTable};

use super::{Cells, STEP, SpatialStatsConfig};
use crate::error::Result;

/// Computes the statistics of [`spatialgraph_stats`](super::spatialgraph_stats) with the features of one sample in memory.
///
/// The table is the same, bit for bit, and nothing is written.
/// Of every cell the coordinates, sample, label and (for feature tables other than that of the cells) name are in memory,
/// a few hundred bytes; of the matrices the rows of one sample or cube, each of which is computed after the one before.
/// Where the rows of a sample lie together each chunk is read about once; where those of many samples alternate, and in
/// matrices that are compressed by columns, the whole matrix is read for each of them, part after part.
/// `obs_keys` and `output` of the settings are for the step alone.
///
/// # Examples
///
/// ```no_run
/// use phenocoder::core::NoProgress;
/// use phenocoder::io::Store;
/// use phenocoder::pipeline::{SpatialStatsConfig, StoreKeys, statistics_one_by_one};
/// use phenocoder::spatial::summary::StatisticsConfig;
///
/// let store = Store::open("atlas.zarr")?;
/// let keys = StoreKeys::new("cells", "sample", "image");
/// let config = SpatialStatsConfig::new(keys, "cell_type", StatisticsConfig::new([25.0]))
///     .with_feature_tables(["cells"]);
/// let table = statistics_one_by_one(&store, &config, &NoProgress)?;
/// println!("{} samples, {} statistics", table.units.len(), table.names.len());
/// # Ok::<(), phenocoder::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`spatialgraph_stats`](super::spatialgraph_stats), but for those of writing.
pub fn statistics_one_by_one(
    store: &Store,
    config: &SpatialStatsConfig,
    progress: &dyn Progress,
) -> Result<StatisticsTable> {
    let _span = tracing::info_span!(STEP).entered();
    let cells = Cells::open(store, config)?;
    let units = &cells.units.of_row;
    let mut statistics = StatisticsBuilder::new(
        cells.labels.categories(),
        cells.features.names(),
        config.statistics.clone(),
    )?;

    let mut members: Vec<Vec<usize>> = vec![Vec::new(); units.categories().len()];
    let mut rows_without_unit = 0;
    for row in 0..units.len() {
        match units.code(row) {
            Some(code) => members[code].push(row),
            None => rows_without_unit += 1,
        }
    }
    let steps = members.len() * config.statistics.radii.len();
    progress.start("spatial statistics", Some(steps as u64));
    for (name, rows) in units.categories().iter().zip(members) {
        progress.check()?;
        let mut sample = Sample::new(name, cells.points.select(&rows), cells.labels.select(&rows));
        sample.features = cells.features.read(&rows)?;
        let added = statistics.add(sample, &OneStage(progress));
        added.map_err(|error| match error {
            // Its row in the table, not in the sample.
            SpatialError::NotFinite { row, axis, value } => SpatialError::NotFinite {
                row: rows[row],
                axis,
                value,
            },
            error => error,
        })?;
    }
    progress.finish();
    let mut statistics = statistics.finish();
    statistics.report.rows_without_unit = rows_without_unit;
    Ok(match config.fill {
        Some(fill) => statistics.fill(fill),
        None => statistics,
    })
}

/// Samples are steps of one stage, not stages.
struct OneStage<'a>(&'a dyn Progress);

impl Progress for OneStage<'_> {
    fn start(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, steps: u64) {
        self.0.advance(steps);
    }

    fn finish(&self) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

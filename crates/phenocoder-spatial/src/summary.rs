//! All chosen statistics of every sample or subunit, as one named table.

mod columns;
mod config;
mod stream;
mod table;
mod unit;

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, Coords, Features, Progress, ShapeError};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::neighbors::check_finite;
use unit::Unit;

pub use config::{Group, HullConfig, Mode, StatisticsConfig};
pub use stream::{Sample, StatisticsBuilder};
pub use table::{DropReason, DroppedUnit, Fill, Note, NoteKind, StatisticsReport, StatisticsTable};

/// Computes the chosen groups of statistics of every unit (sample or subunit) at every radius.
///
/// Every unit is looked at on its own: its radius graph never leaves it.
/// Rows whose unit is missing are skipped; rows whose label is missing belong to no cluster but to the graph.
/// Units are computed in parallel, and the number of threads does not change a bit.
/// The cost is that of the graphs and of the groups that are chosen.
///
/// # Columns
///
/// `radius:{r}_stat:{group}_{name}`, for every radius every group in the order of the configuration, with the radius printed
/// as short as it reads back (`25`, `14.2`). `a` and `b` are labels, `f` a feature:
///
/// | group | names | definition |
/// |---|---|---|
/// | `interactions` | `interaction_norm_{a}_{b}`, `interaction_{a}_{b}` | [`row_normalized`](crate::interactions::row_normalized), [`interaction_matrix`](crate::interactions::interaction_matrix) |
/// | `centrality` | `centrality_{a}_{degree_centrality, average_clustering, closeness_centrality}` | [`group_centrality`](crate::centrality::group_centrality) |
/// | `connectivity` | `mean`, `std`, `degree_{a}_mean`, `degree_{a}_std` | [`degree_statistics`](crate::connectivity::degree_statistics) |
/// | `moran_features` | `moranI_{f}` | [`moran_i`](crate::autocorrelation::moran_i) of the features |
/// | `moran_clusters` | `moranI_{a}` | [`moran_i`](crate::autocorrelation::moran_i) of being in the cluster |
/// | `chull` | `{all, cluster:a}_{volume, area, n, distance_center, density}_chull_{mean, sd}`, `…_n_obs_chull` | [`hull_components`](crate::hull::hull_components) of all cells, and of those of one cluster |
/// | `enrichment` | `enrichment_{a}_{b}`, `enrichment_ratio_{a}_{b}`, each pair once | z of [`enrichment_exact`](crate::enrichment::enrichment_exact) among the cells with a label, and how many times as often as by chance (count / mean): z grows with the number of cells, the ratio does not |
/// | `assortativity` | `labels` | [`assortativity`](crate::assortativity::assortativity) |
/// | `entropy` | `neighborhoods`, `mutual_information` | the mean of [`neighborhood_entropy`](crate::neighborhood::neighborhood_entropy) over the cells with neighbors, and [`mixing_entropy`](crate::neighborhood::mixing_entropy), in nats |
/// | `local_moran` | `{hot, cold, outliers}_{f}` | the parts of the cells with neighbors that are [`significant`](crate::autocorrelation::LocalAutocorrelation::significant) at [`StatisticsConfig::discovery_rate`]: high among high, low among low, and the others |
///
/// The last four are not of the original, and not among the default.
/// The columns depend on the configuration, the categories and the names of the features, never on the values.
/// Without features the groups `moran_features` and `local_moran` have no columns.
/// Where cells do not fit into memory all at once, [`StatisticsBuilder`] takes one unit after another.
///
/// # Shapes
///
/// `points`, `units`, `labels` and `features`: n rows each.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, Coords, NoProgress, Unit};
/// use phenocoder_spatial::summary::{Group, StatisticsConfig, spatial_statistics};
///
/// let points = Coords::new(array![[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]], Unit::Micrometer)?;
/// let samples = Categorical::from_labels(["s1", "s1", "s2"]);
/// let types = Categorical::from_labels(["T", "B", "T"]);
/// let config = StatisticsConfig::new([1.0]).with_groups([Group::Connectivity]);
/// let table = spatial_statistics(&points, &samples, &types, None, &config, &NoProgress)?;
/// assert_eq!(table.units, ["s1", "s2"]);
/// assert_eq!(table.column("radius:1_stat:connectivity_mean"), Some(vec![1.0, 0.0]));
/// // Sample s2 has no B, so their degree is missing there, not 0.
/// assert!(table.column("radius:1_stat:connectivity_degree_B_mean").unwrap()[1].is_nan());
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for settings that make no sense, labels that make two columns of one name, or more than 16,777,216
/// columns, [`Error::TooManyCategories`] for more than 8,192 labels with the groups `assortativity` or `entropy`,
/// [`Error::Shape`] when the inputs differ in length, [`Error::NotFinite`] for the first coordinate of a row with a unit that is not finite,
/// [`Error::Cancelled`] when `progress` asks to stop.
///
/// # Differences from the original
///
/// Statistics that are not defined are missing (NaN) instead of 0; [`StatisticsTable::fill`] is a step of its own.
/// All columns are there whatever the values, and in an order that does not depend on them.
/// A unit with one label is kept (the original drops it), hulls use the simultaneous [`DegreeFilter`](crate::hull::DegreeFilter),
/// a density is n / volume (the original: volume / n), and weights are in double precision.
/// With [`Mode::Compat`] all four are as in the original.
#[doc(alias = "spatialgraph_stats")]
pub fn spatial_statistics(
    points: &Coords,
    units: &Categorical,
    labels: &Categorical,
    features: Option<&Features>,
    config: &StatisticsConfig,
    progress: &dyn Progress,
) -> Result<StatisticsTable> {
    config.validate()?;
    let n = points.len();
    ShapeError::check_len("units", n, units.len())?;
    ShapeError::check_len("labels", n, labels.len())?;
    if let Some(features) = features {
        ShapeError::check_len("features", n, features.nrows())?;
    }
    check_used(points, units)?;
    let names_of_features = features.map_or(&[][..], Features::names);
    let names = columns::names(config, labels.categories(), names_of_features)?;

    let mut members: Vec<Vec<usize>> = vec![Vec::new(); units.categories().len()];
    let mut report = StatisticsReport::default();
    for row in 0..n {
        match units.code(row) {
            Some(code) => members[code].push(row),
            None => report.rows_without_unit += 1,
        }
    }
    let mut chosen: Vec<(&String, Vec<usize>)> = Vec::new();
    for (name, rows) in units.categories().iter().zip(members) {
        let codes = rows.iter().map(|&row| labels.code(row));
        match reason_to_drop(codes, config.mode) {
            Some(reason) => report.dropped.push(DroppedUnit {
                unit: name.clone(),
                reason,
            }),
            None => chosen.push((name, rows)),
        }
    }

    let steps = (chosen.len() * config.radii.len()) as u64;
    progress.start("spatial statistics", Some(steps));
    let rows: Vec<(Vec<f64>, Vec<Note>)> = chosen
        .par_iter()
        .map(|(name, rows)| {
            Unit::new(name, rows, points, labels, features).statistics(config, progress)
        })
        .collect::<Result<_>>()?;
    progress.finish();

    let mut values = Array2::zeros((chosen.len(), names.len()));
    for (mut row, (found, notes)) in values.axis_iter_mut(Axis(0)).zip(rows) {
        debug_assert_eq!(row.len(), found.len(), "every name has a value");
        row.iter_mut()
            .zip(found)
            .for_each(|(slot, value)| *slot = value);
        report.notes.extend(notes);
    }
    Ok(StatisticsTable {
        units: chosen.into_iter().map(|(name, _)| name.clone()).collect(),
        values,
        names,
        report,
    })
}

/// Why a unit whose rows have these labels is not in the table.
fn reason_to_drop(
    codes: impl ExactSizeIterator<Item = Option<usize>>,
    mode: Mode,
) -> Option<DropReason> {
    let is_empty = codes.len() == 0;
    let mut codes = codes.flatten();
    let first = codes.next();
    let several = codes.any(|code| Some(code) != first);
    match mode {
        _ if is_empty => Some(DropReason::NoRows),
        Mode::Compat if !several => Some(DropReason::SingleLabel),
        _ => None,
    }
}

/// Names the first coordinate that is not finite in a row that has a unit.
fn check_used(points: &Coords, units: &Categorical) -> Result<()> {
    let Err(error) = check_finite(points.view()) else {
        return Ok(());
    };
    let bad = |&row: &usize| {
        units.code(row).is_some() && points.view().row(row).iter().any(|x| !x.is_finite())
    };
    match (0..points.len()).find(bad) {
        None => Ok(()),
        Some(row) => {
            check_finite(points.view().slice(ndarray::s![row..=row, ..])).map_err(|found| {
                match found {
                    Error::NotFinite { axis, value, .. } => Error::NotFinite { row, axis, value },
                    _ => error,
                }
            })
        }
    }
}

#[cfg(test)]
mod tests;

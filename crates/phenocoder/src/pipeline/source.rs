//! From a store's elements to the types that the algorithms take.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, Cells, Column, Coords, Unit};
use phenocoder_io::{Store, Table};
use phenocoder_patches::{Images, Masks};

use super::keys::StoreKeys;
use crate::error::{Error, Result};

/// The coordinates under a key of `obsm`, turned to `(y, x)` or `(z, y, x)`.
pub(super) fn coordinates(
    table: &Table,
    keys: &StoreKeys,
    key: &str,
    unit: Unit,
    step: &'static str,
) -> Result<Coords> {
    let raw: Array2<f64> = table.obsm(key)?;
    let columns = keys.order.columns(raw.ncols()).ok_or_else(|| {
        Error::data(
            step,
            format!("`obsm/{key}` has {} columns, expected 2 or 3", raw.ncols()),
        )
    })?;
    Ok(Coords::new(raw.select(Axis(1), &columns), unit)?)
}

/// The labels of a column of `obs`.
pub(super) fn labels(table: &Table, column: &str) -> Result<Categorical> {
    Ok(table.obs_column(column)?.to_categorical())
}

/// The sample of every cell; a cell without one is an error.
pub(super) fn samples(table: &Table, keys: &StoreKeys, step: &'static str) -> Result<Categorical> {
    let samples = labels(table, &keys.sample_key)?.without_unused();
    match (0..samples.len()).find(|&row| samples.code(row).is_none()) {
        Some(row) => Err(Error::data(
            step,
            format!(
                "`obs/{}` is missing for row {row} of table `{}`",
                keys.sample_key, keys.table
            ),
        )),
        None => Ok(samples),
    }
}

/// The cells of the table with their pixel positions and these further columns of `obs`.
pub(super) fn cells(
    table: &Table,
    keys: &StoreKeys,
    metadata: &[String],
    step: &'static str,
) -> Result<Cells> {
    let positions = coordinates(table, keys, &keys.spatial_index_key, Unit::Pixel, step)?;
    let instances = match table.annotation() {
        Some(annotation) => table.obs_column(&annotation.instance_key)?,
        None => Column::Text(table.obs_names()?),
    };
    let mut cells = Cells::new(instances, samples(table, keys, step)?, positions)?;
    for name in metadata {
        cells.insert(name.as_str(), table.obs_column(name)?)?;
    }
    Ok(cells)
}

/// The image of every sample.
pub(super) fn images(store: &Store, keys: &StoreKeys, samples: &[String]) -> Result<Images> {
    let mut images: Images = BTreeMap::new();
    for sample in samples {
        images.insert(
            sample.clone(),
            Arc::new(store.image(&keys.image_of(sample))?),
        );
    }
    Ok(images)
}

/// The mask of every sample, when the keys name masks.
pub(super) fn masks(store: &Store, keys: &StoreKeys, samples: &[String]) -> Result<Option<Masks>> {
    if keys.labels_key.is_none() {
        return Ok(None);
    }
    let mut masks: Masks = BTreeMap::new();
    for sample in samples {
        if let Some(name) = keys.labels_of(sample) {
            masks.insert(sample.clone(), Arc::new(store.labels(&name)?));
        }
    }
    Ok(Some(masks))
}

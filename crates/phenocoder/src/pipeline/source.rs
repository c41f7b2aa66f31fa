//! From a store's elements to the types that the algorithms take.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, Cells, Column, Coords, ImageRegion, Unit};
use phenocoder_io::{Store, Table};
use phenocoder_patches::{Images, InvalidPolicy, Masks, Selection};

use super::keys::StoreKeys;
use crate::error::{Error, Result};

/// The coordinates under a key of `obsm`, turned to `(y, x)` or `(z, y, x)`.
pub(crate) fn coordinates(
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
pub(crate) fn labels(table: &Table, column: &str) -> Result<Categorical> {
    Ok(table.obs_column(column)?.to_categorical())
}

/// The labels of a column of `obs` of the table `name`; a row without one is an error.
pub(super) fn full_labels(
    table: &Table,
    name: &str,
    column: &str,
    step: &'static str,
) -> Result<Categorical> {
    let labels = labels(table, column)?;
    match (0..labels.len()).find(|&row| labels.code(row).is_none()) {
        Some(row) => Err(Error::data(
            step,
            format!("`obs/{column}` is missing for row {row} of table `{name}`"),
        )),
        None => Ok(labels),
    }
}

/// The sample of every cell; a cell without one is an error.
pub(crate) fn samples(table: &Table, keys: &StoreKeys, step: &'static str) -> Result<Categorical> {
    let samples = full_labels(table, &keys.table, &keys.sample_key, step)?;
    Ok(samples.without_unused())
}

/// The cells of the table with their pixel positions, these further columns of `obs`, and the one that masking needs.
pub(super) fn cells(
    table: &Table,
    keys: &StoreKeys,
    metadata: &[String],
    mask_column: Option<&String>,
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
    if let Some(name) = mask_column.filter(|name| !metadata.contains(name)) {
        cells.insert(name.as_str(), mask_values(table, name, step)?)?;
    }
    Ok(cells)
}

/// The value of each cell's pixels in the mask: a column of `obs`, or a variable of `X` that holds whole numbers.
fn mask_values(table: &Table, name: &str, step: &'static str) -> Result<Column> {
    if table.obs_columns().iter().any(|column| column == name) {
        return Ok(table.obs_column(name)?);
    }
    let position = table
        .var_names()?
        .iter()
        .position(|variable| variable == name);
    let (Some(position), Some(x)) = (position, table.x()?) else {
        return Err(Error::data(
            step,
            format!("the mask column `{name}` is neither a column of `obs` nor a variable"),
        ));
    };
    let values = x.to_dense_f64()?.column(position).to_vec();
    match values
        .iter()
        .position(|v| v.fract() != 0.0 || v.abs() >= 9e15)
    {
        Some(row) => Err(Error::data(
            step,
            format!(
                "the mask column `{name}` holds {} in row {row}, no whole number",
                values[row]
            ),
        )),
        None => Ok(Column::Int(values.into_iter().map(|v| v as i64).collect())),
    }
}

/// The image of every sample; where samples without one are dropped, of those that have one.
pub(super) fn images(
    store: &Store,
    keys: &StoreKeys,
    samples: &[String],
    missing: InvalidPolicy,
) -> Result<Images> {
    let there = store.image_names();
    let mut images: Images = BTreeMap::new();
    for sample in samples {
        let name = keys.image_of(sample);
        if missing == InvalidPolicy::Drop && !there.contains(&name) {
            continue;
        }
        images.insert(sample.clone(), Arc::new(store.image(&name)?));
    }
    Ok(images)
}

/// The mask of every image, when the keys name masks.
pub(super) fn masks(store: &Store, keys: &StoreKeys, images: &Images) -> Result<Option<Masks>> {
    if keys.labels_key.is_none() {
        return Ok(None);
    }
    let mut masks: Masks = BTreeMap::new();
    for sample in images.keys() {
        if let Some(name) = keys.labels_of(sample) {
            masks.insert(sample.clone(), Arc::new(store.labels(&name)?));
        }
    }
    Ok(Some(masks))
}

/// Refuses masks in which most cells do not lie where the column of their mask values says.
///
/// A table's running number taken for the mask's label would otherwise blank every patch without a word.
pub(super) fn check_masks(masks: &Masks, selection: &Selection, step: &'static str) -> Result<()> {
    const LOOKED_AT: usize = 200;
    let places = selection.places();
    let stride = places.len().div_ceil(LOOKED_AT).max(1);
    let (mut looked, mut own) = (0, 0);
    for place in places.iter().step_by(stride) {
        let sample = &selection.samples()[place.sample];
        let (Some(mask), Some(label)) = (masks.get(sample), place.label) else {
            continue;
        };
        let shape = mask.shape();
        let z = if shape.z == 1 { 0 } else { place.z };
        let region = ImageRegion {
            c: 0..1,
            z: z..z + 1,
            y: place.y..place.y + 1,
            x: place.x..place.x + 1,
        };
        if !region.is_within(shape) {
            continue;
        }
        let mut value = [0];
        mask.read_region(&region, &mut value)?;
        looked += 1;
        own += usize::from(value[0] == label);
    }
    if 2 * own >= looked {
        return Ok(());
    }
    let column = selection
        .config()
        .mask_column
        .as_deref()
        .unwrap_or("the instance key");
    Err(Error::data(
        step,
        format!(
            "{own} of {looked} cells looked at lie on their own label in the mask, going by {column}: \
             name the column that holds the values of the mask (`mask_column`)"
        ),
    ))
}

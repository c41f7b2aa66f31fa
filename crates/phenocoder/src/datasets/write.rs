//! Writes synthetic tissue as a SpatialData store.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, concatenate};
use phenocoder_core::{Categorical, Cells, Column, ImageSource, LabelSource, Progress};
use phenocoder_io::{
    Annotation, ContainerVersion, ImageWriteOptions, LabelWriteOptions, Matrix, Store, TableData,
    WriteMode,
};
use serde::{Deserialize, Serialize};

use super::{TissueConfig, TissueSample, tissue_sample};
use crate::error::{Error, Result};

const STEP: &str = "tissue";
/// The table with one row per cell.
const TABLE: &str = "cells";

/// What [`write_tissue`] wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TissueReport {
    /// Where the store lies.
    pub path: PathBuf,
    /// The samples, in the order of the table.
    pub samples: Vec<String>,
    /// The number of cells.
    pub cells: usize,
    /// Where the store keeps what the pipeline needs.
    #[cfg(feature = "pipeline")]
    pub keys: crate::pipeline::StoreKeys,
}

/// Makes all samples and writes them as a SpatialData store (container 0.2, Zarr v3) at `path`.
///
/// Elements: images `image_{sample}` (uint16), masks `cells_{sample}` (uint32), table `cells` with `obs` columns `sample`,
/// `region`, `instance_id`, `true_type`, `domain`, `condition`, `batch`, and `obsm` entries `spatial` (micrometres) and
/// `spatial_index` (pixels), both as `(y, x[, z])`.
/// `X` holds the mean intensity of each channel over the cell and its area in pixels.
///
/// # Errors
///
/// [`Error::Config`] when the configuration is out of range, [`Error::Io`] when there is something at `path` or it cannot be
/// written, [`Error::Cancelled`].
pub fn write_tissue(
    path: &Path,
    config: &TissueConfig,
    progress: &dyn Progress,
) -> Result<TissueReport> {
    config.validate()?;
    let mut store = Store::create(path, ContainerVersion::V02)?;
    progress.start("synthetic tissue", Some(config.n_samples() as u64));
    let mut parts: Vec<Cells> = Vec::new();
    let mut measured: Vec<Array2<f64>> = Vec::new();
    for index in 0..config.n_samples() {
        progress.check()?;
        let sample = tissue_sample(config, index)?;
        write_sample(&mut store, config, &sample, progress)?;
        measured.push(measure(&sample)?);
        parts.push(sample.cells);
        progress.advance(1);
    }
    progress.finish();
    let cells = Joined::new(&parts)?;
    let table = cells.table(config, &measured)?;
    let report = TissueReport {
        path: path.to_owned(),
        samples: cells.samples.categories().to_vec(),
        cells: table.n_obs(),
        #[cfg(feature = "pipeline")]
        keys: crate::pipeline::StoreKeys::new(TABLE, "sample", "image").with_labels_key("cells"),
    };
    store.write_table(TABLE, &table, WriteMode::Create)?;
    Ok(report)
}

fn write_sample(
    store: &mut Store,
    config: &TissueConfig,
    sample: &TissueSample,
    progress: &dyn Progress,
) -> Result<()> {
    let scale = [
        config.slice_distance_um,
        config.pixel_size_um,
        config.pixel_size_um,
    ];
    let is_3d = config.slices > 1;
    let images = ImageWriteOptions::new(phenocoder_core::DataType::UInt16)
        .with_three_dimensional(is_3d)
        .with_scale(scale);
    store.write_image(sample.image.name(), &sample.image, &images, progress)?;
    let labels = LabelWriteOptions::default()
        .with_three_dimensional(is_3d)
        .with_scale(scale);
    store.write_labels(sample.labels.name(), &sample.labels, &labels, progress)?;
    Ok(())
}

/// Mean intensity of each channel and area of every cell of a sample.
fn measure(sample: &TissueSample) -> Result<Array2<f64>> {
    let shape = sample.image.shape();
    let n = sample.cells.len();
    let mut labels = vec![0_u64; shape.z * shape.y * shape.x];
    sample
        .labels
        .read_region(&sample.labels.shape().region(), &mut labels)?;
    let mut out = Array2::zeros((n, shape.c + 1));
    let cell = |label: u64| {
        usize::try_from(label)
            .ok()
            .and_then(|l| l.checked_sub(1))
            .filter(|&l| l < n)
    };
    for row in labels.iter().filter_map(|&label| cell(label)) {
        out[[row, shape.c]] += 1.0;
    }
    let mut plane = vec![0.0_f32; labels.len()];
    for c in 0..shape.c {
        let mut region = shape.region();
        region.c = c..c + 1;
        sample.image.read_region(&region, &mut plane)?;
        for (&label, &value) in labels.iter().zip(&plane) {
            if let Some(row) = cell(label) {
                out[[row, c]] += f64::from(value);
            }
        }
        for row in 0..n {
            out[[row, c]] /= f64::max(out[[row, shape.c]], 1.0);
        }
    }
    Ok(out)
}

/// The cells of all samples, one sample after the other.
struct Joined<'a> {
    parts: &'a [Cells],
    samples: Categorical,
}

impl<'a> Joined<'a> {
    fn new(parts: &'a [Cells]) -> Result<Self> {
        let labels = parts.iter().flat_map(|cells| cells.samples().labels());
        let samples = Categorical::from_optional_labels(labels);
        if samples.is_empty() {
            return Err(Error::config(STEP, "cells_per_sample", "at least 1"));
        }
        Ok(Self { parts, samples })
    }

    fn column(&self, name: &str) -> Result<Column> {
        let mut labels = Vec::new();
        for part in self.parts {
            let column = part.column(name)?.to_categorical();
            labels.extend(
                column
                    .labels()
                    .map(|label| label.map(str::to_owned))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(Column::Categorical(Categorical::from_optional_labels(
            labels,
        )))
    }

    fn table(&self, config: &TissueConfig, measured: &[Array2<f64>]) -> Result<TableData> {
        let n = self.samples.len();
        let views: Vec<_> = measured.iter().map(|part| part.view()).collect();
        let x = concatenate(Axis(0), &views)
            .map_err(|error| Error::data(STEP, format!("samples differ in form: {error}")))?;
        let positions: Vec<_> = self
            .parts
            .iter()
            .map(|cells| cells.positions().view())
            .collect();
        let positions = concatenate(Axis(0), &positions)
            .map_err(|error| Error::data(STEP, format!("samples differ in form: {error}")))?;
        // Stored as (y, x[, z]), the order of phenocoder's tables.
        let order: &[usize] = if positions.ncols() == 3 {
            &[1, 2, 0]
        } else {
            &[0, 1]
        };
        let pixels = positions.select(Axis(1), order);
        let mut physical = &pixels * config.pixel_size_um;
        if physical.ncols() == 3 {
            physical
                .column_mut(2)
                .assign(&(&pixels.column(2) * config.slice_distance_um));
        }
        let regions: Vec<String> = self
            .samples
            .labels()
            .map(|label| format!("cells_{}", label.unwrap_or("")))
            .collect();
        let regions = Categorical::from_labels(&regions);
        let instances: Vec<i64> = self
            .parts
            .iter()
            .flat_map(|cells| 1..=cells.len() as i64)
            .collect();
        let mut var_names: Vec<String> = super::CHANNELS
            .iter()
            .map(|channel| format!("mean_{channel}"))
            .collect();
        var_names.push("area_px".to_owned());
        let obs_names = (0..n).map(|row| row.to_string()).collect();
        let annotation = Annotation {
            regions: regions.categories().to_vec(),
            region_key: "region".to_owned(),
            instance_key: "instance_id".to_owned(),
        };
        let mut table = TableData::new(obs_names, var_names, Some(Matrix::from(x)))
            .with_obs_column("sample", Column::Categorical(self.samples.clone()))?
            .with_obs_column("region", Column::Categorical(regions))?
            .with_obs_column("instance_id", Column::Int(instances))?;
        for name in ["true_type", "domain", "condition", "batch"] {
            table = table.with_obs_column(name, self.column(name)?)?;
        }
        Ok(table
            .with_obsm("spatial", physical)
            .with_obsm("spatial_index", pixels)
            .with_annotation(annotation))
    }
}

//! What single latents mean: the mean cell with one latent changed.

use std::path::Path;

use arrow::record_batch::RecordBatch;
use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use phenocoder_core::{Categorical, PatchShape};
use phenocoder_io::{PatchSet, column_from_arrow};
use phenocoder_model::{DeviceChoice, SavedModel, decode, select_device};
use phenocoder_patches::UnseenPolicy;

use super::cells::Cells;
use super::gather::Run;
use super::html::number;
use super::page::at_once;
use super::sprites::reduced;
use super::{Part, STEP};
use crate::error::{Error, Result};
use crate::pipeline::{ModelManifest, PipelineConfig};

/// How far the latent is moved, in standard deviations of the cells.
pub(super) const STEPS: [f64; 7] = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
const BATCH: usize = 64;

/// What a step is called.
pub(super) fn step_name(step: f64) -> String {
    match step {
        0.0 => "mean".to_owned(),
        step if step > 0.0 => format!("+{} sd", number(step)),
        step => format!("{} sd", number(step)),
    }
}

/// Decoded walks, one after the other.
#[derive(Debug)]
pub(super) struct Walks {
    /// The latents that change, counted from 0, with their standard deviations over the cells.
    pub(super) latents: Vec<(usize, f64)>,
    /// A patch `[y, x, c]` for each latent and step, reduced to what the page can show of it.
    pub(super) patches: Vec<Array3<f32>>,
    /// Rows, columns and channels of the patches as decoded.
    pub(super) extent: (usize, usize, usize),
    /// The conditions under which they are decoded, in words.
    pub(super) conditions: Vec<String>,
}

/// The latents by falling standard deviation.
pub(super) fn by_spread(latents: ArrayView2<'_, f64>) -> Vec<(usize, f64)> {
    let spread = latents.std_axis(Axis(0), 0.0);
    let mut order: Vec<(usize, f64)> = spread.into_iter().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order
}

/// Decodes the mean of the latents with each of those that vary most moved, under the most frequent conditions.
pub(super) fn walks(run: &Run<'_>, cells: &Cells, patches: &Part<PatchSet>) -> Result<Walks> {
    let (config, files) = (run.config, run.files);
    let latents = cells.latents.view();
    let device = select_device(DeviceChoice::Cpu)?.device;
    let saved = SavedModel::load(&files.model, &device)?;
    if latents.ncols() != saved.model.latent_dim() {
        let (found, expected) = (latents.ncols(), saved.model.latent_dim());
        return Err(Error::data(
            STEP,
            format!("the table has {found} latents, the model {expected}"),
        ));
    }
    let mean = latents
        .mean_axis(Axis(0))
        .ok_or_else(|| Error::data(STEP, "there are no cells"))?;
    let mut chosen = by_spread(latents);
    chosen.truncate(run.settings.traversed);
    let n = chosen.len() * STEPS.len();
    let moved = Array2::from_shape_fn((n, latents.ncols()), |(i, column)| {
        let (latent, spread) = chosen[i / STEPS.len()];
        let step = match latent == column {
            true => STEPS[i % STEPS.len()] * spread,
            false => 0.0,
        };
        (mean[column] + step) as f32
    });
    let manifest = ModelManifest::read(&saved)?;
    let (row, conditions) = frequent(&manifest, config, &files.patches)?;
    let rows = row.select(Axis(0), &vec![0; n]);
    let model = saved.model.as_ref();
    let of = |shape: PatchShape| (shape.height, shape.width, shape.channels);
    let extent = of(model.input());
    if let Ok(patches) = patches {
        check_extent(n, extent, of(patches.shape()))?;
    }
    let mut walked = Vec::with_capacity(n);
    let most = at_once(extent).min(BATCH);
    for first in (0..n).step_by(most) {
        let part = first..n.min(first + most);
        let (moved, rows) = (moved.slice(s![part.clone(), ..]), rows.slice(s![part, ..]));
        let decoded = decode(model, moved, rows, most, run.progress)?;
        walked.extend(decoded.outer_iter().map(reduced));
    }
    Ok(Walks {
        patches: walked,
        extent,
        latents: chosen,
        conditions,
    })
}

/// What is decoded lies among the pictures of cells, so it must have their rows, columns and channels.
fn check_extent(
    n: usize,
    found: (usize, usize, usize),
    expected: (usize, usize, usize),
) -> Result<()> {
    if n == 0 || found == expected {
        return Ok(());
    }
    let ((height, width, channels), (y, x, c)) = (found, expected);
    Err(Error::data(
        STEP,
        format!(
            "the model decodes {height} × {width} pixels in {channels} channels, the patch set has {y} × {x} in {c}"
        ),
    ))
}

/// The most frequent label of each condition, as the network takes it and in words.
fn frequent(
    manifest: &ModelManifest,
    config: &PipelineConfig,
    patches: &Path,
) -> Result<(Array2<f32>, Vec<String>)> {
    let names = &manifest.config.conditions;
    let rows = match names.iter().any(|name| name != "dataset") {
        true => Some(PatchSet::open(patches)?.cells()?),
        false => None,
    };
    let mut labels = Vec::new();
    for name in names {
        labels.push(match (name.as_str(), &rows) {
            ("dataset", _) | (_, None) => config.encode.dataset.clone(),
            (name, Some(rows)) => most_frequent(rows, name)?,
        });
    }
    let columns: Vec<Categorical> = labels
        .iter()
        .map(|l| Categorical::from_labels([l]))
        .collect();
    let columns: Vec<&Categorical> = columns.iter().collect();
    let encoder = manifest.conditions.clone().with_unseen(UnseenPolicy::Zero);
    let words = names.iter().zip(&labels).map(|(n, l)| format!("{n} = {l}"));
    Ok((encoder.encode_rows(1, &columns)?, words.collect()))
}

/// The label that most patches have, the first one of several.
fn most_frequent(rows: &RecordBatch, name: &str) -> Result<String> {
    let missing = || Error::data(STEP, format!("the patch set has no column `{name}`"));
    let array = rows.column_by_name(name).ok_or_else(missing)?;
    let labels = column_from_arrow(name, array)?.to_categorical();
    let counts = labels.counts();
    let best = (0..counts.len()).rev().max_by_key(|&code| counts[code]);
    Ok(best.map_or_else(String::new, |code| labels.categories()[code].clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn latents_are_ordered_by_their_spread() {
        let order = by_spread(array![[0.0, 5.0, 1.0], [2.0, -5.0, 1.0]].view());
        assert_eq!(order, [(1, 5.0), (0, 1.0), (2, 0.0)]);
    }

    #[test]
    fn what_differs_from_the_patches_in_extent_is_refused() {
        assert!(check_extent(7, (16, 16, 3), (16, 16, 3)).is_ok());
        assert!(check_extent(0, (16, 16, 1), (16, 16, 3)).is_ok());
        for other in [(16, 16, 1), (16, 8, 3), (32, 16, 3)] {
            let message = check_extent(7, other, (16, 16, 3)).unwrap_err().to_string();
            assert!(
                message.contains("the patch set has 16 × 16 in 3"),
                "{message}"
            );
        }
    }
}

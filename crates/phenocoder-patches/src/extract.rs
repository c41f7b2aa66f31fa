//! Cuts patches: each stored block of pixels is decoded about once, in bounded memory, on all threads.

pub(crate) mod fill;
mod report;
mod sink;
pub(crate) mod window;

use ndarray::ArrayView4;
use phenocoder_core::{Cells, PatchSink, Progress, ShapeError};

pub use report::{ChannelSaturation, ExtractReport};
pub use sink::MemorySink;

use crate::extract::fill::{Layout, Source, fill};
use crate::scaling::Scaling;
use crate::select::{PatchConfig, Selection, select_cells};
use crate::{Error, Images, Masks, Result};

/// Selects cells and writes one scaled patch for each: [`select_cells`] and [`extract_selection`] in one.
///
/// Use the two apart when the sink must know the number of patches beforehand.
///
/// # Examples
///
/// See the [crate's page](crate).
///
/// # Errors
///
/// As the two functions.
#[doc(alias = "generate_dataset")]
pub fn extract_patches(
    images: &Images,
    masks: Option<&Masks>,
    cells: &Cells,
    scaling: &Scaling,
    config: &PatchConfig,
    sink: &mut dyn PatchSink,
    progress: &dyn Progress,
) -> Result<ExtractReport> {
    let selection = select_cells(images, cells, config)?;
    extract_selection(images, masks, &selection, scaling, sink, progress)
}

/// Writes one scaled patch for each place of a selection.
///
/// Patch number `i` is that of place `i`: the order is that of the cells.
/// Pixels become `clip((v − low)/(high − low), 0, 1)` as `f32`.
/// Patches are made in the order in which the blocks of the image lie; where they do not all fit into
/// [`PatchConfig::memory`], they reach the sink in several batches that each hold runs of consecutive numbers.
///
/// `masks` are needed only with [`PatchConfig::mask_neighbors`].
/// There, pixels that belong to another object become 0 in all channels; a mask of one slice serves every slice.
///
/// # Errors
///
/// [`Error::MissingImage`] for a sample without image or mask, [`Error::Channels`] when the images or the scaling have
/// other channels than the selection, [`Error::MaskExtent`] when a mask does not cover its image,
/// [`Error::UnknownSample`] when the scaling does not know a sample, [`Error::NotFinitePixel`] for a NaN,
/// [`Error::Source`] when reading or writing fails and [`Error::Cancelled`] when the caller stopped.
pub fn extract_selection(
    images: &Images,
    masks: Option<&Masks>,
    selection: &Selection,
    scaling: &Scaling,
    sink: &mut dyn PatchSink,
    progress: &dyn Progress,
) -> Result<ExtractReport> {
    let _span = tracing::info_span!("extract_selection", patches = selection.len()).entered();
    let source = Source::new(images, masks, selection, scaling, None)?;
    let shape = selection.patch_shape();
    let mut report = selection.report().clone();
    report.degenerate = used_degenerate(selection, scaling);
    let mut saturation: Vec<ChannelSaturation> = selection
        .channels()
        .iter()
        .map(|name| ChannelSaturation::new(name))
        .collect();
    let memory = selection.config().memory / 2;
    let per_batch = (memory / (4 * shape.len()).max(1)).max(1);
    progress.start("patches", Some(selection.len() as u64));
    for batch in batches(&source, selection, per_batch) {
        let mut pixels = vec![0.0; batch.len() * shape.len()];
        let mut advanced = 0;
        fill(
            &source,
            &batch,
            Layout::ChannelsFirst,
            memory,
            &mut pixels,
            &mut |done, total| {
                progress.check()?;
                let reached = batch.len() * done / total.max(1);
                progress.advance((reached - advanced) as u64);
                advanced = reached;
                Ok(())
            },
        )?;
        let plane = shape.height * shape.width;
        for patch in pixels.chunks_exact(shape.len()) {
            for (channel, values) in saturation.iter_mut().zip(patch.chunks_exact(plane)) {
                channel.count(values);
            }
        }
        // Consecutive numbers go in one piece.
        let mut start = 0;
        for run in batch.chunk_by(|a, b| a + 1 == *b) {
            progress.check()?;
            let values = &pixels[start * shape.len()..(start + run.len()) * shape.len()];
            let dim = (run.len(), shape.channels, shape.height, shape.width);
            let view = ArrayView4::from_shape(dim, values).map_err(|_| ShapeError::Length {
                what: "patches".to_owned(),
                expected: run.len() * shape.len(),
                found: values.len(),
            })?;
            sink.write(run[0], view)?;
            start += run.len();
        }
        progress.advance((batch.len() - advanced) as u64);
    }
    progress.finish();
    report.saturated = saturation
        .iter()
        .filter(|channel| channel.fraction() > selection.config().saturation)
        .map(|channel| channel.channel.clone())
        .collect();
    report.saturation = saturation;
    Ok(report)
}

/// The degenerate ranges among the samples that have patches.
fn used_degenerate(selection: &Selection, scaling: &Scaling) -> Vec<(String, usize)> {
    let used: std::collections::BTreeSet<&str> = selection
        .places()
        .iter()
        .map(|place| selection.samples()[place.sample].as_str())
        .collect();
    let mut found = scaling.degenerate();
    found.retain(|(sample, _)| used.contains(sample.as_str()));
    found
}

/// The numbers of the patches, each batch rising: all at once if they fit, else along the blocks of the images.
fn batches(source: &Source<'_>, selection: &Selection, per_batch: usize) -> Vec<Vec<usize>> {
    let n = selection.len();
    if n <= per_batch {
        return if n == 0 {
            Vec::new()
        } else {
            vec![(0..n).collect()]
        };
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(|&i| source.block_of(&selection.places()[i]));
    order
        .chunks(per_batch)
        .map(|chunk| {
            let mut chunk = chunk.to_vec();
            chunk.sort_unstable();
            chunk
        })
        .collect()
}

/// Keeps the error of a sample that lacks an image or mask in one place.
fn missing(sample: &str, what: &'static str, known: impl Iterator<Item = String>) -> Error {
    Error::MissingImage {
        sample: sample.to_owned(),
        what,
        known: crate::error::list(known),
    }
}

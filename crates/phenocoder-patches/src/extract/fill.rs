//! Fills patches from blocks of the images.

use std::collections::BTreeMap;

use phenocoder_core::{ImageRegion, ImageShape, ImageSource, LabelSource, PatchShape, ShapeError};
use rayon::prelude::*;

use super::missing;
use super::window::Axis;
use crate::blocks::{Grid, pixels, read};
use crate::error::list;
use crate::scaling::{ChannelRange, Scaling};
use crate::select::{BorderPolicy, Place, Selection};
use crate::{Error, Images, Masks, Result};

/// Pixels of a window at most; larger chunks are read in parts.
const WINDOW: usize = 4 << 20;

/// The order of the axes within a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `c, y, x`, as patch sets on disk.
    ChannelsFirst,
    /// `y, x, c`, as networks take them.
    ChannelsLast,
}

impl Layout {
    fn index(self, shape: PatchShape, c: usize, y: usize, x: usize) -> usize {
        match self {
            Self::ChannelsFirst => (c * shape.height + y) * shape.width + x,
            Self::ChannelsLast => (y * shape.width + x) * shape.channels + c,
        }
    }
}

/// What belongs to one sample.
struct Sample<'a> {
    image: &'a dyn ImageSource,
    grid: Grid,
    mask: Option<(&'a dyn LabelSource, Grid)>,
    ranges: &'a [ChannelRange],
}

/// Images, masks and scaling of a selection, checked against each other.
pub(crate) struct Source<'a> {
    samples: Vec<Option<Sample<'a>>>,
    places: &'a [Place],
    shape: PatchShape,
    border: BorderPolicy,
}

/// Extent in words.
fn extent(shape: ImageShape) -> String {
    format!("{} × {} × {}", shape.z, shape.y, shape.x)
}

impl<'a> Source<'a> {
    /// Checks what the patches of these numbers need, or all patches.
    pub(crate) fn new(
        images: &'a Images,
        masks: Option<&'a Masks>,
        selection: &'a Selection,
        scaling: &'a Scaling,
        patches: Option<&[usize]>,
    ) -> Result<Self> {
        let places: Vec<&Place> = match patches {
            Some(patches) => patches.iter().map(|&i| &selection.places[i]).collect(),
            None => selection.places.iter().collect(),
        };
        let mut samples: Vec<Option<Sample<'a>>> = Vec::new();
        samples.resize_with(selection.samples().len(), || None);
        for place in &places {
            let name = &selection.samples()[place.sample];
            if samples[place.sample].is_none() {
                samples[place.sample] = Some(sample(images, masks, selection, scaling, name)?);
            }
        }
        for place in &places {
            if let Some(sample) = &samples[place.sample] {
                let shape = sample.image.shape();
                if place.z >= shape.z || place.y >= shape.y || place.x >= shape.x {
                    return Err(Error::OutsideImage {
                        row: place.row,
                        sample: selection.samples()[place.sample].clone(),
                        position: format!("{:?}", [place.z, place.y, place.x]),
                        extent: extent(shape),
                    });
                }
            }
        }
        Ok(Self {
            samples,
            places: selection.places(),
            shape: selection.patch_shape(),
            border: selection.config().border,
        })
    }

    fn sample(&self, place: &Place) -> Result<&Sample<'a>> {
        // `new` made one for every place.
        self.samples[place.sample]
            .as_ref()
            .ok_or(Error::Empty { what: "sample" })
    }

    /// The block in which a patch's centre lies: patches sorted by it share blocks with their neighbours.
    pub(crate) fn block_of(&self, place: &Place) -> (usize, usize, usize, usize, usize, usize) {
        let block = self.samples[place.sample]
            .as_ref()
            .map_or(ImageShape::new(1, 1, 1, 1), |sample| sample.grid.block);
        let (z, y, x) = (place.z / block.z, place.y / block.y, place.x / block.x);
        (place.sample, z, y, x, place.y, place.x)
    }

    fn axes(&self, place: &Place, shape: ImageShape) -> (Axis, Axis) {
        (
            Axis::new(place.y, self.shape.height, shape.y, self.border),
            Axis::new(place.x, self.shape.width, shape.x, self.border),
        )
    }
}

fn sample<'a>(
    images: &'a Images,
    masks: Option<&'a Masks>,
    selection: &'a Selection,
    scaling: &'a Scaling,
    name: &str,
) -> Result<Sample<'a>> {
    let image = images
        .get(name)
        .ok_or_else(|| missing(name, "image", images.keys().cloned()))?;
    let shape = image.shape();
    let expected = selection.channels();
    for found in [image.channels(), scaling.channels()] {
        if found != expected || shape.c != expected.len() {
            return Err(Error::Channels {
                sample: name.to_owned(),
                expected: list(expected),
                found: list(found),
            });
        }
    }
    let mask = if selection.config().mask_neighbors {
        let known = || {
            masks
                .into_iter()
                .flatten()
                .map(|(sample, _)| sample.clone())
        };
        let mask = masks
            .and_then(|masks| masks.get(name))
            .ok_or_else(|| missing(name, "label mask", known()))?;
        let found = mask.shape();
        let fits = (found.z == shape.z || found.z == 1) && (found.y, found.x) == (shape.y, shape.x);
        if !fits {
            return Err(Error::MaskExtent {
                sample: name.to_owned(),
                expected: extent(shape),
                found: extent(found),
            });
        }
        Some((
            mask.as_ref(),
            Grid::new(found, mask.chunk_shape(), WINDOW / 2),
        ))
    } else {
        None
    };
    let ranges = scaling.ranges(name)?;
    // A scaling that was read from a file may say anything.
    ShapeError::check_len("ranges of a sample", expected.len(), ranges.len())?;
    Ok(Sample {
        image: image.as_ref(),
        grid: Grid::new(shape, image.chunk_shape(), WINDOW),
        mask,
        ranges,
    })
}

/// A block to read and the patches that need it.
struct Task {
    sample: usize,
    region: ImageRegion,
    slots: Vec<usize>,
}

/// Fills one patch after the other with the places of these numbers, scaled.
///
/// `step` is called with the blocks done and their number before each group, and can stop the work.
/// Blocks are read in parallel, some at a time so that about `memory` bytes of pixels are held;
/// then all patches copy their part of them in parallel, each thread its own patches,
/// so the result does not depend on the number of threads.
pub(crate) fn fill(
    source: &Source<'_>,
    patches: &[usize],
    layout: Layout,
    memory: usize,
    out: &mut [f32],
    step: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let places: Vec<&Place> = patches.iter().map(|&i| &source.places[i]).collect();
    let length = source.shape.len();
    prefill(source, &places, layout, out)?;
    let tasks = plan(source, &places, |sample| Some(sample.grid))?;
    let masked = plan(source, &places, |sample| {
        sample.mask.as_ref().map(|(_, grid)| *grid)
    })?;
    let total = tasks.len() + masked.len();
    let mut done = 0;
    let mut step = |blocks: usize| {
        step(done, total)?;
        done += blocks;
        Ok(())
    };
    let sample = |task: &Task| source.samples[task.sample].as_ref();
    pass(
        &tasks,
        memory,
        length,
        out,
        &mut step,
        |task| sample(task).map_or_else(|| Ok(Vec::new()), |s| read(s.image, &task.region)),
        |task, slot, block: &[f32], patch| {
            if let Some(sample) = sample(task) {
                let place = places[slot];
                copy(source, sample, place, &task.region, block, layout, patch);
            }
        },
    )?;
    pass(
        &masked,
        memory,
        length,
        out,
        &mut step,
        |task| {
            let Some((mask, _)) = sample(task).and_then(|sample| sample.mask.as_ref()) else {
                return Ok(Vec::new());
            };
            let mut block = vec![0; pixels(task.region.shape())];
            mask.read_region(&task.region, &mut block)?;
            Ok(block)
        },
        |task, slot, block: &[u64], patch| {
            if let Some(sample) = sample(task) {
                let place = places[slot];
                erase(source, sample, place, &task.region, block, layout, patch);
            }
        },
    )
}

/// Reads the blocks of all tasks, a wave at a time, and hands each patch the blocks that it needs.
fn pass<T: Send + Sync>(
    tasks: &[Task],
    memory: usize,
    length: usize,
    out: &mut [f32],
    step: &mut dyn FnMut(usize) -> Result<()>,
    read: impl Fn(&Task) -> Result<Vec<T>> + Sync,
    put: impl Fn(&Task, usize, &[T], &mut [f32]) + Sync,
) -> Result<()> {
    waves(tasks, size_of::<T>(), memory, |wave| {
        step(wave.len())?;
        let blocks: Vec<Vec<T>> = wave.par_iter().map(&read).collect::<Result<_>>()?;
        for_each_patch(wave, length, out, |task, slot, patch| {
            put(&wave[task], slot, &blocks[task], patch);
        });
        Ok(())
    })
}

/// Gives the pixels that lie outside of the image their value.
fn prefill(source: &Source<'_>, places: &[&Place], layout: Layout, out: &mut [f32]) -> Result<()> {
    let BorderPolicy::Pad(value) = source.border else {
        return Ok(());
    };
    let shape = source.shape;
    for (place, patch) in places.iter().zip(out.chunks_exact_mut(shape.len())) {
        for (c, range) in source.sample(place)?.ranges.iter().enumerate() {
            let value = range.apply(value);
            for y in 0..shape.height {
                for x in 0..shape.width {
                    patch[layout.index(shape, c, y, x)] = value;
                }
            }
        }
    }
    Ok(())
}

/// The blocks that are needed, in the order in which they lie in the images.
fn plan<'a>(
    source: &'a Source<'_>,
    places: &[&Place],
    grid: impl Fn(&'a Sample<'_>) -> Option<Grid>,
) -> Result<Vec<Task>> {
    let mut needed: BTreeMap<(usize, usize, usize, usize), Vec<usize>> = BTreeMap::new();
    for (slot, place) in places.iter().enumerate() {
        let Some(grid) = grid(source.sample(place)?) else {
            continue;
        };
        let (rows, columns) = source.axes(place, grid.shape);
        let (rows, columns) = (rows.needed(), columns.needed());
        if rows.is_empty() || columns.is_empty() {
            continue;
        }
        // A mask of one slice serves all slices.
        let z = place.z.min(grid.shape.z - 1) / grid.block.z;
        for y in rows.start / grid.block.y..=(rows.end - 1) / grid.block.y {
            for x in columns.start / grid.block.x..=(columns.end - 1) / grid.block.x {
                needed
                    .entry((place.sample, z, y, x))
                    .or_default()
                    .push(slot);
            }
        }
    }
    let mut tasks = Vec::new();
    for ((sample, z, y, x), slots) in needed {
        let Some(grid) = source.samples[sample].as_ref().and_then(&grid) else {
            continue;
        };
        for c in 0..grid.counts().c {
            let mut region = grid.region(c, z, y, x);
            trim(source, places, &slots, &mut region, grid.shape);
            tasks.push(Task {
                sample,
                region,
                slots: slots.clone(),
            });
        }
    }
    Ok(tasks)
}

/// Cuts a block down to what its patches need.
fn trim(
    source: &Source<'_>,
    places: &[&Place],
    slots: &[usize],
    region: &mut ImageRegion,
    shape: ImageShape,
) {
    let (mut z, mut y, mut x) = ((usize::MAX, 0), (usize::MAX, 0), (usize::MAX, 0));
    for &slot in slots {
        let place = places[slot];
        let (rows, columns) = source.axes(place, shape);
        let (rows, columns) = (rows.needed(), columns.needed());
        let slice = place.z.min(shape.z - 1);
        z = (z.0.min(slice), z.1.max(slice + 1));
        y = (y.0.min(rows.start), y.1.max(rows.end));
        x = (x.0.min(columns.start), x.1.max(columns.end));
    }
    let cut = |range: &mut std::ops::Range<usize>, (low, high): (usize, usize)| {
        *range = range.start.max(low)..range.end.min(high);
    };
    cut(&mut region.z, z);
    cut(&mut region.y, y);
    cut(&mut region.x, x);
}

/// Hands out the tasks in groups whose blocks take about `memory` bytes, at least one at a time.
fn waves(
    tasks: &[Task],
    bytes_per_pixel: usize,
    memory: usize,
    mut work: impl FnMut(&[Task]) -> Result<()>,
) -> Result<()> {
    let mut start = 0;
    while start < tasks.len() {
        let (mut end, mut bytes) = (start, 0);
        while end < tasks.len() && (end == start || bytes < memory) {
            bytes += pixels(tasks[end].region.shape()) * bytes_per_pixel;
            end += 1;
        }
        work(&tasks[start..end])?;
        start = end;
    }
    Ok(())
}

/// Calls `work(task, slot, patch)` for every patch that a wave touches: patches in parallel, the tasks of one in order.
fn for_each_patch(
    wave: &[Task],
    length: usize,
    out: &mut [f32],
    work: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let mut pairs: Vec<(usize, usize)> = wave
        .iter()
        .enumerate()
        .flat_map(|(task, t)| t.slots.iter().map(move |&slot| (slot, task)))
        .collect();
    pairs.sort_unstable();
    out.par_chunks_mut(length.max(1))
        .enumerate()
        .for_each(|(slot, patch)| {
            let first = pairs.partition_point(|&(s, _)| s < slot);
            for &(_, task) in pairs[first..].iter().take_while(|&&(s, _)| s == slot) {
                work(task, slot, patch);
            }
        });
}

/// Copies a patch's part of a block, scaled.
fn copy(
    source: &Source<'_>,
    sample: &Sample<'_>,
    place: &Place,
    region: &ImageRegion,
    block: &[f32],
    layout: Layout,
    patch: &mut [f32],
) {
    let extent = region.shape();
    let (rows, columns) = source.axes(place, sample.image.shape());
    let (rows, columns) = (rows.within(&region.y), columns.within(&region.x));
    let z = place.z - region.z.start;
    for (within, c) in region.c.clone().enumerate() {
        let range = &sample.ranges[c];
        for &(y, from_y) in &rows {
            let start = ((within * extent.z + z) * extent.y + from_y) * extent.x;
            let line = &block[start..start + extent.x];
            for &(x, from_x) in &columns {
                patch[layout.index(source.shape, c, y, x)] = range.apply(line[from_x]);
            }
        }
    }
}

/// Sets the pixels of other objects to 0.
fn erase(
    source: &Source<'_>,
    sample: &Sample<'_>,
    place: &Place,
    region: &ImageRegion,
    block: &[u64],
    layout: Layout,
    patch: &mut [f32],
) {
    let Some((mask, _)) = &sample.mask else {
        return;
    };
    let extent = region.shape();
    let (rows, columns) = source.axes(place, mask.shape());
    let (rows, columns) = (rows.within(&region.y), columns.within(&region.x));
    let z = place.z.min(mask.shape().z - 1) - region.z.start;
    for &(y, from_y) in &rows {
        let start = (z * extent.y + from_y) * extent.x;
        for &(x, from_x) in &columns {
            let label = block[start + from_x];
            if label != 0 && Some(label) != place.label {
                for c in 0..source.shape.channels {
                    patch[layout.index(source.shape, c, y, x)] = 0.0;
                }
            }
        }
    }
}

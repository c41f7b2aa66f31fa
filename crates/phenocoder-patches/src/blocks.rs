//! Blocks: how an image is cut into windows that follow its stored chunks.

use std::ops::Range;

use phenocoder_core::{ImageRegion, ImageShape, ImageSource, SourceError};

use crate::{Error, Result};

/// A regular grid of windows over an image, aligned to the chunks as far as the pixel limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The extent of the image.
    pub(crate) shape: ImageShape,
    /// The extent of a window; those at the far edges are cut.
    pub(crate) block: ImageShape,
}

impl Grid {
    /// Windows of one chunk each, or of an even share of one where a chunk has more than `max_pixels`.
    pub(crate) fn new(shape: ImageShape, chunk: ImageShape, max_pixels: usize) -> Self {
        let fit = |chunk: usize, n: usize| chunk.clamp(1, n.max(1));
        let mut block = ImageShape::new(
            fit(chunk.c, shape.c),
            fit(chunk.z, shape.z),
            fit(chunk.y, shape.y),
            fit(chunk.x, shape.x),
        );
        // Slices and channels are halved first: windows then keep their rows whole for as long as possible.
        while pixels(block) > max_pixels.max(1) {
            let axis = [&mut block.z, &mut block.c, &mut block.y, &mut block.x]
                .into_iter()
                .find(|extent| **extent > 1);
            match axis {
                Some(extent) => *extent = extent.div_ceil(2),
                None => break,
            }
        }
        Self { shape, block }
    }

    /// The number of windows along `c, z, y, x`.
    pub(crate) fn counts(&self) -> ImageShape {
        ImageShape::new(
            self.shape.c.div_ceil(self.block.c),
            self.shape.z.div_ceil(self.block.z),
            self.shape.y.div_ceil(self.block.y),
            self.shape.x.div_ceil(self.block.x),
        )
    }

    /// The window at these places of the grid.
    pub(crate) fn region(&self, c: usize, z: usize, y: usize, x: usize) -> ImageRegion {
        let range =
            |i: usize, step: usize, n: usize| -> Range<usize> { i * step..((i + 1) * step).min(n) };
        ImageRegion {
            c: range(c, self.block.c, self.shape.c),
            z: range(z, self.block.z, self.shape.z),
            y: range(y, self.block.y, self.shape.y),
            x: range(x, self.block.x, self.shape.x),
        }
    }
}

/// The number of pixels of an extent, capped instead of overflowing.
pub(crate) fn pixels(shape: ImageShape) -> usize {
    shape
        .c
        .saturating_mul(shape.z)
        .saturating_mul(shape.y)
        .saturating_mul(shape.x)
}

/// Reads a window into a buffer of its own.
pub(crate) fn read(image: &dyn ImageSource, region: &ImageRegion) -> Result<Vec<f32>> {
    let n = region.checked_len().ok_or_else(|| {
        SourceError::new(
            image.name(),
            "the window has more pixels than can be counted",
        )
    })?;
    let mut out = vec![0.0; n];
    image.read_region(region, &mut out)?;
    if !image.data_type().is_integer() {
        check_finite(image, region, &out)?;
    }
    Ok(out)
}

/// Refuses NaN and infinities and says where they are.
fn check_finite(image: &dyn ImageSource, region: &ImageRegion, values: &[f32]) -> Result<()> {
    let Some(i) = values.iter().position(|v| !v.is_finite()) else {
        return Ok(());
    };
    let shape = region.shape();
    let (x, rest) = (i % shape.x, i / shape.x);
    let (y, rest) = (rest % shape.y, rest / shape.y);
    let (z, c) = (rest % shape.z, rest / shape.z);
    let channel = region.c.start + c;
    Err(Error::NotFinitePixel {
        image: image.name().to_owned(),
        channel,
        channel_name: image.channels().get(channel).cloned().unwrap_or_default(),
        z: region.z.start + z,
        y: region.y.start + y,
        x: region.x.start + x,
        value: values[i],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_tile_the_image_exactly_once() {
        let shape = ImageShape::new(3, 5, 17, 11);
        for (chunk, limit) in [
            (ImageShape::new(1, 2, 4, 5), 1_000),
            (ImageShape::new(3, 5, 17, 11), 100),
            (ImageShape::new(9, 9, 99, 99), usize::MAX),
            (ImageShape::new(0, 0, 0, 0), 1),
        ] {
            let grid = Grid::new(shape, chunk, limit);
            assert!(pixels(grid.block) <= limit);
            let n = grid.counts();
            let mut covered = 0;
            for c in 0..n.c {
                for z in 0..n.z {
                    for y in 0..n.y {
                        for x in 0..n.x {
                            let region = grid.region(c, z, y, x);
                            assert!(region.is_within(shape));
                            covered += region.checked_len().unwrap();
                        }
                    }
                }
            }
            assert_eq!(covered, pixels(shape));
        }
    }
}

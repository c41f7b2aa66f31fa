//! Images and label masks that windows can be read from.

use std::ops::Range;

use ndarray::{Array3, Array4};
use serde::{Deserialize, Serialize};

use crate::{ShapeError, SourceError};

/// The type of the stored pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say all")]
pub enum DataType {
    Bool,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Float32,
    Float64,
}

impl DataType {
    /// Bytes per pixel.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::UInt8 | Self::Int8 => 1,
            Self::UInt16 | Self::Int16 | Self::Float16 => 2,
            Self::UInt32 | Self::Int32 | Self::Float32 => 4,
            Self::UInt64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// Whether pixels are whole numbers.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        !matches!(self, Self::Float16 | Self::Float32 | Self::Float64)
    }
}

/// The extent of an image: `c, z, y, x`; masks have `c = 1`, 2-D images `z = 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the axes, named as everywhere")]
pub struct ImageShape {
    pub c: usize,
    pub z: usize,
    pub y: usize,
    pub x: usize,
}

impl ImageShape {
    /// An extent in the order `c, z, y, x`.
    #[must_use]
    pub const fn new(c: usize, z: usize, y: usize, x: usize) -> Self {
        Self { c, z, y, x }
    }

    /// The whole extent as a region.
    #[must_use]
    pub fn region(self) -> ImageRegion {
        ImageRegion {
            c: 0..self.c,
            z: 0..self.z,
            y: 0..self.y,
            x: 0..self.x,
        }
    }
}

/// A window of an image: half-open ranges along `c, z, y, x`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the axes, named as everywhere")]
pub struct ImageRegion {
    pub c: Range<usize>,
    pub z: Range<usize>,
    pub y: Range<usize>,
    pub x: Range<usize>,
}

impl ImageRegion {
    /// The number of pixels, or `None` when that is no `usize`.
    #[must_use]
    pub fn checked_len(&self) -> Option<usize> {
        [&self.c, &self.z, &self.y, &self.x]
            .iter()
            .try_fold(1_usize, |n, range| n.checked_mul(range.len()))
    }

    /// The extent of the window.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        ImageShape::new(self.c.len(), self.z.len(), self.y.len(), self.x.len())
    }

    /// Whether the window lies within an image of this extent and no range is reversed.
    #[must_use]
    pub fn is_within(&self, shape: ImageShape) -> bool {
        let fits = |r: &Range<usize>, n: usize| r.start <= r.end && r.end <= n;
        fits(&self.c, shape.c)
            && fits(&self.z, shape.z)
            && fits(&self.y, shape.y)
            && fits(&self.x, shape.x)
    }
}

/// An image that windows can be read from, whatever it is stored in.
///
/// Pixels are handed out as `f32`: exact for integers up to 2²⁴.
pub trait ImageSource: Send + Sync {
    /// The name of the image, for messages.
    fn name(&self) -> &str;

    /// The extent.
    fn shape(&self) -> ImageShape;

    /// The extent of the blocks in which pixels are stored: read along these and each block is decoded once.
    fn chunk_shape(&self) -> ImageShape;

    /// The type of the stored pixels.
    fn data_type(&self) -> DataType;

    /// The names of the channels, one each.
    fn channels(&self) -> &[String];

    /// Fills `out` with the pixels of a window, in the order `c, z, y, x`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when the window reaches outside the image, `out` has not one place per pixel, or the data cannot be read.
    fn read_region(&self, region: &ImageRegion, out: &mut [f32]) -> Result<(), SourceError>;
}

/// A mask that windows can be read from: each pixel holds the number of the object that covers it, 0 where there is none.
pub trait LabelSource: Send + Sync {
    /// The name of the mask, for messages.
    fn name(&self) -> &str;

    /// The extent; `c` is 1.
    fn shape(&self) -> ImageShape;

    /// The extent of the blocks in which pixels are stored.
    fn chunk_shape(&self) -> ImageShape;

    /// Fills `out` with the labels of a window, in the order `z, y, x`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when the window reaches outside the mask, `out` has not one place per pixel, or the data cannot be read.
    fn read_region(&self, region: &ImageRegion, out: &mut [u64]) -> Result<(), SourceError>;
}

/// Checks a window against an extent and a buffer, as every source must before it reads.
fn check(
    name: &str,
    shape: ImageShape,
    region: &ImageRegion,
    found: usize,
) -> Result<(), SourceError> {
    if !region.is_within(shape) {
        return Err(SourceError::new(
            name,
            format!("window {region:?} is not within {shape:?}"),
        ));
    }
    match region.checked_len() {
        Some(expected) => ShapeError::check_len("window", expected, found)
            .map_err(|error| SourceError::new(name, error)),
        None => Err(SourceError::new(
            name,
            "the window has more pixels than can be counted",
        )),
    }
}

/// An image in memory.
///
/// # Examples
///
/// ```
/// use ndarray::Array4;
/// use phenocoder_core::{ImageRegion, ImageSource, MemoryImage};
///
/// let pixels = Array4::from_shape_fn((1, 1, 4, 4), |(_, _, y, x)| (10 * y + x) as f32);
/// let image = MemoryImage::new("tile", pixels, vec!["DAPI".into()])?;
/// let mut window = [0.0; 2];
/// image.read_region(&ImageRegion { c: 0..1, z: 0..1, y: 2..3, x: 1..3 }, &mut window)?;
/// assert_eq!(window, [21.0, 22.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryImage {
    name: String,
    pixels: Array4<f32>,
    channels: Vec<String>,
}

impl MemoryImage {
    /// An image with pixels `[c, z, y, x]` and one name per channel.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when the number of names is not the number of channels.
    pub fn new(
        name: impl Into<String>,
        pixels: Array4<f32>,
        channels: Vec<String>,
    ) -> Result<Self, ShapeError> {
        ShapeError::check_len("channels", pixels.shape()[0], channels.len())?;
        let pixels = pixels.as_standard_layout().into_owned();
        Ok(Self {
            name: name.into(),
            pixels,
            channels,
        })
    }
}

impl ImageSource for MemoryImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> ImageShape {
        let (c, z, y, x) = self.pixels.dim();
        ImageShape::new(c, z, y, x)
    }

    fn chunk_shape(&self) -> ImageShape {
        let shape = self.shape();
        ImageShape::new(1, 1, shape.y, shape.x)
    }

    fn data_type(&self) -> DataType {
        DataType::Float32
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn read_region(&self, region: &ImageRegion, out: &mut [f32]) -> Result<(), SourceError> {
        check(&self.name, self.shape(), region, out.len())?;
        let ImageRegion { c, z, y, x } = region.clone();
        let window = self.pixels.slice(ndarray::s![c, z, y, x]);
        for (place, value) in out.iter_mut().zip(window.iter()) {
            *place = *value;
        }
        Ok(())
    }
}

/// A mask in memory.
#[derive(Debug, Clone)]
pub struct MemoryLabels {
    name: String,
    labels: Array3<u64>,
}

impl MemoryLabels {
    /// A mask with labels `[z, y, x]`.
    #[must_use]
    pub fn new(name: impl Into<String>, labels: Array3<u64>) -> Self {
        Self {
            name: name.into(),
            labels,
        }
    }
}

impl LabelSource for MemoryLabels {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> ImageShape {
        let (z, y, x) = self.labels.dim();
        ImageShape::new(1, z, y, x)
    }

    fn chunk_shape(&self) -> ImageShape {
        let shape = self.shape();
        ImageShape::new(1, 1, shape.y, shape.x)
    }

    fn read_region(&self, region: &ImageRegion, out: &mut [u64]) -> Result<(), SourceError> {
        check(&self.name, self.shape(), region, out.len())?;
        let ImageRegion { z, y, x, .. } = region.clone();
        let window = self.labels.slice(ndarray::s![z, y, x]);
        for (place, value) in out.iter_mut().zip(window.iter()) {
            *place = *value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_outside_the_image_is_an_error() {
        let image = MemoryImage::new("i", Array4::zeros((1, 1, 3, 3)), vec!["a".into()]).unwrap();
        let outside = ImageRegion {
            c: 0..1,
            z: 0..1,
            y: 0..4,
            x: 0..3,
        };
        assert!(image.read_region(&outside, &mut [0.0; 12]).is_err());
        let small = ImageRegion {
            c: 0..1,
            z: 0..1,
            y: 0..3,
            x: 0..3,
        };
        assert!(image.read_region(&small, &mut [0.0; 8]).is_err());
    }

    #[test]
    fn labels_keep_all_64_bits() {
        let mask = MemoryLabels::new("m", Array3::from_elem((1, 1, 1), u64::MAX - 1));
        let mut out = [0];
        mask.read_region(&mask.shape().region(), &mut out).unwrap();
        assert_eq!(out, [u64::MAX - 1]);
    }
}

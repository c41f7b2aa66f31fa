//! Images.

use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, ImageSource, SourceError};
use serde_json::Value;

use super::Multiscale;
use super::multiscale::channel_name;
use super::raster::Raster;
use crate::array::ChunkCache;
use crate::node::Node;
use crate::root::Root;
use crate::transform::Transformation;
use crate::{Error, Result};

/// An image of a store: windows are read on demand, at one of its levels.
///
/// Chunks are decoded once and kept in the store's cache;
/// reading windows in the order of [`ImageSource::chunk_shape`] is fastest.
/// Pixels of any stored type are handed out as `f32`.
#[derive(Debug, Clone)]
#[doc(alias = "Image2DModel")]
#[doc(alias = "Image3DModel")]
pub struct Image {
    raster: Raster,
    channels: Vec<String>,
    labels: Vec<Value>,
}

impl Image {
    pub(crate) fn open(
        root: &Arc<Root>,
        cache: &Arc<ChunkCache>,
        name: &str,
        node: &Node,
    ) -> Result<Self> {
        let multiscale = Multiscale::parse(node, false)?;
        let raster = Raster::open(root, cache, name, node, &multiscale)?;
        let n = raster.shape().c;
        let labels = match multiscale.channels {
            Some(labels) if labels.len() == n => labels,
            Some(labels) => {
                let expected = format!("{n} channels as in the array");
                return Err(Error::invalid(&node.key, expected, labels.len()));
            }
            // An array can claim any number of channels; names are made for so many only.
            None if n <= MAX_UNNAMED => (0..n).map(Value::from).collect(),
            None => return Err(Error::invalid(&node.key, "names of the channels", "none")),
        };
        Ok(Self {
            channels: labels.iter().map(channel_name).collect(),
            labels,
            raster,
        })
    }

    /// The number of levels: 1 for an image without a pyramid.
    #[must_use]
    pub fn n_levels(&self) -> usize {
        self.raster.n_levels()
    }

    /// The same image at another level; 0 is the finest.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when there is no such level.
    pub fn level(&self, level: usize) -> Result<Self> {
        Ok(Self {
            raster: self.raster.at_level(level)?,
            channels: self.channels.clone(),
            labels: self.labels.clone(),
        })
    }

    /// The stored axes: `c, y, x` or `c, z, y, x`.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.raster.axes
    }

    /// The maps into coordinate systems.
    #[must_use]
    pub fn transformations(&self) -> &[Transformation] {
        &self.raster.transformations
    }

    /// The length of a pixel of this level along `z, y, x` in a coordinate system,
    /// or `None` where the image is not in it.
    #[must_use]
    pub fn pixel_size(&self, system: &str) -> Option<[f64; 3]> {
        self.raster.pixel_size(system)
    }

    /// The names of the channels as they are stored: text or whole numbers.
    #[must_use]
    pub fn channel_labels(&self) -> &[Value] {
        &self.labels
    }
}

/// The most channels without names.
const MAX_UNNAMED: usize = 1 << 20;

impl ImageSource for Image {
    fn name(&self) -> &str {
        &self.raster.name
    }

    fn shape(&self) -> ImageShape {
        self.raster.shape()
    }

    fn chunk_shape(&self) -> ImageShape {
        self.raster.chunk_shape()
    }

    fn data_type(&self) -> DataType {
        self.raster.data_type()
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn read_region(&self, region: &ImageRegion, out: &mut [f32]) -> Result<(), SourceError> {
        self.raster.read(region, out)
    }
}

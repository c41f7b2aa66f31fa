//! Images.

use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, ImageSource, SourceError};
use serde_json::Value;

use super::Multiscale;
use super::multiscale::channel_name;
use super::raster::Raster;
use crate::array::ChunkCache;
use crate::array::StoredPixel;
use crate::node::Node;
use crate::root::Root;
use crate::transform::Transformation;
use crate::{Error, Result};

/// An image of a store: windows are read on demand, at one of its levels.
///
/// Chunks are decoded once and kept in the store's cache;
/// reading windows in the order of [`ImageSource::chunk_shape`] is fastest.
/// Pixels of any stored type are handed out as `f32`, or exactly by [`read_typed`](Self::read_typed).
#[derive(Debug, Clone)]
#[doc(alias = "Image2DModel")]
#[doc(alias = "Image3DModel")]
pub struct Image {
    raster: Raster,
    channels: Vec<String>,
    labels: Vec<Value>,
    omero: Option<Value>,
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
            omero: multiscale.omero,
            raster,
        })
    }

    pub(crate) fn raster(&self) -> &Raster {
        &self.raster
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
            omero: self.omero.clone(),
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
    /// or `None` where the image is not in it or the map into it cannot be used ([`Transformation::to_affine`] says why).
    #[must_use]
    pub fn pixel_size(&self, system: &str) -> Option<[f64; 3]> {
        self.raster.pixel_size(system)
    }

    /// The names of the channels as they are stored: text or whole numbers.
    #[must_use]
    pub fn channel_labels(&self) -> &[Value] {
        &self.labels
    }

    /// How viewers show the image: `omero` of OME-NGFF as it is stored, with colors and windows where there are some.
    #[must_use]
    pub fn omero(&self) -> Option<&Value> {
        self.omero.as_ref()
    }

    /// Fills `out` with the pixels of a window in the stored type, in the order `c, z, y, x`.
    ///
    /// Nothing is converted: 64-bit pixels keep all their bits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ndarray::Array4;
    /// # use phenocoder_core::{DataType, ImageSource, MemoryImage, NoProgress};
    /// # use phenocoder_io::{ContainerVersion, ImageWriteOptions, Store};
    /// # let folder = tempfile::tempdir()?;
    /// # let mut store = Store::create(&folder.path().join("a.zarr"), ContainerVersion::V02)?;
    /// # let pixels = MemoryImage::new("a", Array4::from_elem((1, 1, 8, 8), 7.0), vec!["DAPI".into()])?;
    /// # store.write_image("a", &pixels, &ImageWriteOptions::new(DataType::UInt16), &NoProgress)?;
    /// let image = store.image("a")?;
    /// let mut pixels = [0_u16; 64];
    /// image.read_typed(&image.shape().region(), &mut pixels)?;
    /// assert_eq!(pixels, [7; 64]);
    /// assert!(image.read_typed(&image.shape().region(), &mut [0_u8; 64]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DataType`] when `T` is not the stored type, [`Error::Source`] when the window reaches outside the image,
    /// [`Error::Shape`] when `out` has not one place per pixel, and others when the data cannot be read.
    pub fn read_typed<T: StoredPixel>(&self, region: &ImageRegion, out: &mut [T]) -> Result<()> {
        self.raster.read_stored(vec![(region, out)])
    }

    /// Fills many windows, each chunk that any of them touches being decoded once.
    ///
    /// `out` has memory for every window, as for [`read_region`](ImageSource::read_region).
    /// Chunks are decoded in parallel and not kept beyond that, but those that are in the cache are used.
    /// (Every 262,144 overlaps of a window and a chunk, a chunk may be decoded again.)
    ///
    /// # Errors
    ///
    /// As [`read_typed`](Self::read_typed), whatever the stored type is; [`Error::Shape`] also when there is not one
    /// buffer per window.
    #[doc(alias = "Batch")]
    pub fn read_regions<B: AsMut<[f32]>>(
        &self,
        regions: &[ImageRegion],
        out: &mut [B],
    ) -> Result<()> {
        self.raster.read(Raster::pairs(regions, out)?)
    }

    /// As [`read_regions`](Self::read_regions), in the stored type.
    ///
    /// # Errors
    ///
    /// As [`read_typed`](Self::read_typed) and [`read_regions`](Self::read_regions).
    pub fn read_regions_typed<T: StoredPixel, B: AsMut<[T]>>(
        &self,
        regions: &[ImageRegion],
        out: &mut [B],
    ) -> Result<()> {
        self.raster.read_stored(Raster::pairs(regions, out)?)
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
        self.raster
            .read(vec![(region, out)])
            .map_err(|error| self.raster.source_error(error))
    }
}

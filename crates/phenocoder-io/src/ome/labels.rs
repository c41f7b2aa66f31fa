//! Label masks.

use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, LabelSource, SourceError};

use super::Multiscale;
use super::raster::Raster;
use crate::array::ChunkCache;
use crate::array::StoredPixel;
use crate::node::Node;
use crate::root::Root;
use crate::transform::Transformation;
use crate::{Error, Result};

/// A label mask of a store: windows are read on demand, at one of its levels.
///
/// Labels of any whole-number type are handed out exactly, as `u64`; 0 is the background.
#[derive(Debug, Clone)]
#[doc(alias = "Labels2DModel")]
#[doc(alias = "Labels3DModel")]
pub struct Labels {
    raster: Raster,
}

impl Labels {
    pub(crate) fn open(
        root: &Arc<Root>,
        cache: &Arc<ChunkCache>,
        name: &str,
        node: &Node,
    ) -> Result<Self> {
        let multiscale = Multiscale::parse(node, true)?;
        let raster = Raster::open(root, cache, name, node, &multiscale)?;
        if let Some(other) = raster.data_types().iter().find(|t| !t.is_integer()) {
            return Err(Error::DataType {
                key: node.key.clone(),
                expected: "whole numbers",
                found: format!("{other:?}"),
            });
        }
        Ok(Self { raster })
    }

    pub(crate) fn raster(&self) -> &Raster {
        &self.raster
    }

    /// The number of levels: 1 for a mask without a pyramid.
    #[must_use]
    pub fn n_levels(&self) -> usize {
        self.raster.n_levels()
    }

    /// The same mask at another level; 0 is the finest.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when there is no such level.
    pub fn level(&self, level: usize) -> Result<Self> {
        let raster = self.raster.at_level(level)?;
        Ok(Self { raster })
    }

    /// The stored axes: `y, x` or `z, y, x`.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.raster.axes
    }

    /// The type of the stored labels.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.raster.data_type()
    }

    /// The maps into coordinate systems.
    #[must_use]
    pub fn transformations(&self) -> &[Transformation] {
        &self.raster.transformations
    }

    /// The length of a pixel of this level along `z, y, x` in a coordinate system,
    /// or `None` where the mask is not in it or the map into it cannot be used ([`Transformation::to_affine`] says why).
    #[must_use]
    pub fn pixel_size(&self, system: &str) -> Option<[f64; 3]> {
        self.raster.pixel_size(system)
    }

    /// Fills `out` with the labels of a window in the stored type, in the order `z, y, x`.
    ///
    /// # Errors
    ///
    /// As [`Image::read_typed`](crate::Image::read_typed).
    pub fn read_typed<T: StoredPixel>(&self, region: &ImageRegion, out: &mut [T]) -> Result<()> {
        self.raster.read_stored(vec![(region, out)])
    }

    /// Fills many windows, each chunk that any of them touches being decoded once.
    ///
    /// # Errors
    ///
    /// As [`Image::read_regions`](crate::Image::read_regions), and [`Error::InvalidMetadata`] for a negative label.
    pub fn read_regions<B: AsMut<[u64]>>(
        &self,
        regions: &[ImageRegion],
        out: &mut [B],
    ) -> Result<()> {
        self.raster.read(Raster::pairs(regions, out)?)?;
        out.iter_mut()
            .try_for_each(|out| self.check_sign(out.as_mut()))
    }

    /// As [`read_regions`](Self::read_regions), in the stored type.
    ///
    /// # Errors
    ///
    /// As [`Image::read_regions_typed`](crate::Image::read_regions_typed).
    pub fn read_regions_typed<T: StoredPixel, B: AsMut<[T]>>(
        &self,
        regions: &[ImageRegion],
        out: &mut [B],
    ) -> Result<()> {
        self.raster.read_stored(Raster::pairs(regions, out)?)
    }

    /// Refuses what was a negative number before it was converted.
    fn check_sign(&self, labels: &[u64]) -> Result<()> {
        let is_signed = matches!(
            self.data_type(),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
        );
        if is_signed && labels.iter().any(|&label| i64::try_from(label).is_err()) {
            return Err(Error::invalid(
                &self.raster.key,
                "labels of at least 0",
                "a negative one",
            ));
        }
        Ok(())
    }
}

impl LabelSource for Labels {
    fn name(&self) -> &str {
        &self.raster.name
    }

    fn shape(&self) -> ImageShape {
        self.raster.shape()
    }

    fn chunk_shape(&self) -> ImageShape {
        self.raster.chunk_shape()
    }

    fn read_region(&self, region: &ImageRegion, out: &mut [u64]) -> Result<(), SourceError> {
        self.raster
            .read(vec![(region, &mut *out)])
            .and_then(|()| self.check_sign(out))
            .map_err(|error| self.raster.source_error(error))
    }
}

//! What images and masks have in common: levels and windows.

use std::ops::Range;
use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, ShapeError, SourceError};

use super::Multiscale;
use crate::array::{ChunkCache, Pixel, ZarrArray};
use crate::node::Node;
use crate::path;
use crate::root::Root;
use crate::transform::Transformation;
use crate::{Error, Result};

/// The levels of an image or mask.
#[derive(Debug, Clone)]
pub(crate) struct Raster {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) axes: Vec<String>,
    pub(crate) transformations: Vec<Transformation>,
    levels: Vec<Arc<ZarrArray>>,
    shapes: Vec<ImageShape>,
    data_types: Vec<DataType>,
    level: usize,
    cache: Arc<ChunkCache>,
}

impl Raster {
    pub(crate) fn open(
        root: &Arc<Root>,
        cache: &Arc<ChunkCache>,
        name: &str,
        node: &Node,
        multiscale: &Multiscale,
    ) -> Result<Self> {
        let key = node.key.as_str();
        let mut levels = Vec::with_capacity(multiscale.paths.len());
        let mut shapes = Vec::with_capacity(multiscale.paths.len());
        let mut data_types = Vec::with_capacity(multiscale.paths.len());
        for level in &multiscale.paths {
            let array = ZarrArray::open(root, &path::join(key, level)?, node.format)?;
            let found = array.shape().len();
            if found != multiscale.axes.len() {
                let expected = format!(
                    "{} axes ({})",
                    multiscale.axes.len(),
                    multiscale.axes.concat()
                );
                return Err(Error::invalid(
                    array.key(),
                    expected,
                    format!("{found} axes"),
                ));
            }
            data_types.push(array.element().number(array.key(), "pixels")?);
            let shape = image_shape(&multiscale.axes, array.shape(), array.key())?;
            let channels = shapes
                .first()
                .map_or(shape.c, |finest: &ImageShape| finest.c);
            if shape.c != channels {
                let expected = format!("{channels} channels as in the finest level");
                return Err(Error::invalid(array.key(), expected, shape.c));
            }
            shapes.push(shape);
            levels.push(Arc::new(array));
        }
        if levels.is_empty() {
            return Err(Error::missing(key, "at least one level"));
        }
        Ok(Self {
            name: name.to_owned(),
            key: key.to_owned(),
            axes: multiscale.axes.clone(),
            transformations: multiscale.transformations.clone(),
            levels,
            shapes,
            data_types,
            level: 0,
            cache: Arc::clone(cache),
        })
    }

    pub(crate) fn n_levels(&self) -> usize {
        self.levels.len()
    }

    pub(crate) fn at_level(&self, level: usize) -> Result<Self> {
        if level >= self.levels.len() {
            return Err(Error::NoEntry {
                key: self.key.clone(),
                what: "level",
                name: level.to_string(),
                available: crate::error::listing((0..self.levels.len()).map(|l| l.to_string())),
            });
        }
        Ok(Self {
            level,
            ..self.clone()
        })
    }

    pub(crate) fn shape(&self) -> ImageShape {
        self.shapes[self.level]
    }

    pub(crate) fn data_type(&self) -> DataType {
        self.data_types[self.level]
    }

    /// The types of the pixels of all levels.
    pub(crate) fn data_types(&self) -> &[DataType] {
        &self.data_types
    }

    pub(crate) fn chunk_shape(&self) -> ImageShape {
        let block = self.array().block_shape();
        let shape = self.shape();
        let clamp = |n: u64, most: usize| usize::try_from(n).unwrap_or(usize::MAX).min(most.max(1));
        let mut chunk = ImageShape::new(1, 1, 1, 1);
        for (axis, &n) in self.axes.iter().zip(block) {
            match axis.as_str() {
                "c" => chunk.c = clamp(n, shape.c),
                "z" => chunk.z = clamp(n, shape.z),
                "y" => chunk.y = clamp(n, shape.y),
                _ => chunk.x = clamp(n, shape.x),
            }
        }
        chunk
    }

    pub(crate) fn array(&self) -> &ZarrArray {
        &self.levels[self.level]
    }

    /// How long a pixel of this level is along `z, y, x` in a coordinate system.
    pub(crate) fn pixel_size(&self, system: &str) -> Option<[f64; 3]> {
        let affine = self
            .transformations
            .iter()
            .find(|t| t.target() == system)?
            .to_affine()
            .ok()?;
        let (finest, here) = (self.shapes[0], self.shape());
        let ratio = |finest: usize, here: usize| finest as f64 / here.max(1) as f64;
        let along = |axis, ratio: f64| affine.step_length(axis).map_or(1.0, |s| s * ratio);
        Some([
            along("z", ratio(finest.z, here.z)),
            along("y", ratio(finest.y, here.y)),
            along("x", ratio(finest.x, here.x)),
        ])
    }

    pub(crate) fn read<T: Pixel>(
        &self,
        region: &ImageRegion,
        out: &mut [T],
    ) -> Result<(), SourceError> {
        if !region.is_within(self.shape()) {
            let problem = format!("window {region:?} is not within {:?}", self.shape());
            return Err(SourceError::new(self.key.as_str(), problem));
        }
        let expected = region.checked_len().unwrap_or(usize::MAX);
        ShapeError::check_len("window", expected, out.len())
            .map_err(|error| SourceError::new(self.key.as_str(), error))?;
        let window: Vec<Range<u64>> = self
            .axes
            .iter()
            .map(|axis| match axis.as_str() {
                "c" => &region.c,
                "z" => &region.z,
                "y" => &region.y,
                _ => &region.x,
            })
            .map(|r| r.start as u64..r.end as u64)
            .collect();
        self.array()
            .read_window(&window, Some(&self.cache), out)
            .map_err(|error| SourceError::new(self.key.as_str(), error))
    }
}

fn image_shape(axes: &[String], shape: &[u64], key: &str) -> Result<ImageShape> {
    let mut out = ImageShape::new(1, 1, 1, 1);
    for (axis, &n) in axes.iter().zip(shape) {
        let n = usize::try_from(n)
            .map_err(|_| Error::invalid(key, "a length that this machine can address", n))?;
        match axis.as_str() {
            "c" => out.c = n,
            "z" => out.z = n,
            "y" => out.y = n,
            _ => out.x = n,
        }
    }
    Ok(out)
}

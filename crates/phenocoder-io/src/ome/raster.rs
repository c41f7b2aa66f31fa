//! What images and masks have in common: levels and windows.

use std::ops::Range;
use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, ShapeError, SourceError};

use super::Multiscale;
use crate::array::{
    Bytes, ChunkCache, Converted, Exact, Pixel, StoredPixel, Target, Window, ZarrArray,
    zarr_name as name_of,
};
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

    /// Fills windows of this level with converted pixels.
    pub(crate) fn read<T: Pixel>(&self, windows: Vec<(&ImageRegion, &mut [T])>) -> Result<()> {
        self.read_into(&Converted::from(self.data_type()), windows)
    }

    /// Fills windows of this level with pixels as they are stored.
    pub(crate) fn read_stored<T: StoredPixel>(
        &self,
        windows: Vec<(&ImageRegion, &mut [T])>,
    ) -> Result<()> {
        if T::DATA_TYPE != self.data_type() {
            return Err(Error::DataType {
                key: self.array().key().to_owned(),
                expected: name_of(T::DATA_TYPE),
                found: name_of(self.data_type()).to_owned(),
            });
        }
        self.read_into(&Exact::new(), windows)
    }

    /// Fills a window of this level with the bytes of pixels as they are stored, in native order.
    pub(crate) fn read_bytes(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()> {
        let size = self.data_type().size();
        let ranges = self.ranges(region, out.len() / size)?;
        let windows = vec![Window { ranges, out }];
        self.array()
            .read_windows(&Bytes { size }, windows, Some(&self.cache))
    }

    /// The levels that are coarser than this one.
    pub(crate) fn coarser_levels(&self) -> Result<Vec<Self>> {
        let coarser = self.level + 1..self.levels.len();
        coarser.map(|level| self.at_level(level)).collect()
    }

    /// The maps of this level into coordinate systems, where it is the finest one and they are known as they are.
    pub(crate) fn finest_transformations(&self) -> Option<Vec<Transformation>> {
        (self.level == 0).then(|| self.transformations.clone())
    }

    fn read_into<T: Target>(
        &self,
        target: &T,
        windows: Vec<(&ImageRegion, &mut [T::Unit])>,
    ) -> Result<()> {
        let windows = windows
            .into_iter()
            .map(|(region, out)| {
                let ranges = self.ranges(region, out.len())?;
                Ok(Window { ranges, out })
            })
            .collect::<Result<Vec<_>>>()?;
        self.array()
            .read_windows(target, windows, Some(&self.cache))
    }

    /// A window along the stored axes, checked against the extent and against the memory for it.
    fn ranges(&self, region: &ImageRegion, len: usize) -> Result<Vec<Range<u64>>> {
        if !region.is_within(self.shape()) {
            let problem = format!("window {region:?} is not within {:?}", self.shape());
            return Err(SourceError::new(self.key.as_str(), problem).into());
        }
        let expected = region.checked_len().unwrap_or(usize::MAX);
        ShapeError::check_len("window", expected, len)?;
        Ok(self
            .axes
            .iter()
            .map(|axis| match axis.as_str() {
                "c" => &region.c,
                "z" => &region.z,
                "y" => &region.y,
                _ => &region.x,
            })
            .map(|r| r.start as u64..r.end as u64)
            .collect())
    }

    /// Pairs windows with the memory for them, of which there must be as many.
    pub(crate) fn pairs<'a, T, B: AsMut<[T]>>(
        regions: &'a [ImageRegion],
        out: &'a mut [B],
    ) -> Result<Vec<(&'a ImageRegion, &'a mut [T])>> {
        ShapeError::check_len("windows", regions.len(), out.len())?;
        Ok(regions.iter().zip(out.iter_mut().map(B::as_mut)).collect())
    }

    /// An error of this crate as one of a source of pixels.
    pub(crate) fn source_error(&self, error: Error) -> SourceError {
        match error {
            Error::Source(error) => error,
            other => SourceError::new(self.key.as_str(), other),
        }
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

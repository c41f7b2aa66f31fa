//! Images and masks in a region.

use phenocoder_core::ImageRegion;

use super::raster::Raster;
use super::{Image, Labels};
use crate::region::{BoundingBox, Extent, affine_into, pixels, reach};
use crate::{Error, Result};

impl Raster {
    /// The pixels of this level whose centers lie in a box, or in the smallest upright box around it.
    fn region_within(&self, region: &BoundingBox) -> Result<Option<ImageRegion>> {
        let affine = region.map(&self.key, &self.transformations)?;
        let back = affine.inverse().ok_or_else(|| Error::InvalidTransform {
            key: self.key.clone(),
            problem: format!("the map into `{}` cannot be undone", region.system()),
        })?;
        let ranges = reach(&back, &region.ranges(&affine.axes));
        let along = |axis: &str, n: usize, finest: usize| {
            let at = affine.axes.iter().position(|a| a == axis);
            at.map_or(0..n, |at| pixels(ranges[at], n, finest))
        };
        let (here, finest) = (self.shape(), self.at_level(0)?.shape());
        let found = ImageRegion {
            c: 0..here.c,
            z: along("z", here.z, finest.z),
            y: along("y", here.y, finest.y),
            x: along("x", here.x, finest.x),
        };
        let is_empty = found.z.is_empty() || found.y.is_empty() || found.x.is_empty();
        Ok((!is_empty).then_some(found))
    }

    /// The smallest box around all pixels in a coordinate system.
    fn extent(&self, system: &str) -> Result<Option<BoundingBox>> {
        let affine = affine_into(&self.key, &self.transformations, system)?;
        let finest = self.at_level(0)?.shape();
        let ranges: Vec<(f64, f64)> = affine
            .axes
            .iter()
            .map(|axis| match axis.as_str() {
                "z" => (0.0, finest.z as f64),
                "y" => (0.0, finest.y as f64),
                _ => (0.0, finest.x as f64),
            })
            .collect();
        let mut extent = Extent::new(&affine.axes);
        for (axis, (from, to)) in reach(&affine, &ranges).into_iter().enumerate() {
            extent.add(axis, from, to);
        }
        Ok(extent.finish(system))
    }
}

macro_rules! queries {
    ($type:ty) => {
        impl $type {
            /// The window of this level that lies in a box, or `None` when no pixel does.
            ///
            /// A pixel does when its center is in the box or on its edge, as in Python.
            /// Where the element lies turned or slanted in the system, the window is the smallest upright one around
            /// the box, and holds pixels outside of it too.
            /// All channels are in the window.
            ///
            /// # Errors
            ///
            /// [`Error::NoEntry`] when the element has no map into the system, and [`Error::InvalidTransform`] when the
            /// map cannot be undone.
            ///
            /// # Examples
            ///
            /// ```
            /// use ndarray::Array3;
            /// use phenocoder_core::{MemoryLabels, NoProgress};
            /// use phenocoder_io::{BoundingBox, ContainerVersion, LabelWriteOptions, Store};
            ///
            /// let folder = tempfile::tempdir()?;
            /// let mut store = Store::create(folder.path().join("tissue.zarr"), ContainerVersion::V02)?;
            /// let mask = MemoryLabels::new("nuclei", Array3::zeros((1, 64, 64)));
            /// let options = LabelWriteOptions::default().with_scale([1.0, 0.5, 0.5]);
            /// store.write_labels("nuclei", &mask, &options, &NoProgress)?;
            ///
            /// let region = BoundingBox::new("global", &["x", "y"], &[0.0, 1.0], &[8.0, 3.0])?;
            /// let window = store.labels("nuclei")?.region_within(&region)?.unwrap();
            /// assert_eq!((window.x, window.y), (0..16, 2..6));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[doc(alias = "bounding_box_query")]
            pub fn region_within(&self, region: &BoundingBox) -> Result<Option<ImageRegion>> {
                self.raster().region_within(region)
            }

            /// The smallest box around all pixels in a coordinate system; `None` without pixels that lie somewhere.
            ///
            /// # Errors
            ///
            /// [`Error::NoEntry`] when the element has no map into the system, and [`Error::InvalidTransform`] when it
            /// has one that cannot be used.
            #[doc(alias = "get_extent")]
            pub fn extent(&self, system: &str) -> Result<Option<BoundingBox>> {
                self.raster().extent(system)
            }
        }
    };
}

queries!(Image);
queries!(Labels);

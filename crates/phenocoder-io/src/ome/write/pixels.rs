//! Where the pixels of a new image or mask come from, as bytes of the type in which they are stored.

use half::f16;
use ndarray::{ArrayView4, s};
use phenocoder_core::{DataType, ImageRegion, ImageShape, ImageSource, LabelSource};

use crate::array::StoredPixel;
use crate::ome::raster::Raster;
use crate::{Error, Result};

/// Pixels in the type in which they will be stored.
pub(crate) trait Pixels: Sync {
    fn shape(&self) -> ImageShape;

    fn data_type(&self) -> DataType;

    /// The coarser levels that the source has.
    fn coarser(&self) -> Result<Vec<Raster>> {
        Ok(Vec::new())
    }

    /// Fills `out` with the pixels of a window in native byte order, in the order `c, z, y, x`.
    fn read(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()>;
}

/// Pixels that a source hands out as floats; each must fit the stored type.
pub(crate) struct FromImage<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a dyn ImageSource,
    pub(crate) data_type: DataType,
}

impl Pixels for FromImage<'_> {
    fn shape(&self) -> ImageShape {
        self.image.shape()
    }

    fn data_type(&self) -> DataType {
        self.data_type
    }

    fn read(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()> {
        let size = self.data_type.size();
        let mut pixels = vec![0.0; out.len() / size];
        self.image.read_region(region, &mut pixels)?;
        for (value, place) in pixels.iter().zip(out.chunks_exact_mut(size)) {
            put_pixel(self.name, *value, self.data_type, place)?;
        }
        Ok(())
    }
}

/// Labels of a source; each must fit the stored type.
pub(crate) struct FromLabels<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a dyn LabelSource,
    pub(crate) data_type: DataType,
}

impl Pixels for FromLabels<'_> {
    fn shape(&self) -> ImageShape {
        self.labels.shape()
    }

    fn data_type(&self) -> DataType {
        self.data_type
    }

    fn read(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()> {
        let size = self.data_type.size();
        let mut pixels = vec![0; out.len() / size];
        self.labels.read_region(region, &mut pixels)?;
        for (value, place) in pixels.iter().zip(out.chunks_exact_mut(size)) {
            put_label(self.name, *value, self.data_type, place)?;
        }
        Ok(())
    }
}

/// Pixels of a stored image or mask, bit for bit.
impl Pixels for Raster {
    fn shape(&self) -> ImageShape {
        self.shape()
    }

    fn data_type(&self) -> DataType {
        self.data_type()
    }

    fn coarser(&self) -> Result<Vec<Raster>> {
        let levels = self.coarser_levels()?;
        match levels.iter().find(|l| l.data_type() != self.data_type()) {
            Some(other) => Err(Error::DataType {
                key: other.array().key().to_owned(),
                expected: "the type of the finest level",
                found: format!("{:?}", other.data_type()),
            }),
            None => Ok(levels),
        }
    }

    fn read(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()> {
        self.read_bytes(region, out)
    }
}

/// Pixels in memory, bit for bit.
impl<T: StoredPixel> Pixels for ArrayView4<'_, T> {
    fn shape(&self) -> ImageShape {
        let (c, z, y, x) = self.dim();
        ImageShape::new(c, z, y, x)
    }

    fn data_type(&self) -> DataType {
        T::DATA_TYPE
    }

    fn read(&self, region: &ImageRegion, out: &mut [u8]) -> Result<()> {
        let ImageRegion { c, z, y, x } = region.clone();
        let window = self.slice(s![c, z, y, x]);
        let row = region.x.len() * size_of::<T>();
        if row == 0 {
            return Ok(());
        }
        for (values, out) in window.rows().into_iter().zip(out.chunks_exact_mut(row)) {
            match values.as_slice() {
                Some(values) => out.copy_from_slice(&T::native(values)),
                None => out.copy_from_slice(&T::native(&values.to_vec())),
            }
        }
        Ok(())
    }
}

/// Stores a pixel, which must fit exactly unless the type is a shorter float.
fn put_pixel(element: &str, value: f32, data_type: DataType, place: &mut [u8]) -> Result<()> {
    let refuse = || Error::OutOfRange {
        element: element.to_owned(),
        value: value.to_string(),
        data_type,
    };
    macro_rules! integer {
        ($type:ty) => {{
            // The upper limit is exclusive: as a float the largest value of a wide type rounds up to it.
            let low = <$type>::MIN as f64;
            let high = <$type>::MAX as f64 + 1.0;
            let wide = f64::from(value);
            if !(wide >= low && wide < high && wide.fract() == 0.0) {
                return Err(refuse());
            }
            place.copy_from_slice(&(wide as $type).to_ne_bytes());
        }};
    }
    match data_type {
        DataType::Bool => match value {
            0.0 => place.copy_from_slice(&[0]),
            1.0 => place.copy_from_slice(&[1]),
            _ => return Err(refuse()),
        },
        DataType::UInt8 => integer!(u8),
        DataType::UInt16 => integer!(u16),
        DataType::UInt32 => integer!(u32),
        DataType::UInt64 => integer!(u64),
        DataType::Int8 => integer!(i8),
        DataType::Int16 => integer!(i16),
        DataType::Int32 => integer!(i32),
        DataType::Int64 => integer!(i64),
        DataType::Float16 => {
            let half = f16::from_f32(value);
            if half.is_infinite() && value.is_finite() {
                return Err(refuse());
            }
            place.copy_from_slice(&half.to_ne_bytes());
        }
        DataType::Float32 => place.copy_from_slice(&value.to_ne_bytes()),
        DataType::Float64 => place.copy_from_slice(&f64::from(value).to_ne_bytes()),
    }
    Ok(())
}

/// Stores a label, which must fit exactly.
fn put_label(element: &str, value: u64, data_type: DataType, place: &mut [u8]) -> Result<()> {
    macro_rules! integer {
        ($type:ty) => {
            match <$type>::try_from(value) {
                Ok(value) => place.copy_from_slice(&value.to_ne_bytes()),
                Err(_) => {
                    return Err(Error::OutOfRange {
                        element: element.to_owned(),
                        value: value.to_string(),
                        data_type,
                    });
                }
            }
        };
    }
    match data_type {
        DataType::UInt8 => integer!(u8),
        DataType::UInt16 => integer!(u16),
        DataType::UInt32 => integer!(u32),
        DataType::UInt64 => integer!(u64),
        DataType::Int8 => integer!(i8),
        DataType::Int16 => integer!(i16),
        DataType::Int32 => integer!(i32),
        DataType::Int64 => integer!(i64),
        DataType::Bool | DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            return Err(Error::Config {
                name: "data_type",
                problem: "labels are stored as whole numbers".to_owned(),
            });
        }
    }
    Ok(())
}

//! Conversion of stored numbers to the type asked for.

use half::f16;
use phenocoder_core::DataType;

/// Where numbers come from: a block, or one value for every place.
#[derive(Clone, Copy)]
pub enum Fill<'a> {
    One(&'a [u8]),
    All(&'a [u8]),
}

/// A type that stored numbers convert to.
pub(crate) trait Pixel: Copy + Default + Send {
    fn from_u64(value: u64) -> Self;
    fn from_i64(value: i64) -> Self;
    fn from_f32(value: f32) -> Self;
    fn from_f64(value: f64) -> Self;
}

impl Pixel for f32 {
    fn from_u64(value: u64) -> Self {
        value as Self
    }
    fn from_i64(value: i64) -> Self {
        value as Self
    }
    fn from_f32(value: f32) -> Self {
        value
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Pixel for f64 {
    fn from_u64(value: u64) -> Self {
        value as Self
    }
    fn from_i64(value: i64) -> Self {
        value as Self
    }
    fn from_f32(value: f32) -> Self {
        value.into()
    }
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Negative and fractional numbers do not occur where labels are read: the element's type is checked when it is opened.
impl Pixel for u64 {
    fn from_u64(value: u64) -> Self {
        value
    }
    fn from_i64(value: i64) -> Self {
        value as Self
    }
    fn from_f32(value: f32) -> Self {
        value as Self
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Pixel for i64 {
    fn from_u64(value: u64) -> Self {
        // A value beyond the range must not turn into a valid one.
        Self::try_from(value).unwrap_or(Self::MAX)
    }
    fn from_i64(value: i64) -> Self {
        value
    }
    fn from_f32(value: f32) -> Self {
        value as Self
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

/// Converts the numbers from place `from` of a block on into `out`.
pub(crate) fn convert<T: Pixel>(data_type: DataType, source: Fill<'_>, from: usize, out: &mut [T]) {
    macro_rules! convert {
        ($type:ty, $size:literal, $f:expr) => {{
            let one = |bytes: &[u8; $size]| -> T { $f(<$type>::from_ne_bytes(*bytes)) };
            match source {
                Fill::One(value) => {
                    if let Some(value) = value.first_chunk::<$size>() {
                        out.fill(one(value));
                    }
                }
                Fill::All(bytes) => {
                    let bytes = &bytes[from * $size..(from + out.len()) * $size];
                    for (place, value) in out.iter_mut().zip(bytes.as_chunks::<$size>().0) {
                        *place = one(value);
                    }
                }
            }
        }};
    }
    match data_type {
        DataType::Bool => convert!(u8, 1, |v: u8| T::from_u64(u64::from(v != 0))),
        DataType::UInt8 => convert!(u8, 1, |v: u8| T::from_u64(v.into())),
        DataType::UInt16 => convert!(u16, 2, |v: u16| T::from_u64(v.into())),
        DataType::UInt32 => convert!(u32, 4, |v: u32| T::from_u64(v.into())),
        DataType::UInt64 => convert!(u64, 8, |v: u64| T::from_u64(v)),
        DataType::Int8 => convert!(i8, 1, |v: i8| T::from_i64(v.into())),
        DataType::Int16 => convert!(i16, 2, |v: i16| T::from_i64(v.into())),
        DataType::Int32 => convert!(i32, 4, |v: i32| T::from_i64(v.into())),
        DataType::Int64 => convert!(i64, 8, |v: i64| T::from_i64(v)),
        DataType::Float16 => convert!(f16, 2, |v: f16| T::from_f32(v.into())),
        DataType::Float32 => convert!(f32, 4, |v: f32| T::from_f32(v)),
        DataType::Float64 => convert!(f64, 8, |v: f64| T::from_f64(v)),
    }
}

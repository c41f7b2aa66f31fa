//! What decoded numbers are put into: memory of the stored type, of another type, or bytes.

use half::f16;
use phenocoder_core::DataType;

use super::copy::{self, Fill, Pixel};

/// Memory that takes the values of blocks.
pub(crate) trait Target: Sync {
    type Unit: Send;

    /// How many units a place of the array takes.
    fn per_place(&self) -> usize;

    /// Puts the values from place `from` of a block on into `out`, which is a whole number of places.
    fn put(&self, source: Fill<'_>, from: usize, out: &mut [Self::Unit]);

    /// The memory as bytes, when a block can be decoded right into it.
    fn bytes<'a>(&self, _out: &'a mut [Self::Unit]) -> Option<&'a mut [u8]> {
        None
    }
}

/// Numbers converted to another type.
pub(crate) struct Converted<T> {
    data_type: DataType,
    unit: std::marker::PhantomData<fn() -> T>,
}

impl<T> Converted<T> {
    pub(crate) fn from(data_type: DataType) -> Self {
        Self {
            data_type,
            unit: std::marker::PhantomData,
        }
    }
}

impl<T: Pixel> Target for Converted<T> {
    type Unit = T;

    fn per_place(&self) -> usize {
        1
    }

    fn put(&self, source: Fill<'_>, from: usize, out: &mut [T]) {
        copy::convert(self.data_type, source, from, out);
    }
}

/// Values as they are stored, in native byte order, so many bytes each.
pub(crate) struct Bytes {
    pub(crate) size: usize,
}

impl Target for Bytes {
    type Unit = u8;

    fn per_place(&self) -> usize {
        self.size
    }

    fn put(&self, source: Fill<'_>, from: usize, out: &mut [u8]) {
        match source {
            Fill::All(bytes) => {
                let from = from * self.size;
                out.copy_from_slice(&bytes[from..from + out.len()]);
            }
            Fill::One(value) if self.size == 1 => out.fill(value[0]),
            Fill::One(value) => {
                for place in out.chunks_exact_mut(self.size.max(1)) {
                    place.copy_from_slice(value);
                }
            }
        }
    }

    fn bytes<'a>(&self, out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        Some(out)
    }
}

/// Numbers of the stored type.
pub(crate) struct Exact<T>(std::marker::PhantomData<fn() -> T>);

impl<T> Exact<T> {
    pub(crate) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: StoredPixel> Target for Exact<T> {
    type Unit = T;

    fn per_place(&self) -> usize {
        1
    }

    fn put(&self, source: Fill<'_>, from: usize, out: &mut [T]) {
        T::put(source, from, out);
    }

    fn bytes<'a>(&self, out: &'a mut [T]) -> Option<&'a mut [u8]> {
        T::bytes(out)
    }
}

mod sealed {
    use super::Fill;

    /// How numbers get out of a block.
    pub trait Stored: Sized {
        fn put(source: Fill<'_>, from: usize, out: &mut [Self]);
        fn bytes(out: &mut [Self]) -> Option<&mut [u8]>;
        fn native(values: &[Self]) -> std::borrow::Cow<'_, [u8]>;
    }
}

use sealed::Stored;

/// A type that pixels and labels are stored in, for exact reading without conversion.
///
/// `bool`, `u8` to `u64`, `i8` to `i64`, [`struct@f16`], `f32` and `f64`; it cannot be implemented elsewhere.
///
/// # Examples
///
/// ```
/// use phenocoder_core::DataType;
/// use phenocoder_io::StoredPixel;
///
/// assert_eq!(u16::DATA_TYPE, DataType::UInt16);
/// ```
pub trait StoredPixel: Stored + Copy + Default + Send + Sync + 'static {
    /// The stored type that this one reads.
    const DATA_TYPE: DataType;
}

macro_rules! stored {
    ($($type:ty => $data_type:ident),*) => {$(
        impl StoredPixel for $type {
            const DATA_TYPE: DataType = DataType::$data_type;
        }

        impl Stored for $type {
            fn put(source: Fill<'_>, from: usize, out: &mut [Self]) {
                const SIZE: usize = size_of::<$type>();
                match source {
                    Fill::All(bytes) => {
                        let out = bytemuck::cast_slice_mut::<Self, u8>(out);
                        let from = from * SIZE;
                        out.copy_from_slice(&bytes[from..from + out.len()]);
                    }
                    Fill::One(value) => {
                        if let Some(value) = value.first_chunk::<SIZE>() {
                            out.fill(Self::from_ne_bytes(*value));
                        }
                    }
                }
            }

            fn bytes(out: &mut [Self]) -> Option<&mut [u8]> {
                Some(bytemuck::cast_slice_mut(out))
            }

            fn native(values: &[Self]) -> std::borrow::Cow<'_, [u8]> {
                std::borrow::Cow::Borrowed(bytemuck::cast_slice(values))
            }
        }
    )*};
}
stored!(
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    f16 => Float16, f32 => Float32, f64 => Float64
);

impl StoredPixel for bool {
    const DATA_TYPE: DataType = DataType::Bool;
}

/// A stored byte other than 0 is true, whichever it is.
impl Stored for bool {
    fn put(source: Fill<'_>, from: usize, out: &mut [Self]) {
        match source {
            Fill::All(bytes) => {
                for (place, &byte) in out.iter_mut().zip(&bytes[from..]) {
                    *place = byte != 0;
                }
            }
            Fill::One(value) => out.fill(value.first().is_some_and(|&byte| byte != 0)),
        }
    }

    fn bytes(_: &mut [Self]) -> Option<&mut [u8]> {
        None
    }

    fn native(values: &[Self]) -> std::borrow::Cow<'_, [u8]> {
        std::borrow::Cow::Owned(values.iter().map(|&value| u8::from(value)).collect())
    }
}

//! Numbers of any type and any number of axes.

use half::f16;
use ndarray::Array2;
use phenocoder_core::DataType;

/// Numbers in the type in which they are stored.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum NumericValues {
    Bool(Vec<bool>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float16(Vec<f16>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

/// Does the same for numbers of every type.
macro_rules! each {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            NumericValues::Bool($v) => $body,
            NumericValues::UInt8($v) => $body,
            NumericValues::UInt16($v) => $body,
            NumericValues::UInt32($v) => $body,
            NumericValues::UInt64($v) => $body,
            NumericValues::Int8($v) => $body,
            NumericValues::Int16($v) => $body,
            NumericValues::Int32($v) => $body,
            NumericValues::Int64($v) => $body,
            NumericValues::Float16($v) => $body,
            NumericValues::Float32($v) => $body,
            NumericValues::Float64($v) => $body,
        }
    };
}

/// A number as 64-bit float and as little-endian bytes.
trait Number: Copy {
    fn to_f64(self) -> f64;
    fn put(self, out: &mut Vec<u8>);
    fn put_native(self, out: &mut Vec<u8>);
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn to_f64(self) -> f64 { self as f64 }
            fn put(self, out: &mut Vec<u8>) { out.extend(self.to_le_bytes()); }
            fn put_native(self, out: &mut Vec<u8>) { out.extend(self.to_ne_bytes()); }
        })*
    };
}
number!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

impl Number for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    fn put(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
    fn put_native(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
}

impl Number for f16 {
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
    fn put_native(self, out: &mut Vec<u8>) {
        out.extend(self.to_ne_bytes());
    }
}

impl NumericValues {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Bool,
            Self::UInt8(_) => DataType::UInt8,
            Self::UInt16(_) => DataType::UInt16,
            Self::UInt32(_) => DataType::UInt32,
            Self::UInt64(_) => DataType::UInt64,
            Self::Int8(_) => DataType::Int8,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::Float16(_) => DataType::Float16,
            Self::Float32(_) => DataType::Float32,
            Self::Float64(_) => DataType::Float64,
        }
    }

    /// The values as 64-bit floats; whole numbers beyond 2⁵³ are rounded.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, v => v.iter().map(|x| x.to_f64()).collect())
    }

    /// The values as whole numbers, or `None` when they are floating-point or one is beyond 64 signed bits.
    #[must_use]
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self {
            Self::Bool(v) => Some(v.iter().map(|&b| i64::from(b)).collect()),
            Self::UInt8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::UInt16(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::UInt32(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::UInt64(v) => v.iter().map(|&x| x.try_into().ok()).collect(),
            Self::Int8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::Int16(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::Int32(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Self::Int64(v) => Some(v.clone()),
            Self::Float16(_) | Self::Float32(_) | Self::Float64(_) => None,
        }
    }

    /// The bytes of the values, little endian; truth values are 0 or 1.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * self.data_type().size());
        each!(self, v => v.iter().for_each(|x| x.put(&mut out)));
        out
    }

    pub(crate) fn to_ne_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * self.data_type().size());
        each!(self, v => v.iter().for_each(|x| x.put_native(&mut out)));
        out
    }

    /// Reads values in the byte order of this machine; the caller has checked their number.
    pub(crate) fn from_ne_bytes(data_type: DataType, bytes: &[u8]) -> Self {
        macro_rules! read {
            ($variant:ident, $type:ty, $size:literal) => {
                Self::$variant(
                    bytes
                        .as_chunks::<$size>()
                        .0
                        .iter()
                        .map(|b| <$type>::from_ne_bytes(*b))
                        .collect(),
                )
            };
        }
        match data_type {
            DataType::Bool => Self::Bool(bytes.iter().map(|&b| b != 0).collect()),
            DataType::UInt8 => Self::UInt8(bytes.to_vec()),
            DataType::UInt16 => read!(UInt16, u16, 2),
            DataType::UInt32 => read!(UInt32, u32, 4),
            DataType::UInt64 => read!(UInt64, u64, 8),
            DataType::Int8 => read!(Int8, i8, 1),
            DataType::Int16 => read!(Int16, i16, 2),
            DataType::Int32 => read!(Int32, i32, 4),
            DataType::Int64 => read!(Int64, i64, 8),
            DataType::Float16 => read!(Float16, f16, 2),
            DataType::Float32 => read!(Float32, f32, 4),
            DataType::Float64 => read!(Float64, f64, 8),
        }
    }
}

/// The number of places of a shape; `None` where it is beyond counting.
pub(crate) fn places_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s))
}

/// Numbers with a shape, in C order.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{NumericArray, NumericValues};
///
/// let array = NumericArray::new(vec![2, 2], NumericValues::UInt8(vec![1, 2, 3, 4])).unwrap();
/// assert_eq!(array.to_matrix().unwrap()[[1, 0]], 3.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NumericArray {
    shape: Vec<usize>,
    values: NumericValues,
}

impl NumericArray {
    /// Numbers in C order; `None` when there is not one number per place.
    #[must_use]
    pub fn new(shape: Vec<usize>, values: NumericValues) -> Option<Self> {
        (places_of(&shape) == Some(values.len())).then_some(Self { shape, values })
    }

    /// The extent of each axis; empty for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers, in C order.
    #[must_use]
    pub fn values(&self) -> &NumericValues {
        &self.values
    }

    /// Takes the numbers out.
    #[must_use]
    pub fn into_values(self) -> NumericValues {
        self.values
    }

    pub(crate) fn into_parts(self) -> (Vec<usize>, NumericValues) {
        (self.shape, self.values)
    }

    /// The numbers as a matrix of 64-bit floats; a sequence becomes one column, and other numbers of axes give `None`.
    #[must_use]
    pub fn to_matrix(&self) -> Option<Array2<f64>> {
        let shape = match *self.shape.as_slice() {
            [n] => (n, 1),
            [n, p] => (n, p),
            _ => return None,
        };
        Array2::from_shape_vec(shape, self.values.to_f64()).ok()
    }

    pub(crate) fn from_ne_bytes(shape: Vec<usize>, data_type: DataType, bytes: &[u8]) -> Self {
        let values = NumericValues::from_ne_bytes(data_type, bytes);
        Self { shape, values }
    }
}

impl From<&Array2<f64>> for NumericArray {
    fn from(matrix: &Array2<f64>) -> Self {
        Self {
            shape: matrix.shape().to_vec(),
            values: NumericValues::Float64(matrix.iter().copied().collect()),
        }
    }
}

impl From<&Array2<f32>> for NumericArray {
    fn from(matrix: &Array2<f32>) -> Self {
        Self {
            shape: matrix.shape().to_vec(),
            values: NumericValues::Float32(matrix.iter().copied().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_every_type_are_so_in_64_bits_unless_they_are_larger() {
        use NumericValues as V;
        for values in [
            V::Bool(vec![false, true]),
            V::UInt8(vec![0, 1]),
            V::UInt16(vec![0, 1]),
            V::UInt32(vec![0, 1]),
            V::UInt64(vec![0, 1]),
            V::Int8(vec![0, 1]),
            V::Int16(vec![0, 1]),
            V::Int32(vec![0, 1]),
            V::Int64(vec![0, 1]),
        ] {
            assert_eq!(values.to_i64(), Some(vec![0, 1]), "{values:?}");
            assert_eq!(values.to_f64(), [0.0, 1.0], "{values:?}");
            let data_type = values.data_type();
            let again = V::from_ne_bytes(data_type, &native(&values));
            assert_eq!((again.data_type(), again), (data_type, values));
        }
        assert_eq!(V::Int8(vec![-1]).to_i64(), Some(vec![-1]));
        assert_eq!(V::UInt64(vec![1 << 63]).to_i64(), None);
        let half = V::Float16(vec![f16::from_f32(0.5)]);
        assert_eq!((half.to_i64(), half.to_f64()), (None, vec![0.5]));
        assert_eq!(V::from_ne_bytes(DataType::Float16, &native(&half)), half);
    }

    /// The bytes of values, as this machine has them.
    fn native(values: &NumericValues) -> Vec<u8> {
        let mut out = Vec::new();
        each!(values, v => v.iter().for_each(|x| x.put_native(&mut out)));
        out
    }
}

//! Columns as Arrow arrays, and as the columns that the other crates of phenocoder know.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, PrimitiveArray,
    StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType as ArrowType, Field, Int32Type};
use phenocoder_core::{Categorical, Column};

use crate::array::NumericValues;
use crate::{Error, Result};

/// Whether the categories of a dictionary column have an order, in the metadata of its field.
pub(crate) const ORDERED: &str = "anndata.ordered";
/// The encoding of a column that its Arrow type does not tell, in the metadata of its field.
pub(crate) const ENCODING: &str = "anndata.encoding";
/// pandas' kind of missing text, in the metadata of a field.
pub(crate) const NA_VALUE: &str = "anndata.na-value";

/// A column as an Arrow array: categories as `dictionary<int32, utf8>`.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{Categorical, Column};
/// use phenocoder_io::{column_from_arrow, column_to_arrow};
///
/// let column = Column::Categorical(Categorical::from_labels(["T", "B"]));
/// let array = column_to_arrow("type", &column)?;
/// assert_eq!(column_from_arrow("type", &array)?, column);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::TooLarge`] for texts or categories of more than 2 GiB.
pub fn column_to_arrow(name: &str, column: &Column) -> Result<ArrayRef> {
    let texts = |texts: &[String]| -> Result<StringArray> {
        check_lengths(name, texts.iter().map(String::len))?;
        Ok(StringArray::from_iter_values(texts))
    };
    Ok(match column {
        Column::Float(v) => Arc::new(Float64Array::from(v.clone())),
        Column::Int(v) => Arc::new(Int64Array::from(v.clone())),
        Column::Bool(v) => Arc::new(BooleanArray::from(v.clone())),
        Column::Text(v) => Arc::new(texts(v)?),
        Column::Categorical(v) => Arc::new(dictionary(
            v.codes().iter().map(|&code| (code >= 0).then_some(code)),
            Arc::new(texts(v.categories())?),
        )),
        // `Column` may grow; a new kind that is not known here yet is kept as its labels.
        other => return column_to_arrow(name, &Column::Categorical(other.to_categorical())),
    })
}

/// The field of a column whose Arrow array is at hand.
pub(crate) fn column_field(name: &str, column: &Column, array: &dyn Array) -> Field {
    let field = Field::new(name, array.data_type().clone(), array.null_count() > 0);
    match column {
        Column::Categorical(c) if c.is_ordered() => {
            field.with_metadata(HashMap::from([(ORDERED.to_owned(), "true".to_owned())]))
        }
        _ => field,
    }
}

/// Codes that are known to be positions of `values`.
pub(crate) fn dictionary(
    codes: impl Iterator<Item = Option<i32>>,
    values: ArrayRef,
) -> DictionaryArray<Int32Type> {
    let keys: Int32Array = codes.collect();
    DictionaryArray::try_new(keys, values).expect("codes are positions of the values")
}

/// An Arrow array as a column.
///
/// Missing numbers become NaN (whole numbers then become numbers), missing text and truth values become missing
/// categories.
///
/// # Errors
///
/// [`Error::DataType`] for types that a column cannot hold:
/// lists, times and the like, and whole numbers beyond 64 signed bits.
pub fn column_from_arrow(name: &str, array: &dyn Array) -> Result<Column> {
    let unfit = || Error::DataType {
        key: name.to_owned(),
        expected: "numbers, truth values, text or categories",
        found: array.data_type().to_string(),
    };
    let cast_to = |to: &ArrowType| cast(array, to).map_err(Error::arrow(name));
    match array.data_type() {
        ArrowType::Boolean => {
            let values = downcast::<BooleanArray>(array).ok_or_else(unfit)?;
            if values.null_count() == 0 {
                return Ok(Column::Bool(values.values().iter().collect()));
            }
            let codes = values.iter().map(|v| v.map_or(-1, i32::from)).collect();
            let categories = vec!["false".to_owned(), "true".to_owned()];
            Ok(Column::Categorical(Categorical::new(codes, categories)?))
        }
        t if t.is_integer() && array.null_count() == 0 => {
            let values = cast_to(&ArrowType::Int64)?;
            let values = downcast::<Int64Array>(&values).ok_or_else(unfit)?;
            if values.null_count() > 0 {
                return Err(unfit());
            }
            Ok(Column::Int(values.values().to_vec()))
        }
        t if t.is_numeric() => {
            let values = cast_to(&ArrowType::Float64)?;
            let values = downcast::<Float64Array>(&values).ok_or_else(unfit)?;
            let floats = values.iter().map(|v| v.unwrap_or(f64::NAN));
            Ok(Column::Float(floats.collect()))
        }
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
            let values = cast_to(&ArrowType::Utf8)?;
            let values = downcast::<StringArray>(&values).ok_or_else(unfit)?;
            if values.null_count() == 0 {
                let texts = values.iter().flatten().map(str::to_owned);
                return Ok(Column::Text(texts.collect()));
            }
            Ok(Column::Categorical(Categorical::from_optional_labels(
                values.iter(),
            )))
        }
        ArrowType::Dictionary(_, _) => {
            let (codes, categories) = split_dictionary(name, array)?;
            let categories = texts(name, &categories)?;
            let categories = categories.into_iter().map(Option::unwrap_or_default);
            let codes = codes.into_iter().map(|c| c.unwrap_or(-1)).collect();
            let categorical = Categorical::new(codes, categories.collect())?;
            Ok(Column::Categorical(categorical))
        }
        _ => Err(unfit()),
    }
}

/// A dictionary of any key type as one with codes of 32 bits.
pub(crate) fn to_dictionary(name: &str, array: &dyn Array) -> Result<DictionaryArray<Int32Type>> {
    let unfit = |found: &ArrowType| Error::DataType {
        key: name.to_owned(),
        expected: "categories",
        found: found.to_string(),
    };
    let ArrowType::Dictionary(_, values) = array.data_type() else {
        return Err(unfit(array.data_type()));
    };
    let to = ArrowType::Dictionary(Box::new(ArrowType::Int32), values.clone());
    let array = cast(array, &to).map_err(Error::arrow(name))?;
    let array = downcast::<DictionaryArray<Int32Type>>(&array);
    array.cloned().ok_or_else(|| unfit(&to))
}

/// The codes and the values of a dictionary of any key type.
pub(crate) fn split_dictionary(
    name: &str,
    array: &dyn Array,
) -> Result<(Vec<Option<i32>>, ArrayRef)> {
    let array = to_dictionary(name, array)?;
    Ok((array.keys().iter().collect(), Arc::clone(array.values())))
}

/// Checks the lengths of texts or bytes that are to be one array: it holds at most 2 GiB of them.
pub(crate) fn check_lengths(key: &str, lengths: impl Iterator<Item = usize>) -> Result<()> {
    const MOST: u64 = i32::MAX as u64;
    let found: u128 = lengths.map(|length| length as u128).sum();
    Error::check_size(key, "a column of text with bytes", found, MOST)
}

/// Checks the lengths of an array of texts as [`check_lengths`] does, before the texts are copied.
pub(crate) fn check_texts(key: &str, array: &dyn Array) -> Result<()> {
    let lengths = length(array).and_then(|lengths| cast(&lengths, &ArrowType::Int64));
    let lengths = lengths.map_err(Error::arrow(key))?;
    let lengths = downcast::<Int64Array>(&lengths).into_iter();
    let lengths = lengths.flatten().flatten();
    check_lengths(key, lengths.map(|n| usize::try_from(n).unwrap_or_default()))
}

/// Any array as texts.
pub(crate) fn texts(name: &str, array: &dyn Array) -> Result<Vec<Option<String>>> {
    // Numbers of few bytes may be texts of more than `Utf8` can hold.
    let array = cast(array, &ArrowType::LargeUtf8).map_err(Error::arrow(name))?;
    let values = downcast::<LargeStringArray>(&array);
    Ok(values
        .into_iter()
        .flat_map(|v| v.iter().map(|t| t.map(str::to_owned)))
        .collect())
}

pub(crate) fn downcast<T: 'static>(array: &dyn Array) -> Option<&T> {
    array.as_any().downcast_ref::<T>()
}

/// Numbers as an Arrow array; `missing` marks values that are not there.
pub(crate) fn numbers_to_arrow(values: NumericValues, missing: Option<Vec<bool>>) -> ArrayRef {
    let nulls = missing.map(|m| m.into_iter().map(|m| !m).collect::<NullBuffer>());
    fn primitive<T: ArrowPrimitiveType>(v: Vec<T::Native>, n: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(v.into(), n))
    }
    use arrow::datatypes as t;
    match values {
        NumericValues::Bool(v) => Arc::new(BooleanArray::new(v.into(), nulls)),
        NumericValues::UInt8(v) => primitive::<t::UInt8Type>(v, nulls),
        NumericValues::UInt16(v) => primitive::<t::UInt16Type>(v, nulls),
        NumericValues::UInt32(v) => primitive::<t::UInt32Type>(v, nulls),
        NumericValues::UInt64(v) => primitive::<t::UInt64Type>(v, nulls),
        NumericValues::Int8(v) => primitive::<t::Int8Type>(v, nulls),
        NumericValues::Int16(v) => primitive::<t::Int16Type>(v, nulls),
        NumericValues::Int32(v) => primitive::<Int32Type>(v, nulls),
        NumericValues::Int64(v) => primitive::<t::Int64Type>(v, nulls),
        NumericValues::Float16(v) => primitive::<t::Float16Type>(v, nulls),
        NumericValues::Float32(v) => primitive::<t::Float32Type>(v, nulls),
        NumericValues::Float64(v) => primitive::<t::Float64Type>(v, nulls),
    }
}

/// Numbers or truth values of any type as `f64`; `None` for other types.
pub(crate) fn floats(array: &dyn Array) -> Option<Float64Array> {
    let data_type = array.data_type();
    if !(data_type.is_integer() || data_type.is_floating() || *data_type == ArrowType::Boolean) {
        return None;
    }
    let floats = cast(array, &ArrowType::Float64).ok()?;
    downcast::<Float64Array>(&floats).cloned()
}

/// The numbers of an Arrow array, with 0 (or NaN) where a value is missing; `None` for other types.
pub(crate) fn numbers_from_arrow(array: &dyn Array) -> Option<NumericValues> {
    macro_rules! numbers {
        ($($variant:ident $array:ty),*) => {
            $(if let Some(v) = downcast::<$array>(array) {
                return Some(NumericValues::$variant(
                    v.iter().map(Option::unwrap_or_default).collect(),
                ));
            })*
        };
    }
    macro_rules! floats {
        ($($variant:ident $array:ty, $nan:expr);*) => {
            $(if let Some(v) = downcast::<$array>(array) {
                return Some(NumericValues::$variant(
                    v.iter().map(|x| x.unwrap_or($nan)).collect(),
                ));
            })*
        };
    }
    numbers!(
        Bool BooleanArray, UInt8 UInt8Array, UInt16 UInt16Array, UInt32 UInt32Array,
        UInt64 UInt64Array, Int8 Int8Array, Int16 Int16Array, Int32 Int32Array, Int64 Int64Array
    );
    floats!(
        Float16 Float16Array, half::f16::NAN;
        Float32 Float32Array, f32::NAN;
        Float64 Float64Array, f64::NAN
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_more_than_two_gibibytes_are_no_column() {
        let most = i32::MAX as usize;
        assert!(check_lengths("k", [most - 1, 1].into_iter()).is_ok());
        for lengths in [[most, 1], [usize::MAX, usize::MAX]] {
            let refused = check_lengths("k", lengths.into_iter());
            assert!(
                matches!(&refused, Err(Error::TooLarge { found, .. })
                    if *found == lengths[0] as u128 + lengths[1] as u128),
                "{refused:?}"
            );
        }
    }
}

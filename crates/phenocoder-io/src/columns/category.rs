//! Categories that are the same over row groups and files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, StringArray,
    UInt64Array, new_empty_array,
};
use arrow::compute::{cast, concat, nullif, take};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::is_number;
use crate::table::downcast;
use crate::{Error, Result};

/// Gives every category the code that it had when it was seen first.
///
/// Each row group has a dictionary of its own.
/// When all have the same, that is the result; otherwise new values are appended in the order in which they come.
/// Codes that were handed out stay valid.
///
/// Numbers have no dictionary in files of Python: those of a piece that are new are appended in their order.
#[derive(Debug)]
pub(crate) enum Unifier {
    Texts(Texts),
    Numbers(Numbers),
}

impl Unifier {
    /// For columns of a type; `None` for those without categories.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Dictionary(_, values) if is_number(values) => {
                Some(Self::Numbers(Numbers::new(values)))
            }
            DataType::Dictionary(_, _) => Some(Self::Texts(Texts::default())),
            _ => None,
        }
    }

    /// The same labels with codes of the common categories so far.
    pub(crate) fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
        match self {
            Self::Texts(texts) => texts.add(key, array),
            Self::Numbers(numbers) => numbers.add(key, array),
        }
    }

    /// Codes with the categories so far.
    pub(crate) fn column(&mut self, key: &str, codes: Int32Array) -> Result<ArrayRef> {
        let values = match self {
            Self::Texts(texts) => texts.shared(),
            Self::Numbers(numbers) => Arc::clone(&numbers.values),
        };
        let column = DictionaryArray::try_new(codes, values).map_err(Error::arrow(key))?;
        Ok(Arc::new(column))
    }
}

fn next_code(key: &str, n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| Error::corrupt(key, "there are too many categories"))
}

/// Categories that are texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    codes: HashMap<String, i32>,
    values: Vec<String>,
    /// The dictionary seen last and what its codes became; `None` for the same codes.
    last: Option<(ArrayRef, Option<Vec<i32>>)>,
    /// The values as an array, as far as they were handed out.
    shared: Option<ArrayRef>,
}

impl Texts {
    pub(super) fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
        let wrong = || Error::corrupt(key, "a column of categories is none");
        let array: &DictionaryArray<Int32Type> = downcast(array).ok_or_else(wrong)?;
        // Batches of a row group share their dictionary; comparing is cheaper than looking up.
        let is_known = self.last.as_ref().is_some_and(|(values, _)| {
            Arc::ptr_eq(values, array.values()) || values == array.values()
        });
        if !is_known {
            let texts: &StringArray = downcast(array.values()).ok_or_else(wrong)?;
            let mut map = Vec::with_capacity(texts.len());
            for text in texts {
                map.push(self.code(key, text.unwrap_or_default())?);
            }
            let is_same = map
                .iter()
                .enumerate()
                .all(|(at, &code)| usize::try_from(code) == Ok(at));
            self.last = Some((Arc::clone(array.values()), (!is_same).then_some(map)));
        }
        let keys = array.keys();
        Ok(match &self.last {
            Some((_, Some(map))) => keys
                .iter()
                .map(|key| key.and_then(|key| map.get(usize::try_from(key).ok()?).copied()))
                .collect(),
            _ => keys.clone(),
        })
    }

    fn code(&mut self, key: &str, text: &str) -> Result<i32> {
        if let Some(&code) = self.codes.get(text) {
            return Ok(code);
        }
        let code = next_code(key, self.values.len())?;
        self.codes.insert(text.to_owned(), code);
        self.values.push(text.to_owned());
        Ok(code)
    }

    fn shared(&mut self) -> ArrayRef {
        match &self.shared {
            Some(values) if values.len() == self.values.len() => Arc::clone(values),
            _ => {
                let values: ArrayRef = Arc::new(StringArray::from_iter_values(&self.values));
                self.shared = Some(Arc::clone(&values));
                values
            }
        }
    }
}

/// Categories that are numbers or truth values.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// By the bytes of their rows.
    codes: HashMap<Box<[u8]>, i32>,
    values: ArrayRef,
}

impl Numbers {
    fn new(data_type: &DataType) -> Self {
        Self {
            codes: HashMap::new(),
            values: new_empty_array(data_type),
        }
    }

    fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
        let failed = || Error::arrow(key);
        let array = without_nan(array).map_err(failed())?;
        let field = SortField::new(array.data_type().clone());
        let converter = RowConverter::new(vec![field]).map_err(failed())?;
        let rows = converter
            .convert_columns(&[Arc::clone(&array)])
            .map_err(failed())?;
        // By their bytes, which sort as the numbers do.
        let mut new: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            if array.is_valid(at) && !self.codes.contains_key(row.data()) {
                new.entry(row.data()).or_insert(at as u64);
            }
        }
        if !new.is_empty() {
            let places: UInt64Array = new.values().copied().collect();
            let values = take(&array, &places, None).map_err(failed())?;
            let first = self.values.len();
            self.values = concat(&[&self.values, &values]).map_err(failed())?;
            for (at, row) in new.into_keys().enumerate() {
                self.codes.insert(row.into(), next_code(key, first + at)?);
            }
        }
        let codes = rows.iter().enumerate().map(|(at, row)| {
            let code = self.codes.get(row.data()).copied();
            code.filter(|_| array.is_valid(at))
        });
        Ok(codes.collect())
    }
}

/// Floats with NaN as missing: it is no category.
fn without_nan(array: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    if !array.data_type().is_floating() {
        return Ok(Arc::clone(array));
    }
    let floats = cast(array, &DataType::Float64)?;
    let floats: Option<&Float64Array> = downcast(&floats);
    let is_nan = |v: Option<f64>| v.is_some_and(f64::is_nan);
    let mask: BooleanArray = floats
        .into_iter()
        .flatten()
        .map(|v| Some(is_nan(v)))
        .collect();
    nullif(array, &mask)
}

/// Puts the pieces of a column together.
pub(crate) fn concat_columns(
    key: &str,
    data_type: &DataType,
    pieces: Vec<ArrayRef>,
) -> Result<ArrayRef> {
    let is_numbers = matches!(data_type, DataType::Dictionary(_, v) if is_number(v));
    let mut pieces = pieces;
    if is_numbers && pieces.len() > 1 {
        let all: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        pieces = vec![concat(&all).map_err(Error::arrow(key))?];
    }
    if let Some(mut unifier) = Unifier::of(data_type) {
        let mut codes = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            codes.push(unifier.add(key, piece)?);
        }
        let codes: Vec<&dyn Array> = codes.iter().map(|c| c as &dyn Array).collect();
        let codes = match codes.as_slice() {
            [] => Int32Array::from(Vec::<i32>::new()),
            codes => {
                let codes = concat(codes).map_err(Error::arrow(key))?;
                downcast::<Int32Array>(&codes)
                    .cloned()
                    .unwrap_or_else(|| Int32Array::from(vec![0; 0]))
            }
        };
        return unifier.column(key, codes);
    }
    match pieces.len() {
        0 => Ok(new_empty_array(data_type)),
        1 => Ok(pieces.remove(0)),
        _ => {
            check_offsets(key, &pieces)?;
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            concat(&pieces).map_err(Error::arrow(key))
        }
    }
}

/// Text and bytes of one array are at most 2 GiB.
fn check_offsets(key: &str, pieces: &[ArrayRef]) -> Result<()> {
    const MOST: u64 = i32::MAX as u64;
    let variable = |piece: &ArrayRef| match piece.data_type() {
        DataType::Utf8 | DataType::Binary => piece
            .to_data()
            .buffers()
            .get(1)
            .map_or(0, |b| b.len() as u64),
        _ => 0,
    };
    let bytes: u64 = pieces.iter().map(variable).sum();
    if bytes > MOST {
        return Err(Error::TooLarge {
            key: key.to_owned(),
            what: "a column of text with bytes",
            found: bytes.into(),
            limit: MOST,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(codes: &[Option<i32>], values: &[&str]) -> ArrayRef {
        let values = Arc::new(StringArray::from_iter_values(values));
        let codes = codes.iter().copied().collect();
        Arc::new(DictionaryArray::<Int32Type>::try_new(codes, values).unwrap())
    }

    fn unified(pieces: &[ArrayRef]) -> (Vec<Option<i32>>, Vec<String>) {
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let column = concat_columns("k", &kind, pieces.to_vec()).unwrap();
        let column: &DictionaryArray<Int32Type> = downcast(&column).unwrap();
        let values: &StringArray = downcast(column.values()).unwrap();
        let values = values.iter().flatten().map(str::to_owned).collect();
        (column.keys().iter().collect(), values)
    }

    #[test]
    fn equal_dictionaries_stay_as_they_are_with_unused_values() {
        let a = piece(&[Some(2), None], &["z", "unused", "a"]);
        let b = piece(&[Some(0)], &["z", "unused", "a"]);
        let (codes, values) = unified(&[a, b]);
        assert_eq!(codes, [Some(2), None, Some(0)]);
        assert_eq!(values, ["z", "unused", "a"]);
    }

    #[test]
    fn different_dictionaries_are_joined_in_the_order_seen() {
        let a = piece(&[Some(1), Some(0)], &["b", "a"]);
        let b = piece(&[Some(0), Some(1), None], &["c", "b"]);
        let (codes, values) = unified(&[a, b]);
        assert_eq!(codes, [Some(1), Some(0), Some(2), Some(0), None]);
        assert_eq!(values, ["b", "a", "c"]);
        assert_eq!(unified(&[]), (vec![], vec![]));
    }

    #[test]
    fn numbers_become_categories_in_their_order_and_codes_stay() {
        let values = |column: &ArrayRef| {
            let column: &DictionaryArray<Int32Type> = downcast(column).unwrap();
            let keys: Vec<Option<i32>> = column.keys().iter().collect();
            (keys, Arc::clone(column.values()))
        };
        let kind = |t| DataType::Dictionary(Box::new(DataType::Int32), Box::new(t));
        let pieces: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(7), None, Some(-3), Some(7)])),
            Arc::new(Int32Array::from(vec![0, -3])),
        ];
        let column = concat_columns("k", &kind(DataType::Int32), pieces).unwrap();
        // In one piece all are in their order.
        let (codes, numbers) = values(&column);
        assert_eq!(codes, [Some(2), None, Some(0), Some(2), Some(1), Some(0)]);
        assert_eq!(
            numbers.as_ref(),
            &Int32Array::from(vec![-3, 0, 7]) as &dyn Array
        );
        // Batch by batch, new ones come at the end.
        let mut unifier = Unifier::of(&kind(DataType::Float64)).unwrap();
        let batch = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let first = unifier.add("k", &batch(vec![2.0, f64::NAN, 1.0])).unwrap();
        let second = unifier.add("k", &batch(vec![0.5, 2.0])).unwrap();
        assert_eq!(first, Int32Array::from(vec![Some(1), None, Some(0)]));
        let (codes, numbers) = values(&unifier.column("k", second).unwrap());
        assert_eq!(codes, [Some(2), Some(1)]);
        let expected = Float64Array::from(vec![1.0, 2.0, 0.5]);
        assert_eq!(numbers.as_ref(), &expected as &dyn Array);
        let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        let column = concat_columns("k", &kind(DataType::Boolean), vec![truths]).unwrap();
        let (codes, numbers) = values(&column);
        assert_eq!(codes, [Some(1), Some(0), Some(1)]);
        let expected = BooleanArray::from(vec![false, true]);
        assert_eq!(numbers.as_ref(), &expected as &dyn Array);
        let none = concat_columns("k", &kind(DataType::Int64), Vec::new()).unwrap();
        assert_eq!((none.len(), none.data_type()), (0, &kind(DataType::Int64)));
    }

    #[test]
    fn values_that_occur_twice_become_one() {
        let (codes, values) = unified(&[piece(&[Some(0), Some(1)], &["a", "a"])]);
        assert_eq!(
            (codes, values),
            (vec![Some(0), Some(0)], vec!["a".to_owned()])
        );
    }
}

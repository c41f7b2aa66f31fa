//! Categories that are the same over row groups and files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    UInt64Array, new_empty_array,
};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Int32Type};

use super::is_number;
use crate::table::downcast;
use crate::{Error, Result};

/// Gives every category the code that it had when it was seen first.
///
/// Each row group has a dictionary of its own.
/// When all have the same, that is the result; otherwise new values are appended in the order in which they come.
/// Codes that were handed out stay valid.
///
/// Numbers have no dictionary in files of Python: their categories, in their order, are known when all have been seen.
#[derive(Debug)]
pub(crate) enum Unifier {
    Texts(Texts),
    Numbers(Numbers),
}

impl Unifier {
    /// For a column of a type whose categories may take `limit` bytes; `None` for those without categories.
    ///
    /// Where the categories are numbers, `pieces` are the whole column.
    pub(crate) fn of(
        key: &str,
        data_type: &DataType,
        limit: u64,
        pieces: impl IntoIterator<Item = Result<ArrayRef>>,
    ) -> Result<Option<Self>> {
        Ok(match data_type {
            DataType::Dictionary(_, values) if is_number(values) => {
                let numbers = Numbers::of(key, values, limit, pieces)?;
                Some(Self::Numbers(numbers))
            }
            DataType::Dictionary(_, _) => Some(Self::Texts(Texts::new(limit))),
            _ => None,
        })
    }

    /// The same labels with codes of the common categories so far.
    pub(crate) fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
        match self {
            Self::Texts(texts) => texts.add(key, array),
            Self::Numbers(numbers) => numbers.codes(key, array),
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

/// An error when categories take more bytes than they may.
fn check_bytes(key: &str, found: u64, limit: u64) -> Result<()> {
    Error::check_size(key, "categories with bytes", found, limit)
}

fn next_code(key: &str, n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| Error::corrupt(key, "there are too many categories"))
}

/// Categories that are texts.
#[derive(Debug)]
pub(crate) struct Texts {
    codes: HashMap<String, i32>,
    values: Vec<String>,
    bytes: u64,
    limit: u64,
    /// The dictionary seen last and what its codes became; `None` for the same codes.
    last: Option<(ArrayRef, Option<Vec<i32>>)>,
    /// The values as an array, as far as they were handed out.
    shared: Option<ArrayRef>,
}

impl Texts {
    fn new(limit: u64) -> Self {
        Self {
            codes: HashMap::new(),
            values: Vec::new(),
            bytes: 0,
            // An array of texts counts its bytes with an `i32`.
            limit: limit.min(i32::MAX as u64),
            last: None,
            shared: None,
        }
    }

    fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
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
        // As an array: the text and an offset.
        self.bytes = self.bytes.saturating_add(text.len() as u64 + 4);
        check_bytes(key, self.bytes, self.limit)?;
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

/// Categories that are numbers or truth values, in their order.
#[derive(Debug)]
pub(crate) struct Numbers {
    data_type: DataType,
    /// What sorts as they do.
    sorted: Vec<u64>,
    values: ArrayRef,
}

impl Numbers {
    /// How many new numbers are held at least before they are sorted into the others.
    const TOGETHER: usize = 1 << 16;

    fn of(
        key: &str,
        data_type: &DataType,
        limit: u64,
        pieces: impl IntoIterator<Item = Result<ArrayRef>>,
    ) -> Result<Self> {
        let (mut sorted, mut new) = (Vec::new(), Vec::new());
        let join = |sorted: &mut Vec<u64>, new: &mut Vec<u64>| {
            new.sort_unstable();
            new.dedup();
            sorted.append(new);
            // Two runs, each in its order.
            sorted.sort();
            sorted.dedup();
            check_bytes(key, (sorted.len() as u64).saturating_mul(8), limit)
        };
        for piece in pieces {
            new.extend(ordinals(key, data_type, &piece?)?.iter().flatten());
            // As many as there are already, so that none is merged too often.
            if new.len() >= sorted.len().max(Self::TOGETHER) {
                join(&mut sorted, &mut new)?;
            }
        }
        join(&mut sorted, &mut new)?;
        next_code(key, sorted.len())?;
        let values = from_ordinals(key, data_type, &sorted)?;
        let data_type = data_type.clone();
        Ok(Self {
            data_type,
            sorted,
            values,
        })
    }

    fn codes(&self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
        let ordinals = ordinals(key, &self.data_type, array)?;
        let code = |ordinal: Option<u64>| match ordinal {
            None => Ok(None),
            Some(ordinal) => {
                let found = self.sorted.binary_search(&ordinal).ok();
                let code = found.and_then(|code| i32::try_from(code).ok());
                let changed = || Error::corrupt(key, "it changed while it was read");
                code.ok_or_else(changed).map(Some)
            }
        };
        ordinals.iter().map(code).collect()
    }
}

const SIGN: u64 = 1 << 63;

/// Whole numbers that sort as numbers of a type do and tell them apart as pandas does; NaN is no category.
pub(super) fn ordinals(key: &str, data_type: &DataType, array: &ArrayRef) -> Result<UInt64Array> {
    let wide = cast(array, &wide(data_type)).map_err(Error::arrow(key))?;
    let ordinals = if let Some(floats) = downcast::<Float64Array>(&wide) {
        floats.unary_opt(|v| {
            // Zero has two signs.
            let bits = (v + 0.0).to_bits();
            let ordinal = if bits & SIGN == 0 { bits | SIGN } else { !bits };
            (!v.is_nan()).then_some(ordinal)
        })
    } else if let Some(numbers) = downcast::<Int64Array>(&wide) {
        numbers.unary(|v| v.cast_unsigned() ^ SIGN)
    } else {
        let numbers = downcast::<UInt64Array>(&wide);
        let wrong = || Error::corrupt(key, "a column of numbers is none");
        numbers.cloned().ok_or_else(wrong)?
    };
    Ok(ordinals)
}

/// The numbers that [`ordinals`] stand for.
fn from_ordinals(key: &str, data_type: &DataType, ordinals: &[u64]) -> Result<ArrayRef> {
    let ordinals = ordinals.iter().copied();
    let float = |v: u64| f64::from_bits(if v & SIGN == 0 { !v } else { v & !SIGN });
    let wide: ArrayRef = match wide(data_type) {
        DataType::Float64 => Arc::new(Float64Array::from_iter_values(ordinals.map(float))),
        DataType::Int64 => {
            let numbers = ordinals.map(|v| (v ^ SIGN).cast_signed());
            Arc::new(Int64Array::from_iter_values(numbers))
        }
        _ => Arc::new(UInt64Array::from_iter_values(ordinals)),
    };
    cast(&wide, data_type).map_err(Error::arrow(key))
}

/// The widest type of the same kind.
fn wide(data_type: &DataType) -> DataType {
    if data_type.is_floating() {
        DataType::Float64
    } else if data_type.is_signed_integer() {
        DataType::Int64
    } else {
        DataType::UInt64
    }
}

/// Puts the pieces of a column together; its categories, where it has some, may take `limit` bytes.
pub(crate) fn concat_columns(
    key: &str,
    data_type: &DataType,
    limit: u64,
    mut pieces: Vec<ArrayRef>,
) -> Result<ArrayRef> {
    let all = pieces.iter().map(|piece| Ok(Arc::clone(piece)));
    if let Some(mut unifier) = Unifier::of(key, data_type, limit, all)? {
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
    Error::check_size(key, "a column of text with bytes", bytes, MOST)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float32Array};

    use super::*;

    fn piece(codes: &[Option<i32>], values: &[&str]) -> ArrayRef {
        let values = Arc::new(StringArray::from_iter_values(values));
        let codes = codes.iter().copied().collect();
        Arc::new(DictionaryArray::<Int32Type>::try_new(codes, values).unwrap())
    }

    fn unified(pieces: &[ArrayRef]) -> (Vec<Option<i32>>, Vec<String>) {
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let column = concat_columns("k", &kind, u64::MAX, pieces.to_vec()).unwrap();
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

    /// The codes and the categories of a column of numbers in pieces.
    fn of_numbers(kind: &DataType, pieces: Vec<ArrayRef>) -> (Vec<Option<i32>>, ArrayRef) {
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(kind.clone()));
        let column = concat_columns("k", &kind, u64::MAX, pieces).unwrap();
        assert_eq!(column.data_type(), &kind);
        let column: &DictionaryArray<Int32Type> = downcast(&column).unwrap();
        (column.keys().iter().collect(), Arc::clone(column.values()))
    }

    #[test]
    fn numbers_become_categories_in_their_order() {
        let pieces: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(7), None, Some(-3), Some(7)])),
            Arc::new(Int32Array::from(vec![0, -3])),
        ];
        let (codes, numbers) = of_numbers(&DataType::Int32, pieces);
        assert_eq!(codes, [Some(2), None, Some(0), Some(2), Some(1), Some(0)]);
        assert_eq!(
            numbers.as_ref(),
            &Int32Array::from(vec![-3, 0, 7]) as &dyn Array
        );
        // Zero is one number for pandas, and NaN none.
        let floats = vec![2.0, f64::NAN, -1.5, -0.0, 0.0, f64::NEG_INFINITY, f64::MAX];
        let (codes, numbers) = of_numbers(
            &DataType::Float64,
            vec![Arc::new(Float64Array::from(floats))],
        );
        assert_eq!(codes, [3, -1, 1, 2, 2, 0, 4].map(|c| (c >= 0).then_some(c)));
        let expected = Float64Array::from(vec![f64::NEG_INFINITY, -1.5, 0.0, 2.0, f64::MAX]);
        assert_eq!(numbers.as_ref(), &expected as &dyn Array);
        let (codes, numbers) = of_numbers(
            &DataType::UInt64,
            vec![Arc::new(UInt64Array::from(vec![u64::MAX, 0]))],
        );
        assert_eq!(codes, [Some(1), Some(0)]);
        assert_eq!(
            numbers.as_ref(),
            &UInt64Array::from(vec![0, u64::MAX]) as &dyn Array
        );
        let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        let (codes, numbers) = of_numbers(&DataType::Boolean, vec![truths]);
        assert_eq!(codes, [Some(1), Some(0), Some(1)]);
        assert_eq!(
            numbers.as_ref(),
            &BooleanArray::from(vec![false, true]) as &dyn Array
        );
        let (codes, numbers) = of_numbers(&DataType::Int64, Vec::new());
        assert_eq!((codes.len(), numbers.len()), (0, 0));
    }

    #[test]
    fn pieces_that_have_categories_of_numbers_are_joined() {
        let piece = |values: Vec<f32>, codes: Vec<i32>| -> ArrayRef {
            let values = Arc::new(Float32Array::from(values));
            Arc::new(DictionaryArray::new(Int32Array::from(codes), values))
        };
        // The first of the second piece is used nowhere.
        let pieces = vec![
            piece(vec![2.5, 4.0], vec![1, 0]),
            piece(vec![1.0, 4.0], vec![1]),
        ];
        let (codes, numbers) = of_numbers(&DataType::Float32, pieces);
        assert_eq!(codes, [Some(1), Some(0), Some(1)]);
        assert_eq!(
            numbers.as_ref(),
            &Float32Array::from(vec![2.5, 4.0]) as &dyn Array
        );
    }

    #[test]
    fn categories_take_no_more_bytes_than_they_may() {
        let refused = |kind: DataType, limit, pieces: Vec<ArrayRef>| {
            let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(kind));
            match concat_columns("k", &kind, limit, pieces) {
                Ok(_) => None,
                Err(Error::TooLarge { what, found, .. }) => Some((what, found)),
                Err(other) => panic!("{other}"),
            }
        };
        let n = 3 * Numbers::TOGETHER as i64;
        let numbers = |step: usize| -> Vec<ArrayRef> {
            let values: Vec<i64> = (0..n).rev().step_by(step).collect();
            let pieces = values.chunks(1000);
            pieces
                .map(|p| Arc::new(Int64Array::from(p.to_vec())) as _)
                .collect()
        };
        assert_eq!(refused(DataType::Int64, 8 * n as u64, numbers(1)), None);
        let (what, found) = refused(DataType::Int64, 8 * n as u64 - 1, numbers(1)).unwrap();
        assert_eq!((what, found), ("categories with bytes", 8 * n as u128));
        // Long before all have been seen.
        let (_, found) = refused(DataType::Int64, 8000, numbers(1)).unwrap();
        assert!(found < 8 * n as u128 / 2, "{found}");
        assert_eq!(
            refused(DataType::Int64, 8 * 2, numbers(n as usize - 1)),
            None
        );
        let texts = || {
            vec![
                piece(&[Some(0)], &["ab", "cd"]),
                piece(&[Some(0)], &["ef", "ab"]),
            ]
        };
        assert_eq!(refused(DataType::Utf8, 18, texts()), None);
        assert_eq!(refused(DataType::Utf8, 17, texts()).unwrap().1, 18);
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

//! Categories that are the same over row groups and files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int32Type};

use crate::table::downcast;
use crate::{Error, Result};

/// Gives every category the code that it had when it was seen first.
///
/// Each row group has a dictionary of its own.
/// When all have the same, that is the result; otherwise new values are appended in the order in which they come.
/// Codes that were handed out stay valid.
#[derive(Debug, Default)]
pub(crate) struct Unifier {
    codes: HashMap<String, i32>,
    values: Vec<String>,
    /// The dictionary seen last and what its codes became; `None` for the same codes.
    last: Option<(ArrayRef, Option<Vec<i32>>)>,
    /// The values as an array, as far as they were handed out.
    shared: Option<ArrayRef>,
}

impl Unifier {
    /// The same labels with codes of the common categories so far.
    pub(crate) fn add(&mut self, key: &str, array: &ArrayRef) -> Result<Int32Array> {
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
        let code = i32::try_from(self.values.len())
            .map_err(|_| Error::corrupt(key, "there are too many categories"))?;
        self.codes.insert(text.to_owned(), code);
        self.values.push(text.to_owned());
        Ok(code)
    }

    /// Codes with the categories so far.
    pub(crate) fn column(&mut self, key: &str, codes: Int32Array) -> Result<ArrayRef> {
        let values = match &self.shared {
            Some(values) if values.len() == self.values.len() => Arc::clone(values),
            _ => {
                let values: ArrayRef = Arc::new(StringArray::from_iter_values(&self.values));
                self.shared = Some(Arc::clone(&values));
                values
            }
        };
        let column = DictionaryArray::try_new(codes, values).map_err(Error::arrow(key))?;
        Ok(Arc::new(column))
    }
}

/// Puts the pieces of a column together.
pub(crate) fn concat_columns(
    key: &str,
    data_type: &DataType,
    pieces: Vec<ArrayRef>,
) -> Result<ArrayRef> {
    if let DataType::Dictionary(_, _) = data_type {
        let mut unifier = Unifier::default();
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
    let mut pieces = pieces;
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
    fn values_that_occur_twice_become_one() {
        let (codes, values) = unified(&[piece(&[Some(0), Some(1)], &["a", "a"])]);
        assert_eq!(
            (codes, values),
            (vec![Some(0), Some(0)], vec!["a".to_owned()])
        );
    }
}

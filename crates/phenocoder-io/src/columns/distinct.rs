//! Categories as pandas takes them: none is missing, and none is there twice.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array};
use arrow::compute::filter;
use arrow::datatypes::Int32Type;
use arrow::row::{RowConverter, SortField};

use super::category::ordinals;
use crate::{Error, Result};

/// The same column, with categories of which none is missing and none is there twice.
///
/// Of equal ones the first stays, and values whose category is missing are missing themselves.
pub(crate) fn distinct_categories(
    key: &str,
    column: &DictionaryArray<Int32Type>,
) -> Result<DictionaryArray<Int32Type>> {
    let categories = column.values();
    let comparable = comparable(key, categories)?;
    let field = SortField::new(comparable.data_type().clone());
    let rows = RowConverter::new(vec![field])
        .and_then(|converter| converter.convert_columns(&[Arc::clone(&comparable)]))
        .map_err(Error::arrow(key))?;
    // Only looked up: its order reaches nothing.
    let mut first = HashMap::new();
    let mut stays = Vec::with_capacity(categories.len());
    let mut codes = Vec::with_capacity(categories.len());
    for (at, row) in rows.iter().enumerate() {
        if comparable.is_null(at) {
            stays.push(false);
            codes.push(None);
            continue;
        }
        // No code of the column leads to categories beyond 32 bits.
        let next = i32::try_from(first.len()).unwrap_or(i32::MAX);
        let code = *first.entry(row).or_insert(next);
        stays.push(code == next);
        codes.push(Some(code));
    }
    if stays.iter().all(|&stays| stays) {
        return Ok(column.clone());
    }
    let categories = filter(categories, &BooleanArray::from(stays)).map_err(Error::arrow(key))?;
    let new_code = |old: Option<i32>| codes.get(usize::try_from(old?).ok()?).copied().flatten();
    let codes: Int32Array = column.keys().iter().map(new_code).collect();
    DictionaryArray::try_new(codes, categories).map_err(Error::arrow(key))
}

/// What is equal where categories are for pandas, and missing where they are: zero has no sign, and NaN is missing.
fn comparable(key: &str, categories: &ArrayRef) -> Result<ArrayRef> {
    let data_type = categories.data_type();
    if data_type.is_floating() {
        Ok(Arc::new(ordinals(key, data_type, categories)?))
    } else {
        Ok(Arc::clone(categories))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, LargeStringArray, StringArray};

    use super::*;

    fn distinct(codes: Vec<Option<i32>>, categories: ArrayRef) -> (Vec<Option<i32>>, ArrayRef) {
        let column = DictionaryArray::new(Int32Array::from(codes), categories);
        let column = distinct_categories("k", &column).unwrap();
        let codes = column.keys().iter().collect();
        (codes, Arc::clone(column.values()))
    }

    #[test]
    fn categories_that_are_right_stay_as_they_are_with_unused_ones() {
        let categories: ArrayRef = Arc::new(StringArray::from(vec!["z", "unused", "a"]));
        let (codes, found) = distinct(vec![Some(2), None, Some(0)], Arc::clone(&categories));
        assert_eq!(codes, [Some(2), None, Some(0)]);
        assert!(Arc::ptr_eq(&found, &categories));
        let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
        assert_eq!(distinct(vec![None], Arc::clone(&none)), (vec![None], none));
    }

    #[test]
    fn of_equal_categories_the_first_stays_and_missing_ones_are_missing_values() {
        let texts = [Some("b"), None, Some("a"), Some("b"), None, Some("")];
        let texts: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
        let codes = vec![Some(3), Some(1), Some(5), None, Some(2), Some(0), Some(4)];
        let (codes, found) = distinct(codes, texts);
        let expected = [Some(0), None, Some(2), None, Some(1), Some(0), None];
        assert_eq!(codes, expected);
        let expected: ArrayRef = Arc::new(LargeStringArray::from(vec!["b", "a", ""]));
        assert_eq!(*found, *expected);
    }

    #[test]
    fn numbers_are_told_apart_as_pandas_does() {
        let floats = vec![-0.0, f64::NAN, 0.0, 2.0, f64::NAN];
        let floats: ArrayRef = Arc::new(Float64Array::from(floats));
        let codes = (0..5).map(Some).collect();
        let (codes, found) = distinct(codes, floats);
        assert_eq!(codes, [Some(0), None, Some(0), Some(1), None]);
        let expected: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 2.0]));
        assert_eq!(*found, *expected);
        let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, true, false]));
        let (codes, found) = distinct(vec![Some(1), Some(2)], truths);
        assert_eq!(codes, [Some(0), Some(1)]);
        let expected: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(*found, *expected);
    }
}

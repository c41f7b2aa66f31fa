//! What a table must keep to be written, so that Python and this crate read it back.

use std::collections::BTreeSet;

use arrow::array::{Array, RecordBatch};

use super::data::UnreadColumn;
use super::frame::{Frame, NAMELESS};
use super::value::Uns;
use crate::array::places_of;
use crate::path::{check_column, check_index_name, problem_of_entry};
use crate::{Error, Result};

/// Checks `obs`, `var` or `raw/var`, whose columns have the names that SpatialData allows.
pub(super) fn check_frame<'a>(
    place: &str,
    frame: &'a RecordBatch,
    index: Option<&'a str>,
    unread: impl Iterator<Item = &'a UnreadColumn>,
    rows: usize,
) -> Result<()> {
    check_rows(place, frame.num_rows(), rows)?;
    if let Some(index) = index {
        check_index_name(index)?;
    }
    let columns = frame.schema_ref().fields().iter().map(|f| f.name());
    let columns = columns.map(String::as_str);
    let columns = columns.chain(unread.map(|column| column.name.as_str()));
    let mut seen: BTreeSet<String> = index.map(str::to_lowercase).into_iter().collect();
    for name in columns {
        check_column(name)?;
        if !seen.insert(name.to_lowercase()) {
            let problem =
                "another column or the index has this name, or one that differs in case only";
            return Err(Error::table(format!("{place}/{name}"), problem));
        }
    }
    Ok(())
}

/// Checks that an entry can lie in its group under its name.
pub(super) fn check_entry(group: &str, name: &str) -> Result<()> {
    match problem_of_entry(name) {
        None => Ok(()),
        Some(problem) => {
            let problem = format!("the name cannot be stored: {problem}");
            Err(Error::table(format!("{group}/{name}"), problem))
        }
    }
}

/// Checks an entry and all that is in it.
pub(super) fn check_value(group: &str, name: &str, value: &Uns) -> Result<()> {
    check_entry(group, name)?;
    check_parts(&format!("{group}/{name}"), value)
}

pub(super) fn check_shape(
    place: &str,
    found: (usize, usize),
    expected: (usize, usize),
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let problem = format!(
        "expected {} × {} values, found {} × {}",
        expected.0, expected.1, found.0, found.1
    );
    Err(Error::table(place, problem))
}

/// Checks an entry that has one row for each of those of the table, or of its variables.
pub(super) fn check_aligned(place: &str, entry: &Uns, rows: usize, square: bool) -> Result<()> {
    check_parts(place, entry)?;
    match entry.n_rows() {
        None if matches!(entry, Uns::Unsupported(_)) => Ok(()),
        None => Err(Error::table(place, "it is no matrix, column or data frame")),
        Some(found) => {
            check_rows(place, found, rows)?;
            match entry.matrix_shape() {
                Some(shape) if square => check_shape(place, shape, (rows, rows)),
                None if square => Err(Error::table(place, "it is no matrix")),
                _ => Ok(()),
            }
        }
    }
}

fn check_rows(place: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let problem = format!("expected {expected} rows, found {found}");
    Err(Error::table(place, problem))
}

/// Checks that the parts of a value fit together.
fn check_parts(place: &str, value: &Uns) -> Result<()> {
    match value {
        Uns::Dict(entries) => entries
            .iter()
            .try_for_each(|(name, value)| check_value(place, name, value)),
        Uns::Frame(frame) => check_inner_frame(place, frame),
        Uns::Texts(texts) if places_of(&texts.shape) != Some(texts.values.len()) => {
            let (shape, found) = (&texts.shape, texts.values.len());
            let problem = format!("expected a text for every place of {shape:?}, found {found}");
            Err(Error::table(place, problem))
        }
        _ => Ok(()),
    }
}

/// Checks a data frame among the entries: pandas has any names there, and each needs a place of its own.
fn check_inner_frame(place: &str, frame: &Frame) -> Result<()> {
    check_rows(place, frame.columns.num_rows(), frame.index.len())?;
    let index = frame.index_name.as_deref().unwrap_or(NAMELESS);
    check_entry(place, index)?;
    let mut seen = BTreeSet::new();
    let fields = frame.columns.schema_ref().fields();
    for (field, column) in fields.iter().zip(frame.columns.columns()) {
        let name = field.name().as_str();
        check_entry(place, name)?;
        let refuse = |problem: &str| Err(Error::table(format!("{place}/{name}"), problem));
        if !seen.insert(name) {
            return refuse("another column has this name");
        }
        // anndata writes an index beside a column of its name where both are the same.
        if name == index && **column != *frame.index {
            return refuse("the index has this name and other values");
        }
    }
    Ok(())
}

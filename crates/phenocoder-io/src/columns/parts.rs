//! One table over several files, each opened when it is needed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rayon::prelude::*;

use super::seal::{Seal, Seals};
use super::{Aligned, ColumnFile, Index, Unifier, concat_columns, field_of_table, stored_type};
use crate::node::Node;
use crate::path::child;
use crate::root::Root;
use crate::{Error, Result};

/// The files of a table; the first is open and tells the columns.
#[derive(Debug)]
pub(crate) struct Parts {
    root: Arc<Root>,
    /// The element, for messages.
    key: String,
    keys: Vec<String>,
    files: Vec<OnceLock<Arc<ColumnFile>>>,
    /// What the element tells of each file.
    seals: Vec<Option<Seal>>,
    fields: Vec<Field>,
    /// The column that holds the names of the rows.
    index: Option<String>,
}

/// A row group of one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) file: usize,
    pub(crate) group: usize,
    /// The number of its first row in the table.
    pub(crate) start: u64,
    pub(crate) rows: u64,
}

/// The files of an element in their order, and the first of them where it is open already.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) keys: Vec<String>,
    pub(crate) first: Option<ColumnFile>,
}

impl From<Vec<String>> for Files {
    fn from(keys: Vec<String>) -> Self {
        Self { keys, first: None }
    }
}

/// What can be opened of some files, and what is wrong with the others.
pub(crate) type Survey = (Option<Parts>, Vec<(String, Error)>);

impl Parts {
    /// Opens the first of some files, of which the element tells what they should be.
    ///
    /// A file that is gone or has changed is an error, unless another program has written the files anew.
    pub(crate) fn open(
        root: &Arc<Root>,
        node: &Node,
        files: impl FnOnce(&Seals) -> Result<Files>,
    ) -> Result<Self> {
        let (key, seals) = (node.key.as_str(), &Seals::parse(&node.attributes));
        let files = files(seals)?;
        let place = files.keys.first().map_or(key, String::as_str);
        let first = match files.first {
            Some(first) => first,
            None => open_file(root, place, seals.of(key, place))?,
        };
        let lost = match first.is_told(seals.of(key, place)) {
            true => lost(key, &files.keys, seals).into_iter().next(),
            false => None,
        };
        if let Some(key) = lost {
            return Err(Error::MissingChunk { key });
        }
        Self::with_first(root, key, files.keys, seals, first)
    }

    /// Reads a file that is no element, in the types that it tells.
    pub(crate) fn read_file(root: &Arc<Root>, key: &str) -> Result<RecordBatch> {
        let first = open_file(root, key, None)?;
        let schema = Arc::clone(first.schema());
        let is_dictionary = |t: &DataType| matches!(t, DataType::Dictionary(_, _));
        let fields = first.fields().iter().zip(schema.fields());
        let fields = fields.map(|(read, stored)| match is_dictionary(stored.data_type()) {
            true => field_of_table(read),
            // Numbers that only the note of pandas calls categories stay numbers.
            false => read.as_ref().clone(),
        });
        let fields: Vec<Field> = fields.collect();
        let keys = vec![key.to_owned()];
        let parts = Self::with_first(root, key, keys, &Seals::default(), first)?;
        let rows = parts.n_rows()?;
        let mut columns = parts.read(&fields, 0..rows)?;
        let mut stored = Vec::with_capacity(columns.len());
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            // Texts that only the note of pandas calls categories are not taken apart: they may stand for more than memory
            // holds.
            if is_dictionary(field.data_type()) || !is_dictionary(column.data_type()) {
                *column = cast(column, field.data_type()).map_err(Error::arrow(key))?;
            }
            stored.push(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(column.data_type().clone()),
            );
        }
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let schema = Schema::new_with_metadata(stored, schema.metadata().clone());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
            .map_err(Error::arrow(key))
    }

    /// Opens what can be opened, where nothing that is damaged or gone is to hide the rest.
    ///
    /// Files that are damaged before the first sound one are left out; those after it are opened when they are read.
    pub(crate) fn survey(
        root: &Arc<Root>,
        node: &Node,
        files: impl FnOnce(&Seals) -> Result<Files>,
    ) -> Result<Survey> {
        let (key, seals) = (node.key.as_str(), &Seals::parse(&node.attributes));
        let files = files(seals)?;
        let mut gone = lost(key, &files.keys, seals);
        let mut held = files.first;
        let mut keys = files.keys.into_iter();
        let mut problems = Vec::new();
        let mut parts = None;
        while let Some(place) = keys.next() {
            let seal = seals.of(key, &place);
            let opened = match held.take() {
                Some(file) => Ok(file),
                None => open_file(root, &place, seal),
            };
            let checked = opened.and_then(|file| {
                if file.is_told(seal) {
                    file.check(seal)?;
                } else {
                    // Another program has written the files anew.
                    gone.clear();
                }
                Ok(file)
            });
            match checked {
                Err(error) => problems.push((place, error)),
                Ok(first) => {
                    let rest = std::iter::once(place).chain(keys).collect();
                    match Self::with_first(root, key, rest, seals, first) {
                        Ok(opened) => parts = Some(opened),
                        Err(error) => problems.push((key.to_owned(), error)),
                    }
                    break;
                }
            }
        }
        let gone = gone
            .into_iter()
            .map(|key| (key.clone(), Error::MissingChunk { key }));
        problems.extend(gone);
        Ok((parts, problems))
    }

    fn with_first(
        root: &Arc<Root>,
        key: &str,
        keys: Vec<String>,
        seals: &Seals,
        first: ColumnFile,
    ) -> Result<Self> {
        let mut told: Vec<Option<Seal>> = keys.iter().map(|place| seals.of(key, place)).collect();
        let of_first = told.first().copied().flatten();
        if first.is_told(of_first) {
            first.check(of_first)?;
        } else {
            told.fill(None);
        }
        let files: Vec<OnceLock<_>> = keys.iter().map(|_| OnceLock::new()).collect();
        if let Some(file) = files.first() {
            file.get_or_init(|| Arc::new(first));
        }
        let mut parts = Self {
            root: Arc::clone(root),
            key: key.to_owned(),
            keys,
            files,
            seals: told,
            fields: Vec::new(),
            index: None,
        };
        let first = parts.file(0)?;
        let fields = first.fields().iter().map(|field| field_of_table(field));
        let index = match &first.pandas().index {
            Some(Index::Column(name)) => first.position(name).map(|_| name.clone()),
            Some(Index::Range { .. }) => None,
            None => fields
                .clone()
                .map(|field| field.name().clone())
                .find(|name| super::pandas::is_nameless(name)),
        };
        parts.fields = fields
            .filter(|f| Some(f.name()) != index.as_ref())
            .collect();
        parts.index = index;
        let mut names: Vec<&String> = parts.fields.iter().map(Field::name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(
                first.key(),
                "columns of different names",
                pair[0],
            ));
        }
        Ok(parts)
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The columns without the index.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn n_files(&self) -> usize {
        self.keys.len()
    }

    /// Where a file is.
    pub(crate) fn file_key(&self, file: usize) -> &str {
        self.keys.get(file).map_or(&self.key, String::as_str)
    }

    /// Whether the element tells what a file should be.
    pub(crate) fn is_sealed(&self, file: usize) -> bool {
        self.seals.get(file).is_some_and(Option::is_some)
    }

    /// Checks that a file has all columns, with the types that the first has.
    pub(crate) fn check_columns(&self, file: &ColumnFile) -> Result<()> {
        self.fields
            .iter()
            .try_for_each(|field| self.position(file, field).map(|_| ()))
    }

    pub(crate) fn index_name(&self) -> Result<Option<String>> {
        Ok(self.file(0)?.pandas().index_name())
    }

    pub(crate) fn file(&self, file: usize) -> Result<Arc<ColumnFile>> {
        let no_file = || Error::missing(&self.key, "a file with rows");
        let held = self.files.get(file).ok_or_else(no_file)?;
        if let Some(open) = held.get() {
            return Ok(Arc::clone(open));
        }
        let key = self.keys.get(file).ok_or_else(no_file)?;
        let seal = self.seals.get(file).copied().flatten();
        let open = open_file(&self.root, key, seal)?;
        open.check(seal)?;
        Ok(Arc::clone(held.get_or_init(|| Arc::new(open))))
    }

    /// All row groups, with empty ones; reads the footers of all files.
    pub(crate) fn groups(&self) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let mut start = 0_u64;
        for file in 0..self.keys.len() {
            let open = self.file(file)?;
            for group in 0..open.n_groups() {
                let rows = open.rows_of(group);
                groups.push(Group {
                    file,
                    group,
                    start,
                    rows,
                });
                start = start
                    .checked_add(rows)
                    .ok_or_else(|| Error::invalid(&self.key, "fewer rows", "too many"))?;
            }
        }
        Ok(groups)
    }

    /// The least and greatest value of each of some columns in a row group; `None` where the file does not tell one.
    pub(crate) fn extents(
        &self,
        group: Group,
        columns: &[&str],
    ) -> Result<Option<Vec<(f64, f64)>>> {
        let file = self.file(group.file)?;
        let extent = |name: &&str| file.extent(group.group, file.position(name)?);
        Ok(columns.iter().map(extent).collect())
    }

    pub(crate) fn n_rows(&self) -> Result<u64> {
        Ok(self
            .groups()?
            .last()
            .map_or(0, |group| group.start + group.rows))
    }

    /// The fields of some columns.
    pub(crate) fn select(&self, columns: &[&str]) -> Result<Vec<Field>> {
        columns
            .iter()
            .map(|name| {
                let found = self.fields.iter().find(|field| field.name() == name);
                found.cloned().ok_or_else(|| Error::NoEntry {
                    key: self.key.clone(),
                    what: "column",
                    name: (*name).to_owned(),
                    available: crate::error::listing(self.fields.iter().map(Field::name)),
                })
            })
            .collect()
    }

    /// Where a column is in a file; one that is missing or has another type there is an error.
    fn position(&self, file: &ColumnFile, field: &Field) -> Result<usize> {
        let column = file
            .position(field.name())
            .ok_or_else(|| Error::missing(file.key(), format!("the column `{}`", field.name())))?;
        let found = file.fields().get(column).map(|f| f.data_type().clone());
        let expected = stored_type(field.data_type());
        if found.as_ref() == Some(expected) {
            return Ok(column);
        }
        let expected = format!("{expected} in column `{}`", field.name());
        let found = found.map_or_else(String::new, |t| t.to_string());
        Err(Error::invalid(file.key(), expected, found))
    }

    /// Reads rows of some columns, each in the pieces in which they are decoded.
    pub(crate) fn pieces(&self, fields: &[Field], rows: Range<u64>) -> Result<Vec<Vec<ArrayRef>>> {
        let groups = self.groups()?;
        let n = groups.last().map_or(0, |group| group.start + group.rows);
        if rows.start > rows.end || rows.end > n {
            return Err(Error::NoEntry {
                key: self.key.clone(),
                what: "rows",
                name: format!("{rows:?}"),
                available: format!("0..{n}"),
            });
        }
        let within: Vec<Group> = groups
            .into_iter()
            .filter(|g| g.rows > 0 && g.start < rows.end && rows.start < g.start + g.rows)
            .collect();
        let mut bytes = 0_u128;
        let mut tasks = Vec::with_capacity(within.len() * fields.len());
        for &group in &within {
            let file = self.file(group.file)?;
            let columns: Vec<usize> = fields
                .iter()
                .map(|f| self.position(&file, f))
                .collect::<Result<_>>()?;
            bytes = bytes.saturating_add(file.bytes_of(group.group, &columns));
            // Numbers that become categories have codes beside.
            let coded = fields.iter().filter(|f| is_coded(f)).count();
            bytes = bytes.saturating_add(coded as u128 * u128::from(group.rows) * 4);
            tasks.extend(
                columns
                    .into_iter()
                    .map(|column| (group, Arc::clone(&file), column)),
            );
        }
        self.check_bytes("columns with bytes", bytes)?;
        // What a footer claims is one thing: a short dictionary can stand for any number of long texts.
        let held = AtomicU64::new(0);
        let count = |piece: Result<ArrayRef>, dictionary: &mut Option<ArrayRef>| {
            let mut piece = piece?;
            if is_variable(piece.data_type())
                && let Some(array) = Arc::get_mut(&mut piece)
            {
                // Decoders take room for more than comes.
                array.shrink_to_fit();
            }
            let size = match piece.as_any_dictionary_opt() {
                // The pieces of a column share their dictionary, unless each had to make one.
                Some(categories) => {
                    let values = categories.values();
                    let is_known = dictionary.as_ref().is_some_and(|d| Arc::ptr_eq(d, values));
                    let keys = self.held(categories.keys())?;
                    if is_known {
                        keys
                    } else {
                        *dictionary = Some(Arc::clone(values));
                        keys.saturating_add(self.held(values)?)
                    }
                }
                None => self.held(&piece)?,
            };
            let all = held.fetch_add(size, Ordering::Relaxed).saturating_add(size);
            self.check_bytes("decoded columns with bytes", all.into())?;
            Ok(piece)
        };
        let mut pieces: Vec<Vec<ArrayRef>> = tasks
            .par_iter()
            .map(|(group, file, column)| {
                let mut dictionary = None;
                let pieces = file
                    .values(group.group, *column)?
                    .map(|piece| count(piece, &mut dictionary))
                    .collect::<Result<Vec<_>>>()?;
                let first = rows.start.saturating_sub(group.start);
                let last = rows.end.min(group.start + group.rows) - group.start;
                Ok(cut(pieces, first..last))
            })
            .collect::<Vec<Result<_>>>()
            .into_iter()
            .collect::<Result<_>>()?;
        let n = fields.len();
        Ok((0..n)
            .map(|at| {
                pieces
                    .iter_mut()
                    .skip(at)
                    .step_by(n)
                    .flat_map(std::mem::take)
                    .collect()
            })
            .collect())
    }

    /// Reads rows of some columns.
    pub(crate) fn read(&self, fields: &[Field], rows: Range<u64>) -> Result<Vec<ArrayRef>> {
        let pieces = self.pieces(fields, rows)?;
        fields
            .iter()
            .zip(pieces)
            .map(|(field, pieces)| self.concat(field, pieces))
            .collect()
    }

    /// Puts the pieces of a column together.
    pub(crate) fn concat(&self, field: &Field, pieces: Vec<ArrayRef>) -> Result<ArrayRef> {
        let limit = self.root.options.max_array_bytes;
        concat_columns(&self.key, field.data_type(), limit, pieces)
    }

    /// What makes the categories of a column the same in all batches.
    ///
    /// Where they are numbers, reads the whole column.
    fn unifier(&self, field: &Field) -> Result<Option<Unifier>> {
        let limit = self.root.options.max_array_bytes;
        let groups = if is_coded(field) {
            self.groups()?
        } else {
            Vec::new()
        };
        let pieces = groups.into_iter().flat_map(|group| {
            let values = self
                .file(group.file)
                .and_then(|file| file.values(group.group, self.position(&file, field)?));
            let (values, error) = match values {
                Ok(values) => (Some(values), None),
                Err(error) => (None, Some(Err(error))),
            };
            values.into_iter().flatten().chain(error)
        });
        Unifier::of(&self.key, field.data_type(), limit, pieces)
    }

    /// The bytes that an array holds.
    fn held(&self, array: &dyn Array) -> Result<u64> {
        let held = array.to_data().get_slice_memory_size();
        Ok(held.map_err(Error::arrow(&self.key))? as u64)
    }

    fn check_bytes(&self, what: &'static str, found: u128) -> Result<()> {
        Error::check_size(&self.key, what, found, self.root.options.max_array_bytes)
    }

    /// Reads rows of some columns as a batch.
    pub(crate) fn read_batch(&self, fields: Vec<Field>, rows: Range<u64>) -> Result<RecordBatch> {
        let n = usize::try_from(rows.end.saturating_sub(rows.start)).unwrap_or(usize::MAX);
        let columns = self.read(&fields, rows)?;
        crate::table::batch(&self.key, fields, columns, n)
    }

    /// Reads the names of rows: numbers or text.
    pub(crate) fn index(&self, rows: Range<u64>) -> Result<ArrayRef> {
        let first = self.file(0)?;
        if let Some(name) = &self.index
            && let Some(field) = first.fields().iter().find(|f| f.name() == name)
        {
            let field = field.as_ref().clone().with_name(name);
            let read = self.read(std::slice::from_ref(&field), rows)?;
            return read
                .into_iter()
                .next()
                .ok_or_else(|| Error::missing(&self.key, "the index"));
        }
        let bytes = u128::from(rows.end.saturating_sub(rows.start)) * 8;
        self.check_bytes("an index with bytes", bytes)?;
        let mut values: Vec<i64> = Vec::new();
        let mut file_start = 0;
        for file in 0..self.keys.len() {
            let open = self.file(file)?;
            let n = open.n_rows();
            let (start, step) = match open.pandas().index {
                Some(Index::Range { start, step, .. }) => (start, step),
                _ => (file_start, 1),
            };
            let (from, to) = (file_start.cast_unsigned(), file_start.cast_unsigned() + n);
            let (first, last) = (rows.start.max(from), rows.end.min(to));
            values.extend((first..last.max(first)).map(|row| {
                let row = (row - from).cast_signed();
                start.wrapping_add(step.wrapping_mul(row))
            }));
            file_start = to.cast_signed();
        }
        Ok(Arc::new(Int64Array::from(values)))
    }

    /// Reads some columns batch by batch, each at most as long as a row group.
    pub(crate) fn batches(self: &Arc<Self>, fields: Vec<Field>) -> Batches {
        Batches {
            parts: Arc::clone(self),
            schema: Arc::new(Schema::new(fields)),
            unifiers: None,
            file: 0,
            group: 0,
            open: None,
            failed: false,
        }
    }
}

fn is_coded(field: &Field) -> bool {
    field.data_type() != stored_type(field.data_type())
}

fn is_variable(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary)
}

/// Opens a file that must be there; one that the element tells of is lost otherwise.
fn open_file(root: &Root, key: &str, seal: Option<Seal>) -> Result<ColumnFile> {
    ColumnFile::open(root, key)?.ok_or_else(|| match seal {
        Some(_) => Error::MissingChunk {
            key: key.to_owned(),
        },
        None => Error::missing(key, "a file"),
    })
}

/// The files that the element tells of and that are not there.
fn lost(key: &str, keys: &[String], seals: &Seals) -> Vec<String> {
    let there: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    let places = seals.paths().map(|path| child(key, path));
    places
        .filter(|place| !there.contains(place.as_str()))
        .collect()
}

/// Keeps a range of the rows of pieces.
fn cut(pieces: Vec<ArrayRef>, rows: Range<u64>) -> Vec<ArrayRef> {
    let mut at = 0_u64;
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = at + piece.len() as u64;
        let (first, last) = (rows.start.max(at), rows.end.min(end));
        if first < last {
            // Both are within the piece, whose length is a `usize`.
            let (offset, n) = ((first - at) as usize, (last - first) as usize);
            kept.push(if n == piece.len() {
                piece
            } else {
                piece.slice(offset, n)
            });
        }
        at = end;
    }
    kept
}

/// The rows of a table, batch by batch.
#[derive(Debug)]
pub(crate) struct Batches {
    parts: Arc<Parts>,
    schema: SchemaRef,
    /// Those of the columns, from the first batch on.
    unifiers: Option<Vec<Option<Unifier>>>,
    file: usize,
    group: usize,
    open: Option<Aligned>,
    failed: bool,
}

impl Batches {
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next()? {
                    Some(columns) => return self.batch(columns).map(Some),
                    None => self.open = None,
                }
            }
            if self.file >= self.parts.n_files() {
                return Ok(None);
            }
            let file = self.parts.file(self.file)?;
            if self.group >= file.n_groups() {
                (self.file, self.group) = (self.file + 1, 0);
                continue;
            }
            let group = self.group;
            self.group += 1;
            let fields = self.schema.fields();
            if fields.is_empty() {
                let n = usize::try_from(file.rows_of(group)).unwrap_or(usize::MAX);
                return crate::table::batch(self.parts.key(), Vec::new(), Vec::new(), n).map(Some);
            }
            let columns = fields
                .iter()
                .map(|field| file.values(group, self.parts.position(&file, field)?))
                .collect::<Result<_>>()?;
            self.open = Some(Aligned::new(columns));
        }
    }

    fn batch(&mut self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let key = &self.parts.key;
        let unifiers = match &mut self.unifiers {
            Some(unifiers) => unifiers,
            none => {
                let fields = self.schema.fields().iter();
                let made = fields.map(|field| self.parts.unifier(field));
                none.insert(made.collect::<Result<_>>()?)
            }
        };
        let columns = columns
            .into_iter()
            .zip(unifiers)
            .map(|(column, unifier)| match unifier {
                Some(unifier) => {
                    let codes = unifier.add(key, &column)?;
                    unifier.column(key, codes)
                }
                None => Ok(column),
            })
            .collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(Error::arrow(key))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = !matches!(item, Some(Ok(_)));
        item
    }
}

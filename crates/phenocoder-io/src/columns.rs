//! Parquet files of a store, read by row group and column.
//!
//! The parquet crate decodes values and writes files.
//! Footers and pages are fetched, checked and unpacked here, so that a damaged or hostile file takes no more memory
//! than the limits allow.

mod category;
mod delta;
mod dictionary;
mod distinct;
mod footer;
mod page;
mod pandas;
mod parts;
mod seal;
mod thrift;
mod unpack;
mod write;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use self::seal::{Headers, Seal};
use crate::root::{RangeFile, Root};
use crate::table::{ENCODING, ORDERED, downcast};
use crate::{Error, OpenOptions, Result};

pub(crate) use category::{Unifier, concat_columns};
pub(crate) use distinct::distinct_categories;
pub(crate) use pandas::{Index, Pandas};
pub(crate) use parts::{Batches, Files, Group, Parts, Survey};
pub(crate) use seal::Seals;
pub use write::ParquetCompression;
pub(crate) use write::{MOST_GROUP_ROWS, NewIndex, NewTable};

/// Tells that numbers are categories, in the metadata of a field of a file.
const CATEGORIES: &str = "phenocoder.categories";
/// How many rows are decoded at once.
const BATCH_ROWS: usize = 1 << 16;
/// How many bytes a batch of texts may take, as far as their lengths are known.
const BATCH_BYTES: usize = 8 << 20;

/// A file and the limits under which it is read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: RangeFile,
    pub(crate) key: String,
    pub(crate) limits: OpenOptions,
    pages: AtomicU64,
    unsealed: AtomicU64,
}

impl Source {
    fn failed(&self, source: ParquetError) -> Error {
        Error::Parquet {
            path: self.key.clone().into(),
            source,
        }
    }

    fn parquet(&self, problem: &str) -> Error {
        self.failed(ParquetError::General(problem.to_owned()))
    }
}

/// An open file of which the footer has been read.
#[derive(Debug)]
pub(crate) struct ColumnFile {
    source: Arc<Source>,
    metadata: Arc<ParquetMetaData>,
    fields: Fields,
    /// The columns, as the file tells them.
    schema: SchemaRef,
    pandas: Pandas,
    /// The size of the file and the checksum of its footer, as found.
    seal: Seal,
    /// The checksums of the headers of all pages, where the file tells them.
    headers: Option<Headers>,
}

impl ColumnFile {
    /// Opens a file, or `None` where there is none.
    pub(crate) fn open(root: &Root, key: &str) -> Result<Option<Self>> {
        let Some(file) = root.ranges(key)? else {
            return Ok(None);
        };
        Self::read_footer(file, key, root.options.clone()).map(Some)
    }

    /// Reads the footer of a file.
    pub(crate) fn read_footer(file: RangeFile, key: &str, limits: OpenOptions) -> Result<Self> {
        let source = Source {
            file,
            key: key.to_owned(),
            limits,
            pages: AtomicU64::new(0),
            unsealed: AtomicU64::new(0),
        };
        let (metadata, footer) = footer::read(&source)?;
        let file = metadata.file_metadata();
        let noted = |name: &str| {
            let pairs = file.key_value_metadata()?;
            pairs.iter().find(|pair| pair.key == name)?.value.as_deref()
        };
        let pandas = match noted("pandas") {
            Some(text) => Pandas::parse(key, text)?,
            None => Pandas::default(),
        };
        let pairs = file.key_value_metadata();
        let schema = file.schema_descr();
        // A schema of Arrow that cannot be read is no loss: Parquet's own tells all but categories.
        let arrow = catch_unwind(AssertUnwindSafe(|| {
            parquet_to_arrow_schema(schema, pairs)
                .or_else(|_| parquet_to_arrow_schema(schema, None))
        }))
        .unwrap_or_else(|_| {
            Err(ParquetError::General(
                "the schema cannot be read".to_owned(),
            ))
        })
        .map_err(|error| source.failed(error))?;
        let fields = arrow
            .fields()
            .iter()
            .map(|f| plain_field(f, &pandas))
            .collect();
        let headers = match noted(seal::HEADERS) {
            // Other programs copy notes that they do not know from the files that they read.
            Some(note) if is_ours(&metadata) => {
                let n_groups = metadata.num_row_groups();
                let headers = Headers::parse(note, n_groups, schema.num_columns());
                Some(headers.ok_or_else(|| source.parquet("the note of its pages is damaged"))?)
            }
            _ => None,
        };
        let seal = Seal {
            bytes: source.file.size,
            footer,
        };
        Ok(Self {
            source: Arc::new(source),
            metadata,
            fields,
            schema: Arc::new(arrow),
            pandas,
            seal,
            headers,
        })
    }

    /// Whether this crate wrote the file, as one of an element, or it is what the element tells, as far as its size shows.
    pub(crate) fn is_told(&self, seal: Option<Seal>) -> bool {
        self.headers.is_some() || seal.is_some_and(|seal| seal.bytes == self.seal.bytes)
    }

    /// Compares the file with what the element tells of it.
    fn check(&self, seal: Option<Seal>) -> Result<()> {
        match seal {
            Some(seal) if seal != self.seal => Err(Error::Checksum {
                key: self.key().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The pages read so far, and how many of them had no checksum.
    pub(crate) fn pages(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.source.pages), count(&self.source.unsealed))
    }

    pub(crate) fn key(&self) -> &str {
        &self.source.key
    }

    /// The columns, as they are read.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The columns and notes, as the file tells them.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn pandas(&self) -> &Pandas {
        &self.pandas
    }

    /// A note of the file, such as `geo`.
    pub(crate) fn note(&self, name: &str) -> Option<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == name)?.value.as_deref()
    }

    pub(crate) fn position(&self, column: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name() == column)
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.metadata.file_metadata().num_rows().cast_unsigned()
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    pub(crate) fn rows_of(&self, group: usize) -> u64 {
        self.metadata.row_group(group).num_rows().cast_unsigned()
    }

    /// The least and greatest value of a column of numbers in a row group, where the file tells them.
    pub(crate) fn extent(&self, group: usize, column: usize) -> Option<(f64, f64)> {
        let leaf = self.leaf(column)?;
        let (least, greatest) = match self.metadata.row_group(group).column(leaf).statistics()? {
            Statistics::Int32(s) => (f64::from(*s.min_opt()?), f64::from(*s.max_opt()?)),
            // Rounded as the values are, which keeps their order.
            Statistics::Int64(s) => (*s.min_opt()? as f64, *s.max_opt()? as f64),
            Statistics::Float(s) => (f64::from(*s.min_opt()?), f64::from(*s.max_opt()?)),
            Statistics::Double(s) => (*s.min_opt()?, *s.max_opt()?),
            _ => return None,
        };
        // Decimals are stored without their scale, unsigned numbers as signed ones.
        let data_type = self.fields[column].data_type();
        let is_plain = data_type.is_signed_integer() || data_type.is_floating();
        (is_plain && least <= greatest).then_some((least, greatest))
    }

    /// The position among the leaves of a column without children.
    fn leaf(&self, column: usize) -> Option<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mut leaves =
            (0..schema.num_columns()).filter(|&l| schema.get_column_root_idx(l) == column);
        let leaf = leaves.next()?;
        leaves.next().is_none().then_some(leaf)
    }

    /// The leaves below a column, such as the coordinates of a polygon.
    fn leaves(&self, column: usize) -> Vec<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        (0..schema.num_columns())
            .filter(|&leaf| schema.get_column_root_idx(leaf) == column)
            .collect()
    }

    /// How many bytes columns of a row group take, as far as the footer tells.
    pub(crate) fn bytes_of(&self, group: usize, columns: &[usize]) -> u128 {
        let columns = columns.iter();
        columns
            .map(|&column| self.bytes_of_one(group, column))
            .sum()
    }

    fn bytes_of_one(&self, group: usize, column: usize) -> u128 {
        let row_group = self.metadata.row_group(group);
        let rows = u128::from(row_group.num_rows().cast_unsigned());
        let data_type = self.fields[column].data_type();
        let is_nested = data_type.is_nested();
        let width = data_type.primitive_width().unwrap_or(4) as u128;
        let leaves = self.leaves(column).into_iter().map(|leaf| {
            let chunk = row_group.column(leaf);
            let packed = u128::from(chunk.uncompressed_size().cast_unsigned());
            let values = u128::from(chunk.num_values().cast_unsigned());
            let width = match (chunk.column_type(), is_nested) {
                (Type::FIXED_LEN_BYTE_ARRAY, _) => {
                    chunk.column_descr().type_length().max(0) as u128
                }
                // Below lists a value is up to 8 bytes and its two levels; and an offset may be its own.
                (_, true) => 16,
                (_, false) => width,
            };
            packed.max(values * width)
        });
        leaves.sum::<u128>().max(rows * width)
    }

    /// The rows of one column of one row group, in batches.
    pub(crate) fn values(&self, group: usize, column: usize) -> Result<Values> {
        let failure: page::Failure = Arc::default();
        let field = &self.fields[column];
        let row_group = self.metadata.row_group(group);
        let mut batch_rows = BATCH_ROWS;
        let mut readers = Vec::new();
        if field.data_type().is_nested() {
            // A row of a list may be of any length: it cannot be read in batches.
            let found = self.bytes_of_one(group, column);
            let limit = self.source.limits.max_array_bytes;
            Error::check_size(
                &self.source.key,
                "a column of lists with bytes",
                found,
                limit,
            )?;
        }
        for leaf in self.leaves(column) {
            let chunk = row_group.column(leaf);
            let headers = self.headers.as_ref().map(|headers| headers.of(group, leaf));
            let mut pages = page::Pages::new(&self.source, chunk, headers, &failure);
            // Categories, too, become values where pages without the dictionary follow.
            let mut longest = match chunk.column_type() {
                Type::FIXED_LEN_BYTE_ARRAY => chunk.column_descr().type_length().max(0) as usize,
                _ => pages.longest_in_dictionary()?,
            };
            if chunk.column_type() == Type::BYTE_ARRAY {
                let bytes = chunk.uncompressed_size().cast_unsigned();
                let average = bytes / chunk.num_values().cast_unsigned().max(1);
                longest = longest.max(usize::try_from(average).unwrap_or(usize::MAX));
                if chunk.encodings().any(|e| e == Encoding::DELTA_BYTE_ARRAY) {
                    let repeated = page::Pages::longest_repeated(&self.source, chunk)?;
                    longest = longest.max(usize::try_from(repeated).unwrap_or(usize::MAX));
                    pages = pages.measured();
                }
            }
            batch_rows = batch_rows.min(BATCH_BYTES / longest.max(1)).max(1);
            readers.push((leaf, Mutex::new(Some(pages))));
        }
        let rows = row_group.num_rows().cast_unsigned();
        let chunks = Chunks {
            metadata: &self.metadata,
            group,
            rows: usize::try_from(rows)
                .map_err(|_| self.source.parquet("there are too many rows"))?,
            readers,
        };
        let reader = guarded(|| {
            let schema = self.metadata.file_metadata().schema_descr();
            let mask = ProjectionMask::roots(schema, [column]);
            let levels = parquet_to_arrow_field_levels(schema, mask, Some(&self.fields))?;
            ParquetRecordBatchReader::try_new_with_row_groups(&levels, &chunks, batch_rows, None)
        })
        .map_err(|error| taken(&failure).unwrap_or_else(|| self.source.failed(error)))?;
        Ok(Values {
            source: Arc::clone(&self.source),
            data_type: field.data_type().clone(),
            reader: Some(reader),
            failure,
            left: rows,
        })
    }
}

/// Whether this crate wrote a file, whichever version of it.
fn is_ours(metadata: &ParquetMetaData) -> bool {
    let created_by = metadata.file_metadata().created_by();
    created_by.is_some_and(|by| by.starts_with("phenocoder-io "))
}

/// Runs the parquet crate's decoders, which do not check every claim of a page before they believe it.
fn guarded<T>(run: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(ParquetError::General(
            "the pages cannot be decoded".to_owned(),
        ))
    })
}

fn taken(failure: &page::Failure) -> Option<Error> {
    failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

/// Numbers and truth values, which pandas may have as categories.
fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || *data_type == DataType::Boolean
}

/// The field of a column of a table of which this is the first file: categories of numbers are such.
fn field_of_table(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    let values = field.data_type().clone();
    let data_type = match metadata.remove(CATEGORIES) {
        Some(_) => DataType::Dictionary(Box::new(DataType::Int32), Box::new(values)),
        None => values,
    };
    Field::new(field.name(), data_type, true).with_metadata(metadata)
}

/// The type in which a column of a table lies in its files.
fn stored_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) if is_number(values) => values,
        other => other,
    }
}

/// The field as a file has it: text has one type, categories of text too.
fn plain_field(field: &Field, pandas: &Pandas) -> Field {
    let is_text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let categories = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let column = pandas.column(field.name());
    let data_type = match field.data_type() {
        t if is_text(t) && column.is_some_and(|c| c.is_categorical) => categories(),
        t if is_text(t) => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) if is_text(values) => categories(),
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    };
    let mut metadata = std::collections::HashMap::new();
    let is_dictionary = matches!(field.data_type(), DataType::Dictionary(_, _))
        || column.is_some_and(|c| c.is_categorical);
    // Numbers are stored as such: a reader of the whole table makes their categories.
    if is_dictionary && is_number(&data_type) {
        metadata.insert(CATEGORIES.to_owned(), "true".to_owned());
    }
    if let Some(column) = column {
        let is_dictionary = is_dictionary
            && (is_number(&data_type) || matches!(data_type, DataType::Dictionary(_, _)));
        if column.is_ordered && is_dictionary {
            metadata.insert(ORDERED.to_owned(), "true".to_owned());
        }
        if let Some(encoding) = column.nullable_encoding(&data_type) {
            metadata.insert(ENCODING.to_owned(), encoding.to_owned());
        }
    }
    Field::new(field.name(), data_type, true).with_metadata(metadata)
}

/// The column chunks below one column of one row group.
struct Chunks<'a> {
    metadata: &'a ParquetMetaData,
    group: usize,
    rows: usize,
    readers: Vec<(usize, Mutex<Option<page::Pages>>)>,
}

impl RowGroups for Chunks<'_> {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, leaf: usize) -> parquet::errors::Result<Box<dyn PageIterator>> {
        let found = self.readers.iter().find(|(l, _)| *l == leaf);
        let reader = found
            .and_then(|(_, r)| r.lock().unwrap_or_else(PoisonError::into_inner).take())
            .map(|pages| Box::new(pages) as Box<dyn PageReader>);
        Ok(Box::new(page::OneColumn(reader)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// The values of one column of one row group, batch by batch; nothing more after an error.
pub(crate) struct Values {
    source: Arc<Source>,
    data_type: DataType,
    reader: Option<ParquetRecordBatchReader>,
    failure: page::Failure,
    left: u64,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("key", &self.source.key)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Values {
    fn read(&mut self) -> Result<Option<ArrayRef>> {
        let Some(reader) = self.reader.as_mut() else {
            return Ok(None);
        };
        let batch = guarded(|| match reader.next() {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(ParquetError::ArrowError(error.to_string())),
            None => Ok(None),
        });
        let batch = batch
            .map_err(|error| taken(&self.failure).unwrap_or_else(|| self.source.failed(error)))?;
        let wrong = || {
            self.source
                .parquet("a column does not have the rows of its row group")
        };
        let Some(batch) = batch else {
            return if self.left == 0 {
                Ok(None)
            } else {
                Err(wrong())
            };
        };
        self.left = self
            .left
            .checked_sub(batch.num_rows() as u64)
            .ok_or_else(wrong)?;
        let array = batch.columns().first().ok_or_else(wrong)?;
        // A schema that changes its mind between footer and pages.
        if *array.data_type() != self.data_type {
            return Err(wrong());
        }
        Ok(Some(Arc::clone(array)))
    }
}

impl Iterator for Values {
    type Item = Result<ArrayRef>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.reader = None;
        }
        item
    }
}

/// Numbers of any type as `f64`.
pub(crate) fn as_f64(key: &str, column: &ArrayRef) -> Result<Float64Array> {
    let column = cast(column, &DataType::Float64).map_err(Error::arrow(key))?;
    downcast::<Float64Array>(&column)
        .cloned()
        .ok_or_else(|| Error::DataType {
            key: key.to_owned(),
            expected: "numbers",
            found: column.data_type().to_string(),
        })
}

/// Reads every column of a file.
pub(crate) fn read_all(file: &ColumnFile) -> Result<()> {
    let limit = file.source.limits.max_array_bytes;
    for group in 0..file.n_groups() {
        for (column, field) in file.fields().iter().enumerate() {
            let pieces = file.values(group, column)?.collect::<Result<Vec<_>>>()?;
            concat_columns(file.key(), field.data_type(), limit, pieces)?;
        }
    }
    Ok(())
}

/// Whether bytes begin with the header of a page.
pub(crate) fn is_page_header(bytes: &[u8]) -> bool {
    thrift::PageHeader::parse(bytes).is_ok()
}

/// Checks differences: the first byte tells the levels before them and how many values there are at most.
pub(crate) fn read_differences(bytes: &[u8]) -> Option<u64> {
    let (&choice, page) = bytes.split_first()?;
    let level = |bit: u8| i16::from(choice >> bit & 1);
    let values = delta::after_levels(page, [level(0), level(1)])?;
    let n = u32::from(choice >> 2) * 16;
    delta::check_numbers(values, n).ok()?;
    Some(delta::expanded(values, n).ok()?.bytes)
}

/// Whether bytes are the note with the checksums of the headers of all pages.
///
/// The first two bytes tell how many row groups and columns there are.
pub(crate) fn is_note_of_headers(bytes: &[u8]) -> bool {
    let Some((&[groups, columns], note)) = bytes.split_first_chunk() else {
        return false;
    };
    let note = std::str::from_utf8(note).ok();
    let parse = |note| Headers::parse(note, usize::from(groups), usize::from(columns));
    let Some(headers) = note.and_then(parse) else {
        return false;
    };
    headers.of(0, 0).len() < bytes.len()
}

/// Cuts the batches of several columns to the same rows.
#[derive(Debug)]
pub(crate) struct Aligned {
    columns: Vec<(Values, Option<ArrayRef>)>,
}

impl Aligned {
    pub(crate) fn new(columns: Vec<Values>) -> Self {
        let columns = columns.into_iter().map(|values| (values, None)).collect();
        Self { columns }
    }

    /// The next rows of all columns, as many as all have at hand; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        for (values, held) in &mut self.columns {
            while held.as_ref().is_none_or(|array| array.is_empty()) {
                match values.next() {
                    Some(array) => *held = Some(array?),
                    None => return Ok(None),
                }
            }
        }
        let lengths = self
            .columns
            .iter()
            .filter_map(|(_, held)| held.as_ref().map(|a| a.len()));
        let Some(n) = lengths.min() else {
            return Ok(None);
        };
        Ok(Some(
            self.columns
                .iter_mut()
                .filter_map(|(_, held)| {
                    let array = held.take()?;
                    let (now, later) = (array.slice(0, n), array.slice(n, array.len() - n));
                    *held = Some(later);
                    Some(now)
                })
                .collect(),
        ))
    }
}

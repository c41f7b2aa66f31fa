//! New Parquet files, as pandas and pyarrow write and read them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use rayon::prelude::*;

use super::distinct::distinct_categories;
use super::pandas::PandasWriter;
use super::seal::{CREATED_BY, HEADERS, Headers, Seal, SealedChunk, Shelves, Tail};
use super::{dictionary, is_number};
use crate::disk::{FileWriter, Place};
use crate::table::{ENCODING, ORDERED, downcast};
use crate::{Error, Result};

/// How the pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ParquetCompression {
    /// Not at all.
    None,
    /// Snappy, which every reader knows and which is fast: the default, as in Python.
    #[default]
    Snappy,
    /// Zstandard, smaller than Snappy and slower to write.
    Zstd,
}

impl ParquetCompression {
    pub(super) fn codec(self) -> Compression {
        match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy => Compression::SNAPPY,
            Self::Zstd => Compression::ZSTD(ZstdLevel::default()),
        }
    }
}

/// The most rows of a row group.
pub(crate) const MOST_GROUP_ROWS: usize = 1_000_000;

/// The index of a table to be written.
#[derive(Debug, Clone)]
pub(crate) enum NewIndex {
    /// Stored as a column with this name in the file, and the name that a person gave it.
    Column {
        field: String,
        name: Option<String>,
        values: ArrayRef,
    },
    /// Noted, not stored.
    Range {
        name: Option<String>,
        start: i64,
        stop: i64,
        step: i64,
    },
}

/// Columns of equal length to be written.
#[derive(Debug)]
pub(crate) struct NewTable {
    key: String,
    fields: Vec<Field>,
    /// The fields as Arrow's schema tells them: categories of numbers are such there, whose values are what is stored.
    told: Vec<Field>,
    columns: Vec<ArrayRef>,
    rows: usize,
    pandas: String,
    notes: Vec<(String, String)>,
}

impl NewTable {
    /// Checks columns and brings them into the types that Python reads back as they are.
    pub(crate) fn new(
        key: &str,
        fields: &[Field],
        columns: &[ArrayRef],
        index: NewIndex,
        rows: usize,
    ) -> Result<Self> {
        let mut table = Self {
            key: key.to_owned(),
            fields: Vec::new(),
            told: Vec::new(),
            columns: Vec::new(),
            rows,
            pandas: String::new(),
            notes: Vec::new(),
        };
        let mut pandas = PandasWriter::default();
        for (field, column) in fields.iter().zip(columns) {
            table.add(&mut pandas, field, Some(field.name()), column)?;
        }
        match index {
            NewIndex::Range {
                name,
                start,
                stop,
                step,
            } => pandas.index_range(name.as_deref(), start, stop, step),
            NewIndex::Column {
                field,
                name,
                values,
            } => {
                let column = Field::new(&field, values.data_type().clone(), true);
                table.add(&mut pandas, &column, name.as_deref(), &values)?;
                pandas.index_column(&field);
            }
        }
        table.pandas = pandas.finish();
        Ok(table)
    }

    /// Adds a note such as `geo`.
    pub(crate) fn with_note(mut self, name: &str, text: String) -> Self {
        self.notes.push((name.to_owned(), text));
        self
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn add(
        &mut self,
        pandas: &mut PandasWriter,
        field: &Field,
        name: Option<&str>,
        column: &ArrayRef,
    ) -> Result<()> {
        let place = || format!("{}/{}", self.key, field.name());
        if column.len() != self.rows {
            return Err(Error::LengthMismatch {
                key: place(),
                expected: self.rows as u64,
                found: column.len() as u64,
            });
        }
        if self.fields.iter().any(|f| f.name() == field.name()) {
            return Err(Error::invalid(
                place(),
                "columns and an index of different names",
                field.name(),
            ));
        }
        let plain = plain(&place(), column)?;
        let is_ordered = field.metadata().contains_key(ORDERED);
        let nullable = field
            .metadata()
            .get(ENCODING)
            .is_some_and(|e| e.starts_with("nullable"));
        let categories = match column.as_any_dictionary_opt() {
            // Those of numbers are not stored: Python takes the numbers that occur, in their order.
            Some(categories) if is_number(plain.data_type()) => {
                Some((categories.values().len(), is_ordered))
            }
            _ => downcast::<DictionaryArray<Int32Type>>(plain.as_ref())
                .map(|d| (d.values().len(), is_ordered)),
        };
        pandas.column(
            field.name(),
            name,
            plain.data_type(),
            nullable || plain.null_count() > 0,
            categories,
        );
        let field = Field::new(field.name(), plain.data_type().clone(), true)
            .with_metadata(extension(field))
            .with_dict_is_ordered(is_ordered);
        let told = match field.data_type() {
            values if categories.is_some() && is_number(values) => {
                let codes = Box::new(DataType::Int32);
                DataType::Dictionary(codes, Box::new(values.clone()))
            }
            other => other.clone(),
        };
        self.told.push(field.clone().with_data_type(told));
        self.fields.push(field);
        self.columns.push(plain);
        Ok(())
    }

    /// Writes some of the rows as a file; what it returns goes into the attributes of the element.
    pub(crate) fn write(
        &self,
        place: &Place,
        rows: Range<usize>,
        group_rows: usize,
        compression: ParquetCompression,
    ) -> Result<Seal> {
        let mut out = place.create_file()?;
        match self.write_into(&mut out, rows, group_rows, compression) {
            Ok(seal) => out.finish().map(|()| seal),
            Err(source) => Err(out.error_or(|| Error::Parquet {
                path: place.path().to_owned(),
                source,
            })),
        }
    }

    fn write_into(
        &self,
        out: &mut FileWriter,
        rows: Range<usize>,
        group_rows: usize,
        compression: ParquetCompression,
    ) -> parquet::errors::Result<Seal> {
        let notes = self
            .notes
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        let notes = notes.chain([("pandas".to_owned(), self.pandas.clone())]);
        let properties = WriterProperties::builder()
            .set_compression(compression.codec())
            .set_created_by(CREATED_BY.to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(notes.map(|(k, v)| KeyValue::new(k, v)).collect()))
            .build();
        // pyarrow looks for the note here where there is a schema of Arrow. One note: maps have no order.
        let note = HashMap::from([("pandas".to_owned(), self.pandas.clone())]);
        let schema = Arc::new(Schema::new_with_metadata(self.told.clone(), note));
        let writer = ArrowWriter::try_new(Tail::new(out), schema, Some(properties))?;
        let (mut file, factory) = writer.into_serialized_writer()?;
        let shelves = Arc::new(Shelves::default());
        let factory = factory.with_page_store_factory(Arc::clone(&shelves) as _);
        let mut headers = Headers::default();
        let group_rows = group_rows.clamp(1, MOST_GROUP_ROWS);
        for (number, start) in rows.clone().step_by(group_rows).enumerate() {
            let n = group_rows.min(rows.end - start);
            let writers = factory.create_column_writers(number)?;
            let descriptions = file.schema_descr().columns().to_vec();
            // One leaf per column: none of them is nested.
            let chunks: Vec<parquet::errors::Result<SealedChunk>> = writers
                .into_par_iter()
                .enumerate()
                .zip(descriptions)
                .zip(self.fields.par_iter().zip(&self.columns))
                .map(|(((leaf, writer), description), (field, column))| {
                    let column = column.slice(start, n);
                    match downcast::<DictionaryArray<Int32Type>>(column.as_ref()) {
                        Some(codes) => dictionary::encode(&description, codes, compression),
                        None => {
                            let chunk = write_plain(writer, field, &column)?;
                            let metadata = &chunk.close().metadata;
                            SealedChunk::new(shelves.take(leaf)?, metadata, n as u64)
                        }
                    }
                })
                .collect();
            let mut group = file.next_row_group()?;
            let mut sealed = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                sealed.push(chunk?.append_to(&mut group)?);
            }
            group.close()?;
            headers.add_group(sealed);
        }
        file.append_key_value_metadata(KeyValue::new(HEADERS.to_owned(), headers.to_note()));
        file.flush()?;
        file.inner_mut().begin();
        Ok(file.into_inner()?.finish())
    }
}
fn write_plain(
    mut writer: ArrowColumnWriter,
    field: &Field,
    column: &ArrayRef,
) -> parquet::errors::Result<ArrowColumnChunk> {
    for leaf in compute_leaves(field, column)? {
        writer.write(&leaf)?;
    }
    writer.close()
}

/// What Arrow extensions note in a field; other notes are this crate's own.
fn extension(field: &Field) -> HashMap<String, String> {
    let notes = field.metadata().iter();
    notes
        .filter(|(key, _)| key.starts_with("ARROW:extension:"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The column in a type that Python reads back as it is: no views, no large types, codes of 32 bits, no category twice.
fn plain(key: &str, column: &ArrayRef) -> Result<ArrayRef> {
    let is_text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let to = match column.data_type() {
        DataType::Utf8 | DataType::Binary | DataType::Boolean => return Ok(Arc::clone(column)),
        t if t.is_numeric() && !matches!(t, DataType::Decimal256(_, _)) => {
            return Ok(Arc::clone(column));
        }
        DataType::Date32 | DataType::Timestamp(_, _) | DataType::Duration(_) => {
            return Ok(Arc::clone(column));
        }
        t if is_text(t) => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) if is_text(values) => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        // Categories of numbers: Python writes their values, too, and tells that they are categories.
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => {
            return Err(Error::DataType {
                key: key.to_owned(),
                expected: "numbers, truth values, text, categories, bytes or times",
                found: other.to_string(),
            });
        }
    };
    let column = cast(column, &to).map_err(Error::arrow(key))?;
    if let Some(categories) = downcast::<DictionaryArray<Int32Type>>(column.as_ref()) {
        return Ok(Arc::new(distinct_categories(key, categories)?));
    }
    Ok(column)
}

//! Tables as Parquet and CSV files.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use phenocoder_core::{Column, Features, ShapeError};

use crate::columns::Parts;
use crate::disk::Place;
use crate::root::{Root, SingleFile};
use crate::table::{column_field, column_to_arrow};
use crate::{Error, OpenOptions, Result};

/// Writes a Parquet file, zstd-compressed; one that exists is replaced whole.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Parquet`]; a file that was there is then as it was.
pub fn write_parquet(path: impl AsRef<Path>, batch: &RecordBatch) -> Result<()> {
    let path = path.as_ref();
    let failed = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("phenocoder-io ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    Place::new(path).replace_with(|staged| {
        let mut file = staged.create_file()?;
        let written = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).and_then(
            |mut writer| {
                writer.write(batch)?;
                writer.close()
            },
        );
        match written {
            Ok(_) => file.finish(),
            Err(source) => Err(file.error_or(|| failed(source))),
        }
    })
}

/// Reads a Parquet file with the default limits of [`OpenOptions`].
///
/// # Errors
///
/// As [`read_parquet_with`].
pub fn read_parquet(path: impl AsRef<Path>) -> Result<RecordBatch> {
    read_parquet_with(path, OpenOptions::default())
}

/// Reads a Parquet file, of which all columns together may take [`max_array_bytes`](OpenOptions::max_array_bytes).
///
/// Columns have the types that the file tells; text that is categories for pandas alone is a dictionary.
///
/// # Errors
///
/// [`Error::Io`], [`Error::TooLarge`] beyond a limit, [`Error::UnsupportedCodec`] for Brotli and Hadoop's LZ4,
/// [`Error::InvalidMetadata`] where two columns have one name,
/// and [`Error::Parquet`], [`Error::CorruptChunk`] and [`Error::Checksum`] when the file is damaged.
pub fn read_parquet_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<RecordBatch> {
    let path = path.as_ref().to_owned();
    let name = path.display().to_string();
    let root = Arc::new(Root::new(SingleFile { path }, options));
    Parts::read_file(&root, &name)
}

/// Writes a CSV file with a header; one that exists is replaced whole.
///
/// Missing values and NaN are empty fields, numbers are written as short as they read back.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Arrow`] for a type that has no place in CSV; a file that was there is then as it was.
pub fn write_csv(path: impl AsRef<Path>, batch: &RecordBatch) -> Result<()> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let batch = without_nan(batch).map_err(Error::arrow(&name))?;
    Place::new(path).replace_with(|staged| {
        let mut file = staged.create_file()?;
        let mut writer = WriterBuilder::new().with_header(true).build(&mut file);
        let written = writer.write(&batch);
        drop(writer);
        match written {
            Ok(()) => file.finish(),
            Err(error) => Err(file.error_or(|| Error::arrow(&name)(error))),
        }
    })
}

/// The same table with NaN as missing.
fn without_nan(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Float32 => nan_to_null::<Float32Type>(column, f32::is_nan),
            DataType::Float64 => nan_to_null::<Float64Type>(column, f64::is_nan),
            _ => Arc::clone(column),
        })
        .collect();
    let fields: Vec<Field> = batch
        .schema_ref()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

fn nan_to_null<T: arrow::datatypes::ArrowPrimitiveType>(
    column: &ArrayRef,
    is_nan: impl Fn(T::Native) -> bool,
) -> ArrayRef {
    match column
        .as_any()
        .downcast_ref::<arrow::array::PrimitiveArray<T>>()
    {
        Some(values) => Arc::new(
            values
                .iter()
                .map(|value| value.filter(|v| !is_nan(*v)))
                .collect::<arrow::array::PrimitiveArray<T>>(),
        ),
        None => Arc::clone(column),
    }
}

/// A table of further columns and then one column per feature.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Column, Features};
/// use phenocoder_io::features_to_record_batch;
///
/// let features = Features::new(array![[0.5], [1.5]], ["latent_1"])?;
/// let samples = Column::Text(vec!["A".into(), "B".into()]);
/// let batch = features_to_record_batch(&features, &[("Metadata_sample", &samples)])?;
/// assert_eq!(batch.num_columns(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] when a column has not one value per row or a name occurs twice, [`Error::TooLarge`] for a column of
/// more than 2 GiB of text.
pub fn features_to_record_batch(
    features: &Features,
    columns: &[(&str, &Column)],
) -> Result<RecordBatch> {
    let rows = features.nrows();
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, column) in columns {
        ShapeError::check_len(name, rows, column.len())?;
        let array = column_to_arrow(name, column)?;
        fields.push(column_field(name, column, &array));
        arrays.push(array);
    }
    for (name, values) in features.names().iter().zip(features.view().columns()) {
        fields.push(Field::new(name, DataType::Float64, false));
        arrays.push(Arc::new(Float64Array::from_iter_values(
            values.iter().copied(),
        )));
    }
    let mut names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let name = pair[0].to_owned();
        let what = "columns".to_owned();
        return Err(ShapeError::Duplicate { what, name }.into());
    }
    crate::table::batch("features", fields, arrays, rows)
}

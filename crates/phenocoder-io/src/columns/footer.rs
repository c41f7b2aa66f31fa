//! The footer of a Parquet file.

use std::panic::catch_unwind;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

use super::Source;
use super::thrift::schema_depth;
use crate::{Error, Result};

/// What is read from the end of a file at once; most footers fit.
const TAIL: u64 = 64 << 10;
/// How deep columns may be nested: three lists and a structure are needed, lists count twice.
const MAX_DEPTH: usize = 24;

/// Reads and checks the footer; with the CRC-32C of its bytes to the end of the file.
pub(crate) fn read(source: &Source) -> Result<(Arc<ParquetMetaData>, u32)> {
    let size = source.file.size;
    let bad = |problem: &str| source.parquet(problem);
    let len = size.min(TAIL);
    let tail = source
        .file
        .read(size - len, usize::try_from(len).unwrap_or(0))?;
    let Some((rest, [l0, l1, l2, l3, magic @ ..])) = tail.split_last_chunk::<8>() else {
        return Err(bad("it is shorter than a footer"));
    };
    match magic {
        b"PAR1" => {}
        b"PARE" => {
            return Err(Error::UnsupportedCodec {
                key: source.key.clone(),
                problem: "the file is encrypted".to_owned(),
            });
        }
        _ => return Err(bad("it does not end as a Parquet file does")),
    }
    let footer_len = u64::from(u32::from_le_bytes([*l0, *l1, *l2, *l3]));
    if footer_len + 8 > size {
        return Err(bad("the footer is longer than the file"));
    }
    let limit = source.limits.max_metadata_bytes;
    Error::check_size(&source.key, "a footer with bytes", footer_len, limit)?;
    let n = usize::try_from(footer_len).unwrap_or(usize::MAX);
    let held;
    let footer = match rest.len().checked_sub(n).and_then(|at| rest.get(at..)) {
        Some(footer) => footer,
        None => {
            held = source.file.read(size - 8 - footer_len, n)?;
            held.as_slice()
        }
    };
    let metadata = parse(footer).map_err(|error| source.failed(error))?;
    check(source, &metadata)?;
    let end = tail.last_chunk::<8>().map_or(&[][..], |end| end);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(footer), end);
    Ok((Arc::new(metadata), checksum))
}

/// Parses the bytes of a footer.
pub(crate) fn parse(footer: &[u8]) -> std::result::Result<ParquetMetaData, ParquetError> {
    let general = |problem: String| ParquetError::General(problem);
    match schema_depth(footer) {
        Ok(depth) if depth > MAX_DEPTH => {
            let problem = format!("columns are nested {depth} deep, at most {MAX_DEPTH} may be");
            return Err(general(problem));
        }
        Ok(_) => {}
        Err(_) => return Err(general("the schema cannot be read".to_owned())),
    }
    // Not every claim of a damaged footer is looked at before it is believed.
    catch_unwind(|| ParquetMetaDataReader::decode_metadata(footer))
        .unwrap_or_else(|_| Err(general("the footer cannot be read".to_owned())))
}

/// Where a column of a row group lies: start and length.
pub(crate) fn byte_range(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let data = u64::try_from(chunk.data_page_offset()).ok()?;
    // Some writers note a dictionary at 0 where there is none.
    let dictionary = chunk.dictionary_page_offset();
    let start = match dictionary.map(u64::try_from) {
        None => data,
        Some(Ok(at)) if (1..data).contains(&at) => at,
        Some(Ok(_)) => data,
        Some(Err(_)) => return None,
    };
    let length = u64::try_from(chunk.compressed_size()).ok()?;
    start.checked_add(length)?;
    Some((start, length))
}

fn check(source: &Source, metadata: &ParquetMetaData) -> Result<()> {
    let bad = |problem: &str| Err(source.parquet(problem));
    let n_columns = metadata.file_metadata().schema_descr().num_columns();
    let mut rows = 0_i64;
    for group in metadata.row_groups() {
        if group.num_rows() < 0 {
            return bad("a row group has less than no rows");
        }
        let Some(sum) = rows.checked_add(group.num_rows()) else {
            return bad("there are too many rows");
        };
        rows = sum;
        if group.num_columns() != n_columns {
            return bad("a row group does not have all columns");
        }
        for chunk in group.columns() {
            let within = byte_range(chunk).is_some_and(|(at, len)| at + len <= source.file.size);
            if !within || chunk.num_values() < 0 || chunk.uncompressed_size() < 0 {
                return bad("a column lies outside the file");
            }
            // Lists have more values than rows, and structures of lists may have fewer.
            let is_flat = chunk.column_descr().max_rep_level() == 0;
            if is_flat && chunk.num_values() != group.num_rows() {
                return bad("a column does not have as many values as rows");
            }
            if chunk.file_path().is_some() {
                return bad("a column lies in another file");
            }
        }
    }
    if rows != metadata.file_metadata().num_rows() {
        return bad("the row groups do not have as many rows as the file");
    }
    Ok(())
}

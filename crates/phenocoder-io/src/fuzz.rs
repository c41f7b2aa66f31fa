//! Parsers of bytes, for fuzz targets: no part of the interface.

use serde_json::Value;

use crate::columns::ColumnFile;
use crate::root::{RangeFile, ReadAt};
use crate::{OpenOptions, Result, columns, shapes, transform};

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = at
            .checked_add(out.len())
            .and_then(|end| self.0.get(at..end));
        let short = std::io::ErrorKind::UnexpectedEof;
        let from = from
            .ok_or_else(|| crate::Error::io(std::path::Path::new("bytes"), "read")(short.into()))?;
        out.copy_from_slice(from);
        Ok(())
    }
}

/// Reads every column of a Parquet file, with limits of 16 MiB.
///
/// # Errors
///
/// What is wrong with the file.
pub fn parquet(bytes: &[u8]) -> Result<()> {
    let limits = OpenOptions::default()
        .with_max_chunk_bytes(16 << 20)
        .with_max_array_bytes(16 << 20)
        .with_max_metadata_bytes(16 << 20);
    let file = RangeFile::new(bytes.len() as u64, Bytes(bytes.to_vec()));
    let file = ColumnFile::read_footer(file, "bytes", limits)?;
    columns::read_all(&file)
}

/// Reads the header of a page of a Parquet file.
pub fn page_header(bytes: &[u8]) -> bool {
    columns::is_page_header(bytes)
}

/// Reads a geometry in well-known binary.
///
/// # Errors
///
/// What is wrong with it.
pub fn wkb(bytes: &[u8]) -> Result<()> {
    shapes::read_wkb(bytes)
}

/// Reads `coordinateTransformations` and makes a matrix of each.
///
/// # Errors
///
/// What is wrong with them.
pub fn transformations(bytes: &[u8]) -> Result<()> {
    let list: Value = crate::json::parse("bytes", bytes)?;
    for transformation in transform::parse_all("bytes", Some(&list))? {
        let _ = transformation.to_affine()?.inverse();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_nothing_are_errors() {
        for bytes in [
            &b""[..],
            b"PAR1",
            b"\x01\x03\0\0\0\xff\xff\xff\xff",
            b"[{}]",
        ] {
            assert!(parquet(bytes).is_err());
            assert!(wkb(bytes).is_err());
            assert!(transformations(bytes).is_err());
            let _ = page_header(bytes);
        }
    }
}

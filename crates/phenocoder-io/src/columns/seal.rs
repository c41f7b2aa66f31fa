//! Checksums of new Parquet files, so that no bit of them changes unnoticed.
//!
//! Each page carries the CRC-32 of the format, which every reader may compare.
//! It leaves out the header of the page; those of all headers (CRC-32C) are a note of the footer.
//! That of the footer is in the attributes of the element, with the size of the file: `phenocoder`, `parquet_files`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Crc;
use parquet::column::page_store::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::SerializedRowGroupWriter;
use serde_json::{Map, Value, json};

use super::thrift::{PageHeader, PageKind, with_crc};
use crate::disk::FileWriter;
use crate::path::is_component;

/// Who wrote a file whose notes on its pages are ours; other programs copy notes that they do not know.
pub(super) const CREATED_BY: &str = concat!("phenocoder-io ", env!("CARGO_PKG_VERSION"));
/// The note in the footer with the checksums of the headers of all pages.
pub(super) const HEADERS: &str = "phenocoder.page_headers";
/// Where the attributes of an element tell its files.
const ATTRIBUTE: (&str, &str) = ("phenocoder", "parquet_files");

/// The CRC-32 of the bytes of a page, as the format has it.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn general(problem: &str) -> ParquetError {
    ParquetError::General(problem.to_owned())
}

/// A page before it is in the file: its header and what follows it.
pub(super) type NewPage = (Bytes, Bytes);

/// Holds the pages of new columns: headers and what follows them in turns, by column.
#[derive(Debug, Default)]
pub(super) struct Shelves(Mutex<BTreeMap<usize, Shelf>>);

#[derive(Debug, Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Bytes>>>);

impl Shelves {
    /// Takes the pages of a column that has been written, as they come in the file.
    pub(super) fn take(&self, column: usize) -> Result<Vec<NewPage>> {
        let shelf = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&column);
        let shelf = shelf.ok_or_else(|| general("a column has no pages"))?;
        let mut blobs =
            std::mem::take(&mut *shelf.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut pages = Vec::with_capacity(blobs.len() / 2);
        let mut blobs = blobs.drain(..);
        while let (Some(header), Some(body)) = (blobs.next(), blobs.next()) {
            pages.push((header, body));
        }
        Ok(pages)
    }
}

impl PageStoreFactory for Shelves {
    fn create(&self, args: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        let shelf = Shelf::default();
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.insert(args.column_index(), shelf.clone());
        Ok(Box::new(shelf))
    }
}

impl PageStore for Shelf {
    fn put(&mut self, value: Bytes) -> Result<PageKey> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.push(value);
        Ok(PageKey::new(blobs.len() as u64))
    }

    fn take(&mut self, _: PageKey) -> Result<Bytes> {
        Err(general("pages are taken from the shelf"))
    }
}

/// The pages of a column of one row group with their checksums.
pub(super) struct SealedChunk {
    bytes: Bytes,
    close: ColumnCloseResult,
    /// The CRC-32C of each header.
    headers: Vec<u32>,
}

impl SealedChunk {
    /// Gives every page its checksum; `metadata` are those of the column without them.
    pub(super) fn new(
        mut pages: Vec<NewPage>,
        metadata: &ColumnChunkMetaData,
        rows: u64,
    ) -> Result<Self> {
        let kind = |header: &[u8]| match PageHeader::parse(header) {
            Ok((header, _)) => Ok(header.kind),
            Err(_) => Err(general("a new page header cannot be read")),
        };
        // The parquet crate hands out the dictionary last; it comes first in the file.
        for at in 0..pages.len() {
            if let Some((header, _)) = pages.get(at)
                && matches!(kind(header)?, PageKind::Dictionary { .. })
            {
                pages[..=at].rotate_right(1);
            }
        }
        let size = pages
            .iter()
            .map(|(header, body)| header.len() + body.len() + 6)
            .sum();
        let mut bytes = Vec::with_capacity(size);
        let mut headers = Vec::with_capacity(pages.len());
        let (mut dictionary_at, mut data_at, mut added) = (None, None, 0);
        for (header, body) in pages {
            let sealed = with_crc(&header, crc32(&body))
                .ok_or_else(|| general("a new page header has no place for a checksum"))?;
            match kind(&header)? {
                PageKind::Dictionary { .. } => dictionary_at = Some(bytes.len()),
                _ => _ = data_at.get_or_insert(bytes.len()),
            }
            added += sealed.len() - header.len();
            headers.push(crc32c::crc32c(&sealed));
            bytes.extend(sealed);
            bytes.extend(body);
        }
        let signed = |n: usize| i64::try_from(n).map_err(|_| general("a column is too large"));
        let metadata = metadata
            .clone()
            .into_builder()
            .set_total_compressed_size(signed(bytes.len())?)
            .set_total_uncompressed_size(metadata.uncompressed_size() + signed(added)?)
            .set_dictionary_page_offset(dictionary_at.map(signed).transpose()?)
            .set_data_page_offset(signed(data_at.unwrap_or(0))?)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Self {
            bytes: bytes.into(),
            close,
            headers,
        })
    }

    /// Puts the column into the file and returns the checksums of its page headers.
    pub(super) fn append_to<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<Vec<u32>> {
        group.append_column(&self.bytes, self.close)?;
        Ok(self.headers)
    }
}

/// The checksums of page headers by row group and column.
#[derive(Debug, Default)]
pub(super) struct Headers(Vec<Vec<Vec<u32>>>);

impl Headers {
    pub(super) fn add_group(&mut self, columns: Vec<Vec<u32>>) {
        self.0.push(columns);
    }

    /// Eight hexadecimal digits for each page; columns end with a comma, row groups with a semicolon.
    pub(super) fn to_note(&self) -> String {
        let mut note = String::new();
        for group in &self.0 {
            for column in group {
                for header in column {
                    // Writing to a `String` cannot fail.
                    let _ = write!(note, "{header:08x}");
                }
                note.push(',');
            }
            note.push(';');
        }
        note
    }

    /// Reads a note for as many row groups and columns.
    pub(super) fn parse(note: &str, n_groups: usize, n_columns: usize) -> Option<Self> {
        let column = |text: &str| -> Option<Vec<u32>> {
            let (digits, rest) = text.as_bytes().as_chunks::<8>();
            let number = |digits: &[u8; 8]| {
                let digits = std::str::from_utf8(digits).ok()?;
                let is_number = !digits.starts_with('+');
                is_number.then(|| u32::from_str_radix(digits, 16).ok())?
            };
            rest.is_empty()
                .then(|| digits.iter().map(number).collect())?
        };
        // Counted before memory is taken for what a note claims.
        let mut groups = Vec::new();
        for group in note.split_terminator(';') {
            let columns = || group.split_terminator(',');
            if groups.len() == n_groups || columns().take(n_columns + 1).count() != n_columns {
                return None;
            }
            groups.push(columns().map(column).collect::<Option<_>>()?);
        }
        (groups.len() == n_groups).then_some(Self(groups))
    }

    pub(super) fn of(&self, group: usize, column: usize) -> &[u32] {
        let columns = self.0.get(group).and_then(|columns| columns.get(column));
        columns.map_or(&[], Vec::as_slice)
    }
}

/// A new file that keeps what is written from some moment on, which is the footer.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    pub(super) out: &'a mut FileWriter,
    written: u64,
    kept: Option<Vec<u8>>,
}

impl<'a> Tail<'a> {
    pub(super) fn new(out: &'a mut FileWriter) -> Self {
        Self {
            out,
            written: 0,
            kept: None,
        }
    }

    /// Keeps what is written from now on.
    pub(super) fn begin(&mut self) {
        self.kept = Some(Vec::new());
    }

    pub(super) fn finish(self) -> Seal {
        Seal {
            bytes: self.written,
            footer: crc32c::crc32c(&self.kept.unwrap_or_default()),
        }
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend(bytes.iter().take(n));
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What tells a file that was written from one that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The size of the file.
    pub(super) bytes: u64,
    /// The CRC-32C of the footer with its length and the last four bytes.
    pub(super) footer: u32,
}

/// What the attributes of an element tell of its Parquet files, by their paths in the element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seals(BTreeMap<String, Seal>);

impl Seals {
    pub(crate) fn add(&mut self, path: &str, seal: Seal) {
        self.0.insert(path.to_owned(), seal);
    }

    /// Notes them in the attributes.
    pub(crate) fn note(&self, attributes: &mut Map<String, Value>) {
        let files: Map<String, Value> = self
            .0
            .iter()
            .map(|(path, seal)| {
                (
                    path.clone(),
                    json!({"bytes": seal.bytes, "footer_crc32c": seal.footer}),
                )
            })
            .collect();
        let (own, name) = ATTRIBUTE;
        attributes.insert(own.to_owned(), json!({name: files}));
    }

    /// Reads them; empty where there are none or where they are not as this crate writes them.
    pub(crate) fn parse(attributes: &Map<String, Value>) -> Self {
        let (own, name) = ATTRIBUTE;
        let files = attributes.get(own).and_then(|own| own.get(name));
        let files = files.and_then(Value::as_object).into_iter().flatten();
        let seal = |(path, value): (&String, &Value)| {
            // They become parts of keys.
            if !path.split('/').all(is_component) {
                return None;
            }
            let bytes = value.get("bytes").and_then(Value::as_u64)?;
            let footer = value.get("footer_crc32c").and_then(Value::as_u64)?;
            let footer = u32::try_from(footer).ok()?;
            Some((path.clone(), Seal { bytes, footer }))
        };
        Self(files.filter_map(seal).collect())
    }

    /// What is told of the file at `place`, which lies in the element at `key`.
    pub(crate) fn of(&self, key: &str, place: &str) -> Option<Seal> {
        let path = place.strip_prefix(key)?.trim_start_matches('/');
        self.0.get(path).copied()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_headers_are_noted_and_read() {
        let mut headers = Headers::default();
        headers.add_group(vec![vec![1, u32::MAX], vec![]]);
        headers.add_group(vec![vec![], vec![0xABCD]]);
        let note = headers.to_note();
        assert_eq!(note, "00000001ffffffff,,;,0000abcd,;");
        let read = Headers::parse(&note, 2, 2).unwrap();
        assert_eq!(read.of(0, 0), [1, u32::MAX]);
        assert_eq!(read.of(1, 1), [0xABCD]);
        assert!(read.of(2, 0).is_empty());
        for (wrong, groups) in [
            (&note[..], 1),
            (&note[1..], 2),
            ("+0000001,,;", 1),
            ("0,0,;", 1),
        ] {
            assert!(Headers::parse(wrong, groups, 2).is_none(), "{wrong}");
        }
        assert!(Headers::parse("", 0, 3).is_some());
    }

    #[test]
    fn seals_are_noted_and_read_and_nonsense_is_none() {
        let mut seals = Seals::default();
        seals.add(
            "a/part.0.parquet",
            Seal {
                bytes: 1 << 40,
                footer: u32::MAX,
            },
        );
        let mut attributes = Map::new();
        seals.note(&mut attributes);
        assert_eq!(Seals::parse(&attributes), seals);
        for wrong in [
            json!(3),
            json!({"parquet_files": [1]}),
            json!({"parquet_files": {"a": {"bytes": -1}}}),
        ] {
            attributes.insert("phenocoder".to_owned(), wrong);
            assert_eq!(Seals::parse(&attributes), Seals::default());
        }
    }
}

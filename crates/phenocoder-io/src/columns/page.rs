//! The pages of one column of one row group.

use std::sync::{Arc, Mutex, PoisonError};

use flate2::Crc;
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::Source;
use super::thrift::{Fault, PageHeader, PageKind};
use super::unpack::unpack;
use crate::{Error, Result};

/// How much is read at once, so that a page is not a request each.
const READ_AHEAD: u64 = 1 << 20;
/// Headers may hold the least and greatest value of a page.
const MOST_HEADER: u64 = 16 << 20;

/// Where the error goes that a page reader met, as those of Parquet keep no more than its text.
pub(crate) type Failure = Arc<Mutex<Option<Error>>>;

/// Reads pages from the file, checks them and unpacks them.
#[derive(Debug)]
pub(crate) struct Pages {
    source: Arc<Source>,
    compression: Compression,
    is_text: bool,
    position: u64,
    end: u64,
    /// Bytes of the file from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    header: Option<PageHeader>,
    dictionary: Option<Page>,
    failure: Failure,
}

impl Pages {
    pub(crate) fn new(
        source: &Arc<Source>,
        chunk: &ColumnChunkMetaData,
        failure: &Failure,
    ) -> Self {
        // The footer was checked when it was read.
        let (position, length) = super::footer::byte_range(chunk).unwrap_or((0, 0));
        Self {
            source: Arc::clone(source),
            compression: chunk.compression(),
            is_text: chunk.column_type() == PhysicalType::BYTE_ARRAY,
            position,
            end: position + length,
            window: Vec::new(),
            window_start: position,
            header: None,
            dictionary: None,
            failure: Arc::clone(failure),
        }
    }

    fn corrupt(&self, problem: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.source.key, problem)
    }

    /// The bytes from the position on, `n` of them and perhaps more.
    fn ahead(&mut self, n: u64) -> Result<&[u8]> {
        let left = self.end - self.position;
        if n > left {
            let problem = format!("a page of {n} bytes reaches beyond its column");
            return Err(self.corrupt(problem));
        }
        let held = (self.window_start + self.window.len() as u64).saturating_sub(self.position);
        if self.position < self.window_start || held < n {
            let len = left.min(n.max(READ_AHEAD));
            let len = usize::try_from(len).map_err(|error| self.corrupt(error))?;
            self.window = self.source.file.read(self.position, len)?;
            self.window_start = self.position;
        }
        let at = usize::try_from(self.position - self.window_start);
        let at = at.map_err(|error| self.corrupt(error))?;
        Ok(self.window.get(at..).unwrap_or_default())
    }

    /// The header of the page at hand; the position is then after it.
    fn peek(&mut self) -> Result<Option<&PageHeader>> {
        while self.header.is_none() {
            if self.position >= self.end {
                return Ok(None);
            }
            let mut want = 1 << 10;
            let (header, len) = loop {
                let left = self.end - self.position;
                let n = left.min(want);
                let bytes = self.ahead(n)?;
                match PageHeader::parse(bytes) {
                    Ok(parsed) => break parsed,
                    Err(Fault::Cut) if n < left && n < MOST_HEADER => want *= 8,
                    Err(_) => return Err(self.corrupt("a page header cannot be read")),
                }
            };
            self.position += len as u64;
            let limit = self.source.limits.max_chunk_bytes;
            if u64::from(header.unpacked) > limit {
                return Err(Error::TooLarge {
                    key: self.source.key.clone(),
                    what: "a page with bytes",
                    found: header.unpacked.into(),
                    limit,
                });
            }
            if header.kind == PageKind::Other {
                self.skip(header.packed)?;
            } else {
                self.header = Some(header);
            }
        }
        Ok(self.header.as_ref())
    }

    fn skip(&mut self, n: u32) -> Result<()> {
        if u64::from(n) > self.end - self.position {
            return Err(self.corrupt("a page reaches beyond its column"));
        }
        self.position += u64::from(n);
        Ok(())
    }

    /// Reads the dictionary, where there is one, and keeps it for the reader of the pages.
    ///
    /// Returns the length of its longest text; 0 without one.
    pub(crate) fn longest_in_dictionary(&mut self) -> Result<usize> {
        let is_next = matches!(
            self.peek()?,
            Some(PageHeader {
                kind: PageKind::Dictionary { .. },
                ..
            })
        );
        if !self.is_text || !is_next {
            return Ok(0);
        }
        self.dictionary = self.next_page()?;
        let mut rest: &[u8] = match &self.dictionary {
            Some(Page::DictionaryPage { buf, .. }) => buf,
            _ => return Ok(0),
        };
        let mut longest = 0;
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            longest = longest.max(length);
            rest = match tail.get(length..) {
                Some(tail) => tail,
                None => return Err(self.corrupt("a text of the dictionary is cut short")),
            };
        }
        Ok(longest)
    }

    fn next_page(&mut self) -> Result<Option<Page>> {
        if let Some(dictionary) = self.dictionary.take() {
            return Ok(Some(dictionary));
        }
        let Some(header) = self.peek()?.cloned() else {
            return Ok(None);
        };
        self.header = None;
        let packed = u64::from(header.packed);
        let compression = self.compression;
        let key = self.source.key.clone();
        let bytes = self.ahead(packed)?;
        let bytes = bytes.get(..header.packed as usize).unwrap_or_default();
        if let Some(expected) = header.crc {
            let mut crc = Crc::new();
            crc.update(bytes);
            if crc.sum() != expected {
                return Err(Error::Checksum { key });
            }
        }
        let size = header.unpacked as usize;
        let mut out = Vec::new();
        // Levels are not packed in the second version, and nothing is when it says so.
        let plain = match header.kind {
            PageKind::DataV2 {
                definition_bytes,
                repetition_bytes,
                is_packed: true,
                ..
            } => u64::from(definition_bytes) + u64::from(repetition_bytes),
            PageKind::DataV2 { .. } => packed,
            _ => 0,
        };
        let plain = usize::try_from(plain).unwrap_or(usize::MAX);
        let wrong = || Error::corrupt(&key, "the levels of a page are longer than the page");
        let (levels, values) = bytes.split_at_checked(plain).ok_or_else(wrong)?;
        let left = size.checked_sub(plain).ok_or_else(wrong)?;
        out.extend_from_slice(levels);
        if left > 0 || !values.is_empty() {
            // A page without a value may have no packed bytes, or the packed bytes of nothing.
            unpack(&key, compression, values, left, &mut out)?;
        }
        self.position += packed;
        let buf = out.into();
        Ok(match header.kind {
            PageKind::Data {
                n,
                encoding,
                definition,
                repetition,
            } => Some(Page::DataPage {
                buf,
                num_values: n,
                encoding,
                def_level_encoding: definition,
                rep_level_encoding: repetition,
                statistics: None,
            }),
            PageKind::DataV2 {
                n,
                nulls,
                rows,
                encoding,
                definition_bytes,
                repetition_bytes,
                is_packed,
            } => Some(Page::DataPageV2 {
                buf,
                num_values: n,
                encoding,
                num_nulls: nulls,
                num_rows: rows,
                def_levels_byte_len: definition_bytes,
                rep_levels_byte_len: repetition_bytes,
                is_compressed: is_packed,
                statistics: None,
            }),
            PageKind::Dictionary {
                n,
                encoding,
                is_sorted,
            } => Some(Page::DictionaryPage {
                buf,
                num_values: n,
                encoding,
                is_sorted,
            }),
            PageKind::Other => None,
        })
    }

    fn peek_metadata(&mut self) -> Result<Option<PageMetadata>> {
        if self.dictionary.is_some() {
            return Ok(Some(PageMetadata {
                num_rows: None,
                num_levels: None,
                is_dict: true,
            }));
        }
        Ok(self.peek()?.map(|header| match header.kind {
            PageKind::DataV2 { n, rows, .. } => PageMetadata {
                num_rows: Some(rows as usize),
                num_levels: Some(n as usize),
                is_dict: false,
            },
            PageKind::Data { n, .. } => PageMetadata {
                num_rows: None,
                num_levels: Some(n as usize),
                is_dict: false,
            },
            PageKind::Dictionary { .. } | PageKind::Other => PageMetadata {
                num_rows: None,
                num_levels: None,
                is_dict: true,
            },
        }))
    }

    fn report<T>(&self, result: Result<T>) -> parquet::errors::Result<T> {
        result.map_err(|error| {
            let told = ParquetError::General(error.to_string());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
            told
        })
    }
}

impl Iterator for Pages {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        let page = self.next_page();
        self.report(page)
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        let metadata = self.peek_metadata();
        self.report(metadata)
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        if self.dictionary.take().is_some() {
            return Ok(());
        }
        let skipped = match self.peek() {
            Ok(None) => Ok(()),
            Ok(Some(header)) => {
                let packed = header.packed;
                self.header = None;
                self.skip(packed)
            }
            Err(error) => Err(error),
        };
        self.report(skipped)
    }
}

/// The one column of the one row group that is read.
pub(crate) struct OneColumn(pub(crate) Option<Box<dyn PageReader>>);

impl Iterator for OneColumn {
    type Item = parquet::errors::Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneColumn {}

//! The pages of one column of one row group.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::thrift::{Fault, PageHeader, PageKind};
use super::unpack::unpack;
use super::{BATCH_BYTES, Source, delta, seal};
use crate::{Error, Result};

/// How much is read at once, so that a page is not a request each.
const READ_AHEAD: u64 = 1 << 20;
/// Headers may hold the least and greatest value of a page.
const MOST_HEADER: u64 = 16 << 20;
/// The most texts of a page that are stored as differences; writers have a million and mostly far less.
const MOST_TEXTS: u64 = 1 << 24;
/// What a file begins with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Where the error goes that a page reader met, as those of Parquet keep no more than its text.
pub(crate) type Failure = Arc<Mutex<Option<Error>>>;

/// Reads pages from the file, checks them and unpacks them.
#[derive(Debug)]
pub(crate) struct Pages {
    source: Arc<Source>,
    compression: Compression,
    physical: PhysicalType,
    /// The greatest repetition and definition level.
    levels: [i16; 2],
    /// The least bits of a value of the dictionary.
    least_bits: u64,
    /// How many values may be to come.
    values_left: u64,
    /// How many unpacked bytes may be to come.
    bytes_left: u64,
    /// How many bytes texts take that are stored as differences, once they are texts again.
    expanded: u64,
    /// The bytes of the longest of them.
    longest: u64,
    /// Whether the pages count as read.
    is_counted: bool,
    /// Whether batches are as short as the longest of them asks for.
    is_measured: bool,
    /// The checksums of the headers to come, where the file tells them.
    headers: Option<std::vec::IntoIter<u32>>,
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
        headers: Option<&[u32]>,
        failure: &Failure,
    ) -> Self {
        let description = chunk.column_descr();
        let physical = chunk.column_type();
        // The footer was checked when it was read.
        let (position, length) = super::footer::byte_range(chunk).unwrap_or((0, 0));
        Self {
            source: Arc::clone(source),
            compression: chunk.compression(),
            physical,
            levels: [description.max_rep_level(), description.max_def_level()],
            least_bits: match physical {
                PhysicalType::BOOLEAN => 1,
                PhysicalType::INT32 | PhysicalType::FLOAT | PhysicalType::BYTE_ARRAY => 32,
                PhysicalType::INT64 | PhysicalType::DOUBLE => 64,
                PhysicalType::INT96 => 96,
                PhysicalType::FIXED_LEN_BYTE_ARRAY => {
                    8 * u64::from(description.type_length().max(1).cast_unsigned())
                }
            },
            // The footer was checked when it was read.
            values_left: chunk.num_values().cast_unsigned(),
            bytes_left: chunk.uncompressed_size().cast_unsigned(),
            expanded: 0,
            longest: 0,
            is_counted: true,
            is_measured: false,
            headers: headers.map(|headers| Vec::from(headers).into_iter()),
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
            // What precedes the first page of the file is read along with it.
            let before = MAGIC.len() as u64;
            let before = if self.position == before { before } else { 0 };
            let len = before + left.min(n.max(READ_AHEAD));
            let len = usize::try_from(len).map_err(|error| self.corrupt(error))?;
            self.window_start = self.position - before;
            self.window = self.source.file.read(self.window_start, len)?;
            if before > 0 && !self.window.starts_with(MAGIC) {
                return Err(self.corrupt("it does not begin as a Parquet file does"));
            }
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
            if let Some(headers) = &mut self.headers {
                let at = usize::try_from(self.position - self.window_start);
                let at = at.unwrap_or(usize::MAX);
                let bytes = self.window.get(at..at.saturating_add(len));
                if headers.next() != bytes.map(crc32c::crc32c) {
                    return Err(Error::Checksum {
                        key: self.source.key.clone(),
                    });
                }
            }
            self.position += len as u64;
            self.check(&header)?;
            let limit = self.source.limits.max_chunk_bytes;
            Error::check_size(
                &self.source.key,
                "a page with bytes",
                header.unpacked,
                limit,
            )?;
            if header.kind == PageKind::Other {
                self.skip(header.packed)?;
            } else {
                self.header = Some(header);
            }
        }
        Ok(self.header.as_ref())
    }

    /// Compares what a page says that it holds with what the footer says of all.
    fn check(&mut self, header: &PageHeader) -> Result<()> {
        let bytes = u64::from(header.unpacked);
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or_else(|| self.corrupt("its pages are larger than it"))?;
        let n = match header.kind {
            PageKind::Data { n, .. } | PageKind::DataV2 { n, .. } => n,
            PageKind::Dictionary { n, .. } => {
                if u64::from(n).saturating_mul(self.least_bits) > bytes * 8 {
                    return Err(self.corrupt("a dictionary has more values than bytes for them"));
                }
                0
            }
            PageKind::Other => 0,
        };
        let left = self.values_left.checked_sub(u64::from(n));
        let more = || self.corrupt("its pages have more values than it");
        self.values_left = left.ok_or_else(more)?;
        Ok(())
    }

    /// Bounds what the values of a page take that are stored as differences, before they are made.
    fn check_differences(&mut self, page: &Page) -> Result<()> {
        let encoding = page.encoding();
        if !matches!(
            encoding,
            Encoding::DELTA_BINARY_PACKED
                | Encoding::DELTA_LENGTH_BYTE_ARRAY
                | Encoding::DELTA_BYTE_ARRAY
        ) {
            return Ok(());
        }
        let is_text = self.physical == PhysicalType::BYTE_ARRAY;
        let n = page.num_values();
        let values = match page {
            Page::DataPage { buf, .. } => delta::after_levels(buf, self.levels),
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                usize::try_from(levels).ok().and_then(|at| buf.get(at..))
            }
            Page::DictionaryPage { .. } => return Ok(()),
        };
        let values = values.ok_or_else(|| self.corrupt("the levels of a page are cut short"))?;
        let expanded = match encoding {
            Encoding::DELTA_BYTE_ARRAY => delta::expanded(values, n),
            _ => delta::check_numbers(values, n).map(|()| delta::Expanded {
                texts: n.into(),
                ..delta::Expanded::default()
            }),
        };
        let expanded = expanded.map_err(|problem| self.corrupt(problem))?;
        // Their lengths are made at once: for pages of numbers they are the numbers, which are not.
        let n = match encoding {
            Encoding::DELTA_BINARY_PACKED => 0,
            _ => expanded.texts,
        };
        self.check_size("a page with so many texts", n, MOST_TEXTS)?;
        if !is_text {
            return Ok(());
        }
        let limit = self.source.limits.max_chunk_bytes;
        self.check_size("a page of text with bytes", expanded.bytes, limit)?;
        self.longest = self.longest.max(expanded.longest);
        self.expanded = self.expanded.saturating_add(expanded.bytes);
        let limit = self.source.limits.max_array_bytes;
        self.check_size("a column of text with bytes", self.expanded, limit)?;
        if !self.is_measured && expanded.bytes > BATCH_BYTES as u64 {
            return Err(self.corrupt("its footer does not tell of texts that repeat others"));
        }
        Ok(())
    }

    fn check_size(&self, what: &'static str, found: u64, limit: u64) -> Result<()> {
        Error::check_size(&self.source.key, what, found, limit)
    }

    /// Unpacks all pages to see how long the texts in them are that repeat others; 0 where there are none.
    ///
    /// Only what the footer says to be stored so is unpacked twice.
    pub(crate) fn longest_repeated(
        source: &Arc<Source>,
        chunk: &ColumnChunkMetaData,
    ) -> Result<u64> {
        let mut pages = Self::new(source, chunk, None, &Failure::default());
        pages.is_measured = true;
        pages.is_counted = false;
        while pages.next_page()?.is_some() {}
        Ok(pages.longest)
    }

    /// Tells that batches are as short as [`longest_repeated`](Self::longest_repeated) asks for.
    pub(crate) fn measured(mut self) -> Self {
        self.is_measured = true;
        self
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
        if self.physical != PhysicalType::BYTE_ARRAY || !is_next {
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
        let (compression, is_counted) = (self.compression, self.is_counted);
        let key = self.source.key.clone();
        let source = Arc::clone(&self.source);
        let bytes = self.ahead(packed)?;
        let bytes = bytes.get(..header.packed as usize).unwrap_or_default();
        match header.crc {
            Some(expected) if seal::crc32(bytes) != expected => {
                return Err(Error::Checksum { key });
            }
            None if is_counted => _ = source.unsealed.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
        if is_counted {
            source.pages.fetch_add(1, Ordering::Relaxed);
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
        let page = match header.kind {
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
        };
        if let Some(page) = &page {
            self.check_differences(page)?;
        }
        Ok(page)
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

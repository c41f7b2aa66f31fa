//! Columns of categories in new Parquet files.
//!
//! The parquet crate makes a dictionary of the values that occur, in the order in which they occur.
//! Python takes the dictionary as the list of categories, so the whole list is written here, in its order.

use arrow::array::{Array, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::seal::SealedChunk;
use super::write::ParquetCompression;
use crate::table::downcast;

/// How many values share a page.
const PAGE_ROWS: usize = 1 << 17;

fn general(problem: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(problem.to_string())
}

/// Encodes the categories and codes of a column.
pub(crate) fn encode(
    description: &ColumnDescPtr,
    column: &DictionaryArray<Int32Type>,
    compression: ParquetCompression,
) -> Result<SealedChunk> {
    let categories: &StringArray =
        downcast(column.values().as_ref()).ok_or_else(|| general("the categories are no text"))?;
    let mut sink = TrackedWrite::new(Vec::new());
    let mut pages = SerializedPageWriter::new(&mut sink);
    let codec = compression.codec();
    let mut unpacked = 0_usize;
    // Where each page begins, and where its header ends.
    let mut places = Vec::new();
    let mut add = |pages: &mut SerializedPageWriter<'_, Vec<u8>>, page: Page, size: usize| {
        let body = page.buffer().len();
        let spec: PageWriteSpec = pages.write_page(CompressedPage::new(page, size))?;
        unpacked += spec.uncompressed_size;
        let start = usize::try_from(spec.offset).map_err(general)?;
        let end = start + spec.compressed_size;
        places.push((start, end - body, end));
        Ok::<(), ParquetError>(())
    };
    let mut values = Vec::new();
    for category in categories.iter().map(Option::unwrap_or_default) {
        let length = u32::try_from(category.len()).map_err(general)?;
        values.extend(length.to_le_bytes());
        values.extend(category.as_bytes());
    }
    let page = Page::DictionaryPage {
        buf: pack(codec, &values)?,
        num_values: u32::try_from(categories.len()).map_err(general)?,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    add(&mut pages, page, values.len())?;
    let width = width(categories.len());
    let mut start = 0;
    loop {
        let n = PAGE_ROWS.min(column.len() - start);
        let codes = column.keys().slice(start, n);
        let mut page = Vec::new();
        if description.max_def_level() > 0 {
            let mut levels = Vec::new();
            pack_bits(
                codes.iter().map(|code| u32::from(code.is_some())),
                n,
                1,
                &mut levels,
            );
            page.extend(u32::try_from(levels.len()).map_err(general)?.to_le_bytes());
            page.extend(levels);
        } else if codes.null_count() > 0 {
            return Err(general(
                "a value of a column without missing ones is missing",
            ));
        }
        page.push(width);
        let known = n - codes.null_count();
        pack_bits(
            codes.iter().flatten().map(i32::cast_unsigned),
            known,
            width,
            &mut page,
        );
        let data = Page::DataPage {
            buf: pack(codec, &page)?,
            num_values: u32::try_from(n).map_err(general)?,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        add(&mut pages, data, page.len())?;
        start += n;
        if start >= column.len() {
            break;
        }
    }
    pages.close()?;
    let bytes = Bytes::from(sink.into_inner()?);
    let new = places.into_iter();
    let new = new.map(|(start, body, end)| (bytes.slice(start..body), bytes.slice(body..end)));
    let signed = |n: usize| i64::try_from(n).map_err(general);
    let metadata = ColumnChunkMetaData::builder(description.clone())
        .set_compression(codec)
        .set_encodings(vec![
            Encoding::PLAIN,
            Encoding::RLE,
            Encoding::RLE_DICTIONARY,
        ])
        .set_num_values(signed(column.len())?)
        .set_total_uncompressed_size(signed(unpacked)?)
        .build()?;
    SealedChunk::new(new.collect(), &metadata, column.len() as u64)
}

fn pack(codec: Compression, bytes: &[u8]) -> Result<Bytes> {
    Ok(match codec {
        Compression::SNAPPY => snap::raw::Encoder::new()
            .compress_vec(bytes)
            .map_err(general)?,
        Compression::ZSTD(level) => {
            zstd::bulk::compress(bytes, level.compression_level()).map_err(general)?
        }
        _ => bytes.to_vec(),
    }
    .into())
}

/// How many bits the codes of so many categories take.
fn width(categories: usize) -> u8 {
    let most = categories.saturating_sub(1).max(1);
    // At most 31 bits, as codes are `i32`.
    (usize::BITS - most.leading_zeros()) as u8
}

/// Parquet's hybrid of runs and packed bits: one run where all values are the same, else packed bits.
///
/// <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>
fn pack_bits(values: impl Iterator<Item = u32> + Clone, n: usize, width: u8, out: &mut Vec<u8>) {
    let mut all = values.clone();
    let Some(first) = all.next() else {
        return;
    };
    if all.all(|value| value == first) {
        varint((n as u64) << 1, out);
        out.extend(&first.to_le_bytes()[..usize::from(width).div_ceil(8)]);
        return;
    }
    let groups = n.div_ceil(8);
    varint(((groups as u64) << 1) | 1, out);
    let padding = std::iter::repeat_n(0, groups * 8 - n);
    let (mut held, mut bits) = (0_u64, 0_u8);
    for value in values.chain(padding) {
        held |= u64::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push((held & 0xFF) as u8);
            held >>= 8;
            bits -= 8;
        }
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_take_as_many_bits_as_they_need() {
        let widths = [0, 1, 2, 3, 4, 5, 256, 257].map(width);
        assert_eq!(widths, [1, 1, 1, 2, 2, 3, 8, 9]);
    }

    #[test]
    fn bits_are_packed_from_the_lowest() {
        // The example of the specification: 0 to 7 in 3 bits each.
        let mut out = Vec::new();
        pack_bits(0..8, 8, 3, &mut out);
        assert_eq!(out, [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        out.clear();
        pack_bits([5; 300].into_iter(), 300, 3, &mut out);
        assert_eq!(out, [0xD8, 0x04, 5]);
        out.clear();
        pack_bits(std::iter::empty(), 0, 3, &mut out);
        assert!(out.is_empty());
    }
}

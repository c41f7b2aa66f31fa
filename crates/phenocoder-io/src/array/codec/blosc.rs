//! Blosc frames of format 1, as c-blosc and numcodecs write them.
//!
//! A frame is a header of 16 bytes, the offsets of its blocks, and the blocks; a block is one stream or one per byte of
//! the element; a stream is compressed on its own.
//! Source: the chunk format description of c-blosc 1.21 (`README_CHUNK_FORMAT.rst`).
//!
//! # Differences from c-blosc
//!
//! - A frame must have exactly the length that it states.
//! - Filters and codecs that came with Blosc 2 are refused.

mod blosclz;

use super::shuffle::{unshuffle, unshuffle_bits};
use super::{Damage, Outcome, deflate, lz4, with_buffer, zstd};

const HEADER: usize = 16;

/// Elements of more bytes are not split.
const MAX_SPLITS: usize = 16;

/// Nor are blocks of fewer elements.
const MIN_SPLIT_ELEMENTS: usize = 128;

struct Header {
    flags: u8,
    element: usize,
    content: usize,
    block: usize,
}

impl Header {
    const SHUFFLED: u8 = 0x01;
    const COPIED: u8 = 0x02;
    const BITS_SHUFFLED: u8 = 0x04;
    const RESERVED: u8 = 0x08;
    const NOT_SPLIT: u8 = 0x10;

    fn parse(bytes: &[u8]) -> Outcome<Self> {
        let header = bytes
            .first_chunk::<HEADER>()
            .ok_or_else(|| Damage::new("the blosc header is cut short"))?;
        let [version, _, flags, element, sizes @ ..] = *header;
        let [content, block, frame] = std::array::from_fn(|i| {
            let at = 4 * i;
            u32::from_le_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]) as usize
        });
        if !matches!(version, 1 | 2) {
            let problem = format!("version {version} of the blosc format is not known");
            return Err(Damage::new(problem));
        }
        if frame != bytes.len() {
            let found = bytes.len();
            return Err(Damage::new(format!(
                "the blosc frame has {found} bytes, not {frame}"
            )));
        }
        let both = Self::SHUFFLED | Self::BITS_SHUFFLED;
        if flags & Self::RESERVED != 0 || flags & both == both {
            return Err(Damage::new("the blosc frame uses filters of Blosc 2"));
        }
        Ok(Self {
            flags,
            element: usize::from(element),
            content,
            block,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many streams a whole block consists of.
    fn splits(&self) -> usize {
        let splits = self.element >= 1
            && self.element <= MAX_SPLITS
            && self.block / self.element >= MIN_SPLIT_ELEMENTS
            && !self.has(Self::NOT_SPLIT);
        if splits { self.element } else { 1 }
    }
}

/// What a frame says that it holds.
pub(super) fn content_size(bytes: &[u8]) -> Outcome<usize> {
    Header::parse(bytes).map(|header| header.content)
}

/// Decodes a frame that holds exactly `out.len()` bytes.
pub(super) fn decode_exactly(bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    let header = Header::parse(bytes)?;
    if header.content != out.len() {
        let (found, expected) = (header.content, out.len());
        return Err(Damage::new(format!(
            "the blosc header claims {found} bytes, not {expected}"
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    if header.has(Header::COPIED) {
        let stored = &bytes[HEADER..];
        if stored.len() != out.len() {
            return Err(Damage::new("the copied bytes have another length"));
        }
        out.copy_from_slice(stored);
        return Ok(());
    }
    if header.block == 0 {
        return Err(Damage::new("the blosc header says blocks of 0 bytes"));
    }
    // No more than the frame holds, so that a tiny block size cannot ask for much work.
    let blocks = out.len().div_ceil(header.block);
    let offsets = bytes[HEADER..]
        .get(..blocks.saturating_mul(4))
        .ok_or_else(|| Damage::new("the offsets of the blosc blocks are cut short"))?;
    with_buffer(|buffer| {
        let (offsets, _) = offsets.as_chunks::<4>();
        for (offset, out) in offsets.iter().zip(out.chunks_mut(header.block)) {
            let stored = bytes
                .get(u32::from_le_bytes(*offset) as usize..)
                .ok_or_else(|| Damage::new("a blosc block begins beyond the frame"))?;
            decode_block(&header, stored, out, buffer)?;
        }
        Ok(())
    })
}

fn decode_block(
    header: &Header,
    stored: &[u8],
    out: &mut [u8],
    buffer: &mut Vec<u8>,
) -> Outcome<()> {
    let shuffled = header.has(Header::SHUFFLED) && header.element > 1;
    let bits = header.has(Header::BITS_SHUFFLED) && out.len() >= header.element;
    if !shuffled && !bits {
        return decode_streams(header, stored, out);
    }
    buffer.resize(out.len(), 0);
    decode_streams(header, stored, buffer)?;
    if shuffled {
        unshuffle(header.element, buffer, out);
    } else {
        unshuffle_bits(header.element, buffer, out);
    }
    Ok(())
}

fn decode_streams(header: &Header, mut stored: &[u8], out: &mut [u8]) -> Outcome<()> {
    let splits = if out.len() == header.block {
        header.splits()
    } else {
        1
    };
    if !out.len().is_multiple_of(splits) {
        return Err(Damage::new("a blosc block does not divide into streams"));
    }
    for out in out.chunks_exact_mut(out.len() / splits) {
        let cut = || Damage::new("a blosc stream is cut short");
        let (size, rest) = stored.split_first_chunk::<4>().ok_or_else(cut)?;
        let size = u32::from_le_bytes(*size) as usize;
        let (stream, rest) = rest.split_at_checked(size).ok_or_else(cut)?;
        stored = rest;
        if stream.len() == out.len() {
            out.copy_from_slice(stream);
            continue;
        }
        // Many blocks may share one stream: a long one would be gone through again and again.
        if stream.len() > out.len() {
            return Err(Damage::new("a blosc stream is longer than its content"));
        }
        match header.flags >> 5 {
            0 => blosclz::decode(stream, out)?,
            1 => lz4::decode_block(stream, out)?,
            2 => snappy(stream, out)?,
            3 => deflate::zlib_exactly(stream, out)?,
            4 => zstd::decode_exactly(stream, out)?,
            other => {
                return Err(Damage::new(format!(
                    "codec {other} within blosc is not known"
                )));
            }
        }
    }
    Ok(())
}

fn snappy(stream: &[u8], out: &mut [u8]) -> Outcome<()> {
    // A longer claim is refused before anything is written.
    let found = snap::raw::Decoder::new()
        .decompress(stream, out)
        .map_err(Damage::new)?;
    if found == out.len() {
        Ok(())
    } else {
        Err(Damage::new("a snappy stream has another length"))
    }
}

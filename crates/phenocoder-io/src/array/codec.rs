//! Bytes-to-bytes codecs: what compresses, shuffles or protects the bytes of a chunk.
//!
//! All of them are decoded here and not by zarrs, because what compressed data claim must be checked before memory is
//! taken for it: a chunk of known size is decoded into memory of exactly that size and never into more.

mod blosc;
mod checksum;
mod deflate;
mod lz4;
mod parse;
mod shuffle;
mod zstd;

use std::cell::RefCell;

use crate::{Error, Result};

/// The most codecs that one chunk may have gone through.
const MAX_CODECS: usize = 8;

/// What is wrong with the bytes of a chunk; the caller knows which chunk.
#[derive(Debug)]
pub(crate) enum Damage {
    /// The stored checksum is another one.
    Checksum,
    /// It holds more than this many bytes, or claims to hold `found`.
    TooMuch { most: usize, found: Option<usize> },
    /// Anything else, in words.
    Problem(String),
}

impl Damage {
    fn new(problem: impl std::fmt::Display) -> Self {
        Self::Problem(problem.to_string())
    }

    fn into_error(self, key: &str) -> Error {
        match self {
            Self::Checksum => Error::Checksum {
                key: key.to_owned(),
            },
            Self::TooMuch { most, found: None } => {
                Error::corrupt(key, format!("it holds more than {most} bytes"))
            }
            Self::TooMuch {
                most,
                found: Some(found),
            } => Error::corrupt(
                key,
                format!("it claims to hold {found} bytes, {most} at most are possible"),
            ),
            Self::Problem(problem) => Error::corrupt(key, problem),
        }
    }
}

type Outcome<T> = std::result::Result<T, Damage>;

/// One codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BytesCodec {
    Zstd {
        level: i32,
        checksum: bool,
    },
    Blosc,
    Gzip,
    Zlib,
    /// An LZ4 block after its size, as numcodecs stores it.
    Lz4,
    /// Bytes sorted by their place in an element of this many bytes.
    Shuffle(usize),
    Checksum(checksum::Checksum),
}

/// The codecs of a chunk, in the order in which they encode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BytesCodecs(Vec<BytesCodec>);

/// Unpacks zstd data that hold at most so many bytes.
pub(crate) fn unpack_zstd(key: &str, bytes: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    zstd::decode_up_to(bytes, most, &mut out).map_err(|damage| damage.into_error(key))?;
    Ok(out)
}

thread_local! {
    /// Memory between two codecs, kept for the next chunk.
    static BETWEEN: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A zstd block of four bytes stands for 128 KiB, and nothing compresses further.
const BEST_RATIO: usize = 1 << 15;

/// What a thread keeps between chunks at most.
const KEPT_BYTES: usize = 16 << 20;

impl BytesCodecs {
    /// Whether a checksum shows damage of what they encode: one of its own, that of gzip and zlib, or that which zstd may
    /// store.
    ///
    /// Zstd's frames say whether they have one; without the chunk the settings of the codec do.
    pub(crate) fn has_checksum(&self, chunk: Option<&[u8]>) -> bool {
        let last = self.0.len().saturating_sub(1);
        self.0.iter().enumerate().any(|(i, codec)| match codec {
            BytesCodec::Checksum(_) | BytesCodec::Gzip | BytesCodec::Zlib => true,
            BytesCodec::Zstd { checksum, .. } => match chunk {
                Some(bytes) if i == last => zstd::has_checksum(bytes),
                _ => *checksum,
            },
            BytesCodec::Blosc | BytesCodec::Lz4 | BytesCodec::Shuffle(_) => false,
        })
    }

    /// Decodes a chunk of known size; the bytes must hold exactly `out.len()` bytes.
    pub(crate) fn decode_into(&self, key: &str, bytes: &[u8], out: &mut [u8]) -> Result<()> {
        decode_exactly(&self.0, bytes, out).map_err(|damage| damage.into_error(key))
    }

    /// Decodes a chunk that cannot hold more than `most` bytes.
    pub(crate) fn decode(&self, key: &str, bytes: &[u8], most: u64) -> Result<Vec<u8>> {
        self.decode_some(bytes, most)
            .map_err(|damage| damage.into_error(key))
    }

    /// Decodes a chunk that can hold any number of bytes and may hold `limit`.
    pub(crate) fn decode_within(&self, key: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
        self.decode_some(bytes, limit)
            .map_err(|damage| match damage {
                Damage::TooMuch { found, .. } => {
                    let found = found.map_or(u128::from(limit) + 1, |found| found as u128);
                    Error::too_large(key, "a decoded chunk with bytes", found, limit)
                }
                damage => damage.into_error(key),
            })
    }

    fn decode_some(&self, bytes: &[u8], most: u64) -> Outcome<Vec<u8>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        decode_up_to(&self.0, bytes, most, &mut out)?;
        Ok(out)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether so few bytes can decode to so many.
    pub(crate) fn is_possible(&self, encoded: usize, decoded: usize) -> bool {
        let compressors = self
            .0
            .iter()
            .filter(|codec| !matches!(codec, BytesCodec::Shuffle(_) | BytesCodec::Checksum(_)));
        let most = compressors.fold(encoded, |most, _| most.saturating_mul(BEST_RATIO));
        decoded <= most
    }

    /// Encodes with the codecs that new arrays have: zstd, shuffling and CRC-32C.
    pub(crate) fn encode(&self, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut encoded: Option<Vec<u8>> = None;
        for codec in &self.0 {
            let input = encoded.as_deref().unwrap_or(bytes);
            let next = match codec {
                BytesCodec::Zstd { level, checksum } => {
                    zstd::encode(input, *level, *checksum).map_err(|d| d.into_error(key))?
                }
                BytesCodec::Shuffle(size) => shuffle::shuffle(*size, input),
                BytesCodec::Checksum(checksum) => {
                    let mut bytes = encoded.take().unwrap_or_else(|| bytes.to_vec());
                    checksum.add(&mut bytes);
                    bytes
                }
                other => {
                    return Err(Error::UnsupportedCodec {
                        key: key.to_owned(),
                        problem: format!("{other:?} is not written"),
                    });
                }
            };
            encoded = Some(next);
        }
        Ok(encoded.unwrap_or_else(|| bytes.to_vec()))
    }
}

fn decode_exactly(codecs: &[BytesCodec], bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    let Some((codec, rest)) = codecs.split_last() else {
        if bytes.len() != out.len() {
            let (found, expected) = (bytes.len(), out.len());
            return Err(Damage::new(format!(
                "it holds {found} bytes, not {expected}"
            )));
        }
        out.copy_from_slice(bytes);
        return Ok(());
    };
    if let BytesCodec::Checksum(checksum) = codec {
        return decode_exactly(rest, checksum.verify(bytes)?, out);
    }
    if rest.is_empty() {
        return codec.decode_exactly(bytes, out);
    }
    with_buffer(|buffer| {
        codec.decode_up_to(bytes, encoded_bound(rest, out.len()), buffer)?;
        decode_exactly(rest, buffer, out)
    })
}

fn decode_up_to(
    codecs: &[BytesCodec],
    bytes: &[u8],
    most: usize,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let Some((codec, rest)) = codecs.split_last() else {
        if bytes.len() > most {
            return Err(too_much(most));
        }
        out.extend_from_slice(bytes);
        return Ok(());
    };
    if let BytesCodec::Checksum(checksum) = codec {
        return decode_up_to(rest, checksum.verify(bytes)?, most, out);
    }
    if rest.is_empty() {
        return codec.decode_up_to(bytes, most, out);
    }
    with_buffer(|buffer| {
        codec.decode_up_to(bytes, encoded_bound(rest, most), buffer)?;
        decode_up_to(rest, buffer, most, out)
    })
}

/// The most bytes that these codecs make of so many: what does not compress grows a little.
fn encoded_bound(codecs: &[BytesCodec], size: usize) -> usize {
    codecs.iter().fold(size, |size, codec| match codec {
        BytesCodec::Shuffle(_) => size,
        BytesCodec::Checksum(_) => size.saturating_add(4),
        _ => size.saturating_add(size / 8).saturating_add(1 << 10),
    })
}

fn too_much(most: usize) -> Damage {
    Damage::TooMuch { most, found: None }
}

/// Lends an empty buffer that keeps its memory.
fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> Outcome<T>) -> Outcome<T> {
    let mut buffer = BETWEEN.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.clear();
    let done = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES {
        BETWEEN.with_borrow_mut(|kept| kept.push(buffer));
    }
    done
}

impl BytesCodec {
    fn decode_exactly(&self, bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
        match self {
            Self::Zstd { .. } => zstd::decode_exactly(bytes, out),
            Self::Blosc => blosc::decode_exactly(bytes, out),
            Self::Gzip => deflate::gzip_exactly(bytes, out),
            Self::Zlib => deflate::zlib_exactly(bytes, out),
            Self::Lz4 => lz4::decode_exactly(bytes, out),
            Self::Shuffle(size) => {
                if bytes.len() != out.len() {
                    let (found, expected) = (bytes.len(), out.len());
                    return Err(Damage::new(format!(
                        "it holds {found} bytes, not {expected}"
                    )));
                }
                shuffle::unshuffle(*size, bytes, out);
                Ok(())
            }
            Self::Checksum(checksum) => decode_exactly(&[], checksum.verify(bytes)?, out),
        }
    }

    /// Appends to `out`, which is empty.
    fn decode_up_to(&self, bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Outcome<()> {
        match self {
            Self::Zstd { .. } => zstd::decode_up_to(bytes, most, out),
            Self::Blosc => {
                let size = blosc::content_size(bytes)?;
                fill_exactly(size, bytes.len(), most, out, |out| {
                    blosc::decode_exactly(bytes, out)
                })
            }
            Self::Gzip => deflate::gzip_up_to(bytes, most, out),
            Self::Zlib => deflate::zlib_up_to(bytes, most, out),
            Self::Lz4 => {
                let (size, _) = lz4::content(bytes)?;
                fill_exactly(size, bytes.len(), most, out, |out| {
                    lz4::decode_exactly(bytes, out)
                })
            }
            Self::Shuffle(size) => {
                if bytes.len() > most {
                    return Err(too_much(most));
                }
                out.resize(bytes.len(), 0);
                shuffle::unshuffle(*size, bytes, out);
                Ok(())
            }
            Self::Checksum(checksum) => decode_up_to(&[], checksum.verify(bytes)?, most, out),
        }
    }
}

/// Decodes data that state their size, when that is possible for data of this length and within the limit.
fn fill_exactly(
    size: usize,
    encoded: usize,
    most: usize,
    out: &mut Vec<u8>,
    decode: impl FnOnce(&mut [u8]) -> Outcome<()>,
) -> Outcome<()> {
    if size / BEST_RATIO > encoded {
        return Err(Damage::new(format!(
            "it claims to hold {size} bytes, which {encoded} cannot"
        )));
    }
    if size > most {
        let found = Some(size);
        return Err(Damage::TooMuch { most, found });
    }
    out.try_reserve_exact(size).map_err(Damage::new)?;
    out.resize(size, 0);
    decode(out)
}

#[cfg(test)]
mod tests;

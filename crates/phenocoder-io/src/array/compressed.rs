//! The bytes-to-bytes codecs, with checks of what compressed data claim before they are decompressed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use zarrs::array::{BytesRepresentation, CodecChain, CodecOptions};
use zstd::bulk::Decompressor;

use super::chain::name_of;
use super::with_causes;
use crate::{Error, Result};

/// Runs the bytes-to-bytes codecs backwards.
///
/// `first` is what the first of them was given, of which at most `limit` bytes are accepted.
pub(crate) fn decode(
    key: &str,
    chain: &CodecChain,
    bytes: Vec<u8>,
    first: BytesRepresentation,
    limit: u64,
) -> Result<Vec<u8>> {
    let codecs = chain.bytes_to_bytes_codecs();
    let mut sizes = vec![first];
    for codec in codecs {
        sizes.push(codec.encoded_representation(&sizes[sizes.len() - 1]));
    }
    let mut bytes = bytes;
    for (codec, size) in codecs.iter().zip(&sizes).rev() {
        let name = name_of(codec.as_ref());
        let most = size.size().unwrap_or_else(|| limit.saturating_add(1 << 16));
        match name.as_str() {
            "zstd" => {
                if let Some(total) = check_zstd(key, &bytes, most)? {
                    bytes = unpack_zstd(key, &bytes, total)?;
                    continue;
                }
            }
            "blosc" => check_blosc(key, &bytes, most)?,
            "crc32c" => {
                bytes = check_crc32c(key, bytes)?;
                continue;
            }
            "gzip" => {
                bytes = inflate(key, GzDecoder::new(bytes.as_slice()), most)?;
                continue;
            }
            _ if name.ends_with("zlib") => {
                bytes = inflate(key, ZlibDecoder::new(bytes.as_slice()), most)?;
                continue;
            }
            _ => {}
        }
        if bytes.is_empty() {
            return Err(Error::corrupt(key, "it is empty"));
        }
        let decoded = codec
            .decode(Cow::Owned(bytes), size, &CodecOptions::default())
            .map_err(|error| Error::corrupt(key, with_causes(&error)))?;
        if decoded.len() as u64 > most {
            return Err(Error::corrupt(
                key,
                format!("it holds more than {most} bytes"),
            ));
        }
        bytes = decoded.into_owned();
    }
    if let BytesRepresentation::FixedSize(expected) = first
        && bytes.len() as u64 != expected
    {
        let found = bytes.len();
        return Err(Error::corrupt(
            key,
            format!("it holds {found} bytes, not {expected}"),
        ));
    }
    Ok(bytes)
}

/// Decompresses data that do not say how much they hold, up to `most` bytes.
fn inflate(key: &str, decoder: impl Read, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::corrupt(key, error))?;
    if bytes.len() as u64 > most {
        return Err(Error::corrupt(
            key,
            format!("it holds more than {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// Takes the checksum off and compares it.
fn check_crc32c(key: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let Some((data, stored)) = bytes.split_last_chunk::<4>() else {
        return Err(Error::corrupt(key, "it is shorter than its checksum"));
    };
    if crc32c::crc32c(data) != u32::from_le_bytes(*stored) {
        return Err(Error::Checksum {
            key: key.to_owned(),
        });
    }
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

/// The header of a blosc frame holds the size of its content.
fn check_blosc(key: &str, bytes: &[u8], most: u64) -> Result<()> {
    let size = bytes.get(4..8).and_then(|b| b.first_chunk::<4>());
    match size {
        None => Err(Error::corrupt(key, "the blosc header is cut short")),
        Some(size) if u64::from(u32::from_le_bytes(*size)) > most => Err(Error::corrupt(
            key,
            format!("the blosc header claims more than {most} bytes"),
        )),
        Some(_) => Ok(()),
    }
}

/// Adds up what the frames of zstd data claim to hold: their content size, or else what their blocks can hold at most.
///
/// Returns the sum where every frame states its size.
/// RFC 8878, section 3.1.1.
fn check_zstd(key: &str, bytes: &[u8], most: u64) -> Result<Option<u64>> {
    let cut = || Error::corrupt(key, "the zstd frame is cut short");
    let mut rest = bytes;
    let mut total = 0_u64;
    let mut all_stated = true;
    if rest.is_empty() {
        return Err(Error::corrupt(key, "it is empty"));
    }
    while !rest.is_empty() {
        let (magic, tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let magic = u32::from_le_bytes(*magic);
        if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
            let (size, tail) = tail.split_first_chunk::<4>().ok_or_else(cut)?;
            let size = u32::from_le_bytes(*size) as usize;
            rest = tail.get(size..).ok_or_else(cut)?;
            continue;
        }
        if magic != 0xFD2F_B528 {
            return Err(Error::corrupt(key, "it is no zstd frame"));
        }
        let (claimed, stated, tail) = zstd_frame(tail).ok_or_else(cut)?;
        all_stated &= stated;
        total = total.saturating_add(claimed);
        rest = tail;
        if total > most.saturating_add(SLACK) || (claimed > most) {
            return Err(Error::corrupt(
                key,
                format!("the zstd frame claims more than {most} bytes"),
            ));
        }
    }
    Ok(all_stated.then_some(total).filter(|&total| total <= most))
}

thread_local! {
    /// Making a context takes longer than unpacking a small chunk with it.
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Unpacks frames that state their size, `total` together.
fn unpack_zstd(key: &str, bytes: &[u8], total: u64) -> Result<Vec<u8>> {
    let total = usize::try_from(total).map_err(|error| Error::corrupt(key, error))?;
    let unpacked = ZSTD.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(Decompressor::new()?),
        };
        context.decompress(bytes, total)
    });
    unpacked.map_err(|error| Error::corrupt(key, error))
}

/// Blocks without a content size may hold less than they can.
const SLACK: u64 = 16 << 20;

/// What a frame after its magic number claims to hold, whether it states that itself, and the bytes after it.
fn zstd_frame(bytes: &[u8]) -> Option<(u64, bool, &[u8])> {
    let (&descriptor, mut rest) = bytes.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        rest = rest.get(1..)?;
    }
    rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let mut size = [0_u8; 8];
    size[..size_bytes].copy_from_slice(rest.get(..size_bytes)?);
    rest = rest.get(size_bytes..)?;
    let claimed = match size_bytes {
        0 => None,
        2 => Some(u64::from_le_bytes(size) + 256),
        _ => Some(u64::from_le_bytes(size)),
    };
    let mut at_most = 0_u64;
    loop {
        let header = rest.get(..3)?;
        rest = rest.get(3..)?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (last, kind, size) = (header & 1 == 1, (header >> 1) & 3, header >> 3);
        let stored = if kind == 1 { 1 } else { size as usize };
        rest = rest.get(stored..)?;
        // Raw and repeated blocks say their size, compressed ones hold 128 KiB at most.
        let holds = if kind == 2 { 128 << 10 } else { size };
        at_most = at_most.saturating_add(u64::from(holds));
        if last {
            break;
        }
    }
    if descriptor & 4 != 0 {
        rest = rest.get(4..)?;
    }
    match claimed {
        Some(claimed) => Some((claimed, true, rest)),
        None => Some((at_most.saturating_sub(SLACK), false, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with one block of repeated zeros, with or without a content size.
    fn frame(content: u32, with_size: bool) -> Vec<u8> {
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD];
        if with_size {
            frame.push(0xA0);
            frame.extend(content.to_le_bytes());
        } else {
            frame.extend([0x00, 0x70]);
        }
        frame.extend((1 | (1 << 1) | (content << 3)).to_le_bytes()[..3].iter());
        frame.push(0);
        frame
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        assert_eq!(check_zstd("k", &frame(128, true), 128).unwrap(), Some(128));
        assert!(check_zstd("k", &frame(129, true), 128).is_err());
        assert_eq!(check_zstd("k", &frame(128, false), 128).unwrap(), None);
    }

    #[test]
    fn frames_that_state_their_size_are_unpacked_to_it() {
        let two = [frame(128, true), frame(100, true)].concat();
        let total = check_zstd("k", &two, 300).unwrap().unwrap();
        assert_eq!(total, 228);
        assert_eq!(unpack_zstd("k", &two, total).unwrap(), [0; 228]);
        // A frame whose block holds more than it states, and one that is damaged: the context works on.
        let mut lie = frame(128, true);
        lie[5..9].copy_from_slice(&100_u32.to_le_bytes());
        let total = check_zstd("k", &lie, 128).unwrap().unwrap();
        assert!(unpack_zstd("k", &lie, total).is_err());
        assert!(unpack_zstd("k", &two[..5], 8).is_err());
        assert_eq!(unpack_zstd("k", &two, 228).unwrap(), [0; 228]);
    }

    #[test]
    fn deflated_data_are_not_unpacked_beyond_their_size() {
        let bytes = vec![0; 1 << 20];
        let mut packed = Vec::new();
        let mut encoder =
            flate2::read::GzEncoder::new(bytes.as_slice(), flate2::Compression::best());
        encoder.read_to_end(&mut packed).unwrap();
        let unpack = |most| inflate("k", GzDecoder::new(packed.as_slice()), most);
        assert_eq!(unpack(1 << 20).unwrap(), bytes);
        assert!(unpack((1 << 20) - 1).is_err());
        // It stops there: what follows, damaged or not, is not looked at.
        let cut = &packed[..packed.len() / 2];
        let error = inflate("k", GzDecoder::new(cut), 64).unwrap_err();
        assert!(error.to_string().contains("more than 64 bytes"), "{error}");
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_refused() {
        let whole = frame(128, true);
        for len in 0..whole.len() {
            assert!(check_zstd("k", &whole[..len], 128).is_err(), "{len}");
        }
    }
}

//! Zstandard, RFC 8878.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};

use super::{Damage, Outcome, too_much};

thread_local! {
    /// Making a context takes longer than unpacking a small chunk with it.
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static PACKER: RefCell<Option<(i32, bool, Compressor<'static>)>> = const { RefCell::new(None) };
}

/// Unpacks straight into the memory of the caller: the library takes none of its own for it.
pub(super) fn decode_exactly(bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    let found = CONTEXT
        .with_borrow_mut(|kept| {
            let context = match kept {
                Some(context) => context,
                None => kept.insert(Decompressor::new()?),
            };
            context.decompress_to_buffer(bytes, out)
        })
        .map_err(Damage::new)?;
    if found == out.len() {
        Ok(())
    } else {
        let expected = out.len();
        Err(Damage::new(format!(
            "it holds {found} bytes, not {expected}"
        )))
    }
}

/// Unpacks data of unknown size; memory is taken as data come out.
pub(super) fn decode_up_to(bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Outcome<()> {
    if bytes.is_empty() {
        return Err(Damage::new("it is empty"));
    }
    let claimed = content_size(bytes);
    if claimed.is_some_and(|size| size > most) {
        let found = claimed;
        return Err(Damage::TooMuch { most, found });
    }
    // A size that is believable is taken by its word, which is faster.
    let believable = bytes.len().saturating_mul(16).max(1 << 20).min(most);
    if let Some(size) = claimed.filter(|&size| size <= believable) {
        out.resize(size, 0);
        return decode_exactly(bytes, out);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(Damage::new)?;
    // The window need not be larger than what may come out, and never than what every decoder must support by default.
    let log = most.max(1 << 20).ilog2() + 1;
    decoder.window_log_max(log.min(27)).map_err(Damage::new)?;
    decoder
        .take((most as u64).saturating_add(1))
        .read_to_end(out)
        .map_err(Damage::new)?;
    if out.len() > most {
        return Err(too_much(most));
    }
    Ok(())
}

/// What a single frame says that it holds.
fn content_size(bytes: &[u8]) -> Option<usize> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
    let frame = zstd::zstd_safe::find_frame_compressed_size(bytes).ok()?;
    if frame != bytes.len() {
        return None;
    }
    usize::try_from(size).ok()
}

/// Whether each frame ends in a checksum of what it holds; the decoder compares those that are there.
pub(super) fn has_checksum(bytes: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    let mut rest = bytes;
    while !rest.is_empty() {
        // Bit 2 of the frame header descriptor, RFC 8878, 3.1.1.1.1.5.
        let is_checked = rest.starts_with(&MAGIC) && rest.get(4).is_some_and(|b| b & 4 != 0);
        let size = zstd::zstd_safe::find_frame_compressed_size(rest).ok();
        match size.and_then(|size| rest.get(size..)) {
            Some(next) if is_checked => rest = next,
            _ => return false,
        }
    }
    !bytes.is_empty()
}

pub(super) fn encode(bytes: &[u8], level: i32, checksum: bool) -> Outcome<Vec<u8>> {
    PACKER
        .with_borrow_mut(|kept| {
            let same = kept
                .as_ref()
                .is_some_and(|(l, c, _)| (*l, *c) == (level, checksum));
            if !same {
                let mut packer = Compressor::new(level)?;
                packer.include_checksum(checksum)?;
                *kept = Some((level, checksum, packer));
            }
            match kept {
                Some((_, _, packer)) => packer.compress(bytes),
                None => Err(std::io::ErrorKind::Other.into()),
            }
        })
        .map_err(Damage::new)
}

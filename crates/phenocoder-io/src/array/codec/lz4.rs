//! LZ4 blocks, bare and with their size before them.

use super::{Damage, Outcome};

/// The stated size and the block that follows it: what numcodecs calls `lz4`.
pub(super) fn content(bytes: &[u8]) -> Outcome<(usize, &[u8])> {
    let (size, block) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| Damage::new("it is shorter than its size"))?;
    Ok((u32::from_le_bytes(*size) as usize, block))
}

pub(super) fn decode_exactly(bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    let (size, block) = content(bytes)?;
    if size != out.len() {
        let expected = out.len();
        return Err(Damage::new(format!(
            "it claims to hold {size} bytes, not {expected}"
        )));
    }
    decode_block(block, out)
}

/// Decodes a block without a size.
pub(super) fn decode_block(block: &[u8], out: &mut [u8]) -> Outcome<()> {
    let found = lz4_flex::block::decompress_into(block, out).map_err(Damage::new)?;
    if found == out.len() {
        Ok(())
    } else {
        let expected = out.len();
        Err(Damage::new(format!(
            "an LZ4 block holds {found} bytes, not {expected}"
        )))
    }
}

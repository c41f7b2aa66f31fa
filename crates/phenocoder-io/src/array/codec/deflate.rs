//! gzip (RFC 1952) and zlib (RFC 1950).

use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use flate2::{Decompress, FlushDecompress, Status};

use super::{Damage, Outcome, too_much};

pub(super) fn gzip_exactly(bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    read_exactly(MultiGzDecoder::new(bytes), out)
}

pub(super) fn gzip_up_to(bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Outcome<()> {
    read_up_to(MultiGzDecoder::new(bytes), most, out)
}

pub(super) fn zlib_up_to(bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Outcome<()> {
    read_up_to(ZlibDecoder::new(bytes), most, out)
}

pub(super) fn zlib_exactly(bytes: &[u8], out: &mut [u8]) -> Outcome<()> {
    let mut state = Decompress::new(true);
    let mut status = state
        .decompress(bytes, out, FlushDecompress::Finish)
        .map_err(Damage::new)?;
    if status != Status::StreamEnd && state.total_out() == out.len() as u64 {
        // The end may follow the last byte; there must be nothing else.
        let rest = usize::try_from(state.total_in()).ok();
        let rest = rest.and_then(|read| bytes.get(read..)).unwrap_or_default();
        status = state
            .decompress(rest, &mut [0], FlushDecompress::Finish)
            .map_err(Damage::new)?;
    }
    if state.total_out() > out.len() as u64 {
        return Err(too_much(out.len()));
    }
    if status != Status::StreamEnd || state.total_out() != out.len() as u64 {
        return Err(Damage::new("the deflated data are cut short"));
    }
    Ok(())
}

fn read_exactly(mut decoder: impl Read, out: &mut [u8]) -> Outcome<()> {
    decoder.read_exact(out).map_err(Damage::new)?;
    // Reading on until the end compares the checksum.
    match decoder.read(&mut [0]).map_err(Damage::new)? {
        0 => Ok(()),
        _ => Err(too_much(out.len())),
    }
}

fn read_up_to(decoder: impl Read, most: usize, out: &mut Vec<u8>) -> Outcome<()> {
    decoder
        .take((most as u64).saturating_add(1))
        .read_to_end(out)
        .map_err(Damage::new)?;
    if out.len() > most {
        return Err(too_much(most));
    }
    Ok(())
}

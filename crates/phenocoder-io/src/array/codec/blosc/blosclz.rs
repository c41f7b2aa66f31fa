//! The codec that came with Blosc: an LZ77 of whole bytes, level 2 of FastLZ.
//!
//! An instruction whose byte is below 32 copies one byte more than that from the input.
//! Any other repeats output: its upper three bits are the length less 2, where 7 is followed by bytes that add to it, the
//! last of which is below 255; its lower five bits and the byte after are the distance less 1, where all ones are
//! followed by 16 bits, big endian, that add to it.
//! The upper three bits of the first byte state the level and count as 0.

use crate::array::codec::{Damage, Outcome};

/// The largest distance less 1 of 13 bits.
const FAR: usize = 8_191;

pub(super) fn decode(input: &[u8], out: &mut [u8]) -> Outcome<()> {
    let filled = run(input, out).ok_or_else(|| Damage::new("a blosclz stream is damaged"))?;
    if filled == out.len() {
        Ok(())
    } else {
        Err(Damage::new("a blosclz stream is cut short"))
    }
}

/// How many bytes came out, or `None` where an instruction makes no sense.
fn run(input: &[u8], out: &mut [u8]) -> Option<usize> {
    let (&first, mut input) = input.split_first()?;
    let mut instruction = usize::from(first & 31);
    let mut at = 0;
    loop {
        let low = instruction & 31;
        if instruction < 32 {
            let (literals, rest) = input.split_at_checked(low + 1)?;
            out.get_mut(at..at + low + 1)?.copy_from_slice(literals);
            at += low + 1;
            input = rest;
        } else {
            let mut len = (instruction >> 5) + 2;
            if len == 9 {
                loop {
                    let more = take(&mut input)?;
                    len = len.checked_add(more)?;
                    if more < 255 {
                        break;
                    }
                }
            }
            let mut distance = (low << 8) + take(&mut input)?;
            if distance == FAR {
                let high = take(&mut input)?;
                distance += (high << 8) + take(&mut input)?;
            }
            repeat(out, at, distance + 1, len)?;
            at += len;
        }
        match input.split_first() {
            Some((&next, rest)) => {
                instruction = usize::from(next);
                input = rest;
            }
            None => return Some(at),
        }
    }
}

fn take(input: &mut &[u8]) -> Option<usize> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(usize::from(byte))
}

/// Repeats `len` bytes from `distance` back; the two may overlap.
fn repeat(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let start = at.checked_sub(distance)?;
    let end = at.checked_add(len).filter(|&end| end <= out.len())?;
    if distance >= len {
        out.copy_within(start..start + len, at);
    } else if distance == 1 {
        let byte = *out.get(start)?;
        out.get_mut(at..end)?.fill(byte);
    } else {
        let mut done = 0;
        while done < len {
            let part = (distance + done).min(len - done);
            out.copy_within(start..start + part, at + done);
            done += part;
        }
    }
    Some(())
}

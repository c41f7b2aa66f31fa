//! Text of any length: `vlen-utf8`, a count and then length and bytes of each.

use crate::{Error, Result};

/// Decodes the texts of a chunk with `items` places.
pub(crate) fn decode(key: &str, bytes: &[u8], items: usize) -> Result<Vec<String>> {
    let (count, mut rest) = take_u32(bytes)
        .ok_or_else(|| Error::corrupt(key, "it is shorter than the number of its texts"))?;
    // Every text takes four bytes at least, so that a count cannot ask for more memory than the data justify.
    if rest.len() / 4 < count {
        return Err(Error::corrupt(key, "it is too short for its texts"));
    }
    if count != items {
        return Err(Error::LengthMismatch {
            key: key.to_owned(),
            expected: items as u64,
            found: count as u64,
        });
    }
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, tail) = take_u32(rest).ok_or_else(|| cut(key))?;
        let (text, tail) = tail.split_at_checked(len).ok_or_else(|| cut(key))?;
        let text = std::str::from_utf8(text).map_err(|_| Error::NotUtf8 {
            key: key.to_owned(),
        })?;
        texts.push(text.to_owned());
        rest = tail;
    }
    if rest.is_empty() {
        Ok(texts)
    } else {
        Err(Error::corrupt(key, "bytes follow its last text"))
    }
}

/// The longest text that is read back: an Arrow array holds no more.
pub(crate) const LONGEST: u64 = i32::MAX as u64;

/// Encodes texts, none longer than [`LONGEST`].
pub(crate) fn encode<S: AsRef<str>>(texts: &[S]) -> Vec<u8> {
    let size = texts.iter().map(|t| 4 + t.as_ref().len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(4 + size);
    bytes.extend((texts.len() as u32).to_le_bytes());
    for text in texts {
        let text = text.as_ref().as_bytes();
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text);
    }
    bytes
}

fn cut(key: &str) -> Error {
    Error::corrupt(key, "a text ends beyond the chunk")
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let texts = ["", "Größe", "a"];
        assert_eq!(decode("k", &encode(&texts), 3).unwrap(), texts);
    }

    #[test]
    fn every_cut_and_every_wrong_count_is_an_error() {
        let bytes = encode(&["abc", "de"]);
        for len in 0..bytes.len() {
            assert!(decode("k", &bytes[..len], 2).is_err(), "{len}");
        }
        assert!(decode("k", &bytes, 1).is_err());
        assert!(decode("k", &bytes, 3).is_err());
        let mut huge = bytes.clone();
        huge[4..8].copy_from_slice(&(i32::MAX as u32).to_le_bytes());
        assert!(decode("k", &huge, 2).is_err());
    }
}

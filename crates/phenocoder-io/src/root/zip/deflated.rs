//! Deflated files, which cannot be read in parts.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flate2::read::DeflateDecoder;

use super::ZipEntry;
use crate::{Error, Result};

/// Fills `out` with what `packed` unpacks to, which must be as much; nothing more is unpacked.
pub(super) fn unpack_into(key: &str, packed: &[u8], out: &mut [u8]) -> Result<()> {
    let mut decoder = DeflateDecoder::new(packed);
    let other_size = || {
        let problem = format!("it does not unpack to {} bytes", out.len());
        Error::corrupt(key, problem)
    };
    let too_much = other_size();
    match decoder.read_exact(out) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(too_much),
        Err(error) => return Err(Error::corrupt(key, error)),
    }
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(too_much),
        Err(error) => Err(Error::corrupt(key, error)),
    }
}

/// The files that were unpacked last, up to a number of bytes: each block of a shard asks for its file anew.
#[derive(Debug)]
pub(super) struct Unpacked {
    capacity: u64,
    /// In the order of their last use.
    kept: Mutex<Vec<Arc<UnpackedFile>>>,
}

/// A file that is unpacked once; who asks meanwhile waits.
#[derive(Debug)]
pub(super) struct UnpackedFile {
    entry: ZipEntry,
    turn: Mutex<()>,
    bytes: OnceLock<Vec<u8>>,
}

impl Unpacked {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            kept: Mutex::default(),
        }
    }

    /// The file of an entry, kept from now on unless it alone is more than may be kept.
    pub(super) fn file(&self, entry: ZipEntry) -> Arc<UnpackedFile> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|file| file.entry == entry);
        let file = match found {
            Some(at) => kept.remove(at),
            None => Arc::new(UnpackedFile {
                entry,
                turn: Mutex::default(),
                bytes: OnceLock::new(),
            }),
        };
        if entry.size > self.capacity {
            return file;
        }
        let mut total = kept.iter().map(|file| file.entry.size).sum::<u64>();
        while total > self.capacity - entry.size {
            total -= kept.remove(0).entry.size;
        }
        kept.push(Arc::clone(&file));
        file
    }
}

impl UnpackedFile {
    /// The bytes, from `unpack` where nobody has unpacked them yet.
    pub(super) fn bytes(&self, unpack: impl FnOnce() -> Result<Vec<u8>>) -> Result<&[u8]> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let bytes = unpack()?;
        Ok(self.bytes.get_or_init(|| bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Packing;
    use super::*;

    #[test]
    fn files_are_unpacked_once_while_they_are_kept_and_no_more_are_kept_than_allowed() {
        let unpacked = Unpacked::new(10);
        let mut times = 0;
        let mut ask = |header, size: usize| {
            let file = unpacked.file(ZipEntry {
                header,
                stored: 1,
                size: size as u64,
                checksum: 0,
                packing: Packing::Deflated,
            });
            let bytes = file.bytes(|| {
                times += 1;
                Ok(vec![7; size])
            });
            assert_eq!(bytes.unwrap().len(), size);
            times
        };
        assert_eq!(ask(0, 4), 1);
        assert_eq!(ask(0, 4), 1);
        assert_eq!(ask(4, 4), 2);
        assert_eq!(ask(0, 4), 2);
        assert_eq!(
            ask(8, 3),
            3,
            "takes the place of the one asked for longest ago"
        );
        assert_eq!(ask(0, 4), 3);
        assert_eq!(ask(4, 4), 4);
        assert_eq!(ask(20, 11), 5);
        assert_eq!(ask(20, 11), 6, "more than may be kept");
        let kept = unpacked.kept.lock().unwrap();
        assert!(kept.iter().map(|f| f.entry.size).sum::<u64>() <= 10);
    }
}

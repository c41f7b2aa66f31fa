//! Whether the directory of a zip file has as many entries as it claims: memory for all is taken at once.

use std::io::{self, Read, Seek, SeekFrom};

/// The end of the directory without its comment, and the most that a comment has.
const END: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;

/// An entry without its names.
const ENTRY: u64 = 46;

/// Reads the entries one after the other.
///
/// # Errors
///
/// Those of reading, of which [`io::ErrorKind::InvalidData`] says what is wrong; a file that has no directory is none.
pub(super) fn check(file: &mut (impl Read + Seek), size: u64) -> io::Result<()> {
    let tail = size.min(END + MAX_COMMENT);
    file.seek(SeekFrom::Start(size - tail))?;
    let mut bytes = vec![0; tail as usize];
    file.read_exact(&mut bytes)?;
    let Some(at) = bytes.windows(4).rposition(|window| window == b"PK\x05\x06") else {
        return Ok(());
    };
    let mut end = size - tail + at as u64;
    let record = bytes.get(at..).unwrap_or_default();
    let (mut count, mut directory) = (number(record, 10, 2), number(record, 12, 4));
    if count == 0xffff || directory == 0xffff_ffff || number(record, 16, 4) == 0xffff_ffff {
        let locator = read(file, end.saturating_sub(20), 20)?;
        if locator.starts_with(b"PK\x06\x07") {
            end = number(&locator, 8, 8);
            let record = read(file, end, 56)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(damaged("the end of its directory is not where it says"));
            }
            (count, directory) = (number(&record, 32, 8), number(&record, 40, 8));
        }
    }
    if directory > end || count > directory / ENTRY {
        return Err(damaged("its directory is smaller than it says"));
    }
    file.seek(SeekFrom::Start(end - directory))?;
    let mut left = directory;
    for _ in 0..count {
        let mut entry = [0; ENTRY as usize];
        file.read_exact(&mut entry)?;
        let names = number(&entry, 28, 2) + number(&entry, 30, 2) + number(&entry, 32, 2);
        left = match left.checked_sub(ENTRY + names) {
            Some(left) if entry.starts_with(b"PK\x01\x02") => left,
            _ => return Err(damaged("its directory has fewer entries than it says")),
        };
        let skipped = io::copy(&mut file.take(names), &mut io::sink())?;
        if skipped < names {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn read(file: &mut (impl Read + Seek), at: u64, len: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number; what is not there is 0.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(len).rev();
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn entry(name: &[u8]) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02".to_vec();
        bytes.resize(ENTRY as usize, 0);
        bytes[28] = name.len() as u8;
        bytes.extend_from_slice(name);
        bytes
    }

    fn end(count: u16, directory: u32) -> Vec<u8> {
        let mut bytes = b"PK\x05\x06\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&directory.to_le_bytes());
        bytes.resize(END as usize, 0);
        bytes
    }

    fn result(parts: &[Vec<u8>]) -> Result<(), io::ErrorKind> {
        let bytes = parts.concat();
        let size = bytes.len() as u64;
        check(&mut Cursor::new(bytes), size).map_err(|error| error.kind())
    }

    #[test]
    fn entries_must_be_there() {
        let (a, b) = (entry(b"a"), entry(b"bb/c"));
        let directory = (a.len() + b.len()) as u32;
        let file = vec![7; 100];
        assert_eq!(
            result(&[file.clone(), a.clone(), b.clone(), end(2, directory)]),
            Ok(())
        );
        assert_eq!(result(&[vec![]]), Ok(()));
        let refused = Err(io::ErrorKind::InvalidData);
        let zeros = vec![0; directory as usize];
        assert_eq!(result(&[file.clone(), zeros, end(2, directory)]), refused);
        assert_eq!(
            result(&[file.clone(), a.clone(), b.clone(), end(3, directory)]),
            refused
        );
        assert_eq!(result(&[a, b, end(2, 1 << 30)]), refused);
    }

    #[test]
    fn large_numbers_stand_in_a_record_of_their_own() {
        let a = entry(b"a");
        let mut record = b"PK\x06\x06".to_vec();
        record.resize(32, 0);
        record.extend_from_slice(&1_u64.to_le_bytes());
        record.extend_from_slice(&(a.len() as u64).to_le_bytes());
        record.resize(56, 0);
        let locator = |at: usize| {
            let mut bytes = b"PK\x06\x07\0\0\0\0".to_vec();
            bytes.extend_from_slice(&(at as u64).to_le_bytes());
            bytes.resize(20, 0);
            bytes
        };
        let parts = |at: usize| {
            [
                a.clone(),
                record.clone(),
                locator(at),
                end(0xffff, 0xffff_ffff),
            ]
        };
        assert_eq!(result(&parts(a.len())), Ok(()));
        assert_eq!(result(&parts(0)), Err(io::ErrorKind::InvalidData));
    }
}

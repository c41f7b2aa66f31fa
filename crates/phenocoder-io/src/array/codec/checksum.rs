//! Checksums before or after the data.

use super::{Damage, Outcome};

/// A checksum of four bytes, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) kind: ChecksumKind,
    /// It lies before the data rather than after.
    pub(crate) first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChecksumKind {
    Crc32c,
    Crc32,
    Adler32,
}

impl Checksum {
    /// CRC-32C after the data, as Zarr v3 defines it.
    pub(crate) const CRC32C: Self = Self {
        kind: ChecksumKind::Crc32c,
        first: false,
    };

    fn of(self, data: &[u8]) -> u32 {
        match self.kind {
            ChecksumKind::Crc32c => crc32c::crc32c(data),
            ChecksumKind::Crc32 => {
                let mut crc = flate2::Crc::new();
                crc.update(data);
                crc.sum()
            }
            ChecksumKind::Adler32 => adler32(data),
        }
    }

    /// The data without the checksum, when it is theirs.
    pub(super) fn verify(self, bytes: &[u8]) -> Outcome<&[u8]> {
        let parts = if self.first {
            bytes
                .split_first_chunk::<4>()
                .map(|(sum, data)| (data, sum))
        } else {
            bytes.split_last_chunk::<4>()
        };
        let (data, stored) = parts.ok_or_else(|| Damage::new("it is shorter than its checksum"))?;
        if self.of(data) == u32::from_le_bytes(*stored) {
            Ok(data)
        } else {
            Err(Damage::Checksum)
        }
    }

    pub(super) fn add(self, bytes: &mut Vec<u8>) {
        let sum = self.of(bytes).to_le_bytes();
        let at = if self.first { 0 } else { bytes.len() };
        bytes.splice(at..at, sum);
    }
}

/// RFC 1950, section 8.2.
fn adler32(data: &[u8]) -> u32 {
    const BASE: u32 = 65_521;
    /// So many sums of bytes fit 32 bits.
    const UNREDUCED: usize = 5_552;
    let (mut a, mut b) = (1_u32, 0_u32);
    for part in data.chunks(UNREDUCED) {
        for &byte in part {
            a += u32::from(byte);
            b += a;
        }
        a %= BASE;
        b %= BASE;
    }
    (b << 16) | a
}

//! The compressions of Parquet's pages, unpacked no further than a page says that it holds.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;

use crate::array::unpack_zstd;
use crate::{Error, Result};

/// Unpacks `packed`, which is to hold `size` bytes, and appends them to `out`.
///
/// No memory is taken for a size that the packed bytes cannot hold.
pub(crate) fn unpack(
    key: &str,
    compression: Compression,
    packed: &[u8],
    size: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let wrong =
        |found: usize| Error::corrupt(key, format!("a page holds {found} bytes, not {size}"));
    let plausible = |most: usize| {
        let most = packed.len().saturating_mul(most).saturating_add(64);
        if size <= most {
            return Ok(());
        }
        let problem = format!("a page claims {size} bytes, at most {most} are possible");
        Err(Error::corrupt(key, problem))
    };
    let start = out.len();
    match compression {
        Compression::UNCOMPRESSED => out.extend_from_slice(packed),
        Compression::SNAPPY => {
            // A copy of 64 bytes takes at least 3 bytes.
            plausible(22)?;
            let stated = snap::raw::decompress_len(packed).map_err(|e| Error::corrupt(key, e))?;
            if stated != size {
                return Err(wrong(stated));
            }
            out.resize(start + size, 0);
            snap::raw::Decoder::new()
                .decompress(packed, &mut out[start..])
                .map_err(|e| Error::corrupt(key, e))?;
        }
        Compression::LZ4_RAW => {
            // A match is longer by 255 for each byte of its length.
            plausible(256)?;
            out.resize(start + size, 0);
            let n = lz4_flex::block::decompress_into(packed, &mut out[start..])
                .map_err(|e| Error::corrupt(key, e))?;
            out.truncate(start + n);
        }
        Compression::GZIP(_) => {
            MultiGzDecoder::new(packed)
                .take(size as u64 + 1)
                .read_to_end(out)
                .map_err(|e| Error::corrupt(key, e))?;
        }
        Compression::ZSTD(_) => out.extend(unpack_zstd(key, packed, size)?),
        other => {
            return Err(Error::UnsupportedCodec {
                key: key.to_owned(),
                problem: format!("the compression {other} is not known"),
            });
        }
    }
    match out.len() - start {
        found if found == size => Ok(()),
        found => Err(wrong(found)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::SNAPPY => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Compression::LZ4_RAW => lz4_flex::block::compress(bytes),
            Compression::GZIP(_) => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::ZSTD(_) => zstd::bulk::compress(bytes, 1).unwrap(),
            _ => bytes.to_vec(),
        }
    }

    fn all() -> [Compression; 5] {
        [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
        ]
    }

    #[test]
    fn every_compression_is_undone() {
        let bytes: Vec<u8> = (0..10_000_u32)
            .flat_map(|i| (i / 7).to_le_bytes())
            .collect();
        for compression in all() {
            let packed = packed(compression, &bytes);
            let mut out = vec![1, 2];
            unpack("k", compression, &packed, bytes.len(), &mut out).unwrap();
            assert_eq!(out[2..], bytes, "{compression}");
            for wrong in [bytes.len() - 1, bytes.len() + 1, 0] {
                let result = unpack("k", compression, &packed, wrong, &mut Vec::new());
                assert!(result.is_err(), "{compression} {wrong}");
            }
        }
    }

    #[test]
    fn other_compressions_are_named() {
        for other in [
            Compression::BROTLI(Default::default()),
            Compression::LZ4,
            Compression::LZO,
        ] {
            let refused = unpack("k", other, b"abc", 3, &mut Vec::new()).unwrap_err();
            let name = other.to_string();
            let name = name.split('(').next().unwrap();
            assert!(
                matches!(&refused, Error::UnsupportedCodec { problem, .. } if problem.contains(name)),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_before_memory_is_taken() {
        for compression in all() {
            let packed = packed(compression, b"abc");
            let mut out = Vec::new();
            let result = unpack("k", compression, &packed, 1 << 31, &mut out);
            assert!(result.is_err(), "{compression}");
            assert!(out.capacity() < 1 << 20, "{compression}");
        }
    }

    #[test]
    fn damaged_pages_are_survived() {
        let bytes: Vec<u8> = (0..500_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for compression in all() {
            let packed = packed(compression, &bytes);
            for at in 0..packed.len().min(400) {
                let mut flipped = packed.clone();
                flipped[at] ^= 0x55;
                let _ = unpack("k", compression, &flipped, bytes.len(), &mut Vec::new());
                let cut = unpack(
                    "k",
                    compression,
                    &packed[..at],
                    bytes.len(),
                    &mut Vec::new(),
                );
                assert!(cut.is_err(), "{compression} {at}");
            }
        }
    }
}

//! Against frames that numcodecs made, and cut, flipped and hostile ones.

use std::io::Write;

use serde_json::{Value, json};

use super::*;

/// As in tests/data/make_codecs.py.
fn noise(mut seed: u32, n: usize) -> Vec<u8> {
    (0..n)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect()
}

/// As in tests/data/make_codecs.py.
fn content(kind: &str, n: usize) -> Vec<u8> {
    match kind {
        "zeros" => vec![0; n],
        "noise" => noise(1, n),
        "far" => {
            let runs = noise(2, 250).into_iter().flat_map(|byte| [byte; 36]);
            let block: Vec<u8> = runs.chain(*b"!").collect();
            block.into_iter().cycle().take(n).collect()
        }
        _ => {
            let low = noise(3, n / 2 + 1);
            let values = low.iter().enumerate();
            values
                .flat_map(|(j, low)| {
                    (1_000 + (j * 7 % 900) as u16 + u16::from(low >> 7)).to_le_bytes()
                })
                .take(n)
                .collect()
        }
    }
}

struct Record {
    name: String,
    codecs: BytesCodecs,
    content: Vec<u8>,
    encoded: Vec<u8>,
}

fn take<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (len, rest) = bytes.split_first_chunk::<4>().unwrap();
    let (part, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
    *bytes = rest;
    part
}

fn records() -> Vec<Record> {
    let mut bytes: &[u8] = include_bytes!("../../../tests/data/codecs.bin");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let line: Value = serde_json::from_slice(take(&mut bytes)).unwrap();
        let filters = line["codecs"].as_array().unwrap();
        let (codecs, rest) = BytesCodecs::split_v2("k", filters, None).unwrap();
        assert!(rest.is_empty(), "{line}");
        records.push(Record {
            name: format!("{line}, record {}", records.len()),
            codecs,
            content: content(
                line["kind"].as_str().unwrap(),
                line["len"].as_u64().unwrap() as usize,
            ),
            encoded: take(&mut bytes).to_vec(),
        });
    }
    records
}

/// Decodes with the exact size, with an upper limit, and with sizes that are wrong.
fn check(record: &Record) {
    let Record {
        name,
        codecs,
        content,
        encoded,
    } = record;
    let mut out = vec![7; content.len()];
    codecs
        .decode_into("k", encoded, &mut out)
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert!(out == *content, "{name}");
    assert!(codecs.is_possible(encoded.len(), content.len()));
    let found = codecs
        .decode("k", encoded, content.len() as u64 + 3)
        .unwrap();
    assert!(found == *content, "{name}");
    let mut longer = vec![0; content.len() + 1];
    codecs.decode_into("k", encoded, &mut longer).unwrap_err();
    let shorter = content.len() - 1;
    codecs
        .decode_into("k", encoded, &mut longer[..shorter])
        .unwrap_err();
    codecs.decode("k", encoded, shorter as u64).unwrap_err();
}

#[test]
fn frames_of_numcodecs_are_decoded() {
    let records = records();
    assert!(records.len() > 200, "{}", records.len());
    records.iter().for_each(check);
}

#[test]
fn cut_and_flipped_frames_are_no_panic_and_no_other_length() {
    let mut out = Vec::new();
    for record in records() {
        let mut decode = |bytes: &[u8]| {
            out.clear();
            out.resize(record.content.len(), 0);
            let _ = record.codecs.decode("k", bytes, 1 << 20);
            record.codecs.decode_into("k", bytes, &mut out)
        };
        let n = record.encoded.len();
        for len in (0..n).step_by((n / 40).max(1)) {
            assert!(decode(&record.encoded[..len]).is_err(), "{}", record.name);
        }
        let mut bytes = record.encoded.clone();
        let header = (0..8 * n.min(32)).chain((256..8 * n).step_by((n / 5).max(1)));
        for bit in header {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Most codecs have no checksum: any other content may come out.
            let _ = decode(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_flipped_bit_under_a_checksum_is_noticed() {
    let codecs = BytesCodecs::of_new_arrays(true);
    let content = content("smooth", 500);
    let mut bytes = codecs.encode("k", &content).unwrap();
    let mut out = vec![0; 500];
    codecs.decode_into("k", &bytes, &mut out).unwrap();
    assert_eq!(out, content);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = codecs.decode_into("k", &bytes, &mut out).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// A frame of blocks with one stream each, `flags` beside the compressor.
fn blosc_frame(
    compressor: u8,
    flags: u8,
    content: usize,
    block: usize,
    streams: &[&[u8]],
) -> Vec<u8> {
    let mut body = Vec::new();
    let mut offsets = Vec::new();
    for stream in streams {
        offsets.push(16 + 4 * streams.len() + body.len());
        body.extend((stream.len() as u32).to_le_bytes());
        body.extend(*stream);
    }
    let mut frame = vec![2, 1, compressor << 5 | 0x10 | flags, 1];
    let total = 16 + 4 * streams.len() + body.len();
    for number in [content, block, total].into_iter().chain(offsets) {
        frame.extend((number as u32).to_le_bytes());
    }
    frame.extend(body);
    frame
}

#[test]
fn snappy_within_blosc_is_decoded() {
    let content: Vec<u8> = noise(5, 60).repeat(15);
    let pack = |part: &[u8]| snap::raw::Encoder::new().compress_vec(part).unwrap();
    let streams: Vec<Vec<u8>> = content.chunks(400).map(pack).collect();
    let streams: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
    let frame = blosc_frame(2, 0, 900, 400, &streams);
    let mut out = vec![0; 900];
    blosc::decode_exactly(&frame, &mut out).unwrap();
    assert!(out == content);
    for len in 0..frame.len() {
        blosc::decode_exactly(&frame[..len], &mut out).unwrap_err();
    }
}

#[test]
fn hostile_blosc_frames_are_refused() {
    let refused = |frame: &[u8], size: usize| {
        let mut out = vec![0; size];
        blosc::decode_exactly(frame, &mut out).unwrap_err();
    };
    // A filter of Blosc 2, an unknown codec, blocks of nothing, a stream longer than its block.
    refused(&blosc_frame(1, 0x08, 4, 4, &[b"abcd"]), 4);
    refused(&blosc_frame(1, 0x05, 4, 4, &[b"abcd"]), 4);
    refused(&blosc_frame(6, 0, 4, 4, &[b"abc"]), 4);
    refused(&blosc_frame(1, 0, 4, 0, &[b"abcd"]), 4);
    refused(&blosc_frame(1, 0, 4, 4, &[b"abcde"]), 4);
    // More blocks than the frame has bytes for.
    refused(&blosc_frame(1, 0, 1 << 16, 1, &[b"a"]), 1 << 16);
    // A block and a stream beyond the end, up to the largest numbers.
    for at in [16, 20] {
        for number in [25_u32, 1 << 31, u32::MAX] {
            let mut frame = blosc_frame(1, 0, 4, 4, &[b"abcd"]);
            frame[at..at + 4].copy_from_slice(&number.to_le_bytes());
            refused(&frame, 4);
        }
    }
    // A header that claims what nobody asked for.
    let mut bomb = blosc_frame(4, 0, 4, 4, &[b"abc"]);
    bomb[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    refused(&bomb, 4);
    let mut out = Vec::new();
    let codec = BytesCodec::Blosc;
    codec.decode_up_to(&bomb, usize::MAX, &mut out).unwrap_err();
    assert_eq!(out.capacity(), 0);
}

#[test]
fn blosclz_that_reaches_before_its_output_is_refused() {
    // One literal, then matches: a repeat of it, too far back, too long, cut.
    let decode = |stream: &[u8], size| {
        let mut out = vec![0; size];
        let frame = blosc_frame(0, 0, size, size, &[stream]);
        blosc::decode_exactly(&frame, &mut out).map(|()| out)
    };
    assert_eq!(decode(&[0, b'a', 0x20, 0], 4 + 8).ok(), None);
    assert_eq!(decode(&[0, b'a', 0xE0, 2, 0], 12).unwrap(), [b'a'; 12]);
    decode(&[0, b'a', 0xE0, 2, 1], 12).unwrap_err();
    decode(&[0, b'a', 0xE0, 3, 0], 12).unwrap_err();
    decode(&[0, b'a', 0xE0, 255], 12).unwrap_err();
    decode(&[3, b'a'], 12).unwrap_err();
}

#[test]
fn data_are_not_unpacked_beyond_their_size() {
    let zeros = vec![0; 1 << 24];
    let zstd = zstd::encode(&zeros, 1, false).unwrap();
    let gzip = {
        use std::io::Read;
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(zeros.as_slice(), flate2::Compression::best())
            .read_to_end(&mut packed)
            .unwrap();
        packed
    };
    for (codec, bytes) in [
        (
            BytesCodec::Zstd {
                level: 0,
                checksum: false,
            },
            zstd,
        ),
        (BytesCodec::Gzip, gzip),
    ] {
        let mut small = [0; 64];
        codec.decode_exactly(&bytes, &mut small).unwrap_err();
        let mut out = Vec::new();
        codec.decode_up_to(&bytes, 64, &mut out).unwrap_err();
        assert!(out.capacity() < 1 << 12, "{}", out.capacity());
        out.clear();
        codec.decode_up_to(&bytes, 1 << 24, &mut out).unwrap();
    }
}

#[test]
fn zstd_frames_without_a_size_are_decoded() {
    let content = content("smooth", 5_000);
    let mut packer = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    packer.write_all(&content).unwrap();
    let mut bytes = packer.finish().unwrap();
    assert!(zstd::decode_exactly(&bytes, &mut vec![0; 4_999]).is_err());
    let mut out = vec![0; 5_000];
    zstd::decode_exactly(&bytes, &mut out).unwrap();
    assert!(out == content);
    // Two frames, the second with its size, and a frame to skip.
    bytes.extend(zstd::encode(&content, 1, true).unwrap());
    bytes.extend([0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 1, 2]);
    let mut out = Vec::new();
    zstd::decode_up_to(&bytes, 10_000, &mut out).unwrap();
    assert!(out == content.repeat(2));
    assert!(zstd::decode_up_to(&bytes, 9_999, &mut Vec::new()).is_err());
    assert!(zstd::decode_up_to(&[], 10, &mut Vec::new()).is_err());
}

#[test]
fn codecs_are_taken_off_the_end_of_a_list() {
    let split = |list: Value| {
        BytesCodecs::split_v3("k", list.as_array().unwrap())
            .map(|(codecs, rest)| (codecs.0, rest.len()))
            .map_err(|error| error.to_string())
    };
    let (codecs, before) = split(json!([
        {"name": "transpose"}, {"name": "bytes"}, {"name": "numcodecs.shuffle", "configuration": {"elementsize": 2}},
        {"name": "numcodecs.lz4"}, "crc32c",
    ]))
    .unwrap();
    assert_eq!(before, 2);
    assert_eq!(codecs[..2], [BytesCodec::Shuffle(2), BytesCodec::Lz4]);
    assert!(matches!(codecs[2], BytesCodec::Checksum(_)));
    let error = split(json!([{"name": "bytes"}, {"name": "zstd"}, {"name": "numcodecs.lzma"}]));
    assert!(error.unwrap_err().contains("`numcodecs.lzma`"));
    split(json!([{"name": "bytes"}, {"name": "shuffle", "configuration": {"elementsize": 0}}]))
        .unwrap_err();
    let many = vec![json!({"name": "zstd"}); MAX_CODECS + 1];
    BytesCodecs::split_v3("k", &many).unwrap_err();
    let error = BytesCodecs::split_v2("k", &[], Some(&json!({"id": "bz2"}))).unwrap_err();
    assert!(error.to_string().contains("`bz2`"), "{error}");
}

#[test]
fn sizes_that_cannot_be_are_refused_before_memory_is_taken() {
    let codecs = BytesCodecs::of_new_arrays(true);
    assert!(codecs.is_possible(100, 1 << 20));
    assert!(!codecs.is_possible(100, 1 << 30));
    assert!(!BytesCodecs::default().is_possible(100, 101));
}

#[test]
fn what_may_have_any_size_is_too_large_beyond_the_limit() {
    let packed = |with_size: bool| {
        let mut packer = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        packer.include_contentsize(with_size).unwrap();
        if with_size {
            packer.set_pledged_src_size(Some(1 << 20)).unwrap();
        }
        packer.write_all(&vec![0; 1 << 20]).unwrap();
        packer.finish().unwrap()
    };
    let zstd = BytesCodec::Zstd {
        level: 1,
        checksum: false,
    };
    let codecs = BytesCodecs(vec![zstd]);
    for (with_size, expected) in [(true, 1 << 20), (false, 1001)] {
        let bytes = packed(with_size);
        let refused = codecs.decode_within("k", &bytes, 1000);
        assert!(
            matches!(refused, Err(Error::TooLarge { found, limit: 1000, .. }) if found == expected),
            "{refused:?}"
        );
        // Where nothing but so much is possible it is damage.
        let refused = codecs.decode("k", &bytes, 1000);
        assert!(matches!(refused, Err(Error::CorruptChunk { .. })));
        assert_eq!(
            codecs.decode_within("k", &bytes, 1 << 20).unwrap().len(),
            1 << 20
        );
    }
    let damaged = codecs.decode_within("k", b"no frame", 1000);
    assert!(matches!(damaged, Err(Error::CorruptChunk { .. })));
}

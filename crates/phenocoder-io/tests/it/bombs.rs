//! Small files that claim, or unpack to, a gigabyte.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use ndarray::Array4;
use phenocoder_core::{DataType, ImageShape, ImageSource, MemoryImage, NoProgress};
use phenocoder_io::{ContainerVersion, ImageWriteOptions, Store};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::files;

const GIB: u64 = 1 << 30;

/// A gigabyte of zeros as one zstd frame, with or without its size at the head.
fn zstd_bomb(with_size: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_contentsize(with_size).unwrap();
    if with_size {
        encoder.set_pledged_src_size(Some(GIB)).unwrap();
    }
    let zeros = vec![0; 1 << 20];
    for _ in 0..GIB >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

fn gzip_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..GIB >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// The most memory that this process has held so far, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Not run by itself: the child whose memory is measured.
#[test]
fn child_that_reads_a_bomb() {
    let Some(path) = std::env::var_os("PHENOCODER_IO_BOMB") else {
        return;
    };
    let image = Store::open(Path::new(&path)).unwrap().image("i").unwrap();
    // The chunk below is sound, so that everything that reading takes is there.
    let mut out = vec![0.0; 64 * 64];
    let mut lower = image.shape().region();
    lower.y = 64..128;
    image.read_region(&lower, &mut out).unwrap();
    let before = peak();
    let mut upper = lower.clone();
    upper.y = 0..64;
    let refused = image.read_region(&upper, &mut out).unwrap_err();
    println!("grew by {} bytes: {refused:?}", peak() - before);
}

/// By how much a child that reads the bomb grows, and what it says.
#[cfg(target_os = "linux")]
fn growth(path: &Path, what: &str) -> (u64, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bombs::child_that_reads_a_bomb", "--nocapture"])
        .env("PHENOCODER_IO_BOMB", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {text}");
    let grown = text
        .split("grew by ")
        .nth(1)
        .and_then(|t| t.split(' ').next());
    (grown.unwrap().parse().unwrap(), text)
}

/// A store with an image of two chunks.
fn store_with_image(path: &Path) {
    let mut store = Store::create(path, ContainerVersion::V02).unwrap();
    let pixels = Array4::from_shape_fn((1, 1, 128, 64), |(_, _, y, x)| (x * y % 97) as f32);
    let image = MemoryImage::new("i", pixels, vec!["a".into()]).unwrap();
    let options =
        ImageWriteOptions::new(DataType::UInt16).with_chunks(ImageShape::new(1, 1, 64, 64));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_costs_less_than_a_megabyte_beside_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    store_with_image(&path);
    let metadata = path.join("images/i/s0/zarr.json");
    let original: serde_json::Value =
        serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    let chunk = |y: usize| path.join(format!("images/i/s0/c/0/{y}/0"));
    let plain: Vec<u8> = (0..64 * 64_u16)
        .flat_map(|v| (v % 97).to_le_bytes())
        .collect();
    let cases = [
        (
            "zstd",
            "zstd with its size",
            zstd_bomb(true),
            zstd::encode_all(plain.as_slice(), 0).unwrap(),
        ),
        (
            "zstd",
            "zstd without its size",
            zstd_bomb(false),
            zstd::encode_all(plain.as_slice(), 0).unwrap(),
        ),
        ("gzip", "gzip", gzip_bomb(), {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }),
    ];
    for (codec, what, bomb, sound) in cases {
        let mut changed = original.clone();
        let configuration = match codec {
            "zstd" => serde_json::json!({"level": 0, "checksum": false}),
            _ => serde_json::json!({"level": 1}),
        };
        changed["codecs"] = serde_json::json!([
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": codec, "configuration": configuration},
        ]);
        fs::write(&metadata, changed.to_string()).unwrap();
        fs::write(chunk(1), sound).unwrap();
        fs::write(chunk(0), &bomb).unwrap();
        let (grown, text) = growth(&path, what);
        println!(
            "{what}: {} bytes that unpack to 1 GiB cost {grown} bytes",
            bomb.len()
        );
        // The file itself is read, and nothing more.
        assert!(grown < (1 << 20) + bomb.len() as u64, "{what}: {text}");
        assert!(text.contains("CorruptChunk"), "{what}: {text}");
    }
}

/// A zip file of a store whose first chunk is a deflated gigabyte that says that it has `claimed` bytes.
fn zipped(store: &Path, to: &Path, claimed: u32) {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let bomb = "images/i/s0/c/0/0/0";
    let mut writer = zip::ZipWriter::new(fs::File::create(to).unwrap());
    for file in files(store) {
        let name = file.strip_prefix(store).unwrap().to_str().unwrap();
        writer.start_file(name, options).unwrap();
        if name != bomb {
            writer.write_all(&fs::read(&file).unwrap()).unwrap();
            continue;
        }
        let zeros = vec![0; 1 << 20];
        for _ in 0..GIB >> 20 {
            writer.write_all(&zeros).unwrap();
        }
    }
    writer.finish().unwrap();
    let mut bytes = fs::read(to).unwrap();
    let entries = bytes.windows(4).enumerate();
    let starts: Vec<usize> = entries
        .filter_map(|(at, w)| (w == b"PK\x01\x02").then_some(at))
        .collect();
    let is_bomb = |at: &usize| bytes[at + 46..].starts_with(bomb.as_bytes());
    let entry = starts.into_iter().find(is_bomb).unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&claimed.to_le_bytes());
    fs::write(to, bytes).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_deflated_bomb_in_a_zip_file_costs_less_than_a_megabyte_beside_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    store_with_image(&path);
    let packed = folder.path().join("s.zip");
    for (claimed, expected) in [
        (8000, "CorruptChunk"),
        (GIB as u32, "TooLarge"),
        (u32::MAX - 1, "TooLarge"),
    ] {
        zipped(&path, &packed, claimed);
        let size = fs::metadata(&packed).unwrap().len();
        let (grown, text) = growth(&packed, "a deflated file");
        println!("deflated: {size} bytes that claim to be {claimed} cost {grown} bytes");
        assert!(grown < (1 << 20) + size, "{claimed}: {text}");
        assert!(text.contains(expected), "{claimed}: {text}");
    }
}

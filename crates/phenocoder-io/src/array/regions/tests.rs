//! Shards are opened, and unpacked, once for all blocks that are read together.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array4;
use phenocoder_core::{DataType, ImageShape, ImageSource, MemoryImage, NoProgress};
use serde_json::json;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::{Job, each};
use crate::array::{ZarrArray, encode_index, encode_texts};
use crate::disk::Disk;
use crate::disk::faults::{Fault, Faults};
use crate::node::ZarrFormat;
use crate::root::Root;
use crate::{
    ContainerVersion, Error, ImageWriteOptions, MissingChunks, OpenOptions, Result, Store, verify,
};

/// A store with an image of 2 × 2 shards of 4 × 4 chunks each.
fn create(path: &Path) {
    let mut store = Store::create(path, ContainerVersion::V02).unwrap();
    let pixels = Array4::from_shape_fn((1, 1, 64, 64), |(_, _, y, x)| (y * 64 + x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["c".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(ImageShape::new(1, 1, 8, 8))
        .with_shards(ImageShape::new(1, 1, 32, 32));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
}

/// The same in a zip file, deflated.
fn pack(to: &Path) {
    fn add(writer: &mut zip::ZipWriter<fs::File>, folder: &Path, prefix: &str) {
        let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                add(writer, &path, &format!("{name}/"));
            } else {
                writer.start_file(name, deflated).unwrap();
                writer.write_all(&fs::read(path).unwrap()).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    create(&path);
    let mut writer = zip::ZipWriter::new(fs::File::create(to).unwrap());
    add(&mut writer, &path, "");
    writer.finish().unwrap();
}

/// How often the zip file is read while `work` is done with the store, of which this many bytes are kept.
fn reads(path: &Path, cache_bytes: usize, work: impl Fn(&Store) -> Result<()>) -> usize {
    let options = OpenOptions::default().with_cache_bytes(cache_bytes);
    operations(Fault::Short, path, &options, work)
}

/// How many operations that the fault applies to it takes to do `work` with the store.
fn operations(
    fault: Fault,
    path: &Path,
    options: &OpenOptions,
    work: impl Fn(&Store) -> Result<()>,
) -> usize {
    let passed = |n| {
        let (disk, faults) = Faults::disk(n, fault, false);
        let store = Root::open_on(&disk, path, options.clone()).and_then(Store::from_root);
        let done = store.and_then(|store| work(&store));
        faults.hit().is_none() && done.is_ok()
    };
    let n = (0..10).map(|i| 1 << i).find(|&n| passed(n)).unwrap();
    (n / 2..=n).find(|&n| passed(n)).unwrap()
}

#[test]
fn a_deflated_shard_that_is_too_large_to_be_kept_is_unpacked_once_for_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zip");
    pack(&path);
    let nothing = reads(&path, 0, |store| store.image("i").map(|_| ()));
    // For each shard its header and its bytes.
    let whole = reads(&path, 0, |store| {
        let image = store.image("i")?;
        let mut out = vec![0.0; 4096];
        image.read_region(&image.shape().region(), &mut out)?;
        assert!(out.iter().enumerate().all(|(at, v)| *v == at as f32));
        Ok(())
    });
    assert_eq!(whole - nothing, 4 * 2);
    let several = reads(&path, 0, |store| {
        let image = store.image("i")?;
        let region = image.shape().region();
        let mut out = [vec![0.0; 4096], vec![0.0; 4096]];
        image.read_regions(&[region.clone(), region], &mut out)
    });
    assert_eq!(several - nothing, 4 * 2);
    let of_verify = |cache_bytes| {
        reads(&path, cache_bytes, |store| {
            let found = verify(store, &NoProgress)?;
            assert!(found.violations.len() <= 1);
            match found.violations.is_empty() {
                true => Ok(()),
                false => Err(Error::corrupt("i", "a read failed")),
            }
        })
    };
    assert_eq!(of_verify(0), of_verify(1 << 20));
}

fn read_all(store: &Store) -> Result<Vec<f32>> {
    let image = store.image("i")?;
    let mut out = vec![7.0; 4096];
    image.read_region(&image.shape().region(), &mut out)?;
    Ok(out)
}

#[test]
fn a_shard_that_is_not_there_is_looked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    create(&path);
    let shards = path.join("images/i/s0/c");
    fs::remove_dir_all(&shards).unwrap();
    let options = OpenOptions::default().with_missing_chunks(MissingChunks::Fill);
    let of = |work: fn(&Store) -> Result<()>| operations(Fault::Broken, &path, &options, work);
    let nothing = of(|store| store.image("i").map(|_| ()));
    let whole = of(|store| read_all(store).map(|read| assert_eq!(read, [0.0; 4096])));
    assert_eq!(whole - nothing, 4);
}

#[test]
fn a_damaged_deflated_shard_is_unpacked_once_and_those_after_it_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zip");
    pack(&path);
    let mut bytes = fs::read(&path).unwrap();
    let name = b"images/i/s0/c/0/0/0";
    // Its name stands last in the directory, 30 bytes after its checksum.
    let at = bytes.windows(name.len()).rposition(|found| found == name);
    bytes[at.unwrap() - 30] ^= 1;
    fs::write(&path, bytes).unwrap();
    let is_of_shard = |error: &Error| {
        let shown = format!("{error:?}");
        shown.contains(r#"Checksum { key: "images/i/s0/c/0/0/0" }"#)
    };
    let refused = Store::open(&path).and_then(|store| read_all(&store));
    assert!(refused.as_ref().is_err_and(is_of_shard), "{refused:?}");
    let nothing = reads(&path, 0, |store| store.image("i").map(|_| ()));
    let damaged = reads(&path, 0, |store| match read_all(store) {
        Err(error) if is_of_shard(&error) => Ok(()),
        other => other.and(Err(Error::corrupt("i", "the damage was not seen"))),
    });
    // Its header and its bytes.
    assert_eq!(damaged - nothing, 2);
}

#[test]
fn no_more_is_unpacked_at_once_than_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (stored, deflated) = (folder.path().join("s.zarr"), folder.path().join("s.zip"));
    create(&stored);
    pack(&deflated);
    let job = |y, x| Job {
        index: vec![0, y, x],
        bands: 0..0,
    };
    let jobs = [job(0, 0), job(0, 4), job(4, 0), job(4, 4)];
    let groups: Vec<&[Job]> = jobs.chunks(1).collect();
    let array = |path: &Path, cache_bytes| {
        let options = OpenOptions::default().with_cache_bytes(cache_bytes);
        let root = Root::open_on(&Disk::default(), path, options).unwrap();
        ZarrArray::open(&Arc::new(root), "images/i/s0", ZarrFormat::V3).unwrap()
    };
    let size = |index: &[u64]| array(&deflated, 0).unpacked_bytes(index) as usize;
    let (first, second) = (size(&jobs[0].index), size(&jobs[1].index));
    assert!(first.min(second) > 1000);
    let together = |path: &Path, cache_bytes| array(path, cache_bytes).with_room(&groups);
    assert_eq!(together(&deflated, 0), 1);
    assert_eq!(together(&deflated, first + second - 1), 1);
    assert_eq!(together(&deflated, first + second), 2);
    assert_eq!(together(&deflated, 1 << 20), 4);
    assert_eq!(together(&stored, 0), 4);
}

#[test]
fn work_ends_at_the_first_error_in_the_order_of_the_items() {
    let begun = AtomicUsize::new(0);
    let items: Vec<usize> = (0..100_000).collect();
    let done = each(&items, |&at| {
        begun.fetch_add(1, Ordering::Relaxed);
        match at % 10 {
            7 => Err(Error::corrupt(at.to_string(), "damaged")),
            _ => Ok(()),
        }
    });
    assert!(matches!(done, Err(Error::CorruptChunk { key, .. }) if key == "7"));
    assert!(begun.into_inner() < items.len() / 2);
}

#[test]
fn shards_of_texts_that_lie_side_by_side_are_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = json!({
        "zarr_format": 3, "node_type": "array", "shape": [4, 4], "data_type": "string",
        "fill_value": "", "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 2]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [1, 1],
            "codecs": [{"name": "vlen-utf8"}],
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"},
            ],
        }}],
    });
    let shards = folder.path().join("t/c/0");
    fs::create_dir_all(&shards).unwrap();
    fs::write(folder.path().join("t/zarr.json"), metadata.to_string()).unwrap();
    for shard in 0..2 {
        let (mut bytes, mut index) = (Vec::new(), Vec::new());
        for at in 0..8 {
            let text = encode_texts(&[format!("{} {}", at / 2, shard * 2 + at % 2)]);
            index.push((bytes.len() as u64, text.len() as u64));
            bytes.extend(text);
        }
        bytes.extend(encode_index(&index));
        fs::write(shards.join(shard.to_string()), bytes).unwrap();
    }
    let texts: Vec<String> = (0..16).map(|at| format!("{} {}", at / 4, at % 4)).collect();
    let needed = |reads: bool| {
        let passed = |&n: &usize| {
            let (disk, faults) = Faults::disk(n, Fault::Broken, false);
            let root = Root::open_on(&disk, folder.path(), OpenOptions::default());
            let array = root.and_then(|r| ZarrArray::open(&Arc::new(r), "t", ZarrFormat::V3));
            let done = array.and_then(|array| match reads {
                true => array.read_texts().map(|found| assert_eq!(found, texts)),
                false => Ok(()),
            });
            faults.hit().is_none() && done.is_ok()
        };
        (0..200).find(passed).unwrap()
    };
    // Each shard is looked for, looked at, opened, and its index and eight texts are read.
    assert_eq!(needed(true) - needed(false), 2 * (3 + 1 + 8));
}

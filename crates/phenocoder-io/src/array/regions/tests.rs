//! Shards are opened, and unpacked, once for all blocks that are read together.

use std::fs;
use std::io::Write;
use std::path::Path;

use ndarray::Array4;
use phenocoder_core::{DataType, ImageShape, ImageSource, MemoryImage, NoProgress};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::disk::faults::{Fault, Faults};
use crate::root::Root;
use crate::{ContainerVersion, ImageWriteOptions, OpenOptions, Result, Store, verify};

/// A deflated zip file with an image of 2 × 2 shards of 4 × 4 chunks each.
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
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let pixels = Array4::from_shape_fn((1, 1, 64, 64), |(_, _, y, x)| (y * 64 + x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["c".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(ImageShape::new(1, 1, 8, 8))
        .with_shards(ImageShape::new(1, 1, 32, 32));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    let mut writer = zip::ZipWriter::new(fs::File::create(to).unwrap());
    add(&mut writer, &path, "");
    writer.finish().unwrap();
}

/// How often the zip file is read while `work` is done with the store, of which this many bytes are kept.
fn reads(path: &Path, cache_bytes: usize, work: impl Fn(&Store) -> Result<()>) -> usize {
    let passed = |n| {
        let (disk, faults) = Faults::disk(n, Fault::Short, false);
        let options = OpenOptions::default().with_cache_bytes(cache_bytes);
        let store = Root::open_on(&disk, path, options).and_then(Store::from_root);
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
                false => Err(crate::Error::corrupt("i", "a read failed")),
            }
        })
    };
    assert_eq!(of_verify(0), of_verify(1 << 20));
}

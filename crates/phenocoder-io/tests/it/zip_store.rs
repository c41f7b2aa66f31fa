//! Stores in zip files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use phenocoder_core::{Column, DataType, ImageSource, MemoryImage, NoProgress};
use phenocoder_io::{
    ContainerVersion, Error, ImageWriteOptions, Store, TableData, WriteMode, validate,
};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

fn store(folder: &Path, version: ContainerVersion) -> PathBuf {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, version).unwrap();
    let pixels = Array4::from_shape_fn((2, 1, 40, 50), |(c, _, y, x)| (c * 7 + y * 50 + x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["a".into(), "b".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(phenocoder_core::ImageShape::new(1, 1, 16, 16));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_obs_column("value", Column::Float(vec![0.5, f64::NAN]))
        .unwrap();
    store
        .write_table("i-table", &table, WriteMode::Create)
        .unwrap();
    path
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pack(store: &Path, to: &Path, top: &str, method: CompressionMethod) {
    let mut writer = zip::ZipWriter::new(fs::File::create(to).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    for file in files(store) {
        let relative = file.strip_prefix(store).unwrap().display();
        writer
            .start_file(format!("{top}{relative}"), options)
            .unwrap();
        writer.write_all(&fs::read(&file).unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

fn pixels(store: &Store) -> Vec<f32> {
    let image = store.image("i").unwrap();
    let region = image.shape().region();
    let mut out = vec![0.0; region.checked_len().unwrap()];
    image.read_region(&region, &mut out).unwrap();
    out
}

#[test]
fn a_zip_file_reads_as_the_folder_it_was_made_of() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path(), version);
        let expected = Store::open(&path).unwrap();
        for (top, method) in [
            ("", CompressionMethod::Stored),
            ("s.zarr/", CompressionMethod::Stored),
            ("", CompressionMethod::Deflated),
        ] {
            let packed = folder.path().join("s.zarr.zip");
            pack(&path, &packed, top, method);
            let mut found = Store::open(&packed).unwrap();
            assert_eq!(found.elements(), expected.elements());
            assert_eq!(found.version(), version);
            assert!(validate(&found).is_empty());
            assert_eq!(pixels(&found), pixels(&expected));
            let table = |store: &Store| store.table("i-table").unwrap().read_all().unwrap();
            // NaN differs from itself.
            assert_eq!(
                format!("{:?}", table(&found)),
                format!("{:?}", table(&expected))
            );
            let refused = found.write_table("t", &table(&expected), WriteMode::Create);
            assert!(matches!(refused, Err(Error::ReadOnly { .. })));
            assert!(found.path().is_none());
        }
    }
}

#[test]
fn a_damaged_zip_file_is_an_error_and_never_wrong_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    let expected = pixels(&Store::open(&path).unwrap());
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let packed = folder.path().join("s.zip");
        pack(&path, &packed, "", method);
        let whole = fs::read(&packed).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 40) {
            fs::write(&packed, &whole[..cut]).unwrap();
            assert!(Store::open(&packed).is_err(), "cut to {cut} bytes");
        }
        let mut refused = 0;
        // The names that follow decide which chunks there are; a missing one is another matter.
        let names = whole.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        for at in (0..names).step_by(names / 200) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&packed, &bytes).unwrap();
            let read = Store::open(&packed).and_then(|store| {
                let image = store.image("i")?;
                let region = image.shape().region();
                let mut out = vec![0.0; region.checked_len().unwrap_or(0)];
                image.read_region(&region, &mut out)?;
                Ok(out)
            });
            match read {
                Ok(found) => assert_eq!(found, expected, "byte {at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn names_that_climb_out_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("s.zip");
    let mut writer = zip::ZipWriter::new(fs::File::create(&packed).unwrap());
    let options = SimpleFileOptions::default();
    writer.start_file("zarr.json", options).unwrap();
    writer
        .write_all(br#"{"zarr_format": 3, "node_type": "group"}"#)
        .unwrap();
    writer.start_file("../outside", options).unwrap();
    writer
        .add_symlink("images/passwd", "/etc/passwd", options)
        .unwrap();
    writer.finish().unwrap();
    let store = Store::open(&packed).unwrap();
    assert!(store.elements().is_empty());
}

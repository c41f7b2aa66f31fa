//! Stores in zip files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use phenocoder_core::{Column, DataType, ImageSource, MemoryImage, NoProgress};
use phenocoder_io::{
    ContainerVersion, Error, ImageWriteOptions, OpenOptions, Store, TableData, WriteMode, validate,
};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::files;

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

/// A zip file that holds a store without elements, to be gone on with.
fn zip_with_a_group(packed: &Path) -> (zip::ZipWriter<fs::File>, SimpleFileOptions) {
    let mut writer = zip::ZipWriter::new(fs::File::create(packed).unwrap());
    let options = SimpleFileOptions::default();
    writer.start_file("zarr.json", options).unwrap();
    writer
        .write_all(br#"{"zarr_format": 3, "node_type": "group"}"#)
        .unwrap();
    (writer, options)
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
    let (mut writer, options) = zip_with_a_group(&packed);
    writer.start_file("../outside", options).unwrap();
    writer
        .add_symlink("images/passwd", "/etc/passwd", options)
        .unwrap();
    writer.finish().unwrap();
    let store = Store::open(&packed).unwrap();
    assert!(store.elements().is_empty());
}

/// Changes the entry of a file in the directory of a zip file.
fn change_entry(bytes: &mut [u8], name: &str, change: impl Fn(&mut [u8])) {
    let starts: Vec<usize> = bytes
        .windows(4)
        .enumerate()
        .filter_map(|(at, w)| (w == b"PK\x01\x02").then_some(at))
        .collect();
    let entry = starts
        .into_iter()
        .find(|&at| bytes[at + 46..].starts_with(name.as_bytes()))
        .unwrap();
    change(&mut bytes[entry..]);
}

#[test]
fn a_file_that_cannot_be_unpacked_leaves_the_others_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    let expected = pixels(&Store::open(&path).unwrap());
    let packed = folder.path().join("s.zip");
    pack(&path, &packed, "", CompressionMethod::Deflated);
    let whole = fs::read(&packed).unwrap();
    let key = "tables/i-table/zarr.json";
    for what in ["encrypted", "compressed"] {
        let mut bytes = whole.clone();
        change_entry(&mut bytes, key, |entry| match what {
            "encrypted" => entry[8] |= 1,
            // LZMA.
            _ => entry[10] = 14,
        });
        fs::write(&packed, &bytes).unwrap();
        let store = Store::open(&packed).unwrap();
        assert_eq!(pixels(&store), expected);
        let refused = store.table("i-table").unwrap_err();
        assert!(
            matches!(&refused, Error::UnsupportedCodec { key: k, problem } if k == key && problem.contains(what)),
            "{refused}"
        );
        let named = validate(&store);
        assert!(named.iter().any(|v| v.problem.contains(what)), "{named:?}");
    }
}

#[test]
fn the_directory_of_a_zip_file_is_limited_as_the_metadata_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("s.zip");
    let (mut writer, options) = zip_with_a_group(&packed);
    for i in 0..5000 {
        writer
            .start_file(format!("images/{i:040}"), options)
            .unwrap();
    }
    writer.finish().unwrap();
    assert!(Store::open(&packed).is_ok());
    let options = OpenOptions::default().with_max_metadata_bytes(1 << 10);
    let refused = Store::open_with(&packed, options).unwrap_err();
    assert!(
        matches!(refused, Error::TooLarge { limit: 8192, .. }),
        "{refused}"
    );
}

#[test]
fn groups_in_groups_without_end_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("s.zip");
    let mut writer = zip::ZipWriter::new(fs::File::create(&packed).unwrap());
    let options = SimpleFileOptions::default();
    for depth in 0..3000 {
        let name = "a/".repeat(depth);
        writer
            .start_file(format!("{name}zarr.json"), options)
            .unwrap();
        writer
            .write_all(br#"{"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"metadata": {}}}"#)
            .unwrap();
    }
    writer.finish().unwrap();
    let store = Store::open(&packed).unwrap();
    let found = validate(&store);
    assert!(
        found
            .iter()
            .any(|v| v.problem.contains("a depth of groups")),
        "{found:?}"
    );
}

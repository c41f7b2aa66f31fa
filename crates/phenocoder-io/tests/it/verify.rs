//! Damage that is found, and stores that are put in order.

use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use ndarray::{Array2, Array4};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use phenocoder_core::{
    CancelToken, Column, DataType, ImageShape, ImageSource, MemoryImage, NoProgress, Seed, Stream,
};
use phenocoder_io::{
    ContainerVersion, Error, ImageWriteOptions, ParquetCompression, PointsWriteOptions, ShapesData,
    ShapesWriteOptions, Store, TableData, WriteMode, copy_store, validate, verify,
};

use super::vector::{points, polygons};
use crate::{files, of_this_machine};

fn store(folder: &Path, version: ContainerVersion) -> PathBuf {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, version).unwrap();
    let pixels = Array4::from_shape_fn((2, 1, 60, 60), |(c, _, y, x)| (c + y * x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["a".into(), "b".into()]).unwrap();
    let options =
        ImageWriteOptions::new(DataType::UInt16).with_chunks(ImageShape::new(1, 1, 32, 32));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    let table = TableData::new(
        vec!["a".into(), "b".into()],
        vec!["v".into()],
        Some(Array2::from_elem((2, 1), 0.5).into()),
    )
    .with_obs_column("value", Column::Float(vec![0.25, 2.0]))
    .unwrap();
    store.write_table("t", &table, WriteMode::Create).unwrap();
    path
}

fn chunks(store: &Path) -> Vec<PathBuf> {
    let is_metadata = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with('.') || name == "zarr.json"
    };
    files(store)
        .into_iter()
        .filter(|p| !is_metadata(p))
        .collect()
}

/// Reads all pixels and the whole table.
fn read(path: &Path) -> Result<(), Error> {
    let store = Store::open(path)?;
    let image = store.image("i")?;
    let region = image.shape().region();
    image.read_region(&region, &mut vec![0.0; region.checked_len().unwrap()])?;
    store.table("t")?.read_all().map(|_| ())
}

/// Flips one bit of a file and returns what it held, and which bit.
fn flip_a_bit(file: &Path, stream: &mut Stream) -> (Vec<u8>, usize) {
    let whole = fs::read(file).unwrap();
    let mut bytes = whole.clone();
    let at = stream.below(bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    fs::write(file, &bytes).unwrap();
    (whole, at)
}

#[test]
fn every_flipped_bit_of_our_own_chunks_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    let sound = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
    assert!(sound.is_certain(), "{sound:?}");
    let chunks = chunks(&path);
    assert_eq!(sound.chunks, chunks.len() as u64);
    let mut stream = Seed::new(7).stream("flips", 0);
    let (mut read_errors, mut verify_errors) = (0, 0);
    for _ in 0..60 {
        let chunk = &chunks[stream.below(chunks.len())];
        let (whole, _) = flip_a_bit(chunk, &mut stream);
        let relative = chunk.strip_prefix(&path).unwrap().display().to_string();
        read_errors += usize::from(read(&path).is_err());
        let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
        let named = found
            .violations
            .iter()
            .any(|v| v.key == relative && !v.is_warning);
        verify_errors += usize::from(named);
        fs::write(chunk, &whole).unwrap();
    }
    println!(
        "flipped bits: {read_errors} of 60 found when reading, {verify_errors} of 60 by verify"
    );
    assert_eq!((read_errors, verify_errors), (60, 60));
}

/// Points in three files and shapes, with columns of every kind.
fn vectors(folder: &Path, version: ContainerVersion) -> PathBuf {
    let path = folder.join("v.zarr");
    let mut store = Store::create(&path, version).unwrap();
    let options = PointsWriteOptions::default()
        .with_rows_per_group(40)
        .with_rows_per_part(60);
    store.write_points("p", &points(150), &options).unwrap();
    let index: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "b", "c"]));
    let area: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let data = ShapesData::new(polygons())
        .with_columns(RecordBatch::try_from_iter([("area", area)]).unwrap())
        .with_index(None, index);
    let options = ShapesWriteOptions::default().with_compression(ParquetCompression::None);
    store.write_shapes("s", &data, &options).unwrap();
    path
}

/// Reads all points and shapes.
fn read_vectors(path: &Path) -> Result<(), Error> {
    let store = Store::open(path)?;
    let points = store.points("p")?;
    points.read(&points.column_names())?;
    points.index()?;
    store.shapes("s")?.read_all().map(|_| ())
}

fn parquet_files(store: &Path) -> Vec<PathBuf> {
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|e| e == "parquet");
    files(store).into_iter().filter(is_parquet).collect()
}

#[test]
fn every_flipped_bit_of_our_own_points_and_shapes_is_found() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = vectors(folder.path(), version);
        read_vectors(&path).unwrap();
        let sound = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
        assert!(sound.is_certain() && sound.rows == 153, "{sound:?}");
        let files = parquet_files(&path);
        assert_eq!(files.len(), 4);
        let mut stream = Seed::new(8).stream("flips", 0);
        let (mut read_errors, mut verify_errors) = (0, 0);
        for _ in 0..60 {
            let file = &files[stream.below(files.len())];
            let (whole, _) = flip_a_bit(file, &mut stream);
            read_errors += usize::from(read_vectors(&path).is_err());
            let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
            let element = if file.ends_with("shapes.parquet") {
                "shapes/s"
            } else {
                "points/p"
            };
            let named = found
                .violations
                .iter()
                .any(|v| v.key.starts_with(element) && !v.is_warning);
            verify_errors += usize::from(named);
            fs::write(file, &whole).unwrap();
        }
        println!(
            "flipped bits of points and shapes, container {version:?}: {read_errors} of 60 found when reading, {verify_errors} of 60 by verify"
        );
        assert_eq!((read_errors, verify_errors), (60, 60));
    }
}

#[test]
fn a_lost_or_swapped_file_of_points_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path(), ContainerVersion::V02);
    let files: Vec<PathBuf> = parquet_files(&path.join("points"));
    for lost in &files {
        let whole = fs::read(lost).unwrap();
        fs::remove_file(lost).unwrap();
        let found = read_vectors(&path).unwrap_err();
        assert!(matches!(found, Error::MissingChunk { .. }), "{found:?}");
        fs::write(lost, whole).unwrap();
    }
    let (first, second) = (fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap());
    fs::write(&files[0], &second).unwrap();
    fs::write(&files[1], &first).unwrap();
    let found = read_vectors(&path).unwrap_err();
    assert!(matches!(found, Error::Checksum { .. }), "{found:?}");
}

#[test]
fn files_that_another_program_wrote_anew_are_read_and_not_certain() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path(), ContainerVersion::V02);
    let files: Vec<PathBuf> = parquet_files(&path.join("points"));
    let points = Store::open(&path).unwrap().points("p").unwrap();
    let columns = points.read(&points.column_names()).unwrap();
    for file in &files[1..] {
        fs::remove_file(file).unwrap();
    }
    let file = fs::File::create(&files[0]).unwrap();
    let mut writer = ArrowWriter::try_new(file, columns.schema(), None).unwrap();
    // As pyarrow does with what it does not know.
    writer.append_key_value_metadata(KeyValue::new(
        "phenocoder.page_headers".to_owned(),
        "0".to_owned(),
    ));
    writer.write(&columns).unwrap();
    writer.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.points("p").unwrap().n_rows().unwrap(), 150);
    let found = verify(&store, &NoProgress).unwrap();
    assert!(
        found.violations.is_empty() && !found.is_certain(),
        "{found:?}"
    );
}

#[test]
fn no_flipped_bit_of_container_0_1_gives_other_values() {
    // Zarr v2 as spatialdata reads it has no codec for checksums; zstd's own covers what a frame holds, not its head.
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V01);
    let sound = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
    assert!(sound.is_certain(), "{sound:?}");
    let values = || {
        let store = Store::open(&path)?;
        let image = store.image("i")?;
        let region = image.shape().region();
        let mut out = vec![0.0; region.checked_len().unwrap()];
        image.read_region(&region, &mut out)?;
        Ok::<_, Error>((out, store.table("t")?.read_all()?))
    };
    let expected = values().unwrap();
    let chunks = chunks(&path);
    let mut stream = Seed::new(8).stream("flips", 0);
    let (mut refused, mut listed) = (0, 0);
    for _ in 0..200 {
        let chunk = &chunks[stream.below(chunks.len())];
        let (whole, at) = flip_a_bit(chunk, &mut stream);
        match values() {
            Ok(found) => assert!(found == expected, "bit {at} of {}", chunk.display()),
            Err(_) => refused += 1,
        }
        let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
        listed += usize::from(!found.violations.is_empty());
        fs::write(chunk, &whole).unwrap();
    }
    println!("flipped bits of 0.1: {refused} of 200 refused, {listed} by verify, 0 other values");
    assert!(refused == listed && refused > 180, "{refused} {listed}");
}

#[test]
fn what_has_no_checksum_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V01);
    let chunks = chunks(&path);
    let image = |path: &&PathBuf| path.to_string_lossy().contains("images");
    for chunk in chunks.iter().filter(image).take(2) {
        // As numcodecs packs it by default.
        let plain = zstd::decode_all(fs::read(chunk).unwrap().as_slice()).unwrap();
        fs::write(chunk, zstd::encode_all(plain.as_slice(), 0).unwrap()).unwrap();
    }
    let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
    assert!(found.violations.is_empty(), "{found:?}");
    assert_eq!(found.without_checksum, 2);
    assert!(!found.is_certain());
}

#[test]
fn all_damage_is_listed_and_stray_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    let chunks = chunks(&path);
    fs::write(&chunks[0], b"").unwrap();
    fs::write(&chunks[2], b"nonsense").unwrap();
    fs::write(path.join("images/i/s0/c/0/0/9"), b"outside the grid").unwrap();
    fs::write(path.join("images/i/s0/c/notes.txt"), b"text").unwrap();
    fs::remove_file(&chunks[4]).unwrap();
    let store = Store::open(&path).unwrap();
    let found = verify(&store, &NoProgress).unwrap();
    let (warnings, errors): (Vec<_>, Vec<_>) = found.violations.iter().partition(|v| v.is_warning);
    assert_eq!((errors.len(), warnings.len()), (3, 2), "{found:?}");
    assert!(
        errors.iter().any(|v| v.problem.contains("missing")),
        "{found:?}"
    );
    let cancelled = CancelToken::default();
    cancelled.cancel();
    assert!(matches!(
        verify(&store, &cancelled),
        Err(Error::Cancelled(_))
    ));
}

#[test]
fn a_repaired_store_has_right_metadata_and_no_left_overs() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path(), version);
        let before: Vec<(PathBuf, Vec<u8>)> = files(&path)
            .into_iter()
            .map(|p| (p.clone(), fs::read(p).unwrap()))
            .collect();
        let partial = ".0.0123456789abcdef0123456789abcdef.partial";
        fs::write(path.join("images/i").join(partial), b"half").unwrap();
        let own = format!("images/.x.phenocoder-new-{}", of_this_machine());
        fs::write(path.join(own), b"half").unwrap();
        let file = match version {
            ContainerVersion::V01 => ".zmetadata",
            _ => "zarr.json",
        };
        let text = fs::read_to_string(path.join(file)).unwrap();
        fs::write(path.join(file), text.replace("images/i", "images/gone")).unwrap();
        let mut opened = Store::open(&path).unwrap();
        // Opening cleared away our own left-over, and with it wrong metadata; break them again.
        fs::write(path.join(file), text.replace("images/i", "images/gone")).unwrap();
        assert!(!validate(&opened).is_empty());
        let done = opened.repair().unwrap();
        assert_eq!(done.rewritten, [file]);
        assert_eq!(done.removed, [format!("images/i/{partial}")]);
        assert!(validate(&opened).is_empty());
        for (path, bytes) in before {
            assert!(fs::read(&path).unwrap() == bytes, "{path:?}");
        }
        let again = opened.repair().unwrap();
        assert!(
            again.removed.is_empty() && again.rewritten.is_empty(),
            "{again:?}"
        );
    }
}

#[test]
#[cfg(unix)]
fn links_that_lead_round_in_circles_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    for name in ["a", "b"] {
        symlink(".", path.join("images/i").join(name)).unwrap();
        symlink(".", path.join("images/i/s0/c").join(name)).unwrap();
    }
    let store = Store::open(&path).unwrap();
    let found = verify(&store, &NoProgress).unwrap();
    assert!(found.is_certain(), "{found:?}");
    assert!(validate(&store).is_empty());
    let copied = copy_store(&path, folder.path().join("copy.zarr"), &NoProgress);
    assert!(
        matches!(copied, Err(Error::InvalidPath { .. })),
        "{copied:?}"
    );
    assert!(!folder.path().join("copy.zarr").exists());
}

#[test]
fn a_lost_shard_is_an_error_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    // The lower half is zeros: its shard is stored all the same.
    let pixels = Array4::from_shape_fn(
        (1, 1, 64, 32),
        |(_, _, y, x)| if y < 32 { x as f32 } else { 0.0 },
    );
    let image = MemoryImage::new("i", pixels, vec!["a".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(ImageShape::new(1, 1, 16, 16))
        .with_shards(ImageShape::new(1, 1, 32, 32));
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    assert!(verify(&store, &NoProgress).unwrap().is_certain());
    for shard in chunks(&path) {
        let whole = fs::read(&shard).unwrap();
        fs::remove_file(&shard).unwrap();
        let store = Store::open(&path).unwrap();
        let image = store.image("i").unwrap();
        let region = image.shape().region();
        let lost = image
            .read_region(&region, &mut vec![0.0; 64 * 32])
            .unwrap_err();
        assert!(format!("{lost:?}").contains("MissingChunk"), "{lost:?}");
        assert_eq!(verify(&store, &NoProgress).unwrap().violations.len(), 1);
        fs::write(&shard, whole).unwrap();
    }
}

#[test]
fn chunks_with_dots_in_their_keys_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path(), ContainerVersion::V02);
    let array = path.join("images/i/s0");
    let text = fs::read_to_string(array.join("zarr.json")).unwrap();
    let mut metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    metadata["chunk_key_encoding"]["configuration"]["separator"] = ".".into();
    fs::write(array.join("zarr.json"), metadata.to_string()).unwrap();
    for chunk in chunks(&array) {
        let relative = chunk.strip_prefix(&array).unwrap().display().to_string();
        fs::rename(&chunk, array.join(relative.replace('/', "."))).unwrap();
    }
    let sound = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
    assert!(sound.is_certain(), "{sound:?}");
    fs::write(array.join("c.1.0.1"), b"nonsense").unwrap();
    let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
    assert_eq!(found.violations.len(), 1);
    assert_eq!(found.violations[0].key, "images/i/s0/c.1.0.1");
}

#[test]
fn lost_and_damaged_files_of_points_hide_no_others() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = vectors(folder.path(), version);
        let files: Vec<PathBuf> = parquet_files(&path.join("points"));
        let key = |at: usize| {
            let relative = files[at].strip_prefix(&path).unwrap();
            relative.display().to_string()
        };
        let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        let found = || {
            let found = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
            let mut keys: Vec<String> = found.violations.iter().map(|v| v.key.clone()).collect();
            keys.dedup();
            (keys, found.rows)
        };
        // The first is cut, the second gone, the third has a flipped bit in a page.
        fs::write(&files[0], &whole[0][..whole[0].len() - 3]).unwrap();
        fs::remove_file(&files[1]).unwrap();
        let mut flipped = whole[2].clone();
        flipped[100] ^= 4;
        fs::write(&files[2], flipped).unwrap();
        assert_eq!(found(), (vec![key(0), key(1), key(2)], 30 + 3));
        // Only the last is there, and sound.
        fs::remove_file(&files[0]).unwrap();
        fs::write(&files[2], &whole[2]).unwrap();
        assert_eq!(found(), (vec![key(0), key(1)], 30 + 3));
        // None is sound.
        fs::write(&files[2], b"PAR1").unwrap();
        assert_eq!(found(), (vec![key(2), key(0), key(1)], 3));
        for (file, bytes) in files.iter().zip(&whole) {
            fs::write(file, bytes).unwrap();
        }
        assert_eq!(found(), (vec![], 153));
    }
}

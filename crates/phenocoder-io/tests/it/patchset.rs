//! Patch sets on disk.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use ndarray::{Array2, Array4, s};
use phenocoder_core::{Column, Features, PatchShape, PatchSink};
use phenocoder_io::{
    Error, OpenOptions, PatchSet, PatchSetOptions, PatchSetWriter, features_to_record_batch,
};
use proptest::prelude::*;

fn cells(n: usize) -> RecordBatch {
    let features = Features::new(Array2::zeros((n, 1)), ["area"]).unwrap();
    let ids = Column::Int((0..n as i64).collect());
    features_to_record_batch(&features, &[("id", &ids)]).unwrap()
}

fn patches(n: usize) -> Array4<f32> {
    // Patch 1 is empty, as background is.
    Array4::from_shape_fn((n, 2, 3, 5), |(n, c, y, x)| {
        if n == 1 {
            0.0
        } else {
            (1000 * n + 100 * c + 10 * y + x) as f32 / 7.0
        }
    })
}

fn write(path: &std::path::Path, all: &Array4<f32>, order: &[usize], per_shard: usize) {
    let options = PatchSetOptions::default().with_patches_per_shard(per_shard);
    let n = all.shape()[0];
    let mut writer = PatchSetWriter::create(path, n, PatchShape::new(3, 5, 2), &options).unwrap();
    for &i in order {
        writer.write(i, all.slice(s![i..=i, .., .., ..])).unwrap();
    }
    writer
        .finish(&cells(n), &serde_json::json!({"channels": ["a", "b"]}))
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn patches_written_in_any_order_are_read_in_any_order(
        order in Just((0..11_usize).collect::<Vec<_>>()).prop_shuffle(),
        wanted in prop::collection::vec(0..11_usize, 0..20),
        per_shard in 1..13_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.zarr");
        let all = patches(11);
        write(&path, &all, &order, per_shard);
        let set = PatchSet::open(&path).unwrap();
        prop_assert_eq!(set.len(), 11);
        prop_assert_eq!(set.shape(), PatchShape::new(3, 5, 2));
        let found = set.read_pixels(&wanted).unwrap();
        let expected = all.select(ndarray::Axis(0), &wanted);
        prop_assert_eq!(&found, &expected);
        let last = set.read_channels_last(&wanted).unwrap();
        prop_assert!(last.is_standard_layout());
        prop_assert_eq!(last, expected.permuted_axes([0, 2, 3, 1]));
        prop_assert_eq!(set.cells().unwrap(), cells(11));
        prop_assert_eq!(&set.metadata()["channels"][1], "b");
    }
}

#[test]
fn an_unfinished_set_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let options = PatchSetOptions::default();
    let mut writer = PatchSetWriter::create(&path, 2, PatchShape::new(3, 5, 2), &options).unwrap();
    writer
        .write(0, patches(2).slice(s![0..1, .., .., ..]))
        .unwrap();
    let refused = writer.finish(&cells(2), &serde_json::Value::Null);
    assert!(matches!(
        refused,
        Err(Error::LengthMismatch {
            expected: 2,
            found: 1,
            ..
        })
    ));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn wrong_shapes_and_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let options = PatchSetOptions::default();
    let mut writer = PatchSetWriter::create(&path, 2, PatchShape::new(3, 5, 2), &options).unwrap();
    assert!(writer.write(0, Array4::zeros((1, 2, 5, 3)).view()).is_err());
    assert!(writer.write(1, Array4::zeros((2, 2, 3, 5)).view()).is_err());
    assert!(
        writer
            .write(usize::MAX, Array4::zeros((1, 2, 3, 5)).view())
            .is_err()
    );
    writer.write(0, patches(2).view()).unwrap();
    writer.finish(&cells(2), &serde_json::Value::Null).unwrap();
    let again = PatchSetWriter::create(&path, 2, PatchShape::new(3, 5, 2), &options);
    assert!(matches!(again, Err(Error::Exists { .. })));
    assert!(PatchSet::open(&path).unwrap().read_pixels(&[2]).is_err());
}

#[test]
fn a_set_of_more_shards_than_files_are_kept_open_is_read_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let n = 150;
    let all = patches(n);
    let order: Vec<usize> = (0..n).collect();
    write(&path, &all, &order, 1);
    let set = PatchSet::open(&path).unwrap();
    for stride in [1, 7, 149] {
        let wanted: Vec<usize> = order.iter().map(|i| i * stride % n).collect();
        let found = set.read_pixels(&wanted).unwrap();
        assert_eq!(found, all.select(ndarray::Axis(0), &wanted));
    }
}

#[test]
fn a_lost_shard_is_an_error_and_no_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let mut all = patches(6);
    // Nothing is stored of the second shard but its file.
    all.slice_mut(s![2..4, .., .., ..]).fill(0.0);
    write(&path, &all, &[0, 1, 2, 3, 4, 5], 2);
    for shard in 0..3 {
        let file = path.join(format!("patches/c/{shard}/0/0/0"));
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let lost = PatchSet::open(&path).unwrap().read_pixels(&[2 * shard]);
        assert!(
            matches!(&lost, Err(Error::MissingChunk { key }) if key.ends_with(&format!("{shard}/0/0/0"))),
            "{lost:?}"
        );
        fs::write(&file, bytes).unwrap();
    }
    let found = PatchSet::open(&path)
        .unwrap()
        .read_pixels(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(found.unwrap(), all);
}

#[test]
fn every_flipped_bit_of_a_shard_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let all = patches(4);
    write(&path, &all, &[0, 1, 2, 3], 4);
    let shard = path.join("patches/c/0/0/0/0");
    let good = fs::read(&shard).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        fs::write(&shard, &bad).unwrap();
        let read = PatchSet::open(&path).unwrap().read_pixels(&[0, 1, 2, 3]);
        assert!(read.is_err(), "byte {byte}");
    }
}

#[test]
fn a_set_that_is_not_as_this_crate_writes_it_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    write(&path, &patches(4), &[0, 1, 2, 3], 4);
    let metadata = path.join("patches/zarr.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    let open_with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&metadata, bad.to_string()).unwrap();
        PatchSet::open(&path)
    };
    let other = open_with(&|m| m["data_type"] = "float64".into());
    assert!(matches!(other, Err(Error::DataType { .. })), "{other:?}");
    let huge = open_with(&|m| {
        let side = 1_u64 << 20;
        m["shape"] = vec![4, 2, side, side].into();
        m["chunk_grid"]["configuration"]["chunk_shape"] = vec![4, 2, side, side].into();
        m["codecs"][0]["configuration"]["chunk_shape"] = vec![1, 2, side, side].into();
    });
    assert!(matches!(huge, Err(Error::TooLarge { .. })), "{huge:?}");
    let filled = open_with(&|m| m["fill_value"] = 2.5.into()).unwrap();
    assert_eq!(filled.read_pixels(&[1]).unwrap()[[0, 0, 0, 0]], 2.5);
    assert!(open_with(&|_| ()).is_ok());
}

#[test]
fn cells_are_read_within_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    let options = PatchSetOptions::default();
    let mut writer = PatchSetWriter::create(&path, 4, PatchShape::new(3, 5, 2), &options).unwrap();
    writer.write(0, patches(4).view()).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["t".repeat(500_000); 4]));
    let cells = RecordBatch::try_from_iter([("t", texts)]).unwrap();
    writer.finish(&cells, &serde_json::Value::Null).unwrap();
    let open = |bytes| {
        let options = OpenOptions::default().with_max_array_bytes(bytes);
        PatchSet::open_with(&path, options).unwrap()
    };
    assert_eq!(open(8 << 20).cells().unwrap(), cells);
    let refused = open(1 << 20).cells().unwrap_err();
    assert!(
        matches!(&refused, Error::TooLarge { key, .. } if key == "cells.parquet"),
        "{refused}"
    );
    let options = OpenOptions::default().with_max_chunk_bytes(100);
    let refused = PatchSet::open_with(&path, options).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
}

#[cfg(unix)]
#[test]
fn cells_are_not_read_from_outside_of_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    write(&path, &patches(2), &[0, 1], 4);
    let (inside, outside) = (
        path.join("cells.parquet"),
        folder.path().join("other.parquet"),
    );
    fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &inside).unwrap();
    let refused = PatchSet::open(&path).unwrap().cells();
    assert!(matches!(refused, Err(Error::InvalidPath { .. })));
    fs::remove_file(&inside).unwrap();
    let absent = PatchSet::open(&path).unwrap().cells();
    assert!(matches!(absent, Err(Error::MissingMetadata { .. })));
}

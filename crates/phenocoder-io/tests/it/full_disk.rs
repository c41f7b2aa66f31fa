//! A disk that takes no more: the largest file that a child may write is limited by the shell, so that the write itself fails.

use std::path::Path;
use std::process::Command;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::Array2;
use phenocoder_core::{NoProgress, Seed};
use phenocoder_io::{
    ContainerVersion, Error, Geometries, PatchSetOptions, PatchSetWriter, PointsData,
    PointsWriteOptions, ShapesData, ShapesWriteOptions, Store, TableData, WriteMode, copy_store,
    write_csv, write_parquet,
};

/// Numbers that no codec makes small.
fn table(rows: usize) -> TableData {
    let mut stream = Seed::new(1).stream("full disk", 0);
    let x = Array2::from_shape_fn((rows, 1), |_| stream.uniform());
    let names = (0..rows).map(|row| row.to_string()).collect();
    TableData::new(names, vec!["a".to_owned()], Some(x.into()))
}

/// Columns of numbers that no codec makes small.
fn columns(rows: usize, names: &[&'static str]) -> RecordBatch {
    let mut stream = Seed::new(3).stream("full disk", 0);
    let columns = names.iter().map(|&name| {
        let values = (0..rows).map(|_| stream.uniform_in(1.0, 2.0));
        let values = Arc::new(Float64Array::from_iter_values(values)) as ArrayRef;
        (name, values)
    });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap()
}

fn points(rows: usize) -> PointsData {
    PointsData::new(columns(rows, &["x", "y"]))
}

fn circles(rows: usize) -> ShapesData {
    let centers: Vec<f64> = (0..2 * rows).map(|i| (i as f64).sin()).collect();
    let centers = Geometries::from_points(2, &centers).unwrap();
    ShapesData::new(centers).with_columns(columns(rows, &["radius"]))
}

/// That the disk is full, and which file it was.
fn is_full(refused: Result<(), Error>, place: &str) {
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
    assert!(refused.to_string().contains(place), "{refused}");
}

fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Not run by itself: the child that may write only small files.
#[test]
fn child_that_may_write_only_small_files() {
    let Some(folder) = std::env::var_os("PHENOCODER_IO_FULL_DISK") else {
        return;
    };
    let folder = Path::new(&folder);
    let mut store = Store::open(folder.join("s.zarr")).unwrap();
    for (mode, [t, p, s]) in [
        (WriteMode::Replace, ["t", "p", "s"]),
        (WriteMode::Create, ["new_t", "new_p", "new_s"]),
    ] {
        is_full(store.write_table(t, &table(200_000), mode), "tables");
        let options = PointsWriteOptions::default().with_mode(mode);
        let written = store.write_points(p, &points(50_000), &options);
        is_full(written, "points.parquet/part.0.parquet");
        let options = ShapesWriteOptions::default().with_mode(mode);
        let written = store.write_shapes(s, &circles(50_000), &options);
        is_full(written, "shapes.parquet");
    }
    let batch = columns(50_000, &["a"]);
    is_full(write_parquet(folder.join("a.parquet"), &batch), "a.parquet");
    is_full(write_csv(folder.join("a.csv"), &batch), "a.csv");
    let refused = copy_store(
        folder.join("large.zarr"),
        folder.join("copy.zarr"),
        &NoProgress,
    );
    assert!(matches!(refused, Err(Error::Io { .. })));

    let shape = phenocoder_core::PatchShape::new(64, 64, 4);
    let mut stream = Seed::new(2).stream("full disk", 0);
    let pixels = ndarray::Array4::from_shape_fn((64, 4, 64, 64), |_| stream.uniform() as f32);
    let patches = folder.join("patches.zarr");
    let mut writer =
        PatchSetWriter::create(&patches, 64, shape, &PatchSetOptions::default()).unwrap();
    let written = phenocoder_core::PatchSink::write(&mut writer, 0, pixels.view());
    let cells = table(64)
        .with_obs_column("i", phenocoder_core::Column::Int(vec![0; 64]))
        .unwrap()
        .obs;
    let finished = writer.finish(&cells, &serde_json::Value::Null);
    assert!(written.is_err() || finished.is_err());
}

#[test]
fn a_full_disk_is_an_error_and_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02).unwrap();
    store
        .write_table("t", &table(10), WriteMode::Create)
        .unwrap();
    store
        .write_points("p", &points(10), &PointsWriteOptions::default())
        .unwrap();
    store
        .write_shapes("s", &circles(10), &ShapesWriteOptions::default())
        .unwrap();
    let mut large = Store::create(folder.path().join("large.zarr"), ContainerVersion::V02).unwrap();
    large
        .write_table("t", &table(200_000), WriteMode::Create)
        .unwrap();
    let before = files(folder.path());
    // 200 blocks of 512 bytes; a write beyond them fails instead of ending the process.
    let script = "trap '' XFSZ; ulimit -f 200; exec \"$0\" --exact full_disk::child_that_may_write_only_small_files";
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(std::env::current_exe().unwrap())
        .env("PHENOCODER_IO_FULL_DISK", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(files(folder.path()), before);
    let store = Store::open(folder.path().join("s.zarr")).unwrap();
    assert_eq!(store.elements().len(), 3);
}

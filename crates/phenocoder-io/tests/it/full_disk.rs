//! A disk that takes no more: the largest file that a child may write is limited by the shell, so that the write itself fails.

use std::path::Path;
use std::process::Command;

use ndarray::Array2;
use phenocoder_core::{NoProgress, Seed};
use phenocoder_io::{
    ContainerVersion, Error, PatchSetOptions, PatchSetWriter, Store, TableData, WriteMode,
    copy_store,
};

/// Numbers that no codec makes small.
fn table(rows: usize) -> TableData {
    let mut stream = Seed::new(1).stream("full disk", 0);
    let x = Array2::from_shape_fn((rows, 1), |_| stream.uniform());
    let names = (0..rows).map(|row| row.to_string()).collect();
    TableData::new(names, vec!["a".to_owned()], Some(x.into()))
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
    for mode in [WriteMode::Replace, WriteMode::Create] {
        let name = if mode == WriteMode::Create {
            "new"
        } else {
            "t"
        };
        let refused = store.write_table(name, &table(200_000), mode).unwrap_err();
        assert!(matches!(refused, Error::Io { .. }), "{refused}");
        assert!(
            refused.to_string().contains("tables"),
            "names the place: {refused}"
        );
    }
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
    assert_eq!(
        Store::open(folder.path().join("s.zarr"))
            .unwrap()
            .table_names(),
        ["t"]
    );
}

//! What cannot be read hides nothing else.

use std::path::Path;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{Column, DataType, MemoryImage, MemoryLabels, NoProgress};

use super::*;
use crate::disk::Disk;
use crate::disk::faults::{Fault, Faults};
use crate::root::Root;
use crate::store::{ContainerVersion, WriteMode};
use crate::{
    Geometries, ImageWriteOptions, LabelWriteOptions, OpenOptions, PointsData, PointsWriteOptions,
    ShapesData, ShapesWriteOptions, TableData,
};

fn write(path: &Path, version: ContainerVersion) -> Result<()> {
    fill(&mut Store::create(path, version)?)
}

/// A small element of every kind, the points in two files.
fn fill(store: &mut Store) -> Result<()> {
    let pixels = Array4::from_shape_fn((1, 1, 8, 8), |(_, _, y, x)| (y * x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["c".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt8);
    store.write_image("i", &image, &options, &NoProgress)?;
    let mask = MemoryLabels::new("l", Array3::from_elem((1, 8, 8), 3));
    store.write_labels("l", &mask, &LabelWriteOptions::default(), &NoProgress)?;
    let x = Arc::new(Float64Array::from(vec![1.0; 4])) as ArrayRef;
    let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x)]).unwrap();
    let options = PointsWriteOptions::default().with_rows_per_part(2);
    store.write_points("p", &PointsData::new(columns), &options)?;
    let radius = Arc::new(Float64Array::from(vec![1.0; 2])) as ArrayRef;
    let columns = RecordBatch::try_from_iter([("radius", radius)]).unwrap();
    let circles = ShapesData::new(Geometries::from_points(2, &[1.0; 4])?).with_columns(columns);
    store.write_shapes("s", &circles, &ShapesWriteOptions::default())?;
    let x = Array2::from_elem((2, 1), 0.5);
    let names = vec!["a".to_owned(), "b".to_owned()];
    let table = TableData::new(names, vec!["v".into()], Some(x.into()))
        .with_obs_column("value", Column::Float(vec![0.25, 2.0]))?;
    store.write_table("t", &table, WriteMode::Create)
}

/// What an element has: chunks and rows.
fn size_of(store: &Store, place: &str) -> (u64, u64) {
    let mut elements = store.elements().iter();
    let Some(element) = elements.find(|e| place.starts_with(&prefix(&e.key)) || place == e.key)
    else {
        return (0, 0);
    };
    let mut found = Verification::default();
    check_element(store, element, &NoProgress, &mut found).unwrap();
    (found.chunks, found.rows)
}

/// The key under which what fails at a place is listed: the node for its metadata, else the place.
fn listed_as(place: &str) -> &str {
    match place.rsplit_once('/') {
        Some((node, "zarr.json" | ".zarray" | ".zgroup" | ".zattrs")) => node,
        Some((node, "points.parquet")) => node,
        _ => place,
    }
}

fn open_on(disk: &Disk, path: &Path) -> Result<Store> {
    Store::from_root(Root::open_on(disk, path, OpenOptions::default())?)
}

#[test]
fn every_operation_that_fails_once_is_one_finding_and_hides_no_other_element() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        write(&path, version).unwrap();
        let whole = Store::open(&path).unwrap();
        let sound = verify(&whole, &NoProgress).unwrap();
        assert!(sound.is_certain() && sound.rows == 6, "{sound:?}");
        // How many operations opening takes; they are not those of `verify`.
        let of_opening = (0..)
            .find(|&n| {
                let (disk, faults) = Faults::disk(n, Fault::Broken, false);
                let _ = open_on(&disk, &path);
                faults.hit().is_none()
            })
            .unwrap();
        let (mut failures, mut kinds) = (0, BTreeSet::new());
        for fault in [Fault::Broken, Fault::Short] {
            let first = if fault == Fault::Broken {
                of_opening
            } else {
                0
            };
            for n in first.. {
                let (disk, faults) = Faults::disk(n, fault, false);
                let Ok(store) = open_on(&disk, &path) else {
                    continue;
                };
                if faults.hit().is_some() {
                    continue;
                }
                let found = verify(&store, &NoProgress).unwrap();
                let Some((operation, place)) = faults.hit() else {
                    assert!(found.is_certain());
                    break;
                };
                failures += 1;
                let case = format!("{fault:?} at {n}, {operation:?} of {place:?}: {found:?}");
                let place = place.strip_prefix(&path).unwrap().to_string_lossy();
                let [violation] = found.violations.as_slice() else {
                    panic!("{case}");
                };
                assert!(violation.problem.starts_with("not checked: "), "{case}");
                // The file of shapes is read once for its pages and once for what they mean.
                let is_second = place == "shapes/s/shapes.parquet" && violation.key == "shapes/s";
                assert!(is_second || violation.key == listed_as(&place), "{case}");
                kinds.extend(violation.key.split('/').next().map(str::to_owned));
                // Every other element is checked as if nothing had happened.
                let (chunks, rows) = size_of(&whole, &place);
                let least = (sound.chunks - chunks, sound.rows - rows);
                assert!(found.chunks >= least.0 && found.rows >= least.1, "{case}");
            }
        }
        println!("container {version:?}: {failures} failing operations of verify");
        assert!(failures > 100, "{failures}");
        let all = ["images", "labels", "points", "shapes", "table", "tables"];
        assert!(kinds.iter().eq(all), "{kinds:?}");
    }
}

#[test]
fn a_disk_that_fails_for_good_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    write(&path, ContainerVersion::V02).unwrap();
    let mut ended = 0;
    for n in (0..).step_by(7) {
        let (disk, faults) = Faults::disk(n, Fault::Broken, true);
        let Ok(store) = open_on(&disk, &path) else {
            continue;
        };
        let found = verify(&store, &NoProgress);
        if faults.hit().is_none() {
            assert!(found.unwrap().is_certain());
            break;
        }
        assert!(matches!(found, Err(Error::Io { .. })), "{n}: {found:?}");
        ended += 1;
    }
    assert!(ended > 10, "{ended}");
}

#[test]
fn a_broken_node_of_an_element_is_listed_once() {
    for (version, file) in [
        (ContainerVersion::V01, ".zattrs"),
        (ContainerVersion::V02, "zarr.json"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        write(&path, version).unwrap();
        let store = Store::open(&path).unwrap();
        let sound = verify(&store, &NoProgress).unwrap();
        for element in store.elements() {
            let file = path.join(&element.key).join(file);
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, "{").unwrap();
            let found = verify(&store, &NoProgress).unwrap();
            let listed: Vec<&str> = found.violations.iter().map(|v| v.key.as_str()).collect();
            assert_eq!(listed, [element.key.as_str()], "{:?}", found.violations);
            let (chunks, rows) = (sound.chunks - found.chunks, sound.rows - found.rows);
            std::fs::write(&file, bytes).unwrap();
            assert_eq!((chunks, rows), size_of(&store, &element.key));
        }
        assert!(verify(&store, &NoProgress).unwrap().is_certain());
    }
}

#[cfg(feature = "object-store")]
#[test]
fn a_server_that_fails_for_good_ends_it_although_the_root_is_known() {
    use crate::root::remote::faults::{Failure, Faulty};
    use crate::root::{Remote, Server};

    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let files = super::super::new_root(version).into_iter();
        let files = files.map(|(name, bytes)| (format!("s.zarr/{name}"), bytes));
        let server = Faulty::with(&files.collect());
        let open = || {
            let server = Server::on(&server, 1 << 10);
            let root = Root::new(Remote::on(server), OpenOptions::default());
            Store::from_root(root).unwrap()
        };
        fill(&mut open()).unwrap();
        let mut failures = 0;
        for n in 0.. {
            let store = open();
            server.fail(n, Failure::Request, true);
            let found = verify(&store, &NoProgress);
            let Some(hit) = server.heal() else {
                assert!(found.unwrap().violations.is_empty());
                break;
            };
            assert!(
                matches!(found, Err(Error::Remote { .. })),
                "{hit}: {found:?}"
            );
            // A request that fails alone is one finding.
            let store = open();
            server.fail(n, Failure::Request, false);
            let found = verify(&store, &NoProgress).unwrap();
            assert_eq!(server.heal(), Some(hit));
            let listed = found.violations.iter();
            let listed: Vec<&str> = listed.map(|v| v.problem.as_str()).collect();
            assert!(
                matches!(listed.as_slice(), [one] if one.starts_with("not checked: ")),
                "{listed:?}"
            );
            failures += 1;
        }
        assert!(failures > 30, "{failures}");
    }
}

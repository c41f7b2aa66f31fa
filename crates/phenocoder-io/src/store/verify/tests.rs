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

/// A small element of every kind, the points in two files.
fn write(path: &Path, version: ContainerVersion) -> Result<()> {
    let mut store = Store::create(path, version)?;
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

fn open_on(disk: &Disk, path: &Path) -> Result<Store> {
    Store::from_root(Root::open_on(disk, path, OpenOptions::default())?)
}

#[test]
fn every_operation_that_fails_once_is_one_finding_and_hides_no_other_element() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        write(&path, version).unwrap();
        let sound = verify(&Store::open(&path).unwrap(), &NoProgress).unwrap();
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
                assert!(!found.violations.is_empty(), "{case}");
                let place = place.strip_prefix(&path).unwrap().to_string_lossy();
                for violation in &found.violations {
                    assert!(violation.problem.starts_with("not checked: "), "{case}");
                    // The file itself, or the node or the group that it is needed for.
                    assert!(
                        place.starts_with(&violation.key) || violation.key.starts_with(&*place),
                        "{case}"
                    );
                    kinds.extend(violation.key.split('/').next().map(str::to_owned));
                }
                // No more is left unread than the largest element has.
                assert!(found.chunks + 14 >= sound.chunks, "{case} {}", sound.chunks);
                assert!(found.rows + 4 >= sound.rows, "{case}");
            }
        }
        println!("container {version:?}: {failures} failing operations of verify");
        assert!(failures > 100, "{failures}");
        let all = ["images", "labels", "points", "shapes", "tables"];
        assert!(all.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
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

//! A process that replaces elements is killed 200 times, at random moments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{
    DataType, ImageShape, ImageSource, LabelSource, MemoryImage, MemoryLabels, NoProgress, Seed,
};
use phenocoder_io::{
    ContainerVersion, ImageWriteOptions, LabelWriteOptions, Store, TableData, WriteMode, validate,
    verify,
};

const KILLS: usize = 200;
const CHUNKS: ImageShape = ImageShape {
    c: 1,
    z: 1,
    y: 16,
    x: 16,
};

fn write_table(store: &mut Store, value: u16) {
    let x = Array2::from_elem((20, 2), f64::from(value));
    let names = (0..20).map(|i| format!("cell_{i}")).collect();
    let table = TableData::new(names, vec!["a".into(), "b".into()], Some(x.into()));
    store.write_table("t", &table, WriteMode::Replace).unwrap();
}

fn write_image(store: &mut Store, value: u16) {
    let pixels = Array4::from_elem((2, 1, 32, 32), f32::from(value));
    let image = MemoryImage::new("i", pixels, vec!["a".into(), "b".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(CHUNKS)
        .with_mode(WriteMode::Replace);
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
}

fn write_labels(store: &mut Store, value: u16) {
    let labels = MemoryLabels::new("l", Array3::from_elem((1, 32, 32), value.into()));
    let options = LabelWriteOptions::default()
        .with_chunks(CHUNKS)
        .with_mode(WriteMode::Replace);
    store
        .write_labels("l", &labels, &options, &NoProgress)
        .unwrap();
}

/// The one value that each element is full of: table, image, mask.
fn values(store: &Store) -> [u16; 3] {
    let all = |values: &[f64]| {
        assert!(
            values.iter().all(|v| *v == values[0]),
            "two versions are mixed"
        );
        values[0] as u16
    };
    let x = store.table("t").unwrap().read_all().unwrap().x.unwrap();
    let table: Vec<f64> = x.to_dense_f64().unwrap().into_iter().collect();
    let image = store.image("i").unwrap();
    let mut pixels = vec![0.0; 2 * 32 * 32];
    image
        .read_region(&image.shape().region(), &mut pixels)
        .unwrap();
    let pixels: Vec<f64> = pixels.into_iter().map(f64::from).collect();
    let mask = store.labels("l").unwrap();
    let mut labels = vec![0; 32 * 32];
    mask.read_region(&mask.shape().region(), &mut labels)
        .unwrap();
    let labels: Vec<f64> = labels.into_iter().map(|l| l as f64).collect();
    [all(&table), all(&pixels), all(&labels)]
}

/// Not run by itself: the child that is killed.
#[test]
fn child_that_replaces_elements_until_it_is_killed() {
    let Some(path) = std::env::var_os("PHENOCODER_IO_KILLED") else {
        return;
    };
    let mut store = Store::open(Path::new(&path)).unwrap();
    let first = values(&store).into_iter().max().unwrap() + 1;
    for value in first.. {
        write_image(&mut store, value);
        write_table(&mut store, value);
        write_labels(&mut store, value);
    }
}

#[test]
fn each_of_200_killed_writers_leaves_old_or_new_elements() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = Seed::new(11).stream("kills", 0);
    let (mut changed, mut cleared) = (0, 0);
    for version in [ContainerVersion::V02, ContainerVersion::V01] {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        write_table(&mut store, 1);
        write_image(&mut store, 1);
        write_labels(&mut store, 1);
        let mut before = values(&store);
        for kill in 0..KILLS / 2 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "kills::child_that_replaces_elements_until_it_is_killed",
                ])
                .env("PHENOCODER_IO_KILLED", &path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_secs_f64(stream.uniform_in(0.01, 0.15)));
            child.kill().unwrap();
            child.wait().unwrap();
            cleared += usize::from(has_left_overs(&path));
            let store = Store::open(&path).unwrap();
            let after = values(&store);
            let newer = after
                .iter()
                .zip(&before)
                .all(|(after, before)| after >= before);
            assert!(newer, "kill {kill}: {before:?} became {after:?}");
            assert!(validate(&store).is_empty(), "kill {kill}");
            let found = verify(&store, &NoProgress).unwrap();
            assert!(found.violations.is_empty(), "kill {kill}: {found:?}");
            assert!(!has_left_overs(&path), "kill {kill}: left-overs remain");
            changed += usize::from(after != before);
            before = after;
        }
    }
    println!(
        "{KILLS} kills: {KILLS} times the old or the new elements, {changed} times newer ones, {cleared} times left-overs cleared away"
    );
    assert!(
        changed > 0 && cleared > 0,
        "the kills came too early or too late"
    );
}

fn has_left_overs(path: &Path) -> bool {
    let folders = ["", "images", "labels", "tables"].map(|folder| path.join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains(".phenocoder-"))
}

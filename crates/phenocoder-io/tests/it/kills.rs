//! A process that replaces elements is killed 200 times, at random moments.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{
    DataType, ImageShape, ImageSource, LabelSource, MemoryImage, MemoryLabels, NoProgress, Seed,
};
use phenocoder_io::{
    ContainerVersion, Geometries, ImageWriteOptions, LabelWriteOptions, PointsData,
    PointsWriteOptions, ShapesData, ShapesWriteOptions, Store, TableData, WriteMode, validate,
    verify,
};

const KILLS: usize = 200;
/// What a child says before it writes.
const WRITES_NOW: &str = "elements are written from now on";
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

/// Points in three files of two row groups.
fn write_points(store: &mut Store, value: u16) {
    let x = Arc::new(Float64Array::from(vec![f64::from(value); 300])) as ArrayRef;
    let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x)]).unwrap();
    let options = PointsWriteOptions::default()
        .with_rows_per_group(50)
        .with_rows_per_part(100)
        .with_mode(WriteMode::Replace);
    store
        .write_points("p", &PointsData::new(columns), &options)
        .unwrap();
}

fn write_shapes(store: &mut Store, value: u16) {
    let values = vec![f64::from(value); 400];
    let radius = Arc::new(Float64Array::from(values[..200].to_vec())) as ArrayRef;
    let shapes = ShapesData::new(Geometries::from_points(2, &values).unwrap())
        .with_columns(RecordBatch::try_from_iter([("radius", radius)]).unwrap());
    let options = ShapesWriteOptions::default().with_mode(WriteMode::Replace);
    store.write_shapes("s", &shapes, &options).unwrap();
}

type Write = fn(&mut Store, u16);

/// What the child does over and over, in the order of [`values`].
const WRITES: [Write; 5] = [
    write_image,
    write_table,
    write_labels,
    write_points,
    write_shapes,
];

/// Where they are.
const GROUPS: [&str; 5] = ["images", "tables", "labels", "points", "shapes"];

/// The one value that each element is full of, in the order in which they are written.
fn values(store: &Store) -> [u16; 5] {
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
    let points = store.points("p").unwrap().coordinates().unwrap();
    let points: Vec<f64> = points.into_iter().collect();
    assert_eq!(points.len(), 600);
    let shapes = store.shapes("s").unwrap();
    let mut circles = shapes.radii().unwrap().unwrap();
    circles.extend(shapes.geometries().unwrap().coordinates());
    assert_eq!(circles.len(), 600);
    [&pixels, &table, &labels, &points, &circles].map(|values| all(values))
}

/// Not run by itself: the child that is killed.
#[test]
fn child_that_replaces_elements_until_it_is_killed() {
    let Some(path) = std::env::var_os("PHENOCODER_IO_KILLED") else {
        return;
    };
    let mut store = Store::open(Path::new(&path)).unwrap();
    let first = values(&store).into_iter().max().unwrap() + 1;
    let begin = std::env::var("PHENOCODER_IO_KILLED_BEGIN").unwrap();
    let begin: usize = begin.parse().unwrap();
    println!("{WRITES_NOW}");
    for value in first.. {
        for at in 0..WRITES.len() {
            WRITES[(begin + at) % WRITES.len()](&mut store, value);
        }
    }
}

#[test]
fn each_of_200_killed_writers_leaves_old_or_new_elements() {
    // In memory where the system has such a place: on a slow disk a write would outlive every child.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let mut stream = Seed::new(11).stream("kills", 0);
    let (mut within, mut cleared, mut hit) = (0, 0, [0; WRITES.len()]);
    for version in [ContainerVersion::V02, ContainerVersion::V01] {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        for write in WRITES {
            write(&mut store, 1);
        }
        let mut before = values(&store);
        for kill in 0..KILLS / 2 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "kills::child_that_replaces_elements_until_it_is_killed",
                    "--nocapture",
                ])
                .env("PHENOCODER_IO_KILLED", &path)
                .env("PHENOCODER_IO_KILLED_BEGIN", kill.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // However long it takes until the child is there.
            let said = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut said = said.map(Result::unwrap);
            assert!(said.any(|line| line.contains(WRITES_NOW)), "kill {kill}");
            std::thread::sleep(Duration::from_secs_f64(stream.uniform_in(0.01, 0.15)));
            child.kill().unwrap();
            child.wait().unwrap();
            let left = GROUPS.map(|group| has_left_overs(&path.join(group)));
            cleared += usize::from(left.contains(&true));
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
            let mut folders = GROUPS.map(|group| path.join(group)).into_iter();
            let remain = has_left_overs(&path) || folders.any(|folder| has_left_overs(&folder));
            assert!(!remain, "kill {kill}: left-overs remain");
            let touched: [bool; 5] = std::array::from_fn(|at| left[at] || after[at] != before[at]);
            for (hit, touched) in hit.iter_mut().zip(touched) {
                *hit += usize::from(touched);
            }
            within += usize::from(touched.contains(&true));
            before = after;
        }
    }
    println!(
        "{KILLS} kills: {KILLS} times the old or the new elements; {within} while it wrote, {cleared} with left-overs that were cleared away"
    );
    println!("half written or newer after a kill: {GROUPS:?} {hit:?} times");
    assert!(within >= KILLS / 2, "the kills came too early or too late");
    assert!(cleared >= KILLS / 4, "the kills came between the writes");
    assert!(hit.iter().all(|&times| times >= KILLS / 10), "{hit:?}");
}

fn has_left_overs(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().contains(".phenocoder-"))
}

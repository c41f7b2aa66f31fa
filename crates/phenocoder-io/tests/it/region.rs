//! What lies in a box, against the answers of Python's spatialdata 0.8.0 and against looking at every point.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::{Array2, Array3, Array4, array};
use phenocoder_core::{DataType, ImageSource, MemoryImage, MemoryLabels, NoProgress};
use phenocoder_io::{
    BoundingBox, ContainerVersion, Error, Geometries, ImageWriteOptions, LabelWriteOptions,
    PointsData, PointsWriteOptions, ShapesData, ShapesWriteOptions, Store, Transformation,
};
use proptest::prelude::*;

fn store(folder: &tempfile::TempDir) -> Store {
    Store::create(folder.path().join("s.zarr"), ContainerVersion::V02).unwrap()
}

fn points(x: Vec<f64>, y: Vec<f64>) -> PointsData {
    let column = |v: Vec<f64>| Arc::new(Float64Array::from(v)) as ArrayRef;
    let number = column((0..x.len()).map(|i| i as f64).collect());
    PointsData::new(
        RecordBatch::try_from_iter([("x", column(x)), ("y", column(y)), ("number", number)])
            .unwrap(),
    )
}

fn region(system: &str, least: [f64; 2], greatest: [f64; 2]) -> BoundingBox {
    BoundingBox::new(system, &["x", "y"], &least, &greatest).unwrap()
}

#[test]
fn points_on_the_edge_are_outside_as_in_python() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let scale = Transformation::scale(&["x", "y"], &[2.0, 1.0], "scaled").unwrap();
    let same = Transformation::identity(&["x", "y"], "global");
    let data =
        points(vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![1.0; 5]).with_transformations(vec![scale, same]);
    store
        .write_points("p", &data, &PointsWriteOptions::default())
        .unwrap();
    let points = store.points("p").unwrap();
    // bounding_box_query(points, ("x", "y"), [1, 0], [3, 2], "global").x == [2]
    assert_eq!(
        points
            .rows_within(&region("global", [1.0, 0.0], [3.0, 2.0]))
            .unwrap(),
        [2]
    );
    // [2, 1] to [6, 2] in the scaled system: None
    assert!(
        points
            .rows_within(&region("scaled", [2.0, 1.0], [6.0, 2.0]))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        points
            .rows_within(&region("scaled", [1.0, 0.0], [7.0, 2.0]))
            .unwrap(),
        [1, 2, 3]
    );
    let none = points
        .read_within(
            &["number", "x"],
            &region("global", [9.0, 9.0], [10.0, 10.0]),
        )
        .unwrap();
    assert_eq!((none.num_rows(), none.num_columns()), (0, 2));
    let unknown = points.rows_within(&region("nowhere", [0.0, 0.0], [1.0, 1.0]));
    assert!(matches!(unknown, Err(Error::NoEntry { .. })));
    let extent = points.extent("scaled").unwrap().unwrap();
    assert_eq!(
        (extent.range("x"), extent.range("y")),
        (Some((0.0, 8.0)), Some((1.0, 1.0)))
    );
}

#[test]
fn row_groups_elsewhere_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let data = points((0..1000).map(f64::from).collect(), vec![0.5; 1000]);
    let options = PointsWriteOptions::default().with_rows_per_group(100);
    store.write_points("p", &data, &options).unwrap();
    // Damage the pages of the first row group: a query that does not need it does not notice.
    let file = store
        .path()
        .unwrap()
        .join("points/p/points.parquet/part.0.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4..64].fill(0xFF);
    std::fs::write(&file, bytes).unwrap();
    let points = store.points("p").unwrap();
    assert!(points.read_all().is_err());
    let rows = points
        .rows_within(&region("global", [449.5, 0.0], [502.5, 1.0]))
        .unwrap();
    assert_eq!(rows, (450..503).collect::<Vec<u64>>());
    let found = points
        .read_within(&["number"], &region("global", [449.5, 0.0], [502.5, 1.0]))
        .unwrap();
    let numbers: &Float64Array = found.column(0).as_any().downcast_ref().unwrap();
    assert_eq!(numbers.values()[..2], [450.0, 451.0]);
}

#[test]
fn shapes_that_touch_the_box_are_in_it_and_circles_count_by_their_centers_as_in_python() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let square = |x: f64| [x, 0.0, x + 1.0, 0.0, x + 1.0, 1.0, x, 1.0];
    let mut squares = Geometries::new(2).unwrap();
    squares.push_polygon([&square(0.0)[..]]).unwrap();
    squares.push_polygon([&square(2.0)[..]]).unwrap();
    let turn = array![[0.0, -1.0, 10.0], [1.0, 0.0, 0.0]];
    let turn = Transformation::affine(&["x", "y"], &["x", "y"], &turn, "turned").unwrap();
    let same = Transformation::identity(&["x", "y"], "global");
    let names: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a", "b"]));
    let data = ShapesData::new(squares)
        .with_transformations(vec![same, turn])
        .with_index(None, names);
    store
        .write_shapes("squares", &data, &ShapesWriteOptions::default())
        .unwrap();
    let shapes = store.shapes("squares").unwrap();
    // One polygon touches [1, 0] to [1.5, 1].
    assert_eq!(
        shapes
            .rows_within(&region("global", [1.0, 0.0], [1.5, 1.0]))
            .unwrap(),
        [0]
    );
    let found = shapes
        .read_within(&region("turned", [9.2, 2.5], [9.5, 2.6]))
        .unwrap();
    assert_eq!(found.geometries, data.geometries.select(&[1]).unwrap());
    assert_eq!(
        arrow::compute::cast(&found.index, &arrow::datatypes::DataType::Utf8)
            .unwrap()
            .as_ref(),
        &arrow::array::StringArray::from(vec!["b"]) as &dyn arrow::array::Array
    );
    let extent = shapes.extent("turned").unwrap().unwrap();
    assert_eq!(
        (extent.range("x"), extent.range("y")),
        (Some((9.0, 10.0)), Some((0.0, 3.0)))
    );

    let radius = Arc::new(Float64Array::from(vec![2.0; 3])) as ArrayRef;
    let circles =
        ShapesData::new(Geometries::from_points(2, &[0.0, 0.0, 5.0, 0.0, 10.0, 0.0]).unwrap())
            .with_columns(RecordBatch::try_from_iter([("radius", radius)]).unwrap());
    store
        .write_shapes("circles", &circles, &ShapesWriteOptions::default())
        .unwrap();
    let circles = store.shapes("circles").unwrap();
    assert!(
        circles
            .rows_within(&region("global", [6.9, -1.0], [7.5, 1.0]))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        circles
            .rows_within(&region("global", [5.0, 0.0], [7.5, 1.0]))
            .unwrap(),
        [1]
    );
    // get_extent(circles): x from -2 to 12, y from -2 to 2.
    let extent = circles.extent("global").unwrap().unwrap();
    assert_eq!(
        (extent.range("x"), extent.range("y")),
        (Some((-2.0, 12.0)), Some((-2.0, 2.0)))
    );
}

#[test]
fn windows_of_images_are_those_of_python() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let mask = MemoryLabels::new("m", Array3::from_elem((1, 10, 10), 1));
    store
        .write_labels("m", &mask, &LabelWriteOptions::default(), &NoProgress)
        .unwrap();
    let labels = store.labels("m").unwrap();
    for (least, greatest, expected) in [
        (2.0, 5.0, Some(2..5)),
        (2.5, 4.5, Some(2..5)),
        (2.4, 4.4, Some(2..4)),
        (2.6, 4.4, Some(3..4)),
        (2.6, 3.4, None),
    ] {
        let window = labels
            .region_within(&region("global", [least, 0.0], [greatest, 1.0]))
            .unwrap();
        assert_eq!(window.map(|w| w.x), expected, "{least} to {greatest}");
    }
    let extent = labels.extent("global").unwrap().unwrap();
    assert_eq!(
        (extent.range("x"), extent.range("y")),
        (Some((0.0, 10.0)), Some((0.0, 10.0)))
    );
    assert_eq!(store.coordinate_systems().unwrap(), ["global"]);
}

/// A store with the points `p` in row groups of so many.
fn store_with_points(
    positions: &[(f64, f64)],
    map: Transformation,
    group: usize,
) -> (tempfile::TempDir, Store) {
    let (x, y) = positions.iter().copied().unzip();
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let data = points(x, y).with_transformations(vec![map]);
    let options = PointsWriteOptions::default().with_rows_per_group(group);
    store.write_points("p", &data, &options).unwrap();
    (folder, store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_query_finds_the_points_that_mapping_each_of_them_finds(
        positions in prop::collection::vec((-100.0..100.0_f64, -100.0..100.0_f64), 1..300),
        matrix in prop::array::uniform6(-3.0..3.0_f64),
        least in prop::array::uniform2(-150.0..150.0_f64),
        size in prop::array::uniform2(0.0..200.0_f64),
        group in 1..50_usize,
    ) {
        let matrix = Array2::from_shape_vec((2, 3), matrix.to_vec()).unwrap();
        let map = Transformation::affine(&["x", "y"], &["x", "y"], &matrix, "there").unwrap();
        let affine = map.to_affine().unwrap();
        let (_folder, store) = store_with_points(&positions, map, group);
        let greatest = [least[0] + size[0], least[1] + size[1]];
        let expected: Vec<u64> = positions.iter().enumerate().filter(|(_, (x, y))| {
            let there = affine.apply(&[*x, *y]);
            (0..2).all(|axis| least[axis] < there[axis] && there[axis] < greatest[axis])
        }).map(|(at, _)| at as u64).collect();
        let found = store.points("p").unwrap().rows_within(&region("there", least, greatest)).unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_point_that_a_box_holds_barely_is_found_whatever_way_the_axes_are_turned(
        positions in prop::collection::vec((-1e4..1e4_f64, -1e4..1e4_f64), 1..60),
        angle in 0.0..6.3_f64,
        scale in prop::sample::select(vec![1.0, 0.2125, 1e-7, 4321.0]),
        offset in prop::array::uniform2(-1e9..1e9_f64),
        chosen in any::<prop::sample::Index>(),
        group in 1..8_usize,
    ) {
        let (sin, cos) = angle.sin_cos();
        let matrix = array![[cos * scale, -sin * scale, offset[0]], [sin * scale, cos * scale, offset[1]]];
        let map = Transformation::affine(&["x", "y"], &["x", "y"], &matrix, "there").unwrap();
        let affine = map.to_affine().unwrap();
        let (_folder, store) = store_with_points(&positions, map, group);
        let chosen = chosen.index(positions.len());
        let there = affine.apply(&[positions[chosen].0, positions[chosen].1]);
        let least = [there[0].next_down(), there[1].next_down()];
        let greatest = [there[0].next_up(), there[1].next_up()];
        let found = store.points("p").unwrap().rows_within(&region("there", least, greatest)).unwrap();
        prop_assert!(found.contains(&(chosen as u64)), "{found:?}");
        // On the edge is outside.
        let found = store.points("p").unwrap().rows_within(&region("there", least, [there[0], greatest[1]])).unwrap();
        prop_assert!(!found.contains(&(chosen as u64)), "{found:?}");
    }

    #[test]
    fn a_box_meets_a_polygon_where_one_of_many_positions_is_in_both(
        corners in prop::collection::vec((-10.0..10.0_f64, -10.0..10.0_f64), 3..8),
        least in prop::array::uniform2(-12.0..12.0_f64),
        size in prop::array::uniform2(0.1..10.0_f64),
    ) {
        let ring: Vec<f64> = corners.iter().flat_map(|(x, y)| [*x, *y]).collect();
        let mut shapes = Geometries::new(2).unwrap();
        shapes.push_polygon([ring.as_slice()]).unwrap();
        let shape = shapes.get(0).unwrap();
        let n = 40;
        let is_common = (0..n * n).any(|i| {
            let at = |k: usize, axis: usize| least[axis] + size[axis] * (k as f64 + 0.5) / n as f64;
            shape.contains([at(i % n, 0), at(i / n, 1)])
        });
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        store.write_shapes("s", &ShapesData::new(shapes.clone()), &ShapesWriteOptions::default()).unwrap();
        let greatest = [least[0] + size[0], least[1] + size[1]];
        let found = store.shapes("s").unwrap().rows_within(&region("global", least, greatest)).unwrap();
        // Positions on a grid may miss a sliver, but never find what is not there.
        if is_common {
            prop_assert_eq!(found.len(), 1);
        }
        let [x0, y0, x1, y1] = shapes.bounds().unwrap();
        if x1 < least[0] || x0 > greatest[0] || y1 < least[1] || y0 > greatest[1] {
            prop_assert!(found.is_empty());
        }
    }
}

/// The center of a pixel in the coordinate system of the map.
fn center(map: &Transformation, y: usize, x: usize) -> [f64; 2] {
    let position = map.to_affine().unwrap();
    let position = position.apply(&[x as f64 + 0.5, y as f64 + 0.5]);
    [position[0], position[1]]
}

#[test]
fn the_window_of_a_rotated_image_is_the_smallest_upright_one_around_the_box() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let (h, w) = (40, 50);
    let pixels = Array4::from_shape_fn((1, 1, h, w), |(_, _, y, x)| (y * w + x) as f32);
    let image = MemoryImage::new("i", pixels, vec!["a".into()]).unwrap();
    let maps = [90.0_f64, 30.0, -135.0].map(|degrees| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let matrix = array![[cos, -sin, 100.0], [sin, cos, -7.0]];
        let system = format!("turned by {degrees}");
        Transformation::affine(&["x", "y"], &["x", "y"], &matrix, &system).unwrap()
    });
    let options = ImageWriteOptions::new(DataType::UInt16).with_transformations(maps.to_vec());
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    let image = store.image("i").unwrap();
    for map in &maps {
        let middle = center(map, 18, 26);
        let (least, greatest) = (middle.map(|v| v - 6.25), middle.map(|v| v + 6.25));
        let window = image
            .region_within(&region(map.target(), least, greatest))
            .unwrap()
            .unwrap();
        let mut out = vec![0.0; window.checked_len().unwrap()];
        image.read_region(&window, &mut out).unwrap();
        let mut inside = 0;
        for y in 0..h {
            for x in 0..w {
                let place = center(map, y, x);
                if (0..2).all(|i| least[i] < place[i] && place[i] < greatest[i]) {
                    inside += 1;
                    assert!(out.contains(&((y * w + x) as f32)), "{y} {x}");
                }
            }
        }
        assert!(inside >= 12 * 12 - 12, "{inside}");
        // A box of 12.5, turned: its upright extent in pixels.
        let (sin, cos) = (
            map.to_affine().unwrap().matrix()[[1, 0]],
            map.to_affine().unwrap().matrix()[[0, 0]],
        );
        let extent = 12.5 * (sin.abs() + cos.abs());
        for range in [&window.y, &window.x] {
            assert!(
                (range.len() as f64 - extent).abs() <= 1.0,
                "{range:?} {extent}"
            );
        }
    }
    // By hand: x' = 100 - y, y' = x - 7.
    let quarter = region(maps[0].target(), [70.2, 3.2], [80.2, 13.2]);
    let window = image.region_within(&quarter).unwrap().unwrap();
    assert_eq!((window.y, window.x), (20..30, 10..20));
    let beside = region(maps[0].target(), [0.0, 0.0], [50.0, 50.0]);
    assert_eq!(image.region_within(&beside).unwrap(), None);
}

//! Windows of images of every stored type, byte order and layout, one by one and many at once.
//!
//! The stores are made by hand, without compression, so that nothing of the writer is trusted.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use half::f16;
use phenocoder_core::{ImageRegion, ImageShape, ImageSource, LabelSource};
use phenocoder_io::{Error, OpenOptions, Store, StoredPixel};
use serde_json::{Value, json};

const SHAPE: ImageShape = ImageShape::new(2, 1, 23, 37);
const CHUNK: [usize; 3] = [1, 8, 16];

/// A stored number with its bytes in either order.
trait Bytes: StoredPixel + PartialEq + Debug {
    const NUMPY: &'static str;
    const ZARR: &'static str;
    fn bytes(self, big: bool) -> Vec<u8>;
    /// A value of every place that uses the upper bits.
    fn value(place: usize) -> Self;
}

macro_rules! bytes {
    ($($type:ty, $numpy:literal, $zarr:literal, $value:expr;)*) => {$(
        impl Bytes for $type {
            const NUMPY: &'static str = $numpy;
            const ZARR: &'static str = $zarr;
            fn bytes(self, big: bool) -> Vec<u8> {
                if big { self.to_be_bytes().to_vec() } else { self.to_le_bytes().to_vec() }
            }
            fn value(place: usize) -> Self {
                $value(place)
            }
        }
    )*};
}
bytes!(
    u8, "u1", "uint8", |p| (p * 7) as u8;
    u16, "u2", "uint16", |p| (p * 77) as u16;
    u32, "u4", "uint32", |p| u32::MAX - p as u32;
    u64, "u8", "uint64", |p| u64::MAX - p as u64;
    i8, "i1", "int8", |p| (p as i8).wrapping_mul(3);
    i16, "i2", "int16", |p| i16::MIN + p as i16;
    i32, "i4", "int32", |p| i32::MIN + p as i32;
    i64, "i8", "int64", |p| i64::MIN + p as i64;
    f16, "f2", "float16", |p| f16::from_f32(p as f32 / 8.0);
    f32, "f4", "float32", |p| p as f32 / 3.0;
    f64, "f8", "float64", |p| p as f64 / 3.0;
);

impl Bytes for bool {
    const NUMPY: &'static str = "b1";
    const ZARR: &'static str = "bool";
    fn bytes(self, _: bool) -> Vec<u8> {
        // Another byte than 1 is true as well.
        vec![if self { 3 } else { 0 }]
    }
    fn value(place: usize) -> Self {
        place.is_multiple_of(3)
    }
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    v3: bool,
    big: bool,
    column_major: bool,
    sharded: bool,
}

fn write_json(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn place(c: usize, y: usize, x: usize) -> usize {
    (c * SHAPE.y + y) * SHAPE.x + x
}

/// The bytes of a chunk, edges filled with zeros; its places in the order in which they are stored.
fn chunk<T: Bytes>(index: [usize; 3], extent: [usize; 3], layout: Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    let places = extent.iter().product::<usize>();
    for mut n in 0..places {
        let mut at = [0; 3];
        let axes: [usize; 3] = if layout.column_major {
            [0, 1, 2]
        } else {
            [2, 1, 0]
        };
        for axis in axes {
            at[axis] = index[axis] * extent[axis] + n % extent[axis];
            n /= extent[axis];
        }
        let [c, y, x] = at;
        if c < SHAPE.c && y < SHAPE.y && x < SHAPE.x {
            bytes.extend(T::value(place(c, y, x)).bytes(layout.big));
        } else {
            bytes.extend(vec![0; size_of::<T>()]);
        }
    }
    bytes
}

fn multiscales(names: &[&str]) -> Value {
    let axes: Vec<Value> = names
        .iter()
        .map(|&name| match name {
            "c" => json!({"name": name, "type": "channel"}),
            _ => json!({"name": name, "type": "space", "unit": "unit"}),
        })
        .collect();
    let scale = vec![1; names.len()];
    json!({"multiscales": [{
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
        "version": "0.4",
        "coordinateTransformations": [
            {"type": "identity", "input": {"name": "in", "axes": axes}, "output": {"name": "global", "axes": axes}},
        ],
    }]})
}

/// A store with the image `a`; one chunk, at the index 1, 1, 1, is not stored.
fn make<T: Bytes>(root: &Path, layout: Layout) {
    let group = root.join("images/a");
    let attributes = |version: &str| {
        let mut attributes = multiscales(&["c", "y", "x"]);
        attributes["spatialdata_attrs"] = json!({"version": version});
        attributes
    };
    // Shards of 1 x 2 x 2 chunks.
    let per_shard = if layout.sharded { [1, 2, 2] } else { [1, 1, 1] };
    let file_extent = [CHUNK[0], CHUNK[1] * per_shard[1], CHUNK[2] * per_shard[2]];
    if layout.v3 {
        for path in [root.to_owned(), root.join("images")] {
            write_json(
                &path.join("zarr.json"),
                &json!({"zarr_format": 3, "node_type": "group", "attributes": {}}),
            );
        }
        let mut ome = attributes("0.3");
        ome["version"] = json!("0.5");
        write_json(
            &group.join("zarr.json"),
            &json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}),
        );
        let endian = if layout.big { "big" } else { "little" };
        let mut codecs = vec![json!({"name": "bytes", "configuration": {"endian": endian}})];
        if layout.column_major {
            codecs.insert(
                0,
                json!({"name": "transpose", "configuration": {"order": [2, 1, 0]}}),
            );
        }
        if layout.sharded {
            codecs = vec![json!({"name": "sharding_indexed", "configuration": {
                "chunk_shape": CHUNK, "codecs": codecs,
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                "index_location": "end",
            }})];
        }
        write_json(
            &group.join("0/zarr.json"),
            &json!({
                "zarr_format": 3, "node_type": "array", "shape": [SHAPE.c, SHAPE.y, SHAPE.x],
                "data_type": T::ZARR, "fill_value": if T::ZARR == "bool" { json!(false) } else { json!(0) },
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": file_extent}},
                "chunk_key_encoding": {"name": "default"}, "codecs": codecs,
            }),
        );
    } else {
        for path in [root.to_owned(), root.join("images"), group.clone()] {
            write_json(&path.join(".zgroup"), &json!({"zarr_format": 2}));
        }
        write_json(&group.join(".zattrs"), &attributes("0.2"));
        let order = if layout.big { ">" } else { "<" };
        write_json(
            &group.join("0/.zarray"),
            &json!({
                "zarr_format": 2, "shape": [SHAPE.c, SHAPE.y, SHAPE.x], "chunks": CHUNK, "compressor": null,
                "dtype": format!("{order}{}", T::NUMPY), "fill_value": 0, "filters": null,
                "order": if layout.column_major { "F" } else { "C" }, "dimension_separator": "/",
            }),
        );
    }
    let files = [
        SHAPE.c,
        SHAPE.y.div_ceil(file_extent[1]),
        SHAPE.x.div_ceil(file_extent[2]),
    ];
    for n in 0..files.iter().product() {
        let [c, y, x] = [
            n / files[1] / files[2],
            n / files[2] % files[1],
            n % files[2],
        ];
        let (mut bytes, mut index) = (Vec::new(), Vec::new());
        for inner in 0..per_shard.iter().product() {
            let (iy, ix) = (inner / per_shard[2], inner % per_shard[2]);
            let at = [c, y * per_shard[1] + iy, x * per_shard[2] + ix];
            if at == MISSING {
                index.extend([0xFF; 16]);
                continue;
            }
            let part = chunk::<T>(at, CHUNK, layout);
            index.extend((bytes.len() as u64).to_le_bytes());
            index.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        if layout.sharded {
            bytes.extend(index);
        }
        if !bytes.is_empty() {
            let prefix = if layout.v3 { "0/c" } else { "0" };
            let path = group.join(format!("{prefix}/{c}/{y}/{x}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

const MISSING: [usize; 3] = [1, 1, 1];

fn expected<T: Bytes>(region: &ImageRegion) -> Vec<T> {
    let mut out = Vec::new();
    for c in region.c.clone() {
        for y in region.y.clone() {
            for x in region.x.clone() {
                let missing = [c / CHUNK[0], y / CHUNK[1], x / CHUNK[2]] == MISSING;
                out.push(if missing {
                    T::default()
                } else {
                    T::value(place(c, y, x))
                });
            }
        }
    }
    out
}

fn region(
    c: std::ops::Range<usize>,
    y: std::ops::Range<usize>,
    x: std::ops::Range<usize>,
) -> ImageRegion {
    ImageRegion { c, z: 0..1, y, x }
}

/// Within a chunk, a whole chunk, across all borders, a row, a column, a pixel, nothing, everything.
fn regions() -> Vec<ImageRegion> {
    vec![
        region(0..1, 2..5, 3..9),
        region(1..2, 8..16, 16..32),
        region(0..1, 8..16, 0..16),
        region(0..2, 5..19, 10..37),
        region(1..2, 9..10, 0..37),
        region(0..2, 0..23, 17..18),
        region(0..1, 22..23, 36..37),
        region(0..1, 3..3, 0..37),
        SHAPE.region(),
        region(0..1, 2..5, 3..9),
    ]
}

fn check<T: Bytes>(layout: Layout) {
    let folder = tempfile::tempdir().unwrap();
    make::<T>(folder.path(), layout);
    for cache in [0, 1 << 20] {
        let options = OpenOptions::default().with_cache_bytes(cache);
        let store = Store::open_with(folder.path(), options).unwrap();
        let image = store.image("a").unwrap();
        assert_eq!(image.data_type(), T::DATA_TYPE);
        let read = |region: &ImageRegion| {
            let mut out = vec![T::value(5); region.checked_len().unwrap()];
            image.read_typed(region, &mut out).unwrap();
            out
        };
        for region in regions() {
            assert!(
                read(&region) == expected::<T>(&region),
                "{layout:?}, {region:?}"
            );
        }
        let regions = regions();
        let mut out: Vec<Vec<T>> = regions
            .iter()
            .map(|region| vec![T::value(5); region.checked_len().unwrap()])
            .collect();
        image.read_regions_typed(&regions, &mut out).unwrap();
        for (region, out) in regions.iter().zip(&out) {
            assert!(*out == expected::<T>(region), "{layout:?}, {region:?}");
        }
        let mut floats: Vec<Vec<f32>> = out.iter().map(|out| vec![5.0; out.len()]).collect();
        image.read_regions(&regions, &mut floats).unwrap();
        for (region, floats) in regions.iter().zip(&floats) {
            let mut alone = vec![0.0; floats.len()];
            image.read_region(region, &mut alone).unwrap();
            assert_eq!(alone, *floats);
        }
    }
}

fn check_layouts<T: Bytes>() {
    for bits in 0..16 {
        let layout = Layout {
            v3: bits & 1 != 0,
            big: bits & 2 != 0,
            column_major: bits & 4 != 0,
            sharded: bits & 8 != 0,
        };
        if layout.v3 || !layout.sharded {
            check::<T>(layout);
        }
    }
}

#[test]
fn windows_of_whole_numbers_are_exact_in_every_layout() {
    check_layouts::<u8>();
    check_layouts::<u16>();
    check_layouts::<u32>();
    check_layouts::<u64>();
    check_layouts::<i8>();
    check_layouts::<i16>();
    check_layouts::<i32>();
    check_layouts::<i64>();
}

#[test]
fn windows_of_floats_and_truth_values_are_exact_in_every_layout() {
    check_layouts::<f16>();
    check_layouts::<f32>();
    check_layouts::<f64>();
    check_layouts::<bool>();
}

const PLAIN: Layout = Layout {
    v3: true,
    big: false,
    column_major: false,
    sharded: false,
};

#[test]
fn another_type_another_length_and_a_window_outside_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    make::<u16>(folder.path(), PLAIN);
    let store = Store::open(folder.path()).unwrap();
    let image = store.image("a").unwrap();
    let window = region(0..1, 0..2, 0..2);
    let error = image.read_typed(&window, &mut [0_i16; 4]).unwrap_err();
    assert!(matches!(error, Error::DataType { .. }), "{error}");
    assert!(error.to_string().contains("expected int16"), "{error}");
    let error = image.read_typed(&window, &mut [0_u16; 5]).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let outside = region(0..1, 0..24, 0..2);
    let error = image.read_typed(&outside, &mut [0_u16; 48]).unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error}");
    let windows = [window.clone(), outside];
    let mut out = [vec![0_u16; 4], vec![0_u16; 48]];
    image.read_regions_typed(&windows, &mut out).unwrap_err();
    let error = image
        .read_regions_typed(&windows, &mut out[..1])
        .unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
}

#[test]
fn a_damaged_chunk_fails_the_windows_that_touch_it_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    make::<u16>(folder.path(), PLAIN);
    fs::write(folder.path().join("images/a/0/c/0/1/1"), [1, 2, 3]).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let image = store.image("a").unwrap();
    let [good, bad] = [region(0..1, 0..8, 0..37), region(0..1, 0..9, 0..37)];
    let mut out = vec![0_u16; 8 * 37];
    image.read_typed(&good, &mut out).unwrap();
    let mut out = [out, vec![0; 9 * 37]];
    let error = image
        .read_regions_typed(&[good, bad], &mut out)
        .unwrap_err();
    assert!(error.to_string().contains("images/a/0/c/0/1/1"), "{error}");
}

#[test]
fn labels_are_read_exactly_and_together() {
    let folder = tempfile::tempdir().unwrap();
    make::<u64>(folder.path(), PLAIN);
    // A mask is an image without channels.
    let from = folder.path().join("images/a");
    let to = folder.path().join("labels/a");
    fs::create_dir_all(to.join("0/c")).unwrap();
    fs::copy(
        folder.path().join("images/zarr.json"),
        folder.path().join("labels/zarr.json"),
    )
    .unwrap();
    let mut ome = multiscales(&["y", "x"]);
    ome["version"] = json!("0.5");
    let group = json!({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}});
    write_json(&to.join("zarr.json"), &group);
    let mut array: Value =
        serde_json::from_slice(&fs::read(from.join("0/zarr.json")).unwrap()).unwrap();
    array["shape"] = json!([SHAPE.y, SHAPE.x]);
    array["chunk_grid"]["configuration"]["chunk_shape"] = json!(CHUNK[1..]);
    write_json(&to.join("0/zarr.json"), &array);
    for y in 0..3 {
        fs::create_dir_all(to.join(format!("0/c/{y}"))).unwrap();
        for x in 0..3 {
            let name = format!("0/c/0/{y}/{x}");
            fs::copy(from.join(name), to.join(format!("0/c/{y}/{x}"))).unwrap();
        }
    }
    let store = Store::open(folder.path()).unwrap();
    let labels = store.labels("a").unwrap();
    let regions = [region(0..1, 3..20, 5..30), region(0..1, 0..23, 0..37)];
    let mut out = [vec![0_u64; 17 * 25], vec![0; 23 * 37]];
    labels.read_regions(&regions, &mut out).unwrap();
    for (region, out) in regions.iter().zip(&out) {
        assert_eq!(*out, expected::<u64>(region));
        let mut alone = vec![0_u64; out.len()];
        labels.read_typed(region, &mut alone).unwrap();
        assert_eq!(alone, *out);
        labels.read_region(region, &mut alone).unwrap();
        assert_eq!(alone, *out);
    }
    labels
        .read_regions_typed(&regions, &mut [vec![0_u32; 425], vec![0; 851]])
        .unwrap_err();
}

//! Levels, shards, looks and exact pixels of what is written.

use std::fs;

use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{
    DataType, ImageRegion, ImageShape, ImageSource, LabelSource, MemoryImage, NoProgress,
};
use phenocoder_io::{
    ContainerVersion, Error, ImageWriteOptions, LabelWriteOptions, Pyramid, Store, StoredPixel,
    Transformation, WriteMode,
};
use serde_json::{Value, json};

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn whole<T: StoredPixel>(image: &phenocoder_io::Image) -> Vec<T> {
    let region = image.shape().region();
    let mut out = vec![T::default(); region.checked_len().unwrap()];
    image.read_typed(&region, &mut out).unwrap();
    out
}

fn pixels() -> Array4<u64> {
    Array4::from_shape_fn((2, 1, 101, 67), |(c, _, y, x)| {
        u64::MAX - (c * 10_000 + y * 67 + x) as u64
    })
}

#[test]
fn levels_hold_means_and_copies_are_exact_in_both_containers() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let mut store = Store::create(&path, version).unwrap();
        let options = ImageWriteOptions::new(DataType::UInt64)
            .with_chunks(ImageShape::new(1, 1, 32, 32))
            .with_pyramid(Pyramid::Factors(vec![2, 3]))
            .with_omero(json!({"rdefs": {"model": "color"}, "channels": [
                {"label": "old", "color": "00FF00"}, {"color": "FF0000", "window": {"start": 0, "end": 9}},
            ]}))
            .with_channel_labels(vec![json!("DAPI"), json!(7)]);
        let pixels = pixels();
        store
            .write_pixels("a", pixels.view(), &options, &NoProgress)
            .unwrap();
        let image = store.image("a").unwrap();
        let like = ImageWriteOptions::like(&image).with_chunks(ImageShape::new(2, 1, 50, 20));
        assert_eq!(like.pyramid, Pyramid::Copied);
        store.copy_image("b", &image, &like, &NoProgress).unwrap();
        for name in ["a", "b"] {
            let image = store.image(name).unwrap();
            assert_eq!(image.n_levels(), 3);
            assert!(whole::<u64>(&image) == pixels.as_slice().unwrap());
            let omero = image.omero().unwrap();
            assert_eq!(omero["rdefs"]["model"], "color");
            assert_eq!(
                omero["channels"][0],
                json!({"label": "DAPI", "color": "00FF00"})
            );
            assert_eq!(omero["channels"][1]["label"], 7);
            assert_eq!(omero["channels"][1]["window"]["end"], 9);
            let mut finer = pixels.clone();
            for (level, factor) in [(1, 2), (2, 3)] {
                let (c, z, y, x) = finer.dim();
                let shape = (c, z, y / factor, x / factor);
                finer = Array4::from_shape_fn(shape, |(c, z, y, x)| {
                    let block = finer.slice(ndarray::s![
                        c,
                        z,
                        y * factor..(y + 1) * factor,
                        x * factor..(x + 1) * factor
                    ]);
                    let sum: u128 = block.iter().map(|&v| u128::from(v)).sum();
                    let n = (factor * factor) as u128;
                    let (mean, rest) = (sum / n, sum % n);
                    let up = 2 * rest > n || (2 * rest == n && mean % 2 == 1);
                    (mean + u128::from(up)) as u64
                });
                let level = image.level(level).unwrap();
                assert_eq!(level.shape(), ImageShape::new(c, 1, y / factor, x / factor));
                assert!(
                    whole::<u64>(&level) == finer.as_slice().unwrap(),
                    "{factor}"
                );
            }
        }
        let group = match version {
            ContainerVersion::V01 => "images/a/.zattrs",
            _ => "images/a/zarr.json",
        };
        let group: Value = serde_json::from_slice(&fs::read(path.join(group)).unwrap()).unwrap();
        let attributes = match version {
            ContainerVersion::V01 => &group,
            _ => &group["attributes"]["ome"],
        };
        let level = &attributes["multiscales"][0]["datasets"][1]["coordinateTransformations"];
        assert_eq!(level[0]["scale"], json!([1.0, 101.0 / 50.0, 67.0 / 33.0]));
        assert_eq!(
            level[1]["translation"],
            json!([0.0, (101.0 / 50.0 - 1.0) / 2.0, (67.0 / 33.0 - 1.0) / 2.0])
        );
    }
}

#[test]
fn masks_keep_their_labels_in_coarser_levels() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("a.zarr"), version).unwrap();
        let labels = Array3::from_shape_fn((3, 40, 50), |(z, y, x)| {
            i64::MAX - (z * 2_000 + y * 50 + x) as i64
        });
        let options = LabelWriteOptions::default()
            .with_data_type(DataType::Int64)
            .with_chunks(ImageShape::new(1, 2, 16, 16))
            .with_pyramid(Pyramid::Factors(vec![4]));
        store
            .write_label_pixels("a", labels.view(), &options, &NoProgress)
            .unwrap();
        let mask = store.labels("a").unwrap();
        let like = LabelWriteOptions::like(&mask);
        store.copy_labels("b", &mask, &like, &NoProgress).unwrap();
        for name in ["a", "b"] {
            let level = store.labels(name).unwrap().level(1).unwrap();
            let region = level.shape().region();
            let mut found = vec![0_i64; 3 * 10 * 12];
            level.read_typed(&region, &mut found).unwrap();
            let expected = labels.slice(ndarray::s![.., 1..;4, 1..48;4]);
            assert!(expected.iter().eq(&found));
        }
    }
}

#[test]
fn shards_hold_the_same_pixels_as_single_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let mut pixels =
        Array4::from_shape_fn((2, 1, 150, 130), |(c, _, y, x)| (c + y * x) as f64 / 7.0);
    pixels.slice_mut(ndarray::s![1, .., ..64, ..]).fill(0.0);
    let options = ImageWriteOptions::new(DataType::Float64)
        .with_chunks(ImageShape::new(1, 1, 32, 32))
        .with_shards(ImageShape::new(1, 1, 64, 128))
        .with_pyramid(Pyramid::Factors(vec![2, 8]));
    store
        .write_pixels("a", pixels.view(), &options, &NoProgress)
        .unwrap();
    let image = store.image("a").unwrap();
    assert_eq!(image.chunk_shape(), ImageShape::new(1, 1, 32, 32));
    assert!(whole::<f64>(&image) == pixels.as_slice().unwrap());
    assert_eq!(image.level(2).unwrap().shape(), ImageShape::new(2, 1, 9, 8));
    let files = |level: &str| -> usize {
        let rows = fs::read_dir(path.join("images/a").join(level).join("c/0")).unwrap();
        rows.map(|row| fs::read_dir(row.unwrap().path()).unwrap().count())
            .sum()
    };
    assert_eq!([files("s0"), files("s1"), files("s2")], [6, 2, 1]);
    let window = ImageRegion {
        c: 1..2,
        z: 0..1,
        y: 60..70,
        x: 120..130,
    };
    let mut out = [0.0_f64; 100];
    image.read_typed(&window, &mut out).unwrap();
    let expected = pixels.slice(ndarray::s![1, 0, 60..70, 120..130]);
    assert!(expected.iter().eq(&out));
}

#[test]
fn a_shard_of_the_whole_image_needs_no_other_setting() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("a.zarr"), ContainerVersion::V02).unwrap();
    let pixels = Array4::from_shape_fn((3, 1, 48, 40), |(c, _, y, x)| (c + y * x) as u16);
    let options = ImageWriteOptions::new(DataType::UInt16);
    // The default chunk is larger than the image; one of more channels than there are is as large as the image.
    for (name, options) in [
        (
            "a",
            options.clone().with_shards(ImageShape::new(1, 1, 48, 40)),
        ),
        (
            "b",
            options
                .with_chunks(ImageShape::new(4, 1, 16, 20))
                .with_shards(ImageShape::new(3, 1, 48, 40)),
        ),
    ] {
        store
            .write_pixels(name, pixels.view(), &options, &NoProgress)
            .unwrap();
        assert!(whole::<u16>(&store.image(name).unwrap()) == pixels.as_slice().unwrap());
    }
}

#[test]
fn settings_that_cannot_be_are_refused_and_leave_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("a.zarr"), ContainerVersion::V01).unwrap();
    let pixels = Array4::<u16>::zeros((1, 1, 8, 8));
    let options = ImageWriteOptions::new(DataType::UInt16);
    let shards = ImageShape::new(1, 1, 16, 16);
    for bad in [
        ImageWriteOptions::new(DataType::UInt8),
        options.clone().with_shards(shards),
        options.clone().with_pyramid(Pyramid::Factors(vec![9])),
        options.clone().with_omero(json!([])),
        options.clone().with_transformations(vec![]),
    ] {
        let error = store
            .write_pixels("a", pixels.view(), &bad, &NoProgress)
            .unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
    assert!(store.image("a").is_err());
    store
        .write_pixels("a", pixels.view(), &options, &NoProgress)
        .unwrap();
}

#[test]
fn maps_with_which_an_image_or_mask_could_not_be_read_are_refused_and_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("a.zarr"), ContainerVersion::V02).unwrap();
    let scale =
        |axes: &[&str]| Transformation::scale(axes, &vec![2.0; axes.len()], "global").unwrap();
    let pixels = Array4::<u16>::ones((1, 1, 8, 8));
    let image = ImageWriteOptions::new(DataType::UInt16);
    let labels = LabelWriteOptions::default().with_data_type(DataType::UInt16);
    let plane = pixels.index_axis(ndarray::Axis(0), 0);
    store
        .write_pixels("a", pixels.view(), &image, &NoProgress)
        .unwrap();
    store
        .write_label_pixels("m", plane, &labels, &NoProgress)
        .unwrap();
    for (bad, reason) in [
        (
            vec![scale(&["x"])],
            "the map into `global` does not take the axis y",
        ),
        (
            vec![scale(&["y", "x"]), scale(&["x", "y"])],
            "two maps lead into `global`",
        ),
    ] {
        let image = image.clone().with_transformations(bad.clone());
        let labels = labels.clone().with_transformations(bad);
        let (image, labels) = (
            image.with_mode(WriteMode::Replace),
            labels.with_mode(WriteMode::Replace),
        );
        let refused = [
            (
                "images/a",
                store.write_pixels("a", pixels.view(), &image, &NoProgress),
            ),
            (
                "labels/m",
                store.write_label_pixels("m", plane, &labels, &NoProgress),
            ),
        ];
        for (element, refused) in refused {
            let error = refused.unwrap_err();
            assert!(
                matches!(&error, Error::InvalidTransform { key, problem }
                    if key == element && problem == reason),
                "{error:?}"
            );
        }
    }
    assert_eq!(
        store.image("a").unwrap().pixel_size("global"),
        Some([1.0; 3])
    );
    assert_eq!(
        store.labels("m").unwrap().pixel_size("global"),
        Some([1.0; 3])
    );
}

#[test]
fn a_copy_may_take_the_place_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("a.zarr"), ContainerVersion::V02).unwrap();
    let values = Array2::from_shape_fn((30, 20), |(y, x)| (y * 20 + x) as f32);
    let values = values.into_shape_with_order((1, 1, 30, 20)).unwrap();
    let image = MemoryImage::new("a", values.clone(), vec!["DAPI".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::Float32).with_scale([1.0, 0.5, 0.25]);
    store
        .write_image("a", &image, &options, &NoProgress)
        .unwrap();
    let old = store.image("a").unwrap();
    let options = ImageWriteOptions::like(&old)
        .with_pyramid(Pyramid::Halving)
        .with_mode(WriteMode::Replace);
    store.copy_image("a", &old, &options, &NoProgress).unwrap();
    let new = store.image("a").unwrap();
    assert!(whole::<f32>(&new) == values.as_slice().unwrap());
    assert_eq!(new.pixel_size("global"), Some([1.0, 0.5, 0.25]));
    assert_eq!(new.channels(), ["DAPI"]);
    assert_eq!(new.n_levels(), 1);
}

//! What is written is read again, in both versions of Zarr.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::{Array, ArrayRef};
use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{
    Categorical, Column, CsrGraph, DataType, ImageRegion, ImageShape, ImageSource, LabelSource,
    MemoryImage, MemoryLabels, NoProgress,
};
use phenocoder_io::{
    Annotation, ContainerVersion, ElementKind, Error, ImageWriteOptions, LabelWriteOptions, Matrix,
    MissingChunks, NumericArray, NumericValues, OpenOptions, SparseFormat, SparseMatrix, Store,
    TableData, TextArray, Uns, WriteMode, column_from_arrow, column_to_arrow, read_parquet,
    validate, write_csv, write_parquet,
};
use proptest::prelude::*;

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn column(rows: usize) -> impl Strategy<Value = Column> {
    prop_oneof![
        prop::collection::vec(-1e6..1e6_f64, rows).prop_map(Column::Float),
        prop::collection::vec(any::<i64>(), rows).prop_map(Column::Int),
        prop::collection::vec(any::<bool>(), rows).prop_map(Column::Bool),
        prop::collection::vec("[a-zä図 ]{0,6}", rows).prop_map(Column::Text),
        prop::collection::vec(prop::option::of("[a-c]"), rows)
            .prop_map(|labels| Column::Categorical(Categorical::from_optional_labels(labels))),
        prop::collection::vec(0..300_usize, rows).prop_map(|codes| {
            let categories = (0..300).map(|i| format!("c{i}")).collect();
            let codes = codes.into_iter().map(|c| c as i32).collect();
            let labels = Categorical::new(codes, categories)
                .unwrap()
                .with_ordered(true);
            Column::Categorical(labels)
        }),
    ]
}

fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Matrix> {
    let dense = prop::collection::vec(prop_oneof![Just(0.0), -1e3..1e3_f64], rows * columns);
    (dense, 0..5).prop_map(move |(values, kind)| {
        let dense = Array2::from_shape_vec((rows, columns), values).unwrap();
        match kind {
            0 => Matrix::Dense(dense),
            1 => Matrix::DenseF32(dense.mapv(|v| v as f32)),
            2 => {
                let values = dense.iter().map(|&v| v as i16).collect();
                let values = NumericValues::Int16(values);
                Matrix::DenseOther(NumericArray::new(vec![rows, columns], values).unwrap())
            }
            format => {
                let (format, major) = if format == 3 {
                    (SparseFormat::Csr, dense.view())
                } else {
                    (SparseFormat::Csc, dense.t())
                };
                let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
                for row in major.rows() {
                    for (i, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                        indices.push(i as u32);
                        values.push(v as f32);
                    }
                    indptr.push(indices.len());
                }
                let values = NumericValues::Float32(values);
                SparseMatrix::new(format, (rows, columns), indptr, indices, values)
                    .unwrap()
                    .into()
            }
        }
    })
}

fn graph(rows: usize) -> impl Strategy<Value = CsrGraph> {
    prop::collection::vec(
        (
            prop::collection::btree_set(0..rows.max(1) as u32, 0..rows.clamp(1, 4)),
            -5.0..5.0_f64,
        ),
        rows,
    )
    .prop_map(|rows| {
        let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
        for (neighbors, weight) in rows {
            values.extend(std::iter::repeat_n(weight, neighbors.len()));
            indices.extend(neighbors);
            indptr.push(indices.len());
        }
        CsrGraph::new(indptr, indices, values).unwrap()
    })
}

fn uns() -> impl Strategy<Value = Uns> {
    let leaf = prop_oneof![
        Just(Uns::Null),
        any::<bool>().prop_map(Uns::Bool),
        any::<i64>().prop_map(Uns::Int),
        (-1e9..1e9_f64).prop_map(Uns::Float),
        "[a-zß ]{0,8}".prop_map(Uns::Text),
        prop::collection::vec(any::<u8>(), 6).prop_map(|v| Uns::Numbers(
            NumericArray::new(vec![2, 3], NumericValues::UInt8(v)).unwrap()
        )),
        any::<f32>()
            .prop_filter("NaN differs from itself", |v| !v.is_nan())
            .prop_map(|v| Uns::Numbers(
                NumericArray::new(vec![], NumericValues::Float32(vec![v])).unwrap()
            )),
        prop::collection::vec("[a-z]{0,3}", 0..4).prop_map(Uns::from),
        prop::collection::vec(prop::option::of("[a-z]{1,3}"), 1..4)
            .prop_map(Uns::from)
            .prop_map(|texts| match texts {
                Uns::Column { values, .. } => Uns::Column {
                    values,
                    ordered: false,
                    na_value: Some("NA".into()),
                },
                other => other,
            }),
        prop::collection::vec("[a-z]{0,3}", 6).prop_map(|values| {
            let shape = vec![3, 2];
            Uns::Texts(TextArray { shape, values })
        }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(Uns::Dict)
    })
}

fn table() -> impl Strategy<Value = TableData> {
    (0..9_usize, 0..4_usize).prop_flat_map(|(n, p)| {
        (
            prop::collection::vec(column(n), 0..4),
            prop::collection::vec(column(p), 0..2),
            prop::option::of(matrix(n, p)),
            prop::option::of(matrix(n, p)),
            matrix(n, 2),
            graph(n),
            prop::collection::btree_map("[a-z]{1,4}", uns(), 0..3),
        )
            .prop_map(move |(obs, var, x, layer, obsm, graph, uns)| {
                let names = |prefix: &str, n| (0..n).map(|i| format!("{prefix}{i}")).collect();
                let mut table = TableData::new(names("o", n), names("v", p), x);
                for (i, column) in obs.into_iter().enumerate() {
                    table = table
                        .with_obs_column(&format!("column_{i}"), column)
                        .unwrap();
                }
                for (i, column) in var.into_iter().enumerate() {
                    table = table
                        .with_var_column(&format!("column_{i}"), column)
                        .unwrap();
                }
                if let Some(layer) = layer {
                    table = table.with_layer("counts", layer);
                }
                if n > 0 {
                    let regions = Categorical::from_labels(vec!["nuclei"; n]);
                    table = table
                        .with_obs_column("region", Column::Categorical(regions))
                        .unwrap()
                        .with_obs_column("instance", Column::Int((0..n as i64).collect()))
                        .unwrap()
                        .with_annotation(Annotation {
                            regions: vec!["nuclei".into()],
                            region_key: "region".into(),
                            instance_key: "instance".into(),
                        });
                }
                table.uns = uns;
                table = table.with_obsp("connectivities", &graph);
                let obsm: Array2<f64> = obsm.to_dense_f64().unwrap();
                table.with_obsm("spatial", obsm)
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn tables_come_back(table in table()) {
        let folder = tempfile::tempdir().unwrap();
        for version in VERSIONS {
            let path = folder.path().join(version.as_str());
            let mut store = Store::create(&path, version).unwrap();
            store.write_table("t", &table, WriteMode::Create).unwrap();
            let store = Store::open(&path).unwrap();
            let found = store.table("t").unwrap();
            prop_assert_eq!(&found.read_all().unwrap(), &table);
            let graph = found.obsp("connectivities").unwrap();
            prop_assert_eq!(Some(&Uns::from(&graph)), table.obsp.get("connectivities"));
            prop_assert_eq!(Some(found.obsm("spatial").unwrap()), table.obsm_matrix("spatial"));
            for violation in validate(&store) {
                prop_assert!(violation.is_warning, "{}: {}", violation.key, violation.problem);
            }
        }
    }

    #[test]
    fn columns_come_back_from_arrow(column in column(7)) {
        prop_assume!(!matches!(&column, Column::Categorical(c) if c.is_ordered()));
        let array = column_to_arrow("c", &column).unwrap();
        prop_assert_eq!(column_from_arrow("c", &array).unwrap(), column);
    }

    #[test]
    fn a_window_is_the_slice_of_the_image(
        shape in (1..4_usize, 1..4_usize, 1..20_usize, 1..20_usize),
        chunks in (1..3_usize, 1..3_usize, 1..9_usize, 1..9_usize),
        cut in prop::array::uniform8(0.0..1.0_f64),
        cache in prop_oneof![Just(0_usize), Just(700), Just(1 << 20)],
        three in any::<bool>(),
        shards in prop::option::of(prop::array::uniform4(1..4_usize)),
    ) {
        let pixels = Array4::from_shape_fn(shape, |(c, z, y, x)| {
            // Some chunks are empty, and stored like the others.
            if (y / 5 + x / 5) % 2 == 0 { 0.0 } else { (1000 * c + 300 * z + 20 * y + x) as f32 }
        });
        let channels = (0..shape.0).map(|i| format!("c{i}")).collect();
        let image = MemoryImage::new("i", pixels.clone(), channels).unwrap();
        let labels = Array3::from_shape_fn((shape.1, shape.2, shape.3), |(z, y, x)| {
            (u64::MAX >> 1) - (500 * z + 20 * y + x) as u64
        });
        let mask = MemoryLabels::new("m", labels.clone());
        let chunks = ImageShape::new(chunks.0, chunks.1, chunks.2, chunks.3);
        let shards = shards.map(|[c, z, y, x]| {
            ImageShape::new(c * chunks.c, z * chunks.z, y * chunks.y, x * chunks.x)
        });
        let range = |a: f64, b: f64, n: usize| {
            let (a, b) = ((a * n as f64) as usize, (b * n as f64) as usize);
            a.min(b)..a.max(b) + 1
        };
        let region = ImageRegion {
            c: range(cut[0], cut[1], shape.0),
            z: range(cut[2], cut[3], shape.1),
            y: range(cut[4], cut[5], shape.2),
            x: range(cut[6], cut[7], shape.3),
        };
        let folder = tempfile::tempdir().unwrap();
        for version in VERSIONS {
            let path = folder.path().join(version.as_str());
            let mut store = Store::create(&path, version).unwrap();
            // Zarr v2 has none.
            let shards = shards.filter(|_| version == ContainerVersion::V02);
            let mut options = ImageWriteOptions::new(DataType::UInt16)
                .with_chunks(chunks)
                .with_three_dimensional(three)
                .with_scale([2.0, 0.5, 0.25]);
            options.shards = shards;
            store.write_image("i", &image, &options, &NoProgress).unwrap();
            let mut options = LabelWriteOptions::default()
                .with_data_type(DataType::Int64)
                .with_three_dimensional(three)
                .with_chunks(chunks);
            options.shards = shards;
            store.write_labels("m", &mask, &options, &NoProgress).unwrap();
            let options = OpenOptions::default().with_cache_bytes(cache);
            let store = Store::open_with(&path, options).unwrap();
            let found = store.image("i").unwrap();
            prop_assert_eq!(found.shape(), image.shape());
            prop_assert_eq!(found.channels(), image.channels());
            let z = if three || shape.1 > 1 { 2.0 } else { 1.0 };
            prop_assert_eq!(found.pixel_size("global"), Some([z, 0.5, 0.25]));
            let (c, z, y, x) = (region.c.clone(), region.z.clone(), region.y.clone(), region.x.clone());
            let expected = pixels.slice(ndarray::s![c, z.clone(), y.clone(), x.clone()]).to_owned();
            let mut out = vec![-1.0; expected.len()];
            found.read_region(&region, &mut out).unwrap();
            prop_assert_eq!(out, expected.into_raw_vec_and_offset().0);
            let expected: Vec<u64> = labels.slice(ndarray::s![z, y, x]).iter().copied().collect();
            let mut out = vec![0; expected.len()];
            let region = ImageRegion { c: 0..1, ..region.clone() };
            store.labels("m").unwrap().read_region(&region, &mut out).unwrap();
            prop_assert_eq!(out, expected);
        }
    }
}

/// spatialdata 0.8.0 writes `sdata.attrs["x"] = nan` and `2**70` so.
#[test]
fn numbers_of_python_in_attributes_stay_whatever_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let python = r#""x": NaN, "n": 1180591620717411303424, "d": {"i": -Infinity, "k": 1},"#;
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        Store::create(&path, version).unwrap();
        let file = match version {
            ContainerVersion::V02 => path.join("zarr.json"),
            _ => path.join(".zattrs"),
        };
        let insert = |file: &Path| {
            let text = fs::read_to_string(file).unwrap();
            let own = "\"spatialdata_attrs\"";
            assert_eq!(text.matches(own).count(), 1);
            fs::write(file, text.replace(own, &format!("{python} {own}"))).unwrap();
        };
        let has = |what: &str, number: &str| {
            let files = [Some(file.clone()), Some(path.join(".zmetadata"))];
            for file in files.into_iter().flatten().filter(|file| file.exists()) {
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.contains(number), "{what}: {number} in {text}");
            }
        };
        let has_all = |what: &str| {
            for number in ["NaN,", " 1180591620717411303424,", "-Infinity,"] {
                has(what, number);
            }
        };
        insert(&file);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.attributes()["x"], "NaN");
        let table = TableData::new(vec!["a".into()], vec![], None);
        store.write_table("t", &table, WriteMode::Create).unwrap();
        has_all("a table");
        let mask = MemoryLabels::new("m", Array3::ones((1, 4, 4)));
        let options = LabelWriteOptions::default();
        store
            .write_labels("m", &mask, &options, &NoProgress)
            .unwrap();
        has_all("a mask");
        store.rename(ElementKind::Table, "t", "u").unwrap();
        store.repair().unwrap();
        has_all("repair");
        let mut attributes = store.attributes().clone();
        attributes.insert("donor".to_owned(), 7.into());
        attributes["d"]["k"] = 2.into();
        store.write_attributes(attributes).unwrap();
        has_all("attributes");
        has("attributes", "\"k\": 2");
        assert_eq!(Store::open(&path).unwrap().attributes()["donor"], 7);
        assert!(validate(&store).is_empty());
    }
}

#[test]
fn attributes_of_the_root_are_replaced_and_its_version_stays() {
    let folder = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        let table = TableData::new(vec!["a".into()], vec![], None);
        store.write_table("t", &table, WriteMode::Create).unwrap();
        let own = store.attributes()["spatialdata_attrs"].clone();
        for attributes in [
            serde_json::json!({"donor": 7, "nested": {"a": [1, 2.5, null, true], "b": "µm"}}),
            serde_json::json!({"spatialdata_attrs": {"version": "9"}, "other": "x"}),
            serde_json::json!({}),
        ] {
            let mut expected = attributes.as_object().unwrap().clone();
            store.write_attributes(expected.clone()).unwrap();
            expected.insert("spatialdata_attrs".to_owned(), own.clone());
            assert_eq!(store.attributes(), &expected);
            let reopened = Store::open(&path).unwrap();
            assert_eq!(reopened.attributes(), &expected);
            assert_eq!(reopened.version(), version);
            assert_eq!(reopened.table("t").unwrap().read_all().unwrap(), table);
            assert!(validate(&reopened).is_empty());
        }
        let left = fs::read_dir(&path).unwrap();
        let hidden = left.filter(|e| {
            let name = e.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("tmp") || name.to_string_lossy().contains("old")
        });
        assert_eq!(hidden.count(), 0);
    }
}

#[test]
fn every_pixel_type_is_stored_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = Array4::from_shape_vec((1, 1, 1, 4), vec![0.0, 1.0, 100.0, 127.0]).unwrap();
    let image = MemoryImage::new("i", pixels, vec!["a".into()]).unwrap();
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        for data_type in [
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float16,
            DataType::Float32,
            DataType::Float64,
        ] {
            let name = format!("i_{data_type:?}");
            let options = ImageWriteOptions::new(data_type);
            store
                .write_image(&name, &image, &options, &NoProgress)
                .unwrap();
            let found = store.image(&name).unwrap();
            assert_eq!(found.data_type(), data_type);
            let mut out = [0.0; 4];
            found
                .read_region(&found.shape().region(), &mut out)
                .unwrap();
            assert_eq!(out, [0.0, 1.0, 100.0, 127.0], "{data_type:?}");
        }
    }
}

#[test]
fn a_replaced_image_is_not_served_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("s"), ContainerVersion::V02).unwrap();
    let image = |v| MemoryImage::new("i", Array4::from_elem((1, 1, 2, 2), v), vec!["a".into()]);
    let mut out = [0.0; 4];
    for value in [1.0, 2.0] {
        let options = ImageWriteOptions::new(DataType::UInt8).with_mode(WriteMode::Replace);
        store
            .write_image("i", &image(value).unwrap(), &options, &NoProgress)
            .unwrap();
        let found = store.image("i").unwrap();
        found
            .read_region(&found.shape().region(), &mut out)
            .unwrap();
        assert_eq!(out, [value; 4]);
    }
}

#[test]
fn entries_that_cannot_be_read_survive_when_their_table_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let inner = BTreeMap::from([("kept".to_owned(), Uns::Int(1))]);
    let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_uns("results", Uns::Dict(inner))
        .with_obsm("spatial", Array2::<f64>::zeros((2, 2)));
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let node = |entry: &str, text: &str| {
        let place = path.join("tables/t").join(entry);
        fs::create_dir_all(place.join("part")).unwrap();
        let group = r#"{"zarr_format": 3, "node_type": "group",
            "attributes": {"encoding-type": "awkward-array"}}"#;
        fs::write(place.join("zarr.json"), group).unwrap();
        fs::write(place.join("part/0"), text).unwrap();
    };
    node("uns/results/strange", "first");
    node("obsm/lists", "second");
    let mut data = store.table("t").unwrap().read_all().unwrap();
    data = data.with_uns("results_2", 2.0);
    store.write_table("t", &data, WriteMode::Replace).unwrap();
    for (entry, text) in [("uns/results/strange", "first"), ("obsm/lists", "second")] {
        let place = path.join("tables/t").join(entry);
        assert_eq!(fs::read_to_string(place.join("part/0")).unwrap(), text);
        let root = fs::read_to_string(path.join("zarr.json")).unwrap();
        assert!(root.contains(&format!("tables/t/{entry}")));
    }
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), data);

    // Rows that the entry is not about, and a place without it, are errors that name it.
    let mut others = data.clone();
    others.obs_names.swap(0, 1);
    let error = store.write_table("t", &others, WriteMode::Replace);
    assert!(matches!(error, Err(Error::InvalidTable { place, .. }) if place == "obsm/lists"));
    let error = store.write_table("u", &data, WriteMode::Create);
    assert!(matches!(error, Err(Error::InvalidTable { .. })));
    let taken = data.take_unsupported();
    let places: Vec<&str> = taken.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["obsm/lists", "uns/results/strange"]);
    store.write_table("u", &data, WriteMode::Create).unwrap();
    assert_eq!(store.table("u").unwrap().read_all().unwrap(), data);
}

#[test]
fn the_order_of_categories_in_uns_and_whole_numbers_as_channels_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("s"), ContainerVersion::V02).unwrap();
    let column = Column::Categorical(Categorical::from_labels(["low", "high"]));
    let values = column_to_arrow("levels", &column).unwrap();
    let mut table = TableData::new(vec!["a".into()], vec![], None);
    for (name, ordered) in [("levels", true), ("types", false)] {
        let values = std::sync::Arc::clone(&values);
        table = table.with_uns(
            name,
            Uns::Column {
                values,
                ordered,
                na_value: None,
            },
        );
    }
    store.write_table("t", &table, WriteMode::Create).unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table);

    let pixels = Array4::zeros((2, 1, 2, 2));
    let image = MemoryImage::new("i", pixels, vec!["0".into(), "DAPI".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt8);
    let labels: Vec<serde_json::Value> = vec![0.into(), "DAPI".into()];
    let with = options.clone().with_channel_labels(labels.clone());
    store.write_image("i", &image, &with, &NoProgress).unwrap();
    assert_eq!(store.image("i").unwrap().channel_labels(), labels);
    for wrong in [vec![], vec![0.5.into(), 1.into()]] {
        let wrong = options.clone().with_channel_labels(wrong);
        let error = store.write_image("j", &image, &wrong, &NoProgress);
        assert!(matches!(error, Err(Error::Config { .. })));
    }
}

#[test]
fn levels_of_another_type_or_number_of_channels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let image = |c| {
        let names = (0..c).map(|i| format!("c{i}")).collect();
        MemoryImage::new("i", Array4::zeros((c, 1, 4, 4)), names).unwrap()
    };
    let float = ImageWriteOptions::new(DataType::Float32);
    for (name, c) in [("one", 1), ("two", 2)] {
        store
            .write_image(name, &image(c), &float, &NoProgress)
            .unwrap();
    }
    let mask = MemoryLabels::new("m", Array3::ones((1, 4, 4)));
    let options = LabelWriteOptions::default();
    store
        .write_labels("m", &mask, &options, &NoProgress)
        .unwrap();
    // A second level, which is one of the images' first levels with the axes of the element.
    let add_level = |element: &str, level: serde_json::Value| {
        let place = path.join(element);
        fs::create_dir(place.join("s1")).unwrap();
        fs::write(place.join("s1/zarr.json"), level.to_string()).unwrap();
        let file = place.join("zarr.json");
        let mut group: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let datasets = &mut group["attributes"]["ome"]["multiscales"][0]["datasets"];
        let mut second = datasets[0].clone();
        second["path"] = "s1".into();
        datasets.as_array_mut().unwrap().push(second);
        fs::write(file, group.to_string()).unwrap();
    };
    let level = |element: &str| -> serde_json::Value {
        let file = path.join(element).join("s0/zarr.json");
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    add_level("images/one", level("images/two"));
    assert!(matches!(
        store.image("one"),
        Err(Error::InvalidMetadata { .. })
    ));
    add_level("images/two", level("images/two"));
    assert_eq!(store.image("two").unwrap().n_levels(), 2);
    let mut float = level("labels/m");
    float["data_type"] = "float32".into();
    float["fill_value"] = 0.0.into();
    add_level("labels/m", float);
    assert!(matches!(store.labels("m"), Err(Error::DataType { .. })));
}

#[test]
fn the_rules_of_annotations_are_checked() {
    let annotation = Annotation {
        regions: vec!["nuclei".into()],
        region_key: "region".into(),
        instance_key: "id".into(),
    };
    let base = || {
        TableData::new(vec!["a".into()], vec![], None)
            .with_obs_column("id", Column::Int(vec![1]))
            .unwrap()
            .with_annotation(annotation.clone())
    };
    let with = |column| base().with_obs_column("region", column).unwrap().validate();
    assert!(base().validate().is_err());
    assert!(with(Column::Text(vec!["nuclei".into()])).is_err());
    assert!(with(Column::Categorical(Categorical::from_labels(["cells"]))).is_err());
    assert!(with(Column::Categorical(Categorical::from_labels(["nuclei"]))).is_ok());
}

#[test]
fn parquet_comes_back_and_csv_leaves_missing_values_empty() {
    let folder = tempfile::tempdir().unwrap();
    let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_obs_column("x", Column::Float(vec![0.1, f64::NAN]))
        .unwrap()
        .with_obs_column(
            "t",
            Column::Text(vec!["say \"hi\", you".into(), String::new()]),
        )
        .unwrap()
        .with_obs_column(
            "c",
            Column::Categorical(Categorical::from_optional_labels([Some("B"), None])),
        )
        .unwrap();
    let path = folder.path().join("t.parquet");
    write_parquet(&path, &table.obs).unwrap();
    let found = read_parquet(&path).unwrap();
    let columns = |batch: &arrow::array::RecordBatch| -> BTreeMap<String, String> {
        let names = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect::<Vec<_>>();
        let show = |a: &ArrayRef| format!("{:?}", a.to_data().len());
        names
            .into_iter()
            .zip(batch.columns().iter().map(show))
            .collect()
    };
    assert_eq!(columns(&found), columns(&table.obs));
    assert_eq!(
        column_from_arrow("c", found.column(2)).unwrap(),
        column_from_arrow("c", table.obs.column(2)).unwrap()
    );
    let path = folder.path().join("t.csv");
    write_csv(&path, &table.obs).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "x,t,c\n0.1,\"say \"\"hi\"\", you\",B\n,,\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_lost_chunk_and_a_flipped_bit_are_noticed_in_both_containers() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let mut store = Store::create(&path, version).unwrap();
        // The upper half is zeros, which others do not store.
        let pixels =
            Array4::from_shape_fn(
                (1, 1, 64, 32),
                |(_, _, y, x)| {
                    if y < 32 { 0.0 } else { (y * x) as f32 }
                },
            );
        let image = MemoryImage::new("a", pixels, vec!["DAPI".into()]).unwrap();
        let options =
            ImageWriteOptions::new(DataType::UInt16).with_chunks(ImageShape::new(1, 1, 32, 32));
        store
            .write_image("a", &image, &options, &NoProgress)
            .unwrap();
        let read = |missing: MissingChunks| {
            let options = OpenOptions::default().with_missing_chunks(missing);
            let store = Store::open_with(&path, options).unwrap();
            let image = store.image("a").unwrap();
            let mut out = vec![0_u16; 64 * 32];
            image.read_typed(&image.shape().region(), &mut out)?;
            Ok::<_, Error>(out)
        };
        let whole = read(MissingChunks::AsDeclared).unwrap();
        let chunk = |y| match version {
            ContainerVersion::V01 => path.join(format!("images/a/0/0/{y}/0")),
            _ => path.join(format!("images/a/s0/c/0/{y}/0")),
        };
        let good = fs::read(chunk(1)).unwrap();
        let mut noticed = 0;
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(chunk(1), &bad).unwrap();
            match read(MissingChunks::AsDeclared) {
                Err(_) => noticed += 1,
                // Zstandard has bits that decoders must not look at; CRC-32C covers them as well.
                Ok(pixels) => assert_eq!(pixels, whole),
            }
        }
        let harmless = good.len() * 8 - noticed;
        let most = if version == ContainerVersion::V01 {
            4
        } else {
            0
        };
        assert!(harmless <= most, "{harmless}");
        fs::write(chunk(1), &good).unwrap();
        fs::remove_file(chunk(0)).unwrap();
        for missing in [MissingChunks::AsDeclared, MissingChunks::Refuse] {
            let error = read(missing).unwrap_err();
            assert!(matches!(error, Error::MissingChunk { .. }), "{error}");
            // Programs that do not know of the promise delete chunks of zeros.
            assert!(error.to_string().contains("MissingChunks::Fill"), "{error}");
        }
        assert_eq!(read(MissingChunks::Fill).unwrap(), whole);
    }
}

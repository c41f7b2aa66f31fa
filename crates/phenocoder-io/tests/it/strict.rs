//! Metadata that are not what they should be: typed errors that name the place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, TimestampSecondArray};
use ndarray::{Array2, Array4};
use phenocoder_core::{Column, DataType, MemoryImage, NoProgress};
use phenocoder_io::{
    ContainerVersion, Error, Geometries, ImageWriteOptions, RawData, ShapesData,
    ShapesWriteOptions, Store, TableData, Uns, WriteMode, validate,
};
use serde_json::{Map, Value, json};

use crate::files;

/// An image, a table of two rows and one polygon.
fn store(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let image = Array4::from_elem((1, 1, 2, 2), 1.0);
    let image = MemoryImage::new("i", image, vec!["a".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt8);
    store
        .write_image("i", &image, &options, &NoProgress)
        .unwrap();
    let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_obsm("m", Array2::<f64>::zeros((2, 3)))
        .with_uns("kept", 1.0);
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let mut shapes = Geometries::new(2).unwrap();
    shapes
        .push_polygon([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0].as_slice()])
        .unwrap();
    store
        .write_shapes(
            "p",
            &ShapesData::new(shapes),
            &ShapesWriteOptions::default(),
        )
        .unwrap();
    path
}

/// Changes a metadata file.
fn edit(place: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let file = place.join("zarr.json");
    let mut metadata = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut metadata);
    fs::write(file, Value::Object(metadata).to_string()).unwrap();
}

#[test]
fn parts_of_an_image_of_the_wrong_type_are_invalid_and_absent_ones_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    let image = path.join("images/i");
    let before = fs::read(image.join("zarr.json")).unwrap();
    let scale = json!([{"type": "scale", "scale": [1, 1, 1]}]);
    let level = json!({"path": "0", "coordinateTransformations": scale});
    let cases = [
        ("axes", json!("cyx")),
        ("axes", json!([1, 2, 3])),
        ("datasets", json!([])),
        ("datasets", json!("0")),
        ("datasets", json!([{"path": 0}])),
        ("datasets", json!(vec![level; 2000])),
    ];
    for (name, value) in cases {
        edit(&image, |metadata| {
            metadata["attributes"]["ome"]["multiscales"][0][name] = value;
        });
        let error = Store::open(&path).unwrap().image("i").unwrap_err();
        assert!(matches!(&error, Error::InvalidMetadata { key, .. } if key == "images/i"));
        assert!(error.to_string().contains(&name[..4]), "{error}");
        fs::write(image.join("zarr.json"), &before).unwrap();
    }
    edit(&image, |metadata| {
        let ome = metadata["attributes"]["ome"].as_object_mut().unwrap();
        ome.remove("multiscales");
    });
    let error = Store::open(&path).unwrap().image("i").unwrap_err();
    assert!(matches!(error, Error::MissingMetadata { .. }));
}

#[test]
fn a_group_with_an_extension_that_must_be_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    let image = path.join("images/i");
    edit(&image, |metadata| {
        metadata.insert("optional".into(), json!({"must_understand": false}));
        metadata.insert("consolidated_metadata".into(), Value::Null);
    });
    Store::open(&path).unwrap().image("i").unwrap();
    edit(&image, |metadata| {
        metadata.insert("strange".into(), json!({"name": "strange"}));
    });
    let store = Store::open(&path).unwrap();
    let error = store.image("i").unwrap_err();
    assert!(
        matches!(error, Error::UnsupportedCodec { problem, .. } if problem.contains("strange"))
    );
    store.table("t").unwrap().read_all().unwrap();
}

#[test]
fn the_version_and_the_index_of_a_table_are_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    let table = path.join("tables/t");
    edit(&table, |metadata| {
        metadata["attributes"]["version"] = json!(2)
    });
    let error = Store::open(&path).unwrap().table("t").unwrap_err();
    assert!(matches!(error, Error::UnsupportedVersion { .. }));
    edit(&table, |metadata| {
        metadata["attributes"]["version"] = json!("0.2")
    });
    edit(&table.join("obs"), |metadata| {
        metadata["attributes"]["_index"] = json!(["_index"]);
    });
    let error = Store::open(&path).unwrap().table("t").unwrap_err();
    assert!(matches!(error, Error::InvalidMetadata { key, .. } if key == "tables/t/obs"));
    edit(&table.join("obs"), |metadata| {
        let attributes = metadata["attributes"].as_object_mut().unwrap();
        attributes.remove("_index");
    });
    let error = Store::open(&path).unwrap().table("t").unwrap_err();
    assert!(matches!(error, Error::MissingMetadata { key, .. } if key == "tables/t/obs"));
}

#[test]
fn an_entry_that_does_not_fit_is_left_out_and_read_for_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    let table = path.join("tables/t");
    // Two rows and three columns are no graph between two rows.
    fs::rename(table.join("obsm/m"), table.join("obsp/m")).unwrap();
    edit(&table.join("uns/kept"), |metadata| {
        metadata["attributes"]["encoding-type"] = json!("strange");
    });
    let stored = Store::open(&path).unwrap().table("t").unwrap();
    let data = stored.read_all().unwrap();
    assert!(matches!(&data.obsp["m"], Uns::Unsupported(why) if why.contains("tables/t/obsp/m")));
    assert!(
        matches!(&data.uns["kept"], Uns::Unsupported(why) if why.contains("tables/t/uns/kept"))
    );
    let error = stored.read_entry("obsp/m").unwrap_err();
    assert!(
        matches!(&error, Error::LengthMismatch { key, expected: 2, found: 3 } if key == "tables/t/obsp/m"),
        "{error}"
    );
    let error = stored.read_entry("uns/kept").unwrap_err();
    assert!(matches!(error, Error::UnsupportedEncoding { encoding, .. } if encoding == "strange"));
    let error = stored.read_entry("uns/../obs").unwrap_err();
    assert!(matches!(error, Error::InvalidPath { .. }));
}

/// As zarr-python describes them.
#[test]
fn complex_numbers_are_an_error_of_their_value_only() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        let mut store = Store::create(&path, version).unwrap();
        let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
            .with_obs_column("phase", Column::Float(vec![1.0, 2.0]))
            .unwrap()
            .with_obs_column("kept", Column::Int(vec![3, 4]))
            .unwrap()
            .with_uns("signal", Array2::<f64>::zeros((2, 2)))
            .with_uns("kept", 1.0);
        store.write_table("t", &table, WriteMode::Create).unwrap();
        let table = path.join("tables/t");
        let make_complex = |entry: &str| {
            let (file, name, complex) = match version {
                ContainerVersion::V01 => (".zarray", "dtype", "<c16"),
                _ => ("zarr.json", "data_type", "complex128"),
            };
            let file = table.join(entry).join(file);
            let mut metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            metadata[name] = json!(complex);
            metadata["fill_value"] = json!([0.0, 0.0]);
            fs::write(file, metadata.to_string()).unwrap();
        };
        make_complex("uns/signal");
        let stored = Store::open(&path).unwrap().table("t").unwrap();
        let data = stored.read_all().unwrap();
        let said = |why: &str| why.contains("tables/t/uns/signal") && why.contains("c");
        assert!(matches!(&data.uns["signal"], Uns::Unsupported(why) if said(why)));
        assert_eq!(data.uns["kept"], Uns::Float(1.0));
        let error = stored.read_entry("uns/signal").unwrap_err();
        assert!(matches!(&error, Error::DataType { key, .. } if key == "tables/t/uns/signal"));
        // It stays when the table is replaced.
        let chunks = || files(&table.join("uns/signal")).into_iter().map(fs::read);
        let before: Vec<_> = chunks().map(Result::unwrap).collect();
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        assert_eq!(chunks().map(Result::unwrap).collect::<Vec<_>>(), before);

        make_complex("obs/phase");
        let stored = Store::open(&path).unwrap().table("t").unwrap();
        let kept = stored.obs_column("kept").unwrap();
        assert_eq!(kept, Column::Int(vec![3, 4]));
        assert_eq!(stored.obs_names().unwrap(), ["a", "b"]);
        let columns = stored.obs_info().unwrap();
        let types: Vec<_> = columns
            .iter()
            .map(|c| (c.name.as_str(), c.data_type))
            .collect();
        assert_eq!(types, [("phase", None), ("kept", Some(DataType::Int64))]);
        for error in [stored.obs_column("phase").err(), stored.obs_all().err()] {
            let error = error.unwrap();
            assert!(matches!(&error, Error::DataType { key, .. } if key == "tables/t/obs/phase"));
        }
        let mut data = stored.read_all().unwrap();
        assert_eq!(data.obs.num_columns(), 1);
        let places = |data: &TableData| -> Vec<String> {
            let unsupported = data.unsupported().into_iter();
            unsupported.map(|(place, _)| place).collect()
        };
        assert_eq!(places(&data), ["obs/phase", "uns/signal"]);
        assert!(data.unsupported()[0].1.contains("tables/t/obs/phase"));
        // It stays in its place when the table is replaced.
        let column = || files(&table.join("obs/phase")).into_iter().map(fs::read);
        let before: Vec<_> = column().map(Result::unwrap).collect();
        data = data
            .with_obs_column("new", Column::Int(vec![5, 6]))
            .unwrap();
        let clash = data
            .clone()
            .with_obs_column("PHASE", Column::Int(vec![5, 6]));
        assert!(clash.unwrap().validate().is_err());
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        assert_eq!(column().map(Result::unwrap).collect::<Vec<_>>(), before);
        let stored = store.table("t").unwrap();
        assert_eq!(stored.obs_columns(), ["phase", "kept", "new"]);
        assert_eq!(stored.read_all().unwrap(), data);
        // Nowhere else, nor for other rows.
        let refused = store.write_table("u", &data, WriteMode::Create);
        assert!(matches!(refused, Err(Error::InvalidTable { .. })));
        let mut other = data.clone();
        other.obs_names = vec!["a".into(), "c".into()];
        let refused = store.write_table("t", &other, WriteMode::Replace);
        assert!(
            matches!(&refused, Err(Error::InvalidTable { place, .. }) if place == "obs/phase"),
            "{refused:?}"
        );
        // A column that takes its place is that column.
        let replaced = data
            .clone()
            .with_obs_column("phase", Column::Int(vec![7, 8]))
            .unwrap();
        assert_eq!(places(&replaced), ["uns/signal"]);
        let taken = data.take_unsupported();
        assert_eq!((taken.len(), places(&data).len()), (2, 0));
        store.write_table("u", &data, WriteMode::Create).unwrap();
        let stored = store.table("u").unwrap();
        assert_eq!(stored.obs_columns(), ["kept", "new"]);
    }
}

#[test]
fn what_could_not_be_read_of_raw_stays_for_the_same_variables_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let of_genes = |values| {
        let genes = vec!["g".into(), "h".into()];
        TableData::new(genes, vec![], None).with_obs_column("phase", Column::Float(values))
    };
    let frame = of_genes(vec![1.0, 2.0]).unwrap();
    let mut table = TableData::new(vec!["a".into(), "b".into()], vec![], None);
    table.raw = Some(RawData {
        var_names: frame.obs_names,
        var_index_name: None,
        var: frame.obs,
        x: None,
        varm: [("m".to_owned(), Array2::<f64>::zeros((2, 1)).into())].into(),
    });
    store.write_table("t", &table, WriteMode::Create).unwrap();
    for place in ["raw/var/phase", "raw/varm/m"] {
        edit(&path.join("tables/t").join(place), |metadata| {
            metadata["data_type"] = json!("complex128");
            metadata["fill_value"] = json!([0.0, 0.0]);
        });
        let mut data = store.table("t").unwrap().read_all().unwrap();
        assert_eq!(data.unsupported().len(), 1, "{place}");
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        assert_eq!(store.table("t").unwrap().read_all().unwrap(), data);

        data.raw.as_mut().unwrap().var_names.reverse();
        let refused = store.write_table("t", &data, WriteMode::Replace);
        assert!(
            matches!(&refused, Err(Error::InvalidTable { place: found, problem })
                if found == place && problem.contains("its rows are not those of the new table")),
            "{refused:?}"
        );
        data.take_unsupported();
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        data.raw = None;
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        store.write_table("t", &table, WriteMode::Replace).unwrap();
    }
}

#[test]
fn a_map_from_an_axis_that_is_not_there_is_an_error_of_who_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    edit(&path.join("shapes/p"), |metadata| {
        let maps = &mut metadata["attributes"]["coordinateTransformations"];
        let mut other = maps[0].clone();
        other["type"] = json!("mapAxis");
        other["mapAxis"] = json!({"x": "z", "y": "y"});
        other["output"]["name"] = json!("turned");
        maps.as_array_mut().unwrap().push(other);
    });
    let store = Store::open(&path).unwrap();
    let shapes = store.shapes("p").unwrap();
    assert_eq!(shapes.transformations().len(), 2);
    assert!(shapes.extent("global").unwrap().is_some());
    let refused = shapes.extent("turned").unwrap_err();
    let problem = "the map into `turned`: the axis z is missing";
    assert!(
        matches!(&refused, Error::InvalidTransform { key, problem: found }
            if key == "shapes/p" && found == problem),
        "{refused:?}"
    );
    let found = validate(&store);
    let mut of_shapes = found.iter().filter(|v| v.key == "shapes/p");
    assert!(
        of_shapes.any(|v| v.is_warning && v.problem.contains(problem)),
        "{found:?}"
    );
}

#[test]
fn times_and_bytes_with_several_axes_are_not_read_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let column = |values| Uns::Column {
        values,
        ordered: false,
        na_value: None,
    };
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1, 2, 3, 4]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"a", b"b", b"c", b"d"]));
    let table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_uns("times", column(times))
        .with_uns("bytes", column(bytes))
        .with_uns("kept", 1.0);
    store.write_table("t", &table, WriteMode::Create).unwrap();
    for name in ["times", "bytes"] {
        edit(&path.join("tables/t/uns").join(name), |metadata| {
            metadata["shape"] = json!([2, 2]);
            metadata["chunk_grid"]["configuration"]["chunk_shape"] = json!([2, 2]);
        });
    }
    let data = Store::open(&path)
        .unwrap()
        .table("t")
        .unwrap()
        .read_all()
        .unwrap();
    for name in ["times", "bytes"] {
        let said = |why: &str| why.contains(name) && why.contains("2 axes");
        assert!(
            matches!(&data.uns[name], Uns::Unsupported(why) if said(why)),
            "{:?}",
            data.uns
        );
    }
    assert_eq!(data.uns["kept"], Uns::Float(1.0));
}

#[test]
fn a_footer_longer_than_its_file_is_damage_however_long_it_claims_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(&folder);
    let file = path.join("shapes/p/shapes.parquet");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let error = Store::open(&path).unwrap().shapes("p").unwrap_err();
    assert!(matches!(error, Error::Parquet { .. }), "{error}");
}

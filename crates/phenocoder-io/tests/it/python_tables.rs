//! Tables as Python may have them, with names that occur twice and layers that are not read, are written back.

use std::fs;
use std::path::Path;

use ndarray::{Array2, array};
use phenocoder_core::Column;
use phenocoder_io::{ContainerVersion, Error, Matrix, Store, TableData, WriteMode, validate};
use serde_json::{Value, json};

use crate::{files, store_with};

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// AnnData warns of names that occur twice and takes any name of an index; spatialdata 0.8.0 writes and reads both.
#[test]
fn names_that_occur_twice_and_any_name_of_the_index_are_written_back() {
    for version in VERSIONS {
        let mut table = TableData::new(names(&["c", "c", "d"]), names(&["g", "g"]), None)
            .with_obs_column("area", Column::Float(vec![1.0, 2.0, 3.0]))
            .unwrap();
        table.obs_index_name = Some("cell id".to_owned());
        table.var_index_name = Some("__x".to_owned());
        table.validate().unwrap();
        let (_folder, path, mut store) = store_with(version, "t", &table);
        let data = store.table("t").unwrap().read_all().unwrap();
        assert_eq!(data, table);
        let data = data.with_obsm("m", Array2::<f64>::ones((3, 2)));
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        let again = Store::open(&path).unwrap();
        assert_eq!(again.table("t").unwrap().read_all().unwrap(), data);
        let found: Vec<(String, String, bool)> = validate(&again)
            .into_iter()
            .map(|v| (v.key, v.problem, v.is_warning))
            .collect();
        let warning = |key: &str, problem: &str| (key.to_owned(), problem.to_owned(), true);
        let expected = [
            warning("tables/t/obs", "`c` names two rows"),
            warning("tables/t/var", "`g` names two variables"),
        ];
        assert_eq!(found, expected);
        for bad in ["a/b", "..", "zarr.json", ".zattrs", "area", "AREA"] {
            table.obs_index_name = Some(bad.to_owned());
            let refused = table.validate();
            assert!(
                matches!(
                    refused,
                    Err(Error::InvalidName { .. } | Error::InvalidTable { .. })
                ),
                "{bad}: {refused:?}"
            );
        }
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn layers_that_are_not_read_stay_when_the_table_is_replaced_and_harm_no_other() {
    for version in VERSIONS {
        let matrix = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let table = TableData::new(names(&["a", "b", "c"]), names(&["g", "h"]), None)
            .with_layer("complex", matrix.clone())
            .with_layer("damaged", matrix.clone())
            .with_layer("kept", matrix.clone());
        let (_folder, path, mut store) = store_with(version, "t", &table);
        let layers = path.join("tables/t/layers");
        let (file, name, complex) = match version {
            ContainerVersion::V01 => (".zarray", "dtype", "<c16"),
            _ => ("zarr.json", "data_type", "complex128"),
        };
        edit(&layers.join("complex").join(file), |metadata| {
            metadata[name] = json!(complex);
            metadata["fill_value"] = json!([0.0, 0.0]);
        });
        let chunk = files(&layers.join("damaged"))
            .into_iter()
            .find(|file| {
                let name = file.file_name().unwrap().to_string_lossy();
                !name.contains("zarr") && !name.starts_with(".z")
            })
            .unwrap();
        let mut bytes = fs::read(&chunk).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&chunk, bytes).unwrap();

        let stored = Store::open(&path).unwrap().table("t").unwrap();
        let data = stored.read_all().unwrap();
        assert_eq!(data.layers.keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(data.layers["kept"], Matrix::Dense(matrix.clone()));
        let places = |data: &TableData| -> Vec<String> {
            let unsupported = data.unsupported().into_iter();
            unsupported.map(|(place, _)| place).collect()
        };
        assert_eq!(places(&data), ["layers/complex", "layers/damaged"]);
        let refused = stored.layer("complex").unwrap_err();
        assert!(
            matches!(&refused, Error::DataType { key, .. } if key == "tables/t/layers/complex"),
            "{refused:?}"
        );
        let refused = stored.layer("damaged").unwrap_err();
        assert!(
            matches!(
                &refused,
                Error::Checksum { key } | Error::CorruptChunk { key, .. }
                    if key.contains("layers/damaged")
            ),
            "{refused:?}"
        );
        let found = validate(&Store::open(&path).unwrap());
        for place in ["tables/t/layers/complex", "tables/t/layers/damaged"] {
            assert!(
                found.iter().any(|v| v.key == place && v.is_warning),
                "{found:?}"
            );
        }
        let content = || -> Vec<Vec<u8>> {
            let stored = ["complex", "damaged"].map(|name| files(&layers.join(name)));
            let stored = stored.into_iter().flatten();
            stored.map(|file| fs::read(file).unwrap()).collect()
        };
        let before = content();
        let data = data.with_obsm("m", Array2::<f64>::ones((3, 2)));
        store.write_table("t", &data, WriteMode::Replace).unwrap();
        assert_eq!(content(), before);
        assert_eq!(store.table("t").unwrap().read_all().unwrap(), data);

        // For these rows and variables only.
        for other in [names(&["x", "b", "c"]), names(&["x", "h"])] {
            let mut changed = data.clone();
            match other.len() {
                3 => changed.obs_names = other,
                _ => changed.var_names = other,
            }
            let refused = store.write_table("t", &changed, WriteMode::Replace);
            assert!(
                matches!(&refused, Err(Error::InvalidTable { place, .. }) if place == "layers/complex"),
                "{refused:?}"
            );
        }
        let refused = store.write_table("u", &data, WriteMode::Create);
        assert!(matches!(refused, Err(Error::InvalidTable { .. })));
        // A layer that takes its place is that layer.
        let mut replaced = data.clone().with_layer("complex", matrix);
        assert_eq!(places(&replaced), ["layers/damaged"]);
        assert_eq!(replaced.take_unsupported().len(), 1);
        store
            .write_table("t", &replaced, WriteMode::Replace)
            .unwrap();
        assert_eq!(
            store.table("t").unwrap().layers().unwrap(),
            ["complex", "kept"]
        );
        assert!(validate(&store).is_empty());
    }
}

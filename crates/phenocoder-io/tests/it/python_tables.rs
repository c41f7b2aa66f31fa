//! Tables as Python may have them, with names that occur twice, are written back.

use ndarray::Array2;
use phenocoder_core::Column;
use phenocoder_io::{ContainerVersion, Error, Store, TableData, WriteMode, validate};

use crate::store_with;

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

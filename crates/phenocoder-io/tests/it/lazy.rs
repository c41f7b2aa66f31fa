//! Tables of which parts are read: what is known before, what is asked for, and what does not fit.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use ndarray::{Array2, array};
use phenocoder_core::{Categorical, Column, CsrGraph, DataType};
use phenocoder_io::{
    Annotation, ContainerVersion, Error, Frame, Matrix, NumericArray, NumericValues, OpenOptions,
    SparseFormat, SparseMatrix, Store, Table, TableData, Uns, WriteMode,
};
use serde_json::{Value, json};

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn sparse(format: SparseFormat) -> SparseMatrix {
    // Rows or columns hold: 2 at 1; nothing; 3 at 0 and 4 at 2.
    let values = NumericValues::Float64(vec![2.0, 3.0, 4.0]);
    SparseMatrix::new(format, (3, 3), vec![0, 1, 1, 3], vec![1, 0, 2], values).unwrap()
}

fn frame() -> Frame {
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5]));
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    Frame {
        index: Arc::new(StringArray::from(vec!["a", "b", "c"])),
        index_name: None,
        columns: RecordBatch::try_from_iter([("u", numbers), ("v", whole)]).unwrap(),
    }
}

fn data() -> TableData {
    let x: Array2<f32> = array![[1., 2., 3.], [4., 5., 6.], [7., 8., 9.]];
    let mut texts = frame();
    texts.columns = RecordBatch::try_from_iter([(
        "t",
        Arc::new(StringArray::from(vec!["x", "y", "z"])) as ArrayRef,
    )])
    .unwrap();
    let mut data = TableData::new(
        names(&["a", "b", "c"]),
        names(&["g", "h", "i"]),
        Some(x.into()),
    )
    .with_obs_column(
        "kind",
        Column::Categorical(Categorical::from_labels(["p", "q", "p"])),
    )
    .unwrap()
    .with_obs_column("area", Column::Float(vec![0.5, 1.5, 2.5]))
    .unwrap()
    .with_obs_column("note", Column::Text(names(&["x", "y", "z"])))
    .unwrap()
    .with_var_column("mito", Column::Bool(vec![true, false, true]))
    .unwrap()
    .with_layer("by_row", sparse(SparseFormat::Csr))
    .with_layer("by_column", sparse(SparseFormat::Csc))
    .with_obsm("pca", array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    .with_obsm("frame", Uns::Frame(frame()))
    .with_obsm("texts", Uns::Frame(texts))
    .with_uns("title", "tissue")
    .with_uns("n", 7_i64);
    data.obsp
        .insert("by_row".into(), Uns::Sparse(sparse(SparseFormat::Csr)));
    data.obsp
        .insert("by_column".into(), Uns::Sparse(sparse(SparseFormat::Csc)));
    let dense = array![[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]];
    data.obsp.insert("dense".into(), Uns::from(dense));
    data.varm
        .insert("loadings".into(), Uns::from(array![[1.0], [2.0], [3.0]]));
    data.varp
        .insert("overlap".into(), Uns::Sparse(sparse(SparseFormat::Csr)));
    let nullable: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    data.uns.insert(
        "flags".into(),
        Uns::Column {
            values: nullable,
            ordered: false,
            na_value: None,
        },
    );
    data
}

fn written(folder: &tempfile::TempDir, version: ContainerVersion) -> Table {
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, version).unwrap();
    store.write_table("t", &data(), WriteMode::Create).unwrap();
    store.table("t").unwrap()
}

#[test]
fn what_a_table_holds_is_known_before_it_is_read() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let table = written(&folder, version);
        assert_eq!((table.n_obs(), table.n_vars()), (3, 3));
        assert_eq!(table.obs_columns(), names(&["kind", "area", "note"]));
        assert_eq!(table.var_columns(), names(&["mito"]));
        let info = table.obs_info().unwrap();
        let encodings: Vec<&str> = info.iter().map(|column| column.encoding.as_str()).collect();
        assert_eq!(encodings, ["categorical", "array", "string-array"]);
        assert_eq!(info[0].n_categories, Some(2));
        assert_eq!(
            (info[1].data_type, info[1].n_categories),
            (Some(DataType::Float64), None)
        );
        assert_eq!(info[2].data_type, None);
        assert_eq!(table.var_info().unwrap()[0].data_type, Some(DataType::Bool));

        let x = table.x_info().unwrap().unwrap();
        assert_eq!(
            (x.shape, x.data_type, x.format, x.n_stored),
            ((3, 3), DataType::Float32, None, None)
        );
        let layer = table.layer_info("by_column").unwrap();
        assert_eq!(
            (layer.format, layer.n_stored),
            (Some(SparseFormat::Csc), Some(3))
        );

        assert_eq!(table.layers().unwrap(), names(&["by_column", "by_row"]));
        assert_eq!(
            table.obsm_keys().unwrap(),
            names(&["frame", "pca", "texts"])
        );
        assert_eq!(
            table.obsp_keys().unwrap(),
            names(&["by_column", "by_row", "dense"])
        );
        assert_eq!(table.varm_keys().unwrap(), names(&["loadings"]));
        assert_eq!(table.varp_keys().unwrap(), names(&["overlap"]));
        assert_eq!(table.uns_keys().unwrap(), names(&["flags", "n", "title"]));
        assert!(!table.has_raw().unwrap());
    }
}

#[test]
fn parts_are_those_of_the_whole() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let table = written(&folder, version);
        let expected = data();
        assert_eq!(table.obs_names().unwrap(), expected.obs_names);
        assert_eq!(table.var_names().unwrap(), expected.var_names);
        assert_eq!(table.obs(&["area"]).unwrap().num_columns(), 1);
        assert_eq!(table.obs_all().unwrap().num_columns(), 3);
        assert_eq!(table.var(&["mito"]).unwrap(), table.var_all().unwrap());
        assert_eq!(
            table.obs_column("area").unwrap(),
            Column::Float(vec![0.5, 1.5, 2.5])
        );
        assert_eq!(table.x().unwrap(), expected.x);
        let rows = table.x_rows(1..3).unwrap().unwrap();
        assert_eq!(
            rows.to_dense_f64().unwrap(),
            array![[4., 5., 6.], [7., 8., 9.]]
        );
        for layer in ["by_row", "by_column"] {
            let whole = table.layer(layer).unwrap().to_dense_f64().unwrap();
            let rows = table
                .layer_rows(layer, 1..3)
                .unwrap()
                .to_dense_f64()
                .unwrap();
            assert_eq!(rows, whole.slice(ndarray::s![1..3, ..]), "{layer}");
        }
        assert_eq!(
            table.obsm("pca").unwrap(),
            array![[1., 2.], [3., 4.], [5., 6.]]
        );
        let rows = table.obsm_rows("pca", 1..3).unwrap();
        assert_eq!(rows.to_dense_f64().unwrap(), array![[3., 4.], [5., 6.]]);
        assert_eq!(table.obsm_info("pca").unwrap().shape, (3, 2));
        assert_eq!(
            table.obsm("frame").unwrap(),
            array![[0.5, 1.], [1.5, 2.], [2.5, 3.]]
        );
        let uns = table.uns().unwrap();
        assert_eq!(uns["title"].as_text(), Some("tissue"));
        assert_eq!(uns.len(), 3);
    }
}

#[test]
fn graphs_are_read_from_rows_columns_and_dense_matrices() {
    let folder = tempfile::tempdir().unwrap();
    let table = written(&folder, ContainerVersion::V02);
    let expected = CsrGraph::new(vec![0, 1, 1, 3], vec![1, 0, 2], vec![2.0, 3.0, 4.0]).unwrap();
    assert_eq!(table.obsp("by_row").unwrap(), expected);
    assert_eq!(table.obsp("by_column").unwrap(), expected.transposed());
    let dense = CsrGraph::new(vec![0, 1, 2, 3], vec![1, 0, 2], vec![1.0, 1.0, 2.0]).unwrap();
    assert_eq!(table.obsp("dense").unwrap(), dense);
}

#[test]
fn what_is_not_there_is_an_error_that_lists_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let table = written(&folder, ContainerVersion::V02);
    let missing = [
        table.layer("x").map(|_| ()),
        table.layer_info("x").map(|_| ()),
        table.layer_rows("x", 0..1).map(|_| ()),
        table.obsm("x").map(|_| ()),
        table.obsm_info("x").map(|_| ()),
        table.obsm_rows("x", 0..1).map(|_| ()),
        table.obsp("x").map(|_| ()),
        table.obs(&["x"]).map(|_| ()),
        table.var(&["x"]).map(|_| ()),
        table.obs_column("x").map(|_| ()),
    ];
    for found in missing {
        assert!(
            matches!(&found, Err(Error::NoEntry { name, .. }) if name == "x"),
            "{found:?}"
        );
    }
    assert!(matches!(
        table.obsm("texts"),
        Err(Error::DataType { key, .. }) if key == "tables/t/obsm/texts"
    ));
    assert!(matches!(
        table.x_rows(2..4),
        Err(Error::InvalidMetadata { key, .. }) if key == "tables/t/X"
    ));
    assert!(matches!(
        table.obsm_rows("pca", 2..4),
        Err(Error::InvalidMetadata { key, .. }) if key == "tables/t/obsm/pca"
    ));
    for entry in ["frame", "texts"] {
        assert!(matches!(
            table.obsm_rows(entry, 0..1),
            Err(Error::UnsupportedEncoding { .. })
        ));
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn shapes_that_do_not_fit_the_table_are_errors_that_name_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let table = written(&folder, ContainerVersion::V02);
    let place = folder.path().join("s.zarr/tables/t");
    for name in ["layers/by_row", "obsp/by_row"] {
        let metadata = place.join(name).join("zarr.json");
        edit(&metadata, |node| {
            node["attributes"]["shape"] = json!([3, 4])
        });
    }
    for (found, expected) in [
        (table.layer("by_row").map(|_| ()), "tables/t/layers/by_row"),
        (
            table.read_entry("layers/by_row").map(|_| ()),
            "tables/t/layers/by_row",
        ),
        (
            table.layer_info("by_row").map(|_| ()),
            "tables/t/layers/by_row",
        ),
        (table.obsp("by_row").map(|_| ()), "tables/t/obsp/by_row"),
    ] {
        let fits = matches!(
            &found,
            Err(Error::LengthMismatch { key, expected: 3, found: 4 }) if key == expected
        );
        assert!(fits, "{found:?}");
    }
    // Metadata with another number of rows: an entry of its own is left out of the whole, and is an error alone.
    edit(&place.join("obsm/pca/zarr.json"), |node| {
        node["shape"] = json!([2, 2])
    });
    assert!(matches!(
        table.obsm("pca"),
        Err(Error::LengthMismatch { key, expected: 3, found: 2 }) if key == "tables/t/obsm/pca"
    ));
    assert!(matches!(
        table.obsm_rows("pca", 0..1),
        Err(Error::LengthMismatch { key, expected: 3, found: 2 }) if key == "tables/t/obsm/pca"
    ));
    edit(&place.join("layers/by_row/zarr.json"), |node| {
        node["attributes"]["shape"] = json!([3, 3])
    });
    let whole = table.read_all().unwrap();
    assert!(
        matches!(&whole.obsm["pca"], Uns::Unsupported(why) if why.contains("`tables/t/obsm/pca`"))
    );
}

/// The table `t`, each of whose arrays may take `limit` bytes.
fn table_within(path: &Path, limit: u64) -> Table {
    let options = OpenOptions::default().with_max_array_bytes(limit);
    Store::open_with(path, options).unwrap().table("t").unwrap()
}

#[test]
fn a_matrix_that_is_small_only_as_it_is_stored_counts_as_what_is_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let empty = NumericValues::Float64(Vec::new());
    let sparse = SparseMatrix::new(SparseFormat::Csr, (3, 4), vec![0; 4], Vec::new(), empty);
    let bytes = NumericArray::new(vec![3, 100], NumericValues::UInt8(vec![1; 300])).unwrap();
    let data = TableData::new(names(&["a", "b", "c"]), vec![], None)
        .with_obsm("sparse", Uns::Sparse(sparse.unwrap()))
        .with_obsm("bytes", Uns::Numbers(bytes));
    store.write_table("t", &data, WriteMode::Create).unwrap();
    edit(&path.join("tables/t/obsm/sparse/zarr.json"), |node| {
        node["attributes"]["shape"] = json!([3, 100_000_000]);
    });
    let open = |limit| table_within(&path, limit);
    for (name, most, bytes) in [("sparse", 1 << 20, 2_400_000_000), ("bytes", 2399, 2400)] {
        let refused = open(most).obsm(name).unwrap_err();
        assert!(
            matches!(&refused, Error::TooLarge { key, found, limit, .. }
                if *key == format!("tables/t/obsm/{name}") && *found == bytes && *limit == most),
            "{refused:?}"
        );
    }
    assert_eq!(
        open(2400).obsm("bytes").unwrap(),
        Array2::<f64>::ones((3, 100))
    );
}

#[test]
fn graphs_and_rows_of_columns_count_as_what_is_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let n = 300;
    let bytes = NumericValues::UInt8(vec![1; n * n]);
    // Each value of the matrix by columns lies in the first row.
    let values = NumericValues::Float64(vec![1.0; 3 * n]);
    let columns = SparseMatrix::new(
        SparseFormat::Csc,
        (n, 3 * n),
        (0..=3 * n).collect(),
        vec![0; 3 * n],
        values,
    );
    let rows = (0..n).map(|i| i.to_string()).collect();
    let variables = (0..3 * n).map(|i| i.to_string()).collect();
    let dense = Uns::Numbers(NumericArray::new(vec![n, n], bytes).unwrap());
    let x = Matrix::Sparse(columns.unwrap());
    let mut data = TableData::new(rows, variables, Some(x));
    data.obsp.insert("dense".to_owned(), dense);
    store.write_table("t", &data, WriteMode::Create).unwrap();
    let open = |limit| table_within(&path, limit);
    let refused = open(8 * 90_000 - 1).obsp("dense").unwrap_err();
    assert!(
        matches!(&refused, Error::TooLarge { key, found: 720_000, .. } if key == "tables/t/obsp/dense"),
        "{refused:?}"
    );
    assert_eq!(open(8 * 90_000).obsp("dense").unwrap().n_edges(), n * n);
    // Twelve bytes for each of 900 values, of which no array holds more than eight.
    let refused = open(10_799).x_rows(0..1).unwrap_err();
    assert!(
        matches!(&refused, Error::TooLarge { key, found: 10_800, .. } if key == "tables/t/X"),
        "{refused:?}"
    );
    assert!(open(10_799).x_rows(1..2).is_ok());
    assert!(open(10_800).x_rows(0..1).is_ok());
}

#[test]
fn a_number_that_a_frame_of_numbers_lacks_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));
    let y: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(true)]));
    let frame = Frame {
        index: Arc::new(StringArray::from(vec!["a", "b"])),
        index_name: None,
        columns: RecordBatch::try_from_iter([("x", x), ("y", y)]).unwrap(),
    };
    let data =
        TableData::new(names(&["a", "b"]), vec![], None).with_obsm("spatial", Uns::Frame(frame));
    store.write_table("t", &data, WriteMode::Create).unwrap();
    let found = store.table("t").unwrap().obsm("spatial").unwrap();
    assert_eq!((found[[0, 0]], found[[1, 1]]), (5.0, 1.0));
    assert!(found[[1, 0]].is_nan() && found[[0, 1]].is_nan());
}

#[test]
fn dictionaries_are_read_as_deep_as_the_options_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    Store::create(&path, ContainerVersion::V02).unwrap();
    let open = |depth| {
        let options = OpenOptions::default().with_max_depth(depth);
        Store::open_with(&path, options).unwrap()
    };
    // The number lies in as many dictionaries, that of the table among them.
    let nested = |depth: usize| {
        let wrap = |value, _| Uns::Dict([("d".to_owned(), value)].into());
        (1..depth).fold(Uns::Int(7), wrap)
    };
    let deepest = |mut value: &Uns| loop {
        match value {
            Uns::Dict(entries) => value = &entries["d"],
            value => return value.clone(),
        }
    };
    let data = TableData::new(names(&["a"]), vec![], None)
        .with_uns("three", nested(3))
        .with_uns("seventy", nested(70));
    open(100)
        .write_table("t", &data, WriteMode::Create)
        .unwrap();
    for (name, depth) in [("three", 3), ("seventy", 70)] {
        for (limit, is_read) in [(depth, true), (depth - 1, false)] {
            let uns = open(limit).table("t").unwrap().uns().unwrap();
            let expected = format!("a depth of dictionaries of {depth} is more than");
            match deepest(&uns[name]) {
                Uns::Int(7) => assert!(is_read, "{name}"),
                Uns::Unsupported(why) => assert!(!is_read && why.contains(&expected), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn tables_of_other_kinds_and_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    written(&folder, ContainerVersion::V02);
    let path = folder.path().join("s.zarr");
    let metadata = path.join("tables/t/zarr.json");
    let open = || Store::open(&path).unwrap().table("t");
    edit(&metadata, |node| {
        node["attributes"]["version"] = json!("9.9")
    });
    assert!(matches!(
        open(),
        Err(Error::UnsupportedVersion { key, found, .. }) if key == "tables/t" && found.contains("9.9")
    ));
    edit(&metadata, |node| {
        node["attributes"]["encoding-type"] = json!("mudata")
    });
    assert!(matches!(
        open(),
        Err(Error::UnsupportedEncoding { key, encoding }) if key == "tables/t" && encoding == "mudata"
    ));
    edit(&metadata, |node| {
        node["attributes"]["encoding-type"] = json!("anndata");
        node["attributes"]["version"] = json!("0.2");
    });
    let obs = path.join("tables/t/obs/zarr.json");
    edit(&obs, |node| node["attributes"]["column-order"] = json!([1]));
    assert!(matches!(open(), Err(Error::InvalidMetadata { key, .. }) if key == "tables/t/obs"));
    edit(&obs, |node| {
        node["attributes"]["encoding-type"] = json!("dict")
    });
    assert!(matches!(open(), Err(Error::UnsupportedEncoding { key, .. }) if key == "tables/t/obs"));
}

#[test]
fn annotations_that_say_too_little_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let data = TableData::new(names(&["a"]), vec![], None)
        .with_obs_column(
            "region",
            Column::Categorical(Categorical::from_labels(["cells"])),
        )
        .unwrap()
        .with_obs_column("id", Column::Int(vec![1]))
        .unwrap()
        .with_annotation(Annotation {
            regions: names(&["cells"]),
            region_key: "region".to_owned(),
            instance_key: "id".to_owned(),
        });
    store.write_table("t", &data, WriteMode::Create).unwrap();
    assert_eq!(
        store.table("t").unwrap().annotation(),
        data.annotation.as_ref()
    );
    let attrs = path.join("tables/t/uns/spatialdata_attrs");
    fs::remove_dir_all(attrs.join("instance_key")).unwrap();
    assert!(matches!(
        store.table("t"),
        Err(Error::MissingMetadata { key, .. }) if key == "tables/t/uns/spatialdata_attrs"
    ));

    fs::remove_dir_all(&attrs).unwrap();
    assert_eq!(store.table("t").unwrap().annotation(), None);
}

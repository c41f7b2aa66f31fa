//! Files that are read, and what is said about those that cannot be.

use std::path::PathBuf;

use ndarray::{Array1, array};
use ndarray_npy::NpzWriter;

use super::compute;
use super::input::{Input, Overrides};

type Writer = NpzWriter<std::io::Cursor<Vec<u8>>>;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What reading the file says, without the folder.
fn error(name: &str, bytes: &[u8], overrides: &Overrides) -> String {
    let error = Input::read(&file(name, bytes), overrides)
        .unwrap_err()
        .to_string();
    let folder = format!(
        "{}{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::path::MAIN_SEPARATOR
    );
    error.replace(&folder, "")
}

#[test]
fn a_table_has_the_statistics_of_its_columns() {
    let text =
        "\u{feff}id,y,x,label,size\n1,0,0,\"T, killer\",2\n2,0,3,B,\n3,4,0,,1e3\n4,4,3,B,4\n";
    let overrides = Overrides {
        radii: Some(vec![1.0, 4.0]),
        knn: Some(2),
        features: Some(vec!["size".to_owned()]),
        ..Overrides::default()
    };
    let input = Input::read(&file("cells.csv", text.as_bytes()), &overrides).unwrap();
    assert_eq!(input.labels.categories(), ["B", "T, killer"]);
    assert_eq!(input.labels.codes(), [1, 0, -1, 0]);
    assert!(input.x[[1, 0]].is_nan() && input.x[[2, 0]] == 1000.0);
    let (json, _) = compute(&input, &["stats/radius1/interaction"]);
    let expected = serde_json::json!([[2.0, 1.0], [1.0, 0.0]]);
    assert_eq!(json.pointer("/stats/radius1/interaction"), Some(&expected));
}

#[test]
fn a_bad_table_is_refused_with_the_place() {
    let none = Overrides::default();
    for (text, expected) in [
        ("", "bad.csv: no header"),
        (
            "y,x,label\n0,0\n",
            "bad.csv, line 2: 2 fields, the header has 3",
        ),
        (
            "y,x,label\n0,0,A\n\n1,north,B\n",
            "bad.csv, line 4, column `x`: `north` is no number",
        ),
        (
            "y,x,label\n0,,A\n",
            "bad.csv, line 2, column `x`: the coordinate NaN is not finite",
        ),
        (
            "y,x,type\n0,0,A\n",
            "bad.csv: there is no column `label`; there are: y, x, type",
        ),
        ("y,x,\"label\n", "bad.csv, line 1: a quote is not closed"),
        ("y,x,x\n", "bad.csv: the header has two columns `x`"),
    ] {
        assert_eq!(error("bad.csv", text.as_bytes(), &none), expected);
    }
    let text = error("bad.txt", b"", &none);
    assert_eq!(text, "bad.txt: expected a file called .npz or .csv");
    let missing = Input::read(&PathBuf::from("nowhere.csv"), &none);
    assert_eq!(
        missing.unwrap_err().to_string(),
        "nowhere.csv: cannot be read"
    );
}

#[test]
fn a_bad_archive_is_refused_with_the_place() {
    let none = Overrides::default();
    let archive = |arrays: &dyn Fn(&mut Writer)| {
        let mut npz = NpzWriter::new(std::io::Cursor::new(Vec::new()));
        arrays(&mut npz);
        npz.finish().unwrap().into_inner()
    };
    let points = array![[0.0, 0.0], [1.0, f64::NAN]];
    let text = error("noise.npz", b"no archive", &none);
    assert_eq!(text, "noise.npz: no readable .npz archive");
    let bytes = archive(&|_| {});
    let text = error("empty.npz", &bytes, &none);
    assert_eq!(text, "empty.npz: the array `in_coords` cannot be read");
    let bytes = archive(&|npz| npz.add_array("in_coords", &points).unwrap());
    assert_eq!(
        error("nan.npz", &bytes, &none),
        "nan.npz, row 1, column 1 of `in_coords`: the coordinate NaN is not finite"
    );
    let with = |codes: Array1<i32>| {
        archive(&|npz| {
            npz.add_array("in_coords", &array![[0_i64, 0], [1, 1]])
                .unwrap();
            npz.add_array("in_labels", &codes).unwrap();
        })
    };
    let names = Overrides {
        categories: Some(vec!["A".to_owned(), "B".to_owned()]),
        ..Overrides::default()
    };
    assert_eq!(
        error("code.npz", &with(array![0, 2]), &names),
        "code.npz, row 1 of `in_labels`: there is no category 2, only 2"
    );
    assert_eq!(
        error("short.npz", &with(array![0]), &none),
        "short.npz: the array `in_labels` has 1 rows, expected 2, one per point"
    );
    // Whole numbers are coordinates too, and codes have names.
    let input = Input::read(&file("good.npz", &with(array![1, -1])), &names).unwrap();
    assert_eq!(input.labels.label(0), Some("B"));
    assert_eq!((input.labels.label(1), input.points[[1, 0]]), (None, 1.0));
    let parameters = Overrides {
        parameters: Some(file("odd.json", br#"{"inputs": {"knn": "six"}}"#)),
        ..Overrides::default()
    };
    assert_eq!(
        error("good.npz", &with(array![0, 0]), &parameters),
        "odd.json: `inputs/knn`: expected a whole number"
    );
}

//! Unit and property tests of the condition encoder.

use proptest::prelude::*;

use super::*;

#[test]
fn an_unseen_category_is_zero_when_asked() {
    let seen = Categorical::from_labels(["a", "b"]);
    let encoder = ConditionEncoder::fit(&[("c", &seen)]).unwrap();
    let new = Categorical::from_optional_labels([Some("b"), Some("x"), None]);
    let error = encoder.encode(&[&new]).unwrap_err();
    assert!(
        matches!(&error, Error::UnseenCategory { column, value, row: 1, .. } if column == "c" && value == "x"),
        "{error}"
    );
    let zero = encoder.clone().with_unseen(UnseenPolicy::Zero);
    assert_eq!(
        zero.encode(&[&new]).unwrap(),
        ndarray::array![[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    );
    let missing = Categorical::from_optional_labels([Some("b"), None]);
    assert!(matches!(
        encoder.encode(&[&missing]).unwrap_err(),
        Error::MissingCategory { row: 1, .. }
    ));
}

#[test]
fn categories_that_do_not_occur_make_no_column() {
    let labels = Categorical::new(vec![2, 0], vec!["a".into(), "b".into(), "c".into()]).unwrap();
    let encoder = ConditionEncoder::fit(&[("c", &labels)]).unwrap();
    assert_eq!(encoder.names(), ["c=a", "c=c"]);
}

#[test]
fn numbers_sort_by_value_and_text_by_bytes() {
    let mut numbers = ["10", "9", "-1", "2.5"].map(String::from);
    sort(&mut numbers);
    assert_eq!(numbers, ["-1", "2.5", "9", "10"]);
    let mut mixed = ["10", "9", "b"].map(String::from);
    sort(&mut mixed);
    assert_eq!(mixed, ["10", "9", "b"]);
}

#[test]
fn without_conditions_there_are_rows_without_columns() {
    let encoder = ConditionEncoder::fit(&[]).unwrap();
    assert_eq!(encoder.encode_rows(4, &[]).unwrap().dim(), (4, 0));
}

#[test]
fn a_column_too_many_or_twice_is_an_error() {
    let labels = Categorical::from_labels(["a"]);
    assert!(ConditionEncoder::fit(&[("c", &labels), ("c", &labels)]).is_err());
    let longer = Categorical::from_labels(["a", "b"]);
    assert!(ConditionEncoder::fit(&[("c", &labels), ("d", &longer)]).is_err());
    let encoder = ConditionEncoder::fit(&[("c", &labels)]).unwrap();
    assert!(encoder.encode(&[&labels, &labels]).is_err());
    assert!(encoder.encode(&[]).is_err());
}

#[test]
fn the_encoder_survives_being_written_down() {
    let labels = Categorical::from_labels(["a", "b"]);
    let encoder = ConditionEncoder::fit(&[("c", &labels)])
        .unwrap()
        .with_unseen(UnseenPolicy::Zero);
    let text = serde_json::to_string(&encoder).unwrap();
    assert_eq!(
        serde_json::from_str::<ConditionEncoder>(&text).unwrap(),
        encoder
    );
    assert!(
        serde_json::from_str::<ConditionEncoder>(r#"{"columns": [], "unsen": "zero"}"#).is_err()
    );
}

proptest! {
    #[test]
    fn every_row_has_one_one_per_condition(rows in prop::collection::vec((0_u8..4, 0_u8..3), 1..30)) {
        let a = Categorical::from_labels(rows.iter().map(|r| r.0.to_string()));
        let b = Categorical::from_labels(rows.iter().map(|r| format!("v{}", r.1)));
        let encoder = ConditionEncoder::fit(&[("a", &a), ("b", &b)]).unwrap();
        let encoded = encoder.encode(&[&a, &b]).unwrap();
        prop_assert_eq!(encoded.ncols(), encoder.n_columns());
        let names = encoder.names();
        for (row, &(x, y)) in rows.iter().enumerate() {
            prop_assert_eq!(encoded.row(row).sum(), 2.0);
            for name in [format!("a={x}"), format!("b=v{y}")] {
                let column = names.iter().position(|n| *n == name).unwrap();
                prop_assert_eq!(encoded[[row, column]], 1.0);
            }
        }
        for column in encoded.columns() {
            prop_assert!(column.sum() > 0.0, "a column without members");
        }
    }
}

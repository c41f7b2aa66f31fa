use super::*;
use arrow::array::{BooleanArray, Int64Array, UInt64Array};
use proptest::prelude::*;

fn layout(data_type: Value, format: ZarrFormat) -> Result<Option<Layout>> {
    Layout::parse("k", &Map::new(), &data_type, format)
}

fn records(rows: &[(u64, String, bool)]) -> Records {
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.1)));
    let truths: ArrayRef = Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.2))));
    Records {
        shape: vec![rows.len()],
        fields: RecordBatch::try_from_iter([("id", ids), ("name", names), ("ok", truths)]).unwrap(),
    }
}

proptest! {
    #[test]
    fn records_come_back(
        rows in prop::collection::vec((any::<u64>(), "[^\0]{0,6}", any::<bool>()), 0..20),
    ) {
        for format in [ZarrFormat::V2, ZarrFormat::V3] {
            let records = records(&rows);
            let encoded = encode("k", &records, format).unwrap();
            let layout = layout(encoded.data_type, format).unwrap().unwrap();
            prop_assert_eq!(layout.size(), encoded.size);
            let found = layout.decode("k", vec![rows.len()], &encoded.bytes, 1 << 20).unwrap();
            prop_assert_eq!(found, records);
        }
    }

    #[test]
    fn no_description_of_a_type_is_a_panic(text in r#"[\[\]{}:,"<>|USVif0-9a-z]{0,40}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = layout(value.clone(), ZarrFormat::V2);
            let _ = layout(json!([["a", value.clone()]]), ZarrFormat::V2);
            let fields = json!([{"name": "a", "data_type": value}]);
            let _ = layout(
                json!({"name": "struct", "configuration": {"fields": fields}}),
                ZarrFormat::V3,
            );
        }
    }
}

#[test]
fn big_endian_fields_and_padding_are_understood() {
    let data_type = json!([["a", ">i2"], ["", "|V2"], ["b", "<u4"], ["c", ">U2"]]);
    let layout = layout(data_type, ZarrFormat::V2).unwrap().unwrap();
    let mut bytes = vec![1, 2, 9, 9, 1, 0, 0, 0];
    bytes.extend([0, 0, 0, b'x', 0, 0, 0, 0]);
    let records = layout.decode("k", vec![1], &bytes, 1 << 20).unwrap();
    let column = |at: usize| records.fields.column(at);
    assert_eq!(records.fields.num_columns(), 3);
    assert_eq!(
        numbers_from_arrow(column(0)),
        Some(NumericValues::Int16(vec![258]))
    );
    assert_eq!(
        numbers_from_arrow(column(1)),
        Some(NumericValues::UInt32(vec![1]))
    );
    assert_eq!(texts("k", column(2)).unwrap(), [Some("x".to_owned())]);
}

#[test]
fn types_that_no_field_has_are_errors() {
    for bad in [
        json!([["a", "<c16"]]),
        json!([["a", "<i4", [3]]]),
        json!([["a", [["b", "<i4"]]]]),
        json!([["a", "|O"]]),
        json!([["a", "<U4611686018427387904"]]),
        json!([["a", "<i4"], ["a", "<i4"]]),
        json!([["a"]]),
        json!([1]),
        json!([]),
    ] {
        assert!(layout(bad.clone(), ZarrFormat::V2).is_err(), "{bad}");
    }
    assert_eq!(layout(json!("<i4"), ZarrFormat::V2).unwrap(), None);
}

#[test]
fn records_of_other_lengths_than_their_shape_are_refused() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let records = Records {
        shape: vec![3],
        fields: RecordBatch::try_from_iter([("id", ids)]).unwrap(),
    };
    assert!(encode("k", &records, ZarrFormat::V3).is_err());
}

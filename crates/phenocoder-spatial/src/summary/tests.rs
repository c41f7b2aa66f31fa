use super::*;

#[test]
fn settings_read_back_from_json_and_bad_ones_are_refused() {
    let config = StatisticsConfig::new([25.0, 14.2]).with_mode(Mode::Compat);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<StatisticsConfig>(&text).unwrap(),
        config
    );
    let short = serde_json::from_str::<StatisticsConfig>(r#"{"radii": [25.0, 14.2]}"#).unwrap();
    assert_eq!(short, StatisticsConfig::new([25.0, 14.2]));
    assert!(serde_json::from_str::<StatisticsConfig>(r#"{"radii": [1.0], "group": []}"#).is_err());
    for bad in [
        StatisticsConfig::new([]),
        StatisticsConfig::new([1.0, 1.0]),
        StatisticsConfig::new([-1.0]),
        StatisticsConfig::new([f64::NAN]),
        StatisticsConfig::new([1.0]).with_groups([]),
        StatisticsConfig::new([1.0]).with_groups([Group::Chull, Group::Chull]),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
}

#[test]
fn reports_read_back_from_json() {
    let report = StatisticsReport {
        rows_without_unit: 2,
        dropped: vec![DroppedUnit {
            unit: "a".into(),
            reason: DropReason::SingleLabel,
        }],
        notes: vec![Note {
            unit: "b".into(),
            radius: 25.0,
            kind: NoteKind::FlatComponents { count: 1 },
        }],
    };
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<StatisticsReport>(&text).unwrap(),
        report
    );
    assert_eq!(
        serde_json::to_string(&Fill::ColumnMean).unwrap(),
        r#""column_mean""#
    );
}

#[test]
fn missing_values_are_filled_only_when_asked_and_only_they() {
    let table = StatisticsTable {
        units: vec!["u".into(), "v".into()],
        values: ndarray::array![[1.0, f64::NAN, f64::NAN], [3.0, 5.0, f64::NAN]],
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        report: StatisticsReport::default(),
    };
    assert_eq!(table.n_missing(), 3);
    let zero = table.clone().fill(Fill::Zero);
    assert_eq!(
        zero.values,
        ndarray::array![[1.0, 0.0, 0.0], [3.0, 5.0, 0.0]]
    );
    let mean = table.clone().fill(Fill::ColumnMean);
    assert_eq!(
        mean.values,
        ndarray::array![[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]]
    );
    assert_eq!(mean.to_features().unwrap().column("b"), Some(1));
}

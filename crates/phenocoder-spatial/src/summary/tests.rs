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

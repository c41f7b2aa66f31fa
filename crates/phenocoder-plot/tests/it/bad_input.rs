//! Input that cannot be drawn.

use phenocoder_core::ShapeError;

use super::*;

fn shape(result: Result<Figure>) -> String {
    match result {
        Err(Error::Shape(error)) => error.to_string(),
        other => panic!("expected an error of shape, found {other:?}"),
    }
}

fn setting(result: Result<Figure>) -> String {
    match result {
        Err(Error::Config(error)) => error.to_string(),
        other => panic!("expected an error of a setting, found {other:?}"),
    }
}

#[test]
fn lengths_that_do_not_match_are_named() {
    let points = cloud(3);
    let two = Categorical::from_labels(["a", "b"]);
    let three = thirds(3);
    let config = ScatterConfig::default();
    let found = shape(scatter(points.view(), ColorBy::Categories(&two), &config));
    assert_eq!(found, "`categories`: expected 3 entries, found 2");
    let found = shape(scatter(
        points.view(),
        ColorBy::Values(&[1.0], "area"),
        &config,
    ));
    assert_eq!(found, "`area`: expected 3 entries, found 1");
    let map = |labels: &[&str], condition, batch| {
        shape(sample_map(
            points.view(),
            labels,
            condition,
            batch,
            &SampleMapConfig::default(),
        ))
    };
    assert!(map(&["a"], &three, &three).contains("labels"));
    assert!(map(&["a", "b", "c"], &two, &three).contains("condition"));
    assert!(map(&["a", "b", "c"], &three, &two).contains("batch"));
    let curve = Curve::new("training", vec![1.0], vec![]);
    assert!(shape(curves(&[curve], &CurvesConfig::default())).contains("training"));
    assert!(shape(bars(&three, Some(&two), &BarsConfig::default())).contains("groups"));
    let matrix = Array2::zeros((1, 2));
    let config = HeatMapConfig::default();
    assert!(
        shape(heat_map(matrix.view(), &["a", "b"], &["a", "b"], &config)).contains("row_names")
    );
    assert!(shape(heat_map(matrix.view(), &["a"], &["a"], &config)).contains("column_names"));
    let of_bars = |rows: &[&str], series: &[&str]| {
        let config = GroupedBarsConfig::default();
        shape(grouped_bars(matrix.view(), rows, series, &config))
    };
    assert!(of_bars(&["a", "b"], &["a", "b"]).contains("row_names"));
    assert!(of_bars(&["a"], &["a"]).contains("series_names"));
    let ranges = Array2::from_elem((1, 2), Interval::new(0.0, 1.0));
    let of_ranges = |rows: &[&str], panels: &[&str]| {
        let config = IntervalsConfig::default();
        shape(intervals(ranges.view(), rows, panels, &config))
    };
    assert!(of_ranges(&[], &["a", "b"]).contains("row_names"));
    assert!(of_ranges(&["a"], &["a"]).contains("panel_names"));
}

#[test]
fn arrays_of_another_shape_are_refused() {
    let points = Array2::zeros((4, 3));
    let refused = scatter(points.view(), ColorBy::None, &ScatterConfig::default());
    assert!(matches!(
        refused,
        Err(Error::Shape(ShapeError::Array { .. }))
    ));
    let (a, b) = (Array4::zeros((2, 4, 4, 1)), Array4::zeros((2, 4, 5, 1)));
    let config = MontageConfig::default();
    assert!(shape(montage(a.view(), b.view(), &["c"], &config)).contains("reconstructions"));
    assert!(shape(montage(a.view(), a.view(), &["c", "d"], &config)).contains("channel_names"));
}

#[test]
fn settings_out_of_range_are_named() {
    let points = cloud(3);
    let draw = |config: ScatterConfig| setting(scatter(points.view(), ColorBy::None, &config));
    let config = ScatterConfig::default;
    assert!(draw(config().with_size(f64::NAN, 100.0)).contains("size"));
    assert!(draw(config().with_size(200.0, 1e9)).contains("size"));
    assert!(draw(config().with_point_radius(0.0)).contains("point_radius"));
    assert!(draw(config().with_opacity(1.5)).contains("opacity"));
    assert!(draw(config().with_limits(2.0, 1.0)).contains("limits"));
    let matrix = Array2::zeros((1, 1));
    let draw = |config| setting(heat_map(matrix.view(), &["a"], &["a"], &config));
    assert!(draw(HeatMapConfig::default().with_center(f64::NAN)).contains("center"));
    assert!(draw(HeatMapConfig::default().with_decimals(40)).contains("decimals"));
    let patches = Array4::zeros((1, 2, 2, 1));
    let draw = |config| setting(montage(patches.view(), patches.view(), &["c"], &config));
    assert!(draw(MontageConfig::default().with_tile(0.0)).contains("tile"));
    assert!(draw(MontageConfig::default().with_max_patches(0)).contains("max_patches"));
    let draw = |config| setting(grouped_bars(matrix.view(), &["a"], &["a"], &config));
    assert!(draw(GroupedBarsConfig::default().with_annotate(40)).contains("annotate"));
    assert!(draw(GroupedBarsConfig::default().with_size(1.0, 1.0)).contains("size"));
    let draw = |config| setting(ranges(&config));
    assert!(draw(IntervalsConfig::default().with_reference(f64::INFINITY)).contains("reference"));
    assert!(draw(IntervalsConfig::default().with_size(1.0, 1.0)).contains("size"));
    let draw = |config| setting(sheet(&config));
    assert!(draw(ContactSheetConfig::default().with_tile(1e9)).contains("tile"));
}

#[test]
fn a_scale_that_gives_no_pixels_or_too_many_is_refused() {
    let figure = bars(&thirds(3), None, &BarsConfig::default()).unwrap();
    for scale in [0.0, -1.0, f64::NAN, 1e-9, 1e9] {
        let refused = figure.to_png(scale);
        assert!(matches!(refused, Err(Error::PixelSize { .. })), "{scale}");
    }
}

#[test]
fn a_misspelt_setting_is_refused_and_missing_ones_take_their_default() {
    let read = serde_json::from_str::<ScatterConfig>;
    assert!(read(r#"{"titel": "a"}"#).is_err());
    let config = read(r#"{"title": "a", "legend": "on_data"}"#).unwrap();
    let expected = ScatterConfig::default()
        .with_title("a")
        .with_legend(LegendPlace::OnData);
    assert_eq!(config, expected);
    let config = ContactSheetConfig::default().with_key(vec![("DNA".to_owned(), Rgb(0, 190, 255))]);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<ContactSheetConfig>(&text).unwrap(),
        config
    );
}

//! Numbers that are not there.

use super::*;

const MISSING: Rgb = Rgb(205, 205, 205);

#[test]
fn points_without_a_coordinate_are_left_out() {
    let config = ScatterConfig::default();
    let with = array![
        [0.0, 0.0],
        [f64::NAN, 1.0],
        [1.0, f64::INFINITY],
        [2.0, 2.0]
    ];
    let without = array![[0.0, 0.0], [2.0, 2.0]];
    assert_eq!(
        scatter(with.view(), ColorBy::None, &config).unwrap().size(),
        scatter(without.view(), ColorBy::None, &config)
            .unwrap()
            .size(),
    );
    let count = |points: &Array2<f64>| {
        let svg = scatter(points.view(), ColorBy::None, &config)
            .unwrap()
            .to_svg()
            .unwrap();
        svg.matches("<circle").count()
    };
    assert_eq!((count(&with), count(&without)), (2, 2));
}

#[test]
fn points_without_a_value_or_a_category_are_grey() {
    let points = array![[0.0, 0.0], [1.0, 1.0]];
    let config = ScatterConfig::default()
        .with_opacity(1.0)
        .with_legend(LegendPlace::Hidden);
    let by_value = scatter(
        points.view(),
        ColorBy::Values(&[1.0, f64::NAN], "v"),
        &config,
    );
    assert!(draw(&by_value.unwrap()).count(MISSING) > 20);
    let kinds = Categorical::from_optional_labels([Some("a"), None]);
    let by_kind = scatter(points.view(), ColorBy::Categories(&kinds), &config);
    assert!(draw(&by_kind.unwrap()).count(MISSING) > 20);
}

#[test]
fn cells_of_a_matrix_without_a_value_are_grey_and_hatched() {
    let values = array![[1.0, f64::NAN], [f64::INFINITY, 0.0]];
    let figure = heat_map(
        values.view(),
        &["a", "b"],
        &["a", "b"],
        &HeatMapConfig::default(),
    );
    let figure = figure.unwrap();
    assert!(draw(&figure).count(MISSING) > 1_000);
    assert_eq!(
        figure.to_svg().unwrap().matches("fill=\"#cdcdcd\"").count(),
        2
    );
}

#[test]
fn a_matrix_without_any_value_is_drawn() {
    let values = Array2::from_elem((2, 2), f64::NAN);
    for config in [HeatMapConfig::default(), HeatMapConfig::diverging()] {
        draw(&heat_map(values.view(), &["a", "b"], &["a", "b"], &config).unwrap());
    }
}

#[test]
fn a_gap_parts_a_curve() {
    let lines = |y: Vec<f64>| {
        let figure = curves(&[Curve::over_epochs("a", y)], &CurvesConfig::default()).unwrap();
        let svg = figure.to_svg().unwrap();
        let color = "stroke=\"#0072b2\"";
        svg.lines()
            .filter(|line| line.contains("<polyline") && line.contains(color))
            .count()
    };
    // One of them is the legend's.
    assert_eq!(lines(vec![4.0, 3.0, 2.0, 1.0, 0.5]), 2);
    assert_eq!(lines(vec![4.0, 3.0, f64::NAN, 1.0, 0.5]), 3);
}

#[test]
fn pixels_that_are_not_finite_stand_out() {
    let mut patch = Array4::zeros((1, 4, 4, 1));
    patch[[0, 1, 1, 0]] = f32::NAN;
    let config = MontageConfig::default().with_tile(40.0);
    let figure = montage(patch.view(), patch.view(), &["DNA"], &config).unwrap();
    assert_eq!(draw(&figure).count(Rgb(213, 94, 0)), 2 * 100);
}

//! Nothing, and next to nothing, to draw.

use super::*;

fn says(figure: &Figure, text: &str) {
    assert!(figure.to_svg().unwrap().contains(text), "expected `{text}`");
    assert!(!figure.to_png(1.0).unwrap().is_empty());
}

#[test]
fn pictures_without_data_say_so() {
    let points = Array2::zeros((0, 2));
    let none = Categorical::from_labels([""; 0]);
    let config = ScatterConfig::default();
    says(
        &scatter(points.view(), ColorBy::None, &config).unwrap(),
        "no points",
    );
    says(
        &scatter(points.view(), ColorBy::Categories(&none), &config).unwrap(),
        "no points",
    );
    says(
        &scatter(points.view(), ColorBy::Values(&[], "v"), &config).unwrap(),
        "no points",
    );
    says(&curves(&[], &CurvesConfig::default()).unwrap(), "no values");
    let empty = Array2::zeros((0, 3));
    let map = heat_map(
        empty.view(),
        &[""; 0],
        &["a", "b", "c"],
        &HeatMapConfig::default(),
    );
    says(&map.unwrap(), "no values");
    let patches = Array4::zeros((0, 8, 8, 1));
    let pictures = montage(
        patches.view(),
        patches.view(),
        &["c"],
        &MontageConfig::default(),
    );
    says(&pictures.unwrap(), "no patches");
    let samples = sample_map(
        points.view(),
        &[""; 0],
        &none,
        &none,
        &SampleMapConfig::default(),
    );
    says(&samples.unwrap(), "no samples");
    says(
        &bars(&none, None, &BarsConfig::default()).unwrap(),
        "no rows",
    );
    let unknown = array![[f64::NAN]];
    let config = GroupedBarsConfig::default();
    says(
        &grouped_bars(unknown.view(), &["a"], &["b"], &config).unwrap(),
        "no values",
    );
    let unknown = array![[Interval::new(f64::NAN, f64::INFINITY)]];
    let config = IntervalsConfig::default();
    says(
        &intervals(unknown.view(), &["a"], &["b"], &config).unwrap(),
        "no values",
    );
}

#[test]
fn one_point_is_drawn_in_the_middle() {
    for style in [AxesStyle::Ticks, AxesStyle::Arrows, AxesStyle::Hidden] {
        let config = ScatterConfig::default().with_axes(style).with_opacity(1.0);
        let points = array![[3.0, -7.0]];
        let pixels = draw(&scatter(points.view(), ColorBy::None, &config).unwrap());
        assert!(pixels.count(category_color(0, 1)) > 20, "{style:?}");
    }
}

#[test]
fn one_value_is_drawn_as_a_dot() {
    let single = [Curve::over_epochs("training", vec![5.0])];
    let pixels = draw(&curves(&single, &CurvesConfig::default()).unwrap());
    // Beside the legend's line of 23 × 2.5 points.
    assert!(pixels.count(category_color(0, 1)) > 60);
}

#[test]
fn a_matrix_of_one_value_is_drawn() {
    for config in [
        HeatMapConfig::default(),
        HeatMapConfig::diverging().with_annotate(true),
    ] {
        let figure = heat_map(array![[0.0]].view(), &["a"], &["a"], &config).unwrap();
        draw(&figure);
    }
}

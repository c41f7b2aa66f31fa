//! What comes out as PNG.

use super::*;

#[test]
fn a_png_has_the_size_of_the_picture_times_the_scale() {
    for (name, figure) in one_of_each() {
        let (width, height) = figure.size();
        for scale in [0.5, 1.0, 2.0] {
            let pixels = decode(&figure.to_png(scale).unwrap());
            let expected = ((width * scale).round(), (height * scale).round());
            assert_eq!(
                (pixels.width as f64, pixels.height as f64),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for ((name, a), (_, b)) in one_of_each().into_iter().zip(one_of_each()) {
        assert_eq!(a.to_png(1.5).unwrap(), b.to_png(1.5).unwrap(), "{name}");
        assert_eq!(a.to_svg().unwrap(), b.to_svg().unwrap(), "{name}");
    }
}

#[test]
fn pictures_are_on_white_and_not_empty() {
    for (name, figure) in one_of_each() {
        let pixels = draw(&figure);
        assert_eq!(pixels.data[..3], [255, 255, 255], "{name}");
        let white = pixels.count(Rgb(255, 255, 255));
        let all = pixels.width * pixels.height;
        assert!(
            white < all - all / 100,
            "{name}: {white} of {all} pixels are white"
        );
    }
}

#[test]
fn categories_are_drawn_in_their_colors() {
    let points = array![[0.0, 0.0], [10.0, 5.0], [5.0, 9.0]];
    let config = ScatterConfig::default()
        .with_legend(LegendPlace::Hidden)
        .with_opacity(1.0)
        .with_point_radius(6.0);
    let kinds = thirds(3);
    let pixels = draw(&scatter(points.view(), ColorBy::Categories(&kinds), &config).unwrap());
    for code in 0..3 {
        let found = pixels.count(category_color(code, 3)) as f64;
        // The rim is blended with the background, so less than the area π 6² is in the pure colour.
        assert!((80.0..=113.2).contains(&found), "category {code}: {found}");
    }
}

#[test]
fn a_unit_is_as_long_on_both_axes() {
    // The corners of a square must be the corners of a square in the picture, however wide it is.
    let points = array![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
    let config = ScatterConfig::default()
        .with_axes(AxesStyle::Hidden)
        .with_size(900.0, 400.0)
        .with_opacity(1.0);
    let pixels = draw(&scatter(points.view(), ColorBy::None, &config).unwrap());
    let color = category_color(0, 1);
    let places = || {
        pixels
            .data
            .chunks_exact(3)
            .enumerate()
            .filter_map(|(i, pixel)| {
                (*pixel == [color.0, color.1, color.2])
                    .then_some((i % pixels.width, i / pixels.width))
            })
    };
    let span = |values: Vec<usize>| values.iter().max().unwrap() - values.iter().min().unwrap();
    let wide = span(places().map(|p| p.0).collect());
    let high = span(places().map(|p| p.1).collect());
    assert!(wide.abs_diff(high) <= 1 && wide > 300, "{wide} × {high}");
}

#[test]
fn a_montage_shows_the_values_as_grey() {
    let inputs = Array4::from_elem((1, 4, 4, 1), 0.2_f32);
    let reconstructions = Array4::from_elem((1, 4, 4, 1), 0.6_f32);
    let config = MontageConfig::default().with_tile(40.0);
    let figure = montage(inputs.view(), reconstructions.view(), &["DNA"], &config).unwrap();
    let pixels = draw(&figure);
    // Edges of letters may have the same grey by accident.
    for grey in [51, 153] {
        let found = pixels.count(Rgb(grey, grey, grey));
        assert!((1_600..1_640).contains(&found), "{grey}: {found}");
    }
}

#[test]
fn the_contrast_of_a_channel_can_be_stretched_over_its_inputs() {
    let inputs = Array4::from_shape_fn((1, 2, 2, 1), |(_, y, _, _)| 0.1 + 0.2 * y as f32);
    let config = MontageConfig::default()
        .with_tile(40.0)
        .with_contrast(Contrast::Channel);
    let figure = montage(inputs.view(), inputs.view(), &["DNA"], &config).unwrap();
    let pixels = draw(&figure);
    assert_eq!(pixels.count(Rgb(0, 0, 0)), 1_600);
}

#[test]
fn curves_on_logarithmic_axes_leave_out_what_is_not_positive() {
    let with_zero = [10.0, 0.0, 100.0, 50.0];
    let with_gap = [10.0, f64::NAN, 100.0, 50.0];
    let rising = vec![1.0, 2.0, 3.0, 4.0];
    let over = |y: [f64; 4]| [Curve::new("a", rising.clone(), y.to_vec())];
    let config = CurvesConfig::default().with_log_y(true);
    assert_eq!(
        curves(&over(with_zero), &config).unwrap(),
        curves(&over(with_gap), &config).unwrap()
    );
    let along = |x: [f64; 4]| [Curve::new("a", x.to_vec(), rising.clone())];
    let config = CurvesConfig::default().with_log_x(true);
    assert_eq!(
        curves(&along(with_zero), &config).unwrap(),
        curves(&along(with_gap), &config).unwrap()
    );
}

#[test]
fn powers_are_lines_on_logarithmic_axes() {
    let at = |x: [f64; 3], log| {
        let config = CurvesConfig::default().with_log_x(log).with_log_y(log);
        let y = x.map(|x| x * x);
        let svg = curves(&[Curve::new("a", x.to_vec(), y.to_vec())], &config);
        svg.unwrap()
    };
    // Even steps of both numbers and of their logarithms take the same places in the frame.
    let even = CurvesConfig::default();
    let line = Curve::new("a", vec![0.0, 1.0, 2.0], vec![0.0, 1.0, 2.0]);
    let (linear, log) = (
        curves(&[line], &even).unwrap(),
        at([1.0, 10.0, 100.0], true),
    );
    let places = |figure: &Figure| {
        let svg = figure.to_svg().unwrap();
        let line = svg
            .lines()
            .find(|line| line.contains("2.2"))
            .map(str::to_owned);
        line.expect("the curve is drawn 2.2 wide")
    };
    let middle = |figure| {
        let line = places(figure);
        let points = line
            .split("points=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let points: Vec<f64> = points
            .split([' ', ','])
            .map(|number| number.parse().unwrap())
            .collect();
        (points[2] - points[0]) / (points[4] - points[0])
    };
    assert!((middle(&linear) - 0.5).abs() < 1e-3);
    assert!((middle(&log) - 0.5).abs() < 1e-3);
}

#[test]
fn bars_are_as_long_as_their_counts() {
    let kinds = Categorical::from_labels(["a", "a", "a", "b"]);
    let pixels = draw(&bars(&kinds, None, &BarsConfig::default()).unwrap());
    let ratio =
        pixels.count(category_color(0, 2)) as f64 / pixels.count(category_color(1, 2)) as f64;
    assert!((2.9..3.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_heading_stands_above_the_whole_picture() {
    let figure = bars(&thirds(9), None, &BarsConfig::default()).unwrap();
    let plain = draw(&figure);
    let headed = draw(&figure.clone().with_title("Nine rows"));
    let room = headed.height - plain.height;
    assert!(room > 20, "{room}");
    // The heading reaches into the picture's margin.
    let (row, margin) = (3 * plain.width, 18);
    let below = headed.data[(room + margin) * row..].iter();
    let same = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 2;
    assert!(below.zip(&plain.data[margin * row..]).all(same));
    let above = &headed.data[..(room + margin) * row];
    assert!(above.iter().any(|&v| v < 100), "the heading");
    assert_eq!(figure.clone().with_title(""), figure);
}

//! Pixels that become files as they are.

use super::*;
use ndarray::Array3;

#[test]
fn pixels_come_back_as_they_are() {
    let pixels = Array3::from_shape_fn((3, 5, 3), |(y, x, c)| (90 * y + 17 * x + 5 * c) as u8);
    let back = decode(&png_rgb8(pixels.view()).unwrap());
    assert_eq!((back.width, back.height), (5, 3));
    assert_eq!(back.data, pixels.iter().copied().collect::<Vec<u8>>());
    // A view with other strides is the picture that it shows.
    let turned = pixels.view().reversed_axes();
    assert_eq!(turned.dim(), (3, 5, 3));
    let back = decode(&png_rgb8(turned).unwrap());
    assert_eq!(back.data[..3], [0, 90, 180]);
}

#[test]
fn grey_pixels_come_back_as_they_are() {
    let pixels = Array2::from_shape_fn((2, 3), |(y, x)| (100 * y + x) as u8);
    let bytes = png_grey8(pixels.view()).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    assert_eq!(info.color_type, png::ColorType::Grayscale);
    assert_eq!(data, [0, 1, 2, 100, 101, 102]);
}

#[test]
fn pixels_of_another_shape_are_refused() {
    let two_channels = Array3::<u8>::zeros((4, 4, 2));
    assert!(matches!(
        png_rgb8(two_channels.view()),
        Err(Error::Shape(_))
    ));
    let empty = Array3::<u8>::zeros((0, 4, 3));
    assert!(matches!(
        png_rgb8(empty.view()),
        Err(Error::PixelSize { .. })
    ));
    let wide = Array2::<u8>::zeros((1, 32_768));
    assert!(matches!(
        png_grey8(wide.view()),
        Err(Error::PixelSize { .. })
    ));
}

#[test]
fn more_than_eight_categories_differ_in_shape_too() {
    let points = cloud(90);
    let draw = |k: usize, radius: f64| {
        let labels = Categorical::from_labels((0..90).map(|i| format!("{:02}", i % k)));
        let config = ScatterConfig::default()
            .with_legend(LegendPlace::Right)
            .with_point_radius(radius);
        let figure = scatter(points.view(), ColorBy::Categories(&labels), &config).unwrap();
        figure.to_svg().unwrap()
    };
    assert!(!draw(8, 4.0).contains("<polygon"));
    let svg = draw(9, 4.0);
    // Codes 1, 2, 3, 5, 6 and 7 of nine are no circles: 10 points each, and their entries of the legend.
    assert_eq!(svg.matches("<polygon").count(), 66);
    assert!(!draw(9, 1.0).contains("<polygon"), "dots have no shape");
    assert!(draw(25, 1.0).contains("<polygon"), "colours come again");
}

#[test]
fn bars_of_more_than_eight_categories_differ_in_pattern_too() {
    let draw_bars = |k: usize| {
        let labels = Categorical::from_labels((0..90).map(|i| format!("{:02}", i % k)));
        bars(&labels, Some(&thirds(90)), &BarsConfig::default()).unwrap()
    };
    // Dots are circles; other patterns are lines, as ticks are.
    assert!(!draw_bars(8).to_svg().unwrap().contains("<circle"));
    let figure = draw_bars(9);
    assert!(figure.to_svg().unwrap().contains("<circle"));
    // Neither the colours of nine categories nor text and axes are black.
    assert!(draw(&figure).count(Rgb(0, 0, 0)) > 50);
}

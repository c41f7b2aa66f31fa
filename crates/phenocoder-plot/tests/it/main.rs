//! Property and behaviour tests of all pictures through the public interface.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod bytes;
mod empty;
mod files;
mod large;
mod missing;
mod pixels;
mod svg;

use ndarray::{Array2, Array3, Array4, array};
use phenocoder_core::{Categorical, Seed};
use phenocoder_plot::*;

/// An image of 8-bit colours.
struct Pixels {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Pixels {
    fn count(&self, color: Rgb) -> usize {
        self.data
            .chunks_exact(3)
            .filter(|pixel| **pixel == [color.0, color.1, color.2])
            .count()
    }
}

fn decode(bytes: &[u8]) -> Pixels {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    Pixels {
        width: info.width as usize,
        height: info.height as usize,
        data,
    }
}

fn draw(figure: &Figure) -> Pixels {
    decode(&figure.to_png(1.0).unwrap())
}

fn cloud(n: usize) -> Array2<f64> {
    let mut stream = Seed::new(1).stream("cloud", 0);
    Array2::from_shape_simple_fn((n, 2), || stream.normal())
}

fn thirds(n: usize) -> Categorical {
    Categorical::from_labels((0..n).map(|i| ["a", "b", "c"][i % 3]))
}

/// A range and an effect in two panels.
fn ranges(config: &IntervalsConfig) -> Result<Figure> {
    let values = array![[
        Interval::new(1.0, 3.0),
        Interval::effect(-2.0).with_marked(true)
    ]];
    intervals(values.view(), &["a"], &["range", "effect"], config)
}

/// Two tiles of three in one row.
fn sheet(config: &ContactSheetConfig) -> Result<Figure> {
    let tile = Some(Array3::from_shape_fn((5, 5, 3), |(y, x, c)| {
        (40 * y + 10 * x + c) as u8
    }));
    let rows = [SheetRow::new("row", vec![tile.clone(), None, tile]).with_note("note")];
    contact_sheet(&rows, &["left", "left", "right"], config)
}

/// One picture of each kind.
fn one_of_each() -> Vec<(&'static str, Figure)> {
    let points = cloud(30);
    let kinds = thirds(30);
    let names: Vec<String> = (0..30).map(|i| format!("s{i}")).collect();
    let values: Vec<f64> = points.column(0).to_vec();
    let patches = Array4::from_shape_fn((3, 6, 4, 2), |(i, y, x, c)| (i + y + x + c) as f32 / 15.0);
    let matrix = array![[1.0, -2.0, 0.5], [0.0, f64::NAN, 3.0]];
    let config = ScatterConfig::default().with_title("scatter");
    let by_kind = scatter(points.view(), ColorBy::Categories(&kinds), &config).unwrap();
    let by_value = scatter(points.view(), ColorBy::Values(&values, "value"), &config).unwrap();
    let losses = [Curve::over_epochs(
        "training",
        vec![3.0, f64::NAN, 2.0, 1.0],
    )];
    vec![
        ("beside", by_kind.clone().beside(by_value.clone())),
        ("categories", by_kind),
        ("values", by_value),
        ("curves", curves(&losses, &CurvesConfig::default()).unwrap()),
        (
            "heat map",
            heat_map(
                matrix.view(),
                &["x", "y"],
                &["u", "v", "w"],
                &HeatMapConfig::diverging().with_annotate(true),
            )
            .unwrap(),
        ),
        (
            "montage",
            montage(
                patches.view(),
                patches.view(),
                &["DNA", "actin"],
                &MontageConfig::default(),
            )
            .unwrap(),
        ),
        (
            "sample map",
            sample_map(
                points.view(),
                &names,
                &kinds,
                &kinds,
                &SampleMapConfig::default(),
            )
            .unwrap(),
        ),
        ("bars", bars(&kinds, None, &BarsConfig::default()).unwrap()),
        (
            "grouped bars",
            grouped_bars(
                matrix.view(),
                &["x", "y"],
                &["u", "v", "w"],
                &GroupedBarsConfig::default().with_annotate(1),
            )
            .unwrap()
            .with_title("grouped bars"),
        ),
        ("intervals", ranges(&IntervalsConfig::default()).unwrap()),
        (
            "contact sheet",
            sheet(&ContactSheetConfig::default()).unwrap(),
        ),
        (
            "stacked bars",
            bars(
                &kinds,
                Some(&kinds),
                &BarsConfig::default().with_fractions(true),
            )
            .unwrap(),
        ),
    ]
}

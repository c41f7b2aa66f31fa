//! A matrix as coloured cells.

use ndarray::ArrayView2;
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::axis::{extent, fixed};
use crate::color::{ColorMap, Rgb};
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, LABEL_SIZE, TICK_SIZE};
use crate::scene::{Anchor, Frame, Item, Scene, Text};
use crate::{Figure, Result};

/// More missing cells than this are grey without hatching.
const MAX_HATCHED: usize = 2_500;

/// Settings of [`heat_map`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HeatMapConfig {
    /// Heading (default none).
    pub title: String,
    /// What the columns are (default none).
    pub x_label: String,
    /// What the rows are (default none).
    pub y_label: String,
    /// What the numbers are: the heading of the colour bar (default none).
    pub value_label: String,
    /// The middle of a diverging scale (default none: from the least to the greatest number). Colours reach equally far
    /// to both sides of it, and [`ColorMap::BlueRed`] is used unless another map is set.
    pub center: Option<f64>,
    /// Colours; `None` (default) is [`ColorMap::Viridis`], or [`ColorMap::BlueRed`] with a `center`.
    pub color_map: Option<ColorMap>,
    /// The numbers at the two ends of the colours; `None` (default) takes the range of the finite numbers.
    pub limits: Option<(f64, f64)>,
    /// Whether each cell shows its number (default false).
    pub annotate: bool,
    /// Decimals of these numbers (default 2).
    pub decimals: usize,
    /// Width and height of the picture in points (default 640 × 560).
    pub size: (f64, f64),
}

impl Default for HeatMapConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            value_label: String::new(),
            center: None,
            color_map: None,
            limits: None,
            annotate: false,
            decimals: 2,
            size: (640.0, 560.0),
        }
    }
}

impl HeatMapConfig {
    /// The settings for numbers around a meaningful middle of zero, such as z-scores or correlations.
    #[must_use]
    pub fn diverging() -> Self {
        Self {
            center: Some(0.0),
            ..Self::default()
        }
    }

    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets what the columns and the rows are.
    #[must_use]
    pub fn with_labels(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        (self.x_label, self.y_label) = (x.into(), y.into());
        self
    }

    /// Sets what the numbers are.
    #[must_use]
    pub fn with_value_label(mut self, label: impl Into<String>) -> Self {
        self.value_label = label.into();
        self
    }

    /// Sets the middle of a diverging scale.
    #[must_use]
    pub fn with_center(mut self, center: f64) -> Self {
        self.center = Some(center);
        self
    }

    /// Sets the colours.
    #[must_use]
    pub fn with_color_map(mut self, map: ColorMap) -> Self {
        self.color_map = Some(map);
        self
    }

    /// Sets the numbers at the two ends of the colours.
    #[must_use]
    pub fn with_limits(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    /// Sets whether each cell shows its number.
    #[must_use]
    pub fn with_annotate(mut self, annotate: bool) -> Self {
        self.annotate = annotate;
        self
    }

    /// Sets the decimals of the numbers in the cells.
    #[must_use]
    pub fn with_decimals(mut self, decimals: usize) -> Self {
        self.decimals = decimals;
        self
    }

    /// Sets the size of the picture.
    #[must_use]
    pub fn with_size(mut self, width: f64, height: f64) -> Self {
        self.size = (width, height);
        self
    }

    /// Checks that every setting can be drawn.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] for a size outside 120…10000, limits that are not finite or do not rise, a middle that is not
    /// finite, or more than 12 decimals.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_size(self.size)?;
        ConfigError::check_limits(self.limits)?;
        if let Some(center) = self.center {
            let range = (f64::MIN, f64::MAX);
            ConfigError::check_range("center", center, range, "a finite number")?;
        }
        let decimals = self.decimals as f64;
        ConfigError::check_range("decimals", decimals, (0.0, 12.0), "at most 12")
    }

    fn map(&self) -> ColorMap {
        self.color_map.unwrap_or(if self.center.is_some() {
            ColorMap::BlueRed
        } else {
            ColorMap::Viridis
        })
    }

    /// The numbers at the two ends of the colours.
    fn range(&self, values: &ArrayView2<'_, f64>) -> (f64, f64) {
        if let Some(limits) = self.limits {
            return limits;
        }
        let (low, high) = extent(values.iter().copied()).unwrap_or((0.0, 1.0));
        match self.center {
            None => (low, high),
            Some(center) => {
                let reach = (high - center).max(center - low).max(0.0);
                (center - reach, center + reach)
            }
        }
    }
}

/// Draws a matrix as coloured squares, the first row on top.
///
/// Cells without a finite number are grey and hatched.
/// A matrix without cells gives a picture that says so.
///
/// # Shapes
///
/// `values`: `[rows, columns]`; `row_names`: `rows`; `column_names`: `columns`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when names and values differ in number,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_plot::{HeatMapConfig, heat_map};
///
/// let enrichment = array![[2.5, -1.0], [-1.0, f64::NAN]];
/// let config = HeatMapConfig::diverging().with_annotate(true);
/// let figure = heat_map(enrichment.view(), &["B", "T"], &["B", "T"], &config)?;
/// assert!(figure.to_svg()?.contains("2.50"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
#[doc(alias = "interaction_matrix")]
#[doc(alias = "heatmap")]
pub fn heat_map<R: AsRef<str>, C: AsRef<str>>(
    values: ArrayView2<'_, f64>,
    row_names: &[R],
    column_names: &[C],
    config: &HeatMapConfig,
) -> Result<Figure> {
    config.validate()?;
    ShapeError::check_len("row_names", values.nrows(), row_names.len())?;
    ShapeError::check_len("column_names", values.ncols(), column_names.len())?;

    let mut scene = Scene::new(config.size, &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    if values.is_empty() {
        layout::note(&mut scene, &area, "no values");
        return Ok(Figure::new(scene));
    }
    let (low, high) = config.range(&values);
    let map = config.map();
    let area = layout::color_bar(&mut scene, &area, map, (low, high), &config.value_label);

    let rows: Vec<&str> = row_names.iter().map(AsRef::as_ref).collect();
    let columns: Vec<&str> = column_names.iter().map(AsRef::as_ref).collect();
    let names = Names::new(&area, &rows, &columns, config);
    let frame = names.frame;
    let t = |v: f64| {
        if high > low {
            (v - low) / (high - low)
        } else {
            0.5
        }
    };
    let color = |v: f64| {
        if v.is_finite() {
            map.color(t(v))
        } else {
            Rgb::MISSING
        }
    };
    scene.push(Item::Grid {
        frame,
        columns: columns.len(),
        rows: rows.len(),
        colors: values.iter().map(|&v| color(v)).collect(),
    });
    let side = names.side;
    let missing: Vec<(usize, usize)> = values
        .indexed_iter()
        .filter(|(_, v)| !v.is_finite())
        .map(|(place, _)| place)
        .collect();
    if missing.len() <= MAX_HATCHED && side >= 4.0 {
        for (row, column) in missing {
            hatch(&mut scene, &names.cell(row, column));
        }
    }
    if config.annotate {
        for ((row, column), &v) in values.indexed_iter() {
            annotate(&mut scene, &names.cell(row, column), v, color(v), config);
        }
    }
    names.draw(&mut scene, &rows, &columns);
    let used = Frame::new(
        area.x,
        area.y,
        area.width,
        (frame.bottom() + names.below + LABEL_SIZE + 10.0).min(area.bottom()) - area.y,
    );
    layout::axis_labels(&mut scene, &used, &frame, &config.x_label, &config.y_label);
    Ok(Figure::new(scene))
}

/// Three strokes from the lower left to the upper right.
fn hatch(scene: &mut Scene, cell: &Frame) {
    let color = Rgb::MISSING.mix(Rgb::AXIS, 0.35);
    for (from, to) in [
        ((0.0, 0.5), (0.5, 0.0)),
        ((0.0, 1.0), (1.0, 0.0)),
        ((0.5, 1.0), (1.0, 0.5)),
    ] {
        let at = |(x, y): (f64, f64)| (cell.x + x * cell.width, cell.y + y * cell.height);
        scene.line(vec![at(from), at(to)], color, 1.0);
    }
}

/// Writes the number where it fits.
fn annotate(scene: &mut Scene, cell: &Frame, value: f64, color: Rgb, config: &HeatMapConfig) {
    if !value.is_finite() {
        return;
    }
    let text = fixed(value, config.decimals);
    let at_one = font::width(&text, 1.0, Weight::Regular);
    let size = (cell.width * 0.84 / at_one)
        .min(cell.height * 0.6)
        .min(LABEL_SIZE);
    if size < 5.0 {
        return;
    }
    let (x, y) = cell.center();
    scene.text(
        Text::new((x, y + size * 0.36), text, size)
            .anchored(Anchor::Middle)
            .colored(color.text_on()),
    );
}

/// Where the cells and their names lie.
struct Names {
    frame: Frame,
    side: f64,
    size: f64,
    slanted: bool,
    left: f64,
    below: f64,
}

impl Names {
    const MAX_WIDTH: f64 = 150.0;

    fn new(area: &Frame, rows: &[&str], columns: &[&str], config: &HeatMapConfig) -> Self {
        let widest = |names: &[&str]| {
            names
                .iter()
                .map(|name| font::width(name, TICK_SIZE, Weight::Regular).min(Self::MAX_WIDTH))
                .fold(0.0, f64::max)
        };
        let (left, across) = (widest(rows) + 10.0, widest(columns));
        let outer_width = (area.width - left - layout::label_room(&config.y_label)).max(1.0);
        let side_across = outer_width / columns.len() as f64;
        let slanted = across + 6.0 > side_across.min(area.height / rows.len() as f64);
        let below = if slanted {
            across * std::f64::consts::FRAC_1_SQRT_2 + TICK_SIZE + 4.0
        } else {
            TICK_SIZE + 10.0
        };
        let outer_height = (area.height - below - layout::label_room(&config.x_label)).max(1.0);
        let side = side_across.min(outer_height / rows.len() as f64);
        let frame = Frame::new(
            area.x + layout::label_room(&config.y_label) + left,
            area.y,
            side * columns.len() as f64,
            side * rows.len() as f64,
        );
        Self {
            frame,
            side,
            size: TICK_SIZE.min(side * 0.9),
            slanted,
            left,
            below,
        }
    }

    fn cell(&self, row: usize, column: usize) -> Frame {
        Frame::new(
            self.frame.x + column as f64 * self.side,
            self.frame.y + row as f64 * self.side,
            self.side,
            self.side,
        )
    }

    /// Writes the names, leaving out some where there are more than can be read.
    fn draw(&self, scene: &mut Scene, rows: &[&str], columns: &[&str]) {
        const LEAST: f64 = 7.0;
        let step = |size: f64, room: f64| (size / room).ceil().max(1.0) as usize;
        let size = self.size.max(LEAST);
        let every = step(size, self.side);
        for (row, name) in rows.iter().enumerate().step_by(every) {
            let (_, y) = self.cell(row, 0).center();
            let name = font::fit_middle(name, size, Weight::Regular, self.left - 8.0);
            scene.text(
                Text::new((self.frame.x - 6.0, y + size * 0.36), name, size).anchored(Anchor::End),
            );
        }
        // Slanted lines of text lie closer together by the root of two.
        let room = if self.slanted {
            self.side * std::f64::consts::FRAC_1_SQRT_2
        } else {
            self.side
        };
        let size = TICK_SIZE.min(room).max(LEAST);
        for (column, name) in columns.iter().enumerate().step_by(step(size, room)) {
            let (x, _) = self.cell(0, column).center();
            let y = self.frame.bottom() + 6.0;
            let name = font::fit_middle(name, size, Weight::Regular, Self::MAX_WIDTH);
            let text = if self.slanted {
                Text::new((x + size * 0.35, y + size * 0.6), name, size)
                    .anchored(Anchor::End)
                    .rotated(-45.0)
            } else {
                Text::new((x, y + size), name, size).anchored(Anchor::Middle)
            };
            scene.text(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// The lines of the heading of the colour bar, each with its right end in a font that is a fifth wider than ours.
    fn heading(label: &str, size: (f64, f64)) -> Vec<(String, f64)> {
        let config = HeatMapConfig::default()
            .with_value_label(label)
            .with_size(size.0, size.1);
        let values = array![[0.0, 1.0]];
        let figure = heat_map(values.view(), &["a"], &["b", "c"], &config).unwrap();
        let svg = figure.to_svg().unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let lines = document
            .descendants()
            .filter(|node| node.attribute("font-weight") == Some("bold"));
        let line = |node: roxmltree::Node<'_, '_>| {
            let number = |name: &str| -> f64 { node.attribute(name).unwrap().parse().unwrap() };
            let text = node.text().unwrap();
            let width = font::width(text, number("font-size"), Weight::Bold);
            (text.to_owned(), number("x") + 1.2 * width)
        };
        lines.map(line).collect()
    }

    #[test]
    fn the_heading_of_the_colors_is_wrapped_and_fits_in_wider_fonts_too() {
        let words = |lines: &[(String, f64)]| -> Vec<String> {
            lines.iter().map(|(text, _)| text.clone()).collect()
        };
        for size in [(640.0, 560.0), (300.0, 200.0)] {
            let lines = heading("share of neighbours", size);
            assert_eq!(words(&lines), ["share of", "neighbours"]);
            let one_word = heading("share_of_neighbours", size);
            assert_eq!(words(&one_word), ["share_of_neighbours"]);
            let long = heading(&"a long heading ".repeat(9), size);
            assert_eq!(long.len(), 3);
            assert!(long[2].0.ends_with('…'), "{long:?}");
            for (text, end) in lines.iter().chain(&one_word).chain(&long) {
                // Places in SVG are rounded to two decimals.
                assert!(*end <= size.0 + 0.01, "{text} ends at {end} of {}", size.0);
            }
        }
        assert!(heading("", (640.0, 560.0)).is_empty());
    }
}

//! Bars of numbers, several beside each other in each row.

use ndarray::ArrayView2;
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, extent, fixed};
use crate::color::{Rgb, category_color};
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, Rows, Sign, TICK_SIZE};
use crate::scatter::category_legend;
use crate::scene::{Frame, Item, Scene, Shape, Text};
use crate::{Figure, Result};

/// Settings of [`grouped_bars`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GroupedBarsConfig {
    /// Heading (default none).
    pub title: String,
    /// What the numbers are (default none).
    pub value_label: String,
    /// Heading of the legend of series (default none).
    pub legend_title: String,
    /// Decimals of the number that each bar ends with; `None` (default) writes no numbers.
    pub annotate: Option<usize>,
    /// Width and height of the picture in points (default 720 × 450).
    pub size: (f64, f64),
}

impl Default for GroupedBarsConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: String::new(),
            legend_title: String::new(),
            annotate: None,
            size: (720.0, 450.0),
        }
    }
}

impl GroupedBarsConfig {
    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets what the numbers are.
    #[must_use]
    pub fn with_value_label(mut self, label: impl Into<String>) -> Self {
        self.value_label = label.into();
        self
    }

    /// Sets the heading of the legend.
    #[must_use]
    pub fn with_legend_title(mut self, title: impl Into<String>) -> Self {
        self.legend_title = title.into();
        self
    }

    /// Ends each bar with its number, of so many decimals.
    #[must_use]
    pub fn with_annotate(mut self, decimals: usize) -> Self {
        self.annotate = Some(decimals);
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
    /// [`ConfigError::Value`] for a size outside 120…10000 or more than 12 decimals.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_size(self.size)?;
        let decimals = self.annotate.unwrap_or(0) as f64;
        ConfigError::check_range("annotate", decimals, (0.0, 12.0), "at most 12 decimals")
    }

    /// The number that a bar ends with.
    fn words(&self, value: f64) -> Option<String> {
        self.annotate.map(|decimals| match value.is_finite() {
            true => fixed(value, decimals),
            false => "–".to_owned(),
        })
    }
}

/// Draws lying bars from 0: a group for each row, and in it one bar for each series, such as a measure before and after.
///
/// Bars of negative numbers reach to the left.
/// Numbers that are not finite have no bar; with [`annotate`](GroupedBarsConfig::annotate) a dash stands in its place.
/// A single series has no legend.
/// Without a finite number, the picture says so.
///
/// # Shapes
///
/// `values`: `[rows, series]`; `row_names`: `rows`; `series_names`: `series`.
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
/// use phenocoder_plot::{GroupedBarsConfig, grouped_bars};
///
/// let measures = array![[0.21, 0.87], [0.95, 0.93]];
/// let config = GroupedBarsConfig::default().with_annotate(2);
/// let figure = grouped_bars(measures.view(), &["iLISI", "cLISI"], &["before", "after"], &config)?;
/// assert!(figure.to_svg()?.contains("0.87"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
#[doc(alias = "barplot")]
pub fn grouped_bars<R: AsRef<str>, S: AsRef<str>>(
    values: ArrayView2<'_, f64>,
    row_names: &[R],
    series_names: &[S],
    config: &GroupedBarsConfig,
) -> Result<Figure> {
    config.validate()?;
    ShapeError::check_len("row_names", values.nrows(), row_names.len())?;
    ShapeError::check_len("series_names", values.ncols(), series_names.len())?;

    let mut scene = Scene::new(config.size, &config.title);
    let mut area = layout::below_title(&mut scene, &config.title);
    if series_names.len() > 1 {
        let names: Vec<String> = series_names.iter().map(|s| s.as_ref().to_owned()).collect();
        let sign = |code| {
            let color = category_color(code, names.len());
            (color, Sign::Marker(Shape::Square))
        };
        let legend = category_legend(&config.legend_title, &names, sign);
        area = layout::legends(&mut scene, &area, &[legend]);
    }
    let Some(reach) = extent(values.iter().copied()) else {
        layout::note(&mut scene, &area, "no values");
        return Ok(Figure::new(scene));
    };
    let names: Vec<&str> = row_names.iter().map(AsRef::as_ref).collect();
    let rows = Rows::new(&area, &names);
    let axis = axis(reach, rows.frame.width, room(&values, config));
    layout::value_ticks(&mut scene, &rows.frame, &axis);
    bars(&mut scene, &rows, &axis, &values, config);
    rows.names(&mut scene, &names);
    let zero = rows.frame.x + axis.position(0.0).unwrap_or(0.0) * rows.frame.width;
    scene.line(
        vec![(zero, rows.frame.y), (zero, rows.frame.bottom())],
        Rgb::AXIS,
        1.0,
    );
    layout::axis_labels(&mut scene, &area, &rows.frame, &config.value_label, "");
    Ok(Figure::new(scene))
}

/// The room that the widest number takes after its bar.
fn room(values: &ArrayView2<'_, f64>, config: &GroupedBarsConfig) -> f64 {
    values
        .iter()
        .filter_map(|&v| config.words(v))
        .map(|text| font::width(&text, TICK_SIZE, Weight::Regular) + 6.0)
        .fold(0.0, f64::max)
}

/// An axis that holds 0 and all numbers, and at the right of its `width` the `room` for a number.
fn axis((low, high): (f64, f64), width: f64, room: f64) -> Axis {
    let (low, high) = (low.min(0.0), high.max(0.0));
    if low == high {
        return Axis::linear(0.0, 1.0);
    }
    let bars = (width - room).max(width / 4.0) / width;
    // The ends are scaled one by one: their distance may exceed the greatest number.
    let stretched = low + (high / bars - low / bars) * 1.02;
    Axis::linear(
        (low * 1.02).max(f64::MIN / 4.0),
        stretched.min(f64::MAX / 4.0),
    )
}

/// Draws the bars of all rows with their numbers.
fn bars(
    scene: &mut Scene,
    rows: &Rows,
    axis: &Axis,
    values: &ArrayView2<'_, f64>,
    config: &GroupedBarsConfig,
) {
    let frame = rows.frame;
    let series = values.ncols();
    let all = rows.thickness(24.0 * series as f64);
    let one = all / series as f64;
    let size = TICK_SIZE.min(one * 1.1);
    for ((row, column), &value) in values.indexed_iter() {
        let top = rows.middle(row) - all / 2.0 + column as f64 * one;
        let known = if value.is_finite() { value } else { 0.0 };
        let (Some(from), Some(to)) = (axis.position(known.min(0.0)), axis.position(known.max(0.0)))
        else {
            continue;
        };
        let (x, end) = (frame.x + from * frame.width, frame.x + to * frame.width);
        if value.is_finite() {
            scene.push(Item::Rect {
                // A gap keeps bars of a row apart.
                frame: Frame::new(x, top, end - x, one * 0.9),
                fill: Some(category_color(column, series)),
                stroke: None,
            });
        }
        if let Some(words) = config.words(value)
            && size >= 5.0
        {
            let at = (end + 4.0, top + one * 0.45 + size * 0.36);
            scene.text(Text::new(at, words, size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Anchor;
    use ndarray::array;

    /// The bars of the scene, as left end and width.
    fn drawn(values: ArrayView2<'_, f64>, config: &GroupedBarsConfig) -> Vec<(f64, f64)> {
        let rows: Vec<String> = (0..values.nrows()).map(|i| i.to_string()).collect();
        let series: Vec<String> = (0..values.ncols()).map(|i| i.to_string()).collect();
        let figure = grouped_bars(values, &rows, &series, config).unwrap();
        let items = figure.scene().items.iter();
        items
            .filter_map(|item| match item {
                Item::Rect { frame, .. } => Some((frame.x, frame.width)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_begin_at_zero() {
        let bars = drawn(
            array![[1.0, 3.0], [f64::NAN, 2.0]].view(),
            &GroupedBarsConfig::default(),
        );
        assert_eq!(bars.len(), 3, "what is no number has no bar");
        assert!((bars[1].1 / bars[0].1 - 3.0).abs() < 1e-9);
        assert!((bars[2].1 / bars[0].1 - 2.0).abs() < 1e-9);
        assert!(bars.iter().all(|bar| (bar.0 - bars[0].0).abs() < 1e-9));
    }

    #[test]
    fn negative_numbers_reach_to_the_left_of_zero() {
        let bars = drawn(array![[-2.0], [1.0]].view(), &GroupedBarsConfig::default());
        assert!((bars[0].0 + bars[0].1 - bars[1].0).abs() < 1e-9);
        assert!((bars[0].1 / bars[1].1 - 2.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_fit_behind_their_bars() {
        let config = GroupedBarsConfig::default().with_annotate(0);
        let values = array![[1_234_567.0], [5.0]];
        let figure = grouped_bars(values.view(), &["a", "b"], &["n"], &config).unwrap();
        for item in &figure.scene().items {
            if let Item::Text(text) = item
                && text.anchor == Anchor::Start
            {
                let end = text.at.0 + font::width(&text.text, text.size, Weight::Regular);
                assert!(end <= config.size.0, "{}", text.text);
            }
        }
    }

    #[test]
    fn zeros_and_the_most_extreme_numbers_can_be_drawn() {
        for values in [
            array![[0.0]],
            array![[f64::MAX], [f64::MIN]],
            array![[f64::MIN_POSITIVE]],
        ] {
            let names = vec!["a"; values.nrows()];
            let config = GroupedBarsConfig::default();
            let figure = grouped_bars(values.view(), &names, &["n"], &config).unwrap();
            assert!(!figure.to_png(1.0).unwrap().is_empty());
        }
    }
}

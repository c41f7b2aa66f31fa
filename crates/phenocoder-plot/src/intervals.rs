//! From where to where something reaches, row by row and in panels.

use ndarray::ArrayView2;
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, extent};
use crate::color::{Rgb, category_color};
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, Entry, LABEL_SIZE, Legend, Rows, Sign};
use crate::scene::{Frame, Item, Scene, Shape, Text};
use crate::{Error, Figure, Result};

/// A range, with a value in or beside it where there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// Where it begins; it is not drawn where this or `high` is not finite.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// A value that is drawn as a dot (default none).
    pub point: Option<f64>,
    /// Whether it is drawn in the second colour (default false).
    pub marked: bool,
}

impl Interval {
    /// An interval without a dot.
    #[must_use]
    pub fn new(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            point: None,
            marked: false,
        }
    }

    /// From zero to a value, which is a dot: an effect.
    ///
    /// ```
    /// use phenocoder_plot::Interval;
    ///
    /// assert_eq!(Interval::effect(-2.0), Interval::new(-2.0, 0.0).with_point(-2.0));
    /// ```
    #[must_use]
    pub fn effect(value: f64) -> Self {
        match value.is_nan() {
            true => Self::new(value, value),
            false => Self::new(value.min(0.0), value.max(0.0)).with_point(value),
        }
    }

    /// Sets the value of the dot.
    #[must_use]
    pub fn with_point(mut self, value: f64) -> Self {
        self.point = Some(value);
        self
    }

    /// Sets whether it is drawn in the second colour.
    #[must_use]
    pub fn with_marked(mut self, marked: bool) -> Self {
        self.marked = marked;
        self
    }

    fn is_drawn(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// All numbers that the axis must hold.
    fn values(&self) -> impl Iterator<Item = f64> {
        let ends = [self.low, self.high].map(|end| if self.is_drawn() { end } else { f64::NAN });
        ends.into_iter().chain(self.point)
    }
}

/// Settings of [`intervals`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct IntervalsConfig {
    /// Heading (default none).
    pub title: String,
    /// What the numbers are (default none).
    pub value_label: String,
    /// A number that every axis holds, with a line through all rows (default none): no effect, or no light.
    pub reference: Option<f64>,
    /// What the two colours mean, that of [`Interval::marked`] second; `None` (default) draws no legend.
    pub legend: Option<(String, String)>,
    /// Width and height of the picture in points (default 720 × 450).
    pub size: (f64, f64),
}

impl Default for IntervalsConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: String::new(),
            reference: None,
            legend: None,
            size: (720.0, 450.0),
        }
    }
}

impl IntervalsConfig {
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

    /// Sets the number that every axis holds.
    #[must_use]
    pub fn with_reference(mut self, value: f64) -> Self {
        self.reference = Some(value);
        self
    }

    /// Sets what the two colours mean.
    #[must_use]
    pub fn with_legend(mut self, plain: impl Into<String>, marked: impl Into<String>) -> Self {
        self.legend = Some((plain.into(), marked.into()));
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
    /// [`ConfigError::Value`] for a size outside 120…10000 or a reference that is not finite.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_size(self.size)?;
        let reference = self.reference.unwrap_or(0.0);
        let range = (f64::MIN, f64::MAX);
        ConfigError::check_range("reference", reference, range, "a finite number")
    }
}

/// Draws ranges as lying bars and values as dots: named rows, and for each column a panel with an axis of its own.
///
/// A row of a panel stays empty where nothing of it is finite.
/// Marked intervals differ in colour, and their dots in shape.
/// Without anything to draw, the picture says so.
///
/// # Shapes
///
/// `values`: `[rows, panels]`; `row_names`: `rows`; `panel_names`: `panels`, empty ones for no heading.
///
/// # Errors
///
/// [`Error::Shape`] when names and values differ in number, [`Error::Interval`] for one that ends before it begins,
/// [`Error::Config`] when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_plot::{Interval, IntervalsConfig, intervals};
///
/// let ranges = array![[Interval::new(90.0, 4_100.0)], [Interval::new(110.0, 3_800.0)]];
/// let config = IntervalsConfig::default().with_reference(0.0);
/// let figure = intervals(ranges.view(), &["s1", "s2"], &["DNA"], &config)?;
/// assert!(figure.to_svg()?.contains("DNA"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
#[doc(alias = "forest_plot")]
pub fn intervals<R: AsRef<str>, P: AsRef<str>>(
    values: ArrayView2<'_, Interval>,
    row_names: &[R],
    panel_names: &[P],
    config: &IntervalsConfig,
) -> Result<Figure> {
    config.validate()?;
    ShapeError::check_len("row_names", values.nrows(), row_names.len())?;
    ShapeError::check_len("panel_names", values.ncols(), panel_names.len())?;
    for ((row, panel), interval) in values.indexed_iter() {
        if interval.is_drawn() && interval.low > interval.high {
            return Err(Error::Interval {
                row: row_names[row].as_ref().to_owned(),
                panel: panel_names[panel].as_ref().to_owned(),
                low: interval.low,
                high: interval.high,
            });
        }
    }
    let mut scene = Scene::new(config.size, &config.title);
    let mut area = layout::below_title(&mut scene, &config.title);
    if let Some(names) = &config.legend {
        area = layout::legends(&mut scene, &area, &[legend(names)]);
    }
    if extent(values.iter().flat_map(Interval::values)).is_none() {
        layout::note(&mut scene, &area, "no values");
        return Ok(Figure::new(scene));
    }
    let headed = panel_names.iter().any(|name| !name.as_ref().is_empty());
    let head = if headed { LABEL_SIZE + 8.0 } else { 0.0 };
    let below = Frame::new(
        area.x,
        area.y + head,
        area.width,
        (area.height - head).max(1.0),
    );
    let names: Vec<&str> = row_names.iter().map(AsRef::as_ref).collect();
    let rows = Rows::new(&below, &names);
    for (i, name) in panel_names.iter().enumerate() {
        let panel = panel(&rows.frame, i, panel_names.len());
        let name = font::fit(name.as_ref(), LABEL_SIZE, Weight::Bold, panel.width);
        let at = (panel.x, area.y + LABEL_SIZE * 0.8);
        scene.text(Text::new(at, name, LABEL_SIZE).bold());
        let of_panel: Vec<Interval> = values.column(i).to_vec();
        draw(&mut scene, &rows, &panel, &of_panel, config);
    }
    rows.names(&mut scene, &names);
    layout::axis_labels(&mut scene, &area, &rows.frame, &config.value_label, "");
    Ok(Figure::new(scene))
}

/// The `i`-th of `n` panels beside each other.
fn panel(frame: &Frame, i: usize, n: usize) -> Frame {
    const GAP: f64 = 24.0;
    let gap = GAP.min(frame.width / (2.0 * n as f64));
    let width = (frame.width - gap * (n - 1) as f64) / n as f64;
    let x = frame.x + i as f64 * (width + gap);
    Frame::new(x, frame.y, width, frame.height)
}

fn legend((plain, marked): &(String, String)) -> Legend {
    let entry = |label: &String, marked| {
        let (color, shape) = look(marked);
        Entry {
            label: label.clone(),
            color,
            sign: Sign::Marker(shape),
        }
    };
    Legend {
        title: String::new(),
        entries: vec![entry(plain, false), entry(marked, true)],
    }
}

/// Colour and shape of plain and of marked intervals.
fn look(marked: bool) -> (Rgb, Shape) {
    match marked {
        false => (category_color(0, 2), Shape::Circle),
        true => (category_color(4, 8), Shape::Diamond),
    }
}

/// Draws one panel.
fn draw(
    scene: &mut Scene,
    rows: &Rows,
    panel: &Frame,
    values: &[Interval],
    config: &IntervalsConfig,
) {
    let known = values.iter().flat_map(Interval::values);
    let axis = Axis::around(extent(known.chain(config.reference)), 0.04);
    layout::value_ticks(scene, panel, &axis);
    let x = |value: f64| {
        let t = axis.position(value).filter(|_| value.is_finite())?;
        Some(panel.x + t * panel.width)
    };
    if let Some(x) = config.reference.and_then(x) {
        scene.line(vec![(x, panel.y), (x, panel.bottom())], Rgb::AXIS, 1.0);
    }
    for (row, interval) in values.iter().enumerate() {
        let y = rows.middle(row);
        let (color, shape) = look(interval.marked);
        if let (Some(from), Some(to)) = (x(interval.low), x(interval.high)) {
            let thickness = match interval.point {
                Some(_) => rows.thickness(2.5),
                None => rows.thickness(12.0),
            };
            // An interval without extent is seen, too.
            let width = (to - from).max(1.5);
            scene.push(Item::Rect {
                frame: Frame::new(from, y - thickness / 2.0, width, thickness),
                fill: Some(color),
                stroke: None,
            });
        }
        if let Some(x) = interval.point.and_then(x) {
            scene.marker((x, y), shape, color, rows.thickness(9.0) / 2.0);
        }
    }
    // Names of rows end at the first panel.
    scene.line(
        vec![(panel.x, panel.bottom()), (panel.right(), panel.bottom())],
        Rgb::AXIS,
        1.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    /// The bars of the scene.
    fn bars(figure: &Figure) -> Vec<Frame> {
        let items = figure.scene().items.iter();
        items
            .filter_map(|item| match item {
                Item::Rect { frame, .. } => Some(*frame),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn ranges_are_as_long_as_they_reach_each_panel_on_its_own_axis() {
        let values = array![
            [Interval::new(0.0, 10.0), Interval::new(0.0, 0.1)],
            [Interval::new(0.0, 5.0), Interval::new(f64::NAN, 1.0)],
        ];
        let config = IntervalsConfig::default();
        let figure = intervals(values.view(), &["a", "b"], &["x", "y"], &config).unwrap();
        let bars = bars(&figure);
        assert_eq!(bars.len(), 3, "what is not known has no bar");
        assert!((bars[0].width / bars[1].width - 2.0).abs() < 1e-9);
        assert!((bars[0].width - bars[2].width).abs() < 1e-9);
        assert!(bars[0].right() < bars[2].x);
    }

    #[test]
    fn an_effect_reaches_from_zero_to_its_dot() {
        let values = array![
            [Interval::effect(-1.0).with_marked(true)],
            [Interval::effect(2.0)],
            [Interval::effect(f64::NAN)],
        ];
        let config = IntervalsConfig::default()
            .with_reference(0.0)
            .with_legend("not found", "found");
        let figure = intervals(values.view(), &["a", "b", "c"], &[""], &config).unwrap();
        let bars = bars(&figure);
        assert_eq!(bars.len(), 2);
        assert!((bars[0].right() - bars[1].x).abs() < 1e-9);
        let dots: Vec<(f64, Shape)> = figure
            .scene()
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Markers(group) => Some((group.markers[0].at.0, group.markers[0].shape)),
                _ => None,
            })
            .collect();
        // Two of them are the legend's.
        assert_eq!(dots.len(), 4);
        assert!((dots[2].0 - bars[0].x).abs() < 1e-9 && dots[2].1 == Shape::Diamond);
        assert!((dots[3].0 - bars[1].right()).abs() < 1e-9 && dots[3].1 == Shape::Circle);
    }

    #[test]
    fn an_interval_that_ends_before_it_begins_is_refused_by_name() {
        let values = array![[Interval::new(2.0, 1.0)]];
        let config = IntervalsConfig::default();
        let refused = intervals(values.view(), &["s1"], &["DNA"], &config).unwrap_err();
        assert!(matches!(refused, Error::Interval { .. }));
        let message = refused.to_string();
        assert!(
            message.contains("s1") && message.contains("DNA"),
            "{message}"
        );
    }

    #[test]
    fn many_rows_and_panels_stay_within_the_picture() {
        let values = Array2::from_elem((300, 40), Interval::new(-1.0, 3.0));
        let (rows, panels) = (vec!["row"; 300], vec!["panel"; 40]);
        let config = IntervalsConfig::default();
        let figure = intervals(values.view(), &rows, &panels, &config).unwrap();
        for bar in bars(&figure) {
            assert!(bar.x >= 0.0 && bar.right() <= config.size.0);
            assert!(bar.y >= 0.0 && bar.bottom() <= config.size.1);
        }
    }
}

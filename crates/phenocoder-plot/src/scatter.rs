//! Points coloured by a category or by a number.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, extent};
use crate::color::{ColorMap, Rgb, category_color};
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, AxisStyle, Entry, LABEL_SIZE, Legend, Sign};
use crate::mark::Mark;
use crate::scene::{Anchor, Frame, Item, Marker, Markers, Point, Scene, Shape, Text};
use crate::{Figure, Result};

/// What the colour of a point tells.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ColorBy<'a> {
    /// Nothing: all points are alike.
    None,
    /// The category of each point; points without one are grey and lie below the others.
    Categories(&'a Categorical),
    /// A number for each point and what it is called; points without one (NaN, infinite) are grey and lie below the others.
    Values(&'a [f64], &'a str),
}

/// Where the names of the categories stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LegendPlace {
    /// At the right; with more than 8 categories their short names also stand on the points, as far as there is room,
    /// because so many colours are hard to tell apart.
    Auto,
    /// At the right.
    Right,
    /// On the points, at the median of each category.
    OnData,
    /// Nowhere.
    Hidden,
}

/// How the axes look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AxesStyle {
    /// Lines with numbers.
    Ticks,
    /// Two short arrows without numbers, for embeddings.
    Arrows,
    /// Nothing.
    Hidden,
}

/// Settings of [`scatter`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ScatterConfig {
    /// Heading (default none).
    pub title: String,
    /// Name of the first coordinate (default none).
    pub x_label: String,
    /// Name of the second coordinate (default none).
    pub y_label: String,
    /// Heading of the legend of categories (default none).
    pub legend_title: String,
    /// Width and height of the picture in points (default 720 × 540).
    pub size: (f64, f64),
    /// Radius of a point in points of the picture; `None` (default) chooses it by the number of points.
    pub point_radius: Option<f64>,
    /// Opacity of a point from 0 to 1; `None` (default) chooses it by the number of points.
    pub opacity: Option<f64>,
    /// Whether a unit is as long on both axes (default true, right for embeddings and positions).
    pub equal_aspect: bool,
    /// Whether the second coordinate grows downwards, as in images (default false).
    pub y_down: bool,
    /// How the axes look (default [`AxesStyle::Ticks`]).
    pub axes: AxesStyle,
    /// Where the names of the categories stand (default [`LegendPlace::Auto`]).
    pub legend: LegendPlace,
    /// Colours of numbers (default [`ColorMap::Viridis`]).
    pub color_map: ColorMap,
    /// The numbers at the two ends of the colours; `None` (default) takes the 1st and the 99th percentile, so that a few
    /// outliers do not use up the colours.
    pub limits: Option<(f64, f64)>,
}

impl Default for ScatterConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            legend_title: String::new(),
            size: (720.0, 540.0),
            point_radius: None,
            opacity: None,
            equal_aspect: true,
            y_down: false,
            axes: AxesStyle::Ticks,
            legend: LegendPlace::Auto,
            color_map: ColorMap::Viridis,
            limits: None,
        }
    }
}

impl ScatterConfig {
    /// The settings for an embedding called `name`: arrows named `name 1` and `name 2` instead of axes with numbers.
    #[must_use]
    pub fn embedding(name: &str) -> Self {
        Self {
            x_label: format!("{name} 1"),
            y_label: format!("{name} 2"),
            axes: AxesStyle::Arrows,
            ..Self::default()
        }
    }

    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the names of both coordinates.
    #[must_use]
    pub fn with_labels(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        (self.x_label, self.y_label) = (x.into(), y.into());
        self
    }

    /// Sets the heading of the legend.
    #[must_use]
    pub fn with_legend_title(mut self, title: impl Into<String>) -> Self {
        self.legend_title = title.into();
        self
    }

    /// Sets the size of the picture.
    #[must_use]
    pub fn with_size(mut self, width: f64, height: f64) -> Self {
        self.size = (width, height);
        self
    }

    /// Sets the radius of the points.
    #[must_use]
    pub fn with_point_radius(mut self, radius: f64) -> Self {
        self.point_radius = Some(radius);
        self
    }

    /// Sets the opacity of the points.
    #[must_use]
    pub fn with_opacity(mut self, opacity: f64) -> Self {
        self.opacity = Some(opacity);
        self
    }

    /// Sets how the axes look.
    #[must_use]
    pub fn with_axes(mut self, axes: AxesStyle) -> Self {
        self.axes = axes;
        self
    }

    /// Sets whether a unit is as long on both axes.
    #[must_use]
    pub fn with_equal_aspect(mut self, equal: bool) -> Self {
        self.equal_aspect = equal;
        self
    }

    /// Sets whether the second coordinate grows downwards.
    #[must_use]
    pub fn with_y_down(mut self, down: bool) -> Self {
        self.y_down = down;
        self
    }

    /// Sets where the names of the categories stand.
    #[must_use]
    pub fn with_legend(mut self, legend: LegendPlace) -> Self {
        self.legend = legend;
        self
    }

    /// Sets the colours of numbers.
    #[must_use]
    pub fn with_color_map(mut self, map: ColorMap) -> Self {
        self.color_map = map;
        self
    }

    /// Sets the numbers at the two ends of the colours.
    #[must_use]
    pub fn with_limits(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    /// Checks that every setting can be drawn.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] for a size outside 120…10000, a radius outside 0.05…100, an opacity outside 0…1, or limits
    /// that are not finite or do not rise.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_size(self.size)?;
        if let Some(radius) = self.point_radius {
            let expected = "a radius from 0.05 to 100";
            ConfigError::check_range("point_radius", radius, (0.05, 100.0), expected)?;
        }
        if let Some(opacity) = self.opacity {
            let expected = "an opacity from 0 to 1";
            ConfigError::check_range("opacity", opacity, (0.0, 1.0), expected)?;
        }
        ConfigError::check_limits(self.limits)
    }
}

/// Draws points in the plane, coloured by a category or a number.
///
/// Points with a coordinate that is not finite are left out.
/// More than 8 categories also differ in shape ([`Mark`]), up to 24 of them where points are large enough to show it, for so
/// many colours alone are hard to tell apart; short names help too ([`LegendPlace::Auto`]).
/// Points are drawn in a random but fixed order, so that no category covers another only because it comes later.
/// Without points, the picture says so.
///
/// # Shapes
///
/// `points`: `[n, 2]` as `(x, y)`; the colours: `n`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when `points` has not two columns or the colours differ in number,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_plot::{ColorBy, ScatterConfig, scatter};
///
/// let umap = array![[0.0, 0.0], [0.1, 0.2], [5.0, 5.0]];
/// let clusters = Categorical::from_labels(["0", "0", "1"]);
/// let config = ScatterConfig::embedding("UMAP").with_title("Cells");
/// let figure = scatter(umap.view(), ColorBy::Categories(&clusters), &config)?;
/// assert!(figure.to_svg()?.contains("UMAP 1"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
#[doc(alias = "umap")]
#[doc(alias = "embedding")]
pub fn scatter(
    points: ArrayView2<'_, f64>,
    color: ColorBy<'_>,
    config: &ScatterConfig,
) -> Result<Figure> {
    config.validate()?;
    check_points(&points)?;
    match color {
        ColorBy::None => {}
        ColorBy::Categories(c) => ShapeError::check_len("categories", points.nrows(), c.len())?,
        ColorBy::Values(v, name) => ShapeError::check_len(name, points.nrows(), v.len())?,
    }

    let mut scene = Scene::new(config.size, &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    let shown: Vec<usize> = (0..points.nrows())
        .filter(|&row| points.row(row).iter().all(|v| v.is_finite()))
        .collect();
    let n = shown.len() as f64;
    let radius = config
        .point_radius
        .unwrap_or_else(|| (4.2 * (200.0 / n).powf(0.27)).clamp(0.6, 4.2));
    let (area, colors) = key(&mut scene, &area, color, radius, config);
    let places = Places::new(&mut scene, &area, &points, config, 0.04);
    if shown.is_empty() {
        layout::note(&mut scene, &places.frame, "no points");
        return Ok(Figure::new(scene));
    }
    let opacity = config
        .opacity
        .unwrap_or_else(|| (0.9 * (2_000.0 / n).powf(0.12)).clamp(0.45, 0.9));
    let color_of = |row: usize| match color {
        ColorBy::None => Some(category_color(0, 1)),
        _ => colors[row],
    };
    let shape_of = |row: usize| match color {
        ColorBy::Categories(categories) => categories.code(row).map_or(Shape::Circle, |code| {
            let n = categories.categories().len();
            Mark::of(code, n).point(n, radius)
        }),
        _ => Shape::Circle,
    };
    let order = draw_order(&shown, |row| color_of(row).is_some());
    scene.push(Item::Markers(Markers {
        markers: order
            .into_iter()
            .map(|row| Marker {
                at: places.at(points[[row, 0]], points[[row, 1]]),
                shape: shape_of(row),
                color: color_of(row).unwrap_or(Rgb::MISSING),
            })
            .collect(),
        radius,
        alpha: opacity,
        outline: 0.0,
    }));
    if config.axes == AxesStyle::Arrows {
        layout::arrows(&mut scene, &places.frame, &config.x_label, &config.y_label);
    }
    if let ColorBy::Categories(categories) = color {
        let many = categories.categories().len() > 8;
        if config.legend == LegendPlace::OnData || (config.legend == LegendPlace::Auto && many) {
            let all = config.legend == LegendPlace::OnData;
            name_categories(&mut scene, &places, &points, &shown, categories, all);
        }
    }
    Ok(Figure::new(scene))
}

/// Checks that points lie in the plane.
pub(crate) fn check_points(points: &ArrayView2<'_, f64>) -> Result<(), ShapeError> {
    if points.ncols() == 2 {
        return Ok(());
    }
    Err(ShapeError::Array {
        what: "points".to_owned(),
        expected: "[n, 2]".to_owned(),
        found: points.shape().to_vec(),
    })
}

/// Draws legend or colour bar and returns what is left of `area`, with the colour of each row.
fn key(
    scene: &mut Scene,
    area: &Frame,
    color: ColorBy<'_>,
    radius: f64,
    config: &ScatterConfig,
) -> (Frame, Vec<Option<Rgb>>) {
    match color {
        ColorBy::None => (*area, Vec::new()),
        ColorBy::Categories(categories) => {
            let n = categories.categories().len();
            let colors: Vec<Option<Rgb>> = (0..categories.len())
                .map(|row| categories.code(row).map(|code| Mark::of(code, n).color))
                .collect();
            if !matches!(config.legend, LegendPlace::Auto | LegendPlace::Right) {
                return (*area, colors);
            }
            let sign = |code| {
                let mark = Mark::of(code, n);
                (mark.color, Sign::Marker(mark.point(n, radius)))
            };
            let mut legend = category_legend(&config.legend_title, categories.categories(), sign);
            if colors.contains(&None) {
                legend.entries.push(Entry {
                    label: "none".to_owned(),
                    color: Rgb::MISSING,
                    sign: Sign::Marker(Shape::Circle),
                });
            }
            (layout::legends(scene, area, &[legend]), colors)
        }
        ColorBy::Values(values, name) => {
            let (low, high) = config.limits.unwrap_or_else(|| percentiles(values));
            let t = |v: f64| {
                if high > low {
                    (v - low) / (high - low)
                } else {
                    0.5
                }
            };
            let colors = values
                .iter()
                .map(|&v| v.is_finite().then(|| config.color_map.color(t(v))))
                .collect();
            let left = layout::color_bar(scene, area, config.color_map, (low, high), name);
            (left, colors)
        }
    }
}

/// A legend of categories, each with its colour and its sign.
pub(crate) fn category_legend(
    title: &str,
    categories: &[String],
    sign: impl Fn(usize) -> (Rgb, Sign),
) -> Legend {
    Legend {
        title: title.to_owned(),
        entries: categories
            .iter()
            .enumerate()
            .map(|(code, label)| {
                let (color, sign) = sign(code);
                let label = label.clone();
                Entry { label, color, sign }
            })
            .collect(),
    }
}

/// The 1st and the 99th percentile of the finite values; 0 and 1 without any.
fn percentiles(values: &[f64]) -> (f64, f64) {
    let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if finite.is_empty() {
        return (0.0, 1.0);
    }
    finite.sort_unstable_by(f64::total_cmp);
    let at = |p: f64| finite[((finite.len() - 1) as f64 * p).round() as usize];
    let (low, high) = (at(0.01), at(0.99));
    if high > low {
        (low, high)
    } else {
        (at(0.0), at(1.0))
    }
}

/// The rows in a fixed random order, those without a colour first.
fn draw_order(rows: &[usize], colored: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut order = rows.to_vec();
    Seed::new(0).stream("draw order", 0).shuffle(&mut order);
    order.sort_by_key(|&row| colored(row));
    order
}

/// Where coordinates lie in the picture.
pub(crate) struct Places {
    pub(crate) frame: Frame,
    x: Axis,
    y: Axis,
}

impl Places {
    /// Fits both axes to the points and draws them.
    pub(crate) fn new(
        scene: &mut Scene,
        area: &Frame,
        points: &ArrayView2<'_, f64>,
        config: &ScatterConfig,
        margin: f64,
    ) -> Self {
        let range = |column: usize| {
            let rows = points.outer_iter();
            extent(
                rows.filter(|row| row.iter().all(|v| v.is_finite()))
                    .map(|row| row[column]),
            )
        };
        let (x, mut y) = (
            Axis::around(range(0), margin),
            Axis::around(range(1), margin),
        );
        y.flipped = config.y_down;
        let mut places = Self { frame: *area, x, y };
        // The room that the axes need depends on their numbers, and these on the room.
        for _ in 0..2 {
            if config.axes == AxesStyle::Ticks {
                let (x, y) = places.styles(config);
                places.frame = layout::axes_frame(area, &x, &y);
            }
            if config.equal_aspect {
                (places.x, places.y) = equalize(x, y, &places.frame);
            }
        }
        if config.axes == AxesStyle::Ticks {
            let (x, y) = places.styles(config);
            layout::axes(scene, area, &places.frame, &x, &y);
        }
        places
    }

    fn styles<'c>(&self, config: &'c ScatterConfig) -> (AxisStyle<'c>, AxisStyle<'c>) {
        let style = |axis, label| AxisStyle {
            axis,
            label,
            grid: false,
        };
        (
            style(self.x, &*config.x_label),
            style(self.y, &*config.y_label),
        )
    }

    pub(crate) fn at(&self, x: f64, y: f64) -> Point {
        let t = |axis: &Axis, v: f64| axis.position(v).unwrap_or(0.5);
        (
            self.frame.x + t(&self.x, x) * self.frame.width,
            self.frame.bottom() - t(&self.y, y) * self.frame.height,
        )
    }
}

/// Both axes, the one with room to spare made longer so that a unit is as long on both.
fn equalize(mut x: Axis, mut y: Axis, frame: &Frame) -> (Axis, Axis) {
    let unit = ((x.max - x.min) / frame.width).max((y.max - y.min) / frame.height);
    for (axis, length) in [(&mut x, frame.width), (&mut y, frame.height)] {
        let middle = axis.min / 2.0 + axis.max / 2.0;
        let half = unit * length / 2.0;
        (axis.min, axis.max) = (middle - half, middle + half);
    }
    (x, y)
}

/// Writes the name of each category at the median of its points; unless `all` are asked for, those that are short and
/// cover no name before them.
fn name_categories(
    scene: &mut Scene,
    places: &Places,
    points: &ArrayView2<'_, f64>,
    shown: &[usize],
    categories: &Categorical,
    all: bool,
) {
    const SHORT: f64 = 70.0;
    let mut taken: Vec<Frame> = Vec::new();
    let median = |rows: &[usize], column: usize| {
        let mut values: Vec<f64> = rows.iter().map(|&row| points[[row, column]]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for (code, label) in categories.categories().iter().enumerate() {
        let rows: Vec<usize> = shown
            .iter()
            .copied()
            .filter(|&row| categories.code(row) == Some(code))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let (x, y) = places.at(median(&rows, 0), median(&rows, 1));
        let label = font::fit_middle(label, LABEL_SIZE, Weight::Bold, 140.0);
        let width = font::width(&label, LABEL_SIZE, Weight::Bold);
        let covered = Frame::new(x - width / 2.0, y - LABEL_SIZE / 2.0, width, LABEL_SIZE);
        let free = taken.iter().all(|other| other.overlap(&covered) <= 0.0);
        if !all && (width > SHORT || !free) {
            continue;
        }
        taken.push(covered);
        scene.text(
            Text::new((x, y + LABEL_SIZE * 0.36), label, LABEL_SIZE)
                .bold()
                .anchored(Anchor::Middle)
                .with_halo(2.2),
        );
    }
}

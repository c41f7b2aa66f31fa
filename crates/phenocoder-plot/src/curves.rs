//! Curves over a common axis, such as losses over epochs.

use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, extent};
use crate::color::{Rgb, category_color};
use crate::error::ConfigError;
use crate::layout::{self, AxisStyle, Entry, Legend, Sign, TICK_SIZE};
use crate::scene::{Anchor, Item, Point, Scene, Shape, Text};
use crate::{Figure, Result};

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The name in the legend.
    pub name: String,
    /// Where the values were taken, such as the epoch.
    pub x: Vec<f64>,
    /// The values; NaN leaves a gap.
    pub y: Vec<f64>,
}

impl Curve {
    /// A curve through `(x, y)`.
    pub fn new(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            x,
            y,
        }
    }

    /// A curve over 1, 2, 3, …, as of epochs.
    pub fn over_epochs(name: impl Into<String>, y: Vec<f64>) -> Self {
        Self::new(name, (1..=y.len()).map(|epoch| epoch as f64).collect(), y)
    }
}

/// Settings of [`curves`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CurvesConfig {
    /// Heading (default none).
    pub title: String,
    /// Name of the horizontal axis (default none).
    pub x_label: String,
    /// Name of the vertical axis (default none).
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic (default false); places that are not positive are then gaps.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic (default false); values that are not positive are then gaps.
    pub log_y: bool,
    /// A place on the horizontal axis to mark with a vertical line, and its name (default none): the best epoch.
    pub mark: Option<(f64, String)>,
    /// Width and height of the picture in points (default 720 × 450).
    pub size: (f64, f64),
}

impl Default for CurvesConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            log_x: false,
            log_y: false,
            mark: None,
            size: (720.0, 450.0),
        }
    }
}

impl CurvesConfig {
    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the names of both axes.
    #[must_use]
    pub fn with_labels(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        (self.x_label, self.y_label) = (x.into(), y.into());
        self
    }

    /// Sets whether the horizontal axis is logarithmic.
    #[must_use]
    pub fn with_log_x(mut self, log: bool) -> Self {
        self.log_x = log;
        self
    }

    /// Sets whether the vertical axis is logarithmic.
    #[must_use]
    pub fn with_log_y(mut self, log: bool) -> Self {
        self.log_y = log;
        self
    }

    /// Marks a place on the horizontal axis.
    #[must_use]
    pub fn with_mark(mut self, x: f64, name: impl Into<String>) -> Self {
        self.mark = Some((x, name.into()));
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
    /// [`ConfigError::Value`] for a size outside 120…10000.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_size(self.size)
    }
}

/// Draws curves, such as the training and the validation loss over the epochs.
///
/// Without a value to draw, the picture says so.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when a curve has not as many `x` as `y`,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use phenocoder_plot::{Curve, CurvesConfig, curves};
///
/// let losses = [
///     Curve::over_epochs("training", vec![3.0, 2.0, 1.5]),
///     Curve::over_epochs("validation", vec![3.2, f64::NAN, 1.8]),
/// ];
/// let figure = curves(&losses, &CurvesConfig::default().with_labels("epoch", "loss"))?;
/// assert!(figure.to_svg()?.contains("validation"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
pub fn curves(curves: &[Curve], config: &CurvesConfig) -> Result<Figure> {
    config.validate()?;
    for curve in curves {
        ShapeError::check_len(&curve.name, curve.x.len(), curve.y.len())?;
    }
    let shown = |value: f64, log: bool| value.is_finite() && (!log || value > 0.0);
    let drawn = |&(x, y): &Point| shown(x, config.log_x) && shown(y, config.log_y);
    let points = || {
        curves
            .iter()
            .flat_map(|curve| curve.x.iter().copied().zip(curve.y.iter().copied()))
            .filter(drawn)
    };

    let mut scene = Scene::new(config.size, &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    let area = layout::legends(&mut scene, &area, &[legend(curves)]);
    let axis_of = |extent, log, margin| match log {
        true => Axis::logarithmic(extent, margin),
        false => Axis::around(extent, margin),
    };
    let x_axis = axis_of(extent(points().map(|p| p.0)), config.log_x, 0.02);
    let y_axis = axis_of(extent(points().map(|p| p.1)), config.log_y, 0.05);
    let style = |axis, label, grid| AxisStyle { axis, label, grid };
    let (x, y) = (
        style(x_axis, &*config.x_label, false),
        style(y_axis, &*config.y_label, true),
    );
    let frame = layout::axes_frame(&area, &x, &y);
    layout::axes(&mut scene, &area, &frame, &x, &y);
    if points().next().is_none() {
        layout::note(&mut scene, &frame, "no values");
        return Ok(Figure::new(scene));
    }
    let at = |(x, y): Point| {
        Some((
            frame.x + x_axis.position(x)? * frame.width,
            frame.bottom() - y_axis.position(y)? * frame.height,
        ))
    };

    if let Some((mark, name)) = &config.mark
        && let Some(t) = x_axis.position(*mark)
        && (0.0..=1.0).contains(&t)
    {
        let x = frame.x + t * frame.width;
        scene.push(Item::Line {
            points: vec![(x, frame.y), (x, frame.bottom())],
            color: Rgb::MUTED,
            width: 1.2,
            dash: Some((5.0, 4.0)),
        });
        let (x, anchor) = if t > 0.5 {
            (x - 6.0, Anchor::End)
        } else {
            (x + 6.0, Anchor::Start)
        };
        scene.text(
            Text::new((x, frame.y + TICK_SIZE), &**name, TICK_SIZE)
                .anchored(anchor)
                .colored(Rgb::MUTED)
                .with_halo(2.0),
        );
    }
    for (i, curve) in curves.iter().enumerate() {
        let (color, dash) = look(i, curves.len());
        for run in runs(curve, drawn) {
            let places: Vec<Point> = run.into_iter().filter_map(at).collect();
            match places[..] {
                [] => {}
                [single] => scene.marker(single, Shape::Circle, color, 3.0),
                _ => scene.push(Item::Line {
                    points: places,
                    color,
                    width: 2.2,
                    dash,
                }),
            }
        }
    }
    Ok(Figure::new(scene))
}

/// The colour of a curve, and dashes where the colours begin again.
fn look(i: usize, n: usize) -> (Rgb, Option<(f64, f64)>) {
    let colors = n.min(7);
    let dash = match (i / 7) % 3 {
        0 => None,
        1 => Some((7.0, 4.0)),
        _ => Some((2.0, 3.0)),
    };
    (category_color(i % 7, colors), dash)
}

fn legend(curves: &[Curve]) -> Legend {
    Legend {
        title: String::new(),
        entries: curves
            .iter()
            .enumerate()
            .map(|(i, curve)| {
                let (color, dash) = look(i, curves.len());
                Entry {
                    label: curve.name.clone(),
                    color,
                    sign: Sign::Line(dash),
                }
            })
            .collect(),
    }
}

/// The parts of a curve between its gaps.
fn runs(curve: &Curve, drawn: impl Fn(&Point) -> bool) -> Vec<Vec<Point>> {
    let mut runs = vec![Vec::new()];
    for point in curve.x.iter().copied().zip(curve.y.iter().copied()) {
        if drawn(&point) {
            if let Some(run) = runs.last_mut() {
                run.push(point);
            }
        } else {
            runs.push(Vec::new());
        }
    }
    runs
}

//! Bars of counts and of fractions.

use phenocoder_core::{Categorical, ShapeError};
use serde::{Deserialize, Serialize};

use crate::axis::Axis;
use crate::color::Rgb;
use crate::error::ConfigError;
use crate::layout::{self, Rows, Sign};
use crate::mark::Mark;
use crate::scatter::category_legend;
use crate::scene::{Frame, Scene};
use crate::{Figure, Result};

/// Settings of [`bars`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BarsConfig {
    /// Heading (default none).
    pub title: String,
    /// Name of the axis of counts or fractions; `None` (default) is `count` or `fraction`.
    pub value_label: Option<String>,
    /// Heading of the legend of categories (default none).
    pub legend_title: String,
    /// Whether bars show fractions of their group instead of counts (default false).
    pub fractions: bool,
    /// Width and height of the picture in points (default 720 × 450).
    pub size: (f64, f64),
}

impl Default for BarsConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: None,
            legend_title: String::new(),
            fractions: false,
            size: (720.0, 450.0),
        }
    }
}

impl BarsConfig {
    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the name of the axis of counts or fractions.
    #[must_use]
    pub fn with_value_label(mut self, label: impl Into<String>) -> Self {
        self.value_label = Some(label.into());
        self
    }

    /// Sets the heading of the legend.
    #[must_use]
    pub fn with_legend_title(mut self, title: impl Into<String>) -> Self {
        self.legend_title = title.into();
        self
    }

    /// Sets whether bars show fractions.
    #[must_use]
    pub fn with_fractions(mut self, fractions: bool) -> Self {
        self.fractions = fractions;
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

/// A named bar and the length of its parts, each with the category that gives its colour and its pattern.
struct Bar<'a> {
    name: &'a str,
    parts: Vec<(usize, f64)>,
}

/// Draws how many rows each category has: one bar per category, or with `groups` one bar per group whose parts are the
/// categories.
///
/// Of more than 8 categories, bars also differ in pattern ([`Mark`]).
/// Rows without a category or a group are not counted.
/// Without rows, the picture says so.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when `groups` has another length than `categories`,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Categorical;
/// use phenocoder_plot::{BarsConfig, bars};
///
/// let types = Categorical::from_labels(["B", "T", "T", "B"]);
/// let samples = Categorical::from_labels(["s1", "s1", "s1", "s2"]);
/// let figure = bars(&types, Some(&samples), &BarsConfig::default().with_fractions(true))?;
/// assert!(figure.to_svg()?.contains("fraction"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
pub fn bars(
    categories: &Categorical,
    groups: Option<&Categorical>,
    config: &BarsConfig,
) -> Result<Figure> {
    config.validate()?;
    if let Some(groups) = groups {
        ShapeError::check_len("groups", categories.len(), groups.len())?;
    }
    let mut scene = Scene::new(config.size, &config.title);
    let mut area = layout::below_title(&mut scene, &config.title);
    if groups.is_some() {
        let names = categories.categories();
        let sign = |code| {
            let mark = Mark::of(code, names.len());
            (mark.color, Sign::Swatch(mark))
        };
        let legend = category_legend(&config.legend_title, names, sign);
        area = layout::legends(&mut scene, &area, &[legend]);
    }
    let bars = count(categories, groups, config.fractions);
    let length = |bar: &Bar<'_>| bar.parts.iter().map(|(_, part)| part).sum::<f64>();
    let longest = bars.iter().map(length).fold(0.0, f64::max);
    if longest == 0.0 {
        layout::note(&mut scene, &area, "no rows");
        return Ok(Figure::new(scene));
    }
    let full = config.fractions && groups.is_some();
    let axis = Axis::linear(0.0, if full { 1.0 } else { longest * 1.05 });
    let fallback = if config.fractions {
        "fraction"
    } else {
        "count"
    };
    let label = config.value_label.as_deref().unwrap_or(fallback);
    draw(
        &mut scene,
        &area,
        &bars,
        &axis,
        label,
        categories.categories().len(),
    );
    Ok(Figure::new(scene))
}

/// Counts, or fractions of the whole or of the group.
fn count<'a>(
    categories: &'a Categorical,
    groups: Option<&'a Categorical>,
    fractions: bool,
) -> Vec<Bar<'a>> {
    let scale = |counts: Vec<usize>| {
        let total: usize = counts.iter().sum();
        let unit = if fractions { total.max(1) as f64 } else { 1.0 };
        counts.into_iter().map(move |count| count as f64 / unit)
    };
    match groups {
        None => scale(categories.counts())
            .zip(categories.categories())
            .enumerate()
            .map(|(code, (part, name))| Bar {
                name,
                parts: vec![(code, part)],
            })
            .collect(),
        Some(groups) => {
            let mut counts =
                vec![vec![0; categories.categories().len()]; groups.categories().len()];
            for row in 0..categories.len() {
                if let (Some(group), Some(code)) = (groups.code(row), categories.code(row)) {
                    counts[group][code] += 1;
                }
            }
            counts
                .into_iter()
                .zip(groups.categories())
                .map(|(counts, name)| Bar {
                    name,
                    parts: scale(counts).enumerate().collect(),
                })
                .collect()
        }
    }
}

/// Draws lying bars, so that long names stay legible.
fn draw(
    scene: &mut Scene,
    area: &Frame,
    bars: &[Bar<'_>],
    axis: &Axis,
    label: &str,
    categories: usize,
) {
    let names: Vec<&str> = bars.iter().map(|bar| bar.name).collect();
    let rows = Rows::new(area, &names);
    let frame = rows.frame;
    layout::value_ticks(scene, &frame, axis);
    let thickness = rows.thickness(34.0);
    for (i, bar) in bars.iter().enumerate() {
        let top = rows.middle(i) - thickness / 2.0;
        let mut start = 0.0;
        for &(code, part) in &bar.parts {
            let (Some(from), Some(to)) = (axis.position(start), axis.position(start + part)) else {
                continue;
            };
            start += part;
            let (x, width) = (frame.x + from * frame.width, (to - from) * frame.width);
            let piece = Frame::new(x, top, width, thickness);
            Mark::of(code, categories).fill(scene, &piece);
        }
    }
    rows.names(scene, &names);
    scene.line(
        vec![(frame.x, frame.y), (frame.x, frame.bottom())],
        Rgb::AXIS,
        1.0,
    );
    layout::axis_labels(scene, area, &frame, label, "");
}

//! Samples as labelled points.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, ShapeError};
use serde::{Deserialize, Serialize};

use crate::color::{Rgb, category_color};
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, Entry, Legend, Sign, TICK_SIZE};
use crate::scatter::{AxesStyle, Places, ScatterConfig, category_legend, check_points};
use crate::scene::{Anchor, Frame, Item, Marker, Markers, Point, Scene, Shape, Text};
use crate::{Figure, Result};

/// Settings of [`sample_map`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SampleMapConfig {
    /// Heading (default none).
    pub title: String,
    /// Name of the first coordinate (default none).
    pub x_label: String,
    /// Name of the second coordinate (default none).
    pub y_label: String,
    /// Heading of the legend of colours (default `condition`).
    pub condition_title: String,
    /// Heading of the legend of shapes (default `batch`).
    pub batch_title: String,
    /// How the axes look (default [`AxesStyle::Ticks`]).
    pub axes: AxesStyle,
    /// Width and height of the picture in points (default 720 × 540).
    pub size: (f64, f64),
}

impl Default for SampleMapConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            condition_title: "condition".to_owned(),
            batch_title: "batch".to_owned(),
            axes: AxesStyle::Ticks,
            size: (720.0, 540.0),
        }
    }
}

impl SampleMapConfig {
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

    /// Sets the headings of the legends of colours and of shapes.
    #[must_use]
    pub fn with_legend_titles(
        mut self,
        condition: impl Into<String>,
        batch: impl Into<String>,
    ) -> Self {
        (self.condition_title, self.batch_title) = (condition.into(), batch.into());
        self
    }

    /// Sets how the axes look.
    #[must_use]
    pub fn with_axes(mut self, axes: AxesStyle) -> Self {
        self.axes = axes;
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

/// Draws samples as labelled points: the colour is the condition, the shape is the batch.
///
/// A missing condition is grey, a missing batch a circle; samples with a coordinate that is not finite are left out.
/// Labels are placed where they cover the least, up to 400 of them; six shapes repeat with more batches.
/// Without samples, the picture says so.
///
/// # Shapes
///
/// `points`: `[n, 2]` as `(x, y)`; `labels`, `condition`, `batch`: `n`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when `points` has not two columns or the others differ in number,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_plot::{SampleMapConfig, sample_map};
///
/// let points = array![[0.0, 1.0], [2.0, 0.5]];
/// let condition = Categorical::from_labels(["control", "treated"]);
/// let batch = Categorical::from_labels(["1", "1"]);
/// let figure = sample_map(points.view(), &["s1", "s2"], &condition, &batch, &SampleMapConfig::default())?;
/// assert!(figure.to_svg()?.contains("treated"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
pub fn sample_map<S: AsRef<str>>(
    points: ArrayView2<'_, f64>,
    labels: &[S],
    condition: &Categorical,
    batch: &Categorical,
    config: &SampleMapConfig,
) -> Result<Figure> {
    config.validate()?;
    check_points(&points)?;
    ShapeError::check_len("labels", points.nrows(), labels.len())?;
    ShapeError::check_len("condition", points.nrows(), condition.len())?;
    ShapeError::check_len("batch", points.nrows(), batch.len())?;

    let mut scene = Scene::new(config.size, &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    let area = layout::legends(&mut scene, &area, &legends(condition, batch, config));
    let axes = ScatterConfig {
        x_label: config.x_label.clone(),
        y_label: config.y_label.clone(),
        axes: config.axes,
        ..ScatterConfig::default()
    };
    let places = Places::new(&mut scene, &area, &points, &axes, 0.1);
    if config.axes == AxesStyle::Arrows {
        layout::arrows(&mut scene, &places.frame, &config.x_label, &config.y_label);
    }
    let shown: Vec<usize> = (0..points.nrows())
        .filter(|&row| points.row(row).iter().all(|v| v.is_finite()))
        .collect();
    if shown.is_empty() {
        layout::note(&mut scene, &places.frame, "no samples");
        return Ok(Figure::new(scene));
    }
    let conditions = condition.categories().len();
    let markers: Vec<Marker> = shown
        .iter()
        .map(|&row| Marker {
            at: places.at(points[[row, 0]], points[[row, 1]]),
            shape: Shape::nth(batch.code(row).unwrap_or(0)),
            color: condition
                .code(row)
                .map_or(Rgb::MISSING, |code| category_color(code, conditions)),
        })
        .collect();
    let radius = if shown.len() <= 60 { 7.0 } else { 5.0 };
    let centers: Vec<Point> = markers.iter().map(|marker| marker.at).collect();
    let names: Vec<&str> = shown.iter().map(|&row| labels[row].as_ref()).collect();
    let labels = place_labels(&centers, &names, radius, &places.frame);
    for (center, label) in centers.iter().zip(&labels) {
        if let Some(end) = label.leader {
            scene.line(vec![*center, end], Rgb::MUTED, 0.8);
        }
    }
    scene.push(Item::Markers(Markers {
        markers,
        radius,
        alpha: 1.0,
        outline: 1.2,
    }));
    for label in labels {
        scene.text(label.text);
    }
    Ok(Figure::new(scene))
}

fn legends(condition: &Categorical, batch: &Categorical, config: &SampleMapConfig) -> [Legend; 2] {
    let names = condition.categories();
    let sign = |code| {
        let color = category_color(code, names.len());
        (color, Sign::Marker(Shape::Circle))
    };
    let mut conditions = category_legend(&config.condition_title, names, sign);
    if condition.codes().contains(&-1) {
        conditions.entries.push(Entry {
            label: "none".to_owned(),
            color: Rgb::MISSING,
            sign: Sign::Marker(Shape::Circle),
        });
    }
    let batches = batch
        .categories()
        .iter()
        .enumerate()
        .map(|(code, label)| Entry {
            label: label.clone(),
            color: Rgb::MUTED,
            sign: Sign::Marker(Shape::nth(code)),
        })
        .collect();
    [
        conditions,
        Legend {
            title: config.batch_title.clone(),
            entries: batches,
        },
    ]
}

/// A name and where it stands.
struct Label {
    text: Text,
    /// The end of a line to the point, for names that stand away from it.
    leader: Option<Point>,
}

/// One label per point, each at the side of its point where it covers the least of points and earlier labels.
fn place_labels(centers: &[Point], names: &[&str], radius: f64, frame: &Frame) -> Vec<Label> {
    // Above this many, labels would cover each other wherever they stand.
    const MOST: usize = 400;
    // Times the distance of a label that touches its point.
    const RINGS: [f64; 3] = [1.0, 2.2, 3.4];
    if centers.len() > MOST {
        return Vec::new();
    }
    let dots: Vec<Frame> = centers
        .iter()
        .map(|&(x, y)| Frame::new(x - radius, y - radius, 2.0 * radius, 2.0 * radius))
        .collect();
    let mut taken: Vec<Frame> = Vec::new();
    let mut labels = Vec::new();
    for (&(x, y), name) in centers.iter().zip(names) {
        let name = font::fit_middle(name, TICK_SIZE, Weight::Regular, 140.0);
        let (width, height) = (
            font::width(&name, TICK_SIZE, Weight::Regular),
            TICK_SIZE * 1.05,
        );
        let sides = |ring: f64| {
            let near = (radius + 4.0) * ring;
            let slant = near * 0.7;
            [
                (x + near, y - height / 2.0),
                (x - near - width, y - height / 2.0),
                (x - width / 2.0, y - near - height),
                (x - width / 2.0, y + near),
                (x + slant, y - slant - height),
                (x + slant, y + slant),
                (x - slant - width, y - slant - height),
                (x - slant - width, y + slant),
            ]
        };
        let covered =
            |place: &Frame, frames: &[Frame]| frames.iter().map(|f| f.overlap(place)).sum::<f64>();
        let best = RINGS
            .into_iter()
            .flat_map(|ring| sides(ring).map(|(x, y)| (ring, Frame::new(x, y, width, height))))
            .map(|(ring, place)| {
                let lost = covered(&place, &dots) + covered(&place, &taken) + place.outside(frame);
                (lost + 0.04 * width * height * (ring - 1.0), ring, place)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, ring, place)) = best {
            let nearest = (
                x.clamp(place.x - 1.0, place.right() + 1.0),
                y.clamp(place.y, place.bottom()),
            );
            labels.push(Label {
                text: Text::new((place.x, place.y + TICK_SIZE * 0.85), name, TICK_SIZE)
                    .anchored(Anchor::Start)
                    .with_halo(1.6),
                leader: (ring > 1.0).then_some(nearest),
            });
            taken.push(place);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_with_room_stands_at_the_right_of_its_point() {
        let frame = Frame::new(0.0, 0.0, 400.0, 300.0);
        let labels = place_labels(&[(100.0, 100.0), (200.0, 200.0)], &["a", "b"], 5.0, &frame);
        for (label, center) in labels.iter().zip([(100.0, 100.0), (200.0, 200.0)]) {
            assert_eq!(label.text.at.0, center.0 + 9.0);
            assert_eq!(label.leader, None);
        }
    }

    #[test]
    fn labels_of_points_in_a_heap_do_not_cover_each_other() {
        let frame = Frame::new(0.0, 0.0, 400.0, 300.0);
        let centers: Vec<Point> = (0..6).map(|i| (200.0 + f64::from(i), 150.0)).collect();
        let labels = place_labels(&centers, &["sample"; 6], 5.0, &frame);
        let width = font::width("sample", TICK_SIZE, Weight::Regular);
        let places: Vec<Frame> = labels
            .iter()
            .map(|label| Frame::new(label.text.at.0, label.text.at.1, width, TICK_SIZE))
            .collect();
        for (i, place) in places.iter().enumerate() {
            assert!(
                places[..i].iter().all(|other| other.overlap(place) < 1.0),
                "{i}"
            );
        }
    }
}

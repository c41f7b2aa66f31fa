//! How labels are told apart: by colour, and beyond 8 of them also by the shape of a point and the pattern of a bar.

use crate::color::{Rgb, category_color};
use crate::scene::{Frame, Item, Marker, Markers, Point, Scene, Shape};

/// So many labels need no shapes.
const WITHOUT_SHAPES: usize = 8;
/// So many labels have colours of their own.
const COLORS: usize = 24;
/// The first so many of these colours differ enough without shapes.
const APART: usize = 16;
/// Shapes, and as many patterns.
const SHAPES: usize = 4;

/// What stands for a label: a colour, and a shape where it is a point, a pattern where it is a bar.
///
/// | labels | colours | shapes and patterns |
/// |---|---|---|
/// | up to 8 | those of [`category_color`] | one |
/// | up to 24 | those of [`category_color`] | four in turns |
/// | up to 64 | the first 16 of the 24, in four rounds | four in turns; a colour has another one in each round |
/// | more | the marks of the first 64 begin again | four |
///
/// Up to 64 labels, any two of one shape differ by 10 or more in CIE L\*a\*b\* (D65), as seen normally and with protanopia
/// and deuteranopia (Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113).
///
/// # Examples
///
/// ```
/// use phenocoder_plot::Mark;
///
/// let (first, again) = (Mark::of(3, 40), Mark::of(19, 40));
/// assert_eq!(first.color, again.color);
/// assert_ne!(first.shape, again.shape);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Mark {
    /// The colour.
    pub color: Rgb,
    /// 0…3: circle, square, triangle and diamond of points; plain, rising lines, falling lines and dots of bars.
    pub shape: usize,
}

impl Mark {
    /// So many labels have marks of their own.
    pub const DISTINCT: usize = APART * SHAPES;

    /// The mark of label `code` of `labels`.
    #[must_use]
    pub fn of(code: usize, labels: usize) -> Self {
        let (base, round) = match labels > COLORS {
            true => (code % APART, code / APART),
            false => (code, 0),
        };
        let shape = match labels > WITHOUT_SHAPES {
            true => (code + round) % SHAPES,
            false => 0,
        };
        Self {
            color: category_color(base, labels),
            shape,
        }
    }

    /// The colour of words and patterns on this one: black or white, whichever has the higher contrast.
    #[must_use]
    pub fn ink(self) -> Rgb {
        self.color.text_on()
    }

    /// The shape of points of this radius: dots of a pixel need none as long as their colours do not come again.
    pub(crate) fn point(self, labels: usize, radius: f64) -> Shape {
        match radius >= 1.4 || labels > COLORS {
            true => Shape::nth(self.shape),
            false => Shape::Circle,
        }
    }

    /// Draws a piece of a bar: its colour, and on it the pattern.
    pub(crate) fn fill(self, scene: &mut Scene, frame: &Frame) {
        scene.push(Item::Rect {
            frame: *frame,
            fill: Some(self.color),
            stroke: None,
        });
        // Ends of lines stand out by less than their width.
        let (width, height) = (frame.width - 2.0 * STROKE, frame.height - 2.0 * STROKE);
        if width <= 0.0 || height <= 0.0 {
            return;
        }
        let within = Frame::new(frame.x + STROKE, frame.y + STROKE, width, height);
        match self.shape {
            1 | 2 => {
                for line in diagonals(&within, self.shape == 1) {
                    scene.line(line.to_vec(), self.ink(), STROKE);
                }
            }
            3 => scene.push(Item::Markers(Markers {
                markers: dots(&within, self.ink()),
                radius: STROKE,
                alpha: 1.0,
                outline: 0.0,
            })),
            _ => {}
        }
    }
}

/// How thick the lines and how large the dots of patterns are.
const STROKE: f64 = 1.2;
/// How far apart they are.
const PITCH: f64 = 6.0;

/// The numbers from half a step on, a step apart, below `end`.
fn steps(step: f64, end: f64) -> impl Iterator<Item = f64> {
    (0..(end / step + 0.5) as usize).map(move |i| (i as f64 + 0.5) * step)
}

/// Lines across the frame at 45°, that rise or fall to the right.
fn diagonals(frame: &Frame, rising: bool) -> impl Iterator<Item = [Point; 2]> {
    let Frame {
        x,
        y,
        width,
        height,
    } = *frame;
    // At `sum` right and down of a corner together, lines cross the frame from its one side to its other.
    steps(PITCH * std::f64::consts::SQRT_2, width + height).map(move |sum| {
        [(sum - height).max(0.0), sum.min(width)].map(|right| {
            let across = if rising { right } else { width - right };
            (x + across, y + sum - right)
        })
    })
}

/// Dots in rows and columns.
fn dots(frame: &Frame, color: Rgb) -> Vec<Marker> {
    let column = |down: f64| {
        steps(PITCH, frame.width).map(move |right| Marker {
            at: (frame.x + right, frame.y + down),
            shape: Shape::Circle,
            color,
        })
    };
    steps(PITCH, frame.height).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// How colours are seen: normally, with protanopia, with deuteranopia. Machado et al. 2009, severity 1, on linear RGB.
    const EYES: [[[f64; 3]; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ];
    /// sRGB to CIE XYZ over the white of D65.
    const XYZ: [[f64; 3]; 3] = [
        [0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505],
        [0.2126, 0.7152, 0.0722],
        [0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089],
    ];

    fn times(matrix: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
    }

    /// L\*, a\* and b\* of a colour as these eyes see it.
    fn seen(color: Rgb, eyes: &[[f64; 3]; 3]) -> [f64; 3] {
        let linear = [color.0, color.1, color.2].map(|c| match f64::from(c) / 255.0 {
            c if c <= 0.040_45 => c / 12.92,
            c => ((c + 0.055) / 1.055).powf(2.4),
        });
        let light = times(eyes, linear).map(|v| v.clamp(0.0, 1.0));
        let [x, y, z] = times(&XYZ, light).map(|v| match v > 216.0 / 24389.0 {
            true => v.cbrt(),
            false => (24389.0 / 27.0 * v + 16.0) / 116.0,
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// The smallest difference between two of the marks with one shape.
    fn least(marks: &[Mark]) -> f64 {
        let mut least = f64::INFINITY;
        for eyes in &EYES {
            let lab: Vec<[f64; 3]> = marks.iter().map(|m| seen(m.color, eyes)).collect();
            for (i, (a, mark)) in lab.iter().zip(marks).enumerate() {
                let before = lab.iter().zip(marks).take(i);
                for (b, _) in before.filter(|(_, other)| other.shape == mark.shape) {
                    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
                    least = least.min(square.sqrt());
                }
            }
        }
        least
    }

    #[test]
    fn labels_of_one_shape_have_colors_that_every_eye_tells_apart() {
        for n in 2..=Mark::DISTINCT {
            let marks: Vec<Mark> = (0..n).map(|code| Mark::of(code, n)).collect();
            let least = least(&marks);
            assert!(least >= 10.0, "{n} labels: {least}");
        }
        // Lighter and darker forms of colours, as figures of more than 24 labels have them, would not do.
        let shades: Vec<Mark> = (0..Mark::DISTINCT)
            .map(|code| Mark {
                color: category_color(code, Mark::DISTINCT),
                shape: code % SHAPES,
            })
            .collect();
        assert!(least(&shades) < 10.0);
    }

    #[test]
    fn a_color_that_comes_again_has_another_shape() {
        for n in [25, 40, Mark::DISTINCT] {
            let marks: HashSet<Mark> = (0..n).map(|code| Mark::of(code, n)).collect();
            assert_eq!(marks.len(), n);
        }
        let (first, again) = (Mark::of(3, 40), Mark::of(3 + APART, 40));
        assert_eq!(first.color, again.color);
        assert_ne!(first.shape, again.shape);
        assert_eq!(Mark::of(0, 100), Mark::of(Mark::DISTINCT, 100));
    }

    #[test]
    fn shapes_and_patterns_differ_only_where_colors_do_not_suffice() {
        let shapes = |n| [0, 1, 2, 3, 4].map(|code| Mark::of(code, n).shape);
        assert_eq!(shapes(8), [0; 5]);
        assert_eq!(shapes(9), [0, 1, 2, 3, 0]);
    }

    #[test]
    fn dots_of_a_pixel_have_shapes_where_colors_come_again() {
        let shape = |n, radius| Mark::of(1, n).point(n, radius);
        assert_eq!(shape(24, 1.5), Shape::Square);
        assert_eq!(shape(24, 1.0), Shape::Circle);
        assert_eq!(shape(25, 1.0), Shape::Square);
    }

    /// The ends of the lines and the middles of the dots on a piece of a bar.
    fn pattern(shape: usize, frame: &Frame) -> Vec<Vec<Point>> {
        let mut scene = Scene::new((200.0, 100.0), "");
        let color = category_color(0, 9);
        Mark { color, shape }.fill(&mut scene, frame);
        assert!(matches!(scene.items[0], Item::Rect { .. }));
        let rest = scene.items.iter().skip(1);
        rest.map(|item| match item {
            Item::Line { points, .. } => points.clone(),
            Item::Markers(dots) => dots.markers.iter().map(|dot| dot.at).collect(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn patterns_differ_and_stay_on_their_bar() {
        let frame = Frame::new(10.0, 20.0, 60.0, 18.0);
        let [plain, rising, falling, dotted] = [0, 1, 2, 3].map(|i| pattern(i, &frame));
        assert!(plain.is_empty());
        assert_eq!((rising.len(), falling.len()), (9, 9));
        // Down is further from the upper edge: lines that rise end nearer to it than they begin.
        let slope = |line: &Vec<Point>| (line[1].1 - line[0].1) / (line[1].0 - line[0].0);
        assert!(rising.iter().all(|line| (slope(line) + 1.0).abs() < 1e-9));
        assert!(falling.iter().all(|line| (slope(line) - 1.0).abs() < 1e-9));
        assert_eq!(dotted.len(), 1);
        assert_eq!(dotted[0].len(), 30);
        for (x, y) in [rising, falling, dotted].concat().concat() {
            assert!((frame.x + 1.0..=frame.right() - 1.0).contains(&x), "{x}");
            assert!((frame.y + 1.0..=frame.bottom() - 1.0).contains(&y), "{y}");
        }
    }

    #[test]
    fn pieces_thinner_than_a_line_have_no_pattern() {
        for (width, height) in [(60.0, 2.0), (2.0, 60.0), (0.0, 18.0)] {
            let frame = Frame::new(0.0, 0.0, width, height);
            assert!((0..4).all(|shape| pattern(shape, &frame).is_empty()));
        }
    }
}

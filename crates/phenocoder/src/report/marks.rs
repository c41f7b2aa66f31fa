//! How labels are told apart on the page: by colour, and beyond 8 of them also by the shape of a point and the pattern of a bar.
//!
//! | labels | colours | shapes and patterns |
//! |---|---|---|
//! | up to 8 | those of [`category_color`] | one |
//! | up to 24 | those of [`category_color`] | four in turns |
//! | up to 64 | the first 16 of the 24, in four rounds | four in turns; a colour has another one in each round |
//! | more | the marks of the first 64 begin again, which the page says | four |
//!
//! Up to 64 labels, any two of one shape differ by 10 or more in CIE L\*a\*b\* (D65), as seen normally and with protanopia and
//! deuteranopia (Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113).

use phenocoder_plot::{Rgb, category_color};

/// So many labels need no shapes.
const WITHOUT_SHAPES: usize = 8;
/// So many labels have colours of their own.
const COLORS: usize = 24;
/// The first so many of these colours differ enough without shapes.
const APART: usize = 16;
/// Classes of the page's style for points.
const SHAPES: [&str; 4] = ["circle", "square", "triangle", "diamond"];
/// Classes of the page's style for bars.
const PATTERNS: [&str; SHAPES.len()] = ["plain", "rising", "falling", "dotted"];
/// So many labels have marks of their own.
pub(super) const MARKS: usize = APART * SHAPES.len();

/// What stands for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) color: Rgb,
    /// 0…3.
    pub(super) shape: usize,
}

impl Mark {
    /// The mark of label `code` of `n`.
    pub(super) fn new(code: usize, n: usize) -> Self {
        let round = if n > COLORS { code / APART } else { 0 };
        let shape = match n > WITHOUT_SHAPES {
            true => (code + round) % SHAPES.len(),
            false => 0,
        };
        let base = if n > COLORS { code % APART } else { code };
        Self {
            color: category_color(base, n),
            shape,
        }
    }

    /// A point as a legend shows it.
    pub(super) fn point(self) -> String {
        let (shape, color) = (SHAPES[self.shape], self.color.to_hex());
        format!("<i class=\"mark {shape}\" style=\"--color:{color}\"></i>")
    }

    /// A piece of a bar as a legend shows it.
    pub(super) fn swatch(self) -> String {
        let (pattern, paint) = (self.pattern(), self.paint());
        format!("<i class=\"swatch {pattern}\" style=\"{paint}\"></i>")
    }

    /// The class of a piece of a bar.
    pub(super) fn pattern(self) -> &'static str {
        PATTERNS[self.shape]
    }

    /// The style of a piece of a bar: its colour, and that of words and patterns on it.
    pub(super) fn paint(self) -> String {
        let ink = match self.color.luminance() > 0.179 {
            true => "#000000",
            false => "#ffffff",
        };
        format!("background-color:{};color:{ink}", self.color.to_hex())
    }
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
        for n in 2..=MARKS {
            let marks: Vec<Mark> = (0..n).map(|code| Mark::new(code, n)).collect();
            let least = least(&marks);
            assert!(least >= 10.0, "{n} labels: {least}");
        }
        // Lighter and darker forms of colours, as figures of more than 24 labels have them, would not do.
        let shades: Vec<Mark> = (0..MARKS)
            .map(|code| Mark {
                color: category_color(code, MARKS),
                shape: code % SHAPES.len(),
            })
            .collect();
        assert!(least(&shades) < 10.0);
    }

    #[test]
    fn a_color_that_comes_again_has_another_shape() {
        for n in [25, 40, MARKS] {
            let marks: HashSet<Mark> = (0..n).map(|code| Mark::new(code, n)).collect();
            assert_eq!(marks.len(), n);
        }
        let (first, again) = (Mark::new(3, 40), Mark::new(3 + APART, 40));
        assert_eq!(first.color, again.color);
        assert_ne!(first.shape, again.shape);
        assert_eq!(Mark::new(0, 100), Mark::new(MARKS, 100));
    }

    #[test]
    fn shapes_and_patterns_differ_only_where_colors_do_not_suffice() {
        let shapes = |n| [0, 1, 2, 3, 4].map(|code| Mark::new(code, n).shape);
        assert_eq!(shapes(8), [0; 5]);
        assert_eq!(shapes(9), [0, 1, 2, 3, 0]);
        let mark = Mark::new(1, 9);
        assert_eq!(
            (mark.pattern(), Mark::new(1, 8).pattern()),
            ("rising", "plain")
        );
        assert!(mark.point().contains("\"mark square\""), "{}", mark.point());
        assert!(
            mark.swatch().contains("\"swatch rising\""),
            "{}",
            mark.swatch()
        );
    }
}

//! [`Mark`]s as the page shows them.

use phenocoder_plot::Mark;

/// Classes of the page's style for points, by [`Mark::shape`].
const SHAPES: [&str; 4] = ["circle", "square", "triangle", "diamond"];
/// Classes of the page's style for bars.
const PATTERNS: [&str; 4] = ["plain", "rising", "falling", "dotted"];

/// A point as a legend shows it.
pub(super) fn point(mark: Mark) -> String {
    let (shape, color) = (SHAPES[mark.shape], mark.color.to_hex());
    format!("<i class=\"mark {shape}\" style=\"--color:{color}\"></i>")
}

/// A piece of a bar as a legend shows it.
pub(super) fn swatch(mark: Mark) -> String {
    let (pattern, paint) = (pattern(mark), paint(mark));
    format!("<i class=\"swatch {pattern}\" style=\"{paint}\"></i>")
}

/// The class of a piece of a bar.
pub(super) fn pattern(mark: Mark) -> &'static str {
    PATTERNS[mark.shape]
}

/// The style of a piece of a bar: its colour, and that of words and patterns on it.
pub(super) fn paint(mark: Mark) -> String {
    let (color, ink) = (mark.color.to_hex(), mark.ink().to_hex());
    format!("background-color:{color};color:{ink}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_the_classes_of_the_style() {
        let mark = Mark::of(1, 9);
        assert_eq!(
            (pattern(mark), pattern(Mark::of(1, 8))),
            ("rising", "plain")
        );
        assert!(point(mark).contains("\"mark square\""), "{}", point(mark));
        assert!(
            swatch(mark).contains("\"swatch rising\""),
            "{}",
            swatch(mark)
        );
    }
}

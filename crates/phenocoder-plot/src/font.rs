//! Text without system fonts: Noto Sans, from the `notosans` crate.

use std::sync::OnceLock;

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// The names that an SVG viewer looks for, best first.
pub(crate) const FAMILY: &str = "Noto Sans, DejaVu Sans, Helvetica, Arial, sans-serif";

/// How bold a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// The face of a weight.
pub(crate) fn face(weight: Weight) -> &'static Face<'static> {
    static REGULAR: OnceLock<Face<'static>> = OnceLock::new();
    static BOLD: OnceLock<Face<'static>> = OnceLock::new();
    let parse = |bytes| Face::parse(bytes, 0).expect("the font that is compiled in is well formed");
    match weight {
        Weight::Regular => REGULAR.get_or_init(|| parse(notosans::REGULAR_TTF)),
        Weight::Bold => BOLD.get_or_init(|| parse(notosans::BOLD_TTF)),
    }
}

/// The glyph of a character; what the font lacks becomes the font's empty box.
fn glyph(face: &Face<'_>, c: char) -> GlyphId {
    face.glyph_index(c).unwrap_or(GlyphId(0))
}

/// The width of a text.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let face = face(weight);
    let units: u32 = text
        .chars()
        .map(|c| u32::from(face.glyph_hor_advance(glyph(face, c)).unwrap_or(0)))
        .sum();
    f64::from(units) * size / f64::from(face.units_per_em())
}

/// The outline of a text that starts at the origin of the base line, `y` pointing up, in units of `size`.
pub(crate) fn outline(text: &str, size: f64, weight: Weight, builder: &mut dyn OutlineBuilder) {
    let face = face(weight);
    let scale = (size / f64::from(face.units_per_em())) as f32;
    let mut x = 0.0;
    for c in text.chars() {
        let id = glyph(face, c);
        let mut moved = Moved { builder, scale, x };
        // A glyph without contours (the space) draws nothing.
        let _ = face.outline_glyph(id, &mut moved);
        x += f32::from(face.glyph_hor_advance(id).unwrap_or(0)) * scale;
    }
}

/// The text, cut and ended with `…` where it is wider than `max`.
pub(crate) fn fit(text: &str, size: f64, weight: Weight, max: f64) -> String {
    if width(text, size, weight) <= max {
        return text.to_owned();
    }
    let mut cut = text.to_owned();
    while cut.pop().is_some() {
        let shortened = format!("{}…", cut.trim_end());
        if width(&shortened, size, weight) <= max {
            return shortened;
        }
    }
    String::new()
}

/// The text with `…` in its middle where it is wider than `max`: names of categories often differ at their ends.
pub(crate) fn fit_middle(text: &str, size: f64, weight: Weight, max: f64) -> String {
    if width(text, size, weight) <= max {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    for kept in (1..chars.len()).rev() {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let head: String = chars[..head].iter().collect();
        let tail: String = chars[chars.len() - tail..].iter().collect();
        let shortened = format!("{}…{}", head.trim_end(), tail.trim_start());
        if width(&shortened, size, weight) <= max {
            return shortened;
        }
    }
    String::new()
}

/// The words of a text in lines of up to `max`; a word that is wider has a line of its own.
pub(crate) fn wrap(text: &str, size: f64, weight: Weight, max: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size, weight) <= max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Scales and moves what passes through.
struct Moved<'a> {
    builder: &'a mut dyn OutlineBuilder,
    scale: f32,
    x: f32,
}

impl Moved<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, y * self.scale)
    }
}

impl OutlineBuilder for Moved<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.curve_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_every_character_that_labels_are_made_of() {
        for weight in [Weight::Regular, Weight::Bold] {
            for c in "Az09 −…×µ°αβσ≤≥²³".chars() {
                assert!(face(weight).glyph_index(c).is_some(), "{c} in {weight:?}");
            }
        }
    }

    #[test]
    fn a_text_is_cut_to_the_room_there_is() {
        let long = "a rather long name of a cell type";
        let cut = fit(long, 12.0, Weight::Regular, 80.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, Weight::Regular) <= 80.0);
        assert_eq!(fit("B", 12.0, Weight::Regular, 80.0), "B");
        assert_eq!(fit("B", 12.0, Weight::Regular, 1.0), "");
        let cut = fit_middle(long, 12.0, Weight::Regular, 80.0);
        assert!(cut.starts_with("a r") && cut.ends_with("type"), "{cut}");
        assert!(width(&cut, 12.0, Weight::Regular) <= 80.0);
    }

    #[test]
    fn a_text_is_wrapped_between_words() {
        let wrapped = |text, max| wrap(text, 12.0, Weight::Regular, max);
        let lines = wrapped("a rather long name of a cell type", 80.0);
        assert!(lines.len() > 1, "{lines:?}");
        assert!(
            lines
                .iter()
                .all(|l| width(l, 12.0, Weight::Regular) <= 80.0)
        );
        assert_eq!(lines.join(" "), "a rather long name of a cell type");
        assert_eq!(wrapped("B cells", 80.0), ["B cells"]);
        assert_eq!(wrapped("one two", 1.0), ["one", "two"]);
        assert!(wrapped("", 80.0).is_empty());
    }
}

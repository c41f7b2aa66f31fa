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

/// How far a character moves the next one, in units of the face.
fn advance(face: &Face<'_>, c: char) -> u64 {
    u64::from(face.glyph_hor_advance(glyph(face, c)).unwrap_or(0))
}

/// Units of the face as a length.
fn length(units: u64, size: f64, face: &Face<'_>) -> f64 {
    units as f64 * size / f64::from(face.units_per_em())
}

/// The width of a text.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let face = face(weight);
    let units = text.chars().map(|c| advance(face, c)).sum();
    length(units, size, face)
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
    shortened(text, size, weight, max, 0, |kept| (kept, 0))
}

/// The text with `…` in its middle where it is wider than `max`: names of categories often differ at their ends.
pub(crate) fn fit_middle(text: &str, size: f64, weight: Weight, max: f64) -> String {
    shortened(text, size, weight, max, 1, |kept| {
        (kept.div_ceil(2), kept / 2)
    })
}

/// The text, or where it is wider than `max` as many of its characters as fit beside a `…`; nothing where `least` do not.
///
/// `ends` tells how many of those that are kept begin the text and how many end it: neither is fewer where more are kept,
/// so widths never fall and the most that fit are found by bisection, in a time that grows with the length of the text.
fn shortened(
    text: &str,
    size: f64,
    weight: Weight,
    max: f64,
    least: usize,
    ends: impl Fn(usize) -> (usize, usize),
) -> String {
    if width(text, size, weight) <= max {
        return text.to_owned();
    }
    let face = face(weight);
    let measured = Measured::new(text, face);
    let fits = |&kept: &usize| {
        let units = measured.units(measured.ends(ends(kept))) + advance(face, '…');
        length(units, size, face) <= max
    };
    let choices: Vec<usize> = (least..measured.starts.len()).collect();
    match choices[..choices.partition_point(fits)].last() {
        Some(&kept) => {
            let (head, tail) = measured.ends(ends(kept));
            format!("{head}…{tail}")
        }
        None => String::new(),
    }
}

/// A text of which every beginning and every end has been measured.
struct Measured<'a> {
    text: &'a str,
    /// The bytes at which characters begin.
    starts: Vec<usize>,
    /// Units of the face before such a byte and before the end of the text.
    before: Vec<u64>,
}

impl<'a> Measured<'a> {
    fn new(text: &'a str, face: &Face<'_>) -> Self {
        let mut starts = Vec::new();
        let mut before = vec![0; text.len() + 1];
        for (at, c) in text.char_indices() {
            starts.push(at);
            before[at + c.len_utf8()] = before[at] + advance(face, c);
        }
        Self {
            text,
            starts,
            before,
        }
    }

    /// The first and the last so many characters, without the space between them.
    fn ends(&self, (first, last): (usize, usize)) -> (&'a str, &'a str) {
        let n = self.starts.len();
        let start = |nth: usize| self.starts.get(nth).copied().unwrap_or(self.text.len());
        let (head, tail) = (&self.text[..start(first)], &self.text[start(n - last)..]);
        (head.trim_end(), tail.trim_start())
    }

    /// The units of both ends.
    fn units(&self, (head, tail): (&str, &str)) -> u64 {
        let end = self.text.len();
        self.before[head.len()] + self.before[end] - self.before[end - tail.len()]
    }
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
    use phenocoder_core::{Seed, Stream};

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

    /// A text of so many characters: letters of several widths and bytes, space in runs, and what has no width.
    fn random(stream: &mut Stream, n: usize) -> String {
        const CHARS: [char; 12] = [
            'i', 'W', 'é', 'β', '…', '你', '\u{301}', ' ', ' ', ' ', '\u{3000}', '\t',
        ];
        let mut text = String::new();
        while text.chars().count() < n {
            let c = CHARS[stream.below(CHARS.len())];
            let run = if stream.chance(0.1) { 9 } else { 1 };
            text.extend(std::iter::repeat_n(c, run));
        }
        text
    }

    /// One character after the other is left out of the text until the rest fits.
    fn one_by_one(text: &str, weight: Weight, max: f64, middle: bool) -> String {
        let chars: Vec<char> = text.chars().collect();
        if width(text, 12.0, weight) <= max {
            return text.to_owned();
        }
        for kept in (usize::from(middle)..chars.len()).rev() {
            let (head, tail) = match middle {
                true => (kept.div_ceil(2), kept / 2),
                false => (kept, 0),
            };
            let head: String = chars[..head].iter().collect();
            let tail: String = chars[chars.len() - tail..].iter().collect();
            let shortened = format!("{}…{}", head.trim_end(), tail.trim_start());
            if width(&shortened, 12.0, weight) <= max {
                return shortened;
            }
        }
        String::new()
    }

    #[test]
    fn a_text_is_cut_as_if_one_character_after_the_other_were_left_out() {
        let mut stream = Seed::new(4).stream("texts", 0);
        let lengths = (0..300).map(|i| i % 40).chain([300, 700]);
        for n in lengths {
            let text = random(&mut stream, n);
            for weight in [Weight::Regular, Weight::Bold] {
                let all = width(&text, 12.0, weight);
                let some = [0.1, 0.5, 0.9, 1.0].map(|share| share * all);
                for max in [-1.0, 0.0, 5.0, 12.0, 90.0].into_iter().chain(some) {
                    let cut = [
                        fit(&text, 12.0, weight, max),
                        fit_middle(&text, 12.0, weight, max),
                    ];
                    let expected =
                        [false, true].map(|middle| one_by_one(&text, weight, max, middle));
                    assert_eq!(cut, expected, "{text:?} in {max}");
                }
            }
        }
    }

    #[test]
    fn a_text_of_very_many_characters_is_cut() {
        // Were all that is left measured again for each character left out, it would take minutes.
        for c in ["long ", " ", "\u{301}"] {
            let text = c.repeat(100_000 / c.chars().count());
            for fitted in [fit, fit_middle] {
                let cut = fitted(&text, 12.0, Weight::Regular, 80.0);
                assert!(width(&cut, 12.0, Weight::Regular) <= 80.0);
            }
        }
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

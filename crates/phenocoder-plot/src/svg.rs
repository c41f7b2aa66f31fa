//! Scenes as SVG.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::color::Rgb;
use crate::font::{FAMILY, Weight};
use crate::scene::{Anchor, Frame, Item, Markers, Scene, Shape, Text};
use crate::{Result, raster};

/// Groups with more markers than this are embedded as pixels.
const MAX_MARKERS: usize = 8_000;

/// Grids with more cells than this are embedded as pixels: patches, and matrices of more than 30 rows and columns.
const MAX_CELLS: usize = 900;

/// Pixels per point of what is embedded.
const EMBED_SCALE: f64 = 3.0;

/// The scene as an SVG document.
pub(crate) fn write(scene: &Scene) -> Result<String> {
    let (width, height) = (number(scene.width), number(scene.height));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{FAMILY}\" role=\"img\">\n"
    );
    if !scene.title.is_empty() {
        line(
            &mut out,
            format_args!("<title>{}</title>", escape(&scene.title)),
        );
    }
    line(
        &mut out,
        format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    items(&mut out, scene, &scene.items)?;
    out.push_str("</svg>\n");
    Ok(out)
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn items(out: &mut String, scene: &Scene, list: &[Item]) -> Result<()> {
    list.iter()
        .try_for_each(|item| write_item(out, scene, item))
}

fn write_item(out: &mut String, scene: &Scene, item: &Item) -> Result<()> {
    match item {
        Item::Rect {
            frame,
            fill,
            stroke,
        } => {
            let fill = fill.map_or("none".to_owned(), Rgb::to_hex);
            let stroke = stroke.map_or(String::new(), |(c, width)| {
                format!(
                    " stroke=\"{}\" stroke-width=\"{}\"",
                    c.to_hex(),
                    number(width)
                )
            });
            line(
                out,
                format_args!("<rect {} fill=\"{fill}\"{stroke}/>", place(frame)),
            );
        }
        Item::Line {
            points,
            color,
            width,
            dash,
        } => {
            let dash = dash.map_or(String::new(), |(on, off)| {
                format!(" stroke-dasharray=\"{} {}\"", number(on), number(off))
            });
            let cap = if dash.is_empty() { "square" } else { "butt" };
            line(
                out,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
                     stroke-linejoin=\"round\" stroke-linecap=\"{cap}\"{dash}/>",
                    corners(points),
                    color.to_hex(),
                    number(*width),
                ),
            );
        }
        Item::Polygon { points, fill } => line(
            out,
            format_args!(
                "<polygon points=\"{}\" fill=\"{}\"/>",
                corners(points),
                fill.to_hex()
            ),
        ),
        Item::Text(text) => write_text(out, text),
        Item::Markers(group) if group.markers.len() > MAX_MARKERS => {
            let reach = 2.0 * (group.radius + group.outline);
            let whole = bounds(group, reach);
            embed(out, item, &whole)?;
        }
        Item::Markers(group) => write_markers(out, group),
        Item::Grid {
            frame,
            columns,
            rows,
            colors,
        } => {
            if colors.len() > MAX_CELLS {
                embed(out, item, frame)?;
            } else {
                write_grid(out, frame, *columns, *rows, colors);
            }
        }
        Item::Group {
            offset,
            items: inner,
        } => {
            line(
                out,
                format_args!(
                    "<g transform=\"translate({} {})\">",
                    number(offset.0),
                    number(offset.1)
                ),
            );
            items(out, scene, inner)?;
            line(out, format_args!("</g>"));
        }
    }
    Ok(())
}

/// The rectangle that holds all markers, on whole points so that the embedded pixels fall on pixels.
fn bounds(group: &Markers, reach: f64) -> Frame {
    let (mut low, mut high) = ((f64::MAX, f64::MAX), (f64::MIN, f64::MIN));
    for marker in &group.markers {
        low = (low.0.min(marker.at.0), low.1.min(marker.at.1));
        high = (high.0.max(marker.at.0), high.1.max(marker.at.1));
    }
    let (x, y) = ((low.0 - reach).floor(), (low.1 - reach).floor());
    Frame::new(
        x,
        y,
        ((high.0 + reach).ceil() - x).max(1.0),
        ((high.1 + reach).ceil() - y).max(1.0),
    )
}

fn write_text(out: &mut String, text: &Text) {
    let (x, y) = (number(text.at.0), number(text.at.1));
    let mut style = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    }
    .to_owned();
    if text.weight == Weight::Bold {
        style.push_str(" font-weight=\"bold\"");
    }
    if text.rotation != 0.0 {
        let _ = write!(
            style,
            " transform=\"rotate({} {x} {y})\"",
            number(text.rotation)
        );
    }
    if text.halo > 0.0 {
        let _ = write!(
            style,
            " paint-order=\"stroke\" stroke=\"#ffffff\" stroke-opacity=\"0.85\" stroke-width=\"{}\" \
             stroke-linejoin=\"round\"",
            number(2.0 * text.halo)
        );
    }
    line(
        out,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\"{style}>{}</text>",
            number(text.size),
            text.color.to_hex(),
            escape(&text.text)
        ),
    );
}

fn write_markers(out: &mut String, group: &Markers) {
    let outline = if group.outline > 0.0 {
        // The outline lies outside the marker: the stroke's inner half is painted over by the fill.
        format!(
            " stroke=\"#ffffff\" stroke-width=\"{}\" paint-order=\"stroke\"",
            number(2.0 * group.outline)
        )
    } else {
        String::new()
    };
    line(
        out,
        format_args!("<g fill-opacity=\"{}\"{outline}>", number(group.alpha)),
    );
    for marker in &group.markers {
        let fill = marker.color.to_hex();
        if marker.shape == Shape::Circle {
            line(
                out,
                format_args!(
                    "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{fill}\"/>",
                    number(marker.at.0),
                    number(marker.at.1),
                    number(group.radius)
                ),
            );
        } else {
            let points = corners(&marker.shape.corners(marker.at, group.radius));
            line(
                out,
                format_args!("<polygon points=\"{points}\" fill=\"{fill}\"/>"),
            );
        }
    }
    line(out, format_args!("</g>"));
}

fn write_grid(out: &mut String, frame: &Frame, columns: usize, rows: usize, colors: &[Rgb]) {
    line(out, format_args!("<g shape-rendering=\"crispEdges\">"));
    let (width, height) = (frame.width / columns as f64, frame.height / rows as f64);
    for (i, color) in colors.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let cell = Frame::new(
            frame.x + column as f64 * width,
            frame.y + row as f64 * height,
            width,
            height,
        );
        line(
            out,
            format_args!("<rect {} fill=\"{}\"/>", place(&cell), color.to_hex()),
        );
    }
    line(out, format_args!("</g>"));
}

/// The item as an embedded PNG.
fn embed(out: &mut String, item: &Item, frame: &Frame) -> Result<()> {
    let pixels = raster::draw_part(item, frame, EMBED_SCALE)?;
    let bytes = raster::encode(&pixels, None)?;
    line(
        out,
        format_args!(
            "<image {} preserveAspectRatio=\"none\" href=\"data:image/png;base64,{}\"/>",
            place(frame),
            STANDARD.encode(&bytes)
        ),
    );
    Ok(())
}

fn place(frame: &Frame) -> String {
    format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        number(frame.x),
        number(frame.y),
        number(frame.width),
        number(frame.height)
    )
}

fn corners(points: &[(f64, f64)]) -> String {
    let texts: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{},{}", number(*x), number(*y)))
        .collect();
    texts.join(" ")
}

/// A number with at most two decimals.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// Whether a character changes in which direction what comes after it is read.
#[doc(hidden)]
#[must_use]
pub fn turns_reading(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for XML 1.0: markup is escaped; characters that XML forbids, and those that turn the direction of reading, become
/// U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if turns_reading(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_turns_round_the_words_after_it() {
        let names = "a\u{202e}b\u{2066}c\u{2069} · d\u{200f}";
        assert_eq!(escape(names), "a\u{fffd}b\u{fffd}c\u{fffd} · d\u{fffd}");
        // Letters that are read from the right stay.
        assert_eq!(escape("\u{5d0} \u{628}"), "\u{5d0} \u{628}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(100.456), "100.46");
    }
}

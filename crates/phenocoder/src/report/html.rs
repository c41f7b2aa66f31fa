//! Text and numbers as HTML, with nothing of the user's taken for markup.

use std::fmt::Write as _;

use phenocoder_plot::turns_reading;
use serde::Serialize;

use crate::error::{Error, Result};

/// Text that cannot end an element or an attribute; characters that HTML forbids, and those that turn the direction of
/// reading, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || turns_reading(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// JSON that can stand between script tags: neither ends it nor begins a comment in it. What turns the direction of reading
/// becomes U+FFFD.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|error| {
        Error::data(
            super::STEP,
            format!("the numbers have no JSON form: {error}"),
        )
    })?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if turns_reading(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A whole number with a comma between thousands.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with three or four digits that tell something; a dash for what is not defined.
pub(super) fn number(v: f64) -> String {
    let size = v.abs();
    match v {
        _ if !v.is_finite() => "–".to_owned(),
        _ if size >= 1e6 || (size > 0.0 && size < 1e-3) => format!("{v:.1e}").replace('-', "−"),
        _ if v.fract() == 0.0 && size >= 1000.0 => {
            let sign = if v < 0.0 { "−" } else { "" };
            format!("{sign}{}", count(size as usize))
        }
        _ => {
            let decimals = if size >= 100.0 {
                0
            } else if size >= 10.0 {
                1
            } else if size >= 1.0 {
                2
            } else {
                3
            };
            let text = format!("{v:.decimals$}");
            let text = match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            };
            text.replace('-', "−")
        }
    }
}

/// A share as percent.
pub(super) fn percent(part: f64, whole: f64) -> String {
    match whole > 0.0 {
        true => format!("{:.1} %", 100.0 * part / whole),
        false => "–".to_owned(),
    }
}

/// What stands in the place of something that is not there, and why.
pub(super) fn absent(why: &str) -> String {
    format!("<p class=\"absent\">{}</p>", escape(why))
}

/// A picture with words below it.
pub(super) fn figure(svg: &str, caption: &str) -> String {
    let caption = escape(caption);
    // Within HTML the name space goes without saying; whoever does not see the picture hears the words.
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    let svg = svg.replacen("<svg", &format!("<svg aria-label=\"{caption}\""), 1);
    format!(
        "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">{svg}</div><figcaption>{caption}</figcaption></figure>"
    )
}

/// One cell of a table.
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// A number and how it is shown: it is sorted by its value.
    Number(f64, String),
    /// Markup that was made here, and what it is sorted by.
    Markup(String, f64),
}

impl Cell {
    /// Words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number with a few digits.
    pub(super) fn number(v: f64) -> Self {
        Self::Number(v, number(v))
    }

    /// A whole number.
    pub(super) fn count(n: usize) -> Self {
        Self::Number(n as f64, count(n))
    }

    /// A number in words over a bar as long as a share of the whole.
    pub(super) fn share(words: &str, share: f64, v: f64) -> Self {
        let width = share.clamp(0.0, 1.0) * 100.0;
        let markup = format!(
            "<span class=\"share\"><span>{words}</span><i><b style=\"width:{width:.1}%\"></b></i></span>"
        );
        Self::Markup(markup, v)
    }

    fn write(&self, out: &mut String) {
        let sorted = |v: f64| match v.is_finite() {
            true => format!(" data-v=\"{v}\""),
            false => " data-v=\"\"".to_owned(),
        };
        let _ = match self {
            Self::Text(text) => write!(out, "<td>{}</td>", escape(text)),
            Self::Number(v, text) => {
                write!(out, "<td class=\"num\"{}>{}</td>", sorted(*v), escape(text))
            }
            Self::Markup(markup, v) => write!(out, "<td{}>{markup}</td>", sorted(*v)),
        };
    }
}

/// A table with a heading per column; with `sortable`, clicks on them sort it.
pub(super) fn table(caption: &str, head: &[&str], rows: &[Vec<Cell>], sortable: bool) -> String {
    let class = if sortable { " class=\"sortable\"" } else { "" };
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table{class}><caption>{0}</caption><thead><tr>",
        escape(caption)
    );
    for (column, name) in head.iter().enumerate() {
        let first = rows.first().and_then(|row| row.get(column));
        let class = match first {
            Some(Cell::Number(..)) => " class=\"num\"",
            _ => "",
        };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        row.iter().for_each(|cell| cell.write(&mut out));
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A part that is folded away at first.
pub(super) fn folded(title: &str, body: &str) -> String {
    format!(
        "<details><summary>{}</summary>{body}</details>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let name = "</script><img src=x onerror='alert(1)'>\u{0}";
        assert_eq!(
            escape(name),
            "&lt;/script&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;\u{fffd}"
        );
        let json = json(&[name, "\u{2028}", "<!--"]).unwrap();
        assert!(!json.contains('<') && !json.contains('\u{2028}'), "{json}");
        let back: Vec<String> = serde_json::from_str(&json).unwrap();
        assert_eq!(back, [name, "\u{2028}", "<!--"]);
    }

    #[test]
    fn no_name_turns_round_the_words_after_it() {
        let name = "a\u{202e}b\u{2066}c\u{2069}";
        let expected = "a\u{fffd}b\u{fffd}c\u{fffd}";
        assert_eq!(escape(name), expected);
        assert_eq!(json(&name).unwrap(), format!("\"{expected}\""));
        // Letters that are read from the right stay.
        assert_eq!(escape("\u{5d0} \u{628}"), "\u{5d0} \u{628}");
    }

    #[test]
    fn a_picture_has_its_words_as_a_name() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"><g/></svg>";
        let figure = figure(svg, "\" onload=\"x");
        assert!(
            figure.contains("<svg aria-label=\"&quot; onload=&quot;x\" role=\"img\">"),
            "{figure}"
        );
        assert!(!figure.contains("xmlns") && !figure.contains(" onload=\""));
    }

    #[test]
    fn numbers_are_short_and_say_what_is_not_defined() {
        let shown: Vec<String> = [
            0.0,
            0.5,
            -1.25,
            12.34,
            480.6,
            4800.0,
            -4800.0,
            2e7,
            1.5e-5,
            100.0,
            f64::NAN,
        ]
        .map(number)
        .to_vec();
        assert_eq!(
            shown,
            [
                "0", "0.5", "−1.25", "12.3", "481", "4,800", "−4,800", "2.0e7", "1.5e−5", "100",
                "–"
            ]
        );
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(1.0, 8.0), "12.5 %");
        assert_eq!(percent(0.0, 0.0), "–");
    }
}

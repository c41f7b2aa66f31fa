//! Metadata files: JSON with the bare `NaN` and `Infinity` that Python writes.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// Parses a metadata file.
///
/// # Errors
///
/// [`Error::NotUtf8`], or [`Error::Json`] when it is no JSON or nested more than 127 deep.
pub(crate) fn parse(key: &str, bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 {
        key: key.to_owned(),
    })?;
    let failed = |source| Error::Json {
        key: key.to_owned(),
        source,
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => match quote_bare_numbers(text) {
            Some(quoted) => serde_json::from_str(&quoted).map_err(failed),
            None => Err(failed(error)),
        },
    }
}

/// Parses a metadata file that must hold an object.
///
/// # Errors
///
/// As [`parse`], and [`Error::InvalidMetadata`] for another value.
pub(crate) fn parse_object(key: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match parse(key, bytes)? {
        Value::Object(object) => Ok(object),
        other => Err(Error::invalid(key, "an object", other)),
    }
}

/// Puts `NaN`, `Infinity` and `-Infinity` outside strings into quotes; `None` when there are none.
fn quote_bare_numbers(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut changed = false;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        if !in_string
            && let Some(token) = ["NaN", "-Infinity", "Infinity"]
                .into_iter()
                .find(|token| rest.starts_with(token))
        {
            out.push('"');
            out.push_str(token);
            out.push('"');
            rest = &rest[token.len()..];
            changed = true;
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                if let Some(escaped) = rest.chars().next() {
                    out.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
            }
            _ => {}
        }
    }
    changed.then_some(out)
}

/// The value of a key that must hold text.
pub(crate) fn text<'a>(key: &str, object: &'a Map<String, Value>, name: &str) -> Result<&'a str> {
    match object.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Error::invalid(key, format!("text as `{name}`"), other)),
        None => Err(Error::missing(key, format!("`{name}`"))),
    }
}

/// A list of counts, such as a shape.
pub(crate) fn counts(key: &str, object: &Map<String, Value>, name: &str) -> Result<Vec<u64>> {
    let found = object
        .get(name)
        .ok_or_else(|| Error::missing(key, format!("`{name}`")))?;
    found
        .as_array()
        .and_then(|list| list.iter().map(Value::as_u64).collect())
        .ok_or_else(|| Error::invalid(key, format!("`{name}` as a list of whole numbers"), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_of_python_are_understood_outside_strings() {
        let value = parse(
            "k",
            br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN"}"#,
        );
        let expected = r#"{"a":"NaN","b":["-Infinity","Infinity"],"c":"NaN \" NaN"}"#;
        assert_eq!(value.unwrap().to_string(), expected);
    }

    #[test]
    fn deep_nesting_and_broken_text_are_errors() {
        let deep = "[".repeat(200_000);
        assert!(matches!(
            parse("k", deep.as_bytes()),
            Err(Error::Json { .. })
        ));
        assert!(matches!(parse("k", b"{\"a\": tr"), Err(Error::Json { .. })));
        assert!(matches!(
            parse("k", b"\"\xff\""),
            Err(Error::NotUtf8 { .. })
        ));
    }
}

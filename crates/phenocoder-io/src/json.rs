//! Metadata files: JSON with the bare `NaN` and `Infinity` that Python writes.

use std::collections::BTreeMap;

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

/// The names of an object and the texts of their values, in their order.
pub(crate) type Members = Vec<(String, String)>;

/// The members of a metadata file that must hold an object, as they are written there.
///
/// # Errors
///
/// As [`parse_object`].
pub(crate) fn parse_members(key: &str, bytes: &[u8]) -> Result<Members> {
    let text = check_object(key, bytes)?;
    let members = members(text).ok_or_else(|| Error::invalid(key, "an object", text))?;
    let owned = |(name, value): (String, &str)| (name, value.to_owned());
    Ok(members.into_iter().map(owned).collect())
}

/// The text of a metadata file that must hold an object.
///
/// # Errors
///
/// As [`parse_object`].
pub(crate) fn check_object<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a str> {
    parse_object(key, bytes)?;
    std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 {
        key: key.to_owned(),
    })
}

/// The text of a member of an object, the last of that name.
#[cfg(feature = "object-store")]
pub(crate) fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let found = members(text)?.into_iter().rfind(|(found, _)| found == name);
    found.map(|(_, text)| text)
}

/// The members of an object in a text that [`parse`] takes; `None` for any other value.
///
/// Bare numbers are passed over as all that is neither a text nor a bracket.
pub(crate) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut found = Vec::new();
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let (mut start, mut colon) = (0, None);
    let ends = inner.bytes().chain([b',']).enumerate();
    for (at, byte) in ends {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b':' if depth == 0 => colon = colon.or(Some(at)),
            b',' if depth == 0 => {
                if let Some(colon) = colon.take() {
                    let name = serde_json::from_str(&inner[start..colon]).ok()?;
                    found.push((name, inner[colon + 1..at].trim()));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    Some(found)
}

/// The text of an object.
pub(crate) fn object(members: &Members) -> String {
    let members = members.iter();
    let texts = members.map(|(name, value)| format!("{}: {value}", Value::String(name.clone())));
    format!("{{{}}}", texts.collect::<Vec<_>>().join(", "))
}

/// The text of a value, in which all that is as in the old text stays as it is written there.
///
/// So numbers stay that Python writes and [`Value`] does not hold: `NaN` is a text in it, and a whole number of more
/// than 64 bits the nearest float.
pub(crate) fn render_onto(old: &str, new: &Value) -> String {
    if parse("", old.as_bytes()).is_ok_and(|old| old == *new) {
        return old.trim().to_owned();
    }
    let Value::Object(new) = new else {
        return new.to_string();
    };
    let old: BTreeMap<String, &str> = members(old).unwrap_or_default().into_iter().collect();
    let texts = new.iter().map(|(name, value)| {
        let old = old.get(name).copied().unwrap_or_default();
        (name.clone(), render_onto(old, value))
    });
    object(&texts.collect())
}

/// Sets a member, in its place where there is one; what is the same in it stays as it is written.
pub(crate) fn set_member(members: &mut Members, name: &str, new: &Value) {
    match members.iter_mut().rfind(|(found, _)| found == name) {
        Some((_, text)) => *text = render_onto(text, new),
        None => members.push((name.to_owned(), render_onto("", new))),
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
            // As a name it is no JSON of Python either.
            && !rest[token.len()..].trim_start().starts_with(':')
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
    fn a_bare_number_is_no_name() {
        for bad in [r#"{NaN: 1, "a": 2}"#, r#"{"a": {Infinity : 1}}"#] {
            assert!(parse("k", bad.as_bytes()).is_err(), "{bad}");
            assert!(parse_members("k", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_changed_stays_as_python_wrote_it() {
        let old = r#" {"a": {"x": NaN, "n" : 1180591620717411303424, "t": "}, \"NaN\\"},
            "b": [-Infinity, {"c": 1e2}], "e": {}, "é,:": 1.50} "#;
        let mut value = parse("k", old.as_bytes()).unwrap();
        assert_eq!(render_onto(old, &value), old.trim());
        value["a"]["new"] = serde_json::json!({"p": {"q": 1}});
        value["e"] = Value::Null;
        let new = render_onto(old, &value);
        assert_eq!(
            new,
            r#"{"a": {"x": NaN, "n": 1180591620717411303424, "t": "}, \"NaN\\", "new": {"p": {"q": 1}}}, "#
                .to_owned()
                + r#""b": [-Infinity, {"c": 1e2}], "e": null, "é,:": 1.50}"#
        );
        assert_eq!(parse("k", new.as_bytes()).unwrap(), value);
        let mut members = parse_members("k", old.as_bytes()).unwrap();
        assert_eq!(members.len(), 4);
        members.remove(0);
        set_member(&mut members, "b", &Value::Bool(true));
        set_member(&mut members, "f", &Value::Bool(false));
        let expected = r#"{"b": true, "e": {}, "é,:": 1.50, "f": false}"#;
        assert_eq!(object(&members), expected);
        for other in ["[1]", "\"{}\"", "1", ""] {
            assert_eq!(super::members(other), None, "{other}");
        }
        assert_eq!(super::members("{}"), Some(Vec::new()));
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

//! The logical content of a store as JSON, in the layout of the conformance cases' `expected.json`.

mod columns;
mod rasters;
mod tables;
mod values;
mod vectors;

use std::collections::BTreeSet;
use std::error::Error as _;

use phenocoder_io::{Element, ElementKind, Error, Store, validate};
use serde_json::{Map, Value, json};

/// Everything that a store holds; what cannot be read is an entry `error`, and listed under `errors`.
pub(crate) fn describe(store: &Store) -> Value {
    let mut systems = BTreeSet::new();
    let mut errors = Vec::new();
    let mut groups: Map<String, Value> = ElementKind::ALL
        .iter()
        .map(|kind| (kind.group().to_owned(), json!({})))
        .collect();
    for element in store.elements() {
        let entry = describe_element(store, element).unwrap_or_else(|(error, stage)| {
            let entry = error_entry(&error, &element.key, stage);
            errors.push(entry.clone());
            json!({ "error": entry })
        });
        if let Some(transforms) = entry.get("transforms").and_then(Value::as_object) {
            systems.extend(transforms.keys().cloned());
        }
        note_unsupported(&entry, &element.key, &mut errors);
        groups[element.kind.group()][&element.name] = entry;
    }
    let mut warnings = Vec::new();
    for violation in validate(store) {
        let finding = json!({"key": violation.key, "problem": violation.problem});
        if violation.is_warning {
            warnings.push(finding);
            continue;
        }
        // An element that is listed and not there; the others were met above.
        if let Some((group, name)) = violation.key.split_once('/')
            && groups
                .get(group)
                .is_some_and(|group| group.get(name).is_none())
        {
            let entry = json!({
                "key": violation.key,
                "class": "MissingMetadata",
                "stage": "open",
                "message": format!("`{}`: {}", violation.key, violation.problem),
            });
            errors.push(entry.clone());
            groups[group][name] = json!({ "error": entry });
        }
    }
    let mut attributes = store.attributes().clone();
    attributes.remove("spatialdata_attrs");
    groups.insert("container".to_owned(), store.version().as_str().into());
    groups.insert("attrs".to_owned(), attributes.into());
    groups.insert(
        "coordinate_systems".to_owned(),
        systems.into_iter().collect(),
    );
    groups.insert("warnings".to_owned(), warnings.into());
    groups.insert("errors".to_owned(), errors.into());
    groups.into()
}

fn describe_element(store: &Store, element: &Element) -> Result<Value, (Error, &'static str)> {
    let name = element.name.as_str();
    let open = |error| (error, "open");
    let read = |error| (error, "read");
    match element.kind {
        ElementKind::Image => rasters::image(&store.image(name).map_err(open)?).map_err(read),
        ElementKind::Labels => rasters::labels(&store.labels(name).map_err(open)?).map_err(read),
        ElementKind::Table => tables::table(&store.table(name).map_err(open)?).map_err(read),
        ElementKind::Points => vectors::points(&store.points(name).map_err(open)?).map_err(read),
        ElementKind::Shapes => vectors::shapes(&store.shapes(name).map_err(open)?).map_err(read),
        _ => Ok(json!({"kind": "other"})),
    }
}

/// Entries of a table that could not be read.
fn note_unsupported(value: &Value, key: &str, errors: &mut Vec<Value>) {
    let Some(object) = value.as_object() else {
        return;
    };
    if object.get("kind").is_some_and(|kind| kind == "unsupported") {
        let problem = object.get("problem").and_then(Value::as_str);
        errors.push(object.get("error").cloned().unwrap_or_else(|| {
            json!({
                "key": key,
                "class": "UnsupportedEncoding",
                "stage": "read",
                "message": format!("`{key}`: {}", problem.unwrap_or("it is not read")),
            })
        }));
        return;
    }
    for (name, value) in object {
        let inside = if name == "items" {
            key.to_owned()
        } else {
            format!("{key}/{name}")
        };
        note_unsupported(value, &inside, errors);
    }
}

/// An error with its place, its kind and its causes.
pub(crate) fn error_entry(error: &Error, key: &str, stage: &str) -> Value {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    json!({
        "key": error.key().unwrap_or(key),
        "class": class(error),
        "stage": stage,
        "message": message,
    })
}

/// The kind of an error, as the conformance cases call it.
pub(crate) fn class(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "Io",
        Error::NotAStore { .. } | Error::MissingMetadata { .. } | Error::NoEntry { .. } => {
            "MissingMetadata"
        }
        Error::Json { .. } => "InvalidJson",
        Error::NotUtf8 { .. } => "InvalidUtf8",
        Error::TooLarge { .. } => "TooLarge",
        Error::InvalidPath { .. } => "InvalidPath",
        Error::InvalidGeometry { .. } => "InvalidGeometry",
        Error::InvalidMetadata { .. } | Error::DataType { .. } | Error::InvalidTable { .. } => {
            "InvalidMetadata"
        }
        Error::UnsupportedVersion { .. } => "UnsupportedVersion",
        Error::UnsupportedCodec { .. } => "UnsupportedCodec",
        Error::UnsupportedEncoding { .. } => "UnsupportedEncoding",
        Error::InvalidTransform { .. } => "InvalidTransform",
        Error::CorruptChunk { key, .. } if key.ends_with(".parquet") => "InvalidParquet",
        Error::CorruptChunk { .. } => "CorruptChunk",
        Error::Checksum { .. } => "Checksum",
        Error::LengthMismatch { .. } => "LengthMismatch",
        Error::InvalidCategoryCode { .. } => "InvalidCategoryCode",
        Error::InvalidSparse { .. } | Error::Graph { .. } => "InvalidSparse",
        Error::Parquet { .. } | Error::Arrow { .. } => "InvalidParquet",
        _ => "Other",
    }
}

//! The JSON document that the statistics are written into, and the arrays beside it.

use ndarray::{ArrayD, ArrayView2, ArrayView3};
use phenocoder_core::ShapeError;
use phenocoder_spatial::Error;
use serde_json::{Map, Value, json};

/// Why an entry has no value.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The kind of error.
    kind: String,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // `Config(Radius { value: -1.0 })` is of the kind `Radius`.
        let debug = format!("{error:?}");
        let name = debug.split([' ', '{']).next().unwrap_or_default();
        let name = name.rsplit('(').next().unwrap_or_default();
        Self::new(name.trim_end_matches(')'), error.to_string())
    }
}

impl From<ShapeError> for Failure {
    fn from(error: ShapeError) -> Self {
        Error::from(error).into()
    }
}

/// A value or why there is none.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// An array of the layout's `.npz` file.
#[derive(Debug, Clone)]
pub(crate) enum Numbers {
    Real(ArrayD<f64>),
    Whole(ArrayD<i64>),
    Small(ArrayD<i32>),
}

/// Statistics by path.
#[derive(Debug, Default)]
pub(crate) struct Report {
    only: Vec<Vec<String>>,
    entries: Map<String, Value>,
    arrays: Vec<(String, Numbers)>,
}

impl Report {
    /// A report of what begins with one of these paths (`stats/knn`, say), or of everything when there are none.
    pub(crate) fn new(only: &[String]) -> Self {
        let parts = |path: &String| {
            let path = path.trim_matches('/');
            path.split('/').map(str::to_owned).collect()
        };
        Self {
            only: only.iter().map(parts).collect(),
            ..Self::default()
        }
    }

    /// Whether anything at, above or below this path is asked for.
    pub(crate) fn wants(&self, path: &[&str]) -> bool {
        let meets = |only: &Vec<String>| only.iter().zip(path).all(|(a, b)| a == b);
        self.only.is_empty() || self.only.iter().any(meets)
    }

    /// Adds what `compute` finds, or why it finds nothing, if it is asked for.
    pub(crate) fn entry(&mut self, path: &[&str], compute: impl FnOnce() -> Outcome<Value>) {
        if !self.wants(path) {
            return;
        }
        let value = compute()
            .unwrap_or_else(|failure| json!({ "error": failure.kind, "message": failure.message }));
        let Some((last, above)) = path.split_last() else {
            return;
        };
        let mut place = &mut self.entries;
        for part in above {
            let next = place.entry(*part).or_insert_with(|| json!({}));
            if !next.is_object() {
                *next = json!({});
            }
            let Value::Object(inner) = next else {
                return;
            };
            place = inner;
        }
        place.insert((*last).to_owned(), value);
    }

    pub(crate) fn array(&mut self, name: String, numbers: Numbers) {
        self.arrays.push((name, numbers));
    }

    pub(crate) fn into_parts(self) -> (Value, Vec<(String, Numbers)>) {
        (Value::Object(self.entries), self.arrays)
    }
}

/// A number; what JSON has no number for is a text, as Python spells it.
pub(crate) fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

pub(crate) fn numbers<'a>(values: impl IntoIterator<Item = &'a f64>) -> Value {
    values.into_iter().map(|&value| number(value)).collect()
}

pub(crate) fn matrix(values: ArrayView2<'_, f64>) -> Value {
    values.rows().into_iter().map(numbers).collect()
}

/// A matrix of counts.
pub(crate) fn counts(values: ArrayView2<'_, f64>) -> Value {
    let row = |row: ndarray::ArrayView1<'_, f64>| -> Value {
        row.iter().map(|&count| json!(count as u64)).collect()
    };
    values.rows().into_iter().map(row).collect()
}

pub(crate) fn tensor(values: ArrayView3<'_, f64>) -> Value {
    values.outer_iter().map(matrix).collect()
}

/// A number as Python prints it: 25.0 for 25.
pub(crate) fn python(value: f64) -> String {
    format!("{value:?}")
}

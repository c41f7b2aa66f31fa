//! Numbers and texts as JSON, and their hashes.

use phenocoder_core::DataType;
use phenocoder_io::{NumericArray, NumericValues};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Arrays up to this many values are listed.
pub(crate) const LISTED: usize = 200;

pub(crate) fn hex(digest: impl AsRef<[u8]>) -> String {
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// The hash of texts: length and bytes of each; a missing one has the largest length and no bytes.
pub(crate) fn sha_texts<S: AsRef<str>>(texts: impl IntoIterator<Item = Option<S>>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        match text {
            None => hash.update(u32::MAX.to_le_bytes()),
            Some(text) => {
                let bytes = text.as_ref().as_bytes();
                hash.update((bytes.len() as u32).to_le_bytes());
                hash.update(bytes);
            }
        }
    }
    hex(hash.finalize())
}

/// What NumPy calls a type.
pub(crate) fn type_name(data_type: DataType) -> String {
    format!("{data_type:?}").to_lowercase()
}

/// A number as JSON, which has no NaN.
pub(crate) fn float(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        value.into()
    }
}

/// One of many numbers.
pub(crate) fn number(values: &NumericValues, at: usize) -> Value {
    match values {
        NumericValues::Bool(v) => v[at].into(),
        NumericValues::UInt8(v) => v[at].into(),
        NumericValues::UInt16(v) => v[at].into(),
        NumericValues::UInt32(v) => v[at].into(),
        NumericValues::UInt64(v) => v[at].into(),
        NumericValues::Int8(v) => v[at].into(),
        NumericValues::Int16(v) => v[at].into(),
        NumericValues::Int32(v) => v[at].into(),
        NumericValues::Int64(v) => v[at].into(),
        NumericValues::Float16(v) => float(v[at].into()),
        NumericValues::Float32(v) => float(v[at].into()),
        NumericValues::Float64(v) => float(v[at]),
    }
}

pub(crate) fn numbers(values: &NumericValues) -> Vec<Value> {
    (0..values.len()).map(|at| number(values, at)).collect()
}

/// Numbers that come in parts, in C order: their hash, extremes, sum and a few of them.
pub(crate) struct Summary {
    data_type: DataType,
    shape: Vec<usize>,
    hash: Sha256,
    seen: usize,
    extremes: Option<(i128, i128)>,
    sum: u64,
    wanted: Vec<usize>,
    samples: Vec<Value>,
}

impl Summary {
    pub(crate) fn new(data_type: DataType, shape: &[usize]) -> Self {
        let n: usize = shape.iter().product();
        // In a wider type, as seven times the number of places may not fit.
        let part = |of: u128, by: u128| (n as u128 * of / by) as usize;
        let mut wanted = match n {
            0 => Vec::new(),
            _ => vec![0, n - 1, n / 2, part(7, 11), part(3, 13)],
        };
        wanted.sort_unstable();
        wanted.dedup();
        Self {
            data_type,
            shape: shape.to_vec(),
            hash: Sha256::new(),
            seen: 0,
            extremes: None,
            sum: 0,
            wanted,
            samples: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, values: &NumericValues) {
        self.hash.update(values.to_le_bytes());
        macro_rules! whole {
            ($values:expr) => {
                for &v in $values {
                    let v = i128::from(v);
                    // The sum wraps around, as NumPy's does.
                    self.sum = self.sum.wrapping_add(v as u64);
                    let (low, high) = self.extremes.unwrap_or((v, v));
                    self.extremes = Some((low.min(v), high.max(v)));
                }
            };
        }
        match values {
            NumericValues::Bool(v) => whole!(v),
            NumericValues::UInt8(v) => whole!(v),
            NumericValues::UInt16(v) => whole!(v),
            NumericValues::UInt32(v) => whole!(v),
            NumericValues::UInt64(v) => whole!(v),
            NumericValues::Int8(v) => whole!(v),
            NumericValues::Int16(v) => whole!(v),
            NumericValues::Int32(v) => whole!(v),
            NumericValues::Int64(v) => whole!(v),
            _ => {}
        }
        let end = self.seen + values.len();
        let here = self.wanted.iter().filter(|&&w| w >= self.seen && w < end);
        for &at in here {
            let value = number(values, at - self.seen);
            self.samples
                .push(json!({"index": index(at, &self.shape), "value": value}));
        }
        self.seen = end;
    }

    pub(crate) fn finish(self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("dtype".to_owned(), type_name(self.data_type).into());
        out.insert("shape".to_owned(), self.shape.into());
        out.insert("sha256".to_owned(), hex(self.hash.finalize()).into());
        if let Some((low, high)) = self.extremes {
            let shown = |v: i128| match (self.data_type, u64::try_from(v)) {
                (DataType::Bool, _) => Value::from(v != 0),
                (_, Ok(v)) => v.into(),
                (_, Err(_)) => (v as i64).into(),
            };
            let is_unsigned = matches!(
                self.data_type,
                DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64
            );
            out.insert("min".to_owned(), shown(low));
            out.insert("max".to_owned(), shown(high));
            let sum = match is_unsigned {
                true => Value::from(self.sum),
                false => (self.sum as i64).into(),
            };
            out.insert("sum".to_owned(), sum);
        }
        if self.seen > 0 {
            out.insert("samples".to_owned(), self.samples.into());
        }
        out
    }
}

/// Where the place of a number in C order lies.
fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &n) in index.iter_mut().zip(shape).rev() {
        *place = at % n.max(1);
        at /= n.max(1);
    }
    index
}

/// An array of numbers.
pub(crate) fn array(shape: &[usize], values: &NumericValues) -> Value {
    let mut summary = Summary::new(values.data_type(), shape);
    summary.push(values);
    let mut out = summary.finish();
    out.insert("kind".to_owned(), "array".into());
    if values.len() <= LISTED {
        out.insert("values".to_owned(), numbers(values).into());
    }
    out.into()
}

pub(crate) fn numeric_array(found: &NumericArray) -> Value {
    array(found.shape(), found.values())
}

/// An array of texts.
pub(crate) fn text_array<S: AsRef<str>>(shape: &[usize], texts: &[S]) -> Value {
    let present = texts.iter().map(|text| Some(text.as_ref()));
    let mut out = json!({"kind": "string-array", "shape": shape, "sha256": sha_texts(present)});
    if texts.len() <= LISTED {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        out["values"] = texts.into();
    }
    out
}

/// A number as Python's `str` shows it.
pub(crate) fn python_float(value: f64) -> String {
    if !value.is_finite() {
        return match float(value) {
            Value::String(name) => name,
            other => other.to_string(),
        };
    }
    // The shortest digits that give the number back, and its exponent.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let text = value.to_string();
        return if text.contains('.') {
            text
        } else {
            text + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

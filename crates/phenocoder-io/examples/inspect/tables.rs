//! Tables.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray};
use phenocoder_io::{
    Error, Frame, Matrix, NumericArray, NumericValues, SparseFormat, SparseMatrix, Table, Uns,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::columns::{About, column, frame, records, scalar, text_index};
use super::error_entry;
use super::values::{LISTED, hex, numbers, numeric_array, sha, text_array, type_name};

/// Sparse matrices up to this many places are hashed as dense ones, too.
const DENSE: usize = 1 << 28;

pub(crate) fn table(table: &Table) -> Result<Value, Error> {
    let data = table.read_all()?;
    let entries = |group: &str, entries: &BTreeMap<String, Uns>| {
        let described = entries.iter().map(|(name, entry)| {
            let described = match entry {
                Uns::Unsupported(_) => unsupported(table, &format!("{group}/{name}")),
                entry => value(entry),
            };
            (name.clone(), described)
        });
        described.collect::<Map<_, _>>()
    };
    let annotates = data.annotation.as_ref().map(|annotation| {
        let region = match annotation.regions.as_slice() {
            [one] => json!(one),
            many => json!(many),
        };
        json!({
            "region": region,
            "region_key": annotation.region_key,
            "instance_key": annotation.instance_key,
        })
    });
    let read = data.layers.iter();
    let mut layers: Map<_, _> = read.map(|(name, m)| (name.clone(), matrix(m))).collect();
    for (entry, _) in data.unsupported() {
        if let Some(name) = entry.strip_prefix("layers/") {
            layers.insert(name.to_owned(), unsupported(table, &entry));
        }
    }
    let raw = data.raw.as_ref().map(|raw| {
        json!({
            "shape": [data.n_obs(), raw.var_names.len()],
            "X": optional_matrix(raw.x.as_ref()),
            "var": frame(&text_index(&raw.var_names), raw.var_index_name.as_deref(), &raw.var),
            "varm": all(&raw.varm),
        })
    });
    Ok(json!({
        "shape": [data.n_obs(), data.n_vars()],
        "annotates": annotates,
        "X": optional_matrix(data.x.as_ref()),
        "obs": frame(&text_index(&data.obs_names), data.obs_index_name.as_deref(), &data.obs),
        "var": frame(&text_index(&data.var_names), data.var_index_name.as_deref(), &data.var),
        "layers": layers,
        "obsm": entries("obsm", &data.obsm),
        "varm": entries("varm", &data.varm),
        "obsp": entries("obsp", &data.obsp),
        "varp": entries("varp", &data.varp),
        "uns": entries("uns", &data.uns),
        "raw": raw,
    }))
}

/// An entry that could not be read, with its error.
fn unsupported(table: &Table, entry: &str) -> Value {
    match table.read_entry(entry) {
        Ok(_) => json!({"kind": "unsupported"}),
        Err(error) => {
            let entry = error_entry(&error, entry, "read");
            json!({"kind": "unsupported", "error": entry})
        }
    }
}

fn all(entries: &BTreeMap<String, Uns>) -> Map<String, Value> {
    let described = entries.iter().map(|(name, v)| (name.clone(), value(v)));
    described.collect()
}

fn optional_matrix(found: Option<&Matrix>) -> Value {
    found.map_or_else(|| json!({"kind": "null"}), matrix)
}

fn matrix(matrix: &Matrix) -> Value {
    match matrix {
        Matrix::Dense(m) => numeric_array(&NumericArray::from(m)),
        Matrix::DenseF32(m) => numeric_array(&NumericArray::from(m)),
        Matrix::DenseOther(m) => numeric_array(m),
        Matrix::Sparse(m) => sparse(m),
        _ => json!({"kind": "other"}),
    }
}

fn value(value: &Uns) -> Value {
    match value {
        Uns::Null => json!({"kind": "null"}),
        Uns::Bool(v) => scalar(&NumericValues::Bool(vec![*v])),
        Uns::Int(v) => scalar(&NumericValues::Int64(vec![*v])),
        Uns::Float(v) => scalar(&NumericValues::Float64(vec![*v])),
        Uns::Text(text) => json!({"kind": "string", "value": text}),
        Uns::Numbers(array) if array.shape().is_empty() => scalar(array.values()),
        Uns::Numbers(array) => numeric_array(array),
        Uns::Texts(texts) => text_array(&texts.shape, &texts.values),
        Uns::Bytes(bytes) => json!({"kind": "bytes", "value": {"bytes_hex": hex(bytes)}}),
        Uns::Records(found) => records(found),
        Uns::Sparse(matrix) => sparse(matrix),
        Uns::Column {
            values, ordered, ..
        } => match values.as_any().downcast_ref::<BinaryArray>() {
            Some(bytes) => {
                let texts: Vec<String> = bytes
                    .iter()
                    .map(|b| String::from_utf8_lossy(b.unwrap_or_default()).into_owned())
                    .collect();
                text_array(&[texts.len()], &texts)
            }
            None => {
                let about = About {
                    nullable: true,
                    ordered: *ordered,
                };
                column(values, about)
            }
        },
        Uns::Frame(Frame {
            index,
            index_name,
            columns,
        }) => frame(index, index_name.as_deref(), columns),
        Uns::Dict(items) => json!({"kind": "dict", "items": all(items)}),
        Uns::Unsupported(problem) => json!({"kind": "unsupported", "problem": problem}),
        _ => json!({"kind": "other"}),
    }
}

/// Does the same for numbers of every type.
macro_rules! each {
    ($values:expr, $v:ident, $variant:ident => $body:expr) => {
        each!(@ $values, $v, $variant, $body,
            Bool UInt8 UInt16 UInt32 UInt64 Int8 Int16 Int32 Int64 Float16 Float32 Float64)
    };
    (@ $values:expr, $v:ident, $variant:ident, $body:expr, $($name:ident)*) => {
        match $values {
            $(NumericValues::$name($v) => {
                let $variant = NumericValues::$name;
                $body
            })*
        }
    };
}

/// The values in this order.
fn ordered(values: &NumericValues, order: &[usize]) -> NumericValues {
    each!(values, v, variant => variant(order.iter().map(|&at| v[at]).collect()))
}

fn sparse(matrix: &SparseMatrix) -> Value {
    let (kind, major, minor) = match matrix.format() {
        SparseFormat::Csr => ("csr_matrix", matrix.shape().0, matrix.shape().1),
        SparseFormat::Csc => ("csc_matrix", matrix.shape().1, matrix.shape().0),
    };
    let indices = matrix.indices();
    let mut order: Vec<usize> = (0..indices.len()).collect();
    for range in matrix.indptr().windows(2) {
        order[range[0]..range[1]].sort_by_key(|&at| indices[at]);
    }
    let values = ordered(matrix.values(), &order);
    let indices: Vec<i64> = order.iter().map(|&at| indices[at].into()).collect();
    let indptr: Vec<i64> = matrix.indptr().iter().map(|&p| p as i64).collect();
    let sha_i64 = |v: &[i64]| sha(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let mut out = json!({
        "kind": kind,
        "shape": [matrix.shape().0, matrix.shape().1],
        "nnz": indices.len(),
        "dtype": type_name(values.data_type()),
        "data_sha256": sha(&values.to_le_bytes()),
        "indices_sha256": sha_i64(&indices),
        "indptr_sha256": sha_i64(&indptr),
    });
    if major
        .checked_mul(minor)
        .is_some_and(|places| places <= DENSE)
    {
        out["dense_sha256"] = dense_hash(matrix, &values, &indices).into();
    }
    if indices.len() <= LISTED {
        out["data"] = numbers(&values).into();
        out["indices"] = indices.into();
        out["indptr"] = indptr.into();
    }
    out
}

/// The hash of the matrix with its zeros, by rows; values of the same place add up.
fn dense_hash(matrix: &SparseMatrix, values: &NumericValues, indices: &[i64]) -> String {
    let (n, p) = matrix.shape();
    // For each row the places of its values.
    let mut rows: Vec<Vec<(usize, usize)>> = vec![Vec::new(); n];
    for (major, range) in matrix.indptr().windows(2).enumerate() {
        for (at, &minor) in indices.iter().enumerate().take(range[1]).skip(range[0]) {
            match matrix.format() {
                SparseFormat::Csr => rows[major].push((minor as usize, at)),
                SparseFormat::Csc => rows[minor as usize].push((major, at)),
            }
        }
    }
    let mut hash = Sha256::new();
    if let NumericValues::Bool(v) = values {
        for row in &rows {
            let mut dense = vec![false; p];
            row.iter().for_each(|&(column, at)| dense[column] |= v[at]);
            hash.update(NumericValues::Bool(dense).to_le_bytes());
        }
        return hex(hash.finalize());
    }
    macro_rules! add {
        ($v:expr, $variant:ident, $add:expr) => {
            for row in &rows {
                let mut dense = vec![Default::default(); p];
                for &(column, at) in row {
                    dense[column] = $add(dense[column], $v[at]);
                }
                hash.update(NumericValues::$variant(dense).to_le_bytes());
            }
        };
    }
    match values {
        NumericValues::Bool(_) => {}
        NumericValues::UInt8(v) => add!(v, UInt8, u8::wrapping_add),
        NumericValues::UInt16(v) => add!(v, UInt16, u16::wrapping_add),
        NumericValues::UInt32(v) => add!(v, UInt32, u32::wrapping_add),
        NumericValues::UInt64(v) => add!(v, UInt64, u64::wrapping_add),
        NumericValues::Int8(v) => add!(v, Int8, i8::wrapping_add),
        NumericValues::Int16(v) => add!(v, Int16, i16::wrapping_add),
        NumericValues::Int32(v) => add!(v, Int32, i32::wrapping_add),
        NumericValues::Int64(v) => add!(v, Int64, i64::wrapping_add),
        NumericValues::Float16(v) => add!(v, Float16, |a, b| a + b),
        NumericValues::Float32(v) => add!(v, Float32, |a: f32, b: f32| a + b),
        NumericValues::Float64(v) => add!(v, Float64, |a: f64, b: f64| a + b),
    }
    hex(hash.finalize())
}

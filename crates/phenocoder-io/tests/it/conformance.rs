//! The conformance cases: stores of three generations of Python writers with their logical content, and damaged stores.
//!
//! The cases lie unpacked in a folder that `PHENOCODER_CONFORMANCE` names, or are unpacked once with `tar`.
//! Images, masks and tables are compared; points and shapes are not read yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, DictionaryArray, StringArray};
use arrow::datatypes::{DataType as ArrowType, Int32Type};
use phenocoder_core::{DataType, ImageRegion, ImageSource, LabelSource};
use phenocoder_io::{
    ElementKind, Frame, Image, Labels, Matrix, NumericArray, NumericValues, SparseFormat,
    SparseMatrix, Store, Table, Uns,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) fn cases() -> Option<&'static Path> {
    static CASES: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    if let Some(folder) = std::env::var_os("PHENOCODER_CONFORMANCE") {
        static GIVEN: OnceLock<PathBuf> = OnceLock::new();
        return Some(GIVEN.get_or_init(|| PathBuf::from(folder)));
    }
    let unpack = || {
        let archive = phenocoder_testdata::find("conformance/cases.tar.gz")?;
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("tar")
            .arg("xzf")
            .arg(archive)
            .arg("-C")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "tar failed");
        let path = folder.path().join("public");
        Some((folder, path))
    };
    CASES
        .get_or_init(unpack)
        .as_ref()
        .map(|(_, path)| path.as_path())
}

pub(crate) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn sha(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

fn sha_texts<S: AsRef<str>>(texts: impl IntoIterator<Item = Option<S>>) -> String {
    let mut bytes = Vec::new();
    for text in texts {
        match text {
            None => bytes.extend(u32::MAX.to_le_bytes()),
            Some(text) => {
                let text = text.as_ref().as_bytes();
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text);
            }
        }
    }
    sha(&bytes)
}

/// What does not agree, for one message per element.
pub(crate) type Check = Result<(), String>;

pub(crate) fn same(what: &str, found: impl Into<Value>, expected: &Value) -> Check {
    let found = found.into();
    if found == *expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found}"))
    }
}

fn numpy_name(data_type: DataType) -> String {
    format!("{data_type:?}").to_lowercase()
}

/// Pixels as little-endian bytes of their stored type; exact, as the values of the cases fit the type that is read.
fn pixel_bytes(values: &[f32], data_type: DataType) -> Option<Vec<u8>> {
    macro_rules! put {
        ($type:ty) => {
            values
                .iter()
                .flat_map(|&v| (v as $type).to_le_bytes())
                .collect()
        };
    }
    Some(match data_type {
        DataType::Bool | DataType::UInt8 => put!(u8),
        DataType::UInt16 => put!(u16),
        DataType::Int8 => put!(i8),
        DataType::Int16 => put!(i16),
        DataType::Float16 => values
            .iter()
            .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
            .collect(),
        DataType::Float32 => values.iter().flat_map(|&v| v.to_le_bytes()).collect(),
        _ => return None,
    })
}

pub(crate) fn transforms(
    transformations: &[phenocoder_io::Transformation],
    expected: &Value,
) -> Check {
    let expected = expected.as_object().unwrap();
    if transformations.len() != expected.len() {
        return Err(format!("{} transformations", transformations.len()));
    }
    for (system, wanted) in expected {
        let found = transformations
            .iter()
            .find(|t| t.target() == system)
            .ok_or_else(|| format!("no system {system}"))?;
        let affine = found.to_affine().map_err(|e| e.to_string())?;
        let rows = wanted["matrix"].as_array().unwrap();
        for (r, row) in rows.iter().enumerate() {
            for (c, value) in row.as_array().unwrap().iter().enumerate() {
                let (value, found) = (value.as_f64().unwrap(), affine.matrix[[r, c]]);
                if (value - found).abs() > 1e-12 * value.abs().max(1.0) {
                    return Err(format!(
                        "{system} [{r}, {c}]: expected {value}, found {found}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn image(image: &Image, expected: &Value) -> Check {
    same("axes", image.axes().to_vec(), &expected["axes"])?;
    same(
        "channels",
        image.channel_labels().to_vec(),
        &expected["channels"],
    )?;
    let levels = expected["levels"].as_array().unwrap();
    same("levels", image.n_levels(), &Value::from(levels.len()))?;
    transforms(image.transformations(), &expected["transforms"])?;
    for (k, level) in levels.iter().enumerate() {
        let image = image.level(k).map_err(|e| e.to_string())?;
        same("dtype", numpy_name(image.data_type()), &level["dtype"])?;
        let region = image.shape().region();
        let mut pixels = vec![0.0; region.checked_len().unwrap()];
        image
            .read_region(&region, &mut pixels)
            .map_err(|e| format!("{e:?}"))?;
        match pixel_bytes(&pixels, image.data_type()) {
            Some(bytes) => same("pixels", sha(&bytes), &level["sha256"])?,
            // Wider types do not fit f32: the samples are compared to its precision.
            None => samples(&pixels, &image.shape().region(), &level["samples"])?,
        }
    }
    Ok(())
}

fn samples(pixels: &[f32], region: &ImageRegion, samples: &Value) -> Check {
    let shape = region.shape();
    for sample in samples.as_array().unwrap() {
        let index: Vec<usize> = sample["index"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i.as_u64().unwrap() as usize)
            .collect();
        let (c, z, y, x) = match *index.as_slice() {
            [c, y, x] => (c, 0, y, x),
            [c, z, y, x] => (c, z, y, x),
            _ => return Err("index".into()),
        };
        let found = pixels[((c * shape.z + z) * shape.y + y) * shape.x + x];
        let Some(expected) = sample["value"].as_f64() else {
            continue;
        };
        if (f64::from(found) - expected).abs() > expected.abs() * 1e-6 {
            return Err(format!(
                "pixel {index:?}: expected {expected}, found {found}"
            ));
        }
    }
    Ok(())
}

fn labels(labels: &Labels, expected: &Value) -> Check {
    same("axes", labels.axes().to_vec(), &expected["axes"])?;
    transforms(labels.transformations(), &expected["transforms"])?;
    for (k, level) in expected["levels"].as_array().unwrap().iter().enumerate() {
        let labels = labels.level(k).map_err(|e| e.to_string())?;
        same("dtype", numpy_name(labels.data_type()), &level["dtype"])?;
        let region = labels.shape().region();
        let mut out = vec![0; region.checked_len().unwrap()];
        labels
            .read_region(&region, &mut out)
            .map_err(|e| format!("{e:?}"))?;
        let size = labels.data_type().size();
        let bytes: Vec<u8> = out
            .iter()
            .flat_map(|v| v.to_le_bytes()[..size].to_vec())
            .collect();
        same("labels", sha(&bytes), &level["sha256"])?;
    }
    Ok(())
}

fn sha_numbers(values: &NumericValues) -> String {
    sha(&values.to_le_bytes())
}

fn arrow_numbers(array: &ArrayRef) -> Option<NumericValues> {
    use arrow::array as a;
    macro_rules! numbers {
        ($($variant:ident $array:ty),*) => {
            $(if let Some(v) = array.as_any().downcast_ref::<$array>() {
                return Some(NumericValues::$variant(v.iter().map(Option::unwrap_or_default).collect()));
            })*
        };
    }
    numbers!(
        Bool a::BooleanArray, UInt8 a::UInt8Array, UInt16 a::UInt16Array, UInt32 a::UInt32Array,
        UInt64 a::UInt64Array, Int8 a::Int8Array, Int16 a::Int16Array, Int32 a::Int32Array,
        Int64 a::Int64Array, Float16 a::Float16Array, Float32 a::Float32Array, Float64 a::Float64Array
    );
    None
}

fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    let values = array.as_any().downcast_ref::<StringArray>().unwrap();
    values.iter().map(|t| t.map(str::to_owned)).collect()
}

/// A value as Python's `str` shows it.
fn shown(array: &ArrayRef, row: usize) -> String {
    match arrow_numbers(array) {
        None => texts(array)[row].clone().unwrap(),
        Some(NumericValues::Bool(v)) => if v[row] { "True" } else { "False" }.to_owned(),
        Some(values) if values.data_type().is_integer() => {
            values.to_i64().unwrap()[row].to_string()
        }
        Some(values) => {
            let text = values.to_f64()[row].to_string();
            if text.contains(['.', 'e', 'N', 'i']) {
                text
            } else {
                format!("{text}.0")
            }
        }
    }
}

pub(crate) fn column(array: &ArrayRef, nullable: bool, ordered: bool, expected: &Value) -> Check {
    same("length", array.len(), &expected["n"])?;
    let kind = expected["kind"].as_str().unwrap();
    let masked = |values: &NumericValues| {
        let mut bytes = values.to_le_bytes();
        let size = values.data_type().size();
        for row in 0..array.len() {
            if array.is_null(row) {
                bytes[row * size..(row + 1) * size].fill(0);
            }
        }
        bytes.extend((0..array.len()).map(|row| u8::from(array.is_null(row))));
        sha(&bytes)
    };
    match kind {
        "categorical" => {
            let dictionary = array.as_any().downcast_ref::<DictionaryArray<Int32Type>>();
            let dictionary = dictionary.ok_or("no categories")?;
            let codes: Vec<i64> = dictionary
                .keys()
                .iter()
                .map(|c| c.map_or(-1, i64::from))
                .collect();
            same("ordered", ordered, &expected["ordered"])?;
            column(dictionary.values(), false, false, &expected["categories"])?;
            let bytes: Vec<u8> = codes.iter().flat_map(|c| c.to_le_bytes()).collect();
            same("codes", sha(&bytes), &expected["codes_sha256"])?;
            let values = codes
                .iter()
                .map(|&c| (c >= 0).then(|| shown(dictionary.values(), c as usize)));
            same("labels", sha_texts(values), &expected["values_sha256"])
        }
        "string" => {
            if array.data_type() != &ArrowType::Utf8 {
                return Err(format!("{} is no text", array.data_type()));
            }
            same("texts", sha_texts(texts(array)), &expected["sha256"])
        }
        "nullable-integer" | "nullable-boolean" if !nullable => Err("it is not nullable".into()),
        "nullable-integer" | "nullable-boolean" => same(
            "values",
            masked(&arrow_numbers(array).unwrap()),
            &expected["sha256"],
        ),
        "array" => {
            let values = arrow_numbers(array).ok_or("no numbers")?;
            same("dtype", numpy_name(values.data_type()), &expected["dtype"])?;
            same("values", sha_numbers(&values), &expected["sha256"])
        }
        other => Err(format!("kind {other}")),
    }
}

fn frame(
    index: &ArrayRef,
    index_name: Option<&str>,
    columns: &arrow::array::RecordBatch,
    expected: &Value,
) -> Check {
    let names: Vec<String> = columns
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    same("columns", names, &expected["column_order"])?;
    let name = index_name.map_or(Value::Null, Value::from);
    same("index name", name, &expected["index_name"])?;
    column(index, false, false, &expected["index"]).map_err(|e| format!("index: {e}"))?;
    for (field, array) in columns.schema().fields().iter().zip(columns.columns()) {
        let expected = &expected["columns"][field.name()];
        let ordered = field.metadata().contains_key("anndata.ordered");
        column(array, field.is_nullable(), ordered, expected)
            .map_err(|e| format!("{}: {e}", field.name()))?;
    }
    Ok(())
}

fn names(names: &[String]) -> ArrayRef {
    std::sync::Arc::new(StringArray::from_iter_values(names))
}

fn numbers(array: &NumericArray, expected: &Value) -> Check {
    same("shape", array.shape().to_vec(), &expected["shape"])?;
    same(
        "dtype",
        numpy_name(array.values().data_type()),
        &expected["dtype"],
    )?;
    same("values", sha_numbers(array.values()), &expected["sha256"])
}

fn sparse(matrix: &SparseMatrix, expected: &Value) -> Check {
    let kind = match matrix.format() {
        SparseFormat::Csr => "csr_matrix",
        SparseFormat::Csc => "csc_matrix",
    };
    same("kind", kind, &expected["kind"])?;
    same(
        "shape",
        vec![matrix.shape().0, matrix.shape().1],
        &expected["shape"],
    )?;
    same(
        "dtype",
        numpy_name(matrix.values().data_type()),
        &expected["dtype"],
    )?;
    let bytes: Vec<u8> = matrix
        .indptr()
        .iter()
        .flat_map(|&p| (p as i64).to_le_bytes())
        .collect();
    same("indptr", sha(&bytes), &expected["indptr_sha256"])?;
    let size = matrix.values().data_type().size();
    let raw = matrix.values().to_le_bytes();
    let (mut indices, mut data) = (Vec::new(), Vec::new());
    for range in matrix.indptr().windows(2) {
        let mut row: Vec<usize> = (range[0]..range[1]).collect();
        row.sort_by_key(|&at| matrix.indices()[at]);
        for at in row {
            indices.extend(i64::from(matrix.indices()[at]).to_le_bytes());
            data.extend(&raw[at * size..(at + 1) * size]);
        }
    }
    same("indices", sha(&indices), &expected["indices_sha256"])?;
    same("data", sha(&data), &expected["data_sha256"])
}

fn matrix(matrix: &Matrix, expected: &Value) -> Check {
    match matrix {
        Matrix::Sparse(m) => sparse(m, expected),
        Matrix::Dense(m) => numbers(&m.into(), expected),
        Matrix::DenseF32(m) => numbers(&m.into(), expected),
        Matrix::DenseOther(m) => numbers(m, expected),
        _ => Err("a new kind of matrix".into()),
    }
}

fn value(found: &Uns, expected: &Value) -> Check {
    let kind = expected["kind"].as_str().unwrap();
    let scalar = |found: Value, dtype: &str| {
        same("dtype", dtype, &expected["dtype"])?;
        same("value", found, &expected["value"])
    };
    match (found, kind) {
        (Uns::Null, "null") => Ok(()),
        (Uns::Bool(v), "numeric-scalar") => scalar((*v).into(), "bool"),
        (Uns::Int(v), "numeric-scalar") => scalar((*v).into(), "int64"),
        (Uns::Float(v), "numeric-scalar") if v.is_finite() => scalar((*v).into(), "float64"),
        (Uns::Float(v), "numeric-scalar") => {
            let shown = match (v.is_nan(), *v > 0.0) {
                (true, _) => "NaN",
                (_, true) => "Infinity",
                _ => "-Infinity",
            };
            scalar(shown.into(), "float64")
        }
        (Uns::Numbers(v), "numeric-scalar") => {
            // Python widens a single float32; the stored type is kept here.
            if v.values().data_type() != DataType::Float32 {
                same(
                    "dtype",
                    numpy_name(v.values().data_type()),
                    &expected["dtype"],
                )?;
            }
            let wanted = expected["value"].as_f64().ok_or("no number")?;
            if v.values().to_f64() == [wanted] {
                Ok(())
            } else {
                Err(format!("{v:?}"))
            }
        }
        (Uns::Text(v), "string") => same("text", v.as_str(), &expected["value"]),
        (Uns::Numbers(v), "array") => numbers(v, expected),
        (Uns::Texts(v), "string-array") => {
            same("shape", v.shape.clone(), &expected["shape"])?;
            same(
                "texts",
                sha_texts(v.values.iter().map(Some)),
                &expected["sha256"],
            )
        }
        (Uns::Sparse(m), _) => sparse(m, expected),
        (
            Uns::Column {
                values, ordered, ..
            },
            _,
        ) => {
            if *ordered != (expected["ordered"] == true) {
                return Err(format!("found ordered: {ordered}"));
            }
            column(values, true, *ordered, expected)
        }
        (
            Uns::Frame(Frame {
                index,
                index_name,
                columns,
            }),
            "dataframe",
        ) => frame(index, index_name.as_deref(), columns, expected),
        (Uns::Dict(entries), "dict") => dict(entries, &expected["items"]),
        (Uns::Records(records), "rec-array") => {
            same("shape", records.shape.clone(), &expected["shape"])?;
            for (field, array) in records
                .fields
                .schema()
                .fields()
                .iter()
                .zip(records.fields.columns())
            {
                let expected = &expected["fields"][field.name()];
                let found = arrow_numbers(array)
                    .map_or_else(|| sha_texts(texts(array)), |values| sha_numbers(&values));
                same(field.name(), found, &expected["sha256"])?;
            }
            Ok(())
        }
        (found, kind) => Err(format!("expected {kind}, found {found:?}")),
    }
}

fn dict(found: &std::collections::BTreeMap<String, Uns>, expected: &Value) -> Check {
    let wanted = expected.as_object().unwrap();
    let keys: Vec<&String> = wanted.keys().collect();
    if found.keys().collect::<Vec<_>>() != keys {
        return Err(format!("expected {keys:?}, found {:?}", found.keys()));
    }
    for (name, found) in found {
        value(found, &wanted[name]).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn table(table: &Table, expected: &Value) -> Check {
    same(
        "shape",
        vec![table.n_obs(), table.n_vars()],
        &expected["shape"],
    )?;
    let data = table.read_all().map_err(|e| format!("{e}"))?;
    frame(
        &names(&data.obs_names),
        data.obs_index_name.as_deref(),
        &data.obs,
        &expected["obs"],
    )
    .map_err(|e| format!("obs: {e}"))?;
    frame(
        &names(&data.var_names),
        data.var_index_name.as_deref(),
        &data.var,
        &expected["var"],
    )
    .map_err(|e| format!("var: {e}"))?;
    match (&data.x, expected["X"]["kind"].as_str()) {
        (None, Some("null")) => {}
        (Some(x), _) => matrix(x, &expected["X"]).map_err(|e| format!("X: {e}"))?,
        (None, other) => return Err(format!("X: expected {other:?}")),
    }
    let layers = expected["layers"].as_object().unwrap();
    same(
        "layers",
        data.layers.keys().cloned().collect::<Vec<_>>(),
        &layers.keys().cloned().collect::<Vec<_>>().into(),
    )?;
    for (name, layer) in &data.layers {
        matrix(layer, &layers[name]).map_err(|e| format!("layers/{name}: {e}"))?;
    }
    for (group, found) in [
        ("obsm", &data.obsm),
        ("varm", &data.varm),
        ("obsp", &data.obsp),
        ("varp", &data.varp),
        ("uns", &data.uns),
    ] {
        dict(found, &expected[group]).map_err(|e| format!("{group}: {e}"))?;
    }
    match (&data.raw, &expected["raw"]) {
        (None, Value::Null) => {}
        (Some(raw), Value::Object(expected)) => {
            frame(
                &names(&raw.var_names),
                raw.var_index_name.as_deref(),
                &raw.var,
                &expected["var"],
            )
            .map_err(|e| format!("raw/var: {e}"))?;
            if let Some(x) = &raw.x {
                matrix(x, &expected["X"]).map_err(|e| format!("raw/X: {e}"))?;
            }
            dict(&raw.varm, &expected["varm"]).map_err(|e| format!("raw/varm: {e}"))?;
        }
        _ => return Err("raw".into()),
    }
    let annotates = match &data.annotation {
        None => Value::Null,
        Some(a) => serde_json::json!({
            "region": match a.regions.as_slice() {
                [one] => Value::from(one.clone()),
                many => Value::from(many.to_vec()),
            },
            "region_key": a.region_key,
            "instance_key": a.instance_key,
        }),
    };
    let wanted = match &expected["annotates"] {
        Value::Object(o) if o["region"].is_null() => Value::Null,
        Value::Object(o) if o["region"].as_array().is_some_and(|r| r.len() == 1) => {
            let mut o = o.clone();
            o["region"] = o["region"][0].clone();
            Value::Object(o)
        }
        other => other.clone(),
    };
    same("annotation", annotates, &wanted)
}

#[test]
fn valid_stores_hold_what_python_reads_in_them() {
    let Some(cases) = cases() else { return };
    let (mut passed, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("valid")) {
        let expected = json(&case.join("expected.json"));
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let store = Store::open(case.join(expected["store"].as_str().unwrap())).unwrap();
        let optional = name.contains("_optional");
        let mut check = |what: String, result: Check| match result {
            Ok(()) => passed += 1,
            // Codecs of the optional tier may be refused, but never misread.
            Err(error) if optional && error.contains("UnsupportedCodec") => passed += 1,
            Err(error) => failures.push(format!("{name}/{what}: {error}")),
        };
        for kind in ElementKind::ALL {
            let wanted: Vec<&String> = expected[kind.group()].as_object().unwrap().keys().collect();
            let found: Vec<&String> = store
                .elements()
                .iter()
                .filter(|e| e.kind == kind)
                .map(|e| &e.name)
                .collect();
            let listed = if found == wanted {
                Ok(())
            } else {
                Err(format!("expected {wanted:?}, found {found:?}"))
            };
            check(format!("{} listed", kind.group()), listed);
        }
        for (element, expected) in expected["images"].as_object().unwrap() {
            let result = store.image(element).map_err(|e| format!("{e:?}"));
            check(
                format!("images/{element}"),
                result.and_then(|i| image(&i, expected)),
            );
        }
        for (element, expected) in expected["labels"].as_object().unwrap() {
            let result = store.labels(element).map_err(|e| format!("{e:?}"));
            check(
                format!("labels/{element}"),
                result.and_then(|l| labels(&l, expected)),
            );
        }
        for (element, expected) in expected["tables"].as_object().unwrap() {
            let result = store.table(element).map_err(|e| format!("{e:?}"));
            check(
                format!("tables/{element}"),
                result.and_then(|t| table(&t, expected)),
            );
        }
    }
    let total = passed + failures.len();
    println!("valid stores: {passed} of {total} checks");
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}

/// Reads everything that this crate reads; the errors, by element.
fn read_everything(store: &Store) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    for element in store.elements() {
        let result = match element.kind {
            ElementKind::Image => store
                .image(&element.name)
                .map_err(|e| format!("{e:?}"))
                .and_then(|i| {
                    (0..i.n_levels()).try_for_each(|k| {
                        let i = i.level(k).map_err(|e| format!("{e:?}"))?;
                        let region = window(&i.shape().region());
                        let mut out = vec![0.0; region.checked_len().unwrap()];
                        i.read_region(&region, &mut out)
                            .map_err(|e| format!("{e:?}"))
                    })
                }),
            ElementKind::Labels => store
                .labels(&element.name)
                .map_err(|e| format!("{e:?}"))
                .and_then(|l| {
                    (0..l.n_levels()).try_for_each(|k| {
                        let l = l.level(k).map_err(|e| format!("{e:?}"))?;
                        let region = window(&l.shape().region());
                        let mut out = vec![0; region.checked_len().unwrap()];
                        l.read_region(&region, &mut out)
                            .map_err(|e| format!("{e:?}"))
                    })
                }),
            ElementKind::Table => store
                .table(&element.name)
                .and_then(|t| t.read_all())
                .map_err(|e| format!("{e:?}"))
                .and_then(|t| {
                    let groups = [&t.obsm, &t.varm, &t.obsp, &t.varp, &t.uns];
                    let bad = groups.into_iter().flatten().find_map(|(name, v)| match v {
                        Uns::Unsupported(reason) => Some(format!("{name}: {reason}")),
                        _ => None,
                    });
                    bad.map_or(Ok(()), Err)
                }),
            _ => Ok(()),
        };
        if let Err(error) = result {
            errors.push((element.key.clone(), error));
        }
    }
    errors
}

fn window(region: &ImageRegion) -> ImageRegion {
    let short = |r: &std::ops::Range<usize>| r.start..r.end.min(4096);
    ImageRegion {
        c: short(&region.c),
        z: short(&region.z),
        y: region.y.start..region.y.end.min(512),
        x: region.x.start..region.x.end.min(512),
    }
}

#[test]
fn broken_stores_give_the_expected_outcome() {
    let Some(cases) = cases() else { return };
    let (mut passed, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("broken")) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let about = json(&case.join("case.json"));
        let expected = about["expect"]["result"].as_str().unwrap();
        let element = about["element"].as_str().unwrap_or("");
        // Points and shapes are not read yet.
        if ["points", "shapes", "wkb"]
            .iter()
            .any(|k| element.starts_with(k) || name.starts_with(k))
            || name.starts_with("no_transform")
            || name.starts_with("element_version")
        {
            continue;
        }
        let errors = match Store::open(case.join("store.zarr")) {
            Ok(store) => {
                let mut errors = read_everything(&store);
                if name.starts_with("stale_consolidated") {
                    // The element that is gone is not listed; asking for it is the error.
                    errors.extend(
                        store
                            .image("gone")
                            .err()
                            .map(|e| (String::new(), e.to_string())),
                    );
                }
                errors
            }
            Err(error) => vec![(String::new(), format!("{error:?}"))],
        };
        let right = match expected {
            "error" => errors.len() == 1,
            "error_or_ok" => errors.len() <= 1,
            _ => errors.is_empty(),
        };
        if right {
            passed += 1;
        } else {
            failures.push(format!("{name}: expected {expected}, found {errors:?}"));
        }
    }
    let total = passed + failures.len();
    println!("broken stores: {passed} of {total} cases");
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}

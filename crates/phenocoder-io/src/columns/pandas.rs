//! What pandas notes in a Parquet file: which columns are the index and which are categories.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// The note `pandas` of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pandas {
    pub(crate) index: Option<Index>,
    columns: BTreeMap<String, PandasColumn>,
}

/// Where the names of the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Index {
    /// A column of the file.
    Column(String),
    /// Numbers that are not stored.
    Range {
        name: Option<String>,
        start: i64,
        step: i64,
    },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct PandasColumn {
    name: Option<String>,
    numpy_type: String,
    pub(crate) is_categorical: bool,
    pub(crate) is_ordered: bool,
}

impl PandasColumn {
    /// AnnData's name for the type of a column with missing values, where pandas has such a type.
    pub(crate) fn nullable_encoding(&self, data_type: &DataType) -> Option<&'static str> {
        match data_type {
            DataType::Boolean if self.numpy_type == "boolean" => Some("nullable-boolean"),
            t if t.is_integer() && self.numpy_type.starts_with(['I', 'U']) => {
                Some("nullable-integer")
            }
            _ => None,
        }
    }
}

impl Pandas {
    pub(crate) fn parse(key: &str, text: &str) -> Result<Self> {
        let note = crate::json::parse_object(key, text.as_bytes())?;
        let mut columns = BTreeMap::new();
        for column in note
            .get("columns")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |name: &str| column.get(name).and_then(Value::as_str).map(str::to_owned);
            let (name, field) = (text("name"), text("field_name"));
            let Some(field) = field.or_else(|| name.clone()) else {
                continue;
            };
            let ordered = column.get("metadata").and_then(|m| m.get("ordered"));
            let column = PandasColumn {
                name,
                numpy_type: text("numpy_type").unwrap_or_default(),
                is_categorical: text("pandas_type").as_deref() == Some("categorical"),
                is_ordered: ordered.and_then(Value::as_bool).unwrap_or(false),
            };
            columns.insert(field, column);
        }
        let index = match note.get("index_columns").and_then(Value::as_array) {
            // More than one column is an index of several levels: they stay columns.
            Some(list) => match list.as_slice() {
                [Value::String(column)] => Some(Index::Column(column.clone())),
                [Value::Object(range)] => Some(parse_range(key, range)?),
                _ => None,
            },
            None => None,
        };
        Ok(Self { index, columns })
    }

    pub(crate) fn column(&self, field: &str) -> Option<&PandasColumn> {
        self.columns.get(field)
    }

    /// What the index is called, where it has a name that a person gave it.
    pub(crate) fn index_name(&self) -> Option<String> {
        let name = match self.index.as_ref()? {
            Index::Range { name, .. } => return name.clone(),
            Index::Column(field) => match self.columns.get(field) {
                Some(column) => column.name.clone()?,
                None => field.clone(),
            },
        };
        (!is_nameless(&name)).then_some(name)
    }
}

/// Whether this is the name that an index without one gets in a file.
pub(crate) fn is_nameless(name: &str) -> bool {
    name == "__null_dask_index__" || name.starts_with("__index_level_")
}

fn parse_range(key: &str, range: &Map<String, Value>) -> Result<Index> {
    let number = |name: &str| {
        let found = range.get(name).and_then(Value::as_i64);
        found.ok_or_else(|| Error::missing(key, format!("`{name}` of the range of the index")))
    };
    Ok(Index::Range {
        name: range.get("name").and_then(Value::as_str).map(str::to_owned),
        start: number("start")?,
        step: number("step")?,
    })
}

/// Writes a note; each column with its Arrow type, whether it is ordered, and how many categories it has.
#[derive(Debug, Default)]
pub(crate) struct PandasWriter {
    columns: Vec<Value>,
    index: Option<Value>,
}

impl PandasWriter {
    pub(crate) fn column(
        &mut self,
        field: &str,
        name: Option<&str>,
        data_type: &DataType,
        is_nullable: bool,
        categories: Option<(usize, bool)>,
    ) {
        let mut metadata =
            categories.map(|(n, ordered)| json!({"num_categories": n, "ordered": ordered}));
        let told = |name: &str| name.to_owned();
        let unit = |unit: &TimeUnit| match unit {
            TimeUnit::Second => "s",
            TimeUnit::Millisecond => "ms",
            TimeUnit::Microsecond => "us",
            TimeUnit::Nanosecond => "ns",
        };
        let (pandas, numpy) = match (data_type, categories) {
            (_, Some((n, _))) => {
                let codes = match n {
                    0..=0x7F => "int8",
                    0x80..=0x7FFF => "int16",
                    _ => "int32",
                };
                (told("categorical"), told(codes))
            }
            (DataType::Utf8, None) => (told("unicode"), told("object")),
            (DataType::Boolean, None) => {
                let numpy = if is_nullable { "boolean" } else { "bool" };
                (told("bool"), told(numpy))
            }
            (DataType::Binary, None) => (told("bytes"), told("object")),
            (DataType::Date32, None) => (told("date"), told("object")),
            (DataType::Timestamp(u, zone), None) => {
                metadata = zone.as_ref().map(|zone| json!({"timezone": zone.as_ref()}));
                let pandas = if zone.is_some() {
                    "datetimetz"
                } else {
                    "datetime"
                };
                (told(pandas), format!("datetime64[{}]", unit(u)))
            }
            (DataType::Duration(u), None) => (told("object"), format!("timedelta64[{}]", unit(u))),
            (
                DataType::Decimal32(precision, scale)
                | DataType::Decimal64(precision, scale)
                | DataType::Decimal128(precision, scale),
                None,
            ) => {
                metadata = Some(json!({"precision": precision, "scale": scale}));
                (told("decimal"), told("object"))
            }
            (t, None) if t.is_numeric() => {
                let plain = t.to_string().to_lowercase();
                let numpy = if is_nullable && t.is_integer() {
                    t.to_string().replace("Uint", "UInt")
                } else {
                    plain.clone()
                };
                (plain, numpy)
            }
            _ => (told("empty"), told("object")),
        };
        self.columns.push(json!({
            "name": name, "field_name": field, "pandas_type": pandas, "numpy_type": numpy, "metadata": metadata,
        }));
    }

    pub(crate) fn index_column(&mut self, field: &str) {
        self.index = Some(Value::from(field));
    }

    pub(crate) fn index_range(&mut self, name: Option<&str>, start: i64, stop: i64, step: i64) {
        self.index = Some(
            json!({"kind": "range", "name": name, "start": start, "stop": stop, "step": step}),
        );
    }

    pub(crate) fn finish(self) -> String {
        let index: Vec<Value> = self.index.into_iter().collect();
        json!({
            "index_columns": index,
            "column_indexes": [{
                "name": null, "field_name": null, "pandas_type": "unicode", "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }],
            "columns": self.columns,
            "creator": {"library": "phenocoder-io", "version": env!("CARGO_PKG_VERSION")},
            "pandas_version": "2.2.3",
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_pandas_is_understood() {
        let text = r#"{"index_columns": ["__index_level_0__"], "columns": [
            {"name": "gene", "field_name": "gene", "pandas_type": "categorical", "numpy_type": "int8",
             "metadata": {"num_categories": 2, "ordered": true}},
            {"name": "n", "field_name": "n", "pandas_type": "int32", "numpy_type": "Int32", "metadata": null},
            {"name": null, "field_name": "__index_level_0__", "pandas_type": "object", "numpy_type": "str"}]}"#;
        let pandas = Pandas::parse("k", text).unwrap();
        assert_eq!(
            pandas.index,
            Some(Index::Column("__index_level_0__".to_owned()))
        );
        assert_eq!(pandas.index_name(), None);
        let gene = pandas.column("gene").unwrap();
        assert!(gene.is_categorical && gene.is_ordered);
        let n = pandas.column("n").unwrap();
        assert_eq!(
            n.nullable_encoding(&DataType::Int32),
            Some("nullable-integer")
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = PandasWriter::default();
        writer.column("a", Some("a"), &DataType::UInt8, true, None);
        writer.column("b", Some("b"), &DataType::Utf8, false, Some((300, true)));
        writer.index_range(Some("cell"), 5, 25, 2);
        let pandas = Pandas::parse("k", &writer.finish()).unwrap();
        assert_eq!(pandas.index_name().as_deref(), Some("cell"));
        let a = pandas.column("a").unwrap();
        assert_eq!(
            a.nullable_encoding(&DataType::UInt8),
            Some("nullable-integer")
        );
        assert!(pandas.column("b").unwrap().is_ordered);
        let expected = Index::Range {
            name: Some("cell".to_owned()),
            start: 5,
            step: 2,
        };
        assert_eq!(pandas.index, Some(expected));
    }

    #[test]
    fn types_are_noted_as_pandas_notes_them() {
        // pa.Table.from_pandas(frame).schema.pandas_metadata of pyarrow 26.0.1 and pandas 3.1.1.
        let zone = Some("Europe/Berlin".into());
        for (data_type, pandas, numpy, metadata) in [
            (
                DataType::Decimal128(3, 2),
                "decimal",
                "object",
                json!({"precision": 3, "scale": 2}),
            ),
            (
                DataType::Timestamp(TimeUnit::Microsecond, None),
                "datetime",
                "datetime64[us]",
                Value::Null,
            ),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, zone),
                "datetimetz",
                "datetime64[ns]",
                json!({"timezone": "Europe/Berlin"}),
            ),
            (
                DataType::Duration(TimeUnit::Second),
                "object",
                "timedelta64[s]",
                Value::Null,
            ),
            (DataType::Date32, "date", "object", Value::Null),
            (DataType::Float16, "float16", "float16", Value::Null),
            (DataType::Binary, "bytes", "object", Value::Null),
        ] {
            let mut writer = PandasWriter::default();
            writer.column("c", Some("c"), &data_type, true, None);
            let expected = json!({
                "name": "c", "field_name": "c", "pandas_type": pandas, "numpy_type": numpy, "metadata": metadata,
            });
            assert_eq!(writer.columns, [expected]);
        }
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        assert!(Pandas::parse("k", "[1").is_err());
        assert!(Pandas::parse("k", "[1]").is_err());
        assert!(Pandas::parse("k", r#"{"index_columns": [{"start": 1}]}"#).is_err());
        let empty = Pandas::parse("k", r#"{"index_columns": 3, "columns": {"a": 1}}"#).unwrap();
        assert_eq!(empty.index, None);
    }
}

//! New arrays: their metadata and their chunk files.

use phenocoder_core::DataType;
use serde_json::{Map, Value, json};

use super::codec::BytesCodecs;
use super::{ElementType, vlen};
use crate::Result;
use crate::disk::Place;
use crate::node::ZarrFormat;

/// What a new array is like.
#[derive(Debug, Clone)]
pub(crate) struct ArraySpec {
    pub(crate) shape: Vec<u64>,
    pub(crate) chunk: Vec<u64>,
    pub(crate) element: ElementType,
    /// Chunks lie in folders (`0/1`) rather than side by side (`0.1`); Zarr v3 always uses folders.
    pub(crate) nested: bool,
    pub(crate) dimension_names: Option<Vec<String>>,
    /// The extent of the chunks within a shard; Zarr v3 only, and the caller writes the shards.
    pub(crate) inner: Option<Vec<u64>>,
    pub(crate) attributes: Map<String, Value>,
    /// What the metadata file says of the type and the fill value, where these bytes have a meaning.
    pub(crate) meaning: Option<(Value, Value)>,
}

impl ArraySpec {
    /// An array of which each chunk holds about `bytes` and whole rows, of values of `size` bytes.
    pub(crate) fn by_rows(shape: &[u64], element: ElementType, size: u64, bytes: u64) -> Self {
        // Axes beside one without places may have any extent.
        let row = shape.iter().skip(1).copied().fold(1, u64::saturating_mul);
        let row = row.max(1);
        let rows = (bytes / row.saturating_mul(size).max(1)).max(1);
        let chunk = shape
            .iter()
            .enumerate()
            .map(|(axis, &n)| if axis == 0 { n.min(rows) } else { n }.max(1))
            .collect();
        Self {
            shape: shape.to_vec(),
            chunk,
            element,
            nested: false,
            dimension_names: None,
            inner: None,
            attributes: Map::new(),
            meaning: None,
        }
    }

    /// Texts of which each chunk holds about `bytes`.
    pub(crate) fn of_texts<S: AsRef<str>>(shape: &[u64], texts: &[S], bytes: u64) -> Self {
        let content: usize = texts.iter().map(|text| 4 + text.as_ref().len()).sum();
        let mean = content.div_ceil(texts.len().max(1));
        Self::by_rows(shape, ElementType::Text, mean.max(32) as u64, bytes)
    }

    /// Sets what the metadata file says of the type and of the fill value, whose bytes must all be 0.
    pub(crate) fn with_meaning(mut self, data_type: Value, fill_value: Value) -> Self {
        self.meaning = Some((data_type, fill_value));
        self
    }

    pub(crate) fn with_attributes(mut self, attributes: Map<String, Value>) -> Self {
        self.attributes = attributes;
        self
    }

    fn v3(&self) -> Value {
        let name = match self.element {
            ElementType::Number(data_type) => zarr_name(data_type).to_owned(),
            ElementType::Text | ElementType::Utf32(_) => "string".to_owned(),
            ElementType::Opaque(size) => format!("r{}", size * 8),
        };
        let codecs = self.chunk_codecs();
        let codecs = match &self.inner {
            None => codecs,
            Some(inner) => json!([{"name": "sharding_indexed", "configuration": {
                "chunk_shape": inner,
                "codecs": codecs,
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "index_location": "end",
            }}]),
        };
        let mut metadata = json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape,
            "data_type": name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill_value(),
            "codecs": codecs,
            "attributes": self.attributes,
            "storage_transformers": [],
        });
        if let (Some(names), Some(object)) = (&self.dimension_names, metadata.as_object_mut()) {
            object.insert("dimension_names".to_owned(), json!(names));
        }
        metadata
    }

    /// The codecs of a chunk; the checksum is what tells damage from data.
    fn chunk_codecs(&self) -> Value {
        let first = match self.element {
            ElementType::Number(data_type) if data_type.size() == 1 => json!({"name": "bytes"}),
            ElementType::Number(_) | ElementType::Opaque(_) => {
                json!({"name": "bytes", "configuration": {"endian": "little"}})
            }
            ElementType::Text | ElementType::Utf32(_) => json!({"name": "vlen-utf8"}),
        };
        let zstd = json!({"name": "zstd", "configuration": {"level": 0, "checksum": false}});
        json!([first, zstd, {"name": "crc32c"}])
    }

    fn v2(&self) -> Value {
        let (dtype, filters) = match self.element {
            ElementType::Number(data_type) => (numpy_name(data_type).to_owned(), Value::Null),
            ElementType::Text | ElementType::Utf32(_) => {
                ("|O".to_owned(), json!([{"id": "vlen-utf8"}]))
            }
            ElementType::Opaque(size) => (format!("|V{size}"), Value::Null),
        };
        json!({
            "zarr_format": 2,
            "shape": self.shape,
            "chunks": self.chunk,
            "dtype": dtype,
            "compressor": {"id": "zstd", "level": 0, "checksum": true},
            "fill_value": self.fill_value(),
            "order": "C",
            "filters": filters,
            "dimension_separator": if self.nested { "/" } else { "." },
        })
    }

    fn fill_value(&self) -> Value {
        match self.element {
            ElementType::Number(DataType::Bool) => json!(false),
            ElementType::Number(data_type) if data_type.is_integer() => json!(0),
            ElementType::Number(_) => json!(0.0),
            ElementType::Text | ElementType::Utf32(_) => json!(""),
            ElementType::Opaque(size) => json!(vec![0; size]),
        }
    }

    /// The metadata for others to read.
    fn meant(&self, mut metadata: Value, data_type: &str) -> Value {
        if let (Some((meaning, fill)), Some(object)) = (&self.meaning, metadata.as_object_mut()) {
            object.insert(data_type.to_owned(), meaning.clone());
            object.insert("fill_value".to_owned(), fill.clone());
        }
        metadata
    }
}

/// The attribute of arrays that says that every chunk is stored, so that a missing one is a lost one.
const ALL_STORED: (&str, &str) = ("phenocoder", "all_chunks_stored");

/// Whether the attributes of an array say that every chunk is stored.
pub(crate) fn says_all_stored(attributes: &Map<String, Value>) -> bool {
    attributes
        .get(ALL_STORED.0)
        .and_then(|a| a.get(ALL_STORED.1))
        == Some(&Value::Bool(true))
}

/// Has the attributes of an array say that every chunk file is stored.
pub(crate) fn say_all_stored(attributes: &mut Map<String, Value>) {
    attributes.insert(ALL_STORED.0.to_owned(), json!({ALL_STORED.1: true}));
}

/// Writes the chunks of a new array.
#[derive(Debug)]
pub(crate) struct ArrayWriter {
    place: Place,
    spec: ArraySpec,
    format: ZarrFormat,
    codecs: BytesCodecs,
}

impl ArrayWriter {
    /// Writes the metadata of an array into a folder, which is created and holds none yet.
    ///
    /// The caller writes every chunk; of shards, which the caller writes, it says itself whether all are stored.
    pub(crate) fn create(place: &Place, format: ZarrFormat, mut spec: ArraySpec) -> Result<Self> {
        place.create_folder()?;
        if spec.inner.is_none() {
            say_all_stored(&mut spec.attributes);
        }
        match format {
            ZarrFormat::V3 => {
                let metadata = spec.meant(spec.v3(), "data_type");
                place.join("zarr.json").write_new_json(&metadata)?;
            }
            ZarrFormat::V2 => {
                let metadata = spec.meant(spec.v2(), "dtype");
                place.join(".zarray").write_new_json(&metadata)?;
                let attributes = Value::Object(spec.attributes.clone());
                place.join(".zattrs").write_new_json(&attributes)?;
            }
        }
        Ok(Self {
            place: place.clone(),
            spec,
            format,
            codecs: BytesCodecs::of_new_arrays(format == ZarrFormat::V3),
        })
    }

    /// Encodes numbers in native byte order that fill a chunk, or a chunk of a shard;
    /// `None` when all are the fill value.
    pub(crate) fn encode(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        if bytes.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        self.encode_all(bytes).map(Some)
    }

    fn encode_all(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let word = self.spec.element.word();
        if cfg!(target_endian = "big") && word > 1 {
            let mut little = bytes.to_vec();
            super::chain::swap_bytes(word, &mut little);
            return self.codecs.encode(&self.name(), &little);
        }
        self.codecs.encode(&self.name(), bytes)
    }

    /// Writes a chunk of numbers in native byte order, also one of zeros: a chunk that is missing is then a lost one.
    pub(crate) fn write(&self, index: &[u64], bytes: &[u8]) -> Result<()> {
        self.write_encoded(index, &self.encode_all(bytes)?)
    }

    /// Writes a chunk of texts, none longer than [`vlen::LONGEST`].
    pub(crate) fn write_texts<S: AsRef<str>>(&self, index: &[u64], texts: &[S]) -> Result<()> {
        let bytes = self.codecs.encode(&self.name(), &vlen::encode(texts))?;
        self.write_encoded(index, &bytes)
    }

    fn write_encoded(&self, index: &[u64], bytes: &[u8]) -> Result<()> {
        self.chunk_place(index).write(bytes)
    }

    /// Where a chunk lies.
    pub(crate) fn chunk_place(&self, index: &[u64]) -> Place {
        self.place.join(self.chunk_key(index))
    }

    fn chunk_key(&self, index: &[u64]) -> String {
        let numbers: Vec<String> = index.iter().map(u64::to_string).collect();
        match self.format {
            ZarrFormat::V3 if index.is_empty() => "c".to_owned(),
            ZarrFormat::V3 => format!("c/{}", numbers.join("/")),
            // A single value has the name of the first chunk of a list.
            ZarrFormat::V2 if index.is_empty() => "0".to_owned(),
            ZarrFormat::V2 if self.spec.nested => numbers.join("/"),
            ZarrFormat::V2 => numbers.join("."),
        }
    }

    fn name(&self) -> String {
        self.place.path().display().to_string()
    }
}

/// What Zarr v3 calls a type.
pub(crate) fn zarr_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "bool",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Float16 => "float16",
        DataType::Float32 => "float32",
        DataType::Float64 => "float64",
    }
}

/// What NumPy and Zarr v2 call a type.
pub(crate) fn numpy_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "|b1",
        DataType::UInt8 => "|u1",
        DataType::UInt16 => "<u2",
        DataType::UInt32 => "<u4",
        DataType::UInt64 => "<u8",
        DataType::Int8 => "|i1",
        DataType::Int16 => "<i2",
        DataType::Int32 => "<i4",
        DataType::Int64 => "<i8",
        DataType::Float16 => "<f2",
        DataType::Float32 => "<f4",
        DataType::Float64 => "<f8",
    }
}

//! One Zarr array: its metadata, and blocks and windows of it.
//!
//! zarrs supplies data types, fill values, chunk keys and codecs.
//! Files, limits, shards and text are handled here, because what a file claims must be checked before memory is taken
//! for it.

mod cache;
mod chain;
mod codec;
mod copy;
mod element;
mod numbers;
mod packed;
mod regions;
mod shard;
mod target;
mod verify;
mod vlen;
mod window;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use zarrs::array::{Array, ArrayMetadata};

use regions::with_scratch;

use crate::node::{Node, ZarrFormat};
use crate::path::child;
use crate::root::{RangeFile, Root};
use crate::{Error, MissingChunks, Result, json};

pub(crate) use cache::ChunkCache;
pub(crate) use chain::Block;
use chain::{Chain, Codecs, without_shards};
pub(crate) use codec::BytesCodecs;
pub(crate) use codec::unpack_zstd;
pub(crate) use element::{ElementType, MAX_OPAQUE};
pub(crate) use numbers::places_of;
pub use numbers::{NumericArray, NumericValues};
use packed::Packed;
pub(crate) use regions::Window;
pub(crate) use shard::encode_index;
use shard::{ShardIndex, Sharding};
pub use target::StoredPixel;
pub(crate) use target::{Bytes, Converted, Exact, Target};
pub(crate) use verify::{ArrayFiles, ChunkFile};
pub(crate) use vlen::{LONGEST as LONGEST_TEXT, encode as encode_texts};
pub(crate) use window::{Pixel, indices, no_character, utf32};
pub(crate) use write::{ArraySpec, ArrayWriter, numpy_name, say_all_stored, zarr_name};

/// The most axes that an array may have.
const MAX_AXES: usize = 16;

/// The number of places in a box of this shape, at most that of 128 bits: sides come from files.
fn places(shape: &[u64]) -> u128 {
    shape
        .iter()
        .fold(1, |places: u128, &side| places.saturating_mul(side.into()))
}

/// An open array; no data is held.
#[derive(Debug)]
pub(crate) struct ZarrArray {
    root: Arc<Root>,
    key: String,
    shape: Vec<u64>,
    element: ElementType,
    /// The extent of a chunk file's content.
    chunk: Vec<u64>,
    /// The extent of what is decoded at once: a chunk, or an inner chunk of a shard.
    block: Vec<u64>,
    codecs: Codecs,
    keys: Array<()>,
    /// A chunk that is not stored is an error.
    needs_all: bool,
    indexes: Mutex<KeptIndexes>,
}

/// The indexes of the shards that were read last, up to a number of bytes.
#[derive(Debug, Default)]
struct KeptIndexes {
    indexes: BTreeMap<String, Arc<ShardIndex>>,
    /// The keys, the oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl KeptIndexes {
    /// Enough for four million chunks, so that a visit of all chunks in random order reads each index once.
    const MOST_BYTES: usize = 64 << 20;

    fn keep(&mut self, key: &str, index: &Arc<ShardIndex>) {
        if self.indexes.contains_key(key) || index.bytes() > Self::MOST_BYTES {
            return;
        }
        while self.bytes + index.bytes() > Self::MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= self.indexes.remove(&oldest).map_or(0, |old| old.bytes());
        }
        self.bytes += index.bytes();
        self.indexes.insert(key.to_owned(), Arc::clone(index));
        self.order.push_back(key.to_owned());
    }
}

/// A shard whose file is open.
#[derive(Debug)]
struct OpenShard {
    key: String,
    file: RangeFile,
    index: Arc<ShardIndex>,
}

/// The shards of an array that were read last, with their files open and their indexes in memory.
///
/// Each is opened once, also one that is not there: who asks for it meanwhile waits. One that cannot be opened is tried
/// again by the next who asks.
#[derive(Debug)]
pub(crate) struct OpenShards {
    /// How many files are kept open.
    most: usize,
    kept: Mutex<VecDeque<(Vec<u64>, Arc<Slot>)>>,
}

/// A shard once it was opened, or found not to be there.
type Slot = Mutex<Option<Option<Arc<OpenShard>>>>;

impl Default for OpenShards {
    fn default() -> Self {
        Self::new(64)
    }
}

impl OpenShards {
    pub(crate) fn new(most: usize) -> Self {
        let kept = Mutex::default();
        Self { most, kept }
    }

    fn shard(
        &self,
        chunk: Vec<u64>,
        open: impl FnOnce(&[u64]) -> Result<Option<OpenShard>>,
    ) -> Result<Option<Arc<OpenShard>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(place, _)| *place == chunk);
        let slot = match found {
            Some((_, slot)) => Arc::clone(slot),
            None => {
                if kept.len() >= self.most {
                    kept.pop_front();
                }
                let slot = Arc::default();
                kept.push_back((chunk.clone(), Arc::clone(&slot)));
                slot
            }
        };
        drop(kept);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = &*slot {
            return Ok(shard.clone());
        }
        let shard = open(&chunk)?.map(Arc::new);
        Ok(slot.insert(shard).clone())
    }
}

impl ZarrArray {
    /// Opens the array at a key.
    pub(crate) fn open(root: &Arc<Root>, key: &str, format: ZarrFormat) -> Result<Self> {
        Self::from_node(root, Node::open(root, key, format)?)
    }

    /// Opens the array whose metadata have been read.
    pub(crate) fn from_node(root: &Arc<Root>, node: Node) -> Result<Self> {
        let needs_all = match root.options.missing_chunks {
            MissingChunks::AsDeclared => write::says_all_stored(&node.attributes),
            MissingChunks::Refuse => true,
            MissingChunks::Fill => false,
        };
        let key = node.key;
        let Some(metadata) = node.array else {
            return Err(Error::invalid(key, "an array", "a group"));
        };
        let shape = json::counts(&key, &metadata, "shape")?;
        if shape.len() > MAX_AXES {
            let found = format!("{} axes", shape.len());
            return Err(Error::invalid(key, "at most 16 axes", found));
        }
        if places(&shape) >> 96 != 0 {
            let found = format!("{shape:?}");
            return Err(Error::invalid(
                key,
                "a shape with fewer than 2^96 places",
                found,
            ));
        }
        let element = ElementType::parse(&key, &metadata, node.format)?;
        let chunk = chunk_shape(&key, &metadata, node.format)?;
        if chunk.len() != shape.len() || chunk.contains(&0) {
            let found = format!("{chunk:?}");
            return Err(Error::invalid(
                key,
                "one chunk length of at least 1 per axis",
                found,
            ));
        }
        let mut metadata = metadata;
        let fill = metadata.get("fill_value");
        if matches!(element, ElementType::Utf32(_)) && fill.is_some_and(Value::is_null) {
            metadata.insert("fill_value".to_owned(), Value::String(String::new()));
        }
        let (keys, chain) = match node.format {
            ZarrFormat::V3 => {
                check_extensions(&key, &metadata)?;
                open_v3(&key, metadata, element)?
            }
            ZarrFormat::V2 => open_v2(&key, metadata, element)?,
        };
        let fill = keys.fill_value().as_ne_bytes().to_vec();
        if element.size().is_some_and(|size| size != fill.len()) {
            let found = format!("one of {} bytes", fill.len());
            return Err(Error::invalid(key, "a fill value of the data type", found));
        }
        let block = chain.block_shape(&chunk);
        let max_chunk_bytes = match element {
            // Texts tell their size when they are unpacked, and are read as a whole.
            ElementType::Text => root
                .options
                .max_chunk_bytes
                .min(root.options.max_array_bytes),
            _ => root.options.max_chunk_bytes,
        };
        let codecs = Codecs {
            key: key.clone(),
            chain,
            element,
            data_type: keys.data_type().clone(),
            fill,
            max_chunk_bytes,
        };
        codecs.check_shapes(&chunk)?;
        Ok(Self {
            root: Arc::clone(root),
            key,
            shape,
            element,
            chunk,
            block,
            codecs,
            keys,
            needs_all,
            indexes: Mutex::default(),
        })
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shape(&self) -> &[u64] {
        &self.shape
    }

    pub(crate) fn element(&self) -> ElementType {
        self.element
    }

    /// The most bytes that may be read of it at once.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.root.options.max_array_bytes
    }

    /// The extent of what is decoded at once.
    pub(crate) fn block_shape(&self) -> &[u64] {
        &self.block
    }

    /// The number of places, or the largest number there is: windows of a larger array can be read, the whole cannot.
    pub(crate) fn len(&self) -> u64 {
        self.shape.iter().fold(1, |n, &s| n.saturating_mul(s))
    }

    /// Decodes one block; a block that is not stored is the fill value.
    pub(crate) fn block(&self, index: &[u64], open: &OpenShards) -> Result<Block> {
        with_scratch(
            |encoded, _| match self.read_encoded(index, open, encoded)? {
                Some(key) => self
                    .codecs
                    .decode(&key, self.block_chain(), encoded, &self.block),
                None => Ok(Block::Fill),
            },
        )
    }

    /// Decodes one block for the cache: whole numbers of 2 or 4 bytes in fewer bits where that pays.
    fn block_to_keep(&self, index: &[u64], open: &OpenShards) -> Result<Block> {
        let ElementType::Number(data_type) = self.element else {
            return self.block(index, open);
        };
        if !data_type.is_integer() || !matches!(data_type.size(), 2 | 4) {
            return self.block(index, open);
        }
        with_scratch(|encoded, decoded| {
            if !self.decode_block(index, open, encoded, decoded)? {
                return Ok(Block::Fill);
            }
            Ok(match Packed::pack(data_type.size(), decoded) {
                Some(packed) => Block::Packed(packed),
                None => Block::Bytes(decoded.clone()),
            })
        })
    }

    /// Decodes a block; whether damage of it shows in a checksum, or `None` when it is not stored.
    fn check_block(&self, index: &[u64], open: &OpenShards) -> Result<Option<bool>> {
        with_scratch(|encoded, _| {
            let Some(key) = self.read_encoded(index, open, encoded)? else {
                return Ok(None);
            };
            let chain = self.block_chain();
            self.codecs.decode(&key, chain, encoded, &self.block)?;
            Ok(Some(chain.has_checksum(Some(encoded.as_slice()))))
        })
    }

    /// Decodes a block of values of fixed size into `decoded`; `false` when it is not stored.
    fn decode_block(
        &self,
        index: &[u64],
        open: &OpenShards,
        encoded: &mut Vec<u8>,
        decoded: &mut Vec<u8>,
    ) -> Result<bool> {
        let Some(key) = self.read_encoded(index, open, encoded)? else {
            return Ok(false);
        };
        let chain = self.block_chain();
        let size = self
            .codecs
            .decoded_size(&key, chain, encoded.len(), &self.block)?;
        decoded.resize(size, 0);
        self.codecs
            .decode_into(&key, chain, encoded, &self.block, decoded)?;
        Ok(true)
    }

    /// As [`decode_block`](Self::decode_block), into memory of the size of a block.
    fn decode_block_into(
        &self,
        index: &[u64],
        open: &OpenShards,
        encoded: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<bool> {
        let Some(key) = self.read_encoded(index, open, encoded)? else {
            return Ok(false);
        };
        let chain = self.block_chain();
        self.codecs
            .decoded_size(&key, chain, encoded.len(), &self.block)?;
        self.codecs
            .decode_into(&key, chain, encoded, &self.block, out)?;
        Ok(true)
    }

    /// The codecs of a block.
    fn block_chain(&self) -> &Chain {
        let chain = &self.codecs.chain;
        chain.sharding().map_or(chain, |sharding| &sharding.chain)
    }

    /// Reads what is stored of a block, and returns the key of its file; `None` when it is not stored.
    fn read_encoded(
        &self,
        index: &[u64],
        open: &OpenShards,
        encoded: &mut Vec<u8>,
    ) -> Result<Option<String>> {
        let chunk = self.chunk_of(index);
        let Some(sharding) = self.codecs.chain.sharding() else {
            let key = self.chunk_key(&chunk);
            let limit = self.codecs.encoded_limit(&self.block);
            if !self.root.read(&key, limit, encoded)? {
                return self.missing(key);
            }
            return Ok(Some(key));
        };
        let shard = open.shard(chunk, |chunk| self.open_shard(sharding, chunk))?;
        let Some(shard) = shard else {
            return self.missing(self.chunk_key(&self.chunk_of(index)));
        };
        let places = index.iter().zip(self.per_chunk());
        let inner: Vec<u64> = places.map(|(i, n)| i % n).collect();
        let Some((offset, len)) = shard.index.locate(&shard.key, &inner, shard.file.size)? else {
            return Ok(None);
        };
        let len = self.codecs.check_encoded(&shard.key, len, &self.block)?;
        encoded.resize(len, 0);
        shard.file.read_into(offset, encoded)?;
        Ok(Some(shard.key.clone()))
    }

    /// What a chunk file that is not there means.
    fn missing<T>(&self, key: String) -> Result<Option<T>> {
        if self.needs_all {
            return Err(Error::MissingChunk { key });
        }
        Ok(None)
    }

    fn chunk_key(&self, chunk: &[u64]) -> String {
        child(&self.key, self.keys.chunk_key(chunk).as_str())
    }

    /// How many blocks a chunk has along each axis.
    fn per_chunk(&self) -> impl Iterator<Item = u64> {
        let lengths = self.chunk.iter().zip(&self.block);
        lengths.map(|(chunk, block)| chunk / block)
    }

    /// The chunk file that holds a block.
    fn chunk_of(&self, index: &[u64]) -> Vec<u64> {
        let places = index.iter().zip(self.per_chunk());
        places.map(|(i, n)| i / n).collect()
    }

    fn is_sharded(&self) -> bool {
        self.codecs.chain.sharding().is_some()
    }

    /// The memory that the shard of a block takes while it is open.
    fn unpacked_bytes(&self, index: &[u64]) -> u64 {
        if !self.is_sharded() {
            return 0;
        }
        let key = self.chunk_key(&self.chunk_of(index));
        self.root.unpacked_bytes(&key)
    }

    /// Opens the shard that holds a block, where the array has shards.
    fn open_shard_of(&self, index: &[u64], open: &OpenShards) -> Result<()> {
        if let Some(sharding) = self.codecs.chain.sharding() {
            open.shard(self.chunk_of(index), |chunk| {
                self.open_shard(sharding, chunk)
            })?;
        }
        Ok(())
    }

    fn open_shard(&self, sharding: &Sharding, chunk: &[u64]) -> Result<Option<OpenShard>> {
        let key = self.chunk_key(chunk);
        let Some(file) = self.root.ranges(&key)? else {
            return Ok(None);
        };
        let per_chunk: Vec<u64> = self.per_chunk().collect();
        let index = self.shard_index(sharding, &key, &file, &per_chunk)?;
        Ok(Some(OpenShard { key, file, index }))
    }

    fn shard_index(
        &self,
        sharding: &Sharding,
        key: &str,
        file: &RangeFile,
        per_shard: &[u64],
    ) -> Result<Arc<ShardIndex>> {
        let kept = || self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept().indexes.get(key) {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(sharding.read_index(key, file, per_shard)?);
        kept().keep(key, &index);
        Ok(index)
    }

    /// The value of a place that is not stored.
    pub(crate) fn fill(&self) -> &[u8] {
        &self.codecs.fill
    }
}

fn chunk_shape(key: &str, metadata: &Map<String, Value>, format: ZarrFormat) -> Result<Vec<u64>> {
    match format {
        ZarrFormat::V2 => json::counts(key, metadata, "chunks"),
        ZarrFormat::V3 => {
            let grid = metadata
                .get("chunk_grid")
                .and_then(Value::as_object)
                .ok_or_else(|| Error::missing(key, "`chunk_grid`"))?;
            let name = json::text(key, grid, "name")?;
            if name != "regular" {
                return Err(Error::UnsupportedCodec {
                    key: key.to_owned(),
                    problem: format!("unknown chunk grid `{name}`"),
                });
            }
            let configuration = grid
                .get("configuration")
                .and_then(Value::as_object)
                .ok_or_else(|| Error::missing(key, "`chunk_grid.configuration`"))?;
            json::counts(key, configuration, "chunk_shape")
        }
    }
}

/// Refuses extensions that must be understood.
fn check_extensions(key: &str, metadata: &Map<String, Value>) -> Result<()> {
    const KNOWN: [&str; 11] = [
        "zarr_format",
        "node_type",
        "shape",
        "data_type",
        "chunk_grid",
        "chunk_key_encoding",
        "fill_value",
        "codecs",
        "attributes",
        "dimension_names",
        "storage_transformers",
    ];
    for (name, value) in metadata {
        let optional = value.get("must_understand").and_then(Value::as_bool) == Some(false);
        if !KNOWN.contains(&name.as_str()) && !optional {
            return Err(Error::UnsupportedCodec {
                key: key.to_owned(),
                problem: format!("unknown extension `{name}`"),
            });
        }
    }
    match metadata.get("storage_transformers") {
        None => Ok(()),
        Some(Value::Array(list)) if list.is_empty() => Ok(()),
        Some(_) => Err(Error::UnsupportedCodec {
            key: key.to_owned(),
            problem: "storage transformers are not supported".to_owned(),
        }),
    }
}

/// The codecs on bytes are taken out of the metadata before zarrs sees them.
fn open_v3(
    key: &str,
    mut metadata: Map<String, Value>,
    element: ElementType,
) -> Result<(Array<()>, Chain)> {
    let codecs = match metadata.remove("codecs") {
        Some(Value::Array(codecs)) => codecs,
        Some(other) => return Err(Error::invalid(key, "a list of codecs", other)),
        None => return Err(Error::missing(key, "`codecs`")),
    };
    let (_, on_arrays) = BytesCodecs::split_v3(key, &codecs)?;
    metadata.insert("codecs".to_owned(), Value::Array(without_shards(on_arrays)));
    let keys = create(key, metadata)?;
    Ok((keys, Chain::of_v3(key, &codecs, element)?))
}

fn open_v2(
    key: &str,
    mut metadata: Map<String, Value>,
    element: ElementType,
) -> Result<(Array<()>, Chain)> {
    let filters = match metadata.remove("filters") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(filters)) => filters,
        Some(other) => return Err(Error::invalid(key, "a list of filters", other)),
    };
    let compressor = metadata.remove("compressor").filter(|c| !c.is_null());
    let (bytes, on_arrays) = BytesCodecs::split_v2(key, &filters, compressor.as_ref())?;
    let on_arrays = Value::Array(on_arrays.to_vec());
    metadata.insert("filters".to_owned(), on_arrays);
    metadata.insert("compressor".to_owned(), Value::Null);
    let dtype = metadata.get("dtype").cloned();
    // NumPy reads a byte order of single bytes as well.
    if let Some(name @ ("u1" | "i1" | "b1")) = dtype.as_ref().and_then(|d| d.as_str()?.get(1..)) {
        metadata.insert("dtype".to_owned(), Value::String(format!("|{name}")));
    }
    let keys = create(key, metadata)?;
    let chain = Chain::of_v2(key, keys.codecs(), bytes, dtype.as_ref(), element)?;
    Ok((keys, chain))
}

/// Has zarrs read the metadata.
fn create(key: &str, metadata: Map<String, Value>) -> Result<Array<()>> {
    use zarrs::array::ArrayCreateError as E;
    let metadata: ArrayMetadata = serde_json::from_value(Value::Object(metadata))
        .map_err(|error| Error::invalid(key, "metadata of an array", error))?;
    let made = std::panic::catch_unwind(|| Array::new_with_metadata(Arc::new(()), "/", metadata));
    match made {
        Ok(Ok(array)) => Ok(array),
        Ok(Err(
            error @ (E::CodecsCreateError(_)
            | E::StorageTransformersCreateError(_)
            | E::UnsupportedZarrV2Array(_)),
        )) => Err(Error::UnsupportedCodec {
            key: key.to_owned(),
            problem: with_causes(&error),
        }),
        Ok(Err(error)) => Err(Error::invalid(
            key,
            "metadata of an array",
            with_causes(&error),
        )),
        Err(_) => Err(Error::invalid(key, "metadata of an array", "nonsense")),
    }
}

/// An error with all its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

//! From the bytes of a chunk to its values, and every check on the way.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::{Value, json};
use zarrs::array::{ArrayBytes, CodecChain, CodecOptions, CodecTraits, DataType, FillValue};
use zarrs::metadata::v3::MetadataV3;

use super::codec::BytesCodecs;
use super::element::ElementType;
use super::packed::Packed;
use super::shard::Sharding;
use super::vlen;
use super::with_causes;
use crate::{Error, Result};

/// The decoded values of one block.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    /// Nothing is stored: every place has the fill value.
    Fill,
    /// Numbers of native byte order, or UTF-32, in C order.
    Bytes(Vec<u8>),
    /// As bytes, but in less memory: what the cache holds.
    Packed(Packed),
    /// Text in C order.
    Text(Vec<String>),
}

impl Block {
    /// The memory held, for the cache.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Fill => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Packed(packed) => packed.bytes(),
            Self::Text(texts) => texts.iter().map(|t| t.len() + size_of::<String>()).sum(),
        }
    }
}

/// The codecs of an array or of the chunks within a shard.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The codecs on arrays and the one that makes bytes of them; not used for shards and text.
    arrays: Arc<CodecChain>,
    bytes: BytesCodecs,
    /// The byte order of numbers that lie in C order, which need no more than that.
    order: Option<ByteOrder>,
    sharding: Option<Box<Sharding>>,
}

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    const NATIVE: Self = if cfg!(target_endian = "little") {
        Self::Little
    } else {
        Self::Big
    };
}

impl Chain {
    /// The codecs of Zarr v2: what zarrs makes of `order`, `dtype` and the filters, and those on bytes.
    pub(crate) fn of_v2(
        key: &str,
        arrays: Arc<CodecChain>,
        bytes: BytesCodecs,
        dtype: Option<&Value>,
        element: ElementType,
    ) -> Result<Self> {
        let is_plain = arrays.array_to_array_codecs().is_empty()
            && name_of(arrays.array_to_bytes_codec().as_ref()) == "bytes";
        let dtype = dtype.and_then(Value::as_str).unwrap_or_default();
        let order = if dtype.starts_with('>') {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        };
        let chain = Self {
            arrays,
            bytes,
            order: is_plain.then_some(order),
            sharding: None,
        };
        chain.check(key, element)?;
        Ok(chain)
    }

    /// Codecs as a Zarr v3 array lists them.
    pub(crate) fn of_v3(key: &str, codecs: &[Value], element: ElementType) -> Result<Self> {
        Self::parse_nested(key, codecs, element, 0)
    }

    pub(crate) fn parse_nested(
        key: &str,
        codecs: &[Value],
        element: ElementType,
        depth: usize,
    ) -> Result<Self> {
        let unsupported = |problem: String| Error::UnsupportedCodec {
            key: key.to_owned(),
            problem,
        };
        if depth > 3 {
            return Err(unsupported("shards are nested more than 4 deep".to_owned()));
        }
        let (bytes, codecs) = BytesCodecs::split_v3(key, codecs)?;
        let sharding = codecs
            .iter()
            .find(|codec| codec.get("name").and_then(Value::as_str) == Some(SHARDING))
            .map(|codec| Sharding::parse(key, codec, element, depth).map(Box::new))
            .transpose()?;
        let list: Vec<MetadataV3> = serde_json::from_value(Value::Array(without_shards(codecs)))
            .map_err(|error| Error::invalid(key, "a list of codecs", error))?;
        let arrays = catch_unwind(|| CodecChain::from_metadata(&list))
            .map_err(|_| unsupported("the codecs are configured wrongly".to_owned()))?
            .map_err(|error| unsupported(with_causes(&error)))?;
        let chain = Self {
            arrays: Arc::new(arrays),
            bytes,
            order: byte_order(codecs).filter(|_| sharding.is_none()),
            sharding,
        };
        chain.check(key, element)?;
        Ok(chain)
    }

    fn check(&self, key: &str, element: ElementType) -> Result<()> {
        if element != ElementType::Text || self.sharding.is_some() {
            return Ok(());
        }
        let is_vlen = name_of(self.arrays.array_to_bytes_codec().as_ref()) == "vlen-utf8";
        if is_vlen && self.arrays.array_to_array_codecs().is_empty() {
            return Ok(());
        }
        Err(Error::UnsupportedCodec {
            key: key.to_owned(),
            problem: "text is read with the codec `vlen-utf8` only".to_owned(),
        })
    }

    /// Whether a stored checksum shows damage of a chunk.
    pub(crate) fn has_checksum(&self, chunk: Option<&[u8]>) -> bool {
        let inner = self.sharding.as_ref();
        self.bytes.has_checksum(chunk)
            || inner.is_some_and(|sharding| sharding.chain.has_checksum(None))
    }

    /// The shards, where their chunks can be read one by one.
    pub(crate) fn sharding(&self) -> Option<&Sharding> {
        let alone = self.arrays.array_to_array_codecs().is_empty() && self.bytes.is_empty();
        self.sharding.as_deref().filter(|_| alone)
    }

    /// What is decoded at once.
    pub(crate) fn block_shape(&self, chunk: &[u64]) -> Vec<u64> {
        self.sharding()
            .map_or_else(|| chunk.to_vec(), |sharding| sharding.inner.clone())
    }
}

const SHARDING: &str = "sharding_indexed";

/// The codecs with `bytes` in the place of shards, which zarrs never sees.
pub(crate) fn without_shards(codecs: &[Value]) -> Vec<Value> {
    let is_sharding = |codec: &Value| codec.get("name").and_then(Value::as_str) == Some(SHARDING);
    let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
    codecs
        .iter()
        .map(|codec| {
            if is_sharding(codec) {
                bytes.clone()
            } else {
                codec.clone()
            }
        })
        .collect()
}

/// The byte order, when there is no other codec on arrays.
fn byte_order(codecs: &[Value]) -> Option<ByteOrder> {
    let [codec] = codecs else {
        return None;
    };
    if codec.as_str().or_else(|| codec.get("name")?.as_str()) != Some("bytes") {
        return None;
    }
    let endian = codec.get("configuration").and_then(|c| c.get("endian"));
    match endian.and_then(Value::as_str) {
        // Numbers of one byte have none.
        None | Some("little") => Some(ByteOrder::Little),
        Some("big") => Some(ByteOrder::Big),
        Some(_) => None,
    }
}

/// Everything needed to decode the chunks of an array.
#[derive(Debug)]
pub(crate) struct Codecs {
    pub(crate) key: String,
    pub(crate) chain: Chain,
    pub(crate) element: ElementType,
    pub(crate) data_type: DataType,
    pub(crate) fill: Vec<u8>,
    pub(crate) max_chunk_bytes: u64,
}

impl Codecs {
    /// Checks that shards divide into their chunks, at every depth.
    pub(crate) fn check_shapes(&self, chunk: &[u64]) -> Result<()> {
        let mut outer = chunk.to_vec();
        let mut chain = &self.chain;
        while let Some(sharding) = chain.sharding.as_deref() {
            let fits = sharding.inner.len() == outer.len()
                && sharding
                    .inner
                    .iter()
                    .zip(&outer)
                    .all(|(i, o)| *i > 0 && o % i == 0);
            if !fits {
                let found = format!("{:?} in {outer:?}", sharding.inner);
                return Err(Error::invalid(
                    &self.key,
                    "chunks that divide their shard",
                    found,
                ));
            }
            outer.clone_from(&sharding.inner);
            chain = &sharding.chain;
        }
        Ok(())
    }

    /// The most bytes that a chunk may be encoded in.
    ///
    /// Nothing makes more than 64 times as much of numbers: a shard's index has 16 bytes for each chunk in it, which is a
    /// byte or more, and casts make 8 bytes of one.
    pub(crate) fn encoded_limit(&self, shape: &[u64]) -> u64 {
        let plausible = self.element.size().map_or(u64::MAX, |size| {
            let decoded = shape.iter().copied().fold(size as u64, u64::saturating_mul);
            decoded.saturating_mul(64)
        });
        plausible.min(self.max_chunk_bytes).saturating_add(1 << 20)
    }

    pub(crate) fn check_encoded(&self, key: &str, len: u64, shape: &[u64]) -> Result<usize> {
        let limit = self.encoded_limit(shape);
        usize::try_from(len)
            .ok()
            .filter(|_| len <= limit)
            .ok_or_else(|| Error::too_large(key, "an encoded chunk with bytes", len, limit))
    }

    /// Decodes a chunk with the codecs of the array or of its shards.
    pub(crate) fn decode(
        &self,
        key: &str,
        chain: &Chain,
        bytes: &[u8],
        shape: &[u64],
    ) -> Result<Block> {
        if self.element.size().is_none() {
            let items = self.check_items(key, shape)?;
            return self.decode_text(key, chain, bytes, items).map(Block::Text);
        }
        let size = self.decoded_size(key, chain, bytes.len(), shape)?;
        let mut out = Vec::new();
        out.try_reserve_exact(size)
            .map_err(|error| Error::corrupt(key, error))?;
        out.resize(size, 0);
        self.decode_into(key, chain, bytes, shape, &mut out)?;
        Ok(Block::Bytes(out))
    }

    /// The bytes of a decoded chunk of values of fixed size, when so many can be in the encoded ones.
    pub(crate) fn decoded_size(
        &self,
        key: &str,
        chain: &Chain,
        encoded: usize,
        shape: &[u64],
    ) -> Result<usize> {
        let items = self.check_items(key, shape)?;
        let size = items.saturating_mul(self.element.size().unwrap_or(0));
        if chain.sharding.is_none()
            && chain.order.is_some()
            && !chain.bytes.is_possible(encoded, size)
        {
            return Err(Error::corrupt(
                key,
                format!("its {encoded} bytes cannot hold {size}"),
            ));
        }
        Ok(size)
    }

    /// The number of places in a chunk, when a buffer for them is within the limits.
    fn check_items(&self, key: &str, shape: &[u64]) -> Result<usize> {
        let items = super::places(shape);
        let size = self.element.size().unwrap_or(size_of::<String>());
        let bytes = items.saturating_mul(size as u128);
        let limit = self.max_chunk_bytes;
        usize::try_from(items)
            .ok()
            .filter(|_| bytes <= u128::from(limit))
            .ok_or_else(|| Error::too_large(key, "a decoded chunk with bytes", bytes, limit))
    }

    fn decode_text(
        &self,
        key: &str,
        chain: &Chain,
        bytes: &[u8],
        items: usize,
    ) -> Result<Vec<String>> {
        if chain.sharding.is_some() {
            return Err(Error::UnsupportedCodec {
                key: self.key.clone(),
                problem: "text in nested or compressed shards is not read".to_owned(),
            });
        }
        let bytes = chain
            .bytes
            .decode_within(key, bytes, self.max_chunk_bytes)?;
        vlen::decode(key, &bytes, items)
    }

    /// Decodes values of fixed size into `out`, in native byte order and C order.
    pub(crate) fn decode_into(
        &self,
        key: &str,
        chain: &Chain,
        bytes: &[u8],
        shape: &[u64],
        out: &mut [u8],
    ) -> Result<()> {
        if let Some(order) = chain.order {
            chain.bytes.decode_into(key, bytes, out)?;
            if order != ByteOrder::NATIVE {
                swap_bytes(self.element.word(), out);
            }
            return Ok(());
        }
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            self.decode_arrays(key, chain, bytes, shape, out.len())
        }))
        .unwrap_or_else(|_| Err(Error::corrupt(key, "the codec failed on it")))?;
        if decoded.len() != out.len() {
            let (found, expected) = (decoded.len(), out.len());
            return Err(Error::corrupt(
                key,
                format!("it holds {found} bytes, not {expected}"),
            ));
        }
        out.copy_from_slice(&decoded);
        Ok(())
    }

    /// Has zarrs undo the codecs on arrays.
    fn decode_arrays(
        &self,
        key: &str,
        chain: &Chain,
        bytes: &[u8],
        shape: &[u64],
        size: usize,
    ) -> Result<Vec<u8>> {
        let options = CodecOptions::default();
        let failed = |error| Error::corrupt(key, with_causes(&error));
        let unit: Vec<NonZeroU64> = shape.iter().filter_map(|&n| NonZeroU64::new(n)).collect();
        // What each array-to-array codec makes of the shape and type.
        let mut arrays = vec![(
            unit,
            self.data_type.clone(),
            FillValue::from(self.fill.clone()),
        )];
        for codec in chain.arrays.array_to_array_codecs() {
            let (shape, data_type, fill) = &arrays[arrays.len() - 1];
            let next = codec
                .encoded_representation(shape, data_type, fill)
                .map_err(failed)?;
            arrays.push(next);
        }
        let (stored_shape, stored_type, stored_fill) = &arrays[arrays.len() - 1];
        let mut array = if let Some(sharding) = &chain.sharding {
            let limit = self.encoded_limit(shape);
            let shard = chain.bytes.decode(key, bytes, limit)?;
            let shape: Vec<u64> = stored_shape.iter().map(|n| n.get()).collect();
            ArrayBytes::new_flen(self.decode_shard(key, sharding, &shard, &shape)?)
        } else {
            let codec = chain.arrays.array_to_bytes_codec();
            let expected = codec
                .encoded_representation(stored_shape, stored_type, stored_fill)
                .map_err(failed)?
                .size()
                .and_then(|size| usize::try_from(size).ok());
            // A codec that stores numbers in fewer bits makes them fewer bytes, none makes them many more.
            let most = size.saturating_add(1 << 20);
            let stored = match expected {
                Some(expected) if expected <= most => {
                    let mut stored = vec![0; expected];
                    chain.bytes.decode_into(key, bytes, &mut stored)?;
                    stored
                }
                _ => chain.bytes.decode(key, bytes, most as u64)?,
            };
            codec
                .decode(
                    Cow::Owned(stored),
                    stored_shape,
                    stored_type,
                    stored_fill,
                    &options,
                )
                .map_err(failed)?
        };
        let codecs = chain.arrays.array_to_array_codecs();
        for (codec, (shape, data_type, fill)) in codecs.iter().zip(&arrays).rev() {
            array = codec
                .decode(array, shape, data_type, fill, &options)
                .map_err(failed)?;
        }
        array
            .into_fixed()
            .map(Cow::into_owned)
            .map_err(|_| Error::corrupt(key, "it holds values of various lengths"))
    }

    /// Decodes a whole shard that cannot be read in parts.
    fn decode_shard(
        &self,
        key: &str,
        sharding: &Sharding,
        bytes: &[u8],
        shape: &[u64],
    ) -> Result<Vec<u8>> {
        let per_shard: Vec<u64> = shape
            .iter()
            .zip(&sharding.inner)
            .map(|(outer, inner)| outer / inner)
            .collect();
        let index = sharding.index_of(key, bytes, &per_shard)?;
        let size = self.fill.len();
        let items = self.check_items(key, shape)?;
        let mut out = self.fill.repeat(items);
        for place in super::window::indices(&per_shard) {
            let Some((offset, len)) = index.locate(key, &place, bytes.len() as u64)? else {
                continue;
            };
            let part = bytes
                .get(offset as usize..(offset + len) as usize)
                .ok_or_else(|| Error::corrupt(key, "a chunk lies outside the shard"))?;
            let block = self.decode(key, &sharding.chain, part, &sharding.inner)?;
            if let Block::Bytes(inner) = block {
                super::window::paste(&inner, &sharding.inner, &place, &mut out, shape, size);
            }
        }
        Ok(out)
    }
}

/// Reverses the bytes of every word.
pub(crate) fn swap_bytes(word: usize, bytes: &mut [u8]) {
    fn swap<const N: usize>(bytes: &mut [u8]) {
        for word in bytes.as_chunks_mut::<N>().0 {
            word.reverse();
        }
    }
    match word {
        2 => swap::<2>(bytes),
        4 => swap::<4>(bytes),
        8 => swap::<8>(bytes),
        _ => {}
    }
}

/// The name of a codec, for messages and checks.
pub(crate) fn name_of(codec: &(impl CodecTraits + ?Sized)) -> String {
    codec
        .name_v3()
        .or_else(|| codec.name_v2())
        .map_or_else(String::new, Cow::into_owned)
}

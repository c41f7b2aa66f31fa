//! From the bytes of a chunk to its values, and every check on the way.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;
use zarrs::array::{
    ArrayBytes, BytesRepresentation, CodecChain, CodecOptions, CodecTraits, DataType, FillValue,
};
use zarrs::metadata::v3::MetadataV3;
use zarrs::plugin::ExtensionName;

use super::compressed;
use super::element::ElementType;
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
    /// Text in C order.
    Text(Vec<String>),
}

impl Block {
    /// The memory held, for the cache.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Fill => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(texts) => texts.iter().map(|t| t.len() + size_of::<String>()).sum(),
        }
    }
}

/// The codecs of an array or of the chunks within a shard.
#[derive(Debug)]
pub(crate) struct Chain {
    codecs: Arc<CodecChain>,
    sharding: Option<Box<Sharding>>,
}

impl Chain {
    /// Codecs without shards, as of Zarr v2.
    pub(crate) fn plain(key: &str, codecs: Arc<CodecChain>, element: ElementType) -> Result<Self> {
        let chain = Self {
            codecs,
            sharding: None,
        };
        chain.check(key, element)?;
        Ok(chain)
    }

    /// Codecs as a Zarr v3 array lists them.
    pub(crate) fn parse(key: &str, codecs: &Value, element: ElementType) -> Result<Self> {
        Self::parse_nested(key, codecs, element, 0)
    }

    pub(crate) fn parse_nested(
        key: &str,
        codecs: &Value,
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
        let list: Vec<MetadataV3> = serde_json::from_value(codecs.clone())
            .map_err(|error| Error::invalid(key, "a list of codecs", error))?;
        let chain = catch_unwind(|| CodecChain::from_metadata(&list))
            .map_err(|_| unsupported("the codecs are configured wrongly".to_owned()))?
            .map_err(|error| unsupported(with_causes(&error)))?;
        let sharding = codecs
            .as_array()
            .into_iter()
            .flatten()
            .find(|codec| codec.get("name").and_then(Value::as_str) == Some("sharding_indexed"))
            .map(|codec| Sharding::parse(key, codec, element, depth).map(Box::new))
            .transpose()?;
        let chain = Self {
            codecs: Arc::new(chain),
            sharding,
        };
        chain.check(key, element)?;
        Ok(chain)
    }

    fn check(&self, key: &str, element: ElementType) -> Result<()> {
        if element != ElementType::Text || self.sharding.is_some() {
            return Ok(());
        }
        let is_vlen = self.codecs.array_to_bytes_codec().name_v3().as_deref() == Some("vlen-utf8");
        if is_vlen && self.codecs.array_to_array_codecs().is_empty() {
            return Ok(());
        }
        Err(Error::UnsupportedCodec {
            key: key.to_owned(),
            problem: "text is read with the codec `vlen-utf8` only".to_owned(),
        })
    }

    /// The shards, where their chunks can be read one by one.
    pub(crate) fn sharding(&self) -> Option<&Sharding> {
        let alone = self.codecs.array_to_array_codecs().is_empty()
            && self.codecs.bytes_to_bytes_codecs().is_empty();
        self.sharding.as_deref().filter(|_| alone)
    }

    /// What is decoded at once.
    pub(crate) fn block_shape(&self, chunk: &[u64]) -> Vec<u64> {
        self.sharding()
            .map_or_else(|| chunk.to_vec(), |sharding| sharding.inner.clone())
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

    /// The most bytes that a chunk file may have.
    pub(crate) fn encoded_limit(&self) -> u64 {
        self.max_chunk_bytes.saturating_add(1 << 20)
    }

    pub(crate) fn check_encoded(&self, key: &str, len: u64) -> Result<usize> {
        usize::try_from(len)
            .ok()
            .filter(|_| len <= self.encoded_limit())
            .ok_or_else(|| Error::TooLarge {
                key: key.to_owned(),
                what: "an encoded chunk with bytes",
                found: len.into(),
                limit: self.encoded_limit(),
            })
    }

    /// Decodes a chunk file.
    pub(crate) fn decode(&self, key: &str, bytes: Vec<u8>, shape: &[u64]) -> Result<Block> {
        self.decode_with(key, &self.chain, bytes, shape)
    }

    /// Decodes one chunk of a shard.
    pub(crate) fn decode_inner(
        &self,
        key: &str,
        sharding: &Sharding,
        bytes: Vec<u8>,
    ) -> Result<Block> {
        self.decode_with(key, &sharding.chain, bytes, &sharding.inner)
    }

    fn decode_with(
        &self,
        key: &str,
        chain: &Chain,
        bytes: Vec<u8>,
        shape: &[u64],
    ) -> Result<Block> {
        let items = self.check_items(key, shape)?;
        let block = catch_unwind(AssertUnwindSafe(|| {
            self.decode_unguarded(key, chain, bytes, shape, items)
        }))
        .unwrap_or_else(|_| Err(Error::corrupt(key, "the codec failed on it")))?;
        let (found, expected) = match (&block, self.element.size()) {
            (Block::Bytes(bytes), Some(size)) => (bytes.len(), items.saturating_mul(size)),
            (Block::Text(texts), None) => (texts.len(), items),
            (Block::Fill, _) => return Ok(block),
            _ => return Err(Error::corrupt(key, "it holds another type of values")),
        };
        if found != expected {
            return Err(Error::corrupt(
                key,
                format!("it holds {found} bytes or texts, not {expected}"),
            ));
        }
        Ok(block)
    }

    /// The number of places in a chunk, when a buffer for them is within the limits.
    fn check_items(&self, key: &str, shape: &[u64]) -> Result<usize> {
        let items: u128 = shape.iter().map(|&n| u128::from(n)).product();
        let bytes = items.saturating_mul(self.element.size().unwrap_or(4) as u128);
        usize::try_from(items)
            .ok()
            .filter(|_| bytes <= u128::from(self.max_chunk_bytes))
            .ok_or_else(|| Error::TooLarge {
                key: key.to_owned(),
                what: "a decoded chunk with bytes",
                found: bytes,
                limit: self.max_chunk_bytes,
            })
    }

    fn decode_unguarded(
        &self,
        key: &str,
        chain: &Chain,
        bytes: Vec<u8>,
        shape: &[u64],
        items: usize,
    ) -> Result<Block> {
        let options = CodecOptions::default();
        let failed = |error| Error::corrupt(key, with_causes(&error));
        let unit: Vec<NonZeroU64> = shape.iter().filter_map(|&n| NonZeroU64::new(n)).collect();
        // What each array-to-array codec makes of the shape and type.
        let mut arrays = vec![(
            unit,
            self.data_type.clone(),
            FillValue::from(self.fill.clone()),
        )];
        for codec in chain.codecs.array_to_array_codecs() {
            let (shape, data_type, fill) = &arrays[arrays.len() - 1];
            let next = codec
                .encoded_representation(shape, data_type, fill)
                .map_err(failed)?;
            arrays.push(next);
        }
        let (stored_shape, stored_type, stored_fill) = &arrays[arrays.len() - 1];
        let first = if self.element == ElementType::Text || chain.sharding.is_some() {
            BytesRepresentation::UnboundedSize
        } else {
            chain
                .codecs
                .array_to_bytes_codec()
                .encoded_representation(stored_shape, stored_type, stored_fill)
                .map_err(failed)?
        };
        let limit = match first.size() {
            Some(size) => size,
            None => self.unbounded_limit(items),
        };
        let bytes = compressed::decode(key, &chain.codecs, bytes, first, limit)?;
        if let Some(sharding) = &chain.sharding {
            let shape: Vec<u64> = stored_shape.iter().map(|n| n.get()).collect();
            let block = self.decode_shard(key, sharding, &bytes, &shape)?;
            return self.untransposed(key, chain, block, &arrays);
        }
        if self.element == ElementType::Text {
            return vlen::decode(key, &bytes, items).map(Block::Text);
        }
        let array = chain
            .codecs
            .array_to_bytes_codec()
            .decode(
                Cow::Owned(bytes),
                stored_shape,
                stored_type,
                stored_fill,
                &options,
            )
            .map_err(failed)?;
        let bytes = array
            .into_fixed()
            .map_err(|_| Error::corrupt(key, "it holds values of various lengths"))?;
        self.untransposed(key, chain, Block::Bytes(bytes.into_owned()), &arrays)
    }

    /// The most bytes that the content of unknown length of a chunk may have once it is decompressed.
    fn unbounded_limit(&self, items: usize) -> u64 {
        let plausible = (items as u64).saturating_mul(1024).saturating_add(16 << 20);
        plausible.min(self.max_chunk_bytes)
    }

    /// Runs the array-to-array codecs backwards.
    fn untransposed(
        &self,
        key: &str,
        chain: &Chain,
        block: Block,
        arrays: &[(Vec<NonZeroU64>, DataType, FillValue)],
    ) -> Result<Block> {
        let codecs = chain.codecs.array_to_array_codecs();
        if codecs.is_empty() {
            return Ok(block);
        }
        let Block::Bytes(bytes) = block else {
            return Err(Error::corrupt(key, "its codecs are not for text"));
        };
        let mut array = ArrayBytes::new_flen(bytes);
        for (codec, (shape, data_type, fill)) in codecs.iter().zip(arrays).rev() {
            array = codec
                .decode(array, shape, data_type, fill, &CodecOptions::default())
                .map_err(|error| Error::corrupt(key, with_causes(&error)))?;
        }
        array
            .into_fixed()
            .map(|bytes| Block::Bytes(bytes.into_owned()))
            .map_err(|_| Error::corrupt(key, "it holds values of various lengths"))
    }

    /// Decodes a whole shard that cannot be read in parts.
    fn decode_shard(
        &self,
        key: &str,
        sharding: &Sharding,
        bytes: &[u8],
        shape: &[u64],
    ) -> Result<Block> {
        let per_shard: Vec<u64> = shape
            .iter()
            .zip(&sharding.inner)
            .map(|(outer, inner)| outer / inner)
            .collect();
        let index = sharding.index_of(key, bytes, &per_shard)?;
        let Some(size) = self.element.size() else {
            return Err(Error::UnsupportedCodec {
                key: self.key.clone(),
                problem: "text in nested or compressed shards is not read".to_owned(),
            });
        };
        let items = self.check_items(key, shape)?;
        let mut out = self.fill.repeat(items);
        if out.len() != items * size {
            return Err(Error::corrupt(key, "the fill value has another size"));
        }
        for place in super::window::indices(&per_shard) {
            let Some((offset, len)) = index.locate(key, &place, bytes.len() as u64)? else {
                continue;
            };
            let part = bytes
                .get(offset as usize..(offset + len) as usize)
                .ok_or_else(|| Error::corrupt(key, "a chunk lies outside the shard"))?;
            let block = self.decode_with(key, &sharding.chain, part.to_vec(), &sharding.inner)?;
            if let Block::Bytes(inner) = block {
                super::window::paste(&inner, &sharding.inner, &place, &mut out, shape, size);
            }
        }
        Ok(Block::Bytes(out))
    }
}

/// The name of a codec, for messages and checks.
pub(crate) fn name_of(codec: &(impl CodecTraits + ?Sized)) -> String {
    codec
        .name_v3()
        .or_else(|| codec.name_v2())
        .map_or_else(String::new, Cow::into_owned)
}

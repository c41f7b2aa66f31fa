//! Windows of an array, put together from its blocks.

use std::ops::Range;

use super::cache::ChunkCache;
use super::chain::Block;
use super::regions::Window;
use super::target::{Bytes, Converted};
use super::{NumericArray, OpenShards, ZarrArray};
use crate::{Error, Result};

pub(crate) use super::copy::Pixel;

/// What is measured of an array.
const AN_ARRAY: &str = "an array with bytes";

/// Part of a window that lies in one block.
pub(super) struct Piece {
    /// Where the part begins in the block and in the window, and its extent.
    pub(super) from: Vec<usize>,
    pub(super) to: Vec<usize>,
    pub(super) extent: Vec<usize>,
}

impl Piece {
    /// The part in the block of this index, which the window reaches.
    pub(super) fn of(window: &[Range<u64>], block: &[u64], index: &[u64]) -> Self {
        let mut piece = Self {
            from: Vec::with_capacity(index.len()),
            to: Vec::with_capacity(index.len()),
            extent: Vec::with_capacity(index.len()),
        };
        for ((range, &block), &i) in window.iter().zip(block).zip(index) {
            let begin = (i * block).max(range.start);
            let end = (i * block).saturating_add(block).min(range.end);
            piece.from.push((begin - i * block) as usize);
            piece.to.push((begin - range.start) as usize);
            piece.extent.push((end - begin) as usize);
        }
        piece
    }
}

impl ZarrArray {
    /// Fills `out` with the numbers of a window, in C order.
    ///
    /// The caller has checked that the window is within the array and that `out` has its size.
    pub(crate) fn read_window<T: Pixel>(
        &self,
        window: &[Range<u64>],
        cache: Option<&ChunkCache>,
        out: &mut [T],
    ) -> Result<()> {
        let data_type = self.element().number(self.key(), "numbers")?;
        let window = Window {
            ranges: window.to_vec(),
            out,
        };
        self.read_windows(&Converted::from(data_type), vec![window], cache)
    }

    /// All numbers of the array in their own type.
    pub(crate) fn read_numbers(&self) -> Result<NumericArray> {
        let data_type = self.element().number(self.key(), "numbers")?;
        let bytes = self.read_bytes(data_type.size(), &self.whole())?;
        let shape = self.shape().iter().map(|&n| n as usize).collect();
        Ok(NumericArray::from_ne_bytes(shape, data_type, &bytes))
    }

    /// The numbers of a window in their own type; the caller has checked that the window is within the array.
    pub(crate) fn read_numbers_of(&self, window: &[Range<u64>]) -> Result<NumericArray> {
        let data_type = self.element().number(self.key(), "numbers")?;
        let bytes = self.read_bytes(data_type.size(), window)?;
        Ok(NumericArray::from_ne_bytes(
            extents(window),
            data_type,
            &bytes,
        ))
    }

    /// The bytes of all places, each as long as its type says.
    pub(crate) fn read_opaque(&self) -> Result<Vec<u8>> {
        match self.element() {
            super::ElementType::Opaque(size) => self.read_bytes(size, &self.whole()),
            other => Err(Error::DataType {
                key: self.key().to_owned(),
                expected: "bytes",
                found: format!("{other:?}"),
            }),
        }
    }

    /// The window that holds every place.
    fn whole(&self) -> Vec<Range<u64>> {
        self.shape().iter().map(|&n| 0..n).collect()
    }

    /// All numbers of a one-dimensional part, as [`Pixel`]s.
    pub(crate) fn read_vec<T: Pixel>(&self, range: Range<u64>) -> Result<Vec<T>> {
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut out = self.reserve::<T>(len)?;
        out.resize(len, T::default());
        self.read_window(std::slice::from_ref(&range), None, &mut out)?;
        Ok(out)
    }

    /// All texts of the array, in C order.
    pub(crate) fn read_texts(&self) -> Result<Vec<String>> {
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX);
        let mut out = self.reserve::<String>(len)?;
        if let super::ElementType::Utf32(length) = self.element() {
            if length == 0 {
                out.resize(len, String::new());
                return Ok(out);
            }
            // No text is longer in UTF-8.
            let most = (length as u128).saturating_mul(4) + size_of::<String>() as u128;
            self.check_bytes(most.saturating_mul(len as u128))?;
            let bytes = self.read_bytes(length * 4, &self.whole())?;
            for text in bytes.chunks_exact(length * 4) {
                out.push(utf32(text).ok_or_else(|| no_character(self.key()))?);
            }
            return Ok(out);
        }
        if self.element() != super::ElementType::Text {
            return Err(Error::DataType {
                key: self.key().to_owned(),
                expected: "text",
                found: format!("{:?}", self.element()),
            });
        }
        out.resize(len, String::new());
        let mut bytes = (len as u128) * size_of::<String>() as u128;
        let window = self.whole();
        let shape = extents(&window);
        let block_shape: Vec<usize> = self.block_shape().iter().map(|&n| n as usize).collect();
        let fill = String::from_utf8(self.fill().to_vec()).unwrap_or_default();
        self.visit(&window, |piece, block| {
            let Block::Text(mut texts) = block else {
                let places: u128 = piece.extent.iter().map(|&n| n as u128).product();
                bytes = bytes.saturating_add(places.saturating_mul(fill.len() as u128));
                self.check_bytes(bytes)?;
                if !fill.is_empty() {
                    runs(piece, &block_shape, &shape, |_, to, len| {
                        out[to..to + len].fill(fill.clone());
                    });
                }
                return Ok(());
            };
            runs(piece, &block_shape, &shape, |from, to, len| {
                let (texts, out) = (&mut texts[from..from + len], &mut out[to..to + len]);
                bytes += texts.iter().map(|text| text.len() as u128).sum::<u128>();
                out.swap_with_slice(texts);
            });
            self.check_bytes(bytes)
        })?;
        Ok(out)
    }

    fn read_bytes(&self, size: usize, window: &[Range<u64>]) -> Result<Vec<u8>> {
        let places = window
            .iter()
            .try_fold(1_u64, |n, range| n.checked_mul(range.end - range.start));
        let len = places
            .and_then(|n| usize::try_from(n).ok())
            .and_then(|n| n.checked_mul(size))
            .unwrap_or(usize::MAX);
        let mut out = self.reserve::<u8>(len)?;
        out.resize(len, 0);
        let ranges = window.to_vec();
        let window = Window {
            ranges,
            out: out.as_mut_slice(),
        };
        self.read_windows(&Bytes { size }, vec![window], None)?;
        Ok(out)
    }

    /// An empty vector with room, when that is within the limits.
    fn reserve<T>(&self, len: usize) -> Result<Vec<T>> {
        let bytes = (len as u128).saturating_mul(size_of::<T>() as u128);
        self.check_bytes(bytes)?;
        let mut vec = Vec::new();
        vec.try_reserve_exact(len)
            .map_err(|_| Error::too_large(self.key(), AN_ARRAY, bytes, self.max_bytes()))?;
        Ok(vec)
    }

    fn check_bytes(&self, bytes: u128) -> Result<()> {
        Error::check_size(self.key(), AN_ARRAY, bytes, self.max_bytes())
    }

    /// Decodes the blocks of a window one after the other, since texts tell their size only when they are unpacked, and hands
    /// them out in order.
    fn visit(
        &self,
        window: &[Range<u64>],
        mut use_block: impl FnMut(&Piece, Block) -> Result<()>,
    ) -> Result<()> {
        if window.iter().any(|r| r.start >= r.end) {
            return Ok(());
        }
        // Blocks side by side may lie in another shard each.
        let several = OpenShards::new(rayon::current_num_threads().max(1) * 2);
        let single = OpenShards::new(1);
        for index in blocks_of(window, self.block_shape()) {
            let is_unpacked = self.unpacked_bytes(&index) > 0;
            let block = self.block(&index, if is_unpacked { &single } else { &several })?;
            use_block(&Piece::of(window, self.block_shape(), &index), block)?;
        }
        Ok(())
    }
}

/// The blocks that a window reaches, in C order; the window is not empty.
pub(super) fn blocks_of<'a>(
    window: &'a [Range<u64>],
    block: &'a [u64],
) -> impl Iterator<Item = Vec<u64>> + 'a {
    let first: Vec<u64> = window.iter().zip(block).map(|(r, b)| r.start / b).collect();
    std::iter::successors(Some(first), move |index| {
        let mut next = index.clone();
        for axis in (0..next.len()).rev() {
            if next[axis] < (window[axis].end - 1) / block[axis] {
                next[axis] += 1;
                return Some(next);
            }
            next[axis] = window[axis].start / block[axis];
        }
        None
    })
}

/// The lengths of a window along its axes.
pub(super) fn extents(window: &[Range<u64>]) -> Vec<usize> {
    window.iter().map(|r| (r.end - r.start) as usize).collect()
}

/// Every index into a box of this shape, in C order.
pub(crate) fn indices(shape: &[u64]) -> impl Iterator<Item = Vec<u64>> + use<> {
    let total = shape.iter().fold(1_u64, |n, &s| n.saturating_mul(s));
    let shape = shape.to_vec();
    (0..total).map(move |mut n| {
        let mut index = vec![0; shape.len()];
        for (place, &len) in index.iter_mut().zip(&shape).rev() {
            *place = n % len;
            n /= len;
        }
        index
    })
}

/// The stretches along the last axis that a piece consists of: offset in the block, offset in the window, length.
///
/// A block that is not stored may be larger than any memory; the offsets in it mean nothing then.
pub(super) fn runs(
    piece: &Piece,
    block: &[usize],
    window: &[usize],
    mut use_run: impl FnMut(usize, usize, usize),
) {
    let Some(&len) = piece.extent.last() else {
        return use_run(0, 0, 1);
    };
    let leading = &piece.extent[..piece.extent.len() - 1];
    let rows: usize = leading.iter().product();
    let mut index = vec![0; leading.len()];
    for _ in 0..rows {
        let offset = |start: &[usize], shape: &[usize]| {
            let mut offset = 0_usize;
            for axis in 0..shape.len() {
                let within = index.get(axis).copied().unwrap_or(0);
                offset = usize::wrapping_mul(offset, shape[axis]);
                offset = offset.wrapping_add(start[axis]).wrapping_add(within);
            }
            offset
        };
        use_run(offset(&piece.from, block), offset(&piece.to, window), len);
        for axis in (0..leading.len()).rev() {
            index[axis] += 1;
            if index[axis] < leading[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// Copies a whole inner block into a larger one.
pub(crate) fn paste(
    inner: &[u8],
    inner_shape: &[u64],
    place: &[u64],
    out: &mut [u8],
    shape: &[u64],
    size: usize,
) {
    let to_usize = |shape: &[u64]| shape.iter().map(|&n| n as usize).collect::<Vec<usize>>();
    let (extent, shape) = (to_usize(inner_shape), to_usize(shape));
    let piece = Piece {
        from: vec![0; extent.len()],
        to: place
            .iter()
            .zip(&extent)
            .map(|(&i, n)| i as usize * n)
            .collect(),
        extent: extent.clone(),
    };
    runs(&piece, &extent, &shape, |from, to, len| {
        out[to * size..(to + len) * size].copy_from_slice(&inner[from * size..(from + len) * size]);
    });
}

/// UTF-32 in native byte order without the NULs at its end, or `None` where that is none.
pub(crate) fn utf32(bytes: &[u8]) -> Option<String> {
    let text: String = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|c| char::from_u32(u32::from_ne_bytes(*c)))
        .collect::<Option<_>>()?;
    Some(text.trim_end_matches('\0').to_owned())
}

/// The error for texts of the array `key` of which [`utf32`] makes nothing.
pub(crate) fn no_character(key: &str) -> Error {
    Error::corrupt(key, "a text holds a number that is no character")
}

//! Windows of an array, each block of which is decoded once for all of them.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cache::ChunkCache;
use super::chain::Block;
use super::copy::Fill;
use super::packed::Packed;
use super::target::Target;
use super::window::{Piece, blocks_of, extents, runs};
use super::{OpenShards, ZarrArray};
use crate::Result;

/// A window and the memory for it.
pub(crate) struct Window<'a, U> {
    pub(crate) ranges: Vec<Range<u64>>,
    pub(crate) out: &'a mut [U],
}

/// Part of a window that is one stretch of its memory.
///
/// Blocks that are decoded at the same time take turns at the memory of a band, so that bands are as small as they can
/// be: a row of blocks.
struct Band<'a, U> {
    ranges: Vec<Range<u64>>,
    out: Mutex<&'a mut [U]>,
}

/// A block and the bands that it overlaps with.
struct Job {
    index: Vec<u64>,
    bands: Range<usize>,
}

/// How many pairs of a block and a band are listed at a time, which bounds the memory for the list.
const MAX_PAIRS: usize = 1 << 18;

/// How many bands a window is split into at most; those of a window of more blocks hold several rows.
const MAX_BANDS: usize = 1 << 16;

impl ZarrArray {
    /// Fills windows, in C order each.
    ///
    /// The caller has checked that the windows are within the array and their memory has their size.
    pub(crate) fn read_windows<T: Target>(
        &self,
        target: &T,
        windows: Vec<Window<'_, T::Unit>>,
        cache: Option<&ChunkCache>,
    ) -> Result<()> {
        let size = self.element().size().unwrap_or(1) as u64;
        let bytes: u64 = windows
            .iter()
            .map(|w| places(&w.ranges).saturating_mul(size))
            .fold(0, u64::saturating_add);
        // What is read from end to end does not come again soon enough: it would only drive out the rest.
        let keep = cache.is_some_and(|cache| bytes <= cache.capacity() as u64 / 2);
        let keep = keep && windows.len() == 1;
        let mut bands = Vec::new();
        for window in windows {
            if window.ranges.iter().all(|r| r.start < r.end) {
                split(window, self.block_shape(), target.per_place(), &mut bands);
            }
        }
        let mut rest = bands.as_slice();
        while !rest.is_empty() {
            let mut pairs = Vec::new();
            let mut taken = 0;
            while taken < rest.len() && (taken == 0 || pairs.len() < MAX_PAIRS) {
                let ranges = &rest[taken].ranges;
                pairs.extend(blocks_of(ranges, self.block_shape()).map(|block| (block, taken)));
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            self.fill_bands(target, now, pairs, cache, keep)?;
            rest = later;
        }
        Ok(())
    }

    fn fill_bands<T: Target>(
        &self,
        target: &T,
        bands: &[Band<'_, T::Unit>],
        mut pairs: Vec<(Vec<u64>, usize)>,
        cache: Option<&ChunkCache>,
        keep: bool,
    ) -> Result<()> {
        if bands.len() > 1 {
            pairs.sort_unstable();
        }
        let mut owners = Vec::with_capacity(pairs.len());
        let mut jobs: Vec<Job> = Vec::new();
        for (index, band) in pairs {
            let at = owners.len();
            owners.push(band);
            match jobs.last_mut() {
                Some(job) if job.index == index => job.bands.end = at + 1,
                _ => jobs.push(Job {
                    index,
                    bands: at..at + 1,
                }),
            }
        }
        // All blocks of a shard together: its file is opened once, and unpacked once where it lies in a zip file.
        if self.is_sharded() {
            jobs.sort_by_cached_key(|job| self.chunk_of(&job.index));
        }
        let is_together = |a: &Job, b: &Job| {
            !self.is_sharded() || self.chunk_of(&a.index) == self.chunk_of(&b.index)
        };
        let groups: Vec<&[Job]> = jobs.chunk_by(is_together).collect();
        let is_kept =
            |job: &Job| cache.is_some_and(|cache| cache.peek(self.key(), &job.index).is_some());
        let work = |jobs: &&[Job]| {
            let open = OpenShards::new(1);
            // Before all others, so that a shard that cannot be opened is tried once and not for each block.
            if let Some(job) = jobs.iter().find(|job| !is_kept(job)) {
                self.open_shard_of(&job.index, &open)?;
            }
            each(jobs, |job| {
                let bands = owners[job.bands.clone()].iter().map(|&band| &bands[band]);
                self.fill_from(target, (&job.index, &open), bands, cache, keep)
            })
        };
        let mut rest = groups.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.with_room(rest));
            each(now, work)?;
            rest = later;
        }
        Ok(())
    }

    /// How many groups, from the first on, have room in memory with what is unpacked for them; at least one.
    fn with_room(&self, groups: &[&[Job]]) -> usize {
        let mut room = self.root.options.cache_bytes as u64;
        let fits = |jobs: &&&[Job]| {
            let index = jobs.first().map(|job| job.index.as_slice());
            let left = room.checked_sub(index.map_or(0, |index| self.unpacked_bytes(index)));
            room = left.unwrap_or(room);
            left.is_some()
        };
        groups.iter().take_while(fits).count().max(1)
    }

    /// Puts one block into the bands that it overlaps with.
    fn fill_from<'a, 'b: 'a, T: Target>(
        &self,
        target: &T,
        (index, open): (&[u64], &OpenShards),
        mut bands: impl ExactSizeIterator<Item = &'a Band<'b, T::Unit>>,
        cache: Option<&ChunkCache>,
        keep: bool,
    ) -> Result<()>
    where
        T::Unit: 'b,
    {
        let alone = bands.len() == 1;
        if let Some(cache) = cache {
            let block = if keep {
                Some(cache.get(self.key(), index, || self.block_to_keep(index, open))?)
            } else {
                cache.peek(self.key(), index)
            };
            if let Some(block) = block {
                for band in bands {
                    match &*block {
                        Block::Bytes(bytes) => self.put(target, Fill::All(bytes), index, band),
                        Block::Packed(packed) => self.put_packed(target, packed, index, band),
                        _ => self.put(target, Fill::One(self.fill()), index, band),
                    }
                }
                return Ok(());
            }
        }
        if alone && let Some(band) = bands.next() {
            return self.fill_band(target, (index, open), band);
        }
        with_scratch(|encoded, decoded| {
            let stored = self.decode_block(index, open, encoded, decoded)?;
            let source = if stored {
                Fill::All(decoded)
            } else {
                Fill::One(self.fill())
            };
            for band in bands {
                self.put(target, source, index, band);
            }
            Ok(())
        })
    }

    /// Puts a block into the only band that it overlaps with, right away where the block is a stretch of it.
    fn fill_band<T: Target>(
        &self,
        target: &T,
        (index, open): (&[u64], &OpenShards),
        band: &Band<'_, T::Unit>,
    ) -> Result<()> {
        let piece = Piece::of(&band.ranges, self.block_shape(), index);
        let whole = piece.extent.iter().zip(self.block_shape());
        let is_whole = whole
            .clone()
            .all(|(&extent, &block)| extent as u64 == block);
        // Along all axes after the first that is longer than 1, the band must be as long as the block.
        let is_stretch = piece
            .extent
            .iter()
            .zip(&band.ranges)
            .skip_while(|(extent, _)| **extent == 1)
            .skip(1)
            .all(|(&extent, range)| extent as u64 == range.end - range.start);
        with_scratch(|encoded, decoded| {
            if is_whole && is_stretch {
                let mut out = band.out.lock().unwrap_or_else(PoisonError::into_inner);
                let shape = extents(&band.ranges);
                let unit = target.per_place();
                let places = piece.extent.iter().product::<usize>() * unit;
                let from = piece
                    .to
                    .iter()
                    .zip(&shape)
                    .fold(0, |offset, (to, n)| offset * n + to)
                    * unit;
                let stretch = &mut out[from..from + places];
                if let Some(bytes) = target.bytes(stretch) {
                    if !self.decode_block_into(index, open, encoded, bytes)? {
                        target.put(Fill::One(self.fill()), 0, stretch);
                    }
                    return Ok(());
                }
            }
            let stored = self.decode_block(index, open, encoded, decoded)?;
            let source = if stored {
                Fill::All(decoded)
            } else {
                Fill::One(self.fill())
            };
            self.put(target, source, index, band);
            Ok(())
        })
    }

    /// Copies what a block and a band have in common.
    fn put<T: Target>(
        &self,
        target: &T,
        source: Fill<'_>,
        index: &[u64],
        band: &Band<'_, T::Unit>,
    ) {
        let piece = Piece::of(&band.ranges, self.block_shape(), index);
        let block: Vec<usize> = self.block_shape().iter().map(|&n| n as usize).collect();
        let shape = extents(&band.ranges);
        let unit = target.per_place();
        let mut out = band.out.lock().unwrap_or_else(PoisonError::into_inner);
        runs(&piece, &block, &shape, |from, to, len| {
            target.put(source, from, &mut out[to * unit..(to + len) * unit]);
        });
    }
}

impl ZarrArray {
    /// Copies what a packed block and a band have in common.
    fn put_packed<T: Target>(
        &self,
        target: &T,
        packed: &Packed,
        index: &[u64],
        band: &Band<'_, T::Unit>,
    ) {
        let piece = Piece::of(&band.ranges, self.block_shape(), index);
        let block: Vec<usize> = self.block_shape().iter().map(|&n| n as usize).collect();
        let shape = extents(&band.ranges);
        let unit = target.per_place();
        let mut out = band.out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut row = Vec::new();
        runs(&piece, &block, &shape, |from, to, len| {
            row.clear();
            packed.unpack(from, len, &mut row);
            target.put(Fill::All(&row), 0, &mut out[to * unit..(to + len) * unit]);
        });
    }
}

/// Does some work in parallel; the first error in the order of the items, whichever thread is faster.
///
/// Nothing that comes after an error in this order is begun any more.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Send + Sync) -> Result<()> {
    let [item] = items else {
        let failed = AtomicUsize::new(usize::MAX);
        let unless_failed = |(at, item)| {
            if failed.load(Ordering::Relaxed) < at {
                return Ok(());
            }
            let done = work(item);
            if done.is_err() {
                failed.fetch_min(at, Ordering::Relaxed);
            }
            done
        };
        let items = items.par_iter().enumerate().with_max_len(1);
        let done: Vec<Result<()>> = items.map(unless_failed).collect();
        return done.into_iter().collect();
    };
    work(item)
}

fn places(ranges: &[Range<u64>]) -> u64 {
    ranges
        .iter()
        .fold(1, |n, r| n.saturating_mul(r.end.saturating_sub(r.start)))
}

/// Splits a window at the borders of blocks into stretches of its memory, as far as that goes.
fn split<'a, U>(
    window: Window<'a, U>,
    block: &[u64],
    per_place: usize,
    bands: &mut Vec<Band<'a, U>>,
) {
    let mut parts = vec![window];
    for axis in 0..block.len() {
        // Behind an axis that is longer than 1, parts are no stretches.
        let before =
            |part: &Window<'_, U>| part.ranges[..axis].iter().all(|r| r.end - r.start == 1);
        if !parts.iter().all(before) {
            break;
        }
        let Some(first) = parts.first() else {
            break;
        };
        let Range { start, end } = first.ranges[axis];
        let rows = (end - 1) / block[axis] - start / block[axis] + 1;
        let together = rows
            .saturating_mul(parts.len() as u64)
            .div_ceil(MAX_BANDS as u64);
        let step = block[axis].saturating_mul(together);
        let mut next = Vec::with_capacity(parts.len());
        for Window { ranges, mut out } in parts {
            let inner = places(&ranges[axis + 1..]) as usize * per_place;
            let mut start = start;
            while start < end {
                let border = (start / step + 1).saturating_mul(step).min(end);
                let (part, rest) = out.split_at_mut((border - start) as usize * inner);
                let mut ranges = ranges.clone();
                ranges[axis] = start..border;
                next.push(Window { ranges, out: part });
                out = rest;
                start = border;
            }
        }
        parts = next;
    }
    bands.extend(parts.into_iter().map(|part| Band {
        ranges: part.ranges,
        out: Mutex::new(part.out),
    }));
}

thread_local! {
    /// The encoded and the decoded bytes of a block, whose memory is kept for the next.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// The largest buffer that is kept: a chunk of 4096 × 4096 pixels of 16 bits.
const KEPT_BYTES: usize = 32 << 20;

pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> R) -> R {
    let (mut encoded, mut decoded) = SCRATCH.take();
    let done = work(&mut encoded, &mut decoded);
    for buffer in [&mut encoded, &mut decoded] {
        if buffer.capacity() > KEPT_BYTES {
            *buffer = Vec::new();
        }
    }
    SCRATCH.set((encoded, decoded));
    done
}

#[cfg(test)]
mod tests;

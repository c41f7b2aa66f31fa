//! Statistics of pixels of any type: order statistics digit by digit, in a fixed number of passes.

use phenocoder_core::{ImageRegion, ImageSource, Progress};
use rayon::prelude::*;

use super::quantile::Quantile;
use super::{Measured, StatisticsConfig, percentiles, slice_pixels};
use crate::Result;
use crate::blocks::{Grid, pixels, read};

/// Bits that are decided per pass.
const DIGIT: u32 = 11;

/// Finds the values of several ranks at once: each pass counts the next digit of the keys that can still be meant.
#[derive(Debug, Clone)]
struct Select {
    /// Bits below the digit that is being counted.
    shift: u32,
    /// Bits of that digit.
    width: u32,
    /// The digits known so far, different and rising.
    prefixes: Vec<u64>,
    /// One counter per prefix and digit.
    counters: Vec<u64>,
    /// For each rank its known digits and how many keys with these precede it.
    targets: Vec<(u64, u64)>,
}

impl Select {
    fn new(bits: u32, ranks: &[u64]) -> Self {
        let mut select = Self {
            shift: bits,
            width: 0,
            prefixes: Vec::new(),
            counters: Vec::new(),
            targets: ranks.iter().map(|&rank| (0, rank)).collect(),
        };
        select.begin();
        select
    }

    fn begin(&mut self) {
        self.width = self.shift.min(DIGIT);
        self.shift -= self.width;
        self.prefixes = self.targets.iter().map(|&(prefix, _)| prefix).collect();
        self.prefixes.sort_unstable();
        self.prefixes.dedup();
        self.counters = vec![0; self.prefixes.len() << self.width];
    }

    fn add(&mut self, key: u64) {
        let digits = key >> self.shift;
        let known = digits >> self.width;
        if let Some(i) = self.prefixes.iter().position(|&prefix| prefix == known) {
            let digit = digits & ((1 << self.width) - 1);
            self.counters[(i << self.width) + digit as usize] += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.counters.iter_mut().zip(&other.counters) {
            *count += more;
        }
    }

    /// Ends a pass; `false` when all digits are known.
    fn advance(&mut self) -> bool {
        for (prefix, rank) in &mut self.targets {
            let i = self.prefixes.partition_point(|p| p < prefix);
            let counters = &self.counters[i << self.width..(i + 1) << self.width];
            let mut digit = 0;
            while digit + 1 < counters.len() && *rank >= counters[digit] {
                *rank -= counters[digit];
                digit += 1;
            }
            *prefix = (*prefix << self.width) | digit as u64;
        }
        if self.shift == 0 {
            return false;
        }
        self.begin();
        true
    }

    fn key(&self, target: usize) -> u64 {
        self.targets[target].0
    }
}

/// A key that rises with the value; the two zeros are one.
fn key_of(value: f32) -> u64 {
    let bits = (value + 0.0).to_bits();
    let key = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    u64::from(key)
}

/// The value of a key.
fn value_of(key: u64) -> f64 {
    let key = key as u32;
    let bits = if key >> 31 == 1 {
        key & !(1 << 31)
    } else {
        !key
    };
    f64::from(f32::from_bits(bits))
}

/// The slices of one block of channels and z.
struct Slab<'a> {
    source: &'a dyn ImageSource,
    regions: Vec<ImageRegion>,
    held: Option<Vec<Vec<f32>>>,
    slices: usize,
}

impl<'a> Slab<'a> {
    fn new(
        source: &'a dyn ImageSource,
        grid: &Grid,
        c: usize,
        z: usize,
        budget: usize,
    ) -> Result<Self> {
        let n = grid.counts();
        let regions: Vec<ImageRegion> = (0..n.y)
            .flat_map(|y| (0..n.x).map(move |x| grid.region(c, z, y, x)))
            .collect();
        let size: usize = regions.iter().map(|region| pixels(region.shape())).sum();
        let first = grid.region(c, z, 0, 0).shape();
        let held = if size <= budget {
            Some(
                regions
                    .iter()
                    .map(|region| read(source, region))
                    .collect::<Result<_>>()?,
            )
        } else {
            None
        };
        Ok(Self {
            source,
            regions,
            held,
            slices: first.c * first.z,
        })
    }

    /// Hands every row of every window, with the number of its slice, to `visit`.
    fn pass(&self, mut visit: impl FnMut(usize, &[f32])) -> Result<()> {
        for (i, region) in self.regions.iter().enumerate() {
            let fresh;
            let window = match &self.held {
                Some(held) => &held[i],
                None => {
                    fresh = read(self.source, region)?;
                    &fresh
                }
            };
            let (rows, columns) = (region.y.len(), region.x.len());
            for (slice, pixels) in window.chunks_exact(rows * columns).enumerate() {
                for row in pixels.chunks_exact(columns) {
                    visit(slice, row);
                }
            }
        }
        Ok(())
    }

    /// Runs one selection per slice to its end.
    fn select(
        &self,
        mut selects: Vec<Select>,
        key: impl Fn(usize, f32) -> u64,
    ) -> Result<Vec<Select>> {
        loop {
            self.pass(|slice, row| row.iter().for_each(|&v| selects[slice].add(key(slice, v))))?;
            let mut more = false;
            for select in &mut selects {
                more = select.advance();
            }
            if !more {
                return Ok(selects);
            }
        }
    }

    /// The median distance of each slice's pixels from the slice's center.
    fn deviations(&self, n: u64, centers: &[f64]) -> Result<Vec<f64>> {
        let median = Quantile::median(n);
        let ranks = vec![Select::new(64, &[median.low, median.high]); self.slices];
        let found = self.select(ranks, |slice, v| {
            (f64::from(v) - centers[slice]).abs().to_bits()
        })?;
        let value =
            |s: &Select| median.interpolate(f64::from_bits(s.key(0)), f64::from_bits(s.key(1)));
        Ok(found.iter().map(value).collect())
    }

    fn measure(&self, n: u64, config: &StatisticsConfig) -> Result<Vec<Measured>> {
        let start = Measured {
            n,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            ..Measured::default()
        };
        let mut out = vec![start; self.slices];
        self.pass(|slice, row| {
            let m = &mut out[slice];
            m.mean += row.iter().map(|&v| f64::from(v)).sum::<f64>();
            for &v in row {
                m.min = m.min.min(f64::from(v));
                m.max = m.max.max(f64::from(v));
                m.n_foreground += u64::from(v > config.foreground_threshold);
            }
        })?;
        out.iter_mut().for_each(|m| m.mean /= n as f64);
        let median = Quantile::median(n);
        let ranks = |m: &Measured| {
            let mut ranks = vec![median.low, median.high];
            for q in percentiles(n, m.n_foreground, config).iter().flatten() {
                ranks.extend([q.low, q.high]);
            }
            Select::new(32, &ranks)
        };
        let selects = self.select(out.iter().map(ranks).collect(), |_, v| key_of(v))?;
        let mut squares = vec![0.0; self.slices];
        self.pass(|slice, row| {
            let mean = out[slice].mean;
            squares[slice] += row
                .iter()
                .map(|&v| (f64::from(v) - mean).powi(2))
                .sum::<f64>();
        })?;
        for ((m, select), square) in out.iter_mut().zip(&selects).zip(squares) {
            let between = |q: Quantile, at: usize| {
                q.interpolate(value_of(select.key(at)), value_of(select.key(at + 1)))
            };
            m.std = (square / n as f64).sqrt();
            m.median = between(median, 0);
            [m.low, m.high] = percentiles(n, m.n_foreground, config)
                .map_or([f64::NAN; 2], |[low, high]| {
                    [between(low, 2), between(high, 4)]
                });
        }
        let centers: Vec<f64> = out.iter().map(|m| m.median).collect();
        for (m, mad) in out.iter_mut().zip(self.deviations(n, &centers)?) {
            m.mad = mad;
        }
        Ok(out)
    }
}

/// Measures all slices.
pub(super) fn measure(
    source: &dyn ImageSource,
    config: &StatisticsConfig,
    progress: &dyn Progress,
) -> Result<Vec<Measured>> {
    let shape = source.shape();
    // Windows must not depend on the number of threads: sums of floats follow them.
    let mut grid = Grid::new(shape, source.chunk_shape(), (config.memory / 64).max(1));
    grid.block.c = 1;
    let budget = config.memory / 4 / rayon::current_num_threads().max(1);
    let n = grid.counts();
    let per_slice = slice_pixels(shape);
    progress.start("image statistics", Some((n.c * n.z) as u64));
    let mut measured = Vec::with_capacity(shape.c * shape.z);
    for c in 0..n.c {
        let slabs: Vec<Vec<Measured>> = (0..n.z)
            .into_par_iter()
            .map(|z| {
                progress.check()?;
                let rows = Slab::new(source, &grid, c, z, budget)?.measure(per_slice, config)?;
                progress.advance(1);
                Ok(rows)
            })
            .collect::<Result<_>>()?;
        let mut rows: Vec<Measured> = slabs.into_iter().flatten().collect();
        if config.mad_compat {
            let center = stack_median(source, &grid, c, budget, progress)?;
            let mads: Vec<Vec<f64>> = (0..n.z)
                .into_par_iter()
                .map(|z| {
                    progress.check()?;
                    let slab = Slab::new(source, &grid, c, z, budget)?;
                    slab.deviations(per_slice, &vec![center; slab.slices])
                })
                .collect::<Result<_>>()?;
            for (row, mad) in rows.iter_mut().zip(mads.into_iter().flatten()) {
                row.mad_compat = Some(mad);
            }
        }
        measured.extend(rows);
    }
    progress.finish();
    Ok(measured)
}

/// The median of all slices of a channel.
fn stack_median(
    source: &dyn ImageSource,
    grid: &Grid,
    c: usize,
    budget: usize,
    progress: &dyn Progress,
) -> Result<f64> {
    let median = Quantile::median(slice_pixels(grid.shape) * grid.shape.z as u64);
    let mut select = Select::new(32, &[median.low, median.high]);
    loop {
        let parts: Vec<Select> = (0..grid.counts().z)
            .into_par_iter()
            .map(|z| {
                progress.check()?;
                let mut part = select.clone();
                let slab = Slab::new(source, grid, c, z, budget)?;
                slab.pass(|_, row| row.iter().for_each(|&v| part.add(key_of(v))))?;
                Ok(part)
            })
            .collect::<Result<_>>()?;
        parts.iter().for_each(|part| select.merge(part));
        if !select.advance() {
            let [low, high] = [0, 1].map(|target| value_of(select.key(target)));
            return Ok(median.interpolate(low, high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_rise_with_the_values_and_lead_back(a in -1e30_f32..1e30, b in -1e30_f32..1e30) {
            prop_assert_eq!(a < b, key_of(a) < key_of(b));
            prop_assert_eq!(value_of(key_of(a)), f64::from(a));
        }

        #[test]
        fn selection_finds_every_rank(mut values in prop::collection::vec(any::<u64>(), 1..50)) {
            let ranks: Vec<u64> = (0..values.len() as u64).collect();
            let mut select = Select::new(64, &ranks);
            loop {
                values.iter().for_each(|&v| select.add(v));
                if !select.advance() {
                    break;
                }
            }
            values.sort_unstable();
            for (rank, value) in values.iter().enumerate() {
                prop_assert_eq!(select.key(rank), *value);
            }
        }
    }
}

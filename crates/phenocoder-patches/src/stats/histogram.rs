//! Statistics of 8- and 16-bit pixels: one pass, one counter per value.

use phenocoder_core::{ImageSource, Progress};
use rayon::prelude::*;

use super::quantile::Quantile;
use super::{Measured, StatisticsConfig, percentiles, slice_pixels};
use crate::blocks::{Grid, read};
use crate::{Error, Result};

/// The values that occur in a slice, rising, with their numbers.
#[derive(Debug, Default)]
struct Counts(Vec<(i32, u64)>);

impl Counts {
    fn n(&self) -> u64 {
        self.0.iter().map(|&(_, count)| count).sum()
    }

    /// The value between two order statistics.
    fn at(&self, quantile: Quantile) -> f64 {
        quantile_of(
            self.0
                .iter()
                .map(|&(value, count)| (f64::from(value), count)),
            quantile,
        )
    }

    /// The median distance from `center`.
    fn deviation(&self, center: f64) -> f64 {
        let mut distances: Vec<(f64, u64)> = self
            .0
            .iter()
            .map(|&(value, count)| ((f64::from(value) - center).abs(), count))
            .collect();
        distances.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        quantile_of(distances.into_iter(), Quantile::median(self.n()))
    }
}

/// The value between two order statistics of rising, counted values.
fn quantile_of(values: impl Iterator<Item = (f64, u64)>, quantile: Quantile) -> f64 {
    let (mut seen, mut low) = (0, None);
    for (value, count) in values {
        seen += count;
        if low.is_none() && seen > quantile.low {
            low = Some(value);
        }
        if seen > quantile.high {
            return quantile.interpolate(low.unwrap_or(value), value);
        }
    }
    f64::NAN
}

/// Measures all slices; `range` is the smallest value of the type and the number of values.
pub(super) fn measure(
    source: &dyn ImageSource,
    range: (i32, usize),
    config: &StatisticsConfig,
    progress: &dyn Progress,
) -> Result<Vec<Measured>> {
    let shape = source.shape();
    // A task counts the slices of one block row of chunks; its counters share the memory with its window.
    let window = (config.memory / 4 / rayon::current_num_threads().max(1)).max(1);
    let mut grid = Grid::new(shape, source.chunk_shape(), window);
    let counters = (config.memory / (8 * range.1)).max(1);
    while grid.block.c * grid.block.z > counters && grid.block.z > 1 {
        grid.block.z = grid.block.z.div_ceil(2);
    }
    while grid.block.c * grid.block.z > counters && grid.block.c > 1 {
        grid.block.c = grid.block.c.div_ceil(2);
    }
    let n = grid.counts();
    progress.start("image statistics", Some((n.c * n.z) as u64));
    let mut measured = vec![Measured::default(); shape.c * shape.z];
    for c in 0..n.c {
        let slabs: Vec<Vec<Counts>> = (0..n.z)
            .into_par_iter()
            .map(|z| {
                progress.check()?;
                let counts = count_slab(source, &grid, c, z, range)?;
                progress.advance(1);
                Ok(counts)
            })
            .collect::<Result<_>>()?;
        let channels = grid.region(c, 0, 0, 0).c;
        for (within, channel) in channels.clone().enumerate() {
            // Within a slab slices are numbered channel first.
            let slices: Vec<&Counts> = slabs
                .iter()
                .flat_map(|slab| {
                    let z = slab.len() / channels.len();
                    &slab[within * z..(within + 1) * z]
                })
                .collect();
            let stack = config.mad_compat.then(|| stack_median(&slices));
            let rows: Vec<Measured> = slices
                .par_iter()
                .map(|counts| summarize(counts, stack, config))
                .collect();
            measured[channel * shape.z..(channel + 1) * shape.z].clone_from_slice(&rows);
        }
    }
    progress.finish();
    debug_assert!(measured.iter().all(|m| m.n == slice_pixels(shape)));
    Ok(measured)
}

/// Counts the values of each slice of a slab.
fn count_slab(
    source: &dyn ImageSource,
    grid: &Grid,
    c: usize,
    z: usize,
    (smallest, values): (i32, usize),
) -> Result<Vec<Counts>> {
    let n = grid.counts();
    let slab = grid.region(c, z, 0, 0).shape();
    let mut counters = vec![0_u64; slab.c * slab.z * values];
    for y in 0..n.y {
        for x in 0..n.x {
            let region = grid.region(c, z, y, x);
            let window = read(source, &region)?;
            let per_slice = region.y.len() * region.x.len();
            for (slice, counter) in window
                .chunks_exact(per_slice)
                .zip(counters.chunks_exact_mut(values))
            {
                for &value in slice {
                    let place = (value as i32).wrapping_sub(smallest);
                    let slot = usize::try_from(place)
                        .ok()
                        .and_then(|place| counter.get_mut(place));
                    match slot {
                        Some(count) if (place + smallest) as f32 == value => *count += 1,
                        _ => {
                            return Err(Error::PixelType {
                                image: source.name().to_owned(),
                                data_type: format!("{:?}", source.data_type()).to_lowercase(),
                                value,
                            });
                        }
                    }
                }
            }
        }
    }
    let occurring = |counter: &[u64]| {
        let some = counter.iter().enumerate().filter(|&(_, &count)| count > 0);
        Counts(
            some.map(|(i, &count)| (i as i32 + smallest, count))
                .collect(),
        )
    };
    Ok(counters.chunks_exact(values).map(occurring).collect())
}

/// The median of several slices together.
fn stack_median(slices: &[&Counts]) -> f64 {
    let mut all = std::collections::BTreeMap::<i32, u64>::new();
    for &(value, count) in slices.iter().flat_map(|counts| &counts.0) {
        *all.entry(value).or_default() += count;
    }
    let all = Counts(all.into_iter().collect());
    all.at(Quantile::median(all.n()))
}

fn summarize(counts: &Counts, stack: Option<f64>, config: &StatisticsConfig) -> Measured {
    let n = counts.n();
    let n_foreground = counts
        .0
        .iter()
        .filter(|&&(value, _)| value as f32 > config.foreground_threshold)
        .map(|&(_, count)| count)
        .sum();
    // The sum of 16-bit values is exact in 128 bits.
    let sum: i128 = counts
        .0
        .iter()
        .map(|&(value, count)| i128::from(value) * i128::from(count))
        .sum();
    let mean = sum as f64 / n as f64;
    let square = |&(value, count): &(i32, u64)| (f64::from(value) - mean).powi(2) * count as f64;
    let median = counts.at(Quantile::median(n));
    let [low, high] = percentiles(n, n_foreground, config)
        .map_or([f64::NAN; 2], |quantiles| quantiles.map(|q| counts.at(q)));
    let extreme =
        |entry: Option<&(i32, u64)>| entry.map_or(f64::NAN, |&(value, _)| f64::from(value));
    Measured {
        n,
        n_foreground,
        mean,
        std: (counts.0.iter().map(square).sum::<f64>() / n as f64).sqrt(),
        min: extreme(counts.0.first()),
        max: extreme(counts.0.last()),
        median,
        mad: counts.deviation(median),
        mad_compat: stack.map(|center| counts.deviation(center)),
        low,
        high,
    }
}

//! Pairs of points of two leaves whose distances fall among many thresholds.

use super::leaves::Pair;
use super::rounded::Seen;
use super::thresholds::Table;
use super::tree::LEAF;

/// How many distances are below which threshold. Neighbors mostly fall between the same thresholds: with one counter each
/// would wait for the one before.
pub(super) type Found = [[u32; 256]; 4];

/// Looks up between which thresholds the distance of each pair lies: a rounded one where that is sure.
pub(super) struct LookUp<'a> {
    pub(super) pair: &'a Pair<'a>,
    pub(super) seen: &'a Seen,
    pub(super) table: &'a Table,
}

impl LookUp<'_> {
    /// Takes and leaves zeros in `found`.
    #[inline(always)]
    pub(super) fn count(&self, found: &mut Found, counts: &mut [u64]) {
        const MIXED: usize = Table::MIXED as usize;
        let Self { pair, seen, table } = self;
        let b = &pair.b.rounded;
        let scale = table.scale as f32;
        let end = pair.bins.end;
        let mut places = [0_u16; LEAF];
        for (limit, points) in pair.runs() {
            let last = end.min(limit);
            let farthest = pair.thresholds.squared[last - 1] as f32 + seen.error;
            for i in points {
                if seen.nearest[i] > farthest {
                    found[0][last] += pair.b.len as u32;
                    continue;
                }
                let [z, y, x] = [seen.axes[0][i], seen.axes[1][i], seen.axes[2][i]];
                let base = seen.squared[i] * scale;
                for (j, place) in places.iter_mut().enumerate() {
                    let mut sum = x * b.axes[2][j] + (y * b.axes[1][j] + b.squared[j]);
                    if !seen.flat {
                        sum += z * b.axes[0][j];
                    }
                    *place = Table::place(sum * scale + base);
                }
                let places = &places[..pair.b.len];
                let mixed = |found: &Found| found.iter().map(|found| found[MIXED]).sum::<u32>();
                let before = mixed(found);
                let count = |found: &mut [u32; 256], place: u16| {
                    found[usize::from(table.bins[usize::from(place)])] += 1;
                };
                let (fours, rest) = places.as_chunks::<4>();
                for places in fours {
                    for j in 0..4 {
                        count(&mut found[j], places[j]);
                    }
                }
                for (j, &place) in rest.iter().enumerate() {
                    count(&mut found[j], place);
                }
                if before != mixed(found) {
                    for (j, &place) in places.iter().enumerate() {
                        if table.bins[usize::from(place)] == Table::MIXED {
                            let bin = pair.bin(i, j, table.least(place));
                            found[j % 4][MIXED] -= 1;
                            found[j % 4][bin] += 1;
                        }
                    }
                }
            }
            // Points before have a lower limit: what is beyond this one is of these points.
            for found in &mut *found {
                let beyond = &mut found[last + 1..=end];
                let sum: u32 = beyond.iter().sum();
                beyond.fill(0);
                found[last] += sum;
            }
        }
        for bin in pair.bins.start..=end {
            let sum: u32 = found.iter().map(|found| found[bin]).sum();
            counts[bin] = counts[bin].wrapping_add(sum.into());
        }
        for found in found {
            found[pair.bins.start..=end].fill(0);
        }
        // From their limit on points do not count: what was found beyond is taken back together with all the others.
        for (limit, n) in pair.limits.beyond(pair.bins.start) {
            super::end_at(counts, limit, (n * pair.b.len) as u64);
        }
    }
}

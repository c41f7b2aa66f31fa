//! Pairs of points of two leaves whose distances fall among few thresholds.

use pulp::Simd;

use super::leaves::Pair;
use super::rounded::Seen;
use super::tree::LEAF;

/// More than all pairs of two leaves; with it counts are whole numbers below 2²⁴.
const ABOVE: f32 = (2 * LEAF * LEAF) as f32;

/// Compares all pairs with each of the thresholds: rounded distances with one that is a little lower and one that is a little
/// higher, and only where the two counts differ the exact distances.
pub(super) struct Compare<'a> {
    pub(super) pair: &'a Pair<'a>,
    /// `None` where squares are too large or too small for 32 bits.
    pub(super) seen: Option<&'a Seen>,
}

impl Compare<'_> {
    #[inline(always)]
    pub(super) fn count<S: Simd>(&self, simd: S, counts: &mut [u64]) {
        let Self { pair, seen } = self;
        // Points of the first leaf that do not count any more.
        let mut ended = 0;
        let mut limits = pair.limits.iter().peekable();
        let mut before = 0;
        for bin in pair.bins.clone() {
            while let Some((_, n)) = limits.next_if(|&(limit, _)| limit <= bin) {
                ended += n as u32;
            }
            let counted = u32::MAX.checked_shl(ended).unwrap_or(0);
            let up_to = match seen {
                Some(seen) => of_threshold(simd, pair, seen, bin, counted),
                None => pair.exact(bin, counted),
            };
            counts[bin] = counts[bin].wrapping_add(up_to.wrapping_sub(before));
            before = up_to;
        }
        let end = pair.bins.end;
        for (limit, n) in pair.limits.beyond(end) {
            let pairs = (n * pair.b.len) as u64;
            counts[end] = counts[end].wrapping_add(pairs);
            super::end_at(counts, limit, pairs);
        }
        counts[end] = counts[end].wrapping_sub(before);
    }
}

/// Counts the pairs that belong to a threshold, of those points of the first leaf whose bits are set.
#[inline(always)]
fn of_threshold<S: Simd>(simd: S, pair: &Pair<'_>, seen: &Seen, bin: usize, counted: u32) -> u64 {
    let threshold = pair.thresholds.squared[bin] as f32;
    let (low, high) = (threshold - seen.error, threshold + seen.error);
    let (mut all, mut some) = ([0_u8; LEAF], [0_u8; LEAF]);
    // What is left of the thresholds for each point: numbers that are spread over lanes come faster from memory.
    let (mut lows, mut highs) = ([0.0_f32; LEAF], [0.0_f32; LEAF]);
    for i in 0..LEAF {
        (lows[i], highs[i]) = (low - seen.squared[i], high - seen.squared[i]);
        let is_in = seen.farthest[i] <= low;
        all[i] = is_in.into();
        some[i] = (!is_in & (seen.nearest[i] <= high)).into();
    }
    let all = (bits(&all) & counted).count_ones();
    let some = bits(&some) & counted;
    let b = &pair.b.rounded;
    let [bz, by, bx] = &b.axes;
    let (bz, by, bx) = (
        S::as_simd_f32s(bz).0,
        S::as_simd_f32s(by).0,
        S::as_simd_f32s(bx).0,
    );
    let (squared, _) = S::as_simd_f32s(&b.squared);
    // How many are below the lower threshold, and `ABOVE` times how many are below the higher one; in parts that do not
    // wait for each other.
    let (one, above) = (simd.splat_f32s(1.0), simd.splat_f32s(ABOVE));
    let mut sums = [simd.splat_f32s(0.0); 4];
    let mut rest = some;
    while rest != 0 {
        let i = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let z = simd.splat_f32s(seen.axes[0][i]);
        let y = simd.splat_f32s(seen.axes[1][i]);
        let x = simd.splat_f32s(seen.axes[2][i]);
        let (low, high) = (simd.splat_f32s(lows[i]), simd.splat_f32s(highs[i]));
        for j in 0..squared.len() {
            let mut sum = simd.mul_add_e_f32s(x, bx[j], squared[j]);
            sum = simd.mul_add_e_f32s(y, by[j], sum);
            if !seen.flat {
                sum = simd.mul_add_e_f32s(z, bz[j], sum);
            }
            let is_below = simd.less_than_or_equal_f32s(sum, low);
            let of = &mut sums[2 * j % 4];
            *of = simd.select_f32s(is_below, simd.add_f32s(*of, one), *of);
            let is_above = simd.less_than_or_equal_f32s(sum, high);
            let of = &mut sums[(2 * j + 1) % 4];
            *of = simd.select_f32s(is_above, simd.add_f32s(*of, above), *of);
        }
    }
    let sum = simd.add_f32s(
        simd.add_f32s(sums[0], sums[1]),
        simd.add_f32s(sums[2], sums[3]),
    );
    let sum = simd.reduce_sum_f32s(sum) as u32;
    let (below, above) = (sum % ABOVE as u32, sum / ABOVE as u32);
    let found = match below == above {
        true => u64::from(below),
        false => pair.exact(bin, some),
    };
    u64::from(all) * pair.b.len as u64 + found
}

/// The bits whose flags are 1.
#[inline(always)]
fn bits(flags: &[u8; LEAF]) -> u32 {
    let eights = flags.as_chunks::<8>().0.iter().rev();
    eights.fold(0, |bits, &eight| {
        // The flag of byte i goes to bit 56 + i, and no two come to the same place.
        let gathered = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits << 8 | gathered as u32
    })
}

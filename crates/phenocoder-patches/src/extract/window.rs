//! Where the pixels of a patch come from.

use std::ops::Range;

use crate::select::BorderPolicy;

/// One axis of a patch: the pixel of the image behind each of its pixels, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// The first pixel, before the border policy; may lie outside.
    start: isize,
    /// The number of pixels of the patch.
    size: usize,
    /// The number of pixels of the image.
    n: usize,
    reflect: bool,
}

impl Axis {
    pub(crate) fn new(center: usize, size: usize, n: usize, border: BorderPolicy) -> Self {
        Self {
            start: center as isize - (size / 2) as isize,
            size,
            n,
            reflect: matches!(border, BorderPolicy::Reflect),
        }
    }

    /// The pixel of the image behind pixel `i` of the patch.
    pub(crate) fn source(&self, i: usize) -> Option<usize> {
        let at = self.start + i as isize;
        if (0..self.n as isize).contains(&at) {
            return Some(at as usize);
        }
        self.reflect.then(|| reflect(at, self.n))
    }

    /// All pixels of the image that are needed: a run without gaps, for the mirror image has none.
    pub(crate) fn needed(&self) -> Range<usize> {
        let sources = (0..self.size).filter_map(|i| self.source(i));
        let (low, high) = sources.fold((usize::MAX, 0), |(low, high), at| {
            (low.min(at), high.max(at + 1))
        });
        low.min(high)..high
    }

    /// The pairs (pixel of the patch, pixel within `range`) for all pixels that come from `range`.
    pub(crate) fn within(&self, range: &Range<usize>) -> Vec<(usize, usize)> {
        let pair = |i| {
            let at = self.source(i).filter(|at| range.contains(at))?;
            Some((i, at - range.start))
        };
        (0..self.size).filter_map(pair).collect()
    }
}

/// Mirrors at the first and the last pixel, as often as needed.
pub(crate) fn reflect(at: isize, n: usize) -> usize {
    if n <= 1 {
        return 0;
    }
    let last = n as isize - 1;
    let at = at.rem_euclid(2 * last);
    (if at > last { 2 * last - at } else { at }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_equals_numpy_pad() {
        // numpy.pad([0, 1, 2], 5, mode="reflect")
        let padded: Vec<usize> = (-5..8).map(|at| reflect(at, 3)).collect();
        assert_eq!(padded, [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(reflect(-7, 1), 0);
    }

    #[test]
    fn an_even_patch_reaches_further_up_than_down() {
        let axis = Axis::new(5, 4, 100, BorderPolicy::Drop);
        assert_eq!(axis.needed(), 3..7);
        let axis = Axis::new(5, 5, 100, BorderPolicy::Drop);
        assert_eq!(axis.needed(), 3..8);
    }

    #[test]
    fn padding_needs_only_what_is_there() {
        let axis = Axis::new(0, 4, 10, BorderPolicy::Pad(0.0));
        assert_eq!(axis.needed(), 0..2);
        assert_eq!(axis.source(1), None);
        assert_eq!(axis.within(&(1..10)), [(3, 0)]);
    }
}

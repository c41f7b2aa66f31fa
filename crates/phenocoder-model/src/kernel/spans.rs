//! Which part of a kernel the pixels of an image see: near its border, less than all.

use std::ops::Range;

/// Neighbours along one axis that see the same taps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// The first of them.
    pub(super) first: usize,
    /// How many there are.
    pub(super) len: usize,
    /// The taps that they see.
    pub(super) taps: Range<usize>,
}

impl Span {
    /// All `len` pixels, with all taps: those outside the image are zeros around it.
    pub(super) fn all(len: usize, taps: usize) -> Self {
        Self {
            first: 0,
            len,
            taps: 0..taps,
        }
    }
}

/// Cuts `len` pixels into spans, where `sees(pixel, tap)` tells which of `taps` lie in the image.
///
/// The taps that a pixel sees are neighbours.
/// Where that saves less than a tenth of the work there is one span with all taps, since long rows of pixels are faster.
pub(super) fn spans(len: usize, taps: usize, sees: impl Fn(usize, usize) -> bool) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut work = 0;
    for pixel in 0..len {
        let first = (0..taps).find(|&tap| sees(pixel, tap)).unwrap_or(taps);
        let seen = (first..taps).take_while(|&tap| sees(pixel, tap)).count();
        let seen = first..first + seen;
        work += seen.len();
        match spans.last_mut() {
            Some(last) if last.taps == seen => last.len += 1,
            _ => spans.push(Span {
                first: pixel,
                len: 1,
                taps: seen,
            }),
        }
    }
    if 10 * work > 9 * len * taps {
        return vec![Span::all(len, taps)];
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of a convolution.
    fn of(
        big: usize,
        kernel: usize,
        stride: usize,
        pad: usize,
    ) -> Vec<(usize, usize, Range<usize>)> {
        let small = (big + pad).div_ceil(stride).max(1);
        let spans = spans(small, kernel, |at, tap| {
            (pad..pad + big).contains(&(at * stride + tap))
        });
        spans
            .into_iter()
            .map(|s| (s.first, s.len, s.taps))
            .collect()
    }

    #[test]
    fn pixels_at_the_border_of_a_small_image_see_part_of_the_kernel() {
        assert_eq!(of(4, 3, 2, 0), [(0, 1, 0..3), (1, 1, 0..2)]);
        assert_eq!(of(2, 3, 2, 0), [(0, 1, 0..2)]);
        assert_eq!(of(1, 3, 1, 1), [(0, 1, 1..2), (1, 1, 0..1)]);
    }

    #[test]
    fn pixels_of_a_large_image_stay_together() {
        assert_eq!(of(64, 3, 2, 0), [(0, 32, 0..3)]);
    }

    #[test]
    fn a_pixel_outside_the_image_sees_nothing() {
        let spans = spans(3, 2, |at, tap| at == 1 && tap == 0);
        let taps: Vec<_> = spans.iter().map(|s| s.taps.len()).collect();
        assert_eq!(taps, [0, 1, 0]);
    }
}

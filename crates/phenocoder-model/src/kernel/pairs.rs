//! Sums and images of pairs of values, spread over threads and vectors.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Values per task and per `f32` partial sum; sums of tasks are added in `f64` in their order.
const CHUNK: usize = 1 << 13;

/// `Σ term(a, b)`.
///
/// Sixteen partial sums in `f32`, value `i` in sum `i mod 16`, so the bits do not depend on the width of the vectors.
pub(super) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32 + Copy + Sync) -> f64 {
    let parts: Vec<f64> = a
        .par_chunks(CHUNK)
        .zip(b.par_chunks(CHUNK))
        .map(|(a, b)| Arch::new().dispatch(Sum { a, b, term }))
        .collect();
    parts.iter().sum()
}

/// `f(a, b)` for every pair.
pub(super) fn map(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Vec<f32> {
    let mut out = vec![0.0; a.len()];
    out.par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)))
        .for_each(|(out, (a, b))| Arch::new().dispatch(Map { a, b, f, out }));
    out
}

/// `f(a, b, c)` for every triple.
pub(super) fn map3(
    a: &[f32],
    b: &[f32],
    c: &[f32],
    f: impl Fn(f32, f32, f32) -> f32 + Copy + Sync,
) -> Vec<f32> {
    let mut out = vec![0.0; a.len()];
    let rest = b.par_chunks(CHUNK).zip(c.par_chunks(CHUNK));
    out.par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK).zip(rest))
        .for_each(|(out, (a, (b, c)))| Arch::new().dispatch(Map3 { a, b, c, f, out }));
    out
}

struct Sum<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    term: F,
}

impl<F: Fn(f32, f32) -> f32> WithSimd for Sum<'_, F> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0_f32; 16];
        let (a, last_a) = self.a.as_chunks::<16>();
        let (b, last_b) = self.b.as_chunks::<16>();
        for (a, b) in a.iter().zip(b) {
            for i in 0..16 {
                sums[i] += (self.term)(a[i], b[i]);
            }
        }
        for (i, (&a, &b)) in last_a.iter().zip(last_b).enumerate() {
            sums[i] += (self.term)(a, b);
        }
        sums.iter().map(|&sum| f64::from(sum)).sum()
    }
}

struct Map<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    f: F,
    out: &'a mut [f32],
}

impl<F: Fn(f32, f32) -> f32> WithSimd for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((out, &a), &b) in self.out.iter_mut().zip(self.a).zip(self.b) {
            *out = (self.f)(a, b);
        }
    }
}

struct Map3<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
    f: F,
    out: &'a mut [f32],
}

impl<F: Fn(f32, f32, f32) -> f32> WithSimd for Map3<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let inputs = self.a.iter().zip(self.b).zip(self.c);
        for (out, ((&a, &b), &c)) in self.out.iter_mut().zip(inputs) {
            *out = (self.f)(a, b, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::elementary::{exp, ln_1p};

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        let mut stream = phenocoder_core::Seed::new(3).stream("pairs", 0);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
        for n in [0, 1, 15, 16, 17, 100, 1000] {
            let (a, b) = (draw(n), draw(n));
            let f = |a: f32, b: f32| ln_1p(exp(-a.abs())) + a * b;
            let sum = |arch: Arch| {
                arch.dispatch(Sum {
                    a: &a,
                    b: &b,
                    term: f,
                })
            };
            assert_eq!(
                sum(Arch::Scalar).to_bits(),
                sum(Arch::new()).to_bits(),
                "{n}"
            );
            let map = |arch: Arch| {
                let mut out = vec![0.0; n];
                arch.dispatch(Map {
                    a: &a,
                    b: &b,
                    f,
                    out: &mut out,
                });
                out
            };
            assert_eq!(map(Arch::Scalar), map(Arch::new()), "{n}");
        }
    }
}

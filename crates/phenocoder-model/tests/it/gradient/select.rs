//! Nearest resizing and circular padding.

use candle_core::Tensor;
use phenocoder_model::kernel::{pad_circular2d, resize_nearest2d, upsample_nearest2d};
use proptest::prelude::*;

use super::{Check, DOUBLE, Input, sums};

/// A check of `y[i, j] = x[row(i), column(j)]`.
fn selection<'a>(
    [n, h, w, c]: [usize; 4],
    rows: Vec<usize>,
    columns: Vec<usize>,
    seed: u64,
    kernel: impl Fn(&Tensor) -> phenocoder_model::Result<Tensor> + 'a,
) -> Check<'a> {
    let (height, width) = (rows.len(), columns.len());
    // The places of every value of the result, and of the value of the input that it is.
    let mut pairs = Vec::new();
    for sample in 0..n {
        for (i, row) in rows.iter().enumerate() {
            for (j, column) in columns.iter().enumerate() {
                for channel in 0..c {
                    let from = ((sample * h + row) * w + column) * c + channel;
                    pairs.push((((sample * height + i) * width + j) * c + channel, from));
                }
            }
        }
    }
    let again = pairs.clone();
    Check {
        inputs: vec![Input::normal(&[n, h, w, c], "x", seed)],
        kernel: Box::new(move |t: &[Tensor]| kernel(&t[0])),
        forward: Box::new(move |v| {
            let mut y = sums(pairs.len());
            for &(to, from) in &pairs {
                y[to].add(v[0][from]);
            }
            y
        }),
        backward: Box::new(move |_, weights| {
            let mut dx = sums(n * h * w * c);
            for &(to, from) in &again {
                dx[from].add(weights[to]);
            }
            vec![dx]
        }),
        relu: false,
        double: DOUBLE,
    }
}

prop_compose! {
    fn shapes()(n in 0_usize..4, h in 1_usize..9, w in 1_usize..9, c in 1_usize..20) -> [usize; 4] {
        [n, h, w, c]
    }
}

proptest! {
    #![proptest_config(super::cases(64))]

    #[test]
    fn resizing_to_the_nearest_pixel(shape in shapes(), size in [1_usize..20, 1_usize..20], seed: u64) {
        let places = |from: usize, to: usize| -> Vec<usize> {
            (0..to).map(|i| (i as f64 * from as f64 / to as f64 + 1e-9).floor() as usize).collect()
        };
        let (rows, columns) = (places(shape[1], size[0]), places(shape[2], size[1]));
        selection(shape, rows, columns, seed, |x| resize_nearest2d(x, size)).run(seed)?;
    }

    #[test]
    fn enlarging_by_a_whole_factor(shape in shapes(), factor in 1_usize..4, seed: u64) {
        let places = |from: usize| -> Vec<usize> { (0..from * factor).map(|i| i / factor).collect() };
        let (rows, columns) = (places(shape[1]), places(shape[2]));
        selection(shape, rows, columns, seed, |x| upsample_nearest2d(x, factor)).run(seed)?;
    }

    #[test]
    fn circular_padding(shape in shapes(), p in 0_usize..4, seed: u64) {
        let [_, h, w, _] = shape;
        if p <= h.min(w) {
            let places = |from: usize| -> Vec<usize> {
                (0..from + 2 * p).map(|i| (i as isize - p as isize).rem_euclid(from as isize) as usize).collect()
            };
            selection(shape, places(h), places(w), seed, |x| pad_circular2d(x, p)).run(seed)?;
        }
    }
}

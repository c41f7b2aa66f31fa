//! Pooling.

use candle_core::{Device, Tensor, Var};
use phenocoder_core::Seed;
use phenocoder_model::kernel::{
    Padding, PoolConfig, average_pool2d, global_average_pool, max_pool2d,
};
use proptest::prelude::*;

use super::{Check, DOUBLE, Input, Sum, sums};

/// For every window the pixels that it sees on one axis; none where a window is larger than the padded image.
fn windows(
    size: usize,
    window: usize,
    stride: usize,
    [before, after]: [usize; 2],
    wrap: bool,
) -> Option<Vec<Vec<usize>>> {
    let count = (size + before + after).checked_sub(window)? / stride + 1;
    let place = |i: usize| {
        let place = i as isize - before as isize;
        if wrap {
            return Some(place.rem_euclid(size as isize) as usize);
        }
        (0..size as isize)
            .contains(&place)
            .then_some(place as usize)
    };
    let seen = |i: usize| {
        (i * stride..i * stride + window)
            .filter_map(place)
            .collect()
    };
    Some((0..count).map(seen).collect())
}

struct Loops {
    shape: [usize; 4],
    rows: Vec<Vec<usize>>,
    columns: Vec<Vec<usize>>,
}

impl Loops {
    fn new(shape: [usize; 4], config: &PoolConfig) -> Option<Self> {
        let axis = |axis: usize| {
            let size = shape[axis + 1];
            let window = config.window[axis];
            let (pads, wrap) = match config.padding {
                Padding::Same => {
                    let small = size.div_ceil(config.stride);
                    let total = ((small - 1) * config.stride + window).saturating_sub(size);
                    ([total / 2, total - total / 2], false)
                }
                Padding::Symmetric(p) => ([p, p], false),
                Padding::Circular(p) => ([p, p], true),
                Padding::Explicit { top, bottom, .. } if axis == 0 => ([top, bottom], false),
                Padding::Explicit { left, right, .. } => ([left, right], false),
                _ => ([0, 0], false),
            };
            windows(size, window, config.stride, pads, wrap)
        };
        Some(Self {
            shape,
            rows: axis(0)?,
            columns: axis(1)?,
        })
    }

    /// Calls `f` with the place of every pooled value and the places that its window sees, in reading order.
    fn each(&self, mut f: impl FnMut(usize, &[usize])) {
        let [n, h, w, c] = self.shape;
        let mut place = 0;
        for sample in 0..n {
            for rows in &self.rows {
                for columns in &self.columns {
                    for channel in 0..c {
                        let mut seen = Vec::new();
                        for row in rows {
                            for column in columns {
                                seen.push(((sample * h + row) * w + column) * c + channel);
                            }
                        }
                        f(place, &seen);
                        place += 1;
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.shape[0] * self.rows.len() * self.columns.len() * self.shape[3]
    }
}

/// Values that are all different by more than a step of a difference.
fn distinct(shape: [usize; 4], seed: u64) -> Input {
    let mut values: Vec<f32> = (0..shape.iter().product())
        .map(|i: usize| i as f32 * 0.125 - 3.0)
        .collect();
    Seed::new(seed).stream("order", 0).shuffle(&mut values);
    Input::new(&shape, values)
}

fn largest(x: &[f64], seen: &[usize]) -> usize {
    let mut best = seen[0];
    for &place in seen {
        if x[place] > x[best] {
            best = place;
        }
    }
    best
}

fn paddings() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        (0_usize..3).prop_map(Padding::Symmetric),
        (0_usize..3).prop_map(Padding::Circular),
        (0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3).prop_map(|(top, bottom, left, right)| {
            Padding::Explicit {
                top,
                bottom,
                left,
                right,
            }
        }),
    ]
}

prop_compose! {
    fn settings()(
        window in [1_usize..5, 1_usize..5], stride in 1_usize..4, padding in paddings(), count_padding: bool,
    ) -> PoolConfig {
        PoolConfig::new(1)
            .with_window(window)
            .with_stride(stride)
            .with_padding(padding)
            .with_count_padding(count_padding)
    }
}

prop_compose! {
    fn shapes()(n in 0_usize..4, h in 1_usize..8, w in 1_usize..8, c in 1_usize..20) -> [usize; 4] {
        [n, h, w, c]
    }
}

/// The loops where windows and padding fit the image.
fn loops(shape: [usize; 4], config: &PoolConfig) -> Option<Loops> {
    let wraps = match config.padding {
        Padding::Circular(p) => p <= shape[1].min(shape[2]),
        _ => true,
    };
    if config.validate().is_err() || !wraps {
        return None;
    }
    Loops::new(shape, config)
}

proptest! {
    #![proptest_config(super::cases(192))]

    #[test]
    fn maxima(shape in shapes(), config in settings(), seed: u64) {
        if let Some(loops) = loops(shape, &config) {
            let check = Check {
                inputs: vec![distinct(shape, seed)],
                kernel: Box::new(move |t: &[Tensor]| max_pool2d(&t[0], &config)),
                forward: Box::new(|v| {
                    let mut y = sums(loops.len());
                    loops.each(|place, seen| y[place].add(v[0][largest(&v[0], seen)]));
                    y
                }),
                backward: Box::new(|v, w| {
                    let mut dx = sums(v[0].len());
                    loops.each(|place, seen| dx[largest(&v[0], seen)].add(w[place]));
                    vec![dx]
                }),
                relu: false,
                double: DOUBLE,
            };
            check.run(seed)?;
        }
    }

    #[test]
    fn averages(shape in shapes(), config in settings(), seed: u64) {
        if let Some(loops) = loops(shape, &config) {
            let of = |seen: usize| match (config.count_padding, config.padding) {
                (true, _) => config.window.iter().product::<usize>() as f64,
                _ => seen as f64,
            };
            let check = Check {
                inputs: vec![Input::normal(&shape, "x", seed)],
                kernel: Box::new(move |t: &[Tensor]| average_pool2d(&t[0], &config)),
                forward: Box::new(|v| {
                    let mut y = sums(loops.len());
                    loops.each(|place, seen| {
                        for &from in seen {
                            y[place].add(v[0][from] / of(seen.len()));
                        }
                    });
                    y
                }),
                backward: Box::new(|v, w| {
                    let mut dx = sums(v[0].len());
                    loops.each(|place, seen| {
                        for &from in seen {
                            dx[from].add(w[place] / of(seen.len()));
                        }
                    });
                    vec![dx]
                }),
                relu: false,
                double: DOUBLE,
            };
            check.run(seed)?;
        }
    }

    #[test]
    fn averages_of_whole_images(shape in shapes(), seed: u64) {
        let [n, h, w, c] = shape;
        let area = (h * w) as f64;
        let pooled = move |i: usize| i / (h * w * c) * c + i % c;
        Check {
            inputs: vec![Input::normal(&shape, "x", seed)],
            kernel: Box::new(|t: &[Tensor]| global_average_pool(&t[0])),
            forward: Box::new(move |v| {
                let mut y = vec![Sum::default(); n * c];
                for (i, x) in v[0].iter().enumerate() {
                    y[pooled(i)].add(x / area);
                }
                y
            }),
            backward: Box::new(move |v, w| {
                let slope = |i: usize| Sum::of(w[pooled(i)] / area, w[pooled(i)].abs() / area);
                vec![(0..v[0].len()).map(slope).collect()]
            }),
            relu: false,
            double: DOUBLE,
        }
        .run(seed)?;
    }
}

/// The gradient of the sum of the maxima of one row of pixels.
fn max_gradient(values: &[f32], config: &PoolConfig) -> (Vec<f32>, Vec<f32>) {
    let x = Var::from_slice(values, (1, 1, values.len(), 1), &Device::Cpu).unwrap();
    let y = max_pool2d(&x, config).unwrap();
    let store = y.sum_all().unwrap().backward().unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (flat(&y), flat(store.get(&x).unwrap()))
}

#[test]
fn of_equal_values_the_first_receives_the_gradient_once_per_window() {
    let config = PoolConfig::new(1).with_window([1, 3]).with_stride(1);
    let (y, dx) = max_gradient(&[2.0, 2.0, 1.0, 2.0, 2.0], &config);
    assert_eq!((y, dx), (vec![2.0; 3], vec![1.0, 1.0, 0.0, 1.0, 0.0]));
    let (_, dx) = max_gradient(&[-0.0, 0.0, -0.0], &config);
    assert_eq!(dx, [1.0, 0.0, 0.0]);
}

#[test]
fn a_window_with_what_is_no_number_is_none_and_infinities_stay() {
    let config = PoolConfig::new(1).with_window([1, 2]).with_stride(2);
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let (y, dx) = max_gradient(&[1.0, nan, nan, 1.0, -inf, -inf, inf, 0.0], &config);
    assert!(y[0].is_nan() && y[1].is_nan());
    assert_eq!(y[2..], [-inf, inf]);
    assert_eq!(dx, [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn the_way_of_the_gpus_treats_ties_and_what_is_no_number_alike() {
    let config = PoolConfig::new(1).with_window([1, 2]).with_stride(2);
    let values = [1.0, f64::NAN, 3.0, 3.0];
    let x = Var::from_slice(&values, (1, 1, 4, 1), &Device::Cpu).unwrap();
    let y = max_pool2d(&x, &config).unwrap();
    let store = y.sum_all().unwrap().backward().unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert!(flat(&y)[0].is_nan() && flat(&y)[1] == 3.0);
    assert_eq!(flat(store.get(&x).unwrap()), [0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let x = Tensor::zeros((1, 4, 4, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(max_pool2d(&x, &PoolConfig::new(5)).is_err());
    assert!(max_pool2d(&x, &PoolConfig::new(0)).is_err());
    assert!(max_pool2d(&x, &PoolConfig::new(2).with_stride(0)).is_err());
    assert!(average_pool2d(&x, &PoolConfig::new(2).with_padding(Padding::Symmetric(2))).is_err());
    let empty = Tensor::zeros((1, 0, 4, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(global_average_pool(&empty).is_err());
}

//! Unit tests of flips and rotations.

use ndarray::{Array4, Axis};
use phenocoder_core::{PatchBatch, PatchTransform, Seed};

use super::*;

fn batch(n: usize, height: usize, width: usize) -> PatchBatch {
    let pixels = Array4::from_shape_fn((n, height, width, 2), |(n, y, x, c)| {
        (1000 * n + 100 * y + 10 * x + c) as f32
    });
    PatchBatch::new(pixels, ndarray::Array2::zeros((n, 1))).unwrap()
}

/// Moves pixels: what comes to `[n, y, x]` of a patch of `h` rows and `w` columns lay at `from(h, w, y, x)`.
fn moved(
    batch: &PatchBatch,
    from: impl Fn(usize, usize, usize, usize) -> (usize, usize),
) -> PatchBatch {
    let (_, h, w, _) = batch.pixels.dim();
    let pixels = Array4::from_shape_fn(batch.pixels.dim(), |(n, y, x, c)| {
        let (y, x) = from(h, w, y, x);
        batch.pixels[[n, y, x, c]]
    });
    PatchBatch::new(pixels, batch.conditions.clone()).unwrap()
}

fn flip_horizontal(batch: &PatchBatch) -> PatchBatch {
    moved(batch, |_, w, y, x| (y, w - 1 - x))
}

fn flip_vertical(batch: &PatchBatch) -> PatchBatch {
    moved(batch, |h, _, y, x| (h - 1 - y, x))
}

/// Turns square patches against the clock: the upper right corner comes to the upper left.
fn rotate_quarters(batch: &PatchBatch, quarters: u32) -> PatchBatch {
    (0..quarters).fold(batch.clone(), |batch, _| {
        moved(&batch, |_, w, y, x| (x, w - 1 - y))
    })
}

/// Every part on.
fn everything() -> AugmentConfig {
    let shift = ShiftConfig::default().with_steps(ShiftSteps::Fractions);
    AugmentConfig::lossless()
        .with_rotation(Some(RotationConfig::default()))
        .with_shift(Some(shift))
        .with_brightness(Some(BrightnessConfig::default()))
        .with_contrast(Some(ContrastConfig::default()))
        .with_noise(Some(NoiseConfig::default()))
}

/// Patches in [0, 1] without two equal values.
fn scaled(n: usize, side: usize) -> PatchBatch {
    let mut batch = batch(n, side, side);
    let most = batch.pixels.fold(0.0_f32, |most, &v| most.max(v));
    batch.pixels /= most + 1.0;
    batch
}

#[test]
fn nothing_happens_unless_it_is_asked_for() {
    let start = scaled(3, 5);
    let mut same = start.clone();
    let none = AugmentConfig::new().with_border(Border::Zero);
    assert!(none.is_none() && !everything().is_none());
    none.apply(&mut same, &[0, 1, 2], Seed::new(1)).unwrap();
    assert_eq!(same, start);
}

#[test]
fn lossless_changes_give_each_of_the_eight_views_equally_often() {
    let start = scaled(1, 3);
    let views: Vec<PatchBatch> = (0..8)
        .map(|i| {
            let mirrored = flip_horizontal(&start);
            rotate_quarters(if i >= 4 { &mirrored } else { &start }, i)
        })
        .collect();
    let config = AugmentConfig::lossless();
    let mut counts = [0; 8];
    for number in 0..1600 {
        let mut changed = start.clone();
        config.apply(&mut changed, &[number], Seed::new(1)).unwrap();
        counts[views.iter().position(|view| *view == changed).unwrap()] += 1;
    }
    // The 0.1 % point of chi-square with 7 degrees of freedom is 24.3.
    let chi: f64 = counts
        .iter()
        .map(|&n| f64::from(n - 200_i32).powi(2) / 200.0)
        .sum();
    assert!(chi < 24.3, "{counts:?}");
}

#[test]
fn each_flip_of_probability_one_mirrors_its_axis() {
    for (config, turn) in [
        (
            FlipConfig::new(1.0, 0.0),
            flip_horizontal as fn(&PatchBatch) -> PatchBatch,
        ),
        (FlipConfig::new(0.0, 1.0), flip_vertical),
    ] {
        let (start, mut changed) = (batch(2, 3, 4), batch(2, 3, 4));
        let config = AugmentConfig::new().with_flips(Some(config));
        config.apply(&mut changed, &[5, 6], Seed::new(3)).unwrap();
        assert_eq!(changed, turn(&start));
    }
}

#[test]
fn a_shift_by_whole_pixels_moves_and_shows_the_border() {
    let start = batch(1, 1, 4);
    let from = start.pixels.as_slice().unwrap();
    let moved = |border: Border, right: f64| {
        let mut to = vec![0.0; 8];
        warp::Warp::new(0.0, 0.0, right).apply(from, &mut to, (1, 4, 2), border);
        to.iter().step_by(2).copied().collect::<Vec<f32>>()
    };
    // 0, 10, 20, 30 in the first channel.
    assert_eq!(moved(Border::Zero, 1.0), [0.0, 0.0, 10.0, 20.0]);
    assert_eq!(moved(Border::Nearest, -2.0), [20.0, 30.0, 30.0, 30.0]);
    assert_eq!(moved(Border::Reflect, 2.0), [20.0, 10.0, 0.0, 10.0]);
    assert_eq!(moved(Border::Nearest, 0.25), [0.0, 7.5, 17.5, 27.5]);
    assert_eq!(moved(Border::Zero, 0.5), [0.0, 5.0, 15.0, 25.0]);
}

#[test]
fn brightness_and_contrast_are_factors_per_channel() {
    let start = scaled(1, 4);
    let brightness = BrightnessConfig::default().with_max_change(0.1);
    let mut bright = start.clone();
    bright.pixels *= 0.5;
    let before = bright.pixels.clone();
    let config = AugmentConfig::new().with_brightness(Some(brightness));
    config.apply(&mut bright, &[8], Seed::new(2)).unwrap();
    let factor = |y, x, c| bright.pixels[[0, y, x, c]] / before[[0, y, x, c]];
    let [a, b] = [factor(1, 2, 0), factor(1, 2, 1)];
    assert!((factor(3, 3, 0) - a).abs() < 1e-6 && (factor(3, 3, 1) - b).abs() < 1e-6);
    assert!(a != b && (0.9..1.1).contains(&a) && (0.9..1.1).contains(&b));

    let mut together = start.clone();
    together.pixels *= 0.5;
    let config =
        AugmentConfig::new().with_brightness(Some(brightness.with_channels(ChannelDraw::Together)));
    config.apply(&mut together, &[8], Seed::new(2)).unwrap();
    let ratio = &together.pixels / &before;
    let first = ratio[[0, 3, 3, 0]];
    assert!(ratio.iter().skip(1).all(|r| (r - first).abs() < 1e-5));

    let mut contrast = start.clone();
    // Far enough from 0 and 1 that nothing is clamped.
    contrast.pixels.mapv_inplace(|v| 0.3 + 0.4 * v);
    let start = contrast.clone();
    let config = AugmentConfig::new().with_contrast(Some(ContrastConfig::default()));
    config.apply(&mut contrast, &[8], Seed::new(2)).unwrap();
    for c in 0..2 {
        let channel = |pixels: &Array4<f32>| pixels.index_axis(Axis(3), c).mean().unwrap();
        let (old, new) = (channel(&start.pixels), channel(&contrast.pixels));
        assert!((old - new).abs() < 1e-6, "the mean stays");
    }
    assert_ne!(contrast.pixels, start.pixels);
}

#[test]
fn noise_has_the_deviation_asked_for() {
    let n = 64;
    let mut noisy = PatchBatch::zeros(n, phenocoder_core::PatchShape::new(32, 32, 2), 0);
    noisy.pixels.fill(0.5);
    let config = AugmentConfig::new().with_noise(Some(NoiseConfig::default().with_std(0.05)));
    let numbers: Vec<usize> = (0..n).collect();
    config.apply(&mut noisy, &numbers, Seed::new(1)).unwrap();
    let values = noisy.pixels.mapv(f64::from);
    let (mean, std) = (values.mean().unwrap(), values.std(0.0));
    // Four standard errors of the mean and of the deviation.
    assert!(
        (mean - 0.5).abs() < 6e-4 && (std - 0.05).abs() < 4e-4,
        "{mean} {std}"
    );
}

#[test]
fn settings_are_json_and_typos_are_refused() {
    let config = everything().with_border(Border::Nearest);
    let same: AugmentConfig = serde_json::from_str(&config.settings()).unwrap();
    assert_eq!(same, config);
    for wrong in [r#"{"flip": {}}"#, r#"{"rotation": {"degrees": 3}}"#] {
        assert!(serde_json::from_str::<AugmentConfig>(wrong).is_err());
    }
}

#[test]
fn each_setting_has_its_range() {
    let new = AugmentConfig::new;
    let bad = f64::NAN;
    for (config, name) in [
        (
            new().with_flips(Some(FlipConfig::new(1.5, 0.0))),
            "augment.flips.horizontal",
        ),
        (
            new().with_flips(Some(FlipConfig::new(0.0, bad))),
            "augment.flips.vertical",
        ),
        (
            new().with_quarter_turns(Some(QuarterTurnConfig::default().with_probability(-0.1))),
            "augment.quarter_turns.probability",
        ),
        (
            new().with_rotation(Some(RotationConfig::default().with_max_degrees(181.0))),
            "augment.rotation.max_degrees",
        ),
        (
            new().with_shift(Some(ShiftConfig::default().with_max_pixels(f64::INFINITY))),
            "augment.shift.max_pixels",
        ),
        (
            new().with_brightness(Some(BrightnessConfig::default().with_max_change(1.1))),
            "augment.brightness.max_change",
        ),
        (
            new().with_contrast(Some(ContrastConfig::default().with_probability(2.0))),
            "augment.contrast.probability",
        ),
        (
            new().with_noise(Some(NoiseConfig::default().with_std(-1.0))),
            "augment.noise.std",
        ),
    ] {
        match config.validate() {
            Err(crate::ConfigError::Range { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
        let mut patches = scaled(1, 3);
        assert!(config.apply(&mut patches, &[0], Seed::new(0)).is_err());
    }
    assert_eq!(everything().validate(), Ok(()));
}

#[test]
fn right_angles_need_square_patches_and_patches_need_numbers() {
    let mut wide = batch(1, 2, 3);
    let error = AugmentConfig::lossless().apply(&mut wide, &[0], Seed::new(0));
    let text = std::error::Error::source(&error.unwrap_err())
        .unwrap()
        .to_string();
    assert_eq!(
        text,
        "`augment.quarter_turns` needs square patches, found 2 × 3"
    );
    let error = everything().apply(&mut scaled(2, 3), &[0], Seed::new(0));
    let text = std::error::Error::source(&error.unwrap_err())
        .unwrap()
        .to_string();
    assert_eq!(text, "`patch numbers`: expected 2 entries, found 1");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn border() -> impl Strategy<Value = Border> {
        prop_oneof![
            Just(Border::Reflect),
            Just(Border::Nearest),
            Just(Border::Zero)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_full_turn_and_no_turn_change_nothing(
            (h, w, c) in (1_usize..9, 1_usize..9, 1_usize..5), border in border(), seed: u64, turns in -2..3_i32,
        ) {
            let mut stream = Seed::new(seed).stream("pixels", 0);
            let from: Vec<f32> = (0..h * w * c).map(|_| stream.uniform() as f32).collect();
            let mut to = vec![f32::NAN; from.len()];
            let angle = f64::from(turns) * std::f64::consts::TAU;
            warp::Warp::new(angle, 0.0, 0.0).apply(&from, &mut to, (h, w, c), border);
            for (a, b) in from.iter().zip(&to) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }

        #[test]
        fn quarter_angles_equal_right_angles(side in 1_usize..9, quarters in 0_u32..4, border in border()) {
            let start = scaled(1, side);
            let turned = rotate_quarters(&start, quarters);
            let from = start.pixels.as_slice().unwrap();
            let mut to = vec![0.0; from.len()];
            let angle = f64::from(quarters) * std::f64::consts::FRAC_PI_2;
            warp::Warp::new(angle, 0.0, 0.0).apply(from, &mut to, (side, side, 2), border);
            for (a, b) in turned.pixels.iter().zip(&to) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }

        #[test]
        fn what_happens_depends_on_number_and_seed_alone(
            numbers in prop::collection::vec(0_usize..1000, 1..40), seed: u64, threads in 1_usize..5,
        ) {
            let config = everything();
            let seed = Seed::new(seed);
            let n = numbers.len();
            let start = scaled(1, 6);
            let mut together = PatchBatch::new(
                start.pixels.select(Axis(0), &vec![0; n]),
                start.conditions.select(Axis(0), &vec![0; n]),
            ).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| config.apply(&mut together, &numbers, seed)).unwrap();
            for (i, &number) in numbers.iter().enumerate() {
                let mut alone = start.clone();
                config.apply(&mut alone, &[number], seed).unwrap();
                prop_assert_eq!(
                    together.pixels.index_axis(Axis(0), i), alone.pixels.index_axis(Axis(0), 0)
                );
            }
            prop_assert!(together.pixels.iter().all(|v| (0.0..=1.0).contains(v)));
        }

        #[test]
        fn one_part_leaves_the_draws_of_the_others(number in 0_usize..1000, seed: u64) {
            let flips = AugmentConfig::new().with_flips(Some(FlipConfig::default()));
            let noise = AugmentConfig::new().with_noise(Some(NoiseConfig::default()));
            let both = flips.clone().with_noise(noise.noise);
            let (mut one, mut other) = (scaled(1, 4), scaled(1, 4));
            let seed = Seed::new(seed);
            flips.apply(&mut one, &[number], seed).unwrap();
            noise.apply(&mut one, &[number], seed).unwrap();
            both.apply(&mut other, &[number], seed).unwrap();
            prop_assert_eq!(one, other);
        }

        #[test]
        fn geometry_stays_within_the_range_of_the_patch(seed: u64, border in border()) {
            let shift = ShiftConfig::default().with_steps(ShiftSteps::Fractions).with_max_pixels(9.0);
            let config = AugmentConfig::new()
                .with_rotation(Some(RotationConfig::default()))
                .with_shift(Some(shift))
                .with_border(border);
            let mut changed = scaled(4, 7);
            config.apply(&mut changed, &[0, 1, 2, 3], Seed::new(seed)).unwrap();
            prop_assert!(changed.pixels.iter().all(|&v| (-1e-6..=1.0).contains(&v)));
        }
    }
}

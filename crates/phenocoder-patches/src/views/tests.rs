//! Tests of the views.
//!
//! Kinds: parity (`models/mevae.json`: polar canonical image; `models/shapes`: centroid, orientation and diameter as
//! scikit-image's); symmetry; degenerate masks; property; sameness on one and four threads.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use ndarray::{Array2, Array3, ArrayView3, Axis, array, s};
use phenocoder_core::{PatchBatch, PatchShape, PatchTransform, Seed};
use phenocoder_testdata::{find, read_npy};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Error;

fn json(path: &str) -> Option<Value> {
    let text = std::fs::read_to_string(find(path)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn image(value: &Value) -> Array3<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    let shape = (rows.len(), rows[0].len(), 1);
    Array3::from_shape_vec(shape, rows.concat()).unwrap()
}

/// An egg with a bright spot: no two of its positions look alike. `angle` as in [`Pose::orientation`].
fn egg(side: usize, length: f64, angle: f64, mirrored: bool) -> Array3<f32> {
    let middle = (side as f64 - 1.0) / 2.0;
    Array3::from_shape_fn((side, side, 2), |(y, x, c)| {
        let (dy, dx) = (y as f64 - middle, x as f64 - middle);
        let along = (angle.cos() * dy + angle.sin() * dx) / length;
        let across = (angle.cos() * dx - angle.sin() * dy) / (0.5 * length);
        let across = if mirrored { -across } else { across };
        if along * along + across * across > 1.0 {
            return 0.0;
        }
        let spot = (-((along + 0.4).powi(2) + (across + 0.3).powi(2)) / 0.3).exp();
        let value = 0.3 - 0.1 * along - 0.1 * across + 0.5 * spot;
        (if c == 0 { value } else { 0.5 * value }) as f32
    })
}

fn mean_difference(a: &Array3<f32>, b: &Array3<f32>) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.sum::<f64>() / a.iter().map(|&v| f64::from(v)).sum::<f64>()
}

/// The pose of an egg, not counting the thin rim that interpolation puts around it.
fn pose(patch: ArrayView3<'_, f32>) -> Pose {
    Pose::of_mask(pose::derived_mask(patch, 0.08).view())
}

#[test]
fn the_polar_choice_equals_the_golden() {
    let Some(golden) = json("models/mevae.json") else {
        return;
    };
    let golden = &golden["polar_canonical"];
    let patch = image(&golden["image"]);
    let chosen = PolarRule::Mass.choose(patch.view(), None);
    let names = ["id", "ud", "lr", "rot180"];
    let position = Polar::ALL.iter().position(|&p| p == chosen).unwrap();
    assert_eq!(golden["chosen"], names[position]);
    assert_eq!(chosen.apply(patch.view()), image(&golden["result"]));
}

#[test]
fn poses_of_shapes_equal_those_of_scikit_image() {
    let Some(golden) = json("models/shapes/regionprops.json") else {
        return;
    };
    for shape in ["ellipse", "star", "lshape", "worm"] {
        let path = find(&format!("models/shapes/{shape}_mask.npy")).unwrap();
        let mask: Array2<u8> = read_npy(&path);
        let pose = Pose::of_mask(mask.mapv(|v| v > 0).view());
        let expected = |key: &str| golden[shape][key].as_f64().unwrap();
        assert_eq!(pose.area as f64, expected("area"));
        for i in 0..2 {
            let center = golden[shape]["centroid"][i].as_f64().unwrap();
            assert!((pose.center[i] - center).abs() < 1e-9 * center, "{shape}");
        }
        for (found, key) in [
            (pose.orientation, "orientation"),
            (pose.diameter(), "equivalent_diameter"),
        ] {
            let error = (found - expected(key)).abs();
            assert!(error < 1e-9 * expected(key).abs(), "{shape} {key}: {error}");
        }
    }
}

#[test]
fn turned_mirrored_and_scaled_cells_have_one_canonical_image() {
    let config = CanonicalConfig::default();
    let reference = canonical(egg(48, 14.0, 0.0, false).view(), None, &config).unwrap();
    let upright = pose(reference.view());
    assert!(upright.orientation.abs() < 0.03, "{upright:?}");
    assert!(upright.center.iter().all(|c| (c - 23.5).abs() < 0.5));
    for (i, length) in [11.0, 14.0, 19.0].into_iter().enumerate() {
        for turn in 0..8 {
            let angle = f64::from(turn) * TAU / 8.0 + 0.2 * i as f64;
            for mirrored in [false, true] {
                let patch = egg(48, length, angle, mirrored);
                let other = canonical(patch.view(), None, &config).unwrap();
                let difference = mean_difference(&reference, &other);
                assert!(
                    difference < 0.1,
                    "{length}, {angle}, {mirrored}: {difference}"
                );
            }
        }
    }
    let uncorrected = egg(48, 14.0, 1.0, true);
    assert!(mean_difference(&reference, &uncorrected) > 0.3);
}

#[test]
fn the_brighter_half_is_up_and_left() {
    for angle in [0.3, 2.0, 4.0, 5.5] {
        let patch = egg(40, 14.0, angle, angle > 3.0);
        let image = canonical(patch.view(), None, &CanonicalConfig::default()).unwrap();
        let sum = |part: ArrayView3<'_, f32>| part.sum();
        assert!(sum(image.slice(s![..20, .., ..])) >= sum(image.slice(s![20.., .., ..])));
        assert!(sum(image.slice(s![.., ..20, ..])) >= sum(image.slice(s![.., 20.., ..])));
    }
}

#[test]
fn ties_are_decided_in_the_stated_order() {
    let even = Array3::from_elem((4, 4, 1), 0.5);
    for rule in [PolarRule::Mass, PolarRule::ThirdMoment] {
        assert_eq!(rule.choose(even.view(), None), Polar::Identity, "{rule:?}");
    }
    // The middle row and column of an odd side belong to no half.
    let mut odd = Array3::zeros((3, 3, 1));
    odd[[1, 1, 0]] = 1.0;
    assert_eq!(PolarRule::Mass.choose(odd.view(), None), Polar::Identity);
    odd[[2, 1, 0]] = 0.1;
    assert_eq!(PolarRule::Mass.choose(odd.view(), None), Polar::UpDown);
    odd[[1, 2, 0]] = 0.1;
    assert_eq!(PolarRule::Mass.choose(odd.view(), None), Polar::HalfTurn);
    odd[[2, 1, 0]] = 0.0;
    assert_eq!(PolarRule::Mass.choose(odd.view(), None), Polar::LeftRight);
}

#[test]
fn the_third_moment_puts_the_tail_down_and_right() {
    // Most brightness at row 1, a long thin tail up to row 6: both halves' masses would keep it, turned it is put right.
    let profile = [0.0_f32, 5.0, 3.0, 1.0, 0.6, 0.4, 0.2];
    let patch = Array3::from_shape_fn((7, 5, 1), |(y, x, _)| if x == 2 { profile[y] } else { 0.0 });
    assert_eq!(
        PolarRule::ThirdMoment.choose(patch.view(), None),
        Polar::Identity
    );
    let turned = Polar::UpDown.apply(patch.view());
    assert_eq!(
        PolarRule::ThirdMoment.choose(turned.view(), None),
        Polar::UpDown
    );
    let empty = Array3::zeros((4, 4, 1));
    assert_eq!(
        PolarRule::ThirdMoment.choose(empty.view(), None),
        Polar::Identity
    );
}

#[test]
fn one_channel_alone_can_decide() {
    let mut patch = Array3::zeros((2, 2, 2));
    patch[[0, 0, 0]] = 1.0;
    patch[[1, 1, 1]] = 0.5;
    let choose = |channel| PolarRule::Mass.choose(patch.view(), channel);
    assert_eq!(choose(None), Polar::Identity);
    assert_eq!(choose(Some(1)), Polar::HalfTurn);
    let config = CanonicalConfig::default().with_channel(Some(2));
    let message = canonical(patch.view(), None, &config).unwrap_err();
    assert!(matches!(message, Error::Config(_)), "{message}");
}

#[test]
fn degenerate_masks_are_defined() {
    let config = CanonicalConfig::default();
    let empty = Array3::zeros((6, 9, 2));
    assert_eq!(canonical(empty.view(), None, &config).unwrap(), empty);
    let pose = |patch: ArrayView3<'_, f32>| Pose::of_mask(pose::derived_mask(patch, 0.0).view());
    let of_empty = pose(empty.view());
    assert_eq!((of_empty.center, of_empty.orientation), ([2.5, 4.0], 0.0));

    let mut dot = Array3::zeros((5, 5, 1));
    dot[[0, 3, 0]] = 0.7;
    let plain = config.with_size(None);
    let centered = canonical(dot.view(), None, &plain).unwrap();
    assert_eq!((centered[[2, 2, 0]], centered.sum()), (0.7, 0.7));
    assert_eq!(pose(dot.view()).orientation, 0.0);
    let large = canonical(dot.view(), None, &config).unwrap();
    assert!(large.iter().all(|v| (0.0..=0.7).contains(v)) && large.sum() > 0.7);

    // As long as broad: a square, a disc, a cross.
    let block = Array2::from_elem((4, 4), true);
    assert_eq!(Pose::of_mask(block.view()).orientation, 0.0);
    let disc = Array2::from_shape_fn((21, 21), |(y, x)| {
        (y as f64 - 10.0).hypot(x as f64 - 10.0) <= 8.0
    });
    assert_eq!(Pose::of_mask(disc.view()).orientation, 0.0);

    let line = |angle: f64| {
        let mask = Array2::from_shape_fn((41, 41), |(y, x)| {
            let (dy, dx) = (y as f64 - 20.0, x as f64 - 20.0);
            (angle.cos() * dx - angle.sin() * dy).abs() < 0.6
        });
        Pose::of_mask(mask.view()).orientation
    };
    assert!(
        (line(FRAC_PI_2) - FRAC_PI_2).abs() < 1e-9,
        "across the rows"
    );
    assert!(line(0.0).abs() < 1e-9 && (line(0.5) - 0.5).abs() < 0.05);
}

#[test]
fn a_given_mask_decides_what_belongs_to_the_cell() {
    let mut patch = egg(32, 9.0, 0.7, false);
    let mask = pose::derived_mask(patch.view(), 0.0);
    let expected = canonical(patch.view(), None, &CanonicalConfig::default()).unwrap();
    patch.slice_mut(s![..4, .., ..]).fill(0.9);
    let config = CanonicalConfig::default();
    let masked = canonical(patch.view(), Some(mask.view()), &config).unwrap();
    assert_eq!(masked, expected, "the neighbour is no part of the cell");
    assert_ne!(canonical(patch.view(), None, &config).unwrap(), expected);
    let small = mask.slice(s![..5, ..]);
    let error = canonical(patch.view(), Some(small), &config).unwrap_err();
    assert!(matches!(error, Error::Shape(_)));
}

fn batch_of_eggs(n: usize) -> PatchBatch {
    let mut batch = PatchBatch::zeros(n, PatchShape::new(40, 40, 2), 0);
    for (i, mut patch) in batch.pixels.outer_iter_mut().enumerate() {
        patch.assign(&egg(40, 11.0, 0.9 * i as f64, i % 2 == 1));
    }
    batch
}

fn all_nuisances() -> ViewConfig {
    ViewConfig::new([
        Nuisance::Rotation,
        Nuisance::Polar,
        Nuisance::SIZE,
        Nuisance::Intensity {
            gain: [0.5, 1.5],
            offset: [0.1, 0.2],
        },
        Nuisance::Uncorrected,
    ])
}

#[test]
fn each_view_is_spoiled_in_its_nuisance_alone() {
    let generator = all_nuisances().build().unwrap();
    let cells = batch_of_eggs(12);
    let mut batch = cells.clone();
    let numbers: Vec<usize> = (100..112).collect();
    generator.apply(&mut batch, &numbers, Seed::new(4)).unwrap();
    assert_eq!(batch.views.len(), generator.n_views());
    for (row, &number) in numbers.iter().enumerate() {
        let image = |pixels: &ndarray::Array4<f32>| pixels.index_axis(Axis(0), row).to_owned();
        let target = image(&batch.pixels);
        let views: Vec<_> = batch.views.iter().map(image).collect();
        for (view, draw) in views.iter().zip(generator.draws(number, 2, Seed::new(4))) {
            let (seen, straight) = (pose(view.view()), pose(target.view()));
            match draw {
                Draw::Rotation(angle) => {
                    // An axis has no direction: angles are the same modulo π.
                    let turned = (seen.orientation - angle).rem_euclid(PI);
                    assert!(turned.min(PI - turned) < 0.04, "{row}: {turned}");
                    let area = seen.area as f64 / straight.area as f64;
                    assert!((area - 1.0).abs() < 0.06, "{area}");
                    // Turned back it is the target, but for the second interpolation.
                    let back = affine::Affine::centered([19.5; 2]).turned(-angle);
                    let difference = mean_difference(&target, &back.sample(view.view()));
                    assert!(difference < 0.12, "{row}: {difference}");
                }
                Draw::Polar(polar) => assert_eq!(view, &polar.apply(target.view())),
                Draw::Size(factor) => {
                    assert!((0.7..=1.4).contains(&factor));
                    let area = (seen.area as f64 / straight.area as f64).sqrt();
                    assert!((area / factor - 1.0).abs() < 0.06, "{area} for {factor}");
                    assert!(seen.orientation.abs() < 0.04);
                }
                Draw::Intensity(drawn) => {
                    assert_eq!(drawn.len(), 2);
                    for ((_, _, c), (&to, &from)) in
                        target.indexed_iter().map(|(i, v)| (i, (&view[i], v)))
                    {
                        let (gain, offset) = drawn[c];
                        let expected = (f64::from(from) * gain + offset).min(1.0);
                        assert!(to == 0.0 || (f64::from(to) - expected).abs() < 1e-6);
                    }
                }
                Draw::Uncorrected => assert_eq!(view, &image(&cells.pixels)),
            }
        }
    }
}

#[test]
fn draws_follow_their_distributions() {
    let generator = all_nuisances().build().unwrap();
    let n = 4_000;
    let (mut turns, mut sizes, mut polar) = ([0_i32; 8], [0; 4], [0; 4]);
    for number in 0..n {
        for draw in generator.draws(number, 1, Seed::new(1)) {
            match draw {
                Draw::Rotation(angle) => turns[(angle / TAU * 8.0) as usize] += 1,
                Draw::Polar(p) => polar[Polar::ALL.iter().position(|&q| q == p).unwrap()] += 1,
                Draw::Size(factor) => {
                    // From 0.7 to 1.4 is one octave.
                    sizes[((factor / 0.7).log2() * 4.0).min(3.0) as usize] += 1;
                }
                Draw::Intensity(drawn) => {
                    let (gain, offset) = drawn[0];
                    assert!((0.5..1.5).contains(&gain) && (0.1..0.2).contains(&offset));
                }
                Draw::Uncorrected => {}
            }
        }
    }
    for (counts, expected) in [
        (&turns[..], 500_i32),
        (&sizes[..], 1000),
        (&polar[..], 1000),
    ] {
        for count in counts {
            assert!((count - expected).abs() < expected / 5, "{counts:?}");
        }
    }
}

#[test]
fn views_depend_on_number_and_seed_and_not_on_batches_or_threads() {
    let generator = all_nuisances().build().unwrap();
    let cells = batch_of_eggs(9);
    let views = |threads: usize, rows: &[usize], seed: u64| {
        let mut batch = phenocoder_core::PatchSource::read(&cells, rows).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| generator.apply(&mut batch, rows, Seed::new(seed)))
            .unwrap();
        batch
    };
    let all = views(1, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 3);
    assert_eq!(views(4, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 3), all);
    let some = views(2, &[7, 2], 3);
    for (view, whole) in some.views.iter().zip(&all.views) {
        assert_eq!(view.index_axis(Axis(0), 0), whole.index_axis(Axis(0), 7));
        assert_eq!(view.index_axis(Axis(0), 1), whole.index_axis(Axis(0), 2));
    }
    let other = views(1, &[7, 2], 4);
    assert_eq!(other.pixels, some.pixels, "the target has no chance in it");
    assert_ne!(other.views[0], some.views[0]);
    assert_eq!(other.views[4], some.views[4], "nor has the cell as it came");
}

#[test]
fn two_views_of_one_kind_are_drawn_apart() {
    let config = ViewConfig::new([Nuisance::Rotation, Nuisance::Rotation]);
    let draws = config.build().unwrap().draws(3, 1, Seed::new(1));
    assert_ne!(draws[0], draws[1]);
}

#[test]
fn the_recipe_of_the_paper_keeps_the_cell_as_it_came() {
    let generator = ViewConfig::paper().build().unwrap();
    let cells = batch_of_eggs(4);
    let mut batch = cells.clone();
    generator
        .apply(&mut batch, &[0, 1, 2, 3], Seed::new(1))
        .unwrap();
    assert_eq!(batch.views[0], cells.pixels);
    for row in 0..4 {
        let image = |pixels: &ndarray::Array4<f32>| pixels.index_axis(Axis(0), row).to_owned();
        let (before, after) = (
            pose(image(&cells.pixels).view()),
            pose(image(&batch.pixels).view()),
        );
        let ratio = after.area as f64 / before.area as f64;
        assert!((ratio - 1.0).abs() < 0.1, "sizes stay: {ratio}");
        let mirror_images = Polar::ALL.map(|p| p.apply(image(&batch.pixels).view()));
        assert!(mirror_images.contains(&image(&batch.views[1])));
    }
}

#[test]
fn settings_are_json_from_which_the_generator_can_be_made_again() {
    let generator = all_nuisances().build().unwrap();
    let config: ViewConfig = serde_json::from_str(&generator.settings()).unwrap();
    assert_eq!(&config, generator.config());
    assert!(serde_json::from_str::<ViewConfig>(r#"{"view": []}"#).is_err());
    assert!(serde_json::from_str::<ViewConfig>(r#"{"views": [{"size": {"lo": 1.0}}]}"#).is_err());
}

#[test]
fn every_rule_is_enforced() {
    let refused = |config: ViewConfig| config.build().unwrap_err().to_string();
    let size = |low, high| ViewConfig::new([Nuisance::Size { low, high }]);
    assert!(refused(size(0.0, 1.0)).starts_with("`size.low` must be above 0"));
    assert!(refused(size(1.0, 0.5)).starts_with("`size.high`"));
    assert!(refused(size(1.0, f64::INFINITY)).starts_with("`size.high`"));
    let intensity = |gain, offset| ViewConfig::new([Nuisance::Intensity { gain, offset }]);
    assert!(refused(intensity([-1.0, 1.0], [0.0; 2])).starts_with("`intensity.gain`"));
    assert!(refused(intensity([1.0, 1.0], [0.0, f64::NAN])).starts_with("`intensity.offset`"));
    let canonical = |c: CanonicalConfig| ViewConfig::default().with_canonical(c);
    let config = CanonicalConfig::default();
    assert!(refused(canonical(config.with_size(Some(f64::NAN)))).starts_with("`size`"));
    assert!(refused(canonical(config.with_background(f32::NAN))).starts_with("`background`"));
}

#[test]
fn a_pixel_that_is_no_number_is_named_with_its_patch() {
    let mut batch = batch_of_eggs(3);
    batch.pixels[[1, 2, 3, 1]] = f32::NAN;
    let generator = ViewConfig::default().build().unwrap();
    let error = generator
        .apply(&mut batch, &[5, 6, 7], Seed::new(1))
        .unwrap_err();
    assert_eq!(error.place(), "patch 6");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the pixel at y 2, x 3, channel 1 is NaN");
    assert!(generator.apply(&mut batch, &[5], Seed::new(1)).is_err());
}

#[test]
fn half_a_turn_of_an_odd_patch_loses_nothing() {
    let patch = array![
        [[1.0_f32], [2.0], [3.0]],
        [[4.0], [5.0], [6.0]],
        [[7.0], [8.0], [9.0]]
    ];
    let turned = affine::Affine::centered([1.0, 1.0])
        .turned(PI)
        .sample(patch.view());
    let expected = Polar::HalfTurn.apply(patch.view());
    for (found, expected) in turned.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{turned}");
    }
}

proptest! {
    #[test]
    fn whatever_the_patch_views_stay_within_its_range(
        height in 1..12_usize,
        width in 1..12_usize,
        channels in 1..3_usize,
        density in 0.0..1.0_f64,
        seed in any::<u64>(),
    ) {
        let mut stream = Seed::new(seed).stream("patch", 0);
        let mut batch = PatchBatch::zeros(2, PatchShape::new(height, width, channels), 0);
        batch.pixels.mapv_inplace(|_| {
            if stream.chance(density) { stream.uniform() as f32 } else { 0.0 }
        });
        let before = batch.pixels.clone();
        for polar in [None, Some(PolarRule::Mass), Some(PolarRule::ThirdMoment)] {
            let mut batch = batch.clone();
            let config = all_nuisances()
                .with_canonical(CanonicalConfig::default().with_polar(polar));
            config.build().unwrap().apply(&mut batch, &[0, 1], Seed::new(seed)).unwrap();
            let largest = before.iter().copied().fold(0.0, f32::max);
            for (i, pixels) in batch.views.iter().chain([&batch.pixels]).enumerate() {
                let limit = if i == 3 { 1.0 } else { largest };
                prop_assert_eq!(pixels.dim(), before.dim());
                prop_assert!(pixels.iter().all(|v| (0.0..=limit).contains(v)));
            }
        }
    }
}

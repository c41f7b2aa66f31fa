//! Unit and property tests of the selection.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array2, Array4};
use phenocoder_core::{Coords, MemoryImage};
use proptest::prelude::*;

use super::*;
use crate::ConfigError;

fn images(samples: &[&str], z: usize, y: usize, x: usize) -> Images {
    let image = |name: &str| {
        let pixels = Array4::zeros((1, z, y, x));
        Arc::new(MemoryImage::new(name, pixels, vec!["c".into()]).unwrap()) as _
    };
    samples
        .iter()
        .map(|name| ((*name).to_owned(), image(name)))
        .collect()
}

fn cells(samples: &[&str], positions: &[[f64; 3]]) -> Cells {
    let n = positions.len();
    let flat: Vec<f64> = positions.iter().flatten().copied().collect();
    let coords = Coords::new(Array2::from_shape_vec((n, 3), flat).unwrap(), Unit::Pixel).unwrap();
    let samples = Categorical::from_labels(samples.iter().cycle().take(n));
    Cells::new(Column::Int((1..=n as i64).collect()), samples, coords).unwrap()
}

#[test]
fn rounding_is_to_the_nearest_pixel_and_compat_cuts_off() {
    let nearest =
        [-0.5, -0.4, 0.49999999999999994, 0.5, 1.5, 2.4].map(|p| Rounding::Nearest.pixel(p));
    assert_eq!(nearest, [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]);
    let cut = [-0.9, 0.9, 1.0, 2.999].map(|p| Rounding::Truncate.pixel(p));
    assert_eq!(cut, [0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn the_exact_border_test_keeps_what_fits_and_the_original_one_less() {
    let kept = |policy: BorderPolicy, size| {
        (0..10)
            .filter(|&c| policy.keeps(c, size, 10))
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(BorderPolicy::Drop, 4), (2..=8).collect::<Vec<_>>());
    assert_eq!(
        kept(BorderPolicy::DropCompat, 4),
        (2..8).collect::<Vec<_>>()
    );
    assert_eq!(kept(BorderPolicy::Drop, 5), (2..=7).collect::<Vec<_>>());
    assert_eq!(kept(BorderPolicy::Drop, 11), Vec::<usize>::new());
    assert_eq!(kept(BorderPolicy::Reflect, 11).len(), 10);
}

#[test]
fn cells_that_cannot_have_a_patch_are_errors_that_name_them() {
    let images = images(&["A"], 2, 8, 8);
    let config = PatchConfig::new(2, 2);
    let select = |position, sample: &str| {
        select_cells(&images, &cells(&[sample], &[[0.0; 3], position]), &config)
    };
    let text = |position, sample| select(position, sample).unwrap_err().to_string();
    assert_eq!(
        text([0.0, 8.0, 1.0], "A"),
        "the cell at row 1 of sample `A` lies at (z, y, x) = [0.0, 8.0, 1.0], outside of its image of 2 × 8 × 8 \
         (z × y × x); choose to drop such cells or check the coordinate columns"
    );
    assert!(text([0.0, f64::NAN, 1.0], "A").contains("row 1 of sample `A`"));
    assert!(matches!(
        select([2.0, 0.0, 0.0], "A"),
        Err(Error::OutsideImage { row: 1, .. })
    ));
    assert!(matches!(
        select([0.0; 3], "B"),
        Err(Error::MissingImage { .. })
    ));
    assert!(matches!(
        select([1e300, 0.0, 0.0], "A"),
        Err(Error::OutsideImage { .. })
    ));
    let dropping = config
        .clone()
        .with_select(SelectConfig::default().with_invalid_dropped());
    let positions = [[0.0; 3], [0.0, -1.0, 0.0], [0.0, 0.0, f64::INFINITY]];
    let report = select_cells(&images, &cells(&["A"], &positions), &dropping)
        .unwrap()
        .report()
        .clone();
    assert_eq!(
        (report.kept, report.dropped_outside, report.dropped_nan),
        (1, 1, 1)
    );
    let report = select_cells(&images, &cells(&["B"], &positions), &dropping)
        .unwrap()
        .report()
        .clone();
    assert_eq!((report.kept, report.dropped_no_image), (0, 3));
}

#[test]
fn a_projection_takes_cells_of_every_slice_and_a_stack_needs_z() {
    let config = PatchConfig::new(2, 2);
    let high = cells(&["A"], &[[40.0, 3.0, 3.0]]);
    let selection = select_cells(&images(&["A"], 1, 8, 8), &high, &config).unwrap();
    assert_eq!(selection.places()[0].z, 0);

    let flat = Coords::new(ndarray::array![[3.0, 3.0]], Unit::Pixel).unwrap();
    let flat = Cells::new(Column::Int(vec![1]), Categorical::from_labels(["A"]), flat).unwrap();
    let stack = images(&["A"], 3, 8, 8);
    assert!(matches!(
        select_cells(&stack, &flat, &config),
        Err(Error::NoSlice { slices: 3, .. })
    ));
    let all = select_cells(&stack, &flat, &config.with_slices(Slices::All)).unwrap();
    assert_eq!(all.len(), 3);
}

#[test]
fn neighboring_slices_end_at_the_image() {
    let stack = images(&["A"], 3, 8, 8);
    let config = PatchConfig::new(2, 2).with_slices(Slices::Around { below: 1, above: 1 });
    let selection = select_cells(
        &stack,
        &cells(&["A"], &[[0.0, 3.0, 3.0], [1.0, 3.0, 3.0]]),
        &config,
    )
    .unwrap();
    let found: Vec<_> = selection.places().iter().map(|p| (p.row, p.z)).collect();
    assert_eq!(found, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
    assert_eq!(
        (selection.report().kept, selection.report().patches),
        (2, 5)
    );
    assert_eq!(selection.slice_of_patches().categories(), ["0", "1", "2"]);
}

#[test]
fn limits_draw_the_same_cells_for_the_same_seed() {
    let images = images(&["A", "B", "C"], 1, 64, 64);
    let positions: Vec<[f64; 3]> = (0..60).map(|i| [0.0, f64::from(i), 3.0]).collect();
    let cells = cells(&["A", "B", "C"], &positions);
    let with = |select: SelectConfig| {
        let config = PatchConfig::new(4, 4).with_select(select);
        select_cells(&images, &cells, &config).unwrap()
    };
    let some = with(SelectConfig::default().with_n_patches(10));
    assert_eq!((some.len(), some.report().dropped_sampling), (10, 50));
    assert!(some.rows().windows(2).all(|w| w[0] < w[1]));
    assert_eq!(some, with(SelectConfig::default().with_n_patches(10)));
    let other = SelectConfig::default()
        .with_n_patches(10)
        .with_seed(Seed::new(1));
    assert_ne!(some.rows(), with(other).rows());
    let each = with(SelectConfig::default().with_n_patches_per_sample(4));
    assert_eq!(each.sample_of_patches().counts(), [4, 4, 4]);
    let two = with(SelectConfig::default().with_n_samples(2));
    assert_eq!(
        (two.len(), two.sample_of_patches().categories().len()),
        (40, 2)
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert_eq!(
        PatchConfig::new(0, 4).validate(),
        Err(ConfigError::Zero { field: "height" })
    );
    assert_eq!(
        PatchConfig::new(4, 0).validate(),
        Err(ConfigError::Zero { field: "width" })
    );
    assert!(
        PatchConfig::new(4, 4)
            .with_border(BorderPolicy::Pad(f32::NAN))
            .validate()
            .is_err()
    );
    let none = SelectConfig::default().with_n_patches(0);
    assert!(PatchConfig::new(4, 4).with_select(none).validate().is_err());
    let mut config = PatchConfig::new(4, 4);
    config.saturation = 2.0;
    assert!(config.validate().is_err());
}

#[test]
fn settings_are_read_with_defaults_and_without_typos() {
    let config: PatchConfig = serde_json::from_str(r#"{"height": 3, "width": 5}"#).unwrap();
    assert_eq!(config, PatchConfig::new(3, 5));
    let config = config.with_border(BorderPolicy::Pad(1.0)).compat();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<PatchConfig>(&text).unwrap(), config);
    assert!(
        serde_json::from_str::<PatchConfig>(r#"{"height": 3, "width": 5, "boarder": "drop"}"#)
            .is_err()
    );
}

#[test]
fn positions_must_be_pixels() {
    let cells = cells(&["A"], &[[0.0, 1.0, 1.0]]);
    let micrometers = cells
        .positions()
        .scaled(&[1.0; 3], Unit::Micrometer)
        .unwrap();
    let cells = Cells::new(
        cells.instances().clone(),
        cells.samples().clone(),
        micrometers,
    )
    .unwrap();
    let found = select_cells(&images(&["A"], 1, 8, 8), &cells, &PatchConfig::new(2, 2));
    assert!(matches!(found, Err(Error::Unit { .. })));
}

#[test]
fn images_must_agree_in_their_channels() {
    let mut images = images(&["A", "B"], 1, 8, 8);
    let other = MemoryImage::new("B", Array4::zeros((1, 1, 8, 8)), vec!["d".into()]).unwrap();
    images.insert("B".to_owned(), Arc::new(other));
    let cells = cells(&["A", "B"], &[[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]);
    let found = select_cells(&images, &cells, &PatchConfig::new(2, 2));
    assert!(matches!(found, Err(Error::Channels { .. })));
}

proptest! {
    #[test]
    fn every_cell_is_accounted_for(
        positions in prop::collection::vec(
            [-3.0_f64..12.0, -3.0_f64..12.0, -3.0_f64..12.0].prop_map(|mut p| {
                if p[1] > 11.5 {
                    p[1] = f64::NAN;
                }
                p
            }),
            1..40,
        ),
        border in prop::sample::select(vec![
            BorderPolicy::Reflect, BorderPolicy::Pad(0.5), BorderPolicy::Drop, BorderPolicy::DropCompat,
        ]),
        height in 1_usize..7,
        width in 1_usize..7,
        limit in prop::option::of(1_usize..10),
    ) {
        let known: BTreeMap<_, _> = images(&["A", "B"], 4, 10, 9);
        let cells = cells(&["A", "B", "C"], &positions);
        let mut select = SelectConfig::default().with_invalid_dropped();
        select.n_patches = limit;
        let config = PatchConfig::new(height, width).with_border(border).with_select(select);
        let selection = select_cells(&known, &cells, &config).unwrap();
        let r = selection.report();
        let dropped = r.dropped_border + r.dropped_outside + r.dropped_nan + r.dropped_no_image + r.dropped_sampling;
        prop_assert_eq!(r.kept + dropped, positions.len());
        prop_assert_eq!(r.kept, selection.len());
        prop_assert!(selection.rows().windows(2).all(|w| w[0] < w[1]));
    }
}

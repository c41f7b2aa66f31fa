//! Property tests of extraction against naive slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array3, Array4, ArrayView4, Axis};
use phenocoder_core::{
    CancelToken, Categorical, Cells, Column, DataType, MemoryLabels, NoProgress, PatchSink,
    PatchSource, SourceError,
};
use phenocoder_patches::{
    BorderPolicy, Error, Images, Masks, MemorySink, PatchConfig, Slices, StoreSource,
    extract_patches, extract_selection, select_cells,
};
use proptest::prelude::*;

use crate::support::{Chunked, cells, images, noise, on_threads, scaling};

/// The pixel behind a place outside of the image: walk to and fro between the ends.
fn bounce(steps: isize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let (mut at, mut direction) = (0_isize, 1_isize);
    for _ in 0..steps.unsigned_abs() {
        if at + direction < 0 || at + direction >= n as isize {
            direction = -direction;
        }
        at += direction;
    }
    at as usize
}

/// One value of a patch, straight from the definition.
fn naive(pixels: &Array4<f32>, at: [isize; 4], border: BorderPolicy) -> f32 {
    let [c, z, y, x] = at;
    let (_, _, h, w) = pixels.dim();
    let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
    let value = match border {
        _ if inside => pixels[[c as usize, z as usize, y as usize, x as usize]],
        BorderPolicy::Pad(value) => value,
        _ => pixels[[c as usize, z as usize, bounce(y, h), bounce(x, w)]],
    };
    ((value - 10.0) / 190.0).clamp(0.0, 1.0)
}

fn integer(bits: u64) -> f32 {
    f32::from(bits as u8)
}

#[test]
fn a_scaling_from_a_file_that_lacks_ranges_is_an_error() {
    let image = Arc::new(Chunked::new(
        noise([2, 1, 9, 9], 1, integer),
        [1, 1, 9, 9],
        DataType::UInt8,
    ));
    let images = images([("a", image)]);
    let cells = cells(&["a"], &[[0, 4, 4]]);
    let mut text = serde_json::to_value(scaling(&["a"], 2, 10.0, 200.0)).unwrap();
    let config = PatchConfig::new(3, 3);
    for whole in [true, false] {
        let scaling = serde_json::from_value(text.clone()).unwrap();
        let mut sink = MemorySink::new();
        let result = extract_patches(
            &images,
            None,
            &cells,
            &scaling,
            &config,
            &mut sink,
            &NoProgress,
        );
        assert_eq!(result.is_ok(), whole);
        assert!(whole || matches!(result, Err(Error::Shape(_))));
        text["samples"]["a"].as_array_mut().unwrap().pop();
    }
}

/// Counts patches and the largest piece.
#[derive(Default)]
struct Pieces {
    inner: MemorySink,
    largest: usize,
}

impl PatchSink for Pieces {
    fn write(&mut self, start: usize, pixels: ArrayView4<'_, f32>) -> Result<(), SourceError> {
        self.largest = self.largest.max(pixels.shape()[0]);
        self.inner.write(start, pixels)
    }
}

proptest! {
    #[test]
    fn a_patch_is_the_naive_slice_for_any_shape_and_chunks(
        shape in [1_usize..4, 1..4, 1..14, 1..14],
        chunk in [1_usize..4, 1..4, 1..15, 1..15],
        (height, width) in (1_usize..8, 1_usize..8),
        border in prop::sample::select(vec![BorderPolicy::Reflect, BorderPolicy::Pad(77.0), BorderPolicy::Drop]),
        places in prop::collection::vec([0_usize..100, 0..100, 0..100], 1..12),
        memory in prop::sample::select(vec![1_usize, 3_000, 1 << 28]),
        data_type in prop::sample::select(vec![DataType::UInt8, DataType::Float32]),
        seed in any::<u64>(),
    ) {
        let places: Vec<[usize; 3]> = places
            .into_iter()
            .map(|[z, y, x]| [z % shape[1], y % shape[2], x % shape[3]])
            .collect();
        let parts = ["A", "B"].map(|name| {
            let pixels = noise(shape, seed ^ u64::from(name == "A"), integer);
            (name, Arc::new(Chunked::new(pixels, chunk, data_type)))
        });
        let scaling = scaling(&["A", "B"], shape[0], 10.0, 200.0);
        let known = images(parts.clone());
        let cells = cells(&["B", "A"], &places);
        let config = PatchConfig::new(height, width).with_border(border).with_memory(memory);
        let selection = select_cells(&known, &cells, &config).unwrap();
        let mut sink = MemorySink::new();
        let report = extract_selection(&known, None, &selection, &scaling, &mut sink, &NoProgress).unwrap();
        prop_assert_eq!(report.patches, selection.len());
        if border != BorderPolicy::Drop {
            prop_assert_eq!(report.kept, places.len());
        }
        let found = sink.into_pixels();
        for (number, row) in selection.rows().into_iter().enumerate() {
            let [z, y, x] = places[row];
            let image = &parts[1 - row % 2].1.pixels;
            for ((c, i, j), &value) in found.index_axis(Axis(0), number).indexed_iter() {
                let at = [
                    c as isize,
                    z as isize,
                    y as isize - (height / 2) as isize + i as isize,
                    x as isize - (width / 2) as isize + j as isize,
                ];
                prop_assert_eq!(value, naive(image, at, border), "patch {} at {:?}", number, at);
            }
        }
        // The loader that cuts patches when asked serves the same values, in any order.
        if !selection.is_empty() {
            let n = selection.len();
            let conditions = ndarray::Array2::zeros((n, 0));
            let source = StoreSource::new(known, None, selection, scaling, conditions).unwrap();
            let mut reading = source.reading_order();
            reading.sort_unstable();
            prop_assert_eq!(reading, (0..n).collect::<Vec<_>>());
            let order: Vec<usize> = (0..n).rev().chain([0]).collect();
            let batch = source.read(&order).unwrap();
            let expected = found.select(Axis(0), &order).permuted_axes([0, 2, 3, 1]);
            prop_assert_eq!(batch.pixels, expected);
        }
    }
}

/// Many cells in random order on a chunked image.
fn scene() -> (Arc<Chunked>, Cells) {
    let image = Chunked::new(
        noise([2, 4, 200, 200], 3, integer),
        [1, 2, 50, 50],
        DataType::UInt8,
    );
    let places: Vec<[usize; 3]> = noise([1, 1, 1, 600], 4, |bits| (bits >> 40) as f32)
        .iter()
        .map(|&v| {
            let v = v as usize;
            [v % 4, v / 4 % 200, v / 800 % 200]
        })
        .collect();
    (Arc::new(image), cells(&["A"], &places))
}

#[test]
fn each_chunk_is_decoded_once_when_all_patches_fit() {
    let (image, cells) = scene();
    let known = images([("A", image.clone())]);
    let scaling = scaling(&["A"], 2, 0.0, 255.0);
    let mut sink = Pieces::default();
    let config = PatchConfig::new(9, 8);
    extract_patches(
        &known,
        None,
        &cells,
        &scaling,
        &config,
        &mut sink,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(image.decodes(), vec![1; 2 * 2 * 4 * 4]);
    assert_eq!(sink.largest, 600, "one ordered piece");
}

#[test]
fn chunks_are_decoded_about_once_when_patches_do_not_fit() {
    let (image, cells) = scene();
    let known = images([("A", image.clone())]);
    let scaling = scaling(&["A"], 2, 0.0, 255.0);
    let whole = {
        let mut sink = MemorySink::new();
        extract_patches(
            &known,
            None,
            &cells,
            &scaling,
            &PatchConfig::new(9, 8),
            &mut sink,
            &NoProgress,
        )
        .unwrap();
        sink.into_pixels()
    };
    image.decoded.lock().unwrap().clear();
    // Room for 60 patches at a time: ten batches.
    let config = PatchConfig::new(9, 8).with_memory(2 * 60 * 9 * 8 * 2 * 4);
    let mut sink = Pieces::default();
    extract_patches(
        &known,
        None,
        &cells,
        &scaling,
        &config,
        &mut sink,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(sink.inner.pixels(), whole);
    assert!(sink.largest <= 60);
    let mean = image.decodes().iter().sum::<usize>() as f64 / 64.0;
    assert!(mean < 4.0, "each chunk was decoded {mean} times on average");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let (image, cells) = scene();
    let known = images([("A", image)]);
    let scaling = scaling(&["A"], 2, 3.0, 99.0);
    let cut = |threads| {
        on_threads(threads, || {
            let mut sink = MemorySink::new();
            let config = PatchConfig::new(7, 12).with_memory(60_000);
            let report = extract_patches(
                &known,
                None,
                &cells,
                &scaling,
                &config,
                &mut sink,
                &NoProgress,
            )
            .unwrap();
            (report, sink.into_pixels())
        })
    };
    let one = cut(1);
    assert_eq!(one, cut(2));
    assert_eq!(one, cut(4));
}

/// Two objects beside each other: 1 in the left half, 2 in the right half, background above.
fn masked_scene(slices: usize) -> (Images, Masks, Cells) {
    let image = Chunked::new(
        noise([2, 3, 8, 8], 1, |_| 100.0),
        [1, 1, 3, 3],
        DataType::UInt8,
    );
    let labels = Array3::from_shape_fn((slices, 8, 8), |(_, y, x)| match (y < 2, x < 4) {
        (true, _) => 0,
        (_, true) => 1,
        _ => 2,
    });
    let masks: Masks = BTreeMap::from([(
        "A".to_owned(),
        Arc::new(MemoryLabels::new("m", labels)) as _,
    )]);
    let cells = cells(&["A"], &[[1, 4, 3], [2, 4, 4]]);
    (images([("A", Arc::new(image))]), masks, cells)
}

#[test]
fn pixels_of_neighbors_become_zero_and_background_stays() {
    for slices in [1, 3] {
        let (images, masks, cells) = masked_scene(slices);
        let config = PatchConfig::new(8, 4).with_mask_neighbors(None);
        let mut sink = MemorySink::new();
        let scaling = scaling(&["A"], 2, 0.0, 200.0);
        extract_patches(
            &images,
            Some(&masks),
            &cells,
            &scaling,
            &config,
            &mut sink,
            &NoProgress,
        )
        .unwrap();
        let patches = sink.into_pixels();
        for ((n, _, y, x), &value) in patches.indexed_iter() {
            // The patches cover columns 1..5 and 2..6.
            let left = x + 1 + n < 4;
            let own = left == (n == 0);
            let expected = if y < 2 || own { 0.5 } else { 0.0 };
            assert_eq!(value, expected, "patch {n}, y {y}, x {x}");
        }
    }
}

#[test]
fn masks_that_are_missing_or_do_not_fit_are_errors() {
    let (images, masks, cells) = masked_scene(3);
    let config = PatchConfig::new(4, 4).with_mask_neighbors(None);
    let scaling = scaling(&["A"], 2, 0.0, 200.0);
    let mut sink = MemorySink::new();
    let mut cut = |masks: Option<&Masks>, config: &PatchConfig| {
        extract_patches(
            &images,
            masks,
            &cells,
            &scaling,
            config,
            &mut sink,
            &NoProgress,
        )
    };
    assert!(matches!(
        cut(None, &config),
        Err(Error::MissingImage {
            what: "label mask",
            ..
        })
    ));
    let small = MemoryLabels::new("m", Array3::zeros((3, 8, 7)));
    let small: Masks = BTreeMap::from([("A".to_owned(), Arc::new(small) as _)]);
    assert!(matches!(
        cut(Some(&small), &config),
        Err(Error::MaskExtent { .. })
    ));
    let absent = PatchConfig::new(4, 4).with_mask_neighbors(Some("label"));
    assert!(matches!(cut(Some(&masks), &absent), Err(Error::Shape(_))));
}

#[test]
fn the_column_of_mask_labels_is_used() {
    let (images, masks, cells) = masked_scene(1);
    let mut renamed = Cells::new(
        Column::Text(vec!["first".into(), "second".into()]),
        Categorical::from_labels(["A", "A"]),
        cells.positions().clone(),
    )
    .unwrap();
    renamed
        .insert("label", Column::Float(vec![1.0, 2.0]))
        .unwrap();
    let scaling = scaling(&["A"], 2, 0.0, 200.0);
    let cut = |cells: &Cells, column: Option<&str>| {
        let mut sink = MemorySink::new();
        let config = PatchConfig::new(5, 5).with_mask_neighbors(column);
        extract_patches(
            &images,
            Some(&masks),
            cells,
            &scaling,
            &config,
            &mut sink,
            &NoProgress,
        )?;
        Ok::<_, Error>(sink.into_pixels())
    };
    assert_eq!(
        cut(&renamed, Some("label")).unwrap(),
        cut(&cells, None).unwrap()
    );
    assert!(
        matches!(cut(&renamed, None), Err(Error::Shape(_))),
        "names are no labels"
    );
}

#[test]
fn a_sample_without_scaling_and_a_nan_are_errors() {
    let image = Arc::new(Chunked::new(
        noise([1, 1, 8, 8], 1, integer),
        [1, 1, 4, 4],
        DataType::UInt8,
    ));
    let known = images([("A", image)]);
    let cells = cells(&["A"], &[[0, 4, 4]]);
    let mut sink = MemorySink::new();
    let config = PatchConfig::new(4, 4);
    let other = scaling(&["B"], 1, 0.0, 1.0);
    let found = extract_patches(
        &known,
        None,
        &cells,
        &other,
        &config,
        &mut sink,
        &NoProgress,
    );
    assert!(matches!(found, Err(Error::UnknownSample { .. })));
    let two = scaling(&["A"], 2, 0.0, 1.0);
    let found = extract_patches(&known, None, &cells, &two, &config, &mut sink, &NoProgress);
    assert!(matches!(found, Err(Error::Channels { .. })));

    let mut pixels = noise([1, 1, 8, 8], 1, integer);
    pixels[[0, 0, 3, 5]] = f32::INFINITY;
    let known = images([(
        "A",
        Arc::new(Chunked::new(pixels, [1, 1, 4, 4], DataType::Float32)),
    )]);
    let good = scaling(&["A"], 1, 0.0, 1.0);
    let found = extract_patches(&known, None, &cells, &good, &config, &mut sink, &NoProgress);
    assert!(
        matches!(
            found,
            Err(Error::NotFinitePixel {
                z: 0,
                y: 3,
                x: 5,
                ..
            })
        ),
        "{found:?}"
    );
}

#[test]
fn a_thrown_switch_and_a_failing_sink_stop_the_extraction() {
    struct Full;
    impl PatchSink for Full {
        fn write(&mut self, _: usize, _: ArrayView4<'_, f32>) -> Result<(), SourceError> {
            Err(SourceError::new("patches", "no space left"))
        }
    }
    let (image, cells) = scene();
    let known = images([("A", image)]);
    let scaling = scaling(&["A"], 2, 0.0, 255.0);
    let config = PatchConfig::new(4, 4);
    let token = CancelToken::new();
    token.cancel();
    let mut sink = MemorySink::new();
    let found = extract_patches(&known, None, &cells, &scaling, &config, &mut sink, &token);
    assert!(matches!(found, Err(Error::Cancelled(_))));
    let found = extract_patches(
        &known,
        None,
        &cells,
        &scaling,
        &config,
        &mut Full,
        &NoProgress,
    );
    assert!(matches!(found, Err(Error::Source(_))));
}

#[test]
fn saturation_is_counted_and_reported() {
    let pixels = Array4::from_shape_fn(
        (2, 1, 4, 4),
        |(c, _, y, _)| if c == 0 && y < 2 { 9.0 } else { 1.0 },
    );
    let known = images([(
        "A",
        Arc::new(Chunked::new(pixels, [1, 1, 4, 4], DataType::UInt8)),
    )]);
    let cells = cells(&["A"], &[[0, 2, 2]]);
    let mut sink = MemorySink::new();
    let scaling = scaling(&["A"], 2, 0.0, 5.0);
    let config = PatchConfig::new(4, 4);
    let report = extract_patches(
        &known,
        None,
        &cells,
        &scaling,
        &config,
        &mut sink,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(report.saturation[0].fraction(), 0.5);
    assert_eq!(report.saturation[1].fraction_of_nonzero(), 0.0);
    assert_eq!(report.saturated, ["c0"]);
}

#[test]
fn slices_of_a_cell_follow_each_other() {
    let pixels = Array4::from_shape_fn((1, 3, 4, 4), |(_, z, ..)| z as f32);
    let known = images([(
        "A",
        Arc::new(Chunked::new(pixels, [1, 2, 4, 4], DataType::UInt8)),
    )]);
    let cells = cells(&["A"], &[[2, 1, 1], [0, 1, 1]]);
    let mut sink = MemorySink::new();
    let scaling = scaling(&["A"], 1, 0.0, 2.0);
    let config = PatchConfig::new(1, 1).with_slices(Slices::All);
    extract_patches(
        &known,
        None,
        &cells,
        &scaling,
        &config,
        &mut sink,
        &NoProgress,
    )
    .unwrap();
    let values: Vec<f32> = sink.pixels().iter().copied().collect();
    assert_eq!(values, [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]);
}

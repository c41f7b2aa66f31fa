//! Property tests of image statistics against sorting.

use ndarray::{Array4, s};
use phenocoder_core::{CancelToken, DataType, MemoryImage, NoProgress};
use phenocoder_patches::{Error, SliceStatistics, StatisticsConfig, image_statistics};
use phenocoder_testdata::max_relative_error;
use proptest::prelude::*;

use crate::support::{Chunked, noise, on_threads};

/// numpy's default percentile of sorted values.
fn percentile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = (sorted.len() - 1) as f64 * (q / 100.0);
    let (low, t) = (at.floor() as usize, at - at.floor());
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    if t >= 0.5 {
        b - (b - a) * (1.0 - t)
    } else {
        a + (b - a) * t
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    if n % 2 == 1 {
        values[n / 2]
    } else {
        (values[n / 2 - 1] + values[n / 2]) / 2.0
    }
}

/// Checks one row against the sorted pixels; order statistics must agree in every bit.
fn check(
    image: &Chunked,
    row: &SliceStatistics,
    config: &StatisticsConfig,
) -> Result<(), TestCaseError> {
    let plane = image.pixels.slice(s![row.channel, row.z, .., ..]);
    let values: Vec<f64> = plane.iter().map(|&v| f64::from(v)).collect();
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let std = (sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let center = median(values.clone());
    let stack = image.pixels.slice(s![row.channel, .., .., ..]);
    let stack = median(stack.iter().map(|&v| f64::from(v)).collect());
    let distance = |center: f64| median(values.iter().map(|v| (v - center).abs()).collect());
    let foreground: Vec<f64> = sorted
        .iter()
        .copied()
        .filter(|&v| v > f64::from(config.foreground_threshold))
        .collect();
    let among = if config.foreground_only {
        &foreground
    } else {
        &sorted
    };
    prop_assert_eq!(
        (row.n, row.n_foreground),
        (values.len() as u64, foreground.len() as u64)
    );
    let exact = [
        ("min", row.min, sorted[0]),
        ("max", row.max, sorted[sorted.len() - 1]),
        ("median", row.median, center),
        ("mad", row.mad, distance(center)),
        ("mad_compat", row.mad_compat.unwrap(), distance(stack)),
        (
            "low",
            row.percentile_low,
            percentile(among, config.percentile),
        ),
        (
            "high",
            row.percentile_high,
            percentile(among, 100.0 - config.percentile),
        ),
    ];
    for (name, found, expected) in exact {
        let same = found == expected || (found.is_nan() && expected.is_nan());
        prop_assert!(same, "{}: {} instead of {}", name, found, expected);
    }
    let scale = sorted[0].abs().max(sorted[sorted.len() - 1].abs());
    prop_assert!(
        (row.mean - mean).abs() <= 1e-12 * scale,
        "mean {} {}",
        row.mean,
        mean
    );
    prop_assert!(
        (row.std - std).abs() <= 1e-9 * scale,
        "std {} {}",
        row.std,
        std
    );
    Ok(())
}

fn value(data_type: DataType, bits: u64) -> f32 {
    // Few bits now and then, so that ties occur.
    let bits = if bits & 3 == 0 { bits >> 60 } else { bits >> 2 };
    match data_type {
        DataType::Bool => (bits % 2) as f32,
        DataType::UInt8 => f32::from(bits as u8),
        DataType::Int8 => f32::from(bits as i8),
        DataType::UInt16 => f32::from(bits as u16),
        DataType::Int16 => f32::from(bits as i16),
        DataType::UInt32 => (bits % (1 << 24)) as f32,
        _ => ((bits % 2_000_003) as f32 - 1e6) * 1.37e-3,
    }
}

fn any_image() -> impl Strategy<Value = Chunked> {
    let types = prop::sample::select(vec![
        DataType::Bool,
        DataType::UInt8,
        DataType::Int8,
        DataType::UInt16,
        DataType::Int16,
        DataType::UInt32,
        DataType::Float32,
    ]);
    let shape = [1_usize..3, 1..4, 1..9, 1..9];
    let chunk = [1_usize..4, 1..4, 1..10, 1..10];
    (types, shape, chunk, any::<u64>()).prop_map(|(data_type, shape, chunk, seed)| {
        Chunked::new(
            noise(shape, seed, |bits| value(data_type, bits)),
            chunk,
            data_type,
        )
    })
}

proptest! {
    #[test]
    fn statistics_equal_those_of_sorted_pixels(
        image in any_image(),
        percentile in 0.0_f64..50.0,
        foreground in prop::option::of(-2.0_f32..200.0),
        memory in prop::sample::select(vec![1_usize, 4_000, 1 << 26]),
    ) {
        let mut config = StatisticsConfig::default()
            .with_percentile(percentile)
            .with_memory(memory)
            .with_mad_compat();
        if let Some(threshold) = foreground {
            config = config.with_foreground_only(threshold);
        }
        let rows = image_statistics(&image, "s", &config, &NoProgress).unwrap();
        let (c, z, ..) = image.pixels.dim();
        let order: Vec<_> = rows.iter().map(|row| (row.channel, row.z)).collect();
        prop_assert_eq!(order, (0..c).flat_map(|c| (0..z).map(move |z| (c, z))).collect::<Vec<_>>());
        for row in &rows {
            check(&image, row, &config)?;
        }
    }
}

#[test]
fn counting_and_selecting_agree() {
    let pixels = noise([2, 5, 61, 47], 5, |bits| value(DataType::UInt16, bits));
    let config = StatisticsConfig::default()
        .with_percentile(3.7)
        .with_mad_compat();
    let measure = |data_type| {
        let image = Chunked::new(pixels.clone(), [1, 2, 16, 16], data_type);
        image_statistics(&image, "s", &config, &NoProgress).unwrap()
    };
    let (counted, selected) = (measure(DataType::UInt16), measure(DataType::Float32));
    for (a, b) in counted.iter().zip(&selected) {
        let order = |r: &SliceStatistics| {
            [
                r.median,
                r.mad,
                r.percentile_low,
                r.percentile_high,
                r.min,
                r.max,
            ]
        };
        assert_eq!(order(a), order(b));
        assert_eq!(a.mad_compat, b.mad_compat);
        assert!(max_relative_error(&[a.mean, a.std], &[b.mean, b.std], 1e-9) < 1e-12);
    }
}

#[test]
fn chunks_of_narrow_pixels_are_decoded_once_and_never_all_at_once() {
    let pixels = noise([3, 8, 128, 96], 1, |bits| value(DataType::UInt8, bits));
    let image = Chunked::new(pixels, [1, 4, 32, 32], DataType::UInt8);
    image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress).unwrap();
    assert_eq!(image.decodes(), vec![1; 3 * 2 * 4 * 3]);
    let largest = image.largest_window.into_inner();
    assert_eq!(largest, 4 * 32 * 32);
}

#[test]
fn a_nan_names_its_place() {
    let mut pixels = noise([2, 3, 9, 9], 1, |bits| value(DataType::Float32, bits));
    pixels[[1, 2, 7, 4]] = f32::NAN;
    let image = Chunked::new(pixels, [1, 1, 4, 4], DataType::Float32);
    let error =
        image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`chunked`: the pixel at channel 1 (`c1`), z 2, y 7, x 4 is NaN; replace it before patches are made"
    );
}

#[test]
fn a_pixel_that_does_not_fit_its_type_is_an_error() {
    for (data_type, wrong) in [
        (DataType::UInt8, 256.0),
        (DataType::UInt8, -1.0),
        (DataType::UInt16, 0.5),
        (DataType::Int8, f32::NAN),
        (DataType::Int16, f32::INFINITY),
    ] {
        let mut pixels = noise([1, 1, 3, 3], 1, |_| 1.0);
        pixels[[0, 0, 1, 1]] = wrong;
        let image = Chunked::new(pixels, [1, 1, 3, 3], data_type);
        let found = image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress);
        assert!(
            matches!(found, Err(Error::PixelType { .. })),
            "{data_type:?} {wrong}"
        );
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for data_type in [DataType::UInt16, DataType::Float32] {
        let pixels = noise([2, 7, 50, 33], 9, |bits| value(data_type, bits));
        let measure = |threads| {
            let image = Chunked::new(pixels.clone(), [1, 3, 16, 9], data_type);
            let config = StatisticsConfig::default()
                .with_memory(20_000)
                .with_mad_compat();
            on_threads(threads, || {
                image_statistics(&image, "s", &config, &NoProgress).unwrap()
            })
        };
        let one = measure(1);
        assert_eq!(one, measure(2));
        assert_eq!(one, measure(4));
    }
}

#[test]
fn an_empty_image_and_wrong_settings_are_refused() {
    let image = Chunked::new(
        noise([1, 1, 0, 4], 0, |_| 0.0),
        [1, 1, 1, 1],
        DataType::UInt8,
    );
    let found = image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress);
    assert!(matches!(found, Err(Error::EmptyImage { .. })));
    let image = Chunked::new(
        noise([1, 1, 4, 4], 0, |_| 0.0),
        [1, 1, 1, 1],
        DataType::UInt8,
    );
    for percentile in [-1.0, 51.0, f64::NAN] {
        let config = StatisticsConfig::default().with_percentile(percentile);
        let found = image_statistics(&image, "s", &config, &NoProgress);
        assert!(matches!(found, Err(Error::Config(_))));
    }
}

#[test]
fn a_thrown_switch_stops_the_measurement() {
    let image = Chunked::new(
        noise([1, 1, 4, 4], 0, |_| 0.0),
        [1, 1, 4, 4],
        DataType::UInt8,
    );
    let token = CancelToken::new();
    token.cancel();
    let found = image_statistics(&image, "s", &StatisticsConfig::default(), &token);
    assert!(matches!(found, Err(Error::Cancelled(_))));
}

#[test]
fn slices_without_foreground_survive_json() {
    let image = MemoryImage::new("dark", Array4::zeros((1, 1, 4, 4)), vec!["DAPI".into()]).unwrap();
    let config = StatisticsConfig::default().with_foreground_only(0.1);
    let rows = image_statistics(&image, "A", &config, &NoProgress).unwrap();
    assert!(rows[0].percentile_low.is_nan() && rows[0].percentile_high.is_nan());
    let text = serde_json::to_string(&rows).unwrap();
    let read: Vec<SliceStatistics> = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert!(read[0].percentile_low.is_nan() && read[0].percentile_high.is_nan());
}

//! The reference data: what the original makes of the two-well store.
//!
//! `stats.csv`, `percentiles.json`, `patches.csv` and `patches.npz` were written by running the original on the same
//! store; see `data/README.md` beside them.

use std::collections::BTreeMap;

use ndarray::{Array4, Axis};
use phenocoder_core::{Cells, NoProgress};
use phenocoder_patches::{
    Degenerate, ExtractReport, Images, MemorySink, PatchConfig, Scaling, ScalingMode, Selection,
    SliceStatistics, StatisticsConfig, extract_selection, image_statistics, select_cells,
};
use phenocoder_testdata::{Csv, Npz, find, max_relative_error};
use serde_json::Value;

use crate::store::images_and_cells;

const GOLDEN: &str = "organoid/golden";

/// One number of a row.
type Pick = fn(&SliceStatistics) -> f64;

fn statistics(images: &Images) -> Vec<SliceStatistics> {
    let config = StatisticsConfig::default().with_mad_compat();
    let rows = images.iter().map(|(sample, image)| {
        image_statistics(image.as_ref(), sample, &config, &NoProgress).unwrap()
    });
    rows.flatten().collect()
}

#[test]
fn statistics_equal_the_reference_table() {
    if let Some((images, _)) = images_and_cells("store.zarr") {
        check_statistics(&images);
    }
}

#[test]
fn statistics_of_the_zarr_v2_store_equal_the_reference_table() {
    if let Some((images, _)) = images_and_cells("store_zarrv2.zarr") {
        check_statistics(&images);
    }
}

fn check_statistics(images: &Images) {
    let rows = statistics(images);
    let by_key: BTreeMap<_, _> = rows
        .iter()
        .map(|row| {
            (
                (row.sample.clone(), row.channel_name.clone(), row.z as u64),
                row,
            )
        })
        .collect();
    for mode in ["patches_per_sample", "patches_global"] {
        let csv = Csv::open(&find(GOLDEN).unwrap().join(mode).join("stats.csv"));
        assert_eq!(csv.rows.len(), 2 * 4 * 52);
        assert_eq!(csv.rows.len(), rows.len());
        let keys: Vec<_> = csv
            .text("sample_id")
            .into_iter()
            .zip(csv.text("channel"))
            .zip(csv.floats("z"))
            .map(|((sample, channel), z)| (sample.to_owned(), channel.to_owned(), z as u64))
            .collect();
        let column =
            |pick: Pick| -> Vec<f64> { keys.iter().map(|key| pick(by_key[key])).collect() };
        let columns: [(&str, Pick); 8] = [
            ("mean", |r| r.mean),
            ("std", |r| r.std),
            ("median", |r| r.median),
            ("mad", |r| r.mad_compat.unwrap()),
            ("min", |r| r.min),
            ("max", |r| r.max),
            ("percentile_low", |r| r.percentile_low),
            ("percentile_high", |r| r.percentile_high),
        ];
        for (name, pick) in columns {
            let error = max_relative_error(&column(pick), &csv.floats(name), 1e-12);
            assert!(error < 1e-12, "{mode}, {name}: {error:e}");
        }
    }
}

/// The ranges of a sample in `percentiles.json`, which lists per-sample ranges before the original adds its 1.
fn reference_ranges(json: &Value, sample: &str) -> Vec<(f64, f64)> {
    let side = |name: &str| -> Vec<f64> {
        let values = match &json[name] {
            Value::Object(samples) => &samples[sample],
            values => values,
        };
        values
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    let pairs = side("low").into_iter().zip(side("high"));
    pairs
        .map(|(low, high)| (low, if high == low { low + 1.0 } else { high }))
        .collect()
}

/// Cuts all patches as the original does and compares each pixel; returns the largest difference.
fn compare(folder: &str, mode: ScalingMode) -> Option<(f64, ExtractReport, Value)> {
    let (images, cells) = images_and_cells("store.zarr")?;
    let golden = find(GOLDEN)?;
    let scaling = Scaling::fit_with(&statistics(&images), mode, Degenerate::AddOne).unwrap();
    let text = std::fs::read_to_string(golden.join(folder).join("percentiles.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    for sample in ["A06", "G04"] {
        for (range, (low, high)) in scaling
            .ranges(sample)
            .unwrap()
            .iter()
            .zip(reference_ranges(&json, sample))
        {
            let error = max_relative_error(&[range.low, range.high], &[low, high], 1e-12);
            assert!(
                error < 1e-12,
                "{sample}: {range:?} instead of {low} to {high}"
            );
        }
    }
    assert_eq!(scaling.degenerate().len(), 2, "channel C03 of both wells");

    let selection = select_cells(&images, &cells, &PatchConfig::new(32, 32).compat()).unwrap();
    let order = rows_of_reference(
        &selection,
        &cells,
        &Csv::open(&golden.join(folder).join("patches.csv")),
    );
    let mut sink = MemorySink::new();
    let report =
        extract_selection(&images, None, &selection, &scaling, &mut sink, &NoProgress).unwrap();
    let found = sink.into_pixels();
    let expected: Array4<f32> =
        Npz::open(&golden.join(folder).join("patches.npz")).array("patches");
    assert_eq!(expected.shape(), found.shape());
    let mut worst = 0.0_f64;
    for (expected, patch) in expected.outer_iter().zip(order) {
        let found = found.index_axis(Axis(0), patch);
        for (a, b) in expected.iter().zip(found) {
            worst = worst.max(f64::from((a - b).abs()));
        }
    }
    let info = std::fs::read_to_string(golden.join("info.json")).unwrap();
    let info: Value = serde_json::from_str(&info).unwrap();
    Some((worst, report, info[folder].clone()))
}

/// The patch of each row of `patches.csv`: the same cells, wells and pixels.
fn rows_of_reference(selection: &Selection, cells: &Cells, csv: &Csv) -> Vec<usize> {
    assert_eq!(csv.rows.len(), 6_315);
    assert_eq!(selection.len(), 6_315);
    let report = selection.report();
    assert_eq!(
        (report.cells, report.kept, report.dropped_border),
        (6_379, 6_315, 64)
    );
    let by_row: BTreeMap<usize, usize> = selection.rows().into_iter().zip(0..).collect();
    let index = csv.floats("");
    let place = [csv.floats("z"), csv.floats("y"), csv.floats("x")];
    let well = csv.text("well");
    let find = |line: usize| {
        let row = index[line] as usize;
        let patch = by_row[&row];
        let at = selection.places()[patch];
        let expected = [0, 1, 2].map(|axis| place[axis][line] as usize);
        assert_eq!([at.z, at.y, at.x], expected, "row {row}");
        assert_eq!(cells.samples().label(row), Some(well[line]), "row {row}");
        patch
    };
    (0..csv.rows.len()).map(find).collect()
}

/// Fractions of saturated pixels as the reference counted them.
fn check_saturation(report: &ExtractReport, info: &Value) {
    let fractions = |name: &str| -> Vec<f64> {
        info[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    let all: Vec<f64> = report.saturation.iter().map(|c| c.fraction()).collect();
    let nonzero: Vec<f64> = report
        .saturation
        .iter()
        .map(|c| c.fraction_of_nonzero())
        .collect();
    assert!(
        max_relative_error(&all, &fractions("frac_pixels_saturated_1"), 1e-12) < 1e-9,
        "{all:?}"
    );
    assert!(
        max_relative_error(&nonzero, &fractions("frac_nonzero_saturated"), 1e-12) < 1e-9,
        "{nonzero:?}"
    );
}

#[test]
fn patches_scaled_per_sample_equal_the_reference() {
    if let Some((worst, report, info)) = compare("patches_per_sample", ScalingMode::PerSample) {
        assert!(worst < 1e-6, "largest difference {worst:e}");
        check_saturation(&report, &info);
    }
}

#[test]
fn patches_scaled_globally_equal_the_reference() {
    if let Some((worst, report, info)) = compare("patches_global", ScalingMode::Global) {
        assert!(worst < 1e-6, "largest difference {worst:e}");
        check_saturation(&report, &info);
    }
}

#[test]
fn by_default_every_cell_of_the_store_has_a_patch() {
    let Some((images, cells)) = images_and_cells("store.zarr") else {
        return;
    };
    let selection = select_cells(&images, &cells, &PatchConfig::new(32, 32)).unwrap();
    assert_eq!(selection.len(), 6_379);
    let scaling = Scaling::fit(&statistics(&images), ScalingMode::PerSample).unwrap();
    let reflected = extract(&images, &selection, &scaling);
    let compat = select_cells(&images, &cells, &PatchConfig::new(32, 32).compat()).unwrap();
    let inner = extract(&images, &compat, &scaling);
    // Inside of the image both cut the same pixels.
    for (patch, row) in inner.outer_iter().zip(compat.rows()) {
        assert_eq!(patch, reflected.index_axis(Axis(0), row));
    }
}

fn extract(images: &Images, selection: &Selection, scaling: &Scaling) -> Array4<f32> {
    let mut sink = MemorySink::new();
    extract_selection(images, None, selection, scaling, &mut sink, &NoProgress).unwrap();
    sink.into_pixels()
}

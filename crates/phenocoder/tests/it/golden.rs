//! The organoid store through the pipeline, beside what the original computed.

use phenocoder::core::NoProgress;
use phenocoder::io::{Store, copy_store};
use phenocoder::pipeline::{SpatialStatsConfig, StoreKeys, spatialgraph_stats};
use phenocoder::spatial::subunits::{Origin, SubunitConfig};
use phenocoder::spatial::summary::{Fill, Mode, StatisticsConfig};
use phenocoder_testdata::{Csv, find, max_relative_error};

fn config() -> SpatialStatsConfig {
    let keys = StoreKeys::new("nuclei_features", "well", "IF");
    let statistics = StatisticsConfig::new([25.0, 50.0]).with_mode(Mode::Compat);
    let mut config = SpatialStatsConfig::new(keys, "cluster", statistics)
        .with_feature_tables(["nuclei_features"]);
    config.fill = Some(Fill::Zero);
    config
}

/// Runs step 5 on a copy of a store and returns the CSV that it wrote.
fn statistics(store: &str, config: &SpatialStatsConfig) -> Option<Csv> {
    let original = find(store)?;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("store.zarr");
    copy_store(&original, &copy, &NoProgress).unwrap();
    let csv = folder.path().join("statistics.csv");
    let mut store = Store::open(&copy).unwrap();
    spatialgraph_stats(&mut store, config, Some(&csv), &NoProgress).unwrap();
    Some(Csv::open(&csv))
}

/// The largest error of each golden column found by its name, rows joined by `key`.
fn compare(ours: &Csv, golden: &Csv, key: impl Fn(&Csv, usize) -> String) -> (usize, f64) {
    let our_keys: Vec<String> = (0..ours.rows.len()).map(|row| key(ours, row)).collect();
    let rows: Vec<usize> = (0..golden.rows.len())
        .map(|row| {
            let wanted = key(golden, row);
            our_keys
                .iter()
                .position(|k| *k == wanted)
                .unwrap_or_else(|| panic!("no row {wanted}"))
        })
        .collect();
    // The ten columns without a proper prefix are an artefact of the original.
    let columns = golden.header.iter().filter(|name| {
        let proper = |group: &str| name.contains(&format!("{group}_moranI_"));
        name.starts_with("radius:")
            && (!name.contains("moran_") || proper("moran_features") || proper("moran_clusters"))
    });
    let (mut n, mut worst) = (0, 0.0_f64);
    for name in columns {
        let all = ours.floats(name);
        let found: Vec<f64> = rows.iter().map(|&row| all[row]).collect();
        let wanted: Vec<f64> = golden
            .floats(name)
            .into_iter()
            .map(|v| if v.is_nan() { 0.0 } else { v })
            .collect();
        let error = max_relative_error(&found, &wanted, 1e-3);
        assert!(error < 1e-6, "{name}: {error}");
        worst = worst.max(error);
        n += 1;
    }
    (n, worst)
}

#[test]
fn statistics_of_samples_equal_the_golden_by_name() {
    for store in ["organoid/store.zarr", "organoid/store_zarrv2.zarr"] {
        let Some(ours) = statistics(store, &config()) else {
            return;
        };
        let golden = Csv::open(&find("organoid/golden/spatialstats/stats_sample.csv").unwrap());
        let by_well = |csv: &Csv, row: usize| csv.text("well")[row].to_owned();
        let (n, worst) = compare(&ours, &golden, by_well);
        println!("{store}: {n} of 251 columns, largest relative error {worst:.1e}");
        assert_eq!(n, 251);
    }
}

#[test]
fn statistics_of_subunits_equal_the_golden_by_name() {
    let mut config = config();
    let subunits = SubunitConfig::new(200.0)
        .with_origin(Origin::SampleMinimum)
        .with_min_obs(10);
    config = config.with_subunits(subunits);
    let Some(ours) = statistics("organoid/store.zarr", &config) else {
        return;
    };
    let golden = Csv::open(&find("organoid/golden/spatialstats/stats_subunit.csv").unwrap());
    // The original writes the cube as (y, x, z), ours as the coordinates (z, y, x).
    let original = golden.header.iter().any(|name| name == "subunit_id");
    assert!(original);
    let key = |csv: &Csv, row: usize| {
        let text = csv.text("subunit_key")[row];
        let parts: Vec<&str> = text.trim_matches(['(', ')']).split(", ").collect();
        let is_golden = csv.header.iter().any(|name| name == "subunit_id");
        let order = if is_golden { [2, 0, 1] } else { [0, 1, 2] };
        let cube: Vec<&str> = order.iter().map(|&i| parts[i]).collect();
        format!("{} {}", csv.text("well")[row], cube.join(" "))
    };
    let (n, worst) = compare(&ours, &golden, key);
    println!(
        "{n} of 251 columns of {} subunits, largest relative error {worst:.1e}",
        golden.rows.len()
    );
    assert_eq!(n, 251);
}

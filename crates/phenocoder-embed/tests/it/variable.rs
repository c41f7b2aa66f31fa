//! Variable columns, against scanpy 1.12.4: `tests/data/make_variable.py`.

use phenocoder_core::NoProgress;
use phenocoder_embed::select::{SeuratConfig, VariableConfig, VariableFlavor, variable_features};
use serde_json::Value;

use crate::golden::{assert_all_or_missing, matrix};

/// The settings that scanpy's arguments stand for.
fn config(keywords: &Value) -> VariableConfig {
    let number = |name: &str| keywords[name].as_f64();
    let bins = keywords["n_bins"].as_u64().map_or(20, |n| n as usize);
    let mut seurat = SeuratConfig::default().with_n_bins(bins);
    if let (Some(min), max) = (number("min_mean"), number("max_mean")) {
        seurat = seurat.with_mean(min, max);
    }
    if let (Some(min), max) = (number("min_disp"), number("max_disp")) {
        seurat = seurat.with_dispersion(min, max);
    }
    VariableConfig::default()
        .with_flavor(VariableFlavor::Seurat(seurat))
        .with_n_top(keywords["n_top_genes"].as_u64().map(|n| n as usize))
}

#[test]
fn variable_columns_are_those_of_scanpy() {
    let values: Value = serde_json::from_str(include_str!("../data/variable.json")).unwrap();
    let x = matrix(&values["x"]);
    let runs = values["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 8);
    for run in runs {
        let found = variable_features(x.view(), &config(&run["keywords"]), &NoProgress).unwrap();
        let selected: Vec<bool> = serde_json::from_value(run["selected"].clone()).unwrap();
        assert_eq!(found.selected, selected, "{}", run["keywords"]);
        assert_all_or_missing(&found.means, &values["means"], 1e-10);
        assert_all_or_missing(&found.dispersions, &values["dispersions"], 1e-10);
        assert_all_or_missing(&found.normalized, &run["normalized"], 1e-10);
    }
}

//! What every correction does to a planted batch effect.

use ndarray::Array2;
use phenocoder_core::{Categorical, NoProgress, Seed};
use phenocoder_embed::batch::{
    BatchEffect, CombatConfig, HarmonyConfig, HarmonyForm, center, combat, harmony, ridge_removal,
};
use phenocoder_embed::evaluate::labels_of;
use phenocoder_embed::evaluate::mixing::{BatchReport, BatchReportConfig, batch_report};

/// Four kinds of rows in three batches that are moved, and one of them spread, in every column.
fn planted() -> (Array2<f64>, Categorical, Vec<u32>) {
    let (n, p) = (450, 6);
    let mut stream = Seed::new(31).stream("rows", 0);
    let centers = Array2::from_shape_fn((4, p), |_| 4.0 * stream.normal());
    let shifts = Array2::from_shape_fn((3, p), |_| 1.5 * stream.normal());
    let batch: Vec<usize> = (0..n).map(|_| stream.below(3)).collect();
    let kinds: Vec<usize> = (0..n).map(|_| stream.below(4)).collect();
    let x = Array2::from_shape_fn((n, p), |(i, c)| {
        let spread = if batch[i] == 2 { 1.4 } else { 1.0 };
        centers[[kinds[i], c]] + shifts[[batch[i], c]] + spread * stream.normal()
    });
    let kinds = kinds.into_iter().map(|kind| kind as u32).collect();
    let names = batch
        .into_iter()
        .map(|batch| ["first", "second", "third"][batch]);
    (x, Categorical::from_labels(names), kinds)
}

#[test]
fn every_correction_mixes_planted_batches_and_keeps_kinds_apart() {
    let (x, batch, kinds) = planted();
    let batches = labels_of(&batch).unwrap();
    let report = |x: &Array2<f64>| -> BatchReport {
        let config = BatchReportConfig::default();
        batch_report(x.view(), &batches, &kinds, &config, &NoProgress).unwrap()
    };
    let view = x.view();
    let by_harmony = |form| {
        let config = HarmonyConfig::new(form);
        harmony(view, &[&batch], &config, &NoProgress)
            .unwrap()
            .corrected
    };
    let before = report(&x);
    for (name, corrected) in [
        (
            "combat",
            combat(view, &batch, &[], &CombatConfig::default(), &NoProgress).unwrap(),
        ),
        (
            "means",
            center(view, &batch, BatchEffect::Mean, &NoProgress).unwrap(),
        ),
        (
            "spreads",
            center(view, &batch, BatchEffect::MeanAndVariance, &NoProgress).unwrap(),
        ),
        (
            "ridge",
            ridge_removal(view, &batch, &[], 1.0, &NoProgress)
                .unwrap()
                .residual,
        ),
        ("Harmony, form one", by_harmony(HarmonyForm::One)),
        ("Harmony, form two", by_harmony(HarmonyForm::Two)),
    ] {
        let after = report(&corrected);
        let told = format!("{name}: {before:?} {after:?}");
        assert!(
            after.integration_lisi >= before.integration_lisi + 0.1,
            "{told}"
        );
        assert!(after.label_lisi >= before.label_lisi - 0.02, "{told}");
        assert!(after.kbet > before.kbet, "{told}");
        assert!(
            after.silhouette_by_batch > before.silhouette_by_batch,
            "{told}"
        );
        assert!(
            after.silhouette_by_label >= before.silhouette_by_label - 0.02,
            "{told}"
        );
        assert!(
            after.graph_connectivity >= before.graph_connectivity - 0.02,
            "{told}"
        );
        assert!(after.batch_variance < before.batch_variance / 2.0, "{told}");
    }
}

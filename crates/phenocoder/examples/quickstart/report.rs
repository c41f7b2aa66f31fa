//! What a run found, in words and against the truth where that is known.

use phenocoder::core::{Categorical, NoProgress};
use phenocoder::embed::evaluate::{
    adjusted_rand_index, knn_purity, labels_of, leave_one_out_accuracy,
};
use phenocoder::embed::knn::{Metric, nearest_neighbors};
use phenocoder::io::Store;
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{PipelineConfig, PipelineReport};

/// Prints one block per step.
pub(crate) fn print(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    figures: &FigureConfig,
) -> anyhow::Result<()> {
    steps(report);
    cells(store, config, figures)?;
    samples(store, config, report, figures)
}

fn steps(report: &PipelineReport) {
    let extract = &report.dataset.extract;
    println!(
        "patches    {} of {} cells, {}×{}×{} (dropped: {} at the border, {} outside, {} without position)",
        report.dataset.patches,
        extract.cells,
        report.dataset.shape.height,
        report.dataset.shape.width,
        report.dataset.shape.channels,
        extract.dropped_border,
        extract.dropped_outside,
        extract.dropped_nan,
    );
    for (sample, channel) in &extract.degenerate {
        println!(
            "           channel {channel} of {sample} is nearly empty: its range has no extent"
        );
    }
    for channel in &extract.saturated {
        println!("           channel {channel} is saturated in many pixels");
    }
    let fit = &report.fit;
    let record = &fit.record;
    print!(
        "training   {} patches, {} held out, {} parameters, {} epochs",
        fit.train,
        fit.validation,
        fit.parameters,
        record.epochs.len()
    );
    if let (Some(first), Some(last)) = (record.epochs.first(), record.epochs.last()) {
        print!(": loss {:.1} → {:.1}", first.train.total, last.train.total);
        if let Some(best) = record.best().and_then(|epoch| epoch.validation.as_ref()) {
            print!(", best validation loss {:.1}", best.total);
        }
    }
    println!(" ({:.0} seconds)", record.seconds.iter().sum::<f64>());
    println!(
        "latents    {} cells × {}",
        report.encode.cells, report.encode.latents
    );
    println!(
        "clusters   {} of {:?} cells",
        report.cluster.clusters.len(),
        report.cluster.clusters
    );
    let described = [Some(&report.samples), report.subunits.as_ref()];
    for statistics in described.into_iter().flatten() {
        println!(
            "statistics {} rows × {} in table `{}` ({} values not defined, {} subunits too small)",
            statistics.units,
            statistics.statistics,
            statistics.table,
            statistics.missing,
            statistics.too_small,
        );
    }
}

/// Compares the cells with a column of the user's.
fn cells(store: &Store, config: &PipelineConfig, figures: &FigureConfig) -> anyhow::Result<()> {
    let Some(key) = &figures.truth_key else {
        return Ok(());
    };
    let table = store.table(&config.cluster.table)?;
    let truth = labels_of(&table.obs_column(key)?.to_categorical())?;
    let found = labels_of(&table.obs_column(&config.cluster.column)?.to_categorical())?;
    println!(
        "agreement  adjusted Rand index of clusters and `{key}`: {:.3}",
        adjusted_rand_index(&found, &truth)?
    );
    if let Some(x) = table.x()? {
        let x = x.to_dense_f64()?;
        let k = 15.min(x.nrows() - 1);
        let neighbors = nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress)?;
        println!(
            "           purity of `{key}` among {k} neighbours: {:.3}",
            knn_purity(&neighbors, &truth)?
        );
    }
    Ok(())
}

/// Compares the map with a column of the user's.
fn samples(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    figures: &FigureConfig,
) -> anyhow::Result<()> {
    let Some(embedding) = &report.embedding else {
        println!("map        none: fewer than three samples, and no --subunit-size");
        return Ok(());
    };
    println!(
        "map        {} rows of table `{}`, {} groups",
        embedding.rows,
        embedding.table,
        embedding.groups.len()
    );
    let table = store.table(&config.embedding.table)?;
    let map = table.obsm("X_umap")?;
    let keys = [
        ("condition", &figures.condition_key),
        ("batch", &figures.batch_key),
    ];
    for (what, key) in keys {
        let Some(key) = key else { continue };
        let labels: Categorical = table.obs_column(key)?.to_categorical();
        let accuracy = leave_one_out_accuracy(
            map.view(),
            &labels_of(&labels)?,
            Metric::Euclidean,
            &NoProgress,
        )?;
        println!(
            "           nearest other sample has the same {what}: {:.1} %",
            100.0 * accuracy
        );
    }
    Ok(())
}

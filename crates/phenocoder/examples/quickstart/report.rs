//! What a run found, in words and against the truth where that is known.

use phenocoder::core::{Categorical, NoProgress};
use phenocoder::embed::evaluate::{
    adjusted_rand_index, knn_purity, labels_of, leave_one_out_accuracy,
};
use phenocoder::embed::knn::{Metric, nearest_neighbors};
use phenocoder::io::Store;
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{PipelineConfig, PipelineReport};

/// Prints how well the clusters and the map agree with columns of the user's.
pub(crate) fn compare(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    figures: &FigureConfig,
) -> anyhow::Result<()> {
    cells(store, config, figures)?;
    samples(store, config, report, figures)
}

/// Prints one line or more per step.
pub(crate) fn steps(report: &PipelineReport) {
    let extract = &report.dataset.extract;
    println!(
        "patches    {} of {} cells, {}×{}×{} (dropped: {} at the border, {} outside, {} without position, {} without image)",
        report.dataset.patches,
        extract.cells,
        report.dataset.shape.height,
        report.dataset.shape.width,
        report.dataset.shape.channels,
        extract.dropped_border,
        extract.dropped_outside,
        extract.dropped_nan,
        extract.dropped_no_image,
    );
    for (sample, channel) in &extract.degenerate {
        let measured = report
            .dataset
            .statistics
            .iter()
            .find(|slice| slice.channel == *channel);
        let name = measured.map_or("?", |slice| slice.channel_name.as_str());
        println!("           channel {name} of {sample} is nearly empty: its range has no extent");
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
    if fit.split_by_patch {
        println!("           too few samples to hold some out: patches were held out one by one");
    }
    let encode = &report.encode;
    println!(
        "latents    {} of {} cells × {}",
        encode.cells, encode.rows, encode.latents
    );
    let sizes: Vec<String> = report
        .cluster
        .clusters
        .iter()
        .map(ToString::to_string)
        .collect();
    println!("clusters   {} ({} cells)", sizes.len(), sizes.join(", "));
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
        for dropped in &statistics.notes.dropped {
            println!(
                "           left out: {} ({:?})",
                dropped.unit, dropped.reason
            );
        }
    }
}

/// Compares the cells with a column of the user's.
fn cells(store: &Store, config: &PipelineConfig, figures: &FigureConfig) -> anyhow::Result<()> {
    let Some(key) = &figures.truth_key else {
        return Ok(());
    };
    let table = store.table(&config.cluster.table)?;
    let truth = table.obs_column(key)?.to_categorical();
    let known: Vec<usize> = (0..truth.len())
        .filter(|&row| truth.code(row).is_some())
        .collect();
    if known.len() < truth.len() {
        println!(
            "agreement  {} cells without `{key}` are left out",
            truth.len() - known.len()
        );
    }
    if known.is_empty() {
        return Ok(());
    }
    let truth = labels_of(&truth.select(&known))?;
    let found = table.obs_column(&config.cluster.column)?.to_categorical();
    println!(
        "agreement  adjusted Rand index of clusters and `{key}`: {:.3}",
        adjusted_rand_index(&labels_of(&found.select(&known))?, &truth)?
    );
    if let Some(x) = table.x()?.filter(|_| known.len() > 1) {
        let x = x.to_dense_f64()?.select(ndarray::Axis(0), &known);
        let k = 15.min(known.len() - 1);
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
        println!("map        none: fewer than three rows to map (see --subunit-size)");
        return Ok(());
    };
    println!(
        "map        {} rows of table `{}`, {} groups",
        embedding.rows,
        embedding.table,
        embedding.groups.len()
    );
    if report.subunits.is_some() {
        // Cubes of one sample resemble each other, so that a nearest neighbour says little.
        return Ok(());
    }
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

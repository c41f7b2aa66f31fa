//! What the page says of batches, before and after a correction.

use phenocoder::core::NoProgress;
use phenocoder::embed::batch::{BatchEffect, HarmonyConfig};
use phenocoder::embed::evaluate::labels_of;
use phenocoder::embed::evaluate::mixing::batch_variance;
use phenocoder::io::{Store, WriteMode};
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{BatchCorrection, NeighborRows, Representation, cluster_cells};
use phenocoder::report::ReportConfig;

use super::{Done, section, settings};

/// The section on batches.
fn batches(page: &str) -> &str {
    section(page, "batches")
}

/// The values of a measure, column by column.
fn measured(section: &str, measure: &str) -> Vec<f64> {
    let row = section
        .split_once(&format!("<td>{measure}</td>"))
        .unwrap()
        .1;
    let row = row.split_once("</tr>").unwrap().0;
    let values = row.split(" data-v=\"").skip(1);
    values
        .map(|value| value.split_once('"').unwrap().0.parse().unwrap())
        .collect()
}

/// The headings between the first column and the last.
fn compared(section: &str) -> Vec<&str> {
    let head = section.split_once("<thead>").unwrap().1;
    let head = head.split_once("</thead>").unwrap().0;
    let names = head.split("<th scope=\"col\">").skip(1);
    let names: Vec<&str> = names.map(|name| name.split_once('<').unwrap().0).collect();
    names[1..names.len() - 1].to_vec()
}

/// The variance between the batches in what was corrected and in what the correction made of it.
fn between(store: &Store) -> [f64; 2] {
    let table = store.table("phenocoder").unwrap();
    let batch = table.obs_column("batch").unwrap().to_categorical();
    let batch = labels_of(&batch).unwrap();
    let rows = NeighborRows::read(store, "phenocoder").unwrap();
    [rows.before, rows.after].map(|rows| {
        let matrix = match rows {
            Representation::X => table.x().unwrap().unwrap().to_dense_f64().unwrap(),
            Representation::Layer(name) => table.layer(&name).unwrap().to_dense_f64().unwrap(),
            Representation::Obsm(name) => table.obsm(&name).unwrap(),
            other => panic!("{other}"),
        };
        batch_variance(matrix.view(), &batch, &NoProgress).unwrap()
    })
}

#[test]
fn batches_before_and_after_a_correction_stand_side_by_side() {
    const BETWEEN: &str = "variance between batches";
    let mut done = Done::new(|_, config| config);
    let (page, _) = done.write(&settings());
    let section = batches(&page);
    assert_eq!(compared(section), ["latents"]);
    let plain = measured(section, BETWEEN)[0];
    assert!(plain > 1e-6, "{plain}");

    let table = done.store.table("phenocoder").unwrap();
    let mut data = table.read_all().unwrap();
    // Twice the latents, and the first one tells nothing but the batch.
    let mut other = data.x.clone().unwrap().to_dense_f64().unwrap() * 2.0;
    let batch = table.obs_column("batch").unwrap().to_categorical();
    for (row, mut latents) in other.outer_iter_mut().enumerate() {
        latents[0] = 1000.0 * batch.code(row).unwrap() as f64;
    }
    data = data.with_layer("other", other);
    done.store
        .write_table("phenocoder", &data, WriteMode::Replace)
        .unwrap();

    let center = BatchCorrection::Center(BatchEffect::Mean);
    let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
    let start = done.config.cluster.clone();
    let start = start.with_batch_key(Some("batch".to_owned()));
    for (cluster, names, words) in [
        (
            start.clone().with_correction(center.clone()),
            ["latents", "corrected"],
            "Before the correction: X. After it: obsm/X_corrected.",
        ),
        (
            start
                .clone()
                .with_correction(center.clone())
                .with_layer(Some("other".to_owned())),
            ["layer", "corrected"],
            "Before the correction: layers/other. After it: obsm/X_corrected.",
        ),
        (
            start
                .clone()
                .with_correction(center)
                .with_n_components(Some(3)),
            ["latents", "corrected"],
            "Before the correction: X. After it: obsm/X_pca, reduced to 3 components as well.",
        ),
        (
            start.with_correction(harmony).with_n_components(Some(3)),
            ["components", "corrected"],
            "Before the correction: obsm/X_pca. After it: obsm/X_pca_harmony.",
        ),
    ] {
        cluster_cells(&mut done.store, &cluster, &NoProgress).unwrap();
        done.config.cluster = cluster;
        // The batches of the correction are those that are measured by.
        let (page, _) = done.write(&ReportConfig::new());
        let section = batches(&page);
        assert_eq!(compared(section), names, "{words}");
        assert!(section.contains(words), "{section}");
        assert!(!section.contains("class=\"absent\""), "{section}");
        let rows = section.matches("<tr>").count() - 1;
        assert!(rows >= 3, "{section}");
        assert_eq!(section.matches("class=\"share\"").count(), 2 * rows);
        let [before, after] = measured(section, BETWEEN)[..] else {
            panic!("{section}");
        };
        let expected = between(&done.store);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let told = format!("{words} {before} {after} {expected:?}");
        assert!(
            near(before, expected[0]) && near(after, expected[1]),
            "{told}"
        );
        match words {
            _ if words.contains("harmony") => assert_ne!(before, after, "{told}"),
            _ if words.contains("other") => assert!(before > 0.9 && after < 1e-9, "{told}"),
            _ => assert!(near(before, plain) && after < 1e-9, "{told}"),
        }
    }
}

#[test]
fn what_is_no_longer_the_correction_of_the_run_is_not_shown_as_that() {
    let mut done = Done::new(|_, mut config| {
        config.cluster = config
            .cluster
            .with_batch_key(Some("batch".to_owned()))
            .with_correction(BatchCorrection::Center(BatchEffect::Mean));
        config
    });
    let both = ["latents", "corrected"];
    assert_eq!(compared(batches(&done.write(&settings()).0)), both);

    // Measured by other labels than the batches that were corrected for.
    let figures = FigureConfig::new().with_batch_key(Some("condition".to_owned()));
    let (page, _) = done.write(&ReportConfig::new().with_figures(figures));
    let section = batches(&page);
    assert_eq!(compared(section), both);
    let words = "The cells were corrected for `batch`, these measures are by `condition`.";
    assert!(section.contains(words), "{section}");

    // What is gone costs the second column and no more.
    let mut data = done.store.table("phenocoder").unwrap().read_all().unwrap();
    assert!(data.obsm.remove("X_corrected").is_some());
    done.store
        .write_table("phenocoder", &data, WriteMode::Replace)
        .unwrap();
    let (page, _) = done.write(&settings());
    assert_eq!(compared(batches(&page)), ["latents"]);
    assert!(batches(&page).contains("No measures after the correction: "));

    // Clustered again: without correction, with and without components, and with another one.
    let config = &done.config.cluster;
    let plain = config.clone().with_correction(BatchCorrection::None);
    let other = BatchCorrection::Center(BatchEffect::MeanAndVariance);
    for again in [
        plain.clone(),
        plain.with_n_components(Some(3)),
        config.clone().with_correction(other),
    ] {
        cluster_cells(&mut done.store, &again, &NoProgress).unwrap();
        let (page, _) = done.write(&settings());
        let section = batches(&page);
        assert_eq!(compared(section), ["latents"], "{again:?}");
        assert!(
            section.contains("the cells were clustered again since the run"),
            "{section}"
        );
    }
}

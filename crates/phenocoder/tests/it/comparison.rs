//! Which samples the page of a run compares with which.

use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::report::ReportConfig;

use crate::report::Done;

/// The section on the conditions, where batches are named for the page or not.
fn section(done: &Done, batch_key: Option<&str>) -> String {
    let figures = FigureConfig::new()
        .with_condition_key(Some("condition".to_owned()))
        .with_batch_key(batch_key.map(str::to_owned));
    let (page, _) = done.write(&ReportConfig::new().with_figures(figures));
    let (_, section) = page.split_once("<section id=\"conditions\"").unwrap();
    section.split_once("</section>").unwrap().0.to_owned()
}

/// The first table of a section.
fn table(section: &str) -> &str {
    let (_, table) = section.split_once("<table").unwrap();
    table.split_once("</table>").unwrap().0
}

#[test]
fn conditions_are_compared_within_the_batches_of_the_run_where_none_are_named() {
    let mut done = Done::new(|_, config| config);
    let whole = section(&done, None);
    assert!(!whole.contains("ompared within"), "{whole}");
    let named = section(&done, Some("batch"));
    assert!(named.contains("Compared within each label of batch."));
    assert_ne!(table(&named), table(&whole));

    let words = "Compared within each label of batch, the batches of the run.";
    done.config.cluster.batch_key = Some("batch".to_owned());
    let of_cells = section(&done, None);
    assert!(of_cells.contains(words), "{of_cells}");
    assert_eq!(table(&of_cells), table(&named));
    // Those of the samples come first.
    done.config.embedding.batch_key = Some("batch".to_owned());
    done.config.cluster.batch_key = Some("domain".to_owned());
    assert!(section(&done, None).contains(words));
}

#[test]
fn why_conditions_are_not_compared_within_batches_is_said() {
    let mut done = Done::new(|_, config| config);
    for (key, why) in [
        ("domain", "the table of samples has no such column"),
        ("sample", "each of them has samples of one condition"),
    ] {
        done.config.cluster.batch_key = Some(key.to_owned());
        let section = section(&done, None);
        let words = format!("Not compared within the batches ({key}): {why}");
        assert!(section.contains(&words), "{section}");
        assert!(section.contains("<table"), "{section}");
    }
}

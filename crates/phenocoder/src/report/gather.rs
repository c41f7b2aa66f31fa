//! What a run found beside its cells, as plain numbers, words and pictures.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, Features, Progress};
use phenocoder_embed::evaluate::labels_of;
use phenocoder_embed::evaluate::mixing::{
    BatchReportConfig, batch_variance, graph_connectivity, integration_lisi, kbet, label_lisi,
};
use phenocoder_embed::knn::{Neighbors, nearest_neighbors};
use phenocoder_io::{PatchSet, Store, Table};
use phenocoder_model::train::{EpochRecord, LossRecord, TrainingRecord};
use phenocoder_plot::{Curve, CurvesConfig, Figure, HeatMapConfig, curves, heat_map};
use phenocoder_spatial::comparison::{ComparisonConfig, GroupComparison, compare_groups};
use phenocoder_spatial::composition::{Composition, composition};
use sha2::{Digest as _, Sha256};

use super::cells::Cells;
use super::{Part, ReportConfig, STEP, known, part};
use crate::error::{Error, Result};
use crate::pipeline::{
    DatasetManifest, NeighborRows, PipelineConfig, PipelineReport, Representation, RunFiles,
    constant_within, figures, source,
};

/// Cells whose neighbours are looked at to tell how batches mix.
const MIXING_CELLS: usize = 3_000;
/// Cells of the montage on the page: of more, its pictures would take the place of those of the map.
const MONTAGE_CELLS: usize = 8;

/// A run and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) store: &'a Store,
    pub(super) config: &'a PipelineConfig,
    pub(super) report: &'a PipelineReport,
    pub(super) files: &'a RunFiles,
    pub(super) settings: &'a ReportConfig,
    pub(super) progress: &'a dyn Progress,
}

/// A picture of the page.
pub(super) struct Picture {
    /// The name of its file, where it becomes one.
    pub(super) name: String,
    /// Its heading there; on the page the section says what it is.
    pub(super) title: String,
    /// What its file shows.
    pub(super) figure: Figure,
    /// What the page shows: the same, or a part of it.
    pub(super) svg: String,
    /// The words below it.
    pub(super) caption: String,
}

/// What each sample consists of.
pub(super) struct Make {
    pub(super) composition: Composition,
    /// The samples in the order in which they are shown, each with its condition.
    pub(super) order: Vec<(usize, Option<String>)>,
    /// Which conditions are missing and why, where they were asked for.
    pub(super) unread: Option<String>,
}

/// How the statistics of the samples differ between the conditions.
pub(super) struct Comparison {
    pub(super) found: GroupComparison,
    /// Whether samples were compared within their batches, in words, where batches are known.
    pub(super) within: Option<String>,
}

/// Name, value, what it says.
pub(super) type Measure = (&'static str, f64, &'static str);

/// What was measured, and its measures.
pub(super) type Measured = (&'static str, Vec<Measure>);

/// Measures of how batches mix.
pub(super) struct Mixing {
    pub(super) batch_key: String,
    /// The cells that were measured, of those with a batch, and how many have none.
    pub(super) cells: usize,
    pub(super) with_batch: usize,
    pub(super) without_batch: usize,
    /// The latents, or what was corrected and what the correction made of it: the same measures in the same order.
    pub(super) measured: Vec<Measured>,
    /// Which matrices were measured, in words.
    pub(super) matrices: String,
    /// What is not there, and why.
    pub(super) missing: Vec<String>,
}

/// Everything but the map of cells.
pub(super) struct Gathered {
    pub(super) manifest: Part<DatasetManifest>,
    pub(super) training: Part<Vec<Picture>>,
    pub(super) montage: Part<Picture>,
    /// Labels of a column of the user's beside the clusters.
    pub(super) agreement: Option<Part<Picture>>,
    pub(super) composition: Part<Make>,
    pub(super) interactions: Vec<(f64, Part<Picture>)>,
    pub(super) comparison: Part<Comparison>,
    pub(super) mixing: Part<Mixing>,
    pub(super) samples: Part<Picture>,
    /// What was made with what: name and value.
    pub(super) origins: Vec<(&'static str, String)>,
    pub(super) config: String,
}

impl Gathered {
    /// Reads everything; what is not there becomes its reason.
    pub(super) fn new(run: &Run<'_>, cells: &Part<Cells>) -> Result<Self> {
        let &Run {
            store,
            config,
            settings,
            progress,
            ..
        } = run;
        let manifest = part(manifest(run.files), progress)?;
        let neighbours = part(figures::Interactions::read(store, config), progress)?;
        let mut interactions = Vec::new();
        for &radius in &config.samples.statistics.radii {
            let figure = known(&neighbours).and_then(|all| all.within(radius));
            let figure = figure.and_then(|figure| {
                let title = format!("Neighbours within {radius}");
                let caption = format!(
                    "Rows: labels of the cells ({}). Columns: labels of their neighbours within {radius}. Mean over the samples.",
                    config.samples.label_key
                );
                Picture::new(&interactions_name(radius), title, figure, caption)
            });
            interactions.push((radius, part(figure, progress)?));
        }
        let of_cells = |read: &dyn Fn(&Cells) -> Result<Picture>| match cells {
            Ok(cells) => part(read(cells), progress),
            Err(why) => Ok(Err(why.clone())),
        };
        Ok(Self {
            training: part(training(run), progress)?,
            montage: part(montage(run), progress)?,
            agreement: match &settings.figures.truth_key {
                Some(key) => Some(of_cells(&|cells| agreement(run, cells, key))?),
                None => None,
            },
            composition: match cells {
                Ok(cells) => part(make(run, cells), progress)?,
                Err(why) => Err(why.clone()),
            },
            comparison: part(comparison(run), progress)?,
            mixing: match cells {
                Ok(cells) => part(mixing(run, cells), progress)?,
                Err(why) => Err(why.clone()),
            },
            samples: part(samples(run), progress)?,
            origins: origins(run, &manifest),
            config: serde_json::to_string_pretty(config)
                .map_err(|error| Error::data(STEP, format!("the settings: {error}")))?,
            interactions,
            manifest,
        })
    }
}

impl Picture {
    fn new(
        name: &str,
        title: impl Into<String>,
        figure: Figure,
        caption: impl Into<String>,
    ) -> Result<Self> {
        Ok(Self {
            name: file_name(name),
            title: title.into(),
            svg: figure.to_svg()?,
            figure,
            caption: caption.into(),
        })
    }
}

/// The name with letters, digits, points and hyphens alone: parts of losses have names of their models'.
fn file_name(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars()
        .map(|c| if kept(c) { c } else { '_' })
        .collect()
}

/// What the picture of the neighbours within a radius is called.
pub(super) fn interactions_name(radius: f64) -> String {
    format!("interactions_{radius}")
}

fn manifest(files: &RunFiles) -> Result<DatasetManifest> {
    DatasetManifest::read(&PatchSet::open(&files.patches)?)
}

/// Total loss, its parts, and the learning rate over epochs.
fn training(run: &Run<'_>) -> Result<Vec<Picture>> {
    let record = &run.report.fit.record;
    let Some(last) = record.epochs.last() else {
        return Err(Error::data(
            STEP,
            "the record of the training has no epochs",
        ));
    };
    let mut parts: Vec<Option<&str>> = vec![None];
    parts.extend(last.train.parts.keys().map(|name| Some(name.as_str())));
    let mut pictures = Vec::new();
    for part in parts {
        pictures.push(loss(record, part)?);
    }
    pictures.push(learning_rate(record)?);
    Ok(pictures)
}

/// The loss over epochs, or the part of it of this name.
fn loss(record: &TrainingRecord, part: Option<&str>) -> Result<Picture> {
    let of = |losses: &LossRecord| match part {
        None => losses.total,
        Some(name) => losses.part(name).unwrap_or(f64::NAN),
    };
    let train = record.epochs.iter().map(|epoch| of(&epoch.train)).collect();
    let mut lines = vec![Curve::over_epochs("training", train)];
    if record.epochs.iter().any(|epoch| epoch.validation.is_some()) {
        let held_out = |epoch: &EpochRecord| epoch.validation.as_ref().map_or(f64::NAN, of);
        let values = record.epochs.iter().map(held_out).collect();
        lines.push(Curve::over_epochs("validation", values));
    }
    let (what, caption) = match part {
        None => (
            "loss",
            "What is minimized: the sum of its parts by their weights.",
        ),
        Some("reconstruction") => (
            "reconstruction",
            "How far decoded cells are from the cells.",
        ),
        Some("kl") => (
            "Kullback–Leibler divergence",
            "How much the latents tell of a cell.",
        ),
        Some(name) => (name, "A part of the loss."),
    };
    let mut settings = CurvesConfig::default()
        .with_labels("epoch", what)
        .with_size(520.0, 340.0);
    if part.is_none() && record.best_epoch > 0 && record.epochs.len() > 1 {
        settings = settings.with_mark(record.best_epoch as f64, "kept");
    }
    let name = part.map_or("training".to_owned(), |part| format!("training_{part}"));
    let title = format!("Training: {what}");
    Picture::new(&name, title, curves(&lines, &settings)?, caption)
}

fn learning_rate(record: &TrainingRecord) -> Result<Picture> {
    let rates = record
        .epochs
        .iter()
        .map(|epoch| epoch.learning_rate)
        .collect();
    let settings = CurvesConfig::default()
        .with_labels("epoch", "learning rate")
        .with_log_y(true)
        .with_size(520.0, 340.0);
    let rate = curves(&[Curve::over_epochs("learning rate", rates)], &settings)?;
    let caption = "How far each step of the training goes.";
    Picture::new("learning_rate", "Training: learning rate", rate, caption)
}

/// Cells beside their reconstructions: in the file all that the settings ask for, on the page some of them.
fn montage(run: &Run<'_>) -> Result<Picture> {
    let patches = figures::patches(run.config, run.files, MONTAGE_CELLS, run.progress)?;
    let what = "Patches beside what the network makes of their latents, channel by channel";
    let caption = match patches.cells > MONTAGE_CELLS {
        true => format!(
            "{what}: {MONTAGE_CELLS} of {} cells; the figure `montage` shows all of them.",
            patches.cells
        ),
        false => format!("{what}."),
    };
    let title = "Cells and their reconstructions";
    let on_page = Picture::new("montage", title, patches.some, caption)?;
    Ok(Picture {
        figure: patches.all,
        ..on_page
    })
}

/// The share of each cluster in every label of a column of the user's.
fn agreement(run: &Run<'_>, cells: &Cells, key: &str) -> Result<Picture> {
    let table = run.store.table(&run.config.cluster.table)?;
    let labels = source::labels(&table, key)?;
    let clusters = clusters(cells)?;
    let both = composition(&labels, clusters)?;
    let (n, k) = both.fractions.dim();
    let settings = HeatMapConfig::default()
        .with_labels("cluster", figures::words(key))
        .with_value_label("share of the row")
        .with_limits(0.0, 1.0)
        .with_annotate(n <= 12 && k <= 12)
        .with_size(560.0, 460.0);
    let figure = heat_map(both.fractions.view(), &both.units, &both.labels, &settings)?;
    let words = figures::words(key);
    let caption = format!("Of the cells of each label of {words}, the share in each cluster.");
    let title = format!("Clusters of the labels of {words}");
    Picture::new("agreement", title, figure, caption)
}

fn clusters(cells: &Cells) -> Result<&Categorical> {
    known(&cells.clusters)
}

/// The share of each cluster in every sample, samples of a condition side by side.
fn make(run: &Run<'_>, cells: &Cells) -> Result<Make> {
    let composition = composition(&cells.samples, clusters(cells)?)?;
    let n = composition.units.len();
    let (conditions, unread) = match &run.settings.figures.condition_key {
        None => (vec![None; n], None),
        Some(key) => match part(conditions(run, cells, key), run.progress)? {
            Ok(conditions) => match conditions.iter().filter(|c| c.is_none()).count() {
                0 => (conditions, None),
                missing => {
                    let why = format!("`obs/{key}` is missing in {missing} of {n} samples");
                    (conditions, Some(why))
                }
            },
            Err(why) => (vec![None; n], Some(why)),
        },
    };
    let mut order: Vec<(usize, Option<String>)> = conditions.into_iter().enumerate().collect();
    // Samples without a condition come last.
    order.sort_by(|a, b| (a.1.is_none(), &a.1, a.0).cmp(&(b.1.is_none(), &b.1, b.0)));
    Ok(Make {
        composition,
        order,
        unread,
    })
}

/// The condition of each sample, which all of its cells share.
fn conditions(run: &Run<'_>, cells: &Cells, key: &str) -> Result<Vec<Option<String>>> {
    let table = run.store.table(&run.config.cluster.table)?;
    constant_within(&source::labels(&table, key)?, &cells.samples, key, STEP)
}

/// Which statistics of the samples differ between the conditions, within the batches.
fn comparison(run: &Run<'_>) -> Result<Comparison> {
    let Some(key) = &run.settings.figures.condition_key else {
        return Err(Error::data(
            STEP,
            "no column with the conditions of the samples was named",
        ));
    };
    let table = run.store.table(&run.config.samples.output)?;
    let conditions = source::labels(&table, key)?;
    let (blocks, within) = blocks(run, &table, &conditions)?;
    let values = Features::new(figures::statistics(&table)?, table.var_names()?)?;
    let settings = ComparisonConfig::new().with_seed(run.settings.seed.derive("comparison", 0));
    let found = compare_groups(
        &values,
        &conditions,
        blocks.as_ref(),
        &settings,
        run.progress,
    )?;
    Ok(Comparison { found, within })
}

/// The batches within which samples are compared, and what the page says of it.
///
/// Where none are named for the page, they are those that the samples, or else the cells, were corrected or balanced for.
fn blocks(
    run: &Run<'_>,
    table: &Table,
    conditions: &Categorical,
) -> Result<(Option<Categorical>, Option<String>)> {
    if let Some(key) = &run.settings.figures.batch_key {
        let words = format!("Compared within each label of {key}.");
        return Ok((Some(source::labels(table, key)?), Some(words)));
    }
    let of_samples = run.config.embedding.batch_key.as_ref();
    let Some(key) = of_samples.or(run.config.cluster.batch_key.as_ref()) else {
        return Ok((None, None));
    };
    let not = |why: &str| Some(format!("Not compared within the batches ({key}): {why}."));
    if !table.obs_columns().contains(key) {
        let why = "the table of samples has no such column, which `samples.obs_keys` can name";
        return Ok((None, not(why)));
    }
    let batches = source::labels(table, key)?;
    if !differ_within(conditions, &batches) {
        let why = "each of them has samples of one condition, so what differs may be theirs";
        return Ok((None, not(why)));
    }
    let words = format!("Compared within each label of {key}, the batches of the run.");
    Ok((Some(batches), Some(words)))
}

/// Whether a batch has rows of two conditions.
fn differ_within(conditions: &Categorical, batches: &Categorical) -> bool {
    let mut first = BTreeMap::new();
    let labels = conditions.labels().zip(batches.labels());
    let mut known = labels.filter_map(|(condition, batch)| condition.zip(batch));
    known.any(|(condition, batch)| *first.entry(batch).or_insert(condition) != condition)
}

/// Whether the neighbours of cells in latent space come from all batches: before a correction and, where there is one, after.
fn mixing(run: &Run<'_>, cells: &Cells) -> Result<Mixing> {
    let cluster = &run.config.cluster;
    let named = run.settings.figures.batch_key.as_ref();
    let Some(key) = named.or(cluster.batch_key.as_ref()) else {
        return Err(Error::data(STEP, "no column with the batches was named"));
    };
    let table = run.store.table(&cluster.table)?;
    let batches = source::labels(&table, key)?;
    let known: Vec<usize> = (0..cells.len())
        .filter(|&row| batches.code(row).is_some())
        .collect();
    let mut stream = run.settings.seed.stream("mixing", 0);
    let chosen = stream.choose(known.len(), MIXING_CELLS);
    let rows: Vec<usize> = chosen.into_iter().map(|i| known[i]).collect();
    let batches = labels_of(&batches.select(&rows))?;
    let mut missing = Vec::new();
    if let Some(own) = cluster.batch_key.as_ref()
        && own != key
        && !cluster.correction.is_none()
    {
        missing.push(format!(
            "the cells were corrected for `{own}`, these measures are by `{key}`"
        ));
    }
    let clusters = match &cells.clusters {
        Ok(clusters) => match part(
            labels_of(&clusters.select(&rows)).map_err(Error::from),
            run.progress,
        )? {
            Ok(clusters) => Some(clusters),
            Err(why) => {
                missing.push(format!("no measures of the clusters: {why}"));
                None
            }
        },
        Err(_) => None,
    };
    let measure = |all: &Array2<f64>| {
        let chosen = all.select(Axis(0), &rows);
        measures(&chosen, &batches, clusters.as_deref(), run.progress)
    };
    let both = part(compared(run, &table, measure), run.progress)?;
    let both = both.unwrap_or_else(|why| {
        missing.push(format!("no measures after the correction: {why}"));
        None
    });
    let (matrices, measured) = match both {
        Some(both) => both,
        None => {
            let words = format!("Measured: {}, the latents.", Representation::X);
            (words, vec![("latents", measure(&cells.latents)?)])
        }
    };
    Ok(Mixing {
        batch_key: key.clone(),
        cells: rows.len(),
        with_batch: known.len(),
        without_batch: cells.len() - known.len(),
        measured,
        matrices,
        missing,
    })
}

/// The rows of the cells before and after their correction, in words and measured; `None` where there was none.
fn compared(
    run: &Run<'_>,
    table: &Table,
    measure: impl Fn(&Array2<f64>) -> Result<Vec<Measure>>,
) -> Result<Option<(String, Vec<Measured>)>> {
    let Some(rows) = corrected(run, table)? else {
        return Ok(None);
    };
    let name = &run.config.cluster.table;
    let before = rows.before.read(table, name, STEP)?;
    let after = rows.after.read(table, name, STEP)?;
    let heading = match rows.before {
        Representation::Obsm(_) => "components",
        Representation::Layer(_) => "layer",
        Representation::X => "latents",
    };
    let reduced = match after.ncols() {
        n if n != before.ncols() => format!(", reduced to {n} components as well"),
        _ => String::new(),
    };
    let words = format!(
        "Before the correction: {}. After it: {}{reduced}.",
        rows.before, rows.after
    );
    let measured = vec![
        (heading, measure(&before)?),
        ("corrected", measure(&after)?),
    ];
    Ok(Some((words, measured)))
}

/// The rows of the cells, where they were corrected; an error where that is not the correction of the run.
fn corrected(run: &Run<'_>, table: &Table) -> Result<Option<NeighborRows>> {
    let cluster = &run.config.cluster;
    let is_none = cluster.correction.is_none();
    let rows = match NeighborRows::of(table, &cluster.table) {
        // Earlier versions do not say what they used, and nothing was to be corrected.
        Err(_) if is_none => return Ok(None),
        rows => rows?,
    };
    let is_of_run = rows.correction == cluster.correction
        && rows.batch_key.as_ref() == cluster.batch_key.as_ref().filter(|_| !is_none)
        && rows.confounder_keys == cluster.confounder_keys;
    match is_of_run {
        true => Ok(Some(rows).filter(|_| !is_none)),
        false => Err(Error::data(
            STEP,
            "the cells were clustered again since the run, with another correction",
        )),
    }
}

/// How batches mix in the rows, and how clusters keep together, by the usual numbers of neighbours.
fn measures(
    rows: &Array2<f64>,
    batches: &[u32],
    clusters: Option<&[u32]>,
    progress: &dyn Progress,
) -> Result<Vec<Measure>> {
    let config = BatchReportConfig::default();
    let most = config
        .lisi_neighbors
        .max(config.kbet_neighbors)
        .max(config.connectivity_neighbors)
        .min(rows.nrows().saturating_sub(1));
    let neighbors = nearest_neighbors(rows.view(), most, config.metric, progress)?;
    let near = neighbors.truncated(config.lisi_neighbors);
    let around = neighbors.truncated(config.kbet_neighbors);
    let mut measures = vec![
        (
            "iLISI",
            integration_lisi(&near, batches, &config.lisi, progress)?,
            "1: the neighbours of a cell come from all batches alike; 0: from one",
        ),
        (
            "kBET",
            kbet(&around, batches, &config.kbet, progress)?.acceptance,
            "the share of cells whose neighbours come from the batches as if by chance",
        ),
        (
            "variance between batches",
            batch_variance(rows.view(), batches, progress)?,
            "the share of the variance that lies between the batches",
        ),
    ];
    if let Some(clusters) = clusters {
        measures.extend(of_clusters(&neighbors, clusters, &config, progress)?);
    }
    Ok(measures)
}

/// Whether the neighbours of cells are of their cluster.
fn of_clusters(
    neighbors: &Neighbors,
    clusters: &[u32],
    config: &BatchReportConfig,
    progress: &dyn Progress,
) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    let near = neighbors.truncated(config.lisi_neighbors);
    match label_lisi(&near, clusters, &config.lisi, progress) {
        Ok(lisi) => {
            let says = "1: the neighbours of a cell are of its cluster; 0: of all clusters alike";
            measures.push(("cLISI of the clusters", lisi, says));
        }
        // Of a single cluster there is nothing to tell.
        Err(phenocoder_embed::Error::TooFew { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let linked = neighbors.truncated(config.connectivity_neighbors);
    let connected = graph_connectivity(&linked, clusters, progress)?;
    let says = "1: the cells of every cluster hang together";
    measures.push(("connectivity of the clusters", connected, says));
    Ok(measures)
}

/// The map of samples or subunits.
fn samples(run: &Run<'_>) -> Result<Picture> {
    if run.report.embedding.is_none() {
        let why = "fewer than three samples (or subunits, where they are asked for) were described: no map of them";
        return Err(Error::data(STEP, why));
    }
    if run.config.embedding.graph.umap.is_none() {
        return Err(Error::data(STEP, "no map of the samples was made"));
    }
    let figure = figures::samples(run.store, run.config, &run.settings.figures)?;
    let (title, what) = match run.config.subunits {
        Some(_) => ("Subunits", "subunits"),
        None => ("Samples", "samples"),
    };
    let caption = format!("Near each other: {what} whose cells are arranged alike.");
    Picture::new("samples", title, figure, caption)
}

/// What was made with what.
fn origins(run: &Run<'_>, manifest: &Part<DatasetManifest>) -> Vec<(&'static str, String)> {
    let hash = match std::fs::read(&run.files.model) {
        Ok(bytes) => {
            let hash = Sha256::digest(bytes);
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        Err(error) => format!("cannot be read: {error}"),
    };
    let config = run.config;
    let mut origins = vec![
        ("store", run.store.address()),
        ("model", run.files.model.display().to_string()),
        ("SHA-256 of the model file", hash),
        ("device, and why this one", run.report.fit.device.clone()),
        (
            "phenocoder, this page",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        (
            "phenocoder, patches",
            manifest
                .as_ref()
                .map_or_else(Clone::clone, |m| m.version.clone()),
        ),
        (
            "seed of training",
            serde_json::json!(config.train.seed).to_string(),
        ),
        (
            "seed of this page",
            serde_json::json!(run.settings.seed).to_string(),
        ),
    ];
    if let Some(command) = &run.settings.command {
        origins.push(("command", command.clone()));
    }
    origins
}

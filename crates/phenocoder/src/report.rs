//! One page of a run: an HTML file that holds everything it shows, to read, to send and to give a talk with.
//!
//! [`write_report`] gathers what the six steps of the [pipeline](crate::pipeline) found and puts it into a single file: a map
//! of the cells with their pictures, typical and odd cells of each cluster, what the samples consist of, who lies beside whom,
//! which statistics differ between conditions, what the latents mean, how the training went, which cells were left out and
//! why, how channels were scaled, and all settings.
//!
//! * The file needs nothing else: no server, no network, no other file. A content security policy in it forbids the
//!   browser to load anything.
//! * The same run gives the same bytes, on any number of threads; no time and no date stand in it.
//! * What is not there (no samples to compare, no map, pictures that are gone) is said in its place; the rest of the page stays.
//! * Names of samples, labels and columns are text, whatever they contain.
//! * Colours are chosen for every kind of colour vision; above 8 labels points of cells also differ in shape and bars in
//!   pattern. Up to 64 labels of cells differ; beyond them colours and shapes come again, and the page says so. On the map of
//!   samples colours stand for conditions alone, and shapes for batches.
//! * The page can be used by mouse, touch and keyboard.
//! * What it shows as pictures can be had as files of their own, PNG and SVG: see [`figures`].
//! * The file is no larger than [`ReportConfig::max_bytes`], as far as leaving out pictures and cells can do it: what had to
//!   be left out for that is said on the page and in [`ReportFile::notes`].
//!
//! ```no_run
//! use phenocoder::core::NoProgress;
//! use phenocoder::io::Store;
//! use phenocoder::report::{ReportConfig, write_report_of_folder};
//!
//! let store = Store::open("tissue.zarr")?;
//! let written = write_report_of_folder("results".as_ref(), &store, &ReportConfig::new(), &NoProgress)?;
//! println!("{}: {} bytes", written.path.display(), written.bytes);
//! # Ok::<(), phenocoder::Error>(())
//! ```

mod cells;
mod data;
pub mod figures;
mod gallery;
mod gather;
mod html;
mod marks;
mod page;
mod sections;
mod sprites;
mod traversal;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use phenocoder_core::{Progress, Seed, WithinStage};
use phenocoder_io::{PatchSet, Store};
use phenocoder_plot::write_whole;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pipeline::figures::FigureConfig;
use crate::pipeline::{PipelineConfig, PipelineReport, RunFiles, read_json};
use cells::Cells;
use figures::DrawnFigures;
use gather::{Gathered, Run};
use page::{Limits, Material, Page};

const STEP: &str = "report";
/// What is told as progress before anything is written: cells, walks, the other sections.
const READS: u64 = 3;

/// A part of the page, or why there is none.
type Part<T> = Result<T, String>;

/// A result as a part of the page: errors become words, but for the wish to stop.
fn part<T>(result: Result<T>, progress: &dyn Progress) -> Result<Part<T>> {
    let error = match result {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    progress.check()?;
    Ok(Err(match error {
        Error::Data {
            step: STEP,
            problem,
        } => problem,
        error => error.to_string(),
    }))
}

/// A part of the page that something else is made of.
fn known<T>(part: &Part<T>) -> Result<&T> {
    part.as_ref().map_err(|why| Error::data(STEP, why.clone()))
}

/// The colours that channels have in pictures of cells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChannelColors {
    /// Two channels are magenta and green, the first three of more are cyan, magenta and yellow; each can be switched on and
    /// off on the page. One alone, or the only one that is switched on, is grey.
    #[default]
    Auto,
    /// Red, green and blue of channels by name, which they keep where one is seen alone; others as with `Auto`.
    Named(Vec<(String, [u8; 3])>),
}

/// Settings of [`write_report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ReportConfig {
    /// The heading; `None` (the default) is the name of the store.
    pub title: Option<String>,
    /// Columns with what is known of cells and samples: a truth to compare clusters with, conditions to compare samples of,
    /// and batches.
    pub figures: FigureConfig,
    /// Cells on the map at most (default 50,000); of more, a share of each cluster in each sample.
    pub max_cells: usize,
    /// Cells with a picture at most (default 3,000).
    pub max_patches: usize,
    /// Pictures of each cluster, half of them of typical cells, half of odd ones (default 12).
    pub patches_per_cluster: usize,
    /// Latents whose meaning is shown, those that vary most (default 6).
    pub traversed: usize,
    /// The colours of the channels.
    pub channels: ChannelColors,
    /// The size of the file at most (default 12 MB), as far as leaving out pictures and cells can do it: a page that is
    /// larger even so is written, and says that it is.
    pub max_bytes: usize,
    /// Which cells are shown where not all are.
    pub seed: Seed,
    /// The command that made the run, if it shall stand on the page; it is shown as it is, so leave secrets (those in
    /// addresses, say) out of it.
    pub command: Option<String>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            title: None,
            figures: FigureConfig::default(),
            max_cells: 50_000,
            max_patches: 3_000,
            patches_per_cluster: 12,
            traversed: 6,
            channels: ChannelColors::default(),
            max_bytes: 12_000_000,
            seed: Seed::new(0),
            command: None,
        }
    }
}

impl ReportConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Names the columns with what is known of cells and samples.
    #[must_use]
    pub fn with_figures(mut self, figures: FigureConfig) -> Self {
        self.figures = figures;
        self
    }

    /// Sets the number of cells on the map.
    #[must_use]
    pub fn with_max_cells(mut self, cells: usize) -> Self {
        self.max_cells = cells;
        self
    }

    /// Sets the number of cells with a picture.
    #[must_use]
    pub fn with_max_patches(mut self, patches: usize) -> Self {
        self.max_patches = patches;
        self
    }

    /// Sets the number of pictures of each cluster.
    #[must_use]
    pub fn with_patches_per_cluster(mut self, patches: usize) -> Self {
        self.patches_per_cluster = patches;
        self
    }

    /// Sets the number of latents whose meaning is shown.
    #[must_use]
    pub fn with_traversed(mut self, latents: usize) -> Self {
        self.traversed = latents;
        self
    }

    /// Sets the colours of the channels.
    #[must_use]
    pub fn with_channels(mut self, colors: ChannelColors) -> Self {
        self.channels = colors;
        self
    }

    /// Sets the size of the file.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets which cells are shown where not all are.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the command that stands on the page, where it is shown as it is: with all secrets in it.
    #[must_use]
    pub fn with_command(mut self, command: Option<String>) -> Self {
        self.command = command;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (
                (1..=1_000_000).contains(&self.max_cells),
                "max_cells",
                "from 1 to 1,000,000",
            ),
            // More do not fit into an image that every browser shows.
            (self.max_patches <= 6_000, "max_patches", "at most 6,000"),
            (
                self.patches_per_cluster <= 48,
                "patches_per_cluster",
                "at most 48",
            ),
            (self.traversed <= 32, "traversed", "at most 32"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected)) => Err(Error::config(STEP, field, expected)),
            None => Ok(()),
        }
    }
}

/// What [`write_report`] wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReportFile {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Cells on the map.
    pub cells_shown: usize,
    /// Cells with a picture.
    pub patches_shown: usize,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Writes the page of a run to `path`, whole or not at all.
///
/// # Errors
///
/// [`Error::Config`] for settings out of range, [`Error::Data`] when the file cannot be written, [`Error::Cancelled`].
/// What the run wrote and is gone or damaged is no error: the page says so.
pub fn write_report(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    settings: &ReportConfig,
    path: &Path,
    progress: &dyn Progress,
) -> Result<ReportFile> {
    let _span = tracing::info_span!(STEP).entered();
    let within = WithinStage(progress);
    let run = Run {
        store,
        config,
        report,
        files,
        settings,
        progress: &within,
    };
    let page = write_page(&material(&run, STEP, 1, progress)?, path)?;
    progress.advance(1);
    progress.finish();
    Ok(page)
}

/// Writes the page of a run to [`RunFiles::html`], and then its [figures] into `folder`, as
/// [`write_report`] and [`figures::draw`] do; what both are made of is read and computed once.
///
/// # Errors
///
/// As [`write_report`] and [`figures::draw`].
pub fn write_report_and_figures(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    settings: &ReportConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(ReportFile, DrawnFigures)> {
    let _span = tracing::info_span!(STEP).entered();
    settings.validate()?;
    figures::make_folder(folder)?;
    let within = WithinStage(progress);
    let run = Run {
        store,
        config,
        report,
        files,
        settings,
        progress: &within,
    };
    let material = material(&run, STEP, 2, progress)?;
    let page = write_page(&material, &files.html)?;
    progress.advance(1);
    let drawn = figures::drawn(&material)?;
    progress.advance(1);
    progress.finish();
    let drawn = figures::write(drawn, settings, folder, progress)?;
    Ok((page, drawn))
}

/// Writes the page and says what is on it.
fn write_page(material: &Material<'_>, path: &Path) -> Result<ReportFile> {
    let page = compose(material)?;
    write_whole(path, page.html.as_bytes())
        .map_err(|error| Error::data(STEP, format!("`{}`: {error}", path.display())))?;
    Ok(ReportFile {
        path: path.to_owned(),
        bytes: page.html.len() as u64,
        cells_shown: page.cells,
        patches_shown: page.pictures,
        notes: page.notes,
    })
}

/// The page of a run, with as much on it as fits.
fn compose(material: &Material<'_>) -> Result<Page> {
    let settings = material.run.settings;
    let most = settings.max_bytes;
    let mut limits = Limits::new(settings);
    loop {
        material.run.progress.check()?;
        let page = material.compose(&limits)?;
        if page.html.len() <= most || !limits.lower() {
            return Ok(page);
        }
    }
}

/// Reads everything that the page and its pictures are made of.
///
/// Begins to tell `shown` of a step with so many pieces of work after this one. What the parts tell of their own progress is
/// not shown.
fn material<'a>(
    run: &Run<'a>,
    step: &str,
    after: u64,
    shown: &dyn Progress,
) -> Result<Material<'a>> {
    run.settings.validate()?;
    shown.check()?;
    shown.start(step, Some(READS + after));
    let patches = part(
        PatchSet::open(&run.files.patches).map_err(Error::from),
        run.progress,
    )?;
    let cells = part(Cells::read(run, &patches), run.progress)?;
    shown.advance(1);
    let walks = match &cells {
        Ok(cells) => part(traversal::walks(run, cells, &patches), run.progress)?,
        Err(why) => Err(why.clone()),
    };
    shown.advance(1);
    let gathered = Gathered::new(run, &cells)?;
    shown.advance(1);
    Ok(Material::new(*run, gathered, cells, walks, patches))
}

/// Writes the page of the run in `folder` as `report.html` there, by the `config.json` and the `report.json` of it.
///
/// # Errors
///
/// As [`write_report`], and [`Error::Data`] when the folder holds no complete run, or one whose files cannot be read, with the
/// reason.
pub fn write_report_of_folder(
    folder: &Path,
    store: &Store,
    settings: &ReportConfig,
    progress: &dyn Progress,
) -> Result<ReportFile> {
    let (files, config, report) = run_of_folder(folder)?;
    let path = files.html.clone();
    write_report(store, &config, &report, &files, settings, &path, progress)
}

/// What the run in `folder` left there.
fn run_of_folder(folder: &Path) -> Result<(RunFiles, PipelineConfig, PipelineReport)> {
    let files = RunFiles::new(folder);
    let config = read_file(&files.config)?;
    let report = read_file(&files.report)?;
    Ok((files, config, report))
}

/// What a file of the run holds.
fn read_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    read_json(path).map_err(|error| {
        let path = path.display();
        let problem = match error.kind() {
            ErrorKind::NotFound => format!("`{path}` is not there: no complete run"),
            _ => format!("`{path}` cannot be read: {error}"),
        };
        Error::data(STEP, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_json_and_are_checked() {
        let colors = ChannelColors::Named(vec![("DNA".to_owned(), [0, 0, 255])]);
        let settings = ReportConfig::new().with_title("t").with_channels(colors);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<ReportConfig>(&text).unwrap(),
            settings
        );
        assert!(serde_json::from_str::<ReportConfig>(r#"{"titel":"x"}"#).is_err());
        for (settings, field) in [
            (ReportConfig::new().with_max_cells(0), "max_cells"),
            (ReportConfig::new().with_max_patches(9_000), "max_patches"),
            (
                ReportConfig::new().with_patches_per_cluster(99),
                "patches_per_cluster",
            ),
            (ReportConfig::new().with_traversed(99), "traversed"),
        ] {
            let message = settings.validate().unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
    }
}

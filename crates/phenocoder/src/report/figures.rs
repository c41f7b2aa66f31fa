//! The pictures of a run's [page](super), each as a file of its own, for a talk or a paper.
//!
//! What the page shows as pictures, bars or rows of small pictures becomes one figure each, made of the same numbers and of
//! the same cells: of many cells a share of each cluster in each sample, as [`ReportConfig::max_cells`] and
//! [`ReportConfig::max_patches`] say.
//! [`ReportConfig::max_bytes`] is for the page alone.
//!
//! | section of the page | names of the figures |
//! |---|---|
//! | `cells` | `cells`: the map by cluster and, where one is named, by the truth |
//! | `clusters` | `gallery`: typical and odd cells; `agreement`: clusters and the truth, where one is named |
//! | `composition` | `composition` |
//! | `neighbours` | `interactions_R` for each radius R, such as `interactions_25` |
//! | `conditions` | `comparison` |
//! | `samples` | `samples` |
//! | `batches` | `batches` |
//! | `latents` | `latents` |
//! | `training` | `training`, `training_P` for each part P of the loss, such as `training_kl`; `learning_rate`; `montage` |
//! | `left-out` | `left_out` |
//! | `scaling` | `scaling`, `saturation` |
//!
//! Figures come in this order, and a name always stands for the same figure; a name that comes again gets a number.
//! Labels have the colours, shapes and patterns of the page ([`Mark`](phenocoder_plot::Mark)).
//! Where the cells lie in the tissue is seen on the page alone.
//!
//! ```no_run
//! use phenocoder::core::NoProgress;
//! use phenocoder::io::Store;
//! use phenocoder::pipeline::figures::{FigureConfig, FigureFormat};
//! use phenocoder::report::ReportConfig;
//! use phenocoder::report::figures::draw_of_folder;
//!
//! let store = Store::open("tissue.zarr")?;
//! let figures = FigureConfig::new().with_format(FigureFormat::Both);
//! let settings = ReportConfig::new().with_figures(figures);
//! let drawn = draw_of_folder("results".as_ref(), &store, &settings, "figures".as_ref(), &NoProgress)?;
//! for missing in &drawn.missing {
//!     println!("no {}: {}", missing.name, missing.why);
//! }
//! # Ok::<(), phenocoder::Error>(())
//! ```

mod arrangement;
mod cells;
mod quality;

use std::path::{Path, PathBuf};

use phenocoder_core::{Progress, WithinStage};
use phenocoder_io::Store;
use phenocoder_plot::Figure;

use super::gather::{Picture, Run, interactions_name};
use super::page::{Limits, Material};
use super::{Part, ReportConfig, STEP, material, part, run_of_folder};
use crate::error::{Error, Result};
use crate::pipeline::{PipelineConfig, PipelineReport, RunFiles};

/// A picture with the name that its file has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamedFigure {
    /// The name, without extension.
    pub name: String,
    /// The section of the page that shows the same.
    pub section: &'static str,
    /// The picture.
    pub figure: Figure,
}

/// A picture that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingFigure {
    /// The name that its file would have.
    pub name: String,
    /// The section of the page, which gives the same reason for what is missing there too.
    pub section: &'static str,
    /// Why it could not be made.
    pub why: String,
}

/// What [`all`] gives.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct RunFigures {
    /// The pictures, in the order of the page.
    pub figures: Vec<NamedFigure>,
    /// What could not be made, in the same order.
    pub missing: Vec<MissingFigure>,
}

/// What [`draw`] wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrawnFigures {
    /// The files, in the order of the page.
    pub paths: Vec<PathBuf>,
    /// What could not be made, in the same order; then what has too many pixels for a file.
    pub missing: Vec<MissingFigure>,
}

impl RunFigures {
    /// Adds a figure, or why there is none, below this heading; a name that comes again gets a number.
    fn add(&mut self, section: &'static str, name: &str, title: &str, figure: Part<Figure>) {
        let figures = self.figures.iter().map(|figure| &figure.name);
        let missing = self.missing.iter().map(|missing| &missing.name);
        let names: Vec<&String> = figures.chain(missing).collect();
        // Some file systems take capital and small letters for the same.
        let name = untaken(name, |name| {
            names.iter().any(|taken| taken.eq_ignore_ascii_case(name))
        });
        match figure {
            Ok(figure) => self.figures.push(NamedFigure {
                name,
                section,
                figure: figure.with_title(title),
            }),
            Err(why) => self.missing.push(MissingFigure { name, section, why }),
        }
    }

    /// Adds a picture of the page, or why there is none; `name` is what it is called then.
    fn add_picture(&mut self, section: &'static str, name: &str, picture: &Part<Picture>) {
        match picture {
            Ok(picture) => self.add_one(section, picture),
            Err(why) => self.add(section, name, "", Err(why.clone())),
        }
    }

    /// Adds a picture of the page.
    fn add_one(&mut self, section: &'static str, picture: &Picture) {
        let figure = Ok(picture.figure.clone());
        self.add(section, &picture.name, &picture.title, figure);
    }
}

/// The pictures of a run by their names, which the [module](self) lists.
///
/// What the run did not make, or what is gone since, is no error but listed with its reason, as on the page.
///
/// # Errors
///
/// [`Error::Config`] for settings out of range, [`Error::Cancelled`].
pub fn all(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    settings: &ReportConfig,
    progress: &dyn Progress,
) -> Result<RunFigures> {
    let _span = tracing::info_span!("figures").entered();
    let within = WithinStage(progress);
    let run = Run {
        store,
        config,
        report,
        files,
        settings,
        progress: &within,
    };
    let figures = drawn(&material(&run, "figures", 1, progress)?)?;
    progress.advance(1);
    progress.finish();
    Ok(figures)
}

/// Writes the pictures of a run, [`all`] of them, into `folder`, in the formats that [`ReportConfig::figures`] names.
///
/// A file of the same name is replaced, each whole or not at all; other files in the folder stay.
///
/// # Errors
///
/// As [`all`], [`Error::Data`] when the folder cannot be made, and [`Error::Plot`] when a file cannot be written.
/// A picture with too many pixels for a file is no error but listed with its reason.
pub fn draw(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    settings: &ReportConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<DrawnFigures> {
    settings.validate()?;
    make_folder(folder)?;
    let figures = all(store, config, report, files, settings, progress)?;
    write(figures, settings, folder, progress)
}

/// Makes the folder of the figures, unless it is there.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let folder = folder.display();
        Error::data(STEP, format!("`{folder}` cannot be made: {error}"))
    })
}

/// Writes the figures in the formats asked for, and tells of each file; those that are no file are missing.
pub(super) fn write(
    RunFigures {
        figures,
        mut missing,
    }: RunFigures,
    settings: &ReportConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<DrawnFigures> {
    let extensions = settings.figures.format.extensions();
    let files = figures.len() * extensions.len();
    progress.start("figure files", Some(files as u64));
    let mut paths = Vec::new();
    for drawn in figures {
        for extension in extensions {
            progress.check()?;
            // Not `with_extension`: the name of a radius may hold a point.
            let path = folder.join(format!("{}.{extension}", drawn.name));
            match drawn.figure.write(&path) {
                Ok(()) => paths.push(path),
                Err(error @ phenocoder_plot::Error::PixelSize { .. }) => {
                    missing.push(MissingFigure {
                        name: drawn.name.clone(),
                        section: drawn.section,
                        why: format!("as {extension}: {error}"),
                    });
                }
                Err(error) => return Err(error.into()),
            }
            progress.advance(1);
        }
    }
    progress.finish();
    Ok(DrawnFigures { paths, missing })
}

/// As [`draw`], by the `config.json` and the `report.json` of the run in `run`.
///
/// # Errors
///
/// As [`draw`], and [`Error::Data`] when `run` holds no complete run, or one whose files cannot be read, with the reason.
pub fn draw_of_folder(
    run: &Path,
    store: &Store,
    settings: &ReportConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<DrawnFigures> {
    let (files, config, report) = run_of_folder(run)?;
    draw(store, &config, &report, &files, settings, folder, progress)
}

/// Every figure of the page, section by section in its order.
pub(super) fn drawn(material: &Material<'_>) -> Result<RunFigures> {
    let mut out = RunFigures::default();
    found(material, &mut out)?;
    made(material, &mut out)?;
    Ok(out)
}

/// What the cells and the samples are like.
fn found(material: &Material<'_>, out: &mut RunFigures) -> Result<()> {
    let gathered = &material.gathered;
    let (map, gallery) = match &material.cells {
        Ok(all) => {
            // As the page before anything of it is left out for its size.
            let (shown, _) = material.choose(all, &Limits::new(material.run.settings));
            let gallery = cells::gallery(material, all, &shown);
            (
                tried(material, cells::map(material, all, &shown))?,
                tried(material, gallery)?,
            )
        }
        Err(why) => (Err(why.clone()), Err(why.clone())),
    };
    out.add("cells", "cells", "", map);
    out.add(
        "clusters",
        "gallery",
        "Typical and odd cells of each cluster",
        gallery,
    );
    if let Some(agreement) = &gathered.agreement {
        out.add_picture("clusters", "agreement", agreement);
    }
    let composition = tried(material, arrangement::composition(material))?;
    let title = "Composition of the samples";
    out.add("composition", "composition", title, composition);
    for (radius, picture) in &gathered.interactions {
        out.add_picture("neighbours", &interactions_name(*radius), picture);
    }
    let comparison = tried(material, arrangement::comparison(material))?;
    let title = "Statistics that differ most between the conditions";
    out.add("conditions", "comparison", title, comparison);
    out.add_picture("samples", "samples", &gathered.samples);
    let batches = tried(material, arrangement::batches(material))?;
    out.add("batches", "batches", "How the batches mix", batches);
    Ok(())
}

/// How that came about.
fn made(material: &Material<'_>, out: &mut RunFigures) -> Result<()> {
    let gathered = &material.gathered;
    let latents = tried(material, cells::latents(material))?;
    let title = "The mean cell with single latents moved";
    out.add("latents", "latents", title, latents);
    match &gathered.training {
        Ok(pictures) => pictures
            .iter()
            .for_each(|picture| out.add_one("training", picture)),
        Err(why) => out.add("training", "training", "", Err(why.clone())),
    }
    out.add_picture("training", "montage", &gathered.montage);
    let left_out = tried(material, quality::left_out(material))?;
    out.add("left-out", "left_out", "Cells of the table", left_out);
    let scaling = tried(material, quality::scaling(material))?;
    let title = "Brightness that becomes 0 and 1";
    out.add("scaling", "scaling", title, scaling);
    let saturation = tried(material, quality::saturation(material))?;
    let title = "Saturated pixels in the patches";
    out.add("scaling", "saturation", title, saturation);
    Ok(())
}

/// The figure, or why there is none; an error where the caller asked to stop.
fn tried(material: &Material<'_>, figure: Result<Figure>) -> Result<Part<Figure>> {
    part(figure, material.run.progress)
}

/// The name, with a number where it is taken.
fn untaken(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2_usize..).map(|n| format!("{name}_{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| name.to_owned())
}

/// The height of a figure with so many rows.
fn height_of(rows: usize) -> f64 {
    (130.0 + 24.0 * rows as f64).clamp(240.0, 9_000.0)
}

/// Square points of a figure at most: its pixels at two per point take 4 × 4 bytes of memory for each of them.
const MOST_AREA: f64 = 24e6;

/// Width and height, both lessened where a figure of them would be too large for the memory.
fn within_area(width: f64, height: f64) -> (f64, f64) {
    let lessened = (MOST_AREA / (width * height)).sqrt().min(1.0);
    (width * lessened, height * lessened)
}

#[cfg(test)]
mod tests {
    use phenocoder_core::NoProgress;
    use phenocoder_plot::{Curve, CurvesConfig, curves};

    use super::*;

    #[test]
    fn figures_are_high_enough_for_their_rows_and_can_be_drawn() {
        assert_eq!(height_of(0), 240.0);
        assert!(height_of(30) / 30.0 > 24.0);
        assert_eq!(height_of(1_000_000), 9_000.0);
    }

    #[test]
    fn both_sides_of_a_figure_that_is_too_large_are_lessened_alike() {
        assert_eq!(within_area(9_000.0, 2_000.0), (9_000.0, 2_000.0));
        let (width, height) = within_area(9_000.0, 4_500.0);
        assert!((width / height - 2.0).abs() < 1e-9);
        assert!((width * height / MOST_AREA - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_made_is_listed_with_its_reason() {
        let mut out = RunFigures::default();
        out.add("cells", "cells", "Cells", Err("no map was made".to_owned()));
        assert!(out.figures.is_empty());
        let missing = &out.missing[0];
        assert_eq!(
            (missing.name.as_str(), missing.why.as_str()),
            ("cells", "no map was made")
        );
    }

    /// A figure of this width.
    fn figure(width: f64) -> Figure {
        let settings = CurvesConfig::default().with_size(width, 300.0);
        curves(&[Curve::over_epochs("loss", vec![1.0])], &settings).unwrap()
    }

    #[test]
    fn names_that_come_again_get_numbers() {
        let mut out = RunFigures::default();
        for name in ["training_a_b", "training_a_b", "Training_A_B"] {
            out.add("training", name, "", Ok(figure(300.0)));
        }
        out.add("training", "training_a_b", "", Err("gone".to_owned()));
        let names: Vec<&str> = out.figures.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["training_a_b", "training_a_b_2", "Training_A_B_3"]);
        assert_eq!(out.missing[0].name, "training_a_b_4");
    }

    #[test]
    fn a_figure_with_too_many_pixels_does_not_keep_others_from_being_written() {
        let mut out = RunFigures::default();
        let wide = figure(9_000.0).beside(figure(9_000.0));
        out.add("scaling", "scaling", "", Ok(wide));
        out.add("scaling", "saturation", "", Ok(figure(300.0)));
        let folder = tempfile::tempdir().unwrap();
        let settings = ReportConfig::new();
        let drawn = write(out.clone(), &settings, folder.path(), &NoProgress).unwrap();
        assert_eq!(drawn.paths, [folder.path().join("saturation.png")]);
        assert_eq!(drawn.missing[0].name, "scaling");
        let why = &drawn.missing[0].why;
        assert!(why.starts_with("as png: a picture of 36000 × 600"), "{why}");
        let nowhere = folder.path().join("nowhere");
        let refused = write(out, &settings, &nowhere, &NoProgress);
        assert!(matches!(refused, Err(Error::Plot(_))), "{refused:?}");
    }
}

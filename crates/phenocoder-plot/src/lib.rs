//! Pictures of what phenocoder finds, as PNG and as SVG.
//!
//! Each function lays out one kind of picture and returns a [`Figure`], which is drawn only when it is asked for bytes or
//! written to a file.
//! Take only this crate if you have points, curves, matrices or patches in arrays and want a picture for a talk; it knows
//! nothing of stores, networks or statistics.
//!
//! ```
//! use phenocoder_plot::{Curve, CurvesConfig, curves};
//!
//! let losses = [
//!     Curve::over_epochs("training", vec![620.0, 541.0, 512.0]),
//!     Curve::over_epochs("validation", vec![630.0, 560.0, 548.0]),
//! ];
//! let config = CurvesConfig::default().with_title("Training").with_labels("epoch", "loss");
//! let folder = tempfile::tempdir()?;
//! curves(&losses, &config)?.write(folder.path().join("loss.png"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Catalogue
//!
//! | question | function |
//! |---|---|
//! | Did the training converge? | [`curves`] |
//! | Does the network see the cells? | [`montage`] |
//! | What groups of cells are there, and where? | [`scatter`] |
//! | Which groups of cells are neighbors? | [`heat_map`] |
//! | How do the samples differ? | [`sample_map`] |
//! | How many cells of each kind are there? | [`bars`] |
//! | What are the numbers before and after? | [`grouped_bars`] |
//! | From where to where does it reach, and how large is the effect? | [`intervals`] |
//! | What do cells of each group look like? | [`contact_sheet`] |
//!
//! Two pictures stand in one with [`Figure::beside`], and one gets a heading with [`Figure::with_title`]; pixels become a file as they are with [`png_rgb8`] and [`png_grey8`].
//!
//! # Colors
//!
//! Categories have the colours of Okabe and Ito, continued by colours that were chosen to differ also for people with
//! deuteranopia or protanopia ([`category_color`]); beyond 8 of them points also differ in shape and bars in pattern ([`Mark`]).
//! Numbers have maps of even steps in lightness ([`ColorMap`]).
//! What is missing is grey.
//!
//! # Sameness
//!
//! The same input gives the same bytes, on machines with and without fonts.
//! Text in PNG is drawn with Noto Sans (SIL Open Font License 1.1), which the crate `notosans` carries; the characters of
//! scripts that it lacks become empty boxes.
//! Text in SVG stays text: the viewer takes Noto Sans if it has it, and another font without serifs otherwise.

mod axis;
mod bars;
mod color;
mod contact_sheet;
mod curves;
mod error;
mod figure;
mod font;
mod grouped_bars;
mod heat_map;
mod intervals;
mod layout;
mod mark;
mod montage;
mod raster;
mod sample_map;
mod scatter;
mod scene;
mod svg;

pub use bars::{BarsConfig, bars};
pub use color::{ColorMap, Rgb, category_color};
pub use contact_sheet::{ContactSheetConfig, SheetRow, contact_sheet};
pub use curves::{Curve, CurvesConfig, curves};
pub use error::{ConfigError, Error, Result};
pub use figure::Figure;
// Not of a picture's making, but the page and the records of a run are written in the same way.
#[doc(hidden)]
pub use figure::write_whole;
pub use grouped_bars::{GroupedBarsConfig, grouped_bars};
pub use heat_map::{HeatMapConfig, heat_map};
pub use intervals::{Interval, IntervalsConfig, intervals};
pub use mark::Mark;
pub use montage::{Contrast, MontageConfig, montage};
pub use raster::{png_grey8, png_rgb8};
pub use sample_map::{SampleMapConfig, sample_map};
pub use scatter::{AxesStyle, ColorBy, LegendPlace, ScatterConfig, scatter};
// The page replaces the same characters as pictures do.
#[doc(hidden)]
pub use svg::turns_reading;

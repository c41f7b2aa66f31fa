//! What can go wrong.

use std::path::PathBuf;

use phenocoder_core::ShapeError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a picture could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two inputs that must agree in length or form do not.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An interval ends before it begins.
    #[error(
        "row `{row}`, panel `{panel}`: the interval from {low} to {high} ends before it begins"
    )]
    Interval {
        /// The name of the row.
        row: String,
        /// The name of the panel.
        panel: String,
        /// Where it was said to begin.
        low: f64,
        /// Where it was said to end.
        high: f64,
    },
    /// The path's extension names no format that can be written.
    #[error("`{}`: expected the extension `png` or `svg`", path.display())]
    Extension {
        /// The path.
        path: PathBuf,
    },
    /// The picture has too many pixels, or none.
    #[error("a picture of {width} × {height} pixels cannot be drawn (at most {max} pixels a side)")]
    PixelSize {
        /// The width in pixels.
        width: f64,
        /// The height in pixels.
        height: f64,
        /// The longest side that can be drawn.
        max: u32,
    },
    /// The PNG could not be encoded.
    #[error("the pixels could not be encoded as PNG")]
    Encode {
        /// The encoder's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync + 'static>,
    },
    /// The file could not be written.
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// A setting of a picture is out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number does not lie where it must.
    #[error("`{name}`: expected {expected}, found {found}")]
    Value {
        /// The field.
        name: &'static str,
        /// What is allowed, in words.
        expected: &'static str,
        /// What was given.
        found: String,
    },
}

impl ConfigError {
    /// Checks that a picture's size can be laid out.
    pub(crate) fn check_size(size: (f64, f64)) -> Result<(), Self> {
        let fits = |side: f64| (120.0..=10_000.0).contains(&side);
        if fits(size.0) && fits(size.1) {
            return Ok(());
        }
        Err(Self::Value {
            name: "size",
            expected: "a width and a height from 120 to 10000",
            found: format!("{} × {}", size.0, size.1),
        })
    }

    /// Checks that the ends of a range are finite and rise.
    pub(crate) fn check_limits(limits: Option<(f64, f64)>) -> Result<(), Self> {
        match limits {
            Some((low, high)) if !(low.is_finite() && high.is_finite() && low < high) => {
                Err(Self::Value {
                    name: "limits",
                    expected: "two finite numbers that rise",
                    found: format!("{low} and {high}"),
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a number is finite and lies in a closed range.
    pub(crate) fn check_range(
        name: &'static str,
        value: f64,
        (low, high): (f64, f64),
        expected: &'static str,
    ) -> Result<(), Self> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(Self::Value {
            name,
            expected,
            found: value.to_string(),
        })
    }
}

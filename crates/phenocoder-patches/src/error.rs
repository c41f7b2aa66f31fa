//! What can go wrong between a table of cells and its patches.

use phenocoder_core::{Cancelled, ShapeError, SourceError};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A setting that makes no sense, found before any data is read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A length that must be at least one is zero.
    #[error("`{field}` must be at least 1")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// A number lies outside of its range.
    #[error("`{field}` must be {expected}, found {found}")]
    Range {
        /// The setting.
        field: &'static str,
        /// The range, in words.
        expected: &'static str,
        /// The value found.
        found: f64,
    },
    /// Patches that are turned by right angles must be square.
    #[error("`{field}` needs square patches, found {height} × {width}")]
    NotSquare {
        /// The setting.
        field: &'static str,
        /// Rows of a patch.
        height: usize,
        /// Columns of a patch.
        width: usize,
    },
}

impl ConfigError {
    /// Refuses a number that is not `valid`, and says what was `expected`.
    pub(crate) fn check_range(
        field: &'static str,
        found: f64,
        valid: bool,
        expected: &'static str,
    ) -> Result<(), Self> {
        if valid {
            return Ok(());
        }
        Err(Self::Range {
            field,
            expected,
            found,
        })
    }
}

/// Selecting, measuring, scaling, extracting, splitting or loading patches failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting makes no sense.
    #[error("invalid configuration")]
    Config(#[from] ConfigError),
    /// An image, a mask or a sink could not be read or written.
    #[error("access to an image, mask or patch set failed")]
    Source(#[from] SourceError),
    /// Two things that must agree in length or form do not.
    #[error("inputs do not fit together")]
    Shape(#[from] ShapeError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A pixel is NaN or infinite.
    #[error(
        "`{image}`: the pixel at channel {channel} (`{channel_name}`), z {z}, y {y}, x {x} is {value}; \
         replace it before patches are made"
    )]
    NotFinitePixel {
        /// The image.
        image: String,
        /// Its channel, counted from 0.
        channel: usize,
        /// The name of the channel.
        channel_name: String,
        /// Its slice.
        z: usize,
        /// Its row.
        y: usize,
        /// Its column.
        x: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A pixel of a patch is NaN or infinite.
    #[error("the pixel at y {y}, x {x}, channel {channel} is {value}")]
    NotFiniteValue {
        /// Its row.
        y: usize,
        /// Its column.
        x: usize,
        /// Its channel.
        channel: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A source that calls its pixels 8- or 16-bit integers handed out something else.
    #[error("`{image}`: a pixel is {value}, which does not fit its type {data_type}")]
    PixelType {
        /// The image.
        image: String,
        /// The type the source states.
        data_type: String,
        /// The value found.
        value: f32,
    },
    /// An image without pixels has no statistics.
    #[error("`{image}` has no pixels: its extent is {extent}")]
    EmptyImage {
        /// The image.
        image: String,
        /// The extent, `c × z × y × x`.
        extent: String,
    },
    /// A sample has cells but no image, or no mask where one is needed.
    #[error("sample `{sample}` has no {what}; samples that have one: {known}")]
    MissingImage {
        /// The sample.
        sample: String,
        /// `image` or `label mask`.
        what: &'static str,
        /// The samples that have one, separated by commas.
        known: String,
    },
    /// A cell does not say which sample it lies in.
    #[error("the cell at row {row} names no sample")]
    NoSample {
        /// The row of the cell.
        row: usize,
    },
    /// Positions are not in pixels.
    #[error("positions are in {found}, but patches need pixels of the image")]
    Unit {
        /// The unit found.
        found: String,
    },
    /// A position is NaN or infinite.
    #[error(
        "the cell at row {row} of sample `{sample}` has the position (z, y, x) = {position}, which is not finite"
    )]
    NotFinitePosition {
        /// The row of the cell.
        row: usize,
        /// Its sample.
        sample: String,
        /// The position.
        position: String,
    },
    /// A cell lies outside of its image.
    #[error(
        "the cell at row {row} of sample `{sample}` lies at (z, y, x) = {position}, outside of its image of {extent} \
         (z × y × x); choose to drop such cells or check the coordinate columns"
    )]
    OutsideImage {
        /// The row of the cell.
        row: usize,
        /// Its sample.
        sample: String,
        /// The pixel found.
        position: String,
        /// The extent of the image.
        extent: String,
    },
    /// Positions have two coordinates, but the image has several slices.
    #[error(
        "positions have no z, but the image of sample `{sample}` has {slices} slices; take all slices or give z"
    )]
    NoSlice {
        /// The sample.
        sample: String,
        /// The number of slices.
        slices: usize,
    },
    /// Two images differ in their channels.
    #[error("sample `{sample}` has the channels [{found}], expected [{expected}]")]
    Channels {
        /// The sample that differs.
        sample: String,
        /// The channels expected.
        expected: String,
        /// The channels found.
        found: String,
    },
    /// A mask does not cover its image.
    #[error(
        "the mask of sample `{sample}` has the extent {found}, expected {expected} (z × y × x)"
    )]
    MaskExtent {
        /// The sample.
        sample: String,
        /// The extent of the image.
        expected: String,
        /// The extent of the mask.
        found: String,
    },
    /// A sample was not seen when the scaling was fitted.
    #[error("the scaling knows no sample `{sample}`; it was fitted on: {known}")]
    UnknownSample {
        /// The sample.
        sample: String,
        /// The samples it was fitted on.
        known: String,
    },
    /// A channel was not seen when the scaling was fitted.
    #[error("the scaling has {channels} channels, there is no channel {channel}")]
    UnknownChannel {
        /// The channel asked for.
        channel: usize,
        /// How many there are.
        channels: usize,
    },
    /// Statistics from which a scaling should be fitted are incomplete.
    #[error(
        "the statistics of sample `{sample}` lack channel {channel}; every sample needs every channel"
    )]
    MissingStatistics {
        /// The sample.
        sample: String,
        /// The channel that is absent.
        channel: usize,
    },
    /// There is nothing to fit or to do.
    #[error("{what} is empty")]
    Empty {
        /// What has no entries.
        what: &'static str,
    },
    /// A label was not seen when the encoder was fitted.
    #[error(
        "column `{column}`: the category `{value}` at row {row} was not seen in training; known: {known}"
    )]
    UnseenCategory {
        /// The column.
        column: String,
        /// The label.
        value: String,
        /// The row at which it occurs first.
        row: usize,
        /// The labels that are known.
        known: String,
    },
    /// A label is missing.
    #[error("column `{column}`: the value at row {row} is missing")]
    MissingCategory {
        /// The column.
        column: String,
        /// The row.
        row: usize,
    },
    /// One side of a split would have no patches.
    #[error(
        "the {side} side of the split by {by} would be empty ({groups} groups, fraction {fraction}); \
         add samples, choose another fraction, split by patch, or allow the fallback to a split by patch"
    )]
    EmptySide {
        /// `training` or `validation`.
        side: &'static str,
        /// What the split goes by.
        by: String,
        /// How many groups there are.
        groups: usize,
        /// The fraction asked for.
        fraction: f64,
    },
    /// Datasets that are merged differ in patch extent, channels or conditions.
    #[error("dataset `{dataset}` differs in {what}: expected {expected}, found {found}")]
    DatasetMismatch {
        /// The dataset that differs from the first.
        dataset: String,
        /// What differs.
        what: &'static str,
        /// That of the first dataset.
        expected: String,
        /// That of this one.
        found: String,
    },
}

/// Names separated by commas.
pub(crate) fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|n| n.as_ref().to_owned()).collect();
    names.join(", ")
}

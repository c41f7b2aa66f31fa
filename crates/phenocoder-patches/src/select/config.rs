//! The settings of selection and extraction.

use phenocoder_core::Seed;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// What is done with a patch that reaches over the border of its image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BorderPolicy {
    /// Pixels outside are those mirrored at the border pixel, which is not repeated (numpy's `reflect`).
    #[default]
    Reflect,
    /// Pixels outside have this value, before scaling.
    Pad(f32),
    /// The cell gets no patch: exactly those cells are dropped whose patch reaches outside.
    Drop,
    /// As the original drops: also cells whose patch touches the last row or column.
    DropCompat,
}

impl BorderPolicy {
    /// Whether a patch of `size` pixels around pixel `center` of `n` is made.
    pub(super) fn keeps(self, center: usize, size: usize, n: usize) -> bool {
        let before = size / 2;
        let after = size - before;
        match self {
            Self::Reflect | Self::Pad(_) => true,
            Self::Drop => center >= before && center + after <= n,
            Self::DropCompat => center >= before && center + after < n,
        }
    }
}

/// How a position becomes a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rounding {
    /// The nearest pixel; halves go up.
    #[default]
    Nearest,
    /// The fraction is cut off (the original's way).
    Truncate,
}

impl Rounding {
    /// The pixel of a position, as a whole number.
    pub(super) fn pixel(self, position: f64) -> f64 {
        match self {
            // Adding the half before `floor` would round 0.499… up.
            Self::Nearest => {
                let floor = position.floor();
                if position - floor >= 0.5 {
                    floor + 1.0
                } else {
                    floor
                }
            }
            Self::Truncate => position.trunc() + 0.0,
        }
    }
}

/// From which slices of a stack patches are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Slices {
    /// The slice that the cell's centre lies in.
    #[default]
    Own,
    /// That slice and its neighbours, as far as they exist: one patch each.
    Around {
        /// Slices with a smaller z.
        below: usize,
        /// Slices with a larger z.
        above: usize,
    },
    /// Every slice of the image: one patch each.
    All,
}

/// What is done with a cell that cannot have a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// It is an error that names the cell.
    #[default]
    Error,
    /// It is dropped and counted.
    Drop,
}

/// Which cells are taken.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SelectConfig {
    /// At most this many samples, drawn with [`seed`](Self::seed) (default all).
    pub n_samples: Option<usize>,
    /// At most this many cells of each sample, drawn likewise (default all).
    pub n_patches_per_sample: Option<usize>,
    /// At most this many cells altogether, drawn likewise (default all).
    pub n_patches: Option<usize>,
    /// The seed of these draws (default 0).
    pub seed: Seed,
    /// Cells outside of their image (default [`InvalidPolicy::Error`]).
    pub outside: InvalidPolicy,
    /// Cells whose position is NaN or infinite (default [`InvalidPolicy::Error`]).
    pub not_finite: InvalidPolicy,
    /// Cells without a sample or whose sample has no image (default [`InvalidPolicy::Error`]).
    pub no_image: InvalidPolicy,
}

/// What a patch is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PatchConfig {
    /// Rows of a patch; it covers `y − height/2 .. y − height/2 + height`, divided down.
    pub height: usize,
    /// Columns of a patch, likewise.
    pub width: usize,
    /// What is done at the border of the image (default [`BorderPolicy::Reflect`]).
    #[serde(default)]
    pub border: BorderPolicy,
    /// How a position becomes a pixel (default [`Rounding::Nearest`]).
    #[serde(default)]
    pub rounding: Rounding,
    /// From which slices of a stack patches are taken (default [`Slices::Own`]).
    #[serde(default)]
    pub slices: Slices,
    /// Whether pixels of other objects become 0, by the label mask (default `false`).
    #[serde(default)]
    pub mask_neighbors: bool,
    /// The column with the value of each cell's pixels in the mask (default: the instance ids).
    #[serde(default)]
    pub mask_column: Option<String>,
    /// Which cells are taken.
    #[serde(default)]
    pub select: SelectConfig,
    /// How many bytes of patches and pixels may be held at once (default 256 MiB).
    ///
    /// Half of it is for finished patches: when all of them fit, they are written in order in one go.
    #[serde(default = "default_memory")]
    pub memory: usize,
    /// From which fraction of pixels at the upper end a channel is reported as saturated (default 0.05).
    #[serde(default = "default_saturation")]
    pub saturation: f64,
}

fn default_memory() -> usize {
    256 << 20
}

fn default_saturation() -> f64 {
    0.05
}

impl PatchConfig {
    /// Patches of this many rows and columns.
    #[must_use]
    pub fn new(height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            border: BorderPolicy::default(),
            rounding: Rounding::default(),
            slices: Slices::default(),
            mask_neighbors: false,
            mask_column: None,
            select: SelectConfig::default(),
            memory: default_memory(),
            saturation: default_saturation(),
        }
    }

    /// The same with the original's border and rounding.
    ///
    /// Cells outside of their image are dropped without an error, as there.
    #[must_use]
    pub fn compat(mut self) -> Self {
        self.border = BorderPolicy::DropCompat;
        self.rounding = Rounding::Truncate;
        self.select.outside = InvalidPolicy::Drop;
        self
    }

    /// The same with another border policy.
    #[must_use]
    pub fn with_border(mut self, border: BorderPolicy) -> Self {
        self.border = border;
        self
    }

    /// The same with another rounding.
    #[must_use]
    pub fn with_rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// The same from other slices.
    #[must_use]
    pub fn with_slices(mut self, slices: Slices) -> Self {
        self.slices = slices;
        self
    }

    /// The same with pixels of other objects set to 0; `column` holds the mask's labels, or the instance ids are these.
    #[must_use]
    pub fn with_mask_neighbors(mut self, column: Option<&str>) -> Self {
        self.mask_neighbors = true;
        self.mask_column = column.map(str::to_owned);
        self
    }

    /// The same for other cells.
    #[must_use]
    pub fn with_select(mut self, select: SelectConfig) -> Self {
        self.select = select;
        self
    }

    /// The same with another limit on memory, in bytes.
    #[must_use]
    pub fn with_memory(mut self, memory: usize) -> Self {
        self.memory = memory;
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for a patch without rows or columns or a limit of 0,
    /// [`ConfigError::Range`] for a pad value that is not finite or a saturation outside of `[0, 1]`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let lengths = [
            ("height", Some(self.height)),
            ("width", Some(self.width)),
            ("n_samples", self.select.n_samples),
            ("n_patches", self.select.n_patches),
            ("n_patches_per_sample", self.select.n_patches_per_sample),
        ];
        if let Some((field, _)) = lengths.into_iter().find(|&(_, n)| n == Some(0)) {
            return Err(ConfigError::Zero { field });
        }
        if let BorderPolicy::Pad(value) = self.border {
            ConfigError::check_range("border.pad", value.into(), value.is_finite(), "finite")?;
        }
        let valid = (0.0..=1.0).contains(&self.saturation);
        ConfigError::check_range("saturation", self.saturation, valid, "in [0, 1]")
    }
}

impl SelectConfig {
    /// The same with at most `n` samples.
    #[must_use]
    pub fn with_n_samples(mut self, n: usize) -> Self {
        self.n_samples = Some(n);
        self
    }

    /// The same with at most `n` cells altogether.
    #[must_use]
    pub fn with_n_patches(mut self, n: usize) -> Self {
        self.n_patches = Some(n);
        self
    }

    /// The same with at most `n` cells of each sample.
    #[must_use]
    pub fn with_n_patches_per_sample(mut self, n: usize) -> Self {
        self.n_patches_per_sample = Some(n);
        self
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// The same with every cell that cannot have a patch dropped and counted instead of refused.
    #[must_use]
    pub fn with_invalid_dropped(mut self) -> Self {
        self.outside = InvalidPolicy::Drop;
        self.not_finite = InvalidPolicy::Drop;
        self.no_image = InvalidPolicy::Drop;
        self
    }
}

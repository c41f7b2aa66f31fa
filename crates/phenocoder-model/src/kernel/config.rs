//! The settings of convolutions.

use serde::{Deserialize, Serialize};

use crate::error::check_count;
use crate::{ConfigError, Result};

/// What follows a layer's sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

/// What lies around an image, so that windows may reach beyond it.
///
/// Along one axis, an image of `i` pixels with `p` pixels around it in all and a kernel of `k` gives
/// `⌊(i + p − k) / stride⌋ + 1` pixels.
/// A transposed convolution cuts off what the convolution would have added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Padding {
    /// Keras' "same": `⌈i / stride⌉` pixels; of an odd number of zeros the extra one lies behind.
    #[default]
    Same,
    /// Nothing: windows stay inside.
    Valid,
    /// Zeros, this many on every side: PyTorch's `padding`.
    Symmetric(usize),
    /// Zeros, of a number of its own on each side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns before.
        left: usize,
        /// Columns behind.
        right: usize,
    },
    /// This many pixels of the opposite side on every side: PyTorch's `padding_mode="circular"`.
    Circular(usize),
}

impl Padding {
    /// The zeros before and behind on each axis; none for those that depend on the image.
    ///
    /// In one dimension the only row gets none.
    pub(super) fn zeros(self, dimensions: Dimensions) -> Option<[[usize; 2]; 2]> {
        let rows = |before: usize, after: usize| match dimensions {
            Dimensions::One => [0, 0],
            Dimensions::Two => [before, after],
        };
        match self {
            Self::Same | Self::Circular(_) => None,
            Self::Valid => Some([[0; 2]; 2]),
            Self::Symmetric(p) => Some([rows(p, p), [p, p]]),
            Self::Explicit {
                top,
                bottom,
                left,
                right,
            } => Some([rows(top, bottom), [left, right]]),
        }
    }
}

/// Along how many axes a kernel moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimensions {
    /// Columns.
    One,
    /// Rows and columns.
    Two,
}

/// The settings of a convolution.
///
/// # Examples
///
/// ```
/// use phenocoder_model::kernel::{Activation, ConvConfig, Padding};
///
/// let config = ConvConfig::new()
///     .with_stride(2)
///     .with_padding(Padding::Symmetric(1))
///     .with_activation(Activation::Relu);
/// assert!(config.validate().is_ok());
/// assert!(config.with_stride(0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConvConfig {
    /// Pixels from one window to the next, on both axes (default 1).
    pub stride: usize,
    /// What lies around the image (default [`Padding::Same`]).
    pub padding: Padding,
    /// What follows the sum (default [`Activation::Linear`]).
    pub activation: Activation,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ConvConfig {
    /// Stride 1, "same" padding, linear.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stride: 1,
            padding: Padding::Same,
            activation: Activation::Linear,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the padding.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the activation.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the stride is 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_stride(self.stride)
    }
}

/// The settings of a transposed convolution.
///
/// # Examples
///
/// PyTorch's `ConvTranspose2d(…, 3, stride=2, padding=1, output_padding=1)` doubles an image, but not as Keras' "same" does:
///
/// ```
/// use phenocoder_model::kernel::{ConvTransposeConfig, Padding};
///
/// let torch = ConvTransposeConfig::new()
///     .with_stride(2)
///     .with_cropping(Padding::Symmetric(1))
///     .with_output_padding(1);
/// assert!(torch.validate().is_ok());
/// assert_eq!(
///     torch.with_output_padding(2).validate().unwrap_err().to_string(),
///     "`output_padding` is 2, expected a number below the stride"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConvTransposeConfig {
    /// Pixels of the result from one pixel of the input to the next, on both axes (default 1).
    pub stride: usize,
    /// What is cut off: the padding of the convolution whose adjoint this is (default [`Padding::Same`]).
    ///
    /// Without cropping an axis of `i` pixels becomes `(i − 1) · stride + kernel`, with "same" `i · stride`.
    pub cropping: Padding,
    /// Rows and columns added below and behind before cropping, below the stride (default 0).
    ///
    /// Several sizes of an image give the same size under a stride; this chooses among them. "Same" needs none.
    pub output_padding: usize,
    /// What follows the sum (default [`Activation::Linear`]).
    pub activation: Activation,
}

impl Default for ConvTransposeConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ConvTransposeConfig {
    /// Stride 1, "same" cropping, linear.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stride: 1,
            cropping: Padding::Same,
            output_padding: 0,
            activation: Activation::Linear,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets what is cut off.
    #[must_use]
    pub fn with_cropping(mut self, cropping: Padding) -> Self {
        self.cropping = cropping;
        self
    }

    /// Sets the rows and columns added below and behind.
    #[must_use]
    pub fn with_output_padding(mut self, output_padding: usize) -> Self {
        self.output_padding = output_padding;
        self
    }

    /// Sets the activation.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the stride is 0, the output padding is not below it or stands beside "same", or the cropping
    /// is circular.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_stride(self.stride)?;
        let range = |setting: &str, value: usize, expected| ConfigError::Range {
            setting: setting.to_owned(),
            value: value as f64,
            expected,
        };
        if let Padding::Circular(p) = self.cropping {
            return Err(range(
                "cropping",
                p,
                "zeros: the adjoint of a circular convolution is not offered",
            ));
        }
        let added = self.output_padding;
        if added > 0 && self.cropping == Padding::Same {
            return Err(range(
                "output_padding",
                added,
                "0 beside cropping to the same size",
            ));
        }
        if added >= self.stride {
            return Err(range("output_padding", added, "a number below the stride"));
        }
        Ok(())
    }
}

pub(super) fn check_stride(stride: usize) -> Result<(), ConfigError> {
    check_count("stride", stride)
}

//! Convolutions and dense layers.

use std::fmt::Debug;

use candle_core::Tensor;

use super::config::{Activation, ConvConfig, ConvTransposeConfig, Dimensions, Padding};
use super::geometry::Geometry;
use super::op::Convolution;
use super::route::Direction;
use super::select::pad_circular;
use super::{fallback, is_native};
use crate::Result;

/// Convolves with Keras' "same" padding.
///
/// At stride 2 an even side is padded by one row of zeros behind it, an odd side by one before and one behind.
/// The input receives a gradient only if it depends on a variable.
/// [`conv2d_with`] takes every other padding, and no bias.
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, c, out]`; `bias`: `[out]`; result: `[n, ⌈y/stride⌉, ⌈x/stride⌉, out]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types do not fit, a side but the first is empty, or the stride
/// is 0.
pub fn conv2d(
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
    stride: usize,
    activation: Activation,
) -> Result<Tensor> {
    let config = ConvConfig {
        stride,
        padding: Padding::Same,
        activation,
    };
    convolve("conv2d", x, kernel, Some(bias), &config, Dimensions::Two)
}

/// Convolves with any stride and padding, with a bias or without.
///
/// # Examples
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use phenocoder_model::kernel::{ConvConfig, Padding, conv2d_with};
///
/// let x = Tensor::ones((1, 5, 5, 2), DType::F32, &Device::Cpu)?;
/// let kernel = Tensor::ones((3, 3, 2, 4), DType::F32, &Device::Cpu)?;
/// let config = ConvConfig::new().with_stride(2).with_padding(Padding::Symmetric(1));
/// assert_eq!(conv2d_with(&x, &kernel, None, &config)?.dims(), [1, 3, 3, 4]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, c, out]`; `bias`: `[out]`; result: `[n, y', x', out]` with sides as
/// [`Padding`] says.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when the settings are not valid; [`Error::Tensor`](crate::Error::Tensor) when
/// shapes or types do not fit, a side but the first is empty, the kernel is larger than the padded image, a circular
/// padding is larger than the image, or a size cannot be addressed.
#[doc(alias = "Conv2d")]
pub fn conv2d_with(
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvConfig,
) -> Result<Tensor> {
    config.validate()?;
    convolve("conv2d", x, kernel, bias, config, Dimensions::Two)
}

/// Convolves signals: [`conv2d_with`] on images of one row.
///
/// Of [`Padding::Explicit`] only `left` and `right` count.
///
/// # Shapes
///
/// `x`: `[n, x, c]`; `kernel`: `[k, c, out]`; `bias`: `[out]`; result: `[n, x', out]`.
///
/// # Errors
///
/// As [`conv2d_with`].
#[doc(alias = "Conv1d")]
pub fn conv1d(
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvConfig,
) -> Result<Tensor> {
    config.validate()?;
    let (x, kernel) = (one_row(x)?, kernel.unsqueeze(0)?);
    let y = convolve("conv1d", &x, &kernel, bias, config, Dimensions::One)?;
    Ok(y.squeeze(1)?)
}

/// Convolves transposed, the adjoint of [`conv2d`]: the output has `stride` times the input's rows and columns.
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, out, c]`; `bias`: `[out]`; result: `[n, stride·y, stride·x, out]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types do not fit, a side but the first is empty, or the stride
/// is 0.
pub fn conv_transpose2d(
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
    stride: usize,
    activation: Activation,
) -> Result<Tensor> {
    let config = ConvTransposeConfig {
        stride,
        cropping: Padding::Same,
        output_padding: 0,
        activation,
    };
    let name = "conv_transpose2d";
    transpose(name, x, kernel, Some(bias), &config, Dimensions::Two)
}

/// Convolves transposed with any stride and cropping, with a bias or without.
///
/// # Examples
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use phenocoder_model::kernel::{ConvTransposeConfig, Padding, conv_transpose2d_with};
///
/// let x = Tensor::ones((1, 5, 5, 2), DType::F32, &Device::Cpu)?;
/// let kernel = Tensor::ones((4, 4, 3, 2), DType::F32, &Device::Cpu)?;
/// let config = ConvTransposeConfig::new().with_stride(2).with_cropping(Padding::Symmetric(1));
/// assert_eq!(conv_transpose2d_with(&x, &kernel, None, &config)?.dims(), [1, 10, 10, 3]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, out, c]`; `bias`: `[out]`; result: `[n, y', x', out]` with sides as
/// [`ConvTransposeConfig::cropping`] says.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when the settings are not valid; [`Error::Tensor`](crate::Error::Tensor) when
/// shapes or types do not fit, a side but the first is empty, nothing is left after cropping, or a size cannot be
/// addressed.
#[doc(alias = "ConvTranspose2d")]
pub fn conv_transpose2d_with(
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTransposeConfig,
) -> Result<Tensor> {
    config.validate()?;
    transpose("conv_transpose2d", x, kernel, bias, config, Dimensions::Two)
}

/// Convolves signals transposed: [`conv_transpose2d_with`] on images of one row.
///
/// Of [`Padding::Explicit`] only `left` and `right` count.
///
/// # Shapes
///
/// `x`: `[n, x, c]`; `kernel`: `[k, out, c]`; `bias`: `[out]`; result: `[n, x', out]`.
///
/// # Errors
///
/// As [`conv_transpose2d_with`].
#[doc(alias = "ConvTranspose1d")]
pub fn conv_transpose1d(
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTransposeConfig,
) -> Result<Tensor> {
    config.validate()?;
    let (x, kernel) = (one_row(x)?, kernel.unsqueeze(0)?);
    let name = "conv_transpose1d";
    let y = transpose(name, &x, &kernel, bias, config, Dimensions::One)?;
    Ok(y.squeeze(1)?)
}

/// Multiplies by a matrix and adds a bias.
///
/// # Shapes
///
/// `x`: `[n, inputs]`; `kernel`: `[inputs, outputs]`; `bias`: `[outputs]`; result: `[n, outputs]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types do not fit, or there is no input or output.
pub fn dense(x: &Tensor, kernel: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (n, inputs) = x.dims2()?;
    let (rows, outputs) = kernel.dims2()?;
    let layer = Layer {
        name: "dense",
        x,
        kernel,
        bias: Some(bias),
        asked: None,
    };
    let geometry = (inputs == rows).then(|| Geometry::dense(inputs, outputs));
    let geometry = layer.check(geometry, outputs, n)?;
    if !is_native(x) {
        let y = x.matmul(kernel)?;
        return Ok(fallback::finish(&y, Some(bias), activation)?);
    }
    let x = x.reshape((n, 1, 1, inputs))?;
    let kernel = kernel.reshape((1, 1, inputs, outputs))?;
    let op = Convolution::new(geometry, Direction::BigToSmall, activation);
    Ok(op.apply(&x, &kernel, Some(bias))?.reshape((n, outputs))?)
}

/// `[n, x, c]` to `[n, 1, x, c]`.
fn one_row(x: &Tensor) -> Result<Tensor> {
    let (n, w, c) = x.dims3()?;
    Ok(x.reshape((n, 1, w, c))?)
}

fn convolve(
    name: &'static str,
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvConfig,
    dimensions: Dimensions,
) -> Result<Tensor> {
    let padded;
    let (x, padding) = match config.padding {
        Padding::Circular(p) => {
            padded = pad_circular(x, p, dimensions)?;
            (&padded, Padding::Valid)
        }
        other => (x, other),
    };
    let (n, h, w, c) = x.dims4()?;
    let (kh, kw, c_in, c_out) = kernel.dims4()?;
    let (big, kernel_size, stride) = ([h, w, c], [kh, kw], config.stride);
    let layer = Layer {
        name,
        x,
        kernel,
        bias,
        asked: Some((config, dimensions)),
    };
    let geometry = if c != c_in || stride == 0 {
        None
    } else {
        match padding.zeros(dimensions) {
            Some(zeros) => Geometry::padded(big, c_out, kernel_size, stride, zeros),
            None => Geometry::same(big, c_out, kernel_size, stride),
        }
    };
    let geometry = layer.check(geometry, c_out, n)?;
    if !is_native(x) {
        let y = fallback::conv(&geometry, x, kernel)?;
        return Ok(fallback::finish(&y, bias, config.activation)?);
    }
    let op = Convolution::new(geometry, Direction::BigToSmall, config.activation);
    Ok(op.apply(x, kernel, bias)?)
}

fn transpose(
    name: &'static str,
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTransposeConfig,
    dimensions: Dimensions,
) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let (kh, kw, c_out, c_in) = kernel.dims4()?;
    let (kernel_size, stride) = ([kh, kw], config.stride);
    let layer = Layer {
        name,
        x,
        kernel,
        bias,
        asked: Some((config, dimensions)),
    };
    let same = || {
        let rows = match dimensions {
            Dimensions::One => h,
            Dimensions::Two => h.checked_mul(stride)?,
        };
        let big = [rows, w.checked_mul(stride)?, c_out];
        Geometry::same(big, c, kernel_size, stride)
    };
    let geometry = if c != c_in || stride == 0 {
        None
    } else {
        match config.cropping.zeros(dimensions) {
            Some(zeros) => {
                let added = config.output_padding;
                let added = match dimensions {
                    Dimensions::One => [0, added],
                    Dimensions::Two => [added, added],
                };
                Geometry::cropped([h, w, c], c_out, kernel_size, stride, zeros, added)
            }
            None => same(),
        }
    };
    let geometry = layer.check(geometry, c_out, n)?;
    if !is_native(x) {
        let y = fallback::conv_transpose(&geometry, x, kernel)?;
        return Ok(fallback::finish(&y, bias, config.activation)?);
    }
    let op = Convolution::new(geometry, Direction::SmallToBig, config.activation);
    Ok(op.apply(x, kernel, bias)?)
}

/// What a layer was called with, for its checks and their words.
struct Layer<'a> {
    name: &'static str,
    x: &'a Tensor,
    kernel: &'a Tensor,
    bias: Option<&'a Tensor>,
    /// The settings, where there are any.
    asked: Option<(&'a dyn Debug, Dimensions)>,
}

impl Layer<'_> {
    /// The geometry, if there is one that works.
    fn check(
        &self,
        geometry: Option<Geometry>,
        outputs: usize,
        n: usize,
    ) -> candle_core::Result<Geometry> {
        let same_type = |t: &Tensor| t.dtype() == self.x.dtype() && t.dtype().is_float();
        let fits = same_type(self.kernel)
            && self
                .bias
                .is_none_or(|bias| same_type(bias) && bias.dims() == [outputs]);
        match geometry {
            Some(geometry) if fits && geometry.is_sound(n) => Ok(geometry),
            _ => self.refuse(),
        }
    }

    fn refuse(&self) -> candle_core::Result<Geometry> {
        // The axis of one row that a signal has here is none of the caller's.
        let without = |t: &Tensor, axis: usize| {
            let mut dims = t.dims().to_vec();
            if let Some((_, Dimensions::One)) = self.asked {
                dims.remove(axis);
            }
            format!("{:?} {dims:?}", t.dtype())
        };
        candle_core::bail!(
            "{}: input {}, kernel {} and {} do not fit{}",
            self.name,
            without(self.x, 1),
            without(self.kernel, 0),
            match self.bias {
                Some(bias) => format!("bias {:?} {:?}", bias.dtype(), bias.dims()),
                None => "no bias".to_owned(),
            },
            match self.asked {
                Some((config, _)) => format!(" with {config:?}"),
                None => String::new(),
            },
        )
    }
}

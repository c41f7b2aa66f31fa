//! The loops that training spends its time in.
//!
//! | kernel | functions |
//! |---|---|
//! | convolution, any stride and [`Padding`] | [`conv2d`], [`conv2d_with`], [`conv1d`] |
//! | transposed convolution | [`conv_transpose2d`], [`conv_transpose2d_with`], [`conv_transpose1d`] |
//! | a sequence of both as one operation | [`ConvStack`] |
//! | dense layer | [`dense`] |
//! | batch normalization | [`batch_norm_train`], [`batch_norm`] |
//! | pooling | [`max_pool2d`], [`average_pool2d`], [`global_average_pool`] |
//! | resizing, padding | [`upsample_nearest2d`], [`resize_nearest2d`], [`pad_circular2d`] |
//! | between encoder and decoder | [`kl_divergence`], [`sample_normal`] |
//! | comparison with the pixels | [`binary_cross_entropy`], [`squared_error`] |
//!
//! All are differentiable operations on candle tensors.
//! All tensors are NHWC, all kernels HWIO (Keras' layout; a transposed convolution's kernel is height, width, out, in).
//! On the CPU the functions run on direct kernels in safe Rust: [`pulp`] picks AVX-512, AVX2, NEON or plain code at run
//! time, and [`rayon`] spreads chunks of samples over threads.
//! The chunks depend on the shapes alone and partial sums are added in their order, so results have the same bits for any
//! number of threads; on machines with other vectors too, wherever the numbers are finite.
//! An infinite number or one that is none shows in every result that depends on it, and may show in neighbouring pixels of
//! convolutions with at most four channels too: such pixels are computed together, with weights of 0 for each other's taps.
//! NEON is compiled (`cargo check --target aarch64-unknown-linux-gnu`) and untested.
//!
//! On CUDA and Metal, and for other types than `f32`, the same functions call candle's operations, and on NVIDIA GPUs kernels of
//! their own for the losses, bias with ReLU, and Adam, compiled when the program runs.
//!
//! # Examples
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use phenocoder_model::kernel::{Activation, conv2d};
//!
//! let x = Tensor::ones((1, 4, 4, 1), candle_core::DType::F32, &Device::Cpu)?;
//! let kernel = Tensor::ones((3, 3, 1, 2), candle_core::DType::F32, &Device::Cpu)?;
//! let bias = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu)?;
//! let y = conv2d(&x, &kernel, &bias, 2, Activation::Relu)?;
//! assert_eq!(y.dims(), [1, 2, 2, 2]);
//! # Ok::<(), phenocoder_model::Error>(())
//! ```

mod channels;
mod config;
mod conv;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod direct;
mod elementary;
mod fallback;
mod format;
mod geometry;
mod latent;
mod norm;
mod op;
mod pairs;
mod pool;
mod route;
mod select;
mod spans;
mod squared_error;
mod stack;
mod tile;
mod tiles;

pub use config::{Activation, ConvConfig, ConvTransposeConfig, Padding};
pub use conv::{
    conv_transpose1d, conv_transpose2d, conv_transpose2d_with, conv1d, conv2d, conv2d_with, dense,
};
pub use cross_entropy::binary_cross_entropy;
pub use latent::{kl_divergence, sample_normal};
pub use norm::{BatchNormConfig, RunningStatistics, RunningVariance, batch_norm, batch_norm_train};
pub use pool::{PoolConfig, average_pool2d, global_average_pool, max_pool2d};
pub use select::{pad_circular2d, resize_nearest2d, upsample_nearest2d};
pub use squared_error::{Reduction, squared_error};
pub(crate) use stack::Tape;
pub use stack::{ConvLayer, ConvStack, Keep};

#[cfg(test)]
mod tests;

/// Whether our own loops can take a tensor; the others go through candle's operations.
fn is_native(x: &candle_core::Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == candle_core::DType::F32
}

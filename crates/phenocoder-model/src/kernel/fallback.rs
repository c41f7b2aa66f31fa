//! The same functions in candle's own operations, for CUDA and Metal, and for other types than `f32`.

use candle_core::{Result, Tensor};

use super::Activation;
use super::geometry::Geometry;

/// Rows and columns that the kernel reaches beyond the big side: (above, below), (left, right).
fn padding(g: &Geometry) -> [(usize, usize); 2] {
    let padded = g.padded_big();
    [0, 1].map(|i| (g.pad[i], padded[i] - g.pad[i] - g.big[i]))
}

/// An activation whose gradient at 0 is 0, as that of our own loops; candle's `relu` has 1 there.
pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Linear => Ok(x.clone()),
        Activation::Relu => {
            let zeros = x.zeros_like()?.detach();
            x.le(&zeros)?.where_cond(&zeros, x)
        }
    }
}

fn add(y: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y.clone()),
    }
}

/// Adds the bias of a layer and applies its activation.
pub(super) fn finish(y: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let (Some(bias), Activation::Relu) = (bias, activation)
        && let Some(y) = super::cuda::bias_relu(y, bias)?
    {
        return Ok(y);
    }
    activate(&add(y, bias)?, activation)
}

/// A convolution of an NHWC tensor, without its bias.
pub(super) fn conv(g: &Geometry, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let n = x.dim(0)?;
    if n == 0 {
        return Tensor::zeros(
            (0, g.small[0], g.small[1], g.small[2]),
            x.dtype(),
            x.device(),
        );
    }
    let [(top, bottom), (left, right)] = padding(g);
    let x = x
        .permute((0, 3, 1, 2))?
        .pad_with_zeros(2, top, bottom)?
        .pad_with_zeros(3, left, right)?
        .contiguous()?;
    // Where the stride skips the last rows of the padded image, candle's gradient needs them cut.
    let reach = |i: usize| (g.small[i] - 1) * g.stride + g.kernel[i];
    let x = x
        .narrow(2, 0, reach(0))?
        .narrow(3, 0, reach(1))?
        .contiguous()?;
    let kernel = kernel.permute((3, 2, 0, 1))?.contiguous()?;
    let y = x.conv2d(&kernel, 0, g.stride, 1, 1)?;
    y.permute((0, 2, 3, 1))?.contiguous()
}

/// A transposed convolution of an NHWC tensor, without its bias.
pub(super) fn conv_transpose(g: &Geometry, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let n = x.dim(0)?;
    if n == 0 {
        return Tensor::zeros((0, g.big[0], g.big[1], g.big[2]), x.dtype(), x.device());
    }
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let kernel = kernel.permute((3, 2, 0, 1))?.contiguous()?;
    let full = x.conv_transpose2d(&kernel, 0, 0, g.stride, 1)?;
    let (_, _, h, w) = full.dims4()?;
    // A kernel shorter than the stride does not reach the last rows: they are zero.
    let full = full
        .pad_with_zeros(2, 0, (g.pad[0] + g.big[0]).saturating_sub(h))?
        .pad_with_zeros(3, 0, (g.pad[1] + g.big[1]).saturating_sub(w))?;
    full.narrow(2, g.pad[0], g.big[0])?
        .narrow(3, g.pad[1], g.big[1])?
        .permute((0, 2, 3, 1))?
        .contiguous()
}

/// Picks places along an axis.
pub(super) fn select(x: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor> {
    let places: Vec<u32> = places.iter().map(|&place| place as u32).collect();
    let places = Tensor::new(places, x.device())?;
    x.contiguous()?.index_select(&places, axis)
}

/// For every tap of a window the values that it sees, `[n, y, x, c]` each, with `filling` outside of the image.
fn taps(g: &Geometry, x: &Tensor, filling: f64) -> Result<Vec<Tensor>> {
    let [(top, bottom), (left, right)] = padding(g);
    let pad = |x: &Tensor, axis: usize, sides: [usize; 2]| {
        let side = |size: usize| {
            let mut shape = x.dims().to_vec();
            shape[axis] = size;
            Tensor::full(filling, shape, x.device())?.to_dtype(x.dtype())
        };
        Tensor::cat(&[&side(sides[0])?, x, &side(sides[1])?], axis)
    };
    let x = pad(&pad(x, 1, [top, bottom])?, 2, [left, right])?;
    let places = |tap: usize, axis: usize| -> Vec<usize> {
        (0..g.small[axis]).map(|i| i * g.stride + tap).collect()
    };
    let mut all = Vec::new();
    for ky in 0..g.kernel[0] {
        let rows = select(&x, 1, &places(ky, 0))?;
        for kx in 0..g.kernel[1] {
            all.push(select(&rows, 2, &places(kx, 1))?);
        }
    }
    Ok(all)
}

/// The maximum of every window; of equal values one receives the gradient.
pub(super) fn max_pool(g: &Geometry, x: &Tensor) -> Result<Tensor> {
    let taps = Tensor::stack(&taps(g, x, f64::NEG_INFINITY)?, 4)?;
    if taps.elem_count() == 0 {
        return taps.sum(4);
    }
    // No comparison finds a NaN, so it is made the largest.
    let values = taps.detach();
    let largest = values.ones_like()?.affine(f64::INFINITY, 0.0)?;
    let places = values
        .ne(&values)?
        .where_cond(&largest, &values)?
        .argmax_keepdim(4)?;
    taps.gather(&places, 4)?.squeeze(4)
}

/// The average of every window.
pub(super) fn average_pool(g: &Geometry, x: &Tensor, count_padding: bool) -> Result<Tensor> {
    let add = |all: Vec<Tensor>| {
        let mut all = all.into_iter();
        let first = all.next();
        all.try_fold(first, |sum, tap| match sum {
            Some(sum) => (sum + tap).map(Some),
            None => Ok(Some(tap)),
        })
    };
    let sums = match add(taps(g, x, 0.0)?)? {
        Some(sums) => sums,
        None => candle_core::bail!("a window without pixels"),
    };
    if count_padding {
        return sums / (g.kernel[0] * g.kernel[1]) as f64;
    }
    let ones = Tensor::ones((1, g.big[0], g.big[1], 1), x.dtype(), x.device())?;
    match add(taps(g, &ones, 0.0)?)? {
        Some(counts) => sums.broadcast_div(&counts),
        None => Ok(sums),
    }
}

//! Images whose pixels are those of another at chosen rows and columns: nearest resizing and circular padding.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::config::Dimensions;
use super::op::{slice, tensor_like, with_slice};
use super::{fallback, is_native};
use crate::Result;

/// Enlarges an image by a whole factor; each pixel becomes a square of `factor × factor`.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::upsample_nearest2d;
///
/// let x = Tensor::new(&[[[[1.0_f32], [2.0]]]], &Device::Cpu)?;
/// let y = upsample_nearest2d(&x, 2)?;
/// assert_eq!(y.dims(), [1, 2, 4, 1]);
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, factor·y, factor·x, c]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when `x` has not four axes, the factor is 0, or the size cannot be addressed.
#[doc(alias = "Upsample")]
#[doc(alias = "UpSampling2D")]
pub fn upsample_nearest2d(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    match (h.checked_mul(factor), w.checked_mul(factor)) {
        (Some(height), Some(width)) if factor > 0 => resize_nearest2d(x, [height, width]),
        _ => Err(refuse("upsample_nearest2d", x, &format!("factor {factor}"))),
    }
}

/// Resizes an image to `[height, width]`; output row `i` is input row `⌊i · rows / height⌋`, columns likewise.
///
/// Differences from PyTorch's `interpolate(mode="nearest")`: the rule is computed in whole numbers, so it is exact where
/// single precision is not.
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, height, width, c]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when `x` has not four axes, a side is empty, or the size cannot be addressed.
#[doc(alias = "interpolate")]
pub fn resize_nearest2d(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let places = |from: usize, to: usize| -> Option<Vec<usize>> {
        from.checked_mul(to)?;
        Some((0..to).map(|i| i * from / to).collect())
    };
    let fits =
        [h, w, height, width].iter().all(|&side| side > 0) && is_addressable([n, height, width, c]);
    let places = match fits {
        true => places(h, height).zip(places(w, width)),
        false => None,
    };
    match places {
        Some((rows, columns)) => Select::new([h, w], rows, columns).apply(x),
        None => Err(refuse(
            "resize_nearest2d",
            x,
            &format!("size {height}×{width}"),
        )),
    }
}

/// Puts `p` pixels of the opposite side around an image.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::pad_circular2d;
///
/// let x = Tensor::new(&[[[[1.0_f32], [2.0], [3.0]]]], &Device::Cpu)?;
/// let y = pad_circular2d(&x, 1)?;
/// assert_eq!(y.dims(), [1, 3, 5, 1]);
/// assert_eq!(y.get(0)?.get(1)?.flatten_all()?.to_vec1::<f32>()?, [3.0, 1.0, 2.0, 3.0, 1.0]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, y + 2p, x + 2p, c]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when `x` has not four axes or a side is shorter than `p`.
#[doc(alias = "CircularPad2d")]
pub fn pad_circular2d(x: &Tensor, p: usize) -> Result<Tensor> {
    pad_circular(x, p, Dimensions::Two)
}

pub(super) fn pad_circular(x: &Tensor, p: usize, dimensions: Dimensions) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let rows = match dimensions {
        Dimensions::One => 0,
        Dimensions::Two => p,
    };
    if h == 0
        || w == 0
        || rows > h
        || p > w
        || !is_addressable([n, h.saturating_add(2 * rows), w.saturating_add(2 * p), c])
    {
        return Err(refuse("circular padding", x, &format!("{p} pixels")));
    }
    let places = |size: usize, p: usize| (0..size + 2 * p).map(|i| (i + size - p) % size).collect();
    Select::new([h, w], places(h, rows), places(w, p)).apply(x)
}

fn is_addressable(dims: [usize; 4]) -> bool {
    // An empty batch must not hide a size that would be too large.
    let bytes = dims
        .iter()
        .try_fold(4_usize, |a, &b| a.checked_mul(b.max(1)));
    bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
}

fn refuse(name: &str, x: &Tensor, asked: &str) -> crate::Error {
    let message = format!("{name}: input {:?} and {asked} do not fit", x.dims());
    candle_core::Error::msg(message).into()
}

/// `y[i, j] = x[rows[i], columns[j]]`.
#[derive(Debug)]
struct Select {
    source: [usize; 2],
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Select {
    fn new(source: [usize; 2], rows: Vec<usize>, columns: Vec<usize>) -> Self {
        Self {
            source,
            rows,
            columns,
        }
    }

    fn apply(self, x: &Tensor) -> Result<Tensor> {
        if is_native(x) {
            return Ok(x.contiguous()?.apply_op1(self)?);
        }
        let x = fallback::select(x, 1, &self.rows)?;
        Ok(fallback::select(&x, 2, &self.columns)?)
    }
}

impl CustomOp1 for Select {
    fn name(&self) -> &'static str {
        "nhwc-select"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, h, w, c) = layout.shape().dims4()?;
        let x = slice(storage, layout)?;
        let (height, width) = (self.rows.len(), self.columns.len());
        let mut out = vec![0.0; n * height * width * c];
        if !out.is_empty() {
            out.par_chunks_mut(width * c)
                .enumerate()
                .for_each(|(i, row)| {
                    let from = (i / height * h + self.rows[i % height]) * w * c;
                    let source = &x[from..from + w * c];
                    for (to, &column) in row.chunks_exact_mut(c).zip(&self.columns) {
                        to.copy_from_slice(&source[column * c..(column + 1) * c]);
                    }
                });
        }
        Ok((CpuStorage::F32(out), Shape::from((n, height, width, c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let c = x.dim(3)?;
        let [h, w] = self.source;
        let (height, width) = (self.rows.len(), self.columns.len());
        // Every row of the input gathers the rows that show it, in their order: no two threads write the same place.
        let mut shown = vec![Vec::new(); h];
        for (i, &row) in self.rows.iter().enumerate() {
            shown[row].push(i);
        }
        let mut dx = vec![0.0; x.elem_count()];
        with_slice(gradient, |gradient| {
            if dx.is_empty() {
                return;
            }
            dx.par_chunks_mut(w * c).enumerate().for_each(|(i, row)| {
                for &from in &shown[i % h] {
                    let from = (i / h * height + from) * width * c;
                    let gradient = gradient[from..from + width * c].chunks_exact(c);
                    for (gradient, &column) in gradient.zip(&self.columns) {
                        let to = &mut row[column * c..(column + 1) * c];
                        for (to, gradient) in to.iter_mut().zip(gradient) {
                            *to += gradient;
                        }
                    }
                }
            });
        })?;
        tensor_like(Some(dx), Some(x))
    }
}

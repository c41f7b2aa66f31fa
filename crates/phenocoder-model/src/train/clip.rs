//! Gradient clipping.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::optim::{CHUNK, Real, sum_in_order, with_values};
use crate::error::check_range;
use crate::{ConfigError, Error, Gradients, Result};

/// How gradients are kept from growing too large.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::Gradients;
/// use phenocoder_model::train::ClipConfig;
///
/// let mut gradients = Gradients::from([("w".to_owned(), Tensor::new(&[3.0_f32, 4.0], &Device::Cpu)?)]);
/// let norm = ClipConfig::norm(1.0).clip(&mut gradients)?;
/// assert_eq!(norm, Some(5.0));
/// let clipped = gradients["w"].to_vec1::<f32>()?;
/// assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ClipConfig {
    /// All gradients are multiplied by `max_norm / (norm + 1e-6)` where that is below 1; the norm is that of all gradients
    /// together.
    #[doc(alias = "clip_grad_norm_")]
    #[doc(alias = "global_clipnorm")]
    Norm {
        /// The largest norm.
        max_norm: f64,
    },
    /// Every value is held between `−limit` and `limit`.
    #[doc(alias = "clip_grad_value_")]
    #[doc(alias = "clipvalue")]
    Value {
        /// The largest magnitude.
        limit: f64,
    },
}

impl ClipConfig {
    /// Clips the norm of all gradients together.
    #[must_use]
    pub const fn norm(max_norm: f64) -> Self {
        Self::Norm { max_norm }
    }

    /// Clips every value.
    #[must_use]
    pub const fn value(limit: f64) -> Self {
        Self::Value { limit }
    }

    /// Checks the bound.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] when it is not a finite number above 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (setting, bound) = match *self {
            Self::Norm { max_norm } => ("clip.max_norm", max_norm),
            Self::Value { limit } => ("clip.limit", limit),
        };
        let valid = bound > 0.0 && bound.is_finite();
        check_range(setting, bound, valid, "a finite number above 0")
    }

    /// Clips gradients, and returns their norm before where it was computed.
    ///
    /// # Errors
    ///
    /// [`Error::NonFiniteGradient`] when a gradient is infinite or no number and their norm is wanted;
    /// [`Error::Tensor`] when the device fails.
    pub fn clip(&self, gradients: &mut Gradients) -> Result<Option<f64>> {
        let norm = match self {
            Self::Norm { .. } => Some(finite_norm(gradients)?),
            Self::Value { .. } => None,
        };
        self.clip_with_norm(gradients, norm.unwrap_or_default())?;
        Ok(norm)
    }

    /// Clips gradients whose norm is known.
    pub(super) fn clip_with_norm(&self, gradients: &mut Gradients, norm: f64) -> Result<()> {
        match *self {
            Self::Norm { max_norm } => {
                let factor = max_norm / (norm + 1e-6);
                if factor < 1.0 {
                    for gradient in gradients.values_mut() {
                        *gradient = gradient.affine(factor, 0.0)?;
                    }
                }
            }
            Self::Value { limit } => {
                for gradient in gradients.values_mut() {
                    *gradient = gradient.clamp(-limit, limit)?;
                }
            }
        }
        Ok(())
    }
}

/// The Euclidean norm of all gradients together, summed in `f64` in the order of their names and in fixed chunks.
///
/// On GPUs each gradient is summed there in `f32`; where a sum does not fit, as from values of 1e19 on, all are read and
/// summed in `f64` too, so the norm of finite gradients is finite.
///
/// # Errors
///
/// [`Error::Tensor`] when a gradient cannot be read.
#[doc(alias = "total_norm")]
pub fn global_norm(gradients: &Gradients) -> Result<f64> {
    let mut sum = 0.0;
    let mut elsewhere = Vec::new();
    for gradient in gradients.values() {
        match (gradient.device().is_cpu(), gradient.dtype()) {
            (true, DType::F64) => sum += with_values(gradient, squares::<f64>)?,
            (true, DType::F32) => sum += with_values(gradient, squares::<f32>)?,
            _ => elsewhere.push(gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?),
        }
    }
    if !elsewhere.is_empty() {
        // One transfer for all.
        let sums = Tensor::stack(&elsewhere, 0)?.to_vec1::<f32>()?;
        sum += sums.into_iter().map(f64::from).sum::<f64>();
        if !sum.is_finite() {
            sum = 0.0;
            for gradient in gradients.values() {
                sum += squares(&wide_values(gradient)?);
            }
        }
    }
    Ok(sum.sqrt())
}

/// The norm of all gradients together, if it is finite; else the first gradient at fault is named.
pub(super) fn finite_norm(gradients: &Gradients) -> Result<f64> {
    let norm = global_norm(gradients)?;
    if norm.is_finite() {
        return Ok(norm);
    }
    for (name, gradient) in gradients {
        let values = wide_values(gradient)?;
        let broken = values.iter().copied().find(|v| !v.is_finite());
        // Finite `f64` may be too large as well.
        let value = broken.unwrap_or_else(|| squares(&values).sqrt());
        if !value.is_finite() {
            let name = name.clone();
            return Err(Error::NonFiniteGradient { name, value });
        }
    }
    Err(Error::NonFiniteGradient {
        name: gradients.keys().next().cloned().unwrap_or_default(),
        value: norm,
    })
}

fn wide_values(gradient: &Tensor) -> Result<Vec<f64>> {
    let values = gradient.to_device(&Device::Cpu)?.flatten_all()?;
    Ok(values.to_dtype(DType::F64)?.to_vec1()?)
}

fn squares<T: Real>(values: &[T]) -> f64 {
    let chunk = |values: &[T]| sum_in_order(values.len(), |i| values[i].wide() * values[i].wide());
    let chunks: Vec<f64> = values.par_chunks(CHUNK).map(chunk).collect();
    chunks.iter().sum()
}

//! How the latents of several encoders become one.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::model::sample;
use crate::{Posterior, Result};

/// How the latents of several encoders become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fusion {
    /// Draws of all encoders multiplied, as in the paper.
    ///
    /// The Kullback–Leibler part is the mean of the encoders' own.
    Product,
    /// The normalized product of the encoders' normal distributions: precisions add, means are weighted by precision
    /// (Hinton 2002, doi:10.1162/089976602760128018; without the prior as a further expert, unlike Wu and Goodman 2018).
    ///
    /// An encoder that is sure of a latent outweighs those that are not.
    /// The Kullback–Leibler part is that of the fused distribution.
    #[default]
    ProductOfExperts,
    /// The mean of independent draws of all encoders; the Kullback–Leibler part is that of its distribution.
    Mean,
}

impl Fusion {
    /// The number of independent draws that one latent takes.
    pub(super) fn draws(self, encoders: usize) -> usize {
        match self {
            Self::Product => encoders,
            Self::ProductOfExperts | Self::Mean => 1,
        }
    }

    /// The mean and the logarithm of the variance of the fused latents.
    ///
    /// For [`Product`](Self::Product) the distribution is not normal; these are its moments all the same.
    pub(super) fn posterior(self, posteriors: &[(Tensor, Tensor)]) -> Result<(Tensor, Tensor)> {
        let [(first_mean, first_log_var), others @ ..] = posteriors else {
            return Err(candle_core::Error::msg("no encoder, nothing to fuse").into());
        };
        if others.is_empty() {
            return Ok((first_mean.clone(), first_log_var.clone()));
        }
        match self {
            Self::Product => {
                // Var(ab) = Var(a)·(Var(b) + E(b)²) + E(a)²·Var(b): sums of positive terms, nothing cancels.
                let mut mean = first_mean.clone();
                let mut variance = first_log_var.exp()?;
                for (m, log_var) in others {
                    let v = log_var.exp()?;
                    let joint = (&v + m.sqr()?)?;
                    variance = ((variance * joint)? + (mean.sqr()? * v)?)?;
                    mean = (mean * m)?;
                }
                Ok((mean, variance.log()?))
            }
            Self::ProductOfExperts => {
                // Everything is divided by the largest precision, so that nothing overflows; it is a constant to the
                // gradient because it cancels.
                let mut least = first_log_var.detach();
                for (_, log_var) in others {
                    least = least.minimum(&log_var.detach())?;
                }
                let mut total = first_log_var.zeros_like()?;
                let mut weighted = first_mean.zeros_like()?;
                for (mean, log_var) in posteriors {
                    let precision = (&least - log_var)?.exp()?;
                    weighted = (weighted + (mean * &precision)?)?;
                    total = (total + precision)?;
                }
                Ok(((weighted / &total)?, (least - total.log()?)?))
            }
            Self::Mean => {
                let n = posteriors.len() as f64;
                let mut mean = first_mean.clone();
                let mut variance = first_log_var.exp()?;
                for (m, log_var) in others {
                    mean = (mean + m)?;
                    variance = (variance + log_var.exp()?)?;
                }
                Ok(((mean / n)?, (variance / (n * n))?.log()?))
            }
        }
    }

    /// A draw of the fused latents with given standard normal noise, one for each of [`draws`](Self::draws).
    ///
    /// `fused`: what [`posterior`](Self::posterior) returns.
    pub(super) fn sample(
        self,
        posteriors: &[(Tensor, Tensor)],
        fused: &Posterior,
        noise: &[Tensor],
    ) -> Result<Tensor> {
        phenocoder_core::ShapeError::check_len("noise", self.draws(posteriors.len()), noise.len())?;
        match self {
            Self::Product => {
                let mut product: Option<Tensor> = None;
                for ((mean, log_var), noise) in posteriors.iter().zip(noise) {
                    let z = sample(mean, log_var, noise)?;
                    product = Some(match product {
                        Some(product) => (product * z)?,
                        None => z,
                    });
                }
                Ok(product.unwrap_or_else(|| fused.mean.clone()))
            }
            Self::ProductOfExperts | Self::Mean => fused.sample(&noise[0]),
        }
    }
}

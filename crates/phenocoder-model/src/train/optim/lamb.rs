//! LAMB and LAMBC.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::rule::{Changed, Rule, State};
use super::values::{Real, sum_in_order};
use super::{DecayScope, Optimizer, adam, check_beta, check_not_negative, check_positive};
use crate::train::clip::global_norm;
use crate::{ConfigError, Gradients, Parameters, Result};

/// The constants of [`Lamb`]; the defaults are timm's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LambConfig {
    /// Decay of the mean of the gradients (default 0.9).
    pub beta_1: f64,
    /// Decay of the mean of their squares (default 0.999).
    pub beta_2: f64,
    /// Added to the corrected root of the mean square (default 1e-6).
    pub epsilon: f64,
    /// Weight decay (default 0.01); weights without decay are not adapted, unless [`always_adapt`](Self::always_adapt).
    pub weight_decay: f64,
    /// Which weights are decayed (default those with two axes or more).
    pub decay_scope: DecayScope,
    /// Whether the moments are corrected for their start at zero (default true).
    pub bias_correction: bool,
    /// Whether a gradient enters the mean by `1 − β₁` (default true) or whole.
    pub grad_averaging: bool,
    /// All gradients are divided so that their common norm is at most this (default 1); none leaves them.
    pub max_grad_norm: Option<f64>,
    /// Whether the trust ratio is at most 1 (default false): LAMBC.
    pub trust_clip: bool,
    /// Whether weights without decay are adapted too (default false).
    pub always_adapt: bool,
    /// Whether weights decay beside the step, as in AdamW, instead of within it (default false).
    pub decoupled_decay: bool,
}

impl Default for LambConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.01,
            decay_scope: DecayScope::default(),
            bias_correction: true,
            grad_averaging: true,
            max_grad_norm: Some(1.0),
            trust_clip: false,
            always_adapt: false,
            decoupled_decay: false,
        }
    }
}

impl LambConfig {
    /// timm's constants of `lamb`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// timm's constants of `lambc`: the trust ratio is at most 1.
    #[must_use]
    pub fn lambc() -> Self {
        Self::default().with_trust_clip(true)
    }

    /// Sets the decay of the mean of the gradients.
    #[must_use]
    pub fn with_beta_1(mut self, beta_1: f64) -> Self {
        self.beta_1 = beta_1;
        self
    }

    /// Sets the decay of the mean of their squares.
    #[must_use]
    pub fn with_beta_2(mut self, beta_2: f64) -> Self {
        self.beta_2 = beta_2;
        self
    }

    /// Sets what is added to the corrected root of the mean square.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Sets which weights are decayed.
    #[must_use]
    pub fn with_decay_scope(mut self, decay_scope: DecayScope) -> Self {
        self.decay_scope = decay_scope;
        self
    }

    /// Sets whether the moments are corrected for their start at zero.
    #[must_use]
    pub fn with_bias_correction(mut self, bias_correction: bool) -> Self {
        self.bias_correction = bias_correction;
        self
    }

    /// Sets whether a gradient enters the mean by `1 − β₁` or whole.
    #[must_use]
    pub fn with_grad_averaging(mut self, grad_averaging: bool) -> Self {
        self.grad_averaging = grad_averaging;
        self
    }

    /// Sets the largest norm of all gradients together, or removes it.
    #[must_use]
    pub fn with_max_grad_norm(mut self, max_grad_norm: Option<f64>) -> Self {
        self.max_grad_norm = max_grad_norm;
        self
    }

    /// Sets whether the trust ratio is at most 1.
    #[must_use]
    pub fn with_trust_clip(mut self, trust_clip: bool) -> Self {
        self.trust_clip = trust_clip;
        self
    }

    /// Sets whether weights without decay are adapted too.
    #[must_use]
    pub fn with_always_adapt(mut self, always_adapt: bool) -> Self {
        self.always_adapt = always_adapt;
        self
    }

    /// Sets whether weights decay beside the step.
    #[must_use]
    pub fn with_decoupled_decay(mut self, decoupled_decay: bool) -> Self {
        self.decoupled_decay = decoupled_decay;
        self
    }

    /// Checks every constant.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the constant.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_beta("lamb.beta_1", self.beta_1)?;
        check_beta("lamb.beta_2", self.beta_2)?;
        check_positive("lamb.epsilon", self.epsilon)?;
        check_not_negative("lamb.weight_decay", self.weight_decay)?;
        match self.max_grad_norm {
            Some(norm) => check_positive("lamb.max_grad_norm", norm),
            None => Ok(()),
        }
    }

    fn trust_ratio(&self, of_weight: f64, of_update: f64) -> f64 {
        let ratio = match of_weight > 0.0 && of_update > 0.0 {
            true => of_weight / of_update,
            false => 1.0,
        };
        match self.trust_clip {
            true => ratio.min(1.0),
            false => ratio,
        }
    }
}

/// LAMB (You et al. 2020, arXiv:1904.00962) as in timm 0.9, and LAMBC.
///
/// All gradients are divided by `max(‖g‖ / max_grad_norm, 1)`, with the norm over every weight of the step.
/// Then `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
/// `u = m / (1 − β₁ᵗ) / (√v / √(1 − β₂ᵗ) + ε) + decay · w`, and `w ← w − lr · r · u` with the trust ratio `r = ‖w‖ / ‖u‖`
/// of each weight (1 where a norm is zero, and for weights without decay).
///
/// # Differences from timm
///
/// Norms are summed in `f64`, in an order that does not depend on threads.
#[derive(Debug)]
#[doc(alias = "LAMBC")]
pub struct Lamb {
    config: LambConfig,
    state: State<2>,
}

impl Default for Lamb {
    fn default() -> Self {
        Self::new(LambConfig::default())
    }
}

impl Lamb {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: LambConfig) -> Self {
        Self {
            config,
            state: adam::moments(),
        }
    }
}

impl Optimizer for Lamb {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        let config = self.config;
        let divisor = match config.max_grad_norm {
            Some(max) => (global_norm(gradients)? / max).max(1.0),
            None => 1.0,
        };
        let t = (self.state.steps() + 1) as f64;
        let (correction_1, root_2) = match config.bias_correction {
            true => (
                1.0 - config.beta_1.powf(t),
                (1.0 - config.beta_2.powf(t)).sqrt(),
            ),
            false => (1.0, 1.0),
        };
        let entering = match config.grad_averaging {
            true => 1.0 - config.beta_1,
            false => 1.0,
        };
        self.state.step(parameters, gradients, |entry| {
            let decay = config.decay_scope.of(entry.weight, config.weight_decay);
            let (within, beside) = match config.decoupled_decay {
                true => (0.0, learning_rate * decay),
                false => (decay, 0.0),
            };
            let direction = Direction {
                scale: 1.0 / correction_1,
                root_scale: 1.0 / root_2,
                epsilon: config.epsilon,
                decay: within,
            };
            let [weight, update] = entry.run(&Moments {
                direction,
                beta_1: config.beta_1,
                beta_2: config.beta_2,
                entering: entering / divisor,
                entering_square: (1.0 - config.beta_2) / (divisor * divisor),
            })?;
            let ratio = match decay != 0.0 || config.always_adapt {
                // What has decayed beside the step no longer counts.
                true => config.trust_ratio(weight.sqrt() * (1.0 - beside), update.sqrt()),
                false => 1.0,
            };
            let descend = Descend {
                direction,
                rate: learning_rate * ratio,
                beside,
            };
            entry.run(&descend).map(drop)
        })
    }

    fn steps(&self) -> u64 {
        self.state.steps()
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.state.save()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.state.restore(state)
    }
}

/// Where a step goes before it gets its length.
#[derive(Clone, Copy)]
struct Direction {
    scale: f64,
    root_scale: f64,
    epsilon: f64,
    decay: f64,
}

impl Direction {
    #[inline(always)]
    fn of_values<T: Real>(self) -> impl Fn(T, T, T) -> T {
        let (scale, root_scale) = (T::of(self.scale), T::of(self.root_scale));
        let (epsilon, decay) = (T::of(self.epsilon), T::of(self.decay));
        move |w, m, v| (m * scale) / (v.root() * root_scale + epsilon) + decay * w
    }

    fn of_tensors(self, w: &Tensor, m: &Tensor, v: &Tensor) -> Result<Tensor> {
        let root = ((v.sqrt()? * self.root_scale)? + self.epsilon)?;
        Ok((((m * self.scale)? / root)? + (w * self.decay)?)?)
    }
}

/// Updates the moments and sums the squares of weight and direction; the weight stays.
pub(super) struct Moments {
    direction: Direction,
    beta_1: f64,
    beta_2: f64,
    entering: f64,
    entering_square: f64,
}

impl Rule<2> for Moments {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], [m, v]: [&mut [T]; 2]) -> [f64; 2] {
        let (beta_1, beta_2) = (T::of(self.beta_1), T::of(self.beta_2));
        let (entering, entering_square) = (T::of(self.entering), T::of(self.entering_square));
        let direction = self.direction.of_values::<T>();
        let n = w.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            m[i] = beta_1 * m[i] + entering * g[i];
            v[i] = beta_2 * v[i] + entering_square * g[i] * g[i];
        }
        let square = |x: T| x.wide() * x.wide();
        let of_weight = sum_in_order(n, |i| square(w[i]));
        let of_update = sum_in_order(n, |i| square(direction(w[i], m[i], v[i])));
        [of_weight, of_update]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, [m, v]: [&Tensor; 2]) -> Result<Changed<2>> {
        let m = ((m * self.beta_1)? + (g * self.entering)?)?;
        let v = ((v * self.beta_2)? + (g.sqr()? * self.entering_square)?)?;
        let update = self.direction.of_tensors(w, &m, &v)?;
        let sums = Tensor::stack(&[w.sqr()?.sum_all()?, update.sqr()?.sum_all()?], 0)?;
        let sums = sums.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        Ok(Changed {
            weight: None,
            state: [m, v],
            sums: [f64::from(sums[0]), f64::from(sums[1])],
        })
    }
}

/// Changes the weight; the moments stay.
pub(super) struct Descend {
    direction: Direction,
    rate: f64,
    beside: f64,
}

impl Rule<2> for Descend {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], _: &[T], [m, v]: [&mut [T]; 2]) -> [f64; 2] {
        let (rate, beside) = (T::of(self.rate), T::of(self.beside));
        let direction = self.direction.of_values::<T>();
        let n = w.len();
        let (m, v) = (&m[..n], &v[..n]);
        for i in 0..n {
            w[i] -= beside * w[i] + rate * direction(w[i], m[i], v[i]);
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, _: &Tensor, [m, v]: [&Tensor; 2]) -> Result<Changed<2>> {
        let update = (self.direction.of_tensors(w, m, v)? * self.rate)?;
        let change = ((w * self.beside)? + update)?;
        Ok(Changed {
            weight: Some((w - change)?),
            state: [m.clone(), v.clone()],
            sums: [0.0; 2],
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Descend, Direction, Moments};

    pub(in super::super) fn rules() -> (Moments, Descend) {
        let direction = Direction {
            scale: 2.0,
            root_scale: 3.0,
            epsilon: 1e-3,
            decay: 0.1,
        };
        let moments = Moments {
            direction,
            beta_1: 0.9,
            beta_2: 0.99,
            entering: 0.05,
            entering_square: 0.003,
        };
        let descend = Descend {
            direction,
            rate: 0.1,
            beside: 0.02,
        };
        (moments, descend)
    }
}

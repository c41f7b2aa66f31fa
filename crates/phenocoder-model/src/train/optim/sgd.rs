//! Stochastic gradient descent.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::rule::{Changed, Rule, State};
use super::values::Real;
use super::{DecayScope, Optimizer, check_beta, check_not_negative};
use crate::error::check_range;
use crate::{ConfigError, Gradients, Parameters, Result};

/// The constants of [`Sgd`]; the defaults are those of timm's `sgd`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SgdConfig {
    /// How much of the last step's direction is kept (default 0.9); 0 keeps no state.
    pub momentum: f64,
    /// How much of the gradient does not enter the direction (default 0).
    pub dampening: f64,
    /// Whether the step looks ahead by the momentum (default true).
    pub nesterov: bool,
    /// This part of the weight is added to its gradient (default 0).
    pub weight_decay: f64,
    /// Which weights are decayed (default those with two axes or more).
    pub decay_scope: DecayScope,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            dampening: 0.0,
            nesterov: true,
            weight_decay: 0.0,
            decay_scope: DecayScope::default(),
        }
    }
}

impl SgdConfig {
    /// The constants of timm's `sgd`: Nesterov's momentum of 0.9.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plain descent, `w ← w − lr · g`: the constants of torch's `SGD` and Keras' `SGD`.
    #[must_use]
    pub fn plain() -> Self {
        Self::default().with_momentum(0.0).with_nesterov(false)
    }

    /// Sets how much of the last step's direction is kept.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets how much of the gradient does not enter the direction.
    #[must_use]
    pub fn with_dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Sets whether the step looks ahead by the momentum.
    #[must_use]
    pub fn with_nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }

    /// Sets the part of the weight that is added to its gradient.
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

    /// Checks every constant.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the constant; Nesterov's step needs a momentum and no dampening.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_beta("sgd.momentum", self.momentum)?;
        let Self {
            dampening,
            momentum,
            ..
        } = *self;
        let valid = (0.0..=1.0).contains(&dampening);
        check_range("sgd.dampening", dampening, valid, "from 0 to 1")?;
        if self.nesterov {
            let expected = "above 0 with Nesterov's step";
            check_range("sgd.momentum", momentum, momentum > 0.0, expected)?;
            let expected = "0 with Nesterov's step";
            check_range("sgd.dampening", dampening, dampening == 0.0, expected)?;
        }
        check_not_negative("sgd.weight_decay", self.weight_decay)
    }
}

/// Stochastic gradient descent with momentum (Sutskever et al. 2013), in torch's form.
///
/// `b ← µ b + (1 − dampening) g`, where the first gradient of a weight enters whole, and `w ← w − lr · b`;
/// with Nesterov's step `w ← w − lr · (g + µ b)`.
/// A weight decay adds its part of the weight to `g` before.
///
/// # Differences from Keras
///
/// Keras keeps `lr · b` instead of `b`: the same steps until the learning rate changes.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    state: Kept,
}

/// Without momentum there is nothing to keep.
#[derive(Debug)]
enum Kept {
    Nothing(State<0>),
    Direction(State<1>),
}

impl Default for Sgd {
    fn default() -> Self {
        Self::new(SgdConfig::default())
    }
}

impl Sgd {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: SgdConfig) -> Self {
        let state = match config.momentum {
            0.0 => Kept::Nothing(State::new([], [])),
            _ => Kept::Direction(State::new(["momentum"], [0.0])),
        };
        Self { config, state }
    }
}

impl Optimizer for Sgd {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        let config = self.config;
        let rule = |weight: &_, is_new: bool| SgdRule {
            rate: learning_rate,
            decay: config.decay_scope.of(weight, config.weight_decay),
            momentum: config.momentum,
            entering: if is_new { 1.0 } else { 1.0 - config.dampening },
            ahead: if config.nesterov { 1.0 } else { 0.0 },
        };
        match &mut self.state {
            Kept::Nothing(state) => state.step(parameters, gradients, |entry| {
                entry.run(&rule(entry.weight, entry.is_new)).map(drop)
            }),
            Kept::Direction(state) => state.step(parameters, gradients, |entry| {
                entry.run(&rule(entry.weight, entry.is_new)).map(drop)
            }),
        }
    }

    fn steps(&self) -> u64 {
        match &self.state {
            Kept::Nothing(state) => state.steps(),
            Kept::Direction(state) => state.steps(),
        }
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.state {
            Kept::Nothing(state) => state.save(),
            Kept::Direction(state) => state.save(),
        }
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match &mut self.state {
            Kept::Nothing(kept) => kept.restore(state),
            Kept::Direction(kept) => kept.restore(state),
        }
    }
}

pub(super) struct SgdRule {
    rate: f64,
    decay: f64,
    momentum: f64,
    entering: f64,
    /// 1 with Nesterov's step, else 0.
    ahead: f64,
}

impl SgdRule {
    /// How much of the gradient and of the kept direction make a step.
    fn shares(&self) -> (f64, f64) {
        (self.ahead, self.ahead.mul_add(self.momentum - 1.0, 1.0))
    }
}

impl Rule<0> for SgdRule {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], []: [&mut [T]; 0]) -> [f64; 2] {
        let (rate, decay) = (T::of(self.rate), T::of(self.decay));
        for (w, &g) in w.iter_mut().zip(g) {
            *w -= rate * (g + decay * *w);
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, []: [&Tensor; 0]) -> Result<Changed<0>> {
        let change = ((g + (w * self.decay)?)? * self.rate)?;
        Ok(Changed {
            weight: Some((w - change)?),
            state: [],
            sums: [0.0; 2],
        })
    }
}

impl Rule<1> for SgdRule {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], [kept]: [&mut [T]; 1]) -> [f64; 2] {
        let (rate, decay) = (T::of(self.rate), T::of(self.decay));
        let (momentum, entering) = (T::of(self.momentum), T::of(self.entering));
        let (of_gradient, of_kept) = self.shares();
        let (of_gradient, of_kept) = (T::of(of_gradient), T::of(of_kept));
        let n = w.len();
        let (g, kept) = (&g[..n], &mut kept[..n]);
        for i in 0..n {
            let g = g[i] + decay * w[i];
            kept[i] = momentum * kept[i] + entering * g;
            w[i] -= rate * (of_gradient * g + of_kept * kept[i]);
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, [kept]: [&Tensor; 1]) -> Result<Changed<1>> {
        let g = (g + (w * self.decay)?)?;
        let kept = ((kept * self.momentum)? + (&g * self.entering)?)?;
        let (of_gradient, of_kept) = self.shares();
        let change = (((g * of_gradient)? + (&kept * of_kept)?)? * self.rate)?;
        Ok(Changed {
            weight: Some((w - change)?),
            state: [kept],
            sums: [0.0; 2],
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::SgdRule;

    pub(in super::super) fn rules() -> [SgdRule; 2] {
        [0.0, 1.0].map(|ahead| SgdRule {
            rate: 0.1,
            decay: 0.2,
            momentum: 0.9,
            entering: 0.7,
            ahead,
        })
    }
}

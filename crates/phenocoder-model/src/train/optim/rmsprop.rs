//! RMSprop.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::rule::{Changed, Rule, State};
use super::values::Real;
use super::{DecayScope, Optimizer, check_beta, check_not_negative, check_positive};
use crate::{ConfigError, Gradients, Parameters, Result};

/// Whose RMSprop it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RmsPropForm {
    /// `a` starts at 0, ε is outside the root, and the learning rate enters the momentum: Keras 2.
    #[default]
    Keras,
    /// `a` starts at 0, ε is outside the root, and the learning rate multiplies the momentum: torch, timm's `rmsprop`.
    Torch,
    /// `a` starts at 1, ε is inside the root, and the learning rate enters the momentum: TensorFlow 1, timm's `rmsproptf`.
    #[doc(alias = "RMSpropTF")]
    Tensorflow,
}

/// The constants of [`RmsProp`]; the defaults are Keras'.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RmsPropConfig {
    /// Decay of the mean of the squared gradients (default 0.9).
    #[doc(alias = "alpha")]
    pub rho: f64,
    /// Added to the mean square or its root (default 1e-7).
    pub epsilon: f64,
    /// How much of the last step is kept (default 0).
    pub momentum: f64,
    /// Whose form (default Keras').
    pub form: RmsPropForm,
    /// This part of the weight is added to its gradient (default 0).
    pub weight_decay: f64,
    /// Which weights are decayed (default those with two axes or more).
    pub decay_scope: DecayScope,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            rho: 0.9,
            epsilon: 1e-7,
            momentum: 0.0,
            form: RmsPropForm::Keras,
            weight_decay: 0.0,
            decay_scope: DecayScope::default(),
        }
    }
}

impl RmsPropConfig {
    /// Keras' constants and form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Torch's constants and form: ρ = 0.99, ε = 1e-8.
    #[must_use]
    pub fn torch() -> Self {
        Self::default()
            .with_rho(0.99)
            .with_epsilon(1e-8)
            .with_form(RmsPropForm::Torch)
    }

    /// The constants and the form of timm's `rmsproptf`: ρ = 0.9, ε = 1e-10, momentum 0.9.
    #[must_use]
    pub fn tensorflow() -> Self {
        Self::default()
            .with_epsilon(1e-10)
            .with_momentum(0.9)
            .with_form(RmsPropForm::Tensorflow)
    }

    /// Sets the decay of the mean of the squared gradients.
    #[must_use]
    pub fn with_rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Sets what is added to the mean square or its root.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets how much of the last step is kept.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets whose form it is.
    #[must_use]
    pub fn with_form(mut self, form: RmsPropForm) -> Self {
        self.form = form;
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
    /// [`ConfigError::Range`] naming the constant.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_beta("rmsprop.rho", self.rho)?;
        check_positive("rmsprop.epsilon", self.epsilon)?;
        check_beta("rmsprop.momentum", self.momentum)?;
        check_not_negative("rmsprop.weight_decay", self.weight_decay)
    }
}

/// RMSprop (Tieleman and Hinton 2012, lecture 6e), by default in Keras' form.
///
/// `a ← ρ a + (1 − ρ) g²` and `w ← w − lr · g / (√a + ε)`; with momentum `b ← µ b + lr · g / (√a + ε)` and `w ← w − b`.
/// For the other forms see [`RmsPropForm`].
///
/// # Differences from Keras 3
///
/// Keras 3 has ε inside the root, as [`RmsPropForm::Tensorflow`], but starts `a` at 0.
#[derive(Debug)]
pub struct RmsProp {
    config: RmsPropConfig,
    state: Kept,
}

/// Without momentum one array per weight is enough.
#[derive(Debug)]
enum Kept {
    Square(State<1>),
    Momentum(State<2>),
}

impl Default for RmsProp {
    fn default() -> Self {
        Self::new(RmsPropConfig::default())
    }
}

impl RmsProp {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: RmsPropConfig) -> Self {
        let start = match config.form {
            RmsPropForm::Keras | RmsPropForm::Torch => 0.0,
            RmsPropForm::Tensorflow => 1.0,
        };
        let state = match config.momentum {
            0.0 => Kept::Square(State::new(["square"], [start])),
            _ => Kept::Momentum(State::new(["square", "momentum"], [start, 0.0])),
        };
        Self { config, state }
    }
}

impl Optimizer for RmsProp {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        let config = self.config;
        let (inside, outside) = match config.form {
            RmsPropForm::Keras | RmsPropForm::Torch => (0.0, config.epsilon),
            RmsPropForm::Tensorflow => (config.epsilon, 0.0),
        };
        let (rate_before, rate_after) = match config.form {
            RmsPropForm::Torch => (1.0, learning_rate),
            RmsPropForm::Keras | RmsPropForm::Tensorflow => (learning_rate, 1.0),
        };
        let rule = |weight: &_| RmsPropRule {
            keep: 1.0 - config.rho,
            inside,
            outside,
            momentum: config.momentum,
            rate_before,
            rate_after,
            decay: config.decay_scope.of(weight, config.weight_decay),
        };
        match &mut self.state {
            Kept::Square(state) => state.step(parameters, gradients, |entry| {
                entry.run(&rule(entry.weight)).map(drop)
            }),
            Kept::Momentum(state) => state.step(parameters, gradients, |entry| {
                entry.run(&rule(entry.weight)).map(drop)
            }),
        }
    }

    fn steps(&self) -> u64 {
        match &self.state {
            Kept::Square(state) => state.steps(),
            Kept::Momentum(state) => state.steps(),
        }
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.state {
            Kept::Square(state) => state.save(),
            Kept::Momentum(state) => state.save(),
        }
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match &mut self.state {
            Kept::Square(kept) => kept.restore(state),
            Kept::Momentum(kept) => kept.restore(state),
        }
    }
}

pub(super) struct RmsPropRule {
    keep: f64,
    inside: f64,
    outside: f64,
    momentum: f64,
    rate_before: f64,
    rate_after: f64,
    decay: f64,
}

impl RmsPropRule {
    /// The gradient, the new mean square, and the step without momentum.
    fn scaled(&self, w: &Tensor, g: &Tensor, square: &Tensor) -> Result<(Tensor, Tensor)> {
        let g = (g + (w * self.decay)?)?;
        let square = (square + ((g.sqr()? - square)? * self.keep)?)?;
        let root = ((&square + self.inside)?.sqrt()? + self.outside)?;
        let scaled = ((g * self.rate_before)? / root)?;
        Ok((square, scaled))
    }
}

impl Rule<1> for RmsPropRule {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], [square]: [&mut [T]; 1]) -> [f64; 2] {
        let (keep, decay) = (T::of(self.keep), T::of(self.decay));
        let (inside, outside) = (T::of(self.inside), T::of(self.outside));
        let rate = T::of(self.rate_before * self.rate_after);
        let n = w.len();
        let (g, square) = (&g[..n], &mut square[..n]);
        for i in 0..n {
            let g = g[i] + decay * w[i];
            square[i] += (g * g - square[i]) * keep;
            w[i] -= rate * g / ((square[i] + inside).root() + outside);
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, [square]: [&Tensor; 1]) -> Result<Changed<1>> {
        let (square, scaled) = self.scaled(w, g, square)?;
        Ok(Changed {
            weight: Some((w - (scaled * self.rate_after)?)?),
            state: [square],
            sums: [0.0; 2],
        })
    }
}

impl Rule<2> for RmsPropRule {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], [square, kept]: [&mut [T]; 2]) -> [f64; 2] {
        let (keep, decay, momentum) = (T::of(self.keep), T::of(self.decay), T::of(self.momentum));
        let (inside, outside) = (T::of(self.inside), T::of(self.outside));
        let (before, after) = (T::of(self.rate_before), T::of(self.rate_after));
        let n = w.len();
        let (g, square, kept) = (&g[..n], &mut square[..n], &mut kept[..n]);
        for i in 0..n {
            let g = g[i] + decay * w[i];
            square[i] += (g * g - square[i]) * keep;
            let scaled = before * g / ((square[i] + inside).root() + outside);
            kept[i] = momentum * kept[i] + scaled;
            w[i] -= after * kept[i];
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, [square, kept]: [&Tensor; 2]) -> Result<Changed<2>> {
        let (square, scaled) = self.scaled(w, g, square)?;
        let kept = ((kept * self.momentum)? + scaled)?;
        Ok(Changed {
            weight: Some((w - (&kept * self.rate_after)?)?),
            state: [square, kept],
            sums: [0.0; 2],
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::RmsPropRule;

    pub(in super::super) fn rules() -> [RmsPropRule; 2] {
        [(0.1, 0.0, 1.0, 0.5), (0.0, 0.2, 0.5, 1.0)].map(
            |(inside, outside, rate_before, rate_after)| RmsPropRule {
                keep: 0.1,
                inside,
                outside,
                momentum: 0.9,
                rate_before,
                rate_after,
                decay: 0.2,
            },
        )
    }
}

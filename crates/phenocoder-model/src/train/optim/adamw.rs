//! Adam with decoupled weight decay.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adam::{self, AdamConfig, AdamForm};
use super::rule::State;
use super::{DecayScope, Optimizer, check_beta, check_not_negative, check_positive};
use crate::{ConfigError, Gradients, Parameters, Result};

/// The constants of [`AdamW`]; the defaults are torch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdamWConfig {
    /// Decay of the mean of the gradients (default 0.9).
    pub beta_1: f64,
    /// Decay of the mean of their squares (default 0.999).
    pub beta_2: f64,
    /// Added to the root of the mean square (default 1e-8).
    pub epsilon: f64,
    /// Where ε stands (default as in torch).
    pub form: AdamForm,
    /// Times the learning rate, the part that a weight loses in each step (default 0.01).
    pub weight_decay: f64,
    /// Which weights are decayed (default those with two axes or more).
    pub decay_scope: DecayScope,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            form: AdamForm::Torch,
            weight_decay: 0.01,
            decay_scope: DecayScope::default(),
        }
    }
}

impl AdamWConfig {
    /// Torch's constants and form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keras' constants and form: ε = 1e-7 beside the root that is not corrected, decay 0.004.
    #[must_use]
    pub fn keras() -> Self {
        Self::default()
            .with_epsilon(1e-7)
            .with_form(AdamForm::Keras)
            .with_weight_decay(0.004)
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

    /// Sets what is added to the root of the mean square.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets where ε stands.
    #[must_use]
    pub fn with_form(mut self, form: AdamForm) -> Self {
        self.form = form;
        self
    }

    /// Sets the part that a weight loses, times the learning rate.
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
        check_beta("adamw.beta_1", self.beta_1)?;
        check_beta("adamw.beta_2", self.beta_2)?;
        check_positive("adamw.epsilon", self.epsilon)?;
        check_not_negative("adamw.weight_decay", self.weight_decay)
    }
}

/// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): [`Adam`](super::Adam) in which weights decay by
/// `w ← w − lr · decay · w` beside the step, not through the moments.
///
/// As in torch, timm and Keras the learning rate multiplies the decay; in the paper only the schedule's factor does.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    state: State<2>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self::new(AdamWConfig::default())
    }
}

impl AdamW {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            state: adam::moments(),
        }
    }
}

impl Optimizer for AdamW {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        let AdamWConfig {
            beta_1,
            beta_2,
            epsilon,
            form,
            weight_decay,
            decay_scope,
        } = self.config;
        let adam = AdamConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon)
            .with_form(form);
        adam::step(
            &mut self.state,
            parameters,
            gradients,
            learning_rate,
            &adam,
            |weight| (0.0, decay_scope.of(weight, weight_decay)),
        )
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

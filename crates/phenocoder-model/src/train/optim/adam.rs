//! Adam.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::rule::{Changed, Rule, State};
use super::values::Real;
use super::{DecayScope, Optimizer, check_beta, check_not_negative, check_positive};
use crate::{ConfigError, Gradients, Parameters, Result};

/// Where ε stands in [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdamForm {
    /// Beside the root that is not corrected: `lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)`.
    /// The form of Keras and TensorFlow, and of the note at the end of the paper's section 2.
    #[default]
    Keras,
    /// Beside the corrected root: `lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)`.
    /// The paper's Algorithm 1, and the form of torch, timm and candle.
    Torch,
}

/// The constants of [`Adam`]; the defaults are Keras'.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdamConfig {
    /// Decay of the mean of the gradients (default 0.9).
    pub beta_1: f64,
    /// Decay of the mean of their squares (default 0.999).
    pub beta_2: f64,
    /// Added to the root of the mean square (default 1e-7).
    pub epsilon: f64,
    /// Where ε stands (default as in Keras).
    pub form: AdamForm,
    /// This part of the weight is added to its gradient (default 0); see [`AdamWConfig`](super::AdamWConfig) for decay that
    /// does not pass through the moments.
    pub weight_decay: f64,
    /// Which weights are decayed (default those with two axes or more).
    pub decay_scope: DecayScope,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            form: AdamForm::Keras,
            weight_decay: 0.0,
            decay_scope: DecayScope::default(),
        }
    }
}

impl AdamConfig {
    /// Keras' constants and form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The constants and the form of torch and timm: ε = 1e-8 beside the corrected root.
    #[must_use]
    pub fn torch() -> Self {
        Self::default()
            .with_epsilon(1e-8)
            .with_form(AdamForm::Torch)
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
        check_beta("adam.beta_1", self.beta_1)?;
        check_beta("adam.beta_2", self.beta_2)?;
        check_positive("adam.epsilon", self.epsilon)?;
        check_not_negative("adam.weight_decay", self.weight_decay)
    }
}

/// Adam (Kingma and Ba 2015, arXiv:1412.6980), by default in Keras' form.
///
/// `m ← m + (1 − β₁)(g − m)`, `v ← v + (1 − β₂)(g² − v)`, and the weight moves against `m / √v`: see [`AdamForm`].
/// A weight decay adds its part of the weight to `g` before (torch's `Adam`, not its `AdamW`).
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::train::{Adam, AdamConfig, Optimizer};
/// use phenocoder_model::{Gradients, Parameters, Role};
///
/// let mut parameters = Parameters::new();
/// let weight = parameters.insert("w", Role::Weight, &Tensor::new(&[1.0_f32], &Device::Cpu)?)?;
/// let gradients = Gradients::from([("w".to_owned(), Tensor::new(&[0.3_f32], &Device::Cpu)?)]);
/// let mut adam = Adam::new(AdamConfig::new());
/// adam.step(&parameters, &gradients, 0.125)?;
/// // The first step has the length of the learning rate, whatever the gradient.
/// assert!((weight.to_vec1::<f32>()?[0] - 0.875).abs() < 1e-5);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    state: State<2>,
}

impl Default for Adam {
    fn default() -> Self {
        Self::new(AdamConfig::default())
    }
}

impl Adam {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: AdamConfig) -> Self {
        Self {
            config,
            state: moments(),
        }
    }
}

/// The state of Adam and its kin: two moments.
pub(super) fn moments() -> State<2> {
    State::new(["m", "v"], [0.0; 2])
}

impl Optimizer for Adam {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        let config = self.config;
        let decay = |weight: &Var| config.decay_scope.of(weight, config.weight_decay);
        step(
            &mut self.state,
            parameters,
            gradients,
            learning_rate,
            &config,
            |weight| (decay(weight), 0.0),
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

/// One step of Adam or AdamW; `decays` says how much of a weight is added to its gradient, and how much is taken from it.
pub(super) fn step(
    state: &mut State<2>,
    parameters: &Parameters,
    gradients: &Gradients,
    learning_rate: f64,
    config: &AdamConfig,
    decays: impl Fn(&Var) -> (f64, f64),
) -> Result<()> {
    let AdamConfig { beta_1, beta_2, .. } = *config;
    let t = (state.steps() + 1) as f64;
    let (correction_1, root_2) = (1.0 - beta_1.powf(t), (1.0 - beta_2.powf(t)).sqrt());
    let (rate, root_scale) = match config.form {
        AdamForm::Keras => (learning_rate * root_2 / correction_1, 1.0),
        AdamForm::Torch => (learning_rate / correction_1, 1.0 / root_2),
    };
    state.step(parameters, gradients, |entry| {
        let (into_gradient, decoupled) = decays(entry.weight);
        let rule = AdamRule {
            rate,
            root_scale,
            keep_1: 1.0 - beta_1,
            keep_2: 1.0 - beta_2,
            epsilon: config.epsilon,
            into_gradient,
            decoupled: learning_rate * decoupled,
        };
        entry.run(&rule)?;
        Ok(())
    })
}

pub(super) struct AdamRule {
    rate: f64,
    root_scale: f64,
    keep_1: f64,
    keep_2: f64,
    epsilon: f64,
    into_gradient: f64,
    decoupled: f64,
}

#[cfg(feature = "cuda")]
impl AdamRule {
    fn numbers(&self) -> crate::kernel::cuda::AdamNumbers {
        crate::kernel::cuda::AdamNumbers {
            rate: self.rate,
            root_scale: self.root_scale,
            keep: [self.keep_1, self.keep_2],
            epsilon: self.epsilon,
            into_gradient: self.into_gradient,
            decoupled: self.decoupled,
        }
    }
}

impl Rule<2> for AdamRule {
    #[inline(always)]
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], [m, v]: [&mut [T]; 2]) -> [f64; 2] {
        let (rate, root_scale, epsilon) = (
            T::of(self.rate),
            T::of(self.root_scale),
            T::of(self.epsilon),
        );
        let (keep_1, keep_2) = (T::of(self.keep_1), T::of(self.keep_2));
        let (into_gradient, decoupled) = (T::of(self.into_gradient), T::of(self.decoupled));
        let n = w.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = g[i] + into_gradient * w[i];
            m[i] += (g - m[i]) * keep_1;
            v[i] += (g * g - v[i]) * keep_2;
            // One difference: `w · (1 − lr · decay)` would lose most digits of a small decay.
            w[i] -= decoupled * w[i] + rate * m[i] / (v[i].root() * root_scale + epsilon);
        }
        [0.0; 2]
    }

    fn tensors(&self, w: &Tensor, g: &Tensor, [m, v]: [&Tensor; 2]) -> Result<Changed<2>> {
        #[cfg(feature = "cuda")]
        if let Some([weight, m, v]) = crate::kernel::cuda::adam(w, g, [m, v], self.numbers())? {
            return Ok(Changed {
                weight: Some(weight),
                state: [m, v],
                sums: [0.0; 2],
            });
        }
        let g = (g + (w * self.into_gradient)?)?;
        let m = (m + ((&g - m)? * self.keep_1)?)?;
        let v = (v + ((g.sqr()? - v)? * self.keep_2)?)?;
        let root = ((v.sqrt()? * self.root_scale)? + self.epsilon)?;
        let change = ((w * self.decoupled)? + ((&m * self.rate)? / root)?)?;
        Ok(Changed {
            weight: Some((w - change)?),
            state: [m, v],
            sums: [0.0; 2],
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::AdamRule;

    pub(in super::super) fn rules() -> [AdamRule; 2] {
        let rule = |into_gradient, decoupled| AdamRule {
            rate: 0.1,
            root_scale: 1.3,
            keep_1: 0.1,
            keep_2: 0.01,
            epsilon: 1e-3,
            into_gradient,
            decoupled,
        };
        [rule(0.2, 0.0), rule(0.0, 0.05)]
    }
}

//! Optimizers.
//!
//! On the CPU an optimizer changes the weights where they lie and keeps its moments beside them: one pass over memory per
//! step, fused, in chunks of a fixed size, so that the weights have the same bits for any number of threads.
//! On other devices the same rules are tensor operations.

mod adam;
mod adamw;
mod lamb;
mod rmsprop;
mod rule;
mod sgd;
mod values;

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

pub use adam::{Adam, AdamConfig, AdamForm};
pub use adamw::{AdamW, AdamWConfig};
pub use lamb::{Lamb, LambConfig};
pub use rmsprop::{RmsProp, RmsPropConfig, RmsPropForm};
pub use sgd::{Sgd, SgdConfig};
pub(super) use values::{
    CHUNK, Real, Values, check_dtype, split_steps, sum_in_order, with_steps, with_values,
};

use crate::error::check_range;
use crate::{ConfigError, Gradients, Parameters, Result};

/// Changes weights by their gradients, and can be saved and resumed.
pub trait Optimizer: Send {
    /// Changes every weight that has a gradient.
    ///
    /// # Errors
    ///
    /// [`Error::Array`](crate::Error::Array) when a restored state or a gradient has not the shape and number type of its
    /// weight, and then no weight is changed; [`Error::Tensor`](crate::Error::Tensor) when the device fails.
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()>;

    /// The number of steps done.
    fn steps(&self) -> u64;

    /// Everything that the next step depends on, as named tensors in CPU memory.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when the device cannot be read.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Continues from a saved state.
    ///
    /// # Errors
    ///
    /// [`Error::Array`](crate::Error::Array) when the state is not one of this optimizer.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

/// Which optimizer trains a network, with its constants; the default is [`Adam`] in Keras' form.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{OptimizerConfig, SgdConfig};
///
/// let config: OptimizerConfig = serde_json::from_str(r#"{"kind": "lamb", "weight_decay": 1e-4}"#)?;
/// assert!(matches!(&config, OptimizerConfig::Lamb(lamb) if lamb.weight_decay == 1e-4));
/// let optimizer = config.build()?;
/// assert_eq!(optimizer.steps(), 0);
/// assert!(OptimizerConfig::from(SgdConfig::new().with_momentum(-1.0)).build().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Stochastic gradient descent, with momentum.
    Sgd(SgdConfig),
    /// Adam.
    Adam(AdamConfig),
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig),
    /// RMSprop.
    RmsProp(RmsPropConfig),
    /// LAMB and LAMBC.
    Lamb(LambConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimizerConfig {
    /// Adam in Keras' form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks every constant.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the constant.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Sgd(config) => config.validate(),
            Self::Adam(config) => config.validate(),
            Self::AdamW(config) => config.validate(),
            Self::RmsProp(config) => config.validate(),
            Self::Lamb(config) => config.validate(),
        }
    }

    /// An optimizer that has done no step.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn build(&self) -> Result<Box<dyn Optimizer>, ConfigError> {
        self.validate()?;
        Ok(match *self {
            Self::Sgd(config) => Box::new(Sgd::new(config)),
            Self::Adam(config) => Box::new(Adam::new(config)),
            Self::AdamW(config) => Box::new(AdamW::new(config)),
            Self::RmsProp(config) => Box::new(RmsProp::new(config)),
            Self::Lamb(config) => Box::new(Lamb::new(config)),
        })
    }
}

macro_rules! from_config {
    ($($config:ident => $variant:ident),*) => {
        $(impl From<$config> for OptimizerConfig {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        })*
    };
}

from_config!(
    SgdConfig => Sgd,
    AdamConfig => Adam,
    AdamWConfig => AdamW,
    RmsPropConfig => RmsProp,
    LambConfig => Lamb
);

/// Which weights are decayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecayScope {
    /// Those with two axes or more: kernels and embeddings, but neither biases nor the scales of a normalization.
    /// This is the rule of timm's optimizer factory.
    #[default]
    #[doc(alias = "filter_bias_and_bn")]
    Matrices,
    /// All, which is what torch does with a bare list of parameters.
    All,
}

impl DecayScope {
    /// The decay of a weight.
    fn of(self, weight: &Var, weight_decay: f64) -> f64 {
        match self {
            Self::Matrices if weight.rank() < 2 => 0.0,
            _ => weight_decay,
        }
    }
}

/// Checks a decay rate of a running mean.
fn check_beta(setting: &str, value: f64) -> Result<(), ConfigError> {
    let valid = (0.0..1.0).contains(&value);
    check_range(setting, value, valid, "from 0 up to but not including 1")
}

fn check_positive(setting: &str, value: f64) -> Result<(), ConfigError> {
    let valid = value > 0.0 && value.is_finite();
    check_range(setting, value, valid, "a finite number above 0")
}

fn check_not_negative(setting: &str, value: f64) -> Result<(), ConfigError> {
    let valid = value >= 0.0 && value.is_finite();
    check_range(setting, value, valid, "a finite number of at least 0")
}

#[cfg(test)]
mod tests;

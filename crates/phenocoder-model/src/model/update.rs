//! What a training step may change.

use crate::{Gradients, Parameters, Result};

/// Weights that one optimizer changes, under a name.
///
/// Every group has an optimizer of its own: its own moments, count of updates and settings.
/// A weight may be in several groups; then each optimizer keeps moments of its own for it.
///
/// # Examples
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use phenocoder_model::{ParameterGroup, Parameters, Role};
///
/// let mut parameters = Parameters::new();
/// for name in ["critic.kernel", "decoder.kernel", "encoder.kernel"] {
///     parameters.insert(name, Role::Weight, &Tensor::zeros(1, DType::F32, &Device::Cpu)?)?;
/// }
/// let critic = ParameterGroup::with_prefix("critic", &parameters, &["critic."]);
/// assert_eq!(critic.weights, ["critic.kernel"]);
/// assert_eq!(ParameterGroup::all(&parameters).weights.len(), 3);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParameterGroup {
    /// The name: `main`, `adversary`.
    pub name: String,
    /// The names of the weights.
    pub weights: Vec<String>,
}

impl ParameterGroup {
    /// The name of the group of models that have only one.
    pub const MAIN: &'static str = "main";

    /// A group of these weights.
    #[must_use]
    pub fn new(name: impl Into<String>, weights: Vec<String>) -> Self {
        Self {
            name: name.into(),
            weights,
        }
    }

    /// The group [`MAIN`](Self::MAIN) of all weights.
    #[must_use]
    pub fn all(parameters: &Parameters) -> Self {
        Self::with_prefix(Self::MAIN, parameters, &[""])
    }

    /// The weights whose names begin with one of the prefixes.
    #[must_use]
    pub fn with_prefix(
        name: impl Into<String>,
        parameters: &Parameters,
        prefixes: &[&str],
    ) -> Self {
        let weights = parameters
            .weights()
            .filter(|(weight, _)| prefixes.iter().any(|prefix| weight.starts_with(prefix)))
            .map(|(weight, _)| weight.to_owned());
        Self::new(name, weights.collect())
    }
}

/// Through which a model changes its weights in [`train_step`](crate::Autoencoder::train_step).
///
/// A model may call it several times in a step, in an order of its own: the adversary first, then, after another forward
/// pass with the changed adversary, all the rest.
/// What lies behind it (optimizers, learning rates, clipping, accumulation over batches) is not the model's business.
pub trait Update {
    /// Takes the gradients of some or all weights of a group; with accumulation the weights change after the last batch.
    ///
    /// # Errors
    ///
    /// [`Error::Group`](crate::Error::Group) when there is no such group or a gradient is not of the group;
    /// [`Error::Array`](crate::Error::Array) when a gradient has not the shape of its weight;
    /// [`Error::NonFiniteGradient`](crate::Error::NonFiniteGradient) when a gradient, or the sum of accumulated ones, is
    /// infinite or no number: then this call has changed no weight, though calls before it in the same step may have.
    fn apply(&mut self, group: &str, gradients: &Gradients) -> Result<()>;
}

//! The network.

use candle_core::{Device, Tensor, Var};
use phenocoder_core::{PatchShape, Seed};

use super::CvaeConfig;
use crate::kernel::{Activation, ConvLayer};
use crate::model::{check_batch, check_latents, in_pool, sample, train_on_loss};
use crate::nn::{Convolutions, Layer, LayerBuilder};
use crate::{
    Autoencoder, Batch, Error, Gradients, Losses, ParameterGroup, Parameters, Posterior, Precision,
    Result, Step, Update, loss,
};

/// The convolutional variational autoencoder, with conditions where its configuration has some.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, Seed};
/// use phenocoder_model::models::cvae::CvaeConfig;
/// use phenocoder_model::{Autoencoder, Batch};
///
/// let config = CvaeConfig::new(PatchShape::new(8, 8, 2), 4).with_conv_layers([8, 16]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let batch = Batch::new(&PatchBatch::zeros(3, config.input, 0), model.device())?;
/// let posterior = model.encode(&batch)?;
/// assert_eq!(posterior.mean.dims(), [3, 4]);
/// assert_eq!(model.decode(&posterior.mean, None)?.dims(), [3, 8, 8, 2]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "CVAE")]
pub struct Cvae {
    config: CvaeConfig,
    device: Device,
    parameters: Parameters,
    encoder: Convolutions,
    encoder_dense: Layer,
    mean: Layer,
    log_var: Layer,
    decoder_dense: Layer,
    decoder: Convolutions,
}

/// The same network with conditions: [`CvaeConfig::n_conditions`] is above 0.
#[doc(alias = "CondCVAE")]
pub type CondCvae = Cvae;

impl Cvae {
    /// Builds the network with Glorot-uniform kernels and zero biases drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the configuration is not valid; [`Error::Tensor`] when the device refuses.
    pub fn new(config: &CvaeConfig, seed: Seed, device: &Device) -> Result<Self> {
        config.validate()?;
        let mut builder = LayerBuilder::new(seed, device);
        let [h, w, first] = config.bottleneck();
        let conditions = config.n_conditions;
        let mut encoder = Vec::new();
        let mut channels = config.input.channels;
        for (i, &width) in config.conv_layers.iter().enumerate() {
            let name = format!("encoder.conv.{i}");
            let layer = builder.layer(&name, &[3, 3, channels, width], width)?;
            let shape = ConvLayer::conv(width).with_stride(2);
            encoder.push((shape.with_activation(Activation::Relu), layer));
            channels = width;
        }
        let flat = h * w * channels + conditions;
        let (dense_dim, latent) = (config.dense_dim, config.latent_dim);
        let encoder_dense = builder.layer("encoder.dense", &[flat, dense_dim], dense_dim)?;
        let mean = builder.layer("encoder.z_mean", &[dense_dim, latent], latent)?;
        let log_var = builder.layer("encoder.z_log_var", &[dense_dim, latent], latent)?;
        let inner = h * w * first;
        let decoder_dense = builder.layer("decoder.dense", &[latent + conditions, inner], inner)?;
        let mut decoder = Vec::new();
        let mut channels = first;
        for (i, &width) in config.conv_layers.iter().rev().enumerate() {
            let name = format!("decoder.conv.{i}");
            let layer = builder.layer(&name, &[3, 3, width, channels], width)?;
            let shape = ConvLayer::conv_transpose(width).with_stride(2);
            decoder.push((shape.with_activation(Activation::Relu), layer));
            channels = width;
        }
        let pixels = config.input.channels;
        let output = builder.layer("decoder.output", &[3, 3, pixels, channels], pixels)?;
        decoder.push((ConvLayer::conv_transpose(pixels), output));
        let PatchShape {
            height,
            width,
            channels,
        } = config.input;
        Ok(Self {
            config: config.clone(),
            device: device.clone(),
            parameters: builder.into_parameters(),
            encoder: Convolutions::new([height, width, channels], encoder)?,
            encoder_dense,
            mean,
            log_var,
            decoder_dense,
            decoder: Convolutions::new([h, w, first], decoder)?,
        })
    }

    /// The settings of the network.
    #[must_use]
    pub fn config(&self) -> &CvaeConfig {
        &self.config
    }

    /// Means and logarithms of the variances.
    fn moments(&self, batch: &Batch, step: &Step) -> Result<(Tensor, Tensor)> {
        check_batch(self, batch)?;
        self.heads(&self.encoder.apply(&batch.pixels, step)?, batch, step)
    }

    /// The same from what the encoder's convolutions made, `[n, y, x, c]`.
    fn heads(&self, features: &Tensor, batch: &Batch, step: &Step) -> Result<(Tensor, Tensor)> {
        let x = join(&features.flatten_from(1)?, batch.conditions.as_ref())?;
        let x = self.encoder_dense.dense_in(&x, Activation::Relu, step)?;
        let x = step.drop_out("encoder-dropout", &x, self.config.dropout)?;
        let mean = self.mean.dense(&x, Activation::Linear)?;
        let log_var = self.log_var.dense(&x, Activation::Linear)?;
        Ok((mean, log_var))
    }

    /// The images that the decoder's convolutions begin with, `[n, y, x, c]`.
    fn seeds(&self, z: &Tensor, conditions: Option<&Tensor>, step: &Step) -> Result<Tensor> {
        let x = self
            .decoder_dense
            .dense_in(&join(z, conditions)?, Activation::Relu, step)?;
        let x = step.drop_out("decoder-dropout", &x, self.config.dropout)?;
        let [h, w, c] = self.config.bottleneck();
        Ok(x.reshape(((), h, w, c))?)
    }

    /// The loss of a batch with given noise: `z = z_mean + e^(z_log_var / 2) · noise`.
    ///
    /// # Shapes
    ///
    /// `noise`: `[n, latent]`; none decodes the mean.
    ///
    /// # Errors
    ///
    /// [`Error::Patches`] when the batch does not fit the network; [`Error::Tensor`] when the device fails.
    pub fn loss_with_noise(
        &self,
        batch: &Batch,
        noise: Option<&Tensor>,
        step: &Step,
    ) -> Result<Losses> {
        let (mean, log_var) = self.moments(batch, step)?;
        let z = draw(&mean, &log_var, noise)?;
        let seeds = self.seeds(&z, batch.conditions.as_ref(), step)?;
        let reconstruction = self.decoder.cross_entropy(&seeds, &batch.pixels, step)?;
        let kl = loss::kl(&mean, &log_var)?;
        self.losses(reconstruction, kl)
    }

    fn losses(&self, reconstruction: Tensor, kl: Tensor) -> Result<Losses> {
        let total = (&reconstruction + (&kl * self.config.beta)?)?;
        Ok(Losses::new(
            total,
            vec![("reconstruction", reconstruction), ("kl", kl)],
        ))
    }

    /// Noise for the latents of a batch, if the step has any.
    fn noise(&self, batch: &Batch, step: &Step) -> Result<Option<Tensor>> {
        let shape = (batch.len(), self.config.latent_dim);
        step.noise
            .then(|| step.normal("latent-noise", shape, &self.device))
            .transpose()
    }

    /// Loss and gradients on the CPU.
    ///
    /// The convolutions stand outside candle's graph, which would make zeros and a sum for each of their gradients: it only
    /// goes from what the encoder's made to what the decoder's begin with.
    fn loss_and_gradients(&self, batch: &Batch, step: &Step) -> Result<(Losses, Gradients)> {
        check_batch(self, batch)?;
        let (features, tape) = self.encoder.apply_with_tape(&batch.pixels)?;
        let features = Var::from_tensor(&features)?;
        let (mean, log_var) = self.heads(&features, batch, step)?;
        let z = draw(&mean, &log_var, self.noise(batch, step)?.as_ref())?;
        let seeds = self.seeds(&z, batch.conditions.as_ref(), step)?;
        let (reconstruction, pull, decoder) = self
            .decoder
            .cross_entropy_and_gradients(&seeds, &batch.pixels)?;
        let kl = loss::kl(&mean, &log_var)?;
        // The gradient of this sum by any weight between the convolutions is that of the total loss.
        let middle = ((&seeds * pull)?.sum_all()? + (&kl * self.config.beta)?)?;
        let store = middle.backward()?;
        let mut gradients = Gradients::new();
        for (name, weight) in self.parameters.weights() {
            if let Some(gradient) = store.get(weight) {
                gradients.insert(name.to_owned(), gradient.clone());
            }
        }
        decoder.add_to(&mut gradients);
        let features = store.get(&features).ok_or_else(|| Error::NoGradient {
            name: "encoder".to_owned(),
        })?;
        self.encoder
            .backward(tape, features)?
            .add_to(&mut gradients);
        let mut names = self.parameters.weights().map(|(name, _)| name);
        if let Some(name) = names.find(|name| !gradients.contains_key(*name)) {
            let name = name.to_owned();
            return Err(Error::NoGradient { name });
        }
        let reconstruction = Tensor::new(reconstruction as f32, &self.device)?;
        Ok((self.losses(reconstruction, kl.detach())?, gradients))
    }
}

/// A point of the latent distribution: its mean without noise.
fn draw(mean: &Tensor, log_var: &Tensor, noise: Option<&Tensor>) -> Result<Tensor> {
    match noise {
        Some(noise) => sample(mean, log_var, noise),
        None => Ok(mean.clone()),
    }
}

/// Appends the condition columns.
fn join(x: &Tensor, conditions: Option<&Tensor>) -> Result<Tensor> {
    match conditions {
        Some(conditions) => Ok(Tensor::cat(&[x, conditions], 1)?),
        None => Ok(x.clone()),
    }
}

impl Autoencoder for Cvae {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(&self.config).map_err(|source| Error::Section {
            name: "config".to_owned(),
            source,
        })
    }

    fn input(&self) -> PatchShape {
        self.config.input
    }

    fn n_conditions(&self) -> usize {
        self.config.n_conditions
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn encode(&self, batch: &Batch) -> Result<Posterior> {
        let step = Step::evaluation();
        let (mean, log_var) = in_pool(&self.device, || self.moments(batch, &step))?;
        Ok(Posterior::new(mean, Some(log_var)))
    }

    fn decode(&self, latents: &Tensor, conditions: Option<&Tensor>) -> Result<Tensor> {
        check_latents(self, latents, conditions)?;
        let step = Step::evaluation();
        let logits = self
            .decoder
            .apply(&self.seeds(latents, conditions, &step)?, &step)?;
        Ok(candle_nn::ops::sigmoid(&logits)?)
    }

    fn release_memory(&self) {
        self.encoder.release();
        self.decoder.release();
    }

    fn precisions(&self) -> &'static [Precision] {
        &[Precision::F32, Precision::Bf16]
    }

    fn loss(&self, batch: &Batch, step: &Step) -> Result<Losses> {
        let noise = self.noise(batch, step)?;
        self.loss_with_noise(batch, noise.as_ref(), step)
    }

    fn train_step(&self, batch: &Batch, step: &Step, update: &mut dyn Update) -> Result<Losses> {
        if !self.device.is_cpu() || step.precision != Precision::F32 {
            return train_on_loss(self, batch, step, update);
        }
        let (losses, gradients) = in_pool(&self.device, || self.loss_and_gradients(batch, step))?;
        update.apply(ParameterGroup::MAIN, &gradients)?;
        Ok(losses)
    }
}

impl Cvae {
    /// The name of this kind of model in weights files.
    pub const KIND: &'static str = "cvae";
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use phenocoder_core::PatchBatch;

    use super::*;
    use crate::Role;

    #[test]
    fn a_weight_that_no_gradient_reaches_is_named() {
        let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
        let mut model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let patches = PatchBatch::zeros(3, config.input, 0);
        let batch = Batch::new(&patches, &Device::Cpu).unwrap();
        let step = Step::training(Seed::new(2), 0);
        let (_, gradients) = model.loss_and_gradients(&batch, &step).unwrap();
        let weights = model.parameters.weights().map(|(name, _)| name);
        assert!(gradients.keys().map(String::as_str).eq(weights));
        let unused = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let inserted = model.parameters.insert("unused", Role::Weight, &unused);
        inserted.unwrap();
        let error = model.loss_and_gradients(&batch, &step).unwrap_err();
        assert_eq!(error.to_string(), "parameter `unused` received no gradient");
    }
}

//! The network.

use candle_core::{Device, Tensor};
use ndarray::Array2;
use phenocoder_core::{PatchShape, Seed};

use super::{MeVaeConfig, loss};
use crate::kernel::{Activation, ConvLayer};
use crate::model::{check_batch, check_latents, in_pool, products_of_normals};
use crate::nn::{Convolutions, Layer, LayerBuilder};
use crate::{Autoencoder, Batch, Error, Losses, Parameters, Posterior, Precision, Result, Step};

/// The multi-encoder variational autoencoder.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, Seed};
/// use phenocoder_model::models::mevae::MeVaeConfig;
/// use phenocoder_model::{Autoencoder, Batch, Step};
///
/// let config = MeVaeConfig::new(PatchShape::new(8, 8, 1), 4).with_conv_layers([8, 16]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let mut cells = PatchBatch::zeros(3, config.input, 0);
/// cells.views = vec![cells.pixels.clone(), cells.pixels.clone()];
/// let batch = Batch::new(&cells, model.device())?;
/// assert!(model.loss(&batch, &Step::training(Seed::new(2), 0))?.total.to_scalar::<f32>()?.is_finite());
///
/// let posterior = model.encode(&batch)?;
/// assert_eq!(posterior.mean.dims(), [3, 4]);
/// assert_eq!(model.decode(&posterior.mean, None)?.dims(), [3, 8, 8, 1]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "ME_VAE")]
pub struct MeVae {
    config: MeVaeConfig,
    device: Device,
    parameters: Parameters,
    encoders: Vec<Encoder>,
    decoder_dense: Layer,
    decoder: Convolutions,
}

#[derive(Debug)]
struct Encoder {
    convolutions: Convolutions,
    dense: Layer,
    mean: Layer,
    log_var: Layer,
}

impl Encoder {
    fn new(config: &MeVaeConfig, index: usize, builder: &mut LayerBuilder<'_>) -> Result<Self> {
        let k = config.kernel_size;
        let mut convolutions = Vec::new();
        let mut channels = config.input.channels;
        for (i, &width) in config.conv_layers.iter().enumerate() {
            let name = format!("encoder.{index}.conv.{i}");
            let layer = builder.layer(&name, &[k, k, channels, width], width)?;
            let shape = ConvLayer::conv(width).with_kernel([k, k]).with_stride(2);
            convolutions.push((shape.with_activation(Activation::Relu), layer));
            channels = width;
        }
        let PatchShape { height, width, .. } = config.input;
        let convolutions = Convolutions::new([height, width, config.input.channels], convolutions)?;
        let flat: usize = config.bottleneck().iter().product();
        let (dense_dim, latent) = (config.dense_dim, config.latent_dim);
        let mut dense = |name: &str, inputs: usize, outputs: usize| {
            let name = format!("encoder.{index}.{name}");
            builder.layer(&name, &[inputs, outputs], outputs)
        };
        Ok(Self {
            convolutions,
            dense: dense("dense", flat, dense_dim)?,
            mean: dense("z_mean", dense_dim, latent)?,
            log_var: dense("z_log_var", dense_dim, latent)?,
        })
    }

    /// Means and logarithms of the variances.
    fn moments(&self, pixels: &Tensor, step: &Step) -> Result<(Tensor, Tensor)> {
        let x = self.convolutions.apply(pixels, step)?;
        let x = self
            .dense
            .dense_in(&x.flatten_from(1)?, Activation::Relu, step)?;
        let mean = self.mean.dense(&x, Activation::Linear)?;
        let log_var = self.log_var.dense(&x, Activation::Linear)?;
        Ok((mean, log_var))
    }
}

impl MeVae {
    /// The name of this kind of model in weights files.
    pub const KIND: &'static str = "me_vae";

    /// Builds the network with Glorot-uniform kernels and zero biases drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the configuration is not valid; [`Error::Tensor`] when the device refuses.
    pub fn new(config: &MeVaeConfig, seed: Seed, device: &Device) -> Result<Self> {
        config.validate()?;
        let mut builder = LayerBuilder::new(seed, device);
        let encoders = (0..config.n_encoders)
            .map(|index| Encoder::new(config, index, &mut builder))
            .collect::<Result<_>>()?;
        let [h, w, last] = config.bottleneck();
        let mut channels = last;
        let (k, inner) = (config.kernel_size, h * w * last);
        let latent = config.latent_dim;
        let decoder_dense = builder.layer("decoder.dense", &[latent, inner], inner)?;
        let mut decoder = Vec::new();
        for (i, width) in config.decoder_layers().into_iter().flatten().enumerate() {
            let name = format!("decoder.conv.{i}");
            let layer = builder.layer(&name, &[k, k, width, channels], width)?;
            let shape = ConvLayer::conv_transpose(width)
                .with_kernel([k, k])
                .with_stride(2);
            decoder.push((shape.with_activation(Activation::Relu), layer));
            channels = width;
        }
        let pixels = config.input.channels;
        let output = builder.layer("decoder.output", &[k, k, pixels, channels], pixels)?;
        decoder.push((
            ConvLayer::conv_transpose(pixels).with_kernel([k, k]),
            output,
        ));
        Ok(Self {
            config: config.clone(),
            device: device.clone(),
            parameters: builder.into_parameters(),
            encoders,
            decoder_dense,
            decoder: Convolutions::new([h, w, last], decoder)?,
        })
    }

    /// The settings of the network.
    #[must_use]
    pub fn config(&self) -> &MeVaeConfig {
        &self.config
    }

    /// What each encoder makes of its view, in their order; the fused distribution is that of
    /// [`encode`](Autoencoder::encode).
    ///
    /// Where the batch has no views, every encoder sees [`Batch::pixels`].
    ///
    /// # Shapes
    ///
    /// `[n, y, x, c]` to `[n, latent]` for each encoder.
    ///
    /// # Errors
    ///
    /// As [`encode`](Autoencoder::encode).
    pub fn encode_views(&self, batch: &Batch) -> Result<Vec<Posterior>> {
        let moments = self.moments(&self.with_views(batch)?, &Step::evaluation())?;
        let posterior = |(mean, log_var)| Posterior::new(mean, Some(log_var));
        Ok(moments.into_iter().map(posterior).collect())
    }

    /// The loss of a batch with given noise, `z = z_mean + e^(z_log_var / 2) · noise`.
    ///
    /// # Shapes
    ///
    /// `noise`: `[n, latent]`, one for each encoder with [`Fusion::Product`](super::Fusion::Product), else one; none decodes the mean.
    ///
    /// # Errors
    ///
    /// [`Error::Patches`] when the batch does not fit the network, views included; [`Error::Shape`] for another number of
    /// noises; [`Error::Tensor`] when the device fails.
    pub fn loss_with_noise(
        &self,
        batch: &Batch,
        noise: Option<&[Tensor]>,
        step: &Step,
    ) -> Result<Losses> {
        self.check(batch)?;
        let config = &self.config;
        let posteriors = self.moments(batch, step)?;
        let (mean, log_var) = config.fusion.posterior(&posteriors)?;
        let fused = Posterior::new(mean, Some(log_var));
        let z = match noise {
            Some(noise) => config.fusion.sample(&posteriors, &fused, noise)?,
            None => fused.mean.clone(),
        };
        let entropy = self
            .decoder
            .cross_entropy(&self.seeds(&z, step)?, &batch.pixels, step)?;
        let reconstruction = loss::reconstruction(config.likelihood, entropy, config.input)?;
        let kl = loss::divergence(config.kl, config.fusion, &posteriors, &fused)?;
        let total = (&reconstruction + (&kl * config.kl_weight)?)?;
        let parts = vec![("reconstruction", reconstruction), ("kl", kl)];
        Ok(Losses::new(total, parts))
    }

    /// The batch with a view for each encoder: its own, or its pixels for all.
    fn with_views(&self, batch: &Batch) -> Result<Batch> {
        let mut batch = batch.clone();
        if batch.views.is_empty() {
            batch.views = vec![batch.pixels.clone(); self.n_views()];
        }
        self.check(&batch)?;
        Ok(batch)
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        match batch.views.as_slice() {
            // A single encoder may see another image than the one to reconstruct, but need not.
            [view] if self.encoders.len() == 1 => {
                let mut plain = batch.clone();
                plain.views.clear();
                check_batch(self, &plain)?;
                plain.pixels = view.clone();
                check_batch(self, &plain)
            }
            _ => check_batch(self, batch),
        }
    }

    /// What each encoder makes of its view, or a single one of the pixels where there is none.
    fn moments(&self, batch: &Batch, step: &Step) -> Result<Vec<(Tensor, Tensor)>> {
        let views = match batch.views.as_slice() {
            [] => std::slice::from_ref(&batch.pixels),
            views => views,
        };
        let pairs = self.encoders.iter().zip(views);
        pairs
            .map(|(encoder, view)| encoder.moments(view, step))
            .collect()
    }

    /// The images that the decoder's convolutions begin with, `[n, y, x, c]`.
    fn seeds(&self, z: &Tensor, step: &Step) -> Result<Tensor> {
        let x = self.decoder_dense.dense_in(z, Activation::Relu, step)?;
        let [h, w, c] = self.config.bottleneck();
        Ok(x.reshape(((), h, w, c))?)
    }
}

impl Autoencoder for MeVae {
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
        0
    }

    /// One for each encoder; none for a single encoder, which may do without.
    fn n_views(&self) -> usize {
        match self.config.n_encoders {
            1 => 0,
            n => n,
        }
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

    /// The fused latents of a batch.
    ///
    /// Where the batch has no views, every encoder sees [`Batch::pixels`], which should then be canonical images.
    /// With [`Fusion::Product`](super::Fusion::Product) the mean is the product of the encoders' means and the variance that of the product.
    fn encode(&self, batch: &Batch) -> Result<Posterior> {
        let (batch, step) = (self.with_views(batch)?, Step::evaluation());
        let (mean, log_var) = in_pool(&self.device, || {
            let moments = self.moments(&batch, &step)?;
            self.config.fusion.posterior(&moments)
        })?;
        Ok(Posterior::new(mean, Some(log_var)))
    }

    fn decode(&self, latents: &Tensor, conditions: Option<&Tensor>) -> Result<Tensor> {
        check_latents(self, latents, conditions)?;
        let step = Step::evaluation();
        let logits = self.decoder.apply(&self.seeds(latents, &step)?, &step)?;
        Ok(candle_nn::ops::sigmoid(&logits)?)
    }

    fn release_memory(&self) {
        self.encoders.iter().for_each(|e| e.convolutions.release());
        self.decoder.release();
    }

    fn precisions(&self) -> &'static [Precision] {
        &[Precision::F32, Precision::Bf16]
    }

    /// With [`Fusion::Product`](super::Fusion::Product) each is a product of one standard normal number for each encoder
    /// (variance 1, kurtosis 3 to the number of encoders), else a standard normal number.
    fn sample_prior(&self, n: usize, seed: Seed) -> Array2<f32> {
        let factors = self.config.fusion.draws(self.config.n_encoders);
        products_of_normals(n, self.config.latent_dim, factors, seed)
    }

    fn loss(&self, batch: &Batch, step: &Step) -> Result<Losses> {
        if !step.noise {
            return self.loss_with_noise(batch, None, step);
        }
        let shape = (batch.len(), self.config.latent_dim);
        let draw = |i: usize| {
            // The first has the name that a plain VAE uses, so that one encoder makes the same draws.
            let name = match i {
                0 => "latent-noise".to_owned(),
                i => format!("latent-noise-{i}"),
            };
            let noise = step.normal(&name, shape, &self.device)?;
            Ok((noise * self.config.noise_std)?)
        };
        let draws = self.config.fusion.draws(self.config.n_encoders);
        let noise = (0..draws).map(draw).collect::<Result<Vec<_>>>()?;
        self.loss_with_noise(batch, Some(&noise), step)
    }
}

//! A ME-VAE and a plain VAE on the same cells, and what their latents tell of angle and type.

use ndarray::{Array2, ArrayView2};
use phenocoder::core::{NoProgress, PatchSource, Progress, Seed};
use phenocoder::datasets::{PLANTED_TYPES, PlantedCells, PlantedConfig, planted_cells};
use phenocoder::embed::cluster::{KMeansConfig, kmeans};
use phenocoder::embed::evaluate::{
    LinearConfig, linear_predictability, normalized_mutual_information,
};
use phenocoder::model::models::mevae::{MeVae, MeVaeConfig};
use phenocoder::model::train::{CosineConfig, FitConfig, ScheduleConfig, Trainer};
use phenocoder::model::{Autoencoder, DeviceChoice, Latent, encode, select_device};
use phenocoder::patches::views::{Draw, Nuisance, Transformed, ViewConfig, ViewGenerator};

/// What is made and trained.
pub(crate) struct Experiment {
    /// The cells.
    pub(crate) cells: PlantedConfig,
    /// The ME-VAE; the plain VAE has one encoder, and wider layers, for at least as many weights.
    pub(crate) model: MeVaeConfig,
    /// Epochs of both.
    pub(crate) epochs: usize,
    /// Weights, order, noise and views.
    pub(crate) seed: Seed,
}

/// What the latents of one network tell.
pub(crate) struct Outcome {
    /// The network and what it saw.
    pub(crate) name: &'static str,
    /// Weights of the network.
    pub(crate) parameters: usize,
    /// The means of the latents, a row for each cell.
    pub(crate) latents: Array2<f64>,
    /// Of k-means clusters of the means with the cell types.
    pub(crate) nmi: f64,
    /// R² of (cos kθ, sin kθ) from a draw of each cell's latents, k = 1 (direction) and k = 2 (axis).
    ///
    /// A draw is what the decoder gets, and what the original exports as encodings.
    pub(crate) angle: [f64; 2],
    /// The same from the means.
    pub(crate) angle_of_means: [f64; 2],
}

impl Outcome {
    /// The larger of the R² of direction and axis.
    pub(crate) fn largest_angle(&self) -> f64 {
        self.angle[0].max(self.angle[1])
    }
}

/// What [`run`] returns.
pub(crate) struct Results {
    /// The cells and their truth.
    pub(crate) cells: PlantedCells,
    /// The plain VAE on the cells as they came; θ is the planted angle.
    pub(crate) vae: Outcome,
    /// The ME-VAE on views as in training; θ is the angle by which the first encoder's view is turned.
    pub(crate) mevae: Outcome,
    /// The ME-VAE whose encoders all see the canonical image; θ is the planted angle.
    pub(crate) mevae_canonical: Outcome,
}

impl Results {
    /// What is claimed, in words with the numbers, and whether it holds.
    pub(crate) fn verdicts(&self) -> [(String, bool); 4] {
        let (plain, mevae) = (self.vae.largest_angle(), self.mevae.largest_angle());
        let [direction, axis] = self.mevae_canonical.angle_of_means;
        let canonical = direction.max(axis);
        let gain = self.mevae.nmi - self.vae.nmi;
        [
            (
                format!("angle, plain VAE, draws             {plain:.3} ≥ {ANGLE_PLAIN}"),
                plain >= ANGLE_PLAIN,
            ),
            (
                format!("angle, ME-VAE, draws from views     {mevae:.3} ≤ {ANGLE_BAR}"),
                mevae <= ANGLE_BAR,
            ),
            (
                format!("angle, ME-VAE, means of canonical   {canonical:.3} ≤ {ANGLE_BAR}"),
                canonical <= ANGLE_BAR,
            ),
            (
                format!("types, NMI gained                   {gain:.3} ≥ {NMI_GAIN}"),
                gain >= NMI_GAIN,
            ),
        ]
    }
}

/// Bars of the claim.
pub(crate) const ANGLE_BAR: f64 = 0.1;
/// The plain VAE shows the angle at least this well.
pub(crate) const ANGLE_PLAIN: f64 = 0.3;
/// The ME-VAE's clusters agree with the types by this much more.
pub(crate) const NMI_GAIN: f64 = 0.2;

/// One view for each encoder.
pub(crate) fn views() -> ViewConfig {
    ViewConfig::new([Nuisance::Rotation, Nuisance::Polar, Nuisance::SIZE])
}

/// Makes cells, trains both networks and asks their latents.
pub(crate) fn run(experiment: &Experiment, progress: &dyn Progress) -> anyhow::Result<Results> {
    let cells = planted_cells(&experiment.cells)?;
    let patches = &cells.patches;
    let planted: Vec<f64> = cells.truth.iter().map(|t| t.angle).collect();
    let types: Vec<u32> = cells.truth.iter().map(|t| t.cell_type as u32).collect();

    let plain = widened(&experiment.model)?;
    let plain = train(experiment, &plain, patches, None, progress)?;
    let vae = measure("plain VAE", &plain, patches, &planted, &types, progress)?;

    let views = views().build()?;
    let model = train(
        experiment,
        &experiment.model,
        patches,
        Some(&views),
        progress,
    )?;
    // Views that training has not drawn.
    let seed = experiment.seed.derive("views to encode", 0);
    let turned: Vec<f64> = (0..patches.len())
        .filter_map(|number| match views.draws(number, 1, seed).first() {
            Some(Draw::Rotation(angle)) => Some(*angle),
            _ => None,
        })
        .collect();
    let source = Transformed::new(patches, &views, seed);
    let mevae = measure("ME-VAE, views", &model, &source, &turned, &types, progress)?;

    let canonical = ViewConfig::new([]).with_canonical(views.config().canonical);
    let canonical = canonical.build()?;
    let source = Transformed::new(patches, &canonical, seed);
    let name = "ME-VAE, canonical images";
    let mevae_canonical = measure(name, &model, &source, &planted, &types, progress)?;
    Ok(Results {
        cells,
        vae,
        mevae,
        mevae_canonical,
    })
}

/// The plain VAE: one encoder, and all layers wider alike until it has at least as many weights as the ME-VAE.
fn widened(mevae: &MeVaeConfig) -> anyhow::Result<MeVaeConfig> {
    let device = select_device(DeviceChoice::Cpu)?.device;
    let weights = |config: &MeVaeConfig| {
        let model = config.build(Seed::new(0), &device)?;
        anyhow::Ok(model.parameters().count())
    };
    let wanted = weights(mevae)?;
    for sixteenths in 16..64 {
        let wide = |width: usize| (width * sixteenths).div_ceil(16);
        let layers: Vec<usize> = mevae.conv_layers.iter().map(|&width| wide(width)).collect();
        let plain = mevae
            .clone()
            .with_n_encoders(1)
            .with_conv_layers(layers)
            .with_dense_dim(wide(mevae.dense_dim));
        if weights(&plain)? >= wanted {
            return Ok(plain);
        }
    }
    anyhow::bail!("no plain VAE has {wanted} weights")
}

fn train(
    experiment: &Experiment,
    config: &MeVaeConfig,
    patches: &dyn PatchSource,
    views: Option<&ViewGenerator>,
    progress: &dyn Progress,
) -> anyhow::Result<MeVae> {
    let device = select_device(DeviceChoice::Cpu)?.device;
    let mut model = config.build(experiment.seed, &device)?;
    let settings = FitConfig::new()
        .with_epochs(experiment.epochs)
        .with_batch_size(32)
        .with_learning_rate(2e-3)
        .with_schedule(ScheduleConfig::Cosine(CosineConfig::new()))
        .with_early_stopping(None)
        .with_seed(experiment.seed);
    let mut trainer = Trainer::new(settings).with_progress(progress);
    if let Some(views) = views {
        trainer = trainer.with_transforms(&[views]);
    }
    trainer.fit(&mut model, patches, None)?;
    Ok(model)
}

fn measure(
    name: &'static str,
    model: &MeVae,
    patches: &dyn PatchSource,
    angles: &[f64],
    types: &[u32],
    progress: &dyn Progress,
) -> anyhow::Result<Outcome> {
    let latents = |latent| {
        let latents = encode(model, patches, 256, latent, progress)?;
        anyhow::Ok(latents.mapv(f64::from))
    };
    let means = latents(Latent::Mean)?;
    let draws = latents(Latent::Sampled(Seed::new(1)))?;
    let clusters = KMeansConfig::new(PLANTED_TYPES.len()).with_restarts(10);
    let clusters = kmeans(means.view(), &clusters, progress)?;
    Ok(Outcome {
        name,
        parameters: model.parameters().count(),
        nmi: normalized_mutual_information(&clusters.clustering.labels, types)?,
        angle: predictability(draws.view(), angles)?,
        angle_of_means: predictability(means.view(), angles)?,
        latents: means,
    })
}

/// R² of the direction and of the axis: cross-validated least squares on five folds, cosine and sine together.
fn predictability(latents: ArrayView2<'_, f64>, angles: &[f64]) -> anyhow::Result<[f64; 2]> {
    let r2 = |k: f64| {
        let target = Array2::from_shape_fn((angles.len(), 2), |(row, column)| match column {
            0 => (k * angles[row]).cos(),
            _ => (k * angles[row]).sin(),
        });
        linear_predictability(
            latents,
            target.view(),
            &LinearConfig::default(),
            &NoProgress,
        )
    };
    Ok([r2(1.0)?, r2(2.0)?])
}

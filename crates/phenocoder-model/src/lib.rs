//! Convolutional variational autoencoders of cell images: training, encoding, and weights in one file.
//!
//! Take only this crate if you have patches (anything that implements [`PatchSource`](phenocoder_core::PatchSource),
//! [`PatchBatch`](phenocoder_core::PatchBatch) among others) and want latents.
//!
//! # Example
//!
//! ```
//! use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
//! use phenocoder_model::models::cvae::CvaeConfig;
//! use phenocoder_model::{Latent, encode};
//! # #[cfg(feature = "train")]
//! use phenocoder_model::train::{FitConfig, fit};
//!
//! let patches = PatchBatch::zeros(20, PatchShape::new(8, 8, 1), 0);
//! let config = CvaeConfig::new(PatchShape::new(8, 8, 1), 2).with_conv_layers([4, 8]);
//! let mut model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
//! # #[cfg(feature = "train")] {
//! let record = fit(&mut model, &patches, None, &FitConfig::new().with_epochs(2), &mut [], &NoProgress)?;
//! assert!(record.epochs[1].train.total < record.epochs[0].train.total);
//! # }
//! let latents = encode(&model, &patches, 64, Latent::Mean, &NoProgress)?;
//! assert_eq!(latents.dim(), (20, 2));
//! # Ok::<(), phenocoder_model::Error>(())
//! ```
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | Which networks are there? | [`models::cvae`]: CVAE and conditional CVAE; [`models::mevae`]: several encoders that see a cell in several ways |
//! | How is one trained, and a training resumed? | `train::fit`, `train::Trainer`, `train::FitConfig`, `train::Observer` (feature `train`) |
//! | What does it say of my patches? | [`encode`](fn@encode), [`reconstruct`], [`decode`] |
//! | What does it imagine? | [`sample`], [`traverse`], [`interpolate`], [`transfer`] |
//! | How is it kept? | [`weights::SavedModel`], [`weights::Sections`], [`weights::names`] |
//! | How do I add a network? | [`Autoencoder`], [`Parameters`], [`kernel`], [`loss`] |
//! | Where does it run? | [`select_device`] |
//!
//! # Features
//!
//! * `train` (default): the module `train`; without it the crate only encodes.
//! * `cuda`, `cudnn`, `metal`: GPUs. `mkl`, `accelerate`: matrix products of these libraries inside candle.
//!
//! # Conventions
//!
//! Tensors are `[n, y, x, c]` and `f32`.
//! On the CPU all results have the same bits for any number of threads; chance comes from
//! [`Seed`](phenocoder_core::Seed) alone.

mod device;
mod encode;
mod error;
pub mod kernel;
mod loader;
pub mod loss;
mod model;
pub mod models;
mod nn;
mod parameters;
#[cfg(feature = "train")]
pub mod train;
pub mod weights;

pub use device::{DeviceChoice, SelectedDevice, select_device};
pub use encode::{
    Generated, Grid, InterpolateConfig, Latent, LatentPath, SampleConfig, TransferConfig,
    TraverseConfig, Walk, decode, encode, interpolate, reconstruct, sample, transfer, traverse,
};
pub use error::{ConfigError, Error, FileError, Result};
pub use model::{Autoencoder, Batch, Losses, ParameterGroup, Posterior, Precision, Step, Update};
pub use models::cvae::{CondCvae, Cvae, CvaeConfig};
pub use models::mevae::{MeVae, MeVaeConfig};
pub use parameters::{Gradients, Parameters, Role, Snapshot};
pub use weights::{SavedModel, Sections};

//! The multi-encoder variational autoencoder (ME-VAE): what a cell looks like, without how it happens to lie.
//!
//! Ternes, L., Dane, M., Gross, S., Labrie, M., Mills, G., Gray, J., Heiser, L. and Chang, Y. H.: A multi-encoder
//! variational autoencoder controls multiple transformational features in single-cell image analysis.
//! *Communications Biology* 5:255 (2022), doi [10.1038/s42003-022-03218-x](https://doi.org/10.1038/s42003-022-03218-x).

mod config;
mod fusion;
mod loss;
mod net;

pub use config::{DecoderWidths, Likelihood, MeVaeConfig};
pub use fusion::Fusion;
pub use loss::KlForm;
pub use net::MeVae;

#[cfg(test)]
mod tests;

//! The multi-encoder variational autoencoder (ME-VAE): what a cell looks like, without how it happens to lie.
//!
//! Ternes, L., Dane, M., Gross, S., Labrie, M., Mills, G., Gray, J., Heiser, L. and Chang, Y. H.: A multi-encoder
//! variational autoencoder controls multiple transformational features in single-cell image analysis.
//! *Communications Biology* 5:255 (2022), doi [10.1038/s42003-022-03218-x](https://doi.org/10.1038/s42003-022-03218-x).
//!
//! Each of several encoders sees the cell's canonical image spoiled in one way of its own (turned, mirrored, resized); their
//! latents become one ([`Fusion`]), from which one decoder makes the canonical image.
//! What a single encoder sees cannot help to make that image, so the latents leave it out.
//!
//! ```text
//! view i [n, y, x, c] ─ conv k×k /2, ReLU (each of conv_layers) ─ flatten (y, x, c) ─ dense, ReLU ─┬─ z_mean_i
//!                                                                                                  └─ z_log_var_i
//! z = fusion of all encoders ─ dense, ReLU ─ [n, y/2^L, x/2^L, conv_layers[L − 1]]
//!        ─ transposed conv k×k ·2, ReLU (conv_layers reversed) ─ transposed conv k×k to c logits ─ sigmoid
//! loss = binary cross-entropy with the canonical image + kl_weight · Kullback–Leibler part
//! ```
//!
//! Padding is Keras' "same".
//! Weights are named `encoder.{i}.conv.{k}.kernel`, `encoder.{i}.dense.…`, `encoder.{i}.z_mean.…`, `encoder.{i}.z_log_var.…`,
//! `decoder.dense.…`, `decoder.conv.{k}.…` and `decoder.output.…`.
//! With one encoder and no views it is a plain variational autoencoder.
//!
//! # Views
//!
//! [`Batch::views`](crate::Batch::views) holds one image for each encoder, [`Batch::pixels`](crate::Batch::pixels) the
//! canonical image; `phenocoder_patches::views::ViewGenerator`, handed to `Trainer::with_transforms`, makes both.
//! Training asks for views.
//! [`encode`](fn@crate::encode) takes views where the source has them; else every encoder sees the same image, which should be
//! canonical (`ViewConfig` without views, in a `Transformed` source).
//! That is the description to use for cells, since nothing in it is left to chance; whether a network ignores a nuisance
//! can be told only from views that show it.
//!
//! # Which fusion
//!
//! Measured with the facade's example `mevae`: 1,000 planted cells of 32 × 32 pixels, four types, three encoders (rotation,
//! mirroring, size), 8 latents, 60 epochs, weight of the Kullback–Leibler part 1, seeds 0, 1 and 2.
//! NMI: k-means clusters of the means with the cell types.
//! Angle: cross-validated R² of (cos kθ, sin kθ), the larger of k = 1 and 2, θ being the turn of the first view.
//!
//! The plain VAE has one encoder and wider layers, for at least as many weights (140,177; the ME-VAE has 138,993).
//!
//! | network | NMI | angle, from draws | angle, from means |
//! |---|---|---|---|
//! | plain VAE, uncorrected cells | 0.01, 0.02, 0.01 | 0.85, 0.87, 0.84 | 0.91, 0.91, 0.89 |
//! | product of experts, standard | 1.000, 0.985, 0.995 | −0.01, −0.01, −0.01 | 0.23, 0.24, 0.16 |
//! | the same, canonical images for all encoders, θ planted | 1.000, 0.985, 0.995 | −0.01, −0.01, −0.01 | −0.01, −0.01, −0.01 |
//! | product of experts, doubled | 1.00, 0.98, 1.00 | −0.01, −0.01, −0.02 | 0.05, 0.30, 0.04 |
//! | product, standard | 0.16, 0.37, 0.26 | −0.01, −0.01, −0.01 | 0.11, 0.09, 0.10 |
//! | product, doubled | 0.75, 0.47, 0.30 | −0.01, −0.01, −0.01 | 0.01, 0.08, 0.23 |
//!
//! The last three rows are of the same cells but for the last bits of their pixels.
//!
//! So [`Fusion::ProductOfExperts`] is the default.
//! Multiplied latents collapse here: at the end the Kullback–Leibler part is 0.0 nats (product of experts: 1.9) and the
//! reconstruction 125.7 nats (114.9), for where all codes are 0 no encoder receives a gradient.
//! With less weight on that part they do not collapse, but fall behind all the same (weight 0.1, seed 0: NMI 0.67, product of
//! experts 1.00).
//!
//! Of latents that the decoder does not use the means are close to 0, yet a linear model that may scale them up reads the
//! angle from what is left (last column).
//! A draw ([`Latent::Sampled`](crate::Latent::Sampled)), which is what the decoder gets and the original exports, buries it;
//! and from canonical images, which is how cells should be encoded, there is nothing left to read (R² below 0 for both).
//!
//! # Differences from the original
//!
//! [`MeVaeConfig::compat`] gives the original's network and loss.
//!
//! | what | original | here by default | why |
//! |---|---|---|---|
//! | Kullback–Leibler part | takes the head for log σ, the sampler for log σ² | both log σ² | [`KlForm::Doubled`] pulls four times as hard around 1 |
//! | fusion | draws multiplied | product of experts | the table above |
//! | weight of pixels | channels are averaged, not summed | summed | [`Likelihood::Bernoulli`] is a likelihood |
//! | decoder | twice as wide as the encoders | as wide | a counter doubled once too often; four times the work |
//! | encodings | one random draw | fused means | two runs agree |
//! | prior samples | standard normal | [`sample`](crate::sample): with [`Fusion::Product`] a product of normals, kurtosis 3^N | that is what the decoder is trained on |
//! | validation, early stopping | none; the checkpoint is never written | those of the trainer, on the same views in every epoch | – |
//! | intensity | every image divided by its own maximum | scaling of the patches | the maximum erases intensity and turns empty images into NaN |
//! | views | files, joined by their order | made on the fly, seeded by cell, epoch and encoder | pairs cannot be mixed up |
//! | optimizer | RMSprop, 5e-4 | any; `RmsPropConfig` has its constants | – |
//!
//! The variance that [`encode`](crate::Autoencoder::encode) states with [`Fusion::Product`] is that of the product; a draw
//! from it is normal, which a product of normal draws is not.

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

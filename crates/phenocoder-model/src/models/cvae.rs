//! The convolutional variational autoencoder of phenocoder, with and without conditions.
//!
//! The encoder halves the patch with each 3×3 convolution and ends in two dense heads, the mean and the logarithm of the
//! variance of each latent; the decoder mirrors it with transposed convolutions (Kingma and Welling 2014,
//! arXiv:1312.6114; conditions as in Sohn, Lee and Yan 2015).
//! With conditions, their one-hot columns join the flattened image before the encoder's dense layer and the latents before
//! the decoder's.
//!
//! ```text
//! pixels [n, y, x, c] ─ conv 3×3 /2, ReLU (each of conv_layers) ─ flatten (y, x, c) [+ conditions]
//!        ─ dense, ReLU ─ dropout ─┬─ z_mean    ┐
//!                                 └─ z_log_var ┴ z = z_mean + e^(z_log_var / 2) · ε
//! z [+ conditions] ─ dense, ReLU ─ dropout ─ [n, y/2^L, x/2^L, conv_layers[0]]
//!        ─ transposed conv 3×3 ·2, ReLU (conv_layers reversed) ─ transposed conv 3×3 to c logits ─ sigmoid
//! ```
//!
//! # Differences from the original
//!
//! * Dropout is active in training; the original's training step runs in inference mode, so there it never is.
//!   `dropout = 0` gives the original's numbers.
//! * Patches need not be square; a side that cannot be halved by every layer is refused at construction, where the original
//!   decodes a patch of another size.
//! * The network without conditions can be reached, and equal entries in `conv_layers` do not collide.

mod config;
mod net;

pub use config::CvaeConfig;
pub use net::{CondCvae, Cvae};

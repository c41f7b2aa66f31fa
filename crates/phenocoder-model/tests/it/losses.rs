//! Losses of pythae, lightning-bolts and bioimage_embed against values computed with their formulas, in `f64` and `f32`.

use std::fs;

use candle_core::{DType, Device, Tensor, Var};
use phenocoder_model::loss::{Reconstruction, VaeLossConfig, VqLossConfig, VqTotal};
use phenocoder_model::{Losses, Posterior};
use phenocoder_testdata::find;
use serde_json::Value;

use crate::support::numbers;

struct Case {
    golden: Value,
    x: Tensor,
    recon: Tensor,
    logits: Tensor,
    posterior: Posterior,
    noise: Tensor,
    tolerance: f64,
}

/// The batch in both number types; 1e-9 relative in `f64`, 1e-5 in `f32`.
fn cases() -> Vec<Case> {
    let Some(path) = find("parity/models/vae_losses.json") else {
        return Vec::new();
    };
    let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let case = |(dtype, tolerance)| {
        let tensor = |name: &str| {
            let values = numbers(&golden[name]);
            let tensor = Tensor::from_vec(values.clone(), (2, values.len() / 2), &Device::Cpu);
            tensor.unwrap().to_dtype(dtype).unwrap()
        };
        let recon = tensor("recon");
        let logits =
            (recon.log().unwrap() - recon.affine(-1.0, 1.0).unwrap().log().unwrap()).unwrap();
        Case {
            x: tensor("x"),
            recon,
            logits,
            posterior: Posterior::new(tensor("mu"), Some(tensor("log_var"))),
            noise: tensor("eps"),
            golden: golden.clone(),
            tolerance,
        }
    };
    [(DType::F64, 1e-9), (DType::F32, 1e-5)].map(case).into()
}

fn number(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn part(losses: &Losses, name: &str) -> f64 {
    number(
        &losses
            .parts
            .iter()
            .find(|(part, _)| *part == name)
            .unwrap()
            .1,
    )
}

impl Case {
    fn close(&self, name: &str, key: &str, found: f64) {
        let expected = self.golden[name][key].as_f64().unwrap();
        let difference = (found - expected).abs() / expected.abs();
        println!(
            "{name} {key}: {difference:.1e} relative, {:.0e} allowed",
            self.tolerance
        );
        assert!(
            difference <= self.tolerance,
            "{name} {key}: {found} {expected}"
        );
    }

    fn vae(&self, name: &str, config: VaeLossConfig, keys: [&str; 3]) {
        config.validate().unwrap();
        let output = match config.reconstruction {
            Reconstruction::Bce => &self.logits,
            _ => &self.recon,
        };
        let losses = config.losses(output, &self.x, &self.posterior).unwrap();
        self.close(name, keys[0], number(&losses.total));
        for (key, which) in [(keys[1], "reconstruction"), (keys[2], "kl")] {
            if !key.is_empty() {
                self.close(name, key, part(&losses, which));
            }
        }
    }
}

#[test]
fn variational_losses_are_those_of_their_libraries() {
    for case in cases() {
        let pythae = ["loss", "recon_loss", "kld"];
        let short = ["loss", "recon", "kl"];
        case.vae("pythae_vae_mse", VaeLossConfig::pythae(), pythae);
        case.vae("pythae_vae_bce", VaeLossConfig::new(), pythae);
        let beta = VaeLossConfig::pythae().with_kl_weight(4.0);
        case.vae("pythae_betavae_mse_beta4", beta, ["loss", "", ""]);
        case.vae(
            "pythae_ae_mse",
            VaeLossConfig::autoencoder(),
            ["loss", "loss", ""],
        );
        case.vae("bolts_vae_klcoeff1", VaeLossConfig::bolts(), short);
        case.vae("legacy_vae", VaeLossConfig::legacy_vae(), short);
        case.vae("pytorch_vae_conv", VaeLossConfig::conv_vae(), short);
    }
}

#[test]
fn codebook_losses_are_those_of_their_libraries() {
    for case in cases() {
        let quantization = case.golden["legacy_vqvae"]["vq_loss_in"].as_f64().unwrap();
        let scalar = Tensor::new(quantization, &Device::Cpu).unwrap();
        let scalar = scalar.to_dtype(case.x.dtype()).unwrap();
        let losses = |config: VqLossConfig| config.losses(&case.recon, &case.x, &scalar).unwrap();
        let pythae = losses(VqLossConfig::new());
        case.close(
            "pythae_vqvae_recon",
            "recon_loss",
            part(&pythae, "reconstruction"),
        );
        let expected = part(&pythae, "reconstruction") + quantization;
        assert!((number(&pythae.total) - expected).abs() < 1e-6);
        let legacy = losses(VqLossConfig::legacy());
        case.close("legacy_vqvae", "loss", number(&legacy.total));
        case.close(
            "legacy_vqvae",
            "recon_loss_key",
            part(&legacy, "reconstruction"),
        );
        case.close("legacy_vqvae", "variational", part(&legacy, "quantization"));
        let corrected = losses(VqLossConfig::legacy().with_total(VqTotal::Sum));
        let expected = part(&corrected, "reconstruction") + quantization;
        assert!((number(&corrected.total) - expected).abs() < 1e-6);
    }
}

#[test]
fn latents_are_sampled_as_in_the_golden() {
    for case in cases() {
        let z = case.posterior.sample(&case.noise).unwrap();
        let z = z.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        for (found, expected) in z
            .to_vec1::<f64>()
            .unwrap()
            .iter()
            .zip(numbers(&case.golden["z"]))
        {
            assert!(
                (found - expected).abs() <= case.tolerance,
                "{found} {expected}"
            );
        }
    }
}

#[test]
fn an_output_stands_for_pixels() {
    for case in cases() {
        let difference = |pixels: Tensor| {
            let difference = (pixels - &case.recon).unwrap().abs().unwrap();
            number(&difference.max_all().unwrap())
        };
        let pixels = Reconstruction::Bce.pixels(&case.logits).unwrap();
        assert!(difference(pixels) < 1e-6);
        assert_eq!(
            difference(Reconstruction::Mse.pixels(&case.recon).unwrap()),
            0.0
        );
    }
}

#[test]
fn a_weight_of_zero_leaves_the_divergence_out() {
    let output = Var::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let mean = Tensor::ones((2, 1), DType::F32, &Device::Cpu).unwrap();
    let posterior = Posterior::new(mean.clone(), Some(mean.clone()));
    let losses = VaeLossConfig::autoencoder()
        .losses(&output, &output.ones_like().unwrap(), &posterior)
        .unwrap();
    assert_eq!(losses.parts.len(), 1);
    assert_eq!(number(&losses.total), 3.0);
    let gradients = losses.total.backward().unwrap();
    let gradient = gradients.get(&output).unwrap().flatten_all().unwrap();
    assert_eq!(gradient.to_vec1::<f32>().unwrap(), [-1.0; 6]);
    for wrong in [-1.0, f64::NAN] {
        assert!(
            VaeLossConfig::new()
                .with_kl_weight(wrong)
                .validate()
                .is_err()
        );
    }
}

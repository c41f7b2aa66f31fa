//! Tests of the network.
//!
//! Kinds: parity (`models/mevae.json`, `models/layers.json`; relative error 1e-5, the README's for `f32`); equality with
//! the plain VAE; symmetry; round trip; sameness on one and two threads.

use candle_core::{Device, Tensor, Var};
use phenocoder_core::{PatchBatch, PatchShape, Seed};
use phenocoder_testdata::find;
use serde_json::Value;

use super::*;
use crate::model::sample;
use crate::models::cvae::CvaeConfig;
use crate::{Autoencoder, Batch, Error, Posterior, SavedModel, Step};

const TOLERANCE: f64 = 1e-5;

fn golden(file: &str) -> Option<Value> {
    let text = std::fs::read_to_string(find("models")?.join(file)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn tensor(value: &Value, shape: &[usize]) -> Tensor {
    let values: Vec<f32> = flat(value).into_iter().map(|v| v as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().unwrap())
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1e-2);
    assert!(
        error <= TOLERANCE,
        "{what}: {found} for {expected}, {error:e}"
    );
}

#[track_caller]
fn assert_all_close(what: &str, found: &Tensor, expected: &Value) {
    let (found, expected) = (values(found), flat(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.into_iter().zip(expected) {
        assert_close(what, f64::from(found), expected);
    }
}

/// The golden's batch: two encoders' moments and noise, a target and a reconstruction.
struct Golden {
    loss: Value,
    posteriors: Vec<(Tensor, Tensor)>,
    noise: Vec<Tensor>,
    target: Tensor,
    logits: Tensor,
}

fn loss_golden() -> Option<Golden> {
    let loss = golden("mevae.json")?["loss"].take();
    let latents = |key: String| tensor(&loss[key.as_str()], &[2, 3]);
    let posterior = |i| (latents(format!("mu{i}")), latents(format!("log_var{i}")));
    let posteriors = vec![posterior(1), posterior(2)];
    let noise = vec![latents("eps1".to_owned()), latents("eps2".to_owned())];
    let target = tensor(&loss["x"], &[2, 4, 4, 1]);
    let reconstruction = flat(&loss["recon"]).into_iter();
    let logits: Vec<f32> = reconstruction
        .map(|p| (p / (1.0 - p)).ln() as f32)
        .collect();
    let logits = Tensor::from_vec(logits, (2, 4, 4, 1), &Device::Cpu).unwrap();
    Some(Golden {
        loss,
        posteriors,
        noise,
        target,
        logits,
    })
}

fn fused(fusion: Fusion, posteriors: &[(Tensor, Tensor)]) -> Posterior {
    let (mean, log_var) = fusion.posterior(posteriors).unwrap();
    Posterior::new(mean, Some(log_var))
}

#[test]
fn draws_and_means_equal_the_golden() {
    let Some(golden) = loss_golden() else { return };
    for (i, ((mean, log_var), noise)) in golden.posteriors.iter().zip(&golden.noise).enumerate() {
        let key = format!("z{}", i + 1);
        let z = sample(mean, log_var, noise).unwrap();
        assert_all_close(&key, &z, &golden.loss[key.as_str()]);
    }
    let fused = fused(Fusion::Product, &golden.posteriors);
    assert_all_close("mu_product", &fused.mean, &golden.loss["mu_product"]);
    let z = Fusion::Product
        .sample(&golden.posteriors, &fused, &golden.noise)
        .unwrap();
    assert_all_close("z_product", &z, &golden.loss["z_product"]);
}

#[test]
fn losses_equal_the_golden() {
    let Some(golden) = loss_golden() else { return };
    let expected = |key: &str| golden.loss[key].as_f64().unwrap();
    let entropy = crate::loss::reconstruction(&golden.logits, &golden.target).unwrap();
    let input = PatchShape::new(4, 4, 1);
    let reconstruction = loss::reconstruction(Likelihood::Bernoulli, entropy, input).unwrap();
    let rec = scalar(&reconstruction);
    assert_close("rec_scaled", rec, expected("rec_scaled"));
    assert_close("bce_mean", rec / 16.0, expected("bce_mean"));
    for (form, key) in [
        (KlForm::Doubled, "kl_code_doubled"),
        (KlForm::Standard, "kl_standard"),
    ] {
        for (i, (mean, log_var)) in golden.posteriors.iter().enumerate() {
            let key = format!("{key}_{}", i + 1);
            let found = scalar(&form.divergence(mean, log_var).unwrap());
            let patches = flat(&golden.loss[key.as_str()]);
            assert_close(&key, found, (patches[0] + patches[1]) / 2.0);
            if form == KlForm::Doubled {
                let half = format!("half_loss_{}", i + 1);
                assert_close(&half, 0.5 * (rec + found), expected(&half));
            }
        }
    }
    let fused = fused(Fusion::Product, &golden.posteriors);
    let total = |form| {
        let kl = loss::divergence(form, Fusion::Product, &golden.posteriors, &fused).unwrap();
        rec + scalar(&kl)
    };
    assert_close(
        "total_keras",
        total(KlForm::Doubled),
        expected("total_keras"),
    );
    for key in ["total_standard", "total_pytorch_reimplementation"] {
        assert_close(key, total(KlForm::Standard), expected(key));
    }
}

#[test]
fn divergences_equal_the_table() {
    let Some(mut golden) = golden("mevae.json") else {
        return;
    };
    for row in golden["kl_scale_table"].take().as_array().unwrap() {
        let (mean, raw) = (tensor(&row["mu"], &[1, 1]), tensor(&row["raw"], &[1, 1]));
        for (form, key) in [(KlForm::Doubled, "kl_code"), (KlForm::Standard, "kl_std")] {
            let found = scalar(&form.divergence(&mean, &raw).unwrap());
            assert_close(
                &format!("{key} of {row}"),
                found,
                row[key].as_f64().unwrap(),
            );
        }
        let noise = Tensor::ones((1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let deviation = (sample(&mean, &raw, &noise).unwrap() - &mean).unwrap();
        assert_all_close("sampler_std", &deviation, &row["sampler_std"]);
    }
}

#[test]
fn weights_are_counted_as_in_the_layer_table() {
    let Some(layers) = golden("layers.json") else {
        return;
    };
    for (name, channels, latent) in [
        ("me_vae_defaults_128x128x1", 1, 128),
        ("me_vae_readme_latent32", 1, 32),
        ("me_vae_128x128x20", 20, 128),
    ] {
        let config = MeVaeConfig::compat(PatchShape::new(128, 128, channels), latent);
        let row = &layers[name];
        let expected = |key: &str| row[key].as_u64().unwrap() as usize;
        let total = expected("total_two_encoders");
        assert_eq!(config.parameter_count(), Some(total), "{name}");
        let one = config.clone().with_n_encoders(1).parameter_count().unwrap();
        assert_eq!(total - one, expected("encoder_params"), "{name}");
        assert_eq!(2 * one - total, expected("decoder_params"), "{name}");
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        assert_eq!(model.parameters().count(), total, "{name}");
        for (part, prefix) in [("encoder", "encoder.1."), ("decoder", "decoder.")] {
            let sizes = row[part].as_array().unwrap().iter();
            let mut expected: Vec<u64> = sizes
                .map(|layer| layer.as_array().unwrap().last().unwrap().as_u64().unwrap())
                .collect();
            let mut found = std::collections::BTreeMap::<&str, u64>::new();
            let weights = model.parameters().weights();
            for (name, v) in weights.filter(|(name, _)| name.starts_with(prefix)) {
                let layer = name.rsplit_once('.').unwrap().0;
                *found.entry(layer).or_default() += v.elem_count() as u64;
            }
            let mut found: Vec<u64> = found.into_values().collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}, {part}");
        }
    }
}

fn small(n_encoders: usize, fusion: Fusion) -> MeVaeConfig {
    MeVaeConfig::new(PatchShape::new(8, 8, 2), 3)
        .with_conv_layers([4, 6])
        .with_dense_dim(7)
        .with_n_encoders(n_encoders)
        .with_fusion(fusion)
}

/// Random patches with this many other random patches as views.
fn cells(n: usize, shape: PatchShape, views: usize, seed: u64) -> PatchBatch {
    let mut batch = PatchBatch::zeros(n, shape, 0);
    let random = |name: &str| {
        let mut stream = Seed::new(seed).stream(name, 0);
        batch.pixels.mapv(|_| stream.uniform() as f32)
    };
    let views = (0..views).map(|i| random(&format!("view {i}"))).collect();
    let pixels = random("pixels");
    batch.views = views;
    batch.pixels = pixels;
    batch
}

fn on_cpu(patches: &PatchBatch) -> Batch {
    Batch::new(patches, &Device::Cpu).unwrap()
}

const FUSIONS: [Fusion; 3] = [Fusion::Product, Fusion::ProductOfExperts, Fusion::Mean];

#[test]
fn one_encoder_is_the_plain_vae() {
    // Where the first and the last layer are equally wide, both networks have the same layers.
    let shape = PatchShape::new(8, 8, 2);
    let plain = CvaeConfig::new(shape, 3)
        .with_conv_layers([5, 5])
        .with_dense_dim(7)
        .with_dropout(0.0)
        .with_beta(0.7);
    let plain = plain.build(Seed::new(1), &Device::Cpu).unwrap();
    let batch = on_cpu(&cells(4, shape, 0, 2));
    for fusion in FUSIONS {
        let config = small(1, fusion)
            .with_conv_layers([5, 5])
            .with_kl_weight(0.7);
        let model = config.build(Seed::new(9), &Device::Cpu).unwrap();
        for (name, variable) in plain.parameters().iter() {
            let name = name.replace("encoder.", "encoder.0.");
            model
                .parameters()
                .get(&name)
                .unwrap()
                .set(variable)
                .unwrap();
        }
        assert_eq!(model.parameters().count(), plain.parameters().count());
        for step in [Step::training(Seed::new(3), 5), Step::evaluation()] {
            let expected = plain.loss(&batch, &step).unwrap();
            let found = model.loss(&batch, &step).unwrap();
            assert_eq!(scalar(&found.total), scalar(&expected.total), "{fusion:?}");
            let store = expected.total.backward().unwrap();
            let expected = plain.parameters().gradients(&store).unwrap();
            let store = found.total.backward().unwrap();
            let found = model.parameters().gradients(&store).unwrap();
            for (name, gradient) in &expected {
                let other = &found[&name.replace("encoder.", "encoder.0.")];
                assert_eq!(values(other), values(gradient), "{fusion:?}, {name}");
            }
        }
        let found = model.encode(&batch).unwrap();
        let expected = plain.encode(&batch).unwrap();
        assert_eq!(values(&found.mean), values(&expected.mean));
    }
}

#[test]
fn the_order_of_encoders_does_not_matter() {
    for fusion in FUSIONS {
        for form in [KlForm::Standard, KlForm::Doubled] {
            let config = small(3, fusion).with_kl(form);
            let patches = cells(4, config.input, 3, 2);
            let a = config.build(Seed::new(1), &Device::Cpu).unwrap();
            let b = config.build(Seed::new(2), &Device::Cpu).unwrap();
            let order = [2, 0, 1];
            for (name, variable) in a.parameters().iter() {
                let target = match name.strip_prefix("encoder.") {
                    Some(rest) => {
                        let (index, layer) = rest.split_once('.').unwrap();
                        let new = order.iter().position(|o| o.to_string() == index).unwrap();
                        format!("encoder.{new}.{layer}")
                    }
                    None => name.to_owned(),
                };
                b.parameters().get(&target).unwrap().set(variable).unwrap();
            }
            let mut permuted = patches.clone();
            permuted.views = order.map(|i| patches.views[i].clone()).to_vec();
            let step = Step::training(Seed::new(4), 0);
            let draws = fusion.draws(3);
            let noise: Vec<Tensor> = (0..draws)
                .map(|i| step.normal(&i.to_string(), (4, 3), &Device::Cpu).unwrap())
                .collect();
            let moved: Vec<Tensor> = match draws {
                3 => order.map(|i| noise[i].clone()).to_vec(),
                _ => noise.clone(),
            };
            let loss = a
                .loss_with_noise(&on_cpu(&patches), Some(&noise), &step)
                .unwrap();
            let other = b
                .loss_with_noise(&on_cpu(&permuted), Some(&moved), &step)
                .unwrap();
            assert_close("total", scalar(&other.total), scalar(&loss.total));
            let other = b
                .loss_with_noise(&on_cpu(&patches), Some(&noise), &step)
                .unwrap();
            assert!(
                (scalar(&other.total) - scalar(&loss.total)).abs() > 1e-3,
                "which encoder sees which view does matter"
            );
        }
    }
}

#[test]
fn fused_distributions_follow_their_formulas() {
    let mut stream = Seed::new(8).stream("moments", 0);
    let moments: Vec<[(f64, f64); 3]> = (0..20)
        .map(|_| [0; 3].map(|_| (2.0 * stream.normal(), 1.5 * stream.normal())))
        .collect();
    let posteriors: Vec<(Tensor, Tensor)> = (0..3)
        .map(|i| {
            let column = |f: fn((f64, f64)) -> f64| {
                let values: Vec<f32> = moments.iter().map(|row| f(row[i]) as f32).collect();
                Tensor::from_vec(values, (20, 1), &Device::Cpu).unwrap()
            };
            (column(|m| m.0), column(|m| m.1))
        })
        .collect();
    let formula = |fusion, row: &[(f64, f64); 3]| match fusion {
        Fusion::Product => {
            let mean: f64 = row.iter().map(|m| m.0).product();
            let second: f64 = row.iter().map(|m| m.0 * m.0 + m.1.exp()).product();
            (mean, second - mean * mean)
        }
        Fusion::ProductOfExperts => {
            let precision: f64 = row.iter().map(|m| (-m.1).exp()).sum();
            let mean: f64 = row.iter().map(|m| m.0 * (-m.1).exp()).sum();
            (mean / precision, 1.0 / precision)
        }
        Fusion::Mean => {
            let mean: f64 = row.iter().map(|m| m.0).sum();
            let variance: f64 = row.iter().map(|m| m.1.exp()).sum();
            (mean / 3.0, variance / 9.0)
        }
    };
    for fusion in FUSIONS {
        let (mean, log_var) = fusion.posterior(&posteriors).unwrap();
        let found = values(&mean).into_iter().zip(values(&log_var));
        for ((mean, log_var), row) in found.zip(&moments) {
            let (expected, variance) = formula(fusion, row);
            assert!((f64::from(mean) - expected).abs() < 1e-5 * (1.0 + expected.abs()));
            assert!(
                (f64::from(log_var) - variance.ln()).abs() < 1e-4,
                "{fusion:?}"
            );
        }
    }
}

#[test]
fn a_product_of_experts_survives_encoders_that_are_very_sure_or_not_at_all() {
    for log_vars in [[-200.0_f32, -200.0], [200.0, 200.0], [-200.0, 200.0]] {
        let variable = |value: f32| Var::new(&[[value]], &Device::Cpu).unwrap();
        let moments: Vec<(Var, Var)> = log_vars
            .iter()
            .map(|&v| (variable(1.5), variable(v)))
            .collect();
        let posteriors: Vec<(Tensor, Tensor)> = moments
            .iter()
            .map(|(mean, log_var)| (mean.as_tensor().clone(), log_var.as_tensor().clone()))
            .collect();
        let (mean, log_var) = Fusion::ProductOfExperts.posterior(&posteriors).unwrap();
        assert_eq!(values(&mean), [1.5], "{log_vars:?}");
        let least = log_vars[0].min(log_vars[1]);
        assert!((values(&log_var)[0] - least).abs() < 1.0);
        let gradients = (mean.sqr().unwrap() + log_var).unwrap().sum_all().unwrap();
        let gradients = gradients.backward().unwrap();
        for (mean, log_var) in &moments {
            for variable in [mean, log_var] {
                assert!(values(gradients.get(variable).unwrap())[0].is_finite());
            }
        }
    }
}

#[test]
fn gradients_of_the_fusion_equal_differences() {
    // The kernels have gradient checks of their own; here is what this model adds.
    let at: [f32; 6] = [0.7, -0.4, -1.1, 0.3, 0.5, -0.8];
    for fusion in FUSIONS {
        for form in [KlForm::Standard, KlForm::Doubled] {
            let loss = |values: &[Tensor]| {
                let posteriors: Vec<(Tensor, Tensor)> = values
                    .chunks(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect();
                let fused = fused(fusion, &posteriors);
                let noise = Tensor::new(&[[0.6_f32]], &Device::Cpu).unwrap();
                let noise = vec![noise; fusion.draws(3)];
                let z = fusion.sample(&posteriors, &fused, &noise).unwrap();
                let kl = loss::divergence(form, fusion, &posteriors, &fused).unwrap();
                (z.sqr().unwrap().sum_all().unwrap() + kl).unwrap()
            };
            let variables = at.map(|v| Var::new(&[[v]], &Device::Cpu).unwrap());
            let tensors = variables.clone().map(|v| v.as_tensor().clone());
            let gradients = loss(&tensors).backward().unwrap();
            for i in 0..at.len() {
                let found = values(gradients.get(&variables[i]).unwrap())[0];
                let shifted = |by: f32| {
                    let mut moved = tensors.clone();
                    moved[i] = Tensor::new(&[[at[i] + by]], &Device::Cpu).unwrap();
                    scalar(&loss(&moved))
                };
                let step = 1e-2_f32;
                let expected = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
                assert!(
                    (f64::from(found) - expected).abs() < 2e-3 * (1.0 + expected.abs()),
                    "{fusion:?}, {form:?}, {i}: {found} for {expected}"
                );
            }
        }
    }
}

#[test]
fn every_weight_of_every_encoder_is_trained() {
    for fusion in FUSIONS {
        let config = small(2, fusion);
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let batch = on_cpu(&cells(6, config.input, 2, 3));
        let losses = model
            .loss(&batch, &Step::training(Seed::new(5), 0))
            .unwrap();
        let store = losses.total.backward().unwrap();
        for (name, gradient) in model.parameters().gradients(&store).unwrap() {
            let largest = values(&gradient)
                .into_iter()
                .map(f32::abs)
                .fold(0.0, f32::max);
            assert!(largest > 0.0, "{fusion:?}, {name}");
        }
    }
}

#[test]
fn views_decide_the_latents_and_pixels_stand_in_for_them() {
    let config = small(2, Fusion::ProductOfExperts);
    let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
    let patches = cells(3, config.input, 2, 4);
    let latents = |patches: &PatchBatch| values(&model.encode(&on_cpu(patches)).unwrap().mean);
    let mut canonical = patches.clone();
    canonical.views = vec![patches.pixels.clone(); 2];
    let mut without = patches.clone();
    without.views.clear();
    assert_eq!(latents(&without), latents(&canonical));
    assert_ne!(latents(&without), latents(&patches));

    let of_views = model.encode_views(&on_cpu(&patches)).unwrap();
    assert_eq!(of_views.len(), 2);
    assert_ne!(values(&of_views[0].mean), values(&of_views[1].mean));

    let error = model.loss(&on_cpu(&without), &Step::evaluation());
    assert!(error.is_err(), "training without views teaches nothing");
    let mut three = patches.clone();
    three.views.push(patches.pixels.clone());
    assert!(matches!(
        model.encode(&on_cpu(&three)),
        Err(Error::Patches { .. })
    ));
    let mut other = patches.clone();
    other.views[1] = cells(3, PatchShape::new(8, 4, 2), 0, 1).pixels;
    assert!(model.encode(&on_cpu(&other)).is_err());
}

#[test]
fn a_single_encoder_may_see_another_image_than_it_reconstructs() {
    let config = small(1, Fusion::Product);
    let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
    let spoiled = cells(3, config.input, 1, 4);
    let mut plain = spoiled.clone();
    plain.views.clear();
    let loss = |patches| {
        scalar(
            &model
                .loss(&on_cpu(patches), &Step::evaluation())
                .unwrap()
                .total,
        )
    };
    assert_ne!(loss(&spoiled), loss(&plain));
}

#[test]
fn prior_draws_have_the_moments_of_a_product_of_normals() {
    let Some(golden) = golden("mevae.json") else {
        return;
    };
    for encoders in 1..=3_usize {
        let config = small(encoders, Fusion::Product);
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let draws = model.sample_prior(200_000, Seed::new(7));
        let n = draws.len() as f64;
        let moment = |k: i32| draws.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / n;
        let row = &golden["product_prior_moments"][encoders.to_string()];
        let variance = row["variance"].as_f64().unwrap();
        let kurtosis = row["kurtosis"].as_f64().unwrap();
        assert!((moment(2) - variance).abs() < 0.03, "{encoders}");
        let found = moment(4) / moment(2).powi(2);
        assert!((found / kurtosis - 1.0).abs() < 0.15, "{encoders}: {found}");
    }
    let experts = small(3, Fusion::ProductOfExperts);
    let model = experts.build(Seed::new(1), &Device::Cpu).unwrap();
    let draws = model.sample_prior(100_000, Seed::new(7));
    let fourth = draws.iter().map(|&v| f64::from(v).powi(4)).sum::<f64>() / draws.len() as f64;
    assert!((fourth - 3.0).abs() < 0.1, "a standard normal: {fourth}");
}

#[test]
fn channels_count_unless_asked_for_compatibility() {
    let loss = |likelihood| {
        let config = small(2, Fusion::Product).with_likelihood(likelihood);
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let batch = on_cpu(&cells(3, config.input, 2, 4));
        let losses = model.loss(&batch, &Step::evaluation()).unwrap();
        losses
            .parts
            .iter()
            .map(|(_, part)| scalar(part))
            .collect::<Vec<_>>()
    };
    let sum = loss(Likelihood::Bernoulli);
    let mean = loss(Likelihood::BernoulliChannelMean);
    assert_close("reconstruction", sum[0], 2.0 * mean[0]);
    assert_eq!(sum[1], mean[1]);
}

#[test]
fn a_saved_model_is_the_same_again() {
    for config in [
        small(2, Fusion::Product),
        MeVaeConfig::compat(PatchShape::new(16, 8, 1), 2),
    ] {
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let batch = on_cpu(&cells(3, config.input, 2, 4));
        let expected = values(&model.encode(&batch).unwrap().mean);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        SavedModel::new(model).save(&path).unwrap();
        let loaded = SavedModel::load(&path, &Device::Cpu).unwrap().model;
        assert_eq!(loaded.kind(), MeVae::KIND);
        assert_eq!(loaded.n_views(), 2);
        assert_eq!(
            loaded.config_json().unwrap(),
            serde_json::to_value(&config).unwrap()
        );
        assert_eq!(values(&loaded.encode(&batch).unwrap().mean), expected);
    }
}

#[test]
fn latents_of_another_width_are_refused() {
    let model = small(2, Fusion::Mean)
        .build(Seed::new(1), &Device::Cpu)
        .unwrap();
    let latents = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let message = model.decode(&latents, None).unwrap_err().to_string();
    assert!(message.contains("3 latents"), "{message}");
    let latents = latents.narrow(1, 0, 3).unwrap();
    let decoded = model.decode(&latents, None).unwrap();
    assert!(values(&decoded).iter().all(|v| (0.0..=1.0).contains(v)));
    assert!(model.decode(&latents, Some(&latents)).is_err());
}

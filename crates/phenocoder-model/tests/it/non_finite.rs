//! Numbers that are infinite or none, wherever they come from: training stops, says where, and keeps good weights.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use phenocoder_core::{
    NoProgress, PatchBatch, PatchShape, PatchSource, PatchTransform, Seed, SourceError,
};
use phenocoder_model::train::{
    CheckpointConfig, CheckpointInfo, ClipConfig, FitConfig, LambConfig, OptimizerConfig,
    RmsPropConfig, SgdConfig, Trainer,
};
use phenocoder_model::{
    Autoencoder, Batch, Cvae, CvaeConfig, Error, Latent, Losses, ParameterGroup, Parameters,
    Posterior, Result, Step, Update, encode,
};

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(8, 8, 2);

fn network() -> Cvae {
    CvaeConfig::new(SHAPE, 2)
        .with_conv_layers([4])
        .with_dense_dim(8)
        .with_n_conditions(2)
        .build(Seed::new(3), &Device::Cpu)
        .unwrap()
}

/// A network that breaks in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The loss is this, though its gradients are good.
    Loss(f32),
    /// A part of the loss is this, though the total is good.
    Part(f32),
    /// The first update of a step is good, and the gradient of one weight in the second is this.
    Second(f32),
    /// The gradient of one weight is this, though the loss is good.
    Gradient(f32),
    /// The loss is no number in validation only.
    Validation,
}

struct Faulty {
    network: Cvae,
    fault: Fault,
    /// How often its memory was given back.
    released: AtomicUsize,
}

impl Autoencoder for Faulty {
    fn kind(&self) -> &'static str {
        "faulty"
    }
    fn config_json(&self) -> Result<serde_json::Value> {
        self.network.config_json()
    }
    fn input(&self) -> PatchShape {
        self.network.input()
    }
    fn n_conditions(&self) -> usize {
        self.network.n_conditions()
    }
    fn latent_dim(&self) -> usize {
        self.network.latent_dim()
    }
    fn device(&self) -> &Device {
        self.network.device()
    }
    fn parameters(&self) -> &Parameters {
        self.network.parameters()
    }
    fn encode(&self, batch: &Batch) -> Result<Posterior> {
        self.network.encode(batch)
    }
    fn decode(&self, latents: &Tensor, conditions: Option<&Tensor>) -> Result<Tensor> {
        self.network.decode(latents, conditions)
    }
    fn loss(&self, batch: &Batch, step: &Step) -> Result<Losses> {
        let mut losses = self.network.loss(batch, step)?;
        let now = step.index == 1;
        let constant = |value: f32| Tensor::new(value, &Device::Cpu);
        match self.fault {
            Fault::Loss(value) if now => losses.total = (losses.total + constant(value)?)?,
            Fault::Part(value) if now => losses.parts[1].1 = constant(value)?,
            Fault::Validation if !step.dropout => {
                losses.total = (losses.total + constant(f32::NAN)?)?;
            }
            Fault::Gradient(value) if now => {
                // The root of 0 is 0, and its derivative infinite; 0 times that is no number.
                let weight = self.parameters().get("encoder.z_mean.bias").unwrap();
                let zero = (weight.as_tensor() - weight.as_detached_tensor())?;
                let root = match value.is_nan() {
                    true => zero.sqr()?.sqrt()?,
                    false => zero.sqrt()?,
                };
                let sign = if value < 0.0 { -1.0 } else { 1.0 };
                losses.total = (losses.total + (root.sum_all()? * sign)?)?;
            }
            _ => {}
        }
        Ok(losses)
    }
    fn release_memory(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
    fn train_step(&self, batch: &Batch, step: &Step, update: &mut dyn Update) -> Result<Losses> {
        let losses = self.loss(batch, step)?;
        let mut gradients = self.parameters().gradients(&losses.total.backward()?)?;
        update.apply(ParameterGroup::MAIN, &gradients)?;
        if let Fault::Second(value) = self.fault {
            let broken = Tensor::full(value, 2, &Device::Cpu)?;
            gradients.insert("encoder.z_mean.bias".to_owned(), broken);
            update.apply(ParameterGroup::MAIN, &gradients)?;
        }
        Ok(losses)
    }
}

/// Patches that are good but for one value, in memory or after a transform.
struct Source(PatchBatch);

impl PatchSource for Source {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn shape(&self) -> PatchShape {
        self.0.shape()
    }
    fn n_conditions(&self) -> usize {
        self.0.n_conditions()
    }
    fn read(&self, rows: &[usize]) -> Result<PatchBatch, SourceError> {
        self.0.read(rows)
    }
    fn describe(&self, patch: usize) -> String {
        format!("cell {patch}")
    }
}

fn good() -> PatchBatch {
    blobs(12, SHAPE, 2, 1)
}

fn pixel(value: f32) -> PatchBatch {
    let mut patches = good();
    patches.pixels[[7, 3, 3, 1]] = value;
    patches
}

fn condition(value: f32) -> PatchBatch {
    let mut patches = good();
    patches.conditions[[7, 0]] = value;
    patches
}

/// Divides patch 7 by zero.
struct Divides;

impl PatchTransform for Divides {
    fn name(&self) -> &str {
        "divides"
    }
    fn settings(&self) -> String {
        "{}".to_owned()
    }
    fn apply(&self, batch: &mut PatchBatch, rows: &[usize], _: Seed) -> Result<(), SourceError> {
        for (i, _) in rows.iter().enumerate().filter(|(_, row)| **row == 7) {
            batch.pixels[[i, 0, 0, 0]] /= 0.0;
        }
        Ok(())
    }
}

/// The same rows twice.
fn concatenate<D: ndarray::RemoveAxis>(array: &ndarray::Array<f32, D>) -> ndarray::Array<f32, D> {
    let views = [array.view(), array.view()];
    ndarray::concatenate(ndarray::Axis(0), &views).unwrap()
}

/// What goes wrong, and what the message says.
struct Case {
    name: &'static str,
    train: PatchBatch,
    validation: Option<PatchBatch>,
    fault: Fault,
    settings: FitConfig,
    transform: bool,
    message: &'static [&'static str],
}

fn settings() -> FitConfig {
    FitConfig::new()
        .with_epochs(6)
        .with_batch_size(4)
        .with_plateau(None)
}

impl Case {
    fn new(name: &'static str, message: &'static [&'static str]) -> Self {
        Self {
            name,
            train: good(),
            validation: None,
            fault: Fault::None,
            settings: settings(),
            transform: false,
            message,
        }
    }

    fn train(mut self, patches: PatchBatch) -> Self {
        self.train = patches;
        self
    }

    fn validation(mut self, patches: PatchBatch) -> Self {
        self.validation = Some(patches);
        self
    }

    fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    fn settings(mut self, settings: FitConfig) -> Self {
        self.settings = settings;
        self
    }

    fn transform(mut self) -> Self {
        self.transform = true;
        self
    }
}

/// Rates and rules that no network survives.
fn explosions() -> Vec<Case> {
    let with = |optimizer: OptimizerConfig, rate: f64| {
        settings()
            .with_optimizer(optimizer)
            .with_learning_rate(rate)
    };
    let message = &["are restored"];
    let case = |name, config: FitConfig| Case::new(name, message).settings(config);
    vec![
        case("sgd explodes", with(SgdConfig::new().into(), 1e30)),
        case("adam explodes", with(OptimizerConfig::default(), 1e30)),
        case("rmsprop explodes", with(RmsPropConfig::new().into(), 1e30)),
        case("lamb explodes", with(LambConfig::new().into(), 1e30)),
        case(
            "the rate is no f32",
            with(OptimizerConfig::default(), 1e300),
        ),
        case(
            "clipping does not help",
            with(SgdConfig::new().into(), 1e38).with_clip(Some(ClipConfig::value(1e30))),
        ),
        case(
            "accumulated",
            with(SgdConfig::new().into(), 1e30).with_accumulate(2),
        ),
    ]
}

fn cases() -> Vec<Case> {
    const CELL: &[&str] = &[
        "training loss is",
        "epoch 1, batch",
        "not all values are finite in cell 7)",
    ];
    const VALIDATION: &[&str] = &[
        "validation loss is",
        "epoch 1, batch 2",
        "not all values are finite in cell 7)",
    ];
    const BATCH: &[&str] = &[
        "training loss is",
        "epoch 1, batch 2",
        "all pixels are finite",
    ];
    const GRADIENT: &[&str] = &[
        "gradient of `encoder.z_mean.bias` is",
        "epoch 1, batch 2",
        "the batch holds cell",
    ];
    let mut cases = vec![
        Case::new("pixel NaN", CELL).train(pixel(f32::NAN)),
        Case::new("pixel inf", CELL).train(pixel(f32::INFINITY)),
        Case::new("pixel -inf", CELL).train(pixel(f32::NEG_INFINITY)),
        Case::new("condition NaN", CELL).train(condition(f32::NAN)),
        Case::new("condition inf", CELL).train(condition(f32::INFINITY)),
        Case::new("condition -inf", CELL).train(condition(f32::NEG_INFINITY)),
        Case::new("transform", CELL).transform(),
        Case::new("accumulated", CELL)
            .train(pixel(f32::NAN))
            .settings(settings().with_accumulate(3)),
        Case::new("clipped", CELL)
            .train(pixel(f32::NAN))
            .settings(settings().with_clip(Some(ClipConfig::value(1.0)))),
        Case::new("clipped by norm", CELL)
            .train(pixel(f32::INFINITY))
            .settings(settings().with_clip(Some(ClipConfig::norm(1.0)))),
        Case::new("validation pixel NaN", VALIDATION).validation(pixel(f32::NAN)),
        Case::new("validation pixel inf", VALIDATION).validation(pixel(f32::INFINITY)),
        Case::new("validation condition NaN", VALIDATION).validation(condition(f32::NAN)),
        Case::new("validation loss", &["validation loss is NaN", "all pixels"])
            .validation(good())
            .fault(Fault::Validation),
        Case::new(
            "huge pixels",
            &["training loss is", "all pixels are finite"],
        )
        .train({
            let mut patches = good();
            patches.pixels.fill(f32::MAX);
            patches
        }),
    ];
    const PART: &[&str] = &["training loss `kl` is", "epoch 1, batch 2"];
    const LATER: &[&str] = &["validation loss `kl` is", "epoch 1, batch 2"];
    const SECOND: &[&str] = &["gradient of `encoder.z_mean.bias` is", "epoch 1, batch 1"];
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        cases.push(Case::new("part", PART).fault(Fault::Part(value)));
        // The training has one batch only.
        let whole = settings().with_batch_size(12);
        let mut two = good();
        two.pixels = concatenate(&two.pixels);
        two.conditions = concatenate(&two.conditions);
        cases.push(
            Case::new("part in validation", LATER)
                .settings(whole)
                .validation(two)
                .fault(Fault::Part(value)),
        );
        // With the weights after the first update the loss is no number; that of the step was.
        let rate = settings()
            .with_optimizer(SgdConfig::new())
            .with_learning_rate(1e30);
        cases.push(
            Case::new("second update", SECOND)
                .settings(rate)
                .fault(Fault::Second(value)),
        );
        cases.push(Case::new("loss", BATCH).fault(Fault::Loss(value)));
        cases.push(Case::new("gradient", GRADIENT).fault(Fault::Gradient(value)));
        cases.push(
            Case::new("clipped gradient", GRADIENT)
                .fault(Fault::Gradient(value))
                .settings(settings().with_clip(Some(ClipConfig::value(1.0)))),
        );
    }
    cases.extend(explosions());
    cases
}

#[test]
fn training_stops_says_where_and_keeps_good_weights() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint =
            CheckpointConfig::new(folder.path().join("run")).with_every_batches(Some(1));
        let mut model = Faulty {
            network: network(),
            fault: case.fault,
            released: AtomicUsize::new(0),
        };
        let transforms: &[&dyn PatchTransform] = if case.transform { &[&Divides] } else { &[] };
        let validation = case.validation.map(Source);
        let error = Trainer::new(case.settings)
            .with_transforms(transforms)
            .with_checkpoint(checkpoint.clone())
            .fit(
                &mut model,
                &Source(case.train),
                validation.as_ref().map(|v| v as &dyn PatchSource),
            )
            .unwrap_err();
        let message = error.to_string();
        for part in case.message {
            assert!(message.contains(part), "{}: {message}", case.name);
        }
        assert!(
            matches!(
                error,
                Error::NonFinite { .. } | Error::NonFiniteWeight { .. }
            ),
            "{}: {message}",
            case.name
        );
        assert_eq!(model.released.load(Ordering::Relaxed), 1);
        // The model works, and so does the checkpoint, if there is one.
        let latents = encode(&model, &good(), 4, Latent::Mean, &NoProgress).unwrap();
        assert!(latents.iter().all(|v| v.is_finite()), "{}", case.name);
        if checkpoint.path.exists() {
            CheckpointInfo::read(&checkpoint.path).unwrap();
        }
    }
}

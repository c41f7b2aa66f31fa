//! A model with an adversary, and with an optimizer that is used twice in a step: the engine knows neither.

use std::collections::BTreeMap;

use candle_core::{D, Device, Tensor, Var};
use phenocoder_core::{NoProgress, PatchBatch, PatchShape, PatchSource, Seed, Sequential};
use phenocoder_model::kernel::{Activation, dense};
use phenocoder_model::train::{
    AdamConfig, CheckpointConfig, CheckpointInfo, ClipConfig, FitConfig, GroupConfig,
    OptimizerConfig, RmsPropConfig, SgdConfig, Trainer, fit,
};
use phenocoder_model::{
    Autoencoder, Batch, Error, Losses, ParameterGroup, Parameters, Posterior, Result, Role, Step,
    Update,
};

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(4, 4, 1);
const CONDITIONS: usize = 3;
const LATENT: usize = 2;
const ADVERSARY: &str = "adversary";

/// What the model does in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// The adversary learns, then the rest against the changed adversary.
    AdversaryFirst,
    /// The other way round.
    AdversaryLast,
    /// The adversary never learns.
    Plain,
    /// The decoder, then everything but the adversary, with one and the same optimizer.
    SharedTwice,
    /// Names a group that it does not have.
    Stranger,
    /// Hands weights of the other group to a group.
    WrongWeights,
}

/// A linear autoencoder whose latents shall not tell the condition.
#[derive(Debug)]
struct Adversarial {
    parameters: Parameters,
    order: Order,
}

impl Adversarial {
    fn new(order: Order) -> Self {
        let mut parameters = Parameters::new();
        let n = SHAPE.len();
        for (name, inputs, outputs) in [
            ("encoder", n, LATENT),
            ("decoder", LATENT, n),
            (ADVERSARY, LATENT, CONDITIONS),
        ] {
            let mut stream = Seed::new(5).stream(name, 0);
            let values: Vec<f32> = (0..inputs * outputs)
                .map(|_| 0.3 * stream.normal() as f32)
                .collect();
            let kernel = Tensor::from_vec(values, (inputs, outputs), &Device::Cpu).unwrap();
            let bias = Tensor::zeros(outputs, candle_core::DType::F32, &Device::Cpu).unwrap();
            for (what, tensor) in [("kernel", kernel), ("bias", bias)] {
                let name = format!("{name}.{what}");
                parameters.insert(&name, Role::Weight, &tensor).unwrap();
            }
        }
        // Counts steps, as a running statistic would.
        let zero = Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap();
        parameters.insert("steps", Role::Buffer, &zero).unwrap();
        Self { parameters, order }
    }

    fn layer(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let get = |what: &str| -> Var {
            let name = format!("{name}.{what}");
            self.parameters.get(&name).unwrap().clone()
        };
        dense(x, &get("kernel"), &get("bias"), Activation::Linear)
    }

    fn latents(&self, batch: &Batch) -> Result<Tensor> {
        self.layer("encoder", &batch.pixels.flatten_from(1)?)
    }

    /// How badly the adversary guesses the condition.
    fn guess(&self, latents: &Tensor, batch: &Batch) -> Result<Tensor> {
        let logits = self.layer(ADVERSARY, latents)?;
        let largest = logits.max_keepdim(D::Minus1)?.detach();
        let shifted = logits.broadcast_sub(&largest)?;
        let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        let log_p = shifted.broadcast_sub(&log_sum)?;
        let conditions = batch.conditions.as_ref().unwrap();
        Ok((log_p * conditions)?.sum(D::Minus1)?.mean(0)?.neg()?)
    }

    fn reconstruction(&self, latents: &Tensor, batch: &Batch) -> Result<Tensor> {
        let difference = (self.layer("decoder", latents)? - batch.pixels.flatten_from(1)?)?;
        Ok(difference.sqr()?.sum(D::Minus1)?.mean(0)?)
    }

    fn pick(&self, group: &str, loss: &Tensor) -> Result<BTreeMap<String, Tensor>> {
        let groups = self.groups();
        let group = groups.iter().find(|g| g.name == group).unwrap();
        self.parameters.group_gradients(group, &loss.backward()?)
    }
}

impl Autoencoder for Adversarial {
    fn kind(&self) -> &'static str {
        "adversarial"
    }
    fn config_json(&self) -> Result<serde_json::Value> {
        Ok(format!("{:?}", self.order).into())
    }
    fn input(&self) -> PatchShape {
        SHAPE
    }
    fn n_conditions(&self) -> usize {
        CONDITIONS
    }
    fn latent_dim(&self) -> usize {
        LATENT
    }
    fn device(&self) -> &Device {
        &Device::Cpu
    }
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn encode(&self, batch: &Batch) -> Result<Posterior> {
        Ok(Posterior::new(self.latents(batch)?, None))
    }
    fn decode(&self, latents: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        Ok(self.layer("decoder", latents)?.reshape(((), 4, 4, 1))?)
    }

    fn loss(&self, batch: &Batch, _: &Step) -> Result<Losses> {
        let latents = self.latents(batch)?;
        let reconstruction = self.reconstruction(&latents, batch)?;
        let guess = self.guess(&latents, batch)?;
        let total = (&reconstruction - (&guess * 0.5)?)?;
        Ok(Losses::new(
            total,
            vec![("reconstruction", reconstruction), ("guess", guess)],
        ))
    }

    fn groups(&self) -> Vec<ParameterGroup> {
        let group = |name: &str, prefixes: &[&str]| {
            ParameterGroup::with_prefix(name, &self.parameters, prefixes)
        };
        vec![
            group(ParameterGroup::MAIN, &["encoder", "decoder"]),
            group(ADVERSARY, &[ADVERSARY]),
        ]
    }

    fn train_step(&self, batch: &Batch, step: &Step, update: &mut dyn Update) -> Result<Losses> {
        let steps = self.parameters.get("steps").unwrap();
        steps.set(&(steps.as_detached_tensor() + 1.0)?)?;
        let adversary = |update: &mut dyn Update| {
            let guess = self.guess(&self.latents(batch)?.detach(), batch)?;
            update.apply(ADVERSARY, &self.pick(ADVERSARY, &guess)?)
        };
        match self.order {
            Order::AdversaryFirst => adversary(update)?,
            Order::AdversaryLast | Order::Plain => {}
            Order::SharedTwice => {
                let loss = self.reconstruction(&self.latents(batch)?.detach(), batch)?;
                let decoder =
                    ParameterGroup::with_prefix("decoder", &self.parameters, &["decoder"]);
                let gradients = self
                    .parameters
                    .group_gradients(&decoder, &loss.backward()?)?;
                update.apply(ParameterGroup::MAIN, &gradients)?;
            }
            Order::Stranger => update.apply("critic", &BTreeMap::new())?,
            Order::WrongWeights => {
                let losses = self.loss(batch, step)?;
                let gradients = self.pick(ADVERSARY, &losses.total)?;
                update.apply(ParameterGroup::MAIN, &gradients)?;
            }
        }
        let losses = self.loss(batch, step)?;
        let gradients = self.pick(ParameterGroup::MAIN, &losses.total)?;
        update.apply(ParameterGroup::MAIN, &gradients)?;
        if self.order == Order::AdversaryLast {
            adversary(update)?;
        }
        Ok(losses)
    }
}

fn patches() -> PatchBatch {
    blobs(13, SHAPE, CONDITIONS, 1)
}

/// Adam for the autoencoder, RMSprop with another rate for the adversary.
fn settings() -> FitConfig {
    let adversary = GroupConfig::new()
        .with_optimizer(Some(RmsPropConfig::new().into()))
        .with_learning_rate(Some(3e-3));
    FitConfig::new()
        .with_epochs(3)
        .with_batch_size(4)
        .with_learning_rate(1e-2)
        .with_plateau(None)
        .with_early_stopping(None)
        .with_group(ADVERSARY, adversary)
}

fn weights(model: &Adversarial) -> BTreeMap<String, Vec<f32>> {
    let snapshot = model.parameters.snapshot().unwrap();
    let names = model.parameters.names();
    names
        .map(|name| (name.to_owned(), snapshot.values(name).unwrap()))
        .collect()
}

fn trained(order: Order, settings: &FitConfig) -> BTreeMap<String, Vec<f32>> {
    trained_on(&patches(), order, settings)
}

fn trained_on(
    patches: &PatchBatch,
    order: Order,
    settings: &FitConfig,
) -> BTreeMap<String, Vec<f32>> {
    let mut model = Adversarial::new(order);
    Trainer::new(settings.clone())
        .with_order(&Sequential)
        .fit(&mut model, patches, None)
        .unwrap();
    weights(&model)
}

/// What the steps come to, written out with one optimizer for each group.
fn by_hand(order: Order) -> BTreeMap<String, Vec<f32>> {
    let model = Adversarial::new(order);
    let patches = patches();
    let mut adam = OptimizerConfig::from(AdamConfig::new()).build().unwrap();
    let mut rms = OptimizerConfig::from(RmsPropConfig::new()).build().unwrap();
    let rows: Vec<usize> = (0..patches.len()).collect();
    for _ in 0..3 {
        for rows in rows.chunks(4) {
            let batch = Batch::new(&patches.read(rows).unwrap(), &Device::Cpu).unwrap();
            let mut adversary = || {
                let latents = model.latents(&batch).unwrap().detach();
                let guess = model.guess(&latents, &batch).unwrap();
                let gradients = model.pick(ADVERSARY, &guess).unwrap();
                rms.step(&model.parameters, &gradients, 3e-3).unwrap();
            };
            if order == Order::AdversaryFirst {
                adversary();
            }
            if order == Order::SharedTwice {
                let latents = model.latents(&batch).unwrap().detach();
                let loss = model.reconstruction(&latents, &batch).unwrap();
                let store = loss.backward().unwrap();
                let group = ParameterGroup::with_prefix("decoder", &model.parameters, &["decoder"]);
                let gradients = model.parameters.group_gradients(&group, &store).unwrap();
                adam.step(&model.parameters, &gradients, 1e-2).unwrap();
            }
            let losses = model.loss(&batch, &Step::evaluation()).unwrap();
            let gradients = model.pick(ParameterGroup::MAIN, &losses.total).unwrap();
            adam.step(&model.parameters, &gradients, 1e-2).unwrap();
            if order == Order::AdversaryLast {
                let latents = model.latents(&batch).unwrap().detach();
                let guess = model.guess(&latents, &batch).unwrap();
                let gradients = model.pick(ADVERSARY, &guess).unwrap();
                rms.step(&model.parameters, &gradients, 3e-3).unwrap();
            }
        }
    }
    let mut weights = weights(&model);
    weights.insert("steps".to_owned(), vec![12.0]);
    weights
}

#[test]
fn groups_are_updated_in_the_order_of_the_model_each_by_its_own_optimizer() {
    for order in [
        Order::AdversaryFirst,
        Order::AdversaryLast,
        Order::SharedTwice,
    ] {
        assert_eq!(trained(order, &settings()), by_hand(order), "{order:?}");
    }
    let [first, last] = [Order::AdversaryFirst, Order::AdversaryLast].map(by_hand);
    assert_ne!(first["encoder.kernel"], last["encoder.kernel"]);
}

#[test]
fn a_group_trains_by_the_settings_of_the_run_where_it_has_none() {
    let with = |group: GroupConfig| settings().with_group(ADVERSARY, group);
    let explicit = GroupConfig::new()
        .with_optimizer(Some(AdamConfig::new().into()))
        .with_learning_rate(Some(1e-2));
    let [a, b] = [GroupConfig::new(), explicit].map(|g| trained(Order::AdversaryFirst, &with(g)));
    assert_eq!(a, b);
    let clipped = GroupConfig::new().with_clip(Some(ClipConfig::value(1e-9)));
    let sgd = clipped.with_optimizer(Some(SgdConfig::new().into()));
    let still = trained(Order::AdversaryFirst, &with(sgd));
    let start = weights(&Adversarial::new(Order::AdversaryFirst));
    let moved = |name: &str| -> f32 {
        let pairs = still[name].iter().zip(&start[name]);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(moved("adversary.kernel") < 1e-8, "clipped");
    assert!(moved("encoder.kernel") > 1e-3, "the other group is not");
}

#[test]
fn groups_that_do_not_exist_are_refused_by_name() {
    let refused = |order: Order, settings: FitConfig| {
        let mut model = Adversarial::new(order);
        let before = weights(&model);
        let error = fit(
            &mut model,
            &patches(),
            None,
            &settings,
            &mut [],
            &NoProgress,
        );
        assert_eq!(before, weights(&model));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Group { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(
        refused(
            Order::AdversaryFirst,
            settings().with_group("critic", GroupConfig::new())
        ),
        "group `critic` of weights: the model has none of this name; it has [\"main\", \"adversary\"]"
    );
    assert_eq!(
        refused(Order::Stranger, settings()),
        "group `critic` of weights: the model has none of this name"
    );
    assert_eq!(
        refused(Order::WrongWeights, settings()),
        "group `main` of weights: `adversary.bias` is not one of its weights"
    );
}

#[test]
fn accumulated_batches_make_the_update_of_one_large_batch() {
    // 13 patches: batches of 2 in updates of 6, 6 and 1 patches, against batches of 6.
    let settings = |batch: usize, accumulate: usize| {
        settings()
            .with_optimizer(SgdConfig::new().with_momentum(0.9))
            .with_batch_size(batch)
            .with_accumulate(accumulate)
            .with_group(ADVERSARY, GroupConfig::new())
    };
    // With an adversary that learns, the batches of an update would meet different ones.
    let order = Order::Plain;
    let compare = |small: &BTreeMap<String, Vec<f32>>, large: &BTreeMap<_, Vec<f32>>, bound| {
        for name in small.keys().filter(|name| *name != "steps") {
            for (a, b) in small[name].iter().zip(&large[name]) {
                let difference = (a - b).abs() / b.abs().max(0.1);
                assert!(difference <= bound, "{name}: {a} {b}");
            }
        }
    };
    // One update of 5 patches differs by rounding, nine updates by what they make of it.
    let five = blobs(5, SHAPE, CONDITIONS, 1);
    let one =
        |batch, accumulate| trained_on(&five, order, &settings(batch, accumulate).with_epochs(1));
    compare(&one(2, 3), &one(5, 1), 5e-7);
    let small = trained(order, &settings(2, 3));
    let large = trained(order, &settings(6, 1));
    compare(&small, &large, 2e-5);
    let once = trained(order, &settings(2, 1));
    assert_ne!(once["encoder.kernel"], small["encoder.kernel"]);
    assert_eq!((small["steps"][0], large["steps"][0]), (21.0, 9.0));
}

#[test]
fn an_adversarial_run_is_resumed_to_the_bit_within_an_update() {
    struct StopAt(std::sync::atomic::AtomicU64);
    impl phenocoder_core::Progress for StopAt {
        fn start(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, steps: u64) {
            self.0
                .fetch_add(steps, std::sync::atomic::Ordering::Relaxed);
        }
        fn finish(&self) {}
        fn is_cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed) >= 13 + 6
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let trainer = |name: &str| {
        let settings = settings().with_batch_size(2).with_accumulate(2);
        let config = CheckpointConfig::new(folder.path().join(name));
        Trainer::new(settings).with_checkpoint(config)
    };
    let run = |trainer: &mut Trainer<'_>| {
        let mut model = Adversarial::new(Order::AdversaryFirst);
        let record = trainer.fit_or_resume(&mut model, &patches(), None);
        record.map(|record| (record, weights(&model)))
    };
    let straight = run(&mut trainer("straight")).unwrap();
    let stop = StopAt(0.into());
    let stopped = run(&mut trainer("resumed").with_progress(&stop));
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let info = |name: &str| CheckpointInfo::read(folder.path().join(name)).unwrap();
    assert_eq!(
        (info("resumed").batch, info("resumed").updates),
        (3, 4 + 1),
        "one of two batches"
    );
    assert_eq!(run(&mut trainer("resumed")).unwrap(), straight);
    assert_eq!(info("resumed").sha256, info("straight").sha256);
}

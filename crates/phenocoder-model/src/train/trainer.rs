//! The training loop.

use std::time::Instant;

use phenocoder_core::{PatchBatch, PatchSource, Progress};

use super::{
    Adam, EarlyStopping, EpochRecord, FitConfig, LossRecord, Observer, Optimizer, Plateau,
    TrainingRecord, ValidationNoise,
};
use crate::loader::{Loaded, for_each_batch};
use crate::model::check_source;
use crate::{Autoencoder, Batch, Error, Losses, Result, Snapshot, Step};

/// Trains a model.
///
/// Every epoch visits all training patches in a new order, the last batch may be smaller, and the loss of an epoch is the
/// mean over its patches.
/// Schedule and early stopping watch the total loss on the validation patches, or on the training patches where there are
/// none.
/// With early stopping the model ends with the weights of its best epoch.
///
/// # Differences from the original
///
/// The original never sees the last partial batch, ignores the batch size asked for, and validates with noise.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::CvaeConfig;
/// use phenocoder_model::train::{FitConfig, fit};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
/// let mut model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let patches = PatchBatch::zeros(10, config.input, 0);
/// let record = fit(&mut model, &patches, Some(&patches), &FitConfig::new().with_epochs(3), &mut [], &NoProgress)?;
/// assert_eq!(record.epochs.len(), 3);
/// assert_eq!(record.best_epoch, 3);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// * [`Error::Config`] when a setting is out of range, [`Error::Empty`] when a side holds no patches, [`Error::Patches`] when
///   the patches do not fit the model.
/// * [`Error::NonFinite`] when a loss is infinite or no number: it names the epoch, the batch and the patches.
/// * [`Error::NonFiniteWeight`] when the last update of an epoch broke a weight.
/// * [`Error::Cancelled`] after the running batch; [`Error::Source`] when patches cannot be read; errors of observers.
///
/// Whatever the error, the model is as usable as before: it has the weights of the last epoch that ended well (of the best
/// one with early stopping), or those it came with when none did; the work of an epoch that is cut short is lost.
pub fn fit(
    model: &mut dyn Autoencoder,
    train: &dyn PatchSource,
    validation: Option<&dyn PatchSource>,
    config: &FitConfig,
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<TrainingRecord> {
    config.validate()?;
    for (split, source) in [("training", Some(train)), ("validation", validation)] {
        if let Some(source) = source {
            check_source(model, source)?;
            if source.is_empty() {
                return Err(Error::Empty { split });
            }
        }
    }
    let _span = tracing::info_span!("fit", patches = train.len()).entered();
    let run = Run {
        model,
        config,
        progress,
    };
    run.all_epochs(train, validation, observers)
}

struct Run<'a> {
    model: &'a mut dyn Autoencoder,
    config: &'a FitConfig,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    fn all_epochs(
        self,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
        observers: &mut [&mut dyn Observer],
    ) -> Result<TrainingRecord> {
        let mut good = self.model.parameters().snapshot()?;
        let record = self.epochs(train, validation, observers, &mut good);
        self.model.parameters().restore(&good)?;
        let record = record?;
        self.progress.finish();
        for observer in observers.iter_mut() {
            observer.on_end(self.model, &record)?;
        }
        Ok(record)
    }

    /// Trains to the end or to an error; `good` gets the weights that the model is to have then.
    fn epochs(
        &self,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
        observers: &mut [&mut dyn Observer],
        good: &mut Snapshot,
    ) -> Result<TrainingRecord> {
        let config = self.config;
        let mut optimizer = Adam::new(config.adam);
        let mut plateau = config.plateau.clone().map(Plateau::new);
        let mut stopping = config.early_stopping.clone().map(EarlyStopping::new);
        let mut learning_rate = config.learning_rate;
        let mut record = TrainingRecord::default();
        let patches = train.len() + validation.map_or(0, PatchSource::len);
        self.progress
            .start("train", Some((config.epochs * patches) as u64));
        for observer in observers.iter_mut() {
            observer.on_start(self.model, config.epochs)?;
        }
        for epoch in 1..=config.epochs {
            let start = Instant::now();
            let train = self.train_epoch(epoch, train, learning_rate, &mut optimizer)?;
            let validation = validation.map(|v| self.validate(epoch, v)).transpose()?;
            let watched = validation.as_ref().unwrap_or(&train).total;
            let is_best = stopping.as_mut().is_none_or(|s| s.observe(watched));
            if is_best {
                let now = self.model.parameters().snapshot()?;
                if let Some(name) = now.first_non_finite()? {
                    let name = name.to_owned();
                    return Err(Error::NonFiniteWeight { name, epoch });
                }
                *good = now;
                record.best_epoch = epoch;
            }
            let epoch_record = EpochRecord {
                epoch,
                train,
                validation,
                learning_rate,
            };
            let seconds = start.elapsed().as_secs_f64();
            for observer in observers.iter_mut() {
                observer.on_epoch(&epoch_record, seconds)?;
            }
            record.epochs.push(epoch_record);
            record.seconds.push(seconds);
            if let Some(plateau) = &mut plateau {
                learning_rate = plateau.step(watched, learning_rate);
            }
            if stopping.as_ref().is_some_and(EarlyStopping::should_stop) {
                record.stopped_early = epoch < config.epochs;
                break;
            }
        }
        Ok(record)
    }

    fn train_epoch(
        &self,
        epoch: usize,
        source: &dyn PatchSource,
        learning_rate: f64,
        optimizer: &mut dyn Optimizer,
    ) -> Result<LossRecord> {
        let seed = self.config.seed.derive("epoch", epoch as u64);
        let order = seed.stream("order", 0).permutation(source.len());
        let augment = self.config.augment;
        let prepare = move |patches: &mut PatchBatch, rows: &[usize]| {
            if let Some(flips) = augment {
                flips.apply(&mut patches.pixels, rows, seed);
            }
        };
        let pass = Pass {
            split: "training",
            epoch,
            source,
            order: &order,
        };
        let loss = |index, batch: &Batch| self.model.loss(batch, &Step::training(seed, index));
        let update = |losses: &Losses| {
            let parameters = self.model.parameters();
            let gradients = parameters.gradients(&losses.total.backward()?)?;
            optimizer.step(parameters, &gradients, learning_rate)
        };
        self.pass(&pass, prepare, loss, update)
    }

    fn validate(&self, epoch: usize, source: &dyn PatchSource) -> Result<LossRecord> {
        let order: Vec<usize> = (0..source.len()).collect();
        let noise = self.config.validation_noise == ValidationNoise::Sampled;
        let seed = self.config.seed.derive("validation", epoch as u64);
        let pass = Pass {
            split: "validation",
            epoch,
            source,
            order: &order,
        };
        let loss = |index, batch: &Batch| {
            let step = Step::evaluation().with_noise(noise).with_seed(seed, index);
            self.model.loss(batch, &step)
        };
        self.pass(&pass, |_, _| {}, loss, |_| Ok(()))
    }

    /// Visits all patches once and returns their mean loss.
    fn pass(
        &self,
        pass: &Pass<'_>,
        prepare: impl Fn(&mut PatchBatch, &[usize]) + Send,
        loss: impl Fn(u64, &Batch) -> Result<Losses>,
        mut update: impl FnMut(&Losses) -> Result<()>,
    ) -> Result<LossRecord> {
        let config = self.config;
        let mut sum = LossRecord::default();
        let each = |index: usize, loaded: Loaded<'_>| {
            self.progress.check()?;
            let batch = Batch::new(&loaded.patches, self.model.device())?;
            let losses = loss(index as u64, &batch)?;
            let total = f64::from(losses.total.to_scalar::<f32>()?);
            if !total.is_finite() {
                return Err(pass.non_finite(index, total, &loaded));
            }
            let n = loaded.rows.len();
            sum.total += total * n as f64;
            for (name, part) in &losses.parts {
                let part = f64::from(part.to_scalar::<f32>()?);
                *sum.parts.entry((*name).to_owned()).or_default() += part * n as f64;
            }
            update(&losses)?;
            self.progress.advance(n as u64);
            Ok(())
        };
        let (batch_size, ahead) = (config.batch_size, config.prefetch);
        for_each_batch(pass.source, pass.order, batch_size, ahead, prepare, each)?;
        let n = pass.order.len() as f64;
        sum.total /= n;
        sum.parts.values_mut().for_each(|part| *part /= n);
        Ok(sum)
    }
}

/// One visit of all patches.
struct Pass<'a> {
    split: &'static str,
    epoch: usize,
    source: &'a dyn PatchSource,
    order: &'a [usize],
}

impl Pass<'_> {
    /// Names the patches whose pixels or conditions are not finite, or some of the batch when all are.
    fn non_finite(&self, index: usize, value: f64, loaded: &Loaded<'_>) -> Error {
        const NAMED: usize = 4;
        let describe = |rows: &[usize]| {
            let names: Vec<String> = rows
                .iter()
                .take(NAMED)
                .map(|&row| self.source.describe(row))
                .collect();
            let more = rows.len().saturating_sub(NAMED);
            match more {
                0 => names.join(", "),
                more => format!("{} and {more} more", names.join(", ")),
            }
        };
        let PatchBatch {
            pixels, conditions, ..
        } = &loaded.patches;
        let broken: Vec<usize> = loaded
            .rows
            .iter()
            .zip(pixels.outer_iter().zip(conditions.outer_iter()))
            .filter(|(_, (pixels, conditions))| {
                !pixels
                    .iter()
                    .chain(conditions.iter())
                    .all(|v| v.is_finite())
            })
            .map(|(&row, _)| row)
            .collect();
        let patches = if broken.is_empty() {
            format!(
                "all pixels are finite; the batch holds {}",
                describe(loaded.rows)
            )
        } else {
            format!("not all values are finite in {}", describe(&broken))
        };
        Error::NonFinite {
            split: self.split,
            epoch: self.epoch,
            batch: index + 1,
            value,
            patches,
        }
    }
}

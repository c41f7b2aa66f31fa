//! One run, from its start or from a checkpoint to its end.

use std::time::Instant;

use candle_core::Tensor;
use phenocoder_core::{
    PatchBatch, PatchOrder, PatchSource, PatchTransform, Progress, Seed, ShapeError,
};
use serde_json::Value;

use super::checkpoint::{Position, STATE_KEY, State, Writer};
use super::groups::{Groups, Moment, Part};
use super::{
    BatchRecord, EarlyStopping, Ema, EpochRecord, FitConfig, LossRecord, Observer, TrainingRecord,
    ValidationNoise,
};
use crate::loader::{Loaded, for_each_batch};
use crate::{Autoencoder, Batch, Error, FileError, Losses, Result, Snapshot, Step};

/// What a run works with and never changes.
pub(super) struct Setting<'a> {
    pub(super) model: &'a dyn Autoencoder,
    pub(super) config: &'a FitConfig,
    pub(super) train: &'a dyn PatchSource,
    pub(super) validation: Option<&'a dyn PatchSource>,
    pub(super) transforms: &'a [&'a dyn PatchTransform],
    pub(super) order: &'a dyn PatchOrder,
    pub(super) progress: &'a dyn Progress,
    /// All settings as JSON.
    pub(super) settings: Value,
}

/// A run with everything that changes in it.
pub(super) struct Run<'a, 'o> {
    setting: Setting<'a>,
    observers: &'a mut [&'o mut dyn Observer],
    writer: Option<Writer>,
    position: Position,
    record: TrainingRecord,
    stopping: Option<EarlyStopping>,
    groups: Groups,
    average: Option<Ema>,
    /// The weights and running statistics that the model is to have when the run ends now.
    result: Snapshot,
    /// Whether the caller asked to stop, which happens between batches.
    is_cancelled: bool,
    /// Whether the state is that after a whole batch or epoch, so that a run can go on from it.
    is_whole: bool,
}

impl<'a, 'o> Run<'a, 'o> {
    /// A run before its first batch.
    pub(super) fn new(
        setting: Setting<'a>,
        observers: &'a mut [&'o mut dyn Observer],
        writer: Option<Writer>,
    ) -> Result<Self> {
        let config = setting.config;
        let parameters = setting.model.parameters();
        let average = config.ema.map(|ema| ema.build(parameters)).transpose()?;
        Ok(Self {
            observers,
            writer,
            position: Position::start(),
            record: TrainingRecord::default(),
            stopping: config.early_stopping.clone().map(EarlyStopping::new),
            groups: Groups::new(setting.model, config)?,
            average,
            result: parameters.snapshot()?,
            is_cancelled: false,
            is_whole: true,
            setting,
        })
    }

    /// Puts run and model where a checkpoint was written.
    pub(super) fn restore(&mut self, state: State) -> Result<()> {
        if let (Some(average), Some(saved)) = (&mut self.average, &state.average) {
            average.restore(saved)?;
        }
        self.groups.restore(&state.groups)?;
        self.groups.set_pending(state.pending);
        self.setting.model.parameters().restore(&state.model)?;
        self.position = state.position;
        self.record = state.record;
        // Of the epochs before nobody knows how long they took.
        self.record.seconds = vec![0.0; self.record.epochs.len()];
        self.stopping = state.stopping;
        self.result = state.result;
        Ok(())
    }

    fn state(&self, model: Snapshot) -> Result<State> {
        Ok(State {
            settings: self.setting.settings.clone(),
            position: self.position.clone(),
            record: TrainingRecord {
                stopped_early: self.stopped_early(),
                ..self.record.clone()
            },
            stopping: self.stopping.clone(),
            groups: self.groups.state()?,
            pending: self.groups.pending().to_vec(),
            model,
            result: self.result.clone(),
            average: self.average.as_ref().map(Ema::state).transpose()?,
        })
    }

    /// Trains to the end or to an error; then the model has the weights that it is to have.
    pub(super) fn finish(mut self) -> Result<TrainingRecord> {
        let mut ended = self.epochs();
        if self.is_cancelled
            && let Err(error) = self.save()
        {
            ended = Err(error);
        } else if let Err(error) = &ended
            && self.is_worth_keeping(error)
            && let Err(other) = self.save()
        {
            // The error that ended the run is the one to hear of.
            tracing::warn!(reason = %other, "no checkpoint was written after an error");
        }
        self.setting.model.release_memory();
        self.setting.model.parameters().restore(&self.result)?;
        if let Err(error) = ended {
            for observer in self.observers.iter_mut() {
                observer.on_failure(&error);
            }
            return Err(error);
        }
        self.record.stopped_early = self.stopped_early();
        self.setting.progress.finish();
        for observer in self.observers.iter_mut() {
            observer.on_end(self.setting.model, &self.record)?;
        }
        Ok(self.record)
    }

    fn epochs(&mut self) -> Result<()> {
        let Setting {
            model,
            config,
            train,
            validation,
            order,
            progress,
            ..
        } = self.setting;
        let visited = order.length(train.len()) + validation.map_or(0, PatchSource::len);
        let total = config.epochs.saturating_mul(visited);
        progress.start("train", Some(total as u64));
        let before = self.record.epochs.len().saturating_mul(visited);
        let done = before.saturating_add(self.position.patches);
        if done > 0 {
            progress.advance(done as u64);
        }
        for observer in self.observers.iter_mut() {
            observer.on_settings(&self.setting.settings)?;
            if self.position == Position::start() {
                observer.on_start(model, config.epochs)?;
            } else {
                observer.on_resume(model, config.epochs, &self.record)?;
            }
        }
        while !self.is_over() {
            let start = Instant::now();
            self.train_epoch(start)?;
            self.end_epoch(start)?;
        }
        if self.writer.as_ref().is_some_and(|w| !w.has(&self.position)) {
            self.save()?;
        }
        Ok(())
    }

    /// Whether a run that an error ended has done work since its last checkpoint that can be kept.
    fn is_worth_keeping(&self, error: &Error) -> bool {
        let is_number = matches!(
            error,
            Error::NonFinite { .. } | Error::NonFiniteWeight { .. }
        );
        let writer = self.writer.as_ref();
        let is_new = writer.is_some_and(|w| !w.has(&self.position));
        self.is_whole && is_new && !is_number && self.position != Position::start()
    }

    fn is_over(&self) -> bool {
        self.position.epoch > self.setting.config.epochs || self.has_stopped()
    }

    /// Whether early stopping wants no further epoch; it has no say within one.
    fn has_stopped(&self) -> bool {
        let stopping = self.stopping.as_ref();
        self.position.batch == 0 && stopping.is_some_and(EarlyStopping::should_stop)
    }

    fn stopped_early(&self) -> bool {
        self.has_stopped() && self.record.epochs.len() < self.setting.config.epochs
    }

    /// Ends the run with an error when the caller wants it to stop.
    fn check(&mut self) -> Result<()> {
        self.setting.progress.check().map_err(|cancelled| {
            self.is_cancelled = true;
            cancelled.into()
        })
    }

    /// Writes a checkpoint, where there are any; weights that are not finite are an error.
    fn save(&mut self) -> Result<()> {
        if self.writer.is_none() {
            return Ok(());
        }
        let model = self.finite_snapshot()?;
        let state = self.state(model)?;
        if let Some(writer) = &mut self.writer {
            // What could not be written once is not tried again.
            self.is_whole = false;
            writer.write(&state)?;
            self.is_whole = true;
        }
        Ok(())
    }

    fn finite_snapshot(&self) -> Result<Snapshot> {
        let snapshot = self.setting.model.parameters().snapshot()?;
        match snapshot.first_non_finite()? {
            Some(name) => Err(Error::NonFiniteWeight {
                name: name.to_owned(),
                epoch: self.position.epoch,
            }),
            None => Ok(snapshot),
        }
    }

    /// Trains on the patches of the running epoch that are left.
    fn train_epoch(&mut self, start: Instant) -> Result<()> {
        let Setting {
            model,
            config,
            train,
            transforms,
            order,
            ..
        } = self.setting;
        let epoch = self.position.epoch;
        let seed = config.seed.derive("epoch", epoch as u64);
        let order = order.order(train.len(), seed)?;
        check_order(&order, train)?;
        let plan = Plan::new(order.len(), config);
        self.check_position(&plan)?;
        let prepare = move |patches: &mut PatchBatch, rows: &[usize]| {
            transforms
                .iter()
                .try_for_each(|transform| transform.apply(patches, rows, seed))
        };
        if self.position.batch == 0 {
            let moment = self.moment(&plan);
            self.position.learning_rate = self.groups.learning_rate(moment);
        }
        let done = self.position.batch;
        let patches_before = self.position.patches;
        let left = &order[plan.until(done)..];
        let each = |index: usize, loaded: Loaded<'_>| {
            self.check()?;
            let index = done + index;
            let place = Place {
                split: "training",
                epoch,
                batch: index + 1,
                source: train,
            };
            let batch = Batch::new(&loaded.patches, model.device())?;
            let step = Step::training(seed, index as u64).with_precision(config.precision);
            let (part, moment) = (plan.part(index), self.moment(&plan));
            self.is_whole = false;
            let observers = &mut *self.observers;
            let mut update = self
                .groups
                .step(model.parameters(), part, moment, observers);
            let losses = match model.train_step(&batch, &step, &mut update) {
                Ok(losses) => losses,
                Err(Error::NonFiniteGradient { name, value }) => {
                    // Where no weight has changed in this step, the loss can be seen again: mostly it is the first to
                    // break.
                    if !update.has_changed() {
                        place.record(&model.loss(&batch, &step)?, &loaded)?;
                    }
                    let quantity = format!("gradient of `{name}`");
                    return Err(place.non_finite(quantity, value, &loaded));
                }
                Err(error) => return Err(error),
            };
            let losses = place.record(&losses, &loaded)?;
            if part.last {
                self.groups.end_update();
                self.position.updates += 1;
                if let Some(average) = &mut self.average {
                    average.update(model.parameters())?;
                }
            }
            let n = loaded.rows.len();
            add(&mut self.position.sum, &losses, n);
            self.position.patches += n;
            self.position.batch += 1;
            self.position.batches += 1;
            self.is_whole = true;
            self.setting.progress.advance(n as u64);
            let patches = self.position.patches;
            let batch = BatchRecord {
                epoch,
                epochs: config.epochs,
                batch: self.position.batch,
                batches: plan.batches(),
                patches,
                n_patches: plan.patches,
                losses,
                learning_rate: self.groups.learning_rate(moment),
                seconds: start.elapsed().as_secs_f64(),
                earlier_patches: patches_before,
            };
            for observer in self.observers.iter_mut() {
                observer.on_batch(&batch)?;
            }
            if let Some(writer) = &self.writer
                && writer.is_due_after_batch(&self.position)
            {
                self.save()?;
            }
            Ok(())
        };
        for_each_batch(
            train,
            left,
            config.batch_size,
            config.reading(),
            prepare,
            each,
        )
    }

    /// Refuses the position of a checkpoint that no run with these settings comes to.
    fn check_position(&self, plan: &Plan) -> Result<()> {
        let Position { batch, patches, .. } = self.position;
        let is_reached = batch <= plan.batches() && patches == plan.until(batch);
        let in_update = batch > 0 && !plan.part(batch - 1).last;
        let reason = if !is_reached {
            let (batches, all) = (plan.batches(), plan.patches);
            format!("it has done {batch} batches with {patches} patches of {batches} with {all}")
        } else if !in_update && !self.groups.pending().is_empty() {
            format!("it has gradients of an update that is over after {batch} batches")
        } else {
            return Ok(());
        };
        let path = self.writer.as_ref().map(|w| w.path().to_owned());
        Err(Error::File {
            path: path.unwrap_or_default(),
            source: FileError::Metadata {
                key: STATE_KEY.to_owned(),
                reason,
            },
        })
    }

    fn moment(&self, plan: &Plan) -> Moment {
        Moment {
            epoch: self.position.epoch - 1,
            update: self.position.updates,
            updates_per_epoch: plan.updates(),
        }
    }

    /// Validates, and draws the conclusions from the losses.
    fn end_epoch(&mut self, start: Instant) -> Result<()> {
        let epoch = self.position.epoch;
        let train = mean(self.position.sum.clone(), self.position.patches);
        self.swap_average()?;
        let concluded = self.conclude(train);
        self.swap_average()?;
        concluded?;
        let seconds = start.elapsed().as_secs_f64();
        self.record.seconds.push(seconds);
        let writer = self.writer.as_ref();
        if writer.is_some_and(|w| w.is_due_after_epoch(epoch)) {
            self.save()?;
        }
        if let Some(record) = self.record.epochs.last() {
            for observer in self.observers.iter_mut() {
                observer.on_epoch(record, seconds)?;
            }
        }
        Ok(())
    }

    /// Exchanges the weights with their average, if there is one.
    fn swap_average(&mut self) -> Result<()> {
        match &mut self.average {
            Some(average) => average.swap(self.setting.model.parameters()),
            None => Ok(()),
        }
    }

    /// Ends an epoch on the weights that the model would have in the end.
    fn conclude(&mut self, train: LossRecord) -> Result<()> {
        let epoch = self.position.epoch;
        let validation = self.validate(epoch)?;
        let watched = validation.as_ref().unwrap_or(&train).total;
        self.is_whole = false;
        if self.stopping.as_mut().is_none_or(|s| s.observe(watched)) {
            self.result = self.finite_snapshot()?;
            self.record.best_epoch = epoch;
        }
        for observer in self.observers.iter_mut() {
            observer.on_model(self.setting.model, epoch)?;
        }
        self.groups.observe(watched);
        self.record.epochs.push(EpochRecord {
            epoch,
            train,
            validation,
            learning_rate: self.position.learning_rate,
        });
        self.position = self.position.next_epoch();
        self.is_whole = true;
        Ok(())
    }

    fn validate(&mut self, epoch: usize) -> Result<Option<LossRecord>> {
        let Setting {
            model,
            config,
            transforms,
            ..
        } = self.setting;
        let Some(source) = self.setting.validation else {
            return Ok(None);
        };
        let noise = config.validation_noise == ValidationNoise::Sampled;
        let seed = config.seed.derive("validation", epoch as u64);
        // Such transforms belong to what the network takes; they are the same in every epoch, so losses can be compared.
        let view_seed: Seed = config.seed.derive("validation-views", 0);
        let prepare = move |patches: &mut PatchBatch, rows: &[usize]| {
            let mut canonical = transforms.iter().filter(|t| t.for_validation());
            canonical.try_for_each(|transform| transform.apply(patches, rows, view_seed))
        };
        let order: Vec<usize> = (0..source.len()).collect();
        let mut sum = LossRecord::default();
        let each = |index: usize, loaded: Loaded<'_>| {
            self.check()?;
            let place = Place {
                split: "validation",
                epoch,
                batch: index + 1,
                source,
            };
            let batch = Batch::new(&loaded.patches, model.device())?;
            let step = Step::evaluation()
                .with_noise(noise)
                .with_seed(seed, index as u64)
                .with_precision(config.precision);
            let losses = model.loss(&batch, &step)?;
            let losses = place.record(&losses, &loaded)?;
            add(&mut sum, &losses, loaded.rows.len());
            self.setting.progress.advance(loaded.rows.len() as u64);
            Ok(())
        };
        for_each_batch(
            source,
            &order,
            config.batch_size,
            config.reading(),
            prepare,
            each,
        )?;
        Ok(Some(mean(sum, order.len())))
    }
}

/// How the batches of an epoch make updates.
struct Plan {
    patches: usize,
    batch_size: usize,
    accumulate: usize,
}

impl Plan {
    fn new(patches: usize, config: &FitConfig) -> Self {
        Self {
            patches,
            batch_size: config.batch_size,
            accumulate: config.accumulate,
        }
    }

    fn batches(&self) -> usize {
        self.patches.div_ceil(self.batch_size)
    }

    fn updates(&self) -> u64 {
        let update = self.batch_size.saturating_mul(self.accumulate);
        self.patches.div_ceil(update) as u64
    }

    /// The place of a batch in its update; the last update of an epoch may have fewer batches.
    fn part(&self, batch: usize) -> Part {
        let first = batch - batch % self.accumulate;
        let end = self.until(first.saturating_add(self.accumulate));
        let all = end - self.until(first);
        let own = self.until(batch + 1) - self.until(batch);
        Part {
            share: own as f64 / all as f64,
            last: self.until(batch + 1) == end,
        }
    }

    /// The patches of the batches before this one.
    fn until(&self, batch: usize) -> usize {
        self.patches.min(batch.saturating_mul(self.batch_size))
    }
}

fn check_order(order: &[usize], source: &dyn PatchSource) -> Result<()> {
    let n = source.len();
    if let Some(row) = order.iter().find(|&&row| row >= n) {
        return Err(ShapeError::Array {
            what: "order".to_owned(),
            expected: format!("numbers of patches below {n}"),
            found: vec![*row],
        }
        .into());
    }
    match order.is_empty() {
        true => Err(Error::Empty { split: "training" }),
        false => Ok(()),
    }
}

fn add(sum: &mut LossRecord, losses: &LossRecord, patches: usize) {
    let n = patches as f64;
    sum.total += losses.total * n;
    for (name, part) in &losses.parts {
        *sum.parts.entry(name.clone()).or_default() += part * n;
    }
}

fn mean(mut sum: LossRecord, patches: usize) -> LossRecord {
    let n = patches as f64;
    sum.total /= n;
    sum.parts.values_mut().for_each(|part| *part /= n);
    sum
}

/// A batch in messages.
struct Place<'a> {
    split: &'static str,
    epoch: usize,
    batch: usize,
    source: &'a dyn PatchSource,
}

impl Place<'_> {
    /// The losses of the batch, if all are finite numbers.
    fn record(&self, losses: &Losses, loaded: &Loaded<'_>) -> Result<LossRecord> {
        let finite = |name: &str, loss: &Tensor| {
            let value = f64::from(loss.to_scalar::<f32>()?);
            if value.is_finite() {
                return Ok(value);
            }
            Err(self.non_finite(format!("{} {name}", self.split), value, loaded))
        };
        let total = finite("loss", &losses.total)?;
        let part = |(name, part): &(&'static str, Tensor)| {
            let value = finite(&format!("loss `{name}`"), part)?;
            Ok(((*name).to_owned(), value))
        };
        Ok(LossRecord {
            total,
            parts: losses.parts.iter().map(part).collect::<Result<_>>()?,
        })
    }

    /// Names the patches whose pixels, conditions or views are not finite, or some of the batch when all are.
    fn non_finite(&self, quantity: String, value: f64, loaded: &Loaded<'_>) -> Error {
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
            pixels,
            conditions,
            views,
            ..
        } = &loaded.patches;
        let is_broken = |i: usize| {
            let images = std::iter::once(pixels).chain(views);
            let mut images = images.map(|image| image.index_axis(ndarray::Axis(0), i));
            !images.all(|image| image.iter().all(|v| v.is_finite()))
                || !conditions.row(i).iter().all(|v| v.is_finite())
        };
        let broken: Vec<usize> = loaded
            .rows
            .iter()
            .enumerate()
            .filter(|&(i, _)| is_broken(i))
            .map(|(_, &row)| row)
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
            quantity,
            epoch: self.epoch,
            batch: self.batch,
            value,
            patches,
        }
    }
}

//! Training from the caller's side.

use phenocoder_core::{NoProgress, PatchOrder, PatchSource, PatchTransform, Progress, Shuffled};

use serde_json::Value;

use super::checkpoint::{Writer, may_be_longer, of_run};
use super::run::{Run, Setting};
use super::{CheckpointConfig, FitConfig, Observer, TrainingRecord};
use crate::model::check_source;
use crate::{Autoencoder, ConfigError, Error, Precision, Result};

/// Trains models: what [`fit`] does, with transforms, orders of the patches and checkpoints of the caller's choice.
///
/// # Stopping and resuming
///
/// With [`with_checkpoint`](Self::with_checkpoint) a run is kept on disk.
/// When the caller's [`Progress`] asks to stop, the running batch is finished, a checkpoint is written and
/// [`Error::Cancelled`] returned.
/// [`resume`](Self::resume) continues where the checkpoint was written, within an epoch too, and a run that was stopped,
/// killed or cut off ends with the weights, the record and the checkpoint of one that was not, bit for bit on the CPU.
/// Everything that decides over the result must be the same: settings, patches (by their
/// [fingerprint](PatchSource::fingerprint)) and the weights that the model came with; the first that is not is named in
/// the error.
/// Three things may differ: the device, how many batches are read ahead, and the number of epochs, where no learning rate
/// depends on it: so a finished run can be made longer.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CancelToken, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::train::{CheckpointConfig, CheckpointInfo, FitConfig, Trainer};
/// use phenocoder_model::{CvaeConfig, Error};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
/// let model = || config.build(Seed::new(1), &candle_core::Device::Cpu);
/// let patches = PatchBatch::zeros(10, config.input, 0);
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("run.safetensors");
/// let settings = FitConfig::new().with_epochs(3).with_batch_size(4);
/// let stop = CancelToken::new();
/// let mut trainer = Trainer::new(settings.clone())
///     .with_checkpoint(CheckpointConfig::new(&file))
///     .with_progress(&stop);
///
/// stop.cancel();
/// let stopped = trainer.fit(&mut model()?, &patches, None);
/// assert!(matches!(stopped, Err(Error::Cancelled(_))));
/// let mut trainer = Trainer::new(settings.clone()).with_checkpoint(CheckpointConfig::new(&file));
/// let resumed = trainer.resume(&mut model()?, &patches, None)?;
///
/// let straight = Trainer::new(settings).fit(&mut model()?, &patches, None)?;
/// assert_eq!(resumed, straight);
/// assert_eq!(CheckpointInfo::read(&file)?.epoch, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'a> {
    config: FitConfig,
    transforms: Vec<&'a dyn PatchTransform>,
    order: &'a dyn PatchOrder,
    checkpoint: Option<CheckpointConfig>,
    observers: Vec<&'a mut dyn Observer>,
    progress: &'a dyn Progress,
    context: Value,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transforms: Vec<&str> = self.transforms.iter().map(|t| t.name()).collect();
        f.debug_struct("Trainer")
            .field("config", &self.config)
            .field("transforms", &transforms)
            .field("order", &self.order.name())
            .field("checkpoint", &self.checkpoint)
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Anew,
    Resumed,
    ResumedOrAnew,
}

impl<'a> Trainer<'a> {
    /// A trainer that shuffles the patches, changes none, keeps nothing on disk and tells nobody.
    #[must_use]
    pub fn new(config: FitConfig) -> Self {
        Self {
            config,
            transforms: Vec::new(),
            order: &Shuffled,
            checkpoint: None,
            observers: Vec::new(),
            progress: &NoProgress,
            context: Value::Null,
        }
    }

    /// Sets what changes patches on their way to the network, in this order: augmentations, and the views that a network
    /// takes.
    ///
    /// They work on the threads that read ahead.
    /// Validation patches get only those that are [for them](PatchTransform::for_validation), drawn the same in every epoch.
    #[must_use]
    pub fn with_transforms(mut self, transforms: &[&'a dyn PatchTransform]) -> Self {
        self.transforms = transforms.to_vec();
        self
    }

    /// Sets which patches an epoch visits, and in which order.
    #[must_use]
    #[doc(alias = "sampler")]
    pub fn with_order(mut self, order: &'a dyn PatchOrder) -> Self {
        self.order = order;
        self
    }

    /// Keeps the run on disk.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: CheckpointConfig) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Adds someone who listens.
    #[must_use]
    #[doc(alias = "callbacks")]
    pub fn with_observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observers.push(observer);
        self
    }

    /// Sets who hears how far the run is, and may stop it.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a dyn Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Sets what else decides over the run, as JSON: how its data came to be, say (default null).
    ///
    /// It is kept with checkpoints and told to observers with the other settings.
    /// A run is resumed with an equal value only; [`Error::Settings`] names the first place where two differ, as in
    /// `context.scaling.mode`.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_core::{PatchBatch, PatchShape, Seed};
    /// use phenocoder_model::CvaeConfig;
    /// use phenocoder_model::train::{CheckpointConfig, FitConfig, Trainer};
    /// use serde_json::json;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let checkpoint = CheckpointConfig::new(folder.path().join("run.safetensors"));
    /// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
    /// let patches = PatchBatch::zeros(5, config.input, 0);
    /// let model = || config.build(Seed::new(1), &candle_core::Device::Cpu);
    /// let trainer = |percentile: f64| {
    ///     Trainer::new(FitConfig::new().with_epochs(1))
    ///         .with_checkpoint(checkpoint.clone())
    ///         .with_context(json!({"scaling": {"percentile": percentile}}))
    /// };
    /// trainer(99.0).fit(&mut model()?, &patches, None)?;
    /// let refused = trainer(99.5).resume(&mut model()?, &patches, None).unwrap_err();
    /// assert_eq!(
    ///     refused.to_string(),
    ///     "the checkpoint was made with `context.scaling.percentile` = 99.0, this run has 99.5"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_context(mut self, context: Value) -> Self {
        self.context = context;
        self
    }

    /// Trains a model from the start; checkpoints of an earlier run are replaced.
    ///
    /// # Errors
    ///
    /// * [`Error::Config`] when a setting is out of range, [`Error::Empty`] when a side holds no patches, [`Error::Patches`]
    ///   when the patches or the number of views do not fit the model, [`Error::Group`] when the settings name a group that
    ///   the model does not have, or the model updates one.
    /// * [`Error::NonFinite`] when a loss or a gradient is infinite or no number: it names the epoch, the batch and the
    ///   patches.
    /// * [`Error::NonFiniteWeight`] when the last update before a checkpoint or the end of an epoch broke a weight.
    /// * [`Error::Cancelled`] after the running batch; [`Error::Source`] when patches cannot be read; [`Error::Io`] when a
    ///   checkpoint cannot be written, the one before it is then untouched; [`Error::File`] when it would be too large;
    ///   errors of observers.
    ///
    /// Whatever the error, the model is as usable as before: it has the weights of the last epoch that ended well (of the
    /// best one with early stopping), or those it came with when none did.
    /// With a checkpoint the work since the last one is kept also when the run ends with an error between two batches
    /// (patches that cannot be read, an observer that fails), and [`resume`](Self::resume) goes on from there.
    /// Not so when a number is not finite or a batch fails halfway: then the checkpoint is the last that was due.
    pub fn fit(
        &mut self,
        model: &mut dyn Autoencoder,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
    ) -> Result<TrainingRecord> {
        self.run(model, train, validation, Beginning::Anew)
    }

    /// Continues a run from its checkpoint, in the epoch and at the batch where it was written.
    ///
    /// The model comes with the weights that the run began with, as the configuration builds it, or with those that it had
    /// when the checkpoint was written; its weights are replaced.
    /// A checkpoint that cannot be read is reported as a warning, and the one before it used.
    /// Of a run that is over the record and the weights come back at once.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit); [`Error::NoCheckpoint`] when there is none or no file is set; [`Error::Settings`] when a
    /// setting differs; [`Error::File`] and [`Error::Array`] when neither the newest nor the previous checkpoint can be
    /// used.
    pub fn resume(
        &mut self,
        model: &mut dyn Autoencoder,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
    ) -> Result<TrainingRecord> {
        self.run(model, train, validation, Beginning::Resumed)
    }

    /// Continues a run where there is a checkpoint of it, else starts it.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume), but that there is no checkpoint is none.
    pub fn fit_or_resume(
        &mut self,
        model: &mut dyn Autoencoder,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
    ) -> Result<TrainingRecord> {
        self.run(model, train, validation, Beginning::ResumedOrAnew)
    }

    fn run(
        &mut self,
        model: &mut dyn Autoencoder,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
        beginning: Beginning,
    ) -> Result<TrainingRecord> {
        let config = &self.config;
        config.validate()?;
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.validate()?;
        }
        let model: &dyn Autoencoder = model;
        check_precision(model, config.precision)?;
        for (split, source) in [("training", Some(train)), ("validation", validation)] {
            if let Some(source) = source {
                check_source(model, source)?;
                if source.is_empty() {
                    return Err(Error::Empty { split });
                }
            }
        }
        let _span = tracing::info_span!("fit", patches = train.len()).entered();
        let (transforms, order) = (self.transforms.as_slice(), self.order);
        let context = &self.context;
        let mut settings = of_run(model, config, transforms, order, train, validation, context)?;
        let (mut writer, mut state) = (None, None);
        if let Some(checkpoint) = &self.checkpoint {
            let found = match beginning {
                Beginning::Anew => None,
                _ => {
                    let may_be_longer = may_be_longer(config);
                    let parameters = model.parameters();
                    Writer::open(checkpoint.clone(), &mut settings, may_be_longer, parameters)?
                }
            };
            match (found, beginning) {
                (Some((found, saved)), _) => {
                    writer = Some(found);
                    state = Some(saved);
                }
                (None, Beginning::Resumed) => {
                    return Err(Error::NoCheckpoint {
                        path: checkpoint.path.clone(),
                    });
                }
                (None, _) => writer = Some(Writer::new(checkpoint.clone())),
            }
        } else if beginning == Beginning::Resumed {
            return Err(Error::NoCheckpoint {
                path: std::path::PathBuf::new(),
            });
        }
        let setting = Setting {
            model,
            config,
            train,
            validation,
            transforms,
            order,
            progress: self.progress,
            settings,
        };
        let mut run = Run::new(setting, &mut self.observers, writer)?;
        if let Some(state) = state {
            run.restore(state)?;
        }
        run.finish()
    }
}

fn check_precision(model: &dyn Autoencoder, precision: Precision) -> Result<()> {
    if precision == Precision::F32 {
        return Ok(());
    }
    let reason = if model.device().is_cpu() {
        "the CPU computes in f32 only"
    } else if !model.precisions().contains(&precision) {
        "the network has no such computation"
    } else {
        return Ok(());
    };
    Err(ConfigError::Precision { precision, reason }.into())
}

/// Trains a model: the short form of [`Trainer`].
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
/// As [`Trainer::fit`].
pub fn fit(
    model: &mut dyn Autoencoder,
    train: &dyn PatchSource,
    validation: Option<&dyn PatchSource>,
    config: &FitConfig,
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<TrainingRecord> {
    let mut trainer = Trainer::new(config.clone()).with_progress(progress);
    for observer in observers {
        trainer = trainer.with_observer(&mut **observer);
    }
    trainer.fit(model, train, validation)
}

//! The training record for TensorBoard.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::event::{self, Outcome, PngHeader};
use super::{Observer, csv};
use crate::train::{EpochRecord, TrainingRecord};
use crate::{Autoencoder, Error, Gradients, Result};

/// Writes an event file that TensorBoard shows: losses and learning rate by epoch, hyper-parameters, and as asked for
/// histograms, pictures and text.
///
/// Scalars are called `train/total`, `train/reconstruction`, `train/kl`, `validation/…`, `learning_rate`; histograms
/// `weights/NAME` and `gradients/NAME`, where the gradients are those of the first update of an epoch, before clipping.
/// The settings of the run are shown in the tab HPARAMS, nested ones as `optimizer.beta_1`.
///
/// A run that is resumed has an event file of its own for each part, best in one folder: TensorBoard shows them as one
/// curve, without the epochs that an interrupted part had begun after its last checkpoint.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::TensorBoardObserver;
///
/// let folder = tempfile::tempdir()?;
/// let mut events = TensorBoardObserver::create(folder.path())?.with_weights_every(5).with_gradients_every(5);
/// events.write_scalar("clusters", 0, 12.0)?;
/// events.write_histogram("areas", 0, &[80.0, 95.0, 120.0])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TensorBoardObserver {
    path: PathBuf,
    file: BufWriter<File>,
    weights_every: usize,
    gradients_every: usize,
    /// The last epoch whose gradients were written, and whose.
    written: (usize, BTreeSet<String>),
    has_session: bool,
    /// Whether the folder held events before.
    has_earlier: bool,
}

impl TensorBoardObserver {
    /// Creates an event file in a folder, which is made if need be.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when folder or file cannot be created.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, "created", e))?;
        // TensorBoard takes files with `tfevents` in their names and reads them in the order of the names.
        let is_events =
            |name: &std::ffi::OsStr| name.to_string_lossy().contains("events.out.tfevents.");
        let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "read", e))?;
        // A file of a run that was refused before it began holds the version alone.
        let header = event::record(&event::version(wall_time())).len();
        let has_events = |entry: &fs::DirEntry| {
            let len = entry.metadata().map_or(0, |data| data.len());
            is_events(&entry.file_name()) && len > header as u64
        };
        let has_earlier = entries.flatten().any(|entry| has_events(&entry));
        let stem = format!("events.out.tfevents.{:010}", wall_time() as u64);
        let mut number = 0;
        loop {
            let path = folder.join(format!("{stem}.phenocoder.{number}"));
            match File::create_new(&path) {
                Ok(file) => {
                    let file = BufWriter::new(file);
                    let mut observer = Self {
                        path,
                        file,
                        weights_every: 0,
                        gradients_every: 0,
                        written: (0, BTreeSet::new()),
                        has_session: false,
                        has_earlier,
                    };
                    observer.write(&event::version(wall_time()))?;
                    return Ok(observer);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::io(path, "created", e)),
            }
        }
    }

    /// Writes histograms of all weights and running statistics every so many epochs; 0 (the default) writes none.
    #[must_use]
    pub fn with_weights_every(mut self, epochs: usize) -> Self {
        self.weights_every = epochs;
        self
    }

    /// Writes histograms of all gradients every so many epochs; 0 (the default) writes none.
    #[must_use]
    pub fn with_gradients_every(mut self, epochs: usize) -> Self {
        self.gradients_every = epochs;
        self
    }

    /// The event file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a number.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.write(&event::scalar(wall_time(), step, tag, value))
    }

    /// Writes how values are distributed; those that are not finite are left out, and where there are no others nothing is
    /// written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_histogram(&mut self, tag: &str, step: u64, values: &[f32]) -> Result<()> {
        match event::histogram(wall_time(), step, tag, values) {
            Some(message) => self.write(&message),
            None => Ok(()),
        }
    }

    /// Writes which settings and which scalars are columns of the tab HPARAMS.
    ///
    /// TensorBoard finds both by itself when no run says so, and takes what it finds first for all runs; so this is for the
    /// folder above the runs of a study, or for a run alone.
    /// Nested settings get names with dots, lists become text.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_experiment(&mut self, settings: &Value, metrics: &[&str]) -> Result<()> {
        let settings = event::flatten(settings);
        self.write(&event::experiment(wall_time(), &settings, metrics))
    }

    /// Writes the settings of a run for the tab HPARAMS: its session begins, and ends with the training.
    ///
    /// Nested settings get names with dots, lists become text.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_hparams(&mut self, settings: &Value) -> Result<()> {
        let settings = event::flatten(settings);
        self.write(&event::session_start(wall_time(), &settings))?;
        self.has_session = true;
        Ok(())
    }

    fn end_session(&mut self, outcome: Outcome) -> Result<()> {
        if !std::mem::take(&mut self.has_session) {
            return Ok(());
        }
        self.write(&event::session_end(wall_time(), outcome))
    }

    fn write_tensor(&mut self, tag: &str, step: u64, tensor: &Tensor) -> Result<()> {
        let tensor = tensor.detach().to_dtype(DType::F32)?;
        let values = tensor.to_device(&Device::Cpu)?.flatten_all()?;
        self.write_histogram(tag, step, &values.to_vec1::<f32>()?)
    }

    /// Writes a picture.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] when the bytes are no PNG file; [`Error::Io`] when the event file cannot be written.
    pub fn write_image(&mut self, tag: &str, step: u64, png: &[u8]) -> Result<()> {
        let header = PngHeader::read(png).ok_or_else(|| Error::Image {
            tag: tag.to_owned(),
        })?;
        self.write(&event::image(wall_time(), step, tag, header, png))
    }

    /// Writes text, which TensorBoard shows as Markdown.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_text(&mut self, tag: &str, step: u64, text: &str) -> Result<()> {
        self.write(&event::text(wall_time(), step, tag, text))
    }

    fn write(&mut self, message: &[u8]) -> Result<()> {
        let mut write = || {
            self.file.write_all(&event::record(message))?;
            self.file.flush()
        };
        write().map_err(|source| Error::io(&self.path, "written", source))
    }
}

/// Whether something is due that happens every so many epochs.
fn is_due(every: usize, epoch: usize) -> bool {
    every > 0 && epoch.is_multiple_of(every)
}

impl Observer for TensorBoardObserver {
    fn on_settings(&mut self, settings: &Value) -> Result<()> {
        self.write_hparams(settings)
    }

    fn on_gradients(&mut self, epoch: usize, _: u64, gradients: &Gradients) -> Result<()> {
        if !is_due(self.gradients_every, epoch) {
            return Ok(());
        }
        if self.written.0 != epoch {
            self.written = (epoch, BTreeSet::new());
        }
        for (name, gradient) in gradients {
            if self.written.1.insert(name.clone()) {
                self.write_tensor(&format!("gradients/{name}"), epoch as u64, gradient)?;
            }
        }
        Ok(())
    }

    fn on_model(&mut self, model: &dyn Autoencoder, epoch: usize) -> Result<()> {
        if !is_due(self.weights_every, epoch) {
            return Ok(());
        }
        for (name, variable) in model.parameters().iter() {
            let weights = variable.as_detached_tensor();
            self.write_tensor(&format!("weights/{name}"), epoch as u64, &weights)?;
        }
        Ok(())
    }

    fn on_end(&mut self, _: &dyn Autoencoder, _: &TrainingRecord) -> Result<()> {
        self.end_session(Outcome::Success)
    }

    fn on_failure(&mut self, _: &Error) {
        // The error that ended the training is the one to hear of.
        let _ = self.end_session(Outcome::Failure);
    }

    /// Where the folder holds the events of another run, TensorBoard drops those of its epochs.
    fn on_start(&mut self, model: &dyn Autoencoder, _: usize) -> Result<()> {
        if self.has_earlier {
            self.write(&event::restart(wall_time(), 1))?;
        }
        let config = model.config_json()?;
        self.write_text("config", 0, &format!("```\n{config:#}\n```"))
    }

    /// Where the folder holds the events of the run so far, those of epochs that are done again are dropped by TensorBoard,
    /// and nothing is written twice; else the epochs that are done are written anew.
    fn on_resume(
        &mut self,
        model: &dyn Autoencoder,
        epochs: usize,
        record: &TrainingRecord,
    ) -> Result<()> {
        if self.has_earlier {
            let next = record.epochs.len() as u64 + 1;
            return self.write(&event::restart(wall_time(), next));
        }
        self.on_start(model, epochs)?;
        let mut done = record.epochs.iter();
        done.try_for_each(|epoch| self.on_epoch(epoch, 0.0))
    }

    fn on_epoch(&mut self, record: &EpochRecord, _: f64) -> Result<()> {
        let step = record.epoch as u64;
        for (name, value) in csv::losses(record) {
            self.write_scalar(&name.replacen('_', "/", 1), step, value)?;
        }
        self.write_scalar("learning_rate", step, record.learning_rate)
    }
}

/// Seconds since 1970; an event's time is for the reader's eye alone.
fn wall_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

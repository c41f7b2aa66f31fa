//! Who listens while a model is trained.

mod csv;
mod event;
mod tensorboard;

pub use csv::CsvObserver;
pub use tensorboard::TensorBoardObserver;

use super::{BatchRecord, EpochRecord, TrainingRecord};
use crate::{Autoencoder, Error, Gradients, Result};

/// Hears what happens in training: a console, a file, a plot.
///
/// All methods do nothing unless they are implemented; an error ends the training.
/// In each epoch the order is: for every batch [`on_gradients`](Self::on_gradients) (once for each update of its weights)
/// and [`on_batch`](Self::on_batch), then [`on_model`](Self::on_model) and [`on_epoch`](Self::on_epoch).
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{BatchRecord, Observer};
///
/// /// Keeps the loss of every batch.
/// #[derive(Default)]
/// struct Curve(Vec<f64>);
///
/// impl Observer for Curve {
///     fn on_batch(&mut self, batch: &BatchRecord) -> phenocoder_model::Result<()> {
///         self.0.push(batch.losses.total);
///         Ok(())
///     }
/// }
/// ```
pub trait Observer: Send {
    /// The settings of the run as JSON, before it begins.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_settings(&mut self, settings: &serde_json::Value) -> Result<()> {
        let _ = settings;
        Ok(())
    }

    /// Training begins.
    ///
    /// # Errors
    ///
    /// Whatever the observer fails with, mostly [`Error::Io`](crate::Error::Io).
    fn on_start(&mut self, model: &dyn Autoencoder, epochs: usize) -> Result<()> {
        let _ = (model, epochs);
        Ok(())
    }

    /// Training goes on after the epochs of `record`, some batches into the next maybe.
    ///
    /// By default the observer hears the start and all those epochs again, without their times: what it writes is then as if
    /// training had not been interrupted.
    /// Batches since the checkpoint are done, and so heard, again.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_resume(
        &mut self,
        model: &dyn Autoencoder,
        epochs: usize,
        record: &TrainingRecord,
    ) -> Result<()> {
        self.on_start(model, epochs)?;
        record
            .epochs
            .iter()
            .try_for_each(|epoch| self.on_epoch(epoch, 0.0))
    }

    /// The gradients of an update, before they are clipped; `update` counts from 1 over the whole run.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_gradients(&mut self, epoch: usize, update: u64, gradients: &Gradients) -> Result<()> {
        let _ = (epoch, update, gradients);
        Ok(())
    }

    /// A training batch is done.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_batch(&mut self, batch: &BatchRecord) -> Result<()> {
        let _ = batch;
        Ok(())
    }

    /// The model after an epoch, before its record comes: with averaged weights, where weights are averaged.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_model(&mut self, model: &dyn Autoencoder, epoch: usize) -> Result<()> {
        let _ = (model, epoch);
        Ok(())
    }

    /// An epoch is over, which took this many seconds.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_epoch(&mut self, record: &EpochRecord, seconds: f64) -> Result<()> {
        let _ = (record, seconds);
        Ok(())
    }

    /// Training is over and the model has its final weights.
    ///
    /// # Errors
    ///
    /// As [`on_start`](Self::on_start).
    fn on_end(&mut self, model: &dyn Autoencoder, record: &TrainingRecord) -> Result<()> {
        let _ = (model, record);
        Ok(())
    }

    /// Training ends with an error; there will be no [`on_end`](Self::on_end).
    fn on_failure(&mut self, error: &Error) {
        let _ = error;
    }
}

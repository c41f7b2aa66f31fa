//! Who listens while a model is trained.

mod csv;
mod event;
mod tensorboard;

pub use csv::CsvObserver;
pub use tensorboard::TensorBoardObserver;

use super::{EpochRecord, TrainingRecord};
use crate::{Autoencoder, Result};

/// Hears what happens in training: a console, a file, a plot.
///
/// All methods do nothing unless they are implemented; an error ends the training.
pub trait Observer: Send {
    /// Training begins.
    ///
    /// # Errors
    ///
    /// Whatever the observer fails with, mostly [`Error::Io`](crate::Error::Io).
    fn on_start(&mut self, model: &dyn Autoencoder, epochs: usize) -> Result<()> {
        let _ = (model, epochs);
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
}

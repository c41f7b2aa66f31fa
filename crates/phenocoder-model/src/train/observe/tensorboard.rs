//! The training record for TensorBoard.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{self, PngHeader};
use super::{Observer, csv};
use crate::train::EpochRecord;
use crate::{Autoencoder, Error, Result};

/// Writes an event file that TensorBoard shows: losses and learning rate by epoch, pictures, text.
///
/// Scalars are called `train/total`, `train/reconstruction`, `train/kl`, `validation/…`, `learning_rate`.
#[derive(Debug)]
pub struct TensorBoardObserver {
    path: PathBuf,
    file: BufWriter<File>,
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
        let stem = format!("events.out.tfevents.{:010}", wall_time() as u64);
        let mut number = 0;
        loop {
            let path = folder.join(format!("{stem}.phenocoder.{number}"));
            match File::create_new(&path) {
                Ok(file) => {
                    let file = BufWriter::new(file);
                    let mut observer = Self { path, file };
                    observer.write(&event::version(wall_time()))?;
                    return Ok(observer);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::io(path, "created", e)),
            }
        }
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

impl Observer for TensorBoardObserver {
    fn on_start(&mut self, model: &dyn Autoencoder, _: usize) -> Result<()> {
        let config = model.config_json()?;
        self.write_text("config", 0, &format!("```\n{config:#}\n```"))
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

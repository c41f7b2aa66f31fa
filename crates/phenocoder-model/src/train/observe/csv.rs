//! The training record as a table.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Observer;
use crate::train::EpochRecord;
use crate::{Error, Result};

/// Writes one line per epoch: `epoch,learning_rate,train_total,train_kl,…,validation_total,…,seconds`.
///
/// The columns are those of the first epoch; every line is flushed, so a run that is killed leaves its epochs behind.
#[derive(Debug)]
pub struct CsvObserver {
    path: PathBuf,
    file: BufWriter<File>,
    columns: Vec<String>,
}

impl CsvObserver {
    /// Creates the file, replacing one of the same name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot be created.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = File::create(&path).map_err(|source| Error::io(&path, "created", source))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            columns: Vec::new(),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The losses of an epoch by column.
pub(super) fn losses(record: &EpochRecord) -> Vec<(String, f64)> {
    let mut columns = Vec::new();
    let splits = [
        ("train", Some(&record.train)),
        ("validation", record.validation.as_ref()),
    ];
    for (split, loss) in splits {
        let Some(loss) = loss else { continue };
        columns.push((format!("{split}_total"), loss.total));
        for (part, &value) in &loss.parts {
            columns.push((format!("{split}_{part}"), value));
        }
    }
    columns
}

impl Observer for CsvObserver {
    fn on_epoch(&mut self, record: &EpochRecord, seconds: f64) -> Result<()> {
        let losses = losses(record);
        let mut text = String::new();
        if self.columns.is_empty() {
            self.columns = losses.iter().map(|(name, _)| name.clone()).collect();
            text.push_str("epoch,learning_rate,");
            for name in &self.columns {
                text.push_str(name);
                text.push(',');
            }
            text.push_str("seconds\n");
        }
        text.push_str(&format!("{},{}", record.epoch, record.learning_rate));
        for column in &self.columns {
            let value = losses.iter().find(|(name, _)| name == column);
            // Rust prints the shortest text that reads back to the same number.
            text.push_str(&value.map_or(",".to_owned(), |(_, value)| format!(",{value}")));
        }
        text.push_str(&format!(",{seconds:.3}\n"));
        let write = |file: &mut BufWriter<File>| {
            file.write_all(text.as_bytes())?;
            file.flush()
        };
        write(&mut self.file).map_err(|source| Error::io(&self.path, "written", source))
    }
}

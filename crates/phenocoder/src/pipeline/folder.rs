//! The folder of a run: its files, and what is whole in one that was stopped.

use std::path::{Path, PathBuf};

use phenocoder_core::{Fingerprint, Unit};
use phenocoder_io::{PatchSet, Store};
use phenocoder_model::{DeviceChoice, SavedModel, select_device};
use phenocoder_plot::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fit::{FitReport, ModelManifest};
use super::generate::{DatasetManifest, DatasetReport};
use super::keys::StoreKeys;
use super::run::PipelineConfig;
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "run";

/// The files that [`run`](super::run()) writes into its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFiles {
    /// The patch set.
    pub patches: PathBuf,
    /// The model.
    pub model: PathBuf,
    /// `training.csv` and the TensorBoard event file.
    pub logs: PathBuf,
    /// The statistics of the samples.
    pub samples: PathBuf,
    /// The statistics of the subunits.
    pub subunits: PathBuf,
    /// The settings.
    pub config: PathBuf,
    /// The steps that are done; only until the run is.
    pub steps: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// The page that shows the run, where one is written: see [`report`](crate::report).
    pub html: PathBuf,
}

impl RunFiles {
    /// The files within this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            patches: folder.join("patches.zarr"),
            model: folder.join("model.safetensors"),
            logs: folder.join("logs"),
            samples: folder.join("samples.csv"),
            subunits: folder.join("subunits.csv"),
            config: folder.join("config.json"),
            steps: folder.join("steps.json"),
            report: folder.join("report.json"),
            html: folder.join("report.html"),
        }
    }

    /// An earlier run is not written over.
    pub(super) fn refuse_existing(&self) -> Result<()> {
        let results = [
            &self.patches,
            &self.model,
            &self.config,
            &self.steps,
            &self.report,
            &self.samples,
            &self.subunits,
        ];
        match results.into_iter().find(|path| path.exists()) {
            Some(path) => Err(there_already(path)),
            None => Ok(()),
        }
    }
}

fn there_already(path: &Path) -> Error {
    Error::data(
        STEP,
        format!(
            "`{}` is there already: name a new folder for this run",
            path.display()
        ),
    )
}

/// The steps of a run that are done, as far as they need not be repeated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Done {
    /// Sums up the cells of the store.
    cells: String,
    dataset: Option<DatasetReport>,
    fit: Option<FitReport>,
}

impl Done {
    /// A run that begins in a folder without another.
    pub(super) fn begin(files: &RunFiles, cells: String) -> Result<Self> {
        files.refuse_existing()?;
        Ok(Self {
            cells,
            ..Self::default()
        })
    }

    /// What a run that was stopped has done, if it had these settings and these cells.
    pub(super) fn of_stopped(
        files: &RunFiles,
        config: &PipelineConfig,
        cells: String,
    ) -> Result<Self> {
        if files.report.exists() {
            return Err(there_already(&files.report));
        }
        let refuse = |problem: String| {
            let path = files.config.display();
            Err(Error::data(
                STEP,
                format!("`{path}` {problem}: name a new folder for this run"),
            ))
        };
        let given = to_json(config)?;
        // Settings that an earlier version wrote, in the words of this one: what it did not have has its default.
        let saved = match read_json::<PipelineConfig>(&files.config) {
            Ok(saved) => Ok(to_json(&saved)?),
            Err(_) => read_json::<Value>(&files.config),
        };
        let saved = match saved {
            Ok(saved) => saved,
            Err(error) => return refuse(format!("holds no settings ({error})")),
        };
        if let Some(difference) = first_difference("", &comparable(saved), &comparable(given)) {
            return refuse(difference);
        }
        // A file that cannot be read means steps that must be repeated.
        let done = read_json::<Self>(&files.steps).unwrap_or_default();
        if !done.cells.is_empty() && done.cells != cells {
            return refuse("is of a run on a store with other cells".to_owned());
        }
        Ok(Self { cells, ..done })
    }

    /// The report on the patch set, if that is whole and of these settings.
    pub(super) fn dataset(
        &self,
        files: &RunFiles,
        config: &PipelineConfig,
    ) -> Option<DatasetReport> {
        let report = self.dataset.clone()?;
        let set = PatchSet::open(&files.patches).ok()?;
        let manifest = DatasetManifest::read(&set).ok()?;
        let same = manifest.config == config.dataset
            && manifest.report == report.extract
            && set.len() == report.patches;
        let path = files.patches.clone();
        same.then_some(DatasetReport { path, ..report })
    }

    /// The report on the training, if the model is whole and of these settings.
    pub(super) fn fit(&self, files: &RunFiles, config: &PipelineConfig) -> Option<FitReport> {
        let report = self.fit.clone()?;
        let device = select_device(DeviceChoice::Cpu).ok()?.device;
        let model = SavedModel::load(&files.model, &device).ok()?;
        let trained = ModelManifest::read(&model).ok()?.config;
        let same = trained.with_checkpoints(config.train.checkpoints) == config.train;
        let path = files.model.clone();
        same.then_some(FitReport { path, ..report })
    }

    /// From the patch set on, all steps must be done again.
    pub(super) fn forget_all(&mut self, files: &RunFiles) -> Result<()> {
        (self.dataset, self.fit) = (None, None);
        self.write(files)
    }

    /// Keeps the report on the patch set.
    pub(super) fn keep_dataset(&mut self, files: &RunFiles, report: &DatasetReport) -> Result<()> {
        self.dataset = Some(report.clone());
        self.write(files)
    }

    /// Keeps the report on the training.
    pub(super) fn keep_fit(&mut self, files: &RunFiles, report: &FitReport) -> Result<()> {
        self.fit = Some(report.clone());
        self.write(files)
    }

    pub(super) fn write(&self, files: &RunFiles) -> Result<()> {
        write_json(&files.steps, self)
    }
}

/// Sums up which cells a store's table holds: names, samples, and places in the images.
pub(super) fn cells_of(store: &Store, keys: &StoreKeys) -> Result<String> {
    let table = store.table(&keys.table)?;
    let samples = source::samples(&table, keys, STEP)?;
    let places = source::coordinates(&table, keys, &keys.spatial_index_key, Unit::Pixel, STEP)?;
    let names = table.obs_names()?;
    let all = names
        .iter()
        .fold(Fingerprint::new(), |all, name| all.text(name));
    let all = samples
        .labels()
        .fold(all, |all, label| all.text(label.unwrap_or_default()));
    let bits = places.view().into_iter().map(|place| place.to_bits());
    Ok(all.numbers(bits).finish())
}

/// Settings without whether a training may be continued, which decides over no result.
fn comparable(mut config: Value) -> Value {
    if let Some(train) = config.get_mut("train").and_then(Value::as_object_mut) {
        train.shift_remove("checkpoints");
    }
    config
}

/// The first setting, in the order of the names, that differs, in words.
fn first_difference(path: &str, saved: &Value, given: &Value) -> Option<String> {
    match (saved, given) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let [saved, given] =
                    [a, b].map(|object| object.get(key).cloned().unwrap_or_default());
                first_difference(&path, &saved, &given)
            })
        }
        _ if saved == given => None,
        _ => Some(format!(
            "is of a run with `{path}` = {saved}, this one has {given}"
        )),
    }
}

/// As a file holds it: a number in single precision as its own digits, not as those of its value in double precision.
fn to_json<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|error| Error::data(STEP, format!("the settings have no JSON form: {error}")))
}

/// What a file holds; the error of one that is there says what else it holds, and where.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> std::io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let failed = |error: String| Error::data(STEP, format!("`{}`: {error}", path.display()));
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(error.to_string()))?;
    write_whole(path, (text + "\n").as_bytes()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| name(entry.unwrap())).collect()
    }

    #[test]
    fn a_file_that_was_written_stands_alone_and_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn two_writers_of_one_file_leave_what_one_of_them_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        let write = |byte: u8| {
            let bytes = vec![byte; 200_000];
            (0..50).try_for_each(|_| write_whole(&path, &bytes))
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| write(b'a'));
            write(b'b').unwrap();
            other.join().unwrap().unwrap();
        });
        let left = std::fs::read(&path).unwrap();
        assert!(left.len() == 200_000 && left.iter().all(|&byte| byte == left[0]));
        assert_eq!(names(folder.path()), ["report.html"]);
    }

    #[test]
    fn a_file_that_holds_something_else_says_what() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let gone = read_json::<u8>(&path).unwrap_err();
        assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
        std::fs::write(&path, "[1]").unwrap();
        let other = read_json::<u8>(&path).unwrap_err().to_string();
        assert!(other.contains("line 1"), "{other}");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1]);
    }

    #[test]
    fn nothing_is_left_behind_where_a_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone").join("report.json");
        assert!(write_whole(&path, b"x").is_err());
        assert!(names(folder.path()).is_empty());
        // A folder of that name cannot be replaced by a file.
        let path = folder.path().join("report.html");
        std::fs::create_dir(&path).unwrap();
        assert!(write_whole(&path, b"x").is_err());
        assert_eq!(names(folder.path()), ["report.html"]);
    }
}

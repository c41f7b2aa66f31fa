//! Step 2: a network that describes cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use ndarray::Array2;
use phenocoder_core::{
    Categorical, Column, PatchOrder, PatchSource, PatchTransform, Progress, Seed, Shuffled,
    SourceError, WithinStage,
};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_io::{PatchSet, column_from_arrow};
use phenocoder_model::train::{
    CheckpointConfig, CsvObserver, EpochRecord, FitConfig, Observer, TensorBoardObserver, Trainer,
    TrainingRecord,
};
use phenocoder_model::weights::save;
use phenocoder_model::{
    Autoencoder, CvaeConfig, DeviceChoice, Latent, SavedModel, Sections, reconstruct, select_device,
};
use phenocoder_patches::sample::{BalanceConfig, Balanced};
use phenocoder_patches::{
    AugmentConfig, Cached, ConditionEncoder, Dataset, Merged, MergedTable, SetSource, SplitConfig,
    Subset, UnseenPolicy, split,
};
use phenocoder_plot::{ColorBy, Figure, MontageConfig, ScatterConfig, montage, scatter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::generate::DatasetManifest;
use crate::error::{Error, Result};

const STEP: &str = "fit";

/// Patches of a batch when nothing is trained.
pub(super) const ENCODE_BATCH: usize = 256;
/// Cells of a montage at most: a picture file of more would be too high.
const MOST_MONTAGE: usize = 200;

/// Whether a training that is cut short can be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Checkpoints {
    /// No: nothing is written before the end.
    Off,
    /// The state of the training is written after every epoch and when it is stopped, as
    /// `{path without extension}.checkpoint.safetensors` beside the model; training starts anew.
    #[default]
    Write,
    /// The same, and training goes on from such a file where there is one: it ends with the model of one that was not cut
    /// short, to the bit.
    Resume,
}

/// Settings of [`fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TrainConfig {
    /// What the network is told and need not learn: `dataset`, `z`, or metadata columns of the patch sets (default none).
    pub conditions: Vec<String>,
    /// How patches are held out to watch the training (default: a fifth of the samples); `None` trains on all.
    pub split: Option<SplitConfig>,
    /// Filters of the convolutions, from the image inwards (default 8, 16, 32, 64, 128).
    pub conv_layers: Vec<usize>,
    /// Width of the dense layers (default 64).
    pub dense_dim: usize,
    /// Latent dimensions (default 32).
    pub latent_dim: usize,
    /// Share of units dropped in training (default 0.25).
    pub dropout: f64,
    /// Weight of the Kullback–Leibler term (default 0.01).
    pub beta: f64,
    /// What may happen to each training patch, drawn anew in each epoch (default nothing); kept in the model file.
    pub augment: AugmentConfig,
    /// Lets every label of a column come equally often in training: `sample`, `dataset`, `z`, or a metadata column of the
    /// patch sets (default none: every patch once in each epoch).
    pub balance: Option<BalanceConfig>,
    /// Patches that are kept in memory from one epoch to the next, in bytes (default 256 MiB); 0 keeps none.
    ///
    /// Those beyond it are read from the disk in each epoch, while the network works.
    pub cache_bytes: usize,
    /// Epochs, batches, learning rate, schedule, stopping, reading ahead.
    pub fit: FitConfig,
    /// Whether a training that is cut short can be continued (default: its state is written, but it starts anew).
    pub checkpoints: Checkpoints,
    /// Where the network is trained.
    pub device: DeviceChoice,
    /// Cells in the montage of inputs beside reconstructions (default 8, at most 200); the page shows 8 of them.
    pub montage: usize,
    /// Where the first weights come from.
    pub seed: Seed,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            split: Some(SplitConfig::default()),
            conv_layers: vec![8, 16, 32, 64, 128],
            dense_dim: 64,
            latent_dim: 32,
            dropout: 0.25,
            beta: 0.01,
            augment: AugmentConfig::default(),
            balance: None,
            cache_bytes: 256 << 20,
            fit: FitConfig::default(),
            checkpoints: Checkpoints::default(),
            device: DeviceChoice::default(),
            montage: 8,
            seed: Seed::new(0),
        }
    }
}

impl TrainConfig {
    /// Sets what the network is told.
    #[must_use]
    pub fn with_conditions<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.conditions = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how patches are held out.
    #[must_use]
    pub fn with_split(mut self, split: Option<SplitConfig>) -> Self {
        self.split = split;
        self
    }

    /// Sets the filters of the convolutions.
    #[must_use]
    pub fn with_conv_layers(mut self, layers: impl Into<Vec<usize>>) -> Self {
        self.conv_layers = layers.into();
        self
    }

    /// Sets the number of latent dimensions.
    #[must_use]
    pub fn with_latent_dim(mut self, dim: usize) -> Self {
        self.latent_dim = dim;
        self
    }

    /// Sets the width of the dense layers.
    #[must_use]
    pub fn with_dense_dim(mut self, dim: usize) -> Self {
        self.dense_dim = dim;
        self
    }

    /// Sets the share of units dropped.
    #[must_use]
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets the weight of the Kullback–Leibler term.
    #[must_use]
    pub fn with_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Sets what may happen to each training patch.
    #[must_use]
    pub fn with_augment(mut self, augment: AugmentConfig) -> Self {
        self.augment = augment;
        self
    }

    /// Lets every label of a column come equally often, or every patch once.
    #[must_use]
    pub fn with_balance(mut self, balance: Option<BalanceConfig>) -> Self {
        self.balance = balance;
        self
    }

    /// Sets how many bytes of patches are kept in memory.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets epochs, batches, learning rate, schedule and stopping.
    #[must_use]
    pub fn with_fit(mut self, fit: FitConfig) -> Self {
        self.fit = fit;
        self
    }

    /// Sets whether a training that is cut short can be continued.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// Sets where the network is trained.
    #[must_use]
    pub fn with_device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Sets the seed of weights, batches, dropout, noise and augmentation.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self.fit = self.fit.with_seed(seed.derive("fit", 0));
        self
    }

    /// Checks the settings of training, augmentation, balance and montage.
    ///
    /// # Errors
    ///
    /// [`Error::Model`], [`Error::Patches`] and [`Error::Config`] that name the setting.
    pub fn validate(&self) -> Result<()> {
        if self.montage > MOST_MONTAGE {
            let expected = format!("at most {MOST_MONTAGE}");
            return Err(Error::config(STEP, "montage", expected));
        }
        self.fit.validate().map_err(phenocoder_model::Error::from)?;
        let patches = self.augment.validate().and_then(|()| {
            self.balance
                .as_ref()
                .map_or(Ok(()), BalanceConfig::validate)
        });
        Ok(patches.map_err(phenocoder_patches::Error::from)?)
    }
}

/// What a model file says beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelManifest {
    /// The data sets that it was trained on, by name: scaling, channels, patch extent.
    pub datasets: BTreeMap<String, DatasetManifest>,
    /// How conditions become columns.
    pub conditions: ConditionEncoder,
    /// The settings that it was trained with.
    pub config: TrainConfig,
}

impl ModelManifest {
    const SECTION: &'static str = "phenocoder";

    /// Reads the manifest of a model file.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] when the file was not made by [`fit`].
    pub fn read(model: &SavedModel) -> Result<Self> {
        model.sections.get(Self::SECTION)?.ok_or_else(|| {
            Error::data(
                STEP,
                "the model file holds weights only, not how its patches were made",
            )
        })
    }
}

/// What [`fit`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FitReport {
    /// Where the model lies.
    pub path: PathBuf,
    /// Patches trained on.
    pub train: usize,
    /// Patches held out.
    pub validation: usize,
    /// Whether patches were held out one by one because there were too few samples to hold some out.
    pub split_by_patch: bool,
    /// One-hot condition columns.
    pub conditions: usize,
    /// Weights of the network.
    pub parameters: usize,
    /// The device, and why this one.
    pub device: String,
    /// Losses of every epoch.
    pub record: TrainingRecord,
}

/// Trains a CVAE, or with conditions a CondCVAE, on patch sets of [`generate_dataset`](super::generate_dataset).
///
/// The file at `path` holds weights, configuration, scaling, channels and conditions.
/// When training is stopped after its first epoch, by the caller or by an error, the last good weights are kept beside it as
/// `{path without extension}.interrupted.safetensors`, and the error is returned; [`TrainConfig::checkpoints`] says whether
/// the training can be continued.
/// A training is continued only with the patch sets, conditions, split and seeds that it began with; else
/// [`Error::Model`] names what differs, and nothing is written over.
/// With `logs`, that folder, which is made if need be, gets `training.csv` and a TensorBoard event file: losses of every
/// epoch, then a montage of inputs beside reconstructions and a map of the latents coloured by each condition.
///
/// # Errors
///
/// [`Error::Data`] without patch sets or when they differ in their channels, [`Error::Patches`] when a side of the split would
/// be empty, a column is not there or augmentation does not suit the patches, [`Error::Model`] for a patch extent that the
/// network cannot halve or a loss that is not finite, [`Error::Config`] for a montage of too many cells,
/// [`Error::Cancelled`].
#[doc(alias = "train")]
pub fn fit(
    datasets: &[&Path],
    config: &TrainConfig,
    path: &Path,
    logs: Option<&Path>,
    progress: &dyn Progress,
) -> Result<FitReport> {
    let _span = tracing::info_span!(STEP).entered();
    config.validate()?;
    let data = TrainingData::open(datasets, &config.conditions, config.cache_bytes)?;
    config
        .augment
        .validate_for(data.source.shape())
        .map_err(phenocoder_patches::Error::from)?;
    let sides = match &config.split {
        Some(by) => {
            let columns: Vec<(&str, &Categorical)> = data.table.columns().collect();
            let sides = split(data.table.samples(), &columns, by)?;
            (sides.train, sides.validation, sides.fell_back)
        }
        None => ((0..data.source.len()).collect(), Vec::new(), false),
    };
    let (train, validation, split_by_patch) = sides;
    let selected = select_device(config.device)?;
    let mut model = CvaeConfig::new(data.source.shape(), config.latent_dim)
        .with_conv_layers(config.conv_layers.clone())
        .with_dense_dim(config.dense_dim)
        .with_dropout(config.dropout)
        .with_beta(config.beta)
        .with_n_conditions(data.encoder.n_columns())
        .build(config.seed, &selected.device)?;

    if let Some(logs) = logs {
        std::fs::create_dir_all(logs).map_err(|error| {
            Error::data(
                STEP,
                format!("`{}` cannot be made: {error}", logs.display()),
            )
        })?;
    }
    let mut table = logs.map(|logs| Table::new(logs.join("training.csv")));
    let mut events = logs.map(TensorBoardObserver::create).transpose()?;
    let mut ended = Ended::default();
    let mut observers: Vec<&mut dyn Observer> = vec![&mut ended];
    observers.extend(table.as_mut().map(|o| o as &mut dyn Observer));
    observers.extend(events.as_mut().map(|o| o as &mut dyn Observer));

    let balanced = config.balance.as_ref();
    let balanced = balanced.map(|by| data.balanced(by, &train)).transpose()?;
    let train_source = Subset::new(Arc::clone(&data.source), train)?;
    let validation_source = match validation.is_empty() {
        true => None,
        false => Some(Subset::new(Arc::clone(&data.source), validation)?),
    };
    let mut settings = config.fit.clone();
    if validation_source.is_none() {
        // Nothing to watch: the last weights are the result.
        settings.early_stopping = None;
    }
    let mut trainer = Trainer::new(settings)
        .with_progress(progress)
        .with_context(data.context(config)?);
    let augment: [&dyn PatchTransform; 1] = [&config.augment];
    if !config.augment.is_none() {
        trainer = trainer.with_transforms(&augment);
    }
    let order: &dyn PatchOrder = balanced.as_ref().map_or(&Shuffled, |order| order);
    trainer = trainer.with_order(order);
    let checkpoint = CheckpointConfig::new(path.with_extension("checkpoint.safetensors"));
    if config.checkpoints != Checkpoints::Off {
        trainer = trainer.with_checkpoint(checkpoint.clone());
    }
    for observer in observers {
        trainer = trainer.with_observer(observer);
    }
    let watched = validation_source.as_ref().map(|s| s as &dyn PatchSource);
    let trained = match config.checkpoints {
        Checkpoints::Resume => trainer.fit_or_resume(&mut model, &train_source, watched),
        _ => trainer.fit(&mut model, &train_source, watched),
    };
    drop(trainer);

    let sections = sections(&data, config)?;
    let interrupted = path.with_extension("interrupted.safetensors");
    let record = match trained {
        Ok(record) => record,
        Err(error) if ended.0 == 0 => return Err(error.into()),
        Err(error) => {
            // The last good weights are worth keeping; what stopped the training is what the caller must hear.
            if let Err(lost) = save(&interrupted, &model, &sections) {
                tracing::warn!("the last good weights cannot be kept: {lost}");
            }
            return Err(error.into());
        }
    };
    save(path, &model, &sections)?;
    if config.checkpoints != Checkpoints::Off {
        // The model is there; what it was made from has served its purpose.
        let mut files = vec![checkpoint.path.clone(), checkpoint.previous()];
        if config.checkpoints == Checkpoints::Resume {
            files.push(interrupted);
        }
        for file in &files {
            if let Err(error) = std::fs::remove_file(file)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("`{}` cannot be removed: {error}", file.display());
            }
        }
    }
    let report = FitReport {
        path: path.to_owned(),
        train: train_source.len(),
        validation: validation_source.as_ref().map_or(0, PatchSource::len),
        split_by_patch,
        conditions: data.encoder.n_columns(),
        parameters: model.parameters().count(),
        device: selected.reason,
        record,
    };
    if let Some(events) = &mut events {
        write_images(&model, &data, config, &report, events, progress)?;
    }
    Ok(report)
}

/// The table of epochs, which replaces an earlier one when training begins: a training that is refused leaves it.
struct Table {
    path: PathBuf,
    csv: Option<CsvObserver>,
}

impl Table {
    fn new(path: PathBuf) -> Self {
        Self { path, csv: None }
    }
}

impl Observer for Table {
    fn on_settings(&mut self, _: &Value) -> phenocoder_model::Result<()> {
        self.csv = Some(CsvObserver::create(&self.path)?);
        Ok(())
    }

    fn on_epoch(&mut self, record: &EpochRecord, seconds: f64) -> phenocoder_model::Result<()> {
        match &mut self.csv {
            Some(csv) => csv.on_epoch(record, seconds),
            None => Ok(()),
        }
    }
}

/// Counts the epochs that ended.
#[derive(Default)]
struct Ended(usize);

impl Observer for Ended {
    fn on_epoch(&mut self, _: &EpochRecord, _: f64) -> phenocoder_model::Result<()> {
        self.0 += 1;
        Ok(())
    }
}

/// What is kept beside the weights.
fn sections(data: &TrainingData, config: &TrainConfig) -> Result<Sections> {
    let manifest = ModelManifest {
        datasets: data.manifests.clone(),
        conditions: data.encoder.clone(),
        config: config.clone(),
    };
    let mut sections = Sections::new();
    sections.set(ModelManifest::SECTION, &manifest)?;
    sections.set("channels", data.channels())?;
    Ok(sections)
}

/// Several patch sets, one after the other, with their conditions.
pub(super) struct TrainingData {
    pub(super) source: Arc<Cached<Merged>>,
    table: MergedTable,
    encoder: ConditionEncoder,
    manifests: BTreeMap<String, DatasetManifest>,
}

impl TrainingData {
    /// The channels, the same in all patch sets.
    pub(super) fn channels(&self) -> &[String] {
        self.manifests
            .values()
            .next()
            .map_or(&[], |manifest| &manifest.channels)
    }

    /// These patches beside what a model makes of their latents.
    pub(super) fn montage(
        &self,
        model: &dyn Autoencoder,
        patches: &[usize],
        progress: &dyn Progress,
    ) -> Result<Figure> {
        let inputs = self.source.read(patches)?;
        let outputs = reconstruct(model, &self.source, patches, ENCODE_BATCH, progress)?;
        // Of no patches the picture says so.
        let settings = MontageConfig::default().with_max_patches(patches.len().max(1));
        Ok(montage(
            inputs.pixels.view(),
            outputs.view(),
            self.channels(),
            &settings,
        )?)
    }

    /// What decides over a training beside settings, patches and weights, as a checkpoint keeps it.
    fn context(&self, config: &TrainConfig) -> Result<Value> {
        #[derive(Serialize)]
        struct Context<'a> {
            conditions: &'a ConditionEncoder,
            datasets: &'a BTreeMap<String, DatasetManifest>,
            seed: Seed,
            split: &'a Option<SplitConfig>,
        }
        let context = Context {
            conditions: &self.encoder,
            datasets: &self.manifests,
            seed: config.seed,
            split: &config.split,
        };
        serde_json::to_value(context)
            .map_err(|error| Error::data(STEP, format!("the settings have no JSON form: {error}")))
    }

    /// The order that lets every label of a column come equally often among these patches, `sample` included.
    fn balanced(&self, by: &BalanceConfig, patches: &[usize]) -> Result<Balanced> {
        let labels = match self.table.column(&by.column) {
            Err(_) if by.column == "sample" => self.table.samples(),
            found => found?,
        };
        Ok(by.build(&labels.select(patches))?)
    }

    /// Opens patch sets; patches stay in memory up to `cache_bytes`.
    pub(super) fn open(paths: &[&Path], conditions: &[String], cache_bytes: usize) -> Result<Self> {
        let mut sets = Vec::new();
        for path in paths {
            let set = PatchSet::open(path)?;
            let manifest = DatasetManifest::read(&set)?;
            sets.push((manifest, set));
        }
        let Some((first, _)) = sets.first() else {
            return Err(Error::data(STEP, "no patch set was given"));
        };
        if let Some((other, _)) = sets.iter().find(|(m, _)| m.channels != first.channels) {
            return Err(Error::data(
                STEP,
                format!(
                    "data set `{}` has the channels {:?}, `{}` has {:?}",
                    other.config.name, other.channels, first.config.name, first.channels
                ),
            ));
        }
        let (mut described, mut names) = (Vec::new(), Vec::new());
        for (manifest, set) in &sets {
            let rows = set.cells()?;
            described.push(describe(manifest, &rows)?);
            names.push(CellNames::new(&rows)?);
        }
        let table = MergedTable::new(&described)?;
        let columns: Vec<(&str, &Categorical)> = conditions
            .iter()
            .map(|name| Ok((name.as_str(), table.column(name)?)))
            .collect::<Result<_>>()?;
        let encoder = ConditionEncoder::fit(&columns)?.with_unseen(UnseenPolicy::Error);
        let labels: Vec<&Categorical> = columns.iter().map(|(_, labels)| *labels).collect();
        let one_hot = encoder.encode_rows(table.samples().len(), &labels)?;

        let mut manifests = BTreeMap::new();
        let mut parts: Vec<(String, Box<dyn PatchSource>)> = Vec::new();
        let mut start = 0;
        for ((manifest, set), cells) in sets.into_iter().zip(names) {
            let rows: Vec<usize> = (start..start + set.len()).collect();
            start += set.len();
            let conditions: Array2<f32> = one_hot.select(ndarray::Axis(0), &rows);
            let name = manifest.config.name.clone();
            let (shape, place) = (set.shape(), name.clone());
            let origin = set.metadata().to_string();
            let reader = move |patches: &[usize]| {
                set.read_channels_last(patches)
                    .map_err(|error| SourceError::new(place.clone(), error))
            };
            let source = SetSource::channels_last(shape, conditions, reader)
                .with_origin(origin)
                .with_names(move |patch| cells.name(patch));
            parts.push((name.clone(), Box::new(source)));
            manifests.insert(name, manifest);
        }
        Ok(Self {
            source: Arc::new(Cached::new(Merged::new(parts)?, cache_bytes)),
            table,
            encoder,
            manifests,
        })
    }
}

/// The samples and condition columns of a patch set.
fn describe(manifest: &DatasetManifest, rows: &RecordBatch) -> Result<Dataset> {
    let labels = |name: &str| -> Result<Categorical> { Ok(column(rows, name)?.to_categorical()) };
    let mut dataset =
        Dataset::new(&manifest.config.name, labels("sample")?).with_column("z", labels("z")?);
    for name in &manifest.config.metadata_keys {
        dataset = dataset.with_column(name, labels(name)?);
    }
    Ok(dataset)
}

fn column(rows: &RecordBatch, name: &str) -> Result<Column> {
    let array = rows
        .column_by_name(name)
        .ok_or_else(|| Error::data(STEP, format!("the patch set has no column `{name}`")))?;
    Ok(column_from_arrow(name, array)?)
}

/// What tells the cells of a patch set apart in messages.
struct CellNames {
    row: Column,
    id: Column,
    sample: Categorical,
}

impl CellNames {
    fn new(rows: &RecordBatch) -> Result<Self> {
        Ok(Self {
            row: column(rows, "row")?,
            id: column(rows, "id")?,
            sample: column(rows, "sample")?.to_categorical(),
        })
    }

    fn name(&self, patch: usize) -> String {
        let [row, id] = [&self.row, &self.id].map(|column| column.select(&[patch]));
        let [row, id] = [row, id].map(|one| one.to_categorical().label(0).map(str::to_owned));
        let words = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        format!(
            "cell `{}` at row {} of sample `{}`",
            words(id),
            words(row),
            self.sample.label(patch).unwrap_or("?")
        )
    }
}

/// The images that end a training's event file.
fn write_images(
    model: &dyn Autoencoder,
    data: &TrainingData,
    config: &TrainConfig,
    report: &FitReport,
    events: &mut TensorBoardObserver,
    progress: &dyn Progress,
) -> Result<()> {
    let step = report.record.epochs.len() as u64;
    let n = data.source.len();
    let shown = config.seed.stream("montage", 0).choose(n, config.montage);
    let figure = data.montage(model, &shown, progress)?;
    events.write_image("montage", step, &figure.to_png(1.0)?)?;

    // A few thousand cells show the form of the latent space.
    let shown = config.seed.stream("latent map", 0).choose(n, 5_000);
    let some = Subset::new(Arc::clone(&data.source), shown.clone())?;
    let latents = phenocoder_model::encode(model, &some, ENCODE_BATCH, Latent::Mean, progress)?
        .mapv(f64::from);
    if latents.nrows() < 3 || latents.ncols() < 2 {
        return Ok(());
    }
    let pca = Pca::fit_with(latents.view(), &PcaConfig::new(2), progress)?;
    let plane = pca.transform_with(latents.view(), &WithinStage(progress))?;
    let names = config.conditions.iter().map(String::as_str);
    for name in names.chain(config.conditions.is_empty().then_some("dataset")) {
        let labels = data.table.column(name)?.select(&shown);
        let settings = ScatterConfig::default()
            .with_title(format!("latents by {name}"))
            .with_labels("component 1", "component 2");
        let figure = scatter(plane.view(), ColorBy::Categories(&labels), &settings)?;
        events.write_image(&format!("latents/{name}"), step, &figure.to_png(1.0)?)?;
    }
    Ok(())
}

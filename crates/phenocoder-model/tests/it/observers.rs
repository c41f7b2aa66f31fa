//! CSV and TensorBoard files of a run.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use phenocoder_core::{NoProgress, PatchShape, Seed};
use phenocoder_model::train::{
    BatchRecord, CheckpointConfig, CsvObserver, EpochRecord, FitConfig, Observer,
    TensorBoardObserver, Trainer, TrainingRecord, fit,
};
use phenocoder_model::{Autoencoder, CvaeConfig, Error, Gradients, Result};
use phenocoder_testdata::Csv;

use crate::synthetic::blobs;

fn train(observers: &mut [&mut dyn Observer]) -> TrainingRecord {
    let shape = PatchShape::new(8, 8, 1);
    let config = CvaeConfig::new(shape, 2).with_conv_layers([4]);
    let mut model = config.build(Seed::new(1), &Device::Cpu).unwrap();
    let patches = blobs(10, shape, 0, 1);
    let settings = FitConfig::new().with_epochs(3);
    fit(
        &mut model,
        &patches,
        Some(&patches),
        &settings,
        observers,
        &NoProgress,
    )
    .unwrap()
}

#[test]
fn the_csv_file_holds_every_epoch_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    let mut observer = CsvObserver::create(&path).unwrap();
    let record = train(&mut [&mut observer]);
    let csv = Csv::open(&path);
    assert_eq!(
        csv.header,
        [
            "epoch",
            "learning_rate",
            "train_total",
            "train_kl",
            "train_reconstruction",
            "validation_total",
            "validation_kl",
            "validation_reconstruction",
            "seconds"
        ]
    );
    let totals: Vec<f64> = record.epochs.iter().map(|e| e.train.total).collect();
    assert_eq!(
        csv.floats("train_total"),
        totals,
        "numbers read back exactly"
    );
    assert_eq!(csv.floats("epoch"), [1.0, 2.0, 3.0]);
}

/// Checks the frames of an event file and returns its messages.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let masked = |bytes: &[u8]| {
        crc32c::crc32c(bytes)
            .rotate_right(15)
            .wrapping_add(0xa282_ead8)
    };
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let (mut rest, mut messages) = (bytes, Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(number(&rest[8..12]), masked(&rest[..8]));
        let message = &rest[12..12 + length];
        assert_eq!(number(&rest[12 + length..16 + length]), masked(message));
        messages.push(message.to_vec());
        rest = &rest[16 + length..];
    }
    messages
}

#[test]
fn the_event_file_is_framed_and_holds_scalars_images_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut observer = TensorBoardObserver::create(folder.path().join("log")).unwrap();
    let record = train(&mut [&mut observer]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend_from_slice(&[0, 0, 0, 3, 0, 0, 1, 0, 8, 2, 0, 0, 0]);
    observer.write_image("montage", 3, &png).unwrap();
    let error = observer
        .write_image("montage", 3, b"no picture")
        .unwrap_err();
    assert!(matches!(error, Error::Image { .. }));

    let messages = messages(&std::fs::read(observer.path()).unwrap());
    // Version, settings, configuration, 3 epochs of 2 · 3 losses and a learning rate, the end, the picture.
    assert_eq!(messages.len(), 1 + 2 + 3 * 7 + 2);
    let holds = |message: &[u8], text: &[u8]| message.windows(text.len()).any(|w| w == text);
    assert!(holds(&messages[0], b"brain.Event:2"));
    assert!(holds(&messages[1], b"_hparams_/session_start_info"));
    assert!(holds(&messages[1], b"learning_rate"));
    assert!(holds(&messages[2], b"\"latent_dim\": 2"));
    assert!(holds(&messages[3], b"train/total"));
    let value = (record.epochs[0].train.total as f32).to_le_bytes();
    assert!(messages[3].ends_with(&value));
    assert!(holds(&messages[5], b"train/reconstruction"));
    assert!(holds(&messages[24], b"_hparams_/session_end_info"));
    assert!(holds(&messages[25], &png));
    let second = TensorBoardObserver::create(folder.path().join("log")).unwrap();
    assert_ne!(second.path(), observer.path(), "no file is overwritten");
}

/// A number of variable length, and what follows.
fn varint(mut bytes: &[u8]) -> (u64, &[u8]) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return (value, bytes);
        }
    }
}

/// The fields of a protocol buffer with their bytes; numbers of variable length as 8 bytes.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let (key, rest) = varint(bytes);
        let (value, rest) = match key & 7 {
            0 => {
                let (value, rest) = varint(rest);
                (value.to_le_bytes().to_vec(), rest)
            }
            wire => {
                let (length, rest) = match wire {
                    1 => (8, rest),
                    5 => (4, rest),
                    2 => varint(rest),
                    wire => panic!("wire type {wire}"),
                };
                let (value, rest) = rest.split_at(length as usize);
                (value.to_vec(), rest)
            }
        };
        fields.insert(key >> 3, value);
        bytes = rest;
    }
    fields
}

/// The scalars of a folder as TensorBoard has them: tag, step, value, in the order of files and events; a restart at a step
/// drops all of that step and later ones that were read before.
fn scalars(folder: &Path) -> Vec<(String, u64, f32)> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let number = |bytes: Option<&Vec<u8>>| {
        bytes.map_or(0, |b| u64::from_le_bytes(b.as_slice().try_into().unwrap()))
    };
    let mut scalars: Vec<(String, u64, f32)> = Vec::new();
    for file in files {
        for message in messages(&std::fs::read(file).unwrap()) {
            let event = fields(&message);
            let step = number(event.get(&2));
            if let Some(log) = event.get(&7)
                && number(fields(log).get(&1)) == 1
            {
                scalars.retain(|(_, other, _)| *other < step);
            }
            let Some(summary) = event.get(&5) else {
                continue;
            };
            let value = fields(&fields(summary)[&1]);
            if let Some(number) = value.get(&2) {
                let tag = String::from_utf8(value[&1].clone()).unwrap();
                let number = f32::from_le_bytes(number.as_slice().try_into().unwrap());
                scalars.push((tag, step, number));
            }
        }
    }
    scalars
}

#[test]
fn the_curves_of_a_resumed_run_are_those_of_one_that_was_not_interrupted() {
    let shape = PatchShape::new(8, 8, 1);
    let config = CvaeConfig::new(shape, 2).with_conv_layers([4]);
    let model = || config.build(Seed::new(1), &Device::Cpu).unwrap();
    let patches = blobs(10, shape, 0, 1);
    let folder = tempfile::tempdir().unwrap();
    let (all, parts) = (folder.path().join("all"), folder.path().join("parts"));
    let settings = FitConfig::new().with_epochs(5).with_batch_size(4);
    let mut events = TensorBoardObserver::create(&all).unwrap();
    Trainer::new(settings.clone())
        .with_observer(&mut events)
        .fit(&mut model(), &patches, None)
        .unwrap();
    // Three epochs are done and seen, of which the checkpoint knows two.
    let checkpoint = CheckpointConfig::new(folder.path().join("run"));
    let mut events = TensorBoardObserver::create(&parts).unwrap();
    let mut trainer = Trainer::new(settings.clone().with_epochs(3))
        .with_checkpoint(checkpoint.clone().with_every_epochs(Some(2)))
        .with_observer(&mut events);
    trainer.fit(&mut model(), &patches, None).unwrap();
    assert_eq!(scalars(&parts).last().unwrap().1, 3);
    std::fs::rename(checkpoint.previous(), &checkpoint.path).unwrap();
    for _ in 0..2 {
        let mut events = TensorBoardObserver::create(&parts).unwrap();
        Trainer::new(settings.clone())
            .with_checkpoint(checkpoint.clone())
            .with_observer(&mut events)
            .resume(&mut model(), &patches, None)
            .unwrap();
        assert_eq!(scalars(&parts), scalars(&all));
    }
    // Another folder holds nothing of the run, and gets all of it.
    let elsewhere = folder.path().join("elsewhere");
    let mut events = TensorBoardObserver::create(&elsewhere).unwrap();
    Trainer::new(settings)
        .with_checkpoint(checkpoint)
        .with_observer(&mut events)
        .resume(&mut model(), &patches, None)
        .unwrap();
    assert_eq!(scalars(&elsewhere), scalars(&all));
    // A run that begins anew in a folder takes the place of the one before; a file that holds nothing does not count.
    let begun = folder.path().join("begun");
    TensorBoardObserver::create(&begun).unwrap();
    for _ in 0..2 {
        let mut events = TensorBoardObserver::create(&begun).unwrap();
        let settings = FitConfig::new().with_epochs(5).with_batch_size(4);
        Trainer::new(settings)
            .with_observer(&mut events)
            .fit(&mut model(), &patches, None)
            .unwrap();
        assert_eq!(scalars(&begun), scalars(&all));
    }
}

#[test]
fn histograms_come_in_the_epochs_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let events = TensorBoardObserver::create(folder.path()).unwrap();
    let mut observer = events.with_weights_every(2).with_gradients_every(3);
    train(&mut [&mut observer]);
    let messages = messages(&std::fs::read(observer.path()).unwrap());
    let count = |text: &str| {
        let holds = |m: &&Vec<u8>| m.windows(text.len()).any(|w| w == text.as_bytes());
        messages.iter().filter(holds).count()
    };
    // Of three epochs one is divisible by 2 and one by 3; gradients are those of its first update.
    assert_eq!(count("weights/encoder.dense.kernel"), 1);
    assert_eq!(count("gradients/encoder.dense.kernel"), 1);
    assert_eq!(count("weights/"), count("gradients/"));
}

/// Writes down what it hears.
#[derive(Default)]
struct Heard {
    calls: Vec<String>,
    rates_are_positive: bool,
}

impl Observer for Heard {
    fn on_settings(&mut self, settings: &serde_json::Value) -> Result<()> {
        assert!(
            settings.to_string().contains("\"batch_size\":4"),
            "{settings}"
        );
        self.calls.push("settings".to_owned());
        Ok(())
    }

    fn on_start(&mut self, _: &dyn Autoencoder, epochs: usize) -> Result<()> {
        self.calls.push(format!("start {epochs}"));
        Ok(())
    }

    fn on_gradients(&mut self, epoch: usize, update: u64, gradients: &Gradients) -> Result<()> {
        assert!(gradients.contains_key("encoder.dense.kernel"));
        self.calls.push(format!("gradients {epoch} {update}"));
        Ok(())
    }

    fn on_batch(&mut self, batch: &BatchRecord) -> Result<()> {
        self.rates_are_positive = batch.rate().is_some_and(|rate| rate > 0.0);
        assert!(batch.losses.total.is_finite());
        let BatchRecord {
            epoch,
            batch,
            batches,
            patches,
            n_patches,
            ..
        } = *batch;
        self.calls.push(format!(
            "batch {epoch} {batch}/{batches} {patches}/{n_patches}"
        ));
        Ok(())
    }

    fn on_model(&mut self, _: &dyn Autoencoder, epoch: usize) -> Result<()> {
        self.calls.push(format!("model {epoch}"));
        Ok(())
    }

    fn on_epoch(&mut self, record: &EpochRecord, _: f64) -> Result<()> {
        self.calls.push(format!("epoch {}", record.epoch));
        Ok(())
    }

    fn on_end(&mut self, _: &dyn Autoencoder, _: &TrainingRecord) -> Result<()> {
        self.calls.push("end".to_owned());
        Ok(())
    }

    fn on_failure(&mut self, error: &Error) {
        self.calls.push(format!("failure {error}"));
    }
}

fn heard(epochs: usize, broken: bool) -> Heard {
    let shape = PatchShape::new(8, 8, 1);
    let config = CvaeConfig::new(shape, 2).with_conv_layers([4]);
    let mut model = config.build(Seed::new(1), &Device::Cpu).unwrap();
    let mut patches = blobs(6, shape, 0, 1);
    if broken {
        patches.pixels[[3, 0, 0, 0]] = f32::NAN;
    }
    let settings = FitConfig::new().with_epochs(epochs).with_batch_size(4);
    let mut heard = Heard::default();
    let observers: &mut [&mut dyn Observer] = &mut [&mut heard];
    let result = fit(
        &mut model,
        &patches,
        None,
        &settings,
        observers,
        &NoProgress,
    );
    assert_eq!(result.is_err(), broken);
    heard
}

#[test]
fn an_observer_hears_a_run_in_its_order() {
    let heard = heard(2, false);
    assert!(heard.rates_are_positive);
    assert_eq!(
        heard.calls,
        [
            "settings",
            "start 2",
            "gradients 1 1",
            "batch 1 1/2 4/6",
            "gradients 1 2",
            "batch 1 2/2 6/6",
            "model 1",
            "epoch 1",
            "gradients 2 3",
            "batch 2 1/2 4/6",
            "gradients 2 4",
            "batch 2 2/2 6/6",
            "model 2",
            "epoch 2",
            "end",
        ]
    );
}

#[test]
fn an_observer_hears_of_a_failure_instead_of_the_end() {
    let calls = heard(2, true).calls;
    let last = calls.last().unwrap();
    assert!(
        last.starts_with("failure the training loss is NaN in epoch 1"),
        "{last}"
    );
    assert!(!calls.iter().any(|call| call == "end"));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = TensorBoardObserver::create(file.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains(file.path().to_str().unwrap()));
}

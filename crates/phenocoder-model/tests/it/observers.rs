//! CSV and TensorBoard files of a run.

use candle_core::Device;
use phenocoder_core::{NoProgress, PatchShape, Seed};
use phenocoder_model::train::{CsvObserver, FitConfig, Observer, TensorBoardObserver, fit};
use phenocoder_model::{CvaeConfig, Error};
use phenocoder_testdata::Csv;

use crate::synthetic::blobs;

fn train(observers: &mut [&mut dyn Observer]) -> phenocoder_model::train::TrainingRecord {
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
    // Version, configuration, 3 epochs of 2 · 3 losses and a learning rate, the picture.
    assert_eq!(messages.len(), 1 + 1 + 3 * 7 + 1);
    let holds = |message: &[u8], text: &[u8]| message.windows(text.len()).any(|w| w == text);
    assert!(holds(&messages[0], b"brain.Event:2"));
    assert!(holds(&messages[1], b"\"latent_dim\": 2"));
    assert!(holds(&messages[2], b"train/total"));
    let value = (record.epochs[0].train.total as f32).to_le_bytes();
    assert!(messages[2].ends_with(&value));
    assert!(holds(&messages[4], b"train/reconstruction"));
    assert!(holds(&messages[23], &png));
    let second = TensorBoardObserver::create(folder.path().join("log")).unwrap();
    assert_ne!(second.path(), observer.path(), "no file is overwritten");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = TensorBoardObserver::create(file.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains(file.path().to_str().unwrap()));
}

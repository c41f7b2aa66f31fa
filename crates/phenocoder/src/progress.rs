//! Progress and training metrics in the terminal.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use phenocoder_core::{CancelToken, Progress};

/// Shows each stage as a bar with rate and time left, on standard error, when that is a terminal.
///
/// A clone of its [`CancelToken`] stops the work from another thread.
/// A reference to it is an `Observer` of training too (feature `train`), which adds epoch and losses to the bar: see
/// [the example](#training).
///
/// # Examples
///
/// ```
/// use phenocoder::core::Progress;
/// use phenocoder::progress::Bars;
///
/// let bars = Bars::new();
/// bars.start("extract", Some(10));
/// bars.advance(10);
/// bars.finish();
/// ```
///
/// # Training
///
/// ```
/// # #[cfg(feature = "train")] {
/// use phenocoder::core::{PatchBatch, PatchShape, Seed};
/// use phenocoder::model::{CvaeConfig, DeviceChoice, select_device};
/// use phenocoder::model::train::{FitConfig, fit};
/// use phenocoder::progress::Bars;
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
/// let device = select_device(DeviceChoice::Cpu)?.device;
/// let mut model = config.build(Seed::new(1), &device)?;
/// let patches = PatchBatch::zeros(10, config.input, 0);
/// let bars = Bars::new();
/// let settings = FitConfig::new().with_epochs(2);
/// fit(&mut model, &patches, Some(&patches), &settings, &mut [&mut &bars], &bars)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Bars {
    current: Mutex<Option<ProgressBar>>,
    cancel: CancelToken,
}

impl Bars {
    /// Bars that nothing stops but a call of the token's `cancel`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bars that also watch this switch.
    #[must_use]
    pub fn with_cancel(cancel: CancelToken) -> Self {
        Self {
            current: Mutex::default(),
            cancel,
        }
    }

    /// What stands before the running bar, if there is one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let mut message = None;
        self.with_bar(|current| message = current.as_ref().map(ProgressBar::message));
        message
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A panic of another thread while it held the lock leaves the bar usable.
        act(&mut self
            .current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: Option<u64>) {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() {
            "{msg:24} {bar:32} {pos}/{len} {per_sec} {eta}"
        } else {
            "{msg:24} {spinner} {pos} {per_sec}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(stage.to_owned());
        self.with_bar(|current| {
            if let Some(old) = current.replace(bar) {
                old.finish_and_clear();
            }
        });
    }

    fn advance(&self, steps: u64) {
        self.with_bar(|current| {
            if let Some(bar) = current {
                bar.inc(steps);
            }
        });
    }

    fn finish(&self) {
        self.with_bar(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_thrown()
    }
}

#[cfg(feature = "train")]
mod training {
    use phenocoder_model::train::{BatchRecord, EpochRecord, Observer};

    use super::Bars;

    impl Bars {
        fn say(&self, message: String) {
            self.with_bar(|current| {
                if let Some(bar) = current {
                    bar.set_message(message);
                }
            });
        }
    }

    impl Observer for &Bars {
        fn on_batch(&mut self, batch: &BatchRecord) -> phenocoder_model::Result<()> {
            let loss = digits(batch.losses.total);
            self.say(format!(
                "epoch {}/{} loss {loss}",
                batch.epoch, batch.epochs
            ));
            Ok(())
        }

        fn on_epoch(&mut self, record: &EpochRecord, _: f64) -> phenocoder_model::Result<()> {
            let mut message = format!("epoch {} loss {}", record.epoch, digits(record.train.total));
            if let Some(validation) = &record.validation {
                message.push_str(&format!(" validation {}", digits(validation.total)));
            }
            self.say(message);
            Ok(())
        }
    }

    /// A number with five digits.
    fn digits(value: f64) -> String {
        let before = value.abs().max(1e-300).log10().floor();
        match before {
            -4.0..5.0 => format!("{value:.*}", (4.0 - before) as usize),
            _ => format!("{value:.4e}"),
        }
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "tests")]
    mod tests {
        use std::sync::Mutex;

        use phenocoder_core::{PatchBatch, PatchShape, Seed};
        use phenocoder_model::train::{FitConfig, fit};
        use phenocoder_model::{CvaeConfig, DeviceChoice, Result, select_device};

        use super::*;

        /// Reads the bar after each batch and each epoch.
        struct Reader<'a>(&'a Bars, Mutex<Vec<String>>);

        impl Reader<'_> {
            fn read(&self) {
                let message = self.0.message().unwrap();
                self.1.lock().unwrap().push(message);
            }
        }

        impl Observer for Reader<'_> {
            fn on_batch(&mut self, _: &BatchRecord) -> Result<()> {
                self.read();
                Ok(())
            }

            fn on_epoch(&mut self, _: &EpochRecord, _: f64) -> Result<()> {
                self.read();
                Ok(())
            }
        }

        #[test]
        fn the_bar_tells_epoch_and_losses() {
            let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 2).with_conv_layers([4]);
            let device = select_device(DeviceChoice::Cpu).unwrap().device;
            let mut model = config.build(Seed::new(1), &device).unwrap();
            let patches = PatchBatch::zeros(6, config.input, 0);
            let bars = Bars::new();
            let mut reader = Reader(&bars, Mutex::default());
            let settings = FitConfig::new().with_epochs(2).with_batch_size(4);
            let observers: &mut [&mut dyn Observer] = &mut [&mut &bars, &mut reader];
            fit(
                &mut model,
                &patches,
                Some(&patches),
                &settings,
                observers,
                &bars,
            )
            .unwrap();
            let messages = reader.1.into_inner().unwrap();
            assert_eq!(messages.len(), 6);
            assert!(messages[0].starts_with("epoch 1/2 loss "), "{messages:?}");
            assert!(messages[2].starts_with("epoch 1 loss "), "{messages:?}");
            assert!(messages[5].contains(" validation "), "{messages:?}");
            assert_eq!(bars.message(), None, "the bar is gone");
        }

        #[test]
        fn numbers_have_five_digits() {
            let cases = [
                (1234.567, "1234.6"),
                (-0.012_345_6, "-0.012346"),
                (99_999.0, "99999"),
                (1_234_567.0, "1.2346e6"),
                (0.0, "0.0000e0"),
                (f64::NAN, "NaN"),
            ];
            for (value, expected) in cases {
                assert_eq!(digits(value), expected);
            }
        }
    }
}

//! Networks in other number types.

use candle_core::Device;
use phenocoder_core::{PatchShape, Seed};
use phenocoder_model::models::mevae::MeVaeConfig;
use phenocoder_model::train::{FitConfig, Trainer};
use phenocoder_model::{Autoencoder, Batch, CvaeConfig, Precision, Step};

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(16, 16, 2);

fn models() -> [Box<dyn Autoencoder>; 2] {
    let cvae = CvaeConfig::new(SHAPE, 4).with_conv_layers([8, 12]);
    let mevae = MeVaeConfig::new(SHAPE, 4)
        .with_conv_layers([8, 12])
        .with_n_encoders(1);
    [
        Box::new(cvae.build(Seed::new(1), &Device::Cpu).unwrap()),
        Box::new(mevae.build(Seed::new(1), &Device::Cpu).unwrap()),
    ]
}

/// The values are compared where there is a GPU, in `kernel::cuda::tests`: candle has no product of matrices of `bf16` on the CPU.
#[test]
fn networks_compute_in_the_type_of_the_step() {
    for model in models() {
        let batch = Batch::new(&blobs(12, SHAPE, 0, 3), &Device::Cpu).unwrap();
        let step = Step::evaluation().with_precision(Precision::Bf16);
        let error = model.loss(&batch, &step).unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(reason.contains("BF16"), "{reason}");
        assert!(model.precisions().contains(&Precision::Bf16));
    }
}

#[test]
fn the_cpu_trains_in_f32_only() {
    let settings = FitConfig::new()
        .with_epochs(1)
        .with_precision(Precision::Bf16);
    for mut model in models() {
        let trained = Trainer::new(settings.clone()).fit(&mut *model, &blobs(4, SHAPE, 0, 3), None);
        let message = trained.unwrap_err().to_string();
        assert_eq!(
            message,
            "`precision` is bf16, but the CPU computes in f32 only"
        );
    }
}

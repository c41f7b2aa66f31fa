//! Training steps that a model does in its own way.

use candle_core::{Device, Tensor};
use phenocoder_core::{PatchShape, Seed};
use phenocoder_model::{
    Autoencoder, Batch, CvaeConfig, Gradients, ParameterGroup, Result, Step, Update,
};

use crate::synthetic::blobs;

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Option<Gradients>);

impl Update for Kept {
    fn apply(&mut self, group: &str, gradients: &Gradients) -> Result<()> {
        assert_eq!(group, ParameterGroup::MAIN);
        assert!(self.0.replace(gradients.clone()).is_none(), "one update");
        Ok(())
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_step_beside_candles_graph_has_the_losses_and_gradients_of_the_graph() {
    for (k, layers) in [(0, vec![4, 8, 16]), (3, vec![5, 3])] {
        let shape = PatchShape::new(16, 24, 3);
        let model = CvaeConfig::new(shape, 5)
            .with_conv_layers(layers)
            .with_dropout(0.3)
            .with_beta(0.7)
            .with_n_conditions(k)
            .build(Seed::new(3), &Device::Cpu)
            .unwrap();
        let batch = Batch::new(&blobs(37, shape, k, 4), &Device::Cpu).unwrap();
        let step = Step::training(Seed::new(5), 6);
        let mut kept = Kept::default();
        let found = model.train_step(&batch, &step, &mut kept).unwrap();
        let expected = model.loss(&batch, &step).unwrap();
        let parts = |l: &phenocoder_model::Losses| -> Vec<f32> {
            let parts = l.parts.iter().map(|(_, part)| part);
            parts.chain([&l.total]).flat_map(values).collect()
        };
        assert_eq!(parts(&found), parts(&expected));
        let store = expected.total.backward().unwrap();
        let expected = model.parameters().gradients(&store).unwrap();
        let found = kept.0.unwrap();
        assert!(found.keys().eq(expected.keys()));
        for (name, expected) in &expected {
            assert_eq!(found[name].dims(), expected.dims(), "{name}");
            let (found, expected) = (values(&found[name]), values(expected));
            let scale = expected.iter().fold(1e-9_f32, |m, v| m.max(v.abs()));
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() <= 1e-5 * scale, "{name}: {f} instead of {e}");
            }
        }
    }
}

//! The images and gradients of one task.

use super::plan::{LayerWeights, Plan};
use crate::kernel::cross_entropy;
use crate::kernel::route::{Direction, Epilogue};

/// The memory of one task; the zeros around the images are written once, when it is made.
#[derive(Debug)]
pub(super) struct Work {
    /// The images that go into each layer, and those that the last one makes.
    images: Vec<Vec<f32>>,
    /// The gradients of the images that each layer makes, of one group.
    gradients: Vec<Vec<f32>>,
    /// The gradient of all weights.
    pub(super) weights: Vec<f32>,
}

impl Work {
    /// Memory for the images of `samples` samples.
    pub(super) fn new(plan: &Plan, samples: usize) -> Self {
        let zeros = |len: usize, samples: usize| vec![0.0_f32; len * samples];
        let mut images: Vec<_> = plan
            .layers
            .iter()
            .map(|layer| zeros(layer.input.len, samples))
            .collect();
        images.push(zeros(plan.output.len, samples));
        Self {
            images,
            gradients: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Makes room for gradients and sets those of the weights to zero.
    pub(super) fn prepare_gradients(&mut self, plan: &Plan) {
        if self.gradients.is_empty() {
            let zeros = |len: usize| vec![0.0_f32; len * plan.group];
            let layers = plan.layers.iter();
            self.gradients = layers.map(|layer| zeros(layer.gradient.len)).collect();
        }
        self.weights.clear();
        self.weights.resize(plan.parameters(), 0.0);
    }

    /// Sends the dense images `x` through all layers, into the place of sample `first` and those after it.
    pub(super) fn forward(
        &mut self,
        plan: &Plan,
        weights: &[LayerWeights],
        x: &[f32],
        first: usize,
        samples: usize,
    ) {
        let input = plan.layers[0].input;
        input.fill(x, &mut self.images[0][first * input.len..]);
        for (i, (layer, weights)) in plan.layers.iter().zip(weights).enumerate() {
            let to = plan.layers.get(i + 1).map_or(plan.output, |l| l.input);
            let (before, after) = self.images.split_at_mut(i + 1);
            let epilogue = Epilogue {
                relu: layer.relu,
                mask: None,
            };
            layer.forward.run(
                &weights.forward,
                epilogue,
                samples,
                &before[i][first * layer.input.len..],
                &mut after[0][first * to.len..],
            );
        }
    }

    /// What the last layer made of sample `first` and those after it.
    pub(super) fn output(&self, plan: &Plan, first: usize, samples: usize) -> &[f32] {
        let len = plan.output.len;
        &self.images[plan.layers.len()][first * len..(first + samples) * len]
    }

    /// Takes over the dense gradient of the output of sample `first` and those after it.
    pub(super) fn set_gradient(
        &mut self,
        plan: &Plan,
        gradient: &[f32],
        first: usize,
        samples: usize,
    ) {
        let last = plan.layers.len() - 1;
        let layer = &plan.layers[last];
        layer.gradient.fill(gradient, &mut self.gradients[last]);
        if layer.relu {
            let len = plan.output.len;
            let output = &self.images[last + 1][first * len..(first + samples) * len];
            let width = layer.gradient.size[1] * layer.gradient.size[2];
            let rows = layer.gradient.rows_mut(&mut self.gradients[last]);
            for (row, output) in rows.zip(output.chunks_exact(width)) {
                for (value, output) in row.iter_mut().zip(output) {
                    *value = if *output <= 0.0 { 0.0 } else { *value };
                }
            }
        }
    }

    /// The cross-entropy of a group with its targets, and its gradient times `factor` in place of that of the output.
    pub(super) fn cross_entropy(
        &mut self,
        plan: &Plan,
        targets: &[f32],
        factor: f32,
        samples: usize,
    ) -> f64 {
        let last = plan.layers.len() - 1;
        let layer = &plan.layers[last];
        let width = layer.gradient.size[1] * layer.gradient.size[2];
        let logits = &self.images[last + 1][..samples * plan.output.len];
        let rows = layer.gradient.rows_mut(&mut self.gradients[last]);
        let mut sum = 0.0;
        for ((row, logits), targets) in rows
            .zip(logits.chunks_exact(width))
            .zip(targets.chunks_exact(width))
        {
            sum += cross_entropy::value_and_gradient(logits, targets, factor, row);
            if layer.relu {
                for (value, output) in row.iter_mut().zip(logits) {
                    *value = if *output <= 0.0 { 0.0 } else { *value };
                }
            }
        }
        sum
    }

    /// Brings the gradient of a group's output back through all layers.
    ///
    /// Adds to the gradient of the weights, and writes that of the dense input where it is wanted.
    pub(super) fn backward(
        &mut self,
        plan: &Plan,
        weights: &[LayerWeights],
        first: usize,
        samples: usize,
        dx: Option<&mut [f32]>,
    ) {
        let mut dx = dx;
        for (i, (layer, packed)) in plan.layers.iter().zip(weights).enumerate().rev() {
            let (before, after) = self.gradients.split_at_mut(i);
            let gradient = &after[0][..samples * layer.gradient.len];
            let from = first * layer.input.len;
            let images = &self.images[i][from..from + samples * layer.input.len];
            let (big, small) = match layer.direction {
                Direction::BigToSmall => (images, gradient),
                Direction::SmallToBig => (gradient, images),
            };
            let kernel = &mut self.weights[layer.start..layer.bias];
            layer.kernel.run(samples, big, small, kernel);
            let bias = &mut self.weights[layer.bias..layer.end];
            layer.gradient.channel_sums(gradient, bias);
            let to = match i.checked_sub(1) {
                Some(previous) => &mut before[previous][..],
                None => match dx.take() {
                    Some(dx) => dx,
                    None => return,
                },
            };
            let below_relu = i > 0 && plan.layers[i - 1].relu;
            let epilogue = Epilogue {
                relu: false,
                mask: below_relu.then_some(images),
            };
            layer
                .backward
                .run(&packed.backward, epilogue, samples, gradient, to);
        }
    }
}

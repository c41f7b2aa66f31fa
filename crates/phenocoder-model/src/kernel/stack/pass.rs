//! Whole batches through a stack, on all threads.

use std::sync::Arc;

use rayon::prelude::*;

use super::plan::{LayerWeights, Plan};
use super::work::Work;
use crate::kernel::cross_entropy;
use crate::kernel::direct::add_up;

/// The gradients of a batch.
#[derive(Debug)]
pub(super) struct Gradients {
    /// That of the images, if it was wanted.
    pub(super) input: Option<Vec<f32>>,
    /// That of all weights in one vector.
    pub(super) weights: Vec<f32>,
}

/// The images of all layers of a batch; they go back to the plan when nobody needs them any more.
#[derive(Debug)]
pub(super) struct Kept {
    plan: Arc<Plan>,
    tasks: Vec<Work>,
    weights: Vec<LayerWeights>,
}

impl Kept {
    /// Runs the layers.
    pub(super) fn forward(plan: &Arc<Plan>, x: &[f32], flat: &[f32]) -> Self {
        let len = plan.input_len();
        let weights = plan.pack(flat, true);
        let tasks = x
            .par_chunks(plan.task * len)
            .map(|x| {
                let mut work = plan.keeping.take(|| Work::new(plan, plan.task));
                for (i, x) in x.chunks(plan.group * len).enumerate() {
                    work.forward(plan, &weights, x, i * plan.group, x.len() / len);
                }
                work
            })
            .collect();
        Self {
            plan: Arc::clone(plan),
            tasks,
            weights,
        }
    }

    /// The layers.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the last layer made of the batch.
    pub(super) fn output(&self, samples: usize) -> Vec<f32> {
        let (plan, len) = (&*self.plan, self.plan.output.len);
        let mut out = vec![0.0; samples * len];
        out.par_chunks_mut(plan.task * len)
            .zip(&self.tasks)
            .for_each(|(out, work)| out.copy_from_slice(work.output(plan, 0, out.len() / len)));
        out
    }

    /// Brings the gradient of the output back through the layers.
    pub(super) fn backward(&mut self, gradient: &[f32], wants_input: bool) -> Gradients {
        let plan = &*self.plan;
        let (len, input_len) = (plan.output.len, plan.input_len());
        let samples = gradient.len() / len;
        let mut input = wants_input.then(|| vec![0.0; samples * input_len]);
        let weights = &self.weights;
        self.tasks
            .par_iter_mut()
            .zip(gradient.par_chunks(plan.task * len))
            .zip(parts(&mut input, plan.task * input_len, samples, plan.task))
            .for_each(|((work, gradient), input)| {
                work.prepare_gradients(plan);
                let mut input = input.chunks_mut(plan.group * input_len);
                for (i, gradient) in gradient.chunks(plan.group * len).enumerate() {
                    let (first, samples) = (i * plan.group, gradient.len() / len);
                    work.set_gradient(plan, gradient, first, samples);
                    work.backward(plan, weights, first, samples, input.next());
                }
            });
        Gradients {
            input,
            weights: sum_of_weights(&self.tasks, plan),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.plan
            .weights
            .give_back(std::mem::take(&mut self.weights));
        for work in self.tasks.drain(..) {
            self.plan.keeping.give_back(work);
        }
    }
}

impl Plan {
    /// Values of one sample that goes in.
    fn input_len(&self) -> usize {
        self.input().iter().product()
    }

    /// The samples in `x`.
    pub(super) fn samples(&self, x: &[f32]) -> usize {
        x.len() / self.input_len()
    }

    /// What the last layer makes of a batch, without keeping anything.
    pub(super) fn forward(&self, x: &[f32], flat: &[f32]) -> Vec<f32> {
        let (len, output_len) = (self.input_len(), self.output.len);
        let weights = self.pack(flat, false);
        let mut out = vec![0.0; self.samples(x) * output_len];
        out.par_chunks_mut(self.task * output_len)
            .zip(x.par_chunks(self.task * len))
            .for_each(|(out, x)| {
                let mut work = self.passing.take(|| Work::new(self, self.group));
                for (out, x) in out
                    .chunks_mut(self.group * output_len)
                    .zip(x.chunks(self.group * len))
                {
                    work.forward(self, &weights, x, 0, x.len() / len);
                    out.copy_from_slice(work.output(self, 0, x.len() / len));
                }
                self.passing.give_back(work);
            });
        self.weights.give_back(weights);
        out
    }

    /// The cross-entropy between what the last layer makes, as logits, and targets: sum over values, mean over samples.
    pub(super) fn cross_entropy(&self, x: &[f32], flat: &[f32], targets: &[f32]) -> f64 {
        let (len, output_len) = (self.input_len(), self.output.len);
        let width = self.output.size[1] * self.output.size[2];
        let weights = self.pack(flat, false);
        let sums: Vec<f64> = x
            .par_chunks(self.task * len)
            .zip(targets.par_chunks(self.task * output_len))
            .map(|(x, targets)| {
                let mut work = self.passing.take(|| Work::new(self, self.group));
                let mut sum = 0.0;
                for (x, targets) in x
                    .chunks(self.group * len)
                    .zip(targets.chunks(self.group * output_len))
                {
                    let samples = x.len() / len;
                    work.forward(self, &weights, x, 0, samples);
                    let logits = work.output(self, 0, samples).chunks_exact(width);
                    for (logits, targets) in logits.zip(targets.chunks_exact(width)) {
                        sum += cross_entropy::value(logits, targets);
                    }
                }
                self.passing.give_back(work);
                sum
            })
            .collect();
        self.weights.give_back(weights);
        sums.iter().sum::<f64>() / self.samples(x) as f64
    }

    /// The same with its gradients; every group's images are used while they are in the cache.
    pub(super) fn cross_entropy_and_gradients(
        &self,
        x: &[f32],
        flat: &[f32],
        targets: &[f32],
        wants_input: bool,
    ) -> (f64, Gradients) {
        let (len, output_len) = (self.input_len(), self.output.len);
        let samples = self.samples(x);
        let factor = 1.0 / samples as f32;
        let weights = self.pack(flat, true);
        let mut input = wants_input.then(|| vec![0.0; x.len()]);
        let (sums, tasks): (Vec<f64>, Vec<Work>) = x
            .par_chunks(self.task * len)
            .zip(targets.par_chunks(self.task * output_len))
            .zip(parts(&mut input, self.task * len, samples, self.task))
            .map(|((x, targets), input)| {
                let mut work = self.passing.take(|| Work::new(self, self.group));
                work.prepare_gradients(self);
                let mut input = input.chunks_mut(self.group * len);
                let mut sum = 0.0;
                for (x, targets) in x
                    .chunks(self.group * len)
                    .zip(targets.chunks(self.group * output_len))
                {
                    let samples = x.len() / len;
                    work.forward(self, &weights, x, 0, samples);
                    sum += work.cross_entropy(self, targets, factor, samples);
                    work.backward(self, &weights, 0, samples, input.next());
                }
                (sum, work)
            })
            .unzip();
        let gradients = Gradients {
            input,
            weights: sum_of_weights(&tasks, self),
        };
        for work in tasks {
            self.passing.give_back(work);
        }
        self.weights.give_back(weights);
        (sums.iter().sum::<f64>() / samples as f64, gradients)
    }
}

/// The part of `values` that belongs to each task; empty ones where nothing is wanted.
fn parts(
    values: &mut Option<Vec<f32>>,
    len: usize,
    samples: usize,
    task: usize,
) -> impl IndexedParallelIterator<Item = &mut [f32]> {
    let mut parts: Vec<&mut [f32]> = match values {
        Some(values) => values.chunks_mut(len).collect(),
        None => Vec::new(),
    };
    parts.resize_with(samples.div_ceil(task), Default::default);
    parts.into_par_iter()
}

fn sum_of_weights(tasks: &[Work], plan: &Plan) -> Vec<f32> {
    let parts: Vec<&[f32]> = tasks.iter().map(|work| &work.weights[..]).collect();
    add_up(&parts, plan.parameters())
}

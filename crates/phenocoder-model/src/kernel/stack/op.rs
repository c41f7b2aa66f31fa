//! A stack as operations of candle's graph.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::Keep;
use super::plan::{LayerWeights, Plan};
use super::work::Work;
use crate::kernel::cross_entropy;
use crate::kernel::direct::add_up;
use crate::kernel::op::{slice, with_slice};

/// Images in, images out.
#[derive(Debug)]
pub(super) struct Forward {
    plan: Arc<Plan>,
    keep: Keep,
    /// The images of every task, and the weights in order.
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    tasks: Vec<Work>,
    weights: Vec<LayerWeights>,
}

impl Forward {
    pub(super) fn new(plan: &Arc<Plan>, keep: Keep) -> Self {
        Self {
            plan: Arc::clone(plan),
            keep,
            kept: Mutex::new(None),
        }
    }

    fn take_kept(&self) -> Option<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }

    /// Runs the layers and keeps the images of all samples.
    fn forward_keeping(&self, x: &[f32], flat: &[f32]) -> Kept {
        let plan = &*self.plan;
        let x_len: usize = plan.input().iter().product();
        let weights = plan.pack(flat, true);
        let tasks = x
            .par_chunks(plan.task * x_len)
            .map(|x| {
                let mut work = plan.keeping.take(|| Work::new(plan, plan.task));
                for (i, x) in x.chunks(plan.group * x_len).enumerate() {
                    work.forward(plan, &weights, x, i * plan.group, x.len() / x_len);
                }
                work
            })
            .collect();
        Kept { tasks, weights }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(kept) = self.take_kept() {
            give_back(&self.plan, kept);
        }
    }
}

fn give_back(plan: &Plan, kept: Kept) {
    plan.weights.give_back(kept.weights);
    for work in kept.tasks {
        plan.keeping.give_back(work);
    }
}

impl CustomOp2 for Forward {
    fn name(&self) -> &'static str {
        "conv-stack"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, flat) = (slice(s1, l1)?, slice(s2, l2)?);
        let plan = &*self.plan;
        let x_len: usize = plan.input().iter().product();
        let samples = x.len() / x_len;
        let [h, w, c] = plan.output();
        let len = h * w * c;
        let mut out = vec![0.0; samples * len];
        if self.keep == Keep::Gradients {
            let kept = self.forward_keeping(x, flat);
            out.par_chunks_mut(plan.task * len)
                .zip(&kept.tasks)
                .for_each(|(out, work)| {
                    out.copy_from_slice(work.output(plan, 0, out.len() / len));
                });
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        } else {
            let weights = plan.pack(flat, false);
            out.par_chunks_mut(plan.task * len)
                .zip(x.par_chunks(plan.task * x_len))
                .for_each(|(out, x)| {
                    let mut work = plan.passing.take(|| Work::new(plan, plan.group));
                    for (out, x) in out
                        .chunks_mut(plan.group * len)
                        .zip(x.chunks(plan.group * x_len))
                    {
                        let samples = out.len() / len;
                        work.forward(plan, &weights, x, 0, samples);
                        out.copy_from_slice(work.output(plan, 0, samples));
                    }
                    plan.passing.give_back(work);
                });
            plan.weights.give_back(weights);
        }
        Ok((CpuStorage::F32(out), Shape::from((samples, h, w, c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let plan = &*self.plan;
        let kept = match self.take_kept() {
            Some(kept) => kept,
            None => with_slice(x, |x| with_slice(flat, |f| self.forward_keeping(x, f)))??,
        };
        let Kept { tasks, weights } = kept;
        let [h, w, c] = plan.output();
        let len = h * w * c;
        let x_len: usize = plan.input().iter().product();
        let mut dx = match x.track_op() {
            true => vec![0.0; x.elem_count()],
            false => Vec::new(),
        };
        let tasks: Vec<Work> = with_slice(gradient, |gradient| {
            tasks
                .into_par_iter()
                .zip(gradient.par_chunks(plan.task * len))
                .zip(chunks(&mut dx, plan.task * x_len, x.dims()[0], plan.task))
                .map(|((mut work, gradient), dx)| {
                    work.prepare_gradients(plan);
                    let mut dx = dx.chunks_mut(plan.group * x_len);
                    for (i, gradient) in gradient.chunks(plan.group * len).enumerate() {
                        let (first, samples) = (i * plan.group, gradient.len() / len);
                        work.set_gradient(plan, gradient, first, samples);
                        work.backward(plan, &weights, first, samples, dx.next());
                    }
                    work
                })
                .collect()
        })?;
        let dw = sum_of_weights(&tasks, plan.parameters());
        give_back(plan, Kept { tasks, weights });
        Ok((input_gradient(dx, x)?, Some(vector(dw)?)))
    }
}

/// Images in, cross-entropy with targets out.
#[derive(Debug)]
pub(super) struct Loss {
    plan: Arc<Plan>,
    keep: Keep,
    wants_input: bool,
    gradients: Mutex<Option<Gradients>>,
}

/// The gradients of a loss of one.
#[derive(Debug)]
struct Gradients {
    dx: Vec<f32>,
    weights: Vec<f32>,
}

impl Loss {
    pub(super) fn new(plan: &Arc<Plan>, keep: Keep, wants_input: bool) -> Self {
        Self {
            plan: Arc::clone(plan),
            keep,
            wants_input,
            gradients: Mutex::new(None),
        }
    }

    /// Loss and gradients in one pass.
    fn both(&self, x: &[f32], flat: &[f32], targets: &[f32]) -> (f64, Gradients) {
        let plan = &*self.plan;
        let len = plan.output.len;
        let x_len: usize = plan.input().iter().product();
        let samples = x.len() / x_len;
        let factor = 1.0 / samples as f32;
        let weights = plan.pack(flat, true);
        let mut dx = match self.wants_input {
            true => vec![0.0; x.len()],
            false => Vec::new(),
        };
        let (sums, tasks): (Vec<f64>, Vec<Work>) = x
            .par_chunks(plan.task * x_len)
            .zip(targets.par_chunks(plan.task * len))
            .zip(chunks(&mut dx, plan.task * x_len, samples, plan.task))
            .map(|((x, targets), dx)| {
                let mut work = plan.passing.take(|| Work::new(plan, plan.group));
                work.prepare_gradients(plan);
                let mut dx = dx.chunks_mut(plan.group * x_len);
                let mut sum = 0.0;
                for (x, targets) in x
                    .chunks(plan.group * x_len)
                    .zip(targets.chunks(plan.group * len))
                {
                    let samples = x.len() / x_len;
                    work.forward(plan, &weights, x, 0, samples);
                    sum += work.cross_entropy(plan, targets, factor, samples);
                    work.backward(plan, &weights, 0, samples, dx.next());
                }
                (sum, work)
            })
            .unzip();
        let dw = sum_of_weights(&tasks, plan.parameters());
        for work in tasks {
            plan.passing.give_back(work);
        }
        plan.weights.give_back(weights);
        let mean = sums.iter().sum::<f64>() / samples as f64;
        (mean, Gradients { dx, weights: dw })
    }

    /// The loss alone.
    fn value(&self, x: &[f32], flat: &[f32], targets: &[f32]) -> f64 {
        let plan = &*self.plan;
        let len = plan.output.len;
        let x_len: usize = plan.input().iter().product();
        let weights = plan.pack(flat, false);
        let width = plan.output.size[1] * plan.output.size[2];
        let sums: Vec<f64> = x
            .par_chunks(plan.task * x_len)
            .zip(targets.par_chunks(plan.task * len))
            .map(|(x, targets)| {
                let mut work = plan.passing.take(|| Work::new(plan, plan.group));
                let mut sum = 0.0;
                for (x, targets) in x
                    .chunks(plan.group * x_len)
                    .zip(targets.chunks(plan.group * len))
                {
                    let samples = x.len() / x_len;
                    work.forward(plan, &weights, x, 0, samples);
                    let logits = work.output(plan, 0, samples).chunks_exact(width);
                    for (logits, targets) in logits.zip(targets.chunks_exact(width)) {
                        sum += cross_entropy::value(logits, targets);
                    }
                }
                plan.passing.give_back(work);
                sum
            })
            .collect();
        plan.weights.give_back(weights);
        sums.iter().sum::<f64>() / (x.len() / x_len) as f64
    }
}

impl CustomOp3 for Loss {
    fn name(&self) -> &'static str {
        "conv-stack-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, flat, targets) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let mean = match self.keep {
            Keep::Gradients => {
                let (mean, gradients) = self.both(x, flat, targets);
                let mut kept = self
                    .gradients
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *kept = Some(gradients);
                mean
            }
            Keep::Nothing => self.value(x, flat, targets),
        };
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        flat: &Tensor,
        targets: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let kept = {
            let mut kept = self
                .gradients
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            kept.take()
        };
        let Gradients {
            mut dx,
            mut weights,
        } = match kept {
            Some(gradients) => gradients,
            None => with_slice(x, |x| {
                with_slice(flat, |flat| {
                    with_slice(targets, |targets| self.both(x, flat, targets).1)
                })
            })???,
        };
        let factor = gradient.to_scalar::<f32>()?;
        if factor.to_bits() != 1.0_f32.to_bits() {
            for value in dx.iter_mut().chain(&mut weights) {
                *value *= factor;
            }
        }
        Ok((input_gradient(dx, x)?, Some(vector(weights)?), None))
    }
}

/// The parts of `values` that belong to each task; empty ones where nothing is wanted.
fn chunks(
    values: &mut [f32],
    len: usize,
    samples: usize,
    task: usize,
) -> impl IndexedParallelIterator<Item = &mut [f32]> {
    let mut parts: Vec<&mut [f32]> = values.chunks_mut(len.max(1)).collect();
    parts.resize_with(samples.div_ceil(task), Default::default);
    parts.into_par_iter()
}

fn sum_of_weights(tasks: &[Work], len: usize) -> Vec<f32> {
    let parts: Vec<&[f32]> = tasks.iter().map(|work| &work.weights[..]).collect();
    add_up(&parts, len)
}

fn vector(values: Vec<f32>) -> candle_core::Result<Tensor> {
    let len = values.len();
    Tensor::from_vec(values, len, &candle_core::Device::Cpu)
}

fn input_gradient(dx: Vec<f32>, x: &Tensor) -> candle_core::Result<Option<Tensor>> {
    match dx.is_empty() {
        true => Ok(None),
        false => Tensor::from_vec(dx, x.shape(), x.device()).map(Some),
    }
}

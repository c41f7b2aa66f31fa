//! A stack as operations of candle's graph.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

use super::Keep;
use super::pass::{Gradients, Kept};
use super::plan::Plan;
use crate::kernel::op::{slice, tensor_like, with_slice};

/// Something that is made once and taken once.
#[derive(Debug)]
struct Slot<T>(Mutex<Option<T>>);

impl<T> Slot<T> {
    fn empty() -> Self {
        Self(Mutex::new(None))
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn take(&self) -> Option<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// Images in, images out.
#[derive(Debug)]
pub(super) struct Forward {
    plan: Arc<Plan>,
    keep: Keep,
    kept: Slot<Kept>,
}

impl Forward {
    pub(super) fn new(plan: &Arc<Plan>, keep: Keep) -> Self {
        Self {
            plan: Arc::clone(plan),
            keep,
            kept: Slot::empty(),
        }
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
        let out = match self.keep {
            Keep::Gradients => {
                let kept = Kept::forward(&self.plan, x, flat);
                let out = kept.output(self.plan.samples(x));
                self.kept.put(kept);
                out
            }
            Keep::Nothing => self.plan.forward(x, flat),
        };
        let [h, w, c] = self.plan.output();
        let shape = Shape::from((self.plan.samples(x), h, w, c));
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let mut kept = match self.kept.take() {
            Some(kept) => kept,
            None => with_slice(x, |x| {
                with_slice(flat, |flat| Kept::forward(&self.plan, x, flat))
            })??,
        };
        let wants_input = x.track_op();
        let found = with_slice(gradient, |gradient| kept.backward(gradient, wants_input))?;
        let weights = vector(found.weights)?;
        Ok((tensor_like(found.input, Some(x))?, Some(weights)))
    }
}

/// Images in, cross-entropy with targets out.
#[derive(Debug)]
pub(super) struct Loss {
    plan: Arc<Plan>,
    keep: Keep,
    wants_input: bool,
    gradients: Slot<Gradients>,
}

impl Loss {
    pub(super) fn new(plan: &Arc<Plan>, keep: Keep, wants_input: bool) -> Self {
        Self {
            plan: Arc::clone(plan),
            keep,
            wants_input,
            gradients: Slot::empty(),
        }
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
                let wants_input = self.wants_input;
                let (mean, gradients) =
                    self.plan
                        .cross_entropy_and_gradients(x, flat, targets, wants_input);
                self.gradients.put(gradients);
                mean
            }
            Keep::Nothing => self.plan.cross_entropy(x, flat, targets),
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
        let mut found = match self.gradients.take() {
            Some(gradients) => gradients,
            None => gradients_of_loss(&self.plan, x, flat, targets, self.wants_input)?.1,
        };
        let factor = gradient.to_scalar::<f32>()?;
        if factor.to_bits() != 1.0_f32.to_bits() {
            let input = found.input.iter_mut().flatten();
            for value in input.chain(&mut found.weights) {
                *value *= factor;
            }
        }
        let weights = vector(found.weights)?;
        Ok((tensor_like(found.input, Some(x))?, Some(weights), None))
    }
}

/// [`Plan::cross_entropy_and_gradients`] of tensors.
pub(super) fn gradients_of_loss(
    plan: &Plan,
    x: &Tensor,
    flat: &Tensor,
    targets: &Tensor,
    wants_input: bool,
) -> candle_core::Result<(f64, Gradients)> {
    with_slice(x, |x| {
        with_slice(flat, |flat| {
            with_slice(targets, |targets| {
                plan.cross_entropy_and_gradients(x, flat, targets, wants_input)
            })
        })
    })??
}

pub(super) fn vector(values: Vec<f32>) -> candle_core::Result<Tensor> {
    let len = values.len();
    Tensor::from_vec(values, len, &candle_core::Device::Cpu)
}

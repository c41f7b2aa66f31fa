//! What optimizers share: the state beside each weight, and one pass over a weight, its gradient and its state.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Shape, Tensor, Var};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::values::{CHUNK, Real, Values, check_dtype, split_steps, with_steps};
use crate::{Error, Gradients, Parameters, Result};

/// How one weight changes by its gradient and by `N` arrays of state.
///
/// Both functions return two sums over the weight, for rules that need them: see [`Entry::run`].
pub(super) trait Rule<const N: usize>: Sync {
    /// The change in CPU memory; all slices are equally long.
    fn slices<T: Real>(&self, w: &mut [T], g: &[T], state: [&mut [T]; N]) -> [f64; 2];

    /// The change elsewhere: the new weight, if it changes, and the new state.
    fn tensors(&self, w: &Tensor, g: &Tensor, state: [&Tensor; N]) -> Result<Changed<N>>;
}

/// A weight and its state after a step.
pub(super) struct Changed<const N: usize> {
    pub(super) weight: Option<Tensor>,
    pub(super) state: [Tensor; N],
    pub(super) sums: [f64; 2],
}

/// The steps done and the arrays beside every weight.
#[derive(Debug)]
pub(super) struct State<const N: usize> {
    steps: u64,
    names: [&'static str; N],
    start: [f64; N],
    arrays: BTreeMap<String, Arrays<N>>,
}

#[derive(Debug)]
struct Arrays<const N: usize> {
    shape: Shape,
    dtype: DType,
    values: [Values; N],
}

impl<const N: usize> State<N> {
    /// No steps; arrays of these names will start filled with these numbers.
    pub(super) fn new(names: [&'static str; N], start: [f64; N]) -> Self {
        Self {
            steps: 0,
            names,
            start,
            arrays: BTreeMap::new(),
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Counts a step and calls `change` for every weight that has a gradient, in the order of their names.
    ///
    /// Gradients and state are checked before, so an error of theirs leaves everything as it was.
    pub(super) fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        mut change: impl FnMut(&mut Entry<'_, N>) -> Result<()>,
    ) -> Result<()> {
        let weights = || {
            parameters
                .weights()
                .filter_map(|(name, weight)| Some((name, weight, gradients.get(name)?)))
        };
        for (name, weight, gradient) in weights() {
            self.check(name, weight, gradient)?;
        }
        self.steps += 1;
        for (name, weight, gradient) in weights() {
            let is_new = !self.arrays.contains_key(name);
            if is_new {
                let mut values = self.start.map(|_| Values::F32(Vec::new()));
                for (values, &start) in values.iter_mut().zip(&self.start) {
                    *values = Values::filled(weight, start)?;
                }
                let arrays = Arrays {
                    shape: weight.shape().clone(),
                    dtype: weight.dtype(),
                    values,
                };
                self.arrays.insert(name.to_owned(), arrays);
            }
            let Some(arrays) = self.arrays.get_mut(name) else {
                continue;
            };
            for values in &mut arrays.values {
                if values.is_on_cpu() != weight.device().is_cpu() {
                    *values = Values::copy(&values.tensor(&arrays.shape)?, weight.device())?;
                }
            }
            change(&mut Entry {
                weight,
                gradient,
                values: &mut arrays.values,
                is_new,
            })?;
        }
        Ok(())
    }

    fn check(&self, name: &str, weight: &Var, gradient: &Tensor) -> Result<()> {
        check_dtype(name, weight.dtype())?;
        let expected = (weight.dtype(), weight.dims());
        let mut found = vec![("gradient", (gradient.dtype(), gradient.dims()))];
        if let Some(arrays) = self.arrays.get(name) {
            found.push(("state", (arrays.dtype, arrays.shape.dims())));
        }
        match found.iter().find(|(_, found)| *found != expected) {
            None => Ok(()),
            Some((what, found)) => {
                let words = |(dtype, dims): (DType, &[usize])| format!("{dtype:?} {dims:?}");
                let (expected, found) = (words(expected), words(*found));
                Err(problem(
                    name,
                    format!("expected a {what} {expected}, found {found}"),
                ))
            }
        }
    }

    pub(super) fn save(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut saved = BTreeMap::new();
        for (name, arrays) in &self.arrays {
            for (which, values) in self.names.iter().zip(&arrays.values) {
                saved.insert(format!("{name}.{which}"), values.tensor(&arrays.shape)?);
            }
        }
        with_steps(self.steps, saved)
    }

    pub(super) fn restore(&mut self, saved: &BTreeMap<String, Tensor>) -> Result<()> {
        let (steps, saved) = split_steps(saved)?;
        let mut arrays = BTreeMap::new();
        for key in saved.keys().copied() {
            let parts = key.rsplit_once('.');
            let Some((name, _)) = parts.filter(|(_, which)| self.names.contains(which)) else {
                return Err(problem(key, "this optimizer has no such state"));
            };
            if !arrays.contains_key(name) {
                arrays.insert(name.to_owned(), self.read(name, &saved)?);
            }
        }
        self.steps = steps;
        self.arrays = arrays;
        Ok(())
    }

    /// The arrays of one weight; they stay in CPU memory until its next step.
    fn read(&self, name: &str, saved: &BTreeMap<&str, &Tensor>) -> Result<Arrays<N>> {
        let mut like: Option<(Shape, DType)> = None;
        let mut values = self.names.map(|_| Values::F32(Vec::new()));
        for (values, which) in values.iter_mut().zip(self.names) {
            let key = format!("{name}.{which}");
            let tensor = saved.get(key.as_str());
            let tensor = *tensor.ok_or_else(|| problem(&key, "missing"))?;
            check_dtype(&key, tensor.dtype())?;
            let this = (tensor.shape().clone(), tensor.dtype());
            if like.as_ref().is_some_and(|like| *like != this) {
                let message = "its shape or type differs from that of the other state";
                return Err(problem(&key, message));
            }
            *values = Values::copy(tensor, &Device::Cpu)?;
            like = Some(this);
        }
        let (shape, dtype) = like.unwrap_or((Shape::from(()), DType::F32));
        Ok(Arrays {
            shape,
            dtype,
            values,
        })
    }
}

fn problem(name: &str, problem: impl Into<String>) -> Error {
    Error::Array {
        name: name.to_owned(),
        problem: problem.into(),
    }
}

/// A weight, its gradient and its state in one step.
pub(super) struct Entry<'a, const N: usize> {
    pub(super) weight: &'a Var,
    gradient: &'a Tensor,
    values: &'a mut [Values; N],
    /// Whether this is the first gradient of the weight.
    pub(super) is_new: bool,
}

impl<const N: usize> Entry<'_, N> {
    /// Changes the weight and its state by a rule; the rule's two sums are added chunk by chunk in their order.
    pub(super) fn run(&mut self, rule: &impl Rule<N>) -> Result<[f64; 2]> {
        match (self.weight.device(), self.weight.dtype()) {
            (Device::Cpu, DType::F64) => self.run_on_slices::<f64>(rule),
            (Device::Cpu, _) => self.run_on_slices::<f32>(rule),
            _ => self.run_on_tensors(rule),
        }
    }

    fn run_on_slices<T: Real>(&mut self, rule: &impl Rule<N>) -> Result<[f64; 2]> {
        let op = InPlace::<T, _, N> {
            rule,
            values: RefCell::new(self.values.each_mut().map(T::in_values)),
            sums: Cell::new([0.0; 2]),
        };
        self.weight.inplace_op2(&self.gradient.contiguous()?, &op)?;
        Ok(op.sums.get())
    }

    fn run_on_tensors(&mut self, rule: &impl Rule<N>) -> Result<[f64; 2]> {
        let tensors: Vec<Tensor> = self
            .values
            .iter()
            .filter_map(|values| match values {
                Values::Device(tensor) => Some(tensor.clone()),
                _ => None,
            })
            .collect();
        let tensors: [Tensor; N] = tensors.try_into().map_err(|_| {
            candle_core::Error::Msg("state and weight are on different devices".to_owned())
        })?;
        let weight = self.weight.as_detached_tensor();
        let changed = rule.tensors(&weight, &self.gradient.detach(), tensors.each_ref())?;
        if let Some(weight) = changed.weight {
            self.weight.set(&weight)?;
        }
        *self.values = changed.state.map(Values::Device);
        Ok(changed.sums)
    }
}

/// A rule on the memory of a weight.
struct InPlace<'a, T, R, const N: usize> {
    rule: &'a R,
    values: RefCell<[Option<&'a mut Vec<T>>; N]>,
    sums: Cell<[f64; 2]>,
}

impl<T: Real, R: Rule<N>, const N: usize> InplaceOp2 for InPlace<'_, T, R, N> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        weight_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((from, to)), Some((g_from, g_to))) = (
            weight_layout.contiguous_offsets(),
            gradient_layout.contiguous_offsets(),
        ) else {
            candle_core::bail!("optimizers need contiguous weights, found {weight_layout:?}")
        };
        let Some(weight) = T::in_storage(weight) else {
            candle_core::bail!("optimizers need weights of type {:?}", T::DTYPE)
        };
        let w = &mut weight[from..to];
        let g = &gradient.as_slice::<T>()?[g_from..g_to];
        let mut values = self.values.borrow_mut();
        let mut state = values.each_mut().map(|values| {
            let all = values.as_deref_mut().map_or(&mut [][..], Vec::as_mut_slice);
            all.chunks_mut(CHUNK)
        });
        let chunks = w.chunks_mut(CHUNK).zip(g.chunks(CHUNK));
        let mut tasks: Vec<_> = chunks
            .map(|(w, g)| Task {
                rule: self.rule,
                w,
                g,
                state: state.each_mut().map(|s| s.next().unwrap_or_default()),
                sums: [0.0; 2],
            })
            .collect();
        match &mut tasks[..] {
            [task] => task.run(),
            tasks => tasks.par_iter_mut().for_each(Task::run),
        }
        let add = |[a, b]: [f64; 2], task: &Task<'_, T, R, N>| [a + task.sums[0], b + task.sums[1]];
        self.sums.set(tasks.iter().fold([0.0; 2], add));
        Ok(())
    }
}

/// A rule on one chunk.
struct Task<'a, T, R, const N: usize> {
    rule: &'a R,
    w: &'a mut [T],
    g: &'a [T],
    state: [&'a mut [T]; N],
    sums: [f64; 2],
}

impl<T: Real, R: Rule<N>, const N: usize> Task<'_, T, R, N> {
    fn run(&mut self) {
        Arch::new().dispatch(Fused(self));
    }
}

struct Fused<'a, 'b, T, R, const N: usize>(&'a mut Task<'b, T, R, N>);

impl<T: Real, R: Rule<N>, const N: usize> WithSimd for Fused<'_, '_, T, R, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let task = self.0;
        let n = task.w.len().min(task.g.len());
        let state = task.state.each_mut().map(|s| {
            let n = n.min(s.len());
            &mut s[..n]
        });
        task.sums = task.rule.slices(&mut task.w[..n], &task.g[..n], state);
    }
}

//! The moving average of weights.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Tensor, Var};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::optim::{CHUNK, Real, Values, check_dtype, split_steps, with_steps, with_values};
use crate::error::check_range;
use crate::{ConfigError, Error, Parameters, Result, Snapshot};

/// How the decay of an [`Ema`] grows to its final value.
///
/// In update `t`, counted from 1, it is `1 − (1 + s / gamma)^(−power)` with `s = t − start_after − 1`
/// ([`EmaConfig::start_after`]), held between `min_decay` and the final decay; up to `s = 0` the weights are copied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmaWarmUpConfig {
    /// The time scale in updates (default 1).
    #[doc(alias = "warmup_gamma")]
    pub gamma: f64,
    /// The exponent (default ⅔, for runs of millions of updates; ¾ reaches 0.999 in 10,000).
    #[doc(alias = "warmup_power")]
    pub power: f64,
    /// The smallest decay (default 0).
    pub min_decay: f64,
}

impl Default for EmaWarmUpConfig {
    fn default() -> Self {
        Self {
            gamma: 1.0,
            power: 2.0 / 3.0,
            min_decay: 0.0,
        }
    }
}

impl EmaWarmUpConfig {
    /// timm's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time scale in updates.
    #[must_use]
    pub fn with_gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Sets the exponent.
    #[must_use]
    pub fn with_power(mut self, power: f64) -> Self {
        self.power = power;
        self
    }

    /// Sets the smallest decay.
    #[must_use]
    pub fn with_min_decay(mut self, min_decay: f64) -> Self {
        self.min_decay = min_decay;
        self
    }
}

/// The settings of an [`Ema`]; the defaults are timm's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "ModelEmaV3")]
pub struct EmaConfig {
    /// How much of the average is kept in each update (default 0.9999).
    #[doc(alias = "ema_momentum")]
    pub decay: f64,
    /// How the decay grows (default none: it is constant).
    pub warm_up: Option<EmaWarmUpConfig>,
    /// The updates in which the average is a copy of the weights (default 0).
    #[doc(alias = "update_after_step")]
    pub start_after: u64,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self {
            decay: 0.9999,
            warm_up: None,
            start_after: 0,
        }
    }
}

impl EmaConfig {
    /// A constant decay.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self {
            decay,
            ..Self::default()
        }
    }

    /// Sets how the decay grows.
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: Option<EmaWarmUpConfig>) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Sets the updates in which the average is a copy of the weights.
    #[must_use]
    pub fn with_start_after(mut self, start_after: u64) -> Self {
        self.start_after = start_after;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let decay = |setting: &str, value: f64| {
            let valid = (0.0..1.0).contains(&value);
            check_range(setting, value, valid, "from 0 up to but not including 1")
        };
        decay("ema.decay", self.decay)?;
        let Some(warm_up) = self.warm_up else {
            return Ok(());
        };
        decay("ema.warm_up.min_decay", warm_up.min_decay)?;
        for (setting, value) in [
            ("ema.warm_up.gamma", warm_up.gamma),
            ("ema.warm_up.power", warm_up.power),
        ] {
            let valid = value > 0.0 && value.is_finite();
            check_range(setting, value, valid, "a finite number above 0")?;
        }
        Ok(())
    }

    /// The decay of an update, counted from 1; the first copies the weights.
    #[must_use]
    pub fn decay_at(&self, update: u64) -> f64 {
        let step = update.saturating_sub(self.start_after).saturating_sub(1);
        match self.warm_up {
            _ if step == 0 => 0.0,
            None => self.decay,
            Some(warm_up) => {
                let grown = 1.0 - (1.0 + step as f64 / warm_up.gamma).powf(-warm_up.power);
                grown.max(warm_up.min_decay).min(self.decay)
            }
        }
    }

    /// An average that starts as a copy of these weights and running statistics.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] as [`validate`](Self::validate); [`Error::Array`] for numbers that are neither `f32` nor `f64`;
    /// [`Error::Tensor`] when a device cannot be read.
    pub fn build(&self, parameters: &Parameters) -> Result<Ema> {
        self.validate()?;
        let average = |(name, variable): (&str, &Var)| {
            check_dtype(name, variable.dtype())?;
            let average = Average {
                shape: variable.shape().clone(),
                dtype: variable.dtype(),
                values: Values::copy(&variable.as_detached_tensor(), variable.device())?,
            };
            Ok((name.to_owned(), average))
        };
        Ok(Ema {
            config: *self,
            updates: 0,
            averages: parameters.iter().map(average).collect::<Result<_>>()?,
        })
    }
}

/// The exponential moving average of weights and running statistics: `a ← a + (1 − decay)(w − a)` after every update
/// (Polyak and Juditsky 1992; the form of timm's `ModelEmaV3`).
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::train::EmaConfig;
/// use phenocoder_model::{Parameters, Role};
///
/// let mut parameters = Parameters::new();
/// let weight = parameters.insert("w", Role::Weight, &Tensor::new(&[1.0_f32], &Device::Cpu)?)?;
/// let mut average = EmaConfig::new(0.75).build(&parameters)?;
/// average.update(&parameters)?;
/// weight.set(&Tensor::new(&[5.0_f32], &Device::Cpu)?)?;
/// average.update(&parameters)?;
/// average.swap(&parameters)?;
/// assert_eq!(weight.to_vec1::<f32>()?, [2.0]);
/// average.swap(&parameters)?;
/// assert_eq!(weight.to_vec1::<f32>()?, [5.0]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug)]
pub struct Ema {
    config: EmaConfig,
    updates: u64,
    averages: BTreeMap<String, Average>,
}

#[derive(Debug)]
struct Average {
    shape: Shape,
    dtype: DType,
    values: Values,
}

impl Ema {
    /// The number of updates done.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes the weights after an update into the average.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when the weights are others than those at the start; [`Error::Tensor`] when a device fails.
    pub fn update(&mut self, parameters: &Parameters) -> Result<()> {
        self.check(parameters)?;
        self.updates += 1;
        let share = 1.0 - self.config.decay_at(self.updates);
        for (name, variable) in parameters.iter() {
            let Some(average) = self.averages.get_mut(name) else {
                continue;
            };
            average.follow(variable)?;
            match &mut average.values {
                Values::F32(values) => with_values(variable, |w| blend(values, w, share))?,
                Values::F64(values) => with_values(variable, |w| blend(values, w, share))?,
                Values::Device(tensor) => {
                    let change = ((variable.as_detached_tensor() - &*tensor)? * share)?;
                    *tensor = (&*tensor + change)?;
                }
            }
        }
        Ok(())
    }

    /// Exchanges the weights with their average: before validation, and back after it.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn swap(&mut self, parameters: &Parameters) -> Result<()> {
        self.check(parameters)?;
        for (name, variable) in parameters.iter() {
            let Some(average) = self.averages.get_mut(name) else {
                continue;
            };
            average.follow(variable)?;
            match &mut average.values {
                Values::F32(values) => variable.inplace_op1(&Swap(RefCell::new(values)))?,
                Values::F64(values) => variable.inplace_op1(&Swap(RefCell::new(values)))?,
                Values::Device(tensor) => {
                    let weights = variable.as_detached_tensor().copy()?;
                    variable.set(tensor)?;
                    *tensor = weights;
                }
            }
        }
        Ok(())
    }

    /// The averages in CPU memory, to be set with [`Parameters::restore`].
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a device cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot(self.weights()?))
    }

    /// The averages by name in CPU memory.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a device cannot be read.
    pub fn weights(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, average): (&String, &Average)| {
            Ok((name.clone(), average.values.tensor(&average.shape)?))
        };
        self.averages.iter().map(copy).collect()
    }

    /// Everything that the next update depends on, as named tensors in CPU memory.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a device cannot be read.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let suffixed = |(name, tensor)| (format!("{name}{SUFFIX}"), tensor);
        let state = self.weights()?.into_iter().map(suffixed).collect();
        with_steps(self.updates, state)
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when the state is not that of an average of the same weights; then nothing is changed.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let (updates, mut saved) = split_steps(state)?;
        let mut restored = BTreeMap::new();
        for (name, average) in &self.averages {
            let key = format!("{name}{SUFFIX}");
            let tensor = saved.remove(key.as_str());
            let found = tensor.ok_or_else(|| problem(&key, "missing"))?;
            average.check(&key, found.dtype(), found.shape())?;
            let average = Average {
                shape: average.shape.clone(),
                dtype: average.dtype,
                values: Values::copy(found, &Device::Cpu)?,
            };
            restored.insert(name.clone(), average);
        }
        if let Some(key) = saved.keys().next() {
            return Err(problem(key, "there is no weight of this name"));
        }
        self.updates = updates;
        self.averages = restored;
        Ok(())
    }

    fn check(&self, parameters: &Parameters) -> Result<()> {
        if let Some(name) = self
            .averages
            .keys()
            .find(|name| parameters.get(name).is_none())
        {
            return Err(problem(
                name,
                "averaged, but the model has none of this name",
            ));
        }
        for (name, variable) in parameters.iter() {
            let average = self.averages.get(name);
            let average = average.ok_or_else(|| problem(name, "it is not averaged"))?;
            average.check(name, variable.dtype(), variable.shape())?;
        }
        Ok(())
    }
}

const SUFFIX: &str = ".average";

impl Average {
    fn check(&self, name: &str, dtype: DType, shape: &Shape) -> Result<()> {
        if (dtype, shape) == (self.dtype, &self.shape) {
            return Ok(());
        }
        let expected = (self.dtype, self.shape.dims());
        let found = (dtype, shape.dims());
        Err(problem(
            name,
            format!(
                "expected {:?} {:?}, found {:?} {:?}",
                expected.0, expected.1, found.0, found.1
            ),
        ))
    }

    /// Moves the average to where the weight is: what was read from a file starts in CPU memory.
    fn follow(&mut self, variable: &Var) -> candle_core::Result<()> {
        if self.values.is_on_cpu() != variable.device().is_cpu() {
            let tensor = self.values.tensor(&self.shape)?;
            self.values = Values::copy(&tensor, variable.device())?;
        }
        Ok(())
    }
}

fn problem(name: &str, problem: impl Into<String>) -> Error {
    Error::Array {
        name: name.to_owned(),
        problem: problem.into(),
    }
}

/// `a ← a + share · (w − a)`.
fn blend<T: Real>(average: &mut [T], weights: &[T], share: f64) {
    average
        .par_chunks_mut(CHUNK)
        .zip(weights.par_chunks(CHUNK))
        .for_each(|(average, weights)| {
            Arch::new().dispatch(Blend {
                average,
                weights,
                share: T::of(share),
            });
        });
}

struct Blend<'a, T> {
    average: &'a mut [T],
    weights: &'a [T],
    share: T,
}

impl<T: Real> WithSimd for Blend<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (average, &weight) in self.average.iter_mut().zip(self.weights) {
            *average += (weight - *average) * self.share;
        }
    }
}

struct Swap<'a, T>(RefCell<&'a mut Vec<T>>);

impl<T: Real> InplaceOp1 for Swap<'_, T> {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (Some((from, to)), Some(weights)) =
            (layout.contiguous_offsets(), T::in_storage(storage))
        else {
            candle_core::bail!("expected contiguous weights of type {:?}", T::DTYPE)
        };
        let mut average = self.0.borrow_mut();
        weights[from..to].swap_with_slice(&mut average);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn parameters(values: &[f32]) -> Parameters {
        let mut parameters = Parameters::new();
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        parameters.insert("w", Role::Weight, &tensor).unwrap();
        let statistic = Tensor::new(&[10.0_f64], &Device::Cpu).unwrap();
        parameters.insert("mean", Role::Buffer, &statistic).unwrap();
        parameters
    }

    fn set(parameters: &Parameters, values: &[f32]) {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        parameters.get("w").unwrap().set(&tensor).unwrap();
    }

    #[test]
    fn the_decay_grows_as_in_timm() {
        let constant = EmaConfig::new(0.9).with_start_after(2);
        assert_eq!(
            [1, 2, 3, 4, 5].map(|t| constant.decay_at(t)),
            [0.0, 0.0, 0.0, 0.9, 0.9]
        );
        let warm_up = EmaWarmUpConfig::new().with_power(0.75);
        let growing = EmaConfig::new(0.999).with_warm_up(Some(warm_up));
        assert_eq!(growing.decay_at(1), 0.0);
        assert!((growing.decay_at(2) - (1.0 - 2.0_f64.powf(-0.75))).abs() < 1e-15);
        assert!((growing.decay_at(10_000) - 0.999).abs() < 1e-4);
        assert_eq!(growing.decay_at(1_000_000), 0.999);
        let bounded = growing.with_warm_up(Some(warm_up.with_min_decay(0.5)));
        assert_eq!((bounded.decay_at(1), bounded.decay_at(2)), (0.0, 0.5));
    }

    #[test]
    fn a_restored_average_continues_to_the_bit() {
        let parameters = parameters(&[1.0, 2.0]);
        let config = EmaConfig::new(0.9).with_warm_up(Some(EmaWarmUpConfig::new()));
        let mut straight = config.build(&parameters).unwrap();
        let mut resumed = config.build(&parameters).unwrap();
        for step in 0..5 {
            set(&parameters, &[step as f32 * 0.3, 7.0 - step as f32]);
            straight.update(&parameters).unwrap();
            resumed.update(&parameters).unwrap();
            let state = resumed.state().unwrap();
            resumed = config.build(&parameters).unwrap();
            resumed.restore(&state).unwrap();
        }
        assert_eq!(resumed.updates(), 5);
        let values = |ema: &Ema| ema.snapshot().unwrap().values("w").unwrap();
        assert_eq!(values(&straight), values(&resumed));
        assert_eq!(straight.snapshot().unwrap().values("mean").unwrap(), [10.0]);
    }

    #[test]
    fn swapping_twice_changes_nothing() {
        let parameters = parameters(&[1.0, 2.0]);
        let mut average = EmaConfig::new(0.5).build(&parameters).unwrap();
        set(&parameters, &[5.0, 6.0]);
        average.swap(&parameters).unwrap();
        let weights = || parameters.get("w").unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(weights(), [1.0, 2.0]);
        assert_eq!(average.snapshot().unwrap().values("w").unwrap(), [5.0, 6.0]);
        average.swap(&parameters).unwrap();
        assert_eq!(weights(), [5.0, 6.0]);
    }

    #[test]
    fn the_average_is_exact_on_any_number_of_threads() {
        let n = CHUNK * 2 + 77;
        let wave = |t: f32| (0..n).map(|i| (i as f32 * t).sin()).collect::<Vec<f32>>();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let parameters = parameters(&wave(0.1));
                let mut average = EmaConfig::new(0.9).build(&parameters).unwrap();
                for step in 1..4 {
                    set(&parameters, &wave(step as f32));
                    average.update(&parameters).unwrap();
                }
                average.snapshot().unwrap().values("w").unwrap()
            })
        };
        assert!(run(1) == run(4));
    }

    #[test]
    fn averages_of_other_weights_are_refused() {
        let mut average = EmaConfig::default()
            .build(&parameters(&[1.0, 2.0]))
            .unwrap();
        let error = average.update(&parameters(&[1.0])).unwrap_err();
        let expected = "array `w`: expected F32 [2], found F32 [1]";
        assert_eq!(error.to_string(), expected);
        let mut state = average.state().unwrap();
        state.remove("w.average");
        let error = average.restore(&state).unwrap_err();
        assert_eq!(error.to_string(), "array `w.average`: missing");
        let other = EmaConfig::default().build(&Parameters::new()).unwrap();
        assert!(average.restore(&other.state().unwrap()).is_err());
        let mut none = other;
        assert!(none.restore(&average.state().unwrap()).is_err());
        assert!(none.update(&parameters(&[1.0])).is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let warm_up = EmaWarmUpConfig::new();
        for config in [
            EmaConfig::new(1.0),
            EmaConfig::new(f64::NAN),
            EmaConfig::new(0.9).with_warm_up(Some(warm_up.with_gamma(0.0))),
            EmaConfig::new(0.9).with_warm_up(Some(warm_up.with_power(-1.0))),
            EmaConfig::new(0.9).with_warm_up(Some(warm_up.with_min_decay(1.0))),
        ] {
            assert!(config.validate().is_err(), "{config:?}");
            assert!(config.build(&Parameters::new()).is_err());
        }
    }
}

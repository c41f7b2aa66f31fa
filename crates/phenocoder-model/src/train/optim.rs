//! Optimizers.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::check_range;
use crate::kernel::with_slice;
use crate::{ConfigError, Error, Gradients, Parameters, Result};

/// Changes weights by their gradients, and can be saved and resumed.
pub trait Optimizer: Send {
    /// Changes every weight that has a gradient.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when a restored state or a gradient has not the shape of its weight; [`Error::Tensor`] when the device
    /// fails.
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()>;

    /// Everything that the next step depends on, as named tensors in CPU memory.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device cannot be read.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Continues from a saved state.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when the state is not one of this optimizer.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

/// The constants of [`Adam`]; the defaults are Keras'.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdamConfig {
    /// Decay of the mean of the gradients (default 0.9).
    pub beta_1: f64,
    /// Decay of the mean of their squares (default 0.999).
    pub beta_2: f64,
    /// Added to the root of the mean square (default 1e-7).
    pub epsilon: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        }
    }
}

impl AdamConfig {
    /// Keras' constants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the decay of the mean of the gradients.
    #[must_use]
    pub fn with_beta_1(mut self, beta_1: f64) -> Self {
        self.beta_1 = beta_1;
        self
    }

    /// Sets the decay of the mean of their squares.
    #[must_use]
    pub fn with_beta_2(mut self, beta_2: f64) -> Self {
        self.beta_2 = beta_2;
        self
    }

    /// Sets what is added to the root of the mean square.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Checks every constant.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the constant.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [("adam.beta_1", self.beta_1), ("adam.beta_2", self.beta_2)] {
            let valid = (0.0..1.0).contains(&value);
            check_range(setting, value, valid, "from 0 up to but not including 1")?;
        }
        let valid = self.epsilon > 0.0 && self.epsilon.is_finite();
        check_range(
            "adam.epsilon",
            self.epsilon,
            valid,
            "a finite number above 0",
        )
    }
}

/// Adam (Kingma and Ba 2015, arXiv:1412.6980) in Keras' form.
///
/// `m ← m + (1 − β₁)(g − m)`, `v ← v + (1 − β₂)(g² − v)`,
/// `w ← w − lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)`.
/// The paper's Algorithm 1 has ε beside the corrected root instead; Keras' form is that of the note at its end.
#[derive(Debug, Default)]
pub struct Adam {
    config: AdamConfig,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug)]
struct Moments {
    first: Var,
    second: Var,
}

const STEPS: &str = "steps";

impl Adam {
    /// An optimizer that has done no step.
    #[must_use]
    pub fn new(config: AdamConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// The number of steps done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl Optimizer for Adam {
    fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let AdamConfig {
            beta_1,
            beta_2,
            epsilon,
        } = self.config;
        let t = self.steps as f64;
        let rate = learning_rate * (1.0 - beta_2.powf(t)).sqrt() / (1.0 - beta_1.powf(t));
        let update = Update {
            rate,
            keep_1: 1.0 - beta_1,
            keep_2: 1.0 - beta_2,
            epsilon,
        };
        for (name, variable) in parameters.weights() {
            let Some(gradient) = gradients.get(name) else {
                continue;
            };
            if !self.moments.contains_key(name) {
                let zeros = || Var::zeros(variable.shape(), DType::F32, variable.device());
                let moments = Moments {
                    first: zeros()?,
                    second: zeros()?,
                };
                self.moments.insert(name.to_owned(), moments);
            }
            if let Some(moments) = self.moments.get(name) {
                for (what, shape) in [
                    ("gradient", gradient.dims()),
                    ("first moment", moments.first.dims()),
                    ("second moment", moments.second.dims()),
                ] {
                    if shape != variable.dims() {
                        let expected = variable.dims();
                        return Err(Error::Array {
                            name: name.to_owned(),
                            problem: format!("expected a {what} {expected:?}, found {shape:?}"),
                        });
                    }
                }
                update.apply(variable, gradient, moments)?;
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        // Two halves, for an f32 counts whole numbers only up to 2^24.
        let halves = [(self.steps >> 20) as f32, (self.steps & 0xf_ffff) as f32];
        state.insert(STEPS.to_owned(), Tensor::new(&halves, &Device::Cpu)?);
        for (name, moments) in &self.moments {
            let copy = |variable: &Var| {
                let detached = variable.as_detached_tensor();
                detached.to_device(&Device::Cpu)?.copy()
            };
            state.insert(format!("{name}.m"), copy(&moments.first)?);
            state.insert(format!("{name}.v"), copy(&moments.second)?);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let problem = |name: &str, problem: &str| Error::Array {
            name: name.to_owned(),
            problem: problem.to_owned(),
        };
        let steps = state.get(STEPS).ok_or_else(|| problem(STEPS, "missing"))?;
        let [high, low] = steps.to_vec1::<f32>()?[..] else {
            return Err(problem(STEPS, "expected two values"));
        };
        let mut moments = BTreeMap::new();
        for (key, first) in state {
            let Some(name) = key.strip_suffix(".m") else {
                continue;
            };
            let other = format!("{name}.v");
            let second = state
                .get(&other)
                .ok_or_else(|| problem(&other, "missing"))?;
            if first.dims() != second.dims() {
                return Err(problem(
                    &other,
                    "its shape differs from that of the first moment",
                ));
            }
            let moment = Moments {
                first: Var::from_tensor(first)?,
                second: Var::from_tensor(second)?,
            };
            moments.insert(name.to_owned(), moment);
        }
        self.steps = ((high as u64) << 20) + low as u64;
        self.moments = moments;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Update {
    rate: f64,
    keep_1: f64,
    keep_2: f64,
    epsilon: f64,
}

/// Values per task.
const CHUNK: usize = 1 << 14;

impl Update {
    fn apply(&self, variable: &Var, gradient: &Tensor, moments: &Moments) -> Result<()> {
        if variable.device().is_cpu() {
            return self.apply_slices(variable, gradient, moments);
        }
        let device = variable.device();
        let m = moments.first.to_device(device)?;
        let v = moments.second.to_device(device)?;
        let m = (&m + ((gradient - &m)? * self.keep_1)?)?.detach();
        let v = (&v + ((gradient.sqr()? - &v)? * self.keep_2)?)?.detach();
        let change = ((&m * self.rate)? / (v.sqrt()? + self.epsilon)?)?;
        moments.first.set(&m.to_device(moments.first.device())?)?;
        moments.second.set(&v.to_device(moments.second.device())?)?;
        variable.set(&(variable.as_detached_tensor() - change)?)?;
        Ok(())
    }

    fn apply_slices(&self, variable: &Var, gradient: &Tensor, moments: &Moments) -> Result<()> {
        let copy = |tensor: &Tensor| with_slice(tensor, <[f32]>::to_vec);
        let (mut w, mut m, mut v) = (
            copy(variable)?,
            copy(&moments.first)?,
            copy(&moments.second)?,
        );
        with_slice(gradient, |g| {
            w.par_chunks_mut(CHUNK)
                .zip(m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK)))
                .zip(g.par_chunks(CHUNK))
                .for_each(|((w, (m, v)), g)| {
                    Arch::new().dispatch(Fused {
                        update: self,
                        w,
                        m,
                        v,
                        g,
                    });
                });
        })?;
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, variable.shape(), &Device::Cpu);
        variable.set(&tensor(w)?)?;
        moments.first.set(&tensor(m)?)?;
        moments.second.set(&tensor(v)?)?;
        Ok(())
    }
}

struct Fused<'a> {
    update: &'a Update,
    w: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    g: &'a [f32],
}

impl WithSimd for Fused<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (rate, epsilon) = (self.update.rate as f32, self.update.epsilon as f32);
        let (keep_1, keep_2) = (self.update.keep_1 as f32, self.update.keep_2 as f32);
        let n = self.w.len().min(self.g.len());
        let (w, g) = (&mut self.w[..n], &self.g[..n]);
        let (m, v) = (&mut self.m[..n], &mut self.v[..n]);
        for i in 0..n {
            m[i] += (g[i] - m[i]) * keep_1;
            v[i] += (g[i] * g[i] - v[i]) * keep_2;
            w[i] -= rate * m[i] / (v[i].sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn one(value: f32) -> Parameters {
        let mut parameters = Parameters::new();
        let tensor = Tensor::new(&[value], &Device::Cpu).unwrap();
        parameters.insert("w", Role::Weight, &tensor).unwrap();
        parameters
    }

    fn run(adam: &mut Adam, parameters: &Parameters, gradients: &[f32]) -> f32 {
        for &g in gradients {
            let gradient = Tensor::new(&[g], &Device::Cpu).unwrap();
            let gradients = Gradients::from([("w".to_owned(), gradient)]);
            adam.step(parameters, &gradients, 0.1).unwrap();
        }
        parameters.get("w").unwrap().to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn steps_follow_the_formula() {
        let (mut m, mut v, mut w) = (0.0_f64, 0.0_f64, 1.0_f64);
        let gradients = [0.5_f32, -2.0, 3.0, 1e-4];
        for (t, &g) in gradients.iter().enumerate() {
            let (g, t) = (f64::from(g), t as i32 + 1);
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let rate = 0.1 * (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
            w -= rate * m / (v.sqrt() + 1e-7);
        }
        let found = run(&mut Adam::new(AdamConfig::default()), &one(1.0), &gradients);
        assert!((f64::from(found) - w).abs() < 1e-6, "{found} {w}");
    }

    #[test]
    fn a_restored_optimizer_continues_to_the_bit() {
        let straight = run(&mut Adam::default(), &one(1.0), &[1.0, 2.0, -3.0, 4.0]);
        let parameters = one(1.0);
        let mut first = Adam::default();
        run(&mut first, &parameters, &[1.0, 2.0]);
        let mut second = Adam::default();
        second.restore(&first.state().unwrap()).unwrap();
        assert_eq!(second.steps(), 2);
        let resumed = run(&mut second, &parameters, &[-3.0, 4.0]);
        assert_eq!(straight.to_bits(), resumed.to_bits());
        assert!(second.restore(&BTreeMap::new()).is_err());
    }

    #[test]
    fn a_state_of_other_weights_is_refused() {
        let mut adam = Adam::default();
        run(&mut adam, &one(1.0), &[1.0]);
        let two = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu).unwrap();
        let mut parameters = Parameters::new();
        parameters.insert("w", Role::Weight, &two).unwrap();
        let gradients = Gradients::from([("w".to_owned(), two)]);
        let error = adam.step(&parameters, &gradients, 0.1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "array `w`: expected a first moment [2], found [1]"
        );
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        for config in [
            AdamConfig::new().with_beta_1(1.0),
            AdamConfig::new().with_beta_2(-0.1),
            AdamConfig::new().with_epsilon(0.0),
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}

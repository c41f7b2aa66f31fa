//! Every kernel and layer against naive loops in `f64`: values, gradients, and candle's operations behind the same function.
//!
//! A [`Check`] holds a kernel and, written anew as plain loops, its values and its gradients, each with the sum of the
//! absolute values of the terms that it is made of.
//! Single precision must come as close to that as rounding allows, double precision (which takes the way of the GPUs)
//! too, and the gradients of the loops must equal their central differences.

mod conv;
mod layer;
mod loss;
mod norm;
mod pool;
mod select;

use candle_core::{DType, Device, Tensor, Var};
use phenocoder_core::Seed;
use phenocoder_model::Result;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// A sum of products in `f64`, with what its rounding in another precision is measured by.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    /// The sum of the absolute values of the terms.
    size: f64,
    /// The number of terms.
    terms: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
        self.terms += 1.0;
    }

    /// A value that is computed in a few steps, the largest of them `size`.
    fn of(value: f64, size: f64) -> Self {
        Self {
            value,
            size,
            terms: 4.0,
        }
    }

    /// The error that a sum in steps of `epsilon` may have: rounding errors add up like a random walk, so their sum grows
    /// with the root of the number of terms.
    fn bound(&self, epsilon: f64) -> f64 {
        epsilon * self.size * (2.0 + self.terms.sqrt()) + f64::from(f32::MIN_POSITIVE)
    }
}

fn sums(n: usize) -> Vec<Sum> {
    vec![Sum::default(); n]
}

/// An input of a kernel.
#[derive(Debug, Clone)]
struct Input {
    shape: Vec<usize>,
    values: Vec<f32>,
    /// Whether it has a gradient.
    trained: bool,
}

impl Input {
    fn new(shape: &[usize], values: Vec<f32>) -> Self {
        Self {
            shape: shape.to_vec(),
            values,
            trained: true,
        }
    }

    /// Normal numbers.
    fn normal(shape: &[usize], name: &str, seed: u64) -> Self {
        Self::new(shape, normal(shape.iter().product(), name, seed))
    }

    fn untrained(mut self) -> Self {
        self.trained = false;
        self
    }
}

fn normal(n: usize, name: &str, seed: u64) -> Vec<f32> {
    let mut stream = Seed::new(seed).stream(name, 0);
    (0..n).map(|_| stream.normal() as f32).collect()
}

type Kernel<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + 'a>;
type Forward<'a> = Box<dyn Fn(&[Vec<f64>]) -> Vec<Sum> + 'a>;
type Backward<'a> = Box<dyn Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<Sum>> + 'a>;

/// A kernel and what it must compute.
struct Check<'a> {
    inputs: Vec<Input>,
    /// The kernel.
    kernel: Kernel<'a>,
    /// Its values before the activation.
    forward: Forward<'a>,
    /// For every input the gradient of `Σ weights · values`, before the activation.
    backward: Backward<'a>,
    /// Whether a ReLU follows.
    relu: bool,
    /// What the values of a tensor of 2-norm 1 may be off in double precision.
    double: f64,
}

/// Half the distance of two neighbors in single precision, relative.
const SINGLE: f64 = 1.0 / (1 << 24) as f64;
const DOUBLE: f64 = 1e-14;

impl Check<'_> {
    fn run(&self, seed: u64) -> Result<(), TestCaseError> {
        let inputs: Vec<Vec<f64>> = self
            .inputs
            .iter()
            .map(|input| input.values.iter().map(|&v| f64::from(v)).collect())
            .collect();
        let sums = (self.forward)(&inputs);
        let weights = self.weights(&sums, seed);
        let expected: Vec<Sum> = sums.iter().map(|&sum| self.activate(sum)).collect();
        // The ReLU lets through the gradient of what is positive.
        let masked: Vec<f64> = sums
            .iter()
            .zip(&weights)
            .map(|(sum, &w)| {
                if self.relu && sum.value <= 0.0 {
                    0.0
                } else {
                    w
                }
            })
            .collect();
        let gradients = (self.backward)(&inputs, &masked);
        for (dtype, epsilon) in [(DType::F32, SINGLE), (DType::F64, self.double)] {
            self.compare(dtype, epsilon, &weights, &expected, &gradients)?;
        }
        self.differences(&inputs, &weights, &gradients, seed)
    }

    fn activate(&self, sum: Sum) -> Sum {
        let value = if self.relu {
            sum.value.max(0.0)
        } else {
            sum.value
        };
        Sum { value, ..sum }
    }

    /// Weights of the values in a scalar; 0 where the sign of a sum, and so the ReLU's gradient, is a matter of rounding.
    fn weights(&self, sums: &[Sum], seed: u64) -> Vec<f64> {
        let drawn = normal(sums.len(), "upstream", seed);
        let weight = |(sum, w): (&Sum, f32)| match self.relu && sum.value.abs() < 1e-3 * sum.size {
            true => 0.0,
            false => f64::from(w),
        };
        sums.iter().zip(drawn).map(weight).collect()
    }

    fn compare(
        &self,
        dtype: DType,
        epsilon: f64,
        weights: &[f64],
        expected: &[Sum],
        gradients: &[Vec<Sum>],
    ) -> Result<(), TestCaseError> {
        let mut variables = Vec::new();
        let mut tensors = Vec::new();
        for input in &self.inputs {
            let tensor = Tensor::from_slice(&input.values, input.shape.as_slice(), &Device::Cpu)
                .and_then(|t| t.to_dtype(dtype))
                .unwrap();
            let variable = Var::from_tensor(&tensor).unwrap();
            tensors.push(match input.trained {
                true => variable.as_tensor().clone(),
                false => tensor,
            });
            variables.push(variable);
        }
        let y = (self.kernel)(&tensors).unwrap();
        close(&format!("{dtype:?} values"), &y, expected, epsilon)?;
        let upstream = Tensor::from_slice(weights, y.shape(), &Device::Cpu)
            .and_then(|t| t.to_dtype(dtype))
            .unwrap();
        let scalar = (y * upstream).and_then(|t| t.sum_all()).unwrap();
        let store = scalar.backward().unwrap();
        // candle has no gradients of empty batches.
        let may_miss = dtype == DType::F64 && weights.is_empty();
        for (i, (input, expected)) in self.inputs.iter().zip(gradients).enumerate() {
            if !input.trained {
                continue;
            }
            let name = format!("{dtype:?} gradient of input {i}");
            match store.get(&variables[i]) {
                Some(gradient) => close(&name, gradient, expected, epsilon)?,
                None => prop_assert!(may_miss, "{name} is missing"),
            }
        }
        Ok(())
    }

    /// The gradients of the loops against their own central differences, at a few places of every input.
    fn differences(
        &self,
        inputs: &[Vec<f64>],
        weights: &[f64],
        gradients: &[Vec<Sum>],
        seed: u64,
    ) -> Result<(), TestCaseError> {
        const STEP: f64 = 1e-5;
        let mut places = Seed::new(seed).stream("places", 0);
        for (i, input) in self.inputs.iter().enumerate() {
            if !input.trained || input.values.is_empty() {
                continue;
            }
            for _ in 0..2 {
                let place = places.below(input.values.len());
                let at = |shift: f64| -> Sum {
                    let mut moved = inputs.to_vec();
                    moved[i][place] += shift;
                    let mut scalar = Sum::default();
                    for (sum, w) in (self.forward)(&moved).iter().zip(weights) {
                        scalar.add(w * self.activate(*sum).value);
                    }
                    scalar
                };
                let (right, left) = (at(STEP), at(-STEP));
                let difference = (right.value - left.value) / (2.0 * STEP);
                let expected = gradients[i][place];
                // Rounding of the scalar, and the third derivative.
                let bound = 1e-15 * right.size / STEP * 10.0 + 1e-6 * expected.size + 1e-9;
                prop_assert!(
                    (difference - expected.value).abs() <= bound,
                    "loops, input {i} at {place}: difference {difference}, gradient {expected:?}"
                );
            }
        }
        Ok(())
    }
}

fn close(what: &str, found: &Tensor, expected: &[Sum], epsilon: f64) -> Result<(), TestCaseError> {
    let found = found
        .to_dtype(DType::F64)
        .and_then(|t| t.flatten_all())
        .and_then(|t| t.to_vec1::<f64>())
        .unwrap();
    prop_assert_eq!(found.len(), expected.len(), "{}", what);
    for (i, (&found, sum)) in found.iter().zip(expected).enumerate() {
        let error = (found - sum.value).abs();
        prop_assert!(
            error <= sum.bound(epsilon),
            "{what} at {i}: found {found}, expected {sum:?}, error {error:e}"
        );
    }
    Ok(())
}

/// Cases of a test, times `PHENOCODER_CASES`; failures are reported, not written into the repository.
fn cases(n: u32) -> ProptestConfig {
    let factor = std::env::var("PHENOCODER_CASES").map_or(1, |n| n.parse().unwrap());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(n * factor)
    }
}

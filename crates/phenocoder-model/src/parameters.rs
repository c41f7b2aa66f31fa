//! The named tensors of a model.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::{Error, ParameterGroup, Result};

/// Gradients by the names of their parameters.
pub type Gradients = BTreeMap<String, Tensor>;

/// What a named tensor of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A weight that an optimizer changes.
    Weight,
    /// A running statistic that the model changes itself: saved and restored, never optimized.
    Buffer,
}

#[derive(Debug, Clone)]
struct Parameter {
    variable: Var,
    role: Role,
}

/// The named tensors of a model, in the order of their names.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::{Parameters, Role};
///
/// let mut parameters = Parameters::new();
/// parameters.insert("dense.bias", Role::Weight, &Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu)?)?;
/// assert_eq!(parameters.count(), 3);
/// assert_eq!(parameters.names().collect::<Vec<_>>(), ["dense.bias"]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, Parameter>);

impl Parameters {
    /// No tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor under a new name and returns its variable.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when the name is taken; [`Error::Tensor`] when the values cannot be copied.
    pub fn insert(&mut self, name: &str, role: Role, value: &Tensor) -> Result<Var> {
        if self.0.contains_key(name) {
            return Err(array(name, "there is already one of this name"));
        }
        let variable = Var::from_tensor(value)?;
        let parameter = Parameter {
            variable: variable.clone(),
            role,
        };
        self.0.insert(name.to_owned(), parameter);
        Ok(variable)
    }

    /// The variable of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.0.get(name).map(|p| &p.variable)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All variables with their names, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, p)| (name.as_str(), &p.variable))
    }

    /// The variables that an optimizer changes, sorted by name.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.0
            .iter()
            .filter(|(_, p)| p.role == Role::Weight)
            .map(|(name, p)| (name.as_str(), &p.variable))
    }

    /// The number of trainable values.
    #[must_use]
    pub fn count(&self) -> usize {
        self.weights().map(|(_, v)| v.elem_count()).sum()
    }

    /// Picks the gradients of the weights out of candle's store.
    ///
    /// # Errors
    ///
    /// [`Error::NoGradient`] when the loss does not depend on a weight.
    pub fn gradients(&self, store: &GradStore) -> Result<Gradients> {
        self.weights()
            .map(|(name, variable)| match store.get(variable) {
                Some(gradient) => Ok((name.to_owned(), gradient.clone())),
                None => Err(Error::NoGradient {
                    name: name.to_owned(),
                }),
            })
            .collect()
    }

    /// Picks the gradients of the weights of a group out of candle's store.
    ///
    /// # Errors
    ///
    /// [`Error::NoGradient`] when the loss does not depend on one of them.
    pub fn group_gradients(&self, group: &ParameterGroup, store: &GradStore) -> Result<Gradients> {
        let pick = |name: &String| match self.get(name).and_then(|weight| store.get(weight)) {
            Some(gradient) => Ok((name.clone(), gradient.clone())),
            None => Err(Error::NoGradient { name: name.clone() }),
        };
        group.weights.iter().map(pick).collect()
    }

    /// Copies all values into CPU memory.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a device cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let copy = |(name, variable): (&str, &Var)| {
            // `to_device` shares memory on the CPU, `copy` never does.
            let tensor = variable
                .as_detached_tensor()
                .to_device(&Device::Cpu)?
                .copy()?;
            Ok((name.to_owned(), tensor))
        };
        Ok(Snapshot(self.iter().map(copy).collect::<Result<_>>()?))
    }

    /// Sets every value from a snapshot.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when a tensor is missing, too many, or has another shape; then nothing is changed.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.check(snapshot)?;
        for (name, variable) in self.iter() {
            if let Some(value) = snapshot.0.get(name) {
                variable.set(&value.to_device(variable.device())?.copy()?)?;
            }
        }
        Ok(())
    }

    /// Checks that a snapshot holds the tensors of this model.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when a tensor is missing, too many, or has another shape or number type.
    pub fn check(&self, snapshot: &Snapshot) -> Result<()> {
        if let Some(name) = snapshot.0.keys().find(|name| !self.0.contains_key(*name)) {
            return Err(array(name, "the model has none of this name"));
        }
        for (name, variable) in self.iter() {
            let Some(value) = snapshot.0.get(name) else {
                return Err(array(name, "missing"));
            };
            if value.dims() != variable.dims() || value.dtype() != variable.dtype() {
                let problem = format!(
                    "expected {:?} {:?}, found {:?} {:?}",
                    variable.dtype(),
                    variable.dims(),
                    value.dtype(),
                    value.dims()
                );
                return Err(array(name, problem));
            }
        }
        Ok(())
    }
}

/// A copy of all values of a model in CPU memory.
#[derive(Debug, Clone, Default)]
pub struct Snapshot(pub(crate) BTreeMap<String, Tensor>);

impl Snapshot {
    /// The tensors by name.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.0
    }

    /// Adds or replaces the values of one name.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the number of values does not fit the shape.
    pub fn set(&mut self, name: &str, values: Vec<f32>, shape: &[usize]) -> Result<()> {
        let tensor = Tensor::from_vec(values, Shape::from(shape), &Device::Cpu)?;
        self.0.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// The first name whose values are not all finite.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when values cannot be read.
    pub fn first_non_finite(&self) -> Result<Option<&str>> {
        for (name, tensor) in &self.0 {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            if !values.iter().all(|v| v.is_finite()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The values of one name.
    ///
    /// # Errors
    ///
    /// [`Error::Array`] when there is none of this name.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.0.get(name).ok_or_else(|| array(name, "missing"))?;
        let flat = tensor.to_dtype(DType::F32)?.flatten_all()?;
        Ok(flat.to_vec1()?)
    }
}

fn array(name: &str, problem: impl Into<String>) -> Error {
    Error::Array {
        name: name.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::new();
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        parameters
            .insert("b", Role::Weight, &tensor(&[1.0, 2.0]))
            .unwrap();
        parameters
            .insert("a", Role::Buffer, &tensor(&[3.0]))
            .unwrap();
        parameters
    }

    #[test]
    fn a_snapshot_does_not_change_with_the_model() {
        let parameters = parameters();
        let before = parameters.snapshot().unwrap();
        let b = parameters.get("b").unwrap();
        b.set(&Tensor::new(&[9.0_f32, 9.0], &Device::Cpu).unwrap())
            .unwrap();
        assert_eq!(before.values("b").unwrap(), [1.0, 2.0]);
        parameters.restore(&before).unwrap();
        assert_eq!(b.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        b.set(&Tensor::new(&[7.0_f32, 7.0], &Device::Cpu).unwrap())
            .unwrap();
        assert_eq!(before.values("b").unwrap(), [1.0, 2.0], "no shared memory");
    }

    #[test]
    fn buffers_are_saved_but_not_trained() {
        let parameters = parameters();
        assert_eq!(parameters.count(), 2);
        assert_eq!(parameters.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            parameters.weights().map(|(n, _)| n).collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn a_snapshot_that_does_not_fit_changes_nothing() {
        let parameters = parameters();
        let mut wrong = parameters.snapshot().unwrap();
        wrong.set("a", vec![5.0], &[1]).unwrap();
        wrong.set("b", vec![5.0], &[1]).unwrap();
        let error = parameters.restore(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "array `b`: expected F32 [2], found F32 [1]"
        );
        assert_eq!(parameters.snapshot().unwrap().values("a").unwrap(), [3.0]);
        wrong.0.remove("b");
        assert!(parameters.restore(&wrong).is_err());
    }
}

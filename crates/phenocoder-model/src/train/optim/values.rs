//! Arrays beside the weights: moments and averages.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor, Var, WithDType};

use crate::{Error, Result};

/// Values per task: the same for any number of threads.
pub(in crate::train) const CHUNK: usize = 1 << 14;

/// The number types that weights can have.
///
/// Networks are `f32`; `f64` serves checks of gradients and of the rules themselves.
pub(in crate::train) trait Real: WithDType {
    fn root(self) -> Self;
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn in_storage(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
    fn in_values(values: &mut Values) -> Option<&mut Vec<Self>>;
}

macro_rules! real {
    ($type:ty, $variant:ident) => {
        impl Real for $type {
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn in_storage(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
                match storage {
                    CpuStorage::$variant(values) => Some(values),
                    _ => None,
                }
            }

            fn in_values(values: &mut Values) -> Option<&mut Vec<Self>> {
                match values {
                    Values::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}

real!(f32, F32);
real!(f64, F64);

/// An array of the size of a weight, where the weight is.
#[derive(Debug, Clone)]
pub(in crate::train) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Device(Tensor),
}

impl Values {
    /// An array for this weight, filled with one number.
    pub(in crate::train) fn filled(weight: &Var, value: f64) -> candle_core::Result<Self> {
        let n = weight.elem_count();
        Ok(match (weight.device(), weight.dtype()) {
            (Device::Cpu, DType::F64) => Self::F64(vec![value; n]),
            (Device::Cpu, _) => Self::F32(vec![value as f32; n]),
            (device, dtype) => {
                let tensor = Tensor::full(value as f32, weight.shape(), device)?;
                Self::Device(tensor.to_dtype(dtype)?)
            }
        })
    }

    /// A copy of a tensor on the device of a weight.
    pub(in crate::train) fn copy(tensor: &Tensor, device: &Device) -> candle_core::Result<Self> {
        Ok(match (device, tensor.dtype()) {
            (Device::Cpu, DType::F64) => {
                Self::F64(tensor.to_device(device)?.flatten_all()?.to_vec1()?)
            }
            (Device::Cpu, _) => Self::F32(tensor.to_device(device)?.flatten_all()?.to_vec1()?),
            _ => Self::Device(tensor.to_device(device)?.copy()?.detach()),
        })
    }

    /// A copy in CPU memory.
    pub(in crate::train) fn tensor(&self, shape: &Shape) -> candle_core::Result<Tensor> {
        match self {
            Self::F32(values) => Tensor::from_slice(values, shape, &Device::Cpu),
            Self::F64(values) => Tensor::from_slice(values, shape, &Device::Cpu),
            Self::Device(tensor) => tensor.to_device(&Device::Cpu)?.copy(),
        }
    }

    /// Where the array is.
    pub(in crate::train) fn is_on_cpu(&self) -> bool {
        !matches!(self, Self::Device(_))
    }
}

/// Calls `f` with the values of a tensor in CPU memory, without a copy where it is contiguous.
pub(in crate::train) fn with_values<T: Real, R>(
    tensor: &Tensor,
    f: impl FnOnce(&[T]) -> R,
) -> candle_core::Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((from, to))) => Ok(f(&storage.as_slice::<T>()?[from..to])),
        _ => candle_core::bail!("expected a tensor in CPU memory"),
    }
}

/// The sum of `f(0) … f(n − 1)` in eight lanes: one order of additions, whatever the vector width.
#[inline(always)]
pub(in crate::train) fn sum_in_order(n: usize, f: impl Fn(usize) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    for block in (0..n / 8 * 8).step_by(8) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(block + lane);
        }
    }
    for i in n / 8 * 8..n {
        lanes[i % 8] += f(i);
    }
    lanes.iter().sum()
}

/// Refuses weights that are neither `f32` nor `f64`.
pub(in crate::train) fn check_dtype(name: &str, dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F64 => Ok(()),
        _ => Err(Error::Array {
            name: name.to_owned(),
            problem: format!("expected F32 or F64 values, found {dtype:?}"),
        }),
    }
}

const STEPS: &str = "steps";

/// Steps below this are one half of the stored count: an `f32` counts whole numbers only up to 2^24.
const HALF: u64 = 1 << 20;

/// Adds a count of steps to a state.
pub(in crate::train) fn with_steps(
    steps: u64,
    mut state: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let halves = [(steps / HALF) as f32, (steps % HALF) as f32];
    state.insert(STEPS.to_owned(), Tensor::new(&halves, &Device::Cpu)?);
    Ok(state)
}

/// The count of steps and the rest of a state.
pub(in crate::train) fn split_steps(
    state: &BTreeMap<String, Tensor>,
) -> Result<(u64, BTreeMap<&str, &Tensor>)> {
    let problem = |problem: &str| Error::Array {
        name: STEPS.to_owned(),
        problem: problem.to_owned(),
    };
    let steps = state.get(STEPS).ok_or_else(|| problem("missing"))?;
    let wrong = || problem("expected two whole numbers of type F32");
    if steps.dims() != [2] || steps.dtype() != DType::F32 {
        return Err(wrong());
    }
    let halves = steps.to_vec1::<f32>()?;
    if halves.iter().any(|half| *half < 0.0 || half.fract() != 0.0) {
        return Err(wrong());
    }
    let rest = state.iter().filter(|(name, _)| *name != STEPS);
    let rest = rest.map(|(name, tensor)| (name.as_str(), tensor));
    Ok((halves[0] as u64 * HALF + halves[1] as u64, rest.collect()))
}

//! Where tensors live: CPU, CUDA or Metal.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The device to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The first CUDA device, else the first Metal device, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
    /// The Metal device of this number.
    Metal(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    /// Reads `auto`, `cpu`, `cuda`, `cuda:1`, `metal`, `metal:0`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Device {
            device: format!("`{text}`"),
            reason: "expected auto, cpu, cuda, cuda:N, metal or metal:N".to_owned(),
        };
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, number.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        match name {
            "auto" if text == name => Ok(Self::Auto),
            "cpu" if text == name => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(number)),
            "metal" => Ok(Self::Metal(number)),
            _ => Err(unknown()),
        }
    }
}

/// A device with the reason why it was chosen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SelectedDevice {
    /// The device.
    pub device: Device,
    /// Why this one, in words.
    pub reason: String,
}

/// Opens the device asked for.
///
/// # Examples
///
/// ```
/// use phenocoder_model::{DeviceChoice, select_device};
///
/// let selected = select_device(DeviceChoice::Cpu)?;
/// assert!(selected.device.is_cpu());
/// assert_eq!(selected.reason, "the CPU was asked for");
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Device`] with the reason when a particular device was asked for and cannot be opened.
/// [`DeviceChoice::Auto`] never fails.
pub fn select_device(choice: DeviceChoice) -> Result<SelectedDevice> {
    let selected = |device, reason: &str| {
        Ok(SelectedDevice {
            device,
            reason: reason.to_owned(),
        })
    };
    let refused = |reason| Error::Device {
        device: choice.to_string(),
        reason,
    };
    match choice {
        DeviceChoice::Cpu => selected(Device::Cpu, "the CPU was asked for"),
        DeviceChoice::Cuda(number) => {
            let device = cuda(number).map_err(refused)?;
            selected(device, "this CUDA device was asked for")
        }
        DeviceChoice::Metal(number) => {
            let device = metal(number).map_err(refused)?;
            selected(device, "this Metal device was asked for")
        }
        DeviceChoice::Auto => match (cuda(0), metal(0)) {
            (Ok(device), _) => selected(device, "a CUDA device was found"),
            (Err(_), Ok(device)) => selected(device, "a Metal device was found"),
            (Err(cuda), Err(metal)) => {
                selected(Device::Cpu, &format!("CUDA: {cuda}; Metal: {metal}"))
            }
        },
    }
}

fn cuda(number: usize) -> Result<Device, String> {
    if !candle_core::utils::cuda_is_available() {
        return Err("this program was built without the feature `cuda`".to_owned());
    }
    Device::new_cuda(number).map_err(|e| e.to_string())
}

fn metal(number: usize) -> Result<Device, String> {
    if !candle_core::utils::metal_is_available() {
        return Err("this program was built without the feature `metal`".to_owned());
    }
    Device::new_metal(number).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nonsense_is_refused() {
        for choice in [
            DeviceChoice::Auto,
            DeviceChoice::Cpu,
            DeviceChoice::Cuda(3),
            DeviceChoice::Metal(0),
        ] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        for text in ["gpu", "cuda:x", "cpu:1", "auto:0", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert!(error.to_string().contains("expected auto"), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_device_is_explained() {
        let error = select_device(DeviceChoice::Cuda(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "device cuda:0 is not available: this program was built without the feature `cuda`"
        );
        let auto = select_device(DeviceChoice::Auto).unwrap();
        assert!(auto.reason.contains("feature `cuda`"), "{}", auto.reason);
    }
}

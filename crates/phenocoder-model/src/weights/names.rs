//! The names that other programs give to the same weights.
//!
//! The layouts agree: kernels are HWIO, those of transposed convolutions height, width, out, in, dense kernels input by
//! output. Loading is a plain copy.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::models::cvae::CvaeConfig;
use crate::{ConfigError, Error, Parameters, Result, Snapshot};

/// Our names to those of another program.
pub type NameTable = BTreeMap<String, String>;

/// The names of the original's Keras layers: `encoder/conv_8/kernel`, `decoder/output/bias`, ….
///
/// # Examples
///
/// ```
/// use phenocoder_core::PatchShape;
/// use phenocoder_model::CvaeConfig;
/// use phenocoder_model::weights::names::keras_names;
///
/// let config = CvaeConfig::new(PatchShape::new(32, 32, 4), 16).with_conv_layers([8, 16]);
/// let names = keras_names(&config)?;
/// assert_eq!(names["encoder.conv.1.kernel"], "encoder/conv_16/kernel");
/// assert_eq!(names["decoder.conv.0.bias"], "decoder/conv_16/bias");
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::EqualWidths`] when two convolutions have the same width: the original cannot name them apart.
pub fn keras_names(config: &CvaeConfig) -> Result<NameTable> {
    let widths = &config.conv_layers;
    for (i, width) in widths.iter().enumerate() {
        if widths[..i].contains(width) {
            return Err(ConfigError::EqualWidths { width: *width }.into());
        }
    }
    let mut layers = Vec::new();
    for (i, width) in widths.iter().enumerate() {
        layers.push((format!("encoder.conv.{i}"), format!("encoder/conv_{width}")));
    }
    for (i, width) in widths.iter().rev().enumerate() {
        layers.push((format!("decoder.conv.{i}"), format!("decoder/conv_{width}")));
    }
    for (part, layer) in [
        ("encoder", "dense"),
        ("encoder", "z_mean"),
        ("encoder", "z_log_var"),
        ("decoder", "dense"),
        ("decoder", "output"),
    ] {
        layers.push((format!("{part}.{layer}"), format!("{part}/{layer}")));
    }
    let mut names = NameTable::new();
    for (ours, theirs) in layers {
        for array in ["kernel", "bias"] {
            names.insert(format!("{ours}.{array}"), format!("{theirs}/{array}"));
        }
    }
    Ok(names)
}

/// Sets all weights of a model from arrays that carry the names of another program.
///
/// # Errors
///
/// [`Error::Array`] when an array is missing, has no place in the table, or has another shape; then nothing is changed.
pub fn load_arrays(
    parameters: &Parameters,
    names: &NameTable,
    arrays: &BTreeMap<String, ArrayD<f32>>,
) -> Result<()> {
    let problem = |name: &str, problem: &str| Error::Array {
        name: name.to_owned(),
        problem: problem.to_owned(),
    };
    let known: std::collections::BTreeSet<&str> = names.values().map(String::as_str).collect();
    if let Some(name) = arrays.keys().find(|name| !known.contains(name.as_str())) {
        return Err(problem(name, "the model has no place for it"));
    }
    let mut snapshot = Snapshot::default();
    for ours in parameters.names() {
        let theirs = names
            .get(ours)
            .ok_or_else(|| problem(ours, "the name table does not list it"))?;
        let array = arrays
            .get(theirs)
            .ok_or_else(|| problem(theirs, "missing"))?;
        snapshot.set(ours, array.iter().copied().collect(), array.shape())?;
    }
    parameters.restore(&snapshot)
}

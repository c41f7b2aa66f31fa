//! Patches kept in memory.

use ndarray::{Array4, ArrayView4, s};
use phenocoder_core::{PatchSink, ShapeError, SourceError};

/// A sink that keeps all patches, for small data and tests.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    pixels: Array4<f32>,
}

impl MemorySink {
    /// A sink without patches; it grows as they come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The patches written so far, `[n, c, y, x]`; numbers never written are 0.
    #[must_use]
    pub fn pixels(&self) -> &Array4<f32> {
        &self.pixels
    }

    /// The patches, `[n, c, y, x]`.
    #[must_use]
    pub fn into_pixels(self) -> Array4<f32> {
        self.pixels
    }
}

impl PatchSink for MemorySink {
    fn write(&mut self, start: usize, pixels: ArrayView4<'_, f32>) -> Result<(), SourceError> {
        let (n, c, y, x) = pixels.dim();
        let (have, ..) = self.pixels.dim();
        if have > 0 && self.pixels.shape()[1..] != pixels.shape()[1..] {
            let error = ShapeError::Array {
                what: "patches".to_owned(),
                expected: format!("[n, {:?}]", &self.pixels.shape()[1..]),
                found: pixels.shape().to_vec(),
            };
            return Err(SourceError::new("patches in memory", error));
        }
        if start + n > have {
            let mut grown = Array4::zeros((start + n, c, y, x));
            if have > 0 {
                grown.slice_mut(s![..have, .., .., ..]).assign(&self.pixels);
            }
            self.pixels = grown;
        }
        self.pixels
            .slice_mut(s![start..start + n, .., .., ..])
            .assign(&pixels);
        Ok(())
    }
}

//! Patches kept in memory.

use ndarray::{Array4, ArrayView4};
use phenocoder_core::{PatchSink, ShapeError, SourceError};

/// A sink that keeps all patches, for small data and tests.
///
/// # Examples
///
/// ```
/// use ndarray::Array4;
/// use phenocoder_core::PatchSink;
/// use phenocoder_patches::MemorySink;
///
/// let mut sink = MemorySink::new();
/// sink.write(1, Array4::ones((1, 1, 2, 2)).view())?;
/// assert_eq!(sink.pixels().sum(), 4.0);
/// assert_eq!(sink.into_pixels().shape(), [2, 1, 2, 2]);
/// # Ok::<(), phenocoder_core::SourceError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    /// `c, y, x` of every patch.
    shape: [usize; 3],
    n: usize,
    values: Vec<f32>,
}

impl MemorySink {
    /// A sink without patches; it grows as they come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The patches written so far, `[n, c, y, x]`; numbers never written are 0.
    ///
    /// # Panics
    ///
    /// Never: the values always fill the shape.
    #[must_use]
    pub fn pixels(&self) -> ArrayView4<'_, f32> {
        let [c, y, x] = self.shape;
        ArrayView4::from_shape((self.n, c, y, x), &self.values).expect("`write` keeps both in step")
    }

    /// The patches, `[n, c, y, x]`.
    ///
    /// # Panics
    ///
    /// Never: the values always fill the shape.
    #[must_use]
    pub fn into_pixels(self) -> Array4<f32> {
        let [c, y, x] = self.shape;
        Array4::from_shape_vec((self.n, c, y, x), self.values).expect("`write` keeps both in step")
    }
}

impl PatchSink for MemorySink {
    fn write(&mut self, start: usize, pixels: ArrayView4<'_, f32>) -> Result<(), SourceError> {
        let (n, c, y, x) = pixels.dim();
        if self.n == 0 {
            self.shape = [c, y, x];
        } else if self.shape != [c, y, x] {
            let error = ShapeError::Array {
                what: "patches".to_owned(),
                expected: format!(
                    "[n, {}, {}, {}]",
                    self.shape[0], self.shape[1], self.shape[2]
                ),
                found: pixels.shape().to_vec(),
            };
            return Err(SourceError::new("patches in memory", error));
        }
        let length = c * y * x;
        self.n = self.n.max(start + n);
        self.values.resize(self.n * length, 0.0);
        let places = self.values[start * length..].iter_mut();
        places
            .zip(&pixels)
            .for_each(|(place, &value)| *place = value);
        Ok(())
    }
}

//! Patches that were made before.

use ndarray::{Array2, Array4, Axis};
use phenocoder_core::{Fingerprint, PatchBatch, PatchShape, PatchSource, ShapeError, SourceError};

use super::check_numbers;
use crate::Result;

/// Serves patches from any reader of `[n, c, y, x]` patches: a patch set on disk, say.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, Array4};
/// use phenocoder_core::{PatchShape, PatchSource};
/// use phenocoder_patches::SetSource;
///
/// let reader = |numbers: &[usize]| {
///     let pixel = |(n, _, _, x)| (numbers[n] + x) as f32;
///     Ok(Array4::from_shape_fn((numbers.len(), 1, 1, 2), pixel))
/// };
/// let source = SetSource::new(PatchShape::new(1, 2, 1), Array2::zeros((5, 0)), reader);
/// assert_eq!(source.read(&[3])?.pixels.as_slice(), Some(&[3.0, 4.0][..]));
/// # Ok::<(), phenocoder_core::SourceError>(())
/// ```
pub struct SetSource<R> {
    shape: PatchShape,
    conditions: Array2<f32>,
    layout: Layout,
    reader: R,
    names: Option<Names>,
    /// What decided over the pixels.
    origin: String,
}

/// The name of a patch by its number.
type Names = Box<dyn Fn(usize) -> String + Send + Sync>;

/// The order of the axes that a reader returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

impl<R> std::fmt::Debug for SetSource<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetSource")
            .field("patches", &self.conditions.nrows())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl<R> SetSource<R>
where
    R: Fn(&[usize]) -> Result<Array4<f32>, SourceError> + Send + Sync,
{
    /// Serves as many patches as `conditions` `[n, k]` has rows; `reader` returns the patches of given numbers,
    /// `[n, c, y, x]`.
    pub fn new(shape: PatchShape, conditions: Array2<f32>, reader: R) -> Self {
        Self {
            shape,
            conditions,
            layout: Layout::ChannelsFirst,
            reader,
            names: None,
            origin: String::new(),
        }
    }

    /// As [`new`](Self::new), with a `reader` that returns `[n, y, x, c]`, which saves the turning of axes.
    pub fn channels_last(shape: PatchShape, conditions: Array2<f32>, reader: R) -> Self {
        Self {
            layout: Layout::ChannelsLast,
            ..Self::new(shape, conditions, reader)
        }
    }

    /// Names patches in messages; `names` is called with numbers of patches that are there only.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::{Array2, Array4};
    /// use phenocoder_core::{PatchShape, PatchSource};
    /// use phenocoder_patches::SetSource;
    ///
    /// let reader = |numbers: &[usize]| Ok(Array4::zeros((numbers.len(), 1, 2, 2)));
    /// let cells = ["T cell 4", "B cell 9"];
    /// let source = SetSource::new(PatchShape::new(2, 2, 1), Array2::zeros((2, 0)), reader)
    ///     .with_names(move |patch| cells[patch].to_owned());
    /// assert_eq!(source.describe(1), "B cell 9");
    /// ```
    #[must_use]
    pub fn with_names(mut self, names: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.names = Some(Box::new(names));
        self
    }

    /// Says what decided over the pixels, as text: the manifest of a patch set, say.
    ///
    /// The [fingerprint](PatchSource::fingerprint) is made from it; without it a source does not notice other pixels.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = origin.into();
        self
    }
}

impl<R> PatchSource for SetSource<R>
where
    R: Fn(&[usize]) -> Result<Array4<f32>, SourceError> + Send + Sync,
{
    fn len(&self) -> usize {
        self.conditions.nrows()
    }

    fn shape(&self) -> PatchShape {
        self.shape
    }

    fn n_conditions(&self) -> usize {
        self.conditions.ncols()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers("patch set", self.len(), patches)?;
        let pixels = (self.reader)(patches)?;
        let (n, shape) = (patches.len(), self.shape);
        let expected = match self.layout {
            Layout::ChannelsFirst => [n, shape.channels, shape.height, shape.width],
            Layout::ChannelsLast => [n, shape.height, shape.width, shape.channels],
        };
        if pixels.shape() != expected {
            let error = ShapeError::Array {
                what: "patches".to_owned(),
                expected: format!("{expected:?}"),
                found: pixels.shape().to_vec(),
            };
            return Err(SourceError::new("patch set", error));
        }
        let conditions = self.conditions.select(Axis(0), patches);
        let pixels = match self.layout {
            Layout::ChannelsFirst => channels_last(&pixels),
            Layout::ChannelsLast => pixels,
        };
        PatchBatch::new(pixels, conditions).map_err(|e| SourceError::new("patch set", e))
    }

    fn describe(&self, patch: usize) -> String {
        match &self.names {
            Some(names) if patch < self.len() => names(patch),
            _ => format!("patch {patch}"),
        }
    }

    /// That of the [origin](Self::with_origin), the extents and the conditions; no pixel is read.
    fn fingerprint(&self) -> String {
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape;
        let extents = [self.len(), height, width, channels, self.n_conditions()];
        Fingerprint::new()
            .text(&self.origin)
            .numbers(extents.map(|extent| extent as u64))
            .values(&self.conditions)
            .finish()
    }
}

/// `[n, c, y, x]` to `[n, y, x, c]`, in memory order.
fn channels_last(pixels: &Array4<f32>) -> Array4<f32> {
    let (n, channels, height, width) = pixels.dim();
    let mut out = Array4::zeros((n, height, width, channels));
    for (patch, mut to) in pixels.outer_iter().zip(out.outer_iter_mut()) {
        match (patch.as_slice(), to.as_slice_mut()) {
            (Some(patch), Some(to)) if !patch.is_empty() => {
                for (channel, plane) in patch.chunks_exact(height * width).enumerate() {
                    for (to, from) in to.chunks_exact_mut(channels).zip(plane) {
                        to[channel] = *from;
                    }
                }
            }
            _ => to.assign(&patch.permuted_axes([1, 2, 0])),
        }
    }
    out
}

/// Patches in memory, in the layout of patch sets.
#[derive(Debug, Clone, PartialEq)]
pub struct ArraySource {
    pixels: Array4<f32>,
    conditions: Array2<f32>,
}

impl ArraySource {
    /// Serves patches `[n, c, y, x]` with conditions `[n, k]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) when the two differ in n.
    pub fn new(pixels: Array4<f32>, conditions: Array2<f32>) -> Result<Self> {
        ShapeError::check_len("conditions", pixels.shape()[0], conditions.nrows())?;
        Ok(Self { pixels, conditions })
    }
}

impl PatchSource for ArraySource {
    fn len(&self) -> usize {
        self.pixels.shape()[0]
    }

    fn shape(&self) -> PatchShape {
        let (_, channels, height, width) = self.pixels.dim();
        PatchShape::new(height, width, channels)
    }

    fn n_conditions(&self) -> usize {
        self.conditions.ncols()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers("patches in memory", PatchSource::len(self), patches)?;
        let pixels = channels_last(&self.pixels.select(Axis(0), patches));
        PatchBatch::new(pixels, self.conditions.select(Axis(0), patches))
            .map_err(|e| SourceError::new("patches in memory", e))
    }

    /// That of all values.
    fn fingerprint(&self) -> String {
        Fingerprint::new()
            .array(&self.pixels)
            .numbers([self.conditions.ncols() as u64])
            .values(&self.conditions)
            .finish()
    }
}

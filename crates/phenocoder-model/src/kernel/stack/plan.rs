//! The layout of a stack: made once, read by all threads.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::ConvLayer;
use super::work::Work;
use crate::ConfigError;
use crate::kernel::Activation;
use crate::kernel::format::Format;
use crate::kernel::geometry::Geometry;
use crate::kernel::route::{Direction, Route, RouteWeights, WeightRoute};

/// A layer with all its routes.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) geometry: Geometry,
    pub(super) relu: bool,
    pub(super) direction: Direction,
    /// The images that come in.
    pub(super) input: Format,
    /// The gradient of the images that go out.
    pub(super) gradient: Format,
    pub(super) forward: Route,
    pub(super) backward: Route,
    pub(super) kernel: WeightRoute,
    /// Where its weights begin in the vector of all, and where its bias does.
    pub(super) start: usize,
    pub(super) bias: usize,
    pub(super) end: usize,
}

/// The shape of a layer's weights.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kernel: [usize; 4],
    pub(super) bias: usize,
}

/// A layer's weights in the order of its routes.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) forward: RouteWeights,
    pub(super) backward: RouteWeights,
}

/// Memory that is used again.
#[derive(Debug)]
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// What was given back last, or something new.
    pub(super) fn take(&self, new: impl FnOnce() -> T) -> T {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(new)
    }

    /// Frees all that is kept.
    fn clear(&self) {
        let free = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(free);
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn give_back(&self, used: T) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(used);
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    config: Vec<ConvLayer>,
    pub(super) layers: Vec<Layer>,
    /// The images that the last layer makes.
    pub(super) output: Format,
    /// Samples whose images are in the cache together.
    pub(super) group: usize,
    /// Samples of one task; the gradient of each task is summed by itself.
    pub(super) task: usize,
    pub(super) weights: Pool<Vec<LayerWeights>>,
    /// Memory of tasks that keep the images of all their samples, and of those that keep one group.
    pub(super) keeping: Pool<Work>,
    pub(super) passing: Pool<Work>,
}

/// Values that the largest image of a group may have, so that its neighbours in the stack fit into a core's cache with it.
const GROUP_VALUES: usize = 1 << 17;
/// The same for a task: enough for all cores of large images, few sums of gradients for small ones.
const TASK_VALUES: usize = 1 << 20;
const LARGEST_GROUP: usize = 16;

impl Plan {
    pub(super) fn new(input: [usize; 3], config: &[ConvLayer]) -> Result<Self, ConfigError> {
        let mut sizes = vec![input];
        let mut geometries = Vec::new();
        let mut largest = 0;
        for layer in config {
            let size = sizes[sizes.len() - 1];
            // Every product of extents that is needed later, with room for the zeros around the images.
            let reach = layer
                .stride
                .saturating_add(layer.kernel[0].max(layer.kernel[1]));
            let side = |i: usize| size[i].checked_add(reach)?.checked_mul(layer.stride);
            let values = || {
                let widest = size[2].max(layer.channels);
                let image = side(0)?.checked_mul(side(1)?)?.checked_mul(widest)?;
                let taps = layer.kernel[0].checked_mul(layer.kernel[1])?;
                let kernel = taps.checked_mul(size[2])?.checked_mul(layer.channels)?;
                let bytes = image.max(kernel).checked_mul(64 * size_of::<f32>())?;
                (bytes <= isize::MAX as usize).then_some(())
            };
            let Some(geometry) = values().and_then(|()| layer.geometry(size)) else {
                return Err(ConfigError::TooLarge {
                    setting: "layers".to_owned(),
                });
            };
            largest = largest.max(geometry.big_len()).max(geometry.small_len());
            sizes.push(match layer.transposed {
                false => geometry.small,
                true => geometry.big,
            });
            geometries.push(geometry);
        }
        let group = (GROUP_VALUES / largest).clamp(1, LARGEST_GROUP);
        let task = (TASK_VALUES / largest).clamp(group, LARGEST_GROUP);
        let inputs: Vec<Format> = config
            .iter()
            .zip(&geometries)
            .map(|(layer, g)| match layer.transposed {
                false => Format::big(g),
                true => Format::small(g),
            })
            .collect();
        let gradients: Vec<Format> = config
            .iter()
            .zip(&geometries)
            .map(|(layer, g)| match layer.transposed {
                false => Format::small(g),
                true => Format::big(g),
            })
            .collect();
        let output = Format::dense(sizes[config.len()]);
        let mut start = 0;
        let mut layers = Vec::new();
        for (i, (layer, g)) in config.iter().zip(geometries).enumerate() {
            let direction = layer.direction();
            let (from, gradient) = (inputs[i], gradients[i]);
            let to = inputs.get(i + 1).copied().unwrap_or(output);
            let back = match i {
                0 => Format::dense(input),
                _ => gradients[i - 1],
            };
            let (big, small) = match direction {
                Direction::BigToSmall => (from, gradient),
                Direction::SmallToBig => (gradient, from),
            };
            let bias = start + g.kernel_len();
            let end = bias + layer.channels;
            layers.push(Layer {
                geometry: g,
                relu: layer.activation == Activation::Relu,
                direction,
                input: from,
                gradient,
                forward: Route::new(&g, direction, from, to, to, group),
                backward: Route::new(&g, direction.reversed(), gradient, back, from, group),
                kernel: WeightRoute::new(&g, big, small, group),
                start,
                bias,
                end,
            });
            start = end;
        }
        Ok(Self {
            config: config.to_vec(),
            layers,
            output,
            group,
            task,
            weights: Pool::new(),
            keeping: Pool::new(),
            passing: Pool::new(),
        })
    }

    /// Frees all memory that is kept.
    pub(super) fn release(&self) {
        self.weights.clear();
        self.keeping.clear();
        self.passing.clear();
    }

    pub(super) fn config(&self) -> &[ConvLayer] {
        &self.config
    }

    pub(super) fn input(&self) -> [usize; 3] {
        self.layers[0].input.size
    }

    pub(super) fn output(&self) -> [usize; 3] {
        self.output.size
    }

    pub(super) fn parameters(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.end)
    }

    /// What the weights must look like.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let shape = |layer: &Layer| {
            let g = &layer.geometry;
            Shape {
                kernel: [g.kernel[0], g.kernel[1], g.big[2], g.small[2]],
                bias: layer.end - layer.bias,
            }
        };
        self.layers.iter().map(shape).collect()
    }

    /// Brings all weights into order; those of the backward pass only if it will be done.
    pub(super) fn pack(&self, flat: &[f32], backward: bool) -> Vec<LayerWeights> {
        let mut packed = self.weights.take(|| {
            let empty = |layer: &Layer| LayerWeights {
                forward: layer.forward.weights(),
                backward: layer.backward.weights(),
            };
            self.layers.iter().map(empty).collect()
        });
        packed
            .par_iter_mut()
            .zip(&self.layers)
            .for_each(|(packed, layer)| {
                let kernel = &flat[layer.start..layer.bias];
                let bias = &flat[layer.bias..layer.end];
                layer.forward.pack(kernel, Some(bias), &mut packed.forward);
                if backward {
                    layer.backward.pack(kernel, None, &mut packed.backward);
                }
            });
        packed
    }
}

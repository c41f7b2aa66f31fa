//! An image with arbitrary chunks that counts how often each is decoded, and cells to go with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ndarray::{Array2, Array4, s};
use phenocoder_core::{
    Categorical, Cells, Column, Coords, DataType, ImageRegion, ImageShape, ImageSource,
    SourceError, Unit,
};
use phenocoder_patches::{ChannelRange, Images, Scaling, ScalingMode};

/// An image in memory that behaves as if it lay in chunks.
#[derive(Debug)]
pub(crate) struct Chunked {
    pub(crate) pixels: Array4<f32>,
    pub(crate) chunk: ImageShape,
    pub(crate) data_type: DataType,
    pub(crate) channels: Vec<String>,
    pub(crate) decoded: Mutex<BTreeMap<[usize; 4], usize>>,
    pub(crate) largest_window: AtomicUsize,
}

impl Chunked {
    pub(crate) fn new(pixels: Array4<f32>, chunk: [usize; 4], data_type: DataType) -> Self {
        let [c, z, y, x] = chunk;
        Self {
            channels: (0..pixels.shape()[0]).map(|c| format!("c{c}")).collect(),
            pixels,
            chunk: ImageShape::new(c, z, y, x),
            data_type,
            decoded: Mutex::new(BTreeMap::new()),
            largest_window: AtomicUsize::new(0),
        }
    }

    /// How often each chunk was decoded.
    pub(crate) fn decodes(&self) -> Vec<usize> {
        self.decoded.lock().unwrap().values().copied().collect()
    }
}

impl ImageSource for Chunked {
    fn name(&self) -> &str {
        "chunked"
    }

    fn shape(&self) -> ImageShape {
        let (c, z, y, x) = self.pixels.dim();
        ImageShape::new(c, z, y, x)
    }

    fn chunk_shape(&self) -> ImageShape {
        self.chunk
    }

    fn data_type(&self) -> DataType {
        self.data_type
    }

    fn channels(&self) -> &[String] {
        &self.channels
    }

    fn read_region(&self, region: &ImageRegion, out: &mut [f32]) -> Result<(), SourceError> {
        assert!(region.is_within(self.shape()), "{region:?}");
        assert_eq!(region.checked_len(), Some(out.len()));
        self.largest_window.fetch_max(out.len(), Ordering::Relaxed);
        let ImageRegion { c, z, y, x } = region.clone();
        let window = self
            .pixels
            .slice(s![c.clone(), z.clone(), y.clone(), x.clone()]);
        out.iter_mut().zip(&window).for_each(|(out, &v)| *out = v);
        let chunks = |r: &std::ops::Range<usize>, step: usize| r.start / step..=(r.end - 1) / step;
        let mut decoded = self.decoded.lock().unwrap();
        for c in chunks(&c, self.chunk.c) {
            for z in chunks(&z, self.chunk.z) {
                for y in chunks(&y, self.chunk.y) {
                    for x in chunks(&x, self.chunk.x) {
                        *decoded.entry([c, z, y, x]).or_default() += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Pseudo-random pixels without a generator: the same everywhere.
pub(crate) fn noise(shape: [usize; 4], seed: u64, map: impl Fn(u64) -> f32) -> Array4<f32> {
    let mut state = seed;
    Array4::from_shape_simple_fn(shape, || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        map(z ^ (z >> 31))
    })
}

/// Cells of the samples in turn at these positions (z, y, x).
pub(crate) fn cells(samples: &[&str], positions: &[[usize; 3]]) -> Cells {
    let n = positions.len();
    let flat: Vec<f64> = positions.iter().flatten().map(|&p| p as f64).collect();
    let coords = Coords::new(Array2::from_shape_vec((n, 3), flat).unwrap(), Unit::Pixel).unwrap();
    let samples = Categorical::from_labels(samples.iter().cycle().take(n));
    Cells::new(Column::Int((1..=n as i64).collect()), samples, coords).unwrap()
}

/// One image per sample.
pub(crate) fn images<'a>(parts: impl IntoIterator<Item = (&'a str, Arc<Chunked>)>) -> Images {
    parts
        .into_iter()
        .map(|(name, image)| (name.to_owned(), image as _))
        .collect()
}

/// The same range for every sample and channel.
pub(crate) fn scaling(samples: &[&str], channels: usize, low: f64, high: f64) -> Scaling {
    let range = ChannelRange {
        low,
        high,
        degenerate: false,
    };
    let names = (0..channels).map(|c| format!("c{c}")).collect();
    let samples = samples
        .iter()
        .map(|s| ((*s).to_owned(), vec![range; channels]))
        .collect();
    Scaling::from_ranges(ScalingMode::PerSample, names, samples).unwrap()
}

/// Runs `work` on a pool of this many threads.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(work)
}

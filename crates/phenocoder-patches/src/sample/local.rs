//! Shuffled, with neighbours close together.

use phenocoder_core::{PatchOrder, PatchSource, Seed, ShapeError};

use super::digest;

/// Visits every patch once, in an order that is random but lets a source read neighbours together.
///
/// The patches as they lie in their source are cut into runs; the runs are shuffled, and the patches of as many runs as
/// make a pool are shuffled among each other.
/// A batch then touches as many places of the source as a pool has runs, and what is decoded there serves the whole pool:
/// for images, or files on a slow disk, that do not fit into memory.
/// Patches of one pool are nearer each other than chance would have it, so take pools as large as the memory for decoded
/// chunks allows, and [`Shuffled`](phenocoder_core::Shuffled) where reading one patch costs no more than reading many.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchOrder, PatchShape, Seed};
/// use phenocoder_patches::sample::LocalShuffle;
///
/// let source = PatchBatch::zeros(1000, PatchShape::new(1, 1, 1), 0);
/// let order = LocalShuffle::of(&source).with_run(10).with_pool(100).order(1000, Seed::new(1))?;
/// let pool: std::collections::BTreeSet<usize> = order[..100].iter().map(|patch| patch / 10).collect();
/// assert!(pool.len() <= 22, "no more than the ends of 11 runs");
/// # Ok::<(), phenocoder_core::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalShuffle {
    along: Vec<usize>,
    run: usize,
    pool: usize,
}

impl LocalShuffle {
    /// Runs along the [reading order](PatchSource::reading_order) of a source: 64 patches each, pools of 4096.
    #[must_use]
    pub fn of(source: &dyn PatchSource) -> Self {
        Self {
            along: source.reading_order(),
            run: 64,
            pool: 4096,
        }
    }

    /// Sets the length of a run, at least 1.
    #[must_use]
    pub fn with_run(mut self, patches: usize) -> Self {
        self.run = patches.max(1);
        self
    }

    /// Sets the number of patches that are shuffled among each other, at least 1.
    #[must_use]
    pub fn with_pool(mut self, patches: usize) -> Self {
        self.pool = patches.max(1);
        self
    }
}

impl PatchOrder for LocalShuffle {
    fn name(&self) -> &str {
        "local_shuffle"
    }

    fn settings(&self) -> String {
        let along = digest(self.along.iter().map(|&patch| patch as u64));
        serde_json::json!({"run": self.run, "pool": self.pool, "along": along}).to_string()
    }

    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError> {
        ShapeError::check_len("the reading order", n, self.along.len())?;
        let mut stream = seed.stream("order", 0);
        // The cuts lie elsewhere in each epoch.
        let first = stream.below(self.run).min(n);
        let (head, tail) = self.along.split_at(first);
        let mut runs: Vec<&[usize]> = tail.chunks(self.run).chain([head]).collect();
        stream.shuffle(&mut runs);
        let mut order = runs.concat();
        for pool in order.chunks_mut(self.pool) {
            stream.shuffle(pool);
        }
        Ok(order)
    }
}

//! Which pixels a kernel visits, and where they lie in memory.

/// Where a pixel reads and writes, counted in values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pixel {
    /// Its position in the source.
    pub(super) source: usize,
    /// Its position in the output.
    pub(super) out: usize,
    /// Its position in the mask.
    pub(super) mask: usize,
}

impl Pixel {
    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            source: self.source + other.source,
            out: self.out + other.out,
            mask: self.mask + other.mask,
        }
    }

    #[inline(always)]
    pub(super) fn times(self, n: usize) -> Self {
        Self {
            source: self.source * n,
            out: self.out * n,
            mask: self.mask * n,
        }
    }
}

/// Neighbours in a row, each a step after the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first: Pixel,
    /// A multiple of [`RUN`].
    pub(super) count: usize,
}

/// Pixels in a run come in multiples of this many, which all tile heights divide.
const RUN: usize = 8;

/// The pixels of a group of samples: long runs for the most part, and the rest one by one.
#[derive(Debug, Clone, Default)]
pub(super) struct Tiles {
    /// The runs of one sample.
    pub(super) runs: Vec<Run>,
    /// From one pixel of a run to the next.
    pub(super) step: Pixel,
    /// From one sample to the next.
    pub(super) sample: Pixel,
    /// The other pixels of all samples of a group, sample by sample.
    rest: Vec<Pixel>,
    rest_per_sample: usize,
}

impl Tiles {
    /// The pixels of `rows` rows of `columns`, for groups of up to `samples` samples.
    ///
    /// `row` is where a row begins.
    pub(super) fn new(
        [rows, columns]: [usize; 2],
        row: impl Fn(usize) -> Pixel,
        step: Pixel,
        sample: Pixel,
        samples: usize,
    ) -> Self {
        let whole = columns / RUN * RUN;
        let mut runs = Vec::new();
        let mut rest = Vec::new();
        for y in 0..rows {
            let first = row(y);
            if whole > 0 {
                runs.push(Run {
                    first,
                    count: whole,
                });
            }
            rest.extend((whole..columns).map(|x| first.plus(step.times(x))));
        }
        let rest_per_sample = rest.len();
        for s in 1..samples {
            for i in 0..rest_per_sample {
                rest.push(rest[i].plus(sample.times(s)));
            }
        }
        Self {
            runs,
            step,
            sample,
            rest,
            rest_per_sample,
        }
    }

    /// All pixels of the first `samples` samples as runs: the first pixel and how many there are.
    #[inline(always)]
    pub(super) fn all_runs(&self, samples: usize) -> impl Iterator<Item = (Pixel, usize)> {
        let runs = (0..samples).flat_map(|sample| {
            let origin = self.sample.times(sample);
            self.runs
                .iter()
                .map(move |run| (run.first.plus(origin), run.count))
        });
        runs.chain(self.rest(samples).iter().map(|&pixel| (pixel, 1)))
    }

    /// The pixels of the first `samples` samples that are in no run.
    #[inline(always)]
    pub(super) fn rest(&self, samples: usize) -> &[Pixel] {
        &self.rest[..samples * self.rest_per_sample]
    }
}

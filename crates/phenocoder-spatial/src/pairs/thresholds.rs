//! Distances that pairs are compared with.

use super::even::Even;
use super::rounded::ERROR;

/// Which distances belong to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those up to the threshold.
    Closed,
    /// Those below it.
    Open,
}

/// Thresholds of squared distances, rising.
#[derive(Debug, Clone)]
pub(crate) struct Thresholds {
    pub(super) parts: Vec<Part>,
}

/// Thresholds that pairs are counted for at once.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Thresholds before these.
    pub(super) offset: u32,
    pub(super) squared: Vec<f64>,
    pub(super) reach: Reach,
    pub(super) table: Option<Table>,
    pub(super) even: Option<Even>,
}

impl Thresholds {
    /// Takes thresholds that are ≥ 0 and rise.
    pub(crate) fn new(thresholds: &[f64], reach: Reach) -> Self {
        let mut parts = Vec::new();
        let mut offset = 0;
        while offset < thresholds.len() {
            let rest = &thresholds[offset..];
            // A table has bytes for its thresholds, and cells that are fine enough for most of them where they lie evenly.
            let is_last =
                |&n: &usize| n == Table::MOST || (n >= super::MANY && rest[n] > FAR * rest[n / 2]);
            let n = (1..rest.len()).find(is_last).unwrap_or(rest.len());
            let squared: Vec<f64> = rest[..n].iter().map(|t| t * t).collect();
            parts.push(Part {
                offset: offset as u32,
                table: Table::new(&squared),
                even: Even::new(&rest[..n]),
                squared,
                reach,
            });
            offset += n;
        }
        Self { parts }
    }
}

/// By how much a threshold is greater than that in the middle of those before it, where it does not go with them.
const FAR: f64 = 8.0;

impl Part {
    pub(super) fn len(&self) -> usize {
        self.squared.len()
    }

    /// The first threshold that the squared distance belongs to.
    pub(super) fn bin(&self, squared: f64) -> usize {
        if let Some(Table { scale, bins, .. }) = &self.table {
            let bin = bins[Table::place((squared * scale) as f32) as usize];
            if bin != Table::MIXED {
                return bin.into();
            }
        }
        match self.reach {
            Reach::Closed => self.squared.partition_point(|&t| t < squared),
            Reach::Open => self.squared.partition_point(|&t| t <= squared),
        }
    }
}

/// The range of squared distances in cells, most of which lie between the same thresholds.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Cells per unit of squared distance.
    pub(super) scale: f64,
    /// The first threshold that all distances of the cell belong to, or [`Self::MIXED`].
    pub(super) bins: Box<[u8; 1 << 16]>,
    /// Up to which squared distance rounding is less than the [`MARGIN`].
    pub(super) most: f64,
}

/// What a squared distance may be off, in cells.
const MARGIN: f64 = 0.125;

impl Table {
    /// Those up to the last threshold: so few that they stay in the fastest cache. As many are beyond.
    const CELLS: usize = 1 << 14;

    /// Thresholds at most.
    const MOST: usize = Self::MIXED as usize - 1;

    /// A cell that distances on both sides of a threshold may come to.
    pub(super) const MIXED: u8 = u8::MAX;

    /// `None` where thresholds are few, or so large or small that there are no cells.
    fn new(squared: &[f64]) -> Option<Self> {
        let last = *squared.last()?;
        let scale = Self::CELLS as f64 / last;
        if !(super::MANY..=Self::MOST).contains(&squared.len()) || !scale.is_normal() {
            return None;
        }
        let mut bins = Box::new([squared.len() as u8; 1 << 16]);
        let mut from = 0;
        for (bin, threshold) in squared.iter().enumerate() {
            let cells = threshold * scale;
            let [first, last] =
                [cells - MARGIN, cells + MARGIN].map(|cells| Self::place(cells as f32) as usize);
            if from < first {
                bins[from..first].fill(bin as u8);
            }
            bins[first..=last].fill(Self::MIXED);
            from = last + 1;
        }
        Some(Self {
            scale,
            bins,
            most: MARGIN / ERROR / scale,
        })
    }

    /// The first threshold that a distance of a cell may belong to.
    pub(super) fn least(&self, place: u16) -> usize {
        let before = self.bins[..usize::from(place)].iter().rev();
        before
            .copied()
            .find(|&bin| bin != Self::MIXED)
            .map_or(0, usize::from)
    }

    /// The cell of a squared distance in units of cells, never before that of a smaller one.
    #[inline(always)]
    pub(super) fn place(cells: f32) -> u16 {
        // From 2²³ on the lowest bits of a number are its whole part.
        const WHOLE: f32 = (1 << 23) as f32;
        let inside = cells.max(0.0).min((2 * Self::CELLS - 1) as f32);
        (inside + WHOLE).to_bits() as u16
    }
}

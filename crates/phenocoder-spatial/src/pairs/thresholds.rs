//! Distances that pairs are compared with.

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
    pub(super) squared: Vec<f64>,
    pub(super) reach: Reach,
    pub(super) table: Option<Table>,
}

impl Thresholds {
    /// Takes thresholds that are ≥ 0 and rise.
    pub(crate) fn new(thresholds: &[f64], reach: Reach) -> Self {
        let squared: Vec<f64> = thresholds.iter().map(|t| t * t).collect();
        Self {
            table: Table::new(&squared),
            squared,
            reach,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.squared.len()
    }

    /// The first threshold that the squared distance belongs to.
    pub(super) fn bin(&self, squared: f64) -> usize {
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
    /// The first threshold that all distances of the cell belong to, or [`Self::MIXED`]; those beyond all are in the last
    /// cell that is used.
    pub(super) bins: Box<[u8; 2 * Self::CELLS]>,
}

impl Table {
    /// So few that they stay in the fastest cache.
    const CELLS: usize = 1 << 14;

    /// A cell with a threshold in it.
    pub(super) const MIXED: u8 = u8::MAX;

    /// `None` where thresholds are few, too many, or so large or small that there are no cells.
    fn new(squared: &[f64]) -> Option<Self> {
        let scale = Self::CELLS as f64 / *squared.last()?;
        if !(super::MANY..Self::MIXED.into()).contains(&squared.len()) || !scale.is_normal() {
            return None;
        }
        let places: Vec<usize> = squared.iter().map(|&s| cell(s, scale) as usize).collect();
        let mut bins = Box::new([squared.len() as u8; 2 * Self::CELLS]);
        let mut from = 0;
        for (bin, place) in places.into_iter().enumerate() {
            if from <= place {
                bins[from..place].fill(bin as u8);
                bins[place] = Self::MIXED;
                from = place + 1;
            }
        }
        Some(Self { scale, bins })
    }
}

/// The cell of a squared distance, never before that of a smaller one.
#[inline(always)]
pub(super) fn cell(squared: f64, scale: f64) -> u32 {
    // From 2⁵² on the lowest bits of a number are its whole part.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let place = (squared * scale).min((Table::CELLS + 1) as f64);
    (place + WHOLE).to_bits() as u32
}

//! A reference in single precision, for the first look.

use phenocoder_core::Progress;

use super::groups::{Groups, NONE};
use super::panels::Panels;
use super::points::{Frame, Points};
use crate::Result;

/// The rows of a reference in single precision, group after group.
pub(super) struct Rough {
    pub(super) groups: Groups,
    pub(super) panels: Panels,
    /// The squared length of each row.
    pub(super) square: Vec<f32>,
    /// A bound on this row's share in the error of a squared distance.
    pub(super) error: Vec<f32>,
}

impl Rough {
    /// The rows for a query of as many rows.
    pub(super) fn new(
        points: &Points,
        frame: &Frame<'_>,
        query: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let groups = Groups::new(points, frame, query, progress)?;
        progress.check()?;
        // What stands for no row is infinitely far.
        let round = |place: usize, line: &mut [f32]| match groups.order[place] {
            NONE => f32::INFINITY,
            row => points.length(frame.round(points.row(row as usize), line), frame),
        };
        let error = |square: f32| match square.is_finite() {
            true => points.error(square),
            false => 0.0,
        };
        let shape = (groups.order.len(), points.ncols());
        let (panels, square) = Panels::new(shape, round, |square| square - error(square));
        Ok(Self {
            groups,
            panels,
            error: square.iter().map(|&square| error(square)).collect(),
            square,
        })
    }
}

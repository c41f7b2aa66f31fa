//! Whether batches mix and labels stay together, after a correction or without.
//!
//! | question | measure | 1 means |
//! |---|---|---|
//! | Do the nearest rows come from all batches? | [`integration_lisi`] | from all alike |
//! | … as often as by chance? | [`kbet`] | everywhere |
//! | … among the rows of one label? | [`kbet_by_label`] | everywhere |
//! | Do the nearest rows carry one label? | [`label_lisi`] | always |
//! | Do rows of a label hang together? | [`graph_connectivity`] | every label in one piece |
//! | How much of the variance is between batches? | [`batch_variance`] | all of it |
//! | How much of that is gone? | [`batch_variance_removed`] | all of it |
//! | All of these, and silhouettes? | [`batch_report`] | see [`BatchReport`] |
//!
//! A correction that mixes everything is perfect by the first two alone, so look at both sides, as Luecken et al. 2022
//! do (doi:10.1038/s41592-021-01336-8).
//! Neighbours are those of [`nearest_neighbors`](crate::knn::nearest_neighbors), exact or not; `k = 89` here is 90 with
//! the row itself, which is what scib-metrics counts and its benchmark uses.
//! The numbers are those of scib-metrics 0.5.10 in double precision.

mod by_label;
mod components;
mod kbet;
mod lisi;
mod report;
mod variance;

use phenocoder_core::ShapeError;

pub use by_label::{KbetByLabel, kbet_by_label};
pub use components::graph_connectivity;
pub use kbet::{Kbet, KbetConfig, kbet};
pub use lisi::{LisiConfig, integration_lisi, label_lisi, lisi};
pub use report::{BatchReport, BatchReportConfig, batch_report};
pub use variance::{batch_variance, batch_variance_removed};

use super::{check_groups, ranked};
use crate::knn::Neighbors;
use crate::{Error, Result};

/// Checks that there are neighbours, a label for each row, and a row for each neighbour; numbers the groups from 0.
fn groups_of(
    neighbors: &Neighbors,
    labels: &[u32],
    method: &'static str,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let n = neighbors.len();
    ShapeError::check_len("labels", n, labels.len())?;
    Error::check_enough(method, "neighbours", 1, neighbors.indices().len())?;
    neighbors.check_among(n)?;
    Ok(ranked(labels))
}

//! The most typical and the oddest cells of each cluster.

use ndarray::{Array1, ArrayView2};
use phenocoder_core::Categorical;

/// Cells of one cluster, by their rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Examples {
    /// The cluster's position among the categories.
    pub(super) cluster: usize,
    /// All cells of the cluster.
    pub(super) cells: usize,
    /// Nearest to the mean of the cluster in latent space, the nearest first.
    pub(super) typical: Vec<usize>,
    /// Farthest from it, the farthest first.
    pub(super) odd: Vec<usize>,
}

/// Picks up to `each` typical and `each` odd cells of the largest clusters, among cells that have a picture.
///
/// Where a cluster has fewer pictures than asked for, no cell is both typical and odd.
pub(super) fn examples(
    latents: ArrayView2<'_, f64>,
    clusters: &Categorical,
    has_picture: impl Fn(usize) -> bool,
    each: usize,
    most_clusters: usize,
) -> Vec<Examples> {
    let counts = clusters.counts();
    let mut order: Vec<usize> = (0..counts.len()).filter(|&c| counts[c] > 0).collect();
    order.sort_by(|&a, &b| counts[b].cmp(&counts[a]));
    order.truncate(most_clusters);
    order.sort_unstable();
    let of_cluster = |cluster: usize| {
        let members = clusters.members(cluster);
        let mut mean = Array1::<f64>::zeros(latents.ncols());
        for &row in &members {
            mean += &latents.row(row);
        }
        mean /= members.len() as f64;
        let mut pictured: Vec<(f64, usize)> = members
            .iter()
            .copied()
            .filter(|&row| has_picture(row))
            .map(|row| {
                let away = &latents.row(row) - &mean;
                (away.dot(&away), row)
            })
            .collect();
        pictured.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let typical = each.min(pictured.len());
        let odd = each.min(pictured.len() - typical);
        Examples {
            cluster,
            cells: members.len(),
            typical: pictured[..typical].iter().map(|(_, row)| *row).collect(),
            odd: pictured
                .iter()
                .rev()
                .take(odd)
                .map(|(_, row)| *row)
                .collect(),
        }
    };
    order.into_iter().map(of_cluster).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn typical_cells_are_near_the_mean_and_odd_ones_far() {
        // One cluster around 0 with an outlier, one of two cells.
        let latents = Array2::from_shape_vec((7, 1), vec![0.0, 0.1, -0.1, 5.0, 0.2, 9.0, 9.5]);
        let clusters = Categorical::from_labels(["a", "a", "a", "a", "a", "b", "b"]);
        let found = examples(latents.unwrap().view(), &clusters, |row| row != 4, 2, 9);
        assert_eq!(found.len(), 2);
        // The mean of `a` is 1.04.
        assert_eq!((found[0].cells, &found[0].typical), (5, &vec![1, 0]));
        assert_eq!(found[0].odd, [3, 2]);
        assert_eq!((found[1].typical.len(), found[1].odd.len()), (2, 0));
    }

    #[test]
    fn only_the_largest_clusters_are_shown_in_their_order() {
        let latents = Array2::zeros((6, 2));
        let clusters = Categorical::from_labels(["a", "b", "b", "c", "c", "c"]);
        let found = examples(latents.view(), &clusters, |_| true, 1, 2);
        assert_eq!(found.iter().map(|e| e.cluster).collect::<Vec<_>>(), [1, 2]);
    }
}

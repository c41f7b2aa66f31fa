//! Whether rows of a label hang together.

use phenocoder_core::{Cancelled, Progress};

use super::groups_of;
use crate::Result;
use crate::knn::Neighbors;
use crate::patience::ask;

/// The mean share, over labels, of a label's rows in its largest piece: 1 when no label falls apart.
///
/// Two rows are in one piece when each can be reached from the other from neighbour to neighbour through rows of their
/// label; a neighbour need not have the row as its own neighbour.
/// Luecken et al. 2022, doi:10.1038/s41592-021-01336-8.
/// Pieces are found by one walk (Tarjan 1972, doi:10.1137/0201010).
/// Cost: `O(n k)` time, and memory for at most some thirteen numbers per row: its group, where it is on the walk, and lists
/// of the walk that grow by doubling.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when rows and labels differ in number,
/// [`Error::TooFew`](crate::Error::TooFew) without neighbours, [`Error::Graph`](crate::Error::Graph) when a neighbour is
/// not a row, [`Error::Cancelled`](crate::Error::Cancelled) when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::graph_connectivity;
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = array![[0.0], [1.0], [3.0], [10.0], [11.0]];
/// let neighbors = nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress)?;
/// // Rows 0 and 1 have each other, row 2 has no one of its label that comes back; rows 3 and 4 have each other.
/// let connectivity = graph_connectivity(&neighbors, &[0, 0, 0, 1, 1], &NoProgress)?;
/// assert!((connectivity - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-15);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn graph_connectivity(
    neighbors: &Neighbors,
    labels: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    let (groups, counts) = groups_of(neighbors, labels, "the connectivity of labels")?;
    let mut largest = vec![0_usize; counts.len()];
    let tell = |group: usize, rows: usize| largest[group] = rows.max(largest[group]);
    for_each_piece(neighbors, &groups, tell, progress)?;
    let shares = largest.iter().zip(&counts);
    let sum: f64 = shares
        .map(|(&size, &count)| size as f64 / count as f64)
        .sum();
    Ok(sum / counts.len() as f64)
}

/// A row on the way that the walk has come.
struct Step {
    row: usize,
    /// How many rows were seen before it, and itself.
    number: usize,
    /// Which of its neighbours comes next.
    next: usize,
}

/// Tells the group and the number of rows of each largest set of rows that reach each other within their group.
fn for_each_piece(
    neighbors: &Neighbors,
    groups: &[usize],
    mut tell: impl FnMut(usize, usize),
    progress: &dyn Progress,
) -> Result<(), Cancelled> {
    const UNSEEN: usize = 0;
    const SETTLED: usize = usize::MAX;
    let indices = neighbors.indices();
    // The least number of the rows without a piece that the walk has found to be reached from a row.
    let mut reached = vec![UNSEEN; neighbors.len()];
    // Rows that were seen and have no piece yet, and the way to the row where the walk is.
    let (mut open, mut way): (Vec<usize>, Vec<Step>) = (Vec::new(), Vec::new());
    let mut seen = 0;
    // A step looks at a neighbour of a row, leaves the row, or ends the walk that began at it.
    let (mut step, steps) = (0, neighbors.len() * (neighbors.k() + 2));
    progress.start("connectivity of labels", Some(steps as u64));
    for start in 0..neighbors.len() {
        let mut enter = (reached[start] == UNSEEN).then_some(start);
        loop {
            ask(step, steps, progress)?;
            step += 1;
            if let Some(row) = enter.take() {
                seen += 1;
                reached[row] = seen;
                open.push(row);
                way.push(Step {
                    row,
                    number: seen,
                    next: 0,
                });
            }
            let Some(Step { row, number, next }) = way.last_mut() else {
                break;
            };
            let (row, number) = (*row, *number);
            if let Some(&neighbor) = indices.get((row, *next)) {
                *next += 1;
                let neighbor = neighbor as usize;
                if groups[neighbor] != groups[row] {
                    continue;
                }
                if reached[neighbor] == UNSEEN {
                    enter = Some(neighbor);
                } else {
                    // That of a settled row is never the least.
                    reached[row] = reached[row].min(reached[neighbor]);
                }
                continue;
            }
            way.pop();
            if let Some(before) = way.last() {
                reached[before.row] = reached[before.row].min(reached[row]);
            }
            if reached[row] == number {
                // Nothing before the row is reached from it: it and what was seen since are a piece.
                let first = open.iter().rposition(|&other| other == row).unwrap_or(0);
                tell(groups[row], open.len() - first);
                for settled in open.drain(first..) {
                    reached[settled] = SETTLED;
                }
            }
        }
    }
    progress.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{NoProgress, Seed};

    use super::*;
    use crate::Error;
    use crate::patience::PATIENCE;
    use crate::patience::tests::times_asked;

    fn at(indices: Array2<u32>) -> Neighbors {
        let distances = Array2::ones(indices.raw_dim());
        Neighbors::new(indices, distances).unwrap()
    }

    #[test]
    fn a_ring_is_one_piece_and_a_way_that_does_not_come_back_is_not() {
        let ring = at(array![[1], [2], [3], [0], [0]]);
        assert_eq!(
            graph_connectivity(&ring, &[7; 5], &NoProgress).unwrap(),
            0.8
        );
        // Row 2 is of another label and breaks the ring.
        let broken = graph_connectivity(&ring, &[7, 7, 1, 7, 7], &NoProgress).unwrap();
        assert_eq!(broken, (1.0 / 4.0 + 1.0) / 2.0);
    }

    #[test]
    fn a_ring_of_many_rows_needs_no_deep_stack() {
        let n = 300_000_u32;
        let ring = at(Array2::from_shape_fn((n as usize, 1), |(i, _)| {
            (i as u32 + 1) % n
        }));
        assert_eq!(
            graph_connectivity(&ring, &vec![0; n as usize], &NoProgress).unwrap(),
            1.0
        );
    }

    #[test]
    fn pieces_are_those_of_mutual_reach() {
        for seed in 0..40 {
            let mut stream = Seed::new(seed).stream("graph", 0);
            let n = 12;
            let indices = Array2::from_shape_fn((n, 2), |_| (stream.uniform() * n as f64) as u32);
            let labels: Vec<u32> = (0..n).map(|_| (stream.uniform() * 2.0) as u32).collect();
            let mut reach = Array2::from_elem((n, n), false);
            for i in 0..n {
                reach[[i, i]] = true;
                for j in indices.row(i) {
                    let j = *j as usize;
                    reach[[i, j]] |= labels[i] == labels[j];
                }
            }
            for k in 0..n {
                for i in 0..n {
                    for j in 0..n {
                        reach[[i, j]] |= reach[[i, k]] && reach[[k, j]];
                    }
                }
            }
            let mut shares = Vec::new();
            for label in 0..2 {
                let rows: Vec<usize> = (0..n).filter(|&i| labels[i] == label).collect();
                let size = |&i: &usize| {
                    rows.iter()
                        .filter(|&&j| reach[[i, j]] && reach[[j, i]])
                        .count()
                };
                if let Some(largest) = rows.iter().map(size).max() {
                    shares.push(largest as f64 / rows.len() as f64);
                }
            }
            let expected = shares.iter().sum::<f64>() / shares.len() as f64;
            assert_eq!(
                graph_connectivity(&at(indices), &labels, &NoProgress).unwrap(),
                expected,
                "{seed}"
            );
        }
    }

    #[test]
    fn the_walk_asks_on_its_way_whether_to_stop() {
        // One ring, one of every other row, and rows alone.
        let n = PATIENCE as u32;
        let ring = at(Array2::from_shape_fn((n as usize, 2), |(i, c)| {
            (i as u32 + 1 + c as u32) % n
        }));
        for labels in [1, 2, n].map(|count| (0..n).map(|i| i % count).collect::<Vec<u32>>()) {
            let walk = |progress: &dyn Progress| graph_connectivity(&ring, &labels, progress);
            assert_eq!(times_asked(walk), 4);
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let near = at(array![[1], [0]]);
        assert!(matches!(
            graph_connectivity(&near, &[0], &NoProgress),
            Err(Error::Shape(_))
        ));
        assert!(matches!(
            graph_connectivity(&near.truncated(0), &[0, 1], &NoProgress),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(
            graph_connectivity(&at(array![[4], [0]]), &[0, 1], &NoProgress),
            Err(Error::Graph(_))
        ));
    }
}

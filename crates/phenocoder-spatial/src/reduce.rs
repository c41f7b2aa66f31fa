//! Sums over nodes that do not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

/// Nodes per part. A constant, so that the parts, and with them the rounding, are the same on every machine.
const CHUNK: usize = 8192;

/// Applies `part` to runs of nodes in parallel and folds the results in the order of the runs.
pub(crate) fn fold_nodes<T: Send>(
    n: usize,
    part: impl Fn(Range<usize>) -> T + Sync,
    mut fold: impl FnMut(T),
) {
    // A group of parts at a time, so that few results wait in memory; the order of the fold is the same for any size.
    let at_once = 4 * rayon::current_num_threads();
    let parts = n.div_ceil(CHUNK);
    for first in (0..parts).step_by(at_once) {
        let group: Vec<T> = (first..parts.min(first + at_once))
            .into_par_iter()
            .map(|i| part(i * CHUNK..n.min((i + 1) * CHUNK)))
            .collect();
        group.into_iter().for_each(&mut fold);
    }
}

/// Numbers of a part above which parts are not made side by side.
pub(crate) const WIDE: usize = 1 << 16;

/// As [`fold_nodes`] for parts of so many numbers; of wide ones there is one, so that memory does not grow with their number.
pub(crate) fn fold_nodes_wide<T: Send>(
    n: usize,
    width: usize,
    part: impl Fn(Range<usize>) -> T + Sync,
    mut fold: impl FnMut(T),
) {
    match width > WIDE {
        true => fold(part(0..n)),
        false => fold_nodes(n, part, fold),
    }
}

/// The sum of `term` over all nodes.
pub(crate) fn sum_nodes(n: usize, term: impl Fn(usize) -> f64 + Sync) -> f64 {
    let mut sum = 0.0;
    fold_nodes(n, |nodes| nodes.map(&term).sum::<f64>(), |part| sum += part);
    sum
}

/// As many sums over all nodes as `width`, to which `term` adds those of a node.
pub(crate) fn sums_over_nodes(
    n: usize,
    width: usize,
    term: impl Fn(usize, &mut [f64]) + Sync,
) -> Vec<f64> {
    let mut total = vec![0.0; width];
    fold_nodes(
        n,
        |nodes| {
            let mut part = vec![0.0; width];
            nodes.for_each(|node| term(node, &mut part));
            part
        },
        |part| add(&mut total, &part),
    );
    total
}

/// Adds `part` to `total`, entry by entry.
pub(crate) fn add<T: Copy + std::ops::AddAssign>(total: &mut [T], part: &[T]) {
    for (total, &part) in total.iter_mut().zip(part) {
        *total += part;
    }
}

//! Edges between clusters, counted often.

use ndarray::Array2;
use phenocoder_core::CsrGraph;

use crate::neighbors::each_symmetric;
use crate::reduce::{add, fold_nodes};

/// The edges of a graph without loops; of a symmetric graph one of the two directions.
pub(super) struct Edges {
    /// Where the edges of each node begin, and where the last ones end.
    pointers: Vec<u64>,
    ends: Vec<u32>,
    /// Whether each edge stands for both directions.
    is_symmetric: bool,
}

impl Edges {
    pub(super) fn new(graph: &CsrGraph) -> Self {
        let n = graph.n_nodes();
        let mut pointers = Vec::with_capacity(n + 1);
        let mut ends = Vec::with_capacity(graph.n_edges() / 2);
        pointers.push(0);
        let is_symmetric = each_symmetric(graph, |higher| {
            ends.extend_from_slice(higher);
            pointers.push(ends.len() as u64);
        });
        if !is_symmetric {
            pointers.truncate(1);
            ends.clear();
            for node in 0..n {
                let others = graph.neighbors(node).iter().copied();
                ends.extend(others.filter(|&other| other as usize != node));
                pointers.push(ends.len() as u64);
            }
        }
        Self {
            pointers,
            ends,
            is_symmetric,
        }
    }

    /// Whether the reverse of every edge is an edge.
    pub(super) fn is_symmetric(&self) -> bool {
        self.is_symmetric
    }

    /// The number of edges without loops, both directions counted.
    pub(super) fn len(&self) -> usize {
        self.ends.len() * if self.is_symmetric { 2 } else { 1 }
    }

    /// The number of edges between clusters, both directions counted; `codes` are below `k`.
    pub(super) fn count(&self, codes: &[i32], k: usize) -> Vec<u64> {
        match u8::try_from(k) {
            Ok(_) => self.count_of(&self::codes::<u8>(codes), k),
            Err(_) => self.count_of(&self::codes::<u32>(codes), k),
        }
    }

    pub(super) fn count_of<C: Code>(&self, codes: &[C], k: usize) -> Vec<u64> {
        let mut total = vec![0_u64; k * k];
        fold_nodes(
            codes.len(),
            |nodes| {
                // Neighbors mostly are of one cluster: with one counter each would wait for the one before.
                let mut even = vec![0_u64; k * k];
                let mut odd = vec![0_u64; k * k];
                for node in nodes {
                    let ends = self.pointers[node] as usize..self.pointers[node + 1] as usize;
                    let row = codes[node].index() * k;
                    let (even, odd) = (&mut even[row..row + k], &mut odd[row..row + k]);
                    let (pairs, last) = self.ends[ends].as_chunks::<2>();
                    for &[a, b] in pairs {
                        even[codes[a as usize].index()] += 1;
                        odd[codes[b as usize].index()] += 1;
                    }
                    for &end in last {
                        even[codes[end as usize].index()] += 1;
                    }
                }
                add(&mut even, &odd);
                even
            },
            |part| add(&mut total, &part),
        );
        if self.is_symmetric {
            for a in 0..k {
                for b in a..k {
                    let both = total[a * k + b] + total[b * k + a];
                    total[a * k + b] = both;
                    total[b * k + a] = both;
                }
            }
        }
        total
    }
}

/// The number of a cluster.
pub(super) trait Code: Copy + Send + Sync {
    fn of(code: i32) -> Self;
    fn index(self) -> usize;
}

impl Code for u8 {
    fn of(code: i32) -> Self {
        code as Self
    }

    fn index(self) -> usize {
        self.into()
    }
}

impl Code for u32 {
    fn of(code: i32) -> Self {
        code as Self
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Codes that are not missing, as another type that can hold them.
pub(super) fn codes<C: Code>(codes: &[i32]) -> Vec<C> {
    codes.iter().map(|&code| C::of(code)).collect()
}

pub(super) fn matrix(counts: &[u64], k: usize) -> Array2<f64> {
    Array2::from_shape_fn((k, k), |(a, b)| counts[a * k + b] as f64)
}

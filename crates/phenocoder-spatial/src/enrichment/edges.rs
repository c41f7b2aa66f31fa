//! Edges between clusters, counted often.

use ndarray::Array2;
use phenocoder_core::CsrGraph;

use crate::neighbors::{each_symmetric, row_pointers};
use crate::reduce::{WIDE, add, fold_nodes};

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
    pub(super) fn count(&self, codes: &[i32], k: usize) -> Array2<f64> {
        let counts = match u8::try_from(k) {
            Ok(_) => self.count_of(&self::codes::<u8>(codes), k),
            Err(_) => self.count_of(&self::codes::<u32>(codes), k),
        };
        counts.matrix(k)
    }

    /// As [`count`](Self::count) of the edges of some nodes that have none to others.
    pub(super) fn count_among(&self, nodes: &[u32], codes: &[i32], k: usize) -> Array2<f64> {
        let pairs = nodes.iter().flat_map(|&node| {
            let from = codes[node as usize] as usize;
            let ends = self.ends(node as usize).iter();
            ends.map(move |&end| (from, codes[end as usize] as usize))
        });
        self.rows(pairs, k).matrix(k)
    }

    pub(super) fn count_of<C: Code>(&self, codes: &[C], k: usize) -> Counts {
        if k * k > WIDE {
            let pairs = (0..codes.len()).flat_map(|node| {
                let from = codes[node].index();
                let ends = self.ends(node).iter();
                ends.map(move |&end| (from, codes[end as usize].index()))
            });
            return self.rows(pairs, k);
        }
        let mut total = vec![0_u64; k * k];
        fold_nodes(
            codes.len(),
            |nodes| {
                // Neighbors mostly are of one cluster: with one counter each would wait for the one before.
                let mut even = vec![0_u64; k * k];
                let mut odd = vec![0_u64; k * k];
                for node in nodes {
                    let row = codes[node].index() * k;
                    let (even, odd) = (&mut even[row..row + k], &mut odd[row..row + k]);
                    let (pairs, last) = self.ends(node).as_chunks::<2>();
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
        Counts::All(total)
    }

    fn ends(&self, node: usize) -> &[u32] {
        &self.ends[self.pointers[node] as usize..self.pointers[node + 1] as usize]
    }

    /// Counts pairs of clusters in memory of the order of their number, whatever the number of clusters.
    fn rows(&self, pairs: impl Iterator<Item = (usize, usize)> + Clone, k: usize) -> Counts {
        let is_symmetric = self.is_symmetric;
        // An edge that stands for both directions is one of its lower cluster.
        let pairs = pairs.map(move |(a, b)| match is_symmetric && b < a {
            true => (b, a),
            false => (a, b),
        });
        let starts = row_pointers(k, pairs.clone().map(|(a, _)| a));
        let mut next = starts.clone();
        let mut others = vec![0_u32; starts[k]];
        for (a, b) in pairs {
            others[next[a]] = b as u32;
            next[a] += 1;
        }
        let mut found = Vec::new();
        let mut counts = vec![0_u64; k];
        for a in 0..k {
            let first = found.len();
            for &b in &others[starts[a]..starts[a + 1]] {
                let count = &mut counts[b as usize];
                if *count == 0 {
                    found.push((a as u32, b, 0));
                }
                *count += 1;
            }
            for (_, b, count) in &mut found[first..] {
                *count = std::mem::take(&mut counts[*b as usize]);
            }
        }
        Counts::Found {
            found,
            is_symmetric,
        }
    }
}

/// The number of edges between clusters.
pub(super) enum Counts {
    /// Of every pair of clusters.
    All(Vec<u64>),
    /// Of the pairs that have edges.
    Found {
        found: Vec<(u32, u32, u64)>,
        /// Whether a pair stands for both directions.
        is_symmetric: bool,
    },
}

impl Counts {
    /// Hands over the count of every pair that has edges, with its place in a matrix of `k` rows.
    fn each(&self, k: usize, mut each: impl FnMut(usize, u64)) {
        match self {
            Self::All(counts) => counts.iter().enumerate().for_each(|(i, &n)| each(i, n)),
            Self::Found {
                found,
                is_symmetric,
            } => {
                for &(a, b, count) in found {
                    let (a, b) = (a as usize, b as usize);
                    match (is_symmetric, a == b) {
                        (false, _) => each(a * k + b, count),
                        (true, true) => each(a * k + b, 2 * count),
                        (true, false) => {
                            each(a * k + b, count);
                            each(b * k + a, count);
                        }
                    }
                }
            }
        }
    }

    /// Adds the counts and their squares to those of others, in a matrix of `k` rows.
    pub(super) fn add_to(&self, k: usize, sum: &mut [u64], square: &mut [u128]) {
        let add = |count: u64, sum: &mut u64, square: &mut u128| {
            *sum += count;
            *square += u128::from(count) * u128::from(count);
        };
        match self {
            Self::All(counts) => {
                let sums = sum.iter_mut().zip(square);
                counts
                    .iter()
                    .zip(sums)
                    .for_each(|(&n, (sum, square))| add(n, sum, square));
            }
            Self::Found { .. } => self.each(k, |i, n| add(n, &mut sum[i], &mut square[i])),
        }
    }

    fn matrix(&self, k: usize) -> Array2<f64> {
        let mut matrix = Array2::zeros((k, k));
        self.each(k, |place, count| {
            matrix[[place / k, place % k]] = count as f64
        });
        matrix
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

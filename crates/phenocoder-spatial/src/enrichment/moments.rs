//! The exact moments of the counts over all permutations of labels.

use ethnum::U256;
use ndarray::{Array2, Zip};
use phenocoder_core::CsrGraph;

use super::Enrichment;
use super::edges::Edges;

/// The mean and variance of the counts, from samples that are permuted independently.
///
/// All that cancels is computed in whole numbers: for a type of few cells the mean square and the squared mean of the counts
/// among the others agree in more digits than an `f64` has.
pub(super) struct Moments {
    /// The mean is the sum of these whole numbers and of what is left of one.
    whole: Array2<f64>,
    part: Array2<f64>,
    variance: Array2<f64>,
}

impl Moments {
    /// Those of counts that are the same in every permutation.
    pub(super) fn of_constant(counts: Array2<f64>) -> Self {
        Self {
            part: Array2::zeros(counts.dim()),
            variance: Array2::zeros(counts.dim()),
            whole: counts,
        }
    }

    /// Adds those of some rising nodes that have no edges to others and exchange their labels.
    pub(super) fn add(&mut self, graph: &CsrGraph, edges: &Edges, codes: &[i32], nodes: &[u32]) {
        let mut sizes = vec![0_u64; self.variance.nrows()];
        for &node in nodes {
            sizes[codes[node as usize] as usize] += 1;
        }
        let present: Vec<usize> = (0..sizes.len()).filter(|&code| sizes[code] > 0).collect();
        let spreads = Spreads::new(&PairSums::new(graph, edges, nodes), nodes.len() as u64);
        for &a in &present {
            for &b in &present {
                let (x, y) = (sizes[a], sizes[b]);
                let (ways, spread) = match a == b {
                    true => (x * (x - 1), spreads.alike(x)),
                    false => (x * y, spreads.apart(x, y)),
                };
                let pairs = u128::from(spreads.edges) * u128::from(ways);
                let all = u128::from(spreads.two);
                self.whole[[a, b]] += (pairs / all) as f64;
                self.part[[a, b]] += (pairs % all) as f64 / spreads.two as f64;
                self.variance[[a, b]] += spread.as_f64() * ways as f64 / spreads.denominator;
            }
        }
    }

    pub(super) fn compare(self, count: Array2<f64>) -> Enrichment {
        let z = Zip::from(&count)
            .and(&self.whole)
            .and(&self.part)
            .and(&self.variance)
            .map_collect(|count, whole, part, variance| (count - whole - part) / variance.sqrt());
        Enrichment {
            count,
            mean: self.whole + self.part,
            variance: self.variance,
            z,
        }
    }
}

/// The variances over the permutations of n labels, as whole numbers.
///
/// With S₂, M, R, C, P and T of [`PairSums`] and the common denominator n⁽²⁾ n⁽⁴⁾, the difference E M² − (E M)² of x cells of
/// one type and y of another is x y times
/// S₂ n⁽²⁾ (n − 2)(n − 3) + R (y − 1) n⁽²⁾ (n − 3) + C (x − 1) n⁽²⁾ (n − 3) + T (x − 1)(y − 1) n⁽²⁾ − S₂² x y (n − 2)(n − 3).
///
/// Nothing exceeds 256 bits: the sum without its last term is at most S₂² n⁽⁴⁾, because M ≤ S₂ gives E M² ≤ S₂ E M, and
/// S₂ ≤ n⁽²⁾ < 2⁶⁴.
struct Spreads {
    edges: u64,
    /// n⁽²⁾.
    two: u64,
    /// n⁽²⁾ n⁽⁴⁾.
    denominator: f64,
    of_edges: U256,
    of_mutual: U256,
    of_rows: U256,
    of_columns: U256,
    of_chains: U256,
    of_apart: U256,
    squared_mean: U256,
}

impl Spreads {
    fn new(sums: &PairSums, n: u64) -> Self {
        // Of fewer than four nodes no edges are apart, of fewer than three none share a node: a factor that all terms have may
        // be 1 as well as 0.
        let less = |i: u64| n.saturating_sub(i).max(1);
        let two = less(0) * less(1);
        let rest = less(2) * less(3);
        let edges = u128::from(sums.edges);
        let of_pairs = |pairs: u128| U256::from(pairs) * U256::from(two) * U256::from(rest);
        let of_triples =
            |triples: u128| U256::from(triples) * U256::from(two) * U256::from(less(3));
        Self {
            edges: sums.edges,
            two,
            denominator: (two as f64).powi(2) * rest as f64,
            of_edges: of_pairs(edges),
            of_mutual: of_pairs(u128::from(sums.mutual)),
            of_rows: of_triples(sums.rows),
            of_columns: of_triples(sums.columns),
            of_chains: of_triples(sums.rows + sums.columns + 2 * sums.paths),
            of_apart: U256::from(sums.apart) * U256::from(two),
            squared_mean: U256::from(edges * edges) * U256::from(rest),
        }
    }

    /// Of the edges from x cells to y others, x and y at least 1.
    fn apart(&self, x: u64, y: u64) -> U256 {
        let square = self.of_edges
            + self.of_rows * U256::from(y - 1)
            + self.of_columns * U256::from(x - 1)
            + self.of_apart * U256::from((x - 1) * (y - 1));
        square - self.squared_mean * U256::from(x * y)
    }

    /// Of the edges among x cells; 0 for a single one.
    fn alike(&self, x: u64) -> U256 {
        if x < 2 {
            return U256::ZERO;
        }
        let square = self.of_edges
            + self.of_mutual
            + self.of_chains * U256::from(x - 2)
            + self.of_apart * U256::from((x - 2) * x.saturating_sub(3));
        square - self.squared_mean * U256::from(x * (x - 1))
    }
}

/// How many ordered pairs of edges share which ends.
struct PairSums {
    /// Edges, which are the pairs of an edge with itself.
    edges: u64,
    /// Pairs of an edge and its reverse.
    mutual: u64,
    /// Pairs of different edges from one node.
    rows: u128,
    /// Pairs of different edges to one node.
    columns: u128,
    /// Pairs of an edge to a node and one from it that is not its reverse.
    paths: u128,
    /// Pairs of edges that share no node.
    apart: u128,
}

impl PairSums {
    /// Of the edges of some rising nodes, all of which are among them; `edges` are those of the graph.
    fn new(graph: &CsrGraph, edges: &Edges, nodes: &[u32]) -> Self {
        let has_loops = edges.len() < graph.n_edges();
        let degree = |&node: &u32| {
            let others = graph.neighbors(node as usize);
            let loops = has_loops && others.binary_search(&node).is_ok();
            (others.len() - usize::from(loops)) as u64
        };
        let leaving: Vec<u64> = nodes.iter().map(degree).collect();
        let symmetric = edges.is_symmetric();
        let edges: u64 = leaving.iter().sum();
        let (arriving, mutual) = match symmetric {
            true => (leaving.clone(), edges),
            false => arriving(graph, nodes),
        };
        let sum = |a: &[u64], b: &[u64]| -> u128 {
            let products = a
                .iter()
                .zip(b)
                .map(|(&a, &b)| u128::from(a) * u128::from(b));
            products.sum()
        };
        let (e, m) = (u128::from(edges), u128::from(mutual));
        let rows = sum(&leaving, &leaving) - e;
        let columns = sum(&arriving, &arriving) - e;
        let paths = sum(&leaving, &arriving) - m;
        Self {
            edges,
            mutual,
            rows,
            columns,
            paths,
            apart: e * e - e - m - rows - columns - 2 * paths,
        }
    }
}

/// The number of edges to each of some rising nodes, without loops, and that of edges whose reverse is an edge.
fn arriving(graph: &CsrGraph, nodes: &[u32]) -> (Vec<u64>, u64) {
    let (mut arriving, mut mutual) = (vec![0; nodes.len()], 0);
    // Where the nodes are all of a graph every node is its own position.
    let all = nodes.len() == graph.n_nodes();
    let position = |node: u32| match all {
        true => node as usize,
        false => nodes.partition_point(|&other| other < node),
    };
    for &node in nodes {
        for &other in graph.neighbors(node as usize) {
            if other != node {
                arriving[position(other)] += 1;
                let back = graph.neighbors(other as usize).binary_search(&node);
                mutual += u64::from(back.is_ok());
            }
        }
    }
    (arriving, mutual)
}

#[cfg(test)]
mod tests {
    use phenocoder_core::Categorical;

    use super::super::{enrichment_exact, enrichment_exact_within};
    use super::*;
    use crate::radius_graph;

    /// Square lattices of `side` · `side` cells beside each other, and which cell is of which.
    fn lattices(side: usize, sets: usize) -> (CsrGraph, Categorical) {
        let n = side * side;
        let points = Array2::from_shape_fn((n * sets, 2), |(i, axis)| {
            [2 * side * (i / n) + i % n / side, i % side][axis] as f64
        });
        let samples = Categorical::from_labels((0..n * sets).map(|i| (i / n).to_string()));
        (radius_graph(points.view(), 1.0).unwrap(), samples)
    }

    /// Labels of such lattices, in each of which some cells are of another type, the first of them in the corner.
    fn labels(side: usize, few: &[usize]) -> Categorical {
        let n = side * side;
        let code = |i: usize| i32::from((i % n).is_multiple_of(n / few[i / n]));
        let codes = (0..n * few.len()).map(code).collect();
        Categorical::new(codes, vec!["many".into(), "few".into()]).unwrap()
    }

    /// The moments of edges among the many, from them to the few, and among the few.
    const KNOWN: [(usize, usize, [[f64; 2]; 3]); 6] = {
        // Of r few, their degrees sum to S and U links are among them: the counts are E - 2 S + 2 U, S - 2 U and 2 U. Python:
        // from fractions import Fraction as F
        // def moments(s, r):
        //     n, deg = s*s, {4: (s-2)**2, 3: 4*(s-2), 2: 4}
        //     e, d2 = (sum(d**i*c for d, c in deg.items()) for i in (1, 2)); u = e//2; p = [F(1)]
        //     for i in range(4): p.append(p[-1]*F(max(r-i, 0), n-i))
        //     es, vs = F(r*e, n), r*(F(d2, n)-F(e, n)**2)*F(n-r, n-1)
        //     share = (d2-e)//2; apart = u*(u-1)//2-share; eu = u*p[2]
        //     vu = eu+2*share*p[3]+2*apart*p[4]-eu**2; c = d2*p[2]+(u*e-d2)*p[3]-es*eu
        //     return (e-2*es+2*eu, 4*(vs-2*c+vu)), (es-2*eu, vs-4*c+4*vu), (2*eu, 4*vu)
        [
            (100, 1, [[39592.08, 0.1568], [3.96, 0.0392], [0.0, 0.0]]),
            (
                100,
                10,
                [
                    [39520.83564356436, 1.634914262773498],
                    [39.56435643564357, 0.4613829804594294],
                    [0.03564356435643564, 0.07114602757830409],
                ],
            ),
            (
                100,
                100,
                [
                    [38811.92079207921, 22.904367016645576],
                    [392.0792079207921, 11.414528454873816],
                    [3.9207920792079207, 7.687066130725818],
                ],
            ),
            (
                1000,
                1,
                [[3995992.008, 0.015968], [3.996, 0.003992], [0.0, 0.0]],
            ),
            (
                1000,
                10,
                [
                    [3995920.0803596405, 0.16039495500678339],
                    [39.95964035964036, 0.04063746995780134],
                    [0.00035964035964035964, 0.0007192663481007471],
                ],
            ),
            (
                1000,
                100,
                [
                    [3995200.8395604393, 1.6754308524451471],
                    [399.56043956043953, 0.4781074828295928],
                    [0.03956043956043956, 0.07910507153499693],
                ],
            ),
        ]
    };

    const PLACES: [[usize; 2]; 3] = [[0, 0], [0, 1], [1, 1]];

    fn assert_close(found: f64, expected: f64, case: &str) {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-14 * expected,
            "{case}: {found} is not {expected}"
        );
    }

    #[test]
    fn few_cells_among_a_million_have_the_moments_of_exact_fractions() {
        let graphs = [100, 1000].map(|side| lattices(side, 1).0);
        for (side, few, known) in KNOWN {
            let graph = &graphs[usize::from(side > 100)];
            let found = enrichment_exact(graph, &labels(side, &[few])).unwrap();
            for (at, [mean, variance]) in PLACES.into_iter().zip(known) {
                let case = format!("{side} {few} {at:?}");
                assert_close(found.mean[at], mean, &case);
                assert_close(found.variance[at], variance, &case);
            }
            if few == 1 {
                // The one is in a corner, where it has 2 neighbors.
                let [mean, variance] = known[1];
                let z = 2.0 * (mean - 2.0) / known[0][1].sqrt();
                assert_close(found.z[[0, 0]], z, "z");
                assert_close(-found.z[[0, 1]], (mean - 2.0) / variance.sqrt(), "z");
                assert!(found.z[[1, 1]].is_nan());
            }
        }
    }

    #[test]
    fn moments_within_samples_are_as_exact() {
        let (graph, samples) = lattices(100, 2);
        let found = enrichment_exact_within(&graph, &labels(100, &[1, 10]), &samples).unwrap();
        for (which, at) in PLACES.into_iter().enumerate() {
            let sum = |moment: usize| KNOWN[0].2[which][moment] + KNOWN[1].2[which][moment];
            assert_close(found.mean[at], sum(0), "mean");
            assert_close(found.variance[at], sum(1), "variance");
        }
    }

    #[test]
    fn a_hundred_million_cells_lose_no_digit() {
        // Every cell of a ring has the five next ones on either side as neighbors.
        let (n, degree) = (100_000_000_u64, 10_u64);
        let edges = n * degree;
        let triples = u128::from(edges * (degree - 1));
        let e = u128::from(edges);
        let sums = PairSums {
            edges,
            mutual: edges,
            rows: triples,
            columns: triples,
            paths: triples,
            apart: e * e - 2 * e - 4 * triples,
        };
        let spreads = Spreads::new(&sums, n);
        // Where all have as many neighbors, nothing can vary of the edges that a single cell has to the others.
        assert_eq!(spreads.apart(1, n - 1), U256::ZERO);
        assert_eq!(spreads.alike(n - 1), U256::ZERO);
        // Two cells are linked or not: each way that takes an edge in both directions from the others.
        let p = degree as f64 / (n - 1) as f64;
        for (ways, spread) in [
            (2, spreads.alike(2)),
            (2 * (n - 2), spreads.apart(2, n - 2)),
            ((n - 2) * (n - 3), spreads.alike(n - 2)),
        ] {
            let variance = spread.as_f64() * ways as f64 / spreads.denominator;
            assert_close(variance, 4.0 * p * (1.0 - p), "two of many");
        }
    }

    #[test]
    fn the_largest_graph_there_can_be_fits_and_leaves_nothing_to_chance() {
        // All nodes that a graph can have, each linked with each.
        let n = u64::from(u32::MAX);
        let power = |r: u64| (0..r).map(|i| u128::from(n - i)).product::<u128>();
        let sums = PairSums {
            edges: power(2) as u64,
            mutual: power(2) as u64,
            rows: power(3),
            columns: power(3),
            paths: power(3),
            apart: power(4),
        };
        let spreads = Spreads::new(&sums, n);
        for x in [1, 2, 3, 1000, n / 2, n - 1] {
            assert_eq!(spreads.alike(x), U256::ZERO, "{x}");
            assert_eq!(spreads.apart(x, n - x), U256::ZERO, "{x}");
        }
    }
}

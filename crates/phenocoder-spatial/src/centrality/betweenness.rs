//! How many shortest paths pass through a cell or a cluster.

use phenocoder_core::{Categorical, CsrGraph, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::search::Search;
use crate::error::{ConfigError, Result};
use crate::neighbors::undirected;
use crate::reduce::add;

/// What a betweenness is a part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BetweennessScale {
    /// The part of the pairs of other nodes, from 0 to 1; NaN where there is no such pair.
    #[default]
    Fraction,
    /// The number of pairs, in parts where several paths are shortest.
    Pairs,
}

/// Settings of [`betweenness_centrality`] and [`group_betweenness`].
///
/// # Examples
///
/// ```
/// use phenocoder_core::Seed;
/// use phenocoder_spatial::centrality::BetweennessConfig;
///
/// let estimate = BetweennessConfig::new().with_pivots(500).with_seed(Seed::new(1));
/// assert!(estimate.validate().is_ok());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BetweennessConfig {
    /// What the result is a part of (default: pairs of other nodes).
    #[doc(alias = "normalized")]
    pub scale: BetweennessScale,
    /// From how many random nodes paths are followed; `None`, the default: from all.
    ///
    /// The result is then an estimate without bias (Brandes and Pich 2007, doi:10.1142/S0218127407018403), at the cost of
    /// O(pivots · edges).
    #[doc(alias = "k")]
    pub pivots: Option<usize>,
    /// The seed that chooses them (default 0).
    pub seed: Seed,
}

impl BetweennessConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the result is a part of.
    #[must_use]
    pub fn with_scale(mut self, scale: BetweennessScale) -> Self {
        self.scale = scale;
        self
    }

    /// Sets from how many nodes paths are followed.
    #[must_use]
    pub fn with_pivots(mut self, pivots: usize) -> Self {
        self.pivots = Some(pivots);
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for no pivots.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.pivots
            .map_or(Ok(()), |pivots| ConfigError::check_some("pivots", pivots))
    }

    fn sources(&self, n: usize) -> Vec<usize> {
        match self.pivots {
            None => (0..n).collect(),
            Some(pivots) => self.seed.stream("pivots", 0).choose(n, pivots),
        }
    }
}

/// Computes how many shortest paths between other nodes pass through every node.
///
/// b(v) = Σ σₛₜ(v) / σₛₜ over the pairs s, t of other nodes, with the number σ of shortest paths between them and of those by
/// way of v (Freeman 1977, doi:10.2307/3033543).
/// The graph is taken as undirected and unweighted, without loops.
/// Pairs that are not linked by any path have none.
/// The cost is O(n · edges) (Brandes 2001, doi:10.1080/0022250X.2001.9990249), sources in parallel, or with
/// [`BetweennessConfig::pivots`] O(pivots · edges); sums are made in fixed parts, so the number of threads does not change a
/// bit.
///
/// # Shapes
///
/// Result: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::centrality::{BetweennessConfig, betweenness_centrality};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let b = betweenness_centrality(&graph, &BetweennessConfig::new(), &NoProgress)?;
/// assert_eq!(b, [0.0, 2.0 / 3.0, 2.0 / 3.0, 0.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`BetweennessConfig::validate`], [`Error::Cancelled`](crate::Error::Cancelled) when `progress` asks to stop.
pub fn betweenness_centrality(
    graph: &CsrGraph,
    config: &BetweennessConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    config.validate()?;
    let graph = undirected(graph);
    let n = graph.n_nodes();
    let sources = config.sources(n);
    progress.start("betweenness", Some(sources.len() as u64));
    let mut sums = dependencies(&graph, &sources, progress)?;
    progress.finish();
    let n = n as f64;
    let all = n / sources.len() as f64;
    let scale = match config.scale {
        BetweennessScale::Fraction => all / ((n - 1.0) * (n - 2.0)),
        // Every pair was met from both ends.
        BetweennessScale::Pairs => all / 2.0,
    };
    sums.iter_mut().for_each(|sum| *sum *= scale);
    Ok(sums)
}

/// The sums of the shares σₛₜ(v) / σₛₜ over all sources s and all other nodes t.
fn dependencies(graph: &CsrGraph, sources: &[usize], progress: &dyn Progress) -> Result<Vec<f64>> {
    over_sources(
        graph,
        sources,
        graph.n_nodes(),
        1,
        progress,
        |paths, _, sums| {
            let mut dependency = std::mem::take(&mut paths.extra);
            dependency.fill(0.0);
            for &node in paths.search.order.iter().rev() {
                let node = node as usize;
                for &before in graph.neighbors(node) {
                    let before = before as usize;
                    if paths.search.is_before(before, node) {
                        let share = paths.counts.share(before, node);
                        dependency[before] += share * (1.0 + dependency[node]);
                    }
                }
                if paths.search.steps(node) > 0 {
                    sums[node] += dependency[node];
                }
            }
            paths.extra = dependency;
        },
    )
}

/// Computes how many shortest paths between nodes outside a cluster pass through it, for every cluster.
///
/// b(S) = Σ σₛₜ(S) / σₛₜ over the pairs s, t of nodes outside S, where σₛₜ(S) is the number of shortest paths by way of any of
/// its members (Everett and Borgatti 1999, doi:10.1080/0022250X.1999.9990219).
/// Nodes without a label belong to no cluster but are ends of paths and part of them.
/// 0 for a cluster without members; NaN as a fraction for one beside which there are fewer than two nodes, and where no pivot
/// lies outside.
/// The cost is O(n · edges · k), or with [`BetweennessConfig::pivots`] O(pivots · edges · k), in O(n) memory per thread: 64
/// clusters are looked at together.
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; result: one entry per category.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_spatial::centrality::{BetweennessConfig, group_betweenness};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["end", "middle", "middle", "end"]);
/// let b = group_betweenness(&graph, &labels, &BetweennessConfig::new(), &NoProgress)?;
/// assert_eq!(b, [0.0, 1.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node, and as [`betweenness_centrality`].
#[doc(alias = "group_betweenness_centrality")]
pub fn group_betweenness(
    graph: &CsrGraph,
    labels: &Categorical,
    config: &BetweennessConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    config.validate()?;
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let graph = undirected(graph);
    let (n, k) = (graph.n_nodes(), labels.categories().len());
    let sources = config.sources(n);
    let blocks = k.div_ceil(CLUSTERS) as u64;
    let steps = blocks.saturating_mul(sources.len() as u64);
    progress.start("betweenness", Some(steps));
    let mut sums = Vec::with_capacity(k);
    // Blocks of clusters bound the memory of their shares of the paths to every node.
    for first in (0..k).step_by(CLUSTERS) {
        let clusters = CLUSTERS.min(k - first);
        let cluster = |node: usize| {
            let of_block = labels.code(node)?.checked_sub(first);
            of_block.filter(|&cluster| cluster < clusters)
        };
        let avoided = |paths: &mut Paths, source: usize, sums: &mut [f64]| {
            paths.add_avoided(&graph, cluster(source), cluster, sums);
        };
        sums.extend(over_sources(
            &graph, &sources, clusters, clusters, progress, avoided,
        )?);
    }
    progress.finish();
    let group = |(code, sum): (usize, f64)| {
        let of_group = |&&node: &&usize| labels.code(node) == Some(code);
        let met = sources.len() - sources.iter().filter(of_group).count();
        let outside = n as f64 - labels.counts()[code] as f64;
        let pairs = sum * outside / met as f64;
        match config.scale {
            _ if labels.counts()[code] == 0 => 0.0,
            BetweennessScale::Pairs if outside == 0.0 => 0.0,
            BetweennessScale::Pairs => pairs / 2.0,
            BetweennessScale::Fraction => pairs / (outside * (outside - 1.0)),
        }
    };
    Ok(sums.into_iter().enumerate().map(group).collect())
}

/// Clusters of which the paths are looked at together.
const CLUSTERS: usize = 64;

/// Parts of the sources whose sums are made one after the other: a constant, so that rounding is the same on every machine.
const PARTS: usize = 64;

/// Adds up what `work` makes of the shortest paths from every source.
fn over_sources(
    graph: &CsrGraph,
    sources: &[usize],
    width: usize,
    extra: usize,
    progress: &dyn Progress,
    work: impl Fn(&mut Paths, usize, &mut [f64]) + Sync,
) -> Result<Vec<f64>> {
    let size = sources.len().div_ceil(PARTS).max(1);
    let mut total = vec![0.0; width];
    // As many parts at a time as there are threads: each has a sum of its own.
    for group in sources.chunks(size * rayon::current_num_threads()) {
        let parts: Vec<Vec<f64>> = group
            .par_chunks(size)
            .map(|sources| {
                let mut paths = Paths::new(graph.n_nodes(), extra);
                let mut sums = vec![0.0; width];
                for &source in sources {
                    progress.check()?;
                    paths.follow(graph, source);
                    work(&mut paths, source, &mut sums);
                    progress.advance(1);
                }
                Ok(sums)
            })
            .collect::<Result<_>>()?;
        parts.iter().for_each(|part| add(&mut total, part));
    }
    Ok(total)
}

/// Counts of paths above this are divided by it, since they grow beyond all numbers within a few hundred steps.
const MANY: f64 = (1_u128 << 127) as f64;

/// The shortest paths from one node.
struct Paths {
    search: Search,
    counts: Counts,
    /// Room for what is made of them.
    extra: Vec<f64>,
}

/// The number of shortest paths to every node, divided by [`MANY`] as often as `divided` says.
///
/// It is at least 1 where it was divided, so that none is lost beside a larger one.
struct Counts {
    count: Vec<f64>,
    divided: Vec<u32>,
}

impl Counts {
    /// The part of the paths to a node that come by way of a neighbor before it.
    fn share(&self, before: usize, node: usize) -> f64 {
        let share = self.count[before] / self.count[node];
        // To a node there are no fewer paths than to one before it.
        match self.divided[node] - self.divided[before] {
            0 => share,
            more => share / MANY.powi(more as i32),
        }
    }

    /// Adds the paths to a node to those of one after it.
    fn pass_on(&mut self, node: usize, other: usize) {
        let (mut more, of) = (self.count[node], self.divided[node]);
        let (count, divided) = (&mut self.count[other], &mut self.divided[other]);
        if of > *divided {
            *count /= MANY.powi((of - *divided) as i32);
            *divided = of;
        } else if of < *divided {
            more /= MANY.powi((*divided - of) as i32);
        }
        *count += more;
        if *count > MANY {
            *count /= MANY;
            *divided += 1;
        }
    }
}

impl Paths {
    fn new(n: usize, extra: usize) -> Self {
        Self {
            search: Search::new(n),
            counts: Counts {
                count: vec![0.0; n],
                divided: vec![0; n],
            },
            extra: vec![0.0; n * extra],
        }
    }

    fn follow(&mut self, graph: &CsrGraph, source: usize) {
        let Self { search, counts, .. } = self;
        for &node in &search.order {
            counts.count[node as usize] = 0.0;
            counts.divided[node as usize] = 0;
        }
        counts.count[source] = 1.0;
        search.follow(graph, source, |node, other| counts.pass_on(node, other));
    }

    /// Adds, for every cluster, the part of the shortest paths to each node outside it that passes through it; `own` is the
    /// cluster of the source, and `sums` has as many entries as there is [`extra`](Self::extra) room for every node.
    fn add_avoided(
        &mut self,
        graph: &CsrGraph,
        own: Option<usize>,
        cluster: impl Fn(usize) -> Option<usize>,
        sums: &mut [f64],
    ) {
        let k = sums.len();
        // The part of the shortest paths to each node that avoids each cluster.
        let mut avoiding = std::mem::take(&mut self.extra);
        let mut here = vec![0.0; k];
        for &node in &self.search.order {
            let node = node as usize;
            let is_source = self.search.steps(node) == 0;
            here.fill(f64::from(u8::from(is_source)));
            for &before in graph.neighbors(node) {
                let before = before as usize;
                if self.search.is_before(before, node) {
                    let share = self.counts.share(before, node);
                    let there = &avoiding[before * k..][..k];
                    here.iter_mut()
                        .zip(there)
                        .for_each(|(here, there)| *here += share * there);
                }
            }
            let of_node = cluster(node);
            for (code, here) in here.iter_mut().enumerate() {
                if of_node == Some(code) {
                    *here = 0.0;
                } else if !is_source && own != Some(code) {
                    sums[code] += 1.0 - *here;
                }
            }
            avoiding[node * k..][..k].copy_from_slice(&here);
        }
        self.extra = avoiding;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;
    use crate::neighbors::lattice_graph;
    use crate::radius_graph;

    fn square(edge: usize) -> CsrGraph {
        let at = |(i, axis): (usize, usize)| [i / edge, i % edge][axis] as f64;
        let points = Array2::from_shape_fn((edge * edge, 2), at);
        lattice_graph(points.view(), None, 4, 1).unwrap()
    }

    /// All shortest paths, one by one, as lists of the nodes between the ends.
    fn all_paths(graph: &CsrGraph, s: usize, t: usize) -> Vec<Vec<usize>> {
        let mut paths = vec![vec![s]];
        let mut seen = vec![s];
        while !paths.is_empty() && !paths.iter().any(|path| path.last() == Some(&t)) {
            let mut longer = Vec::new();
            for path in &paths {
                for &next in graph.neighbors(*path.last().unwrap()) {
                    if !seen.contains(&(next as usize)) {
                        let mut path = path.clone();
                        path.push(next as usize);
                        longer.push(path);
                    }
                }
            }
            seen.extend(longer.iter().map(|path| *path.last().unwrap()));
            paths = longer;
        }
        paths.retain(|path| path.last() == Some(&t));
        paths.iter().map(|p| p[1..p.len() - 1].to_vec()).collect()
    }

    #[test]
    fn nodes_and_groups_have_the_paths_that_pass_through_them() {
        let mut stream = Seed::new(4).stream("points", 0);
        let points = Array2::from_shape_simple_fn((24, 2), || stream.uniform_in(0.0, 5.0));
        let graph = radius_graph(points.view(), 1.5).unwrap();
        let codes: Vec<i32> = (0..24).map(|i| i % 4 - 1).collect();
        let names = ["a", "b", "c", "empty"].map(str::to_owned).to_vec();
        let labels = Categorical::new(codes, names).unwrap();
        let (mut nodes, mut groups) = (vec![0.0; 24], vec![0.0; 4]);
        for s in 0..24 {
            for t in s + 1..24 {
                let paths = all_paths(&graph, s, t);
                let share = 1.0 / paths.len() as f64;
                for path in &paths {
                    path.iter().for_each(|&node| nodes[node] += share);
                    for (code, group) in groups.iter_mut().enumerate() {
                        let member = |&node: &usize| labels.code(node) == Some(code);
                        if !member(&s) && !member(&t) && path.iter().any(member) {
                            *group += share;
                        }
                    }
                }
            }
        }
        let config = BetweennessConfig::new().with_scale(BetweennessScale::Pairs);
        let found = betweenness_centrality(&graph, &config, &NoProgress).unwrap();
        let found_groups = group_betweenness(&graph, &labels, &config, &NoProgress).unwrap();
        let pairs = nodes
            .iter()
            .zip(&found)
            .chain(groups.iter().zip(&found_groups));
        for (expected, found) in pairs {
            assert!((expected - found).abs() < 1e-10, "{found} ≠ {expected}");
        }
    }

    #[test]
    fn more_paths_than_a_number_can_count_are_shared_as_few_are() {
        // From a corner of 700 × 700 nodes there are C(i + j, j) shortest paths to (i, j): up to 10⁴²⁰, and 1 at the border.
        // By way of (i − 1, j) come i of i + j.
        let edge = 700;
        let graph = square(edge);
        let mut paths = Paths::new(edge * edge, 0);
        paths.follow(&graph, 0);
        assert!(paths.counts.divided.iter().any(|&divided| divided > 8));
        for i in 1..edge {
            for j in 0..edge {
                let share = paths.counts.share((i - 1) * edge + j, i * edge + j);
                let expected = i as f64 / (i + j) as f64;
                assert!((share - expected).abs() < 1e-11, "{i} {j}: {share}");
            }
        }
    }

    #[test]
    fn few_paths_are_not_lost_beside_very_many_of_the_same_length() {
        // From node 0 a chain of 2,400 nodes, and 1,200 diamonds one after another: 2¹²⁰⁰ paths of the same length.
        let diamonds = 1200;
        let mut edges = Vec::new();
        let mut tip = 0;
        let mut next = 1;
        for _ in 0..diamonds {
            edges.extend([
                (tip, next),
                (tip, next + 1),
                (next, next + 2),
                (next + 1, next + 2),
            ]);
            (tip, next) = (next + 2, next + 3);
        }
        let chain = next..next + 2 * diamonds;
        edges.push((0, chain.start));
        edges.extend(chain.clone().zip(chain.start + 1..chain.end));
        let n = chain.end;
        let mut rows = vec![Vec::new(); n];
        for (a, b) in edges {
            rows[a].push(b as u32);
            rows[b].push(a as u32);
        }
        rows.iter_mut().for_each(|row| row.sort_unstable());
        let mut indptr = vec![0];
        indptr.extend(rows.iter().scan(0, |sum, row| {
            *sum += row.len();
            Some(*sum)
        }));
        let indices = rows.concat();
        let values = vec![1.0; indices.len()];
        let graph = CsrGraph::new(indptr, indices, values).unwrap();
        let found = dependencies(&graph, &[0], &NoProgress).unwrap();
        for (i, node) in chain.clone().enumerate() {
            assert_eq!(found[node], (2 * diamonds - 1 - i) as f64, "{i}");
        }
        // A side of the first diamond: half of all that lies behind it.
        assert_eq!(found[1], (3 * diamonds - 2) as f64 / 2.0);
        let codes = (0..n).map(|node| {
            if chain.contains(&node) {
                "chain"
            } else {
                "diamonds"
            }
        });
        let labels = Categorical::from_labels(codes);
        let config = BetweennessConfig::new().with_pivots(20);
        let groups = group_betweenness(&graph, &labels, &config, &NoProgress).unwrap();
        // Neither lies between nodes of the other.
        assert_eq!(groups, [0.0, 0.0]);
    }

    #[test]
    fn many_clusters_have_what_each_has_alone() {
        let graph = square(14);
        let name = |i: usize| format!("{:03}", i * 37 % 150);
        let labels = Categorical::from_labels((0..196).map(name));
        let config = BetweennessConfig::new().with_scale(BetweennessScale::Pairs);
        let found = group_betweenness(&graph, &labels, &config, &NoProgress).unwrap();
        assert_eq!(found.len(), 150);
        for code in [0, 63, 64, 127, 128, 149] {
            let own = (0..196).map(|node| labels.code(node) == Some(code));
            let own = Categorical::from_optional_labels(own.map(|own| own.then_some("own")));
            let alone = group_betweenness(&graph, &own, &config, &NoProgress).unwrap();
            assert_eq!(found[code], alone[0], "{code}");
        }
        assert!(found[..].iter().all(|&b| b >= 0.0) && found[70] > 0.0);
    }

    #[test]
    fn pivots_estimate_what_all_nodes_give() {
        let graph = square(12);
        let labels = Categorical::from_labels((0..144).map(|i| (i % 12 / 4).to_string()));
        let all = BetweennessConfig::new();
        let some = all.with_pivots(100).with_seed(Seed::new(2));
        let exact = betweenness_centrality(&graph, &all, &NoProgress).unwrap();
        let estimate = betweenness_centrality(&graph, &some, &NoProgress).unwrap();
        let error = exact.iter().zip(&estimate).map(|(a, b)| (a - b).abs());
        assert!(error.fold(0.0, f64::max) < 0.02);
        let exact = group_betweenness(&graph, &labels, &all, &NoProgress).unwrap();
        let estimate = group_betweenness(&graph, &labels, &some, &NoProgress).unwrap();
        assert!(
            exact
                .iter()
                .zip(&estimate)
                .all(|(a, b)| (a - b).abs() < 0.05)
        );
        let as_many = all.with_pivots(144);
        let found = betweenness_centrality(&graph, &as_many, &NoProgress).unwrap();
        assert_eq!(
            found,
            betweenness_centrality(&graph, &all, &NoProgress).unwrap()
        );
    }

    #[test]
    fn what_has_no_pairs_is_undefined_and_bad_settings_are_refused() {
        let config = BetweennessConfig::new();
        let one = CsrGraph::empty(1);
        let b = betweenness_centrality(&one, &config, &NoProgress).unwrap();
        assert!(b[0].is_nan());
        let whole = Categorical::from_labels(["a"]);
        let b = group_betweenness(&one, &whole, &config, &NoProgress).unwrap();
        assert!(b[0].is_nan());
        let none = betweenness_centrality(&one, &config.with_pivots(0), &NoProgress);
        assert!(none.is_err());
        let token = CancelToken::new();
        token.cancel();
        assert!(betweenness_centrality(&one, &config, &token).is_err());
        assert!(group_betweenness(&CsrGraph::empty(2), &whole, &config, &NoProgress).is_err());
    }
}

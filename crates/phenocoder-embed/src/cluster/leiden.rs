//! Communities of a graph.

use phenocoder_core::{CsrGraph, Progress, Seed, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Clustering;
use crate::evaluate::ranked;
use crate::fuzzy::check_undirected;
use crate::patience::PATIENCE;
use crate::{ConfigError, Error, Result};

const METHOD: &str = "leiden";
/// How freely the refinement chooses among communities that are better than none, in units of weight (Traag et al. 2019,
/// θ).
const RANDOMNESS: f64 = 0.01;
/// What a move must gain to be made, relative to the total weight of the graph: above the rounding of sums.
const LEAST_GAIN: f64 = 1e-13;

/// What a clustering is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeidenObjective {
    /// The weight within communities beyond what strengths alone let expect:
    /// `Σ_c [w_c / 2m − γ (s_c / 2m)²]`, with `w_c` counting both directions and `s_c` the sum of strengths.
    #[default]
    Modularity,
    /// The constant Potts model, `Σ_c [w_c − γ n_c²] / 2m`, with `n_c` the number of nodes.
    Cpm,
}

/// Settings of [`leiden`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LeidenConfig {
    /// γ: larger values make more and smaller clusters (default 1).
    pub resolution: f64,
    /// What is maximized (default modularity).
    pub objective: LeidenObjective,
    /// The largest number of passes over the graph; a run ends when a pass changes nothing (default 10).
    pub iterations: usize,
    /// Runs from different random orders, of which the best is kept (default 4).
    pub restarts: usize,
    /// The source of chance.
    pub seed: Seed,
}

impl Default for LeidenConfig {
    fn default() -> Self {
        Self {
            resolution: 1.0,
            objective: LeidenObjective::Modularity,
            iterations: 10,
            restarts: 4,
            seed: Seed::default(),
        }
    }
}

impl LeidenConfig {
    /// Sets γ.
    #[must_use]
    pub fn with_resolution(mut self, resolution: f64) -> Self {
        self.resolution = resolution;
        self
    }

    /// Sets what is maximized.
    #[must_use]
    pub fn with_objective(mut self, objective: LeidenObjective) -> Self {
        self.objective = objective;
        self
    }

    /// Sets the largest number of passes.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the number of runs.
    #[must_use]
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// Sets the source of chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when the resolution is not positive or a number is 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let gamma = self.resolution;
        let positive = gamma > 0.0 && gamma.is_finite();
        ConfigError::check(positive, "resolution", "a positive number", gamma)?;
        ConfigError::check(self.iterations > 0, "iterations", "at least 1", 0)?;
        ConfigError::check(self.restarts > 0, "restarts", "at least 1", 0)
    }
}

/// Finds communities of an undirected, weighted graph by the Leiden method: moving nodes, refining, aggregating.
///
/// Every community found is connected.
/// A node without edges is a cluster of its own.
/// Traag, Waltman & van Eck 2019, doi:10.1038/s41598-019-41695-z.
///
/// # Differences from scanpy's `tl.leiden`
///
/// Several runs are made and the best is kept, so that quality depends less on the seed.
/// Each is of at most [`LeidenConfig::iterations`] passes; the one run of scanpy goes on until nothing changes, or for a
/// given number of passes.
///
/// # Errors
///
/// [`Error::NotSymmetric`] or [`Error::EdgeWeight`] for a directed graph or bad weights, [`Error::Config`] for a setting
/// outside its range, [`Error::Overflow`] for a resolution so large beside the weights that the objective is beyond any
/// number, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CsrGraph, NoProgress};
/// use phenocoder_embed::cluster::{LeidenConfig, leiden};
///
/// // Two pairs.
/// let graph = CsrGraph::new(vec![0, 1, 2, 3, 4], vec![1, 0, 3, 2], vec![1.0; 4])?;
/// let found = leiden(&graph, &LeidenConfig::default(), &NoProgress)?;
/// assert_eq!(found.labels, [0, 0, 1, 1]);
/// assert!((found.quality - 0.5).abs() < 1e-12);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "tl.leiden")]
#[doc(alias = "community_leiden")]
pub fn leiden(
    graph: &CsrGraph,
    config: &LeidenConfig,
    progress: &dyn Progress,
) -> Result<Clustering> {
    config.validate()?;
    check_undirected(graph)?;
    let network = Network::new(graph, config);
    progress.start(METHOD, Some(config.restarts as u64));
    let best = best_run(&network, config, progress);
    progress.finish();
    best
}

/// The clustering of the highest objective among the runs.
pub(super) fn best_run(
    network: &Network,
    config: &LeidenConfig,
    progress: &dyn Progress,
) -> Result<Clustering> {
    let runs: Result<Vec<(f64, Vec<u32>)>> = (0..config.restarts)
        .into_par_iter()
        .map(|restart| {
            let mut stream = config.seed.stream("leiden", restart as u64);
            let mut labels: Vec<u32> = (0..network.len() as u32).collect();
            for _ in 0..config.iterations {
                progress.check()?;
                if !pass(network, &mut labels, &mut stream, progress)? {
                    break;
                }
            }
            progress.advance(1);
            Ok((network.quality(&labels)?, labels))
        })
        .collect();
    let mut best: Option<(f64, Vec<u32>)> = None;
    for run in runs? {
        if best.as_ref().is_none_or(|(quality, _)| run.0 > *quality) {
            best = Some(run);
        }
    }
    let (quality, labels) = best.unwrap_or_default();
    Ok(Clustering::new(&labels, quality))
}

/// The objective of a given clustering of a graph.
///
/// # Errors
///
/// [`Error::Shape`] when there is not one label per node, otherwise as [`leiden`].
pub fn quality(graph: &CsrGraph, labels: &[u32], config: &LeidenConfig) -> Result<f64> {
    config.validate()?;
    check_undirected(graph)?;
    phenocoder_core::ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    // Labels may be any numbers; ranks are below the number of nodes, which 32 bits can name.
    let ranks: Vec<u32> = ranked(labels).0.into_iter().map(|r| r as u32).collect();
    let clustering = Clustering::new(&ranks, 0.0);
    Network::new(graph, config).quality(&clustering.labels)
}

/// A graph whose nodes may stand for several nodes of the graph below.
pub(super) struct Network {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    weights: Vec<f64>,
    /// The weight within a node, both directions counted.
    within: Vec<f64>,
    /// What the objective's penalty counts: strengths or nodes.
    mass: Vec<f64>,
    /// The penalty of two masses meeting.
    penalty: f64,
    /// The weight of all edges, both directions counted.
    total: f64,
    /// What all weights were multiplied by.
    scale: f64,
}

impl Network {
    pub(super) fn new(graph: &CsrGraph, config: &LeidenConfig) -> Self {
        let n = graph.n_nodes();
        let scale = scale_of(graph.values());
        let (mut indptr, mut indices, mut weights) = (vec![0], Vec::new(), Vec::new());
        let (mut within, mut strength) = (vec![0.0; n], vec![0.0; n]);
        for node in 0..n {
            for (other, weight) in graph.row(node) {
                let weight = scale * weight;
                strength[node] += weight;
                if other == node {
                    within[node] += weight;
                } else if weight > 0.0 {
                    indices.push(other as u32);
                    weights.push(weight);
                }
            }
            indptr.push(indices.len());
        }
        let total: f64 = strength.iter().sum();
        let (mass, penalty) = match config.objective {
            LeidenObjective::Modularity if total > 0.0 => (strength, config.resolution / total),
            LeidenObjective::Modularity => (strength, 0.0),
            LeidenObjective::Cpm => (vec![1.0; n], scale * config.resolution),
        };
        Self {
            indptr,
            indices,
            weights,
            within,
            mass,
            penalty,
            total,
            scale,
        }
    }

    fn len(&self) -> usize {
        self.mass.len()
    }

    fn row(&self, node: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.indptr[node]..self.indptr[node + 1];
        let others = self.indices[range.clone()].iter().map(|&i| i as usize);
        others.zip(self.weights[range].iter().copied())
    }

    fn quality(&self, labels: &[u32]) -> Result<f64> {
        if self.total == 0.0 {
            return Ok(0.0);
        }
        let count = labels.iter().max().map_or(0, |&m| m as usize + 1);
        let (mut within, mut mass) = (0.0, vec![0.0; count]);
        for node in 0..self.len() {
            let label = labels[node];
            mass[label as usize] += self.mass[node];
            within += self.within[node];
            within += self
                .row(node)
                .filter(|edge| labels[edge.0] == label)
                .map(|edge| edge.1)
                .sum::<f64>();
        }
        let masses: f64 = mass.iter().map(|m| m * m).sum();
        let quality = (within - self.penalty * masses) / self.total;
        if quality.is_finite() {
            Ok(quality)
        } else {
            Err(Error::Overflow { method: METHOD })
        }
    }

    /// The network whose nodes are the groups.
    fn aggregate(&self, groups: &[u32], count: usize) -> Self {
        let members = Members::new(groups, count);
        let (mut indptr, mut indices, mut weights) = (vec![0], Vec::new(), Vec::new());
        let (mut within, mut mass) = (vec![0.0; count], vec![0.0; count]);
        let mut tally = Tally::new(count);
        for group in 0..count {
            for &node in members.of(group) {
                let node = node as usize;
                within[group] += self.within[node];
                mass[group] += self.mass[node];
                for (other, weight) in self.row(node) {
                    tally.add(groups[other], weight);
                }
            }
            tally.touched.sort_unstable();
            for &other in &tally.touched {
                let weight = tally.weight[other as usize];
                if other as usize == group {
                    within[group] += weight;
                } else {
                    indices.push(other);
                    weights.push(weight);
                }
            }
            tally.clear();
            indptr.push(indices.len());
        }
        Self {
            indptr,
            indices,
            weights,
            within,
            mass,
            penalty: self.penalty,
            total: self.total,
            scale: self.scale,
        }
    }
}

/// The power of two that brings the sum of all weights to 1 or more and below 2; a sum below 2⁻¹⁰²² to 2⁻⁵² or more.
///
/// Multiplied by it, weights keep their digits, and neither their sums nor the squares of these are beyond any number or
/// 0; what becomes 0 has no digit beside the sum.
fn scale_of(weights: &[f64]) -> f64 {
    // One over the least numbers is beyond any number.
    const LEAST: i32 = -1022;
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return 1.0;
    }
    let exponent = libm::ilogb(largest).max(LEAST);
    let by_largest = libm::scalbn(1.0, -exponent);
    let total: f64 = weights.iter().map(|weight| by_largest * weight).sum();
    libm::scalbn(1.0, -exponent - libm::ilogb(total).max(0))
}

/// The members of each group, rising.
struct Members {
    indptr: Vec<usize>,
    nodes: Vec<u32>,
}

impl Members {
    fn new(groups: &[u32], count: usize) -> Self {
        let mut indptr = vec![0; count + 1];
        for &group in groups {
            indptr[group as usize + 1] += 1;
        }
        for i in 0..count {
            indptr[i + 1] += indptr[i];
        }
        let mut next = indptr.clone();
        let mut nodes = vec![0; groups.len()];
        for (node, &group) in groups.iter().enumerate() {
            nodes[next[group as usize]] = node as u32;
            next[group as usize] += 1;
        }
        Self { indptr, nodes }
    }

    fn of(&self, group: usize) -> &[u32] {
        &self.nodes[self.indptr[group]..self.indptr[group + 1]]
    }
}

/// Sums of weights per group, cleared in the time of the groups touched.
struct Tally {
    weight: Vec<f64>,
    marked: Vec<bool>,
    touched: Vec<u32>,
}

impl Tally {
    fn new(count: usize) -> Self {
        Self {
            weight: vec![0.0; count],
            marked: vec![false; count],
            touched: Vec::new(),
        }
    }

    fn add(&mut self, group: u32, weight: f64) {
        if !std::mem::replace(&mut self.marked[group as usize], true) {
            self.touched.push(group);
        }
        self.weight[group as usize] += weight;
    }

    fn clear(&mut self) {
        for group in self.touched.drain(..) {
            self.weight[group as usize] = 0.0;
            self.marked[group as usize] = false;
        }
    }
}

/// One pass: move, refine, aggregate until nothing can be aggregated. Says whether the clustering got better.
fn pass(
    base: &Network,
    labels: &mut [u32],
    stream: &mut Stream,
    progress: &dyn Progress,
) -> Result<bool> {
    let before = base.quality(labels)?;
    let mut level: Option<Network> = None;
    // The node of the current level that each node of the base belongs to.
    let mut member: Vec<u32> = (0..base.len() as u32).collect();
    let mut communities = compact(labels).0;
    loop {
        progress.check()?;
        let network = level.as_ref().unwrap_or(base);
        move_nodes(network, &mut communities, stream, progress)?;
        let (compacted, count) = compact(&communities);
        communities = compacted;
        for (label, &node) in labels.iter_mut().zip(&member) {
            *label = communities[node as usize];
        }
        if count == network.len() {
            break;
        }
        let (refined, refined_count) = refine(network, &communities, count, stream, progress)?;
        // When the refinement merges nothing, the communities themselves become the nodes.
        let (groups, groups_count) = if refined_count == network.len() {
            (communities.clone(), count)
        } else {
            (refined, refined_count)
        };
        let mut next = vec![0_u32; groups_count];
        for (node, &group) in groups.iter().enumerate() {
            next[group as usize] = communities[node];
        }
        for node in &mut member {
            *node = groups[*node as usize];
        }
        level = Some(network.aggregate(&groups, groups_count));
        communities = next;
    }
    Ok(base.quality(labels)? > before + 1e-12)
}

/// What the communities hold while nodes move between them.
struct Held {
    mass: Vec<f64>,
    size: Vec<u32>,
    /// Numbers of communities without nodes.
    empty: Vec<u32>,
}

impl Held {
    fn new(network: &Network, communities: &[u32]) -> Self {
        let n = network.len();
        let (mut mass, mut size) = (vec![0.0; n], vec![0_u32; n]);
        for (node, &community) in communities.iter().enumerate() {
            mass[community as usize] += network.mass[node];
            size[community as usize] += 1;
        }
        let numbers = (0..n as u32).rev();
        let empty = numbers.filter(|&c| size[c as usize] == 0).collect();
        Self { mass, size, empty }
    }

    /// The community in which a node gains most, whose mass has left its own; `tally` is what links it to each.
    fn best(&self, network: &Network, node: usize, own: u32, tally: &Tally) -> u32 {
        let own_mass = network.mass[node];
        let gain = |community: u32| {
            let at = community as usize;
            tally.weight[at] - network.penalty * own_mass * self.mass[at]
        };
        let (mut best, mut best_gain) = (own, gain(own) + LEAST_GAIN * network.total);
        // Alone a node gains nothing and loses nothing.
        if self.size[own as usize] > 1
            && best_gain < 0.0
            && let Some(&free) = self.empty.last()
        {
            (best, best_gain) = (free, 0.0);
        }
        for &community in &tally.touched {
            let here = gain(community);
            if here > best_gain {
                (best, best_gain) = (community, here);
            }
        }
        best
    }

    /// Counts a node that leaves one community for another, the last empty one or one with nodes.
    fn count_move(&mut self, from: u32, to: u32) {
        self.size[from as usize] -= 1;
        if self.size[to as usize] == 0 {
            self.empty.pop();
        }
        self.size[to as usize] += 1;
        if self.size[from as usize] == 0 {
            self.mass[from as usize] = 0.0;
            self.empty.push(from);
        }
    }
}

/// Moves nodes to the community that gains most until no node can gain, visiting those whose neighbours moved again.
fn move_nodes(
    network: &Network,
    communities: &mut [u32],
    stream: &mut Stream,
    progress: &dyn Progress,
) -> Result<()> {
    let n = network.len();
    let mut held = Held::new(network, communities);
    let mut queue: std::collections::VecDeque<u32> = stream
        .permutation(n)
        .into_iter()
        .map(|i| i as u32)
        .collect();
    let mut waiting = vec![true; n];
    let mut tally = Tally::new(n);
    let mut visits = 0_usize;
    while let Some(node) = queue.pop_front() {
        ask(&mut visits, progress)?;
        let node = node as usize;
        waiting[node] = false;
        let own = communities[node];
        for (other, weight) in network.row(node) {
            tally.add(communities[other], weight);
        }
        held.mass[own as usize] -= network.mass[node];
        let best = held.best(network, node, own, &tally);
        tally.clear();
        held.mass[best as usize] += network.mass[node];
        if best == own {
            continue;
        }
        communities[node] = best;
        held.count_move(own, best);
        for (other, _) in network.row(node) {
            if communities[other] != best && !waiting[other] {
                waiting[other] = true;
                queue.push_back(other as u32);
            }
        }
    }
    Ok(())
}

/// Counts a visit, and asks now and then whether to stop.
fn ask(visits: &mut usize, progress: &dyn Progress) -> Result<()> {
    *visits += 1;
    if visits.is_multiple_of(PATIENCE) {
        progress.check()?;
    }
    Ok(())
}

/// The parts that communities are split into, each under the number of one of its nodes.
struct Refined {
    part: Vec<u32>,
    mass: Vec<f64>,
    alone: Vec<bool>,
    /// The weight between a part and the rest of its community.
    outside: Vec<f64>,
}

impl Refined {
    /// Every node is a part.
    fn new(network: &Network, communities: &[u32]) -> Self {
        let n = network.len();
        let outside = |node: usize| {
            let edges = network.row(node);
            let inside = edges.filter(|edge| communities[edge.0] == communities[node]);
            inside.map(|edge| edge.1).sum::<f64>()
        };
        Self {
            part: (0..n as u32).collect(),
            mass: network.mass.clone(),
            alone: vec![true; n],
            outside: (0..n).map(outside).collect(),
        }
    }

    /// Puts a node that is alone into a part that it is linked to with so much weight.
    fn join(&mut self, node: usize, part: u32, weight: f64) {
        let to = part as usize;
        // What lay between the node and the part lies within it now.
        self.outside[to] += self.outside[node] - 2.0 * weight;
        self.outside[node] = 0.0;
        self.mass[to] += self.mass[node];
        self.mass[node] = 0.0;
        self.part[node] = part;
        self.alone[node] = false;
        self.alone[to] = false;
    }
}

/// Splits communities into well connected, connected parts, starting from single nodes.
fn refine(
    network: &Network,
    communities: &[u32],
    count: usize,
    stream: &mut Stream,
    progress: &dyn Progress,
) -> Result<(Vec<u32>, usize)> {
    let members = Members::new(communities, count);
    let mut refined = Refined::new(network, communities);
    let least = LEAST_GAIN * network.total;
    let mut tally = Tally::new(network.len());
    let mut choices: Vec<(u32, f64)> = Vec::new();
    let mut visits = 0_usize;
    for community in 0..count {
        let nodes = members.of(community);
        if nodes.len() == 1 {
            continue;
        }
        let community_mass: f64 = nodes.iter().map(|&node| network.mass[node as usize]).sum();
        let well_connected = |part_mass: f64, out: f64| {
            out + least >= network.penalty * part_mass * (community_mass - part_mass)
        };
        let mut order: Vec<u32> = nodes.to_vec();
        stream.shuffle(&mut order);
        for node in order {
            ask(&mut visits, progress)?;
            let node = node as usize;
            let own_mass = network.mass[node];
            if !refined.alone[node] || !well_connected(own_mass, refined.outside[node]) {
                continue;
            }
            for (other, weight) in network.row(node) {
                if communities[other] as usize == community {
                    tally.add(refined.part[other], weight);
                }
            }
            choices.clear();
            for &part in &tally.touched {
                let at = part as usize;
                let gain = tally.weight[at] - network.penalty * own_mass * refined.mass[at];
                if gain >= 0.0 && well_connected(refined.mass[at], refined.outside[at]) {
                    choices.push((part, gain));
                }
            }
            if let Some(part) = choose(&choices, network.scale, stream) {
                refined.join(node, part, tally.weight[part as usize]);
            }
            tally.clear();
        }
    }
    Ok(compact(&refined.part))
}

/// One of the choices, or none with the weight of gain 0, by `exp(gain / θ)`; gains are multiplied by `scale`.
fn choose(choices: &[(u32, f64)], scale: f64, stream: &mut Stream) -> Option<u32> {
    let largest = choices.iter().map(|choice| choice.1).fold(0.0, f64::max);
    let weight = |gain: f64| libm::exp((gain - largest) / scale / RANDOMNESS);
    let total: f64 = weight(0.0) + choices.iter().map(|choice| weight(choice.1)).sum::<f64>();
    let mut left = stream.uniform() * total - weight(0.0);
    if left < 0.0 {
        return None;
    }
    for &(part, gain) in choices {
        left -= weight(gain);
        if left < 0.0 {
            return Some(part);
        }
    }
    choices.last().map(|choice| choice.0)
}

/// Numbers groups `0..count` in the order of their first member.
fn compact(groups: &[u32]) -> (Vec<u32>, usize) {
    let size = groups.iter().max().map_or(0, |&m| m as usize + 1);
    let mut number = vec![u32::MAX; size];
    let mut count = 0;
    let compacted = groups
        .iter()
        .map(|&group| {
            let slot = &mut number[group as usize];
            if *slot == u32::MAX {
                *slot = count;
                count += 1;
            }
            *slot
        })
        .collect();
    (compacted, count as usize)
}

#[cfg(test)]
mod tests;

//! How the graph is made: in batches, so that threads do not matter.

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::graph::{Layer, Near, Vectors, Walk};
use super::{HnswConfig, METHOD};
use crate::{Error, Result};

/// The part of the graph by which a batch lets it grow, as a divisor: nodes of a batch do not see each other.
const GROWTH: usize = 8;
/// The largest batch, as a divisor of the number of nodes (2 % in Manohar et al. 2024).
const BATCHES: usize = 50;

/// The numbers of nodes of the layers, from the highest down: each has `links` times those of the one above.
pub(super) fn layer_sizes(nodes: usize, links: usize) -> Vec<usize> {
    let mut sizes = vec![nodes];
    sizes.extend(
        std::iter::successors(Some(nodes / links), |n| Some(n / links)).take_while(|&n| n > 1),
    );
    sizes.reverse();
    sizes
}

/// Makes the layers, from the highest down.
///
/// Nodes are taken in their order, so every layer begins with the nodes of the one above, and is the graph as it was
/// when it had that many.
pub(super) fn build(
    vectors: &Vectors,
    config: &HnswConfig,
    progress: &dyn Progress,
) -> Result<Vec<Layer>> {
    let largest = (vectors.len() / BATCHES).max(1);
    let mut graph = Layer::new(2 * config.links, vectors.len());
    let mut upper: Vec<Layer> = Vec::new();
    // Walks from nodes near each other meet the same ones; nothing else depends on the order in a batch.
    let places = vectors.places();
    progress.start(METHOD, Some(vectors.len() as u64));
    progress.advance(1);
    for size in layer_sizes(vectors.len(), config.links) {
        while graph.len() < size {
            let batch = (graph.len() / GROWTH).clamp(1, largest);
            let first = graph.len() as u32;
            let mut nodes: Vec<u32> = (first..).take(batch.min(size - graph.len())).collect();
            nodes.sort_unstable_by_key(|&node| places[node as usize]);
            let found = search_links(vectors, &upper, &graph, &nodes, config, progress)?;
            link(vectors, &mut graph, &found);
            progress.advance(nodes.len() as u64);
        }
        if size < vectors.len() {
            upper.push(thinned(vectors, &graph, config.links));
        }
    }
    progress.finish();
    upper.push(graph);
    Ok(upper)
}

/// These next nodes with their links to nodes that are there.
fn search_links(
    vectors: &Vectors,
    upper: &[Layer],
    graph: &Layer,
    nodes: &[u32],
    config: &HnswConfig,
    progress: &dyn Progress,
) -> Result<Vec<(u32, Vec<Near>)>> {
    nodes
        .par_iter()
        .map_init(
            || Walk::new(graph.len()),
            |walk, &node| {
                progress.check()?;
                let layers = upper.iter().chain([graph]);
                let vector = vectors.of(node);
                let near = vectors.search(layers, vector, 0, config.build_width, walk);
                Ok::<_, Error>((node, vectors.diverse(near, config.links)))
            },
        )
        .collect()
}

/// Adds nodes with the links found, and the links back.
fn link(vectors: &Vectors, graph: &mut Layer, found: &[(u32, Vec<Near>)]) {
    graph.grow(graph.len() + found.len());
    let mut back: Vec<(u32, Near)> = Vec::new();
    for (node, links) in found {
        graph.set(*node, links.iter().map(|near| near.node()));
        let backward = |near: &Near| (near.node(), near.with_node(*node));
        back.extend(links.iter().map(backward));
    }
    back.par_sort_unstable();
    let ends: Vec<&[(u32, Near)]> = back.chunk_by(|a, b| a.0 == b.0).collect();
    let renewed: Vec<(u32, Vec<u32>)> = ends
        .par_iter()
        .filter_map(|links| {
            let (end, _) = links.first()?;
            let new = links.iter().map(|(_, near)| *near);
            Some((*end, joined(vectors, graph, *end, new)))
        })
        .collect();
    for (node, links) in renewed {
        graph.set(node, links.into_iter());
    }
}

/// The links of a node with new ones; where they are too many, those in different directions.
fn joined(
    vectors: &Vectors,
    graph: &Layer,
    node: u32,
    new: impl ExactSizeIterator<Item = Near>,
) -> Vec<u32> {
    let links = graph.links(node);
    if links.len() + new.len() <= graph.most() {
        let new = new.map(|near| near.node());
        return links.iter().copied().chain(new).collect();
    }
    let mut candidates = vectors.measured(node, links);
    candidates.extend(new);
    candidates.sort_unstable();
    let diverse = vectors.diverse(&candidates, graph.most());
    diverse.into_iter().map(|near| near.node()).collect()
}

/// The graph as it is, with fewer links of each node.
fn thinned(vectors: &Vectors, graph: &Layer, most: usize) -> Layer {
    let nodes = 0..graph.len() as u32;
    let links: Vec<Vec<Near>> = nodes
        .into_par_iter()
        .map(|node| vectors.diverse(&vectors.measured(node, graph.links(node)), most))
        .collect();
    let mut layer = Layer::new(most, graph.len());
    layer.grow(graph.len());
    for (node, links) in (0..).zip(links) {
        layer.set(node, links.into_iter().map(|near| near.node()));
    }
    layer
}

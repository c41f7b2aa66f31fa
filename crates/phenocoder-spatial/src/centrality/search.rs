//! Which nodes can be reached from one, and in how many steps.

use phenocoder_core::CsrGraph;

/// A breadth-first search, whose memory serves one source after another.
pub(super) struct Search {
    /// The nodes that can be reached, nearest first; the source is the first.
    pub(super) order: Vec<u32>,
    /// The distance of every node, or `u32::MAX`.
    steps: Vec<u32>,
}

impl Search {
    pub(super) fn new(n: usize) -> Self {
        Self {
            order: Vec::new(),
            steps: vec![u32::MAX; n],
        }
    }

    /// The distance of a node that can be reached.
    pub(super) fn steps(&self, node: usize) -> u32 {
        self.steps[node]
    }

    /// Whether a node is one step nearer than another; both can be reached.
    pub(super) fn is_before(&self, before: usize, node: usize) -> bool {
        self.steps[before] + 1 == self.steps[node]
    }

    /// Searches from a node; `pass_on` gets every edge of a shortest path, after all edges to the node that it leaves.
    pub(super) fn follow(
        &mut self,
        graph: &CsrGraph,
        source: usize,
        mut pass_on: impl FnMut(usize, usize),
    ) {
        for &node in &self.order {
            self.steps[node as usize] = u32::MAX;
        }
        self.order.clear();
        self.order.push(source as u32);
        self.steps[source] = 0;
        let (mut first, mut level) = (0, 0);
        while first < self.order.len() {
            let last = self.order.len();
            level += 1;
            for i in first..last {
                let node = self.order[i] as usize;
                for &other in graph.neighbors(node) {
                    let steps = &mut self.steps[other as usize];
                    if *steps == u32::MAX {
                        *steps = level;
                        self.order.push(other);
                    }
                    if *steps == level {
                        pass_on(node, other as usize);
                    }
                }
            }
            first = last;
        }
    }
}

//! The graphs: made by this crate from the points, and compared edge by edge.

use std::collections::BTreeSet;

use ndarray::Array1;
use phenocoder_core::{Categorical, CsrGraph};
use phenocoder_spatial::neighbors::{
    PercentileOf, cosine, delaunay_graph, is_symmetric, knn_graph, knn_graph_within, lattice_graph,
    radius_interval_graph, rings, spectral, within_distances, within_percentile,
};
use phenocoder_spatial::{radius_graph, radius_graph_within};

use super::{Ledger, Within, npz_numbers};
use crate::sets::{Set, numbers};

const EXACT: Within = Within::Absolute(0.0);
const DISTANCE: Within = Within::Relative(1e-12);
/// Weights that the peer stores in 32 bits.
const SINGLE: Within = Within::Absolute(1e-6);

/// Where several graphs are right, for points of a lattice tie.
#[derive(Clone, Copy, PartialEq)]
enum Ties {
    None,
    /// Which of the neighbors at the same distance are taken.
    Nearest,
    /// Which diagonal of a square.
    Diagonals,
}

/// The connectivities and distances of a graph.
struct Built {
    name: &'static str,
    conn: CsrGraph,
    dist: CsrGraph,
    values: Within,
    ties: Ties,
}

pub(super) fn compare(set: &Set, ledger: &mut Ledger<'_>) {
    for graph in build(set) {
        let places: &[(&str, &CsrGraph, Within)] = &[
            ("conn", &graph.conn, graph.values),
            ("dist", &graph.dist, DISTANCE),
        ];
        for (part, found, within) in places {
            let key = |array: &str| format!("g_{}_{part}_{array}", graph.name);
            let indptr: Vec<f64> = found.indptr().iter().map(|&i| i as f64).collect();
            let indices: Vec<f64> = found.indices().iter().map(|&i| f64::from(i)).collect();
            match graph.ties {
                Ties::None => {
                    ledger.npz(&key("indptr"), &indptr, EXACT);
                    ledger.npz(&key("indices"), &indices, EXACT);
                    ledger.npz(&key("data"), found.values(), *within);
                }
                Ties::Nearest => {
                    ledger.npz(&key("indptr"), &indptr, EXACT);
                    nearest(set, ledger, &graph, found, part, *within);
                }
                Ties::Diagonals => diagonals(set, ledger, &graph, found, part),
            }
        }
        let meta = |name: &str| format!("/graphs/{}/{name}", graph.name);
        let sum = |graph: &CsrGraph| graph.values().iter().sum::<f64>();
        let loops = (0..graph.conn.n_nodes()).flat_map(|node| {
            let row = graph.conn.row(node);
            row.filter(move |edge| edge.0 == node).map(|edge| edge.1)
        });
        let symmetric = f64::from(u8::from(is_symmetric(&graph.conn)));
        ledger.json(&meta("conn_nnz"), &[graph.conn.n_edges() as f64], EXACT);
        ledger.json(&meta("dist_nnz"), &[graph.dist.n_edges() as f64], EXACT);
        ledger.json(
            &meta("conn_sum"),
            &[sum(&graph.conn)],
            Within::Relative(1e-6),
        );
        ledger.json(
            &meta("dist_sum"),
            &[sum(&graph.dist)],
            Within::Relative(1e-12),
        );
        ledger.json(&meta("diag_sum"), &[loops.sum()], Within::Relative(1e-6));
        ledger.json(&meta("symmetric"), &[symmetric], EXACT);
    }
}

fn build(set: &Set) -> Vec<Built> {
    let points = set.points.view();
    let inputs = &set.json["inputs"];
    let radii = set.radii();
    let ends = numbers(&inputs["interval"]);
    let k = inputs["knn"].as_u64().unwrap() as usize;
    let codes: Array1<i64> = set.npz.array("in_lib");
    let libraries = Categorical::from_labels(codes.iter().map(ToString::to_string));
    let lattice = set.name == "grid2d";
    let percentile =
        |graph: &CsrGraph, p| within_percentile(graph, p, PercentileOf::EdgesAndNodes).unwrap();
    let near = radius_graph(points, radii[1]).unwrap();
    let nearest = knn_graph(points, k).unwrap();
    let triangles = delaunay_graph(points).unwrap();
    let graph = |name, dist: CsrGraph, ties: Ties| Built {
        name,
        conn: dist.with_values(vec![1.0; dist.n_edges()]).unwrap(),
        dist,
        values: EXACT,
        ties: if lattice { ties } else { Ties::None },
    };
    let weighted = |name, conn| Built {
        name,
        conn,
        dist: near.clone(),
        values: SINGLE,
        ties: Ties::None,
    };
    vec![
        graph(
            "radius0",
            radius_graph(points, radii[0]).unwrap(),
            Ties::None,
        ),
        graph("radius1", near.clone(), Ties::None),
        graph(
            "radius2",
            radius_graph(points, radii[2]).unwrap(),
            Ties::None,
        ),
        graph(
            "radius_interval",
            radius_interval_graph(points, None, ends[0], ends[1]).unwrap(),
            Ties::None,
        ),
        Built {
            conn: with_loops(&near),
            ..graph("radius1_diag", near.clone(), Ties::None)
        },
        graph("radius1_pct90", percentile(&near, 90.0), Ties::None),
        weighted("radius1_spectral", spectral(&near)),
        weighted("radius1_cosine", cosine(&near)),
        graph("knn", nearest.clone(), Ties::Nearest),
        graph("knn_pct50", percentile(&nearest, 50.0), Ties::None),
        graph(
            "knn_lib",
            knn_graph_within(points, &libraries, k).unwrap(),
            Ties::Nearest,
        ),
        graph(
            "radius1_lib",
            radius_graph_within(points, &libraries, radii[1]).unwrap(),
            Ties::None,
        ),
        graph("delaunay", triangles.clone(), Ties::Diagonals),
        graph(
            "delaunay_interval",
            within_distances(&triangles, ends[0], ends[1]).unwrap(),
            Ties::Diagonals,
        ),
        graph(
            "delaunay_scalar",
            within_distances(&triangles, 0.0, radii[1]).unwrap(),
            Ties::Diagonals,
        ),
        graph(
            "delaunay_pct99",
            percentile(&triangles, 99.0),
            Ties::Diagonals,
        ),
        graph(
            "grid4",
            lattice_graph(points, None, 4, 1).unwrap(),
            Ties::None,
        ),
        graph(
            "grid4_rings3",
            lattice_graph(points, None, 4, 3).unwrap(),
            Ties::None,
        ),
        graph(
            "grid6_rings2",
            lattice_graph(points, None, 6, 2).unwrap(),
            Ties::None,
        ),
        // From the peer's triangles, so that their ties do not matter.
        graph(
            "grid_del_rings2",
            rings(&set.graph("delaunay", "dist"), 2).unwrap(),
            Ties::None,
        ),
    ]
}

/// The same edges, and every node linked with itself.
fn with_loops(graph: &CsrGraph) -> CsrGraph {
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for node in 0..graph.n_nodes() {
        let mut row = graph.neighbors(node).to_vec();
        row.push(node as u32);
        row.sort_unstable();
        indices.extend(row);
        indptr.push(indices.len());
    }
    let values = vec![1.0; indices.len()];
    CsrGraph::new(indptr, indices, values).unwrap()
}

/// The sorted values of every row must be the same, and the peer's neighbors must be as far away as ours.
fn nearest(
    set: &Set,
    ledger: &mut Ledger<'_>,
    graph: &Built,
    found: &CsrGraph,
    part: &str,
    within: Within,
) {
    let golden = set.graph(graph.name, part);
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let mut errors = [0.0_f64; 2];
    for node in 0..found.n_nodes() {
        let values = |graph: &CsrGraph| sorted(graph.row(node).map(|edge| edge.1).collect());
        let distance = |other: u32| {
            let difference = &set.points.row(node) - &set.points.row(other as usize);
            difference.dot(&difference).sqrt()
        };
        let ours = values(&graph.dist);
        let theirs = sorted(
            golden
                .neighbors(node)
                .iter()
                .map(|&o| distance(o))
                .collect(),
        );
        for (error, (a, b)) in [(0, (values(found), values(&golden))), (1, (ours, theirs))] {
            assert_eq!(a.len(), b.len());
            let differences = a.iter().zip(&b).map(|(a, b)| Within::error(within, *a, *b));
            errors[error] = differences.fold(errors[error], f64::max);
        }
    }
    let numbers = golden.n_edges();
    let key = |array: &str| format!("npz/g_{}_{part}_{array}", graph.name);
    let allowed = within.tolerance().max(1e-12);
    ledger.judged(&key("data"), numbers, errors[0] / allowed);
    ledger.judged(&key("indices"), numbers, errors[1] / 1e-12);
}

/// The same edges along the axes, and one diagonal in the same squares.
fn diagonals(set: &Set, ledger: &mut Ledger<'_>, graph: &Built, found: &CsrGraph, part: &str) {
    let golden = set.graph(graph.name, part);
    let place = |node: usize| [set.points[[node, 0]], set.points[[node, 1]]];
    // An edge by the middle of it: both diagonals of a square have the same.
    let edges = |graph: &CsrGraph| -> BTreeSet<(u64, u64, bool)> {
        let of = |node| {
            graph
                .neighbors(node)
                .iter()
                .map(move |&other| (node, other as usize))
        };
        let all = (0..graph.n_nodes()).flat_map(of);
        let middle = |(a, b)| {
            let (a, b) = (place(a), place(b));
            let along = a[0] == b[0] || a[1] == b[1];
            ((a[0] + b[0]).to_bits(), (a[1] + b[1]).to_bits(), along)
        };
        all.map(middle).collect()
    };
    let lengths = |graph: &CsrGraph| {
        let mut values = graph.values().to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let same = edges(found) == edges(&golden) && found.n_edges() == golden.n_edges();
    let error = if same { 0.0 } else { f64::INFINITY };
    let key = |array: &str| format!("npz/g_{}_{part}_{array}", graph.name);
    ledger.judged(
        &key("indptr"),
        npz_numbers(set, &key("indptr")[4..]).len(),
        error,
    );
    ledger.judged(&key("indices"), golden.n_edges(), error);
    let pairs = lengths(found).into_iter().zip(lengths(&golden));
    let error = pairs.fold(0.0, |most: f64, (a, b)| most.max(DISTANCE.error(a, b)));
    ledger.judged(&key("data"), golden.n_edges(), error / 1e-12);
}

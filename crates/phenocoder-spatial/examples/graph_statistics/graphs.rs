//! The graphs of a set of points, by the names of the layout.

use ndarray::ArrayD;
use phenocoder_core::CsrGraph;
use phenocoder_spatial::neighbors::{
    PercentileOf, cosine, delaunay_graph, is_symmetric, knn_graph, knn_graph_within, lattice_graph,
    radius_interval_graph, rings, spectral, within_distances, within_percentile,
};
use phenocoder_spatial::{radius_graph, radius_graph_within};
use serde_json::{Value, json};

use super::input::Input;
use super::report::{Failure, Numbers, Outcome, Report, number, python};

/// A graph as connectivities and distances.
pub(crate) struct Built {
    pub(crate) name: String,
    params: Vec<(&'static str, String)>,
    /// The connectivities and the distances, or why there is no such graph.
    pub(crate) parts: Outcome<(CsrGraph, CsrGraph)>,
}

impl Built {
    pub(crate) fn conn(&self) -> Outcome<&CsrGraph> {
        let (conn, _) = self.parts.as_ref().map_err(Clone::clone)?;
        Ok(conn)
    }
}

/// All graphs; a note for each that differs from the file's where several are right.
pub(crate) fn build(input: &Input, notes: &mut Vec<String>) -> Vec<Built> {
    let points = input.points.view();
    let parameters = &input.parameters;
    let k = parameters.knn;
    let [low, high] = parameters.interval;
    let (low, high) = (low.min(high), low.max(high));
    let interval = format!("({}, {})", python(low), python(high));
    let radius = |i: usize| -> Outcome<f64> {
        let found = parameters.radii.get(i).copied();
        found.ok_or_else(|| Failure::new("Radii", format!("there is no radius {i}")))
    };
    let radius_text = radius(1).map_or_else(|_| String::new(), python);
    let of_radius = |r: Outcome<f64>| -> Outcome<CsrGraph> { Ok(radius_graph(points, r?)?) };
    let near = of_radius(radius(1));
    let mut settle = |name, found: Outcome<CsrGraph>| found.map(|g| ties(input, name, g, notes));
    let nearest = settle("knn", knn_graph(points, k).map_err(Failure::from));
    let triangles = settle("delaunay", delaunay_graph(points).map_err(Failure::from));
    let libraries = || {
        let libraries = input.libraries.as_ref();
        libraries.ok_or_else(|| Failure::new("Libraries", "the input has no libraries"))
    };
    let nearest_within = || -> Outcome<CsrGraph> { Ok(knn_graph_within(points, libraries()?, k)?) };
    let nearest_within = settle("knn_lib", nearest_within());
    let near_within =
        || -> Outcome<CsrGraph> { Ok(radius_graph_within(points, libraries()?, radius(1)?)?) };
    let percentile = |graph: &Outcome<CsrGraph>, p| -> Outcome<CsrGraph> {
        let graph = graph.as_ref().map_err(Clone::clone)?;
        Ok(within_percentile(graph, p, PercentileOf::EdgesAndNodes)?)
    };
    let between = |ends: Outcome<(f64, f64)>| -> Outcome<CsrGraph> {
        let graph = triangles.as_ref().map_err(Clone::clone)?;
        let (low, high) = ends?;
        Ok(within_distances(graph, low, high)?)
    };
    let lattice = |k| -> Outcome<CsrGraph> { Ok(lattice_graph(points, None, k, 1)?) };
    let squares = settle("grid4", lattice(4));
    let ringed = |graph: &Outcome<CsrGraph>, n| -> Outcome<CsrGraph> {
        Ok(rings(graph.as_ref().map_err(Clone::clone)?, n)?)
    };

    let mut all: Vec<Built> = (0..parameters.radii.len())
        .map(|i| {
            let text = radius(i).map_or_else(|_| String::new(), python);
            let found = of_radius(radius(i));
            plain(&format!("radius{i}"), vec![("radius", text)], found)
        })
        .collect();
    let r = ("radius", radius_text);
    let n_neighs = ("n_neighs", k.to_string());
    let neighbors = |k: usize| ("n_neighs", k.to_string());
    let n_rings = |rings: usize| ("n_rings", rings.to_string());
    let with = |entry: &(&'static str, String), name, value: &str| {
        vec![entry.clone(), (name, value.to_owned())]
    };
    all.push(plain(
        "radius_interval",
        vec![("radius", interval.clone())],
        radius_interval_graph(points, None, low, high).map_err(Failure::from),
    ));
    let variant = |name: &str, key, value, change: fn(&CsrGraph) -> Outcome<CsrGraph>| Built {
        name: name.to_owned(),
        params: with(&r, key, value),
        parts: near.clone().and_then(|dist| {
            let conn = change(&dist)?;
            Ok((conn, without_zeros(&dist)?))
        }),
    };
    all.push(variant("radius1_diag", "set_diag", "True", with_loops));
    all.push(plain(
        "radius1_pct90",
        with(&r, "percentile", "90.0"),
        percentile(&near, 90.0),
    ));
    let (name, transform) = ("radius1_spectral", "transform");
    all.push(variant(name, transform, "spectral", |graph| {
        Ok(spectral(graph))
    }));
    let name = "radius1_cosine";
    all.push(variant(name, transform, "cosine", |graph| {
        Ok(cosine(graph))
    }));
    all.push(plain("knn", vec![n_neighs.clone()], nearest.clone()));
    all.push(plain(
        "knn_pct50",
        with(&n_neighs, "percentile", "50.0"),
        percentile(&nearest, 50.0),
    ));
    if input.libraries.is_some() {
        all.push(plain(
            "knn_lib",
            with(&n_neighs, "library_key", "lib"),
            nearest_within,
        ));
        all.push(plain(
            "radius1_lib",
            with(&r, "library_key", "lib"),
            near_within(),
        ));
    }
    all.push(plain("delaunay", Vec::new(), triangles.clone()));
    all.push(plain(
        "delaunay_interval",
        vec![("radius", interval)],
        between(Ok((low, high))),
    ));
    all.push(plain(
        "delaunay_scalar",
        vec![r.clone()],
        between(radius(1).map(|r| (0.0, r))),
    ));
    all.push(plain(
        "delaunay_pct99",
        vec![("percentile", "99.0".to_owned())],
        percentile(&triangles, 99.0),
    ));
    let params = |k, rings| vec![neighbors(k), n_rings(rings)];
    let wider = ringed(&squares, 3);
    all.push(plain("grid4", params(4, 1), squares));
    all.push(plain("grid4_rings3", params(4, 3), wider));
    // The nearest neighbors may be settled already.
    let hexagons = match k {
        6 => nearest.and_then(|graph| without_far(&graph)),
        _ => lattice(6),
    };
    let hexagons = ringed(&hexagons, 2);
    all.push(plain("grid6_rings2", params(6, 2), hexagons));
    let ringed = ringed(&triangles, 2);
    let params = vec![("delaunay", "True".to_owned()), n_rings(2)];
    all.push(plain("grid_del_rings2", params, ringed));
    all
}

/// A graph whose connectivities are all 1.
fn plain(name: &str, params: Vec<(&'static str, String)>, graph: Outcome<CsrGraph>) -> Built {
    let parts = graph.and_then(|graph| {
        let ones = graph.with_values(vec![1.0; graph.n_edges()]);
        let conn = ones.map_err(phenocoder_spatial::Error::from)?;
        Ok((conn, without_zeros(&graph)?))
    });
    Built {
        name: name.to_owned(),
        params,
        parts,
    }
}

fn graph_of(rows: impl Iterator<Item = Vec<(u32, f64)>>) -> Outcome<CsrGraph> {
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in rows {
        for (node, value) in row {
            indices.push(node);
            values.push(value);
        }
        indptr.push(indices.len());
    }
    let graph = CsrGraph::new(indptr, indices, values);
    Ok(graph.map_err(phenocoder_spatial::Error::from)?)
}

fn row_of(graph: &CsrGraph, node: usize) -> impl Iterator<Item = (u32, f64)> {
    graph.row(node).map(|(other, value)| (other as u32, value))
}

/// The peer stores no distance of coincident points, though it links them.
fn without_zeros(graph: &CsrGraph) -> Outcome<CsrGraph> {
    let row = |node| row_of(graph, node).filter(|edge| edge.1 != 0.0).collect();
    graph_of((0..graph.n_nodes()).map(row))
}

/// The edges that are shorter than 1.3 times the median of all: those of a lattice.
fn without_far(graph: &CsrGraph) -> Outcome<CsrGraph> {
    let mut lengths = graph.values().to_vec();
    lengths.sort_by(f64::total_cmp);
    let middle = lengths.len() / 2;
    let [below, above] = [middle.saturating_sub(1), middle].map(|i| lengths.get(i).copied());
    let median = match (below, above) {
        (Some(below), Some(above)) if lengths.len().is_multiple_of(2) => 0.5 * (below + above),
        (_, above) => above.unwrap_or(f64::NAN),
    };
    let row = |node| {
        let row = row_of(graph, node);
        row.filter(|edge| edge.1 < 1.3 * median).collect()
    };
    graph_of((0..graph.n_nodes()).map(row))
}

/// All edges with 1, and every node linked with itself.
fn with_loops(graph: &CsrGraph) -> Outcome<CsrGraph> {
    let row = |node: usize| {
        let mut row: Vec<(u32, f64)> = row_of(graph, node).map(|edge| (edge.0, 1.0)).collect();
        row.push((node as u32, 1.0));
        row.sort_by_key(|edge| edge.0);
        row
    };
    graph_of((0..graph.n_nodes()).map(row))
}

/// The file's graph where it differs from ours only in which of several equally right edges it has: the lengths of all are
/// the same, in graphs of nearest neighbors those of every node.
fn ties(input: &Input, name: &str, own: CsrGraph, notes: &mut Vec<String>) -> CsrGraph {
    let Some(file) = input.edges.get(name) else {
        return own;
    };
    if file.indices == own.indices() && file.indptr == own.indptr() {
        return own;
    }
    let ones = vec![1.0; file.indices.len()];
    let graph = CsrGraph::new(file.indptr.clone(), file.indices.clone(), ones);
    let Ok(mut graph) = graph else {
        return own;
    };
    let lengths = |graph: &CsrGraph, node: usize| -> Vec<f64> {
        let length = |&other: &u32| {
            let difference = &input.points.row(node) - &input.points.row(other as usize);
            difference.dot(&difference).sqrt()
        };
        graph.neighbors(node).iter().map(length).collect()
    };
    let nodes = || 0..own.n_nodes();
    let same = |mut a: Vec<f64>, mut b: Vec<f64>| {
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        a.len() == b.len()
            && a.iter()
                .zip(&b)
                .all(|(a, b)| (a - b).abs() <= 1e-12 * a.abs())
    };
    let all = |graph: &CsrGraph| nodes().flat_map(|node| lengths(graph, node)).collect();
    let equal = match name.starts_with("delaunay") {
        true => same(all(&own), all(&graph)),
        false => nodes().all(|node| same(lengths(&own, node), lengths(&graph, node))),
    };
    if !name.starts_with("grid") {
        let values: Vec<f64> = all(&graph);
        graph.values_mut().copy_from_slice(&values);
    }
    if equal {
        notes.push(format!(
            "{name}: several graphs are right, for points tie; the file's is taken"
        ));
        graph
    } else {
        own
    }
}

/// Writes the summaries of all graphs, and their edges as arrays.
pub(crate) fn describe(all: &[Built], report: &mut Report) {
    for graph in all {
        let name = graph.name.as_str();
        report.entry(&["graphs", name], || {
            let (conn, dist) = graph.parts.as_ref().map_err(Clone::clone)?;
            let params: serde_json::Map<String, Value> = graph
                .params
                .iter()
                .map(|(key, value)| ((*key).to_owned(), json!(value)))
                .collect();
            let sum = |graph: &CsrGraph| number(graph.values().iter().sum());
            let loops = (0..conn.n_nodes()).flat_map(|node| {
                let row = conn.row(node).filter(move |edge| edge.0 == node);
                row.map(|edge| edge.1)
            });
            Ok(json!({
                "params": params,
                "conn_nnz": conn.n_edges(),
                "dist_nnz": dist.n_edges(),
                "conn_dtype": "float64",
                "dist_dtype": "float64",
                "conn_sum": sum(conn),
                "dist_sum": sum(dist),
                "diag_sum": number(loops.sum()),
                "symmetric": is_symmetric(conn),
            }))
        });
        if let (true, Ok((conn, dist))) = (report.wants(&["graphs", name]), &graph.parts) {
            for (part, graph) in [("conn", conn), ("dist", dist)] {
                let indptr: Vec<i64> = graph.indptr().iter().map(|&i| i as i64).collect();
                let indices: Vec<i64> = graph.indices().iter().map(|&i| i64::from(i)).collect();
                let key = |array: &str| format!("g_{name}_{part}_{array}");
                report.array(key("indptr"), whole(indptr));
                report.array(key("indices"), whole(indices));
                report.array(key("data"), real(graph.values().to_vec()));
            }
        }
    }
}

pub(crate) fn real(values: Vec<f64>) -> Numbers {
    Numbers::Real(ndarray::Array1::from_vec(values).into_dyn())
}

pub(crate) fn whole(values: Vec<i64>) -> Numbers {
    let values: ArrayD<i64> = ndarray::Array1::from_vec(values).into_dyn();
    Numbers::Whole(values)
}

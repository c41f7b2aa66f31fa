//! Every graph of the reference sets: the same edges and distances.

use ndarray::{Array1, Array2};
use phenocoder_core::{Categorical, CsrGraph};
use phenocoder_spatial::neighbors::{
    PercentileOf, cosine, delaunay_graph, knn_graph, knn_graph_within, lattice_graph, rings,
    spectral, within_distances, within_percentile,
};
use phenocoder_spatial::radius_graph;

use crate::sets::{Set, assert_close, assert_same_graph, numbers, sets};

fn libraries(set: &Set) -> Categorical {
    let codes: Array1<i64> = set.npz.array("in_lib");
    Categorical::from_labels(codes.iter().map(ToString::to_string))
}

/// Directed edges with their values.
fn edges(graph: &CsrGraph) -> Vec<(usize, usize)> {
    let from = |row| graph.row(row).map(move |(to, _)| (row, to));
    (0..graph.n_nodes()).flat_map(from).collect()
}

#[test]
fn percentiles_keep_the_same_edges_with_the_zeros_of_the_peer() {
    for set in sets() {
        let points = set.points.view();
        let radius = radius_graph(points, set.radii()[1]).unwrap();
        let knn = set.graph("knn", "dist");
        for (name, graph, percentile) in
            [("radius1_pct90", &radius, 90.0), ("knn_pct50", &knn, 50.0)]
        {
            let kept = within_percentile(graph, percentile, PercentileOf::EdgesAndNodes).unwrap();
            assert_same_graph(
                &format!("{} {name}", set.name),
                &kept,
                &set.graph(name, "dist"),
            );
        }
    }
}

#[test]
fn weights_from_the_graph_are_those_of_single_precision() {
    for set in sets() {
        let graph = radius_graph(set.points.view(), set.radii()[1]).unwrap();
        for (name, found) in [
            ("radius1_spectral", spectral(&graph)),
            ("radius1_cosine", cosine(&graph)),
        ] {
            let golden = set.graph(name, "conn");
            assert_eq!(edges(&found), edges(&golden), "{} {name}", set.name);
            assert_close(name, found.values(), golden.values(), 1e-6);
        }
    }
}

#[test]
fn nearest_neighbors_within_libraries_are_the_same() {
    for set in sets().iter().filter(|set| set.name == "random2d") {
        let k = set.json["inputs"]["knn"].as_u64().unwrap() as usize;
        let graph = knn_graph_within(set.points.view(), &libraries(set), k).unwrap();
        assert_same_graph("knn_lib", &graph, &set.graph("knn_lib", "dist"));
        assert_eq!(
            knn_graph(set.points.view(), k).unwrap().n_edges(),
            graph.n_edges()
        );
    }
}

/// On a lattice many triangulations are right; all of its triangles have the same edges but for one diagonal of each square.
#[test]
fn the_delaunay_triangulation_is_the_same() {
    for set in sets() {
        let graph = delaunay_graph(set.points.view()).unwrap();
        let golden = set.graph("delaunay", "dist");
        let ends = numbers(&set.json["inputs"]["interval"]);
        let near = set.radii()[1];
        if set.name == "random2d" {
            assert_same_graph("delaunay", &graph, &golden);
            let pruned = within_distances(&graph, ends[0], ends[1]).unwrap();
            assert_same_graph("interval", &pruned, &set.graph("delaunay_interval", "dist"));
            let pruned = within_distances(&graph, 0.0, near).unwrap();
            assert_same_graph("scalar", &pruned, &set.graph("delaunay_scalar", "dist"));
            let pruned = within_percentile(&graph, 99.0, PercentileOf::EdgesAndNodes).unwrap();
            assert_same_graph("percentile", &pruned, &set.graph("delaunay_pct99", "dist"));
        }
        assert_eq!(graph.n_edges(), golden.n_edges(), "{}", set.name);
        let total = |graph: &CsrGraph| graph.values().iter().sum::<f64>();
        assert_close(set.name, &[total(&graph)], &[total(&golden)], 1e-9);
    }
}

#[test]
fn lattices_have_the_same_rings() {
    for set in sets() {
        let points = set.points.view();
        for (name, k, n) in [
            ("grid4", 4, 1),
            ("grid4_rings3", 4, 3),
            ("grid6_rings2", 6, 2),
        ] {
            // Where nearest neighbors tie, the golden takes any.
            if set.name == "grid2d" && k == 6 {
                continue;
            }
            let graph = lattice_graph(points, None, k, n).unwrap();
            assert_same_graph(
                &format!("{} {name}", set.name),
                &graph,
                &set.graph(name, "dist"),
            );
        }
        let base = set.graph("delaunay", "dist");
        let graph = rings(&base, 2).unwrap();
        assert_same_graph(set.name, &graph, &set.graph("grid_del_rings2", "dist"));
    }
}

/// All points of a random set against every tetrahedron's sphere.
#[test]
fn no_point_lies_within_the_sphere_of_neighbors_in_space() {
    let mut stream = phenocoder_core::Seed::new(3).stream("points", 0);
    let n = 60;
    let points = Array2::from_shape_fn((n, 3), |_| stream.uniform());
    let graph = delaunay_graph(points.view()).unwrap();
    let linked = |a: usize, b: usize| graph.neighbors(a).binary_search(&(b as u32)).is_ok();
    let at = |row: usize| [points[[row, 0]], points[[row, 1]], points[[row, 2]]];
    let mut found = 0;
    let mut needed = vec![false; n * n];
    for a in 0..n {
        for b in a + 1..n {
            for c in b + 1..n {
                for d in c + 1..n {
                    let (center, squared) = sphere([at(a), at(b), at(c), at(d)]);
                    let away = |row: usize| -> f64 {
                        at(row)
                            .iter()
                            .zip(center)
                            .map(|(x, c)| (x - c).powi(2))
                            .sum()
                    };
                    let is_empty = (0..n)
                        .filter(|row| ![a, b, c, d].contains(row))
                        .all(|row| away(row) > squared);
                    if is_empty {
                        found += 1;
                        for (i, j) in [(a, b), (a, c), (a, d), (b, c), (b, d), (c, d)] {
                            assert!(linked(i, j) && linked(j, i), "{i} and {j}");
                            needed[i * n + j] = true;
                        }
                    }
                }
            }
        }
    }
    assert!(found > 4 * n, "{found} tetrahedra");
    assert_eq!(
        2 * needed.iter().filter(|&&edge| edge).count(),
        graph.n_edges()
    );
}

/// Center and squared radius of the sphere through four points.
fn sphere(p: [[f64; 3]; 4]) -> ([f64; 3], f64) {
    let row = |i: usize| [0, 1, 2].map(|axis| p[i][axis] - p[0][axis]);
    let m = [row(1), row(2), row(3)];
    let right = m.map(|r| r.iter().map(|x| x * x).sum::<f64>() / 2.0);
    let det = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(m);
    let offset = [0, 1, 2].map(|axis| {
        let mut m = m;
        for (row, right) in m.iter_mut().zip(right) {
            row[axis] = right;
        }
        det(m) / whole
    });
    let center = [0, 1, 2].map(|axis| p[0][axis] + offset[axis]);
    (center, offset.iter().map(|x| x * x).sum())
}

#[test]
fn lattices_in_space_are_triangulated_whatever_the_order() {
    let mut rows: Vec<[f64; 3]> = (0..343)
        .map(|i| [i / 49, i / 7 % 7, i % 7].map(f64::from))
        .collect();
    let matrix =
        |rows: &[[f64; 3]]| Array2::from_shape_fn((rows.len(), 3), |(i, axis)| rows[i][axis]);
    let graph = delaunay_graph(matrix(&rows).view()).unwrap();
    // Edges of the cubes are in every triangulation; nothing is longer than a cube's diagonal.
    for i in 0..343_usize {
        let right = i % 7 < 6;
        assert!(!right || graph.neighbors(i).contains(&(i as u32 + 1)));
    }
    assert!(graph.values().iter().all(|&d| d <= 3.0_f64.sqrt()));
    rows.reverse();
    let turned = delaunay_graph(matrix(&rows).view()).unwrap();
    let mut back: Vec<(usize, usize)> = edges(&turned)
        .into_iter()
        .map(|(a, b)| (342 - a, 342 - b))
        .collect();
    back.sort_unstable();
    assert_eq!(back, edges(&graph));
}

#[test]
fn coincident_points_hang_on_the_first_and_flat_sets_are_refused() {
    for d in [2, 3] {
        let mut stream = phenocoder_core::Seed::new(5).stream("points", d);
        let d = d as usize;
        let mut points = Array2::from_shape_fn((40, d), |_| stream.uniform());
        for axis in 0..d {
            points[[20, axis]] = points[[7, axis]];
        }
        let graph = delaunay_graph(points.view()).unwrap();
        assert_eq!(graph.degree(20), 0);
        assert!(graph.degree(7) > 0);
        for flat in [
            Array2::zeros((10, d)),
            Array2::from_shape_fn((10, d), |(i, _)| i as f64 * 0.1),
            Array2::from_shape_fn((d + 1, d), |(i, axis)| f64::from(u8::from(i == axis))),
            Array2::zeros((0, d)),
        ] {
            assert!(delaunay_graph(flat.view()).is_err(), "{flat}");
        }
    }
    let flat = Array2::from_shape_fn((30, 3), |(i, axis)| [i / 6, i % 6, 2][axis] as f64 * 0.3);
    let refused = delaunay_graph(flat.view()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the whole set: expected at least 5 points that are not in a plane"
    );
}

#[test]
fn tiny_and_huge_coordinates_have_the_same_triangulation() {
    for d in [2, 3] {
        let mut stream = phenocoder_core::Seed::new(6).stream("points", d);
        let points = Array2::from_shape_fn((50, d as usize), |_| stream.uniform());
        let graph = delaunay_graph(points.view()).unwrap();
        for power in [-900, -200, 300, 1000] {
            let scaled = points.mapv(|x| x * 2.0_f64.powi(power / 2) * 2.0_f64.powi(power / 2));
            let found = delaunay_graph(scaled.view()).unwrap();
            assert_eq!(edges(&found), edges(&graph), "2^{power}, {d}-D");
        }
    }
}

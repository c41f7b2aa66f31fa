use ndarray::{Array2, array};
use phenocoder_core::{CsrGraph, Seed};

use super::*;
use crate::radius_graph;

fn hull_of(points: &Array2<f64>) -> ConvexHull {
    convex_hull(points.view()).unwrap().unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// An n × n × n lattice: nearly all triples and quadruples are degenerate.
fn lattice(n: usize) -> Array2<f64> {
    Array2::from_shape_fn((n * n * n, 3), |(i, axis)| {
        (i / n.pow(axis as u32) % n) as f64
    })
}

#[test]
fn a_lattice_cube_has_the_hull_of_its_eight_corners() {
    for n in [2, 3, 5, 9] {
        let edge = (n - 1) as f64;
        let hull = hull_of(&lattice(n));
        assert_eq!(hull.n_vertices, 8, "{n}");
        assert!(close(hull.volume, edge.powi(3)) && close(hull.area, 6.0 * edge * edge));
    }
}

#[test]
fn regular_solids_have_their_textbook_volumes() {
    let octahedron = array![
        [1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, -1.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, -1.0]
    ];
    let hull = hull_of(&octahedron);
    assert!(close(hull.volume, 4.0 / 3.0) && close(hull.area, 4.0 * 3.0_f64.sqrt()));
    let tetrahedron = array![
        [1.0, 1.0, 1.0],
        [1.0, -1.0, -1.0],
        [-1.0, 1.0, -1.0],
        [-1.0, -1.0, 1.0]
    ];
    let hull = hull_of(&tetrahedron);
    assert!(close(hull.volume, 8.0 / 3.0) && close(hull.area, 8.0 * 3.0_f64.sqrt()));
}

#[test]
fn points_of_a_ball_make_nearly_a_ball() {
    let mut stream = Seed::new(4).stream("ball", 0);
    let mut points = Array2::zeros((20_000, 3));
    for mut row in points.rows_mut() {
        row.mapv_inplace(|_: f64| stream.normal());
        let length = row.dot(&row).sqrt();
        row.mapv_inplace(|x| x / length + 1e4);
    }
    let hull = hull_of(&points);
    let volume = 4.0 / 3.0 * std::f64::consts::PI;
    assert!(
        hull.volume < volume && hull.volume > 0.998 * volume,
        "{hull:?}"
    );
    assert_eq!(hull.n_vertices, 20_000);
}

#[test]
fn the_hull_encloses_every_point_and_adding_inner_points_changes_nothing() {
    let mut stream = Seed::new(5).stream("points", 0);
    for round in 0..50 {
        // A coarse grid makes many coincident, collinear and coplanar points.
        let points = Array2::from_shape_simple_fn((30, 3), || stream.below(4) as f64);
        let Some(hull) = convex_hull(points.view()).unwrap() else {
            continue;
        };
        let center = points.mean_axis(ndarray::Axis(0)).unwrap();
        let inner = &points * 0.5 + &center * 0.5;
        let both = ndarray::concatenate(ndarray::Axis(0), &[points.view(), inner.view()]).unwrap();
        let other = hull_of(&both);
        assert_eq!(other.n_vertices, hull.n_vertices, "round {round}");
        assert!(close(other.volume, hull.volume) && close(other.area, hull.area));
    }
}

#[test]
fn points_on_a_line_or_plane_and_too_few_points_have_no_hull() {
    let line = Array2::from_shape_fn((10, 3), |(i, axis)| i as f64 * (axis + 1) as f64);
    let tilted = Array2::from_shape_fn((16, 3), |(i, axis)| match axis {
        0 => (i % 4) as f64,
        1 => (i / 4) as f64,
        _ => (i % 4) as f64 + (i / 4) as f64,
    });
    let same = Array2::from_elem((10, 3), 0.3);
    for points in [
        line,
        tilted,
        same,
        Array2::zeros((0, 3)),
        lattice(2).slice_move(ndarray::s![..3, ..]),
    ] {
        assert_eq!(convex_hull(points.view()).unwrap(), None, "{points}");
    }
    let line = Array2::from_shape_fn((10, 2), |(i, _)| i as f64);
    assert_eq!(convex_hull(line.view()).unwrap(), None);
    assert_eq!(convex_hull(Array2::zeros((0, 2)).view()).unwrap(), None);
}

#[test]
fn nearly_flat_points_keep_their_small_volume() {
    let mut points = lattice(5);
    points.column_mut(2).mapv_inplace(|z| 1e3 + z * 1e-9);
    let height = points[[124, 2]] - points[[0, 2]];
    let hull = hull_of(&points);
    assert!(
        (hull.volume / (16.0 * height) - 1.0).abs() < 1e-6,
        "{hull:?}"
    );
}

#[test]
fn four_dimensions_and_bad_coordinates_are_refused() {
    assert!(convex_hull(Array2::zeros((9, 4)).view()).is_err());
    assert!(convex_hull(array![[f64::NAN, 0.0]].view()).is_err());
}

/// A clique of four, the first of which carries a chain of two.
fn clique_with_tail() -> (Array2<f64>, CsrGraph) {
    let points = array![
        [5.0, 0.0],
        [3.5, 0.0],
        [2.0, 0.0],
        [1.0, 0.0],
        [2.0, 1.0],
        [1.0, 1.0]
    ];
    let graph = radius_graph(points.view(), 1.5).unwrap();
    (points, graph)
}

#[test]
fn the_sequential_filter_depends_on_the_order_and_the_simultaneous_one_does_not() {
    let (points, graph) = clique_with_tail();
    let config = ComponentConfig::default()
        .with_min_degree(2)
        .with_min_nodes(3);
    let nodes = |points: &Array2<f64>, graph: &CsrGraph, filter| {
        let config = config.with_filter(filter);
        let found = hull_components(points.view(), graph, None, &config).unwrap();
        let sizes = found.components.iter().map(|c| c.nodes.len());
        sizes.collect::<Vec<_>>()
    };
    // The end of the tail goes first and takes its neighbor with it, but only when met in that order.
    assert_eq!(nodes(&points, &graph, DegreeFilter::Sequential), [4]);
    assert_eq!(nodes(&points, &graph, DegreeFilter::Simultaneous), [5]);
    let turned = points.slice(ndarray::s![..;-1, ..]).to_owned();
    let graph = radius_graph(turned.view(), 1.5).unwrap();
    assert_eq!(nodes(&turned, &graph, DegreeFilter::Sequential), [5]);
    assert_eq!(nodes(&turned, &graph, DegreeFilter::Simultaneous), [5]);
}

#[test]
fn only_members_and_their_edges_count() {
    let (points, graph) = clique_with_tail();
    let config = ComponentConfig::default()
        .with_min_degree(2)
        .with_min_nodes(3);
    let found = hull_components(points.view(), &graph, Some(&[0, 3, 4, 5]), &config).unwrap();
    assert_eq!(found.components.len(), 1);
    assert_eq!(found.components[0].nodes, [3, 4, 5]);
    assert_eq!(found.components[0].hull.volume, 0.5);
}

#[test]
fn flat_components_are_counted() {
    let points = Array2::from_shape_fn((12, 3), |(i, axis)| if axis == 0 { i as f64 } else { 1.0 });
    let graph = radius_graph(points.view(), 4.0).unwrap();
    let found = hull_components(points.view(), &graph, None, &ComponentConfig::default()).unwrap();
    assert_eq!((found.components.len(), found.flat), (0, 1));
}

#[test]
fn a_negative_zero_is_a_zero() {
    let x = [-0.0, 0.0, 0.0, 3.0];
    let y = [5.0, 1.0, 9.0, 3.0];
    let signed = Array2::from_shape_fn((4, 2), |(i, axis)| [x, y][axis][i]);
    let plain = signed.mapv(|v| v + 0.0);
    assert_eq!(hull_of(&signed), hull_of(&plain));
    assert_eq!(hull_of(&signed).volume, 12.0);
}

#[test]
fn a_member_that_is_no_node_is_refused() {
    let points = array![[0.0, 0.0], [0.0, 1.0]];
    let graph = CsrGraph::empty(2);
    let config = ComponentConfig::default();
    let refused = hull_components(points.view(), &graph, Some(&[1, 2]), &config);
    assert_eq!(refused, Err(Error::UnknownNode { node: 2, nodes: 2 }));
}

use ndarray::{Axis, array};
use phenocoder_core::CancelToken;
use proptest::prelude::*;

use super::*;
use crate::knn::{nearest_neighbors, query_neighbors, recall};

fn normal(n: usize, p: usize, clusters: usize) -> Array2<f64> {
    let mut stream = Seed::new(8).stream("x", 0);
    let centers = Array2::from_shape_simple_fn((clusters, p), || 3.0 * stream.normal());
    Array2::from_shape_fn((n, p), |(i, j)| {
        centers[[i % clusters, j]] + stream.normal()
    })
}

fn index(x: &Array2<f64>, metric: Metric) -> HnswIndex {
    HnswIndex::build(x.view(), &HnswConfig::new(metric), &NoProgress).unwrap()
}

/// What must hold of any answer: `k` other rows, each once, at their exact distances, nearest first.
fn check(x: &Array2<f64>, found: &Neighbors, k: usize, metric: Metric) {
    assert_eq!(found.indices().dim(), (x.nrows(), k));
    let points = Points::new(x.view(), metric).unwrap();
    for i in 0..x.nrows() {
        let row: Vec<(usize, f64)> = found.row(i).collect();
        for (at, &(j, distance)) in row.iter().enumerate() {
            assert_ne!(i, j);
            assert!(row[..at].iter().all(|&(other, _)| other != j));
            let key = points.order_key(points.row(i), points.row(j));
            let exact = if metric == Metric::Euclidean {
                key.sqrt()
            } else {
                key
            };
            assert_eq!(distance, exact);
            assert!(at == 0 || row[at - 1].1 <= distance);
        }
    }
}

#[test]
fn most_neighbors_of_five_thousand_rows_are_found() {
    for clusters in [1, 10] {
        let x = normal(5_000, 32, clusters);
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let index = index(&x, metric);
            let exact = nearest_neighbors(x.view(), 14, metric, &NoProgress).unwrap();
            let found = index.neighbors(14, 100, &NoProgress).unwrap();
            check(&x, &found, 14, metric);
            let narrow = recall(&found, &exact).unwrap();
            assert!(narrow >= 0.9, "{clusters} {metric:?}: {narrow}");
            let found = index.neighbors(14, 400, &NoProgress).unwrap();
            let wide = recall(&found, &exact).unwrap();
            assert!(wide >= 0.98, "{clusters} {metric:?}: {wide}");
        }
    }
}

#[test]
fn new_rows_find_near_ones_and_old_rows_find_themselves() {
    let x = normal(3_000, 8, 5);
    let index = index(&x, Metric::Euclidean);
    let itself = index.query(x.view(), 1, 50, &NoProgress).unwrap();
    let lost = (0..3_000).filter(|&row| itself.indices()[[row, 0]] != row as u32);
    assert!(lost.count() <= 3);
    let new = &x + 0.3;
    let exact = query_neighbors(x.view(), new.view(), 10, Metric::Euclidean, &NoProgress);
    let found = index.query(new.view(), 10, 100, &NoProgress).unwrap();
    assert!(recall(&found, &exact.unwrap()).unwrap() >= 0.97);
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let x = normal(700, 5, 3);
    let order = Seed::new(4).stream("order", 0).permutation(700);
    let shuffled = x.select(Axis(0), &order);
    let of = |x| {
        index(x, Metric::Euclidean)
            .neighbors(6, 6, &NoProgress)
            .unwrap()
    };
    let (plain, other) = (of(&x), of(&shuffled));
    for (row, &old) in order.iter().enumerate() {
        let renamed: Vec<(usize, f64)> = other.row(row).map(|(j, d)| (order[j], d)).collect();
        let expected: Vec<(usize, f64)> = plain.row(old).collect();
        assert_eq!(renamed, expected, "row {old}");
    }
}

#[test]
fn another_seed_makes_another_graph() {
    let x = normal(500, 4, 1);
    let config = HnswConfig::new(Metric::Euclidean);
    let build = |seed| {
        let config = config.clone().with_seed(Seed::new(seed));
        HnswIndex::build(x.view(), &config, &NoProgress)
            .unwrap()
            .layers
    };
    assert_eq!(build(1), build(1));
    assert_ne!(build(1), build(2));
}

#[test]
fn layers_shrink_by_the_number_of_links() {
    assert_eq!(layer_sizes(1_000, 16), [3, 62, 1_000]);
    assert_eq!(layer_sizes(31, 16), [31]);
    assert_eq!(layer_sizes(1, 2), [1]);
}

#[test]
fn equal_rows_are_neighbors_at_distance_zero() {
    let mut x = Array2::from_elem((400, 3), 0.3);
    x.slice_mut(ndarray::s![300.., ..])
        .assign(&normal(100, 3, 1));
    let index = index(&x, Metric::Euclidean);
    let found = index.neighbors(60, 60, &NoProgress).unwrap();
    let exact = nearest_neighbors(x.view(), 60, Metric::Euclidean, &NoProgress).unwrap();
    for row in 0..300 {
        assert_eq!(found.indices().row(row), exact.indices().row(row));
    }
    let all_equal = Array2::from_elem((50, 2), 1e9);
    let found = self::index(&all_equal, Metric::Cosine).neighbors(49, 1, &NoProgress);
    check(&all_equal, &found.unwrap(), 49, Metric::Cosine);
}

#[test]
fn rows_that_single_precision_does_not_tell_apart_are_ordered_exactly() {
    let mut x = normal(600, 3, 1) * 1e-3;
    x.row_mut(0).fill(1e12);
    let found = index(&x, Metric::Euclidean).neighbors(7, 20, &NoProgress);
    let exact = nearest_neighbors(x.view(), 7, Metric::Euclidean, &NoProgress).unwrap();
    assert_eq!(found.unwrap(), exact);
    let tiny = array![[0.0], [1e-310], [3e-310], [2e-320]];
    let found = index(&tiny, Metric::Euclidean).neighbors(3, 3, &NoProgress);
    check(&tiny, &found.unwrap(), 3, Metric::Euclidean);
}

#[test]
fn no_distance_is_outside_what_single_precision_leaves_open() {
    let mut far = normal(60, 40, 3);
    far.row_mut(7).fill(1e9);
    let mut zeros = normal(60, 5, 1);
    zeros.row_mut(3).fill(0.0);
    zeros.row_mut(4).fill(0.0);
    let sets = [
        normal(60, 1, 2),
        normal(60, 40, 3) + 1e3,
        normal(60, 300, 3),
        far,
        zeros,
        normal(60, 3, 1) * 1e-161,
        normal(60, 2, 1) * 1e140,
    ];
    for x in &sets {
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let points = Points::new(x.view(), metric).unwrap();
            let vectors = Vectors::new(&points, Seed::new(1), &NoProgress).unwrap();
            // The rows themselves, and rows far outside of them.
            for times in [1.0, 1e3, 1e9] {
                let query = Points::new((x * times).view(), metric).unwrap();
                for row in 0..query.nrows() {
                    check_bounds(&vectors, &points, query.row(row));
                }
            }
        }
    }
}

/// That what single precision leaves open of the distances from this row holds them.
fn check_bounds(vectors: &Vectors, points: &Points, query: &[f64]) {
    let nodes = vectors.len() as u32;
    let mut layer = Layer::new(nodes as usize, nodes as usize);
    layer.grow(nodes as usize);
    layer.set(0, 1..nodes);
    let single = vectors.single(query);
    let doubt = vectors.doubt(&single, query);
    let mut walk = Walk::new(nodes as usize);
    let found = vectors.search([&layer], &single, 0, nodes as usize, &mut walk);
    assert_eq!(found.len(), nodes as usize);
    for near in found {
        let (least, most) = doubt.bounds(near.key());
        for &row in vectors.rows(near.node()) {
            let key = points.order_key(query, points.row(row as usize));
            let length = match points.metric() {
                Metric::Euclidean => vectors.scale * key.sqrt(),
                Metric::Cosine => (2.0 * key).sqrt(),
            };
            let range = f64::from(least)..=f64::from(most);
            assert!(range.contains(&length), "{row}: {length} in {range:?}");
        }
    }
}

#[test]
fn rows_of_the_next_node_are_measured_however_many_the_first_has() {
    // Single precision tells the last from the others, and the first hundred from the next three.
    let value = |i: u32| match i {
        0..100 => 1e-12 * f64::from(i),
        100 => 1.4e-8,
        101..104 => 1.5e-8 + 1e-10 * f64::from(i - 101),
        _ => 1.0,
    };
    let x = Array2::from_shape_fn((105, 1), |(i, _)| value(i as u32));
    let index = index(&x, Metric::Euclidean);
    assert_eq!(index.vectors.len(), 3);
    let found = index.neighbors(3, 3, &NoProgress).unwrap();
    let exact = nearest_neighbors(x.view(), 3, Metric::Euclidean, &NoProgress).unwrap();
    assert_eq!(exact.indices().row(100), array![101, 102, 103]);
    assert_eq!(found, exact);
}

#[test]
fn the_bits_of_links_and_distances_are_pinned() {
    // Another value is a behavioural change for the changelog.
    let hash = |metric| {
        let index = index(&normal(600, 20, 3), metric);
        let mut numbers: Vec<u64> = Vec::new();
        for layer in &index.layers {
            for node in 0..layer.len() as u32 {
                for near in index.vectors.measured(node, layer.links(node)) {
                    numbers.extend([near.node(), near.key().to_bits()].map(u64::from));
                }
            }
        }
        let found = index.neighbors(5, 20, &NoProgress).unwrap();
        for row in 0..600 {
            numbers.extend(found.row(row).flat_map(|(j, d)| [j as u64, d.to_bits()]));
        }
        numbers.push(index.nodes);
        let mix = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        numbers.into_iter().fold(0xcbf2_9ce4_8422_2325, mix)
    };
    assert_eq!(hash(Metric::Euclidean), 16_145_528_129_773_678_582);
    assert_eq!(hash(Metric::Cosine), 3_345_519_513_414_663_888);
}

#[test]
fn of_very_many_rows_at_one_node_the_first_are_measured() {
    // All but the last differ by less than single precision can tell.
    let x = Array2::from_shape_fn(
        (2_101, 1),
        |(i, _)| {
            if i == 2_100 { 1.0 } else { 1e-12 * i as f64 }
        },
    );
    let near = |width| index(&x, Metric::Euclidean).neighbors(3, width, &NoProgress);
    let found = near(3).unwrap();
    check(&x, &found, 3, Metric::Euclidean);
    assert_eq!(found.indices().row(0), array![1, 2, 3]);
    assert_eq!(found.indices().row(2_099), array![2_047, 2_046, 2_045]);
    let wide = near(2_101).unwrap();
    assert_eq!(wide.indices().row(2_099), array![2_098, 2_097, 2_096]);
    // Where they are equal, none is missed.
    let equal = Array2::from_elem((2_101, 2), 0.3);
    let found = index(&equal, Metric::Euclidean).neighbors(3, 3, &NoProgress);
    let exact = nearest_neighbors(equal.view(), 3, Metric::Euclidean, &NoProgress);
    assert_eq!(found.unwrap(), exact.unwrap());
}

#[test]
fn rows_of_zeros_are_at_cosine_distance_one() {
    let mut x = normal(300, 4, 1);
    x.slice_mut(ndarray::s![..40, ..]).fill(0.0);
    let index = index(&x, Metric::Cosine);
    let found = index.neighbors(5, 50, &NoProgress).unwrap();
    check(&x, &found, 5, Metric::Cosine);
    assert!(found.distances().row(7).iter().all(|&d| d == 1.0));
    let exact = nearest_neighbors(x.view(), 5, Metric::Cosine, &NoProgress).unwrap();
    assert!(recall(&found, &exact).unwrap() > 0.98);
}

#[test]
fn far_clusters_smaller_than_k_still_have_k_neighbors() {
    let x = Array2::from_shape_fn((600, 2), |(i, j)| {
        (i / 4) as f64 * 1e4 * (j + 1) as f64 + (i % 4) as f64
    });
    let found = index(&x, Metric::Euclidean).neighbors(20, 1, &NoProgress);
    check(&x, &found.unwrap(), 20, Metric::Euclidean);
}

#[test]
fn too_few_rows_and_bad_values_are_refused() {
    let one = index(&array![[2.0, 3.0]], Metric::Euclidean);
    let far = array![[1e200, 0.0], [2.0, 3.5]];
    let found = one.query(far.slice(ndarray::s![1.., ..]), 1, 1, &NoProgress);
    assert_eq!(found.unwrap().distances(), array![[0.5]]);
    assert_eq!(one.query(far.view(), 1, 1, &NoProgress), Err(OVERFLOW));
    let few = Err(Error::TooManyNeighbors { k: 1, available: 0 });
    assert_eq!(one.neighbors(1, 10, &NoProgress), few);
    assert!(one.query(far.view(), 2, 1, &NoProgress).is_err());
    assert!(matches!(
        one.neighbors(0, 1, &NoProgress),
        Err(Error::Config(_))
    ));
    let narrow = array![[1.0]];
    assert!(matches!(
        one.query(narrow.view(), 1, 1, &NoProgress),
        Err(Error::Shape(_))
    ));
    let build = |x: &Array2<f64>| {
        HnswIndex::build(x.view(), &HnswConfig::new(Metric::Euclidean), &NoProgress)
    };
    for empty in [(0, 3), (3, 0)] {
        assert!(matches!(
            build(&Array2::zeros(empty)),
            Err(Error::TooFew { .. })
        ));
    }
    let nan = build(&array![[0.0], [f64::NAN]]);
    assert!(matches!(nan, Err(Error::NotFinite { row: 1, .. })));
    assert_eq!(build(&array![[0.0], [1e200]]), Err(OVERFLOW));
    assert_eq!(build(&array![[f64::MAX], [f64::MAX]]), Err(OVERFLOW));
}

#[test]
fn a_cancelled_search_stops() {
    let token = CancelToken::new();
    token.cancel();
    let x = normal(50, 2, 1);
    let config = HnswConfig::new(Metric::Euclidean);
    let stopped = HnswIndex::build(x.view(), &config, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let index = index(&x, Metric::Euclidean);
    let stopped = index.neighbors(3, 3, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let stopped = index.query(x.view(), 3, 3, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
}

#[test]
fn settings_outside_their_range_are_named() {
    let config = HnswConfig::new(Metric::Cosine);
    let of = |config: HnswConfig| config.validate().map_err(|error| error.setting);
    assert_eq!(of(config.clone().with_links(1)), Err("links"));
    assert_eq!(of(config.clone().with_links(129)), Err("links"));
    assert_eq!(of(config.clone().with_build_width(15)), Err("build_width"));
    assert_eq!(
        of(config.clone().with_build_width(65_537)),
        Err("build_width")
    );
    assert_eq!(of(config.with_links(128).with_build_width(128)), Ok(()));
}

#[test]
fn a_written_index_answers_as_before() {
    let x = normal(400, 3, 2);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let index = index(&x, metric);
        let text = serde_json::to_string(&index).unwrap();
        assert_eq!(serde_json::from_str::<HnswIndex>(&text).unwrap(), index);
    }
}

/// An index as JSON after a change, read back.
fn read_changed(
    metric: Metric,
    change: impl Fn(&mut serde_json::Value),
) -> Result<HnswIndex, String> {
    let mut value = serde_json::to_value(index(&normal(40, 2, 1), metric)).unwrap();
    change(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn files_that_do_not_fit_together_are_refused() {
    use serde_json::json;
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 11] = [
        (|v| v["layers"][1][3] = json!([40]), "column 40"),
        (|v| v["layers"][0][1] = json!([2]), "column 2"),
        (|v| v["layers"][1][3] = json!([-1]), "u32"),
        (
            |v| v["layers"][1][3] = json!(vec![0; 33]),
            "links of a node",
        ),
        (
            |v| v["layers"][0][1] = json!(vec![0; 17]),
            "links of a node",
        ),
        (|v| v["layers"][1] = json!([[0]]), "nodes of a layer"),
        (|v| v["layers"] = json!([]), "layers"),
        (
            |v| v["rows"] = json!({"shape": [0, 2], "values": []}),
            "at least 1 rows",
        ),
        (
            |v| v["rows"] = json!({"shape": [1_u64 << 40, 0], "values": []}),
            "at least 1 columns",
        ),
        (|v| v["config"]["links"] = json!(u64::MAX), "links"),
        (|v| v["colour"] = json!(1), "colour"),
    ];
    assert!(read_changed(Metric::Euclidean, |_| ()).is_ok());
    for (change, expected) in changes {
        let error = read_changed(Metric::Euclidean, change).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // Links lead to other nodes when the seed or a row is another.
    let others: [Change; 3] = [
        |v| v["config"]["seed"] = json!(99),
        |v| v["rows"]["values"][7] = json!(0.125),
        |v| v["nodes"] = json!(1),
    ];
    for change in others {
        let error = read_changed(Metric::Euclidean, change).unwrap_err();
        assert!(error.contains("setting `nodes`"), "{error}");
    }
    let error = read_changed(Metric::Cosine, |v| v["rows"]["values"][0] = json!(2.5));
    assert!(error.unwrap_err().contains("rows of length 1"));
    let error = read_changed(Metric::Euclidean, |v| v["rows"]["values"][0] = json!(1e300));
    assert!(error.unwrap_err().contains("beyond any number"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_small_set_has_k_different_neighbors(
        values in prop::collection::vec(-3_i32..3, 6..120),
        k in 1_usize..5,
        links in 2_usize..5,
    ) {
        let n = values.len() / 2;
        let x = Array2::from_shape_fn((n, 2), |(i, j)| f64::from(values[2 * i + j]) * 0.1);
        let k = k.min(n - 1);
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let config = HnswConfig::new(metric).with_links(links).with_build_width(links);
            let index = HnswIndex::build(x.view(), &config, &NoProgress).unwrap();
            check(&x, &index.neighbors(k, 1, &NoProgress).unwrap(), k, metric);
        }
    }

    #[test]
    fn whatever_the_links_of_a_file_a_search_ends(
        links in prop::collection::vec(prop::collection::vec(0_u32..40, 0..33), 40),
    ) {
        let read = read_changed(Metric::Euclidean, |value| {
            value["layers"][1] = serde_json::to_value(&links).unwrap();
        });
        let found = read.unwrap().neighbors(5, 8, &NoProgress).unwrap();
        check(&normal(40, 2, 1), &found, 5, Metric::Euclidean);
    }
}

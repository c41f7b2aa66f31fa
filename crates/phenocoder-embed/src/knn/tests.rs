use ndarray::{Array1, Axis, array, s};
use phenocoder_core::{CancelToken, Categorical, NoProgress, Seed};
use proptest::prelude::*;

use super::*;
use crate::matrix::squared_distance;
use crate::patience::tests::times_asked;

fn plain(x: &Array2<f64>, k: usize) -> Vec<Vec<(f64, usize)>> {
    let n = x.nrows();
    let mut all = Vec::new();
    for i in 0..n {
        let key =
            |j: usize| squared_distance(x.row(i).as_slice().unwrap(), x.row(j).as_slice().unwrap());
        let mut row: Vec<(f64, usize)> = (0..n).filter(|&j| j != i).map(|j| (key(j), j)).collect();
        row.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        row.truncate(k);
        all.push(row);
    }
    all
}

fn check(x: &Array2<f64>, k: usize) {
    let found = nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress).unwrap();
    for (i, expected) in plain(x, k).into_iter().enumerate() {
        let row: Vec<(f64, usize)> = found.row(i).map(|(j, d)| (d, j)).collect();
        let expected: Vec<(f64, usize)> = expected.iter().map(|&(d, j)| (d.sqrt(), j)).collect();
        assert_eq!(row, expected, "row {i}");
    }
}

#[test]
fn blocks_find_what_a_plain_search_finds() {
    let mut stream = Seed::new(1).stream("x", 0);
    let x = Array2::from_shape_fn((2_300, 5), |_| stream.normal());
    check(&x, 15);
    // Far from the origin, single precision alone would see nothing.
    check(&(x + 1e6), 7);
}

#[test]
fn outliers_and_tight_clusters_do_not_mislead() {
    let mut stream = Seed::new(2).stream("x", 0);
    let mut x = Array2::from_shape_fn((400, 3), |(i, _)| {
        (i % 4) as f64 * 1e4 + stream.normal() * 1e-4
    });
    x[[7, 1]] = 1e12;
    check(&x, 9);
}

#[test]
fn rows_that_single_precision_cannot_tell_apart_are_decided_exactly() {
    let mut stream = Seed::new(3).stream("x", 0);
    let mut x = Array2::from_shape_fn((4_600, 2), |(i, j)| match (i % 3, j) {
        (0, _) => stream.normal(),
        (kind, _) => kind as f64,
    });
    x[[4_000, 1]] = 1e12;
    check(&x, 5);
}

#[test]
fn a_lattice_with_many_ties_is_ordered_by_index() {
    let x = Array2::from_shape_fn((900, 2), |(i, j)| {
        if j == 0 {
            (i / 30) as f64
        } else {
            (i % 30) as f64
        }
    });
    check(&x, 6);
}

#[test]
fn duplicates_are_neighbors_at_distance_zero_but_never_oneself() {
    let x = Array2::from_elem((300, 2), 0.3);
    let found = nearest_neighbors(x.view(), 3, Metric::Euclidean, &NoProgress).unwrap();
    assert!(found.distances().iter().all(|&d| d == 0.0));
    assert_eq!(found.indices().row(0), array![1, 2, 3]);
    assert_eq!(found.indices().row(2), array![0, 1, 3]);
}

#[test]
fn cosine_sees_only_the_direction() {
    let x = array![[1.0, 0.0], [0.0, 2.0], [5.0, 0.1], [0.0, 0.0]];
    let found = nearest_neighbors(x.view(), 3, Metric::Cosine, &NoProgress).unwrap();
    assert_eq!(found.indices().row(0), array![2, 1, 3]);
    assert!((found.distances()[[0, 1]] - 1.0).abs() < 1e-15);
    assert_eq!(found.distances().row(3), array![1.0, 1.0, 1.0]);
}

#[test]
fn a_row_of_zeros_is_no_nearer_than_its_cosine() {
    let x = array![[1.0, 0.0], [0.0, 0.0], [0.1, 1.0]];
    let found = nearest_neighbors(x.view(), 2, Metric::Cosine, &NoProgress).unwrap();
    assert_eq!(found.indices(), array![[2, 1], [0, 2], [0, 1]]);
    let first = nearest_neighbors(x.view(), 1, Metric::Cosine, &NoProgress).unwrap();
    assert_eq!(first, found.truncated(1));
}

#[test]
fn new_rows_find_old_ones() {
    let old = array![[0.0], [10.0]];
    let new = array![[9.0], [0.0], [1.0]];
    let found = query_neighbors(old.view(), new.view(), 1, Metric::Euclidean, &NoProgress).unwrap();
    assert_eq!(found.indices(), array![[1], [0], [0]]);
    assert!(
        query_neighbors(
            old.view(),
            array![[0.0, 1.0]].view(),
            1,
            Metric::Euclidean,
            &NoProgress
        )
        .is_err()
    );
}

#[test]
fn too_many_neighbors_and_bad_values_are_refused() {
    let x = array![[0.0], [1.0]];
    let find = |x: &Array2<f64>, k| nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress);
    assert_eq!(
        find(&x, 2),
        Err(Error::TooManyNeighbors { k: 2, available: 1 })
    );
    assert!(matches!(find(&x, 0), Err(Error::Config(_))));
    assert!(matches!(
        find(&array![[0.0], [f64::NAN]], 1),
        Err(Error::NotFinite { row: 1, .. })
    ));
    assert!(find(&array![[0.0]], 1).is_err());
    let token = CancelToken::new();
    token.cancel();
    let stopped = nearest_neighbors(x.view(), 1, Metric::Euclidean, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let search = NeighborSearch::new(x.view(), 1, Metric::Euclidean, &token);
    assert!(matches!(search, Err(Error::Cancelled(_))));
}

#[test]
fn a_search_asks_while_it_puts_rows_into_groups() {
    let mut stream = Seed::new(9).stream("rows", 0);
    let x = Array2::from_shape_simple_fn((1100, 2), || stream.normal());
    let points = Points::new(x.view(), Metric::Euclidean).unwrap();
    let parted = times_asked(|progress| groups::parted(&points, progress));
    let search =
        |progress: &dyn Progress| nearest_neighbors(x.view(), 1, Metric::Euclidean, progress);
    // Then it asks before each block of at most 128 rows.
    assert!(parted > 1100 / 256);
    assert!(times_asked(search) > parted + 1100 / 128);
}

#[test]
fn a_small_batch_is_named() {
    let x = array![[0.0], [1.0], [2.0]];
    let batch = Categorical::from_labels(["a", "a", "b"]);
    let error =
        batch_balanced_neighbors(x.view(), &batch, 2, Metric::Euclidean, &NoProgress).unwrap_err();
    assert_eq!(
        error.to_string(),
        "batch `b` has 1 rows, expected at least 2"
    );
    let one = Categorical::from_labels(["a", "a", "a"]);
    let error =
        batch_balanced_neighbors(x.view(), &one, 1, Metric::Euclidean, &NoProgress).unwrap_err();
    assert!(matches!(error, Error::TooFew { .. }));
}

#[test]
fn new_rows_find_as_many_in_each_batch() {
    let mut stream = Seed::new(5).stream("x", 0);
    let x = Array2::from_shape_fn((90, 3), |_| stream.normal());
    let new = Array2::from_shape_fn((20, 3), |_| stream.normal());
    let batch = Categorical::from_labels((0..90).map(|i| ["a", "b", "c"][i % 3]));
    let euclidean = Metric::Euclidean;
    let find = |x: &Array2<f64>, batch, each| {
        batch_balanced_query(x.view(), batch, new.view(), each, euclidean, &NoProgress)
    };
    let found = find(&x, &batch, 4).unwrap();
    assert_eq!(found.k(), 12);
    let of_batch = |code| {
        let rows = x.select(Axis(0), &batch.members(code));
        query_neighbors(rows.view(), new.view(), 4, euclidean, &NoProgress).unwrap()
    };
    let alone: Vec<Neighbors> = (0..3).map(of_batch).collect();
    for row in 0..20 {
        let named = alone.iter().enumerate().flat_map(|(code, found)| {
            let members = batch.members(code);
            found.row(row).map(move |(i, d)| (members[i], d))
        });
        let mut expected: Vec<(usize, f64)> = named.collect();
        expected.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(found.row(row).collect::<Vec<_>>(), expected);
    }
    assert!(matches!(
        find(&x, &batch, 31),
        Err(Error::SmallBatch { rows: 30, .. })
    ));
    assert!(matches!(find(&x, &batch, 0), Err(Error::Config(_))));
    let none = Categorical::from_labels([""; 0]);
    assert!(matches!(
        find(&Array2::zeros((0, 3)), &none, 1),
        Err(Error::TooFew { .. })
    ));
    let missing = Categorical::from_optional_labels((0..90).map(|i| (i != 7).then_some("a")));
    assert!(matches!(
        find(&x, &missing, 1),
        Err(Error::MissingLabel { row: 7, .. })
    ));
    assert!(matches!(
        find(&Array2::zeros((90, 2)), &batch, 1),
        Err(Error::Shape(_))
    ));
}

#[test]
fn values_whose_squares_overflow_are_refused() {
    let find = |x: Array2<f64>| nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress);
    for x in [array![[0.0], [1e200]], array![[f64::MAX], [f64::MAX]]] {
        assert!(matches!(find(x), Err(Error::Overflow { .. })));
    }
    // Below the smallest normal number squares are 0, and every other row is as near.
    let found = find(array![[0.0], [1e-310], [3e-310]]).unwrap();
    assert!((0..3).all(|row| found.row(row).all(|(other, d)| other != row && d == 0.0)));
}

#[test]
fn blocks_that_share_rows_or_have_other_columns_are_refused() {
    let query = array![[0.0, 0.0]];
    let search = NeighborSearch::new(query.view(), 2, Metric::Euclidean, &NoProgress).unwrap();
    let rows = Array2::zeros((4, 2));
    let search_of = |first| {
        let mut search = search.clone();
        search.add_block(rows.view(), 10, &NoProgress).unwrap();
        search
            .add_block(rows.view(), first, &NoProgress)
            .map(|()| search.rows())
    };
    assert_eq!((search_of(6), search_of(14)), (Ok(8), Ok(8)));
    for first in [7, 9, 10, 11, 13] {
        let error = search_of(first).unwrap_err();
        assert!(
            error.to_string().contains("first_index"),
            "{first}: {error}"
        );
    }
    assert!(matches!(
        search_of(u32::MAX),
        Err(Error::TooManyRows { .. })
    ));
}

#[test]
fn a_search_without_enough_rows_says_so() {
    let query = array![[0.0]];
    let new = |k| NeighborSearch::new(query.view(), k, Metric::Euclidean, &NoProgress);
    assert!(matches!(new(0), Err(Error::Config(_))));
    let mut search = new(2).unwrap();
    search
        .add_block(Array2::zeros((0, 1)).view(), 0, &NoProgress)
        .unwrap();
    let bad = search.add_block(array![[f64::NAN]].view(), 0, &NoProgress);
    assert!(matches!(bad, Err(Error::NotFinite { .. })));
    let wide = search.add_block(array![[1.0, 2.0]].view(), 0, &NoProgress);
    assert!(matches!(wide, Err(Error::Shape(_))));
    search
        .add_block(array![[3.0]].view(), 0, &NoProgress)
        .unwrap();
    let few = Err(Error::TooManyNeighbors { k: 2, available: 1 });
    assert_eq!(search.clone().finish(), few);
    search
        .add_block(array![[-1.0]].view(), 7, &NoProgress)
        .unwrap();
    assert_eq!(search.finish().unwrap().indices(), array![[7, 0]]);
}

#[test]
fn one_batch_is_a_plain_search() {
    let mut stream = Seed::new(3).stream("x", 0);
    let x = Array2::from_shape_fn((50, 3), |_| stream.normal());
    let batch = Categorical::from_labels(std::iter::repeat_n("a", 50));
    let balanced =
        batch_balanced_neighbors(x.view(), &batch, 6, Metric::Euclidean, &NoProgress).unwrap();
    let plain = nearest_neighbors(x.view(), 5, Metric::Euclidean, &NoProgress).unwrap();
    assert_eq!(balanced, plain);
}

#[test]
fn balanced_neighbors_are_those_of_the_same_rows_as_new_ones_without_oneself() {
    const ROWS: usize = 1500;
    let mut stream = Seed::new(3).stream("rows", 0);
    let x = Array2::from_shape_fn((ROWS, 3), |_| stream.normal());
    let batch = Categorical::from_labels((0..ROWS).map(|row| ["a", "b", "c"][row % 7 % 3]));
    let (x, euclidean) = (x.view(), Metric::Euclidean);
    let found = batch_balanced_neighbors(x, &batch, 4, euclidean, &NoProgress).unwrap();
    let queried = batch_balanced_query(x, &batch, x, 4, euclidean, &NoProgress).unwrap();
    for row in 0..ROWS {
        let others = queried.row(row).filter(|&(index, _)| index != row);
        let others: Vec<(usize, f64)> = others.collect();
        let found: Vec<(usize, f64)> = found.row(row).collect();
        assert_eq!(found, others, "row {row}");
    }
}

#[test]
fn neighbors_made_elsewhere_are_checked() {
    assert!(Neighbors::new(array![[0]], array![[0.0, 1.0]]).is_err());
    assert!(Neighbors::new(array![[0, 1]], array![[1.0, 0.5]]).is_err());
    assert!(Neighbors::new(array![[0, 1]], array![[0.5, f64::NAN]]).is_err());
    let twice = Neighbors::new(array![[0, 0]], array![[0.5, 0.5]]).unwrap();
    assert!(twice.to_graph().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_small_set_agrees_with_the_plain_search(values in prop::collection::vec(-5_i32..5, 6..60), k in 1_usize..3) {
        let n = values.len() / 2;
        let x = Array2::from_shape_fn((n, 2), |(i, j)| f64::from(values[2 * i + j]) * 0.1);
        check(&x, k.min(n - 1));
    }

    #[test]
    fn blocks_of_any_size_in_any_order_find_what_one_search_finds(
        values in prop::collection::vec(-5_i32..5, 12..160),
        mut cuts in prop::collection::vec(0.0..1.0_f64, 0..6),
        k in 1_usize..8,
        seed in 0_u64..1_000,
        cosine in any::<bool>(),
    ) {
        let n = values.len() / 2;
        let x = Array2::from_shape_fn((n, 2), |(i, j)| f64::from(values[2 * i + j]) * 0.1);
        let query = x.slice(ndarray::s![..n / 2, ..]).mapv(|v| v + 0.03);
        let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
        let k = k.min(n);
        cuts.extend([0.0, 1.0]);
        cuts.sort_by(f64::total_cmp);
        let cuts: Vec<usize> = cuts.iter().map(|share| (share * n as f64) as usize).collect();
        let mut blocks: Vec<(usize, usize)> = cuts.windows(2).map(|c| (c[0], c[1])).collect();
        Seed::new(seed).stream("order", 0).shuffle(&mut blocks);
        let mut search = NeighborSearch::new(query.view(), k, metric, &NoProgress).unwrap();
        for (first, end) in blocks {
            let rows = x.slice(ndarray::s![first..end, ..]);
            search.add_block(rows, first as u32, &NoProgress).unwrap();
        }
        let whole = query_neighbors(x.view(), query.view(), k, metric, &NoProgress).unwrap();
        prop_assert_eq!(search.rows(), n);
        prop_assert_eq!(search.finish().unwrap(), whole);
    }
}

#[test]
fn groups_that_are_passed_over_hold_no_neighbor() {
    let mut stream = Seed::new(8).stream("rows", 0);
    // More rows than are searched without groups; clusters that touch, doubles, and rows far out.
    let mut x = Array2::from_shape_fn((1500, 3), |(i, j)| {
        4.0 * f64::from((i % 4 == j) as u8) + stream.normal()
    });
    for i in 0..40 {
        let copy = x.row(i).to_owned();
        x.row_mut(700 + i).assign(&copy);
    }
    x.row_mut(5).fill(1e4);
    x.row_mut(6).fill(0.0);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let all = nearest_neighbors(x.view(), 9, metric, &NoProgress).unwrap();
        // So few rows of a query are compared with all rows.
        for rows in [0..10, 700..710, 1490..1500] {
            let query = x.slice(s![rows.clone(), ..]);
            let plain = query_neighbors(x.view(), query, 10, metric, &NoProgress).unwrap();
            for (i, row) in rows.enumerate() {
                let others: Vec<_> = plain.row(i).filter(|pair| pair.0 != row).take(9).collect();
                assert_eq!(all.row(row).collect::<Vec<_>>(), others, "{metric:?} {row}");
            }
        }
        // A query of many rows has groups of its own.
        let many = query_neighbors(x.view(), x.view(), 10, metric, &NoProgress).unwrap();
        let few = query_neighbors(x.view(), x.slice(s![..9, ..]), 10, metric, &NoProgress).unwrap();
        for row in 0..9 {
            assert!(many.row(row).eq(few.row(row)), "{metric:?} {row}");
        }
    }
}

/// What is lost in single precision adds up over the columns: in the squared length of the middle of a group, which is
/// rounded up, and in its product with the query, which is rounded down.
#[test]
fn rounding_that_adds_up_over_columns_hides_no_neighbor() {
    const COLUMNS: usize = 2000;
    let unit = f64::from(f32::EPSILON) / 2.0;
    let tail = libm::exp2(-12.0) * (1.0 + libm::exp2(-20.0));
    // The largest number of single precision with `2 · own · tail ≤ unit`.
    let mut own = (unit / (2.0 * tail)) as f32;
    while 2.0 * f64::from(own) * tail > unit {
        own = own.next_down();
    }
    let row = |first: f64, tail: f64| {
        let mut row = Array1::from_elem(COLUMNS, tail);
        row[0] = first;
        row
    };
    let near = row(1.0, tail);
    let shift = libm::exp2(-17.0);
    let mut reference = Array2::zeros((602, COLUMNS));
    for i in 0..200 {
        reference.row_mut(i).assign(&near);
        reference.row_mut(200 + i).assign(&-&near);
        reference[[400 + i, 0]] = -shift;
    }
    for (i, sign) in [(600, 1.0), (601, -1.0)] {
        reference[[i, 0]] = 100.0 * shift;
        reference[[i, 1]] = sign;
    }
    let one = row(0.5, f64::from(own));
    let query = one.broadcast((1024, COLUMNS)).unwrap();
    let found =
        query_neighbors(reference.view(), query, 1, Metric::Euclidean, &NoProgress).unwrap();
    let distance = |i: usize| {
        squared_distance(
            reference.row(i).to_slice().unwrap(),
            one.as_slice().unwrap(),
        )
    };
    assert!(distance(0) < distance(400));
    assert!(found.indices().iter().all(|&index| index == 0));
}

#[test]
fn rows_too_near_for_squares_are_equally_near() {
    let library = array![[3e-170], [1e-170]];
    let query = array![[0.0]];
    let found = query_neighbors(
        library.view(),
        query.view(),
        1,
        Metric::Euclidean,
        &NoProgress,
    );
    let mut search = NeighborSearch::new(query.view(), 1, Metric::Euclidean, &NoProgress).unwrap();
    for (i, row) in library.outer_iter().enumerate() {
        let block = row.insert_axis(Axis(0));
        search.add_block(block, i as u32, &NoProgress).unwrap();
    }
    assert_eq!(found.unwrap(), search.finish().unwrap());
}

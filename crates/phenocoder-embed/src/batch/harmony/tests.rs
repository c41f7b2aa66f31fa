//! Single steps against harmonypy (`tests/data/make_harmony.py`), and worked examples.

use ndarray::{Array2, array};
use phenocoder_core::{CancelToken, NoProgress};
use serde_json::Value;

use super::ridge::Equations;
use super::*;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/harmony.json")).unwrap()
}

fn rows(value: &Value) -> Rows {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    let shape = (rows.len(), rows[0].len());
    Rows::of(Array2::from_shape_vec(shape, rows.concat()).unwrap().view())
}

fn labels(value: &Value) -> Categorical {
    Categorical::from_labels(value.as_array().unwrap().iter().map(Value::to_string))
}

fn batches<const N: usize>(of: [&str; N]) -> Categorical {
    Categorical::from_labels(of)
}

#[track_caller]
fn assert_near(found: &Rows, expected: &Rows, allowed: f64) {
    assert_eq!(found.values().len(), expected.values().len());
    for (at, (found, expected)) in found.values().iter().zip(expected.values()).enumerate() {
        assert!(
            (found - expected).abs() <= allowed,
            "{at}: {found} {expected}"
        );
    }
}

fn fitted(
    levels: &Levels,
    memberships: &Rows,
    x: &Rows,
    penalties: impl Fn(&[f64]) -> Vec<f64> + Sync,
) -> Result<Regression> {
    Regression::fit(levels, memberships, x, penalties, None, &NoProgress)
}

fn corrected(config: &HarmonyConfig, levels: &Levels, memberships: &Rows, x: &Rows) -> Rows {
    let penalties = |mass: &[f64]| config.penalties(levels, mass);
    fitted(levels, memberships, x, penalties)
        .unwrap()
        .apply(levels, memberships, x)
}

#[test]
fn every_step_of_the_first_form_is_that_of_harmonypy() {
    let golden = golden();
    for (name, variables) in [
        ("one_variable", &["batch"][..]),
        ("two_variables", &["batch", "plate"]),
    ] {
        let golden = &golden[name];
        let x = rows(&golden["x"]);
        let variables: Vec<Categorical> = variables.iter().map(|v| labels(&golden[v])).collect();
        let variables: Vec<&Categorical> = variables.iter().collect();
        let levels = Levels::new(&variables, x.len(), 2).unwrap();
        let config = HarmonyConfig::new(HarmonyForm::One);
        let memberships = rows(&golden["memberships"]);

        let expected = rows(&golden["corrected"]);
        let found = corrected(&config, &levels, &memberships, &x);
        assert_near(&found, &expected, 1e-9);

        let centers = rows(&golden["centers"]);
        let mut clusters =
            Clusters::resume(&levels, &config, expected.to_unit(), centers, memberships);
        let objective = clusters.objective();
        let expected: [f64; 3] = serde_json::from_value(golden["objective"].clone()).unwrap();
        for (found, expected) in [objective.distances, objective.entropy, objective.diversity]
            .iter()
            .zip(expected)
        {
            assert!(
                (found - expected).abs() < 1e-9,
                "{name}: {found} {expected}"
            );
        }

        let blocks: Vec<Vec<usize>> = serde_json::from_value(golden["blocks"].clone()).unwrap();
        assert_eq!(blocks.len(), 20);
        for block in &blocks {
            clusters.update(block);
        }
        let expected = rows(&golden["updated"]);
        assert_near(clusters.memberships(), &expected, 1e-9);
        // The round changed something.
        let moved = golden["memberships"] != golden["updated"];
        assert!(moved, "{name}");
    }
}

#[test]
fn the_correction_of_the_second_form_is_that_of_harmonypy() {
    let golden = golden();
    let data = &golden["two_variables"];
    let x = rows(&data["x"]);
    let (batch, plate) = (labels(&data["batch"]), labels(&data["plate"]));
    let levels = Levels::new(&[&batch, &plate], x.len(), 2).unwrap();
    let memberships = rows(&golden["second_form"]["memberships"]);
    let config = HarmonyConfig::default();
    let found = corrected(&config, &levels, &memberships, &x);
    let expected = rows(&golden["second_form"]["corrected"]);
    assert_near(&found, &expected, 1e-5);
}

#[test]
fn a_single_cluster_is_one_ridge_regression() {
    // Batch a holds 0 and 2, b holds 10. With weights λ / (n + λ) of 1/3 and 1/2 the intercept is
    // (2/3 + 10/2) / (2/3 + 1/2) = 34/7, and the effects are (2 − 68/7) / 3 = −18/7 and (10 − 34/7) / 2 = 18/7.
    let x = array![[0.0], [2.0], [10.0]];
    let batch = batches(["a", "a", "b"]);
    for form in [HarmonyForm::One, HarmonyForm::Two] {
        let config = HarmonyConfig::new(form)
            .with_n_clusters(1)
            .with_ridge(HarmonyRidge::Fixed(1.0));
        let result = harmony(x.view(), &[&batch], &config, &NoProgress).unwrap();
        let effect = 18.0 / 7.0;
        let expected = [effect, 2.0 + effect, 10.0 - effect];
        for (found, expected) in result.corrected.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{}", result.corrected);
        }
        assert_eq!(result.memberships, Array2::<f64>::ones((3, 1)));
        assert!(result.converged);
    }
    // By share: λ = 0.5 · 3 · (2/3, 1/3) = 1 and 1/2; weights of 1/3 and 1/3, so that all rows weigh alike.
    let config = HarmonyConfig::default()
        .with_n_clusters(1)
        .with_ridge(HarmonyRidge::Dynamic(0.5));
    let result = harmony(x.view(), &[&batch], &config, &NoProgress).unwrap();
    // Intercept 4, effects (2 − 8) / 3 = −2 and (10 − 4) / 1.5 = 4.
    for (found, expected) in result.corrected.iter().zip([2.0, 4.0, 6.0]) {
        assert!((found - expected).abs() < 1e-12, "{}", result.corrected);
    }
}

#[test]
fn penalties_follow_the_formulas() {
    // Two clusters at right angles; rows 0 and 1 of batch a, 2 of b.
    let unit = Rows::of(array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]].view());
    let batch = batches(["a", "a", "b"]);
    let levels = Levels::new(&[&batch], 3, 2).unwrap();
    let hard = Rows::of(array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]].view());
    for (form, a, b) in [
        // In cluster 0, O = (1, 0) and E = (2/3, 1/3); in cluster 1, O = (1, 1) and E = (4/3, 2/3).
        (
            HarmonyForm::One,
            [2.0 / (5.0 / 3.0), 2.0 / (7.0 / 3.0)],
            [1.0 / (4.0 / 3.0), 2.0 / (5.0 / 3.0)],
        ),
        (
            HarmonyForm::Two,
            [(8.0 / 3.0) / (7.0 / 3.0), (10.0 / 3.0) / (11.0 / 3.0)],
            [(4.0 / 3.0) / (5.0 / 3.0), (8.0 / 3.0) / (7.0 / 3.0)],
        ),
    ] {
        let config = HarmonyConfig::new(form).with_theta(3.0);
        let centers = Rows::of(array![[1.0, 0.0], [0.0, 1.0]].view());
        let objective =
            Clusters::resume(&levels, &config, unit.clone(), centers, hard.clone()).objective();
        let scale = if form == HarmonyForm::One {
            1.0
        } else {
            2000.0 / 3.0
        };
        let expected = 0.3 * scale * (f64::ln(a[0]) + f64::ln(a[1]) + f64::ln(b[1]));
        assert!(
            (objective.diversity - expected).abs() < 1e-12,
            "{form:?}: {objective:?}"
        );
        assert_eq!((objective.distances, objective.entropy), (0.0, 0.0));
        assert!(b[0] < 1.0);
    }
}

#[test]
fn one_variable_may_be_solved_as_several() {
    let mut stream = Seed::new(6).stream("equations", 0);
    for known in [0.0, 2.5] {
        let sums = Rows::of(Array2::from_shape_fn((4, 3), |_| stream.normal()).view());
        let mass = vec![3.0, 0.5, 0.0, 7.0];
        let mut crossed = Rows::zeros(4, 4);
        for (level, &mass) in mass.iter().enumerate() {
            crossed.row_mut(level)[level] = mass;
        }
        let equations = || Equations {
            mass: mass.clone(),
            sums: sums.clone(),
            penalties: vec![0.3, 2.0, 1.0, f64::INFINITY],
            start: (known, vec![known; 3]),
        };
        let (intercept, effects) = equations().solve_one();
        // The rows of the last level are left out.
        let held = (0..3).fold((0.0, vec![0.0_f64; 3]), |(total, sum), level| {
            let sum = sum.iter().zip(sums.row(level)).map(|(a, b)| a + b);
            (total + mass[level], sum.collect())
        });
        let (other, other_effects) = equations().solve_all(&crossed, held, &NoProgress).unwrap();
        for (a, b) in intercept.iter().zip(&other) {
            assert!((a - b).abs() < 1e-12);
        }
        assert_near(&effects, &other_effects, 1e-12);
        assert_eq!(effects.row(3), [0.0; 3]);
    }
    let empty = Equations {
        mass: vec![0.0; 2],
        sums: Rows::zeros(2, 1),
        penalties: vec![f64::INFINITY; 2],
        start: (0.0, vec![0.0]),
    };
    let (intercept, effects) = empty.solve_one();
    assert_eq!((intercept, effects.values()), (vec![0.0], &[0.0, 0.0][..]));
}

#[test]
fn a_batch_that_is_left_out_has_no_part_in_the_regression() {
    // As in `a_single_cluster_is_one_ridge_regression`: intercept 34/7, effects −18/7 and 18/7, whatever c holds.
    let (intercept, effect): (f64, f64) = (34.0 / 7.0, 18.0 / 7.0);
    let (found, effects) = Equations {
        mass: vec![2.0, 1.0, 1.0],
        sums: Rows::of(array![[2.0], [10.0], [100.0]].view()),
        penalties: vec![1.0, 1.0, f64::INFINITY],
        start: (0.0, vec![0.0]),
    }
    .solve_one();
    assert!((found[0] - intercept).abs() < 1e-14, "{found:?}");
    let expected = Rows::of(array![[-effect], [effect], [0.0]].view());
    assert_near(&effects, &expected, 1e-14);

    // The same beside a second variable, of which all is left out: the last row has nothing that is kept.
    let x = Rows::of(array![[0.0], [2.0], [10.0], [100.0]].view());
    let (batch, plate) = (batches(["a", "a", "b", "c"]), batches(["s", "t", "s", "t"]));
    let levels = Levels::new(&[&batch, &plate], 4, 2).unwrap();
    let memberships = Rows::of(Array2::ones((4, 1)).view());
    let penalties = |_: &[f64]| vec![1.0, 1.0, f64::INFINITY, f64::INFINITY, f64::INFINITY];
    let regression = fitted(&levels, &memberships, &x, penalties).unwrap();
    let found = regression.intercepts.row(0)[0];
    assert!((found - intercept).abs() < 1e-14, "{found}");
    let expected = array![[effect], [2.0 + effect], [10.0 - effect], [100.0]];
    let corrected = regression.apply(&levels, &memberships, &x);
    assert_near(&corrected, &Rows::of(expected.view()), 1e-13);
}

#[test]
fn a_cluster_of_which_all_is_left_out_stays_where_it_is() {
    let x = Rows::of(array![[3.0, 4.0], [6.0, 8.0]].view());
    let (batch, plate) = (batches(["a", "b"]), batches(["s", "t"]));
    let memberships = Rows::of(Array2::ones((2, 1)).view());
    let config = HarmonyConfig::default();
    for variables in [&[&batch][..], &[&batch, &plate]] {
        let levels = Levels::new(variables, 2, 2).unwrap();
        let penalties = |mass: &[f64]| vec![f64::INFINITY; mass.len()];
        let regression = fitted(&levels, &memberships, &x, penalties).unwrap();
        assert_eq!(regression.intercepts.values(), [0.0, 0.0]);
        let corrected = regression.apply(&levels, &memberships, &x);
        assert_eq!(corrected.values(), x.values());

        let center = Rows::of(array![[0.6, 0.8]].view());
        let mut clusters = Clusters::new(&levels, &config, x.to_unit(), center);
        clusters.follow(&corrected, &regression.intercepts);
        // A center of zeros would be at a distance of 2 from each row.
        let distances = clusters.objective().distances;
        assert!(distances.abs() < 1e-10, "{distances}");
    }
}

/// Rows of one column that is the sum of what two crossed variables add, and the variables.
fn crossed(rows: usize) -> (Array2<f64>, [Categorical; 2]) {
    let x = Array2::from_shape_fn((rows, 1), |(i, _)| (i % 3 + i % 4) as f64);
    let batch = Categorical::from_labels((0..rows).map(|i| ["a", "b", "c"][i % 3]));
    let plate = Categorical::from_labels((0..rows).map(|i| ["k", "l", "m", "n"][i % 4]));
    (x, [batch, plate])
}

#[test]
fn a_penalty_that_rounding_swallows_is_refused() {
    let singular = Error::Singular { method: METHOD };
    let (x, [batch, plate]) = crossed(2000);
    let levels = Levels::new(&[&batch, &plate], 2000, 2).unwrap();
    let mut stream = Seed::new(3).stream("memberships", 0);
    let soft = Array2::from_shape_fn((2000, 2), |_| 0.1 + stream.uniform());
    let (x, memberships) = (Rows::of(x.view()), Rows::of(soft.view()).into_shares());
    let of = |penalty: f64| fitted(&levels, &memberships, &x, |mass| vec![penalty; mass.len()]);
    // Only the penalties of its three and four levels part a variable from the intercept: of some thousand rows of a
    // cluster, the variance of the intercept grows by 1000 (1 / 3 + 1 / 4) over the penalty.
    for penalty in [3e-8, 1e-8, 1e-9, 1e-11, 1e-12] {
        assert_eq!(of(penalty).unwrap_err(), singular, "{penalty}");
    }
    // Without the effects of both all rows are alike.
    for (penalty, allowed) in [(1.0, 0.1), (1e-4, 1e-4), (1.2e-7, 1e-3)] {
        let corrected = of(penalty).unwrap().apply(&levels, &memberships, &x);
        for value in corrected.values() {
            assert!((value - 2.5).abs() < allowed, "{penalty}: {value}");
        }
    }

    let (x, [batch, plate]) = crossed(240);
    let config = HarmonyConfig::default().with_n_clusters(1);
    let of = |ridge| {
        let config = config.clone().with_ridge(ridge);
        harmony(x.view(), &[&batch, &plate], &config, &NoProgress)
    };
    for ridge in [HarmonyRidge::Fixed(1e-10), HarmonyRidge::Dynamic(1e-11)] {
        assert_eq!(of(ridge).unwrap_err(), singular, "{ridge:?}");
    }
    for ridge in [HarmonyRidge::Fixed(1e-5), HarmonyRidge::Dynamic(1e-7)] {
        assert!(of(ridge).is_ok(), "{ridge:?}");
    }
}

#[test]
fn a_cluster_of_next_to_nothing_is_told_apart_by_its_penalty() {
    let (x, [batch, plate]) = crossed(24);
    let levels = Levels::new(&[&batch, &plate], 24, 2).unwrap();
    let x = Rows::of(x.view());
    for share in [1e-13, 1e-200, 1e-308] {
        let shares = |(_, cluster): (usize, usize)| if cluster == 0 { 1.0 } else { share };
        let memberships = Rows::of(Array2::from_shape_fn((24, 2), shares).view());
        let found = fitted(&levels, &memberships, &x, |mass| vec![1.0; mass.len()]).unwrap();
        // Without effects, the intercept is the mean.
        let intercept = found.intercepts.row(1)[0];
        assert!((intercept - 2.5).abs() < 1e-11, "{share}: {intercept}");
    }
}

#[test]
fn more_batches_than_there_is_room_for_are_refused_before_they_take_memory() {
    // A matrix of all pairs of cells would take 320 GB.
    let cell = Categorical::from_labels((0..200_000).map(|i| i.to_string()));
    let batch = Categorical::from_labels((0..200_000).map(|i| ["a", "b"][i % 2]));
    let x = Array2::ones((200_000, 1));
    for error in refusals(&x, &[&batch, &cell]) {
        let expected = Error::TooMany {
            method: METHOD,
            what: "categories",
            most: 8192,
            found: 200_002,
        };
        assert_eq!(error, expected);
    }
    // Of one variable there are no pairs.
    assert!(Levels::new(&[&cell], 200_000, 2).is_ok());
}

#[test]
fn the_regression_stops_when_asked() {
    let token = CancelToken::new();
    token.cancel();
    let (x, [batch, plate]) = crossed(24);
    let (x, memberships) = (Rows::of(x.view()), Rows::of(Array2::ones((24, 1)).view()));
    for variables in [&[&batch][..], &[&batch, &plate]] {
        let levels = Levels::new(variables, 24, 2).unwrap();
        let penalties = |mass: &[f64]| vec![1.0; mass.len()];
        let found = Regression::fit(&levels, &memberships, &x, penalties, None, &token);
        assert!(matches!(found, Err(Error::Cancelled(_))));
    }
}

#[test]
fn small_batches_are_asked_for_less_with_tau() {
    let x = array![[1.0], [1.0], [1.0], [-1.0]];
    let batch = batches(["a", "a", "a", "b"]);
    let config = HarmonyConfig::default().with_n_clusters(1);
    let of = |tau: f64| {
        let config = config.clone().with_tau(tau);
        harmony(x.view(), &[&batch], &config, &NoProgress).unwrap()
    };
    // With one cluster there is nothing to be uneven.
    assert_eq!(of(5.0).objective[0].diversity, 0.0);
    let levels = Levels::new(&[&batch], 4, 2).unwrap();
    let config = config.with_tau(2.0).with_theta(3.0);
    let center = Rows::of(array![[1.0]].view());
    let apart = Rows::of(array![[1.0], [1.0], [1.0], [-1.0]].view());
    let found = Clusters::new(&levels, &config, apart, center)
        .theta()
        .to_vec();
    for (found, rows) in found.iter().zip([3.0_f64, 1.0]) {
        let expected = 3.0 * (1.0 - (-(rows / 2.0).powi(2)).exp());
        assert!((found - expected).abs() < 1e-14);
    }
}

#[test]
fn one_batch_stays_as_it_is_and_takes_new_rows() {
    let x = array![[1.0], [3.0]];
    let config = HarmonyConfig::default();
    let one = batches(["a", "a"]);
    let result = harmony(x.view(), &[&one, &one], &config, &NoProgress).unwrap();
    assert_eq!(result.corrected, x);
    assert!(result.converged);
    assert_eq!(result.objective.len(), 1);
    // Two rows of sum 4 are known. New ones have the weight 1 / (2 + 1): the intercept is
    // (4 + 22/3) / (2 + 2/3) = 17/4, and the effect (22 − 2 · 17/4) / (2 + 1) = 9/2.
    let new = array![[10.0], [12.0]];
    let mapped = result
        .model
        .map(new.view(), &[&batches(["b", "b"])], &NoProgress)
        .unwrap();
    for (found, expected) in mapped.iter().zip([5.5, 7.5]) {
        assert!((found - expected).abs() < 1e-12, "{mapped}");
    }
    let none = Array2::zeros((0, 1));
    let nobody = Categorical::from_labels(Vec::<String>::new());
    let mapped = result
        .model
        .map(none.view(), &[&nobody], &NoProgress)
        .unwrap();
    assert_eq!(mapped, none);
}

#[test]
fn rows_of_zeros_belong_to_all_clusters_alike() {
    let x = array![[5.0, 0.0], [6.0, 0.1], [0.0, 5.0], [0.1, 4.0], [0.0, 0.0]];
    let config = HarmonyConfig::default()
        .with_n_clusters(2)
        .with_iterations(3);
    let alone = batches(["a"; 5]);
    let result = harmony(x.view(), &[&alone], &config, &NoProgress).unwrap();
    assert_eq!(result.memberships.row(4), array![0.5, 0.5]);
    assert!(result.memberships[[0, 0]] > 0.999 || result.memberships[[0, 1]] > 0.999);
    let batch = batches(["a", "b", "a", "b", "a"]);
    for form in [HarmonyForm::One, HarmonyForm::Two] {
        let config = HarmonyConfig {
            form,
            ..config.clone()
        };
        let result = harmony(x.view(), &[&batch], &config, &NoProgress).unwrap();
        assert!(result.corrected.iter().all(|value| value.is_finite()));
        for row in result.memberships.outer_iter() {
            assert!((row.sum() - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn constant_data_and_batches_of_one_row_stay_finite() {
    for form in [HarmonyForm::One, HarmonyForm::Two] {
        let config = HarmonyConfig::new(form);
        let same = Array2::from_elem((70, 3), 2.5);
        let batch = Categorical::from_labels((0..70).map(|i| if i < 30 { "a" } else { "b" }));
        let result = harmony(same.view(), &[&batch], &config, &NoProgress).unwrap();
        assert!(result.converged);
        assert_eq!(result.memberships.ncols(), 1);
        assert!(result.corrected.iter().all(|v| (v - 2.5).abs() < 1e-12));
        let zeros = Array2::zeros((70, 3));
        let result = harmony(zeros.view(), &[&batch], &config, &NoProgress).unwrap();
        assert_eq!(result.corrected, zeros);

        let mut stream = Seed::new(2).stream("x", 0);
        let x = Array2::from_shape_fn((70, 3), |(i, _)| (i % 2) as f64 * 5.0 + stream.normal());
        let alone = Categorical::from_labels((0..70).map(|i| if i == 7 { "one" } else { "rest" }));
        let result = harmony(x.view(), &[&alone, &batch], &config, &NoProgress).unwrap();
        assert!(result.corrected.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn a_unit_of_a_power_of_two_changes_no_bit() {
    let mut stream = Seed::new(9).stream("x", 0);
    let x = Array2::from_shape_fn((90, 4), |(i, _)| (i % 3) as f64 * 4.0 + stream.normal());
    let batch = Categorical::from_labels((0..90).map(|i| ["a", "b"][(i / 3) % 2]));
    let of = |x: &Array2<f64>| {
        harmony(x.view(), &[&batch], &HarmonyConfig::default(), &NoProgress).unwrap()
    };
    let (result, larger) = (of(&x), of(&(&x * 1024.0)));
    assert_eq!(larger.corrected, &result.corrected * 1024.0);
    assert_eq!(larger.objective, result.objective);
}

#[test]
fn what_was_learned_is_read_back_and_refused_when_broken() {
    let x = array![[1.0, 0.5], [3.0, -1.0], [0.0, 2.0]];
    let batch = batches(["a", "b", "a"]);
    let config = HarmonyConfig::default().with_n_clusters(2);
    let model = harmony(x.view(), &[&batch], &config, &NoProgress)
        .unwrap()
        .model;
    assert_eq!(model.n_clusters(), 2);
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<Harmony>(&text).unwrap(), model);
    let good: Value = serde_json::from_str(&text).unwrap();
    for (part, value) in [
        ("sigma", Value::from(0.0)),
        ("counts", Value::from(vec![1.0])),
        ("counts", Value::from(vec![-1.0, 2.0])),
        ("sums", serde_json::json!({"shape": [2, 0], "values": []})),
        ("other", Value::from(1)),
    ] {
        let mut broken = good.clone();
        broken[part] = value;
        assert!(serde_json::from_value::<Harmony>(broken).is_err(), "{part}");
    }
}

#[test]
fn a_result_is_read_back_and_refused_when_broken() {
    let (x, batch) = few();
    let result = plain(&x, &[&batch]).unwrap();
    let text = serde_json::to_string(&result).unwrap();
    let read: HarmonyResult = serde_json::from_str(&text).unwrap();
    assert_eq!(read, result);
    let good: Value = serde_json::from_str(&text).unwrap();
    for (place, wrong) in [
        ("/corrected/shape", serde_json::json!([1, x.len()])),
        ("/memberships/values/0", serde_json::json!(-0.5)),
        ("/memberships/values/0", serde_json::json!(0.999)),
        ("/objective/0/entropy", Value::Null),
        ("/model/sigma", serde_json::json!(0.0)),
    ] {
        let mut broken = good.clone();
        *broken.pointer_mut(place).unwrap() = wrong;
        let refused = serde_json::from_value::<HarmonyResult>(broken);
        assert!(refused.is_err(), "{place}");
    }
    let mut more = good;
    more["objective"][0]["more"] = Value::from(1.0);
    assert!(serde_json::from_value::<HarmonyResult>(more).is_err());
    let parts = |entropy| ObjectiveParts {
        distances: 1.0,
        entropy,
        diversity: 0.5,
    };
    assert!(HarmonyObjective::try_from(parts(-2.0)).is_ok());
    for wrong in [f64::NAN, f64::NEG_INFINITY] {
        let error = HarmonyObjective::try_from(parts(wrong)).unwrap_err();
        assert_eq!(error.setting, "entropy");
    }
}

#[test]
fn settings_are_read_back_and_what_is_not_written_is_that_of_the_form() {
    let read = |text: &str| serde_json::from_str::<HarmonyConfig>(text);
    for form in [HarmonyForm::One, HarmonyForm::Two] {
        let config = HarmonyConfig {
            tau: 1.5,
            ..HarmonyConfig::new(form)
        };
        let config = config.with_n_clusters(2).with_seed(Seed::new(4));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(read(&text).unwrap(), config);
    }
    assert_eq!(read("{}").unwrap(), HarmonyConfig::default());
    let one = HarmonyConfig::new(HarmonyForm::One);
    assert_eq!(read(r#"{"form": "one"}"#).unwrap(), one);
    let text = r#"{"theta": 1.0, "form": "one", "tolerance": 0.1}"#;
    assert_eq!(read(text).unwrap(), one.with_theta(1.0).with_tolerance(0.1));
    assert!(read(r#"{"thetas": 1}"#).is_err());
}

#[test]
fn more_rounds_than_can_be_counted_may_be_asked_for() {
    let levels = Levels::new(&[&batches(["a", "b", "b"])], 3, 2).unwrap();
    let config = HarmonyConfig::default().with_cluster_iterations(usize::MAX);
    let unit = Rows::of(Array2::ones((3, 1)).view());
    let center = Rows::of(array![[1.0]].view());
    let mut clusters = Clusters::new(&levels, &config, unit, center);
    clusters.settle(3, &NoProgress).unwrap();
    assert_eq!(clusters.memberships().values(), [1.0; 3]);
}

/// Three rows of one column, and their batches.
fn few() -> (Array2<f64>, Categorical) {
    (array![[1.0], [3.0], [4.0]], batches(["a", "b", "b"]))
}

fn plain(x: &Array2<f64>, batches: &[&Categorical]) -> Result<HarmonyResult> {
    harmony(x.view(), batches, &HarmonyConfig::default(), &NoProgress)
}

/// What the fit says, and what the map of new rows to a good fit says.
fn refusals(x: &Array2<f64>, batches: &[&Categorical]) -> [Error; 2] {
    let (rows, batch) = few();
    let model = plain(&rows, &[&batch]).unwrap().model;
    [
        plain(x, batches).unwrap_err(),
        model.map(x.view(), batches, &NoProgress).unwrap_err(),
    ]
}

#[test]
fn rows_that_are_no_numbers_or_too_large_are_refused() {
    let (_, batch) = few();
    for error in refusals(&array![[1.0], [f64::NAN], [0.0]], &[&batch]) {
        assert!(matches!(error, Error::NotFinite { row: 1, .. }));
    }
    for error in refusals(&array![[f64::MAX], [f64::MAX], [f64::MAX]], &[&batch]) {
        assert!(matches!(error, Error::Overflow { .. }));
    }
}

#[test]
fn batches_that_do_not_fit_the_rows_are_refused() {
    let (x, batch) = few();
    let missing = Categorical::from_optional_labels([Some("a"), None, Some("b")]);
    for error in refusals(&x, &[&batch, &missing]) {
        assert!(matches!(error, Error::MissingLabel { row: 1, .. }));
    }
    for error in refusals(&x, &[&batches(["a", "b"])]) {
        assert!(matches!(error, Error::Shape(_)));
    }
    for error in refusals(&x, &[]) {
        assert!(matches!(
            error,
            Error::TooFew {
                what: "batch variables",
                ..
            }
        ));
    }
}

#[test]
fn new_rows_of_other_columns_are_refused() {
    let (x, batch) = few();
    let model = plain(&x, &[&batch]).unwrap().model;
    let wide = Array2::zeros((3, 2));
    assert!(matches!(
        model.map(wide.view(), &[&batch], &NoProgress),
        Err(Error::Shape(_))
    ));
}

#[test]
fn too_few_rows_and_columns_are_refused() {
    let (x, batch) = few();
    let nobody = Categorical::from_labels(Vec::<String>::new());
    assert!(matches!(
        plain(&Array2::zeros((0, 2)), &[&nobody]),
        Err(Error::TooFew { what: "rows", .. })
    ));
    assert!(matches!(
        plain(&Array2::zeros((3, 0)), &[&batch]),
        Err(Error::TooFew {
            what: "columns",
            ..
        })
    ));
    let many = HarmonyConfig::default().with_n_clusters(4);
    assert!(matches!(
        harmony(x.view(), &[&batch], &many, &NoProgress),
        Err(Error::TooFew { needed: 4, .. })
    ));
}

#[test]
fn a_fit_and_a_map_can_be_stopped() {
    let (x, batch) = few();
    let model = plain(&x, &[&batch]).unwrap().model;
    let token = CancelToken::new();
    token.cancel();
    assert!(matches!(
        harmony(x.view(), &[&batch], &HarmonyConfig::default(), &token),
        Err(Error::Cancelled(_))
    ));
    assert!(matches!(
        model.map(x.view(), &[&batch], &token),
        Err(Error::Cancelled(_))
    ));
}

#[test]
fn every_rule_on_settings_has_a_name() {
    let good = HarmonyConfig::default;
    assert!(good().validate().is_ok());
    assert!(HarmonyConfig::new(HarmonyForm::One).validate().is_ok());
    for (config, name) in [
        (good().with_theta(-1.0), "theta"),
        (good().with_theta(31.0), "theta"),
        (good().with_sigma(0.0), "sigma"),
        (good().with_ridge(HarmonyRidge::Fixed(0.0)), "ridge"),
        (good().with_ridge(HarmonyRidge::Dynamic(f64::NAN)), "ridge"),
        (good().with_tau(-1.0), "tau"),
        (good().with_block_share(0.0), "block_share"),
        (good().with_block_share(1.5), "block_share"),
        (good().with_tolerance(f64::INFINITY), "tolerance"),
        (good().with_cluster_tolerance(-1e-9), "cluster_tolerance"),
        (good().with_least_share(1.0), "least_share"),
        (good().with_n_clusters(0), "n_clusters"),
        (good().with_starts(0), "starts"),
        (good().with_iterations(0), "iterations"),
        (good().with_cluster_iterations(0), "cluster_iterations"),
    ] {
        assert_eq!(config.validate().unwrap_err().setting, name);
    }
}

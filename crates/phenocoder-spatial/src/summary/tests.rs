use phenocoder_core::NoProgress;

use super::*;

#[test]
fn settings_read_back_from_json_and_bad_ones_are_refused() {
    let config = StatisticsConfig::new([25.0, 14.2]).with_mode(Mode::Compat);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<StatisticsConfig>(&text).unwrap(),
        config
    );
    let short = serde_json::from_str::<StatisticsConfig>(r#"{"radii": [25.0, 14.2]}"#).unwrap();
    assert_eq!(short, StatisticsConfig::new([25.0, 14.2]));
    assert!(serde_json::from_str::<StatisticsConfig>(r#"{"radii": [1.0], "group": []}"#).is_err());
    for bad in [
        StatisticsConfig::new([]),
        StatisticsConfig::new([1.0, 1.0]),
        StatisticsConfig::new([-1.0]),
        StatisticsConfig::new([f64::NAN]),
        StatisticsConfig::new([1.0]).with_groups([]),
        StatisticsConfig::new([1.0]).with_groups([Group::Chull, Group::Chull]),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
}

#[test]
fn reports_read_back_from_json() {
    let report = StatisticsReport {
        rows_without_unit: 2,
        dropped: vec![DroppedUnit {
            unit: "a".into(),
            reason: DropReason::SingleLabel,
        }],
        notes: vec![Note {
            unit: "b".into(),
            radius: 25.0,
            kind: NoteKind::FlatComponents { count: 1 },
        }],
    };
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<StatisticsReport>(&text).unwrap(),
        report
    );
    assert_eq!(
        serde_json::to_string(&Fill::ColumnMean).unwrap(),
        r#""column_mean""#
    );
}

#[test]
fn missing_values_are_filled_only_when_asked_and_only_they() {
    let table = StatisticsTable {
        units: vec!["u".into(), "v".into()],
        values: ndarray::array![[1.0, f64::NAN, f64::NAN], [3.0, 5.0, f64::NAN]],
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        report: StatisticsReport::default(),
    };
    assert_eq!(table.n_missing(), 3);
    let zero = table.clone().fill(Fill::Zero);
    assert_eq!(
        zero.values,
        ndarray::array![[1.0, 0.0, 0.0], [3.0, 5.0, 0.0]]
    );
    let mean = table.clone().fill(Fill::ColumnMean);
    assert_eq!(
        mean.values,
        ndarray::array![[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]]
    );
    assert_eq!(mean.to_features().unwrap().column("b"), Some(1));
}

/// Three samples of random cells with two features, some without a label or a sample.
fn cells() -> (Coords, Categorical, Categorical, Features) {
    let mut stream = phenocoder_core::Seed::new(4).stream("cells", 0);
    let n = 400;
    let mut points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, 100.0));
    // The first ones are alone.
    (0..12).for_each(|i| points[[i, 0]] += 1000.0 * (i + 1) as f64);
    let features = Array2::from_shape_fn((n, 2), |(i, f)| match (f, points[[i, 0]]) {
        (0, ..25.0) => 0.0,
        (0, 75.0..100.0) => 2.0,
        (0, _) => 1.0,
        _ => stream.uniform(),
    });
    let units = (0..n).map(|i| {
        ["u", "v", "w"]
            .get(stream.below(4) * usize::from(i > 3))
            .copied()
    });
    let units = Categorical::from_optional_labels(units.collect::<Vec<_>>());
    // No c in w, and a label nobody has.
    let label = |i: usize| match (i % 7, units.label(i)) {
        (0 | 1, Some("v")) => None,
        (0..3, _) => Some("a"),
        (3..5, _) | (_, Some("w")) => Some("b"),
        _ => Some("c"),
    };
    let labels = Categorical::from_optional_labels((0..n).map(label));
    let mut names = labels.categories().to_vec();
    names.push("nobody".to_owned());
    let labels = Categorical::new(labels.codes().to_vec(), names).unwrap();
    let points = Coords::new(points, phenocoder_core::Unit::Micrometer).unwrap();
    (
        points,
        units,
        labels,
        Features::new(features, ["x", "noise"]).unwrap(),
    )
}

#[test]
fn samples_one_after_another_make_the_table_of_all_at_once() {
    let (points, units, labels, features) = cells();
    for mode in [Mode::Default, Mode::Compat] {
        let config = StatisticsConfig::new([6.0, 12.5])
            .with_groups(Group::ALL)
            .with_mode(mode);
        let all = spatial_statistics(
            &points,
            &units,
            &labels,
            Some(&features),
            &config,
            &NoProgress,
        );
        let all = all.unwrap();
        assert_eq!(all.units, ["u", "v", "w"]);
        let mut builder =
            StatisticsBuilder::new(labels.categories(), features.names(), config).unwrap();
        for code in 0..3 {
            let rows = units.members(code);
            // A sample of its own may know fewer labels, and in another order.
            let own = labels.select(&rows).without_unused();
            let names: Vec<String> = own.categories().iter().rev().cloned().collect();
            let codes = own.codes().iter().map(|&code| match code {
                -1 => -1,
                code => names.len() as i32 - 1 - code,
            });
            let own = Categorical::new(codes.collect(), names.clone()).unwrap();
            let sample = Sample::new(&units.categories()[code], points.select(&rows), own);
            let sample = sample.with_features(features.select(&rows));
            builder.add(sample, &NoProgress).unwrap();
        }
        let nothing = Sample::new("none", points.select(&[]), labels.select(&[]));
        builder
            .add(nothing.with_features(features.select(&[])), &NoProgress)
            .unwrap();
        let table = builder.finish();
        assert_eq!((&table.units, &table.names), (&all.units, &all.names));
        let bits = |table: &StatisticsTable| table.values.mapv(f64::to_bits);
        assert_eq!(bits(&table), bits(&all));
        assert_eq!(table.report.notes, all.report.notes);
        assert_eq!(table.report.dropped[0].reason, DropReason::NoRows);
    }
}

#[test]
fn samples_of_another_space_are_refused() {
    use phenocoder_core::Unit as Of;
    let config = StatisticsConfig::new([1.0]).with_groups([Group::Connectivity]);
    let mut table = StatisticsBuilder::new(["a"], [""; 0], config).unwrap();
    let sample = |name: &str, d: usize, unit| {
        let points = Coords::new(Array2::zeros((2, d)), unit).unwrap();
        Sample::new(name, points, Categorical::from_labels(["a", "a"]))
    };
    table
        .add(sample("first", 2, Of::Micrometer), &NoProgress)
        .unwrap();
    for (d, unit) in [(2, Of::Pixel), (3, Of::Micrometer)] {
        let refused = table.add(sample("other", d, unit), &NoProgress);
        assert!(
            matches!(refused, Err(Error::OtherSpace { .. })),
            "{refused:?}"
        );
    }
    table
        .add(sample("second", 2, Of::Micrometer), &NoProgress)
        .unwrap();
    assert_eq!(table.finish().units, ["first", "second"]);
}

#[test]
fn samples_that_do_not_fit_the_table_are_refused_and_leave_it_as_it_was() {
    let (points, _, labels, features) = cells();
    let config = StatisticsConfig::new([5.0]).with_groups([Group::Interactions]);
    let new = |labels: &[&str]| {
        StatisticsBuilder::new(labels.iter().copied(), features.names(), config.clone())
    };
    assert!(matches!(new(&["a", "a"]).unwrap_err(), Error::Shape(_)));
    let mut builder = new(&["a", "b"]).unwrap();
    let rows = [0, 1, 2];
    let sample = |name: &str, labels: &[&str]| {
        let sample = Sample::new(name, points.select(&rows), Categorical::from_labels(labels));
        sample.with_features(features.select(&rows))
    };
    let mut add = |sample: Sample| builder.add(sample, &NoProgress).map_err(|e| e.to_string());
    assert_eq!(add(sample("s", &["a", "b", "b"])), Ok(()));
    assert_eq!(
        add(sample("s", &["a", "b", "b"])).unwrap_err(),
        "`s` occurs twice in `samples`"
    );
    assert_eq!(
        add(sample("t", &["a", "b", "z"])).unwrap_err(),
        "the label `z` is none of `a`, `b`"
    );
    assert!(add(sample("t", &["a", "b"])).is_err());
    let mut without = sample("t", &["a", "a", "b"]);
    without.features = None;
    assert!(add(without).unwrap_err().contains("`x`, `noise`"));
    let mut short = sample("t", &["a", "a", "b"]);
    short.features = Some(features.select(&rows[..2]));
    assert!(add(short).is_err());
    let token = phenocoder_core::CancelToken::new();
    token.cancel();
    let stopped = builder.add(sample("t", &["a", "a", "b"]), &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    // One that was left out has had its turn.
    let empty = || {
        Sample::new("e", points.select(&[]), labels.select(&[])).with_features(features.select(&[]))
    };
    assert_eq!(builder.add(empty(), &NoProgress), Ok(()));
    assert!(builder.add(empty(), &NoProgress).is_err());
    let table = builder.finish();
    assert_eq!(
        (table.units, table.values.dim()),
        (vec!["s".to_owned()], (1, 8))
    );
}

#[test]
fn groups_beyond_the_original_have_the_numbers_of_their_functions() {
    let (points, units, labels, features) = cells();
    let config = StatisticsConfig::new([14.0]).with_groups(Group::ALL.into_iter().skip(6));
    let run = |config: &StatisticsConfig| {
        spatial_statistics(
            &points,
            &units,
            &labels,
            Some(&features),
            config,
            &NoProgress,
        )
        .unwrap()
    };
    let table = run(&config);
    // 10 pairs of 4 labels twice, 1, 2, and 3 of each feature.
    assert_eq!(table.names.len(), 20 + 1 + 2 + 6);
    let at =
        |unit: usize, name: &str| table.column(&format!("radius:14_stat:{name}")).unwrap()[unit];
    for unit in 0..3 {
        let rows = units.members(unit);
        let (own, types) = (points.select(&rows), labels.select(&rows));
        let graph = crate::radius_graph(own.view(), 14.0).unwrap();
        let found = crate::assortativity::assortativity(&graph, &types).unwrap();
        assert_eq!(at(unit, "assortativity_labels"), found);
        let mixing = crate::neighborhood::mixing_entropy(&graph, &types).unwrap();
        assert_eq!(
            at(unit, "entropy_mutual_information"),
            mixing.mutual_information
        );
        // Cells with a label alone have an enrichment.
        let with: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|&r| labels.code(r).is_some())
            .collect();
        let graph_with = crate::radius_graph(points.select(&with).view(), 14.0).unwrap();
        let found =
            crate::enrichment::enrichment_exact(&graph_with, &labels.select(&with)).unwrap();
        for (name, pair) in [("a_a", [0, 0]), ("a_b", [0, 1]), ("b_c", [1, 2])] {
            let (z, ratio) = (found.z[pair], found.count[pair] / found.mean[pair]);
            for (kind, expected) in [("enrichment", z), ("enrichment_ratio", ratio)] {
                let value = at(unit, &format!("enrichment_{kind}_{name}"));
                assert_eq!(value.to_bits(), expected.to_bits(), "{unit} {kind} {name}");
                // Where there is no c nothing can be told of it, and nothing else is missing.
                assert_eq!(value.is_nan(), unit == 2 && name == "b_c");
            }
        }
        assert!(at(unit, "enrichment_enrichment_a_nobody").is_nan());
        // A gradient has hot and cold spots, noise has none.
        let parts = |f: &str| {
            ["hot", "cold", "outliers"].map(|k| at(unit, &format!("local_moran_{k}_{f}")))
        };
        let [hot, cold, outliers] = parts("x");
        assert!(
            hot > 0.05 && cold > 0.05 && outliers < 0.01,
            "{hot} {cold} {outliers}"
        );
        assert!(
            parts("noise").iter().all(|&part| part < 0.03),
            "{:?}",
            parts("noise")
        );
        let local = crate::autocorrelation::LocalConfig::new();
        let x = features.select(&rows);
        let found = crate::autocorrelation::local_moran(&graph, x.view(), &local, &NoProgress);
        let found = found.unwrap();
        let hh = crate::autocorrelation::Quadrant::HighHigh;
        let column = found.significant(0.05).column(0).to_vec();
        let cells = column.iter().filter(|&&q| q == Some(hh)).count() as f64;
        let linked = (0..rows.len())
            .filter(|&node| graph.degree(node) > 0)
            .count();
        assert!(linked < rows.len(), "some cells are alone");
        assert_eq!(hot, cells / linked as f64);
        let entropies = crate::neighborhood::neighborhood_entropy(
            &graph,
            &types,
            crate::neighborhood::Center::Excluded,
            crate::neighborhood::EntropyUnit::Nats,
        );
        let present: Vec<f64> = entropies
            .unwrap()
            .into_iter()
            .filter(|e| !e.is_nan())
            .collect();
        let mean = present.iter().sum::<f64>() / present.len() as f64;
        assert_eq!(at(unit, "entropy_neighborhoods"), mean);
    }
    // At a rate of 1 every cell with neighbors is hot, cold or an outlier.
    let all = run(&config.clone().with_discovery_rate(1.0));
    let sum = |unit: usize| {
        let parts =
            ["hot", "cold", "outliers"].map(|k| format!("radius:14_stat:local_moran_{k}_x"));
        parts
            .iter()
            .map(|name| all.column(name).unwrap()[unit])
            .sum::<f64>()
    };
    assert!((0..3).all(|unit| (sum(unit) - 1.0).abs() < 1e-12));
    // Without edges all are missing.
    let none = run(&StatisticsConfig::new([0.0]).with_groups(Group::ALL.into_iter().skip(6)));
    assert_eq!(none.n_missing(), none.values.len());
    for rate in [0.0, 1.5, f64::NAN] {
        assert!(config.clone().with_discovery_rate(rate).validate().is_err());
    }
}

#[test]
fn more_columns_than_can_be_named_are_refused_before_any_is() {
    // The numbers of cells, as if they were types.
    let n = 20_000;
    let labels: Vec<String> = (0..n).map(|i| i.to_string()).collect();
    let types = Categorical::from_labels(&labels);
    let points = Array2::from_shape_fn((n, 2), |(i, _)| i as f64);
    let points = Coords::new(points, phenocoder_core::Unit::Micrometer).unwrap();
    let units = Categorical::from_labels(vec!["s"; n]);
    let run = |config: &StatisticsConfig| {
        spatial_statistics(&points, &units, &types, None, config, &NoProgress)
    };
    let config = StatisticsConfig::new([0.5]);
    let refused = run(&config).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`columns` is 800340013, expected at most 16777216"
    );
    let builder = StatisticsBuilder::new(&labels, [""; 0], config.clone());
    assert_eq!(builder.unwrap_err(), refused);
    for group in [Group::Assortativity, Group::Entropy] {
        let refused = run(&config.clone().with_groups([group])).unwrap_err();
        assert!(
            matches!(refused, Error::TooManyCategories { found: 20_000, .. }),
            "{refused}"
        );
    }
    // Every radius has its columns.
    let many = StatisticsConfig::new((0..300).map(f64::from)).with_groups([Group::Centrality]);
    assert!(StatisticsBuilder::new(&labels, [""; 0], many).is_err());
    // Few columns for each label are no matter.
    let config = config.with_groups([Group::Centrality, Group::Connectivity]);
    let table = run(&config).unwrap();
    assert_eq!(table.values.dim(), (1, 5 * n + 2));
}

/// Asks to stop when it is asked for the `after`th time.
struct StopAfter {
    after: usize,
    asked: std::sync::atomic::AtomicUsize,
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        let asked = self
            .asked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        asked + 1 >= self.after
    }
}

#[test]
fn clusters_are_taken_few_at_a_time_without_a_bit_of_difference() {
    use crate::autocorrelation::{Precision, SpatialWeights, moran_i};
    let mut stream = phenocoder_core::Seed::new(9).stream("clusters", 0);
    let n = 300;
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, 100.0));
    let graph = crate::radius_graph(points.view(), 9.0).unwrap();
    let points = Coords::new(points, phenocoder_core::Unit::Micrometer).unwrap();
    let units = Categorical::from_labels(vec!["s"; n]);
    for k in [1, 16, 17, 40] {
        let mut codes = (0..n)
            .map(|_| stream.below(k + 1) as i32 - 1)
            .collect::<Vec<_>>();
        // Nobody is in the last one of several.
        codes
            .iter_mut()
            .filter(|code| **code > 0 && **code == k as i32 - 1)
            .for_each(|code| *code = 0);
        let membership = Array2::from_shape_fn((n, k), |(i, a)| f64::from(codes[i] == a as i32));
        let labels = Categorical::new(codes, (0..k).map(|a| a.to_string()).collect()).unwrap();
        for (mode, precision) in [
            (Mode::Default, Precision::Double),
            (Mode::Compat, Precision::Single),
        ] {
            let config = StatisticsConfig::new([9.0])
                .with_groups([Group::MoranClusters])
                .with_mode(mode);
            let run = |progress: &dyn Progress| {
                spatial_statistics(&points, &units, &labels, None, &config, progress)
            };
            if k == 1 && mode == Mode::Compat {
                // One label is no unit of the original.
                continue;
            }
            let weights = SpatialWeights::default().with_precision(precision);
            let expected = moran_i(&graph, membership.view(), &weights).unwrap();
            let found = run(&NoProgress).unwrap();
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&found.values.row(0).to_vec()),
                bits(&expected),
                "{k} {mode:?}"
            );
            // Asked for the radius, the group and every sixteen clusters.
            let stopped = |after: usize| {
                let asked = std::sync::atomic::AtomicUsize::new(0);
                run(&StopAfter { after, asked }).is_err()
            };
            let times = 2 + k.div_ceil(16);
            assert!(stopped(times) && !stopped(times + 1), "{k}");
        }
    }
}

#[test]
fn hot_and_cold_spots_of_a_large_unit_are_given_up_when_asked() {
    let mut stream = phenocoder_core::Seed::new(9).stream("cells", 0);
    let n = 5_000;
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, 100.0));
    let points = Coords::new(points, phenocoder_core::Unit::Micrometer).unwrap();
    let values = Array2::from_shape_simple_fn((n, 1), || stream.uniform());
    let features = Features::new(values, ["x"]).unwrap();
    let units = Categorical::from_labels(vec!["s"; n]);
    let labels = Categorical::from_labels((0..n).map(|i| ["a", "b"][i % 2]));
    let config = StatisticsConfig::new([2.0]).with_groups([Group::LocalMoran]);
    let asked = |after: usize| {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let progress = StopAfter { after, asked };
        let found = spatial_statistics(
            &points,
            &units,
            &labels,
            Some(&features),
            &config,
            &progress,
        );
        (found.is_err(), progress.asked.into_inner())
    };
    let (stopped, times) = asked(usize::MAX);
    // For the radius and the group, and then as cells are done.
    assert!(!stopped && times > 3, "{times}");
    assert!(asked(3).0 && asked(times).0);
}

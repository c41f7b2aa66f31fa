//! Input at the edge of definition: the table of spatial.md §11, and units with little in them.

use ndarray::{Array2, array};
use phenocoder_core::{CancelToken, Categorical, Coords, Features, NoProgress, Unit};
use phenocoder_spatial::Error;
use phenocoder_spatial::summary::{
    DropReason, Group, Mode, NoteKind, StatisticsConfig, StatisticsTable, spatial_statistics,
};

fn table(
    points: &Array2<f64>,
    units: &Categorical,
    labels: &Categorical,
    config: &StatisticsConfig,
) -> Result<StatisticsTable, Error> {
    let points = Coords::new(points.clone(), Unit::Pixel).unwrap();
    spatial_statistics(&points, units, labels, None, config, &NoProgress)
}

fn value(table: &StatisticsTable, unit: usize, name: &str) -> f64 {
    let column = table
        .column(name)
        .unwrap_or_else(|| panic!("{name}: {:?}", table.names));
    column[unit]
}

#[test]
fn a_unit_of_one_cell_has_the_statistics_that_are_defined() {
    let labels = Categorical::from_labels(["T"]);
    let units = Categorical::from_labels(["s"]);
    let config = StatisticsConfig::new([1.0]);
    let t = table(&array![[0.0, 0.0]], &units, &labels, &config).unwrap();
    assert_eq!(value(&t, 0, "radius:1_stat:connectivity_mean"), 0.0);
    assert_eq!(
        value(&t, 0, "radius:1_stat:interactions_interaction_T_T"),
        0.0
    );
    assert_eq!(
        value(
            &t,
            0,
            "radius:1_stat:centrality_centrality_T_average_clustering"
        ),
        0.0
    );
    assert_eq!(value(&t, 0, "radius:1_stat:chull_all_n_obs_chull"), 0.0);
    for missing in [
        "interactions_interaction_norm_T_T",
        "centrality_centrality_T_degree_centrality",
        "moran_clusters_moranI_T",
        "chull_all_volume_chull_mean",
    ] {
        assert!(
            value(&t, 0, &format!("radius:1_stat:{missing}")).is_nan(),
            "{missing}"
        );
    }
    let kinds: Vec<NoteKind> = t.report.notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, [NoteKind::NoEdges, NoteKind::SingleLabel]);
}

#[test]
fn a_graph_without_edges_gives_what_the_table_of_the_specification_says() {
    let points = array![[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]];
    let units = Categorical::from_labels(["s"; 3]);
    let labels = Categorical::from_labels(["a", "b", "b"]);
    let t = table(&points, &units, &labels, &StatisticsConfig::new([1.0])).unwrap();
    for zero in [
        "degree_centrality",
        "average_clustering",
        "closeness_centrality",
    ] {
        assert_eq!(
            value(
                &t,
                0,
                &format!("radius:1_stat:centrality_centrality_b_{zero}")
            ),
            0.0
        );
    }
    assert!(value(&t, 0, "radius:1_stat:interactions_interaction_norm_a_b").is_nan());
    assert!(value(&t, 0, "radius:1_stat:moran_clusters_moranI_a").is_nan());
    // The columns are those of any other graph.
    let dense = table(&points, &units, &labels, &StatisticsConfig::new([1.0, 9.0])).unwrap();
    assert_eq!(t.names[..], dense.names[..t.names.len()]);
    let renamed: Vec<String> = t
        .names
        .iter()
        .map(|n| n.replace("radius:1_", "radius:9_"))
        .collect();
    assert_eq!(renamed[..], dense.names[t.names.len()..]);
}

#[test]
fn an_empty_category_has_columns_and_missing_values() {
    let points = array![[0.0, 0.0], [0.0, 1.0]];
    let categories = ["a", "b", "none"].map(str::to_owned).to_vec();
    let labels = Categorical::new(vec![0, 1], categories).unwrap();
    let units = Categorical::from_labels(["s"; 2]);
    let t = table(&points, &units, &labels, &StatisticsConfig::new([1.0])).unwrap();
    assert_eq!(
        value(
            &t,
            0,
            "radius:1_stat:centrality_centrality_none_degree_centrality"
        ),
        0.0
    );
    assert_eq!(
        value(&t, 0, "radius:1_stat:interactions_interaction_none_a"),
        0.0
    );
    for missing in [
        "centrality_centrality_none_closeness_centrality",
        "centrality_centrality_none_average_clustering",
        "connectivity_degree_none_mean",
        "moran_clusters_moranI_none",
    ] {
        assert!(
            value(&t, 0, &format!("radius:1_stat:{missing}")).is_nan(),
            "{missing}"
        );
    }
}

#[test]
fn missing_labels_and_units_are_let_be() {
    let points = array![[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [f64::NAN, 0.0]];
    let labels = Categorical::from_optional_labels([Some("a"), None, Some("b"), Some("b")]);
    let units = Categorical::from_optional_labels([Some("s"), Some("s"), Some("s"), None]);
    let t = table(&points, &units, &labels, &StatisticsConfig::new([1.0])).unwrap();
    assert_eq!(
        value(&t, 0, "radius:1_stat:interactions_interaction_a_b"),
        0.0
    );
    assert_eq!(
        value(
            &t,
            0,
            "radius:1_stat:centrality_centrality_a_closeness_centrality"
        ),
        2.0 / 3.0
    );
    assert_eq!(t.report.rows_without_unit, 1);
}

#[test]
fn a_bad_coordinate_is_refused_with_its_row() {
    let points = array![[f64::NAN, 0.0], [0.0, 1.0], [0.0, f64::INFINITY]];
    let units = Categorical::from_optional_labels([None, Some("s"), Some("s")]);
    let labels = Categorical::from_labels(["a", "b", "b"]);
    let refused = table(&points, &units, &labels, &StatisticsConfig::new([1.0])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "row 2, axis 1: the coordinate inf is not finite"
    );
}

#[test]
fn units_without_rows_and_in_compat_mode_with_one_label_are_dropped_by_name() {
    let points = array![[0.0, 0.0], [0.0, 1.0], [5.0, 0.0], [5.0, 1.0]];
    let names = ["empty", "mixed", "pure"].map(str::to_owned).to_vec();
    let units = Categorical::new(vec![1, 1, 2, 2], names).unwrap();
    let labels = Categorical::from_labels(["a", "b", "b", "b"]);
    let config = StatisticsConfig::new([1.0]);
    let t = table(&points, &units, &labels, &config).unwrap();
    assert_eq!(
        (&t.units[..], t.report.dropped.len()),
        (&["mixed".into(), "pure".into()][..], 1)
    );
    let t = table(&points, &units, &labels, &config.with_mode(Mode::Compat)).unwrap();
    let dropped: Vec<(&str, DropReason)> = t
        .report
        .dropped
        .iter()
        .map(|d| (d.unit.as_str(), d.reason))
        .collect();
    assert_eq!(
        dropped,
        [
            ("empty", DropReason::NoRows),
            ("pure", DropReason::SingleLabel)
        ]
    );
}

#[test]
fn inputs_of_different_length_and_labels_that_collide_are_refused() {
    let points = array![[0.0, 0.0], [0.0, 1.0]];
    let two = Categorical::from_labels(["a", "b"]);
    let one = Categorical::from_labels(["a"]);
    let config = StatisticsConfig::new([1.0]);
    assert!(matches!(
        table(&points, &one, &two, &config),
        Err(Error::Shape(_))
    ));
    assert!(matches!(
        table(&points, &two, &one, &config),
        Err(Error::Shape(_))
    ));
    let colliding = Categorical::new(
        vec![0, 1],
        ["a", "a_b", "b_c", "c"].map(str::to_owned).to_vec(),
    );
    // Both a → b_c and a_b → c would be called `interaction_a_b_c`.
    let refused = table(&points, &two, &colliding.unwrap(), &config).unwrap_err();
    assert!(
        refused.to_string().contains("_a_b_c` occurs twice"),
        "{refused}"
    );
}

#[test]
fn a_cancelled_run_stops() {
    let token = CancelToken::new();
    token.cancel();
    let points = Coords::new(array![[0.0, 0.0]], Unit::Pixel).unwrap();
    let one = Categorical::from_labels(["a"]);
    let config = StatisticsConfig::new([1.0]);
    let stopped = spatial_statistics(&points, &one, &one, None, &config, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
}

#[test]
fn features_with_missing_and_constant_columns_spoil_only_themselves() {
    let points = Coords::new(array![[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]], Unit::Pixel).unwrap();
    let x = array![[1.0, f64::NAN, 4.0], [2.0, 1.0, 4.0], [4.0, 2.0, 4.0]];
    let features = Features::new(x, ["fine", "nan", "constant"]).unwrap();
    let one = Categorical::from_labels(["a"; 3]);
    let config = StatisticsConfig::new([1.0]).with_groups([Group::MoranFeatures]);
    let t = spatial_statistics(&points, &one, &one, Some(&features), &config, &NoProgress).unwrap();
    assert!(t.values[[0, 0]].is_finite());
    assert!(t.values[[0, 1]].is_nan() && t.values[[0, 2]].is_nan());
}

//! Statistics of a store whose features do not fit into memory.

use ndarray::{Array2, Axis, s};
use phenocoder::Error;
use phenocoder::core::{CancelToken, Coords, Features, NoProgress, Unit};
use phenocoder::io::{Matrix, OpenOptions, Store, TableData, WriteMode};
use phenocoder::pipeline::{SpatialStatsConfig, spatialgraph_stats, statistics_one_by_one};
use phenocoder::spatial::Error as SpatialError;
use phenocoder::spatial::subunits::SubunitConfig;
use phenocoder::spatial::summary::{
    Fill, Group, Mode, StatisticsConfig, StatisticsTable, spatial_statistics,
};

use crate::small;
use crate::stop::StopAfter;

/// Small tissue with a table `latents` of as many variables, its rows in reverse order, and settings that read it and the
/// cells.
fn tissue(folder: &std::path::Path, variables: usize) -> (std::path::PathBuf, SpatialStatsConfig) {
    let (path, keys) = small::tissue(folder);
    let mut store = small::open(&path);
    let mut names = store.table("cells").unwrap().obs_names().unwrap();
    names.reverse();
    let x = Array2::from_shape_fn((names.len(), variables), |(i, j)| {
        ((i * 7 + j) as f64).sin()
    });
    let variables = (0..variables).map(|j| format!("z{j}")).collect();
    let latents = TableData::new(names, variables, Some(Matrix::from(x)));
    store
        .write_table("latents", &latents, WriteMode::Create)
        .unwrap();
    let statistics = StatisticsConfig::new([12.0, 20.0]).with_groups(Group::ALL);
    let config = SpatialStatsConfig::new(keys, "true_type", statistics);
    (path, config.with_feature_tables(["cells", "latents"]))
}

fn bits(values: &Array2<f64>) -> Array2<u64> {
    values.mapv(f64::to_bits)
}

#[test]
fn samples_one_by_one_make_the_table_of_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = tissue(folder.path(), 3);
    let store = small::open(&path);
    let cells = store.table("cells").unwrap();
    let latents = store.table("latents").unwrap();
    let yx = cells.obsm("spatial").unwrap().slice(s![.., ..2]).to_owned();
    let points = Coords::new(yx, Unit::Unspecified).unwrap();
    let samples = cells.obs_column("sample").unwrap().to_categorical();
    let types = cells.obs_column("true_type").unwrap().to_categorical();
    let x = |table: &phenocoder::io::Table| table.x().unwrap().unwrap().to_dense_f64().unwrap();
    let reversed = x(&latents).slice(s![..;-1, ..]).to_owned();
    let values = ndarray::concatenate(Axis(1), &[x(&cells).view(), reversed.view()]).unwrap();
    let names = [cells.var_names().unwrap(), latents.var_names().unwrap()].concat();
    let features = Features::new(values, names).unwrap();
    for mode in [Mode::Default, Mode::Compat] {
        let mut config = config.clone();
        config.statistics = config.statistics.with_mode(mode);
        let all = spatial_statistics(
            &points,
            &samples,
            &types,
            Some(&features),
            &config.statistics,
            &NoProgress,
        );
        let all = all.unwrap();
        assert_eq!(all.units.len(), 8);
        let found = statistics_one_by_one(&store, &config, &NoProgress).unwrap();
        assert_eq!((&found.units, &found.names), (&all.units, &all.names));
        assert_eq!(bits(&found.values), bits(&all.values));
        assert_eq!(found.report, all.report);
    }
}

#[test]
fn cubes_one_by_one_make_the_table_that_the_step_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = tissue(folder.path(), 3);
    let config = config
        .with_subunits(SubunitConfig::new(20.0).with_min_obs(4))
        .with_fill(Some(Fill::ColumnMean));
    let mut store = small::open(&path);
    let found = statistics_one_by_one(&store, &config, &NoProgress).unwrap();
    let report = spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap();
    let written = store.table("phenocoder_subunits").unwrap();
    assert_eq!(found.units, written.obs_names().unwrap());
    assert_eq!(found.names, written.var_names().unwrap());
    let x = written.x().unwrap().unwrap().to_dense_f64().unwrap();
    assert_eq!(bits(&found.values), bits(&x));
    assert_eq!(found.report, report.notes);
    assert!(found.report.rows_without_unit > 0, "cubes of few cells");
}

#[test]
fn features_of_one_sample_need_not_leave_room_for_those_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = tissue(folder.path(), 200);
    let config = config.with_feature_tables(["latents"]);
    let open = |bytes: u64| {
        Store::open_with(&path, OpenOptions::default().with_max_array_bytes(bytes)).unwrap()
    };
    let run = |store: &Store| statistics_one_by_one(store, &config, &NoProgress);
    // 320 rows of 200 numbers, of which a sample has 40.
    let all = 320 * 200 * 8;
    let mut narrow = open(all / 4);
    let refused = spatialgraph_stats(&mut narrow, &config, None, &NoProgress);
    assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
    let bits_of = |table: StatisticsTable| bits(&table.values);
    assert_eq!(
        bits_of(run(&narrow).unwrap()),
        bits_of(run(&open(2 * all)).unwrap())
    );
}

#[test]
fn samples_one_by_one_stop_when_asked_and_name_rows_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = tissue(folder.path(), 1);
    let mut store = small::open(&path);
    let token = CancelToken::new();
    token.cancel();
    let stopped = statistics_one_by_one(&store, &config, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    let stopped = statistics_one_by_one(&store, &config, &StopAfter::new(3));
    assert!(stopped.is_err());

    let mut cells = store.table("cells").unwrap().read_all().unwrap();
    let mut spatial = cells.obsm_matrix("spatial").unwrap();
    spatial[[300, 0]] = f64::NAN;
    cells = cells.with_obsm("spatial", spatial);
    store
        .write_table("cells", &cells, WriteMode::Replace)
        .unwrap();
    let refused = statistics_one_by_one(&store, &config, &NoProgress);
    assert!(
        matches!(
            refused,
            Err(Error::Spatial(SpatialError::NotFinite { row: 300, .. }))
        ),
        "{refused:?}"
    );
}

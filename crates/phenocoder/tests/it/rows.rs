//! What a table says of the rows in which neighbours were searched, and what becomes of these when somebody changes them.

use ndarray::Array2;
use phenocoder::core::NoProgress;
use phenocoder::embed::batch::HarmonyConfig;
use phenocoder::embed::scale::{NanPolicy, ScaleConfig};
use phenocoder::io::{Store, TableData, Uns};
use phenocoder::pipeline::{
    BatchCorrection, ClusterConfig, NeighborRows, Representation, SCALED_LAYER, cluster_cells,
    spatialgraph_embedding,
};
use serde_json::Value;

use crate::correction::{CELLS, TABLE, balanced, cells, edit, entries, rows, samples};

/// Why what the table says is not to be relied on.
fn distrust(store: &Store) -> String {
    NeighborRows::read(store, TABLE).unwrap_err().to_string()
}

fn reduced(correction: BatchCorrection) -> ClusterConfig {
    cells(correction).with_n_components(Some(3))
}

#[test]
fn gaps_are_counted_as_what_became_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    edit(&mut store, |mut data| {
        let mut x = data.x.as_ref().unwrap().to_dense_f64().unwrap();
        x[[7, 0]] = f64::NAN;
        x.column_mut(1).fill(f64::NAN);
        x.column_mut(2).fill(4.0);
        data.x = Some(x.into());
        data
    });
    let plain = samples(BatchCorrection::None);
    for (policy, expected) in [
        (NanPolicy::ImputeMean, (2, 1)),
        (NanPolicy::ColumnToZero, (3, 0)),
    ] {
        let scale = ScaleConfig::default().with_nan(policy);
        let config = plain.clone().with_scale(scale);
        let report = spatialgraph_embedding(&mut store, &config, &NoProgress).unwrap();
        let found = (report.empty_columns, report.imputed);
        assert_eq!(found, expected, "{policy:?}");
    }
}

#[test]
fn nothing_is_left_of_an_earlier_correction() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let mut left = |config: &ClusterConfig| {
        cluster_cells(&mut store, config, &NoProgress).unwrap();
        entries(&store)
    };
    let harmony = cells(BatchCorrection::Harmony(HarmonyConfig::default()));
    let reduced = harmony.clone().with_n_components(Some(3));
    assert_eq!(left(&reduced), ["X_pca", "X_pca_harmony"]);
    assert_eq!(left(&harmony), ["X_corrected"]);
    let ridge = cells(BatchCorrection::Ridge { alpha: 1.0 });
    assert_eq!(left(&ridge.with_n_components(Some(3))), ["X_pca"]);
    assert_eq!(left(&cells(BatchCorrection::None)), [""; 0]);
}

#[test]
fn what_no_note_tells_of_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let plain = cells(BatchCorrection::None);
    let components = Array2::<f64>::ones((CELLS, 2));
    edit(&mut store, |data| {
        data.with_uns("phenocoder", "a table of latents")
            .with_obsm("X_pca", components.clone())
    });
    for _ in 0..2 {
        cluster_cells(&mut store, &plain, &NoProgress).unwrap();
        assert_eq!(entries(&store), ["X_pca"]);
    }

    // Neighbours of an earlier version, which told these four things and no more, and of scanpy.
    let neighbors = |params: &[(&str, Uns)]| {
        let params = params
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        let params = Uns::Dict(params.collect());
        Uns::Dict([("params".to_owned(), params)].into())
    };
    let own = vec![
        ("use_rep", Uns::from("X_pca")),
        ("method", Uns::from("umap")),
        ("metric", Uns::from("euclidean")),
        ("n_neighbors", Uns::Int(15)),
    ];
    let scanpys = [own.clone(), vec![("random_state", Uns::Int(0))]].concat();
    for params in [scanpys, own] {
        edit(&mut store, |data| {
            data.with_uns("neighbors", neighbors(&params))
        });
        let unknown = NeighborRows::read(&store, TABLE).unwrap_err().to_string();
        assert!(
            unknown.contains("table `latents` does not say"),
            "{unknown}"
        );
        cluster_cells(&mut store, &plain, &NoProgress).unwrap();
        assert_eq!(entries(&store), ["X_pca"]);
    }
}

#[test]
fn components_that_were_replaced_are_neither_trusted_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
    let plain = cells(BatchCorrection::None);
    let others = Array2::<f64>::ones((CELLS, 3));
    cluster_cells(&mut store, &reduced(harmony), &NoProgress).unwrap();
    rows(&store);
    // As scanpy's `pp.pca` does it, which leaves `uns/neighbors` alone.
    edit(&mut store, |data| data.with_obsm("X_pca", others.clone()));
    let message = distrust(&store);
    let words = "`obsm/X_pca` of table `latents` is not the one that cluster_cells wrote";
    assert!(message.contains(words), "{message}");
    cluster_cells(&mut store, &plain, &NoProgress).unwrap();
    assert_eq!(entries(&store), ["X_pca"]);
    assert_eq!(store.table(TABLE).unwrap().obsm("X_pca").unwrap(), others);
    assert_eq!(rows(&store).used, Representation::X);
}

#[test]
fn what_was_written_anew_with_the_same_values_is_still_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let ridge = BatchCorrection::Ridge { alpha: 1.0 };
    cluster_cells(&mut store, &reduced(ridge), &NoProgress).unwrap();
    edit(&mut store, |data| data);
    rows(&store);
    let plain = cells(BatchCorrection::None);
    cluster_cells(&mut store, &plain, &NoProgress).unwrap();
    assert!(entries(&store).is_empty());
}

#[test]
fn statistics_that_were_replaced_are_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let ridge = samples(BatchCorrection::Ridge { alpha: 1.0 });
    let ones = |data: &TableData| Array2::<f64>::ones((CELLS, data.n_vars()));
    let other_layer = |data: TableData| {
        let ones = ones(&data);
        data.with_layer(SCALED_LAYER, ones)
    };
    let other_x = |mut data: TableData| {
        data.x = Some(ones(&data).into());
        data
    };
    let changes: [(&str, &dyn Fn(TableData) -> TableData); 2] = [
        ("`layers/scaled_statistics`", &other_layer),
        ("`X`", &other_x),
    ];
    for (name, change) in changes {
        spatialgraph_embedding(&mut store, &ridge, &NoProgress).unwrap();
        rows(&store);
        edit(&mut store, change);
        let message = distrust(&store);
        let words = format!("{name} of table `latents` is not the one");
        assert!(message.contains(&words), "{message}");
    }
}

#[test]
fn a_layer_that_took_the_place_of_our_own_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let ridge = samples(BatchCorrection::Ridge { alpha: 1.0 });
    spatialgraph_embedding(&mut store, &ridge, &NoProgress).unwrap();
    let variables = store.table(TABLE).unwrap().n_vars();
    let ones = Array2::<f64>::ones((CELLS, variables));
    edit(&mut store, |data| {
        data.with_layer(SCALED_LAYER, ones.clone())
    });
    let plain = samples(BatchCorrection::None);
    spatialgraph_embedding(&mut store, &plain, &NoProgress).unwrap();
    let layer = store.table(TABLE).unwrap().layer(SCALED_LAYER).unwrap();
    assert_eq!(layer.to_dense_f64().unwrap(), ones);
}

#[test]
fn a_note_without_fingerprints_is_read_and_nothing_is_removed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let ridge = BatchCorrection::Ridge { alpha: 1.0 };
    cluster_cells(&mut store, &reduced(ridge), &NoProgress).unwrap();
    let said = rows(&store);
    edit(&mut store, |mut data| {
        let Some(Uns::Dict(neighbors)) = data.uns.get_mut("neighbors") else {
            panic!("no neighbours");
        };
        let text = neighbors["phenocoder"].as_text().unwrap();
        let mut note: Value = serde_json::from_str(text).unwrap();
        note["made"] = serde_json::json!([{"obsm": "X_pca"}]);
        neighbors.insert("phenocoder".to_owned(), Uns::Text(note.to_string()));
        data
    });
    assert_eq!(rows(&store), said);
    let plain = cells(BatchCorrection::None);
    cluster_cells(&mut store, &plain, &NoProgress).unwrap();
    assert_eq!(entries(&store), ["X_pca"]);
}

//! Nearest cells in a library on disk, and approximate neighbours in the graph of the cells.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, Array4, Axis, array, concatenate, s};
use phenocoder::Error;
use phenocoder::core::{
    CancelToken, Categorical, Column, ImageRegion, ImageSource as _, NoProgress, Seed,
};
use phenocoder::embed::Error as EmbedError;
use phenocoder::embed::knn::{Metric, Neighbors, nearest_neighbors, query_neighbors};
use phenocoder::io::{
    ContainerVersion, Matrix, PatchSet, Store, TableData, Uns, WriteMode, column_from_arrow,
};
use phenocoder::model::DeviceChoice;
use phenocoder::pipeline::{
    CellLibrary, Checkpoints, ClusterConfig, GraphConfig, Hit, HnswSearch, NeighborMethod,
    PipelineConfig, RawPatches, Representation, RunFiles, StoreKeys, cluster_cells, encode,
    encode_patches, fit, generate_dataset, run,
};

use crate::small;
use crate::stop::StopAfter;

fn create(folder: &Path, name: &str) -> Store {
    Store::create(folder.join(name), ContainerVersion::V02).unwrap()
}

/// Writes a table whose rows are called `{name}_{row}`.
fn write(store: &mut Store, name: &str, x: &Array2<f64>) {
    let table = TableData::new(names(name, x.nrows()), variables(x.ncols()), matrix(x));
    store.write_table(name, &table, WriteMode::Create).unwrap();
}

fn names(of: &str, n: usize) -> Vec<String> {
    (0..n).map(|row| format!("{of}_{row}")).collect()
}

fn variables(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("phc_latent_{i}")).collect()
}

fn matrix(x: &Array2<f64>) -> Option<Matrix> {
    Some(Matrix::from(x.clone()))
}

/// Rows on a coarse grid, so that many are equal and more are equally far.
fn ties(n: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, 3), |(i, j)| {
        (2.0 * ((i * (j + 3)) as f64).sin()).round() + 0.25
    })
}

/// The library of a table's `X`.
fn open(store: &Store, table: &str) -> CellLibrary {
    CellLibrary::open(store, table, Representation::X).unwrap()
}

fn of_hits(hits: &[Vec<Hit>]) -> Vec<Vec<(usize, u64)>> {
    let bits = |hit: &Hit| (hit.index, hit.distance.to_bits());
    hits.iter()
        .map(|hits| hits.iter().map(bits).collect())
        .collect()
}

fn of_neighbors(found: &Neighbors) -> Vec<Vec<(usize, u64)>> {
    let bits = |(index, distance): (usize, f64)| (index, distance.to_bits());
    (0..found.len())
        .map(|row| found.row(row).map(bits).collect())
        .collect()
}

#[test]
fn a_library_gives_the_neighbours_of_rows_in_memory_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let x = ties(150);
    write(&mut store, "latents", &x);
    let library = open(&store, "latents");
    assert_eq!((library.len(), library.n_latents()), (150, 3));
    let all: Vec<usize> = (0..150).collect();
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let found = library.nearest_to_cells(&all, 7, metric, &NoProgress);
        let expected = nearest_neighbors(x.view(), 7, metric, &NoProgress).unwrap();
        assert_eq!(of_hits(&found.unwrap()), of_neighbors(&expected));
        let queries = &x.slice(s![..9, ..]) + 0.1;
        let found = library.nearest(queries.view(), 150, metric, &NoProgress);
        let expected = query_neighbors(x.view(), queries.view(), 150, metric, &NoProgress).unwrap();
        assert_eq!(of_hits(&found.unwrap()), of_neighbors(&expected));
    }
    let some = library.nearest_to_cells(&[140, 3, 140], 2, Metric::Euclidean, &NoProgress);
    let some = some.unwrap();
    assert_eq!(some[0], some[2]);
    for hit in some.iter().flatten() {
        assert_eq!((hit.table, hit.row), (0, hit.index));
        assert_eq!(*hit.cell, format!("latents_{}", hit.row));
        assert_eq!(hit.sample, None);
    }
}

#[test]
fn neighbours_on_both_sides_of_a_block_are_found() {
    // A block of so many columns: 16 MiB of 64-bit numbers.
    const COLUMNS: usize = 512;
    const BLOCK: usize = 4096;
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let on_a_line = |at: &[f64]| {
        Array2::from_shape_fn((at.len(), COLUMNS), |(i, j)| match j {
            0 => at[i],
            _ => 0.0,
        })
    };
    let places: Vec<f64> = (0..BLOCK + 5).map(|i| i as f64).collect();
    let x = on_a_line(&places);
    write(&mut store, "latents", &x);
    let library = open(&store, "latents");
    let queries = on_a_line(&[BLOCK as f64 - 0.4, 0.0, BLOCK as f64 + 9.0]);
    let first_block = StopAfter::new(1);
    let stopped = library.nearest(queries.view(), 4, Metric::Euclidean, &first_block);
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    let found = library.nearest(queries.view(), 4, Metric::Euclidean, &NoProgress);
    let expected = query_neighbors(x.view(), queries.view(), 4, Metric::Euclidean, &NoProgress);
    assert_eq!(of_hits(&found.unwrap()), of_neighbors(&expected.unwrap()));
    let cells = [BLOCK, BLOCK - 1, 7, BLOCK + 4];
    let found = library.nearest_to_cells(&cells, 2, Metric::Euclidean, &NoProgress);
    let rows: Vec<Vec<usize>> = found
        .unwrap()
        .iter()
        .map(|hits| hits.iter().map(|hit| hit.row).collect())
        .collect();
    let expected = [
        [BLOCK - 1, BLOCK + 1],
        [BLOCK - 2, BLOCK],
        [6, 8],
        [BLOCK + 3, BLOCK + 2],
    ];
    assert_eq!(rows, expected);
    let latents = library.latents(&cells, &NoProgress).unwrap();
    assert_eq!(latents, x.select(Axis(0), &cells));
}

#[test]
fn tables_of_several_stores_are_one_library() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (
        create(folder.path(), "one.zarr"),
        create(folder.path(), "two.zarr"),
    );
    let x = ties(90);
    let part = |rows: std::ops::Range<usize>| x.slice(s![rows, ..]).to_owned();
    // The same rows as `X`, as a layer and in `obsm`, where the others are of no use.
    let zeros = |n: usize| Array2::<f64>::zeros((n, 3));
    let table = |name: &str, rows: std::ops::Range<usize>| {
        let n = rows.len();
        [
            TableData::new(names(name, n), variables(3), matrix(&part(rows.clone()))),
            TableData::new(names(name, n), variables(3), matrix(&zeros(n)))
                .with_layer("smooth", part(rows.clone())),
            TableData::new(names(name, n), variables(3), None).with_obsm("X_corrected", part(rows)),
        ]
    };
    let kinds = [
        Representation::X,
        Representation::Layer("smooth".to_owned()),
        Representation::Obsm("X_corrected".to_owned()),
    ];
    let [a, b, c] = [table("a", 0..40), table("b", 40..45), table("c", 45..90)];
    for (kind, ((a, b), c)) in kinds.into_iter().zip(a.into_iter().zip(b).zip(c)) {
        one.write_table("a", &a, WriteMode::Replace).unwrap();
        one.write_table("b", &b, WriteMode::Replace).unwrap();
        two.write_table("c", &c, WriteMode::Replace).unwrap();
        let mut library = CellLibrary::open(&one, "a", kind).unwrap();
        library.add_table(&one, "b").unwrap();
        library.add_table(&two, "c").unwrap();
        assert_eq!(library.len(), 90);
        let tables = library.tables().iter();
        let tables: Vec<_> = tables.map(|table| (table.name(), table.rows())).collect();
        assert_eq!(tables, [("a", 0..40), ("b", 40..45), ("c", 45..90)]);
        assert_eq!(library.tables()[2].store(), two.address());
        let cells = [89, 0, 44, 40];
        let found = library.nearest_to_cells(&cells, 20, Metric::Euclidean, &NoProgress);
        let found = found.unwrap();
        let expected = nearest_neighbors(x.view(), 20, Metric::Euclidean, &NoProgress).unwrap();
        let expected = of_neighbors(&expected);
        let expected: Vec<_> = cells.iter().map(|&cell| expected[cell].clone()).collect();
        assert_eq!(of_hits(&found), expected);
        for hit in found.iter().flatten() {
            let (name, rows) = &tables[hit.table];
            assert_eq!(hit.row, hit.index - rows.start);
            assert_eq!(*hit.cell, format!("{name}_{}", hit.row));
        }
        let met: BTreeSet<usize> = found.iter().flatten().map(|hit| hit.table).collect();
        assert_eq!(met.len(), 3, "all tables are met");
    }
}

/// A table as an unknown version of `encode` might write it, with one cell per sample.
fn encoded(x: &Array2<f64>, model: &str) -> TableData {
    let settings = r#"{"keys": {"sample_key": "tissue", "unknown": 1}, "later": [2]}"#;
    let notes = [("config", settings), ("model", model)];
    let notes = notes.map(|(key, text)| (key.to_owned(), Uns::from(text)));
    let samples = Categorical::from_labels(names("tissue", x.nrows()));
    TableData::new(names("cell", x.nrows()), variables(x.ncols()), matrix(x))
        .with_obs_column("tissue", Column::Categorical(samples))
        .unwrap()
        .with_uns("phenocoder", Uns::Dict(notes.into()))
}

#[test]
fn samples_are_named_whatever_other_settings_a_version_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    store
        .write_table("t", &encoded(&ties(9), "one"), WriteMode::Create)
        .unwrap();
    let hits = open(&store, "t").nearest_to_cells(&[3], 8, Metric::Euclidean, &NoProgress);
    for hit in &hits.unwrap()[0] {
        let sample = format!("tissue_{}", hit.row);
        assert_eq!(hit.sample.as_deref(), Some(sample.as_str()));
    }
}

#[test]
fn hits_of_one_cell_share_its_name_and_its_sample() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    store
        .write_table("t", &encoded(&ties(9), "one"), WriteMode::Create)
        .unwrap();
    let all: Vec<usize> = (0..9).collect();
    let hits = open(&store, "t").nearest_to_cells(&all, 8, Metric::Euclidean, &NoProgress);
    let hits: Vec<Hit> = hits.unwrap().into_iter().flatten().collect();
    let of_first: Vec<&Hit> = hits.iter().filter(|hit| hit.row == 0).collect();
    assert_eq!(of_first.len(), 8);
    for hit in &of_first {
        assert!(Arc::ptr_eq(&hit.cell, &of_first[0].cell));
        let samples = [hit, &of_first[0]].map(|hit| hit.sample.clone().unwrap());
        assert!(Arc::ptr_eq(&samples[0], &samples[1]));
    }
}

#[test]
fn a_table_that_was_written_anew_is_not_searched_for_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let x = ties(9);
    let mut write = |x: &Array2<f64>, model: &str| {
        store
            .write_table("t", &encoded(x, model), WriteMode::Replace)
            .unwrap();
        open(&store, "t")
    };
    let library = write(&x, "one");
    let look = || library.nearest(x.view(), 2, Metric::Euclidean, &NoProgress);
    write(&x, "one");
    look().unwrap();
    write(&x, "two");
    let text = look().unwrap_err().to_string();
    assert!(
        text.contains("`t`") && text.contains("written anew"),
        "{text}"
    );
    write(&ties(5), "one");
    look().unwrap_err();
}

#[test]
fn what_cannot_be_a_library_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    write(&mut store, "latents", &ties(5));
    write(&mut store, "wide", &Array2::zeros((5, 4)));
    let bare = TableData::new(names("bare", 5), variables(3), None);
    store.write_table("bare", &bare, WriteMode::Create).unwrap();
    let problem = |table: &str, rows: Representation| {
        let refused = CellLibrary::open(&store, table, rows);
        refused.unwrap_err().to_string()
    };
    let text = problem("cells", Representation::X);
    assert!(text.contains("cells") && text.contains("wide"), "{text}");
    for rows in [Representation::Layer, Representation::Obsm] {
        let text = problem("latents", rows("smooth".to_owned()));
        assert!(text.contains("smooth"), "{text}");
    }
    let text = problem("bare", Representation::X);
    assert!(text.contains("`bare`") && text.contains("no X"), "{text}");
    // The library stays as it was.
    let mut library = open(&store, "latents");
    let text = library.add_table(&store, "wide").unwrap_err().to_string();
    assert!(
        text.contains("`wide`") && text.contains("4 columns, expected 3"),
        "{text}"
    );
    assert_eq!((library.len(), library.tables().len()), (5, 1));
    let found = library.nearest(ties(1).view(), 5, Metric::Euclidean, &NoProgress);
    assert_eq!(found.unwrap()[0].len(), 5);
}

#[test]
fn what_cannot_be_looked_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let x = ties(6);
    write(&mut store, "latents", &x);
    let library = open(&store, "latents");
    let nearest =
        |x: &Array2<f64>, k: usize| library.nearest(x.view(), k, Metric::Euclidean, &NoProgress);
    let others =
        |row: usize, k: usize| library.nearest_to_cells(&[row], k, Metric::Euclidean, &NoProgress);
    for refused in [nearest(&x, 0), others(0, 0)] {
        assert!(
            matches!(refused, Err(Error::Config { field: "k", .. })),
            "{refused:?}"
        );
    }
    for (refused, most) in [(nearest(&x, 7), 6), (others(0, 6), 5)] {
        let Err(Error::Embed(EmbedError::TooManyNeighbors { available, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(available, most);
    }
    assert_eq!(nearest(&x, 6).unwrap()[0].len(), 6);
    assert_eq!(others(0, 5).unwrap()[0].len(), 5);
    let refused = nearest(&Array2::zeros((2, 4)), 1);
    assert!(matches!(refused, Err(Error::Shape(_))), "{refused:?}");
    let refused = nearest(&array![[0.0, f64::NAN, 0.0]], 1);
    assert!(
        matches!(
            refused,
            Err(Error::Embed(EmbedError::NotFinite {
                row: 0,
                column: 1,
                ..
            }))
        ),
        "{refused:?}"
    );
    let text = others(6, 1).unwrap_err().to_string();
    assert!(text.contains("row 6"), "{text}");
    assert!(nearest(&Array2::zeros((0, 3)), 1).unwrap().is_empty());

    let token = CancelToken::new();
    token.cancel();
    let stopped = library.nearest(x.view(), 1, Metric::Euclidean, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
}

#[test]
fn a_table_without_rows_adds_no_cell_and_an_empty_library_has_none_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let x = ties(4);
    write(&mut store, "none", &Array2::zeros((0, 3)));
    write(&mut store, "some", &x);
    let mut library = open(&store, "none");
    assert!(library.is_empty());
    let refused = library.nearest(x.view(), 1, Metric::Euclidean, &NoProgress);
    assert!(
        matches!(
            refused,
            Err(Error::Embed(EmbedError::TooManyNeighbors {
                k: 1,
                available: 0
            }))
        ),
        "{refused:?}"
    );
    library.add_table(&store, "some").unwrap();
    assert_eq!(library.len(), 4);
    let hits = library
        .nearest(x.view(), 4, Metric::Euclidean, &NoProgress)
        .unwrap();
    for hit in hits.iter().flatten() {
        assert_eq!((hit.table, hit.row), (1, hit.index));
        assert_eq!(*hit.cell, format!("some_{}", hit.row));
    }
}

#[test]
fn a_latent_that_is_no_number_names_its_table_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let mut x = ties(20);
    write(&mut store, "good", &x);
    x[[13, 2]] = f64::NAN;
    write(&mut store, "bad", &x);
    let mut library = open(&store, "good");
    library.add_table(&store, "bad").unwrap();
    for cells in [[0], [33]] {
        let refused = library.nearest_to_cells(&cells, 1, Metric::Euclidean, &NoProgress);
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("`bad`") && text.contains("row 13, column 2"),
            "{text}"
        );
    }
}

#[test]
fn a_search_stops_between_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    write(&mut store, "a", &ties(30));
    let mut library = open(&store, "a");
    library.add_table(&store, "a").unwrap();
    let x = ties(2);
    let look = |stop: &StopAfter| library.nearest(x.view(), 1, Metric::Euclidean, stop);
    let stopped = look(&StopAfter::new(1));
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    assert_eq!(look(&StopAfter::new(3)).unwrap().len(), 2);
    // The cells that are looked for are read in the same way.
    let stopped = library.latents(&[40, 3], &StopAfter::new(1));
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    assert_eq!(
        library
            .latents(&[40, 3], &StopAfter::new(3))
            .unwrap()
            .nrows(),
        2
    );
}

/// Three groups of rows, 200 of each.
fn groups() -> Array2<f64> {
    Array2::from_shape_fn((600, 4), |(i, j)| {
        let group = i % 3;
        (if j == group { 2.0 } else { 0.0 }) + ((i * (2 * j + 3)) as f64).sin()
    })
}

fn without_map() -> GraphConfig {
    GraphConfig::default().with_umap(None)
}

#[test]
fn an_approximate_graph_of_cells_is_nearly_the_exact_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    write(&mut store, "phenocoder", &groups());
    let mut cluster = |search: NeighborMethod| {
        let config = ClusterConfig::default().with_graph(without_map().with_search(search));
        let report = cluster_cells(&mut store, &config, &NoProgress).unwrap();
        let table = store.table("phenocoder").unwrap();
        (report, table.obsp("distances").unwrap())
    };
    let (exact_report, exact) = cluster(NeighborMethod::Exact);
    let (report, found) = cluster(NeighborMethod::Hnsw(HnswSearch::default()));
    assert_eq!(found.n_edges(), exact.n_edges());
    let shared = |row: usize| {
        let found = found.neighbors(row).iter();
        found
            .filter(|other| exact.neighbors(row).contains(other))
            .count()
    };
    let shared: usize = (0..600).map(shared).sum();
    let share = shared as f64 / exact.n_edges() as f64;
    assert!(share > 0.97, "{share}");
    assert_eq!(report.clusters.iter().sum::<usize>(), 600);
    assert_eq!(exact_report.clusters.iter().sum::<usize>(), 600);
    // A view that is too small for the question is widened, and finds less.
    let narrow = HnswSearch::default()
        .with_width(1)
        .with_links(2)
        .with_build_width(2);
    let (_, narrow) = cluster(NeighborMethod::Hnsw(narrow));
    assert_eq!(narrow.n_edges(), exact.n_edges());
    assert_ne!(narrow, exact, "the settings reach the index");
}

#[test]
fn balanced_batches_are_searched_exactly_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = create(folder.path(), "s.zarr");
    let labels = (0..600).map(|i| if i % 2 == 0 { "one" } else { "two" });
    let table = TableData::new(names("cell", 600), variables(4), matrix(&groups()))
        .with_obs_column(
            "batch",
            Column::Categorical(Categorical::from_labels(labels)),
        )
        .unwrap();
    store
        .write_table("phenocoder", &table, WriteMode::Create)
        .unwrap();
    let search = NeighborMethod::Hnsw(HnswSearch::default());
    let config = ClusterConfig::default()
        .with_batch_key(Some("batch".to_owned()))
        .with_graph(without_map().with_search(search.clone()));
    let refused = cluster_cells(&mut store, &config, &NoProgress).unwrap_err();
    assert!(refused.to_string().contains("`graph.search`"), "{refused}");

    let mut config = small::config(StoreKeys::new("cells", "sample", "image"));
    config.cluster.graph.search = search;
    config.validate().unwrap();
    config.cluster.batch_key = Some("batch".to_owned());
    let refused = config.validate().unwrap_err().to_string();
    assert!(refused.contains("`cluster.graph.search`"), "{refused}");
}

#[test]
fn settings_of_before_approximate_neighbours_are_read_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut config = small::config(keys);
    config.train = config.train.with_checkpoints(Checkpoints::Resume);
    let old = |config: &PipelineConfig| {
        let text = serde_json::to_string(config).unwrap();
        let shorter = text.replace(r#""search":"exact","#, "");
        assert_eq!(shorter.len() + 2 * r#""search":"exact","#.len(), text.len());
        shorter
    };
    let read: PipelineConfig = serde_json::from_str(&old(&config)).unwrap();
    assert_eq!(read, config);

    let out = folder.path().join("out");
    let stopped = CancelToken::new();
    stopped.cancel();
    run(&mut small::open(&path), &config, &out, &stopped).unwrap_err();
    std::fs::write(RunFiles::new(&out).config, old(&config)).unwrap();
    let again = run(&mut small::open(&path), &config, &out, &stopped).unwrap_err();
    assert!(again.to_string().contains("cancelled"), "{again}");
    config.cluster.graph.search = NeighborMethod::Hnsw(HnswSearch::default());
    let other = run(&mut small::open(&path), &config, &out, &stopped).unwrap_err();
    assert!(
        other.to_string().contains("cluster.graph.search"),
        "{other}"
    );

    let text = serde_json::to_string(&config).unwrap();
    let read: PipelineConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(read, config);
    let few: GraphConfig = serde_json::from_str(r#"{"search": {"hnsw": {"width": 200}}}"#).unwrap();
    let expected = HnswSearch::default().with_width(200);
    assert_eq!(few.search, NeighborMethod::Hnsw(expected));
    let typo = r#"{"search": {"hnsw": {"breadth": 200}}}"#;
    assert!(serde_json::from_str::<GraphConfig>(typo).is_err());
}

#[test]
fn seeds_and_ranges_of_an_approximate_search_are_those_of_the_graph() {
    let search = |search: HnswSearch| without_map().with_search(NeighborMethod::Hnsw(search));
    let seeded = |seed: u64| search(HnswSearch::default()).with_seed(Seed::new(seed));
    assert_ne!(seeded(1).search, seeded(2).search);
    search(HnswSearch::default()).validate().unwrap();
    let bad = [
        HnswSearch::default().with_width(0),
        HnswSearch::default().with_links(1),
        HnswSearch::default().with_build_width(3),
    ];
    for (settings, name) in bad.into_iter().zip(["width", "links", "build_width"]) {
        let refused = search(settings).validate().unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
}

/// The rows, samples and raw patches of some cells whose patches do not reach over the border of their image.
struct Cut {
    rows: Vec<usize>,
    sample: String,
    pixels: Array4<f32>,
}

impl Cut {
    /// Up to `n` cells of the first sample of a patch set, of `side` pixels.
    fn new(store: &Store, patches: &Path, side: usize, n: usize) -> Self {
        let cells = PatchSet::open(patches).unwrap().cells().unwrap();
        let column =
            |name: &str| column_from_arrow(name, cells.column_by_name(name).unwrap()).unwrap();
        let number = |name: &str| match column(name) {
            Column::Int(values) => values,
            other => panic!("{}", other.type_name()),
        };
        let samples = column("sample").to_categorical();
        let sample = samples.label(0).unwrap().to_owned();
        let image = store.image(&format!("image_{sample}")).unwrap();
        let shape = image.shape();
        let (rows, y, x) = (number("row"), number("y"), number("x"));
        let half = side / 2;
        let inside = |at: i64, extent: usize| (half..=extent - half).contains(&(at as usize));
        let mut cut = Self {
            rows: Vec::new(),
            sample,
            pixels: Array4::zeros((0, side, side, shape.c)),
        };
        let mut found = Vec::new();
        for i in 0..rows.len() {
            let own = samples.label(i) == Some(cut.sample.as_str());
            if !own || !inside(y[i], shape.y) || !inside(x[i], shape.x) || found.len() == n {
                continue;
            }
            let (top, left) = (y[i] as usize - half, x[i] as usize - half);
            let region = ImageRegion {
                c: 0..shape.c,
                z: 0..1,
                y: top..top + side,
                x: left..left + side,
            };
            let mut pixels = vec![0.0; shape.c * side * side];
            image.read_region(&region, &mut pixels).unwrap();
            let pixels = Array4::from_shape_vec((1, shape.c, side, side), pixels).unwrap();
            found.push(pixels.permuted_axes([0, 2, 3, 1]));
            cut.rows.push(rows[i] as usize);
        }
        let views: Vec<_> = found.iter().map(|patch| patch.view()).collect();
        cut.pixels = concatenate(Axis(0), &views).unwrap();
        cut
    }
}

#[test]
fn patches_find_the_cells_that_they_were_cut_from() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.dataset = config.dataset.with_metadata_keys(["batch"]);
    config.train = config.train.with_conditions(["dataset", "batch"]);
    let (patches, model) = (
        folder.path().join("p.zarr"),
        folder.path().join("m.safetensors"),
    );
    generate_dataset(&store, &config.dataset, &patches, &NoProgress).unwrap();
    fit(&[&patches], &config.train, &model, None, &NoProgress).unwrap();
    encode(&mut store, &model, &config.encode, &NoProgress).unwrap();

    let cut = Cut::new(&store, &patches, 16, 5);
    assert_eq!(cut.rows.len(), 5);
    let table = store.table("phenocoder").unwrap();
    let batch = table.obs_column("batch").unwrap().to_categorical();
    let raw = RawPatches::new(cut.pixels.clone(), &cut.sample)
        .with_condition("batch", batch.select(&cut.rows))
        .with_device(DeviceChoice::Cpu);
    let latents = encode_patches(&raw, &model, &NoProgress).unwrap();
    let x = table.x().unwrap().unwrap().to_dense_f64().unwrap();
    for (found, &row) in latents.rows().into_iter().zip(&cut.rows) {
        for (a, b) in found.iter().zip(x.row(row)) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}");
        }
    }

    // Each patch is scaled as its own sample is.
    let samples = table.obs_column(&config.encode.keys.sample_key).unwrap();
    let samples = samples.to_categorical();
    let labels = &samples.categories()[..2];
    let one = cut.pixels.slice(s![..1, .., .., ..]);
    let latents_of = |pixels: Array4<f32>, labels: &[String]| {
        let rows = vec![cut.rows[0]; labels.len()];
        let raw = RawPatches::of_samples(pixels, Categorical::from_labels(labels))
            .with_condition("batch", batch.select(&rows))
            .with_device(DeviceChoice::Cpu);
        encode_patches(&raw, &model, &NoProgress).unwrap()
    };
    let both = concatenate(Axis(0), &[one.view(), one.view()]).unwrap();
    let both = latents_of(both, labels);
    assert_ne!(both.row(0), both.row(1));
    for (row, label) in both.rows().into_iter().zip(labels) {
        let alone = latents_of(one.to_owned(), std::slice::from_ref(label));
        for (a, b) in row.iter().zip(alone.row(0)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    let mut library = open(&store, "phenocoder");
    let hits = library.nearest_to_patches(&raw, &model, 3, Metric::Euclidean, &NoProgress);
    for (hits, &row) in hits.unwrap().iter().zip(&cut.rows) {
        assert_eq!(hits[0].row, row);
        assert!(hits[0].distance < 1e-4);
        assert_eq!(hits[0].sample.as_deref(), Some(cut.sample.as_str()));
        assert!(hits[0].distance <= hits[1].distance);
    }

    let refuse = |raw: &RawPatches| {
        let refused = library.nearest_to_patches(raw, &model, 1, Metric::Euclidean, &NoProgress);
        refused.unwrap_err().to_string()
    };
    let mut other = raw.clone();
    other.conditions.clear();
    assert!(refuse(&other).contains("`batch`"));
    let of_samples = |labels: &[Option<&str>]| {
        let mut other = raw.clone();
        other.samples = Categorical::from_optional_labels(labels.iter().copied());
        other
    };
    assert!(refuse(&of_samples(&[Some("elsewhere"); 5])).contains("elsewhere"));
    assert!(refuse(&of_samples(&[None; 5])).contains("patch 0 names no sample"));
    let few = of_samples(&[Some(cut.sample.as_str())]);
    assert!(refuse(&few).contains("samples of patches"));
    assert!(refuse(&raw.clone().with_dataset("lung")).contains("`lung`"));
    let mut other = raw.clone();
    other.pixels[[2, 0, 0, 0]] = f32::NAN;
    assert!(refuse(&other).contains("patch 2"));
    let mut other = raw.clone();
    other.pixels = cut.pixels.slice(s![.., .., .., ..2]).to_owned();
    assert!(refuse(&other).contains("channels"));

    // Another model, and latents of it.
    config.train.fit = config.train.fit.with_epochs(1);
    config.train = config.train.with_seed(Seed::new(77));
    let second = folder.path().join("second.safetensors");
    fit(&[&patches], &config.train, &second, None, &NoProgress).unwrap();
    let refused = library.nearest_to_patches(&raw, &second, 1, Metric::Euclidean, &NoProgress);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("another model"), "{refused}");
    let renamed = config.encode.clone().with_table("second");
    encode(&mut store, &second, &renamed, &NoProgress).unwrap();
    let refused = library.add_table(&store, "second");
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("`second`") && refused.contains("another model"),
        "{refused}"
    );
}

//! The page of a run: what it holds, what it says of what is gone, and what it never does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use phenocoder::Error;
use phenocoder::core::{CancelToken, Categorical, Column, NoProgress};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::{PatchSet, Store, WriteMode};
use phenocoder::patches::BorderPolicy;
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{PipelineConfig, PipelineReport, RunFiles, run};
use phenocoder::report::{
    ChannelColors, ReportConfig, ReportFile, write_report, write_report_of_folder,
};
use serde_json::Value;

use crate::small;

mod batches;

/// A run of small tissue with what a page is made of.
pub(crate) struct Done {
    pub(crate) store: Store,
    pub(crate) config: PipelineConfig,
    pub(crate) report: PipelineReport,
    pub(crate) out: PathBuf,
    _folder: tempfile::TempDir,
}

impl Done {
    pub(crate) fn new(change: impl Fn(&Path, PipelineConfig) -> PipelineConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, keys) = small::tissue(folder.path());
        let config = change(&path, small::config(keys));
        let mut store = small::open(&path);
        let out = folder.path().join("out");
        let report = run(&mut store, &config, &out, &NoProgress).unwrap();
        Self {
            store,
            config,
            report,
            out,
            _folder: folder,
        }
    }

    /// Puts a column into the table of cells, or another one in its place.
    fn insert(&mut self, name: &str, column: Column) {
        let data = self.store.table("phenocoder").unwrap().read_all().unwrap();
        let data = data.with_obs_column(name, column).unwrap();
        self.store
            .write_table("phenocoder", &data, WriteMode::Replace)
            .unwrap();
    }

    /// The labels of a column of the table of cells.
    fn labels(&self, name: &str) -> Vec<Option<String>> {
        let table = self.store.table("phenocoder").unwrap();
        let labels = table.obs_column(name).unwrap().to_categorical();
        labels.labels().map(|l| l.map(str::to_owned)).collect()
    }

    pub(crate) fn write(&self, settings: &ReportConfig) -> (String, ReportFile) {
        let files = RunFiles::new(&self.out);
        let written = write_report(
            &self.store,
            &self.config,
            &self.report,
            &files,
            settings,
            &files.html,
            &NoProgress,
        )
        .unwrap();
        let page = std::fs::read_to_string(&written.path).unwrap();
        assert_eq!(page.len() as u64, written.bytes);
        sound(&page);
        (page, written)
    }
}

pub(crate) fn settings() -> ReportConfig {
    let figures = FigureConfig::new()
        .with_truth_key(Some("true_type".to_owned()))
        .with_condition_key(Some("condition".to_owned()))
        .with_batch_key(Some("batch".to_owned()));
    ReportConfig::new().with_figures(figures)
}

/// The page is well formed, and nothing in it is looked for elsewhere.
fn sound(page: &str) {
    balanced(page);
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("content=\"default-src 'none'; img-src data:; "));
    for outside in [
        "http:", "https:", "@import", "url(", "<link", "<iframe", "<base", "srcset",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    for attribute in [" src=\"", " href=\""] {
        for (at, _) in page.match_indices(attribute) {
            let value = &page[at + attribute.len()..];
            assert!(
                value.starts_with("data:image/png;base64,") || value.starts_with('#'),
                "{}",
                &value[..value.len().min(40)]
            );
        }
    }
    for (at, _) in page.match_indices(" href=\"#") {
        let id = page[at + 8..].split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

/// Every element that is opened is closed, in order.
fn balanced(page: &str) {
    const VOID: [&str; 5] = ["meta", "img", "br", "input", "hr"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/', '\n'])
            .next()
            .unwrap();
        rest = &rest[end + 1..];
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed: {name}");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
            open.push(name);
            if matches!(name, "script" | "style") {
                let close = rest.find(&format!("</{name}>")).unwrap();
                rest = &rest[close..];
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// The numbers of the map.
fn data(page: &str) -> Value {
    let start = "<script type=\"application/json\" id=\"data\">";
    let text = page.split_once(start).unwrap().1;
    serde_json::from_str(text.split_once("</script>").unwrap().0).unwrap()
}

fn sixteen(value: &Value) -> Vec<u16> {
    let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let pairs = bytes.as_chunks::<2>().0;
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

#[test]
fn a_run_becomes_one_page_with_everything_on_it() {
    let done = Done::new(|_, config| config);
    let (page, written) = done.write(&settings().with_title("Small tissue"));
    assert_eq!((written.cells_shown, written.patches_shown), (320, 320));
    assert!(written.bytes < 3_000_000, "{}", written.bytes);
    assert!(
        !page.contains("<p class=\"absent\">"),
        "something is missing"
    );
    for id in [
        "cells",
        "clusters",
        "composition",
        "neighbours",
        "conditions",
        "samples",
        "batches",
        "latents",
        "training",
        "left-out",
        "scaling",
        "origin",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    assert!(page.contains("<h1>Small tissue</h1>"));
    assert!(page.contains("in the channels DNA, membrane, marker."));
    assert!(page.contains("iLISI") && page.contains("Hedges"));
    // 2 against 2 in each of two batches: of 36 arrangements one more explains as much, with the names changed.
    assert!(page.contains("p: permutations, at least 0.056 with so many samples"));
    assert!(page.contains("<h3>Within ") && page.contains(">neighbours</text>"));
    // What a heading of the page says, no picture says again.
    for title in [
        "Neighbours within",
        ">Samples</text>",
        "Cells and their reconstructions",
    ] {
        assert!(!page.contains(title), "{title}");
    }

    let data = data(&page);
    assert_eq!(data["n"], 320);
    let names: Vec<&str> = data["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..5],
        [
            "phenocoder_cluster",
            "sample",
            "true_type",
            "condition",
            "batch"
        ]
    );
    assert!(names.contains(&"latent 4"));
    let cells = done.store.table("phenocoder").unwrap();
    assert_eq!(data["ids"].as_str().unwrap().lines().count(), cells.n_obs());
    // Every cell has a picture of its own.
    let mut sprites = sixteen(&data["sprites"]);
    sprites.sort_unstable();
    assert!(sprites.into_iter().eq(0..320));
}

#[test]
fn the_same_run_gives_the_same_bytes_on_any_number_of_threads() {
    let mut done = Done::new(|_, config| config);
    let on = |threads: usize| {
        small::on_threads(threads, || done.write(&settings().with_max_cells(200)).0)
    };
    let one = on(1);
    assert!(one == on(4), "four threads");
    assert!(one == on(1), "a second time");
    // By what lies in the folder, too.
    let settings = settings().with_max_cells(200);
    let again = write_report_of_folder(&done.out, &done.store, &settings, &NoProgress).unwrap();
    assert_eq!(again.path, done.out.join("report.html"));
    assert_eq!(again.cells_shown, 200);
    assert!(
        one == std::fs::read_to_string(&again.path).unwrap(),
        "by the folder"
    );
    // How long the training took is not on the page.
    for seconds in &mut done.report.fit.record.seconds {
        *seconds += 1.0;
    }
    assert!(one == done.write(&settings).0, "after a slower training");
}

#[test]
fn names_are_text_whatever_they_contain() {
    const EVIL: &str = "\" onmouseover=\"alert(1)</script><img src=x>{{style}}";
    let mut done = Done::new(|path, config| {
        let mut store = small::open(path);
        let table = store.table("cells").unwrap();
        let batch = table.obs_column("batch").unwrap().to_categorical();
        let labels = batch
            .labels()
            .map(|label| format!("{}{EVIL}", label.unwrap()))
            .collect();
        let data = table
            .read_all()
            .unwrap()
            .with_obs_column("evil", Column::Text(labels))
            .unwrap();
        store
            .write_table("cells", &data, WriteMode::Replace)
            .unwrap();
        let mut config = config;
        config.samples = config.samples.with_obs_keys(["condition", "evil"]);
        config
    });
    let figures = FigureConfig::new()
        .with_truth_key(Some("evil".to_owned()))
        .with_condition_key(Some("evil".to_owned()))
        .with_batch_key(Some("condition".to_owned()));
    let settings = ReportConfig::new()
        .with_figures(figures)
        .with_title(EVIL)
        .with_command(Some(EVIL.to_owned()));
    let (page, _) = done.write(&settings);
    harmless(&page);
    let column = data(&page)["columns"][2].clone();
    assert_eq!(column["labels"][0], format!("batch_1{EVIL}"));

    // Names of clusters, then those of samples, which the run itself could not have: elements are named by them.
    for column in ["phenocoder_cluster", "sample"] {
        let table = done.store.table("phenocoder").unwrap();
        let labels = table.obs_column(column).unwrap().to_categorical();
        let labels = labels
            .labels()
            .map(|label| format!("{}{EVIL}", label.unwrap()))
            .collect();
        let data = table
            .read_all()
            .unwrap()
            .with_obs_column(column, Column::Text(labels))
            .unwrap();
        done.store
            .write_table("phenocoder", &data, WriteMode::Replace)
            .unwrap();
        let (page, _) = done.write(&settings);
        harmless(&page);
        assert!(page.contains("&quot; onmouseover=&quot;alert(1)&lt;/script&gt;"));
    }
}

/// Names that are markup were not taken for any.
fn harmless(page: &str) {
    assert_eq!(
        page.matches("</script>").count(),
        3,
        "data and two programs"
    );
    assert!(!page.contains("<img src=x"));
    assert_eq!(page.matches("<style>").count(), 1);
    let (before, json) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let after = json.split_once("</script>").unwrap().1;
    assert!(
        ![before, after]
            .iter()
            .any(|part| part.contains("\" onmouseover=\""))
    );
}

#[test]
fn what_is_gone_is_said_and_the_rest_stays() {
    let done = Done::new(|_, config| config);
    let files = RunFiles::new(&done.out);
    std::fs::remove_file(&files.model).unwrap();
    std::fs::remove_dir_all(&files.patches).unwrap();
    let (page, written) = done.write(&ReportConfig::new());
    assert_eq!((written.cells_shown, written.patches_shown), (320, 0));
    assert!(page.contains("No column with the conditions of the samples was named."));
    assert!(page.contains("No column with the batches was named."));
    assert!(
        written
            .notes
            .iter()
            .any(|note| note.starts_with("no pictures of cells")),
        "{:?}",
        written.notes
    );
    assert!(page.contains("id=\"map-points\"") && page.contains("class=\"bars\""));
    assert!(!page.contains("class=\"atlas\""));

    // A column that is not there costs what is made of it, and no more.
    let figures = FigureConfig::new().with_condition_key(Some("nowhere".to_owned()));
    let (page, _) = done.write(&ReportConfig::new().with_figures(figures));
    assert!(page.contains("The conditions of the samples: ") && page.contains("class=\"bars\""));

    // Without any table, too.
    let folder = tempfile::tempdir().unwrap();
    let empty = Store::create(folder.path().join("empty.zarr"), done.store.version()).unwrap();
    let path = folder.path().join("page.html");
    let written = write_report(
        &empty,
        &done.config,
        &done.report,
        &files,
        &settings(),
        &path,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(written.cells_shown, 0);
    let page = std::fs::read_to_string(&path).unwrap();
    sound(&page);
    assert!(page.contains(">null</script>"));
    assert!(page.contains("phenocoder"), "the table is named");
}

/// The ids of the sections of the page, each with what stands in it.
pub(crate) fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("<section id=\"").skip(1);
    parts
        .map(|part| {
            let (id, rest) = part.split_once('"').unwrap();
            (id, rest.split_once("</section>").unwrap().0)
        })
        .collect()
}

/// The section with this id.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let mut sections = sections(page).into_iter();
    sections.find(|(found, _)| *found == id).unwrap().1
}

#[test]
fn numbers_and_counts_of_the_map_are_those_of_the_table() {
    let mut done = Done::new(|_, config| config);
    let plates: Vec<i64> = (0..320).map(|row| row * 1000 / 319).collect();
    done.insert("plate", Column::Int(plates.clone()));
    let (page, _) = done.write(&settings());
    let whole = data(&page);
    let columns = whole["columns"].as_array().unwrap();
    let plate = columns.iter().find(|c| c["name"] == "plate").unwrap();
    assert_eq!(plate["kind"], "numbers");
    assert_eq!(plate["wide"], false);
    let bytes = STANDARD.decode(plate["values"].as_str().unwrap()).unwrap();
    let shown = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b));
    assert!(shown.eq(plates.iter().map(|&plate| plate as f32)));

    // Of a share of the cells, the labels of all are counted.
    let (page, _) = done.write(&settings().with_max_cells(100));
    let share = data(&page);
    assert_eq!(share["n"], 100);
    assert_eq!(share["all"], 320);
    let labels = share["columns"].as_array().unwrap().iter();
    for column in labels.filter(|column| column["kind"] == "labels") {
        let all = column["all"].as_array().unwrap();
        let sum: u64 = all.iter().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(sum, 320, "{column}");
    }
}

#[test]
fn conditions_and_batches_that_cells_lack_are_said() {
    let mut done = Done::new(|_, config| config);
    let as_column = |labels: &[Option<String>]| {
        Column::Categorical(Categorical::from_optional_labels(
            labels.iter().map(Option::as_ref),
        ))
    };
    let conditions = done.labels("condition");
    let composition = |done: &Done| section(&done.write(&settings()).0, "composition").to_owned();
    assert_eq!(composition(&done).matches("<h3>").count(), 2);

    // The first cell of a sample does not speak for the others.
    let mut differ = conditions.clone();
    differ[0] = Some("elsewhere".to_owned());
    done.insert("condition", as_column(&differ));
    let found = composition(&done);
    assert!(
        found.contains("`obs/condition` is not constant in sample"),
        "{found}"
    );
    assert!(!found.contains("<h3>"), "{found}");

    // A sample without any comes after those that have one.
    let samples = done.labels("sample");
    let mut lacking = conditions;
    for (label, sample) in lacking.iter_mut().zip(&samples) {
        if *sample == samples[0] {
            *label = None;
        }
    }
    done.insert("condition", as_column(&lacking));
    let found = composition(&done);
    assert!(
        found.contains("`obs/condition` is missing in 1 of 8 samples"),
        "{found}"
    );
    let (_, last) = found.split_once("<h3>no condition</h3>").unwrap();
    assert!(!last.contains("<h3>") && last.contains(samples[0].as_ref().unwrap()));

    let mut some = done.labels("batch");
    some[..20].fill(None);
    done.insert("batch", as_column(&some));
    let (page, _) = done.write(&settings());
    let found = section(&page, "batches");
    let words =
        "Measured: X, the latents. On 300 cells. Left out: 20 cells without a label of batch.";
    assert!(found.contains(words), "{found}");
}

#[test]
fn damaged_patches_cost_the_pictures_only() {
    let done = Done::new(|_, config| config);
    let mut folders = vec![RunFiles::new(&done.out).patches.join("patches")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    let colors = ChannelColors::Named(vec![("far red".to_owned(), [255, 0, 0])]);
    let (page, written) = done.write(&settings().with_channels(colors));
    assert_eq!((written.cells_shown, written.patches_shown), (320, 0));
    let notes = &written.notes;
    let said = |words: &str| notes.iter().any(|note| note.contains(words));
    assert!(said("no pictures of cells"), "{notes:?}");
    assert!(said("channels that are not there: `far red`"), "{notes:?}");
    // What the network makes of latents needs no patches.
    assert!(page.contains("class=\"walks\""));
}

#[test]
fn cells_without_map_or_clusters_are_shown_where_they_lie() {
    let done = Done::new(|_, config| {
        let mut config = config;
        config.cluster.graph = config.cluster.graph.with_umap(None).with_leiden(None);
        config.embedding.graph = config.embedding.graph.with_umap(None);
        config.samples.label_key = "true_type".to_owned();
        config
    });
    let (page, _) = done.write(&settings());
    let data = data(&page);
    assert!(data["map"].is_null() && data["cluster"].is_null());
    assert_eq!(sixteen(&data["tissue"]["x"]).len(), 320);
    assert_eq!(data["columns"][0]["name"], "sample");
    assert!(page.contains("The cells were not grouped."));
    assert!(page.contains("No map of the samples was made."));
}

#[test]
fn pictures_belong_to_their_cells_where_some_have_none() {
    let done = Done::new(|_, config| {
        let mut config = config;
        config.dataset.patch = config.dataset.patch.with_border(BorderPolicy::Drop);
        config
    });
    assert!(done.report.dataset.patches < 320);
    let (page, written) = done.write(&settings());
    assert_eq!(written.patches_shown, done.report.dataset.patches);
    assert!(page.contains("have no patch in the patch set"));
    let set = PatchSet::open(RunFiles::new(&done.out).patches).unwrap();
    let rows = set.cells().unwrap();
    let column = |name: &str| {
        let array = rows.column_by_name(name).unwrap();
        phenocoder::io::column_from_arrow(name, array)
            .unwrap()
            .to_categorical()
    };
    let (samples, ids) = (column("sample"), column("id"));
    let patched: BTreeMap<(&str, &str), usize> = (0..set.len())
        .map(|i| ((samples.label(i).unwrap(), ids.label(i).unwrap()), i))
        .collect();
    let all: Vec<usize> = (0..set.len()).collect();
    let patches = set.read_channels_last(&all).unwrap();
    let data = data(&page);
    let atlas = Atlas::first(&page, &data);
    let shape = set.shape();
    assert_eq!(
        (atlas.tile_height, atlas.tile_width, shape.channels),
        (shape.height, shape.width, 3)
    );
    let codes = STANDARD
        .decode(data["columns"][1]["codes"].as_str().unwrap())
        .unwrap();
    let names = data["columns"][1]["labels"].as_array().unwrap();
    let sprites = sixteen(&data["sprites"]);
    for (i, id) in data["ids"].as_str().unwrap().lines().enumerate() {
        let sample = names[usize::from(codes[i])].as_str().unwrap();
        let patch = patched.get(&(sample, id));
        assert_eq!(
            sprites[i] != u16::MAX,
            patch.is_some(),
            "cell {id} of {sample}"
        );
        let Some(&patch) = patch else { continue };
        for y in 0..shape.height {
            for x in 0..shape.width {
                let expected: [u8; 3] = std::array::from_fn(|c| {
                    (patches[[patch, y, x, c]].clamp(0.0, 1.0) * 255.0).round() as u8
                });
                let found = atlas.pixel(usize::from(sprites[i]), y, x);
                assert_eq!(found, expected, "cell {id} of {sample} at {y}, {x}");
            }
        }
    }
}

/// The image with the first three channels of all pictures.
struct Atlas {
    pixels: Vec<u8>,
    width: usize,
    tile_height: usize,
    tile_width: usize,
    columns: usize,
}

impl Atlas {
    fn first(page: &str, data: &Value) -> Self {
        let image = page.split_once("class=\"atlas\"").unwrap().1;
        let image = image.split_once("data:image/png;base64,").unwrap().1;
        let bytes = STANDARD.decode(image.split_once('"').unwrap().0).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        assert_eq!(info.bit_depth, png::BitDepth::Eight);
        let number = |name: &str| data["tiles"][name].as_u64().unwrap() as usize;
        Self {
            pixels,
            width: info.width as usize,
            tile_height: number("height"),
            tile_width: number("width"),
            columns: number("columns"),
        }
    }

    /// A pixel of a tile.
    fn pixel(&self, tile: usize, y: usize, x: usize) -> [u8; 3] {
        let row = tile / self.columns * self.tile_height + y;
        let column = tile % self.columns * self.tile_width + x;
        let at = 3 * (row * self.width + column);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }
}

#[test]
fn a_small_page_shows_less_and_says_so() {
    let done = Done::new(|_, config| config);
    let (page, whole) = done.write(&settings());
    let images = page.split("class=\"atlas\"").skip(1);
    let pictures: usize = images.map(|image| image.find('>').unwrap()).sum();
    let limit = whole.bytes as usize - pictures / 3;
    let (page, written) = done.write(&settings().with_max_bytes(limit));
    assert!(
        written.bytes as usize <= limit,
        "{} of {limit}",
        written.bytes
    );
    assert!(written.patches_shown < 320 && written.cells_shown == 320);
    assert!(page.contains("were left out so that this file is no larger than"));
    // Nothing can be left out any more: the page is written all the same.
    let (page, written) = done.write(&settings().with_max_bytes(1));
    assert_eq!(written.patches_shown, 0);
    assert!(page.contains("is larger than the"));
    assert!(!page.contains("class=\"walks\"") && !page.contains("class=\"atlas\""));
    assert!(
        written
            .notes
            .iter()
            .any(|note| note.contains("even without pictures"))
    );
}

#[test]
fn stacks_and_conditions_become_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.zarr");
    let tissue = TissueConfig::default()
        .with_cells_per_sample(60)
        .with_samples_per_group(1)
        .with_slices(12);
    let keys = write_tissue(&path, &tissue, &NoProgress).unwrap().keys;
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.train = config.train.with_conditions(["dataset", "z"]);
    let out = folder.path().join("out");
    run(&mut store, &config, &out, &NoProgress).unwrap();
    let written = write_report_of_folder(&out, &store, &settings(), &NoProgress).unwrap();
    let page = std::fs::read_to_string(&written.path).unwrap();
    sound(&page);
    assert!(page.contains("under the most frequent conditions: dataset = dataset, z = "));
    assert!(written.notes.iter().any(|note| note.contains("from above")));
}

#[test]
fn whoever_stops_it_gets_no_page_and_a_folder_without_run_none_either() {
    let done = Done::new(|_, config| config);
    let files = RunFiles::new(&done.out);
    let stop = CancelToken::new();
    stop.cancel();
    let stopped = write_report_of_folder(&done.out, &done.store, &settings(), &stop);
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    assert!(!files.html.exists());
    std::fs::remove_file(&files.report).unwrap();
    let error = write_report_of_folder(&done.out, &done.store, &settings(), &NoProgress);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("report.json") && message.contains("no complete run"),
        "{message}"
    );
    let nowhere = done.out.join("nowhere/page.html");
    let refused = write_report(
        &done.store,
        &done.config,
        &done.report,
        &files,
        &settings(),
        &nowhere,
        &NoProgress,
    );
    assert!(matches!(refused, Err(Error::Data { .. })), "{refused:?}");
}

//! The pictures of a run as files: all that the page draws, by names that stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use phenocoder::Error;
use phenocoder::core::{CancelToken, NoProgress, Progress};
use phenocoder::pipeline::RunFiles;
use phenocoder::pipeline::figures::{FigureConfig, FigureFormat};
use phenocoder::report::figures::{DrawnFigures, all, draw, draw_of_folder};
use phenocoder::report::{ReportConfig, write_report_and_figures};

use crate::report::{Done, sections, settings};
use crate::small;

/// The pictures of a run, by names.
fn drawn(done: &Done, settings: &ReportConfig) -> DrawnFigures {
    draw(
        &done.store,
        &done.config,
        &done.report,
        &RunFiles::new(&done.out),
        settings,
        &done.out.join("figures"),
        &NoProgress,
    )
    .unwrap()
}

#[test]
fn every_section_with_a_figure_has_it_as_a_file() {
    // A picture, small pictures, bars of shares, bars in tables.
    const DRAWN: [&str; 5] = [
        "<svg",
        "<canvas",
        "class=\"bar\"",
        "class=\"share\"",
        "class=\"effect\"",
    ];
    let done = Done::new(|_, mut config| {
        config.samples.statistics.radii = vec![12.5, 15.0];
        config.train.montage = 12;
        config
    });
    let (page, _) = done.write(&settings());
    let found = all(
        &done.store,
        &done.config,
        &done.report,
        &RunFiles::new(&done.out),
        &settings(),
        &NoProgress,
    )
    .unwrap();
    assert!(found.missing.is_empty(), "{:?}", found.missing);
    let sections = sections(&page);
    assert_eq!(sections.len(), 12);
    for &(id, body) in &sections {
        let figures = found.figures.iter().filter(|figure| figure.section == id);
        let n = figures.count();
        let is_drawn = DRAWN.iter().any(|sign| body.contains(sign));
        assert_eq!(n > 0, is_drawn, "{id}");
        assert!(n >= body.matches("<svg").count(), "{id}");
    }
    for figure in &found.figures {
        let known = sections.iter().any(|(id, _)| *id == figure.section);
        assert!(known, "{} is in {}", figure.name, figure.section);
    }
    let names: Vec<&str> = found.figures.iter().map(|f| f.name.as_str()).collect();
    let epochs = &done.report.fit.record.epochs;
    let parts = epochs[0].train.parts.keys();
    let parts: Vec<String> = parts.map(|part| format!("training_{part}")).collect();
    assert!(parts.contains(&"training_kl".to_owned()), "{parts:?}");
    let mut expected = vec![
        "cells",
        "gallery",
        "agreement",
        "composition",
        "interactions_12.5",
        "interactions_15",
        "comparison",
        "samples",
        "batches",
        "latents",
        "training",
    ];
    expected.extend(parts.iter().map(String::as_str));
    expected.extend([
        "learning_rate",
        "montage",
        "left_out",
        "scaling",
        "saturation",
    ]);
    assert_eq!(names, expected);
    // Whoever does not see it is told what it is, and whoever does reads that once.
    for figure in &found.figures {
        let svg = figure.figure.to_svg().unwrap();
        let title = svg.split_once("<title>").unwrap().1;
        let title = title.split_once("</title>").unwrap().0;
        assert!(!title.is_empty(), "{}", figure.name);
        let headings = svg.matches(&format!(">{title}</text>")).count();
        // Of the two maps each has its own.
        let expected = usize::from(figure.name != "cells");
        assert_eq!(headings, expected, "{}", figure.name);
    }
    // All of the cells that the settings ask for are in the montage, and some of them on the page.
    let montage = found.figures.iter().find(|f| f.name == "montage").unwrap();
    let height = montage.figure.size().1;
    assert!((12.0 * 72.0..13.0 * 80.0).contains(&height), "{height}");
    let (_, training) = sections.iter().find(|(id, _)| *id == "training").unwrap();
    let (_, on_page) = training.rsplit_once("<svg ").unwrap();
    let (_, height) = on_page.split_once(" height=\"").unwrap();
    let height: f64 = height.split_once('"').unwrap().0.parse().unwrap();
    assert!((8.0 * 72.0..9.0 * 80.0).contains(&height), "{height}");
    assert!(on_page.contains("8 of 12 cells"));
}

/// What was told of a stage.
#[derive(Debug, PartialEq)]
struct Stage {
    name: String,
    total: Option<u64>,
    steps: u64,
    is_over: bool,
}

/// Writes down what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<Stage>>);

impl Told {
    fn change(&self, change: impl Fn(&mut Stage)) {
        change(self.0.lock().unwrap().last_mut().unwrap());
    }
}

impl Progress for Told {
    fn start(&self, name: &str, total: Option<u64>) {
        self.0.lock().unwrap().push(Stage {
            name: name.to_owned(),
            total,
            steps: 0,
            is_over: false,
        });
    }
    fn advance(&self, steps: u64) {
        self.change(|stage| stage.steps += steps);
    }
    fn finish(&self) {
        self.change(|stage| stage.is_over = true);
    }
}

#[test]
fn each_file_is_told_when_it_is_written_and_wrong_settings_leave_no_folder() {
    let done = Done::new(|_, config| config);
    let figures = FigureConfig::new().with_format(FigureFormat::Both);
    let settings = ReportConfig::new().with_figures(figures);
    let wrong = settings.clone().with_max_cells(0);
    let (files, out) = (RunFiles::new(&done.out), done.out.join("new"));
    let refused = draw_of_folder(&done.out, &done.store, &wrong, &out, &NoProgress);
    assert!(matches!(refused, Err(Error::Config { .. })), "{refused:?}");
    let both = |settings: &ReportConfig, progress: &dyn Progress| {
        write_report_and_figures(
            &done.store,
            &done.config,
            &done.report,
            &files,
            settings,
            &out,
            progress,
        )
    };
    let refused = both(&wrong, &NoProgress);
    assert!(matches!(refused, Err(Error::Config { .. })), "{refused:?}");
    assert!(!out.exists());

    let [alone, beside] = [Told::default(), Told::default()];
    let drawn = draw_of_folder(&done.out, &done.store, &settings, &out, &alone).unwrap();
    let (_, again) = both(&settings, &beside).unwrap();
    assert_eq!(drawn.paths, again.paths);
    let n = drawn.paths.len() as u64;
    for (told, first, steps) in [(alone, "figures", 4), (beside, "report", 5)] {
        let expected = [(first, steps), ("figure files", n)].map(|(name, steps)| Stage {
            name: name.to_owned(),
            total: Some(steps),
            steps,
            is_over: true,
        });
        assert_eq!(told.0.into_inner().unwrap(), expected);
    }
}

#[test]
fn a_run_whose_files_hold_something_else_is_refused_with_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let files = RunFiles::new(folder.path());
    let config = serde_json::to_string(&small::config(keys)).unwrap();
    std::fs::write(&files.config, config).unwrap();
    let store = small::open(&path);
    let (settings, out) = (ReportConfig::new(), folder.path().join("figures"));
    for (text, problem) in [
        ("{}", "missing field `dataset` at line 1"),
        ("{\"dataset\"", "EOF"),
    ] {
        std::fs::write(&files.report, text).unwrap();
        let refused = draw_of_folder(folder.path(), &store, &settings, &out, &NoProgress);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("report.json"), "{message}");
        assert!(message.contains(problem), "{message}");
        assert!(!message.contains("no complete run"), "{message}");
    }
}

#[test]
fn pictures_are_written_in_the_formats_asked_for() {
    let done = Done::new(|_, mut config| {
        config.samples.statistics.radii = vec![12.5, 15.0];
        config
    });
    let mut both = settings();
    both.figures = both.figures.with_format(FigureFormat::Both);
    let DrawnFigures { paths, missing, .. } = drawn(&done, &both);
    assert!(missing.is_empty(), "{missing:?}");
    let names: Vec<&str> = paths
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names[..4],
        ["cells.png", "cells.svg", "gallery.png", "gallery.svg"]
    );
    for name in [
        "interactions_12.5.png",
        "interactions_12.5.svg",
        "interactions_15.svg",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let different: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        match path.extension().unwrap().to_str() {
            Some("png") => assert!(bytes.starts_with(b"\x89PNG"), "{path:?}"),
            _ => assert!(bytes.starts_with(b"<svg"), "{path:?}"),
        }
    }
    let figures = done.out.join("figures");
    let text = |name: &str| std::fs::read_to_string(figures.join(name)).unwrap();
    // The numbers are those of the page.
    let cells = done.store.table("phenocoder").unwrap();
    let samples = cells.obs_column("sample").unwrap().to_categorical();
    let sample = &samples.categories()[0];
    assert!(text("composition.svg").contains(&format!("{sample} · ")));
    assert!(text("batches.svg").contains(">iLISI</text>"));
    assert!(text("left_out.svg").contains(">320</text>"));
    assert!(text("latents.svg").contains(">mean</text>"));
    assert!(text("gallery.svg").contains(">typical</text>"));
    // By what lies in the folder they are the same.
    let again = done.out.join("again");
    let by_folder = draw_of_folder(&done.out, &done.store, &both, &again, &NoProgress).unwrap();
    assert_eq!(by_folder.paths.len(), paths.len());
    for (a, b) in paths.iter().zip(&by_folder.paths) {
        assert!(
            std::fs::read(a).unwrap() == std::fs::read(b).unwrap(),
            "{a:?}"
        );
    }
}

/// Text as the page writes it.
fn escape(text: &str) -> String {
    let signs = [
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\"", "&quot;"),
        ("'", "&#39;"),
    ];
    let escaped = |text: String, (sign, name): (&str, &str)| text.replace(sign, name);
    signs.into_iter().fold(text.to_owned(), escaped)
}

#[test]
fn page_and_figures_of_one_call_are_those_of_two() {
    let done = Done::new(|_, config| config);
    let (page, written) = done.write(&settings());
    let apart = drawn(&done, &settings());
    let together = done.out.join("together");
    let files = RunFiles::new(&done.out);
    let (file, drawn) = write_report_and_figures(
        &done.store,
        &done.config,
        &done.report,
        &files,
        &settings(),
        &together,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(file, written);
    assert!(std::fs::read_to_string(&files.html).unwrap() == page);
    assert_eq!(drawn.missing, apart.missing);
    assert_eq!(drawn.paths.len(), apart.paths.len());
    for (a, b) in drawn.paths.iter().zip(&apart.paths) {
        assert_eq!(a.file_name(), b.file_name());
        assert!(
            std::fs::read(a).unwrap() == std::fs::read(b).unwrap(),
            "{a:?}"
        );
    }
}

#[test]
fn figures_that_cannot_be_made_are_named_with_the_reason_of_the_page() {
    let done = Done::new(|_, config| config);
    let files = RunFiles::new(&done.out);
    std::fs::remove_file(&files.model).unwrap();
    std::fs::remove_dir_all(&files.patches).unwrap();
    let DrawnFigures { paths, missing, .. } = drawn(&done, &ReportConfig::new());
    let (page, _) = done.write(&ReportConfig::new());
    for one in &missing {
        // But for the capital letter that begins it there.
        let why = escape(&one.why.chars().skip(1).collect::<String>());
        assert!(page.contains(&why), "{}: {why}", one.name);
    }
    let missing: BTreeMap<&str, &str> = missing
        .iter()
        .map(|one| (one.name.as_str(), one.why.as_str()))
        .collect();
    let names: Vec<&str> = missing.keys().copied().collect();
    assert_eq!(
        names,
        [
            "batches",
            "comparison",
            "gallery",
            "latents",
            "montage",
            "scaling"
        ]
    );
    assert_eq!(
        missing["comparison"],
        "no column with the conditions of the samples was named"
    );
    for name in ["cells", "composition", "training", "left_out", "saturation"] {
        let path = done.out.join("figures").join(format!("{name}.png"));
        assert!(paths.contains(&path), "{name}");
    }
    let stop = CancelToken::new();
    stop.cancel();
    let settings = ReportConfig::new();
    let stopped = all(
        &done.store,
        &done.config,
        &done.report,
        &files,
        &settings,
        &stop,
    );
    assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    let nowhere = done.out.join("nowhere");
    let none = draw_of_folder(&nowhere, &done.store, &settings, &done.out, &NoProgress);
    assert!(none.unwrap_err().to_string().contains("no complete run"));
}

#[test]
fn the_map_that_is_drawn_shows_as_many_cells_as_that_of_the_page() {
    let done = Done::new(|_, mut config| {
        config.cluster.graph = config.cluster.graph.with_leiden(None);
        config.samples.label_key = "true_type".to_owned();
        config
    });
    let points = |settings: &ReportConfig| {
        let figures = FigureConfig::new().with_format(FigureFormat::Svg);
        let settings = settings.clone().with_figures(figures);
        drawn(&done, &settings);
        let svg = std::fs::read_to_string(done.out.join("figures/cells.svg")).unwrap();
        svg.matches("<circle").count()
    };
    assert_eq!(points(&ReportConfig::new()), 320);
    assert_eq!(points(&ReportConfig::new().with_max_cells(100)), 100);
}

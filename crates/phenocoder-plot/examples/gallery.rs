//! Writes one picture of each kind, as PNG and as SVG, into a folder.
//!
//! `cargo run --release -p phenocoder-plot --example gallery -- [FOLDER]`
//!
//! It shows what each function draws from made-up data; without a folder it writes to `gallery`.

use std::path::PathBuf;

use anyhow::Context as _;
use ndarray::{Array2, Array3, Array4, array};
use phenocoder_core::{Categorical, Seed};
use phenocoder_plot::{
    AxesStyle, BarsConfig, ColorBy, ContactSheetConfig, Curve, CurvesConfig, Figure,
    GroupedBarsConfig, HeatMapConfig, Interval, IntervalsConfig, MontageConfig, Rgb,
    SampleMapConfig, ScatterConfig, SheetRow, bars, contact_sheet, curves, grouped_bars, heat_map,
    intervals, montage, sample_map, scatter,
};

#[expect(clippy::print_stdout, reason = "an example says where its files lie")]
fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or("gallery".to_owned()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("`{}` could not be made", folder.display()))?;
    for (name, figure) in [
        ("loss", losses()?),
        ("clusters", clusters(6, 4_000)?),
        ("many_clusters", clusters(17, 60_000)?),
        ("marker", marker(4_000)?),
        (
            "cluster_and_truth",
            clusters(5, 1_500)?.beside(clusters(4, 1_500)?),
        ),
        ("interactions", interactions()?),
        ("samples", samples()?),
        ("patches", patches()?),
        ("composition", composition()?),
        ("measures", measures()?),
        ("ranges", ranges()?),
        ("effects", effects()?),
        ("typical_and_odd", typical_and_odd()?),
    ] {
        for extension in ["png", "svg"] {
            figure.write(folder.join(name).with_extension(extension))?;
        }
    }
    println!("{}", folder.display());
    Ok(())
}

/// Losses that fall and level off, with a validation every second epoch.
fn losses() -> phenocoder_plot::Result<Figure> {
    let mut noise = Seed::new(1).stream("losses", 0);
    let mut fall = |end: f64, wobble: f64| -> Vec<f64> {
        (0..40)
            .map(|epoch| end + 300.0 * (-f64::from(epoch) / 6.0).exp() + wobble * noise.normal())
            .collect()
    };
    let training = fall(504.0, 1.5);
    let mut validation = fall(521.0, 4.0);
    for gap in validation.iter_mut().skip(1).step_by(7) {
        *gap = f64::NAN;
    }
    let config = CurvesConfig::default()
        .with_title("Training of the autoencoder")
        .with_labels("epoch", "loss")
        .with_log_y(true)
        .with_mark(31.0, "best epoch");
    let both = [
        Curve::over_epochs("training", training),
        Curve::over_epochs("validation", validation),
    ];
    curves(&both, &config)
}

/// Clouds of points around centers on a spiral, and the cloud of each.
fn clouds(k: usize, n: usize) -> (Array2<f64>, Vec<usize>) {
    let mut draw = Seed::new(2).stream("clouds", k as u64);
    let mut points = Array2::zeros((n, 2));
    let mut cloud = Vec::new();
    for mut point in points.outer_iter_mut() {
        let i = draw.below(k);
        let angle = 2.4 * i as f64;
        let radius = 3.2 * (i as f64 + 0.4).sqrt();
        let spread = 0.7 + 0.25 * (i % 3) as f64;
        point[0] = radius * angle.cos() + spread * draw.normal();
        point[1] = radius * angle.sin() + spread * draw.normal() * 0.8;
        cloud.push(i);
    }
    (points, cloud)
}

fn clusters(k: usize, n: usize) -> phenocoder_plot::Result<Figure> {
    let (points, cloud) = clouds(k, n);
    let names = cloud.iter().map(|i| format!("{i:02}"));
    let config = ScatterConfig::embedding("UMAP")
        .with_title(format!("{n} cells by cluster"))
        .with_legend_title("cluster");
    scatter(
        points.view(),
        ColorBy::Categories(&Categorical::from_labels(names)),
        &config,
    )
}

fn marker(n: usize) -> phenocoder_plot::Result<Figure> {
    let (points, _) = clouds(6, n);
    let values: Vec<f64> = points
        .outer_iter()
        .map(|p| {
            if p[0] < -6.0 {
                f64::NAN
            } else {
                (p[0] / 4.0).tanh() + p[1] / 8.0
            }
        })
        .collect();
    let config = ScatterConfig::default()
        .with_title("Positions of the cells in the well")
        .with_labels("x (µm)", "y (µm)")
        .with_y_down(true);
    scatter(
        points.view(),
        ColorBy::Values(&values, "intensity"),
        &config,
    )
}

fn interactions() -> phenocoder_plot::Result<Figure> {
    let names = [
        "B cell",
        "T cell",
        "macrophage",
        "fibroblast",
        "epithelium",
        "vessel",
    ];
    let n = names.len();
    let mut draw = Seed::new(3).stream("interactions", 0);
    let mut z = Array2::from_shape_fn((n, n), |_| 4.0 * draw.normal());
    for i in 0..n {
        for j in 0..i {
            z[[i, j]] = z[[j, i]];
        }
        z[[i, i]] = 6.0 + z[[i, i]].abs();
    }
    z[[2, 5]] = f64::NAN;
    z[[5, 2]] = f64::NAN;
    let config = HeatMapConfig::diverging()
        .with_title("Neighborhood enrichment")
        .with_value_label("z-score")
        .with_annotate(true)
        .with_decimals(1);
    heat_map(z.view(), &names, &names, &config)
}

fn samples() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(4).stream("samples", 0);
    let n = 24;
    let points = Array2::from_shape_fn((n, 2), |(i, axis)| {
        let treated = if i % 2 == 0 { -1.5 } else { 1.5 };
        draw.normal() + if axis == 0 { treated } else { 0.0 }
    });
    let names: Vec<String> = (0..n)
        .map(|i| format!("well {}{}", ["A", "B", "C"][i % 3], i / 3))
        .collect();
    let condition = (0..n).map(|i| if i % 2 == 0 { "control" } else { "treated" });
    let batch = (0..n).map(|i| if i < 12 { "plate 1" } else { "plate 2" });
    let config = SampleMapConfig::default()
        .with_title("Samples by their spatial statistics")
        .with_labels("UMAP 1", "UMAP 2")
        .with_axes(AxesStyle::Arrows);
    sample_map(
        points.view(),
        &names,
        &Categorical::from_labels(condition),
        &Categorical::from_labels(batch),
        &config,
    )
}

fn patches() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(5).stream("patches", 0);
    let (n, side, channels) = (6, 32, 4);
    let blobs: Vec<[f64; 3]> = (0..n * channels)
        .map(|_| {
            [
                draw.uniform_in(12.0, 20.0),
                draw.uniform_in(12.0, 20.0),
                draw.uniform_in(4.0, 9.0),
            ]
        })
        .collect();
    let clean = Array4::from_shape_fn((n, side, side, channels), |(i, y, x, c)| {
        let [cy, cx, r] = blobs[i * channels + c];
        let d = ((y as f64 - cy).powi(2) + 1.7 * (x as f64 - cx).powi(2)) / (r * r);
        (0.9 * (-d).exp()) as f32
    });
    let noisy = clean.mapv(|v| (v + 0.06 * draw.normal() as f32).clamp(0.0, 1.0));
    let config = MontageConfig::default().with_title("Reconstructions");
    montage(
        noisy.view(),
        clean.view(),
        &["DNA", "actin", "tubulin", "membrane"],
        &config,
    )
}

fn composition() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(6).stream("composition", 0);
    let mut types = Vec::new();
    let mut samples = Vec::new();
    for sample in 1..=9 {
        for _ in 0..300 {
            let u = draw.uniform().powf(0.5 + f64::from(sample) / 6.0);
            types.push(["B cell", "T cell", "macrophage", "fibroblast"][(u * 4.0) as usize]);
            samples.push(format!("sample {sample}"));
        }
    }
    let config = BarsConfig::default()
        .with_title("Composition of the samples")
        .with_legend_title("cell type")
        .with_fractions(true);
    bars(
        &Categorical::from_labels(types),
        Some(&Categorical::from_labels(samples)),
        &config,
    )
}

/// Measures before and after a correction.
fn measures() -> phenocoder_plot::Result<Figure> {
    let values = array![[0.21, 0.84], [0.35, 0.91], [0.97, 0.95], [1.0, f64::NAN]];
    let config = GroupedBarsConfig::default()
        .with_title("Batches before and after a correction")
        .with_annotate(2);
    let names = ["iLISI", "kBET", "cLISI", "connectivity"];
    grouped_bars(values.view(), &names, &["before", "after"], &config)
}

/// From which brightness to which each channel reaches.
fn ranges() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(7).stream("ranges", 0);
    let most = [4_000.0, 900.0, 60_000.0];
    let values = Array2::from_shape_fn((12, 3), |(sample, channel)| {
        let low = most[channel] * draw.uniform_in(0.02, 0.1);
        let high = most[channel] * draw.uniform_in(0.6, 1.0);
        Interval::new(low, high).with_marked((sample, channel) == (4, 1))
    });
    let names: Vec<String> = (1..=12).map(|i| format!("sample {i}")).collect();
    let config = IntervalsConfig::default()
        .with_title("Ranges of the channels")
        .with_value_label("brightness")
        .with_reference(0.0)
        .with_legend("as measured", "widened");
    intervals(
        values.view(),
        &names,
        &["DNA", "actin", "membrane"],
        &config,
    )
}

/// Effects of a treatment.
fn effects() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(8).stream("effects", 0);
    let mut found: Vec<f64> = (0..16).map(|_| 1.6 * draw.normal()).collect();
    found.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
    let values = Array2::from_shape_fn((found.len(), 1), |(row, _)| {
        Interval::effect(found[row]).with_marked(row < 5)
    });
    let names: Vec<String> = (1..=16).map(|i| format!("statistic {i}")).collect();
    let config = IntervalsConfig::default()
        .with_title("Differences between the conditions")
        .with_value_label("Hedges’ g")
        .with_reference(0.0)
        .with_legend("q above 0.05", "q up to 0.05");
    intervals(values.view(), &names, &[""], &config)
}

/// Typical and odd cells of three clusters.
fn typical_and_odd() -> phenocoder_plot::Result<Figure> {
    let mut draw = Seed::new(9).stream("cells", 0);
    let mut cell = |size: f64| {
        let wide = size * draw.uniform_in(0.8, 1.2);
        let far = |y: usize, x: usize| {
            let (y, x) = (y as f64 - 15.5, x as f64 - 15.5);
            (y * y / (size * size) + x * x / (wide * wide)).sqrt()
        };
        Some(Array3::from_shape_fn((32, 32, 3), |(y, x, c)| {
            let reach = [0.5, 1.0, 1.0][c];
            (255.0 / (1.0 + (8.0 * (far(y, x) - reach)).exp())) as u8
        }))
    };
    let rows: Vec<SheetRow> = (0..3)
        .map(|cluster| {
            let size = 5.0 + 3.0 * f64::from(cluster);
            let mut tiles: Vec<_> = (0..4).map(|_| cell(size)).collect();
            tiles.extend([cell(0.6 * size), cell(1.4 * size), None]);
            SheetRow::new(format!("cluster {cluster}"), tiles).with_note("120 cells")
        })
        .collect();
    let columns = [vec!["typical"; 4], vec!["odd"; 3]].concat();
    let config = ContactSheetConfig::default()
        .with_title("Cells of each cluster")
        .with_key(vec![
            ("membrane".to_owned(), Rgb(0, 255, 255)),
            ("DNA".to_owned(), Rgb(255, 0, 0)),
        ]);
    contact_sheet(&rows, &columns, &config)
}

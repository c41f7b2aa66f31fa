//! Which cells look like this one? A library of cells on disk, asked with cells and with patches of an image.
//!
//! It makes synthetic tissue, trains a small network, encodes the cells, and looks for the cells nearest to one of each type:
//! by its row in the library, and by the pixels around it.
//! It fails when the nearest cells are not mostly of the same type.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Parser;
use ndarray::{Array4, Axis, concatenate};
use phenocoder::core::{Categorical, Coords, ImageRegion, ImageSource, NoProgress, Seed, Unit};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::embed::knn::Metric;
use phenocoder::io::Store;
use phenocoder::model::train::FitConfig;
use phenocoder::pipeline::{
    CellLibrary, DatasetConfig, EncodeConfig, Hit, RawPatches, Representation, StoreKeys,
    TrainConfig, encode, fit, generate_dataset,
};

/// Rows and columns of a patch.
const SIDE: usize = 32;
/// The share of the nearest cells that must have the same type; a quarter would be chance.
const LEAST_SHARE: f64 = 0.6;

/// Finds the cells of a library that look most like a cell or a patch.
#[derive(Debug, Parser)]
#[command(name = "similarity_search", max_term_width = 100)]
struct Arguments {
    /// Cells of each of the four samples.
    #[arg(long, default_value_t = 300)]
    cells: usize,
    /// Epochs of the training.
    #[arg(long, default_value_t = 15)]
    epochs: usize,
    /// Cells that are found for each.
    #[arg(long, default_value_t = 5)]
    k: usize,
    /// Where chance comes from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tissue.zarr");
    let tissue = TissueConfig::default()
        .with_samples_per_group(1)
        .with_cells_per_sample(arguments.cells)
        .with_seed(Seed::new(arguments.seed));
    let keys = write_tissue(&path, &tissue, &NoProgress)?.keys;
    let mut store = Store::open(&path)?;
    let model = folder.path().join("model.safetensors");
    learn(&mut store, &keys, &model, &arguments)?;

    let library = CellLibrary::open(&store, "phenocoder", Representation::X)?;
    let table = store.table("phenocoder")?;
    let types = table.obs_column("true_type")?.to_categorical();
    println!("{} cells, {} latents\n", library.len(), library.n_latents());

    // By rows: all of them at once, for the library is read as often for one of them.
    let all: Vec<usize> = (0..library.len()).collect();
    let hits = library.nearest_to_cells(&all, arguments.k, Metric::Euclidean, &NoProgress)?;
    let places = Coords::new(table.obsm(&keys.spatial_index_key)?, Unit::Pixel)?;
    let samples = table.obs_column(&keys.sample_key)?.to_categorical();
    let shown = one_of_each(&types, |row| {
        let sample = samples.label(row)?;
        patch(&store, &keys.image_of(sample), &places, row).ok()
    });
    println!("| cell | type | nearest cells, with their types and samples |\n|---|---|---|");
    for (row, _) in &shown {
        print_hits(&format!("row {row}"), *row, &hits[*row], &types);
    }
    let share = share_of_same(&hits, &types);
    println!("\n{share:.3} of the nearest cells are of the same type\n");
    ensure!(share > LEAST_SHARE, "the nearest cells must look alike");

    // By pixels: the network must make of the patches what it made of the cells.
    println!(
        "| patch around | type | nearest cells, with their types and samples |\n|---|---|---|"
    );
    let rows: Vec<usize> = shown.iter().map(|(row, _)| *row).collect();
    let pixels: Vec<_> = shown.iter().map(|(_, pixels)| pixels.view()).collect();
    let patches = RawPatches::of_samples(concatenate(Axis(0), &pixels)?, samples.select(&rows));
    let (k, metric) = (arguments.k, Metric::Euclidean);
    let found = library.nearest_to_patches(&patches, &model, k, metric, &NoProgress)?;
    for (row, hits) in rows.into_iter().zip(&found) {
        print_hits(&format!("row {row}"), row, hits, &types);
        ensure!(hits[0].row == row, "a patch finds its own cell first");
    }
    Ok(())
}

/// Trains a small network on the cells of the store, and writes their latents into the table `phenocoder`.
fn learn(
    store: &mut Store,
    keys: &StoreKeys,
    model: &Path,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let patches = model.with_file_name("patches.zarr");
    let dataset = DatasetConfig::new(keys.clone(), SIDE);
    generate_dataset(store, &dataset, &patches, &NoProgress)?;
    let training = FitConfig::new()
        .with_epochs(arguments.epochs)
        .with_batch_size(64);
    let config = TrainConfig::default()
        .with_conv_layers([8, 16, 32])
        .with_latent_dim(16)
        .with_dropout(0.0)
        .with_split(None)
        .with_fit(training)
        .with_seed(Seed::new(arguments.seed));
    fit(&[&patches], &config, model, None, &NoProgress)?;
    encode(store, model, &EncodeConfig::new(keys.clone()), &NoProgress)?;
    Ok(())
}

/// The first cell of each type that has a patch, with it.
fn one_of_each(
    types: &Categorical,
    patch: impl Fn(usize) -> Option<Array4<f32>>,
) -> Vec<(usize, Array4<f32>)> {
    let first = |code: usize| {
        let mut members = types.members(code).into_iter();
        members.find_map(|row| Some((row, patch(row)?)))
    };
    (0..types.categories().len()).filter_map(first).collect()
}

/// The pixels around a cell that does not lie at the border of its image, `[1, y, x, c]`.
fn patch(store: &Store, image: &str, places: &Coords, row: usize) -> anyhow::Result<Array4<f32>> {
    let image = store.image(image)?;
    let shape = image.shape();
    let [_, y, x] = places.zyx(row);
    let window = |at: f64| -> anyhow::Result<std::ops::Range<usize>> {
        let first = (at.round() as usize).checked_sub(SIDE / 2);
        let first = first.context("the patch would reach over the border")?;
        Ok(first..first + SIDE)
    };
    let region = ImageRegion {
        c: 0..shape.c,
        z: 0..1,
        y: window(y)?,
        x: window(x)?,
    };
    let mut pixels = vec![0.0; shape.c * SIDE * SIDE];
    image.read_region(&region, &mut pixels)?;
    let pixels = Array4::from_shape_vec((1, shape.c, SIDE, SIDE), pixels)?;
    Ok(pixels.permuted_axes([0, 2, 3, 1]))
}

fn print_hits(name: &str, row: usize, hits: &[Hit], types: &Categorical) {
    let words: Vec<String> = hits
        .iter()
        .map(|hit| {
            let sample = hit.sample.as_deref().unwrap_or("?");
            let kind = types.label(hit.row).unwrap_or("?");
            format!("{} ({kind}, {sample}, {:.2})", hit.cell, hit.distance)
        })
        .collect();
    let kind = types.label(row).unwrap_or("?");
    println!("| {name} | {kind} | {} |", words.join("; "));
}

/// The share of the cells found that have the type of the cell that they were found for.
fn share_of_same(hits: &[Vec<Hit>], types: &Categorical) -> f64 {
    let pairs = hits.iter().enumerate();
    let same = pairs.flat_map(|(row, hits)| hits.iter().map(move |hit| (row, hit.row)));
    let same: Vec<bool> = same
        .map(|(row, other)| types.code(row) == types.code(other))
        .collect();
    same.iter().filter(|&&same| same).count() as f64 / same.len().max(1) as f64
}

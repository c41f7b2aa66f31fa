//! Synthetic tissues of which half was stained otherwise, one for each seed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use phenocoder::core::{NoProgress, Seed};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::Store;
use phenocoder::model::DeviceChoice;
use phenocoder::model::train::FitConfig;
use phenocoder::patches::ScalingMode;
use phenocoder::pipeline::{PipelineConfig, encode, fit, generate_dataset};

use crate::{Arguments, Comparison, Row, print_heads, print_line};

/// What a correction must add to the iLISI of rows and of lists of neighbours, at least.
const GAIN: f64 = 0.15;
/// What balanced neighbours must add to that of the map, in the mean of all tissues: a cell's memberships still lie with the
/// nearest, which may be of its own batch, so that of a single tissue only a fall counts.
const MAP_GAIN: f64 = 0.05;
/// What keeps labels, where asked to.
const KEEPERS: [&str; 2] = ["ridge", "ComBat"];
/// What each may take from cLISI, at most.
const LOSS: f64 = 0.02;

/// Measures the corrections in the tissue of each seed, and checks them.
pub(crate) fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.seeds > 0, "no seeds");
    let mut tissues = Vec::new();
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds)?) {
        let folder = tempfile::tempdir()?;
        let arguments = Arguments {
            seed,
            // One picture is enough.
            figure: arguments.figure.clone().filter(|_| tissues.is_empty()),
            ..arguments.clone()
        };
        let store = arguments.encode_tissue(folder.path())?;
        let mut comparison = Comparison { store, arguments };
        let groups = comparison.rows()?;
        if tissues.is_empty() {
            println!("{}", comparison.heading("X")?);
        }
        comparison.draw()?;
        tissues.push((seed, groups));
    }
    print(arguments, &tissues);
    if arguments.unchecked {
        return Ok(());
    }
    let wanted = |row: &&Row| !arguments.keep_labels || KEEPERS.contains(&row.name);
    for (seed, [rows, lists, map]) in &tissues {
        let within = || format!("seed {seed}");
        check(rows, wanted, GAIN).with_context(within)?;
        if !arguments.keep_labels {
            check(lists, wanted, GAIN).with_context(within)?;
            check(map, wanted, 0.0).with_context(within)?;
        }
    }
    if arguments.keep_labels {
        println!(
            "\nWith every seed, ridge and ComBat, which keep the types, add at least {GAIN} to iLISI."
        );
        return Ok(());
    }
    let gains = tissues.iter().map(|(_, [.., map])| gain(map));
    let mean = gains.sum::<f64>() / tissues.len() as f64;
    ensure!(mean >= MAP_GAIN, "the map: iLISI changes by {mean:.3} only");
    println!(
        "\nWith every seed, each correction adds at least {GAIN} to the iLISI of what it begins with, and takes at most {LOSS} from its cLISI; balanced neighbours add {mean:.3} to that of the map in the mean."
    );
    Ok(())
}

/// What the last row of a group adds to the iLISI of the first.
fn gain(group: &[Row]) -> f64 {
    match group {
        [before, .., after] => after.integration_lisi - before.integration_lisi,
        _ => 0.0,
    }
}

/// The rows of a tissue, by its seed.
type Measured = (u64, [Vec<Row>; 3]);

/// Prints a line for each way to correct, from the smallest to the largest measure of all tissues.
fn print(arguments: &Arguments, tissues: &[Measured]) {
    println!("{} such tissues\n", arguments.seeds);
    print_heads();
    let lines: Vec<Vec<&Row>> = tissues
        .iter()
        .map(|(_, groups)| groups.iter().flatten().collect())
        .collect();
    for line in 0..lines.first().map_or(0, Vec::len) {
        let same: Vec<&Row> = lines.iter().map(|rows| rows[line]).collect();
        print_line(same[0].name, &same);
    }
}

/// The wanted rows mix batches better than the first, and labels no more.
fn check(group: &[Row], wanted: impl Fn(&&Row) -> bool, least: f64) -> anyhow::Result<()> {
    let (before, corrected) = group.split_first().context("a row without correction")?;
    for after in corrected.iter().filter(wanted) {
        let name = after.name;
        let gain = after.integration_lisi - before.integration_lisi;
        ensure!(gain >= least, "{name}: iLISI changes by {gain:.3} only");
        let loss = before.label_lisi - after.label_lisi;
        ensure!(loss <= LOSS, "{name}: cLISI falls by {loss:.3}");
    }
    Ok(())
}

impl Arguments {
    /// Makes synthetic tissue and the latents of its cells.
    fn encode_tissue(&self, folder: &Path) -> anyhow::Result<Store> {
        let seed = Seed::new(self.seed);
        let tissue = TissueConfig::default()
            .with_samples_per_group(self.samples)
            .with_cells_per_sample(self.cells)
            .with_purity(self.purity)
            .with_batch_strength(self.strength)
            .with_seed(seed);
        let path = folder.join("store.zarr");
        let keys = write_tissue(&path, &tissue, &NoProgress)?.keys;
        let mut config = PipelineConfig::new(keys);
        if self.global_scaling {
            config.dataset = config.dataset.with_scaling(ScalingMode::Global);
        }
        config.dataset.patch.mask_neighbors = true;
        let training = FitConfig::new()
            .with_epochs(self.epochs)
            .with_batch_size(64);
        config.train = config
            .train
            .with_conv_layers([8, 16, 32])
            .with_latent_dim(self.latents)
            .with_dense_dim(64)
            .with_dropout(0.0)
            .with_split(None)
            .with_device(DeviceChoice::Cpu)
            .with_fit(training);
        config.encode = config.encode.with_table(&self.table);
        let config = config.with_seed(seed);
        let mut store = Store::open(&path)?;
        let patches = folder.join("patches.zarr");
        let model = folder.join("model.safetensors");
        generate_dataset(&store, &config.dataset, &patches, &NoProgress)?;
        fit(&[&patches], &config.train, &model, None, &NoProgress)?;
        encode(&mut store, &model, &config.encode, &NoProgress)?;
        Ok(store)
    }
}

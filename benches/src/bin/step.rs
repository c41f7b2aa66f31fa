//! Our contender in `cargo xtask bench-peers`: `step ARRAYS.npz`; `step --write SIDE ARRAYS.npz` makes that file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use ndarray::Array2;
use phenocoder_benches::peers::PlainAdam;
use phenocoder_benches::worker::{Contender, serve};
use phenocoder_benches::{SEED, peers};
use phenocoder_core::PatchBatch;
use phenocoder_model::{Autoencoder, Batch, Cvae, Snapshot, Step};

/// Fresh kernels give logits near 0 whatever the image; larger ones make the losses tell two networks apart.
const KERNEL_SCALE: f64 = 2.0;

struct Ours {
    model: Cvae,
    batch: Batch,
    start: Snapshot,
    adam: PlainAdam,
    index: u64,
}

impl Ours {
    fn open(path: &Path) -> Result<Self> {
        let pixels = peers::read_pixels(path)?;
        let (n, side, ..) = pixels.dim();
        let patches = PatchBatch::new(pixels, Array2::zeros((n, 0)))?;
        let model = peers::config(side).build(SEED, &Device::Cpu)?;
        let mut ours = Self {
            adam: PlainAdam::new(&model),
            model,
            batch: Batch::new(&patches, &Device::Cpu)?,
            start: peers::read_weights(path)?,
            index: 0,
        };
        ours.restart()?;
        Ok(ours)
    }
}

impl Contender for Ours {
    fn train(&mut self, noise: bool) -> Result<()> {
        let step = Step::training(SEED, self.index).with_noise(noise);
        self.index += 1;
        self.model.train_step(&self.batch, &step, &mut self.adam)?;
        Ok(())
    }

    fn encode(&mut self) -> Result<()> {
        self.model.encode(&self.batch)?;
        Ok(())
    }

    fn loss(&self) -> Result<f64> {
        let losses = self.model.loss(&self.batch, &Step::evaluation())?;
        Ok(f64::from(losses.total.to_scalar::<f32>()?))
    }

    fn restart(&mut self) -> Result<()> {
        self.model.parameters().restore(&self.start)?;
        self.adam = PlainAdam::new(&self.model);
        self.index = 0;
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--write", side, path] => {
            let side = side.parse().context("SIDE is no number")?;
            let model = peers::config(side).build(SEED, &Device::Cpu)?;
            for (name, weight) in model.parameters().weights() {
                if name.ends_with(".kernel") {
                    weight.set(&(weight.as_tensor() * KERNEL_SCALE)?)?;
                }
            }
            peers::write(Path::new(path), &model)
        }
        [path] => {
            let mut ours = Ours::open(Path::new(path))?;
            serve("phenocoder", env!("CARGO_PKG_VERSION"), &mut ours)
        }
        _ => bail!("usage: step ARRAYS.npz | step --write SIDE ARRAYS.npz"),
    }
}

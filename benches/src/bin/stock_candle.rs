//! The network in candle's own operations, as someone writes it who takes candle as it is: `stock_candle ARRAYS.npz`.
//!
//! Like PyTorch, candle pads a strided convolution on both sides; images and kernels are mirrored as in
//! `benches/peers/torch_vae.py`, so that the losses are the same.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use candle_nn::loss::binary_cross_entropy_with_logit;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use phenocoder_benches::peers;
use phenocoder_benches::worker::{Contender, LEARNING_RATE, serve};
use phenocoder_model::Snapshot;

const BETA: f64 = 0.01;

struct Layer {
    weight: Var,
    bias: Var,
}

impl Layer {
    fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self {
            weight: Var::from_tensor(&weight.contiguous()?)?,
            bias: Var::from_tensor(&bias.contiguous()?)?,
        })
    }

    fn dense(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }

    /// Halves rows and columns.
    fn down(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.conv2d(&self.weight, 1, 2, 1, 1)?;
        Ok(self.add_bias(&x)?.relu()?)
    }

    /// Doubles rows and columns.
    fn up(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.conv_transpose2d(&self.weight, 1, 1, 2, 1)?;
        Ok(self.add_bias(&x)?.relu()?)
    }

    fn add_bias(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?)
    }
}

/// The weights of our network, in the layouts of candle.
struct Start {
    arrays: Snapshot,
    /// Rows, columns and channels behind the encoder's convolutions.
    outer: (usize, usize, usize),
    /// The same before the decoder's.
    inner: (usize, usize, usize),
    layers: usize,
}

impl Start {
    fn new(arrays: Snapshot, side: usize) -> Result<Self> {
        let layers = arrays.tensors().keys();
        let layers = layers
            .filter(|name| name.starts_with("encoder.conv."))
            .count()
            / 2;
        let mut start = Self {
            arrays,
            outer: (side >> layers, side >> layers, 0),
            inner: (side >> layers, side >> layers, 0),
            layers,
        };
        start.outer.2 = start.array("encoder.dense.kernel")?.dim(0)? / start.outer.0.pow(2);
        start.inner.2 = start.array("decoder.dense.bias")?.dim(0)? / start.inner.0.pow(2);
        Ok(start)
    }

    fn array(&self, name: &str) -> Result<&Tensor> {
        let array = self.arrays.tensors().get(name);
        array.with_context(|| format!("no array `{name}`"))
    }

    fn pair(&self, layer: &str) -> Result<[&Tensor; 2]> {
        let kernel = self.array(&format!("{layer}.kernel"))?;
        Ok([kernel, self.array(&format!("{layer}.bias"))?])
    }

    /// Height, width, in, out to mirrored out, in, height, width.
    fn convolution(&self, name: &str) -> Result<Layer> {
        let [kernel, bias] = self.pair(name)?;
        Layer::new(&kernel.flip(&[0, 1])?.permute((3, 2, 0, 1))?, bias)
    }

    fn convolutions(&self, group: &str) -> Result<Vec<Layer>> {
        let names = (0..self.layers).map(|i| format!("{group}.{i}"));
        names.map(|name| self.convolution(&name)).collect()
    }

    fn dense(&self, name: &str) -> Result<Layer> {
        let [kernel, bias] = self.pair(name)?;
        Layer::new(kernel, bias)
    }

    /// Rows for a flattened y, x, c to rows for a flattened and mirrored c, y, x.
    fn encoder_dense(&self) -> Result<Layer> {
        let [kernel, bias] = self.pair("encoder.dense")?;
        let (h, w, c) = self.outer;
        let kernel = kernel.reshape((h, w, c, ()))?.flip(&[0, 1])?;
        let kernel = kernel.permute((2, 0, 1, 3))?.contiguous()?;
        Layer::new(&kernel.reshape((h * w * c, ()))?, bias)
    }

    /// The same for its columns.
    fn decoder_dense(&self) -> Result<Layer> {
        let [kernel, bias] = self.pair("decoder.dense")?;
        let (h, w, c) = self.inner;
        let kernel = kernel.reshape(((), h, w, c))?.flip(&[1, 2])?;
        let kernel = kernel.permute((0, 3, 1, 2))?.contiguous()?;
        let bias = bias.reshape((h, w, c))?.flip(&[0, 1])?;
        let bias = bias.permute((2, 0, 1))?.contiguous()?;
        Layer::new(&kernel.reshape(((), h * w * c))?, &bias.flatten_all()?)
    }
}

struct Network {
    encoder: Vec<Layer>,
    encoder_dense: Layer,
    mean: Layer,
    log_var: Layer,
    decoder_dense: Layer,
    decoder: Vec<Layer>,
    output: Layer,
    /// Channels, rows and columns.
    inner: (usize, usize, usize),
}

impl Network {
    fn new(start: &Start) -> Result<Self> {
        let (h, w, c) = start.inner;
        Ok(Self {
            encoder: start.convolutions("encoder.conv")?,
            encoder_dense: start.encoder_dense()?,
            mean: start.dense("encoder.z_mean")?,
            log_var: start.dense("encoder.z_log_var")?,
            decoder_dense: start.decoder_dense()?,
            decoder: start.convolutions("decoder.conv")?,
            output: start.convolution("decoder.output")?,
            inner: (c, h, w),
        })
    }

    fn variables(&self) -> Vec<Var> {
        let single = [
            &self.encoder_dense,
            &self.mean,
            &self.log_var,
            &self.decoder_dense,
            &self.output,
        ];
        let layers = self.encoder.iter().chain(&self.decoder).chain(single);
        layers
            .flat_map(|layer| [layer.weight.clone(), layer.bias.clone()])
            .collect()
    }

    fn encode(&self, pixels: &Tensor) -> Result<[Tensor; 2]> {
        let mut x = pixels.clone();
        for layer in &self.encoder {
            x = layer.down(&x)?;
        }
        let x = self.encoder_dense.dense(&x.flatten_from(1)?)?.relu()?;
        Ok([self.mean.dense(&x)?, self.log_var.dense(&x)?])
    }

    fn loss(&self, pixels: &Tensor, noise: bool) -> Result<Tensor> {
        let [mean, log_var] = self.encode(pixels)?;
        let z = match noise {
            true => ((&log_var * 0.5)?.exp()? * mean.randn_like(0.0, 1.0)?)?.add(&mean)?,
            false => mean.clone(),
        };
        let (c, h, w) = self.inner;
        let mut x = self
            .decoder_dense
            .dense(&z)?
            .relu()?
            .reshape(((), c, h, w))?;
        for layer in &self.decoder {
            x = layer.up(&x)?;
        }
        let output = &self.output;
        let logits = output.add_bias(&x.conv_transpose2d(&output.weight, 1, 0, 1, 1)?)?;
        let n = pixels.dim(0)?;
        // candle's loss is a mean over all values.
        let values = (pixels.elem_count() / n) as f64;
        let reconstruction = (binary_cross_entropy_with_logit(&logits, pixels)? * values)?;
        let terms = ((&log_var + 1.0)? - mean.sqr()?)?.sub(&log_var.exp()?)?;
        let kl = (terms.sum_all()? * (-0.5 / n as f64))?;
        Ok((reconstruction + (kl * BETA)?)?)
    }
}

struct Stock {
    start: Start,
    pixels: Tensor,
    network: Network,
    adam: AdamW,
}

impl Stock {
    fn open(path: &Path) -> Result<Self> {
        let pixels = peers::read_pixels(path)?;
        let (n, side, ..) = pixels.dim();
        let pixels: Vec<f32> = pixels.iter().copied().collect();
        let pixels = Tensor::from_vec(pixels, (n, side, side, ()), &Device::Cpu)?;
        let pixels = pixels.flip(&[1, 2])?.permute((0, 3, 1, 2))?.contiguous()?;
        let start = Start::new(peers::read_weights(path)?, side)?;
        let network = Network::new(&start)?;
        let adam = adam(&network)?;
        Ok(Self {
            start,
            pixels,
            network,
            adam,
        })
    }
}

fn adam(network: &Network) -> Result<AdamW> {
    let settings = ParamsAdamW {
        lr: LEARNING_RATE,
        eps: 1e-7,
        weight_decay: 0.0,
        ..ParamsAdamW::default()
    };
    Ok(AdamW::new(network.variables(), settings)?)
}

impl Contender for Stock {
    fn train(&mut self, noise: bool) -> Result<()> {
        let loss = self.network.loss(&self.pixels, noise)?;
        Ok(self.adam.backward_step(&loss)?)
    }

    fn encode(&mut self) -> Result<()> {
        self.network.encode(&self.pixels)?;
        Ok(())
    }

    fn loss(&self) -> Result<f64> {
        let loss = self.network.loss(&self.pixels, false)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn restart(&mut self) -> Result<()> {
        self.network = Network::new(&self.start)?;
        self.adam = adam(&self.network)?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1);
    let path = path.context("usage: stock_candle ARRAYS.npz")?;
    let mut stock = Stock::open(Path::new(&path))?;
    serve("candle", "0.11.1", &mut stock)
}

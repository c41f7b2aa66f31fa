//! Losses, bias with ReLU, and Adam on NVIDIA GPUs, each in one kernel instead of five to sixteen.
//!
//! The kernels (`cuda/fused.cu`) are compiled by NVRTC when the first of them is needed, so building this crate needs no
//! compiler of its own for them.
//! Where that fails, for want of NVRTC's files or on a GPU older than the kernels are compiled for, every function here
//! returns `None`, a warning says why, and the caller goes on with candle's operations.
//!
//! This is the only file with code that the compiler cannot check: the launch of a kernel.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result,
    Shape, Tensor, bail,
};

const SOURCE: &str = include_str!("cuda/fused.cu");
const MODULE: &str = "phenocoder_fused";
/// The oldest GPUs that CUDA 13 compiles for (Turing); drivers translate it for newer ones.
const ARCHITECTURE: &str = "compute_75";
const THREADS: u32 = 256;
/// Enough to fill any GPU; what is left is done in a loop.
const MOST_BLOCKS: u32 = 8192;
/// Partial sums of a loss.
const PARTIAL_SUMS: usize = 1 << 15;
/// Indices are 32 bits wide, and a loop adds up to a grid of threads to them.
const MOST_VALUES: usize = 1 << 31;

/// The compiled kernels, in the driver's assembly language.
fn compile() -> std::result::Result<String, String> {
    let options = CompileOptions {
        arch: Some(ARCHITECTURE),
        ..CompileOptions::default()
    };
    let ptx = compile_ptx_with_opts(SOURCE, options).map_err(|e| e.to_string())?;
    Ok(ptx.to_src())
}

/// The kernels, where they can be compiled and loaded; tried once.
fn kernels(device: &CudaDevice) -> Option<&'static str> {
    static KERNELS: OnceLock<Option<String>> = OnceLock::new();
    let kernels = KERNELS.get_or_init(|| {
        let loaded = compile().and_then(|ptx| {
            let load = device.get_or_load_custom_func("cross_entropy", MODULE, &ptx);
            load.map(|_| ptx).map_err(|e| e.to_string())
        });
        loaded
            .inspect_err(|reason| {
                tracing::warn!(%reason, "no fused kernels on this GPU, which costs time only");
            })
            .ok()
    });
    kernels.as_deref()
}

/// Whether the kernels take these tensors, which then lie on one GPU.
fn takes(tensors: &[&Tensor]) -> bool {
    let fits = |t: &&Tensor| {
        let n = t.elem_count();
        t.dtype() == DType::F32 && n > 0 && n <= MOST_VALUES
    };
    let Some(Device::Cuda(device)) = tensors.first().map(|t| t.device()) else {
        return false;
    };
    let here = |t: &&Tensor| matches!(t.device(), Device::Cuda(d) if d.id() == device.id());
    tensors.iter().all(fits) && tensors.iter().all(here) && kernels(device).is_some()
}

/// How many values come out of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// One for each of `a`.
    Values,
    /// This many partial sums.
    Sums(usize),
}

/// A kernel with its numbers.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    function: &'static str,
    output: Output,
    numbers: [f32; 4],
}

impl Kernel {
    const fn new(function: &'static str) -> Self {
        Self {
            function,
            output: Output::Values,
            numbers: [0.0; 4],
        }
    }

    const fn with_numbers(mut self, numbers: [f32; 4]) -> Self {
        self.numbers = numbers;
        self
    }

    /// A kernel that adds up values.
    fn sum(function: &'static str, values: usize) -> Self {
        Self {
            output: Output::Sums(values.min(PARTIAL_SUMS)),
            ..Self::new(function)
        }
    }

    /// Runs the kernel on tensors that [`takes`] accepted: `a` and `b` of one length, `c` of any.
    fn run(self, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
        let (a, b, c) = (a.contiguous()?, b.contiguous()?, c.contiguous()?);
        a.apply_op3_no_bwd(&b, &c, &self)
    }

    #[allow(
        unsafe_code,
        reason = "the compiler cannot check what a kernel reads and writes"
    )]
    fn launch(
        self,
        a: (&CudaStorage, &Layout),
        b: (&CudaStorage, &Layout),
        c: (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let device = a.0.device().clone();
        let Some(kernels) = kernels(&device) else {
            bail!("the fused kernels are not loaded")
        };
        let [(a, shape), (b, _), (c, _)] = [view(a)?, view(b)?, view(c)?];
        let (n, m) = match self.output {
            Output::Values => (a.len(), c.len()),
            Output::Sums(m) => (a.len(), m),
        };
        let (out_len, shape) = match self.output {
            Output::Values => (n, shape),
            Output::Sums(m) => (m, Shape::from(m)),
        };
        if n == 0 || m == 0 || n > MOST_VALUES || m > MOST_VALUES || b.len() != n {
            bail!(
                "{}: {n}, {} and {m} values do not fit",
                self.function,
                b.len()
            )
        }
        let function = device.get_or_load_custom_func(self.function, MODULE, kernels)?;
        let blocks = (out_len as u32).div_ceil(THREADS).min(MOST_BLOCKS);
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (count, columns) = (n as u32, m as u32);
        // SAFETY: the memory is as long as the kernel's output, and the kernel writes all of it before anyone reads it.
        let out = unsafe { device.alloc::<f32>(out_len)? };
        let [p, q, r, s] = self.numbers;
        let mut builder = function.builder();
        builder.arg(&a).arg(&b).arg(&c).arg(&out);
        builder.arg(&count).arg(&columns);
        builder.arg(&p).arg(&q).arg(&r).arg(&s);
        // SAFETY: the arguments are those that every kernel of `fused.cu` declares, in number, order and type. Kernels read
        // `a` and `b` below `n`, which is the length of both, and `c` below `m`: its length, or nothing of it where sums are
        // made. They write `out` below `out_len`. The stream keeps the four alive until the kernel has ended.
        unsafe { builder.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, device), shape))
    }
}

type View<'a> = candle_core::cuda_backend::cudarc::driver::CudaView<'a, f32>;

/// The values of a contiguous tensor with its shape.
fn view<'a>((storage, layout): (&'a CudaStorage, &Layout)) -> Result<(View<'a>, Shape)> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        bail!("the kernels need contiguous tensors, found {layout:?}")
    };
    let slice = storage.as_cuda_slice::<f32>()?;
    Ok((slice.slice(from..to), layout.shape().clone()))
}

fn not_on_cpu<T>() -> Result<T> {
    bail!("the fused kernels run on NVIDIA GPUs")
}

impl CustomOp3 for Kernel {
    fn name(&self) -> &'static str {
        self.function
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_on_cpu()
    }

    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.launch((s1, l1), (s2, l2), (s3, l3))
    }
}

/// The operations with gradients.
#[derive(Debug, Clone, Copy)]
enum Op {
    CrossEntropy,
    Divergence { factor: f32 },
    BiasRelu,
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy => "binary-cross-entropy",
            Self::Divergence { .. } => "kl-divergence",
            Self::BiasRelu => "bias-relu",
        }
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_on_cpu()
    }

    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (a, b) = ((s1, l1), (s2, l2));
        let n = l1.shape().elem_count();
        match *self {
            Self::CrossEntropy => Kernel::sum("cross_entropy", n).launch(a, b, a),
            Self::Divergence { factor } => Kernel::sum("divergence", n)
                .with_numbers([factor, 0.0, 0.0, 0.0])
                .launch(a, b, a),
            Self::BiasRelu => Kernel::new("bias_relu").launch(a, a, b),
        }
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match *self {
            Self::CrossEntropy => {
                let kernel = Kernel::new("cross_entropy_gradient");
                Ok((Some(kernel.run(a, b, gradient)?), None))
            }
            Self::Divergence { factor } => {
                let mean = Kernel::new("divergence_gradient_mean");
                let log_var = Kernel::new("divergence_gradient_log_var");
                let log_var = log_var.with_numbers([factor, 0.0, 0.0, 0.0]);
                let mean = mean.run(a, b, gradient)?;
                Ok((Some(mean), Some(log_var.run(a, b, gradient)?)))
            }
            Self::BiasRelu => {
                let dx = Kernel::new("relu_gradient").run(gradient, output, output)?;
                let channels = b.elem_count();
                let db = dx.reshape(((), channels))?.sum(0)?;
                Ok((Some(dx), Some(db)))
            }
        }
    }
}

/// The binary cross-entropy of logits and targets of one shape, summed over everything.
pub(super) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Option<Tensor>> {
    if !takes(&[logits, targets]) {
        return Ok(None);
    }
    let targets = targets.detach().contiguous()?;
    let sums = logits.contiguous()?.apply_op2(&targets, Op::CrossEntropy)?;
    sums.sum_all().map(Some)
}

/// `−½ Σ (1 + k·s − μ² − e^(k·s))` over everything.
pub(super) fn divergence(mean: &Tensor, log_var: &Tensor, factor: f64) -> Result<Option<Tensor>> {
    if !takes(&[mean, log_var]) {
        return Ok(None);
    }
    let factor = factor as f32;
    let op = Op::Divergence { factor };
    let sums = mean.contiguous()?.apply_op2(&log_var.contiguous()?, op)?;
    sums.sum_all().map(Some)
}

/// `max(x + bias, 0)` with a bias for each place of the last axis.
pub(super) fn bias_relu(x: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    let fits = bias.rank() == 1 && x.dims().last() == bias.dims().first();
    if !fits || !takes(&[x, bias]) {
        return Ok(None);
    }
    let (x, bias) = (x.contiguous()?, bias.contiguous()?);
    x.apply_op2(&bias, Op::BiasRelu).map(Some)
}

/// The numbers of a step of Adam.
#[cfg(feature = "train")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamNumbers {
    pub(crate) rate: f64,
    pub(crate) root_scale: f64,
    pub(crate) keep: [f64; 2],
    pub(crate) epsilon: f64,
    pub(crate) into_gradient: f64,
    pub(crate) decoupled: f64,
}

/// The weight and its two moments after a step of Adam.
#[cfg(feature = "train")]
pub(crate) fn adam(
    weight: &Tensor,
    gradient: &Tensor,
    moments: [&Tensor; 2],
    numbers: AdamNumbers,
) -> Result<Option<[Tensor; 3]>> {
    let tensors = [weight, gradient, moments[0], moments[1]];
    if !takes(&tensors) || tensors.iter().any(|t| t.dims() != weight.dims()) {
        return Ok(None);
    }
    let moment = |which: usize| {
        let power = which as f32 + 1.0;
        let numbers = [
            numbers.keep[which] as f32,
            numbers.into_gradient as f32,
            power,
            0.0,
        ];
        let kernel = Kernel::new("adam_moment").with_numbers(numbers);
        kernel.run(moments[which], gradient, weight)
    };
    let (m, v) = (moment(0)?, moment(1)?);
    let kernel = Kernel::new("adam_weight").with_numbers([
        numbers.rate as f32,
        numbers.root_scale as f32,
        numbers.epsilon as f32,
        numbers.decoupled as f32,
    ]);
    Ok(Some([kernel.run(weight, &m, &v)?, m, v]))
}

#[cfg(test)]
mod tests;

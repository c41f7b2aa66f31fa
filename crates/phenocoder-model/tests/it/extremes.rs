//! What kernels make of numbers that are none, of batches without samples, and of images of one pixel.

use candle_core::{DType, Device, Tensor, Var};
use phenocoder_model::Result;
use phenocoder_model::kernel::{
    Activation, BatchNormConfig, ConvConfig, ConvTransposeConfig, Padding, PoolConfig, Reduction,
    RunningStatistics, average_pool2d, batch_norm, batch_norm_train, binary_cross_entropy,
    conv_transpose1d, conv_transpose2d, conv_transpose2d_with, conv1d, conv2d, conv2d_with, dense,
    global_average_pool, kl_divergence, max_pool2d, pad_circular2d, resize_nearest2d,
    sample_normal, squared_error, upsample_nearest2d,
};

use crate::support::flat;

fn full(shape: &[usize], value: f32) -> Tensor {
    Tensor::full(value, shape, &Device::Cpu).unwrap()
}

type Kernel = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

/// Kernels of images `[n, y, x, 3]`.
fn of_images() -> Vec<(&'static str, Kernel)> {
    let relu = Activation::Relu;
    let kernel = full(&[3, 3, 3, 3], 0.5);
    let vector = full(&[3], 1.0);
    let running = RunningStatistics::new(vector.clone(), vector.clone());
    let torch = Padding::Symmetric(1);
    let settings = ConvConfig::new().with_padding(torch).with_activation(relu);
    let transposed = ConvTransposeConfig::new()
        .with_cropping(torch)
        .with_activation(relu);
    let norm = BatchNormConfig::new().with_activation(relu);
    let pooling = PoolConfig::new(3).with_stride(2).with_padding(torch);
    let (k1, v1, r1) = (kernel.clone(), vector.clone(), running.clone());
    let (k2, v2, k3, k4) = (kernel.clone(), vector.clone(), kernel.clone(), kernel);
    let v3 = vector.clone();
    vec![
        ("conv2d", Box::new(move |x| conv2d(x, &k1, &v1, 2, relu))),
        (
            "conv_transpose2d",
            Box::new(move |x| conv_transpose2d(x, &k2, &v2, 2, relu)),
        ),
        (
            "conv2d_with",
            Box::new(move |x| conv2d_with(x, &k3, None, &settings)),
        ),
        (
            "conv_transpose2d_with",
            Box::new(move |x| conv_transpose2d_with(x, &k4, None, &transposed)),
        ),
        (
            "batch_norm",
            Box::new(move |x| batch_norm(x, &vector, &vector, &running, &norm)),
        ),
        (
            "batch_norm_train",
            Box::new(move |x| Ok(batch_norm_train(x, &v3, &v3, &r1, &norm)?.0)),
        ),
        ("max_pool2d", Box::new(move |x| max_pool2d(x, &pooling))),
        (
            "average_pool2d",
            Box::new(move |x| average_pool2d(x, &pooling)),
        ),
        ("global_average_pool", Box::new(global_average_pool)),
        ("upsample_nearest2d", Box::new(|x| upsample_nearest2d(x, 2))),
        (
            "resize_nearest2d",
            Box::new(|x| resize_nearest2d(x, [3, 5])),
        ),
        ("pad_circular2d", Box::new(|x| pad_circular2d(x, 1))),
    ]
}

/// Kernels of rows `[n, 3]`.
fn of_rows() -> Vec<(&'static str, Kernel)> {
    let relu = Activation::Relu;
    vec![
        (
            "dense",
            Box::new(move |x| dense(x, &full(&[3, 5], 0.5), &full(&[5], 0.5), relu)),
        ),
        (
            "conv1d",
            Box::new(move |x| {
                let config = ConvConfig::new().with_activation(relu);
                conv1d(&x.unsqueeze(2)?, &full(&[3, 1, 2], 0.5), None, &config)
            }),
        ),
        (
            "conv_transpose1d",
            Box::new(move |x| {
                let config = ConvTransposeConfig::new().with_activation(relu);
                conv_transpose1d(&x.unsqueeze(2)?, &full(&[3, 2, 1], 0.5), None, &config)
            }),
        ),
        (
            "sample of the mean",
            Box::new(|x| sample_normal(x, &x.zeros_like()?, x)),
        ),
        (
            "sample of the variance",
            Box::new(|x| sample_normal(&x.zeros_like()?, x, &x.ones_like()?)),
        ),
    ]
}

fn losses() -> Vec<(&'static str, Kernel)> {
    vec![
        (
            "cross-entropy",
            Box::new(|x| binary_cross_entropy(x, &full(x.dims(), 0.5))),
        ),
        (
            "squared error",
            Box::new(|x| squared_error(x, &full(x.dims(), 0.5), Reduction::Mean)),
        ),
        (
            "divergence of the mean",
            Box::new(|x| kl_divergence(x, &x.zeros_like()?, 1.0)),
        ),
        (
            "divergence of the variance",
            Box::new(|x| kl_divergence(&x.zeros_like()?, x, 1.0)),
        ),
    ]
}

#[test]
fn what_is_no_number_or_infinite_is_never_hidden() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![-1.0_f32; 2 * 4 * 4 * 3];
        values[17] = bad;
        let image = Tensor::from_vec(values, (2, 4, 4, 3), &Device::Cpu).unwrap();
        let rows = Tensor::from_vec(
            vec![-1.0, bad, -1.0, -1.0, -1.0, -1.0],
            (2, 3),
            &Device::Cpu,
        )
        .unwrap();
        let of_images = of_images().into_iter().map(|kernel| (kernel, &image));
        let of_rows = of_rows()
            .into_iter()
            .chain(losses())
            .map(|kernel| (kernel, &rows));
        for ((name, kernel), x) in of_images.chain(of_rows) {
            let y = flat(&kernel(x).unwrap());
            let shown = |v: &f32| v.is_nan() || (bad.is_infinite() && v.is_infinite());
            assert!(y.iter().any(shown), "{name} hides {bad}: {y:?}");
        }
    }
}

#[test]
fn the_gradient_of_what_is_no_number_is_none() {
    for (name, kernel) in of_rows().into_iter().chain(losses()) {
        let x = Var::from_tensor(&full(&[2, 3], f32::NAN)).unwrap();
        let store = kernel(&x)
            .unwrap()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let dx = flat(store.get(&x).unwrap());
        assert!(dx.iter().all(|v| v.is_nan()), "{name}: {dx:?}");
    }
}

#[test]
fn an_empty_batch_gives_an_empty_result_and_no_gradient() {
    let zeros = |shape: &[usize]| Var::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for (name, kernel) in of_images() {
        let x = zeros(&[0, 4, 4, 3]);
        let y = kernel(&x).unwrap();
        assert_eq!(y.dims()[0], 0, "{name}");
        let store = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(store.get(&x).unwrap().dims(), [0, 4, 4, 3], "{name}");
    }
    for (name, kernel) in of_rows() {
        assert_eq!(kernel(&zeros(&[0, 3])).unwrap().elem_count(), 0, "{name}");
    }
    for (name, kernel) in losses() {
        // A mean over no samples is no number.
        assert!(kernel(&zeros(&[0, 3])).is_err(), "{name}");
    }
}

#[test]
fn images_of_one_pixel_go_through_every_kernel() {
    for (name, kernel) in of_images() {
        let x = Var::from_tensor(&full(&[2, 1, 1, 3], 2.0)).unwrap();
        let y = kernel(&x).unwrap();
        assert!(flat(&y).iter().all(|v| v.is_finite()), "{name}");
        let store = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(store.get(&x).unwrap().dims(), [2, 1, 1, 3], "{name}");
    }
}

#[test]
fn sizes_that_cannot_be_addressed_are_refused() {
    let huge = usize::MAX / 16;
    let x = full(&[1, 2, 2, 3], 1.0);
    let kernel = full(&[3, 3, 3, 3], 1.0);
    let padded = ConvConfig::new().with_padding(Padding::Symmetric(huge));
    assert!(conv2d_with(&x, &kernel, None, &padded).is_err());
    let strided = ConvTransposeConfig::new().with_stride(huge);
    assert!(conv_transpose2d_with(&x, &kernel, None, &strided).is_err());
    let cropped = strided.with_cropping(Padding::Valid);
    assert!(conv_transpose2d_with(&x, &kernel, None, &cropped).is_err());
    assert!(conv_transpose2d(&x, &kernel, &full(&[3], 0.0), huge, Activation::Linear).is_err());
    assert!(upsample_nearest2d(&x, huge).is_err() && resize_nearest2d(&x, [huge, huge]).is_err());
    assert!(pad_circular2d(&x, 3).is_err());
    assert!(max_pool2d(&x, &PoolConfig::new(huge)).is_err());
    let window = PoolConfig::new(1)
        .with_window([usize::MAX, 1])
        .with_padding(Padding::Same);
    let error = max_pool2d(&x, &window).unwrap_err();
    let message = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        message.starts_with("max_pool2d: ") && message.contains("padding: Same"),
        "{message}"
    );
}

#[test]
fn a_kernel_larger_than_the_padded_image_and_other_types_are_refused_with_their_shapes() {
    let text = |result: Result<Tensor>| {
        let error = result.unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    let x = full(&[1, 2, 2, 3], 1.0);
    let kernel = full(&[3, 3, 3, 4], 1.0);
    let valid = ConvConfig::new().with_padding(Padding::Valid);
    // A backtrace may follow.
    assert!(text(conv2d_with(&x, &kernel, None, &valid)).starts_with(
        "conv2d: input F32 [1, 2, 2, 3], kernel F32 [3, 3, 3, 4] and no bias do not fit with ConvConfig { \
         stride: 1, padding: Valid, "
    ));
    let signal = conv1d(&full(&[1, 2, 3], 1.0), &full(&[3, 3, 4], 1.0), None, &valid);
    assert!(
        text(signal).starts_with("conv1d: input F32 [1, 2, 3], kernel F32 [3, 3, 4] and no bias")
    );
    let doubles = kernel.to_dtype(DType::F64).unwrap();
    assert!(
        text(conv2d_with(&x, &doubles, None, &ConvConfig::new()))
            .contains("kernel F64 [3, 3, 3, 4]")
    );
    let empty = full(&[1, 0, 2, 3], 1.0);
    assert!(text(conv2d_with(&empty, &kernel, None, &ConvConfig::new())).contains("[1, 0, 2, 3]"));
    let no_channels = conv2d_with(
        &full(&[1, 2, 2, 0], 1.0),
        &full(&[3, 3, 0, 4], 1.0),
        None,
        &ConvConfig::new(),
    );
    assert!(text(no_channels).contains("[1, 2, 2, 0]"));
}

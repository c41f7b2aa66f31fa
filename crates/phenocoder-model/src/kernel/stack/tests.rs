use candle_core::{DType, Device, Var};
use phenocoder_core::Seed;

use super::*;

fn random(shape: &[usize], name: &str, scale: f64) -> Tensor {
    let mut stream = Seed::new(5).stream(name, 0);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| (stream.normal() * scale) as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (f - e).abs() <= 2e-5 * scale,
            "{what}[{i}]: {f} instead of {e}"
        );
    }
}

struct Case {
    stack: ConvStack,
    x: Var,
    parameters: Vec<(Var, Var)>,
}

impl Case {
    fn new(n: usize, input: [usize; 3], layers: &[ConvLayer]) -> Self {
        let stack = ConvStack::new(input, layers).unwrap();
        let [h, w, c] = input;
        let x = Var::from_tensor(&random(&[n, h, w, c], "x", 1.0)).unwrap();
        let mut channels = c;
        let mut parameters = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let [kh, kw] = layer.kernel;
            let shape = match layer.transposed {
                false => [kh, kw, channels, layer.channels],
                true => [kh, kw, layer.channels, channels],
            };
            let kernel = random(&shape, &format!("kernel {i}"), 0.3);
            let bias = random(&[layer.channels], &format!("bias {i}"), 0.1);
            parameters.push((
                Var::from_tensor(&kernel).unwrap(),
                Var::from_tensor(&bias).unwrap(),
            ));
            channels = layer.channels;
        }
        Self {
            stack,
            x,
            parameters,
        }
    }

    fn parameters(&self) -> Vec<(&Tensor, &Tensor)> {
        self.parameters
            .iter()
            .map(|(k, b)| (k.as_tensor(), b.as_tensor()))
            .collect()
    }

    /// A loss with the gradients of the input and of all weights.
    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        let store = loss.backward().unwrap();
        let mut all = vec![store.get(&self.x).unwrap().clone()];
        for (kernel, bias) in &self.parameters {
            all.push(store.get(kernel).unwrap().clone());
            all.push(store.get(bias).unwrap().clone());
        }
        all
    }

    /// The sum of the outputs, each with a weight of its own.
    fn weighted(&self, y: &Tensor) -> Tensor {
        (y * random(y.dims(), "weights", 1.0))
            .unwrap()
            .sum_all()
            .unwrap()
    }
}

/// Encoder-like, decoder-like and odd stacks, larger than a group and than a task.
fn cases() -> Vec<Case> {
    let relu = |layer: ConvLayer| layer.with_activation(Activation::Relu);
    let down = |c| relu(ConvLayer::conv(c).with_stride(2));
    let up = |c| relu(ConvLayer::conv_transpose(c).with_stride(2));
    vec![
        Case::new(37, [16, 16, 4], &[down(8), down(16), down(32)]),
        Case::new(
            37,
            [2, 2, 8],
            &[up(32), up(16), up(8), ConvLayer::conv_transpose(4)],
        ),
        Case::new(
            3,
            [9, 13, 3],
            &[down(5), ConvLayer::conv(7), up(6), relu(ConvLayer::conv(1))],
        ),
        Case::new(
            5,
            [7, 6, 2],
            &[
                ConvLayer::conv(3).with_kernel([5, 2]).with_stride(3),
                up(4).with_kernel([1, 1]),
                up(20).with_kernel([4, 3]).with_stride(3),
                down(33),
            ],
        ),
        Case::new(1, [1, 1, 1], &[up(1)]),
    ]
}

#[test]
fn a_stack_equals_its_layers_one_by_one() {
    for case in cases() {
        let single = case.stack.composed(&case.x, &case.parameters()).unwrap();
        let expected = case.gradients(&case.weighted(&single));
        for keep in [Keep::Gradients, Keep::Nothing] {
            let y = case.stack.apply(&case.x, &case.parameters(), keep).unwrap();
            assert_close("output", &y, &single);
            let found = case.gradients(&case.weighted(&y));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(&format!("gradient {i}"), found, expected);
            }
        }
    }
}

#[test]
fn the_fused_cross_entropy_equals_the_single_one() {
    for case in cases() {
        let logits = case.stack.composed(&case.x, &case.parameters()).unwrap();
        let targets = random(logits.dims(), "targets", 0.2).abs().unwrap();
        let single = binary_cross_entropy(&logits, &targets).unwrap();
        let expected = case.gradients(&(&single * 2.0).unwrap());
        for keep in [Keep::Gradients, Keep::Nothing] {
            let parameters = case.parameters();
            let loss = case
                .stack
                .cross_entropy(&case.x, &parameters, &targets, keep)
                .unwrap();
            assert_close("loss", &loss, &single);
            let found = case.gradients(&(loss * 2.0).unwrap());
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(&format!("gradient {i}"), found, expected);
            }
        }
    }
}

/// A stack of one to four random layers.
fn random_case(seed: u64) -> Case {
    let mut draw = Seed::new(seed).stream("stack", 0);
    let mut up_to = |most: f64| draw.uniform_in(1.0, most + 1.0) as usize;
    let input = [up_to(9.0), up_to(9.0), up_to(6.0)];
    let layers: Vec<ConvLayer> = (0..up_to(4.0))
        .map(|_| {
            let layer = match up_to(2.0) {
                1 => ConvLayer::conv(up_to(20.0)).with_stride(up_to(3.0)),
                _ => ConvLayer::conv_transpose(up_to(20.0)).with_stride(up_to(2.0)),
            };
            let layer = layer.with_kernel([up_to(4.0), up_to(4.0)]);
            match up_to(2.0) {
                1 => layer.with_activation(Activation::Relu),
                _ => layer,
            }
        })
        .collect();
    Case::new(up_to(20.0), input, &layers)
}

#[test]
fn random_stacks_equal_candle_in_double_precision() {
    for seed in 0..60 {
        let case = random_case(seed);
        let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let parameters: Vec<_> = case
            .parameters
            .iter()
            .map(|(k, b)| (double(k), double(b)))
            .collect();
        let parameters: Vec<_> = parameters.iter().map(|(k, b)| (k, b)).collect();
        let x = double(&case.x);
        let exact = case.stack.apply(&x, &parameters, Keep::Nothing).unwrap();
        let weights = double(&random(exact.dims(), "weights", 1.0));
        let single = |t: Tensor| t.to_dtype(DType::F32).unwrap();
        let sum = (&exact * weights).unwrap().sum_all().unwrap();
        let y = case
            .stack
            .apply(&case.x, &case.parameters(), Keep::Gradients)
            .unwrap();
        assert_close(&format!("stack {seed}"), &y, &single(exact.clone()));
        let pairs = case
            .gradients(&case.weighted(&y))
            .into_iter()
            .zip(case.gradients(&single(sum)));
        for (i, (found, expected)) in pairs.enumerate() {
            assert_close(&format!("stack {seed}, gradient {i}"), &found, &expected);
        }
        let targets = random(exact.dims(), "targets", 0.2).abs().unwrap();
        let exact = case
            .stack
            .cross_entropy(&x, &parameters, &double(&targets), Keep::Nothing);
        let exact = single(exact.unwrap());
        let loss = case
            .stack
            .cross_entropy(&case.x, &case.parameters(), &targets, Keep::Gradients);
        let loss = loss.unwrap();
        assert_close(&format!("stack {seed}, loss"), &loss, &exact);
        let pairs = case
            .gradients(&loss)
            .into_iter()
            .zip(case.gradients(&exact));
        for (i, (found, expected)) in pairs.enumerate() {
            assert_close(
                &format!("stack {seed}, gradient {i} of the loss"),
                &found,
                &expected,
            );
        }
    }
}

#[test]
fn what_is_no_number_goes_as_far_back_as_through_single_layers() {
    let relu = |layer: ConvLayer| layer.with_activation(Activation::Relu);
    let layers = [
        relu(ConvLayer::conv(8)),
        relu(ConvLayer::conv(3)),
        ConvLayer::conv(3),
    ];
    let case = Case::new(2, [4, 4, 3], &layers);
    let mut bad = values(&case.x);
    bad[20] = f32::NAN;
    let bad = Tensor::from_vec(bad, (2, 4, 4, 3), &Device::Cpu).unwrap();
    case.x.set(&bad).unwrap();
    let single = case.stack.composed(&case.x, &case.parameters()).unwrap();
    let targets = single.zeros_like().unwrap();
    let expected = [
        case.weighted(&single),
        binary_cross_entropy(&single, &targets).unwrap(),
    ];
    let y = case
        .stack
        .apply(&case.x, &case.parameters(), Keep::Gradients);
    let loss = case
        .stack
        .cross_entropy(&case.x, &case.parameters(), &targets, Keep::Gradients);
    let found = [case.weighted(&y.unwrap()), loss.unwrap()];
    let none = |t: &Tensor| values(t).iter().map(|v| v.is_nan()).collect::<Vec<_>>();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((none(found), none(expected)), (vec![true], vec![true]));
        let (found, expected) = (case.gradients(found), case.gradients(expected));
        assert!(
            expected
                .iter()
                .any(|gradient| none(gradient).contains(&true))
        );
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(none(found), none(expected), "gradient {i}");
        }
    }
}

#[test]
fn an_input_without_gradient_gets_none_and_memory_is_used_again_or_given_back() {
    let case = &cases()[0];
    let x = case.x.as_detached_tensor();
    let mut first = None;
    let mut kept = Vec::new();
    let plan = &case.stack.plan;
    for round in 0..4 {
        if round == 3 {
            case.stack.clone().release();
            let lens = [plan.weights.len(), plan.keeping.len(), plan.passing.len()];
            assert_eq!(lens, [0; 3]);
        }
        let y = case
            .stack
            .apply(&x, &case.parameters(), Keep::Gradients)
            .unwrap();
        let store = case.weighted(&y).backward().unwrap();
        assert!(store.get(&x).is_none());
        let gradient = values(store.get(&case.parameters[0].0).unwrap());
        assert_eq!(first.get_or_insert_with(|| gradient.clone()), &gradient);
        drop((y, store));
        kept.push((plan.weights.len(), plan.keeping.len()));
    }
    let tasks = x.dims()[0].div_ceil(plan.task);
    assert_eq!(kept, [(1, tasks); 4]);
}

#[test]
fn threads_do_not_change_the_bits() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut bits = Vec::new();
            for case in cases() {
                let parameters = case.parameters();
                let y = case.stack.apply(&case.x, &parameters, Keep::Gradients);
                let y = y.unwrap();
                let targets = y.zeros_like().unwrap();
                let loss =
                    case.stack
                        .cross_entropy(&case.x, &parameters, &targets, Keep::Gradients);
                for tensor in case
                    .gradients(&case.weighted(&y))
                    .into_iter()
                    .chain(case.gradients(&loss.unwrap()))
                {
                    bits.extend(values(&tensor).iter().map(|v| v.to_bits()));
                }
            }
            bits
        })
    };
    let one = run(1);
    assert!([2, 3, 4].map(run).iter().all(|bits| *bits == one));
}

#[test]
fn what_does_not_fit_is_refused_with_all_shapes() {
    assert!(ConvStack::new([4, 4, 1], &[]).is_err());
    assert!(ConvStack::new([4, 0, 1], &[ConvLayer::conv(1)]).is_err());
    assert!(ConvStack::new([4, 4, 1], &[ConvLayer::conv(1).with_stride(0)]).is_err());
    let huge = ConvLayer::conv_transpose(usize::MAX / 2).with_stride(usize::MAX / 2);
    let error = ConvStack::new([4, 4, 1], &[huge]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`layers` asks for more values than memory can hold"
    );
    let case = &cases()[0];
    let x = random(&[2, 16, 15, 4], "x", 1.0);
    let error = case.stack.apply(&x, &case.parameters(), Keep::Nothing);
    let error = error.unwrap_err();
    let message = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        message.contains("[16, 16, 4]") && message.contains("[2, 16, 15, 4]"),
        "{message}"
    );
    let few = &case.parameters()[..2];
    assert!(case.stack.apply(&case.x, few, Keep::Nothing).is_err());
}

use super::*;
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let values: Vec<f32> =
        StandardNormal.sample_iter(Seed::new(seed).rng()).take(shape.iter().product()).collect();
    let data = burn::tensor::TensorData::new::<f32, _>(values, shape);
    Tensor::from_data(data, &Device::flex())
}

fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.clone().into_data().try_to_vec().unwrap()
}

fn layer(geometry: Geometry, direction: Direction, channels: [usize; 2]) -> Conv {
    let seed = Seed::new(7);
    let init = Init::GlorotNormal;
    let mut conv = Conv::new(geometry, direction, channels, init, seed, &Device::flex()).unwrap();
    conv.bias = Some(Param::from_tensor(random([channels[1]], 3)));
    conv
}

fn bias_of(conv: &Conv) -> Tensor<1> {
    conv.bias.as_ref().unwrap().val()
}

/// Computes a "same" convolution by its definition, one pixel at a time.
fn definition(conv: &Conv, x: &Tensor<4>) -> Vec<f64> {
    let Geometry { large, small, kernel, stride, .. } = conv.geometry;
    let [batch, _, _, inputs] = x.dims();
    let (weight, bias) = (values(&conv.weight.val()), values(&bias_of(conv)));
    let x = values(x);
    // TensorFlow's rule, https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
    let before = [0, 1].map(|i| {
        let total = match large[i] % stride {
            0 => kernel.saturating_sub(stride),
            rest => kernel.saturating_sub(rest),
        };
        (total / 2) as isize
    });
    let mut y = Vec::new();
    for n in 0..batch {
        for i in 0..small[0] {
            for j in 0..small[1] {
                for (o, bias) in bias.iter().enumerate() {
                    let mut sum = f64::from(*bias);
                    for c in 0..inputs {
                        for (k, l) in (0..kernel).flat_map(|k| (0..kernel).map(move |l| (k, l))) {
                            let row = (i * stride + k) as isize - before[0];
                            let column = (j * stride + l) as isize - before[1];
                            let (Ok(row), Ok(column)) =
                                (usize::try_from(row), usize::try_from(column))
                            else {
                                continue;
                            };
                            if row < large[0] && column < large[1] {
                                let at = ((n * large[0] + row) * large[1] + column) * inputs + c;
                                let w = ((o * inputs + c) * kernel + k) * kernel + l;
                                sum += f64::from(x[at]) * f64::from(weight[w]);
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn convolutions_are_those_of_the_definition_and_their_transposes_adjoint(
        large in [1usize..12, 1usize..12],
        kernel in 1usize..6,
        stride in 1usize..4,
        channels in [1usize..4, 1usize..4],
        batch in 1usize..11,
    ) {
        let geometry = Geometry::same(large, kernel, stride);
        let down = layer(geometry, Direction::Down, channels);
        let x = random([batch, large[0], large[1], channels[0]], 1);
        let y = down.forward(x.clone(), false);
        let [height, width] = geometry.small;
        prop_assert_eq!(y.dims(), [batch, height, width, channels[1]]);
        for (found, expected) in values(&y).into_iter().zip(definition(&down, &x)) {
            prop_assert!((f64::from(found) - expected).abs() < 1e-5 * (1.0 + expected.abs()));
        }

        // <down(x), z> = <x, up(z)> without the biases.
        let mut up = layer(geometry, Direction::Up, [channels[1], channels[0]]);
        up.weight = down.weight.clone();
        let z = random([batch, height, width, channels[1]], 2);
        let without_bias = |conv: &Conv, x: &Tensor<4>| {
            let bias = Tensor::zeros(bias_of(conv).dims(), &x.device());
            Conv { bias: Some(Param::from_tensor(bias)), ..conv.clone() }.forward(x.clone(), false)
        };
        let back = without_bias(&up, &z);
        prop_assert_eq!(back.dims(), x.dims());
        let product = |a: &Tensor<4>, b: &Tensor<4>| {
            let pairs = values(a).into_iter().zip(values(b));
            pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        let (left, right) = (product(&without_bias(&down, &x), &z), product(&x, &back));
        let size = product(&z, &z).sqrt() * product(&x, &x).sqrt();
        prop_assert!((left - right).abs() < 1e-5 * size, "{} is not {}", left, right);
    }
}

/// Results are bit-identical for any number of threads.
#[test]
fn threads_do_not_change_the_result() {
    let run = |threads: usize, direction: Direction, channels: [usize; 2]| {
        let geometry = Geometry::same([9, 7], 3, 2);
        let conv = layer(geometry, direction, channels).train();
        let [height, width, channels] = conv.input_shape();
        let x = random([37, height, width, channels], 1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let x = Tensor::from_inner(x).require_grad();
            let y = conv.forward(x.clone(), true);
            let gradients = y.clone().square().sum().backward();
            let dx = x.grad(&gradients).unwrap();
            let dw = conv.weight.val().grad(&gradients).unwrap();
            let db = bias_of(&conv).grad(&gradients).unwrap();
            [values(&y.without_autodiff()), values(&dx), values(&dw), values(&db)]
        })
    };
    for direction in [Direction::Down, Direction::Up] {
        for channels in [[3, 4], [6, 7]] {
            let one = run(1, direction, channels);
            assert_eq!(one, run(2, direction, channels));
            assert_eq!(one, run(5, direction, channels));
        }
    }
}

/// A gradient does not depend on which others are requested.
#[test]
fn gradients_do_not_depend_on_each_other() {
    for direction in [Direction::Down, Direction::Up] {
        let conv = layer(Geometry::same([9, 7], 3, 2), direction, [6, 7]).train();
        let [height, width, channels] = conv.input_shape();
        let x = Tensor::from_inner(random([5, height, width, channels], 1));
        let gradients = |conv: &Conv, x: &Tensor<4>| {
            let loss = conv.forward(x.clone(), true).square().sum();
            let gradients = loss.backward();
            let dx = x.grad(&gradients).map(|dx| values(&dx));
            let dw = conv.weight.val().grad(&gradients).map(|dw| values(&dw));
            let db = bias_of(conv).grad(&gradients).map(|db| values(&db));
            (dx, dw, db)
        };
        let tracked = x.clone().require_grad();
        let (dx, dw, db) = gradients(&conv, &tracked);
        assert!(dx.is_some() && dw.is_some() && db.is_some());
        assert_eq!(gradients(&conv, &x), (None, dw, db));
        assert_eq!(gradients(&conv.clone().no_grad(), &tracked), (dx, None, None));
    }
}

/// ReLU does not hide NaN.
#[test]
fn relu_propagates_nan() {
    let conv = layer(Geometry::same([2, 2], 1, 1), Direction::Down, [1, 1]);
    let mut x = [[[[1.0f32]; 2]; 2]];
    x[0][1][0][0] = f32::NAN;
    let y = values(&conv.forward(Tensor::from_data(x, &Device::flex()), true));
    assert!(y[2].is_nan() && [y[0], y[1], y[3]].iter().all(|y| y.is_finite()));
}

#[test]
fn an_empty_batch_has_an_empty_output() {
    for direction in [Direction::Down, Direction::Up] {
        let conv = layer(Geometry::same([5, 4], 3, 2), direction, [2, 3]);
        let [height, width, channels] = conv.input_shape();
        let x = Tensor::zeros([0, height, width, channels], &Device::flex());
        let [height, width, channels] = conv.output_shape();
        assert_eq!(conv.forward(x, true).dims(), [0, height, width, channels]);
    }
}

#[test]
fn a_layer_without_pixels_inputs_outputs_or_kernel_is_refused() {
    for init in [Init::GlorotUniform, Init::HeUniform, Init::HeNormal] {
        for (large, kernel, channels) in
            [([0, 4], 3, [1, 1]), ([4, 4], 0, [1, 1]), ([4, 4], 3, [0, 1]), ([4, 4], 3, [1, 0])]
        {
            let geometry = Geometry::same(large, kernel, 2);
            for direction in [Direction::Down, Direction::Up] {
                let (seed, device) = (Seed::new(0), Device::flex());
                let conv = Conv::new(geometry, direction, channels, init, seed, &device);
                assert!(conv.is_err(), "{init:?} {geometry:?} {channels:?}");
            }
        }
    }
}

/// An empty batch yields a zero gradient, not a missing one.
#[test]
fn the_gradient_of_no_images_is_zero() {
    for direction in [Direction::Down, Direction::Up] {
        let conv = layer(Geometry::same([5, 4], 3, 2), direction, [2, 3]).train();
        let [height, width, channels] = conv.input_shape();
        let device = Device::flex().autodiff();
        let y = conv.forward(Tensor::zeros([0, height, width, channels], &device), true);
        let gradient = conv.weight.val().grad(&y.sum().backward()).unwrap();
        assert!(values(&gradient).iter().all(|&value| value == 0.0));
    }
}

#[test]
#[should_panic(expected = "shape of a convolution's input")]
fn an_input_of_the_wrong_shape_is_refused() {
    let conv = layer(Geometry::same([4, 4], 3, 2), Direction::Down, [1, 1]);
    conv.forward(Tensor::zeros([2, 4, 5, 1], &Device::flex()), false);
}

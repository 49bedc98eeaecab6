//! Networks of convolutional blocks against another implementation; see `fixtures/network.py`.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::decoder::SpatialDecoderConfig;
use burn_vae::encoder::SpatialEncoderConfig;
use burn_vae::nn::{Activation, Block, Init, Network, NetworkConfig, Padding};
use burn_vae::posterior::{BernoulliFamily, CategoricalFamily, Posterior, Temperature};
use burn_vae::{Decoder, Encoder, ModuleConfig, NoiseSource, Phase, Seed};
use serde::Deserialize;

use crate::parameters::filled;

#[derive(Deserialize)]
struct Golden {
    x: Vec<f32>,
    y: Vec<f32>,
    weights: Vec<f32>,
    input_gradient: Vec<f32>,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
}

fn network(input: [usize; 3], blocks: Vec<Block>) -> burn_vae::Result<Network> {
    let config = NetworkConfig { input, blocks, init: Init::default() };
    let text = serde_json::to_string(&config).unwrap();
    let again: NetworkConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again, config);
    again.init(Seed::new(0), &Device::flex())
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1f32, |size, x| size.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-6 * size, "{what} {i}: {found} {expected}");
    }
}

/// The gradients of all parameters, in order.
struct Collect<'a>(&'a Gradients, Vec<f32>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.1.extend(values(param.val().grad(self.0).unwrap()));
    }
}

#[test]
fn values_and_gradients_are_those_of_the_reference() {
    let golden: Golden = serde_json::from_str(include_str!("../fixtures/network.json")).unwrap();
    let blocks = vec![
        Block::down(4, 4),
        Block::RELU,
        Block::down(6, 3),
        Block::Residual(vec![
            Block::GroupNorm { groups: 3, epsilon: 1e-6 },
            Block::Activation(Activation::Silu),
            Block::conv(4, 3),
        ]),
        Block::Residual(vec![Block::GroupNorm { groups: 2, epsilon: 1e-3 }, Block::Attention]),
        Block::up(3, 4),
        Block::Upsample(2),
        Block::conv(2, 3),
    ];
    let network = network([6, 8, 1], blocks).unwrap();
    assert_eq!(network.output_shape(), [8, 8, 2]);
    let network = filled(network, golden.parameters).train();
    let tensor = |values: &[f32], shape: [usize; 4]| {
        let data = TensorData::new::<f32, _>(values.to_vec(), shape);
        Tensor::<4>::from_data(data, &Device::flex().autodiff())
    };
    let x = tensor(&golden.x, [2, 6, 8, 1]).require_grad();
    let y = network.forward(x.clone());
    close(&values(y.clone().inner()), &golden.y, "values");
    let gradients = (y * tensor(&golden.weights, [2, 8, 8, 2])).sum().backward();
    close(&values(x.grad(&gradients).unwrap()), &golden.input_gradient, "gradient of the input");
    let mut found = Collect(&gradients, Vec::new());
    network.visit(&mut found);
    close(&found.1, &golden.gradients, "gradients of the parameters");
}

/// Each position has its own code, at its own place, for every family.
#[test]
fn codes_of_positions_stay_in_their_places() {
    let device = Device::flex();
    let blocks = [Block::down(4, 2)];
    let config = SpatialEncoderConfig::new([4, 6, 1], blocks, 6);
    let noise = |encoder: &dyn Fn() -> burn_vae::noise::NoiseShape, batch| {
        NoiseSource::new(3).draw_for(0, 2, batch, &encoder(), &device)
    };
    macro_rules! check {
        ($family:expr) => {
            let config = config.clone().with_posterior($family);
            let encoder = config.init(Seed::new(0), &device).unwrap();
            assert_eq!(encoder.layout(), [2, 3, 6]);
            assert_eq!(encoder.latent_dim(), 36);
            let x = NoiseSource::new(1).draw(0, [1, 5, 24], &device).squeeze_dim::<2>(0);
            let q = encoder.encode(x.clone(), Phase::Eval);
            assert_eq!(q.dims(), [5, 36]);
            let z = q.rsample(noise(&|| encoder.noise(), 5));
            assert_eq!(z.dims(), [2, 5, 36]);
            // A patch of two by two pixels determines the code of its position alone.
            let mut pixels = values(x);
            for pixel in [2 * 6 + 2, 2 * 6 + 3, 3 * 6 + 2, 3 * 6 + 3] {
                pixels[pixel] -= 5.0;
            }
            let moved = Tensor::from_data(TensorData::new::<f32, _>(pixels, [5, 24]), &device);
            let changes = values(encoder.encode(moved, Phase::Eval).mean() - q.mean());
            let changed = changes.chunks(6).map(|code| code.iter().any(|x| x.abs() > 0.0));
            let changed = changed.enumerate().filter(|(_, changed)| *changed).map(|(i, _)| i);
            assert_eq!(changed.collect::<Vec<_>>(), [4], "{:?}", $family);
        };
    }
    check!(burn_vae::posterior::Diagonal);
    check!(burn_vae::posterior::VectorQuantizedFamily::new(500, 3));
    check!(CategoricalFamily::new(3, Temperature::constant(1.0).unwrap()));
    check!(BernoulliFamily::new(Temperature::constant(1.0).unwrap()));

    // A likelihood with two parameters reads all values of the first one, then those of the second.
    let blocks = [Block::conv(2, 1)];
    let config = SpatialDecoderConfig::new([2, 3, 6], blocks).with_params_per_value(2);
    let decoder = config.init(Seed::new(0), &device).unwrap();
    assert_eq!((decoder.latent_dim(), decoder.output_dim()), (36, 12));
    let z = Tensor::ones([1, 36], &device);
    let y = values(decoder.decode(z));
    assert!(y == [[y[0]; 6], [y[6]; 6]].concat() && y[0] != y[6], "{y:?}");
}

fn symmetric(kernel: usize) -> Block {
    Block::Conv { channels: 1, kernel, stride: 2, padding: Padding::Symmetric, bias: false }
}

/// Symmetric padding by the definition of PyTorch: output pixel `i` is the sum of the weights times the
/// pixels from `stride i - kernel / 2` on. A transposed convolution is the adjoint map.
#[test]
fn symmetric_padding_is_on_all_sides() {
    let device = Device::flex();
    for (size, kernel, stride) in
        [(7usize, 3usize, 2usize), (8, 3, 2), (6, 5, 3), (5, 2, 2), (9, 1, 2)]
    {
        let block =
            Block::Conv { channels: 1, kernel, stride, padding: Padding::Symmetric, bias: false };
        let layer = network([size, 1, 1], vec![block]).unwrap();
        let weights = (0..kernel * kernel).map(|i| 1.0 + i as f32).collect::<Vec<_>>();
        let layer = filled(layer, weights.clone());
        let x = (0..size).map(|i| (i * i % 7) as f32).collect::<Vec<_>>();
        let data = TensorData::new::<f32, _>(x.clone(), [1, size, 1, 1]);
        let y = layer.forward(Tensor::from_data(data, &device));
        let pad = kernel / 2;
        let outputs = (size + 2 * pad - kernel) / stride + 1;
        assert_eq!(layer.output_shape()[0], outputs);
        let expected = (0..outputs).map(|i| {
            let taps = (0..kernel).filter_map(|k| {
                let at = (i * stride + k).checked_sub(pad)?;
                // The image is one pixel wide, which meets one column of the kernel.
                Some(x.get(at)? * weights[k * kernel + pad])
            });
            taps.sum::<f32>()
        });
        let expected = expected.collect::<Vec<_>>();
        assert_eq!(&values(y.narrow(2, 0, 1))[..outputs], expected, "{size} {kernel} {stride}");
    }
    // <down(x), y> = <x, up(y)>
    let up = Block::ConvTranspose {
        channels: 1,
        kernel: 3,
        stride: 2,
        padding: Padding::Symmetric,
        bias: false,
    };
    let weights = |layer| filled(layer, (0..9).map(|i| 1.0 + (i * 5 % 9) as f32).collect());
    let down = weights(network([6, 8, 1], vec![symmetric(3)]).unwrap());
    let up = weights(network([3, 4, 1], vec![up]).unwrap());
    let x = NoiseSource::new(1).draw(0, [6, 8, 1], &device).reshape([1, 6, 8, 1]);
    let y = NoiseSource::new(2).draw(0, [3, 4, 1], &device).reshape([1, 3, 4, 1]);
    let one = (down.forward(x.clone()) * y.clone()).sum().into_scalar::<f32>();
    let two = (x * up.forward(y)).sum().into_scalar::<f32>();
    assert!((one - two).abs() < 1e-3 * one.abs().max(1.0), "{one} {two}");

    // A soft clip is the identity near zero and stays within its limit.
    let clip = network([2, 1, 1], vec![Block::SoftClip(3.0)]).unwrap();
    let x = Tensor::<1>::from_data([0.01f32, 100.0], &device).reshape([1, 2, 1, 1]);
    let y = values(clip.forward(x));
    assert!((y[0] - 0.01).abs() < 1e-6 && (y[1] - 3.0).abs() < 1e-6, "{y:?}");
}

#[test]
fn bad_networks_are_refused() {
    let nested = (0..20).fold(Block::RELU, |block, _| Block::Residual(vec![block]));
    for (blocks, message) in [
        (vec![Block::conv(0, 3)], "blocks[0]: channels is 0"),
        (vec![Block::conv(2, 0)], "blocks[0]: kernel is 0"),
        (vec![Block::conv(2, 1 << 20)], "blocks[0]: kernel is 1048576"),
        (vec![Block::conv(usize::MAX, 3)], "blocks[0]: a layer with weights"),
        (
            vec![Block::Conv {
                channels: 1,
                kernel: 3,
                stride: 0,
                padding: Padding::Same,
                bias: true,
            }],
            "blocks[0]: stride is 0",
        ),
        (vec![Block::Upsample(0)], "blocks[0]: an image of 6 x 8 pixels cannot grow by 0"),
        (vec![Block::Upsample(1 << 40)], "cannot grow by"),
        (vec![Block::conv(6, 3), Block::GroupNorm { groups: 4, epsilon: 1e-6 }], "6 channels"),
        (
            vec![Block::GroupNorm { groups: 1, epsilon: 0.0 }],
            "the epsilon of group normalisation is 0",
        ),
        (vec![Block::Residual(vec![Block::down(1, 3)])], "changes the size from [6, 8] to [3, 4]"),
        (vec![nested], "residual blocks are nested 16 deep"),
        (vec![Block::SoftClip(0.0)], "the limit is 0"),
        (
            vec![Block::Conv {
                channels: 1,
                kernel: 3,
                stride: 1 << 40,
                padding: Padding::Same,
                bias: true,
            }],
            "stride is 1099511627776",
        ),
        (
            vec![Block::ConvTranspose {
                channels: 1,
                kernel: 4,
                stride: 2,
                padding: Padding::Symmetric,
                bias: true,
            }],
            "its kernel must be odd",
        ),
        (vec![Block::Upsample(64), Block::Upsample(64), Block::Upsample(64)], "cannot grow by 64"),
    ] {
        let error = network([6, 8, 1], blocks).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for input in [[1 << 40, 1 << 40, 1], [1, 1, 1 << 40]] {
        let error = network(input, vec![Block::Upsample(2)]).unwrap_err().to_string();
        assert!(error.contains("is too large"), "{error}");
    }
    let error = network([0, 8, 1], vec![]).unwrap_err().to_string();
    assert!(error.contains("input height is 0"), "{error}");
    let config = SpatialDecoderConfig::new([2, 2, 1], [Block::conv(3, 1)]);
    let error = config.with_params_per_value(2).init(Seed::new(0), &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("3 channels"), "{error}");
}

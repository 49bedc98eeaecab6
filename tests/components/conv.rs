//! Convolutional models: sizes, counts, order of values, batch normalisation.

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Examples};
use burn_vae::eval::evaluate;
use burn_vae::nn::{Activation, Conv, ConvConfig, Direction, Geometry, Init, Normalization};
use burn_vae::prior::VampPriorConfig;
use burn_vae::summary::Describe as _;
use burn_vae::summary::Summary;
use burn_vae::train::{Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    ConvVae, ConvVaeConfig, Decoder, Elbo, Encoder, ErrorKind, Inputs, ModuleConfig, NoiseSource,
    Objective, Phase, Prior, Seed, Vae, saved,
};

fn vae(network: ConvConfig) -> ConvVae {
    ConvVaeConfig::conv(network).init(Seed::new(0), &Device::flex()).unwrap()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn random([rows, columns]: [usize; 2], seed: u64) -> Tensor<2> {
    NoiseSource::new(seed).draw(0, [1, rows, columns], &Device::flex()).squeeze_dim(0)
}

fn config(epochs: usize, batch_size: usize) -> TrainConfig {
    TrainConfig { epochs, batch_size, ..TrainConfig::default() }
}

#[derive(serde::Deserialize)]
struct Golden {
    kind: String,
    kernel: usize,
    stride: usize,
    large: [usize; 2],
    x: Vec<f32>,
    x_shape: [usize; 4],
    w: Vec<f32>,
    channels: [usize; 2],
    y: Vec<f32>,
    y_shape: [usize; 4],
}

/// Sets the weights of a convolution; biases stay zero.
struct Weigh(Vec<f32>);

impl ModuleMapper for Weigh {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.dims();
        if D != 4 {
            return param;
        }
        let data = TensorData::new::<f32, _>(std::mem::take(&mut self.0), shape);
        Param::initialized(param.id, Tensor::from_data(data, &Device::flex()))
    }
}

/// Compares with Keras, whose sums are exact in these cases; see `fixtures/conv.py`.
#[test]
fn convolutions_are_those_of_keras() {
    let goldens =
        serde_json::from_str::<Vec<Golden>>(include_str!("../fixtures/conv.json")).unwrap();
    assert_eq!(goldens.len(), 9);
    let device = Device::flex();
    for golden in goldens {
        let direction = match golden.kind.as_str() {
            "conv" => Direction::Down,
            _ => Direction::Up,
        };
        let geometry = Geometry::same(golden.large, golden.kernel, golden.stride);
        let (init, seed) = (Init::Zeros, Seed::new(0));
        let conv = Conv::new(geometry, direction, golden.channels, init, seed, &device).unwrap();
        let conv = conv.map(&mut Weigh(golden.w));
        let x = Tensor::from_data(TensorData::new::<f32, _>(golden.x, golden.x_shape), &device);
        let y = conv.forward(x, false);
        assert_eq!(y.dims(), golden.y_shape);
        assert_eq!(values(y), golden.y, "{} {geometry:?}", golden.kind);
    }
}

/// The parameter counts that Keras printed in the original posts.
#[test]
fn presets_have_the_parameters_of_their_texts() {
    let image = [28, 28, 1];
    let count = |network| {
        let summary = Summary::of(&vae(network));
        let [encoder, decoder] = [summary.encoder_params(), summary.decoder_params()];
        (encoder.total(), decoder.total(), summary.params().trainable, summary.params().fixed)
    };
    assert_eq!(count(ConvConfig::step_up(image, 2)), (69_076, 65_089, 134_165, 0));
    assert_eq!(count(ConvConfig::batch_norm(image, 2)), (17_208, 9_137, 24_641, 1_704));
}

/// The DCGAN-like network, layer by layer from the printed code.
#[test]
fn the_dcgan_preset_is_the_printed_one() {
    let vae = vae(ConvConfig::dcgan([28, 28, 1], 2));
    let conv =
        |kernel: usize, input: usize, output: usize| kernel * kernel * input * output + output;
    let dense = |input: usize, output: usize| input * output + output;
    let norm = |features: usize| 4 * features;
    // 28 -> 14 -> 7 -> 4 -> 2
    let encoder = conv(5, 1, 128)
        + norm(128)
        + conv(5, 128, 256)
        + norm(256)
        + conv(5, 256, 512)
        + norm(512)
        + conv(5, 512, 1024)
        + norm(1024)
        + dense(2 * 2 * 1024, 20)
        + norm(20)
        + 2 * dense(20, 2);
    let decoder = dense(2, 2 * 2 * 1024)
        + norm(2 * 2 * 1024)
        + conv(5, 1024, 1024)
        + norm(1024)
        + conv(5, 1024, 512)
        + norm(512)
        + conv(5, 512, 256)
        + norm(256)
        + conv(5, 256, 128)
        + norm(128)
        + conv(3, 128, 1);
    let summary = Summary::of(&vae);
    assert_eq!(summary.encoder_params().total(), encoder);
    assert_eq!(summary.decoder_params().total(), decoder);
    assert_eq!((encoder, decoder), (17_298_104, 43_457_025));
    let sizes = |layers: Vec<burn_vae::summary::Layer>| {
        let images = layers.into_iter().filter(|layer| layer.kind.starts_with("Conv"));
        images.map(|layer| layer.output).collect::<Vec<_>>()
    };
    let down = [[14, 14, 128], [7, 7, 256], [4, 4, 512], [2, 2, 1024]];
    assert_eq!(sizes(vae.encoder.layers()), down);
    let up = [[4, 4, 1024], [7, 7, 512], [14, 14, 256], [28, 28, 128], [28, 28, 1]];
    assert_eq!(sizes(vae.decoder.layers()), up);
}

/// Images of every size from 5x5 to 40x40 keep their size through one to four layers.
#[test]
fn the_decoder_mirrors_the_encoder_whatever_the_size() {
    for (height, width) in (5..=40).flat_map(|height| (5..=40).map(move |width| (height, width))) {
        for layers in 1..=4 {
            // Every size with the strides of the posts, and with other strides that vary with the
            // size.
            let other = ConvConfig {
                strides: (0..layers).map(|i| 1 + (height + width * i) % 3).collect(),
                kernel: 1 + (height / 2 + width + layers) % 5,
                ..ConvConfig::new([height, width, 1], vec![1; layers], 1)
            };
            for network in [ConvConfig::new([height, width, 1], vec![1; layers], 1), other] {
                let vae = vae(ConvConfig { dense: None, ..network });
                let x = Tensor::ones([1, height * width], &Device::flex());
                assert_eq!(vae.encode(x.clone()).unwrap().mean.dims(), [1, 1]);
                assert_eq!(vae.reconstruct(x.clone()).unwrap().dims(), x.dims());
            }
        }
    }
}

/// A random direction in the space of all weights, drawn parameter by parameter.
struct Along<'a> {
    gradients: &'a GradientsParams,
    seed: u64,
    step: f32,
    params: u64,
    slope: f64,
}

impl Along<'_> {
    fn draw<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        self.params += 1;
        let len = shape.iter().product();
        NoiseSource::new(self.seed).draw(self.params, [1, 1, len], device).reshape(shape)
    }
}

impl ModuleVisitor for Along<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let direction = self.draw(param.dims(), &gradient.device());
        let products = (gradient * direction).into_data();
        self.slope += products.iter::<f64>().sum::<f64>();
    }
}

impl ModuleMapper for Along<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.gradients.get::<D>(param.id).is_none() {
            return param;
        }
        let direction = self.draw(param.dims(), &param.device());
        let step = self.step;
        param.map(|weight| weight + direction.mul_scalar(step))
    }
}

/// Compares backpropagation through the DCGAN-like network, four layers of 5x5 kernels with batch
/// normalisation, with central differences in random directions.
#[test]
fn gradients_of_a_deep_network_are_finite_differences() {
    let network = ConvConfig {
        channels: vec![3, 4, 5, 6],
        // Smooth, so that differences do not straddle a kink.
        activation: Activation::Softplus,
        ..ConvConfig::dcgan([13, 18, 1], 2)
    };
    let device = Device::flex().autodiff();
    let model = vae(network).train();
    let x = random([6, 13 * 18], 1).clamp(0.0, 1.0);
    let noise = NoiseSource::new(2).draw(0, [2, 6, 2], &Device::flex());
    let terms = |model: &ConvVae| {
        let inputs = Inputs::new(Tensor::from_inner(x.clone()), Tensor::from_inner(noise.clone()));
        Elbo::default().terms(model, inputs)
    };
    let loss = |model: &ConvVae| {
        let losses = terms(model).loss.without_autodiff().into_data();
        losses.iter::<f64>().sum::<f64>() / 6.0
    };
    let gradients = GradientsParams::from_grads(terms(&model).mean().backward(), &model);
    let mut compared = 0.0;
    for seed in 0..6 {
        let direction = |step| Along { gradients: &gradients, seed, step, params: 0, slope: 0.0 };
        let step = 1e-3;
        let ahead = loss(&model.clone().map(&mut direction(step)));
        let behind = loss(&model.clone().map(&mut direction(-step)));
        let difference = (ahead - behind) / (2.0 * f64::from(step));
        let mut along = direction(0.0);
        model.visit(&mut along);
        let error = (along.slope - difference).abs();
        assert!(error < 0.02 * (1.0 + difference.abs()), "{} is not {difference}", along.slope);
        compared += difference.abs();
    }
    assert!(compared > 10.0, "the directions are flat, {compared}: nothing was compared");
    assert_eq!(device, model.device());
}

/// A likelihood with two parameters per value finds all first parameters before all second ones.
#[test]
fn parameters_of_a_likelihood_come_one_after_the_other() {
    let decoder = |channels, params| {
        let config = ConvConfig::new([5, 4, channels], [4, 6], 2).decoder();
        let config = config.with_params_per_value(params);
        config.init(Seed::new(1), &Device::flex()).unwrap()
    };
    // Two parameters for three channels have the same weights as one parameter for six channels.
    let (six, two) = (decoder(6, 1), decoder(3, 2));
    assert_eq!((six.output_dim(), two.output_dim()), (120, 120));
    let z = random([7, 2], 0);
    let (raw, found) = (values(six.decode(z.clone())), values(two.decode(z)));
    for n in 0..7 {
        for pixel in 0..20 {
            for (param, channel) in (0..2).flat_map(|p| (0..3).map(move |c| (p, c))) {
                let raw = raw[n * 120 + pixel * 6 + param * 3 + channel];
                assert_eq!(found[n * 120 + param * 60 + pixel * 3 + channel], raw);
            }
        }
    }
}

/// In evaluation batch normalisation uses its moving averages, so an example does not depend on the
/// rest of its batch. In training it does.
#[test]
fn evaluation_uses_moving_statistics() {
    let mnist = Mnist::find(None).unwrap();
    let (train, test) = (Arc::new(mnist.train.take(600)), Arc::new(mnist.test.take(60)));
    let silent = Trainer::new(TrainConfig { epsilon_std: 0.0, ..config(2, 50) })
        .with_progress(Progress::Silent);
    let model = vae(ConvConfig::batch_norm([28, 28, 1], 2));
    let Trained { model, history, .. } = silent.fit(model, train, test.clone()).unwrap();

    let quiet = NoiseSource::new(0).with_std(0.0).unwrap();
    let nelbo = |batch_size| {
        let objective = Elbo::default();
        evaluate(&model, &objective, test.clone(), batch_size, 1, quiet).unwrap().nelbo
    };
    let last = history.last().unwrap().valid_nelbo;
    for batch_size in [60, 7, 1] {
        assert!((nelbo(batch_size) - last).abs() < 1e-4 * last, "in batches of {batch_size}");
    }

    let x = test.tensor(0..60, &Device::flex()).unwrap();
    let training = model.clone().train();
    let encode = |n: usize| {
        let x = Tensor::from_inner(x.clone().narrow(0, 0, n));
        values(training.encoder.encode(x, Phase::Eval).mean.without_autodiff().narrow(0, 0, 1))
    };
    assert_ne!(encode(60), encode(30));
}

/// Checks the moving averages of one layer against their definition.
#[test]
fn moving_averages_are_those_of_their_definition() {
    let normalization = Normalization::Batch { epsilon: 1e-3, momentum: 0.25 };
    let network = ConvConfig { normalization, ..ConvConfig::new([4, 4, 1], [3], 1) };
    let encoder = network.encoder().init(Seed::new(3), &Device::flex()).unwrap().train();
    // Without normalisation the first block is its convolution.
    let plain = ConvConfig { normalization: Normalization::None, ..network };
    let plain = plain.encoder().init(Seed::new(3), &Device::flex()).unwrap();
    let (mut mean, mut var) = ([0.0f64; 3], [1.0f64; 3]);
    for step in 0..3 {
        let x = random([5, 16], step);
        let h = values(plain.features(x.clone()));
        for c in 0..3 {
            let channel = h.iter().skip(c).step_by(3).map(|&h| f64::from(h)).collect::<Vec<_>>();
            let n = channel.len() as f64;
            let m = channel.iter().sum::<f64>() / n;
            let v = channel.iter().map(|h| (h - m).powi(2)).sum::<f64>() / n;
            mean[c] = 0.75 * mean[c] + 0.25 * m;
            var[c] = 0.75 * var[c] + 0.25 * v;
        }
        encoder.encode(Tensor::from_inner(x), Phase::Train { step });
    }
    let x = random([5, 16], 9);
    let found = values(encoder.valid().features(x.clone()));
    for (i, (found, h)) in found.iter().zip(values(plain.features(x))).enumerate() {
        let expected = (f64::from(h) - mean[i % 3]) / (var[i % 3] + 1e-3).sqrt();
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
    }
}

/// Group normalisation by its definition, in all layers, the same in training and outside.
#[test]
fn groups_are_normalised_example_by_example() {
    let normalization = Normalization::Group { groups: 2, epsilon: 1e-5 };
    let network = ConvConfig { normalization, ..ConvConfig::new([4, 4, 1], [6], 4) };
    let encoder = network.encoder().init(Seed::new(3), &Device::flex()).unwrap();
    let plain = ConvConfig { normalization: Normalization::None, ..network.clone() };
    let plain = plain.encoder().init(Seed::new(3), &Device::flex()).unwrap();
    let x = random([5, 16], 9);
    let found = values(encoder.features(x.clone()));
    // Two by two pixels of six channels; three neighbouring channels are a group.
    for (found, h) in found.chunks(24).zip(values(plain.features(x.clone())).chunks(24)) {
        for group in 0..2 {
            let inside = |i: &usize| i % 6 / 3 == group;
            let group = (0..24).filter(inside).map(|i| f64::from(h[i])).collect::<Vec<_>>();
            let mean = group.iter().sum::<f64>() / 12.0;
            let variance = group.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / 12.0;
            for (i, h) in (0..24).filter(inside).zip(group) {
                let expected = (h - mean) / (variance + 1e-5).sqrt();
                assert!((f64::from(found[i]) - expected).abs() < 1e-4, "{} {expected}", found[i]);
            }
        }
    }
    let vae = ConvVaeConfig::conv(network).init(Seed::new(3), &Device::flex()).unwrap();
    let mean = |encoder: &burn_vae::encoder::ConvEncoder, x: Tensor<2>| {
        encoder.encode(x, Phase::Eval).mean
    };
    let outside = values(mean(&vae.encoder, x.clone()));
    let training = vae.encoder.clone().train();
    let inside = mean(&training, Tensor::from_inner(x.clone())).without_autodiff();
    assert_eq!(values(inside), outside);
    assert_eq!(values(mean(&vae.encoder, x.narrow(0, 0, 2))), outside[..8]);
    assert_eq!(vae.reconstruct(random([2, 16], 1)).unwrap().dims(), [2, 16]);
}

/// A VampPrior is bound for a check when a model is built; that must not count as a training batch.
#[test]
fn putting_a_model_together_moves_no_averages() {
    let device = Device::flex();
    let network = ConvConfig::batch_norm([28, 28, 1], 2);
    let parts = ConvVaeConfig::conv(network).init(Seed::new(0), &device).unwrap().train();
    let prior = VampPriorConfig::new(3, 784).init(Seed::new(1), &device).unwrap().train();
    let x = random([4, 784], 2);
    let before = values(parts.encoder.valid().features(x.clone()));
    let vae = Vae::new(parts.encoder, parts.decoder, parts.likelihood, prior).unwrap();
    assert_eq!(values(vae.encoder.valid().features(x.clone())), before);
    // In training the averages would move.
    vae.prior.bind(&vae.encoder, Phase::Train { step: 0 });
    assert_ne!(values(vae.encoder.valid().features(x)), before);
}

#[test]
fn a_saved_model_keeps_its_moving_averages() {
    let mnist = Mnist::find(None).unwrap();
    let (train, test) = (Arc::new(mnist.train.take(200)), Arc::new(mnist.test.take(20)));
    let config = ConvVaeConfig::conv(ConvConfig::batch_norm([28, 28, 1], 2));
    let model = config.init(Seed::new(0), &Device::flex()).unwrap();
    let trainer = Trainer::new(self::config(1, 20)).with_progress(Progress::Silent);
    let model = trainer.fit(model, train, test.clone()).unwrap().model;
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &model).unwrap();
    let (found, loaded) = saved::load::<ConvVaeConfig>(dir.path(), &Device::flex()).unwrap();
    assert_eq!(found, config);
    let x = test.tensor(0..20, &Device::flex()).unwrap();
    assert_eq!(
        values(model.reconstruct(x.clone()).unwrap()),
        values(loaded.reconstruct(x).unwrap())
    );
}

/// The model of the step-up post learns digits from a sixtieth of MNIST.
#[test]
fn the_step_up_model_learns() {
    let mnist = Mnist::find(None).unwrap();
    let (train, test) = (Arc::new(mnist.train.take(1000)), Arc::new(mnist.test.take(200)));
    let trainer = Trainer::new(config(5, 32)).with_progress(Progress::Silent);
    let model = vae(ConvConfig::step_up([28, 28, 1], 2));
    let trained = trainer.fit(model, train, test).unwrap();
    let last = trained.history.last().unwrap();
    // A model that ignores its code reaches the NELBO of the mean image, 206.
    assert!(last.valid_nelbo < 200.0, "{}", last.valid_nelbo);
    assert_eq!(last.divergence_per_dimension.len(), 2);
    let sum = last.divergence_per_dimension.iter().sum::<f64>();
    assert!((sum - last.valid_divergence).abs() < 1e-4, "{sum} is not {}", last.valid_divergence);
}

#[test]
fn networks_that_cannot_be_are_refused() {
    let good = ConvConfig::new([28, 28, 1], [4, 8], 2);
    let with = |change: fn(&mut ConvConfig)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = ConvVaeConfig::conv(bad).init(Seed::new(0), &Device::flex()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    for (change, message) in [
        ((|c| c.image[0] = 0) as fn(&mut ConvConfig), "encoder: image height is 0"),
        (|c| c.image[2] = 0, "image channels is 0"),
        (|c| c.image = [usize::MAX, 2, 1], "too large"),
        (|c| c.channels.clear(), "channels is empty"),
        (|c| c.channels[1] = 0, "channels[1] is 0"),
        (|c| c.channels[1] = 1 << 40, "more than 1073741824"),
        (|c| c.channels[1] = 1 << 60, "[7, 7, 1152921504606846976] is too large"),
        (|c| c.strides[0] = 0, "strides[0] is 0"),
        (|c| c.strides.truncate(1), "1 strides for 2 convolutions"),
        (|c| c.kernel = 0, "kernel is 0"),
        (|c| c.kernel = 1 << 40, "kernel is 1099511627776"),
        (|c| c.latent_dim = 0, "latent_dim is 0"),
        (|c| c.dense = Some(0), "hidden[0] is 0"),
        (
            |c| c.normalization = Normalization::Batch { epsilon: 0.0, momentum: 0.1 },
            "epsilon of batch normalisation is 0",
        ),
        (
            |c| c.normalization = Normalization::Batch { epsilon: 1e-3, momentum: 2.0 },
            "momentum of batch normalisation is 2",
        ),
        (
            |c| c.normalization = Normalization::Group { groups: 5, epsilon: 1e-6 },
            "cannot form 5 groups",
        ),
        (
            |c| {
                c.normalization = Normalization::Group { groups: 16, epsilon: 1e-6 };
                c.channels = vec![32, 64];
                c.dense = Some(16);
            },
            "a layer of 16 units cannot form 16 groups",
        ),
    ] {
        let found = with(change);
        assert!(found.contains(message), "`{found}` does not say `{message}`");
    }
    let decoder = good.decoder().with_params_per_value(0).init(Seed::new(0), &Device::flex());
    assert!(decoder.unwrap_err().to_string().contains("params_per_value is 0"));
}

/// Labels stay with their images when a set is split or shuffled.
#[test]
fn a_split_or_shuffled_set_keeps_its_labels() {
    let images = ByteImages::new((0..100).collect::<Vec<u8>>(), [1, 1, 1]).unwrap();
    let images = images.with_labels((100..200).collect::<Vec<u8>>()).unwrap();
    let (train, valid) = images.split_last(0.2).unwrap();
    assert_eq!((train.len(), valid.len()), (80, 20));
    assert_eq!(valid.labels().unwrap(), (180..200).collect::<Vec<u8>>());

    let shuffled = images.shuffled(0);
    let labels = shuffled.labels().unwrap().to_vec();
    let x = values(shuffled.tensor(0..100, &Device::flex()).unwrap());
    let pixels = x.iter().map(|x| (x * 255.0).round() as u8 + 100).collect::<Vec<_>>();
    assert_eq!(labels, pixels);
    assert_eq!(labels, images.shuffled(0).labels().unwrap());
    assert_ne!(labels, images.shuffled(1).labels().unwrap());
    let mut sorted = labels.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, images.labels().unwrap());
    assert_ne!(labels, sorted);
}

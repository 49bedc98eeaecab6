//! Networks in the page compute what they compute here.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vae::data::{ByteImages, Table};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::likelihood::{GaussianNllConfig, PoissonNll, ScaleConfig};
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::posterior::DiagonalGaussian;
use burn_vae::prior::StandardNormal;
use burn_vae::report::Html;
use burn_vae::summary::{Describe, Stage};
use burn_vae::train::{TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Decoder, Encoder, Likelihood, MlpVaeConfig, ModuleConfig,
    NoiseSource, Seed, Vae, VaeConfig,
};

use crate::browser::Browser;
use crate::history;
use crate::interaction::over_an_example;

/// Number of codes and examples that are compared.
const ROWS: usize = 100;

/// Largest allowed difference of a mean. Weights in the page have a relative error of 2^-15.
const TOLERANCE: f64 = 1e-4;

fn draws(rows: usize, columns: usize, seed: u64) -> Tensor<2> {
    NoiseSource::new(Seed::new(seed)).draw(0, [1, rows, columns], &Device::flex()).squeeze_dim(0)
}

fn values(x: Tensor<2>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// Compares decoded codes and the posteriors of examples, row by row.
fn compare<E, D, L>(name: &str, vae: &Vae<E, D, L, StandardNormal>)
where
    E: Encoder<Posterior = DiagonalGaussian> + Describe,
    D: Decoder + Describe,
    L: Likelihood,
{
    let page = Html::new(name, &history()).with_model(vae).unwrap().to_html();
    let Some(mut browser) = Browser::open(&page) else { return };
    let codes = draws(ROWS, vae.latent_dim(), 1);
    let examples = draws(ROWS, vae.encoder.data_dim(), 2).abs().clamp_max(1.0);
    let posterior = vae.encode(examples.clone()).unwrap();
    let decoded = vae.decode(codes.clone()).unwrap();
    for (call, input, expected) in [
        ("nets.decode(x)", &codes, decoded),
        ("nets.encode(x).mean", &examples, posterior.mean),
        ("nets.encode(x).variance", &examples, posterior.log_var.exp()),
    ] {
        let rows = serde_json::to_string(&rows(input)).unwrap();
        let found = browser.numbers(&format!(
            "burnVae.then((nets) => {rows}.flatMap((row) => {{ const x = Float32Array.from(row); \
             return Array.from({call}); }}))"
        ));
        let expected = values(expected);
        assert_eq!(found.len(), expected.len(), "{name}: {call}");
        for (found, expected) in found.iter().zip(&expected) {
            let off = (found - expected).abs() / expected.abs().max(1.0);
            assert!(off < TOLERANCE, "{name}: {call} is {found}, not {expected}");
        }
    }
    browser.close();
}

fn rows(x: &Tensor<2>) -> Vec<Vec<f32>> {
    let [_, columns] = x.dims();
    let values = x.to_data().iter::<f32>().collect::<Vec<_>>();
    values.chunks(columns).map(<[f32]>::to_vec).collect()
}

#[test]
fn perceptrons_run_with_every_activation() {
    for (i, activation) in [
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Softplus,
        Activation::Silu,
        Activation::Gelu,
    ]
    .into_iter()
    .enumerate()
    {
        let config = VaeConfig {
            encoder: MlpEncoderConfig::new(12, [9, 7], 3).with_activation(activation),
            decoder: MlpDecoderConfig::new(3, [7, 9], 12).with_activation(activation),
            likelihood: PoissonNll,
            prior: StandardNormal,
        };
        let vae = config.init(Seed::new(i as u64), &Device::flex()).unwrap();
        compare(&format!("{activation:?}"), &vae);
    }
}

#[test]
fn the_network_of_the_first_command_runs() {
    let config = MlpVaeConfig::mlp(784, [256], 2);
    compare("mlp", &config.init(Seed::new(0), &Device::flex()).unwrap());
}

#[test]
fn convolutions_run_at_odd_sizes_and_with_several_channels() {
    let network =
        ConvConfig { strides: vec![2, 1, 3], ..ConvConfig::new([11, 7, 3], [4, 5, 6], 2) };
    for kernel in [2, 3, 5] {
        let config = ConvVaeConfig::conv(ConvConfig { kernel, ..network.clone() });
        compare("conv", &config.init(Seed::new(3), &Device::flex()).unwrap());
    }
}

/// Two parameters per value; the page shows the first.
#[test]
fn predicted_scales_are_left_out() {
    let network = ConvConfig::new([8, 8, 2], [4], 2);
    let config = VaeConfig {
        encoder: network.encoder(),
        decoder: network.decoder().with_params_per_value(2),
        likelihood: GaussianNllConfig::new(ScaleConfig::predicted()),
        prior: StandardNormal,
    };
    compare("predicted", &config.init(Seed::new(4), &Device::flex()).unwrap());
}

/// Batch normalisation with moving averages that are not those of a fresh layer.
#[test]
fn normalised_networks_run_as_after_training() {
    let pixels = (0..40 * 64).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let images = Arc::new(ByteImages::new(pixels.collect::<Vec<_>>(), [8, 8, 1]).unwrap());
    let config = ConvVaeConfig::conv(ConvConfig::batch_norm([8, 8, 1], 2));
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let plan = TrainConfig { epochs: 3, batch_size: 10, ..TrainConfig::default() };
    let trained = Trainer::new(plan).fit(vae, images.clone(), images).unwrap();
    compare("batch norm", &trained.model);
}

/// Stages that do not fit each other are an error, not a page that fails.
#[test]
fn stages_that_do_not_fit_are_refused() {
    #[derive(Module, Debug)]
    struct Wrong {
        #[module(skip)]
        stages: Vec<Stage>,
    }
    impl Decoder for Wrong {
        fn latent_dim(&self) -> usize {
            2
        }
        fn output_dim(&self) -> usize {
            4
        }
        fn decode(&self, z: Tensor<2>) -> Tensor<2> {
            Tensor::cat(vec![z.clone(), z], 1)
        }
    }
    impl Describe for Wrong {
        fn stages(&self) -> Option<Vec<Stage>> {
            Some(self.stages.clone())
        }
    }
    let device = Device::flex();
    let linear = |inputs, outputs| Stage::Linear {
        weight: Tensor::zeros([inputs, outputs], &device),
        bias: None,
    };
    for (stages, expected) in [
        (vec![linear(3, 4)], "stage 0 of the decoder takes 3 values, but 2 come to it"),
        (vec![linear(2, 3)], "the stages of the decoder end with 3 values, but it has 4"),
        (
            vec![linear(2, 4), Stage::ParametersFirst { params: 1, channels: 3 }],
            "stage 1 of the decoder takes 3 values, but 4 come to it",
        ),
        (vec![], "the stages of the decoder end with 2 values"),
    ] {
        let encoder = MlpEncoderConfig::new(4, [3], 2).init(Seed::new(0), &device).unwrap();
        let vae = Vae::new(encoder, Wrong { stages }, BernoulliNll, StandardNormal).unwrap();
        let error = Html::new("wrong", &history()).with_model(&vae).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A network that is no sequence of operations gives a page without it.
#[test]
fn other_networks_do_not_run() {
    #[derive(Module, Debug)]
    struct Doubled;
    impl Decoder for Doubled {
        fn latent_dim(&self) -> usize {
            2
        }
        fn output_dim(&self) -> usize {
            4
        }
        fn decode(&self, z: Tensor<2>) -> Tensor<2> {
            Tensor::cat(vec![z.clone(), z], 1)
        }
    }
    impl Describe for Doubled {}

    let device = Device::flex();
    let encoder = MlpEncoderConfig::new(4, [3], 2).init(Seed::new(0), &device).unwrap();
    let vae = Vae::new(encoder, Doubled, BernoulliNll, StandardNormal).unwrap();
    let examples = Table::new(vec![0.5; 40], ["a", "b", "c", "d"]).unwrap();
    let page =
        Html::new("custom", &history()).with_examples(&vae, &examples, None).unwrap().to_html();
    let Some(mut browser) = Browser::open(&page) else { return };
    assert_eq!(browser.evaluate("burnVae.then((nets) => nets.decode)"), serde_json::Value::Null);
    let is_hidden = |browser: &mut Browser, id: &str| {
        browser.evaluate(&format!("document.getElementById('{id}').hidden"))
    };
    assert_eq!(is_hidden(&mut browser, "pad-section"), true);
    assert_eq!(is_hidden(&mut browser, "latent"), false);
    assert_eq!(is_hidden(&mut browser, "galleries"), false);
    // Its reconstructions come with the page.
    over_an_example(&mut browser);
    let shown = browser.numbers(
        "Array.from(document.getElementById('decoded').getContext('2d').getImageData(0, 0, 64, 64).data)",
    );
    assert!(shown.iter().any(|&value| value > 0.0));
    assert_eq!(browser.text("document.getElementById('code').textContent"), "");
    browser.close();
}

//! Chains of linear-Gaussian layers with known closed forms: `z_n ~ N(0, 1)`,
//! `z_i|z_{i+1} ~ N(w_i z_{i+1} + b_i, t_i^2)`, `x|z_1 ~ N(a z_1 + c, s^2 I)`.

use std::sync::Arc;

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use burn_vae::conditional::ConditionalVae;
use burn_vae::data::Table;
use burn_vae::decoder::{FirstLayerDecoder, MlpDecoder, MlpDecoderConfig};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{HierarchicalEncoder, MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{FromPosterior, ImportanceSampling, log_likelihood, log_weights};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::nn::Activation;
use burn_vae::objective::{Gradient, Iwae};
use burn_vae::posterior::{Density, Diagonal};
use burn_vae::presets::{self, StochasticLayer};
use burn_vae::prior::{Distribution as _, HierarchicalPrior, StandardNormal};
use burn_vae::summary::Summary;
use burn_vae::{
    BernoulliNll, Decoder, Elbo, Encoder, Inputs, Model as _, ModuleConfig, NoiseSource, Objective,
    Phase, Posterior, Seed, Vae, saved,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal as Normal, Uniform};

type Model = Vae<
    HierarchicalEncoder<MlpEncoder>,
    FirstLayerDecoder<MlpDecoder>,
    GaussianNll,
    HierarchicalPrior<MlpEncoder, StandardNormal>,
>;

/// `N(w y + b, variance)`, the distribution of a number given `y`.
#[derive(Clone, Copy)]
struct Link {
    w: f64,
    b: f64,
    variance: f64,
}

impl Link {
    fn network(self, inputs: &[f64]) -> MlpEncoder {
        let layer = MlpEncoderConfig::new(inputs.len(), [], 1);
        let layer = layer.init(Seed::new(0), &Device::flex()).unwrap();
        let values = inputs.iter().map(|input| self.w * input).chain([self.b]);
        let values = values.chain(inputs.iter().map(|_| 0.0)).chain([self.variance.ln()]);
        filled(layer, values.map(|value| value as f32).collect())
    }
}

struct Chain {
    /// `z_i|z_{i+1}`, from the first layer.
    links: Vec<Link>,
    a: Vec<f64>,
    c: Vec<f64>,
    variance: f64,
    x: Vec<f64>,
}

impl Chain {
    /// A random chain of 1 to 4 layers.
    fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || {
            let value: f64 = Normal.sample(&mut rng);
            value
        };
        let layers = 1 + seed as usize % 4;
        let links = (1..layers).map(|_| Link {
            w: normal(),
            b: normal(),
            variance: 0.3 + normal().powi(2),
        });
        let links = links.collect::<Vec<_>>();
        let mut list = || (0..3).map(|_| normal()).collect::<Vec<_>>();
        let (a, c, x) = (list(), list(), list());
        Self { links, a, c, variance: 0.5, x }
    }

    fn layers(&self) -> usize {
        self.links.len() + 1
    }

    /// Mean and variance of each layer's code under the prior.
    fn marginals(&self) -> Vec<(f64, f64)> {
        let mut marginals = vec![(0.0, 1.0)];
        for link in self.links.iter().rev() {
            let (mean, variance) = marginals[marginals.len() - 1];
            marginals.push((link.w * mean + link.b, link.w.powi(2) * variance + link.variance));
        }
        marginals.reverse();
        marginals
    }

    /// By the Sherman-Morrison formula and the determinant lemma.
    fn log_prob(&self) -> f64 {
        let (mean, v) = self.marginals()[0];
        let dot = |f: &dyn Fn(usize) -> f64| (0..self.x.len()).map(f).sum::<f64>();
        let d = |i: usize| self.x[i] - self.a[i] * mean - self.c[i];
        let (s, aa) = (self.variance, dot(&|i| self.a[i].powi(2)));
        let (dd, ad) = (dot(&|i| d(i).powi(2)), dot(&|i| self.a[i] * d(i)));
        let square = dd / s - v / s.powi(2) * ad.powi(2) / (1.0 + v * aa / s);
        let log_determinant = self.x.len() as f64 * s.ln() + (1.0 + v * aa / s).ln();
        -0.5 * (square + log_determinant + self.x.len() as f64 * std::f64::consts::TAU.ln())
    }

    /// The model with the true posterior, with its variances multiplied by `wider`.
    fn model(&self, wider: f64) -> Model {
        let marginals = self.marginals();
        let (mean, v) = marginals[0];
        let precision = 1.0 / v + self.a.iter().map(|a| a * a).sum::<f64>() / self.variance;
        let shift = self.a.iter().zip(&self.c).map(|(a, c)| a * c).sum::<f64>() / self.variance;
        let first = Link {
            w: 1.0 / self.variance / precision,
            b: (mean / v - shift) / precision,
            variance: wider / precision,
        };
        let mut up = vec![first.network(&self.a)];
        for (link, (mean, v)) in self.links.iter().zip(&marginals[1..]) {
            let precision = 1.0 / v + link.w.powi(2) / link.variance;
            let w = link.w / link.variance / precision;
            let b = mean / v / precision - w * link.b;
            up.push(Link { w, b, variance: wider / precision }.network(&[1.0]));
        }
        let network = MlpDecoderConfig::new(1, [], self.a.len());
        let network = network.init(Seed::new(0), &Device::flex()).unwrap();
        let values = self.a.iter().chain(&self.c).map(|&value| value as f32).collect();
        let network = filled(network, values);
        let down = self.links.iter().map(|link| link.network(&[1.0])).collect();
        Vae::new(
            HierarchicalEncoder::new(up).unwrap(),
            FirstLayerDecoder::new(network, self.layers()).unwrap(),
            GaussianNll::new(Scale::fixed(self.variance.sqrt()).unwrap()),
            HierarchicalPrior::new(down, StandardNormal).unwrap(),
        )
        .unwrap()
    }

    fn data(&self, rows: usize) -> Tensor<2> {
        let row = self.x.iter().map(|&value| value as f32).collect::<Vec<_>>();
        let row = Tensor::<1>::from_data(row.as_slice(), &Device::flex());
        row.unsqueeze_dim::<2>(0).repeat_dim(0, rows)
    }
}

fn values<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.to_data().iter().collect()
}

fn noise(model: &Model, samples: usize, rows: usize, seed: u64) -> Tensor<3> {
    NoiseSource::new(seed).draw_for(0, samples, rows, &model.noise(), &Device::flex())
}

/// Sum of the squares of all gradients of a module.
fn square_norm<M: Module>(module: &M, gradients: &Gradients) -> f64 {
    struct Sum<'a>(&'a Gradients, f64);
    impl ModuleVisitor for Sum<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                self.1 += values(&gradient).iter().map(|g| g * g).sum::<f64>();
            }
        }
    }
    let mut sum = Sum(gradients, 0.0);
    module.visit(&mut sum);
    sum.1
}

/// The network sees only the first layer, so it cannot receive a condition, which follows all
/// layers.
#[test]
fn a_decoder_of_the_first_layer_takes_no_condition() {
    let device = Device::flex();
    let layer = |data, latent, seed| {
        let config = MlpEncoderConfig::new(data, [3], latent);
        let layer: MlpEncoder = config.init(Seed::new(seed), &device).unwrap();
        layer
    };
    let encoder = HierarchicalEncoder::new(vec![layer(6, 3, 1), layer(3, 2, 2)]).unwrap();
    let network = MlpDecoderConfig::new(3, [4], 4).init(Seed::new(3), &device).unwrap();
    let decoder = FirstLayerDecoder::new(network, 5 + 2).unwrap();
    let prior = HierarchicalPrior::new(vec![layer(2, 3, 4)], StandardNormal).unwrap();
    let error = ConditionalVae::new(encoder, decoder, BernoulliNll, prior, 2).unwrap_err();
    assert!(error.to_string().contains("cannot see a condition"), "{error}");
}

#[test]
fn with_the_true_posterior_every_weight_is_the_likelihood() {
    for seed in 0..24 {
        let chain = Chain::random(seed);
        let model = chain.model(1.0);
        let eps = noise(&model, 5, 7, seed);
        let weights = log_weights(&model, &FromPosterior, chain.data(7), eps, Seed::new(0));
        let exact = chain.log_prob();
        for weight in values(&weights) {
            assert!(
                (weight - exact).abs() < 2e-5 * (1.0 + exact.abs()),
                "{seed}: {weight} {exact}"
            );
        }
    }
}

#[test]
fn sticking_the_landing_leaves_no_gradient_at_the_true_posterior() {
    for seed in 0..12 {
        let chain = Chain::random(seed);
        let model = chain.model(1.0).train();
        let norm = |gradient| {
            let eps = Tensor::from_inner(noise(&model.valid(), 3, 2, seed));
            let inputs = Inputs::new(Tensor::from_inner(chain.data(2)), eps);
            let terms = Iwae::default().with_gradient(gradient).terms(&model, inputs);
            square_norm(&model.encoder, &terms.mean().backward())
        };
        let (path, total) = (norm(Gradient::StickingTheLanding), norm(Gradient::Total));
        let doubly = norm(Gradient::DoublyReparameterized);
        assert!(total > 1e-3, "{seed}: {total}");
        assert!(path < 1e-8 * total.max(1.0), "{seed}: {path}, the total {total}");
        assert!(doubly < 1e-8 * total.max(1.0), "{seed}: {doubly}, the total {total}");
    }
}

#[test]
fn importance_sampling_reaches_the_likelihood() {
    for seed in 0..24 {
        let chain = Chain::random(seed);
        let row = chain.x.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let table = Arc::new(Table::new(row, ["a", "b", "c"]).unwrap());
        let sampling = ImportanceSampling { num_samples: 20_000, ..Default::default() };
        let noise = NoiseSource::new(seed);
        let found = log_likelihood(&chain.model(1.5), table, sampling, noise).unwrap();
        let (error, exact) = (found.monte_carlo_error, -chain.log_prob());
        assert!(
            (found.nll - exact).abs() < 4.0 * error + 2e-5 * (1.0 + exact.abs()),
            "{seed}: {} +- {error} is not {exact}",
            found.nll
        );
        assert!(error > 1e-4 && error < 0.05, "{seed}: {error}");
    }
}

#[test]
fn draws_come_with_their_density() {
    for seed in 0..8 {
        let model = Chain::random(seed).model(1.3);
        let x = NoiseSource::new(9).draw(0, [1, 4, 3], &Device::flex()).squeeze_dim(0);
        let q = model.encoder.encode(x, Phase::Eval);
        let samples = q.draw(noise(&model, 6, 4, seed), Seed::new(0));
        assert_eq!(samples.z.dims(), [6, 4, q.dims()[1]]);
        assert_eq!(q.dims(), [4, model.latent_dim()]);
        let (drawn, given) = (samples.log_prob.unwrap(), q.log_prob(samples.z));
        for (drawn, given) in values(&drawn).iter().zip(values(&given)) {
            assert!((drawn - given).abs() < 1e-4, "{seed}: {drawn} {given}");
        }
    }
}

#[test]
fn a_hierarchy_of_one_layer_is_the_plain_model() {
    let chain = Chain::random(4);
    let Vae { encoder: _, decoder, likelihood, .. } = chain.model(1.4);
    let layer = Link { w: 0.7, b: 0.1, variance: 0.6 }.network(&chain.a);
    let plain =
        Vae::new(layer.clone(), decoder.network.clone(), likelihood.clone(), StandardNormal);
    let encoder = HierarchicalEncoder::new(vec![layer]).unwrap();
    let prior = HierarchicalPrior::<MlpEncoder, _>::new(Vec::new(), StandardNormal).unwrap();
    let hierarchy = Vae::new(encoder, decoder, likelihood, prior).unwrap();
    let plain = plain.unwrap();
    let inputs = || Inputs::new(chain.data(5), noise(&hierarchy, 3, 5, 1));
    let elbo = Elbo::new(MonteCarloKl::default());
    let (one, other) = (elbo.terms(&plain, inputs()), elbo.terms(&hierarchy, inputs()));
    assert_eq!(values(&one.nelbo), values(&other.nelbo));
    let x = chain.data(5);
    let (one, other) = (plain.reconstruct(x.clone()), hierarchy.reconstruct(x));
    assert_eq!(values(&one.unwrap()), values(&other.unwrap()));
    assert_eq!(hierarchy.prior(Phase::Eval).latent_dim(), None);
}

#[test]
fn ancestral_samples_have_the_moments_of_the_prior() {
    for seed in 0..8 {
        let chain = Chain::random(seed);
        let n = 40_000;
        let device = Device::flex();
        let prior = chain.model(1.0).prior(Phase::Eval);
        let z = prior.sample(n, chain.layers(), Seed::new(seed), &device);
        let rows = values(&z);
        for (i, (mean, variance)) in chain.marginals().into_iter().enumerate() {
            let column = rows.iter().skip(i).step_by(chain.layers()).collect::<Vec<_>>();
            let found = column.iter().copied().sum::<f64>() / n as f64;
            let spread = column.iter().map(|z| (*z - mean).powi(2)).sum::<f64>() / n as f64;
            assert!((found - mean).abs() < 4.0 * (variance / n as f64).sqrt(), "{seed} {i}");
            let error = variance * (2.0 / n as f64).sqrt();
            assert!((spread - variance).abs() < 4.0 * error, "{seed} {i}: {spread} {variance}");
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let network =
        |from, to| MlpEncoderConfig::new(from, [], to).init(Seed::new(0), &device).unwrap();
    let error = HierarchicalEncoder::<MlpEncoder>::new(Vec::new()).unwrap_err().to_string();
    assert!(error.contains("layers is empty"), "{error}");
    let error = HierarchicalEncoder::new(vec![network(8, 4), network(3, 2)]).unwrap_err();
    assert!(
        error.to_string().contains("layers[0] outputs codes of length 4, but layers[1] takes 3")
    );
    let down = vec![network(3, 4), network(1, 2)];
    let error = HierarchicalPrior::new(down, StandardNormal).unwrap_err().to_string();
    assert!(error.contains("layers[0] takes 3 values, but layers[1] outputs"), "{error}");

    let layers = [StochasticLayer::new([], 4), StochasticLayer::new([5], 2)];
    let mut config = presets::deep_latent_gaussian(8, &layers, Activation::Relu);
    config.init(Seed::new(0), &device).unwrap();
    // The same total length, divided differently.
    config.prior.layers[0] = MlpEncoderConfig::new(3, [5], 3);
    let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("[3]") && error.contains("[4, 2]"), "{error}");
    config.encoder.layers[1].hidden = vec![0];
    let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("encoder: layers[1]: hidden[0] is 0"), "{error}");
}

#[test]
fn the_network_with_two_layers_has_the_parameters_of_the_paper() {
    let config = presets::iwae_two_layers();
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    let dense = |widths: &[usize]| -> usize {
        widths.windows(2).map(|pair| pair[0] * pair[1] + pair[1]).sum()
    };
    let up = dense(&[784, 200, 200]) + 2 * dense(&[200, 100]);
    let up_2 = dense(&[100, 100, 100]) + 2 * dense(&[100, 50]);
    let down = dense(&[50, 100, 100]) + 2 * dense(&[100, 100]);
    let summary = Summary::of(&vae);
    assert_eq!(summary.encoder_params().total(), up + up_2);
    assert_eq!(summary.decoder_params().total(), dense(&[100, 200, 200, 784]));
    let all = up + up_2 + down + dense(&[100, 200, 200, 784]);
    assert_eq!(summary.params().total(), all);
    assert_eq!((vae.latent_dim(), vae.noise().dim()), (150, 150));
    let dot = summary.to_dot();
    assert!(dot.contains("\"encoder.z1.log_var\" -> \"encoder.z2.hidden_1\""), "{dot}");

    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path().join("model"), &config, &vae).unwrap();
    let (again, loaded) = saved::load(dir.path().join("model"), &Device::flex()).unwrap();
    assert_eq!(config, again);
    let z = NoiseSource::new(1).draw(0, [1, 3, 150], &Device::flex());
    let [kept, read] = [&vae, &loaded].map(|vae| vae.prior(Phase::Eval).log_prob(z.clone()));
    assert_eq!(values(&kept), values(&read));
}

/// Three layers learn: the bound rises by more than the first layer's marginals alone can explain.
#[test]
fn three_layers_train() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let middle = Uniform::new(0.2f32, 0.8).unwrap();
    let centres = (0..4).map(|_| (0..12).map(|_| middle.sample(&mut rng).round()).collect());
    let centres: Vec<Vec<f32>> = centres.collect();
    let rows = (0..200).flat_map(|i| centres[i % 4].clone()).collect::<Vec<_>>();
    let x = Tensor::<1>::from_data(rows.as_slice(), &Device::flex()).reshape([200, 12]);
    let layers = [8, 4, 2].map(|dim| StochasticLayer::new([16], dim));
    let config = presets::hierarchical(
        12,
        &layers,
        Activation::Tanh,
        Diagonal,
        burn_vae::BernoulliNll,
        StandardNormal,
    );
    let mut vae = config.init(Seed::new(1), &Device::flex()).unwrap().train();
    let mut optimizer = burn::optim::AdamConfig::new().init();
    let objective = Elbo::new(MonteCarloKl::default());
    let shape = vae.noise();
    let mut nelbo = Vec::new();
    for step in 0..300 {
        let eps = NoiseSource::new(2).draw_for(step, 1, 200, &shape, &Device::flex());
        let inputs = Inputs::new(Tensor::from_inner(x.clone()), Tensor::from_inner(eps));
        let terms = objective.terms(&vae, inputs.at(step, Seed::new(3)));
        nelbo.push(values(&terms.nelbo).iter().sum::<f64>() / 200.0);
        let gradients = terms.mean().backward();
        let gradients = burn::optim::GradientsParams::from_grads(gradients, &vae);
        vae = optimizer.step(1e-2, vae, gradients);
    }
    // With four equally likely patterns, ln 4 = 1.39 is optimal; a model without codes reaches
    // about 5.
    let last = nelbo[250..].iter().sum::<f64>() / 50.0;
    assert!(last > 4f64.ln() - 0.05 && last < 2.2, "from {} to {last}", nelbo[0]);
    assert_eq!(vae.decoder.latent_dim(), 14);
}

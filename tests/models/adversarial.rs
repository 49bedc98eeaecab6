//! Density ratios, adversarial variational Bayes and the likelihood of its models. For the
//! references see `fixtures/adversarial.py`.

use std::sync::Arc;

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::adversarial::{
    AdversarialVae, AdversarialVaeConfig, DensityRatio, Discriminator, MlpDiscriminatorConfig,
};
use burn_vae::data::Table;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{FittedGaussian, ImportanceSampling, Propose, log_likelihood};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::nn::{Activation, Init};
use burn_vae::objective::{AdversarialElbo, Terms};
use burn_vae::posterior::{Density, Implicit};
use burn_vae::prior::{Distribution, GaussianPriorConfig, StandardNormal};
use burn_vae::{
    Encoder, Inputs, MlpVaeConfig, Model, ModuleConfig, NoiseSource, Objective, Phase, Posterior,
    Seed, Vae, VaeConfig,
};
use nalgebra::{DMatrix, DVector};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    parameters: Vec<f32>,
    x: Vec<f32>,
    eps: Vec<f32>,
    others: Vec<f32>,
    z: Vec<f64>,
    logits: Vec<f64>,
    nll: Vec<f64>,
    divergence: Vec<f64>,
    logistic: Vec<f64>,
    gradient: Vec<f64>,
}

/// A standard normal prior with given samples.
#[derive(Module, Debug)]
struct Given {
    #[module(skip)]
    samples: Vec<f32>,
}

impl Density for Given {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        StandardNormal.log_prob(z)
    }
}

impl Distribution for Given {
    fn sample(&self, n: usize, latent_dim: usize, _seed: Seed, device: &Device) -> Tensor<2> {
        tensor(&self.samples, [n, latent_dim], device)
    }

    fn detach(&self) -> Self {
        self.clone()
    }
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// The gradients of all parameters, concatenated, with zeros for parameters without one.
fn gradients(module: &impl Module, gradients: &Gradients) -> Vec<f64> {
    struct Visitor<'a>(&'a Gradients, Vec<f64>);
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            match param.val().grad(self.0) {
                Some(gradient) => self.1.extend(values(gradient)),
                None => self.1.extend(vec![0.0; param.shape().num_elements()]),
            }
        }
    }
    let mut visitor = Visitor(gradients, Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Asserts equality up to the rounding of a few dozen operations on values of about 1 to 10.
fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off < 3e-6 * expected.abs().max(1.0), "{what}, {i}: {found} is not {expected}");
    }
}

#[test]
fn values_and_gradients_are_those_of_the_reference() {
    let golden: Golden =
        serde_json::from_str(include_str!("../fixtures/adversarial.json")).unwrap();
    let device = Device::flex();
    let tanh = Activation::Tanh;
    let encoder = MlpEncoderConfig::new(5, [4], 2).with_activation(tanh);
    let encoder =
        encoder.with_posterior(Implicit::new([6]).with_noise_dim(3).with_activation(tanh));
    let decoder = MlpDecoderConfig::new(2, [4], 5).with_activation(tanh);
    let vae = Vae::new(
        encoder.init(Seed::new(0), &device).unwrap(),
        decoder.init(Seed::new(0), &device).unwrap(),
        burn_vae::BernoulliNll,
        Given { samples: golden.others.clone() },
    );
    let discriminator = MlpDiscriminatorConfig::new(5, 2, [6]).with_activation(tanh);
    let discriminator = discriminator.init(Seed::new(0), &device).unwrap();
    let model = AdversarialVae::new(vae.unwrap(), discriminator).unwrap();
    let model = filled(model, golden.parameters).train();
    assert_eq!(model.noise().dim(), 3);
    assert_eq!(FittedGaussian::default().noise(&model).dim(), 2);

    let device = model.vae.device();
    let (x, eps) = (tensor(&golden.x, [3, 5], &device), tensor(&golden.eps, [4, 3, 3], &device));
    let z = model.vae.encode(x.clone()).unwrap().rsample(eps.clone());
    assert_close("z", &values(z.clone()), &golden.z);
    assert_close("logits", &values(model.discriminator.logits(x.clone(), z)), &golden.logits);

    let inputs = Inputs::new(x, eps).with_latents();
    let Terms { loss, nelbo, distortion, divergence, latents, .. } =
        AdversarialElbo::default().terms(&model, inputs);
    assert_eq!(latents.unwrap().mean.dims(), [3, 2]);
    let found = gradients(&model, &loss.clone().mean().backward());
    let sum = |parts: &[&[f64]]| {
        (0..3).map(|i| parts.iter().map(|part| part[i]).sum()).collect::<Vec<f64>>()
    };
    assert_close("nll", &values(distortion), &golden.nll);
    assert_close("divergence", &values(divergence), &golden.divergence);
    assert_close("nelbo", &values(nelbo), &sum(&[&golden.nll, &golden.divergence]));
    let all = sum(&[&golden.nll, &golden.divergence, &golden.logistic]);
    assert_close("loss", &values(loss), &all);
    assert_close("gradient", &found, &golden.gradient);
}

/// `nelbo` is the model's loss, and the rest of `loss` is the discriminator's.
#[test]
fn each_network_gets_the_gradient_of_its_own_loss_alone() {
    let config = AdversarialVaeConfig::mlp(6, [5], 2);
    let model = config.init(Seed::new(3), &Device::flex()).unwrap().train();
    let device = model.vae.device();
    for objective in
        [AdversarialElbo::default(), AdversarialElbo::default().with_adaptive_contrast(7).unwrap()]
    {
        let inputs = || {
            let noise = NoiseSource::new(1);
            let x = tensor(&[1.0, 0.0, 1.0, 1.0, 0.0, 0.0].repeat(4), [4, 6], &device);
            Inputs::new(x, noise.draw_for(0, 3, 4, &model.noise(), &device)).at(0, Seed::new(5))
        };
        let run = |part: fn(Terms) -> Tensor<1>| {
            let loss = part(objective.terms(&model, inputs())).mean();
            let found = loss.backward();
            [gradients(&model.vae, &found), gradients(&model.discriminator, &found)]
        };
        let [whole_vae, whole_discriminator] = run(|terms| terms.loss);
        let [vae, none] = run(|terms| terms.nelbo);
        assert!(none.iter().all(|&g| g == 0.0), "the model's loss reaches the discriminator");
        assert_eq!(vae, whole_vae);
        let [none, discriminator] = run(|terms| terms.loss - terms.nelbo);
        let largest = none.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        assert!(largest < 1e-6, "the discriminator's loss reaches the model: {largest}");
        assert_close("discriminator", &discriminator, &whole_discriminator);
        for (part, name) in [(&vae, "vae"), (&discriminator, "discriminator")] {
            assert!(part.iter().any(|&g| g.abs() > 1e-4), "{name} has no gradient");
        }
    }
}

/// A learned prior follows the samples: its gradient is that of `-log p(z)`, with and without
/// contrast.
#[test]
fn a_learned_prior_gets_the_gradient_of_its_density() {
    let vae = MlpVaeConfig::mlp(6, [5], 2);
    let (prior_mean, prior_log_var) = ([0.3f64, -0.2], [0.1f64, 0.4]);
    let prior =
        GaussianPriorConfig::new(prior_mean.map(|v| v as f32), prior_log_var.map(|v| v as f32));
    let vae = VaeConfig {
        encoder: vae.encoder.with_posterior(Implicit::new([4])),
        decoder: vae.decoder,
        likelihood: vae.likelihood,
        prior: prior.learned(),
    };
    let config =
        AdversarialVaeConfig { vae, discriminator: MlpDiscriminatorConfig::new(6, 2, [4]) };
    let model = config.init(Seed::new(3), &Device::flex()).unwrap().train();
    let device = model.vae.device();
    let x = tensor(&[1.0, 0.0, 1.0, 1.0, 0.0, 0.0].repeat(4), [4, 6], &device);
    let noise = NoiseSource::new(1).draw_for(0, 3, 4, &model.noise(), &device);
    let z = values(model.vae.encoder.encode(x.clone(), Phase::Eval).rsample(noise.clone()));
    let mut expected = [0.0; 4];
    for z in z.chunks_exact(2) {
        for j in 0..2 {
            let (d, variance) = (z[j] - prior_mean[j], prior_log_var[j].exp());
            expected[j] -= d / variance / 12.0;
            expected[2 + j] += 0.5 * (1.0 - d * d / variance) / 12.0;
        }
    }
    for objective in
        [AdversarialElbo::default(), AdversarialElbo::default().with_adaptive_contrast(7).unwrap()]
    {
        let inputs = Inputs::new(x.clone(), noise.clone()).at(0, Seed::new(5));
        let found = objective.terms(&model, inputs).mean().backward();
        assert_close("prior", &gradients(&model.vae.prior, &found), &expected);
    }
}

/// `T(z) = w [z, z^2] + b`
#[derive(Module, Debug)]
struct Quadratic {
    layer: burn::nn::Linear,
}

impl Discriminator for Quadratic {
    fn data_dim(&self) -> usize {
        1
    }

    fn latent_dim(&self) -> usize {
        self.layer.weight.dims()[0] / 2
    }

    fn logits(&self, _x: Tensor<2>, z: Tensor<3>) -> Tensor<2> {
        self.layer.forward(Tensor::cat(vec![z.clone(), z.square()], 2)).squeeze_dim(2)
    }
}

/// Draws new samples of `N(mean, std^2)` in each dimension and of `N(0, I)`, `[1, n, dim]`.
fn pair(step: u64, n: usize, mean: &[f32], std: &[f32], device: &Device) -> [Tensor<3>; 2] {
    let (source, dim) = (NoiseSource::new(8), mean.len());
    let noise = source.draw(step, [2, n, dim], device);
    let (mean, std) = (tensor(mean, [1, 1, dim], device), tensor(std, [1, 1, dim], device));
    [noise.clone().narrow(0, 0, 1) * std + mean, noise.narrow(0, 1, 1)]
}

fn train<T: Discriminator>(mut t: T, steps: u64, mean: &[f32], std: &[f32]) -> T {
    let device = t.devices()[0].clone();
    let mut optimizer = AdamConfig::new().init();
    for step in 0..steps {
        let x = Tensor::ones([500, 1], &device);
        let [q, p] = pair(step, 500, mean, std, &device);
        let loss = DensityRatio.loss(t.logits(x.clone(), q), t.logits(x, p)).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &t);
        // Decreases to zero, to average out the noise of the last steps.
        let rate = 2e-2 * (1.0 - step as f64 / steps as f64);
        t = optimizer.step(rate, t, gradients);
    }
    t.valid()
}

/// Means and standard deviations with divergences from 0.1 to 4 nats.
fn pairs() -> [(Vec<f32>, Vec<f32>); 4] {
    [
        (vec![0.5], vec![1.0]),
        (vec![1.0, -0.5], vec![0.7, 1.2]),
        (vec![0.0, 0.5, -0.5, 0.2], vec![0.5, 0.8, 1.0, 0.6]),
        (vec![1.5, -1.0], vec![0.5, 0.4]),
    ]
}

fn exact_kl(mean: &[f32], std: &[f32]) -> f64 {
    let one = |(&m, &s): (&f32, &f32)| {
        let (m, s) = (f64::from(m), f64::from(s));
        0.5 * (m * m + s * s - 1.0) - s.ln()
    };
    mean.iter().zip(std).map(one).sum()
}

/// Within 0.03 nats plus 4 % of the divergence; averaging 20,000 samples alone contributes up to
/// 0.02.
#[test]
fn a_trained_discriminator_estimates_the_divergence() {
    for (mean, std) in pairs() {
        let config = MlpDiscriminatorConfig::new(1, mean.len(), [32, 32]);
        let device = Device::flex();
        let t = config.with_activation(Activation::Softplus).init(Seed::new(1), &device).unwrap();
        let t = train(t.train(), 500, &mean, &std);
        let [q, _] = pair(100_000, 20_000, &mean, &std, &device);
        let logits = t.logits(Tensor::ones([20_000, 1], &device), q);
        let (found, expected) =
            (DensityRatio.kl(logits).mean().into_scalar::<f32>(), exact_kl(&mean, &std));
        let off = (f64::from(found) - expected).abs();
        assert!(off < 0.03 + 0.04 * expected, "{mean:?} {std:?}: {found} is not {expected}");
    }
}

/// The logistic loss is convex in the weights of a quadratic discriminator, which can represent
/// `log q - log p` exactly.
#[test]
fn a_quadratic_discriminator_becomes_the_log_ratio() {
    let device = Device::flex();
    for (mean, std) in pairs().into_iter().take(3) {
        let dim = mean.len();
        let layer = Init::Zeros.linear(2 * dim, 1, Seed::new(0), &device).unwrap();
        let t = train(Quadratic { layer }.train(), 800, &mean, &std);
        let (m, s) = (|i: usize| f64::from(mean[i]), |i: usize| f64::from(std[i]).powi(2));
        let mut expected = (0..dim).map(|i| m(i) / s(i)).collect::<Vec<_>>();
        expected.extend((0..dim).map(|i| 0.5 - 0.5 / s(i)));
        expected.push((0..dim).map(|i| -0.5 * (m(i).powi(2) / s(i) + s(i).ln())).sum());
        let mut found = values(t.layer.weight.val());
        found.extend(values(t.layer.bias.as_ref().unwrap().val()));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 0.06, "{mean:?}, weight {i}: {found}, {expected}");
        }
    }
}

/// A linear-Gaussian model, `z ~ N(0, I)`, `x|z ~ N(W z + b, s^2)`, with an implicit posterior
/// `z = A x + V eps + c` near the true one.
struct Linear {
    w: DMatrix<f64>,
    b: DVector<f64>,
    variance: f64,
    v: DMatrix<f64>,
    model: AdversarialVae<
        Vae<
            burn_vae::posterior::ImplicitEncoder,
            burn_vae::decoder::MlpDecoder,
            GaussianNll,
            StandardNormal,
        >,
    >,
}

impl Linear {
    fn new() -> Self {
        let w = DMatrix::from_row_slice(4, 2, &[1.0, 0.5, -0.5, 1.25, 0.25, -1.0, 0.75, 0.5]);
        let (b, variance) = (DVector::from_column_slice(&[0.5, -1.0, 0.0, 0.25]), 0.5);
        let precision = w.transpose() * &w / variance + DMatrix::identity(2, 2);
        let covariance = precision.try_inverse().unwrap();
        let gain = &covariance * w.transpose() / variance;
        // Narrower than the true posterior, and shifted.
        let v = covariance.cholesky().unwrap().l() * 0.9;
        let c = -&gain * &b + DVector::from_element(2, 0.05);
        let device = Device::flex();
        let encoder = MlpEncoderConfig::new(4, [], 2).with_posterior(Implicit::new([]));
        let vae = Vae::new(
            encoder.init(Seed::new(0), &device).unwrap(),
            MlpDecoderConfig::new(2, [], 4).init(Seed::new(0), &device).unwrap(),
            GaussianNll::new(Scale::fixed(f64::sqrt(variance)).unwrap()),
            StandardNormal,
        );
        // Weights are [inputs, outputs], stored by rows; nalgebra stores matrices by columns.
        let numbers = gain.iter().chain(&c).chain(&v).chain(&w).chain(&b).copied();
        let vae = filled(vae.unwrap(), numbers.map(|value| value as f32).collect());
        let blind = MlpDiscriminatorConfig::new(4, 2, []).with_init(Init::Zeros);
        let blind = blind.init(Seed::new(0), &device).unwrap();
        Self { w, b, variance, v, model: AdversarialVae::new(vae, blind).unwrap() }
    }

    fn rows(&self, n: usize) -> Vec<f32> {
        let device = Device::flex();
        let noise = NoiseSource::new(4).draw(0, [1, n, 6], &device).into_data();
        let noise = noise.iter::<f64>().collect::<Vec<_>>();
        let row = |noise: &[f64]| {
            let noise = DVector::from_column_slice(noise);
            let x = &self.w * noise.rows(0, 2) + &self.b + noise.rows(2, 4) * self.variance.sqrt();
            x.iter().map(|&value| value as f32).collect::<Vec<_>>()
        };
        noise.chunks_exact(6).flat_map(row).collect()
    }

    fn log_prob(&self, x: &[f32]) -> f64 {
        let covariance = &self.w * self.w.transpose() + DMatrix::identity(4, 4) * self.variance;
        let cholesky = covariance.cholesky().unwrap();
        let d = DVector::from_iterator(4, x.iter().map(|&x| f64::from(x))) - &self.b;
        let log = cholesky.ln_determinant() + 4.0 * std::f64::consts::TAU.ln();
        -0.5 * (d.dot(&cholesky.solve(&d)) + log)
    }
}

#[test]
fn the_estimated_likelihood_is_the_exact_one() {
    let linear = Linear::new();
    let rows = linear.rows(40);
    let exact = rows.chunks_exact(4).map(|x| -linear.log_prob(x)).collect::<Vec<_>>();
    let table = Arc::new(Table::new(rows, ["a", "b", "c", "d"]).unwrap());
    let estimate = |rows_at_once| {
        let sampling = ImportanceSampling {
            num_samples: 1000,
            batch_size: 7,
            rows_at_once,
            proposal: FittedGaussian::default(),
        };
        log_likelihood(&linear.model, table.clone(), sampling, NoiseSource::new(3)).unwrap()
    };
    let found = estimate(700);
    let mean = exact.iter().sum::<f64>() / 40.0;
    assert!(found.monte_carlo_error < 0.01, "{found}");
    let off = (found.nll - mean).abs();
    assert!(off < 4.0 * found.monte_carlo_error + 1e-5, "{found} is not {mean}");
    // The posterior is nearly the true one except for its width, so most samples keep their weight.
    assert!(found.effective_samples > 800.0, "{found}");
    // All samples of an example share one proposal, in pieces of any size.
    for rows_at_once in [1, 50, 10_000] {
        for (a, b) in found.examples.iter().zip(&estimate(rows_at_once).examples) {
            assert!((a - b).abs() < 1e-5, "{rows_at_once}: {a} {b}");
        }
    }
}

/// With a discriminator that always returns 0, the estimate is that of the contrast alone: the
/// divergence from the prior minus that from a Gaussian with the same marginals.
#[test]
fn adaptive_contrast_leaves_the_discriminator_what_the_marginals_do_not_tell() {
    let linear = Linear::new();
    let (batch, samples, device) = (20, 2000, Device::flex());
    let x = tensor(&linear.rows(batch), [batch, 4], &device);
    let means = values(linear.model.vae.encode(x.clone()).unwrap().mean());
    let covariance = &linear.v * linear.v.transpose();
    let marginals = covariance.diagonal().map(f64::ln).sum();
    let rest = 0.5 * (covariance.trace() - 2.0 - marginals);
    let noise = NoiseSource::new(6).draw_for(0, samples, batch, &linear.model.noise(), &device);
    let objective = AdversarialElbo::default().with_adaptive_contrast(4000).unwrap();
    let terms = objective.terms(&linear.model, Inputs::new(x, noise));
    let found = values(terms.divergence);
    // With z = m + V eps, log r - log p is m . V eps + 1/2 eps . (V^T V - V^T D V) eps plus a
    // constant, where D holds the inverse marginal variances. Its variance is m . V V^T m + 1/2
    // trace of the square of that matrix.
    let inverse =
        DMatrix::from_diagonal(&covariance.diagonal().map(|variance: f64| 1.0 / variance));
    let form = linear.v.transpose() * (DMatrix::identity(2, 2) - inverse) * &linear.v;
    let off = found.iter().zip(means.chunks_exact(2)).map(|(found, mean)| {
        let mean = DVector::from_column_slice(mean);
        let variance = mean.dot(&(&covariance * &mean)) + 0.5 * (&form * &form).trace();
        (found - 0.5 * mean.norm_squared() - rest) / (variance / samples as f64).sqrt()
    });
    let largest = off.fold(0.0f64, |most, off| most.max(off.abs()));
    assert!(largest < 4.0, "{largest} standard errors");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let message = |discriminator: MlpDiscriminatorConfig| {
        let vae = MlpVaeConfig::mlp(6, [3], 2);
        let config = AdversarialVaeConfig { vae, discriminator };
        config.init(Seed::new(0), &device).unwrap_err().to_string()
    };
    let new = |data_dim, latent_dim, hidden: &[usize]| {
        MlpDiscriminatorConfig::new(data_dim, latent_dim, hidden)
    };
    assert!(message(new(5, 2, &[3])).contains("takes examples of length 5"), "data");
    assert!(message(new(6, 3, &[3])).contains("takes codes of length 3"), "codes");
    assert!(message(new(6, 2, &[3, 0])).contains("discriminator: hidden[1] is 0"), "units");
    let family = |family| {
        let config = MlpEncoderConfig::new(6, [3], 2).with_posterior(family);
        config.init(Seed::new(0), &device).unwrap_err().to_string()
    };
    assert!(family(Implicit::new([4, 0])).contains("hidden[1]"));
    assert!(family(Implicit::new([4]).with_noise_dim(0)).contains("noise_dim is 0"));
    let error = AdversarialElbo::default().with_adaptive_contrast(1).unwrap_err().to_string();
    assert!(error.contains("at least 2"), "{error}");
}

/// A configuration survives serialisation, and is not read as a different one.
#[test]
fn configurations_name_the_family() {
    let config = MlpEncoderConfig::new(6, [3], 2).with_posterior(Implicit::new([4]));
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains(r#""posterior":{"Implicit":{"#), "{json}");
    assert_eq!(serde_json::from_str::<MlpEncoderConfig<Implicit>>(&json).unwrap(), config);
    assert!(serde_json::from_str::<MlpEncoderConfig>(&json).is_err());
    let encoder = config.init(Seed::new(0), &Device::flex()).unwrap();
    let q = encoder.encode(Tensor::ones([3, 6], &Device::flex()), Phase::Eval);
    assert_eq!((q.dims(), q.mean().dims()), ([3, 2], [3, 2]));
}

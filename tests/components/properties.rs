//! Properties for any parameters, noise and data.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use std::sync::Arc;

use burn_vae::data::{BatchLoader, ByteImages};
use burn_vae::nn::{Activation, Init};
use burn_vae::posterior::{Density, DiagonalGaussian};
use burn_vae::prior::StandardNormal;
use burn_vae::{
    BernoulliNll, Divergence, Elbo, Encoder, Inputs, KlDivergence, Likelihood, MlpVae,
    MlpVaeConfig, ModuleConfig, NoiseSource, Objective, Posterior, Reparameterize, Seed,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new::<f32, _>(values.to_vec(), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn sum(values: Vec<f32>) -> f64 {
    values.into_iter().map(f64::from).sum()
}

/// A batch of three posteriors over two dimensions.
fn posterior() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let six = |range| prop::collection::vec(range, 6);
    (six(-3.0f32..3.0), six(-4.0f32..2.0))
}

fn gaussian(mean: &[f32], log_var: &[f32], device: &Device) -> DiagonalGaussian {
    DiagonalGaussian::new(tensor(mean, [3, 2], device), tensor(log_var, [3, 2], device))
}

/// A small, smooth model and a batch of grey values for it.
fn small(device: &Device) -> (MlpVae, Tensor<2>) {
    let mut config = MlpVaeConfig::mlp(12, [8], 3);
    config.encoder = config.encoder.with_activation(Activation::Tanh);
    config.decoder = config.decoder.with_activation(Activation::Tanh);
    let vae = config.init(Seed::new(5), device).unwrap();
    let x = (0..48).map(|i| (i * 37 % 101) as f32 / 100.0).collect::<Vec<_>>();
    (vae, tensor(&x, [4, 12], device))
}

proptest! {
    // The same cases in every run, and no file of failures.
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_divergence_layer_is_the_identity((mean, log_var) in posterior()) {
        let device = Device::flex().autodiff();
        let leaf = |values: &[f32]| tensor(values, [3, 2], &device).require_grad();
        let noise = NoiseSource::new(0).draw(0, [4, 3, 2], &device);
        let run = |through_layer: bool| {
            let (m, lv) = (leaf(&mean), leaf(&log_var));
            let q = DiagonalGaussian::new(m.clone(), lv.clone());
            let samples = q.draw(noise.clone(), Seed::new(0));
            let q = match through_layer {
                true => KlDivergence.forward(q, &StandardNormal, &samples).0,
                false => q,
            };
            let out = (q.mean.clone(), q.log_var.clone());
            let grads = q.rsample(noise.clone()).square().sum().backward();
            let grads = [m.grad(&grads).unwrap(), lv.grad(&grads).unwrap()];
            (values(out.0), values(out.1), grads.map(values))
        };
        let (m, lv, grads) = run(true);
        prop_assert_eq!(&m, &mean);
        prop_assert_eq!(&lv, &log_var);
        prop_assert_eq!(grads, run(false).2);
    }

    #[test]
    fn kl_is_not_negative_and_zero_only_at_the_prior((mean, log_var) in posterior()) {
        let device = Device::flex();
        let kl = KlDivergence.to_standard_normal(&gaussian(&mean, &log_var, &device));
        prop_assert!(values(kl).iter().all(|&kl| kl > 0.0));
        let at_prior = gaussian(&[0.0; 6], &[0.0; 6], &device);
        prop_assert_eq!(values(KlDivergence.to_standard_normal(&at_prior)), vec![0.0; 3]);
    }

    #[test]
    fn many_samples_are_many_calls((mean, log_var) in posterior(), k in 1usize..6) {
        let device = Device::flex();
        let q = gaussian(&mean, &log_var, &device);
        let noise = NoiseSource::new(1).draw(0, [k, 3, 2], &device);
        let together = values(q.rsample(noise.clone()));
        let apart = (0..k).flat_map(|i| values(q.rsample(noise.clone().narrow(0, i, 1))));
        prop_assert_eq!(together, apart.collect::<Vec<_>>());
    }

    #[test]
    fn without_noise_a_sample_is_the_mean((mean, log_var) in posterior()) {
        let device = Device::flex();
        let q = gaussian(&mean, &log_var, &device);
        let z = Reparameterize.forward(q.mean, q.log_var, Tensor::zeros([1, 3, 2], &device));
        prop_assert_eq!(values(z), mean);
    }

    #[test]
    fn nll_is_a_sum_over_values(
        logits in prop::collection::vec(-20.0f32..20.0, 8),
        x in prop::collection::vec(0.0f32..1.0, 8),
    ) {
        let device = Device::flex();
        let nll = |l: &[f32], x: &[f32]| {
            let n = x.len();
            let (l, x) = (tensor(l, [1, 1, n], &device), tensor(x, [1, n], &device));
            f64::from(values(BernoulliNll.nll(l, x))[0])
        };
        let parts = logits.iter().zip(&x).map(|(l, x)| nll(&[*l], &[*x])).sum::<f64>();
        let whole = nll(&logits, &x);
        prop_assert!((whole - parts).abs() <= 1e-5 * (1.0 + parts.abs()), "{} {}", whole, parts);
    }
}

/// The analytic divergence is the expectation of `log q - log p` under `q`.
#[test]
fn kl_agrees_with_monte_carlo() {
    let device = Device::flex();
    let (k, b, l) = (4000, 40, 3);
    let draw = |step| NoiseSource::new(7).draw(step, [1, b, l], &device).squeeze_dim::<2>(0);
    let q = DiagonalGaussian::new(draw(0), draw(1).sub_scalar(0.5));
    let z = q.rsample(NoiseSource::new(8).draw(0, [k, b, l], &device));
    let ratio = values(q.log_prob(z.clone()) - StandardNormal.log_prob(z));
    let mut outside = 0;
    for (example, exact) in values(KlDivergence.to_standard_normal(&q)).into_iter().enumerate() {
        let column = (0..k).map(|i| f64::from(ratio[i * b + example]));
        let mean = column.clone().sum::<f64>() / k as f64;
        let variance = column.map(|r| (r - mean).powi(2)).sum::<f64>() / (k - 1) as f64;
        let deviation = (mean - f64::from(exact)).abs() / (variance / k as f64).sqrt();
        assert!(deviation < 4.0, "example {example}: {mean} is {deviation} errors from {exact}");
        outside += usize::from(deviation > 2.0);
    }
    assert!(outside <= 8, "{outside} of {b} lie beyond two standard errors; 2 are expected");
}

#[test]
fn noise_has_the_moments_it_claims() {
    let device = Device::flex();
    for std in [1.0, 0.1] {
        let source = NoiseSource::new(3).with_std(std).unwrap();
        let noise = values(source.draw(0, [10, 1000, 20], &device));
        let n = noise.len() as f64;
        let std = f64::from(std);
        let moment = |p: i32| noise.iter().map(|&e| (f64::from(e) / std).powi(p)).sum::<f64>() / n;
        // Four standard errors of each moment, for 200,000 normal samples.
        for (p, expected, error) in
            [(1, 0.0, 0.009), (2, 1.0, 0.0127), (3, 0.0, 0.035), (4, 3.0, 0.088)]
        {
            let found = moment(p);
            assert!((found - expected).abs() < error, "moment {p}: {found}, not {expected}");
        }
    }
}

#[test]
fn noise_is_a_function_of_seed_and_step() {
    let draw = |seed, step| values(NoiseSource::new(seed).draw(step, [2, 3, 4], &Device::flex()));
    assert_eq!(draw(0, 0), draw(0, 0));
    assert_ne!(draw(0, 0), draw(0, 1));
    assert_ne!(draw(0, 0), draw(1, 0));
}

#[test]
fn noise_with_a_meaningless_deviation_is_refused() {
    for std in [-1.0, f32::NAN, f32::INFINITY] {
        let error = NoiseSource::new(0).with_std(std).unwrap_err().to_string();
        assert!(error.contains("standard deviation of the noise"), "{error}");
    }
}

#[test]
fn the_elbo_over_many_samples_is_the_mean_of_single_ones() {
    let device = Device::flex();
    let (vae, x) = small(&device);
    let noise = NoiseSource::new(2).draw(0, [7, 4, 3], &device);
    let nelbo =
        |noise| sum(values(Elbo::default().terms(&vae, Inputs::new(x.clone(), noise)).nelbo));
    let together = nelbo(noise.clone());
    let apart = (0..7).map(|i| nelbo(noise.clone().narrow(0, i, 1))).sum::<f64>() / 7.0;
    assert!((together - apart).abs() < 1e-4, "{together} is not {apart}");
}

#[test]
fn beta_weighs_the_loss_and_not_the_bound() {
    let device = Device::flex();
    let (vae, x) = small(&device);
    let noise = NoiseSource::new(2).draw(0, [1, 4, 3], &device);
    let plain = Elbo::default().terms(&vae, Inputs::new(x.clone(), noise.clone()));
    let beta = Elbo::default().with_beta(4.0).unwrap().terms(&vae, Inputs::new(x, noise));
    assert_eq!(values(plain.nelbo.clone()), values(beta.nelbo.clone()));
    assert_eq!(values(plain.loss), values(plain.nelbo));
    let weighted = values(beta.distortion + beta.divergence.mul_scalar(4.0));
    assert_eq!(values(beta.loss), weighted);
    assert!(Elbo::default().with_beta(-1.0).is_err());
}

/// The examples of a batch are independent of each other.
#[test]
fn each_example_has_its_own_terms() {
    let device = Device::flex();
    let (vae, x) = small(&device);
    let noise = NoiseSource::new(2).draw(0, [2, 4, 3], &device);
    let whole = values(Elbo::default().terms(&vae, Inputs::new(x.clone(), noise.clone())).nelbo);
    for (i, whole) in whole.into_iter().enumerate() {
        let (x, noise) = (x.clone().narrow(0, i, 1), noise.clone().narrow(1, i, 1));
        let alone = values(Elbo::default().terms(&vae, Inputs::new(x, noise)).nelbo)[0];
        assert!((whole - alone).abs() < 1e-5, "example {i}: {whole} in the batch, {alone} alone");
    }
}

/// Adds `step` times a fixed pseudo-random direction to every parameter, and collects the
/// direction.
struct Shift {
    step: f32,
    seed: Seed,
    direction: Vec<f32>,
}

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed = self.seed.at(0);
        let (n, shape, device) = (param.shape().num_elements(), param.shape(), param.device());
        let direction = NoiseSource::new(self.seed).draw(0, [1, 1, n], &device.inner());
        self.direction.extend(values(direction.clone()));
        let shift = direction.reshape(shape).mul_scalar(self.step);
        param.map(|value| {
            let device = value.device();
            let shift = shift.to_device(&device);
            let shift = if device.is_autodiff() { shift.autodiff() } else { shift };
            value + shift
        })
    }
}

/// Accumulates the dot product of the gradient and a fixed pseudo-random direction.
struct Along<'a> {
    grads: &'a Gradients,
    direction: std::vec::IntoIter<f32>,
    sum: f64,
}

impl ModuleVisitor for Along<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        for grad in values(param.val().grad(self.grads).expect("a gradient")) {
            self.sum += f64::from(grad * self.direction.next().unwrap());
        }
    }
}

/// Compares the derivative of the loss along random directions in the space of all weights, by
/// backpropagation and by central differences.
#[test]
fn the_gradient_of_the_elbo_is_its_finite_difference() {
    let device = Device::flex();
    let (vae, x) = small(&device);
    let noise = NoiseSource::new(2).draw(0, [3, 4, 3], &device);
    let loss = |vae: &MlpVae| {
        let terms = Elbo::default().terms(vae, Inputs::new(x.clone(), noise.clone()));
        sum(values(terms.loss)) / 4.0
    };
    let on_autodiff = |x: Tensor<2>| tensor(&values(x), [4, 12], &device.clone().autodiff());
    let noise_on_autodiff = tensor(&values(noise.clone()), [3, 4, 3], &device.clone().autodiff());
    let trained = vae.clone().train();
    let inputs = Inputs::new(on_autodiff(x.clone()), noise_on_autodiff);
    let terms = Elbo::default().terms(&trained, inputs);
    let grads = terms.mean().backward();

    let step = 3e-3;
    let mut slopes = 0.0;
    for seed in (0..6).map(Seed::new) {
        let shift = |step| Shift { step, seed, direction: Vec::new() };
        let ahead = loss(&vae.clone().map(&mut shift(step)));
        let behind = loss(&vae.clone().map(&mut shift(-step)));
        let difference = (ahead - behind) / (2.0 * f64::from(step));

        let mut still = shift(0.0);
        let _ = vae.clone().map(&mut still);
        let mut along = Along { grads: &grads, direction: still.direction.into_iter(), sum: 0.0 };
        trained.visit(&mut along);
        assert!(along.direction.next().is_none(), "a parameter without a gradient");
        let error = (along.sum - difference).abs();
        assert!(error < 2e-3, "backpropagation {}, finite difference {difference}", along.sum);
        slopes += along.sum.abs() / 6.0;
    }
    assert!(slopes > 0.5, "the directions are flat, {slopes}: nothing was compared");
}

#[test]
fn a_decoder_without_hidden_layers_is_linear() {
    let device = Device::flex();
    let vae = MlpVaeConfig::mlp(12, [], 3).init(Seed::new(0), &device).unwrap();
    assert_eq!(vae.encoder.data_dim(), 12);
    assert_eq!(
        burn_vae::summary::Summary::of(&vae).params().total(),
        2 * (12 * 3 + 3) + 3 * 12 + 12
    );
    let z = NoiseSource::new(0).draw(0, [1, 2, 3], &device).squeeze_dim::<2>(0);
    let logits = |z| burn_vae::Decoder::decode(&vae.decoder, z);
    let (one, two) = (logits(z.clone()), logits(z.mul_scalar(2.0)));
    // The biases start at zero.
    for (one, two) in values(one).into_iter().zip(values(two)) {
        assert!((2.0 * one - two).abs() < 1e-5, "{one} {two}");
    }
}

/// What a seed produces is stable: a change here breaks reproducibility and belongs in the
/// changelog.
#[test]
fn what_a_seed_gives_stays_the_same() {
    let device = Device::flex();
    let noise = values(NoiseSource::new(0).draw(3, [1, 1, 4], &device));
    assert_eq!(noise, [-0.43404344, 0.84532714, 1.4287331, -0.12242816]);
    for (init, expected) in [
        (Init::GlorotUniform, [0.3789289, 0.5121279, 0.56306386]),
        (Init::GlorotNormal, [0.494947, -0.10186696, 0.21417294]),
        (Init::HeUniform, [0.43754935, 0.59135425, 0.65016997]),
        (Init::HeNormal, [0.5715156, -0.11762584, 0.24730562]),
        (Init::Zeros, [0.0; 3]),
    ] {
        let layer = init.linear(3, 1, Seed::new(0), &device).unwrap();
        assert_eq!(values(layer.weight.val()), expected, "{init:?}");
    }
    let images = Arc::new(ByteImages::new(vec![0, 1, 2, 3, 4, 5, 6, 7], [1, 1, 1]).unwrap());
    let loader = BatchLoader::shuffled(images, 8, 0, &device).unwrap();
    let order = |loader: &BatchLoader| {
        let x = loader.epoch().next().unwrap().unwrap().x.mul_scalar(255.0).round();
        values(x).into_iter().map(|v| v as u8).collect::<Vec<_>>()
    };
    assert_eq!(order(&loader), [5, 2, 4, 0, 1, 3, 6, 7]);
    assert_eq!(order(&loader), [6, 0, 3, 4, 1, 7, 2, 5]);
}

/// `detach` stops gradients to the parameters, not to the samples.
#[test]
fn a_detached_posterior_passes_no_gradient_to_its_parameters() {
    let device = Device::flex().autodiff();
    let leaf = |v: f32| Tensor::<2>::full([1, 2], v, &device).require_grad();
    let (mean, log_var) = (leaf(0.5), leaf(-1.0));
    let q = DiagonalGaussian::new(mean.clone(), log_var.clone());
    let z = Tensor::<3>::full([1, 1, 2], 2.0, &device).require_grad();
    let grads = q.detach().log_prob(z.clone()).sum().backward();
    assert!(mean.grad(&grads).is_none() && log_var.grad(&grads).is_none());
    assert!(z.grad(&grads).is_some());
    // One is computed from the noise, the other from the rounded codes.
    let samples = q.draw(z.clone().detach(), Seed::new(1));
    let (kept, computed) = (values(samples.log_prob(&q)), values(q.log_prob(samples.z.clone())));
    assert!((kept[0] - computed[0]).abs() < 1e-6 * computed[0].abs(), "{kept:?} {computed:?}");
}

/// A Bernoulli sample is 0 or 1 with the probability of its logit.
#[test]
fn bernoulli_draws_have_their_probabilities() {
    let device = Device::flex();
    let logits = Tensor::<1>::from_data([-2.0, 0.0, 1.0], &device).unsqueeze_dim::<2>(0);
    let draws = values(BernoulliNll.sample(logits.clone().repeat_dim(0, 20_000), Seed::new(4)));
    let probabilities = values(BernoulliNll.mean(logits));
    for (j, p) in probabilities.into_iter().map(f64::from).enumerate() {
        let column = draws.iter().skip(j).step_by(3);
        assert!(column.clone().all(|&x| x == 0.0 || x == 1.0));
        let mean = column.map(|&x| f64::from(x)).sum::<f64>() / 20_000.0;
        let error = (p * (1.0 - p) / 20_000.0).sqrt();
        assert!((mean - p).abs() < 4.0 * error, "{mean} is not {p}");
    }
}

//! Mixture priors, compared with torch.distributions, on grids and in training.

use crate::parameters::filled;
use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{HierarchicalEncoder, MlpEncoder, MlpEncoderConfig};
use burn_vae::flow::FlowsConfig;
use burn_vae::likelihood::Support;
use burn_vae::nn::Activation;
use burn_vae::objective::{Iwae, Piwae};
use burn_vae::posterior::{
    BernoulliFamily, CategoricalFamily, Density, Diagonal, DiagonalGaussian, Family,
    FullCovariance, Head, Implicit, Temperature, Transformed,
};
use burn_vae::prior::{
    Distribution, MixturePrior, MixturePriorConfig, StandardNormal, VampPrior, VampPriorConfig,
};
use burn_vae::{
    BernoulliNll, Elbo, Encoder, Inputs, ModuleConfig, NoiseSource, Objective, Phase, Posterior,
    Prior, Seed, Vae, saved,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    shape: [usize; 4],
    weights: Vec<f64>,
    log_prob: Vec<f64>,
    logits: Vec<f64>,
    mean: Vec<f64>,
    log_var: Vec<f64>,
    z: Vec<f64>,
    d_logits: Vec<f64>,
    d_mean: Vec<f64>,
    d_log_var: Vec<f64>,
    d_z: Vec<f64>,
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let values = values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
}

fn values<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.to_data().iter().collect()
}

/// Asserts equality up to an error relative to the largest value.
fn close(what: &str, found: &[f64], expected: &[f64], error: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f64, |size, value| size.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < error * size, "{what}[{i}]: {found} is not {expected}");
    }
}

#[test]
fn mixtures_have_the_densities_and_gradients_of_torch() {
    let goldens = include_str!("../fixtures/priors.json");
    let goldens: Goldens = serde_json::from_str(goldens).unwrap();
    assert_eq!(goldens.cases.len(), 4);
    for case in &goldens.cases {
        let [components, dim, samples, batch] = case.shape;
        let prior = MixturePriorConfig::new(components, dim);
        let prior = prior.init(Seed::new(0), &Device::flex()).unwrap();
        let all = [&case.logits, &case.mean, &case.log_var];
        let all = all.into_iter().flatten().map(|&value| value as f32).collect();
        let prior = filled(prior, all).train();
        let z = Tensor::from_inner(tensor(&case.z, [samples, batch, dim])).require_grad();
        let bound = prior.bind(&encoder(6, dim), Phase::Eval);
        let log_prob = bound.log_prob(z.clone());
        close("log_prob", &values(&log_prob.clone().without_autodiff()), &case.log_prob, 2e-6);
        let weights = Tensor::from_inner(tensor(&case.weights, [samples, batch]));
        let mut gradients = (log_prob * weights).sum().backward();
        close("d_z", &values(&z.grad(&gradients).unwrap()), &case.d_z, 1e-5);
        let found = GradientsParams::from_module(&mut gradients, &prior);
        let mut lists = gradients_of(&prior, &found).into_iter();
        for (name, expected) in
            [("logits", &case.d_logits), ("mean", &case.d_mean), ("log_var", &case.d_log_var)]
        {
            close(name, &lists.next().unwrap(), expected, 1e-5);
        }
    }
}

/// The gradients of a module's parameters, in order.
fn gradients_of<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Vec<f64>> {
    struct List<'a>(&'a GradientsParams, Vec<Vec<f64>>);
    impl burn::module::ModuleVisitor for List<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id);
            self.1.push(gradient.map_or_else(Vec::new, |gradient| values(&gradient)));
        }
    }
    let mut list = List(gradients, Vec::new());
    module.visit(&mut list);
    list.1
}

fn encoder(data_dim: usize, latent_dim: usize) -> MlpEncoder {
    let config = MlpEncoderConfig::new(data_dim, [5], latent_dim).with_activation(Activation::Tanh);
    config.init(Seed::new(4), &Device::flex()).unwrap()
}

fn vamp(components: usize, data_dim: usize) -> VampPrior {
    VampPriorConfig::new(components, data_dim).init(Seed::new(2), &Device::flex()).unwrap()
}

/// `log 1/K sum_k N(z; mean_k, var_k)` in double precision.
fn log_mixture(q: &DiagonalGaussian, z: &[f64]) -> f64 {
    let (mean, log_var) = (values(&q.mean), values(&q.log_var));
    let component = |k: usize| {
        let term = |j: usize| {
            let (mean, log_var) = (mean[k * z.len() + j], log_var[k * z.len() + j]);
            (z[j] - mean).powi(2) / log_var.exp() + log_var + std::f64::consts::TAU.ln()
        };
        (-0.5 * (0..z.len()).map(term).sum::<f64>()).exp()
    };
    let count = mean.len() / z.len();
    ((0..count).map(component).sum::<f64>() / count as f64).ln()
}

#[test]
fn a_vamp_prior_is_the_mixture_of_its_models_posteriors() {
    let (encoder, prior) = (encoder(6, 3), vamp(7, 6));
    let q = encoder.encode(prior.pseudo_inputs(), Phase::Eval);
    let z = NoiseSource::new(8).draw(0, [2, 5, 3], &Device::flex());
    let found = values(&prior.bind(&encoder, Phase::Eval).log_prob(z.clone()));
    let expected = values(&z).chunks_exact(3).map(|z| log_mixture(&q, z)).collect::<Vec<_>>();
    close("log_prob", &found, &expected, 2e-6);
    // With one pseudo-input the prior is that posterior.
    let one = vamp(1, 6);
    let q = encoder.encode(one.pseudo_inputs(), Phase::Eval);
    let alone = values(&q.log_prob(z.clone().reshape([10, 1, 3])));
    close("one", &values(&one.bind(&encoder, Phase::Eval).log_prob(z)), &alone, 2e-6);
}

/// `log 1/K sum_k q(z|u_k)` in double precision, from the components' own densities.
fn log_mean_exp(columns: &[Vec<f64>]) -> Vec<f64> {
    let one = |i: usize| {
        let highest = columns.iter().fold(f64::NEG_INFINITY, |most, column| most.max(column[i]));
        let sum = columns.iter().map(|column| (column[i] - highest).exp()).sum::<f64>();
        highest + (sum / columns.len() as f64).ln()
    };
    (0..columns[0].len()).map(one).collect()
}

/// Checks that selected distributions have the means and the samples of the rows they were selected
/// from.
fn check_select<E: Encoder>(what: &str, encoder: &E, phase: Phase) {
    let device = Device::flex();
    let x = NoiseSource::new(5).draw(0, [1, 4, 6], &device).squeeze_dim::<2>(0);
    let q = encoder.encode(x, phase);
    let places = || Tensor::<1, Int>::from_data([3, 0, 3], &device);
    let selected = q.select(places());
    assert_eq!(selected.dims(), [3, encoder.latent_dim()], "{what}");
    close(what, &values(&selected.mean()), &values(&q.mean().select(0, places())), 1e-6);
    let noise = NoiseSource::new(6).draw_for(0, 2, 4, &encoder.noise(), &device);
    let expected = q.rsample(noise.clone()).select(1, places());
    close(what, &values(&selected.rsample(noise.select(1, places()))), &values(&expected), 1e-6);
}

#[test]
fn implicit_posteriors_can_be_selected() {
    let config = MlpEncoderConfig::new(6, [5], 2).with_posterior(Implicit::new([4]));
    let encoder = config.init(Seed::new(4), &Device::flex()).unwrap();
    check_select("implicit", &encoder, Phase::Eval);
}

/// Storing a row of each component for each sample would take 32 GB here.
#[test]
fn many_samples_of_one_among_many_components() {
    let (components, n, device) = (20_000, 200_000, Device::flex());
    let prior = MixturePriorConfig::new(components, 1).init(Seed::new(0), &device).unwrap();
    let weights = (0..components).map(|k| if k == 7 { 100.0 } else { 0.0 });
    let rest = std::iter::repeat_n(0.0, components);
    let means = (0..components).map(|k| if k == 7 { 3.0 } else { -3.0 });
    let prior = filled(prior, weights.chain(means).chain(rest).collect());
    let z = values(&prior.bound().sample(n, 1, Seed::new(1), &device));
    let mean = z.iter().sum::<f64>() / n as f64;
    assert!((mean - 3.0).abs() < 5.0 / (n as f64).sqrt(), "{mean}");
}

/// Any posterior family with a density makes a mixture: full covariances, flows, bits, variables,
/// relaxed ones at the temperature of the step, and hierarchies. The mixture has the posterior's
/// kind of codes.
#[test]
fn a_vamp_prior_takes_any_posterior_with_a_density() {
    fn check<E: Encoder<Posterior: Density>>(what: &str, encoder: E, phase: Phase) {
        let (prior, device) = (vamp(5, 6), Device::flex());
        prior.check(&encoder).unwrap();
        let bound = prior.bind(&encoder, phase);
        let pseudo_inputs = prior.pseudo_inputs();
        // Codes from the posteriors of other data, as drawn in a step.
        let x = NoiseSource::new(1).draw(0, [1, 4, 6], &device).squeeze_dim::<2>(0);
        let noise = NoiseSource::new(2).draw_for(0, 3, 4, &encoder.noise(), &device);
        let z = encoder.encode(x, phase).rsample(noise);
        let component = |k: usize| {
            let q = encoder.encode(pseudo_inputs.clone().narrow(0, k, 1), phase);
            values(&q.log_prob(z.clone().reshape([12, 1, encoder.latent_dim()])))
        };
        let expected = log_mean_exp(&(0..5).map(component).collect::<Vec<_>>());
        close(what, &values(&bound.log_prob(z)), &expected, 5e-6);
        check_select(what, &encoder, phase);
        assert_eq!(bound.latent_dim(), Some(encoder.latent_dim()), "{what}");
        assert_eq!(bound.support(), encoder.latent_support(), "{what}");
        // Samples are codes of the components: their density is not NaN, and they have the prior's
        // support.
        let codes = bound.sample(40, encoder.latent_dim(), Seed::new(3), &device);
        assert_eq!(codes.dims(), [40, encoder.latent_dim()], "{what}");
        let log = values(&bound.log_prob(codes.clone().unsqueeze_dim(1)));
        let is_possible = phase != Phase::Eval || log.iter().all(|log| log.is_finite());
        assert!(is_possible && log.iter().all(|log| !log.is_nan()), "{what}: {log:?}");
        if phase == Phase::Eval && encoder.latent_support() != Support::Real {
            assert!(values(&codes).iter().all(|&z| z == 0.0 || z == 1.0), "{what}");
        }
    }
    fn of<F: Family<Head: Head<Posterior: Density>>>(
        latent_dim: usize,
        family: F,
    ) -> MlpEncoder<F::Head> {
        let config = MlpEncoderConfig::new(6, [5], latent_dim).with_posterior(family);
        config.init(Seed::new(4), &Device::flex()).unwrap()
    }
    let temperature = Temperature::constant(0.7).unwrap();
    let bits = BernoulliFamily::new(temperature);
    let variables = CategoricalFamily::new(3, temperature);
    let (train, eval) = (Phase::Train { step: 2 }, Phase::Eval);
    check("diagonal", of(3, Diagonal), eval);
    check("full covariance", of(3, FullCovariance), eval);
    check("flows", of(3, Transformed::new(FlowsConfig::inverse_autoregressive(2, [5]))), eval);
    let base = Transformed::new(FlowsConfig::real_nvp(2, [5])).with_base(FullCovariance);
    check("flows of a full covariance", of(3, base), eval);
    for phase in [train, eval] {
        check("bits", of(3, bits), phase);
        check("straight-through bits", of(3, bits.straight_through()), phase);
        check("variables", of(6, variables), phase);
    }
    let layer = |data_dim, latent_dim, seed| {
        let config = MlpEncoderConfig::new(data_dim, [5], latent_dim);
        let layer: MlpEncoder = config.init(Seed::new(seed), &Device::flex()).unwrap();
        layer
    };
    let layers = vec![layer(6, 3, 1), layer(3, 2, 2)];
    check("hierarchy", HierarchicalEncoder::new(layers).unwrap(), eval);
}

/// On a grid with all but 1e-6 of the mass.
#[test]
fn densities_integrate_to_one() {
    let encoder = encoder(6, 2);
    let (n, half) = (601, 9.0f64);
    let step = 2.0 * half / (n - 1) as f64;
    let at = |i: usize| i as f64 * step - half;
    let grid = (0..n * n).flat_map(|i| [at(i / n), at(i % n)]).collect::<Vec<_>>();
    let grid = tensor(&grid, [1, n * n, 2]);
    let mixture = MixturePriorConfig::new(4, 2).init(Seed::new(3), &Device::flex()).unwrap();
    let mixture = mixture.bind(&encoder, Phase::Eval);
    let vamp = vamp(5, 6).bind(&encoder, Phase::Eval);
    for log_prob in [mixture.log_prob(grid.clone()), vamp.log_prob(grid)] {
        let sum = values(&log_prob).iter().map(|log| log.exp()).sum::<f64>() * step * step;
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }
}

/// Compares means and variances of many samples with those of the mixture.
#[test]
fn samples_are_of_the_mixture() {
    let (device, n) = (Device::flex(), 50_000);
    let weights = [0.5f64.ln(), 0.3f64.ln(), 0.2f64.ln()];
    let means = [[0.0, 1.0], [3.0, -1.0], [-2.0, 0.5]];
    let log_vars = [[0.0, -1.0], [0.5, 0.2], [-0.3, 1.0]];
    let all = weights.iter().chain(means.as_flattened()).chain(log_vars.as_flattened());
    let prior: MixturePrior = filled(
        MixturePriorConfig::new(3, 2).init(Seed::new(0), &device).unwrap(),
        all.map(|&value| value as f32).collect(),
    );
    let encoder = encoder(6, 2);
    let prior = prior.bind(&encoder, Phase::Eval);
    let q = encoder.encode(vamp(3, 6).pseudo_inputs(), Phase::Eval);
    let vamp = vamp(3, 6).bind(&encoder, Phase::Eval);
    let (vamp_means, vamp_log_vars) = (values(&q.mean), values(&q.log_var));
    let third = [(1.0f64 / 3.0).ln(); 3];
    for (name, samples, weights, means, log_vars) in [
        (
            "mixture",
            prior.sample(n, 2, Seed::new(1), &device),
            &weights,
            means.as_flattened(),
            log_vars.as_flattened(),
        ),
        (
            "vamp",
            vamp.sample(n, 2, Seed::new(1), &device),
            &third,
            &vamp_means[..],
            &vamp_log_vars[..],
        ),
    ] {
        let rows = values(&samples);
        for j in 0..2 {
            let column = || rows.iter().skip(j).step_by(2);
            let part = |k: usize| (weights[k].exp(), means[2 * k + j], log_vars[2 * k + j].exp());
            let mean = (0..3).map(|k| part(k).0 * part(k).1).sum::<f64>();
            let variance = (0..3).map(|k| part(k).0 * (part(k).2 + (part(k).1 - mean).powi(2)));
            let variance = variance.sum::<f64>();
            let found = column().sum::<f64>() / n as f64;
            let squares = column().map(|z| (z - mean).powi(2)).collect::<Vec<_>>();
            let spread = squares.iter().sum::<f64>() / n as f64;
            let fourth = squares.iter().map(|s| (s - spread).powi(2)).sum::<f64>() / n as f64;
            assert!(
                (found - mean).abs() < 4.0 * (variance / n as f64).sqrt(),
                "{name} {j}: {found}"
            );
            let error = (fourth / n as f64).sqrt();
            assert!((spread - variance).abs() < 4.0 * error, "{name} {j}: {spread} {variance}");
        }
    }
    let again = prior.sample(9, 2, Seed::new(1), &device);
    assert_eq!(values(&again), values(&prior.sample(9, 2, Seed::new(1), &device)));
}

type VampVae = Vae<MlpEncoder, burn_vae::decoder::MlpDecoder, BernoulliNll, VampPrior>;

fn model() -> VampVae {
    let decoder = MlpDecoderConfig::new(2, [4], 6)
        .with_activation(Activation::Tanh)
        .init(Seed::new(5), &Device::flex())
        .unwrap();
    Vae::new(encoder(6, 2), decoder, BernoulliNll, vamp(4, 6)).unwrap()
}

fn inputs(samples: usize) -> Inputs {
    let x = NoiseSource::new(1).draw(0, [1, 8, 6], &Device::flex()).squeeze_dim::<2>(0);
    let x = x.greater_elem(0.0).float();
    let eps = NoiseSource::new(2).draw(0, [samples, 8, 2], &Device::flex());
    Inputs::new(Tensor::from_inner(x), Tensor::from_inner(eps))
}

/// The bound's gradient reaches the pseudo-inputs and, through both prior and posterior, the
/// encoder. Checked by finite differences in every value.
#[test]
fn the_prior_trains_the_pseudo_inputs_and_the_encoder() {
    let model = model();
    let numbers = {
        let mut list = All(Vec::new());
        model.visit(&mut list);
        list.0
    };
    let nelbo = |numbers: Vec<f32>| {
        let model = filled(model.clone(), numbers).train();
        let terms = Elbo::new(MonteCarloKl::default()).terms(&model, inputs(3));
        let mut gradients = terms.mean().backward();
        let gradients = GradientsParams::from_module(&mut gradients, &model);
        let gradients = gradients_of(&model, &gradients).concat();
        (values(&terms.nelbo).iter().sum::<f64>() / 8.0, gradients)
    };
    let (_, gradients) = nelbo(numbers.clone());
    assert_eq!(gradients.len(), numbers.len());
    for (i, gradient) in gradients.iter().enumerate() {
        let step = 1e-2;
        let at = |shift: f32| {
            let mut numbers = numbers.clone();
            numbers[i] += shift;
            nelbo(numbers).0
        };
        let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
        assert!(
            (slope - gradient).abs() < 1e-3 * (1.0 + gradient.abs()),
            "{i}: {gradient} {slope}"
        );
    }
    let pseudo = gradients[gradients.len() - 24..].iter().map(|g| g.abs()).sum::<f64>();
    assert!(pseudo > 1e-3, "{pseudo}");
}

struct All(Vec<f32>);

impl burn::module::ModuleVisitor for All {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(values(&param.val()).iter().map(|&value| value as f32));
    }
}

/// The encoder's part of PIWAE's loss does not reach the prior's pseudo-inputs, nor the encoder
/// through the prior.
#[test]
fn an_encoders_loss_does_not_train_the_prior() {
    let model = model().train();
    let gradient = |terms: burn_vae::objective::Terms| {
        let mut gradients = terms.mean().backward();
        let gradients = GradientsParams::from_module(&mut gradients, &model);
        gradients_of(&model.prior, &gradients).concat()
    };
    // With one group, the generative part of both losses is the bound of IWAE.
    let piwae = gradient(Piwae::new(1).unwrap().terms(&model, inputs(4)));
    let iwae = gradient(Iwae::default().terms(&model, inputs(4)));
    close("pseudo-inputs", &piwae, &iwae, 1e-6);
    assert!(iwae.iter().any(|g| g.abs() > 1e-5));
}

#[test]
fn pseudo_inputs_start_from_examples() {
    let device = Device::flex();
    let rows = [[0.0, 1.0, 0.5, 0.3, 0.9, 0.1], [1.0; 6]].map(|row| row.map(|v: f32| f64::from(v)));
    let examples = tensor(rows.as_flattened(), [2, 6]);
    let prior = vamp(2, 6).starting_from(examples.clone()).unwrap();
    let expected = rows.as_flattened().iter().map(|v| v.clamp(0.05, 0.95)).collect::<Vec<_>>();
    close("in the unit interval", &values(&prior.pseudo_inputs()), &expected, 1e-6);
    let error = vamp(3, 6).starting_from(examples.clone()).unwrap_err().to_string();
    assert!(error.contains("[2, 6]") && error.contains("[3, 6]"), "{error}");
    let wide =
        VampPriorConfig::new(2, 6).with_range(-4.0, 4.0).init(Seed::new(0), &device).unwrap();
    let wide = wide.starting_from(examples.mul_scalar(2.0)).unwrap();
    let expected = rows.as_flattened().iter().map(|v| 2.0 * v).collect::<Vec<_>>();
    close("in a wider one", &values(&wide.pseudo_inputs()), &expected, 1e-5);
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::flex();
    for (config, part) in [
        (VampPriorConfig::new(0, 6), "components is 0"),
        (VampPriorConfig::new(3, 0), "data_dim is 0"),
        (VampPriorConfig::new(usize::MAX, 3), "too many"),
        (VampPriorConfig::new(3, 6).with_range(1.0, 1.0), "low is 1 and high is 1"),
        (VampPriorConfig::new(3, 6).with_range(0.0, f32::NAN), "high is NaN"),
    ] {
        let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for (config, part) in [
        (MixturePriorConfig::new(0, 2), "components is 0"),
        (MixturePriorConfig::new(2, 0), "latent_dim is 0"),
    ] {
        let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let decoder = || {
        MlpDecoderConfig::new(2, [4], 6)
            .with_activation(Activation::Tanh)
            .init(Seed::new(5), &device)
            .unwrap()
    };
    let error = Vae::new(encoder(6, 2), decoder(), BernoulliNll, vamp(4, 5)).unwrap_err();
    assert!(error.to_string().contains("have 5 values, but the encoder takes 6"), "{error}");
    let prior = MixturePriorConfig::new(4, 3).init(Seed::new(0), &device).unwrap();
    let error = Vae::new(encoder(6, 2), decoder(), BernoulliNll, prior).unwrap_err();
    assert!(error.to_string().contains("codes of length 3"), "{error}");
}

/// If the codes form clusters, a mixture beats a single Gaussian.
#[test]
fn a_learned_prior_ends_below_the_standard_one() {
    let rows = (0..200).flat_map(|i| (0..6).map(move |j| f64::from(u8::from(j % 3 == i % 3))));
    let x = tensor(&rows.collect::<Vec<_>>(), [200, 6]);
    fn fit<P: Prior<MlpEncoder>>(
        prior: P,
        x: &Tensor<2>,
    ) -> (f64, Vae<MlpEncoder, burn_vae::decoder::MlpDecoder, BernoulliNll, P>) {
        let decoder = MlpDecoderConfig::new(2, [8], 6).init(Seed::new(5), &Device::flex()).unwrap();
        let mut vae = Vae::new(encoder(6, 2), decoder, BernoulliNll, prior).unwrap().train();
        let (mut optimizer, mut last) = (AdamConfig::new().init(), 0.0);
        let objective = Elbo::new(MonteCarloKl::default());
        for step in 0..500 {
            let eps = NoiseSource::new(7).draw(step, [1, 200, 2], &Device::flex());
            let inputs = Inputs::new(Tensor::from_inner(x.clone()), Tensor::from_inner(eps));
            let terms = objective.terms(&vae, inputs.at(step, Seed::new(0)));
            if step >= 450 {
                last += values(&terms.nelbo).iter().sum::<f64>() / 200.0 / 50.0;
            }
            let gradients = GradientsParams::from_grads(terms.mean().backward(), &vae);
            vae = optimizer.step(2e-2, vae, gradients);
        }
        (last, vae.valid())
    }
    let (plain, _) = fit(StandardNormal, &x);
    let mixture = MixturePriorConfig::new(6, 2).init(Seed::new(1), &Device::flex()).unwrap();
    let (mixture, _) = fit(mixture, &x);
    let (vamp, vae) = fit(vamp(6, 6), &x);
    // With three equally likely patterns, ln 3 = 1.099 is optimal.
    for nelbo in [mixture, vamp] {
        assert!(nelbo > 3f64.ln() - 0.02 && nelbo < plain - 0.2, "{mixture} {vamp}, not {plain}");
    }

    // A model with such a prior is unchanged after saving and loading.
    let config = burn_vae::VaeConfig {
        encoder: MlpEncoderConfig::new(6, [5], 2).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(2, [8], 6),
        likelihood: BernoulliNll,
        prior: VampPriorConfig::new(6, 6),
    };
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path().join("model"), &config, &vae).unwrap();
    let (again, loaded) = saved::load(dir.path().join("model"), &Device::flex()).unwrap();
    assert_eq!(config, again);
    assert_eq!(values(&vae.sample(5, 1).unwrap()), values(&loaded.sample(5, 1).unwrap()));
    assert_eq!(vae.encode(x).unwrap().dims(), [200, 2]);
}

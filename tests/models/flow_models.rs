//! Distributions with flows: densities, samples, and training.

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{FromPosterior, log_weights};
use burn_vae::flow::FlowsConfig;
use burn_vae::nn::Init;
use burn_vae::objective::{Gradient, Iwae};
use burn_vae::posterior::{
    Density, DiagonalGaussian, Family, FullCovariance, Head, NewHead, Transformed,
    TransformedPosterior,
};
use burn_vae::prior::{Distribution, FlowPriorConfig, GaussianPriorConfig};
use burn_vae::{
    BernoulliNll, Elbo, Inputs, ModuleConfig, NoiseSource, Objective, Phase, Posterior, Prior,
    Seed, VaeConfig, saved,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    banana: Banana,
}

#[derive(Deserialize)]
struct Banana {
    bend: f64,
    width: f64,
    best_gaussian_kl: f64,
}

/// `fixtures/flows.py` computes the references.
fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/flows.json")).unwrap()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new::<f32, _>(values.to_vec(), shape), device)
}

fn list<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

fn close(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f64, |size, x| size.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= bound * size, "{what}: {found} is not {expected}");
    }
}

fn noise(seed: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
    NoiseSource::new(seed).draw(0, shape, device)
}

/// Perturbs the parameters of a module at random.
fn random<M: Module>(module: M, scale: f64, seed: u64) -> M {
    struct Values(Vec<f32>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut values = Values(Vec::new());
    module.visit(&mut values);
    let start = tensor(&values.0, [1, 1, values.0.len()], &Device::flex());
    let moved = start + noise(seed, [1, 1, values.0.len()], &Device::flex()).mul_scalar(scale);
    filled(module, moved.into_data().try_to_vec().unwrap())
}

fn kinds() -> [FlowsConfig; 6] {
    let iaf = FlowsConfig::inverse_autoregressive(2, [8]);
    [
        FlowsConfig::planar(3),
        FlowsConfig::radial(3),
        iaf.clone(),
        iaf.inverted(),
        FlowsConfig::real_nvp(2, [8]),
        FlowsConfig::planar(1).inverted().then(FlowsConfig::radial(2)),
    ]
}

/// Returns two posteriors over two dimensions.
fn posterior(flows: FlowsConfig, device: &Device) -> TransformedPosterior<DiagonalGaussian> {
    let head = Transformed::new(flows).init(&NewHead {
        features: 3,
        latent_dim: 2,
        init: Init::default(),
        seed: Seed::new(0),
        device: &Device::flex(),
    });
    let head = random(head.unwrap(), 0.4, 5);
    let head = if device.is_autodiff() { head.train() } else { head };
    head.forward(tensor(&[0.5, -1.0, 0.2, 1.0, 0.3, -0.4], [2, 3], device), Phase::Eval)
}

/// An encoder to which priors of two dimensions can be bound.
fn encoder() -> MlpEncoder {
    MlpEncoderConfig::new(3, [], 2).init(Seed::new(0), &Device::flex()).unwrap()
}

/// The points of a grid around the origin, `[points, 1, 2]`, and the area of a cell.
fn grid() -> (Tensor<3>, f64) {
    let (steps, reach) = (400, 30.0f32);
    let at = |i: usize| (i as f32 + 0.5) * 2.0 * reach / steps as f32 - reach;
    let points =
        (0..steps).flat_map(|i| (0..steps).flat_map(move |j| [at(i), at(j)])).collect::<Vec<_>>();
    let cell = f64::from(2.0 * reach / steps as f32).powi(2);
    (tensor(&points, [steps * steps, 1, 2], &Device::flex()), cell)
}

#[test]
fn densities_integrate_to_one() {
    let (points, cell) = grid();
    let both = points.clone().repeat_dim(1, 2);
    for flows in kinds() {
        let q = posterior(flows.clone(), &Device::flex());
        let mass = q.log_prob(both.clone()).exp().sum_dim(0).mul_scalar(cell);
        close(&list(mass), &[1.0, 1.0], 2e-3, &format!("{flows:?}"));
        let prior = FlowPriorConfig::new(2, flows.clone()).init(Seed::new(3), &Device::flex());
        let prior = random(prior.unwrap(), 0.4, 9).bind(&encoder(), Phase::Eval);
        let mass = prior.log_prob(points.clone()).exp().sum_dim(0).mul_scalar(cell);
        close(&list(mass), &[1.0], 2e-3, &format!("{flows:?}"));
    }
}

/// `draw` agrees with `rsample` and `log_prob`, for every family with its own density.
#[test]
fn the_density_of_a_draw_is_that_of_its_samples() {
    fn check(q: impl Posterior + Density, what: &str) {
        let eps = noise(2, [4, 2, 2], &Device::flex());
        let samples = q.draw(eps.clone(), Seed::new(0));
        assert_eq!(list(samples.z.clone()), list(q.rsample(eps)), "{what}");
        assert!(samples.log_prob.is_some() || samples.noise.is_some(), "{what} keeps nothing");
        let own = list(samples.log_prob(&q));
        close(&own, &list(q.log_prob(samples.z)), 2e-5, what);
        assert_eq!(q.dims(), [2, 2]);
    }
    let device = Device::flex();
    for flows in kinds() {
        let q = posterior(flows.clone(), &device);
        let centre = q.rsample(Tensor::zeros([1, 2, 2], &device));
        assert_eq!(list(q.mean()), list(centre));
        check(q, &format!("{flows:?}"));
        // Flows on a full Gaussian, shared by both examples.
        let family = Transformed::new(flows.clone()).with_base(FullCovariance).shared();
        let head = family
            .init(&NewHead {
                features: 3,
                latent_dim: 2,
                init: Init::default(),
                seed: Seed::new(0),
                device: &device,
            })
            .unwrap();
        let features = tensor(&[0.5, -1.0, 0.2, 1.0, 0.3, -0.4], [2, 3], &device);
        check(random(head, 0.4, 5).forward(features, Phase::Eval), &format!("{flows:?}"));
    }
    let full = FullCovariance
        .init(&NewHead {
            features: 3,
            latent_dim: 2,
            init: Init::default(),
            seed: Seed::new(0),
            device: &device,
        })
        .unwrap();
    let features = tensor(&[0.5, -1.0, 0.2, 1.0, 0.3, -0.4], [2, 3], &device);
    check(random(full, 0.5, 6).forward(features, Phase::Eval), "full");
}

/// After `detach` neither flows nor context nor base get a gradient, but the samples do.
#[test]
fn a_detached_posterior_leaves_its_parameters_alone() {
    let device = Device::flex().autodiff();
    for flows in kinds() {
        let family = Transformed::new(flows);
        let head = family
            .init(&NewHead {
                features: 3,
                latent_dim: 2,
                init: Init::default(),
                seed: Seed::new(0),
                device: &Device::flex(),
            })
            .unwrap();
        let head = random(head, 0.4, 5).train();
        let features = tensor(&[0.5, -1.0, 0.2, 1.0, 0.3, -0.4], [2, 3], &device).require_grad();
        let q = head.forward(features.clone(), Phase::Eval);
        let z = Tensor::from_inner(noise(2, [4, 2, 2], &Device::flex())).require_grad();
        let grads = q.detach().log_prob(z.clone()).sum().backward();
        assert!(z.grad(&grads).is_some() && features.grad(&grads).is_none());
        assert_eq!(GradientsParams::from_grads(grads, &head).len(), 0);
        // The original posterior is unchanged.
        let grads = q.log_prob(z).sum().backward();
        assert!(features.grad(&grads).is_some());
        assert!(GradientsParams::from_grads(grads, &head).len() > 4);
    }
}

/// Compares moments of a prior's samples with those of its density on a grid, within four standard
/// errors.
#[test]
fn samples_of_a_prior_follow_its_density() {
    let (points, cell) = grid();
    let base = GaussianPriorConfig::new([0.3, -0.2], [0.5, -0.1]);
    for flows in kinds() {
        let config = FlowPriorConfig::new(2, flows.clone()).with_base(base.clone());
        let prior = config.init(Seed::new(3), &Device::flex()).unwrap();
        let prior = random(prior, 0.4, 9).bind(&encoder(), Phase::Eval);
        assert_eq!(prior.latent_dim(), Some(2));
        let z = prior.sample(20_000, 2, Seed::new(4), &Device::flex());
        let density = prior.log_prob(points.clone()).exp().mul_scalar(cell).unsqueeze_dim::<3>(2);
        let exact = list((density * points.clone()).sum_dim(0));
        let error = list(z.clone().var(0).div_scalar(20_000.0).sqrt());
        for (i, found) in list(z.mean_dim(0)).into_iter().enumerate() {
            let bound = 4.0 * error[i] + 2e-3;
            assert!((found - exact[i]).abs() < bound, "{flows:?}: {found} is not {}", exact[i]);
        }
    }
    let wrong = FlowPriorConfig::new(3, FlowsConfig::planar(1)).with_base(base);
    let wrong = wrong.init(Seed::new(0), &Device::flex()).unwrap();
    let error = wrong.check(&encoder()).unwrap_err().to_string();
    assert!(error.contains("codes of length 3, but their base over codes of length 2"), "{error}");
}

/// `log p(z)` of `z_1 ~ N(0, 1)`, `z_2 ~ N(bend z_1^2, width^2)`.
fn banana(z: Tensor<3>, shape: &Banana) -> Tensor<2> {
    let first = z.clone().narrow(2, 0, 1);
    let second = z.narrow(2, 1, 1) - first.clone().square().mul_scalar(shape.bend);
    let squares = first.square() + second.div_scalar(shape.width).square();
    let constant = 2.0 * std::f64::consts::TAU.ln() + 2.0 * shape.width.ln();
    squares.add_scalar(constant).mul_scalar(-0.5).squeeze_dim(2)
}

/// Trains a family for some steps, and returns `KL(q || banana)` and its standard error.
fn fit<F>(family: F, shape: &Banana) -> [f64; 2]
where
    F: Family<Head: Head<Posterior: Density>>,
{
    let device = Device::flex().autodiff();
    let head = family
        .init(&NewHead {
            features: 1,
            latent_dim: 2,
            init: Init::default(),
            seed: Seed::new(1),
            device: &Device::flex(),
        })
        .unwrap();
    let mut head = head.train();
    let mut optimizer = AdamConfig::new().init();
    let kl = |head: &F::Head, step: u64, samples: usize| {
        let q = head.forward(Tensor::ones([1, 1], &device), Phase::Eval);
        let eps = NoiseSource::new(7).draw(step, [samples, 1, 2], &device);
        let samples = q.draw(eps, Seed::new(0));
        samples.log_prob(&q) - banana(samples.z, shape)
    };
    for step in 0..600 {
        let gradients = kl(&head, step, 128).mean().backward();
        let gradients = GradientsParams::from_grads(gradients, &head);
        head = optimizer.step(if step < 450 { 2e-2 } else { 4e-3 }, head, gradients);
    }
    let last = kl(&head, 1_000_000, 20_000);
    let error = last.clone().var(0).div_scalar(20_000.0).sqrt();
    [list(last.mean())[0], list(error)[0]]
}

/// Quadrature gives the divergence of the best Gaussian. After a short training a chain of flows
/// gets below a fraction of it, 0.6 or 0.35.
#[test]
fn flows_fit_a_bent_density_that_no_gaussian_fits() {
    let shape = fixture().banana;
    let best = shape.best_gaussian_kl;
    let [gaussian, error] = fit(FullCovariance, &shape);
    assert!(gaussian > best - 4.0 * error, "{gaussian} is below {best}");
    for (flows, part) in [
        (FlowsConfig::inverse_autoregressive(2, [32]), 0.6),
        (FlowsConfig::real_nvp(2, [32]), 0.6),
        (FlowsConfig::planar(8), 0.35),
    ] {
        let [found, error] = fit(Transformed::new(flows.clone()).shared(), &shape);
        println!("{found:.3} +- {error:.3} of {best:.3}: {:?}", flows.steps[0]);
        assert!(found > -4.0 * error, "{found} {error}: {flows:?}");
        assert!(found + 4.0 * error < part * best, "{found} {error} {best}: {flows:?}");
    }
}

/// Each objective trains a posterior and a prior with flows, including all their parameters.
#[test]
fn models_with_flows_are_trained() {
    let device = Device::flex();
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(6, [8], 2)
            .with_posterior(Transformed::new(FlowsConfig::inverse_autoregressive(2, [6]))),
        decoder: MlpDecoderConfig::new(2, [8], 6),
        likelihood: BernoulliNll,
        prior: FlowPriorConfig::new(2, FlowsConfig::planar(2).then(FlowsConfig::real_nvp(2, [5]))),
    };
    let json = serde_json::to_string(&config).unwrap();
    type Config =
        VaeConfig<MlpEncoderConfig<Transformed>, MlpDecoderConfig, BernoulliNll, FlowPriorConfig>;
    let config = serde_json::from_str::<Config>(&json).unwrap();
    fn run<M: Module>(mut vae: M, objective: &impl Objective<M>, device: &Device) {
        let x = [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0, 0.0f32]];
        let x = Tensor::<2>::from_data(x, &device.clone().autodiff());
        let mut optimizer = AdamConfig::new().init();
        let mut losses = Vec::new();
        let params = {
            struct Count(usize);
            impl ModuleVisitor for Count {
                fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
                    self.0 += 1;
                }
            }
            let mut count = Count(0);
            vae.visit(&mut count);
            count.0
        };
        for step in 0..60 {
            let eps = NoiseSource::new(1).draw(step, [20, 2, 2], &x.device());
            let inputs = Inputs::new(x.clone(), eps).at(step, Seed::new(2).at(step));
            let loss = objective.terms(&vae, inputs).mean();
            losses.push(list(loss.clone())[0]);
            let gradients = GradientsParams::from_grads(loss.backward(), &vae);
            assert_eq!(gradients.len(), params);
            vae = optimizer.step(1e-2, vae, gradients);
        }
        let (first, last) = (losses[0], losses[59]);
        assert!(last.is_finite() && last < first - 0.5, "{objective:?}: {first} {last}");
    }
    let vae = config.init(Seed::new(0), &device).unwrap();
    let start = || vae.clone().train();
    run(start(), &Elbo::new(MonteCarloKl::default()), &device);
    run(start(), &Elbo::new(MonteCarloKl::default().sticking_the_landing()), &device);
    run(start(), &Iwae::default(), &device);
    let dreg = Iwae::default().with_gradient(Gradient::DoublyReparameterized);
    run(start(), &dreg, &device);
    assert_eq!(vae.sample(3, 1).unwrap().dims(), [3, 6]);
    // Only the parameters are on disk; constants of the flows are rebuilt.
    let dir = tempfile::tempdir().unwrap();
    let trained = random(vae.clone(), 0.2, 1);
    saved::save(dir.path(), &config, &trained).unwrap();
    let (_, loaded) = saved::load::<Config>(dir.path(), &device).unwrap();
    let weigh = |vae: &<Config as ModuleConfig>::Module| {
        let x = Tensor::<2>::from_data([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]], &device);
        let eps = noise(1, [3, 1, 2], &device);
        list(log_weights(vae, &FromPosterior, x, eps, Seed::new(0)))
    };
    assert_eq!(weigh(&loaded), weigh(&trained));
    assert_ne!(weigh(&loaded), weigh(&vae));
    let summary = burn_vae::summary::Summary::of(&vae);
    assert_eq!(summary.params().total(), vae.num_params());
    assert!(summary.to_string().contains("2 flows"), "{summary}");
}

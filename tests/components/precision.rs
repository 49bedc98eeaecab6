//! Results that are just possible in 32 bits and that other formulas would lose, against closed
//! forms in 64 bits.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::{ChiDivergence, Kernel, Mmd, MonteCarloKl, RenyiDivergence};
use burn_vae::encoder::{HierarchicalEncoder, MlpEncoder, MlpEncoderConfig};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::objective::{Ciwae, Cubo, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::posterior::{Density, DiagonalGaussian, FullGaussian, Samples};
use burn_vae::prior::StandardNormal;
use burn_vae::{
    Divergence, Elbo, Encoder, Inputs, ModuleConfig, NoiseSource, Objective, Phase, Posterior,
    Seed, Vae,
};

fn list<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

fn row(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::<1>::from_data(values, device).unsqueeze_dim(0)
}

#[track_caller]
fn close(found: f64, expected: f64, relative: f64) {
    let off = (found - expected).abs();
    assert!(off <= relative * expected.abs(), "{found} is not {expected}");
}

/// With two points: `MMD^2 = 2 - 2 exp(-d)`, with the gradient `2 exp(-d) (z - y) / d`.
#[test]
fn a_discrepancy_sees_points_that_are_close_together() {
    let device = Device::flex().autodiff();
    for apart in [1e-3f32, 1e-5, 3e-7] {
        let (z, y) = ([3.0f32 + apart, 3.0], [3.0f32, 3.0 + 0.5 * apart]);
        let d = |i: usize| f64::from(z[i]) - f64::from(y[i]);
        let distance = d(0).hypot(d(1));
        let point = row(&z, &device).require_grad();
        let mmd = Mmd::new(Kernel::laplacian(1.0).unwrap());
        let found = mmd.between(point.clone(), row(&y, &device));
        let gradient = list(point.grad(&found.backward()).unwrap());
        for (i, found) in gradient.into_iter().enumerate() {
            close(found, 2.0 * (-distance).exp() * d(i) / distance, 1e-6);
        }
    }
}

/// `log q = -1/2 eps^2 - log s - 1/2 log(2 pi)`, wherever rounding puts the code.
#[test]
fn a_density_does_not_depend_on_how_the_code_is_rounded() {
    let device = Device::flex();
    let noise = Tensor::<3>::from_data([[[0.7f32]], [[-1.9]], [[0.0]]], &device);
    for std in [1e-3f64, 1e-8, 1e-20] {
        let log_std = std.ln();
        let of = |x: f64| row(&[x as f32], &device);
        let diagonal = DiagonalGaussian::new(of(1.3), of(2.0 * log_std));
        let full = FullGaussian::new(of(1.3), of(log_std), of(0.0));
        let draws = [
            diagonal.draw(noise.clone(), Seed::new(0)).log_prob(&diagonal),
            diagonal.draw(noise.clone(), Seed::new(0)).path_log_prob(&diagonal),
            full.draw(noise.clone(), Seed::new(0)).log_prob(&full),
            full.draw(noise.clone(), Seed::new(0)).path_log_prob(&full),
        ];
        for found in draws {
            for (found, eps) in list(found).into_iter().zip(list(noise.clone())) {
                close(found, -0.5 * eps * eps - log_std - 0.5 * std::f64::consts::TAU.ln(), 1e-6);
            }
        }
    }
}

/// Along the path of the samples the gradient of `KL` by the mean is `z - eps / s`, and by the
/// log-variance that times `s eps / 2`.
#[test]
fn sticking_the_landing_keeps_its_gradient_at_narrow_posteriors() {
    let device = Device::flex().autodiff();
    for log_var in [-1.0f32, -20.0, -60.0, -100.0] {
        let eps = [0.8f32, -1.7];
        let [mean, log_var] =
            [0.4, log_var].map(|x| Tensor::<2>::full([1, 2], x, &device).require_grad());
        let q = DiagonalGaussian::new(mean.clone(), log_var.clone());
        let samples = q.draw(row(&eps, &device).unsqueeze_dim(0), Seed::new(0));
        let z = list(samples.z.clone());
        let kl = MonteCarloKl::default().sticking_the_landing();
        let gradients = kl.forward(q, &StandardNormal, &samples).1.total.backward();
        let std = (0.5 * list(log_var.clone())[0]).exp();
        let (by_mean, by_log_var) = (mean.grad(&gradients), log_var.grad(&gradients));
        for (i, (by_mean, by_log_var)) in
            list(by_mean.unwrap()).into_iter().zip(list(by_log_var.unwrap())).enumerate()
        {
            let slope = z[i] - f64::from(eps[i]) / std;
            close(by_mean, slope, 2e-5);
            close(by_log_var, slope * 0.5 * std * f64::from(eps[i]), 2e-5);
        }
    }
}

fn hierarchy() -> HierarchicalEncoder<MlpEncoder> {
    let layer = |data_dim, latent_dim, seed| {
        let config = MlpEncoderConfig::new(data_dim, [5], latent_dim);
        config.init(Seed::new(seed), &Device::flex()).unwrap()
    };
    HierarchicalEncoder::new(vec![layer(4, 3, 1), layer(3, 2, 2)]).unwrap().train()
}

/// All weight matrices of a module.
fn matrices(module: &impl Module) -> Vec<Tensor<2>> {
    struct Matrices(Vec<Tensor<2>>);
    impl ModuleVisitor for Matrices {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 2 {
                self.0.push(Tensor::from_dispatch(param.val().into_dispatch()));
            }
        }
    }
    let mut matrices = Matrices(Vec::new());
    module.visit(&mut matrices);
    matrices.0
}

/// For wide posteriors, densities computed from the noise equal those computed from the codes, and
/// so do the gradients.
#[test]
fn densities_from_noise_are_those_of_the_codes() {
    let device = Device::flex().autodiff();
    let leaf = |seed: u64, dim: usize| {
        let x = NoiseSource::new(seed).draw(0, [1, 2, dim], &device).squeeze_dim::<2>(0);
        x.mul_scalar(0.3).detach().require_grad()
    };
    fn check<Q: Posterior + Density>(q: impl Fn() -> Q, noise_dim: usize, leaves: &[Tensor<2>]) {
        let device = q().mean().device();
        let noise = NoiseSource::new(7).draw(0, [3, 2, noise_dim], &device);
        let weigh = NoiseSource::new(8).draw(0, [1, 3, 2], &device).squeeze_dim::<2>(0);
        // Each in its own graph, since a backward pass consumes the graph.
        let run = |log_prob: &dyn Fn(&Q, &Samples) -> Tensor<2>| {
            let q = q();
            let log_prob = log_prob(&q, &q.draw(noise.clone(), Seed::new(0)));
            let gradients = (log_prob.clone() * weigh.clone()).sum().backward();
            let zeros = |leaf: &Tensor<2>| vec![0.0; leaf.dims().iter().product()];
            let gradient = |leaf: &Tensor<2>| leaf.grad(&gradients).map_or(zeros(leaf), list);
            (list(log_prob), leaves.iter().map(gradient).collect::<Vec<_>>())
        };
        let at_code = run(&|q, samples| q.log_prob(samples.z.clone()));
        assert!(at_code.1.iter().flatten().any(|gradient| gradient.abs() > 1e-3));
        let path_at_code = run(&|q, samples| q.detach().log_prob(samples.z.clone()));
        for (found, expected) in [
            (run(&|q, samples| samples.log_prob(q)), &at_code),
            (run(&|q, samples| q.log_prob_at(samples)), &at_code),
            (run(&|q, samples| samples.path_log_prob(q)), &path_at_code),
        ] {
            let pairs = found.0.iter().zip(&expected.0);
            let pairs = pairs.chain(found.1.iter().flatten().zip(expected.1.iter().flatten()));
            for (found, expected) in pairs {
                let off = (found - expected).abs();
                assert!(off < 1e-5 * expected.abs().max(1.0), "{found} is not {expected}");
            }
        }
    }
    let leaves = [leaf(1, 3), leaf(2, 3)];
    let [mean, scale] = leaves.clone();
    check(|| DiagonalGaussian::new(mean.clone(), scale.clone()), 3, &leaves);
    let leaves = [leaves, [leaf(3, 3), leaf(4, 3)]].concat();
    check(|| FullGaussian::new(mean.clone(), scale.clone(), leaves[2].clone()), 3, &leaves[..3]);
    let encoder = hierarchy();
    let weights = matrices(&encoder);
    let x = NoiseSource::new(3).draw(0, [1, 2, 4], &device).squeeze_dim::<2>(0);
    check(|| encoder.encode(x.clone(), Phase::Eval), 5, &weights);
}

/// If a likelihood gives the data zero probability at every code, the loss is infinite but not NaN.
#[test]
fn weights_that_are_all_zero_make_an_infinite_loss() {
    let device = Device::flex();
    let vae = Vae::new(
        MlpEncoderConfig::new(3, [4], 2).init(Seed::new(1), &device).unwrap(),
        MlpDecoderConfig::new(2, [4], 3).init(Seed::new(2), &device).unwrap(),
        GaussianNll::new(Scale::fixed(1e-30).unwrap()),
        StandardNormal,
    )
    .unwrap()
    .train();
    let x = Tensor::full([2, 3], 1.0, &vae.device());
    let inputs = || {
        let noise = NoiseSource::new(4).draw(0, [4, 2, 2], &vae.device());
        Inputs::new(x.clone(), noise)
    };
    macro_rules! infinite {
        ($($objective:expr),+ $(,)?) => {$(
            let terms = $objective.terms(&vae, inputs());
            for (what, found) in [("loss", terms.loss), ("nelbo", terms.nelbo)] {
                let found = list(found);
                let name = stringify!($objective);
                assert!(found.iter().all(|x| *x == f64::INFINITY), "{name}, {what}: {found:?}");
            }
        )+};
    }
    infinite!(
        Elbo::new(MonteCarloKl::default()),
        Iwae::default(),
        Iwae::default().with_gradient(Gradient::StickingTheLanding),
        Iwae::default().with_gradient(Gradient::DoublyReparameterized),
        Miwae::new(2).unwrap(),
        Piwae::new(2).unwrap(),
        Ciwae::new(0.0).unwrap(),
        Ciwae::new(0.5).unwrap(),
        Ciwae::new(1.0).unwrap(),
        RenyiBound::new(0.5).unwrap(),
        RenyiBound::new(2.0).unwrap(),
    );
    let cubo = Cubo::new(2.0).unwrap().terms(&vae, inputs());
    assert!(list(cubo.loss).into_iter().chain(list(cubo.nelbo)).all(|x| x == f64::NEG_INFINITY));
}

/// Beyond their pole divergences are infinite with zero gradient. Near the pole and far out, values
/// and gradients are not NaN.
#[test]
fn divergences_have_slopes_on_both_sides_of_their_pole() {
    let device = Device::flex().autodiff();
    let slopes = |log_var: f32, mean: f32, d: &dyn Fn(&DiagonalGaussian) -> Tensor<1>| {
        let [mean, log_var] =
            [mean, log_var].map(|x| Tensor::<2>::full([1, 1], x, &device).require_grad());
        let value = d(&DiagonalGaussian::new(mean.clone(), log_var.clone()));
        let gradients = value.backward();
        let by = |x: &Tensor<2>| list(x.grad(&gradients).unwrap())[0];
        [list(value)[0], by(&mean), by(&log_var)]
    };
    let chi = ChiDivergence::default();
    let chi = |q: &DiagonalGaussian| chi.to_standard_normal(q);
    // At the pole of chi-squared the variance of q is twice that of p.
    for (log_var, mean) in [(2f32.ln(), 0.5), (1.0, 0.5), (1.0, 0.0), (95.0, 0.0), (-1.0, 30.0)] {
        assert_eq!(slopes(log_var, mean, &chi), [f64::INFINITY, 0.0, 0.0], "{log_var} {mean}");
    }
    // chi^2 + 1 = exp(m^2 / (2 - v)) / sqrt(v (2 - v))
    let [value, by_mean, by_log_var] = slopes(0.5, 0.3, &chi);
    let (v, m) = (f64::from(0.5f32).exp(), f64::from(0.3f32));
    let one_more = (m * m / (2.0 - v)).exp() / (v * (2.0 - v)).sqrt();
    close(value, one_more - 1.0, 3e-6);
    close(by_mean, one_more * 2.0 * m / (2.0 - v), 3e-6);
    let by_v = m * m / (2.0 - v).powi(2) - (1.0 - v) / (v * (2.0 - v));
    close(by_log_var, one_more * by_v * v, 3e-6);
    for (alpha, log_var) in [(2.0, 2f32.ln()), (2.0, 3.0), (f64::INFINITY, 0.5), (-1.0, -1.0)] {
        let d = RenyiDivergence::new(alpha).unwrap();
        let found = slopes(log_var, 0.5, &|q| d.to_standard_normal(q));
        assert!(found[0].is_infinite(), "{alpha} {log_var}: {found:?}");
        assert_eq!(found[1..], [0.0; 2], "{alpha} {log_var}");
    }
}

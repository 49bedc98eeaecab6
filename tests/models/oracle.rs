//! Linear-Gaussian models with known closed forms: `z ~ N(0, I)`, `x|z ~ N(W z + b, s^2 I)`, so
//! `x ~ N(b, W W^T + s^2 I)`, and the posterior is Gaussian.

use std::sync::Arc;

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use burn_vae::data::Table;
use burn_vae::decoder::{MlpDecoder, MlpDecoderConfig};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{FromPosterior, ImportanceSampling, log_likelihood, log_weights};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::objective::{Cubo, Gradient, Iwae};
use burn_vae::prior::StandardNormal;
use burn_vae::{Elbo, Inputs, ModuleConfig, NoiseSource, Objective, Seed, Vae};
use nalgebra::{DMatrix, DVector};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal as Normal, Uniform};

type Model = Vae<MlpEncoder, MlpDecoder, GaussianNll, StandardNormal>;

/// A model, an example drawn from it, and a posterior for it.
struct LinearGaussian {
    w: DMatrix<f64>,
    b: DVector<f64>,
    variance: f64,
    x: DVector<f64>,
    /// Mean and variances of the approximate posterior of `x`.
    mean: DVector<f64>,
    variances: DVector<f64>,
}

impl LinearGaussian {
    /// In every second model the columns of `W` are orthogonal, so the true posterior is diagonal.
    fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (latent_dim, data_dim) = (1 + seed as usize % 3, 4 + seed as usize % 4);
        let mut normal = |rows, columns| {
            DMatrix::from_fn(rows, columns, |_, _| {
                let value: f64 = Normal.sample(&mut rng);
                // Rounded to 32-bit floats, like the model's own computation.
                f64::from(value as f32)
            })
        };
        let mut w = normal(data_dim, latent_dim);
        if is_orthogonal(seed) {
            w = w.qr().q().map(|value| f64::from((value * 1.5) as f32));
        }
        let b = normal(data_dim, 1).column(0).into_owned();
        let (z, noise) = (normal(latent_dim, 1), normal(data_dim, 1));
        let variance = 0.25 + (seed % 5) as f64 * 0.3;
        let x = &w * z.column(0) + &b + noise.column(0) * variance.sqrt();
        let x = x.map(|value| f64::from(value as f32));
        let mut model =
            Self { w, b, variance, x, mean: DVector::zeros(0), variances: DVector::zeros(0) };
        // Near the true posterior but wider, so that the weights have moments.
        let (mean, covariance) = model.posterior();
        let wider = Uniform::new(1.3, 1.9).unwrap();
        model.variances = covariance.diagonal().map(|v| v * wider.sample(&mut rng));
        let shift = model.variances.map(|v: f64| {
            let value: f64 = Normal.sample(&mut rng);
            0.3 * v.sqrt() * value
        });
        model.mean = mean + shift;
        model
    }

    fn with_true_posterior(self) -> Self {
        let (mean, covariance) = self.posterior();
        Self { mean, variances: covariance.diagonal(), ..self }
    }

    fn posterior(&self) -> (DVector<f64>, DMatrix<f64>) {
        let precision = self.w.transpose() * &self.w / self.variance
            + DMatrix::identity(self.w.ncols(), self.w.ncols());
        let covariance = precision.try_inverse().unwrap();
        let mean = &covariance * self.w.transpose() * (&self.x - &self.b) / self.variance;
        (mean, covariance)
    }

    fn log_prob(&self, x: &DVector<f64>) -> f64 {
        let n = self.w.nrows();
        let covariance = &self.w * self.w.transpose() + DMatrix::identity(n, n) * self.variance;
        let cholesky = covariance.cholesky().unwrap();
        let d = x - &self.b;
        let square = d.dot(&cholesky.solve(&d));
        -0.5 * (square + cholesky.ln_determinant() + n as f64 * std::f64::consts::TAU.ln())
    }

    /// The divergence of the approximate posterior from the true one.
    fn kl(&self) -> f64 {
        let (mean, covariance) = self.posterior();
        let cholesky = covariance.cholesky().unwrap();
        let precision = cholesky.inverse();
        let d = mean - &self.mean;
        let trace = (0..d.len()).map(|i| precision[(i, i)] * self.variances[i]).sum::<f64>();
        let square = d.dot(&(precision * &d));
        let log = cholesky.ln_determinant() - self.variances.map(f64::ln).sum();
        0.5 * (trace + square - d.len() as f64 + log)
    }

    /// The same model built from the crate; its posterior does not depend on the input.
    fn model(&self, device: &Device) -> Model {
        let (n, l) = (self.w.nrows(), self.w.ncols());
        let vae = Vae::new(
            MlpEncoderConfig::new(n, [], l).init(Seed::new(0), device).unwrap(),
            MlpDecoderConfig::new(l, [], n).init(Seed::new(0), device).unwrap(),
            GaussianNll::new(Scale::fixed(self.variance.sqrt()).unwrap()),
            StandardNormal,
        );
        let zeros = || std::iter::repeat_n(0.0, n * l);
        let values = zeros()
            .chain(self.mean.iter().copied())
            .chain(zeros())
            .chain(self.variances.iter().map(|v| v.ln()))
            // Weights are [inputs, outputs], stored by rows; nalgebra stores matrices by columns.
            .chain(self.w.iter().copied())
            .chain(self.b.iter().copied())
            .map(|value| value as f32);
        filled(vae.unwrap(), values.collect())
    }

    /// The example, `rows` times.
    fn data(&self, rows: usize, device: &Device) -> Tensor<2> {
        let row = self.x.iter().map(|&value| value as f32).collect::<Vec<_>>();
        Tensor::<1>::from_data(row.as_slice(), device).unsqueeze_dim::<2>(0).repeat_dim(0, rows)
    }
}

fn is_orthogonal(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// Mean and standard error of a bound, over many estimates with `k` samples each.
fn bound(
    model: &LinearGaussian,
    objective: &impl Objective<Model>,
    k: usize,
    seed: u64,
) -> (f64, f64) {
    let device = Device::flex();
    let (vae, rows) = (model.model(&device), 200_000 / k);
    let noise = NoiseSource::new(seed).draw(0, [k, rows, model.w.ncols()], &device);
    let terms = objective.terms(&vae, Inputs::new(model.data(rows, &device), noise));
    let bounds = terms.nelbo.neg().into_data().iter::<f64>().collect::<Vec<_>>();
    let n = bounds.len() as f64;
    let mean = bounds.iter().sum::<f64>() / n;
    let variance = bounds.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// 32-bit rounding of a sum of about ten terms of about ten.
const ROUNDING: f64 = 1e-5;

const MODELS: std::ops::Range<u64> = 0..24;

/// The seeds of models with a diagonal true posterior.
fn orthogonal() -> impl Iterator<Item = u64> {
    (0..40).filter(|&seed| is_orthogonal(seed))
}

#[test]
fn the_gap_of_the_elbo_is_the_divergence_from_the_true_posterior() {
    for seed in MODELS {
        let model = LinearGaussian::random(seed);
        let expected = model.log_prob(&model.x) - model.kl();
        assert!(model.kl() > 0.02, "model {seed} has no gap to measure");
        let by_samples = bound(&model, &Elbo::new(MonteCarloKl::default()), 1, seed);
        let closed = bound(&model, &Elbo::default(), 1, seed + 100);
        for (mean, error) in [by_samples, closed] {
            let off = (mean - expected).abs();
            assert!(
                off < 4.0 * error + ROUNDING,
                "model {seed}: {mean} is not {expected}, {error}"
            );
        }
    }
}

/// To first order, the gap of the bound with `K` samples is half the relative variance of a weight,
/// divided by `K` (Domke and Sheldon 2018, theorem 3).
#[test]
fn importance_weighted_bounds_rise_to_the_log_likelihood() {
    for seed in MODELS {
        let model = LinearGaussian::random(seed);
        let exact = model.log_prob(&model.x);
        let bounds =
            [1, 10, 100, 1000].map(|k| bound(&model, &Iwae::default(), k, seed + 200 + k as u64));
        for pair in bounds.windows(2) {
            let ((low, a), (high, b)) = (pair[0], pair[1]);
            assert!(low < high + 4.0 * a.hypot(b), "model {seed}: {low} +- {a}, {high} +- {b}");
        }
        for (mean, error) in bounds {
            assert!(mean < exact + 4.0 * error + ROUNDING, "model {seed}: {mean}, {exact}");
        }
        let device = Device::flex();
        let noise = NoiseSource::new(seed).draw(0, [200_000, 1, model.w.ncols()], &device);
        let (vae, x) = (model.model(&device), model.data(1, &device));
        let log_weights = log_weights(&vae, &FromPosterior, x, noise, Seed::new(0));
        let log_weights = log_weights.into_data();
        let weights = log_weights.iter::<f64>().map(|log| (log - exact).exp()).collect::<Vec<_>>();
        let mean = weights.iter().sum::<f64>() / 2e5;
        let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / 2e5;
        assert!((mean - 1.0).abs() < 4.0 * (variance / 2e5).sqrt() + ROUNDING, "{seed}: {mean}");
        // The next term is of order 1/K^2, and the variance itself is estimated from heavy tails.
        let (last, error) = bounds[3];
        let gap = variance / (2.0 * 1000.0);
        let off = (exact - last - gap).abs();
        assert!(off < 4.0 * error + 0.2 * gap + ROUNDING, "model {seed}: {last}, {exact}, {gap}");
        assert!(exact - last < 0.1 * (exact - bounds[0].0), "model {seed}: {bounds:?}, {exact}");
    }
}

/// In the limit the chi bound is `log p(x) + 1/2 D_2(p(z|x) || q(z|x))` with the Renyi divergence,
/// whose closed form for Gaussians with any covariance is that of Gil et al. (2013, table 2).
#[test]
fn the_chi_bound_stays_above_the_log_likelihood() {
    for seed in MODELS {
        let model = LinearGaussian::random(seed);
        let exact = model.log_prob(&model.x);
        // `nelbo` is the bound itself, not its negative.
        let (negative, error) = bound(&model, &Cubo::default(), 10_000, seed + 300);
        let mean = -negative;
        assert!(mean > exact + 4.0 * error, "model {seed}: {mean} +- {error}, {exact}");
        let (posterior, covariance) = model.posterior();
        let q = DMatrix::from_diagonal(&model.variances);
        let log = |m: &DMatrix<f64>| m.clone().cholesky().unwrap().ln_determinant();
        let mixed = &q * 2.0 - &covariance; // alpha q + (1 - alpha) p
        let d = posterior - &model.mean;
        let square = d.dot(&mixed.clone().cholesky().expect("a wide posterior").solve(&d));
        let renyi = square - 0.5 * (log(&mixed) + log(&covariance) - 2.0 * log(&q));
        let off = (mean - exact - 0.5 * renyi).abs();
        assert!(
            off < 4.0 * error + 0.1 * renyi,
            "model {seed}: {mean} +- {error}, {exact}, {renyi}"
        );
    }
}

/// With the true posterior every weight is `p(x)`.
#[test]
fn the_true_posterior_has_weights_without_variance() {
    let mut count = 0;
    for seed in orthogonal() {
        let model = LinearGaussian::random(seed).with_true_posterior();
        assert!(model.kl().abs() < 1e-6, "model {seed}: the posterior is not diagonal");
        let device = Device::flex();
        let noise = NoiseSource::new(seed).draw(0, [1000, 1, model.w.ncols()], &device);
        let (vae, x) = (model.model(&device), model.data(1, &device));
        let log_weights = log_weights(&vae, &FromPosterior, x, noise, Seed::new(0));
        let exact = model.log_prob(&model.x);
        for log_weight in log_weights.into_data().iter::<f64>() {
            assert!((log_weight - exact).abs() < 3.0 * ROUNDING, "{seed}: {log_weight}, {exact}");
        }
        count += 1;
    }
    assert_eq!(count, 20);
}

/// The largest gradient of the encoder.
struct Largest<'a>(&'a Gradients, f64);

impl ModuleVisitor for Largest<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0).expect("a gradient");
        self.1 = gradient.into_data().iter::<f64>().fold(self.1, |most, g| most.max(g.abs()));
    }
}

/// At the true posterior the path gradient is zero for every sample; the full gradient is zero only
/// on average.
#[test]
fn at_the_true_posterior_gradients_along_the_path_vanish() {
    fn gradient(model: &LinearGaussian, objective: &impl Objective<Model>) -> f64 {
        let device = Device::flex();
        let vae = model.model(&device).train();
        let noise = NoiseSource::new(7).draw(0, [5, 4, model.w.ncols()], &device);
        let inputs =
            Inputs::new(Tensor::from_inner(model.data(4, &device)), Tensor::from_inner(noise));
        let gradients = objective.terms(&vae, inputs).mean().backward();
        let mut largest = Largest(&gradients, 0.0);
        vae.encoder.visit(&mut largest);
        largest.1
    }
    let iwae = Iwae::default();
    for seed in orthogonal() {
        let model = LinearGaussian::random(seed).with_true_posterior();
        let elbo = MonteCarloKl::default();
        let whole = gradient(&model, &Elbo::new(elbo));
        assert!(whole > 0.01, "model {seed}: {whole}");
        for small in [
            gradient(&model, &Elbo::new(elbo.sticking_the_landing())),
            gradient(&model, &iwae.with_gradient(Gradient::StickingTheLanding)),
            gradient(&model, &iwae.with_gradient(Gradient::DoublyReparameterized)),
        ] {
            assert!(small < 3e-5 * whole.max(1.0), "model {seed}: {small}, not {whole}");
        }
    }
}

/// Checks the estimate of a data set's likelihood and both of its errors.
#[test]
fn the_estimated_likelihood_of_a_data_set_is_the_exact_one() {
    let device = Device::flex();
    for seed in [0, 1, 2, 3] {
        let model = LinearGaussian::random(seed);
        // The posterior is that of one example, and the others are small steps away from it.
        let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
        let rows = (0..60).map(|_| {
            model.x.map(|value| {
                let step: f64 = Normal.sample(&mut rng);
                f64::from((value + 0.1 * step) as f32)
            })
        });
        let rows = rows.collect::<Vec<_>>();
        let exact = rows.iter().map(|x| -model.log_prob(x)).collect::<Vec<_>>();
        let names = (0..model.x.len()).map(|i| i.to_string());
        let values = rows.iter().flat_map(|x| x.iter().map(|&v| v as f32)).collect::<Vec<_>>();
        let table = Arc::new(Table::new(values, names).unwrap());
        let estimate = |num_samples, rows_at_once| {
            let sampling = ImportanceSampling {
                num_samples,
                batch_size: 7,
                rows_at_once,
                ..ImportanceSampling::default()
            };
            let noise = NoiseSource::new(3);
            log_likelihood(&model.model(&device), table.clone(), sampling, noise).unwrap()
        };
        let found = estimate(2000, 1000);
        let mean = exact.iter().sum::<f64>() / 60.0;
        let off = (found.nll - mean).abs();
        assert!(found.monte_carlo_error < 0.01 && found.monte_carlo_error > 1e-5);
        // On average it exceeds the exact value by half the relative variance over K, less than the
        // error.
        assert!(off < 4.0 * found.monte_carlo_error, "{found} is not {mean}");
        assert_eq!(found.examples.len(), 60);
        for (found, exact) in found.examples.iter().zip(&exact) {
            assert!((found - exact).abs() < 0.2, "{found} is not {exact}");
        }
        let spread = exact.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 59.0 / 60.0;
        assert!((found.standard_error - spread.sqrt()).abs() < 0.01 + found.monte_carlo_error);
        assert!(found.effective_samples > 200.0 && found.effective_samples < 2000.0);
        assert!(found.least_effective_samples <= found.effective_samples);

        // In pieces of any size, and all at once.
        for rows_at_once in [1, 50, 1_000_000] {
            let other = estimate(2000, rows_at_once);
            for (a, b) in found.examples.iter().zip(&other.examples) {
                assert!((a - b).abs() < ROUNDING, "{rows_at_once}: {a} {b}");
            }
        }
        // With one sample each weight is the estimate.
        let one = estimate(1, 100);
        assert!(one.effective_samples == 1.0 && one.monte_carlo_error.is_nan());
        assert!(one.nll > found.nll);
    }
}

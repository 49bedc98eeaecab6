//! Gaussians with full covariance. `fixtures/flows.py` computes the references.

use crate::parameters::filled;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::{FromPosterior, log_weights};
use burn_vae::likelihood::{GaussianNll, Scale};
use burn_vae::posterior::{Density, Diagonal, FullCovariance, FullGaussian, Samples};
use burn_vae::prior::{GaussianPriorConfig, StandardNormal};
use burn_vae::{
    Divergence, Elbo, Inputs, KlDivergence, ModuleConfig, NoiseSource, Objective, Posterior, Seed,
    Vae,
};
use nalgebra::{DMatrix, DVector};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    gaussians: Vec<Gaussian>,
}

#[derive(Deserialize)]
struct Gaussian {
    dims: [usize; 3],
    mean: Vec<f32>,
    log_diagonal: Vec<f32>,
    off_diagonal: Vec<f32>,
    factor: Vec<f64>,
    z: Vec<f32>,
    weight: Vec<f32>,
    log_prob: Vec<f64>,
    log_prob_gradients: [Vec<f64>; 4],
    prior: [Vec<f32>; 2],
    kl_standard: Vec<f64>,
    kl_standard_gradients: [Vec<f64>; 4],
    kl_gaussian: Vec<f64>,
    kl_gaussian_gradients: [Vec<f64>; 4],
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

#[test]
fn full_gaussians_are_those_of_the_reference() {
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/flows.json")).unwrap();
    let device = Device::flex().autodiff();
    for row in fixture.gaussians {
        let [samples, batch, dim] = row.dims;
        let leaf = |values: &[f32], width| tensor(values, [batch, width], &device).require_grad();
        let (mean, log_diagonal) = (leaf(&row.mean, dim), leaf(&row.log_diagonal, dim));
        let off_diagonal = match dim {
            1 => mean.zeros_like(),
            _ => leaf(&row.off_diagonal, dim * (dim - 1) / 2),
        };
        let q = || FullGaussian::new(mean.clone(), log_diagonal.clone(), off_diagonal.clone());
        close(&list(q().factor()), &row.factor, 1e-6, "factor");
        let z = tensor(&row.z, row.dims, &device).require_grad();
        let check = |value: Tensor<1>, expected: &[Vec<f64>; 4], what: &str| {
            let grads = value.backward();
            let mut found = vec![mean.grad(&grads), log_diagonal.grad(&grads)];
            found.push(if dim > 1 { off_diagonal.grad(&grads) } else { None });
            let mut found: Vec<_> = found.into_iter().map(|g| g.map_or(vec![], list)).collect();
            found.push(z.grad(&grads).map_or(vec![], list));
            for (found, expected) in found.iter().zip(expected) {
                close(found, expected, 1e-4, what);
            }
        };
        let log_prob = q().log_prob(z.clone());
        close(&list(log_prob.clone()), &row.log_prob, 1e-5, "log_prob");
        let weight = tensor(&row.weight, [samples, batch], &device);
        check((log_prob * weight.clone()).sum(), &row.log_prob_gradients, "log_prob");

        let unused = Samples::new(z.clone(), Seed::new(0));
        let weight = weight.narrow(0, 0, 1).squeeze_dim::<1>(0);
        let kl = KlDivergence.forward(q(), &StandardNormal, &unused).1.total;
        close(&list(kl.clone()), &row.kl_standard, 1e-5, "standard");
        check((kl * weight.clone()).sum(), &row.kl_standard_gradients, "standard");
        let prior = GaussianPriorConfig::new(row.prior[0].clone(), row.prior[1].clone());
        let prior = prior.init(Seed::new(0), &Device::flex()).unwrap().train();
        let kl = KlDivergence.forward(q(), &prior, &unused).1.total;
        close(&list(kl.clone()), &row.kl_gaussian, 1e-5, "gaussian");
        check((kl * weight).sum(), &row.kl_gaussian_gradients, "gaussian");
    }
}

/// Means and covariances of 50,000 samples are within four standard errors.
#[test]
fn samples_of_a_full_gaussian_have_its_covariance() {
    let (count, dim, device) = (50_000, 3, Device::flex());
    let q = FullGaussian::new(
        tensor(&[0.5, -1.0, 2.0], [1, 3], &device),
        tensor(&[0.3, -0.5, 0.1], [1, 3], &device),
        tensor(&[0.8, -0.6, 0.4], [1, 3], &device),
    );
    let factor = DMatrix::from_row_slice(dim, dim, &list(q.factor()));
    let exact = &factor * factor.transpose();
    let z = q.rsample(noise(3, [count, 1, dim], &device)).squeeze_dim::<2>(1);
    let centred = z.clone() - q.mean();
    let found = centred.clone().transpose().matmul(centred.clone()).div_scalar(count as f64);
    let found = DMatrix::from_row_slice(dim, dim, &list(found));
    for i in 0..dim {
        for j in 0..dim {
            // The variance of a product of Gaussians.
            let spread = exact[(i, i)] * exact[(j, j)] + exact[(i, j)].powi(2);
            let error = (spread / count as f64).sqrt();
            assert!((found[(i, j)] - exact[(i, j)]).abs() < 4.0 * error, "{found} {exact}");
        }
        let mean = list(centred.clone().narrow(1, i, 1).mean())[0];
        assert!(mean.abs() < 4.0 * (exact[(i, i)] / count as f64).sqrt());
    }
}

/// `z ~ N(0, I)`, `x|z ~ N(W z, s^2 I)`: with the true posterior every weight is `p(x)` and the
/// bound is exact. The best diagonal posterior is off by its divergence. Expectations of squares
/// are exact on the points `+-sqrt(L) e_j`.
#[test]
fn a_full_gaussian_is_the_posterior_of_a_linear_model() {
    let (device, variance) = (Device::flex(), 0.5f64);
    let w = DMatrix::from_row_slice(
        4,
        3,
        &[1.0, 0.5, -0.25, 0.75, 1.0, 0.5, -0.5, 0.25, 1.5, 0.5, 1.25, 0.0],
    );
    let x = DVector::from_row_slice(&[0.5, -1.0, 2.0, 0.25]);
    let precision = w.transpose() * &w / variance + DMatrix::identity(3, 3);
    let covariance = precision.clone().try_inverse().unwrap();
    let mean = &covariance * w.transpose() * &x / variance;
    let marginal = &w * w.transpose() + DMatrix::identity(4, 4) * variance;
    let cholesky = marginal.cholesky().unwrap();
    let log_prob = -0.5
        * (x.dot(&cholesky.solve(&x))
            + cholesky.ln_determinant()
            + 4.0 * std::f64::consts::TAU.ln());

    let factor = covariance.cholesky().unwrap().l();
    // In the order documented at `FullGaussian::factor`.
    let off = [factor[(2, 1)], factor[(2, 0)], factor[(1, 0)]];
    let log_diagonal = factor.diagonal().map(f64::ln);
    let weights = |biases: &[&[f64]]| {
        let layers = biases.iter().flat_map(|bias| {
            let zeros = std::iter::repeat_n(0.0, 4 * bias.len());
            zeros.chain(bias.iter().copied()).collect::<Vec<_>>()
        });
        // The decoder's weights are [inputs, outputs], stored by rows; nalgebra stores matrices by
        // columns.
        let all = layers.chain(w.iter().copied()).chain([0.0; 4]);
        all.map(|value| value as f32).collect::<Vec<_>>()
    };
    let eps = (0..6).flat_map(|i: usize| {
        let value = if i.is_multiple_of(2) { 3f32.sqrt() } else { -3f32.sqrt() };
        (0..3).map(move |j| if i / 2 == j { value } else { 0.0 })
    });
    let eps = tensor(&eps.collect::<Vec<_>>(), [6, 1, 3], &device);
    let data = tensor(&x.iter().map(|&x| x as f32).collect::<Vec<_>>(), [1, 4], &device);
    let decoder = || MlpDecoderConfig::new(3, [], 4).init(Seed::new(0), &device).unwrap();
    let likelihood = || GaussianNll::new(Scale::fixed(variance.sqrt()).unwrap());

    let encoder = MlpEncoderConfig::new(4, [], 3).with_posterior(FullCovariance);
    let encoder = encoder.init(Seed::new(0), &device).unwrap();
    let vae = Vae::new(encoder, decoder(), likelihood(), StandardNormal).unwrap();
    let vae = filled(vae, weights(&[mean.as_slice(), log_diagonal.as_slice(), &off]));
    let inputs = || Inputs::new(data.clone(), eps.clone());
    let bound = -list(Elbo::default().terms(&vae, inputs()).nelbo)[0];
    assert!((bound - log_prob).abs() < 2e-5, "{bound} is not {log_prob}");
    let eps = noise(3, [50, 1, 3], &device);
    let weighed = log_weights(&vae, &FromPosterior, data.clone(), eps, Seed::new(0));
    close(&list(weighed), &[log_prob; 50], 2e-5, "weights");

    let encoder = MlpEncoderConfig::new(4, [], 3).with_posterior(Diagonal);
    let encoder = encoder.init(Seed::new(0), &device).unwrap();
    let vae = Vae::new(encoder, decoder(), likelihood(), StandardNormal).unwrap();
    let log_var = precision.diagonal().map(|p: f64| -p.ln());
    let vae = filled(vae, weights(&[mean.as_slice(), log_var.as_slice()]));
    let diagonal = -list(Elbo::default().terms(&vae, inputs()).nelbo)[0];
    let gap = 0.5 * (precision.diagonal().map(f64::ln).sum() - precision.determinant().ln());
    assert!(gap > 0.2 && (log_prob - diagonal - gap).abs() < 2e-5, "{log_prob} {diagonal} {gap}");
}

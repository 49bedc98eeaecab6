//! Compares values and gradients with independent references; see `fixtures/goldens.py`.

use burn::tensor::{Device, Tensor};
use burn_vae::posterior::{Density, DiagonalGaussian};
use burn_vae::prior::StandardNormal;
use burn_vae::{BernoulliNll, KlDivergence, Likelihood, Reparameterize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    kl: Vec<Kl>,
    bernoulli: Vec<Bernoulli>,
    normal: Vec<Normal>,
    reparameterize: Vec<Reparameterized>,
}

#[derive(Deserialize, Debug)]
struct Kl {
    mean: f32,
    log_var: f32,
    value: f64,
    grad_mean: f64,
    grad_log_var: f64,
}

#[derive(Deserialize, Debug)]
struct Bernoulli {
    logit: f32,
    x: f32,
    value: f64,
    grad: f64,
}

#[derive(Deserialize, Debug)]
struct Normal {
    z: f32,
    mean: f32,
    log_var: f32,
    value: f64,
}

#[derive(Deserialize, Debug)]
struct Reparameterized {
    mean: f32,
    log_var: f32,
    eps: f32,
    value: f64,
    grad_log_var: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../fixtures/goldens.json")).unwrap()
}

/// A column of the table as a tensor that requires gradients, one example per row.
fn column<T>(rows: &[T], value: impl Fn(&T) -> f32) -> Tensor<2> {
    let device = Device::flex().autodiff();
    let values = rows.iter().map(value).collect::<Vec<_>>();
    Tensor::<1>::from_data(values.as_slice(), &device).unsqueeze_dim(1).require_grad()
}

/// Compares with the reference. `scale` is the size of the largest value in the computation, which
/// a 32-bit float keeps to 2^-24.
#[track_caller]
fn assert_close(found: f32, expected: f64, scale: f64, row: &impl std::fmt::Debug) {
    let error = (f64::from(found) - expected).abs();
    let bound = 8.0 * scale * f64::from(f32::EPSILON) / 2.0 + f64::from(f32::MIN_POSITIVE);
    assert!(error <= bound, "{found} is not {expected}, off by more than {bound:e}: {row:?}");
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn kl_divergence() {
    let rows = goldens().kl;
    let mean = column(&rows, |row| row.mean);
    let log_var = column(&rows, |row| row.log_var);
    let q = DiagonalGaussian::new(mean.clone(), log_var.clone());
    let kl = KlDivergence.to_standard_normal(&q);
    let grads = kl.clone().sum().backward();
    let grad_mean = values(mean.grad(&grads).unwrap());
    let grad_log_var = values(log_var.grad(&grads).unwrap());
    for (i, (row, found)) in rows.iter().zip(values(kl)).enumerate() {
        // Near the prior 1 + log_var - exp(log_var) would lose every digit; the largest value here
        // is log_var itself.
        let (lv, m) = (f64::from(row.log_var), f64::from(row.mean));
        let scale = lv.abs().max(m * m).max(lv.exp_m1().abs());
        assert_close(found, row.value, scale, row);
        assert_close(grad_mean[i], row.grad_mean, m.abs(), row);
        assert_close(grad_log_var[i], row.grad_log_var, lv.exp().max(1.0), row);
    }
}

#[test]
fn bernoulli_nll() {
    let rows = goldens().bernoulli;
    let logits = column(&rows, |row| row.logit);
    let x = column(&rows, |row| row.x);
    let nll = BernoulliNll.nll(logits.clone().unsqueeze_dim(0), x);
    let grads = nll.clone().sum().backward();
    let grad = values(logits.grad(&grads).unwrap());
    for (i, (row, found)) in rows.iter().zip(values(nll)).enumerate() {
        assert_close(found, row.value, f64::from(row.logit.abs()).max(1.0), row);
        assert_close(grad[i], row.grad, 1.0, row);
    }
}

#[test]
fn normal_log_prob() {
    let rows = goldens().normal;
    let mean = column(&rows, |row| row.mean);
    let log_var = column(&rows, |row| row.log_var);
    let z = column(&rows, |row| row.z).unsqueeze_dim(0);
    let found = DiagonalGaussian::new(mean, log_var).log_prob(z.clone());
    for (row, found) in rows.iter().zip(values(found)) {
        let standardised = f64::from(row.z - row.mean) * (f64::from(row.log_var) / -2.0).exp();
        let scale = (standardised * standardised).max(2.0).max(f64::from(row.log_var.abs()));
        assert_close(found, row.value, scale, row);
    }
    let prior = values(StandardNormal.log_prob(z));
    for (i, row) in rows.iter().enumerate() {
        if row.mean == 0.0 && row.log_var == 0.0 {
            assert_close(prior[i], row.value, f64::from(row.z * row.z).max(2.0), row);
        }
    }
}

#[test]
fn reparameterize() {
    let rows = goldens().reparameterize;
    let mean = column(&rows, |row| row.mean);
    let log_var = column(&rows, |row| row.log_var);
    let eps = column(&rows, |row| row.eps);
    let noise = eps.clone().unsqueeze_dim(0);
    let z = Reparameterize.forward(mean.clone(), log_var.clone(), noise);
    let grads = z.clone().sum().backward();
    let grad_mean = values(mean.grad(&grads).unwrap());
    let grad_log_var = values(log_var.grad(&grads).unwrap());
    for (i, (row, found)) in rows.iter().zip(values(z)).enumerate() {
        let std = (f64::from(row.log_var) / 2.0).exp() * f64::from(row.eps.abs());
        assert_close(found, row.value, std.max(f64::from(row.mean.abs())), row);
        assert_eq!(grad_mean[i], 1.0, "{row:?}");
        assert_close(grad_log_var[i], row.grad_log_var, std, row);
    }
}

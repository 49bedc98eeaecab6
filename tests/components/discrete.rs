//! Compares relaxed and exact categorical variables and bits, in value and gradient, with
//! independent references; see `fixtures/discrete.py`.

use crate::distributions::{Q, distributions, row, scalar, values};
use burn::module::{Module, list_param_ids};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn_vae::posterior::{Bernoulli, Categorical, Samples};
use burn_vae::prior::{
    BernoulliPrior, BernoulliPriorConfig, CategoricalPrior, CategoricalPriorConfig,
};
use burn_vae::{Divergence, KlDivergence, ModuleConfig, Phase, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    categorical_densities: Vec<Density>,
    bit_densities: Vec<Density>,
    samples: Vec<Sample>,
    divergences: Vec<Kl>,
}

#[derive(Deserialize, Debug)]
struct Density {
    temperature: f64,
    logits: Vec<f32>,
    z: Vec<f32>,
    value: f64,
    logit_gradient: Vec<f64>,
    log_z_gradient: Vec<f64>,
    size: f64,
}

#[derive(Deserialize, Debug)]
struct Sample {
    kind: String,
    temperature: f64,
    logits: Vec<f32>,
    noise: Vec<f32>,
    z: Vec<f64>,
    gradient: Vec<f64>,
}

#[derive(Deserialize, Debug)]
struct Kl {
    kind: String,
    q: Vec<f32>,
    p: Vec<f32>,
    value: f64,
    q_gradient: Vec<f64>,
    p_gradient: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/discrete.json")).unwrap()
}

const TEMPERATURES: [f64; 6] = [1e-4, 0.01, 0.1, 0.5, 1.0, 100.0];

/// Within the 32-bit rounding of sums with terms of the given size.
#[test]
fn densities_of_relaxed_samples() {
    let device = Device::flex().autodiff();
    let Fixture { categorical_densities, bit_densities, .. } = fixture();
    assert!(categorical_densities.len() > 100 && bit_densities.len() > 200);
    for density in categorical_densities.iter().chain(&bit_densities) {
        let logits = row::<2>(&density.logits, &device).require_grad();
        let z = row::<3>(&density.z, &device).require_grad();
        let categories = Some(density.z.len()).filter(|&n| n > 1);
        let q = Q::new(logits.clone(), categories).relaxed(density.temperature);
        let log_prob = q.log_prob(z.clone());
        let found = scalar(log_prob.clone());
        let bound = 1e-6 * density.size.max(3.0);
        assert!((found - density.value).abs() < bound, "{found}: {density:?}");
        let gradients = log_prob.backward();
        let by_logits = values(logits.grad(&gradients).unwrap());
        for (found, expected) in by_logits.iter().zip(&density.logit_gradient) {
            assert!((found - expected).abs() < bound, "{found} is not {expected}: {density:?}");
        }
        let by_z = values(z.grad(&gradients).unwrap());
        let scale = |z: f64| if categories.is_some() { z } else { z * (1.0 - z) };
        for ((found, z), expected) in by_z.iter().zip(&density.z).zip(&density.log_z_gradient) {
            let found = found * scale(f64::from(*z));
            let bound = bound * (1.0 + density.temperature);
            assert!((found - expected).abs() < bound, "{found} is not {expected}: {density:?}");
        }
    }
}

/// The error is that of the perturbed logits, divided by the temperature.
#[test]
fn relaxed_samples_and_straight_through_gradients() {
    let device = Device::flex().autodiff();
    for sample in &fixture().samples {
        let categories = (sample.kind == "categorical").then_some(sample.z.len());
        let noise = row::<3>(&sample.noise, &device);
        let run = |of: &dyn Fn(Q) -> Q| {
            let logits = row::<2>(&sample.logits, &device).require_grad();
            let z = of(Q::new(logits.clone(), categories)).rsample(noise.clone());
            let weights = (1..=sample.z.len()).map(|i| i as f32).collect::<Vec<_>>();
            let gradients = (z.clone() * row::<3>(&weights, &device)).sum().backward();
            let gradient = logits.grad(&gradients).map(values);
            (values(z), gradient)
        };
        let t = sample.temperature;
        let largest = sample.logits.iter().fold(5.0f64, |size, l| size.max(f64::from(l.abs())));
        let bound = 1e-7 * largest / t + 1e-6;
        let (z, gradient) = run(&|q| q.relaxed(t));
        for (found, expected) in z.iter().zip(&sample.z) {
            assert!((found - expected).abs() < bound, "{found} is not {expected}: {sample:?}");
            assert!(*found > 0.0 && (categories.is_some() || *found < 1.0), "{found}: {sample:?}");
        }
        let gradient = gradient.unwrap();
        for (found, expected) in gradient.iter().zip(&sample.gradient) {
            let bound = bound * 20.0 / t;
            assert!((found - expected).abs() < bound, "{found} is not {expected}: {sample:?}");
        }
        let (hard, of_hard) = run(&|q| q.straight_through(t));
        let of_head = |phase| Q::of_head(&sample.logits, categories, t, phase);
        let exact = values(of_head(Phase::Eval).rsample(noise.clone().inner()));
        assert_eq!(hard, exact, "{sample:?}");
        let trained = of_head(Phase::Train { step: 3 }).rsample(noise.clone().inner());
        let relaxed = Q::new(row(&sample.logits, &Device::flex()), categories).relaxed(t);
        assert_eq!(values(trained), values(relaxed.rsample(noise.clone().inner())), "{sample:?}");
        assert!(hard.iter().all(|&z| z == 0.0 || z == 1.0), "{hard:?}");
        for (a, b) in of_hard.unwrap().iter().zip(&gradient) {
            // A relaxed sample at its bound has no gradient.
            assert!((a - b).abs() < 1e-5 / t, "{a} is not {b}: {sample:?}");
        }
    }
}

/// Returns the divergence of one example from a learned prior, its shares and its gradients.
fn kl<Q, P: Module, B>(
    posterior: Q,
    logits: &Tensor<2>,
    prior: P,
    bound: impl Fn(&P) -> B,
) -> [Vec<f64>; 4]
where
    KlDivergence: Divergence<Q, B>,
{
    let prior = prior.train();
    let z = Tensor::zeros([1, 1, 1], &logits.device());
    let samples = Samples::new(z, Seed::new(0));
    let terms = KlDivergence.terms(&posterior, &bound(&prior), &samples);
    let value = terms.total.clone();
    let shares = terms.shares().unwrap();
    // A single variable's share is the whole divergence.
    assert_eq!(values(shares.by_variable().sum_dim(1)), values(value.clone()));
    let gradients = value.backward();
    let by_q = values(logits.grad(&gradients).unwrap());
    let by_p = GradientsParams::from_grads(gradients, &prior);
    let by_p = values(by_p.get::<1>(list_param_ids(&prior)[0]).unwrap());
    [values(value), values(shares.by_dimension), by_q, by_p]
}

#[test]
fn divergences_in_closed_form() {
    let rows = fixture().divergences;
    assert!(rows.len() > 80);
    for row in &rows {
        let logits = self::row::<2>(&row.q, &Device::flex().autodiff()).require_grad();
        let (seed, device) = (Seed::new(0), Device::flex());
        let [value, shares, by_q, by_p] = match row.kind.as_str() {
            "bits" => {
                let prior = BernoulliPriorConfig::new().with_logits(row.p.clone()).learned();
                let bound = |prior: &BernoulliPrior| {
                    prior.bound(row.p.len(), Phase::Train { step: 0 }, &logits.device())
                };
                let prior = prior.init(seed, &device).unwrap();
                kl(Bernoulli::new(logits.clone()), &logits, prior, bound)
            }
            _ => {
                let prior = CategoricalPriorConfig::new(3).with_logits(row.p.clone()).learned();
                let bound = |prior: &CategoricalPrior| {
                    prior.bound(row.p.len(), Phase::Train { step: 0 }, &logits.device())
                };
                let prior = prior.init(seed, &device).unwrap();
                kl(Categorical::new(logits.clone(), 3), &logits, prior, bound)
            }
        };
        let size = row.q.iter().chain(&row.p).fold(1.0f64, |size, l| size.max(f64::from(l.abs())));
        assert!((value[0] - row.value).abs() < 5e-7 * size, "{value:?}: {row:?}");
        assert!((shares.iter().sum::<f64>() - value[0]).abs() < 1e-6 * size, "{shares:?}: {row:?}");
        let expected = row.q_gradient.iter().chain(&row.p_gradient);
        for (found, expected) in by_q.iter().chain(&by_p).zip(expected) {
            assert!((found - expected).abs() < 1e-6 * size, "{found} is not {expected}: {row:?}");
        }
    }
}

/// With extreme logits and temperatures, drawn as in training.
#[test]
fn relaxed_densities_and_their_gradients_are_finite() {
    for plain in distributions() {
        for t in TEMPERATURES {
            let noise = Tensor::from_inner(plain.noise(200, 7));
            let lift = |l: &Tensor<2>| Tensor::from_inner(l.clone()).require_grad();
            let (logits, q) = match &plain {
                Q::Bits(q) => (lift(&q.logits), None),
                Q::Variable(q) => (lift(&q.logits), Some(q.categories())),
            };
            let categories = q;
            let q = Q::new(logits.clone(), categories).relaxed(t);
            let p = Q::new(logits.zeros_like(), categories).relaxed(t);
            let z = q.rsample(noise);
            let inside = |z: f64| z > 0.0 && (z < 1.0 || categories.is_some() && z == 1.0);
            assert!(values(z.clone()).into_iter().all(inside), "{plain:?} at {t}");
            let ratio = q.log_prob(z.clone()) - p.log_prob(z);
            assert!(values(ratio.clone()).iter().all(|r| r.is_finite()), "{plain:?} at {t}");
            let gradient = values(logits.grad(&ratio.sum().backward()).unwrap());
            assert!(gradient.iter().all(|g| g.is_finite()), "{plain:?} at {t}: {gradient:?}");
        }
    }
}

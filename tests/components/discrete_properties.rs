//! Properties of every relaxed and every exact distribution of bits and categorical variables.

use crate::distributions::{Q, constant, distributions, row, scalar, values};
use burn::tensor::Device;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::noise::{Noise, NoiseShape};
use burn_vae::posterior::{Bernoulli, Density};
use burn_vae::prior::BernoulliPriorConfig;
use burn_vae::{Divergence, KlDivergence, ModuleConfig, NoiseSource, Phase, Posterior, Seed};

/// `E_q[p/q] = 1`, even if many samples are at the bounds of 32-bit floats, where `p` and `q` are
/// probabilities rather than densities. The mean of `log q/p` is not negative.
#[test]
fn ratios_of_densities_are_those_of_the_samples() {
    let device = Device::flex();
    let pairs: [(&[f32], &[f32], Option<usize>); 4] = [
        (&[0.4], &[-0.6], None),
        (&[3.0], &[2.0], None),
        (&[0.4, -0.3, 0.0], &[-0.2, 0.3, 0.1], Some(3)),
        (&[1.0, -1.0, 0.5, 0.0, 0.3], &[0.5, -0.5, 0.0, 0.3, 0.9], Some(5)),
    ];
    for (q, p, categories) in pairs {
        for t in [1e-3, 0.02, 0.1, 0.5, 1.0, 3.0] {
            let [q, p] = [q, p].map(|l| Q::new(row(l, &device), categories).relaxed(t));
            let z = q.rsample(q.noise(40_000, 11));
            let ratio = values(p.log_prob(z.clone()) - q.log_prob(z));
            let weights = ratio.iter().map(|r| r.exp()).collect::<Vec<_>>();
            let (mean, error) = mean_and_error(&weights);
            assert!((mean - 1.0).abs() < 4.0 * error + 1e-5, "{q:?}: {mean} +- {error}");
            let (log, error) = mean_and_error(&ratio);
            assert!(log < 4.0 * error, "{q:?}: {log} +- {error}");
        }
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// By the trapezoidal rule in log-odds.
#[test]
fn densities_integrate_to_one() {
    let device = Device::flex();
    let sigmoid = |s: f64| 1.0 / (1.0 + (-s).exp());
    for t in [0.7, 1.0, 2.0] {
        for logit in [-1.0f32, 0.0, 0.5] {
            let (step, points) = (0.05, (-300..=300).map(|i| f64::from(i) * 0.05));
            let points = points.collect::<Vec<_>>();
            let both = points.iter().flat_map(|&s| [sigmoid(s) as f32, sigmoid(-s) as f32]);
            let both = both.collect::<Vec<_>>();
            let first = both.iter().step_by(2).copied().collect::<Vec<_>>();
            let column = |z: &[f32], dim| row::<1>(z, &device).reshape([points.len(), 1, dim]);
            let bit = Q::new(row(&[logit], &device), None).relaxed(t);
            let variable = Q::new(row(&[logit, 0.0], &device), Some(2)).relaxed(t);
            let bit = values(bit.log_prob(column(&first, 1)));
            let variable = values(variable.log_prob(column(&both, 2)));
            let integral = |log: &[f64]| {
                let terms = log.iter().zip(&points);
                terms.map(|(l, &s)| l.exp() * sigmoid(s) * sigmoid(-s) * step).sum::<f64>()
            };
            // The mass beyond |s| = 15.
            let tail = sigmoid(f64::from(logit) - 15.0 * t) + sigmoid(-f64::from(logit) - 15.0 * t);
            for found in [integral(&bit), integral(&variable)] {
                assert!((found + tail - 1.0).abs() < 1e-4, "{t} {logit}: {found} and {tail}");
            }
            // Two categories are a bit, except for the digits that a bit near 1 lacks.
            for ((a, b), s) in bit.iter().zip(&variable).zip(&points).filter(|(_, s)| **s < 5.0) {
                assert!((a - b).abs() < 1e-5 * (1.0 + s.abs()), "{t} {logit} {s}: {a} {b}");
            }
        }
        let side = (-80..=80).map(|i| f64::from(i) * 0.25).collect::<Vec<_>>();
        let mut z = Vec::new();
        for &a in &side {
            for &b in &side {
                let total = a.exp() + b.exp() + 1.0;
                z.extend([a.exp() / total, b.exp() / total, 1.0 / total].map(|z| z as f32));
            }
        }
        let q = Q::new(row(&[0.4, -0.8, 0.1], &device), Some(3)).relaxed(t);
        let log = values(q.log_prob(row::<1>(&z, &device).reshape([z.len() / 3, 1, 3])));
        let volumes = z.chunks_exact(3).map(|z| z.iter().map(|&z| f64::from(z)).product::<f64>());
        let found = log.iter().zip(volumes).map(|(l, v)| l.exp() * v * 0.0625).sum::<f64>();
        assert!((found - 1.0).abs() < 1e-3, "{t}: {found}");
    }
}

/// The largest component of a relaxed sample is distributed like an exact sample.
#[test]
fn samples_are_where_the_probabilities_are() {
    const N: usize = 20_000;
    for q in distributions() {
        for t in [0.01, 0.5, 3.0] {
            let noise = q.noise(N, 5);
            let relaxed = values(q.clone().relaxed(t).rsample(noise.clone()));
            let exact = values(q.rsample(noise));
            let p = q.mean();
            let mut counts = vec![[0.0; 2]; p.len()];
            for (relaxed, exact) in relaxed.chunks_exact(p.len()).zip(exact.chunks_exact(p.len())) {
                let highest = relaxed.iter().fold(0.0, |a: f64, &b| a.max(b));
                for ((count, &z), &one) in counts.iter_mut().zip(relaxed).zip(exact) {
                    let is_one = if matches!(q, Q::Bits(_)) { z > 0.5 } else { z == highest };
                    count[0] += f64::from(u8::from(is_one));
                    count[1] += one;
                }
            }
            for (count, p) in counts.iter().zip(&p) {
                let error = (p * (1.0 - p) * N as f64).sqrt();
                for count in count {
                    let off = (count - p * N as f64).abs();
                    assert!(off <= 4.0 * error + 1e-3, "{q:?} at {t}: {count} of {N}, {p}");
                }
            }
        }
    }
}

/// As the temperature goes to zero, the relaxed sample becomes exact and the ratio of densities
/// becomes the ratio of probabilities.
#[test]
fn without_heat_everything_is_discrete() {
    let device = Device::flex();
    for (categories, l, m) in
        [(None, [0.6f32, -1.0], [0.0f32, 0.5]), (Some(2), [0.6, -1.0], [0.0, 0.5])]
    {
        let [q, p] = [l, m].map(|l| Q::new(row(&l, &device), categories));
        let noise = q.noise(500, 3);
        let exact = q.rsample(noise.clone());
        let cold = q.clone().relaxed(1e-4).rsample(noise);
        let ratio = values(q.log_prob(exact.clone()) - p.log_prob(exact.clone()));
        let [q, p] = [q, p].map(|q| q.relaxed(1e-4));
        let relaxed = values(q.log_prob(cold.clone()) - p.log_prob(cold.clone()));
        let apart =
            values(exact).iter().zip(values(cold)).filter(|(a, b)| (*a - b).abs() > 1e-6).count();
        assert!(apart < 5, "{apart}");
        let apart = ratio.iter().zip(relaxed).filter(|(a, b)| (*a - b).abs() > 1e-2).count();
        assert!(apart < 5, "{apart}");
    }
}

/// The divergence between the relaxed distributions is estimated from samples and differs from that
/// between the discrete ones.
#[test]
fn relaxed_and_discrete_divergences_are_two() {
    let device = Device::flex();
    let prior = BernoulliPriorConfig::new().relaxed(constant(0.5)).init(Seed::new(0), &device);
    let prior = prior.unwrap();
    let bound = |phase| prior.bound(1, phase, &device);
    let q = Bernoulli::new(row(&[1.5], &device)).relaxed(0.5);
    let noise = NoiseShape::new(Noise::Uniform, 1);
    let noise = NoiseSource::new(3).draw_for(0, 40_000, 1, &noise, &device);
    let samples = q.draw(noise, Seed::new(1));
    // Outside training the prior is exact, and the ratio of a density to a probability is
    // undefined.
    let lost = MonteCarloKl::default().forward(q.clone(), &bound(Phase::Eval), &samples).1;
    assert_eq!(scalar(lost.total), f64::INFINITY);
    let relaxed = Bernoulli::new(row(&[0.0], &device)).relaxed(0.5);
    let in_training = bound(Phase::Train { step: 0 }).log_prob(samples.z.clone());
    assert_eq!(values(in_training), values(relaxed.log_prob(samples.z.clone())));
    let ratio = values(q.log_prob(samples.z.clone()) - relaxed.log_prob(samples.z.clone()));
    // Logistic distributions of width 1, integrated numerically.
    let log_density = |s: f64, l: f64| (s - l) - 2.0 * (s - l).exp().ln_1p();
    let grid = (-40_000..40_000).map(|i| f64::from(i) * 1e-3);
    let expected = grid
        .map(|s| log_density(s, 1.5).exp() * (log_density(s, 1.5) - log_density(s, 0.0)) * 1e-3)
        .sum::<f64>();
    let (mean, error) = mean_and_error(&ratio);
    assert!((mean - expected).abs() < 4.0 * error, "{mean} +- {error} is not {expected}");
    let discrete = KlDivergence.forward(q.clone(), &bound(Phase::Train { step: 0 }), &samples).1;
    let discrete = scalar(discrete.total);
    assert_eq!(scalar(KlDivergence.forward(q, &bound(Phase::Eval), &samples).1.total), discrete);
    assert!(expected > discrete + 0.05, "{expected} {discrete}");
}

/// An exact distribution gives no probability to relaxed samples, and a relaxed one none to exact
/// samples.
#[test]
fn what_is_outside_of_a_support_has_no_probability() {
    let device = Device::flex();
    let bit = (&[0.3f32][..], None);
    let variable = (&[0.3f32, 0.0, 1.0][..], Some(3));
    for ((logits, categories), exact, soft) in [
        (bit, vec![1.0f32], vec![1.0f32 - 2f32.powi(-22)]),
        (variable, vec![0.0, 1.0, 0.0], vec![2f32.powi(-100), 1.0, 2f32.powi(-100)]),
    ] {
        let q = Q::new(row(logits, &device), categories);
        let outside_training = Q::of_head(logits, categories, 0.5, Phase::Eval);
        let [exact, soft] = [exact, soft].map(|z| row::<3>(&z, &device));
        for q in [q.clone(), q.clone().straight_through(0.5), outside_training] {
            assert!(scalar(q.log_prob(exact.clone())).is_finite());
            assert_eq!(scalar(q.log_prob(soft.clone())), f64::NEG_INFINITY);
        }
        let relaxed = q.relaxed(0.5);
        assert!(scalar(relaxed.log_prob(soft)).is_finite());
        assert_eq!(scalar(relaxed.log_prob(exact)), f64::NEG_INFINITY);
    }
    let two = row::<3>(&[1.0, 1.0, 0.0], &device);
    let variable = Q::new(row(variable.0, &device), variable.1);
    assert_eq!(scalar(variable.log_prob(two)), f64::NEG_INFINITY);
}

//! Lookup-free quantisation against another implementation; see `fixtures/lookup_free.py`.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::posterior::{Codebook, LookupFreeFamily, Posterior};
use burn_vae::{Encoder, ModuleConfig, Phase, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    bits: usize,
    temperature: f64,
    features: Vec<Vec<f32>>,
    codes: Vec<Vec<f32>>,
    indices: Vec<Vec<i64>>,
    penalty: f32,
    weights: Vec<Vec<f32>>,
    gradient: Vec<Vec<f32>>,
}

fn tensor(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new::<f32, _>(rows.concat(), shape), device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn numbers(x: Tensor<2, Int>) -> Vec<i64> {
    x.into_data().iter().collect()
}

#[test]
fn codes_penalties_and_gradients_are_those_of_the_reference() {
    let text = include_str!("../fixtures/lookup_free.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    let device = Device::flex().autodiff();
    for Case { bits, temperature, features, codes, indices, penalty, weights, gradient } in cases {
        let family = LookupFreeFamily {
            entropy: 0.3,
            diversity: 0.7,
            temperature,
            commitment: 0.2,
            ..LookupFreeFamily::new(bits)
        };
        let features = tensor(&features, &device).require_grad();
        let q = family.learn(features.clone()).unwrap();
        assert_eq!(values(q.mean().inner()), codes.concat());
        assert_eq!(numbers(q.indices()), indices.concat());
        let again = q.codebook().codes_of(q.indices().inner()).unwrap();
        assert_eq!(values(again), codes.concat());
        let found = q.penalty().unwrap().mean();
        let grads = ((q.mean() * tensor(&weights, &device)).sum() + found.clone()).backward();
        let pairs = [
            (values(found.inner()), vec![penalty]),
            (values(features.grad(&grads).unwrap()), gradient.concat()),
        ];
        for (found, expected) in pairs {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{bits}: {found} {expected}");
            }
        }
    }
}

/// Features far from zero have certain codes; equal numbers of each make the penalty `-diversity log
/// codes`.
#[test]
fn the_penalty_is_that_of_certain_codes() {
    let device = Device::flex();
    let family = LookupFreeFamily { commitment: 0.0, ..LookupFreeFamily::new(4) };
    let grid = family.grid().unwrap();
    let all = Tensor::<1, Int>::arange(0..16, &device).reshape([16, 1]);
    let features = grid.lookup(all).mul_scalar(1e4);
    let penalty = values(family.learn(features).unwrap().penalty().unwrap());
    let expected = -0.1 * 16f32.ln();
    assert!(penalty.iter().all(|found| (found - expected).abs() < 1e-5), "{penalty:?}");
}

#[test]
fn families_out_of_range_are_refused() {
    let good = LookupFreeFamily::new(3);
    for (family, message) in [
        (LookupFreeFamily { bits: 0, ..good }, "bits is 0"),
        (LookupFreeFamily { bits: 13, ..good }, "bits is 13"),
        (LookupFreeFamily { entropy: -1.0, ..good }, "entropy is -1"),
        (LookupFreeFamily { temperature: 0.0, ..good }, "temperature is 0"),
        (LookupFreeFamily { diversity: f64::INFINITY, ..good }, "diversity is inf"),
        (LookupFreeFamily { bits: 4, ..good }, "latent_dim is 6, but it must be a multiple of 4"),
    ] {
        let config = MlpEncoderConfig::new(9, [4], 6).with_posterior(family);
        let error = config.init(Seed::new(0), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let encoder = MlpEncoderConfig::new(9, [4], 6).with_posterior(good);
    let encoder = encoder.init(Seed::new(0), &Device::flex()).unwrap();
    let q = encoder.encode(Tensor::ones([2, 9], &Device::flex()), Phase::Eval);
    assert_eq!((q.indices().dims(), q.penalty().is_none()), ([2, 2], true));
}

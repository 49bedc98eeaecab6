//! Vector quantisation against the codes, indices, gradients and moving averages of another
//! implementation; see `fixtures/vector_quantizer.py`.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::posterior::{
    CodeGradient, CodeTable, Codebook, Posterior, VectorQuantizedFamily, VectorQuantizer,
};
use burn_vae::prior::UniformCodes;
use burn_vae::{BernoulliNll, ModuleConfig, NoiseSource, Seed, VaeConfig};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    quantizers: usize,
    rotation: bool,
    tables: Vec<Vec<Vec<f32>>>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    features: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
    codes: Vec<Vec<f32>>,
    indices: Vec<Vec<i64>>,
    losses: Vec<f32>,
    gradient: Option<Vec<Vec<f32>>>,
    tables: Vec<Vec<Vec<f32>>>,
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

fn random(rows: usize, columns: usize, seed: u64) -> Tensor<2> {
    NoiseSource::new(seed).draw(0, [1, rows, columns], &Device::flex()).squeeze_dim(0)
}

fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(error < tolerance * expected.abs().max(1.0), "{what}: {found} {expected}");
    }
}

#[test]
fn steps_of_training_are_those_of_the_reference() {
    let text = include_str!("../fixtures/vector_quantizer.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    let device = Device::flex().autodiff();
    for Case { quantizers, rotation, tables, steps } in cases {
        let gradient = match rotation {
            true => CodeGradient::Rotation,
            false => CodeGradient::StraightThrough,
        };
        let [codes, columns] = [tables[0].len(), tables[0][0].len()];
        let family = VectorQuantizedFamily {
            decay: 0.9,
            dead_share: 0.0,
            commitment: 1.0,
            ..VectorQuantizedFamily::new(codes, columns)
        };
        let family = family.with_quantizers(quantizers).with_gradient(gradient);
        let tables = tables.iter().map(|table| tensor(table, &device)).collect();
        let quantizer = VectorQuantizer::new(family, Seed::new(0), &device).unwrap();
        let quantizer = quantizer.starting_from(&CodeTable::new(tables).unwrap()).unwrap();
        for (step, expected) in steps.iter().enumerate() {
            let what = format!("{quantizers} {rotation} {step}");
            let features = tensor(&expected.features, &device).require_grad();
            let q = quantizer.learn(features.clone(), step as u64);
            assert_eq!(numbers(q.indices()), expected.indices.concat(), "{what}");
            close(&values(q.mean().inner()), &expected.codes.concat(), 1e-6, &what);
            // The reference averages over the columns too.
            let loss = expected.losses.iter().sum::<f32>() * columns as f32;
            close(&values(q.penalty().unwrap().mean().inner()), &[loss], 1e-5, &what);
            let grads = (q.mean() * tensor(&expected.weights, &device)).sum().backward();
            let found = values(features.grad(&grads).unwrap());
            let gradient = expected.gradient.as_ref().unwrap_or(&expected.weights);
            close(&found, &gradient.concat(), 2e-5, &what);
            for (found, expected) in quantizer.codebook().tables().iter().zip(&expected.tables) {
                close(&values(found.clone()), &expected.concat(), 1e-5, &what);
            }
        }
        // Without training nothing moves, and the penalty is left out.
        let before = quantizer.codebook().tables().to_vec();
        let q = quantizer.quantize(tensor(&steps[0].features, &device));
        assert!(q.penalty().is_none());
        for (before, after) in before.into_iter().zip(quantizer.codebook().tables()) {
            assert_eq!(values(before), values(after.clone()));
        }
    }
}

/// The commitment loss pulls the features towards their codes: its gradient by finite differences.
#[test]
fn the_commitment_loss_has_the_gradient_of_its_value() {
    let device = Device::flex().autodiff();
    let family = VectorQuantizedFamily::new(4, 3).with_quantizers(2);
    let table = |seed| Tensor::from_inner(random(4, 3, seed));
    let start = CodeTable::new(vec![table(1), table(2).mul_scalar(0.3)]).unwrap();
    let penalty = |x: Tensor<2>| {
        let quantizer = VectorQuantizer::new(family, Seed::new(0), &device).unwrap();
        let quantizer = quantizer.starting_from(&start).unwrap();
        quantizer.learn(x, 1).penalty().unwrap().sum()
    };
    let x = Tensor::from_inner(random(2, 6, 3)).require_grad();
    let grads = penalty(x.clone()).backward();
    let found = values(x.grad(&grads).unwrap());
    let x = values(x.inner());
    let at = |i: usize, shift: f32| {
        let mut x = x.clone();
        x[i] += shift;
        let x = Tensor::<2>::from_data(TensorData::new::<f32, _>(x, [2, 6]), &device);
        f64::from(penalty(x).into_scalar::<f32>())
    };
    for (i, found) in found.iter().enumerate() {
        let expected = (at(i, 1e-2) - at(i, -1e-2)) / 2e-2;
        assert!((f64::from(*found) - expected).abs() < 1e-3, "{i}: {found} {expected}");
    }
}

/// K-means from as many distinct features as codes returns the features.
#[test]
fn training_begins_with_k_means() {
    let device = Device::flex().autodiff();
    let distinct = random(5, 2, 7);
    let features = Tensor::cat(vec![distinct.clone(); 3], 0);
    let family = VectorQuantizedFamily::new(15, 2);
    let quantizer = VectorQuantizer::new(family, Seed::new(1), &device).unwrap();
    let q = quantizer.learn(Tensor::from_inner(features.clone()), 0);
    close(&values(q.mean().inner()), &values(features.clone()), 1e-4, "k-means");

    // Two clusters far apart: one code in the centre of each, for any seed.
    let centres = Tensor::<2>::from_data([[50.0, 0.0], [-50.0, 0.0]], &Device::flex());
    let noise = random(40, 2, 8).reshape([20, 2, 2]);
    let features = (centres.clone().unsqueeze_dim::<3>(0) + noise.clone()).reshape([40, 2]);
    for seed in 0..5 {
        let quantizer =
            VectorQuantizer::new(VectorQuantizedFamily::new(2, 2), Seed::new(seed), &device);
        let q = quantizer.unwrap().learn(Tensor::from_inner(features.clone()), 0);
        let means = centres.clone() + noise.clone().mean_dim(0).squeeze_dim(0);
        close(&values(q.mean().inner())[..4], &values(means), 1e-4, "two clusters");
    }
}

/// A code that no feature is nearest to becomes one of the features, unless that is turned off.
#[test]
fn unused_codes_are_replaced() {
    let device = Device::flex().autodiff();
    let far = Tensor::<2>::full([8, 2], 1e3, &device);
    let tables = Tensor::cat(vec![Tensor::from_inner(random(8, 2, 1)), far], 0);
    let features = Tensor::from_inner(random(64, 2, 2));
    for dead_share in [0.0, 0.1] {
        let family =
            VectorQuantizedFamily { dead_share, decay: 0.9, ..VectorQuantizedFamily::new(16, 2) };
        let quantizer = VectorQuantizer::new(family, Seed::new(0), &device).unwrap();
        let start = CodeTable::new(vec![tables.clone()]).unwrap();
        let quantizer = quantizer.starting_from(&start).unwrap();
        for step in 1..40 {
            quantizer.learn(features.clone(), step);
        }
        let indices = quantizer.quantize(features.clone()).indices();
        let usage = quantizer.codebook().usage(indices).unwrap();
        match dead_share {
            0.0 => assert!(usage.used <= 8, "{usage}"),
            // A code may just have lost its features to another.
            _ => assert!(usage.used > 10, "{usage}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Indices, codes and indices again: exact, also if codes are close together.
    #[test]
    fn all_indices_come_back(codes in 2usize..40, columns in 1usize..6, seed in any::<u64>()) {
        let tight = random(codes, columns, seed).mul_scalar(1e-4).add_scalar(100.0);
        for table in [random(codes, columns, seed), tight] {
            let rows = values(table.clone());
            let rows = rows.chunks(columns).map(|row| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            let distinct = rows.collect::<std::collections::HashSet<_>>().len() == codes;
            let table = CodeTable::new(vec![table]).unwrap();
            let all = (0..codes as i64).collect::<Vec<_>>();
            let indices = Tensor::<1, Int>::from_data(&all[..], &Device::flex()).reshape([1, -1]);
            let z = table.codes_of(indices.clone()).unwrap();
            prop_assert_eq!(z.dims(), [1, codes * columns]);
            let again = table.indices(z.clone());
            prop_assert_eq!(values(table.lookup(again.clone())), values(z));
            prop_assert!(!distinct || numbers(again) == all);
            let usage = table.usage(indices).unwrap();
            prop_assert_eq!((usage.used, usage.codes), (codes, codes));
            prop_assert!((usage.perplexity - codes as f64).abs() < 1e-6 * codes as f64);
        }
    }
}

#[test]
fn a_model_returns_its_codes_by_index() {
    let device = Device::flex();
    let family = VectorQuantizedFamily::new(8, 2).with_quantizers(3);
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(9, [4], 6).with_posterior(family),
        decoder: MlpDecoderConfig::new(6, [4], 9),
        likelihood: BernoulliNll,
        prior: UniformCodes,
    };
    let vae = config.init(Seed::new(0), &device).unwrap();
    let x = random(5, 9, 1);
    let indices = vae.encode_indices(x.clone()).unwrap();
    assert_eq!(indices.dims(), [5, 3 * 3]);
    let q = vae.encode(x.clone()).unwrap();
    assert_eq!(values(vae.reconstruct(x).unwrap()), values(vae.decode(q.mean()).unwrap()));
    let decoded = vae.decode_indices(indices).unwrap();
    close(&values(decoded), &values(vae.decode(q.mean()).unwrap()), 1e-6, "decoded");
    let usage = q.codebook().usage(q.indices()).unwrap();
    assert_eq!(usage.codes, 24);
    assert_eq!(vae.clone().no_grad().encode(random(5, 9, 1)).unwrap().dims(), [5, 6]);

    for (indices, message) in [
        (Tensor::<2, Int>::zeros([5, 8], &device), "indices"),
        (Tensor::<2, Int>::full([5, 9], 8, &device), "index 8 is not one of 8 codes"),
        (Tensor::<2, Int>::full([5, 9], -1, &device), "index -1 is not one of 8 codes"),
    ] {
        let error = vae.decode_indices(indices).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn bad_families_are_refused() {
    let good = VectorQuantizedFamily::new(8, 2);
    for (family, message) in [
        (VectorQuantizedFamily { codes: 1, ..good }, "codes is 1"),
        (VectorQuantizedFamily { codes: usize::MAX, ..good }, "codes is"),
        (VectorQuantizedFamily { columns: 0, ..good }, "columns is 0"),
        (VectorQuantizedFamily { columns: usize::MAX, ..good }, "too many"),
        (VectorQuantizedFamily { quantizers: 0, ..good }, "quantizers is 0"),
        (VectorQuantizedFamily { decay: 1.0, ..good }, "decay is 1"),
        (VectorQuantizedFamily { dead_share: -0.1, ..good }, "dead_share is -0.1"),
        (VectorQuantizedFamily { commitment: f64::NAN, ..good }, "commitment is NaN"),
        (
            VectorQuantizedFamily { columns: 4, ..good },
            "latent_dim is 6, but it must be a multiple",
        ),
    ] {
        let encoder = MlpEncoderConfig::new(9, [4], 6).with_posterior(family);
        let error = encoder.init(Seed::new(0), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert!(CodeTable::new(vec![]).is_err());
    assert!(CodeTable::new(vec![random(3, 2, 0), random(2, 2, 0)]).is_err());
    let other = CodeTable::new(vec![random(3, 2, 0)]).unwrap();
    let quantizer = VectorQuantizer::new(good, Seed::new(0), &Device::flex()).unwrap();
    let error = quantizer.starting_from(&other).unwrap_err().to_string();
    assert!(error.contains("1 tables of shape [3, 2]"), "{error}");
}

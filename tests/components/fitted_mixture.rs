//! Mixtures of Gaussians fitted by expectation maximisation, against scikit-learn; see
//! `fixtures/mixture.py`.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::posterior::{Density, Posterior};
use burn_vae::prior::{Distribution, FitMixture, FittedMixture, Prior};
use burn_vae::{ModuleConfig, NoiseSource, Phase, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    points: Vec<Vec<f64>>,
    start: Vec<Vec<f64>>,
    iterations: usize,
    regularization: f64,
    log_likelihood: f64,
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    covariances: Vec<Vec<Vec<f64>>>,
    log_probs: Vec<f64>,
}

fn tensor(rows: &[Vec<f64>]) -> Tensor<2> {
    let values = rows.concat().iter().map(|x| *x as f32).collect();
    let data = TensorData::new::<f32, _>(values, [rows.len(), rows[0].len()]);
    Tensor::from_data(data, &Device::flex())
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// The crate keeps parameters as 32-bit floats, so this is their accuracy. The log-likelihood is that
/// of the fit itself.
#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn fits_are_those_of_the_reference() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/mixture.json")).unwrap();
    for case in cases {
        let dim = case.points[0].len();
        let how = FitMixture {
            regularization: case.regularization,
            tolerance: 0.0,
            max_iterations: case.iterations,
            means: Some(case.start.clone()),
            ..FitMixture::new(case.start.len())
        };
        let (mixture, fit) = FittedMixture::fit(tensor(&case.points), how).unwrap();
        assert_eq!((fit.iterations, fit.converged), (case.iterations, false));
        assert!((fit.log_likelihood - case.log_likelihood).abs() < 1e-9, "{fit:?}");
        close(&values(mixture.log_weights().exp()), &case.weights);
        close(&values(mixture.components().mean()), &case.means.concat());
        let factor = mixture.components().factor();
        let covariance = factor.clone().matmul(factor.swap_dims(1, 2));
        close(&values(covariance), &case.covariances.concat().concat());

        let encoder = MlpEncoderConfig::new(3, [4], dim).init(Seed::new(0), &Device::flex());
        let bound = mixture.bind(&encoder.unwrap(), Phase::Eval);
        let some = tensor(&case.points[..case.log_probs.len()]);
        close(&values(bound.log_prob(some.unsqueeze_dim(0))), &case.log_probs);
    }
}

/// From its own start, a fit finds well separated clusters, and its samples have their moments.
#[test]
fn clusters_are_found_from_any_seed() {
    let device = Device::flex();
    let draw = |seed| NoiseSource::new(seed).draw(0, [1, 400, 2], &device).squeeze_dim::<2>(0);
    let at = |x: f32, y: f32| Tensor::<2>::from_data([[x, y]], &device);
    let codes = [(0.0, 0.0), (30.0, 0.0), (0.0, 30.0)].into_iter().enumerate();
    let codes = codes.map(|(i, (x, y))| draw(i as u64).mul_scalar(1.0 + i as f64) + at(x, y));
    let codes = Tensor::cat(codes.collect(), 0);
    for seed in 0..5 {
        let how = FitMixture { seed: Seed::new(seed), ..FitMixture::new(3) };
        let (mixture, fit) = FittedMixture::fit(codes.clone(), how).unwrap();
        assert!(fit.converged, "{fit:?}");
        let mut means = values(mixture.components().mean());
        means.sort_by(f64::total_cmp);
        assert!((means[4] - 30.0).abs() < 0.5 && (means[5] - 30.0).abs() < 0.5, "{means:?}");
        assert!(means[..4].iter().all(|mean| mean.abs() < 0.5), "{means:?}");
        let encoder = MlpEncoderConfig::new(3, [4], 2).init(Seed::new(0), &device).unwrap();
        let bound = mixture.bind(&encoder, Phase::Eval);
        let samples = bound.sample(4000, 2, Seed::new(seed), &device);
        let mean = values(samples.mean_dim(0));
        // A third of the samples is at 30: five standard errors are 1.1.
        assert!(mean.iter().all(|mean| (mean - 10.0).abs() < 1.2), "{mean:?}");
    }
}

#[test]
fn fits_that_cannot_be_are_refused() {
    let codes = || tensor(&[vec![0.0, 1.0], vec![1.0, 0.0], vec![2.0, 5.0]]);
    let good = FitMixture::new(2);
    for (how, message) in [
        (FitMixture { components: 0, ..good.clone() }, "components is 0"),
        (FitMixture { components: 4, ..good.clone() }, "number of codes, 3"),
        (FitMixture { regularization: -1.0, ..good.clone() }, "regularization is -1"),
        (FitMixture { tolerance: f64::NAN, ..good.clone() }, "tolerance is NaN"),
        (FitMixture { max_iterations: 0, ..good.clone() }, "max_iterations is 0"),
        (FitMixture { means: Some(vec![vec![0.0]; 2]), ..good.clone() }, "2 rows of 2 values"),
        (FitMixture { regularization: 0.0, ..FitMixture::new(3) }, "is singular"),
    ] {
        let error = FittedMixture::fit(codes(), how).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let infinite = tensor(&[vec![0.0, f64::INFINITY], vec![1.0, 0.0]]);
    let error = FittedMixture::fit(infinite, good).unwrap_err().to_string();
    assert!(error.contains("code 0 has inf in column 1"), "{error}");
}

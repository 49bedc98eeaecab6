//! Finite scalar quantisation against the values, indices and gradients of another implementation;
//! see `fixtures/finite_scalar.py`.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::posterior::{
    Codebook, Density, FiniteScalarFamily, Grid, Posterior, Quantized, Samples,
};
use burn_vae::prior::{BoundUniformCodes, Distribution, StandardNormal, UniformCodes};
use burn_vae::{BernoulliNll, Divergence, KlDivergence, ModuleConfig, Seed, VaeConfig};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    levels: Vec<u8>,
    features: Vec<Vec<f32>>,
    codes: Vec<Vec<f32>>,
    indices: Vec<Vec<i64>>,
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
fn codes_indices_and_gradients_are_those_of_the_reference() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../fixtures/finite_scalar.json")).unwrap();
    let device = Device::flex().autodiff();
    for Case { levels, features, codes, indices, weights, gradient } in cases {
        let grid = Grid::new(&levels).unwrap();
        let features = tensor(&features, &device).require_grad();
        let q = Quantized::finite_scalar(features.clone(), grid);
        assert_eq!(numbers(q.indices()), indices.concat(), "{levels:?}");
        let grads = (q.mean() * tensor(&weights, &device)).sum().backward();
        for (found, expected) in [
            (values(q.mean().inner()), codes.concat()),
            (values(features.grad(&grads).unwrap()), gradient.concat()),
        ] {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 2e-6, "{levels:?}: {found} {expected}");
            }
        }
        // The way back is exact.
        let again = grid.codes_of(q.indices().inner()).unwrap();
        assert_eq!(numbers(grid.indices(again.clone())), indices.concat());
        let log_p = BoundUniformCodes::new(grid).log_prob(again.unsqueeze_dim(0));
        let codes = (grid.codes() as f32).powi(indices[0].len() as i32);
        assert!(values(log_p).iter().all(|log_p| (log_p + codes.ln()).abs() < 1e-5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All codes have distinct points of the grid, and the prior draws only these.
    #[test]
    fn all_indices_come_back(levels in prop::collection::vec(2u8..12, 1..4), seed in any::<u64>()) {
        let (grid, device) = (Grid::new(&levels).unwrap(), Device::flex());
        let all = (0..grid.codes() as i64).collect::<Vec<_>>();
        let indices = Tensor::<1, Int>::from_data(&all[..], &device).reshape([-1, 1]);
        let codes = grid.codes_of(indices.clone()).unwrap();
        prop_assert_eq!(numbers(grid.indices(codes)), all);
        let usage = grid.usage(indices).unwrap();
        prop_assert_eq!((usage.used, usage.codes), (grid.codes(), grid.codes()));
        prop_assert!((usage.perplexity - grid.codes() as f64).abs() < 1e-6 * usage.perplexity);

        let prior = BoundUniformCodes::new(grid);
        let z = prior.sample(20, 2 * grid.columns(), Seed::new(seed), &device);
        let log_p = values(prior.log_prob(z.clone().unsqueeze_dim(0)));
        prop_assert!(log_p.iter().all(|log_p| log_p.is_finite()));
        let beside = values(prior.log_prob((z + 0.03).unsqueeze_dim(0)));
        prop_assert!(beside.iter().all(|log_p| *log_p == f32::NEG_INFINITY));
    }
}

#[test]
fn the_divergence_is_the_logarithm_of_the_number_of_codes() {
    let (grid, device) = (Grid::new([8, 5, 5, 5]).unwrap(), Device::flex());
    let q = Quantized::finite_scalar(Tensor::ones([3, 8], &device), grid);
    let samples = Samples::new(q.rsample(Tensor::zeros([2, 3, 0], &device)), Seed::new(0));
    assert_eq!(samples.z.dims(), [2, 3, 8]);
    let terms = KlDivergence.terms(&q, &BoundUniformCodes::new(grid), &samples);
    let expected = 2.0 * 1000f32.ln();
    assert!(values(terms.total).iter().all(|kl| (kl - expected).abs() < 1e-5));
}

#[test]
fn bad_grids_and_indices_are_refused() {
    for (levels, message) in [
        (&[][..], "levels has 0 entries"),
        (&[3; 25], "levels has 25 entries"),
        (&[8, 1], "levels[1] is 1"),
        (&[255; 8], "more than 16777216 codes"),
    ] {
        let error = Grid::new(levels).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let (grid, device) = (Grid::new([3, 4]).unwrap(), Device::flex());
    for index in [-1, 12] {
        let indices = Tensor::<1, Int>::from_data([0i64, index], &device).reshape([1, 2]);
        for error in [grid.codes_of(indices.clone()).err(), grid.usage(indices).err()] {
            let error = error.unwrap().to_string();
            assert!(error.contains(&format!("index {index} is not one of 12 codes")), "{error}");
        }
    }
    let config = |latent_dim, grid| VaeConfig {
        encoder: MlpEncoderConfig::new(9, [4], latent_dim)
            .with_posterior(FiniteScalarFamily::new(grid)),
        decoder: MlpDecoderConfig::new(latent_dim, [4], 9),
        likelihood: BernoulliNll,
        prior: UniformCodes,
    };
    let error = config(5, grid).init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("latent_dim is 5, but it must be a multiple of 2"), "{error}");
    let binary = Grid::new([4, 2]).unwrap();
    let error = config(4, binary).init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("levels[1] is 2, but finite scalar"), "{error}");
    let VaeConfig { encoder, decoder, likelihood, .. } = config(4, grid);
    let config = VaeConfig { encoder, decoder, likelihood, prior: StandardNormal };
    let error = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("the prior is over codes of Real values"), "{error}");
    assert!(serde_json::from_str::<Grid>("[8, 1]").is_err());
}

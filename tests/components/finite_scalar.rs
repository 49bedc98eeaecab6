//! Finite scalar quantisation against the values, indices and gradients of another implementation;
//! see `fixtures/finite_scalar.py`.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{ByteImages, Examples};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::posterior::{Density, FiniteScalar, FiniteScalarFamily, Grid, Posterior, Samples};
use burn_vae::prior::{Distribution, GridPrior};
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    BernoulliNll, Divergence, Elbo, KlDivergence, ModuleConfig, Seed, VaeConfig, saved,
};
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
        let q = FiniteScalar::new(features.clone(), grid);
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
        let log_p = GridPrior::new(grid).log_prob(again.unsqueeze_dim(0));
        let codes = (grid.codes() as f32).powi(indices[0].len() as i32);
        assert!(values(log_p).iter().all(|log_p| (log_p + codes.ln()).abs() < 1e-5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All codes have distinct points of the grid, and the prior draws only these.
    #[test]
    fn all_indices_come_back(levels in prop::collection::vec(3u8..12, 1..4), seed in any::<u64>()) {
        let (grid, device) = (Grid::new(&levels).unwrap(), Device::flex());
        let all = (0..grid.codes() as i64).collect::<Vec<_>>();
        let indices = Tensor::<1, Int>::from_data(&all[..], &device).reshape([-1, 1]);
        let codes = grid.codes_of(indices.clone()).unwrap();
        prop_assert_eq!(numbers(grid.indices(codes)), all);
        let usage = grid.usage(indices).unwrap();
        prop_assert_eq!((usage.used, usage.codes), (grid.codes(), grid.codes()));
        prop_assert!((usage.perplexity - grid.codes() as f64).abs() < 1e-6 * usage.perplexity);

        let prior = GridPrior::new(grid);
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
    let q = FiniteScalar::new(Tensor::ones([3, 8], &device), grid);
    let samples = Samples::new(q.rsample(Tensor::zeros([2, 3, 0], &device)), Seed::new(0));
    assert_eq!(samples.z.dims(), [2, 3, 8]);
    let terms = KlDivergence.terms(&q, &GridPrior::new(grid), &samples);
    let expected = 2.0 * 1000f32.ln();
    assert!(values(terms.total).iter().all(|kl| (kl - expected).abs() < 1e-5));
}

#[test]
fn bad_grids_and_indices_are_refused() {
    for (levels, message) in [
        (&[][..], "levels has 0 entries"),
        (&[3; 9], "levels has 9 entries"),
        (&[8, 2], "levels[1] is 2"),
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
    let config = |latent_dim, prior| VaeConfig {
        encoder: MlpEncoderConfig::new(9, [4], latent_dim)
            .with_posterior(FiniteScalarFamily::new(grid)),
        decoder: MlpDecoderConfig::new(latent_dim, [4], 9),
        likelihood: BernoulliNll,
        prior: GridPrior::new(prior),
    };
    let error = config(5, grid).init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(error.contains("latent_dim is 5, but it must be a multiple of 2"), "{error}");
    let other = Grid::new([4, 3]).unwrap();
    assert!(config(4, other).init(Seed::new(0), &device).is_err());
    assert!(serde_json::from_str::<Grid>("[8, 1]").is_err());
}

/// Trained on patches of digits, a model uses many codes, and a saved model returns the same ones.
/// With initial weights like these, one or two of the four columns end on a single level in other
/// seeds and in vector-quantize-pytorch: 40 to 200 codes are used there.
#[test]
fn a_trained_model_uses_its_codes() {
    let (grid, device) = (Grid::new([8, 5, 5, 5]).unwrap(), Device::flex());
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(49, [128, 128], 4)
            .with_posterior(FiniteScalarFamily::new(grid)),
        decoder: MlpDecoderConfig::new(4, [128, 128], 49),
        likelihood: BernoulliNll,
        prior: GridPrior::new(grid),
    };
    let digits = Mnist::find(None).unwrap();
    let (train, test) = (patches(&digits.train.take(4000)), patches(&digits.test.take(1000)));
    let plan = TrainConfig { epochs: 4, batch_size: 128, ..TrainConfig::default() };
    let trained = Trainer::new(plan)
        .with_objective(Elbo::new(KlDivergence))
        .with_progress(Progress::Silent)
        .fit(config.init(Seed::new(0), &device).unwrap(), Arc::new(train), Arc::new(test.clone()))
        .unwrap();
    let epochs = &trained.history.epochs;
    let last = &epochs[3];
    assert!((last.valid_divergence - 1000f64.ln()).abs() < 1e-5);
    assert!(last.valid_distortion < 12.5, "{}", last.valid_distortion);

    let x = test.tensor(0..test.len(), &device).unwrap();
    let indices = trained.model.encode(x.clone()).unwrap().indices();
    let usage = grid.usage(indices.clone()).unwrap();
    assert!(usage.used > 150 && usage.perplexity > 100.0, "{usage:?}");

    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &trained.model).unwrap();
    type Config =
        VaeConfig<MlpEncoderConfig<FiniteScalarFamily>, MlpDecoderConfig, BernoulliNll, GridPrior>;
    let (_, again) = saved::load::<Config>(dir.path(), &device).unwrap();
    assert_eq!(numbers(again.encode(x).unwrap().indices()), numbers(indices));
}

/// The sixteen patches of 7 x 7 pixels of each image that are not blank.
fn patches(images: &ByteImages) -> ByteImages {
    let mut pixels = Vec::new();
    for image in images.pixels().chunks_exact(28 * 28) {
        for (row, column) in (0..28).step_by(7).flat_map(|row| [0, 7, 14, 21].map(|c| (row, c))) {
            let lines = (row..row + 7).map(|line| &image[line * 28 + column..][..7]);
            let patch = lines.flatten().copied().collect::<Vec<_>>();
            if patch.iter().any(|pixel| *pixel > 0) {
                pixels.extend(patch);
            }
        }
    }
    ByteImages::new(pixels, [7, 7, 1]).unwrap()
}

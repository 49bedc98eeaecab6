//! Models of the literature with a closed form or a fit by another method.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::data::Table;
use burn_vae::decoder::{FirstLayerDecoder, MlpDecoder};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{HierarchicalEncoder, MlpEncoder};
use burn_vae::eval::{ImportanceSampling, log_likelihood};
use burn_vae::likelihood::{ScaleConfig, Support};
use burn_vae::nn::Activation;
use burn_vae::posterior::{BernoulliHead, Temperature};
use burn_vae::presets::{self, GaussianVaeConfig, StochasticLayer};
use burn_vae::prior::{BernoulliPrior, HierarchicalPrior};
use burn_vae::summary::Describe as _;
use burn_vae::summary::Summary;
use burn_vae::{
    BernoulliNll, Decoder, Elbo, Encoder, Inputs, Model, ModuleConfig, NoiseSource, Objective,
    Phase, Seed, Vae,
};
use nalgebra::{DMatrix, DVector};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

const ROWS: usize = 400;
const DATA: usize = 5;

/// Rows `W z + b + noise` with two factors and a standard deviation for each value.
fn data(scales: [f64; DATA]) -> DMatrix<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut normal = |rows, columns| {
        DMatrix::<f64>::from_fn(rows, columns, |_, _| StandardNormal.sample(&mut rng))
    };
    let (w, b) = (normal(DATA, 2), normal(DATA, 1));
    let (z, noise) = (normal(2, ROWS), normal(DATA, ROWS));
    let noise = DMatrix::from_diagonal(&DVector::from_row_slice(&scales)) * noise;
    let mut x = w * z + noise;
    for mut column in x.column_iter_mut() {
        column += 0.1 * &b;
    }
    x.map(|value| f64::from(value as f32))
}

fn mean_and_covariance(x: &DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let mean = x.column_mean();
    let centred = DMatrix::from_fn(DATA, ROWS, |i, j| x[(i, j)] - mean[i]);
    let covariance = &centred * centred.transpose() / ROWS as f64;
    (mean, covariance)
}

/// The minimum NELBO of training from three starts. If the encoder's log-variances depend on the
/// data, there are local optima besides the one with the same covariance for all.
fn trained(config: &GaussianVaeConfig, x: &DMatrix<f64>) -> f64 {
    (3..6).map(|seed| trained_from(seed, config, x)).fold(f64::INFINITY, f64::min)
}

fn trained_from(seed: u64, config: &GaussianVaeConfig, x: &DMatrix<f64>) -> f64 {
    let device = Device::flex();
    let values = x.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let x = Tensor::from_data(TensorData::new::<f32, _>(values, [ROWS, DATA]), &device);
    let mut vae = config.init(Seed::new(seed), &device).unwrap().train();
    let mut optimizer = AdamConfig::new().init();
    let steps = 2500u64;
    for step in 0..steps {
        let eps = NoiseSource::new(3).draw(step, [1, ROWS, 2], &device);
        let inputs = Inputs::new(Tensor::from_inner(x.clone()), Tensor::from_inner(eps));
        let terms = Elbo::default().terms(&vae, inputs.at(step, Seed::new(0)));
        let gradients = GradientsParams::from_grads(terms.mean().backward(), &vae);
        // Decreases from 0.1 to 3e-4.
        let rate = 0.1 * 3e-3f64.powf(step as f64 / steps as f64);
        vae = optimizer.step(rate, vae, gradients);
    }
    let eps = NoiseSource::new(4).draw(0, [200, ROWS, 2], &device);
    let inputs = Inputs::new(Tensor::from_inner(x), Tensor::from_inner(eps));
    let nelbo = Elbo::default().terms(&vae, inputs).nelbo.into_data().iter::<f64>().sum::<f64>();
    nelbo / ROWS as f64
}

/// Enumerates the bits of a two-layer sigmoid belief network: importance sampling gives the
/// likelihood of each example, and training, which relaxes the bits, increases it.
#[test]
fn a_sigmoid_belief_network_of_two_layers_is_the_sum_over_its_bits() {
    let device = Device::flex();
    let temperature = Temperature::constant(0.4).unwrap();
    let config = presets::sigmoid_belief_network(6, &[3, 2], temperature);
    let mut vae = config.init(Seed::new(2), &device).unwrap().train();
    let patterns = [[1.0f32, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]];
    let rows = (0..100).flat_map(|i| patterns[i % 2]).collect::<Vec<_>>();
    let x = Tensor::from_data(TensorData::new::<f32, _>(rows.clone(), [100, 6]), &device);
    let names = (0..6).map(|i| i.to_string()).collect::<Vec<_>>();
    let first = std::sync::Arc::new(Table::new(rows[..12].to_vec(), names).unwrap());

    let check = |vae: &SigmoidBeliefNetwork| -> f64 {
        let vae = vae.valid();
        let logits = |values: Tensor<2>| values.into_data().iter::<f64>().collect::<Vec<_>>();
        let log =
            |bit: f64, logit: f64| -(1.0 + (if bit > 0.5 { -logit } else { logit }).exp()).ln();
        let exact = patterns.map(|pattern| {
            let mut sum = 0.0;
            for code in 0..32u32 {
                let bit = |i: u32| f64::from(code >> i & 1);
                let z = (0..5).map(bit).collect::<Vec<_>>();
                let whole = z.iter().map(|&bit| bit as f32).collect::<Vec<_>>();
                let whole = Tensor::<1>::from_data(whole.as_slice(), &device).unsqueeze_dim::<2>(0);
                let down = &vae.prior.layers()[0];
                let upper = whole.clone().narrow(1, 3, 2);
                let given = logits(down.encode(upper, Phase::Eval).logits);
                let pixels = logits(vae.decoder.decode(whole));
                let log_prior = 2.0 * 0.5f64.ln();
                let log_first = (0..3).map(|i| log(z[i], given[i])).sum::<f64>();
                let log_x = (0..6).map(|i| log(f64::from(pattern[i]), pixels[i])).sum::<f64>();
                sum += (log_prior + log_first + log_x).exp();
            }
            -sum.ln()
        });
        let exact = (exact[0] + exact[1]) / 2.0;
        let sampling = ImportanceSampling { num_samples: 5000, ..Default::default() };
        let found = log_likelihood(&vae, first.clone(), sampling, NoiseSource::new(1)).unwrap();
        let error = 4.0 * found.monte_carlo_error + 1e-4;
        assert!((found.nll - exact).abs() < error, "{} is not {exact}", found.nll);
        exact
    };

    let before = check(&vae);
    let (mut optimizer, noise) = (AdamConfig::new().init(), vae.noise());
    for step in 0..600 {
        let eps = NoiseSource::new(3).draw_for(step, 1, 100, &noise, &device);
        let inputs = Inputs::new(Tensor::from_inner(x.clone()), Tensor::from_inner(eps));
        let elbo = Elbo::new(MonteCarloKl::default());
        let terms = elbo.terms(&vae, inputs.at(step, Seed::new(0)));
        let gradients = GradientsParams::from_grads(terms.mean().backward(), &vae);
        vae = optimizer.step(3e-2, vae, gradients);
    }
    // With two equally likely patterns, ln 2 = 0.69 is optimal.
    let after = check(&vae);
    assert!(before > 3.5 && after < 1.5, "from {before} to {after}");
}

type SigmoidBeliefNetwork = Vae<
    HierarchicalEncoder<MlpEncoder<BernoulliHead>>,
    FirstLayerDecoder<MlpDecoder>,
    BernoulliNll,
    HierarchicalPrior<MlpEncoder<BernoulliHead>, BernoulliPrior>,
>;

/// Probabilistic principal component analysis has a closed form (Tipping and Bishop 1999, eq. 7 and
/// 8).
#[test]
fn one_noise_for_all_values_is_probabilistic_pca() {
    let x = data([0.5; DATA]);
    let (_, covariance) = mean_and_covariance(&x);
    let mut eigenvalues = covariance.symmetric_eigen().eigenvalues.as_slice().to_vec();
    eigenvalues.sort_by(|a, b| b.total_cmp(a));
    let noise = eigenvalues[2..].iter().sum::<f64>() / (DATA - 2) as f64;
    let logs = eigenvalues[0].ln() + eigenvalues[1].ln() + (DATA - 2) as f64 * noise.ln();
    let best = 0.5 * (DATA as f64 * (std::f64::consts::TAU.ln() + 1.0) + logs);
    let found = trained(&presets::linear_factor_analysis(DATA, 2, ScaleConfig::learned(0.3)), &x);
    assert!((found - best).abs() < 0.01, "{found}, but the best is {best}");
}

/// Factor analysis by expectation maximisation (Rubin and Thayer 1982).
#[test]
fn a_noise_for_each_value_is_factor_analysis() {
    let x = data([0.3, 0.6, 0.9, 0.4, 1.2]);
    let (_, s) = mean_and_covariance(&x);
    let mut w = DMatrix::from_fn(DATA, 2, |i, j| 0.5 + 0.1 * (i as f64) - 0.3 * (i * j) as f64);
    let mut noise = s.diagonal();
    for _ in 0..5000 {
        let model = &w * w.transpose() + DMatrix::from_diagonal(&noise);
        let beta = w.transpose() * model.try_inverse().unwrap();
        let second = DMatrix::identity(2, 2) - &beta * &w + &beta * &s * beta.transpose();
        w = &s * beta.transpose() * second.try_inverse().unwrap();
        noise = (&s - &w * &beta * &s).diagonal();
    }
    let model = (&w * w.transpose() + DMatrix::from_diagonal(&noise)).cholesky().unwrap();
    let trace = model.solve(&s).trace();
    let constant = DATA as f64 * std::f64::consts::TAU.ln();
    let best = 0.5 * (constant + model.ln_determinant() + trace);
    let scale = ScaleConfig::learned_per_value(0.3, DATA);
    let found = trained(&presets::linear_factor_analysis(DATA, 2, scale), &x);
    assert!((found - best).abs() < 0.01, "{found}, but the best is {best}");
}

#[test]
fn each_name_is_the_network_it_stands_for() {
    let device = Device::flex();
    let logistic = presets::logistic_factor_analysis(20, [7], 3);
    let logistic = logistic.init(Seed::new(0), &device).unwrap();
    assert_eq!(logistic.decoder.layers().len(), 1);
    assert_eq!((logistic.encoder.layers().len(), logistic.support()), (3, Support::Binary));

    let nonlinear = presets::nonlinear_factor_analysis(20, [7, 5], 3, ScaleConfig::learned(1.0));
    let nonlinear = nonlinear.init(Seed::new(0), &device).unwrap();
    assert_eq!((nonlinear.decoder.layers().len(), nonlinear.support()), (3, Support::Real));

    let one = presets::iwae_one_layer().init(Seed::new(0), &device).unwrap();
    assert_eq!((one.data_dim(), one.latent_dim()), (784, 50));

    let temperature = Temperature::constant(0.5).unwrap();
    let sigmoid = presets::sigmoid_belief_network(20, &[6, 4], temperature);
    let sigmoid = sigmoid.init(Seed::new(0), &device).unwrap();
    assert_eq!(Summary::of(&sigmoid).params().total(), 2 * (20 * 6 + 6 * 4) + 6 + 4 + 20 + 6);

    let layers = [StochasticLayer::new([6], 4), StochasticLayer::new([], 2)];
    let noise = ScaleConfig::learned(1.0);
    let belief = presets::nonlinear_gaussian_belief_network(20, &layers, Activation::Tanh, noise);
    let belief = belief.init(Seed::new(0), &device).unwrap();
    assert_eq!((belief.latent_dim(), belief.support()), (6, Support::Real));
    let eps = NoiseSource::new(1).draw_for(0, 2, 3, &belief.noise(), &device);
    let x = Tensor::zeros([3, 20], &device);
    let terms = Elbo::new(MonteCarloKl::default()).terms(&belief, Inputs::new(x, eps));
    assert!(terms.nelbo.into_data().iter::<f64>().all(f64::is_finite));
}

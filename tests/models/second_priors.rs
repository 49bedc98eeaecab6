//! Priors that are fitted or trained after the rest of a model.

use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::eval::{codes, evaluate};
use burn_vae::flow::FlowsConfig;
use burn_vae::prior::{FitMixture, FittedMixture, FittedMixtureConfig, FlowPriorConfig};
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{Elbo, MlpVaeConfig, ModuleConfig, NoiseSource, Seed, VaeConfig, saved};

/// The bound of a model with a mixture or a flow over the codes of the data is below its own by what
/// the codes differ from a standard normal distribution; nothing else changes.
#[test]
fn a_second_prior_improves_the_bound() {
    let device = Device::flex();
    let digits = Mnist::find(None).unwrap();
    let (train, test) = (Arc::new(digits.train.take(3000)), Arc::new(digits.test.take(500)));
    let config = MlpVaeConfig::mlp(784, [64], 2);
    let plan = TrainConfig { epochs: 4, batch_size: 50, ..TrainConfig::default() };
    let trainer = || Trainer::new(plan).with_progress(Progress::Silent);
    let vae = config.init(Seed::new(0), &device).unwrap();
    let vae = trainer().fit(vae, train.clone(), test.clone()).unwrap().model;

    let objective = Elbo::new(MonteCarloKl::default());
    let noise = NoiseSource::new(1);
    macro_rules! evaluated {
        ($model:expr) => {
            evaluate($model, &objective, test.clone(), 100, 20, noise).unwrap()
        };
    }
    let before = evaluated!(&vae);
    let samples = codes(&vae, train.clone(), 100, Some(NoiseSource::new(2))).unwrap();
    assert_eq!(samples.dims(), [3000, 2]);
    let (mixture, fit) = FittedMixture::fit(samples, FitMixture::new(10)).unwrap();
    assert!(fit.converged, "{fit:?}");
    let mixed = vae.clone().with_prior(mixture).unwrap();
    let after = evaluated!(&mixed);
    assert!((after.distortion - before.distortion).abs() < 1e-3, "{after} {before}");
    assert!(after.nelbo < before.nelbo - 0.3, "{after} {before}");

    let flow = FlowPriorConfig::new(2, FlowsConfig::real_nvp(4, [32]));
    let flowing = vae.clone().with_prior(flow.init(Seed::new(3), &device).unwrap()).unwrap();
    let trained = trainer().with_objective(objective).fit(
        flowing.frozen().unwrap(),
        train.clone(),
        test.clone(),
    );
    let flowing = trained.unwrap().model.thawed();
    let after = evaluated!(&flowing);
    assert!((after.distortion - before.distortion).abs() < 1e-3, "{after} {before}");
    assert!(after.nelbo < before.nelbo - 0.2, "{after} {before}");

    // Both draw samples in one call, and a saved mixture draws the same ones.
    let drawn = |model: &dyn Fn() -> burn::tensor::Tensor<2>| {
        model().into_data().iter::<f32>().collect::<Vec<_>>()
    };
    assert_eq!(drawn(&|| flowing.sample(3, 0).unwrap()).len(), 3 * 784);
    let MlpVaeConfig { encoder, decoder, likelihood, .. } = config;
    let prior = FittedMixtureConfig::new(10, 2);
    let config = VaeConfig { encoder, decoder, likelihood, prior };
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &mixed).unwrap();
    type Mixed = VaeConfig<
        burn_vae::encoder::MlpEncoderConfig,
        burn_vae::decoder::MlpDecoderConfig,
        burn_vae::BernoulliNll,
        FittedMixtureConfig,
    >;
    let (_, again) = saved::load::<Mixed>(dir.path(), &device).unwrap();
    assert_eq!(drawn(&|| again.sample(3, 0).unwrap()), drawn(&|| mixed.sample(3, 0).unwrap()));
}

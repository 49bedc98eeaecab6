//! The result of a hundred training steps.

use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, Examples};
use burn_vae::eval::{ImportanceSampling, log_likelihood};
use burn_vae::nn::ConvConfig;
use burn_vae::optim::{Adam, RmsProp};
use burn_vae::posterior::Density;
use burn_vae::train::{Progress, TrainConfig, Trainer};
use burn_vae::{
    ConvVaeConfig, Elbo, MlpVaeConfig, Model, ModuleConfig, NoiseSource, Objective, Seed,
};

use super::Case;
use super::found::Found;

pub fn cases() -> Vec<Case> {
    let conv = ConvConfig { dense: Some(8), ..ConvConfig::new([28, 28, 1], [4, 8], 2) };
    let mlp = MlpVaeConfig::mlp(784, [64], 2);
    vec![
        training("perceptrons on digits, RMSprop", mlp.clone(), 10, || RmsProp::new().init()),
        shared("perceptrons on digits, half of each batch on flex", mlp, 10),
        training("convolutions on digits, Adam", ConvVaeConfig::conv(conv), 3, || {
            Adam::new().init()
        }),
    ]
}

/// Trains for two epochs on real digits. Returns the history, the weights and the likelihood of
/// digits that were not trained on.
fn training<C>(
    name: &'static str,
    config: C,
    batches: usize,
    optimizer: fn() -> ModuleOptimizer,
) -> Case
where
    C: ModuleConfig<Module: Model<Posterior: Density>> + 'static,
    Elbo: Objective<C::Module>,
{
    Case::new(name, move |device| trained(&config, batches, optimizer(), device, vec![]))
}

/// Like `training`, on the device and on `flex` together.
fn shared(name: &'static str, config: MlpVaeConfig, batches: usize) -> Case {
    Case::new(name, move |device| {
        let devices = vec![device.clone(), Device::flex()];
        trained(&config, batches, RmsProp::new().init(), device, devices)
    })
}

fn trained<C>(
    config: &C,
    batches: usize,
    optimizer: ModuleOptimizer,
    device: &Device,
    devices: Vec<Device>,
) -> Vec<Found>
where
    C: ModuleConfig<Module: Model<Posterior: Density>> + 'static,
    Elbo: Objective<C::Module>,
{
    let Mnist { train, test } = Mnist::find(None).unwrap();
    let model = config.init(Seed::new(5), device).unwrap();
    let training = TrainConfig { epochs: 2, batch_size: 50, ..TrainConfig::default() };
    let digits = |set: &burn_vae::data::ByteImages, n| -> Arc<dyn Examples> {
        Arc::new(Binarized::once(set.take(n), 0))
    };
    let trained = Trainer::new(training)
        .with_progress(Progress::Silent)
        .with_optimizer(optimizer)
        .with_devices(devices)
        .with_gradient_clipping(50.0)
        .unwrap()
        .fit(model, digits(&train, 50 * batches), digits(&test, 60))
        .unwrap();
    let epochs = &trained.history.epochs;
    let course = epochs.iter().flat_map(|e| [e.train_nelbo, e.valid_nelbo, e.valid_divergence]);
    let sampling = ImportanceSampling { num_samples: 20, ..ImportanceSampling::default() };
    let nll = log_likelihood(&trained.model, digits(&test, 60), sampling, NoiseSource::new(1));
    let mut found = vec![
        Found::course("history", course.collect()),
        Found::course("nll of each digit", nll.unwrap().examples),
    ];
    found.extend(Found::weights(&trained.model));
    found
}

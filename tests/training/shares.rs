//! A batch in shares: one after the other, and on several devices. Steps of plain gradient descent show
//! every factor of a gradient.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn_vae::data::ByteImages;
use burn_vae::nn::ConvConfig;
use burn_vae::objective::{Beta, Iwae, TargetKl};
use burn_vae::optim::Adam;
use burn_vae::train::{Existing, History, Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    ConvVae, ConvVaeConfig, Elbo, ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, Objective, Seed,
};

/// 57 images, so that the last batch of 8 has one row.
fn images() -> Arc<ByteImages> {
    let pixels = (0..57 * 64_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    Arc::new(ByteImages::new(pixels.collect::<Vec<_>>(), [8, 8, 1]).unwrap())
}

fn mlp() -> MlpVae {
    MlpVaeConfig::mlp(64, [12], 3).init(Seed::new(0), &Device::flex()).unwrap()
}

fn conv() -> ConvVae {
    let network = ConvConfig::new([8, 8, 1], [4, 6], 2);
    ConvVaeConfig::conv(network).init(Seed::new(0), &Device::flex()).unwrap()
}

fn trainer(accumulate: usize, devices: usize) -> Trainer {
    let plan = TrainConfig { epochs: 3, batch_size: 8, accumulate, ..TrainConfig::default() };
    let trainer = Trainer::new(plan)
        .with_optimizer(SgdConfig::new().init())
        .with_learning_rate(1e-2)
        .with_progress(Progress::Silent);
    match devices {
        1 => trainer,
        _ => trainer.with_devices(vec![Device::flex(); devices]),
    }
}

fn weights(model: &impl Module) -> Vec<f64> {
    struct Visitor(Vec<f64>);
    impl burn::module::ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            self.0.extend(param.val().into_data().iter::<f64>());
        }
    }
    let mut visitor = Visitor(Vec::new());
    model.visit(&mut visitor);
    visitor.0
}

/// The norm of the difference over the norm of the change of training.
fn apart(a: &impl Module, b: &impl Module, start: &impl Module) -> f64 {
    let [a, b, start] = [weights(a), weights(b), weights(start)];
    let norm =
        |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    norm(&a, &b) / norm(&a, &start)
}

fn fit<O: Objective<MlpVae> + 'static>(trainer: Trainer, objective: O) -> Trained<MlpVae> {
    trainer.with_objective(objective).fit(mlp(), images(), images()).unwrap()
}

fn timeless(history: &History) -> History {
    let mut history = history.clone();
    for epoch in &mut history.epochs {
        (epoch.train_seconds, epoch.valid_seconds) = (0.0, 0.0);
    }
    history
}

/// Also with a last batch of one row, of which all but one share get none.
#[test]
fn shares_are_the_whole_batch() {
    let whole = fit(trainer(1, 1), Elbo::default());
    for (accumulate, devices) in [(2, 1), (3, 1), (8, 1), (1, 2), (1, 3), (2, 3), (1, 8)] {
        let shared = fit(trainer(accumulate, devices), Elbo::default());
        let apart = apart(&whole.model, &shared.model, &mlp());
        assert!(apart < 1e-6, "{accumulate} on {devices}: {apart}");
        for (a, b) in whole.history.epochs.iter().zip(&shared.history.epochs) {
            assert!((a.train_nelbo - b.train_nelbo).abs() < 1e-4 * a.train_nelbo);
            assert!((a.valid_nelbo - b.valid_nelbo).abs() < 1e-4 * a.valid_nelbo);
        }
    }
    // The measure sees a wrong factor of one step in a hundred.
    let other = fit(trainer(1, 1).with_learning_rate(1.01e-2), Elbo::default());
    assert!(apart(&whole.model, &other.model, &mlp()) > 1e-3);
}

#[test]
fn convolutions_clipping_and_several_samples_are_the_same_in_shares() {
    let train = |accumulate, devices| {
        let trainer = trainer(accumulate, devices).with_gradient_clipping(2.0).unwrap();
        trainer.with_optimizer(Adam::new().init()).fit(conv(), images(), images()).unwrap().model
    };
    let whole = train(1, 1);
    for (accumulate, devices) in [(3, 1), (1, 2), (2, 2)] {
        let apart = apart(&whole, &train(accumulate, devices), &conv());
        // Adam divides by small gradients.
        assert!(apart < 1e-3, "{accumulate} on {devices}: {apart}");
    }
    let iwae = |accumulate, devices| {
        let plan = TrainConfig { epochs: 2, num_samples: 4, accumulate, ..TrainConfig::default() };
        let trainer = Trainer::new(TrainConfig { batch_size: 8, ..plan })
            .with_optimizer(SgdConfig::new().init())
            .with_learning_rate(1e-2)
            .with_progress(Progress::Silent);
        fit(trainer.with_devices(vec![Device::flex(); devices]), Iwae::default()).model
    };
    let apart = apart(&iwae(1, 1), &iwae(2, 2), &mlp());
    // The weights move less than by the ELBO, and are rounded alike.
    assert!(apart < 1e-5, "{apart}");
}

/// The same run gives the same bits, whole or resumed.
#[test]
fn shared_runs_repeat_and_resume_to_the_bit() {
    let once = fit(trainer(2, 3), Elbo::default());
    let again = fit(trainer(2, 3), Elbo::default());
    assert_eq!(weights(&once.model), weights(&again.model));
    assert_eq!(timeless(&once.history), timeless(&again.history));
    let dir = tempfile::tempdir().unwrap();
    let part = |epochs, devices| {
        let plan = TrainConfig { epochs, batch_size: 8, accumulate: 2, ..TrainConfig::default() };
        Trainer::new(plan)
            .with_optimizer(SgdConfig::new().init())
            .with_learning_rate(1e-2)
            .with_progress(Progress::Silent)
            .with_devices(vec![Device::flex(); devices])
            .with_checkpoints(dir.path(), Existing::Resume)
            .fit(mlp(), images(), images())
    };
    part(1, 3).unwrap();
    let error = part(3, 2).unwrap_err().error.to_string();
    assert!(error.contains("devices was 3 then and is 2 now"), "{error}");
    let resumed = part(3, 3).unwrap();
    assert_eq!(weights(&once.model), weights(&resumed.model));
    assert_eq!(timeless(&once.history), timeless(&resumed.history));
}

#[test]
fn steps_are_skipped_by_the_gradient_of_the_whole_batch() {
    let skip = |trainer: Trainer| {
        let trained = fit(trainer.with_gradient_skipping(6.0).unwrap(), Elbo::default());
        trained.history.epochs.iter().map(|epoch| epoch.skipped_steps).collect::<Vec<_>>()
    };
    let whole = skip(trainer(1, 1));
    assert!(whole.iter().all(|&skipped| (1..8).contains(&skipped)), "{whole:?}");
    assert_eq!(whole, skip(trainer(2, 2)));
}

/// Batch normalisation sees shares; the running averages are those of the first device.
#[test]
fn normalised_networks_train_in_shares() {
    let train = |accumulate, devices| {
        let network = ConvConfig::batch_norm([8, 8, 1], 2);
        let vae = ConvVaeConfig::conv(network).init(Seed::new(0), &Device::flex()).unwrap();
        trainer(accumulate, devices).fit(vae, images(), images()).unwrap()
    };
    let whole = train(1, 1);
    for (accumulate, devices) in [(2, 1), (1, 2)] {
        let shared = train(accumulate, devices);
        let nelbos = [&whole, &shared].map(|trained| trained.history.last().unwrap().valid_nelbo);
        assert!((nelbos[0] - nelbos[1]).abs() < 0.2 * nelbos[0], "{nelbos:?}");
        assert_ne!(weights(&whole.model), weights(&shared.model));
    }
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let target = Elbo::default().with_schedule(Beta::target_kl(TargetKl::new(3.0)).unwrap());
    for (trainer, expected) in [
        (trainer(0, 1), "accumulate is 0, but it must be at least 1"),
        (trainer(9, 1), "batch_size is 8, too small for 1 devices with accumulate 9"),
        (trainer(2, 5), "batch_size is 8, too small for 5 devices with accumulate 2"),
        (trainer(usize::MAX, 2), "batch_size is 8, too small for 2 devices"),
        (trainer(2, 1).with_objective(target), "carries a state from step to step"),
        (trainer(1, 2).with_objective(target), "carries a state from step to step"),
    ] {
        let stopped = trainer.fit(mlp(), images(), images()).unwrap_err();
        assert_eq!(stopped.error.kind(), ErrorKind::Config);
        assert!(stopped.error.to_string().contains(expected), "{}", stopped.error);
    }
}

//! Weights of the divergence in the loss, and which epochs can then be the best.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn_vae::data::ByteImages;
use burn_vae::data::mnist::Mnist;
use burn_vae::divergence::DivergenceTerms;
use burn_vae::eval::evaluate;
use burn_vae::objective::{Beta, TargetKl, Terms};
use burn_vae::posterior::Samples;
use burn_vae::train::{Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    Divergence, Elbo, Inputs, KlDivergence, MlpVae, MlpVaeConfig, ModuleConfig, NoiseSource,
    Objective, Seed,
};

fn model() -> MlpVae {
    MlpVaeConfig::mlp(784, [32], 3).init(Seed::new(0), &Device::flex()).unwrap()
}

fn digits(train: usize, test: usize) -> (Arc<ByteImages>, Arc<ByteImages>) {
    let mnist = Mnist::find(None).unwrap();
    (Arc::new(mnist.train.take(train)), Arc::new(mnist.test.take(test)))
}

fn inputs(step: u64) -> Inputs {
    let x = digits(1, 20).1.tensor(0..20, &Device::flex()).unwrap();
    let noise = NoiseSource::new(3).draw(0, [2, 20, 3], &Device::flex());
    Inputs::new(x, noise).at(step, Seed::new(0))
}

fn mean(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().mean().into_scalar::<f32>())
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} is not {expected}");
}

#[test]
fn a_schedule_weighs_the_loss_and_not_what_is_reported() {
    let elbo = Elbo::default().with_schedule(Beta::linear(8).unwrap());
    for (step, beta) in [(0, 0.0), (2, 0.25), (8, 1.0), (100, 1.0)] {
        let terms = elbo.terms(&model(), inputs(step));
        close(mean(&terms.loss), mean(&terms.distortion) + beta * mean(&terms.divergence));
        close(mean(&terms.nelbo), mean(&terms.distortion) + mean(&terms.divergence));
    }
}

#[test]
fn free_bits_count_each_dimension_up_to_its_allowance() {
    let model = model();
    let shares = |terms: &Terms| {
        let shares = terms.latents.clone().unwrap().divergence.unwrap().mean_dim(0);
        shares.into_data().iter::<f64>().collect::<Vec<_>>()
    };
    let plain = Elbo::default().terms(&model, inputs(0).with_latents());
    let mut sorted = shares(&plain);
    sorted.sort_by(f64::total_cmp);
    close(sorted.iter().sum(), mean(&plain.divergence));
    // Allowances between the shares of the three dimensions.
    for allowance in [0.5 * sorted[0], 0.5 * (sorted[0] + sorted[1]), 2.0 * sorted[2]] {
        let elbo = Elbo::default().with_free_bits(allowance).unwrap();
        let terms = elbo.terms(&model, inputs(0));
        let counted = sorted.iter().map(|share| share.max(allowance)).sum::<f64>();
        close(mean(&terms.loss), mean(&terms.distortion) + counted);
        close(mean(&terms.nelbo), mean(&plain.nelbo));
    }
}

/// If all dimensions stay within their allowance, the divergence has no gradient.
#[test]
fn free_bits_stop_the_gradient_of_the_divergence() {
    struct Largest<'a>(&'a GradientsParams, f32);
    impl ModuleVisitor for Largest<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1 = self.1.max(gradient.abs().max().into_scalar::<f32>());
            }
        }
    }
    let model = model().train();
    let train = |terms: Terms| {
        let gradients = (terms.loss - terms.distortion).mean().backward();
        let gradients = GradientsParams::from_grads(gradients, &model.encoder);
        let mut largest = Largest(&gradients, 0.0);
        model.encoder.visit(&mut largest);
        largest.1
    };
    let lift = |inputs: Inputs| {
        let (x, noise) = (Tensor::from_inner(inputs.x), Tensor::from_inner(inputs.noise));
        Inputs::new(x, noise)
    };
    let free = |nats| Elbo::default().with_free_bits(nats).unwrap();
    assert_eq!(train(free(50.0).terms(&model, lift(inputs(0)))), 0.0);
    assert!(train(free(0.0).terms(&model, lift(inputs(0)))) > 1e-4);
}

/// A divergence that is not split by dimension counts as one share.
#[test]
fn free_bits_of_a_divergence_that_does_not_split() {
    #[derive(Clone, Debug)]
    struct Whole;
    impl<P> Divergence<burn_vae::posterior::DiagonalGaussian, P> for Whole {
        fn terms(
            &self,
            q: &burn_vae::posterior::DiagonalGaussian,
            _: &P,
            _: &Samples,
        ) -> DivergenceTerms {
            DivergenceTerms::new(KlDivergence.to_standard_normal(q))
        }
    }
    let terms = Elbo::new(Whole).with_free_bits(100.0).unwrap().terms(&model(), inputs(0));
    close(mean(&terms.loss), mean(&terms.distortion) + 100.0);
    assert!(terms.latents.is_none());
}

fn trainer(config: TrainConfig) -> Trainer {
    Trainer::new(config).with_progress(Progress::Silent)
}

/// While the divergence is not fully weighted, the model overfits to a low likelihood term and its
/// NELBO is meaningless, so such an epoch is never the best.
#[test]
fn only_epochs_at_full_weight_are_compared() {
    let (train, test) = digits(300, 60);
    let config = TrainConfig { epochs: 6, batch_size: 50, patience: Some(6), ..Default::default() };
    let beta = Beta::linear(4 * 6 - 1).unwrap();
    let run = trainer(config).with_objective(Elbo::default().with_schedule(beta));
    let Trained { history, epoch, .. } = run.fit(model(), train, test).unwrap();
    let full = history.epochs.iter().map(|epoch| epoch.at_full_weight).collect::<Vec<_>>();
    assert_eq!(full, [false, false, false, true, true, true]);
    let best = history.epochs[3..].iter().min_by(|a, b| a.valid_nelbo.total_cmp(&b.valid_nelbo));
    assert_eq!(history.best(), best);
    assert_eq!(epoch, best.unwrap().epoch);
}

#[test]
fn an_annealing_longer_than_the_training_is_refused() {
    let (train, test) = digits(300, 60);
    let config = TrainConfig { epochs: 2, batch_size: 50, ..Default::default() };
    for (beta, fits) in [(Beta::linear(11), true), (Beta::linear(12), false)] {
        let run = trainer(config).with_objective(Elbo::default().with_schedule(beta.unwrap()));
        let result = run.fit(model(), train.clone(), test.clone());
        assert_eq!(result.is_ok(), fits);
        if let Err(stopped) = result {
            let message = stopped.error.to_string();
            assert!(
                message.contains("none of 2 epochs with 6 steps ends at the full weight"),
                "{message}"
            );
        }
    }
}

/// The returned weights are those of the best epoch, to the last bit of its NELBO.
#[test]
fn early_stopping_restores_the_best_weights() {
    let (train, test) = digits(200, 100);
    let config =
        TrainConfig { epochs: 100, batch_size: 20, patience: Some(3), ..Default::default() };
    // The learning rate is so high that the bound fluctuates.
    let run = trainer(config).with_learning_rate(3e-2);
    let Trained { model, history, epoch, .. } = run.fit(model(), train, test.clone()).unwrap();
    let best = history.best().unwrap();
    assert_eq!(epoch, best.epoch);
    assert_eq!(history.epochs.len(), epoch + 3, "stopped too late or too early");
    assert!(history.epochs.len() < 100);
    let noise = NoiseSource::new(config.seed.child("valid noise"));
    let found = evaluate(&model, &Elbo::default(), test, 20, 1, noise).unwrap();
    // The sums have the same terms in a different order.
    assert!((found.nelbo - best.valid_nelbo).abs() < 1e-9 * found.nelbo, "{}", found.nelbo);
}

/// The controller brings the divergence to its target; without it the divergence ends elsewhere.
#[test]
fn the_controller_reaches_its_target() {
    let (train, test) = digits(1000, 100);
    let config = TrainConfig { epochs: 40, batch_size: 50, ..Default::default() };
    let kl = |objective| {
        let run = trainer(config).with_objective(objective);
        run.fit(model(), train.clone(), test.clone())
            .unwrap()
            .history
            .last()
            .unwrap()
            .train_divergence
    };
    let free = kl(Elbo::default());
    for target in [2.0, 8.0] {
        assert!((free - target).abs() > 1.0, "the divergence reaches {free} without a controller");
        let controller = TargetKl { ki: 0.01, ..TargetKl::new(target) };
        let beta = Beta::target_kl(controller).unwrap();
        let found = kl(Elbo::default().with_schedule(beta));
        assert!((found - target).abs() < 0.15 * target, "{found} is not {target}");
    }
}

#[test]
fn clipped_gradients_move_the_weights_less() {
    let (train, test) = digits(50, 10);
    let config = TrainConfig { epochs: 1, batch_size: 50, ..Default::default() };
    let moved = |max_norm: Option<f64>| {
        let mut run = trainer(config).with_optimizer(SgdConfig::new().init());
        if let Some(max_norm) = max_norm {
            run = run.with_gradient_clipping(max_norm).unwrap();
        }
        let before = model();
        let after = run.fit(before.clone(), train.clone(), test.clone()).unwrap().model;
        let norm = |vae: &MlpVae, other: &MlpVae| {
            let mut squares = 0.0;
            let values = |vae: &MlpVae| flat(vae);
            for (a, b) in values(vae).iter().zip(values(other)) {
                squares += f64::from(a - b).powi(2);
            }
            squares.sqrt()
        };
        norm(&after, &before)
    };
    let free = moved(None);
    assert!(free > 0.01, "{free}");
    // A step of plain gradient descent moves the weights by the learning rate times the norm.
    for max_norm in [1.0, 5.0] {
        let found = moved(Some(max_norm));
        assert!((found / (1e-3 * max_norm) - 1.0).abs() < 1e-2, "{found} for {max_norm}");
    }
    close(moved(Some(1e9)), free);
}

fn flat(module: &impl Module) -> Vec<f32> {
    struct Visitor(Vec<f32>);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut visitor = Visitor(Vec::new());
    module.visit(&mut visitor);
    visitor.0
}

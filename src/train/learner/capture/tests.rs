use super::pass::bits;
use super::*;
use burn::grad_clipping::GradientClipping;
use burn::module::{Module, ParamGroup};
use burn::optim::{OptimizerRecord, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::TrainStep;

use crate::backend;
use crate::data::Batch;
use crate::decoder::MlpDecoderConfig;
use crate::encoder::MlpEncoderConfig;
use crate::exec::Threads;
use crate::noise::NoiseSource;
use crate::numbered::Numbered;
use crate::objective::{Beta, Elbo, Inputs, Objective, Terms};
use crate::optim::{Adam, RmsProp};
use crate::posterior::{BernoulliFamily, Temperature};
use crate::prior::BernoulliPriorConfig;
use crate::seed::Seed;
use crate::train::learner::{NoiseAhead, Readings, Setup, Shares, Step};
use crate::{BernoulliNll, MlpVae, MlpVaeConfig, ModuleConfig, VaeConfig};

const BATCH: usize = 6;

fn gpu() -> Device {
    let mut names = backend::names().iter();
    let name = names.find(|name| !matches!(**name, "flex" | "ndarray")).expect("a GPU backend");
    backend::device(name).expect("a GPU, or software that does its work")
}

fn perceptron(device: &Device) -> MlpVae {
    MlpVaeConfig::mlp(12, [9], 3).init(Seed::new(1), device).unwrap().train()
}

fn trainable<M: Model + 'static>(
    module: M,
    objective: impl Objective<M> + 'static,
    device: &Device,
) -> Trainable<M> {
    let setup = Setup {
        objective: Arc::new(objective),
        num_samples: 2,
        max_norm: None,
        skip_above: None,
        train_noise: NoiseSource::new(2),
        valid_noise: NoiseSource::new(3),
        threads: Threads::of(device),
        readings: Readings::new(device, 1_000, true),
        noise: NoiseAhead::default(),
        shares: Shares::new(Vec::new(), 1),
        capture: Capture::default(),
    };
    Step { model: Numbered { module, is_numbered: false }, state: None, setup }
}

/// A batch of examples that differ from step to step.
fn batch(rows: usize, step: u64, device: &Device) -> Batch {
    let values = (0..rows * 12).map(|k| ((k * 7 + step as usize * 5) % 11) as f32 / 10.0).collect();
    let x = Tensor::from_data(TensorData::new::<f32, _>(values, [rows, 12]), device);
    Batch { x: Tensor::from_inner(x), step }
}

fn floats(bits: Vec<Vec<u32>>) -> Vec<Vec<f32>> {
    bits.iter().map(|list| list.iter().map(|x| f32::from_bits(*x)).collect()).collect()
}

fn none(device: &Device) -> Sums {
    Sums { parts: Tensor::zeros([1, 1], device), examples: 1 }
}

/// The gradients of some steps with other weights and other examples each, and whether the last ones
/// were recorded.
fn course<M: Model + 'static>(
    mut step: Trainable<M>,
    first: u64,
    device: &Device,
) -> (Vec<Vec<f32>>, bool) {
    let mut optimizer = Adam::new().init();
    let mut found = Vec::new();
    for i in 0..8 {
        let output = TrainStep::step(&step, batch(BATCH, first + i, device));
        found.extend(floats(bits(&step, none(device), &output.grads).unwrap()));
        step = step.optimize(&mut optimizer, 1e-2.into(), output.grads);
    }
    (found, step.setup.capture.is_recorded())
}

/// Recorded steps have the gradients of the CPU up to rounding, with the batch, the noise and the
/// weights of each step.
#[test]
fn recorded_steps_are_ordinary_ones() {
    let cpu = Device::flex();
    let (expected, is_recorded) =
        course(trainable(perceptron(&cpu), Elbo::default(), &cpu), 0, &cpu);
    assert!(!is_recorded);
    let gpu = gpu();
    let (found, is_recorded) = course(trainable(perceptron(&gpu), Elbo::default(), &gpu), 0, &gpu);
    assert!(is_recorded);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 2e-4 * expected.abs().max(1.0), "{found} {expected}");
    }
}

/// The parameters of the encoder, the first ones.
fn group() -> ParamGroup {
    ParamGroup::from_predicate("encoder")
}

/// The weights and the state of the optimiser after each of some steps, one of them with fewer rows. The
/// rate differs from step to step, and some gradients are clipped.
fn training(
    model: &MlpVae,
    mut optimizer: ModuleOptimizer,
    capture: Capture,
    device: &Device,
) -> (Vec<Vec<u8>>, bool) {
    let untouched = |model: &MlpVae| model.clone().into_record().into_bytes().unwrap().to_vec();
    let before = untouched(model);
    let mut step = trainable(model.clone(), Elbo::default(), device);
    (step.setup.capture, step.setup.max_norm) = (capture, Some(2.0));
    let mut found = Vec::new();
    for i in 0..14 {
        let rows = if i == 9 { BATCH - 2 } else { BATCH };
        let output = TrainStep::step(&step, batch(rows, i, device));
        let rate = 1e-2 / (1.0 + i as f64);
        step = step.optimize(&mut optimizer, rate.into(), output.grads);
        let record = OptimizerRecord::from_bytes(optimizer.into_bytes().unwrap()).unwrap();
        found.push(step.clone().into_record().into_bytes().unwrap().to_vec());
        found.push(record.into_bytes().unwrap().to_vec());
    }
    // The caller's own copy of the model keeps its weights.
    assert_eq!(untouched(model), before);
    (found, step.setup.capture.is_recorded())
}

/// A recorded training has the weights and the averages of an ordinary one to the bit, whatever the rate,
/// with a smaller batch among the others.
#[test]
fn recorded_trainings_are_ordinary_ones() {
    let gpu = gpu();
    let model = perceptron(&gpu);
    let adam = || Adam::new().init();
    let rms_prop = || RmsProp::new().init();
    let both = || RmsProp::new().init().with_group(group(), Adam::new(), None);
    for optimizer in [adam as fn() -> ModuleOptimizer, rms_prop, both] {
        let ordinary = training(&model, optimizer(), Capture::new(State::Impossible), &gpu);
        let recorded = training(&model, optimizer(), Capture::default(), &gpu);
        assert!(!ordinary.1 && recorded.1);
        for (i, (recorded, ordinary)) in recorded.0.iter().zip(&ordinary.0).enumerate() {
            assert!(recorded == ordinary, "step {}", i / 2);
        }
    }
}

/// The steps of other optimisers are not recorded, nor are gradients that an optimiser clips.
#[test]
fn other_optimisers_are_ordinary() {
    let gpu = gpu();
    let model = perceptron(&gpu);
    let sgd = || SgdConfig::new().build().into();
    let clipping = || Adam::new().init().with_grad_clipping(GradientClipping::Norm(0.5));
    let clips_some = || {
        let clipping = Some(GradientClipping::Norm(0.5));
        Adam::new().init().with_group(group(), Adam::new(), clipping)
    };
    // The parameters of this crate's optimiser come last, or have others between them.
    let partly = || Adam::new().init().with_group(group(), SgdConfig::new().build(), None);
    let biases = || {
        let group = ParamGroup::from_predicate("bias");
        Adam::new().init().with_group(group, SgdConfig::new().build(), None)
    };
    let all = [sgd as fn() -> ModuleOptimizer, clipping, clips_some, partly, biases];
    for optimizer in all {
        let ordinary = training(&model, optimizer(), Capture::new(State::Impossible), &gpu);
        let other = training(&model, optimizer(), Capture::default(), &gpu);
        assert_eq!(ordinary, other);
        assert!(!other.1);
    }
}

/// As the bound, but reads its value in each step.
#[derive(Clone, Debug)]
struct Reading;

impl Objective<MlpVae> for Reading {
    fn terms(&self, model: &MlpVae, inputs: Inputs) -> Terms {
        let terms = Elbo::default().terms(model, inputs);
        assert!(terms.nelbo.clone().into_data().iter::<f32>().all(f32::is_finite));
        terms
    }
}

/// What reads from the device cannot be recorded, and goes on unrecorded.
#[test]
fn objectives_that_read_are_not_recorded() {
    let gpu = gpu();
    let model = perceptron(&gpu);
    let (found, is_recorded) = course(trainable(model.clone(), Reading, &gpu), 0, &gpu);
    assert!(!is_recorded);
    let (expected, _) = course(trainable(model, Elbo::default(), &gpu), 0, &gpu);
    assert_eq!(found, expected);
}

/// An objective whose weights change with the step is not recorded, however slowly they change, nor
/// on a plateau from which they return.
#[test]
fn annealed_objectives_are_not_recorded() {
    let gpu = gpu();
    let slow = Beta::linear(100_000_000).unwrap();
    let cyclical = Beta::cyclical(2_000, 0.5).unwrap();
    for (beta, first) in [(slow, 0), (cyclical, 1_200)] {
        let elbo = Elbo::default().with_schedule(beta);
        assert!(!course(trainable(perceptron(&gpu), elbo, &gpu), first, &gpu).1, "{beta:?}");
    }
}

/// The temperature of a straight-through sample shows in its gradient alone.
#[test]
fn annealed_temperatures_are_not_recorded() {
    let gpu = gpu();
    let temperature = Temperature::exponential(1.0, 3e-5, 0.5).unwrap();
    let is_recorded = |temperature| {
        let config = VaeConfig {
            encoder: MlpEncoderConfig::new(12, [9], 3)
                .with_posterior(BernoulliFamily::new(temperature).straight_through()),
            decoder: MlpDecoderConfig::new(3, [9], 12),
            likelihood: BernoulliNll,
            prior: BernoulliPriorConfig::new(),
        };
        let module = config.init(Seed::new(1), &gpu).unwrap().train();
        course(trainable(module, Elbo::default(), &gpu), 0, &gpu).1
    };
    assert!(!is_recorded(temperature));
    assert!(is_recorded(Temperature::constant(0.6).unwrap()));
}

//! Training steps on a GPU whose kernels are recorded once and run again.
//!
//! A step can be recorded if its terms are a function of the batch, the noise and the weights. Whether
//! they are is not declared but tested: terms and gradients must be the same at steps far apart and with
//! another seed, and a recorded step must return those of an ordinary one, bit for bit. Otherwise, and
//! for a smaller last batch, steps run as they do elsewhere.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::skip::Buffers;
use super::step::{Trainable, stacked};
use super::trial::Trial;
use crate::model::Model;
use crate::objective::Inputs;
use crate::ops::gpu::{self, Recording, copy, refresh};
use crate::phase::Phase;
use crate::seed::Seed;

/// Ordinary steps before a recording: the first ones compile kernels.
const BEFORE: usize = 3;

/// The recorded step of a run; clones share it.
#[derive(Clone)]
pub(in crate::train) struct Capture(Arc<Mutex<State>>);

enum State {
    /// Counts the steps with batches of one shape.
    Waiting {
        shape: [usize; 2],
        steps: usize,
    },
    Recorded(Box<Recorded>),
    /// Ordinary steps only.
    Impossible,
}

struct Recorded {
    /// Terms `[3, batch]` and gradients.
    recording: Recording<(Tensor<2>, GradientsParams)>,
    x: Tensor<2>,
    noise: Tensor<3>,
    weights: Weights,
    trial: Trial,
}

impl Default for Capture {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State::Waiting { shape: [0; 2], steps: 0 })))
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capture")
    }
}

impl Capture {
    /// Runs a step by its recorded kernels and returns its terms, `[3, batch]`, and its gradients.
    /// `None` if it must be run in the ordinary way.
    pub(super) fn run<M: Model + 'static>(
        &self,
        step: &Trainable<M>,
        inputs: &Inputs,
    ) -> Option<(Tensor<2>, GradientsParams)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting { shape, steps } = &mut *state {
            let now = inputs.x.dims();
            *steps = if *shape == now { *steps + 1 } else { 0 };
            *shape = now;
            if *steps < BEFORE {
                return None;
            }
            *state = record(step, inputs)
                .map_or(State::Impossible, |recorded| State::Recorded(Box::new(recorded)));
        }
        if let State::Recorded(recorded) = &*state
            && recorded.trial.is_lost()
        {
            // Gives its memory back.
            *state = State::Impossible;
        }
        match &mut *state {
            State::Recorded(recorded) if recorded.x.dims() == inputs.x.dims() => {
                recorded.trial.is_recorded(&recorded.x.device()).then_some(())?;
                recorded.run(step, inputs)
            }
            _ => None,
        }
    }

    #[cfg(test)]
    fn is_recorded(&self) -> bool {
        matches!(&*self.0.lock().unwrap(), State::Recorded(_))
    }
}

impl Recorded {
    /// Returns the terms, `[3, batch]`, and the gradients.
    fn run<M: Model + 'static>(
        &mut self,
        step: &Trainable<M>,
        inputs: &Inputs,
    ) -> Option<(Tensor<2>, GradientsParams)> {
        let plain = (inputs.x.clone().without_autodiff(), inputs.noise.clone().without_autodiff());
        let kept = (refresh(&self.x, plain.0), refresh(&self.noise, plain.1));
        let mut refreshed = Refresh { weights: &self.weights, kept: Vec::new() };
        step.visit(&mut refreshed);
        let (terms, gradients) = self.recording.run()?;
        drop((kept, refreshed.kept));
        let mut copies = Copies { of: gradients, gradients: GradientsParams::new() };
        step.visit(&mut copies);
        Some((copy(terms.clone()), copies.gradients))
    }
}

/// Records a step. `None` if it cannot be recorded.
fn record<M: Model + 'static>(step: &Trainable<M>, inputs: &Inputs) -> Option<Recorded> {
    let is_plain = step.state.is_none() && step.setup.skip_above.is_none();
    if !gpu::runs_on(&inputs.x) || !is_plain || !Buffers::of(step).is_empty() {
        return None;
    }
    is_stationary(step, inputs).then_some(())?;
    let (x, noise) = (inputs.x.clone().without_autodiff(), inputs.noise.clone().without_autodiff());
    let (x, noise) = (copy(x), copy(noise));
    let mut weights = Weights(HashMap::new());
    let mut own = step.clone().map(&mut weights);
    // Otherwise the recording would own itself.
    own.setup.capture = Capture::default();
    let device = x.device();
    let recording = {
        let (x, noise) = (x.clone(), noise.clone());
        let inputs = inputs.clone();
        let work = move || {
            let (x, noise) = (Tensor::from_inner(x.clone()), Tensor::from_inner(noise.clone()));
            let terms =
                own.setup.objective.terms(&own.model.module, Inputs { x, noise, ..inputs.clone() });
            let gradients = GradientsParams::from_grads(terms.mean().backward(), &own);
            (stacked(terms), gradients)
        };
        Recording::of(&device, work)?
    };
    let trial = Trial::default();
    let mut recorded = Recorded { recording, x, noise, weights, trial };
    let (terms, gradients) = recorded.run(step, inputs)?;
    let found = bits(step, terms, &gradients)?;
    let expected = ordinary(step, inputs.clone())?;
    (found == expected).then_some(recorded)
}

/// Whether terms and gradients depend on the batch, the noise and the weights alone.
///
/// Values would not do: a straight-through sample does not show its temperature in them. Nor would a few
/// steps for a weight that returns, as on the plateaus of a cyclical schedule.
fn is_stationary<M: Model + 'static>(step: &Trainable<M>, inputs: &Inputs) -> bool {
    let Phase::Train { step: now } = inputs.phase else { return false };
    let objective = &step.setup.objective;
    if !(0..1 << 17).all(|later| objective.at_full_weight(now + later)) {
        return false;
    }
    let probe = |at: u64, seed: Seed| {
        let phase = Phase::Train { step: at };
        ordinary(step, Inputs { phase, seed, ..inputs.clone() })
    };
    let Some(first) = probe(now, inputs.seed) else { return false };
    let others = [1, 9_973, 1_000_003, 10_000_000_019].map(|later| (now + later, inputs.seed));
    let others = others.into_iter().chain([(now, inputs.seed.child("another"))]);
    others.into_iter().all(|(at, seed)| probe(at, seed).as_ref() == Some(&first))
}

/// The bits of terms and gradients of an ordinary step.
fn ordinary<M: Model + 'static>(step: &Trainable<M>, inputs: Inputs) -> Option<Vec<Vec<u32>>> {
    let terms = step.setup.objective.terms(&step.model.module, inputs);
    let gradients = GradientsParams::from_grads(terms.mean().backward(), step);
    bits(step, stacked(terms), &gradients)
}

/// The bits of terms and gradients. `None` if the device fails.
fn bits<M: Model + 'static>(
    step: &Trainable<M>,
    terms: Tensor<2>,
    gradients: &GradientsParams,
) -> Option<Vec<Vec<u32>>> {
    let mut all = Bits { gradients, bits: vec![bits_of(terms)] };
    step.visit(&mut all);
    all.bits.into_iter().collect()
}

fn bits_of<const D: usize>(x: Tensor<D>) -> Option<Vec<u32>> {
    let data = x.without_autodiff().try_into_data().ok()?;
    Some(data.iter::<f32>().map(f32::to_bits).collect())
}

struct Bits<'a> {
    gradients: &'a GradientsParams,
    bits: Vec<Option<Vec<u32>>>,
}

impl ModuleVisitor for Bits<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.bits.push(bits_of(gradient));
        }
    }
}

/// The weights that the recorded kernels read, by parameter.
struct Weights(HashMap<ParamId, Box<dyn Any + Send>>);

impl ModuleMapper for Weights {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let own = copy(tensor.inner());
        self.0.insert(id, Box::new(own.clone()));
        Param::from_mapped_value(id, Tensor::from_inner(own).require_grad(), mapper)
    }
}

/// Copies a module's weights to the memory that the recorded kernels read.
struct Refresh<'a> {
    weights: &'a Weights,
    kept: Vec<Box<dyn Any>>,
}

impl ModuleVisitor for Refresh<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let input = self.weights.0.get(&param.id).and_then(|input| input.downcast_ref());
        if let Some(input) = input {
            self.kept.push(Box::new(refresh::<D>(input, param.val().inner())));
        }
    }
}

/// Copies the gradients of a module, as the next run overwrites them.
struct Copies<'a> {
    of: &'a GradientsParams,
    gradients: GradientsParams,
}

impl ModuleVisitor for Copies<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.of.get::<D>(param.id) {
            self.gradients.register(param.id, copy(gradient));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use burn::train::TrainStep;

    use crate::backend;
    use crate::data::Batch;
    use crate::decoder::MlpDecoderConfig;
    use crate::encoder::MlpEncoderConfig;
    use crate::exec::Threads;
    use crate::noise::NoiseSource;
    use crate::numbered::Numbered;
    use crate::objective::{Beta, Elbo, Objective};
    use crate::posterior::{BernoulliFamily, Temperature};
    use crate::prior::BernoulliPriorConfig;
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

    /// The gradients of some steps with other weights and other examples each, and whether the last ones
    /// were recorded.
    fn course<M: Model + 'static>(
        mut step: Trainable<M>,
        first: u64,
        device: &Device,
    ) -> (Vec<Vec<f32>>, bool) {
        let mut optimizer = crate::optim::Adam::new().init();
        let mut found = Vec::new();
        for i in 0..8 {
            let values = (0..BATCH * 12).map(|k| ((k * 7 + i * 5) % 11) as f32 / 10.0).collect();
            let x = Tensor::from_data(TensorData::new::<f32, _>(values, [BATCH, 12]), device);
            let batch = Batch { x: Tensor::from_inner(x), step: first + i as u64 };
            let output = TrainStep::step(&step, batch);
            let all = bits(&step, Tensor::zeros([1, 1], device), &output.grads).unwrap();
            found.extend(all.iter().map(|list| list.iter().map(|x| f32::from_bits(*x)).collect()));
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
        let (found, is_recorded) =
            course(trainable(perceptron(&gpu), Elbo::default(), &gpu), 0, &gpu);
        assert!(is_recorded);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!(
                (found - expected).abs() < 2e-4 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
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
}

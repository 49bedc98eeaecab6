//! The recorded forward and backward pass.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::Capture;
use crate::data::Batch;
use crate::model::Model;
use crate::objective::Inputs;
use crate::ops::gpu::{self, Floats, Recording, copy, refresh, refresh_by_row};
use crate::phase::Phase;
use crate::seed::Seed;
use crate::train::learner::clip::clip;
use crate::train::learner::noise::Drawn;
use crate::train::learner::skip::Buffers;
use crate::train::learner::step::{Setup, Sums, Trainable};

pub(super) struct Pass {
    recording: Recording<(Sums, GradientsParams)>,
    x: Tensor<2>,
    noise: Tensor<3>,
    /// The parameters that have a gradient.
    pub(super) parameters: Vec<Parameter>,
}

pub(super) struct Parameter {
    id: ParamId,
    /// The weights that the kernels read.
    pub(super) weights: Floats,
    /// The gradient that they write.
    pub(super) gradient: Floats,
}

impl Pass {
    /// Records the pass of a step. `None` if it cannot be recorded.
    pub(super) fn record<M: Model + 'static>(step: &Trainable<M>, inputs: &Inputs) -> Option<Self> {
        let is_plain = step.state.is_none() && step.setup.skip_above.is_none();
        if !gpu::runs_on(&inputs.x) || !is_plain || !Buffers::of(step).is_empty() {
            return None;
        }
        is_stationary(step, inputs).then_some(())?;
        let x = copy(inputs.x.clone().without_autodiff());
        let noise = copy(inputs.noise.clone().without_autodiff());
        let mut weights = Weights(HashMap::new());
        let mut own = step.clone().map(&mut weights);
        // Otherwise the recording would own itself.
        own.setup.capture = Capture::default();
        let device = x.device();
        let mut recording = {
            let (x, noise, inputs) = (x.clone(), noise.clone(), inputs.clone());
            let work = move || {
                let (x, noise) = (Tensor::from_inner(x.clone()), Tensor::from_inner(noise.clone()));
                compute(&own, Inputs { x, noise, ..inputs.clone() })
            };
            Recording::of(&device, work)?
        };
        let (terms, gradients) = recording.run()?;
        let found = bits(step, terms.clone(), gradients)?;
        let mut parameters = Parameters { weights: weights.0, gradients, found: Vec::new() };
        step.visit(&mut parameters);
        let parameters = parameters.found;
        let (terms, gradients) = compute(step, inputs.clone());
        let is_same = found == bits(step, terms, &gradients)?;
        is_same.then_some(Self { recording, x, noise, parameters })
    }

    /// Whether the gradients of a step are those of the recorded parameters.
    pub(super) fn has_gradients_of<M: Model + 'static>(
        &self,
        step: &Trainable<M>,
        gradients: &GradientsParams,
    ) -> bool {
        let mut ids = Ids { gradients, found: Vec::new() };
        step.visit(&mut ids);
        ids.found.iter().eq(self.parameters.iter().map(|parameter| &parameter.id))
    }

    pub(super) fn device(&self) -> Device {
        self.x.device()
    }

    /// Runs the pass again. Returns the terms and the gradients, which the next run overwrites.
    pub(super) fn run<M: Model + 'static>(
        &mut self,
        step: &Trainable<M>,
        batch: &Batch,
    ) -> Option<(Sums, GradientsParams)> {
        if self.x.dims() != batch.x.dims() || !self.recording.is_here() {
            return None;
        }
        let Setup { noise, train_noise, num_samples, .. } = &step.setup;
        let (counts, shape) = ([*num_samples, batch.x.dims()[0]], step.model.module.noise());
        let Drawn { rows, row } =
            noise.send(train_noise, batch.step, counts, &shape, &batch.x.device());
        let x = refresh(&self.x, batch.x.clone().without_autodiff());
        let kept = (x, refresh_by_row(&self.noise, rows, row));
        let (terms, gradients) = self.recording.run()?;
        drop(kept);
        let mut same = Same { of: gradients, gradients: GradientsParams::new() };
        step.visit(&mut same);
        Some((terms.clone(), same.gradients))
    }
}

/// Computes terms and clipped gradients.
fn compute<M: Model + 'static>(step: &Trainable<M>, inputs: Inputs) -> (Sums, GradientsParams) {
    let terms = step.setup.objective.terms(&step.model.module, inputs);
    let mut gradients = GradientsParams::from_grads(terms.mean().backward(), step);
    if let Some(max_norm) = step.setup.max_norm {
        clip(step, &mut gradients, max_norm);
    }
    (Sums::of(terms), gradients)
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
        let (terms, gradients) = compute(step, Inputs { phase, seed, ..inputs.clone() });
        bits(step, terms, &gradients)
    };
    let Some(first) = probe(now, inputs.seed) else { return false };
    let others = [1, 9_973, 1_000_003, 10_000_000_019].map(|later| (now + later, inputs.seed));
    let others = others.into_iter().chain([(now, inputs.seed.child("another"))]);
    others.into_iter().all(|(at, seed)| probe(at, seed).as_ref() == Some(&first))
}

/// The bits of terms and gradients. `None` if the device fails.
pub(super) fn bits<M: Model + 'static>(
    step: &Trainable<M>,
    terms: Sums,
    gradients: &GradientsParams,
) -> Option<Vec<Vec<u32>>> {
    let mut all = Bits { gradients, bits: vec![gpu::bits(terms.parts.into_dispatch())] };
    step.visit(&mut all);
    all.bits.into_iter().collect()
}

struct Bits<'a> {
    gradients: &'a GradientsParams,
    bits: Vec<Option<Vec<u32>>>,
}

impl ModuleVisitor for Bits<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.bits.push(gpu::bits(gradient.into_dispatch()));
        }
    }
}

/// The weights that the recorded kernels read, by parameter.
struct Weights(HashMap<ParamId, Floats>);

impl ModuleMapper for Weights {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let own = copy(tensor.inner());
        self.0.insert(id, own.clone().into_dispatch());
        Param::from_mapped_value(id, Tensor::from_inner(own).require_grad(), mapper)
    }
}

/// Finds the parameters that have gradients, in the order in which an optimiser takes them.
struct Parameters<'a> {
    weights: HashMap<ParamId, Floats>,
    gradients: &'a GradientsParams,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Parameters<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weights = self.weights.get(&param.id).cloned();
        if let (Some(weights), Some(gradient)) = (weights, self.gradients.get::<D>(param.id)) {
            let gradient = gradient.into_dispatch();
            self.found.push(Parameter { id: param.id, weights, gradient });
        }
    }
}

struct Ids<'a> {
    gradients: &'a GradientsParams,
    found: Vec<ParamId>,
}

impl ModuleVisitor for Ids<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.gradients.get::<D>(param.id).is_some() {
            self.found.push(param.id);
        }
    }
}

/// The same gradients in another container.
struct Same<'a> {
    of: &'a GradientsParams,
    gradients: GradientsParams,
}

impl ModuleVisitor for Same<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.of.get::<D>(param.id) {
            self.gradients.register(param.id, gradient);
        }
    }
}

use std::fmt::Debug;
use std::sync::Arc;

use burn::module::{Module, RunningState};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::Adaptor;
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use super::capture::Capture;
use super::clip::clip;
use super::noise::NoiseAhead;
use super::readings::Readings;
use super::shares::{Computed, Shares};
use super::skip::{Buffers, is_to_be_skipped};
use crate::backend::is_cpu;
use crate::data::Batch;
use crate::eval::{LatentSums, ReadSums};
use crate::exec::Threads;
use crate::model::Model;
use crate::noise::NoiseSource;
use crate::numbered::Numbered;
use crate::objective::{Inputs, Objective, Terms};
use crate::ops;
use crate::phase::Phase;

/// A model and its training setup, in the form that Burn's Learner takes.
#[derive(Module, Debug)]
pub(in crate::train) struct Step<M, S: Clone + Debug + Send> {
    pub(in crate::train) model: Numbered<M>,
    /// The objective's state, passed from step to step.
    pub(in crate::train) state: Option<RunningState<Tensor<1>>>,
    #[module(skip)]
    pub(in crate::train) setup: S,
}

/// The module that is trained. Burn cannot skip a field whose type names the model, so the type of
/// the setup is a separate parameter.
pub(in crate::train) type Trainable<M> = Step<M, Setup<M>>;

/// The settings that are the same in every step.
#[derive(Clone, Debug)]
pub(in crate::train) struct Setup<M> {
    pub(in crate::train) objective: Arc<dyn Objective<M>>,
    pub(in crate::train) num_samples: usize,
    pub(in crate::train) max_norm: Option<f64>,
    /// The norm of the gradients above which a step is skipped.
    pub(in crate::train) skip_above: Option<f64>,
    pub(in crate::train) train_noise: NoiseSource,
    pub(in crate::train) valid_noise: NoiseSource,
    pub(in crate::train) threads: Threads,
    /// When the terms of steps are read.
    pub(in crate::train) readings: Readings,
    pub(in crate::train) noise: NoiseAhead,
    /// How the batch of a step is shared out.
    pub(in crate::train) shares: Shares,
    /// The kernels of a step, if they are recorded.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    pub(in crate::train) capture: Capture,
}

impl<M: Model + 'static> Trainable<M> {
    /// Builds the objective's inputs.
    fn inputs(&self, batch: Batch, noise: &NoiseSource) -> Inputs {
        let counts = [self.setup.num_samples, batch.x.dims()[0]];
        let (shape, device) = (self.model.module.noise(), batch.x.device());
        let eps = self.setup.noise.draw(noise, batch.step, counts, &shape, &device);
        Inputs::new(batch.x, eps).with_seed(noise.seed_at(batch.step))
    }

    /// Builds the objective's inputs of a training step.
    pub(super) fn training_inputs(&self, batch: Batch) -> Inputs {
        let phase = Phase::Train { step: batch.step };
        let state = self.state.as_ref().map(|state| Tensor::from_inner(state.value_sync().inner()));
        Inputs { phase, state, ..self.inputs(batch, &self.setup.train_noise) }
    }
}

impl<M: Model + 'static> TrainStep for Trainable<M> {
    type Input = Batch;
    type Output = BatchMeans;

    fn step(&self, batch: Batch) -> TrainOutput<BatchMeans> {
        let model = self.clone();
        self.setup.threads.begin(move || model.train_on(batch))
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let threads = self.setup.threads.clone();
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        return threads.go_on(move || Capture::optimize(self, optimizer, lr, gradients));
        #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
        threads.go_on(move || optimizer.step(lr, self, gradients))
    }
}

impl<M: Model + 'static> Trainable<M> {
    fn train_on(&self, batch: Batch) -> TrainOutput<BatchMeans> {
        let step = batch.step;
        let before = self.setup.skip_above.map(|threshold| (threshold, Buffers::of(self)));
        let is_whole = self.setup.shares.is_whole();
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if is_whole && let Some((terms, grads)) = self.setup.capture.run(self, &batch) {
            let item = BatchMeans::of(self.setup.readings.add(terms, step));
            return TrainOutput { grads, item };
        }
        let inputs = self.training_inputs(batch);
        let Computed { terms, gradients, loss } = match is_whole {
            true => self.compute(inputs),
            false => self.setup.shares.compute(self, &inputs),
        };
        sync_running_state(self);
        let item = BatchMeans::of(self.setup.readings.add(terms, step));
        let mut output = TrainOutput { grads: gradients, item };
        if let Some((threshold, before)) = before
            && is_to_be_skipped(self, &output.grads, loss, threshold)
        {
            before.restore(self);
            output.grads = GradientsParams::new();
            output.item = BatchMeans { outcome: Outcome::Skipped, ..BatchMeans::of(None) };
        }
        self.clipped(output)
    }

    /// Computes a step of the whole batch at once.
    fn compute(&self, inputs: Inputs) -> Computed {
        let terms = self.setup.objective.terms(&self.model.module, inputs);
        if let (Some(state), Some(next)) = (&self.state, &terms.state) {
            state.update(next.clone().detach());
        }
        let loss = terms.mean();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        Computed { terms: Sums::of(terms), gradients, loss }
    }

    fn clipped(&self, mut output: TrainOutput<BatchMeans>) -> TrainOutput<BatchMeans> {
        if let Some(max_norm) = self.setup.max_norm {
            clip(self, &mut output.grads, max_norm);
        }
        output
    }
}

impl<M: Model + 'static> InferenceStep for Trainable<M> {
    type Input = Batch;
    type Output = BatchMeans;

    fn step(&self, batch: Batch) -> BatchMeans {
        let model = self.clone();
        self.setup.threads.run_apart(move || {
            let inputs = model.inputs(batch, &model.setup.valid_noise).with_latents();
            BatchMeans::new(model.setup.objective.terms(&model.model.module, inputs))
        })
    }
}

/// Publishes the running statistics and the objective's state that this thread has updated, because
/// another thread may run the next step. Burn does this when it clones a module for validation.
fn sync_running_state<M: Module>(module: &M) {
    let _published = module.valid();
}

/// The names of the terms, in the order of [`BatchMeans`].
pub(in crate::train) const TERMS: [&str; 3] = ["nelbo", "distortion", "divergence"];

/// What the metrics learn from a step.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// The step is skipped.
    Skipped,
    /// A later step brings the terms of this one.
    Later,
    /// The means of the terms, and the number of examples.
    Means([f64; 3], usize),
}

/// The terms of one batch or several and, once they are read, their means.
///
/// The training step only sets up the computation. `sync` reads all values from the device at once;
/// the Learner calls it on another thread before any metric.
pub(in crate::train) struct BatchMeans {
    /// `None` if a later step brings them.
    terms: Option<Sums>,
    outcome: Outcome,
    latents: Option<LatentSums>,
    read_latents: Option<ReadSums>,
}

impl BatchMeans {
    fn new(terms: Terms) -> Self {
        let latents = terms.latents.as_ref().map(LatentSums::of);
        Self { latents, ..Self::of(Some(Sums::of(terms))) }
    }

    fn of(terms: Option<Sums>) -> Self {
        Self { terms, outcome: Outcome::Later, latents: None, read_latents: None }
    }
}

/// The reported terms of some examples, added up in parts.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// `[3, parts]`
    pub(super) parts: Tensor<2>,
    pub(super) examples: usize,
}

impl Sums {
    /// On the CPU each example is a part. A GPU adds them up, since reading many values takes long.
    pub(super) fn of(terms: Terms) -> Self {
        let terms = [terms.nelbo, terms.distortion, terms.divergence].map(Tensor::without_autodiff);
        let terms: Tensor<2> = Tensor::stack(terms.into(), 0);
        let examples = terms.dims()[1];
        let parts = if is_cpu(&terms.device()) { terms } else { ops::row_sums(terms) };
        Self { parts, examples }
    }

    /// The parts of all.
    pub(super) fn cat(all: Vec<Self>) -> Self {
        let examples = all.iter().map(|sums| sums.examples).sum();
        Self { parts: Tensor::cat(all.into_iter().map(|sums| sums.parts).collect(), 1), examples }
    }
}

impl ItemLazy for BatchMeans {
    fn sync(self) -> Result<Self, ExecutionError> {
        let read_latents = self.latents.clone().map(LatentSums::read).transpose()?;
        let Some(terms) = &self.terms else { return Ok(self) };
        let values = terms.parts.clone().try_to_data()?.iter::<f64>().collect::<Vec<_>>();
        let (parts, examples) = (values.len() / 3, terms.examples);
        let sum = |term: usize| values[term * parts..][..parts].iter().sum::<f64>();
        let outcome = Outcome::Means([0, 1, 2].map(|term| sum(term) / examples as f64), examples);
        Ok(Self { outcome, read_latents, ..self })
    }
}

impl Adaptor<Option<ReadSums>> for BatchMeans {
    fn adapt(&self) -> Option<ReadSums> {
        self.read_latents.clone()
    }
}

impl Adaptor<Outcome> for BatchMeans {
    fn adapt(&self) -> Outcome {
        self.outcome
    }
}

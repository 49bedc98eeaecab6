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
use super::skip::{Buffers, is_to_be_skipped};
use crate::data::Batch;
use crate::eval::{LatentSums, ReadSums};
use crate::exec::Threads;
use crate::model::Model;
use crate::noise::NoiseSource;
use crate::numbered::Numbered;
use crate::objective::{Inputs, Objective, Terms};
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
    /// The kernels of a step, if they are recorded.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    pub(in crate::train) capture: Capture,
}

impl<M: Model + 'static> Trainable<M> {
    /// Builds the objective's inputs.
    fn inputs(&self, batch: Batch, noise: &NoiseSource) -> Inputs {
        let (samples, examples) = (self.setup.num_samples, batch.x.dims()[0]);
        let (shape, device) = (self.model.module.noise(), batch.x.device());
        let eps = noise.draw_for(batch.step, samples, examples, &shape, &device);
        Inputs::new(batch.x, eps).with_seed(noise.seed_at(batch.step))
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
        threads.go_on(move || optimizer.step(lr, self, gradients))
    }
}

impl<M: Model + 'static> Trainable<M> {
    fn train_on(&self, batch: Batch) -> TrainOutput<BatchMeans> {
        let step = batch.step;
        let before = self.setup.skip_above.map(|threshold| (threshold, Buffers::of(self)));
        let state = self.state.as_ref().map(|state| Tensor::from_inner(state.value_sync().inner()));
        let inputs = self.inputs(batch, &self.setup.train_noise);
        let inputs = Inputs { phase: Phase::Train { step }, state, ..inputs };
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if let Some((item, grads)) = self.setup.capture.run(self, &inputs) {
            return self.clipped(TrainOutput { grads, item });
        }
        let terms = self.setup.objective.terms(&self.model.module, inputs);
        if let (Some(state), Some(next)) = (&self.state, &terms.state) {
            state.update(next.clone().detach());
        }
        sync_running_state(self);
        let loss = terms.mean();
        let gradients = loss.backward();
        let mut output = TrainOutput::new(self, gradients, BatchMeans::new(terms));
        if let Some((threshold, before)) = before
            && is_to_be_skipped(self, &output.grads, loss, threshold)
        {
            before.restore(self);
            output.grads = GradientsParams::new();
            output.item.skipped = true;
        }
        self.clipped(output)
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

/// The terms of a batch and, once they are read, their means.
///
/// The training step only sets up the computation. `sync` reads all values from the device at once;
/// the Learner calls it on another thread before any metric.
pub(in crate::train) struct BatchMeans {
    /// `[3, batch]`
    terms: Tensor<2>,
    means: [f64; 3],
    latents: Option<LatentSums>,
    read_latents: Option<ReadSums>,
    /// Whether the step is skipped.
    skipped: bool,
}

impl BatchMeans {
    pub(super) fn new(terms: Terms) -> Self {
        let latents = terms.latents.as_ref().map(LatentSums::of);
        let terms = [terms.nelbo, terms.distortion, terms.divergence].map(Tensor::without_autodiff);
        Self { latents, ..Self::of(Tensor::stack(terms.into(), 0)) }
    }

    /// Means of `[3, batch]`.
    pub(super) fn of(terms: Tensor<2>) -> Self {
        Self { terms, means: [f64::NAN; 3], latents: None, read_latents: None, skipped: false }
    }

    /// `[3, batch]`
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    pub(super) fn terms(self) -> Tensor<2> {
        self.terms
    }
}

impl ItemLazy for BatchMeans {
    fn sync(self) -> Result<Self, ExecutionError> {
        let values = self.terms.try_to_data()?.iter::<f64>().collect::<Vec<_>>();
        let count = values.len() / 3;
        let mean = |term: usize| values[term * count..][..count].iter().sum::<f64>() / count as f64;
        let read_latents = self.latents.clone().map(LatentSums::read).transpose()?;
        Ok(Self { means: [0, 1, 2].map(mean), read_latents, ..self })
    }
}

impl Adaptor<Option<ReadSums>> for BatchMeans {
    fn adapt(&self) -> Option<ReadSums> {
        self.read_latents.clone()
    }
}

/// The means of a batch and its number of examples; `None` if its step is skipped.
impl Adaptor<Option<([f64; 3], usize)>> for BatchMeans {
    fn adapt(&self) -> Option<([f64; 3], usize)> {
        (!self.skipped).then(|| (self.means, self.terms.dims()[1]))
    }
}

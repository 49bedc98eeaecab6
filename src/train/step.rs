use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::Adaptor;
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

use crate::data::Batch;
use crate::{LatentVariableModel, NoiseSource, Objective, Terms};

/// A model together with what trains it, in the form that Burn's Learner takes.
#[derive(Module, Debug)]
pub(super) struct Trainable<M, O: Clone + Debug + Send> {
    pub(super) model: M,
    #[module(skip)]
    pub(super) setup: Setup<O>,
}

/// What is the same in every step.
#[derive(Clone, Debug)]
pub(super) struct Setup<O> {
    pub(super) objective: O,
    pub(super) num_samples: usize,
    pub(super) train_noise: NoiseSource,
    pub(super) valid_noise: NoiseSource,
}

impl<M: LatentVariableModel, O: Objective<M>> Trainable<M, O> {
    fn terms(&self, batch: Batch, noise: &NoiseSource) -> Terms {
        let shape = [self.setup.num_samples, batch.x.dims()[0], self.model.noise_dim()];
        let noise = noise.draw(batch.step, shape, &batch.x.device());
        self.setup.objective.terms(&self.model, batch.x, noise)
    }
}

impl<M: LatentVariableModel, O: Objective<M>> TrainStep for Trainable<M, O> {
    type Input = Batch;
    type Output = BatchMeans;

    fn step(&self, batch: Batch) -> TrainOutput<BatchMeans> {
        let terms = self.terms(batch, &self.setup.train_noise);
        let gradients = terms.mean().backward();
        TrainOutput::new(self, gradients, BatchMeans::new(terms))
    }
}

impl<M: LatentVariableModel, O: Objective<M>> InferenceStep for Trainable<M, O> {
    type Input = Batch;
    type Output = BatchMeans;

    fn step(&self, batch: Batch) -> BatchMeans {
        BatchMeans::new(self.terms(batch, &self.setup.valid_noise))
    }
}

/// The names of the terms, in the order of [`BatchMeans`].
pub(super) const TERMS: [&str; 3] = ["nelbo", "nll", "kl"];

/// The means of the terms over a batch, with the number of examples they are means of.
///
/// The training step only sets up the computation. The values are read from the device once, all
/// together, by `sync`, which the Learner calls on another thread.
pub(super) enum BatchMeans {
    Device { terms: Tensor<2>, count: usize },
    Host { means: [f64; 3], count: usize },
}

impl BatchMeans {
    fn new(terms: Terms) -> Self {
        let count = terms.nelbo.dims()[0];
        let terms = [terms.nelbo, terms.nll, terms.divergence].map(Tensor::without_autodiff);
        Self::Device { terms: Tensor::stack(terms.into(), 0), count }
    }
}

impl ItemLazy for BatchMeans {
    fn sync(self) -> Result<Self, ExecutionError> {
        let Self::Device { terms, count } = self else { return Ok(self) };
        let values = terms.try_into_data()?.iter::<f64>().collect::<Vec<_>>();
        let mut means = [0.0; 3];
        for (mean, values) in means.iter_mut().zip(values.chunks_exact(count)) {
            *mean = values.iter().sum::<f64>() / count as f64;
        }
        Ok(Self::Host { means, count })
    }
}

/// The means of a batch once they are on the host.
impl Adaptor<([f64; 3], usize)> for BatchMeans {
    fn adapt(&self) -> ([f64; 3], usize) {
        match self {
            Self::Host { means, count } => (*means, *count),
            Self::Device { .. } => unreachable!("the Learner syncs an item before its metrics"),
        }
    }
}

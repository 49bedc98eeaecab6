//! Training objectives.

mod adversarial;
mod beta;
mod elbo;
mod iwae;
mod miwae;
mod renyi;
mod weights;

pub use adversarial::AdversarialElbo;
pub use beta::{Beta, TargetKl};
pub use elbo::Elbo;
pub use iwae::{Gradient, Iwae};
pub use miwae::{Ciwae, Miwae, Piwae};
pub use renyi::{Cubo, RenyiBound};
pub(crate) use weights::Weights;

use burn::tensor::Tensor;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Result;
use crate::phase::Phase;
use crate::posterior::{CodeIndices, Posterior};
use crate::seed::Seed;

/// A batch and its sampling noise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inputs {
    /// The examples, `[batch, data_dim]`.
    pub x: Tensor<2>,
    /// Noise for the posterior's samples, `[num_samples, batch, noise().dim()]`.
    pub noise: Tensor<3>,
    /// Training step or evaluation.
    pub phase: Phase,
    /// Seed for all other randomness.
    pub seed: Seed,
    /// The previous step's [`Terms::state`]; `None` outside training and for objectives without
    /// state.
    pub state: Option<Tensor<1>>,
    /// Whether to compute [`Terms::latents`].
    pub wants_latents: bool,
}

impl Inputs {
    /// Inputs for evaluation.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - `noise`: `[num_samples, batch, noise().dim()]`
    pub fn new(x: Tensor<2>, noise: Tensor<3>) -> Self {
        Self {
            x,
            noise,
            phase: Phase::Eval,
            seed: Seed::default(),
            state: None,
            wants_latents: false,
        }
    }

    /// Sets the training step and its seed.
    pub fn at(self, step: u64, seed: Seed) -> Self {
        Self { phase: Phase::Train { step }, seed, ..self }
    }

    /// Sets the seed.
    pub fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// Sets the objective's state.
    pub fn with_state(self, state: Option<Tensor<1>>) -> Self {
        Self { state, ..self }
    }

    /// Requests [`Terms::latents`].
    pub fn with_latents(self) -> Self {
        Self { wants_latents: true, ..self }
    }
}

/// The terms of an objective for each example of a batch, all `[batch]`, in nats.
///
/// They are summed over pixels and latent dimensions, but not averaged over the batch;
/// [`mean`](Terms::mean) does that at the end of a training step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Terms {
    /// The quantity to differentiate. It may be a surrogate with the right gradient and an
    /// arbitrary value.
    pub loss: Tensor<1>,
    /// The negative bound that is reported and compared, at full weight whatever the weights in
    /// `loss`; lower is better. For upper bounds, the bound itself.
    pub nelbo: Tensor<1>,
    /// Negative log-likelihood `-log p(x|z)`, averaged over the Monte Carlo samples: the distortion
    /// of Alemi et al. (2018). For grey values under a Bernoulli likelihood it is a cross-entropy.
    pub distortion: Tensor<1>,
    /// Divergence from the posterior to the prior; with the KL divergence, the rate of Alemi et al.
    /// (2018).
    pub divergence: Tensor<1>,
    /// The posteriors of the batch, if requested and known to the objective.
    pub latents: Option<Latents>,
    /// The state for the next training step; see [`Objective::initial_state`].
    pub state: Option<Tensor<1>>,
}

/// The posteriors of a batch per latent dimension, all `[batch, latent_dim]`.
#[derive(Clone, Debug)]
pub struct Latents {
    /// The posterior means.
    pub mean: Tensor<2>,
    /// Each dimension's share of the divergence in nats, if the divergence is a sum over
    /// dimensions.
    pub divergence: Option<Tensor<2>>,
    /// The indices of the codes, if they come from a codebook.
    pub indices: Option<CodeIndices>,
}

impl Latents {
    /// Describes posteriors by their means and, if they come from a codebook, their indices.
    pub fn of(posterior: &impl Posterior) -> Self {
        Self { mean: posterior.mean(), divergence: None, indices: posterior.code_indices() }
    }

    /// Sets the shares of the divergence, `[batch, latent_dim]`.
    pub fn with_divergence(self, divergence: Option<Tensor<2>>) -> Self {
        Self { divergence, ..self }
    }
}

impl Terms {
    /// The terms of the negative ELBO, `distortion + divergence`, which is also the loss.
    pub fn new(distortion: Tensor<1>, divergence: Tensor<1>) -> Self {
        let nelbo = distortion.clone() + divergence.clone();
        Self { loss: nelbo.clone(), nelbo, distortion, divergence, latents: None, state: None }
    }

    /// Sets the loss, `[batch]`; the reported terms stay.
    pub fn with_loss(self, loss: Tensor<1>) -> Self {
        Self { loss, ..self }
    }

    /// Adds a [penalty](Posterior::penalty), `[batch]`, to the loss.
    pub fn with_penalty(self, penalty: Option<Tensor<1>>) -> Self {
        match penalty {
            Some(penalty) => Self { loss: self.loss + penalty, ..self },
            None => self,
        }
    }

    /// Sets the reported negative bound, `[batch]`.
    pub fn with_nelbo(self, nelbo: Tensor<1>) -> Self {
        Self { nelbo, ..self }
    }

    /// Attaches the posteriors of the batch.
    pub fn with_latents(self, latents: Option<Latents>) -> Self {
        Self { latents, ..self }
    }

    /// Sets the state for the next step.
    pub fn with_state(self, state: Option<Tensor<1>>) -> Self {
        Self { state, ..self }
    }

    /// Returns the mean loss of the batch, `[1]`, on which to call `backward`.
    pub fn mean(&self) -> Tensor<1> {
        self.loss.clone().mean()
    }
}

/// A training objective of the model `M`.
///
/// The objective runs the forward pass from data and noise to the terms of the loss: it chooses the
/// divergence, draws the samples and combines them. [`Elbo`] shows this flow for the variational
/// autoencoder. Pass [`Inputs::phase`] to [`Model::posterior`](crate::Model::posterior) and
/// [`Model::prior`](crate::Model::prior), so that relaxations apply in training.
///
/// An objective is plain data; trained parameters belong to the model. `Debug` must show every
/// parameter and must not vary between runs: checkpoints identify the objective by it.
///
/// To mix objectives use a `Vec<Box<dyn Objective<M>>>`; a box trains like its content.
pub trait Objective<M>: Debug + Send + Sync {
    /// Runs the model on a batch.
    ///
    /// The result must be a function of the arguments: on a GPU, training may run the kernels of an earlier
    /// call again instead.
    fn terms(&self, model: &M, inputs: Inputs) -> Terms;

    /// Checks that the objective can be estimated from `num_samples` posterior samples; called
    /// before any computation.
    ///
    /// # Errors
    /// If it cannot be.
    fn check_samples(&self, num_samples: usize) -> Result<()> {
        let _ = num_samples;
        Ok(())
    }

    /// Returns the objective's state before the first training step, or `None` if it has none.
    ///
    /// Each step reads the state from [`Inputs::state`] and returns the next one, of equal length,
    /// in [`Terms::state`]. The state stays on the device and is saved in checkpoints.
    fn initial_state(&self) -> Option<Vec<f32>> {
        None
    }

    /// Returns whether annealing has finished by `step`. Models are compared only at such steps.
    fn at_full_weight(&self, step: u64) -> bool {
        let _ = step;
        true
    }
}

macro_rules! forward_objective {
    ($($pointer:ident),+) => {$(
        #[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
        impl<M, O: Objective<M> + ?Sized> Objective<M> for $pointer<O> {
            fn terms(&self, model: &M, inputs: Inputs) -> Terms {
                (**self).terms(model, inputs)
            }

            fn check_samples(&self, num_samples: usize) -> Result<()> {
                (**self).check_samples(num_samples)
            }

            fn initial_state(&self) -> Option<Vec<f32>> {
                (**self).initial_state()
            }

            fn at_full_weight(&self, step: u64) -> bool {
                (**self).at_full_weight(step)
            }
        }
    )+};
}

forward_objective!(Box, Arc);

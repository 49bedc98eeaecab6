//! What training minimises.

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
use crate::seed::Seed;

/// What an objective takes: a batch of data and the randomness it is to be looked at with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inputs {
    /// The examples, `[batch, data_dim]`.
    pub x: Tensor<2>,
    /// The noise of the posterior's samples, `[num_samples, batch, noise().dim()]`.
    pub noise: Tensor<3>,
    /// Whether this is a step of training or not.
    pub phase: Phase,
    /// Where anything else that is random comes from.
    pub seed: Seed,
    /// What the objective handed on in the step before, in [`Terms::state`]; `None` outside
    /// training and for an objective without state.
    pub state: Option<Tensor<1>>,
    /// Whether [`Terms::latents`] is wanted.
    pub wants_latents: bool,
}

impl Inputs {
    /// Data and noise, outside training.
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

    /// The same in a step of training.
    pub fn at(self, step: u64, seed: Seed) -> Self {
        Self { phase: Phase::Train { step }, seed, ..self }
    }

    /// The same with randomness of its own.
    pub fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// The same with a state of the objective's.
    pub fn with_state(self, state: Option<Tensor<1>>) -> Self {
        Self { state, ..self }
    }

    /// The same, asking for [`Terms::latents`].
    pub fn with_latents(self) -> Self {
        Self { wants_latents: true, ..self }
    }
}

/// The terms of a model's objective for each example of a batch, all `[batch]`, in nats.
///
/// Sums over pixels and latent dimensions have been taken; the mean over the batch has not. It is
/// taken once, at the very end of a training step, by [`mean`](Terms::mean).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Terms {
    /// What is differentiated. It may be a surrogate with the right gradient and any value.
    pub loss: Tensor<1>,
    /// What is reported and compared, the lower the better: the negative bound, at full weight whatever
    /// `loss` weighs. Of a bound from above it is the bound.
    pub nelbo: Tensor<1>,
    /// Negative log-likelihood `-log p(x|z)`, averaged over the Monte Carlo samples: the distortion of
    /// Alemi et al. (2018). Grey values under a likelihood of bits have a cross-entropy there.
    pub distortion: Tensor<1>,
    /// Divergence from the posterior to the prior; with the KL divergence, the rate of Alemi et al.
    /// (2018).
    pub divergence: Tensor<1>,
    /// What the posteriors look like, where that was asked for and the objective can tell.
    pub latents: Option<Latents>,
    /// What the objective hands on to the next step of a training; see
    /// [`Objective::initial_state`].
    pub state: Option<Tensor<1>>,
}

/// The posteriors of a batch, latent dimension by latent dimension, all `[batch, latent_dim]`.
#[derive(Clone, Debug)]
pub struct Latents {
    /// The posterior means.
    pub mean: Tensor<2>,
    /// The share of each dimension in the divergence, in nats, where it is a sum over them.
    pub divergence: Option<Tensor<2>>,
}

impl Terms {
    /// The terms of the negative ELBO, `distortion + divergence`, which is also the loss.
    pub fn new(distortion: Tensor<1>, divergence: Tensor<1>) -> Self {
        let nelbo = distortion.clone() + divergence.clone();
        Self { loss: nelbo.clone(), nelbo, distortion, divergence, latents: None, state: None }
    }

    /// Another loss, `[batch]`; what is reported stays.
    pub fn with_loss(self, loss: Tensor<1>) -> Self {
        Self { loss, ..self }
    }

    /// Another bound to report, `[batch]`.
    pub fn with_nelbo(self, nelbo: Tensor<1>) -> Self {
        Self { nelbo, ..self }
    }

    /// Adds what the posteriors look like.
    pub fn with_latents(self, latents: Option<Latents>) -> Self {
        Self { latents, ..self }
    }

    /// Adds what is handed on to the next step.
    pub fn with_state(self, state: Option<Tensor<1>>) -> Self {
        Self { state, ..self }
    }

    /// The scalar to call `backward` on: the mean loss of the batch, `[1]`.
    pub fn mean(&self) -> Tensor<1> {
        self.loss.clone().mean()
    }
}

/// A training objective of the model `M`.
///
/// The objective drives the forward pass, from data and noise to the terms of the loss, and so
/// decides the flow: which divergence, how many samples, how they are combined. See [`Elbo`] for
/// the flow of the variational autoencoder written out. It hands [`Inputs::phase`] on to
/// [`Model::posterior`](crate::Model::posterior) and [`Model::prior`](crate::Model::prior), so that what is relaxed
/// in training is.
///
/// An objective is plain data. What is to be trained belongs to the model. `Debug` must show every
/// parameter, and the same in every run: a checkpoint knows the objective by it.
///
/// A list of objectives is a `Vec<Box<dyn Objective<M>>>`; a box trains like what it holds.
pub trait Objective<M>: Debug + Send + Sync {
    /// Runs the model on a batch.
    fn terms(&self, model: &M, inputs: Inputs) -> Terms;

    /// Whether the objective can be estimated from so many samples of the posterior; asked before
    /// anything is computed.
    ///
    /// # Errors
    /// If it cannot.
    fn check_samples(&self, num_samples: usize) -> Result<()> {
        let _ = num_samples;
        Ok(())
    }

    /// The numbers that a training carries from step to step for this objective, as they are before
    /// the first step; `None` for an objective that needs none.
    ///
    /// Each step finds them in [`Inputs::state`] and leaves the next ones, of the same length, in
    /// [`Terms::state`]. They stay on the device and are part of a checkpoint.
    fn initial_state(&self) -> Option<Vec<f32>> {
        None
    }

    /// Whether the loss of a step is the one that the training is about, and not that of an
    /// annealing that leads to it. Only at such steps is a model compared with others.
    fn at_full_weight(&self, step: u64) -> bool {
        let _ = step;
        true
    }
}

macro_rules! forward_objective {
    ($($pointer:ident),+) => {$(
        #[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
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

//! What training minimises.

mod elbo;

pub use elbo::Elbo;

use burn::tensor::Tensor;
use std::fmt::Debug;

/// The terms of a model's objective for each example of a batch, all `[batch]`, in nats.
///
/// Sums over pixels and latent dimensions have been taken; the mean over the batch has not. It is
/// taken once, at the very end of a training step, by [`mean`](Terms::mean).
#[derive(Clone, Debug)]
pub struct Terms {
    /// What is differentiated. It may be a surrogate with the right gradient and any value.
    pub loss: Tensor<1>,
    /// The negative bound to report, at full weight whatever `loss` weighs. For the ELBO it is
    /// `nll + divergence`.
    pub nelbo: Tensor<1>,
    /// Negative log-likelihood, averaged over the Monte Carlo samples.
    pub nll: Tensor<1>,
    /// Divergence from the posterior to the prior.
    pub divergence: Tensor<1>,
}

impl Terms {
    /// The scalar to call `backward` on: the mean loss of the batch, `[1]`.
    pub fn mean(&self) -> Tensor<1> {
        self.loss.clone().mean()
    }
}

/// A training objective of the model `M`.
///
/// The objective drives the forward pass, from data and noise to the terms of the loss, and so
/// decides the flow: which divergence, how many samples, how they are combined. See [`Elbo`] for
/// the flow of the variational autoencoder written out.
pub trait Objective<M>: Clone + Debug + Send + Sync + 'static {
    /// Runs the model on a batch.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - `noise`: `[num_samples, batch, noise_dim]`
    fn terms(&self, model: &M, x: Tensor<2>, noise: Tensor<3>) -> Terms;
}

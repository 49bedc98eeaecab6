//! Divergences from the posterior to the prior.

mod discrete;
mod kl;
mod mmd;
mod monte_carlo;
mod renyi;

pub use kl::KlDivergence;
pub use mmd::{Kernel, Mmd, Width};
pub use monte_carlo::{MonteCarloKl, MonteCarloRenyi};
pub use renyi::{ChiDivergence, RenyiDivergence};

use burn::tensor::Tensor;
use std::fmt::Debug;

use crate::Samples;

/// A divergence from a posterior of type `Q` to a prior of type `P`, as an identity layer.
///
/// After the `KLDivergenceLayer` of Tiao's Keras post: the layer hands its input on unchanged and
/// puts the divergence beside it. What the post adds to a collection of losses by side effect is a
/// return value here. Whatever stands behind the layer does not know which divergence it was, so
/// any other can take its place.
///
/// `Debug` must show every parameter, and the same in every run: a checkpoint knows the divergence by
/// it.
///
/// # Implementing one
/// ```
/// use burn::tensor::Tensor;
/// use burn_vae::{DiagonalGaussian, Divergence, Samples, StandardNormal};
///
/// /// Squared 2-Wasserstein distance to N(0, I).
/// #[derive(Clone, Debug)]
/// struct Wasserstein;
///
/// impl Divergence<DiagonalGaussian, StandardNormal> for Wasserstein {
///     fn forward(
///         &self,
///         q: DiagonalGaussian,
///         _prior: &StandardNormal,
///         _samples: &Samples,
///     ) -> (DiagonalGaussian, Tensor<1>) {
///         let std = q.log_var.clone().mul_scalar(0.5).exp();
///         let d = q.mean.clone().square() + std.sub_scalar(1.0).square();
///         (q, d.sum_dim(1).squeeze_dim(1))
///     }
/// }
///
/// let objective = burn_vae::Elbo::new(Wasserstein);
/// ```
///
/// With [`per_dimension`](Self::per_dimension) as well, the history has the share of each dimension
/// and free bits count dimension by dimension.
pub trait Divergence<Q, P>: Clone + Debug + Send + Sync + 'static {
    /// Returns the posterior unchanged, and the divergence of each example in nats.
    ///
    /// `samples` are those of the posterior that the objective goes on with, for the divergences
    /// that are estimated from samples; those with a closed form leave them alone.
    ///
    /// # Shapes
    /// The divergence is `[batch]`, summed over the latent dimensions.
    fn forward(&self, posterior: Q, prior: &P, samples: &Samples) -> (Q, Tensor<1>);

    /// The share of each latent dimension, `[batch, latent_dim]`, in nats, where the divergence is a
    /// sum over them; used for free bits and to tell which dimensions are in use.
    fn per_dimension(&self, posterior: &Q, prior: &P) -> Option<Tensor<2>> {
        let _ = (posterior, prior);
        None
    }

    /// The shares by which free bits count, `[batch, shares]`, none of them negative: those of the dimensions,
    /// unless several dimensions are one variable.
    fn per_variable(&self, posterior: &Q, prior: &P) -> Option<Tensor<2>> {
        self.per_dimension(posterior, prior)
    }
}

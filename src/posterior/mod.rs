//! Approximate posteriors `q(z|x)`.

mod diagonal_gaussian;

pub use diagonal_gaussian::DiagonalGaussian;

use burn::tensor::Tensor;
use std::fmt::Debug;

/// A batch of approximate posterior distributions `q(z|x)`, what an [`Encoder`](crate::Encoder)
/// returns.
///
/// Samples are a deterministic, differentiable function of the posterior's parameters and of
/// explicit standard normal noise.
pub trait Posterior: Clone + Debug + Send {
    /// `[batch, latent_dim]`.
    fn dims(&self) -> [usize; 2];

    /// The code that stands for each example where one point is wanted: the mean.
    ///
    /// # Shapes
    /// `[batch, latent_dim]`
    fn mean(&self) -> Tensor<2>;

    /// Reparameterised samples.
    ///
    /// # Shapes
    /// - `noise`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch, latent_dim]`
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3>;

    /// `log q(z|x)` in nats, summed over the latent dimensions.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2>;
}

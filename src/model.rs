//! The interface of a model to objectives, training and evaluation.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::likelihood::Support;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::prior::Distribution;

/// A model of data `x` with latent variables `z`, whose forward pass takes explicit noise.
///
/// [`Vae`](crate::Vae), [`ConditionalVae`](crate::conditional::ConditionalVae) and
/// [`AdversarialVae`](crate::adversarial::AdversarialVae) are models. Your own type can be trained
/// and evaluated like them if it implements this trait.
pub trait Model: Module + ModuleDisplay {
    /// The family of `q(z|x)`.
    type Posterior: Posterior;
    /// The bound prior `p(z)`.
    type Prior: Distribution;

    /// The length of an example.
    fn data_dim(&self) -> usize;

    /// The length of a code.
    fn latent_dim(&self) -> usize;

    /// The likelihood's support.
    fn support(&self) -> Support;

    /// The noise that one Monte Carlo sample of one example needs.
    fn noise(&self) -> NoiseShape;

    /// Number of leading entries of an example that are data; the rest are its condition.
    fn num_values(&self) -> usize {
        self.data_dim()
    }

    /// Returns `q(z|x)` for a batch of examples, `[batch, data_dim]`.
    ///
    /// # Panics
    /// If `x` does not have `data_dim` columns.
    fn posterior(&self, x: Tensor<2>, phase: Phase) -> Self::Posterior;

    /// Returns the bound prior `p(z)`.
    fn prior(&self, phase: Phase) -> Self::Prior;

    /// Returns `-log p(x|z)` in nats for each sample of each example.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - `x`: `[batch, data_dim]`
    /// - output: `[num_samples, batch]`
    ///
    /// # Panics
    /// If the shapes do not agree.
    fn nll(&self, z: Tensor<3>, x: Tensor<2>) -> Tensor<2>;

    /// Returns the model with a constant decoder and likelihood: gradients of [`nll`](Self::nll)
    /// reach only the codes.
    fn with_fixed_likelihood(&self) -> Self;
}

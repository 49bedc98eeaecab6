//! Priors `p(z)`.

mod bernoulli;
mod categorical;
mod discrete;
mod flow;
mod gaussian;
mod hierarchical;
mod mixture;
mod standard_normal;
mod vamp;

pub use bernoulli::{BernoulliPrior, BernoulliPriorConfig};
pub use categorical::{CategoricalPrior, CategoricalPriorConfig};
pub use flow::{FlowPrior, FlowPriorConfig};
pub use gaussian::{GaussianPrior, GaussianPriorConfig};
pub use hierarchical::{HierarchicalPrior, HierarchicalPriorConfig};
pub use mixture::{MixturePrior, MixturePriorConfig};
pub use standard_normal::StandardNormal;
pub use vamp::{VampPrior, VampPriorConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

use crate::{DiagonalGaussian, Encoder, Result, Seed, Support};

/// A distribution `p(z)` over the latent space.
///
/// A prior is a Burn module, so it may have parameters and learn them with the rest of the model.
pub trait Prior: Module + ModuleDisplay {
    /// The length of a code, where the prior is of a certain one; `None` if any will do.
    fn latent_dim(&self) -> Option<usize> {
        None
    }

    /// `log p(z)` in nats, summed over the latent dimensions.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2>;

    /// What the values of a code are outside training; a posterior must be over the same.
    fn latent_support(&self) -> Support {
        Support::Real
    }

    /// Whether the prior can be that of a model with this encoder; asked by [`Vae::new`](crate::Vae::new).
    ///
    /// # Errors
    /// If it cannot.
    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        let _ = encoder;
        Ok(())
    }

    /// The prior as it is in a model with that encoder, in a step of a training or, with `None`, outside
    /// it; what the model hands on to objectives and divergences.
    ///
    /// A prior that is made of posteriors implements this, or one that is relaxed in training like the
    /// posterior ([`Posterior::at`](crate::Posterior::at)).
    fn within<E: Encoder>(&self, encoder: &E, step: Option<u64>) -> Self {
        let _ = (encoder, step);
        self.clone()
    }

    /// Draws `num_samples` latent vectors, `[num_samples, latent_dim]`.
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2>;
}

/// A prior that is a diagonal Gaussian. Divergences in closed form take any of these, of this crate or of
/// yours.
pub trait DiagonalPrior: Prior {
    /// The posterior in the coordinates in which this prior is `N(0, I)`; divergences do not depend on
    /// coordinates.
    fn standardized(&self, posterior: &DiagonalGaussian) -> DiagonalGaussian;
}

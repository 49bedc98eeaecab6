//! Priors `p(z)`.

mod bernoulli;
mod categorical;
mod codes;
mod discrete;
mod fitted;
mod flow;
mod gaussian;
mod hierarchical;
mod mixture;
mod pixel_cnn;
mod standard_normal;
mod vamp;

pub use bernoulli::{BernoulliPrior, BernoulliPriorConfig, BoundBernoulli};
pub use categorical::{BoundCategorical, CategoricalPrior, CategoricalPriorConfig};
pub use codes::{BoundUniformCodes, CodeDistribution, UniformCodes};
pub use fitted::{Fit, FitMixture, FittedMixture, FittedMixtureConfig};
pub use flow::{BoundFlow, FlowPrior, FlowPriorConfig};
pub use gaussian::{GaussianPrior, GaussianPriorConfig};
pub use hierarchical::{BoundHierarchy, HierarchicalPrior, HierarchicalPriorConfig};
pub use mixture::{Mixture, MixturePrior, MixturePriorConfig};
pub use pixel_cnn::{BoundPixelCnn, PixelCnnPrior, PixelCnnPriorConfig};
pub use standard_normal::StandardNormal;
pub use vamp::{VampPrior, VampPriorConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

use crate::encoder::Encoder;
use crate::error::Result;
use crate::likelihood::Support;
use crate::phase::Phase;
use crate::posterior::{Density, DiagonalGaussian};
use crate::seed::Seed;

/// A distribution over codes that is ready to use: a bound prior.
pub trait Distribution: Density {
    /// Draws `num_samples` latent vectors, `[num_samples, latent_dim]`.
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2>;

    /// Detaches the distribution from the graph: its parameters receive no gradient.
    fn detach(&self) -> Self;

    /// Required length of a code, or `None` for any.
    fn latent_dim(&self) -> Option<usize> {
        None
    }

    /// The support of a code outside training; the posterior must have the same one.
    fn support(&self) -> Support {
        Support::Real
    }
}

/// The prior `p(z)` of a model with an encoder of type `E`. It has no density until it is bound.
///
/// A module that implements [`Distribution`] is a prior without further code. Implement this trait
/// for a prior that needs the encoder, or that training relaxes.
///
/// A prior is a Burn module, so it may have parameters that are learned with the rest of the model.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the prior of a model with the encoder `{E}`",
    note = "implement `Distribution`, or `Prior<E>` for what needs the encoder or the phase",
    note = "a prior made of posteriors needs posteriors with densities"
)]
pub trait Prior<E: Encoder>: Module + ModuleDisplay {
    /// The bound prior.
    type Bound: Distribution;

    /// Binds the prior to the encoder and applies the relaxation of the phase.
    fn bind(&self, encoder: &E, phase: Phase) -> Self::Bound;

    /// Checks that the prior fits the encoder; called by [`Vae::new`](crate::Vae::new) before it is
    /// bound.
    ///
    /// # Errors
    /// If it does not fit.
    fn check(&self, encoder: &E) -> Result<()> {
        let _ = encoder;
        Ok(())
    }
}

impl<E: Encoder, P: Module + ModuleDisplay + Distribution> Prior<E> for P {
    type Bound = P;

    fn bind(&self, _encoder: &E, _phase: Phase) -> P {
        self.clone()
    }
}

/// A bound prior that is a diagonal Gaussian. Divergences in closed form accept every
/// implementation, including your own.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a diagonal Gaussian prior")]
pub trait DiagonalPrior: Distribution {
    /// Transforms the posterior to the coordinates in which this prior is `N(0, I)`. Divergences do
    /// not depend on the coordinates.
    fn standardized(&self, posterior: &DiagonalGaussian) -> DiagonalGaussian;
}

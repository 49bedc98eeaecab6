//! Approximate posteriors `q(z|x)`.

mod bernoulli;
mod categorical;
mod diagonal_gaussian;
mod family;
mod flow;
mod full_covariance;
mod hierarchical;
mod implicit;
mod temperature;

pub use bernoulli::{Bernoulli, BernoulliFamily, BernoulliHead};
pub(crate) use categorical::check_groups;
pub use categorical::{Categorical, CategoricalFamily, CategoricalHead};
pub use diagonal_gaussian::{Diagonal, DiagonalGaussian, DiagonalHead};
pub use family::{Family, Head};
pub use flow::{Transformed, TransformedHead, TransformedPosterior};
pub use full_covariance::{FullCovariance, FullCovarianceHead, FullGaussian};
pub use hierarchical::HierarchicalPosterior;
pub use implicit::{
    Implicit, ImplicitEncoder, ImplicitEncoderConfig, ImplicitHead, ImplicitPosterior,
};
pub(crate) use temperature::Sampling;
pub use temperature::Temperature;

use burn::tensor::Tensor;
use std::fmt::Debug;

use crate::Seed;

/// A batch of approximate posterior distributions `q(z|x)`, what an [`Encoder`](crate::Encoder)
/// returns.
///
/// Samples are a deterministic, differentiable function of the posterior's parameters and of
/// explicit noise, of the kind that [`Encoder::noise`](crate::Encoder::noise) says. A posterior whose
/// density is known is an [`ExplicitPosterior`] as well.
pub trait Posterior: Clone + Debug + Send {
    /// `[batch, latent_dim]`.
    fn dims(&self) -> [usize; 2];

    /// The code that stands for each example where one point is wanted: the mean.
    ///
    /// # Shapes
    /// `[batch, latent_dim]`
    fn mean(&self) -> Tensor<2>;

    /// The [`mean`](Self::mean) of the dimensions that statistics count as latent: all unless a code
    /// holds something else beside them, as that of a [`Conditioned`](crate::conditional::Conditioned) posterior does.
    ///
    /// # Shapes
    /// `[batch, number of latent dimensions]`
    fn latent_mean(&self) -> Tensor<2> {
        self.mean()
    }

    /// The same distributions cut off from the graph: no gradient reaches the encoder through the
    /// parameters of what is returned.
    fn detach(&self) -> Self;

    /// Reparameterised samples.
    ///
    /// # Shapes
    /// - `noise`: `[num_samples, batch, noise().dim()]`
    /// - output: `[num_samples, batch, latent_dim]`
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3>;

    /// The same as diagonal Gaussians, where that is what they are; see [`VampPrior`](crate::VampPrior).
    fn as_diagonal_gaussian(&self) -> Option<DiagonalGaussian> {
        None
    }

    /// The same distributions as they are sampled in a step of a training or, with `None`, outside it.
    ///
    /// A relaxation of a discrete posterior implements this: its temperature may follow the step, and
    /// outside training nothing is relaxed.
    fn at(self, step: Option<u64>) -> Self {
        let _ = step;
        self
    }

    /// Samples as an objective and its divergence see them.
    ///
    /// A posterior that gets the density of its own samples on the way, as flows do, implements
    /// this and keeps it in [`Samples::log_prob`].
    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        Samples { z: self.rsample(noise), log_prob: None, seed }
    }
}

/// A posterior whose density is known.
pub trait ExplicitPosterior: Posterior {
    /// `log q(z|x)` in nats, summed over the latent dimensions.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2>;
}

/// Samples of a posterior.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples, `[num_samples, batch, latent_dim]`.
    pub z: Tensor<3>,
    /// Their density under the posterior that drew them, `[num_samples, batch]`, where it came with
    /// them; [`log_prob`](Self::log_prob) gives it in any case.
    pub log_prob: Option<Tensor<2>>,
    /// Where an estimator that needs more randomness, such as samples of the prior, takes it from.
    pub seed: Seed,
}

impl Samples {
    /// `log q(z|x)` in nats under the posterior that drew the samples, `[num_samples, batch]`.
    pub fn log_prob(&self, posterior: &impl ExplicitPosterior) -> Tensor<2> {
        self.log_prob.clone().unwrap_or_else(|| posterior.log_prob(self.z.clone()))
    }
}

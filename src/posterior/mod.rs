//! Approximate posteriors `q(z|x)`.

mod bernoulli;
mod categorical;
mod constant_variance;
mod diagonal_gaussian;
mod family;
mod flow;
mod full_covariance;
mod hierarchical;
mod implicit;
mod pointwise;
mod quantized;
mod temperature;

pub use bernoulli::{Bernoulli, BernoulliFamily, BernoulliHead};
pub(crate) use categorical::check_groups;
pub use categorical::{Categorical, CategoricalFamily, CategoricalHead};
pub use constant_variance::{ConstantVariance, ConstantVarianceHead};
pub use diagonal_gaussian::{Diagonal, DiagonalGaussian, DiagonalHead};
pub use family::{Family, Head, NewHead};
pub use flow::{Transformed, TransformedHead, TransformedPosterior};
pub use full_covariance::{FullCovariance, FullCovarianceHead, FullGaussian};
pub use hierarchical::HierarchicalPosterior;
pub use implicit::{
    Implicit, ImplicitEncoder, ImplicitEncoderConfig, ImplicitHead, ImplicitPosterior,
};
pub use pointwise::Pointwise;
pub(crate) use quantized::CodeCounts;
pub use quantized::{
    CodeGradient, CodeIndices, CodeTable, Codebook, FiniteScalarFamily, FiniteScalarHead, Grid,
    LookupFreeFamily, LookupFreeHead, Quantized, QuantizingHead, Usage, VectorQuantizedFamily,
    VectorQuantizedHead, VectorQuantizer,
};
pub(crate) use temperature::Sampling;
pub use temperature::Temperature;

use burn::tensor::{Int, Tensor};
use std::fmt::Debug;

use crate::math::log_sum_exp;
use crate::seed::Seed;

/// A batch of approximate posterior distributions `q(z|x)`, returned by an
/// [`Encoder`](crate::Encoder).
///
/// Samples are a deterministic, differentiable function of the posterior's parameters and of
/// explicit noise, whose kinds and sizes [`Encoder::noise`](crate::Encoder::noise) declares. A
/// posterior with a known density also implements [`Density`].
pub trait Posterior: Clone + Debug + Send {
    /// The shape `[batch, latent_dim]`.
    fn dims(&self) -> [usize; 2];

    /// Returns the code that represents each example where a single one is needed, usually the
    /// mean.
    ///
    /// # Shapes
    /// `[batch, latent_dim]`
    fn mean(&self) -> Tensor<2>;

    /// Detaches the distributions from the graph: no gradient reaches the encoder through their
    /// parameters.
    fn detach(&self) -> Self;

    /// Selects distributions of the batch by index, in the given order; an index may repeat.
    ///
    /// # Shapes
    /// - `places`: `[n]`, each below the number of distributions
    fn select(&self, places: Tensor<1, Int>) -> Self;

    /// Returns reparameterised samples.
    ///
    /// # Shapes
    /// - `noise`: `[num_samples, batch, dim]` with the [`dim`](crate::noise::NoiseShape::dim) of
    ///   the encoder's noise
    /// - output: `[num_samples, batch, latent_dim]`
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3>;

    /// Draws samples for an objective and its divergence.
    ///
    /// A posterior that computes the density of its own samples along the way, as flows do,
    /// overrides this and stores the density with [`Samples::with_log_prob`]. One that computes the
    /// density from the noise stores the noise ([`Samples::with_noise`]).
    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        Samples::new(self.rsample(noise), seed)
    }

    /// Returns a term of each example's loss, `[batch]`, that belongs to the family and not to the
    /// bound, such as the commitment loss of a vector quantiser. Objectives add it to the loss.
    fn penalty(&self) -> Option<Tensor<1>> {
        None
    }

    /// Returns the indices of the codes, for their usage in the history, if they come from a
    /// codebook.
    fn code_indices(&self) -> Option<CodeIndices> {
        None
    }
}

/// A batch of distributions with a known density: a posterior or a bound prior.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no density",
    note = "`Mmd`, `AdversarialElbo` and importance sampling with `FittedGaussian` need none"
)]
pub trait Density: Clone + Debug + Send {
    /// Returns `log p(z)` in nats, summed over the latent dimensions.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2>;

    /// Returns `log sum_i w_i p_i(z)` in nats, the log-density of the mixture of all distributions
    /// of the batch.
    ///
    /// The default compares every code with every distribution and needs memory for
    /// `num_samples * batch * components * latent_dim` values.
    ///
    /// # Shapes
    /// - `log_weights`: `[components]`, logarithms of weights that sum to 1
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_mixture(&self, log_weights: Tensor<1>, z: Tensor<3>) -> Tensor<2> {
        let ([samples, batch, dim], [components]) = (z.dims(), log_weights.dims());
        let z = z.reshape([samples * batch, 1, dim]).expand([samples * batch, components, dim]);
        let log = self.log_prob(z) + log_weights.unsqueeze_dim(0);
        log_sum_exp(log, 1).reshape([samples, batch])
    }

    /// Returns the log-density of samples that this distribution itself [drew](Posterior::draw),
    /// `[num_samples, batch]`. Its gradient is the total one, through samples and parameters
    /// together.
    ///
    /// The default returns the density stored with the samples or, if there is none,
    /// [`log_prob`](Self::log_prob) of the codes.
    fn log_prob_of(&self, samples: &Samples) -> Tensor<2> {
        samples.log_prob_or(|z| self.log_prob(z))
    }

    /// Like [`log_prob`](Self::log_prob) of the codes, but may use the noise that they were made
    /// from. For a [detached](Posterior::detach) posterior, its gradient flows through the samples
    /// only (Roeder et al. 2017).
    ///
    /// A posterior that computes the density from the noise overrides this, because codes lose it
    /// to rounding.
    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        self.log_prob(samples.z.clone())
    }
}

/// Samples of a posterior, with what their density can be computed from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Samples {
    /// The samples, `[num_samples, batch, latent_dim]`.
    pub z: Tensor<3>,
    /// The noise that the samples were made from, `[num_samples, batch, noise().dim()]`, if their
    /// density follows from it.
    pub noise: Option<Tensor<3>>,
    /// Their log-density under the posterior that drew them, `[num_samples, batch]`, if it was
    /// computed with them. [`Density::log_prob_of`] returns it in any case.
    pub log_prob: Option<Tensor<2>>,
    /// Seed for estimators that need more randomness, such as samples of the prior.
    pub seed: Seed,
}

impl Samples {
    /// Creates samples, `[num_samples, batch, latent_dim]`, whose density is computed from their
    /// codes.
    pub fn new(z: Tensor<3>, seed: Seed) -> Self {
        Self { z, noise: None, log_prob: None, seed }
    }

    /// Stores the noise that the samples were made from.
    pub fn with_noise(self, noise: Tensor<3>) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// Stores the log-density of the samples, `[num_samples, batch]`.
    pub fn with_log_prob(self, log_prob: Tensor<2>) -> Self {
        Self { log_prob: Some(log_prob), ..self }
    }

    /// Returns `log q(z|x)` in nats under the posterior that drew the samples,
    /// `[num_samples, batch]`.
    pub fn log_prob(&self, posterior: &impl Density) -> Tensor<2> {
        posterior.log_prob_of(self)
    }

    /// Like [`log_prob`](Self::log_prob), but the gradient flows through the samples only, not
    /// through the parameters of the posterior (Roeder et al. 2017).
    pub fn path_log_prob(&self, posterior: &(impl Posterior + Density)) -> Tensor<2> {
        posterior.detach().log_prob_at(self)
    }

    /// Reshapes to one sample of each of `num_samples * batch` examples.
    fn in_one_batch(self) -> Self {
        let flat = |x: Tensor<3>| {
            let [samples, batch, dim] = x.dims();
            x.reshape([1, samples * batch, dim])
        };
        let noise = self.noise.map(flat);
        Self { z: flat(self.z), noise, log_prob: None, seed: self.seed }
    }

    /// Returns the density stored with the samples or, if there is none, that of the codes.
    pub(crate) fn log_prob_or(&self, log_prob: impl FnOnce(Tensor<3>) -> Tensor<2>) -> Tensor<2> {
        self.log_prob.clone().unwrap_or_else(|| log_prob(self.z.clone()))
    }
}

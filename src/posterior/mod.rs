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

use burn::tensor::{Int, Tensor};
use std::fmt::Debug;

use crate::math::log_sum_exp;
use crate::seed::Seed;

/// A batch of approximate posterior distributions `q(z|x)`, what an [`Encoder`](crate::Encoder)
/// returns.
///
/// Samples are a deterministic, differentiable function of the posterior's parameters and of
/// explicit noise, of the kind that [`Encoder::noise`](crate::Encoder::noise) says. A posterior whose
/// density is known implements [`Density`] as well.
pub trait Posterior: Clone + Debug + Send {
    /// `[batch, latent_dim]`.
    fn dims(&self) -> [usize; 2];

    /// The code that stands for each example where one point is wanted: the mean.
    ///
    /// # Shapes
    /// `[batch, latent_dim]`
    fn mean(&self) -> Tensor<2>;

    /// The same distributions cut off from the graph: no gradient reaches the encoder through the
    /// parameters of what is returned.
    fn detach(&self) -> Self;

    /// The distributions in some places of the batch, in the order given; a place may be given more than once.
    ///
    /// # Shapes
    /// - `places`: `[n]`, below the number of distributions
    fn select(&self, places: Tensor<1, Int>) -> Self;

    /// Reparameterised samples.
    ///
    /// # Shapes
    /// - `noise`: `[num_samples, batch, dim]` with the [`dim`](crate::noise::NoiseShape::dim) of the encoder's noise
    /// - output: `[num_samples, batch, latent_dim]`
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3>;

    /// Samples as an objective and its divergence see them.
    ///
    /// A posterior that gets the density of its own samples on the way, as flows do, implements
    /// this and keeps it with [`Samples::with_log_prob`]; one that knows it from the noise keeps that
    /// ([`Samples::with_noise`]).
    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        Samples::new(self.rsample(noise), seed)
    }
}

/// A batch of distributions whose density is known: a posterior, or a prior that is ready to use.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no density",
    note = "`Mmd`, `AdversarialElbo` and importance sampling with `FittedGaussian` need none"
)]
pub trait Density: Clone + Debug + Send {
    /// `log p(z)` in nats, summed over the latent dimensions.
    ///
    /// # Shapes
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2>;

    /// `log sum_i w_i p_i(z)`, the density of the mixture of all distributions of the batch, in nats.
    ///
    /// By default every code is compared with every distribution, in memory of
    /// `num_samples * batch * components * latent_dim` numbers.
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

    /// The density of samples that this distribution itself [drew](Posterior::draw), `[num_samples, batch]`. Its
    /// gradient is the total one, through samples and parameters together.
    ///
    /// By default the density that came with them or, without one, [`log_prob`](Self::log_prob) of the codes.
    fn log_prob_of(&self, samples: &Samples) -> Tensor<2> {
        samples.log_prob_or(|z| self.log_prob(z))
    }

    /// Like [`log_prob`](Self::log_prob) of the codes, but may use the noise that they were made of. Of a
    /// [detached](Posterior::detach) posterior its gradient comes through the samples alone (Roeder et al. 2017).
    ///
    /// A posterior that knows the density from the noise implements this, as codes lose it to rounding.
    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        self.log_prob(samples.z.clone())
    }
}

/// Samples of a posterior, and what their density can be computed from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Samples {
    /// The samples, `[num_samples, batch, latent_dim]`.
    pub z: Tensor<3>,
    /// The noise that they were made of, where their density follows from it,
    /// `[num_samples, batch, noise().dim()]`.
    pub noise: Option<Tensor<3>>,
    /// Their density under the posterior that drew them, `[num_samples, batch]`, where it came with them.
    /// [`Density::log_prob_of`] gives it in any case.
    pub log_prob: Option<Tensor<2>>,
    /// Where an estimator that needs more randomness, such as samples of the prior, takes it from.
    pub seed: Seed,
}

impl Samples {
    /// Samples, `[num_samples, batch, latent_dim]`, whose density is that of their codes.
    pub fn new(z: Tensor<3>, seed: Seed) -> Self {
        Self { z, noise: None, log_prob: None, seed }
    }

    /// Keeps the noise that the samples were made of.
    pub fn with_noise(self, noise: Tensor<3>) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// Keeps the density of the samples, `[num_samples, batch]`.
    pub fn with_log_prob(self, log_prob: Tensor<2>) -> Self {
        Self { log_prob: Some(log_prob), ..self }
    }

    /// `log q(z|x)` in nats under the posterior that drew the samples, `[num_samples, batch]`.
    pub fn log_prob(&self, posterior: &impl Density) -> Tensor<2> {
        posterior.log_prob_of(self)
    }

    /// The same density, whose gradient comes through the samples alone and not through the parameters of the
    /// posterior (Roeder et al. 2017).
    pub fn path_log_prob(&self, posterior: &(impl Posterior + Density)) -> Tensor<2> {
        posterior.detach().log_prob_at(self)
    }

    /// The same as one sample of each of `num_samples * batch` examples.
    fn in_one_batch(self) -> Self {
        let flat = |x: Tensor<3>| {
            let [samples, batch, dim] = x.dims();
            x.reshape([1, samples * batch, dim])
        };
        let noise = self.noise.map(flat);
        Self { z: flat(self.z), noise, log_prob: None, seed: self.seed }
    }

    /// The density that came with the samples or, without one, that of the codes.
    pub(crate) fn log_prob_or(&self, log_prob: impl FnOnce(Tensor<3>) -> Tensor<2>) -> Tensor<2> {
        self.log_prob.clone().unwrap_or_else(|| log_prob(self.z.clone()))
    }
}

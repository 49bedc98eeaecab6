use burn::tensor::Tensor;

use super::ConditionalPrior;
use crate::{
    ChiDivergence, DiagonalGaussian, Divergence, ExplicitPosterior, KlDivergence, Posterior, Prior,
    RenyiDivergence, Samples, Seed,
};

/// A posterior over the first dimensions of a code, whose last ones are the condition of the example:
/// `q(z|x, y)`, samples of which are `[z, y]`.
///
/// Its density is that of `z`.
#[derive(Clone, Debug)]
pub struct Conditioned<Q> {
    inner: Q,
    /// `[batch, condition_dim]`
    condition: Tensor<2>,
}

impl<Q: Posterior> Conditioned<Q> {
    /// Puts the conditions, `[batch, condition_dim]`, behind the samples of a posterior.
    ///
    /// # Panics
    /// If there is not one for each example.
    pub fn new(inner: Q, condition: Tensor<2>) -> Self {
        assert_eq!(inner.dims()[0], condition.dims()[0], "examples and conditions");
        Self { inner, condition }
    }

    /// The posterior over the latent dimensions.
    pub fn inner(&self) -> &Q {
        &self.inner
    }

    /// The conditions, `[batch, condition_dim]`.
    pub fn condition(&self) -> Tensor<2> {
        self.condition.clone()
    }

    /// `[z, y]` for each sample.
    fn join(&self, z: Tensor<3>) -> Tensor<3> {
        let [samples, _, _] = z.dims();
        let [batch, condition_dim] = self.condition.dims();
        let condition = self.condition.clone().unsqueeze_dim::<3>(0);
        Tensor::cat(vec![z, condition.expand([samples, batch, condition_dim])], 2)
    }

    /// The samples without their conditions.
    fn latent(&self, samples: &Samples) -> Samples {
        let z = samples.z.clone().narrow(2, 0, self.inner.dims()[1]);
        Samples { z, ..samples.clone() }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<Q: Posterior> Posterior for Conditioned<Q> {
    fn dims(&self) -> [usize; 2] {
        let [batch, latent_dim] = self.inner.dims();
        [batch, latent_dim + self.condition.dims()[1]]
    }

    fn mean(&self) -> Tensor<2> {
        Tensor::cat(vec![self.inner.mean(), self.condition.clone()], 1)
    }

    fn latent_mean(&self) -> Tensor<2> {
        self.inner.latent_mean()
    }

    fn detach(&self) -> Self {
        Self { inner: self.inner.detach(), condition: self.condition.clone().detach() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        self.join(self.inner.rsample(noise))
    }

    /// That of the latent dimensions, as the density is.
    fn as_diagonal_gaussian(&self) -> Option<DiagonalGaussian> {
        self.inner.as_diagonal_gaussian()
    }

    fn at(self, step: Option<u64>) -> Self {
        Self { inner: self.inner.at(step), ..self }
    }

    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        let samples = self.inner.draw(noise, seed);
        Samples { z: self.join(samples.z), ..samples }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<Q: ExplicitPosterior> ExplicitPosterior for Conditioned<Q> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.inner.log_prob(z.narrow(2, 0, self.inner.dims()[1]))
    }

    fn log_prob_of(&self, samples: &Samples) -> Tensor<2> {
        self.inner.log_prob_of(&self.latent(samples))
    }

    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        self.inner.log_prob_at(&self.latent(samples))
    }
}

/// A divergence in closed form is that of the latent dimensions: the condition is given on both sides.
macro_rules! of_latent_dimensions {
    ($($divergence:ty),+) => {$(
        #[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
        impl<Q, P> Divergence<Conditioned<Q>, ConditionalPrior<P>> for $divergence
        where
            Q: Posterior,
            P: Prior,
            $divergence: Divergence<Q, P>,
        {
            fn forward(
                &self,
                posterior: Conditioned<Q>,
                prior: &ConditionalPrior<P>,
                samples: &Samples,
            ) -> (Conditioned<Q>, Tensor<1>) {
                let samples = posterior.latent(samples);
                let Conditioned { inner, condition } = posterior;
                let (inner, divergence) =
                    Divergence::forward(self, inner, prior.inner(), &samples);
                (Conditioned { inner, condition }, divergence)
            }

            fn per_dimension(
                &self,
                posterior: &Conditioned<Q>,
                prior: &ConditionalPrior<P>,
            ) -> Option<Tensor<2>> {
                Divergence::per_dimension(self, &posterior.inner, prior.inner())
            }

            fn per_variable(
                &self,
                posterior: &Conditioned<Q>,
                prior: &ConditionalPrior<P>,
            ) -> Option<Tensor<2>> {
                Divergence::per_variable(self, &posterior.inner, prior.inner())
            }
        }
    )+};
}

of_latent_dimensions!(KlDivergence, RenyiDivergence, ChiDivergence);

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::Conditioned;
use crate::likelihood::Support;
use crate::nn::check_dim;
use crate::summary::Layer;
use crate::{Encoder, Error, Likelihood, NoiseShape, Prior, Result, Seed};

/// An encoder of examples with conditions, `[values, condition]`, whose codes have the condition behind
/// them. The encoder inside sees the whole row.
#[derive(Module, Debug)]
pub struct ConditionalEncoder<E> {
    inner: E,
    condition_dim: usize,
}

impl<E: Encoder> ConditionalEncoder<E> {
    /// Takes the last `condition_dim` numbers of an example as its condition.
    ///
    /// # Errors
    /// If that is none of them or all.
    pub fn new(inner: E, condition_dim: usize) -> Result<Self> {
        check_dim("condition_dim", condition_dim)?;
        if condition_dim >= inner.data_dim() {
            return Err(Error::config(format!(
                "the condition has length {condition_dim}, but the encoder takes only {} numbers with \
                 it: no value of the example is left",
                inner.data_dim()
            )));
        }
        Ok(Self { inner, condition_dim })
    }

    /// The encoder inside.
    pub fn inner(&self) -> &E {
        &self.inner
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<E: Encoder> Encoder for ConditionalEncoder<E> {
    type Posterior = Conditioned<E::Posterior>;

    fn data_dim(&self) -> usize {
        self.inner.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.inner.latent_dim() + self.condition_dim
    }

    fn latent_layers(&self) -> Vec<usize> {
        self.inner.latent_layers()
    }

    fn latent_support(&self) -> Support {
        self.inner.latent_support()
    }

    fn condition_dim(&self) -> usize {
        self.condition_dim
    }

    fn noise(&self) -> NoiseShape {
        self.inner.noise()
    }

    fn encode(&self, x: Tensor<2>) -> Conditioned<E::Posterior> {
        let values = x.dims()[1] - self.condition_dim;
        let condition = x.clone().narrow(1, values, self.condition_dim);
        Conditioned::new(self.inner.encode(x), condition)
    }

    fn layers(&self) -> Vec<Layer> {
        self.inner.layers()
    }
}

/// A likelihood of the values of an example, `[values, condition]`, given its condition.
#[derive(Module, Debug)]
pub struct ConditionalLikelihood<L> {
    inner: L,
    condition_dim: usize,
}

impl<L: Likelihood> ConditionalLikelihood<L> {
    /// Leaves the last `condition_dim` numbers of an example alone.
    ///
    /// # Errors
    /// If there are none of them.
    pub fn new(inner: L, condition_dim: usize) -> Result<Self> {
        check_dim("condition_dim", condition_dim)?;
        Ok(Self { inner, condition_dim })
    }

    /// The likelihood inside.
    pub fn inner(&self) -> &L {
        &self.inner
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<L: Likelihood> Likelihood for ConditionalLikelihood<L> {
    fn params_per_value(&self) -> usize {
        self.inner.params_per_value()
    }

    fn num_values(&self, data_dim: usize) -> usize {
        self.inner.num_values(data_dim.saturating_sub(self.condition_dim))
    }

    /// That of the values; the condition may be any finite numbers.
    fn support(&self) -> Support {
        self.inner.support()
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        match data_dim.checked_sub(self.condition_dim) {
            None | Some(0) => Err(Error::config(format!(
                "an example of {data_dim} numbers holds no value beside a condition of length {}",
                self.condition_dim
            ))),
            Some(values) => self.inner.check(values),
        }
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let values = x.dims()[1] - self.condition_dim;
        self.inner.nll(params, x.narrow(1, 0, values))
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.inner.mean(params)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        self.inner.sample(params, seed)
    }
}

/// A prior over the latent dimensions of a code `[z, y]` that does not depend on the condition `y`.
///
/// A divergence that compares whole codes, such as the [`Mmd`](crate::Mmd), sees the conditions too: those of
/// the data on the one side, all classes alike on the other.
#[derive(Module, Debug)]
pub struct ConditionalPrior<P> {
    inner: P,
    condition_dim: usize,
}

impl<P: Prior> ConditionalPrior<P> {
    /// Leaves the last `condition_dim` numbers of a code alone.
    ///
    /// # Errors
    /// If there are none of them.
    pub fn new(inner: P, condition_dim: usize) -> Result<Self> {
        check_dim("condition_dim", condition_dim)?;
        Ok(Self { inner, condition_dim })
    }

    /// The prior over the latent dimensions.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// The length of a condition.
    pub fn condition_dim(&self) -> usize {
        self.condition_dim
    }

    /// Draws the latent dimensions of a code for each condition.
    ///
    /// # Shapes
    /// From `[n, condition_dim]` to `[n, latent_dim + condition_dim]`
    ///
    /// # Panics
    /// If the conditions have another length.
    pub fn sample_given(&self, condition: Tensor<2>, latent_dim: usize, seed: Seed) -> Tensor<2> {
        let [n, condition_dim] = condition.dims();
        assert_eq!(condition_dim, self.condition_dim, "length of the conditions");
        let z = self.inner.sample(n, latent_dim, seed, &condition.device());
        Tensor::cat(vec![z, condition], 1)
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<P: Prior> Prior for ConditionalPrior<P> {
    fn latent_dim(&self) -> Option<usize> {
        self.inner.latent_dim().map(|dim| dim + self.condition_dim)
    }

    fn latent_support(&self) -> Support {
        self.inner.latent_support()
    }

    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        self.inner.check(encoder)
    }

    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let latent_dim = z.dims()[2] - self.condition_dim;
        self.inner.log_prob(z.narrow(2, 0, latent_dim))
    }

    fn within<E: Encoder>(&self, encoder: &E, step: Option<u64>) -> Self {
        Self { inner: self.inner.within(encoder, step), condition_dim: self.condition_dim }
    }

    /// The conditions are one-hot, each class with the same probability.
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let classes = self.condition_dim;
        let mut rng = seed.child("condition").rng();
        let mut rows = vec![0.0; num_samples * classes];
        for row in rows.chunks_exact_mut(classes) {
            row[rng.random_range(0..classes)] = 1.0;
        }
        let rows = TensorData::new::<f32, _>(rows, [num_samples, classes]);
        self.sample_given(Tensor::from_data(rows, device), latent_dim - classes, seed)
    }
}

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;

use super::{Distribution, Prior};
use crate::config::unit_config;
use crate::encoder::QuantizingEncoder;
use crate::likelihood::Support;
use crate::phase::Phase;
use crate::posterior::{Codebook, Density};
use crate::seed::Seed;

/// A bound prior over the codes of a codebook, as a distribution of their indices.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a distribution of codes from a codebook")]
pub trait CodeDistribution: Distribution {
    /// The type of the codebook.
    type Codebook: Codebook;

    /// Returns the terms of `log p(z)` in nats, one for each index.
    ///
    /// # Shapes
    /// - `indices`, output: `[n, groups * quantizers]`
    fn log_probs(&self, indices: Tensor<2, Int>) -> Tensor<2>;
}

/// The prior of a quantised model whose codes are all equally likely, so that
/// `log p(z) = -groups * log(codes)` in nats, and minus infinity beside the codebook (van den Oord et
/// al. 2017, section 3.1). A sum of several quantisers' vectors counts as a code only if the quantisers
/// find it again; the divergence is computed from indices, and knows no such case. It has no parameters; the codebook is the encoder's.
///
/// It is what quantised models are trained with. Samples look better from a prior that is trained on
/// the codes of the data afterwards.
#[derive(Module, Debug, PartialEq, Eq)]
pub struct UniformCodes;

unit_config!(UniformCodes);

/// [`UniformCodes`], bound to a codebook.
#[derive(Clone, Debug)]
pub struct BoundUniformCodes<C> {
    codebook: C,
}

impl<C: Codebook> BoundUniformCodes<C> {
    /// Creates a distribution over the codes of a codebook, all equally likely.
    pub fn new(codebook: C) -> Self {
        Self { codebook }
    }
}

impl<E: QuantizingEncoder> Prior<E> for UniformCodes {
    type Bound = BoundUniformCodes<E::Codebook>;

    fn bind(&self, encoder: &E, _phase: Phase) -> Self::Bound {
        BoundUniformCodes::new(encoder.codebook())
    }
}

impl<C: Codebook> Density for BoundUniformCodes<C> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        log_prob_of_codes(self, &self.codebook, z)
    }
}

/// Returns the sum of the terms of the indices, and minus infinity beside the codebook.
pub(super) fn log_prob_of_codes<P: CodeDistribution>(
    prior: &P,
    codebook: &P::Codebook,
    z: Tensor<3>,
) -> Tensor<2> {
    let [samples, batch, latent_dim] = z.dims();
    let z = z.detach().reshape([samples * batch, latent_dim]);
    let indices = codebook.indices(z.clone());
    let nearest = codebook.lookup(indices.clone());
    let nearest = match z.device().is_autodiff() {
        true => Tensor::from_inner(nearest),
        false => nearest,
    };
    let scale = nearest.clone().abs().max_dim(1);
    let distance = (z - nearest).abs().max_dim(1);
    let is_beside = distance.greater(scale.mul_scalar(1e-4));
    let total = prior.log_probs(indices).sum_dim(1);
    total.mask_fill(is_beside, f64::NEG_INFINITY).reshape([samples, batch])
}

impl<C: Codebook> CodeDistribution for BoundUniformCodes<C> {
    type Codebook = C;

    fn log_probs(&self, indices: Tensor<2, Int>) -> Tensor<2> {
        let each = -(self.codebook.codes() as f64).ln();
        Tensor::full(indices.dims(), each, &indices.device())
    }
}

impl<C: Codebook> Distribution for BoundUniformCodes<C> {
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let (mut rng, codes) = (seed.rng(), self.codebook.codes() as i64);
        let shape = [num_samples, self.codebook.groups(latent_dim) * self.codebook.quantizers()];
        let draws = (0..shape[0] * shape[1]).map(|_| rng.random_range(0..codes)).collect();
        let indices = Tensor::<2, Int>::from_data(TensorData::new::<i64, _>(draws, shape), device);
        self.codebook.lookup(indices)
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn support(&self) -> Support {
        Support::Codebook
    }
}

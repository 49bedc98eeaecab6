//! Posteriors of a single code from a codebook.

mod codebook;
mod finite_scalar;
mod grid;
mod lookup_free;
mod quantizer;
mod table;
mod vector;

pub(crate) use codebook::CodeCounts;
pub use codebook::{CodeIndices, Codebook, Usage};
pub use finite_scalar::{FiniteScalarFamily, FiniteScalarHead};
pub use grid::Grid;
pub use lookup_free::{LookupFreeFamily, LookupFreeHead};
pub use quantizer::VectorQuantizer;
pub use table::CodeTable;
pub use vector::{CodeGradient, VectorQuantizedFamily, VectorQuantizedHead};

use burn::tensor::{Int, Tensor};

use super::{Head, Pointwise, Posterior};

/// A posterior whose mass is all on one code, an entry of a [`Codebook`] in each group of columns.
///
/// A code consists of groups of [`columns`](Codebook::columns), such as the positions of an image,
/// and each group is quantised separately. A sample needs no noise.
///
/// The KL divergence to a prior over the codes is `-log p(z)`. With equally likely codes
/// ([`UniformCodes`](crate::prior::UniformCodes)) it is the constant `groups * log(codes)`, and the
/// ELBO `log p(x|z) + log p(z)` is one term of `p(x) = sum_z p(z) p(x|z)`: a bound in nats. There is
/// no density to weigh samples with, so importance sampling does not apply.
///
/// [`finite_scalar`](Self::finite_scalar), [`lookup_free`](Self::lookup_free) and [`VectorQuantizer`]
/// make them from features and say which gradient these receive.
#[derive(Clone, Debug)]
pub struct Quantized<C> {
    /// `[batch, latent_dim]`
    z: Tensor<2>,
    /// `None` if they follow from the codes.
    indices: Option<Tensor<2, Int>>,
    penalty: Option<Tensor<1>>,
    codebook: C,
}

impl<C: Codebook> Quantized<C> {
    /// Creates a posterior of given codes.
    ///
    /// # Shapes
    /// - `z`: `[batch, latent_dim]`, entries of the codebook
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    pub fn new(z: Tensor<2>, codebook: C) -> Self {
        codebook.groups(z.dims()[1]);
        Self { z, indices: None, penalty: None, codebook }
    }

    /// Stores the indices of the codes, `[batch, indices]`, which are otherwise found when they are
    /// asked for.
    pub fn with_indices(self, indices: Tensor<2, Int>) -> Self {
        Self { indices: Some(indices), ..self }
    }

    /// Sets the [penalty](Posterior::penalty), `[batch]`.
    pub fn with_penalty(self, penalty: Tensor<1>) -> Self {
        Self { penalty: Some(penalty), ..self }
    }

    /// The codebook.
    pub fn codebook(&self) -> &C {
        &self.codebook
    }

    /// Returns the indices of the codes, `[batch, indices]`; see [`Codebook::indices`].
    pub fn indices(&self) -> Tensor<2, Int> {
        self.indices.clone().unwrap_or_else(|| self.codebook.indices(self.z.clone().detach()))
    }
}

impl<C: Codebook> Posterior for Quantized<C> {
    fn dims(&self) -> [usize; 2] {
        self.z.dims()
    }

    /// Returns the codes.
    fn mean(&self) -> Tensor<2> {
        self.z.clone()
    }

    fn detach(&self) -> Self {
        let penalty = self.penalty.clone().map(Tensor::detach);
        Self { z: self.z.clone().detach(), penalty, ..self.clone() }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self {
            z: self.z.clone().select(0, places.clone()),
            indices: self.indices.clone().map(|indices| indices.select(0, places.clone())),
            penalty: self.penalty.clone().map(|penalty| penalty.select(0, places)),
            codebook: self.codebook.clone(),
        }
    }

    /// Returns the codes, once for each sample.
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        let [batch, latent_dim] = self.z.dims();
        self.z.clone().unsqueeze_dim::<3>(0).expand([noise.dims()[0], batch, latent_dim])
    }

    fn penalty(&self) -> Option<Tensor<1>> {
        self.penalty.clone()
    }

    fn code_indices(&self) -> Option<CodeIndices> {
        let (codes, quantizers) = (self.codebook.codes(), self.codebook.quantizers());
        Some(CodeIndices::new(self.indices(), codes, quantizers))
    }
}

impl<C: Codebook> Pointwise for Quantized<C> {
    /// The penalty of an example is the mean over its positions.
    fn regroup(self, positions: usize) -> Self {
        let [rows, columns] = self.z.dims();
        let batch = rows / positions;
        let mean = |penalty: Tensor<1>| penalty.reshape([batch, positions]).mean_dim(1);
        Self {
            z: self.z.reshape([batch, positions * columns]),
            indices: self.indices.map(|indices| {
                let each = indices.dims()[1];
                indices.reshape([batch, positions * each])
            }),
            penalty: self.penalty.map(|penalty| mean(penalty).squeeze_dim(1)),
            codebook: self.codebook,
        }
    }
}

/// A head whose posteriors are codes from a codebook.
pub trait QuantizingHead: Head<Posterior = Quantized<Self::Codebook>> {
    /// The type of the codebook.
    type Codebook: Codebook;

    /// Returns the codebook in its present state.
    fn codebook(&self) -> Self::Codebook;
}

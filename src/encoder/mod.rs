//! Encoders: inference networks that map data to posteriors.

mod conv;
mod hierarchical;
mod mlp;
mod spatial;

pub use conv::{ConvEncoder, ConvEncoderConfig};
pub use hierarchical::{HierarchicalEncoder, HierarchicalEncoderConfig};
pub use mlp::{MlpEncoder, MlpEncoderConfig};
pub use spatial::{SpatialEncoder, SpatialEncoderConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::likelihood::Support;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Codebook, Posterior, Quantized, QuantizingHead};

/// An inference network: maps data `x` to the approximate posterior `q(z|x)`.
///
/// Components pass an example to each other as a vector of `data_dim` values. An encoder that uses
/// its structure (an image, a sequence) reshapes it internally.
pub trait Encoder: Module + ModuleDisplay {
    /// The family of `q(z|x)`.
    type Posterior: Posterior;

    /// The length of an example.
    fn data_dim(&self) -> usize;

    /// The length of a code.
    fn latent_dim(&self) -> usize;

    /// The lengths of the parts of a code: one per stochastic layer of a hierarchy, otherwise only
    /// the length of the whole code.
    fn latent_layers(&self) -> Vec<usize> {
        vec![self.latent_dim()]
    }

    /// The support of a code outside training; the prior must have the same one.
    fn latent_support(&self) -> Support {
        Support::Real
    }

    /// The noise that one sample of the posterior of one example needs.
    fn noise(&self) -> NoiseShape {
        NoiseShape::normal(self.latent_dim())
    }

    /// Maps each example to its posterior in the given phase.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    fn encode(&self, x: Tensor<2>, phase: Phase) -> Self::Posterior;
}

/// An encoder whose codes come from a codebook.
#[diagnostic::on_unimplemented(
    message = "the codes of `{Self}` do not come from a codebook",
    note = "choose a quantising family, such as `VectorQuantizedFamily`, with `with_posterior`"
)]
pub trait QuantizingEncoder: Encoder<Posterior = Quantized<Self::Codebook>> {
    /// The type of the codebook.
    type Codebook: Codebook;

    /// Returns the codebook in its present state.
    fn codebook(&self) -> Self::Codebook;
}

macro_rules! quantizing_encoder {
    ($($encoder:ident),+) => {$(
        impl<H: QuantizingHead> QuantizingEncoder for $encoder<H> {
            type Codebook = H::Codebook;

            fn codebook(&self) -> H::Codebook {
                self.head().codebook()
            }
        }
    )+};
}

quantizing_encoder!(MlpEncoder, ConvEncoder, SpatialEncoder);

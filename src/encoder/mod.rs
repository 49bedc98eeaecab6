//! Encoders: inference networks that map data to posteriors.

mod conv;
mod hierarchical;
mod mlp;

pub use conv::{ConvEncoder, ConvEncoderConfig};
pub use hierarchical::{HierarchicalEncoder, HierarchicalEncoderConfig};
pub use mlp::{MlpEncoder, MlpEncoderConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::likelihood::Support;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::summary::Layer;

/// An inference network: from data `x` to the approximate posterior `q(z|x)`.
///
/// An example is a vector of `data_dim` numbers wherever it passes between components. An encoder
/// that sees structure in it (an image, a sequence) reshapes it inside.
pub trait Encoder: Module + ModuleDisplay {
    /// The family of `q(z|x)`.
    type Posterior: Posterior;

    /// The length of an example.
    fn data_dim(&self) -> usize;

    /// The length of a code.
    fn latent_dim(&self) -> usize;

    /// The lengths of the parts that a code consists of: of the stochastic layers of a
    /// hierarchy, else the one of the whole.
    fn latent_layers(&self) -> Vec<usize> {
        vec![self.latent_dim()]
    }

    /// What the values of a code are outside training; a prior must be over the same.
    fn latent_support(&self) -> Support {
        Support::Real
    }

    /// The noise that one sample of the posterior of one example takes.
    fn noise(&self) -> NoiseShape {
        NoiseShape::normal(self.latent_dim())
    }

    /// Maps each example to its posterior, as it is in a phase.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    fn encode(&self, x: Tensor<2>, phase: Phase) -> Self::Posterior;

    /// The rows of a [`Summary`](crate::summary::Summary), one for each layer.
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::opaque(self, [self.latent_dim()])]
    }
}

//! Decoders: generative networks that map codes to the parameters of a likelihood.

mod conv;
mod hierarchical;
mod mlp;

pub use conv::{ConvDecoder, ConvDecoderConfig};
pub use hierarchical::{FirstLayerDecoder, FirstLayerDecoderConfig};
pub use mlp::{MlpDecoder, MlpDecoderConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::encoder::Encoder;
use crate::error::Result;

/// A generative network: maps a code `z` to the parameters of the likelihood `p(x|z)`.
///
/// The output is what the [`Likelihood`](crate::Likelihood) takes: `params_per_value` parameters
/// per value of an example. It is unconstrained: logits, not probabilities.
pub trait Decoder: Module + ModuleDisplay {
    /// The length of a code.
    fn latent_dim(&self) -> usize;

    /// The length of the output, `params_per_value * data_dim`.
    fn output_dim(&self) -> usize;

    /// Maps each code to the parameters of `p(x|z)`.
    ///
    /// # Shapes
    /// - `z`: `[n, latent_dim]`
    /// - output: `[n, output_dim]`
    fn decode(&self, z: Tensor<2>) -> Tensor<2>;

    /// Checks that the decoder can read this encoder's codes, beyond their length; called by
    /// [`Vae::new`](crate::Vae::new).
    ///
    /// # Errors
    /// If it cannot.
    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        let _ = encoder;
        Ok(())
    }
}

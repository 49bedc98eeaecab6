//! Decoders: generative networks that map codes to the parameters of a likelihood.

mod conv;
mod hierarchical;
mod mlp;
mod spatial;

pub use conv::{ConvDecoder, ConvDecoderConfig};
pub use hierarchical::{FirstLayerDecoder, FirstLayerDecoderConfig};
pub use mlp::{MlpDecoder, MlpDecoderConfig};
pub use spatial::{SpatialDecoder, SpatialDecoderConfig};

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

/// Reshapes the output of a convolutional decoder to rows: all values of the first parameter come
/// first, then those of the next.
///
/// # Shapes
/// - `y`: `[n, height, width, params * channels]`
/// - output: `[n, params * height * width * channels]`
fn parameters_first(y: Tensor<4>, params: usize) -> Tensor<2> {
    let [n, height, width, channels] = y.dims();
    match params {
        1 => y.flatten(1, 3),
        _ => {
            let y = y.reshape([n, height * width, params, channels / params]);
            y.swap_dims(1, 2).flatten(1, 3)
        }
    }
}

use burn::tensor::{Int, Tensor};

use super::Vae;
use crate::decoder::Decoder;
use crate::encoder::QuantizingEncoder;
use crate::error::{Error, Result};
use crate::likelihood::Likelihood;
use crate::posterior::Codebook;
use crate::prior::Prior;

/// Codes as indices, for models with a codebook.
impl<E: QuantizingEncoder, D: Decoder, L: Likelihood, P: Prior<E>> Vae<E, D, L, P> {
    /// Returns the indices of the code of each example.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - output: `[batch, groups * quantizers]`
    ///
    /// # Errors
    /// If the number of columns of `x` is not `data_dim`.
    pub fn encode_indices(&self, x: Tensor<2>) -> Result<Tensor<2, Int>> {
        Ok(self.encode(x)?.indices())
    }

    /// Returns the expected data `E[x|z]` of codes given by their indices.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups * quantizers]`
    /// - output: `[n, data_dim]`
    ///
    /// # Errors
    /// If the number of columns is not that of a code, or if an index is not that of a code.
    pub fn decode_indices(&self, indices: Tensor<2, Int>) -> Result<Tensor<2>> {
        let codebook = self.encoder.codebook();
        let expected = codebook.groups(self.latent_dim()) * codebook.quantizers();
        Error::check_columns("indices", indices.dims(), expected)?;
        self.decode(codebook.codes_of(indices)?)
    }
}

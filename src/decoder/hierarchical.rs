use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Decoder;
use crate::config::ModuleConfig;
use crate::describe::{Describe, Layer};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Configuration of a [`FirstLayerDecoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstLayerDecoderConfig<D> {
    /// The network applied to the first layer's codes.
    pub network: D,
    /// Length of a whole code, over all layers.
    pub latent_dim: usize,
}

/// The decoder of a hierarchy of stochastic layers, `p(x|z_1, .., z_n) = p(x|z_1)`. It passes the
/// first layer's part of a code to a network.
#[derive(Module, Debug)]
pub struct FirstLayerDecoder<D> {
    /// The network applied to the first layer's codes.
    pub network: D,
    #[module(skip)]
    latent_dim: usize,
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<D: Decoder> Decoder for FirstLayerDecoder<D> {
    fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    fn output_dim(&self) -> usize {
        self.network.output_dim()
    }

    fn check<E: Encoder>(&self, encoder: &E) -> Result<()> {
        let (mine, theirs) = (self.network.latent_dim(), encoder.latent_layers());
        if theirs.first() != Some(&mine) {
            return Err(Error::config(format!(
                "the decoder reads the first {mine} values of a code, but the encoder's layers \
                 have codes of lengths {theirs:?}"
            )));
        }
        let codes = theirs.iter().sum::<usize>();
        if codes != self.latent_dim {
            return Err(Error::config(format!(
                "the decoder takes codes of length {}, but the encoder's have length {codes}; it \
                 reads only the first layer, so it cannot see a condition after the code",
                self.latent_dim
            )));
        }
        Ok(())
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.network.decode(z.narrow(1, 0, self.network.latent_dim()))
    }
}

impl<D: Decoder + Describe> Describe for FirstLayerDecoder<D> {
    fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }
}

impl<D: Decoder> FirstLayerDecoder<D> {
    /// Wraps a network that reads the first part of codes of length `latent_dim`.
    ///
    /// # Errors
    /// If the network takes longer codes than that.
    pub fn new(network: D, latent_dim: usize) -> Result<Self> {
        if network.latent_dim() > latent_dim {
            return Err(Error::config(format!(
                "latent_dim is {latent_dim}, but the network takes codes of length {}",
                network.latent_dim()
            )));
        }
        Ok(Self { network, latent_dim })
    }
}

impl<C: ModuleConfig<Module: Decoder>> ModuleConfig for FirstLayerDecoderConfig<C> {
    type Module = FirstLayerDecoder<C::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        FirstLayerDecoder::new(self.network.init(seed, device)?, self.latent_dim)
    }
}

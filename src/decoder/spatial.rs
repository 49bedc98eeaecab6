use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Decoder, parameters_first};
use crate::config::{ModuleConfig, init_part};
use crate::describe::{Describe, Layer};
use crate::error::{Error, Result};
use crate::nn::{Block, Init, Network, NetworkConfig, Tiles, check_dim, values_of};
use crate::seed::Seed;

/// Configuration of a [`SpatialDecoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialDecoderConfig {
    /// The network from codes to images. Its last block outputs `params_per_value` channels for each
    /// channel of an image.
    pub network: NetworkConfig,
    /// Number of parameters that the likelihood needs per value of an example.
    pub params_per_value: usize,
}

impl SpatialDecoderConfig {
    /// Describes a network from codes of the given height, width and columns to the logits of images,
    /// for a likelihood with one parameter per value.
    pub fn new(layout: [usize; 3], blocks: impl Into<Vec<Block>>) -> Self {
        let network = NetworkConfig { input: layout, blocks: blocks.into(), init: Init::default() };
        Self { network, params_per_value: 1 }
    }

    /// Sets the number of parameters per value.
    pub fn with_params_per_value(self, params_per_value: usize) -> Self {
        Self { params_per_value, ..self }
    }
}

/// A convolutional network from a code at each position to an image; see
/// [`SpatialEncoder`](crate::encoder::SpatialEncoder).
#[derive(Module, Debug)]
pub struct SpatialDecoder {
    network: Network,
    #[module(skip)]
    params_per_value: usize,
}

impl SpatialDecoder {
    /// Height, width and columns of a code.
    pub fn layout(&self) -> [usize; 3] {
        self.network.input_shape()
    }

    /// Decodes codes of any height and width tile by tile; see [`Tiles`].
    ///
    /// # Shapes
    /// - `z`: `[n, height * width * columns]`, with the given height and width
    /// - output: the parameters of `p(x|z)` for the larger image, as [`decode`](Decoder::decode)
    ///   returns them
    ///
    /// # Errors
    /// If `z` has another number of columns, if the tiles overlap entirely, or if this network does not
    /// enlarge height and width by the same whole factor.
    pub fn decode_tiled(
        &self,
        z: Tensor<2>,
        [height, width]: [usize; 2],
        tiles: Tiles,
    ) -> Result<Tensor<2>> {
        let ([rows, lines, columns], output) = (self.layout(), self.network.output_shape());
        let factor = output[0] / rows;
        if [rows * factor, lines * factor] != output[..2] {
            return Err(Error::value(format!(
                "codes of {rows} x {lines} positions become {} x {} pixels, so tiles do not fit",
                output[0], output[1]
            )));
        }
        Error::check_columns("z", z.dims(), values_of([height, width, columns])?)?;
        let z = z.clone().reshape([z.dims()[0], height, width, columns]);
        let y = tiles.apply(&self.network, z, [1, factor])?;
        Ok(parameters_first(y, self.params_per_value))
    }
}

impl Decoder for SpatialDecoder {
    fn latent_dim(&self) -> usize {
        self.layout().iter().product()
    }

    fn output_dim(&self) -> usize {
        self.network.output_shape().iter().product()
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        let ([height, width, columns], n) = (self.layout(), z.dims()[0]);
        let y = self.network.forward(z.reshape([n, height, width, columns]));
        parameters_first(y, self.params_per_value)
    }
}

impl Describe for SpatialDecoder {
    fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }
}

impl ModuleConfig for SpatialDecoderConfig {
    type Module = SpatialDecoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<SpatialDecoder> {
        check_dim("params_per_value", self.params_per_value)?;
        let network = init_part("network", &self.network, seed, device)?;
        let channels = network.output_shape()[2];
        if !channels.is_multiple_of(self.params_per_value) {
            return Err(Error::config(format!(
                "the network outputs {channels} channels, which are not {} for each channel of an \
                 image",
                self.params_per_value
            )));
        }
        Ok(SpatialDecoder { network, params_per_value: self.params_per_value })
    }
}

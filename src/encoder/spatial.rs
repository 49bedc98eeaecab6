use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::{ModuleConfig, init_part};
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::nn::{Block, Init, Network, NetworkConfig, Tiles, values_of};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Diagonal, DiagonalHead, Family, Head, NewHead, Pointwise};
use crate::seed::Seed;

/// Configuration of a [`SpatialEncoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialEncoderConfig<F = Diagonal> {
    /// The network from images to features of each position.
    pub network: NetworkConfig,
    /// Length of the code of a position.
    pub columns: usize,
    /// The family of the posterior.
    pub posterior: F,
}

impl SpatialEncoderConfig {
    /// Describes a network from images of the given height, width and channels to codes of length
    /// `columns` for each pixel of its output.
    pub fn new(image: [usize; 3], blocks: impl Into<Vec<Block>>, columns: usize) -> Self {
        let network = NetworkConfig { input: image, blocks: blocks.into(), init: Init::default() };
        Self { network, columns, posterior: Diagonal }
    }
}

impl<F> SpatialEncoderConfig<F> {
    /// Sets the family of the posterior.
    pub fn with_posterior<G>(self, posterior: G) -> SpatialEncoderConfig<G> {
        SpatialEncoderConfig { network: self.network, columns: self.columns, posterior }
    }
}

/// A convolutional network whose output has a code at each position, not one for the whole image.
///
/// A code is the row of the codes of all positions, of height * width * columns values, with the
/// columns of a position adjacent, like the channels of a pixel. The same head maps the features of
/// each position, so it is a 1x1 convolution.
#[derive(Module, Debug)]
pub struct SpatialEncoder<H = DiagonalHead> {
    network: Network,
    head: H,
}

impl<H> SpatialEncoder<H> {
    /// The layer that maps the features of a position to its posterior.
    pub fn head(&self) -> &H {
        &self.head
    }

    fn positions(&self) -> usize {
        self.network.output_shape()[..2].iter().product()
    }
}

impl<H: Head> SpatialEncoder<H> {
    /// Height, width and columns of a code.
    pub fn layout(&self) -> [usize; 3] {
        let [height, width, _] = self.network.output_shape();
        [height, width, self.head.latent_dim()]
    }
}

impl<H: Head<Posterior: Pointwise>> SpatialEncoder<H> {
    /// Encodes images of any height and width tile by tile; see [`Tiles`].
    ///
    /// # Shapes
    /// - `x`: `[batch, height * width * channels]`, with the given height and width
    /// - output: posteriors over the codes of the larger image
    ///
    /// # Errors
    /// If `x` has another number of columns, if the tiles overlap entirely, if this network does not
    /// shrink height and width by the same whole factor, or if the images are not multiples of it.
    pub fn encode_tiled(
        &self,
        x: Tensor<2>,
        [height, width]: [usize; 2],
        tiles: Tiles,
    ) -> Result<H::Posterior> {
        let (input, [rows, lines, _]) = (self.network.input_shape(), self.network.output_shape());
        let factor = input[0] / rows.max(1);
        let fits = |[height, width]: [usize; 2], rows: usize, lines: usize| {
            [rows * factor, lines * factor] == [height, width]
        };
        let is_whole = fits([input[0], input[1]], rows, lines);
        if !is_whole || !fits([height, width], height / factor, width / factor) {
            return Err(Error::value(format!(
                "images of {height} x {width} pixels do not divide into positions of this network, \
                 which maps {} x {} pixels to {rows} x {lines}",
                input[0], input[1]
            )));
        }
        Error::check_columns("x", x.dims(), values_of([height, width, input[2]])?)?;
        let batch = x.dims()[0];
        let x = x.reshape([batch, height, width, input[2]]);
        let features = tiles.apply(&self.network, x, [factor, 1])?;
        let [_, height, width, channels] = features.dims();
        let rows = features.reshape([batch * height * width, channels]);
        Ok(self.head.forward(rows, Phase::Eval).regroup(height * width))
    }
}

impl<H: Head<Posterior: Pointwise>> Encoder for SpatialEncoder<H> {
    type Posterior = H::Posterior;

    fn data_dim(&self) -> usize {
        self.network.input_shape().iter().product()
    }

    fn latent_dim(&self) -> usize {
        self.layout().iter().product()
    }

    fn latent_support(&self) -> Support {
        self.head.latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.head.noise().repeat(self.positions())
    }

    fn encode(&self, x: Tensor<2>, phase: Phase) -> H::Posterior {
        let ([height, width, channels], batch) = (self.network.input_shape(), x.dims()[0]);
        let features = self.network.forward(x.reshape([batch, height, width, channels]));
        let [_, _, _, channels] = features.dims();
        let rows = features.reshape([batch * self.positions(), channels]);
        self.head.forward(rows, phase).regroup(self.positions())
    }
}

impl<H: Head + Describe> Describe for SpatialEncoder<H> {
    fn layers(&self) -> Vec<Layer> {
        let [height, width, _] = self.network.output_shape();
        let mut layers = self.network.layers();
        let above = layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        let head = Layer::all_after(&above, self.head.layers());
        layers.extend(head.into_iter().map(|mut layer| {
            layer.output = [height, width].into_iter().chain(layer.output).collect();
            layer
        }));
        layers
    }
}

impl<F: Family<Head: Head<Posterior: Pointwise>>> ModuleConfig for SpatialEncoderConfig<F> {
    type Module = SpatialEncoder<F::Head>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let network = init_part("network", &self.network, seed, device)?;
        let [height, width, features] = network.output_shape();
        let init = self.network.init;
        let new = NewHead { features, latent_dim: self.columns, init, seed, device };
        let head = self.posterior.init(&new)?;
        let size = [height, width, self.columns].iter().try_fold(1usize, |n, &m| n.checked_mul(m));
        if size.is_none() {
            return Err(Error::config(format!("codes of {} columns are too large", self.columns)));
        }
        Ok(SpatialEncoder { network, head })
    }
}

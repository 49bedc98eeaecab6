use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::ModuleConfig;
use crate::describe::{Describe, Layer, Stage};
use crate::error::Result;
use crate::likelihood::Support;
use crate::nn::{ConvBlock, ConvConfig, Mlp, MlpConfig, Norm, normalize};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Diagonal, DiagonalHead, Family, Head, NewHead};
use crate::seed::Seed;

/// Configuration of a [`ConvEncoder`]; see [`ConvConfig::encoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvEncoderConfig<F = Diagonal> {
    /// Configuration of the network, shared with the decoder.
    pub network: ConvConfig,
    /// The family of the posterior.
    pub posterior: F,
}

impl<F> ConvEncoderConfig<F> {
    /// Sets the family of the posterior.
    pub fn with_posterior<G>(self, posterior: G) -> ConvEncoderConfig<G> {
        ConvEncoderConfig { network: self.network, posterior }
    }
}

/// Convolutions, a dense layer and a head that maps its output to the posterior.
#[derive(Module, Debug)]
pub struct ConvEncoder<H = DiagonalHead> {
    blocks: Vec<ConvBlock>,
    dense: Mlp,
    norm: Option<Norm>,
    head: H,
    #[module(skip)]
    image: [usize; 3],
}

impl<H> ConvEncoder<H> {
    /// The last layers.
    pub fn head(&self) -> &H {
        &self.head
    }
}

impl<H: Head> ConvEncoder<H> {
    /// Returns the output of the last convolution, after its activation and normalisation.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - output: `[batch, height * width * channels]`, with the channels of each pixel adjacent
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        let [height, width, channels] = self.image;
        let x = x.reshape([-1, height as i32, width as i32, channels as i32]);
        self.blocks.iter().fold(x, |x, block| block.forward(x)).flatten(1, 3)
    }
}

impl<H: Head> Encoder for ConvEncoder<H> {
    type Posterior = H::Posterior;

    fn data_dim(&self) -> usize {
        self.image.iter().product()
    }

    fn latent_dim(&self) -> usize {
        self.head.latent_dim()
    }

    fn latent_support(&self) -> Support {
        self.head.latent_support()
    }

    fn noise(&self) -> NoiseShape {
        self.head.noise()
    }

    fn encode(&self, x: Tensor<2>, phase: Phase) -> H::Posterior {
        let features = normalize(&self.norm, self.dense.forward(self.features(x)));
        self.head.forward(features, phase)
    }
}

impl<H: Head + Describe> Describe for ConvEncoder<H> {
    fn layers(&self) -> Vec<Layer> {
        let blocks = self.blocks.iter().enumerate();
        let mut layers = blocks
            .flat_map(|(i, block)| block.layers(&format!("conv_{}", i + 1)))
            .collect::<Vec<_>>();
        layers.extend(self.dense.layers());
        if let Some(norm) = &self.norm {
            let units = self.dense.layers().last().map_or(vec![], |layer| layer.output.clone());
            layers.push(Layer::new("hidden_norm", norm.kind(), units, norm));
        }
        let trunk = layers.last().map(|layer| layer.name.clone()).unwrap_or_default();
        layers.extend(Layer::all_after(&trunk, self.head.layers()));
        layers
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        let blocks = self.blocks.iter().map(ConvBlock::stages).collect::<Option<Vec<_>>>()?;
        let mut stages = [blocks.concat(), self.dense.stages()].concat();
        if let Some(norm) = &self.norm {
            stages.push(norm.stage()?);
        }
        stages.extend(self.head.stages()?);
        Some(stages)
    }
}

impl<F: Family> ModuleConfig for ConvEncoderConfig<F> {
    type Module = ConvEncoder<F::Head>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let network = &self.network;
        network.check()?;
        let dense = MlpConfig {
            input_dim: network.smallest().iter().product(),
            hidden: network.dense.into_iter().collect(),
            activation: network.activation,
            init: network.init,
        };
        let trunk = dense.init(seed, device)?;
        let (features, latent_dim) = (dense.output_dim(), network.latent_dim);
        let new = NewHead { features, latent_dim, init: network.init, seed, device };
        Ok(ConvEncoder {
            blocks: network.down(seed, device)?,
            norm: match network.dense {
                Some(units) => network.normalization.init_dense(units, device)?,
                None => None,
            },
            head: self.posterior.init(&new)?,
            dense: trunk,
            image: network.image,
        })
    }
}

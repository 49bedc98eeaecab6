use burn::module::Module;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::ModuleConfig;
use crate::nn::{ConvBlock, ConvConfig, Mlp, MlpConfig, linear, normalize};
use crate::summary::Layer;
use crate::{DiagonalGaussian, Result, Seed};

/// Description of a [`ConvEncoder`]; see [`ConvConfig::encoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConvEncoderConfig {
    /// The network whose encoder it is.
    pub network: ConvConfig,
}

/// Convolutions, a dense layer, and two linear heads, the mean and the log-variance of a
/// [`DiagonalGaussian`].
#[derive(Module, Debug)]
pub struct ConvEncoder {
    blocks: Vec<ConvBlock>,
    dense: Mlp,
    norm: Option<BatchNorm>,
    mean: Linear,
    log_var: Linear,
    #[module(skip)]
    image: [usize; 3],
}

impl ConvEncoder {
    /// The output of the last convolution, its activation and normalisation.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - output: `[batch, height * width * channels]`, the channels of a pixel one after the other
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        let [height, width, channels] = self.image;
        let x = x.reshape([-1, height as i32, width as i32, channels as i32]);
        self.blocks.iter().fold(x, |x, block| block.forward(x)).flatten(1, 3)
    }
}

impl Encoder for ConvEncoder {
    type Posterior = DiagonalGaussian;

    fn data_dim(&self) -> usize {
        self.image.iter().product()
    }

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn encode(&self, x: Tensor<2>) -> DiagonalGaussian {
        let h = normalize(&self.norm, self.dense.forward(self.features(x)));
        DiagonalGaussian::new(linear(&self.mean, h.clone(), None), linear(&self.log_var, h, None))
    }

    fn layers(&self) -> Vec<Layer> {
        let blocks = self.blocks.iter().enumerate();
        let mut layers = blocks
            .flat_map(|(i, block)| block.layers(&format!("conv_{}", i + 1)))
            .collect::<Vec<_>>();
        layers.extend(self.dense.layers());
        if let Some(norm) = &self.norm {
            layers.push(Layer::new("hidden_norm", "BatchNorm", norm.gamma.dims(), norm));
        }
        let trunk = layers.last().map(|layer| layer.name.clone()).unwrap_or_default();
        for (name, head) in [("mean", &self.mean), ("log_var", &self.log_var)] {
            layers.push(Layer::linear(name, "Linear", head).after(&trunk));
        }
        layers
    }
}

impl ModuleConfig for ConvEncoderConfig {
    type Module = ConvEncoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<ConvEncoder> {
        let network = &self.network;
        network.check()?;
        let dense = MlpConfig {
            input_dim: network.smallest().iter().product(),
            hidden: network.dense.into_iter().collect(),
            activation: network.activation,
            init: network.init,
        };
        let trunk = dense.init(seed, device)?;
        let head = |name| {
            let (fan_in, seed) = (dense.output_dim(), seed.child(name));
            network.init.linear(fan_in, network.latent_dim, seed, device)
        };
        Ok(ConvEncoder {
            blocks: network.down(seed, device)?,
            norm: match network.dense {
                Some(units) => network.normalization.init(units, device)?,
                None => None,
            },
            mean: head("mean")?,
            log_var: head("log_var")?,
            dense: trunk,
            image: network.image,
        })
    }
}

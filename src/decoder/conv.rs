use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Decoder, parameters_first};
use crate::config::ModuleConfig;
use crate::describe::{Describe, Layer, Stage};
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvBlock, ConvConfig, Norm, check_dim, linear, normalize};
use crate::seed::Seed;

/// Configuration of a [`ConvDecoder`]; see [`ConvConfig::decoder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvDecoderConfig {
    /// Configuration of the network, shared with the encoder.
    pub network: ConvConfig,
    /// Number of parameters that the likelihood needs per value of an example.
    pub params_per_value: usize,
}

impl ConvDecoderConfig {
    /// Sets the number of parameters per value.
    pub fn with_params_per_value(self, params_per_value: usize) -> Self {
        Self { params_per_value, ..self }
    }
}

/// A dense layer and transposed convolutions, the mirror image of a
/// [`ConvEncoder`](crate::encoder::ConvEncoder).
#[derive(Module, Debug)]
pub struct ConvDecoder {
    dense: Linear,
    norm: Option<Norm>,
    blocks: Vec<ConvBlock>,
    output: Conv,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    smallest: [usize; 3],
    #[module(skip)]
    params_per_value: usize,
}

impl Decoder for ConvDecoder {
    fn latent_dim(&self) -> usize {
        self.dense.weight.dims()[0]
    }

    fn output_dim(&self) -> usize {
        self.output.output_shape().iter().product()
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        let n = z.dims()[0];
        let [height, width, channels] = self.smallest;
        let h = normalize(&self.norm, linear(&self.dense, z, Some(self.activation)));
        let h = h.reshape([n, height, width, channels]);
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h));
        parameters_first(self.output.forward(h, false), self.params_per_value)
    }
}

impl Describe for ConvDecoder {
    fn layers(&self) -> Vec<Layer> {
        let kind = format!("Linear + {:?}", self.activation);
        let mut layers = vec![Layer::linear("dense", kind, &self.dense)];
        if let Some(norm) = &self.norm {
            layers.push(Layer::new("dense_norm", norm.kind(), [self.dense.weight.dims()[1]], norm));
        }
        for (i, block) in self.blocks.iter().enumerate() {
            layers.extend(block.layers(&format!("conv_{}", i + 1)));
        }
        layers.push(self.output.layer("output", ""));
        layers
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        let mut stages = vec![Stage::linear(&self.dense), Stage::Activation(self.activation)];
        if let Some(norm) = &self.norm {
            stages.push(norm.stage()?);
        }
        for block in &self.blocks {
            stages.extend(block.stages()?);
        }
        stages.push(self.output.stage());
        if self.params_per_value > 1 {
            let (params, [_, _, channels]) = (self.params_per_value, self.output.output_shape());
            stages.push(Stage::ParametersFirst { params, channels });
        }
        Some(stages)
    }
}

impl ModuleConfig for ConvDecoderConfig {
    type Module = ConvDecoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<ConvDecoder> {
        let network = &self.network;
        network.check()?;
        check_dim("params_per_value", self.params_per_value)?;
        let smallest = network.smallest();
        let size = smallest.iter().product();
        let channels = network.image[2].checked_mul(self.params_per_value).ok_or_else(|| {
            Error::config(format!(
                "params_per_value is {}, which is too large",
                self.params_per_value
            ))
        })?;
        Ok(ConvDecoder {
            dense: network.init.linear(network.latent_dim, size, seed.child("dense"), device)?,
            norm: network.normalization.init_dense(size, device)?,
            blocks: network.up(seed, device)?,
            output: network.output(channels, seed.child("output"), device)?,
            activation: network.activation,
            smallest,
            params_per_value: self.params_per_value,
        })
    }
}

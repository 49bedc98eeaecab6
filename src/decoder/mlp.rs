use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Decoder;
use crate::config::ModuleConfig;
use crate::describe::{Describe, Layer, Stage};
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Mlp, MlpConfig, check_dim, linear};
use crate::seed::Seed;

/// Configuration of an [`MlpDecoder`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `latent_dim` | | length of a code |
/// | `hidden` | | units of each hidden layer; if empty, logistic factor analysis |
/// | `output_dim` | | length of the output |
/// | `activation` | ReLU | activation after each hidden layer |
/// | `init` | Glorot uniform | distribution of the initial weights |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpDecoderConfig {
    /// Length of a code.
    pub latent_dim: usize,
    /// Units of each hidden layer, from code to data.
    pub hidden: Vec<usize>,
    /// Length of the output.
    pub output_dim: usize,
    /// Activation after each hidden layer.
    #[serde(default)]
    pub activation: Activation,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

impl MlpDecoderConfig {
    /// Describes a decoder with ReLU layers, Glorot uniform weights and zero biases.
    pub fn new(latent_dim: usize, hidden: impl Into<Vec<usize>>, output_dim: usize) -> Self {
        Self {
            latent_dim,
            hidden: hidden.into(),
            output_dim,
            activation: Activation::default(),
            init: Init::default(),
        }
    }

    /// Sets the activation after each hidden layer.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Sets the distribution of the initial weights.
    pub fn with_init(self, init: Init) -> Self {
        Self { init, ..self }
    }
}

/// A multi-layer perceptron with a linear output.
///
/// Without hidden layers and with the Bernoulli likelihood, the model is logistic factor analysis.
#[derive(Module, Debug)]
pub struct MlpDecoder {
    hidden: Mlp,
    output: Linear,
}

impl MlpDecoder {
    /// Replaces the biases of the output layer, one per output.
    ///
    /// If they start at the logits of the mean of the training data, a decoder of binary pixels
    /// need not first learn which pixels are always black.
    ///
    /// # Errors
    /// If the number of biases differs from the number of outputs, or if one is not finite.
    pub fn with_output_bias(mut self, bias: &[f32]) -> Result<Self> {
        Error::check_columns("the biases", [1, bias.len()], self.output_dim())?;
        if let Some(i) = bias.iter().position(|bias| !bias.is_finite()) {
            return Err(Error::value(format!("bias {i} is {}, but it must be finite", bias[i])));
        }
        let device = self.output.weight.device();
        self.output.bias = Some(Param::from_tensor(Tensor::from_data(bias, &device)));
        Ok(self)
    }
}

impl Decoder for MlpDecoder {
    fn latent_dim(&self) -> usize {
        self.hidden.input_dim().unwrap_or_else(|| self.output.weight.dims()[0])
    }

    fn output_dim(&self) -> usize {
        self.output.weight.dims()[1]
    }

    fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        linear(&self.output, self.hidden.forward(z), None)
    }
}

impl Describe for MlpDecoder {
    fn layers(&self) -> Vec<Layer> {
        let mut layers = self.hidden.layers();
        layers.push(Layer::linear("output", "Linear", &self.output));
        layers
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        let mut stages = self.hidden.stages();
        stages.push(Stage::linear(&self.output));
        Some(stages)
    }
}

impl ModuleConfig for MlpDecoderConfig {
    type Module = MlpDecoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<MlpDecoder> {
        check_dim("latent_dim", self.latent_dim)?;
        check_dim("output_dim", self.output_dim)?;
        let hidden = MlpConfig {
            input_dim: self.latent_dim,
            hidden: self.hidden.clone(),
            activation: self.activation,
            init: self.init,
        };
        let fan_in = hidden.output_dim();
        Ok(MlpDecoder {
            hidden: hidden.init(seed, device)?,
            output: self.init.linear(fan_in, self.output_dim, seed.child("output"), device)?,
        })
    }
}

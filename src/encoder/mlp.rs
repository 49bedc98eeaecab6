use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::ModuleConfig;
use crate::nn::{Activation, Init, Mlp, MlpConfig, check_dim, linear};
use crate::summary::{INPUT, Layer};
use crate::{DiagonalGaussian, Result, Seed};

/// Description of an [`MlpEncoder`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `data_dim` | | length of an example |
/// | `hidden` | | units of each hidden layer; may be empty |
/// | `latent_dim` | | length of a code |
/// | `activation` | ReLU | function after each hidden layer |
/// | `init` | Glorot uniform | where the weights start |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpEncoderConfig {
    /// Length of an example.
    pub data_dim: usize,
    /// Units of each hidden layer, from data to code.
    pub hidden: Vec<usize>,
    /// Length of a code.
    pub latent_dim: usize,
    /// The function after each hidden layer.
    #[serde(default)]
    pub activation: Activation,
    /// Where the weights start.
    #[serde(default)]
    pub init: Init,
}

impl MlpEncoderConfig {
    /// ReLU layers, Glorot uniform weights, zero biases.
    pub fn new(data_dim: usize, hidden: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        Self {
            data_dim,
            hidden: hidden.into(),
            latent_dim,
            activation: Activation::default(),
            init: Init::default(),
        }
    }

    /// Another function after each hidden layer.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Another distribution of fresh weights.
    pub fn with_init(self, init: Init) -> Self {
        Self { init, ..self }
    }
}

/// A multi-layer perceptron with two linear heads, the mean and the log-variance of a
/// [`DiagonalGaussian`].
#[derive(Module, Debug)]
pub struct MlpEncoder {
    hidden: Mlp,
    mean: Linear,
    log_var: Linear,
}

impl Encoder for MlpEncoder {
    type Posterior = DiagonalGaussian;

    fn data_dim(&self) -> usize {
        self.hidden.input_dim().unwrap_or_else(|| self.mean.weight.dims()[0])
    }

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn encode(&self, x: Tensor<2>) -> DiagonalGaussian {
        let h = self.hidden.forward(x);
        DiagonalGaussian::new(linear(&self.mean, h.clone(), None), linear(&self.log_var, h, None))
    }

    fn layers(&self) -> Vec<Layer> {
        let mut layers = self.hidden.layers();
        let trunk = layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        for (name, head) in [("mean", &self.mean), ("log_var", &self.log_var)] {
            layers.push(Layer::linear(name, "Linear", head).after(&trunk));
        }
        layers
    }
}

impl ModuleConfig for MlpEncoderConfig {
    type Module = MlpEncoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<MlpEncoder> {
        check_dim("data_dim", self.data_dim)?;
        check_dim("latent_dim", self.latent_dim)?;
        let hidden = MlpConfig {
            input_dim: self.data_dim,
            hidden: self.hidden.clone(),
            activation: self.activation,
            init: self.init,
        };
        let trunk = hidden.init(seed, device)?;
        let head =
            |name| self.init.linear(hidden.output_dim(), self.latent_dim, seed.child(name), device);
        Ok(MlpEncoder { hidden: trunk, mean: head("mean")?, log_var: head("log_var")? })
    }
}

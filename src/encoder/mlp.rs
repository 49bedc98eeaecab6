use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Encoder;
use crate::config::ModuleConfig;
use crate::describe::{Describe, INPUT, Layer, Stage};
use crate::error::Result;
use crate::likelihood::Support;
use crate::nn::{Activation, Init, Mlp, MlpConfig, check_dim};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Diagonal, DiagonalHead, Family, Head, NewHead};
use crate::seed::Seed;

/// Configuration of an [`MlpEncoder`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `data_dim` | | length of an example |
/// | `hidden` | | units of each hidden layer; may be empty |
/// | `latent_dim` | | length of a code |
/// | `activation` | ReLU | activation after each hidden layer |
/// | `init` | Glorot uniform | distribution of the initial weights |
/// | `posterior` | [`Diagonal`] | family of the posterior |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpEncoderConfig<F = Diagonal> {
    /// Length of an example.
    pub data_dim: usize,
    /// Units of each hidden layer, from data to code.
    pub hidden: Vec<usize>,
    /// Length of a code.
    pub latent_dim: usize,
    /// Activation after each hidden layer.
    #[serde(default)]
    pub activation: Activation,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
    /// The family of the posterior.
    pub posterior: F,
}

impl MlpEncoderConfig {
    /// Describes an encoder with ReLU layers, Glorot uniform weights, zero biases and a diagonal
    /// Gaussian posterior.
    pub fn new(data_dim: usize, hidden: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        Self {
            data_dim,
            hidden: hidden.into(),
            latent_dim,
            activation: Activation::default(),
            init: Init::default(),
            posterior: Diagonal,
        }
    }
}

impl<F> MlpEncoderConfig<F> {
    /// Sets the family of the posterior.
    pub fn with_posterior<G>(self, posterior: G) -> MlpEncoderConfig<G> {
        let Self { data_dim, hidden, latent_dim, activation, init, .. } = self;
        MlpEncoderConfig { data_dim, hidden, latent_dim, activation, init, posterior }
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

/// A multi-layer perceptron and a head that maps its output to the posterior.
#[derive(Module, Debug)]
pub struct MlpEncoder<H = DiagonalHead> {
    trunk: Mlp,
    head: H,
    #[module(skip)]
    data_dim: usize,
}

impl<H> MlpEncoder<H> {
    /// The last layers.
    pub fn head(&self) -> &H {
        &self.head
    }
}

impl<H: Head> Encoder for MlpEncoder<H> {
    type Posterior = H::Posterior;

    fn data_dim(&self) -> usize {
        self.data_dim
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
        self.head.forward(self.trunk.forward(x), phase)
    }
}

impl<H: Head + Describe> Describe for MlpEncoder<H> {
    fn layers(&self) -> Vec<Layer> {
        let mut layers = self.trunk.layers();
        let trunk = layers.last().map_or(INPUT.to_string(), |layer| layer.name.clone());
        layers.extend(Layer::all_after(&trunk, self.head.layers()));
        layers
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        Some([self.trunk.stages(), self.head.stages()?].concat())
    }
}

impl<F: Family> ModuleConfig for MlpEncoderConfig<F> {
    type Module = MlpEncoder<F::Head>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        check_dim("data_dim", self.data_dim)?;
        check_dim("latent_dim", self.latent_dim)?;
        let trunk = MlpConfig {
            input_dim: self.data_dim,
            hidden: self.hidden.clone(),
            activation: self.activation,
            init: self.init,
        };
        let (features, latent_dim) = (trunk.output_dim(), self.latent_dim);
        let new = NewHead { features, latent_dim, init: self.init, seed, device };
        Ok(MlpEncoder {
            trunk: trunk.init(seed, device)?,
            head: self.posterior.init(&new)?,
            data_dim: self.data_dim,
        })
    }
}

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Posterior;
use crate::error::Result;
use crate::likelihood::Support;
use crate::nn::Init;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::seed::Seed;

/// A family of posteriors: the configuration of an encoder's last layers.
///
/// The encoders of this crate consist of a trunk, which outputs features of the data, and a
/// [`Head`], which maps the features to the posterior. The trunk's configuration takes any family,
/// so any posterior goes with any network:
///
/// ```
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::Diagonal;
///
/// let encoder = MlpEncoderConfig::new(784, [200, 200], 50).with_posterior(Diagonal);
/// assert_eq!(encoder, MlpEncoderConfig::new(784, [200, 200], 50)); // the default
/// ```
pub trait Family: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// The layers that the configuration builds.
    type Head: Head;

    /// Builds the layers with fresh weights.
    ///
    /// # Errors
    /// If the family has no such posterior.
    fn init(&self, new: &NewHead) -> Result<Self::Head>;
}

/// What a head is built for and from.
#[derive(Clone, Copy, Debug)]
pub struct NewHead<'a> {
    /// Number of features of an example.
    pub features: usize,
    /// Length of a code.
    pub latent_dim: usize,
    /// Distribution of the initial weights.
    pub init: Init,
    /// Seed of the weights.
    pub seed: Seed,
    /// Device of the weights.
    pub device: &'a Device,
}

impl NewHead<'_> {
    /// Creates a fully connected layer from the features to the columns of a code, with a seed of its
    /// name.
    ///
    /// # Errors
    /// If the layer has no or too many weights; see [`Init::linear`].
    pub fn linear(&self, name: &str) -> Result<Linear> {
        let Self { features, latent_dim, init, seed, device } = *self;
        init.linear(features, latent_dim, seed.child(name), device)
    }
}

/// The last layers of an encoder: maps features of the data to the posterior.
pub trait Head: Module + ModuleDisplay {
    /// The family of `q(z|x)`.
    type Posterior: Posterior;

    /// The length of a code.
    fn latent_dim(&self) -> usize;

    /// The support of a code outside training; the prior must have the same one.
    fn latent_support(&self) -> Support {
        Support::Real
    }

    /// The noise that one sample of the posterior of one example needs.
    fn noise(&self) -> NoiseShape {
        NoiseShape::normal(self.latent_dim())
    }

    /// Maps the features of each example to its posterior in the given phase.
    ///
    /// # Shapes
    /// - `features`: `[batch, features]`
    fn forward(&self, features: Tensor<2>, phase: Phase) -> Self::Posterior;
}

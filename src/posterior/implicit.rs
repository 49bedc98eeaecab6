use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::{Family, Head, NewHead, Posterior};
use crate::config::{named, named_config};
use crate::describe::{Describe, INPUT, Layer};
use crate::encoder::{MlpEncoder, MlpEncoderConfig};
use crate::error::Result;
use crate::nn::{Activation, Joint, JointDims, check_dim};
use crate::noise::NoiseShape;
use crate::phase::Phase;

/// The family of [`ImplicitPosterior`]s: `z = g(f(x), eps)` with a perceptron `g` that takes noise.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `hidden` | | units of the hidden layers of `g`; may be empty |
/// | `noise_dim` | length of a code | noise values per sample |
/// | `activation` | ReLU | activation after each of these layers |
///
/// The noise enters after the trunk, which runs once for all samples of an example (Mescheder et
/// al. 2017, figure 2b and section 2.2: noise as an additional input of the inference network).
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::{Encoder, ModuleConfig, Seed};
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::Implicit;
///
/// let config = MlpEncoderConfig::new(784, [256], 8).with_posterior(Implicit::new([256]));
/// let encoder = config.init(Seed::new(0), &Device::flex())?;
/// assert_eq!(encoder.noise().dim(), 8);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implicit {
    /// Units of the layers that mix features and noise.
    pub hidden: Vec<usize>,
    /// Noise values per sample; the length of a code by default.
    pub noise_dim: Option<usize>,
    /// Activation after each of these layers.
    pub activation: Activation,
}

impl Implicit {
    /// Describes ReLU layers, with one noise value per entry of a code.
    pub fn new(hidden: impl Into<Vec<usize>>) -> Self {
        Self { hidden: hidden.into(), noise_dim: None, activation: Activation::default() }
    }

    /// Sets the number of noise values. If there are fewer than entries of a code, the samples of
    /// an example lie on a lower-dimensional surface, on which their density is infinite.
    pub fn with_noise_dim(self, noise_dim: usize) -> Self {
        Self { noise_dim: Some(noise_dim), ..self }
    }

    /// Sets the activation after each layer.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }
}

named_config!(Implicit, Implicit { hidden: Vec<usize>, noise_dim: Option<usize>, activation: Activation });

/// An MLP encoder with an [`ImplicitPosterior`].
pub type ImplicitEncoder = MlpEncoder<ImplicitHead>;

/// Configuration of an [`ImplicitEncoder`].
pub type ImplicitEncoderConfig = MlpEncoderConfig<Implicit>;

/// The perceptron that maps features and noise to the samples of an [`ImplicitPosterior`].
#[derive(Module, Debug)]
pub struct ImplicitHead {
    network: Joint,
}

impl Family for Implicit {
    type Head = ImplicitHead;

    fn init(&self, new: &NewHead) -> Result<ImplicitHead> {
        let NewHead { features, latent_dim, init, seed, device } = *new;
        let noise_dim = self.noise_dim.unwrap_or(latent_dim);
        check_dim("noise_dim", noise_dim)?;
        let dims =
            JointDims { one: features, many: noise_dim, hidden: &self.hidden, output: latent_dim };
        let seed = seed.child("implicit");
        let network = Joint::new(dims, self.activation, init, seed, device);
        Ok(ImplicitHead { network: named("posterior", network)? })
    }
}

impl Describe for ImplicitHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::opaque(self, [self.latent_dim()]).after(INPUT)]
    }
}

impl Head for ImplicitHead {
    type Posterior = ImplicitPosterior;

    fn latent_dim(&self) -> usize {
        self.network.output_dim()
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::normal(self.network.input_dims()[1])
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> ImplicitPosterior {
        ImplicitPosterior { features, network: self.network.clone() }
    }
}

/// `z = g(f(x), eps)` with `eps ~ N(0, I)`: samples of a distribution that may have any shape and
/// whose density is unknown (Mescheder et al. 2017, section 2.2).
///
/// It is a [`Posterior`] but not a [`Density`](super::Density), so it works only with components
/// that need nothing but samples, such as [`AdversarialElbo`](crate::objective::AdversarialElbo)
/// and [`Mmd`](crate::divergence::Mmd).
#[derive(Clone, Debug)]
pub struct ImplicitPosterior {
    features: Tensor<2>,
    network: Joint,
}

impl Posterior for ImplicitPosterior {
    fn dims(&self) -> [usize; 2] {
        [self.features.dims()[0], self.network.output_dim()]
    }

    /// Returns the sample at zero noise. It is not the mean of the distribution, which has no
    /// closed form.
    fn mean(&self) -> Tensor<2> {
        let [batch, _] = self.features.dims();
        let dims = [1, batch, self.network.input_dims()[1]];
        self.rsample(Tensor::zeros(dims, &self.features.device())).squeeze_dim(0)
    }

    fn detach(&self) -> Self {
        Self { features: self.features.clone().detach(), network: self.network.clone().no_grad() }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self { features: self.features.clone().select(0, places), network: self.network.clone() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        self.network.forward(self.features.clone(), noise)
    }
}

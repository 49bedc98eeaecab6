use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::ModuleConfig;
use crate::error::Result;
use crate::math::softplus;
use crate::nn::{Activation, Init, Joint, JointDims, check_dim};
use crate::seed::Seed;

/// A network `T(x, z)` that separates posterior codes from prior codes and thereby estimates the
/// ratio of their densities.
///
/// Trained to the minimum of [`DensityRatio::loss`] and flexible enough, it equals (Mescheder et
/// al. 2017, eq. 3.3 and proposition 1)
///
/// `T*(x, z) = log q(z|x) - log p(z)`
///
/// # Implementing one
/// ```
/// use burn::module::Module;
/// use burn::nn::Linear;
/// use burn::tensor::Tensor;
/// use burn_vae::adversarial::Discriminator;
///
/// /// Looks at the squares of a code, and at no data.
/// #[derive(Module, Debug)]
/// struct Squares {
///     data_dim: usize,
///     layer: Linear,
/// }
///
/// impl Discriminator for Squares {
///     fn data_dim(&self) -> usize {
///         self.data_dim
///     }
///     fn latent_dim(&self) -> usize {
///         self.layer.weight.dims()[0]
///     }
///     fn logits(&self, _x: Tensor<2>, z: Tensor<3>) -> Tensor<2> {
///         self.layer.forward(z.square()).squeeze_dim(2)
///     }
/// }
/// ```
pub trait Discriminator: Module + ModuleDisplay {
    /// Returns the length of an example.
    fn data_dim(&self) -> usize;

    /// Returns the length of a code.
    fn latent_dim(&self) -> usize;

    /// Returns `T(x, z)`, the logit of the probability that a code comes from the posterior.
    ///
    /// # Shapes
    /// - `x`: `[batch, data_dim]`
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    fn logits(&self, x: Tensor<2>, z: Tensor<3>) -> Tensor<2>;
}

/// A density ratio learned by classifying samples (Sugiyama et al. 2012, section 4; Mescheder et
/// al. 2017, eq. 3.3).
///
/// The methods take the classifier's logits `T` at samples of `q` and of `p`, equally many of each:
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::adversarial::DensityRatio;
///
/// // A classifier that cannot tell: T = 0, the ratio 1, the divergence 0, the loss 2 log 2.
/// let logits = Tensor::<2>::zeros([5, 3], &Device::flex());
/// let loss = DensityRatio.loss(logits.clone(), logits.clone()).mean().into_scalar::<f32>();
/// assert!((loss - 4f32.ln()).abs() < 1e-6);
/// assert_eq!(DensityRatio.kl(logits).dims(), [3]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DensityRatio;

impl DensityRatio {
    /// Returns the logistic loss `-log sigmoid(T(z_q)) - log(1 - sigmoid(T(z_p)))` of each pair, in
    /// nats. Its expectation is minimal at `T = log q - log p`.
    ///
    /// # Shapes
    /// All equal.
    pub fn loss<const D: usize>(&self, of_q: Tensor<D>, of_p: Tensor<D>) -> Tensor<D> {
        softplus(of_q.neg()) + softplus(of_p)
    }

    /// Returns `1/K sum_k T(z_k)` with `z_k ~ q`, an estimate of `KL(q || p)` in nats. Its accuracy
    /// depends on `T`; it bounds the divergence from neither side.
    ///
    /// # Shapes
    /// From `[num_samples, batch]` to `[batch]`.
    pub fn kl(&self, of_q: Tensor<2>) -> Tensor<1> {
        crate::math::mean_over_samples(of_q)
    }
}

/// Configuration of an [`MlpDiscriminator`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `data_dim` | | length of an example |
/// | `latent_dim` | | length of a code |
/// | `hidden` | | units of each hidden layer; may be empty |
/// | `activation` | ReLU | activation after each hidden layer |
/// | `init` | Glorot uniform | distribution of the initial weights |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpDiscriminatorConfig {
    /// Length of an example.
    pub data_dim: usize,
    /// Length of a code.
    pub latent_dim: usize,
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Activation after each hidden layer.
    #[serde(default)]
    pub activation: Activation,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

impl MlpDiscriminatorConfig {
    /// Uses ReLU layers, Glorot uniform weights and zero biases.
    pub fn new(data_dim: usize, latent_dim: usize, hidden: impl Into<Vec<usize>>) -> Self {
        Self {
            data_dim,
            latent_dim,
            hidden: hidden.into(),
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

/// An MLP with one output, applied to the concatenation of an example and a code.
#[derive(Module, Debug)]
pub struct MlpDiscriminator {
    network: Joint,
}

impl ModuleConfig for MlpDiscriminatorConfig {
    type Module = MlpDiscriminator;

    fn init(&self, seed: Seed, device: &Device) -> Result<MlpDiscriminator> {
        check_dim("data_dim", self.data_dim)?;
        check_dim("latent_dim", self.latent_dim)?;
        let dims = JointDims {
            one: self.data_dim,
            many: self.latent_dim,
            hidden: &self.hidden,
            output: 1,
        };
        Ok(MlpDiscriminator {
            network: Joint::new(dims, self.activation, self.init, seed, device)?,
        })
    }
}

impl Discriminator for MlpDiscriminator {
    fn data_dim(&self) -> usize {
        self.network.input_dims()[0]
    }

    fn latent_dim(&self) -> usize {
        self.network.input_dims()[1]
    }

    fn logits(&self, x: Tensor<2>, z: Tensor<3>) -> Tensor<2> {
        self.network.forward(x, z).squeeze_dim(2)
    }
}

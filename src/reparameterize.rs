//! The reparameterisation trick.

use burn::tensor::Tensor;

use crate::ops;

/// The location-scale map `z = mean + exp(log_var / 2) * eps`.
///
/// It is a sample of a diagonal Gaussian, as a differentiable function of its parameters and of
/// noise that does not depend on them (Kingma and Welling 2014, section 2.4). The noise is an
/// argument and is never drawn here, so that all randomness enters a model in one place. One call
/// maps any number of Monte Carlo samples.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::Reparameterize;
///
/// let device = Device::flex();
/// let mean = Tensor::<2>::from_data([[1.0, -1.0]], &device);
/// let log_var = Tensor::<2>::zeros([1, 2], &device);
/// let eps = Tensor::<3>::from_data([[[0.5, 2.0]], [[0.0, 0.0]]], &device);
///
/// let z = Reparameterize.forward(mean, log_var, eps);
/// assert_eq!(z.into_data().try_to_vec::<f32>().unwrap(), [1.5, 1.0, 1.0, -1.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reparameterize;

impl Reparameterize {
    /// Maps noise to samples.
    ///
    /// # Shapes
    /// - `mean`, `log_var`: `[batch, latent_dim]`
    /// - `noise`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch, latent_dim]`
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn forward(&self, mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
        ops::rsample(mean, log_var, noise)
    }
}

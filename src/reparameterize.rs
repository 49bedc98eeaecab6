//! The reparameterisation trick.

use burn::tensor::Tensor;

/// The location-scale map `z = mean + exp(log_var / 2) * eps`.
///
/// A sample of a diagonal Gaussian as a differentiable function of its parameters and of noise that
/// does not depend on them (Kingma and Welling 2014, section 2.4). The noise is an argument, never
/// drawn here, so that all randomness enters a model by one door; any number of Monte Carlo samples
/// is one call.
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
        let [_, batch, latent_dim] = noise.dims();
        assert_eq!(mean.dims(), [batch, latent_dim], "means and noise differ in shape");
        assert_eq!(log_var.dims(), mean.dims(), "means and log-variances differ in shape");
        #[cfg(feature = "flex")]
        if crate::fused::runs_on(&noise) && crate::fused::runs_on(&mean) {
            return crate::fused::gaussian::reparameterize(mean, log_var, noise);
        }
        plain(mean, log_var, noise)
    }
}

fn plain(mean: Tensor<2>, log_var: Tensor<2>, noise: Tensor<3>) -> Tensor<3> {
    let std = log_var.mul_scalar(0.5).exp();
    mean.unsqueeze_dim(0) + std.unsqueeze_dim(0) * noise
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::NoiseSource;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let len = shape.iter().product();
        let draw = NoiseSource::new(seed).draw(0, [1, 1, len], &Device::flex());
        Tensor::from_inner(draw.reshape(shape)).require_grad()
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.without_autodiff().into_data().try_to_vec().unwrap()
    }

    type Map = fn(Tensor<2>, Tensor<2>, Tensor<3>) -> Tensor<3>;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The fused operation against tensor operations, value and all gradients.
        #[test]
        fn fused_and_plain_agree(samples in 1usize..5, batch in 1usize..7, latent_dim in 1usize..9) {
            let run = |map: Map| {
                let [mean, log_var] = [1, 2].map(|seed| random([batch, latent_dim], seed));
                let noise = random([samples, batch, latent_dim], 3);
                let weigh = random([samples, batch, latent_dim], 4).detach();
                let z = map(mean.clone(), log_var.clone(), noise.clone());
                let gradients = (z.clone() * weigh).sum().backward();
                let d = |x: Tensor<2>| values(x.grad(&gradients).unwrap());
                [values(z), d(mean), d(log_var), values(noise.grad(&gradients).unwrap())]
            };
            let fused = run(|mean, log_var, noise| Reparameterize.forward(mean, log_var, noise));
            for (fused, plain) in fused.iter().zip(&run(plain)) {
                prop_assert_eq!(fused.len(), plain.len());
                for (fused, plain) in fused.iter().zip(plain) {
                    prop_assert!((fused - plain).abs() < 1e-5 * plain.abs().max(1.0), "{} {}", fused, plain);
                }
            }
        }
    }
}

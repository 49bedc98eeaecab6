//! The one source of randomness in a forward pass.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use crate::Seed;
use crate::error::{Error, Result};

/// Draws the noise `eps` that [`Reparameterize`](crate::Reparameterize) turns into samples.
///
/// The forward pass of a model is a function of its input and of an explicit noise tensor; this
/// object draws that tensor, `eps ~ N(0, std^2)`. The draw is a pure function of the seed and of
/// the step, the same on every backend.
///
/// `std` is the `epsilon_std` of the Keras examples. It is 1 for a variational autoencoder: with
/// any other value the samples no longer follow the posterior that the divergence is computed for,
/// so the reported NELBO is no bound. It is here for the experiments that vary it.
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::NoiseSource;
///
/// let noise = NoiseSource::new(42);
/// let eps = noise.draw(0, [5, 100, 2], &Device::flex());
/// assert_eq!(eps.dims(), [5, 100, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseSource {
    seed: Seed,
    std: f32,
}

impl NoiseSource {
    /// Standard normal noise.
    pub fn new(seed: impl Into<Seed>) -> Self {
        Self { seed: seed.into(), std: 1.0 }
    }

    /// Noise of another standard deviation.
    ///
    /// # Errors
    /// If `std` is negative or not finite. Zero is allowed: every sample is then the posterior mean.
    pub fn with_std(self, std: f32) -> Result<Self> {
        if !std.is_finite() || std < 0.0 {
            return Err(Error::value(format!(
                "the standard deviation of the noise is {std}, but it must be finite and at least 0"
            )));
        }
        Ok(Self { std, ..self })
    }

    /// The standard deviation of the noise.
    pub fn std(&self) -> f32 {
        self.std
    }

    /// The seed of one step, for what else is random in it.
    pub(crate) fn seed_at(&self, step: u64) -> Seed {
        self.seed.at(step).child("rest")
    }

    /// The noise of some of the samples of one step, each with a stream of its own, so that they are the
    /// same however they are taken together; `[samples.len(), batch, latent_dim]`.
    pub(crate) fn draw_samples(
        &self,
        step: u64,
        samples: Range<u64>,
        [batch, latent_dim]: [usize; 2],
        device: &Device,
    ) -> Tensor<3> {
        let shape = [samples.clone().count(), batch, latent_dim];
        let mut noise = Vec::with_capacity(shape.iter().product());
        for sample in samples {
            let mut rng = self.seed.at(step).at(sample).rng();
            let values = (0..batch * latent_dim)
                .map(|_| self.std * Distribution::<f32>::sample(&StandardNormal, &mut rng));
            noise.extend(values);
        }
        Tensor::from_data(TensorData::new::<f32, _>(noise, shape), device)
    }

    /// The noise of one step.
    ///
    /// # Shapes
    /// `[num_samples, batch, latent_dim]`, whatever is asked for in `shape`.
    pub fn draw(&self, step: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
        let mut rng = self.seed.at(step).rng();
        let noise = (0..shape.iter().product())
            .map(|_| self.std * Distribution::<f32>::sample(&StandardNormal, &mut rng))
            .collect();
        Tensor::from_data(TensorData::new::<f32, _>(noise, shape), device)
    }
}

/// Checks that the noise of a batch can be held.
pub(crate) fn check_noise(num_samples: usize, batch: usize, noise_dim: usize) -> Result<()> {
    const MAX_LEN: usize = 1 << 30;
    if num_samples == 0 {
        return Err(Error::config("num_samples is 0, but it must be at least 1"));
    }
    let len = num_samples.checked_mul(batch).and_then(|len| len.checked_mul(noise_dim));
    match len {
        Some(len) if len <= MAX_LEN => Ok(()),
        _ => Err(Error::config(format!(
            "{num_samples} samples of {batch} examples at {noise_dim} noise values each are more \
             than {MAX_LEN} numbers"
        ))),
    }
}

//! Helpers shared by the priors over discrete codes.

use burn::module::Param;
use burn::tensor::{Device, Tensor};

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::nn::check_dim;
use crate::noise::{Noise, NoiseShape, NoiseSource};
use crate::posterior::Posterior;
use crate::seed::Seed;

/// Returns the logits as a row, or zeros if there are none.
pub(super) fn row(
    logits: &Option<Param<Tensor<1>>>,
    latent_dim: usize,
    device: &Device,
) -> Tensor<2> {
    match logits {
        Some(logits) => logits.val().unsqueeze(),
        None => Tensor::zeros([1, latent_dim], device),
    }
}

/// Checks the logits of a configuration and moves them to a device.
pub(super) fn param(
    logits: Option<&[f32]>,
    is_learned: bool,
    device: &Device,
) -> Result<Option<Param<Tensor<1>>>> {
    let Some(logits) = logits else {
        return match is_learned {
            true => Err(Error::config("is_learned is true, but there are no logits to start from")),
            false => Ok(None),
        };
    };
    check_dim("the number of logits", logits.len())?;
    if let Some((i, value)) = logits.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(Error::config(format!("logits[{i}] is {value}, but it must be finite")));
    }
    let param = Param::from_tensor(Tensor::from_data(logits, device));
    Ok(Some(param.set_require_grad(is_learned)))
}

/// Returns the device that holds an encoder's weights.
pub(super) fn device_of(encoder: &impl Encoder) -> Device {
    encoder.devices().first().cloned().unwrap_or_default()
}

/// Draws `num_samples` samples from a batch of one, `[num_samples, latent_dim]`.
pub(super) fn draw(
    distribution: impl Posterior,
    noise: Noise,
    num_samples: usize,
    seed: Seed,
    device: &Device,
) -> Tensor<2> {
    let shape = NoiseShape::new(noise, distribution.dims()[1]);
    let noise = NoiseSource::new(seed).draw_for(0, num_samples, 1, &shape, device);
    distribution.rsample(noise).squeeze_dim(1)
}

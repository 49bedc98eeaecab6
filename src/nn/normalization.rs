use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops;

/// Normalisation of the outputs of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalization {
    /// No normalisation.
    #[default]
    None,
    /// Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2): by the mean and variance
    /// of the batch in training, otherwise by their moving averages; then a learned scale and
    /// shift.
    Batch {
        /// Added to the variance; above 0.
        epsilon: f64,
        /// The weight of a new batch in the moving averages, from 0 to 1. Keras's `momentum` is one
        /// minus this.
        momentum: f64,
    },
}

impl Normalization {
    /// Batch normalisation with the constants of Keras: epsilon 1e-3, and moving averages that keep
    /// 0.99 of their value.
    pub const BATCH: Self = Self::Batch { epsilon: 1e-3, momentum: 0.01 };

    pub(crate) fn init(&self, features: usize, device: &Device) -> Result<Option<BatchNorm>> {
        let Self::Batch { epsilon, momentum } = *self else { return Ok(None) };
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::config(format!(
                "the epsilon of batch normalisation is {epsilon}, but it must be above 0 and finite"
            )));
        }
        if !(0.0..=1.0).contains(&momentum) {
            return Err(Error::config(format!(
                "the momentum of batch normalisation is {momentum}, but it must be between 0 and 1"
            )));
        }
        let config = BatchNormConfig::new(features).with_epsilon(epsilon).with_momentum(momentum);
        Ok(Some(config.init(device)))
    }
}

/// Normalises each feature over all dimensions but the last, which indexes the features.
pub(crate) fn normalize<const D: usize>(norm: &Option<BatchNorm>, x: Tensor<D>) -> Tensor<D> {
    let Some(norm) = norm else { return x };
    let shape = x.dims();
    let features = shape[D - 1];
    let rows = shape[..D - 1].iter().product();
    let x = x.reshape([rows, features]);
    match x.device().is_autodiff() && norm.training.is_enabled() {
        true => normalize_by_batch(norm, x),
        false => norm.forward(x),
    }
    .reshape(shape)
}

/// The forward pass of Burn's module in training, with this crate's operation.
fn normalize_by_batch(norm: &BatchNorm, x: Tensor<2>) -> Tensor<2> {
    let (y, statistics) = ops::batch_norm(x, norm.gamma.val(), norm.beta.val(), norm.epsilon);
    for (average, new) in [&norm.running_mean, &norm.running_var].into_iter().zip(statistics) {
        let kept = average.value_sync().to_device(&new.device()).mul_scalar(1.0 - norm.momentum);
        average.update((kept + new.mul_scalar(norm.momentum)).detach());
    }
    y
}

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::GroupNorm;
use crate::describe::Stage;
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
    /// Group normalisation (Wu and He 2018, section 3): by the mean and variance of groups of channels
    /// of one example, the same in training and outside; then a learned scale and shift. A dense
    /// layer's units form groups of neighbours.
    Group {
        /// Number of groups; it must divide the channels of each layer.
        groups: usize,
        /// Added to the variance; above 0.
        epsilon: f64,
    },
}

/// The layer of a [`Normalization`].
#[derive(Module, Debug)]
pub(crate) enum Norm {
    Batch(BatchNorm),
    Group(GroupNorm),
}

impl Norm {
    /// The kind of layer in a summary.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Batch(_) => "BatchNorm",
            Self::Group(_) => "GroupNorm",
        }
    }

    /// Returns the layer outside training as an operation, if it is one.
    pub(crate) fn stage(&self) -> Option<Stage> {
        let Self::Batch(norm) = self else { return None };
        let deviation = norm.running_var.value_sync().add_scalar(norm.epsilon).sqrt();
        let scale = norm.gamma.val() / deviation;
        let shift = norm.beta.val() - norm.running_mean.value_sync() * scale.clone();
        Some(Stage::Affine { scale, shift })
    }
}

impl Normalization {
    /// Batch normalisation with the constants of Keras: epsilon 1e-3, and moving averages that keep
    /// 0.99 of their value.
    pub const BATCH: Self = Self::Batch { epsilon: 1e-3, momentum: 0.01 };

    pub(crate) fn init(&self, features: usize, device: &Device) -> Result<Option<Norm>> {
        let (epsilon, momentum) = match *self {
            Self::None => return Ok(None),
            Self::Group { groups, epsilon } => {
                let norm = GroupNorm::new([1, 1, features], groups, epsilon, device)?;
                return Ok(Some(Norm::Group(norm)));
            }
            Self::Batch { epsilon, momentum } => (epsilon, momentum),
        };
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
        Ok(Some(Norm::Batch(config.init(device))))
    }
}

impl Normalization {
    /// Like [`init`](Self::init), for the units of a dense layer. A group of one unit has no variance.
    pub(crate) fn init_dense(&self, units: usize, device: &Device) -> Result<Option<Norm>> {
        match *self {
            Self::Group { groups, .. } if groups == units => Err(Error::config(format!(
                "a layer of {units} units cannot form {groups} groups: each needs more than one unit"
            ))),
            _ => self.init(units, device),
        }
    }
}

/// Normalises the features, which the last dimension indexes; the first one indexes the examples.
pub(crate) fn normalize<const D: usize>(norm: &Option<Norm>, x: Tensor<D>) -> Tensor<D> {
    let shape = x.dims();
    let (batch, features) = (shape[0], shape[D - 1]);
    let norm = match norm {
        None => return x,
        Some(Norm::Group(norm)) => {
            let pixels = shape[1..].iter().product::<usize>() / features;
            return norm.forward(x.reshape([batch, pixels, 1, features])).reshape(shape);
        }
        Some(Norm::Batch(norm)) => norm,
    };
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

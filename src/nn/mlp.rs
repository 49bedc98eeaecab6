use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Activation, Init, MAX_WEIGHTS, linear};
use crate::config::ModuleConfig;
use crate::describe::{Layer, Stage};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Configuration of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Length of the input.
    pub input_dim: usize,
    /// Units of each layer, from first to last; if empty, the network is the identity.
    pub hidden: Vec<usize>,
    /// Activation after each layer.
    #[serde(default)]
    pub activation: Activation,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

impl MlpConfig {
    /// Length of the output.
    pub fn output_dim(&self) -> usize {
        self.hidden.last().copied().unwrap_or(self.input_dim)
    }
}

/// A stack of fully connected layers, each followed by the activation.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// Length of the input; `None` for the identity, which takes any.
    pub fn input_dim(&self) -> Option<usize> {
        self.layers.first().map(|layer| layer.weight.dims()[0])
    }

    /// Applies the layers in order.
    ///
    /// # Shapes
    /// - `x`: `[batch, input_dim]`
    /// - output: `[batch, output_dim]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.layers.iter().fold(x, |x, layer| linear(layer, x, Some(self.activation)))
    }

    /// Returns the rows of a [`Summary`](crate::summary::Summary).
    pub fn layers(&self) -> Vec<Layer> {
        let row = |(i, layer): (usize, &Linear)| {
            let kind = format!("Linear + {:?}", self.activation);
            Layer::linear(format!("hidden_{}", i + 1), kind, layer)
        };
        self.layers.iter().enumerate().map(row).collect()
    }

    /// Returns the layers as operations; see [`Describe::stages`](crate::summary::Describe::stages).
    pub fn stages(&self) -> Vec<Stage> {
        let stages = |layer| [Stage::linear(layer), Stage::Activation(self.activation)];
        self.layers.iter().flat_map(stages).collect()
    }
}

impl ModuleConfig for MlpConfig {
    type Module = Mlp;

    fn init(&self, seed: Seed, device: &Device) -> Result<Mlp> {
        check_dim("input_dim", self.input_dim)?;
        for (i, &units) in self.hidden.iter().enumerate() {
            check_dim(&format!("hidden[{i}]"), units)?;
        }
        let inputs = std::iter::once(&self.input_dim).chain(&self.hidden);
        let layer = |(i, (&fan_in, &fan_out))| {
            self.init.linear(fan_in, fan_out, seed.child("hidden").at(i as u64), device)
        };
        Ok(Mlp {
            layers: inputs.zip(&self.hidden).enumerate().map(layer).collect::<Result<_>>()?,
            activation: self.activation,
        })
    }
}

pub(crate) fn check_dim(field: &str, dim: usize) -> Result<()> {
    if dim == 0 {
        return Err(Error::config(format!("{field} is 0, but it must be at least 1")));
    }
    Ok(())
}

/// Checks a length that no layer's weights limit, such as that of a list.
pub(crate) fn check_len(field: &str, len: usize) -> Result<()> {
    check_dim(field, len)?;
    if len > MAX_WEIGHTS {
        return Err(Error::config(format!(
            "{field} is {len}, but it must be at most {MAX_WEIGHTS}"
        )));
    }
    Ok(())
}

//! Convolutional networks that are lists of blocks.

mod attention;
mod block;
mod build;
mod group_norm;
mod layer;
mod tiles;

pub use attention::Attention;
pub use block::Block;
pub(crate) use build::values_of;
pub use group_norm::GroupNorm;
pub use tiles::Tiles;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Init, check_dim};
use crate::config::ModuleConfig;
use crate::describe::Layer;
use crate::error::Result;
use crate::seed::Seed;

use build::{Build, check_size};
use layer::{NetworkLayer, forward, size_for};

/// Configuration of a [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// The blocks, from first to last.
    pub blocks: Vec<Block>,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

/// Convolutional blocks in a row, from images to images.
#[derive(Module, Debug)]
pub struct Network {
    layers: Vec<NetworkLayer>,
    #[module(skip)]
    input: [usize; 3],
    #[module(skip)]
    output: [usize; 3],
}

impl Network {
    /// Height, width and channels of the input.
    pub fn input_shape(&self) -> [usize; 3] {
        self.input
    }

    /// Height, width and channels of the output.
    pub fn output_shape(&self) -> [usize; 3] {
        self.output
    }

    /// Applies the blocks in order.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, channels]` of the input
    /// - output: the same of the output
    ///
    /// # Panics
    /// If the shape of `x` differs from [`input_shape`](Self::input_shape).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, channels] = x.dims();
        assert_eq!([height, width, channels], self.input, "shape of a network's input");
        forward(&self.layers, x)
    }

    /// Returns the height and width of the output for an input of another height and width, or `None`
    /// if there is none.
    fn size_for(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        size_for(&self.layers, size)
    }

    /// Applies the blocks to an image of another height and width, which must have an output.
    fn forward_any(&self, x: Tensor<4>) -> Tensor<4> {
        assert_eq!(x.dims()[3], self.input[2], "channels of a network's input");
        forward(&self.layers, x)
    }

    /// Returns the rows of a [`Summary`](crate::summary::Summary).
    pub fn layers(&self) -> Vec<Layer> {
        let mut rows = Vec::<Layer>::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let above = rows.last().map(|row| row.name.clone()).unwrap_or_default();
            rows.extend(layer.rows(&i.to_string(), &above));
        }
        rows
    }
}

impl ModuleConfig for NetworkConfig {
    type Module = Network;

    fn init(&self, seed: Seed, device: &Device) -> Result<Network> {
        for (field, size) in ["height", "width", "channels"].into_iter().zip(self.input) {
            check_dim(&format!("input {field}"), size)?;
        }
        check_size(self.input)?;
        let mut build = Build { shape: self.input, init: self.init, device, depth: 0 };
        let layers = build.layers(&self.blocks, seed)?;
        Ok(Network { layers, input: self.input, output: build.shape })
    }
}

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::PixelCnnPriorConfig;
use crate::error::Result;
use crate::nn::{FromAbove, FromLeft, linear};
use crate::ops;
use crate::seed::Seed;

/// Kernels of the first layer and of the others.
const KERNELS: [usize; 2] = [5, 3];

/// A layer of both stacks.
#[derive(Module, Debug)]
pub(super) struct GatedLayer {
    above: FromAbove,
    left: FromLeft,
    to_horizontal: Linear,
    output: Linear,
    /// Whether the horizontal stack adds its input: all layers but the first, which must not see the
    /// position itself.
    #[module(skip)]
    is_residual: bool,
}

impl GatedLayer {
    pub(super) fn new(
        is_first: bool,
        config: &PixelCnnPriorConfig,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let PixelCnnPriorConfig { channels, init, .. } = *config;
        let (sizes, kernel) = ([channels, 2 * channels], KERNELS[usize::from(!is_first)]);
        Ok(Self {
            above: FromAbove::new(sizes, kernel, !is_first, init, seed.child("above"), device)?,
            left: FromLeft::new(sizes, kernel, !is_first, init, seed.child("left"), device)?,
            to_horizontal: init.linear(
                2 * channels,
                2 * channels,
                seed.child("to_horizontal"),
                device,
            )?,
            output: init.linear(channels, channels, seed.child("output"), device)?,
            is_residual: !is_first,
        })
    }

    /// Returns the vertical and the horizontal stack, both `[batch, height, width, channels]`.
    pub(super) fn forward(&self, [above, left]: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let vertical = self.above.forward(above);
        let horizontal =
            self.left.forward(left.clone()) + pointwise(&self.to_horizontal, vertical.clone());
        let output = pointwise(&self.output, gate(horizontal));
        let output = if self.is_residual { output + left } else { output };
        [gate(vertical), output]
    }
}

fn pointwise(layer: &Linear, x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let y = linear(layer, x.reshape([batch * height * width, channels]), None);
    let [_, outputs] = y.dims();
    y.reshape([batch, height, width, outputs])
}

fn gate(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let y = ops::gate(x.reshape([batch * height * width, channels]));
    y.reshape([batch, height, width, channels / 2])
}

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::nn::Activation;
use crate::ops::{Direction, Geometry};

/// An elementary operation of a network that is a sequence of such operations; see
/// [`Describe::stages`](super::Describe::stages).
///
/// An image is a row of `height * width * channels` values, with the channels of a pixel adjacent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// `y = x W + b`
    Linear {
        /// `W`, `[inputs, outputs]`.
        weight: Tensor<2>,
        /// `b`, `[outputs]`.
        bias: Option<Tensor<1>>,
    },
    /// A convolution or transposed convolution.
    Conv {
        /// `[channels of the smaller image, channels of the larger image, kernel, kernel]`.
        weight: Tensor<4>,
        /// `[output channels]`.
        bias: Option<Tensor<1>>,
        /// Sizes of both images, kernel, stride and padding.
        geometry: Geometry,
        /// From the larger image to the smaller one, or back.
        direction: Direction,
    },
    /// `y = x * scale + shift`, where both repeat along a row: batch normalisation outside training.
    Affine {
        /// `[channels]`.
        scale: Tensor<1>,
        /// `[channels]`.
        shift: Tensor<1>,
    },
    /// A function of each value.
    Activation(Activation),
    /// Reorders interleaved parameters into one block per parameter, as likelihoods take them: from
    /// `[pixels, channels]`, where the channels are those of each parameter in turn, to
    /// `[params, pixels, channels / params]`.
    ParametersFirst {
        /// Number of parameters of a value.
        params: usize,
        /// Number of channels, a multiple of the parameters.
        channels: usize,
    },
}

impl Stage {
    /// Describes a fully connected layer.
    pub fn linear(layer: &Linear) -> Self {
        let bias = layer.bias.as_ref().map(|bias| bias.val());
        Self::Linear { weight: layer.weight.val(), bias }
    }
}

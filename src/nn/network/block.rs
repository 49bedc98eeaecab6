use serde::{Deserialize, Serialize};

use crate::nn::{Activation, Padding};

/// A part of a convolutional [`Network`](super::Network).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// A convolution, see [`Geometry`](crate::nn::Geometry).
    Conv {
        /// Output channels.
        channels: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Factor by which the image shrinks, rounded up, with "same" padding or an odd kernel.
        stride: usize,
        /// Border of the image.
        #[serde(default)]
        padding: Padding,
        /// Whether there are biases.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// A transposed convolution, by which the image grows: the mirror image of a convolution.
    ConvTranspose {
        /// Output channels.
        channels: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Factor by which the image grows.
        stride: usize,
        /// Border of the larger image.
        #[serde(default)]
        padding: Padding,
        /// Whether there are biases.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Repeats each pixel along height and width.
    Upsample(usize),
    /// An activation.
    Activation(Activation),
    /// `limit * tanh(x / limit)`, which keeps values within a limit above 0.
    SoftClip(f64),
    /// Group normalisation (Wu and He 2018, section 3): by the mean and variance of groups of channels
    /// of one example, with a learned scale and shift of each channel.
    GroupNorm {
        /// Number of groups; it must divide the channels.
        groups: usize,
        /// Added to the variance; above 0.
        epsilon: f64,
    },
    /// Self-attention over all pixels with one head (Vaswani et al. 2017, eq. 1), as `q`, `k`, `v` and
    /// an output layer with biases. It needs memory for the square of the number of pixels, several
    /// times: use it where an image is small.
    Attention,
    /// Adds its input to the output of the blocks (He et al. 2016). If their channels differ, the input
    /// passes a 1x1 convolution.
    Residual(Vec<Block>),
}

impl Block {
    /// A convolution that keeps the size.
    pub fn conv(channels: usize, kernel: usize) -> Self {
        Self::Conv { channels, kernel, stride: 1, padding: Padding::Same, bias: true }
    }

    /// A convolution that halves height and width.
    pub fn down(channels: usize, kernel: usize) -> Self {
        Self::Conv { channels, kernel, stride: 2, padding: Padding::Same, bias: true }
    }

    /// A transposed convolution that doubles height and width.
    pub fn up(channels: usize, kernel: usize) -> Self {
        let padding = Padding::Same;
        Self::ConvTranspose { channels, kernel, stride: 2, padding, bias: true }
    }

    /// ReLU.
    pub const RELU: Self = Self::Activation(Activation::Relu);
}

fn yes() -> bool {
    true
}

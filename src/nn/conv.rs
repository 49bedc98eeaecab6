use burn::module::{Module, Param};
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, activation};

use super::Init;
use crate::summary::Layer;
use crate::{Error, Result, Seed};

/// How a strided convolution connects a larger image and a smaller one.
///
/// Padding is the "same" padding of Keras and TensorFlow: the smaller image has
/// `ceil(large / stride)` pixels along each dimension, and what padding that needs lies on both
/// sides, the odd pixel at the end. The transposed convolution of the same geometry is the adjoint
/// map, so it leads back to the larger size, whatever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the larger image.
    pub(crate) large: [usize; 2],
    /// Height and width of the smaller image.
    pub(crate) small: [usize; 2],
    /// Height and width of the kernel.
    pub(crate) kernel: usize,
    /// Pixels of the larger image from one of the smaller to the next.
    pub(crate) stride: usize,
    /// Padding above and to the left of the larger image.
    pub(crate) pad: [usize; 2],
}

impl Geometry {
    /// The geometry of an image of a size, given in `height, width`.
    ///
    /// # Panics
    /// If the stride is zero.
    pub fn same(large: [usize; 2], kernel: usize, stride: usize) -> Self {
        let small = large.map(|size| size.div_ceil(stride));
        let reach = |i: usize| small[i].saturating_sub(1) * stride + kernel;
        let pad = |i: usize| reach(i).saturating_sub(large[i]) / 2;
        Self { large, small, kernel, stride, pad: [pad(0), pad(1)] }
    }

    /// Height and width of what comes out.
    pub fn output(&self, direction: Direction) -> [usize; 2] {
        match direction {
            Direction::Down => self.small,
            Direction::Up => self.large,
        }
    }
}

/// The way of a convolution between the images of a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A convolution, from the larger image to the smaller one.
    Down,
    /// A transposed convolution, from the smaller image to the larger one.
    Up,
}

/// A convolution or transposed convolution with bias and, if asked for, ReLU.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[small channels, large channels, kernel, kernel]`, as in Burn's `Conv2d` for
    /// [`Direction::Down`] and its `ConvTranspose2d` for [`Direction::Up`].
    weight: Param<Tensor<4>>,
    /// `[output channels]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    geometry: Geometry,
    #[module(skip)]
    direction: Direction,
}

impl Conv {
    /// A layer with fresh weights and zero biases, from `channels[0]` to `channels[1]`.
    ///
    /// # Errors
    /// If it has no pixels, no input, no output or no kernel, or would hold an absurd number of weights.
    pub fn new(
        geometry: Geometry,
        direction: Direction,
        channels: [usize; 2],
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        if geometry.large.contains(&0) {
            let large = geometry.large;
            return Err(Error::config(format!(
                "a convolution of images of size {large:?} has none"
            )));
        }
        let [input, output] = channels;
        let (small, large) = match direction {
            Direction::Down => (output, input),
            Direction::Up => (input, output),
        };
        let fan = geometry.kernel.saturating_mul(geometry.kernel);
        let fans = [fan.saturating_mul(input), fan.saturating_mul(output)];
        let shape = [small, large, geometry.kernel, geometry.kernel];
        Ok(Self {
            weight: init.tensor(shape, fans, seed, device)?,
            bias: Param::from_tensor(Tensor::zeros([output], device)),
            geometry,
            direction,
        })
    }

    /// Height, width and channels of the input.
    pub fn input_shape(&self) -> [usize; 3] {
        let [small, large, _, _] = self.weight.dims();
        let ([height, width], channels) = match self.direction {
            Direction::Down => (self.geometry.large, large),
            Direction::Up => (self.geometry.small, small),
        };
        [height, width, channels]
    }

    /// Height, width and channels of the output.
    pub fn output_shape(&self) -> [usize; 3] {
        let [height, width] = self.geometry.output(self.direction);
        [height, width, self.bias.dims()[0]]
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, input channels]`
    /// - output: `[batch, height, width, output channels]`
    ///
    /// # Panics
    /// If `x` has another height, width or number of channels.
    pub fn forward(&self, x: Tensor<4>, relu: bool) -> Tensor<4> {
        let [_, height, width, channels] = x.dims();
        assert_eq!([height, width, channels], self.input_shape(), "shape of a convolution's input");
        #[cfg(feature = "flex")]
        if crate::fused::runs_on(&x) {
            let (weight, bias) = (self.weight.val(), self.bias.val());
            return crate::fused::conv::conv(x, weight, bias, self.geometry, self.direction, relu);
        }
        let y = self.plain(x);
        if relu { activation::relu(y) } else { y }
    }

    /// The same by Burn's own convolutions, which put channels before height and width.
    fn plain(&self, x: Tensor<4>) -> Tensor<4> {
        let Geometry { large, small, kernel, stride, pad } = self.geometry;
        let (x, weight, bias) = (x.permute([0, 3, 1, 2]), self.weight.val(), self.bias.val());
        let [stride, dilation] = [[stride; 2], [1; 2]];
        // What a patch of the last pixel reaches to, counted from the first padded pixel.
        let reach = [0, 1].map(|i| (small[i] - 1) * stride[i] + kernel);
        let y = match self.direction {
            Direction::Down => {
                let [top, left] = pad;
                let [bottom, right] = [0, 1].map(|i| reach[i].saturating_sub(large[i] + pad[i]));
                let padding = [(top, bottom), (left, right)];
                let options = ConvOptions::new_with_padding(stride, padding, dilation, 1);
                conv2d(x, weight, Some(bias), options)
            }
            Direction::Up => {
                let out = [0, 1].map(|i| (large[i] + pad[i]).saturating_sub(reach[i]));
                let options = ConvTransposeOptions::new(stride, [0; 2], out, dilation, 1);
                let [rows, columns] = [0, 1].map(|i| pad[i]..pad[i] + large[i]);
                conv_transpose2d(x, weight, Some(bias), options)
                    .slice_dim(2, rows)
                    .slice_dim(3, columns)
            }
        };
        y.permute([0, 2, 3, 1])
    }

    /// A row of a [`Summary`](crate::summary::Summary).
    pub fn layer(&self, name: impl Into<String>, kind: &str) -> Layer {
        let Geometry { kernel, stride, .. } = self.geometry;
        let direction = match self.direction {
            Direction::Down => "Conv",
            Direction::Up => "ConvTranspose",
        };
        let kind = format!("{direction} {kernel}x{kernel}/{stride}{kind}");
        Layer::new(name, kind, self.output_shape(), self)
    }
}

#[cfg(test)]
mod tests;

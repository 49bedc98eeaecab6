use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Init;
use crate::describe::{Layer, Stage};
use crate::error::{Error, Result};
use crate::ops::{self, Direction, Geometry, Padding};
use crate::seed::Seed;

/// A convolution or transposed convolution with optional bias and ReLU.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[small channels, large channels, kernel, kernel]`, as in Burn's `Conv2d` for
    /// [`Direction::Down`] and its `ConvTranspose2d` for [`Direction::Up`].
    weight: Param<Tensor<4>>,
    /// `[output channels]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    geometry: Geometry,
    #[module(skip)]
    direction: Direction,
}

impl Conv {
    /// Creates a layer from `channels[0]` to `channels[1]` channels, with fresh weights and zero
    /// biases.
    ///
    /// # Errors
    /// If the layer has no pixels, inputs, outputs or kernel, or more than 2^30 weights.
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
                "a convolution of images of size {large:?} has no pixels"
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
            bias: Some(Param::from_tensor(Tensor::zeros([output], device))),
            geometry,
            direction,
        })
    }

    /// Removes the biases.
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
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
        let [small, large, _, _] = self.weight.dims();
        let [height, width] = self.geometry.output(self.direction);
        let channels = match self.direction {
            Direction::Down => small,
            Direction::Up => large,
        };
        [height, width, channels]
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, input channels]`
    /// - output: `[batch, height, width, output channels]`
    ///
    /// # Panics
    /// If the height, width or number of channels of `x` differs from
    /// [`input_shape`](Self::input_shape).
    pub fn forward(&self, x: Tensor<4>, relu: bool) -> Tensor<4> {
        let [_, height, width, channels] = x.dims();
        assert_eq!([height, width, channels], self.input_shape(), "shape of a convolution's input");
        self.apply(x, self.geometry, relu)
    }

    fn apply(&self, x: Tensor<4>, geometry: Geometry, relu: bool) -> Tensor<4> {
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([self.output_shape()[2]], &x.device()),
        };
        ops::conv(x, self.weight.val(), bias, geometry, self.direction, relu)
    }

    /// Returns the height and width of the output of [`forward_any`](Self::forward_any), or `None` if
    /// there is none.
    pub(super) fn size_for(&self, size: [usize; 2], padding: Padding) -> Option<[usize; 2]> {
        let geometry = self.geometry_for(size, padding);
        let fits = self.direction == Direction::Down || geometry.small == size;
        let output = geometry.output(self.direction);
        (fits && !output.contains(&0)).then_some(output)
    }

    fn geometry_for(&self, size: [usize; 2], padding: Padding) -> Geometry {
        let Geometry { kernel, stride, .. } = self.geometry;
        let large = match self.direction {
            Direction::Down => size,
            Direction::Up => size.map(|size| size * stride),
        };
        Geometry::new(large, kernel, stride, padding)
    }

    /// Applies the layer to images of another size, which a transposed convolution multiplies by its
    /// stride.
    pub(super) fn forward_any(&self, x: Tensor<4>, padding: Padding, relu: bool) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        self.apply(x, self.geometry_for([height, width], padding), relu)
    }

    /// Returns a row of a [`Summary`](crate::summary::Summary).
    pub fn layer(&self, name: impl Into<String>, kind: &str) -> Layer {
        let Geometry { kernel, stride, .. } = self.geometry;
        let direction = match self.direction {
            Direction::Down => "Conv",
            Direction::Up => "ConvTranspose",
        };
        let kind = format!("{direction} {kernel}x{kernel}/{stride}{kind}");
        Layer::new(name, kind, self.output_shape(), self)
    }

    /// Returns the layer as an operation; see [`Describe::stages`](crate::summary::Describe::stages).
    pub fn stage(&self) -> Stage {
        Stage::Conv {
            weight: self.weight.val(),
            bias: self.bias.as_ref().map(|bias| bias.val()),
            geometry: self.geometry,
            direction: self.direction,
        }
    }
}

#[cfg(test)]
mod tests;

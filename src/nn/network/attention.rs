use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, activation};

use crate::error::Result;
use crate::nn::{Init, linear};
use crate::seed::Seed;

/// Self-attention over the pixels of an image with one head,
/// `softmax(q k^T / sqrt(channels)) v` (Vaswani et al. 2017, eq. 1), and an output layer.
#[derive(Module, Debug)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    shape: [usize; 3],
}

impl Attention {
    /// Creates a layer for images of the given height, width and channels.
    ///
    /// # Errors
    /// If a layer has no or too many weights.
    pub fn new(shape: [usize; 3], init: Init, seed: Seed, device: &Device) -> Result<Self> {
        let layer = |name| init.linear(shape[2], shape[2], seed.child(name), device);
        Ok(Self {
            query: layer("query")?,
            key: layer("key")?,
            value: layer("value")?,
            output: layer("output")?,
            shape,
        })
    }

    /// Height, width and channels of the output.
    pub(super) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Applies the layer; input and output are `[batch, height, width, channels]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let pixels = height * width;
        let rows = x.reshape([batch * pixels, channels]);
        let part = |layer| linear(layer, rows.clone(), None).reshape([batch, pixels, channels]);
        let (query, key, value) = (part(&self.query), part(&self.key), part(&self.value));
        let scores = query.mul_scalar((channels as f64).powf(-0.5)).matmul(key.swap_dims(1, 2));
        let mixed = activation::softmax(scores, 2).matmul(value);
        let output = linear(&self.output, mixed.reshape([batch * pixels, channels]), None);
        output.reshape([batch, height, width, channels])
    }
}

//! Convolutions that see only what comes before, row by row.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::{Init, linear};
use crate::error::Result;
use crate::ops::{self, Direction, Geometry};
use crate::seed::Seed;

/// A convolution of stride 1 that sees only rows above a pixel, and its own row if `with_own`.
#[derive(Module, Debug)]
pub(crate) struct FromAbove {
    /// `[outputs, inputs, kernel, kernel]`; the rows below are never used.
    weight: Param<Tensor<4>>,
    /// `[outputs]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    with_own: bool,
}

impl FromAbove {
    pub(crate) fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        with_own: bool,
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let taps = kernel * (kernel / 2 + usize::from(with_own));
        let fans = [taps * inputs, taps * outputs];
        let weight = init.tensor([outputs, inputs, kernel, kernel], fans, seed, device)?;
        Ok(Self { weight, bias: Param::from_tensor(Tensor::zeros([outputs], device)), with_own })
    }

    /// Input and output are `[batch, height, width, channels]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, height, width, _], [_, _, kernel, _]) = (x.dims(), self.weight.dims());
        let seen = kernel / 2 + usize::from(self.with_own);
        let mask = (0..kernel * kernel).map(|i| f32::from(u8::from(i / kernel < seen))).collect();
        let mask = TensorData::new::<f32, _>(mask, [1, 1, kernel, kernel]);
        let weight = self.weight.val() * Tensor::from_data(mask, &x.device());
        let geometry = Geometry::same([height, width], kernel, 1);
        ops::conv(x, weight, self.bias.val(), geometry, Direction::Down, false)
    }
}

/// A convolution along a row that sees only pixels to the left, and the pixel itself if `with_own`.
#[derive(Module, Debug)]
pub(crate) struct FromLeft {
    /// `[taps * inputs, outputs]`, the nearest pixel first.
    weight: Linear,
    #[module(skip)]
    taps: usize,
    #[module(skip)]
    with_own: bool,
}

impl FromLeft {
    pub(crate) fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        with_own: bool,
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        let taps = kernel / 2 + usize::from(with_own);
        let weight = init.linear(taps * inputs, outputs, seed, device)?;
        Ok(Self { weight, taps, with_own })
    }

    /// Input and output are `[batch, height, width, channels]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let first = usize::from(!self.with_own);
        let shifted = (first..first + self.taps).map(|shift| {
            let shift = shift.min(width);
            if shift == 0 {
                return x.clone();
            }
            let blank = Tensor::zeros([batch, height, shift, channels], &x.device());
            if shift == width {
                return blank;
            }
            Tensor::cat(vec![blank, x.clone().narrow(2, 0, width - shift)], 2)
        });
        let taps = Tensor::cat(shifted.collect(), 3);
        let rows = taps.reshape([batch * height * width, self.taps * channels]);
        let y = linear(&self.weight, rows, None);
        let [_, outputs] = y.dims();
        y.reshape([batch, height, width, outputs])
    }
}

use burn::tensor::Device;

use super::layer::{Apply, ConvLayer, NetworkLayer, Residual, SoftClip, Upsample};
use super::{Attention, Block, GroupNorm};
use crate::config::named;
use crate::error::{Error, Result};
use crate::nn::{Conv, Direction, Geometry, Init, Padding, check_dim};
use crate::seed::Seed;

/// A larger kernel, factor or depth of nesting is treated as a mistake.
const MAX_KERNEL: usize = 1 << 10;
const MAX_FACTOR: usize = 1 << 6;
const MAX_DEPTH: usize = 16;

/// Maximum number of values of an image in a network; more is treated as a mistake.
const MAX_VALUES: usize = 1 << 30;

pub(super) fn check_size(shape: [usize; 3]) -> Result<()> {
    values_of(shape).map(|_| ())
}

/// Returns the number of values of an image of the given height, width and channels.
///
/// # Errors
/// If there are none or more than 2^30.
pub(crate) fn values_of(shape: [usize; 3]) -> Result<usize> {
    let values = shape.iter().try_fold(1usize, |size, &dim| size.checked_mul(dim));
    match values {
        Some(0) => Err(Error::config(format!("an image of shape {shape:?} has no values"))),
        Some(values) if values <= MAX_VALUES => Ok(values),
        _ => Err(Error::config(format!("an image of shape {shape:?} is too large"))),
    }
}

/// How a convolution moves over an image.
struct Layout {
    direction: Direction,
    kernel: usize,
    stride: usize,
    padding: Padding,
}

/// A network under construction.
pub(super) struct Build<'a> {
    /// Height, width and channels after the last layer.
    pub(super) shape: [usize; 3],
    pub(super) init: Init,
    pub(super) device: &'a Device,
    pub(super) depth: usize,
}

impl Build<'_> {
    pub(super) fn layers(&mut self, blocks: &[Block], seed: Seed) -> Result<Vec<NetworkLayer>> {
        let mut layers = Vec::<NetworkLayer>::with_capacity(blocks.len());
        for (i, block) in blocks.iter().enumerate() {
            if let (&Block::RELU, Some(NetworkLayer::Conv(layer))) = (block, layers.last_mut())
                && !layer.relu
            {
                layer.relu = true;
                continue;
            }
            let layer = self.layer(block, seed.child("block").at(i as u64));
            let layer = layer.and_then(|layer| check_size(self.shape).map(|()| layer));
            layers.push(named(&format!("blocks[{i}]"), layer)?);
        }
        Ok(layers)
    }

    fn layer(&mut self, block: &Block, seed: Seed) -> Result<NetworkLayer> {
        match block {
            &Block::Conv { channels, kernel, stride, padding, bias } => {
                let layer = Layout { direction: Direction::Down, kernel, stride, padding };
                self.conv(layer, channels, bias, seed)
            }
            &Block::ConvTranspose { channels, kernel, stride, padding, bias } => {
                let layer = Layout { direction: Direction::Up, kernel, stride, padding };
                self.conv(layer, channels, bias, seed)
            }
            &Block::Upsample(factor) => {
                self.grow(factor)?;
                Ok(NetworkLayer::Upsample(Upsample { factor, shape: self.shape }))
            }
            &Block::Activation(activation) => {
                Ok(NetworkLayer::Activation(Apply { activation, shape: self.shape }))
            }
            &Block::SoftClip(limit) => {
                if !(limit > 0.0 && limit.is_finite()) {
                    return Err(Error::config(format!(
                        "the limit is {limit}, but it must be above 0 and finite"
                    )));
                }
                Ok(NetworkLayer::SoftClip(SoftClip { limit, shape: self.shape }))
            }
            &Block::GroupNorm { groups, epsilon } => {
                let norm = GroupNorm::new(self.shape, groups, epsilon, self.device)?;
                Ok(NetworkLayer::GroupNorm(norm))
            }
            Block::Attention => {
                let attention = Attention::new(self.shape, self.init, seed, self.device)?;
                Ok(NetworkLayer::Attention(attention))
            }
            Block::Residual(blocks) => self.residual(blocks, seed),
        }
    }

    fn conv(
        &mut self,
        Layout { direction, kernel, stride, padding }: Layout,
        channels: usize,
        bias: bool,
        seed: Seed,
    ) -> Result<NetworkLayer> {
        check_dim("channels", channels)?;
        check_dim("kernel", kernel)?;
        check_dim("stride", stride)?;
        for (name, value, limit) in [("kernel", kernel, MAX_KERNEL), ("stride", stride, MAX_FACTOR)]
        {
            if value > limit {
                return Err(Error::config(format!(
                    "{name} is {value}, but it must be at most {limit}"
                )));
            }
        }
        let [height, width, inputs] = self.shape;
        let large = match direction {
            Direction::Down => [height, width],
            Direction::Up => {
                self.grow(stride)?;
                [self.shape[0], self.shape[1]]
            }
        };
        let geometry = Geometry::new(large, kernel, stride, padding);
        if direction == Direction::Up && geometry.small != [height, width] {
            return Err(Error::config(format!(
                "a transposed convolution with {padding:?} padding and a kernel of {kernel} has no \
                 output of {} x {} pixels: its kernel must be odd",
                large[0], large[1]
            )));
        }
        let conv =
            Conv::new(geometry, direction, [inputs, channels], self.init, seed, self.device)?;
        self.shape = conv.output_shape();
        let conv = if bias { conv } else { conv.without_bias() };
        Ok(NetworkLayer::Conv(ConvLayer { conv, padding, relu: false }))
    }

    fn grow(&mut self, factor: usize) -> Result<()> {
        let [height, width, _] = self.shape;
        let [high, wide] = [height.saturating_mul(factor), width.saturating_mul(factor)];
        if !(1..=MAX_FACTOR).contains(&factor) || high.saturating_mul(wide) > MAX_VALUES {
            return Err(Error::config(format!(
                "an image of {height} x {width} pixels cannot grow by {factor}"
            )));
        }
        (self.shape[0], self.shape[1]) = (high, wide);
        Ok(())
    }

    fn residual(&mut self, blocks: &[Block], seed: Seed) -> Result<NetworkLayer> {
        if self.depth == MAX_DEPTH {
            return Err(Error::config(format!("residual blocks are nested {MAX_DEPTH} deep")));
        }
        let input = self.shape;
        self.depth += 1;
        let body = self.layers(blocks, seed)?;
        self.depth -= 1;
        let ([height, width, channels], output) = (input, self.shape);
        if output[..2] != input[..2] {
            return Err(Error::config(format!(
                "a residual block changes the size from {:?} to {:?}",
                &input[..2],
                &output[..2]
            )));
        }
        let shortcut = (output[2] != channels).then(|| {
            let geometry = Geometry::same([height, width], 1, 1);
            let channels = [channels, output[2]];
            let seed = seed.child("shortcut");
            Conv::new(geometry, Direction::Down, channels, self.init, seed, self.device)
        });
        Ok(NetworkLayer::Residual(Residual { body, shortcut: shortcut.transpose()? }))
    }
}

mod attention;
mod group_norm;
mod tiles;

pub use attention::Attention;
pub use group_norm::GroupNorm;
pub use tiles::Tiles;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Activation, Conv, Direction, Geometry, Init, Padding, check_dim};
use crate::config::{ModuleConfig, named};
use crate::describe::Layer;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A part of a convolutional [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// A convolution, see [`Geometry`].
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

/// A layer of a network. The sizes differ, but there are few.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum NetworkLayer {
    Conv(ConvLayer),
    Upsample(Upsample),
    Activation(Apply),
    SoftClip(SoftClip),
    GroupNorm(GroupNorm),
    Attention(Attention),
    Residual(Residual),
}

/// A convolution and the ReLU after it, if any.
#[derive(Module, Debug)]
struct ConvLayer {
    conv: Conv,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    relu: bool,
}

#[derive(Module, Debug)]
struct Upsample {
    #[module(skip)]
    factor: usize,
    /// Of the output.
    #[module(skip)]
    shape: [usize; 3],
}

#[derive(Module, Debug)]
struct Apply {
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    shape: [usize; 3],
}

#[derive(Module, Debug)]
struct SoftClip {
    #[module(skip)]
    limit: f64,
    #[module(skip)]
    shape: [usize; 3],
}

#[derive(Module, Debug)]
struct Residual {
    body: Vec<NetworkLayer>,
    shortcut: Option<Conv>,
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

fn forward(layers: &[NetworkLayer], x: Tensor<4>) -> Tensor<4> {
    let (mut x, mut layers) = (x, layers.iter().peekable());
    while let Some(layer) = layers.next() {
        x = match (layer, layers.peek()) {
            (NetworkLayer::GroupNorm(norm), Some(NetworkLayer::Activation(next)))
                if next.activation == Activation::Silu =>
            {
                layers.next();
                norm.apply(x, true)
            }
            _ => layer.forward(x),
        };
    }
    x
}

fn size_for(layers: &[NetworkLayer], size: [usize; 2]) -> Option<[usize; 2]> {
    layers.iter().try_fold(size, |size, layer| match layer {
        NetworkLayer::Conv(layer) => layer.conv.size_for(size, layer.padding),
        NetworkLayer::Upsample(layer) => Some(size.map(|size| size * layer.factor)),
        NetworkLayer::Residual(layer) => size_for(&layer.body, size).filter(|new| *new == size),
        _ => Some(size),
    })
}

impl NetworkLayer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => layer.conv.forward_any(x, layer.padding, layer.relu),
            Self::Upsample(layer) => layer.forward(x),
            Self::Activation(layer) => layer.activation.forward(x),
            Self::SoftClip(layer) => x.div_scalar(layer.limit).tanh().mul_scalar(layer.limit),
            Self::GroupNorm(layer) => layer.forward(x),
            Self::Attention(layer) => layer.forward(x),
            Self::Residual(layer) => {
                let y = forward(&layer.body, x.clone());
                y + match &layer.shortcut {
                    Some(conv) => conv.forward_any(x, Padding::Same, false),
                    None => x,
                }
            }
        }
    }

    /// Returns the rows of a summary, given the name of the layer above, if any.
    fn rows(&self, name: &str, above: &str) -> Vec<Layer> {
        match self {
            Self::Conv(layer) => {
                let relu = if layer.relu { " + Relu" } else { "" };
                vec![layer.conv.layer(format!("conv_{name}"), relu)]
            }
            Self::Upsample(layer) => {
                let kind = format!("Upsample x{}", layer.factor);
                vec![Layer::new(format!("upsample_{name}"), kind, layer.shape, layer)]
            }
            Self::Activation(layer) => {
                let kind = format!("{:?}", layer.activation);
                vec![Layer::new(format!("activation_{name}"), kind, layer.shape, layer)]
            }
            Self::SoftClip(layer) => {
                vec![Layer::new(format!("clip_{name}"), "SoftClip", layer.shape, layer)]
            }
            Self::GroupNorm(layer) => {
                vec![Layer::new(format!("norm_{name}"), "GroupNorm", layer.shape(), layer)]
            }
            Self::Attention(layer) => {
                vec![Layer::new(format!("attention_{name}"), "Attention", layer.shape(), layer)]
            }
            Self::Residual(layer) => {
                let body = layer.body.iter().enumerate();
                let body = body.flat_map(|(i, layer)| layer.rows(&format!("{name}.{i}"), ""));
                let shortcut = layer.shortcut.iter();
                let shortcut =
                    shortcut.map(|conv| conv.layer(format!("shortcut_{name}"), ", added"));
                // The shortcut leaves from the layer above, as the first of the body does.
                let from_above = |row: Layer| if above.is_empty() { row } else { row.after(above) };
                let mut rows = shortcut.map(from_above).collect::<Vec<_>>();
                let body = body.enumerate();
                rows.extend(body.map(|(i, row)| if i == 0 { from_above(row) } else { row }));
                rows
            }
        }
    }
}

impl Upsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([batch, height, width, channels], factor) = (x.dims(), self.factor);
        let x = x.reshape([batch, height, 1, width, 1, channels]);
        let x = x.expand([batch, height, factor, width, factor, channels]);
        x.reshape([batch, height * factor, width * factor, channels])
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

/// A larger kernel, factor or depth of nesting is treated as a mistake.
const MAX_KERNEL: usize = 1 << 10;
const MAX_FACTOR: usize = 1 << 6;
const MAX_DEPTH: usize = 16;

/// Maximum number of values of an image in a network; more is treated as a mistake.
const MAX_VALUES: usize = 1 << 30;

fn check_size(shape: [usize; 3]) -> Result<()> {
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
struct Build<'a> {
    /// Height, width and channels after the last layer.
    shape: [usize; 3],
    init: Init,
    device: &'a Device,
    depth: usize,
}

impl Build<'_> {
    fn layers(&mut self, blocks: &[Block], seed: Seed) -> Result<Vec<NetworkLayer>> {
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

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Activation, Conv, Direction, Geometry, Init, Norm, Normalization, check_dim, normalize,
};
use crate::decoder::ConvDecoderConfig;
use crate::describe::{Layer, Stage};
use crate::encoder::ConvEncoderConfig;
use crate::error::{Error, Result};
use crate::posterior::Diagonal;
use crate::seed::Seed;

/// Configuration of a convolutional network: an encoder from images to codes and its mirrored
/// decoder.
///
/// | field | in [`new`](Self::new) | meaning |
/// |---|---|---|
/// | `image` | as given | height, width and channels of an example |
/// | `channels` | as given | output channels of each convolution, from image to code; at least one |
/// | `strides` | 2 each | stride of each convolution |
/// | `latent_dim` | as given | length of a code |
/// | `kernel` | 3 | height and width of the kernels |
/// | `dense` | 16 | units of a layer between the convolutions and the heads, if any |
/// | `normalization` | none | normalisation after the activation of each layer |
/// | `activation` | ReLU | activation of each layer |
/// | `init` | Glorot uniform | distribution of the initial weights |
///
/// A file may omit the last five fields; `dense` then defaults to none, the others to their values
/// in `new`.
///
/// An image is a row of `height * width * channels` values, with the channels of each pixel
/// adjacent. Padding is "same" ([`Geometry`]), so the sizes need not be multiples of the strides.
///
/// The encoder consists of the convolutions, the dense layer and two linear heads. The decoder
/// consists of a dense layer to the size of the last convolution's output; a transposed convolution
/// for each convolution, with the same number of channels, stride and kernel, in reverse order; and
/// a last one of stride 1 with a 3x3 kernel, as many channels as the likelihood needs and no
/// activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvConfig {
    /// Height, width and channels of an example.
    pub image: [usize; 3],
    /// Output channels of each convolution, from image to code.
    pub channels: Vec<usize>,
    /// Stride of each convolution.
    pub strides: Vec<usize>,
    /// Length of a code.
    pub latent_dim: usize,
    /// Height and width of the kernels.
    #[serde(default = "three")]
    pub kernel: usize,
    /// Units of the layer between the convolutions and the heads.
    #[serde(default)]
    pub dense: Option<usize>,
    /// Normalisation after the activation of each layer.
    #[serde(default)]
    pub normalization: Normalization,
    /// Activation of each layer.
    #[serde(default)]
    pub activation: Activation,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

fn three() -> usize {
    3
}

/// Kernel of the last transposed convolution, as in the sources of the presets.
const OUTPUT_KERNEL: usize = 3;

impl ConvConfig {
    /// Describes 3x3 kernels of stride 2 and a dense layer of 16 units, with ReLU and no
    /// normalisation.
    pub fn new(image: [usize; 3], channels: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        let channels = channels.into();
        Self {
            image,
            strides: vec![2; channels.len()],
            channels,
            latent_dim,
            kernel: 3,
            dense: Some(16),
            normalization: Normalization::None,
            activation: Activation::default(),
            init: Init::default(),
        }
    }

    /// Describes the network of the post "A Step Up with Variational Autoencoders": 32 and 64
    /// channels, 134,165 parameters for MNIST and two latent dimensions.
    pub fn step_up(image: [usize; 3], latent_dim: usize) -> Self {
        Self::new(image, [32, 64], latent_dim)
    }

    /// Describes MachineCurve's network with batch normalisation: 8 and 16 channels, a dense layer
    /// of 20 units, 26,345 parameters for MNIST and two latent dimensions, 24,641 of them
    /// trainable.
    pub fn batch_norm(image: [usize; 3], latent_dim: usize) -> Self {
        let dense = Some(20);
        let normalization = Normalization::BATCH;
        Self { dense, normalization, ..Self::new(image, [8, 16], latent_dim) }
    }

    /// Describes MachineCurve's network after DCGAN (Radford et al. 2016): 128 to 1,024 channels,
    /// 5x5 kernels, batch normalisation.
    pub fn dcgan(image: [usize; 3], latent_dim: usize) -> Self {
        let channels = [128, 256, 512, 1024];
        let normalization = Normalization::BATCH;
        let (kernel, dense) = (5, Some(20));
        Self { kernel, dense, normalization, ..Self::new(image, channels, latent_dim) }
    }

    /// Returns the configuration of the network's encoder.
    pub fn encoder(&self) -> ConvEncoderConfig {
        ConvEncoderConfig { network: self.clone(), posterior: Diagonal }
    }

    /// Returns the configuration of the network's decoder, for a likelihood with one parameter per
    /// value.
    pub fn decoder(&self) -> ConvDecoderConfig {
        ConvDecoderConfig { network: self.clone(), params_per_value: 1 }
    }

    /// The length of an example.
    pub fn data_dim(&self) -> usize {
        self.image.iter().product()
    }

    /// Checks the fields. The size of a layer is checked when the layer is built.
    pub(crate) fn check(&self) -> Result<()> {
        for (field, size) in ["height", "width", "channels"].into_iter().zip(self.image) {
            check_dim(&format!("image {field}"), size)?;
        }
        if self.image.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim)).is_none() {
            return Err(Error::config(format!("an image of shape {:?} is too large", self.image)));
        }
        check_dim("latent_dim", self.latent_dim)?;
        check_dim("kernel", self.kernel)?;
        if self.kernel > MAX_KERNEL {
            let kernel = self.kernel;
            return Err(Error::config(format!(
                "kernel is {kernel}, but it must be at most {MAX_KERNEL}"
            )));
        }
        if self.channels.is_empty() {
            return Err(Error::config("channels is empty, but it must have at least 1 entry"));
        }
        if self.strides.len() != self.channels.len() {
            return Err(Error::config(format!(
                "there are {} strides for {} convolutions",
                self.strides.len(),
                self.channels.len()
            )));
        }
        for (i, (&channels, &stride)) in self.channels.iter().zip(&self.strides).enumerate() {
            check_dim(&format!("channels[{i}]"), channels)?;
            check_dim(&format!("strides[{i}]"), stride)?;
        }
        let smallest = self.smallest();
        if smallest.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim)).is_none() {
            return Err(Error::config(format!("a layer of shape {smallest:?} is too large")));
        }
        Ok(())
    }

    /// The geometry of each convolution, from image to code.
    fn geometries(&self) -> Vec<Geometry> {
        let [height, width, _] = self.image;
        let mut size = [height, width];
        let geometry = |&stride: &usize| {
            let geometry = Geometry::same(size, self.kernel, stride);
            size = geometry.small;
            geometry
        };
        self.strides.iter().map(geometry).collect()
    }

    /// Height, width and channels of the last convolution's output.
    pub(crate) fn smallest(&self) -> [usize; 3] {
        let geometries = self.geometries();
        let [height, width] = geometries.last().map_or([0; 2], |last| last.small);
        [height, width, self.channels.last().copied().unwrap_or(0)]
    }

    /// The convolutions of the encoder.
    pub(crate) fn down(&self, seed: Seed, device: &Device) -> Result<Vec<ConvBlock>> {
        let inputs = std::iter::once(&self.image[2]).chain(&self.channels);
        let blocks = self.geometries().into_iter().zip(inputs.zip(&self.channels)).enumerate();
        let block = |(i, (geometry, (&input, &output)))| {
            let seed = seed.child("conv").at(i as u64);
            self.block(geometry, Direction::Down, [input, output], seed, device)
        };
        blocks.map(block).collect()
    }

    /// The transposed convolutions of the decoder, except the last.
    pub(crate) fn up(&self, seed: Seed, device: &Device) -> Result<Vec<ConvBlock>> {
        let outputs = self.channels.iter().rev();
        let inputs = self.channels.last().into_iter().chain(outputs.clone());
        let blocks = self.geometries().into_iter().rev().zip(inputs.zip(outputs)).enumerate();
        let block = |(i, (geometry, (&input, &output)))| {
            let seed = seed.child("conv").at(i as u64);
            self.block(geometry, Direction::Up, [input, output], seed, device)
        };
        blocks.map(block).collect()
    }

    /// The last transposed convolution of the decoder.
    pub(crate) fn output(&self, channels: usize, seed: Seed, device: &Device) -> Result<Conv> {
        let [height, width, _] = self.image;
        let geometry = Geometry::same([height, width], OUTPUT_KERNEL, 1);
        let input = self.channels.first().copied().unwrap_or(0);
        Conv::new(geometry, Direction::Up, [input, channels], self.init, seed, device)
    }

    fn block(
        &self,
        geometry: Geometry,
        direction: Direction,
        channels: [usize; 2],
        seed: Seed,
        device: &Device,
    ) -> Result<ConvBlock> {
        Ok(ConvBlock {
            conv: Conv::new(geometry, direction, channels, self.init, seed, device)?,
            norm: self.normalization.init(channels[1], device)?,
            activation: self.activation,
        })
    }
}

/// A larger kernel is treated as a mistake.
const MAX_KERNEL: usize = 1 << 10;

/// A convolution with its activation and normalisation.
#[derive(Module, Debug)]
pub(crate) struct ConvBlock {
    conv: Conv,
    norm: Option<Norm>,
    #[module(skip)]
    activation: Activation,
}

impl ConvBlock {
    /// Applies the block; input and output are `[batch, height, width, channels]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = match self.activation {
            Activation::Relu => self.conv.forward(x, true),
            activation => activation.forward(self.conv.forward(x, false)),
        };
        normalize(&self.norm, y)
    }

    /// Returns the rows of a summary.
    pub(crate) fn layers(&self, name: &str) -> Vec<Layer> {
        let mut layers = vec![self.conv.layer(name, &format!(" + {:?}", self.activation))];
        if let Some(norm) = &self.norm {
            let name = format!("{name}_norm");
            layers.push(Layer::new(name, norm.kind(), self.conv.output_shape(), norm));
        }
        layers
    }

    /// Returns the block as operations, if it is a sequence of them.
    pub(crate) fn stages(&self) -> Option<Vec<Stage>> {
        let mut stages = vec![self.conv.stage(), Stage::Activation(self.activation)];
        if let Some(norm) = &self.norm {
            stages.push(norm.stage()?);
        }
        Some(stages)
    }
}

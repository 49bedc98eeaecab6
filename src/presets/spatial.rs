use crate::decoder::SpatialDecoderConfig;
use crate::encoder::SpatialEncoderConfig;
use crate::likelihood::{BernoulliNll, LaplaceNllConfig, ScaleConfig};
use crate::nn::{Activation, Block, Padding};
use crate::posterior::{ConstantVariance, Diagonal, VectorQuantizedFamily};
use crate::prior::{StandardNormal, UniformCodes};
use crate::vae::VaeConfig;

/// A model with a code at each position: a network from images to a grid of codes, and one back.
pub type SpatialVaeConfig<F, L, P> = VaeConfig<SpatialEncoderConfig<F>, SpatialDecoderConfig, L, P>;

/// Channels of the inner convolution of a residual block, and their number, as in the authors' code.
const RESIDUAL_CHANNELS: usize = 32;
const RESIDUAL_BLOCKS: usize = 2;

/// The vector-quantised variational autoencoder of van den Oord et al. (2017, section 4.1), for binary
/// images: two strided convolutions up to `channels` channels, two residual blocks and a code of
/// `columns` columns for every 4x4 pixels, one of `codes`; and the way back with transposed
/// convolutions.
///
/// The first convolution has half of the channels, and a 3x3 convolution precedes the residual
/// blocks, as in the authors' code. Its prior is uniform in training; train a
/// [`PixelCnnPrior`](crate::prior::PixelCnnPrior) afterwards to draw samples. Height and width of the
/// image must be multiples of 4.
pub fn vq_vae(
    image: [usize; 3],
    channels: usize,
    codes: usize,
    columns: usize,
) -> SpatialVaeConfig<VectorQuantizedFamily, BernoulliNll, UniformCodes> {
    quantized(image, channels, columns, VectorQuantizedFamily::new(codes, columns))
}

/// The network of [`vq_vae`] with codes of any quantising family, `columns` for every 4x4 pixels.
pub fn quantized<F>(
    image: [usize; 3],
    channels: usize,
    columns: usize,
    family: F,
) -> SpatialVaeConfig<F, BernoulliNll, UniformCodes> {
    let residual = Block::Residual(vec![
        Block::RELU,
        Block::conv(RESIDUAL_CHANNELS, 3),
        Block::RELU,
        Block::conv(channels, 1),
    ]);
    let mut middle = vec![Block::conv(channels, 3)];
    middle.extend(vec![residual; RESIDUAL_BLOCKS]);
    middle.push(Block::RELU);
    let half = (channels / 2).max(1);
    let down = [Block::down(half, 4), Block::RELU, Block::down(channels, 4), Block::RELU];
    let up = [Block::up(half, 4), Block::RELU, Block::up(image[2], 4)];
    let [height, width, _] = image;
    let layout = [height.div_ceil(4), width.div_ceil(4), columns];
    VaeConfig {
        encoder: SpatialEncoderConfig::new(image, [&down[..], &middle].concat(), columns)
            .with_posterior(family),
        decoder: SpatialDecoderConfig::new(layout, [&middle[..], &up].concat()),
        likelihood: BernoulliNll,
        prior: UniformCodes,
    }
}

/// The autoencoder of latent diffusion (Rombach et al. 2022, section 3.1 and appendix G), with the
/// layers of `AutoencoderKL` in diffusers, whose weights `weights::StateDict` loads.
///
/// [`new`](Self::new) describes that of Stable Diffusion: codes of 4 channels for every 8x8 pixels,
/// 83,653,863 parameters. Its codes are multiplied by 0.18215 before diffusion.
///
/// The likelihood is a Laplace distribution of scale 1, the pixel part of the authors' loss (their
/// log-variance stays at its start, 0); train with [`Elbo::with_beta`](crate::Elbo::with_beta)`(1e-6)`
/// for the weight that they give to the divergence. Their perceptual and adversarial terms need other
/// networks and are not part of it. Pixels are expected in [-1, 1]. Later models without the 1x1
/// convolutions beside the code are not of this form.
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::presets::AutoencoderKl;
/// use burn_vae::{ModuleConfig, Seed};
///
/// // A small one: half the height and width, 3 levels of resolution would quarter them.
/// let small = AutoencoderKl { channels: vec![32, 64], layers: 1, ..AutoencoderKl::new([32, 32, 3]) };
/// let vae = small.config().init(Seed::new(0), &Device::flex())?;
/// assert_eq!(vae.encoder.layout(), [16, 16, 4]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoencoderKl {
    /// Height, width and channels of an image. The first two must be multiples of the factor by
    /// which codes are smaller.
    pub image: [usize; 3],
    /// Channels at each resolution, from the image to the code; each is half as high and wide as the
    /// one before.
    pub channels: Vec<usize>,
    /// Residual blocks at each resolution of the encoder; the decoder has one more.
    pub layers: usize,
    /// Groups of the normalisations, which must divide the channels.
    pub groups: usize,
    /// Channels of a code.
    pub latent_channels: usize,
}

impl AutoencoderKl {
    /// Describes the autoencoder of Stable Diffusion.
    pub fn new(image: [usize; 3]) -> Self {
        Self {
            image,
            channels: vec![128, 256, 512, 512],
            layers: 2,
            groups: 32,
            latent_channels: 4,
        }
    }

    /// Returns the configuration of the model.
    pub fn config(&self) -> SpatialVaeConfig<Diagonal, LaplaceNllConfig, StandardNormal> {
        let [height, width, _] = self.image;
        let factor = 1 << self.channels.len().saturating_sub(1).min(30);
        let layout = [height / factor, width / factor, self.latent_channels];
        VaeConfig {
            encoder: SpatialEncoderConfig::new(self.image, self.down(), self.latent_channels),
            decoder: SpatialDecoderConfig::new(layout, self.up()),
            likelihood: LaplaceNllConfig::new(ScaleConfig::fixed(1.0)),
            prior: StandardNormal,
        }
    }

    fn norm(&self) -> Block {
        Block::GroupNorm { groups: self.groups, epsilon: 1e-6 }
    }

    fn residual(&self, channels: usize) -> Block {
        let half =
            |channels| [self.norm(), Block::Activation(Activation::Silu), Block::conv(channels, 3)];
        Block::Residual([half(channels), half(channels)].concat())
    }

    fn middle(&self) -> [Block; 3] {
        let channels = self.channels.last().copied().unwrap_or(0);
        let attention = Block::Residual(vec![self.norm(), Block::Attention]);
        [self.residual(channels), attention, self.residual(channels)]
    }

    fn output(&self, channels: usize) -> [Block; 3] {
        [self.norm(), Block::Activation(Activation::Silu), Block::conv(channels, 3)]
    }

    fn down(&self) -> Vec<Block> {
        let mut blocks = vec![Block::conv(self.channels.first().copied().unwrap_or(0), 3)];
        for (i, &channels) in self.channels.iter().enumerate() {
            blocks.extend(vec![self.residual(channels); self.layers]);
            if i + 1 < self.channels.len() {
                blocks.push(Block::down(channels, 3));
            }
        }
        blocks.extend(self.middle());
        // The means and the log-variances; the head is the 1x1 convolution after them.
        blocks.extend(self.output(2 * self.latent_channels));
        blocks
    }

    fn up(&self) -> Vec<Block> {
        let last = self.channels.last().copied().unwrap_or(0);
        let mut blocks = vec![Block::conv(self.latent_channels, 1), Block::conv(last, 3)];
        blocks.extend(self.middle());
        for (i, &channels) in self.channels.iter().rev().enumerate() {
            blocks.extend(vec![self.residual(channels); self.layers + 1]);
            if i + 1 < self.channels.len() {
                blocks.extend([Block::Upsample(2), Block::conv(channels, 3)]);
            }
        }
        blocks.extend(self.output(self.image[2]));
        blocks
    }
}

/// The tiny autoencoder for the codes of Stable Diffusion (TAESD, Bohan 2023), with the layers of
/// `AutoencoderTiny` in diffusers, whose weights `weights::StateDict` loads.
///
/// [`new`](Self::new) describes the original: 1,222,532 parameters from images to codes of 4 channels
/// for every 8x8 pixels, and 1,222,531 back. The codes are those of Stable Diffusion after the
/// multiplication by 0.18215. Pixels are expected in [0, 1], not in [-1, 1] as diffusers does.
///
/// It is distilled, not a variational autoencoder: its posterior has a constant variance, here of
/// standard deviation 0.01, that its training does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoencoderTiny {
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Channels of every layer.
    pub channels: usize,
    /// Residual blocks of the encoder at each resolution; the decoder has them in reverse order.
    pub blocks: Vec<usize>,
    /// Channels of a code.
    pub latent_channels: usize,
}

impl AutoencoderTiny {
    /// Describes the original.
    pub fn new(image: [usize; 3]) -> Self {
        Self { image, channels: 64, blocks: vec![1, 3, 3, 3], latent_channels: 4 }
    }

    /// Returns the configuration of the model.
    pub fn config(&self) -> SpatialVaeConfig<ConstantVariance, LaplaceNllConfig, StandardNormal> {
        let [height, width, _] = self.image;
        let factor = 1 << self.blocks.len().saturating_sub(1).min(30);
        let layout = [height / factor, width / factor, self.latent_channels];
        VaeConfig {
            encoder: SpatialEncoderConfig::new(self.image, self.down(), self.latent_channels)
                .with_posterior(ConstantVariance::new(0.01)),
            decoder: SpatialDecoderConfig::new(layout, self.up()),
            likelihood: LaplaceNllConfig::new(ScaleConfig::fixed(1.0)),
            prior: StandardNormal,
        }
    }

    /// Residual blocks with three convolutions, and a ReLU after each.
    fn residual(&self, count: usize) -> Vec<Block> {
        let conv = || Block::conv(self.channels, 3);
        let body = vec![conv(), Block::RELU, conv(), Block::RELU, conv()];
        vec![[Block::Residual(body), Block::RELU]; count].concat()
    }

    fn down(&self) -> Vec<Block> {
        let channels = self.channels;
        let mut blocks = Vec::new();
        for (i, &count) in self.blocks.iter().enumerate() {
            blocks.push(match i {
                0 => Block::conv(channels, 3),
                _ => Block::Conv {
                    channels,
                    kernel: 3,
                    stride: 2,
                    padding: Padding::Symmetric,
                    bias: false,
                },
            });
            blocks.extend(self.residual(count));
        }
        blocks.push(Block::conv(self.latent_channels, 3));
        blocks
    }

    fn up(&self) -> Vec<Block> {
        let channels = self.channels;
        let plain =
            Block::Conv { channels, kernel: 3, stride: 1, padding: Padding::Same, bias: false };
        let mut blocks = vec![Block::SoftClip(3.0), Block::conv(channels, 3), Block::RELU];
        for (i, &count) in self.blocks.iter().rev().enumerate() {
            blocks.extend(self.residual(count));
            if i + 1 < self.blocks.len() {
                blocks.extend([Block::Upsample(2), plain.clone()]);
            }
        }
        blocks.push(Block::conv(self.image[2], 3));
        blocks
    }
}

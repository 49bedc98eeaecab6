use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::codebook::check_groups;
use super::{Codebook, Grid, Quantized, QuantizingHead};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::math::gradient_of;
use crate::nn::{Norm, Normalization, linear, normalize};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Family, Head, NewHead};

/// Keeps the outermost levels within reach of the hyperbolic tangent, as in the authors' code.
const MARGIN: f64 = 1e-3;

/// Finite scalar quantisation.
impl Quantized<Grid> {
    /// Quantises features, `[batch, latent_dim]`, to the nearest point of a grid after bounding them
    /// (finite scalar quantisation, Mentzer et al. 2023, section 3.1).
    ///
    /// A feature `y` of a column with `L` levels becomes
    ///
    /// `z = round(h tanh(y + s) - o) / floor(L/2)`, with `h = (L - 1)(1 + 1e-3)/2`,
    ///
    /// where `o = 1/2` and `s = atanh(o/h)` if `L` is even, and both are 0 otherwise. The gradient is
    /// that without rounding (straight-through).
    ///
    /// # Panics
    /// If the columns do not divide into groups of the grid, or if a column of it has only two
    /// levels.
    pub fn finite_scalar(features: Tensor<2>, grid: Grid) -> Self {
        assert!(!grid.levels().contains(&2), "{:?} has a column of two levels", grid.levels());
        let (latent_dim, device) = (features.dims()[1], features.device());
        grid.groups(latent_dim);
        let row = |value: fn(u8) -> f64| grid.row(latent_dim, &device, value);
        let (half, offset) = (row(half_range), row(offset));
        let shift = row(|levels| (self::offset(levels) / half_range(levels)).atanh());
        let bounded = (features + shift).tanh() * half - offset;
        let inverse = row(|levels| 1.0 / f64::from(levels / 2));
        Self::new((bounded.clone().detach().round() + gradient_of(bounded)) * inverse, grid)
    }
}

fn half_range(levels: u8) -> f64 {
    f64::from(levels - 1) * (1.0 + MARGIN) / 2.0
}

fn offset(levels: u8) -> f64 {
    if levels.is_multiple_of(2) { 0.5 } else { 0.0 }
}

/// The family of [`finite_scalar`](Quantized::finite_scalar) posteriors. `latent_dim` is the number of
/// groups times the columns of the grid.
///
/// By default the features are standardised before they are bounded, by their mean and variance over
/// the batch in training and by moving averages otherwise. Without that, as in the paper, the features
/// of a column may leave the range of the hyperbolic tangent, whose gradient vanishes there, and all
/// examples end on one of its levels; the history shows how many codes are in use.
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::decoder::MlpDecoderConfig;
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::{FiniteScalarFamily, Grid};
/// use burn_vae::prior::UniformCodes;
/// use burn_vae::{BernoulliNll, ModuleConfig, Seed, VaeConfig};
///
/// // Codes of 16 groups, each one of 1,000.
/// let grid = Grid::new([8, 5, 5, 5])?;
/// let config = VaeConfig {
///     encoder: MlpEncoderConfig::new(784, [256], 16 * 4)
///         .with_posterior(FiniteScalarFamily::new(grid)),
///     decoder: MlpDecoderConfig::new(16 * 4, [256], 784),
///     likelihood: BernoulliNll,
///     prior: UniformCodes,
/// };
/// let vae = config.init(Seed::new(0), &Device::flex())?;
/// let images = vae.sample(3, 0)?;
/// let indices = vae.encode_indices(images)?;
/// assert_eq!(indices.dims(), [3, 16]);
/// let again = vae.decode_indices(indices)?;
/// assert_eq!(again.dims(), [3, 784]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiniteScalarFamily {
    /// The grid of the codes.
    pub grid: Grid,
    /// Whether the features are standardised.
    pub standardize: bool,
}

impl FiniteScalarFamily {
    /// Describes codes on a grid.
    pub fn new(grid: Grid) -> Self {
        Self { grid, standardize: true }
    }

    /// Bounds the features as they are, as in the paper.
    pub fn without_standardization(self) -> Self {
        Self { standardize: false, ..self }
    }
}

named_config!(FiniteScalarFamily, FiniteScalar { grid: Grid, standardize: bool });

/// A linear layer that outputs the features of a [`FiniteScalarFamily`].
#[derive(Module, Debug)]
pub struct FiniteScalarHead {
    features: Linear,
    norm: Option<Norm>,
    #[module(skip)]
    family: FiniteScalarFamily,
}

impl Family for FiniteScalarFamily {
    type Head = FiniteScalarHead;

    fn init(&self, new: &NewHead) -> Result<FiniteScalarHead> {
        check_groups("latent_dim", new.latent_dim, self.grid.columns())?;
        if let Some(i) = self.grid.levels().iter().position(|levels| *levels == 2) {
            return Err(Error::config(format!(
                "levels[{i}] is 2, but finite scalar quantisation needs at least 3"
            )));
        }
        let features = new.linear("features")?;
        // Without a scale and a shift that are learned.
        let norm = match self.standardize {
            true => Normalization::BATCH.init(new.latent_dim, new.device)?.map(Norm::no_grad),
            false => None,
        };
        Ok(FiniteScalarHead { features, norm, family: *self })
    }
}

impl Head for FiniteScalarHead {
    type Posterior = Quantized<Grid>;

    fn latent_dim(&self) -> usize {
        self.features.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::Codebook
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::default()
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> Quantized<Grid> {
        let features = normalize(&self.norm, linear(&self.features, features, None));
        Quantized::finite_scalar(features, self.family.grid)
    }
}

impl QuantizingHead for FiniteScalarHead {
    type Codebook = Grid;

    fn codebook(&self) -> Grid {
        self.family.grid
    }
}

impl Describe for FiniteScalarHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::linear("features", "Linear", &self.features).after(INPUT)]
    }
}

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};

use super::{Family, Grid, Head, Posterior};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::Result;
use crate::likelihood::Support;
use crate::math::gradient_of;
use crate::nn::{Init, linear};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::seed::Seed;

/// Finite scalar quantisation (Mentzer et al. 2023): a posterior of a single code, the point of a
/// [`Grid`] that is nearest to the bounded features.
///
/// A feature `y` of a column with `L` levels is bounded and rounded (ibid., section 3.1):
///
/// `z = round(h tanh(y + s) - o) / floor(L/2)`, with `h = (L - 1)(1 + 1e-3)/2`,
///
/// where `o = 1/2` and `s = atanh(o/h)` if `L` is even, and both are 0 otherwise. The gradient is
/// that without rounding (straight-through).
///
/// All of `q(z|x)` is on one code, so it needs no noise. The ELBO with a
/// [`GridPrior`](crate::prior::GridPrior) is `log p(x|z) - sum_j log L_j`, which is one term of
/// `p(x) = sum_z p(z) p(x|z)`: a bound in nats, whose divergence is constant. There is no density to
/// weigh samples with, so importance sampling does not apply.
#[derive(Clone, Debug)]
pub struct FiniteScalar {
    /// The codes, `[batch, latent_dim]`.
    z: Tensor<2>,
    grid: Grid,
}

/// Keeps the outermost levels within reach of the hyperbolic tangent, as in the authors' code.
const MARGIN: f64 = 1e-3;

impl FiniteScalar {
    /// Quantises features, `[batch, latent_dim]`.
    ///
    /// # Panics
    /// If the columns do not divide into groups of the grid.
    pub fn new(features: Tensor<2>, grid: Grid) -> Self {
        let (latent_dim, device) = (features.dims()[1], features.device());
        let columns = grid.columns();
        assert!(latent_dim.is_multiple_of(columns), "{latent_dim} columns in groups of {columns}");
        let row = |value: fn(u8) -> f64| grid.row(latent_dim, &device, value);
        let (half, offset) = (row(half_range), row(offset));
        let shift = row(|levels| (self::offset(levels) / half_range(levels)).atanh());
        let bounded = (features + shift).tanh() * half - offset;
        let inverse = row(|levels| 1.0 / f64::from(levels / 2));
        let z = (bounded.clone().detach().round() + gradient_of(bounded)) * inverse;
        Self { z, grid }
    }

    /// The grid of the codes.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Returns the number of the code of each group, `[batch, groups]`; see [`Grid::indices`].
    pub fn indices(&self) -> Tensor<2, Int> {
        self.grid.indices(self.z.clone())
    }
}

fn half_range(levels: u8) -> f64 {
    f64::from(levels - 1) * (1.0 + MARGIN) / 2.0
}

fn offset(levels: u8) -> f64 {
    if levels.is_multiple_of(2) { 0.5 } else { 0.0 }
}

impl Posterior for FiniteScalar {
    fn dims(&self) -> [usize; 2] {
        self.z.dims()
    }

    /// Returns the codes.
    fn mean(&self) -> Tensor<2> {
        self.z.clone()
    }

    fn detach(&self) -> Self {
        Self { z: self.z.clone().detach(), ..self.clone() }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self { z: self.z.clone().select(0, places), ..self.clone() }
    }

    /// Returns the codes, once for each sample.
    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        let [batch, latent_dim] = self.z.dims();
        self.z.clone().unsqueeze_dim::<3>(0).expand([noise.dims()[0], batch, latent_dim])
    }
}

/// The family of [`FiniteScalar`] posteriors. `latent_dim` is the number of groups times the columns
/// of the grid.
///
/// In small networks the features of a column may leave the range of the hyperbolic tangent early,
/// and all examples end on one of its levels. [`Grid::usage`] shows it; smaller initial weights help.
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::decoder::MlpDecoderConfig;
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::{FiniteScalarFamily, Grid};
/// use burn_vae::prior::GridPrior;
/// use burn_vae::{BernoulliNll, ModuleConfig, Seed, VaeConfig};
///
/// // Codes of 16 groups, each one of 1,000.
/// let grid = Grid::new([8, 5, 5, 5])?;
/// let config = VaeConfig {
///     encoder: MlpEncoderConfig::new(784, [256], 16 * 4)
///         .with_posterior(FiniteScalarFamily::new(grid)),
///     decoder: MlpDecoderConfig::new(16 * 4, [256], 784),
///     likelihood: BernoulliNll,
///     prior: GridPrior::new(grid),
/// };
/// let vae = config.init(Seed::new(0), &Device::flex())?;
/// let images = vae.sample(3, 0)?;
/// let indices = vae.encode(images)?.indices();
/// assert_eq!(indices.dims(), [3, 16]);
/// let again = vae.decode(grid.codes_of(indices)?)?;
/// assert_eq!(again.dims(), [3, 784]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiniteScalarFamily {
    /// The grid of the codes.
    pub grid: Grid,
}

impl FiniteScalarFamily {
    /// Describes codes on a grid.
    pub fn new(grid: Grid) -> Self {
        Self { grid }
    }
}

named_config!(FiniteScalarFamily, FiniteScalar { grid: Grid });

/// A linear layer that outputs the features of a [`FiniteScalar`].
#[derive(Module, Debug)]
pub struct FiniteScalarHead {
    features: Linear,
    #[module(skip)]
    family: FiniteScalarFamily,
}

impl Family for FiniteScalarFamily {
    type Head = FiniteScalarHead;

    fn init(
        &self,
        features: usize,
        latent_dim: usize,
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<FiniteScalarHead> {
        self.grid.check("latent_dim", latent_dim)?;
        let features = init.linear(features, latent_dim, seed.child("features"), device)?;
        Ok(FiniteScalarHead { features, family: *self })
    }
}

impl Head for FiniteScalarHead {
    type Posterior = FiniteScalar;

    fn latent_dim(&self) -> usize {
        self.features.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::Grid(self.family.grid)
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::default()
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> FiniteScalar {
        FiniteScalar::new(linear(&self.features, features, None), self.family.grid)
    }
}

impl Describe for FiniteScalarHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::linear("features", "Linear", &self.features).after(INPUT)]
    }
}

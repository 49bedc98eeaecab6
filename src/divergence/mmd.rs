use burn::tensor::{Bool, Tensor};

use super::{Divergence, DivergenceTerms};
use crate::error::{Error, Result};
use crate::math::sum_by_rows;
use crate::posterior::Samples;
use crate::prior::Distribution;

/// The squared maximum mean discrepancy between the posterior samples of a batch and as many
/// samples of the prior (Gretton et al. 2012, eq. 3 and 5).
///
/// `MMD^2 = mean k(z, z') + mean k(y, y') - 2 mean k(z, y)`, with `z` from the posteriors and `y`
/// from the prior
///
/// Unlike the other divergences it compares the prior with the aggregated posterior, the mixture of
/// all examples' posteriors, as InfoVAE (Zhao et al. 2019) and the Wasserstein autoencoder
/// (Tolstikhin et al. 2018) do. A single posterior may lie anywhere as long as all of them together
/// cover the prior. The value therefore belongs to the batch and is repeated for every example. It
/// is not in nats, is at most 2 per kernel, and needs a weight
/// ([`Elbo::with_beta`](crate::Elbo::with_beta)) of the order of the reconstruction error. Memory
/// grows with the square of the number of samples in a batch, times the latent dimension.
///
/// The samples of the prior are drawn with [`Samples::seed`].
///
/// ```
/// use burn_vae::Elbo;
/// use burn_vae::divergence::{Kernel, Mmd};
///
/// let wae = Elbo::new(Mmd::new(Kernel::inverse_multiquadratic(2.0)?)).with_beta(10.0)?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mmd {
    kernels: Vec<Kernel>,
    is_biased: bool,
}

/// The similarity of two points at distance `d`; 1 at distance 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    shape: Shape,
    width: Width,
}

/// The length scale of a [`Kernel`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Width {
    /// A fixed width; must be above 0.
    Fixed(f64),
    /// The root mean square distance between posterior samples and prior samples, computed for each
    /// batch without a gradient.
    OfBatch,
}

impl From<f64> for Width {
    fn from(width: f64) -> Self {
        Self::Fixed(width)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Gaussian,
    Laplacian,
    InverseMultiquadratic,
    RationalQuadratic { alpha: f64 },
}

impl Kernel {
    /// The Gaussian kernel `exp(-d^2 / (2 width^2))`.
    ///
    /// # Errors
    /// If the width is not above 0 and finite.
    pub fn gaussian(width: impl Into<Width>) -> Result<Self> {
        Self::new(Shape::Gaussian, width)
    }

    /// The Laplacian kernel `exp(-d / width)`.
    ///
    /// # Errors
    /// If the width is not above 0 and finite.
    pub fn laplacian(width: impl Into<Width>) -> Result<Self> {
        Self::new(Shape::Laplacian, width)
    }

    /// The inverse multiquadratic kernel `1 / (1 + d^2 / width^2)`. The Wasserstein autoencoder
    /// uses `width^2 = 2 latent_dim`.
    ///
    /// # Errors
    /// If the width is not above 0 and finite.
    pub fn inverse_multiquadratic(width: impl Into<Width>) -> Result<Self> {
        Self::new(Shape::InverseMultiquadratic, width)
    }

    /// The rational quadratic kernel `(1 + d^2 / (2 alpha width^2))^(-alpha)`.
    ///
    /// # Errors
    /// If the width or `alpha` is not above 0 and finite.
    pub fn rational_quadratic(alpha: f64, width: impl Into<Width>) -> Result<Self> {
        check("alpha", alpha)?;
        Self::new(Shape::RationalQuadratic { alpha }, width)
    }

    fn new(shape: Shape, width: impl Into<Width>) -> Result<Self> {
        let width = width.into();
        if let Width::Fixed(width) = width {
            check("the width", width)?;
        }
        Ok(Self { shape, width })
    }

    /// Evaluates the kernel at squared distances, all of them above zero.
    fn at(&self, squares: Tensor<2>, mean_square: &Tensor<2>) -> Tensor<2> {
        let scaled = match self.width {
            Width::Fixed(width) => squares.div_scalar(width * width),
            Width::OfBatch => squares / mean_square.clone(),
        };
        match self.shape {
            Shape::Gaussian => scaled.mul_scalar(-0.5).exp(),
            Shape::Laplacian => scaled.sqrt().neg().exp(),
            Shape::InverseMultiquadratic => scaled.add_scalar(1.0).recip(),
            Shape::RationalQuadratic { alpha } => {
                scaled.div_scalar(2.0 * alpha).log1p().mul_scalar(-alpha).exp()
            }
        }
    }
}

fn check(what: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::value(format!("{what} of a kernel is {value}, but it must be finite and above 0")))
}

impl Mmd {
    /// The unbiased estimate, which may be negative. A point is not compared with itself, unless
    /// the set has only one point.
    pub fn new(kernel: Kernel) -> Self {
        Self { kernels: vec![kernel], is_biased: false }
    }

    /// Adds a kernel, for example of another width. The discrepancy is the sum over all kernels.
    pub fn with_kernel(mut self, kernel: Kernel) -> Self {
        self.kernels.push(kernel);
        self
    }

    /// Switches to the biased estimate, which is never negative: points are also compared with
    /// themselves.
    pub fn biased(self) -> Self {
        Self { is_biased: true, ..self }
    }

    /// Returns the discrepancy between two sets of points, `[1]`.
    ///
    /// # Shapes
    /// - `z`: `[n, dim]`
    /// - `y`: `[m, dim]`
    ///
    /// # Panics
    /// If the sets differ in dimension, or one is empty.
    pub fn between(&self, z: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        let [n, m] = [z.dims()[0], y.dims()[0]];
        assert!(n > 0 && m > 0, "MMD needs at least one point in each set, not {n} and {m}");
        let cross = squared_distances(z.clone(), y.clone());
        let mean = |x: Tensor<2>| sum_by_rows(x).div_scalar((n * m) as f64);
        let mean_square = mean(cross.clone().detach()).unsqueeze();
        let (within_z, within_y) =
            (squared_distances(z.clone(), z), squared_distances(y.clone(), y));
        let sums = self.kernels.iter().map(|kernel| {
            let between = mean(kernel.at(cross.clone(), &mean_square));
            self.mean_within(kernel.at(within_z.clone(), &mean_square))
                + self.mean_within(kernel.at(within_y.clone(), &mean_square))
                - between.mul_scalar(2.0)
        });
        sums.fold(mean_square.zeros_like().reshape([1]), |sum, next| sum + next)
    }

    /// Averages a kernel over the pairs of points in one set, `[points, points]`.
    fn mean_within(&self, kernel: Tensor<2>) -> Tensor<1> {
        let n = kernel.dims()[0];
        // The diagonal is 1 and has no gradient.
        let diagonal = Tensor::<2, Bool>::diag_mask([n, n], 0, &kernel.device()).bool_not();
        let others = sum_by_rows(kernel.mask_fill(diagonal, 0.0));
        match self.is_biased || n == 1 {
            true => others.add_scalar(n as f64).div_scalar((n * n) as f64),
            false => others.div_scalar((n * (n - 1)) as f64),
        }
    }
}

/// Squared distances `|a - b|^2` of all pairs, `[n, m]`, kept above zero because the square root
/// has no derivative there.
///
/// Computed from differences: for points close together `|a|^2 + |b|^2 - 2 a.b` is only rounding
/// error.
fn squared_distances(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let differences = a.unsqueeze_dim::<3>(1) - b.unsqueeze_dim::<3>(0);
    differences.square().sum_dim(2).squeeze_dim::<2>(2).clamp_min(1e-30)
}

impl<Q, P: Distribution> Divergence<Q, P> for Mmd {
    fn terms(&self, _posterior: &Q, prior: &P, samples: &Samples) -> DivergenceTerms {
        let [num_samples, batch, latent_dim] = samples.z.dims();
        let count = num_samples * batch;
        let z = samples.z.clone().reshape([count, latent_dim]);
        let y = prior.sample(count, latent_dim, samples.seed, &z.device());
        DivergenceTerms::new(self.between(z, y).expand([batch]))
    }
}

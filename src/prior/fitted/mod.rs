//! Mixtures of Gaussians that are fitted to codes, not trained.

mod em;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::{Mixture, Prior};
use crate::config::{ModuleConfig, named_config};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::nn::{MAX_WEIGHTS, check_dim, check_len};
use crate::noise::{NoiseShape, NoiseSource};
use crate::phase::Phase;
use crate::posterior::FullGaussian;
use crate::seed::Seed;

use em::{Gaussians, Points};

/// Configuration of a [`FittedMixture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FittedMixtureConfig {
    /// Number of Gaussians in the mixture.
    pub components: usize,
    /// Length of a code.
    pub latent_dim: usize,
}

impl FittedMixtureConfig {
    /// Describes a mixture of `components` Gaussians over codes of length `latent_dim`.
    pub fn new(components: usize, latent_dim: usize) -> Self {
        Self { components, latent_dim }
    }

    fn check(&self) -> Result<()> {
        let Self { components: count, latent_dim } = *self;
        check_len("components", count)?;
        check_dim("latent_dim", latent_dim)?;
        let size = latent_dim.checked_mul(latent_dim).and_then(|size| size.checked_mul(count));
        if size.is_none_or(|size| size > MAX_WEIGHTS) {
            return Err(Error::config(format!(
                "{count} Gaussians over codes of length {latent_dim} are too many"
            )));
        }
        Ok(())
    }
}

named_config!(FittedMixtureConfig, FittedMixture { components: usize, latent_dim: usize });

/// `p(z) = sum_k w_k N(z; mean_k, C_k C_k^T)` with full covariances, fitted to the codes of a trained
/// model by expectation maximisation (Dempster et al. 1977): ex-post density estimation (Ghosh et al.
/// 2020, section 4).
///
/// Further training of the model changes the mixture too. Its divergence has no closed form: use
/// [`MonteCarloKl`](crate::divergence::MonteCarloKl) or an importance-weighted bound.
///
/// Where the codes of the data do not follow the model's prior, samples from the prior look worse than
/// reconstructions, and those of a mixture better:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use burn_vae::data::Examples;
/// use burn_vae::eval::codes;
/// use burn_vae::prior::{FitMixture, FittedMixture};
/// # use burn_vae::MlpVae;
///
/// # fn example(vae: MlpVae, train: Arc<dyn Examples>) -> burn_vae::Result<()> {
/// let codes = codes(&vae, train, 500, None)?;
/// let (mixture, fit) = FittedMixture::fit(codes, FitMixture::new(10))?;
/// println!("{:.3} nats per code", fit.log_likelihood);
/// let samples = vae.with_prior(mixture)?.sample(100, 0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct FittedMixture {
    /// Logits of the weights, `[components]`.
    logits: Param<Tensor<1>>,
    /// `[components, latent_dim]`
    mean: Param<Tensor<2>>,
    /// Logarithms of the diagonals of the factors, `[components, latent_dim]`.
    log_diagonal: Param<Tensor<2>>,
    /// The factors below their diagonals, `[components, latent_dim - 1, latent_dim - 1]`.
    below: Option<Param<Tensor<3>>>,
}

/// How a [`FittedMixture`] is fitted; the defaults are those of scikit-learn's `GaussianMixture`.
#[derive(Clone, Debug, PartialEq)]
pub struct FitMixture {
    /// Number of Gaussians.
    pub components: usize,
    /// Added to the variances, so that no Gaussian shrinks to a point; at least 0.
    pub regularization: f64,
    /// The fit ends if an iteration improves the log-likelihood by less than this, in nats per code.
    pub tolerance: f64,
    /// Maximum number of iterations.
    pub max_iterations: usize,
    /// Seed of the first means, which k-means improves (k-means++, Arthur and Vassilvitskii 2007).
    pub seed: Seed,
    /// The first means in place of those, row by row.
    pub means: Option<Vec<Vec<f64>>>,
}

impl FitMixture {
    /// Fits `components` Gaussians.
    pub fn new(components: usize) -> Self {
        Self {
            components,
            regularization: 1e-6,
            tolerance: 1e-3,
            max_iterations: 100,
            seed: Seed::default(),
            means: None,
        }
    }
}

/// The outcome of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// The mean of `log p(z)` over the codes, in nats, under the mixture of the last iteration but one.
    pub log_likelihood: f64,
    /// The number of iterations.
    pub iterations: usize,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

impl FittedMixture {
    /// Fits a mixture to codes, `[n, latent_dim]`.
    ///
    /// # Errors
    /// If there are fewer codes than Gaussians, if a code is not finite, if a field of `how` is out of
    /// range, or if a covariance becomes singular.
    pub fn fit(codes: Tensor<2>, how: FitMixture) -> Result<(Self, Fit)> {
        FittedMixtureConfig::new(how.components, codes.dims()[1]).check()?;
        let device = codes.device().without_autodiff();
        let points = Points::read(codes)?;
        let (gaussians, fit) = em::fit(&points, &how)?;
        Ok((Self::of(&gaussians, &device), fit))
    }

    fn of(gaussians: &Gaussians, device: &Device) -> Self {
        let [count, dim] = [gaussians.weights.len(), gaussians.dim()];
        let tensor = |values: Vec<f64>, shape: Vec<usize>| {
            TensorData::new::<f32, _>(values.into_iter().map(|x| x as f32).collect(), shape)
        };
        let logits = gaussians.weights.iter().map(|weight| weight.ln()).collect();
        let means = gaussians.means.iter().flat_map(|mean| mean.iter().copied()).collect();
        let factors = gaussians.factors.iter();
        let diagonal = factors.clone().flat_map(|c| (0..dim).map(|j| c[(j, j)].ln()));
        let below = factors.flat_map(|c| {
            let entry = move |i: usize, j: usize| if j > i { 0.0 } else { c[(i + 1, j)] };
            (0..dim - 1).flat_map(move |i| (0..dim - 1).map(move |j| entry(i, j)))
        });
        let log_diagonal = tensor(diagonal.collect(), vec![count, dim]);
        let below = (dim > 1).then(|| {
            let below = tensor(below.collect(), vec![count, dim - 1, dim - 1]);
            Param::from_tensor(Tensor::from_data(below, device))
        });
        Self {
            logits: Param::from_tensor(Tensor::from_data(tensor(logits, vec![count]), device)),
            mean: Param::from_tensor(Tensor::from_data(tensor(means, vec![count, dim]), device)),
            log_diagonal: Param::from_tensor(Tensor::from_data(log_diagonal, device)),
            below,
        }
    }

    /// The Gaussians, as a batch of `components` distributions.
    pub fn components(&self) -> FullGaussian {
        let below = self.below.as_ref().map(|below| below.val().tril(0));
        FullGaussian::from_factor(self.mean.val(), self.log_diagonal.val(), below)
    }

    /// The logarithms of the weights, `[components]`.
    pub fn log_weights(&self) -> Tensor<1> {
        activation::log_softmax(self.logits.val(), 0)
    }
}

impl ModuleConfig for FittedMixtureConfig {
    type Module = FittedMixture;

    /// Builds Gaussians with means drawn from `N(0, I)` and variances of 1, in place of which weights
    /// are loaded.
    fn init(&self, seed: Seed, device: &Device) -> Result<FittedMixture> {
        self.check()?;
        let Self { components: count, latent_dim } = *self;
        let mean = NoiseSource::new(seed).draw(0, [1, count, latent_dim], device).squeeze_dim(0);
        let below = (latent_dim > 1).then(|| {
            let shape = [count, latent_dim - 1, latent_dim - 1];
            Param::from_tensor(Tensor::zeros(shape, device))
        });
        Ok(FittedMixture {
            logits: Param::from_tensor(Tensor::zeros([count], device)),
            mean: Param::from_tensor(mean),
            log_diagonal: Param::from_tensor(Tensor::zeros([count, latent_dim], device)),
            below,
        })
    }
}

impl<E: Encoder> Prior<E> for FittedMixture {
    type Bound = Mixture<FullGaussian>;

    fn bind(&self, _encoder: &E, _phase: Phase) -> Self::Bound {
        let noise = NoiseShape::normal(self.mean.dims()[1]);
        Mixture::new(self.components(), self.log_weights(), noise, Support::Real)
    }
}

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::{Density, Family, Head, NewHead, Posterior, Samples};
use crate::config::unit_name;
use crate::describe::{Describe, INPUT, Layer};
use crate::divergence::{Divergence, DivergenceTerms, KlDivergence};
use crate::error::Result;
use crate::math::{LN_2PI, expm1, gradient_of, standardize};
use crate::nn::{Init, linear};
use crate::phase::Phase;
use crate::posterior::DiagonalGaussian;
use crate::prior::DiagonalPrior;
use crate::seed::Seed;

/// `q(z|x) = N(z; mean, C C^T)` with a lower triangular Cholesky factor `C` (Kingma and Welling
/// 2019, section 2.5.1).
///
/// ```text
/// z = mean + C eps,  C_jj = exp(log_diagonal_j)
/// log q(z|x) = -sum_j (1/2 eps_j^2 + 1/2 log(2 pi) + log_diagonal_j)
/// ```
///
/// The density of its own samples is computed from their noise, that of other codes by forward
/// substitution.
#[derive(Clone, Debug)]
pub struct FullGaussian {
    /// Means, `[batch, latent_dim]`.
    mean: Tensor<2>,
    /// Logarithms of the diagonal of the factor, `[batch, latent_dim]`; unbounded.
    log_diagonal: Tensor<2>,
    /// The factor below its diagonal, without the empty first row and last column:
    /// `[batch, latent_dim - 1, latent_dim - 1]`, with zeros above its own diagonal. `None` with
    /// one dimension.
    below: Option<Tensor<3>>,
}

impl FullGaussian {
    /// Creates a batch of Gaussians.
    ///
    /// The `L (L - 1) / 2` entries of the factor below its diagonal are in an order that is fast to
    /// unpack, not row by row; [`factor`](Self::factor) shows where each one goes.
    ///
    /// # Shapes
    /// - `mean`, `log_diagonal`: `[batch, latent_dim]`
    /// - `off_diagonal`: `[batch, latent_dim (latent_dim - 1) / 2]`; ignored with one dimension
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn new(mean: Tensor<2>, log_diagonal: Tensor<2>, off_diagonal: Tensor<2>) -> Self {
        assert_eq!(mean.dims(), log_diagonal.dims(), "mean and log_diagonal differ in shape");
        let [batch, dim] = mean.dims();
        let below = (dim > 1).then(|| {
            assert_eq!(off_diagonal.dims(), [batch, dim * (dim - 1) / 2], "off_diagonal");
            unfold(off_diagonal, dim - 1)
        });
        Self { mean, log_diagonal, below }
    }

    /// Returns the factor `C`, `[batch, latent_dim, latent_dim]`.
    pub fn factor(&self) -> Tensor<3> {
        let [batch, dim] = self.mean.dims();
        let device = self.mean.device();
        let diagonal = self.log_diagonal.clone().exp().unsqueeze_dim::<3>(2);
        let diagonal = diagonal * Tensor::<2>::eye(dim, &device).unsqueeze_dim::<3>(0);
        let Some(below) = self.below.clone() else { return diagonal };
        let row = Tensor::zeros([batch, 1, dim - 1], &device);
        let column = Tensor::zeros([batch, dim, 1], &device);
        diagonal + Tensor::cat(vec![Tensor::cat(vec![row, below], 1), column], 2)
    }

    /// Returns `C_j0 eps_0 + .. + C_j,j-1 eps_j-1` for each `j` except 0.
    fn off_diagonal_times(&self, eps: &Tensor<3>) -> Option<Tensor<3>> {
        let below = self.below.clone()?;
        let [_, _, dim] = eps.dims();
        let columns = eps.clone().narrow(2, 0, dim - 1).permute([1, 2, 0]);
        Some(below.matmul(columns).permute([2, 0, 1]))
    }

    /// Creates a batch of Gaussians from the log-diagonal of their factor, `[batch, dim]`, and the
    /// part below the diagonal, `[batch, dim - 1, dim - 1]`, lower triangular; `None` with one
    /// dimension.
    pub(crate) fn from_factor(
        mean: Tensor<2>,
        log_diagonal: Tensor<2>,
        below: Option<Tensor<3>>,
    ) -> Self {
        Self { mean, log_diagonal, below }
    }

    /// Solves `C eps = z` for `eps` by forward substitution.
    fn solve(&self, z: Tensor<3>) -> Tensor<3> {
        let dim = self.mean.dims()[1];
        let log_diagonal = self.log_diagonal.clone().unsqueeze_dim::<3>(0);
        let mut rest = z;
        let mut eps = Vec::with_capacity(dim);
        for j in 0..dim {
            let found =
                standardize(rest.clone().narrow(2, 0, 1), log_diagonal.clone().narrow(2, j, 1));
            if let (Some(below), true) = (&self.below, j + 1 < dim) {
                let column = below.clone().narrow(2, j, 1).narrow(1, j, dim - 1 - j);
                let column = column.squeeze_dim::<2>(2).unsqueeze_dim::<3>(0);
                rest = rest.narrow(2, 1, dim - 1 - j) - column * found.clone();
            }
            eps.push(found);
        }
        Tensor::cat(eps, 2)
    }

    /// `-sum_j (1/2 eps_j^2 + 1/2 log(2 pi) + log_diagonal_j)`
    fn log_prob_of_noise(&self, eps: Tensor<3>) -> Tensor<2> {
        let sum = eps.square().add_scalar(LN_2PI).sum_dim(2).squeeze_dim::<2>(2);
        let log_det = self.log_diagonal.clone().sum_dim(1).squeeze_dim::<1>(1);
        sum.mul_scalar(-0.5) - log_det.unsqueeze_dim(0)
    }
}

/// Unpacks `[batch, rows (rows + 1) / 2]` values into the lower triangles of matrices, diagonal
/// included. All values but the first `rows`, followed by all values in reverse order, are cut into
/// rows; each value then occurs exactly once on or below the diagonal.
fn unfold(packed: Tensor<2>, rows: usize) -> Tensor<3> {
    let [batch, len] = packed.dims();
    let later = packed.clone().narrow(1, rows.min(len - 1), len - rows.min(len - 1));
    let reversed = packed.flip([1]);
    let all = match len > rows {
        true => Tensor::cat(vec![later, reversed], 1),
        false => reversed,
    };
    all.reshape([batch, rows, rows]).tril(0)
}

impl Posterior for FullGaussian {
    fn dims(&self) -> [usize; 2] {
        self.mean.dims()
    }

    fn mean(&self) -> Tensor<2> {
        self.mean.clone()
    }

    fn detach(&self) -> Self {
        Self {
            mean: self.mean.clone().detach(),
            log_diagonal: self.log_diagonal.clone().detach(),
            below: self.below.clone().map(Tensor::detach),
        }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self {
            mean: self.mean.clone().select(0, places.clone()),
            log_diagonal: self.log_diagonal.clone().select(0, places.clone()),
            below: self.below.clone().map(|below| below.select(0, places)),
        }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        let diagonal = self.log_diagonal.clone().exp().unsqueeze_dim::<3>(0);
        let z = self.mean.clone().unsqueeze_dim(0) + diagonal * noise.clone();
        let Some(off_diagonal) = self.off_diagonal_times(&noise) else { return z };
        let [samples, batch, _] = noise.dims();
        let first = Tensor::zeros([samples, batch, 1], &noise.device());
        z + Tensor::cat(vec![first, off_diagonal], 2)
    }

    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        Samples::new(self.rsample(noise.clone()), seed).with_noise(noise)
    }
}

impl Density for FullGaussian {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.log_prob_of_noise(self.solve(z - self.mean.clone().unsqueeze_dim(0)))
    }

    /// Uses the noise, which a rounded code no longer determines.
    fn log_prob_of(&self, samples: &Samples) -> Tensor<2> {
        match &samples.noise {
            Some(noise) => self.log_prob_of_noise(noise.clone()),
            None => samples.log_prob_or(|z| self.log_prob(z)),
        }
    }

    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        let Some(noise) = &samples.noise else { return self.log_prob(samples.z.clone()) };
        let moved = gradient_of(samples.z.clone() - self.rsample(noise.clone()));
        self.log_prob_of_noise(noise.clone() + self.detach().solve(moved))
    }
}

/// The closed form with the covariance `S = C C^T`, in the coordinates in which the prior is
/// `N(0, I)`:
///
/// `KL = 1/2 (trace S - log det S + mean.mean - L)`,
/// `trace S = sum_j exp(2 log_diagonal_j) + sum_(i > j) C_ij^2`
///
/// in nats. It is not a sum over the dimensions.
impl<P: DiagonalPrior> Divergence<FullGaussian, P> for KlDivergence {
    fn terms(&self, posterior: &FullGaussian, prior: &P, _samples: &Samples) -> DivergenceTerms {
        let log_var = posterior.log_diagonal.clone().mul_scalar(2.0);
        let diagonal = DiagonalGaussian::new(posterior.mean.clone(), log_var.clone());
        let DiagonalGaussian { mean, log_var: moved } = prior.standardized(&diagonal);
        let on = mean.square() + expm1(moved.clone()) - moved.clone();
        let mut sum = on.sum_dim(1).squeeze_dim::<1>(1);
        if let Some(below) = &posterior.below {
            let squares = below.clone().square().sum_dim(2).squeeze_dim::<2>(2);
            let dim = log_var.dims()[1];
            // The square of the factor that scales each row.
            let scale = (moved - log_var).exp().narrow(1, 1, dim - 1);
            sum = sum + (squares * scale).sum_dim(1).squeeze_dim::<1>(1);
        }
        DivergenceTerms::new(sum.mul_scalar(0.5))
    }
}

/// The family of [`FullGaussian`] posteriors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullCovariance;

/// Linear layers that output the mean and the factor of a [`FullGaussian`]. The factor starts
/// diagonal.
#[derive(Module, Debug)]
pub struct FullCovarianceHead {
    mean: Linear,
    log_diagonal: Linear,
    off_diagonal: Option<Linear>,
}

impl Family for FullCovariance {
    type Head = FullCovarianceHead;

    fn init(&self, new: &NewHead) -> Result<FullCovarianceHead> {
        let NewHead { features, latent_dim, seed, device, .. } = *new;
        let count = latent_dim.saturating_mul(latent_dim.saturating_sub(1)) / 2;
        let off_diagonal = (count > 0).then(|| Init::Zeros.linear(features, count, seed, device));
        Ok(FullCovarianceHead {
            mean: new.linear("mean")?,
            log_diagonal: new.linear("log_diagonal")?,
            off_diagonal: off_diagonal.transpose()?,
        })
    }
}

impl Head for FullCovarianceHead {
    type Posterior = FullGaussian;

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> FullGaussian {
        let of = |layer: &Linear| linear(layer, features.clone(), None);
        let off_diagonal = self.off_diagonal.as_ref().map(of);
        let [mean, log_diagonal] = [&self.mean, &self.log_diagonal].map(of);
        let off_diagonal = off_diagonal.unwrap_or_else(|| mean.clone());
        FullGaussian::new(mean, log_diagonal, off_diagonal)
    }
}

impl Describe for FullCovarianceHead {
    fn layers(&self) -> Vec<Layer> {
        let row = |name, layer: &Linear| Layer::linear(name, "Linear", layer).after(INPUT);
        let mut layers = vec![row("mean", &self.mean), row("log_diagonal", &self.log_diagonal)];
        layers.extend(self.off_diagonal.as_ref().map(|layer| row("off_diagonal", layer)));
        layers
    }
}

unit_name!(FullCovariance);

//! Divergences from the posterior to the prior.

mod discrete;
mod kl;
mod mmd;
mod monte_carlo;
mod renyi;

pub use kl::KlDivergence;
pub use mmd::{Kernel, Mmd, Width};
pub use monte_carlo::{MonteCarloKl, MonteCarloRenyi};
pub use renyi::{ChiDivergence, RenyiDivergence};

use burn::tensor::Tensor;
use std::fmt::{self, Debug};
use std::sync::Arc;

use crate::posterior::Samples;

/// A divergence from a posterior of type `Q` to a bound prior of type `P`, as an identity layer.
///
/// Modelled on the `KLDivergenceLayer` of Tiao's Keras post: [`forward`](Self::forward) passes its
/// input through unchanged and returns the divergence beside it. The post adds the divergence to a
/// collection of losses as a side effect; here it is a return value. Later layers do not depend on
/// which divergence is used, so any other can replace it.
///
/// `Debug` must show every parameter and must not vary between runs: checkpoints identify the
/// divergence by it.
///
/// # Implementing one
/// ```
/// use burn_vae::Divergence;
/// use burn_vae::divergence::DivergenceTerms;
/// use burn_vae::posterior::{DiagonalGaussian, Samples};
/// use burn_vae::prior::StandardNormal;
///
/// /// Squared 2-Wasserstein distance to N(0, I).
/// #[derive(Clone, Debug)]
/// struct Wasserstein;
///
/// impl Divergence<DiagonalGaussian, StandardNormal> for Wasserstein {
///     fn terms(&self, q: &DiagonalGaussian, _: &StandardNormal, _: &Samples) -> DivergenceTerms {
///         let std = q.log_var.clone().mul_scalar(0.5).exp();
///         DivergenceTerms::sum_of(q.mean.clone().square() + std.sub_scalar(1.0).square())
///     }
/// }
///
/// let objective = burn_vae::Elbo::new(Wasserstein);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not defined from the posterior `{Q}` to the prior `{P}`",
    note = "`MonteCarloKl` takes any posterior and prior with densities, `Mmd` any at all"
)]
pub trait Divergence<Q, P>: Debug + Send + Sync {
    /// Computes the divergence of each example in nats.
    ///
    /// `samples` are the posterior samples that the objective uses. Sample-based estimators read
    /// them; closed forms ignore them.
    fn terms(&self, posterior: &Q, prior: &P, samples: &Samples) -> DivergenceTerms;

    /// Returns the posterior unchanged, with its divergence.
    fn forward(&self, posterior: Q, prior: &P, samples: &Samples) -> (Q, DivergenceTerms) {
        let terms = self.terms(&posterior, prior, samples);
        (posterior, terms)
    }
}

macro_rules! forward_divergence {
    ($($pointer:ident),+) => {$(
        #[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
        impl<Q, P, V: Divergence<Q, P> + ?Sized> Divergence<Q, P> for $pointer<V> {
            fn terms(&self, posterior: &Q, prior: &P, samples: &Samples) -> DivergenceTerms {
                (**self).terms(posterior, prior, samples)
            }

            fn forward(&self, posterior: Q, prior: &P, samples: &Samples) -> (Q, DivergenceTerms) {
                (**self).forward(posterior, prior, samples)
            }
        }
    )+};
}

forward_divergence!(Box, Arc);

/// The divergence of each example and its split into shares.
pub struct DivergenceTerms {
    /// In nats, summed over the latent dimensions, `[batch]`.
    pub total: Tensor<1>,
    shares: Option<Box<dyn FnOnce() -> Tensor<2> + Send>>,
    columns: usize,
}

impl DivergenceTerms {
    /// A divergence, `[batch]`, that is not a sum over latent dimensions.
    pub fn new(total: Tensor<1>) -> Self {
        Self { total, shares: None, columns: 1 }
    }

    /// A divergence that is the sum of shares, `[batch, latent_dim]`, in nats.
    pub fn sum_of(shares: Tensor<2>) -> Self {
        let total = shares.clone().sum_dim(1).squeeze_dim(1);
        Self::new(total).with_shares(|| shares)
    }

    /// Sets the shares, `[batch, latent_dim]`, which are computed only on request.
    pub fn with_shares(self, shares: impl FnOnce() -> Tensor<2> + Send + 'static) -> Self {
        Self { shares: Some(Box::new(shares)), ..self }
    }

    /// Treats every `columns` neighbouring dimensions as one variable, such as the categories of a
    /// discrete code.
    pub fn with_columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    /// Returns the shares of the latent dimensions, or `None` if the divergence is not a sum over
    /// them.
    pub fn shares(self) -> Option<Shares> {
        Some(Shares { by_dimension: self.shares?(), columns: self.columns })
    }
}

impl Debug for DivergenceTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut terms = f.debug_struct("DivergenceTerms");
        terms.field("total", &self.total).field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// The shares of a divergence, in nats.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Per latent dimension, `[batch, latent_dim]`.
    pub by_dimension: Tensor<2>,
    columns: usize,
}

impl Shares {
    /// Sums the shares per variable, `[batch, variables]`. A variable is one dimension unless it
    /// spans several columns. The results are non-negative if the divergence of each variable is.
    pub fn by_variable(&self) -> Tensor<2> {
        if self.columns == 1 {
            return self.by_dimension.clone();
        }
        let [batch, columns] = self.by_dimension.dims();
        let grouped = [batch, columns / self.columns, self.columns];
        self.by_dimension.clone().reshape(grouped).sum_dim(2).squeeze_dim(2)
    }
}

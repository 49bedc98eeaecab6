//! Likelihoods `p(x|z)`.

mod bernoulli;
mod categorical;
mod continuous_bernoulli;
mod discretized_logistic;
mod discretized_logistic_mixture;
mod draw;
mod elementwise;
mod gaussian;
mod laplace;
mod level_mean;
mod negative_binomial;
mod poisson;
mod scale;
mod student_t;

pub use bernoulli::BernoulliNll;
pub use categorical::CategoricalNll;
pub use continuous_bernoulli::ContinuousBernoulliNll;
pub use discretized_logistic::DiscretizedLogisticNll;
pub use discretized_logistic_mixture::DiscretizedLogisticMixtureNll;
pub use elementwise::{Elementwise, Params};
pub use gaussian::{GaussianNll, GaussianNllConfig};
pub use laplace::{LaplaceNll, LaplaceNllConfig};
pub use negative_binomial::{NegativeBinomialNll, NegativeBinomialNllConfig};
pub use poisson::PoissonNll;
pub use scale::{Scale, ScaleConfig, ScaleSource};
pub use student_t::{StudentTNll, StudentTNllConfig};

use std::ops::RangeInclusive;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use serde::Serialize;

use crate::error::Result;
use crate::seed::Seed;

/// The support of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// A finite real number.
    Real,
    /// A bit, 0 or 1.
    Binary,
    /// A number in `[0, 1]`.
    UnitInterval,
    /// One of the given number of evenly spaced levels from 0 to 1.
    Levels(u32),
    /// A non-negative integer.
    Count,
    /// A one-hot vector over the given number of classes. An example may concatenate several such
    /// variables. Bounds also accept soft labels, class probabilities that sum to 1, and are then
    /// bounds on a cross-entropy.
    OneHot(usize),
    /// A code from a [`Codebook`](crate::posterior::Codebook).
    Codebook,
    /// Any `f32`, including NaN for missing values; not validated.
    Any,
}

impl Support {
    /// Returns whether a single value is in the support. For [`OneHot`](Self::OneHot) it must be 0
    /// or 1; [`contains_all`](Self::contains_all) also checks each group of classes.
    pub fn contains(self, value: f32) -> bool {
        match self {
            Self::Any => true,
            Self::Real | Self::Codebook => value.is_finite(),
            Self::Binary | Self::OneHot(_) => value == 0.0 || value == 1.0,
            Self::UnitInterval => (0.0..=1.0).contains(&value),
            Self::Levels(levels) => {
                let level = f64::from(value) * f64::from(levels.saturating_sub(1));
                (0.0..=1.0).contains(&value) && (level - level.round()).abs() < 1e-2
            }
            Self::Count => value >= 0.0 && value.is_finite() && value.fract() == 0.0,
        }
    }

    /// Returns whether all values of an example are in the support. For [`OneHot`](Self::OneHot),
    /// each group of classes must contain a single 1.
    pub fn contains_all(self, values: &[f32]) -> bool {
        values.iter().all(|&value| self.contains(value)) && self.wrong_group(values).is_none()
    }

    /// Returns the start and the sum of the first group of classes that does not sum to 1, or
    /// `None`. The tolerance allows for the rounding of soft labels.
    pub(crate) fn wrong_group(self, values: &[f32]) -> Option<(usize, f64)> {
        const ROUNDING: f64 = 1e-3;
        let Self::OneHot(classes) = self else { return None };
        let groups = values.chunks(classes.max(1)).enumerate();
        let sums = groups.map(|(i, group)| {
            (i * classes, group.iter().map(|&value| f64::from(value)).sum::<f64>())
        });
        sums.into_iter().find(|(_, sum)| (sum - 1.0).abs() > ROUNDING)
    }

    /// Returns the minimum and the maximum of the support. A model can also be trained on values in
    /// between, such as grey values with a binary support; its bound is then on a cross-entropy.
    pub fn range(self) -> RangeInclusive<f32> {
        match self {
            Self::Any => f32::NEG_INFINITY..=f32::INFINITY,
            Self::Real | Self::Codebook => f32::MIN..=f32::MAX,
            Self::Count => 0.0..=f32::MAX,
            Self::Binary | Self::UnitInterval | Self::Levels(_) | Self::OneHot(_) => 0.0..=1.0,
        }
    }
}

/// A function from the first parameter of a value, as the decoder outputs it, to the mean: the inverse
/// link function of generalised linear models (McCullagh and Nelder 1989, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InverseLink {
    /// The parameter is the mean.
    Identity,
    /// The parameter is the logit of the mean.
    Sigmoid,
    /// The parameter is the logarithm of the mean.
    Exp,
}

/// The distribution `p(x|z)`, whose parameters a [`Decoder`](crate::Decoder) outputs.
///
/// The decoder's output is unconstrained: logits, means, log-scales. A likelihood that needs
/// several parameters per value of `x` declares their number in
/// [`params_per_value`](Self::params_per_value). The output holds them one after the other: with
/// two, its first half is the first parameter of every value.
///
/// If the values of `x` are independent given the code, implement [`Elementwise`] instead: the
/// rest follows from the distribution of one value.
///
/// A likelihood is a Burn module, so it may have learned parameters, such as a variance.
pub trait Likelihood: Module + ModuleDisplay {
    /// Number of decoder outputs per value of `x`.
    fn params_per_value(&self) -> usize {
        1
    }

    /// The likelihood's support. It determines whether a result may be called a likelihood; see
    /// [`Measure`](crate::eval::Measure).
    fn support(&self) -> Support;

    /// Checks that the likelihood supports examples with `data_dim` values; called by
    /// [`Vae::new`](crate::Vae::new).
    ///
    /// # Errors
    /// If it does not.
    fn check(&self, data_dim: usize) -> Result<()> {
        let _ = data_dim;
        Ok(())
    }

    /// Returns `-log p(x|z)` in nats, summed over the values of an example.
    ///
    /// # Shapes
    /// - `params`: `[num_samples, batch, params_per_value * data_dim]`
    /// - `x`: `[batch, data_dim]`
    /// - output: `[num_samples, batch]`
    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2>;

    /// Returns `E[x|z]`, which is shown as the reconstruction.
    ///
    /// # Shapes
    /// - `params`: `[n, params_per_value * data_dim]`
    /// - output: `[n, data_dim]`
    fn mean(&self, params: Tensor<2>) -> Tensor<2>;

    /// Returns the function that maps the first parameter of a value to its mean, if there is one. It
    /// lets the page of a `report` show what the decoder makes of a code.
    fn inverse_link(&self) -> Option<InverseLink> {
        None
    }

    /// Draws from `p(x|z)` for each row of `params`; shapes as in [`mean`](Self::mean).
    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2>;
}

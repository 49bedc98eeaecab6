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

use crate::error::Result;
use crate::seed::Seed;

/// What a likelihood is a distribution of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// Any real number.
    Real,
    /// A bit, 0 or 1.
    Binary,
    /// Any number from 0 to 1.
    UnitInterval,
    /// One of so many levels from 0 to 1, evenly spaced.
    Levels(u32),
    /// A whole number, 0 or more.
    Count,
    /// One of so many classes, as a vector that is 1 there and 0 elsewhere. An example may have several
    /// such variables one after the other. A bound is also computed of soft labels, probabilities of the
    /// classes that sum to 1, and is then one on a cross-entropy.
    OneHot(usize),
    /// Whatever the likelihood makes of it, also what is no number, as where values are missing. Nothing is
    /// checked.
    Any,
}

impl Support {
    /// Whether a value of an example is one that the likelihood is of. Of classes it is 0 or 1; whether they
    /// belong together is asked by [`contains_all`](Self::contains_all).
    pub fn contains(self, value: f32) -> bool {
        match self {
            Self::Any => true,
            Self::Real => value.is_finite(),
            Self::Binary | Self::OneHot(_) => value == 0.0 || value == 1.0,
            Self::UnitInterval => (0.0..=1.0).contains(&value),
            Self::Levels(levels) => {
                let level = f64::from(value) * f64::from(levels.saturating_sub(1));
                (0.0..=1.0).contains(&value) && (level - level.round()).abs() < 1e-2
            }
            Self::Count => value >= 0.0 && value.is_finite() && value.fract() == 0.0,
        }
    }

    /// Whether the values of an example are ones that the likelihood is of: each by itself, and of classes
    /// a single 1 in each group.
    pub fn contains_all(self, values: &[f32]) -> bool {
        values.iter().all(|&value| self.contains(value)) && self.wrong_group(values).is_none()
    }

    /// Where the first group of classes begins that does not sum to 1, and its sum. Classes that are not
    /// certain sum to 1 but for rounding.
    pub(crate) fn wrong_group(self, values: &[f32]) -> Option<(usize, f64)> {
        const ROUNDING: f64 = 1e-3;
        let Self::OneHot(classes) = self else { return None };
        let groups = values.chunks(classes.max(1)).enumerate();
        let sums = groups.map(|(i, group)| {
            (i * classes, group.iter().map(|&value| f64::from(value)).sum::<f64>())
        });
        sums.into_iter().find(|(_, sum)| (sum - 1.0).abs() > ROUNDING)
    }

    /// The least and the greatest value that the likelihood is of. A model can be trained on what lies between,
    /// as grey does between the values of a bit; its bound is then one on a cross-entropy.
    pub fn range(self) -> RangeInclusive<f32> {
        match self {
            Self::Any => f32::NEG_INFINITY..=f32::INFINITY,
            Self::Real => f32::MIN..=f32::MAX,
            Self::Count => 0.0..=f32::MAX,
            Self::Binary | Self::UnitInterval | Self::Levels(_) | Self::OneHot(_) => 0.0..=1.0,
        }
    }
}

/// The distribution `p(x|z)` whose parameters a [`Decoder`](crate::Decoder) puts out.
///
/// The decoder's output is never squashed: it is logits, means, logarithms of scales. A likelihood
/// that needs several numbers for each value of `x` says so in
/// [`params_per_value`](Self::params_per_value) and finds them one after the other: with two, the
/// first half of the decoder's output holds the first parameter of every value.
///
/// If the values of `x` are independent given the code, implement [`Elementwise`] in its place: the
/// rest follows from the distribution of one value.
///
/// A likelihood is a Burn module, so it may have parameters of its own, such as a learned variance.
pub trait Likelihood: Module + ModuleDisplay {
    /// How many numbers the decoder must give for each value of `x`.
    fn params_per_value(&self) -> usize {
        1
    }

    /// What the values of `x` are; decides whether a figure may be called a likelihood, see
    /// [`Measure`](crate::eval::Measure).
    fn support(&self) -> Support;

    /// Whether the likelihood can be of examples with so many values; asked by
    /// [`Vae::new`](crate::Vae::new).
    ///
    /// # Errors
    /// If it cannot.
    fn check(&self, data_dim: usize) -> Result<()> {
        let _ = data_dim;
        Ok(())
    }

    /// `-log p(x|z)` in nats, summed over the values of an example.
    ///
    /// # Shapes
    /// - `params`: `[num_samples, batch, params_per_value * data_dim]`
    /// - `x`: `[batch, data_dim]`
    /// - output: `[num_samples, batch]`
    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2>;

    /// `E[x|z]`, what to show as a reconstruction.
    ///
    /// # Shapes
    /// - `params`: `[n, params_per_value * data_dim]`
    /// - output: `[n, data_dim]`
    fn mean(&self, params: Tensor<2>) -> Tensor<2>;

    /// A draw from `p(x|z)` for each row of `params`; shapes as in [`mean`](Self::mean).
    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2>;
}

use std::fmt;

use crate::data::Protocol;
use crate::likelihood::Support;

/// What a result on a data set measures, determined by the data and the likelihood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The probability of the data, or a bound on it; comparable with other results on the same
    /// data.
    Likelihood,
    /// The density of the data, or a bound on it; comparable with other densities of the same data
    /// in the same units. It may exceed 1, which makes the result negative.
    Density,
    /// A cross-entropy, not an NLL: the likelihood assigns no probability to such values, as a
    /// Bernoulli likelihood to grey or scaled ones. Comparable only with results of the same kind.
    CrossEntropy,
}

impl Measure {
    /// Returns what a likelihood of `support` measures on data of `protocol`.
    pub fn of(support: Support, protocol: Protocol) -> Self {
        match (support, protocol) {
            (Support::Real | Support::UnitInterval | Support::Any, _) => Self::Density,
            (Support::Levels(256), Protocol::Grey) => Self::Likelihood,
            (_, Protocol::Grey | Protocol::Scaled) => Self::CrossEntropy,
            _ => Self::Likelihood,
        }
    }

    /// Converts nats to bits per value; `log_det` corrects a density for a change of units.
    pub(super) fn bits_per_dim(self, nats: f64, num_values: usize, log_det: f64) -> Option<f64> {
        let nats = match self {
            Self::Likelihood => nats,
            Self::Density => nats + log_det,
            Self::CrossEntropy => return None,
        };
        Some(nats / (num_values as f64 * std::f64::consts::LN_2))
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Likelihood => "a likelihood",
            Self::Density => "a density",
            Self::CrossEntropy => "a cross-entropy, not a likelihood",
        })
    }
}

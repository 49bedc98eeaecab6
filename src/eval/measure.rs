use std::fmt;

use crate::data::Protocol;
use crate::likelihood::Support;

/// What a figure on a data set measures; it follows from the data and the likelihood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The probability of the data, or a bound on it: comparable with any other of the same data.
    Likelihood,
    /// The density of the data, or a bound on it: comparable with other densities of the same data in the
    /// same units. It may be above 1, and the figure below 0.
    Density,
    /// A cross-entropy: the likelihood gives such values no probability, as that of bits with grey or
    /// scaled ones. Comparable among runs of the kind only, and no NLL.
    CrossEntropy,
}

impl Measure {
    /// What a likelihood of `support` measures on data of a protocol.
    pub fn of(support: Support, protocol: Protocol) -> Self {
        match (support, protocol) {
            (Support::Real | Support::UnitInterval | Support::Any, _) => Self::Density,
            (Support::Levels(256), Protocol::Grey) => Self::Likelihood,
            (_, Protocol::Grey | Protocol::Scaled) => Self::CrossEntropy,
            _ => Self::Likelihood,
        }
    }

    /// Nats in bits for each of the values, of a density in units that `log_det` is the change from.
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
            Self::CrossEntropy => "a cross-entropy, no likelihood",
        })
    }
}

use std::fmt;

use crate::data::Protocol;
use crate::likelihood::Support;

/// What a figure on a data set measures; it follows from the data and the likelihood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The likelihood of the data, or a bound on it: comparable with any other on the same data.
    Likelihood,
    /// A cross-entropy: grey or scaled values under the likelihood of bits, which has no density
    /// between 0 and 1. Comparable among runs of the kind only, and no NLL.
    CrossEntropy,
}

impl Measure {
    /// What a likelihood of `support` measures on data of a protocol.
    pub fn of(support: Support, protocol: Protocol) -> Self {
        match (support, protocol) {
            (Support::Binary, Protocol::Grey | Protocol::Scaled) => Self::CrossEntropy,
            _ => Self::Likelihood,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Likelihood => "a likelihood",
            Self::CrossEntropy => "a cross-entropy, no likelihood",
        })
    }
}

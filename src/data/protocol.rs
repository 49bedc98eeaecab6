use std::fmt;

use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// What the values of a data set are and how they were prepared.
///
/// It decides what a figure computed on them may be called, and is named beside each figure. See
/// [`Measure`](crate::eval::Measure).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// Measurements, counts or classes, unchanged.
    #[default]
    AsMeasured,
    /// Pixel intensities in [0, 1].
    Grey,
    /// Columns brought to a common range.
    Scaled,
    /// Bits, drawn once with the pixel intensities as probabilities (Salakhutdinov and Murray
    /// 2008).
    StaticBinarization {
        /// The seed of the draws.
        seed: Seed,
    },
    /// Bits, drawn anew in each epoch of training (Burda et al. 2016, section 5).
    DynamicBinarization {
        /// The seed of the draws.
        seed: Seed,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsMeasured => f.write_str("as measured"),
            Self::Grey => f.write_str("grey values"),
            Self::Scaled => f.write_str("scaled values"),
            Self::StaticBinarization { seed } => {
                write!(f, "static binarisation, seed {}", seed.value())
            }
            Self::DynamicBinarization { seed } => {
                write!(f, "dynamic binarisation, seed {}", seed.value())
            }
        }
    }
}

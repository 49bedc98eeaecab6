use std::fmt;

use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// What the numbers of a data set are; it decides what a figure that is computed on them may be
/// called, and is named beside each one. See [`Measure`](crate::eval::Measure).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// Measurements, counts, classes: as they are.
    #[default]
    AsMeasured,
    /// The intensities of images, from 0 to 1.
    Grey,
    /// Columns that were brought to a common range.
    Scaled,
    /// Bits, drawn once with the intensities of images as their probabilities (Salakhutdinov and
    /// Murray 2008).
    StaticBinarization {
        /// What the bits are drawn with.
        seed: Seed,
    },
    /// The same, drawn anew each time an image is used in training (Burda et al. 2016, section 5).
    DynamicBinarization {
        /// What the bits are drawn with.
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

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seed::Seed;

/// Configuration of a training run.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 50 | passes over the training set | 1 to 2^32 - 1 |
/// | `batch_size` | 100 | examples per step | at least 1 |
/// | `accumulate` | 1 | parts that a device computes the batch of a step in | 1 to `batch_size` |
/// | `num_samples` | 1 | Monte Carlo samples per example | at least 1 |
/// | `epsilon_std` | 1 | standard deviation of the noise, see [`NoiseSource`](crate::NoiseSource) | at least 0 |
/// | `patience` | none | epochs without a better validation NELBO before the run stops | at least 1 |
/// | `seed` | 0 | seed of all shuffles and all noise | any |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples per step; the last step of an epoch takes the remaining ones.
    pub batch_size: usize,
    /// Number of parts that a device computes its batch in, one after the other, to fit a large batch into
    /// memory. Their gradients are added before the step, which is that of the whole batch but for
    /// rounding. [`Trainer::with_devices`](crate::train::Trainer::with_devices) says what is not the same.
    pub accumulate: usize,
    /// Monte Carlo samples of each example's posterior.
    pub num_samples: usize,
    /// Standard deviation of the noise.
    pub epsilon_std: f32,
    /// Number of epochs after the best one at which the run stops. It then returns the weights of
    /// the best epoch. If the value equals `epochs`, the run trains for all epochs and returns the
    /// best weights.
    ///
    /// The best epoch has the lowest validation NELBO, in which the divergence has full weight
    /// whatever its weight in the objective; see [`Beta`](crate::objective::Beta).
    pub patience: Option<usize>,
    /// Seed of all shuffles and all noise.
    pub seed: Seed,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch_size: 100,
            accumulate: 1,
            num_samples: 1,
            epsilon_std: 1.0,
            patience: None,
            seed: Seed::new(0),
        }
    }
}

impl TrainConfig {
    /// Checks the fields that are not checked where they are used.
    pub(super) fn check(&self) -> Result<()> {
        if self.epochs == 0 {
            return Err(Error::config("epochs is 0, but it must be at least 1"));
        }
        if u32::try_from(self.epochs).is_err() {
            let epochs = self.epochs;
            return Err(Error::config(format!(
                "epochs is {epochs}, but it must be at most {}",
                u32::MAX
            )));
        }
        if self.patience == Some(0) {
            return Err(Error::config("patience is 0, but it must be at least 1"));
        }
        Ok(())
    }
}
